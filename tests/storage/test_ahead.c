/* Calls made before they come: the suite without hints, then what hints change and what they must
 * not. */

#include <sched.h>

#include "tests/storage/conformance.h"

#include "lib/storage/drivers.h"

#define CALLS (STORAGE_OP_LIST | STORAGE_OP_GET)

static Storage *open_ahead(void *arg UNUSED)
{
    return storage_ahead_new(storage_mem_new(false));
}

/* A storage with three objects below "a/", one below "b/", whose calls are counted. */
typedef struct Counted {
    Storage *fault, *ahead;
} Counted;

static Counted counted_new(const FaultSpec *spec)
{
    Counted c = {.fault = storage_fault_new(storage_mem_new(false), &(FaultSpec){.nth = 0})};
    expect_ok(put_content(c.fault, "a/1", 1000, 1, STORAGE_CREATE, err));
    expect_ok(put_content(c.fault, "a/2", 2000, 2, STORAGE_CREATE, err));
    expect_ok(put_content(c.fault, "a/3", 3000, 3, STORAGE_CREATE, err));
    expect_ok(put_content(c.fault, "b/1", 300 * KIB, 4, STORAGE_CREATE, err));
    storage_fault_set(c.fault, spec);
    c.ahead = storage_ahead_new(c.fault);
    return c;
}

static const char *const below_a[] = {"a/1", "a/2", "a/3"};

static void answers_from_hints(void **state UNUSED)
{
    Counted c = counted_new(&(FaultSpec){.ops = CALLS});
    storage_ahead_list(c.ahead, "a/", MIB);
    storage_ahead_list(c.ahead, "b/", MIB);
    storage_ahead_list(c.ahead, "none/", MIB);
    const StorageList list = {.prefix = "a/", .want_stat = true}, b = {.prefix = "b/"};
    expect_names(c.ahead, &list, below_a, 3);
    expect_names(c.ahead, &b, (const char *const[]){"b/1"}, 1);
    expect_names(c.ahead, &(StorageList){.prefix = "none/"}, NULL, 0);
    expect_content(c.ahead, "a/1", 1000, 1);
    /* Two reads, both from what was fetched. */
    expect_content(c.ahead, "b/1", 300 * KIB, 4);
    uint8_t last[10];
    StorageRead read = {.from_end = true, .len = sizeof(last), .data = last};
    expect_ok(storage_get(c.ahead, "b/1", &read, err));
    assert_int_equal(read.got, sizeof(last));
    assert_int_equal(read.off, 300 * KIB - sizeof(last));
    read = (StorageRead){.off = 300 * KIB, .len = sizeof(last), .data = last};
    expect_ok(storage_get(c.ahead, "b/1", &read, err));
    assert_int_equal(read.got, 0);
    assert_int_equal(storage_fault_calls(c.fault), 5);
    storage_free(c.ahead);
}

static void asks_when_it_must(void **state UNUSED)
{
    Counted c = counted_new(&(FaultSpec){.ops = CALLS});
    storage_ahead_list(c.ahead, "a/", 999);
    const StorageList list = {.prefix = "a/"};
    /* Another listing is no answer. */
    expect_names(c.ahead, &(StorageList){.prefix = "a/", .after = "a/1"}, below_a + 1, 2);
    expect_names(c.ahead, &(StorageList){.prefix = "a/", .by_level = true}, below_a, 3);
    expect_names(c.ahead, &list, below_a, 3);
    assert_int_equal(storage_fault_calls(c.fault), 3);
    /* Only once; the object is too large, another was not fetched. */
    expect_names(c.ahead, &list, below_a, 3);
    expect_content(c.ahead, "a/1", 1000, 1);
    expect_content(c.ahead, "a/2", 2000, 2);
    assert_int_equal(storage_fault_calls(c.fault), 6);
    storage_free(c.ahead);
}

static void own_changes_count(void **state UNUSED)
{
    const char *name = "a/2";
    for (int removes = 0; removes < 2; removes++) {
        Counted c = counted_new(&(FaultSpec){.ops = CALLS});
        storage_ahead_list(c.ahead, "a/", MIB);
        /* The object is read when the listing is over. */
        while (storage_fault_calls(c.fault) < 2)
            sched_yield();
        if (removes)
            expect_ok(storage_remove(c.ahead, &name, 1, err));
        else
            expect_ok(put_content(c.ahead, "a/4", 1, 1, STORAGE_CREATE, err));
        const char *const more[] = {"a/1", "a/2", "a/3", "a/4"}, *const fewer[] = {"a/1", "a/3"};
        expect_names(c.ahead, &(StorageList){.prefix = "a/"}, removes ? fewer : more,
                     removes ? 2 : 4);
        storage_free(c.ahead);
    }
}

/* What fails in the background is no error: it is asked again. */
static void failures_are_not_seen(void **state UNUSED)
{
    for (unsigned nth = 1; nth <= 2; nth++) {
        Counted c =
            counted_new(&(FaultSpec){.ops = CALLS, .nth = nth, .times = 1, .code = ERR_NETWORK});
        storage_ahead_list(c.ahead, "a/", MIB);
        expect_names(c.ahead, &(StorageList){.prefix = "a/"}, below_a, 3);
        expect_content(c.ahead, "a/1", 1000, 1);
        assert_int_equal(storage_fault_calls(c.fault), 3);
        storage_free(c.ahead);
    }
    /* Nor is one that nobody asks for. */
    Counted c = counted_new(&(FaultSpec){.ops = CALLS, .nth = 1, .code = ERR_NETWORK});
    storage_ahead_list(c.ahead, "a/", MIB);
    storage_free(c.ahead);
}

int main(void)
{
    const Conformance suite = {.name = "ahead of mem", .open = open_ahead};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_from_hints), cmocka_unit_test(asks_when_it_must),
        cmocka_unit_test(own_changes_count), cmocka_unit_test(failures_are_not_seen)};
    return conformance_run(&suite) + cmocka_run_group_tests_name("hints", tests, NULL, NULL);
}
