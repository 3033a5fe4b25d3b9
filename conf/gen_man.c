#include <string.h>

#include "cli/help.h"
#include "cli/wrap.h"
#include "conf/generate.h"
#include "lib/common/err.h"

/* The day of the version in configure.ac: a page made twice from one source must be the same. */
#define RELEASE_DATE "2026-11-23"

/* Text that roff shows as it is written. */
static void append_escaped(Buf *out, const char *text)
{
    bool word = true; /* a word begins here, and may come to begin a line */
    for (; *text; text++) {
        if (word && (*text == '.' || *text == '\''))
            buf_append_str(out, "\\&");
        word = *text == ' ' || *text == '\n';
        switch (*text) {
        case '\\':
            buf_append_str(out, "\\e");
            break;
        case '-':
            buf_append_str(out, "\\-");
            break;
        case '\'':
            buf_append_str(out, "\\(aq");
            break;
        case '`':
            buf_append_str(out, "\\(ga");
            break;
        case '~':
            buf_append_str(out, "\\(ti");
            break;
        case '^':
            buf_append_str(out, "\\(ha");
            break;
        default:
            buf_append_u8(out, (uint8_t)*text);
        }
    }
}

/* A paragraph, or several that an empty line parts. */
static void append_text(Buf *out, const char *text)
{
    for (const char *end; *text; text = end + strspn(end, "\n")) {
        end = strstr(text, "\n\n");
        if (!end)
            end = text + strlen(text);
        char *paragraph AUTO(mem_freep) = mem_strndup(text, (size_t)(end - text));
        Buf escaped AUTO(buf_release) = {0};
        append_escaped(&escaped, paragraph);
        wrap_append(out, buf_str(&escaped), 0, "", WRAP_WIDTH - 2);
        if (*end)
            buf_append_str(out, ".PP\n");
    }
}

static void append_bold(Buf *out, const char *text)
{
    buf_append_str(out, "\\fB");
    append_escaped(out, text);
    buf_append_str(out, "\\fR");
}

static void append_heading(Buf *out, const char *text)
{
    buf_append_str(out, ".SH ");
    append_escaped(out, text);
    buf_append_str(out, "\n");
}

static void append_example(Buf *out, const char *line)
{
    buf_append_str(out, "    ");
    append_escaped(out, line);
    buf_append_str(out, "\n");
}

/* "Takes --delta, --to …" : what only this and a few others take. */
static void append_own_options(Buf *out, CommandId id)
{
    Buf list AUTO(buf_release) = {0};
    for (int i = 0; i < OPT_COUNT; i++) {
        if (option_group((OptId)i) != GROUP_COMMAND || !option_taken((OptId)i, id))
            continue;
        buf_append_str(&list, list.len ? ", " : "");
        buf_append_str(&list, "\\fB");
        append_escaped(&list, "--");
        append_escaped(&list, options[i].name);
        buf_append_str(&list, "\\fR");
    }
    if (!list.len)
        return;
    buf_append_str(out, ".PP\nOptions of its own:\n");
    wrap_append(out, buf_str(&list), 0, "", WRAP_WIDTH - 2);
}

static void append_command(Buf *out, CommandId id)
{
    const Command *c = &commands[id];
    buf_append_str(out, ".SS ");
    append_escaped(out, c->name);
    if (c->args) {
        buf_append_str(out, " ");
        append_escaped(out, c->args);
    }
    buf_append_str(out, "\n");
    append_text(out, c->text);
    append_own_options(out, id);
    buf_append_str(out, ".PP\n.nf\n");
    for (size_t i = 0; i < COMMAND_EXAMPLES && c->examples[i]; i++)
        append_example(out, c->examples[i]);
    buf_append_str(out, ".fi\n");
}

/* "Set in [repo NAME], PGDR_URL or on the command line. Default: …" */
static void append_option_facts(Buf *out, OptId id)
{
    const Option *o = &options[id];
    char variable[OPTION_ENV_LEN];
    Buf text AUTO(buf_release) = {0};
    for (int c = 0; option_group(id) == GROUP_COMMAND && c < CMD_COUNT; c++)
        if (option_taken(id, (CommandId)c))
            buf_printf(&text, "%s%s", text.len ? ", " : "For ", commands[c].name);
    if (text.len)
        buf_append_str(&text, ". ");
    if (o->choices) {
        buf_append_str(&text, "Values:");
        for (size_t i = 0; o->choices[i]; i++)
            buf_printf(&text, "%s %s", i ? "," : "", o->choices[i]);
        buf_append_str(&text, ". ");
    }
    if (help_default(id))
        buf_printf(&text, "Default: %s. ", help_default(id));
    if (option_in_file(id))
        buf_printf(&text, "Set in %s, or with %s%s.", option_place(o->scope),
                   option_env_name(id, variable), o->secret ? "; not on the command line" : "");
    else if (option_in_environment(id))
        buf_printf(&text, "Also %s.", option_env_name(id, variable));
    if (!text.len)
        return;
    buf_append_str(out, ".br\n");
    append_text(out, buf_str(&text));
}

static void append_option(Buf *out, OptId id)
{
    const Option *o = &options[id];
    buf_append_str(out, ".TP\n");
    if (o->letter) {
        char letter[] = {'-', o->letter, '\0'};
        append_bold(out, letter);
        buf_append_str(out, ", ");
    }
    char *name AUTO(mem_freep) = mem_printf("%s%s",
                                            o->secret                        ? ""
                                            : o->type == TYPE_BOOL && o->def ? "--[no-]"
                                                                             : "--",
                                            o->name);
    append_bold(out, name);
    if (o->arg) {
        buf_append_str(out, o->secret ? " = \\fI" : "=\\fI");
        append_escaped(out, o->arg);
        buf_append_str(out, "\\fR");
    }
    buf_append_str(out, "\n");
    append_text(out, o->text);
    append_option_facts(out, id);
}

