#ifndef PGDR_CLI_ENVIRONMENT_H
#define PGDR_CLI_ENVIRONMENT_H

/* Environment variables, from a list like environ that the caller hands in. */

#include "cli/settings.h"

/* The value of a variable; NULL when it is not set or empty. */
const char *env_find(char *const *env, const char *name);
/* "PGDR_REPO_MAIN_S3_KEY"; the caller frees. */
char *repo_env_name(const char *repo, OptId id);
/* Adds a warning for every PGDR_… that means nothing: a misspelt one would otherwise be a setting
 * that silently does nothing. */
void environment_warn(Settings *s, char *const *env);

#endif
