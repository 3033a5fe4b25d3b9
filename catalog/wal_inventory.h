#ifndef PGDR_CATALOG_WAL_INVENTORY_H
#define PGDR_CATALOG_WAL_INVENTORY_H

/*
 * Which WAL of one system a repository holds, by names alone: one listing of wal/<system>/ and one
 * of tail/<system>/, however many timelines and backups there are. 32 bytes of memory a segment.
 *
 * "Absent" means: not listed, no tail, and still not listed when asked again. Where a timeline has
 * a gap, and where it ends, the inventory has looked twice.
 */

#include "lib/pg/timeline.h"
#include "lib/pg/wal_name.h"
#include "lib/repo/wal_store.h"

/* A segment, or a .partial, as one object holds it. */
typedef struct WalEntry {
    uint64_t segno;
    uint8_t digest[(WAL_DIGEST_LEN - 1) / 2];
    bool partial;
} WalEntry;

/* Finished segments first … last, each there once. */
typedef struct WalRun {
    uint64_t first, last;
} WalRun;

typedef struct WalTail {
    uint64_t segno;
    char *name; /* of the object, relative to the cluster */
} WalTail;

typedef struct TimelineWal {
    uint32_t tli;
    VEC(WalEntry) entries; /* ascending; of one segment the finished ones before a .partial */
    VEC(WalRun) runs;      /* ascending, with at least one segment between two */
    VEC(WalTail) tails;    /* ascending */
} TimelineWal;

typedef struct WalInventory {
    uint32_t seg_size;
    VEC(TimelineWal) timelines; /* ascending */
    WalFoundList histories;     /* .history files, sorted */
    WalFoundList labels;        /* .backup files, sorted */
    StrList strays;             /* objects of these folders with any other name */
} WalInventory;

void wal_inventory_release(WalInventory *inv);
MUST_CHECK ErrCode wal_inventory_read(WalStore *store, WalInventory *ret, Err *err);

/* NULL when there is nothing of that timeline. */
const TimelineWal *wal_inventory_timeline(const WalInventory *inv, uint32_t tli);
/* The entries of a segment: the first one, and how many there are (NULL, 0: none). */
const WalEntry *wal_timeline_entries(const TimelineWal *t, uint64_t segno, size_t *ret_n);
/* The run that holds the segment, or NULL. */
const WalRun *wal_timeline_run(const TimelineWal *t, uint64_t segno);
bool wal_timeline_has_tail(const TimelineWal *t, uint64_t segno);
/* The first segment from `segno` on of which there is anything; UINT64_MAX when there is none. */
uint64_t wal_timeline_next(const TimelineWal *t, uint64_t segno);

/* What wal_read() and its kin take. */
WalFound wal_entry_found(uint32_t tli, const WalEntry *e, uint32_t seg_size);

#endif
