/*
 * Changing the passphrase, and making new data keys.
 *
 * Nothing that is stored is touched but wraps, so all that can go wrong is that a key is left
 * without one that somebody can open. New wraps come first and are read back; then the copies
 * beside the backups; what is old goes last. Only one process does so at a time (keys_lease_take).
 * But one that has slept for longer than its lease was worth may wake between any two of its calls,
 * beside another one. Hence:
 *
 *  - Nobody removes a wrap of a key that he has not put one of himself. Wraps of a key that opens
 *    neither by the old nor by the new passphrase stop the work: somebody's new data key.
 *  - What was not there when the work began is looked at, before anything is removed and after it.
 *    Keys that came under the old passphrase are taken along.
 *  - Only who finds his own wraps in their place when all is done reports success. (A copy of the
 * keys beside a backup, which is overwritten, may then be that of a sleeper: 'verify' tells.)
 *  - After a failure nothing is taken back: a new data key may be in use by then.
 *
 * Whether a passphrase opens the repository hangs on the oldest key (keys_read). Its new wrap comes
 * last and its old one goes first, so that either passphrase opens all keys or none, wherever this
 * is interrupted. tests/model/test_rekey.c explores all that.
 */

#include <string.h>

#include "lib/common/hex.h"
#include "lib/common/log.h"
#include "lib/repo/key_store.h"
#include "lib/repo/key_wraps.h"

/* Each takes somebody who comes in between. */
#define ROUNDS_MAX 10

/* --- one at a time --- */

struct KeysLease {
    Repo repo; /* as which the lease is an object of "keys"; keys are borrowed */
    Lease *lease;
};

void keys_lease_release(KeysLease *l)
{
    if (!l)
        return;
    lease_release(l->lease);
    vec_release(&l->repo.keys.keys);
    free(l);
}

static ErrCode find_other(KeysLease *l, Err *err)
{
    char *who AUTO(mem_freep) = NULL;
    StrList lapsed AUTO(str_list_release) = {0};
    TRY(lease_find_other(&l->repo, l->lease, &who, &lapsed, err));
    if (who) {
        err_set(err, ERR_REFUSED, "nothing was done: somebody else is at work on the keys: %s",
                who);
        return err_hint(err,
                        "wait until that has ended, and try again; where it was killed, or its "
                        "host is gone, its lease lapses after %d minutes",
                        (int)(LEASE_LIVE / US_PER_SECOND / 60));
    }
    /* Whoever wakes up after all sees by that that he was taken for dead. */
    return lapsed.n ? repo_remove(&l->repo, (const char *const *)lapsed.at, lapsed.n, err) : ERR_OK;
}

ErrCode keys_lease_take(Repo *r, const char *what, KeysLease **ret, Err *err)
{
    static char prefix[] = "keys";
    KeysLease *l AUTO(keys_lease_releasep) = NEW(KeysLease);
    l->repo = (Repo){.storage = r->storage,
                     .name = r->name,
                     .cluster = prefix,
                     .keys = r->keys,
                     .key = r->key,
                     .wal_key = r->wal_key};
    /* The list of keys grows, and moves, while they are changed. */
    l->repo.keys.keys.at = mem_new(r->keys.keys.n * sizeof(*r->keys.keys.at));
    memcpy(l->repo.keys.keys.at, r->keys.keys.at, r->keys.keys.n * sizeof(*r->keys.keys.at));
    TRY(lease_take_alone(&l->repo, what, &l->lease, err));
    TRY(find_other(l, err));
    *ret = steal_ptr(&l);
    return ERR_OK;
}

ErrCode keys_lease_check(KeysLease *l, Err *err)
{
    ErrCode rc = lease_keep(l->lease, err);
    if (rc != ERR_CANCELLED)
        return rc;
    err_wrap(err, "the change of the keys took too long");
    return err_hint(err, "somebody else may have changed them meanwhile: find out which passphrase "
                         "opens the repository ('pgdr info'), and begin anew with that");
}

/* --- what there is --- */

