#include <string.h>

#include "lib/common/hex.h"
#include "lib/common/log.h"
#include "lib/repo/publish.h"

#define LEASE_PREFIX "leases/"

ErrCode lease_take(Repo *repo, const char *what, const StrList *backups, Lease *ret, Err *err)
{
    Lease lease;
    char uuid[33], host[256] = "";
    gethostname(host, sizeof(host) - 1);
    snprintf(lease.name, sizeof(lease.name), LEASE_PREFIX "%s", random_name(uuid));
    json_t *ids = json_array();
    for (size_t i = 0; i < backups->n; i++)
        json_array_append_new(ids, json_string(backups->at[i]));
    lease.body = json_pack("{s:s,s:s,s:i,s:I,s:o}", "what", what, "host",
                           utf8_valid(host, strlen(host)) ? host : "?", "pid", (int)getpid(),
                           "since", (json_int_t)time_now(), "backups", ids);
    ErrCode rc = document_put_json(repo, lease.name, KIND_MARK, lease.body, STORAGE_CREATE, NULL,
                                   err);
    if (rc != ERR_OK) {
        json_decref(lease.body);
        return rc;
    }
    *ret = lease;
    return ERR_OK;
}

ErrCode lease_renew(Repo *repo, const Lease *lease, Err *err)
{
    return document_put_json(repo, lease->name, KIND_MARK, lease->body, STORAGE_OVERWRITE, NULL,
                             err);
}

void lease_release(Repo *repo, Lease *lease)
{
    Err err = {0};
    const char *name = lease->name;
    if (!lease->body)
        return;
    if (repo_remove(repo, &name, 1, &err) != ERR_OK)
        log_err(LOG_DEBUG, &err);
    json_decref(lease->body);
    lease->body = NULL;
}

typedef struct LeaseListing {
    StrList names;
    TimeUs now;
} LeaseListing;

static ErrCode lease_found(void *arg, const RepoEntry *e, Err *err)
{
    LeaseListing *l = arg;
    (void)err;
    if (l->now - e->stat.mtime < LEASE_LIVE)
        vec_push(&l->names, mem_strdup(e->name));
    return ERR_OK;
}

static ErrCode lease_read(Repo *repo, const char *name, StrList *ret, Err *err)
{
    json_t *body AUTO(json_decrefp) = NULL;
    ErrCode rc = document_get_json(repo, name, KIND_MARK, &body, NULL, err);
    if (rc == ERR_NOT_FOUND)
        return ERR_OK; /* released meanwhile */
    if (rc != ERR_OK)
        return rc;
    json_t *ids, *item;
    size_t i;
    TRY(json_get_array(body, "backups", &ids, err));
    json_array_foreach (ids, i, item)
        if (json_is_string(item))
            vec_push(ret, mem_strdup(json_string_value(item)));
    return ERR_OK;
}

ErrCode lease_backups(Repo *repo, StrList *ret, Err *err)
{
    LeaseListing l = {.names = {0}};
    RepoList list = {.prefix = LEASE_PREFIX, .want_stat = true, .fn = lease_found, .arg = &l};
    TRY(repo_now(repo, &l.now, err));
    ErrCode rc = repo_list(repo, &list, err);
    for (size_t i = 0; i < l.names.n && rc == ERR_OK; i++)
        rc = lease_read(repo, l.names.at[i], ret, err);
    str_list_release(&l.names);
    str_list_sort(ret);
    return rc;
}
