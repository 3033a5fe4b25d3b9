#include "lib/pg/wal_decode.h"

#include "lib/common/bytes.h"
#include "lib/common/digest.h"

/* The fixed header: u32 total length, u32 xid, u64 previous record, info, rmgr, 2 zeros, u32 CRC.
 */
enum { AT_XID = 4, AT_PREV = 8, AT_INFO = 16, AT_RMGR = 17, AT_CRC = 20 };

enum {
    ID_TOPLEVEL_XID = 252,
    ID_ORIGIN = 253,
    ID_DATA_LONG = 254,
    ID_DATA_SHORT = 255,
};

/* fork_flags of a block reference */
enum {
    BLOCK_FORK_MASK = 0x0F,
    BLOCK_HAS_IMAGE = 0x10,
    BLOCK_HAS_DATA = 0x20,
    BLOCK_WILL_INIT = 0x40,
    BLOCK_SAME_REL = 0x80,
};

#define IMAGE_HAS_HOLE 0x01

bool wal_rmgr_valid(const PgVersion *v, uint8_t rmgr)
{
    return rmgr <= v->rmgr_last || (v->rmgr_custom && rmgr >= 128);
}

bool wal_record_crc_fits(const uint8_t *p, uint32_t len)
{
    uint32_t crc = crc32c(0, p + WAL_RECORD_HEADER, len - WAL_RECORD_HEADER);
    return crc32c(crc, p, AT_CRC) == get_u32(p + AT_CRC);
}

/* A page image's header; *data grows by what the image takes behind the headers. */
static void read_image(const PgVersion *v, Cursor *c, WalBlock *b, uint64_t *data)
{
    *data += cursor_u16(c);
    cursor_u16(c); /* where the hole begins */
    uint8_t flags = cursor_u8(c);
    if ((flags & v->image_compressed) && (flags & IMAGE_HAS_HOLE))
        cursor_u16(c); /* its length, which cannot be computed then */
    b->has_image = true;
    b->image_applies = (flags & v->image_applies) != 0;
}

/* One block reference behind its id; false when it contradicts itself. */
static bool read_block(const PgVersion *v, Cursor *c, uint8_t id, WalRecord *r, uint64_t *data)
{
    if (r->n_blocks && id <= r->blocks[r->n_blocks - 1].id)
        return false;
    const WalBlock *last = r->n_blocks ? &r->blocks[r->n_blocks - 1] : NULL;
    uint8_t flags = cursor_u8(c);
    uint16_t len = cursor_u16(c);
    if (!c->bad && (len != 0) != ((flags & BLOCK_HAS_DATA) != 0))
        return false;
    *data += len;
    WalBlock b = {
        .id = id, .fork = flags & BLOCK_FORK_MASK, .will_init = (flags & BLOCK_WILL_INIT) != 0};
    if (flags & BLOCK_HAS_IMAGE)
        read_image(v, c, &b, data);
    if (!(flags & BLOCK_SAME_REL)) {
        b.spc = cursor_u32(c);
        b.db = cursor_u32(c);
        b.rel = cursor_u32(c);
    } else if (last) {
        b.spc = last->spc;
        b.db = last->db;
        b.rel = last->rel;
    } else if (!c->bad) {
        return false;
    }
    b.block = cursor_u32(c);
    if (!c->bad)
        r->blocks[r->n_blocks++] = b;
    return true;
}

/* All headers up to the main data's, which is the last one; false when they are nonsense. */
static bool read_headers(const PgVersion *v, Cursor *c, uint32_t total, const uint8_t *start,
                         WalRecord *r, uint64_t *data)
{
    while (!c->bad && total - (uint64_t)(c->at - start) > *data) {
        uint8_t id = cursor_u8(c);
        if (c->bad)
            break;
        if (id == ID_DATA_SHORT || id == ID_DATA_LONG) {
            r->main_len = id == ID_DATA_SHORT ? cursor_u8(c) : cursor_u32(c);
            *data += r->main_len;
            break;
        }
        if (id == ID_ORIGIN)
            cursor_u16(c);
        else if (id == ID_TOPLEVEL_XID && v->toplevel_xid)
            r->toplevel_xid = cursor_u32(c);
        else if (id >= WAL_BLOCKS_MAX || !read_block(v, c, id, r, data))
            return false;
    }
    return true;
}

WalDecode wal_record_decode(const PgVersion *v, const uint8_t *p, size_t have, uint32_t total,
                            WalRecord *r)
{
    r->total_len = total;
    r->xid = get_u32(p + AT_XID);
    r->prev = get_u64(p + AT_PREV);
    r->info = p[AT_INFO];
    r->rmgr = p[AT_RMGR];
    r->toplevel_xid = 0;
    r->main_len = 0;
    r->main_data = NULL;
    r->n_blocks = 0;
    Cursor c = cursor_of(p + WAL_RECORD_HEADER, MIN(have, (size_t)total) - WAL_RECORD_HEADER);
    uint64_t data = 0;
    if (!read_headers(v, &c, total, p, r, &data))
        return WAL_DECODE_BAD;
    if (c.bad)
        return have < total ? WAL_DECODE_CUT : WAL_DECODE_BAD;
    if (total - (uint64_t)(c.at - p) != data)
        return WAL_DECODE_BAD;
    if (have >= total)
        r->main_data = p + total - r->main_len;
    return WAL_DECODE_OK;
}
