#include "lib/common/timeutil.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static TimeUs clock_us(clockid_t clock)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
    return (TimeUs)ts.tv_sec * US_PER_SECOND + ts.tv_nsec / 1000;
}

TimeUs time_now(void)
{
    return clock_us(CLOCK_REALTIME);
}

TimeUs time_monotonic(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

void time_sleep(TimeUs us)
{
    struct timespec ts = {.tv_sec = us / US_PER_SECOND, .tv_nsec = us % US_PER_SECOND * 1000};
    while (nanosleep(&ts, &ts) != 0 && errno == EINTR)
        ;
}

/* Splits into whole seconds (rounded down, also before 1970) and microseconds. */
static struct tm time_split(TimeUs t, int *ret_micros)
{
    TimeUs micros = t % US_PER_SECOND;
    if (micros < 0)
        micros += US_PER_SECOND;
    time_t seconds = (time_t)((t - micros) / US_PER_SECOND);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    *ret_micros = (int)micros;
    return tm;
}

const char *time_format_utc(TimeUs t, bool micros, char *out)
{
    int us;
    struct tm tm = time_split(t, &us);
    int n = snprintf(out, TIME_TEXT_LEN, "%04d-%02d-%02d %02d:%02d:%02d", tm.tm_year + 1900,
                     tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    if (micros)
        n += snprintf(out + n, TIME_TEXT_LEN - (size_t)n, ".%06d", us);
    snprintf(out + n, TIME_TEXT_LEN - (size_t)n, " UTC");
    return out;
}

const char *time_format_rfc3339(TimeUs t, char *out)
{
    int us;
    struct tm tm = time_split(t, &us);
    snprintf(out, TIME_TEXT_LEN, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year + 1900,
             tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, us);
    return out;
}

const char *time_format_compact(TimeUs t, char *out)
{
    int us;
    struct tm tm = time_split(t, &us);
    snprintf(out, TIME_TEXT_LEN, "%04d%02d%02dT%02d%02d%02dZ", tm.tm_year + 1900, tm.tm_mon + 1,
             tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    return out;
}

/* Reads exactly `n` digits as a number; -1 when they are not digits. */
static int read_digits(const char **s, int n)
{
    int v = 0;
    for (int i = 0; i < n; i++, (*s)++) {
        if (!isdigit((unsigned char)**s))
            return -1;
        v = v * 10 + (**s - '0');
    }
    return v;
}

static bool tm_valid(const struct tm *tm)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year = tm->tm_year + 1900;
    if (year < 1970 || tm->tm_mon < 0 || tm->tm_mon > 11 || tm->tm_mday < 1)
        return false;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    int last = days[tm->tm_mon] + (tm->tm_mon == 1 && leap ? 1 : 0);
    return tm->tm_mday <= last && tm->tm_hour >= 0 && tm->tm_hour < 24 && tm->tm_min >= 0 &&
           tm->tm_min < 60 && tm->tm_sec >= 0 && tm->tm_sec <= 60;
}

ErrCode time_parse_compact(const char *s, TimeUs *ret, Err *err)
{
    const char *p = s;
    struct tm tm = {0};
    tm.tm_year = read_digits(&p, 4) - 1900;
    tm.tm_mon = read_digits(&p, 2) - 1;
    tm.tm_mday = read_digits(&p, 2);
    bool ok = *p == 'T';
    p += ok;
    if (ok) {
        tm.tm_hour = read_digits(&p, 2);
        tm.tm_min = read_digits(&p, 2);
        tm.tm_sec = read_digits(&p, 2);
    }
    if (!ok || *p != 'Z' || !tm_valid(&tm))
        return err_set(err, ERR_USAGE, "'%s' is not a time like 20261123T081500Z", s);
    *ret = (TimeUs)timegm(&tm) * US_PER_SECOND;
    return ERR_OK;
}

static ErrCode time_bad(const char *s, Err *err)
{
    err_set(err, ERR_USAGE, "cannot read '%s' as a time", s);
    return err_hint(err, "write it as '2026-11-23 08:15:00+00', as '2026-11-23T08:15:00Z' or as "
                         "'2 hours ago'");
}

/* "2 hours ago", "1 day 2 hours ago" */
static ErrCode time_parse_ago(const char *s, TimeUs now, TimeUs *ret, Err *err)
{
    static const struct {
        const char *name;
        TimeUs seconds;
    } units[] = {{"s", 1},     {"sec", 1},     {"second", 1}, {"m", 60},
                 {"min", 60},  {"minute", 60}, {"h", 3600},   {"hour", 3600},
                 {"d", 86400}, {"day", 86400}, {"w", 604800}, {"week", 604800}};
    TimeUs total = 0;
    const char *p = s;
    for (int parts = 0;; parts++) {
        while (*p == ' ')
            p++;
        if (parts && strcasecmp(p, "ago") == 0) {
            *ret = now - total * US_PER_SECOND;
            return ERR_OK;
        }
        char *end;
        long long n = strtoll(p, &end, 10);
        if (end == p || n < 0 || n > 1000000 || !isdigit((unsigned char)*p))
            return time_bad(s, err);
        for (p = end; *p == ' ';)
            p++;
        char word[16];
        size_t len = 0;
        while (isalpha((unsigned char)*p) && len < sizeof(word) - 1)
            word[len++] = *p++;
        word[len] = '\0';
        if (len > 3 && word[len - 1] == 's')
            word[--len] = '\0';
        size_t u = 0;
        while (u < ARRAY_LEN(units) && strcasecmp(word, units[u].name) != 0)
            u++;
        if (u == ARRAY_LEN(units))
            return time_bad(s, err);
        total += (TimeUs)n * units[u].seconds;
    }
}

/* The zone behind a time of day; seconds east of UTC. */
static bool zone_parse(const char *p, int *ret_offset)
{
    while (*p == ' ')
        p++;
    *ret_offset = 0;
    if (strcasecmp(p, "z") == 0 || strcasecmp(p, "utc") == 0 || strcasecmp(p, "gmt") == 0)
        return true;
    if (*p != '+' && *p != '-')
        return false;
    int sign = *p++ == '-' ? -1 : 1, minutes = 0;
    int hours = read_digits(&p, 2);
    if (*p == ':')
        p++;
    if (*p)
        minutes = read_digits(&p, 2);
    if (*p || hours < 0 || hours > 15 || minutes < 0 || minutes > 59)
        return false;
    *ret_offset = sign * (hours * 3600 + minutes * 60);
    return true;
}

ErrCode time_parse_human(const char *s, TimeUs now, TimeUs *ret, Err *err)
{
    while (*s == ' ')
        s++;
    if (strcasecmp(s, "now") == 0) {
        *ret = now;
        return ERR_OK;
    }
    size_t len = strlen(s);
    if (len > 3 && strcasecmp(s + len - 3, "ago") == 0)
        return time_parse_ago(s, now, ret, err);

    const char *p = s;
    struct tm tm = {0};
    tm.tm_year = read_digits(&p, 4) - 1900;
    if (*p++ != '-')
        return time_bad(s, err);
    tm.tm_mon = read_digits(&p, 2) - 1;
    if (*p++ != '-')
        return time_bad(s, err);
    tm.tm_mday = read_digits(&p, 2);
    if (*p != ' ' && *p != 'T' && *p != 't')
        return time_bad(s, err);
    p++;
    tm.tm_hour = read_digits(&p, 2);
    if (*p++ != ':')
        return time_bad(s, err);
    tm.tm_min = read_digits(&p, 2);
    if (*p == ':') {
        p++;
        tm.tm_sec = read_digits(&p, 2);
    }
    TimeUs micros = 0;
    if (*p == '.') {
        TimeUs scale = US_PER_SECOND / 10;
        for (p++; isdigit((unsigned char)*p); p++, scale /= 10)
            micros += scale * (*p - '0');
    }
    if (!tm_valid(&tm))
        return time_bad(s, err);
    if (!*p) {
        err_set(err, ERR_USAGE, "the time '%s' has no zone", s);
        return err_hint(err, "say which one: '%sZ' for UTC, or for example '%s+01'", s, s);
    }
    int offset;
    if (!zone_parse(p, &offset))
        return time_bad(s, err);
    *ret = ((TimeUs)timegm(&tm) - offset) * US_PER_SECOND + micros;
    return ERR_OK;
}

const char *duration_format(TimeUs us, char *out)
{
    double s = (double)us / (double)US_PER_SECOND;
    if (us < 1000)
        snprintf(out, TIME_TEXT_LEN, "%lld us", (long long)us);
    else if (s < 1)
        snprintf(out, TIME_TEXT_LEN, "%.0f ms", s * 1000);
    else if (s < 60)
        snprintf(out, TIME_TEXT_LEN, "%.1f s", s);
    else if (s < 3600)
        snprintf(out, TIME_TEXT_LEN, "%d min %d s", (int)s / 60, (int)s % 60);
    else
        snprintf(out, TIME_TEXT_LEN, "%lld h %d min", (long long)(s / 3600), (int)(s / 60) % 60);
    return out;
}

const char *size_format(uint64_t bytes, char *out)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)bytes;
    size_t u = 0;
    while (v >= 1023.95 && u < ARRAY_LEN(units) - 1) {
        v /= 1024;
        u++;
    }
    if (u)
        snprintf(out, TIME_TEXT_LEN, "%.1f %s", v, units[u]);
    else
        snprintf(out, TIME_TEXT_LEN, "%llu B", (unsigned long long)bytes);
    return out;
}
