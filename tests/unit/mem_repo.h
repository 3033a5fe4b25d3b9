#ifndef PGDR_TESTS_MEM_REPO_H
#define PGDR_TESTS_MEM_REPO_H

/*
 * Repositories in memory, and bytes put there that nobody checked. What cannot fail here ends the
 * program when it does, with a line that says what it was.
 *
 * Names are relative to the repository's cluster, "app".
 */

#include "lib/repo/repo.h"
#include "lib/storage/drivers.h"

/* What an encrypted one opens with; a generated passphrase, which costs no time. */
extern const KeySecret mem_secret;

/* A new one, in a new storage of the mem driver, which is its `storage`. */
Repo *mem_repo_new(uint8_t cipher);
/* The same in a storage of the caller's, which it takes over. */
Repo *mem_repo_in(Storage *storage, uint8_t cipher);
/* A copy of it as it is now, opened as another process would. */
Repo *mem_repo_again(const Repo *repo);

/* Stores bytes under a name, in place of what was there. */
void mem_put(Repo *repo, const char *name, const void *data, size_t len);
/* The stored bytes, appended. */
void mem_get(Repo *repo, const char *name, Buf *ret);
bool mem_has(Repo *repo, const char *name);
void mem_remove(Repo *repo, const char *name);
/* How many objects have a name that begins so. */
size_t mem_count(Repo *repo, const char *prefix);
/* The only name that begins so; the caller frees. */
char *mem_only(Repo *repo, const char *prefix);

/* Gives an object the checksums and the digest that it would have, had it been written so. */
void mem_mend(uint8_t *data, size_t len);
/* Replaces `old` by `text`, of any length, wherever it stands in a document; the object is written
 * anew and fits itself. `old` must be there. */
void mem_edit_document(Repo *repo, const char *name, const char *kind, const char *old,
                       const char *text);

/* The call must succeed. */
#define MUST(call)                                                                                 \
    do {                                                                                           \
        Err e_ = {0};                                                                              \
        Err *err = &e_;                                                                            \
        if ((call) != ERR_OK)                                                                      \
            mem_failed(__FILE__, __LINE__, #call, e_.message);                                     \
    } while (0)
void mem_failed(const char *file, int line, const char *what, const char *why)
    __attribute__((noreturn));

#endif
