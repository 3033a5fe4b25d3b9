/*
 * libfault.so: makes system calls fail, or the process die, at a chosen place.
 *
 * It is loaded with LD_PRELOAD and told by the environment what to do. It counts the calls that
 * change something below FAULT_DIR, in all threads together, and acts on the n-th:
 *
 *   FAULT_DIR      folders, separated by colons; without it the library does nothing. A call counts
 *                  when its file, by descriptor or by name, old or new, lies below one of them.
 *   FAULT_OPS      which kinds of call count, separated by commas (default: all):
 *                    open      open, openat, creat, only for writing or creating
 *                    write     write, pwrite, writev, pwritev, copy_file_range
 *                    sync      fsync, fdatasync, syncfs
 *                    truncate  ftruncate, truncate, fallocate, posix_fallocate
 *                    close     close of a descriptor that may write
 *                    link      link, linkat, symlink
 *                    rename    rename, renameat, renameat2
 *                    mkdir     mkdir, mkdirat
 *                    unlink    unlink, unlinkat, rmdir
 *   FAULT_ACTION   what happens at the n-th:
 *                    count     nothing (the default)
 *                    ENOSPC, EIO, … or a number: the call fails with this error and does nothing,
 *                              but that a failed close has closed all the same, as on Linux
 *                    short     a write moves only half of its bytes and says so; others: as count
 *                    kill      SIGKILL before the call is carried out
 *                    stop      SIGSTOP before it: whoever sends SIGCONT lets all go on
 *                    torn      SIGKILL after it; a write has then moved only half of its bytes
 *   FAULT_NTH      the number of the call, from 1 (default 1)
 *   FAULT_REPEAT   1: every later call has the same fate (a disk that is full stays full)
 *   FAULT_STATE    a file that holds two unsigned 64-bit numbers in the machine's order: calls
 *                  counted, and faults done. It is made when absent, and processes that name the
 *                  same one count together, also one after the other. Without it each process
 *                  counts alone and nobody can ask.
 *   FAULT_TRACE    a file to which "<n> <call> <path>" is appended for every call counted
 *   FAULT_PROGRAM  only a process of this name (the last part of argv[0]) counts, so that a server
 *                  may be started with this environment and only its archive_command is hit
 *
 * What glibc does inside itself (stdio, mkstemp) and io_uring are not seen. With a program built
 * with AddressSanitizer set ASAN_OPTIONS=verify_asan_link_order=0.
 */
#define _GNU_SOURCE
#include "tests/fault/judge.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* The next definition of a function: libc's, or a sanitizer's that leads there. */
#define NEXT(fn) ((__typeof__(&fn))next_symbol(#fn))

static void *next_symbol(const char *name)
{
    void *symbol = dlsym(RTLD_NEXT, name);
    if (!symbol) {
        dprintf(2, "libfault: there is no %s to call\n", name);
        _exit(125);
    }
    return symbol;
}

/* A call that either happens or does not: `result` is evaluated only when it may happen. */
#define CARRY_OUT(verdict, result)                                                                 \
    ({                                                                                             \
        enum Act act_ = (verdict);                                                                 \
        __typeof__(result) result_ = (__typeof__(result))-1;                                       \
        if (act_ == ACT_FAIL)                                                                      \
            errno = fault_errno();                                                                 \
        else                                                                                       \
            result_ = (result);                                                                    \
        if (act_ == ACT_TORN)                                                                      \
            die();                                                                                 \
        result_;                                                                                   \
    })

/* A call that moves `size` bytes, half of them when the verdict says so. */
#define MOVE(verdict, size, result_of_half)                                                        \
    ({                                                                                             \
        enum Act move_ = (verdict);                                                                \
        if (move_ == ACT_SHORT || move_ == ACT_TORN)                                               \
            (size) = ((size) + 1) / 2;                                                             \
        CARRY_OUT(move_, result_of_half);                                                          \
    })

#define EXPORT __attribute__((visibility("default")))

/* ---- write ---- */

EXPORT ssize_t write(int fd, const void *data, size_t len)
{
    return MOVE(judge_fd(OP_WRITE, "write", fd), len, NEXT(write)(fd, data, len));
}

EXPORT ssize_t pwrite(int fd, const void *data, size_t len, off_t off)
{
    return MOVE(judge_fd(OP_WRITE, "pwrite", fd), len, NEXT(pwrite)(fd, data, len, off));
}

/* Half of a vector: all of it but the last piece, or half of an only piece. */
struct Half {
    struct iovec one;
    const struct iovec *iov;
    int n;
};

