#include "lib/storage/xml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void xml_open(XmlReader *r, const void *text, size_t len)
{
    *r = (XmlReader){.at = text, .end = (const char *)text + len};
    if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        r->at += 3;
}

void xml_close(XmlReader *r)
{
    buf_release(&r->text);
}

static ErrCode bad(const char *what, Err *err)
{
    return err_set(err, ERR_DAMAGED, "the XML is %s", what);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool starts(const XmlReader *r, const char *text)
{
    size_t len = strlen(text);
    return (size_t)(r->end - r->at) >= len && memcmp(r->at, text, len) == 0;
}

static void skip_space(XmlReader *r)
{
    while (r->at < r->end && is_space(*r->at))
        r->at++;
}

/* Behind `stop`; where it begins is put to *ret_stop. */
static ErrCode skip_to(XmlReader *r, const char *stop, const char **ret_stop, Err *err)
{
    const char *p =
        r->at < r->end ? memmem(r->at, (size_t)(r->end - r->at), stop, strlen(stop)) : NULL;
    if (!p)
        return bad("cut off", err);
    *ret_stop = p;
    r->at = p + strlen(stop);
    return ERR_OK;
}

/* --- text --- */

static void append_char(Buf *out, uint32_t c)
{
    if (c < 0x80) {
        buf_append_u8(out, (uint8_t)c);
    } else if (c < 0x800) {
        buf_append_u8(out, (uint8_t)(0xC0 | c >> 6));
        buf_append_u8(out, (uint8_t)(0x80 | (c & 0x3F)));
    } else if (c < 0x10000) {
        buf_append_u8(out, (uint8_t)(0xE0 | c >> 12));
        buf_append_u8(out, (uint8_t)(0x80 | (c >> 6 & 0x3F)));
        buf_append_u8(out, (uint8_t)(0x80 | (c & 0x3F)));
    } else {
        buf_append_u8(out, (uint8_t)(0xF0 | c >> 18));
        buf_append_u8(out, (uint8_t)(0x80 | (c >> 12 & 0x3F)));
        buf_append_u8(out, (uint8_t)(0x80 | (c >> 6 & 0x3F)));
        buf_append_u8(out, (uint8_t)(0x80 | (c & 0x3F)));
    }
}

/* "#38" or "#x26"; 0 for what is no character. */
static uint32_t char_reference(const char *p, size_t len)
{
    bool hex = len > 1 && p[1] == 'x';
    uint32_t c = 0;
    size_t i = hex ? 2 : 1;
    if (i >= len || len > 9)
        return 0;
    for (; i < len; i++) {
        int d = p[i] >= '0' && p[i] <= '9'          ? p[i] - '0'
                : hex && p[i] >= 'a' && p[i] <= 'f' ? p[i] - 'a' + 10
                : hex && p[i] >= 'A' && p[i] <= 'F' ? p[i] - 'A' + 10
                                                    : -1;
        if (d < 0)
            return 0;
        c = c * (hex ? 16 : 10) + (uint32_t)d;
    }
    return c > 0x10FFFF || (c >= 0xD800 && c < 0xE000) ? 0 : c;
}

/* `p` is behind the '&'; returns what follows the ';'. */
static const char *append_entity(Buf *out, const char *p, const char *end)
{
    static const struct {
        const char *name;
        char c;
    } known[] = {{"lt", '<'}, {"gt", '>'}, {"amp", '&'}, {"quot", '"'}, {"apos", '\''}};
    const char *stop = memchr(p, ';', (size_t)MIN(end - p, 10));
    if (!stop || stop == p)
        return NULL;
    size_t len = (size_t)(stop - p);
    if (*p == '#') {
        uint32_t c = char_reference(p, len);
        if (!c)
            return NULL;
        append_char(out, c);
        return stop + 1;
    }
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strlen(known[i].name) == len && memcmp(p, known[i].name, len) == 0) {
            buf_append_u8(out, (uint8_t)known[i].c);
            return stop + 1;
        }
    }
    return NULL;
}

/* Up to the next '<'. */
static ErrCode read_text(XmlReader *r, Err *err)
{
    while (r->at < r->end && *r->at != '<') {
        unsigned char c = (unsigned char)*r->at;
        if (r->depth == 0 && !is_space(*r->at))
            return bad(r->root_seen ? "followed by something else" : "none", err);
        if (c < 0x20 && !is_space(*r->at))
            return bad("damaged: it holds a control character", err);
        if (c == '&') {
            r->at = append_entity(&r->text, r->at + 1, r->end);
            if (!r->at)
                return bad("damaged: it holds an unknown entity", err);
            continue;
        }
        buf_append_u8(&r->text, c);
        r->at++;
    }
    return ERR_OK;
}

/* --- tags --- */

static bool name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.' || (unsigned char)c >= 0x80;
}

