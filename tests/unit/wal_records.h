#ifndef PGDR_TESTS_WAL_RECORDS_H
#define PGDR_TESTS_WAL_RECORDS_H

/* The records that a catalog looks for, written into WAL that is built (wal_build.h). Each returns
 * where it starts; b->at is then where it ends. Info codes and layouts: xact.h, pg_control.h,
 * xlog_internal.h and tablespace.h of PostgreSQL. */

#include <stdio.h>

#include "lib/common/buf.h"
#include "lib/common/timeutil.h"
#include "lib/pg/wal_record.h"
#include "tests/unit/wal_build.h"

/* A record of this main data. */
static inline Lsn build_data(WalBuild *b, uint8_t rmgr, uint8_t info, const Buf *data)
{
    uint32_t head = WAL_RECORD_HEADER + (data->len < 256 ? 2 : 5);
    return build_record(b, rmgr, info, data->data, (uint32_t)(head + data->len));
}

static inline void append_pg_time(Buf *data, TimeUs time)
{
    buf_append_u64(data, (uint64_t)(time - INT64_C(946684800) * US_PER_SECOND));
}

/* The end of a transaction. */
static inline Lsn build_xact(WalBuild *b, uint32_t xid, bool commit, TimeUs time)
{
    Buf data AUTO(buf_release) = {0};
    append_pg_time(&data, time);
    b->xid = xid;
    return build_data(b, RMGR_XACT, commit ? 0x00 : 0x20, &data);
}

/* A commit with subtransactions first … first + n − 1: four bytes each. */
static inline Lsn build_commit_with(WalBuild *b, uint32_t xid, TimeUs time, uint32_t first,
                                    uint32_t n)
{
    Buf data AUTO(buf_release) = {0};
    append_pg_time(&data, time);
    buf_append_u32(&data, 2); /* XACT_XINFO_HAS_SUBXACTS */
    buf_append_u32(&data, n);
    for (uint32_t i = 0; i < n; i++)
        buf_append_u32(&data, first + i);
    b->xid = xid;
    return build_data(b, RMGR_XACT, 0x80, &data);
}

static inline Lsn build_restore_point(WalBuild *b, const char *name, TimeUs time)
{
    Buf data AUTO(buf_release) = {0};
    char text[64] = "";
    snprintf(text, sizeof(text), "%s", name);
    append_pg_time(&data, time);
    buf_append(&data, text, sizeof(text));
    return build_data(b, RMGR_XLOG, 0x70, &data);
}

static inline Lsn build_checkpoint(WalBuild *b, Lsn redo, uint64_t next_xid, TimeUs time)
{
    static const uint8_t zeros[32];
    Buf data AUTO(buf_release) = {0};
    buf_append_u64(&data, redo);
    buf_append_u32(&data, b->tli);
    buf_append_u32(&data, b->tli);
    buf_append_u8(&data, 1);
    buf_append(&data, zeros, 3 + 4); /* and the level of logging, or padding */
    buf_append_u64(&data, next_xid);
    buf_append(&data, zeros, 32);
    buf_append_u64(&data, (uint64_t)(time / US_PER_SECOND));
    buf_append(&data, zeros, 12);
    return build_data(b, RMGR_XLOG, 0x10, &data);
}

static inline Lsn build_tablespace(WalBuild *b, uint32_t oid, const char *path)
{
    Buf data AUTO(buf_release) = {0};
    buf_append_u32(&data, oid);
    buf_append(&data, path, strlen(path) + 1);
    return build_data(b, RMGR_TBLSPC, 0x00, &data);
}

/* The other parameters are 1. */
static inline Lsn build_parameters(WalBuild *b, uint32_t max_connections)
{
    Buf data AUTO(buf_release) = {0};
    buf_append_u32(&data, max_connections);
    for (int i = 0; i < 5; i++)
        buf_append_u32(&data, 1);
    buf_append_u32(&data, 0);
    return build_data(b, RMGR_XLOG, 0x60, &data);
}

#endif
