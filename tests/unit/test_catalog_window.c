/* Recovery windows: from where to where, in time and position, on which timeline, and why they end.
 */

#include "catalog/window.h"
#include "tests/unit/wal_archive.h"

typedef struct Scene {
    Archive archive;
    BackupList list;
    RecoveryWindows windows;
} Scene;

static void scene_open(Scene *s)
{
    *s = (Scene){.windows = {0}};
    archive_open(&s->archive);
}

static void scene_release(Scene *s)
{
    recovery_windows_release(&s->windows);
    backup_list_release(&s->list);
    archive_close(&s->archive);
}

static void look(Scene *s)
{
    recovery_windows_release(&s->windows);
    expect_ok(recovery_windows_read(s->archive.repo, &s->list, &s->windows, err));
}

static const char *seconds(TimeUs t, char *out)
{
    snprintf(out, 16, "%lld", (long long)((t - ARCHIVE_NOON) / US_PER_SECOND));
    return t ? out : "?";
}

/*
 * A line a window: "TIMELINE FROM-TO (SECONDS-SECONDS) BACKUPS", times after noon; then "left by
 * TIMELINE at LSN", "missing …", "conflict", "damaged …".
 */
static void expect_windows(const Scene *s, const char *want)
{
    Buf got AUTO(buf_release) = {0};
    for (size_t i = 0; i < s->windows.n; i++) {
        const RecoveryWindow *w = &s->windows.at[i];
        char from[16], to[16];
        buf_printf(&got, "%u " LSN_FMT "-" LSN_FMT " (%s-%s)", w->timeline, LSN_ARG(w->from_lsn),
                   LSN_ARG(w->to_lsn), seconds(w->from_time, from), seconds(w->to_time, to));
        for (size_t k = 0; k < w->backups.n; k++)
            buf_printf(&got, " #%c", w->backups.at[k][BACKUP_ID_LEN - 1]);
        for (size_t k = 0; k < w->forks.n; k++)
            buf_printf(&got, ", left by %u at " LSN_FMT, w->forks.at[k].timeline,
                       LSN_ARG(w->forks.at[k].lsn));
        if (*w->missing)
            buf_printf(&got, ", missing %s", w->missing);
        if (*w->conflict)
            buf_printf(&got, ", conflict %.60s", w->conflict);
        if (*w->damaged)
            buf_printf(&got, ", damaged %.24s", w->damaged);
        buf_append_str(&got, "\n");
    }
    assert_string_equal(got.len ? buf_str(&got) : "", want);
}

/* A backup that ends at that second after noon. */
static void backup(Scene *s, uint32_t tli, Lsn start, Lsn stop, int second)
{
    archive_backup(&s->archive, &s->list, tli, start, stop);
    s->list.all.at[s->list.all.n - 1].stop_time = ARCHIVE_NOON + second * US_PER_SECOND;
}

static void segments(Scene *s, uint32_t tli, const WalBuild *b, uint64_t first, uint64_t last)
{
    for (uint64_t i = first; i <= last; i++)
        archive_segment(&s->archive, tli, b, i, 0);
}

#define SCENE(s)                                                                                   \
    Scene s AUTO(scene_release);                                                                   \
    scene_open(&s)

/* Timeline 1 from segment 2 to the end of segment 6; a commit at 10 s in 2, at 20 s in the half of
 * 4, at 30 s just behind that, at 40 s in 6. Timeline 2 leaves it between the two of segment 4, and
 * goes on to the end of 5, with a commit at 50 s. */
typedef struct Lives {
    WalBuild one, two;
    Lsn fork;
    Lsn end_one; /* of what is valid of segment 6: it ends in a switch */
} Lives;

static void lives_init(Lives *l)
{
    build_init(&l->one, 15, AT(2, 0), 5);
    build_fill(&l->one, AT(2, 5000));
    build_commit(&l->one, 10);
    build_fill(&l->one, AT(4, BUILD_SEG / 2));
    build_commit(&l->one, 20);
    l->fork = l->one.at;
    build_fork(&l->two, &l->one, 2);
    build_commit(&l->one, 30);
    build_fill(&l->one, AT(6, 100000));
    build_commit(&l->one, 40);
    l->end_one = build_switch(&l->one) + WAL_RECORD_HEADER;
    build_fill(&l->two, AT(5, 700));
    build_commit(&l->two, 50);
    build_fill(&l->two, AT(6, 0));
}

