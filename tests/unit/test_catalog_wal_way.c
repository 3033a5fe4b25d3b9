/* The ways that recovery can take, by names: where each is broken, and whose that end is. */

#include "catalog/wal_way.h"
#include "tests/unit/wal_archive.h"

typedef struct Scene {
    Archive archive;
    Lineage lineage;
    BackupList list;
    BackupRefs backups;
    WalInventory inv;
    WalWays ways;
} Scene;

static void scene_open(Scene *s)
{
    *s = (Scene){.backups = {0}};
    archive_open(&s->archive);
}

static void scene_release(Scene *s)
{
    wal_ways_release(&s->ways);
    wal_inventory_release(&s->inv);
    lineage_release(&s->lineage);
    backup_refs_release(&s->backups);
    backup_list_release(&s->list);
    archive_close(&s->archive);
}

/* "1 at 5, half" is "1\t0/580000\t…": the half of the segment. */
static void history(Scene *s, uint32_t tli, uint32_t parent, Lsn fork)
{
    char text[64];
    snprintf(text, sizeof(text), "%u\t" LSN_FMT "\tno reason\n", parent, LSN_ARG(fork));
    expect_ok(lineage_add(&s->lineage, tli, text, strlen(text), err));
}

static void backup(Scene *s, uint32_t tli, Lsn start, Lsn stop)
{
    archive_backup(&s->archive, &s->list, tli, start, stop);
}

static void look(Scene *s)
{
    wal_ways_release(&s->ways);
    s->backups.n = 0;
    for (size_t i = 0; i < backup_count(&s->list); i++)
        vec_push(&s->backups, backup_at(&s->list, i));
    expect_ok(wal_inventory_read(&s->archive.store, &s->inv, err));
    expect_ok(wal_ways_find(&s->inv, &s->archive.store, &s->lineage, &s->backups, &s->ways, err));
}

/*
 * A way as text: stretches "first-next" with the piece of `next` behind it (f: finished up to the
 * fork, p: .partial, t: tail, and whose), why it ends (END, HOLE:whose, TWICE:whose), a star when
 * the end is the way's own, and how many backups begin in it: "2-5p1 END* 1".
 */
static void expect_way(const Scene *s, uint32_t tli, const char *want)
{
    static const char piece[] = {[PLACE_FINISHED] = 'f', [PLACE_PARTIAL] = 'p', [PLACE_TAIL] = 't'};
    static const char *const ends[] = {"END", "HOLE", "TWICE"};
    Buf got AUTO(buf_release) = {0};
    for (size_t i = 0; i < s->ways.all.n; i++) {
        const WalWay *w = &s->ways.all.at[i];
        for (size_t k = 0; w->tli == tli && k < w->stretches.n; k++) {
            const WalStretch *x = &w->stretches.at[k];
            buf_printf(&got, "%s%u-%u", got.len ? ", " : "", (unsigned)x->first, (unsigned)x->next);
            if (x->piece.kind != PLACE_NONE)
                buf_printf(&got, "%c%u", piece[x->piece.kind], x->piece.tli);
            buf_printf(&got, " %s", ends[x->end]);
            if (x->end != STRETCH_END)
                buf_printf(&got, ":%u", x->missing);
            buf_printf(&got, "%s %zu", wal_stretch_is_own(w, x) ? "*" : "", x->n_backups);
        }
    }
    assert_string_equal(got.len ? buf_str(&got) : "", want);
}

#define SCENE(s)                                                                                   \
    Scene s AUTO(scene_release);                                                                   \
    scene_open(&s)

