#include "lib/pg/wal_page.h"

#include "lib/common/bytes.h"
#include "lib/common/digest.h"
#include "lib/pg/wal_name.h"

WalPage wal_page_parse(const uint8_t *page)
{
    WalPage p = {
        .magic = get_u16(page),
        .info = get_u16(page + 2),
        .tli = get_u32(page + 4),
        .addr = get_u64(page + 8),
        .rem_len = get_u32(page + 16),
        .header_len = WAL_PAGE_SHORT_HEADER,
    };
    if (p.info & WAL_PAGE_LONG) {
        p.header_len = WAL_PAGE_LONG_HEADER;
        p.system_id = get_u64(page + 24);
        p.seg_size = get_u32(page + 32);
        p.wal_block_size = get_u32(page + 36);
    }
    return p;
}

/* Every release since 8.0 has used 0xD05C or more; 18 uses 0xD118. */
static bool magic_plausible(uint16_t magic)
{
    return magic >> 8 == 0xD0 || magic >> 8 == 0xD1;
}

static ErrCode find_version(const uint8_t *bytes, uint16_t magic, const PgVersion **ret, Err *err)
{
    *ret = pg_version_of_wal_magic(magic);
    if (*ret)
        return ERR_OK;
    if (is_all_zero(bytes, WAL_PAGE_LONG_HEADER))
        return err_set(err, ERR_DAMAGED, "this is no WAL segment: it begins with zeros");
    if (!magic_plausible(magic))
        return err_set(err, ERR_DAMAGED, "this is no WAL segment: it begins with %04X", magic);
    err_set(err, ERR_VERSION, "WAL of a PostgreSQL version that is not supported (magic %04X)",
            magic);
    return err_hint(err, "this pgdr serves the released versions PostgreSQL %d to %d", PG_MAJOR_MIN,
                    PG_MAJOR_MAX);
}

ErrCode wal_segment_header(const void *page, size_t len, WalSegmentHeader *ret, Err *err)
{
    if (len < WAL_PAGE_LONG_HEADER)
        return err_set(err, ERR_DAMAGED, "this is no WAL segment: it has only %zu bytes", len);
    WalPage p = wal_page_parse(page);
    WalSegmentHeader h = {.system_id = p.system_id,
                          .tli = p.tli,
                          .page_addr = p.addr,
                          .seg_size = p.seg_size,
                          .wal_block_size = p.wal_block_size,
                          .rem_len = p.info & WAL_PAGE_CONTINUES ? p.rem_len : 0};
    TRY(find_version(page, p.magic, &h.version, err));
    if (!(p.info & WAL_PAGE_LONG) || (p.info & ~WAL_PAGE_FLAGS) || p.tli == 0)
        return err_set(err, ERR_DAMAGED,
                       "this is no WAL segment: its first page has the flags %04X and timeline %u",
                       p.info, p.tli);
    if (p.wal_block_size != WAL_PAGE_SIZE) {
        err_set(err, ERR_VERSION, "WAL with blocks of %u bytes is not supported", p.wal_block_size);
        return err_hint(err, "the server was built with another --with-wal-blocksize than 8");
    }
    if (!wal_segment_size_valid(p.seg_size) || p.addr % p.seg_size != 0)
        return err_set(err, ERR_DAMAGED,
                       "this is no WAL segment: its header states the position " LSN_FMT
                       " and a segment size of %u bytes",
                       LSN_ARG(p.addr), p.seg_size);
    *ret = h;
    return ERR_OK;
}
