/* Which backup a new one builds on. */

#include "tests/unit/unit.h"

#include "catalog/parent.h"

#define SYSTEM UINT64_C(7000000000000000001)

/* Everything that stops behind 0/6000000 of timeline 1 is of another life: the server went to 2. */
static const TimelineStep steps[] = {{1, 0x6000000}, {2, 0}};

static BackupSummary backup(uint32_t tli, Lsn start, Lsn stop)
{
    return (BackupSummary){.system_id = SYSTEM,
                           .timeline = tli,
                           .start_lsn = start,
                           .stop_lsn = stop,
                           .wal_segment_size = 16 * MIB,
                           .block_size = 8192};
}

/* The parent of a backup that begins at `start` on timeline 2, by its stop LSN; 0: none. */
static Lsn parent_of(BackupSummary *given, size_t n, Lsn start, const char *why)
{
    const char *got = NULL;
    BackupList l = {.all = {.at = given, .n = n}};
    TimelinePath path = {0};
    PgControl control = {.system_id = SYSTEM, .wal_segment_size = 16 * MIB, .block_size = 8192};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        vec_push(&path, steps[i]);
    const BackupSummary *parent = parent_choose(&l, &control, &path, start, &got);
    timeline_path_release(&path);
    if (parent)
        return parent->stop_lsn;
    assert_string_equal(got, why);
    return 0;
}

static void the_last_one(void **state)
{
    (void)state;
    BackupSummary all[] = {backup(1, 0x2000000, 0x2000100), backup(2, 0x7000000, 0x7000100),
                           backup(1, 0x4000000, 0x4000100)};
    assert_int_equal(parent_of(all, 3, 0x9000000, NULL), 0x7000100);
    assert_int_equal(parent_of(all, 3, 0x7000100, NULL), 0x7000100);
    /* Taken on the primary; this server, a standby, is not as far. */
    assert_int_equal(parent_of(all, 3, 0x70000ff, NULL), 0x4000100);
}

static void none(void **state)
{
    (void)state;
    BackupSummary left[] = {backup(1, 0x6000000, 0x8000100)};
    BackupSummary later[] = {backup(2, 0x9000000, 0x9000100)};
    BackupSummary other[] = {backup(1, 0x2000000, 0x2000100)};
    other[0].system_id++;
    assert_int_equal(parent_of(NULL, 0, 0x9000000, "there is no older backup"), 0);
    assert_int_equal(parent_of(left, 1, 0x9000000, "no older backup is on this server's way"), 0);
    assert_int_equal(parent_of(other, 1, 0x9000000, "no older backup is on this server's way"), 0);
    assert_int_equal(parent_of(later, 1, 0x8000000, "no older backup ends before this one begins"),
                     0);
}

static void another_page_size(void **state)
{
    (void)state;
    BackupSummary all[] = {backup(1, 0x2000000, 0x2000100), backup(2, 0x7000000, 0x7000100)};
    all[1].block_size = 16384;
    assert_int_equal(parent_of(all, 2, 0x9000000, NULL), 0x2000100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_last_one), cmocka_unit_test(none),
                                       cmocka_unit_test(another_page_size)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
