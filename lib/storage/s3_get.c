#include "lib/storage/s3_get.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/storage/s3_call.h"
#include "lib/storage/s3_list.h"

/* No object is larger than 2^50 bytes; offsets beyond that are not sent. */
#define SIZE_LIMIT ((uint64_t)1 << 50)
/* A size that changes each time it is asked for. */
#define GET_TRIES 3

static void deed_of(S3Call *call, const char *verb, const char *name)
{
    call->deed = (S3Deed){.verb = verb, .name = name, .action = "s3:GetObject"};
}

/* --- what an answer means that a policy or a missing body leaves open --- */

static ErrCode take_nothing(void *arg, const HttpReply *reply, const void *data, size_t len,
                            bool *ret_enough, Err *err)
{
    (void)arg, (void)reply, (void)data, (void)len, (void)err;
    *ret_enough = true;
    return ERR_OK;
}

/* After a refused HEAD, whose answer has no body: the same with GET, to learn the reason. Returns
 * ERR_OK when that works. */
static ErrCode ask_why(S3 *s, const S3Call *head, HttpReply *reply, S3Fault *fault, Err *err)
{
    S3Call call = *head;
    call.method = "GET";
    call.range = "bytes=0-0";
    call.take = take_nothing;
    ErrCode rc = s3_call(s, &call, reply, fault, err);
    /* An empty object has no first byte. */
    return reply->status == 416 ? ERR_OK : rc;
}

/*
 * A server that may not tell whether an object exists (the policy allows s3:ListBucket not at all,
 * or only below a prefix) answers 403 for one that does not. A listing that is allowed settles it.
 */
static ErrCode settle_denied(S3 *s, const char *name, const S3Fault *fault, Err *err)
{
    bool listed = true;
    Err ignored = {0};
    if (strcmp(fault->code, "AccessDenied") != 0)
        return err->code;
    if (s3_list_has(s, name, &listed, &ignored) != ERR_OK || listed)
        return err->code;
    return err_set(err, ERR_NOT_FOUND, "cannot find '%s' in %s: there is no such object", name,
                   s->base.url);
}

/* --- stat --- */

void s3_etag_keep(char out[STORAGE_ETAG_LEN], const char *text)
{
    size_t len = strlen(text);
    if (len >= 2 && text[0] == '"' && text[len - 1] == '"') {
        text++;
        len -= 2;
    }
    len = MIN(len, (size_t)STORAGE_ETAG_LEN - 1);
    memcpy(out, text, len);
    out[len] = '\0';
}

static ErrCode head_parse(S3 *s, const S3Call *call, const HttpReply *reply, StorageStat *ret,
                          Err *err)
{
    int64_t size = http_reply_number(reply, "Content-Length");
    TimeUs mtime = http_reply_time(reply, "Last-Modified");
    const char *etag = http_reply_header(reply, "ETag");
    if (size < 0 || !mtime) {
        err_set(err, ERR_NETWORK, "the answer lacks the object's %s", size < 0 ? "size" : "time");
        err_hint(err, "if this stays: check s3-endpoint ('%s'); is it S3?", s->at.server);
        return s3_wrap(s, &call->deed, err);
    }
    *ret = (StorageStat){.size = (uint64_t)size, .mtime = mtime};
    if (etag)
        s3_etag_keep(ret->etag, etag);
    return ERR_OK;
}

static ErrCode head(S3 *s, const S3Call *call, StorageStat *ret, Err *err)
{
    HttpReply reply AUTO(http_reply_release) = {0};
    S3Fault fault;
    ErrCode rc = s3_call(s, call, &reply, &fault, err);
    if (rc == ERR_OK)
        return head_parse(s, call, &reply, ret, err);
    /* No object, or no bucket? That is asked once only. */
    bool unclear = rc == ERR_NOT_FOUND ? !s->bucket_seen : reply.status && !err_can_retry(rc);
    if (!unclear)
        return rc;
    rc = ask_why(s, call, &reply, &fault, err);
    if (rc != ERR_OK)
        return settle_denied(s, call->deed.name, &fault, err);
    TRY(s3_call(s, call, &reply, &fault, err));
    return head_parse(s, call, &reply, ret, err);
}

