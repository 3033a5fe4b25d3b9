#include "cli/restore_command.h"

#include <ctype.h>
#include <string.h>

#include "lib/common/file.h"

/* For a shell inside single quotes, and for PostgreSQL, which expands %f and its kin. */
static void append_quoted(Buf *out, const char *text)
{
    buf_append_u8(out, '\'');
    for (const char *p = text; *p; p++) {
        if (*p == '\'')
            buf_append_str(out, "'\\''");
        else if (*p == '%')
            buf_append_str(out, "%%");
        else
            buf_append_u8(out, (uint8_t)*p);
    }
    buf_append_u8(out, '\'');
}

static void append_option(Buf *out, const char *name, const char *value)
{
    buf_printf(out, " --%s=", name);
    append_quoted(out, value);
}

static char *own_path(void)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (n <= 0)
        return mem_strdup("pgdr");
    path[n] = '\0';
    return mem_strdup(path);
}

static bool is_plain(const char *text)
{
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && !strchr("/._-+,:@", *text))
            return false;
    return true;
}

static void append_word(Buf *out, const char *text)
{
    if (is_plain(text))
        buf_append_str(out, text);
    else
        append_quoted(out, text);
}

char *archive_command_line(const Cli *cli)
{
    const Settings *s = cli->settings;
    Buf out AUTO(buf_release) = {0};
    char *self AUTO(mem_freep) = own_path();
    append_word(&out, self);
    if (s->file_exists && strcmp(s->file, CONFIG_PATH) != 0) {
        char *config AUTO(mem_freep) = path_absolute(s->file);
        buf_append_str(&out, " --config=");
        append_word(&out, config);
    }
    if (s->clusters.n != 1)
        buf_printf(&out, " --cluster=%s", opt_cluster(cli));
    buf_append_str(&out, " archive-push %p");
    Buf line AUTO(buf_release) = {0};
    buf_append_str(&line, "archive_command = '");
    for (const char *p = buf_str(&out); *p; p++)
        buf_printf(&line, *p == '\'' ? "''" : "%c", *p);
    buf_append_u8(&line, '\'');
    return mem_strdup(buf_str(&line));
}

static bool comes_with_this_call(const Value *v)
{
    return v->source == FROM_COMMAND_LINE || v->source == FROM_ENVIRONMENT ||
           v->source == FROM_FALLBACK;
}

static void append_repo_options(Buf *out, const Section *repo)
{
    for (int i = 0; i < OPT_COUNT; i++) {
        const Option *o = &options[i];
        const Value *v = &repo->at[i];
        if (o->scope != IN_REPO || !comes_with_this_call(v) ||
            !option_taken((OptId)i, CMD_ARCHIVE_GET))
            continue;
        if (o->secret)
            log_warn("%s comes from the environment: the restored server must have it, too",
                     o->name);
        else
            append_option(out, o->name, v->text);
    }
}

char *restore_command_make(const Cli *cli)
{
    const Settings *s = cli->settings;
    Buf out AUTO(buf_release) = {0};
    char *self AUTO(mem_freep) = own_path();
    append_quoted(&out, self);
    if (s->file_exists) {
        char *config AUTO(mem_freep) = path_absolute(s->file);
        append_option(&out, "config", config);
    }
    append_option(&out, "cluster", opt_cluster(cli));
    if (opt_typed(cli, OPT_REPO))
        append_option(&out, "repo", opt_text(cli, OPT_REPO));
    if (s->used.n == 1)
        append_repo_options(&out, s->used.at[0]);
    buf_append_str(&out, " archive-get");
    return mem_strdup(buf_str(&out));
}
