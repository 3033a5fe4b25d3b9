#ifndef PGDR_TESTS_WAL_TEXT_H
#define PGDR_TESTS_WAL_TEXT_H

/* A WAL record as one line, in the form that tests/unit/data/waldump-lines makes of pg_waldump. */

#include "lib/common/buf.h"
#include "lib/common/bytes.h"
#include "lib/pg/wal_record.h"

static inline const char *wal_text_rmgr(uint8_t rmgr)
{
    static const char *const names[] = {
        "XLOG",       "Transaction",    "Storage", "CLOG",     "Database",
        "Tablespace", "MultiXact",      "RelMap",  "Standby",  "Heap2",
        "Heap",       "Btree",          "Hash",    "Gin",      "Gist",
        "Sequence",   "SPGist",         "BRIN",    "CommitTs", "ReplicationOrigin",
        "Generic",    "LogicalMessage",
    };
    return rmgr < ARRAY_LEN(names) ? names[rmgr] : "custom";
}

static const char *const wal_text_forks[] = {"main", "fsm", "vm", "init"};

static inline void wal_text_xact(const PgVersion *v, const WalRecord *r, Buf *out)
{
    WalXact x;
    if (!wal_record_xact(v, r, &x))
        return;
    char time[TIME_TEXT_LEN];
    buf_printf(out, " %s%s %u %s", x.commit ? "commit" : "abort", x.prepared ? "_prepared" : "",
               x.xid, time_format_utc(x.time, true, time));
    for (uint32_t i = 0; i < x.n_subxids; i++)
        buf_printf(out, " sub %u", get_u32(x.subxids + i * 4));
    for (uint32_t i = 0; i < x.n_dropped; i++)
        buf_printf(out, " drop %u/%u/%u", get_u32(x.dropped + i * 12),
                   get_u32(x.dropped + i * 12 + 4), get_u32(x.dropped + i * 12 + 8));
}

static inline void wal_text_xlog(const PgVersion *v, const WalRecord *r, Buf *out)
{
    WalCheckpoint k;
    WalParameters p;
    WalEndOfRecovery e;
    Lsn lsn;
    TimeUs t;
    char name[64], time[TIME_TEXT_LEN];
    if (wal_record_checkpoint(v, r, &k))
        buf_printf(out, " checkpoint %s redo " LSN_FMT " tli %u prev %u fpw %s level %d xid %u:%u",
                   k.shutdown ? "shutdown" : "online", LSN_ARG(k.redo), k.tli, k.prev_tli,
                   k.full_page_writes ? "true" : "false", k.wal_level, (uint32_t)(k.next_xid >> 32),
                   (uint32_t)k.next_xid);
    if (wal_record_restore_point(r, &t, name))
        buf_printf(out, " restore point %s", name);
    if (wal_record_is_switch(r))
        buf_append_str(out, " switch");
    if (wal_record_backup_end(r, &lsn))
        buf_printf(out, " backup end " LSN_FMT, LSN_ARG(lsn));
    if (wal_record_end_of_recovery(r, &e))
        buf_printf(out, " end of recovery tli %u prev %u %s", e.tli, e.prev_tli,
                   time_format_utc(e.time, true, time));
    if (wal_record_parameters(r, &p))
        buf_printf(out, " parameters %d %d %d %d %d level %d hints %s", p.max_connections,
                   p.max_worker_processes, p.max_wal_senders, p.max_prepared_xacts,
                   p.max_locks_per_xact, p.wal_level, p.wal_log_hints ? "on" : "off");
}

static inline void wal_text_storage(const PgVersion *v, const WalRecord *r, Buf *out)
{
    RelLocator rel;
    uint8_t fork;
    uint32_t blocks, oid;
    int flags;
    bool create;
    const char *path;
    WalDatabase d;
    if (wal_record_smgr_create(r, &rel, &fork))
        buf_printf(out, " create %u/%u/%u %s", rel.spc, rel.db, rel.rel,
                   fork < 4 ? wal_text_forks[fork] : "?");
    if (wal_record_smgr_truncate(r, &rel, &blocks, &flags))
        buf_printf(out, " truncate %u/%u/%u to %u flags %d", rel.spc, rel.db, rel.rel, blocks,
                   flags);
    if (wal_record_tablespace(r, &create, &oid, &path)) {
        buf_printf(out, " %s tablespace %u", create ? "create" : "drop", oid);
        if (create)
            buf_printf(out, " '%s'", path);
    }
    if (wal_record_database(v, r, &d))
        buf_printf(out, " %s database %u in %u", d.create ? "create" : "drop", d.db, d.spc);
}

static inline void wal_text(const PgVersion *v, const WalRecord *r, Buf *out)
{
    buf_printf(out, LSN_FMT " " LSN_FMT " %u %s %u", LSN_ARG(r->start), LSN_ARG(r->prev),
               r->total_len, wal_text_rmgr(r->rmgr), r->xid);
    uint32_t top, n;
    const uint8_t *subxids;
    wal_text_xact(v, r, out);
    if (wal_record_assignment(r, &top, &n, &subxids)) {
        buf_printf(out, " assignment %u of ", top);
        for (uint32_t i = 0; i < n; i++)
            buf_printf(out, "%s%u", i ? "," : "", get_u32(subxids + i * 4));
    }
    wal_text_xlog(v, r, out);
    wal_text_storage(v, r, out);
    for (unsigned i = 0; i < r->n_blocks; i++) {
        const WalBlock *b = &r->blocks[i];
        buf_printf(out, " | #%u %u/%u/%u %s %u %s", b->id, b->spc, b->db, b->rel,
                   b->fork < 4 ? wal_text_forks[b->fork] : "?", b->block,
                   !b->has_image      ? "-"
                   : b->image_applies ? "image"
                                      : "check");
    }
    buf_append_u8(out, '\n');
}

#endif
