#ifndef PGDR_CLI_CLUSTER_H
#define PGDR_CLI_CLUSTER_H

/* From options to the cluster's server and files. */

#include "cli/cli.h"
#include "lib/pg/conn.h"

/* How to reach the cluster's server; texts are borrowed from the options. */
PgConnSpec cli_conn_spec(const Cli *cli);
/* The primary of a standby; false when it is not configured. */
bool cli_primary_spec(const Cli *cli, PgConnSpec *ret);

/*
 * Where the server's files are, for a command that PostgreSQL starts: the current directory when
 * it is a data directory (that is how PostgreSQL starts it), else the option. The caller frees.
 */
MUST_CHECK ErrCode cli_data_dir(const Cli *cli, char **ret, Err *err);

#endif
