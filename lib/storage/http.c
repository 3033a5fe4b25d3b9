#include "lib/storage/http.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "lib/common/log.h"
#include "lib/common/workers.h"
#include "lib/storage/curl_lib.h"
#include "lib/storage/source.h"

#define HEADERS_MAX 200
#define HEADER_LEN_MAX (8 * KIB)
#define RECEIVE_BUFFER (512 * 1024L)
#define SEND_BUFFER (1024 * 1024L)
/* Slower than this over a whole request is no way to store a backup. */
#define SLOWEST_BYTES_PER_SECOND (16 * KIB)

struct Http {
    CurlLib lib;
    char *server, *ca_file;
    bool verify_tls;
    TimeUs connect_timeout, stall_timeout, total_timeout;
    pthread_mutex_t lock; /* guards `idle`; the last one used goes first, its connection is warm */
    VEC(CURL *) idle;
    atomic_ullong requests, connections;
};

/* One exchange under way. */
typedef struct Exchange {
    Http *h;
    CURL *curl;
    const HttpRequest *req;
    HttpReply *reply;
    Err *err;
    ErrCode rc; /* of our own doing, already in *err */
    SourceReader body;
    uint64_t sent;
    TimeUs moved_at; /* when bytes last went either way */
    curl_off_t moved;
    bool stalled, enough;
    char why[CURL_ERROR_SIZE];
} Exchange;

/* --- handles --- */

ErrCode http_new(Http **ret, const HttpSpec *spec, Err *err)
{
    Http *h AUTO(http_freep) = NEW(Http);
    pthread_mutex_init(&h->lock, NULL);
    TRY(curl_lib_load(&h->lib, err));
    h->server = mem_strdup(spec->server);
    h->ca_file = spec->ca_file ? mem_strdup(spec->ca_file) : NULL;
    h->verify_tls = spec->verify_tls;
    h->connect_timeout = spec->connect_timeout;
    h->stall_timeout = spec->stall_timeout;
    h->total_timeout = spec->total_timeout;
    *ret = steal_ptr(&h);
    return ERR_OK;
}

void http_free(Http *h)
{
    if (!h)
        return;
    if (h->requests)
        log_debug("%s: %llu requests over %llu connections", h->server,
                  (unsigned long long)h->requests, (unsigned long long)h->connections);
    for (size_t i = 0; i < h->idle.n; i++)
        h->lib.curl_easy_cleanup(h->idle.at[i]);
    vec_release(&h->idle);
    pthread_mutex_destroy(&h->lock);
    free(h->server);
    free(h->ca_file);
    free(h);
}

static ErrCode handle_take(Http *h, CURL **ret, Err *err)
{
    pthread_mutex_lock(&h->lock);
    CURL *curl = h->idle.n ? h->idle.at[--h->idle.n] : NULL;
    pthread_mutex_unlock(&h->lock);
    *ret = curl ? curl : h->lib.curl_easy_init();
    return *ret ? ERR_OK : err_set(err, ERR_INTERNAL, "libcurl gives no handle");
}

static void handle_give(Http *h, CURL *curl)
{
    /* Keeps connections, TLS sessions and resolved names. */
    h->lib.curl_easy_reset(curl);
    pthread_mutex_lock(&h->lock);
    vec_push(&h->idle, curl);
    pthread_mutex_unlock(&h->lock);
}

HttpCounts http_counts(Http *h)
{
    return (HttpCounts){.requests = h->requests, .connections = h->connections};
}

/* --- the reply --- */

void http_reply_release(HttpReply *reply)
{
    str_list_release(&reply->headers);
    buf_release(&reply->body);
    reply->status = 0;
}

static void reply_clear(HttpReply *reply)
{
    str_list_release(&reply->headers);
    reply->body.len = 0;
    reply->status = 0;
}

const char *http_reply_header(const HttpReply *reply, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < reply->headers.n; i++) {
        const char *p = reply->headers.at[i];
        if (strncasecmp(p, name, len) != 0 || p[len] != ':')
            continue;
        p += len + 1;
        return p + strspn(p, " \t");
    }
    return NULL;
}

int64_t http_reply_number(const HttpReply *reply, const char *name)
{
    const char *p = http_reply_header(reply, name);
    int64_t n = 0;
    if (!p || !*p || strlen(p) > 18)
        return -1;
    for (; *p; p++) {
        if (*p < '0' || *p > '9')
            return -1;
        n = n * 10 + (*p - '0');
    }
    return n;
}