static void append_options(Buf *out)
{
    append_heading(out, "OPTIONS");
    append_text(out, "Options may stand before and behind the command, as --name=VALUE or --name "
                     "VALUE. A switch is turned off with --no-name. -- ends the options. One that "
                     "is given twice is an error, unless it may be repeated.");
    for (OptGroup group = 0; group < GROUP_COUNT; group++) {
        buf_printf(out, ".SS %s\n",
                   group == GROUP_COMMAND ? "For single commands" : option_group_title(group));
        for (int i = 0; i < OPT_COUNT; i++)
            if (option_group((OptId)i) == group)
                append_option(out, (OptId)i);
    }
}

static void append_item(Buf *out, const char *term, const char *text)
{
    buf_append_str(out, ".TP\n");
    append_bold(out, term);
    buf_append_str(out, "\n");
    append_text(out, text);
}

static void append_exit_status(Buf *out)
{
    append_heading(out, "EXIT STATUS");
    append_text(out, "0 only when all that was asked for is true. Each kind of error has a number "
                     "and a name (the code in JSON) that never change:");
    append_item(out, "0", "All that was asked for is true.");
    append_item(out, "1",
                "archive-get only: the file is provably absent, or this is a standby, "
                "which will ask again.");
    for (int code = ERR_OK + 1; code < ERR_CODES; code++) {
        char *term AUTO(mem_freep) =
            mem_printf("%d %s", err_exit_status((ErrCode)code), err_code_name((ErrCode)code));
        char *text AUTO(mem_freep) = mem_printf("%s.", err_meaning((ErrCode)code));
        if (*text >= 'a' && *text <= 'z')
            *text = (char)(*text - 'a' + 'A');
        append_item(out, term, text);
    }
    append_item(out, "254",
                "archive-get only: any doubt. PostgreSQL stops instead of going on "
                "without WAL that may exist.");
}

static void append_configuration(Buf *out)
{
    append_heading(out, "CONFIGURATION");
    append_text(
        out,
        "The command line goes before the environment, the environment before the configuration "
        "file, the file before the default. pgdr config shows every value in effect and where it "
        "comes from.\n\n"
        "The file has the sections [global], [repo NAME] for each repository and [cluster NAME] "
        "for each cluster, with one key = value a line. The value is all that stands behind the "
        "equals sign: there are no quotes, and no comments behind a value. Lines that begin with # "
        "or ; are comments. An unknown key or section is an error. It may be the same on every "
        "host.\n\n"
        "Sizes take B, KiB, MiB, GiB and TiB (powers of 1024; K, M and KB, MB are the same). "
        "Durations need their unit: ms, s, min, h, d or w, also in a row (1h30min). Switches are y "
        "or n.");
    append_heading(out, "ENVIRONMENT");
    append_item(out, "PGDR_NAME",
                "Sets the option of that name, with _ for -: PGDR_JOBS, PGDR_CONFIG. What belongs "
                "to a repository or a cluster applies to the chosen one.");
    append_item(out, "PGDR_REPO_REPOSITORY_NAME",
                "Sets an option of one repository: PGDR_REPO_OFFSITE_S3_SECRET. All other "
                "characters than letters and digits in its name become _.");
    append_item(out, "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION",
                "Used for a repository in S3 that has none of its own.");
    append_text(out, "An empty variable counts as not set. Options for the command line only are "
                     "not read from the environment; a variable that means nothing is warned of.");
}

static void append_output(Buf *out)
{
    append_heading(out, "OUTPUT");
    append_text(
        out,
        "What was asked for goes to standard output, everything else to standard error. On a "
        "terminal that is progress, information and warnings. Otherwise (cron, systemd, "
        "PostgreSQL's archiver) it is warnings and errors only, unless --log-level says more; then "
        "progress is a line every half minute. Errors are followed by a HINT where there is "
        "something to type next.\n\n"
        "SIGINT, SIGTERM and SIGHUP end the work in order, a second SIGINT at once.");
}

void generate_man(Buf *out)
{
    buf_append_str(out, ".\\\" Made from the tables of commands, options and errors.\n");
    buf_append_str(out, ".TH PGDR 1 \"" RELEASE_DATE "\" \"pgdr " PACKAGE_VERSION "\"\n"
                        ".SH NAME\n"
                        "pgdr \\- backup, point\\-in\\-time recovery and disaster recovery for "
                        "PostgreSQL\n"
                        ".SH SYNOPSIS\n"
                        ".B pgdr\n"
                        "[\\fIOPTION\\fR]... \\fICOMMAND\\fR [\\fIARGUMENT\\fR]...\n");
    append_heading(out, "DESCRIPTION");
    append_text(out, "pgdr keeps backups and WAL of PostgreSQL clusters in repositories, which are "
                     "directories or S3 buckets, and restores a cluster from them to any moment of "
                     "its recovery window.");
    append_heading(out, "COMMANDS");
    for (int i = 0; i < CMD_COUNT; i++)
        append_command(out, (CommandId)i);
    append_options(out);
    append_configuration(out);
    append_output(out);
    append_exit_status(out);
    append_heading(out, "FILES");
    append_item(out, CONFIG_PATH,
                "The configuration, unless --config or PGDR_CONFIG names "
                "another.");
    append_heading(out, "SEE ALSO");
    buf_append_str(out, ".BR psql (1),\n.BR pg_basebackup (1)\n");
}
