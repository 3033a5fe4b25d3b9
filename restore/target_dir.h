#ifndef PGDR_RESTORE_TARGET_DIR_H
#define PGDR_RESTORE_TARGET_DIR_H

/* Looking at the directory that a restore is to write: is it free, whose is it, does a server run.
 */

#include <sys/types.h>

#include "lib/pg/version.h"

typedef enum TargetDirState {
    TARGET_DIR_ABSENT, /* it, and perhaps what is above it, must be made */
    TARGET_DIR_EMPTY,
    TARGET_DIR_CLUSTER,     /* a data directory */
    TARGET_DIR_INTERRUPTED, /* a restore began here and did not end */
    TARGET_DIR_OTHER,       /* anything else */
} TargetDirState;

/* A file in the data directory while a restore runs; what is there is not a cluster yet. */
#define RESTORE_MARKER "pgdr.restoring"

MUST_CHECK ErrCode target_dir_look(const char *dir, TargetDirState *ret, Err *err);
/* ERR_REFUSED with the process id when processes of a server are in it (or may be). */
MUST_CHECK ErrCode target_dir_check_stopped(const char *dir, Err *err);
/* Makes a directory of the cluster; what is missing above it can be entered by everybody. */
MUST_CHECK ErrCode data_dir_make(const char *dir, mode_t mode, Err *err);
/* The system identifier of the cluster in a directory, from its pg_control, else, when that is
 * lost, from its WAL; 0 when nothing tells it. */
uint64_t target_dir_system_id(const char *dir);
/* True when the directory does not exist or has nothing in it (but lost+found). */
/* True when `path`, which need not exist, is `dir` or lies below it; links are followed. */
bool dir_is_inside(const char *path, const char *dir);
MUST_CHECK ErrCode dir_is_free(const char *dir, bool *ret, Err *err);
/* Bytes that may be written to the filesystem that holds (or will hold) `dir`. */
MUST_CHECK ErrCode dir_free_space(const char *dir, uint64_t *ret, Err *err);

#endif
