#ifndef PGDR_ARCHIVE_BACKUP_H
#define PGDR_ARCHIVE_BACKUP_H

/*
 * A base backup of a running server, primary or standby: pg_backup_start, copy (of an incremental
 * one what its parent has not, see reuse.h), pg_control last,
 * pg_backup_stop, WAL arrived and compared, manifest, commit. Nothing exists before the commit;
 * whatever fails earlier leaves only packs that nobody refers to.
 */

#include "catalog/backups.h"
#include "lib/common/progress.h"
#include "lib/pg/conn.h"

typedef struct BackupSpec {
    Repo *repo;
    PgConnSpec conn;
    const PgConnSpec *primary; /* NULL: not configured */
    const char *data_dir;      /* NULL: what the server says */
    const char *label;
    bool full; /* even where there is a backup to build on */
    unsigned jobs;
    int level;
    TimeUs archive_timeout;
    TimeUs grace; /* of expire, see publish.h */
    /* Looks for keys of the repository that were made meanwhile (keys_read_again); NULL: there can
     * be none. */
    ErrCode (*new_keys)(void *arg, Repo *repo, bool *ret_more, Err *err);
    void *new_keys_arg;
    Progress *progress;
} BackupSpec;

/*
 * On success *ret describes the backup. summary.damaged_pages counts pages with wrong checksums
 * that replay will not repair: they are in the backup as they are, each was logged.
 */
MUST_CHECK ErrCode backup_run(const BackupSpec *spec, BackupSummary *ret, Err *err);

#endif
