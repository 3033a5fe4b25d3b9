/*
 * The S3 driver against a real server: the suite, and what is particular to it. Needs the variables
 * that `tests/lib/rgw start` prints, and a bucket (PGDR_TEST_S3_BUCKET); started with them by
 * tests/integration/450_s3_driver.t. The argument says how it is reached: plain, tls, host, sts or
 * v2. Or it is "large", which only writes one object of several parts and reads it back; what goes
 * wrong is printed.
 */

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/storage/conformance.h"

#include "lib/storage/drivers.h"

#define PARTS_SIZE (70 * MIB)

/* The server answers 500 now and then to who reads what is being replaced. */
static const RetrySpec retries = {.attempts = 5, .first_pause = 1000, .longest_pause = 100000};
static const RetrySpec no_retries = {.attempts = 1};

typedef struct Way {
    const char *name;
    const char *endpoint, *key, *secret, *token; /* of variables, behind PGDR_TEST_S3_ */
    S3Style style;
    S3Signature signature;
    bool tls;
} Way;

static const Way ways[] = {
    {"plain", "PLAIN", "KEY", "SECRET", NULL, S3_STYLE_PATH, S3_SIGNATURE_V4, false},
    {"tls", "TLS", "KEY", "SECRET", NULL, S3_STYLE_PATH, S3_SIGNATURE_V4, true},
    {"host", "TLS_HOST", "KEY", "SECRET", NULL, S3_STYLE_HOST, S3_SIGNATURE_V4, true},
    {"sts", "STS", "SESSION_KEY", "SESSION_SECRET", "SESSION_TOKEN", S3_STYLE_PATH, S3_SIGNATURE_V4,
     false},
    {"v2", "PLAIN", "KEY", "SECRET", NULL, S3_STYLE_PATH, S3_SIGNATURE_V2, false},
};

static const Way *way;

static const char *given(const char *name)
{
    char *variable AUTO(mem_freep) = mem_printf("PGDR_TEST_S3_%s", name);
    const char *text = getenv(variable);
    if (!text)
        fail_msg("%s is not set: see the head of this file", variable);
    return text;
}

/* --- for v2: the suite's blanks, which libs3 cannot store, as "!0", and '!' as "!1" --- */

typedef struct Unblank {
    Storage base;
    Storage *inner;
} Unblank;

/* The order of names stays. */
static char *without_blanks(const char *text)
{
    Buf out = {0};
    if (!text)
        return NULL;
    for (const char *p = text; *p; p++) {
        buf_append_u8(&out, *p == ' ' ? '!' : (uint8_t)*p);
        if (*p == ' ' || *p == '!')
            buf_append_u8(&out, *p == ' ' ? '0' : '1');
    }
    buf_str(&out);
    return (char *)out.data;
}

/* The same back, in place. */
static void with_blanks(char *text)
{
    char *to = text;
    for (const char *p = text; *p; p++) {
        bool ours = p[0] == '!' && (p[1] == '0' || p[1] == '1');
        *to++ = ours && p[1] == '0' ? ' ' : *p;
        p += ours;
    }
    *to = '\0';
}

static ErrCode told(ErrCode rc, Err *err)
{
    if (rc != ERR_OK)
        with_blanks(err->message);
    return rc;
}

#define INNER(s) (((Unblank *)(s))->inner)
#define PLAIN_NAME(name) char *plain AUTO(mem_freep) = without_blanks(name)

static ErrCode unblank_put(Storage *s, const char *name, const StorageSource *src,
                           StoragePutFlags flags, Err *err)
{
    PLAIN_NAME(name);
    return told(storage_put(INNER(s), plain, src, flags, err), err);
}

static ErrCode unblank_get(Storage *s, const char *name, StorageRead *read, Err *err)
{
    PLAIN_NAME(name);
    return told(storage_get(INNER(s), plain, read, err), err);
}

static ErrCode unblank_stat(Storage *s, const char *name, StorageStat *ret, Err *err)
{
    PLAIN_NAME(name);
    return told(storage_stat(INNER(s), plain, ret, err), err);
}

static ErrCode unblank_entry(void *arg, const StorageEntry *entry, Err *err)
{
    const StorageList *list = arg;
    char *name AUTO(mem_freep) = mem_strdup(entry->name);
    StorageEntry with = *entry;
    with_blanks(name);
    with.name = name;
    return list->fn(list->arg, &with, err);
}

static ErrCode unblank_list(Storage *s, const StorageList *list, Err *err)
{
    char *prefix AUTO(mem_freep) = without_blanks(list->prefix);
    char *after AUTO(mem_freep) = without_blanks(list->after);
    StorageList with = *list, given = *list;
    with.prefix = prefix;
    with.after = after;
    with.fn = unblank_entry;
    with.arg = &given;
    return told(storage_list(INNER(s), &with, err), err);
}

