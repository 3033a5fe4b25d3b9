#include "catalog/wal_walk.h"

#include <stdio.h>
#include <string.h>

#include "lib/common/parallel.h"
#include "lib/repo/wal_tail.h"

/* Tables that are read before they are asked for: four times as many each time, up to this many. */
#define AHEAD_MAX 64

/* The listing of one directory of WAL objects. */
typedef struct DirListing {
    char prefix[17];
    WalFoundList found;
    bool read;
} DirListing;

/* The table of a segment's object, read before the walk comes to it. */
typedef struct TableAhead {
    WalFound found;
    Buf table;
    bool there; /* else it is read again when it is asked for, and what is wrong told then */
} TableAhead;

struct WalWalk {
    WalStore *store;
    const TimelinePath *path;
    uint64_t segno;         /* the next */
    bool left_early;        /* the last step was an older timeline's copy of this segment */
    DirListing listings[2]; /* of the two timelines that may share a segment */
    unsigned turn;
    WalIndex last; /* of the step before, for records that cross */
    bool has_last;
    Lsn spill_from; /* where the record that crosses can be read from; 0: it is not known */
    Buf scratch;
    size_t ahead;           /* how many to read the next time */
    VEC(TableAhead) tables; /* in order */
};

WalWalk *wal_walk_new(WalStore *store, const TimelinePath *path, Lsn from)
{
    WalWalk *w = NEW(WalWalk);
    w->store = store;
    w->path = path;
    w->segno = wal_segno(from, store->seg_size);
    return w;
}

static void tables_drop(WalWalk *w)
{
    for (size_t i = 0; i < w->tables.n; i++)
        buf_release(&w->tables.at[i].table);
    w->tables.n = 0;
}

void wal_walk_free(WalWalk *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < ARRAY_LEN(w->listings); i++)
        vec_release(&w->listings[i].found);
    tables_drop(w);
    vec_release(&w->tables);
    wal_index_release(&w->last);
    buf_release(&w->scratch);
    free(w);
}

static ErrCode walk_listing(WalWalk *w, const char *file, bool fresh, DirListing **ret, Err *err)
{
    DirListing *l = NULL;
    for (size_t i = 0; i < ARRAY_LEN(w->listings); i++)
        if (w->listings[i].read && strncmp(w->listings[i].prefix, file, 16) == 0)
            l = &w->listings[i];
    if (l && !fresh) {
        *ret = l;
        return ERR_OK;
    }
    if (!l)
        l = &w->listings[w->turn++ % ARRAY_LEN(w->listings)];
    char tli8[9];
    snprintf(tli8, sizeof(tli8), "%.8s", file);
    snprintf(l->prefix, sizeof(l->prefix), "%.16s", file);
    l->found.n = 0;
    l->read = false;
    TRY(wal_list_directory(w->store, tli8, l->prefix, false, &l->found, err));
    l->read = true;
    *ret = l;
    return ERR_OK;
}

/* The one object of that name in a listing, or NULL. */
static ErrCode listing_find(const DirListing *l, const char *file, const WalFound **ret, Err *err)
{
    *ret = NULL;
    for (size_t i = 0; i < l->found.n; i++) {
        const WalFound *f = &l->found.at[i];
        if (strcmp(f->file, file) != 0)
            continue;
        if (*ret) {
            err_set(err, ERR_CONFLICT, "there are two different contents of %s: %s and %s", file,
                    (*ret)->digest, f->digest);
            return err_hint(err, "'pgdr repo resolve %s' shows both and keeps the one you choose",
                            file);
        }
        *ret = f;
    }
    return ERR_OK;
}

/* Fills what is known of a step before it is looked for; `i` is the path's step. */
static void step_init(const WalWalk *w, size_t i, WalStep *step)
{
    const TimelineStep *t = &w->path->at[i];
    *step = (WalStep){
        .segno = w->segno, .start = wal_segment_start(w->segno, w->store->seg_size), .tli = t->tli};
    wal_name_segment(t->tli, w->segno, w->store->seg_size, step->file);
    if (t->until && t->until < step->start + w->store->seg_size)
        step->until = t->until;
}

static ErrCode step_find(WalWalk *w, WalStep *step, bool fresh, bool *ret_found, Err *err)
{
    DirListing *l;
    const WalFound *f;
    TRY(walk_listing(w, step->file, fresh, &l, err));
    TRY(listing_find(l, step->file, &f, err));
    *ret_found = f != NULL;
    if (!f)
        return ERR_OK;
    step->finished = true;
    step->found = *f;
    return ERR_OK;
}

