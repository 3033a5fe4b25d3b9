#include "catalog/wal_helper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/common/buf.h"
#include "lib/common/file.h"
#include "lib/common/workers.h"

#define PID_FILE_MAX 8192
#define LOCK "lock"

/* --- both sides --- */

/*
 * The first line of postmaster.pid is the server's process; a stand-alone backend's is negative.
 * One that is process 1, as in a container, would inherit the helper, and take its end by a signal
 * (the kernel's, when memory is short) for the crash of a process of its own: it gets none.
 */
static ErrCode server_mark(const char *data_dir, char out[PROCID_MAX], Err *err)
{
    Buf text AUTO(buf_release) = {0};
    char *path AUTO(mem_freep) = path_join(data_dir, "postmaster.pid");
    TRY(file_read_all(path, PID_FILE_MAX, &text, err));
    long pid = strtol(buf_str(&text), NULL, 10);
    out[0] = '\0';
    if (pid > 1)
        procid_of(pid, out);
    if (!out[0])
        return err_set(err, ERR_NOT_FOUND, "no server that may have a helper runs in '%s'",
                       data_dir);
    return ERR_OK;
}

ErrCode wal_helper_init(WalHelper *h, const char *data_dir, const char *wal_dir, const char *kind,
                        Err *err)
{
    *h = (WalHelper){.dir = mem_printf("%s/pgsql_tmp_pgdr_%s", wal_dir, kind), .lock = -1};
    return server_mark(data_dir, h->server, err);
}

void wal_helper_release(WalHelper *h)
{
    Err ignored = {0};
    if (h->lock >= 0) {
        if (dir_remove_tree(h->dir, false, &ignored) != ERR_OK)
            errno = 0; /* the next one empties it */
        close(h->lock);
    }
    free(h->dir);
    *h = (WalHelper){.lock = -1};
}

/* --- the command --- */

static struct flock whole_file(void)
{
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
}

/* The lock's holder may still be the one that is about to empty what its killed predecessor left:
 * the file names that one until then. */
bool wal_helper_runs(const WalHelper *h)
{
    char text[2 * PROCID_MAX + 1] = "";
    struct flock lock = whole_file();
    char *path AUTO(mem_freep) = path_join(h->dir, LOCK);
    int fd AUTO(fd_closep) = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type == F_UNLCK ||
        read(fd, text, sizeof(text) - 1) <= 0)
        return false;
    char *helper = strchr(text, '\n');
    if (!helper)
        return false;
    *helper++ = '\0';
    return strcmp(text, h->server) == 0 && !procid_is_gone(helper);
}

void wal_helper_start(char *const *argv, char *const *env)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none;
    pid_t pid;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
    if (posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0) == 0 &&
        posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0) == 0 &&
        posix_spawn_file_actions_adddup2(&files, 1, 2) == 0)
        (void)posix_spawn(&pid, "/proc/self/exe", &files, &attr, argv, env);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
}

/* --- the helper --- */

/* The lock of a folder that its owner is just removing would be nobody's. */
static ErrCode take_lock(WalHelper *h, const char *path, Err *err)
{
    struct stat held, there;
    struct flock lock = whole_file();
    int fd AUTO(fd_closep) = -1;
    TRY(file_open(path, O_RDWR | O_CREAT, 0600, &fd, err));
    if (fcntl(fd, F_OFD_SETLK, &lock) != 0 || fstat(fd, &held) != 0 || stat(path, &there) != 0 ||
        held.st_ino != there.st_ino)
        return err_set(err, ERR_BUSY, "another process works in '%s'", h->dir);
    h->lock = fd;
    fd = -1;
    return ERR_OK;
}

static ErrCode remove_leftovers(const WalHelper *h, Err *err)
{
    StrList names AUTO(str_list_release) = {0};
    TRY(dir_list(h->dir, &names, err));
    for (size_t i = 0; i < names.n; i++) {
        char *path AUTO(mem_freep) = path_join(h->dir, names.at[i]);
        if (strcmp(names.at[i], LOCK) != 0 && unlink(path) != 0)
            return err_errno(err, errno, "cannot remove '%s'", path);
    }
    return ERR_OK;
}

ErrCode wal_helper_begin(WalHelper *h, Err *err)
{
    char *path AUTO(mem_freep) = path_join(h->dir, LOCK);
    /* What the server had open when it started the command is not the helper's. */
    syscall(SYS_close_range, 3, ~0U, 0);
    if (mkdir(h->dir, 0700) != 0 && errno != EEXIST)
        return err_errno(err, errno, "cannot make '%s'", h->dir);
    TRY(take_lock(h, path, err));
    if (ftruncate(h->lock, 0) != 0)
        return err_errno(err, errno, "cannot empty '%s'", path);
    TRY(remove_leftovers(h, err));
    /* From here on it is this server's: two lines, the marks of the server and of the helper. */
    char self[PROCID_MAX];
    procid_self(self);
    char *text AUTO(mem_freep) = mem_printf("%s\n%s", h->server, self);
    return file_write(h->lock, text, strlen(text), path, err);
}

bool wal_helper_wanted(const WalHelper *h)
{
    Err ignored = {0};
    return !procid_is_gone(h->server) && cancel_check(&ignored) == ERR_OK;
}
