#ifndef PGDR_CATALOG_BACKUPS_H
#define PGDR_CATALOG_BACKUPS_H

/* The backups of one cluster in one repository. */

#include "lib/repo/publish.h"
#include "lib/repo/summary.h"

typedef struct BackupList {
    VEC(BackupSummary) all;
    StrList broken; /* ids whose summary cannot be read, with the reason behind a colon */
} BackupList;

void backup_list_release(BackupList *l);
/* All that exist and are not retired, oldest first. One that cannot be read is in `broken`; only a
 * failing storage is an error. */
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
