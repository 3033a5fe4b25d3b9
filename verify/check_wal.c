#include <string.h>

#include "catalog/lineage.h"
#include "catalog/wal_walk.h"
#include "lib/common/workers.h"
#include "lib/repo/name_set.h"
#include "verify/checker.h"

/*
 * WAL continuity: from the start of the oldest backup of each system and timeline to the end of
 * what is archived, every segment must be there once, be readable, and follow the one before.
 */

typedef struct WalChecker {
    Checker *c;
    WalStore store;
    Lineage lineage;
    NameSet checked; /* files whose content was read: paths share their beginnings */
} WalChecker;

/* Whose WAL is in the store: a system that was given another segment size begins its names anew. */
static bool is_of_system(const WalChecker *w, const BackupSummary *b)
{
    return b->system_id == w->store.system_id && b->wal_segment_size == w->store.seg_size;
}

/* Backups on the path whose own WAL holds the segment. */
static void needing(const WalChecker *w, const TimelinePath *path, uint64_t segno, StrList *ret)
{
    const uint32_t size = w->store.seg_size;
    for (size_t i = 0; i < w->c->backups.n; i++) {
        const BackupSummary *b = w->c->backups.at[i].summary;
        if (is_of_system(w, b) && timeline_contains(path, b->timeline, b->stop_lsn) &&
            segno >= wal_segno(b->start_lsn, size) && segno <= wal_segno_before(b->stop_lsn, size))
            vec_push(ret, mem_strdup(b->id));
    }
}

static void found_segment(WalChecker *w, const TimelinePath *path, const WalStep *step,
                          const char *problem, const char *hint)
{
    StrList users AUTO(str_list_release) = {0};
    char window[160];
    needing(w, path, step->segno, &users);
    snprintf(window, sizeof(window),
             "timeline %u: nothing behind " LSN_FMT " can be reached from an earlier backup",
             step->tli, LSN_ARG(step->start));
    char *object AUTO(mem_freep) = step->found.file[0]
                                       ? wal_object_name(&w->store, step->file, step->found.digest)
                                       : mem_strdup(step->file);
    WalFound missing = {.digest = ""};
    snprintf(missing.file, sizeof(missing.file), "%s", step->file);
    VerifyFinding f = {.object = object,
                       .problem = problem,
                       .hint = hint,
                       .backups = &users,
                       .window = window,
                       .store = &w->store,
                       .wal = step->found.file[0] ? &step->found : &missing};
    checker_found(w->c, &f);
}

/* Reads a finished segment whole; it must be valid to its end. */
static ErrCode check_content(WalChecker *w, WalWalk *walk, const TimelinePath *path,
                             const WalStep *step, bool *ret_good, Err *err)
{
    Buf data AUTO(buf_release) = {0};
    WalSegmentCheck check;
    Err why = {0};
    ErrCode rc = wal_walk_read(walk, step, &data, &why);
    atomic_fetch_add(&w->c->bytes, data.len);
    if (rc == ERR_OK)
        rc = wal_segment_check(data.data, data.len, step->start, NULL, NULL, &check, &why);
    if (rc == ERR_OK && step->finished && !step->until && !check.complete)
        rc = err_set(&why, ERR_DAMAGED, "the segment's records are not valid to its end: %s",
                     check.why);
    if (rc == ERR_OK && check.header.system_id != w->store.system_id)
        rc = err_set(&why, ERR_DAMAGED, "the segment belongs to another system");
    *ret_good = rc == ERR_OK;
    if (rc == ERR_OK)
        return ERR_OK;
    if (!checker_is_finding(rc)) {
        *err = why;
        return rc;
    }
    found_segment(w, path, step, why.message, NULL);
    return ERR_OK;
}

/* The record that crosses from one segment into the next must be whole. */
static ErrCode check_joint(WalChecker *w, WalWalk *walk, const TimelinePath *path,
                           const WalStep *step, WalIndex *last, Err *err)
{
    WalIndex x AUTO(wal_index_release) = {.start = 0};
    Err why = {0};
    bool joined;
    ErrCode rc = wal_walk_index(walk, step, &x, &why);
    if (rc == ERR_OK && last->start && last->ends == x.start && last->spills &&
        !last->fragments_cut && !x.fragments_cut && last->tail.len) {
        WalIndex again AUTO(wal_index_release) = {.start = x.start, .fragments_cut = false};
        buf_append(&again.head, x.head.data, x.head.len);
        rc = wal_index_join(last, &again, w->store.seg_size, &joined, &why);
    }
    if (rc != ERR_OK && !checker_is_finding(rc)) {
        *err = why;
        return rc;
    }
    if (rc != ERR_OK)
        found_segment(w, path, step, why.message, NULL);
    wal_index_release(last);
    *last = x;
    x = (WalIndex){.start = 0};
    return ERR_OK;
}

