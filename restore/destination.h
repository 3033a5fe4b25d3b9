#ifndef PGDR_RESTORE_DESTINATION_H
#define PGDR_RESTORE_DESTINATION_H

/*
 * The file that is handed over. It has no name until it is whole, so that nobody ever finds a part
 * of it there, whenever this process dies: pg_rewind, for one, takes what lies under the name for
 * the segment.
 *
 *     destination_open → write to fd → destination_finish, or destination_release, which gives up
 */

#include "lib/common/err.h"

typedef struct Destination {
    const char *path; /* borrowed */
    char *dir;
    char *temp; /* the file's name until it gets its own; NULL: it has none yet */
    int fd;
} Destination;

/* What is there under the name stays until destination_finish() takes its place. ERR_USAGE when it
 * is no plain file. */
MUST_CHECK ErrCode destination_open(const char *path, Destination *ret, Err *err);
/* Not durable: a server that keeps the file syncs it. */
MUST_CHECK ErrCode destination_finish(Destination *d, Err *err);
void destination_release(Destination *d);

#endif
