#include "cli/option.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli/suggest.h"

#define WORDS(...)                                                                                 \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }
#define SECONDS INT64_C(1000000)
#define DAYS (INT64_C(86400) * SECONDS)

const Option options[OPT_COUNT] = {
#define OPTION(id, ...) [OPT_##id] = {__VA_ARGS__},
#include "conf/options.def"
#undef OPTION
};

_Static_assert(CMD_COUNT <= 60, "the bits 61 to 63 of .commands have a meaning of their own");

const char *option_place(OptScope scope)
{
    switch (scope) {
    case IN_GLOBAL:
        return "[global]";
    case IN_REPO:
        return "[repo NAME]";
    case IN_CLUSTER:
        return "[cluster NAME]";
    default:
        return "the command line";
    }
}

bool option_in_file(OptId id)
{
    return options[id].scope == IN_GLOBAL || options[id].scope == IN_REPO ||
           options[id].scope == IN_CLUSTER;
}

bool option_in_environment(OptId id)
{
    return options[id].scope != ON_COMMAND_LINE;
}

bool option_taken(OptId id, CommandId command)
{
    uint64_t mask = options[id].commands;
    unsigned needs = commands[command].needs;
    if (mask & ANY_COMMAND || mask & (UINT64_C(1) << command))
        return true;
    if (mask & WITH_REPO && needs & NEEDS_REPO)
        return true;
    if (mask & WITH_CLUSTER && needs & (NEEDS_CLUSTER | TAKES_CLUSTER))
        return true;
    return needs & SHOWS_ALL && option_in_environment(id);
}

bool option_takes_value(OptId id)
{
    return options[id].type != TYPE_BOOL;
}

OptId option_find(const char *name, size_t len, CommandId command)
{
    OptId other = OPT_COUNT;
    for (int i = 0; i < OPT_COUNT; i++) {
        if (strlen(options[i].name) != len || memcmp(options[i].name, name, len) != 0)
            continue;
        if (command < CMD_COUNT && option_taken((OptId)i, command))
            return (OptId)i;
        if (other == OPT_COUNT)
            other = (OptId)i;
    }
    return other;
}

OptId option_find_letter(char letter)
{
    int i = 0;
    while (i < OPT_COUNT && (options[i].letter != letter || !letter))
        i++;
    return (OptId)i;
}

OptId option_find_in_file(const char *name)
{
    int i = 0;
    while (i < OPT_COUNT && !(option_in_file((OptId)i) && strcmp(options[i].name, name) == 0))
        i++;
    return (OptId)i;
}

static const char *suggest_where(const char *word, bool (*fits)(OptId id, CommandId command),
                                 CommandId command)
{
    Suggest s = suggest_begin(word);
    for (int i = 0; i < OPT_COUNT; i++) {
        if (!fits((OptId)i, command))
            continue;
        if (word_in_list(options[i].was, word))
            return options[i].name;
        suggest_try(&s, options[i].name);
    }
    return s.best;
}

static bool fits_command(OptId id, CommandId command)
{
    return command == CMD_COUNT || option_taken(id, command);
}

static bool fits_file(OptId id, CommandId command UNUSED)
{
    return option_in_file(id);
}

const char *option_suggest(const char *word, CommandId command)
{
    return suggest_where(word, fits_command, command);
}

const char *option_suggest_in_file(const char *word)
{
    return suggest_where(word, fits_file, CMD_COUNT);
}

const char *option_env_name(OptId id, char *out)
{
    snprintf(out, OPTION_ENV_LEN, "PGDR_%s", options[id].name);
    for (char *p = out; *p; p++)
        *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
    return out;
}
