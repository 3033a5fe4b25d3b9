#include "cli/value.h"

#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/common/file.h"
#include "lib/common/mem.h"
#include "lib/common/timeutil.h"

void value_release(Value *v)
{
    free(v->text);
    free(v->variable);
    *v = (Value){0};
}

const char *origin_format(const Origin *origin, char *out)
{
    if (origin->source == FROM_FILE)
        snprintf(out, ORIGIN_TEXT_LEN, " (in %s line %d)", origin->file, origin->line);
    else if (origin->source == FROM_ENVIRONMENT || origin->source == FROM_FALLBACK)
        snprintf(out, ORIGIN_TEXT_LEN, " (from %s)", origin->variable);
    else
        out[0] = '\0';
    return out;
}

ErrCode origin_code(const Origin *origin)
{
    return origin->source == FROM_COMMAND_LINE ? ERR_USAGE : ERR_CONFIG;
}

/* Digits at *p; moves behind them. False when there are none or too many. */
static bool whole_number(const char **p, int64_t *ret)
{
    int64_t n = 0;
    const char *start = *p;
    for (; isdigit((unsigned char)**p); (*p)++)
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, **p - '0', &n))
            return false;
    *ret = n;
    return *p > start;
}

typedef struct Unit {
    const char *name;
    int64_t factor;
} Unit;

/* The unit at *p (letters), without regard to case when `any_case`; moves behind it. */
static bool unit_parse(const char **p, const Unit *units, size_t n, bool any_case, int64_t *ret)
{
    size_t len = 0;
    while (isalpha((unsigned char)(*p)[len]))
        len++;
    for (size_t i = 0; i < n; i++) {
        if (strlen(units[i].name) != len ||
            (any_case ? strncasecmp(*p, units[i].name, len) : strncmp(*p, units[i].name, len)) != 0)
            continue;
        *ret = units[i].factor;
        *p += len;
        return true;
    }
    return false;
}

bool size_parse(const char *s, int64_t *ret)
{
    /* As PostgreSQL and pgBackRest do, all units are powers of 1024. */
    static const Unit units[] = {
        {"", 1},
        {"b", 1},
        {"k", INT64_C(1) << 10},
        {"kb", INT64_C(1) << 10},
        {"kib", INT64_C(1) << 10},
        {"m", INT64_C(1) << 20},
        {"mb", INT64_C(1) << 20},
        {"mib", INT64_C(1) << 20},
        {"g", INT64_C(1) << 30},
        {"gb", INT64_C(1) << 30},
        {"gib", INT64_C(1) << 30},
        {"t", INT64_C(1) << 40},
        {"tb", INT64_C(1) << 40},
        {"tib", INT64_C(1) << 40},
        {"p", INT64_C(1) << 50},
        {"pb", INT64_C(1) << 50},
        {"pib", INT64_C(1) << 50},
    };
    int64_t n, factor;
    if (!whole_number(&s, &n))
        return false;
    while (*s == ' ')
        s++;
    if (!unit_parse(&s, units, ARRAY_LEN(units), true, &factor) || *s)
        return false;
    return !__builtin_mul_overflow(n, factor, ret);
}

bool duration_parse(const char *s, int64_t *ret)
{
    /* A bare number is refused: "14" days and "14" seconds are both too easy to mean. */
    static const Unit units[] = {
        {"ms", 1000},
        {"s", US_PER_SECOND},
        {"m", 60 * US_PER_SECOND},
        {"min", 60 * US_PER_SECOND},
        {"h", 3600 * US_PER_SECOND},
        {"d", 86400 * US_PER_SECOND},
        {"w", 7 * 86400 * US_PER_SECOND},
    };
    int64_t total = 0;
    do {
        int64_t n, factor;
        if (!whole_number(&s, &n))
            return false;
        while (*s == ' ')
            s++;
        if (!unit_parse(&s, units, ARRAY_LEN(units), false, &factor) ||
            __builtin_mul_overflow(n, factor, &n) || __builtin_add_overflow(total, n, &total))
            return false;
        while (*s == ' ')
            s++;
    } while (*s);
    *ret = total;
    return true;
}

