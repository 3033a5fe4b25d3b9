#include "catalog/target.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/common/bytes.h"
#include "lib/common/workers.h"

/* Segments read behind the point, for the first transaction that is left out, and for those that a
 * clock set back put there although their time lies before the target. */
#define LOOK_ON 16

typedef struct Resolver {
    WalStore *store;
    const TimelinePath *path;
    const BackupSummary *backup;
    const TargetSpec *spec;
    TargetPoint point;
    XactEnd last; /* the last transaction's end seen, in LSN order */
    bool has_last;
    bool found; /* the point is known; what follows is only looked at for what the plan shows */
    unsigned looked_on; /* segments read since then */
    TimeUs newest;      /* latest time seen in any record: WAL is known to reach this far */
    Lsn end;            /* the WAL seen so far ends here */
    Lsn last_segment;   /* start of the last segment seen in which a record starts */
    uint64_t next_xid;
    VEC(WalIndexEvent) parameters; /* PARAMETERS events */
    StrList names;                 /* all restore points of the wanted name, in words */
    Lsn name_lsn, name_end;
    XactEnd name_last;
    bool name_has_last;
} Resolver;

void target_point_release(TargetPoint *p)
{
    for (size_t i = 0; i < p->tablespaces.n; i++)
        free(p->tablespaces.at[i].text);
    vec_release(&p->tablespaces);
    *p = (TargetPoint){.to_end = false};
}

const char *target_format(const TargetSpec *spec, char *out)
{
    char text[TIME_TEXT_LEN];
    const char *how = spec->exclusive ? " (exclusive)" : "";
    switch (spec->type) {
    case TARGET_LATEST:
        snprintf(out, 160, "the end of the archived WAL");
        break;
    case TARGET_IMMEDIATE:
        snprintf(out, 160, "the end of the backup");
        break;
    case TARGET_TIME:
        snprintf(out, 160, "time %s%s", time_format_utc(spec->time, true, text), how);
        break;
    case TARGET_LSN:
        snprintf(out, 160, "LSN " LSN_FMT "%s", LSN_ARG(spec->lsn), how);
        break;
    case TARGET_XID:
        snprintf(out, 160, "transaction %" PRIu64 "%s", spec->xid, how);
        break;
    case TARGET_NAME:
        snprintf(out, 160, "restore point '%.80s'%s", spec->name, how);
        break;
    }
    return out;
}

static TargetXact target_xact(const XactEnd *x)
{
    return (TargetXact){
        .known = true, .time = x->time, .xid = x->xid, .lsn = x->lsn, .commit = x->commit};
}

static uint32_t path_tli(const Resolver *r, Lsn lsn)
{
    return timeline_at(r->path, lsn);
}

/* The last record wanted is that of `lsn`; before the backup's end there is nothing to stop at. */
static void point_set(Resolver *r, Lsn lsn, Lsn end)
{
    r->found = true;
    r->point.immediate = end <= r->backup->stop_lsn;
    r->point.lsn = r->point.immediate ? 0 : lsn;
    r->point.end = r->point.immediate ? r->backup->stop_lsn : end;
    r->point.tli = path_tli(r, r->point.end - 1);
    if (r->has_last)
        r->point.last_in = target_xact(&r->last);
}

/* Everything up to, not including, what comes next. */
static void point_before(Resolver *r)
{
    if (r->has_last)
        point_set(r, r->last.lsn, r->last.end);
    else
        point_set(r, r->backup->stop_lsn, r->backup->stop_lsn);
}

static ErrCode too_early(const Resolver *r, Err *err)
{
    char text[160], stop[TIME_TEXT_LEN];
    return err_set(err, ERR_REFUSED, "%s lies before the end of backup %s (" LSN_FMT ", %s)",
                   target_format(r->spec, text), r->backup->id, LSN_ARG(r->backup->stop_lsn),
                   time_format_utc(r->backup->stop_time, false, stop));
}

/* --- what each record means for the target --- */

static uint64_t full_xid(const Resolver *r, uint32_t xid)
{
    if (!r->next_xid)
        return xid;
    return r->next_xid + (uint64_t)(int64_t)(int32_t)(xid - (uint32_t)r->next_xid);
}

static bool xid_matches(const Resolver *r, uint32_t xid)
{
    if (xid != (uint32_t)r->spec->xid)
        return false;
    return r->spec->xid <= UINT32_MAX || full_xid(r, xid) == r->spec->xid;
}

