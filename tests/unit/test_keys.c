/* Keys: a new passphrase or data key leaves what was stored as it is, and a key that somebody
 * without the passphrase plants is not used. */

#include "tests/unit/unit.h"

#include "lib/repo/key_store.h"
#include "lib/repo/wal_object.h"
#include "lib/storage/drivers.h"

#define SYSTEM UINT64_C(7000000000000000001)
#define FILE_NAME "00000002.history"

static ErrCode give(void *arg, char **ret, Err *err)
{
    (void)err;
    *ret = mem_strdup(arg);
    return ERR_OK;
}

static char *first_passphrase, *second_passphrase;

static KeySecret secret_of(char *passphrase)
{
    return (KeySecret){.passphrase = give, .arg = passphrase};
}

/* Opens a copy of the repository, as another process would. */
static Repo *open_copy(Storage *mem, char *passphrase)
{
    Repo *repo = NULL;
    KeySecret secret = secret_of(passphrase);
    RepoSpec spec = {
        .name = "main", .cluster = "app", .cipher = CIPHER_AES_256_GCM, .secret = &secret};
    expect_ok(repo_open(storage_mem_clone(mem), &spec, &repo, err));
    return repo;
}

static void digest_in(const Repo *repo, const Buf *content, char out[WAL_DIGEST_LEN])
{
    WalPieces pieces;
    wal_pieces_make(&pieces, content->data, content->len, 1);
    wal_pieces_digest(&pieces, repo, out);
    wal_pieces_release(&pieces);
}

static void put_wal(Repo *repo, const Buf *content, WalFound *ret)
{
    WalStore store;
    WalPieces pieces;
    WalMeta meta = {.pushed = 1};
    ObjectWriter *w AUTO(object_writer_freep) = object_writer_new(64 * KIB);
    wal_store_init(&store, repo, SYSTEM, 16 * MIB);
    *ret = (WalFound){.file = FILE_NAME};
    snprintf(meta.file, sizeof(meta.file), "%s", FILE_NAME);
    wal_pieces_make(&pieces, content->data, content->len, 1);
    wal_pieces_digest(&pieces, repo, ret->digest);
    char *name AUTO(mem_freep) = wal_object_name(&store, ret->file, ret->digest);
    expect_ok(wal_object_build(&store, w, name, &meta, &pieces, NULL, err));
    expect_ok(wal_put(&store, w, name, STORAGE_CREATE, err));
    wal_pieces_release(&pieces);
}

/* A segment that is pushed again after a new key was made must not look like other content. */
static void wal_keeps_its_name(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = NULL;
    Buf content AUTO(buf_release) = {0}, got AUTO(buf_release) = {0};
    KeySecret first = secret_of(first_passphrase), second = secret_of(second_passphrase);
    RepoSpec spec = {
        .name = "main", .cluster = "app", .cipher = CIPHER_AES_256_GCM, .secret = &first};
    bool existed;
    char digest[WAL_DIGEST_LEN];
    WalFound found;
    WalStore store;
    expect_ok(repo_init(storage_mem_new(false), &spec, &repo, &existed, err));
    for (unsigned i = 0; i < 300000; i++)
        buf_printf(&content, "%u\n", i);
    put_wal(repo, &content, &found);

    expect_ok(repo_rekey(repo, &spec, &second, true, err));
    Repo *again AUTO(repo_closep) = open_copy(repo->storage, second_passphrase);
    assert_int_equal(again->keys.keys.n, 2);
    assert_memory_not_equal(again->key->id, again->wal_key->id, KEY_ID_LEN);
    digest_in(again, &content, digest);
    assert_string_equal(digest, found.digest);
    wal_store_init(&store, again, SYSTEM, 16 * MIB);
    expect_ok(wal_read(&store, &found, &got, NULL, NULL, err));
    assert_int_equal(got.len, content.len);
    assert_memory_equal(got.data, content.data, got.len);
    RepoSpec old = spec;
    Repo *none = NULL;
    expect_err(ERR_WRONG_KEY, "passphrase",
               repo_open(storage_mem_clone(repo->storage), &old, &none, err));
}

/* Who can only write to the repository can put a key in the clear there, and objects under it. */
static void planted_key(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = NULL;
    KeySecret secret = secret_of(first_passphrase);
    RepoSpec spec = {
        .name = "main", .cluster = "app", .cipher = CIPHER_AES_256_GCM, .secret = &secret};
    bool existed;
    expect_ok(repo_init(storage_mem_new(false), &spec, &repo, &existed, err));
    const TimeUs ages[] = {1, INT64_MAX}; /* as the oldest, and as the newest */
    for (size_t i = 0; i < ARRAY_LEN(ages); i++) {
        RepoKey *plain AUTO(repo_key_freep) =
            repo_key_new(repo->key->repo_id, CIPHER_NONE, ages[i]);
        repo_key_wrap_plain(plain);
        expect_ok(key_put(repo, plain, NULL, err));
    }
    Repo *again AUTO(repo_closep) = open_copy(repo->storage, first_passphrase);
    assert_int_equal(again->keys.keys.n, 1);
    assert_memory_equal(again->key->id, repo->key->id, KEY_ID_LEN);
    assert_memory_equal(again->wal_key->id, repo->key->id, KEY_ID_LEN);
}

/* Nor can they make an old key the newest. */
static void age_is_sealed(void **state)
{
    (void)state;
    KeySecret secret = secret_of(first_passphrase);
    KeyRing *ring AUTO(keyring_freep) = keyring_new(&secret);
    uint8_t repo_id[REPO_ID_LEN] = {1};
    RepoKey *key AUTO(repo_key_freep) = repo_key_new(repo_id, CIPHER_AES_256_GCM, 1000);
    RepoKey *got = NULL;
    WrapMethod m;
    expect_ok(keyring_method_new(ring, &m, err));
    expect_ok(repo_key_wrap(key, ring, &m, err));
    expect_ok(repo_key_unwrap(key->wrap, ring, &got, err));
    repo_key_free(got);
    json_object_set_new(key->wrap, "created", json_integer(2000));
    expect_err(ERR_WRONG_KEY, "does not fit", repo_key_unwrap(key->wrap, ring, &got, err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wal_keeps_its_name),
        cmocka_unit_test(planted_key),
        cmocka_unit_test(age_is_sealed),
    };
    first_passphrase = passphrase_generate();
    second_passphrase = passphrase_generate();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(first_passphrase);
    free(second_passphrase);
    return failed;
}
