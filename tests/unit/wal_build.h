#ifndef PGDR_TESTS_WAL_BUILD_H
#define PGDR_TESTS_WAL_BUILD_H

/* Writes WAL in memory, record by record, to put records exactly where a test wants them. */

#include <string.h>

#include "lib/common/bytes.h"
#include "lib/common/digest.h"
#include "lib/common/mem.h"
#include "lib/pg/wal_scan.h"

#define BUILD_SEG ((uint32_t)1 << 20)
#define BUILD_SYSTEM_ID UINT64_C(7123456789012345678)

typedef struct WalBuild {
    const PgVersion *version;
    uint8_t *data;  /* the segments, zeroed */
    Lsn start, end; /* of the memory */
    Lsn at;         /* where the next record goes, as wal_scan_at() counts */
    Lsn prev;
    uint32_t tli;
    uint32_t xid;        /* of the next record; 0 again behind it */
    uint16_t page_flags; /* additional flags of the next page that is begun */
} WalBuild;

static inline void build_init(WalBuild *b, int major, Lsn start, unsigned segments)
{
    *b = (WalBuild){.version = pg_version_of_major(major), .start = start, .tli = 1};
    b->end = start + (Lsn)segments * BUILD_SEG;
    b->at = start;
    b->data = mem_zero((size_t)(b->end - start));
}

static inline void build_release(WalBuild *b)
{
    free(b->data);
    b->data = NULL;
}

static inline uint8_t *build_byte(const WalBuild *b, Lsn lsn)
{
    return b->data + (lsn - b->start);
}

static inline uint32_t build_header_len(Lsn page)
{
    return page % BUILD_SEG == 0 ? WAL_PAGE_LONG_HEADER : WAL_PAGE_SHORT_HEADER;
}

static inline void build_page(WalBuild *b, Lsn page, uint32_t rem_len)
{
    uint8_t *p = build_byte(b, page);
    set_u16(p, b->version->wal_magic);
    set_u16(p + 2, (uint16_t)((rem_len ? WAL_PAGE_CONTINUES : 0) |
                              (page % BUILD_SEG == 0 ? WAL_PAGE_LONG : 0) | b->page_flags));
    b->page_flags = 0;
    set_u32(p + 4, b->tli);
    set_u64(p + 8, page);
    set_u32(p + 16, rem_len);
    if (page % BUILD_SEG == 0) {
        set_u64(p + 24, BUILD_SYSTEM_ID);
        set_u32(p + 32, BUILD_SEG);
        set_u32(p + 36, WAL_PAGE_SIZE);
    }
}

/* Lays `len` bytes into the pages from b->at on; stops silently at the end of the memory. */
static inline Lsn build_bytes(WalBuild *b, const uint8_t *bytes, uint32_t len)
{
    uint32_t done = 0;
    Lsn start = 0;
    while (done < len && b->at < b->end) {
        if (b->at % WAL_PAGE_SIZE == 0) {
            build_page(b, b->at, done ? len - done : 0);
            b->at += build_header_len(b->at);
        }
        if (!start)
            start = b->at;
        uint32_t take = MIN(len - done, WAL_PAGE_SIZE - (uint32_t)(b->at % WAL_PAGE_SIZE));
        memcpy(build_byte(b, b->at), bytes + done, take);
        done += take;
        b->at += take;
    }
    b->at = align_up(b->at, 8);
    return start;
}

/* A record of exactly `total` bytes (≥ 24, and not 25) with main data only; returns its start. */
static inline Lsn build_record(WalBuild *b, uint8_t rmgr, uint8_t info, const void *main_data,
                               uint32_t total)
{
    uint8_t *p = mem_zero(total);
    uint32_t head = WAL_RECORD_HEADER;
    if (total > head) {
        bool is_short = total - head - 2 < 256;
        p[head] = is_short ? 255 : 254;
        uint32_t main_len = total - head - (is_short ? 2 : 5);
        if (is_short)
            p[head + 1] = (uint8_t)main_len;
        else
            set_u32(p + head + 1, main_len);
        if (main_data)
            memcpy(p + total - main_len, main_data, main_len);
        else
            memset(p + total - main_len, 0x5A, main_len);
    }
    set_u32(p, total);
    set_u32(p + 4, b->xid);
    b->xid = 0;
    set_u64(p + 8, b->prev);
    p[16] = info;
    p[17] = rmgr;
    set_u32(p + 20, crc32c(crc32c(0, p + 24, total - 24), p, 20));
    b->prev = build_bytes(b, p, total);
    free(p);
    return b->prev;
}

#define RMGR_LOGICALMSG 21

static inline Lsn build_plain(WalBuild *b, uint32_t total)
{
    return build_record(b, RMGR_LOGICALMSG, 0, NULL, total);
}

/* One record a page, of the right lengths, so that the next one starts at `to` (a place that leaves
 * room for a record before it on its page). */
static inline void build_up_to(WalBuild *b, Lsn to)
{
    while (b->at / WAL_PAGE_SIZE < to / WAL_PAGE_SIZE || b->at % WAL_PAGE_SIZE == 0) {
        Lsn page_end = (b->at / WAL_PAGE_SIZE + 1) * WAL_PAGE_SIZE;
        if (b->at == to)
            return;
        Lsn from = b->at % WAL_PAGE_SIZE == 0 ? b->at + build_header_len(b->at) : b->at;
        Lsn until = MIN(page_end, to);
        build_plain(b, (uint32_t)(until - from));
    }
    if (to > b->at)
        build_plain(b, (uint32_t)(to - b->at));
}

static inline Lsn build_switch(WalBuild *b)
{
    Lsn start = build_record(b, RMGR_XLOG, 0x40, NULL, WAL_RECORD_HEADER);
    b->at = align_up(b->at, BUILD_SEG);
    return start;
}

#endif