static ErrCode unblank_remove(Storage *s, const char *const *names, size_t n, Err *err)
{
    StrList plain AUTO(str_list_release) = {0};
    for (size_t i = 0; i < n; i++)
        vec_push(&plain, without_blanks(names[i]));
    return told(storage_remove(INNER(s), (const char *const *)plain.at, n, err), err);
}

static ErrCode unblank_now(Storage *s, TimeUs *ret, Err *err)
{
    return storage_now(INNER(s), ret, err);
}

static void unblank_free(Storage *s)
{
    storage_free(INNER(s));
    free(s);
}

static Storage *unblank_new(Storage *inner)
{
    static const StorageOps ops = {unblank_put,    unblank_get, unblank_stat, unblank_list,
                                   unblank_remove, unblank_now, unblank_free};
    Unblank *u = NEW(Unblank);
    u->base = (Storage){.ops = &ops, .url = mem_strdup(inner->url)};
    u->inner = inner;
    return &u->base;
}

/* A prefix of its own for each test. */
static S3Spec spec_new(void)
{
    static char prefix[64];
    static unsigned n;
    snprintf(prefix, sizeof(prefix), "%s/test %ld+%u", way->name, (long)getpid(), n++);
    if (way->signature == S3_SIGNATURE_V2)
        snprintf(prefix, sizeof(prefix), "v2/test-%ld-%u", (long)getpid(), n);
    return (S3Spec){.endpoint = given(way->endpoint),
                    .bucket = given("BUCKET"),
                    .prefix = prefix,
                    .key = given(way->key),
                    .secret = given(way->secret),
                    .token = way->token ? given(way->token) : NULL,
                    .style = way->style,
                    .signature = way->signature,
                    .ca_file = way->tls ? given("CA") : NULL,
                    .verify_tls = way->tls,
                    .retry = &retries};
}

static Storage *open_s3(void *arg UNUSED)
{
    S3Spec spec = spec_new();
    Storage *s = NULL;
    expect_ok(storage_s3_new(&s, &spec, err));
    s = storage_retry_new(s, &retries);
    return way->signature == S3_SIGNATURE_V2 ? unblank_new(s) : s;
}

/* --- large objects --- */

static void goes_in_parts(void **state UNUSED)
{
    Storage *s AUTO(storage_freep) = open_s3(NULL);
    uint8_t *data AUTO(mem_freep) = content_new(PARTS_SIZE, 1), piece[1000];
    StorageStat stat;
    expect_ok(storage_put_bytes(s, "large", data, PARTS_SIZE, STORAGE_CREATE, err));
    expect_ok(storage_stat(s, "large", &stat, err));
    assert_int_equal(stat.size, PARTS_SIZE);
    /* Three parts: what tells a multipart upload from a single one. */
    if (way->signature == S3_SIGNATURE_V4)
        assert_non_null(strstr(stat.etag, "-3"));
    for (uint64_t off = 32 * MIB - 500; off < PARTS_SIZE; off += 32 * MIB) {
        StorageRead read = {.off = off, .len = sizeof(piece), .data = piece};
        expect_ok(storage_get(s, "large", &read, err));
        assert_int_equal(read.got, sizeof(piece));
        assert_int_equal(read.size, PARTS_SIZE);
        assert_memory_equal(piece, data + off, sizeof(piece));
    }
    /* From a file, whose parts are read where they begin. */
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, PARTS_SIZE, file), PARTS_SIZE);
    assert_int_equal(fflush(file), 0);
    const StorageSource src = {.fd = fileno(file), .size = PARTS_SIZE};
    expect_ok(storage_put(s, "large", &src, STORAGE_OVERWRITE, err));
    expect_content(s, "large", PARTS_SIZE, 1);
    fclose(file);
}

/* More names than one request takes. */
static void removes_many(void **state UNUSED)
{
    enum { N = 1100 };
    Storage *s AUTO(storage_freep) = open_s3(NULL);
    StrList names AUTO(str_list_release) = {0}, left AUTO(str_list_release) = {0};
    for (int i = 0; i < N; i++)
        vec_push(&names, mem_printf("d/<%d> & \"%d\"", i, i));
    for (int i = 0; i < N; i += 50)
        expect_ok(put_content(s, names.at[i], 3, 1, STORAGE_CREATE, err));
    expect_ok(put_content(s, "e", 3, 1, STORAGE_CREATE, err));
    expect_ok(storage_remove(s, (const char *const *)names.at, N, err));
    expect_ok(storage_list_names(s, "", false, &left, err));
    assert_int_equal(left.n, 1);
    assert_string_equal(left.at[0], "e");
}

/* --- what is refused, and what is said then --- */

