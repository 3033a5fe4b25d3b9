#include "lib/storage/s3_call.h"

#include <stdio.h>
#include <string.h>

#include "lib/common/digest.h"
#include "lib/common/hex.h"
#include "lib/common/json.h"
#include "lib/common/log.h"
#include "lib/storage/sigv4.h"
#include "lib/storage/source.h"

#define SIGNED_MAX 8
#define READ_LEN (256 * KIB)
/* S3 bears a quarter of an hour. Less than this is no reason to refuse a request. */
#define SKEW_LEAST (4 * 60 * US_PER_SECOND)

/* A request being put together. */
typedef struct Outgoing {
    const S3Call *call;
    Buf path, query, url;
    char sha256[SHA256_HEX_LEN], time[SIGV4_TIME_LEN], md5[32];
    StrList headers;
    SigV4Header to_sign[SIGNED_MAX];
    size_t n_to_sign;
} Outgoing;

static void outgoing_release(Outgoing *o)
{
    buf_release(&o->path);
    buf_release(&o->query);
    buf_release(&o->url);
    str_list_release(&o->headers);
}

/* --- the body's digests --- */

typedef struct Digests {
    Sha256 *sha256; /* NULL: not wanted */
    Md5 *md5;       /* the same */
} Digests;

static void digests_release(Digests *d)
{
    sha256_free(d->sha256);
    md5_free(d->md5);
}

static void digests_add(Digests *d, const void *data, size_t len)
{
    if (d->sha256)
        sha256_add(d->sha256, data, len);
    if (d->md5)
        md5_add(d->md5, data, len);
}

/* Memory is read where it lies, a file piece by piece. */
static ErrCode digests_read(Digests *d, const S3Call *call, Err *err)
{
    SourceReader r = {.src = call->source};
    uint64_t end = call->off + call->len;
    size_t room = (size_t)MIN(READ_LEN, call->len);
    uint8_t *copy AUTO(mem_freep) = call->source->n ? NULL : mem_new(room + 1);
    source_skip(&r, call->off);
    while (r.off < end) {
        size_t n = room;
        const uint8_t *p = source_peek(&r, &n);
        n = (size_t)MIN(n, end - r.off);
        if (p) {
            digests_add(d, p, n);
            source_skip(&r, n);
            continue;
        }
        TRY(source_copy(&r, copy, n, err));
        digests_add(d, copy, n);
    }
    return ERR_OK;
}

static ErrCode outgoing_digest(Outgoing *o, const S3 *s, Err *err)
{
    bool md5 = o->call->content_md5 || (s->wants_md5 && strcmp(o->call->method, "PUT") == 0);
    Digests d AUTO(digests_release) = {.sha256 = s->unsigned_payload ? NULL : sha256_new(),
                                       .md5 = md5 ? md5_new() : NULL};
    uint8_t out[SHA256_LEN];
    if (o->call->source && (md5 || d.sha256))
        TRY(digests_read(&d, o->call, err));
    if (d.sha256) {
        sha256_result(d.sha256, out);
        hex_format(out, SHA256_LEN, o->sha256);
    } else {
        strcpy(o->sha256, "UNSIGNED-PAYLOAD");
    }
    if (md5) {
        Buf text AUTO(buf_release) = {0};
        md5_result(d.md5, out);
        base64_append(&text, out, MD5_LEN);
        snprintf(o->md5, sizeof(o->md5), "%s", buf_str(&text));
    }
    return ERR_OK;
}

/* --- address and headers --- */

static void outgoing_address(Outgoing *o, const S3 *s)
{
    UriField query[S3_QUERY_MAX];
    size_t n = 0;
    for (; n < S3_QUERY_MAX && o->call->query[n].name; n++)
        query[n] = o->call->query[n];
    buf_append_str(&o->path, s->at.base);
    buf_append_str(&o->path, "/");
    if (o->call->key)
        uri_append_path(&o->path, o->call->key, strlen(o->call->key));
    else if (s->at.base[0])
        o->path.len--; /* "/bucket" */
    uri_append_query(&o->query, query, n);
    buf_printf(&o->url, "http%s://%s%s", s->at.tls ? "s" : "", s->at.host, buf_str(&o->path));
    if (n)
        buf_printf(&o->url, "?%s", buf_str(&o->query));
}

static void add(Outgoing *o, const char *name, const char *value)
{
    vec_push(&o->headers, mem_printf("%s: %s", name, value));
}

static void add_signed(Outgoing *o, const char *name, const char *value)
{
    o->to_sign[o->n_to_sign++] = (SigV4Header){name, value};
    if (strcmp(name, "host") != 0) /* libcurl writes that one */
        add(o, name, value);
}

