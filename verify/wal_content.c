#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "catalog/wal_walk.h"
#include "lib/common/workers.h"
#include "lib/pg/wal_scan.h"
#include "lib/repo/wal_object.h"
#include "lib/repo/wal_tail.h"
#include "verify/wal_checker.h"

/*
 * The content of every WAL object, each read once: that its bytes are those that were written, that
 * the records of a segment are valid to its end, and that they follow those of the segment before.
 */

/* The records of segments that lie one behind the other. */
typedef struct Chain {
    WalScan *scan;
    uint64_t next; /* the segment that goes on with them */
} Chain;

static void chain_break(Chain *chain)
{
    wal_scan_free(chain->scan);
    *chain = (Chain){.scan = NULL};
}

static bool chain_feed(const WalChecker *w, Chain *chain, uint64_t segno, const Buf *data)
{
    WalRecord r;
    WalEvent event = WAL_RECORD;
    if (!chain->scan)
        chain->scan = wal_scan_new(&(WalScanSpec){.seg_size = w->store.seg_size});
    wal_scan_feed(chain->scan, wal_segment_start(segno, w->store.seg_size), data->data, data->len);
    while (event == WAL_RECORD)
        event = wal_scan_next(chain->scan, &r);
    chain->next = segno + 1;
    return event == WAL_MORE;
}

/* --- a segment --- */

typedef struct Segment {
    uint32_t tli;
    const WalEntry *entry;
    WalFound found;
    Lsn start;
    WalPlaceKind kind;
    Buf data;
    WalSegmentCheck check;
} Segment;

static void found_in(WalChecker *w, const Segment *s, const char *problem)
{
    char *object AUTO(mem_freep) = wal_object_name(&w->store, s->found.file, s->found.digest);
    wal_found_segment(
        w, &(SegmentFinding){.copy = {.tli = s->tli, .segno = s->entry->segno, .kind = s->kind},
                             .object = object,
                             .problem = problem,
                             .found = &s->found});
}

/* Findings are told; all else ends the verification. */
static ErrCode tell_or_fail(WalChecker *w, const Segment *s, const Err *why, Err *err)
{
    if (!checker_is_finding(why->code)) {
        *err = *why;
        return why->code;
    }
    found_in(w, s, why->message);
    return ERR_OK;
}

static ErrCode segment_prove(WalChecker *w, Segment *s, Err *err)
{
    uint64_t stored;
    char *name AUTO(mem_freep) = wal_object_name(&w->store, s->found.file, s->found.digest);
    TRY(wal_prove(&w->store, name, &s->found, &s->data, &stored, err));
    atomic_fetch_add(&w->c->bytes, stored);
    TRY(wal_segment_check(s->data.data, s->data.len, s->start, NULL, NULL, &s->check, err));
    if (s->check.header.system_id != w->store.system_id)
        return err_set(err, ERR_DAMAGED, "the segment belongs to another system");
    if (!s->entry->partial && !s->check.complete)
        return err_set(err, ERR_DAMAGED, "the segment's records are not valid to its end: %s",
                       s->check.why);
    return ERR_OK;
}

static const WalWay *way_to(const WalChecker *w, uint32_t tli)
{
    for (size_t i = 0; i < w->ways.all.n; i++)
        if (w->ways.all.at[i].tli == tli)
            return &w->ways.all.at[i];
    return NULL;
}

/* The index of the finished segment before, when that is an ancestor's. What cannot be read is told
 * where it lies. */
static ErrCode read_ancestor(WalChecker *w, const Segment *s, WalIndex *ret, bool *ret_there,
                             Err *err)
{
    const WalWay *way = way_to(w, s->tli);
    Buf table AUTO(buf_release) = {0};
    WalMeta meta;
    Err why = {0};
    *ret_there = false;
    if (!way || !s->entry->segno)
        return ERR_OK;
    WalPlace p = wal_way_at(&w->ways, way, s->entry->segno - 1);
    if (p.kind != PLACE_FINISHED || p.tli == s->tli || p.until)
        return ERR_OK;
    WalFound found = wal_entry_found(p.tli, p.entry, w->store.seg_size);
    ErrCode rc = wal_read_table(&w->store, &found, &meta, &table, &why);
    if (rc == ERR_OK)
        rc = wal_index_decode(&table, s->start - w->store.seg_size, ret, ret_there, &why);
    if (rc == ERR_OK || checker_is_finding(rc))
        return ERR_OK;
    *err = why;
    return rc;
}

