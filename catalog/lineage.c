#include "catalog/lineage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void lineage_release(Lineage *l)
{
    for (size_t i = 0; i < l->steps.n; i++)
        vec_release(&l->steps.at[i].path);
    vec_release(&l->steps);
}

static void step_insert(Lineage *l, LineageStep step)
{
    vec_push(&l->steps, step);
    for (size_t i = l->steps.n - 1; i > 0 && l->steps.at[i - 1].tli > step.tli; i--) {
        LineageStep swap = l->steps.at[i - 1];
        l->steps.at[i - 1] = l->steps.at[i];
        l->steps.at[i] = swap;
    }
}

ErrCode lineage_add(Lineage *l, uint32_t tli, const char *text, size_t len, Err *err)
{
    LineageStep step = {.tli = tli};
    if (timeline_parse_history(tli, text, len, &step.path, err) != ERR_OK)
        return err_wrap(err, "the history of timeline %u", tli);
    step_insert(l, step);
    return ERR_OK;
}

static bool paths_equal(const TimelinePath *a, const TimelinePath *b)
{
    for (size_t i = 0; i < a->n && a->n == b->n; i++)
        if (a->at[i].tli != b->at[i].tli || a->at[i].until != b->at[i].until)
            return false;
    return a->n == b->n;
}

ErrCode lineage_merge(Lineage *l, const Lineage *other, Err *err)
{
    for (size_t i = 0; i < other->steps.n; i++) {
        const LineageStep *theirs = &other->steps.at[i], *ours = NULL;
        for (size_t k = 0; k < l->steps.n && !ours; k++)
            if (l->steps.at[k].tli == theirs->tli)
                ours = &l->steps.at[k];
        if (ours && !paths_equal(&ours->path, &theirs->path))
            return err_set(err, ERR_CONFLICT,
                           "two repositories hold different histories of timeline %u", theirs->tli);
        if (ours)
            continue;
        LineageStep step = {.tli = theirs->tli};
        for (size_t k = 0; k < theirs->path.n; k++)
            vec_push(&step.path, theirs->path.at[k]);
        step_insert(l, step);
    }
    return ERR_OK;
}

static ErrCode lineage_load(WalStore *s, const WalFoundList *found, Lineage *l, Err *err)
{
    for (size_t i = 0; i < found->n; i++) {
        const WalFound *f = &found->at[i];
        WalName name = wal_name_parse(f->file, s->seg_size);
        if (name.kind != WAL_NAME_HISTORY)
            continue;
        if (i + 1 < found->n && strcmp(found->at[i + 1].file, f->file) == 0) {
            err_set(err, ERR_CONFLICT, "there are two different '%s' in '%s': %s and %s", f->file,
                    repo_url(s->repo), f->digest, found->at[i + 1].digest);
            return err_hint(err,
                            "two servers took timeline %u; 'pgdr repo resolve %s' shows both "
                            "and keeps the one you choose",
                            name.tli, f->file);
        }
        Buf text AUTO(buf_release) = {0};
        TRY(wal_read(s, f, &text, NULL, NULL, err));
        TRY(lineage_add(l, name.tli, (const char *)text.data, text.len, err));
    }
    return ERR_OK;
}

ErrCode lineage_read(WalStore *s, Lineage *ret, Err *err)
{
    Lineage l AUTO(lineage_release) = {.steps = {0}};
    WalFoundList found = {0};
    ErrCode rc = wal_list_histories(s, &found, err);
    if (rc == ERR_OK)
        rc = lineage_load(s, &found, &l, err);
    vec_release(&found);
    if (rc != ERR_OK)
        return rc;
    lineage_release(ret);
    *ret = l;
    l = (Lineage){.steps = {0}};
    return ERR_OK;
}

ErrCode lineage_path(const Lineage *l, uint32_t tli, TimelinePath *ret, Err *err)
{
    for (size_t i = 0; i < l->steps.n; i++) {
        if (l->steps.at[i].tli != tli)
            continue;
        vec_release(ret);
        for (size_t k = 0; k < l->steps.at[i].path.n; k++)
            vec_push(ret, l->steps.at[i].path.at[k]);
        return ERR_OK;
    }
    if (tli != 1) {
        err_set(err, ERR_NOT_FOUND,
                "the repository has no %08X.history: the ancestors of timeline "
                "%u are not known",
                tli, tli);
        return err_hint(err, "'pgdr archive-push pg_wal/%08X.history' on the server that has it",
                        tli);
    }
    vec_release(ret);
    timeline_path_single(tli, ret);
    return ERR_OK;
}

uint32_t lineage_latest(const Lineage *l, uint32_t tli)
{
    uint32_t latest = tli;
    for (size_t i = 0; i < l->steps.n; i++)
        if (l->steps.at[i].tli > latest && timeline_step(&l->steps.at[i].path, tli))
            latest = l->steps.at[i].tli;
    return latest;
}

uint32_t lineage_latest_at(const Lineage *l, uint32_t tli, Lsn lsn)
{
    uint32_t latest = tli;
    for (size_t i = 0; i < l->steps.n; i++)
        if (l->steps.at[i].tli > latest && timeline_contains(&l->steps.at[i].path, tli, lsn))
            latest = l->steps.at[i].tli;
    return latest;
}

bool lineage_knows(const Lineage *l, uint32_t tli)
{
    for (size_t i = 0; i < l->steps.n; i++)
        if (timeline_step(&l->steps.at[i].path, tli))
            return true;
    return tli == 1;
}

ErrCode lineage_unknown(WalStore *s, const Lineage *l, TimelineList *ret, Err *err)
{
    StrList names AUTO(str_list_release) = {0};
    TRY(wal_list_timelines(s, &names, err));
    str_list_sort(&names);
    for (size_t i = 0; i < names.n; i++) {
        uint32_t tli = (uint32_t)strtoul(names.at[i], NULL, 16);
        if (!lineage_knows(l, tli))
            vec_push(ret, tli);
    }
    return ERR_OK;
}

uint32_t lineage_next_free(const Lineage *l)
{
    return l->steps.n ? l->steps.at[l->steps.n - 1].tli + 1 : 2;
}
