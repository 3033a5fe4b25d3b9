#ifndef PGDR_CLI_OUTPUT_H
#define PGDR_CLI_OUTPUT_H

/*
 * The result on standard output: text for people, or with --output=json exactly one JSON object.
 *
 * A command writes both without asking which is wanted: out_text() and the tables do nothing in
 * JSON mode, and the object that out_doc() hands out is printed in JSON mode only, when the process
 * ends (with "error" in it when the command failed). Everything is kept in memory until a few
 * hundred KiB are there or out_finish() is called; a write that failed is told once, by
 * out_finish() or out_bytes().
 */

#include <jansson.h>

#include "lib/common/buf.h"
#include "lib/common/err.h"
#include "lib/common/timeutil.h"

typedef struct Output {
    int fd;
    bool json;
    Buf pending;
    json_t *doc;
    int failed;   /* errno of the first write that failed */
    bool has_raw; /* out_bytes() was used: nothing may be added to its bytes */
} Output;

void out_init(Output *out, int fd, bool json);
void out_release(Output *out);

/* Text for people. */
void out_text(Output *out, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Bytes as they are, in both modes (repo get); no JSON object follows them unless it fails. */
MUST_CHECK ErrCode out_bytes(Output *out, const void *data, size_t len, Err *err);

/* Writes out what there is, before a question is asked. A failure is told by out_finish(). */
void out_flush(Output *out);

/* The one JSON object; borrowed. Members are added with json_object_set_new(). */
json_t *out_doc(Output *out);
/* A JSON string of any bytes: those that are not UTF-8 become U+FFFD. Never NULL. */
json_t *out_json_text(const char *text);
/* RFC 3339, or null for 0. */
json_t *out_json_time(TimeUs t);

/* Adds {"error":{"code","message","hint"}} to the object. */
void out_error(Output *out, const Err *err);

/* Writes what is left. ERR_IO, ERR_NO_SPACE … when standard output did not take everything. */
MUST_CHECK ErrCode out_finish(Output *out, Err *err);

/* Replaces what a terminal could take for a command: a file name must not paint the screen. */
void out_append_clean(Buf *b, const char *text);

#endif
