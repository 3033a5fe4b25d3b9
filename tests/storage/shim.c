#include "tests/storage/shim.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

Shim shim;

void shim_arm(unsigned calls, unsigned nth, ShimFate fate, int errnum)
{
    shim.calls = calls;
    shim.nth = nth;
    shim.fate = fate;
    shim.errnum = errnum;
    shim.count = 0;
    shim.hit = 0;
    shim.failed = 0;
    shim.synced_again = false;
}

void shim_disarm(void)
{
    shim.nth = 0;
}

/* --- the C library's own --- */

#define REAL(ret, name, ...)                                                                       \
    ret __real_##name(__VA_ARGS__);                                                                \
    ret __wrap_##name(__VA_ARGS__);                                                                \
    ret __wrap_##name(__VA_ARGS__)

/* Whether this call is the one; the fate is then shim.fate. */
static bool is_due(ShimCall call)
{
    if (!shim.nth || !(shim.calls & call) || ++shim.count != shim.nth)
        return false;
    shim.hit = call;
    if (shim.fate == SHIM_DIE)
        kill(getpid(), SIGKILL);
    return true;
}

static bool is_dir(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

static void record(ShimCall call, int fd)
{
    struct stat st;
    if (!shim.record || shim.n_events == SHIM_EVENTS_MAX || fstat(fd, &st) != 0)
        return;
    shim.events[shim.n_events++] = (ShimEvent){call, st.st_ino, S_ISDIR(st.st_mode)};
}

/* The answer of a call that was (not) done. */
#define ANSWER(due, done_expr)                                                                     \
    do {                                                                                           \
        if ((due) && shim.fate == SHIM_FAIL) {                                                     \
            errno = shim.errnum;                                                                   \
            return -1;                                                                             \
        }                                                                                          \
        __typeof__(done_expr) done_ = (done_expr);                                                 \
        if ((due) && shim.fate == SHIM_LOSE) {                                                     \
            errno = shim.errnum;                                                                   \
            return -1;                                                                             \
        }                                                                                          \
        return done_;                                                                              \
    } while (0)

static int refuse(int errnum)
{
    errno = errnum;
    return -1;
}

int __real_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    bool unnamed = (flags & O_TMPFILE) == O_TMPFILE;
    mode_t mode = flags & O_CREAT || unnamed ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    if (unnamed && shim.no_unnamed)
        return refuse(EOPNOTSUPP);
    bool due = is_due(SHIM_OPEN);
    ANSWER(due && shim.fate != SHIM_LOSE, __real_openat(dir, path, flags, mode));
}

REAL(ssize_t, pwrite, int fd, const void *data, size_t len, off_t off)
{
    bool due = is_due(SHIM_WRITE);
    bool direct = fcntl(fd, F_GETFL) & O_DIRECT;
    if (shim.no_direct_write && direct)
        return refuse(EINVAL);
    if ((shim.short_writes || (due && shim.fate == SHIM_SHORT)) && len > 1)
        len = len / 2 + 1;
    *(direct ? &shim.bytes_direct : &shim.bytes_buffered) += len;
    ANSWER(due, __real_pwrite(fd, data, len, off));
}

REAL(ssize_t, pread, int fd, void *data, size_t len, off_t off)
{
    bool due = is_due(SHIM_READ);
    ANSWER(due, __real_pread(fd, data, len, off));
}

REAL(int, fsync, int fd)
{
    struct stat st;
    bool due = is_due(SHIM_FSYNC);
    shim.hit_dir = due ? is_dir(fd) : shim.hit_dir;
    record(SHIM_FSYNC, fd);
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        shim.synced_again |= shim.failed == st.st_ino;
        if (due && shim.fate == SHIM_FAIL)
            shim.failed = st.st_ino;
    } else if (shim.no_dir_fsync) {
        return refuse(EINVAL);
    }
    ANSWER(due, __real_fsync(fd));
}

REAL(int, close, int fd)
{
    /* A failed close has closed the descriptor. */
    bool due = is_due(SHIM_CLOSE);
    shim.hit_dir = due ? is_dir(fd) : shim.hit_dir;
    int rc = __real_close(fd);
    ANSWER(due, rc);
}

REAL(int, linkat, int from, const char *old, int to, const char *new, int flags)
{
    if (shim.no_link || (shim.no_unnamed_link && strncmp(old, "/proc/", 6) == 0))
        return refuse(EPERM);
    bool due = is_due(SHIM_LINK);
    record(SHIM_LINK, to);
    ANSWER(due, __real_linkat(from, old, to, new, flags));
}

REAL(int, renameat2, int from, const char *old, int to, const char *new, unsigned flags)
{
    if (shim.no_noreplace && flags)
        return refuse(EINVAL);
    bool due = is_due(SHIM_RENAME);
    record(SHIM_RENAME, to);
    ANSWER(due, __real_renameat2(from, old, to, new, flags));
}

REAL(int, unlinkat, int dir, const char *path, int flags)
{
    bool due = is_due(SHIM_UNLINK);
    record(SHIM_UNLINK, dir);
    ANSWER(due, __real_unlinkat(dir, path, flags));
}

REAL(int, mkdirat, int dir, const char *path, mode_t mode)
{
    bool due = is_due(SHIM_MKDIR);
    record(SHIM_MKDIR, dir);
    ANSWER(due, __real_mkdirat(dir, path, mode));
}

REAL(int, fstatat, int dir, const char *path, struct stat *st, int flags)
{
    bool due = is_due(SHIM_STAT);
    ANSWER(due, __real_fstatat(dir, path, st, flags));
}

REAL(int, statx, int dir, const char *restrict path, int flags, unsigned mask,
     struct statx *restrict stx)
{
    shim.asked_afresh += (flags & AT_STATX_FORCE_SYNC) != 0;
    return __real_statx(dir, path, flags, mask, stx);
}

int __real_fcntl(int fd, int what, ...);
int __wrap_fcntl(int fd, int what, ...);
int __wrap_fcntl(int fd, int what, ...)
{
    va_list ap;
    va_start(ap, what);
    int flags = what == F_SETFL ? va_arg(ap, int) : 0;
    va_end(ap);
    if (what == F_SETFL && (flags & O_DIRECT) && shim.no_direct_flag)
        return refuse(EINVAL);
    return __real_fcntl(fd, what, flags);
}

REAL(struct dirent *, readdir, DIR *dir)
{
    if (is_due(SHIM_READDIR)) {
        errno = shim.errnum;
        return NULL;
    }
    struct dirent *e = __real_readdir(dir);
    if (e && shim.no_types)
        e->d_type = DT_UNKNOWN;
    return e;
}
