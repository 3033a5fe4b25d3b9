#include "catalog/window.h"

#include <stdio.h>
#include <string.h>

#include "catalog/wal_walk.h"

/* Segments looked at for a time, from the end of a window backwards. */
#define TIME_SEGMENTS 16

static void window_release(RecoveryWindow *w)
{
    str_list_release(&w->backups);
    vec_release(&w->forks);
}

void recovery_windows_release(RecoveryWindows *w)
{
    for (size_t i = 0; i < w->n; i++)
        window_release(&w->at[i]);
    vec_release(w);
}

/* One PostgreSQL system of a repository. */
typedef struct System {
    WalStore store;
    WalInventory inv;
    Lineage lineage;
    BackupRefs backups;
    WalWays ways;
    RecoveryWindows *out;
} System;

static void system_release(System *s)
{
    wal_ways_release(&s->ways);
    backup_refs_release(&s->backups);
    lineage_release(&s->lineage);
    wal_inventory_release(&s->inv);
}

/* --- where a window ends --- */

static TimeUs newest_time(const WalIndex *x)
{
    TimeUs t = 0;
    for (size_t i = 0; i < x->xacts.n; i++)
        t = MAX(t, x->xacts.at[i].time);
    for (size_t i = 0; i < x->events.n; i++)
        t = MAX(t, x->events.at[i].time);
    return t;
}

static WalStep step_of(const System *s, const WalPlace *p, uint64_t segno)
{
    WalStep step = {.segno = segno,
                    .start = wal_segment_start(segno, s->store.seg_size),
                    .tli = p->tli,
                    .finished = p->kind == PLACE_FINISHED,
                    .until = p->until};
    wal_name_segment(p->tli, segno, s->store.seg_size, step.file);
    if (p->entry)
        step.found = wal_entry_found(p->tli, p->entry, s->store.seg_size);
    return step;
}

/* Damage of one window's end is told with it, and hides no other window. */
static ErrCode end_damaged(const WalStep *step, RecoveryWindow *w, const Err *why, Err *err)
{
    if (why->code != ERR_DAMAGED && why->code != ERR_LIMIT && why->code != ERR_CONFLICT &&
        why->code != ERR_VERSION && why->code != ERR_MISMATCH) {
        *err = *why;
        return why->code;
    }
    char *text = why->code == ERR_CONFLICT ? w->conflict : w->damaged;
    snprintf(text, sizeof(w->damaged), "%s: %.120s", step->file, why->message);
    w->missing[0] = '\0';
    w->to_lsn = step->start;
    return ERR_OK;
}

/* How far the last segment of a stretch is valid, and the newest time before that. */
static ErrCode read_end(const System *s, const WalWay *way, const WalStretch *stretch,
                        RecoveryWindow *w, Err *err)
{
    WalStore store = s->store;
    WalWalk *walk AUTO(wal_walk_freep) = wal_walk_new(&store, &way->path, w->to_lsn);
    uint64_t until = stretch->next + (stretch->piece.kind != PLACE_NONE);
    unsigned looked = 0;
    w->to_lsn = 0;
    for (uint64_t n = until; n-- > stretch->first && !w->to_time && looked < TIME_SEGMENTS;) {
        WalIndex x AUTO(wal_index_release) = {.start = 0};
        Err why = {0};
        WalPlace p = wal_way_at(&s->ways, way, n);
        WalStep step = step_of(s, &p, n);
        looked++;
        if (wal_walk_index(walk, &step, &x, &why) != ERR_OK) {
            TRY(end_damaged(&step, w, &why, err));
            continue;
        }
        if (!w->to_lsn)
            w->to_lsn = x.ends;
        w->to_time = newest_time(&x);
    }
    return ERR_OK;
}

static void tell_twice(const System *s, const WalStretch *stretch, RecoveryWindow *w)
{
    size_t n;
    const TimelineWal *t = wal_inventory_timeline(&s->inv, stretch->missing);
    const WalEntry *e = wal_timeline_entries(t, stretch->next, &n);
    WalFound a = wal_entry_found(t->tli, &e[0], s->store.seg_size),
             b = wal_entry_found(t->tli, &e[1], s->store.seg_size);
    snprintf(w->conflict, sizeof(w->conflict), "there are two different contents of %s: %s and %s",
             a.file, a.digest, b.digest);
}

