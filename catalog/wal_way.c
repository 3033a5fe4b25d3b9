#include "catalog/wal_way.h"

#include <stdlib.h>

void wal_ways_release(WalWays *w)
{
    for (size_t i = 0; i < w->all.n; i++) {
        WalWay *way = &w->all.at[i];
        timeline_path_release(&way->path);
        backup_refs_release(&way->backups);
        vec_release(&way->stretches);
    }
    vec_release(&w->all);
}

/* --- what a way takes of a segment --- */

/* Whether the path is on its i-th timeline somewhere within the segment. */
static bool path_touches(const TimelinePath *path, size_t i, uint64_t segno, uint32_t size)
{
    const Lsn start = wal_segment_start(segno, size);
    const Lsn entry = i ? path->at[i - 1].until : 0, until = path->at[i].until;
    return entry < start + size && (!until || until > start);
}

/* The youngest timeline of the path that touches the segment. (The last one is open: there is one.)
 */
static size_t youngest_at(const TimelinePath *path, uint64_t segno, uint32_t size)
{
    size_t i = path->n - 1;
    while (i > 0 && !path_touches(path, i, segno, size))
        i--;
    return i;
}

static WalPlace place_of(const WalInventory *inv, const TimelineStep *step, uint64_t segno)
{
    WalPlace p = {.kind = PLACE_NONE, .tli = step->tli};
    size_t n = 0;
    const TimelineWal *t = wal_inventory_timeline(inv, step->tli);
    p.entry = t ? wal_timeline_entries(t, segno, &n) : NULL;
    if (n && !p.entry->partial)
        p.kind = n > 1 && !p.entry[1].partial ? PLACE_TWICE : PLACE_FINISHED;
    else if (n)
        p.kind = n > 1 ? PLACE_TWICE : PLACE_PARTIAL;
    else if (t && wal_timeline_has_tail(t, segno))
        p.kind = PLACE_TAIL;
    if (step->until && step->until < wal_segment_start(segno + 1, inv->seg_size))
        p.until = step->until;
    return p;
}

WalPlace wal_way_at(const WalWays *ways, const WalWay *way, uint64_t segno)
{
    const uint32_t size = ways->inv->seg_size;
    const TimelinePath *path = &way->path;
    const size_t youngest = youngest_at(path, segno, size);
    WalPlace piece = {.kind = PLACE_NONE, .tli = path->at[youngest].tli};
    for (size_t i = youngest + 1; i-- > 0 && path_touches(path, i, segno, size);) {
        WalPlace p = place_of(ways->inv, &path->at[i], segno);
        if (p.kind == PLACE_FINISHED || (p.kind == PLACE_TWICE && !p.entry->partial))
            return p;
        if (p.kind != PLACE_NONE && piece.kind == PLACE_NONE)
            piece = p;
    }
    return piece;
}

/* --- stretches --- */

/* The last segment of a run that the way takes whole, when it takes `segno` from it. */
static uint64_t run_end(const WalWays *ways, const WalWay *way, uint64_t segno, uint32_t tli)
{
    const WalRun *run = wal_timeline_run(wal_inventory_timeline(ways->inv, tli), segno);
    const TimelineStep *step = timeline_step(&way->path, tli);
    if (!step->until)
        return run->last;
    uint64_t fork = wal_segno(step->until, ways->inv->seg_size);
    return MAX(segno, MIN(run->last, fork - 1));
}

/* Whether anything of the way lies behind a segment that it cannot take whole. */
static bool goes_on(const WalWays *ways, const WalWay *way, uint64_t segno)
{
    const TimelinePath *path = &way->path;
    size_t youngest = youngest_at(path, segno, ways->inv->seg_size);
    if (youngest + 1 < path->n)
        return true; /* on a younger timeline */
    const TimelineWal *t = wal_inventory_timeline(ways->inv, path->at[youngest].tli);
    return t && wal_timeline_next(t, segno + 1) != UINT64_MAX;
}

