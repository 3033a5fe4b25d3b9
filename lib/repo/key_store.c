#include "lib/repo/key_store.h"

#include <string.h>

#include "lib/common/hex.h"
#include "lib/common/log.h"
#include "lib/repo/key_beside.h"

/* Listings of which something vanishes before it is read; each takes a whole change of keys. */
#define TRIES_MAX 5

ErrCode key_put(Repo *r, RepoKey *key, StrList *stems, Err *err)
{
    char id[2 * KEY_ID_LEN + 1], uuid[33];
    Buf text AUTO(buf_release) = {0};
    char *stem AUTO(mem_freep) =
        mem_printf(KEYS_PREFIX "%s/%s", hex_format(key->id, KEY_ID_LEN, id), random_name(uuid));
    key_wrap_append(&text, key->wrap);
    if (stems)
        vec_push(stems, mem_strdup(stem));
    for (int copy = 1; copy <= KEY_COPIES; copy++) {
        char *name AUTO(mem_freep) = wrap_copy_name(stem, copy);
        ErrCode rc = wraps_put(r, key, &text, name, STORAGE_CREATE, err);
        /* Another init saw the first copy, and has added those that were missing. */
        if (rc != ERR_OK && rc != ERR_EXISTS)
            return rc;
    }
    memcpy(key->stem, stem, sizeof(key->stem));
    return ERR_OK;
}

/* --- all of them --- */

typedef struct KeysRead {
    Repo *repo;
    KeyRing *ring;
    char wrong[KEY_STEM_LEN + 1]; /* the wrap that the passphrase does not fit */
    Err last;                     /* the last reason why a copy could not be used */
    StrList later;                /* copies that only a later version can read */
    Err later_why;
    StrList vanished; /* copies that were listed, and were gone when they were read */
    StrList refused;  /* what wraps hold that the passphrase does not fit: the same ones lie beside
                         every backup, and each try may take a second */
    Err refused_why;
} KeysRead;

static void keys_read_release(KeysRead *k)
{
    str_list_release(&k->later);
    str_list_release(&k->vanished);
    str_list_release(&k->refused);
}

static bool key_known(const Repo *r, const char *name)
{
    uint8_t id[KEY_ID_LEN];
    return wrap_name_parse(name, id) && repo_keys_find(&r->keys, id) != NULL;
}

static void add_key(Repo *r, RepoKey *key)
{
    if (repo_keys_find(&r->keys, key->id))
        repo_key_free(key);
    else
        vec_push(&r->keys.keys, key);
}

static ErrCode wrap_open(KeysRead *k, const json_t *wrap, Err *err)
{
    const char *sealed = json_string_value(json_object_get(wrap, "sealed"));
    RepoKey *key = NULL;
    if (sealed && str_list_has(&k->refused, sealed)) {
        *err = k->refused_why;
        return err->code;
    }
    ErrCode rc = repo_key_unwrap(wrap, k->ring, &key, err);
    if (rc == ERR_OK)
        add_key(k->repo, key);
    if (rc == ERR_WRONG_KEY && sealed) {
        vec_push(&k->refused, mem_strdup(sealed));
        k->refused_why = *err;
    }
    return rc;
}

/* Adds the keys of these wraps that are not known yet. Those behind one that does not open are
 * tried, too: the first failure is told in the end. */
static ErrCode wraps_open(KeysRead *k, const Buf *text, Err *err)
{
    ErrCode first = ERR_OK;
    for (size_t at = 0;;) {
        json_t *wrap AUTO(json_decrefp) = NULL;
        uint8_t id[KEY_ID_LEN];
        Err why = {0};
        TRY(wraps_next(text, &at, &wrap, err));
        if (!wrap)
            return first;
        if (wrap_key_id(wrap, id) && repo_keys_find(&k->repo->keys, id))
            continue;
        ErrCode rc = wrap_open(k, wrap, &why);
        if (rc != ERR_OK && first == ERR_OK) {
            first = rc;
            *err = why;
        }
    }
}

static ErrCode copy_open(KeysRead *k, const char *name, Err *err)
{
    Buf text AUTO(buf_release) = {0};
    uint8_t id[KEY_ID_LEN];
    const size_t had = k->repo->keys.keys.n;
    TRY(wraps_get(k->repo, name, &text, err));
    TRY(wraps_open(k, &text, err));
    if (!key_known(k->repo, name))
        return err_set(err, ERR_DAMAGED, "it is of another key than its name says");
    for (size_t i = had; i < k->repo->keys.keys.n; i++) {
        RepoKey *key = k->repo->keys.keys.at[i];
        if (wrap_name_parse(name, id) && memcmp(id, key->id, KEY_ID_LEN) == 0)
            memcpy(key->stem, name, KEY_STEM_LEN);
    }
    return ERR_OK;
}