static ErrCode see_xid(Resolver *r, const XactEnd *x, Err *err)
{
    if (x->lsn < r->backup->stop_lsn && !r->spec->exclusive && x->end < r->backup->stop_lsn)
        return too_early(r, err);
    if (!x->commit)
        snprintf(r->point.warning, sizeof(r->point.warning),
                 "transaction %u was rolled back, not committed", x->xid);
    if (r->spec->exclusive) {
        if (x->lsn < r->backup->stop_lsn)
            return too_early(r, err);
        point_before(r);
        r->point.first_out = target_xact(x);
        return ERR_OK;
    }
    r->last = *x;
    r->has_last = true;
    point_set(r, x->lsn, x->end);
    return ERR_OK;
}

static ErrCode see_xact(Resolver *r, const XactEnd *x, Err *err)
{
    r->newest = MAX(r->newest, x->time);
    if (r->found) {
        if (!r->point.first_out.known)
            r->point.first_out = target_xact(x);
        if (r->spec->type == TARGET_TIME && !r->point.warning[0] &&
            (r->spec->exclusive ? x->time < r->spec->time : x->time <= r->spec->time))
            snprintf(r->point.warning, sizeof(r->point.warning),
                     "the server's clock went backwards: transaction %u ended later in the WAL but "
                     "with an earlier time, and is left out",
                     x->xid);
        return ERR_OK;
    }
    if (r->spec->type == TARGET_TIME &&
        (r->spec->exclusive ? x->time >= r->spec->time : x->time > r->spec->time)) {
        if (x->lsn < r->backup->stop_lsn)
            return too_early(r, err);
        point_before(r);
        r->point.first_out = target_xact(x);
        return ERR_OK;
    }
    if (r->spec->type == TARGET_XID && xid_matches(r, x->xid))
        return see_xid(r, x, err);
    r->last = *x;
    r->has_last = true;
    return ERR_OK;
}

static void see_restore_point(Resolver *r, const WalIndexEvent *e)
{
    char when[TIME_TEXT_LEN];
    if (r->spec->type != TARGET_NAME || strcmp(e->text, r->spec->name) != 0)
        return;
    vec_push(&r->names,
             mem_printf(LSN_FMT " (%s)", LSN_ARG(e->lsn), time_format_utc(e->time, true, when)));
    r->name_lsn = e->lsn;
    r->name_end = e->end;
    r->name_last = r->last;
    r->name_has_last = r->has_last;
}

static void max_parameters(WalParameters *to, const WalParameters *p)
{
    to->max_connections = MAX(to->max_connections, p->max_connections);
    to->max_worker_processes = MAX(to->max_worker_processes, p->max_worker_processes);
    to->max_wal_senders = MAX(to->max_wal_senders, p->max_wal_senders);
    to->max_prepared_xacts = MAX(to->max_prepared_xacts, p->max_prepared_xacts);
    to->max_locks_per_xact = MAX(to->max_locks_per_xact, p->max_locks_per_xact);
}

static void see_event(Resolver *r, const WalIndexEvent *e)
{
    r->newest = MAX(r->newest, e->time);
    if (e->kind == WAL_EVENT_CHECKPOINT)
        r->next_xid = e->next_xid;
    if (e->kind == WAL_EVENT_RESTORE_POINT)
        see_restore_point(r, e);
    if (r->found && e->lsn > r->point.lsn)
        return; /* not replayed */
    if (e->kind == WAL_EVENT_PARAMETERS)
        vec_push(&r->parameters, *e);
    if (e->kind == WAL_EVENT_TABLESPACE_CREATE) {
        WalIndexEvent copy = *e;
        copy.text = mem_strdup(e->text ? e->text : "");
        vec_push(&r->point.tablespaces, copy);
    }
}

/* --- single records, where the index is not enough --- */

/* A hole ends the search as the end of the WAL does: what was looked for may lie before it, and if
 * not, the walk meets the hole itself and has more to say about it. */
static ErrCode next_record(WalRecords *records, WalRecord *rec, bool *ret_end, Err *err)
{
    Err why = {0};
    ErrCode rc = wal_records_next(records, rec, ret_end, &why);
    if (rc == ERR_OK)
        return rc;
    if (rc != ERR_WAL_MISSING) {
        *err = why;
        return rc;
    }
    *ret_end = true;
    return ERR_OK;
}

/* The commit that contains a subtransaction: looked for in the WAL of one segment, and of the
 * record that crosses into it. */
