#ifndef PGDR_TESTS_MODEL_MAP_H
#define PGDR_TESTS_MODEL_MAP_H

/* A map from digests, which are taken to be unique, to pointers. A zeroed Map is empty. */

#include "lib/common/mem.h"

typedef struct Map {
    struct {
        uint64_t key; /* 0: free */
        void *value;
    } * at;
    size_t n, cap;
} Map;

/* Where the value of a key is kept, NULL in it when the key is new; valid until the next call. */
static inline void **map_slot(Map *m, uint64_t key)
{
    key += key == 0;
    if (m->n * 2 >= m->cap) {
        Map old = *m;
        *m = (Map){.cap = MAX(old.cap * 2, (size_t)1024)};
        m->at = mem_zero(m->cap * sizeof(*m->at));
        for (size_t i = 0; i < old.cap; i++)
            if (old.at[i].key)
                *map_slot(m, old.at[i].key) = old.at[i].value;
        free(old.at);
    }
    size_t i = (size_t)key & (m->cap - 1);
    while (m->at[i].key && m->at[i].key != key)
        i = (i + 1) & (m->cap - 1);
    if (!m->at[i].key) {
        m->at[i].key = key;
        m->n++;
    }
    return &m->at[i].value;
}

static inline void map_release(Map *m)
{
    free(m->at);
    *m = (Map){.at = NULL};
}

#endif
