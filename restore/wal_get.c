#include "restore/wal_get.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "catalog/wal_publish.h"
#include "lib/common/file.h"
#include "lib/common/log.h"
#include "lib/repo/wal_tail.h"
#include "restore/server_timeline.h"

/* A question: what is asked for, by whom. */
typedef struct Question {
    const WalGetSpec *spec;
    PgControl control;
    WalName name;
    Lsn start; /* of the segment */
    char *to;  /* absolute or relative to the working directory */
} Question;

bool wal_get_standby_mode(const char *data_dir)
{
    char *path AUTO(mem_freep) = path_join(data_dir, "standby.signal");
    return access(path, F_OK) == 0;
}

/* --- handing over --- */

static ErrCode write_file(const char *path, const void *data, size_t len, Err *err)
{
    int fd AUTO(fd_closep) = -1;
    TRY(file_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600, &fd, err));
    TRY(file_write(fd, data, len, path, err));
    return file_close(&fd, path, err); /* the server makes it durable when it keeps it */
}

static ErrCode hand_over(const Question *q, const Buf *data, Err *err)
{
    ErrCode rc = write_file(q->to, data->data, data->len, err);
    if (rc != ERR_OK)
        unlink(q->to);
    return rc;
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
    int fd AUTO(fd_closep) = -1;
    uint64_t size;
    TRY(file_open(q->to, O_WRONLY | O_CREAT | O_TRUNC, 0600, &fd, err));
    ErrCode rc = wal_read_to_file(store, found, fd, q->to, q->spec->threads, &size, err);
    if (rc == ERR_OK && size != store->seg_size)
        rc = wrong_size(q, size, err);
    if (rc == ERR_OK)
        rc = file_close(&fd, q->to, err);
    if (rc != ERR_OK)
        unlink(q->to);
    return rc;
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
    if (!*ret_found)
        return ERR_OK;
    TRY(wal_check_frozen(store, q->name.tli, q->name.segno, err));
    if (step->until && step->until < q->start + store->seg_size)
        return hand_over_cut(q, store, &found, step->until, err);
    return hand_over_whole(q, store, &found, err);
}

/* --- the last piece: a .partial, or a tail --- */

typedef struct LastPiece {
    Buf data; /* from the segment's start; zeros behind `ends` */
    Lsn ends; /* valid WAL ends here */
} LastPiece;

static void last_piece_release(LastPiece *p)
{
    buf_release(&p->data);
}

/* Cuts or fills up to a whole segment, and finds where its WAL ends. */
static ErrCode piece_judge(const Question *q, LastPiece *p, uint32_t seg_size, Lsn until, Err *err)
{
    WalSegmentCheck check;
    size_t have = p->data.len;
    if (until && until < q->start + have)
        have = (size_t)(until - q->start);
    buf_reserve(&p->data, seg_size);
    memset(p->data.data + have, 0, seg_size - have);
    p->data.len = seg_size;
    p->ends = q->start;
    if (have < WAL_PAGE_LONG_HEADER)
        return ERR_OK;
    TRY(wal_segment_check(p->data.data, p->data.len, q->start, NULL, NULL, &check, err));
    p->ends = check.ends;
    return ERR_OK;
}

static ErrCode piece_better(LastPiece *best, LastPiece *other, Lsn start, const char *file,
                            Err *err)
{
    size_t common = (size_t)(MIN(best->ends, other->ends) - start);
    if (common && memcmp(best->data.data, other->data.data, common) != 0)
        return err_set(err, ERR_CONFLICT, "the archived pieces of %s hold different WAL", file);
    if (other->ends > best->ends) {
        LastPiece swap = *best;
        *best = *other;
        *other = swap;
    }
    return ERR_OK;
}

