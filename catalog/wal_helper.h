#ifndef PGDR_CATALOG_WAL_HELPER_H
#define PGDR_CATALOG_WAL_HELPER_H

/*
 * A helper is a process that a command of PostgreSQL's leaves behind, so that what PostgreSQL asks
 * for next is done before it asks. It only ever makes success come sooner: what it has not
 * done, cannot do or is not sure of is done by the command itself, which then says what is wrong.
 * Nobody has to start, stop or watch it.
 *
 * It works in a folder of its own inside pg_wal, where what it fetched is one rename away from
 * where it is wanted. The folder's name begins with "pgsql_tmp", so that PostgreSQL's own tools
 * leave it out (PG_TEMP_FILE_PREFIX: pg_basebackup, pg_rewind, pg_checksums).
 *
 * It belongs to the one server that runs in the data directory when it begins (postmaster.pid).
 * It ends when that one does, and what it leaves is of no use to any other.
 *
 *     the command:  wal_helper_init → wal_helper_runs, wal_helper_start → wal_helper_release
 *     the helper:   wal_helper_init → wal_helper_begin → wal_helper_wanted… → wal_helper_release
 */

#include "lib/common/err.h"
#include "lib/common/procid.h"

typedef struct WalHelper {
    char *dir;               /* its folder */
    char server[PROCID_MAX]; /* the mark of the server's process */
    int lock;                /* held for as long as it runs; -1 in the command */
} WalHelper;

/* `kind` is a word that tells helpers of one server apart. ERR_NOT_FOUND when no server runs there,
 * or one that is process 1. Release it also after a failure. */
MUST_CHECK ErrCode wal_helper_init(WalHelper *h, const char *data_dir, const char *wal_dir,
                                   const char *kind, Err *err);
/* Removes the folder where wal_helper_begin() succeeded. */
void wal_helper_release(WalHelper *h);

/* Whether the helper of this server runs. */
bool wal_helper_runs(const WalHelper *h);
/* Starts this program once more, with these arguments and environment, detached from the server:
 * without a terminal or log, in a session of its own. What cannot be started is not missed. */
void wal_helper_start(char *const *argv, char *const *env);

/* Makes the folder, empty of what an earlier one left. ERR_BUSY when another one runs. */
MUST_CHECK ErrCode wal_helper_begin(WalHelper *h, Err *err);
/* False when the server is gone or the helper was told to stop; to be asked once a second. */
bool wal_helper_wanted(const WalHelper *h);

#endif