static ErrCode find_subxact(Resolver *r, const WalStep *step, const WalIndex *x, XactEnd *ret,
                            bool *ret_found, Err *err)
{
    Lsn from = x->xacts.n ? MIN(step->start, x->xacts.at[0].lsn) : step->start;
    WalRecords *records AUTO(wal_records_freep) =
        wal_records_new(r->store, r->path, MAX(from, r->backup->start_lsn));
    Lsn until = step->start + r->store->seg_size;
    *ret_found = false;
    for (;;) {
        WalRecord rec;
        WalXact xact;
        bool end;
        TRY(next_record(records, &rec, &end, err));
        if (end || rec.start >= until)
            return ERR_OK;
        if (!wal_record_xact(wal_records_version(records), &rec, &xact))
            continue;
        for (uint32_t i = 0; i < xact.n_subxids && !*ret_found; i++)
            *ret_found = xid_matches(r, get_u32(xact.subxids + 4 * i));
        if (*ret_found) {
            *ret = (XactEnd){.lsn = rec.start,
                             .end = rec.end,
                             .time = xact.time,
                             .xid = xact.xid,
                             .commit = xact.commit};
            return ERR_OK;
        }
    }
}

/* The last record that starts at or before the LSN (exclusive: that ends at or before it). */
static ErrCode find_lsn(Resolver *r, const WalStep *step, Err *err)
{
    Lsn want = r->spec->lsn;
    /* From the segment before: the record may begin there. */
    Lsn from = step->start > r->backup->start_lsn + r->store->seg_size
                   ? step->start - r->store->seg_size
                   : r->backup->start_lsn;
    WalRecords *records AUTO(wal_records_freep) = wal_records_new(r->store, r->path, from);
    WalRecord rec;
    Lsn last = 0, last_end = 0;
    bool end = false;
    Err damage = {0};
    while (!end) {
        Err why = {0};
        ErrCode rc = next_record(records, &rec, &end, &why);
        if (rc != ERR_OK && rc != ERR_DAMAGED) {
            *err = why;
            return rc;
        }
        if (rc == ERR_DAMAGED) { /* of a segment behind: what lies before it can be reached */
            damage = why;
            end = true;
        }
        if (end || (r->spec->exclusive ? rec.end > want : rec.start > want))
            break;
        last = rec.start;
        last_end = rec.end;
    }
    if (end && want > wal_records_at(records)) {
        if (damage.code) {
            *err = damage;
            return damage.code;
        }
        r->end = wal_records_at(records);
        return ERR_OK; /* behind the end of the WAL */
    }
    if (last_end < r->backup->stop_lsn)
        return too_early(r, err);
    point_set(r, last, last_end);
    return ERR_OK;
}

/* What had ended when a segment began. */
typedef struct LastEnd {
    XactEnd xact;
    bool known;
} LastEnd;

/* The transactions of the segment have all been seen; those behind the one that contains the
 * subtransaction are taken back. */
static ErrCode see_subxact(Resolver *r, const WalStep *step, const WalIndex *x, LastEnd before,
                           Err *err)
{
    XactEnd e;
    bool found;
    size_t i = 0;
    TRY(find_subxact(r, step, x, &e, &found, err));
    if (!found)
        return ERR_OK;
    r->last = before.xact;
    r->has_last = before.known;
    for (; i < x->xacts.n && x->xacts.at[i].lsn < e.lsn; i++) {
        if (x->xacts.at[i].lsn < r->backup->start_lsn)
            continue;
        r->last = x->xacts.at[i];
        r->has_last = true;
    }
    TRY(see_xid(r, &e, err));
    if (!r->point.first_out.known && i + 1 < x->xacts.n)
        r->point.first_out = target_xact(&x->xacts.at[i + 1]);
    if (!r->point.warning[0])
        snprintf(r->point.warning, sizeof(r->point.warning),
                 "%u is a subtransaction of transaction %u", (uint32_t)r->spec->xid, e.xid);
    return ERR_OK;
}

static ErrCode see_segment(Resolver *r, const WalStep *step, const WalIndex *x, Err *err)
{
    size_t i = 0, k = 0;
    const LastEnd before = {.xact = r->last, .known = r->has_last};
    const Lsn seg_end = step->start + r->store->seg_size;
    if (r->spec->type == TARGET_LSN && !r->found && r->spec->lsn < seg_end)
        TRY(find_lsn(r, step, err));
    while (i < x->xacts.n || k < x->events.n) {
        bool xact =
            k == x->events.n || (i < x->xacts.n && x->xacts.at[i].lsn < x->events.at[k].lsn);
        Lsn lsn = xact ? x->xacts.at[i].lsn : x->events.at[k].lsn;
        if (lsn < r->backup->start_lsn) {
            xact ? i++ : k++;
            continue;
        }
        if (!xact) {
            see_event(r, &x->events.at[k++]);
            continue;
        }
        const XactEnd *e = &x->xacts.at[i++];
        if (r->spec->type == TARGET_LSN && r->found) {
            if (e->end <= r->point.end)
                r->point.last_in = target_xact(e);
            else if (!r->point.first_out.known)
                r->point.first_out = target_xact(e);
            continue;
        }
        TRY(see_xact(r, e, err));
    }
    if (r->spec->type == TARGET_XID && !r->found && x->has_subxacts)
        TRY(see_subxact(r, step, x, before, err));
    r->end = x->ends;
    if (x->first)
        r->last_segment = step->start;
    return ERR_OK;
}

