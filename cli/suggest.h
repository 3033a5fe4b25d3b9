#ifndef PGDR_CLI_SUGGEST_H
#define PGDR_CLI_SUGGEST_H

/* "Did you mean": the most similar of several names, when one is similar enough. */

#include "lib/common/base.h"

typedef struct Suggest {
    const char *word; /* what was typed */
    const char *best; /* the nearest so far, NULL while none is near */
    unsigned distance;
} Suggest;

Suggest suggest_begin(const char *word);
void suggest_try(Suggest *s, const char *candidate);

/* Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`. */
unsigned word_distance(const char *a, const char *b);
/* True when `word` stands in the blank-separated `list` (which may be NULL). */
bool word_in_list(const char *list, const char *word);

#endif
