#include <stdio.h>
#include <string.h>

#include "verify/wal_checker.h"

void wal_cost_release(WalCost *cost)
{
    str_list_release(&cost->backups);
    str_list_release(&cost->windows);
}

static bool is_on(const WalWay *way, const BackupSummary *b)
{
    for (size_t i = 0; i < way->backups.n; i++)
        if (way->backups.at[i] == b)
            return true;
    return false;
}

/* Whether the way has all WAL of a backup on it, as far as names tell. */
static bool is_whole(const WalChecker *w, const WalWay *way, const BackupSummary *b)
{
    const WalStretch *s = wal_way_stretch(way, wal_segno(b->start_lsn, w->store.seg_size));
    uint64_t last = wal_segno_before(b->stop_lsn, w->store.seg_size);
    return s && (last < s->next || (last == s->next && s->piece.kind != PLACE_NONE));
}

static bool takes(const WalChecker *w, const WalWay *way, const WalCopy *copy)
{
    WalPlace p = wal_way_at(&w->ways, way, copy->segno);
    return p.tli == copy->tli && (copy->kind == PLACE_NONE || copy->kind == p.kind);
}

/* --- backups --- */

/* No way on which the backup lies can do without the copy. */
static bool backup_needs(const WalChecker *w, const BackupSummary *b, const WalCopy *copy)
{
    const uint32_t size = w->store.seg_size;
    bool any = false;
    if (copy->segno < wal_segno(b->start_lsn, size) ||
        copy->segno > wal_segno_before(b->stop_lsn, size))
        return false;
    for (size_t i = 0; i < w->ways.all.n; i++) {
        const WalWay *way = &w->ways.all.at[i];
        if (!is_on(way, b))
            continue;
        bool its = takes(w, way, copy);
        if (!its && is_whole(w, way, b))
            return false;
        any |= its;
    }
    return any;
}

/* --- ways --- */

/* How far the way still leads when its copy of the segment is lost; NULL: no backup led there. */
static char *what_is_left(const WalChecker *w, const WalWay *way, uint64_t segno)
{
    const uint32_t size = w->store.seg_size;
    const Lsn start = wal_segment_start(segno, size);
    const WalStretch *s = wal_way_stretch(way, segno);
    const BackupSummary *before = NULL, *next = NULL;
    if (!s)
        return NULL;
    for (size_t i = 0; i < way->backups.n; i++) {
        const BackupSummary *b = way->backups.at[i];
        if (b->stop_lsn <= start && wal_way_stretch(way, wal_segno(b->start_lsn, size)) == s)
            before = b;
        if (!next && wal_segno(b->start_lsn, size) > segno && is_whole(w, way, b))
            next = b;
    }
    if (before && next)
        return mem_printf(" up to " LSN_FMT ", and from backup %s on", LSN_ARG(start), next->id);
    if (before)
        return mem_printf(" up to " LSN_FMT, LSN_ARG(start));
    return next ? mem_printf(" only from backup %s on", next->id) : mem_strdup("");
}

/* Ways that share the segment and what is left of them are told together. */
typedef struct Group {
    char *left;
    Buf numbers; /* "1, 2, 3" */
    uint32_t first;
    size_t n;
} Group;
typedef VEC(Group) Groups;

static void add_to_group(Groups *groups, uint32_t tli, char *left)
{
    Group *g = NULL;
    for (size_t i = 0; i < groups->n && !g; i++)
        if (strcmp(groups->at[i].left, left) == 0)
            g = &groups->at[i];
    if (g) {
        free(left);
    } else {
        vec_push(groups, (Group){.left = left, .first = tli});
        g = &groups->at[groups->n - 1];
    }
    buf_printf(&g->numbers, "%s%u", g->n++ ? ", " : "", tli);
}

static char *group_text(Group *g)
{
    const char *verb = *g->left ? "restorable" : "not restorable";
    if (g->n == 1)
        return mem_printf("timeline %u: %s with --target-timeline=%u%s", g->first, verb, g->first,
                          g->left);
    return mem_printf("timelines %s: %s%s", buf_str(&g->numbers), verb, g->left);
}

static void cost_windows(const WalChecker *w, const WalCopy *copy, StrList *ret)
{
    Groups groups = {0};
    for (size_t i = 0; i < w->ways.all.n; i++) {
        const WalWay *way = &w->ways.all.at[i];
        if (!takes(w, way, copy))
            continue;
        char *left = what_is_left(w, way, copy->segno);
        if (left)
            add_to_group(&groups, way->tli, left);
    }
    for (size_t i = 0; i < groups.n; i++) {
        vec_push(ret, group_text(&groups.at[i]));
        free(groups.at[i].left);
        buf_release(&groups.at[i].numbers);
    }
    vec_release(&groups);
}

void wal_cost_find(const WalChecker *w, const WalCopy *copy, WalCost *ret)
{
    for (size_t i = 0; i < w->backups.n; i++)
        if (backup_needs(w, w->backups.at[i], copy))
            vec_push(&ret->backups, mem_strdup(w->backups.at[i]->id));
    cost_windows(w, copy, &ret->windows);
}

bool wal_in_scope(const WalChecker *w, const WalCopy *copy)
{
    if (!w->c->spec->backup_id)
        return true;
    for (size_t i = 0; i < w->ways.all.n; i++)
        if (wal_way_stretch(&w->ways.all.at[i], copy->segno) && takes(w, &w->ways.all.at[i], copy))
            return true;
    return false;
}

/* --- findings --- */

#define NOT_NEEDED "; no backup needs it, and no recovery window"
#define NOT_NEEDED_BY_WHOLE "; no backup that is whole needs it, and no recovery window"
#define HISTORIES_FIRST "; what needs it can be told when the histories are mended"
#define MAY_GO                                                                                     \
    "archive it again if a server still has it; else nothing misses the object when it is removed"

void wal_found_segment(WalChecker *w, const SegmentFinding *f)
{
    WalCost cost AUTO(wal_cost_release) = {.backups = {0}};
    const bool others = checker_has_others(w->c);
    const bool known = w->ways_known && lineage_knows(&w->lineage, f->copy.tli);
    if (known)
        wal_cost_find(w, &f->copy, &cost);
    bool not_needed = known && !cost.backups.n && !cost.windows.n;
    const char *more = !known        ? HISTORIES_FIRST
                       : !not_needed ? ""
                       : others      ? NOT_NEEDED_BY_WHOLE
                                     : NOT_NEEDED;
    char *problem AUTO(mem_freep) = mem_printf("%s%s", f->problem, more);
    VerifyFinding out = {.object = f->object,
                         .problem = problem,
                         .hint = f->hint                 ? f->hint
                                 : not_needed && !others ? MAY_GO
                                                         : NULL,
                         .backups = &cost.backups,
                         .windows = &cost.windows,
                         .store = f->found ? &w->store : NULL,
                         .wal = f->found,
                         .wal_more = f->more};
    checker_found(w->c, &out);
}
