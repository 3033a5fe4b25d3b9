#ifndef PGDR_FAULT_JUDGE_H
#define PGDR_FAULT_JUDGE_H

/*
 * What happens to a call: the part of libfault.so that reads the environment (libfault.c describes
 * it), counts, and gives the verdict. A call is judged before it is carried out, by the file that
 * it is about; errno is left alone. ACT_KILL is never returned: the process is then dead; nor is
 * ACT_STOP, after which the call is carried out.
 */

#include <stdbool.h>

enum Op {
    OP_OPEN,
    OP_WRITE,
    OP_SYNC,
    OP_TRUNCATE,
    OP_CLOSE,
    OP_LINK,
    OP_RENAME,
    OP_MKDIR,
    OP_UNLINK,
    OP_N
};
enum Act {
    ACT_PASS,  /* carry it out */
    ACT_FAIL,  /* do nothing, fail with fault_errno() */
    ACT_SHORT, /* move half of the bytes */
    ACT_KILL,
    ACT_STOP,
    ACT_TORN /* move half of the bytes, or carry it out, then die() */
};

/* False: the environment asks for nothing, and every verdict is ACT_PASS. */
bool is_on(void);
enum Act judge_fd(enum Op op, const char *call, int fd);
enum Act judge_name(enum Op op, const char *call, int dirfd, const char *name);
/* Two names, one call: it counts once, by the new name when both lie below FAULT_DIR. */
enum Act judge_names(enum Op op, const char *call, int old_dir, const char *old_name, int new_dir,
                     const char *new_name);
int fault_errno(void);
void die(void);

#endif
