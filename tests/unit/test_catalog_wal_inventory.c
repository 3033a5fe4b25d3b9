/* What WAL there is, by names: runs, gaps, pieces, two contents, names that are none; and what is
 * published while it is listed. */

#include "catalog/wal_inventory.h"
#include "tests/unit/wal_archive.h"

/* "2-4 6-6", "2-4 6-6 b7 t8": runs, then pieces. */
static void expect_timeline(const WalInventory *inv, uint32_t tli, const char *want)
{
    Buf got AUTO(buf_release) = {0};
    const TimelineWal *t = wal_inventory_timeline(inv, tli);
    for (size_t i = 0; t && i < t->runs.n; i++)
        buf_printf(&got, " %u-%u", (unsigned)t->runs.at[i].first, (unsigned)t->runs.at[i].last);
    for (size_t i = 0; t && i < t->entries.n; i++)
        if (t->entries.at[i].partial)
            buf_printf(&got, " b%u", (unsigned)t->entries.at[i].segno);
    for (size_t i = 0; t && i < t->tails.n; i++)
        buf_printf(&got, " t%u", (unsigned)t->tails.at[i].segno);
    assert_string_equal(got.len ? buf_str(&got) + 1 : "", want);
}

static void nothing(void **state)
{
    (void)state;
    Archive a;
    WalInventory inv AUTO(wal_inventory_release) = {.seg_size = 0};
    archive_open(&a);
    expect_ok(wal_inventory_read(&a.store, &inv, err));
    assert_int_equal(inv.timelines.n + inv.histories.n + inv.labels.n + inv.strays.n, 0);
    assert_null(wal_inventory_timeline(&inv, 1));
    archive_close(&a);
}

static void all_kinds(void **state)
{
    (void)state;
    Archive a;
    WalInventory inv AUTO(wal_inventory_release) = {.seg_size = 0};
    archive_open(&a);
    archive_put_segments(&a, 2, 4, 5);
    archive_put_segments(&a, 1, 4094, 4098); /* over the border of two folders */
    archive_put_segments(&a, 1, 2, 4);
    archive_put_partial(&a, 1, 4099);
    archive_put_tail(&a, 1, 4100);
    archive_put_tail(&a, 3, 9);
    archive_put_file(&a, "00000002.history", 'c');
    archive_put_file(&a, "000000010000000000000002.00000028.backup", 'd');
    expect_ok(wal_inventory_read(&a.store, &inv, err));
    assert_int_equal(inv.timelines.n, 3);
    expect_timeline(&inv, 1, "2-4 4094-4098 b4099 t4100");
    expect_timeline(&inv, 2, "4-5");
    expect_timeline(&inv, 3, "t9");
    expect_timeline(&inv, 4, "");
    assert_int_equal(inv.histories.n, 1);
    assert_string_equal(inv.histories.at[0].file, "00000002.history");
    assert_int_equal(inv.labels.n, 1);
    assert_string_equal(inv.labels.at[0].file, "000000010000000000000002.00000028.backup");
    assert_int_equal(inv.strays.n, 0);

    const TimelineWal *t = wal_inventory_timeline(&inv, 1);
    size_t n;
    assert_null(wal_timeline_entries(t, 5, &n));
    const WalEntry *e = wal_timeline_entries(t, 4099, &n);
    assert_int_equal(n, 1);
    WalFound f = wal_entry_found(1, e, BUILD_SEG);
    assert_string_equal(f.file, "000000010000000100000003.partial");
    assert_string_equal(f.digest, "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb");
    assert_null(wal_timeline_run(t, 1));
    assert_null(wal_timeline_run(t, 5));
    assert_null(wal_timeline_run(t, 4099));
    assert_int_equal(wal_timeline_run(t, 3)->last, 4);
    assert_int_equal(wal_timeline_next(t, 5), 4094);
    assert_int_equal(wal_timeline_next(t, 4098), 4098);
    assert_int_equal(wal_timeline_next(t, 4100), 4100);
    assert_true(wal_timeline_next(t, 4101) == UINT64_MAX);
    assert_true(wal_timeline_has_tail(t, 4100));
    assert_false(wal_timeline_has_tail(t, 4099));
    archive_close(&a);
}

static void two_contents(void **state)
{
    (void)state;
    Archive a;
    size_t n;
    WalInventory inv AUTO(wal_inventory_release) = {.seg_size = 0};
    archive_open(&a);
    archive_put_segments(&a, 1, 2, 6);
    archive_put_file(&a, "000000010000000000000004", '0');
    archive_put_partial(&a, 1, 5); /* beside the finished one: no conflict */
    expect_ok(wal_inventory_read(&a.store, &inv, err));
    expect_timeline(&inv, 1, "2-3 5-6 b5");
    wal_timeline_entries(wal_inventory_timeline(&inv, 1), 4, &n);
    assert_int_equal(n, 2);
    const WalEntry *e = wal_timeline_entries(wal_inventory_timeline(&inv, 1), 5, &n);
    assert_int_equal(n, 2);
    assert_false(e[0].partial);
    assert_true(e[1].partial);
    archive_close(&a);
}

