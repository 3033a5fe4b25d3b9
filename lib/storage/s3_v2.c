#include "lib/storage/s3_v2.h"

#ifdef HAVE_LIBS3

#include <libs3.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "lib/common/digest.h"
#include "lib/common/dynlib.h"
#include "lib/common/json.h"
#include "lib/common/log.h"
#include "lib/storage/s3_error.h"
#include "lib/storage/s3_get.h"
#include "lib/storage/source.h"

#define PUT_MAX ((uint64_t)5 * GIB)
#define READ_LEN (256 * KIB)
#define PAGE_ENTRIES 1000
/* An object that is replaced between HEAD and GET, each time. */
#define GET_TRIES 10
/* Behind every name below a prefix: U+10FFFF, the last character there is. */
#define LAST_CHARACTER "\xF4\x8F\xBF\xBF"

#define LIBS3_FUNCTIONS(F)                                                                         \
    F(S3_delete_object)                                                                            \
    F(S3_get_object)                                                                               \
    F(S3_get_status_name)                                                                          \
    F(S3_head_object)                                                                              \
    F(S3_initialize)                                                                               \
    F(S3_list_bucket)                                                                              \
    F(S3_put_object)

typedef struct Libs3 {
#define LIBS3_MEMBER(fn) __typeof__(fn) *fn;
    LIBS3_FUNCTIONS(LIBS3_MEMBER)
#undef LIBS3_MEMBER
} Libs3;

typedef struct V2 {
    S3 s3; /* for keys and messages; its `http` asks the time only, which libs3 does not tell */
    Libs3 lib;
    S3BucketContext bucket; /* borrows from `s3` */
} V2;

/* One request. What the library calls back gets a pointer to it. */
typedef struct V2Call {
    V2 *v;
    S3Deed deed;
    Err *err;
    ErrCode rc; /* of our own doing, already in *err */
    S3Status status;
    char message[256];
    StorageStat stat;
    char etag[STORAGE_ETAG_LEN + 2]; /* as the server wrote it */
    SourceReader reader;             /* of a put */
    StorageRead *read;               /* of a get */
    size_t want;
} V2Call;

static ErrCode libs3_load(Libs3 *ret, Err *err)
{
    /* The library holds its state in globals, and a second S3_initialize() would lose it. */
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static bool ready;
    Libs3 lib;
    const DynSym syms[] = {
#define LIBS3_SYM(fn) {#fn, &lib.fn},
        LIBS3_FUNCTIONS(LIBS3_SYM)
#undef LIBS3_SYM
    };
    TRY(dynlib_load("libs3.so.2", "libs3-2", syms, ARRAY_LEN(syms), err));
    pthread_mutex_lock(&lock);
    S3Status status = ready ? S3StatusOK : lib.S3_initialize("pgdr", S3_INIT_ALL, NULL);
    ready = status == S3StatusOK;
    pthread_mutex_unlock(&lock);
    if (status != S3StatusOK)
        return err_set(err, ERR_INTERNAL, "libs3 cannot be used: %s",
                       lib.S3_get_status_name(status));
    *ret = lib;
    return ERR_OK;
}

/* --- what the library calls --- */

static S3Status on_properties(const S3ResponseProperties *p, void *arg)
{
    V2Call *c = arg;
    c->stat.size = p->contentLength;
    c->stat.mtime = p->lastModified > 0 ? p->lastModified * US_PER_SECOND : 0;
    if (p->eTag) {
        snprintf(c->etag, sizeof(c->etag), "%s", p->eTag);
        s3_etag_keep(c->stat.etag, p->eTag);
    }
    return S3StatusOK;
}

static void on_complete(S3Status status, const S3ErrorDetails *details, void *arg)
{
    V2Call *c = arg;
    c->status = status;
    if (details && details->message)
        snprintf(c->message, sizeof(c->message), "%s", details->message);
}

