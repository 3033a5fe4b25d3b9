#include "lib/storage/sigv4.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/common/digest.h"
#include "lib/common/hex.h"

#define ALGORITHM "AWS4-HMAC-SHA256"

void sigv4_time(TimeUs t, char *out)
{
    time_t seconds = (time_t)(t / US_PER_SECOND);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(out, SIGV4_TIME_LEN, "%Y%m%dT%H%M%SZ", &tm);
}

static int compare_headers(const void *a, const void *b)
{
    return strcmp(((const SigV4Header *)a)->name, ((const SigV4Header *)b)->name);
}

/* White space around goes, and a run of blanks becomes one. */
static void append_value(Buf *out, const char *value)
{
    bool blank = false, begun = false;
    for (const char *p = value; *p; p++) {
        if (*p == ' ' || *p == '\t') {
            blank = true;
            continue;
        }
        if (blank && begun)
            buf_append_u8(out, ' ');
        buf_append_u8(out, (uint8_t)*p);
        blank = false;
        begun = true;
    }
}

static void append_names(Buf *out, const SigV4Request *req)
{
    for (size_t i = 0; i < req->n_headers; i++)
        buf_printf(out, "%s%s", i ? ";" : "", req->headers[i].name);
}

void sigv4_append_canonical(Buf *out, SigV4Request *req)
{
    qsort(req->headers, req->n_headers, sizeof(*req->headers), compare_headers);
    buf_printf(out, "%s\n%s\n%s\n", req->method, req->path, req->query);
    for (size_t i = 0; i < req->n_headers; i++) {
        buf_printf(out, "%s:", req->headers[i].name);
        append_value(out, req->headers[i].value);
        buf_append_u8(out, '\n');
    }
    buf_append_u8(out, '\n');
    append_names(out, req);
    buf_printf(out, "\n%s", req->payload);
}

/* The key of one day, region and service. */
static void signing_key(const SigV4Key *key, const char *day, uint8_t out[SHA256_LEN])
{
    char *seed = mem_printf("AWS4%s", key->secret);
    const char *const steps[] = {key->region, key->service, "aws4_request"};
    uint8_t last[SHA256_LEN];
    hmac_sha256(seed, strlen(seed), day, 8, out);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        memcpy(last, out, SHA256_LEN);
        hmac_sha256(last, SHA256_LEN, steps[i], strlen(steps[i]), out);
    }
    secret_wipe(last, sizeof(last));
    secret_wipe(seed, strlen(seed));
    free(seed);
}

void sigv4_append_authorization(Buf *out, const SigV4Key *key, SigV4Request *req)
{
    Buf canonical AUTO(buf_release) = {0}, text AUTO(buf_release) = {0};
    uint8_t digest[SHA256_LEN], secret[SHA256_LEN];
    char hex[SHA256_HEX_LEN];
    char *scope AUTO(mem_freep) =
        mem_printf("%.8s/%s/%s/aws4_request", req->time, key->region, key->service);

    sigv4_append_canonical(&canonical, req);
    sha256_of(canonical.data, canonical.len, digest);
    buf_printf(&text, ALGORITHM "\n%s\n%s\n%s", req->time, scope,
               hex_format(digest, SHA256_LEN, hex));
    signing_key(key, req->time, secret);
    hmac_sha256(secret, sizeof(secret), text.data, text.len, digest);
    secret_wipe(secret, sizeof(secret));

    buf_printf(out, ALGORITHM " Credential=%s/%s, SignedHeaders=", key->key, scope);
    append_names(out, req);
    buf_printf(out, ", Signature=%s", hex_format(digest, SHA256_LEN, hex));
}
