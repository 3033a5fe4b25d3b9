#include "cli/output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/common/json.h"

#define OUT_KEEP (256 * KIB)

void out_init(Output *out, int fd, bool json)
{
    *out = (Output){.fd = fd, .json = json};
}

void out_release(Output *out)
{
    buf_release(&out->pending);
    json_decref(out->doc);
    out->doc = NULL;
}

void out_flush(Output *out)
{
    for (size_t off = 0; off < out->pending.len && !out->failed;) {
        ssize_t n = write(out->fd, out->pending.data + off, out->pending.len - off);
        if (n < 0 && errno != EINTR)
            out->failed = errno;
        else if (n > 0)
            off += (size_t)n;
    }
    out->pending.len = 0;
}

static void out_flush_if_large(Output *out)
{
    if (out->pending.len >= OUT_KEEP)
        out_flush(out);
}

void out_text(Output *out, const char *fmt, ...)
{
    if (out->json)
        return;
    va_list ap;
    va_start(ap, fmt);
    char *text AUTO(mem_freep) = NULL;
    int len = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (len < 0) {
        text = NULL; /* vasprintf leaves it undefined */
        return;
    }
    buf_append(&out->pending, text, (size_t)len);
    out_flush_if_large(out);
}

static ErrCode out_failed(const Output *out, Err *err)
{
    return out->failed ? err_errno(err, out->failed, "cannot write to standard output") : ERR_OK;
}

ErrCode out_bytes(Output *out, const void *data, size_t len, Err *err)
{
    out->has_raw = true;
    buf_append(&out->pending, data, len);
    out_flush_if_large(out);
    return out_failed(out, err);
}

json_t *out_doc(Output *out)
{
    if (!out->doc)
        out->doc = json_object();
    return out->doc;
}

json_t *out_json_text(const char *text)
{
    size_t len = strlen(text);
    if (utf8_valid(text, len))
        return json_stringn(text, len);
    Buf clean AUTO(buf_release) = {0};
    while (*text) {
        size_t n = 1;
        while (n < 4 && text[n] && !utf8_valid(text, n))
            n++;
        if (utf8_valid(text, n)) {
            buf_append(&clean, text, n);
            text += n;
        } else {
            buf_append_str(&clean, "\xef\xbf\xbd");
            text++;
        }
    }
    return json_string(buf_str(&clean));
}

json_t *out_json_time(TimeUs t)
{
    char text[TIME_TEXT_LEN];
    return t ? json_string(time_format_rfc3339(t, text)) : json_null();
}

void out_error(Output *out, const Err *err)
{
    json_t *error = json_object();
    json_object_set_new(error, "code", json_string(err_code_name(err->code)));
    json_object_set_new(error, "message", out_json_text(err->message));
    json_object_set_new(error, "hint", err->hint[0] ? out_json_text(err->hint) : json_null());
    json_object_set_new(out_doc(out), "error", error);
}

ErrCode out_finish(Output *out, Err *err)
{
    if (out->json && !(out->has_raw && !out->doc)) {
        char *text AUTO(mem_freep) = json_dumps(out_doc(out), JSON_INDENT(2));
        if (!text)
            return err_set(err, ERR_INTERNAL, "cannot print the JSON result");
        buf_append_str(&out->pending, text);
        buf_append_str(&out->pending, "\n");
    }
    out_flush(out);
    return out_failed(out, err);
}

void out_append_clean(Buf *b, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        buf_append_u8(b, c < 0x20 || c == 0x7f ? '?' : c);
    }
}
