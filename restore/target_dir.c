#include "restore/target_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "lib/common/file.h"
#include "lib/common/hex.h"
#include "lib/common/log.h"
#include "lib/pg/control.h"
#include "lib/pg/wal_scan.h"

static bool has_file(const char *dir, const char *name)
{
    char *path AUTO(mem_freep) = path_join(dir, name);
    struct stat st;
    return lstat(path, &st) == 0;
}

/* Every process of a server has its data directory as working directory. */
static ErrCode process_inside(const char *dir, long *ret_pid, Err *err)
{
    struct stat want, got;
    StrList names AUTO(str_list_release) = {0};
    *ret_pid = 0;
    if (stat(dir, &want) != 0)
        return ERR_OK;
    TRY(dir_list("/proc", &names, err));
    for (size_t i = 0; i < names.n; i++) {
        char path[64], exe[64], target[4096];
        char *end;
        long pid = strtol(names.at[i], &end, 10);
        if (*end || pid <= 0 || pid == (long)getpid())
            continue;
        snprintf(path, sizeof(path), "/proc/%ld/cwd", pid);
        if (stat(path, &got) != 0 || got.st_dev != want.st_dev || got.st_ino != want.st_ino)
            continue;
        snprintf(exe, sizeof(exe), "/proc/%ld/exe", pid);
        ssize_t n = readlink(exe, target, sizeof(target) - 1);
        target[n > 0 ? n : 0] = '\0';
        /* The program, not where it is installed: a psql that was started here is no server. */
        const char *slash = strrchr(target, '/');
        if (strstr(slash ? slash : target, "postgres")) {
            *ret_pid = pid;
            return ERR_OK;
        }
    }
    return ERR_OK;
}

/* postmaster.pid outlives a killed server; its first line is the process id. */
static ErrCode pid_file(const char *dir, long *ret_pid, Err *err)
{
    Buf text AUTO(buf_release) = {0};
    char *path AUTO(mem_freep) = path_join(dir, "postmaster.pid");
    *ret_pid = 0;
    ErrCode rc = file_read_all(path, 64 * KIB, &text, err);
    if (rc == ERR_NOT_FOUND)
        return ERR_OK;
    if (rc != ERR_OK)
        return rc;
    *ret_pid = labs(strtol(buf_str(&text), NULL, 10));
    return ERR_OK;
}

ErrCode target_dir_check_stopped(const char *dir, Err *err)
{
    long inside, listed;
    TRY(process_inside(dir, &inside, err));
    if (inside) {
        err_set(err, ERR_REFUSED, "a PostgreSQL process (%ld) runs in '%s'", inside, dir);
        return err_hint(err, "stop the server first: pg_ctl stop -D '%s'", dir);
    }
    TRY(pid_file(dir, &listed, err));
    if (!listed || listed == (long)getpid())
        return ERR_OK;
    if (kill((pid_t)listed, 0) != 0 && errno != EPERM)
        return ERR_OK; /* left behind by a server that was killed */
    /* The process exists. When its working directory can be read, it was looked at above. */
    char cwd[64], target[4096];
    snprintf(cwd, sizeof(cwd), "/proc/%ld/cwd", listed);
    if (readlink(cwd, target, sizeof(target)) >= 0)
        return ERR_OK;
    err_set(err, ERR_REFUSED,
            "'%s/postmaster.pid' names process %ld, which runs and belongs to "
            "another user: it may be the server",
            dir, listed);
    return err_hint(err,
                    "run pgdr as the server's user, or, when the server is surely stopped, "
                    "remove '%s/postmaster.pid'",
                    dir);
}

ErrCode data_dir_make(const char *dir, mode_t mode, Err *err)
{
    /* Made by root for a server that runs as another user, who must get there. */
    char *parent AUTO(mem_freep) = path_parent(dir);
    TRY(dir_make(parent, 0755, err));
    return dir_make(dir, mode, err);
}

/* Where a path leads, by what exists of it; the caller frees. */
static char *resolved(const char *path)
{
    char *real = realpath(path, NULL);
    char *up = real ? NULL : path_parent(path);
    if (real || strcmp(up, path) == 0 || strcmp(up, ".") == 0) {
        free(up);
        return real ? real : mem_strdup(path);
    }
    char *base AUTO(mem_freep) = resolved(up);
    const char *name = path + strlen(up) + (path[strlen(up)] == '/');
    free(up);
    return path_join(base, name);
}

