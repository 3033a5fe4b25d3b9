/* The order of backups: by the LSN at which they stop, never by what their ids happen to be. Ids
 * carry seconds and then random digits, so backups of one second come in any order. */

#include "tests/unit/unit.h"

#include "catalog/backups.h"
#include "lib/repo/manifest.h"
#include "tests/unit/mem_repo.h"

#define SYSTEM UINT64_C(7000000000000000001)
#define OTHER UINT64_C(7000000000000000002)
#define SECOND US_PER_SECOND
#define NOON (INT64_C(1795435200) * SECOND)

/* All of one second, each with random digits that tell nothing. */
#define ID(digits) "20261123T120000Z-" digits "000000000000"

typedef struct Given {
    const char *id;
    uint64_t system_id;
    uint32_t timeline;
    Lsn start, stop;
    TimeUs stopped;
} Given;

static void put_backup(Repo *repo, const Given *g)
{
    BackupSummary s = {.cluster = mem_strdup("app"),
                       .system_id = g->system_id,
                       .pg_version_num = 150018,
                       .type = mem_strdup("full"),
                       .label = mem_strdup(""),
                       .host = mem_strdup("here"),
                       .parent = mem_strdup(""),
                       .start_time = g->stopped,
                       .stop_time = g->stopped,
                       .timeline = g->timeline,
                       .start_lsn = g->start,
                       .stop_lsn = g->stop,
                       .checkpoint_lsn = g->start,
                       .wal_segment_size = 16 * MIB,
                       .block_size = 8192};
    snprintf(s.id, sizeof(s.id), "%s", g->id);
    char *manifest AUTO(mem_freep) = backup_object_name(g->id, "manifest");
    mem_put(repo, manifest, "", 0);
    expect_ok(summary_put(repo, &s, STORAGE_CREATE, err));
    summary_release(&s);
}

static Repo *repo_with(const Given *given, size_t n)
{
    Repo *repo = mem_repo_new(CIPHER_NONE);
    for (size_t i = 0; i < n; i++)
        put_backup(repo, &given[i]);
    return repo;
}

/* The random digits of all, "b1 a2". */
static void expect_list(const BackupList *list, const char *want)
{
    Buf got AUTO(buf_release) = {0};
    for (size_t i = 0; i < backup_count(list); i++)
        buf_printf(&got, "%s%.4s", i ? " " : "", backup_at(list, i)->id + 17);
    assert_string_equal(buf_str(&got), want);
}

static void expect_path(const BackupList *list, const TimelinePath *path, const char *want)
{
    Buf got AUTO(buf_release) = {0};
    BackupRefs refs AUTO(backup_refs_release) = {0};
    backups_on_path(list, SYSTEM, 16 * MIB, path, &refs);
    for (size_t i = 0; i < refs.n; i++)
        buf_printf(&got, "%s%.4s", i ? " " : "", refs.at[i]->id + 17);
    assert_string_equal(buf_str(&got), want);
}

/* Three of one second, whose ids stand in the opposite order. */
static void ties(void **state)
{
    (void)state;
    const Given given[] = {{ID("fce2"), SYSTEM, 1, 0x2000028, 0x2000100, NOON},
                           {ID("8000"), SYSTEM, 1, 0x4000028, 0x4000100, NOON},
                           {ID("0b61"), SYSTEM, 1, 0x6000028, 0x6000100, NOON}};
    Repo *repo AUTO(repo_closep) = repo_with(given, ARRAY_LEN(given));
    BackupList list AUTO(backup_list_release) = {.broken = {0}};
    TimelinePath path AUTO(timeline_path_release) = {0};
    expect_ok(backup_list_read(repo, &list, err));
    expect_list(&list, "fce2 8000 0b61");
    timeline_path_single(1, &path);
    expect_path(&list, &path, "fce2 8000 0b61");
}

