#include "lib/repo/fetch_ahead.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

typedef enum FetchState {
    FETCH_NONE,
    FETCH_BEGUN, /* the thread's turn */
    FETCH_DONE,  /* the owner's */
    FETCH_END,   /* the thread is to end */
} FetchState;

struct FetchAhead {
    Repo *repo;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock; /* of `state`; all else belongs to whose turn it is */
    pthread_cond_t changed;
    FetchState state;
    char *name;
    uint64_t off;
    size_t len;
    Buf data;
    bool good;
};

FetchAhead *fetch_ahead_new(Repo *repo)
{
    FetchAhead *f = NEW(FetchAhead);
    f->repo = repo;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    return f;
}

static void state_set(FetchAhead *f, FetchState state)
{
    pthread_mutex_lock(&f->lock);
    f->state = state;
    pthread_cond_signal(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

/* Waits while it is another's turn. */
static FetchState state_wait(FetchAhead *f, bool is_owner)
{
    pthread_mutex_lock(&f->lock);
    while (is_owner ? f->state == FETCH_BEGUN : f->state == FETCH_NONE || f->state == FETCH_DONE)
        pthread_cond_wait(&f->changed, &f->lock);
    FetchState state = f->state;
    pthread_mutex_unlock(&f->lock);
    return state;
}

static void *fetch_main(void *arg)
{
    FetchAhead *f = arg;
    while (state_wait(f, false) != FETCH_END) {
        Err ignored = {0};
        f->data.len = 0;
        f->good = repo_get_range(f->repo, f->name, f->off, buf_reserve(&f->data, f->len), f->len,
                                 &ignored) == ERR_OK;
        f->data.len = f->len;
        state_set(f, FETCH_DONE);
    }
    return NULL;
}

static bool thread_start(FetchAhead *f)
{
    sigset_t all, old;
    if (f->has_thread)
        return true;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are for the main thread */
    f->has_thread = pthread_create(&f->thread, NULL, fetch_main, f) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return f->has_thread;
}

void fetch_ahead_begin(FetchAhead *f, const char *name, uint64_t off, size_t len)
{
    /* Only the owner leaves FETCH_NONE. */
    if (f->name || !thread_start(f))
        return;
    f->name = mem_strdup(name);
    f->off = off;
    f->len = len;
    state_set(f, FETCH_BEGUN);
}

void fetch_ahead_drop(FetchAhead *f)
{
    if (!f->name)
        return;
    state_wait(f, true);
    free(f->name);
    f->name = NULL;
    state_set(f, FETCH_NONE);
}

bool fetch_ahead_take(FetchAhead *f, const char *name, uint64_t off, size_t len, Buf *ret)
{
    if (!f->name || f->off != off || f->len != len || strcmp(f->name, name) != 0)
        return false;
    state_wait(f, true);
    bool good = f->good;
    if (good) {
        Buf mine = *ret;
        *ret = f->data;
        f->data = mine;
    }
    fetch_ahead_drop(f);
    return good;
}

void fetch_ahead_free(FetchAhead *f)
{
    if (!f)
        return;
    fetch_ahead_drop(f);
    if (f->has_thread) {
        state_set(f, FETCH_END);
        pthread_join(f->thread, NULL);
    }
    buf_release(&f->data);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
}
