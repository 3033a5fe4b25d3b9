#ifndef PGDR_CATALOG_PARENT_H
#define PGDR_CATALOG_PARENT_H

/* Which backup a new one builds on. */

#include "catalog/backups.h"
#include "lib/pg/control.h"

/*
 * The last backup of this system that ends, on the new one's way, before it begins: one that ends
 * later holds pages of its future. NULL when there is none; *ret_why then says why, for people: a
 * constant text.
 */
const BackupSummary *parent_choose(const BackupList *l, const PgControl *control,
                                   const TimelinePath *path, Lsn start, const char **ret_why);

#endif
