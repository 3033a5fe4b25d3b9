#include "lib/storage/uri.h"

#include <stdlib.h>
#include <string.h>

static bool stays(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '~';
}

static void append_encoded(Buf *out, const char *text, size_t len, bool path)
{
    static const char digits[] = "0123456789ABCDEF";
    uint8_t *to = buf_reserve(out, len * 3);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (stays(text[i]) || (path && c == '/')) {
            *to++ = c;
            continue;
        }
        *to++ = '%';
        *to++ = (uint8_t)digits[c >> 4];
        *to++ = (uint8_t)digits[c & 15];
    }
    out->len = (size_t)(to - out->data);
}

void uri_append_path(Buf *out, const char *path, size_t len)
{
    append_encoded(out, path, len, true);
}

/* Encoded text compares as its bytes do in a signature: by code points of ASCII. */
static int compare_encoded(const char *a, const char *b)
{
    Buf ea AUTO(buf_release) = {0}, eb AUTO(buf_release) = {0};
    append_encoded(&ea, a, strlen(a), false);
    append_encoded(&eb, b, strlen(b), false);
    return strcmp(buf_str(&ea), buf_str(&eb));
}

static int compare_fields(const void *a, const void *b)
{
    const UriField *x = a, *y = b;
    int order = compare_encoded(x->name, y->name);
    return order ? order : compare_encoded(x->value, y->value);
}

void uri_append_query(Buf *out, UriField *fields, size_t n)
{
    if (n > 1)
        qsort(fields, n, sizeof(*fields), compare_fields);
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_append_u8(out, '&');
        append_encoded(out, fields[i].name, strlen(fields[i].name), false);
        buf_append_u8(out, '=');
        append_encoded(out, fields[i].value, strlen(fields[i].value), false);
    }
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool uri_append_decoded(Buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        int c = text[i] == '+' ? ' ' : (unsigned char)text[i];
        if (text[i] == '%') {
            int high = len - i > 2 ? digit(text[i + 1]) : -1;
            int low = len - i > 2 ? digit(text[i + 2]) : -1;
            if (high < 0 || low < 0 || !(high | low))
                return false;
            c = high << 4 | low;
            i += 2;
        }
        buf_append_u8(out, (uint8_t)c);
    }
    return true;
}
