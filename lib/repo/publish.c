#include "lib/repo/publish.h"

#include <string.h>

#include "lib/common/hex.h"
#include "lib/common/log.h"
#include "lib/repo/manifest.h"
#include "lib/repo/name_set.h"
#include "lib/repo/trash.h"

/* All that the backup owns or uses: its manifest and the packs of its list. */
static void used_names(const char *backup_id, const PacksList *packs, NameSet *set)
{
    name_set_add(set, backup_object_name(backup_id, "manifest"));
    for (size_t i = 0; i < packs->own.n; i++)
        name_set_add(set, pack_name(backup_id, packs->own.at[i].id));
    for (size_t i = 0; i < packs->refs.n; i++)
        for (size_t k = 0; k < packs->refs.at[i].packs.n; k++)
            name_set_add(set,
                         pack_name(packs->refs.at[i].backup_id, packs->refs.at[i].packs.at[k].id));
}

/* A trash object that may be in its sweep: the writer stays away from half the grace period on,
 * so that it need not agree with the sweeper about the exact moment. */
static ErrCode check_trash(Repo *repo, NameSet *used, TimeUs grace, Err *err)
{
    TrashList trash AUTO(trash_list_release) = {0};
    TRY(trash_read(repo, grace / 2, &trash, err));
    for (size_t i = 0; i < trash.n; i++) {
        const StrList *names = &trash.at[i].names.names;
        for (size_t k = 0; k < names->n; k++) {
            if (!name_set_has(used, names->at[k]))
                continue;
            err_set(err, ERR_CANCELLED, "an expire (%s) is removing '%s', which this backup uses",
                    trash.at[i].name, names->at[k]);
            return err_hint(err, "run the backup again");
        }
    }
    return ERR_OK;
}

/* --- every pack is there, with its size --- */

typedef struct SizedName {
    char *name;
    uint64_t size;
} SizedName;

typedef struct PresenceCheck {
    VEC(SizedName) want;
    size_t at;
    const char *wrong; /* points into want */
} PresenceCheck;

static int sized_name_compare(const void *a, const void *b)
{
    return strcmp(((const SizedName *)a)->name, ((const SizedName *)b)->name);
}

/* Both sides are sorted: walk them together. */
static ErrCode presence_found(void *arg, const RepoEntry *e, Err *err)
{
    PresenceCheck *c = arg;
    (void)err;
    while (c->at < c->want.n && !c->wrong) {
        const SizedName *want = &c->want.at[c->at];
        int order = strcmp(want->name, e->name);
        if (order > 0)
            return ERR_OK;
        c->at++;
        if (order < 0 || want->size != e->stat.size)
            c->wrong = want->name;
        if (order == 0)
            return ERR_OK;
    }
    return ERR_OK;
}

static ErrCode presence_check(Repo *repo, const char *backup_id, PresenceCheck *c, Err *err)
{
    char *prefix AUTO(mem_freep) = mem_printf("packs/%s/", backup_id);
    RepoList list = {.prefix = prefix, .want_stat = true, .fn = presence_found, .arg = c};
    if (!c->want.n)
        return ERR_OK;
    qsort(c->want.at, c->want.n, sizeof(c->want.at[0]), sized_name_compare);
    TRY(repo_list(repo, &list, err));
    if (!c->wrong && c->at < c->want.n)
        c->wrong = c->want.at[c->at].name;
    if (!c->wrong)
        return ERR_OK;
    err_set(err, ERR_CANCELLED, "'%s/%s' in '%s' is gone or has another size", repo->cluster,
            c->wrong, repo_url(repo));
    return err_hint(err,
                    "run the backup again; 'pgdr verify' says whether older backups are whole");
}

static void presence_release(PresenceCheck *c)
{
    for (size_t i = 0; i < c->want.n; i++)
        free(c->want.at[i].name);
    vec_release(&c->want);
}

ErrCode packs_check_present(Repo *repo, const char *backup_id, const PacksList *packs, Err *err)
{
    PresenceCheck own AUTO(presence_release) = {.at = 0};
    for (size_t i = 0; i < packs->own.n; i++)
        vec_push(&own.want, (SizedName){pack_name(backup_id, packs->own.at[i].id),
                                        packs->own.at[i].facts.size});
    TRY(presence_check(repo, backup_id, &own, err));
    for (size_t i = 0; i < packs->refs.n; i++) {
        const PackRefs *r = &packs->refs.at[i];
        PresenceCheck refs AUTO(presence_release) = {.at = 0};
        for (size_t k = 0; k < r->packs.n; k++)
            vec_push(&refs.want,
                     (SizedName){pack_name(r->backup_id, r->packs.at[k].id), r->packs.at[k].size});
        TRY(presence_check(repo, r->backup_id, &refs, err));
    }
    return ERR_OK;
}

