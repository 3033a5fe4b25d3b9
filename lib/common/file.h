#ifndef PGDR_COMMON_FILE_H
#define PGDR_COMMON_FILE_H

/*
 * Files and directories, whole reads and writes, and durability.
 *
 * "Durable" means: after success the bytes and the name survive a power cut. A failed fsync is
 * final: the kernel may have dropped the dirty pages, so the caller writes a new file from memory
 * and never calls fsync on the old one again.
 */

#include <sys/stat.h>
#include <sys/types.h>

#include "lib/common/buf.h"
#include "lib/common/err.h"

/* open(2) with O_CLOEXEC. The caller closes *ret. */
MUST_CHECK ErrCode file_open(const char *path, int flags, mode_t mode, int *ret, Err *err);
/* Reads up to `len` bytes at `off`; *ret_got < len only at the end of the file. */
MUST_CHECK ErrCode file_read_at(int fd, void *data, size_t len, uint64_t off, size_t *ret_got,
                                const char *path, Err *err);
MUST_CHECK ErrCode file_write(int fd, const void *data, size_t len, const char *path, Err *err);
MUST_CHECK ErrCode file_write_at(int fd, const void *data, size_t len, uint64_t off,
                                 const char *path, Err *err);
MUST_CHECK ErrCode file_sync(int fd, const char *path, Err *err);
/* close(2) whose failure counts (NFS reports a failed write here). *fd becomes -1. */
MUST_CHECK ErrCode file_close(int *fd, const char *path, Err *err);

/* Appends the whole file to *out; ERR_LIMIT when it is larger than `limit` bytes. */
MUST_CHECK ErrCode file_read_all(const char *path, size_t limit, Buf *out, Err *err);
/* Replaces `path` durably: temporary file beside it, fsync, rename, fsync of the directory. */
MUST_CHECK ErrCode file_replace(const char *path, const void *data, size_t len, mode_t mode,
                                Err *err);
/* Removes a file durably; that it was not there is no error. */
MUST_CHECK ErrCode file_remove(const char *path, Err *err);

/* Makes the names in a directory durable, as far as its file system can be asked to. */
MUST_CHECK ErrCode dir_sync(const char *path, Err *err);
/* Makes `path` and what is missing above it, each made durable in its parent. */
MUST_CHECK ErrCode dir_make(const char *path, mode_t mode, Err *err);
/* The names in a directory except . and .., sorted by bytes. */
MUST_CHECK ErrCode dir_list(const char *path, StrList *ret, Err *err);
/* Removes everything below `path`, and `path` itself unless keep_top. Never follows a link. */
MUST_CHECK ErrCode dir_remove_tree(const char *path, bool keep_top, Err *err);

/* "a/b" from "a/" or "a" and "b"; the caller frees. */
char *path_join(const char *dir, const char *name);
/* The part before the last slash ("." or "/" when there is none); the caller frees. */
char *path_parent(const char *path);
/* Absolute form of a path that need not exist, without "." and ".." resolved; caller frees. */
char *path_absolute(const char *path);

#endif