/* Taken at the same time: what counts is where they stop, not where they start. */
static void one_inside_the_other(void **state)
{
    (void)state;
    const Given given[] = {{ID("1000"), SYSTEM, 1, 0x2000028, 0x9000100, NOON + 9 * SECOND},
                           {ID("2000"), SYSTEM, 1, 0x4000028, 0x4000100, NOON + 4 * SECOND}};
    Repo *repo AUTO(repo_closep) = repo_with(given, ARRAY_LEN(given));
    BackupList list AUTO(backup_list_release) = {.broken = {0}};
    TimelinePath path AUTO(timeline_path_release) = {0};
    expect_ok(backup_list_read(repo, &list, err));
    expect_list(&list, "2000 1000");
    timeline_path_single(1, &path);
    expect_path(&list, &path, "2000 1000");
}

/* Of one timeline the LSN decides also when a clock was set back or forth. */
static void clocks(void **state)
{
    (void)state;
    const Given given[] = {{ID("9000"), SYSTEM, 1, 0x2000028, 0x2000100, NOON + 50 * SECOND},
                           {ID("1000"), SYSTEM, 1, 0x4000028, 0x4000100, NOON + 10 * SECOND},
                           {ID("5000"), OTHER, 1, 0x1000028, 0x1000100, NOON + 20 * SECOND},
                           {ID("2000"), SYSTEM, 1, 0x6000028, 0x6000100, NOON + 60 * SECOND}};
    Repo *repo AUTO(repo_closep) = repo_with(given, ARRAY_LEN(given));
    BackupList list AUTO(backup_list_release) = {.broken = {0}};
    TimelinePath path AUTO(timeline_path_release) = {0};
    expect_ok(backup_list_read(repo, &list, err));
    expect_list(&list, "5000 9000 1000 2000");
    timeline_path_single(1, &path);
    expect_path(&list, &path, "9000 1000 2000"); /* the other system's is none of them */
}

/* LSNs of two branches tell nothing about which is younger; on one way over both they do. */
static void branches(void **state)
{
    (void)state;
    static const char history[] = "1\t0/5000000\tno recovery target specified\n";
    const Given given[] = {{ID("7000"), SYSTEM, 1, 0x2000028, 0x2000100, NOON + 20 * SECOND},
                           {ID("6000"), SYSTEM, 1, 0x8000028, 0x8000100, NOON + 30 * SECOND},
                           {ID("1000"), SYSTEM, 2, 0x6000028, 0x6000100, NOON + 40 * SECOND},
                           {ID("0000"), SYSTEM, 2, 0x7000028, 0x7000100, NOON + 10 * SECOND}};
    Repo *repo AUTO(repo_closep) = repo_with(given, ARRAY_LEN(given));
    BackupList list AUTO(backup_list_release) = {.broken = {0}};
    TimelinePath path AUTO(timeline_path_release) = {0};
    expect_ok(backup_list_read(repo, &list, err));
    expect_list(&list, "7000 6000 1000 0000");
    timeline_path_single(1, &path);
    expect_path(&list, &path, "7000 6000");
    TimelinePath second AUTO(timeline_path_release) = {0};
    expect_ok(timeline_parse_history(2, history, strlen(history), &second, err));
    expect_path(&list, &second, "7000 1000 0000");
}

/* A standby that stands still gives backups with the same LSNs; each reading gives one order. */
static void same_place(void **state)
{
    (void)state;
    const Given given[] = {{ID("3000"), SYSTEM, 1, 0x2000028, 0x2000100, NOON + 1 * SECOND},
                           {ID("2000"), SYSTEM, 1, 0x2000028, 0x2000100, NOON + 2 * SECOND},
                           {ID("1000"), SYSTEM, 1, 0x2000028, 0x2000100, NOON + 2 * SECOND}};
    Repo *repo AUTO(repo_closep) = repo_with(given, ARRAY_LEN(given));
    BackupList list AUTO(backup_list_release) = {.broken = {0}};
    expect_ok(backup_list_read(repo, &list, err));
    expect_list(&list, "3000 1000 2000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ties),       cmocka_unit_test(one_inside_the_other),
        cmocka_unit_test(clocks),     cmocka_unit_test(branches),
        cmocka_unit_test(same_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
