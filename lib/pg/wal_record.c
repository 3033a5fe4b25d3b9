#include "lib/pg/wal_record.h"

#include <string.h>

#include "lib/common/bytes.h"

/* Info codes (the high four bits): pg_control.h, xact.h, storage_xlog.h, tablespace.h. Those of
 * databases differ and are in the version table. */
enum {
    XLOG_CHECKPOINT_SHUTDOWN = 0x00,
    XLOG_CHECKPOINT_ONLINE = 0x10,
    XLOG_SWITCH = 0x40,
    XLOG_BACKUP_END = 0x50,
    XLOG_PARAMETER_CHANGE = 0x60,
    XLOG_RESTORE_POINT = 0x70,
    XLOG_END_OF_RECOVERY = 0x90,
};
enum {
    XACT_COMMIT = 0x00,
    XACT_ABORT = 0x20,
    XACT_COMMIT_PREPARED = 0x30,
    XACT_ABORT_PREPARED = 0x40,
    XACT_ASSIGNMENT = 0x50,
    XACT_OP_MASK = 0x70,
    XACT_HAS_INFO = 0x80,
};
enum { SMGR_CREATE = 0x10, SMGR_TRUNCATE = 0x20 };
enum { TBLSPC_CREATE = 0x00, TBLSPC_DROP = 0x10 };
#define INFO_MASK 0xF0
#define SPECIAL_REL_UPDATE 0x01

/* xinfo of commit and abort records: the parts that follow, in this order. */
enum {
    HAS_DATABASE = 1 << 0,
    HAS_SUBXACTS = 1 << 1,
    HAS_RELATIONS = 1 << 2,
    HAS_DROPPED_STATS = 1 << 8,
    HAS_INVALIDATIONS = 1 << 3, /* only in commits */
    HAS_TWOPHASE = 1 << 4,
};
#define RELATION_LEN 12
#define INVALIDATION_LEN 16

#define RESTORE_POINT_NAME_LEN 64

static bool is_kind(const WalRecord *r, WalRmgr rmgr, uint8_t info)
{
    return r->rmgr == rmgr && (r->info & INFO_MASK) == info;
}

static Cursor main_data(const WalRecord *r)
{
    return cursor_of(r->main_data, r->main_len);
}

static RelLocator read_locator(Cursor *c)
{
    RelLocator l = {.spc = cursor_u32(c)};
    l.db = cursor_u32(c);
    l.rel = cursor_u32(c);
    return l;
}

/* A count and that many items; NULL and *n = 0 when there are none. */
static const uint8_t *read_items(Cursor *c, uint32_t item_len, uint32_t *n)
{
    *n = cursor_u32(c);
    return cursor_read(c, (uint64_t)*n * item_len);
}

static void read_xact_parts(const PgVersion *v, Cursor *c, uint32_t xinfo, WalXact *x)
{
    uint32_t n;
    if (xinfo & HAS_DATABASE) {
        x->db = cursor_u32(c);
        cursor_u32(c); /* its tablespace */
    }
    if (xinfo & HAS_SUBXACTS)
        x->subxids = read_items(c, 4, &x->n_subxids);
    if (xinfo & HAS_RELATIONS)
        x->dropped = read_items(c, RELATION_LEN, &x->n_dropped);
    if ((xinfo & HAS_DROPPED_STATS) && v->dropped_stats_size)
        read_items(c, v->dropped_stats_size, &n);
    if ((xinfo & HAS_INVALIDATIONS) && x->commit)
        read_items(c, INVALIDATION_LEN, &n);
    if (xinfo & HAS_TWOPHASE) {
        uint32_t xid = cursor_u32(c);
        if (x->prepared)
            x->xid = xid;
    } else if (x->prepared) {
        c->bad = true;
    }
}