static int on_send(int room, char *data, void *arg)
{
    V2Call *c = arg;
    size_t n = (size_t)MIN((uint64_t)room, source_left(&c->reader));
    c->rc = source_copy(&c->reader, data, n, c->err);
    return c->rc == ERR_OK ? (int)n : -1;
}

static S3Status on_receive(int len, const char *data, void *arg)
{
    V2Call *c = arg;
    if ((size_t)len > c->want - c->read->got) {
        c->rc = err_set(c->err, ERR_NETWORK, "more bytes came than were asked for");
        return S3StatusAbortedByCallback;
    }
    memcpy((uint8_t *)c->read->data + c->read->got, data, (size_t)len);
    c->read->got += (size_t)len;
    return S3StatusOK;
}

static const S3ResponseHandler on_response = {on_properties, on_complete};

/* --- errors --- */

/* Errors of the way, and answers without a document. */
static ErrCode status_error(V2Call *c, const char *name)
{
    static const struct {
        S3Status status;
        ErrCode rc;
    } of_the_way[] = {
        {S3StatusNameLookupError, ERR_NETWORK},  {S3StatusFailedToConnect, ERR_NETWORK},
        {S3StatusConnectionFailed, ERR_NETWORK}, {S3StatusServerFailedVerification, ERR_CONFIG},
        {S3StatusOutOfMemory, ERR_NO_SPACE},     {S3StatusUriTooLong, ERR_LIMIT},
        {S3StatusQueryParamsTooLong, ERR_LIMIT}, {S3StatusXmlParseFailure, ERR_NETWORK},
        {S3StatusErrorUnknown, ERR_IO},          {S3StatusHttpErrorUnknown, ERR_IO},
    };
    ErrCode rc = ERR_INTERNAL;
    for (size_t i = 0; i < ARRAY_LEN(of_the_way); i++)
        if (of_the_way[i].status == c->status)
            rc = of_the_way[i].rc;
    err_set(c->err, rc, "%s: libs3 says %s%s%s", c->v->s3.at.server, name,
            c->message[0] ? ": " : "", c->message);
    if (c->status == S3StatusNameLookupError || c->status == S3StatusFailedToConnect)
        err_hint(c->err, "check s3-endpoint, and whether the server runs");
    return s3_wrap(&c->v->s3, &c->deed, c->err);
}

static ErrCode call_result(V2Call *c)
{
    static const struct {
        S3Status status;
        unsigned http;
    } bare[] = {
        {S3StatusHttpErrorMovedTemporarily, 307}, {S3StatusHttpErrorBadRequest, 400},
        {S3StatusHttpErrorForbidden, 403},        {S3StatusHttpErrorNotFound, 404},
        {S3StatusHttpErrorConflict, 409},
    };
    const S3 *s = &c->v->s3;
    S3Fault fault = {0};
    HttpReply reply = {0};
    if (c->rc != ERR_OK)
        return s3_wrap(s, &c->deed, c->err);
    if (c->status == S3StatusOK)
        return ERR_OK;
    for (size_t i = 0; i < ARRAY_LEN(bare); i++)
        if (bare[i].status == c->status)
            reply.status = bare[i].http;
    const char *name = c->v->lib.S3_get_status_name(c->status);
    bool said = strncmp(name, "Error", 5) == 0 && c->status != S3StatusErrorUnknown;
    if (!said && !reply.status)
        return status_error(c, name);
    if (said) {
        snprintf(fault.code, sizeof(fault.code), "%s", name + 5);
        snprintf(fault.message, sizeof(fault.message), "%s", c->message);
    }
    return s3_fault_error(s, &c->deed, &fault, said ? NULL : &reply, c->err);
}

/* --- names --- */

