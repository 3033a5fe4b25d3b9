#ifndef PGDR_TESTS_WAL_FIXTURE_H
#define PGDR_TESTS_WAL_FIXTURE_H

/* The files below tests/unit/data (see make-fixtures there), raw. */

#include "lib/common/compress.h"
#include "lib/common/file.h"
#include "tests/unit/unit.h"

#ifndef TEST_DATA
#define TEST_DATA "tests/unit/data" /* from the top of the tree; local.mk says it absolutely */
#endif

#define FIXTURE_SEG ((size_t)1 << 20)

static const int fixture_majors[] = {13, 15, 17, 18};

static inline Buf fixture_file(int major, const char *ending)
{
    Buf raw = {0};
    char path[512];
    snprintf(path, sizeof(path), "%s/%d.%s", TEST_DATA, major, ending);
    expect_ok(file_read_all(path, 64 * MIB, &raw, err));
    return raw;
}

static inline Buf fixture_zst(int major, const char *ending)
{
    Buf in = fixture_file(major, ending), out = {0};
    size_t len;
    Decompressor *d = decompressor_new();
    expect_ok(frame_raw_size(in.data, in.len, 64 * MIB, &len, err));
    buf_reserve(&out, len + 1);
    expect_ok(decompressor_run(d, in.data, in.len, out.data, len, err));
    out.len = len;
    decompressor_free(d);
    buf_release(&in);
    return out;
}

#endif
