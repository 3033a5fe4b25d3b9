/* Keys (docs/repository-format.md, 5): what follows from a secret and how it is wrapped, by hand;
 * copies that are damaged, missing or of another passphrase; the keyring and what it keeps. */

#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/common/bytes.h"
#include "lib/common/file.h"
#include "lib/common/hex.h"
#include "lib/repo/key_store.h"
#include "tests/unit/mem_backup.h"
#include "tests/unit/mem_repo.h"

#define BACKUP "20260101T000000Z-00000000000000aa"
#define GENERATED "pgdr-key-000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static const uint8_t repo_id[REPO_ID_LEN] = {1, 2, 3};

/* A source of passphrases that counts how often it is asked. */
typedef struct Source {
    const char *text;
    unsigned asked;
} Source;

static ErrCode give(void *arg, char **ret, Err *err)
{
    Source *s = arg;
    s->asked++;
    if (!s->text)
        return err_set(err, ERR_CONFIG, "no passphrase today");
    *ret = mem_strdup(s->text);
    return ERR_OK;
}

static KeySecret secret_of(Source *s)
{
    return (KeySecret){.passphrase = give, .arg = s};
}

/* --- by hand --- */

static void what_follows_from_a_secret(void **state)
{
    (void)state;
    static const struct {
        const char *info;
        size_t off, len;
    } derived[] = {{"pgdr key id", offsetof(RepoKey, id), 8},
                   {"pgdr page hash", offsetof(RepoKey, page_secret), 192},
                   {"pgdr wal name", offsetof(RepoKey, wal_name_key), 32}};
    RepoKey *key AUTO(repo_key_freep) = repo_key_new(repo_id, CIPHER_NONE, 5);
    RepoKey *other AUTO(repo_key_freep) = repo_key_new(repo_id, CIPHER_NONE, 5);
    assert_memory_not_equal(key->secret, other->secret, 32);
    for (size_t i = 0; i < ARRAY_LEN(derived); i++) {
        uint8_t want[192];
        hkdf_sha256(key->secret, 32, NULL, 0, derived[i].info, strlen(derived[i].info), want,
                    derived[i].len);
        assert_memory_equal((uint8_t *)key + derived[i].off, want, derived[i].len);
    }
}

static const char *text_of(const json_t *wrap, const char *name)
{
    return json_string_value(json_object_get(wrap, name));
}

static void bytes_of(const json_t *wrap, const char *name, uint8_t *out, size_t len)
{
    assert_true(hex_parse(text_of(wrap, name), '\0', out, len));
}

static void a_plain_wrap(void **state)
{
    (void)state;
    RepoKey *key AUTO(repo_key_freep) = repo_key_new(repo_id, CIPHER_NONE, 5), *back = NULL;
    char id[17], secret[65];
    Buf want AUTO(buf_release) = {0};
    repo_key_wrap_plain(key);
    buf_printf(&want,
               "{\"pgdr\":1,\"repository\":\"01020300000000000000000000000000\",\"key\":\"%s\","
               "\"cipher\":\"none\",\"wrap\":\"none\",\"created\":5,\"secret\":\"%s\"}",
               hex_format(key->id, 8, id), hex_format(key->secret, 32, secret));
    char *text AUTO(mem_freep) = json_dumps(key->wrap, JSON_COMPACT);
    assert_string_equal(text, buf_str(&want));
    expect_ok(repo_key_unwrap(key->wrap, NULL, &back, err));
    assert_memory_equal(back->secret, key->secret, 32);
    repo_key_free(back);
}

/* Opens what is sealed in a wrap with the wrapping key. */
static void open_by_hand(const RepoKey *key, const uint8_t kek[32])
{
    uint8_t sealed[60], secret[32];
    Buf aad AUTO(buf_release) = {0};
    Cipher *c AUTO(cipher_freep) = cipher_new(kek);
    bytes_of(key->wrap, "sealed", sealed, sizeof(sealed));
    buf_append_str(&aad, "pgdr key wrap");
    buf_append(&aad, key->repo_id, 16);
    buf_append(&aad, key->id, 8);
    buf_append_u8(&aad, 1);
    buf_append_u64(&aad, (uint64_t)key->created);
    assert_true(cipher_open(c, sealed, aad.data, aad.len, sealed + 12, 32, secret));
    assert_memory_equal(secret, key->secret, 32);
}

