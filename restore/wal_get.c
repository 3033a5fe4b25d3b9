#include "restore/wal_get.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "catalog/wal_publish.h"
#include "lib/common/file.h"
#include "lib/common/log.h"
#include "lib/repo/wal_tail.h"
#include "restore/destination.h"
#include "restore/history_spool.h"
#include "restore/last_piece.h"
#include "restore/server_timeline.h"

/* Answers are asked for again when a segment is being finished meanwhile, at most this often. */
#define TRIES_MAX 4

/* One of the repositories that are asked. */
typedef struct Source {
    bool asked; /* opened, or tried to be */
    Repo *repo; /* NULL: it could not be opened */
    WalStore store;
    ErrCode rc; /* of the first thing that went wrong with it; it is not asked any more then */
    Err err;
} Source;

/* A question: what is asked for, by whom, and who is asked. */
typedef struct Question {
    const WalGetSpec *spec;
    PgControl control;
    WalName name;
    Lsn start; /* of the segment */
    Source *sources;
    unsigned n;
} Question;

static bool has_file(const char *data_dir, const char *name)
{
    char *path AUTO(mem_freep) = path_join(data_dir, name);
    return access(path, F_OK) == 0;
}

bool wal_get_standby_mode(const char *data_dir)
{
    return has_file(data_dir, "standby.signal");
}

bool wal_get_in_recovery(const char *data_dir)
{
    return wal_get_standby_mode(data_dir) || has_file(data_dir, "recovery.signal");
}

/* Its doubts stop it; without any signal file it asks for a history when it has ended recovery. */
static bool one_shot(const char *data_dir)
{
    return !wal_get_standby_mode(data_dir) && has_file(data_dir, "recovery.signal");
}

/* --- handing over --- */

static ErrCode hand_over(const Question *q, const Buf *data, Err *err)
{
    Destination to AUTO(destination_release) = {.fd = -1};
    TRY(destination_open(q->spec->to, &to, err));
    TRY(file_write(to.fd, data->data, data->len, to.path, err));
    return destination_finish(&to, err);
}

/* --- one repository --- */

static ErrCode find_one(WalStore *store, const char *file, WalFound *ret, bool *ret_found, Err *err)
{
    WalFoundList list = {0};
    ErrCode rc = wal_find(store, file, &list, err);
    *ret_found = rc == ERR_OK && list.n == 1;
    if (*ret_found)
        *ret = list.at[0];
    if (rc == ERR_OK && list.n > 1) {
        rc = err_set(err, ERR_CONFLICT, "there are two different contents of %s in '%s': %s and %s",
                     file, repo_url(store->repo), list.at[0].digest, list.at[1].digest);
        err_hint(err, "'pgdr repo resolve %s' shows both and keeps the one you choose", file);
    }
    vec_release(&list);
    return rc;
}

static ErrCode wrong_size(const Question *q, uint64_t size, Err *err)
{
    return err_set(err, ERR_DAMAGED, "%s has %llu bytes", q->spec->file, (unsigned long long)size);
}

/* All of it: straight into the file, piece by piece. */
static ErrCode hand_over_whole(const Question *q, WalStore *store, const WalFound *found, Err *err)
{
    Destination to AUTO(destination_release) = {.fd = -1};
    uint64_t size;
    TRY(destination_open(q->spec->to, &to, err));
    TRY(wal_read_to_file(store, found, to.fd, to.path, q->spec->threads, &size, err));
    if (size != store->seg_size)
        return wrong_size(q, size, err);
    return destination_finish(&to, err);
}

/* Up to where recovery leaves the timeline; zeros behind. */
static ErrCode hand_over_cut(const Question *q, WalStore *store, const WalFound *found, Lsn until,
                             Err *err)
{
    Buf data AUTO(buf_release) = {0};
    TRY(wal_read(store, found, &data, NULL, NULL, err));
    if (data.len != store->seg_size)
        return wrong_size(q, data.len, err);
    size_t keep = (size_t)(until - q->start);
    log_info("%s is served up to " LSN_FMT ", where recovery leaves timeline %u", q->spec->file,
             LSN_ARG(until), q->name.tli);
    memset(data.data + keep, 0, data.len - keep);
    return hand_over(q, &data, err);
}