bool bool_parse(const char *s, int64_t *ret)
{
    static const char *const no[] = {"n", "no", "false", "off", "0"};
    static const char *const yes[] = {"y", "yes", "true", "on", "1"};
    for (size_t i = 0; i < ARRAY_LEN(no); i++) {
        if (strcasecmp(s, no[i]) != 0 && strcasecmp(s, yes[i]) != 0)
            continue;
        *ret = strcasecmp(s, yes[i]) == 0;
        return true;
    }
    return false;
}

bool name_valid(const char *s)
{
    size_t len = strlen(s);
    if (!len || len > NAME_MAX_LEN || !isalnum((unsigned char)*s))
        return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && !strchr("._-", *s))
            return false;
    return true;
}

/* --- what must hold, in words: "a whole number from 1 to 256" --- */

#define RULE_LEN 256

static void rule_size(int64_t bytes, char *out)
{
    size_format((uint64_t)bytes, out);
    char *zero = strstr(out, ".0 ");
    if (zero)
        memmove(zero, zero + 2, strlen(zero + 2) + 1);
}

static void rule_duration(int64_t us, char *out)
{
    static const Unit units[] = {{"d", 86400 * US_PER_SECOND},
                                 {"h", 3600 * US_PER_SECOND},
                                 {"min", 60 * US_PER_SECOND},
                                 {"s", US_PER_SECOND},
                                 {"ms", 1000}};
    size_t i = 0;
    while (i < ARRAY_LEN(units) - 1 && (us < units[i].factor || us % units[i].factor))
        i++;
    snprintf(out, TIME_TEXT_LEN, "%lld%s", (long long)(us / units[i].factor), units[i].name);
}

static void rule_choices(const Option *o, char *out)
{
    int n = 0;
    for (size_t i = 0; o->choices[i] && n < RULE_LEN; i++)
        n += snprintf(out + n, (size_t)(RULE_LEN - n), "%s%s",
                      !i                  ? ""
                      : o->choices[i + 1] ? ", "
                                          : " or ",
                      o->choices[i]);
}

static const char *rule_format(const Option *o, bool relative, char *out)
{
    char from[TIME_TEXT_LEN], to[TIME_TEXT_LEN];
    const char *text = "";
    switch (o->type) {
    case TYPE_BOOL:
        text = "y or n";
        break;
    case TYPE_INT:
        snprintf(out, RULE_LEN, "a whole number from %lld to %lld", (long long)o->min,
                 (long long)o->max);
        return out;
    case TYPE_SIZE:
        rule_size(o->min, from);
        rule_size(o->max, to);
        snprintf(out, RULE_LEN, "a size such as 64MiB, from %s to %s", from, to);
        return out;
    case TYPE_DURATION:
        rule_duration(o->min, from);
        rule_duration(o->max, to);
        snprintf(out, RULE_LEN,
                 "a duration with its unit such as 30s, 5min, 2h or 14d, from %s to %s", from, to);
        return out;
    case TYPE_CHOICE:
        rule_choices(o, out);
        return out;
    case TYPE_NAME:
        text = "a name of up to 40 letters, digits, '.', '_' and '-' that begins with a letter or "
               "digit";
        break;
    case TYPE_PATH:
        text = relative ? "a path" : "an absolute path";
        break;
    case TYPE_URL:
        text = relative ? "a directory or s3://BUCKET/PREFIX"
                        : "an absolute path or s3://BUCKET/PREFIX";
        break;
    case TYPE_TEXT:
    case TYPE_LIST:
        text = "a line of text";
        break;
    }
    snprintf(out, RULE_LEN, "%s", text);
    return out;
}

/* --- the check itself --- */

static bool in_bounds(const Option *o, int64_t n)
{
    return n >= o->min && n <= o->max;
}

static bool choice_parse(const Option *o, const char *s, int64_t *ret)
{
    for (int i = 0; o->choices[i]; i++) {
        if (strcmp(o->choices[i], s) == 0) {
            *ret = i;
            return true;
        }
    }
    return false;
}