static void lives_release(Lives *l)
{
    build_release(&l->one);
    build_release(&l->two);
}

#define LIVES(l)                                                                                   \
    Lives l AUTO(lives_release);                                                                   \
    lives_init(&l)

static void history_of_two(Scene *s, const Lives *l)
{
    char text[64];
    snprintf(text, sizeof(text), "1\t" LSN_FMT "\tno reason\n", LSN_ARG(l->fork));
    archive_history(&s->archive, 2, text);
}

/* printf into a text that the assertion compares with. */
#define EXPECT(s, ...)                                                                             \
    do {                                                                                           \
        char *want_ AUTO(mem_freep) = mem_printf(__VA_ARGS__);                                     \
        expect_windows(s, want_);                                                                  \
    } while (0)

static void one_timeline(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    look(&s);
    expect_windows(&s, ""); /* no backup */
    segments(&s, 1, &l.one, 2, 5);
    backup(&s, 1, AT(2, 40), AT(2, 9000), 12);
    backup(&s, 1, AT(3, 40), AT(3, 9000), 14);
    look(&s);
    /* Its last segment has no time: the one before has. */
    EXPECT(&s, "1 0/202328-0/600000 (12-30) #1 #2\n");
    segments(&s, 1, &l.one, 6, 6);
    look(&s);
    EXPECT(&s, "1 0/202328-" LSN_FMT " (12-40) #1 #2\n", LSN_ARG(l.end_one));
}

static void last_pieces(void **state)
{
    (void)state;
    LIVES(l);
    for (int tail = 0; tail < 2; tail++) {
        SCENE(s);
        segments(&s, 1, &l.one, 2, 3);
        backup(&s, 1, AT(2, 40), AT(2, 9000), 12);
        (tail ? archive_tail : archive_segment)(&s.archive, 1, &l.one, 4, l.fork);
        look(&s);
        EXPECT(&s, "1 0/202328-" LSN_FMT " (12-20) #1\n", LSN_ARG(l.fork));
    }
}

/* Where no record tells a time, the backup itself does. */
static void no_time(void **state)
{
    (void)state;
    SCENE(s);
    WalBuild b AUTO(build_release);
    build_init(&b, 15, AT(2, 0), 2);
    build_fill(&b, AT(4, 0));
    segments(&s, 1, &b, 2, 3);
    backup(&s, 1, AT(2, 40), AT(2, 9000), 12);
    look(&s);
    expect_windows(&s, "1 0/202328-0/400000 (12-12) #1\n");
}

static void older_future(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    segments(&s, 1, &l.one, 2, 6);
    segments(&s, 2, &l.two, 4, 5);
    history_of_two(&s, &l);
    backup(&s, 1, AT(2, 40), AT(2, 9000), 12);
    backup(&s, 1, AT(5, 40), AT(5, 9000), 35);
    backup(&s, 2, AT(4, BUILD_SEG / 2), AT(5, 9000), 55);
    look(&s);
    EXPECT(&s,
           "1 0/202328-" LSN_FMT " (12-40) #1 #2, left by 2 at " LSN_FMT "\n"
           "2 0/202328-0/600000 (12-55) #1 #3\n",
           LSN_ARG(l.end_one), LSN_ARG(l.fork));
}

/* Only what lies behind the fork has a backup of its own: no window of timeline 1 spans it. */
static void backups_behind_the_fork(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    segments(&s, 1, &l.one, 2, 6);
    segments(&s, 2, &l.two, 4, 5);
    history_of_two(&s, &l);
    backup(&s, 1, AT(5, 40), AT(5, 9000), 35);
    look(&s);
    EXPECT(&s, "1 0/502328-" LSN_FMT " (35-40) #1\n", LSN_ARG(l.end_one));
}

static void hole_in_the_older_future(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    segments(&s, 1, &l.one, 2, 4);
    segments(&s, 1, &l.one, 6, 6);
    segments(&s, 2, &l.two, 4, 5);
    history_of_two(&s, &l);
    backup(&s, 1, AT(2, 40), AT(2, 9000), 12);
    look(&s);
    EXPECT(&s,
           "1 0/202328-0/500000 (12-30) #1, left by 2 at " LSN_FMT
           ", missing 000000010000000000000005\n"
           "2 0/202328-0/600000 (12-50) #1\n",
           LSN_ARG(l.fork));
}