/* A finished segment; what the path does not go through is zeros. */
static ErrCode get_finished(const Question *q, WalStore *store, const TimelineStep *step,
                            bool *ret_found, Err *err)
{
    WalFound found;
    TRY(find_one(store, q->spec->file, &found, ret_found, err));
    TRY(wal_check_frozen(store, q->name.tli, q->name.segno, err));
    if (!*ret_found)
        return ERR_OK;
    if (step->until && step->until < q->start + store->seg_size)
        return hand_over_cut(q, store, &found, step->until, err);
    return hand_over_whole(q, store, &found, err);
}

/* --- absence --- */

static ErrCode stop_at_first(void *arg, const RepoEntry *e, Err *err)
{
    (void)arg;
    return err_set(err, ERR_EXISTS, "%s", e->name);
}

/* Anything of the timeline behind this segment: its name is then in `ret`, else that is empty. */
static ErrCode find_later(const Question *q, WalStore *store, char ret[WAL_NAME_MAX], Err *err)
{
    char tli8[9];
    Err found = {0};
    StrList tails AUTO(str_list_release) = {0};
    snprintf(tli8, sizeof(tli8), "%.8s", q->spec->file);
    char *prefix AUTO(mem_freep) = mem_printf("wal/%s/%s/", store->system, tli8);
    char *after AUTO(mem_freep) =
        mem_printf("%s%.16s/%.24s~", prefix, q->spec->file, q->spec->file);
    RepoList list = {.prefix = prefix, .after = after, .fn = stop_at_first};
    ret[0] = '\0';
    ErrCode rc = repo_list(store->repo, &list, &found);
    if (rc != ERR_OK && rc != ERR_EXISTS) {
        *err = found;
        return rc;
    }
    if (rc == ERR_EXISTS) {
        snprintf(ret, WAL_NAME_MAX, "%.24s", strrchr(found.message, '/') + 1);
        return ERR_OK;
    }
    TRY(tail_list_segments(store, tli8, &tails, err));
    for (size_t i = 0; i < tails.n && !ret[0]; i++)
        if (strcmp(tails.at[i], q->spec->file) > 0)
            snprintf(ret, WAL_NAME_MAX, "%.24s", tails.at[i]);
    return ERR_OK;
}

/* The WAL may end in this segment, or before it, only when there is nothing later; else it has a
 * hole. `step`: the segment's timeline on the path; recovery must go on to its child. */
static ErrCode check_no_later(const Question *q, Source *s, const TimelineStep *step, Err *err)
{
    char later[WAL_NAME_MAX];
    TRY(find_later(q, &s->store, later, err));
    if (!later[0] && step->until)
        wal_name_history((step + 1)->tli, later);
    if (!later[0])
        return ERR_OK;
    err_set(err, ERR_WAL_MISSING, "%s is not in '%s', but later WAL is (%s): there is a hole",
            q->spec->file, repo_url(s->repo), later);
    return err_hint(err,
                    "archive the segment if any server still has it; to end recovery before "
                    "it, restore with a target: 'pgdr restore --dry-run' says how far it goes");
}

/* --- all repositories --- */

static void source_failed(Source *s, ErrCode rc, const Err *err)
{
    s->rc = rc;
    s->err = *err;
}

static void sources_init(Question *q)
{
    q->n = q->spec->repos->n;
    q->sources = mem_new(q->n * sizeof(*q->sources));
    for (unsigned i = 0; i < q->n; i++)
        q->sources[i] = (Source){.rc = ERR_OK};
}

/* Opens it when it is asked for the first time: a repository that does not answer must not keep
 * those up that another one has an answer for. False: it has failed. */
static bool source_ready(Question *q, unsigned i)
{
    const RepoSource *repos = q->spec->repos;
    Source *s = &q->sources[i];
    Err err = {0};
    if (s->asked)
        return s->rc == ERR_OK;
    s->asked = true;
    ErrCode rc = repos->open(repos->arg, i, &s->repo, &err);
    if (rc != ERR_OK)
        source_failed(s, rc, &err);
    else
        wal_store_init(&s->store, s->repo, q->control.system_id, q->control.wal_segment_size);
    return rc == ERR_OK;
}

/* What two servers wrote differently is not settled by a repository that saw only one of them. */
static bool any_conflict(const Question *q)
{
    for (unsigned i = 0; i < q->n; i++)
        if (q->sources[i].rc == ERR_CONFLICT)
            return true;
    return false;
}