typedef struct Rekey {
    Repo *r;
    const KeySecret *secret; /* the passphrase that is to open the repository */
    KeyRing *was, *is;
    WrapMethod method;
    bool changes, resumed;
    KeysLease *lease;
    StrList seen;  /* stems that were judged: */
    StrList old;   /* they are to go */
    StrList mine;  /* put by this */
    size_t proven; /* of mine */
    bool beside;   /* the copies beside backups hold all keys as they are */
    bool removing;
} Rekey;

static void rekey_release(Rekey *k)
{
    keys_lease_release(k->lease);
    keyring_free(k->was);
    keyring_free(k->is);
    str_list_release(&k->seen);
    str_list_release(&k->old);
    str_list_release(&k->mine);
}

static bool is_known(const Repo *r, const char *stem)
{
    uint8_t id[KEY_ID_LEN];
    return hex_parse(stem + strlen(KEYS_PREFIX), '/', id, KEY_ID_LEN) &&
           repo_keys_find(&r->keys, id);
}

static ErrCode stranger(const char *stem, Err *err)
{
    err_set(err, ERR_REFUSED,
            "'%s' is wrapped under neither the configured nor the new passphrase: another change "
            "of the passphrase was interrupted, and made a new data key",
            stem);
    return err_hint(err,
                    "complete that one first: 'pgdr repo rekey --new-passphrase-file=...' with the "
                    "passphrase that it was to set; if that is lost for good, what was written "
                    "under the key is so, too: remove '%.*s'",
                    (int)(strlen(KEYS_PREFIX) + 2 * KEY_ID_LEN), stem);
}

/* Takes over the key of a wrap; *ret_new: which passphrase fits. ERR_WRONG_KEY: none. */
static ErrCode wrap_adopt(Rekey *k, const json_t *wrap, bool *ret_new, Err *err)
{
    RepoKey *key AUTO(repo_key_freep) = NULL;
    *ret_new = false;
    ErrCode rc = repo_key_unwrap(wrap, k->was, &key, err);
    if (rc == ERR_WRONG_KEY && k->changes) {
        rc = repo_key_unwrap(wrap, k->is, &key, err);
        *ret_new = true;
    }
    if (rc != ERR_OK || repo_keys_find(&k->r->keys, key->id))
        return rc;
    k->resumed |= *ret_new;
    k->beside = false;
    vec_push(&k->r->keys.keys, steal_ptr(&key));
    keys_choose(k->r);
    return ERR_OK;
}

static bool is_plain(const json_t *wrap)
{
    const char *cipher = json_string_value(json_object_get(wrap, "cipher"));
    return cipher && strcmp(cipher, "none") == 0;
}

/* Decides what becomes of a wrap that was not put by this. */
static ErrCode judge(Rekey *k, const char *stem, Err *err)
{
    json_t *wrap AUTO(json_decrefp) = NULL;
    Err why = {0};
    bool is_new = false, goes = true;
    ErrCode rc = wrap_get_any(k->r, stem, &wrap, &why);
    if (rc == ERR_NOT_FOUND)
        return ERR_OK;
    /* A key in the clear is somebody's attempt to read what is written; nobody uses it. */
    if (rc == ERR_OK && !is_plain(wrap))
        rc = wrap_adopt(k, wrap, &is_new, &why);
    if (rc == ERR_OK)
        goes = is_plain(wrap) || k->changes;
    else if (rc == ERR_DAMAGED || rc == ERR_LIMIT)
        goes = is_known(k->r, stem);
    else if (rc == ERR_WRONG_KEY && !is_known(k->r, stem))
        return stranger(stem, err);
    else if (rc != ERR_WRONG_KEY) {
        *err = why;
        return rc;
    }
    vec_push(&k->seen, mem_strdup(stem));
    if (goes)
        vec_push(&k->old, mem_strdup(stem));
    return ERR_OK;
}

