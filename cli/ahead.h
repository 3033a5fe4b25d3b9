#ifndef PGDR_CLI_AHEAD_H
#define PGDR_CLI_AHEAD_H

/*
 * What archive-push and archive-get will ask of a repository, known before it is opened. Over a
 * network each question takes a while, and PostgreSQL waits for the answer: they are asked all at
 * once.
 */

#include "cli/cli.h"
#include "lib/storage/drivers.h"

/* Begins to ask all repositories over a network, for this WAL file; what cannot be known (no
 * control file) is asked later. */
void cli_look_ahead(Cli *cli, const char *data_dir, const char *file);
/* The storage of repository `i` that was opened for it, once; NULL when none was. */
Storage *cli_take_opened(Cli *cli, size_t i);
/* After the last use of the repositories. */
void cli_end_ahead(Cli *cli);
/* `s` with the questions under way; `s` itself when there are none. */
Storage *cli_ask_ahead(const Cli *cli, Storage *s);

#endif