/* Where a timeline begins, the segment before is an ancestor's: what the indexes of both hold of
 * the record between them must do. */
static ErrCode check_entry_joint(WalChecker *w, const Segment *s, Err *err)
{
    WalIndex before AUTO(wal_index_release) = {.start = 0};
    WalIndex after AUTO(wal_index_release) = {.start = 0};
    WalSegmentCheck check;
    bool there, joined;
    TRY(read_ancestor(w, s, &before, &there, err));
    bool voided = wal_page_parse(s->data.data).info & WAL_PAGE_OVERWRITES;
    if (!there || voided || before.fragments_cut)
        return ERR_OK;
    if (before.spills != (s->check.header.rem_len > 0))
        return err_set(err, ERR_DAMAGED,
                       before.spills ? "it does not go on with the record that the segment before "
                                       "ends in"
                                     : "it goes on with a record, but the segment before ends "
                                       "between two");
    TRY(wal_index_build(s->data.data, s->data.len, s->start, &check, &after, err));
    return after.fragments_cut ? ERR_OK
                               : wal_index_join(&before, &after, w->store.seg_size, &joined, err);
}

static ErrCode check_order(WalChecker *w, Chain *chain, const Segment *s, Err *err)
{
    const bool begins = !chain->scan || chain->next != s->entry->segno;
    if (begins)
        chain_break(chain);
    Err why = {0};
    ErrCode rc = ERR_OK;
    if (begins)
        rc = check_entry_joint(w, s, &why);
    if (rc != ERR_OK)
        TRY(tell_or_fail(w, s, &why, err));
    if (chain_feed(w, chain, s->entry->segno, &s->data))
        return ERR_OK;
    char problem[400];
    snprintf(problem, sizeof(problem),
             "its records do not go on from those of the segment before: %s",
             wal_scan_why(chain->scan));
    found_in(w, s, problem);
    /* What follows is compared with this one. */
    chain_break(chain);
    if (!chain_feed(w, chain, s->entry->segno, &s->data))
        chain_break(chain);
    return ERR_OK;
}

static WalPlaceKind kind_of(const TimelineWal *t, size_t i)
{
    const WalEntry *e = &t->entries.at[i];
    for (size_t k = i > 0 ? i - 1 : 0; k < t->entries.n && k <= i + 1; k++)
        if (k != i && t->entries.at[k].segno == e->segno && t->entries.at[k].partial == e->partial)
            return PLACE_TWICE;
    return e->partial ? PLACE_PARTIAL : PLACE_FINISHED;
}

static ErrCode check_entry(WalChecker *w, const TimelineWal *t, size_t i, Chain *chain, Err *err)
{
    const WalEntry *e = &t->entries.at[i];
    Segment s = {.tli = t->tli,
                 .entry = e,
                 .found = wal_entry_found(t->tli, e, w->store.seg_size),
                 .start = wal_segment_start(e->segno, w->store.seg_size),
                 .kind = kind_of(t, i)};
    WalCopy copy = {.tli = t->tli, .segno = e->segno, .kind = s.kind};
    TRY(cancel_check(err));
    if (!wal_in_scope(w, &copy))
        return ERR_OK;
    w->c->result.wal_segments += !e->partial;
    w->c->result.other_objects += e->partial;
    if (w->c->spec->fast)
        return ERR_OK;
    Err why = {0};
    ErrCode rc = segment_prove(w, &s, &why);
    if (rc != ERR_OK && e->partial)
        vec_push(&w->bad_pieces, mem_strndup(s.found.file, WAL_SEGMENT_NAME_LEN));
    if (rc != ERR_OK)
        rc = tell_or_fail(w, &s, &why, err);
    else if (s.kind == PLACE_FINISHED)
        rc = check_order(w, chain, &s, err);
    buf_release(&s.data);
    progress_add(w->c->spec->progress, w->store.seg_size, 1);
    return rc;
}

