#ifndef PGDR_RESTORE_FILE_WRITER_H
#define PGDR_RESTORE_FILE_WRITER_H

/*
 * Writing large files past the page cache (O_DIRECT where the filesystem takes it): on restore the
 * cache would only be filled with what is not read again soon, and the copying costs the CPU that
 * decompression needs.
 */

#include "lib/common/err.h"

typedef struct FileWriter {
    int fd;
    bool direct; /* O_DIRECT is on now */
    const char *path;
} FileWriter;

#define FILE_WRITER_ALIGN 4096

/* Opens (and makes) a file for writing at any place. `path` is borrowed. */
MUST_CHECK ErrCode file_writer_open(FileWriter *w, const char *path, Err *err);
/* `data` must be aligned to FILE_WRITER_ALIGN for direct writing; any offset and length work. */
MUST_CHECK ErrCode file_writer_put(FileWriter *w, const void *data, size_t len, uint64_t off,
                                   Err *err);
/* Zeros, allocated but not written where the filesystem can. */
MUST_CHECK ErrCode file_writer_zeros(FileWriter *w, uint64_t off, uint64_t len, Err *err);
MUST_CHECK ErrCode file_writer_truncate(FileWriter *w, uint64_t size, Err *err);
MUST_CHECK ErrCode file_writer_close(FileWriter *w, Err *err);
void file_writer_abort(FileWriter *w);

#endif
