#include "lib/storage/s3_remove.h"

#include <stdio.h>
#include <string.h>

#include "lib/common/json.h"
#include "lib/storage/s3_call.h"
#include "lib/storage/xml.h"

/* S3 takes so many names at once. */
#define BATCH_MAX 1000
/* Each may be refused with its key, as text with entities, and a sentence. */
#define ANSWER_LIMIT (8 * MIB)

static S3Deed remove_deed(const char *name)
{
    return (S3Deed){.verb = "remove", .name = name, .action = "s3:DeleteObject"};
}

static ErrCode remove_one(S3 *s, const char *name, Err *err)
{
    HttpReply reply AUTO(http_reply_release) = {0};
    S3Fault fault;
    char *key AUTO(mem_freep) = s3_key(s, name);
    const S3Call call = {
        .method = "DELETE", .deed = remove_deed(name), .key = key, .limit = HTTP_ERROR_LIMIT};
    ErrCode rc = s3_call(s, &call, &reply, &fault, err);
    /* That it is not there is no error; that the bucket is not there is one. */
    if (rc == ERR_NOT_FOUND && strcmp(fault.code, "NoSuchBucket") != 0)
        return ERR_OK;
    return rc;
}

/* --- many --- */

static void append_names(const S3 *s, const char *const *names, size_t n, Buf *out)
{
    buf_append_str(out, "<Delete><Quiet>true</Quiet>");
    for (size_t i = 0; i < n; i++) {
        buf_append_str(out, "<Object><Key>");
        xml_append_text(out, s->at.prefix);
        xml_append_text(out, names[i]);
        buf_append_str(out, "</Key></Object>");
    }
    buf_append_str(out, "</Delete>");
}

/* The answer to DeleteObjects: the names that were not removed, and why. */
typedef struct Refusals {
    const S3 *s;
    S3Fault fault; /* of the line that is read */
    char key[STORAGE_NAME_MAX + 200];
    Err first;
    size_t n;
} Refusals;

static void refusal_field(Refusals *r, const XmlTag *tag)
{
    if (strcmp(tag->name, "Key") == 0)
        snprintf(r->key, sizeof(r->key), "%s", tag->text);
    else if (strcmp(tag->name, "Code") == 0)
        snprintf(r->fault.code, sizeof(r->fault.code), "%s", tag->text);
    else if (strcmp(tag->name, "Message") == 0)
        snprintf(r->fault.message, sizeof(r->fault.message), "%s", tag->text);
}

/* An error that a retry does not help says more than one that it does. */
static void refusal_add(Refusals *r)
{
    size_t skip = strlen(r->s->at.prefix);
    const char *name = strncmp(r->key, r->s->at.prefix, skip) == 0 ? r->key + skip : r->key;
    S3Deed deed = remove_deed(name);
    Err err = {0};
    if (strcmp(r->fault.code, "NoSuchKey") != 0) {
        s3_fault_error(r->s, &deed, &r->fault, NULL, &err);
        if (!r->n++ || (err_can_retry(r->first.code) && !err_can_retry(err.code)))
            r->first = err;
    }
    r->fault = (S3Fault){0};
    r->key[0] = '\0';
}

static ErrCode refusals_parse(Refusals *r, const Buf *body, Err *err)
{
    XmlReader x AUTO(xml_close);
    XmlTag tag;
    xml_open(&x, body->data ? body->data : (const void *)"", body->len);
    TRY(xml_next(&x, &tag, err));
    if (strcmp(tag.name, "DeleteResult") != 0)
        return err_set(err, ERR_DAMAGED, "it is '%s'", tag.name);
    bool error = false;
    for (;;) {
        TRY(xml_next(&x, &tag, err));
        if (tag.kind == XML_DONE)
            return ERR_OK;
        if (tag.depth == 2)
            error = tag.kind == XML_BEGIN && strcmp(tag.name, "Error") == 0;
        if (error && tag.kind == XML_END && tag.depth == 3)
            refusal_field(r, &tag);
        if (tag.kind == XML_END && tag.depth == 2 && r->key[0])
            refusal_add(r);
    }
}

static ErrCode judge_batch(S3 *s, const S3Call *call, const HttpReply *reply, Err *err)
{
    Refusals *r AUTO(mem_freep) = NEW(Refusals);
    r->s = s;
    if (refusals_parse(r, &reply->body, err) != ERR_OK) {
        /* Removing is repeated without harm. */
        err->code = ERR_NETWORK;
        err_wrap(err, "the answer cannot be read");
        return s3_wrap(s, &call->deed, err);
    }
    if (!r->n)
        return ERR_OK;
    *err = r->first;
    return r->n > 1 ? err_wrap(err, "%zu objects were not removed, the first", r->n) : err->code;
}

static bool knows_no_batches(const HttpReply *reply, const S3Fault *fault)
{
    return reply->status == 501 || reply->status == 405 ||
           strcmp(fault->code, "NotImplemented") == 0 ||
           strcmp(fault->code, "MethodNotAllowed") == 0;
}

/* *ret_known is false when the server does not know such requests: nothing was removed. */
static ErrCode remove_batch(S3 *s, const char *const *names, size_t n, bool *ret_known, Err *err)
{
    HttpReply reply AUTO(http_reply_release) = {0};
    Buf body AUTO(buf_release) = {0};
    S3Fault fault;
    append_names(s, names, n, &body);
    const Slice part = buf_slice(&body);
    const StorageSource src = {.parts = &part, .n = 1, .fd = -1, .size = body.len};
    S3Call call = {.method = "POST",
                   .deed = remove_deed(names[0]),
                   .query = {{"delete", ""}},
                   .source = &src,
                   .len = body.len,
                   .content_type = "application/xml",
                   .content_md5 = true,
                   .limit = ANSWER_LIMIT};
    ErrCode rc = s3_call(s, &call, &reply, &fault, err);
    *ret_known = rc == ERR_OK || !knows_no_batches(&reply, &fault);
    return rc == ERR_OK ? judge_batch(s, &call, &reply, err) : rc;
}

static ErrCode remove_each(S3 *s, const char *const *names, size_t n, Err *err)
{
    for (size_t i = 0; i < n; i++)
        TRY(remove_one(s, names[i], err));
    return ERR_OK;
}

ErrCode s3_remove(Storage *storage, const char *const *names, size_t n, Err *err)
{
    S3 *s = (S3 *)storage;
    for (size_t i = 0; i < n; i++)
        if (!utf8_valid(names[i], strlen(names[i])))
            return err_set(err, ERR_USAGE,
                           "'%s' cannot be the name of an object in %s: it is not UTF-8", names[i],
                           storage->url);
    for (size_t i = 0; i < n; i += BATCH_MAX) {
        size_t batch = MIN(n - i, (size_t)BATCH_MAX);
        bool known = batch > 1 && !s->deletes_singly;
        ErrCode rc = known ? remove_batch(s, names + i, batch, &known, err) : ERR_OK;
        if (batch > 1 && !known)
            s->deletes_singly = true;
        if (!known)
            rc = remove_each(s, names + i, batch, err);
        TRY(rc);
    }
    return ERR_OK;
}
