#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "verify/wal_checker.h"

/*
 * WAL continuity: from the start of a backup to the end of what is archived of each timeline that
 * it leads to, every segment must be there once. Ways share their beginnings: each hole is told
 * once, with all that it costs.
 */

typedef struct Hole {
    uint32_t tli;
    uint64_t segno, more; /* missing segments behind it */
    WalStretchEnd end;
    bool has_piece;
} Hole;
typedef VEC(Hole) Holes;

/* The segments that are missing from the stretch's end on, of that timeline and on that way. */
static uint64_t missing_behind(const WalChecker *w, const WalWay *way, const WalStretch *s)
{
    const TimelineWal *t = wal_inventory_timeline(&w->inv, s->missing);
    const TimelineStep *step = timeline_step(&way->path, s->missing);
    uint64_t until = t ? wal_timeline_next(t, s->next + 1) : UINT64_MAX;
    if (step->until)
        until = MIN(until, wal_segno(step->until, w->store.seg_size));
    return until == UINT64_MAX || until <= s->next ? 0 : until - s->next - 1;
}

/* A backup whose own WAL is not there. Elsewhere nothing may be missing: then another way serves.
 */
static bool breaks_backup(const WalChecker *w, const WalStretch *s)
{
    WalCost cost AUTO(wal_cost_release) = {.backups = {0}};
    WalCopy copy = {.tli = s->missing, .segno = s->next, .kind = PLACE_NONE};
    if (s->piece.kind != PLACE_NONE)
        return false; /* how far that reaches only its content says */
    wal_cost_find(w, &copy, &cost);
    return cost.backups.n > 0;
}

static void add_hole(const WalChecker *w, const WalWay *way, const WalStretch *s, Holes *ret)
{
    Hole h = {.tli = s->missing,
              .segno = s->next,
              .more = missing_behind(w, way, s),
              .end = s->end,
              .has_piece = s->piece.kind != PLACE_NONE && s->piece.tli == s->missing};
    for (size_t i = 0; i < ret->n; i++) {
        Hole *other = &ret->at[i];
        if (other->tli != h.tli || other->segno != h.segno)
            continue;
        other->more = MAX(other->more, h.more);
        return;
    }
    vec_push(ret, h);
}

static void find_holes(const WalChecker *w, Holes *ret)
{
    for (size_t i = 0; i < w->ways.all.n; i++) {
        const WalWay *way = &w->ways.all.at[i];
        for (size_t k = 0; k < way->stretches.n; k++) {
            const WalStretch *s = &way->stretches.at[k];
            if (s->end == STRETCH_HOLE || (s->end == STRETCH_END && breaks_backup(w, s)))
                add_hole(w, way, s, ret);
        }
    }
}

static void found_hole(WalChecker *w, const Hole *h)
{
    WalFound missing = {.digest = ""};
    char last[WAL_NAME_MAX], problem[160];
    wal_name_segment(h->tli, h->segno, w->store.seg_size, missing.file);
    wal_name_segment(h->tli, h->segno + h->more, w->store.seg_size, last);
    if (h->has_piece)
        snprintf(problem, sizeof(problem),
                 "of the segment only a piece is there, but later WAL is");
    else if (h->more)
        snprintf(problem, sizeof(problem),
                 "the segment is missing, and %" PRIu64 " behind it, up to %s", h->more, last);
    else
        snprintf(problem, sizeof(problem), "the segment is missing");
    wal_found_segment(
        w, &(SegmentFinding){.copy = {.tli = h->tli, .segno = h->segno, .kind = PLACE_NONE},
                             .object = missing.file,
                             .problem = problem,
                             .hint = "archive it again if a server still has it; else a new backup "
                                     "begins anew on the present timeline",
                             .found = &missing,
                             .more = h->more});
}

/* Whether or not anything leads over them: nobody can know which of them is right. */
static void find_twice(WalChecker *w, const TimelineWal *t)
{
    for (size_t i = 0; i + 1 < t->entries.n; i++) {
        const WalEntry *e = &t->entries.at[i];
        WalCopy copy = {.tli = t->tli, .segno = e->segno, .kind = PLACE_TWICE};
        bool again = i > 0 && e[-1].segno == e->segno && e[-1].partial == e->partial;
        if (again || e[1].segno != e->segno || e[1].partial != e->partial ||
            !wal_in_scope(w, &copy))
            continue;
        char problem[160], hint[160];
        WalFound a = wal_entry_found(t->tli, &e[0], w->store.seg_size),
                 b = wal_entry_found(t->tli, &e[1], w->store.seg_size);
        snprintf(problem, sizeof(problem), "there are two different contents of it: %s and %s",
                 a.digest, b.digest);
        snprintf(hint, sizeof(hint),
                 "'pgdr repo resolve %s' shows both and keeps the one you choose", a.file);
        wal_found_segment(
            w, &(SegmentFinding){.copy = copy, .object = a.file, .problem = problem, .hint = hint});
    }
}

void check_wal_presence(WalChecker *w)
{
    Holes holes = {0};
    if (w->ways_known)
        find_holes(w, &holes);
    for (size_t i = 0; i < holes.n; i++)
        found_hole(w, &holes.at[i]);
    vec_release(&holes);
    for (size_t i = 0; i < w->inv.timelines.n; i++)
        find_twice(w, &w->inv.timelines.at[i]);
}
