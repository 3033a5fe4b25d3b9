#ifndef PGDR_STORAGE_SIGV4_H
#define PGDR_STORAGE_SIGV4_H

/*
 * AWS Signature Version 4: the value of the header Authorization, from what is sent.
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
 */

#include "lib/common/buf.h"
#include "lib/common/timeutil.h"

/* "20261123T081500Z" with its NUL, as in x-amz-date. */
#define SIGV4_TIME_LEN 17

typedef struct SigV4Key {
    const char *key, *secret;
    const char *region, *service; /* "us-east-1", "s3" */
} SigV4Key;

typedef struct SigV4Header {
    const char *name; /* in lower case */
    const char *value;
} SigV4Header;

typedef struct SigV4Request {
    const char *method;
    const char *path;     /* encoded, from '/' on */
    const char *query;    /* encoded and sorted; "" when there is none */
    SigV4Header *headers; /* all are signed; gets sorted */
    size_t n_headers;
    const char *payload; /* SHA-256 of the body in hexadecimal, or "UNSIGNED-PAYLOAD" */
    const char *time;    /* as in x-amz-date */
} SigV4Request;

/* `out` holds SIGV4_TIME_LEN bytes. */
void sigv4_time(TimeUs t, char *out);
/* What is hashed into the signature; for tests and for a look at what a server refused. */
void sigv4_append_canonical(Buf *out, SigV4Request *req);
void sigv4_append_authorization(Buf *out, const SigV4Key *key, SigV4Request *req);

#endif
