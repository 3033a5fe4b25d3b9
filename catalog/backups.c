#include "catalog/backups.h"

#include <string.h>

#include "lib/common/parallel.h"

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

static BackupSummary steal_summary(BackupSummary *s)
{
    BackupSummary taken = *s;
    *s = (BackupSummary){.cluster = NULL};
    return taken;
}

/* What became of one summary. */
typedef struct SummaryRead {
    const BackupState *state;
    BackupSummary summary;
    bool there;
    Err *why; /* it is broken; else NULL */
} SummaryRead;

typedef struct SummariesRead {
    Repo *repo;
    VEC(SummaryRead) all;
} SummariesRead;

static ErrCode read_summary(void *arg, unsigned thread, size_t i, Err *err)
{
    SummariesRead *s = arg;
    SummaryRead *one = &s->all.at[i];
    (void)thread;
    ErrCode rc = summary_get(s->repo, one->state->id, &one->summary, err);
    one->there = rc == ERR_OK;
    if (means_broken(rc)) {
        one->why = NEW(Err);
        *one->why = *err;
    }
    /* One that is not there was swept meanwhile. */
    return one->there || one->why || rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

static void summaries_release(SummariesRead *s)
{
    for (size_t i = 0; i < s->all.n; i++) {
        summary_release(&s->all.at[i].summary);
        free(s->all.at[i].why);
    }
    vec_release(&s->all);
}

/* Several at once: each is a request, and a distant repository takes its time for every one. */
static ErrCode list_summaries(Repo *repo, const BackupStates *states, BackupList *l, Err *err)
{
    SummariesRead s AUTO(summaries_release) = {.repo = repo};
    for (size_t i = 0; i < states->n; i++)
        if (backup_exists(&states->at[i]) && !states->at[i].deleted.n)
            vec_push(&s.all, (SummaryRead){.state = &states->at[i]});
    TRY(parallel_run(parallel_requests(s.all.n), s.all.n, read_summary, &s, err));
    for (size_t i = 0; i < s.all.n; i++) {
        SummaryRead *one = &s.all.at[i];
        if (one->there)
            vec_push(&l->all, steal_summary(&one->summary));
        else if (one->why)
            broken_push(l, one->state->id, one->why);
    }
    return ERR_OK;
}

/* --- order --- */

#define COMPARE(a, b) (((a) > (b)) - ((a) < (b)))

/* Of one path; the rest makes it the same each time, as for backups of a standby that stood still.
 */
static int compare_stop(const BackupSummary *a, const BackupSummary *b)
{
    int c = COMPARE(a->stop_lsn, b->stop_lsn);
    c = c ? c : COMPARE(a->start_lsn, b->start_lsn);
    c = c ? c : COMPARE(a->stop_time, b->stop_time);
    return c ? c : strcmp(a->id, b->id);
}

/* Timelines one after the other, each by LSN. */
static int compare_in_timeline(const BackupSummary *a, const BackupSummary *b)
{
    int c = COMPARE(a->system_id, b->system_id);
    c = c ? c : COMPARE(a->wal_segment_size, b->wal_segment_size);
    c = c ? c : COMPARE(a->timeline, b->timeline);
    return c ? c : compare_stop(a, b);
}

static bool same_timeline(const BackupSummary *a, const BackupSummary *b)
{
    return backup_same_system(a, b) && a->timeline == b->timeline;
}

/* A backup and when it stopped; not before those that stopped at a lower LSN of its timeline. */
typedef struct Placed {
    BackupSummary summary;
    TimeUs when;
} Placed;

static int by_timeline(const void *a, const void *b)
{
    return compare_in_timeline(&((const Placed *)a)->summary, &((const Placed *)b)->summary);
}

static int by_age(const void *a, const void *b)
{
    const Placed *x = a, *y = b;
    int c = COMPARE(x->when, y->when);
    return c ? c : compare_in_timeline(&x->summary, &y->summary);
}

static void sort_list(BackupList *l)
{
    size_t n = l->all.n;
    if (!n)
        return;
    Placed *placed AUTO(mem_freep) = mem_new(n * sizeof(*placed));
    for (size_t i = 0; i < n; i++)
        placed[i] = (Placed){.summary = l->all.at[i], .when = l->all.at[i].stop_time};
    qsort(placed, n, sizeof(*placed), by_timeline);
    for (size_t i = 1; i < n; i++)
        if (same_timeline(&placed[i].summary, &placed[i - 1].summary))
            placed[i].when = MAX(placed[i].when, placed[i - 1].when);
    qsort(placed, n, sizeof(*placed), by_age);
    for (size_t i = 0; i < n; i++)
        l->all.at[i] = placed[i].summary;
}

static int refs_by_stop(const void *a, const void *b)
{
    return compare_stop(*(const BackupSummary *const *)a, *(const BackupSummary *const *)b);
}

void backups_on_path(const BackupList *l, uint64_t system_id, uint32_t wal_segment_size,
                     const TimelinePath *path, BackupRefs *ret)
{
    for (size_t i = 0; i < l->all.n; i++) {
        const BackupSummary *b = &l->all.at[i];
        if (b->system_id == system_id && b->wal_segment_size == wal_segment_size &&
            timeline_contains(path, b->timeline, b->stop_lsn))
            vec_push(ret, b);
    }
    if (ret->n)
        qsort(ret->at, ret->n, sizeof(ret->at[0]), refs_by_stop);
}

/* --- the list --- */

ErrCode backup_list_read(Repo *repo, BackupList *ret, Err *err)
{
    BackupList l AUTO(backup_list_release) = {.broken = {0}};
    BackupStates states AUTO(backup_states_release) = {0};
    TRY(backup_states_read(repo, NULL, &states, err));
    TRY(list_summaries(repo, &states, &l, err));
    sort_list(&l);
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

ErrCode backup_pick(const BackupList *l, const Repo *repo, const char *id,
                    const BackupSummary **ret, Err *err)
{
    *ret = backup_find(l, id);
    if (*ret)
        return ERR_OK;
    for (size_t i = 0; i < l->broken.n; i++)
        if (strncmp(l->broken.at[i].id, id, strlen(id)) == 0) {
            *err = l->broken.at[i].why;
            return err_wrap(err, "cannot read backup %s", l->broken.at[i].id);
        }
    for (size_t i = 0; i < l->all.n; i++)
        if (strncmp(l->all.at[i].id, id, strlen(id)) == 0) {
            err_set(err, ERR_USAGE, "several backups of '%s' begin with '%s'", repo->cluster, id);
            return err_hint(err, "the first of them is %s; 'pgdr info' lists them all",
                            l->all.at[i].id);
        }
    err_set(err, ERR_NOT_FOUND, "there is no backup '%s' of '%s' in '%s'", id, repo->cluster,
            repo_url(repo));
    return err_hint(err, "'pgdr info' lists what there is");
}

bool backup_same_system(const BackupSummary *a, const BackupSummary *b)
{
    return a->system_id == b->system_id && a->wal_segment_size == b->wal_segment_size;
}