static void sealed_wraps(void **state)
{
    (void)state;
    Source generated = {.text = GENERATED}, chosen = {.text = "correct horse"};
    for (int i = 0; i < 2; i++) {
        KeySecret secret = secret_of(i ? &chosen : &generated);
        KeyRing *ring AUTO(keyring_freep) = keyring_new(&secret);
        RepoKey *key AUTO(repo_key_freep) = repo_key_new(repo_id, CIPHER_AES_256_GCM, 1234567);
        WrapMethod m;
        uint8_t kek[32], salt[16], raw[32];
        expect_ok(keyring_method_new(ring, &m, err));
        assert_int_equal(m.generated, !i);
        assert_int_equal(m.log_n, i ? 17 : 0);
        m.log_n = i ? 10 : 0; /* the least that the format allows */
        expect_ok(repo_key_wrap(key, ring, &m, err));
        assert_string_equal(text_of(key->wrap, "cipher"), "aes-256-gcm");
        assert_string_equal(text_of(key->wrap, "wrap"), i ? "scrypt" : "generated");
        assert_int_equal(json_integer_value(json_object_get(key->wrap, "log_n")), m.log_n);
        assert_int_equal(json_integer_value(json_object_get(key->wrap, "created")), 1234567);
        bytes_of(key->wrap, "salt", salt, sizeof(salt));
        for (uint8_t k = 0; k < 32; k++)
            raw[k] = k;
        if (i)
            expect_ok(scrypt_derive("correct horse", salt, 16, 10, kek, err));
        else
            hkdf_sha256(raw, 32, salt, 16, "pgdr wrapping key", 17, kek, 32);
        open_by_hand(key, kek);
        /* Under one wrapping key a nonce is never used twice. */
        char *was AUTO(mem_freep) = mem_strdup(text_of(key->wrap, "sealed"));
        expect_ok(repo_key_wrap(key, ring, &m, err));
        assert_memory_not_equal(was, text_of(key->wrap, "sealed"), 24);
    }
}

static const struct {
    const char *member;
    const char *value; /* JSON; NULL: it is left out */
    ErrCode code;
    const char *says;
} wraps[] = {
    {"pgdr", "2", ERR_VERSION, "version 2"},
    {"pgdr", "0", ERR_DAMAGED, "\"pgdr\""},
    {"wrap", "\"argon\"", ERR_VERSION, "wrapped by 'argon'"},
    {"wrap", "\"none\"", ERR_VERSION, "wrapped by 'none'"}, /* sealed, and yet in the clear */
    {"cipher", "\"rot13\"", ERR_VERSION, "cipher 'rot13'"},
    {"cipher", "\"none\"", ERR_DAMAGED, "\"secret\""},
    {"repository", "\"00\"", ERR_DAMAGED, "\"repository\" is not 32 hexadecimal digits"},
    {"repository", "\"01020300000000000000000000000001\"", ERR_WRONG_KEY, "does not fit"},
    {"key", "\"0000000000000000\"", ERR_WRONG_KEY, "does not fit"},
    {"key", "7", ERR_DAMAGED, "\"key\""},
    {"created", "6", ERR_WRONG_KEY, "does not fit"},
    {"created", "-1", ERR_DAMAGED, "\"created\""},
    {"salt", "\"00000000000000000000000000000000\"", ERR_WRONG_KEY, "does not fit"},
    {"salt", NULL, ERR_DAMAGED, "\"salt\""},
    {"log_n", "64", ERR_DAMAGED, "\"log_n\""},
    {"sealed", "\"00\"", ERR_DAMAGED, "\"sealed\" is not 120 hexadecimal digits"},
    {"sealed", NULL, ERR_DAMAGED, "\"sealed\""},
    {"of a later version", "[]", ERR_OK, ""},
};