/* *ret_news: something was not there at the last look. *ret_left: how much of what is old is. */
static ErrCode look(Rekey *k, bool *ret_news, StrList *ret_left, Err *err)
{
    StrList stems AUTO(str_list_release) = {0};
    size_t mine = 0;
    TRY(wrap_stems_list(k->r, &stems, err));
    *ret_news = false;
    for (size_t i = 0; i < stems.n; i++) {
        const char *stem = stems.at[i];
        if (str_list_has(&k->mine, stem)) {
            mine++;
            continue;
        }
        if (!str_list_has(&k->seen, stem)) {
            *ret_news = true;
            TRY(judge(k, stem, err));
        }
        if (str_list_has(&k->old, stem))
            vec_push(ret_left, mem_strdup(stem));
    }
    if (mine == k->mine.n)
        return ERR_OK;
    err_set(err, ERR_CANCELLED, "somebody else has removed keys that were put a moment ago");
    return err_hint(err, "another change of the keys has overtaken this one: find out which "
                         "passphrase opens the repository ('pgdr info'), and begin anew with that");
}

/* --- new ones --- */

static int youngest_first(const void *a, const void *b)
{
    return -key_compare(*(RepoKey *const *)a, *(RepoKey *const *)b);
}

/* What was written must open under the passphrase before anything old goes. */
static ErrCode prove(Rekey *k, const char *stem, KeyRing *fresh, Err *err)
{
    for (int copy = 1; copy <= KEY_COPIES; copy++) {
        json_t *wrap AUTO(json_decrefp) = NULL;
        RepoKey *key AUTO(repo_key_freep) = NULL;
        char *name AUTO(mem_freep) = wrap_copy_name(stem, copy);
        ErrCode rc = wrap_get(k->r, name, &wrap, err);
        if (rc == ERR_OK)
            rc = repo_key_unwrap(wrap, fresh, &key, err);
        if (rc != ERR_OK)
            return err_wrap(err, "the new copy '%s' cannot be read back", name);
    }
    return ERR_OK;
}

static ErrCode prove_all(Rekey *k, Err *err)
{
    KeyRing *fresh AUTO(keyring_freep) = keyring_new(k->secret);
    for (; k->proven < k->mine.n; k->proven++)
        TRY(prove(k, k->mine.at[k->proven], fresh, err));
    return ERR_OK;
}

static ErrCode mint(Rekey *k, Err *err)
{
    Repo *r = k->r;
    if (r->keys.keys.n >= KEYS_MAX) {
        err_set(err, ERR_LIMIT, "repository '%s' has %zu data keys already", r->name,
                r->keys.keys.n);
        return err_hint(err, "with --keep-key there is a new passphrase without a new data key; a "
                             "copy of the repository begins with one ('pgdr repo copy')");
    }
    RepoKey *key =
        repo_key_new(r->key->repo_id, r->key->cipher, MAX(time_now(), r->key->created + 1));
    vec_push(&r->keys.keys, key);
    keys_choose(r);
    return ERR_OK;
}

/* When the passphrase stays, of keys that have no wrap at all; else of those that have none of this
 * one's yet. */
static bool is_missing(const Rekey *k, const RepoKey *key)
{
    return k->changes ? !str_list_has(&k->mine, key->stem) : !key->wrap;
}

static ErrCode put_missing(Rekey *k, Err *err)
{
    RepoKeys *keys = &k->r->keys;
    qsort(keys->keys.at, keys->keys.n, sizeof(*keys->keys.at), youngest_first);
    for (size_t i = 0; i < keys->keys.n; i++) {
        if (!is_missing(k, keys->keys.at[i]))
            continue;
        k->beside = false;
        TRY(repo_key_wrap(keys->keys.at[i], k->is, &k->method, err));
        TRY(key_put(k->r, keys->keys.at[i], &k->mine, err));
    }
    return ERR_OK;
}

/* --- old ones --- */

static void copies_of(const char *stem, StrList *ret)
{
    for (int copy = 1; copy <= KEY_COPIES; copy++)
        vec_push(ret, wrap_copy_name(stem, copy));
}

static ErrCode remove_old(Rekey *k, const StrList *left, Err *err)
{
    char id[2 * KEY_ID_LEN + 1];
    StrList first AUTO(str_list_release) = {0}, rest AUTO(str_list_release) = {0};
    char *oldest AUTO(mem_freep) =
        mem_printf(KEYS_PREFIX "%s/", hex_format(k->r->wal_key->id, KEY_ID_LEN, id));
    for (size_t i = 0; i < left->n; i++)
        copies_of(left->at[i], strncmp(left->at[i], oldest, strlen(oldest)) == 0 ? &first : &rest);
    k->removing = true;
    if (first.n)
        TRY(storage_remove(k->r->storage, (const char *const *)first.at, first.n, err));
    return rest.n ? storage_remove(k->r->storage, (const char *const *)rest.at, rest.n, err)
                  : ERR_OK;
}