bool dir_is_inside(const char *path, const char *dir)
{
    char *inner AUTO(mem_freep) = resolved(path), *outer AUTO(mem_freep) = resolved(dir);
    size_t n = strlen(outer);
    while (n && outer[n - 1] == '/')
        n--;
    return strncmp(inner, outer, n) == 0 && (inner[n] == '/' || inner[n] == '\0');
}

ErrCode dir_is_free(const char *dir, bool *ret, Err *err)
{
    StrList names AUTO(str_list_release) = {0};
    Err why = {0};
    ErrCode rc = dir_list(dir, &names, &why);
    *ret = rc == ERR_NOT_FOUND || names.n == 0 ||
           (names.n == 1 && strcmp(names.at[0], "lost+found") == 0);
    if (rc == ERR_OK || rc == ERR_NOT_FOUND)
        return ERR_OK;
    *err = why;
    return rc;
}

ErrCode target_dir_look(const char *dir, TargetDirState *ret, Err *err)
{
    struct stat st;
    bool is_free;
    if (stat(dir, &st) != 0) {
        if (errno != ENOENT)
            return err_errno(err, errno, "cannot look at '%s'", dir);
        *ret = TARGET_DIR_ABSENT;
        return ERR_OK;
    }
    if (!S_ISDIR(st.st_mode)) {
        err_set(err, ERR_REFUSED, "'%s' is not a directory", dir);
        return err_hint(err, "choose an empty directory with --to, or one that does not exist");
    }
    TRY(dir_is_free(dir, &is_free, err));
    if (is_free) {
        *ret = TARGET_DIR_EMPTY;
        return ERR_OK;
    }
    /* With pg_control it is a cluster, which may have been used: the restore had not begun to
     * change it, or had ended but for the removal of the marker. */
    if (has_file(dir, RESTORE_MARKER) && !has_file(dir, "global/pg_control"))
        *ret = TARGET_DIR_INTERRUPTED;
    else if (has_file(dir, "PG_VERSION") && has_file(dir, "global") && has_file(dir, "base"))
        *ret = TARGET_DIR_CLUSTER;
    else
        *ret = TARGET_DIR_OTHER;
    return ERR_OK;
}

static uint64_t segment_system_id(const char *path)
{
    uint8_t page[8192];
    size_t got;
    WalSegmentHeader h;
    Err why;
    int fd AUTO(fd_closep) = -1;
    if (file_open(path, O_RDONLY, 0, &fd, &why) != ERR_OK ||
        file_read_at(fd, page, sizeof(page), 0, &got, path, &why) != ERR_OK ||
        wal_segment_header(page, got, &h, &why) != ERR_OK)
        return 0;
    return h.system_id;
}

uint64_t target_dir_system_id(const char *dir)
{
    PgControl control;
    StrList names AUTO(str_list_release) = {0};
    Err why = {0};
    uint64_t id = 0;
    if (control_read(dir, &control, NULL, &why) == ERR_OK)
        return control.system_id;
    log_info("the pg_control of '%s' cannot be read: %s", dir, why.message);
    char *wal AUTO(mem_freep) = path_join(dir, "pg_wal");
    if (dir_list(wal, &names, &why) != ERR_OK)
        return 0;
    for (size_t i = 0; i < names.n && !id; i++) {
        char *path AUTO(mem_freep) = path_join(wal, names.at[i]);
        if (strlen(names.at[i]) == 24 && hex_is_upper(names.at[i], 24))
            id = segment_system_id(path);
    }
    return id;
}

ErrCode dir_free_space(const char *dir, uint64_t *ret, Err *err)
{
    struct statvfs vfs;
    char *path AUTO(mem_freep) = mem_strdup(dir);
    while (statvfs(path, &vfs) != 0) {
        if (errno != ENOENT || strcmp(path, "/") == 0)
            return err_errno(err, errno, "cannot ask for the free space of '%s'", path);
        char *up = path_parent(path);
        free(path);
        path = up;
    }
    *ret = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    return ERR_OK;
}
