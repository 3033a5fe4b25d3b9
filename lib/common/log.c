#include "lib/common/log.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/common/buf.h"
#include "lib/common/timeutil.h"

static LogLevel log_level = LOG_INFO;
static LogFormat log_format = LOG_PLAIN;
static int log_fd = -1; /* nothing is logged before log_init() */
static void (*log_before)(void), (*log_after)(void);

static const char *const level_names[] = {"ERROR", "WARNING", "INFO", "DEBUG"};

void log_init(LogLevel level, LogFormat format, int fd)
{
    log_level = level;
    log_format = format;
    log_fd = fd;
}

bool log_enabled(LogLevel level)
{
    return log_fd >= 0 && level <= log_level;
}

void log_around_line(void (*before)(void), void (*after)(void))
{
    log_before = before;
    log_after = after;
}

static void log_format_json(Buf *out, LogLevel level, const char *text, const char *hint)
{
    char when[TIME_TEXT_LEN];
    json_t *line = json_pack("{s:s,s:s,s:i,s:s}", "time", time_format_rfc3339(time_now(), when),
                             "level", level_names[level], "pid", (int)getpid(), "message", text);
    if (!line) { /* the message is not UTF-8 */
        buf_append_str(out, "{\"level\":\"ERROR\",\"message\":\"unprintable message\"}\n");
        return;
    }
    if (hint && *hint)
        json_object_set_new(line, "hint", json_string(hint));
    char *s = json_dumps(line, JSON_COMPACT);
    buf_append_str(out, s ? s : "{}");
    buf_append_str(out, "\n");
    free(s);
    json_decref(line);
}

static void log_format_text(Buf *out, LogLevel level, const char *text, const char *hint)
{
    char when[TIME_TEXT_LEN];
    if (log_format == LOG_TEXT)
        buf_printf(out, "%s pgdr[%d]: ", time_format_utc(time_now(), false, when), (int)getpid());
    else
        buf_append_str(out, "pgdr: ");
    buf_printf(out, "%s: %s\n", level_names[level], text);
    if (hint && *hint)
        buf_printf(out, "%sHINT: %s\n", log_format == LOG_TEXT ? "\t" : "      ", hint);
}

void log_line(LogLevel level, const char *hint, const char *fmt, ...)
{
    if (!log_enabled(level))
        return;
    int saved_errno = errno;
    char text[sizeof(((Err *)0)->message) + 256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);

    Buf out AUTO(buf_release) = {0};
    if (log_format == LOG_JSON)
        log_format_json(&out, level, text, hint);
    else
        log_format_text(&out, level, text, hint);
    if (log_before)
        log_before();
    for (size_t off = 0; off < out.len;) {
        ssize_t n = write(log_fd, out.data + off, out.len - off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break; /* there is nowhere left to say so */
        off += (size_t)n;
    }
    if (log_after)
        log_after();
    errno = saved_errno;
}
