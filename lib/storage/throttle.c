/* A token bucket in front of a storage's bytes. */

#include <pthread.h>

#include "lib/storage/wait.h"

/* What may be saved up while nothing is transferred. */
#define BURST (US_PER_SECOND / 4)

typedef struct Throttle {
    Storage base;
    Storage *inner;
    double us_per_byte;
    const StorageClock *clock;
    pthread_mutex_t lock;
    bool started;
    double paid_until; /* when all bytes taken so far are paid for; monotonic microseconds */
} Throttle;

/* Takes `bytes` out of the bucket and waits until they are paid for. Who comes later waits for
 * those before, too, so the rate holds over all threads. */
static ErrCode throttle_take(Throttle *t, uint64_t bytes, Err *err)
{
    pthread_mutex_lock(&t->lock);
    TimeUs now = wait_now(t->clock);
    if (!t->started)
        t->paid_until = (double)now;
    t->started = true;
    t->paid_until = MAX(t->paid_until, (double)(now - BURST));
    t->paid_until += (double)bytes * t->us_per_byte;
    double wait = t->paid_until - (double)now;
    pthread_mutex_unlock(&t->lock);
    return wait > 0 ? wait_for(t->clock, (TimeUs)wait, err) : ERR_OK;
}

static ErrCode throttle_put(Storage *s, const char *name, const StorageSource *src,
                            StoragePutFlags flags, Err *err)
{
    Throttle *t = (Throttle *)s;
    if (throttle_take(t, src->size, err) != ERR_OK)
        return err_wrap(err, "cannot write '%s' in %s", name, s->url);
    return storage_put(t->inner, name, src, flags, err);
}

static ErrCode throttle_get(Storage *s, const char *name, StorageRead *read, Err *err)
{
    Throttle *t = (Throttle *)s;
    TRY(storage_get(t->inner, name, read, err));
    if (throttle_take(t, read->got, err) != ERR_OK)
        return err_wrap(err, "cannot read '%s' in %s", name, s->url);
    return ERR_OK;
}

static ErrCode throttle_stat(Storage *s, const char *name, StorageStat *ret, Err *err)
{
    return storage_stat(((Throttle *)s)->inner, name, ret, err);
}

static ErrCode throttle_list(Storage *s, const StorageList *list, Err *err)
{
    return storage_list(((Throttle *)s)->inner, list, err);
}

static ErrCode throttle_remove(Storage *s, const char *const *names, size_t n, Err *err)
{
    return storage_remove(((Throttle *)s)->inner, names, n, err);
}

static ErrCode throttle_now(Storage *s, TimeUs *ret, Err *err)
{
    return storage_now(((Throttle *)s)->inner, ret, err);
}

static void throttle_free(Storage *s)
{
    Throttle *t = (Throttle *)s;
    storage_free(t->inner);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static const StorageOps throttle_ops = {
    .put = throttle_put,
    .get = throttle_get,
    .stat = throttle_stat,
    .list = throttle_list,
    .remove = throttle_remove,
    .now = throttle_now,
    .free = throttle_free,
};

Storage *storage_throttle_new(Storage *inner, uint64_t bytes_per_second)
{
    Throttle *t = NEW(Throttle);
    t->base = (Storage){.ops = &throttle_ops, .url = mem_strdup(inner->url)};
    t->inner = inner;
    t->us_per_byte = (double)US_PER_SECOND / (double)MAX(bytes_per_second, (uint64_t)1);
    pthread_mutex_init(&t->lock, NULL);
    return &t->base;
}

void storage_throttle_set_clock(Storage *throttle, const StorageClock *clock)
{
    ((Throttle *)throttle)->clock = clock;
}
