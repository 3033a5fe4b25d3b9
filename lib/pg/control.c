#include "lib/pg/control.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "lib/common/bytes.h"
#include "lib/common/digest.h"
#include "lib/common/file.h"
#include "lib/pg/wal_name.h"

/*
 * Offsets in pg_control, as the compilers of every 64-bit little-endian platform lay it out; they
 * are the same from 13 to 18 up to data_checksum_version. 17 put wal_level into padding of the
 * checkpoint's copy, 18 default_char_signedness before the nonce, which moved the CRC.
 */
enum {
    AT_SYSTEM_ID = 0,
    AT_CONTROL_VERSION = 8,
    AT_CATALOG_VERSION = 12,
    AT_STATE = 16,
    AT_TIME = 24,
    AT_CHECKPOINT = 32,
    AT_COPY = 40, /* of the checkpoint record */
    AT_COPY_REDO = AT_COPY,
    AT_COPY_TLI = AT_COPY + 8,
    AT_COPY_PREV_TLI = AT_COPY + 12,
    AT_COPY_FULL_PAGE_WRITES = AT_COPY + 16,
    AT_COPY_NEXT_XID = AT_COPY + 24,
    AT_COPY_TIME = AT_COPY + 64,
    AT_MIN_RECOVERY_POINT = 136,
    AT_MIN_RECOVERY_TLI = 144,
    AT_BACKUP_START = 152,
    AT_BACKUP_END = 160,
    AT_BACKUP_END_REQUIRED = 168,
    AT_WAL_LEVEL = 172,
    AT_WAL_LOG_HINTS = 176,
    AT_MAX_CONNECTIONS = 180,
    AT_MAX_WORKER_PROCESSES = 184,
    AT_MAX_WAL_SENDERS = 188,
    AT_MAX_PREPARED_XACTS = 192,
    AT_MAX_LOCKS_PER_XACT = 196,
    AT_BLOCK_SIZE = 216,
    AT_REL_SEG_BLOCKS = 220,
    AT_WAL_BLOCK_SIZE = 224,
    AT_WAL_SEGMENT_SIZE = 228,
    AT_DATA_CHECKSUM_VERSION = 252,
};

/* 9.6 says 960, 12 says 1201; a number outside this range is no version but damage. */
#define CONTROL_VERSION_LOWEST 800
#define CONTROL_VERSION_HIGHEST 9999

#define READ_AGAIN_FOR (1 * US_PER_SECOND)
#define READ_AGAIN_PAUSE (10 * US_PER_SECOND / 1000)

static ErrCode find_version(const uint8_t *p, const PgVersion **ret, Err *err)
{
    uint32_t control = get_u32(p + AT_CONTROL_VERSION), catalog = get_u32(p + AT_CATALOG_VERSION);
    *ret = pg_version_of_catalog(control, catalog);
    if (*ret)
        return ERR_OK;
    if (control < CONTROL_VERSION_LOWEST || control > CONTROL_VERSION_HIGHEST)
        return err_set(err, ERR_DAMAGED, "pg_control is damaged: it states the version %u",
                       control);
    err_set(err, ERR_VERSION,
            "pg_control is of a PostgreSQL that is not supported (control version %u, catalog "
            "version %u)",
            control, catalog);
    return err_hint(err, "this pgdr serves the released versions PostgreSQL %d to %d", PG_MAJOR_MIN,
                    PG_MAJOR_MAX);
}

/* pg_time_t: seconds since 1970. */
static TimeUs read_time(const uint8_t *p)
{
    return (TimeUs)(get_u64(p) * (uint64_t)US_PER_SECOND);
}

