#ifndef PGDR_TESTS_STORAGE_SHIM_H
#define PGDR_TESTS_STORAGE_SHIM_H

/*
 * System calls that fail, lose their answer, or end the process at the n-th of them, and file
 * systems that lack something. Linked with -Wl,--wrap (see local.mk), so it is between the code
 * under test and the C library, and not in the way of anything else.
 */

#include <sys/types.h>

#include "lib/common/base.h"

typedef enum ShimCall {
    SHIM_OPEN = 1,
    SHIM_WRITE = 2,
    SHIM_FSYNC = 4,
    SHIM_CLOSE = 8,
    SHIM_LINK = 16,
    SHIM_RENAME = 32,
    SHIM_UNLINK = 64,
    SHIM_MKDIR = 128,
    SHIM_READ = 256,
    SHIM_READDIR = 512,
    SHIM_STAT = 1024,
    SHIM_ANY = 2047,
} ShimCall;

typedef enum ShimFate {
    SHIM_FAIL,  /* not done; errno is `errnum` */
    SHIM_LOSE,  /* done; errno is `errnum` */
    SHIM_SHORT, /* a write does half of it */
    SHIM_DIE,   /* the process is killed before the call */
} ShimFate;

typedef struct ShimEvent {
    ShimCall call;
    ino_t ino; /* of the file or, when a name changes, of its directory */
    bool is_dir;
} ShimEvent;

#define SHIM_EVENTS_MAX 512

typedef struct Shim {
    /* What befalls the nth call of those in the mask `calls`; nth 0: nothing. */
    unsigned calls, nth;
    ShimFate fate;
    int errnum;
    unsigned count; /* of such calls so far */
    ShimCall hit;   /* the call it befell; 0 while it did not */
    bool hit_dir;   /* it was an fsync or close of a directory */
    /* What the file system lacks. */
    bool no_unnamed, no_unnamed_link, no_link, no_noreplace, no_direct_flag, no_direct_write,
        no_types, no_dir_fsync, short_writes;
    uint64_t bytes_direct, bytes_buffered; /* written */
    unsigned asked_afresh; /* directories a file server would have been asked about */
    /* A file whose fsync failed, and whether it was fsynced again. */
    ino_t failed;
    bool synced_again;
    /* What happened, when `record`. */
    bool record;
    ShimEvent events[SHIM_EVENTS_MAX];
    unsigned n_events;
} Shim;

extern Shim shim;

void shim_arm(unsigned calls, unsigned nth, ShimFate fate, int errnum);
void shim_disarm(void);

#endif