static void forged_wraps(void **state)
{
    (void)state;
    Source generated = {.text = GENERATED};
    KeySecret secret = secret_of(&generated);
    KeyRing *ring AUTO(keyring_freep) = keyring_new(&secret);
    RepoKey *key AUTO(repo_key_freep) = repo_key_new(repo_id, CIPHER_AES_256_GCM, 5);
    WrapMethod m;
    expect_ok(keyring_method_new(ring, &m, err));
    expect_ok(repo_key_wrap(key, ring, &m, err));
    for (size_t i = 0; i < ARRAY_LEN(wraps); i++) {
        json_t *wrap AUTO(json_decrefp) = json_deep_copy(key->wrap);
        RepoKey *back AUTO(repo_key_freep) = NULL;
        Err why = {0};
        if (wraps[i].value)
            json_object_set_new(wrap, wraps[i].member,
                                json_loads(wraps[i].value, JSON_DECODE_ANY, NULL));
        else
            json_object_del(wrap, wraps[i].member);
        ErrCode rc = repo_key_unwrap(wrap, ring, &back, &why);
        if (rc != wraps[i].code || !strstr(why.message, wraps[i].says))
            fail_msg("%s = %s: %s '%s'", wraps[i].member, wraps[i].value, err_code_name(rc),
                     why.message);
    }
    RepoKey *plain AUTO(repo_key_freep) = repo_key_new(repo_id, CIPHER_NONE, 5), *back = NULL;
    repo_key_wrap_plain(plain);
    json_object_set_new(plain->wrap, "key", json_string("0000000000000000"));
    expect_err(ERR_DAMAGED, "id does not fit its secret",
               repo_key_unwrap(plain->wrap, NULL, &back, err));
}

/* scrypt with a cost that eats all memory, or none, is not even tried. */
static void costs(void **state)
{
    (void)state;
    uint8_t out[32];
    const unsigned wrong[] = {0, 9, 23, 63};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        Err why = {0};
        assert_int_not_equal(scrypt_derive("x", repo_id, 16, wrong[i], out, &why), ERR_OK);
    }
    expect_ok(scrypt_derive("x", repo_id, 16, 10, out, err));
}

/* --- key objects --- */

static void list_keys(Repo *repo, StrList *ret)
{
    str_list_release(ret);
    expect_ok(storage_list_names(repo->storage, "keys/", false, ret, err));
}

static void three_copies(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    StrList names AUTO(str_list_release) = {0};
    char id[17];
    Buf want AUTO(buf_release) = {0};
    char *line AUTO(mem_freep) = json_dumps(repo->key->wrap, JSON_COMPACT);
    buf_printf(&want, "%s\n", line);
    list_keys(repo, &names);
    assert_int_equal(names.n, 3);
    for (size_t i = 0; i < 3; i++) {
        Buf o AUTO(buf_release) = {0};
        uint8_t raw[1000];
        Decompressor *d AUTO(decompressor_freep) = decompressor_new();
        const char *name = names.at[i];
        assert_memory_equal(name + 5, hex_format(repo->key->id, 8, id), 16);
        assert_true(name[21] == '/' && hex_is_lower(name + 22, 32));
        assert_true(name[54] == '.' && name[55] == (char)('1' + i) && !name[56]);
        expect_ok(storage_get_all(repo->storage, name, MIB, &o, err));
        assert_memory_equal(o.data + 8, "PGDRKEYS", 8);
        assert_int_equal(o.data[22], 0); /* never sealed */
        size_t unit = (size_t)get_u64(o.data + o.len - 132 + 64) - 92;
        expect_ok(decompressor_run(d, o.data + 92, unit, raw, want.len, err));
        assert_memory_equal(raw, want.data, want.len);
    }
}

