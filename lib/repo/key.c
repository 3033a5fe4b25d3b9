#include "lib/repo/key.h"

#include <string.h>

#include "lib/common/hex.h"

static void derive(RepoKey *k)
{
    static const char id[] = "pgdr key id", page[] = "pgdr page hash", wal[] = "pgdr wal name";
    hkdf_sha256(k->secret, sizeof(k->secret), NULL, 0, id, sizeof(id) - 1, k->id, sizeof(k->id));
    hkdf_sha256(k->secret, sizeof(k->secret), NULL, 0, page, sizeof(page) - 1, k->page_secret,
                sizeof(k->page_secret));
    hkdf_sha256(k->secret, sizeof(k->secret), NULL, 0, wal, sizeof(wal) - 1, k->wal_name_key,
                sizeof(k->wal_name_key));
}

RepoKey *repo_key_new(const uint8_t repo_id[REPO_ID_LEN], uint8_t cipher, TimeUs now)
{
    RepoKey *k = NEW(RepoKey);
    random_bytes(k->secret, sizeof(k->secret));
    memcpy(k->repo_id, repo_id, REPO_ID_LEN);
    k->cipher = cipher;
    k->created = now;
    derive(k);
    return k;
}

void repo_key_free(RepoKey *k)
{
    if (!k)
        return;
    json_decref(k->wrap);
    secret_wipe(k, sizeof(*k));
    free(k);
}

void repo_key_wrap_plain(RepoKey *k)
{
    char repo[2 * REPO_ID_LEN + 1], id[2 * KEY_ID_LEN + 1], secret[2 * CIPHER_KEY_LEN + 1];
    json_decref(k->wrap);
    k->wrap =
        json_pack("{s:i,s:s,s:s,s:s,s:s,s:I,s:s}", "pgdr", FORMAT_VERSION, "repository",
                  hex_format(k->repo_id, REPO_ID_LEN, repo), "key",
                  hex_format(k->id, KEY_ID_LEN, id), "cipher", "none", "wrap", "none", "created",
                  (json_int_t)k->created, "secret", hex_format(k->secret, CIPHER_KEY_LEN, secret));
}

static ErrCode get_hex(const json_t *obj, const char *name, void *out, size_t len, Err *err)
{
    const char *text;
    TRY(json_get_text(obj, name, &text, err));
    if (!hex_parse(text, '\0', out, len))
        return err_set(err, ERR_DAMAGED, "\"%s\" is not %zu hexadecimal digits", name, 2 * len);
    return ERR_OK;
}

/* --- sealed wraps --- */

#define SEALED_LEN (CIPHER_NONCE_LEN + CIPHER_KEY_LEN + CIPHER_TAG_LEN)

/* Binds the sealed secret to the repository, the key's id and its age: who can write to the
 * repository shall not make an old key the newest one. */
static void wrap_aad(const RepoKey *k, Buf *out)
{
    buf_append_str(out, "pgdr key wrap");
    buf_append(out, k->repo_id, REPO_ID_LEN);
    buf_append(out, k->id, KEY_ID_LEN);
    buf_append_u8(out, k->cipher);
    buf_append_u64(out, (uint64_t)k->created);
}

ErrCode repo_key_wrap(RepoKey *k, KeyRing *ring, const WrapMethod *m, Err *err)
{
    uint8_t kek[CIPHER_KEY_LEN], sealed[SEALED_LEN];
    char repo[2 * REPO_ID_LEN + 1], id[2 * KEY_ID_LEN + 1];
    char salt[2 * WRAP_SALT_LEN + 1], text[2 * SEALED_LEN + 1];
    Buf aad AUTO(buf_release) = {0};
    TRY(keyring_derive(ring, m, false, kek, err));
    Cipher *c AUTO(cipher_freep) = cipher_new(kek);
    wrap_aad(k, &aad);
    random_bytes(sealed, CIPHER_NONCE_LEN);
    cipher_seal(c, sealed, aad.data, aad.len, k->secret, CIPHER_KEY_LEN, sealed + CIPHER_NONCE_LEN);
    keyring_remember(ring, m, kek);
    secret_wipe(kek, sizeof(kek));
    json_decref(k->wrap);
    k->wrap = json_pack("{s:i,s:s,s:s,s:s,s:s,s:I,s:s,s:i,s:s}", "pgdr", FORMAT_VERSION,
                        "repository", hex_format(k->repo_id, REPO_ID_LEN, repo), "key",
                        hex_format(k->id, KEY_ID_LEN, id), "cipher", "aes-256-gcm", "wrap",
                        m->generated ? "generated" : "scrypt", "created", (json_int_t)k->created,
                        "salt", hex_format(m->salt, WRAP_SALT_LEN, salt), "log_n", (int)m->log_n,
                        "sealed", hex_format(sealed, SEALED_LEN, text));
    return ERR_OK;
}

