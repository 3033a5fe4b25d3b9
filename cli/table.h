#ifndef PGDR_CLI_TABLE_H
#define PGDR_CLI_TABLE_H

/*
 * Aligned columns for people.
 *
 *     OutTable t AUTO(out_table_release) = {0};
 *     out_table_columns(&t, "BACKUP", ">SIZE", "STATUS", NULL);   '>' aligns to the right
 *     out_table_row(&t, id, size_format(n, a), "ok", NULL);       as many cells as columns
 *     out_table_print(&t, out);
 *
 * Cells are copied. Columns of which no cell and no title holds anything are left out.
 */

#include "cli/output.h"

#define TABLE_COLUMNS_MAX 16

typedef struct OutTable {
    size_t n_columns;
    bool right[TABLE_COLUMNS_MAX];
    const char *titles[TABLE_COLUMNS_MAX];
    StrList cells;
} OutTable;

void out_table_columns(OutTable *t, const char *title, ...) __attribute__((sentinel));
void out_table_row(OutTable *t, const char *cell, ...) __attribute__((sentinel));
void out_table_print(const OutTable *t, Output *out);
void out_table_release(OutTable *t);

#endif
