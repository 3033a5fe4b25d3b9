#include "catalog/window.h"

#include <stdio.h>
#include <string.h>

/* Segments looked at for a time, from the end of a window backwards. */
#define TIME_SEGMENTS 16

void recovery_windows_release(RecoveryWindows *w)
{
    for (size_t i = 0; i < w->n; i++)
        str_list_release(&w->at[i].backups);
    vec_release(w);
}

/* One way that recovery can take, and the backups on it by the LSN at which they start. */
typedef struct Way {
    WalStore *store;
    const TimelinePath *path;
    BackupRefs backups;
    RecoveryWindows *out;
} Way;

static int by_start(const void *a, const void *b)
{
    const BackupSummary *x = *(const BackupSummary *const *)a,
                        *y = *(const BackupSummary *const *)b;
    return x->start_lsn < y->start_lsn ? -1 : x->start_lsn > y->start_lsn;
}

static TimeUs newest_time(const WalIndex *x)
{
    TimeUs t = 0;
    for (size_t i = 0; i < x->xacts.n; i++)
        t = MAX(t, x->xacts.at[i].time);
    for (size_t i = 0; i < x->events.n; i++)
        t = MAX(t, x->events.at[i].time);
    return t;
}

typedef VEC(WalStep) Steps;

/* The end of a window: how far its last segment is valid, and the newest time before it. */
static ErrCode window_end(WalWalk *walk, const Steps *steps, RecoveryWindow *w, Err *err)
{
    for (size_t i = steps->n; i-- > 0 && !w->to_time;) {
        WalIndex x AUTO(wal_index_release) = {.start = 0};
        TRY(wal_walk_index(walk, &steps->at[i], &x, err));
        if (i + 1 == steps->n)
            w->to_lsn = x.ends;
        w->to_time = newest_time(&x);
    }
    return ERR_OK;
}

static void window_push(Way *way, RecoveryWindow *w, size_t first, size_t until)
{
    for (size_t i = first; i < until; i++) {
        const BackupSummary *b = way->backups.at[i];
        if (b->stop_lsn > w->to_lsn)
            continue; /* its own WAL is broken: it opens nothing */
        if (!w->backups.n || b->stop_lsn < w->from_lsn) {
            w->from_lsn = b->stop_lsn;
            w->from_time = b->stop_time;
        }
        w->to_time = MAX(w->to_time, b->stop_time);
        vec_push(&w->backups, mem_strdup(b->id));
    }
    if (w->backups.n)
        vec_push(way->out, *w);
    else
        str_list_release(&w->backups);
}

/* Follows the WAL from a backup on until it breaks; *ret_next is the first backup behind that. */
static ErrCode way_window(Way *way, size_t first, size_t *ret_next, Err *err)
{
    const BackupSummary *b = way->backups.at[first];
    WalWalk *walk AUTO(wal_walk_freep) = wal_walk_new(way->store, way->path, b->start_lsn);
    RecoveryWindow w = {.timeline = 0};
    Steps steps = {0};
    WalStep step;
    WalWalkEnd end;
    ErrCode rc;
    while ((rc = wal_walk_next(walk, &step, &end, err)) == ERR_OK && end == WALK_STEP) {
        if (steps.n == TIME_SEGMENTS) {
            memmove(&steps.at[0], &steps.at[1], (steps.n - 1) * sizeof(steps.at[0]));
            steps.n--;
        }
        vec_push(&steps, step);
        w.timeline = step.tli;
    }
    if (rc == ERR_CONFLICT) { /* two contents: it ends before them */
        snprintf(w.conflict, sizeof(w.conflict), "%.*s", (int)sizeof(w.conflict) - 1, err->message);
        rc = ERR_OK;
    } else if (rc == ERR_OK && end == WALK_HOLE)
        snprintf(w.missing, sizeof(w.missing), "%s", step.file);
    if (rc == ERR_OK && steps.n)
        rc = window_end(walk, &steps, &w, err);
    vec_release(&steps);
    if (rc != ERR_OK)
        return rc;
    size_t next = first + 1;
    while (next < way->backups.n && way->backups.at[next]->start_lsn <= w.to_lsn)
        next++;
    window_push(way, &w, first, next);
    *ret_next = next;
    return ERR_OK;
}

static ErrCode way_windows(Way *way, Err *err)
{
    if (way->backups.n)
        qsort(way->backups.at, way->backups.n, sizeof(way->backups.at[0]), by_start);
    for (size_t i = 0; i < way->backups.n;)
        TRY(way_window(way, i, &i, err));
    return ERR_OK;
}

static ErrCode timeline_windows(WalStore *store, const Lineage *lineage, uint32_t tli,
                                const BackupSummary *system, const BackupList *list,
                                RecoveryWindows *out, Err *err)
{
    TimelinePath path = {0};
    Way way = {.store = store, .path = &path, .out = out};
    ErrCode rc = lineage_path(lineage, tli, &path, err);
    if (rc == ERR_NOT_FOUND) {
        vec_release(&path);
        return ERR_OK; /* its history is missing: verify says so */
    }
    if (rc == ERR_OK)
        backups_on_path(list, system->system_id, system->wal_segment_size, &path, &way.backups);
    if (rc == ERR_OK)
        rc = way_windows(&way, err);
    vec_release(&way.backups);
    vec_release(&path);
    return rc;
}

static ErrCode system_windows(Repo *repo, const BackupSummary *system, const BackupList *list,
                              RecoveryWindows *out, Err *err)
{
    WalStore store;
    Lineage lineage AUTO(lineage_release) = {.steps = {0}};
    uint32_t newest = 1;
    wal_store_init(&store, repo, system->system_id, system->wal_segment_size);
    TRY(lineage_read(&store, &lineage, err));
    for (size_t i = 0; i < backup_count(list); i++)
        if (backup_same_system(backup_at(list, i), system))
            newest = MAX(newest, backup_at(list, i)->timeline);
    if (lineage.steps.n)
        newest = MAX(newest, lineage.steps.at[lineage.steps.n - 1].tli);
    for (uint32_t tli = 1; tli <= newest; tli++)
        if (lineage_is_leaf(&lineage, tli))
            TRY(timeline_windows(&store, &lineage, tli, system, list, out, err));
    return ERR_OK;
}

ErrCode recovery_windows_read(Repo *repo, const BackupList *backups, RecoveryWindows *ret, Err *err)
{
    for (size_t i = 0; i < backup_count(backups); i++) {
        bool seen = false;
        for (size_t k = 0; k < i && !seen; k++)
            seen = backup_same_system(backup_at(backups, k), backup_at(backups, i));
        if (!seen)
            TRY(system_windows(repo, backup_at(backups, i), backups, ret, err));
    }
    return ERR_OK;
}
