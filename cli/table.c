#include "cli/table.h"

#include <stdarg.h>
#include <string.h>

void out_table_columns(OutTable *t, const char *title, ...)
{
    va_list ap;
    va_start(ap, title);
    for (; title && t->n_columns < TABLE_COLUMNS_MAX; title = va_arg(ap, const char *)) {
        t->right[t->n_columns] = title[0] == '>';
        t->titles[t->n_columns++] = title + (title[0] == '>');
    }
    va_end(ap);
}

void out_table_row(OutTable *t, const char *cell, ...)
{
    va_list ap;
    va_start(ap, cell);
    for (size_t i = 0; i < t->n_columns; i++) {
        Buf clean AUTO(buf_release) = {0};
        out_append_clean(&clean, cell ? cell : "");
        vec_push(&t->cells, mem_strdup(buf_str(&clean)));
        if (cell)
            cell = va_arg(ap, const char *);
    }
    va_end(ap);
}

/* Characters, not bytes: those that continue a UTF-8 sequence do not count. */
static size_t text_width(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static void append_padding(Buf *line, size_t n)
{
    memset(buf_reserve(line, n), ' ', n);
    line->len += n;
}

static void print_line(const OutTable *t, const char *const *cells, const size_t *width,
                       Output *out)
{
    Buf line AUTO(buf_release) = {0};
    size_t gap = 0; /* put before the next cell, so that no line ends in blanks */
    for (size_t i = 0; i < t->n_columns; i++) {
        if (!width[i])
            continue;
        size_t room = width[i] - text_width(cells[i]);
        if (cells[i][0]) {
            append_padding(&line, gap + (t->right[i] ? room : 0));
            buf_append_str(&line, cells[i]);
            gap = 2 + (t->right[i] ? 0 : room);
        } else {
            gap += width[i] + 2;
        }
    }
    out_text(out, "%s\n", buf_str(&line));
}

void out_table_print(const OutTable *t, Output *out)
{
    size_t width[TABLE_COLUMNS_MAX] = {0};
    bool titled = false;
    for (size_t i = 0; i < t->n_columns; i++) {
        width[i] = text_width(t->titles[i]);
        titled = titled || width[i];
    }
    for (size_t i = 0; i < t->cells.n; i++)
        width[i % t->n_columns] = MAX(width[i % t->n_columns], text_width(t->cells.at[i]));
    if (titled)
        print_line(t, t->titles, width, out);
    for (size_t i = 0; i < t->cells.n; i += t->n_columns)
        print_line(t, (const char *const *)t->cells.at + i, width, out);
}

void out_table_release(OutTable *t)
{
    str_list_release(&t->cells);
    *t = (OutTable){0};
}
