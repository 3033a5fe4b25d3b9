#ifndef PGDR_STORAGE_S3_CALL_H
#define PGDR_STORAGE_S3_CALL_H

/* One request to S3: addressed, signed, sent, and its answer judged. */

#include "lib/storage/s3.h"
#include "lib/storage/s3_error.h"
#include "lib/storage/uri.h"

#define S3_QUERY_MAX 8

typedef struct S3Call {
    const char *method;
    S3Deed deed;     /* what a message says it was; its name is the object's, as callers know it */
    const char *key; /* NULL: the bucket */
    UriField query[S3_QUERY_MAX]; /* ends with the first without a name */

    const StorageSource *source; /* the body: these bytes of it; NULL: there is none */
    uint64_t off, len;
    const char *content_type; /* NULL: not sent */
    bool content_md5;         /* sent in any case */
    const char *range;        /* "bytes=0-9"; NULL: not sent */

    HttpTake take; /* as in HttpRequest */
    void *take_arg;
    size_t limit;
} S3Call;

/*
 * ERR_OK for a status of 200 to 299 whose body is no <Error>. Otherwise *err names object, storage
 * and reason; reply->status and *ret_fault (which may be NULL) say what the server did, status 0
 * that it did not answer. A request refused because our clock is wrong is sent again by the
 * server's.
 */
MUST_CHECK ErrCode s3_call(S3 *s, const S3Call *call, HttpReply *reply, S3Fault *ret_fault,
                           Err *err);

#endif
