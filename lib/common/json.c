#include "lib/common/json.h"

#include <openssl/evp.h>
#include <string.h>

ErrCode json_parse_object(const void *text, size_t len, json_t **ret, Err *err)
{
    json_error_t why;
    json_t *j = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
    if (!j)
        return err_set(err, ERR_DAMAGED, "bad JSON in line %d, column %d: %s", why.line, why.column,
                       why.text);
    if (!json_is_object(j)) {
        json_decref(j);
        return err_set(err, ERR_DAMAGED, "JSON that is not an object");
    }
    *ret = j;
    return ERR_OK;
}

static ErrCode json_lacks(const char *key, const char *type, Err *err)
{
    return err_set(err, ERR_DAMAGED, "there is no %s \"%s\" in the JSON object", type, key);
}

ErrCode json_get_text(const json_t *obj, const char *key, const char **ret, Err *err)
{
    const char *s = json_string_value(json_object_get(obj, key));
    if (!s)
        return json_lacks(key, "string", err);
    *ret = s;
    return ERR_OK;
}

ErrCode json_get_u64_text(const json_t *obj, const char *key, uint64_t *ret, Err *err)
{
    const char *text;
    uint64_t v = 0;
    TRY(json_get_text(obj, key, &text, err));
    bool good = *text != '\0';
    for (const char *p = text; *p && good; p++)
        good = *p >= '0' && *p <= '9' && !__builtin_mul_overflow(v, 10, &v) &&
               !__builtin_add_overflow(v, (uint64_t)(*p - '0'), &v);
    if (!good)
        return err_set(err, ERR_DAMAGED, "\"%s\" is not a number of 64 bits", key);
    *ret = v;
    return ERR_OK;
}

ErrCode json_get_number(const json_t *obj, const char *key, int64_t min, int64_t max, int64_t *ret,
                        Err *err)
{
    const json_t *j = json_object_get(obj, key);
    if (!json_is_integer(j))
        return json_lacks(key, "integer", err);
    int64_t v = json_integer_value(j);
    if (v < min || v > max)
        return err_set(err, ERR_DAMAGED, "\"%s\" is %lld, outside %lld to %lld", key, (long long)v,
                       (long long)min, (long long)max);
    *ret = v;
    return ERR_OK;
}

ErrCode json_get_array(const json_t *obj, const char *key, json_t **ret, Err *err)
{
    json_t *j = json_object_get(obj, key);
    if (!json_is_array(j))
        return json_lacks(key, "array", err);
    *ret = j;
    return ERR_OK;
}

ErrCode json_get_object(const json_t *obj, const char *key, json_t **ret, Err *err)
{
    json_t *j = json_object_get(obj, key);
    if (!json_is_object(j))
        return json_lacks(key, "object", err);
    *ret = j;
    return ERR_OK;
}

void json_append_quoted(Buf *out, const char *text, size_t len)
{
    buf_append_u8(out, '"');
    size_t plain = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buf_append(out, text + plain, i - plain);
        plain = i + 1;
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else
            buf_printf(out, "\\u%04x", c);
    }
    buf_append(out, text + plain, len - plain);
    buf_append_u8(out, '"');
}

bool utf8_valid(const void *data, size_t len)
{
    const uint8_t *p = data, *end = p + len;
    while (p < end) {
        uint8_t c = *p++;
        if (c == 0)
            return false;
        if (c < 0x80)
            continue;
        int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
        uint32_t min = more == 3 ? 0x10000 : more == 2 ? 0x800 : 0x80;
        uint32_t v = more == 3 ? c & 0x07u : more == 2 ? c & 0x0fu : c & 0x1fu;
        if (c < 0xc2 || c > 0xf4 || end - p < more)
            return false;
        for (int i = 0; i < more; i++, p++) {
            if ((*p & 0xc0) != 0x80)
                return false;
            v = v << 6 | (*p & 0x3f);
        }
        if (v < min || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
            return false;
    }
    return true;
}

void base64_append(Buf *out, const void *data, size_t len)
{
    size_t need = (len + 2) / 3 * 4 + 1;
    int n = EVP_EncodeBlock(buf_reserve(out, need), data, (int)len);
    out->len += (size_t)n;
}

ErrCode base64_parse(const char *text, Buf *out, Err *err)
{
    size_t len = strlen(text);
    uint8_t *to = buf_reserve(out, len / 4 * 3 + 3);
    int n = len % 4 == 0 ? EVP_DecodeBlock(to, (const uint8_t *)text, (int)len) : -1;
    if (n < 0)
        return err_set(err, ERR_DAMAGED, "bad base64");
    for (size_t i = len; i && i > len - 2 && text[i - 1] == '='; i--)
        n--;
    out->len += (size_t)n;
    return ERR_OK;
}
