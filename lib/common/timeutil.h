#ifndef PGDR_COMMON_TIMEUTIL_H
#define PGDR_COMMON_TIMEUTIL_H

/* Points in time: microseconds since 1970-01-01 00:00:00 UTC. 0 means "not known". */

#include "lib/common/err.h"

typedef int64_t TimeUs;

#define US_PER_SECOND ((TimeUs)1000000)
#define TIME_TEXT_LEN 40

TimeUs time_now(void);
/* Monotonic, for durations; unrelated to time_now(). */
TimeUs time_monotonic(void);
void time_sleep(TimeUs us);

/* "2026-11-23 08:15:00.123456 UTC" (or without the fraction) for people. `out`: TIME_TEXT_LEN. */
const char *time_format_utc(TimeUs t, bool micros, char *out);
/* RFC 3339: "2026-11-23T08:15:00.123456Z". `out`: TIME_TEXT_LEN. */
const char *time_format_rfc3339(TimeUs t, char *out);
/* "20261123T081500Z", the form inside backup ids. `out`: TIME_TEXT_LEN. */
const char *time_format_compact(TimeUs t, char *out);
MUST_CHECK ErrCode time_parse_compact(const char *s, TimeUs *ret, Err *err);

/*
 * What people type: "2026-11-23 08:15:00[.123456][ ]Z|UTC|+01|+01:00|-0530", RFC 3339, "now", and
 * "2 hours ago", "30 min ago", "1 day 2 hours ago". A time of day without a zone is refused: the
 * hint shows it with one.
 */
MUST_CHECK ErrCode time_parse_human(const char *s, TimeUs now, TimeUs *ret, Err *err);

/* "1.2 s", "3 min 12 s", "2 h 5 min" */
const char *duration_format(TimeUs us, char *out);
/* "1.5 GiB" */
const char *size_format(uint64_t bytes, char *out);

#endif