static void one_timeline(void **state)
{
    (void)state;
    SCENE(s);
    archive_put_segments(&s.archive, 1, 1, 9);
    look(&s);
    expect_way(&s, 1, ""); /* no backup opens it */
    backup(&s, 1, AT(3, 40), AT(3, 400));
    backup(&s, 1, AT(6, 40), AT(7, 400));
    look(&s);
    expect_way(&s, 1, "3-10 END* 2");
    assert_int_equal(wal_way_at(&s.ways, &s.ways.all.at[0], 9).kind, PLACE_FINISHED);
    assert_int_equal(wal_way_at(&s.ways, &s.ways.all.at[0], 10).kind, PLACE_NONE);
    assert_null(wal_way_stretch(&s.ways.all.at[0], 2));
    assert_non_null(wal_way_stretch(&s.ways.all.at[0], 10));
    archive_put_tail(&s.archive, 1, 10);
    look(&s);
    expect_way(&s, 1, "3-10t1 END* 2");
    archive_put_partial(&s.archive, 1, 10); /* both: the .partial */
    look(&s);
    expect_way(&s, 1, "3-10p1 END* 2");
    archive_put_tail(&s.archive, 1, 11); /* the one before is not finished */
    look(&s);
    expect_way(&s, 1, "3-10p1 HOLE:1* 2");
}

static void holes(void **state)
{
    (void)state;
    SCENE(s);
    archive_put_segments(&s.archive, 1, 2, 4);
    archive_put_segments(&s.archive, 1, 6, 7);
    archive_put_segments(&s.archive, 1, 9, 9);
    archive_put_segments(&s.archive, 1, 12, 12);
    backup(&s, 1, AT(2, 40), AT(2, 400));
    backup(&s, 1, AT(5, 40), AT(6, 400)); /* it begins in the hole */
    backup(&s, 1, AT(9, 40), AT(9, 400));
    look(&s);
    /* What lies between 6 and 7 is reached by nobody. */
    expect_way(&s, 1, "2-5 HOLE:1* 1, 5-5 HOLE:1* 1, 9-10 HOLE:1* 1");
}

static void nothing_left(void **state)
{
    (void)state;
    SCENE(s);
    backup(&s, 1, AT(2, 40), AT(3, 400));
    look(&s);
    expect_way(&s, 1, "2-2 END 1");
}

/* Restored in place to a moment in the middle, and lived on. */
static void older_future(void **state)
{
    (void)state;
    SCENE(s);
    archive_put_segments(&s.archive, 1, 2, 9);
    archive_put_segments(&s.archive, 2, 5, 6);
    history(&s, 2, 1, AT(5, 4096));
    backup(&s, 1, AT(2, 40), AT(2, 400));
    backup(&s, 1, AT(7, 40), AT(7, 400)); /* lies on the older future alone */
    backup(&s, 2, AT(6, 40), AT(6, 400));
    look(&s);
    expect_way(&s, 1, "2-10 END* 2");
    expect_way(&s, 2, "2-7 END* 2");
    const WalWay *two = &s.ways.all.at[1];
    assert_int_equal(wal_way_at(&s.ways, two, 4).tli, 1);
    assert_int_equal(wal_way_at(&s.ways, two, 5).tli, 2);
    assert_int_equal(wal_way_at(&s.ways, two, 5).until, 0);
    assert_int_equal(wal_way_at(&s.ways, two, 7).kind, PLACE_NONE);
    assert_int_equal(wal_way_at(&s.ways, two, 7).tli, 2);
}

/* A hole in the older future is that of timeline 1, and none of timeline 2. */
static void hole_behind_the_fork(void **state)
{
    (void)state;
    SCENE(s);
    archive_put_segments(&s.archive, 1, 2, 6);
    archive_put_segments(&s.archive, 1, 8, 9);
    archive_put_segments(&s.archive, 2, 5, 6);
    history(&s, 2, 1, AT(5, 4096));
    backup(&s, 1, AT(2, 40), AT(2, 400));
    look(&s);
    expect_way(&s, 1, "2-7 HOLE:1* 1");
    expect_way(&s, 2, "2-7 END* 1");
}

/* Before the fork it is one and the same, told by timeline 1. */
static void hole_before_the_fork(void **state)
{
    (void)state;
    SCENE(s);
    archive_put_segments(&s.archive, 1, 2, 2);
    archive_put_segments(&s.archive, 1, 4, 9);
    archive_put_segments(&s.archive, 2, 5, 6);
    history(&s, 2, 1, AT(5, 4096));
    backup(&s, 1, AT(2, 40), AT(2, 400));
    look(&s);
    expect_way(&s, 1, "2-3 HOLE:1* 1");
    expect_way(&s, 2, "2-3 HOLE:1 1");
}

