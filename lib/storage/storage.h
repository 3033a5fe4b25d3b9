#ifndef PGDR_STORAGE_STORAGE_H
#define PGDR_STORAGE_STORAGE_H

/*
 * Named immutable objects on a medium. Drivers (posix, mem, s3) and decorators (retry, throttle,
 * fault) implement StorageOps; everybody else calls the storage_* functions below, which check
 * their arguments once for all drivers.
 *
 * What every driver promises:
 *  - An object appears whole or not at all, under concurrency, crash and power cut: nobody ever
 *    reads a part of a put. When put returns ERR_OK the object is durable.
 *  - Objects are never changed. A name is never used for other content; the two exceptions
 *    (STORAGE_OVERWRITE) replace one whole object by another.
 *  - After put, get, stat and list see the object (read-after-write).
 *  - All calls are thread-safe. Errors name the object and where it lies.
 *
 * Names are relative: components of 1 to 255 bytes joined by '/', at most STORAGE_NAME_MAX bytes
 * in all, no component that starts with '.', no bytes below 0x20 and no 0x7f. Whoever chooses
 * names never uses one both for an object and as a directory of others ('a' beside 'a/b'): posix
 * answers ERR_EXISTS to the second, S3 stores both.
 */

#include "lib/common/buf.h"
#include "lib/common/err.h"
#include "lib/common/timeutil.h"

#define STORAGE_NAME_MAX 900

typedef struct Storage Storage;

typedef enum StoragePutFlags {
    STORAGE_CREATE = 0,
    STORAGE_OVERWRITE = 1, /* replace whole: leases, and a damaged object by its proven content */
} StoragePutFlags;

/* What is put: `n` pieces of memory, one behind the other, or (n = 0) the first `size` bytes of
 * the file `fd`. The content must not change during the call: a driver may read it twice. Large
 * pieces of memory that begin at a multiple of 4096 (mem_aligned) spare posix a copy. */
typedef struct StorageSource {
    const Slice *parts;
    size_t n;
    int fd;
    uint64_t size; /* of all parts, or of the file */
} StorageSource;

#define STORAGE_ETAG_LEN 80

typedef struct StorageStat {
    uint64_t size;
    /* By the storage's clock, when the object was put; on posix when its content was written, so
     * a put that was held up appears with an age. It never changes afterwards. */
    TimeUs mtime;
    char etag[STORAGE_ETAG_LEN]; /* changes when the content does; "" where there is none */
} StorageStat;

/* A ranged read. Set off, len, data; got < len only where the object ends. */
typedef struct StorageRead {
    uint64_t off;
    bool from_end; /* the last `len` bytes instead; `off` is then an output */
    size_t len;
    void *data;
    size_t got;    /* out */
    uint64_t size; /* out: of the whole object */
} StorageRead;

typedef struct StorageEntry {
    const char *name; /* in full; with a trailing '/' when it stands for all names below */
    bool is_prefix;
    StorageStat stat; /* only when the listing asked for it */
} StorageEntry;

typedef ErrCode (*StorageListFn)(void *arg, const StorageEntry *entry, Err *err);

typedef struct StorageList {
    const char *prefix; /* names that start with this text; "" lists all */
    const char *after;  /* only entries whose name is greater than this; NULL: all */
    bool by_level;      /* names with a further '/' behind the prefix are joined into one entry,
                         * whose name goes up to and with that '/' */
    bool want_stat;     /* size, mtime, etag (costs a call a name on posix, nothing on S3) */
    StorageListFn fn;   /* called in ascending byte order of names; an error ends the listing */
    void *arg;
} StorageList;

typedef struct StorageOps {
    /*
     * Is expected to write the object durably. Without STORAGE_OVERWRITE, a driver that can tell
     * answers ERR_EXISTS when the name is taken, leaving what is there; S3 cannot, and names are
     * chosen so that it does not matter.
     */
    ErrCode (*put)(Storage *s, const char *name, const StorageSource *src, StoragePutFlags flags,
                   Err *err);
    /* Is expected to fill `read`; ERR_NOT_FOUND when there is no such object. An offset at or
     * behind the end reads nothing. */
    ErrCode (*get)(Storage *s, const char *name, StorageRead *read, Err *err);
    /* Is expected to answer ERR_NOT_FOUND when there is no such object. */
    ErrCode (*stat)(Storage *s, const char *name, StorageStat *ret, Err *err);
    /* Is expected to show every object that was there during the whole call, each once; one that
     * is put or removed meanwhile may or may not be shown. No names is no error. */
    ErrCode (*list)(Storage *s, const StorageList *list, Err *err);
    /* Is expected to remove all names durably; one that is not there is no error. After a failure
     * any of them may be gone. */
    ErrCode (*remove)(Storage *s, const char *const *names, size_t n, Err *err);
    /* Is expected to tell the storage's own clock, the one mtime is measured with. In S3 both are
     * whole seconds, and may differ by one. */
    ErrCode (*now)(Storage *s, TimeUs *ret, Err *err);
    void (*free)(Storage *s);
} StorageOps;

struct Storage {
    const StorageOps *ops;
    char *url; /* for messages; freed by storage_free() */
};

void storage_free(Storage *s);
DEFINE_FREEP(Storage, storage_free)

/* ERR_USAGE when the name breaks the rules above; the functions below ask it first. A prefix may
 * also be empty or end with '/'. */
MUST_CHECK ErrCode storage_name_check(const char *name, Err *err);

MUST_CHECK ErrCode storage_put(Storage *s, const char *name, const StorageSource *src,
                               StoragePutFlags flags, Err *err);
MUST_CHECK ErrCode storage_put_bytes(Storage *s, const char *name, const void *data, size_t len,
                                     StoragePutFlags flags, Err *err);
MUST_CHECK ErrCode storage_get(Storage *s, const char *name, StorageRead *read, Err *err);
/* The whole object appended to *out; ERR_LIMIT when it is larger than `limit`. Up to
 * STORAGE_FIRST_READ bytes come from one read, so they are never a mixture of an object and the
 * one that replaces it. */
#define STORAGE_FIRST_READ (256 * KIB)
MUST_CHECK ErrCode storage_get_all(Storage *s, const char *name, size_t limit, Buf *out, Err *err);
MUST_CHECK ErrCode storage_stat(Storage *s, const char *name, StorageStat *ret, Err *err);
MUST_CHECK ErrCode storage_list(Storage *s, const StorageList *list, Err *err);
/* All names (by_level as given) below a prefix, appended. */
MUST_CHECK ErrCode storage_list_names(Storage *s, const char *prefix, bool by_level, StrList *ret,
                                      Err *err);
MUST_CHECK ErrCode storage_remove(Storage *s, const char *const *names, size_t n, Err *err);
MUST_CHECK ErrCode storage_now(Storage *s, TimeUs *ret, Err *err);

#endif
