#ifndef PGDR_RESTORE_SERVER_TIMELINE_H
#define PGDR_RESTORE_SERVER_TIMELINE_H

/* Which timelines a recovering server will walk, from its own settings and control file. */

#include "catalog/lineage.h"
#include "lib/pg/control.h"

/*
 * recovery_target_timeline as the server in `data_dir` has it: from postgresql.auto.conf, its
 * postgresql.conf (wherever postmaster.opts says it is), or its command line. "latest" when none
 * of them sets it. The caller frees.
 */
char *server_target_timeline(const char *data_dir);

/* Whether its settings name an LSN (or consistency) at which recovery ends: what restore writes. */
bool server_has_target(const char *data_dir);

/* The path for such a setting: "latest", "current" or a number. `reached`: where on its timeline
 * the server is, as far as is known; "latest" is no timeline that was forked before that. */
MUST_CHECK ErrCode server_timeline_path(const char *setting, const PgControl *control, Lsn reached,
                                        const Lineage *lineage, TimelinePath *ret, Err *err);

#endif
