#ifndef PGDR_REPO_SUMMARY_H
#define PGDR_REPO_SUMMARY_H

/*
 * "backups/<id>/summary": what `pgdr info` shows, and the digests of manifest and packs list. Its
 * existence beside the manifest is what makes a backup exist.
 */

#include "lib/repo/repo.h"

typedef struct BackupSummary {
    char id[BACKUP_ID_LEN + 1];
    char *cluster;
    uint64_t system_id;
    int pg_version_num;
    char *type;   /* "full" or "incr" */
    char *label;  /* what the operator calls it; "" for nothing */
    char *host;   /* where it was taken */
    char *parent; /* backup id; "" for a full one */
    /* How many backups, one the parent of the next, are between a full one and this one, which is
     * counted: 0 for a full one. */
    uint64_t number;
    bool from_standby;
    TimeUs start_time, stop_time;
    uint32_t timeline;
    uint64_t start_lsn, stop_lsn, checkpoint_lsn;
    uint32_t wal_segment_size, block_size, checksum_version;
    uint64_t size, files; /* of the cluster */
    uint64_t stored;      /* bytes this backup added */
    uint64_t damaged_pages;
    StrList warnings;
    DocumentFacts manifest, packs;
} BackupSummary;

void summary_release(BackupSummary *s);
MUST_CHECK ErrCode summary_put(Repo *repo, const BackupSummary *s, StoragePutFlags flags, Err *err);
MUST_CHECK ErrCode summary_get(Repo *repo, const char *backup_id, BackupSummary *ret, Err *err);

#endif
