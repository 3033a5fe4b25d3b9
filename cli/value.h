#ifndef PGDR_CLI_VALUE_H
#define PGDR_CLI_VALUE_H

/* What is typed for an option, checked and turned into a number where it is one. */

#include "cli/option.h"
#include "lib/common/err.h"

typedef enum OptSource {
    FROM_NOWHERE, /* not set */
    FROM_DEFAULT,
    FROM_FALLBACK, /* an environment variable of others (.fallback) */
    FROM_FILE,
    FROM_ENVIRONMENT,
    FROM_COMMAND_LINE,
} OptSource;

/* Where a value stands, for messages. Strings are borrowed. */
typedef struct Origin {
    OptSource source;
    const char *file; /* FROM_FILE */
    int line;
    const char *variable; /* FROM_ENVIRONMENT, FROM_FALLBACK */
} Origin;

typedef struct Value {
    OptSource source;
    char *text;     /* as typed; a path made absolute; y or n; NULL while not set */
    int64_t number; /* bool, int, size in bytes, duration in microseconds, index of a choice */
    int line;       /* FROM_FILE */
    char *variable; /* FROM_ENVIRONMENT, FROM_FALLBACK; owned */
} Value;

void value_release(Value *v);

/*
 * Checks `text` for the option and replaces *v by it. A message names option, origin and what is
 * allowed, and repeats the text unless the option is secret. ERR_USAGE for the command line,
 * ERR_CONFIG otherwise. Relative paths are taken on the command line only, where a person sees the
 * current directory.
 */
MUST_CHECK ErrCode value_set(Value *v, OptId id, const char *text, const Origin *origin, Err *err);
/* The default, when there is one. */
void value_set_default(Value *v, OptId id);

/* " (in /etc/pgdr/pgdr.conf line 3)", " (from PGDR_JOBS)" or "" for the command line. */
#define ORIGIN_TEXT_LEN 512
const char *origin_format(const Origin *origin, char *out);
ErrCode origin_code(const Origin *origin);

/* "64MiB", "64M", "67108864": false when it is not a size below 2^63. */
bool size_parse(const char *s, int64_t *ret);
/* "14d", "30s", "500ms", "1h30min": false when it is not a duration. Microseconds. */
bool duration_parse(const char *s, int64_t *ret);
bool bool_parse(const char *s, int64_t *ret);
/* A name of a cluster or repository: letters, digits, '.', '_', '-', beginning with a letter or
 * digit, at most NAME_MAX_LEN. */
#define NAME_MAX_LEN 40
bool name_valid(const char *s);

#endif
