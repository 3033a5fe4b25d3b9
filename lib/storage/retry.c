/* Calls again what a retry can help, with growing random pauses. */

#include <stdio.h>
#include <string.h>

#include "lib/storage/attempts.h"
#include "lib/storage/source.h"

#define COMPARE_LEN MIB

typedef struct Retry {
    Storage base;
    Storage *inner;
    RetrySpec spec;
} Retry;

/* --- put --- */

/* Whether the object holds exactly what the source does. */
static ErrCode source_equals(Storage *s, const char *name, const StorageSource *src,
                             bool *ret_equal, Err *err)
{
    StorageStat stat;
    TRY(storage_stat(s, name, &stat, err));
    *ret_equal = false;
    if (stat.size != src->size)
        return ERR_OK;
    size_t len = (size_t)MIN(COMPARE_LEN, src->size);
    uint8_t *mine AUTO(mem_freep) = mem_new(len), *theirs AUTO(mem_freep) = mem_new(len);
    SourceReader reader = {.src = src};
    while (source_left(&reader)) {
        StorageRead read = {.off = reader.off, .data = theirs};
        read.len = (size_t)MIN(len, source_left(&reader));
        TRY(storage_get(s, name, &read, err));
        TRY(source_copy(&reader, mine, read.len, err));
        if (read.got != read.len || memcmp(mine, theirs, read.len) != 0)
            return ERR_OK;
    }
    *ret_equal = true;
    return ERR_OK;
}

/* ERR_EXISTS after a failed attempt: that attempt may have done its work. */
static ErrCode put_settle(Storage *s, const char *name, const StorageSource *src, Err *err)
{
    bool equal = false;
    Err compare = {0};
    ErrCode rc = source_equals(s, name, src, &equal, &compare);
    if (rc == ERR_OK && equal)
        return ERR_OK;
    if (rc != ERR_OK && rc != ERR_NOT_FOUND) {
        err_wrap(&compare, "cannot tell whether '%s' was stored before its answer was lost", name);
        *err = compare;
    }
    return err->code;
}

static ErrCode retry_put(Storage *s, const char *name, const StorageSource *src,
                         StoragePutFlags flags, Err *err)
{
    Retry *r = (Retry *)s;
    for (Attempts a = attempts_begin(&r->spec);;) {
        ErrCode rc = storage_put(r->inner, name, src, flags, err);
        if (rc == ERR_OK)
            return rc;
        if (rc == ERR_EXISTS && a.n > 1 && !(flags & STORAGE_OVERWRITE))
            return put_settle(s, name, src, err);
        TRY(attempts_next(&a, err));
    }
}

/* --- list --- */

/* What a listing has given so far. */
typedef struct Resume {
    const StorageList *list;
    char last[STORAGE_NAME_MAX + 2];
    bool further; /* names were given since the last failure */
    bool refused; /* the caller's function ended the listing */
} Resume;

static ErrCode resume_entry(void *arg, const StorageEntry *entry, Err *err)
{
    Resume *resume = arg;
    ErrCode rc = resume->list->fn(resume->list->arg, entry, err);
    resume->refused = rc != ERR_OK;
    resume->further = true;
    snprintf(resume->last, sizeof(resume->last), "%s", entry->name);
    return rc;
}

static ErrCode retry_list(Storage *s, const StorageList *list, Err *err)
{
    Retry *r = (Retry *)s;
    Resume resume = {.list = list};
    StorageList rest = *list;
    rest.fn = resume_entry;
    rest.arg = &resume;
    for (Attempts a = attempts_begin(&r->spec);;) {
        ErrCode rc = storage_list(r->inner, &rest, err);
        if (rc == ERR_OK || resume.refused)
            return rc;
        if (resume.further) {
            a = attempts_begin(&r->spec);
            rest.after = resume.last;
            resume.further = false;
        }
        TRY(attempts_next(&a, err));
    }
}

/* --- the others --- */

#define REPEAT(r, call)                                                                            \
    do {                                                                                           \
        for (Attempts a_ = attempts_begin(&r->spec);;) {                                           \
            if ((call) == ERR_OK)                                                                  \
                return ERR_OK;                                                                     \
            TRY(attempts_next(&a_, err));                                                          \
        }                                                                                          \
    } while (0)

static ErrCode retry_get(Storage *s, const char *name, StorageRead *read, Err *err)
{
    Retry *r = (Retry *)s;
    REPEAT(r, storage_get(r->inner, name, read, err));
}

static ErrCode retry_stat(Storage *s, const char *name, StorageStat *ret, Err *err)
{
    Retry *r = (Retry *)s;
    REPEAT(r, storage_stat(r->inner, name, ret, err));
}

static ErrCode retry_remove(Storage *s, const char *const *names, size_t n, Err *err)
{
    Retry *r = (Retry *)s;
    REPEAT(r, storage_remove(r->inner, names, n, err));
}

static ErrCode retry_now(Storage *s, TimeUs *ret, Err *err)
{
    Retry *r = (Retry *)s;
    REPEAT(r, storage_now(r->inner, ret, err));
}

static void retry_free(Storage *s)
{
    Retry *r = (Retry *)s;
    storage_free(r->inner);
    free(r);
}

static const StorageOps retry_ops = {
    .put = retry_put,
    .get = retry_get,
    .stat = retry_stat,
    .list = retry_list,
    .remove = retry_remove,
    .now = retry_now,
    .free = retry_free,
};

Storage *storage_retry_new(Storage *inner, const RetrySpec *spec)
{
    Retry *r = NEW(Retry);
    r->base = (Storage){.ops = &retry_ops, .url = mem_strdup(inner->url)};
    r->inner = inner;
    r->spec = *spec;
    return &r->base;
}
