/*
 * Objects in memory: a sorted array of pointers to objects that never change and that clones
 * share. As posix does, it refuses a name that is also a directory of others; with
 * replace_silently it behaves as S3 does.
 */

#include "lib/storage/drivers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "lib/storage/source.h"

#define CLOCK_START (1767225600 * US_PER_SECOND) /* 2026-01-01 00:00:00 UTC */

typedef struct MemObject {
    atomic_uint refs;
    TimeUs mtime;
    uint64_t size, content_hash, hash; /* `hash` is of name and content */
    uint8_t *data;
    char name[];
} MemObject;

typedef struct Mem {
    Storage base;
    pthread_mutex_t lock; /* guards all below */
    bool replace_silently;
    TimeUs clock;
    VEC(MemObject *) objects; /* by name */
} Mem;

/* --- objects --- */

static void object_free(MemObject *o)
{
    if (!o || atomic_fetch_sub(&o->refs, 1) != 1)
        return;
    free(o->data);
    free(o);
}
DEFINE_FREEP(MemObject, object_free)

static ErrCode object_new(MemObject **ret, const char *name, const StorageSource *src, Err *err)
{
    size_t len = strlen(name) + 1;
    MemObject *o AUTO(object_freep) = mem_zero(sizeof(*o) + len);
    memcpy(o->name, name, len);
    atomic_init(&o->refs, 1);
    o->size = src->size;
    o->data = mem_try((size_t)src->size);
    if (!o->data)
        return err_set(err, ERR_NO_SPACE, "no memory for the %llu bytes of '%s'",
                       (unsigned long long)src->size, name);
    SourceReader reader = {.src = src};
    TRY(source_copy(&reader, o->data, (size_t)src->size, err));
    o->content_hash = XXH3_64bits(o->data, (size_t)o->size);
    o->hash = XXH3_64bits_withSeed(o->name, len, o->content_hash);
    *ret = steal_ptr(&o);
    return ERR_OK;
}

static void object_stat(const MemObject *o, StorageStat *ret)
{
    *ret = (StorageStat){.size = o->size, .mtime = o->mtime};
    snprintf(ret->etag, sizeof(ret->etag), "%016llx", (unsigned long long)o->content_hash);
}

/* --- the sorted array; callers hold the lock --- */

