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
static ErrCode wraps_put(Repo *r, const RepoKey *const *keys, size_t n, const char *name,
                         StoragePutFlags flags, Err *err)
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
    return storage_put_bytes(r->storage, name, bytes.data, bytes.len, flags, err);
}

ErrCode key_put(Repo *r, RepoKey *key, Err *err)
{
    char id[2 * KEY_ID_LEN + 1], wrap[33];
    hex_format(key->id, KEY_ID_LEN, id);
    random_name(wrap);
    for (int copy = 1; copy <= COPIES; copy++) {
        char *name AUTO(mem_freep) = mem_printf(KEYS_PREFIX "%s/%s.%d", id, wrap, copy);
        ErrCode rc = wraps_put(r, (const RepoKey *const *)&key, 1, name, STORAGE_CREATE, err);
        /* Another init saw the first copy, and has added those that were missing. */
        if (rc != ERR_OK && rc != ERR_EXISTS)
            return rc;
    }
    return ERR_OK;
}

ErrCode key_put_beside(Repo *r, const char *backup_id, Err *err)
{
    char *relative AUTO(mem_freep) = backup_object_name(backup_id, "key");
    char *name AUTO(mem_freep) = repo_full_name(r, relative);
    ErrCode rc = wraps_put(r, (const RepoKey *const *)r->keys.keys.at, r->keys.keys.n, name,
                           STORAGE_CREATE, err);
    return rc == ERR_EXISTS ? ERR_OK : rc;
}

/* --- all of them --- */

typedef struct KeysRead {
    Repo *repo;
    KeyRing *ring;
    char wrong[256]; /* the wrap that the passphrase does not fit, without its copy's number */
    Err last;        /* the last reason why a copy could not be used */
} KeysRead;

/* The id ends with `end`: in the name of an object, or in a wrap. */
static bool key_known(const Repo *r, const char *id_text, char end)
{
    uint8_t id[KEY_ID_LEN];
    return id_text && hex_parse(id_text, end, id, KEY_ID_LEN) &&
           repo_keys_find(&r->keys, id) != NULL;
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
        if (key_known(k->repo, json_string_value(json_object_get(wrap, "key")), '\0'))
            continue;
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
    if (rc == ERR_DAMAGED || rc == ERR_LIMIT || rc == ERR_IO || rc == ERR_ACCESS)
        log_err(LOG_WARN, &k->last);
    if (rc == ERR_DAMAGED || rc == ERR_LIMIT || rc == ERR_WRONG_KEY || rc == ERR_NOT_FOUND ||
        rc == ERR_VERSION || rc == ERR_IO || rc == ERR_ACCESS)
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
        if (!id_off || !key_known(k->repo, names->at[i] + id_off, '/'))
            TRY(keys_try(k, names->at[i], err));
    return ERR_OK;
}

/* The copies beside the backups, of keys that are not known yet. A reason that was found before, as
 * that a copy in keys/ is damaged, tells more than one that is found here. */
static ErrCode keys_beside(KeysRead *k, Err *err)
{
    StrList clusters AUTO(str_list_release) = {0};
    StrList found AUTO(str_list_release) = {0};
    const Err first = k->last;
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
    if (first.code != ERR_OK)
        k->last = first;
    return ERR_OK;
}

/* Whether keys/ has all the keys that it names. One that the passphrase does not open is there. */
static bool keys_all(const KeysRead *k, const StrList *names)
{
    for (size_t i = 0; i < names->n; i++)
        if (!key_known(k->repo, names->at[i] + strlen(KEYS_PREFIX), '/'))
            return *k->wrong != '\0';
    return names->n > 0;
}

/* How old the key of a wrap says it is; false when the object cannot be read. Not to be trusted:
 * who can write to the medium can write this too. */
static bool wrap_age(Repo *r, const char *name, TimeUs *ret)
{
    Err why = {0};
    Buf text AUTO(buf_release) = {0};
    json_t *wrap AUTO(json_decrefp) = NULL;
    size_t at = 0;
    return wraps_get(r, name, &text, &why) == ERR_OK &&
           wraps_next(&text, &at, &wrap, &why) == ERR_OK && wrap &&
           json_get_number(wrap, "created", 0, INT64_MAX, ret, &why) == ERR_OK;
}

