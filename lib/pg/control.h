#ifndef PGDR_PG_CONTROL_H
#define PGDR_PG_CONTROL_H

/* global/pg_control of PostgreSQL 13 to 18. */

#include "lib/common/buf.h"
#include "lib/pg/lsn.h"
#include "lib/pg/version.h"

#define PG_CONTROL_FILE_SIZE 8192

/* DBState of the server. */
typedef enum PgState {
    PG_STATE_STARTUP = 0,
    PG_STATE_SHUTDOWNED,
    PG_STATE_SHUTDOWNED_IN_RECOVERY,
    PG_STATE_SHUTDOWNING,
    PG_STATE_IN_CRASH_RECOVERY,
    PG_STATE_IN_ARCHIVE_RECOVERY,
    PG_STATE_IN_PRODUCTION,
} PgState;

typedef struct PgControl {
    const PgVersion *version;
    uint64_t system_id;
    uint32_t control_version, catalog_version;
    PgState state;
    TimeUs time;
    Lsn checkpoint, redo;
    uint32_t checkpoint_tli, checkpoint_prev_tli;
    uint64_t next_xid; /* with epoch */
    TimeUs checkpoint_time;
    Lsn min_recovery_point;
    uint32_t min_recovery_tli;
    Lsn backup_start, backup_end;
    bool backup_end_required;
    int wal_level; /* 0 minimal, 1 replica, 2 logical */
    bool wal_log_hints, full_page_writes;
    int max_connections, max_worker_processes, max_wal_senders, max_prepared_xacts,
        max_locks_per_xact;
    uint32_t block_size, rel_seg_blocks; /* bytes; blocks a relation segment */
    uint32_t wal_block_size, wal_segment_size;
    uint32_t data_checksum_version; /* 0: off */
} PgControl;

/*
 * ERR_DAMAGED when the CRC-32C does not fit (a torn read, perhaps: read again), ERR_VERSION when
 * the version is not supported.
 */
MUST_CHECK ErrCode control_parse(const void *data, size_t len, PgControl *ret, Err *err);
/* Reads <data_dir>/global/pg_control, again for up to a second while its CRC does not fit (the
 * server may be writing it). `raw` (NULL: not wanted) receives the bytes that were accepted. */
MUST_CHECK ErrCode control_read(const char *data_dir, PgControl *ret, Buf *raw, Err *err);
/* "in production", … as pg_controldata says it. */
const char *pg_state_name(PgState state);

#endif