TimeUs http_time_parse(const char *text)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm tm = {0};
    char month[4], zone[4];
    int used = 0;
    const char *p = strchr(text, ' ');
    if (!p || sscanf(p, " %2d %3s %4d %2d:%2d:%2d %3s%n", &tm.tm_mday, month, &tm.tm_year,
                     &tm.tm_hour, &tm.tm_min, &tm.tm_sec, zone, &used) != 7)
        return 0;
    const char *at = strstr(months, month);
    if (!at || (at - months) % 3 || strlen(month) != 3 || strcmp(zone, "GMT") != 0 || p[used] ||
        tm.tm_year < 1970)
        return 0;
    tm.tm_mon = (int)((at - months) / 3);
    tm.tm_year -= 1900;
    return (TimeUs)timegm(&tm) * US_PER_SECOND;
}

TimeUs http_reply_time(const HttpReply *reply, const char *name)
{
    const char *text = http_reply_header(reply, name);
    return text ? http_time_parse(text) : 0;
}

/* --- what libcurl calls --- */

static size_t on_header(char *data, size_t one, size_t len, void *arg)
{
    (void)one;
    Exchange *x = arg;
    size_t n = len;
    while (n && (data[n - 1] == '\r' || data[n - 1] == '\n'))
        n--;
    if (n > 5 && memcmp(data, "HTTP/", 5) == 0) {
        /* A new answer: the one before it was "100 Continue" or the like. */
        long status = 0;
        x->h->lib.curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &status);
        reply_clear(x->reply);
        x->reply->status = (unsigned)status;
        return len;
    }
    if (!n)
        return len;
    if (x->reply->headers.n == HEADERS_MAX || n > HEADER_LEN_MAX) {
        x->rc = err_set(x->err, ERR_LIMIT, "%s sent too many headers", x->h->server);
        return 0;
    }
    vec_push(&x->reply->headers, mem_strndup(data, n));
    return len;
}

static size_t on_body(char *data, size_t one, size_t len, void *arg)
{
    (void)one;
    Exchange *x = arg;
    bool good = x->reply->status >= 200 && x->reply->status < 300;
    if (good && x->req->take) {
        x->rc = x->req->take(x->req->take_arg, x->reply, data, len, &x->enough, x->err);
        return x->rc == ERR_OK && !x->enough ? len : 0;
    }
    size_t limit = good ? x->req->limit : HTTP_ERROR_LIMIT, room = limit - x->reply->body.len;
    if (!good) {
        /* Enough to tell what is wrong; the rest is only received. */
        buf_append(&x->reply->body, data, MIN(room, len));
        return len;
    }
    if (len > room) {
        x->rc =
            err_set(x->err, ERR_LIMIT, "%s answered with more than %zu bytes", x->h->server, limit);
        return 0;
    }
    buf_append(&x->reply->body, data, len);
    return len;
}

static void body_rewind(Exchange *x)
{
    x->body = (SourceReader){.src = x->req->source};
    if (x->req->source)
        source_skip(&x->body, x->req->off);
}

static size_t on_read(char *data, size_t one, size_t room, void *arg)
{
    (void)one;
    Exchange *x = arg;
    uint64_t left = x->req->source ? x->req->off + x->req->len - x->body.off : 0;
    size_t n = (size_t)MIN(left, (uint64_t)room);
    if (n && (x->rc = source_copy(&x->body, data, n, x->err)) != ERR_OK)
        return CURL_READFUNC_ABORT;
    x->sent += n;
    return n;
}

/* When a kept connection turns out to be dead, libcurl begins anew on a fresh one. */
static int on_seek(void *arg, curl_off_t off, int origin)
{
    Exchange *x = arg;
    if (origin != SEEK_SET || off != 0)
        return CURL_SEEKFUNC_CANTSEEK;
    body_rewind(x);
    return CURL_SEEKFUNC_OK;
}

/* At least every second: looks whether bytes move, and whether we are to end. */
static int on_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                       curl_off_t up)
{
    (void)down_total;
    (void)up_total;
    Exchange *x = arg;
    TimeUs now = time_monotonic();
    if (down + up != x->moved) {
        x->moved = down + up;
        x->moved_at = now;
    }
    x->stalled = now - x->moved_at > x->h->stall_timeout;
    if (!x->stalled && x->rc == ERR_OK)
        x->rc = cancel_check(x->err);
    return x->stalled || x->rc != ERR_OK;
}

/* --- one exchange --- */

static long milliseconds(TimeUs t)
{
    return (long)MAX(t / 1000, 1);
}

