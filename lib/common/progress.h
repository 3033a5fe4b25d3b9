#ifndef PGDR_COMMON_PROGRESS_H
#define PGDR_COMMON_PROGRESS_H

/*
 * How far long work is: counters that workers add to without a lock and that cli/ reads when it
 * draws a line. `total` may grow while work is still being found. A NULL Progress counts nothing.
 */

#include <stdatomic.h>

#include "lib/common/timeutil.h"

typedef struct Progress {
    _Atomic(const char *) phase;  /* static text: "copying files" */
    _Atomic uint64_t done, total; /* bytes */
    _Atomic uint64_t items_done, items_total;
    _Atomic TimeUs started; /* monotonic */
} Progress;

/* What a line or JSON shows; rate and eta are 0 while they cannot be known. */
typedef struct ProgressView {
    const char *phase;
    uint64_t done, total, items_done, items_total;
    double bytes_per_second;
    TimeUs elapsed, eta;
} ProgressView;

void progress_begin(Progress *p, const char *phase, uint64_t total, uint64_t items_total);
void progress_add(Progress *p, uint64_t bytes, uint64_t items);
void progress_add_total(Progress *p, uint64_t bytes, uint64_t items);
ProgressView progress_read(const Progress *p);
/* "copying files: 1.2 GiB of 3.0 GiB (40 %), 512.0 MiB/s, 3.5 s left". `out` holds 160 bytes. */
#define PROGRESS_TEXT_LEN 160
const char *progress_format(const ProgressView *v, char *out);

#endif
