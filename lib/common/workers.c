#include "lib/common/workers.h"

#include <pthread.h>
#include <signal.h>

#include "lib/common/mem.h"

struct Workers {
    WorkersSpec spec;
    pthread_t *threads;
    unsigned started;
    bool joined;

    pthread_mutex_t lock;
    pthread_cond_t not_full, not_empty;
    void **queue; /* ring of spec.queue_len */
    unsigned head, count;
    bool closed; /* no more jobs will come */
    bool failed;
    Err first; /* the first failure */
};

static volatile sig_atomic_t cancelled;

void cancel_request(void)
{
    cancelled = 1;
}

ErrCode cancel_check(Err *err)
{
    return cancelled ? err_set(err, ERR_CANCELLED, "interrupted by a signal") : ERR_OK;
}

static void workers_fail(Workers *w, const Err *err)
{
    pthread_mutex_lock(&w->lock);
    if (!w->failed) {
        w->failed = true;
        w->first = *err;
    }
    pthread_cond_broadcast(&w->not_full);
    pthread_cond_broadcast(&w->not_empty);
    pthread_mutex_unlock(&w->lock);
}

/* The next job, or NULL when the pool is closed and empty, or failed. */
static void *workers_take(Workers *w)
{
    void *job = NULL;
    pthread_mutex_lock(&w->lock);
    while (!w->failed && !w->count && !w->closed)
        pthread_cond_wait(&w->not_empty, &w->lock);
    if (!w->failed && w->count) {
        job = w->queue[w->head];
        w->head = (w->head + 1) % w->spec.queue_len;
        w->count--;
        pthread_cond_signal(&w->not_full);
    }
    pthread_mutex_unlock(&w->lock);
    return job;
}

static bool workers_failed(Workers *w)
{
    pthread_mutex_lock(&w->lock);
    bool failed = w->failed;
    pthread_mutex_unlock(&w->lock);
    return failed;
}

static void *worker_main(void *arg)
{
    Workers *w = arg;
    Err err = {0};
    void *state = w->spec.state_new ? w->spec.state_new(w->spec.shared) : NULL;
    for (void *job; (job = workers_take(w));) {
        if (w->spec.run(w->spec.shared, state, job, &err) != ERR_OK) {
            workers_fail(w, &err);
            break;
        }
    }
    if (w->spec.flush && !workers_failed(w) && w->spec.flush(w->spec.shared, state, &err) != ERR_OK)
        workers_fail(w, &err);
    if (w->spec.state_free)
        w->spec.state_free(state);
    return NULL;
}

ErrCode workers_new(Workers **ret, const WorkersSpec *spec, Err *err)
{
    Workers *w AUTO(workers_freep) = NEW(Workers);
    w->spec = *spec;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->not_full, NULL);
    pthread_cond_init(&w->not_empty, NULL);
    w->queue = mem_zero(spec->queue_len * sizeof(*w->queue));
    w->threads = mem_zero(spec->n * sizeof(*w->threads));

    /* Signals are for the main thread. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = 0;
    while (w->started < spec->n && rc == 0) {
        rc = pthread_create(&w->threads[w->started], NULL, worker_main, w);
        w->started += rc == 0;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0) {
        err_errno(err, rc, "cannot start worker %u of %u", w->started + 1, spec->n);
        Err stop = *err;
        workers_fail(w, &stop); /* not a flush: the ones that run must not write anything */
        return err->code;
    }
    *ret = steal_ptr(&w);
    return ERR_OK;
}

ErrCode workers_put(Workers *w, void *job, Err *err)
{
    ErrCode rc = ERR_OK;
    pthread_mutex_lock(&w->lock);
    while (!w->failed && w->count == w->spec.queue_len)
        pthread_cond_wait(&w->not_full, &w->lock);
    if (w->failed) {
        *err = w->first;
        rc = err->code;
    } else {
        w->queue[(w->head + w->count) % w->spec.queue_len] = job;
        w->count++;
        pthread_cond_signal(&w->not_empty);
    }
    pthread_mutex_unlock(&w->lock);
    if (rc != ERR_OK && w->spec.drop)
        w->spec.drop(job);
    return rc;
}

static void workers_join(Workers *w)
{
    if (w->joined)
        return;
    w->joined = true;
    for (unsigned i = 0; i < w->started; i++)
        pthread_join(w->threads[i], NULL);
}

ErrCode workers_finish(Workers *w, Err *err)
{
    pthread_mutex_lock(&w->lock);
    w->closed = true;
    pthread_cond_broadcast(&w->not_empty);
    pthread_mutex_unlock(&w->lock);
    workers_join(w);
    if (!w->failed)
        return ERR_OK;
    *err = w->first;
    return err->code;
}

void workers_free(Workers *w)
{
    if (!w)
        return;
    if (!w->joined) {
        Err stop = {0};
        err_set(&stop, ERR_CANCELLED, "abandoned");
        workers_fail(w, &stop);
        workers_join(w);
    }
    if (w->spec.drop)
        for (; w->count; w->count--, w->head = (w->head + 1) % w->spec.queue_len)
            w->spec.drop(w->queue[w->head]);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->not_full);
    pthread_cond_destroy(&w->not_empty);
    free(w->queue);
    free(w->threads);
    free(w);
}