static void sources_close(Question *q)
{
    for (unsigned i = 0; i < q->n; i++)
        repo_close(q->sources[i].repo);
    free(q->sources);
}

/* Nobody answers for it: it is away, not wrong about something. */
static bool is_away(ErrCode rc)
{
    return rc == ERR_NOT_FOUND || rc == ERR_IO || rc == ERR_NETWORK || rc == ERR_TIMEOUT ||
           rc == ERR_ACCESS || rc == ERR_AUTH || rc == ERR_CONFIG;
}

/* One that is lost for good would be a doubt for ever. */
static void hint_lost(const Question *q, unsigned i, Err *err)
{
    const char *name = q->spec->repos->name(q->spec->repos->arg, i);
    if (q->n < 2 || !is_away(err->code) || !q->spec->recovering)
        return;
    err_hint_more(err,
                  "if repository '%s' is lost for good, take [repo %s] out of the configuration: "
                  "what the others hold counts then; a server that has stopped goes on when it is "
                  "started again",
                  name, name);
}

/* What is wrong with any of them: the first is returned, the others are logged. */
static ErrCode sources_check(const Question *q, Err *err)
{
    const unsigned none = q->n;
    unsigned first = none;
    for (unsigned i = 0; i < q->n; i++) {
        const Source *s = &q->sources[i];
        if (s->rc != ERR_OK && first != none)
            log_err(LOG_ERROR, &s->err);
        else if (s->rc != ERR_OK)
            first = i;
    }
    if (first == none)
        return ERR_OK;
    *err = q->sources[first].err;
    hint_lost(q, first, err);
    return err->code;
}

static void sources_warn(const Question *q)
{
    for (unsigned i = 0; i < q->n; i++)
        if (q->sources[i].rc != ERR_OK)
            log_err(LOG_WARN, &q->sources[i].err);
}

static ErrCode holds_any(WalStore *store, const char *prefix, bool *ret, Err *err)
{
    Err found = {0};
    RepoList list = {.prefix = prefix, .fn = stop_at_first};
    ErrCode rc = repo_list(store->repo, &list, &found);
    *ret = rc == ERR_EXISTS;
    if (rc == ERR_OK || rc == ERR_EXISTS)
        return ERR_OK;
    *err = found;
    return rc;
}

/*
 * A repository that holds nothing at all of the asking system says nothing about what exists: its
 * folder was moved away, or the wrong repository or cluster is asked. That all of them do is no
 * absence.
 */
static ErrCode check_known_system(const Question *q, Err *err)
{
    for (unsigned i = 0; i < q->n; i++) {
        WalStore *store = &q->sources[i].store;
        char *wal AUTO(mem_freep) = mem_printf("wal/%s/", store->system);
        char *tail AUTO(mem_freep) = mem_printf("tail/%s/", store->system);
        bool any;
        TRY(holds_any(store, wal, &any, err));
        if (!any)
            TRY(holds_any(store, tail, &any, err));
        if (any)
            return ERR_OK;
    }
    const Repo *repo = q->sources[0].repo;
    err_set(err, ERR_WAL_MISSING, "there is no WAL at all of system %llu of cluster '%s' in '%s'",
            (unsigned long long)q->control.system_id, repo->cluster, repo_url(repo));
    return err_hint(err,
                    "if this server belongs to another repository or cluster, change "
                    "restore_command; if nothing was archived yet, wait for the first segment");
}

/* --- a segment --- */

/* The first that has it finished, and whole, hands it over; not when there is a conflict. */
static bool finished_anywhere(Question *q, const TimelineStep *step)
{
    bool found = false;
    for (unsigned i = 0; i < q->n && !found && !any_conflict(q); i++) {
        Source *s = &q->sources[i];
        Err err = {0};
        if (!source_ready(q, i))
            continue;
        ErrCode rc = get_finished(q, &s->store, step, &found, &err);
        if (rc != ERR_OK) {
            source_failed(s, rc, &err);
            found = false;
        }
    }
    return found;
}

/* The longest piece that any has. */
static ErrCode longest_piece(Question *q, const LastPieceSpec *spec, LastPiece *piece,
                             bool *ret_vanished, Err *err)
{
    *ret_vanished = false;
    for (unsigned i = 0; i < q->n && !*ret_vanished; i++)
        TRY(last_piece_find(&q->sources[i].store, spec, piece, ret_vanished, err));
    return ERR_OK;
}

