/* Several threads at one storage. */

#include "tests/storage/conformance.h"

#include <pthread.h>
#include <stdatomic.h>

#include "lib/common/bytes.h"
#include "lib/common/timeutil.h"

#define THREADS 8

/* --- different names --- */

static void put_own(Job *job)
{
    for (unsigned i = 0; i < job->rounds; i++) {
        char name[64];
        const char *names[] = {name};
        StorageStat stat;
        StrList listed AUTO(str_list_release) = {0};
        Buf got AUTO(buf_release) = {0};
        size_t len = i % 5 * 2000 + job->index;
        snprintf(name, sizeof(name), "own/%u/%u-%u", i % 4, i, job->index);
        JOB_OK(job, put_content(job->s, name, len, i, STORAGE_CREATE, err));
        JOB_OK(job, storage_stat(job->s, name, &stat, err));
        JOB_OK(job, storage_get_all(job->s, name, len, &got, err));
        JOB_OK(job, storage_list_names(job->s, name, false, &listed, err));
        JOB_TRUE(job, stat.size == len && got.len == len && content_is(got.data, len, i));
        JOB_TRUE(job, listed.n == 1 && strcmp(listed.at[0], name) == 0);
        if (i % 2)
            JOB_OK(job, storage_remove(job->s, names, 1, err));
    }
}

static void different_names(void **state)
{
    FIXTURE(state);
    unsigned rounds = f->c->rounds;
    run_jobs(f, THREADS, rounds, put_own, NULL);
    StrList names AUTO(str_list_release) = {0};
    expect_ok(storage_list_names(f->s, "", false, &names, err));
    assert_int_equal(names.n, (rounds + 1) / 2 * THREADS);
}

/* --- one name --- */

typedef struct SameName {
    pthread_barrier_t start;
    atomic_uint won[1000];
} SameName;

/* Contents of different length and bytes, so that a mixture shows. */
static size_t same_len(unsigned index, unsigned round)
{
    return index * 1000 + (round % 3 == 2 ? MIB : 5);
}

static void put_same(Job *job)
{
    SameName *same = job->shared;
    for (unsigned i = 0; i < job->rounds; i++) {
        Err e = {0};
        char name[32];
        size_t len = same_len(job->index, i);
        uint8_t *data AUTO(mem_freep) = content_new(len, job->index);
        snprintf(name, sizeof(name), "same/%u/x", i);
        pthread_barrier_wait(&same->start);
        ErrCode rc = storage_put_bytes(job->s, name, data, len, STORAGE_CREATE, &e);
        atomic_fetch_add(&same->won[i], rc == ERR_OK);
        if (rc != ERR_OK && rc != ERR_EXISTS)
            snprintf(job->failure, sizeof(job->failure), "put: %s", e.message);
    }
}

static void same_name(void **state)
{
    FIXTURE(state);
    SameName *same AUTO(mem_freep) = NEW(SameName);
    pthread_barrier_init(&same->start, NULL, THREADS);
    run_jobs(f, THREADS, f->c->rounds, put_same, same);
    pthread_barrier_destroy(&same->start);
    for (unsigned i = 0; i < f->c->rounds; i++) {
        char name[32];
        Buf got AUTO(buf_release) = {0};
        unsigned owners = 0;
        snprintf(name, sizeof(name), "same/%u/x", i);
        expect_ok(storage_get_all(f->s, name, 2 * MIB, &got, err));
        for (unsigned k = 0; k < THREADS; k++)
            owners += got.len == same_len(k, i) && content_is(got.data, got.len, k);
        assert_int_equal(owners, 1);
        if (f->c->replaces_silently)
            assert_true(same->won[i] >= 1);
        else
            assert_int_equal(same->won[i], 1);
    }
}

/* --- overwriting under readers --- */

typedef struct Lease {
    atomic_bool done;
    atomic_uint reads;
} Lease;

/* A content that says what it is: its length and seed, then the bytes they give. */
static ErrCode put_lease(Storage *s, unsigned round, Err *err)
{
    size_t len = 16 + (round * 7919u) % 200000;
    uint8_t *data AUTO(mem_freep) = mem_new(len);
    content_fill(data + 16, len - 16, round);
    set_u64(data, len);
    set_u64(data + 8, round);
    return storage_put_bytes(s, "leases/x", data, len, STORAGE_OVERWRITE, err);
}

static bool lease_is_whole(const uint8_t *data, size_t len)
{
    return len >= 16 && get_u64(data) == len && content_is(data + 16, len - 16, get_u64(data + 8));
}

