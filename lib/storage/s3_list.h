#ifndef PGDR_STORAGE_S3_LIST_H
#define PGDR_STORAGE_S3_LIST_H

/* Listings: ListObjectsV2, page by page. */

#include "lib/storage/s3.h"

ErrCode s3_list(Storage *s, const StorageList *list, Err *err);
/* Whether a listing shows this very name. */
MUST_CHECK ErrCode s3_list_has(S3 *s, const char *name, bool *ret, Err *err);

/* --- for tests: one page as it comes --- */

typedef struct S3ListEntry {
    char *key; /* decoded; with a trailing '/' of a common prefix */
    bool is_prefix;
    StorageStat stat;
} S3ListEntry;

typedef struct S3ListPage {
    VEC(S3ListEntry) entries; /* sorted by key */
    char *next;               /* the token for the next page; NULL on the last */
} S3ListPage;

void s3_list_page_release(S3ListPage *page);
/* ERR_DAMAGED when it is no such document, or one cut off. */
MUST_CHECK ErrCode s3_list_page_parse(const void *text, size_t len, S3ListPage *ret, Err *err);

#endif
