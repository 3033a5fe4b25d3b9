#include "lib/storage/s3.h"

#include <string.h>

#include "lib/common/digest.h"
#include "lib/storage/s3_get.h"
#include "lib/storage/s3_list.h"
#include "lib/storage/s3_put.h"
#include "lib/storage/s3_remove.h"
#include "lib/storage/s3_v2.h"

#define CONNECT_TIMEOUT (10 * US_PER_SECOND)
#define STALL_TIMEOUT (60 * US_PER_SECOND)

char *s3_key(const S3 *s, const char *name)
{
    return mem_printf("%s%s", s->at.prefix, name);
}

static void secret_free(char *text)
{
    if (text)
        secret_wipe(text, strlen(text));
    free(text);
}

void s3_release(Storage *storage)
{
    S3 *s = (S3 *)storage;
    http_free(s->http);
    s3_address_release(&s->at);
    free(s->bucket);
    free(s->region);
    free(s->key);
    secret_free(s->secret);
    secret_free(s->token);
    free(s);
}

static const StorageOps s3_ops = {
    .put = s3_put,
    .get = s3_get,
    .stat = s3_stat,
    .list = s3_list,
    .remove = s3_remove,
    .now = s3_now,
    .free = s3_release,
};

/* What would break a header or a signature instead of being refused by the server. */
static ErrCode credential_check(const char *what, const char *text, Err *err)
{
    for (const char *p = text; p && *p; p++)
        if (*p <= 0x20 || *p >= 0x7f)
            return err_set(err, ERR_CONFIG, "%s holds a blank or another character that none has",
                           what);
    return ERR_OK;
}

static ErrCode spec_check(const S3Spec *spec, Err *err)
{
    if (!spec->key || !*spec->key || !spec->secret || !*spec->secret) {
        err_set(err, ERR_CONFIG, "there is no access key for the bucket '%s'",
                spec->bucket ? spec->bucket : "");
        return err_hint(err, "set s3-key and s3-secret");
    }
    TRY(credential_check("s3-key", spec->key, err));
    TRY(credential_check("s3-secret", spec->secret, err));
    return credential_check("s3-token", spec->token, err);
}

static HttpSpec http_spec(const S3Spec *spec, const S3Address *at)
{
    return (HttpSpec){.server = at->server,
                      .ca_file = spec->ca_file,
                      .verify_tls = spec->verify_tls,
                      .connect_timeout =
                          spec->connect_timeout ? spec->connect_timeout : CONNECT_TIMEOUT,
                      .stall_timeout = spec->stall_timeout ? spec->stall_timeout : STALL_TIMEOUT,
                      .total_timeout = spec->total_timeout};
}

/* "s3://bucket/prefix" */
static char *make_url(const S3Spec *spec, const S3Address *at)
{
    size_t len = strlen(at->prefix);
    return mem_printf("s3://%s%s%.*s", spec->bucket, len ? "/" : "", (int)(len ? len - 1 : 0),
                      at->prefix);
}

ErrCode s3_make(Storage **ret, size_t size, const StorageOps *ops, const S3Spec *spec,
                S3Address *at, Err *err)
{
    Http *http = NULL;
    HttpSpec with = http_spec(spec, at);
    TRY(http_new(&http, &with, err));
    S3 *s = mem_zero(size);
    s->base = (Storage){.ops = ops, .url = make_url(spec, at)};
    s->http = http;
    s->at = *at;
    *at = (S3Address){0};
    s->bucket = mem_strdup(spec->bucket);
    s->region = mem_strdup(spec->region ? spec->region : "us-east-1");
    s->key = mem_strdup(spec->key);
    s->secret = mem_strdup(spec->secret);
    s->token = spec->token && *spec->token ? mem_strdup(spec->token) : NULL;
    s->unsigned_payload = spec->unsigned_payload;
    s->parts = spec->retry ? *spec->retry : (RetrySpec){.attempts = 1};
    *ret = &s->base;
    return ERR_OK;
}

ErrCode storage_s3_new(Storage **ret, const S3Spec *spec, Err *err)
{
    S3Address at AUTO(s3_address_release) = {0};
    TRY(spec_check(spec, err));
    TRY(s3_address_make(spec, &at, err));
    if (spec->signature == S3_SIGNATURE_V2)
        return storage_s3_v2_new(ret, spec, &at, err);
    if (spec->unsigned_payload && !at.tls) {
        err_set(err, ERR_CONFIG,
                "contents are left out of the signature only with https, which "
                "protects them instead");
        return err_hint(err, "use an https:// endpoint, or leave s3-unsigned-payload out");
    }
    return s3_make(ret, sizeof(S3), &s3_ops, spec, &at, err);
}
