#ifndef PGDR_CLI_RESTORE_COMMAND_H
#define PGDR_CLI_RESTORE_COMMAND_H

/* What PostgreSQL is to call: this program, with the settings this call was given. */

#include "cli/cli.h"

/*
 * "'/usr/bin/pgdr' --config='…' --cluster='…' archive-get", quoted for a shell and with '%' doubled
 * for PostgreSQL. Settings that came from the command line or the environment, which the server
 * will not have, are written into it; a secret among them cannot be, and is warned about. The
 * caller frees.
 */
char *restore_command_make(const Cli *cli);

/* "archive_command = '/usr/bin/pgdr archive-push %p'", a line for postgresql.conf; caller frees. */
char *archive_command_line(const Cli *cli);

#endif