bool wal_record_xact(const PgVersion *v, const WalRecord *r, WalXact *ret)
{
    if (r->rmgr != RMGR_XACT)
        return false;
    uint8_t op = r->info & XACT_OP_MASK;
    if (op != XACT_COMMIT && op != XACT_ABORT && op != XACT_COMMIT_PREPARED &&
        op != XACT_ABORT_PREPARED)
        return false;
    WalXact x = {
        .commit = op == XACT_COMMIT || op == XACT_COMMIT_PREPARED,
        .prepared = op == XACT_COMMIT_PREPARED || op == XACT_ABORT_PREPARED,
        .xid = r->xid,
    };
    Cursor c = main_data(r);
    x.time = time_of_pg((int64_t)cursor_u64(&c));
    read_xact_parts(v, &c, r->info & XACT_HAS_INFO ? cursor_u32(&c) : 0, &x);
    if (c.bad)
        return false;
    *ret = x;
    return true;
}

bool wal_record_checkpoint(const PgVersion *v, const WalRecord *r, WalCheckpoint *ret)
{
    bool shutdown = is_kind(r, RMGR_XLOG, XLOG_CHECKPOINT_SHUTDOWN);
    if (!shutdown && !is_kind(r, RMGR_XLOG, XLOG_CHECKPOINT_ONLINE))
        return false;
    Cursor c = main_data(r);
    WalCheckpoint k = {.shutdown = shutdown};
    k.redo = cursor_u64(&c);
    k.tli = cursor_u32(&c);
    k.prev_tli = cursor_u32(&c);
    k.full_page_writes = cursor_u8(&c) != 0;
    cursor_read(&c, 3);
    uint32_t wal_level = cursor_u32(&c); /* padding before 17 */
    k.wal_level = v->wal_level_logged ? (int)wal_level : -1;
    k.next_xid = cursor_u64(&c);
    cursor_read(&c,
                32); /* oid, multixacts, oldest xid and multixact with their databases, padding */
    k.time = (TimeUs)(cursor_u64(&c) * (uint64_t)US_PER_SECOND);
    if (c.bad)
        return false;
    *ret = k;
    return true;
}

bool wal_record_restore_point(const WalRecord *r, TimeUs *time, char *name)
{
    if (!is_kind(r, RMGR_XLOG, XLOG_RESTORE_POINT) || r->main_len < 8 + RESTORE_POINT_NAME_LEN)
        return false;
    *time = time_of_pg((int64_t)get_u64(r->main_data));
    memcpy(name, r->main_data + 8, RESTORE_POINT_NAME_LEN);
    name[RESTORE_POINT_NAME_LEN - 1] = '\0';
    return true;
}

bool wal_record_is_switch(const WalRecord *r)
{
    return is_kind(r, RMGR_XLOG, XLOG_SWITCH);
}

bool wal_record_backup_end(const WalRecord *r, Lsn *start)
{
    if (!is_kind(r, RMGR_XLOG, XLOG_BACKUP_END) || r->main_len < 8)
        return false;
    *start = get_u64(r->main_data);
    return true;
}

bool wal_record_parameters(const WalRecord *r, WalParameters *ret)
{
    if (!is_kind(r, RMGR_XLOG, XLOG_PARAMETER_CHANGE))
        return false;
    Cursor c = main_data(r);
    WalParameters p = {.max_connections = (int)cursor_u32(&c)};
    p.max_worker_processes = (int)cursor_u32(&c);
    p.max_wal_senders = (int)cursor_u32(&c);
    p.max_prepared_xacts = (int)cursor_u32(&c);
    p.max_locks_per_xact = (int)cursor_u32(&c);
    p.wal_level = (int)cursor_u32(&c);
    p.wal_log_hints = cursor_u8(&c) != 0;
    if (c.bad)
        return false;
    *ret = p;
    return true;
}

