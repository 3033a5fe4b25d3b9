#include "catalog/backups.h"

#include <string.h>

void backup_list_release(BackupList *l)
{
    for (size_t i = 0; i < l->all.n; i++)
        summary_release(&l->all.at[i]);
    vec_release(&l->all);
    vec_release(&l->broken);
}

/* An input/output error, too: a bad sector under one summary is no reason to lose all backups. */
static bool means_broken(ErrCode rc)
{
    return rc == ERR_DAMAGED || rc == ERR_VERSION || rc == ERR_WRONG_KEY || rc == ERR_LIMIT ||
           rc == ERR_IO || rc == ERR_ACCESS;
}

static void broken_push(BackupList *l, const char *id, const Err *why)
{
    BrokenBackup b = {.why = *why};
    memcpy(b.id, id, sizeof(b.id));
    vec_push(&l->broken, b);
}

static ErrCode list_summaries(Repo *repo, const BackupStates *states, BackupList *l, Err *err)
{
    for (size_t i = 0; i < states->n; i++) {
        const BackupState *s = &states->at[i];
        if (!backup_exists(s) || s->deleted.n)
            continue;
        BackupSummary summary = {.cluster = NULL};
        ErrCode rc = summary_get(repo, s->id, &summary, err);
        if (rc == ERR_NOT_FOUND)
            continue; /* swept meanwhile */
        if (means_broken(rc)) {
            broken_push(l, s->id, err);
            continue;
        }
        if (rc != ERR_OK)
            return rc;
        vec_push(&l->all, summary);
    }
    return ERR_OK;
}

ErrCode backup_list_read(Repo *repo, BackupList *ret, Err *err)
{
    BackupList l AUTO(backup_list_release) = {.broken = {0}};
    BackupStates states AUTO(backup_states_release) = {0};
    TRY(backup_states_read(repo, NULL, &states, err));
    TRY(list_summaries(repo, &states, &l, err));
    backup_list_release(ret);
    *ret = l;
    l = (BackupList){.broken = {0}};
    return ERR_OK;
}

const BackupSummary *backup_find(const BackupList *l, const char *id)
{
    const BackupSummary *found = NULL;
    for (size_t i = 0; i < l->all.n; i++) {
        if (strcmp(l->all.at[i].id, id) == 0)
            return &l->all.at[i];
        if (strncmp(l->all.at[i].id, id, strlen(id)) == 0) {
            if (found)
                return NULL;
            found = &l->all.at[i];
        }
    }
    return found;
}

bool backup_same_system(const BackupSummary *a, const BackupSummary *b)
{
    return a->system_id == b->system_id && a->wal_segment_size == b->wal_segment_size;
}
