#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/common/hex.h"
#include "lib/common/log.h"
#include "lib/common/procid.h"
#include "lib/repo/publish.h"

#define LEASE_PREFIX "leases/"

/* A third of what makes it lapse, and rare enough for versioned buckets. */
#define RENEW_EVERY (LEASE_LIVE / 3)

struct Lease {
    Repo *repo;
    char name[64]; /* relative to the cluster */
    json_t *body;
    pthread_t thread;
    bool started, stop;
    pthread_mutex_t lock;
    pthread_cond_t wake;
};

static void lease_free(Lease *l)
{
    if (!l)
        return;
    json_decref(l->body);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->wake);
    free(l);
}
DEFINE_FREEP(Lease, lease_free)

static bool lease_wait(Lease *l)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += RENEW_EVERY / US_PER_SECOND;
    pthread_mutex_lock(&l->lock);
    int rc = 0;
    while (!l->stop && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&l->wake, &l->lock, &until);
    bool stop = l->stop;
    pthread_mutex_unlock(&l->lock);
    return !stop;
}

static void *lease_main(void *arg)
{
    Lease *l = arg;
    while (lease_wait(l)) {
        Err err = {0};
        if (document_put_json(l->repo, l->name, KIND_MARK, l->body, STORAGE_OVERWRITE, NULL,
                              &err) != ERR_OK) {
            err_wrap(&err, "cannot renew the lease");
            log_err(LOG_INFO, &err);
        }
    }
    return NULL;
}

static ErrCode lease_put(Repo *repo, const char *what, const StrList *backups, Lease **ret,
                         Err *err)
{
    Lease *l AUTO(lease_freep) = NEW(Lease);
    char uuid[33], host[256] = "", process[PROCID_MAX];
    gethostname(host, sizeof(host) - 1);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->wake, NULL);
    l->repo = repo;
    snprintf(l->name, sizeof(l->name), LEASE_PREFIX "%s", random_name(uuid));
    json_t *ids = json_array();
    for (size_t i = 0; i < backups->n; i++)
        json_array_append_new(ids, json_string(backups->at[i]));
    procid_self(process);
    l->body = json_pack("{s:s,s:s,s:i,s:s,s:I,s:o}", "what", what, "host",
                        utf8_valid(host, strlen(host)) ? host : "?", "pid", (int)getpid(),
                        "process", process, "since", (json_int_t)time_now(), "backups", ids);
    TRY(document_put_json(repo, l->name, KIND_MARK, l->body, STORAGE_CREATE, NULL, err));
    *ret = steal_ptr(&l);
    return ERR_OK;
}

ErrCode lease_take(Repo *repo, const char *what, const StrList *backups, Lease **ret, Err *err)
{
    Lease *l;
    sigset_t all, old;
    TRY(lease_put(repo, what, backups, &l, err));
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are for the main thread */
    l->started = pthread_create(&l->thread, NULL, lease_main, l) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    *ret = l;
    return ERR_OK;
}

void lease_release(Lease *l)
{
    Err err = {0};
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->lock);
    if (l->started)
        pthread_join(l->thread, NULL);
    const char *name = l->name;
    if (repo_remove(l->repo, &name, 1, &err) != ERR_OK)
        log_err(LOG_DEBUG, &err);
    lease_free(l);
}

typedef struct LeaseFound {
    char *name;
    TimeUs mtime;
} LeaseFound;
typedef VEC(LeaseFound) LeasesFound;

static void leases_found_release(LeasesFound *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->at[i].name);
    vec_release(l);
}

static ErrCode lease_found(void *arg, const RepoEntry *e, Err *err)
{
    LeasesFound *l = arg;
    (void)err;
    vec_push(l, (LeaseFound){mem_strdup(e->name), e->stat.mtime});
    return ERR_OK;
}

/* Its holder is known to be dead. */
static bool holder_is_gone(const json_t *body)
{
    const char *process = json_string_value(json_object_get(body, "process"));
    return process && procid_is_gone(process);
}

/* The holder makes the backups that it names. */
static bool holder_makes(const json_t *body)
{
    const char *what = json_string_value(json_object_get(body, "what"));
    return what && (strcmp(what, LEASE_BACKUP) == 0 || strcmp(what, LEASE_COPY) == 0);
}

/* *ret is NULL when it was released meanwhile. */
static ErrCode lease_get(Repo *repo, const char *name, json_t **ret, Err *err)
{
    Err why = {0};
    ErrCode rc = document_get_json(repo, name, KIND_MARK, ret, NULL, &why);
    if (rc == ERR_OK || rc == ERR_NOT_FOUND)
        return ERR_OK;
    *err = why;
    return rc;
}

static ErrCode lease_ids(const json_t *body, StrList *ret, Err *err)
{
    json_t *ids, *item;
    size_t i;
    TRY(json_get_array(body, "backups", &ids, err));
    json_array_foreach(ids, i, item) if (json_is_string(item))
        vec_push(ret, mem_strdup(json_string_value(item)));
    return ERR_OK;
}

/* Where nothing can be written the storage does not tell the time; leases are a courtesy. */
static ErrCode now_for_leases(Repo *repo, TimeUs *ret, Err *err)
{
    Err why = {0};
    ErrCode rc = repo_now(repo, ret, &why);
    if (rc == ERR_ACCESS || rc == ERR_NO_SPACE || rc == ERR_IO) {
        *ret = time_now();
        rc = ERR_OK;
    }
    if (rc != ERR_OK)
        *err = why;
    return rc;
}

