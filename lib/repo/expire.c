#include "lib/repo/expire.h"

#include <string.h>

#include "lib/common/hex.h"
#include "lib/repo/manifest.h"
#include "lib/repo/trash.h"

ErrCode expire_refuse_unknown(const Repo *repo, const BackupStates *states, Err *err)
{
    for (size_t i = 0; i < states->n; i++)
        if (states->at[i].unknown) {
            const BackupState *s = &states->at[i];
            err_set(err, ERR_VERSION,
                    "'%s' holds objects this pgdr does not know below '%s/%s': nothing is deleted",
                    repo_url(repo), repo->cluster, *s->id ? s->id : s->objects.at[0]);
            return err_hint(err, "use the latest pgdr that writes to this repository; what is no "
                                 "part of it must be moved away");
        }
    return ERR_OK;
}

/*
 * Whether a packs list may be missing: a sweep takes the manifest away first, and the list after
 * it. And the list of a backup that was never committed may have gone before its manifest came,
 * from a writer that had slept: it can never be committed now.
 */
static bool may_be_missing(Repo *repo, const char *backup_id)
{
    char *manifest AUTO(mem_freep) = backup_object_name(backup_id, "manifest");
    char *summary AUTO(mem_freep) = backup_object_name(backup_id, "summary");
    StorageStat st;
    Err err;
    return repo_stat(repo, manifest, &st, &err) == ERR_NOT_FOUND ||
           repo_stat(repo, summary, &st, &err) == ERR_NOT_FOUND;
}

ErrCode expire_protect(Repo *repo, const char *backup_id, NameSet *keep, Err *err)
{
    PacksList list AUTO(packs_list_release) = {.own = {0}};
    ErrCode rc = packs_list_get(repo, backup_id, NULL, &list, err);
    if (rc == ERR_NOT_FOUND && may_be_missing(repo, backup_id))
        return ERR_OK;
    if (rc != ERR_OK)
        return err_wrap(err, "nothing is deleted");
    for (size_t i = 0; i < list.own.n; i++)
        name_set_add(keep, pack_name(backup_id, list.own.at[i].id));
    for (size_t i = 0; i < list.refs.n; i++)
        for (size_t k = 0; k < list.refs.at[i].packs.n; k++)
            name_set_add(keep,
                         pack_name(list.refs.at[i].backup_id, list.refs.at[i].packs.at[k].id));
    return ERR_OK;
}

bool expire_name_id(const char *name, const char *prefix, char id[BACKUP_ID_LEN + 1])
{
    size_t n = strlen(prefix);
    if (strncmp(name, prefix, n) != 0 || strlen(name) <= n + BACKUP_ID_LEN ||
        name[n + BACKUP_ID_LEN] != '/')
        return false;
    memcpy(id, name + n, BACKUP_ID_LEN);
    id[BACKUP_ID_LEN] = '\0';
    return true;
}

/* --- condemn --- */

typedef struct Condemn {
    Repo *repo;
    const BackupStates *states;
    NameSet leased, keep; /* backup ids; pack names */
    StrList names;
    char last_doomed[BACKUP_ID_LEN + 1];
} Condemn;

/* The three names that make a backup are condemned even when they do not exist yet, so that what is
 * put of it later goes with the rest. */
static void doom_backup(Condemn *c, const char *id)
{
    if (strcmp(c->last_doomed, id) == 0)
        return;
    memcpy(c->last_doomed, id, BACKUP_ID_LEN + 1);
    vec_push(&c->names, backup_object_name(id, "summary"));
    vec_push(&c->names, backup_object_name(id, "manifest"));
    vec_push(&c->names, backup_object_name(id, "packs"));
}

static void condemn_state(Condemn *c, const BackupState *s)
{
    doom_backup(c, s->id);
    for (size_t i = 0; i < s->objects.n; i++) {
        const char *what = strrchr(s->objects.at[i], '/') + 1;
        if (strcmp(what, "summary") != 0 && strcmp(what, "manifest") != 0 &&
            strcmp(what, "packs") != 0)
            vec_push(&c->names, mem_strdup(s->objects.at[i]));
    }
}

static ErrCode condemn_pack(void *arg, const RepoEntry *e, Err *err)
{
    Condemn *c = arg;
    char id[BACKUP_ID_LEN + 1];
    if (!expire_name_id(e->name, "packs/", id))
        return err_set(err, ERR_VERSION, "'%s' is no pack of a backup: nothing is deleted",
                       e->name);
    const BackupState *s = backup_states_find(c->states, id);
    if (name_set_has(&c->keep, e->name) ||
        (!(s && backup_exists(s)) && name_set_has(&c->leased, id)))
        return ERR_OK;
    if (!s)
        doom_backup(c, id);
    vec_push(&c->names, mem_strdup(e->name));
    return ERR_OK;
}

static ErrCode put_tombstones(Repo *repo, const BackupStates *states, const StrList *retire,
                              Err *err)
{
    for (size_t i = 0; i < retire->n; i++) {
        const BackupState *s = backup_states_find(states, retire->at[i]);
        if (!s || s->deleted.n)
            continue;
        TRY(backup_put_tombstone(repo, s->id, err));
    }
    return ERR_OK;
}

static ErrCode condemn_all(Condemn *c, Err *err)
{
    for (size_t i = 0; i < c->states->n; i++) {
        const BackupState *s = &c->states->at[i];
        if (backup_exists(s) && !s->deleted.n)
            TRY(expire_protect(c->repo, s->id, &c->keep, err));
        else if (s->deleted.n || !name_set_has(&c->leased, s->id))
            condemn_state(c, s);
    }
    RepoList packs = {.prefix = "packs/", .fn = condemn_pack, .arg = c};
    return repo_list(c->repo, &packs, err);
}

/* Whether one trash object names all of this already: expire runs far more often than anything
 * ripens. */
static ErrCode condemned_before(Repo *repo, const StrList *names, bool *ret, Err *err)
{
    TrashList trash AUTO(trash_list_release) = {0};
    TRY(trash_read(repo, INT64_MIN, &trash, err));
    *ret = false;
    for (size_t i = 0; i < trash.n && !*ret; i++) {
        size_t k = 0;
        while (k < names->n && name_set_has(&trash.at[i].names, names->at[k]))
            k++;
        *ret = k == names->n;
    }
    return ERR_OK;
}

static void condemn_release(Condemn *c)
{
    name_set_release(&c->leased);
    name_set_release(&c->keep);
    str_list_release(&c->names);
}

ErrCode expire_condemn(Repo *repo, const StrList *retire, size_t *ret_named, Err *err)
{
    BackupStates states AUTO(backup_states_release) = {0};
    Condemn c AUTO(condemn_release) = {.repo = repo, .states = &states};
    bool before = false;
    TRY(backup_states_read(repo, NULL, &states, err));
    TRY(expire_refuse_unknown(repo, &states, err));
    TRY(put_tombstones(repo, &states, retire, err));
    if (retire->n)
        TRY(backup_states_read(repo, NULL, &states, err));
    TRY(lease_backups(repo, &c.leased.names, err));
    TRY(condemn_all(&c, err));
    if (c.names.n)
        TRY(condemned_before(repo, &c.names, &before, err));
    if (c.names.n && !before)
        TRY(trash_put(repo, &c.names, err));
    *ret_named = before ? 0 : c.names.n;
    return ERR_OK;
}
