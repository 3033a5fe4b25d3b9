#include "verify/verify.h"

#include <string.h>

#include "lib/common/log.h"
#include "lib/repo/key_store.h"
#include "lib/repo/manifest.h"
#include "verify/checker.h"

/* An object that the medium does not give back, or does not let us read, is as bad as a damaged
 * one, and no reason to leave the others unread. */
bool checker_is_finding(ErrCode rc)
{
    return rc == ERR_DAMAGED || rc == ERR_NOT_FOUND || rc == ERR_LIMIT || rc == ERR_WRONG_KEY ||
           rc == ERR_VERSION || rc == ERR_CONFLICT || rc == ERR_WAL_MISSING || rc == ERR_IO ||
           rc == ERR_ACCESS;
}

void checker_found(Checker *c, const VerifyFinding *f)
{
    pthread_mutex_lock(&c->lock);
    (*(f->warning ? &c->result.warnings : &c->result.findings))++;
    c->spec->found(c->spec->arg, f);
    pthread_mutex_unlock(&c->lock);
}

void checker_found_err(Checker *c, const char *object, const Err *err, const StrList *backups)
{
    VerifyFinding f = {.object = object,
                       .problem = err->message,
                       .hint = *err->hint ? err->hint : NULL,
                       .backups = backups,
                       .in_backups = backups != NULL};
    checker_found(c, &f);
}

bool checker_has_others(const Checker *c)
{
    for (size_t i = 0; i < c->states.n; i++) {
        const BackupState *s = &c->states.at[i];
        if ((s->manifest || s->summary) && !backup_find(&c->list, s->id))
            return true;
    }
    return false;
}

static bool uses_pack(const CheckedBackup *b, const CheckedPack *p)
{
    if (strcmp(b->summary->id, p->backup_id) == 0)
        return packs_list_find(&b->packs, p->id) != NULL;
    for (size_t i = 0; i < b->packs.refs.n; i++) {
        const PackRefs *r = &b->packs.refs.at[i];
        if (strcmp(r->backup_id, p->backup_id) != 0)
            continue;
        for (size_t k = 0; k < r->packs.n; k++)
            if (r->packs.at[k].id.kind == p->id.kind && r->packs.at[k].id.number == p->id.number)
                return true;
    }
    return false;
}

void checker_users(const Checker *c, const CheckedPack *p, StrList *ret)
{
    for (size_t i = 0; i < c->backups.n; i++)
        if (uses_pack(&c->backups.at[i], p))
            vec_push(ret, mem_strdup(c->backups.at[i].summary->id));
}

static void checker_release(Checker *c)
{
    for (size_t i = 0; i < c->backups.n; i++)
        packs_list_release(&c->backups.at[i].packs);
    vec_release(&c->backups);
    for (size_t i = 0; i < c->packs.n; i++)
        free(c->packs.at[i].name);
    vec_release(&c->packs);
    backup_list_release(&c->list);
    backup_states_release(&c->states);
    str_list_release(&c->others);
    str_list_release(&c->other_folders);
    pthread_mutex_destroy(&c->lock);
}

/* --- which backups, which packs --- */

static void found_broken(Checker *c, const BrokenBackup *b)
{
    StrList ids AUTO(str_list_release) = {0};
    vec_push(&ids, mem_strdup(b->id));
    char *name AUTO(mem_freep) = backup_object_name(b->id, "summary");
    checker_found_err(c, name, &b->why, &ids);
}

static void found_stray(Checker *c, const char *name)
{
    VerifyFinding f = {.object = name,
                       .problem = "it is no object of a backup: as long as it is there, nothing is "
                                  "ever deleted",
                       .hint = "if somebody renamed a backup's folder, give it its name back; else "
                               "move this away"};
    checker_found(c, &f);
}

/* Half a backup, by what its leases say about who makes it. */
typedef enum HalfBackup {
    HALF_IN_THE_MAKING, /* somebody is at it */
    HALF_LEFT,          /* somebody was, and has not taken his lease away */
    HALF_LOST,          /* nobody has begun and not ended it: what is missing was lost */
} HalfBackup;

