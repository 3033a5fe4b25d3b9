#include "lib/pg/timeline.h"

#include <string.h>

/* Decimal, 1 to 2^32 − 1, at *s, which moves behind it. */
static bool parse_tli(const char **s, const char *end, uint32_t *ret)
{
    uint64_t v = 0;
    const char *p = *s;
    for (; p < end && *p >= '0' && *p <= '9' && v <= UINT32_MAX; p++)
        v = v * 10 + (uint64_t)(*p - '0');
    if (p == *s || v == 0 || v > UINT32_MAX)
        return false;
    *s = p;
    *ret = (uint32_t)v;
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* An LSN that ends at a blank or a comma, or at `end`; *s moves behind it. */
static bool parse_lsn(const char **s, const char *end, Lsn *ret)
{
    char text[LSN_TEXT_LEN];
    size_t n = 0;
    Err ignored;
    for (; *s < end && !is_blank(**s) && **s != ',' && n < sizeof(text) - 1; (*s)++)
        text[n++] = **s;
    text[n] = '\0';
    return lsn_parse(text, ret, &ignored) == ERR_OK && *ret != 0;
}

static void skip_blanks(const char **s, const char *end)
{
    while (*s < end && is_blank(**s))
        (*s)++;
}

/* A blank must stand behind the LSN: a file cut inside it would name another position. */
static bool parse_line(const char *at, const char *end, TimelineStep *ret)
{
    if (!parse_tli(&at, end, &ret->tli) || at == end || !is_blank(*at))
        return false;
    skip_blanks(&at, end);
    return parse_lsn(&at, end, &ret->until) && at < end && is_blank(*at);
}

/* Lowers switch points that lie behind a later one, and drops timelines that hold nothing. */
static void normalise(TimelinePath *path)
{
    Lsn next = 0;
    for (size_t i = path->n; i-- > 0;) {
        if (next && (path->at[i].until == 0 || path->at[i].until > next))
            path->at[i].until = next;
        next = path->at[i].until;
    }
    size_t kept = 0;
    Lsn entry = 0;
    for (size_t i = 0; i < path->n; i++) {
        TimelineStep step = path->at[i];
        if (step.until != 0 && step.until <= entry)
            continue;
        path->at[kept++] = step;
        entry = step.until;
    }
    path->n = kept;
}

ErrCode timeline_parse_history(uint32_t tli, const char *text, size_t len, TimelinePath *ret,
                               Err *err)
{
    AUTO(timeline_path_release) TimelinePath path = {0};
    const char *end = text + len;
    unsigned number = 0;
    for (const char *at = text; at < end;) {
        const char *eol = memchr(at, '\n', (size_t)(end - at));
        if (!eol)
            eol = end;
        const char *line = at;
        number++;
        at = eol < end ? eol + 1 : end;
        skip_blanks(&line, eol);
        if (line == eol || *line == '#')
            continue;
        TimelineStep step;
        if (!parse_line(line, eol, &step))
            return err_set(err, ERR_DAMAGED,
                           "history of timeline %u: line %u is not a timeline, a WAL position and "
                           "a reason",
                           tli, number);
        if (step.tli >= tli || (path.n && step.tli <= path.at[path.n - 1].tli))
            return err_set(err, ERR_DAMAGED,
                           "history of timeline %u: line %u names timeline %u, which cannot follow "
                           "there",
                           tli, number, step.tli);
        vec_push(&path, step);
    }
    vec_push(&path, (TimelineStep){.tli = tli});
    normalise(&path);
    *ret = path;
    path = (TimelinePath){0};
    return ERR_OK;
}

void timeline_path_single(uint32_t tli, TimelinePath *ret)
{
    *ret = (TimelinePath){0};
    vec_push(ret, (TimelineStep){.tli = tli});
}

uint32_t timeline_at(const TimelinePath *path, Lsn lsn)
{
    for (size_t i = 0; i < path->n; i++)
        if (path->at[i].until == 0 || lsn < path->at[i].until)
            return path->at[i].tli;
    return 0;
}

const TimelineStep *timeline_step(const TimelinePath *path, uint32_t tli)
{
    for (size_t i = 0; i < path->n; i++)
        if (path->at[i].tli == tli)
            return &path->at[i];
    return NULL;
}

Lsn timeline_entry(const TimelinePath *path, uint32_t tli)
{
    const TimelineStep *step = timeline_step(path, tli);
    return !step || step == path->at ? 0 : step[-1].until;
}

bool timeline_contains(const TimelinePath *path, uint32_t tli, Lsn lsn)
{
    const TimelineStep *step = timeline_step(path, tli);
    return step && lsn >= timeline_entry(path, tli) && (step->until == 0 || lsn <= step->until);
}

void timeline_path_format(const TimelinePath *path, Buf *out)
{
    for (size_t i = 0; i < path->n; i++) {
        const TimelineStep *step = &path->at[i];
        buf_printf(out, "%s%u", i ? "," : "", step->tli);
        if (step->until)
            buf_printf(out, "@" LSN_FMT, LSN_ARG(step->until));
    }
}

ErrCode timeline_path_parse(const char *s, TimelinePath *ret, Err *err)
{
    AUTO(timeline_path_release) TimelinePath path = {0};
    const char *at = s, *end = s + strlen(s);
    TimelineStep last = {0};
    do {
        TimelineStep step = {0};
        if (!parse_tli(&at, end, &step.tli) || step.tli <= last.tli)
            break;
        bool closed = at < end && *at == '@';
        if (closed && (at++, !parse_lsn(&at, end, &step.until) || step.until <= last.until))
            break;
        vec_push(&path, step);
        last = step;
        if (!closed && at == end) {
            *ret = path;
            path = (TimelinePath){0};
            return ERR_OK;
        }
        if (!closed)
            break;
    } while (at < end && *at++ == ',');
    err_set(err, ERR_USAGE, "'%.200s' is not a timeline path", s);
    return err_hint(err, "write it as 1@0/6000000,2@0/9000000,3");
}