static bool url_valid(const char *s, bool relative)
{
    if (strncmp(s, "s3://", 5) == 0)
        return s[5] && s[5] != '/';
    return !strstr(s, "://") && (*s == '/' || relative);
}

/* Absolute form; NULL when the path is relative and may not be, or to a directory that is gone. */
static char *path_keep(const char *s, bool relative)
{
    if (*s == '/')
        return mem_strdup(s);
    char *cwd AUTO(mem_freep) = relative ? getcwd(NULL, 0) : NULL;
    return cwd ? path_absolute(s) : NULL;
}

/* Fills *ret_number, and *ret_text with what is kept when that is not `s` itself. */
static bool value_parse(const Option *o, const char *s, bool relative, int64_t *ret_number,
                        char **ret_text)
{
    const char *p = s;
    if (!*s || strpbrk(s, "\r\n"))
        return false;
    switch (o->type) {
    case TYPE_BOOL:
        if (!bool_parse(s, ret_number))
            return false;
        *ret_text = mem_strdup(*ret_number ? "y" : "n");
        return true;
    case TYPE_INT:
        return whole_number(&p, ret_number) && !*p && in_bounds(o, *ret_number);
    case TYPE_SIZE:
        return size_parse(s, ret_number) && in_bounds(o, *ret_number);
    case TYPE_DURATION:
        return duration_parse(s, ret_number) && in_bounds(o, *ret_number);
    case TYPE_CHOICE:
        return choice_parse(o, s, ret_number);
    case TYPE_NAME:
        return name_valid(s);
    case TYPE_URL:
        if (!url_valid(s, relative))
            return false;
        if (strncmp(s, "s3://", 5) == 0)
            return true;
        return (*ret_text = path_keep(s, relative)) != NULL;
    case TYPE_PATH:
        return (*ret_text = path_keep(s, relative)) != NULL;
    case TYPE_TEXT:
    case TYPE_LIST:
        return true;
    }
    return false;
}

static ErrCode value_refuse(const Option *o, const char *text, const Origin *origin, Err *err)
{
    char where[ORIGIN_TEXT_LEN], rule[RULE_LEN];
    bool typed = origin->source == FROM_COMMAND_LINE;
    const char *open = typed ? "--" : "\"", *close = typed ? "" : "\"";
    origin_format(origin, where);
    rule_format(o, typed, rule);
    if (!*text)
        return err_set(err, origin_code(origin), "%s%s%s needs a value: %s%s", open, o->name, close,
                       rule, where);
    if (o->secret)
        return err_set(err, origin_code(origin), "%s%s%s must be %s%s", open, o->name, close, rule,
                       where);
    return err_set(err, origin_code(origin), "%s%s%s must be %s, not \"%.200s\"%s", open, o->name,
                   close, rule, text, where);
}

ErrCode value_set(Value *v, OptId id, const char *text, const Origin *origin, Err *err)
{
    const Option *o = &options[id];
    int64_t number = 0;
    char *kept AUTO(mem_freep) = NULL;
    if (!value_parse(o, text, origin->source == FROM_COMMAND_LINE, &number, &kept))
        return value_refuse(o, text, origin, err);
    value_release(v);
    v->source = origin->source;
    v->text = kept ? steal_ptr(&kept) : mem_strdup(text);
    v->number = number;
    v->line = origin->line;
    v->variable = origin->variable ? mem_strdup(origin->variable) : NULL;
    return ERR_OK;
}

static int64_t cpu_count(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    return MAX(n, 1);
}

void value_set_default(Value *v, OptId id)
{
    const Option *o = &options[id];
    Origin origin = {.source = FROM_DEFAULT};
    Err ignored;
    if (id == OPT_JOBS) {
        v->source = FROM_DEFAULT;
        v->number = MIN(cpu_count(), o->max);
        v->text = mem_printf("%lld", (long long)v->number);
    } else if (o->def && value_set(v, id, o->def, &origin, &ignored) != ERR_OK) {
        abort(); /* the table is wrong; a unit test reads all defaults */
    }
}
