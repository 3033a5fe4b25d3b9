#ifndef PGDR_ARCHIVE_PUSH_HELPER_H
#define PGDR_ARCHIVE_PUSH_HELPER_H

/*
 * The process that archive-push leaves behind (catalog/wal_helper.h): it stores what the server has
 * given out for archiving before it is asked for (push_ahead.h), and answers the commands that ask
 * for it (push_ask.h).
 *
 * It never has the last word. It says of a file only that it is durable in every repository, and
 * only of the very file that it has read, to a command with the very configuration that it has
 * itself. With the first thing that does not go well it ends; the command does its work by itself,
 * and says what is wrong.
 */

#include "archive/push_ask.h"
#include "lib/repo/repo.h"

typedef struct PushHelperSpec {
    const uint8_t *config;          /* XXH128_LEN, as in the question */
    const char *data_dir, *wal_dir; /* the latter absolute */
    const char *file;               /* what was stored last */
    const RepoSource *repos;
    uint64_t ahead; /* bytes */
    int level;
    unsigned workers, threads; /* as in PushAheadSpec */
} PushHelperSpec;

/*
 * Returns when it is no longer of use: the server is gone, nobody has asked for a while, something
 * failed, or it has run for a minute, so that what it read at its beginning (keys, credentials)
 * does not stay in use for long. ERR_BUSY when another one runs. `h` is released by the caller.
 */
MUST_CHECK ErrCode push_helper_run(WalHelper *h, const PushHelperSpec *spec, Err *err);

#endif
