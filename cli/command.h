#ifndef PGDR_CLI_COMMAND_H
#define PGDR_CLI_COMMAND_H

/* The table of commands (cli/commands.def) without their functions, which only main.c links. */

#include "lib/common/base.h"

typedef enum CommandId {
#define COMMAND(id, ...) CMD_##id,
#include "cli/commands.def"
#undef COMMAND
    CMD_COUNT
} CommandId;

enum {
    NEEDS_REPO = 1,
    NEEDS_CLUSTER = 2,
    TAKES_CLUSTER = 4,
    NO_FILE = 8,
    FAILS_IN_DOUBT = 16,
    SHOWS_ALL = 32, /* takes every option that the configuration file can set */
};

#define COMMAND_EXAMPLES 2

typedef struct Command {
    const char *name;
    unsigned needs;
    const char *args;
    int min_args, max_args;
    const char *was;
    const char *summary, *text;
    const char *examples[COMMAND_EXAMPLES];
} Command;

extern const Command commands[CMD_COUNT];

/* Finds the command that argv-like `words` begin with, and says how many words (1 or 2) its name
 * took. False when there is none. */
bool command_find(const char *const *words, size_t n, CommandId *ret_id, size_t *ret_used);
/* True when `word` is the first of a two-word name ("repo"). */
bool command_is_group(const char *word);
/* The most similar name, or the one that `word` has here if pgBackRest calls it so; else NULL. */
const char *command_suggest(const char *word);

#endif
