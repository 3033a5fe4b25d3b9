/*
 * An object too large for one request: CreateMultipartUpload, UploadPart for each part, then
 * CompleteMultipartUpload, which makes it appear whole. A part that fails is read from the source
 * and sent again; when that does not help, the upload is aborted, so that its parts are not paid
 * for without being seen.
 */

#include <stdio.h>
#include <string.h>

#include "lib/common/log.h"
#include "lib/storage/attempts.h"
#include "lib/storage/s3_get.h"
#include "lib/storage/s3_put.h"
#include "lib/storage/xml.h"

/* S3 takes parts of 5 MiB to 5 GiB, and at most 10 000 of them. */
#define PART_LEN ((uint64_t)(32 * MIB))
#define PARTS_MAX 10000
#define UPLOAD_ID_MAX 2048

typedef struct Upload {
    S3 *s;
    const char *name;
    const StorageSource *src;
    char *key, *id;
    uint64_t part_len;
    VEC(char *) etags; /* of the parts, as the server gave them */
} Upload;

static void upload_release(Upload *u)
{
    for (size_t i = 0; i < u->etags.n; i++)
        free(u->etags.at[i]);
    vec_release(&u->etags);
    free(u->key);
    free(u->id);
}

static S3Call upload_call(const Upload *u, const char *method)
{
    return (S3Call){
        .method = method, .deed = s3_put_deed(u->name), .key = u->key, .limit = HTTP_ERROR_LIMIT};
}

/* --- begin --- */

/* The text of <UploadId>; the caller frees. */
static ErrCode parse_upload_id(const Buf *body, char **ret, Err *err)
{
    XmlReader r AUTO(xml_close);
    XmlTag tag;
    char *id AUTO(mem_freep) = NULL;
    xml_open(&r, body->data ? body->data : (const void *)"", body->len);
    do {
        TRY(xml_next(&r, &tag, err));
        if (tag.kind == XML_END && tag.depth == 2 && strcmp(tag.name, "UploadId") == 0 && !id &&
            tag.text_len <= UPLOAD_ID_MAX)
            id = mem_strdup(tag.text);
    } while (tag.kind != XML_DONE);
    if (!id || !*id)
        return err_set(err, ERR_DAMAGED, "it has no UploadId");
    *ret = steal_ptr(&id);
    return ERR_OK;
}

static ErrCode upload_begin(Upload *u, Err *err)
{
    HttpReply reply AUTO(http_reply_release) = {0};
    S3Call call = upload_call(u, "POST");
    call.query[0] = (UriField){"uploads", ""};
    TRY(s3_call(u->s, &call, &reply, NULL, err));
    if (parse_upload_id(&reply.body, &u->id, err) != ERR_OK) {
        err->code = ERR_NETWORK;
        err_wrap(err, "the answer to the begin of an upload cannot be read");
        return s3_wrap(u->s, &call.deed, err);
    }
    return ERR_OK;
}

/* --- parts --- */

static ErrCode part_send(Upload *u, unsigned number, HttpReply *reply, Err *err)
{
    char text[16];
    snprintf(text, sizeof(text), "%u", number);
    S3Call call = upload_call(u, "PUT");
    call.query[0] = (UriField){"partNumber", text};
    call.query[1] = (UriField){"uploadId", u->id};
    call.source = u->src;
    call.off = (number - 1) * u->part_len;
    call.len = MIN(u->part_len, u->src->size - call.off);
    TRY(s3_call(u->s, &call, reply, NULL, err));
    return s3_put_judge(u->s, u->name, reply, err);
}

static ErrCode part_put(Upload *u, unsigned number, Err *err)
{
    HttpReply reply AUTO(http_reply_release) = {0};
    for (Attempts a = attempts_begin(&u->s->parts);;) {
        if (part_send(u, number, &reply, err) == ERR_OK)
            break;
        TRY(attempts_next(&a, err));
    }
    vec_push(&u->etags, mem_strdup(http_reply_header(&reply, "ETag")));
    return ERR_OK;
}

/* --- end --- */

static void append_parts(const Upload *u, Buf *out)
{
    buf_append_str(out, "<CompleteMultipartUpload>");
    for (size_t i = 0; i < u->etags.n; i++) {
        buf_printf(out, "<Part><PartNumber>%zu</PartNumber><ETag>", i + 1);
        xml_append_text(out, u->etags.at[i]);
        buf_append_str(out, "</ETag></Part>");
    }
    buf_append_str(out, "</CompleteMultipartUpload>");
}

/* After "no such upload" to a repeated end: did the first one take effect? The object is ours when
 * it has our size and, as only such an upload gives it, "-<number of parts>" behind its digest. */
static bool was_completed(Upload *u)
{
    StorageStat stat;
    Err ignored = {0};
    char tail[16];
    snprintf(tail, sizeof(tail), "-%zu", u->etags.n);
    if (s3_stat(&u->s->base, u->name, &stat, &ignored) != ERR_OK || stat.size != u->src->size)
        return false;
    size_t len = strlen(stat.etag), tail_len = strlen(tail);
    return len > tail_len && strcmp(stat.etag + len - tail_len, tail) == 0;
}

static ErrCode upload_finish(Upload *u, Err *err)
{
    HttpReply reply AUTO(http_reply_release) = {0};
    Buf body AUTO(buf_release) = {0};
    S3Fault fault;
    append_parts(u, &body);
    const Slice part = buf_slice(&body);
    const StorageSource src = {.parts = &part, .n = 1, .fd = -1, .size = body.len};
    S3Call call = upload_call(u, "POST");
    call.query[0] = (UriField){"uploadId", u->id};
    call.source = &src;
    call.len = body.len;
    call.content_type = "application/xml";
    for (Attempts a = attempts_begin(&u->s->parts);;) {
        if (s3_call(u->s, &call, &reply, &fault, err) == ERR_OK)
            return ERR_OK;
        if (a.n > 1 && strcmp(fault.code, "NoSuchUpload") == 0 && was_completed(u))
            return ERR_OK;
        TRY(attempts_next(&a, err));
    }
}

static void upload_abort(Upload *u)
{
    HttpReply reply AUTO(http_reply_release) = {0};
    Err err = {0};
    S3Call call = upload_call(u, "DELETE");
    call.deed.verb = "abort the upload of";
    call.deed.action = "s3:AbortMultipartUpload";
    call.query[0] = (UriField){"uploadId", u->id};
    if (s3_call(u->s, &call, &reply, NULL, &err) != ERR_OK && err.code != ERR_NOT_FOUND)
        log_debug("%s; a lifecycle rule that aborts incomplete uploads removes its parts",
                  err.message);
}

static ErrCode upload_all(Upload *u, Err *err)
{
    uint64_t parts = (u->src->size + u->part_len - 1) / u->part_len;
    for (unsigned number = 1; number <= parts; number++)
        TRY(part_put(u, number, err));
    return upload_finish(u, err);
}

ErrCode s3_put_multipart(S3 *s, const char *name, const StorageSource *src, Err *err)
{
    Upload u AUTO(upload_release) = {.s = s, .name = name, .src = src, .key = s3_key(s, name)};
    u.part_len = MAX(PART_LEN, align_up((src->size + PARTS_MAX - 1) / PARTS_MAX, MIB));
    TRY(upload_begin(&u, err));
    ErrCode rc = upload_all(&u, err);
    if (rc != ERR_OK)
        upload_abort(&u);
    return rc;
}