/* Damages, or (NULL) removes, the copies of which a bit is set. */
static void harm_copies(Repo *repo, unsigned copies, const char *bytes)
{
    StrList names AUTO(str_list_release) = {0};
    list_keys(repo, &names);
    for (size_t i = 0; i < names.n; i++) {
        const char *name = names.at[i];
        if (!(copies & 1u << (name[strlen(name) - 1] - '1')))
            continue;
        if (bytes)
            expect_ok(storage_put_bytes(repo->storage, name, bytes, strlen(bytes),
                                        STORAGE_OVERWRITE, err));
        else
            expect_ok(storage_remove(repo->storage, &name, 1, err));
    }
}

static ErrCode reopen(Repo *repo, Err *err)
{
    Repo *again AUTO(repo_closep) = NULL;
    RepoSpec spec = {
        .name = "main", .cluster = "app", .cipher = repo->key->cipher, .secret = &mem_secret};
    TRY(repo_open(storage_mem_clone(repo->storage), &spec, &again, err));
    assert_memory_equal(again->key->secret, repo->key->secret, 32);
    return ERR_OK;
}

static void count_found(void *arg, const char *object, const Err *why)
{
    (void)object;
    (void)why;
    ++*(unsigned *)arg;
}

static unsigned found_wrong(Repo *repo)
{
    unsigned n = 0;
    expect_ok(keys_check(repo, count_found, &n, err));
    return n;
}

static void one_good_copy_is_enough(void **state)
{
    (void)state;
    for (unsigned copies = 0; copies < 8; copies++) {
        for (int gone = 0; gone < 2; gone++) {
            Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
            KeysMended mended;
            unsigned wrong = (copies & 1) + (copies >> 1 & 1) + (copies >> 2);
            harm_copies(repo, copies, gone ? NULL : "no key");
            if (copies == 7) {
                expect_err(gone ? ERR_NOT_FOUND : ERR_DAMAGED, gone ? "no repository" : "keys/",
                           reopen(repo, err));
                continue;
            }
            expect_ok(reopen(repo, err));
            assert_int_equal(found_wrong(repo), wrong);
            expect_ok(keys_mend(repo, &mem_secret, &mended, err));
            assert_int_equal(mended.copies, wrong);
            assert_int_equal(found_wrong(repo), 0);
            harm_copies(repo, ~copies & 7, NULL); /* what was mended stands alone */
            if (copies)
                expect_ok(reopen(repo, err));
        }
    }
}

/* A copy that says something else is not what the key was opened from: it is not spread. */
static void a_copy_that_differs(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    Repo *other AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    StrList names AUTO(str_list_release) = {0}, theirs AUTO(str_list_release) = {0};
    Buf o AUTO(buf_release) = {0};
    KeysMended mended;
    list_keys(repo, &names);
    list_keys(other, &theirs);
    expect_ok(storage_get_all(other->storage, theirs.at[0], MIB, &o, err));
    expect_ok(storage_put_bytes(repo->storage, names.at[1], o.data, o.len, STORAGE_OVERWRITE, err));
    assert_int_equal(found_wrong(repo), 1);
    expect_ok(keys_mend(repo, NULL, &mended, err));
    assert_int_equal(mended.copies, 1);
    assert_int_equal(found_wrong(repo), 0);
}

/* The text of a key in an object of another kind is no key. */
static void a_key_of_another_kind(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    StrList names AUTO(str_list_release) = {0};
    Buf o AUTO(buf_release) = {0};
    list_keys(repo, &names);
    expect_ok(storage_get_all(repo->storage, names.at[1], MIB, &o, err));
    memcpy(o.data + 8, "PGDRMARK", 8);
    memcpy(o.data + o.len - 132 + 8, "PGDRMARK", 8);
    mem_mend(o.data, o.len);
    expect_ok(storage_put_bytes(repo->storage, names.at[1], o.data, o.len, STORAGE_OVERWRITE, err));
    assert_int_equal(found_wrong(repo), 1);
}