/* What a break in the WAL says about the next backup: it begins a new window. */
static uint64_t next_backup_segment(const WalChecker *w, const TimelinePath *path, uint64_t segno)
{
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < w->c->backups.n; i++) {
        const BackupSummary *b = w->c->backups.at[i].summary;
        uint64_t first = wal_segno(b->start_lsn, w->store.seg_size);
        if (is_of_system(w, b) && timeline_contains(path, b->timeline, b->stop_lsn) &&
            first > segno && first < next)
            next = first;
    }
    return next;
}

static ErrCode check_from(WalChecker *w, const TimelinePath *path, Lsn from, Lsn need,
                          StrList *seen, Err *err)
{
    const uint32_t size = w->store.seg_size;
    WalWalk *walk AUTO(wal_walk_freep) = wal_walk_new(&w->store, path, from);
    WalIndex last AUTO(wal_index_release) = {.start = 0};
    for (;;) {
        WalStep step;
        WalWalkEnd end;
        Err why = {0};
        TRY(cancel_check(err));
        ErrCode rc = wal_walk_next(walk, &step, &end, &why);
        if (rc == ERR_CONFLICT) {
            checker_found_err(w->c, "WAL", &why, NULL);
            return ERR_OK;
        }
        if (rc != ERR_OK) {
            *err = why;
            return rc;
        }
        bool missing = end == WALK_HOLE || (end == WALK_END && step.start < need);
        if (missing) {
            found_segment(w, path, &step, "the segment is missing",
                          "archive it again if a server still has it; else take a new backup");
            uint64_t next = next_backup_segment(w, path, step.segno);
            if (next == UINT64_MAX)
                return ERR_OK;
            return check_from(w, path, wal_segment_start(next, size), need, seen, err);
        }
        if (end == WALK_END)
            return ERR_OK;
        bool good = true, again = name_set_has(&w->checked, step.file);
        w->c->result.wal_segments += !again;
        if (!again)
            vec_push(seen, mem_strdup(step.file));
        if (!w->c->spec->fast && !again) {
            TRY(check_content(w, walk, path, &step, &good, err));
            if (good)
                TRY(check_joint(w, walk, path, &step, &last, err));
            else
                wal_index_release(&last);
        }
        progress_add(w->c->spec->progress, size, 1);
    }
}

static void report_frozen(WalChecker *w, uint32_t tli)
{
    Err err = {0};
    char tli8[9];
    TimelineMarks marks AUTO(timeline_marks_release) = {0};
    snprintf(tli8, sizeof(tli8), "%08X", tli);
    if (timeline_marks_read(&w->store, tli8, "frozen-", &marks, &err) != ERR_OK || !marks.n)
        return;
    const char *file = json_string_value(json_object_get(marks.at[0].body, "file"));
    char text[200];
    snprintf(text, sizeof(text),
             "it is frozen: two servers archived different contents "
             "of %s",
             file ? file : "a segment");
    char object[32], hint[160];
    snprintf(object, sizeof(object), "timeline %u", tli);
    snprintf(hint, sizeof(hint), "'pgdr repo resolve %s' shows both and keeps the one you choose",
             file ? file : "WAL-FILE");
    VerifyFinding f = {.object = object, .problem = text, .hint = hint};
    checker_found(w->c, &f);
}

static ErrCode check_path(WalChecker *w, const BackupSummary *system, const TimelinePath *path,
                          Err *err)
{
    Lsn from = UINT64_MAX, need = 0;
    for (size_t i = 0; i < w->c->backups.n; i++) {
        const BackupSummary *b = w->c->backups.at[i].summary;
        if (!backup_same_system(b, system) || !timeline_contains(path, b->timeline, b->stop_lsn))
            continue;
        from = MIN(from, b->start_lsn);
        need = MAX(need, b->stop_lsn);
    }
    if (from == UINT64_MAX)
        return ERR_OK; /* no backup leads onto it */
    for (size_t i = 0; i < path->n; i++)
        report_frozen(w, path->at[i].tli);
    StrList seen = {0};
    ErrCode rc = check_from(w, path, from, need, &seen, err);
    for (size_t i = 0; i < seen.n; i++)
        name_set_add(&w->checked, seen.at[i]);
    vec_release(&seen);
    return rc;
}

/* A history file that is damaged or (tli) missing. */
static void found_history(WalChecker *w, const WalFound *found, uint32_t tli, const Err *why)
{
    WalFound f = *found;
    if (tli)
        wal_name_history(tli, f.file);
    char *object AUTO(mem_freep) =
        *f.digest ? wal_object_name(&w->store, f.file, f.digest) : mem_strdup(f.file);
    VerifyFinding finding = {.object = object,
                             .problem = why->message,
                             .hint = *why->hint ? why->hint : NULL,
                             .store = &w->store,
                             .wal = &f};
    checker_found(w->c, &finding);
}