ErrCode backup_put_tombstone(Repo *repo, const char *backup_id, Err *err)
{
    char uuid[33], what[48];
    snprintf(what, sizeof(what), "deleted-%s", random_name(uuid));
    char *name AUTO(mem_freep) = backup_object_name(backup_id, what);
    json_t *body AUTO(json_decrefp) = json_pack("{s:I}", "time", (json_int_t)time_now());
    return document_put_json(repo, name, KIND_MARK, body, STORAGE_CREATE, NULL, err);
}

/* A summary that may have been seen stays, see publish.h. */
static ErrCode withdraw(Repo *repo, const char *backup_id, bool manifest_too, Err *err)
{
    BackupStates states AUTO(backup_states_release) = {0};
    char *manifest AUTO(mem_freep) = backup_object_name(backup_id, "manifest");
    const char *one = manifest;
    TRY(backup_states_read(repo, backup_id, &states, err));
    if (states.n && states.at[0].summary)
        return states.at[0].deleted.n ? ERR_OK : backup_put_tombstone(repo, backup_id, err);
    return manifest_too && states.n && states.at[0].manifest ? repo_remove(repo, &one, 1, err)
                                                             : ERR_OK;
}

static void take_back(Repo *repo, const char *backup_id, bool manifest_too)
{
    Err err = {0};
    if (withdraw(repo, backup_id, manifest_too, &err) != ERR_OK) {
        err_wrap(&err, "cannot take back backup %s", backup_id);
        log_err(LOG_WARN, &err);
    }
}

void backup_withdraw(Repo *repo, const char *backup_id)
{
    take_back(repo, backup_id, true);
}

/*
 * ERR_NOT_FOUND when a sweep is removing this backup, or has. It put its mark before it looked what
 * there is of the backup, takes the manifest away before the rest, and the mark at the very end. So
 * the mark is looked for first, and the manifest after it.
 */
static ErrCode look_again(Repo *repo, const BackupSummary *summary, bool committed, Err *err)
{
    BackupStates states AUTO(backup_states_release) = {0};
    TRY(backup_states_read(repo, summary->id, &states, err));
    if (!states.n || states.at[0].going || (committed && !states.at[0].summary))
        return err_set(err, ERR_NOT_FOUND, "the backup is marked, or gone");
    return backup_check_documents(repo, &states.at[0], &summary->manifest, err);
}

static ErrCode explain(const BackupSummary *summary, ErrCode rc, Err *err)
{
    if (rc != ERR_NOT_FOUND)
        return rc;
    err_set(err, ERR_CANCELLED, "an expire removed backup %s while it was being committed",
            summary->id);
    return err_hint(err, "run the backup again");
}

ErrCode backup_publish(Repo *repo, const BackupSummary *summary, const PacksList *packs,
                       TimeUs grace, StoragePutFlags flags, Err *err)
{
    NameSet used AUTO(name_set_release) = {.sorted = false};
    used_names(summary->id, packs, &used);

    TRY(check_trash(repo, &used, grace, err));
    TRY(packs_check_present(repo, summary->id, packs, err));
    /* Once for what was removed before the summary is there: it shall never list half a backup. And
     * once for a sweep that did not see the summary yet. */
    TRY(explain(summary, look_again(repo, summary, false, err), err));
    TRY(summary_put(repo, summary, flags, err));
    ErrCode rc = explain(summary, look_again(repo, summary, true, err), err);
    if (rc != ERR_OK && !(flags & STORAGE_OVERWRITE))
        take_back(repo, summary->id, false);
    return rc;
}

/* --- what is there --- */

void backup_states_release(BackupStates *s)
{
    for (size_t i = 0; i < s->n; i++) {
        str_list_release(&s->at[i].deleted);
        str_list_release(&s->at[i].objects);
    }
    vec_release(s);
}

typedef struct StateReader {
    BackupStates *states;
    StrList keeps; /* "<backup id>/<tombstone uuid>" */
} StateReader;

