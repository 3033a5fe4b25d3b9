#ifndef PGDR_STORAGE_DRIVERS_H
#define PGDR_STORAGE_DRIVERS_H

/* Every way to make a Storage. storage_free() on the outermost frees what it wraps. */

#include "lib/common/progress.h"
#include "lib/storage/storage.h"

/* A directory. With `create`, it is made when missing; else ERR_NOT_FOUND with a hint. The
 * directory is held open: what is moved or mounted in its place later is not taken for it. */
MUST_CHECK ErrCode storage_posix_new(Storage **ret, const char *path, bool create, Err *err);

/* Memory, for tests. `replace_silently`: put without STORAGE_OVERWRITE replaces, as S3 does. */
Storage *storage_mem_new(bool replace_silently);
/* Moves the mem driver's clock (it stands still otherwise). */
void storage_mem_advance(Storage *mem, TimeUs by);
/* An independent copy in its present state; contents are shared, so it costs a pointer an object.
 */
Storage *storage_mem_clone(Storage *mem);
/* Equal for two stores that hold the same names, contents and ages (clock minus mtime): nobody
 * who asks for objects and times relative to now can tell them apart. */
uint64_t storage_mem_digest(Storage *mem);

/* What waits looks at, so that tests need not wait. Used by several threads at once. */
typedef struct StorageClock {
    TimeUs (*now)(void *arg); /* monotonic */
    void (*sleep)(void *arg, TimeUs us);
    void *arg;
} StorageClock;

typedef struct RetrySpec {
    unsigned attempts;  /* in all, at least 1 */
    TimeUs first_pause; /* doubles each time, with jitter */
    TimeUs longest_pause;
    TimeUs total;              /* no new attempt after this long; 0: no bound */
    const StorageClock *clock; /* NULL: real time */
} RetrySpec;

/* Repeats calls whose error a retry can help (err_can_retry), and stops waiting when the process
 * is asked to end (cancel_check). A listing goes on behind the last name it gave, and attempts are
 * counted anew when it got further; an error of the caller's own function ends it. A put that
 * found ERR_EXISTS after a failed attempt compares what is there, and succeeds when it is equal. */
Storage *storage_retry_new(Storage *inner, const RetrySpec *spec);

typedef enum S3Style { S3_STYLE_HOST, S3_STYLE_PATH } S3Style;
typedef enum S3Signature { S3_SIGNATURE_V4, S3_SIGNATURE_V2 } S3Signature;

typedef struct S3Spec {
    const char *endpoint; /* [http://|https://]HOST[:PORT]; NULL: Amazon's for the region */
    const char *region;   /* NULL: us-east-1 */
    const char *bucket;
    const char *prefix; /* in front of all names, with a '/' behind it; NULL or "": none */
    const char *key, *secret;
    const char *token; /* of temporary credentials; NULL: none */
    S3Style style;
    S3Signature signature; /* v2 goes through libs3; see lib/storage/s3_v2.c for what it lacks */
    const char *ca_file;   /* NULL: the system's authorities */
    bool verify_tls;
    bool unsigned_payload;  /* leave the content out of the signature; only with TLS */
    TimeUs connect_timeout; /* 0: 10 s */
    TimeUs stall_timeout;   /* no byte in either direction; 0: 60 s */
    TimeUs total_timeout;   /* of one request; 0: enough for its size on a slow line */
    const RetrySpec *retry; /* of the parts of large uploads; NULL: not again */
} S3Spec;

/*
 * A bucket of an S3 server, or what lies in it under a prefix; the bucket must exist. Nothing is
 * sent yet: ERR_CONFIG is a setting that cannot be right. Puts replace silently: S3 has no reliable
 * "create only". Times are whole seconds. Names must be UTF-8.
 */
MUST_CHECK ErrCode storage_s3_new(Storage **ret, const S3Spec *spec, Err *err);

/* At most `bytes_per_second` over all threads, puts and gets together, after a pause a quarter of
 * a second's worth at once. A put waits before it begins, a get after it ended. */
Storage *storage_throttle_new(Storage *inner, uint64_t bytes_per_second);
/* Before the first use. */
void storage_throttle_set_clock(Storage *throttle, const StorageClock *clock);

/*
 * Does what will be asked for before it is asked for, so that a process that lives for a few calls
 * waits for the longest of them and not for their sum. It must stand inside a retry: what fails in
 * the background is done again when it is asked for, and reported only then.
 */
Storage *storage_ahead_new(Storage *inner);
/*
 * Begins to list the names with this prefix and then, when it has at most `fetch_max` bytes, to
 * read the first of them (0: not). The next flat listing of the prefix is answered from it, once,
 * unless something was put or removed through this storage meanwhile; reads of the object are, so
 * it must be one that never changes. All hints come before the first call.
 */
void storage_ahead_list(Storage *ahead, const char *prefix, size_t fetch_max);

/* --- faults, for tests --- */

typedef enum StorageOp {
    STORAGE_OP_PUT = 1,
    STORAGE_OP_GET = 2,
    STORAGE_OP_STAT = 4,
    STORAGE_OP_LIST = 8,
    STORAGE_OP_REMOVE = 16,
    STORAGE_OP_NOW = 32,
    STORAGE_OP_ANY = 63,
} StorageOp;

typedef struct FaultSpec {
    StorageOp ops;        /* which calls count (a mask) */
    const char *contains; /* only names that contain this (of a listing, its prefix); NULL: all */
    unsigned nth;         /* the first call that fails, from 1; 0: none */
    unsigned times;       /* how many fail from there on; 0: all */
    ErrCode code;         /* with what */
    bool after_effect;    /* the call is done first, then its answer is lost */
    unsigned list_names;  /* a listing that fails gives this many names first */
    /* Called before every call that counts, with no lock held (to interleave, pause, crash). */
    void (*hook)(void *arg, StorageOp op, const char *name);
    void *hook_arg;
} FaultSpec;

Storage *storage_fault_new(Storage *inner, const FaultSpec *spec);
/* Counts afresh with another specification. */
void storage_fault_set(Storage *fault, const FaultSpec *spec);
/* Calls that counted so far. */
unsigned storage_fault_calls(Storage *fault);

#endif