static void other_names(void **state)
{
    (void)state;
    static const char digest[] = "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee";
    Archive a;
    WalInventory inv AUTO(wal_inventory_release) = {.seg_size = 0};
    archive_open(&a);
    const char *system = a.store.system;
    char *names[] = {
        mem_printf("wal/%s/00000001/0000000100000000/readme", system),
        mem_printf("wal/%s/00000001/0000000100000000/000000010000000000000002-%s~", system, digest),
        /* in another timeline's folder; of no segment of this size */
        mem_printf("wal/%s/00000002/0000000200000000/000000010000000000000002-%s", system, digest),
        mem_printf("wal/%s/00000001/0000000100000000/00000001000000000000FFFF-%s", system, digest),
        mem_printf("tail/%s/00000001/000000010000000000000002/garbage", system),
        mem_printf("tail/%s/00000002/000000010000000000000002/%016X-%016X-%032d", system,
                   2 * BUILD_SEG, 2 * BUILD_SEG + 8192, 7),
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        archive_put_name(&a, names[i]);
    archive_put_segments(&a, 1, 3, 3); /* so that the folder is listed twice */
    expect_ok(wal_inventory_read(&a.store, &inv, err));
    expect_timeline(&inv, 1, "3-3");
    expect_timeline(&inv, 2, "");
    assert_int_equal(inv.strays.n, ARRAY_LEN(names));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_true(str_list_has(&inv.strays, names[i]));
        free(names[i]);
    }
    archive_close(&a);
}

/* The archiver goes on meanwhile: segment 5 is published, and its tail removed, when segments had
 * been listed already and tails had not. */
static void finish_segment(void *arg, StorageOp op, const char *name)
{
    Archive *a = arg;
    char *tail AUTO(mem_freep) = mem_printf("app/tail/%s/", a->store.system);
    if (op != STORAGE_OP_LIST || strcmp(name, tail) != 0)
        return;
    storage_fault_set(a->fault, &(FaultSpec){.nth = 0});
    archive_put_segments(a, 1, 5, 5);
    char *gone AUTO(mem_freep) =
        mem_printf("app/tail/%s/00000001/000000010000000000000005/%016X-%016X-%032d",
                   a->store.system, 5 * BUILD_SEG, 5 * BUILD_SEG + 8192, 7);
    const char *one = gone;
    expect_ok(storage_remove(a->repo->storage, &one, 1, err));
}

static void published_meanwhile(void **state)
{
    (void)state;
    Archive a;
    WalInventory inv AUTO(wal_inventory_release) = {.seg_size = 0};
    archive_open(&a);
    archive_put_segments(&a, 1, 2, 4);
    archive_put_tail(&a, 1, 5);
    storage_fault_set(a.fault,
                      &(FaultSpec){.ops = STORAGE_OP_LIST, .hook = finish_segment, .hook_arg = &a});
    expect_ok(wal_inventory_read(&a.store, &inv, err));
    expect_timeline(&inv, 1, "2-5");
    archive_close(&a);
}

/* A listing for each prefix, and one for each end: not one for each timeline, folder or backup. */
static void costs(void **state)
{
    (void)state;
    Archive a;
    WalInventory inv AUTO(wal_inventory_release) = {.seg_size = 0};
    archive_open(&a);
    for (uint32_t tli = 1; tli <= 20; tli++)
        archive_put_segments(&a, tli, 4000, 5000); /* two folders each */
    storage_fault_set(a.fault, &(FaultSpec){.ops = STORAGE_OP_ANY});
    expect_ok(wal_inventory_read(&a.store, &inv, err));
    assert_int_equal(inv.timelines.n, 20);
    assert_int_equal(storage_fault_calls(a.fault), 2 + 20);
    archive_close(&a);
}

/* What cannot be listed is never taken for absent. */
static void failures(void **state)
{
    (void)state;
    Archive a;
    archive_open(&a);
    archive_put_segments(&a, 1, 2, 4);
    archive_put_tail(&a, 1, 5);
    for (unsigned nth = 1; nth <= 4; nth++) {
        WalInventory inv AUTO(wal_inventory_release) = {.seg_size = 0};
        storage_fault_set(a.fault, &(FaultSpec){.ops = STORAGE_OP_LIST,
                                                .nth = nth,
                                                .times = 1,
                                                .code = ERR_NETWORK,
                                                .list_names = 1});
        if (nth < 4)
            expect_err(ERR_NETWORK, "", wal_inventory_read(&a.store, &inv, err));
        else
            expect_ok(wal_inventory_read(&a.store, &inv, err));
    }
    archive_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing),
        cmocka_unit_test(all_kinds),
        cmocka_unit_test(two_contents),
        cmocka_unit_test(other_names),
        cmocka_unit_test(published_meanwhile),
        cmocka_unit_test(costs),
        cmocka_unit_test(failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
