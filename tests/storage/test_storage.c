/* What storage.c adds to every driver, where the driver below fails or changes meanwhile. */

#include "tests/storage/conformance.h"

#include "lib/storage/drivers.h"

static void get_all_fails_midway(void **state)
{
    (void)state;
    for (unsigned nth = 1; nth <= 2; nth++) {
        Storage *s AUTO(storage_freep) =
            storage_fault_new(storage_mem_new(false),
                              &(FaultSpec){.ops = STORAGE_OP_GET, .nth = nth, .code = ERR_IO});
        Buf out AUTO(buf_release) = {0};
        buf_append_str(&out, "before");
        expect_ok(put_content(s, "a/b", MIB, 1, STORAGE_CREATE, err));
        expect_err(ERR_IO, "a/b", storage_get_all(s, "a/b", MIB, &out, err));
        assert_int_equal(out.len, 6);
    }
}

/* A hook that replaces the object before the nth read by one of another length. */
typedef struct Replacer {
    Storage *mem;
    unsigned reads, every, first;
    size_t len;
    uint64_t seed;
} Replacer;

static void on_get(void *arg, StorageOp op, const char *name)
{
    Replacer *r = arg;
    (void)op;
    if (++r->reads == r->first || (r->every && r->reads % r->every == 0)) {
        r->len += 1000;
        r->seed++;
        expect_ok(put_content(r->mem, name, r->len, r->seed, STORAGE_OVERWRITE, err));
    }
}

static void get_all_of_what_is_replaced(void **state)
{
    (void)state;
    Replacer r = {.mem = storage_mem_new(false), .first = 2, .len = MIB};
    Storage *s AUTO(storage_freep) = storage_fault_new(
        r.mem, &(FaultSpec){.ops = STORAGE_OP_GET, .hook = on_get, .hook_arg = &r});
    Buf out AUTO(buf_release) = {0};
    expect_ok(put_content(s, "a/b", r.len, 0, STORAGE_CREATE, err));
    buf_append_str(&out, "before");
    expect_ok(storage_get_all(s, "a/b", 2 * MIB, &out, err));
    assert_int_equal(r.seed, 1);
    assert_int_equal(out.len, 6 + MIB + 1000);
    assert_true(content_is(out.data + 6, MIB + 1000, 1));

    r.every = 2;
    expect_err(ERR_CONFLICT, "a/b", storage_get_all(s, "a/b", 2 * MIB, &out, err));
    assert_int_equal(out.len, 6 + MIB + 1000);
}

static void list_names_fails_midway(void **state)
{
    (void)state;
    Storage *s AUTO(storage_freep) = storage_fault_new(
        storage_mem_new(false),
        &(FaultSpec){.ops = STORAGE_OP_LIST, .nth = 1, .code = ERR_TIMEOUT, .list_names = 3});
    StrList names AUTO(str_list_release) = {0};
    vec_push(&names, mem_strdup("before"));
    for (unsigned i = 0; i < 5; i++) {
        char name[8];
        snprintf(name, sizeof(name), "%u", i);
        expect_ok(put_content(s, name, 1, i, STORAGE_CREATE, err));
    }
    expect_err(ERR_TIMEOUT, "list", storage_list_names(s, "", false, &names, err));
    assert_int_equal(names.n, 1);
}

static void freeing_nothing(void **state)
{
    (void)state;
    storage_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(get_all_fails_midway),
        cmocka_unit_test(get_all_of_what_is_replaced),
        cmocka_unit_test(list_names_fails_midway),
        cmocka_unit_test(freeing_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
