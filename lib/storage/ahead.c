/* Calls that are known to come, made before they come. */

#include <pthread.h>
#include <string.h>

#include "lib/storage/drivers.h"

/* A listing that needs more pages than one is nothing to hold in memory. */
#define ENTRIES_MAX 1000

typedef struct AheadEntry {
    char *name;
    bool is_prefix;
    StorageStat stat;
} AheadEntry;

typedef struct Ahead Ahead;

/* One hint. What the thread has finished is only read from then on; `lock` guards the flags. */
typedef struct AheadJob {
    Ahead *ahead;
    char *prefix;
    size_t fetch_max;
    pthread_t thread;
    bool listed, fetched; /* that part has come to its end */
    bool spent;           /* the listing was given, or is out of date */
    ErrCode list_rc, fetch_rc;
    VEC(AheadEntry) entries;
    const char *fetch; /* the name that is read; NULL: none */
    Buf data;
} AheadJob;

struct Ahead {
    Storage base;
    Storage *inner;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    VEC(AheadJob *) jobs; /* grows only before the first call */
};

/* --- in the background --- */

static ErrCode keep_entry(void *arg, const StorageEntry *entry, Err *err)
{
    AheadJob *job = arg;
    if (job->entries.n == ENTRIES_MAX)
        return err_set(err, ERR_LIMIT, "there are too many names");
    vec_push(&job->entries, (AheadEntry){.name = mem_strdup(entry->name),
                                         .is_prefix = entry->is_prefix,
                                         .stat = entry->stat});
    return ERR_OK;
}

static void tell(AheadJob *job, bool *flag)
{
    pthread_mutex_lock(&job->ahead->lock);
    *flag = true;
    pthread_cond_broadcast(&job->ahead->changed);
    pthread_mutex_unlock(&job->ahead->lock);
}

static void fetch_first(AheadJob *job)
{
    Err err = {0};
    const AheadEntry *e = &job->entries.at[0];
    size_t len = (size_t)e->stat.size;
    StorageRead read = {.len = len, .data = buf_reserve(&job->data, len + 1)};
    job->fetch_rc = storage_get(job->ahead->inner, job->fetch, &read, &err);
    if (job->fetch_rc == ERR_OK && (read.got != len || read.size != len))
        job->fetch_rc = ERR_CONFLICT;
    job->data.len = read.got;
}

static void *job_main(void *arg)
{
    AheadJob *job = arg;
    Err err = {0};
    const StorageList list = {
        .prefix = job->prefix, .want_stat = true, .fn = keep_entry, .arg = job};
    job->list_rc = storage_list(job->ahead->inner, &list, &err);
    const AheadEntry *first = job->entries.n ? &job->entries.at[0] : NULL;
    if (job->list_rc == ERR_OK && first && first->stat.size <= job->fetch_max)
        job->fetch = first->name;
    tell(job, &job->listed);
    if (job->fetch)
        fetch_first(job);
    tell(job, &job->fetched);
    return NULL;
}

void storage_ahead_list(Storage *storage, const char *prefix, size_t fetch_max)
{
    Ahead *a = (Ahead *)storage;
    AheadJob *job = NEW(AheadJob);
    job->ahead = a;
    job->prefix = mem_strdup(prefix);
    job->fetch_max = fetch_max;
    if (pthread_create(&job->thread, NULL, job_main, job) != 0) {
        /* Then it is done when it is asked for. */
        free(job->prefix);
        free(job);
        return;
    }
    vec_push(&a->jobs, job);
}

/* --- the calls --- */

static void wait_until(Ahead *a, const bool *flag)
{
    while (!*flag)
        pthread_cond_wait(&a->changed, &a->lock);
}

/* Every listing is given once: whoever asks again wants to know what has changed. */
static AheadJob *take_listing(Ahead *a, const StorageList *list)
{
    AheadJob *found = NULL;
    if (list->by_level || (list->after && *list->after))
        return NULL;
    pthread_mutex_lock(&a->lock);
    for (size_t i = 0; i < a->jobs.n && !found; i++) {
        AheadJob *job = a->jobs.at[i];
        if (job->spent || strcmp(job->prefix, list->prefix) != 0)
            continue;
        job->spent = true;
        wait_until(a, &job->listed);
        found = job;
    }
    pthread_mutex_unlock(&a->lock);
    return found && found->list_rc == ERR_OK ? found : NULL;
}