static ErrCode all_have_no_later(Question *q, const TimelineStep *step, Err *err)
{
    for (unsigned i = 0; i < q->n; i++)
        TRY(check_no_later(q, &q->sources[i], step, err));
    return ERR_OK;
}

/* Nobody has it finished, everybody has answered: is this where the WAL ends? */
static ErrCode get_last(Question *q, const TimelineStep *step, WalGetAnswer *ret,
                        bool *ret_vanished, Err *err)
{
    LastPiece piece AUTO(last_piece_release) = {.ends = 0};
    LastPieceSpec spec = {.segment = q->spec->file, .start = q->start, .until = step->until};
    bool better = false;
    TRY(longest_piece(q, &spec, &piece, ret_vanished, err));
    if (*ret_vanished)
        return ERR_OK;
    /* A piece that reaches the fork holds all that the path needs of this timeline. */
    if (!last_piece_reaches_fork(&spec, &piece))
        TRY(all_have_no_later(q, step, err));
    if (piece.ends == q->start)
        TRY(check_known_system(q, err));
    else
        TRY(last_piece_beats_local(&spec, &piece, q->spec->data_dir, &q->control, &better, err));
    if (!better)
        return ERR_OK;
    log_info("%s is not finished; served up to " LSN_FMT, q->spec->file, LSN_ARG(piece.ends));
    *ret = WAL_GET_FOUND;
    return hand_over(q, &piece.data, err);
}

/*
 * Finished segments are looked for first and, when there are none, last: a tail vanishes when its
 * segment is finished, so between the two looks it cannot have been in neither place.
 */
static ErrCode ask_segment(Question *q, const TimelinePath *path, WalGetAnswer *ret, Err *err)
{
    const TimelineStep *step = timeline_step(path, q->name.tli);
    if (!step || (step->until && step->until <= q->start)) {
        log_info("%s is not on the way: recovery %s timeline %u", q->spec->file,
                 step ? "has left" : "does not go over", q->name.tli);
        return ERR_OK;
    }
    for (int i = 0; i < TRIES_MAX; i++) {
        bool vanished;
        if (finished_anywhere(q, step)) {
            sources_warn(q);
            *ret = WAL_GET_FOUND;
            return ERR_OK;
        }
        TRY(sources_check(q, err));
        TRY(get_last(q, step, ret, &vanished, err));
        if (*ret == WAL_GET_FOUND)
            return ERR_OK;
        if (vanished)
            continue;
        if (finished_anywhere(q, step))
            *ret = WAL_GET_FOUND;
        else
            TRY(sources_check(q, err));
        return ERR_OK;
    }
    return err_set(err, ERR_BUSY, "%s is being finished", q->spec->file);
}

/* --- the timelines that recovery walks --- */

/* What any of the repositories knows. One that does not answer is no reason to know nothing. */
static ErrCode lineage_of_all(Question *q, Lineage *ret, Err *err)
{
    for (unsigned i = 0; i < q->n; i++) {
        Source *s = &q->sources[i];
        Lineage one AUTO(lineage_release) = {.steps = {0}};
        Err why = {0};
        if (!source_ready(q, i))
            continue;
        ErrCode rc = lineage_read(&s->store, &one, &why);
        if (rc != ERR_OK)
            source_failed(s, rc, &why);
        else
            TRY(lineage_merge(ret, &one, err));
    }
    return ERR_OK;
}

/* How far the asking server has come at least: a server that asks for a segment of its timeline has
 * all that lies before. */
static Lsn position_reached(const Question *q)
{
    const PgControl *c = &q->control;
    Lsn at = MAX(c->checkpoint, c->min_recovery_point);
    bool own = q->name.tli == MAX(c->checkpoint_tli, c->min_recovery_tli);
    return own ? MAX(at, q->start) : at;
}

static ErrCode path_of_server(Question *q, TimelinePath *ret, Err *err)
{
    Lineage lineage AUTO(lineage_release) = {.steps = {0}};
    TRY(lineage_of_all(q, &lineage, err));
    char *setting AUTO(mem_freep) = server_target_timeline(q->spec->data_dir);
    TRY(server_timeline_path(setting, &q->control, position_reached(q), &lineage, ret, err));
    /* A server that is told "latest" may ask for a timeline its control file does not know yet. */
    if (!timeline_step(ret, q->name.tli))
        return lineage_path(&lineage, q->name.tli, ret, err);
    return ERR_OK;
}

