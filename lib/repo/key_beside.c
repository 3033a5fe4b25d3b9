#include "lib/repo/key_beside.h"

#include <stdio.h>
#include <string.h>

#include "lib/common/log.h"
#include "lib/common/workers.h"
#include "lib/repo/key_store.h"
#include "lib/repo/manifest.h"

/* Each time somebody changes keys meanwhile, in three steps or so. */
#define TRIES_MAX 20
/* What is overwritten must not be by who has slept. */
#define CHECK_EVERY (10 * US_PER_SECOND)

/* --- reading --- */

void beside_copies_release(BesideCopies *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->at[i].name);
        buf_release(&l->at[i].text);
    }
    vec_release(l);
}

/* What is wrong with this one copy alone stands in it. */
static ErrCode copy_read(Repo *r, BesideCopy *c, Err *err)
{
    size_t at = 0;
    c->text.len = 0;
    c->rc = wraps_get(r, c->name, &c->text, &c->err);
    for (bool more = true; c->rc == ERR_OK && more;) {
        json_t *wrap AUTO(json_decrefp) = NULL;
        c->rc = wraps_next(&c->text, &at, &wrap, &c->err);
        more = wrap != NULL;
    }
    if (c->rc == ERR_OK || c->rc == ERR_NOT_FOUND || c->rc == ERR_DAMAGED || c->rc == ERR_LIMIT ||
        c->rc == ERR_VERSION || c->rc == ERR_IO || c->rc == ERR_ACCESS)
        return ERR_OK;
    *err = c->err;
    return c->rc;
}

/* "<cluster>/backups/<id>/key" for the directories of backups in a list of names. */
static void copy_names(const StrList *names, BesideCopies *ret)
{
    for (size_t i = 0; i < names->n; i++) {
        const char *what = strrchr(names->at[i], '/') + 1;
        if (strcmp(what, "key") != 0 && strcmp(what, "summary") != 0)
            continue;
        char *name = mem_printf("%.*skey", (int)(what - names->at[i]), names->at[i]);
        if (ret->n && strcmp(ret->at[ret->n - 1].name, name) == 0)
            free(name); /* "key" comes before "summary" */
        else
            vec_push(ret, (BesideCopy){.name = name});
    }
}

ErrCode beside_copies_read(Repo *r, BesideCopies *ret, Err *err)
{
    StrList clusters AUTO(str_list_release) = {0};
    TRY(repo_list_clusters(r, &clusters, err));
    for (size_t i = 0; i < clusters.n; i++) {
        StrList names AUTO(str_list_release) = {0};
        char *prefix AUTO(mem_freep) = mem_printf("%s/backups/", clusters.at[i]);
        TRY(storage_list_names(r->storage, prefix, false, &names, err));
        copy_names(&names, ret);
    }
    for (size_t i = 0; i < ret->n; i++)
        TRY(copy_read(r, &ret->at[i], err));
    return ERR_OK;
}

/* --- what they should hold --- */

void key_wraps_release(KeyWraps *w)
{
    for (size_t i = 0; i < w->n; i++)
        json_decref(w->at[i]);
    vec_release(w);
}

void key_wraps_of(const Repo *r, KeyWraps *ret)
{
    for (size_t i = 0; i < r->keys.keys.n; i++)
        vec_push(ret, json_incref(r->keys.keys.at[i]->wrap));
}

static bool wraps_have(const KeyWraps *w, const json_t *wrap)
{
    for (size_t i = 0; i < w->n; i++)
        if (json_equal(w->at[i], wrap))
            return true;
    return false;
}

static bool wraps_have_key(const KeyWraps *w, const json_t *wrap)
{
    uint8_t want[KEY_ID_LEN], id[KEY_ID_LEN];
    if (!wrap_key_id(wrap, want))
        return false;
    for (size_t i = 0; i < w->n; i++)
        if (wrap_key_id(w->at[i], id) && memcmp(id, want, KEY_ID_LEN) == 0)
            return true;
    return false;
}

