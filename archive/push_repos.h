#ifndef PGDR_ARCHIVE_PUSH_REPOS_H
#define PGDR_ARCHIVE_PUSH_REPOS_H

/*
 * The repositories of a process that pushes many files, for several threads at once. One behind a
 * network is opened with the first file and kept: loading the library, connecting and reading keys
 * take longer than a push. One that was removed, or got other keys, must not be written to as if
 * nothing had happened: it is asked whether it is still the one that was opened before a store,
 * unless it was within the last second, and again before what was stored counts. A directory is
 * opened anew for each file, which costs little: it may be moved away, or its file system
 * unmounted, and what was opened would still be written to.
 */

#include "catalog/wal_publish.h"

typedef struct PushRepos PushRepos;

/* `source` is borrowed. Nothing is opened yet. */
PushRepos *push_repos_new(const RepoSource *source);
void push_repos_free(PushRepos *r);
DEFINE_FREEP(PushRepos, push_repos_free)

/* Stores a loaded file in every repository, durably; the first failure ends it. */
MUST_CHECK ErrCode push_repos_store(PushRepos *r, const WalFile *f, Err *err);
/* Whether every repository that is kept was the one that was opened at the time `stored`, by the
 * monotonic clock, or later. */
MUST_CHECK ErrCode push_repos_confirm(PushRepos *r, TimeUs stored, Err *err);

#endif
