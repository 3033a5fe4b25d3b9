#ifndef PGDR_CLI_PASSPHRASE_COMMAND_H
#define PGDR_CLI_PASSPHRASE_COMMAND_H

/* A command of the user's that prints a passphrase. */

#include "lib/common/buf.h"
#include "lib/common/err.h"
#include "lib/common/timeutil.h"

/*
 * Runs `command` with /bin/sh and appends what it prints, at most `max` bytes, to `ret`. Its
 * standard input and standard error are ours. It is over when the command has ended, not when the
 * last process it started closes its output. ERR_CONFIG when it fails, ERR_TIMEOUT (the command is
 * killed) when it takes longer than `limit`, ERR_CANCELLED.
 */
MUST_CHECK ErrCode passphrase_command_run(const char *command, size_t max, TimeUs limit, Buf *ret,
                                          Err *err);

#endif
