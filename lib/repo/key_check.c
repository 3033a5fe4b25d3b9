/* Are all copies of all keys there, and writing them again. */

#include <string.h>

#include "lib/common/hex.h"
#include "lib/common/log.h"
#include "lib/repo/key_beside.h"
#include "lib/repo/key_store.h"

/* --- checking --- */

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

/* What can be written anew: not what cannot be read just now, or only by a later version. */
static bool can_be_mended(ErrCode rc)
{
    return rc == ERR_DAMAGED || rc == ERR_NOT_FOUND || rc == ERR_LIMIT;
}

static void stem_check(Repo *r, const char *stem, KeyFoundFn found, void *arg)
{
    Buf first AUTO(buf_release) = {0};
    for (int copy = 1; copy <= KEY_COPIES; copy++) {
        Err why = {0};
        char *name AUTO(mem_freep) = wrap_copy_name(stem, copy);
        ErrCode rc = copy_check(r, name, &first, &why);
        if (rc == ERR_OK)
            continue;
        if (rc == ERR_NOT_FOUND)
            err_set(&why, rc, "this copy of the key is missing");
        if (can_be_mended(rc))
            err_hint(&why,
                     "nothing is lost as long as one of the %d copies is whole; 'pgdr init' "
                     "writes the others again",
                     KEY_COPIES);
        found(arg, name, &why);
    }
}

static bool key_is_stored(const RepoKey *key, const StrList *stems)
{
    uint8_t id[KEY_ID_LEN];
    for (size_t i = 0; i < stems->n; i++)
        if (hex_parse(stems->at[i] + strlen(KEYS_PREFIX), '/', id, KEY_ID_LEN) &&
            memcmp(id, key->id, KEY_ID_LEN) == 0)
            return true;
    return false;
}

ErrCode keys_check(Repo *r, KeyFoundFn found, void *arg, Err *err)
{
    StrList stems AUTO(str_list_release) = {0};
    TRY(wrap_stems_list(r, &stems, err));
    for (size_t i = 0; i < stems.n; i++)
        stem_check(r, stems.at[i], found, arg);
    for (size_t i = 0; i < r->keys.keys.n; i++) {
        char id[2 * KEY_ID_LEN + 1];
        Err why = {0};
        if (key_is_stored(r->keys.keys.at[i], &stems))
            continue;
        char *name AUTO(mem_freep) =
            mem_printf(KEYS_PREFIX "%s/", hex_format(r->keys.keys.at[i]->id, KEY_ID_LEN, id));
        err_set(&why, ERR_NOT_FOUND, "all copies of the key are missing");
        err_hint(&why, "the copies beside the backups are used; 'pgdr init' puts the key back");
        found(arg, name, &why);
    }
    return ERR_OK;
}

/* --- copies in keys/ --- */

/* Whether one of the copies is exactly what the key was opened from, or none can be read at all:
 * then that is what they shall be. */
static bool is_proven(Repo *r, const RepoKey *key, const char *name)
{
    bool any = false;
    for (int copy = 1; copy <= KEY_COPIES; copy++) {
        Err why = {0};
        json_t *wrap AUTO(json_decrefp) = NULL;
        char *other AUTO(mem_freep) = mem_printf("%.*s.%d", KEY_STEM_LEN, name, copy);
        ErrCode rc = wrap_get(r, other, &wrap, &why);
        any |= !can_be_mended(rc);
        if (rc == ERR_OK && json_equal(wrap, key->wrap))
            return true;
    }
    return !any;
}

static ErrCode copy_mend(Repo *r, const char *name, size_t *n, Err *err)
{
    Buf text AUTO(buf_release) = {0};
    uint8_t id[KEY_ID_LEN];
    const RepoKey *key = wrap_name_parse(name, id) ? repo_keys_find(&r->keys, id) : NULL;
    if (!key || !is_proven(r, key, name))
        return ERR_OK;
    key_wrap_append(&text, key->wrap);
    TRY(wraps_put(r, key, &text, name, STORAGE_OVERWRITE, err));
    ++*n;
    return ERR_OK;
}

