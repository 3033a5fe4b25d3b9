#ifndef PGDR_CLI_WRAP_H
#define PGDR_CLI_WRAP_H

/* Text in lines of bounded width. */

#include "lib/common/buf.h"

#define WRAP_WIDTH 80

/*
 * Appends `text` broken between words so that no line passes `width`. The first line goes on at
 * column `column`, where the caller has already written; the others begin with `prefix` ("", "# ",
 * blanks). Ends with a newline.
 */
void wrap_append(Buf *out, const char *text, size_t column, const char *prefix, size_t width);

#endif
