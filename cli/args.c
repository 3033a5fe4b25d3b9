#include "cli/args.h"

#include <stdio.h>
#include <string.h>

#include "lib/common/buf.h"

/* One option as it stands on the command line, before the command is known. */
typedef struct RawArg {
    const char *name; /* without the dashes */
    size_t len;
    const char *value; /* NULL when none was given */
    bool negated;      /* --no-name */
    char letter;       /* short form; then `name` is not set */
} RawArg;

typedef struct RawArgs {
    VEC(RawArg) options;
    VEC(const char *) words;
    const char *lacks_value; /* an option that another one or nothing follows */
} RawArgs;

static void raw_release(RawArgs *raw)
{
    vec_release(&raw->options);
    vec_release(&raw->words);
}

/* --name, --name=value, --name value, --no-name */
static int raw_long(RawArgs *raw, int argc, char *const *argv, int i)
{
    const char *name = argv[i] + 2, *equals = strchr(name, '=');
    RawArg a = {.name = name, .len = equals ? (size_t)(equals - name) : strlen(name)};
    /* Options of one name agree on whether they take a value (a unit test sees to that). */
    OptId id = option_find(a.name, a.len, CMD_COUNT);
    if (equals) {
        a.value = equals + 1;
    } else if (id != OPT_COUNT && option_takes_value(id)) {
        if (i + 1 < argc && strncmp(argv[i + 1], "--", 2) != 0)
            a.value = argv[++i];
        else
            raw->lacks_value = argv[i];
    } else if (id == OPT_COUNT && strncmp(name, "no-", 3) == 0) {
        a.negated = true;
        a.name += 3;
        a.len -= 3;
    }
    vec_push(&raw->options, a);
    return i + 1;
}

/* -x, -xy; none of the short options takes a value */
static void raw_short(RawArgs *raw, const char *letters)
{
    for (; *letters; letters++)
        vec_push(&raw->options, (RawArg){.letter = *letters});
}

static void raw_split(RawArgs *raw, int argc, char *const *argv)
{
    bool only_words = false;
    for (int i = 1; i < argc;) {
        const char *a = argv[i];
        if (only_words || a[0] != '-' || !a[1]) {
            vec_push(&raw->words, a);
            i++;
        } else if (strcmp(a, "--") == 0) {
            only_words = true;
            i++;
        } else if (a[1] == '-') {
            i = raw_long(raw, argc, argv, i);
        } else {
            raw_short(raw, a + 1);
            i++;
        }
    }
}

static ErrCode unknown_option(const char *name, size_t len, CommandId command, Err *err)
{
    char word[64];
    snprintf(word, sizeof(word), "%.*s", (int)MIN(len, sizeof(word) - 1), name);
    err_set(err, ERR_USAGE, "there is no option --%s", word);
    const char *near = option_suggest(word, command);
    if (!near)
        near = option_suggest(word, CMD_COUNT);
    if (near)
        return err_hint(err, "did you mean --%s?", near);
    return err_hint(err, "pgdr help%s%s lists them", command < CMD_COUNT ? " " : "",
                    command < CMD_COUNT ? commands[command].name : "");
}

static ErrCode arg_resolve(Args *args, const RawArg *raw, Err *err)
{
    CommandId command = args->command;
    OptId id =
        raw->letter ? option_find_letter(raw->letter) : option_find(raw->name, raw->len, command);
    if (id == OPT_COUNT && raw->letter) {
        err_set(err, ERR_USAGE, "there is no option -%c", raw->letter);
        return err_hint(err, "pgdr help lists them");
    }
    if (id == OPT_COUNT)
        return unknown_option(raw->name, raw->len, command, err);

    const Option *o = &options[id];
    if (raw->negated && option_takes_value(id))
        return err_set(err, ERR_USAGE, "--%s takes a value and cannot be negated", o->name);
    if (command < CMD_COUNT && !option_taken(id, command)) {
        err_set(err, ERR_USAGE, "the command %s does not take --%s", commands[command].name,
                o->name);
        return err_hint(err, "pgdr help %s lists what it takes", commands[command].name);
    }
    if (o->secret) {
        char variable[OPTION_ENV_LEN];
        err_set(err, ERR_USAGE,
                "--%s on the command line would show its value to every user of this "
                "host",
                o->name);
        return err_hint(err, "put it in the configuration file or in %s",
                        option_env_name(id, variable));
    }
    if (o->type != TYPE_LIST && args_find(args, id)) {
        err_set(err, ERR_USAGE, "--%s is given twice", o->name);
        return err_hint(err, "keep one of the two");
    }
    const char *value = raw->value;
    if (!value)
        value = option_takes_value(id) ? "" : raw->negated ? "n" : "y";
    vec_push(&args->given, (Arg){id, value});
    return ERR_OK;
}

