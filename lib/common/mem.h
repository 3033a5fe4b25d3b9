#ifndef PGDR_COMMON_MEM_H
#define PGDR_COMMON_MEM_H

/*
 * Allocation. The mem_* functions never return NULL: when the system has no memory left for a
 * size this program chose itself, there is nothing left to do safely and they abort(). A size that
 * was read from a disk or the network is checked against a named limit first and then allocated
 * with mem_try().
 */

#include "lib/common/base.h"

void *mem_new(size_t size) __attribute__((returns_nonnull, malloc));
void *mem_zero(size_t size) __attribute__((returns_nonnull, malloc));
void *mem_grow(void *p, size_t size) __attribute__((returns_nonnull));
/* Aligned to `align` bytes (a power of two); free() releases it. For O_DIRECT. */
void *mem_aligned(size_t align, size_t size) __attribute__((returns_nonnull, malloc));
/* NULL when there is no memory. */
void *mem_try(size_t size) __attribute__((malloc));
char *mem_strdup(const char *s) __attribute__((returns_nonnull, malloc));
char *mem_strndup(const char *s, size_t len) __attribute__((returns_nonnull, malloc));
char *mem_printf(const char *fmt, ...) PRINTF_LIKE(1, 2) __attribute__((returns_nonnull, malloc));

#define NEW(type) ((type *)mem_zero(sizeof(type)))

/*
 * An arena: many small things that live and die together (the entries of a manifest). What it
 * hands out is aligned to 8 bytes and valid until arena_release(). A zeroed Arena is empty.
 */
typedef struct ArenaBlock ArenaBlock;
typedef struct Arena {
    ArenaBlock *last;
    size_t total; /* bytes taken from the system */
} Arena;

void *arena_new(Arena *arena, size_t size) __attribute__((returns_nonnull));
char *arena_strndup(Arena *arena, const char *s, size_t len) __attribute__((returns_nonnull));
void arena_release(Arena *arena);

/* A growable array: VEC(int) v = {0}; vec_push(&v, 7); v.at[0]; vec_release(&v). */
#define VEC(type)                                                                                  \
    struct {                                                                                       \
        type *at;                                                                                  \
        size_t n, cap;                                                                             \
    }

#define vec_reserve(v, want)                                                                       \
    do {                                                                                           \
        if ((v)->cap < (want)) {                                                                   \
            (v)->cap = MAX((size_t)(want), MAX((v)->cap * 2, (size_t)8));                          \
            (v)->at = mem_grow((v)->at, (v)->cap * sizeof(*(v)->at));                              \
        }                                                                                          \
    } while (0)

#define vec_push(v, ...)                                                                           \
    do {                                                                                           \
        vec_reserve(v, (v)->n + 1);                                                                \
        (v)->at[(v)->n++] = (__VA_ARGS__);                                                         \
    } while (0)

#define vec_release(v)                                                                             \
    do {                                                                                           \
        free((v)->at);                                                                             \
        (v)->at = NULL;                                                                            \
        (v)->n = (v)->cap = 0;                                                                     \
    } while (0)

/* A list of owned strings. */
typedef VEC(char *) StrList;
void str_list_release(StrList *list);
/* Sorts by bytes. */
void str_list_sort(StrList *list);
bool str_list_has(const StrList *list, const char *s);

#endif
