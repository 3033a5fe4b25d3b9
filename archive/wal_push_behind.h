#ifndef PGDR_ARCHIVE_WAL_PUSH_BEHIND_H
#define PGDR_ARCHIVE_WAL_PUSH_BEHIND_H

/*
 * One repository of several is away, so that PostgreSQL offers one and the same file for ever. The
 * others are to have what waits behind it all the same: else they would fall behind for as long as
 * the one is away, and a backup into them could not get its WAL.
 */

#include "catalog/wal_publish.h"

/* One of the repositories that are pushed to. */
typedef struct WalPushTarget {
    Repo *repo; /* NULL: it could not be opened */
    WalStore store;
    ErrCode rc;   /* of the first thing that went wrong with it */
    bool wanting; /* it has not what is looked at */
    char listed[32];
    WalFoundList there; /* what it has of the directory `listed` */
} WalPushTarget;

/* `load`: as the file `file` was loaded, which is passed over; its path and name are not used. */
typedef struct WalBehindSpec {
    const WalFileSpec *load;
    const char *file;
    WalPushTarget *targets;
    unsigned n;
} WalBehindSpec;

/*
 * Stores files that the server has given out for archiving (archive_status/….ready), in its order,
 * in the targets that are well and do not have them, for a few seconds. PostgreSQL will offer each
 * of them in its turn: this is no success of theirs, and what goes wrong here is only told.
 */
void wal_push_behind(const WalBehindSpec *spec);

void wal_push_target_release(WalPushTarget *t);

#endif
