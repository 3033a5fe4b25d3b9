#include "lib/storage/posix_dirs.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/xattr.h>

/* Descriptors held; a backup puts into two or three directories at a time. */
#define KEEP_MAX 32
/* Each try takes somebody who removes the directory between two of our calls. */
#define TRIES_MAX 1000

struct PosixDirs {
    pthread_mutex_t lock;
    PosixDir *kept[KEEP_MAX]; /* each holds a reference */
    uint64_t calls;
};

PosixDirs *posix_dirs_new(void)
{
    PosixDirs *dirs = NEW(PosixDirs);
    pthread_mutex_init(&dirs->lock, NULL);
    return dirs;
}

/* With the lock held, or when nobody else can have it any more. */
static void dir_unref(PosixDir *dir)
{
    if (--dir->refs)
        return;
    close(dir->fd);
    free(dir->name);
    free(dir);
}

static void forget_all(PosixDirs *dirs)
{
    for (size_t i = 0; i < KEEP_MAX; i++) {
        if (dirs->kept[i])
            dir_unref(dirs->kept[i]);
        dirs->kept[i] = NULL;
    }
}

void posix_dirs_free(PosixDirs *dirs)
{
    if (!dirs)
        return;
    forget_all(dirs);
    pthread_mutex_destroy(&dirs->lock);
    free(dirs);
}

void posix_dirs_forget(Posix *p)
{
    pthread_mutex_lock(&p->dirs->lock);
    forget_all(p->dirs);
    pthread_mutex_unlock(&p->dirs->lock);
}

void posix_dir_release(PosixDir *dir)
{
    if (!dir)
        return;
    PosixDirs *dirs = dir->owner->dirs;
    pthread_mutex_lock(&dirs->lock);
    dir_unref(dir);
    pthread_mutex_unlock(&dirs->lock);
}

static PosixDir *kept_find(PosixDirs *dirs, const char *name)
{
    PosixDir *found = NULL;
    pthread_mutex_lock(&dirs->lock);
    for (size_t i = 0; i < KEEP_MAX && !found; i++)
        if (dirs->kept[i] && strcmp(dirs->kept[i]->name, name) == 0)
            found = dirs->kept[i];
    if (found) {
        found->refs++;
        found->used = ++dirs->calls;
    }
    pthread_mutex_unlock(&dirs->lock);
    return found;
}

/* Keeps a directory in place of the one not wanted for longest. Two threads may keep the same. */
static void kept_add(PosixDirs *dirs, PosixDir *dir)
{
    pthread_mutex_lock(&dirs->lock);
    size_t at = 0;
    for (size_t i = 0; i < KEEP_MAX && dirs->kept[at]; i++)
        if (!dirs->kept[i] || dirs->kept[i]->used < dirs->kept[at]->used)
            at = i;
    if (dirs->kept[at])
        dir_unref(dirs->kept[at]);
    dirs->kept[at] = dir;
    dir->refs++;
    dir->used = ++dirs->calls;
    pthread_mutex_unlock(&dirs->lock);
}

static PosixDir *dir_new(Posix *p, const char *name, int fd)
{
    PosixDir *dir = NEW(PosixDir);
    *dir = (PosixDir){.owner = p, .name = mem_strdup(name), .fd = fd, .refs = 1};
    return dir;
}

static bool is_gone(int errnum)
{
    return errnum == ENOENT || errnum == ESTALE;
}

/* Opens a directory below one that is durable, making it when it is missing. *ret_gone when the
 * parent, or what was just made, was removed meanwhile. */
static ErrCode dir_open(Posix *p, const PosixDir *parent, const char *name, int *ret,
                        bool *ret_gone, Err *err)
{
    const char *base = posix_basename(name);
    char *path AUTO(mem_freep) = posix_path(p, name);
    int fd = posix_open_dir(parent->fd, base);
    if (fd < 0 && errno == ENOENT) {
        int errnum = mkdirat(parent->fd, base, p->dir_mode & 0777) == 0 ? 0 : errno;
        if (!errnum)
            posix_give(p, parent->fd, base);
        if (errnum && errnum != EEXIST) {
            TRY(posix_root_check(p, err));
            *ret_gone = is_gone(errnum);
            return posix_error(p, errnum, parent->name, err, "cannot create directory '%s'", path);
        }
        fd = posix_open_dir(parent->fd, base);
    }
    if (fd < 0 && errno == ENOTDIR)
        return err_set(err, ERR_EXISTS, "'%s' is an object and cannot be a directory as well",
                       path);
    if (fd < 0) {
        *ret_gone = is_gone(errno);
        return posix_error(p, errno, name, err, "cannot open directory '%s'", path);
    }
    *ret = fd;
    return ERR_OK;
}

/*
 * That a directory is there does not say that its name is durable: who made it may still be on the
 * way to its fsync. Whoever has done that fsync marks the directory, so that others need not do it
 * again: on a disk that must flush for it, the directories above would cost several times what the
 * object itself does. Where there are no extended attributes it is done every time.
 */
#define DURABLE_MARK "user.pgdr.durable"

static bool is_marked_durable(int fd)
{
    char value;
    return fgetxattr(fd, DURABLE_MARK, &value, 1) == 1 && value == '1';
}

/* Below a durable parent. */
static ErrCode dir_make_durable(Posix *p, const PosixDir *parent, int fd, Err *err)
{
    if (is_marked_durable(fd))
        return ERR_OK;
    TRY(posix_sync_dir(p, parent->fd, parent->name, err));
    if (!atomic_load(&p->warned))
        (void)fsetxattr(fd, DURABLE_MARK, "1", 1, 0);
    return ERR_OK;
}

static ErrCode dir_find(Posix *p, const char *name, PosixDir **ret, bool *ret_gone, Err *err)
{
    *ret = kept_find(p->dirs, name);
    if (*ret)
        return ERR_OK;
    int fd AUTO(fd_closep) = -1;
    if (*name) {
        PosixDir *parent AUTO(posix_dir_releasep) = NULL;
        char *up AUTO(mem_freep) = posix_dirname(name);
        TRY(dir_find(p, up, &parent, ret_gone, err));
        TRY(dir_open(p, parent, name, &fd, ret_gone, err));
        TRY(dir_make_durable(p, parent, fd, err));
    } else {
        fd = posix_open_dir(p->root, "");
        if (fd < 0)
            return posix_error(p, errno, "", err, "cannot open directory '%s'", p->base.url);
    }
    *ret = dir_new(p, name, fd);
    fd = -1;
    kept_add(p->dirs, *ret);
    return ERR_OK;
}

ErrCode posix_dir_get(Posix *p, const char *name, PosixDir **ret, Err *err)
{
    for (int i = 0; i < TRIES_MAX; i++) {
        bool gone = false;
        ErrCode rc = dir_find(p, name, ret, &gone, err);
        if (!gone)
            return rc;
        posix_dirs_forget(p);
    }
    char *path AUTO(mem_freep) = posix_path(p, name);
    return err_set(err, ERR_BUSY, "directory '%s' is removed again each time it is made", path);
}
