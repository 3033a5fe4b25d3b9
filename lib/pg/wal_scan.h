#ifndef PGDR_PG_WAL_SCAN_H
#define PGDR_PG_WAL_SCAN_H

/*
 * Walks the records of a stretch of WAL: pages in, records out. It is given pages in order, from
 * memory, by whoever holds them (a segment being pushed, objects of a repository, pg_wal).
 *
 *     wal_scan_new → { wal_scan_feed → wal_scan_next until WAL_MORE }… → wal_scan_free
 *
 * A record is returned only when it is complete, its CRC-32C fits, and (from the second one on)
 * its xl_prev is the start of the record before. The scan never reads outside what it was fed and
 * trusts no length: the bytes may be anything.
 */

#include "lib/common/buf.h"
#include "lib/pg/lsn.h"
#include "lib/pg/version.h"

/* Resource managers whose records pgdr understands; the numbers are the same from 13 to 18. */
typedef enum WalRmgr {
    RMGR_XLOG = 0,
    RMGR_XACT = 1,
    RMGR_SMGR = 2,
    RMGR_CLOG = 3,
    RMGR_DBASE = 4,
    RMGR_TBLSPC = 5,
} WalRmgr;

typedef struct WalBlock {
    uint8_t id;
    uint8_t fork; /* 0 main, 1 fsm, 2 vm, 3 init */
    uint32_t spc, db, rel;
    uint32_t block;
    bool has_image, image_applies, will_init;
} WalBlock;

#define WAL_BLOCKS_MAX 33 /* XLR_MAX_BLOCK_ID + 1 */

typedef struct WalRecord {
    Lsn start; /* of its header (ReadRecPtr) */
    Lsn end;   /* first byte behind it, aligned (EndRecPtr): for a switch record the next segment */
    Lsn prev;
    uint32_t xid, toplevel_xid; /* toplevel 0: not logged in this record */
    uint8_t rmgr, info;         /* info with the low four bits (XLR_*) still in */
    uint32_t total_len;
    const uint8_t *main_data; /* borrowed until the next call */
    uint32_t main_len;
    unsigned n_blocks;
    WalBlock blocks[WAL_BLOCKS_MAX];
} WalRecord;

typedef enum WalEvent {
    WAL_RECORD, /* *record holds the next record */
    WAL_MORE,   /* feed the pages that follow */
    WAL_STOP,   /* no valid record starts at wal_scan_at(): the WAL ends here, see wal_scan_why() */
} WalEvent;

typedef struct WalScan WalScan;

typedef struct WalScanSpec {
    const PgVersion *version; /* NULL: taken from the first page's magic */
    uint32_t seg_size;
    uint64_t system_id; /* 0: not compared (only a segment's first page carries it) */
    /* Records before this are passed over: the first one returned starts at or after it. 0: the
     * first record that starts in the first page fed or later. It must be either inside the first
     * piece fed, or 0. */
    Lsn from;
} WalScanSpec;

WalScan *wal_scan_new(const WalScanSpec *spec);
void wal_scan_free(WalScan *s);
DEFINE_FREEP(WalScan, wal_scan_free)

/* Whole WAL pages (8 KiB) beginning at `lsn`, following those fed before without a gap; borrowed
 * until wal_scan_next() answers WAL_MORE. */
void wal_scan_feed(WalScan *s, Lsn lsn, const void *pages, size_t len);
WalEvent wal_scan_next(WalScan *s, WalRecord *record);

/* Where the next record starts (or the unfinished one that needs more pages; or where WAL stops).
 * Before the first record: where it would be looked for. */
Lsn wal_scan_at(const WalScan *s);
/* After WAL_MORE: bytes of the record at wal_scan_at() already seen (0: none of it). */
size_t wal_scan_pending(const WalScan *s);
/* After WAL_STOP: why, in words ("invalid record length at 0/3000123: …"). */
const char *wal_scan_why(const WalScan *s);
const PgVersion *wal_scan_version(const WalScan *s); /* NULL before the first page */
/* Of the page last looked at. */
uint32_t wal_scan_page_tli(const WalScan *s);

/*
 * The long header of a segment's first page: what archive-push compares before it believes a file.
 */
typedef struct WalSegmentHeader {
    const PgVersion *version;
    uint64_t system_id;
    uint32_t
        tli; /* xlp_tli: the name's timeline or, in the first segment of a timeline, an ancestor */
    Lsn page_addr;
    uint32_t seg_size, wal_block_size;
    uint32_t rem_len; /* bytes of the previous segment's last record at the start of this one */
} WalSegmentHeader;

/* ERR_DAMAGED when these are not the first bytes of a segment, ERR_VERSION for an unknown magic. */
MUST_CHECK ErrCode wal_segment_header(const void *page, size_t len, WalSegmentHeader *ret,
                                      Err *err);

/*
 * One segment held in memory, judged as a whole. `ends` is the first byte behind the last valid
 * record that is complete in the segment (or behind a record that ends in the next one: then
 * spills is true and ends == the segment's end). A segment that was switched away from ends at its
 * switch record and the rest is zeros.
 */
typedef struct WalSegmentCheck {
    WalSegmentHeader header;
    Lsn first_record; /* where the first record that starts here starts; 0: none does */
    Lsn ends;         /* valid WAL ends here */
    bool switched;    /* the last record is XLOG_SWITCH */
    bool spills;      /* the last record goes on in the next segment */
    Lsn spill_start;  /* where that record starts */
    bool complete;    /* valid to the last byte, or switched (and zero behind the switch) */
    char why[256];    /* when not complete: what stands at `ends` */
} WalSegmentCheck;

/* Called for every record that is complete inside the segment; may be NULL. */
typedef ErrCode (*WalRecordFn)(void *arg, const WalRecord *record, Err *err);

/* Fails only for bytes that are no WAL segment at all, or with the callback's error. A segment
 * whose records cannot be walked to the end is `complete = false`, which is not an error here. */
MUST_CHECK ErrCode wal_segment_check(const void *data, size_t len, Lsn start, WalRecordFn fn,
                                     void *arg, WalSegmentCheck *ret, Err *err);

#endif
