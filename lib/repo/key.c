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

ErrCode repo_key_unwrap(const json_t *wrap, RepoKey **ret, Err *err)
{
    RepoKey *k AUTO(repo_key_freep) = NEW(RepoKey);
    const char *cipher, *how;
    uint8_t id[KEY_ID_LEN];
    int64_t version, created;
    TRY(json_get_number(wrap, "pgdr", 1, INT32_MAX, &version, err));
    if (version > FORMAT_VERSION)
        return err_set(err, ERR_VERSION, "the key has format version %lld, this pgdr reads %d",
                       (long long)version, FORMAT_VERSION);
    TRY(get_hex(wrap, "repository", k->repo_id, REPO_ID_LEN, err));
    TRY(get_hex(wrap, "key", id, KEY_ID_LEN, err));
    TRY(json_get_number(wrap, "created", 0, INT64_MAX, &created, err));
    TRY(json_get_text(wrap, "cipher", &cipher, err));
    TRY(json_get_text(wrap, "wrap", &how, err));
    if (strcmp(cipher, "none") != 0 || strcmp(how, "none") != 0)
        return err_set(err, ERR_VERSION,
                       "the key is wrapped by '%s' for cipher '%s', which this "
                       "pgdr does not know",
                       how, cipher);
    TRY(get_hex(wrap, "secret", k->secret, CIPHER_KEY_LEN, err));
    k->cipher = CIPHER_NONE;
    k->created = created;
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