static ErrCode put_back(Repo *r, const StrList *stems, size_t *ret, Err *err)
{
    for (size_t i = 0; i < r->keys.keys.n; i++) {
        RepoKey *key = r->keys.keys.at[i];
        char id[2 * KEY_ID_LEN + 1];
        if (key_is_stored(key, stems))
            continue;
        TRY(key_put(r, key, NULL, err));
        ++*ret;
        log_info("key %s, of which only copies beside backups were left, is in the 'keys' folder "
                 "of repository '%s' again",
                 hex_format(key->id, KEY_ID_LEN, id), r->name);
    }
    return ERR_OK;
}

ErrCode keys_put_back(Repo *r, KeyRing *ring, size_t *ret, Err *err)
{
    BesideCopies copies AUTO(beside_copies_release) = {0};
    StrList stems AUTO(str_list_release) = {0};
    *ret = 0;
    TRY(wrap_stems_list(r, &stems, err));
    TRY(keys_read_beside(r, ring, &copies, err));
    return put_back(r, &stems, ret, err);
}

/* --- all --- */

typedef struct Defects {
    StrList copies; /* in keys/ */
    bool folders;
    bool beside;
} Defects;

static void defects_release(Defects *d)
{
    str_list_release(&d->copies);
}

static void note_defect(void *arg, const char *object, const Err *why)
{
    Defects *d = arg;
    if (!can_be_mended(why->code))
        return;
    if (object[strlen(object) - 1] == '/')
        d->folders = true;
    else
        vec_push(&d->copies, mem_strdup(object));
}

static ErrCode find_defects(Repo *r, KeyRing *ring, Defects *d, Err *err)
{
    BesideCopies copies AUTO(beside_copies_release) = {0};
    KeyWraps want AUTO(key_wraps_release) = {0};
    StrList stems AUTO(str_list_release) = {0};
    TRY(keys_read_beside(r, ring, &copies, err));
    TRY(keys_check(r, note_defect, d, err));
    TRY(key_wraps_now(r, &want, &stems, err));
    for (size_t i = 0; i < copies.n; i++)
        d->beside |= !beside_copy_fits(&copies.at[i], &want) && copies.at[i].rc != ERR_VERSION;
    return ERR_OK;
}

/* With the lease: what was found before may have been somebody's work. */
static ErrCode mend(Repo *r, KeyRing *ring, KeysLease *lease, KeysMended *ret, Err *err)
{
    Defects d AUTO(defects_release) = {.folders = false};
    BesideCopies copies AUTO(beside_copies_release) = {0};
    KeyWraps want AUTO(key_wraps_release) = {0};
    StrList stems AUTO(str_list_release) = {0}, now AUTO(str_list_release) = {0};
    TRY(wrap_stems_list(r, &stems, err));
    TRY(keys_read_beside(r, ring, &copies, err));
    TRY(put_back(r, &stems, &ret->folders, err));
    TRY(keys_check(r, note_defect, &d, err));
    for (size_t i = 0; i < d.copies.n; i++)
        TRY(copy_mend(r, d.copies.at[i], &ret->copies, err));
    TRY(key_wraps_now(r, &want, &now, err));
    return beside_copies_write(r, &copies, &want, lease, &ret->beside, err);
}

ErrCode keys_mend(Repo *r, const KeySecret *secret, KeysMended *ret, Err *err)
{
    KeyRing *ring AUTO(keyring_freep) = keyring_new(secret);
    Defects d AUTO(defects_release) = {.folders = false};
    KeysLease *lease AUTO(keys_lease_releasep) = NULL;
    *ret = (KeysMended){.copies = 0};
    TRY(find_defects(r, ring, &d, err));
    if (!d.copies.n && !d.folders && !d.beside)
        return ERR_OK;
    TRY(keys_lease_take(r, "init", &lease, err));
    return mend(r, ring, lease, ret, err);
}