static bool same_cipher(const Repo *r, const json_t *wrap)
{
    const char *cipher = json_string_value(json_object_get(wrap, "cipher"));
    return cipher && (strcmp(cipher, "none") == 0) == (r->key->cipher == CIPHER_NONE);
}

static const RepoKey *key_of_stem(const Repo *r, const char *stem)
{
    for (size_t i = 0; i < r->keys.keys.n; i++)
        if (strcmp(r->keys.keys.at[i]->stem, stem) == 0)
            return r->keys.keys.at[i];
    return NULL;
}

/* One that vanishes is being replaced; one that is damaged is of no use to anybody. */
static ErrCode wrap_now(Repo *r, const char *stem, KeyWraps *ret, Err *err)
{
    json_t *wrap AUTO(json_decrefp) = NULL;
    Err why = {0};
    const RepoKey *known = key_of_stem(r, stem);
    if (known) {
        vec_push(ret, json_incref(known->wrap));
        return ERR_OK;
    }
    ErrCode rc = wrap_get_any(r, stem, &wrap, &why);
    if (rc == ERR_OK && same_cipher(r, wrap))
        vec_push(ret, json_incref(wrap));
    if (rc == ERR_OK || rc == ERR_NOT_FOUND || rc == ERR_DAMAGED || rc == ERR_LIMIT ||
        rc == ERR_VERSION)
        return ERR_OK;
    *err = why;
    return rc;
}

ErrCode key_wraps_now(Repo *r, KeyWraps *ret, StrList *stems, Err *err)
{
    TRY(wrap_stems_list(r, stems, err));
    for (size_t i = 0; i < stems->n && i < KEYS_MAX; i++)
        TRY(wrap_now(r, stems->at[i], ret, err));
    for (size_t i = 0; i < r->keys.keys.n; i++)
        if (!wraps_have_key(ret, r->keys.keys.at[i]->wrap))
            vec_push(ret, json_incref(r->keys.keys.at[i]->wrap));
    return ERR_OK;
}

/* --- writing --- */

/* The lines of a copy whose keys `want` says nothing about: nobody knows what they are good for.
 * *ret_same: whether the others are just those of `want`. */
static void copy_others(const BesideCopy *c, const KeyWraps *want, Buf *others, bool *ret_same)
{
    size_t found = 0;
    *ret_same = c->rc == ERR_OK;
    for (size_t at = 0; c->rc == ERR_OK;) {
        json_t *wrap AUTO(json_decrefp) = NULL;
        Err none;
        if (wraps_next(&c->text, &at, &wrap, &none) != ERR_OK || !wrap)
            break;
        if (wraps_have(want, wrap))
            found++;
        else if (wraps_have_key(want, wrap))
            *ret_same = false;
        else
            key_wrap_append(others, wrap);
    }
    *ret_same = *ret_same && found == want->n;
}

bool beside_copy_fits(const BesideCopy *c, const KeyWraps *want)
{
    Buf others AUTO(buf_release) = {0};
    bool same;
    copy_others(c, want, &others, &same);
    return same;
}

/* At least those of `want`: during a change of the passphrase a copy may hold more. */
static bool beside_copy_holds(const BesideCopy *c, const KeyWraps *want)
{
    KeyWraps has AUTO(key_wraps_release) = {0};
    bool all = c->rc == ERR_OK;
    for (size_t at = 0; all;) {
        json_t *wrap AUTO(json_decrefp) = NULL;
        Err none;
        if (wraps_next(&c->text, &at, &wrap, &none) != ERR_OK || !wrap)
            break;
        vec_push(&has, json_incref(wrap));
    }
    for (size_t i = 0; i < want->n; i++)
        all = all && wraps_have(&has, want->at[i]);
    return all;
}