static ErrCode command_unknown(const char *const *words, size_t n, Err *err)
{
    if (!n) {
        err_set(err, ERR_USAGE, "no command is given");
        return err_hint(err, "pgdr help lists the commands");
    }
    if (command_is_group(words[0])) {
        Buf list AUTO(buf_release) = {0};
        for (int i = 0; i < CMD_COUNT; i++)
            if (strncmp(commands[i].name, words[0], strlen(words[0])) == 0 &&
                commands[i].name[strlen(words[0])] == ' ')
                buf_printf(&list, "%s%s", list.len ? " or " : "", commands[i].name);
        if (n > 1)
            err_set(err, ERR_USAGE, "there is no command '%.60s %.60s'", words[0], words[1]);
        else
            err_set(err, ERR_USAGE, "the command '%s' is not complete", words[0]);
        return err_hint(err, "say %s", buf_str(&list));
    }
    err_set(err, ERR_USAGE, "there is no command '%.100s'", words[0]);
    const char *near = command_suggest(words[0]);
    if (near)
        return err_hint(err, "did you mean %s?", near);
    return err_hint(err, "pgdr help lists the commands");
}

/* The command, or the one that --help or --version stands for. */
static ErrCode command_resolve(Args *args, const RawArgs *raw, size_t *ret_used, Err *err)
{
    if (command_find(raw->words.at, raw->words.n, &args->command, ret_used))
        return ERR_OK;
    bool help = false, version = false;
    for (size_t i = 0; i < raw->options.n; i++) {
        const RawArg *a = &raw->options.at[i];
        OptId id =
            a->letter ? option_find_letter(a->letter) : option_find(a->name, a->len, CMD_COUNT);
        help = help || id == OPT_HELP;
        version = version || id == OPT_VERSION;
    }
    if (!help && !version)
        return command_unknown(raw->words.at, raw->words.n, err);
    args->command = help ? CMD_HELP : CMD_VERSION;
    *ret_used = 0;
    return ERR_OK;
}

static ErrCode words_check(const Args *args, Err *err)
{
    const Command *c = &commands[args->command];
    if (args_find(args, OPT_HELP) || args_find(args, OPT_VERSION))
        return ERR_OK;
    if (args->words.n > (size_t)c->max_args)
        err_set(err, ERR_USAGE, "%s takes %s, and '%.100s' is more than that", c->name,
                c->args ? c->args : "no arguments", args->words.at[c->max_args]);
    else if (args->words.n < (size_t)c->min_args)
        err_set(err, ERR_USAGE, "%s lacks an argument: it takes %s", c->name, c->args);
    else
        return ERR_OK;
    return err_hint(err, "pgdr help %s explains it", c->name);
}

ErrCode args_parse(Args *args, int argc, char *const *argv, Err *err)
{
    RawArgs raw AUTO(raw_release) = {0};
    *args = (Args){.command = CMD_COUNT};
    raw_split(&raw, argc, argv);

    /* All is looked at, and the first failure is the one that is told. */
    size_t used = 0;
    Err first = {0}, next = {0};
    if (command_resolve(args, &raw, &used, &first) == ERR_OK)
        for (size_t i = used; i < raw.words.n; i++)
            vec_push(&args->words, raw.words.at[i]);
    for (size_t i = 0; i < raw.options.n; i++)
        if (arg_resolve(args, &raw.options.at[i], &next) != ERR_OK && first.code == ERR_OK)
            first = next;
    if (raw.lacks_value && first.code == ERR_OK) {
        err_set(&first, ERR_USAGE, "%s needs a value", raw.lacks_value);
        err_hint(&first, "write it as %s=VALUE", raw.lacks_value);
    }
    if (first.code == ERR_OK && words_check(args, &next) != ERR_OK)
        first = next;
    if (first.code == ERR_OK)
        return ERR_OK;
    *err = first;
    return err->code;
}

void args_release(Args *args)
{
    vec_release(&args->given);
    vec_release(&args->words);
}

const char *args_find(const Args *args, OptId id)
{
    for (size_t i = args->given.n; i-- > 0;)
        if (args->given.at[i].id == id)
            return args->given.at[i].value;
    return NULL;
}