static ErrCode find_last(const Question *q, WalStore *store, Lsn until, LastPiece *best,
                         bool *ret_vanished, Err *err)
{
    char partial[WAL_NAME_MAX];
    WalFound found;
    bool there;
    LastPiece piece AUTO(last_piece_release) = {.ends = 0};
    Lsn tail_end;
    snprintf(partial, sizeof(partial), "%.24s.partial", q->spec->file);
    best->ends = q->start;
    TRY(find_one(store, partial, &found, &there, err));
    if (there) {
        TRY(wal_read(store, &found, &best->data, NULL, NULL, err));
        TRY(piece_judge(q, best, store->seg_size, until, err));
    }
    TRY(tail_read(store, q->spec->file, q->start, &piece.data, &tail_end, ret_vanished, err));
    if (*ret_vanished || !piece.data.len)
        return ERR_OK;
    TRY(piece_judge(q, &piece, store->seg_size, until, err));
    return piece_better(best, &piece, q->start, q->spec->file, err);
}

/*
 * The server may hold a longer copy of the segment in pg_wal; what is handed over would replace it.
 * So a piece is served only when it ends later and agrees with what the server has.
 */
static ErrCode piece_beats_local(const Question *q, const LastPiece *p, bool *ret, Err *err)
{
    Buf local AUTO(buf_release) = {0};
    WalSegmentCheck check;
    Err why = {0};
    char *dir AUTO(mem_freep) = path_join(q->spec->data_dir, "pg_wal");
    char *path AUTO(mem_freep) = path_join(dir, q->spec->file);
    *ret = p->ends > q->start;
    ErrCode rc = file_read_all(path, GIB, &local, &why);
    if (rc == ERR_NOT_FOUND || !*ret)
        return ERR_OK;
    if (rc != ERR_OK) {
        *err = why;
        return rc;
    }
    if (local.len != q->control.wal_segment_size ||
        wal_segment_check(local.data, local.len, q->start, NULL, NULL, &check, &why) != ERR_OK ||
        check.header.page_addr != q->start || check.header.system_id != q->control.system_id)
        return ERR_OK; /* a recycled file: no copy of this segment */
    if (check.ends >= p->ends) {
        *ret = false;
        log_info("the server's own %s reaches " LSN_FMT ", the archived piece " LSN_FMT
                 ": its own is left in place",
                 q->spec->file, LSN_ARG(check.ends), LSN_ARG(p->ends));
        return ERR_OK;
    }
    if (memcmp(local.data, p->data.data, (size_t)(check.ends - q->start)) != 0)
        return err_set(err, ERR_CONFLICT,
                       "the server's own %s and the archived piece hold "
                       "different WAL: neither is overwritten",
                       q->spec->file);
    return ERR_OK;
}

/* --- absence --- */

static ErrCode stop_at_first(void *arg, const RepoEntry *e, Err *err)
{
    (void)arg;
    return err_set(err, ERR_EXISTS, "%s", e->name);
}

/* Anything of the timeline behind this segment, or a younger timeline that the path goes on to. */
static ErrCode check_no_later(const Question *q, WalStore *store, const TimelinePath *path,
                              Err *err)
{
    char tli8[9];
    Err found = {0};
    const char *later = NULL;
    snprintf(tli8, sizeof(tli8), "%.8s", q->spec->file);
    char *prefix AUTO(mem_freep) = mem_printf("wal/%s/%s/", store->system, tli8);
    char *after AUTO(mem_freep) =
        mem_printf("%s%.16s/%.24s~", prefix, q->spec->file, q->spec->file);
    RepoList list = {.prefix = prefix, .after = after, .fn = stop_at_first};
    ErrCode rc = repo_list(store->repo, &list, &found);
    if (rc != ERR_OK && rc != ERR_EXISTS) {
        *err = found;
        return rc;
    }
    if (rc == ERR_EXISTS)
        later = strrchr(found.message, '/') + 1;
    StrList tails AUTO(str_list_release) = {0};
    if (!later)
        TRY(tail_list_segments(store, tli8, &tails, err));
    for (size_t i = 0; i < tails.n && !later; i++)
        if (strcmp(tails.at[i], q->spec->file) > 0)
            later = tails.at[i];
    const TimelineStep *step = timeline_step(path, q->name.tli);
    char next[WAL_NAME_MAX];
    if (!later && step && step->until)
        later = wal_name_history((step + 1)->tli, next);
    if (!later)
        return ERR_OK;
    err_set(err, ERR_WAL_MISSING, "%s is not in '%s', but later WAL is (%.40s): there is a hole",
            q->spec->file, repo_url(store->repo), later);
    return err_hint(err,
                    "archive the segment if any server still has it; to end recovery before "
                    "it, restore with a target: 'pgdr restore --dry-run' says how far it goes");
}

