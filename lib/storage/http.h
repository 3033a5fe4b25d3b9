#ifndef PGDR_STORAGE_HTTP_H
#define PGDR_STORAGE_HTTP_H

/*
 * HTTP/1.1 requests to one server, from several threads at once, on connections that are kept:
 * there is one handle (with its connection) for each concurrent call, taken up again by the next.
 * Knows nothing of S3: an answer with any status is an answer.
 *
 * The process must ignore SIGPIPE. Proxies are those of the environment, as libcurl reads it
 * (https_proxy, no_proxy, …).
 */

#include "lib/storage/storage.h"

typedef struct HttpSpec {
    const char *server;  /* "https://host:port", for messages */
    const char *ca_file; /* NULL: the system's */
    bool verify_tls;
    TimeUs connect_timeout; /* until the connection, TLS included, is there */
    TimeUs stall_timeout;   /* without a byte in either direction */
    TimeUs total_timeout;   /* of one request; 0: enough for its body at 16 KiB/s, and more */
} HttpSpec;

typedef struct Http Http;

MUST_CHECK ErrCode http_new(Http **ret, const HttpSpec *spec, Err *err);
void http_free(Http *h);
DEFINE_FREEP(Http, http_free)

/* One answer. Zero it before the first use and release it after the last; every exchange clears
 * it. */
typedef struct HttpReply {
    unsigned status; /* 0: none came */
    StrList headers; /* "Name: value", of the final answer */
    Buf body;        /* what nobody took */
} HttpReply;

void http_reply_release(HttpReply *reply);
/* A header's value by its name in any case; NULL when it is not there. */
const char *http_reply_header(const HttpReply *reply, const char *name);
/* A header that is a whole number; -1 when it is not there or is none. */
int64_t http_reply_number(const HttpReply *reply, const char *name);
/* A header that is a time ("Mon, 23 Nov 2026 12:07:38 GMT"); 0 when it is not there or is none. */
TimeUs http_reply_time(const HttpReply *reply, const char *name);

/* Takes a piece of the body of an answer with a status of 200 to 299; sets *ret_enough to break
 * the transfer off without an error. */
typedef ErrCode (*HttpTake)(void *arg, const HttpReply *reply, const void *data, size_t len,
                            bool *ret_enough, Err *err);

typedef struct HttpRequest {
    const char *method;
    const char *url;
    const StrList *headers;      /* "Name: value" */
    const StorageSource *source; /* the body: these bytes of it; NULL: there is none */
    uint64_t off, len;
    bool ask_first; /* wait for "100 Continue" before the body is sent */
    HttpTake take;  /* NULL: the body goes to the reply */
    void *take_arg;
    /* Of the body in the reply (an error's is cut at HTTP_ERROR_LIMIT); with `take`, about how much
     * is expected. */
    size_t limit;
} HttpRequest;

#define HTTP_ERROR_LIMIT (64 * KIB)

/*
 * Sends a request and receives the whole answer, whatever its status. What can be repeated is
 * ERR_NETWORK (no connection, or it broke, or the answer ended early) or ERR_TIMEOUT; ERR_CONFIG is
 * a server that cannot be trusted or speaks something else; ERR_LIMIT an answer that is too large;
 * ERR_CANCELLED when the process is asked to end. After a failure reply->status tells whether an
 * answer had begun. `ret_sent`, which may be NULL: bytes of the body that were sent.
 */
MUST_CHECK ErrCode http_exchange(Http *h, const HttpRequest *req, HttpReply *reply,
                                 uint64_t *ret_sent, Err *err);

/* So far, over all handles. */
typedef struct HttpCounts {
    uint64_t requests, connections;
} HttpCounts;
HttpCounts http_counts(Http *h);

/* "Mon, 23 Nov 2026 12:07:38 GMT"; 0 when it is no such time. */
TimeUs http_time_parse(const char *text);

#endif
