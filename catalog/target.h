#ifndef PGDR_CATALOG_TARGET_H
#define PGDR_CATALOG_TARGET_H

/*
 * Recovery targets. Whatever the operator gives (a time, a transaction, a name, an LSN) is turned
 * into one record on one timeline path before anything is written: the last record that is wanted.
 * PostgreSQL is then told the LSN of that record, so that what the plan shows is what happens.
 */

#include "catalog/backups.h"
#include "catalog/wal_walk.h"

typedef enum TargetType {
    TARGET_LATEST,    /* to the end of the archived WAL */
    TARGET_IMMEDIATE, /* as soon as the backup is consistent */
    TARGET_TIME,
    TARGET_LSN,
    TARGET_XID,
    TARGET_NAME,
} TargetType;

typedef struct TargetSpec {
    TargetType type;
    TimeUs time;
    Lsn lsn;
    uint64_t xid; /* with epoch, or the low 32 bits */
    const char *name;
    bool exclusive; /* stop just before what is named */
} TargetSpec;

/* A transaction's end, as the plan shows it. */
typedef struct TargetXact {
    bool known;
    TimeUs time;
    uint32_t xid;
    Lsn lsn;
    bool commit;
} TargetXact;

typedef struct TargetPoint {
    bool to_end;    /* replay everything there is */
    bool immediate; /* stop at consistency */
    uint32_t tli;   /* where the record lies */
    Lsn lsn;        /* start of the last record wanted; unless to_end or immediate */
    Lsn end;        /* where replay ends (also for to_end and immediate) */
    TargetXact last_in, first_out;
    char warning[512]; /* "" when there is none */
    /* Seen in the WAL that will be replayed: */
    VEC(WalIndexEvent) tablespaces; /* TABLESPACE_CREATE events; texts owned */
    WalParameters parameters;       /* the greatest values of each */
} TargetPoint;
void target_point_release(TargetPoint *p);

/*
 * Resolves a target for recovery that begins with `backup` along `path` (which goes over the
 * backup's stop). ERR_UNREACHABLE with the reason when the target lies before the backup is
 * consistent (ERR_REFUSED, so that an older backup can be tried), behind the end of the WAL, or
 * cannot be found; ERR_WAL_MISSING when WAL is missing on the way.
 */
MUST_CHECK ErrCode target_resolve(WalStore *store, const TimelinePath *path,
                                  const BackupSummary *backup, const TargetSpec *spec,
                                  TargetPoint *ret, Err *err);

/* "time 2026-11-23 08:15:00.000000 UTC (exclusive)" for messages. `out` holds 160 bytes. */
const char *target_format(const TargetSpec *spec, char *out);

#endif
