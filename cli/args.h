#ifndef PGDR_CLI_ARGS_H
#define PGDR_CLI_ARGS_H

/*
 * The command line taken apart: --name=value, --name value, --name, --no-name, -x, in any order
 * around the command; "--" ends the options. Values are not checked here.
 */

#include "cli/option.h"
#include "lib/common/err.h"
#include "lib/common/mem.h"

typedef struct Arg {
    OptId id;
    const char *value; /* as typed, or "y" and "n" for --name and --no-name; borrowed from argv */
} Arg;

typedef struct Args {
    CommandId command; /* CMD_COUNT while none was recognised */
    VEC(Arg) given;
    VEC(const char *) words; /* what follows the command's name */
} Args;

/*
 * Fills *args as far as it can even when it fails, so that the caller knows whose failure it is
 * and how to report it. --help and --version take the place of a command that is missing.
 */
MUST_CHECK ErrCode args_parse(Args *args, int argc, char *const *argv, Err *err);
void args_release(Args *args);

/* The last value given for an option; NULL when there is none. */
const char *args_find(const Args *args, OptId id);

#endif
