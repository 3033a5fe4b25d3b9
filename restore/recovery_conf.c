#include "restore/recovery_conf.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "lib/common/buf.h"

void conf_settings_release(ConfSettings *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->at[i].value);
    vec_release(s);
}

void conf_set(ConfSettings *s, const char *name, char *value)
{
    vec_push(s, (ConfSetting){.name = name, .value = value});
}

/* The settings that decide how recovery goes and ends; what a former restore left must not add to
 * what this one says. */
static bool is_recovery_setting(const char *name)
{
    static const char *const names[] = {"restore_command", "archive_cleanup_command",
                                        "recovery_end_command", "recovery_min_apply_delay"};
    if (strncasecmp(name, "recovery_target", 15) == 0)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return false;
}

static char *line_name(const char *line, size_t len)
{
    size_t begin = 0;
    while (begin < len && isspace((unsigned char)line[begin]))
        begin++;
    size_t end = begin;
    while (end < len && (isalnum((unsigned char)line[end]) || line[end] == '_' || line[end] == '.'))
        end++;
    return mem_strndup(line + begin, end - begin);
}

static bool line_goes(const char *name, const ConfSettings *settings)
{
    if (!*name)
        return false;
    if (is_recovery_setting(name))
        return true;
    for (size_t i = 0; i < settings->n; i++)
        if (strcasecmp(name, settings->at[i].name) == 0)
            return true;
    return false;
}

static bool is_own_comment(const char *line, size_t len)
{
    static const char own[] = "# " CONF_COMMENT;
    return len >= sizeof(own) - 1 && memcmp(line, own, sizeof(own) - 1) == 0;
}

static void append_setting(Buf *out, const ConfSetting *s)
{
    buf_printf(out, "%s = '", s->name);
    for (const char *p = s->value; *p; p++) {
        if (*p == '\'' || *p == '\\')
            buf_append_u8(out, (uint8_t)*p);
        buf_append_u8(out, (uint8_t)*p);
    }
    buf_append_str(out, "'\n");
}

char *recovery_conf_edit(const char *old, size_t len, const char *comment,
                         const ConfSettings *settings, StrList *dropped)
{
    Buf out AUTO(buf_release) = {0};
    for (size_t at = 0; at < len;) {
        const char *nl = memchr(old + at, '\n', len - at);
        size_t n = nl ? (size_t)(nl - (old + at)) : len - at;
        char *name AUTO(mem_freep) = line_name(old + at, n);
        if (line_goes(name, settings)) {
            vec_push(dropped, mem_strdup(name));
        } else if (!is_own_comment(old + at, n)) {
            buf_append(&out, old + at, n);
            buf_append_u8(&out, '\n');
        }
        at += n + 1;
    }
    buf_printf(&out, "# %s\n", comment);
    for (size_t i = 0; i < settings->n; i++)
        append_setting(&out, &settings->at[i]);
    return mem_strdup(buf_str(&out));
}
