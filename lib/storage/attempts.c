#include "lib/storage/attempts.h"

#include "lib/common/hex.h"
#include "lib/common/log.h"
#include "lib/storage/wait.h"

/* Whoever looks at the log learns that a call hangs once it has waited this long. */
#define WARN_AFTER (5 * US_PER_SECOND)

Attempts attempts_begin(const RetrySpec *spec)
{
    return (Attempts){.spec = spec, .n = 1, .began = wait_now(spec->clock)};
}

/* Full jitter: many clients that failed together do not come back together. */
static TimeUs pause_before(const RetrySpec *spec, unsigned attempt)
{
    TimeUs most = MIN(spec->first_pause, spec->longest_pause);
    for (unsigned i = 2; i < attempt && most < spec->longest_pause; i++)
        most = MIN(most * 2, spec->longest_pause);
    uint64_t random;
    random_bytes(&random, sizeof(random));
    return most > 0 ? (TimeUs)(random % (uint64_t)(most + 1)) : 0;
}

static ErrCode attempts_give_up(const Attempts *a, TimeUs elapsed, Err *err)
{
    char text[TIME_TEXT_LEN];
    if (a->n > 1)
        err_wrap(err, "gave up after %u attempts in %s", a->n, duration_format(elapsed, text));
    return err->code;
}

ErrCode attempts_next(Attempts *a, Err *err)
{
    const RetrySpec *spec = a->spec;
    if (!err_can_retry(err->code))
        return err->code;
    TimeUs elapsed = wait_now(spec->clock) - a->began;
    if (a->n >= spec->attempts || (spec->total && elapsed >= spec->total))
        return attempts_give_up(a, elapsed, err);

    TimeUs pause = pause_before(spec, ++a->n);
    if (spec->total)
        pause = MIN(pause, spec->total - elapsed);
    char text[TIME_TEXT_LEN];
    log_debug("%s: attempt %u of %u follows in %s", err->message, a->n, spec->attempts,
              duration_format(pause, text));
    a->waited += pause;
    if (a->waited >= WARN_AFTER && !a->warned) {
        a->warned = true;
        log_line(LOG_WARN, err->hint, "still trying after %s: %s", duration_format(elapsed, text),
                 err->message);
    }
    Err stop = {0};
    if (wait_for(spec->clock, pause, &stop) != ERR_OK) {
        err_wrap(&stop, "%s: no further attempt", err->message);
        *err = stop;
        return err->code;
    }
    return ERR_OK;
}
