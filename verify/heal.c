#include "verify/heal.h"

#include <stdio.h>
#include <string.h>

#include "catalog/wal_copy.h"
#include "lib/common/log.h"
#include "lib/common/workers.h"
#include "lib/pg/wal_name.h"
#include "lib/repo/copy.h"

void damage_release(Damage *d)
{
    str_list_release(&d->backups);
    vec_release(&d->wal);
}

static void add_wal(Damage *d, const VerifyFinding *f)
{
    DamagedWal w = {.system_id = f->store->system_id,
                    .seg_size = f->store->seg_size,
                    .file = *f->wal,
                    .more = f->wal_more};
    for (size_t i = 0; i < d->wal.n; i++)
        if (d->wal.at[i].system_id == w.system_id &&
            strcmp(d->wal.at[i].file.file, w.file.file) == 0 &&
            strcmp(d->wal.at[i].file.digest, w.file.digest) == 0)
            return;
    vec_push(&d->wal, w);
}

void damage_add(Damage *d, const VerifyFinding *f)
{
    if (f->store)
        add_wal(d, f);
    else if (!f->in_backups || !f->backups->n)
        d->hopeless++;
    else
        for (size_t i = 0; i < f->backups->n; i++)
            if (!str_list_has(&d->backups, f->backups->at[i]))
                vec_push(&d->backups, mem_strdup(f->backups->at[i]));
}

/* A gap: those of its segments that the other repository has, folder by folder. */
static ErrCode heal_gap(WalStore *from, WalStore *to, const DamagedWal *w, uint64_t *ret_healed,
                        Err *err)
{
    WalName first = wal_name_parse(w->file.file, w->seg_size);
    StrList folders AUTO(str_list_release) = {0};
    WalFoundList found = {0};
    char tli8[9];
    ErrCode rc = ERR_OK;
    snprintf(tli8, sizeof(tli8), "%08X", first.tli);
    TRY(wal_list_directories(from, tli8, &folders, err));
    for (size_t i = 0; i < folders.n && rc == ERR_OK; i++) {
        char last[WAL_NAME_MAX];
        wal_name_segment(first.tli, first.segno + w->more, w->seg_size, last);
        if (strncmp(folders.at[i], w->file.file, 16) >= 0 && strncmp(folders.at[i], last, 16) <= 0)
            rc = wal_list_directory(from, tli8, folders.at[i], false, &found, err);
    }
    for (size_t i = 0; i < found.n && rc == ERR_OK; i++) {
        WalFound missing = {.digest = ""};
        WalName name = wal_name_parse(found.at[i].file, w->seg_size);
        if (name.kind != WAL_NAME_SEGMENT || name.segno < first.segno ||
            name.segno > first.segno + w->more)
            continue;
        snprintf(missing.file, sizeof(missing.file), "%s", found.at[i].file);
        rc = wal_copy_heal(from, to, &missing, err);
        *ret_healed += rc == ERR_OK;
    }
    vec_release(&found);
    return rc;
}

static ErrCode heal_wal(Repo *repo, Repo *other, const DamagedWal *w, Err *err)
{
    WalStore to, from;
    uint64_t healed = 0;
    wal_store_init(&to, repo, w->system_id, w->seg_size);
    wal_store_init(&from, other, w->system_id, w->seg_size);
    if (!w->more)
        return wal_copy_heal(&from, &to, &w->file, err);
    TRY(heal_gap(&from, &to, w, &healed, err));
    if (!healed)
        return err_set(err, ERR_NOT_FOUND,
                       "'%s' has none of the segments from %s on that are missing", repo_url(other),
                       w->file.file);
    return ERR_OK; /* what is missing still, the next look shows */
}

/* Interruption and a failure to write end the work; else another repository may do better. */
static bool goes_on(ErrCode rc)
{
    return rc != ERR_CANCELLED && rc != ERR_NO_SPACE && rc != ERR_ACCESS;
}

static bool not_healed(const char *what, const Repo *other, const Err *why)
{
    log_warn("%s cannot be mended from '%s': %s", what, repo_url(other), why->message);
    return true;
}

static ErrCode heal_all_wal(Repo *repo, Repo *other, Damage *d, Err *err)
{
    size_t left = 0;
    ErrCode rc = ERR_OK;
    for (size_t i = 0; i < d->wal.n; i++) {
        Err why = {0};
        if (rc == ERR_OK)
            rc = heal_wal(repo, other, &d->wal.at[i], &why);
        if (rc == ERR_OK) {
            log_info("mended %s from '%s'", d->wal.at[i].file.file, repo_url(other));
            continue;
        }
        if (goes_on(rc) && not_healed(d->wal.at[i].file.file, other, &why))
            rc = ERR_OK;
        else if (why.code)
            *err = why;
        d->wal.at[left++] = d->wal.at[i];
    }
    d->wal.n = left;
    return rc;
}

static ErrCode heal_backup(const CopySpec *spec, const char *id, Err *err)
{
    CopyResult result = {.objects = 0};
    TRY(copy_backup(spec, id, &result, err));
    log_info("mended backup %s from '%s': objects written: %llu, whole before: %llu", id,
             repo_url(spec->from), (unsigned long long)result.objects,
             (unsigned long long)result.kept);
    return ERR_OK;
}

ErrCode heal_from(Repo *repo, Repo *other, unsigned jobs, Progress *progress, Damage *d, Err *err)
{
    CopySpec spec = {.from = other,
                     .to = repo,
                     .jobs = jobs,
                     .grace = GRACE_DEFAULT,
                     .heal = true,
                     .progress = progress};
    StrList left AUTO(str_list_release) = {0};
    TRY(heal_all_wal(repo, other, d, err));
    for (size_t i = 0; i < d->backups.n; i++) {
        Err why = {0};
        char what[BACKUP_ID_LEN + 16];
        snprintf(what, sizeof(what), "backup %s", d->backups.at[i]);
        ErrCode rc = heal_backup(&spec, d->backups.at[i], &why);
        if (rc == ERR_OK)
            continue;
        if (!goes_on(rc)) {
            *err = why;
            return rc;
        }
        if (not_healed(what, other, &why))
            vec_push(&left, mem_strdup(d->backups.at[i]));
    }
    StrList swap = d->backups;
    d->backups = left;
    left = swap;
    return ERR_OK;
}