/* --- the walk --- */

/* Whether there is nothing more to learn. */
static bool seen_enough(Resolver *r, Lsn seg_end)
{
    switch (r->spec->type) {
    case TARGET_IMMEDIATE:
        return seg_end >= r->backup->stop_lsn;
    case TARGET_TIME:
        return r->found && r->looked_on++ == LOOK_ON;
    case TARGET_XID:
    case TARGET_LSN:
        return r->found && (r->point.first_out.known || r->looked_on++ == LOOK_ON);
    case TARGET_LATEST:
    case TARGET_NAME: /* the name may be used a second time */
        return false;
    }
    return true;
}

/* Where the last record ends that is there whole, when a segment behind it is missing. */
static ErrCode find_whole_end(Resolver *r, Err *err)
{
    bool end = false;
    if (!r->last_segment)
        return ERR_OK;
    WalRecords *records AUTO(wal_records_freep) =
        wal_records_new(r->store, r->path, MAX(r->last_segment, r->backup->start_lsn));
    while (!end) {
        WalRecord rec;
        TRY(next_record(records, &rec, &end, err));
    }
    r->end = MIN(r->end, wal_records_at(records));
    return ERR_OK;
}

static ErrCode wal_missing(Resolver *r, const char *file, Err *err)
{
    TRY(find_whole_end(r, err));
    err_set(err, ERR_WAL_MISSING,
            "%s is not in '%s', but later WAL is: recovery from backup %s "
            "cannot go beyond " LSN_FMT,
            file, repo_url(r->store->repo), r->backup->id, LSN_ARG(r->end));
    if (r->end > r->backup->stop_lsn) /* in the last record before it */
        return err_hint(err,
                        "archive the segment if a server still has it; else --target-lsn=" LSN_FMT
                        " restores all that lies before it",
                        LSN_ARG(r->end - 1));
    return err_hint(err, "archive the segment if a server still has it; else --type=immediate "
                         "restores the backup as it is");
}

/* One segment further. *ret_done: there is nothing more to read, or to learn. */
static ErrCode walk_step(Resolver *r, WalWalk *walk, bool *unfinished, bool *ret_done, Err *err)
{
    WalStep step;
    WalWalkEnd end;
    WalIndex x AUTO(wal_index_release) = {.start = 0};
    *ret_done = true;
    TRY(wal_walk_next(walk, &step, &end, err));
    if (end == WALK_HOLE || (*unfinished && end == WALK_STEP))
        return wal_missing(r, step.file, err);
    if (end == WALK_END)
        return ERR_OK;
    TRY(wal_walk_index(walk, &step, &x, err));
    TRY(see_segment(r, &step, &x, err));
    *unfinished = !step.finished && x.ends < step.start + r->store->seg_size;
    *ret_done = seen_enough(r, step.start + r->store->seg_size);
    return cancel_check(err);
}

/* Behind the point nothing is needed: what is wrong there is no reason to refuse. */
static bool is_reached_already(Resolver *r, const Err *err)
{
    if (err->code == ERR_CANCELLED)
        return false;
    if (r->spec->type == TARGET_NAME && r->names.n) {
        snprintf(r->point.warning, sizeof(r->point.warning),
                 "whether the name is used a second time cannot be seen: %.300s", err->message);
        return true;
    }
    return r->found;
}

static ErrCode resolver_walk(Resolver *r, Err *err)
{
    WalWalk *walk AUTO(wal_walk_freep) = wal_walk_new(r->store, r->path, r->backup->start_lsn);
    bool unfinished = false, done = false;
    while (!done) {
        Err why = {0};
        if (walk_step(r, walk, &unfinished, &done, &why) == ERR_OK)
            continue;
        if (is_reached_already(r, &why))
            return ERR_OK;
        *err = why;
        return why.code;
    }
    return ERR_OK;
}

static ErrCode behind_the_end(const Resolver *r, Err *err)
{
    char text[160], when[TIME_TEXT_LEN];
    err_set(err, ERR_UNREACHABLE,
            "%s lies behind the last recovery point: the archived WAL ends "
            "at " LSN_FMT "%s%s",
            target_format(r->spec, text), LSN_ARG(r->end),
            r->newest ? ", its newest record is of " : "",
            r->newest ? time_format_utc(r->newest, true, when) : "");
    return err_hint(err, "use --type=latest for all there is; if the server still runs, "
                         "'select pg_switch_wal()' sends what it has");
}

