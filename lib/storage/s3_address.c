#include "lib/storage/s3_address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "lib/common/json.h"

#define BUCKET_MAX 255
/* S3's keys have at most 1024 bytes. */
#define PREFIX_MAX (1024 - STORAGE_NAME_MAX - 1)
#define HOST_MAX 253

void s3_address_release(S3Address *a)
{
    free(a->endpoint);
    free(a->host);
    free(a->base);
    free(a->server);
    free(a->prefix);
    *a = (S3Address){0};
}

/* --- bucket and prefix --- */

static bool bucket_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_';
}

static ErrCode bucket_check(const char *bucket, Err *err)
{
    size_t len = bucket ? strlen(bucket) : 0;
    bool good = len > 0 && len <= BUCKET_MAX && bucket[0] != '.' && bucket[len - 1] != '.';
    for (size_t i = 0; i < len; i++)
        good = good && bucket_char(bucket[i]) && !(bucket[i] == '.' && bucket[i + 1] == '.');
    if (good)
        return ERR_OK;
    err_set(err, ERR_CONFIG, "'%s' cannot be the name of a bucket", bucket ? bucket : "");
    return err_hint(err, "a bucket's name has letters, digits, '-' and '.'; what stands behind the "
                         "next '/' is the prefix");
}

static ErrCode prefix_make(const char *given, char **ret, Err *err)
{
    Err why = {0};
    const char *from = given ? given : "";
    size_t len = strlen(from);
    while (len && from[len - 1] == '/')
        len--;
    char *prefix AUTO(mem_freep) = mem_strndup(from, len);
    if (len > PREFIX_MAX)
        return err_set(err, ERR_CONFIG, "the prefix in the bucket is longer than %d bytes",
                       PREFIX_MAX);
    if (len && storage_name_check(prefix, &why) != ERR_OK)
        return err_set(err, ERR_CONFIG, "the prefix in the bucket is wrong: %s", why.message);
    if (!utf8_valid(prefix, len))
        return err_set(err, ERR_CONFIG, "the prefix in the bucket is not UTF-8");
    *ret = mem_printf("%s%s", prefix, len ? "/" : "");
    return ERR_OK;
}

/* --- the endpoint --- */

static ErrCode endpoint_refuse(const char *text, const char *why, Err *err)
{
    err_set(err, ERR_CONFIG, "s3-endpoint '%s' is wrong: %s", text, why);
    return err_hint(err, "write it as https://s3.example.com or http://10.0.0.1:9000");
}

/* Without a host name, DNS cannot lead to a bucket's own host. */
static bool is_number(const char *host)
{
    struct in_addr v4;
    return host[0] == '[' || inet_pton(AF_INET, host, &v4) == 1;
}

static bool host_valid(const char *host)
{
    struct in6_addr v6;
    size_t len = strlen(host);
    if (host[0] == '[') {
        char inside[INET6_ADDRSTRLEN];
        if (len < 4 || len - 2 >= sizeof(inside) || host[len - 1] != ']')
            return false;
        memcpy(inside, host + 1, len - 2);
        inside[len - 2] = '\0';
        return inet_pton(AF_INET6, inside, &v6) == 1;
    }
    for (size_t i = 0; i < len; i++)
        if (!bucket_char(host[i]))
            return false;
    return len > 0 && len <= HOST_MAX && host[0] != '.' && host[0] != '-';
}

/* "443" */
static bool port_valid(const char *port)
{
    size_t len = strspn(port, "0123456789");
    return len > 0 && len <= 5 && !port[len] && atoi(port) > 0 && atoi(port) <= 65535;
}

/* *ret_host in lower case, *ret_port "" where there is none. */
static ErrCode endpoint_split(const char *text, bool *ret_tls, char **ret_host, char **ret_port,
                              Err *err)
{
    const char *p = text;
    *ret_tls = strncmp(p, "http://", 7) != 0;
    if (!*ret_tls || strncmp(p, "https://", 8) == 0)
        p += *ret_tls ? 8 : 7;
    size_t len = strcspn(p, "/");
    if (strspn(p + len, "/") != strlen(p + len))
        return endpoint_refuse(text,
                               strstr(p, "://") ? "it begins with neither http nor https"
                                                : "nothing may stand behind the host",
                               err);
    char *host AUTO(mem_freep) = mem_strndup(p, len);
    char *bracket = strchr(host, ']'), *colon = strchr(bracket ? bracket : host, ':');
    char *port AUTO(mem_freep) = mem_strdup(colon ? colon + 1 : "");
    if (colon)
        *colon = '\0';
    for (char *c = host; *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    if (!host_valid(host))
        return endpoint_refuse(text, "it names no host", err);
    if (colon && !port_valid(port))
        return endpoint_refuse(text, "the port is none", err);
    *ret_host = steal_ptr(&host);
    *ret_port = steal_ptr(&port);
    return ERR_OK;
}

static char *amazon_endpoint(const char *region)
{
    /* China has a domain of its own. */
    return mem_printf("s3.%s.amazonaws.com%s", region, strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
}

/* --- style --- */

static ErrCode host_style_check(const S3Spec *spec, bool tls, const char *host, Err *err)
{
    const char *why = NULL;
    if (is_number(host))
        why = "the endpoint is a number, which can have no host for a bucket";
    else if (tls && spec->verify_tls && strchr(spec->bucket, '.'))
        why = "a certificate cannot cover the host of a bucket with a '.' in its name";
    else if (strpbrk(spec->bucket, "_ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
        why = "a host name has no capital letter and no '_'";
    if (!why)
        return ERR_OK;
    err_set(err, ERR_CONFIG, "bucket '%s' at '%s' cannot be reached with s3-style = host: %s",
            spec->bucket, host, why);
    return err_hint(err, "set s3-style = path");
}

static ErrCode region_check(const char *region, Err *err)
{
    size_t len = strlen(region);
    for (size_t i = 0; i < len; i++)
        if (!bucket_char(region[i]))
            len = 0;
    if (len == 0 || len > 63)
        return err_set(err, ERR_CONFIG, "s3-region '%s' is no name of a region", region);
    return ERR_OK;
}

ErrCode s3_address_make(const S3Spec *spec, S3Address *ret, Err *err)
{
    S3Address a AUTO(s3_address_release) = {0};
    const char *region = spec->region ? spec->region : "us-east-1";
    TRY(bucket_check(spec->bucket, err));
    TRY(region_check(region, err));
    TRY(prefix_make(spec->prefix, &a.prefix, err));
    char *text AUTO(mem_freep) =
        spec->endpoint ? mem_strdup(spec->endpoint) : amazon_endpoint(region);
    char *host AUTO(mem_freep) = NULL, *port AUTO(mem_freep) = NULL;
    TRY(endpoint_split(text, &a.tls, &host, &port, err));
    /* As libcurl writes the header: the usual port is not named. */
    bool usual = !port[0] || atoi(port) == (a.tls ? 443 : 80);
    a.endpoint = usual ? mem_strdup(host) : mem_printf("%s:%d", host, atoi(port));
    a.server = mem_printf("http%s://%s", a.tls ? "s" : "", a.endpoint);
    if (spec->style == S3_STYLE_PATH) {
        a.host = mem_strdup(a.endpoint);
        a.base = mem_printf("/%s", spec->bucket);
    } else {
        TRY(host_style_check(spec, a.tls, host, err));
        a.host = mem_printf("%s.%s", spec->bucket, a.endpoint);
        a.base = mem_strdup("");
    }
    *ret = a;
    a = (S3Address){0};
    return ERR_OK;
}
