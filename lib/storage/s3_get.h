#ifndef PGDR_STORAGE_S3_GET_H
#define PGDR_STORAGE_S3_GET_H

/* Reading from S3: ranges by GET, status by HEAD. */

#include "lib/storage/s3.h"

ErrCode s3_get(Storage *s, const char *name, StorageRead *read, Err *err);
ErrCode s3_stat(Storage *s, const char *name, StorageStat *ret, Err *err);
/* The Date that any answer carries. */
ErrCode s3_now(Storage *s, TimeUs *ret, Err *err);

/* "\"abc\"" and "abc" alike; cut to what a StorageStat holds. */
void s3_etag_keep(char out[STORAGE_ETAG_LEN], const char *text);

#endif
