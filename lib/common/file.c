#include "lib/common/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "lib/common/hex.h"

/* The kernel moves at most this much in one call; larger requests are split. */
#define IO_MAX ((size_t)1 << 30)

ErrCode file_open(const char *path, int flags, mode_t mode, int *ret, Err *err)
{
    int fd;
    do
        fd = open(path, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return err_errno(err, errno, "cannot %s '%s'", flags & O_CREAT ? "create" : "open", path);
    *ret = fd;
    return ERR_OK;
}

ErrCode file_read_at(int fd, void *data, size_t len, uint64_t off, size_t *ret_got,
                     const char *path, Err *err)
{
    size_t got = 0;
    while (got < len) {
        ssize_t n = pread(fd, (uint8_t *)data + got, MIN(len - got, IO_MAX), (off_t)(off + got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, errno, "cannot read '%s' at byte %llu", path,
                             (unsigned long long)(off + got));
        if (n == 0)
            break;
        got += (size_t)n;
    }
    *ret_got = got;
    return ERR_OK;
}

ErrCode file_write(int fd, const void *data, size_t len, const char *path, Err *err)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = write(fd, (const uint8_t *)data + done, MIN(len - done, IO_MAX));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_errno(err, n ? errno : ENOSPC, "cannot write '%s'", path);
        done += (size_t)n;
    }
    return ERR_OK;
}