ErrCode s3_stat(Storage *storage, const char *name, StorageStat *ret, Err *err)
{
    S3 *s = (S3 *)storage;
    char *key AUTO(mem_freep) = s3_key(s, name);
    S3Call call = {.method = "HEAD", .key = key};
    deed_of(&call, "look at", name);
    return head(s, &call, ret, err);
}

ErrCode s3_now(Storage *storage, TimeUs *ret, Err *err)
{
    S3 *s = (S3 *)storage;
    HttpReply reply AUTO(http_reply_release) = {0};
    /* No name begins with '.': there is no such object, and so it is with every policy. */
    char *key AUTO(mem_freep) = s3_key(s, ".time");
    S3Call call = {.method = "HEAD", .key = key, .deed = {"ask the time of", NULL, "s3:GetObject"}};
    ErrCode rc = s3_call(s, &call, &reply, NULL, err);
    /* Refused or not, it is an answer; but not one of a server in trouble. */
    if (rc != ERR_OK && (!reply.status || err_can_retry(rc)))
        return rc;
    TimeUs now = http_reply_time(&reply, "Date");
    if (!now) {
        err_set(err, ERR_CONFIG, "the answer has no Date");
        return s3_wrap(s, &call.deed, err);
    }
    *ret = now;
    return ERR_OK;
}

/* --- get --- */

/* Where a body's bytes go. */
typedef struct RangeTaker {
    StorageRead *read;
    uint64_t skip;  /* bytes of the body before the wanted ones (a server that sends all) */
    size_t want;    /* bytes to keep */
    uint64_t taken; /* of the body */
    bool begun, whole, size_known;
} RangeTaker;

/* "bytes 0-9/100" */
static bool content_range(const HttpReply *reply, uint64_t *first, uint64_t *last, uint64_t *size)
{
    const char *text = http_reply_header(reply, "Content-Range");
    int used = 0;
    return text &&
           sscanf(text, "bytes %16" SCNu64 "-%16" SCNu64 "/%16" SCNu64 "%n", first, last, size,
                  &used) == 3 &&
           !text[used] && *first <= *last && *last < *size && *size <= SIZE_LIMIT;
}

static ErrCode begin_part(RangeTaker *t, const HttpReply *reply, Err *err)
{
    StorageRead *read = t->read;
    uint64_t first, last, size;
    if (!content_range(reply, &first, &last, &size))
        return err_set(err, ERR_NETWORK, "the answer does not say which part of the object it is");
    uint64_t want = read->from_end ? size - MIN(size, read->len) : read->off;
    if (first != want || last - first + 1 > read->len ||
        (last - first + 1 < read->len && last + 1 != size))
        return err_set(err, ERR_NETWORK,
                       "bytes %" PRIu64 " to %" PRIu64 " of %" PRIu64
                       " came instead of %zu bytes from %" PRIu64,
                       first, last, size, read->len, want);
    read->off = first;
    read->size = size;
    t->want = (size_t)(last - first + 1);
    t->size_known = true;
    return ERR_OK;
}

/* The whole object came, because it is empty or the server does not know ranges. */
static ErrCode begin_whole(RangeTaker *t, const HttpReply *reply, Err *err)
{
    StorageRead *read = t->read;
    int64_t size = http_reply_number(reply, "Content-Length");
    /* Whoever answers 200 to anything must not be taken for a server without ranges. */
    if (!http_reply_header(reply, "ETag"))
        return err_set(err, ERR_NETWORK, "the answer is no object of S3: it has no ETag");
    t->whole = true;
    t->size_known = size >= 0;
    if (!t->size_known && read->from_end)
        return err_set(err, ERR_CONFIG, "the server knows no ranges and does not tell the size");
    if (t->size_known) {
        read->size = (uint64_t)size;
        if (read->from_end)
            read->off = read->size - MIN(read->size, read->len);
    }
    t->skip = read->off;
    t->want = read->len;
    if (t->size_known)
        t->want = read->off < read->size ? (size_t)MIN(read->len, read->size - read->off) : 0;
    return ERR_OK;
}