/* More than 256 KiB is no key; what is left of it is a copy that cannot be used. */
static void a_key_that_is_too_large(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    char *large AUTO(mem_freep) = mem_zero(256 * KIB + 2);
    memset(large, 'x', 256 * KIB + 1);
    harm_copies(repo, 3, large);
    expect_ok(reopen(repo, err));
    harm_copies(repo, 4, large);
    expect_err(ERR_LIMIT, "keys/", reopen(repo, err));
}

/* The folder is lost: the copy beside a backup serves, and 'pgdr init' puts it back. */
static void copies_beside_backups(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    RepoSpec spec = {
        .name = "main", .cluster = "app", .cipher = CIPHER_AES_256_GCM, .secret = &mem_secret};
    Repo *again AUTO(repo_closep) = NULL;
    StrList names AUTO(str_list_release) = {0};
    KeysMended mended;
    Err why = {0};
    bool existed, complete;
    mem_backup_put(repo, BACKUP, NULL);
    expect_ok(key_check_beside(repo, BACKUP, &complete, err));
    assert_true(complete);
    harm_copies(repo, 7, NULL);
    assert_int_equal(found_wrong(repo), 1);
    expect_ok(reopen(repo, err));
    expect_ok(repo_init(storage_mem_clone(repo->storage), &spec, &again, &existed, err));
    assert_true(existed);
    expect_ok(keys_mend(again, &mem_secret, &mended, err));
    assert_int_equal(mended.folders, 1);
    list_keys(again, &names);
    assert_int_equal(names.n, 3);
    assert_int_equal(found_wrong(again), 0);
    mem_put(repo, "backups/" BACKUP "/key", "no key", 6);
    assert_int_equal(key_check_beside(repo, BACKUP, &complete, &why), ERR_DAMAGED);
    assert_false(complete);
    expect_err(ERR_DAMAGED, "app/backups/" BACKUP "/key", reopen(repo, err));
}

/* --- several keys --- */

static Repo *repo_with_keys(const TimeUs *created, size_t n)
{
    Repo *repo = mem_repo_new(CIPHER_NONE);
    for (size_t i = 0; i < n; i++) {
        RepoKey *key AUTO(repo_key_freep) =
            repo_key_new(repo->key->repo_id, CIPHER_NONE, created[i]);
        repo_key_wrap_plain(key);
        expect_ok(key_put(repo, key, NULL, err));
    }
    return repo;
}

/* What is written goes under the youngest, what WAL is called follows from the oldest. */
static void expect_youngest_and_oldest(void)
{
    const TimeUs created[] = {500, 100, INT64_MAX, 300, INT64_MAX, 100};
    Repo *repo AUTO(repo_closep) = repo_with_keys(created, ARRAY_LEN(created));
    Repo *again AUTO(repo_closep) = mem_repo_again(repo);
    assert_int_equal(again->keys.keys.n, 7);
    assert_true(again->key->created == INT64_MAX);
    assert_int_equal(again->wal_key->created, 100);
    for (size_t i = 0; i < again->keys.keys.n; i++) { /* of the same age: by their ids */
        const RepoKey *k = again->keys.keys.at[i];
        if (k->created == INT64_MAX)
            assert_true(memcmp(k->id, again->key->id, 8) <= 0);
        if (k->created == 100)
            assert_true(memcmp(k->id, again->wal_key->id, 8) >= 0);
    }
}

/* Ids are random, and with them the order in which keys are found. */
static void the_youngest_and_the_oldest(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++)
        expect_youngest_and_oldest();
}

/* Keys that others made while this process runs are found; it goes on under its own. */
static void keys_of_others(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    const RepoKey *mine = repo->key;
    bool more;
    expect_ok(keys_read_again(repo, NULL, &more, err));
    assert_false(more);
    RepoKey *key AUTO(repo_key_freep) = repo_key_new(repo->key->repo_id, CIPHER_NONE, INT64_MAX);
    repo_key_wrap_plain(key);
    expect_ok(key_put(repo, key, NULL, err));
    expect_ok(keys_read_again(repo, NULL, &more, err));
    assert_true(more);
    assert_int_equal(repo->keys.keys.n, 2);
    assert_ptr_equal(repo->key, mine);
    assert_non_null(repo_keys_find(&repo->keys, key->id));
}