/* A hole before the fork breaks both, and is told once. */
static void hole_before_the_fork(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    segments(&s, 1, &l.one, 2, 2);
    segments(&s, 1, &l.one, 4, 6);
    segments(&s, 2, &l.two, 4, 5);
    history_of_two(&s, &l);
    backup(&s, 1, AT(2, 40), AT(2, 9000), 12);
    look(&s);
    expect_windows(&s, "1 0/202328-0/300000 (12-12) #1, missing 000000010000000000000003\n");
}

/* Nobody wrote on on timeline 1: all that it has lies on the way to timeline 2. */
static void failover(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    segments(&s, 1, &l.one, 2, 3);
    archive_segment(&s.archive, 1, &l.one, 4, l.fork);
    history_of_two(&s, &l);
    backup(&s, 1, AT(2, 40), AT(2, 9000), 12);
    look(&s);
    EXPECT(&s, "1 0/202328-" LSN_FMT " (12-20) #1\n", LSN_ARG(l.fork));
    segments(&s, 2, &l.two, 4, 5);
    look(&s);
    expect_windows(&s, "2 0/202328-0/600000 (12-50) #1\n");
    /* But when it turns out that the old primary had more, that is a future of its own. */
    segments(&s, 1, &l.one, 4, 4);
    look(&s);
    EXPECT(&s,
           "1 0/202328-0/500000 (12-30) #1, left by 2 at " LSN_FMT "\n"
           "2 0/202328-0/600000 (12-50) #1\n",
           LSN_ARG(l.fork));
}

/* Its first segment has not come, later ones have. */
static void hole_at_the_fork(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    segments(&s, 1, &l.one, 2, 4);
    segments(&s, 2, &l.two, 5, 5);
    history_of_two(&s, &l);
    backup(&s, 1, AT(2, 40), AT(2, 9000), 12);
    look(&s);
    EXPECT(&s,
           "1 0/202328-0/500000 (12-30) #1, left by 2 at " LSN_FMT "\n"
           "2 0/202328-" LSN_FMT " (12-20) #1, missing 000000020000000000000004\n",
           LSN_ARG(l.fork), LSN_ARG(l.fork));
}

static void two_contents(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    segments(&s, 1, &l.one, 2, 6);
    archive_put_file(&s.archive, "000000010000000000000005", '0');
    backup(&s, 1, AT(2, 40), AT(2, 9000), 12);
    look(&s);
    expect_windows(&s, "1 0/202328-0/500000 (12-30) #1, conflict there are two different contents "
                       "of 000000010000000000000005\n");
}

/* A backup whose own WAL is not there opens nothing. */
static void broken_backup(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    segments(&s, 1, &l.one, 2, 3);
    segments(&s, 1, &l.one, 5, 6);
    backup(&s, 1, AT(3, 40), AT(4, 9000), 25);
    look(&s);
    expect_windows(&s, "");
    backup(&s, 1, AT(5, 40), AT(5, 9000), 35);
    look(&s);
    EXPECT(&s, "1 0/502328-" LSN_FMT " (35-40) #2\n", LSN_ARG(l.end_one));
}

static void flip_segment(Scene *s, const char *file, bool index)
{
    WalFoundList found = {0};
    Buf bytes AUTO(buf_release) = {0};
    expect_ok(wal_find(&s->archive.store, file, &found, err));
    assert_int_equal(found.n, 1);
    char *name AUTO(mem_freep) = wal_object_name(&s->archive.store, file, found.at[0].digest);
    char *full AUTO(mem_freep) = repo_full_name(s->archive.repo, name);
    expect_ok(storage_get_all(s->archive.repo->storage, full, 64 * MIB, &bytes, err));
    bytes.data[index ? bytes.len - 200 : 300] ^= 4;
    expect_ok(storage_put_bytes(s->archive.repo->storage, full, bytes.data, bytes.len,
                                STORAGE_OVERWRITE, err));
    vec_release(&found);
}