static TimeUs total_timeout(const Http *h, const HttpRequest *req)
{
    uint64_t bytes = MAX(req->source ? req->len : 0, (uint64_t)req->limit);
    if (h->total_timeout)
        return h->total_timeout;
    return 10 * h->stall_timeout + (TimeUs)(bytes / SLOWEST_BYTES_PER_SECOND) * US_PER_SECOND;
}

#define SET(option, value) (void)x->h->lib.curl_easy_setopt(x->curl, CURLOPT_##option, value)

static void set_server(Exchange *x)
{
    const Http *h = x->h;
    SET(URL, x->req->url);
    SET(PATH_AS_IS, 1L);
    SET(HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(HTTP09_ALLOWED, 0L);
    SET(USERAGENT, "pgdr/" PACKAGE_VERSION);
    SET(NOSIGNAL, 1L);
    SET(TCP_KEEPALIVE, 1L);
    SET(SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(SSL_VERIFYPEER, h->verify_tls ? 1L : 0L);
    SET(SSL_VERIFYHOST, h->verify_tls ? 2L : 0L);
    if (h->ca_file)
        SET(CAINFO, h->ca_file);
    SET(CONNECTTIMEOUT_MS, milliseconds(h->connect_timeout));
    SET(TIMEOUT_MS, milliseconds(total_timeout(h, x->req)));
    SET(BUFFERSIZE, RECEIVE_BUFFER);
    SET(UPLOAD_BUFFERSIZE, SEND_BUFFER);
}

static void set_request(Exchange *x, struct curl_slist *headers)
{
    const HttpRequest *req = x->req;
    SET(HTTPHEADER, headers);
    if (strcmp(req->method, "HEAD") == 0) {
        SET(NOBODY, 1L);
    } else if (req->source || strcmp(req->method, "PUT") == 0 || strcmp(req->method, "POST") == 0) {
        SET(UPLOAD, 1L);
        SET(INFILESIZE_LARGE, (curl_off_t)(req->source ? req->len : 0));
        SET(CUSTOMREQUEST, req->method);
    } else if (strcmp(req->method, "GET") != 0) {
        SET(CUSTOMREQUEST, req->method);
    }
}

static void set_callbacks(Exchange *x)
{
    SET(ERRORBUFFER, x->why);
    SET(HEADERFUNCTION, on_header);
    SET(HEADERDATA, x);
    SET(WRITEFUNCTION, on_body);
    SET(WRITEDATA, x);
    SET(READFUNCTION, on_read);
    SET(READDATA, x);
    SET(SEEKFUNCTION, on_seek);
    SET(SEEKDATA, x);
    SET(NOPROGRESS, 0L);
    SET(XFERINFOFUNCTION, on_progress);
    SET(XFERINFODATA, x);
}

static struct curl_slist *make_headers(const Exchange *x)
{
    const CurlLib *lib = &x->h->lib;
    struct curl_slist *list = lib->curl_slist_append(NULL, "Accept:");
    if (!x->req->ask_first)
        list = lib->curl_slist_append(list, "Expect:");
    else
        list = lib->curl_slist_append(list, "Expect: 100-continue");
    for (size_t i = 0; x->req->headers && i < x->req->headers->n; i++)
        list = lib->curl_slist_append(list, x->req->headers->at[i]);
    return list;
}

/* --- what went wrong --- */

static bool says(const Exchange *x, const char *part)
{
    return strstr(x->why, part) != NULL;
}

static ErrCode fail_trust(Exchange *x, const char *why)
{
    const Http *h = x->h;
    err_set(x->err, ERR_CONFIG, "the certificate of %s is not to be trusted: %s", h->server, why);
    if (says(x, "SSL: no alternative certificate subject name") || says(x, "subject name"))
        return err_hint(x->err, "name the server in s3-endpoint as its certificate does");
    if (h->ca_file)
        return err_hint(x->err, "look whether '%s' (s3-ca-file) holds the authority that signed it",
                        h->ca_file);
    return err_hint(x->err, "if a private authority signed it, name its certificate with "
                            "s3-ca-file");
}

static ErrCode fail_tls(Exchange *x, const char *why)
{
    static const char *const plain[] = {"wrong version number", "packet length too long",
                                        "unknown protocol", "http request"};
    for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
        if (!says(x, plain[i]))
            continue;
        err_set(x->err, ERR_CONFIG, "%s does not speak TLS: %s", x->h->server, why);
        return err_hint(x->err, "write http:// in s3-endpoint if it is to be spoken to without "
                                "encryption");
    }
    return err_set(x->err, ERR_NETWORK, "no TLS connection to %s: %s", x->h->server, why);
}

static ErrCode fail_stalled(Exchange *x)
{
    char text[TIME_TEXT_LEN];
    return err_set(x->err, ERR_TIMEOUT, "%s: not a byte more for %s", x->h->server,
                   duration_format(x->h->stall_timeout, text));
}

static ErrCode fail_timeout(Exchange *x)
{
    char text[TIME_TEXT_LEN];
    double connected = 0;
    x->h->lib.curl_easy_getinfo(x->curl, CURLINFO_PRETRANSFER_TIME, &connected);
    if (connected > 0)
        return err_set(x->err, ERR_TIMEOUT, "%s: the request took longer than %s", x->h->server,
                       duration_format(total_timeout(x->h, x->req), text));
    return err_set(x->err, ERR_TIMEOUT, "no connection to %s within %s", x->h->server,
                   duration_format(x->h->connect_timeout, text));
}

/* Whether the connection has already carried an answer. */
static bool is_reused(const Exchange *x)
{
    long connections = 0;
    x->h->lib.curl_easy_getinfo(x->curl, CURLINFO_NUM_CONNECTS, &connections);
    return connections == 0;
}

static ErrCode fail(Exchange *x, CURLcode code)
{
    const char *server = x->h->server;
    const char *why = x->why[0] ? x->why : x->h->lib.curl_easy_strerror(code);
    if (x->rc != ERR_OK)
        return x->rc;
    if (x->stalled)
        return fail_stalled(x);
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        return fail_timeout(x);
    case CURLE_COULDNT_RESOLVE_HOST:
        err_set(x->err, ERR_NETWORK, "%s cannot be found: %s", server, why);
        return err_hint(x->err, "check s3-endpoint, and the name service of this host");
    case CURLE_COULDNT_CONNECT:
        err_set(x->err, ERR_NETWORK, "no connection to %s: %s", server, why);
        return err_hint(x->err, "check s3-endpoint, and whether the server runs");
    case CURLE_PEER_FAILED_VERIFICATION:
        return fail_trust(x, why);
    case CURLE_SSL_CACERT_BADFILE:
        err_set(x->err, ERR_CONFIG, "the certificates to trust cannot be read: %s", why);
        return err_hint(x->err, "s3-ca-file must be a file of PEM certificates that the user who "
                                "runs pgdr can read");
    case CURLE_SSL_CONNECT_ERROR:
        return fail_tls(x, why);
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
        if (is_reused(x))
            return err_set(x->err, ERR_NETWORK, "%s sent something else than an answer: %s", server,
                           why);
        err_set(x->err, ERR_CONFIG, "what answers at %s is no HTTP server: %s", server, why);
        return err_hint(x->err, "write https:// in s3-endpoint if it expects encryption, and check "
                                "the port");
    case CURLE_PARTIAL_FILE:
        return err_set(x->err, ERR_NETWORK, "the answer of %s ended early: %s", server, why);
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        err_set(x->err, ERR_NETWORK, "the connection to %s broke: %s", server, why);
        if (strncmp(server, "http://", 7) == 0)
            err_hint(x->err, "if it is so always: does s3-endpoint need https:// instead?");
        return x->err->code;
    default:
        return err_set(x->err, ERR_NETWORK, "the connection to %s broke: %s", server, why);
    }
}

ErrCode http_exchange(Http *h, const HttpRequest *req, HttpReply *reply, uint64_t *ret_sent,
                      Err *err)
{
    Exchange x = {.h = h, .req = req, .reply = reply, .err = err, .moved_at = time_monotonic()};
    reply_clear(reply);
    TRY(handle_take(h, &x.curl, err));
    struct curl_slist *headers = make_headers(&x);
    body_rewind(&x);
    set_server(&x);
    set_request(&x, headers);
    set_callbacks(&x);

    CURLcode code = h->lib.curl_easy_perform(x.curl);
    long connections = 0;
    h->lib.curl_easy_getinfo(x.curl, CURLINFO_NUM_CONNECTS, &connections);
    atomic_fetch_add(&h->requests, 1);
    atomic_fetch_add(&h->connections, (unsigned long long)connections);
    ErrCode rc = code == CURLE_OK || (x.enough && x.rc == ERR_OK) ? ERR_OK : fail(&x, code);
    h->lib.curl_slist_free_all(headers);
    handle_give(h, x.curl);
    if (ret_sent)
        *ret_sent = x.sent;
    return rc;
}