/* --- the answer of one repository --- */

static ErrCode ask_segment(const Question *q, WalStore *store, const TimelinePath *path,
                           WalGetAnswer *ret, Err *err)
{
    const TimelineStep *step = timeline_step(path, q->name.tli);
    bool found = false, vanished = true, better;
    *ret = WAL_GET_ABSENT;
    if (!step || (step->until && step->until <= q->start)) {
        log_info("%s is not on the way: recovery %s timeline %u", q->spec->file,
                 step ? "has left" : "does not go over", q->name.tli);
        return ERR_OK;
    }
    for (int i = 0; vanished; i++) {
        LastPiece piece AUTO(last_piece_release) = {.ends = 0};
        TRY(get_finished(q, store, step, &found, err));
        if (!found)
            TRY(find_last(q, store, step->until, &piece, &vanished, err));
        if (found || (!vanished && piece.ends == q->start))
            break;
        if (vanished && i == 3)
            return err_set(err, ERR_BUSY, "%s is being finished", q->spec->file);
        if (vanished)
            continue;
        TRY(check_no_later(q, store, path, err));
        TRY(piece_beats_local(q, &piece, &better, err));
        if (better) {
            log_info("%s is not finished; served up to " LSN_FMT, q->spec->file,
                     LSN_ARG(piece.ends));
            *ret = WAL_GET_FOUND;
            return hand_over(q, &piece.data, err);
        }
        return ERR_OK;
    }
    /* Absent only when it is still not there after everything else was looked at. */
    if (!found)
        TRY(get_finished(q, store, step, &found, err));
    if (!found)
        TRY(check_no_later(q, store, path, err));
    *ret = found ? WAL_GET_FOUND : WAL_GET_ABSENT;
    return ERR_OK;
}

/* --- histories remembered --- */

static char *history_directory(const Question *q)
{
    return mem_printf("%s/history-%llu", q->spec->spool, (unsigned long long)q->control.system_id);
}

/* Keeps every history file of the repository. Best effort: a spool may be lost at any time. */
static ErrCode remember_histories(const Question *q, WalStore *store, Err *err)
{
    WalFoundList list = {0};
    char *dir AUTO(mem_freep) = history_directory(q);
    ErrCode rc = dir_make(dir, 0700, err);
    if (rc == ERR_OK)
        rc = wal_list_histories(store, &list, err);
    for (size_t i = 0; i < list.n && rc == ERR_OK; i++) {
        Buf text AUTO(buf_release) = {0};
        char *path AUTO(mem_freep) = path_join(dir, list.at[i].file);
        if (access(path, F_OK) == 0)
            continue;
        rc = wal_read(store, &list.at[i], &text, NULL, NULL, err);
        if (rc == ERR_OK)
            rc = file_replace(path, text.data, text.len, 0600, err);
    }
    vec_release(&list);
    return rc;
}

static bool recall_history(const Question *q, Err *err)
{
    Buf text AUTO(buf_release) = {0};
    Err why = {0};
    char *dir AUTO(mem_freep) = q->spec->spool ? history_directory(q) : NULL;
    if (!dir || q->name.kind != WAL_NAME_HISTORY || !wal_get_standby_mode(q->spec->data_dir))
        return false;
    char *path AUTO(mem_freep) = path_join(dir, q->spec->file);
    if (file_read_all(path, MIB, &text, &why) != ERR_OK || hand_over(q, &text, &why) != ERR_OK)
        return false;
    log_warn("%s is served as it was last seen, since the repository does not answer: %s",
             q->spec->file, err->message);
    return true;
}

