#include "lib/repo/key_store.h"

#include <string.h>

#include "lib/common/hex.h"
#include "lib/common/log.h"
#include "lib/repo/manifest.h"

#define KEYS_PREFIX "keys/"
#define COPIES 3
#define KEY_TEXT_MAX (64 * KIB)

/* --- one key object --- */

/* It is read before any key is known: it is plain, and checked by its own digests. */
static ErrCode wraps_get(Repo *r, const char *name, Buf *text, Err *err)
{
    Buf bytes AUTO(buf_release) = {0};
    char kind[KIND_LEN + 1];
    ObjectFooter f;
    size_t raw;
    TRY(storage_get_all(r->storage, name, KEY_TEXT_MAX, &bytes, err));
    TRY(object_check_bytes(bytes.data, bytes.len, kind, err));
    if (memcmp(kind, KIND_KEY, KIND_LEN) != 0)
        return err_set(err, ERR_DAMAGED, "the object is a %s where a key should be", kind);
    memcpy(&f, bytes.data + bytes.len - sizeof(f), sizeof(f));
    Decompressor *d AUTO(decompressor_freep) = decompressor_new();
    const uint8_t *unit = bytes.data + sizeof(ObjectHeader);
    size_t len = (size_t)f.table_off - sizeof(ObjectHeader);
    TRY(frame_raw_size(unit, len, KEY_TEXT_MAX, &raw, err));
    TRY(decompressor_run(d, unit, len, buf_reserve(text, raw), raw, err));
    text->len = raw;
    return ERR_OK;
}

/* The next line of such a text; *ret stays NULL at the end. */
static ErrCode wraps_next(const Buf *text, size_t *at, json_t **ret, Err *err)
{
    const uint8_t *line = text->data + *at;
    const uint8_t *nl = *at < text->len ? memchr(line, '\n', text->len - *at) : NULL;
    if (!nl)
        return *at == text->len && *at ? ERR_OK
                                       : err_set(err, ERR_DAMAGED, "the list of wraps has no end");
    *at += (size_t)(nl - line) + 1;
    return json_parse_object(line, (size_t)(nl - line), ret, err);
}

/* Wraps of keys, a line each. */
static ErrCode wraps_put(Repo *r, RepoKey *const *keys, size_t n, const char *name, Err *err)
{
    ObjectWriter *w AUTO(object_writer_freep) = object_writer_new(4 * KIB);
    Compressor *c AUTO(compressor_freep) = compressor_new(1);
    Buf text AUTO(buf_release) = {0};
    for (size_t i = 0; i < n; i++) {
        char *line AUTO(mem_freep) = json_dumps(keys[i]->wrap, JSON_COMPACT);
        buf_printf(&text, "%s\n", line);
    }
    ObjectFacts facts;
    RepoKey plain = *keys[0]; /* a key object is never sealed by its own key */
    plain.cipher = CIPHER_NONE;
    object_writer_begin(w, &plain, KIND_KEY, name);
    TRY(object_writer_add(w, c, text.data, text.len, NULL, err));
    TRY(object_writer_finish(w, 0, NULL, &facts, err));
    secret_wipe(&plain, sizeof(plain));
    int fd;
    Slice bytes = object_writer_bytes(w, &fd);
    return storage_put_bytes(r->storage, name, bytes.data, bytes.len, STORAGE_CREATE, err);
}

ErrCode key_put(Repo *r, RepoKey *key, Err *err)
{
    char id[2 * KEY_ID_LEN + 1], wrap[33];
    hex_format(key->id, KEY_ID_LEN, id);
    random_name(wrap);
    for (int copy = 1; copy <= COPIES; copy++) {
        char *name AUTO(mem_freep) = mem_printf(KEYS_PREFIX "%s/%s.%d", id, wrap, copy);
        TRY(wraps_put(r, &key, 1, name, err));
    }
    return ERR_OK;
}

ErrCode key_put_beside(Repo *r, const char *backup_id, Err *err)
{
    char *relative AUTO(mem_freep) = backup_object_name(backup_id, "key");
    char *name AUTO(mem_freep) = repo_full_name(r, relative);
    ErrCode rc = wraps_put(r, r->keys.keys.at, r->keys.keys.n, name, err);
    return rc == ERR_EXISTS ? ERR_OK : rc;
}

/* --- all of them --- */

typedef struct KeysRead {
    Repo *repo;
    KeyRing *ring;
    char wrong[256]; /* the wrap that the passphrase does not fit, without its copy's number */
    Err last;        /* the last reason why a copy could not be used */
} KeysRead;

