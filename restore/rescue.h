#ifndef PGDR_RESTORE_RESCUE_H
#define PGDR_RESTORE_RESCUE_H

/*
 * Before a data directory is replaced, all WAL in it is saved: what the archiver had not sent yet
 * is often all that is left of the last transactions. Every file is looked at whatever its archive
 * status says, since ".done" means only that some command once answered 0.
 */

#include "catalog/wal_publish.h"

typedef struct RescueResult {
    unsigned looked_at; /* WAL files that are really WAL of this system */
    unsigned pushed;    /* finished segments, histories and .partial that were missing */
    unsigned tails;     /* last pieces, kept as tail objects */
    unsigned orphans;   /* contradicting what is archived, kept beside it */
} RescueResult;

/*
 * Saves the WAL of the data directory in `repo`. ERR_OK means that nothing in its pg_wal is needed
 * any more. `system_id`: files of other systems are passed over.
 */
MUST_CHECK ErrCode rescue_wal(Repo *repo, const char *data_dir, uint64_t system_id,
                              RescueResult *ret, Err *err);

#endif