/* A change of the passphrase that stopped half way: one of them must not pass for all. */
static void two_passphrases(void **state)
{
    (void)state;
    Source first = {.text = GENERATED}, second;
    char *text AUTO(mem_freep) = passphrase_generate();
    assert_int_equal(strlen(text), 9 + 64);
    assert_memory_equal(text, "pgdr-key-", 9);
    assert_true(hex_is_lower(text + 9, 64));
    second = (Source){.text = text};
    KeySecret old = secret_of(&first), new = secret_of(&second);
    RepoSpec spec = {
        .name = "main", .cluster = "app", .cipher = CIPHER_AES_256_GCM, .secret = &old};
    Repo *repo AUTO(repo_closep) = NULL, *again AUTO(repo_closep) = NULL;
    KeyRing *ring AUTO(keyring_freep) = keyring_new(&new);
    WrapMethod m;
    bool existed;
    expect_ok(repo_init(storage_mem_new(false), &spec, &repo, &existed, err));
    RepoKey *young AUTO(repo_key_freep) =
        repo_key_new(repo->key->repo_id, CIPHER_AES_256_GCM, repo->key->created + 1);
    expect_ok(keyring_method_new(ring, &m, err));
    expect_ok(repo_key_wrap(young, ring, &m, err));
    expect_ok(key_put(repo, young, NULL, err));
    /* The old one opens the older key, and the younger one may be on its way. */
    expect_ok(repo_open(storage_mem_clone(repo->storage), &spec, &again, err));
    assert_int_equal(again->keys.keys.n, 1);
    spec.secret = &new;
    Repo *none = NULL;
    expect_err(ERR_WRONG_KEY, "a change of the passphrase was interrupted",
               repo_open(storage_mem_clone(repo->storage), &spec, &none, err));
}

/* --- a place for a repository --- */

static void places(void **state)
{
    (void)state;
    RepoSpec spec = {.name = "main", .cluster = "app", .cipher = CIPHER_NONE};
    Repo *repo = NULL;
    bool existed;
    expect_err(ERR_NOT_FOUND, "there is no repository",
               repo_open(storage_mem_new(false), &spec, &repo, err));
    expect_err(ERR_NOT_FOUND, "there is no repository",
               repo_open_without_key(storage_mem_new(false), &spec, &repo, err));
    Storage *used = storage_mem_new(false);
    expect_ok(storage_put_bytes(used, "some/thing", "", 0, STORAGE_CREATE, err));
    expect_err(ERR_REFUSED, "is not empty (it holds 'some/')",
               repo_init(used, &spec, &repo, &existed, err));
    static const char *const bad[] = {"",
                                      ".x",
                                      "a/b",
                                      "keys",
                                      "pgdr.json",
                                      "a b",
                                      "\xc3\xa9",
                                      "01234567890123456789012345678901234567890123456789"
                                      "012345678901234"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        spec.cluster = bad[i];
        expect_err(ERR_USAGE, "cluster", repo_open(storage_mem_new(false), &spec, &repo, err));
    }
}

static void another_encryption_than_configured(void **state)
{
    (void)state;
    Repo *plain AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    Repo *sealed AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    RepoSpec spec = {
        .name = "main", .cluster = "app", .cipher = CIPHER_AES_256_GCM, .secret = &mem_secret};
    Repo *repo = NULL;
    bool existed;
    expect_err(ERR_CONFIG, "has encryption = none, the configuration says aes-256-gcm",
               repo_open(storage_mem_clone(plain->storage), &spec, &repo, err));
    expect_err(ERR_CONFIG, "has encryption = none",
               repo_init(storage_mem_clone(plain->storage), &spec, &repo, &existed, err));
    spec.cipher = CIPHER_NONE;
    expect_err(ERR_CONFIG, "has encryption = aes-256-gcm",
               repo_open(storage_mem_clone(sealed->storage), &spec, &repo, err));
    spec.secret = NULL;
    expect_err(ERR_CONFIG, "no passphrase is configured",
               repo_open(storage_mem_clone(sealed->storage), &spec, &repo, err));
}