static bool key_known(const Repo *r, const char *id_text)
{
    uint8_t id[KEY_ID_LEN];
    return hex_parse(id_text, '/', id, KEY_ID_LEN) && repo_keys_find(&r->keys, id) != NULL;
}

static size_t wrap_stem(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? (size_t)(dot - name) : strlen(name);
}

static void add_key(Repo *r, RepoKey *key)
{
    if (repo_keys_find(&r->keys, key->id))
        repo_key_free(key);
    else
        vec_push(&r->keys.keys, key);
}

static ErrCode keys_open(KeysRead *k, const char *name, Err *err)
{
    Buf text AUTO(buf_release) = {0};
    TRY(wraps_get(k->repo, name, &text, err));
    for (size_t at = 0;;) {
        json_t *wrap AUTO(json_decrefp) = NULL;
        RepoKey *key = NULL;
        TRY(wraps_next(&text, &at, &wrap, err));
        if (!wrap)
            return ERR_OK;
        TRY(repo_key_unwrap(wrap, k->ring, &key, err));
        add_key(k->repo, key);
    }
}

/* Anything that another copy or another wrap may make good for is only noted. */
static ErrCode keys_try(KeysRead *k, const char *name, Err *err)
{
    Err why = {0};
    size_t stem = wrap_stem(name);
    if (*k->wrong && strlen(k->wrong) == stem && strncmp(k->wrong, name, stem) == 0)
        return ERR_OK; /* a copy of a wrap that does not open */
    ErrCode rc = keys_open(k, name, &why);
    if (rc == ERR_OK)
        return ERR_OK;
    k->last = why;
    if (rc == ERR_WRONG_KEY)
        snprintf(k->wrong, sizeof(k->wrong), "%.*s", (int)stem, name);
    else
        err_wrap(&k->last, "key '%s'", name);
    if (rc == ERR_DAMAGED || rc == ERR_LIMIT)
        log_err(LOG_WARN, &k->last);
    if (rc == ERR_DAMAGED || rc == ERR_LIMIT || rc == ERR_WRONG_KEY || rc == ERR_NOT_FOUND ||
        rc == ERR_VERSION)
        return ERR_OK;
    *err = k->last;
    return rc;
}

static int key_compare(const RepoKey *a, const RepoKey *b)
{
    if (a->created != b->created)
        return a->created < b->created ? -1 : 1;
    return memcmp(a->id, b->id, KEY_ID_LEN);
}

static void choose_keys(Repo *r)
{
    for (size_t i = 0; i < r->keys.keys.n; i++) {
        const RepoKey *k = r->keys.keys.at[i];
        if (!r->key || key_compare(k, r->key) > 0)
            r->key = k;
        if (!r->wal_key || key_compare(k, r->wal_key) < 0)
            r->wal_key = k;
    }
}

void keys_keep_cipher(Repo *r, uint8_t cipher)
{
    size_t left = 0, fit = 0;
    for (size_t i = 0; i < r->keys.keys.n; i++)
        fit += r->keys.keys.at[i]->cipher == cipher;
    if (!fit || fit == r->keys.keys.n)
        return;
    r->key = r->wal_key = NULL;
    for (size_t i = 0; i < r->keys.keys.n; i++) {
        RepoKey *k = r->keys.keys.at[i];
        char id[2 * KEY_ID_LEN + 1];
        if (k->cipher == cipher) {
            r->keys.keys.at[left++] = k;
            continue;
        }
        log_warn("repository '%s' holds the key %s for another kind of encryption than the "
                 "configuration says: it is not used, nor what was written under it",
                 r->name, hex_format(k->id, KEY_ID_LEN, id));
        repo_key_free(k);
    }
    r->keys.keys.n = left;
    choose_keys(r);
}

static ErrCode keys_from(KeysRead *k, const StrList *names, size_t id_off, Err *err)
{
    for (size_t i = 0; i < names->n; i++)
        if (!id_off || !key_known(k->repo, names->at[i] + id_off))
            TRY(keys_try(k, names->at[i], err));
    return ERR_OK;
}

