/* The S3 driver without a server: signatures against Amazon's published examples, addresses, what
 * is read out of answers, and what they mean. */

#include "tests/unit/unit.h"

#include "lib/storage/drivers.h"
#include "lib/storage/http.h"
#include "lib/storage/s3_address.h"
#include "lib/storage/s3_error.h"
#include "lib/storage/s3_list.h"
#include "lib/storage/sigv4.h"
#include "lib/storage/uri.h"
#include "lib/storage/xml.h"

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* --- signatures --- */

typedef struct Vector {
    const char *source, *service, *key, *secret, *time;
    const char *method, *path, *query, *payload;
    SigV4Header headers[6];
    const char *signature;
} Vector;

#define S3_KEY "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define SUITE_KEY "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define S3_HOST                                                                                    \
    {                                                                                              \
        "host", "examplebucket.s3.amazonaws.com"                                                   \
    }

/* From "Examples: Signature Calculations" of the S3 API reference, and the Signature V4 test suite.
 */
static const Vector vectors[] = {
    {"GET Object",
     "s3",
     S3_KEY,
     "20130524T000000Z",
     "GET",
     "/test.txt",
     "",
     EMPTY,
     {S3_HOST,
      {"range", "bytes=0-9"},
      {"x-amz-content-sha256", EMPTY},
      {"x-amz-date", "20130524T000000Z"}},
     "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
    {"PUT Object",
     "s3",
     S3_KEY,
     "20130524T000000Z",
     "PUT",
     "/test%24file.text",
     "",
     "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
     {{"x-amz-storage-class", "REDUCED_REDUNDANCY"},
      {"date", "Fri, 24 May 2013 00:00:00 GMT"},
      S3_HOST,
      {"x-amz-content-sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"},
      {"x-amz-date", "20130524T000000Z"}},
     "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
    {"GET Bucket Lifecycle",
     "s3",
     S3_KEY,
     "20130524T000000Z",
     "GET",
     "/",
     "lifecycle=",
     EMPTY,
     {S3_HOST, {"x-amz-content-sha256", EMPTY}, {"x-amz-date", "20130524T000000Z"}},
     "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
    {"Get Bucket",
     "s3",
     S3_KEY,
     "20130524T000000Z",
     "GET",
     "/",
     "max-keys=2&prefix=J",
     EMPTY,
     {S3_HOST, {"x-amz-content-sha256", EMPTY}, {"x-amz-date", "20130524T000000Z"}},
     "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
    {"get-vanilla",
     "service",
     SUITE_KEY,
     "20150830T123600Z",
     "GET",
     "/",
     "",
     EMPTY,
     {{"host", "example.amazonaws.com"}, {"x-amz-date", "20150830T123600Z"}},
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
};

static void signs_as_published(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        const Vector *v = &vectors[i];
        SigV4Header headers[6];
        Buf out AUTO(buf_release) = {0};
        const SigV4Key key = {v->key, v->secret, "us-east-1", v->service};
        memcpy(headers, v->headers, sizeof(headers));
        SigV4Request req = {.method = v->method,
                            .path = v->path,
                            .query = v->query,
                            .headers = headers,
                            .payload = v->payload,
                            .time = v->time};
        while (req.n_headers < ARRAY_LEN(headers) && headers[req.n_headers].name)
            req.n_headers++;
        sigv4_append_authorization(&out, &key, &req);
        if (!strstr(buf_str(&out), v->signature))
            fail_msg("%s: '%s' has not the signature %s", v->source, buf_str(&out), v->signature);
    }
}

static void collapses_white_space(void **state UNUSED)
{
    SigV4Header headers[] = {{"my-header2", " \"a   b   c\" "}, {"my-header1", "  value\t2 "}};
    SigV4Request req = {.method = "GET",
                        .path = "/",
                        .query = "",
                        .headers = headers,
                        .n_headers = 2,
                        .payload = "x",
                        .time = "20150830T123600Z"};
    Buf out AUTO(buf_release) = {0};
    sigv4_append_canonical(&out, &req);
    assert_string_equal(buf_str(&out), "GET\n/\n\nmy-header1:value 2\nmy-header2:\"a b c\"\n\n"
                                       "my-header1;my-header2\nx");
}

/* --- addresses and encoding --- */

static void encodes(void **state UNUSED)
{
    Buf out AUTO(buf_release) = {0};
    const char *path = "a/../b c+d~e_f-g.h\xC3\xA9%";
    uri_append_path(&out, path, strlen(path));
    assert_string_equal(buf_str(&out), "a/../b%20c%2Bd~e_f-g.h%C3%A9%25");
    out.len = 0;
    UriField fields[] = {{"prefix", "a/b"}, {"uploads", ""}, {"a-b", "1"}, {"a", "2"}};
    uri_append_query(&out, fields, ARRAY_LEN(fields));
    assert_string_equal(buf_str(&out), "a=2&a-b=1&prefix=a%2Fb&uploads=");
    out.len = 0;
    assert_true(uri_append_decoded(&out, "a%2fb+c%C3%A9", 13));
    assert_string_equal(buf_str(&out), "a/b c\xC3\xA9");
    static const char *const bad[] = {"%", "%1", "%zz", "a%0", "%00"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(uri_append_decoded(&out, bad[i], strlen(bad[i])));
}

typedef struct AddressCase {
    const char *endpoint, *region, *bucket;
    S3Style style;
    const char *host, *base, *server; /* or, with host NULL, what is said */
} AddressCase;

static const AddressCase addresses[] = {
    {NULL, "eu-west-1", "backups", S3_STYLE_HOST, "backups.s3.eu-west-1.amazonaws.com", "",
     "https://s3.eu-west-1.amazonaws.com"},
    {NULL, "cn-north-1", "backups", S3_STYLE_HOST, "backups.s3.cn-north-1.amazonaws.com.cn", "",
     "https://s3.cn-north-1.amazonaws.com.cn"},
    {"S3.Example.COM:443", NULL, "b-1", S3_STYLE_PATH, "s3.example.com", "/b-1",
     "https://s3.example.com"},
    {"http://10.0.0.1:9000/", NULL, "b-1", S3_STYLE_PATH, "10.0.0.1:9000", "/b-1",
     "http://10.0.0.1:9000"},
    {"http://[::1]:80", NULL, "b-1", S3_STYLE_PATH, "[::1]", "/b-1", "http://[::1]"},
    {"https://s3.x:8443", NULL, "b-1", S3_STYLE_HOST, "b-1.s3.x:8443", "", "https://s3.x:8443"},
    {"ftp://s3.x", NULL, "b-1", S3_STYLE_PATH, NULL, "neither http nor https", NULL},
    {"https://s3.x/b-1", NULL, "b-1", S3_STYLE_PATH, NULL, "nothing may stand behind", NULL},
    {"https://s3.x:0", NULL, "b-1", S3_STYLE_PATH, NULL, "the port", NULL},
    {"https://s3.x:70000", NULL, "b-1", S3_STYLE_PATH, NULL, "the port", NULL},
    {"https://", NULL, "b-1", S3_STYLE_PATH, NULL, "it names no host", NULL},
    {"https://user@s3.x", NULL, "b-1", S3_STYLE_PATH, NULL, "it names no host", NULL},
    {"http://10.0.0.1", NULL, "b-1", S3_STYLE_HOST, NULL, "is a number", NULL},
    {"https://s3.x", NULL, "b.1", S3_STYLE_HOST, NULL, "a '.' in its name", NULL},
    {"https://s3.x", NULL, "B_1", S3_STYLE_HOST, NULL, "no capital letter", NULL},
    {"https://s3.x", NULL, "b/1", S3_STYLE_PATH, NULL, "name of a bucket", NULL},
    {"https://s3.x", NULL, "", S3_STYLE_PATH, NULL, "name of a bucket", NULL},
    {"https://s3.x", "eu west", "b-1", S3_STYLE_PATH, NULL, "no name of a region", NULL},
};

static void finds_addresses(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        const AddressCase *c = &addresses[i];
        S3Address at AUTO(s3_address_release) = {0};
        const S3Spec spec = {.endpoint = c->endpoint,
                             .region = c->region,
                             .bucket = c->bucket,
                             .style = c->style,
                             .verify_tls = true,
                             .prefix = "some/where/"};
        if (!c->host) {
            expect_err(ERR_CONFIG, c->base, s3_address_make(&spec, &at, err));
            continue;
        }
        expect_ok(s3_address_make(&spec, &at, err));
        assert_string_equal(at.host, c->host);
        assert_string_equal(at.base, c->base);
        assert_string_equal(at.server, c->server);
        assert_string_equal(at.prefix, "some/where/");
    }
}

static void refuses_settings(void **state UNUSED)
{
    const S3Spec good = {.bucket = "b", .key = "k", .secret = "s", .verify_tls = true};
    Storage *s = NULL;
    S3Spec spec = good;
    spec.secret = NULL;
    expect_err(ERR_CONFIG, "no access key", storage_s3_new(&s, &spec, err));
    spec = good;
    spec.secret = "s ";
    expect_err(ERR_CONFIG, "s3-secret holds a blank", storage_s3_new(&s, &spec, err));
    spec = good;
    spec.endpoint = "http://s3.x";
    spec.unsigned_payload = true;
    expect_err(ERR_CONFIG, "only with https", storage_s3_new(&s, &spec, err));
    spec = good;
    spec.prefix = "a//b";
    expect_err(ERR_CONFIG, "prefix", storage_s3_new(&s, &spec, err));
    spec = good;
    spec.prefix = "a\xFF";
    expect_err(ERR_CONFIG, "not UTF-8", storage_s3_new(&s, &spec, err));
}

/* --- answers --- */

static void reads_times(void **state UNUSED)
{
    assert_int_equal(http_time_parse("Fri, 24 May 2013 00:00:00 GMT"),
                     INT64_C(1369353600) * US_PER_SECOND);
    static const char *const bad[] = {"", "Fri, 24 May 2013", "Fri, 24 Mai 2013 00:00:00 GMT",
                                      "Fri, 24 May 2013 00:00:00 CET", "24 May 2013 00:00:00 GMT"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(http_time_parse(bad[i]), 0);
}

static void refuses_bad_xml(void **state UNUSED)
{
    static const char *const bad[] = {"",
                                      "plain",
                                      "<a>",
                                      "<a></b>",
                                      "<a/><b/>",
                                      "<a/>text",
                                      "<a>&what;</a>",
                                      "<a>&#0;</a>",
                                      "<a>&#xD800;</a>",
                                      "<!DOCTYPE a><a/>",
                                      "<a b></a>",
                                      "<a b=\"c></a>",
                                      "<a>\x01</a>",
                                      "</a>",
                                      "<a><![CDATA[x</a>",
                                      "<>"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        XmlReader r AUTO(xml_close);
        XmlTag tag = {.kind = XML_BEGIN};
        Err e = {0};
        ErrCode rc = ERR_OK;
        xml_open(&r, bad[i], strlen(bad[i]));
        while (rc == ERR_OK && (rc = xml_next(&r, &tag, &e)) == ERR_OK && tag.kind != XML_DONE)
            ;
        if (rc != ERR_DAMAGED)
            fail_msg("'%s' gave %d", bad[i], (int)rc);
    }
    Buf deep AUTO(buf_release) = {0};
    for (int i = 0; i < 20; i++)
        buf_append_str(&deep, "<a>");
    XmlReader r AUTO(xml_close);
    XmlTag tag;
    xml_open(&r, deep.data, deep.len);
    Err e = {0};
    ErrCode rc = ERR_OK;
    while (rc == ERR_OK)
        rc = xml_next(&r, &tag, &e);
    assert_int_equal(rc, ERR_LIMIT);
}

#define ENTRY(key, when, size)                                                                     \
    "<Contents><Key>" key "</Key><LastModified>" when "</LastModified><Size>" size                 \
    "</Size><ETag>&quot;ab&quot;</ETag></Contents>"
#define PAGE(inside) "<?xml version=\"1.0\"?><ListBucketResult>" inside "</ListBucketResult>"
#define WHEN "2026-11-23T12:07:38.169Z"

static void reads_listings(void **state UNUSED)
{
    static const char text[] =
        PAGE("<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>"
             "<NextContinuationToken>t&amp;1</NextContinuationToken>" ENTRY("b%2Fc+d", WHEN, "17")
                 ENTRY("a", WHEN, "0") "<CommonPrefixes><Prefix>aa/</Prefix></CommonPrefixes>");
    S3ListPage page AUTO(s3_list_page_release) = {0};
    expect_ok(s3_list_page_parse(text, sizeof(text) - 1, &page, err));
    assert_int_equal(page.entries.n, 3);
    assert_string_equal(page.entries.at[0].key, "a");
    assert_string_equal(page.entries.at[1].key, "aa/");
    assert_true(page.entries.at[1].is_prefix);
    assert_string_equal(page.entries.at[2].key, "b/c d");
    assert_int_equal(page.entries.at[2].stat.size, 17);
    assert_int_equal(page.entries.at[2].stat.mtime, INT64_C(1795435658) * US_PER_SECOND);
    assert_string_equal(page.entries.at[2].stat.etag, "ab");
    assert_string_equal(page.next, "t&1");
    /* No part of it is a whole one. */
    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        S3ListPage part AUTO(s3_list_page_release) = {0};
        expect_err(ERR_DAMAGED, "", s3_list_page_parse(text, len, &part, err));
    }
}

static void refuses_bad_listings(void **state UNUSED)
{
    static const char *const bad[] = {
        "<html></html>",
        PAGE("<IsTruncated>true</IsTruncated>"),
        PAGE(ENTRY("a", "yesterday", "1")),
        PAGE(ENTRY("a", WHEN, "-1")),
        PAGE(ENTRY("a", WHEN, "9999999999999999999")),
        PAGE("<Contents><Key>a</Key></Contents>"),
        PAGE("<EncodingType>url</EncodingType>" ENTRY("a%2", WHEN, "1")),
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        S3ListPage page AUTO(s3_list_page_release) = {0};
        expect_err(ERR_DAMAGED, "", s3_list_page_parse(bad[i], strlen(bad[i]), &page, err));
    }
}

/* --- what a refusal means --- */

typedef struct FaultCase {
    unsigned status;
    const char *body, *header;
    ErrCode code;
    const char *message, *hint;
} FaultCase;

#define ERROR_OF(code, more) "<Error><Code>" code "</Code>" more "</Error>"

static const FaultCase faults[] = {
    {503, ERROR_OF("SlowDown", ""), NULL, ERR_BUSY, "503 SlowDown", ""},
    {503, "", NULL, ERR_BUSY, "503", ""},
    {429, "", NULL, ERR_BUSY, "429", ""},
    {500, ERROR_OF("InternalError", ""), NULL, ERR_NETWORK, "InternalError", ""},
    {502, "<html>bad gateway</html>", NULL, ERR_NETWORK, "502", ""},
    {400, ERROR_OF("RequestTimeout", ""), NULL, ERR_TIMEOUT, "RequestTimeout", ""},
    {403, ERROR_OF("InvalidAccessKeyId", ""), NULL, ERR_AUTH, "", "check s3-key"},
    {403, ERROR_OF("RequestTimeTooSkewed", ""), "Date: Fri, 24 May 2013 00:00:00 GMT", ERR_AUTH, "",
     "2013-05-24"},
    {403, "", NULL, ERR_ACCESS, "403",
     "allow the access key 'key' the action s3:GetObject on "
     "arn:aws:s3:::bucket/in/*"},
    {404, ERROR_OF("NoSuchKey", ""), NULL, ERR_NOT_FOUND, "there is no such object", ""},
    {404, ERROR_OF("NoSuchBucket", ""), NULL, ERR_CONFIG, "there is no bucket 'bucket'",
     "create the bucket"},
    {404, "<html>nothing here</html>", NULL, ERR_CONFIG, "404", "s3-endpoint"},
    {301, ERROR_OF("PermanentRedirect", "<Endpoint>there.example</Endpoint>"), NULL, ERR_CONFIG,
     "PermanentRedirect", "there.example"},
    {301, "", "x-amz-bucket-region: eu-west-3", ERR_CONFIG, "301", "set s3-region = eu-west-3"},
    {400, ERROR_OF("AuthorizationHeaderMalformed", "<Region>eu-west-2</Region>"), NULL, ERR_CONFIG,
     "", "set s3-region = eu-west-2"},
    {403, ERROR_OF("QuotaExceeded", ""), NULL, ERR_NO_SPACE, "QuotaExceeded", ""},
    {507, "", NULL, ERR_NO_SPACE, "507", ""},
    {501, ERROR_OF("NotImplemented", ""), NULL, ERR_CONFIG, "NotImplemented", "s3-endpoint"},
    {403, ERROR_OF("InvalidObjectState", ""), NULL, ERR_ACCESS, "", "archive"},
};

static void tells_faults(void **state UNUSED)
{
    S3 s = {
        .base = {.url = (char *)(uintptr_t) "s3://bucket/in"},
        .at = {.server = (char *)(uintptr_t) "https://s3.x", .prefix = (char *)(uintptr_t) "in/"},
        .bucket = (char *)(uintptr_t) "bucket",
        .region = (char *)(uintptr_t) "us-east-1",
        .key = (char *)(uintptr_t) "key"};
    const S3Deed deed = {"read", "a", "s3:GetObject"};
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        const FaultCase *f = &faults[i];
        HttpReply reply AUTO(http_reply_release) = {.status = f->status};
        S3Fault fault;
        Err e = {0};
        if (f->header)
            vec_push(&reply.headers, mem_strdup(f->header));
        buf_append_str(&reply.body, f->body);
        s3_fault_parse(f->body, strlen(f->body), &fault);
        ErrCode rc = s3_fault_error(&s, &deed, &fault, &reply, &e);
        if (rc != f->code || !strstr(e.message, f->message) || !strstr(e.hint, f->hint) ||
            !strstr(e.message, "cannot read 'a' in s3://bucket/in"))
            fail_msg("%u %s: %d '%s' (hint '%s')", f->status, f->body, (int)rc, e.message, e.hint);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signs_as_published),
        cmocka_unit_test(collapses_white_space),
        cmocka_unit_test(encodes),
        cmocka_unit_test(finds_addresses),
        cmocka_unit_test(refuses_settings),
        cmocka_unit_test(reads_times),
        cmocka_unit_test(refuses_bad_xml),
        cmocka_unit_test(reads_listings),
        cmocka_unit_test(refuses_bad_listings),
        cmocka_unit_test(tells_faults),
    };
    return cmocka_run_group_tests_name("S3 without a server", tests, NULL, NULL);
}
