/* Objects as files below a directory; see posix_base.h for the parts. */

#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "lib/common/file.h"
#include "lib/storage/drivers.h"
#include "lib/storage/posix_dirs.h"
#include "lib/storage/posix_list.h"
#include "lib/storage/posix_put.h"

/* From here on a read is announced to the kernel, and its pages are dropped afterwards: packs and
 * WAL are read once, and the server's own cache is worth more. */
#define STREAM_MIN MIB
/* A file with a temporary name and this age belongs to nobody any more. */
#define LEFTOVER_AGE (24 * 3600 * US_PER_SECOND)

/* A symbolic link that leads to itself is no object either, as one that leads nowhere. */
static bool is_absent(int errnum)
{
    return errnum == ENOENT || errnum == ENOTDIR || errnum == ELOOP;
}

static ErrCode not_found(const Posix *p, const char *path, const char *verb, Err *err)
{
    TRY(posix_root_check(p, err));
    return err_set(err, ERR_NOT_FOUND, "cannot %s '%s': there is no such object", verb, path);
}

/* --- get and stat --- */

static ErrCode open_object(const Posix *p, const char *name, const char *path, int *ret,
                           struct stat *ret_st, Err *err)
{
    /* O_NONBLOCK: whatever else has this name, opening it must not hang. */
    int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY;
    int fd AUTO(fd_closep) = posix_open_at(p->root, name, flags);
    if (fd < 0 && errno == ENOENT) {
        posix_refresh(p, name);
        fd = posix_open_at(p->root, name, flags);
    }
    if (fd < 0 && is_absent(errno))
        return not_found(p, path, "read", err);
    if (fd < 0)
        return posix_error(p, errno, name, err, "cannot open '%s'", path);
    if (fstat(fd, ret_st) != 0)
        return posix_error(p, errno, name, err, "cannot look at '%s'", path);
    if (!S_ISREG(ret_st->st_mode))
        return not_found(p, path, "read", err);
    *ret = fd;
    fd = -1;
    return ERR_OK;
}

static ErrCode read_object(int fd, StorageRead *read, const char *path, Err *err)
{
    if (read->from_end)
        read->off = read->size - MIN(read->len, read->size);
    size_t len = read->off < read->size ? (size_t)MIN(read->len, read->size - read->off) : 0;
    bool stream = len >= STREAM_MIN;
    if (stream)
        (void)!posix_fadvise(fd, (off_t)read->off, (off_t)len, POSIX_FADV_SEQUENTIAL);
    TRY(file_read_at(fd, read->data, len, read->off, &read->got, path, err));
    if (stream)
        (void)!posix_fadvise(fd, (off_t)read->off, (off_t)len, POSIX_FADV_DONTNEED);
    if (read->got < len)
        return err_set(err, ERR_IO, "cannot read '%s': it was cut to %llu bytes meanwhile", path,
                       (unsigned long long)(read->off + read->got));
    return ERR_OK;
}

static ErrCode posix_get(Storage *s, const char *name, StorageRead *read, Err *err)
{
    Posix *p = (Posix *)s;
    char *path AUTO(mem_freep) = posix_path(p, name);
    int fd AUTO(fd_closep) = -1;
    struct stat st;
    TRY(open_object(p, name, path, &fd, &st, err));
    read->size = (uint64_t)st.st_size;
    return read_object(fd, read, path, err);
}

static ErrCode posix_stat(Storage *s, const char *name, StorageStat *ret, Err *err)
{
    Posix *p = (Posix *)s;
    char *path AUTO(mem_freep) = posix_path(p, name);
    struct stat st;
    int rc = fstatat(p->root, name, &st, 0);
    if (rc != 0 && errno == ENOENT) {
        posix_refresh(p, name);
        rc = fstatat(p->root, name, &st, 0);
    }
    if ((rc != 0 && is_absent(errno)) || (rc == 0 && !S_ISREG(st.st_mode)))
        return not_found(p, path, "look at", err);
    if (rc != 0)
        return posix_error(p, errno, name, err, "cannot look at '%s'", path);
    posix_fill_stat(&st, ret);
    return ERR_OK;
}

/* --- remove --- */

