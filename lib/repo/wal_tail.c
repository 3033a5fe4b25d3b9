#include "lib/repo/wal_tail.h"

#include <inttypes.h>
#include <string.h>

#include "lib/common/hex.h"

typedef struct TailObject {
    uint64_t start, end;
    char *session;
    char *name; /* relative to the cluster */
} TailObject;
typedef VEC(TailObject) TailObjects;

static void tail_objects_release(TailObjects *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->at[i].session);
        free(l->at[i].name);
    }
    vec_release(l);
}

static char *tail_directory(const WalStore *s, const char *segment)
{
    return mem_printf("tail/%s/%.8s/%s/", s->system, segment, segment);
}

ErrCode tail_put(WalStore *s, const char *segment, uint64_t start, uint64_t end,
                 const char *session, const void *data, Err *err)
{
    char *dir AUTO(mem_freep) = tail_directory(s, segment);
    char *name AUTO(mem_freep) =
        mem_printf("%s%016" PRIX64 "-%016" PRIX64 "-%s", dir, start, end, session);
    return document_put(s->repo, name, KIND_TAIL, data, (size_t)(end - start), STORAGE_CREATE, NULL,
                        err);
}

bool tail_name_parse(const char *name, uint64_t *ret_start, uint64_t *ret_end)
{
    const char *slash = strrchr(name, '/');
    const char *last = slash ? slash + 1 : name;
    if (strlen(last) < 35 || last[16] != '-' || last[33] != '-' || !hex_is_upper(last, 16) ||
        !hex_is_upper(last + 17, 16))
        return false;
    *ret_start = strtoull(last, NULL, 16);
    *ret_end = strtoull(last + 17, NULL, 16);
    return true;
}

static ErrCode tail_found(void *arg, const RepoEntry *e, Err *err)
{
    TailObjects *list = arg;
    TailObject t = {.start = 0};
    (void)err;
    if (!tail_name_parse(e->name, &t.start, &t.end))
        return ERR_OK;
    t.session = mem_strdup(strrchr(e->name, '/') + 35);
    t.name = mem_strdup(e->name);
    vec_push(list, t);
    return ERR_OK;
}

static ErrCode tail_list(WalStore *s, const char *segment, TailObjects *ret, Err *err)
{
    char *dir AUTO(mem_freep) = tail_directory(s, segment);
    RepoList list = {.prefix = dir, .fn = tail_found, .arg = ret};
    return repo_list(s->repo, &list, err);
}

/* The object that reaches furthest among those that begin at or before `at` and end behind it. */
static const TailObject *tail_next(const TailObjects *l, const char *session, uint64_t at)
{
    const TailObject *best = NULL;
    for (size_t i = 0; i < l->n; i++) {
        const TailObject *t = &l->at[i];
        if (strcmp(t->session, session) == 0 && t->start <= at && t->end > at &&
            (!best || t->end > best->end))
            best = t;
    }
    return best;
}

static ErrCode session_read(WalStore *s, const TailObjects *l, const char *session, uint64_t start,
                            Buf *data, bool *ret_vanished, Err *err)
{
    uint64_t at = start;
    for (const TailObject *t; (t = tail_next(l, session, at));) {
        Buf piece AUTO(buf_release) = {0};
        ErrCode rc =
            document_get(s->repo, t->name, KIND_TAIL, (size_t)s->seg_size, &piece, NULL, err);
        if (rc == ERR_NOT_FOUND) {
            *ret_vanished = true;
            return ERR_OK;
        }
        if (rc != ERR_OK)
            return rc;
        if (piece.len != t->end - t->start)
            return err_set(err, ERR_DAMAGED, "'%s/%s' holds %zu bytes", s->repo->cluster, t->name,
                           piece.len);
        buf_append(data, piece.data + (at - t->start), (size_t)(t->end - at));
        at = t->end;
    }
    return ERR_OK;
}

ErrCode tail_read(WalStore *s, const char *segment, uint64_t segment_start, Buf *data,
                  uint64_t *ret_end, bool *ret_vanished, Err *err)
{
    TailObjects list AUTO(tail_objects_release) = {0};
    Buf best AUTO(buf_release) = {0};
    *ret_vanished = false;
    TRY(tail_list(s, segment, &list, err));
    for (size_t i = 0; i < list.n; i++) {
        bool seen = false;
        for (size_t k = 0; k < i && !seen; k++)
            seen = strcmp(list.at[k].session, list.at[i].session) == 0;
        if (seen)
            continue;
        Buf bytes AUTO(buf_release) = {0};
        TRY(session_read(s, &list, list.at[i].session, segment_start, &bytes, ret_vanished, err));
        size_t common = MIN(best.len, bytes.len);
        if (common && memcmp(best.data, bytes.data, common) != 0)
            return err_set(err, ERR_CONFLICT, "two streams of segment %s hold different WAL",
                           segment);
        if (bytes.len > best.len) {
            Buf swap = best;
            best = bytes;
            bytes = swap;
        }
    }
    buf_append(data, best.data, best.len);
    *ret_end = segment_start + best.len;
    return ERR_OK;
}

ErrCode tail_list_segments(WalStore *s, const char *tli8, StrList *ret, Err *err)
{
    StrList names AUTO(str_list_release) = {0};
    char *prefix AUTO(mem_freep) = mem_printf("tail/%s/%s/", s->system, tli8);
    TRY(repo_list_names(s->repo, prefix, true, &names, err));
    for (size_t i = 0; i < names.n; i++) {
        const char *name = names.at[i] + strlen(prefix);
        if (strlen(name) == 25 && name[24] == '/' && hex_is_upper(name, 24))
            vec_push(ret, mem_strndup(name, 24));
    }
    return ERR_OK;
}

ErrCode tail_exists(WalStore *s, const char *segment, bool *ret, Err *err)
{
    TailObjects list AUTO(tail_objects_release) = {0};
    TRY(tail_list(s, segment, &list, err));
    *ret = list.n > 0;
    return ERR_OK;
}
