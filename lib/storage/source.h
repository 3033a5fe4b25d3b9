#ifndef PGDR_STORAGE_SOURCE_H
#define PGDR_STORAGE_SOURCE_H

/*
 * Reads a StorageSource from its beginning to its end, wherever its bytes lie. For drivers and
 * decorators.
 */

#include "lib/storage/storage.h"

typedef struct SourceReader {
    const StorageSource *src;
    uint64_t off; /* bytes read so far */
    size_t part, part_off;
} SourceReader;

/* The longest piece of memory that comes next; NULL when the source is a file or at its end. */
const uint8_t *source_peek(const SourceReader *r, size_t *ret_len);
/* Steps over `len` bytes, at most what is left. */
void source_skip(SourceReader *r, size_t len);
/* Copies the next `len` bytes, at most what is left. ERR_DAMAGED when the file is shorter than the
 * source's size. */
MUST_CHECK ErrCode source_copy(SourceReader *r, void *data, size_t len, Err *err);

static inline uint64_t source_left(const SourceReader *r)
{
    return r->src->size - r->off;
}

#endif
