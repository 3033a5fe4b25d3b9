/* Listings: order, prefixes, levels, resuming, many names. */

#include "tests/storage/conformance.h"

#include "lib/storage/drivers.h"

/* '/' sorts between '.' and '0'; these tell byte order of names from order by directory. */
static const char *const order_names[] = {
    "a b",   "a!/x",    "a+b",   "a-b",  "a-b/c",       "a.b/c",   "a/b",
    "a/b-c", "a/b.d/e", "a/b/c", "a/b0", "a/c/d/e",     "a/c/d/f", "a/c-d",
    "a/c0",  "a0",      "a0/b",  "aB",   "ab/c",        "ab/cd",   "ab0",
    "b",     "b/a",     "c/d/e", "c/d0", "c\xC3\xA9/x", "a",       "c/d",
};

/* Those that can be there together. */
static StrList put_order_names(Fixture *f)
{
    StrList names = {0};
    for (size_t i = 0; i < ARRAY_LEN(order_names); i++) {
        Err e = {0};
        ErrCode rc = put_content(f->s, order_names[i], i, i, STORAGE_CREATE, &e);
        if (rc == ERR_OK)
            vec_push(&names, mem_strdup(order_names[i]));
        else if (rc != ERR_EXISTS || f->c->names_nest)
            fail_msg("cannot put '%s': %s", order_names[i], e.message);
    }
    str_list_sort(&names);
    return names;
}

static void expect_reference(Fixture *f, const StrList *names, const StorageList *list)
{
    StrList want AUTO(str_list_release) = list_reference(names->at, names->n, list);
    expect_names(f->s, list, (const char *const *)want.at, want.n);
}

/* Every prefix of every name, after every name and what lies between, flat and by level. */
static void order(void **state)
{
    FIXTURE(state);
    StrList names AUTO(str_list_release) = put_order_names(f);
    StrList prefixes AUTO(str_list_release) = {0}, afters AUTO(str_list_release) = {0};
    assert_true(names.n > 20);
    for (size_t i = 0; i < names.n; i++) {
        for (size_t len = 0; len <= strlen(names.at[i]); len++)
            vec_push(&prefixes, mem_strndup(names.at[i], len));
        vec_push(&prefixes, mem_printf("%s/", names.at[i]));
        vec_push(&prefixes, mem_printf("%sz", names.at[i]));
        vec_push(&afters, mem_strdup(names.at[i]));
        vec_push(&afters, mem_printf("%s/", names.at[i]));
        vec_push(&afters, mem_printf("%s\xFF", names.at[i]));
        vec_push(&afters, mem_strndup(names.at[i], strlen(names.at[i]) - 1));
    }
    str_list_sort(&prefixes);
    str_list_sort(&afters);
    for (size_t i = 0; i < prefixes.n; i++) {
        if (i && strcmp(prefixes.at[i], prefixes.at[i - 1]) == 0)
            continue;
        for (int by_level = 0; by_level < 2; by_level++) {
            StorageList list = {.prefix = prefixes.at[i], .by_level = by_level};
            expect_reference(f, &names, &list);
            list.want_stat = true;
            /* A prime step: all meet all others over the rounds, at a bearable cost. */
            for (size_t k = i % 7; k < afters.n; k += 7) {
                list.after = afters.at[k];
                expect_reference(f, &names, &list);
            }
        }
    }
}

static void empty(void **state)
{
    FIXTURE(state);
    static const char *const prefixes[] = {"", "a", "a/", "a/b", "a/b/"};
    for (int filled = 0; filled < 2; filled++) {
        for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
            for (int by_level = 0; by_level < 2; by_level++) {
                StorageList list = {.prefix = prefixes[i], .by_level = by_level, .after = ""};
                expect_names(f->s, &list, NULL, 0);
            }
        }
        const char *name = "a/b/c/d";
        expect_ok(put_content(f->s, name, 1, 1, STORAGE_CREATE, err));
        expect_ok(storage_remove(f->s, &name, 1, err));
    }
}

static char *many_name(unsigned i)
{
    return mem_printf("many/%03u/%02X-%05u", i % 300 / 100, i % 251, i);
}

static void put_many(Job *job)
{
    for (unsigned i = job->index; i < job->rounds; i += 8) {
        char *name AUTO(mem_freep) = many_name(i);
        JOB_OK(job, put_content(job->s, name, i % 50, i, STORAGE_CREATE, err));
    }
}

static ErrCode sum_sizes(void *arg, const StorageEntry *entry, Err *err)
{
    (void)err;
    *(uint64_t *)arg += entry->stat.size;
    return ERR_OK;
}