static void outgoing_sign(Outgoing *o, const S3 *s)
{
    const S3Call *call = o->call;
    Buf authorization AUTO(buf_release) = {0};
    sigv4_time(time_now() + s->clock_offset, o->time);
    add_signed(o, "host", s->at.host);
    add_signed(o, "x-amz-date", o->time);
    add_signed(o, "x-amz-content-sha256", o->sha256);
    if (s->token)
        add_signed(o, "x-amz-security-token", s->token);
    if (call->content_type)
        add_signed(o, "content-type", call->content_type);
    if (o->md5[0])
        add(o, "Content-MD5", o->md5);
    if (call->range)
        add(o, "Range", call->range);
    const SigV4Key key = {s->key, s->secret, s->region, "s3"};
    SigV4Request req = {.method = call->method,
                        .path = buf_str(&o->path),
                        .query = buf_str(&o->query),
                        .headers = o->to_sign,
                        .n_headers = o->n_to_sign,
                        .payload = o->sha256,
                        .time = o->time};
    sigv4_append_authorization(&authorization, &key, &req);
    add(o, "Authorization", buf_str(&authorization));
}

/* --- sending --- */

static ErrCode send_once(S3 *s, const S3Call *call, HttpReply *reply, Err *err)
{
    Outgoing o AUTO(outgoing_release) = {.call = call};
    TRY(outgoing_digest(&o, s, err));
    outgoing_address(&o, s);
    outgoing_sign(&o, s);
    bool ask = call->len && s->ask_before_body;
    const HttpRequest req = {.method = call->method,
                             .url = buf_str(&o.url),
                             .headers = &o.headers,
                             .source = call->source,
                             .off = call->off,
                             .len = call->len,
                             .ask_first = ask,
                             .take = call->take,
                             .take_arg = call->take_arg,
                             .limit = call->limit};
    uint64_t sent = 0;
    ErrCode rc = http_exchange(s->http, &req, reply, &sent, err);
    /* A server that refuses a body may close the connection while it is still being sent, and its
     * reason is lost. The next attempt asks first. */
    if (rc == ERR_NETWORK && sent && !reply->status)
        s->ask_before_body = true;
    else if (rc == ERR_OK && ask)
        s->ask_before_body = false;
    return rc;
}

/* Whether the request was refused for its time, and the server's clock is known now. */
static bool learn_clock(S3 *s, const HttpReply *reply, const S3Fault *fault)
{
    bool told = strcmp(fault->code, "RequestTimeTooSkewed") == 0 ||
                strcmp(fault->code, "RequestExpired") == 0;
    /* The answer to HEAD has no body that could say why. */
    if (!told && (fault->code[0] || reply->status != 403))
        return false;
    TimeUs server = http_reply_time(reply, "Date"), now = time_now();
    TimeUs off = server - now, change = off - s->clock_offset;
    if (!server || (change < SKEW_LEAST && change > -SKEW_LEAST))
        return false;
    char text[TIME_TEXT_LEN];
    log_warn("this host's clock is %s %s that of %s: requests are signed by the server's",
             duration_format(off < 0 ? -off : off, text), off < 0 ? "ahead of" : "behind",
             s->at.server);
    s->clock_offset = off;
    return true;
}

/* Whether the server insists on a digest that it was not sent (buckets with object lock). */
static bool learn_md5(S3 *s, const S3Call *call, const HttpReply *reply, const S3Fault *fault)
{
    if (reply->status != 400 || s->wants_md5 || strcmp(call->method, "PUT") != 0 ||
        (!strstr(fault->message, "Content-MD5") && strcmp(fault->code, "MissingContentMD5") != 0))
        return false;
    s->wants_md5 = true;
    return true;
}

/* An answer that is no success, or an <Error> in the place of one. */
static bool refused(const HttpReply *reply, S3Fault *fault)
{
    bool said = s3_fault_parse(reply->body.data ? reply->body.data : (const void *)"",
                               reply->body.len, fault);
    return said || reply->status < 200 || reply->status >= 300;
}

ErrCode s3_call(S3 *s, const S3Call *call, HttpReply *reply, S3Fault *ret_fault, Err *err)
{
    S3Fault fault = {0};
    if (ret_fault)
        *ret_fault = fault;
    for (int again = 0;; again++) {
        if (send_once(s, call, reply, err) != ERR_OK)
            return s3_wrap(s, &call->deed, err);
        if (!refused(reply, &fault)) {
            s->bucket_seen = true;
            return ERR_OK;
        }
        if (again == 2 || (!learn_clock(s, reply, &fault) && !learn_md5(s, call, reply, &fault)))
            break;
    }
    if (strcmp(fault.code, "NoSuchKey") == 0)
        s->bucket_seen = true;
    if (ret_fault)
        *ret_fault = fault;
    return s3_fault_error(s, &call->deed, &fault, reply, err);
}
