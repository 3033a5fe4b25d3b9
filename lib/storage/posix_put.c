#include "lib/storage/posix_put.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/common/file.h"
#include "lib/storage/posix_body.h"
#include "lib/storage/posix_dirs.h"

/* Each try takes somebody who removes the directory between two of our calls. */
#define TRIES_MAX 1000

/* One put: its names, and the file that is to become the object. */
typedef struct Put {
    Posix *p;
    const char *base;
    const StorageSource *src;
    bool overwrite;
    char *dirname, *path;
    int fd; /* -1: nothing is written yet */
    struct stat own;
    char temp[POSIX_TEMP_LEN]; /* the file's name; "" while it has none */
    bool again;                /* a step found its ground removed: begin anew */
} Put;

static void put_release(Put *put)
{
    fd_closep(&put->fd);
    free(put->dirname);
    free(put->path);
}

/* Gives up what was written. */
static void put_discard(Put *put, int dir)
{
    fd_closep(&put->fd);
    if (put->temp[0])
        (void)!unlinkat(dir, put->temp, 0);
    put->temp[0] = '\0';
}

/* --- writing --- */

static bool is_unsupported(int errnum)
{
    /* EISDIR is what kernels say that do not know O_TMPFILE. */
    return errnum == EOPNOTSUPP || errnum == EISDIR || errnum == EINVAL || errnum == ENOSYS;
}

static bool cannot_link(int errnum)
{
    /* EPERM is what file systems without hard links say. */
    return errnum == EPERM || errnum == EMLINK || errnum == EXDEV || is_unsupported(errnum);
}

/* Whether a step failed because the directory was removed meanwhile. Not only ENOENT: ext4 answers
 * EPERM to making a file in such a directory, a file server ESTALE. */
static bool is_gone(const Posix *p, int errnum, int dir)
{
    return errnum == ENOENT || errnum == ESTALE || (errnum && posix_is_removed(p, dir));
}

static ErrCode put_create(Put *put, int dir, Err *err)
{
    Posix *p = put->p;
    int errnum = EOPNOTSUPP;
    if (!put->overwrite && !atomic_load(&p->no_unnamed)) {
        put->fd = posix_open_at(dir, "", O_TMPFILE | O_WRONLY);
        errnum = put->fd < 0 ? errno : 0;
        if (is_unsupported(errnum))
            atomic_store(&p->no_unnamed, true);
    }
    if (is_unsupported(errnum)) {
        posix_temp_name(put->temp);
        put->fd = posix_open_at(dir, put->temp, O_CREAT | O_EXCL | O_WRONLY);
        errnum = put->fd < 0 ? errno : 0;
        if (errnum)
            put->temp[0] = '\0';
    }
    put->again = is_gone(p, errnum, dir);
    if (errnum)
        return posix_error(p, errnum, put->dirname, err, "cannot create '%s'", put->path);
    return ERR_OK;
}

static ErrCode put_write(Put *put, int dir, Err *err)
{
    TRY(put_create(put, dir, err));
    posix_give(put->p, put->fd, "");
    ErrCode rc = posix_body_write(put->p, put->fd, put->src, put->path, put->dirname, err);
    if (rc == ERR_OK && fstat(put->fd, &put->own) != 0)
        rc = posix_error(put->p, errno, put->dirname, err, "cannot look at '%s'", put->path);
    if (rc == ERR_OK && put->temp[0]) {
        /* The name is enough from here on, and close() may be where NFS reports a failure. */
        rc = file_close(&put->fd, put->path, err);
    }
    if (rc != ERR_OK)
        put_discard(put, dir);
    return rc;
}

/* --- naming --- */

/* 0 or errno. */
static int link_unnamed(const Put *put, int dir)
{
    char proc[64];
    snprintf(proc, sizeof(proc), "/proc/self/fd/%d", put->fd);
    if (linkat(AT_FDCWD, proc, dir, put->base, AT_SYMLINK_FOLLOW) == 0)
        return 0;
    int errnum = errno;
    if (errnum != ENOENT || access(proc, F_OK) == 0)
        return errnum;
    /* There is no /proc. This way needs CAP_DAC_READ_SEARCH before Linux 6.10. */
    if (linkat(put->fd, "", dir, put->base, AT_EMPTY_PATH) == 0)
        return 0;
    return errno == EEXIST ? EEXIST : EOPNOTSUPP;
}

static int rename_named(Put *put, int dir, unsigned flags)
{
    if (renameat2(dir, put->temp, dir, put->base, flags) != 0)
        return errno;
    put->temp[0] = '\0';
    return 0;
}

