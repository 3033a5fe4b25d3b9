/* pgdr help [COMMAND|OPTION] */

#include <string.h>

#include "cli/cli.h"
#include "cli/help.h"
#include "cli/suggest.h"

static json_t *option_json(OptId id)
{
    const Option *o = &options[id];
    json_t *j = json_pack("{s:s,s:s?,s:s?,s:s,s:s}", "name", o->name, "arg", o->arg, "default",
                          help_default(id), "summary", o->help, "text", o->text);
    if (o->type == TYPE_CHOICE) {
        json_t *choices = json_array();
        for (size_t i = 0; o->choices[i]; i++)
            json_array_append_new(choices, json_string(o->choices[i]));
        json_object_set_new(j, "choices", choices);
    }
    return j;
}

static json_t *command_json(CommandId id, bool whole)
{
    const Command *c = &commands[id];
    json_t *j =
        json_pack("{s:s,s:s?,s:s}", "name", c->name, "args", c->args, "summary", c->summary);
    if (!whole)
        return j;
    json_t *list = json_array(), *examples = json_array();
    for (int i = 0; i < OPT_COUNT; i++)
        if (option_taken((OptId)i, id) && !options[i].secret)
            json_array_append_new(list, option_json((OptId)i));
    for (size_t i = 0; i < COMMAND_EXAMPLES && c->examples[i]; i++)
        json_array_append_new(examples, json_string(c->examples[i]));
    json_object_set_new(j, "text", json_string(c->text));
    json_object_set_new(j, "options", list);
    json_object_set_new(j, "examples", examples);
    return j;
}

static void show_all(Cli *cli, Buf *text)
{
    json_t *list = json_array();
    for (int i = 0; i < CMD_COUNT; i++)
        json_array_append_new(list, command_json((CommandId)i, false));
    json_object_set_new(out_doc(&cli->out), "commands", list);
    help_overview(text);
}

/* "repo": both of its commands. */
static bool show_group(Cli *cli, const char *word, Buf *text)
{
    if (!command_is_group(word))
        return false;
    json_t *list = json_array();
    for (int i = 0; i < CMD_COUNT; i++) {
        const char *name = commands[i].name;
        if (strncmp(name, word, strlen(word)) != 0 || name[strlen(word)] != ' ')
            continue;
        buf_append_str(text, text->len ? "\n\n" : "");
        help_command(text, (CommandId)i);
        json_array_append_new(list, command_json((CommandId)i, true));
    }
    json_object_set_new(out_doc(&cli->out), "commands", list);
    return true;
}

/* An option's name is enough, with or without dashes; backup's and restore's --type are two. */
static bool show_option(Cli *cli, const char *word, Buf *text)
{
    json_t *list = json_array();
    for (int i = 0; i < OPT_COUNT; i++) {
        if (strcmp(options[i].name, word) != 0)
            continue;
        buf_append_str(text, text->len ? "\n\n" : "");
        help_option(text, (OptId)i);
        json_array_append_new(list, option_json((OptId)i));
    }
    json_object_set_new(out_doc(&cli->out), "options", list);
    return text->len > 0;
}

static ErrCode show_what(Cli *cli, const char *words, Buf *text, Err *err)
{
    for (int i = 0; i < CMD_COUNT; i++) {
        if (strcmp(commands[i].name, words) != 0)
            continue;
        json_object_set_new(out_doc(&cli->out), "command", command_json((CommandId)i, true));
        help_command(text, (CommandId)i);
        return ERR_OK;
    }
    if (show_group(cli, words, text) || show_option(cli, words, text))
        return ERR_OK;
    err_set(err, ERR_USAGE, "there is no command or option '%.100s'", words);
    const char *near = command_suggest(words);
    if (!near)
        near = option_suggest(words, CMD_COUNT);
    if (near)
        return err_hint(err, "did you mean pgdr help %s?", near);
    return err_hint(err, "pgdr help lists the commands");
}

ErrCode cmd_help(Cli *cli, Err *err)
{
    Buf words AUTO(buf_release) = {0}, text AUTO(buf_release) = {0};
    for (size_t i = 0; i < cli->n_args; i++)
        buf_printf(&words, "%s%s", i ? " " : "", cli->args[i]);
    if (words.len)
        TRY(show_what(cli, buf_str(&words), &text, err));
    else
        show_all(cli, &text);
    out_text(&cli->out, "%s", buf_str(&text));
    return ERR_OK;
}
