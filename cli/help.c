#include "cli/help.h"

#include <string.h>

#include "cli/wrap.h"

#define OPTION_COLUMN 30 /* where the text of an option begins */
#define COMMAND_COLUMN 16

static const char blanks[] = "                                ";

OptGroup option_group(OptId id)
{
    if (id == OPT_CLUSTER || options[id].scope == IN_CLUSTER)
        return GROUP_CLUSTER;
    if (id == OPT_REPO || options[id].scope == IN_REPO)
        return GROUP_REPO;
    if (options[id].scope == ON_COMMAND_LINE && !(options[id].commands & ANY_COMMAND))
        return GROUP_COMMAND;
    return GROUP_GENERAL;
}

const char *option_group_title(OptGroup group)
{
    static const char *const titles[GROUP_COUNT] = {"Options", "Cluster", "Repository", "General"};
    return titles[group];
}

void help_synopsis(Buf *out, CommandId id)
{
    buf_printf(out, "pgdr [OPTION]... %s", commands[id].name);
    if (commands[id].args)
        buf_printf(out, " %s", commands[id].args);
}

void help_option_form(Buf *out, OptId id)
{
    const Option *o = &options[id];
    if (o->letter)
        buf_printf(out, "-%c, ", o->letter);
    buf_printf(out, "--%s%s", o->type == TYPE_BOOL && o->def ? "[no-]" : "", o->name);
    if (o->arg)
        buf_printf(out, "=%s", o->arg);
}

const char *help_default(OptId id)
{
    return options[id].def_text ? options[id].def_text : options[id].def;
}

static void append_choices(Buf *out, const Option *o)
{
    for (size_t i = 0; o->choices[i]; i++)
        buf_printf(out, "%s%s", !i ? "" : o->choices[i + 1] ? ", " : " or ", o->choices[i]);
}

/* Goes to `column`, on a new line when the text is already there. */
static void append_to_column(Buf *out, size_t line_start, size_t column)
{
    if (out->len - line_start + 2 > column)
        buf_printf(out, "\n%.*s", (int)column, blanks);
    else
        buf_printf(out, "%.*s", (int)(column - (out->len - line_start)), blanks);
}

static void help_option_line(Buf *out, OptId id)
{
    const Option *o = &options[id];
    Buf text AUTO(buf_release) = {0};
    size_t start = out->len;
    buf_append_str(out, o->letter ? "  " : "      ");
    help_option_form(out, id);
    append_to_column(out, start, OPTION_COLUMN);

    buf_append_str(&text, o->help);
    if (o->type == TYPE_CHOICE) {
        buf_append_str(&text, ": ");
        append_choices(&text, o);
    }
    if (help_default(id))
        buf_printf(&text, " [%s]", help_default(id));
    char prefix[OPTION_COLUMN + 1];
    memcpy(prefix, blanks, OPTION_COLUMN);
    prefix[OPTION_COLUMN] = '\0';
    wrap_append(out, buf_str(&text), OPTION_COLUMN, prefix, WRAP_WIDTH);
}

static void help_options(Buf *out, CommandId command)
{
    for (OptGroup group = 0; group < GROUP_COUNT; group++) {
        bool titled = false;
        for (int i = 0; i < OPT_COUNT; i++) {
            OptId id = (OptId)i;
            /* Secrets are options of the file and the environment. */
            if (option_group(id) != group || !option_taken(id, command) || options[id].secret)
                continue;
            if (!titled)
                buf_printf(out, "\n%s:\n", option_group_title(group));
            titled = true;
            help_option_line(out, id);
        }
    }
}

void help_overview(Buf *out)
{
    buf_append_str(out, "pgdr: backup, point-in-time recovery and disaster recovery for "
                        "PostgreSQL\n\n"
                        "Usage: pgdr [OPTION]... COMMAND [ARGUMENT]...\n\n"
                        "Commands:\n");
    for (int i = 0; i < CMD_COUNT; i++) {
        size_t start = out->len;
        buf_printf(out, "  %s", commands[i].name);
        append_to_column(out, start, COMMAND_COLUMN);
        buf_printf(out, "%s\n", commands[i].summary);
    }
    buf_append_str(out, "\n");
    wrap_append(
        out,
        "pgdr help COMMAND (or pgdr COMMAND --help) explains a command, pgdr help OPTION an "
        "option, man pgdr everything. Settings are read from " CONFIG_PATH
        ", and pgdr config shows those in effect.",
        0, "", WRAP_WIDTH);
}

void help_command(Buf *out, CommandId id)
{
    const Command *c = &commands[id];
    buf_append_str(out, "Usage: ");
    help_synopsis(out, id);
    buf_append_str(out, "\n\n");
    wrap_append(out, c->text, 0, "", WRAP_WIDTH);
    help_options(out, id);
    buf_append_str(out, "\nExamples:\n");
    for (size_t i = 0; i < COMMAND_EXAMPLES && c->examples[i]; i++)
        buf_printf(out, "  %s\n", c->examples[i]);
}

static void append_commands(Buf *out, OptId id)
{
    if (options[id].commands & ANY_COMMAND) {
        buf_append_str(out, "Taken by: every command\n");
        return;
    }
    Buf list AUTO(buf_release) = {0};
    for (int c = 0; c < CMD_COUNT; c++)
        if (option_taken(id, (CommandId)c))
            buf_printf(&list, "%s%s", list.len ? ", " : "", commands[c].name);
    buf_append_str(out, "Taken by: ");
    wrap_append(out, buf_str(&list), 10, "  ", WRAP_WIDTH);
}

void help_option(Buf *out, OptId id)
{
    const Option *o = &options[id];
    char variable[OPTION_ENV_LEN];
    if (!o->secret) {
        help_option_form(out, id);
        buf_append_str(out, "\n");
    }
    if (option_in_file(id))
        buf_printf(out, "%s = %s  in %s of the configuration file\n", o->name,
                   o->arg ? o->arg : "y|n", option_place(o->scope));
    if (option_in_environment(id))
        buf_printf(out, "%s in the environment\n", option_env_name(id, variable));
    buf_append_str(out, "\n");
    wrap_append(out, o->text, 0, "", WRAP_WIDTH);
    buf_append_str(out, "\n");
    if (o->type == TYPE_CHOICE) {
        buf_append_str(out, "Values: ");
        append_choices(out, o);
        buf_append_str(out, "\n");
    }
    if (help_default(id))
        buf_printf(out, "Default: %s\n", help_default(id));
    if (!o->secret)
        append_commands(out, id);
}