/* --- the keyring --- */

static void passphrases(void **state)
{
    (void)state;
    const struct {
        const char *text;
        bool generated; /* what the repository was made with */
        ErrCode code;
        const char *says;
    } cases[] = {
        {GENERATED, true, ERR_OK, ""},
        {"pgdr-key-00", true, ERR_WRONG_KEY, "a generated one"},
        {"correct horse", true, ERR_WRONG_KEY, "a generated one"},
        {"correct horse", false, ERR_OK, ""},
        {GENERATED, false, ERR_OK, ""}, /* somebody may choose such a one, and have it stretched */
        {"", false, ERR_CONFIG, "the passphrase is empty"},
        {NULL, false, ERR_CONFIG, "no passphrase today"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Source source = {.text = cases[i].text};
        KeySecret secret = secret_of(&source);
        KeyRing *ring AUTO(keyring_freep) = keyring_new(&secret);
        WrapMethod m = {.generated = cases[i].generated, .log_n = cases[i].generated ? 0 : 10};
        uint8_t kek[32];
        Err why = {0};
        ErrCode rc = keyring_derive(ring, &m, false, kek, &why);
        if (rc != cases[i].code || !strstr(why.message, cases[i].says))
            fail_msg("case %zu: %s '%s'", i, err_code_name(rc), why.message);
        if (rc == ERR_OK) /* asked for once */
            expect_ok(keyring_derive(ring, &m, true, kek, err));
        assert_int_equal(source.asked, 1);
    }
}

typedef struct Cache {
    char dir[64];
    Source source;
    KeySecret secret;
    WrapMethod method;
} Cache;

static void cache_init(Cache *c)
{
    *c = (Cache){.source = {.text = "correct horse"}, .method = {.log_n = 10, .salt = {7}}};
    snprintf(c->dir, sizeof(c->dir), "/tmp/pgdr-unit-XXXXXX");
    assert_non_null(mkdtemp(c->dir));
    c->secret = secret_of(&c->source);
    c->secret.cache_dir = c->dir;
}

static void cache_release(Cache *c)
{
    Err why = {0};
    assert_int_equal(dir_remove_tree(c->dir, false, &why), ERR_OK);
}

/* What a new process derives; whether the passphrase was asked for. */
static bool asks(Cache *c, uint8_t kek[32], bool remember)
{
    KeyRing *ring AUTO(keyring_freep) = keyring_new(&c->secret);
    unsigned before = c->source.asked;
    expect_ok(keyring_derive(ring, &c->method, false, kek, err));
    if (remember)
        keyring_remember(ring, &c->method, kek);
    return c->source.asked != before;
}

static char *cached_file(const Cache *c)
{
    StrList names AUTO(str_list_release) = {0};
    expect_ok(dir_list(c->dir, &names, err));
    assert_int_equal(names.n, 1);
    return path_join(c->dir, names.at[0]);
}

/* A passphrase that comes from a command is asked for once an hour at most. */
static void what_is_kept(void **state)
{
    (void)state;
    Cache c AUTO(cache_release);
    uint8_t kek[32], want[32], check[32], got[64];
    struct stat st;
    size_t n;
    int fd AUTO(fd_closep) = -1;
    cache_init(&c);
    c.secret.costly = true;
    assert_true(asks(&c, want, true));
    char *path AUTO(mem_freep) = cached_file(&c);
    expect_ok(file_open(path, O_RDWR, 0, &fd, err));
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    expect_ok(file_read_at(fd, got, sizeof(got), 0, &n, path, err));
    assert_int_equal(st.st_size, 64);
    assert_memory_equal(got, want, 32);
    hmac_sha256(want, 32, "correct horse", 13, check);
    assert_memory_equal(got + 32, check, 32);
    assert_false(asks(&c, kek, false));
    assert_memory_equal(kek, want, 32);
    /* After an hour it is compared again; so is what is said to come from the future. */
    for (int sign = -1; sign <= 1; sign += 2) {
        struct timespec times[2] = {{.tv_sec = time_now() / US_PER_SECOND + sign * 3601}, {0}};
        times[1] = times[0];
        assert_int_equal(futimens(fd, times), 0);
        assert_true(asks(&c, kek, false));
        assert_memory_equal(kek, want, 32);
    }
}

/* One that stands in a file is compared each time: a wrong one shall not go unnoticed. */
static void what_is_kept_is_compared(void **state)
{
    (void)state;
    Cache c AUTO(cache_release);
    uint8_t kek[32], want[32], other[32];
    cache_init(&c);
    asks(&c, want, true);
    assert_true(asks(&c, kek, false));
    assert_memory_equal(kek, want, 32);
    c.source.text = "wrong horse";
    asks(&c, other, false);
    assert_memory_not_equal(other, want, 32);
    expect_ok(scrypt_derive("wrong horse", c.method.salt, 16, 10, kek, err));
    assert_memory_equal(other, kek, 32);
}

/* A directory that others can enter, a link, a file that is cut: as if nothing were kept. */
static void what_is_not_trusted(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        Cache c AUTO(cache_release);
        uint8_t kek[32], want[32];
        cache_init(&c);
        c.secret.costly = true;
        asks(&c, want, true);
        char *path AUTO(mem_freep) = cached_file(&c), *moved AUTO(mem_freep) = NULL;
        moved = mem_printf("%s.moved", c.dir);
        if (i == 0)
            assert_int_equal(chmod(c.dir, 0750), 0);
        if (i == 1)
            assert_int_equal(truncate(path, 63), 0);
        if (i == 2) {
            assert_int_equal(rename(c.dir, moved), 0);
            assert_int_equal(symlink(moved, c.dir), 0);
        }
        if (i == 3)
            c.method.salt[0]++;
        if (i == 4)
            c.method.log_n++;
        assert_true(asks(&c, kek, false));
        if (i == 2) {
            assert_int_equal(unlink(c.dir), 0);
            assert_int_equal(rename(moved, c.dir), 0);
        }
        if (i < 3)
            assert_memory_equal(kek, want, 32);
    }
}

