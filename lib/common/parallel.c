#include "lib/common/parallel.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#define THREADS_MAX 64
#define REQUESTS_MAX 16
#define REQUESTS_EACH 4

typedef struct Parallel {
    ParallelFn fn;
    void *arg;
    size_t n;
    atomic_size_t next;
    atomic_bool failed;
    pthread_mutex_t lock;
    Err first;
} Parallel;

typedef struct ParallelThread {
    Parallel *p;
    unsigned number;
} ParallelThread;

static void *parallel_main(void *arg)
{
    ParallelThread *t = arg;
    Parallel *p = t->p;
    size_t i;
    while (!atomic_load(&p->failed) && (i = atomic_fetch_add(&p->next, 1)) < p->n) {
        Err err = {0};
        if (p->fn(p->arg, t->number, i, &err) == ERR_OK)
            continue;
        pthread_mutex_lock(&p->lock);
        if (!atomic_load(&p->failed))
            p->first = err;
        atomic_store(&p->failed, true);
        pthread_mutex_unlock(&p->lock);
    }
    return NULL;
}

ErrCode parallel_run(unsigned threads, size_t n, ParallelFn fn, void *arg, Err *err)
{
    Parallel p = {.fn = fn, .arg = arg, .n = n, .lock = PTHREAD_MUTEX_INITIALIZER};
    ParallelThread states[THREADS_MAX];
    pthread_t ids[THREADS_MAX];
    unsigned started = 1;
    sigset_t all, old;
    threads = (unsigned)MIN((size_t)MIN(MAX(threads, 1u), THREADS_MAX), MAX(n, (size_t)1));
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are for the main thread */
    for (; started < threads; started++) {
        states[started] = (ParallelThread){&p, started};
        if (pthread_create(&ids[started], NULL, parallel_main, &states[started]) != 0)
            break;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    states[0] = (ParallelThread){&p, 0};
    parallel_main(&states[0]);
    for (unsigned i = 1; i < started; i++)
        pthread_join(ids[i], NULL);
    if (!atomic_load(&p.failed))
        return ERR_OK;
    *err = p.first;
    return err->code;
}

unsigned parallel_requests(size_t n)
{
    return (unsigned)MIN((n + REQUESTS_EACH - 1) / REQUESTS_EACH, (size_t)REQUESTS_MAX);
}
