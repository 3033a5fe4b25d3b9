#ifndef PGDR_CLI_ARCHIVE_HELPER_H
#define PGDR_CLI_ARCHIVE_HELPER_H

/*
 * archive-push and the helper that it leaves behind (archive/push_helper.h): asked before anything
 * else, left when a file was stored without one. All of it only where the server itself offers the
 * file, and wal-ahead allows it.
 */

#include "archive/push_ask.h"
#include "cli/cli.h"

typedef struct PushCall {
    Cli *cli;
    const char *data_dir;
    char *path, *wal_dir; /* absolute */
    const char *file;     /* in `path` */
    WalHelper helper;
    bool may; /* have a helper */
    uint8_t config[XXH128_LEN];
} PushCall;

/* `cli` and `data_dir` are borrowed. */
void push_call_init(PushCall *c, Cli *cli, const char *data_dir);
void push_call_release(PushCall *c);

/* True when a helper says that the file is durable in every repository. */
bool push_call_ask(const PushCall *c);
/* The file was stored in every repository: leaves a helper for the next ones where that helps. */
void push_call_leave_helper(const PushCall *c);
/* Is the helper. */
MUST_CHECK ErrCode push_call_help(PushCall *c, Err *err);

#endif
