#ifndef PGDR_STORAGE_URI_H
#define PGDR_STORAGE_URI_H

/*
 * Percent-encoding (RFC 3986) as S3 signs it: every byte but letters, digits, '-', '_', '.' and '~'
 * is %XX in upper case; a '/' stays in a path. Signature and request use the same text, so they
 * cannot differ.
 */

#include "lib/common/buf.h"

typedef struct UriField {
    const char *name, *value; /* not encoded; the value is "" where there is none */
} UriField;

void uri_append_path(Buf *out, const char *path, size_t len);
/* "a=1&b=": every name with '=', sorted by the encoded names, then values. Reorders `fields`. */
void uri_append_query(Buf *out, UriField *fields, size_t n);
/* Appends the decoded text: %XX, and '+' for a blank, as a server encodes what it lists. False
 * where an escape is broken or stands for NUL. */
MUST_CHECK bool uri_append_decoded(Buf *out, const char *text, size_t len);

#endif
