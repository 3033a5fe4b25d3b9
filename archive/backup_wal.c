#include "archive/backup_wal.h"

#include <string.h>

#include "lib/common/log.h"
#include "lib/common/workers.h"

#define POLL_FIRST (US_PER_SECOND / 20)
#define POLL_LONGEST (1 * US_PER_SECOND)

/* --- waiting --- */

/* A standby cannot end the segment; its primary can, when it is known. */
static void wait_ask_primary(const BackupWal *w)
{
    PgConn *conn AUTO(pg_conn_closep) = NULL;
    Err err = {0};
    Lsn lsn;
    if (!w->primary) {
        log_info("the backup of a standby waits until its primary has finished the segment that "
                 "holds " LSN_FMT "; with \"primary\" in [cluster] it would ask for that",
                 LSN_ARG(w->stop - 1));
        return;
    }
    ErrCode rc = pg_conn_open(&conn, w->primary, &err);
    if (rc == ERR_OK)
        rc = pg_switch_wal(conn, &lsn, &err);
    if (rc != ERR_OK) {
        err_wrap(&err, "cannot ask the primary to finish its WAL segment");
        log_err(LOG_WARN, &err);
    }
}

static ErrCode wait_failed(const BackupWal *w, const char *missing, Err *err)
{
    char waited[TIME_TEXT_LEN];
    err_set(err, ERR_WAL_MISSING,
            "%s has not arrived in '%s' after %s: without it the backup "
            "cannot be restored",
            missing, repo_url(w->store->repo), duration_format(w->timeout, waited));
    if (w->from_standby)
        return err_hint(err, "the primary archives it when the segment is full or switched: "
                             "'select pg_switch_wal()' there, or set \"primary\" in [cluster]");
    return err_hint(err, "see the server's log and 'select * from pg_stat_archiver' for why "
                         "archive_command fails, or 'pgdr check'");
}

ErrCode backup_wal_wait(const BackupWal *w, Err *err)
{
    char missing[WAL_NAME_MAX], last[WAL_NAME_MAX] = "";
    Lsn from = w->start;
    TimeUs since = time_monotonic();
    bool asked = false;
    for (;;) {
        TRY(wal_walk_check(w->store, w->path, from, w->stop, missing, err));
        if (!missing[0])
            return ERR_OK;
        if (strcmp(missing, last) != 0) {
            memcpy(last, missing, sizeof(last));
            since = time_monotonic();
            WalName name = wal_name_parse(missing, w->store->seg_size);
            from = MAX(w->start, wal_segment_start(name.segno, w->store->seg_size));
        }
        if (w->from_standby && !asked && from + w->store->seg_size >= w->stop) {
            wait_ask_primary(w);
            asked = true;
        }
        TimeUs waited = time_monotonic() - since;
        if (waited > w->timeout)
            return wait_failed(w, missing, err);
        TRY(cancel_check(err));
        /* What has arrived is seen after an eighth of the time that it took. */
        time_sleep(MIN(MAX(waited / 8, POLL_FIRST), POLL_LONGEST));
    }
}

/* --- comparing --- */

static ErrCode other_history(const BackupWal *w, Lsn at, const char *what, Err *err)
{
    err_set(err, ERR_CONFLICT, "the WAL in '%s' at " LSN_FMT " is not this server's: %s",
            repo_url(w->store->repo), LSN_ARG(at), what);
    return err_hint(err,
                    "another server archives as cluster '%s', or this one was copied with its "
                    "identity; the backup was not kept",
                    w->store->repo->cluster);
}

