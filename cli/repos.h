#ifndef PGDR_CLI_REPOS_H
#define PGDR_CLI_REPOS_H

/* From options to opened repositories. */

#include "cli/cli.h"
#include "lib/repo/repo.h"

/* The storage of repository `i`, with retries and the rate limit around the driver. */
MUST_CHECK ErrCode cli_storage_open(const Cli *cli, size_t i, bool create, Storage **ret, Err *err);
/* The repository itself; `cluster` may be NULL. */
MUST_CHECK ErrCode cli_repo_open(Cli *cli, size_t i, const char *cluster, Repo **ret, Err *err);
/* Looks for keys that were made since repository `i` was opened, see keys_read_again(). */
MUST_CHECK ErrCode cli_repo_new_keys(Cli *cli, size_t i, Repo *repo, bool *ret_more, Err *err);
/* The same without a key, see repo_open_without_key. */
MUST_CHECK ErrCode cli_repo_open_without_key(Cli *cli, size_t i, const char *cluster, Repo **ret,
                                             Err *err);
/* For commands that are over in milliseconds, before anything else: directories without encryption
 * need no more of OpenSSL than SHA-256 as a check sum. */
void cli_start_light(const Cli *cli);
/* What opening it is told. */
RepoSpec cli_repo_spec(const Cli *cli, size_t i, const char *cluster);

/* All repositories in effect, for the chosen cluster; `cli` must outlive it. */
RepoSource cli_repo_source(Cli *cli);

/* Worker threads: the option, else the CPUs. */
unsigned cli_jobs(const Cli *cli);
/* The same for work that reads from repositories: over a network more of them wait than work. */
unsigned cli_read_jobs(const Cli *cli);

#endif