static ErrCode resolve_end(Resolver *r, Err *err)
{
    char text[160];
    if (r->end < r->backup->stop_lsn)
        return err_set(err, ERR_WAL_MISSING,
                       "the WAL in '%s' ends at " LSN_FMT ", before the end of "
                       "backup %s at " LSN_FMT,
                       repo_url(r->store->repo), LSN_ARG(r->end), r->backup->id,
                       LSN_ARG(r->backup->stop_lsn));
    switch (r->spec->type) {
    case TARGET_LATEST:
        r->point.to_end = true;
        r->point.end = r->end;
        r->point.tli = path_tli(r, r->end - 1);
        if (r->has_last)
            r->point.last_in = target_xact(&r->last);
        return ERR_OK;
    case TARGET_IMMEDIATE:
        point_set(r, r->backup->stop_lsn, r->backup->stop_lsn);
        r->point.last_in = (TargetXact){.known = false};
        return ERR_OK;
    case TARGET_TIME:
        if (r->newest < r->spec->time)
            return behind_the_end(r, err);
        point_before(r);
        return ERR_OK;
    case TARGET_LSN:
        return behind_the_end(r, err);
    case TARGET_XID:
        err_set(err, ERR_UNREACHABLE, "%s does not end in the archived WAL behind backup %s",
                target_format(r->spec, text), r->backup->id);
        return err_hint(err, "a transaction that was still running when the WAL ends cannot be a "
                             "target; is it older than the backup?");
    case TARGET_NAME:
        break;
    }
    return ERR_OK;
}

static ErrCode resolve_name(Resolver *r, Err *err)
{
    char text[160];
    if (r->names.n == 0) {
        err_set(err, ERR_UNREACHABLE, "%s is not in the archived WAL behind backup %s",
                target_format(r->spec, text), r->backup->id);
        return err_hint(err, "names are case-sensitive; an older backup may reach it: --backup");
    }
    if (r->names.n > 1) {
        Buf all AUTO(buf_release) = {0};
        for (size_t i = 0; i < r->names.n; i++)
            buf_printf(&all, "%s%s", i ? ", " : "", r->names.at[i]);
        err_set(err, ERR_UNREACHABLE, "%s was made %zu times: at %s", target_format(r->spec, text),
                r->names.n, buf_str(&all));
        return err_hint(err, "choose one with --target-lsn");
    }
    if (r->name_end < r->backup->stop_lsn)
        return too_early(r, err);
    r->last = r->name_last;
    r->has_last = r->name_has_last;
    if (r->spec->exclusive)
        point_before(r);
    else
        point_set(r, r->name_lsn, r->name_end);
    return ERR_OK;
}

/* Events were gathered before it was known where replay stops. */
static bool is_replayed(const TargetPoint *p, const WalIndexEvent *e)
{
    return e->lsn < p->end && (p->to_end || p->immediate || e->lsn <= p->lsn);
}

static void keep_replayed(Resolver *r)
{
    TargetPoint *p = &r->point;
    size_t left = 0;
    for (size_t i = 0; i < p->tablespaces.n; i++) {
        WalIndexEvent *e = &p->tablespaces.at[i];
        if (is_replayed(p, e))
            p->tablespaces.at[left++] = *e;
        else
            free(e->text);
    }
    p->tablespaces.n = left;
    for (size_t i = 0; i < r->parameters.n; i++)
        if (is_replayed(p, &r->parameters.at[i]))
            max_parameters(&p->parameters, &r->parameters.at[i].parameters);
}

static void resolver_release(Resolver *r)
{
    target_point_release(&r->point);
    vec_release(&r->parameters);
    str_list_release(&r->names);
}

ErrCode target_resolve(WalStore *store, const TimelinePath *path, const BackupSummary *backup,
                       const TargetSpec *spec, TargetPoint *ret, Err *err)
{
    Resolver r AUTO(resolver_release) = {
        .store = store, .path = path, .backup = backup, .spec = spec, .end = backup->start_lsn};
    TRY(resolver_walk(&r, err));
    if (spec->type == TARGET_NAME)
        TRY(resolve_name(&r, err));
    else if (!r.found)
        TRY(resolve_end(&r, err));
    keep_replayed(&r);
    target_point_release(ret);
    *ret = r.point;
    r.point = (TargetPoint){.to_end = false};
    return ERR_OK;
}
