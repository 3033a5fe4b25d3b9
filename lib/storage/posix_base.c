#include "lib/storage/posix_base.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/common/file.h"
#include "lib/common/hex.h"
#include "lib/common/log.h"

#define USER_LEN 64

/* --- names --- */

char *posix_path(const Posix *p, const char *rel)
{
    return *rel ? path_join(p->base.url, rel) : mem_strdup(p->base.url);
}

char *posix_dirname(const char *name)
{
    const char *slash = strrchr(name, '/');
    return mem_strndup(name, slash ? (size_t)(slash - name) : 0);
}

const char *posix_basename(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

char *posix_temp_name(char *out)
{
    char random[33];
    snprintf(out, POSIX_TEMP_LEN, POSIX_TEMP_PREFIX "%s", random_name(random));
    return out;
}

/* --- times --- */

TimeUs posix_time(struct timespec t)
{
    return (TimeUs)t.tv_sec * US_PER_SECOND + t.tv_nsec / 1000;
}

/* Only where they differ: a file server is asked for each change. */
static void give_rights(const Posix *p, int dir, const char *base)
{
    struct stat st;
    int flags = *base ? AT_SYMLINK_NOFOLLOW : AT_EMPTY_PATH;
    if (fstatat(dir, base, &st, flags) != 0)
        return;
    mode_t mode = S_ISDIR(st.st_mode) ? p->dir_mode : p->file_mode;
    if ((st.st_mode & 07777) == mode)
        return;
    if (*base)
        (void)!fchmodat(dir, base, mode, 0);
    else
        (void)!fchmod(dir, mode);
}

void posix_give(const Posix *p, int dir, const char *base)
{
    if (p->give_uid != (uid_t)-1 && *base)
        (void)!fchownat(dir, base, p->give_uid, p->give_gid, AT_SYMLINK_NOFOLLOW);
    else if (p->give_uid != (uid_t)-1)
        (void)!fchown(dir, p->give_uid, p->give_gid);
    give_rights(p, dir, base);
}

/* The modification time, because it never changes: by the change time an object that somebody
 * copies by a hard link or chowns would look young again, and who compares ages would see it so
 * while others have seen it old. No etag: inode numbers do not survive a move of the repository. */
void posix_fill_stat(const struct stat *st, StorageStat *ret)
{
    *ret = (StorageStat){.size = (uint64_t)st->st_size, .mtime = posix_time(st->st_mtim)};
}

/* --- errors --- */

/* A user's name, or the number when there is no name. `out`: USER_LEN. */
static const char *user_show(uid_t uid, char *out)
{
    struct passwd pw, *found = NULL;
    char text[2048];
    if (getpwuid_r(uid, &pw, text, sizeof(text), &found) == 0 && found)
        snprintf(out, USER_LEN, "%s", pw.pw_name);
    else
        snprintf(out, USER_LEN, "%u", (unsigned)uid);
    return out;
}

/* What refuses: `path`, or the nearest thing above it that can be looked at at all. */
static char *find_obstacle(char *path, struct stat *ret_st)
{
    while (stat(path, ret_st) != 0 && strcmp(path, "/") != 0) {
        char *up = path_parent(path);
        free(path);
        path = up;
    }
    return path;
}

static void hint_access(const char *url, const char *path, const struct stat *st, const char *me,
                        const char *owner, Err *err)
{
    if (geteuid() == 0)
        err_hint(
            err,
            "if this is a file server that gives root no rights (root_squash), run pgdr as the "
            "owner: sudo -u %s pgdr ...; else look for a write protection: lsattr -d '%s'",
            owner, path);
    else if (strlen(path) < strlen(url))
        err_hint(err,
                 "as root, make the directory for pgdr: install -d -o %s -m 0750 '%s'; %s "
                 "also needs the right to enter all directories above it",
                 me, url, me);
    else if (st->st_uid == geteuid())
        err_hint(err, "give its owner the rights: chmod u+rwX '%s'", path);
    else if (st->st_uid == 0)
        err_hint(err, "run pgdr as root, or give the repository to %s: chown -R %s '%s'", me, me,
                 url);
    else /* whose server archives there: taking it away from that would stop it */
        err_hint(err, "run pgdr as its owner: sudo -u %s pgdr ...", owner);
}

static void explain_access(const Posix *p, const char *at, Err *err)
{
    struct stat st = {0};
    char me[USER_LEN], owner[USER_LEN], text[sizeof(err->message)];
    char *path AUTO(mem_freep) = find_obstacle(posix_path(p, at), &st);
    user_show(geteuid(), me);
    user_show(st.st_uid, owner);
    int n = snprintf(text, sizeof(text),
                     "%s (%s '%s' belongs to %s and has mode %04o; pgdr runs as %s)", err->message,
                     S_ISDIR(st.st_mode) ? "directory" : "file", path, owner,
                     (unsigned)st.st_mode & 07777, me);
    if (n > 0)
        err_set(err, err->code, "%s", text);
    hint_access(p->base.url, path, &st, me, owner, err);
}

static void explain_read_only(const Posix *p, Err *err)
{
    char me[USER_LEN], text[sizeof(err->message)];
    int n =
        snprintf(text, sizeof(text), "%s (directory '%s' is mounted read-only; pgdr runs as %s)",
                 err->message, p->base.url, user_show(geteuid(), me));
    if (n > 0)
        err_set(err, err->code, "%s", text);
    err_hint(err,
             "see why with 'dmesg' (the kernel turns a failing file system read-only), then: "
             "mount -o remount,rw \"$(findmnt -n -o TARGET --target '%s')\"",
             p->base.url);
}

ErrCode posix_error(const Posix *p, int errnum, const char *at, Err *err, const char *fmt, ...)
{
    char text[sizeof(err->message)];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    err_errno(err, errnum, "%s", text);
    switch (errnum) {
    case EACCES:
    case EPERM:
        explain_access(p, at, err);
        break;
    case EROFS:
        explain_read_only(p, err);
        break;
    case ENOSPC:
        err_hint(err,
                 "make room: df -h '%s'; if that shows room, look at the number of files: "
                 "df -i '%s'",
                 p->base.url, p->base.url);
        break;
    case EDQUOT:
        err_hint(err, "make room or raise the quota of whom pgdr runs as: quota -s");
        break;
    case ESTALE:
        err_hint(err, "the file server has replaced '%s'; start pgdr again", p->base.url);
        break;
    default:
        break;
    }
    return err->code;
}

bool posix_is_removed(const Posix *p, int dir)
{
    struct stat st;
    return p->counts_links && fstat(dir, &st) == 0 && st.st_nlink == 0;
}

ErrCode posix_root_check(const Posix *p, Err *err)
{
    struct stat st;
    if (fstat(p->root, &st) != 0)
        return posix_error(p, errno, "", err, "cannot look at '%s'", p->base.url);
    if (posix_is_removed(p, p->root))
        return err_set(err, ERR_IO, "the directory '%s' was removed while pgdr was using it",
                       p->base.url);
    return ERR_OK;
}

/* --- system calls --- */

int posix_open_at(int dir, const char *rel, int flags)
{
    int fd;
    do
        fd = openat(dir, *rel ? rel : ".", flags | O_CLOEXEC, POSIX_FILE_RIGHTS);
    while (fd < 0 && errno == EINTR);
    return fd;
}

int posix_open_dir(int dir, const char *rel)
{
    return posix_open_at(dir, rel, O_RDONLY | O_DIRECTORY);
}

ErrCode posix_sync_dir(Posix *p, int fd, const char *rel, Err *err)
{
    int rc;
    do
        rc = fsync(fd);
    while (rc != 0 && errno == EINTR);
    if (rc == 0)
        return ERR_OK;
    int errnum = errno;
    char *path AUTO(mem_freep) = posix_path(p, rel);
    if (errnum != EINVAL && errnum != EOPNOTSUPP && errnum != ENOSYS)
        return posix_error(p, errnum, rel, err, "cannot make directory '%s' durable (fsync)", path);
    char reason[128];
    if (!atomic_exchange(&p->warned, true))
        log_warn("the file system of '%s' cannot be asked to make names durable (fsync of a "
                 "directory: %s); a power cut may lose what was stored last",
                 p->base.url, strerror_r(errnum, reason, sizeof(reason)));
    return ERR_OK;
}

void posix_refresh(const Posix *p, const char *name)
{
    struct statx stx;
    char dir[STORAGE_NAME_MAX + 1];
    for (const char *end = name; end; end = strchr(end + 1, '/')) {
        snprintf(dir, sizeof(dir), "%.*s", (int)(end - name), name);
        if (statx(p->root, dir, AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_CTIME, &stx) != 0)
            return;
    }
}
