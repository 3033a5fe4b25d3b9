#ifndef PGDR_STORAGE_XML_H
#define PGDR_STORAGE_XML_H

/*
 * Reads the few small XML documents that S3 answers: elements and text, no more. Strict where
 * leniency could turn a cut or mixed-up answer into a wrong one: tags must match, nothing may
 * follow the root, an unknown entity or a document type is an error. Attributes and comments are
 * stepped over.
 *
 *     XmlReader r; xml_open(&r, text, len);
 *     while (xml_next(&r, &tag, err) == ERR_OK && tag.kind != XML_DONE) …
 *     xml_close(&r);
 */

#include "lib/common/buf.h"
#include "lib/common/err.h"

#define XML_DEPTH_MAX 16
#define XML_NAME_MAX 63

typedef enum XmlKind { XML_DONE, XML_BEGIN, XML_END } XmlKind;

typedef struct XmlReader {
    const char *at, *end;
    char names[XML_DEPTH_MAX][XML_NAME_MAX + 1]; /* of the open elements */
    unsigned depth;
    bool root_seen, empty_element;
    Buf text;
} XmlReader;

typedef struct XmlTag {
    XmlKind kind;
    const char *name; /* without a namespace's prefix; until the next call */
    unsigned depth;   /* of the element; the root has 1 */
    const char *text; /* at XML_END: decoded, what stood behind the last tag inside; never NULL */
    size_t text_len;
} XmlTag;

/* The text is borrowed. */
void xml_open(XmlReader *r, const void *text, size_t len);
void xml_close(XmlReader *r);
/* ERR_DAMAGED where it is no well-formed XML, ERR_LIMIT beyond the limits above. */
MUST_CHECK ErrCode xml_next(XmlReader *r, XmlTag *ret, Err *err);

/* Appends text as it stands between tags. */
void xml_append_text(Buf *out, const char *text);

#endif
