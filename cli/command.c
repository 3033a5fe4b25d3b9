#include "cli/command.h"

#include <string.h>

#include "cli/suggest.h"

const Command commands[CMD_COUNT] = {
#define COMMAND(id, function, ...) [CMD_##id] = {__VA_ARGS__},
#include "cli/commands.def"
#undef COMMAND
};

/* The length of the first word of `name` when `word` is that first word and another follows. */
static size_t group_len(const char *name, const char *word)
{
    size_t len = strlen(word);
    return strncmp(name, word, len) == 0 && name[len] == ' ' ? len : 0;
}

bool command_find(const char *const *words, size_t n, CommandId *ret_id, size_t *ret_used)
{
    if (!n)
        return false;
    for (int i = 0; i < CMD_COUNT; i++) {
        size_t len = group_len(commands[i].name, words[0]);
        bool two = len && n > 1 && strcmp(commands[i].name + len + 1, words[1]) == 0;
        if (!two && strcmp(commands[i].name, words[0]) != 0)
            continue;
        *ret_id = (CommandId)i;
        *ret_used = two ? 2 : 1;
        return true;
    }
    return false;
}

bool command_is_group(const char *word)
{
    for (int i = 0; i < CMD_COUNT; i++)
        if (group_len(commands[i].name, word))
            return true;
    return false;
}

const char *command_suggest(const char *word)
{
    Suggest s = suggest_begin(word);
    for (int i = 0; i < CMD_COUNT; i++) {
        if (word_in_list(commands[i].was, word))
            return commands[i].name;
        suggest_try(&s, commands[i].name);
    }
    return s.best;
}