/* A failover before the old primary had archived everything. For timeline 1 alone the WAL would
 * just end at 4; but timeline 2 needs what lies behind. */
static void never_archived(void **state)
{
    (void)state;
    SCENE(s);
    archive_put_segments(&s.archive, 1, 2, 3);
    archive_put_segments(&s.archive, 2, 6, 7);
    history(&s, 2, 1, AT(6, 4096));
    backup(&s, 1, AT(2, 40), AT(2, 400));
    backup(&s, 2, AT(7, 40), AT(7, 400));
    look(&s);
    expect_way(&s, 1, "2-4 HOLE:1* 1");
    expect_way(&s, 2, "2-4 HOLE:1 1, 7-8 END* 1");
    archive_put_partial(&s.archive, 1, 6); /* by the new primary */
    look(&s);
    expect_way(&s, 1, "2-4 HOLE:1* 1");
}

static void failover(void **state)
{
    (void)state;
    SCENE(s);
    archive_put_segments(&s.archive, 1, 2, 4);
    history(&s, 2, 1, AT(5, 4096));
    backup(&s, 1, AT(2, 40), AT(2, 400));
    look(&s);
    /* Of timeline 2 only the history is there: its segment is still to come. */
    expect_way(&s, 1, "2-5 END* 1");
    expect_way(&s, 2, "2-5 END 1");
    archive_put_partial(&s.archive, 1, 5);
    look(&s);
    expect_way(&s, 1, "2-5p1 END* 1");
    expect_way(&s, 2, "2-5p1 END 1");
    archive_put_segments(&s.archive, 2, 6, 6); /* one too early */
    look(&s);
    expect_way(&s, 1, "2-5p1 END* 1");
    expect_way(&s, 2, "2-5p1 HOLE:2* 1");
    archive_put_segments(&s.archive, 2, 5, 5);
    look(&s);
    expect_way(&s, 1, "2-5p1 END* 1");
    expect_way(&s, 2, "2-7 END* 1");
    archive_put_segments(&s.archive, 1, 5, 6); /* the old primary comes back and writes on */
    look(&s);
    expect_way(&s, 1, "2-7 END* 1");
    expect_way(&s, 2, "2-7 END* 1");
}

/* Timeline 2 has nothing of its own yet, timeline 1 has more than it takes. */
static void fork_of_nothing(void **state)
{
    (void)state;
    SCENE(s);
    archive_put_segments(&s.archive, 1, 2, 8);
    history(&s, 2, 1, AT(5, 4096));
    backup(&s, 1, AT(2, 40), AT(2, 400));
    look(&s);
    expect_way(&s, 1, "2-9 END* 1");
    expect_way(&s, 2, "2-5f1 END 1");
    WalPlace p = wal_way_at(&s.ways, &s.ways.all.at[1], 5);
    assert_int_equal(p.tli, 1);
    assert_int_equal(p.until, AT(5, 4096));
}

/* On the border nothing is shared. */
static void fork_at_a_border(void **state)
{
    (void)state;
    SCENE(s);
    archive_put_segments(&s.archive, 1, 2, 8);
    archive_put_segments(&s.archive, 2, 5, 6);
    history(&s, 2, 1, AT(5, 0));
    backup(&s, 1, AT(2, 40), AT(2, 400));
    look(&s);
    expect_way(&s, 1, "2-9 END* 1");
    expect_way(&s, 2, "2-7 END* 1");
    assert_int_equal(wal_way_at(&s.ways, &s.ways.all.at[1], 4).tli, 1);
    assert_int_equal(wal_way_at(&s.ways, &s.ways.all.at[1], 4).until, 0);
    assert_int_equal(wal_way_at(&s.ways, &s.ways.all.at[1], 5).tli, 2);
}

/* Nor does timeline 1 stand in there for what timeline 2 lacks. */
static void hole_at_a_border(void **state)
{
    (void)state;
    SCENE(s);
    archive_put_segments(&s.archive, 1, 2, 8);
    archive_put_segments(&s.archive, 2, 6, 6);
    history(&s, 2, 1, AT(5, 0));
    backup(&s, 1, AT(2, 40), AT(2, 400));
    look(&s);
    expect_way(&s, 1, "2-9 END* 1");
    expect_way(&s, 2, "2-5 HOLE:2* 1");
}

