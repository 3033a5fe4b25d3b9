#ifndef PGDR_RESTORE_WAL_AHEAD_H
#define PGDR_RESTORE_WAL_AHEAD_H

/*
 * Segments that were fetched before PostgreSQL asked for them (restore/wal_fetcher.h does that).
 * They lie in the helper's folder under their names, whole and verified, and are handed over by a
 * rename. Beside them there may be, each an empty file:
 *
 *     <segment>.begun   the helper is fetching it
 *     <segment>.asked   it was asked for and not there; the helper goes on behind it
 *
 * Only ever "found" comes from here: what is not there is asked of the repositories.
 */

#include "catalog/wal_helper.h"

#define WAL_AHEAD_KIND "get"
#define WAL_AHEAD_BEGUN ".begun"
#define WAL_AHEAD_ASKED ".asked"

/*
 * Hands the segment over if the helper, which runs, has it; waits up to `patience` (microseconds)
 * while it is just fetching it. True: `to` is the segment.
 */
bool wal_ahead_take(const WalHelper *h, const char *segment, uint32_t seg_size, const char *to,
                    int64_t patience);

/* Tells the helper, which runs, what was asked for in vain. */
void wal_ahead_tell(const WalHelper *h, const char *segment);

#endif
