#ifndef PGDR_ARCHIVE_WAL_READY_H
#define PGDR_ARCHIVE_WAL_READY_H

/*
 * What the server has given out for archiving: it says so by a file of its own beside each,
 * pg_wal/archive_status/<file>.ready, until it was archived.
 */

#include "lib/common/err.h"
#include "lib/common/mem.h"

bool wal_is_ready(const char *wal_dir, const char *file);
/* All that wait, in the order in which PostgreSQL offers them, appended. */
MUST_CHECK ErrCode wal_ready_list(const char *wal_dir, StrList *ret, Err *err);
/* That order: histories first, then the oldest. Below 0 when `a` comes before `b`. */
int wal_ready_compare(const char *a, const char *b);
bool wal_is_history(const char *file);

#endif
