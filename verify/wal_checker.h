#ifndef PGDR_VERIFY_WAL_CHECKER_H
#define PGDR_VERIFY_WAL_CHECKER_H

/* What the parts of verify that look at WAL share: one system's, and what a loss in it costs. */

#include "catalog/wal_way.h"
#include "verify/checker.h"

typedef struct WalChecker {
    Checker *c;
    WalStore store;
    WalInventory inv;
    Lineage lineage;
    BackupRefs backups; /* under test, of any system */
    WalWays ways;
    StrList bad_pieces; /* segments of which a tail or .partial is damaged: that has been told */
    bool ways_known;    /* else a history is damaged: nobody can tell what needs which WAL */
} WalChecker;

/* What cannot be restored without one segment of a timeline. */
typedef struct WalCost {
    StrList backups; /* ids of those whose own WAL it is, wherever recovery goes */
    StrList windows; /* a text for each end that cannot be reached any more, and how far it can */
} WalCost;
void wal_cost_release(WalCost *cost);

/* A timeline's copy of a segment: what is there finished, the piece there is of it, or (PLACE_NONE)
 * whatever of that would be there. */
typedef struct WalCopy {
    uint32_t tli;
    uint64_t segno;
    WalPlaceKind kind;
} WalCopy;
void wal_cost_find(const WalChecker *w, const WalCopy *copy, WalCost *ret);
/* Whether it is to be looked at: all are, or (one backup is under test) what that leads over. */
bool wal_in_scope(const WalChecker *w, const WalCopy *copy);

/*
 * A finding about a segment, or the piece of one. `object`: where it lies, or its file's name when
 * it does not. `found`: what would have to be written again, `more`: and how many segments behind
 * it. What it costs is told with it, or that it costs nothing.
 */
typedef struct SegmentFinding {
    WalCopy copy;
    const char *object, *problem, *hint;
    const WalFound *found; /* NULL: no copy can mend it */
    uint64_t more;
} SegmentFinding;
void wal_found_segment(WalChecker *w, const SegmentFinding *f);

/* Holes, and two contents of one segment: by names alone. */
void check_wal_presence(WalChecker *w);
/* Every byte of what there is, each object once, and that segments follow each other. */
MUST_CHECK ErrCode check_wal_content(WalChecker *w, Err *err);

#endif
