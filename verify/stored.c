#include "verify/stored.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "lib/common/parallel.h"
#include "lib/common/workers.h"
#include "verify/checker.h"

/* The largest object: a segment of 1 GiB that does not compress, with its index. */
#define STORED_OBJECT_MAX (GIB + 64 * MIB)
/* Beyond this one is in memory at a time. */
#define STORED_OBJECT_SMALL (64 * MIB)

typedef struct StoredObject {
    char *name;
    uint64_t size;
} StoredObject;

typedef struct StoredCheck {
    Checker checker; /* for the findings */
    VEC(StoredObject) objects;
    pthread_mutex_t large;
    atomic_uint_fast64_t bytes;
} StoredCheck;

static void stored_check_release(StoredCheck *s)
{
    for (size_t i = 0; i < s->objects.n; i++)
        free(s->objects.at[i].name);
    vec_release(&s->objects);
    pthread_mutex_destroy(&s->large);
    pthread_mutex_destroy(&s->checker.lock);
}

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static bool may_stand_in_backup(const char *object, const char *kind)
{
    if (strcmp(object, "summary") == 0)
        return strcmp(kind, KIND_SUMMARY) == 0;
    if (strcmp(object, "packs") == 0)
        return strcmp(kind, KIND_PACKS) == 0;
    if (strcmp(object, "key") == 0)
        return strcmp(kind, KIND_KEY) == 0;
    if (starts(object, "manifest"))
        return strcmp(kind, KIND_MANIFEST) == 0;
    return strcmp(kind, KIND_MARK) == 0;
}

/* Whether objects of this kind have names like this. */
static bool may_stand(const char *name, const char *kind)
{
    const char *slash = strrchr(name, '/'), *last = slash ? slash + 1 : name;
    if (starts(name, "packs/"))
        return strcmp(kind, last[0] == 'm' ? KIND_MAPS : KIND_PACK) == 0;
    if (starts(name, "wal/") || starts(name, "orphan/"))
        return strcmp(kind, KIND_WAL) == 0;
    if (starts(name, "tail/"))
        return strcmp(kind, KIND_TAIL) == 0;
    if (starts(name, "backups/"))
        return may_stand_in_backup(last, kind);
    if (starts(name, "trash/"))
        return strcmp(kind, KIND_TRASH) == 0;
    if (starts(name, "leases/") || starts(name, "timelines/"))
        return strcmp(kind, KIND_MARK) == 0;
    return true;
}

static ErrCode note_object(void *arg, const RepoEntry *e, Err *err)
{
    StoredCheck *s = arg;
    (void)err;
    vec_push(&s->objects, (StoredObject){mem_strdup(e->name), e->stat.size});
    return ERR_OK;
}

ErrCode stored_object_check(Repo *repo, const char *name, uint64_t *ret_bytes, Err *err)
{
    Buf data AUTO(buf_release) = {0};
    char kind[KIND_LEN + 1];
    TRY(repo_get(repo, name, STORED_OBJECT_MAX, &data, err));
    *ret_bytes = data.len;
    TRY(object_check_bytes(data.data, data.len, kind, err));
    if (!may_stand(name, kind))
        return err_set(err, ERR_DAMAGED, "an object of another kind (%s) stands here", kind);
    return ERR_OK;
}

static ErrCode check_object(void *arg, unsigned thread, size_t i, Err *err)
{
    StoredCheck *s = arg;
    const StoredObject *o = &s->objects.at[i];
    Err why = {0};
    (void)thread;
    TRY(cancel_check(err));
    bool large = o->size > STORED_OBJECT_SMALL;
    if (large)
        pthread_mutex_lock(&s->large);
    uint64_t bytes = 0;
    ErrCode rc = stored_object_check(s->checker.repo, o->name, &bytes, &why);
    atomic_fetch_add(&s->bytes, bytes);
    progress_add(s->checker.spec->progress, bytes, 1);
    if (large)
        pthread_mutex_unlock(&s->large);
    if (rc == ERR_OK || rc == ERR_NOT_FOUND) /* removed since it was listed */
        return ERR_OK;
    if (!checker_is_finding(rc)) {
        *err = why;
        return rc;
    }
    checker_found_err(&s->checker, o->name, &why, NULL);
    return ERR_OK;
}

ErrCode verify_stored(const VerifySpec *spec, VerifyResult *ret, Err *err)
{
    StoredCheck s AUTO(stored_check_release) = {.checker = {.spec = spec, .repo = spec->repo}};
    RepoList list = {.prefix = "", .want_stat = true, .fn = note_object, .arg = &s};
    uint64_t bytes = 0;
    pthread_mutex_init(&s.checker.lock, NULL);
    pthread_mutex_init(&s.large, NULL);
    TRY(repo_list(spec->repo, &list, err));
    for (size_t i = 0; i < s.objects.n; i++)
        bytes += s.objects.at[i].size;
    progress_begin(spec->progress, "checking stored bytes", bytes, s.objects.n);
    TRY(parallel_run(spec->jobs, s.objects.n, check_object, &s, err));
    ret->other_objects += s.objects.n;
    ret->bytes += atomic_load(&s.bytes);
    ret->findings += s.checker.result.findings;
    return ERR_OK;
}
