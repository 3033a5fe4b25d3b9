#ifndef PGDR_COMMON_BYTES_H
#define PGDR_COMMON_BYTES_H

/* Numbers as they lie on disk: little endian and LEB128 for our format, host order is never used.
 */

#include <string.h>

#include "lib/common/base.h"

static inline uint16_t get_u16(const void *p)
{
    const uint8_t *b = p;
    return (uint16_t)(b[0] | b[1] << 8);
}

static inline uint32_t get_u32(const void *p)
{
    const uint8_t *b = p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static inline uint64_t get_u64(const void *p)
{
    return (uint64_t)get_u32(p) | (uint64_t)get_u32((const uint8_t *)p + 4) << 32;
}

static inline void set_u16(void *p, uint16_t v)
{
    uint8_t *b = p;
    b[0] = (uint8_t)v;
    b[1] = (uint8_t)(v >> 8);
}

static inline void set_u32(void *p, uint32_t v)
{
    set_u16(p, (uint16_t)v);
    set_u16((uint8_t *)p + 2, (uint16_t)(v >> 16));
}

static inline void set_u64(void *p, uint64_t v)
{
    set_u32(p, (uint32_t)v);
    set_u32((uint8_t *)p + 4, (uint32_t)(v >> 32));
}

static inline uint64_t zigzag_encode(int64_t v)
{
    return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

static inline int64_t zigzag_decode(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

/*
 * A bounded reader over bytes that may be damaged: it never reads outside, and the first read
 * beyond the end sets `bad`, after which every read gives zeros. Check `bad` once at the end (and
 * before a value is used as a size).
 */
typedef struct Cursor {
    const uint8_t *at, *end;
    bool bad;
} Cursor;

static inline Cursor cursor_of(const void *p, size_t len)
{
    return (Cursor){.at = p, .end = (const uint8_t *)p + len};
}

static inline size_t cursor_left(const Cursor *c)
{
    return (size_t)(c->end - c->at);
}

/* The next `len` bytes, or NULL when there are fewer. */
static inline const uint8_t *cursor_read(Cursor *c, uint64_t len)
{
    if (c->bad || len > cursor_left(c)) {
        c->bad = true;
        return NULL;
    }
    const uint8_t *p = c->at;
    c->at += len;
    return p;
}

static inline uint8_t cursor_u8(Cursor *c)
{
    const uint8_t *p = cursor_read(c, 1);
    return p ? *p : 0;
}

static inline uint16_t cursor_u16(Cursor *c)
{
    const uint8_t *p = cursor_read(c, 2);
    return p ? get_u16(p) : 0;
}

static inline uint32_t cursor_u32(Cursor *c)
{
    const uint8_t *p = cursor_read(c, 4);
    return p ? get_u32(p) : 0;
}

static inline uint64_t cursor_u64(Cursor *c)
{
    const uint8_t *p = cursor_read(c, 8);
    return p ? get_u64(p) : 0;
}

/* LEB128, at most 10 bytes; an overflowing encoding is bad, and one that is not the shortest: every
 * number has one form. */
static inline uint64_t cursor_varint(Cursor *c)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        uint8_t b = cursor_u8(c);
        if (c->bad)
            return 0;
        if ((shift == 63 && b > 1) || (shift && b == 0))
            break;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80))
            return v;
    }
    c->bad = true;
    return 0;
}

static inline int64_t cursor_zigzag(Cursor *c)
{
    return zigzag_decode(cursor_varint(c));
}

#endif