static ErrCode name_refuse(const V2 *v, const char *name, Err *err)
{
    if (!strchr(name, ' '))
        return ERR_OK;
    err_set(err, ERR_USAGE,
            "'%s' cannot be the name of an object in %s: libs3 would store it with "
            "'+' for the blank",
            name, v->s3.base.url);
    return err_hint(err, "use a name without blanks, or s3-signature = v4");
}

static V2Call call_begin(Storage *storage, const char *verb, const char *name, const char *action,
                         Err *err)
{
    V2 *v = (V2 *)storage;
    return (V2Call){.v = v, .deed = {verb, name, action}, .err = err};
}

/* --- stat, get --- */

static ErrCode v2_head(V2Call *c, const char *key)
{
    c->v->lib.S3_head_object(&c->v->bucket, key, NULL, &on_response, c);
    TRY(call_result(c));
    if (c->stat.mtime)
        return ERR_OK;
    err_set(c->err, ERR_CONFIG, "the answer lacks the object's time");
    return s3_wrap(&c->v->s3, &c->deed, c->err);
}

static ErrCode v2_stat(Storage *storage, const char *name, StorageStat *ret, Err *err)
{
    V2Call c = call_begin(storage, "look at", name, "s3:GetObject", err);
    TRY(name_refuse(c.v, name, err));
    char *key AUTO(mem_freep) = s3_key(&c.v->s3, name);
    TRY(v2_head(&c, key));
    *ret = c.stat;
    return ERR_OK;
}

/* The range of the object that HEAD showed; *ret_changed when it is another by now. */
static ErrCode v2_get_same(V2Call *head, const char *key, StorageRead *read, bool *ret_changed)
{
    V2Call c = call_begin(&head->v->s3.base, "read", head->deed.name, "s3:GetObject", head->err);
    const S3GetObjectHandler handler = {on_response, on_receive};
    const S3GetConditions same = {.ifModifiedSince = -1,
                                  .ifNotModifiedSince = -1,
                                  .ifMatchETag = head->etag[0] ? head->etag : NULL};
    read->got = 0;
    c.read = read;
    c.want = (size_t)MIN(read->len, read->size - read->off);
    c.v->lib.S3_get_object(&c.v->bucket, key, &same, read->off, c.want, NULL, &handler, &c);
    *ret_changed = c.status == S3StatusErrorPreconditionFailed;
    TRY(call_result(&c));
    if (read->got == c.want)
        return ERR_OK;
    err_set(c.err, ERR_NETWORK, "the answer ended after %zu of %zu bytes", read->got, c.want);
    return s3_wrap(&c.v->s3, &c.deed, c.err);
}

static ErrCode v2_get(Storage *storage, const char *name, StorageRead *read, Err *err)
{
    V2 *v = (V2 *)storage;
    const uint64_t off = read->off;
    TRY(name_refuse(v, name, err));
    char *key AUTO(mem_freep) = s3_key(&v->s3, name);
    for (int i = 1;; i++) {
        V2Call c = call_begin(storage, "read", name, "s3:GetObject", err);
        bool changed = false;
        TRY(v2_head(&c, key));
        read->size = c.stat.size;
        read->off = read->from_end ? read->size - MIN(read->len, read->size) : off;
        read->got = 0;
        if (!read->len || read->off >= read->size)
            return ERR_OK;
        ErrCode rc = v2_get_same(&c, key, read, &changed);
        if (!changed || i == GET_TRIES)
            return rc;
    }
}

/* --- put, remove --- */

/* libs3 signs no content: its MD5 protects it. */
static ErrCode source_md5(const StorageSource *src, char out[32], Err *err)
{
    Md5 *md5 AUTO(md5_freep) = md5_new();
    Buf text AUTO(buf_release) = {0};
    SourceReader r = {.src = src};
    uint8_t digest[MD5_LEN], *copy AUTO(mem_freep) = mem_new(READ_LEN);
    while (source_left(&r)) {
        size_t n = (size_t)MIN(READ_LEN, source_left(&r));
        TRY(source_copy(&r, copy, n, err));
        md5_add(md5, copy, n);
    }
    md5_result(md5, digest);
    base64_append(&text, digest, MD5_LEN);
    snprintf(out, 32, "%s", buf_str(&text));
    return ERR_OK;
}