bool wal_record_end_of_recovery(const WalRecord *r, WalEndOfRecovery *ret)
{
    if (!is_kind(r, RMGR_XLOG, XLOG_END_OF_RECOVERY) || r->main_len < 16)
        return false;
    ret->time = time_of_pg((int64_t)get_u64(r->main_data));
    ret->tli = get_u32(r->main_data + 8);
    ret->prev_tli = get_u32(r->main_data + 12);
    return true;
}

bool wal_record_tablespace(const WalRecord *r, bool *create, uint32_t *oid, const char **path)
{
    bool is_create = is_kind(r, RMGR_TBLSPC, TBLSPC_CREATE);
    if ((!is_create && !is_kind(r, RMGR_TBLSPC, TBLSPC_DROP)) || r->main_len < 4)
        return false;
    const char *text = (const char *)r->main_data + 4;
    if (is_create && !memchr(text, '\0', r->main_len - 4))
        return false;
    *create = is_create;
    *oid = get_u32(r->main_data);
    *path = is_create ? text : "";
    return true;
}

bool wal_record_smgr_create(const WalRecord *r, RelLocator *rel, uint8_t *fork)
{
    if (!is_kind(r, RMGR_SMGR, SMGR_CREATE) || r->main_len < RELATION_LEN + 4)
        return false;
    Cursor c = main_data(r);
    *rel = read_locator(&c);
    *fork = (uint8_t)cursor_u32(&c);
    return true;
}

bool wal_record_smgr_truncate(const WalRecord *r, RelLocator *rel, uint32_t *blocks, int *flags)
{
    if (!is_kind(r, RMGR_SMGR, SMGR_TRUNCATE) || r->main_len < 4 + RELATION_LEN + 4)
        return false;
    Cursor c = main_data(r);
    *blocks = cursor_u32(&c);
    *rel = read_locator(&c);
    *flags = (int)cursor_u32(&c);
    return true;
}

bool wal_record_database(const PgVersion *v, const WalRecord *r, WalDatabase *ret)
{
    if (r->rmgr != RMGR_DBASE || (r->info & INFO_MASK) > v->dbase_drop)
        return false;
    Cursor c = main_data(r);
    WalDatabase d = {.create = (r->info & INFO_MASK) != v->dbase_drop, .n_spcs = 1};
    d.db = cursor_u32(&c);
    d.spcs = d.create ? cursor_read(&c, 4) : read_items(&c, 4, &d.n_spcs);
    if (c.bad || d.n_spcs == 0)
        return false;
    d.spc = get_u32(d.spcs);
    *ret = d;
    return true;
}

bool wal_record_assignment(const WalRecord *r, uint32_t *top, uint32_t *n, const uint8_t **subxids)
{
    if (r->rmgr != RMGR_XACT || (r->info & XACT_OP_MASK) != XACT_ASSIGNMENT)
        return false;
    Cursor c = main_data(r);
    uint32_t xtop = cursor_u32(&c), count;
    const uint8_t *items = read_items(&c, 4, &count);
    if (c.bad)
        return false;
    *top = xtop;
    *n = count;
    *subxids = items;
    return true;
}

bool wal_record_is_unknown_special(const PgVersion *v, const WalRecord *r)
{
    WalXact xact;
    WalDatabase database;
    RelLocator rel;
    uint8_t fork, op = r->info & XACT_OP_MASK;
    uint32_t blocks;
    int flags;
    if (r->rmgr == RMGR_XACT && (op == XACT_COMMIT || op == XACT_ABORT ||
                                 op == XACT_COMMIT_PREPARED || op == XACT_ABORT_PREPARED))
        return !wal_record_xact(v, r, &xact);
    if (r->rmgr == RMGR_SMGR)
        return !wal_record_smgr_create(r, &rel, &fork) &&
               !wal_record_smgr_truncate(r, &rel, &blocks, &flags);
    if (r->rmgr == RMGR_DBASE)
        return !wal_record_database(v, r, &database);
    return (r->info & SPECIAL_REL_UPDATE) != 0;
}
