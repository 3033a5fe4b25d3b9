#ifndef PGDR_STORAGE_ATTEMPTS_H
#define PGDR_STORAGE_ATTEMPTS_H

/*
 * The one rule of how often, and after which pauses, something that failed is done again. For the
 * retry decorator, and for the parts of an upload that is too large to begin it anew.
 */

#include "lib/storage/drivers.h"

/* One call, over all its attempts. */
typedef struct Attempts {
    const RetrySpec *spec;
    unsigned n; /* begun since `began` */
    TimeUs began, waited;
    bool warned;
} Attempts;

Attempts attempts_begin(const RetrySpec *spec);
/* After a failed attempt: waits and returns ERR_OK for another one, else the final error. */
MUST_CHECK ErrCode attempts_next(Attempts *a, Err *err);

#endif