/* A .partial or a tail in place of the segment. */
static ErrCode step_find_last(WalWalk *w, WalStep *step, bool *ret_found, Err *err)
{
    char partial[WAL_NAME_MAX];
    DirListing *l;
    const WalFound *f;
    snprintf(partial, sizeof(partial), "%.24s.partial", step->file);
    TRY(walk_listing(w, step->file, false, &l, err));
    TRY(listing_find(l, partial, &f, err));
    if (f) {
        step->found = *f;
        *ret_found = true;
        return ERR_OK;
    }
    return tail_exists(w->store, step->file, ret_found, err);
}

static ErrCode stop_at_first(void *arg, const RepoEntry *e, Err *err)
{
    (void)arg;
    return err_set(err, ERR_EXISTS, "%s", e->name);
}

/* Whether anything later of the timeline is there: a segment, a .partial, or a tail. */
static ErrCode later_exists(WalWalk *w, const WalStep *step, bool *ret, Err *err)
{
    char tli8[9];
    snprintf(tli8, sizeof(tli8), "%.8s", step->file);
    char *prefix AUTO(mem_freep) = mem_printf("wal/%s/%s/", w->store->system, tli8);
    char *after AUTO(mem_freep) =
        mem_printf("%s%.16s/%.24s~", prefix, step->file, step->file); /* '~' sorts behind all */
    RepoList list = {.prefix = prefix, .after = after, .fn = stop_at_first};
    Err found = {0};
    ErrCode rc = repo_list(w->store->repo, &list, &found);
    *ret = rc == ERR_EXISTS;
    if (rc != ERR_OK && rc != ERR_EXISTS) {
        *err = found;
        return rc;
    }
    StrList tails AUTO(str_list_release) = {0};
    if (!*ret)
        TRY(tail_list_segments(w->store, tli8, &tails, err));
    for (size_t i = 0; i < tails.n && !*ret; i++)
        *ret = strcmp(tails.at[i], step->file) > 0;
    return ERR_OK;
}

/* Whether the path is on its i-th timeline somewhere within the segment. */
static bool step_touches(const WalWalk *w, size_t i)
{
    const Lsn start = wal_segment_start(w->segno, w->store->seg_size);
    const Lsn entry = i ? w->path->at[i - 1].until : 0, until = w->path->at[i].until;
    return entry < start + w->store->seg_size && (!until || until > start);
}

/* The segment of the youngest timeline that touches it, else of an older one. */
static ErrCode find_finished(WalWalk *w, bool fresh, WalStep *ret, bool *ret_found, Err *err)
{
    *ret_found = false;
    for (size_t i = w->path->n; i-- > 0 && !*ret_found;) {
        if (!step_touches(w, i))
            continue;
        step_init(w, i, ret);
        TRY(step_find(w, ret, fresh, ret_found, err));
    }
    return ERR_OK;
}

static ErrCode find_last(WalWalk *w, WalStep *ret, bool *ret_found, Err *err)
{
    for (size_t i = w->path->n; i-- > 0 && !*ret_found;) {
        if (!step_touches(w, i))
            continue;
        step_init(w, i, ret);
        TRY(step_find_last(w, ret, ret_found, err));
    }
    return ERR_OK;
}

ErrCode wal_walk_next(WalWalk *w, WalStep *ret, WalWalkEnd *ret_end, Err *err)
{
    bool found = false, later = false;
    WalStep step = {.segno = w->segno};
    size_t youngest = w->path->n;
    while (youngest > 0 && !step_touches(w, youngest - 1))
        youngest--;
    if (!w->left_early) {
        /* Absent means: not listed, no tail, and still not listed when asked again. */
        TRY(find_finished(w, false, &step, &found, err));
        if (!found)
            TRY(find_finished(w, true, &step, &found, err));
        if (!found)
            TRY(find_last(w, &step, &found, err));
        if (!found)
            TRY(find_finished(w, true, &step, &found, err));
    }
    if (found) {
        /* An older timeline's copy ends where the path leaves it: what follows is the younger
         * timeline's copy of the same segment, which is not there. */
        w->left_early = step.until != 0;
        w->segno += !w->left_early;
        *ret = step;
        *ret_end = WALK_STEP;
        return ERR_OK;
    }
    if (!youngest)
        return err_set(err, ERR_INTERNAL, "the timeline path does not cover segment %llu",
                       (unsigned long long)w->segno);
    step_init(w, youngest - 1, &step);
    if (youngest < w->path->n)
        later = true; /* the path goes on on a younger timeline */
    else
        TRY(later_exists(w, &step, &later, err));
    *ret = step;
    *ret_end = later ? WALK_HOLE : WALK_END;
    return ERR_OK;
}