static void lease_job(Job *job)
{
    Lease *lease = job->shared;
    if (job->index == 0) {
        /* Also on one CPU the readers get their turn. */
        TimeUs end = time_monotonic() + 10 * US_PER_SECOND;
        for (unsigned i = 1;
             i <= job->rounds * 10 || (atomic_load(&lease->reads) < 20 && time_monotonic() < end);
             i++)
            JOB_OK(job, put_lease(job->s, i, err));
        atomic_store(&lease->done, true);
        return;
    }
    while (!atomic_load(&lease->done)) {
        Buf got AUTO(buf_release) = {0};
        JOB_OK(job, storage_get_all(job->s, "leases/x", MIB, &got, err));
        JOB_TRUE(job, lease_is_whole(got.data, got.len));
        atomic_fetch_add(&lease->reads, 1);
    }
}

static void overwrite_under_readers(void **state)
{
    FIXTURE(state);
    Lease lease = {0};
    expect_ok(put_lease(f->s, 0, err));
    run_jobs(f, 3, f->c->rounds, lease_job, &lease);
    assert_true(lease.reads >= 20);
}

/* --- putting into what is being emptied --- */

static void put_and_remove(Job *job)
{
    for (unsigned i = 0; i < job->rounds * 4; i++) {
        char name[64];
        const char *names[] = {name};
        StorageStat stat;
        snprintf(name, sizeof(name), "d/e/f/%u", job->index);
        JOB_OK(job, put_content(job->s, name, 100, i, STORAGE_CREATE, err));
        JOB_OK(job, storage_stat(job->s, name, &stat, err));
        JOB_OK(job, storage_remove(job->s, names, 1, err));
    }
}

static void put_while_emptied(void **state)
{
    FIXTURE(state);
    run_jobs(f, 4, f->c->rounds, put_and_remove, NULL);
    expect_names(f->s, &(StorageList){.prefix = ""}, NULL, 0);
    expect_names(f->s, &(StorageList){.prefix = "", .by_level = true}, NULL, 0);
}

/* --- listing while others change what is listed --- */

typedef struct Churn {
    atomic_bool done;
} Churn;

static void stable_name(unsigned i, char *out)
{
    snprintf(out, 64, "s/%u/%03u stable", i % 3, i);
}

static ErrCode check_order(void *arg, const StorageEntry *entry, Err *err)
{
    StrList *names = arg;
    if (names->n && strcmp(names->at[names->n - 1], entry->name) >= 0)
        return err_set(err, ERR_INTERNAL, "'%s' came after '%s'", entry->name,
                       names->at[names->n - 1]);
    vec_push(names, mem_strdup(entry->name));
    return ERR_OK;
}

static void churn_job(Job *job)
{
    Churn *churn = job->shared;
    for (unsigned i = 0; job->index && !atomic_load(&churn->done); i++) {
        char name[64];
        const char *names[] = {name};
        snprintf(name, sizeof(name), "s/%u/%03u-%u", i % 5, i % 100, job->index);
        JOB_OK(job, put_content(job->s, name, 10, i, STORAGE_OVERWRITE, err));
        if (i % 3)
            JOB_OK(job, storage_remove(job->s, names, 1, err));
    }
    for (unsigned i = 0; !job->index && i < job->rounds; i++) {
        StrList got AUTO(str_list_release) = {0};
        const StorageList list = {
            .prefix = "s/", .want_stat = i % 2, .fn = check_order, .arg = &got};
        ErrCode rc;
        Err e = {0};
        if ((rc = storage_list(job->s, &list, &e)) != ERR_OK)
            snprintf(job->failure, sizeof(job->failure), "list: %s", e.message);
        unsigned stable = 0;
        for (size_t k = 0; k < got.n; k++)
            stable += strstr(got.at[k], "stable") != NULL;
        if (rc == ERR_OK && stable != 300)
            snprintf(job->failure, sizeof(job->failure), "%u of 300 names that stay", stable);
    }
    if (!job->index)
        atomic_store(&churn->done, true);
}

static void list_while_changed(void **state)
{
    FIXTURE(state);
    Churn churn = {0};
    for (unsigned i = 0; i < 300; i++) {
        char name[64];
        stable_name(i, name);
        expect_ok(put_content(f->s, name, 1, i, STORAGE_CREATE, err));
    }
    run_jobs(f, 3, f->c->rounds * 2, churn_job, &churn);
}

const struct CMUnitTest conformance_races[] = {
    cmocka_unit_test(different_names),         cmocka_unit_test(same_name),
    cmocka_unit_test(overwrite_under_readers), cmocka_unit_test(put_while_emptied),
    cmocka_unit_test(list_while_changed),      {0},
};
