/* The mem driver: the suite with both meanings of put, its clock, clones and digests. */

#include "tests/storage/conformance.h"

#include "lib/storage/drivers.h"

static Storage *open_mem(void *arg)
{
    return storage_mem_new(*(bool *)arg);
}

static void clock_moves(void **state)
{
    (void)state;
    Storage *s AUTO(storage_freep) = storage_mem_new(false);
    TimeUs first, second;
    StorageStat stat;
    expect_ok(storage_now(s, &first, err));
    expect_ok(put_content(s, "a", 1, 1, STORAGE_CREATE, err));
    storage_mem_advance(s, 5 * US_PER_SECOND);
    expect_ok(storage_now(s, &second, err));
    assert_int_equal(second, first + 5 * US_PER_SECOND);
    expect_ok(storage_stat(s, "a", &stat, err));
    assert_int_equal(stat.mtime, first);
    expect_ok(put_content(s, "a", 1, 1, STORAGE_OVERWRITE, err));
    expect_ok(storage_stat(s, "a", &stat, err));
    assert_int_equal(stat.mtime, second);
}

static void clones(void **state)
{
    (void)state;
    Storage *s AUTO(storage_freep) = storage_mem_new(false);
    const char *names[] = {"a/b", "c"};
    for (size_t i = 0; i < 2; i++)
        expect_ok(put_content(s, names[i], 10, i, STORAGE_CREATE, err));
    storage_mem_advance(s, 77);
    Storage *copy AUTO(storage_freep) = storage_mem_clone(s);
    TimeUs now, copy_now;
    expect_ok(storage_now(s, &now, err));
    expect_ok(storage_now(copy, &copy_now, err));
    assert_int_equal(now, copy_now);
    expect_ok(storage_remove(s, names, 1, err));
    expect_ok(put_content(copy, "c", 20, 7, STORAGE_OVERWRITE, err));
    expect_content(copy, "a/b", 10, 0);
    expect_content(copy, "c", 20, 7);
    expect_content(s, "c", 10, 1);
    expect_names(s, &(StorageList){.prefix = ""}, names + 1, 1);
    expect_names(copy, &(StorageList){.prefix = ""}, names, 2);
    expect_err(ERR_EXISTS, "c", put_content(copy, "c", 1, 1, STORAGE_CREATE, err));
}

static void digests(void **state)
{
    (void)state;
    Storage *a AUTO(storage_freep) = storage_mem_new(false);
    Storage *b AUTO(storage_freep) = storage_mem_new(true);
    const char *x = "x";
    uint64_t empty = storage_mem_digest(a);
    assert_int_equal(empty, storage_mem_digest(b));
    /* The same objects, in another order, at another time. */
    storage_mem_advance(b, 1000);
    expect_ok(put_content(a, "x", 3, 1, STORAGE_CREATE, err));
    expect_ok(put_content(a, "y", 3, 2, STORAGE_CREATE, err));
    expect_ok(put_content(b, "y", 3, 2, STORAGE_CREATE, err));
    assert_int_not_equal(storage_mem_digest(a), storage_mem_digest(b));
    expect_ok(put_content(b, "x", 3, 1, STORAGE_CREATE, err));
    assert_int_equal(storage_mem_digest(a), storage_mem_digest(b));
    /* Name, content and age all count. */
    expect_ok(put_content(b, "x", 3, 5, STORAGE_OVERWRITE, err));
    assert_int_not_equal(storage_mem_digest(a), storage_mem_digest(b));
    expect_ok(put_content(b, "x", 3, 1, STORAGE_OVERWRITE, err));
    assert_int_equal(storage_mem_digest(a), storage_mem_digest(b));
    storage_mem_advance(a, 1);
    assert_int_not_equal(storage_mem_digest(a), storage_mem_digest(b));
    storage_mem_advance(b, 1);
    assert_int_equal(storage_mem_digest(a), storage_mem_digest(b));
    expect_ok(storage_remove(a, &x, 1, err));
    expect_ok(put_content(a, "z", 3, 1, STORAGE_CREATE, err));
    assert_int_not_equal(storage_mem_digest(a), storage_mem_digest(b));
}

int main(void)
{
    bool no = false, yes = true;
    const Conformance refusing = {.name = "mem", .open = open_mem, .arg = &no};
    const Conformance replacing = {.name = "mem that replaces",
                                   .open = open_mem,
                                   .arg = &yes,
                                   .replaces_silently = true,
                                   .names_nest = true};
    const struct CMUnitTest tests[] = {cmocka_unit_test(clock_moves), cmocka_unit_test(clones),
                                       cmocka_unit_test(digests)};
    return conformance_run(&refusing) + conformance_run(&replacing) +
           cmocka_run_group_tests_name("mem itself", tests, NULL, NULL);
}
