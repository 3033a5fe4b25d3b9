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
#include "lib/pg/wal_decode.h"
#include "lib/pg/wal_page.h"

typedef enum WalEvent {
    WAL_RECORD, /* *record holds the next record */
    WAL_MORE,   /* feed the pages that follow */
    WAL_STOP,   /* no valid record starts at wal_scan_at(): the WAL ends here, see wal_scan_why() */
} WalEvent;

typedef struct WalScan WalScan;

typedef struct WalScanSpec {
    const PgVersion *version; /* NULL: taken from the first page's magic */
    uint32_t seg_size;
    uint64_t system_id; /* 0: that of the first segment header met (only those carry it) */
    /* Records before this are passed over: the first one returned starts at or after it. The scan
     * always begins with the first record that starts in the first page fed or later, so that the
     * chain of records leads to `from`. */
    Lsn from;
} WalScanSpec;

WalScan *wal_scan_new(const WalScanSpec *spec);
void wal_scan_free(WalScan *s);
DEFINE_FREEP(WalScan, wal_scan_free)

/* Whole WAL pages (8 KiB) beginning at `lsn`, following those fed before without a gap; borrowed
 * until wal_scan_next() answers WAL_MORE. Only to be called at the start and after WAL_MORE; a gap
 * ends in WAL_STOP. Part of a page at the end is not looked at: feed that page when it is whole. */
void wal_scan_feed(WalScan *s, Lsn lsn, const void *pages, size_t len);
WalEvent wal_scan_next(WalScan *s, WalRecord *record);

/*
 * Where the next record starts (or the unfinished one that needs more pages), as PostgreSQL counts:
 * behind a record that fills its page this is the page's end. After WAL_STOP: the first byte behind
 * the last valid record. Before the first record: the page where it is looked for.
 */
Lsn wal_scan_at(const WalScan *s);
/* After WAL_MORE: bytes of the record at wal_scan_at() already seen (0: none of it). */
size_t wal_scan_pending(const WalScan *s);
/* After WAL_STOP: why, in words ("invalid record length at 0/3000123: …"). */
const char *wal_scan_why(const WalScan *s);
const PgVersion *wal_scan_version(const WalScan *s); /* NULL before the first page */
/* Of the page last looked at. */
uint32_t wal_scan_page_tli(const WalScan *s);

/*
 * One segment held in memory, judged as a whole.
 *
 * What this cannot see: of a record that begins before the segment only the page headers are
 * checked, and of one that goes on behind it only the headers too (the record's own header, its
 * block references as far as they lie in here, and the page headers). Their bytes are covered by
 * the CRC that a scan over both segments checks.
 */
typedef struct WalSegmentCheck {
    WalSegmentHeader header;
    Lsn first_record; /* where the first record that starts here starts; 0: none does */
    /* The first byte behind the last valid record that is complete in the segment, behind the
     * switch record itself when there is one; the segment's end when a record spills over it; the
     * segment's start when it begins with the rest of a record that breaks off. */
    Lsn ends;
    bool switched;   /* the last record is XLOG_SWITCH */
    bool spills;     /* the last record goes on in the next segment */
    Lsn spill_start; /* where that record starts; 0: before this segment, which is its middle */
    bool complete;   /* valid to the last byte, or switched (and zero behind the switch) */
    char why[256];   /* when not complete: what stands at `ends` */
} WalSegmentCheck;

/* Called for every record that is complete inside the segment; may be NULL. */
typedef ErrCode (*WalRecordFn)(void *arg, const WalRecord *record, Err *err);

/* Fails only for bytes that are no WAL segment at all (ERR_DAMAGED, ERR_VERSION), that are WAL of
 * another position than `start` (ERR_MISMATCH: a recycled file), or with the callback's error. A
 * segment whose records cannot be walked to the end is `complete = false`, which is no error. */
MUST_CHECK ErrCode wal_segment_check(const void *data, size_t len, Lsn start, WalRecordFn fn,
                                     void *arg, WalSegmentCheck *ret, Err *err);

#endif
