#ifndef PGDR_CATALOG_WAL_INDEX_H
#define PGDR_CATALOG_WAL_INDEX_H

/*
 * The index of one WAL segment: when transactions ended, and the rare events that planning a
 * restore must know. It travels inside the WAL object, so it can neither be missing nor disagree,
 * and is made when the segment is pushed, from the records it is judged by anyway.
 *
 * A record that crosses a segment's border belongs to the segment where it ends. An index holds
 * the raw pages of what crosses its borders (fragments); wal_index_join() reads the crossing record
 * from the indexes of both segments.
 */

#include "lib/pg/wal_record.h"

typedef struct XactEnd {
    Lsn lsn; /* where its record starts */
    Lsn end; /* and ends */
    TimeUs time;
    uint32_t xid;
    bool commit;
} XactEnd;

typedef enum WalEventKind {
    WAL_EVENT_RESTORE_POINT,
    WAL_EVENT_CHECKPOINT,
    WAL_EVENT_END_OF_RECOVERY,
    WAL_EVENT_BACKUP_END,
    WAL_EVENT_PARAMETERS,
    WAL_EVENT_TABLESPACE_CREATE,
    WAL_EVENT_TABLESPACE_DROP,
    WAL_EVENT_INIT_FORK, /* an unlogged relation was made */
} WalEventKind;

typedef struct WalIndexEvent {
    WalEventKind kind;
    Lsn lsn, end;
    TimeUs time;       /* restore point, checkpoint, end of recovery; else 0 */
    char *text;        /* restore point: its name; tablespace: its path; else NULL */
    uint64_t number;   /* tablespace: oid; backup end: its start LSN; checkpoint: redo */
    uint64_t next_xid; /* checkpoint: with epoch */
    RelLocator rel;    /* init fork */
    WalParameters parameters;
} WalIndexEvent;

typedef struct WalIndex {
    Lsn start;       /* of the segment */
    Lsn first, ends; /* as in WalSegmentCheck */
    bool switched, spills;
    uint32_t xid_min, xid_max; /* of the records; in order of assignment (wrapping); 0, 0: none */
    bool has_subxacts;         /* some commit or assignment names subtransactions */
    VEC(XactEnd) xacts;        /* in LSN order */
    VEC(WalIndexEvent) events;
    bool fragments_cut; /* what crosses a border is too long to be kept here */
    Buf head, tail;     /* raw pages; empty when nothing crosses that border */
    Lsn tail_start;     /* where the record in `tail` starts */
} WalIndex;

void wal_index_release(WalIndex *x);

/* Checks a segment in memory and makes its index on the way. `v` comes from its header. */
MUST_CHECK ErrCode wal_index_build(const void *data, size_t len, Lsn start, WalSegmentCheck *check,
                                   WalIndex *ret, Err *err);

/* Appends the sections FRAG, TIME and EVENT. */
void wal_index_encode(const WalIndex *x, Buf *sections);
/* From a WAL object's table. *ret_there is false when the object has no index. */
MUST_CHECK ErrCode wal_index_decode(const Buf *table, Lsn start, WalIndex *ret, bool *ret_there,
                                    Err *err);

/* One record more: adds what it says to the index. */
void wal_index_add(WalIndex *x, const PgVersion *v, const WalRecord *r);
/* The same for one that crossed into the segment, and so ends before all others in it. */
void wal_index_add_first(WalIndex *x, const PgVersion *v, const WalRecord *r);

/*
 * Reads the record that begins in `before` and ends in `after` (the next segment) and adds it to
 * `after`. *ret_joined: false when nothing crosses, ERR_WAL_MISSING when the pieces are not there
 * or do not fit: then the segments themselves must be read.
 */
MUST_CHECK ErrCode wal_index_join(const WalIndex *before, WalIndex *after, uint32_t seg_size,
                                  bool *ret_joined, Err *err);

#endif