static ErrCode ask_for_segment(Question *q, WalGetAnswer *ret, Err *err)
{
    AUTO(timeline_path_release) TimelinePath own = {0};
    if (q->spec->path)
        return ask_segment(q, q->spec->path, ret, err);
    if (q->spec->recovering)
        TRY(path_of_server(q, &own, err));
    else
        timeline_path_single(q->name.tli, &own);
    return ask_segment(q, &own, ret, err);
}

/* --- .history, .backup, .partial --- */

static char *spool_directory(const Question *q)
{
    return q->spec->spool ? history_spool_directory(q->spec->spool, q->control.system_id) : NULL;
}

static void remember_histories(const Question *q, WalStore *store)
{
    Err why = {0};
    char *dir AUTO(mem_freep) = spool_directory(q);
    if (dir && q->name.kind == WAL_NAME_HISTORY && history_spool_fill(dir, store, &why) != ERR_OK)
        log_err(LOG_DEBUG, &why);
}

/* After a doubt, `err`: whether the spool could answer in the repository's place. */
static bool recall_history(const Question *q, const Err *err)
{
    Buf text AUTO(buf_release) = {0};
    Err why = {0};
    char *dir AUTO(mem_freep) = spool_directory(q);
    if (!dir || q->name.kind != WAL_NAME_HISTORY || one_shot(q->spec->data_dir))
        return false;
    if (history_spool_read(dir, q->spec->file, &text, &why) != ERR_OK ||
        hand_over(q, &text, &why) != ERR_OK)
        return false;
    log_warn("%s is served as it was last seen: %s", q->spec->file, err->message);
    return true;
}

static ErrCode get_other(const Question *q, WalStore *store, bool *ret_found, Err *err)
{
    WalFound found;
    Buf data AUTO(buf_release) = {0};
    TRY(find_one(store, q->spec->file, &found, ret_found, err));
    if (!*ret_found)
        TRY(find_one(store, q->spec->file, &found, ret_found, err));
    if (!*ret_found)
        return ERR_OK;
    TRY(wal_read(store, &found, &data, NULL, NULL, err));
    return hand_over(q, &data, err);
}

/* PostgreSQL looks for timelines one by one and takes the first that is missing for the end. */
static ErrCode check_no_later_timeline(const Question *q, Source *s, Err *err)
{
    uint32_t own = MAX(q->control.checkpoint_tli, q->control.min_recovery_tli);
    StrList timelines AUTO(str_list_release) = {0};
    WalFoundList histories = {0};
    char tli8[9], later[WAL_NAME_MAX] = "";
    if (q->name.tli <= own)
        return ERR_OK;
    snprintf(tli8, sizeof(tli8), "%.8s", q->spec->file);
    TRY(wal_list_timelines(&s->store, &timelines, err));
    for (size_t i = 0; i < timelines.n && !later[0]; i++)
        if (strcmp(timelines.at[i], tli8) >= 0)
            snprintf(later, sizeof(later), "%.8s", timelines.at[i]);
    ErrCode rc = wal_list_histories(&s->store, &histories, err);
    for (size_t i = 0; i < histories.n && !later[0]; i++)
        if (strcmp(histories.at[i].file, tli8) > 0)
            snprintf(later, sizeof(later), "%.8s", histories.at[i].file);
    vec_release(&histories);
    if (rc != ERR_OK || !later[0])
        return rc;
    err_set(err, ERR_WAL_MISSING, "%s is not in '%s', but timeline %lu is", q->spec->file,
            repo_url(s->repo), strtoul(later, NULL, 16));
    return err_hint(err, "'pgdr archive-push' of pg_wal/%s on a server that has it", q->spec->file);
}

static ErrCode check_absent_history(const Question *q, Err *err)
{
    for (unsigned i = 0; i < q->n; i++)
        TRY(check_no_later_timeline(q, &q->sources[i], err));
    return check_known_system(q, err);
}

