#include "tests/storage/conformance.h"

#include <pthread.h>

#define MANY 10000
#define ROUNDS 30

/* --- contents --- */

void content_fill(void *data, size_t len, uint64_t seed)
{
    uint64_t x = seed * 0x9E3779B97F4A7C15u + len + 1;
    uint8_t *p = data;
    for (size_t i = 0; i < len; i += 8) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(p + i, &x, MIN(sizeof(x), len - i));
    }
}

uint8_t *content_new(size_t len, uint64_t seed)
{
    uint8_t *p = mem_aligned(4096, len);
    content_fill(p, len, seed);
    return p;
}

bool content_is(const void *data, size_t len, uint64_t seed)
{
    uint8_t *want AUTO(mem_freep) = content_new(len, seed);
    return len == 0 || memcmp(data, want, len) == 0;
}

ErrCode put_content(Storage *s, const char *name, size_t len, uint64_t seed, StoragePutFlags flags,
                    Err *err)
{
    uint8_t *data AUTO(mem_freep) = content_new(len, seed);
    return storage_put_bytes(s, name, data, len, flags, err);
}

void expect_content(Storage *s, const char *name, size_t len, uint64_t seed)
{
    Buf got AUTO(buf_release) = {0};
    StorageStat stat;
    expect_ok(storage_get_all(s, name, len, &got, err));
    assert_int_equal(got.len, len);
    assert_true(content_is(got.data, len, seed));
    expect_ok(storage_stat(s, name, &stat, err));
    assert_int_equal(stat.size, len);
}

/* --- listings --- */

static ErrCode collect(void *arg, const StorageEntry *entry, Err *err)
{
    (void)err;
    StrList *names = arg;
    size_t len = strlen(entry->name);
    vec_push(names, mem_strdup(entry->name));
    if (entry->is_prefix != (entry->name[len - 1] == '/'))
        return err_set(err, ERR_INTERNAL, "'%s' is not marked rightly", entry->name);
    return ERR_OK;
}

void expect_names(Storage *s, const StorageList *list, const char *const *names, size_t n)
{
    StrList got AUTO(str_list_release) = {0};
    StorageList with = *list;
    with.fn = collect;
    with.arg = &got;
    expect_ok(storage_list(s, &with, err));
    for (size_t i = 0; i < MAX(n, got.n); i++) {
        const char *want = i < n ? names[i] : "(end)", *have = i < got.n ? got.at[i] : "(end)";
        if (strcmp(want, have) != 0)
            fail_msg(
                "listing prefix '%s' after '%s' by_level %d: entry %zu is '%s' instead of '%s'",
                list->prefix, list->after ? list->after : "(none)", list->by_level, i, have, want);
    }
}

StrList list_reference(char *const *names, size_t n, const StorageList *list)
{
    StrList want = {0};
    size_t skip = strlen(list->prefix);
    for (size_t i = 0; i < n; i++) {
        if (strncmp(names[i], list->prefix, skip) != 0)
            continue;
        const char *slash = list->by_level ? strchr(names[i] + skip, '/') : NULL;
        char *entry AUTO(mem_freep) =
            mem_strndup(names[i], slash ? (size_t)(slash + 1 - names[i]) : strlen(names[i]));
        if (list->after && strcmp(entry, list->after) <= 0)
            continue;
        if (!want.n || strcmp(want.at[want.n - 1], entry) != 0)
            vec_push(&want, steal_ptr(&entry));
    }
    return want;
}

/* --- threads --- */

typedef struct Thread {
    pthread_t id;
    Job job;
    void (*fn)(Job *);
} Thread;

static void *thread_main(void *arg)
{
    Thread *t = arg;
    t->fn(&t->job);
    return NULL;
}

void run_jobs(const Fixture *f, unsigned n, unsigned rounds, void (*fn)(Job *), void *shared)
{
    Thread *threads AUTO(mem_freep) = mem_zero(n * sizeof(*threads));
    for (unsigned i = 0; i < n; i++) {
        threads[i] =
            (Thread){.job = {.s = f->s, .index = i, .rounds = rounds, .shared = shared}, .fn = fn};
        assert_int_equal(pthread_create(&threads[i].id, NULL, thread_main, &threads[i]), 0);
    }
    for (unsigned i = 0; i < n; i++)
        pthread_join(threads[i].id, NULL);
    for (unsigned i = 0; i < n; i++)
        if (threads[i].job.failure[0])
            fail_msg("job %u: %s", i, threads[i].job.failure);
}

/* --- the suite --- */

static int setup(void **state)
{
    const Conformance *c = *state;
    Fixture *f = NEW(Fixture);
    f->c = c;
    f->s = c->open(c->arg);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    storage_free(f->s);
    if (f->c->clean)
        f->c->clean(f->c->arg);
    free(f);
    return 0;
}

int conformance_run(const Conformance *given)
{
    Conformance c = *given;
    c.many = c.many ? c.many : MANY;
    c.rounds = c.rounds ? c.rounds : ROUNDS;
    const struct CMUnitTest *const parts[] = {conformance_objects, conformance_lists,
                                              conformance_races, conformance_model};
    VEC(struct CMUnitTest) tests = {0};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        for (const struct CMUnitTest *t = parts[i]; t->name; t++) {
            struct CMUnitTest test = *t;
            test.setup_func = setup;
            test.teardown_func = teardown;
            test.initial_state = &c;
            vec_push(&tests, test);
        }
    }
    int failed = _cmocka_run_group_tests(c.name, tests.at, tests.n, NULL, NULL);
    vec_release(&tests);
    return failed;
}
