#ifndef PGDR_CLI_OPTION_H
#define PGDR_CLI_OPTION_H

/* The table of options (conf/options.def) and how its entries are found. */

#include "cli/command.h"

/* The one place where a configuration is looked for unless told otherwise, whatever the prefix that
 * this program is installed under: documentation and DBAs can rely on it. */
#define CONFIG_PATH "/etc/pgdr/pgdr.conf"

typedef enum OptId {
#define OPTION(id, ...) OPT_##id,
#include "conf/options.def"
#undef OPTION
    OPT_COUNT
} OptId;

typedef enum OptType {
    TYPE_BOOL = 1,
    TYPE_INT,
    TYPE_SIZE,     /* bytes: "64MiB" */
    TYPE_DURATION, /* microseconds: "14d" */
    TYPE_TEXT,
    TYPE_NAME, /* of a repository or cluster */
    TYPE_PATH,
    TYPE_URL,
    TYPE_CHOICE,
    TYPE_LIST, /* texts; command line only */
} OptType;

typedef enum OptScope {
    IN_GLOBAL = 1,
    IN_REPO,
    IN_CLUSTER,
    BEFORE_FILE,
    ON_COMMAND_LINE,
} OptScope;

/* For .commands: single commands, or these that follow from what a command needs. */
#define ON(command) (UINT64_C(1) << CMD_##command)
#define ANY_COMMAND (UINT64_C(1) << 63)
#define WITH_REPO (UINT64_C(1) << 62)
#define WITH_CLUSTER (UINT64_C(1) << 61)

typedef struct Option {
    const char *name;
    OptType type;
    OptScope scope;
    uint64_t commands;
    const char *def, *def_text;
    int64_t min, max;
    const char *const *choices; /* ends with NULL */
    const char *arg;
    const char *sample;
    bool in_use;
    char letter;
    bool secret;
    const char *fallback;
    const char *was;
    const char *help, *text;
} Option;

extern const Option options[OPT_COUNT];

/* Where an option belongs, for messages: "[global]", "[repo NAME]", "[cluster NAME]", or "the
 * command line". */
const char *option_place(OptScope scope);
/* Whether the configuration file may set it. */
bool option_in_file(OptId id);
/* Whether it may be set in the environment. */
bool option_in_environment(OptId id);
/* Whether `command` takes it on the command line. */
bool option_taken(OptId id, CommandId command);
bool option_takes_value(OptId id);

/*
 * The option of that name that `command` takes; one of another command when it takes none (two
 * options may share a name: backup's and restore's --type). OPT_COUNT when the name is unknown.
 */
OptId option_find(const char *name, size_t len, CommandId command);
OptId option_find_letter(char letter);
/* The option that the file knows under that name; OPT_COUNT when there is none. */
OptId option_find_in_file(const char *name);

/* The most similar name that `command` takes (CMD_COUNT: any command), or this program's name for
 * an option of pgBackRest; NULL when nothing is near. */
const char *option_suggest(const char *word, CommandId command);
const char *option_suggest_in_file(const char *word);

/* "PGDR_S3_KEY"; `out` holds OPTION_ENV_LEN. */
#define OPTION_ENV_LEN 64
const char *option_env_name(OptId id, char *out);

#endif