static void found_half(Checker *c, const BackupState *s, HalfBackup half)
{
    StrList ids AUTO(str_list_release) = {0};
    vec_push(&ids, mem_strdup(s->id));
    char *name AUTO(mem_freep) = backup_object_name(s->id, s->manifest ? "summary" : "manifest");
    VerifyFinding f = {.object = name, .backups = &ids, .in_backups = true};
    if (half == HALF_LEFT) {
        f.warning = true;
        f.problem = "it is missing: who made this backup was killed, either before it was "
                    "committed, or behind that, and then this object was lost";
        f.hint = "'pgdr verify --heal' makes it whole when another repository has it; else it "
                 "counts for nothing: 'pgdr info' lists the others, 'pgdr backup' takes a new one";
    } else {
        f.problem = s->manifest ? "it is missing: the backup was never committed, or this object "
                                  "was lost"
                                : "it is missing";
    }
    checker_found(c, &f);
}

/* The manifest is put before the summary: where only the summary is, something was lost. */
static ErrCode judge_half(Checker *c, const BackupState *s, const StrList *live,
                          const StrList *left, Err *err)
{
    HalfBackup half = str_list_has(live, s->id)   ? HALF_IN_THE_MAKING
                      : str_list_has(left, s->id) ? HALF_LEFT
                                                  : HALF_LOST;
    if (!s->manifest)
        half = HALF_LOST;
    if (half == HALF_IN_THE_MAKING)
        return ERR_OK;
    /* It may have been committed, or removed, since it was listed. */
    BackupStates now AUTO(backup_states_release) = {0};
    TRY(backup_states_read(c->repo, s->id, &now, err));
    if (now.n && now.at[0].manifest == s->manifest && now.at[0].summary == s->summary)
        found_half(c, s, half);
    return ERR_OK;
}

static bool is_asked_for(const Checker *c, const char *id)
{
    const char *asked = c->spec->backup_id;
    return !asked || strncmp(id, asked, strlen(asked)) == 0;
}

/* Half a backup: one of the pair that makes it exist is there. */
static ErrCode check_halves(Checker *c, Err *err)
{
    StrList live AUTO(str_list_release) = {0};
    StrList left AUTO(str_list_release) = {0};
    TRY(backup_states_read(c->repo, NULL, &c->states, err));
    /* Behind the listing: who made what was listed has his lease still, or has come to the end. */
    TRY(lease_makers(c->repo, &live, &left, err));
    for (size_t i = 0; i < c->states.n; i++) {
        const BackupState *s = &c->states.at[i];
        if (!*s->id)
            found_stray(c, s->objects.at[0]);
        if (s->manifest != s->summary && !s->deleted.n && is_asked_for(c, s->id))
            TRY(judge_half(c, s, &live, &left, err));
    }
    return ERR_OK;
}

/* The keys that lie beside a backup for the day on which keys/ is lost. */
static void check_key_beside(Checker *c, const BackupSummary *b)
{
    Err why = {0};
    bool complete;
    char *name AUTO(mem_freep) = backup_object_name(b->id, "key");
    ErrCode rc = key_check_beside(c->repo, b->id, &complete, &why);
    if (rc == ERR_OK && !complete)
        log_line(LOG_WARN, "'pgdr init' completes it",
                 "'%s/%s' lacks keys of the repository, or has them under another passphrase: it "
                 "would be needed if the 'keys' folder were lost",
                 c->repo->cluster, name);
    if (rc == ERR_OK)
        return;
    if (rc == ERR_NOT_FOUND)
        err_set(&why, rc, "the spare copy of the keys is missing");
    err_hint(&why, "nothing is lost as long as the repository's 'keys' folder is whole");
    checker_found_err(c, name, &why, NULL);
}