static struct Half half_of(const struct iovec *iov, int n)
{
    struct Half half = {.iov = iov, .n = n - 1};
    if (n == 1)
        half = (struct Half){.one = {iov[0].iov_base, (iov[0].iov_len + 1) / 2}, .n = 1};
    return half;
}

/* The vector to move under this verdict; `half` keeps it alive. */
static const struct iovec *vector_under(enum Act act, const struct iovec *iov, int *n,
                                        struct Half *half)
{
    if (*n < 1 || (act != ACT_SHORT && act != ACT_TORN))
        return iov;
    *half = half_of(iov, *n);
    *n = half->n;
    return half->iov ? half->iov : &half->one;
}

EXPORT ssize_t writev(int fd, const struct iovec *iov, int n)
{
    struct Half half;
    enum Act act = judge_fd(OP_WRITE, "writev", fd);
    const struct iovec *some = vector_under(act, iov, &n, &half);
    return CARRY_OUT(act, NEXT(writev)(fd, some, n));
}

EXPORT ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
    struct Half half;
    enum Act act = judge_fd(OP_WRITE, "pwritev", fd);
    const struct iovec *some = vector_under(act, iov, &n, &half);
    return CARRY_OUT(act, NEXT(pwritev)(fd, some, n, off));
}

EXPORT ssize_t copy_file_range(int in, off64_t *in_off, int out, off64_t *out_off, size_t len,
                               unsigned flags)
{
    return MOVE(judge_fd(OP_WRITE, "copy_file_range", out), len,
                NEXT(copy_file_range)(in, in_off, out, out_off, len, flags));
}

/* ---- sync ---- */

EXPORT int fsync(int fd)
{
    return CARRY_OUT(judge_fd(OP_SYNC, "fsync", fd), NEXT(fsync)(fd));
}

EXPORT int fdatasync(int fd)
{
    return CARRY_OUT(judge_fd(OP_SYNC, "fdatasync", fd), NEXT(fdatasync)(fd));
}

EXPORT int syncfs(int fd)
{
    return CARRY_OUT(judge_fd(OP_SYNC, "syncfs", fd), NEXT(syncfs)(fd));
}

/* ---- truncate ---- */

EXPORT int ftruncate(int fd, off_t len)
{
    return CARRY_OUT(judge_fd(OP_TRUNCATE, "ftruncate", fd), NEXT(ftruncate)(fd, len));
}

EXPORT int truncate(const char *path, off_t len)
{
    return CARRY_OUT(judge_name(OP_TRUNCATE, "truncate", AT_FDCWD, path),
                     NEXT(truncate)(path, len));
}

EXPORT int fallocate(int fd, int mode, off_t off, off_t len)
{
    return CARRY_OUT(judge_fd(OP_TRUNCATE, "fallocate", fd), NEXT(fallocate)(fd, mode, off, len));
}

/* These two return the error and leave errno alone. */
EXPORT int posix_fallocate(int fd, off_t off, off_t len)
{
    int saved = errno;
    int rc = CARRY_OUT(judge_fd(OP_TRUNCATE, "posix_fallocate", fd),
                       NEXT(posix_fallocate)(fd, off, len));
    errno = saved;
    return rc == -1 ? fault_errno() : rc;
}

/* ---- open and close ---- */

static enum Act judge_open(const char *call, int dirfd, const char *path, int flags)
{
    bool writes = (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC);
    if (!writes)
        return ACT_PASS;
    /* An unnamed file is made in the folder `path`, which counts itself. */
    return judge_name(OP_OPEN, call, dirfd, path);
}

#define MODE_OF(flags)                                                                             \
    ({                                                                                             \
        mode_t mode_ = 0;                                                                          \
        if ((flags)&O_CREAT || ((flags)&O_TMPFILE) == O_TMPFILE) {                                 \
            va_list args_;                                                                         \
            va_start(args_, flags);                                                                \
            mode_ = va_arg(args_, mode_t);                                                         \
            va_end(args_);                                                                         \
        }                                                                                          \
        mode_;                                                                                     \
    })

EXPORT int open(const char *path, int flags, ...)
{
    mode_t mode = MODE_OF(flags);
    return CARRY_OUT(judge_open("open", AT_FDCWD, path, flags), NEXT(open)(path, flags, mode));
}

EXPORT int openat(int dirfd, const char *path, int flags, ...)
{
    mode_t mode = MODE_OF(flags);
    return CARRY_OUT(judge_open("openat", dirfd, path, flags),
                     NEXT(openat)(dirfd, path, flags, mode));
}

