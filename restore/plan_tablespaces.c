#include "restore/plan_tablespaces.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- what the operator gave --- */

static bool mapping_is_for(const TablespaceMapping *m, uint32_t oid, const char *path)
{
    char number[16];
    snprintf(number, sizeof(number), "%u", oid);
    return strcmp(m->from, number) == 0 || (*path && strcmp(m->from, path) == 0);
}

static const TablespaceMapping *mapping_for(const RestoreSpec *spec, uint32_t oid, const char *path)
{
    for (size_t i = 0; i < spec->mappings.n; i++)
        if (mapping_is_for(&spec->mappings.at[i], oid, path))
            return &spec->mappings.at[i];
    return NULL;
}

static ErrCode mapping_unknown(const TablespaceMapping *m, const RestorePlan *plan, Err *err)
{
    Buf known AUTO(buf_release) = {0};
    for (size_t i = 0; i < plan->point.tablespaces.n; i++) {
        const WalIndexEvent *e = &plan->point.tablespaces.at[i];
        if (!mapping_is_for(m, (uint32_t)e->number, e->text))
            continue;
        err_set(err, ERR_USAGE,
                "tablespace %llu was created after the backup and cannot be mapped: replay creates "
                "it in '%s'",
                (unsigned long long)e->number, e->text);
        return err_hint(err,
                        "restore on another host, or to a target before " LSN_FMT
                        ", where it was created; a newer backup has it in its files",
                        LSN_ARG(e->lsn));
    }
    for (size_t i = 0; i < plan->tablespaces.n; i++)
        if (*plan->tablespaces.at[i].from)
            buf_printf(&known, "%s%u (%s)", known.len ? ", " : "", plan->tablespaces.at[i].oid,
                       plan->tablespaces.at[i].from);
    err_set(err, ERR_USAGE, "backup %s has no tablespace '%s'", plan->backup.id, m->from);
    if (!known.len)
        return err_hint(err, "it has no tablespace that could be mapped");
    return err_hint(err, "it has %.600s", buf_str(&known));
}

static ErrCode check_mappings(const RestoreSpec *spec, const RestorePlan *plan, Err *err)
{
    for (size_t i = 0; i < spec->mappings.n; i++) {
        const TablespaceMapping *m = &spec->mappings.at[i];
        bool known = false;
        for (size_t k = 0; k < plan->tablespaces.n; k++) {
            const PlannedTablespace *t = &plan->tablespaces.at[k];
            if (!*t->from || !mapping_is_for(m, t->oid, t->from))
                continue;
            known = true;
            if (mapping_for(spec, t->oid, t->from) != m)
                return err_set(err, ERR_USAGE, "tablespace %u is mapped twice, to '%s' and '%s'",
                               t->oid, t->to, m->to);
        }
        if (!known)
            return mapping_unknown(m, plan, err);
    }
    return ERR_OK;
}

static bool is_inside(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    return strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

static ErrCode check_places(const RestoreSpec *spec, const RestorePlan *plan, Err *err)
{
    for (size_t i = 0; i < plan->tablespaces.n; i++) {
        const PlannedTablespace *t = &plan->tablespaces.at[i];
        if (!*t->to)
            continue; /* in place */
        if (t->to[0] != '/')
            return err_set(err, ERR_USAGE, "tablespace %u must go to an absolute path, not '%s'",
                           t->oid, t->to);
        if (t->mapped && is_inside(t->to, spec->to))
            return err_set(err, ERR_USAGE,
                           "tablespace %u cannot go to '%s', inside the data directory", t->oid,
                           t->to);
        for (size_t k = 0; k < i; k++)
            if (strcmp(plan->tablespaces.at[k].to, t->to) == 0)
                return err_set(err, ERR_USAGE, "tablespaces %u and %u would both go to '%s'",
                               plan->tablespaces.at[k].oid, t->oid, t->to);
    }
    return ERR_OK;
}

/* --- what is there --- */

/* Where the old cluster's link leads, when it is replaced in place. */
static bool link_leads_to(const RestoreSpec *spec, uint32_t oid, const char *to)
{
    char target[4096];
    char *link AUTO(mem_freep) = mem_printf("%s/pg_tblspc/%u", spec->to, oid);
    ssize_t n = readlink(link, target, sizeof(target) - 1);
    if (n < 0)
        return false;
    target[n] = '\0';
    return strcmp(target, to) == 0;
}

static ErrCode check_free(const RestoreSpec *spec, RestorePlan *plan, const PlannedTablespace *t,
                          Err *err)
{
    bool is_free;
    TRY(dir_is_free(t->to, &is_free, err));
    if (plan_keep_out(spec, t->to, is_free, &plan->refusal) != ERR_OK)
        return ERR_OK;
    if (is_free ||
        (spec->delta && plan->dir_state != TARGET_DIR_EMPTY && link_leads_to(spec, t->oid, t->to)))
        return ERR_OK;
    err_set(&plan->refusal, ERR_REFUSED, "the directory '%s' of tablespace %u is not empty", t->to,
            t->oid);
    err_hint(&plan->refusal, "give it another place: --tablespace-map=%u=/absolute/path", t->oid);
    return ERR_OK;
}

/* A tablespace of the backup that stays at its place may be dropped and made again in replay. */
static bool is_kept_at(const RestorePlan *plan, const char *path)
{
    for (size_t i = 0; i < plan->tablespaces.n; i++)
        if (!plan->tablespaces.at[i].mapped && strcmp(plan->tablespaces.at[i].to, path) == 0)
            return true;
    return false;
}

static ErrCode plan_replayed(const RestoreSpec *spec, RestorePlan *plan, const WalIndexEvent *e,
                             Err *err)
{
    bool is_free;
    if (!e->text || !*e->text)
        return ERR_OK; /* in place */
    TRY(dir_is_free(e->text, &is_free, err));
    if (!is_free && !is_kept_at(plan, e->text) && !plan->refusal.code &&
        !(spec->delta && link_leads_to(spec, (uint32_t)e->number, e->text))) {
        err_set(&plan->refusal, ERR_REFUSED,
                "replay will create tablespace %llu in '%s', which is not empty: it may belong to "
                "another cluster",
                (unsigned long long)e->number, e->text);
        err_hint(&plan->refusal,
                 "restore on another host, or to a target before " LSN_FMT
                 ", where the tablespace was created",
                 LSN_ARG(e->lsn));
    }
    vec_push(&plan->to_make, mem_strdup(e->text));
    return ERR_OK;
}

ErrCode plan_tablespaces(const RestoreSpec *spec, const ManifestHeader *h, RestorePlan *plan,
                         Err *err)
{
    for (size_t i = 0; i < h->tablespaces.n; i++) {
        const ManifestTablespace *m = &h->tablespaces.at[i];
        const TablespaceMapping *to = *m->path ? mapping_for(spec, m->oid, m->path) : NULL;
        PlannedTablespace t = {.oid = m->oid,
                               .from = mem_strdup(m->path),
                               .to = mem_strdup(to ? to->to : m->path),
                               .mapped = to != NULL};
        vec_push(&plan->tablespaces, t);
    }
    TRY(check_mappings(spec, plan, err));
    TRY(check_places(spec, plan, err));
    for (size_t i = 0; i < plan->tablespaces.n && !plan->refusal.code; i++)
        if (*plan->tablespaces.at[i].to)
            TRY(check_free(spec, plan, &plan->tablespaces.at[i], err));
    for (size_t i = 0; i < plan->point.tablespaces.n; i++)
        TRY(plan_replayed(spec, plan, &plan->point.tablespaces.at[i], err));
    return ERR_OK;
}
