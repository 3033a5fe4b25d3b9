#ifndef PGDR_REPO_FETCH_AHEAD_H
#define PGDR_REPO_FETCH_AHEAD_H

/*
 * Reads one stretch of an object while its owner is busy with the one before: for repositories that
 * lie behind a network, where a read is mostly waiting. One owner, one stretch at a time; a thread
 * of its own, which is started when it is first needed.
 */

#include "lib/repo/repo.h"

typedef struct FetchAhead FetchAhead;

FetchAhead *fetch_ahead_new(Repo *repo);
/* Waits for what is under way. */
void fetch_ahead_free(FetchAhead *f);
DEFINE_FREEP(FetchAhead, fetch_ahead_free)

/* Begins to read, unless another stretch is under way or was not taken yet. `name` as in
 * repo_get_range(). */
void fetch_ahead_begin(FetchAhead *f, const char *name, uint64_t off, size_t len);
/*
 * When exactly this stretch was begun: waits for it, puts it into *ret in the place of what is
 * there, and returns true. False: it was not, or could not be read; then it is the owner's to read
 * it, and to learn what is wrong.
 */
bool fetch_ahead_take(FetchAhead *f, const char *name, uint64_t off, size_t len, Buf *ret);
/* What was begun is not wanted any more. */
void fetch_ahead_drop(FetchAhead *f);

#endif