/* What open becomes in programs built with _FORTIFY_SOURCE. */
int __open_2(const char *path, int flags);
int __openat_2(int dirfd, const char *path, int flags);

EXPORT int __open_2(const char *path, int flags)
{
    return CARRY_OUT(judge_open("open", AT_FDCWD, path, flags), NEXT(__open_2)(path, flags));
}

EXPORT int __openat_2(int dirfd, const char *path, int flags)
{
    return CARRY_OUT(judge_open("openat", dirfd, path, flags),
                     NEXT(__openat_2)(dirfd, path, flags));
}

EXPORT int creat(const char *path, mode_t mode)
{
    return CARRY_OUT(judge_name(OP_OPEN, "creat", AT_FDCWD, path), NEXT(creat)(path, mode));
}

EXPORT int close(int fd)
{
    int flags = is_on() ? fcntl(fd, F_GETFL) : -1;
    bool writes = flags != -1 && (flags & O_ACCMODE) != O_RDONLY;
    enum Act act = writes ? judge_fd(OP_CLOSE, "close", fd) : ACT_PASS;
    int rc = NEXT(close)(fd);
    if (act == ACT_TORN)
        die();
    if (act != ACT_FAIL)
        return rc;
    errno = fault_errno();
    return -1;
}

/* ---- names ---- */

EXPORT int link(const char *from, const char *to)
{
    return CARRY_OUT(judge_names(OP_LINK, "link", AT_FDCWD, from, AT_FDCWD, to),
                     NEXT(link)(from, to));
}

EXPORT int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    return CARRY_OUT(judge_name(OP_LINK, "linkat", to_dir, to),
                     NEXT(linkat)(from_dir, from, to_dir, to, flags));
}

EXPORT int symlink(const char *target, const char *path)
{
    return CARRY_OUT(judge_name(OP_LINK, "symlink", AT_FDCWD, path), NEXT(symlink)(target, path));
}

EXPORT int rename(const char *from, const char *to)
{
    return CARRY_OUT(judge_names(OP_RENAME, "rename", AT_FDCWD, from, AT_FDCWD, to),
                     NEXT(rename)(from, to));
}

EXPORT int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return CARRY_OUT(judge_names(OP_RENAME, "renameat", from_dir, from, to_dir, to),
                     NEXT(renameat)(from_dir, from, to_dir, to));
}

EXPORT int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    return CARRY_OUT(judge_names(OP_RENAME, "renameat2", from_dir, from, to_dir, to),
                     NEXT(renameat2)(from_dir, from, to_dir, to, flags));
}

EXPORT int mkdir(const char *path, mode_t mode)
{
    return CARRY_OUT(judge_name(OP_MKDIR, "mkdir", AT_FDCWD, path), NEXT(mkdir)(path, mode));
}

EXPORT int mkdirat(int dirfd, const char *path, mode_t mode)
{
    return CARRY_OUT(judge_name(OP_MKDIR, "mkdirat", dirfd, path),
                     NEXT(mkdirat)(dirfd, path, mode));
}

EXPORT int unlink(const char *path)
{
    return CARRY_OUT(judge_name(OP_UNLINK, "unlink", AT_FDCWD, path), NEXT(unlink)(path));
}

EXPORT int unlinkat(int dirfd, const char *path, int flags)
{
    return CARRY_OUT(judge_name(OP_UNLINK, "unlinkat", dirfd, path),
                     NEXT(unlinkat)(dirfd, path, flags));
}

EXPORT int rmdir(const char *path)
{
    return CARRY_OUT(judge_name(OP_UNLINK, "rmdir", AT_FDCWD, path), NEXT(rmdir)(path));
}

/* The same functions under the names that _FILE_OFFSET_BITS=64 gives them: where a pointer has 64
 * bits, off_t has too. */
_Static_assert(sizeof(off_t) == 8, "off_t has 64 bits");
#define ALSO(fn, other) EXPORT __typeof__(fn) other __attribute__((alias(#fn)))

ALSO(pwrite, pwrite64);
ALSO(pwritev, pwritev64);
ALSO(ftruncate, ftruncate64);
ALSO(truncate, truncate64);
ALSO(fallocate, fallocate64);
ALSO(posix_fallocate, posix_fallocate64);
ALSO(open, open64);
ALSO(openat, openat64);
ALSO(creat, creat64);
__typeof__(__open_2) __open64_2;
__typeof__(__openat_2) __openat64_2;
ALSO(__open_2, __open64_2);
ALSO(__openat_2, __openat64_2);