static ErrCode v2_put(Storage *storage, const char *name, const StorageSource *src,
                      StoragePutFlags flags, Err *err)
{
    (void)flags;
    char md5[32];
    V2Call c = call_begin(storage, "write", name, "s3:PutObject", err);
    const S3PutObjectHandler handler = {on_response, on_send};
    S3PutProperties properties = {.md5 = md5, .expires = -1};
    TRY(name_refuse(c.v, name, err));
    if (!utf8_valid(name, strlen(name)))
        return err_set(err, ERR_USAGE,
                       "'%s' cannot be the name of an object in %s: it is not UTF-8", name,
                       storage->url);
    if (src->size > PUT_MAX)
        return err_set(err, ERR_LIMIT,
                       "cannot write '%s' in %s: it is larger than the 5 GiB that "
                       "go without multipart uploads",
                       name, storage->url);
    if (source_md5(src, md5, err) != ERR_OK)
        return s3_wrap(&c.v->s3, &c.deed, err);
    char *key AUTO(mem_freep) = s3_key(&c.v->s3, name);
    c.reader = (SourceReader){.src = src};
    c.v->lib.S3_put_object(&c.v->bucket, key, src->size, &properties, NULL, &handler, &c);
    return call_result(&c);
}

static ErrCode v2_remove(Storage *storage, const char *const *names, size_t n, Err *err)
{
    V2 *v = (V2 *)storage;
    for (size_t i = 0; i < n; i++)
        TRY(name_refuse(v, names[i], err));
    for (size_t i = 0; i < n; i++) {
        V2Call c = call_begin(storage, "remove", names[i], "s3:DeleteObject", err);
        char *key AUTO(mem_freep) = s3_key(&v->s3, names[i]);
        v->lib.S3_delete_object(&v->bucket, key, NULL, &on_response, &c);
        if (c.status != S3StatusErrorNoSuchKey && c.status != S3StatusHttpErrorNotFound)
            TRY(call_result(&c));
    }
    return ERR_OK;
}

/* --- list --- */

/*
 * Listed flat, and joined by level here: libs3 loses the beginning of a common prefix that its XML
 * parser hands over in pieces. What lies below a prefix that was given is then skipped by asking
 * for what follows it. That a page is the last one is believed only when the next one is empty: for
 * a page that fills the library's buffers exactly it never says so.
 */
typedef struct V2List {
    V2Call call;
    const StorageList *list;
    StrList keys;                    /* of a page */
    char last[STORAGE_NAME_MAX + 2]; /* the entry given last; "" at the beginning */
} V2List;

static S3Status on_list(int truncated, const char *next, int n, const S3ListBucketContent *found,
                        int n_prefixes, const char **prefixes, void *arg)
{
    (void)truncated, (void)next, (void)n_prefixes, (void)prefixes;
    /* The library hands the properties' argument, the call, to all callbacks alike. */
    V2List *l = arg;
    for (int i = 0; i < n && l->keys.n < 10 * PAGE_ENTRIES; i++)
        vec_push(&l->keys, mem_strdup(found[i].key));
    return S3StatusOK;
}

static ErrCode give_name(V2List *l, const char *name, bool is_prefix, Err *err)
{
    const StorageList *list = l->list;
    StorageEntry entry = {.name = name, .is_prefix = is_prefix};
    snprintf(l->last, sizeof(l->last), "%s", name);
    if (list->after && strcmp(name, list->after) <= 0)
        return ERR_OK;
    if (list->want_stat && !is_prefix) {
        /* The listing's times are off by this host's time zone. */
        ErrCode rc = v2_stat(&l->call.v->s3.base, name, &entry.stat, err);
        if (rc == ERR_NOT_FOUND)
            return ERR_OK; /* removed meanwhile */
        TRY(rc);
    }
    return list->fn(list->arg, &entry, err);
}

