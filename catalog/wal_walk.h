#ifndef PGDR_CATALOG_WAL_WALK_H
#define PGDR_CATALOG_WAL_WALK_H

/*
 * Going through the archived WAL of one timeline path, segment by segment, as recovery will: of a
 * segment in which the path changes its timeline, the copy of the younger timeline counts, else
 * the older one's up to where it is left. Listings are read once for 256 segments.
 */

#include "catalog/wal_index.h"
#include "lib/pg/timeline.h"
#include "lib/pg/wal_name.h"
#include "lib/repo/wal_object.h"

typedef struct WalWalk WalWalk;

/* Borrows store and path. Begins with the segment that holds `from`. */
WalWalk *wal_walk_new(WalStore *store, const TimelinePath *path, Lsn from);
void wal_walk_free(WalWalk *w);
DEFINE_FREEP(WalWalk, wal_walk_free)

/* A segment as the walk finds it. */
typedef struct WalStep {
    uint64_t segno;
    Lsn start;
    uint32_t tli; /* whose copy it is */
    char file[WAL_NAME_MAX];
    bool finished;  /* a finished segment; else a .partial or a tail */
    WalFound found; /* the object, unless it is a tail */
    Lsn until;      /* records from here on do not count (the path leaves); 0: all count */
} WalStep;

typedef enum WalWalkEnd {
    WALK_STEP, /* *ret is the next segment */
    WALK_END,  /* nothing is there for the next segment, nor behind it */
    WALK_HOLE, /* the next segment is missing, but later WAL is there */
} WalWalkEnd;

/* Finds the next segment without reading it. *ret is set (file, segno, tli) for END and HOLE, too:
 * what is missing. Two contents under one name: ERR_CONFLICT. */
MUST_CHECK ErrCode wal_walk_next(WalWalk *w, WalStep *ret, WalWalkEnd *ret_end, Err *err);

/* The raw content of a step, whole segments with zeros behind what is not there. */
MUST_CHECK ErrCode wal_walk_read(WalWalk *w, const WalStep *step, Buf *data, Err *err);
/* Its index: from the object, or (no index, or a tail) from the WAL itself. Records that cross
 * from the step before are in it. Entries that do not end before step->until are left out. */
MUST_CHECK ErrCode wal_walk_index(WalWalk *w, const WalStep *step, WalIndex *ret, Err *err);

/*
 * Reads single records along the path, from the WAL itself.
 */
typedef struct WalRecords WalRecords;
WalRecords *wal_records_new(WalStore *store, const TimelinePath *path, Lsn from);
void wal_records_free(WalRecords *r);
DEFINE_FREEP(WalRecords, wal_records_free)
/* The next record that starts at or after `from`. *ret_end: the WAL ends at wal_records_at(). */
MUST_CHECK ErrCode wal_records_next(WalRecords *r, WalRecord *ret, bool *ret_end, Err *err);
Lsn wal_records_at(const WalRecords *r);
const PgVersion *wal_records_version(const WalRecords *r);

/*
 * Whether every segment that replay from `from` to `to` reads is there. The last one may be a
 * .partial or a tail that reaches `to`. *ret_missing names the first that is not ("" when all
 * are), as a file name.
 */
MUST_CHECK ErrCode wal_walk_check(WalStore *store, const TimelinePath *path, Lsn from, Lsn to,
                                  char ret_missing[WAL_NAME_MAX], Err *err);

#endif
