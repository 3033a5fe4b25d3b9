#ifndef PGDR_STORAGE_S3_REMOVE_H
#define PGDR_STORAGE_S3_REMOVE_H

/* Removing from S3: DeleteObjects, or DELETE for a single name and where the server knows no more.
 */

#include "lib/storage/s3.h"

ErrCode s3_remove(Storage *s, const char *const *names, size_t n, Err *err);

#endif