/* Makes the removals in a directory durable. If it is gone itself, that it went must be durable:
 * the nearest directory above that is still there. */
static ErrCode sync_above(Posix *p, const char *rel, Err *err)
{
    int fd AUTO(fd_closep) = posix_open_dir(p->root, rel);
    if (fd >= 0)
        return posix_sync_dir(p, fd, rel, err);
    if (*rel && is_absent(errno)) {
        char *up AUTO(mem_freep) = posix_dirname(rel);
        return sync_above(p, up, err);
    }
    int errnum = errno;
    char *path AUTO(mem_freep) = posix_path(p, rel);
    return posix_error(p, errnum, rel, err, "cannot open directory '%s'", path);
}

/* Removes temporary files of processes that were killed, when nothing else is left in a directory;
 * false when there is something else. */
static bool remove_leftovers(const Posix *p, const char *rel)
{
    int fd = posix_open_dir(p->root, rel);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        fd_closep(&fd);
        return false;
    }
    bool all = true;
    for (struct dirent *e; all && (e = readdir(dir));) {
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        all = strncmp(e->d_name, POSIX_TEMP_PREFIX, strlen(POSIX_TEMP_PREFIX)) == 0 &&
              fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
              posix_time(st.st_mtim) + LEFTOVER_AGE < time_now() && unlinkat(fd, e->d_name, 0) == 0;
    }
    closedir(dir);
    return all;
}

/* Removes the directory and those above it as far as they are empty. Nothing depends on it: empty
 * directories are not shown. */
static void remove_empty(const Posix *p, const char *rel)
{
    if (!*rel)
        return;
    int rc = unlinkat(p->root, rel, AT_REMOVEDIR);
    if (rc != 0 && (errno == ENOTEMPTY || errno == EEXIST) && remove_leftovers(p, rel))
        rc = unlinkat(p->root, rel, AT_REMOVEDIR);
    if (rc != 0 && !is_absent(errno))
        return;
    char *up AUTO(mem_freep) = posix_dirname(rel);
    remove_empty(p, up);
}

/* 0 or errno; that there is no such object is no error. */
static int unlink_object(const Posix *p, const char *name)
{
    int rc = unlinkat(p->root, name, 0);
    if (rc != 0 && errno == ENOENT) {
        posix_refresh(p, name);
        rc = unlinkat(p->root, name, 0);
    }
    return rc == 0 || is_absent(errno) || errno == EISDIR ? 0 : errno;
}

static ErrCode posix_remove(Storage *s, const char *const *names, size_t n, Err *err)
{
    Posix *p = (Posix *)s;
    StrList dirs AUTO(str_list_release) = {0};
    for (size_t i = 0; i < n; i++) {
        char *rel AUTO(mem_freep) = posix_dirname(names[i]);
        int errnum = unlink_object(p, names[i]);
        if (errnum) {
            char *path AUTO(mem_freep) = posix_path(p, names[i]);
            return posix_error(p, errnum, rel, err, "cannot remove '%s'", path);
        }
        if (!dirs.n || strcmp(dirs.at[dirs.n - 1], rel) != 0)
            vec_push(&dirs, steal_ptr(&rel));
    }
    TRY(posix_root_check(p, err));
    str_list_sort(&dirs);
    for (size_t i = 0; i < dirs.n; i++)
        if (!i || strcmp(dirs.at[i], dirs.at[i - 1]) != 0)
            TRY(sync_above(p, dirs.at[i], err));
    for (size_t i = dirs.n; i-- > 0;)
        if (!i || strcmp(dirs.at[i], dirs.at[i - 1]) != 0)
            remove_empty(p, dirs.at[i]);
    return ERR_OK;
}

/* --- now --- */

