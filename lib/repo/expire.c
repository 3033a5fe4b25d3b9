#include <string.h>

#include "lib/common/hex.h"
#include "lib/common/log.h"
#include "lib/repo/manifest.h"
#include "lib/repo/name_set.h"
#include "lib/repo/publish.h"
#include "lib/repo/trash.h"

/* Nothing is deleted from a repository that holds anything this version does not know. */
static ErrCode refuse_unknown(const Repo *repo, const BackupStates *states, Err *err)
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

/* Adds the names of all packs that a backup's list protects. */
static ErrCode protect_packs(Repo *repo, const char *backup_id, NameSet *keep, Err *err)
{
    PacksList list AUTO(packs_list_release) = {.own = {0}};
    if (packs_list_get(repo, backup_id, NULL, &list, err) != ERR_OK)
        return err_wrap(err, "nothing is deleted");
    for (size_t i = 0; i < list.own.n; i++)
        name_set_add(keep, pack_name(backup_id, list.own.at[i].id));
    for (size_t i = 0; i < list.refs.n; i++)
        for (size_t k = 0; k < list.refs.at[i].packs.n; k++)
            name_set_add(keep,
                         pack_name(list.refs.at[i].backup_id, list.refs.at[i].packs.at[k].id));
    return ERR_OK;
}

/* "packs/<id>/…" or "backups/<id>/…" to the id; false for other names. */
static bool name_backup(const char *name, const char *prefix, char id[BACKUP_ID_LEN + 1])
{
    size_t n = strlen(prefix);
    if (strncmp(name, prefix, n) != 0 || strlen(name) <= n + BACKUP_ID_LEN ||
        name[n + BACKUP_ID_LEN] != '/')
        return false;
    memcpy(id, name + n, BACKUP_ID_LEN);
    id[BACKUP_ID_LEN] = '\0';
    return true;
}

static const BackupState *state_find(const BackupStates *states, const char *id)
{
    for (size_t i = 0; i < states->n; i++)
        if (strcmp(states->at[i].id, id) == 0)
            return &states->at[i];
    return NULL;
}

/* --- condemn --- */

typedef struct Condemn {
    Repo *repo;
    const BackupStates *states;
    NameSet leased, keep; /* backup ids; pack names */
    StrList names;
    char last_doomed[BACKUP_ID_LEN + 1];
} Condemn;

/* The three names that make a backup are condemned even when they do not exist yet: whoever puts
 * them later finds that out before it commits. */
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
    if (!name_backup(e->name, "packs/", id))
        return err_set(err, ERR_VERSION, "'%s' is no pack of a backup: nothing is deleted",
                       e->name);
    const BackupState *s = state_find(c->states, id);
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
        const BackupState *s = state_find(states, retire->at[i]);
        if (!s || s->deleted.n)
            continue;
        char uuid[33], what[48];
        snprintf(what, sizeof(what), "deleted-%s", random_name(uuid));
        char *name AUTO(mem_freep) = backup_object_name(s->id, what);
        json_t *body AUTO(json_decrefp) = json_pack("{s:I}", "time", (json_int_t)time_now());
        TRY(document_put_json(repo, name, KIND_MARK, body, STORAGE_CREATE, NULL, err));
    }
    return ERR_OK;
}

static ErrCode condemn_all(Condemn *c, Err *err)
{
    for (size_t i = 0; i < c->states->n; i++) {
        const BackupState *s = &c->states->at[i];
        if (backup_exists(s) && !s->deleted.n)
            TRY(protect_packs(c->repo, s->id, &c->keep, err));
        else if (s->deleted.n || !name_set_has(&c->leased, s->id))
            condemn_state(c, s);
    }
    RepoList packs = {.prefix = "packs/", .fn = condemn_pack, .arg = c};
    return repo_list(c->repo, &packs, err);
}

ErrCode expire_condemn(Repo *repo, const StrList *retire, size_t *ret_named, Err *err)
{
    BackupStates states AUTO(backup_states_release) = {0};
    TRY(backup_states_read(repo, NULL, &states, err));
    TRY(refuse_unknown(repo, &states, err));
    TRY(put_tombstones(repo, &states, retire, err));
    if (retire->n)
        TRY(backup_states_read(repo, NULL, &states, err));
    Condemn c = {.repo = repo, .states = &states};
    ErrCode rc = lease_backups(repo, &c.leased.names, err);
    if (rc == ERR_OK)
        rc = condemn_all(&c, err);
    if (rc == ERR_OK && c.names.n)
        rc = trash_put(repo, &c.names, err);
    *ret_named = c.names.n;
    name_set_release(&c.leased);
    name_set_release(&c.keep);
    str_list_release(&c.names);
    return rc;
}

/* --- sweep --- */

typedef struct Sweep {
    Repo *repo;
    BackupStates states;
    NameSet leased, keep;
    StrList first, second, third; /* summaries; manifests; all else */
} Sweep;

static void sweep_release(Sweep *s)
{
    backup_states_release(&s->states);
    name_set_release(&s->leased);
    name_set_release(&s->keep);
    str_list_release(&s->first);
    str_list_release(&s->second);
    str_list_release(&s->third);
}

/* Whether a backup that a trash object names may go now. */
static bool backup_may_go(Sweep *s, const char *id)
{
    const BackupState *b = state_find(&s->states, id);
    if (!b || !b->manifest)
        return true; /* what is left of it is of no use */
    if (!b->summary)
        return !name_set_has(&s->leased, id);
    return b->deleted.n > 0;
}

