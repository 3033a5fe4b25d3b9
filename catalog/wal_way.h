#ifndef PGDR_CATALOG_WAL_WAY_H
#define PGDR_CATALOG_WAL_WAY_H

/*
 * The ways that recovery can take: to the end of each timeline, also of one that others have left
 * (--target-timeline), from the backups that lie on the way. A way is cut into stretches: WAL
 * without a gap, from a backup's start on. All of it follows from names (wal_inventory.h); how far
 * the records go in the last segment of a stretch, only its content says.
 *
 * Ways share what lies before their forks. A stretch belongs to the timeline on which it ends; the
 * same end on the way to a younger timeline is passed over by who lists them all.
 */

#include "catalog/backups.h"
#include "catalog/lineage.h"
#include "catalog/wal_inventory.h"

typedef enum WalPlaceKind {
    PLACE_NONE,
    PLACE_FINISHED,
    PLACE_TWICE,   /* of two contents */
    PLACE_PARTIAL, /* not finished: a .partial, */
    PLACE_TAIL,    /* or a tail */
} WalPlaceKind;

/* What a way takes of one segment. */
typedef struct WalPlace {
    WalPlaceKind kind;
    uint32_t tli;          /* whose copy it is; of PLACE_NONE and PLACE_TWICE: whose would be */
    const WalEntry *entry; /* FINISHED, PARTIAL, TWICE (the first one); else NULL */
    Lsn until;             /* the way leaves that timeline within the segment; 0: it does not */
} WalPlace;

typedef enum WalStretchEnd {
    STRETCH_END,   /* nothing of the way lies behind it */
    STRETCH_HOLE,  /* later WAL of the way is there */
    STRETCH_TWICE, /* two contents of the next segment */
} WalStretchEnd;

typedef struct WalStretch {
    uint64_t first; /* the segment of its first backup's start */
    uint64_t next;  /* the first one that is not there finished, and of one content */
    WalPlace piece; /* what there is of `next`: PARTIAL, TAIL, FINISHED up to `until`; or NONE */
    WalStretchEnd end;
    uint32_t missing; /* the timeline of the copy that ends it by not being there, or twice */
    uint32_t tli;     /* on which its last WAL lies; 0: there is none at all */
    size_t first_backup, n_backups; /* that start within it */
} WalStretch;

typedef struct WalWay {
    uint32_t tli; /* to whose end it leads */
    TimelinePath path;
    BackupRefs backups;        /* by the LSN at which they start */
    VEC(WalStretch) stretches; /* ascending */
} WalWay;

typedef struct WalWays {
    const WalInventory *inv; /* borrowed */
    VEC(WalWay) all;         /* ascending by timeline */
} WalWays;

void wal_ways_release(WalWays *w);
/* The ways to all timelines whose history is known; backups of other systems do not count. All
 * that is given is borrowed. */
MUST_CHECK ErrCode wal_ways_find(const WalInventory *inv, const WalStore *store,
                                 const Lineage *lineage, const BackupRefs *backups, WalWays *ret,
                                 Err *err);

/* What the way takes of a segment; that of the youngest timeline which touches it, else of an older
 * one; a finished copy before a piece. */
WalPlace wal_way_at(const WalWays *ways, const WalWay *way, uint64_t segno);
/* The stretch that holds the segment, or ends at it; NULL: no backup leads there. */
const WalStretch *wal_way_stretch(const WalWay *way, uint64_t segno);
/* The stretch says by itself something that no other way's does: it ends on the way's own timeline,
 * or is broken there. */
bool wal_stretch_is_own(const WalWay *way, const WalStretch *s);

#endif
