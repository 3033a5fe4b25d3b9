/* Which timeline descends from which, as the histories in a repository tell it. */

#include "tests/unit/unit.h"

#include "catalog/lineage.h"
#include "tests/unit/wal_archive.h"

/* 2 and 3 leave 1; 4 leaves 2; 7 leaves 4. */
static const struct {
    uint32_t tli;
    const char *text;
} histories[] = {
    {4, "1\t0/5000000\treason\n2\t0/7000000\treason\n"},
    {2, "1\t0/5000000\treason\n"},
    {7, "1\t0/5000000\treason\n2\t0/7000000\treason\n4\t0/9000000\treason\n"},
    {3, "1\t0/6000000\treason\n"},
};

static void lineage_of(Lineage *l)
{
    *l = (Lineage){.steps = {0}};
    for (size_t i = 0; i < ARRAY_LEN(histories); i++)
        expect_ok(
            lineage_add(l, histories[i].tli, histories[i].text, strlen(histories[i].text), err));
}

static void expect_path(const Lineage *l, uint32_t tli, const char *want)
{
    TimelinePath path AUTO(timeline_path_release) = {0};
    Buf got AUTO(buf_release) = {0};
    expect_ok(lineage_path(l, tli, &path, err));
    timeline_path_format(&path, &got);
    assert_string_equal(buf_str(&got), want);
}

static void paths(void **state)
{
    (void)state;
    Lineage l AUTO(lineage_release), none AUTO(lineage_release) = {.steps = {0}};
    TimelinePath path AUTO(timeline_path_release) = {0};
    lineage_of(&l);
    expect_path(&l, 1, "1"); /* the first one needs no history */
    expect_path(&none, 1, "1");
    expect_path(&l, 2, "1@0/5000000,2");
    expect_path(&l, 3, "1@0/6000000,3");
    expect_path(&l, 7, "1@0/5000000,2@0/7000000,4@0/9000000,7");
    expect_err(ERR_NOT_FOUND, "no 00000005.history", lineage_path(&l, 5, &path, err));
    for (size_t i = 1; i < l.steps.n; i++) /* ascending, in whatever order they came */
        assert_true(l.steps.at[i - 1].tli < l.steps.at[i].tli);
}

static void what_latest_means(void **state)
{
    (void)state;
    Lineage l AUTO(lineage_release), none AUTO(lineage_release) = {.steps = {0}};
    lineage_of(&l);
    assert_int_equal(lineage_latest(&l, 1), 7);
    assert_int_equal(lineage_latest(&l, 2), 7);
    assert_int_equal(lineage_latest(&l, 3), 3); /* nobody goes on from there */
    assert_int_equal(lineage_latest(&l, 7), 7);
    assert_int_equal(lineage_latest(&l, 9), 9);
    assert_int_equal(lineage_latest(&none, 1), 1);
    /* One that has come further than a fork is not on that path any more. */
    assert_int_equal(lineage_latest_at(&l, 1, 0x4000000), 7);
    assert_int_equal(lineage_latest_at(&l, 1, 0x5000000), 7);
    assert_int_equal(lineage_latest_at(&l, 1, 0x5000001), 3);
    assert_int_equal(lineage_latest_at(&l, 1, 0x6000001), 1);
    assert_int_equal(lineage_latest_at(&l, 2, 0x7000001), 2);
    assert_int_equal(lineage_latest_at(&l, 4, 0x9000000), 7);
}

static void numbers(void **state)
{
    (void)state;
    Lineage l AUTO(lineage_release), none AUTO(lineage_release) = {.steps = {0}};
    lineage_of(&l);
    assert_int_equal(lineage_next_free(&l), 8);
    assert_int_equal(lineage_next_free(&none), 2);
    for (uint32_t tli = 1; tli <= 8; tli++)
        assert_int_equal(lineage_knows(&l, tli), tli != 5 && tli != 6 && tli != 8);
    assert_true(lineage_knows(&none, 1) && !lineage_knows(&none, 2));
}

static void histories_that_are_damaged(void **state)
{
    (void)state;
    static const char *const bad[] = {"3\t0/5000000\tx\n", "2\t0/5000000\tx\n", "x\n",
                                      "1\t0/5000000\n1\t0/6000000\n", "1 5000000\n"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        Lineage l AUTO(lineage_release) = {.steps = {0}};
        expect_err(ERR_DAMAGED, "the history of timeline 2",
                   lineage_add(&l, 2, bad[i], strlen(bad[i]), err));
        assert_int_equal(l.steps.n, 0);
    }
}