static void read_fields(const uint8_t *p, PgControl *c)
{
    c->system_id = get_u64(p + AT_SYSTEM_ID);
    c->control_version = get_u32(p + AT_CONTROL_VERSION);
    c->catalog_version = get_u32(p + AT_CATALOG_VERSION);
    c->state = (PgState)get_u32(p + AT_STATE);
    c->time = read_time(p + AT_TIME);
    c->checkpoint = get_u64(p + AT_CHECKPOINT);
    c->redo = get_u64(p + AT_COPY_REDO);
    c->checkpoint_tli = get_u32(p + AT_COPY_TLI);
    c->checkpoint_prev_tli = get_u32(p + AT_COPY_PREV_TLI);
    c->full_page_writes = p[AT_COPY_FULL_PAGE_WRITES] != 0;
    c->next_xid = get_u64(p + AT_COPY_NEXT_XID);
    c->checkpoint_time = read_time(p + AT_COPY_TIME);
    c->min_recovery_point = get_u64(p + AT_MIN_RECOVERY_POINT);
    c->min_recovery_tli = get_u32(p + AT_MIN_RECOVERY_TLI);
    c->backup_start = get_u64(p + AT_BACKUP_START);
    c->backup_end = get_u64(p + AT_BACKUP_END);
    c->backup_end_required = p[AT_BACKUP_END_REQUIRED] != 0;
    c->wal_level = (int)get_u32(p + AT_WAL_LEVEL);
    c->wal_log_hints = p[AT_WAL_LOG_HINTS] != 0;
    c->max_connections = (int)get_u32(p + AT_MAX_CONNECTIONS);
    c->max_worker_processes = (int)get_u32(p + AT_MAX_WORKER_PROCESSES);
    c->max_wal_senders = (int)get_u32(p + AT_MAX_WAL_SENDERS);
    c->max_prepared_xacts = (int)get_u32(p + AT_MAX_PREPARED_XACTS);
    c->max_locks_per_xact = (int)get_u32(p + AT_MAX_LOCKS_PER_XACT);
    c->block_size = get_u32(p + AT_BLOCK_SIZE);
    c->rel_seg_blocks = get_u32(p + AT_REL_SEG_BLOCKS);
    c->wal_block_size = get_u32(p + AT_WAL_BLOCK_SIZE);
    c->wal_segment_size = get_u32(p + AT_WAL_SEGMENT_SIZE);
    c->data_checksum_version = get_u32(p + AT_DATA_CHECKSUM_VERSION);
}

static bool good_size(uint32_t n, uint32_t max)
{
    return n >= 1024 && n <= max && (n & (n - 1)) == 0;
}

/* What the program divides by and allocates. The CRC says that a program has written these bytes,
 * not that it was PostgreSQL. */
static ErrCode check_sizes(const PgControl *c, Err *err)
{
    if (!good_size(c->block_size, 32768) || !good_size(c->wal_block_size, 65536) ||
        !c->rel_seg_blocks || !wal_segment_size_valid(c->wal_segment_size))
        return err_set(
            err, ERR_DAMAGED,
            "pg_control says that blocks have %u bytes, segments %u blocks, WAL pages %u "
            "and WAL segments %u bytes",
            c->block_size, c->rel_seg_blocks, c->wal_block_size, c->wal_segment_size);
    return ERR_OK;
}

ErrCode control_parse(const void *data, size_t len, PgControl *ret, Err *err)
{
    const uint8_t *p = data;
    if (len < AT_CATALOG_VERSION + 4)
        return err_set(err, ERR_DAMAGED, "pg_control has only %zu bytes", len);
    PgControl c = {0};
    TRY(find_version(p, &c.version, err));
    size_t crc_at = c.version->control_crc_at;
    if (len < crc_at + 4)
        return err_set(err, ERR_DAMAGED, "pg_control has only %zu bytes", len);
    if (crc32c(0, p, crc_at) != get_u32(p + crc_at))
        return err_set(err, ERR_DAMAGED, "pg_control is damaged: its checksum does not fit");
    read_fields(p, &c);
    TRY(check_sizes(&c, err));
    *ret = c;
    return ERR_OK;
}

static ErrCode read_once(const char *path, PgControl *ret, Buf *raw, Err *err)
{
    raw->len = 0;
    TRY(file_read_all(path, PG_CONTROL_FILE_SIZE, raw, err));
    return control_parse(raw->data, raw->len, ret, err);
}

ErrCode control_read(const char *data_dir, PgControl *ret, Buf *raw, Err *err)
{
    AUTO(mem_freep) char *path = path_join(data_dir, "global/pg_control");
    AUTO(buf_release) Buf own = {0};
    TimeUs give_up = time_monotonic() + READ_AGAIN_FOR;
    ErrCode rc;
    while ((rc = read_once(path, ret, &own, err)) == ERR_DAMAGED && time_monotonic() < give_up)
        time_sleep(READ_AGAIN_PAUSE);
    if (rc == ERR_NOT_FOUND)
        return err_hint(err, "is '%s' a data directory?", data_dir);
    if (rc == ERR_DAMAGED || rc == ERR_VERSION)
        return err_wrap(err, "'%s'", path);
    if (rc != ERR_OK)
        return rc;
    if (raw)
        buf_append(raw, own.data, own.len);
    return ERR_OK;
}

const char *pg_state_name(PgState state)
{
    switch (state) {
    case PG_STATE_STARTUP:
        return "starting up";
    case PG_STATE_SHUTDOWNED:
        return "shut down";
    case PG_STATE_SHUTDOWNED_IN_RECOVERY:
        return "shut down in recovery";
    case PG_STATE_SHUTDOWNING:
        return "shutting down";
    case PG_STATE_IN_CRASH_RECOVERY:
        return "in crash recovery";
    case PG_STATE_IN_ARCHIVE_RECOVERY:
        return "in archive recovery";
    case PG_STATE_IN_PRODUCTION:
        return "in production";
    }
    return "in an unknown state";
}
