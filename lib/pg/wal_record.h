#ifndef PGDR_PG_WAL_RECORD_H
#define PGDR_PG_WAL_RECORD_H

/* What single WAL records mean, by version: only what backup and recovery need to know. */

#include "lib/pg/wal_scan.h"

typedef struct RelLocator {
    uint32_t spc, db, rel;
} RelLocator;

/* Commit, abort, commit prepared, abort prepared. Pointers are borrowed from the record. */
typedef struct WalXact {
    bool commit;
    bool prepared; /* COMMIT PREPARED or ABORT PREPARED: xid is that of the prepared transaction */
    uint32_t xid;  /* the top-level transaction that ended */
    TimeUs time;   /* when, by the server's clock */
    uint32_t db;   /* 0: not logged */
    uint32_t n_subxids;
    const uint8_t *subxids; /* n × u32, unaligned: read with get_u32() */
    uint32_t n_dropped;
    const uint8_t *dropped; /* n × RelLocator as three u32, unaligned */
} WalXact;
/* False when the record does not end a transaction (PREPARE does not either), or cannot be taken
 * apart: then wal_record_is_unknown_special() says so. */
bool wal_record_xact(const PgVersion *v, const WalRecord *r, WalXact *ret);

typedef struct WalCheckpoint {
    bool shutdown;
    Lsn redo;
    uint32_t tli, prev_tli;
    bool full_page_writes;
    TimeUs time;
    uint64_t next_xid; /* with epoch */
    int wal_level;     /* -1: not in this version's record */
} WalCheckpoint;
bool wal_record_checkpoint(const PgVersion *v, const WalRecord *r, WalCheckpoint *ret);

/* XLOG_RESTORE_POINT; `name` holds 64. */
bool wal_record_restore_point(const WalRecord *r, TimeUs *time, char *name);
bool wal_record_is_switch(const WalRecord *r);
/* XLOG_BACKUP_END: the start LSN (redo) of the backup that ended. */
bool wal_record_backup_end(const WalRecord *r, Lsn *start);

typedef struct WalParameters {
    int max_connections, max_worker_processes, max_wal_senders, max_prepared_xacts,
        max_locks_per_xact;
    int wal_level;
    bool wal_log_hints;
} WalParameters;
bool wal_record_parameters(const WalRecord *r, WalParameters *ret);

/* XLOG_END_OF_RECOVERY */
typedef struct WalEndOfRecovery {
    TimeUs time;
    uint32_t tli, prev_tli;
} WalEndOfRecovery;
bool wal_record_end_of_recovery(const WalRecord *r, WalEndOfRecovery *ret);

/* XLOG_TBLSPC_CREATE / DROP; the path is borrowed and NUL-terminated ("" for DROP, and for an
 * in-place tablespace). */
bool wal_record_tablespace(const WalRecord *r, bool *create, uint32_t *oid, const char **path);
/* XLOG_SMGR_CREATE / TRUNCATE */
bool wal_record_smgr_create(const WalRecord *r, RelLocator *rel, uint8_t *fork);
bool wal_record_smgr_truncate(const WalRecord *r, RelLocator *rel, uint32_t *blocks, int *flags);
/* XLOG_DBASE_CREATE* and DROP, by version. */
typedef struct WalDatabase {
    bool create;
    uint32_t db, spc; /* of DROP: the first tablespace */
    /* The tablespaces in which the database's directory is created or removed: n × u32, unaligned.
     * (ALTER DATABASE … SET TABLESPACE creates in one and drops in the other.) */
    uint32_t n_spcs;
    const uint8_t *spcs;
} WalDatabase;
bool wal_record_database(const PgVersion *v, const WalRecord *r, WalDatabase *ret);

/* XLOG_XACT_ASSIGNMENT: subtransactions of a running top-level transaction. */
bool wal_record_assignment(const WalRecord *r, uint32_t *top, uint32_t *n, const uint8_t **subxids);

/* XLR_SPECIAL_REL_UPDATE is set and the record is none that this table understands, or one of those
 * that are understood is malformed: nothing about changed blocks can be concluded beyond it. */
bool wal_record_is_unknown_special(const PgVersion *v, const WalRecord *r);

#endif
