#ifndef PGDR_CATALOG_BACKUPS_H
#define PGDR_CATALOG_BACKUPS_H

/* The backups of one cluster in one repository. */

#include "lib/pg/timeline.h"
#include "lib/repo/publish.h"
#include "lib/repo/summary.h"

/* A backup whose summary cannot be read. */
typedef struct BrokenBackup {
    char id[BACKUP_ID_LEN + 1];
    Err why;
} BrokenBackup;

typedef struct BackupList {
    VEC(BackupSummary) all;
    VEC(BrokenBackup) broken;
} BackupList;

/* Some of a list's, which must outlive it. */
typedef VEC(const BackupSummary *) BackupRefs;
static inline void backup_refs_release(BackupRefs *refs)
{
    vec_release(refs);
}

void backup_list_release(BackupList *l);
/*
 * All that exist and are not retired, oldest first: those of one timeline by the LSN at which they
 * stop, whatever the clocks said; others by when they stopped. Ids play no part: two backups of one
 * second have ids in any order. One whose summary cannot be read, for whatever reason that is its
 * own, is in `broken`: the others are as good without it. A storage that does not answer is an
 * error.
 */
MUST_CHECK ErrCode backup_list_read(Repo *repo, BackupList *ret, Err *err);

static inline size_t backup_count(const BackupList *l)
{
    return l->all.n;
}
static inline const BackupSummary *backup_at(const BackupList *l, size_t i)
{
    return &l->all.at[i];
}
/* Appends a system's backups that lie on a timeline path, by the LSN at which they stop: the last
 * one leaves the least WAL to be replayed. */
void backups_on_path(const BackupList *l, uint64_t system_id, uint32_t wal_segment_size,
                     const TimelinePath *path, BackupRefs *ret);
/* Of one PostgreSQL system: an upgraded or newly initialised cluster of the same name is another.
 */
bool backup_same_system(const BackupSummary *a, const BackupSummary *b);
/* By id, or by an unambiguous beginning of one. NULL when there is none. */
const BackupSummary *backup_find(const BackupList *l, const char *id);
/* The same for an operator: ERR_NOT_FOUND when there is none, ERR_USAGE when several begin so; one
 * that cannot be read fails with the reason of that. */
MUST_CHECK ErrCode backup_pick(const BackupList *l, const Repo *repo, const char *id,
                               const BackupSummary **ret, Err *err);

#endif