static ErrCode check_timeline(WalChecker *w, const TimelineWal *t, Err *err)
{
    Chain chain = {.scan = NULL};
    ErrCode rc = ERR_OK;
    for (size_t i = 0; i < t->entries.n && rc == ERR_OK; i++)
        rc = check_entry(w, t, i, &chain, err);
    chain_break(&chain);
    return rc;
}

/* --- what is no segment --- */

static ErrCode check_labels(WalChecker *w, Err *err)
{
    for (size_t i = 0; i < w->inv.labels.n; i++) {
        const WalFound *f = &w->inv.labels.at[i];
        Buf data AUTO(buf_release) = {0};
        uint64_t stored;
        Err why = {0};
        TRY(cancel_check(err));
        w->c->result.other_objects++;
        char *name AUTO(mem_freep) = wal_object_name(&w->store, f->file, f->digest);
        ErrCode rc = wal_prove(&w->store, name, f, &data, &stored, &why);
        if (rc != ERR_OK && !checker_is_finding(rc)) {
            *err = why;
            return rc;
        }
        if (rc == ERR_OK) {
            atomic_fetch_add(&w->c->bytes, stored);
            continue;
        }
        char *problem AUTO(mem_freep) =
            mem_printf("%s; no restore needs it: it is PostgreSQL's note of a backup", why.message);
        checker_found(w->c, &(VerifyFinding){
                                .object = name, .problem = problem, .store = &w->store, .wal = f});
    }
    return ERR_OK;
}

static ErrCode tail_prove(WalChecker *w, const WalTail *t, Err *err)
{
    Buf data AUTO(buf_release) = {0};
    DocumentFacts facts;
    uint64_t start, end;
    const Lsn first = wal_segment_start(t->segno, w->store.seg_size);
    TRY(document_get(w->store.repo, t->name, KIND_TAIL, w->store.seg_size, &data, &facts, err));
    atomic_fetch_add(&w->c->bytes, facts.size);
    if (!tail_name_parse(t->name, &start, &end) || start < first ||
        end > first + w->store.seg_size || end < start || data.len != end - start)
        return err_set(err, ERR_DAMAGED, "it holds %zu bytes, which do not fit its name", data.len);
    return ERR_OK;
}

static void found_tail(WalChecker *w, uint32_t tli, const WalTail *t, const char *problem)
{
    WalFound segment = {.digest = ""};
    wal_name_segment(tli, t->segno, w->store.seg_size, segment.file);
    vec_push(&w->bad_pieces, mem_strdup(segment.file));
    wal_found_segment(w, &(SegmentFinding){.copy = {tli, t->segno, PLACE_TAIL},
                                           .object = t->name,
                                           .problem = problem,
                                           .found = &segment});
}

static ErrCode check_tails(WalChecker *w, const TimelineWal *t, Err *err)
{
    for (size_t i = 0; i < t->tails.n; i++) {
        Err why = {0};
        TRY(cancel_check(err));
        if (!wal_in_scope(w, &(WalCopy){t->tli, t->tails.at[i].segno, PLACE_TAIL}))
            continue;
        w->c->result.other_objects++;
        ErrCode rc = tail_prove(w, &t->tails.at[i], &why);
        if (rc == ERR_OK || rc == ERR_NOT_FOUND) /* its segment was finished meanwhile */
            continue;
        if (!checker_is_finding(rc)) {
            *err = why;
            return rc;
        }
        found_tail(w, t->tli, &t->tails.at[i], why.message);
    }
    return ERR_OK;
}

/* --- the last piece of a way --- */

/* The backup on the way whose own WAL ends furthest within the piece; NULL: none does. */
static const BackupSummary *ends_in_piece(const WalChecker *w, const WalWay *way, uint64_t segno)
{
    const BackupSummary *last = NULL;
    for (size_t i = 0; i < way->backups.n; i++) {
        const BackupSummary *b = way->backups.at[i];
        if (wal_segno_before(b->stop_lsn, w->store.seg_size) == segno &&
            (!last || b->stop_lsn > last->stop_lsn))
            last = b;
    }
    return last;
}

