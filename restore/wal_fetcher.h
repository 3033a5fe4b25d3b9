#ifndef PGDR_RESTORE_WAL_FETCHER_H
#define PGDR_RESTORE_WAL_FETCHER_H

/*
 * The helper of archive-get (catalog/wal_helper.h): fetches the finished segments that the recovery
 * will ask for after the one that it asked for last, into its folder (restore/wal_ahead.h), for as
 * long as there are any, there is room for them, and somebody takes them.
 *
 * What it does not find, or cannot fetch, it does not judge: it ends, and archive-get finds out for
 * itself and says so.
 */

#include "restore/wal_get.h"

typedef struct WalFetcherSpec {
    WalGetSpec get; /* `file`: the segment that was asked for last; `to` is not used */
    const char *wal_dir;
    uint64_t ahead;   /* bytes that may wait in its folder; at least one segment may */
    unsigned workers; /* segments that are fetched at the same time */
} WalFetcherSpec;

/* Returns when there is nothing left to do, which no error is; ERR_BUSY when another one runs. */
MUST_CHECK ErrCode wal_fetcher_run(const WalFetcherSpec *spec, Err *err);

#endif
