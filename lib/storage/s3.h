#ifndef PGDR_STORAGE_S3_H
#define PGDR_STORAGE_S3_H

/* The driver for S3, as its parts see it. Everything but the atomics is constant. */

#include <stdatomic.h>

#include "lib/storage/drivers.h"
#include "lib/storage/http.h"
#include "lib/storage/s3_address.h"

typedef struct S3 {
    Storage base;
    Http *http;
    S3Address at;
    char *bucket, *region;
    char *key, *secret, *token; /* token: NULL when there is none */
    bool unsigned_payload;
    RetrySpec parts; /* how often a part of a large upload is sent */

    /* What has been learnt of the server. */
    atomic_llong clock_offset;   /* µs that its clock is ahead of ours */
    atomic_bool bucket_seen;     /* the bucket exists: something in it was answered */
    atomic_bool wants_md5;       /* refuses a put without Content-MD5 (object lock) */
    atomic_bool deletes_singly;  /* does not know DeleteObjects */
    atomic_bool ask_before_body; /* the last upload broke off while it was sent */
} S3;

/* The key of an object: the prefix and the name. The caller frees. */
char *s3_key(const S3 *s, const char *name);

/* Makes an S3, or what begins with one and has `size` bytes in all; `at` is taken over on success.
 */
MUST_CHECK ErrCode s3_make(Storage **ret, size_t size, const StorageOps *ops, const S3Spec *spec,
                           S3Address *at, Err *err);
/* StorageOps.free of both. */
void s3_release(Storage *s);

#endif
