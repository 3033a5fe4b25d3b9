#ifndef PGDR_COMMON_PARALLEL_H
#define PGDR_COMMON_PARALLEL_H

/* A loop whose turns do not depend on each other, done by several threads at once. */

#include "lib/common/err.h"

/* Turn `i` of the loop; `thread` is 0 … threads − 1, for state of its own. */
typedef ErrCode (*ParallelFn)(void *arg, unsigned thread, size_t i, Err *err);

/*
 * Runs fn for every i below n, by at most `threads` threads (the caller's is one of them). Returns
 * when all are done; after a failure the turns not begun are left out, and the first error is
 * returned. When threads cannot be started, fewer do the work.
 */
MUST_CHECK ErrCode parallel_run(unsigned threads, size_t n, ParallelFn fn, void *arg, Err *err);

/* How many threads are worth it for n turns that each wait for one small answer of a server: making
 * a connection takes a thread as long as three or four answers on one that is there. */
unsigned parallel_requests(size_t n);

#endif