static bool is_about_one_copy(ErrCode rc)
{
    return rc == ERR_DAMAGED || rc == ERR_LIMIT || rc == ERR_WRONG_KEY || rc == ERR_NOT_FOUND ||
           rc == ERR_VERSION || rc == ERR_IO || rc == ERR_ACCESS;
}

/* Anything that another copy or another wrap may make good for is only noted. */
static ErrCode copy_failed(KeysRead *k, const char *name, ErrCode rc, const Err *why, Err *err)
{
    k->last = *why;
    if (rc == ERR_WRONG_KEY)
        snprintf(k->wrong, sizeof(k->wrong), "%s", name);
    else
        err_wrap(&k->last, "key '%s'", name);
    if (rc == ERR_DAMAGED || rc == ERR_LIMIT || rc == ERR_IO || rc == ERR_ACCESS)
        log_err(LOG_WARN, &k->last);
    if (is_about_one_copy(rc))
        return ERR_OK;
    *err = k->last;
    return rc;
}

static ErrCode keys_try(KeysRead *k, const char *name, Err *err)
{
    Err why = {0};
    if (*k->wrong && strncmp(k->wrong, name, KEY_STEM_LEN) == 0)
        return ERR_OK; /* a copy of a wrap that does not open */
    ErrCode rc = copy_open(k, name, &why);
    if (rc == ERR_OK)
        return ERR_OK;
    if (rc == ERR_NOT_FOUND)
        vec_push(&k->vanished, mem_strdup(name));
    if (rc == ERR_VERSION) {
        vec_push(&k->later, mem_strdup(name));
        k->later_why = why;
    }
    return copy_failed(k, name, rc, &why, err);
}

int key_compare(const RepoKey *a, const RepoKey *b)
{
    if (a->created != b->created)
        return a->created < b->created ? -1 : 1;
    return memcmp(a->id, b->id, KEY_ID_LEN);
}

void keys_choose(Repo *r)
{
    r->key = r->wal_key = NULL;
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
    keys_choose(r);
}

/* A reason that was found before, as that a copy in keys/ is damaged, tells more than one that is
 * found here. */
static ErrCode keys_open_beside(KeysRead *k, const BesideCopies *copies, Err *err)
{
    const Err first = k->last;
    for (size_t i = copies->n; i-- > 0;) { /* each holds all keys of its time: the last all */
        const BesideCopy *c = &copies->at[i];
        Err why = c->err;
        ErrCode rc = c->rc == ERR_OK ? wraps_open(k, &c->text, &why) : c->rc;
        if (rc != ERR_OK && rc != ERR_NOT_FOUND)
            TRY(copy_failed(k, c->name, rc, &why, err));
    }
    if (first.code != ERR_OK)
        k->last = first;
    return ERR_OK;
}

ErrCode keys_read_beside(Repo *r, KeyRing *ring, BesideCopies *ret, Err *err)
{
    KeysRead k AUTO(keys_read_release) = {.repo = r, .ring = ring};
    TRY(beside_copies_read(r, ret, err));
    TRY(keys_open_beside(&k, ret, err));
    if (r->key)
        keys_keep_cipher(r, r->key->cipher);
    keys_choose(r);
    return ERR_OK;
}

/* Whether keys/ has all the keys that it names. One that the passphrase does not open is there. */
static bool keys_all(const KeysRead *k, const StrList *names)
{
    for (size_t i = 0; i < names->n; i++)
        if (!key_known(k->repo, names->at[i]))
            return *k->wrong != '\0';
    return names->n > 0;
}

/* Of a later version: what is written under it cannot be read, and nobody knows what it is for. */
static ErrCode check_later(const KeysRead *k, Err *err)
{
    for (size_t i = 0; i < k->later.n; i++)
        if (!key_known(k->repo, k->later.at[i])) {
            *err = k->later_why;
            return err_wrap(err, "the key '%s' is of a later version", k->later.at[i]);
        }
    return ERR_OK;
}

/*
 * A change of the passphrase that was interrupted leaves some keys under the one and some under the
 * other. It wraps the oldest key last, and removes its old wrap first; so who does not open that
 * one must not go on: with another oldest key WAL gets other names, and what is pushed again looks
 * like a second history. Of younger ones nothing hangs but what was written under them.
 */
static ErrCode check_unopened(KeysRead *k, const char *name, Err *err)
{
    const Repo *r = k->repo;
    json_t *wrap AUTO(json_decrefp) = NULL;
    char mine[2 * KEY_ID_LEN + 1];
    Err why = {0};
    ErrCode rc = wrap_get(k->repo, name, &wrap, &why);
    if (rc == ERR_NOT_FOUND)
        vec_push(&k->vanished, mem_strdup(name));
    if (rc != ERR_OK)
        return ERR_OK;
    TimeUs created = wrap_created(wrap);
    if (created >= 0 && created < r->wal_key->created) {
        err_set(err, ERR_WRONG_KEY,
                "the passphrase opens the key %s, but not the older one of '%s': a change of the "
                "passphrase was interrupted",
                hex_format(r->wal_key->id, KEY_ID_LEN, mine), name);
        return err_hint(err, "use the other passphrase, and run 'pgdr repo rekey' again");
    }
    if (created >= 0 && created < r->key->created)
        log_line(
            LOG_WARN,
            "use the passphrase that opens it, if there is one, and run 'pgdr repo "
            "rekey' with that",
            "the passphrase does not open the key of '%s': what was written under it cannot be "
            "read",
            name);
    return ERR_OK;
}