static ErrCode ahead_list(Storage *s, const StorageList *list, Err *err)
{
    Ahead *a = (Ahead *)s;
    const AheadJob *job = take_listing(a, list);
    if (!job)
        return storage_list(a->inner, list, err);
    for (size_t i = 0; i < job->entries.n; i++) {
        const AheadEntry *e = &job->entries.at[i];
        StorageEntry entry = {.name = e->name, .is_prefix = e->is_prefix};
        if (list->want_stat)
            entry.stat = e->stat;
        TRY(list->fn(list->arg, &entry, err));
    }
    return ERR_OK;
}

static AheadJob *find_object(Ahead *a, const char *name)
{
    AheadJob *found = NULL;
    pthread_mutex_lock(&a->lock);
    for (size_t i = 0; i < a->jobs.n && !found; i++) {
        AheadJob *job = a->jobs.at[i];
        if (!job->listed || !job->fetch || strcmp(job->fetch, name) != 0)
            continue;
        wait_until(a, &job->fetched);
        found = job;
    }
    pthread_mutex_unlock(&a->lock);
    return found && found->fetch_rc == ERR_OK ? found : NULL;
}

static ErrCode ahead_get(Storage *s, const char *name, StorageRead *read, Err *err)
{
    Ahead *a = (Ahead *)s;
    const AheadJob *job = find_object(a, name);
    if (!job)
        return storage_get(a->inner, name, read, err);
    read->size = job->data.len;
    if (read->from_end)
        read->off = read->size - MIN(read->size, read->len);
    read->got = read->off < read->size ? (size_t)MIN(read->len, read->size - read->off) : 0;
    if (read->got)
        memcpy(read->data, job->data.data + read->off, read->got);
    return ERR_OK;
}

/* What was listed before a change of ours is out of date. */
static void spend_all(Ahead *a)
{
    pthread_mutex_lock(&a->lock);
    for (size_t i = 0; i < a->jobs.n; i++)
        a->jobs.at[i]->spent = true;
    pthread_mutex_unlock(&a->lock);
}

static ErrCode ahead_put(Storage *s, const char *name, const StorageSource *src,
                         StoragePutFlags flags, Err *err)
{
    spend_all((Ahead *)s);
    return storage_put(((Ahead *)s)->inner, name, src, flags, err);
}

static ErrCode ahead_remove(Storage *s, const char *const *names, size_t n, Err *err)
{
    spend_all((Ahead *)s);
    return storage_remove(((Ahead *)s)->inner, names, n, err);
}

static ErrCode ahead_stat(Storage *s, const char *name, StorageStat *ret, Err *err)
{
    return storage_stat(((Ahead *)s)->inner, name, ret, err);
}

static ErrCode ahead_now(Storage *s, TimeUs *ret, Err *err)
{
    return storage_now(((Ahead *)s)->inner, ret, err);
}

static void job_free(AheadJob *job)
{
    pthread_join(job->thread, NULL);
    for (size_t i = 0; i < job->entries.n; i++)
        free(job->entries.at[i].name);
    vec_release(&job->entries);
    buf_release(&job->data);
    free(job->prefix);
    free(job);
}

static void ahead_free(Storage *s)
{
    Ahead *a = (Ahead *)s;
    for (size_t i = 0; i < a->jobs.n; i++)
        job_free(a->jobs.at[i]);
    vec_release(&a->jobs);
    storage_free(a->inner);
    pthread_cond_destroy(&a->changed);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

static const StorageOps ahead_ops = {
    .put = ahead_put,
    .get = ahead_get,
    .stat = ahead_stat,
    .list = ahead_list,
    .remove = ahead_remove,
    .now = ahead_now,
    .free = ahead_free,
};

Storage *storage_ahead_new(Storage *inner)
{
    Ahead *a = NEW(Ahead);
    a->base = (Storage){.ops = &ahead_ops, .url = mem_strdup(inner->url)};
    a->inner = inner;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->changed, NULL);
    return &a->base;
}