static ErrCode window_end(const System *s, const WalWay *way, const WalStretch *stretch,
                          RecoveryWindow *w, Err *err)
{
    w->timeline = way->tli;
    if (stretch->end == STRETCH_TWICE)
        tell_twice(s, stretch, w);
    else if (stretch->end == STRETCH_HOLE)
        wal_name_segment(stretch->missing, stretch->next, s->store.seg_size, w->missing);
    return read_end(s, way, stretch, w, err);
}

/* --- what it holds --- */

static void window_backups(const WalWay *way, const WalStretch *stretch, RecoveryWindow *w)
{
    for (size_t i = 0; i < stretch->n_backups; i++) {
        const BackupSummary *b = way->backups.at[stretch->first_backup + i];
        if (b->stop_lsn > w->to_lsn)
            continue; /* its own WAL is broken: it opens nothing */
        if (!w->backups.n || b->stop_lsn < w->from_lsn) {
            w->from_lsn = b->stop_lsn;
            w->from_time = b->stop_time;
        }
        w->to_time = MAX(w->to_time, b->stop_time);
        vec_push(&w->backups, mem_strdup(b->id));
    }
}

/* Direct children alone: who left a child is told with that. */
static void window_forks(const System *s, const WalWay *way, RecoveryWindow *w)
{
    for (size_t i = 0; i < s->ways.all.n; i++) {
        const TimelinePath *path = &s->ways.all.at[i].path;
        if (path->n < 2 || path->at[path->n - 2].tli != way->tli)
            continue;
        Lsn lsn = path->at[path->n - 2].until;
        if (lsn >= w->from_lsn && lsn < w->to_lsn)
            vec_push(&w->forks, (WindowFork){.timeline = s->ways.all.at[i].tli, .lsn = lsn});
    }
}

/* The window goes on, from the same backups, on the way to a timeline that left this one at its
 * end or behind it: a failover, after which nobody wrote on here. */
static bool goes_on_elsewhere(const System *s, const WalWay *way, const RecoveryWindow *w,
                              uint64_t first)
{
    if (*w->missing || *w->conflict || *w->damaged)
        return false;
    for (size_t i = 0; i < s->ways.all.n; i++) {
        const WalWay *other = &s->ways.all.at[i];
        const TimelineStep *step = timeline_step(&other->path, way->tli);
        if (other == way || !step || step->until < w->to_lsn)
            continue;
        const WalStretch *same = wal_way_stretch(other, first);
        if (same && wal_stretch_is_own(other, same))
            return true;
    }
    return false;
}

static ErrCode add_window(System *s, const WalWay *way, const WalStretch *stretch, Err *err)
{
    RecoveryWindow w = {.timeline = 0};
    if (!wal_stretch_is_own(way, stretch))
        return ERR_OK; /* another timeline's window */
    TRY(window_end(s, way, stretch, &w, err));
    window_backups(way, stretch, &w);
    if (!w.backups.n || goes_on_elsewhere(s, way, &w, stretch->first)) {
        window_release(&w);
        return ERR_OK;
    }
    window_forks(s, way, &w);
    vec_push(s->out, w);
    return ERR_OK;
}

static ErrCode system_windows(Repo *repo, const BackupSummary *of, const BackupList *list,
                              RecoveryWindows *out, Err *err)
{
    System s AUTO(system_release) = {.out = out};
    wal_store_init(&s.store, repo, of->system_id, of->wal_segment_size);
    for (size_t i = 0; i < backup_count(list); i++)
        vec_push(&s.backups, backup_at(list, i));
    TRY(lineage_read(&s.store, &s.lineage, err));
    TRY(wal_inventory_read(&s.store, &s.inv, err));
    TRY(wal_ways_find(&s.inv, &s.store, &s.lineage, &s.backups, &s.ways, err));
    for (size_t i = 0; i < s.ways.all.n; i++)
        for (size_t k = 0; k < s.ways.all.at[i].stretches.n; k++)
            TRY(add_window(&s, &s.ways.all.at[i], &s.ways.all.at[i].stretches.at[k], err));
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