/* That the end of one cannot be read is said there, and hides no other. */
static void damaged_end(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    segments(&s, 1, &l.one, 2, 6);
    segments(&s, 2, &l.two, 4, 5);
    history_of_two(&s, &l);
    backup(&s, 1, AT(2, 40), AT(2, 9000), 12);
    flip_segment(&s, "000000010000000000000006", true);
    look(&s);
    EXPECT(&s,
           "1 0/202328-0/600000 (12-30) #1, left by 2 at " LSN_FMT
           ", damaged 000000010000000000000006\n"
           "2 0/202328-0/600000 (12-50) #1\n",
           LSN_ARG(l.fork));
}

/* The piece that a failover has left: that nothing of it can be read is told, though the way goes
 * on elsewhere. */
static void damaged_piece(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    segments(&s, 1, &l.one, 2, 3);
    archive_segment(&s.archive, 1, &l.one, 4, l.fork);
    segments(&s, 2, &l.two, 4, 5);
    history_of_two(&s, &l);
    backup(&s, 1, AT(2, 40), AT(2, 9000), 12);
    flip_segment(&s, "000000010000000000000004.partial", false);
    look(&s);
    expect_windows(&s, "1 0/202328-0/400000 (12-12) #1, damaged 000000010000000000000004\n"
                       "2 0/202328-0/600000 (12-50) #1\n");
}

/* Damage that is come upon on the way to the newest time ends the window there. */
static void damaged_before_the_end(void **state)
{
    (void)state;
    SCENE(s);
    WalBuild b AUTO(build_release);
    build_init(&b, 15, AT(2, 0), 5);
    build_commit(&b, 10);
    build_fill(&b, AT(7, 0));
    segments(&s, 1, &b, 2, 6);
    backup(&s, 1, AT(2, 40), AT(2, 9000), 5);
    flip_segment(&s, "000000010000000000000004", true);
    look(&s);
    expect_windows(&s, "1 0/202328-0/400000 (5-10) #1, damaged 000000010000000000000004\n");
}

/* A storage that does not answer is no end of anything. */
static void no_answer(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    segments(&s, 1, &l.one, 2, 6);
    backup(&s, 1, AT(2, 40), AT(2, 9000), 12);
    storage_fault_set(s.archive.fault, &(FaultSpec){.ops = STORAGE_OP_GET,
                                                    .contains = "000000000006",
                                                    .nth = 1,
                                                    .code = ERR_NETWORK});
    expect_err(ERR_NETWORK, "", recovery_windows_read(s.archive.repo, &s.list, &s.windows, err));
    assert_int_equal(s.windows.n, 0);
}

/* An upgraded cluster has another system's WAL beside the old one's. */
static void two_systems(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    segments(&s, 1, &l.one, 2, 6);
    backup(&s, 1, AT(2, 40), AT(2, 9000), 12);
    backup(&s, 1, AT(3, 40), AT(3, 9000), 13);
    s.list.all.at[0].system_id++;
    look(&s);
    EXPECT(&s, "1 0/302328-" LSN_FMT " (13-40) #2\n", LSN_ARG(l.end_one));
}

/* However many backups and windows there are: the listings are those of what is stored. */
static void costs(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    segments(&s, 1, &l.one, 2, 6);
    segments(&s, 2, &l.two, 4, 5);
    history_of_two(&s, &l);
    for (int i = 0; i < 50; i++)
        backup(&s, 1, AT(2, 40 + 8 * i), AT(2, 9000 + 8 * i), 12);
    storage_fault_set(s.archive.fault, &(FaultSpec){.ops = STORAGE_OP_LIST});
    look(&s);
    assert_int_equal(s.windows.n, 2);
    assert_int_equal(s.windows.at[0].backups.n, 50);
    /* The histories, the WAL, the tails, and again the folders in which the two timelines end. */
    assert_int_equal(storage_fault_calls(s.archive.fault), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_timeline),
        cmocka_unit_test(last_pieces),
        cmocka_unit_test(no_time),
        cmocka_unit_test(older_future),
        cmocka_unit_test(backups_behind_the_fork),
        cmocka_unit_test(hole_in_the_older_future),
        cmocka_unit_test(hole_before_the_fork),
        cmocka_unit_test(failover),
        cmocka_unit_test(hole_at_the_fork),
        cmocka_unit_test(two_contents),
        cmocka_unit_test(broken_backup),
        cmocka_unit_test(damaged_end),
        cmocka_unit_test(damaged_piece),
        cmocka_unit_test(damaged_before_the_end),
        cmocka_unit_test(no_answer),
        cmocka_unit_test(two_systems),
        cmocka_unit_test(costs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
