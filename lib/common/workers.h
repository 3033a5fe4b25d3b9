#ifndef PGDR_COMMON_WORKERS_H
#define PGDR_COMMON_WORKERS_H

/*
 * A pool of threads that work off a bounded queue of jobs.
 *
 *     workers_new → workers_put… → workers_finish → workers_free
 *
 * The first job that fails stops the pool: later jobs are dropped through `drop`, workers_put()
 * and workers_finish() return that first error. workers_free() without workers_finish() aborts:
 * running jobs end, waiting ones are dropped.
 */

#include "lib/common/err.h"

typedef struct WorkersSpec {
    unsigned n;         /* threads, at least 1 */
    unsigned queue_len; /* jobs that may wait before workers_put() blocks, at least 1 */
    void *shared;       /* passed to all callbacks */
    /* Makes a worker's own state; NULL when it needs none. */
    void *(*state_new)(void *shared);
    void (*state_free)(void *state);
    /* Does one job and consumes it. */
    ErrCode (*run)(void *shared, void *state, void *job, Err *err);
    /* Called in each worker after the last job when all went well (to flush what its state
     * holds); may be NULL. */
    ErrCode (*flush)(void *shared, void *state, Err *err);
    /* Consumes a job that will not be done; NULL when jobs need no release. */
    void (*drop)(void *job);
} WorkersSpec;

typedef struct Workers Workers;

MUST_CHECK ErrCode workers_new(Workers **ret, const WorkersSpec *spec, Err *err);
/* Hands a job over (on failure, too, it is consumed). Blocks while the queue is full. */
MUST_CHECK ErrCode workers_put(Workers *w, void *job, Err *err);
/* Waits until all is done and flushed. */
MUST_CHECK ErrCode workers_finish(Workers *w, Err *err);
void workers_free(Workers *w);
DEFINE_FREEP(Workers, workers_free)

/* Set by the process's signal handler; long work looks at it between two steps. */
void cancel_request(void);
MUST_CHECK ErrCode cancel_check(Err *err);

#endif