static void two_repositories(void **state)
{
    (void)state;
    Lineage l AUTO(lineage_release), other AUTO(lineage_release) = {.steps = {0}},
                                           differs AUTO(lineage_release) = {.steps = {0}};
    lineage_of(&l);
    expect_ok(lineage_merge(&other, &l, err)); /* all of it is new */
    assert_int_equal(other.steps.n, 4);
    expect_path(&other, 7, "1@0/5000000,2@0/7000000,4@0/9000000,7");
    expect_ok(lineage_merge(&other, &l, err)); /* and then nothing */
    assert_int_equal(other.steps.n, 4);
    expect_ok(lineage_add(&differs, 5, "1\t0/8000000\tx\n", 14, err));
    expect_ok(lineage_merge(&other, &differs, err));
    assert_int_equal(lineage_latest_at(&other, 1, 0x7000000), 5);
    expect_ok(lineage_add(&differs, 2, "1\t0/5000028\tx\n", 14, err));
    expect_err(ERR_CONFLICT, "different histories of timeline 2",
               lineage_merge(&other, &differs, err));
}

/* --- from a repository --- */

static void put_all(Archive *a)
{
    for (size_t i = 0; i < ARRAY_LEN(histories); i++)
        archive_history(a, histories[i].tli, histories[i].text);
}

static void from_a_repository(void **state)
{
    (void)state;
    Archive a AUTO(archive_close);
    Lineage l AUTO(lineage_release) = {.steps = {0}};
    TimelineList unknown = {0};
    archive_open(&a);
    expect_ok(lineage_read(&a.store, &l, err));
    assert_int_equal(l.steps.n, 0);
    put_all(&a);
    archive_put_file(&a, "0000000A.historyx", '1'); /* none of ours */
    expect_ok(lineage_read(&a.store, &l, err));
    assert_int_equal(l.steps.n, 4);
    expect_path(&l, 4, "1@0/5000000,2@0/7000000,4");
    /* Timelines that have WAL, and of which nobody says where they are from. */
    archive_put_segments(&a, 1, 5, 5);
    archive_put_segments(&a, 9, 5, 5);
    archive_put_segments(&a, 6, 5, 6);
    archive_put_segments(&a, 4, 5, 5);
    expect_ok(lineage_unknown(&a.store, &l, &unknown, err));
    assert_int_equal(unknown.n, 2);
    assert_true(unknown.at[0] == 6 && unknown.at[1] == 9);
    vec_release(&unknown);
}

static void two_servers_took_a_timeline(void **state)
{
    (void)state;
    Archive a AUTO(archive_close);
    Lineage l AUTO(lineage_release) = {.steps = {0}};
    archive_open(&a);
    put_all(&a);
    expect_ok(lineage_read(&a.store, &l, err));
    archive_history(&a, 4, "1\t0/5000000\tanother\n");
    Err why = {0};
    assert_int_equal(lineage_read(&a.store, &l, &why), ERR_CONFLICT);
    assert_non_null(strstr(why.message, "two different '00000004.history'"));
    assert_non_null(strstr(why.hint, "pgdr repo resolve 00000004.history"));
    assert_int_equal(l.steps.n, 4); /* what was known stays */
}

static void a_history_that_cannot_be_read(void **state)
{
    (void)state;
    Archive a AUTO(archive_close);
    Lineage l AUTO(lineage_release) = {.steps = {0}};
    archive_open(&a);
    archive_history(&a, 2, "no history");
    expect_err(ERR_DAMAGED, "the history of timeline 2", lineage_read(&a.store, &l, err));
    archive_history(&a, 3, histories[3].text);
    char *prefix AUTO(mem_freep) = wal_find_prefix(&a.store, "00000002.history");
    char *name AUTO(mem_freep) = mem_only(a.repo, prefix);
    mem_put(a.repo, name, "no object", 9);
    expect_err(ERR_DAMAGED, "00000002.history", lineage_read(&a.store, &l, err));
    assert_int_equal(l.steps.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths),
        cmocka_unit_test(what_latest_means),
        cmocka_unit_test(numbers),
        cmocka_unit_test(histories_that_are_damaged),
        cmocka_unit_test(two_repositories),
        cmocka_unit_test(from_a_repository),
        cmocka_unit_test(two_servers_took_a_timeline),
        cmocka_unit_test(a_history_that_cannot_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
