#ifndef PGDR_RESTORE_HISTORY_SPOOL_H
#define PGDR_RESTORE_HISTORY_SPOOL_H

/*
 * The timeline histories that archive-get saw last, in a local directory. A standby that is
 * promoted while no repository answers must not be told that a timeline is free which is taken. A
 * cache: it may be lost at any time, and nothing but doubt is answered from it.
 */

#include "lib/repo/wal_store.h"

/* Of one system; the caller frees. */
char *history_spool_directory(const char *spool, uint64_t system_id);
/* Keeps every history file that has one content. */
MUST_CHECK ErrCode history_spool_fill(const char *dir, WalStore *store, Err *err);
/* Appends what is kept of `file`; ERR_NOT_FOUND when nothing is. */
MUST_CHECK ErrCode history_spool_read(const char *dir, const char *file, Buf *text, Err *err);

#endif
