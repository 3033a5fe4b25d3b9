#ifndef PGDR_ARCHIVE_BACKUP_WAL_H
#define PGDR_ARCHIVE_BACKUP_WAL_H

/*
 * A backup is worth nothing without its WAL: waiting until it has arrived, and reading back what
 * proves that it is this server's WAL.
 */

#include "archive/backup_files.h"
#include "archive/backup_pages.h"
#include "catalog/lineage.h"
#include "catalog/wal_walk.h"
#include "lib/pg/conn.h"
#include "lib/pg/control.h"

typedef struct BackupWal {
    WalStore *store;
    const TimelinePath *path;
    const PgControl *control; /* as it was just after the backup began */
    Lsn start, checkpoint, stop;
    bool from_standby;
    const PgConnSpec *primary; /* to end its segment for a standby's backup; NULL: not known */
    TimeUs timeout;            /* without any progress */
} BackupWal;

/* Waits until every segment from start to stop is in the repository (a tail counts as far as it
 * reaches). ERR_WAL_MISSING says which one does not come, and why that may be. */
MUST_CHECK ErrCode backup_wal_wait(const BackupWal *w, Err *err);

/* Reads the backup's checkpoint record, and on a primary its end record, back from the repository
 * and compares them with the server's. ERR_CONFLICT when this is another server's WAL. */
MUST_CHECK ErrCode backup_wal_compare(const BackupWal *w, Err *err);

/* Drops relations whose init fork was made while the backup ran. */
MUST_CHECK ErrCode backup_wal_drop_unlogged(const BackupWal *w, BackupFiles *files, Err *err);

/* Excuses the suspect pages that replay restores: those with a full-page image, or initialised
 * anew, between start and stop. _fsm and _vm pages are excused anyway: the server checks them. */
MUST_CHECK ErrCode backup_wal_excuse(const BackupWal *w, SuspectPages *suspects, Err *err);

#endif