static ErrCode ask_for_other(Question *q, WalGetAnswer *ret, Err *err)
{
    bool found = false;
    for (unsigned i = 0; i < q->n && !found && !any_conflict(q); i++) {
        Source *s = &q->sources[i];
        Err why = {0};
        if (!source_ready(q, i))
            continue;
        remember_histories(q, &s->store);
        ErrCode rc = get_other(q, &s->store, &found, &why);
        if (rc != ERR_OK) {
            source_failed(s, rc, &why);
            found = false;
        }
    }
    if (found) {
        sources_warn(q);
        *ret = WAL_GET_FOUND;
        return ERR_OK;
    }
    TRY(sources_check(q, err));
    return q->name.kind == WAL_NAME_HISTORY ? check_absent_history(q, err) : ERR_OK;
}

/* --- the answer --- */

/* See target_end in the header. A server whose target was taken away goes on to the end of the WAL,
 * and must know of every doubt. */
static bool is_behind_target(const Question *q)
{
    return q->spec->target_end && q->name.kind == WAL_NAME_SEGMENT &&
           q->start >= q->spec->target_end && !wal_get_standby_mode(q->spec->data_dir) &&
           server_has_target(q->spec->data_dir);
}

static ErrCode question_name(Question *q, Err *err)
{
    q->name = wal_name_parse(q->spec->file, q->control.wal_segment_size);
    q->start = wal_segment_start(q->name.segno, q->control.wal_segment_size);
    if (q->name.kind == WAL_NAME_OTHER)
        return err_set(err, ERR_USAGE, "'%s' is not the name of a WAL file", q->spec->file);
    return ERR_OK;
}

ErrCode wal_get(const WalGetSpec *spec, WalGetAnswer *ret, Err *err)
{
    Question q = {.spec = spec};
    *ret = WAL_GET_ABSENT;
    TRY(control_read(spec->data_dir, &q.control, NULL, err));
    TRY(question_name(&q, err));
    /* The first timeline has no history; PostgreSQL asks for it when it leaves that timeline. */
    if (q.name.kind == WAL_NAME_HISTORY && q.name.tli <= 1)
        return ERR_OK;
    sources_init(&q);
    ErrCode rc = q.name.kind == WAL_NAME_SEGMENT ? ask_for_segment(&q, ret, err)
                                                 : ask_for_other(&q, ret, err);
    if (rc != ERR_OK && recall_history(&q, err)) {
        *ret = WAL_GET_FOUND;
        rc = ERR_OK;
    }
    if (rc != ERR_OK && is_behind_target(&q)) {
        log_err(LOG_WARN, err);
        log_warn("%s lies behind the target of this recovery, which goes on without it",
                 spec->file);
        *ret = WAL_GET_ABSENT;
        rc = ERR_OK;
    }
    sources_close(&q);
    return rc;
}

/* --- finished segments, ahead --- */

struct WalGetter {
    WalGetSpec spec;
    Question q;
    TimelinePath own; /* when spec.path is NULL */
};

const TimelinePath *wal_getter_path(const WalGetter *g)
{
    return g->spec.path ? g->spec.path : &g->own;
}

ErrCode wal_getter_new(const WalGetSpec *spec, WalGetter **ret, Err *err)
{
    WalGetter *g AUTO(wal_getter_freep) = mem_zero(sizeof(*g));
    g->spec = *spec;
    g->q.spec = &g->spec;
    sources_init(&g->q);
    TRY(control_read(spec->data_dir, &g->q.control, NULL, err));
    TRY(question_name(&g->q, err));
    if (!spec->path)
        TRY(path_of_server(&g->q, &g->own, err));
    *ret = steal_ptr(&g);
    return ERR_OK;
}

void wal_getter_free(WalGetter *g)
{
    if (!g)
        return;
    sources_close(&g->q);
    vec_release(&g->own);
    free(g);
}

ErrCode wal_getter_get(WalGetter *g, const char *file, const char *to, bool *ret_found, Err *err)
{
    g->spec.file = file;
    g->spec.to = to;
    TRY(question_name(&g->q, err));
    const TimelineStep *step = timeline_step(wal_getter_path(g), g->q.name.tli);
    *ret_found = g->q.name.kind == WAL_NAME_SEGMENT && step &&
                 (!step->until || step->until > g->q.start) && finished_anywhere(&g->q, step);
    return *ret_found ? ERR_OK : sources_check(&g->q, err);
}
