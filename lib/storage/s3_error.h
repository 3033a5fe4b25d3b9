#ifndef PGDR_STORAGE_S3_ERROR_H
#define PGDR_STORAGE_S3_ERROR_H

/* What an S3 server's refusal means, and what to do about it. */

#include "lib/storage/http.h"
#include "lib/storage/s3.h"

#define S3_CODE_LEN 64

/* The document <Error> of an answer; texts that are missing are "". */
typedef struct S3Fault {
    char code[S3_CODE_LEN]; /* "NoSuchKey" */
    char message[256];
    char region[64];    /* the right one, where the server says it */
    char endpoint[256]; /* the same */
} S3Fault;

/* True when the text is an <Error> document that could be read. */
bool s3_fault_parse(const void *text, size_t len, S3Fault *ret);

/* What was asked for, for messages. */
typedef struct S3Deed {
    const char *verb;   /* "write" */
    const char *name;   /* of the object, or what is listed; NULL: the bucket itself */
    const char *action; /* "s3:PutObject" */
} S3Deed;

/* Sets *err from a refused request. `fault` is what its body said (code "" when it said nothing);
 * `reply` may be NULL where there is only a code (a line in the answer to DeleteObjects). */
ErrCode s3_fault_error(const S3 *s, const S3Deed *deed, const S3Fault *fault,
                       const HttpReply *reply, Err *err);
/* Puts "cannot <verb> '<name>' in <url>: " before the message. */
ErrCode s3_wrap(const S3 *s, const S3Deed *deed, Err *err);

#endif