/* A tail goes when its segment is finished: that may have happened since all was listed. */
static ErrCode is_finished_now(WalChecker *w, const char *file, bool *ret, Err *err)
{
    WalFoundList found = {0};
    ErrCode rc = wal_find(&w->store, file, &found, err);
    *ret = found.n > 0;
    vec_release(&found);
    return rc;
}

static ErrCode check_piece(WalChecker *w, const WalWay *way, const WalStretch *st, Err *err)
{
    WalIndex x AUTO(wal_index_release) = {.start = 0};
    WalStep step = {.segno = st->next,
                    .start = wal_segment_start(st->next, w->store.seg_size),
                    .tli = st->piece.tli,
                    .until = st->piece.until};
    char problem[400];
    Err why = {0};
    wal_name_segment(step.tli, step.segno, w->store.seg_size, step.file);
    if (str_list_has(&w->bad_pieces, step.file))
        return ERR_OK;
    if (st->piece.entry)
        step.found = wal_entry_found(step.tli, st->piece.entry, w->store.seg_size);
    WalWalk *walk AUTO(wal_walk_freep) = wal_walk_new(&w->store, &way->path, step.start);
    ErrCode rc = wal_walk_index(walk, &step, &x, &why);
    const BackupSummary *b = ends_in_piece(w, way, st->next);
    if (rc == ERR_OK && (!b || x.ends >= b->stop_lsn))
        return ERR_OK;
    if (rc != ERR_OK && rc != ERR_BUSY && !checker_is_finding(rc)) {
        *err = why;
        return rc;
    }
    bool finished;
    TRY(is_finished_now(w, step.file, &finished, err));
    if (finished)
        return ERR_OK;
    if (rc != ERR_OK)
        snprintf(problem, sizeof(problem), "what there is of it cannot be used: %.300s",
                 why.message);
    else
        snprintf(problem, sizeof(problem),
                 "what there is of it ends at " LSN_FMT ", before the end of backup %s",
                 LSN_ARG(x.ends), b->id);
    wal_found_segment(w, &(SegmentFinding){.copy = {step.tli, step.segno, st->piece.kind},
                                           .object = step.file,
                                           .problem = problem});
    return ERR_OK;
}

/* Of tails the objects have been proven, but not that they are WAL, and of one mind. A .partial has
 * been; only a backup's end may lie behind what it holds. */
static ErrCode check_pieces(WalChecker *w, Err *err)
{
    for (size_t i = 0; i < w->ways.all.n; i++) {
        const WalWay *way = &w->ways.all.at[i];
        for (size_t k = 0; k < way->stretches.n; k++) {
            const WalStretch *st = &way->stretches.at[k];
            bool told_by_another = st->piece.tli != way->tli;
            if (st->piece.kind == PLACE_TAIL && !told_by_another)
                TRY(check_piece(w, way, st, err));
            else if (st->piece.kind == PLACE_PARTIAL && !told_by_another &&
                     ends_in_piece(w, way, st->next))
                TRY(check_piece(w, way, st, err));
        }
    }
    return ERR_OK;
}

ErrCode check_wal_content(WalChecker *w, Err *err)
{
    const bool fast = w->c->spec->fast;
    for (size_t i = 0; i < w->inv.timelines.n; i++) {
        const TimelineWal *t = &w->inv.timelines.at[i];
        progress_add_total(w->c->spec->progress, t->entries.n * (uint64_t)w->store.seg_size,
                           t->entries.n);
    }
    for (size_t i = 0; i < w->inv.timelines.n; i++)
        TRY(check_timeline(w, &w->inv.timelines.at[i], err));
    for (size_t i = 0; i < w->inv.timelines.n && !fast; i++)
        TRY(check_tails(w, &w->inv.timelines.at[i], err));
    if (!fast)
        TRY(check_pieces(w, err));
    if (!fast && !w->c->spec->backup_id)
        TRY(check_labels(w, err));
    return ERR_OK;
}