static WalStretch stretch_from(const WalWays *ways, const WalWay *way, uint64_t first)
{
    WalStretch s = {.first = first, .next = first};
    WalPlace p = wal_way_at(ways, way, s.next);
    while (p.kind == PLACE_FINISHED && !p.until) {
        s.tli = p.tli;
        s.next = run_end(ways, way, s.next, p.tli) + 1;
        p = wal_way_at(ways, way, s.next);
    }
    size_t youngest = youngest_at(&way->path, s.next, ways->inv->seg_size);
    s.missing = way->path.at[youngest].tli;
    s.piece = p;
    if (p.kind == PLACE_TWICE) {
        s.missing = p.tli;
        s.end = STRETCH_TWICE;
        s.piece.kind = PLACE_NONE;
        return s;
    }
    if (p.kind != PLACE_NONE)
        s.tli = p.tli;
    s.end = goes_on(ways, way, s.next) ? STRETCH_HOLE : STRETCH_END;
    return s;
}

static void find_stretches(const WalWays *ways, WalWay *way)
{
    const uint32_t size = ways->inv->seg_size;
    for (size_t i = 0; i < way->backups.n;) {
        WalStretch s = stretch_from(ways, way, wal_segno(way->backups.at[i]->start_lsn, size));
        uint64_t behind = s.next + (s.piece.kind != PLACE_NONE || s.next == s.first);
        s.first_backup = i;
        while (i < way->backups.n && wal_segno(way->backups.at[i]->start_lsn, size) < behind)
            i++;
        s.n_backups = i - s.first_backup;
        vec_push(&way->stretches, s);
    }
}

const WalStretch *wal_way_stretch(const WalWay *way, uint64_t segno)
{
    for (size_t i = 0; i < way->stretches.n; i++)
        if (segno >= way->stretches.at[i].first && segno <= way->stretches.at[i].next)
            return &way->stretches.at[i];
    return NULL;
}

bool wal_stretch_is_own(const WalWay *way, const WalStretch *s)
{
    return (s->end == STRETCH_END ? s->tli : s->missing) == way->tli;
}

/* --- all ways --- */

static int by_start(const void *a, const void *b)
{
    const BackupSummary *x = *(const BackupSummary *const *)a,
                        *y = *(const BackupSummary *const *)b;
    return x->start_lsn < y->start_lsn ? -1 : x->start_lsn > y->start_lsn;
}

static ErrCode add_way(WalWays *ways, const WalStore *store, const Lineage *lineage,
                       const BackupRefs *backups, uint32_t tli, Err *err)
{
    WalWay way = {.tli = tli};
    TRY(lineage_path(lineage, tli, &way.path, err));
    for (size_t i = 0; i < backups->n; i++) {
        const BackupSummary *b = backups->at[i];
        if (b->system_id == store->system_id && b->wal_segment_size == store->seg_size &&
            timeline_contains(&way.path, b->timeline, b->stop_lsn))
            vec_push(&way.backups, b);
    }
    if (way.backups.n)
        qsort(way.backups.at, way.backups.n, sizeof(way.backups.at[0]), by_start);
    find_stretches(ways, &way);
    vec_push(&ways->all, way);
    return ERR_OK;
}

/* On its own way the WAL of a timeline just ends. When one that forked from it further on needs
 * more of it, that is a hole, and one of this timeline. */
static void spread_holes(WalWays *ways, const WalWay *from, const WalStretch *hole)
{
    for (size_t i = 0; i < ways->all.n; i++) {
        WalWay *way = &ways->all.at[i];
        for (size_t k = 0; way->tli == hole->missing && k < way->stretches.n; k++) {
            WalStretch *s = &way->stretches.at[k];
            if (way != from && s->next == hole->next && s->end == STRETCH_END)
                s->end = STRETCH_HOLE;
        }
    }
}

ErrCode wal_ways_find(const WalInventory *inv, const WalStore *store, const Lineage *lineage,
                      const BackupRefs *backups, WalWays *ret, Err *err)
{
    WalWays ways AUTO(wal_ways_release) = {.inv = inv};
    TRY(add_way(&ways, store, lineage, backups, 1, err));
    for (size_t i = 0; i < lineage->steps.n; i++)
        if (lineage->steps.at[i].tli != 1)
            TRY(add_way(&ways, store, lineage, backups, lineage->steps.at[i].tli, err));
    for (size_t i = 0; i < ways.all.n; i++) {
        const WalWay *way = &ways.all.at[i];
        for (size_t k = 0; k < way->stretches.n; k++)
            if (way->stretches.at[k].end == STRETCH_HOLE)
                spread_holes(&ways, way, &way->stretches.at[k]);
    }
    wal_ways_release(ret);
    *ret = ways;
    ways = (WalWays){.inv = NULL};
    return ERR_OK;
}