/* What needs no stretching is not written down. */
static void what_is_not_kept(void **state)
{
    (void)state;
    Cache c AUTO(cache_release);
    StrList names AUTO(str_list_release) = {0};
    uint8_t kek[32];
    cache_init(&c);
    c.source.text = GENERATED;
    c.method = (WrapMethod){.generated = true};
    asks(&c, kek, true);
    expect_ok(dir_list(c.dir, &names, err));
    assert_int_equal(names.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_follows_from_a_secret),
        cmocka_unit_test(a_plain_wrap),
        cmocka_unit_test(sealed_wraps),
        cmocka_unit_test(forged_wraps),
        cmocka_unit_test(costs),
        cmocka_unit_test(three_copies),
        cmocka_unit_test(one_good_copy_is_enough),
        cmocka_unit_test(a_copy_that_differs),
        cmocka_unit_test(a_key_of_another_kind),
        cmocka_unit_test(a_key_that_is_too_large),
        cmocka_unit_test(copies_beside_backups),
        cmocka_unit_test(the_youngest_and_the_oldest),
        cmocka_unit_test(keys_of_others),
        cmocka_unit_test(two_passphrases),
        cmocka_unit_test(places),
        cmocka_unit_test(another_encryption_than_configured),
        cmocka_unit_test(passphrases),
        cmocka_unit_test(what_is_kept),
        cmocka_unit_test(what_is_kept_is_compared),
        cmocka_unit_test(what_is_not_trusted),
        cmocka_unit_test(what_is_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