typedef struct Refusal {
    const char *what;
    void (*spoil)(S3Spec *spec);
    ErrCode code;
    const char *message, *hint; /* parts of them */
} Refusal;

static void spoil_key(S3Spec *spec)
{
    spec->key = "NOSUCHKEY";
}

static void spoil_secret(S3Spec *spec)
{
    spec->secret = "wrong";
}

static void spoil_bucket(S3Spec *spec)
{
    spec->bucket = "no-such-bucket";
}

static void spoil_rights(S3Spec *spec)
{
    spec->key = given("OTHER_KEY");
    spec->secret = given("OTHER_SECRET");
}

static void spoil_port(S3Spec *spec)
{
    spec->endpoint = "http://127.0.0.1:1";
}

static void spoil_host(S3Spec *spec)
{
    spec->endpoint = "http://no-such-host.invalid";
}

static void other_ca(S3Spec *spec)
{
    spec->endpoint = given("TLS");
    spec->ca_file = given("OTHER_CA");
    spec->verify_tls = true;
}

static void system_ca(S3Spec *spec)
{
    other_ca(spec);
    spec->ca_file = NULL;
}

static void no_ca(S3Spec *spec)
{
    other_ca(spec);
    spec->ca_file = "/no/such/file";
}

/* The server's certificate does not name it so. */
static void other_name(S3Spec *spec)
{
    static char endpoint[64];
    const char *port = strrchr(given("TLS"), ':');
    snprintf(endpoint, sizeof(endpoint), "https://localhost%s", port ? port : "");
    spec->endpoint = endpoint;
    spec->ca_file = given("CA");
    spec->verify_tls = true;
}

static void tls_to_plain(S3Spec *spec)
{
    static char endpoint[64];
    snprintf(endpoint, sizeof(endpoint), "https://%s", strstr(given("PLAIN"), "//") + 2);
    spec->endpoint = endpoint;
    spec->verify_tls = true;
}

static void plain_to_tls(S3Spec *spec)
{
    static char endpoint[64];
    snprintf(endpoint, sizeof(endpoint), "http://%s", strstr(given("TLS"), "//") + 2);
    spec->endpoint = endpoint;
}

static void spoil_style(S3Spec *spec)
{
    /* Path style, to a host that already is the bucket's: the bucket is taken for a key. */
    static char endpoint[128];
    snprintf(endpoint, sizeof(endpoint), "http://x.%s", strstr(given("HOST"), "//") + 2);
    spec->endpoint = endpoint;
}

static const Refusal refusals[] = {
    {"unknown key", spoil_key, ERR_AUTH, "InvalidAccessKeyId", "check s3-key"},
    {"wrong secret", spoil_secret, ERR_AUTH, "SignatureDoesNotMatch", "s3-secret does not belong"},
    {"no bucket", spoil_bucket, ERR_CONFIG, "there is no bucket 'no-such-bucket'",
     "create the bucket"},
    {"another's bucket", spoil_rights, ERR_ACCESS, "AccessDenied", "allow the access key"},
    {"nothing listens", spoil_port, ERR_NETWORK, "no connection to http://127.0.0.1:1",
     "check s3-endpoint"},
    {"unknown host", spoil_host, ERR_NETWORK, "cannot be found", "check s3-endpoint"},
    {"another authority", other_ca, ERR_CONFIG, "is not to be trusted", "(s3-ca-file)"},
    {"an authority of one's own", system_ca, ERR_CONFIG, "is not to be trusted", "s3-ca-file"},
    {"no file of authorities", no_ca, ERR_CONFIG, "cannot be read", "s3-ca-file"},
    {"another name", other_name, ERR_CONFIG, "is not to be trusted", "name the server"},
    {"TLS to a plain port", tls_to_plain, ERR_CONFIG, "does not speak TLS", "write http://"},
    {"plain to a TLS port", plain_to_tls, ERR_NETWORK, "broke", "https://"},
    {"the wrong style", spoil_style, ERR_CONFIG, "there is no bucket", "s3-endpoint"},
};

static void check_error(const Refusal *r, const char *verb, ErrCode rc, const Err *err)
{
    if (rc != r->code || !strstr(err->message, r->message) || !strstr(err->hint, r->hint))
        fail_msg("%s: %s gave %d '%s' (hint: '%s')", r->what, verb, (int)rc, err->message,
                 err->hint);
}

static void names_its_reason(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        const Refusal *r = &refusals[i];
        S3Spec spec = spec_new();
        StrList names AUTO(str_list_release) = {0};
        Storage *s AUTO(storage_freep) = NULL;
        StorageStat stat;
        spec.retry = &no_retries;
        r->spoil(&spec);
        expect_ok(storage_s3_new(&s, &spec, err));
        Err e = {0};
        check_error(r, "list", storage_list_names(s, "", false, &names, &e), &e);
        e = (Err){0};
        check_error(r, "put", storage_put_bytes(s, "a", "x", 1, STORAGE_CREATE, &e), &e);
        e = (Err){0};
        check_error(r, "stat", storage_stat(s, "a", &stat, &e), &e);
    }
}

