#ifndef PGDR_TESTS_STORAGE_CHILD_H
#define PGDR_TESTS_STORAGE_CHILD_H

/* Tests that need a process of their own: other rights, other mounts, a violent end. */

#include "tests/storage/conformance.h"

/* Runs `fn` in a child and fails the test with what it left in job->failure; a text that begins
 * with "SKIP" skips the test. */
void run_child(void (*fn)(Job *), void *shared);
/* The same for n children at once; job->index tells them apart. */
void run_children(unsigned n, unsigned rounds, void (*fn)(Job *), void *shared);

/* In a child: gives up root's rights (uid 65534). False when there are none to give up. */
bool child_drop_rights(void);
/* In a child: mounts seen by nobody else, as root or in a user namespace. */
bool child_private_mounts(Job *job);

/* The call must fail with `want`, its message contain `part` and its hint contain `tip`. */
#define JOB_ERR(job, want, part, tip, call)                                                        \
    do {                                                                                           \
        Err e_ = {0};                                                                              \
        Err *err = &e_;                                                                            \
        ErrCode got_ = (call);                                                                     \
        if (got_ != (want) || !strstr(e_.message, part) || !strstr(e_.hint, tip)) {                \
            snprintf((job)->failure, sizeof((job)->failure),                                       \
                     "%s: %s: %.900s (%.700s), expected %s with '%s' and '%s'", #call,             \
                     err_code_name(got_), e_.message, e_.hint, #want, part, tip);                  \
            return;                                                                                \
        }                                                                                          \
    } while (0)

#endif
