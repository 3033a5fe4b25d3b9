#include "lib/common/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ARENA_BLOCK (256 * KIB)

struct ArenaBlock {
    ArenaBlock *prev;
    size_t used, size;
    uint64_t data[];
};

void *mem_new(size_t size)
{
    void *p = malloc(size ? size : 1);
    if (!p)
        abort();
    return p;
}

void *mem_zero(size_t size)
{
    void *p = calloc(1, size ? size : 1);
    if (!p)
        abort();
    return p;
}

void *mem_grow(void *p, size_t size)
{
    p = realloc(p, size ? size : 1);
    if (!p)
        abort();
    return p;
}

void *mem_aligned(size_t align, size_t size)
{
    void *p = aligned_alloc(align, align_up(size ? size : 1, align));
    if (!p)
        abort();
    return p;
}

void *mem_try(size_t size)
{
    return malloc(size ? size : 1);
}

char *mem_strndup(const char *s, size_t len)
{
    char *p = mem_new(len + 1);
    memcpy(p, s, len);
    p[len] = '\0';
    return p;
}

char *mem_strdup(const char *s)
{
    return mem_strndup(s, strlen(s));
}

char *mem_printf(const char *fmt, ...)
{
    char *p;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&p, fmt, ap);
    va_end(ap);
    if (n < 0)
        abort();
    return p;
}

void *arena_new(Arena *arena, size_t size)
{
    size = align_up(size, 8);
    ArenaBlock *b = arena->last;
    if (!b || b->size - b->used < size) {
        size_t want = MAX(size, ARENA_BLOCK);
        b = mem_new(sizeof(*b) + want);
        *b = (ArenaBlock){.prev = arena->last, .size = want};
        arena->last = b;
        arena->total += sizeof(*b) + want;
    }
    void *p = (uint8_t *)b->data + b->used;
    b->used += size;
    return p;
}

char *arena_strndup(Arena *arena, const char *s, size_t len)
{
    char *p = arena_new(arena, len + 1);
    memcpy(p, s, len);
    p[len] = '\0';
    return p;
}

void arena_release(Arena *arena)
{
    for (ArenaBlock *b = arena->last, *prev; b; b = prev) {
        prev = b->prev;
        free(b);
    }
    *arena = (Arena){0};
}

void str_list_release(StrList *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->at[i]);
    vec_release(list);
}

static int str_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void str_list_sort(StrList *list)
{
    if (list->n)
        qsort(list->at, list->n, sizeof(list->at[0]), str_compare);
}

bool str_list_has(const StrList *list, const char *s)
{
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->at[i], s) == 0)
            return true;
    return false;
}