/* --- all --- */

/* Puts what is not there. Who has slept, and finds somebody else at work, puts nothing more. */
static ErrCode complete(Rekey *k, Err *err)
{
    size_t missing = 0, written;
    for (size_t i = 0; i < k->r->keys.keys.n; i++)
        missing += is_missing(k, k->r->keys.keys.at[i]);
    if (!missing && k->beside)
        return ERR_OK;
    TRY(keys_lease_check(k->lease, err));
    TRY(put_missing(k, err));
    TRY(prove_all(k, err));
    TRY(keys_put_beside_all(k->r, k->lease, &written, err));
    k->beside = true;
    return ERR_OK;
}

static ErrCode rounds(Rekey *k, Err *err)
{
    for (int i = 0; i < ROUNDS_MAX; i++) {
        StrList left AUTO(str_list_release) = {0};
        bool news;
        TRY(complete(k, err));
        TRY(look(k, &news, &left, err));
        if (news)
            continue;
        if (!left.n)
            return ERR_OK;
        TRY(keys_lease_check(k->lease, err));
        TRY(remove_old(k, &left, err));
    }
    return err_set(err, ERR_BUSY, "the keys of repository '%s' change all the time", k->r->name);
}

static ErrCode rekey_run(Rekey *k, const RepoSpec *spec, bool new_key, Err *err)
{
    StrList left AUTO(str_list_release) = {0};
    size_t put_back;
    bool more, news;
    TRY(keys_lease_take(k->r, "repo rekey", &k->lease, err));
    /* What was read before the lease was there may be out of date. */
    ErrCode rc = keys_read_again(k->r, spec->secret, &more, err);
    if (rc == ERR_WRONG_KEY)
        err_wrap(err, "somebody else has changed the passphrase meanwhile");
    TRY(rc);
    keys_choose(k->r);
    TRY(keys_put_back(k->r, k->was, &put_back, err));
    TRY(look(k, &news, &left, err));
    if (k->changes)
        TRY(keyring_method_new(k->is, &k->method, err));
    else
        TRY(wrap_method(k->r->key->wrap, &k->method, err));
    if (new_key && !k->resumed)
        TRY(mint(k, err));
    return rounds(k, err);
}

/* Which passphrase opens the repository now is what the user must know. */
static ErrCode explain(const Rekey *k, Err *err)
{
    char text[sizeof(err->message)];
    bool oldest = str_list_has(&k->mine, k->r->wal_key->stem);
    bool overtaken = err->code == ERR_CANCELLED && *err->hint; /* what there is, others decided */
    if (!k->changes || !k->mine.n || overtaken)
        return err->code;
    const char *state = k->removing ? "the new passphrase opens the repository, and the configured "
                                      "one perhaps still does"
                        : oldest    ? "both passphrases open the repository"
                                    : "the configured passphrase opens the repository as before";
    snprintf(text, sizeof(text), "%s", err->message);
    err_set(err, err->code, "%s; %s", text, state);
    return err->code;
}

ErrCode repo_rekey(Repo *r, const RepoSpec *spec, const KeySecret *secret, bool new_key, Err *err)
{
    if (r->key->cipher == CIPHER_NONE)
        return err_set(err, ERR_USAGE, "repository '%s' is not encrypted: it has no passphrase",
                       r->name);
    Rekey k AUTO(rekey_release) = {.r = r,
                                   .secret = secret ? secret : spec->secret,
                                   .was = keyring_new(spec->secret),
                                   .is = keyring_new(secret ? secret : spec->secret),
                                   .changes = secret != NULL};
    ErrCode rc = rekey_run(&k, spec, new_key || !secret, err);
    return rc == ERR_OK ? ERR_OK : explain(&k, err);
}