static void many(void **state)
{
    FIXTURE(state);
    StrList names AUTO(str_list_release) = {0};
    uint64_t sum = 0, want = 0;
    run_jobs(f, 8, f->c->many, put_many, NULL);
    for (unsigned i = 0; i < f->c->many; i++) {
        vec_push(&names, many_name(i));
        want += i % 50;
    }
    str_list_sort(&names);
    expect_reference(f, &names, &(StorageList){.prefix = ""});
    expect_reference(f, &names, &(StorageList){.prefix = "many/001/"});
    expect_reference(f, &names, &(StorageList){.prefix = "many/001/A"});
    expect_reference(f, &names, &(StorageList){.prefix = "many/", .by_level = true});
    for (size_t i = 0; i < names.n; i += names.n / 5)
        expect_reference(f, &names, &(StorageList){.prefix = "", .after = names.at[i]});
    const StorageList sizes = {.prefix = "", .want_stat = true, .fn = sum_sizes, .arg = &sum};
    expect_ok(storage_list(f->s, &sizes, err));
    assert_int_equal(sum, want);
    expect_ok(storage_remove(f->s, (const char *const *)names.at, names.n, err));
    expect_names(f->s, &(StorageList){.prefix = ""}, NULL, 0);
}

typedef struct Stop {
    unsigned calls, at;
} Stop;

static ErrCode stop_there(void *arg, const StorageEntry *entry, Err *err)
{
    Stop *stop = arg;
    /* A code that a retry could help, and that no driver would give. */
    if (++stop->calls == stop->at)
        return err_set(err, ERR_BUSY, "enough at %s", entry->name);
    return ERR_OK;
}

static void caller_ends(void **state)
{
    FIXTURE(state);
    for (unsigned i = 0; i < 5; i++) {
        char name[32];
        snprintf(name, sizeof(name), "e/%u/x", i);
        expect_ok(put_content(f->s, name, i, i, STORAGE_CREATE, err));
    }
    for (int by_level = 0; by_level < 2; by_level++) {
        for (unsigned at = 1; at <= 5; at++) {
            Stop stop = {.at = at};
            const StorageList list = {
                .prefix = "e/", .by_level = by_level, .fn = stop_there, .arg = &stop};
            expect_err(ERR_BUSY, "enough at e/", storage_list(f->s, &list, err));
            assert_int_equal(stop.calls, at);
        }
    }
}

static ErrCode remove_entry(void *arg, const StorageEntry *entry, Err *err)
{
    Fixture *f = arg;
    char more[64];
    StorageStat stat;
    TRY(storage_stat(f->s, entry->name, &stat, err));
    TRY(storage_remove(f->s, &entry->name, 1, err));
    snprintf(more, sizeof(more), "other/%s", entry->name);
    return put_content(f->s, more, 1, 1, STORAGE_CREATE, err);
}

/* The caller's function may use the storage. */
static void caller_changes(void **state)
{
    FIXTURE(state);
    for (unsigned i = 0; i < 50; i++) {
        char name[32];
        snprintf(name, sizeof(name), "e/%u/x%02u", i % 3, i);
        expect_ok(put_content(f->s, name, i, i, STORAGE_CREATE, err));
    }
    StorageList list = {.prefix = "e/", .fn = remove_entry, .arg = f};
    expect_ok(storage_list(f->s, &list, err));
    expect_names(f->s, &(StorageList){.prefix = "e/"}, NULL, 0);
    StrList names AUTO(str_list_release) = {0};
    expect_ok(storage_list_names(f->s, "other/", false, &names, err));
    assert_int_equal(names.n, 50);
}

static void list_names_appends(void **state)
{
    FIXTURE(state);
    StrList names AUTO(str_list_release) = {0};
    vec_push(&names, mem_strdup("first"));
    expect_ok(put_content(f->s, "x/1", 1, 1, STORAGE_CREATE, err));
    expect_ok(put_content(f->s, "x/y/2", 1, 1, STORAGE_CREATE, err));
    expect_ok(storage_list_names(f->s, "x/", true, &names, err));
    assert_int_equal(names.n, 3);
    assert_string_equal(names.at[0], "first");
    assert_string_equal(names.at[1], "x/1");
    assert_string_equal(names.at[2], "x/y/");
}

const struct CMUnitTest conformance_lists[] = {
    cmocka_unit_test(order),
    cmocka_unit_test(empty),
    cmocka_unit_test(many),
    cmocka_unit_test(caller_ends),
    cmocka_unit_test(caller_changes),
    cmocka_unit_test(list_names_appends),
    {0},
};
