#ifndef PGDR_ARCHIVE_PUSH_AHEAD_H
#define PGDR_ARCHIVE_PUSH_AHEAD_H

/*
 * Threads that store what the server has given out for archiving before it asks for it, in its
 * order, and what it asks for before all else. What they have stored they remember until it was
 * asked for: nothing of it is on disk, so that nothing can be left over that is not true any more.
 *
 *     push_ahead_new → push_ahead_wait… → push_ahead_stop → push_ahead_free
 *
 * With the first file that cannot be stored they have failed for good: no other is begun, and the
 * reason is not told. Who asks finds it by doing it himself, with all that belongs to that.
 */

#include "catalog/wal_publish.h"
#include "lib/common/timeutil.h"

typedef struct PushAhead PushAhead;

typedef struct PushAheadSpec {
    const char *data_dir, *wal_dir;
    const char *file; /* what was asked for last: only what comes after it is stored ahead */
    const RepoSource *repos;
    uint64_t ahead;   /* bytes that may be stored before they are asked for */
    int level;        /* of compression, 0: the default */
    unsigned workers; /* at once, as far as `ahead` has room for them */
    unsigned threads; /* for one file that is waited for */
} PushAheadSpec;

/* All that `spec` refers to is borrowed until the end. */
MUST_CHECK ErrCode push_ahead_new(PushAhead **ret, const PushAheadSpec *spec, Err *err);
/* Begins nothing more. */
void push_ahead_stop(PushAhead *p);
/* Whether something is still under way. */
bool push_ahead_busy(PushAhead *p);
/* Waits for that. */
void push_ahead_free(PushAhead *p);
DEFINE_FREEP(PushAhead, push_ahead_free)

/* Readable once they have failed. */
int push_ahead_failed_fd(const PushAhead *p);

typedef enum PushAheadState {
    PUSH_AHEAD_STORED, /* this very file is durable in every repository */
    PUSH_AHEAD_WORKING,
    PUSH_AHEAD_FAILED, /* or another one lies there under this name now */
} PushAheadState;

/* The server asks for the file. Waits for it, but not longer than `us`; to be called again while it
 * is worked on. One at a time. */
PushAheadState push_ahead_wait(PushAhead *p, const char *file, const WalFileId *id, TimeUs us);

#endif
