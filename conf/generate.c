/* Build tool: writes one generated file to standard output. Used by `make generate`, which
 * refreshes the committed files, and by tests/lint/fresh, which fails when they are stale. */

#include "conf/generate.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*fn)(Buf *out);
    } files[] = {
        {"man", generate_man}, {"sample", generate_sample}, {"completion", generate_completion}};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        if (argc != 2 || strcmp(argv[1], files[i].name) != 0)
            continue;
        Buf out AUTO(buf_release) = {0};
        files[i].fn(&out);
        bool ok = fwrite(out.data, 1, out.len, stdout) == out.len && fflush(stdout) == 0;
        return ok ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    fprintf(stderr, "usage: generate man|sample|completion\n");
    return EXIT_FAILURE;
}
