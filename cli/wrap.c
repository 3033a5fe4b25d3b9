#include "cli/wrap.h"

#include <string.h>

void wrap_append(Buf *out, const char *text, size_t column, const char *prefix, size_t width)
{
    bool first = true; /* of its line */
    while (*text) {
        size_t len = strcspn(text, " \n");
        if (!first && column + 1 + len > width) {
            buf_printf(out, "\n%s", prefix);
            column = strlen(prefix);
            first = true;
        }
        buf_printf(out, "%s%.*s", first ? "" : " ", (int)len, text);
        column += len + !first;
        first = false;
        text += len;
        if (strncmp(text, "\n\n", 2) == 0) {
            buf_printf(out, "\n%.*s\n%s", (int)strlen(prefix), prefix, prefix);
            column = strlen(prefix);
            first = true;
        }
        text += strspn(text, " \n");
    }
    buf_append_str(out, "\n");
    while (out->len >= 2 && out->data[out->len - 2] == ' ')
        out->data[--out->len - 1] = '\n';
}
