#include "lib/storage/s3_put.h"

#include <string.h>

#include "lib/common/json.h"

ErrCode s3_put(Storage *storage, const char *name, const StorageSource *src, StoragePutFlags flags,
               Err *err)
{
    /* A name that is taken is replaced either way: see lib/storage/storage.h. */
    (void)flags;
    S3 *s = (S3 *)storage;
    if (!utf8_valid(name, strlen(name)))
        return err_set(err, ERR_USAGE,
                       "'%s' cannot be the name of an object in %s: it is not UTF-8", name,
                       storage->url);
    if (src->size > S3_SINGLE_MAX)
        return s3_put_multipart(s, name, src, err);
    HttpReply reply AUTO(http_reply_release) = {0};
    char *key AUTO(mem_freep) = s3_key(s, name);
    const S3Call call = {.method = "PUT",
                         .deed = s3_put_deed(name),
                         .key = key,
                         .source = src,
                         .len = src->size,
                         .limit = HTTP_ERROR_LIMIT};
    TRY(s3_call(s, &call, &reply, NULL, err));
    return s3_put_judge(s, name, &reply, err);
}

ErrCode s3_put_judge(const S3 *s, const char *name, const HttpReply *reply, Err *err)
{
    const S3Deed deed = s3_put_deed(name);
    if (http_reply_header(reply, "ETag"))
        return ERR_OK;
    err_set(err, ERR_NETWORK,
            "the answer has no ETag, so it is not certain that the object is "
            "stored");
    err_hint(err, "if this stays: check s3-endpoint ('%s'); is it S3?", s->at.server);
    return s3_wrap(s, &deed, err);
}
