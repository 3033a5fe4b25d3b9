#ifndef PGDR_CATALOG_WINDOW_H
#define PGDR_CATALOG_WINDOW_H

/*
 * Recovery windows: the unbroken ranges, on each way that recovery can take, that some backup
 * opens. A timeline that others have left has windows of its own where its WAL goes on behind their
 * forks: an older future, which --target-timeline brings back.
 */

#include "catalog/wal_way.h"

/* Where another timeline has left this one. */
typedef struct WindowFork {
    uint32_t timeline;
    Lsn lsn;
} WindowFork;

typedef struct RecoveryWindow {
    uint32_t timeline; /* on which it ends */
    Lsn from_lsn, to_lsn;
    TimeUs from_time, to_time; /* to_time 0: no record there tells a time */
    StrList backups;           /* ids, by the LSN at which they start */
    VEC(WindowFork) forks;     /* within it, from its timeline, by timeline */
    /* Why it ends: all "" when the archive ends there; else one is set. */
    char missing[WAL_NAME_MAX]; /* the segment whose absence ends it, but later WAL is there */
    char conflict[200];         /* two contents of one segment */
    char damaged[200];          /* its last segment cannot be read */
} RecoveryWindow;
typedef VEC(RecoveryWindow) RecoveryWindows;
void recovery_windows_release(RecoveryWindows *w);

/* All windows of the backups in the list: system by system in the order of their first backups,
 * ascending by timeline and position. What one timeline's window holds to its very end on the way
 * to a younger one is not told twice. */
MUST_CHECK ErrCode recovery_windows_read(Repo *repo, const BackupList *backups,
                                         RecoveryWindows *ret, Err *err);

#endif
