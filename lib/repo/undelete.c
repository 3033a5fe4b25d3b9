#include <string.h>

#include "lib/repo/manifest.h"
#include "lib/repo/publish.h"

/* Puts a keep beside every tombstone; somebody else may have put it first. */
static ErrCode put_keeps(Repo *repo, const BackupState *s, Err *err)
{
    for (size_t i = 0; i < s->deleted.n; i++) {
        char what[48];
        snprintf(what, sizeof(what), "kept-%s", s->deleted.at[i]);
        char *name AUTO(mem_freep) = backup_object_name(s->id, what);
        json_t *body AUTO(json_decrefp) = json_pack("{s:I}", "time", (json_int_t)time_now());
        ErrCode rc = document_put_json(repo, name, KIND_MARK, body, STORAGE_CREATE, NULL, err);
        if (rc != ERR_OK && rc != ERR_EXISTS)
            return rc;
    }
    return ERR_OK;
}

/* Behind the look for marks: a sweep takes the manifest away before anything of it is missed. */
static ErrCode check_whole(Repo *repo, const BackupState *s, Err *err)
{
    BackupSummary summary AUTO(summary_release) = {.cluster = NULL};
    PacksList packs AUTO(packs_list_release) = {.own = {0}};
    TRY(summary_get(repo, s->id, &summary, err));
    TRY(backup_check_documents(repo, s, &summary.manifest, err));
    TRY(packs_list_get(repo, s->id, &summary.packs, &packs, err));
    return packs_check_present(repo, s->id, &packs, err);
}

ErrCode backup_undelete(Repo *repo, const char *backup_id, Err *err)
{
    BackupStates states AUTO(backup_states_release) = {0};
    TRY(backup_states_read(repo, backup_id, &states, err));
    if (!states.n)
        return err_set(err, ERR_NOT_FOUND, "there is no backup %s in '%s'", backup_id,
                       repo_url(repo));
    /* The look that counts is the one behind the last keep. */
    while (!states.at[0].going && states.at[0].deleted.n) {
        TRY(put_keeps(repo, &states.at[0], err));
        TRY(backup_states_read(repo, backup_id, &states, err));
        if (!states.n)
            break;
    }
    if (states.n && states.at[0].going)
        return err_set(err, ERR_REFUSED,
                       "the removal of backup %s has begun: it cannot be relied upon any more",
                       backup_id);
    ErrCode rc = states.n ? check_whole(repo, &states.at[0], err) : ERR_NOT_FOUND;
    if (rc == ERR_NOT_FOUND || rc == ERR_CANCELLED)
        return err_set(err, ERR_NOT_FOUND, "backup %s cannot come back: objects of it are gone",
                       backup_id);
    return rc;
}
