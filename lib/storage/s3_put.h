#ifndef PGDR_STORAGE_S3_PUT_H
#define PGDR_STORAGE_S3_PUT_H

/* Writing to S3: one PUT, or a multipart upload above S3_SINGLE_MAX. */

#include "lib/storage/s3.h"
#include "lib/storage/s3_call.h"

#define S3_SINGLE_MAX (64 * MIB)

ErrCode s3_put(Storage *s, const char *name, const StorageSource *src, StoragePutFlags flags,
               Err *err);

/* --- parts of it --- */

/* Several requests; the object appears with the last of them, or not at all. */
MUST_CHECK ErrCode s3_put_multipart(S3 *s, const char *name, const StorageSource *src, Err *err);

/* Whoever answers 200 to anything (a router's login page) has stored nothing: S3 sends an ETag. */
MUST_CHECK ErrCode s3_put_judge(const S3 *s, const char *name, const HttpReply *reply, Err *err);

static inline S3Deed s3_put_deed(const char *name)
{
    return (S3Deed){.verb = "write", .name = name, .action = "s3:PutObject"};
}

#endif
