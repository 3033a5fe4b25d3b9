#include "lib/common/progress.h"

#include <stdio.h>

void progress_begin(Progress *p, const char *phase, uint64_t total, uint64_t items_total)
{
    if (!p)
        return;
    atomic_store(&p->phase, phase);
    atomic_store(&p->done, 0);
    atomic_store(&p->items_done, 0);
    atomic_store(&p->total, total);
    atomic_store(&p->items_total, items_total);
    atomic_store(&p->started, time_monotonic());
}

void progress_add(Progress *p, uint64_t bytes, uint64_t items)
{
    if (!p)
        return;
    atomic_fetch_add_explicit(&p->done, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&p->items_done, items, memory_order_relaxed);
}

void progress_add_total(Progress *p, uint64_t bytes, uint64_t items)
{
    if (!p)
        return;
    atomic_fetch_add_explicit(&p->total, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&p->items_total, items, memory_order_relaxed);
}

ProgressView progress_read(const Progress *p)
{
    ProgressView v = {.phase = atomic_load(&p->phase),
                      .done = atomic_load(&p->done),
                      .total = atomic_load(&p->total),
                      .items_done = atomic_load(&p->items_done),
                      .items_total = atomic_load(&p->items_total)};
    TimeUs started = atomic_load(&p->started);
    if (!v.phase || !started)
        return v;
    v.elapsed = time_monotonic() - started;
    if (v.elapsed > 0)
        v.bytes_per_second = (double)v.done * (double)US_PER_SECOND / (double)v.elapsed;
    if (v.bytes_per_second > 0 && v.total > v.done)
        v.eta = (TimeUs)((double)(v.total - v.done) / v.bytes_per_second * (double)US_PER_SECOND);
    return v;
}

const char *progress_format(const ProgressView *v, char *out)
{
    char done[TIME_TEXT_LEN], total[TIME_TEXT_LEN], rate[TIME_TEXT_LEN], eta[TIME_TEXT_LEN];
    if (!v->total) {
        snprintf(out, PROGRESS_TEXT_LEN, "%s", v->phase ? v->phase : "");
        return out;
    }
    int n = snprintf(out, PROGRESS_TEXT_LEN, "%s: %s of %s (%d %%), %s/s", v->phase,
                     size_format(v->done, done), size_format(v->total, total),
                     (int)((double)v->done * 100 / (double)v->total),
                     size_format((uint64_t)v->bytes_per_second, rate));
    if (v->eta && n > 0 && n < PROGRESS_TEXT_LEN)
        snprintf(out + n, PROGRESS_TEXT_LEN - (size_t)n, ", %s left", duration_format(v->eta, eta));
    return out;
}