ErrCode wal_walk_read(WalWalk *w, const WalStep *step, Buf *data, Err *err)
{
    const size_t begin = data->len, size = w->store->seg_size;
    if (step->found.file[0]) {
        TRY(wal_read(w->store, &step->found, data, NULL, NULL, err));
    } else {
        uint64_t end;
        bool vanished;
        TRY(tail_read(w->store, step->file, step->start, data, &end, &vanished, err));
        if (vanished)
            return err_set(err, ERR_BUSY, "%s was finished while its tail was read", step->file);
    }
    if (data->len - begin > size)
        return err_set(err, ERR_DAMAGED, "%s holds %zu bytes", step->file, data->len - begin);
    size_t zeros = size - (data->len - begin);
    memset(buf_reserve(data, zeros + 1), 0, zeros);
    data->len += zeros;
    if (step->until > step->start) {
        size_t keep = (size_t)(step->until - step->start);
        memset(data->data + begin + keep, 0, size - keep);
    }
    return ERR_OK;
}

static void index_cut(WalIndex *x, Lsn until)
{
    while (x->xacts.n && x->xacts.at[x->xacts.n - 1].end > until)
        x->xacts.n--;
    while (x->events.n && x->events.at[x->events.n - 1].end > until)
        free(x->events.at[--x->events.n].text);
    if (x->ends > until) {
        x->ends = until;
        x->switched = x->spills = false;
    }
}

static ErrCode index_from_wal(WalWalk *w, const WalStep *step, WalIndex *ret, Err *err)
{
    WalSegmentCheck check;
    w->scratch.len = 0;
    TRY(wal_walk_read(w, step, &w->scratch, err));
    return wal_index_build(w->scratch.data, w->scratch.len, step->start, &check, ret, err);
}

/* When the fragments are not enough: the crossing record is read from the WAL of the segments that
 * it lies in. */
static ErrCode index_join_from_wal(WalWalk *w, const WalStep *step, WalIndex *x, Err *err)
{
    const Lsn step_end = step->start + w->store->seg_size;
    if (!w->spill_from)
        return ERR_OK; /* it began before the walk did */
    WalRecords *records AUTO(wal_records_freep) = wal_records_new(w->store, w->path, w->spill_from);
    WalRecord r = {.end = 0};
    bool end = false;
    while (!end && r.end <= step->start) {
        ErrCode rc = wal_records_next(records, &r, &end, err);
        if (rc == ERR_WAL_MISSING)
            return ERR_OK; /* it does not end: what is missing, the walk comes to */
        if (rc != ERR_OK)
            return rc;
    }
    if (!end && r.start < step->start && r.end <= step_end)
        wal_index_add_first(x, wal_records_version(records), &r);
    return ERR_OK;
}

/* Where to read from to come to the record that goes on behind a segment: its start, or that of the
 * last segment in which one starts. */
static Lsn next_spill_from(const WalWalk *w, const WalIndex *x)
{
    if (!x->spills)
        return 0;
    return x->tail_start ? x->tail_start : x->first ? x->start : w->spill_from;
}

/* --- tables --- */

static ErrCode read_ahead(void *arg, unsigned thread, size_t i, Err *err)
{
    WalWalk *w = arg;
    TableAhead *t = &w->tables.at[i];
    WalMeta meta;
    (void)thread;
    ErrCode rc = wal_read_table(w->store, &t->found, &meta, &t->table, err);
    t->there = rc == ERR_OK;
    return i ? ERR_OK : rc;
}

/* The one asked for and those that follow it in its directory, at the same time: each is a request,
 * and a distant repository takes its time for every one. */
static ErrCode tables_read(WalWalk *w, const WalStep *step, Err *err)
{
    const DirListing *l = NULL;
    tables_drop(w);
    w->ahead = MIN(MAX(w->ahead * 4, (size_t)1), (size_t)AHEAD_MAX);
    for (size_t i = 0; i < ARRAY_LEN(w->listings); i++)
        if (w->listings[i].read && strncmp(w->listings[i].prefix, step->file, 16) == 0)
            l = &w->listings[i];
    vec_push(&w->tables, (TableAhead){.found = step->found});
    for (size_t i = 0; l && i < l->found.n && w->tables.n < w->ahead; i++)
        if (strcmp(l->found.at[i].file, step->file) > 0 && strlen(l->found.at[i].file) == 24)
            vec_push(&w->tables, (TableAhead){.found = l->found.at[i]});
    return parallel_run(parallel_requests(w->tables.n), w->tables.n, read_ahead, w, err);
}

static const Buf *tables_find(const WalWalk *w, const WalFound *found)
{
    for (size_t i = 0; i < w->tables.n; i++) {
        const TableAhead *t = &w->tables.at[i];
        if (t->there && strcmp(t->found.file, found->file) == 0 &&
            strcmp(t->found.digest, found->digest) == 0)
            return &t->table;
    }
    return NULL;
}

