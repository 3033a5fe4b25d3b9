#ifndef PGDR_COMMON_JSON_H
#define PGDR_COMMON_JSON_H

/* Reading JSON that may be damaged (jansson parses; these check), and writing single strings.
 * jansson's json_decrefp() serves AUTO(). */

#include <jansson.h>

#include "lib/common/buf.h"
#include "lib/common/err.h"

/* One JSON object; ERR_DAMAGED when the text is anything else. The caller decrefs *ret. */
MUST_CHECK ErrCode json_parse_object(const void *text, size_t len, json_t **ret, Err *err);

/* Members that must be there with the right type; the string is borrowed from the object. */
MUST_CHECK ErrCode json_get_text(const json_t *obj, const char *key, const char **ret, Err *err);
/* A 64-bit number, which JSON cannot hold, as decimal digits in a string. */
MUST_CHECK ErrCode json_get_u64_text(const json_t *obj, const char *key, uint64_t *ret, Err *err);
/* An integer from `min` to `max`. */
MUST_CHECK ErrCode json_get_number(const json_t *obj, const char *key, int64_t min, int64_t max,
                                   int64_t *ret, Err *err);
MUST_CHECK ErrCode json_get_array(const json_t *obj, const char *key, json_t **ret, Err *err);
MUST_CHECK ErrCode json_get_object(const json_t *obj, const char *key, json_t **ret, Err *err);

/* Appends a quoted JSON string. `text` must be UTF-8. */
void json_append_quoted(Buf *out, const char *text, size_t len);
/* True when the bytes are UTF-8 without NUL. */
bool utf8_valid(const void *data, size_t len);
/* Base64 with padding. */
void base64_append(Buf *out, const void *data, size_t len);
MUST_CHECK ErrCode base64_parse(const char *text, Buf *out, Err *err);

#endif
