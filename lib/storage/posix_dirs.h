#ifndef PGDR_STORAGE_POSIX_DIRS_H
#define PGDR_STORAGE_POSIX_DIRS_H

/*
 * The directories objects are put into, held open once they are proven durable.
 *
 * A directory that exists may have been made a moment ago by somebody who has not fsynced its
 * parent yet; an object in it would vanish in a power cut together with the directory. So the
 * first time a directory is seen, made by us or not, its parent is fsynced, up to the storage's
 * own directory. That holds as long as it is the same directory, which is why the descriptor is
 * kept and not the name: linking into one that was removed fails with ENOENT.
 */

#include "lib/storage/posix_base.h"

typedef struct PosixDir {
    Posix *owner;
    char *name; /* relative */
    int fd;
    unsigned refs;
    uint64_t used; /* when it was last wanted, in calls */
} PosixDir;

PosixDirs *posix_dirs_new(void);
void posix_dirs_free(PosixDirs *dirs);
DEFINE_FREEP(PosixDirs, posix_dirs_free)

/* The directory, made if it is missing, and durable. The caller releases it. */
MUST_CHECK ErrCode posix_dir_get(Posix *p, const char *name, PosixDir **ret, Err *err);
void posix_dir_release(PosixDir *dir);
DEFINE_FREEP(PosixDir, posix_dir_release)
/* Forgets all directories; to be called when one that was got has turned out to be removed. */
void posix_dirs_forget(Posix *p);

#endif
