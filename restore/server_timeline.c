#include "restore/server_timeline.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "lib/common/file.h"

#define SETTING "recovery_target_timeline"
#define CONF_MAX (4 * MIB)
#define OPTS_MAX (64 * KIB)

/* The value of "name = value" in one line of a configuration file, or NULL; the caller frees. */
static char *line_value(const char *line, size_t len, const char *name)
{
    const char *p = line, *end = line + len;
    size_t n = strlen(name);
    while (p < end && isspace((unsigned char)*p))
        p++;
    if ((size_t)(end - p) <= n || strncasecmp(p, name, n) != 0)
        return NULL;
    p += n;
    if (*p != '=' && !isspace((unsigned char)*p))
        return NULL;
    while (p < end && (isspace((unsigned char)*p) || *p == '='))
        p++;
    if (p < end && *p == '\'') {
        p++;
        const char *close = memchr(p, '\'', (size_t)(end - p));
        return close ? mem_strndup(p, (size_t)(close - p)) : NULL;
    }
    const char *stop = p;
    while (stop < end && !isspace((unsigned char)*stop) && *stop != '#')
        stop++;
    return mem_strndup(p, (size_t)(stop - p));
}

/* The last value that a file gives counts. */
static char *file_value(const char *path, const char *name)
{
    Buf text AUTO(buf_release) = {0};
    Err err;
    char *value = NULL;
    if (file_read_all(path, CONF_MAX, &text, &err) != ERR_OK)
        return NULL;
    for (size_t at = 0; at < text.len;) {
        const uint8_t *nl = memchr(text.data + at, '\n', text.len - at);
        size_t len = nl ? (size_t)(nl - (text.data + at)) : text.len - at;
        char *v = line_value((const char *)text.data + at, len, name);
        if (v) {
            free(value);
            value = v;
        }
        at += len + 1;
    }
    return value;
}

/* postmaster.opts holds the command line, each argument in double quotes. */
static char *option_value(const char *data_dir, const char *name)
{
    Buf text AUTO(buf_release) = {0};
    Err err;
    char *path AUTO(mem_freep) = path_join(data_dir, "postmaster.opts");
    char *key AUTO(mem_freep) = mem_printf("%s=", name);
    if (file_read_all(path, OPTS_MAX, &text, &err) != ERR_OK)
        return NULL;
    const char *at = strstr(buf_str(&text), key);
    if (!at)
        return NULL;
    at += strlen(key);
    return mem_strndup(at, strcspn(at, "\"\n"));
}

/* What the server goes by, as far as its files tell; NULL when it is not set. */
static char *server_setting(const char *data_dir, const char *name)
{
    char *value = option_value(data_dir, name);
    if (value)
        return value;
    char *autoconf AUTO(mem_freep) = path_join(data_dir, "postgresql.auto.conf");
    value = file_value(autoconf, name);
    if (value)
        return value;
    char *conf AUTO(mem_freep) = option_value(data_dir, "config_file");
    if (!conf)
        conf = path_join(data_dir, "postgresql.conf");
    return file_value(conf, name);
}

char *server_target_timeline(const char *data_dir)
{
    char *value = server_setting(data_dir, SETTING);
    return value ? value : mem_strdup("latest");
}

bool server_has_target(const char *data_dir)
{
    static const char *const names[] = {"recovery_target_lsn", "recovery_target"};
    bool has = false;
    for (size_t i = 0; i < ARRAY_LEN(names) && !has; i++) {
        char *value AUTO(mem_freep) = server_setting(data_dir, names[i]);
        has = value && *value;
    }
    return has;
}

ErrCode server_timeline_path(const char *setting, const PgControl *control, Lsn reached,
                             const Lineage *lineage, TimelinePath *ret, Err *err)
{
    uint32_t own = MAX(control->checkpoint_tli, control->min_recovery_tli);
    char *end;
    unsigned long tli = strtoul(setting, &end, 0);
    if (strcasecmp(setting, "current") == 0)
        return lineage_path(lineage, own, ret, err);
    if (!*setting || strcasecmp(setting, "latest") == 0)
        return lineage_path(lineage, lineage_latest_at(lineage, own, reached), ret, err);
    if (*end || tli == 0 || tli > UINT32_MAX)
        return err_set(err, ERR_CONFIG,
                       "recovery_target_timeline = '%s' of the server is no "
                       "timeline",
                       setting);
    return lineage_path(lineage, (uint32_t)tli, ret, err);
}