static ErrCode begin(RangeTaker *t, const HttpReply *reply, Err *err)
{
    t->begun = true;
    return reply->status == 206 ? begin_part(t, reply, err) : begin_whole(t, reply, err);
}

static ErrCode take_range(void *arg, const HttpReply *reply, const void *data, size_t len,
                          bool *ret_enough, Err *err)
{
    RangeTaker *t = arg;
    if (!t->begun)
        TRY(begin(t, reply, err));
    StorageRead *read = t->read;
    size_t before = t->taken < t->skip ? (size_t)MIN(t->skip - t->taken, len) : 0;
    size_t n = MIN(len - before, t->want - read->got);
    memcpy((uint8_t *)read->data + read->got, (const uint8_t *)data + before, n);
    read->got += n;
    t->taken += len;
    /* The rest of a whole object is not needed, unless only its end tells the size. */
    *ret_enough = t->whole && t->size_known && read->got == t->want && t->taken < read->size;
    return ERR_OK;
}

static ErrCode finish_range(RangeTaker *t, const HttpReply *reply, Err *err)
{
    if (!t->begun)
        TRY(begin(t, reply, err));
    if (!t->size_known)
        t->read->size = t->taken;
    if (t->size_known && t->read->got < t->want)
        return err_set(err, ERR_NETWORK, "the answer ended after %zu of %zu bytes", t->read->got,
                       t->want);
    return ERR_OK;
}

/* *ret_beyond: the server says that the range lies behind the object's end. */
static ErrCode get_range(S3 *s, const char *name, StorageRead *read, bool *ret_beyond, Err *err)
{
    HttpReply reply AUTO(http_reply_release) = {0};
    S3Fault fault;
    char range[64];
    char *key AUTO(mem_freep) = s3_key(s, name);
    RangeTaker taker = {.read = read};
    size_t len = (size_t)MIN((uint64_t)read->len, SIZE_LIMIT);
    if (read->from_end)
        snprintf(range, sizeof(range), "bytes=-%zu", len);
    else
        snprintf(range, sizeof(range), "bytes=%" PRIu64 "-%" PRIu64, read->off,
                 read->off + len - 1);
    S3Call call = {.method = "GET",
                   .key = key,
                   .range = range,
                   .take = take_range,
                   .take_arg = &taker,
                   .limit = len};
    deed_of(&call, "read", name);
    read->got = 0;
    ErrCode rc = s3_call(s, &call, &reply, &fault, err);
    *ret_beyond = rc != ERR_OK && reply.status == 416;
    if (rc == ERR_ACCESS)
        return settle_denied(s, name, &fault, err);
    TRY(rc);
    return finish_range(&taker, &reply, err) == ERR_OK ? ERR_OK : s3_wrap(s, &call.deed, err);
}

/* Nothing is read; *ret_done is false when the object has meanwhile bytes in the range. */
static ErrCode get_nothing(S3 *s, const char *name, StorageRead *read, bool *ret_done, Err *err)
{
    char *key AUTO(mem_freep) = s3_key(s, name);
    StorageStat stat;
    S3Call call = {.method = "HEAD", .key = key};
    deed_of(&call, "read", name);
    TRY(head(s, &call, &stat, err));
    uint64_t off = read->from_end ? stat.size - MIN(stat.size, read->len) : read->off;
    *ret_done = !read->len || off >= stat.size;
    if (*ret_done) {
        read->size = stat.size;
        read->off = off;
        read->got = 0;
    }
    return ERR_OK;
}

ErrCode s3_get(Storage *storage, const char *name, StorageRead *read, Err *err)
{
    S3 *s = (S3 *)storage;
    const uint64_t off = read->off;
    for (int i = 0; i < GET_TRIES; i++) {
        bool nothing = !read->len || (!read->from_end && off >= SIZE_LIMIT);
        read->off = off;
        if (!nothing) {
            ErrCode rc = get_range(s, name, read, &nothing, err);
            if (!nothing)
                return rc;
        }
        bool done = false;
        TRY(get_nothing(s, name, read, &done, err));
        if (done)
            return ERR_OK;
    }
    return err_set(err, ERR_CONFLICT, "cannot read '%s' in %s: its size changes each time", name,
                   storage->url);
}