/* All leases, and the time to compare theirs with. */
static ErrCode leases_list(Repo *repo, LeasesFound *ret, TimeUs *ret_now, Err *err)
{
    RepoList list = {.prefix = LEASE_PREFIX, .want_stat = true, .fn = lease_found, .arg = ret};
    TRY(repo_list(repo, &list, err));
    return ret->n ? now_for_leases(repo, ret_now, err) : ERR_OK;
}

/* "rekey, process 71 on host, since …" */
static char *lease_show(const json_t *body)
{
    char since[TIME_TEXT_LEN];
    const char *what = json_string_value(json_object_get(body, "what"));
    const char *host = json_string_value(json_object_get(body, "host"));
    time_format_utc(json_integer_value(json_object_get(body, "since")), true, since);
    return mem_printf("'%s', process %d on host '%s', since %s", what ? what : "?",
                      (int)json_integer_value(json_object_get(body, "pid")), host ? host : "?",
                      since);
}

/* NULL when it is not live any more. */
static ErrCode lease_holder(Repo *repo, const char *name, char **ret, Err *err)
{
    json_t *body AUTO(json_decrefp) = NULL;
    Err why = {0};
    ErrCode rc = document_get_json(repo, name, KIND_MARK, &body, NULL, &why);
    if (rc == ERR_NOT_FOUND || (rc == ERR_OK && holder_is_gone(body)))
        return ERR_OK;
    if (rc != ERR_OK && rc != ERR_DAMAGED && rc != ERR_WRONG_KEY && rc != ERR_VERSION) {
        *err = why;
        return rc;
    }
    *ret = rc == ERR_OK ? lease_show(body) : mem_printf("whoever put '%s'", name);
    return ERR_OK;
}

ErrCode lease_take_alone(Repo *repo, const char *what, Lease **ret, Err *err)
{
    const StrList none = {0};
    return lease_put(repo, what, &none, ret, err);
}

ErrCode lease_find_other(Repo *repo, const Lease *own, char **ret_who, StrList *lapsed, Err *err)
{
    LeasesFound found AUTO(leases_found_release) = {0};
    RepoList list = {.prefix = LEASE_PREFIX, .want_stat = true, .fn = lease_found, .arg = &found};
    TimeUs now;
    *ret_who = NULL;
    TRY(repo_list(repo, &list, err));
    TRY(repo_now(repo, &now, err));
    for (size_t i = 0; i < found.n && !*ret_who; i++) {
        const LeaseFound *f = &found.at[i];
        if (strcmp(f->name, own->name) == 0)
            continue;
        if (now - f->mtime < LEASE_LIVE)
            TRY(lease_holder(repo, f->name, ret_who, err));
        if (!*ret_who)
            vec_push(lapsed, mem_strdup(f->name));
    }
    return ERR_OK;
}

ErrCode lease_keep(Lease *l, Err *err)
{
    StorageStat st;
    TimeUs now;
    ErrCode rc = repo_stat(l->repo, l->name, &st, err);
    if (rc == ERR_NOT_FOUND)
        return err_set(err, ERR_CANCELLED, "somebody else has taken this one for dead");
    TRY(rc);
    TRY(repo_now(l->repo, &now, err));
    if (now - st.mtime >= LEASE_LIVE)
        return err_set(err, ERR_CANCELLED, "its lease has lapsed");
    if (now - st.mtime < RENEW_EVERY)
        return ERR_OK;
    return document_put_json(l->repo, l->name, KIND_MARK, l->body, STORAGE_OVERWRITE, NULL, err);
}

ErrCode lease_backups(Repo *repo, StrList *ret, Err *err)
{
    LeasesFound found AUTO(leases_found_release) = {0};
    TimeUs now = 0;
    TRY(leases_list(repo, &found, &now, err));
    for (size_t i = 0; i < found.n; i++) {
        json_t *body AUTO(json_decrefp) = NULL;
        if (now - found.at[i].mtime >= LEASE_LIVE)
            continue;
        TRY(lease_get(repo, found.at[i].name, &body, err));
        if (body && !holder_is_gone(body))
            TRY(lease_ids(body, ret, err));
    }
    str_list_sort(ret);
    return ERR_OK;
}

ErrCode lease_makers(Repo *repo, StrList *ret_live, StrList *ret_left, Err *err)
{
    LeasesFound found AUTO(leases_found_release) = {0};
    TimeUs now = 0;
    TRY(leases_list(repo, &found, &now, err));
    for (size_t i = 0; i < found.n; i++) {
        json_t *body AUTO(json_decrefp) = NULL;
        Err why = {0};
        ErrCode rc = lease_get(repo, found.at[i].name, &body, &why);
        if (rc == ERR_OK && body && holder_makes(body)) {
            bool live = now - found.at[i].mtime < LEASE_LIVE && !holder_is_gone(body);
            rc = lease_ids(body, live ? ret_live : ret_left, &why);
        }
        if (rc != ERR_OK)
            log_err(LOG_WARN, &why);
    }
    str_list_sort(ret_live);
    str_list_sort(ret_left);
    return ERR_OK;
}
