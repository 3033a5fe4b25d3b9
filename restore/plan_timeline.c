#include "restore/plan_timeline.h"

#include "catalog/wal_walk.h"

/* Segments looked at for the first time that a timeline tells. */
#define BIRTH_SEGMENTS 4

bool plan_on_path(const RestorePlan *plan, const BackupSummary *b)
{
    return b->system_id == plan->system_id && b->wal_segment_size == plan->wal_segment_size &&
           timeline_contains(&plan->path, b->timeline, b->stop_lsn);
}

bool plan_may_serve(const TargetSpec *t, const BackupSummary *b)
{
    if (t->type == TARGET_TIME)
        return b->stop_time <= t->time;
    if (t->type == TARGET_LSN)
        return b->stop_lsn <= t->lsn;
    return true;
}

static bool has_start(const RestoreSpec *spec, const BackupList *list, const RestorePlan *plan)
{
    for (size_t i = 0; i < backup_count(list); i++)
        if (plan_may_serve(&spec->target, backup_at(list, i)) &&
            plan_on_path(plan, backup_at(list, i)))
            return true;
    return false;
}

/* --- what a timeline's own WAL tells --- */

/* The first time in a segment at or behind an LSN; 0 when there is none. */
static TimeUs first_time(const WalIndex *x, Lsn from)
{
    Lsn at = 0;
    TimeUs t = 0;
    for (size_t i = 0; i < x->xacts.n && !t; i++)
        if (x->xacts.at[i].lsn >= from) {
            at = x->xacts.at[i].lsn;
            t = x->xacts.at[i].time;
        }
    for (size_t i = 0; i < x->events.n; i++) {
        const WalIndexEvent *e = &x->events.at[i];
        if (e->lsn >= from && e->time && (!t || e->lsn < at))
            return e->time;
    }
    return t;
}

/* The first time that is told on a timeline behind an LSN; 0 when it tells none. What cannot be
 * read tells none: the WAL that recovery needs is judged later, by the plan itself. */
static TimeUs time_behind(const RestoreSpec *spec, const Lineage *lineage, const RestorePlan *plan,
                          uint32_t tli, Lsn from)
{
    Err why = {0};
    WalStore store;
    TimelinePath path AUTO(timeline_path_release) = {0};
    wal_store_init(&store, spec->repo, plan->system_id, plan->wal_segment_size);
    if (lineage_path(lineage, tli, &path, &why) != ERR_OK)
        return 0;
    WalWalk *walk AUTO(wal_walk_freep) = wal_walk_new(&store, &path, from);
    for (int i = 0; i < BIRTH_SEGMENTS; i++) {
        WalStep step;
        WalWalkEnd end;
        WalIndex x AUTO(wal_index_release) = {.start = 0};
        if (wal_walk_next(walk, &step, &end, &why) != ERR_OK || end != WALK_STEP ||
            wal_walk_index(walk, &step, &x, &why) != ERR_OK)
            return 0;
        TimeUs t = step.tli == tli ? first_time(&x, from) : 0;
        if (t)
            return t;
    }
    return 0;
}

static bool had_begun(const RestoreSpec *spec, const Lineage *lineage, const RestorePlan *plan,
                      TimeUs at)
{
    uint32_t tli = plan->path.at[plan->path.n - 1].tli;
    Lsn entry = timeline_entry(&plan->path, tli);
    if (!entry)
        return true; /* the first of all */
    TimeUs birth = time_behind(spec, lineage, plan, tli, entry);
    return birth && birth <= at;
}

/* --- the choice --- */

static ErrCode choose_latest(const RestoreSpec *spec, const Lineage *lineage,
                             const BackupList *list, uint32_t otherwise, RestorePlan *plan,
                             Err *err)
{
    bool by_time = spec->target.type == TARGET_TIME;
    for (size_t i = lineage->steps.n; i-- > 0;) {
        TRY(lineage_path(lineage, lineage->steps.at[i].tli, &plan->path, err));
        if (has_start(spec, list, plan) &&
            (!by_time || had_begun(spec, lineage, plan, spec->target.time)))
            return ERR_OK;
    }
    return lineage_path(lineage, by_time ? otherwise : lineage_latest(lineage, otherwise),
                        &plan->path, err);
}

