#ifndef PGDR_PG_WAL_PAGE_H
#define PGDR_PG_WAL_PAGE_H

/* The headers of WAL pages (xlog_internal.h). Nothing here reads outside the given bytes. */

#include "lib/pg/lsn.h"
#include "lib/pg/version.h"

#define WAL_PAGE_SIZE 8192
#define WAL_PAGE_SHORT_HEADER 24
#define WAL_PAGE_LONG_HEADER 40

/* xlp_info */
enum {
    WAL_PAGE_CONTINUES = 0x0001,  /* begins with the rest of a record (rem_len bytes) */
    WAL_PAGE_LONG = 0x0002,       /* first page of a segment */
    WAL_PAGE_OVERWRITES = 0x0008, /* the rest that belongs here was lost, and is declared void */
    WAL_PAGE_FLAGS = 0x000F,
};

typedef struct WalPage {
    uint16_t magic, info;
    uint32_t tli;
    Lsn addr;
    uint32_t rem_len;
    uint32_t header_len;
    /* 0 unless WAL_PAGE_LONG */
    uint64_t system_id;
    uint32_t seg_size, wal_block_size;
} WalPage;

/* Only takes apart; `page` holds at least WAL_PAGE_LONG_HEADER bytes. */
WalPage wal_page_parse(const uint8_t *page);

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

/* ERR_DAMAGED when these are not the first bytes of a segment, ERR_VERSION for an unknown magic or
 * a server built with another WAL block size than 8 KiB. */
MUST_CHECK ErrCode wal_segment_header(const void *page, size_t len, WalSegmentHeader *ret,
                                      Err *err);

#endif