/* Three timelines in one segment, which only the first has. */
static void three_in_a_segment(void **state)
{
    (void)state;
    SCENE(s);
    static const char text[] = "1\t0/502000\tno reason\n2\t0/504000\tno reason\n";
    archive_put_segments(&s.archive, 1, 2, 5);
    history(&s, 2, 1, 0x502000);
    expect_ok(lineage_add(&s.lineage, 3, text, strlen(text), err));
    backup(&s, 1, AT(2, 40), AT(2, 400));
    look(&s);
    expect_way(&s, 1, "2-6 END* 1");
    expect_way(&s, 2, "2-5f1 END 1");
    expect_way(&s, 3, "2-5f1 END 1");
    archive_put_segments(&s.archive, 3, 5, 5);
    look(&s);
    expect_way(&s, 2, "2-5f1 END 1");
    expect_way(&s, 3, "2-6 END* 1");
}

static void two_contents(void **state)
{
    (void)state;
    SCENE(s);
    archive_put_segments(&s.archive, 1, 2, 9);
    archive_put_segments(&s.archive, 2, 6, 7);
    archive_put_file(&s.archive, "000000010000000000000004", '0');
    history(&s, 2, 1, AT(6, 4096));
    backup(&s, 1, AT(2, 40), AT(2, 400));
    backup(&s, 1, AT(5, 40), AT(5, 400));
    look(&s);
    expect_way(&s, 1, "2-4 TWICE:1* 1, 5-10 END* 1");
    expect_way(&s, 2, "2-4 TWICE:1 1, 5-8 END* 1");
}

/* Of the fork's segment only timeline 1 has two: timeline 2 does not mind. */
static void two_contents_elsewhere(void **state)
{
    (void)state;
    SCENE(s);
    archive_put_segments(&s.archive, 1, 2, 9);
    archive_put_segments(&s.archive, 2, 6, 7);
    archive_put_file(&s.archive, "000000010000000000000006", '0');
    history(&s, 2, 1, AT(6, 4096));
    backup(&s, 1, AT(2, 40), AT(2, 400));
    look(&s);
    expect_way(&s, 1, "2-6 TWICE:1* 1");
    expect_way(&s, 2, "2-8 END* 1");
}

/* A backup of a standby that was promoted meanwhile lies on the way to timeline 2 alone. */
static void backup_over_a_fork(void **state)
{
    (void)state;
    SCENE(s);
    archive_put_segments(&s.archive, 1, 2, 9);
    archive_put_segments(&s.archive, 2, 5, 6);
    history(&s, 2, 1, AT(5, 4096));
    backup(&s, 2, AT(4, 40), AT(5, 9000));
    look(&s);
    expect_way(&s, 1, "");
    expect_way(&s, 2, "4-7 END* 1");
}

static void other_systems(void **state)
{
    (void)state;
    SCENE(s);
    archive_put_segments(&s.archive, 1, 2, 9);
    backup(&s, 1, AT(2, 40), AT(2, 400));
    backup(&s, 1, AT(2, 40), AT(2, 400));
    s.list.all.at[0].system_id++;
    s.list.all.at[1].wal_segment_size *= 2;
    look(&s);
    expect_way(&s, 1, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_timeline),         cmocka_unit_test(holes),
        cmocka_unit_test(nothing_left),         cmocka_unit_test(older_future),
        cmocka_unit_test(hole_behind_the_fork), cmocka_unit_test(hole_before_the_fork),
        cmocka_unit_test(never_archived),       cmocka_unit_test(failover),
        cmocka_unit_test(fork_of_nothing),      cmocka_unit_test(fork_at_a_border),
        cmocka_unit_test(hole_at_a_border),     cmocka_unit_test(three_in_a_segment),
        cmocka_unit_test(two_contents),         cmocka_unit_test(two_contents_elsewhere),
        cmocka_unit_test(backup_over_a_fork),   cmocka_unit_test(other_systems),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
