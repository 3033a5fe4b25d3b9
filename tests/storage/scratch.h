#ifndef PGDR_TESTS_STORAGE_SCRATCH_H
#define PGDR_TESTS_STORAGE_SCRATCH_H

/* Directories for posix storages under test, on a file system of choice. */

#include "tests/storage/conformance.h"

typedef struct Scratch {
    const char *where; /* an existing directory */
    char *dir;         /* the one in use, below it */
} Scratch;

/* tmpfs, if there is one to write to; else NULL. */
const char *scratch_tmpfs(void);

/* Whether it keeps files elsewhere than in the page cache. */
bool scratch_is_disk(const char *dir);

/* A new empty directory; the caller frees the path. */
char *scratch_make(const char *where);
/* Conformance.open and .clean for a Scratch: a posix storage on a new directory, which is checked
 * to hold nothing but objects and their directories before it goes. */
Storage *scratch_open(void *arg);
void scratch_clean(void *arg);

/* Files below a directory that listings do not show. */
unsigned scratch_hidden(const char *dir);

#endif