static ErrCode ask_other(const Question *q, WalStore *store, WalGetAnswer *ret, Err *err)
{
    WalFound found;
    bool there;
    Buf data AUTO(buf_release) = {0};
    Err why = {0};
    *ret = WAL_GET_ABSENT;
    if (q->name.kind == WAL_NAME_HISTORY && q->spec->spool &&
        remember_histories(q, store, &why) != ERR_OK)
        log_err(LOG_DEBUG, &why);
    TRY(find_one(store, q->spec->file, &found, &there, err));
    if (!there)
        TRY(find_one(store, q->spec->file, &found, &there, err));
    if (!there)
        return ERR_OK;
    TRY(wal_read(store, &found, &data, NULL, NULL, err));
    *ret = WAL_GET_FOUND;
    return hand_over(q, &data, err);
}

static ErrCode ask_repository(const Question *q, unsigned i, WalGetAnswer *ret, Err *err)
{
    Repo *repo AUTO(repo_closep) = NULL;
    WalStore store;
    const RepoSource *source = q->spec->repos;
    TRY(source->open(source->arg, i, &repo, err));
    wal_store_init(&store, repo, q->control.system_id, q->control.wal_segment_size);
    if (q->name.kind != WAL_NAME_SEGMENT)
        return ask_other(q, &store, ret, err);
    if (q->spec->path)
        return ask_segment(q, &store, q->spec->path, ret, err);
    Lineage lineage AUTO(lineage_release) = {.steps = {0}};
    TimelinePath path = {0};
    char *setting AUTO(mem_freep) = server_target_timeline(q->spec->data_dir);
    ErrCode rc = lineage_read(&store, &lineage, err);
    if (rc == ERR_OK)
        rc = server_timeline_path(setting, &q->control, &lineage, &path, err);
    /* A server that is told "latest" may ask for a timeline its control file does not know yet. */
    if (rc == ERR_OK && !timeline_step(&path, q->name.tli))
        rc = lineage_path(&lineage, q->name.tli, &path, err);
    if (rc == ERR_OK)
        rc = ask_segment(q, &store, &path, ret, err);
    vec_release(&path);
    return rc;
}

/* The first repository that has it answers; "absent" takes all of them. */
static ErrCode ask_all(const Question *q, WalGetAnswer *ret, Err *err)
{
    ErrCode rc = ERR_OK;
    for (unsigned i = 0; i < q->spec->repos->n; i++) {
        Err one = {0};
        ErrCode got = ask_repository(q, i, ret, &one);
        if (got == ERR_OK && *ret == WAL_GET_FOUND) {
            if (rc != ERR_OK)
                log_err(LOG_WARN, err);
            return ERR_OK;
        }
        if (got == ERR_OK)
            continue;
        if (rc != ERR_OK)
            log_err(LOG_ERROR, err);
        rc = got;
        *err = one;
    }
    *ret = WAL_GET_ABSENT;
    return rc;
}

/* See target_end in the header. A server whose target was taken away goes on to the end of the WAL,
 * and must know of every doubt. */
static bool is_behind_target(const Question *q)
{
    return q->spec->target_end && q->name.kind == WAL_NAME_SEGMENT &&
           q->start >= q->spec->target_end && !wal_get_standby_mode(q->spec->data_dir) &&
           server_has_target(q->spec->data_dir);
}

ErrCode wal_get(const WalGetSpec *spec, WalGetAnswer *ret, Err *err)
{
    Question q = {.spec = spec};
    TRY(control_read(spec->data_dir, &q.control, NULL, err));
    q.name = wal_name_parse(spec->file, q.control.wal_segment_size);
    q.start = wal_segment_start(q.name.segno, q.control.wal_segment_size);
    if (q.name.kind == WAL_NAME_OTHER)
        return err_set(err, ERR_USAGE, "'%s' is not the name of a WAL file", spec->file);
    q.to = spec->to[0] == '/' ? mem_strdup(spec->to) : path_join(spec->data_dir, spec->to);
    ErrCode rc = ask_all(&q, ret, err);
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
    free(q.to);
    return rc;
}