/*
 * A change of the passphrase that was interrupted leaves some keys under the one and some under the
 * other. Who opens only the younger ones must not go on: with another oldest key WAL gets other
 * names, and what is pushed again looks like a second history. Keys that are younger than all of
 * ours may be of a change that goes on right now, and nothing of ours is written under them.
 */
static ErrCode keys_check_oldest(Repo *r, const StrList *names, Err *err)
{
    for (size_t i = 0; i < names->n && r->key; i++) {
        TimeUs created;
        if (key_known(r, names->at[i] + strlen(KEYS_PREFIX), '/') ||
            !wrap_age(r, names->at[i], &created) || created >= r->key->created)
            continue;
        char mine[2 * KEY_ID_LEN + 1];
        err_set(err, ERR_WRONG_KEY,
                "the passphrase opens the key %s, but not the older one of '%s': a change of the "
                "passphrase was interrupted",
                hex_format(r->key->id, KEY_ID_LEN, mine), names->at[i]);
        return err_hint(err, "use the other passphrase, and run 'pgdr repo rekey' again");
    }
    return ERR_OK;
}

ErrCode keys_read(Repo *r, KeyRing *ring, Err *err)
{
    StrList names AUTO(str_list_release) = {0};
    KeysRead k = {.repo = r, .ring = ring};
    TRY(storage_list_names(r->storage, KEYS_PREFIX, false, &names, err));
    TRY(keys_from(&k, &names, strlen(KEYS_PREFIX), err));
    if (!keys_all(&k, &names)) {
        const size_t had = r->keys.keys.n;
        TRY(keys_beside(&k, err));
        if (r->keys.keys.n > had)
            log_line(LOG_WARN, "'pgdr init' writes it anew",
                     "the 'keys' folder of repository '%s' is %s: the copies beside the backups "
                     "are used",
                     r->name, names.n ? "damaged" : "empty");
    }
    choose_keys(r);
    if (!r->key && k.last.code != ERR_OK) {
        *err = k.last;
        return err->code;
    }
    return keys_check_oldest(r, &names, err);
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
            json_t *old = had->wrap;
            had->wrap = key->wrap;
            key->wrap = old;
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

/* --- whether all copies are whole --- */

/* Reads one and compares it with `first`, the text of a copy that was read before (empty: none). */
static ErrCode copy_check(Repo *r, const char *name, Buf *first, Err *err)
{
    Buf text AUTO(buf_release) = {0};
    TRY(wraps_get(r, name, &text, err));
    for (size_t at = 0;;) {
        json_t *wrap AUTO(json_decrefp) = NULL;
        TRY(wraps_next(&text, &at, &wrap, err));
        if (!wrap)
            break;
    }
    if (!first->len)
        buf_append(first, text.data, text.len);
    if (first->len != text.len || memcmp(first->data, text.data, text.len) != 0)
        return err_set(err, ERR_DAMAGED, "the copy differs from the others");
    return ERR_OK;
}

/* All copies of the wrap whose name begins with `stem`. */
static void wrap_check(Repo *r, const char *stem, size_t len, KeyFoundFn found, void *arg)
{
    Buf first AUTO(buf_release) = {0};
    for (int copy = 1; copy <= COPIES; copy++) {
        Err why = {0};
        char *name AUTO(mem_freep) = mem_printf("%.*s.%d", (int)len, stem, copy);
        ErrCode rc = copy_check(r, name, &first, &why);
        if (rc == ERR_OK)
            continue;
        if (rc == ERR_NOT_FOUND)
            err_set(&why, rc, "this copy of the key is missing");
        err_hint(&why,
                 "nothing is lost as long as one of the %d copies is whole; 'pgdr init' writes "
                 "the others again",
                 COPIES);
        found(arg, name, &why);
    }
}

/* "keys/<id>/<wrap>.<n>": the length of what all copies share, or 0 when it is something else. */
static size_t copy_stem(const char *name)
{
    size_t stem = wrap_stem(name);
    const char *number = name + stem;
    bool is_copy = number[0] == '.' && number[1] >= '1' && number[1] <= '0' + COPIES && !number[2];
    return is_copy ? stem : 0;
}

ErrCode keys_check(Repo *r, KeyFoundFn found, void *arg, Err *err)
{
    StrList names AUTO(str_list_release) = {0};
    TRY(storage_list_names(r->storage, KEYS_PREFIX, false, &names, err));
    const char *last = "";
    size_t last_stem = 0;
    for (size_t i = 0; i < names.n; i++) {
        size_t stem = copy_stem(names.at[i]);
        if (!stem || (stem == last_stem && strncmp(last, names.at[i], stem) == 0))
            continue;
        wrap_check(r, names.at[i], stem, found, arg);
        last = names.at[i];
        last_stem = stem;
    }
    for (size_t i = 0; i < r->keys.keys.n; i++) {
        char id[2 * KEY_ID_LEN + 1];
        char *name AUTO(mem_freep) =
            mem_printf(KEYS_PREFIX "%s/", hex_format(r->keys.keys.at[i]->id, KEY_ID_LEN, id));
        size_t n = 0;
        for (size_t k = 0; k < names.n; k++)
            n += copy_stem(names.at[k]) && strncmp(names.at[k], name, strlen(name)) == 0;
        Err why = {0};
        if (n)
            continue;
        err_set(&why, ERR_NOT_FOUND, "all copies of the key are missing");
        err_hint(&why, "the copies beside the backups are used; 'pgdr init' puts the key back");
        found(arg, name, &why);
    }
    return ERR_OK;
}

/* --- mending --- */

typedef struct Mend {
    Repo *repo;
    StrList names; /* what keys_check found */
} Mend;

static void mend_note(void *arg, const char *object, const Err *why)
{
    Mend *m = arg;
    /* One that this version does not understand, or cannot read now, is not ours to replace. */
    if (why->code == ERR_DAMAGED || why->code == ERR_NOT_FOUND || why->code == ERR_LIMIT)
        vec_push(&m->names, mem_strdup(object));
}

static const RepoKey *key_of_name(const Repo *r, const char *name)
{
    uint8_t id[KEY_ID_LEN];
    return hex_parse(name + strlen(KEYS_PREFIX), '/', id, KEY_ID_LEN) ? repo_keys_find(&r->keys, id)
                                                                      : NULL;
}

/* Whether one of the copies is exactly what the key was opened from, or none can be read at all:
 * then that is what they shall be. */
static bool is_proven(Repo *r, const RepoKey *key, const char *name)
{
    bool any = false;
    for (int copy = 1; copy <= COPIES; copy++) {
        Err why = {0};
        Buf text AUTO(buf_release) = {0};
        json_t *wrap AUTO(json_decrefp) = NULL;
        size_t at = 0;
        char *other AUTO(mem_freep) = mem_printf("%.*s.%d", (int)copy_stem(name), name, copy);
        ErrCode rc = wraps_get(r, other, &text, &why);
        if (rc == ERR_OK)
            rc = wraps_next(&text, &at, &wrap, &why);
        any |= rc != ERR_DAMAGED && rc != ERR_NOT_FOUND && rc != ERR_LIMIT;
        if (rc != ERR_OK)
            continue;
        if (json_equal(wrap, key->wrap))
            return true;
    }
    return !any;
}

static ErrCode mend_one(Repo *r, const char *name, size_t *n, Err *err)
{
    const RepoKey *key = key_of_name(r, name);
    if (!key || !copy_stem(name) || !is_proven(r, key, name))
        return ERR_OK;
    TRY(wraps_put(r, &key, 1, name, STORAGE_OVERWRITE, err));
    ++*n;
    return ERR_OK;
}

ErrCode keys_mend(Repo *r, size_t *ret, Err *err)
{
    Mend m = {.repo = r};
    *ret = 0;
    ErrCode rc = keys_check(r, mend_note, &m, err);
    for (size_t i = 0; i < m.names.n && rc == ERR_OK; i++)
        rc = mend_one(r, m.names.at[i], ret, err);
    str_list_release(&m.names);
    return rc;
}

ErrCode key_check_beside(Repo *r, const char *backup_id, Err *err)
{
    Buf text AUTO(buf_release) = {0};
    char *relative AUTO(mem_freep) = backup_object_name(backup_id, "key");
    char *name AUTO(mem_freep) = repo_full_name(r, relative);
    return copy_check(r, name, &text, err);
}

static bool key_is_stored(const RepoKey *key, const StrList *names)
{
    char id[2 * KEY_ID_LEN + 2];
    hex_format(key->id, KEY_ID_LEN, id);
    strcat(id, "/");
    for (size_t i = 0; i < names->n; i++)
        if (strncmp(names->at[i] + strlen(KEYS_PREFIX), id, strlen(id)) == 0)
            return true;
    return false;
}

ErrCode keys_put_back(Repo *r, KeyRing *ring, Err *err)
{
    StrList names AUTO(str_list_release) = {0};
    KeysRead k = {.repo = r, .ring = ring};
    TRY(storage_list_names(r->storage, KEYS_PREFIX, false, &names, err));
    TRY(keys_beside(&k, err));
    choose_keys(r);
    keys_keep_cipher(r, r->key->cipher);
    for (size_t i = 0; i < r->keys.keys.n; i++) {
        RepoKey *key = r->keys.keys.at[i];
        char id[2 * KEY_ID_LEN + 1];
        if (key_is_stored(key, &names))
            continue;
        TRY(key_put(r, key, err));
        log_info("key %s, of which only copies beside backups were left, is in the 'keys' folder "
                 "of repository '%s' again",
                 hex_format(key->id, KEY_ID_LEN, id), r->name);
    }
    return ERR_OK;
}

/* --- a new passphrase, a new key --- */

/*
 * Whether a passphrase opens the repository hangs on the oldest key (keys_check_oldest). Its new
 * wrap comes last and its old one goes first, so that either passphrase opens all keys or none,
 * wherever this is interrupted.
 */
static int youngest_first(const void *a, const void *b)
{
    return -key_compare(*(RepoKey *const *)a, *(RepoKey *const *)b);
}

static ErrCode rekey_wrap_all(Repo *r, KeyRing *ring, const WrapMethod *m, Err *err)
{
    qsort(r->keys.keys.at, r->keys.keys.n, sizeof(*r->keys.keys.at), youngest_first);
    for (size_t i = 0; i < r->keys.keys.n; i++) {
        TRY(repo_key_wrap(r->keys.keys.at[i], ring, m, err));
        TRY(key_put(r, r->keys.keys.at[i], err));
    }
    return ERR_OK;
}

static ErrCode rekey_remove(Repo *r, const StrList *old, Err *err)
{
    char id[2 * KEY_ID_LEN + 1];
    StrList first = {0}, rest = {0}; /* borrowed names */
    char *oldest AUTO(mem_freep) =
        mem_printf(KEYS_PREFIX "%s/", hex_format(r->wal_key->id, KEY_ID_LEN, id));
    for (size_t i = 0; i < old->n; i++) {
        if (strncmp(old->at[i], oldest, strlen(oldest)) == 0)
            vec_push(&first, old->at[i]);
        else
            vec_push(&rest, old->at[i]);
    }
    ErrCode rc = storage_remove(r->storage, (const char *const *)first.at, first.n, err);
    if (rc == ERR_OK)
        rc = storage_remove(r->storage, (const char *const *)rest.at, rest.n, err);
    vec_release(&first);
    vec_release(&rest);
    return rc;
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
    KeyRing *was AUTO(keyring_freep) = keyring_new(spec->secret);
    KeyRing *ring AUTO(keyring_freep) = keyring_new(secret ? secret : spec->secret);
    WrapMethod m;
    if (r->key->cipher == CIPHER_NONE)
        return err_set(err, ERR_USAGE, "repository '%s' is not encrypted: it has no passphrase",
                       r->name);
    TRY(keys_put_back(r, was, err));
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
    return rekey_remove(r, &old, err);
}
