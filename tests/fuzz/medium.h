#ifndef PGDR_TESTS_FUZZ_MEDIUM_H
#define PGDR_TESTS_FUZZ_MEDIUM_H

/* Repositories in memory, and bytes put there that nobody checked. */

#include "lib/repo/repo.h"

/* One of each kind, made when it is first asked for. Never freed: reachable to the end. */
Repo *medium_plain(void);
Repo *medium_sealed(void);
/* A new one of the cipher, for who takes it apart. */
Repo *medium_new(uint8_t cipher);
extern const KeySecret medium_secret;
/* Stores bytes under a name of the repository's cluster, in place of what was there. */
void medium_put(Repo *repo, const char *name, const void *data, size_t len);
/* Gives an object the checksums and the digest that it would have, had it been written so. */
void medium_mend(uint8_t *data, size_t len);

#endif