static ErrCode hint_timelines(const Lineage *lineage, uint32_t tli, Err *err)
{
    Buf known AUTO(buf_release) = {0};
    for (size_t i = 0; i < lineage->steps.n; i++)
        buf_printf(&known, ", %u", lineage->steps.at[i].tli);
    return err_hint(err,
                    "the repository knows the timelines 1%.300s; if %u is another, 'pgdr "
                    "archive-push pg_wal/%08X.history' on the server that has it",
                    buf_str(&known), tli, tli);
}

/* WAL of a timeline that could be the latest one, but nobody knows where it comes from. */
static ErrCode check_unknown(const RestoreSpec *spec, const Lineage *lineage,
                             const BackupSummary *newest, Err *err)
{
    WalStore store;
    TimelineList unknown = {0};
    if (spec->timeline != TIMELINE_LATEST || spec->target.type == TARGET_IMMEDIATE)
        return ERR_OK;
    wal_store_init(&store, spec->repo, newest->system_id, newest->wal_segment_size);
    ErrCode rc = lineage_unknown(&store, lineage, &unknown, err);
    uint32_t tli = unknown.n ? unknown.at[unknown.n - 1] : 0;
    vec_release(&unknown);
    if (rc != ERR_OK || tli <= newest->timeline)
        return rc;
    err_set(err, ERR_WAL_MISSING,
            "'%s' holds WAL of timeline %u, but not its history, %08X.history: it may be this "
            "cluster's latest timeline",
            repo_url(spec->repo), tli, tli);
    return err_hint(err,
                    "'pgdr archive-push pg_wal/%08X.history' on a server that has it, or 'pgdr "
                    "verify --heal' when another repository does; --target-timeline=N restores to "
                    "a timeline that is known",
                    tli);
}

ErrCode plan_choose_path(const RestoreSpec *spec, const Lineage *lineage, const BackupList *list,
                         const BackupSummary *newest, RestorePlan *plan, Err *err)
{
    uint32_t tli = newest->timeline;
    TRY(check_unknown(spec, lineage, newest, err));
    if (spec->timeline == TIMELINE_LATEST && !spec->backup_id)
        return choose_latest(spec, lineage, list, tli, plan, err);
    if (spec->timeline == TIMELINE_LATEST)
        tli = lineage_latest(lineage, tli);
    else if (spec->timeline == TIMELINE_NUMBER)
        tli = spec->timeline_number;
    ErrCode rc = lineage_path(lineage, tli, &plan->path, err);
    return rc == ERR_NOT_FOUND ? hint_timelines(lineage, tli, err) : rc;
}

ErrCode plan_choose_younger(const RestoreSpec *spec, const Lineage *lineage, const BackupList *list,
                            RestorePlan *plan, bool *ret, Err *err)
{
    uint32_t tli = plan->path.at[plan->path.n - 1].tli;
    *ret = false;
    if (spec->target.type != TARGET_TIME || spec->timeline != TIMELINE_LATEST || spec->backup_id)
        return ERR_OK;
    TimelinePath before AUTO(timeline_path_release) = plan->path;
    plan->path = (TimelinePath){0};
    for (size_t i = lineage->steps.n; i-- > 0 && !*ret;) {
        TRY(lineage_path(lineage, lineage->steps.at[i].tli, &plan->path, err));
        const TimelineStep *step = timeline_step(&plan->path, tli);
        *ret = step && step->until && has_start(spec, list, plan) &&
               !time_behind(spec, lineage, plan, tli, step->until);
    }
    if (!*ret) {
        timeline_path_release(&plan->path);
        plan->path = before;
        before = (TimelinePath){0};
    }
    return ERR_OK;
}