/* "Key" from "s3:Key". */
static ErrCode read_name(XmlReader *r, char out[XML_NAME_MAX + 1], Err *err)
{
    const char *from = r->at, *p = from;
    while (p < r->end && (name_char(*p) || (*p == ':' && p > from))) {
        if (*p++ == ':')
            from = p;
    }
    size_t len = (size_t)(p - from);
    r->at = p;
    if (!len)
        return bad("damaged: a tag has no name", err);
    if (len > XML_NAME_MAX)
        return err_set(err, ERR_LIMIT, "the XML has a name of %zu bytes", len);
    memcpy(out, from, len);
    out[len] = '\0';
    return ERR_OK;
}

/* name="value", which nobody needs, up to and with '>' or "/>". */
static ErrCode skip_attributes(XmlReader *r, bool *ret_empty, Err *err)
{
    for (;;) {
        const char *stop;
        char name[XML_NAME_MAX + 1];
        skip_space(r);
        *ret_empty = starts(r, "/>");
        if (*ret_empty || starts(r, ">")) {
            r->at += *ret_empty ? 2 : 1;
            return ERR_OK;
        }
        if (r->at == r->end)
            return bad("cut off", err);
        TRY(read_name(r, name, err));
        skip_space(r);
        if (!starts(r, "=\"") && !starts(r, "='"))
            return bad("damaged: an attribute has no value", err);
        const char quote[2] = {r->at[1], '\0'};
        r->at += 2;
        TRY(skip_to(r, quote, &stop, err));
    }
}

static ErrCode open_element(XmlReader *r, XmlTag *ret, Err *err)
{
    if (r->depth == 0 && r->root_seen)
        return bad("followed by something else", err);
    if (r->depth == XML_DEPTH_MAX)
        return err_set(err, ERR_LIMIT, "the XML is nested more than %d deep", XML_DEPTH_MAX);
    r->at++;
    TRY(read_name(r, r->names[r->depth], err));
    TRY(skip_attributes(r, &r->empty_element, err));
    r->root_seen = true;
    r->text.len = 0;
    *ret = (XmlTag){.kind = XML_BEGIN, .name = r->names[r->depth], .text = ""};
    ret->depth = ++r->depth;
    return ERR_OK;
}

static ErrCode end_element(XmlReader *r, XmlTag *ret, Err *err)
{
    char name[XML_NAME_MAX + 1];
    if (!r->depth)
        return bad("damaged: a tag is closed that was not opened", err);
    const char *open = r->names[r->depth - 1];
    if (!r->empty_element) {
        r->at += 2;
        TRY(read_name(r, name, err));
        skip_space(r);
        if (r->at == r->end)
            return bad("cut off", err);
        if (*r->at != '>' || strcmp(name, open) != 0)
            return bad("damaged: its tags do not match", err);
        r->at++;
    }
    r->empty_element = false;
    *ret = (XmlTag){.kind = XML_END, .name = open, .depth = r->depth--, .text_len = r->text.len};
    ret->text = buf_str(&r->text);
    return ERR_OK;
}

/* <?…?>, <!--…--> and <![CDATA[…]]>; false when none of them comes next. */
static ErrCode step_over(XmlReader *r, bool *ret_stepped, Err *err)
{
    const char *stop;
    *ret_stepped = true;
    if (starts(r, "<?"))
        return skip_to(r, "?>", &stop, err);
    if (starts(r, "<!--"))
        return skip_to(r, "-->", &stop, err);
    if (starts(r, "<![CDATA[") && r->depth) {
        const char *from = r->at += 9;
        TRY(skip_to(r, "]]>", &stop, err));
        buf_append(&r->text, from, (size_t)(stop - from));
        return ERR_OK;
    }
    *ret_stepped = false;
    return starts(r, "<!") ? bad("of a kind that is not read: it declares something", err) : ERR_OK;
}

ErrCode xml_next(XmlReader *r, XmlTag *ret, Err *err)
{
    if (r->empty_element)
        return end_element(r, ret, err);
    /* What stood before the last tag is no text of the element that is open now. */
    r->text.len = 0;
    for (bool stepped = true; stepped;) {
        TRY(read_text(r, err));
        if (r->at == r->end) {
            *ret = (XmlTag){.kind = XML_DONE, .name = "", .text = ""};
            return r->depth || !r->root_seen ? bad(r->root_seen ? "cut off" : "none", err) : ERR_OK;
        }
        TRY(step_over(r, &stepped, err));
    }
    if (starts(r, "</"))
        return end_element(r, ret, err);
    return open_element(r, ret, err);
}

void xml_append_text(Buf *out, const char *text)
{
    for (const char *p = text; *p; p++) {
        switch (*p) {
        case '<':
            buf_append_str(out, "&lt;");
            break;
        case '>':
            buf_append_str(out, "&gt;");
            break;
        case '&':
            buf_append_str(out, "&amp;");
            break;
        case '"':
            buf_append_str(out, "&quot;");
            break;
        case '\'':
            buf_append_str(out, "&apos;");
            break;
        default:
            buf_append_u8(out, (uint8_t)*p);
        }
    }
}