/* When keys/ is empty: the copies beside the backups. */
static ErrCode keys_beside(KeysRead *k, Err *err)
{
    StrList clusters AUTO(str_list_release) = {0};
    StrList found AUTO(str_list_release) = {0};
    TRY(repo_list_clusters(k->repo, &clusters, err));
    for (size_t c = 0; c < clusters.n; c++) {
        StrList names AUTO(str_list_release) = {0};
        char *prefix AUTO(mem_freep) = mem_printf("%s/backups/", clusters.at[c]);
        TRY(storage_list_names(k->repo->storage, prefix, false, &names, err));
        for (size_t i = 0; i < names.n; i++)
            if (strcmp(strrchr(names.at[i], '/'), "/key") == 0)
                vec_push(&found, mem_strdup(names.at[i]));
    }
    for (size_t i = found.n; i-- > 0;) /* each holds all keys of its time: the last all */
        TRY(keys_try(k, found.at[i], err));
    if (k->repo->keys.keys.n)
        log_warn("the repository's 'keys' folder is empty: the copies beside the backups are used; "
                 "put the folder back");
    return ERR_OK;
}

ErrCode keys_read(Repo *r, KeyRing *ring, Err *err)
{
    StrList names AUTO(str_list_release) = {0};
    KeysRead k = {.repo = r, .ring = ring};
    TRY(storage_list_names(r->storage, KEYS_PREFIX, false, &names, err));
    TRY(keys_from(&k, &names, strlen(KEYS_PREFIX), err));
    if (!names.n)
        TRY(keys_beside(&k, err));
    choose_keys(r);
    if (!r->key && k.last.code != ERR_OK) {
        *err = k.last;
        return err->code;
    }
    return ERR_OK;
}

/* --- a new passphrase, a new key --- */

static ErrCode rekey_wrap_all(Repo *r, KeyRing *ring, const WrapMethod *m, Err *err)
{
    for (size_t i = 0; i < r->keys.keys.n; i++) {
        TRY(repo_key_wrap(r->keys.keys.at[i], ring, m, err));
        TRY(key_put(r, r->keys.keys.at[i], err));
    }
    return ERR_OK;
}

/* What was written must open under the new passphrase before the old wraps go. */
static ErrCode rekey_prove(Repo *r, const KeySecret *secret, const StrList *old, Err *err)
{
    StrList names AUTO(str_list_release) = {0};
    KeyRing *ring AUTO(keyring_freep) = keyring_new(secret);
    TRY(storage_list_names(r->storage, KEYS_PREFIX, false, &names, err));
    size_t opened = 0;
    for (size_t i = 0; i < names.n; i++) {
        bool is_old = false;
        for (size_t k = 0; k < old->n && !is_old; k++)
            is_old = strcmp(old->at[k], names.at[i]) == 0;
        if (is_old)
            continue;
        Buf text AUTO(buf_release) = {0};
        json_t *wrap AUTO(json_decrefp) = NULL;
        RepoKey *key AUTO(repo_key_freep) = NULL;
        size_t at = 0;
        TRY(wraps_get(r, names.at[i], &text, err));
        TRY(wraps_next(&text, &at, &wrap, err));
        TRY(repo_key_unwrap(wrap, ring, &key, err));
        opened++;
    }
    if (opened < r->keys.keys.n * COPIES)
        return err_set(err, ERR_DAMAGED, "only %zu of the new copies of keys can be read back",
                       opened);
    return ERR_OK;
}

static void mint_key(Repo *r)
{
    TimeUs now = time_now();
    RepoKey *key = repo_key_new(r->key->repo_id, r->key->cipher, MAX(now, r->key->created + 1));
    vec_push(&r->keys.keys, key);
    r->key = key;
}

ErrCode repo_rekey(Repo *r, const RepoSpec *spec, const KeySecret *secret, bool new_key, Err *err)
{
    StrList old AUTO(str_list_release) = {0};
    KeyRing *ring AUTO(keyring_freep) = keyring_new(secret ? secret : spec->secret);
    WrapMethod m;
    if (r->key->cipher == CIPHER_NONE)
        return err_set(err, ERR_USAGE, "repository '%s' is not encrypted: it has no passphrase",
                       r->name);
    TRY(storage_list_names(r->storage, KEYS_PREFIX, false, &old, err));
    if (!secret) { /* a new key under the passphrase there is */
        TRY(wrap_method(r->key->wrap, &m, err));
        mint_key(r);
        TRY(repo_key_wrap(r->keys.keys.at[r->keys.keys.n - 1], ring, &m, err));
        return key_put(r, r->keys.keys.at[r->keys.keys.n - 1], err);
    }
    TRY(keyring_method_new(ring, &m, err));
    if (new_key)
        mint_key(r);
    TRY(rekey_wrap_all(r, ring, &m, err));
    TRY(rekey_prove(r, secret, &old, err));
    return storage_remove(r->storage, (const char *const *)old.at, old.n, err);
}
