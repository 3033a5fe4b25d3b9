#ifndef PGDR_STORAGE_POSIX_BASE_H
#define PGDR_STORAGE_POSIX_BASE_H

/*
 * What the parts of the posix driver share: the storage itself, its errors, and a few system
 * calls. Paths below are relative to the storage's directory, "" being that directory; all access
 * goes through its descriptor, so a file system that is unmounted or mounted meanwhile is never
 * taken for the repository.
 *
 *     posix.c        the driver: new, get, stat, remove, now
 *     posix_put.c    an object that is written first and gets its name when it is durable
 *     posix_body.c   its bytes: direct or buffered
 *     posix_dirs.c   the directories objects are put into, made and proven durable
 *     posix_list.c   listing
 */

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "lib/storage/storage.h"

/*
 * What is made is as open as the storage's own directory: its rights, without those of others, and
 * files without execution and without writing by the group. The umask has no say: that of a server
 * (077) differs from that of who takes backups, and both write to one repository.
 */
#define POSIX_DIR_RIGHTS (S_ISGID | 0770)
#define POSIX_FILE_RIGHTS 0640
/* Of a storage's directory that is made. */
#define POSIX_ROOT_MODE 0750

/* Unfinished objects and the like; a leading '.' keeps them out of listings. */
#define POSIX_TEMP_PREFIX ".pgdr-"
#define POSIX_TEMP_LEN 40

typedef struct PosixDirs PosixDirs;

typedef struct Posix {
    Storage base; /* its url is the absolute path */
    int root;
    /* Whom the directory belongs to, when that is somebody else than root and pgdr runs as root:
     * what it puts is given to them. Else -1, which chown(2) takes for "leave it". */
    uid_t give_uid;
    gid_t give_gid;
    mode_t dir_mode, file_mode;
    bool counts_links; /* a removed directory shows 0 links (some FUSE file systems always do) */
    /* Set once O_TMPFILE, or giving such a file a name, was found not to work here. */
    atomic_bool no_unnamed;
    /* Set once it was said that directories cannot be made durable here. */
    atomic_bool warned;
    PosixDirs *dirs;
} Posix;

/* The absolute path of `rel`; the caller frees. */
char *posix_path(const Posix *p, const char *rel);
/* What stands before the last '/' of a name, "" when there is none; the caller frees. */
char *posix_dirname(const char *name);
/* What stands behind it; points into `name`. */
const char *posix_basename(const char *name);
/* ".pgdr-<random>"; `out`: POSIX_TEMP_LEN. Returns out. */
char *posix_temp_name(char *out);

TimeUs posix_time(struct timespec t);
/* Gives what was just made (`base` in `dir`, or with "" the open file itself) the rights it is to
 * have, and what root made the owner of the repository: a backup taken by root must not lock out
 * the server's own user, who archives to the same place. Where a file system knows no owners or
 * rights it stays as it is. */
void posix_give(const Posix *p, int dir, const char *base);

/* What a file's status says of the object. */
void posix_fill_stat(const struct stat *st, StorageStat *ret);

/*
 * The error for `errnum`. Where rights or room are missing the message also names what is in the
 * way, beginning the search at `at` (a relative path), and whom pgdr runs as, with a hint.
 */
ErrCode posix_error(const Posix *p, int errnum, const char *at, Err *err, const char *fmt, ...)
    PRINTF_LIKE(5, 6);
/* Whether the open directory was removed. */
bool posix_is_removed(const Posix *p, int dir);
/* ERR_IO when the directory itself was removed: then "not found" says nothing about objects. */
MUST_CHECK ErrCode posix_root_check(const Posix *p, Err *err);

/* openat(2) with O_CLOEXEC, undisturbed by signals; -1 and errno. */
int posix_open_at(int dir, const char *rel, int flags);
/* Opens a directory for reading; -1 and errno. */
int posix_open_dir(int dir, const char *rel);
/* Makes the names in a directory durable. Where the file system has no such call it says so once
 * in the log and succeeds. */
MUST_CHECK ErrCode posix_sync_dir(Posix *p, int fd, const char *rel, Err *err);
/* Asks a file server afresh about all directories above `name`, so that what other hosts put is
 * found although the client remembers that it was not there. */
void posix_refresh(const Posix *p, const char *name);

#endif