static ErrCode copy_write(Repo *r, const BesideCopy *c, const KeyWraps *want, size_t *n, Err *err)
{
    Buf text AUTO(buf_release) = {0}, others AUTO(buf_release) = {0};
    bool same;
    copy_others(c, want, &others, &same);
    if (same)
        return ERR_OK;
    if (c->rc == ERR_VERSION || c->rc == ERR_IO || c->rc == ERR_ACCESS) {
        log_line(LOG_WARN, c->err.hint, "the copy of the keys in '%s' stays as it is: %s", c->name,
                 c->err.message);
        return ERR_OK;
    }
    for (size_t i = 0; i < want->n; i++)
        key_wrap_append(&text, want->at[i]);
    if (text.len + others.len <= KEY_TEXT_MAX)
        buf_append(&text, others.data, others.len);
    TRY(wraps_put(r, r->key, &text, c->name, STORAGE_OVERWRITE, err));
    ++*n;
    return ERR_OK;
}

ErrCode beside_copies_write(Repo *r, const BesideCopies *l, const KeyWraps *want, KeysLease *lease,
                            size_t *ret, Err *err)
{
    TimeUs checked = time_monotonic();
    *ret = 0;
    for (size_t i = 0; i < l->n; i++) {
        TRY(cancel_check(err));
        if (lease && time_monotonic() - checked > CHECK_EVERY) {
            TRY(keys_lease_check(lease, err));
            checked = time_monotonic();
        }
        TRY(copy_write(r, &l->at[i], want, ret, err));
    }
    return ERR_OK;
}

static bool same_names(const StrList *a, const StrList *b)
{
    for (size_t i = 0; i < a->n && i < b->n; i++)
        if (strcmp(a->at[i], b->at[i]) != 0)
            return false;
    return a->n == b->n;
}

static void stems_of(const Repo *r, StrList *ret)
{
    for (size_t i = 0; i < r->keys.keys.n; i++)
        if (r->keys.keys.at[i]->stem[0])
            vec_push(ret, mem_strdup(r->keys.keys.at[i]->stem));
    str_list_sort(ret);
}

ErrCode key_put_beside(Repo *r, const char *backup_id, Err *err)
{
    char *relative AUTO(mem_freep) = backup_object_name(backup_id, "key");
    BesideCopies one AUTO(beside_copies_release) = {0};
    KeyWraps want AUTO(key_wraps_release) = {0};
    StrList stems AUTO(str_list_release) = {0};
    vec_push(&one, (BesideCopy){.name = repo_full_name(r, relative)});
    key_wraps_of(r, &want);
    stems_of(r, &stems);
    for (int i = 0; i < TRIES_MAX; i++) {
        StrList now AUTO(str_list_release) = {0};
        KeyWraps want_now AUTO(key_wraps_release) = {0};
        size_t n;
        TRY(copy_read(r, &one.at[0], err));
        TRY(beside_copies_write(r, &one, &want, NULL, &n, err));
        TRY(key_wraps_now(r, &want_now, &now, err));
        if (same_names(&stems, &now))
            return ERR_OK;
        SWAP(stems, now);
        SWAP(want, want_now);
    }
    return err_set(err, ERR_BUSY, "the keys of repository '%s' change all the time", r->name);
}

/* --- all of them --- */

ErrCode keys_put_beside_all(Repo *r, KeysLease *lease, size_t *ret, Err *err)
{
    BesideCopies all AUTO(beside_copies_release) = {0};
    KeyWraps want AUTO(key_wraps_release) = {0};
    TRY(beside_copies_read(r, &all, err));
    key_wraps_of(r, &want);
    TRY(keys_lease_check(lease, err)); /* reading them may have taken long */
    return beside_copies_write(r, &all, &want, lease, ret, err);
}

ErrCode key_check_beside(Repo *r, const char *backup_id, bool *ret_complete, Err *err)
{
    char *relative AUTO(mem_freep) = backup_object_name(backup_id, "key");
    BesideCopies one AUTO(beside_copies_release) = {0};
    KeyWraps want AUTO(key_wraps_release) = {0};
    vec_push(&one, (BesideCopy){.name = repo_full_name(r, relative)});
    TRY(copy_read(r, &one.at[0], err));
    key_wraps_of(r, &want);
    *ret_complete = beside_copy_holds(&one.at[0], &want);
    if (one.at[0].rc != ERR_OK)
        *err = one.at[0].err;
    return one.at[0].rc;
}
