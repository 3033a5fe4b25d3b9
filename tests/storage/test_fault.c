/* The fault decorator: what tests of everybody else rely on. */

#include "tests/storage/conformance.h"

#include "lib/storage/drivers.h"

static Storage *open_fault(const FaultSpec *spec)
{
    return storage_fault_new(storage_mem_new(false), spec);
}

static void counts_what_it_should(void **state)
{
    (void)state;
    Storage *s AUTO(storage_freep) =
        open_fault(&(FaultSpec){.ops = STORAGE_OP_PUT | STORAGE_OP_REMOVE, .contains = "/b"});
    StorageStat stat;
    TimeUs now;
    expect_ok(put_content(s, "a/b", 1, 1, STORAGE_CREATE, err));
    expect_ok(put_content(s, "a/c", 1, 1, STORAGE_CREATE, err));
    expect_ok(storage_stat(s, "a/b", &stat, err));
    expect_ok(storage_now(s, &now, err));
    assert_int_equal(storage_fault_calls(s), 1);
    expect_ok(storage_remove(s, (const char *const[]){"a/c", "a/x"}, 2, err));
    assert_int_equal(storage_fault_calls(s), 1);
    expect_ok(storage_remove(s, (const char *const[]){"a/c", "a/b"}, 2, err));
    assert_int_equal(storage_fault_calls(s), 2);
    storage_fault_set(s, &(FaultSpec){.ops = STORAGE_OP_ANY});
    assert_int_equal(storage_fault_calls(s), 0);
    StrList names AUTO(str_list_release) = {0};
    expect_ok(storage_list_names(s, "", false, &names, err));
    expect_ok(storage_now(s, &now, err));
    assert_int_equal(storage_fault_calls(s), 2);
}

static void fails_the_nth(void **state)
{
    (void)state;
    for (unsigned nth = 0; nth < 5; nth++) {
        for (unsigned times = 0; times < 4; times++) {
            Storage *s AUTO(storage_freep) = open_fault(
                &(FaultSpec){.ops = STORAGE_OP_NOW, .nth = nth, .times = times, .code = ERR_BUSY});
            for (unsigned call = 1; call < 10; call++) {
                Err e = {0};
                TimeUs now;
                bool fails = nth && call >= nth && (!times || call < nth + times);
                assert_int_equal(storage_now(s, &now, &e), fails ? ERR_BUSY : ERR_OK);
            }
        }
    }
}

static void before_or_after_the_effect(void **state)
{
    (void)state;
    for (int after = 0; after < 2; after++) {
        Storage *s AUTO(storage_freep) =
            open_fault(&(FaultSpec){.ops = STORAGE_OP_PUT | STORAGE_OP_REMOVE,
                                    .nth = 1,
                                    .code = ERR_IO,
                                    .after_effect = after});
        const char *name = "a/b";
        StrList names AUTO(str_list_release) = {0};
        expect_err(ERR_IO, "a/b", put_content(s, name, 1, 1, STORAGE_CREATE, err));
        expect_ok(storage_list_names(s, "", false, &names, err));
        assert_int_equal(names.n, after);
        /* The inner storage's own error is not hidden. */
        expect_err(after ? ERR_EXISTS : ERR_IO, "a/b",
                   put_content(s, name, 1, 1, STORAGE_CREATE, err));
        expect_err(ERR_IO, "a/b", storage_remove(s, &name, 1, err));
        expect_ok(storage_list_names(s, "", false, &names, err));
        assert_int_equal(names.n, after);
    }
}

static ErrCode count_entry(void *arg, const StorageEntry *entry, Err *err)
{
    (void)entry;
    (void)err;
    ++*(unsigned *)arg;
    return ERR_OK;
}

static void listings_fail_midway(void **state)
{
    (void)state;
    for (unsigned give = 0; give < 7; give++) {
        unsigned given = 0;
        Storage *s AUTO(storage_freep) = open_fault(&(FaultSpec){
            .ops = STORAGE_OP_LIST, .nth = 1, .code = ERR_TIMEOUT, .list_names = give});
        for (unsigned i = 0; i < 5; i++) {
            char name[8];
            snprintf(name, sizeof(name), "%u", i);
            expect_ok(put_content(s, name, 1, 1, STORAGE_CREATE, err));
        }
        const StorageList list = {.prefix = "", .fn = count_entry, .arg = &given};
        expect_err(ERR_TIMEOUT, "list", storage_list(s, &list, err));
        assert_int_equal(given, MIN(give, 5u));
    }
}

typedef struct Hooked {
    Storage *s;
    unsigned calls;
    char last[32];
} Hooked;

static void on_call(void *arg, StorageOp op, const char *name)
{
    Hooked *h = arg;
    TimeUs now;
    h->calls++;
    snprintf(h->last, sizeof(h->last), "%d %s", op, name);
    /* No lock is held: the hook may use the same storage. */
    expect_ok(storage_now(h->s, &now, err));
    assert_int_equal(storage_fault_calls(h->s), h->calls);
}

static void hook_sees_calls(void **state)
{
    (void)state;
    Hooked h = {0};
    Storage *s AUTO(storage_freep) =
        open_fault(&(FaultSpec){.ops = STORAGE_OP_PUT | STORAGE_OP_LIST | STORAGE_OP_REMOVE,
                                .hook = on_call,
                                .hook_arg = &h});
    StrList names AUTO(str_list_release) = {0};
    h.s = s;
    expect_ok(put_content(s, "x/y", 1, 1, STORAGE_CREATE, err));
    assert_string_equal(h.last, "1 x/y");
    expect_ok(storage_list_names(s, "x/", false, &names, err));
    assert_string_equal(h.last, "8 x/");
    expect_ok(storage_remove(s, (const char *const[]){"x/y"}, 1, err));
    assert_string_equal(h.last, "16 x/y");
    assert_int_equal(h.calls, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_what_it_should),
        cmocka_unit_test(fails_the_nth),
        cmocka_unit_test(before_or_after_the_effect),
        cmocka_unit_test(listings_fail_midway),
        cmocka_unit_test(hook_sees_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
