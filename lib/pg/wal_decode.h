#ifndef PGDR_PG_WAL_DECODE_H
#define PGDR_PG_WAL_DECODE_H

/*
 * What a WAL record is made of (xlogrecord.h): the fixed header, headers of block references, the
 * main data. Every length is taken as a claim and checked against the bytes there are.
 */

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

#define WAL_RECORD_HEADER 24
/* The server can neither assemble nor read a longer one (MaxAllocSize; 1020 MiB from 16 on). */
#define WAL_RECORD_LEN_MAX ((uint32_t)0x3FFFFFFF)

typedef enum WalDecode {
    WAL_DECODE_OK,
    WAL_DECODE_CUT, /* nothing wrong so far, but the headers go on behind the bytes there are */
    WAL_DECODE_BAD,
} WalDecode;

/* The whole record of `len` ≥ WAL_RECORD_HEADER bytes against its CRC-32C. */
bool wal_record_crc_fits(const uint8_t *p, uint32_t len);

/*
 * Takes apart the record at `p`, of which `have` ≥ WAL_RECORD_HEADER of `total` bytes are there.
 * With OK everything in *r but start and end is set (main_data only if have == total); `p` must
 * outlive it. Whole records never answer CUT.
 */
WalDecode wal_record_decode(const PgVersion *v, const uint8_t *p, size_t have, uint32_t total,
                            WalRecord *r);

/* Built-in, or (where extensions may have one) in their range. */
bool wal_rmgr_valid(const PgVersion *v, uint8_t rmgr);

#endif