/* It keeps expire from deleting anything; whoever reads has no reason to mind it. */
static void stray_object(BackupStates *states, const char *name)
{
    vec_push(states, (BackupState){.unknown = true});
    vec_push(&states->at[states->n - 1].objects, mem_strdup(name));
}

static ErrCode state_object(void *arg, const RepoEntry *e, Err *err)
{
    StateReader *r = arg;
    const char *id = e->name + strlen("backups/"), *slash = strchr(id, '/');
    (void)err;
    if (!slash || slash - id != BACKUP_ID_LEN) {
        stray_object(r->states, e->name);
        return ERR_OK;
    }
    BackupState *s = r->states->n ? &r->states->at[r->states->n - 1] : NULL;
    if (!s || strncmp(s->id, id, BACKUP_ID_LEN) != 0) {
        vec_push(r->states, (BackupState){.manifest = false});
        s = &r->states->at[r->states->n - 1];
        memcpy(s->id, id, BACKUP_ID_LEN);
        s->unknown = !backup_id_valid(s->id);
    }
    vec_push(&s->objects, mem_strdup(e->name));
    const char *what = slash + 1;
    if (strcmp(what, "manifest") == 0)
        s->manifest = true;
    else if (strcmp(what, "packs") == 0)
        s->packs = true;
    else if (strcmp(what, "summary") == 0)
        s->summary = true;
    else if (strncmp(what, "deleted-", 8) == 0)
        vec_push(&s->deleted, mem_strdup(what + 8));
    else if (strncmp(what, "going-", 6) == 0)
        s->going = true;
    else if (strncmp(what, "kept-", 5) == 0)
        vec_push(&r->keeps, mem_printf("%s/%s", s->id, what + 5));
    else if (strncmp(what, "manifest.", 9) != 0 && strcmp(what, "key") != 0)
        s->unknown = true;
    return ERR_OK;
}

/* Takes the tombstones out that a keep has cancelled. */
static void cancel_kept(BackupState *s, NameSet *keeps)
{
    size_t left = 0;
    for (size_t i = 0; i < s->deleted.n; i++) {
        char *keep AUTO(mem_freep) = mem_printf("%s/%s", s->id, s->deleted.at[i]);
        if (name_set_has(keeps, keep))
            free(s->deleted.at[i]);
        else
            s->deleted.at[left++] = s->deleted.at[i];
    }
    s->deleted.n = left;
}

ErrCode backup_states_read(Repo *repo, const char *backup_id, BackupStates *ret, Err *err)
{
    char *prefix AUTO(mem_freep) =
        backup_id ? backup_object_name(backup_id, "") : mem_strdup("backups/");
    BackupStates states = {0};
    StateReader reader = {.states = &states};
    RepoList list = {.prefix = prefix, .fn = state_object, .arg = &reader};
    ErrCode rc = repo_list(repo, &list, err);
    NameSet keeps AUTO(name_set_release) = {.names = reader.keeps};
    if (rc != ERR_OK) {
        backup_states_release(&states);
        return rc;
    }
    for (size_t i = 0; i < states.n; i++)
        cancel_kept(&states.at[i], &keeps);
    backup_states_release(ret);
    *ret = states;
    return ERR_OK;
}

const BackupState *backup_states_find(const BackupStates *states, const char *id)
{
    for (size_t i = 0; i < states->n; i++)
        if (strcmp(states->at[i].id, id) == 0)
            return &states->at[i];
    return NULL;
}

static bool has_object(const BackupState *s, const char *name)
{
    for (size_t i = 0; i < s->objects.n; i++)
        if (strcmp(s->objects.at[i], name) == 0)
            return true;
    return false;
}

ErrCode backup_check_documents(Repo *repo, const BackupState *s, const DocumentFacts *manifest,
                               Err *err)
{
    ManifestReader *reader AUTO(manifest_reader_closep) = NULL;
    StrList names AUTO(str_list_release) = {0};
    TRY(manifest_reader_open(repo, s->id, manifest, &reader, err));
    manifest_reader_names(reader, &names);
    for (size_t i = 0; i < names.n; i++)
        if (!has_object(s, names.at[i]))
            return err_set(err, ERR_NOT_FOUND, "'%s/%s' in '%s' is gone", repo->cluster,
                           names.at[i], repo_url(repo));
    if (!s->packs)
        return err_set(err, ERR_NOT_FOUND, "the list of packs of backup %s is gone", s->id);
    return ERR_OK;
}