/* Every history file by itself: the lineage as a whole cannot say which one is damaged. */
static ErrCode check_histories(WalChecker *w, bool *ret_good, Err *err)
{
    WalFoundList found = {0};
    ErrCode rc = wal_list_histories(&w->store, &found, err);
    *ret_good = true;
    for (size_t i = 0; i < found.n && rc == ERR_OK; i++) {
        Buf text AUTO(buf_release) = {0};
        Err why = {0};
        ErrCode one = wal_read(&w->store, &found.at[i], &text, NULL, NULL, &why);
        if (one == ERR_OK)
            continue;
        *ret_good = false;
        if (checker_is_finding(one)) {
            found_history(w, &found.at[i], 0, &why);
        } else {
            *err = why;
            rc = one;
        }
    }
    vec_release(&found);
    return rc;
}

static ErrCode check_timeline(WalChecker *w, const BackupSummary *system, uint32_t tli, Err *err)
{
    Err why = {0};
    TimelinePath path AUTO(timeline_path_release) = {0};
    if (lineage_path(&w->lineage, tli, &path, &why) != ERR_OK)
        return ERR_OK; /* see check_unknown */
    return check_path(w, system, &path, err);
}

static void found_unknown(WalChecker *w, uint32_t tli)
{
    Err why = {0};
    TimelinePath path AUTO(timeline_path_release) = {0};
    if (lineage_path(&w->lineage, tli, &path, &why) == ERR_NOT_FOUND)
        found_history(w, &(WalFound){.digest = ""}, tli, &why);
}

/* Timelines that have WAL or backups, but no history that tells where they come from. */
static ErrCode check_unknown(WalChecker *w, const BackupSummary *system, Err *err)
{
    TimelineList list = {0};
    ErrCode rc = lineage_unknown(&w->store, &w->lineage, &list, err);
    for (size_t i = 0; i < w->c->backups.n; i++) {
        const BackupSummary *b = w->c->backups.at[i].summary;
        bool listed = !backup_same_system(b, system);
        for (size_t k = 0; k < list.n && !listed; k++)
            listed = list.at[k] == b->timeline;
        if (!listed)
            vec_push(&list, b->timeline);
    }
    for (size_t i = 0; i < list.n && rc == ERR_OK; i++)
        found_unknown(w, list.at[i]);
    vec_release(&list);
    return rc;
}

static ErrCode check_system(WalChecker *w, const BackupSummary *system, Err *err)
{
    uint32_t newest = 1;
    TRY(check_unknown(w, system, err));
    for (size_t i = 0; i < w->c->backups.n; i++)
        if (backup_same_system(w->c->backups.at[i].summary, system))
            newest = MAX(newest, w->c->backups.at[i].summary->timeline);
    for (size_t i = 0; i < w->lineage.steps.n; i++)
        newest = MAX(newest, w->lineage.steps.at[i].tli);
    for (uint32_t tli = newest; tli; tli--) {
        bool known = tli == 1;
        for (size_t i = 0; i < w->lineage.steps.n; i++)
            known |= w->lineage.steps.at[i].tli == tli;
        for (size_t i = 0; i < w->c->backups.n; i++)
            known |= backup_same_system(w->c->backups.at[i].summary, system) &&
                     w->c->backups.at[i].summary->timeline == tli;
        if (known && lineage_is_leaf(&w->lineage, tli))
            TRY(check_timeline(w, system, tli, err));
    }
    return ERR_OK;
}

static ErrCode check_lineage(WalChecker *w, const BackupSummary *system, Err *err)
{
    Err why = {0};
    bool good;
    TRY(check_histories(w, &good, err));
    if (!good)
        return ERR_OK; /* which timelines there are is not known until they are mended */
    ErrCode rc = lineage_read(&w->store, &w->lineage, &why);
    if (rc == ERR_OK)
        return check_system(w, system, err);
    if (!checker_is_finding(rc)) {
        *err = why;
        return rc;
    }
    checker_found_err(w->c, "timeline histories", &why, NULL);
    return ERR_OK;
}

ErrCode check_wal(Checker *c, Err *err)
{
    progress_begin(c->spec->progress, "checking WAL", 0, 0);
    for (size_t i = 0; i < c->backups.n; i++) {
        const BackupSummary *b = c->backups.at[i].summary;
        bool seen = false;
        for (size_t k = 0; k < i && !seen; k++)
            seen = backup_same_system(c->backups.at[k].summary, b);
        if (seen)
            continue;
        WalChecker w = {.c = c};
        wal_store_init(&w.store, c->repo, b->system_id, b->wal_segment_size);
        ErrCode rc = check_lineage(&w, b, err);
        lineage_release(&w.lineage);
        name_set_release(&w.checked);
        if (rc != ERR_OK)
            return rc;
    }
    return ERR_OK;
}