static int link_named(Put *put, int dir)
{
    if (linkat(dir, put->temp, dir, put->base, 0) == 0)
        return 0;
    if (!cannot_link(errno))
        return errno;
    return rename_named(put, dir, RENAME_NOREPLACE);
}

/* Whether the name leads to our own file, whatever the answer was. */
static bool is_published(const Put *put, int dir)
{
    struct stat st;
    return fstatat(dir, put->base, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
           st.st_dev == put->own.st_dev && st.st_ino == put->own.st_ino;
}

static ErrCode put_sync_dir(const Put *put, const PosixDir *dir, Err *err)
{
    if (posix_sync_dir(put->p, dir->fd, dir->name, err) != ERR_OK)
        return err_wrap(err, "cannot write '%s'", put->path);
    return ERR_OK;
}

/* ERR_EXISTS, after making sure that what is there stays there: its owner may have linked it and
 * not come further yet, and whoever finds an equal object takes this answer for "stored". */
static ErrCode put_taken(const Put *put, const PosixDir *dir, Err *err)
{
    struct stat st;
    TRY(put_sync_dir(put, dir, err));
    bool is_dir = fstatat(dir->fd, put->base, &st, 0) == 0 && S_ISDIR(st.st_mode);
    return err_set(err, ERR_EXISTS, "cannot write '%s': %s", put->path,
                   is_dir ? "it is a directory" : "it is there already");
}

/* Gives what was written its name, 0 or errno. The temporary name is gone afterwards. */
static int put_name(Put *put, int dir)
{
    int errnum;
    if (put->overwrite)
        errnum = rename_named(put, dir, 0);
    else
        errnum = put->temp[0] ? link_named(put, dir) : link_unnamed(put, dir);
    if (errnum && is_published(put, dir))
        errnum = 0;
    if (put->temp[0])
        (void)!unlinkat(dir, put->temp, 0);
    put->temp[0] = '\0';
    return errnum;
}

static ErrCode put_publish(Put *put, const PosixDir *dir, Err *err)
{
    bool unnamed = !put->temp[0];
    int errnum = put_name(put, dir->fd);
    if (errnum == EEXIST || (errnum == EISDIR && put->overwrite)) {
        return put_taken(put, dir, err);
    } else if (unnamed && cannot_link(errnum)) {
        /* Whether this way is missing or a right, writing under a name will show. */
        atomic_store(&put->p->no_unnamed, true);
        put->again = true;
        fd_closep(&put->fd);
    } else if (is_gone(put->p, errnum, dir->fd)) {
        put->again = true; /* a file without a name can be linked elsewhere */
    }
    if (errnum) {
        posix_error(put->p, errnum, put->dirname, err, "cannot give '%s' its name", put->path);
        if (!unnamed && is_unsupported(errnum))
            err_hint(err, "its file system has neither hard links nor renaming without replacing, "
                          "so that two writers could destroy each other's work: use another one");
        return err->code;
    }
    TRY(put_sync_dir(put, dir, err));
    return put->fd >= 0 ? file_close(&put->fd, put->path, err) : ERR_OK;
}

static ErrCode put_try(Put *put, Err *err)
{
    PosixDir *dir AUTO(posix_dir_releasep) = NULL;
    struct stat st;
    if (posix_dir_get(put->p, put->dirname, &dir, err) != ERR_OK)
        return err_wrap(err, "cannot write '%s'", put->path);
    /* Spares writing what cannot be published. */
    if (!put->overwrite && fstatat(dir->fd, put->base, &st, 0) == 0)
        return put_taken(put, dir, err);
    if (put->fd < 0)
        TRY(put_write(put, dir->fd, err));
    return put_publish(put, dir, err);
}

ErrCode posix_put(Storage *s, const char *name, const StorageSource *src, StoragePutFlags flags,
                  Err *err)
{
    Put put AUTO(put_release) = {
        .p = (Posix *)s,
        .base = posix_basename(name),
        .src = src,
        .overwrite = (flags & STORAGE_OVERWRITE) != 0,
        .dirname = posix_dirname(name),
        .path = posix_path((Posix *)s, name),
        .fd = -1,
    };
    for (int i = 0; i < TRIES_MAX; i++) {
        put.again = false;
        ErrCode rc = put_try(&put, err);
        if (!put.again)
            return rc;
        TRY(posix_root_check(put.p, err));
        posix_dirs_forget(put.p);
    }
    return err_set(err, ERR_BUSY, "cannot write '%s': its directory is removed again each time",
                   put.path);
}
