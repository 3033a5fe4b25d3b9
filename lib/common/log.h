#ifndef PGDR_COMMON_LOG_H
#define PGDR_COMMON_LOG_H

/*
 * The log: whole lines on one descriptor (standard error), each written by a single write(2), so
 * that lines of several threads and processes do not mix. cli/ chooses level and format once at
 * the start; below it only the log_* macros are used. PostgreSQL's log is where archive_command's
 * lines end up, so a line says who is speaking.
 */

#include "lib/common/err.h"

typedef enum LogLevel { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG } LogLevel;
/* LOG_PLAIN: "pgdr: WARNING: …" for a terminal; LOG_TEXT adds time and process id. */
typedef enum LogFormat { LOG_PLAIN, LOG_TEXT, LOG_JSON } LogFormat;

void log_init(LogLevel level, LogFormat format, int fd);
bool log_enabled(LogLevel level);
/* Called before and after a line is written, to push a progress line on a terminal aside; both or
 * neither. Set while no other thread logs. */
void log_around_line(void (*before)(void), void (*after)(void));

void log_line(LogLevel level, const char *hint, const char *fmt, ...) PRINTF_LIKE(3, 4);

#define log_error(...) log_line(LOG_ERROR, NULL, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, NULL, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, NULL, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, NULL, __VA_ARGS__)
/* Message and hint of an error that is handled here (retried, or worked around). */
#define log_err(level, err) log_line(level, (err)->hint, "%s", (err)->message)

#endif