static ErrCode give_key(V2List *l, const char *key, Err *err)
{
    const S3 *s = &l->call.v->s3;
    size_t skip = strlen(s->at.prefix), below = skip + strlen(l->list->prefix);
    const char *name = key + skip;
    Err ignored;
    /* The library may have been asked for a shorter prefix than the one wanted. */
    if (strncmp(key, s->at.prefix, skip) == 0 && strncmp(name, l->list->prefix, below - skip) != 0)
        return ERR_OK;
    if (strlen(key) < below || strncmp(key, s->at.prefix, skip) != 0 ||
        storage_name_check(name, &ignored) != ERR_OK || strchr(name, ' ')) {
        log_debug("'%.200s' in bucket '%s' is no object of a repository: left out", key, s->bucket);
        return ERR_OK;
    }
    const char *slash = l->list->by_level ? strchr(key + below, '/') : NULL;
    if (!slash)
        return give_name(l, name, false, err);
    char *shown AUTO(mem_freep) = mem_strndup(name, (size_t)(slash + 1 - name));
    return strcmp(shown, l->last) == 0 ? ERR_OK : give_name(l, shown, true, err);
}

/* Keys behind `marker`; l->keys is empty after the last. */
static ErrCode page_get(V2List *l, const char *prefix, const char *marker, Err *err)
{
    const S3ListBucketHandler handler = {on_response, on_list};
    V2Call *c = &l->call;
    const char *last = marker;
    str_list_release(&l->keys);
    c->v->lib.S3_list_bucket(&c->v->bucket, *prefix ? prefix : NULL, *marker ? marker : NULL, NULL,
                             PAGE_ENTRIES, NULL, &handler, l);
    TRY(call_result(c));
    for (size_t i = 0; i < l->keys.n; i++) {
        if (strcmp(l->keys.at[i], last) <= 0)
            return err_set(err, ERR_CONFIG, "cannot list %s: '%.200s' came after '%.200s'",
                           c->v->s3.base.url, l->keys.at[i], last);
        last = l->keys.at[i];
    }
    return ERR_OK;
}

static ErrCode list_pages(V2List *l, const char *prefix, char **marker, Err *err)
{
    do {
        TRY(page_get(l, prefix, *marker, err));
        for (size_t i = 0; i < l->keys.n; i++)
            TRY(give_key(l, l->keys.at[i], err));
        if (!l->keys.n)
            break;
        size_t len = strlen(l->last);
        free(*marker);
        if (len && l->last[len - 1] == '/')
            *marker = mem_printf("%s%s" LAST_CHARACTER, l->call.v->s3.at.prefix, l->last);
        else
            *marker = mem_strdup(l->keys.at[l->keys.n - 1]);
    } while (true);
    return ERR_OK;
}

/* The server repeats prefix and marker in its answer, whose XML can hold whole characters only. */
static void cut_to_utf8(char *text)
{
    for (size_t len = strlen(text); len && !utf8_valid(text, len);)
        text[--len] = '\0';
}

static ErrCode v2_list(Storage *storage, const StorageList *list, Err *err)
{
    V2 *v = (V2 *)storage;
    const char *shown = *list->prefix ? list->prefix : NULL;
    V2List l = {.call = call_begin(storage, "list", shown, "s3:ListBucket", err), .list = list};
    char *prefix AUTO(mem_freep) = s3_key(&v->s3, list->prefix);
    char *marker AUTO(mem_freep) = list->after ? s3_key(&v->s3, list->after) : mem_strdup("");
    /* What is given then is looked at again: see give_key() and give_name(). */
    cut_to_utf8(prefix);
    cut_to_utf8(marker);
    ErrCode rc = list_pages(&l, prefix, &marker, err);
    str_list_release(&l.keys);
    return rc;
}