/* A body that is refused before it was sent whole: the reason must not drown in a broken pipe. */
static void names_it_for_large_bodies(void **state UNUSED)
{
    S3Spec spec = spec_new();
    Storage *s AUTO(storage_freep) = NULL;
    spec.secret = "wrong";
    expect_ok(storage_s3_new(&s, &spec, err));
    s = storage_retry_new(s, spec.retry);
    expect_err(ERR_AUTH, "SignatureDoesNotMatch",
               put_content(s, "a", 30 * MIB, 1, STORAGE_CREATE, err));
}

static void v2_is_honest(void **state UNUSED)
{
    static const struct {
        const char *endpoint, *ca, *token, *message;
        bool verify;
    } cases[] = {
        {"https://127.0.0.1:9", NULL, NULL, "nobody verifies the certificate", true},
        {"http://127.0.0.1:9", "/some/file", NULL, "s3-ca-file has no effect", false},
        {"http://127.0.0.1:9", NULL, "token", "knows no session tokens", false},
        {"s3.eu-west-1.amazonaws.com", NULL, NULL, "does not take s3-signature = v2", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        S3Spec spec = spec_new();
        Storage *s AUTO(storage_freep) = NULL;
        spec.endpoint = cases[i].endpoint;
        spec.ca_file = cases[i].ca;
        spec.token = cases[i].token;
        spec.verify_tls = cases[i].verify;
        expect_err(ERR_CONFIG, cases[i].message, storage_s3_new(&s, &spec, err));
    }
    Storage *s AUTO(storage_freep) = NULL;
    S3Spec spec = spec_new();
    expect_ok(storage_s3_new(&s, &spec, err));
    expect_err(ERR_USAGE, "cannot be the name", put_content(s, "a b", 1, 1, STORAGE_CREATE, err));
}

static ErrCode put_large(Err *err)
{
    S3Spec spec = spec_new();
    Storage *s AUTO(storage_freep) = NULL;
    Buf got AUTO(buf_release) = {0};
    TRY(storage_s3_new(&s, &spec, err));
    s = storage_retry_new(s, &retries);
    TRY(put_content(s, "large", PARTS_SIZE, 1, STORAGE_CREATE, err));
    TRY(storage_get_all(s, "large", PARTS_SIZE, &got, err));
    if (got.len != PARTS_SIZE || !content_is(got.data, got.len, 1))
        return err_set(err, ERR_DAMAGED, "another content came back");
    return ERR_OK;
}

static int main_large(void)
{
    Err err = {0};
    way = &ways[0];
    if (put_large(&err) == ERR_OK)
        return 0;
    fprintf(stderr, "%s: %s\nHINT: %s\n", err_code_name(err.code), err.message, err.hint);
    return 1;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    if (argc == 2 && strcmp(argv[1], "large") == 0)
        return main_large();
    for (size_t i = 0; argc == 2 && i < ARRAY_LEN(ways); i++)
        if (strcmp(argv[1], ways[i].name) == 0)
            way = &ways[i];
    if (!way) {
        fprintf(stderr, "usage: test_s3 plain|tls|host|sts|v2|large\n");
        return 2;
    }

    bool thorough = strcmp(way->name, "plain") == 0;
    /* The driver is another with v2; the other ways differ in how the same requests are sent. */
    bool pages = thorough || way->signature == S3_SIGNATURE_V2;
    const Conformance suite = {.name = way->name,
                               .open = open_s3,
                               .replaces_silently = true,
                               .names_nest = true,
                               .many = thorough ? 2500
                                       : pages  ? 1100
                                                : 60,
                               .rounds = thorough ? 5
                                         : pages  ? 2
                                                  : 1,
                               .slack = US_PER_SECOND};
    const struct CMUnitTest own[] = {cmocka_unit_test(goes_in_parts),
                                     cmocka_unit_test(removes_many)};
    const struct CMUnitTest errors[] = {cmocka_unit_test(names_its_reason),
                                        cmocka_unit_test(names_it_for_large_bodies)};
    const struct CMUnitTest v2[] = {cmocka_unit_test(v2_is_honest)};
    int failed = conformance_run(&suite);
    failed += cmocka_run_group_tests_name("large and many", own, NULL, NULL);
    if (thorough)
        failed += cmocka_run_group_tests_name("errors", errors, NULL, NULL);
    if (way->signature == S3_SIGNATURE_V2)
        failed += cmocka_run_group_tests_name("v2", v2, NULL, NULL);
    return failed;
}