static ErrCode index_from_table(WalWalk *w, const WalStep *step, WalIndex *x, bool *ret_there,
                                Err *err)
{
    const Buf *table = tables_find(w, &step->found);
    if (!table) {
        TRY(tables_read(w, step, err));
        table = &w->tables.at[0].table;
    }
    return wal_index_decode(table, step->start, x, ret_there, err);
}

ErrCode wal_walk_index(WalWalk *w, const WalStep *step, WalIndex *ret, Err *err)
{
    WalIndex x AUTO(wal_index_release) = {.start = step->start};
    bool there = false, joined;
    if (step->finished)
        TRY(index_from_table(w, step, &x, &there, err));
    if (!there)
        TRY(index_from_wal(w, step, &x, err));
    if (w->has_last && w->last.ends == x.start) {
        Err why = {0};
        ErrCode rc = wal_index_join(&w->last, &x, w->store->seg_size, &joined, &why);
        if (rc == ERR_WAL_MISSING)
            TRY(index_join_from_wal(w, step, &x, err));
    }
    if (step->until)
        index_cut(&x, step->until);
    /* What the next join needs; the entries are the caller's. */
    w->spill_from = next_spill_from(w, &x);
    wal_index_release(&w->last);
    w->last = (WalIndex){.start = x.start,
                         .ends = x.ends,
                         .spills = x.spills,
                         .fragments_cut = x.fragments_cut,
                         .tail_start = x.tail_start};
    buf_append(&w->last.tail, x.tail.data, x.tail.len);
    w->has_last = true;
    wal_index_release(ret);
    *ret = x;
    x = (WalIndex){.start = 0};
    return ERR_OK;
}

/* --- records --- */

struct WalRecords {
    WalWalk *walk;
    WalScan *scan;
    Buf data;
    bool fed;
};

WalRecords *wal_records_new(WalStore *store, const TimelinePath *path, Lsn from)
{
    WalRecords *r = NEW(WalRecords);
    WalScanSpec spec = {.seg_size = store->seg_size, .system_id = store->system_id, .from = from};
    r->walk = wal_walk_new(store, path, from);
    r->scan = wal_scan_new(&spec);
    return r;
}

void wal_records_free(WalRecords *r)
{
    if (!r)
        return;
    wal_walk_free(r->walk);
    wal_scan_free(r->scan);
    buf_release(&r->data);
    free(r);
}

Lsn wal_records_at(const WalRecords *r)
{
    return wal_scan_at(r->scan);
}

const PgVersion *wal_records_version(const WalRecords *r)
{
    return wal_scan_version(r->scan);
}

ErrCode wal_records_next(WalRecords *r, WalRecord *ret, bool *ret_end, Err *err)
{
    for (;;) {
        WalEvent event = r->fed ? wal_scan_next(r->scan, ret) : WAL_MORE;
        *ret_end = event == WAL_STOP;
        if (event != WAL_MORE)
            return ERR_OK;
        WalStep step;
        WalWalkEnd end;
        TRY(wal_walk_next(r->walk, &step, &end, err));
        if (end == WALK_HOLE)
            return err_set(err, ERR_WAL_MISSING, "%s is not in the repository, but later WAL is",
                           step.file);
        if (end == WALK_END) {
            *ret_end = true;
            return ERR_OK;
        }
        r->data.len = 0;
        TRY(wal_walk_read(r->walk, &step, &r->data, err));
        wal_scan_feed(r->scan, step.start, r->data.data, r->data.len);
        r->fed = true;
    }
}

/* --- presence --- */

static ErrCode last_reaches(WalWalk *w, const WalStep *step, Lsn to, bool *ret, Err *err)
{
    WalIndex x AUTO(wal_index_release) = {.start = 0};
    TRY(index_from_wal(w, step, &x, err));
    *ret = x.ends >= to;
    return ERR_OK;
}

ErrCode wal_walk_check(WalStore *store, const TimelinePath *path, Lsn from, Lsn to,
                       char ret_missing[WAL_NAME_MAX], Err *err)
{
    WalWalk *w AUTO(wal_walk_freep) = wal_walk_new(store, path, from);
    uint64_t last = wal_segno_before(to, store->seg_size);
    ret_missing[0] = '\0';
    while (w->segno <= last) {
        WalStep step;
        WalWalkEnd end;
        bool reaches = true;
        TRY(wal_walk_next(w, &step, &end, err));
        if (end == WALK_STEP && step.until && step.until >= to)
            return ERR_OK;
        if (end == WALK_STEP && !step.finished)
            TRY(last_reaches(w, &step, MIN(to, step.start + store->seg_size), &reaches, err));
        if (end != WALK_STEP || !reaches) {
            snprintf(ret_missing, WAL_NAME_MAX, "%s", step.file);
            return ERR_OK;
        }
    }
    return ERR_OK;
}