static ErrCode posix_now(Storage *s, TimeUs *ret, Err *err)
{
    Posix *p = (Posix *)s;
    char temp[POSIX_TEMP_LEN] = "";
    int fd AUTO(fd_closep) = -1;
    struct stat st;
    if (!atomic_load(&p->no_unnamed))
        fd = posix_open_at(p->root, "", O_TMPFILE | O_WRONLY);
    if (fd < 0)
        fd = posix_open_at(p->root, posix_temp_name(temp), O_CREAT | O_EXCL | O_WRONLY);
    int rc = fd < 0 ? -1 : fstat(fd, &st);
    int errnum = errno;
    if (fd >= 0 && temp[0])
        (void)!unlinkat(p->root, temp, 0);
    if (rc != 0) {
        TRY(posix_root_check(p, err));
        return posix_error(p, errnum, "", err, "cannot ask for the time in '%s' by making a file",
                           p->base.url);
    }
    *ret = posix_time(st.st_mtim);
    return ERR_OK;
}

/* --- new and free --- */

static void posix_free(Storage *s)
{
    Posix *p = (Posix *)s;
    posix_dirs_free(p->dirs);
    fd_closep(&p->root);
    free(p);
}

static const StorageOps posix_ops = {
    .put = posix_put,
    .get = posix_get,
    .stat = posix_stat,
    .list = posix_list,
    .remove = posix_remove,
    .now = posix_now,
    .free = posix_free,
};

/* The absolute path without slashes at its end. */
static char *clean_path(const char *path)
{
    char *full = path_absolute(path);
    for (size_t n = strlen(full); n > 1 && full[n - 1] == '/'; n--)
        full[n - 1] = '\0';
    return full;
}

/* The same words as for anything in a repository, while there is none open yet. */
static ErrCode new_error(int errnum, char *path, const char *verb, Err *err)
{
    const Posix closed = {.base.url = path, .root = -1};
    return posix_error(&closed, errnum, "", err, "cannot %s directory '%s'", verb, path);
}

/* Why nothing can be made in `path` or the nearest directory above it that exists. */
static int refusal_above(char *path)
{
    if (eaccess(path, W_OK) == 0)
        return EACCES;
    if (!is_absent(errno) || strcmp(path, "/") == 0)
        return errno;
    char *up AUTO(mem_freep) = path_parent(path);
    return refusal_above(up);
}

static ErrCode make_root(char *path, Err *err)
{
    ErrCode rc = dir_make(path, POSIX_ROOT_MODE, err);
    char *parent AUTO(mem_freep) = path_parent(path);
    if (rc == ERR_ACCESS)
        return new_error(refusal_above(parent), path, "create", err);
    TRY(rc);
    /* Somebody else may have made it a moment ago. Who cannot read the parent did not make it. */
    Err unsynced;
    rc = dir_sync(parent, &unsynced);
    if (rc == ERR_OK || rc == ERR_ACCESS)
        return ERR_OK;
    *err = unsynced;
    return rc;
}

ErrCode storage_posix_new(Storage **ret, const char *path, bool create, Err *err)
{
    char *url AUTO(mem_freep) = clean_path(path);
    if (create)
        TRY(make_root(url, err));
    int fd = posix_open_dir(AT_FDCWD, url);
    if (fd < 0 && errno == ENOENT) {
        err_set(err, ERR_NOT_FOUND, "there is no directory '%s' to hold a repository", url);
        return err_hint(err, "if its file system is not mounted, mount it; to begin a new "
                             "repository there, type: pgdr init");
    }
    if (fd < 0 && errno == ENOTDIR)
        return err_set(err, ERR_CONFIG, "'%s' cannot hold a repository: it is not a directory",
                       url);
    if (fd < 0)
        return new_error(errno, url, "open", err);
    Posix *p = NEW(Posix);
    p->base = (Storage){.ops = &posix_ops, .url = steal_ptr(&url)};
    p->root = fd;
    struct stat st;
    bool known = fstat(fd, &st) == 0, give = known && geteuid() == 0 && st.st_uid != 0;
    p->counts_links = known && st.st_nlink > 0;
    p->give_uid = give ? st.st_uid : (uid_t)-1;
    p->give_gid = give ? st.st_gid : (gid_t)-1;
    const mode_t rights = known ? st.st_mode : POSIX_ROOT_MODE;
    p->dir_mode = 0700 | (rights & POSIX_DIR_RIGHTS);
    p->file_mode = 0600 | (rights & POSIX_FILE_RIGHTS);
    p->dirs = posix_dirs_new();
    *ret = &p->base;
    return ERR_OK;
}
