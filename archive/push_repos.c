#include "archive/push_repos.h"

#include <pthread.h>
#include <string.h>

#include "lib/common/timeutil.h"
#include "lib/common/workers.h"

#define KEYS "keys/"
/* For how long what was seen of a repository is enough to begin a store. */
#define BELIEVED (1 * US_PER_SECOND)

typedef struct KeptRepo {
    Repo *repo;   /* NULL: not opened, or not to be kept */
    StrList keys; /* the names below keys/ when it was opened */
    TimeUs seen;  /* when they were last asked for and the same, by the monotonic clock */
} KeptRepo;

struct PushRepos {
    const RepoSource *source;
    pthread_mutex_t lock; /* for opening */
    KeptRepo *at;
};

PushRepos *push_repos_new(const RepoSource *source)
{
    PushRepos *r = NEW(PushRepos);
    r->source = source;
    pthread_mutex_init(&r->lock, NULL);
    r->at = mem_zero(source->n * sizeof(*r->at));
    return r;
}

void push_repos_free(PushRepos *r)
{
    if (!r)
        return;
    for (unsigned i = 0; i < r->source->n; i++) {
        repo_close(r->at[i].repo);
        str_list_release(&r->at[i].keys);
    }
    pthread_mutex_destroy(&r->lock);
    free(r->at);
    free(r);
}

static ErrCode check_kept(const KeptRepo *kept, Err *err)
{
    StrList keys AUTO(str_list_release) = {0};
    TRY(storage_list_names(kept->repo->storage, KEYS, false, &keys, err));
    bool same = keys.n == kept->keys.n;
    for (size_t i = 0; i < keys.n && same; i++)
        same = strcmp(keys.at[i], kept->keys.at[i]) == 0;
    if (!same)
        return err_set(err, ERR_MISMATCH, "'%s' is not as it was when it was opened",
                       repo_url(kept->repo));
    return ERR_OK;
}

/* Under the lock. *ret_own: the caller's, to be closed; NULL for one that is kept. */
static ErrCode open_locked(PushRepos *r, unsigned i, Repo **ret, Repo **ret_own, bool *ret_new,
                           Err *err)
{
    KeptRepo *kept = &r->at[i];
    Repo *repo AUTO(repo_closep) = NULL;
    StrList keys AUTO(str_list_release) = {0};
    *ret_new = !kept->repo;
    if (kept->repo) {
        *ret = kept->repo;
        return ERR_OK;
    }
    TRY(r->source->open(r->source->arg, i, &repo, err));
    *ret = repo;
    if (!repo_is_remote(repo)) {
        *ret_own = steal_ptr(&repo);
        return ERR_OK;
    }
    const TimeUs now = time_monotonic();
    TRY(storage_list_names(repo->storage, KEYS, false, &kept->keys, err));
    kept->seen = now;
    kept->repo = steal_ptr(&repo);
    return ERR_OK;
}

/* Unless it was seen at `since` or later. */
static ErrCode look_again(PushRepos *r, KeptRepo *kept, TimeUs since, Err *err)
{
    const TimeUs now = time_monotonic();
    pthread_mutex_lock(&r->lock);
    bool due = kept->repo && kept->seen < since;
    pthread_mutex_unlock(&r->lock);
    if (!due)
        return ERR_OK;
    TRY(check_kept(kept, err));
    pthread_mutex_lock(&r->lock);
    kept->seen = MAX(kept->seen, now);
    pthread_mutex_unlock(&r->lock);
    return ERR_OK;
}

static ErrCode store_in(PushRepos *r, unsigned i, const WalFile *f, Err *err)
{
    WalStore store;
    WalStored stored;
    Repo *repo = NULL, *own AUTO(repo_closep) = NULL;
    bool is_new;
    TRY(cancel_check(err));
    pthread_mutex_lock(&r->lock);
    ErrCode rc = open_locked(r, i, &repo, &own, &is_new, err);
    pthread_mutex_unlock(&r->lock);
    if (rc == ERR_OK && !is_new)
        rc = look_again(r, &r->at[i], time_monotonic() - BELIEVED, err);
    if (rc != ERR_OK)
        return rc;
    wal_store_init(&store, repo, f->system_id, f->seg_size);
    return wal_file_store(&store, f, &stored, err);
}

ErrCode push_repos_store(PushRepos *r, const WalFile *f, Err *err)
{
    for (unsigned i = 0; i < r->source->n; i++)
        TRY(store_in(r, i, f, err));
    return ERR_OK;
}

ErrCode push_repos_confirm(PushRepos *r, TimeUs stored, Err *err)
{
    for (unsigned i = 0; i < r->source->n; i++)
        TRY(look_again(r, &r->at[i], stored, err));
    return ERR_OK;
}