static ErrCode load_lists(Checker *c, Err *err)
{
    const VerifySpec *spec = c->spec;
    TRY(check_halves(c, err));
    TRY(backup_list_read(c->repo, &c->list, err));
    for (size_t i = 0; i < c->list.broken.n; i++)
        found_broken(c, &c->list.broken.at[i]);
    for (size_t i = 0; i < backup_count(&c->list); i++) {
        CheckedBackup b = {.summary = backup_at(&c->list, i)};
        if (spec->backup_id && b.summary != backup_find(&c->list, spec->backup_id))
            continue;
        check_key_beside(c, b.summary);
        Err why = {0};
        ErrCode rc = packs_list_get(c->repo, b.summary->id, &b.summary->packs, &b.packs, &why);
        b.packs_known = rc == ERR_OK;
        if (rc != ERR_OK && !checker_is_finding(rc)) {
            *err = why;
            return rc;
        }
        if (rc != ERR_OK) {
            StrList ids AUTO(str_list_release) = {0};
            vec_push(&ids, mem_strdup(b.summary->id));
            char *name AUTO(mem_freep) = mem_printf("backups/%s/packs", b.summary->id);
            checker_found_err(c, name, &why, &ids);
        }
        vec_push(&c->backups, b);
    }
    c->result.backups = c->backups.n;
    if (spec->backup_id && !c->backups.n) {
        err_set(err, ERR_NOT_FOUND, "there is no backup '%s' of '%s' in '%s'", spec->backup_id,
                c->repo->cluster, repo_url(c->repo));
        return err_hint(err, "'pgdr info' lists what there is");
    }
    return ERR_OK;
}

static int pack_compare(const void *a, const void *b)
{
    return strcmp(((const CheckedPack *)a)->name, ((const CheckedPack *)b)->name);
}

static const PackInfo *own_info(const Checker *c, const char *backup_id, PackId id)
{
    for (size_t i = 0; i < c->backups.n; i++)
        if (strcmp(c->backups.at[i].summary->id, backup_id) == 0)
            return packs_list_find(&c->backups.at[i].packs, id);
    return NULL;
}

static void add_pack(Checker *c, const char *backup_id, PackId id, uint64_t size)
{
    CheckedPack p = {.name = pack_name(backup_id, id),
                     .id = id,
                     .size = size,
                     .info = own_info(c, backup_id, id)};
    memcpy(p.backup_id, backup_id, BACKUP_ID_LEN + 1);
    vec_push(&c->packs, p);
}

static void collect_packs(Checker *c)
{
    for (size_t i = 0; i < c->backups.n; i++) {
        const CheckedBackup *b = &c->backups.at[i];
        for (size_t k = 0; k < b->packs.own.n; k++)
            add_pack(c, b->summary->id, b->packs.own.at[k].id, b->packs.own.at[k].facts.size);
        for (size_t k = 0; k < b->packs.refs.n; k++) {
            const PackRefs *r = &b->packs.refs.at[k];
            for (size_t m = 0; m < r->packs.n; m++)
                add_pack(c, r->backup_id, r->packs.at[m].id, r->packs.at[m].size);
        }
    }
    if (!c->packs.n)
        return;
    qsort(c->packs.at, c->packs.n, sizeof(c->packs.at[0]), pack_compare);
    size_t left = 1;
    for (size_t i = 1; i < c->packs.n; i++) {
        if (strcmp(c->packs.at[i].name, c->packs.at[left - 1].name) != 0)
            c->packs.at[left++] = c->packs.at[i];
        else
            free(c->packs.at[i].name);
    }
    c->packs.n = left;
    c->result.packs = left;
}

static void found_key(void *arg, const char *object, const Err *why)
{
    checker_found_err(arg, object, why, NULL);
}

ErrCode verify_keys(const VerifySpec *spec, VerifyResult *ret, Err *err)
{
    Checker c AUTO(checker_release) = {.spec = spec, .repo = spec->repo};
    pthread_mutex_init(&c.lock, NULL);
    TRY(keys_check(spec->repo, found_key, &c, err));
    ret->findings += c.result.findings;
    return ERR_OK;
}

ErrCode verify_run(const VerifySpec *spec, VerifyResult *ret, Err *err)
{
    Checker c AUTO(checker_release) = {.spec = spec, .repo = spec->repo};
    pthread_mutex_init(&c.lock, NULL);
    TRY(load_lists(&c, err));
    collect_packs(&c);
    TRY(check_packs_present(&c, err));
    if (!spec->fast) {
        TRY(check_packs_content(&c, err));
        TRY(check_manifests(&c, err));
    }
    TRY(check_wal(&c, err));
    if (!spec->fast && !spec->backup_id)
        TRY(check_rest(&c, err));
    c.result.pages = atomic_load(&c.pages);
    c.result.bytes += atomic_load(&c.bytes);
    *ret = c.result;
    return ERR_OK;
}