ErrCode wrap_method(const json_t *wrap, WrapMethod *ret, Err *err)
{
    const char *how;
    int64_t log_n;
    TRY(json_get_text(wrap, "wrap", &how, err));
    if (strcmp(how, "scrypt") != 0 && strcmp(how, "generated") != 0)
        return err_set(err, ERR_VERSION,
                       "the key is wrapped by '%s', which this pgdr does not know", how);
    TRY(json_get_number(wrap, "log_n", 0, 63, &log_n, err));
    *ret = (WrapMethod){.generated = how[0] == 'g', .log_n = (unsigned)log_n};
    return get_hex(wrap, "salt", ret->salt, WRAP_SALT_LEN, err);
}

static bool open_secret(RepoKey *k, const uint8_t kek[CIPHER_KEY_LEN],
                        const uint8_t sealed[SEALED_LEN])
{
    Buf aad AUTO(buf_release) = {0};
    Cipher *c AUTO(cipher_freep) = cipher_new(kek);
    wrap_aad(k, &aad);
    return cipher_open(c, sealed, aad.data, aad.len, sealed + CIPHER_NONCE_LEN, CIPHER_KEY_LEN,
                       k->secret);
}

static ErrCode unwrap_sealed(const json_t *wrap, RepoKey *k, KeyRing *ring, Err *err)
{
    uint8_t kek[CIPHER_KEY_LEN], sealed[SEALED_LEN];
    WrapMethod m;
    TRY(wrap_method(wrap, &m, err));
    TRY(get_hex(wrap, "sealed", sealed, SEALED_LEN, err));
    TRY(keyring_derive(ring, &m, false, kek, err));
    bool open = open_secret(k, kek, sealed);
    if (!open) { /* what was kept may be of another passphrase */
        TRY(keyring_derive(ring, &m, true, kek, err));
        open = open_secret(k, kek, sealed);
    }
    if (open)
        keyring_remember(ring, &m, kek);
    secret_wipe(kek, sizeof(kek));
    if (open)
        return ERR_OK;
    err_set(err, ERR_WRONG_KEY, "the passphrase does not fit the repository's key");
    return err_hint(err, "check \"passphrase-file\" or \"passphrase-command\"; without the right "
                         "passphrase nothing in the repository can be read");
}

ErrCode repo_key_unwrap(const json_t *wrap, KeyRing *ring, RepoKey **ret, Err *err)
{
    RepoKey *k AUTO(repo_key_freep) = NEW(RepoKey);
    const char *cipher;
    int64_t version, created;
    TRY(json_get_number(wrap, "pgdr", 1, INT32_MAX, &version, err));
    if (version > FORMAT_VERSION)
        return err_set(err, ERR_VERSION, "the key has format version %lld, this pgdr reads %d",
                       (long long)version, FORMAT_VERSION);
    TRY(get_hex(wrap, "repository", k->repo_id, REPO_ID_LEN, err));
    TRY(get_hex(wrap, "key", k->id, KEY_ID_LEN, err));
    TRY(json_get_number(wrap, "created", 0, INT64_MAX, &created, err));
    TRY(json_get_text(wrap, "cipher", &cipher, err));
    k->created = created;
    if (strcmp(cipher, "none") == 0) {
        TRY(get_hex(wrap, "secret", k->secret, CIPHER_KEY_LEN, err));
    } else if (strcmp(cipher, "aes-256-gcm") == 0) {
        k->cipher = CIPHER_AES_256_GCM;
        TRY(unwrap_sealed(wrap, k, ring, err));
    } else {
        return err_set(err, ERR_VERSION,
                       "the key is for cipher '%s', which this pgdr does not know", cipher);
    }
    uint8_t id[KEY_ID_LEN];
    memcpy(id, k->id, KEY_ID_LEN);
    derive(k);
    if (memcmp(id, k->id, KEY_ID_LEN) != 0)
        return err_set(err, ERR_DAMAGED, "the key's id does not fit its secret");
    k->wrap = json_deep_copy(wrap);
    *ret = steal_ptr(&k);
    return ERR_OK;
}

Cipher *repo_key_object_cipher(const RepoKey *k, const uint8_t salt[SALT_LEN], const char *name)
{
    Buf info AUTO(buf_release) = {0};
    buf_append_str(&info, "pgdr object");
    buf_append(&info, k->repo_id, REPO_ID_LEN);
    buf_append_str(&info, name);
    uint8_t key[CIPHER_KEY_LEN];
    hkdf_sha256(k->secret, sizeof(k->secret), salt, SALT_LEN, info.data, info.len, key,
                sizeof(key));
    Cipher *c = cipher_new(key);
    secret_wipe(key, sizeof(key));
    return c;
}