static void sweep_sort_names(Sweep *s, const TrashInfo *trash, StrList *backups)
{
    for (size_t i = 0; i < trash->names.n; i++) {
        const char *name = trash->names.at[i], *what = strrchr(name, '/');
        char id[BACKUP_ID_LEN + 1];
        if (!what || !name_backup(name, "backups/", id))
            continue;
        if (!backup_may_go(s, id))
            continue;
        if (!backups->n || strcmp(backups->at[backups->n - 1], id) != 0)
            vec_push(backups, mem_strdup(id));
        StrList *to = strcmp(what, "/summary") == 0    ? &s->first
                      : strcmp(what, "/manifest") == 0 ? &s->second
                                                       : &s->third;
        vec_push(to, mem_strdup(name));
    }
}

/* The mark: every manifest that stays protects its packs, whether it is committed or not. */
static ErrCode sweep_mark(Sweep *s, NameSet *going, Err *err)
{
    for (size_t i = 0; i < s->states.n; i++) {
        const BackupState *b = &s->states.at[i];
        if (b->manifest && !name_set_has(going, b->id))
            TRY(protect_packs(s->repo, b->id, &s->keep, err));
    }
    return ERR_OK;
}

static void sweep_packs(Sweep *s, const TrashInfo *trash)
{
    for (size_t i = 0; i < trash->names.n; i++) {
        const char *name = trash->names.at[i];
        char id[BACKUP_ID_LEN + 1];
        if (!name_backup(name, "packs/", id) || name_set_has(&s->keep, name))
            continue;
        const BackupState *b = state_find(&s->states, id);
        if (!(b && backup_exists(b)) && name_set_has(&s->leased, id))
            continue;
        vec_push(&s->third, mem_strdup(name));
    }
}

static ErrCode remove_all(Repo *repo, const StrList *names, size_t *removed, Err *err)
{
    if (!names->n)
        return ERR_OK;
    TRY(repo_remove(repo, (const char *const *)names->at, names->n, err));
    *removed += names->n;
    return ERR_OK;
}

static ErrCode sweep_one(Repo *repo, const TrashInfo *trash, size_t *removed, Err *err)
{
    Sweep s AUTO(sweep_release) = {.repo = repo};
    NameSet going AUTO(name_set_release) = {.sorted = false};
    TRY(lease_backups(repo, &s.leased.names, err));
    TRY(backup_states_read(repo, NULL, &s.states, err));
    TRY(refuse_unknown(repo, &s.states, err));
    sweep_sort_names(&s, trash, &going.names);
    TRY(sweep_mark(&s, &going, err));
    sweep_packs(&s, trash);
    TRY(remove_all(repo, &s.first, removed, err));
    TRY(remove_all(repo, &s.second, removed, err));
    TRY(remove_all(repo, &s.third, removed, err));
    const char *name = trash->name;
    return repo_remove(repo, &name, 1, err);
}

ErrCode expire_sweep(Repo *repo, TimeUs grace, size_t *ret_removed, Err *err)
{
    TrashList trash = {0};
    *ret_removed = 0;
    ErrCode rc = trash_read(repo, grace, &trash, err);
    for (size_t i = 0; i < trash.n && rc == ERR_OK; i++)
        rc = sweep_one(repo, &trash.at[i], ret_removed, err);
    trash_list_release(&trash);
    return rc;
}

/* --- undelete --- */

static ErrCode undelete_refuse_ripe(Repo *repo, const char *backup_id, TimeUs grace, Err *err)
{
    TrashList trash = {0};
    char *manifest AUTO(mem_freep) = backup_object_name(backup_id, "manifest");
    ErrCode rc = trash_read(repo, grace / 2, &trash, err);
    for (size_t i = 0; i < trash.n && rc == ERR_OK; i++)
        for (size_t k = 0; k < trash.at[i].names.n && rc == ERR_OK; k++)
            if (strcmp(trash.at[i].names.at[k], manifest) == 0)
                rc = err_set(err, ERR_REFUSED,
                             "backup %s was condemned too long ago: its removal "
                             "may have begun",
                             backup_id);
    trash_list_release(&trash);
    return rc;
}

static ErrCode undelete_check_whole(Repo *repo, const char *backup_id, Err *err)
{
    BackupSummary summary AUTO(summary_release) = {.cluster = NULL};
    PacksList packs AUTO(packs_list_release) = {.own = {0}};
    StorageStat st;
    char *manifest AUTO(mem_freep) = backup_object_name(backup_id, "manifest");
    TRY(summary_get(repo, backup_id, &summary, err));
    TRY(repo_stat(repo, manifest, &st, err));
    TRY(packs_list_get(repo, backup_id, &summary.packs, &packs, err));
    return packs_check_present(repo, backup_id, &packs, err);
}

ErrCode backup_undelete(Repo *repo, const char *backup_id, TimeUs grace, Err *err)
{
    BackupStates states AUTO(backup_states_release) = {0};
    TRY(backup_states_read(repo, backup_id, &states, err));
    if (!states.n)
        return err_set(err, ERR_NOT_FOUND, "there is no backup %s in '%s'", backup_id,
                       repo_url(repo));
    for (size_t i = 0; i < states.at[0].deleted.n; i++) {
        char what[48];
        snprintf(what, sizeof(what), "kept-%s", states.at[0].deleted.at[i]);
        char *name AUTO(mem_freep) = backup_object_name(backup_id, what);
        json_t *body AUTO(json_decrefp) = json_pack("{s:I}", "time", (json_int_t)time_now());
        TRY(document_put_json(repo, name, KIND_MARK, body, STORAGE_CREATE, NULL, err));
    }
    TRY(undelete_refuse_ripe(repo, backup_id, grace, err));
    ErrCode rc = undelete_check_whole(repo, backup_id, err);
    if (rc == ERR_NOT_FOUND || rc == ERR_CANCELLED)
        return err_set(err, ERR_NOT_FOUND, "backup %s cannot come back: objects of it are gone",
                       backup_id);
    return rc;
}
