#ifndef PGDR_CATALOG_WINDOW_H
#define PGDR_CATALOG_WINDOW_H

/* Recovery windows: the unbroken ranges, on each way that recovery can take, that some backup
 * opens. */

#include "catalog/backups.h"
#include "catalog/lineage.h"
#include "catalog/wal_walk.h"

typedef struct RecoveryWindow {
    uint32_t timeline; /* on which it ends */
    Lsn from_lsn, to_lsn;
    TimeUs from_time, to_time; /* to_time 0: no record there tells a time */
    StrList backups;           /* ids, oldest first */
    /* The segment whose absence ends it; "" when the archive ends there, or `conflict` says why. */
    char missing[WAL_NAME_MAX];
    char conflict[160]; /* "" unless two contents of one segment end it */
} RecoveryWindow;
typedef VEC(RecoveryWindow) RecoveryWindows;
void recovery_windows_release(RecoveryWindows *w);

/* All windows of the backups in the list, oldest first. */
MUST_CHECK ErrCode recovery_windows_read(Repo *repo, const BackupList *backups,
                                         RecoveryWindows *ret, Err *err);

#endif