/* --- the driver --- */

static ErrCode v2_now(Storage *storage, TimeUs *ret, Err *err)
{
    V2 *v = (V2 *)storage;
    HttpReply reply AUTO(http_reply_release) = {0};
    const S3Deed deed = {.verb = "ask the time of"};
    char *url AUTO(mem_freep) = mem_printf("%s/", v->s3.at.server);
    /* Not HEAD: Ceph sends a body to that too, into the next answer on the connection. */
    const HttpRequest req = {.method = "GET", .url = url, .limit = MIB};
    if (http_exchange(v->s3.http, &req, &reply, NULL, err) != ERR_OK)
        return s3_wrap(&v->s3, &deed, err);
    /* That it refuses a request without a signature does not matter. */
    TimeUs now = reply.status < 500 ? http_reply_time(&reply, "Date") : 0;
    if (!now) {
        err_set(err, reply.status < 500 ? ERR_CONFIG : ERR_NETWORK,
                "the server answered %u without a Date", reply.status);
        return s3_wrap(&v->s3, &deed, err);
    }
    *ret = now;
    return ERR_OK;
}

static const StorageOps v2_ops = {
    .put = v2_put,
    .get = v2_get,
    .stat = v2_stat,
    .list = v2_list,
    .remove = v2_remove,
    .now = v2_now,
    .free = s3_release,
};

static ErrCode spec_refuse(const S3Spec *spec, const S3Address *at, Err *err)
{
    size_t len = strlen(at->endpoint);
    static const char amazon[] = ".amazonaws.com";
    if (len > strlen(amazon) && strstr(at->endpoint, amazon)) {
        err_set(err, ERR_CONFIG, "Amazon does not take s3-signature = v2 any more");
        return err_hint(err, "leave s3-signature out");
    }
    if (at->tls && spec->verify_tls) {
        err_set(err, ERR_CONFIG,
                "with s3-signature = v2 nobody verifies the certificate of %s: "
                "libs3 cannot",
                at->server);
        return err_hint(err, "use s3-signature = v4; or, if anybody on the way may read and change "
                             "what is sent, s3-verify-tls = n");
    }
    if (spec->ca_file)
        return err_set(err, ERR_CONFIG,
                       "s3-ca-file has no effect with s3-signature = v2: leave it "
                       "out");
    if (spec->token && *spec->token)
        return err_set(err, ERR_CONFIG, "s3-signature = v2 knows no session tokens");
    return ERR_OK;
}

ErrCode storage_s3_v2_new(Storage **ret, const S3Spec *spec, S3Address *at, Err *err)
{
    Libs3 lib;
    Storage *storage = NULL;
    TRY(spec_refuse(spec, at, err));
    TRY(libs3_load(&lib, err));
    TRY(s3_make(&storage, sizeof(V2), &v2_ops, spec, at, err));
    V2 *v = (V2 *)storage;
    v->lib = lib;
    v->bucket = (S3BucketContext){
        .hostName = v->s3.at.endpoint,
        .bucketName = v->s3.bucket,
        .protocol = v->s3.at.tls ? S3ProtocolHTTPS : S3ProtocolHTTP,
        .uriStyle = spec->style == S3_STYLE_PATH ? S3UriStylePath : S3UriStyleVirtualHost,
        .accessKeyId = v->s3.key,
        .secretAccessKey = v->s3.secret,
    };
    *ret = storage;
    return ERR_OK;
}

#else

ErrCode storage_s3_v2_new(Storage **ret, const S3Spec *spec, S3Address *at, Err *err)
{
    (void)ret, (void)spec, (void)at;
    err_set(err, ERR_CONFIG, "this pgdr was built without libs3, which s3-signature = v2 needs");
    return err_hint(err, "use s3-signature = v4, or build with the package libs3-dev installed");
}

#endif