ErrCode file_write_at(int fd, const void *data, size_t len, uint64_t off, const char *path,
                      Err *err)
{
    for (size_t done = 0; done < len;) {
        ssize_t n =
            pwrite(fd, (const uint8_t *)data + done, MIN(len - done, IO_MAX), (off_t)(off + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_errno(err, n ? errno : ENOSPC, "cannot write '%s' at byte %llu", path,
                             (unsigned long long)(off + done));
        done += (size_t)n;
    }
    return ERR_OK;
}

ErrCode file_sync(int fd, const char *path, Err *err)
{
    int rc;
    do
        rc = fsync(fd);
    while (rc != 0 && errno == EINTR);
    if (rc != 0)
        return err_errno(err, errno, "cannot make '%s' durable (fsync)", path);
    return ERR_OK;
}

ErrCode file_close(int *fd, const char *path, Err *err)
{
    int rc = close(*fd);
    *fd = -1;
    if (rc != 0 && errno != EINTR)
        return err_errno(err, errno, "cannot close '%s'", path);
    return ERR_OK;
}

ErrCode file_read_all(const char *path, size_t limit, Buf *out, Err *err)
{
    int fd AUTO(fd_closep) = -1;
    TRY(file_open(path, O_RDONLY, 0, &fd, err));
    for (uint64_t off = 0;;) {
        size_t got;
        size_t want = MIN((size_t)64 * KIB, limit + 1 - (size_t)off);
        TRY(file_read_at(fd, buf_reserve(out, want), want, off, &got, path, err));
        out->len += got;
        off += got;
        if (off > limit)
            return err_set(err, ERR_LIMIT, "'%s' is larger than the %zu bytes it may have", path,
                           limit);
        if (got < want)
            return ERR_OK;
    }
}

ErrCode dir_sync(const char *path, Err *err)
{
    int fd AUTO(fd_closep) = -1;
    TRY(file_open(path, O_RDONLY | O_DIRECTORY, 0, &fd, err));
    int rc;
    do
        rc = fsync(fd);
    while (rc != 0 && errno == EINTR);
    /* Some file systems (CIFS, some FUSE) have no such call for directories. */
    if (rc != 0 && errno != EINVAL && errno != EOPNOTSUPP && errno != ENOSYS)
        return err_errno(err, errno, "cannot make '%s' durable (fsync)", path);
    return ERR_OK;
}

static ErrCode file_replace_from(const char *temp, const char *path, const void *data, size_t len,
                                 mode_t mode, Err *err)
{
    int fd AUTO(fd_closep) = -1;
    TRY(file_open(temp, O_WRONLY | O_CREAT | O_EXCL, mode, &fd, err));
    TRY(file_write(fd, data, len, temp, err));
    TRY(file_sync(fd, temp, err));
    TRY(file_close(&fd, temp, err));
    if (rename(temp, path) != 0)
        return err_errno(err, errno, "cannot rename '%s' to '%s'", temp, path);
    char *dir AUTO(mem_freep) = path_parent(path);
    return dir_sync(dir, err);
}

ErrCode file_replace(const char *path, const void *data, size_t len, mode_t mode, Err *err)
{
    char suffix[33];
    char *temp AUTO(mem_freep) = mem_printf("%s.%.8s.tmp", path, random_name(suffix));
    ErrCode rc = file_replace_from(temp, path, data, len, mode, err);
    if (rc != ERR_OK)
        unlink(temp);
    return rc;
}

ErrCode file_remove(const char *path, Err *err)
{
    if (unlink(path) != 0) {
        if (errno == ENOENT)
            return ERR_OK;
        return err_errno(err, errno, "cannot remove '%s'", path);
    }
    char *dir AUTO(mem_freep) = path_parent(path);
    return dir_sync(dir, err);
}

ErrCode dir_make(const char *path, mode_t mode, Err *err)
{
    struct stat st;
    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return ERR_OK;
        return err_set(err, ERR_EXISTS, "'%s' is not a directory", path);
    }
    if (errno != ENOENT)
        return err_errno(err, errno, "cannot look at '%s'", path);
    char *parent AUTO(mem_freep) = path_parent(path);
    TRY(dir_make(parent, mode, err));
    if (mkdir(path, mode) != 0 && errno != EEXIST)
        return err_errno(err, errno, "cannot create directory '%s'", path);
    return dir_sync(parent, err);
}

static void dir_closep(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

ErrCode dir_list(const char *path, StrList *ret, Err *err)
{
    DIR *dir AUTO(dir_closep) = opendir(path);
    if (!dir)
        return err_errno(err, errno, "cannot open directory '%s'", path);
    StrList names AUTO(str_list_release) = {0};
    for (;;) {
        errno = 0;
        struct dirent *e = readdir(dir);
        if (!e && errno)
            return err_errno(err, errno, "cannot read directory '%s'", path);
        if (!e)
            break;
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            vec_push(&names, mem_strdup(e->d_name));
    }
    str_list_sort(&names);
    str_list_release(ret);
    *ret = names;
    names = (StrList){0};
    return ERR_OK;
}

ErrCode dir_remove_tree(const char *path, bool keep_top, Err *err)
{
    StrList names AUTO(str_list_release) = {0};
    TRY(dir_list(path, &names, err));
    for (size_t i = 0; i < names.n; i++) {
        char *child AUTO(mem_freep) = path_join(path, names.at[i]);
        struct stat st;
        if (lstat(child, &st) != 0)
            return err_errno(err, errno, "cannot look at '%s'", child);
        if (S_ISDIR(st.st_mode))
            TRY(dir_remove_tree(child, false, err));
        else if (unlink(child) != 0)
            return err_errno(err, errno, "cannot remove '%s'", child);
    }
    if (!keep_top && rmdir(path) != 0)
        return err_errno(err, errno, "cannot remove directory '%s'", path);
    return ERR_OK;
}

char *path_join(const char *dir, const char *name)
{
    size_t n = strlen(dir);
    return mem_printf("%s%s%s", dir, n && dir[n - 1] == '/' ? "" : "/", name);
}

char *path_parent(const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    while (n && path[n - 1] != '/')
        n--;
    while (n > 1 && path[n - 1] == '/')
        n--;
    return n ? mem_strndup(path, n) : mem_strdup(".");
}

char *path_absolute(const char *path)
{
    if (path[0] == '/')
        return mem_strdup(path);
    char *cwd AUTO(mem_freep) = getcwd(NULL, 0);
    return path_join(cwd ? cwd : "/", strncmp(path, "./", 2) == 0 ? path + 2 : path);
}
