#include <stdio.h>
#include <string.h>

#include "lib/common/parallel.h"
#include "lib/common/workers.h"
#include "lib/repo/wal_object.h"
#include "verify/checker.h"
#include "verify/stored.h"

/*
 * What is stored and belongs to no backup that can be restored, and to no timeline: packs that
 * nobody uses, what is left of backups that were retired or never committed, marks, leases, WAL
 * that was set aside. Its bytes are checked like all others; each finding says what it costs.
 */

typedef struct Rest {
    Checker *c;
    pthread_mutex_t large; /* WAL that was set aside: segments have up to 1 GiB */
} Rest;

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* --- what it costs --- */

/* The backup whose folder below "packs/" or "backups/" an object lies in; NULL: none. */
static const BackupState *state_of(const Checker *c, const char *name)
{
    char id[BACKUP_ID_LEN + 1];
    snprintf(id, sizeof(id), "%s", strchr(name, '/') + 1);
    return backup_states_find(&c->states, id);
}

static const char *cost_in_backup(const Checker *c, const char *name)
{
    const BackupState *s = state_of(c, name);
    const char *last = strrchr(name, '/') + 1;
    if (starts(last, "deleted-") || starts(last, "kept-") || starts(last, "going-"))
        return "nothing is lost by it: that it is there is what counts";
    if (s && s->deleted.n)
        return "its backup is retired: without it that cannot come back";
    if (s && (s->manifest || s->summary) && !backup_find(&c->list, s->id))
        return "its backup cannot be restored as it is";
    return "no backup uses it";
}

/* In words; NULL: it is nothing that pgdr has put there. */
static const char *cost_of(const Checker *c, const char *name)
{
    if (starts(name, "packs/") || starts(name, "backups/"))
        return cost_in_backup(c, name);
    if (starts(name, "orphan/"))
        return "no restore needs it: it is WAL that was set aside";
    if (starts(name, "leases/"))
        return "nothing is lost by it: a lease lapses by itself";
    if (starts(name, "trash/"))
        return "no restore needs it: it names what is to be removed";
    return NULL;
}

static void found_rest(Checker *c, const char *name, const Err *why)
{
    const char *cost = cost_of(c, name);
    char *problem AUTO(mem_freep) =
        cost ? mem_printf("%s; %s", why->message, cost)
             : mem_printf("it is no object that pgdr has put there (%s); nothing needs it",
                          why->message);
    checker_found(c, &(VerifyFinding){.warning = !cost, .object = name, .problem = problem});
}

/* --- reading --- */

/* orphan/<system>/<host>/<file>-<digest> */
static ErrCode check_orphan(Rest *r, const char *name, uint64_t *ret_bytes, Err *err)
{
    char system[48];
    uint64_t id;
    uint32_t size;
    WalStore store;
    WalFound found;
    Buf data AUTO(buf_release) = {0};
    const char *at = name + strlen("orphan/");
    snprintf(system, sizeof(system), "%.*s", (int)MIN(strcspn(at, "/"), sizeof(system) - 1), at);
    if (!wal_system_parse(system, &id, &size) || !wal_found_parse(name, &found))
        return stored_object_check(r->c->repo, name, ret_bytes, err);
    wal_store_init(&store, r->c->repo, id, size);
    pthread_mutex_lock(&r->large);
    ErrCode rc = wal_prove(&store, name, &found, &data, ret_bytes, err);
    pthread_mutex_unlock(&r->large);
    return rc;
}

static ErrCode check_one(void *arg, unsigned thread, size_t i, Err *err)
{
    Rest *r = arg;
    const char *name = r->c->others.at[i];
    uint64_t bytes = 0;
    Err why = {0};
    (void)thread;
    TRY(cancel_check(err));
    ErrCode rc = starts(name, "orphan/") ? check_orphan(r, name, &bytes, &why)
                                         : stored_object_check(r->c->repo, name, &bytes, &why);
    atomic_fetch_add(&r->c->bytes, bytes);
    progress_add(r->c->spec->progress, bytes, 1);
    if (rc == ERR_OK || rc == ERR_NOT_FOUND) /* removed since it was listed */
        return ERR_OK;
    if (!checker_is_finding(rc)) {
        *err = why;
        return rc;
    }
    found_rest(r->c, name, &why);
    return ERR_OK;
}

/* --- which --- */

/* What the checks of backups have read: the documents of those under test, and broken summaries. */
static bool is_read(const Checker *c, const BackupState *s, const char *name)
{
    const char *last = strrchr(name, '/') + 1;
    for (size_t i = 0; i < c->list.broken.n; i++)
        if (strcmp(c->list.broken.at[i].id, s->id) == 0)
            return strcmp(last, "summary") == 0;
    if (!backup_find(&c->list, s->id))
        return false;
    return strcmp(last, "summary") == 0 || strcmp(last, "packs") == 0 || strcmp(last, "key") == 0 ||
           starts(last, "manifest");
}

static void add_of_backups(Checker *c)
{
    for (size_t i = 0; i < c->states.n; i++) {
        const BackupState *s = &c->states.at[i];
        for (size_t k = 0; *s->id && k < s->objects.n; k++)
            if (!is_read(c, s, s->objects.at[k]))
                vec_push(&c->others, mem_strdup(s->objects.at[k]));
    }
}

/* Folders at the top that no other part has listed. */
static ErrCode add_folders(Checker *c, Err *err)
{
    static const char *const listed[] = {"packs/", "backups/", "wal/", "tail/", "timelines/"};
    StrList top AUTO(str_list_release) = {0};
    TRY(repo_list_names(c->repo, "", true, &top, err));
    for (size_t i = 0; i < top.n; i++) {
        bool known = false;
        for (size_t k = 0; k < ARRAY_LEN(listed); k++)
            known |= strcmp(top.at[i], listed[k]) == 0;
        bool below = top.at[i][0] && top.at[i][strlen(top.at[i]) - 1] == '/';
        if (!known)
            vec_push(below ? &c->other_folders : &c->others, mem_strdup(top.at[i]));
    }
    for (size_t i = 0; i < c->other_folders.n; i++)
        TRY(repo_list_names(c->repo, c->other_folders.at[i], false, &c->others, err));
    return ERR_OK;
}

ErrCode check_rest(Checker *c, Err *err)
{
    Rest r = {.c = c};
    add_of_backups(c);
    TRY(add_folders(c, err));
    c->result.other_objects += c->others.n;
    progress_begin(c->spec->progress, "checking all else", 0, c->others.n);
    pthread_mutex_init(&r.large, NULL);
    ErrCode rc = parallel_run(c->spec->jobs, c->others.n, check_one, &r, err);
    pthread_mutex_destroy(&r.large);
    return rc;
}