/* Where the first name not below `name` stands. */
static size_t mem_lower_bound(const Mem *m, const char *name)
{
    size_t lo = 0, hi = m->objects.n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (strcmp(m->objects.at[mid]->name, name) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool mem_has(const Mem *m, const char *name, size_t *ret_at)
{
    *ret_at = mem_lower_bound(m, name);
    return *ret_at < m->objects.n && strcmp(m->objects.at[*ret_at]->name, name) == 0;
}

/* Whether `name` is a directory of others, or something above it is an object. */
static bool mem_nests(const Mem *m, const char *name)
{
    char part[STORAGE_NAME_MAX + 2];
    size_t at;
    for (const char *p = strchr(name, '/'); p; p = strchr(p + 1, '/')) {
        snprintf(part, sizeof(part), "%.*s", (int)(p - name), name);
        if (mem_has(m, part, &at))
            return true;
    }
    int len = snprintf(part, sizeof(part), "%s/", name);
    at = mem_lower_bound(m, part);
    return at < m->objects.n && strncmp(m->objects.at[at]->name, part, (size_t)len) == 0;
}

/* Takes the reference over when it returns true. */
static bool mem_insert(Mem *m, MemObject *o, StoragePutFlags flags)
{
    size_t at;
    bool there = mem_has(m, o->name, &at);
    if (!m->replace_silently && ((there && !(flags & STORAGE_OVERWRITE)) || mem_nests(m, o->name)))
        return false;
    o->mtime = m->clock;
    if (there) {
        object_free(m->objects.at[at]);
    } else {
        vec_push(&m->objects, NULL);
        memmove(m->objects.at + at + 1, m->objects.at + at,
                (m->objects.n - 1 - at) * sizeof(*m->objects.at));
    }
    m->objects.at[at] = o;
    return true;
}

static void mem_erase(Mem *m, const char *name)
{
    size_t at;
    if (!mem_has(m, name, &at))
        return;
    object_free(m->objects.at[at]);
    m->objects.n--;
    memmove(m->objects.at + at, m->objects.at + at + 1,
            (m->objects.n - at) * sizeof(*m->objects.at));
}

/* A reference to the object, which the caller frees. */
static ErrCode mem_find(Mem *m, const char *name, const char *verb, MemObject **ret, Err *err)
{
    size_t at;
    pthread_mutex_lock(&m->lock);
    MemObject *o = mem_has(m, name, &at) ? m->objects.at[at] : NULL;
    if (o)
        atomic_fetch_add(&o->refs, 1);
    pthread_mutex_unlock(&m->lock);
    if (!o)
        return err_set(err, ERR_NOT_FOUND, "cannot %s '%s' in %s: there is no such object", verb,
                       name, m->base.url);
    *ret = o;
    return ERR_OK;
}

/* --- the driver --- */

static ErrCode mem_put(Storage *s, const char *name, const StorageSource *src,
                       StoragePutFlags flags, Err *err)
{
    Mem *m = (Mem *)s;
    MemObject *o AUTO(object_freep) = NULL;
    if (object_new(&o, name, src, err) != ERR_OK)
        return err_wrap(err, "cannot write '%s' in %s", name, s->url);
    pthread_mutex_lock(&m->lock);
    bool done = mem_insert(m, o, flags);
    pthread_mutex_unlock(&m->lock);
    if (!done)
        return err_set(err, ERR_EXISTS, "cannot write '%s' in %s: the name is taken", name, s->url);
    steal_ptr(&o);
    return ERR_OK;
}

static ErrCode mem_get(Storage *s, const char *name, StorageRead *read, Err *err)
{
    MemObject *o AUTO(object_freep) = NULL;
    TRY(mem_find((Mem *)s, name, "read", &o, err));
    read->size = o->size;
    if (read->from_end)
        read->off = o->size - MIN(read->len, o->size);
    read->got = read->off < o->size ? (size_t)MIN(read->len, o->size - read->off) : 0;
    if (read->got)
        memcpy(read->data, o->data + read->off, read->got);
    return ERR_OK;
}

static ErrCode mem_stat(Storage *s, const char *name, StorageStat *ret, Err *err)
{
    MemObject *o AUTO(object_freep) = NULL;
    TRY(mem_find((Mem *)s, name, "look at", &o, err));
    object_stat(o, ret);
    return ERR_OK;
}

/* A reference to the first object whose name is not below `from` and starts with `prefix`. */
static MemObject *mem_next(Mem *m, const char *from, const char *prefix)
{
    pthread_mutex_lock(&m->lock);
    size_t at = mem_lower_bound(m, from);
    MemObject *o = at < m->objects.n ? m->objects.at[at] : NULL;
    if (o && strncmp(o->name, prefix, strlen(prefix)) != 0)
        o = NULL;
    if (o)
        atomic_fetch_add(&o->refs, 1);
    pthread_mutex_unlock(&m->lock);
    return o;
}

/* One step a name, without the lock between them: the caller's function may call back. */
static ErrCode mem_list(Storage *s, const StorageList *list, Err *err)
{
    Mem *m = (Mem *)s;
    char from[STORAGE_NAME_MAX + 3], shown[STORAGE_NAME_MAX + 2];
    const char *after = list->after ? list->after : "";
    size_t skip = strlen(list->prefix);
    snprintf(from, sizeof(from), "%s", strcmp(after, list->prefix) > 0 ? after : list->prefix);
    for (;;) {
        MemObject *o AUTO(object_freep) = mem_next(m, from, list->prefix);
        if (!o)
            return ERR_OK;
        const char *slash = list->by_level ? strchr(o->name + skip, '/') : NULL;
        StorageEntry entry = {.name = o->name, .is_prefix = slash != NULL};
        if (slash) {
            int len = snprintf(shown, sizeof(shown), "%.*s", (int)(slash + 1 - o->name), o->name);
            entry.name = shown;
            /* '0' is the byte behind '/': the first name that is not below. */
            snprintf(from, sizeof(from), "%.*s0", len - 1, shown);
        } else {
            /* No byte below 0x20 occurs in a name: the least text greater than this name. */
            snprintf(from, sizeof(from), "%s\x01", o->name);
            if (list->want_stat)
                object_stat(o, &entry.stat);
        }
        if (list->after && strcmp(entry.name, after) <= 0)
            continue;
        TRY(list->fn(list->arg, &entry, err));
    }
}

static ErrCode mem_remove(Storage *s, const char *const *names, size_t n, Err *err)
{
    (void)err;
    Mem *m = (Mem *)s;
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < n; i++)
        mem_erase(m, names[i]);
    pthread_mutex_unlock(&m->lock);
    return ERR_OK;
}

static ErrCode mem_now(Storage *s, TimeUs *ret, Err *err)
{
    (void)err;
    Mem *m = (Mem *)s;
    pthread_mutex_lock(&m->lock);
    *ret = m->clock;
    pthread_mutex_unlock(&m->lock);
    return ERR_OK;
}

static void mem_free(Storage *s)
{
    Mem *m = (Mem *)s;
    for (size_t i = 0; i < m->objects.n; i++)
        object_free(m->objects.at[i]);
    vec_release(&m->objects);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static const StorageOps mem_ops = {
    .put = mem_put,
    .get = mem_get,
    .stat = mem_stat,
    .list = mem_list,
    .remove = mem_remove,
    .now = mem_now,
    .free = mem_free,
};

Storage *storage_mem_new(bool replace_silently)
{
    Mem *m = NEW(Mem);
    m->base = (Storage){.ops = &mem_ops, .url = mem_strdup("memory")};
    m->replace_silently = replace_silently;
    m->clock = CLOCK_START;
    pthread_mutex_init(&m->lock, NULL);
    return &m->base;
}

void storage_mem_advance(Storage *mem, TimeUs by)
{
    Mem *m = (Mem *)mem;
    pthread_mutex_lock(&m->lock);
    m->clock += by;
    pthread_mutex_unlock(&m->lock);
}

Storage *storage_mem_clone(Storage *mem)
{
    Mem *m = (Mem *)mem, *copy = (Mem *)storage_mem_new(m->replace_silently);
    pthread_mutex_lock(&m->lock);
    copy->clock = m->clock;
    vec_reserve(&copy->objects, m->objects.n);
    for (size_t i = 0; i < m->objects.n; i++) {
        atomic_fetch_add(&m->objects.at[i]->refs, 1);
        copy->objects.at[copy->objects.n++] = m->objects.at[i];
    }
    pthread_mutex_unlock(&m->lock);
    return &copy->base;
}

uint64_t storage_mem_digest(Storage *mem)
{
    Mem *m = (Mem *)mem;
    uint64_t digest = 0;
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->objects.n; i++) {
        const MemObject *o = m->objects.at[i];
        const uint64_t words[] = {digest, o->hash, (uint64_t)(m->clock - o->mtime)};
        digest = XXH3_64bits(words, sizeof(words));
    }
    pthread_mutex_unlock(&m->lock);
    return digest;
}
