#include "cli/suggest.h"

#include <string.h>

/* No name in the tables is longer; longer words are near nothing. */
#define WORD_MAX 40

unsigned word_distance(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b);
    if (la > WORD_MAX || lb > WORD_MAX)
        return WORD_MAX + 1;
    unsigned d[WORD_MAX + 1][WORD_MAX + 1];
    for (size_t i = 0; i <= la; i++)
        d[i][0] = (unsigned)i;
    for (size_t j = 0; j <= lb; j++)
        d[0][j] = (unsigned)j;
    for (size_t i = 1; i <= la; i++) {
        for (size_t j = 1; j <= lb; j++) {
            unsigned best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            best = MIN(best, MIN(d[i - 1][j], d[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = MIN(best, d[i - 2][j - 2] + 1);
            d[i][j] = best;
        }
    }
    return d[la][lb];
}

Suggest suggest_begin(const char *word)
{
    /* Short words are near to almost anything: one slip in up to four letters, one in three more.
     */
    return (Suggest){.word = word, .distance = 2 + (unsigned)MIN(strlen(word), WORD_MAX) / 4};
}

void suggest_try(Suggest *s, const char *candidate)
{
    unsigned distance = word_distance(s->word, candidate);
    if (distance >= s->distance)
        return;
    s->distance = distance;
    s->best = candidate;
}

bool word_in_list(const char *list, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = list; p && *p && len;) {
        size_t n = strcspn(p, " ");
        if (n == len && memcmp(p, word, n) == 0)
            return true;
        p += n + (p[n] == ' ');
    }
    return false;
}