static ErrCode keys_check_unopened(KeysRead *k, const StrList *names, Err *err)
{
    for (size_t i = 0; i < names->n && k->repo->key; i++)
        if (!key_known(k->repo, names->at[i]) &&
            (!i || strncmp(names->at[i], names->at[i - 1], KEY_STEM_LEN) != 0))
            TRY(check_unopened(k, names->at[i], err));
    return ERR_OK;
}

static ErrCode keys_in_folder(KeysRead *k, const StrList *names, Err *err)
{
    for (size_t i = 0; i < names->n; i++)
        if (!key_known(k->repo, names->at[i]))
            TRY(keys_try(k, names->at[i], err));
    return check_later(k, err);
}

static ErrCode keys_elsewhere(KeysRead *k, const StrList *names, Err *err)
{
    BesideCopies copies AUTO(beside_copies_release) = {0};
    Repo *r = k->repo;
    const size_t had = r->keys.keys.n;
    TRY(beside_copies_read(r, &copies, err));
    TRY(keys_open_beside(k, &copies, err));
    if (r->keys.keys.n > had)
        log_line(LOG_WARN, "'pgdr init' writes it anew",
                 "the 'keys' folder of repository '%s' is %s: the copies beside the backups are "
                 "used",
                 r->name, names->n ? "damaged" : "empty");
    return ERR_OK;
}

/* Whether a key that was not opened had a copy that vanished: somebody changes the keys just now,
 * and nobody knows which ones there are. */
static bool any_vanished(const KeysRead *k)
{
    for (size_t i = 0; i < k->vanished.n; i++)
        if (!key_known(k->repo, k->vanished.at[i]))
            return true;
    return false;
}

static ErrCode keys_read_once(KeysRead *k, bool last, bool *ret_again, Err *err)
{
    StrList names AUTO(str_list_release) = {0};
    Repo *r = k->repo;
    TRY(wrap_names_list(r, &names, err));
    TRY(keys_in_folder(k, &names, err));
    *ret_again = !last && any_vanished(k);
    if (*ret_again)
        return ERR_OK;
    if (!keys_all(k, &names))
        TRY(keys_elsewhere(k, &names, err));
    keys_choose(r);
    if (!r->key && k->last.code != ERR_OK) {
        *err = k->last;
        return err->code;
    }
    TRY(keys_check_unopened(k, &names, err));
    *ret_again = any_vanished(k);
    if (!*ret_again || !last)
        return ERR_OK;
    return err_set(err, ERR_BUSY, "the keys of repository '%s' change all the time", r->name);
}

ErrCode keys_read(Repo *r, KeyRing *ring, Err *err)
{
    bool again = true;
    ErrCode rc = ERR_OK;
    for (int i = 1; again && rc == ERR_OK; i++) {
        KeysRead k AUTO(keys_read_release) = {.repo = r, .ring = ring};
        rc = keys_read_once(&k, i == TRIES_MAX, &again, err);
    }
    return rc;
}

static RepoKey *key_with_id(RepoKeys *keys, const uint8_t id[KEY_ID_LEN])
{
    for (size_t i = 0; i < keys->keys.n; i++)
        if (memcmp(keys->keys.at[i]->id, id, KEY_ID_LEN) == 0)
            return keys->keys.at[i];
    return NULL;
}

ErrCode keys_read_again(Repo *r, const KeySecret *secret, bool *ret_more, Err *err)
{
    KeyRing *ring AUTO(keyring_freep) = keyring_new(secret);
    Repo now = {.storage = r->storage, .name = r->name};
    *ret_more = false;
    ErrCode rc = keys_read(&now, ring, err);
    if (rc == ERR_OK && now.key)
        keys_keep_cipher(&now, r->key->cipher);
    for (size_t i = 0; i < now.keys.keys.n; i++) {
        RepoKey *key = now.keys.keys.at[i];
        RepoKey *had = key_with_id(&r->keys, key->id);
        if (had && rc == ERR_OK) {
            SWAP(had->wrap, key->wrap);
            memcpy(had->stem, key->stem, sizeof(had->stem));
        }
        if (had || rc != ERR_OK || key->cipher != r->key->cipher) {
            repo_key_free(key);
        } else {
            vec_push(&r->keys.keys, key);
            *ret_more = true;
        }
    }
    vec_release(&now.keys.keys);
    return rc;
}
