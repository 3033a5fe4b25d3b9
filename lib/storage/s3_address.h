#ifndef PGDR_STORAGE_S3_ADDRESS_H
#define PGDR_STORAGE_S3_ADDRESS_H

/* Where a bucket is reached, from what was configured. */

#include "lib/storage/drivers.h"

typedef struct S3Address {
    bool tls;
    char *endpoint; /* "host:port", lower-case, without the port that the scheme implies */
    char *host;     /* the header Host: the endpoint, with the bucket before it in host style */
    char *base;     /* what stands before "/key" in a path: "/bucket" in path style, else "" */
    char *server;   /* "https://host:port" of the endpoint, for messages */
    char *prefix;   /* "" or "some/where/" */
} S3Address;

void s3_address_release(S3Address *a);
/* ERR_CONFIG with what to write instead. */
MUST_CHECK ErrCode s3_address_make(const S3Spec *spec, S3Address *ret, Err *err);

#endif
