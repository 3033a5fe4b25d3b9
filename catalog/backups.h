#ifndef PGDR_CATALOG_BACKUPS_H
#define PGDR_CATALOG_BACKUPS_H

/* The backups of one cluster in one repository. */

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

void backup_list_release(BackupList *l);
/* All that exist and are not retired, oldest first. One whose summary cannot be read, for whatever
 * reason that is its own, is in `broken`: the others are as good without it. A storage that does not
 * answer is an error. */
MUST_CHECK ErrCode backup_list_read(Repo *repo, BackupList *ret, Err *err);

static inline size_t backup_count(const BackupList *l)
{
    return l->all.n;
}
static inline const BackupSummary *backup_at(const BackupList *l, size_t i)
{
    return &l->all.at[i];
}
/* Of one PostgreSQL system: an upgraded or newly initialised cluster of the same name is another.
 */
bool backup_same_system(const BackupSummary *a, const BackupSummary *b);
/* By id, or by an unambiguous beginning of one. NULL when there is none. */
const BackupSummary *backup_find(const BackupList *l, const char *id);

#endif
