#ifndef PGDR_COMMON_BUF_H
#define PGDR_COMMON_BUF_H

/* A growable byte buffer. A zeroed Buf is empty; buf_release() frees it. `data` may move on growth.
 */

#include "lib/common/mem.h"

typedef struct Buf {
    uint8_t *data;
    size_t len, cap;
} Buf;

/* Bytes that belong to somebody else. */
typedef struct Slice {
    const void *data;
    size_t len;
} Slice;

void buf_release(Buf *b);
/* Makes room for `more` bytes behind len and returns where they begin; len is unchanged. */
void *buf_reserve(Buf *b, size_t more);
void buf_append(Buf *b, const void *data, size_t len);
void buf_append_str(Buf *b, const char *s);
void buf_append_u8(Buf *b, uint8_t v);
void buf_append_u16(Buf *b, uint16_t v);
void buf_append_u32(Buf *b, uint32_t v);
void buf_append_u64(Buf *b, uint64_t v);
void buf_append_varint(Buf *b, uint64_t v);
void buf_append_zigzag(Buf *b, int64_t v);
void buf_printf(Buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The content as a C string (a NUL is kept behind len); owned by the buffer. */
const char *buf_str(Buf *b);

static inline Slice buf_slice(const Buf *b)
{
    return (Slice){b->data, b->len};
}

static inline Slice slice_of_str(const char *s)
{
    return (Slice){s, __builtin_strlen(s)};
}

#endif
