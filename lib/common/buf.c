#include "lib/common/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/common/bytes.h"

void buf_release(Buf *b)
{
    free(b->data);
    *b = (Buf){0};
}

void *buf_reserve(Buf *b, size_t more)
{
    if (b->cap - b->len < more || !b->data) {
        size_t want = MAX(b->len + more, MAX(b->cap * 2, (size_t)64));
        b->data = mem_grow(b->data, want);
        b->cap = want;
    }
    return b->data + b->len;
}

void buf_append(Buf *b, const void *data, size_t len)
{
    void *to = buf_reserve(b, len);
    if (len)
        memcpy(to, data, len);
    b->len += len;
}

void buf_append_str(Buf *b, const char *s)
{
    buf_append(b, s, strlen(s));
}

void buf_append_u8(Buf *b, uint8_t v)
{
    buf_append(b, &v, 1);
}

void buf_append_u16(Buf *b, uint16_t v)
{
    set_u16(buf_reserve(b, 2), v);
    b->len += 2;
}

void buf_append_u32(Buf *b, uint32_t v)
{
    set_u32(buf_reserve(b, 4), v);
    b->len += 4;
}

void buf_append_u64(Buf *b, uint64_t v)
{
    set_u64(buf_reserve(b, 8), v);
    b->len += 8;
}

void buf_append_varint(Buf *b, uint64_t v)
{
    uint8_t *p = buf_reserve(b, 10);
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        p[n++] = (uint8_t)(v | 0x80);
    p[n++] = (uint8_t)v;
    b->len += n;
}

void buf_append_zigzag(Buf *b, int64_t v)
{
    buf_append_varint(b, zigzag_encode(v));
}

void buf_printf(Buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        abort();
    vsnprintf(buf_reserve(b, (size_t)n + 1), (size_t)n + 1, fmt, again);
    va_end(again);
    b->len += (size_t)n;
}

const char *buf_str(Buf *b)
{
    *(char *)buf_reserve(b, 1) = '\0';
    return (const char *)b->data;
}