static ErrCode compare_checkpoint(const BackupWal *w, Err *err)
{
    WalRecords *records AUTO(wal_records_freep) = wal_records_new(w->store, w->path, w->checkpoint);
    WalRecord r;
    WalCheckpoint c;
    bool end;
    TRY(wal_records_next(records, &r, &end, err));
    if (end || r.start != w->checkpoint ||
        !wal_record_checkpoint(wal_records_version(records), &r, &c))
        return other_history(w, w->checkpoint, "there is no checkpoint record", err);
    if (c.redo != w->start)
        return other_history(w, w->checkpoint, "its checkpoint begins elsewhere", err);
    if (w->control->checkpoint == w->checkpoint &&
        (w->control->checkpoint_time != c.time || w->control->next_xid != c.next_xid ||
         w->control->checkpoint_tli != c.tli))
        return other_history(w, w->checkpoint, "its checkpoint was made by another server", err);
    return ERR_OK;
}

static ErrCode compare_end(const BackupWal *w, Err *err)
{
    const uint32_t size = w->store->seg_size;
    Lsn from = MAX(w->start, wal_segment_start(wal_segno_before(w->stop, size), size));
    /* The record may have begun in the segment before. */
    from = from >= w->start + size ? from - size : w->start;
    WalRecords *records AUTO(wal_records_freep) = wal_records_new(w->store, w->path, from);
    for (;;) {
        WalRecord r;
        Lsn start;
        bool end;
        TRY(wal_records_next(records, &r, &end, err));
        if (end || r.start >= w->stop)
            return other_history(w, w->stop, "this backup's end is not recorded in it", err);
        if (wal_record_backup_end(&r, &start) && start == w->start)
            return ERR_OK;
    }
}

ErrCode backup_wal_compare(const BackupWal *w, Err *err)
{
    TRY(compare_checkpoint(w, err));
    return w->from_standby ? ERR_OK : compare_end(w, err);
}

/* --- what the WAL of the backup tells about its files --- */

ErrCode backup_wal_drop_unlogged(const BackupWal *w, BackupFiles *files, Err *err)
{
    WalWalk *walk AUTO(wal_walk_freep) = wal_walk_new(w->store, w->path, w->start);
    for (;;) {
        WalStep step;
        WalWalkEnd end;
        WalIndex x AUTO(wal_index_release) = {.start = 0};
        TRY(wal_walk_next(walk, &step, &end, err));
        if (end != WALK_STEP || step.start >= w->stop)
            return ERR_OK;
        TRY(wal_walk_index(walk, &step, &x, err));
        for (size_t i = 0; i < x.events.n; i++) {
            const WalIndexEvent *e = &x.events.at[i];
            if (e->kind == WAL_EVENT_INIT_FORK && e->lsn >= w->start && e->lsn < w->stop)
                backup_files_drop_relation(files, e->rel.spc, e->rel.db, e->rel.rel);
        }
    }
}

static void excuse_by_record(SuspectPages *suspects, const WalRecord *r)
{
    for (unsigned b = 0; b < r->n_blocks; b++) {
        const WalBlock *block = &r->blocks[b];
        if (!block->will_init && !(block->has_image && block->image_applies))
            continue;
        for (size_t i = 0; i < suspects->pages.n; i++) {
            SuspectPage *p = &suspects->pages.at[i];
            if (p->rel.spc == block->spc && p->rel.db == block->db && p->rel.rel == block->rel &&
                (uint8_t)p->rel.fork == block->fork && p->block == block->block)
                p->excused = true;
        }
    }
}

ErrCode backup_wal_excuse(const BackupWal *w, SuspectPages *suspects, Err *err)
{
    bool any = false;
    for (size_t i = 0; i < suspects->pages.n; i++) {
        SuspectPage *p = &suspects->pages.at[i];
        p->excused = p->rel.fork == FORK_FSM || p->rel.fork == FORK_VM;
        any |= !p->excused;
    }
    if (!any)
        return ERR_OK;
    WalRecords *records AUTO(wal_records_freep) = wal_records_new(w->store, w->path, w->start);
    for (;;) {
        WalRecord r;
        bool end;
        TRY(wal_records_next(records, &r, &end, err));
        if (end || r.start >= w->stop)
            return ERR_OK;
        excuse_by_record(suspects, &r);
    }
}
