#ifndef PGDR_STORAGE_S3_V2_H
#define PGDR_STORAGE_S3_V2_H

/*
 * S3 with Signature V2, for appliances that know nothing newer, through libs3 2.0 (loaded when it
 * is first used). What that library cannot do is refused, not hidden:
 *  - https, unless nobody is to verify it: the library never does. No CA file, no session token.
 *  - Amazon itself, which no longer takes this signature.
 *  - names with a blank, which the library stores with a '+' instead.
 *  - objects above 5 GiB: it knows no multipart uploads.
 * And it is slower: two requests a get, one a name that is removed or whose status is listed.
 * Requests end after 15 s with less than 1 KiB/s, whatever the timeouts say.
 */

#include "lib/storage/s3_address.h"

/* `at` is taken over on success. ERR_CONFIG in a build without libs3. */
MUST_CHECK ErrCode storage_s3_v2_new(Storage **ret, const S3Spec *spec, S3Address *at, Err *err);

#endif
