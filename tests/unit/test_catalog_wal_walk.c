/* Walking archived WAL as recovery will: which object a segment is read from, where the walk ends,
 * and records that cross from one segment into the next, however long. */

#include "tests/unit/unit.h"

#include "catalog/wal_walk.h"
#include "tests/unit/wal_archive.h"
#include "tests/unit/wal_records.h"

#define TIME(second) (ARCHIVE_NOON + (TimeUs)(second)*US_PER_SECOND)

/* --- steps --- */

/* "f1/5 p1/6 END": the kind, timeline and number of every segment, and how it ends. */
static void walk_text(Archive *a, const TimelinePath *path, Lsn from, Buf *ret)
{
    static const char *const ends[] = {[WALK_STEP] = "", [WALK_END] = "END", [WALK_HOLE] = "HOLE"};
    WalWalk *w AUTO(wal_walk_freep) = wal_walk_new(&a->store, path, from);
    for (WalWalkEnd end = WALK_STEP; end == WALK_STEP;) {
        WalStep step;
        expect_ok(wal_walk_next(w, &step, &end, err));
        assert_int_equal(step.start, AT(step.segno, 0));
        if (end != WALK_STEP) {
            buf_printf(ret, "%s %s", ends[end], step.file);
            continue;
        }
        char kind = step.finished ? 'f' : step.found.file[0] ? 'p' : 't';
        buf_printf(ret, "%c%u/%llX", kind, step.tli, (unsigned long long)step.segno);
        if (step.until)
            buf_printf(ret, "<%llX", (unsigned long long)(step.until - step.start));
        buf_append_u8(ret, ' ');
    }
}

static void expect_walk(Archive *a, const char *path_text, Lsn from, const char *want)
{
    TimelinePath path AUTO(timeline_path_release) = {0};
    Buf got AUTO(buf_release) = {0};
    expect_ok(timeline_path_parse(path_text, &path, err));
    walk_text(a, &path, from, &got);
    assert_string_equal(buf_str(&got), want);
}

static void one_timeline(void **state)
{
    (void)state;
    Archive a AUTO(archive_close);
    archive_open(&a);
    expect_walk(&a, "1", AT(2, 40), "END 000000010000000000000002");
    archive_put_segments(&a, 1, 2, 4);
    expect_walk(&a, "1", AT(2, 40), "f1/2 f1/3 f1/4 END 000000010000000000000005");
    expect_walk(&a, "1", AT(4, 0), "f1/4 END 000000010000000000000005");
    expect_walk(&a, "1", AT(1, 0), "HOLE 000000010000000000000001");
    archive_put_partial(&a, 1, 5);
    expect_walk(&a, "1", AT(4, 0), "f1/4 p1/5 END 000000010000000000000006");
    archive_put_tail(&a, 1, 5); /* a .partial is preferred */
    archive_put_tail(&a, 1, 6);
    expect_walk(&a, "1", AT(4, 0), "f1/4 p1/5 t1/6 END 000000010000000000000007");
    archive_put_tail(&a, 1, 8);
    expect_walk(&a, "1", AT(6, 0), "t1/6 HOLE 000000010000000000000007");
}

/* 256 segments of 16 MiB and 4096 of 1 MiB share a folder: the walk goes on in the next one. */
static void over_the_folders(void **state)
{
    (void)state;
    Archive a AUTO(archive_close);
    archive_open(&a);
    archive_put_segments(&a, 1, 0xFFE, 0x1001);
    expect_walk(&a, "1", AT(0xFFE, 0),
                "f1/FFE f1/FFF f1/1000 f1/1001 END 000000010000000100000002");
    archive_put_segments(&a, 1, 0x2000, 0x2000);
    expect_walk(&a, "1", AT(0x1001, 0), "f1/1001 HOLE 000000010000000100000002");
}

/* Timeline 2 leaves 1 in the middle of segment 5. */
static void a_fork_inside_a_segment(void **state)
{
    (void)state;
    Archive a AUTO(archive_close);
    archive_open(&a);
    archive_put_segments(&a, 1, 3, 7); /* the old primary wrote on */
    expect_walk(&a, "1@0/502000,2", AT(3, 0), "f1/3 f1/4 f1/5<2000 END 000000020000000000000005");
    archive_put_segments(&a, 2, 6, 6);
    expect_walk(&a, "1@0/502000,2", AT(4, 0), "f1/4 f1/5<2000 HOLE 000000020000000000000005");
    archive_put_segments(&a, 2, 5, 5);
    expect_walk(&a, "1@0/502000,2", AT(4, 0), "f1/4 f2/5 f2/6 END 000000020000000000000007");
    expect_walk(&a, "1", AT(4, 0), "f1/4 f1/5 f1/6 f1/7 END 000000010000000000000008");
}

static void a_fork_at_a_border(void **state)
{
    (void)state;
    Archive a AUTO(archive_close);
    archive_open(&a);
    archive_put_segments(&a, 1, 3, 7);
    archive_put_segments(&a, 2, 5, 5);
    expect_walk(&a, "1@0/500000,2", AT(3, 0), "f1/3 f1/4 f2/5 END 000000020000000000000006");
}

/* What leaves the path before its end is a hole: the younger timelines' WAL is somewhere. */
static void a_segment_missing_before_a_fork(void **state)
{
    (void)state;
    Archive a AUTO(archive_close);
    archive_open(&a);
    archive_put_segments(&a, 1, 3, 3);
    archive_put_segments(&a, 2, 5, 6);
    expect_walk(&a, "1@0/502000,2", AT(3, 0), "f1/3 HOLE 000000010000000000000004");
    Archive b AUTO(archive_close);
    archive_open(&b);
    archive_put_segments(&b, 1, 3, 3);
    expect_walk(&b, "1@0/502000,2", AT(3, 0), "f1/3 HOLE 000000010000000000000004");
}

static void three_timelines_in_a_segment(void **state)
{
    (void)state;
    Archive a AUTO(archive_close);
    archive_open(&a);
    archive_put_partial(&a, 1, 5);
    expect_walk(&a, "1@0/502000,2@0/504000,3", AT(5, 0), "p1/5<2000 END 000000030000000000000005");
    archive_put_tail(&a, 2, 5); /* the younger one's counts */
    expect_walk(&a, "1@0/502000,2@0/504000,3", AT(5, 0), "t2/5<4000 END 000000030000000000000005");
    archive_put_segments(&a, 3, 5, 5);
    expect_walk(&a, "1@0/502000,2@0/504000,3", AT(5, 0), "f3/5 END 000000030000000000000006");
}

static void two_contents(void **state)
{
    (void)state;
    Archive a AUTO(archive_close);
    TimelinePath path AUTO(timeline_path_release) = {0};
    WalStep step;
    WalWalkEnd end;
    archive_open(&a);
    timeline_path_single(1, &path);
    archive_put_segments(&a, 1, 3, 4);
    archive_put_file(&a, "000000010000000000000004", '0');
    WalWalk *w AUTO(wal_walk_freep) = wal_walk_new(&a.store, &path, AT(3, 0));
    expect_ok(wal_walk_next(w, &step, &end, err));
    Err why = {0};
    assert_int_equal(wal_walk_next(w, &step, &end, &why), ERR_CONFLICT);
    assert_non_null(strstr(why.message, "two different contents of 000000010000000000000004"));
    assert_non_null(strstr(why.hint, "pgdr repo resolve 000000010000000000000004"));
}

/* A segment that is finished, and its tail removed, between the looks is not absent. */
typedef struct Finisher {
    Archive *archive;
    const char *before; /* of which listing */
    unsigned calls;
} Finisher;

static void finish_segment(void *arg, StorageOp op, const char *name)
{
    Finisher *f = arg;
    if (op != STORAGE_OP_LIST || !strstr(name, f->before) || f->calls++)
        return;
    archive_put_segments(f->archive, 1, 4, 4);
}

static void absent_means_looked_for_twice(void **state)
{
    (void)state;
    Archive a AUTO(archive_close);
    TimelinePath path AUTO(timeline_path_release) = {0};
    Finisher f = {.archive = &a, .before = "/tail/"};
    FaultSpec spec = {.ops = STORAGE_OP_LIST, .hook = finish_segment, .hook_arg = &f};
    WalStep step;
    WalWalkEnd end;
    archive_open(&a);
    timeline_path_single(1, &path);
    archive_put_segments(&a, 1, 3, 3);
    WalWalk *w AUTO(wal_walk_freep) = wal_walk_new(&a.store, &path, AT(3, 0));
    expect_ok(wal_walk_next(w, &step, &end, err));
    storage_fault_set(a.fault, &spec);
    expect_ok(wal_walk_next(w, &step, &end, err));
    storage_fault_set(a.fault, &(FaultSpec){.nth = 0});
    assert_int_equal(end, WALK_STEP);
    assert_true(step.finished && step.segno == 4);
}

/* --- content --- */

static void what_a_step_holds(void **state)
{
    (void)state;
    Archive a AUTO(archive_close);
    WalBuild b AUTO(build_release), c AUTO(build_release);
    TimelinePath path AUTO(timeline_path_release) = {0};
    WalWalkEnd end;
    archive_open(&a);
    build_init(&b, 15, AT(3, 0), 2);
    build_fill(&b, AT(4, 20000));
    build_fork(&c, &b, 2);
    Lsn fork = b.at;
    build_fill(&b, AT(4, 60000));
    archive_segment(&a, 1, &b, 3, 0);
    archive_tail(&a, 1, &b, 4, AT(4, 40000));
    char text[64];
    snprintf(text, sizeof(text), "1@" LSN_FMT ",2", LSN_ARG(fork));
    expect_ok(timeline_path_parse(text, &path, err));
    WalWalk *w AUTO(wal_walk_freep) = wal_walk_new(&a.store, &path, AT(3, 0));
    for (uint64_t segno = 3; segno < 5; segno++) {
        Buf data AUTO(buf_release) = {0};
        WalStep step;
        size_t keep = segno == 3 ? BUILD_SEG : (size_t)(fork - AT(4, 0));
        expect_ok(wal_walk_next(w, &step, &end, err));
        assert_int_equal(step.segno, segno);
        buf_append_str(&data, "before");
        expect_ok(wal_walk_read(w, &step, &data, err));
        assert_int_equal(data.len, 6 + BUILD_SEG);
        assert_memory_equal(data.data + 6, build_byte(&b, AT(segno, 0)), keep);
        assert_true(is_all_zero(data.data + 6 + keep, BUILD_SEG - keep)); /* it leaves there */
    }
}

/* --- records that cross a border --- */

/* Every end of a transaction that the indexes of a walk tell, as "xid@segno". */
static void xacts_of(Archive *a, const TimelinePath *path, Lsn from, Buf *ret)
{
    WalWalk *w AUTO(wal_walk_freep) = wal_walk_new(&a->store, path, from);
    Lsn last = 0;
    for (;;) {
        WalIndex x AUTO(wal_index_release) = {.start = 0};
        WalStep step;
        WalWalkEnd end;
        expect_ok(wal_walk_next(w, &step, &end, err));
        if (end != WALK_STEP)
            return;
        expect_ok(wal_walk_index(w, &step, &x, err));
        for (size_t i = 0; i < x.xacts.n; i++) {
            buf_printf(ret, "%s%u@%llX", ret->len ? " " : "", x.xacts.at[i].xid,
                       (unsigned long long)step.segno);
            if (x.xacts.at[i].lsn <= last)
                fail_msg("transaction %u comes out of order", x.xacts.at[i].xid);
            last = x.xacts.at[i].lsn;
        }
    }
}

static void expect_xacts(Archive *a, Lsn from, const char *want)
{
    TimelinePath path AUTO(timeline_path_release) = {0};
    Buf got AUTO(buf_release) = {0};
    timeline_path_single(1, &path);
    xacts_of(a, &path, from, &got);
    assert_string_equal(buf_str(&got), want);
}

/* Small commits, and one that crosses from segment 3 into 4: `before` of its bytes lie in 3, and so
 * many in all. */
static void build_crossing(WalBuild *b, uint32_t before, uint32_t subxacts)
{
    build_init(b, 15, AT(3, 0), 5);
    build_xact(b, 10, true, TIME(1));
    build_up_to(b, (AT(4, 0) - before) & ~(Lsn)7);
    build_commit_with(b, 20, TIME(2), 1000, subxacts);
    build_xact(b, 30, true, TIME(3));
    build_xact(b, 31, false, TIME(4));
    build_fill(b, AT(6, 100));
    build_xact(b, 40, true, TIME(5));
}

static const struct {
    const char *what;
    uint32_t before, subxacts;
} crossings[] = {
    {"a few bytes", 16, 10},
    {"half of its header", 8, 10},
    {"a page", 4000, 3000},
    {"much before the border", 200 * 1024, 52000},
    {"more before than an index keeps", 400 * 1024, 103000},
    {"more behind than an index keeps", 1000, 100000},
    {"more on both sides", 400 * 1024, 200000},
    {"more than a segment", 1000, 300000},
    {"more than a segment, and more before", 500 * 1024, 400000},
};

static const char *segment_of_end(uint32_t i)
{
    return crossings[i].subxacts < 262144 ? "10@3 20@4 30@4 31@4 40@6" : "10@3 20@5 30@5 31@5 40@6";
}

static void commits_that_cross_a_border(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ARRAY_LEN(crossings); i++) {
        for (int without = 0; without < 2; without++) { /* with indexes, and without */
            Archive a AUTO(archive_close);
            WalBuild b AUTO(build_release);
            archive_open(&a);
            build_crossing(&b, crossings[i].before, crossings[i].subxacts);
            for (uint64_t segno = 3; segno <= 6; segno++) {
                char file[WAL_NAME_MAX];
                if (without)
                    archive_put_content(&a, wal_name_segment(1, segno, BUILD_SEG, file),
                                        build_byte(&b, AT(segno, 0)), BUILD_SEG, NULL);
                else
                    archive_segment(&a, 1, &b, segno, 0);
            }
            expect_xacts(&a, AT(3, 0), segment_of_end(i));
            /* What began before the walk does is not told. */
            if (crossings[i].subxacts < 262144)
                expect_xacts(&a, AT(4, 0), "30@4 31@4 40@6");
        }
    }
}

/* The path leaves before the record's end: it never happened there. */
static void a_crossing_commit_that_is_left(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ARRAY_LEN(crossings) - 2; i++) {
        Archive a AUTO(archive_close);
        WalBuild b AUTO(build_release);
        TimelinePath path AUTO(timeline_path_release) = {0};
        Buf got AUTO(buf_release) = {0};
        archive_open(&a);
        build_crossing(&b, crossings[i].before, crossings[i].subxacts);
        archive_segment(&a, 1, &b, 3, 0);
        archive_segment(&a, 1, &b, 4, 0);
        expect_ok(timeline_path_parse("1@0/400008,2", &path, err));
        xacts_of(&a, &path, AT(3, 0), &got);
        assert_string_equal(buf_str(&got), "10@3");
    }
}

/* --- records --- */

static void single_records(void **state)
{
    (void)state;
    Archive a AUTO(archive_close);
    WalBuild b AUTO(build_release);
    TimelinePath path AUTO(timeline_path_release) = {0};
    VEC(Lsn) starts = {0};
    archive_open(&a);
    timeline_path_single(1, &path);
    build_init(&b, 17, AT(3, 0), 3);
    while (b.at < AT(5, 5000))
        vec_push(&starts, build_plain(&b, 20011));
    Lsn end = b.at;
    archive_segment(&a, 1, &b, 3, 0);
    archive_segment(&a, 1, &b, 4, 0);
    archive_tail(&a, 1, &b, 5, AT(5, 65536));
    for (size_t from = 0; from < starts.n; from += 13) {
        WalRecords *r AUTO(wal_records_freep) =
            wal_records_new(&a.store, &path, from ? starts.at[from] - 8 : AT(3, 0));
        WalRecord record;
        bool ended = false;
        for (size_t i = from; i < starts.n; i++) {
            expect_ok(wal_records_next(r, &record, &ended, err));
            assert_false(ended);
            assert_int_equal(record.start, starts.at[i]);
        }
        expect_ok(wal_records_next(r, &record, &ended, err));
        assert_true(ended);
        assert_int_equal(wal_records_at(r), end);
        assert_int_equal(wal_records_version(r)->major, 17);
    }
    vec_release(&starts);
}

static void records_up_to_a_hole(void **state)
{
    (void)state;
    Archive a AUTO(archive_close);
    WalBuild b AUTO(build_release);
    TimelinePath path AUTO(timeline_path_release) = {0};
    WalRecord record;
    Err why = {0};
    ErrCode rc;
    bool ended = false;
    unsigned n = 0;
    archive_open(&a);
    timeline_path_single(1, &path);
    build_init(&b, 15, AT(3, 0), 3);
    build_up_to(&b, AT(4, 0));
    build_fill(&b, AT(5, 100));
    archive_segment(&a, 1, &b, 3, 0);
    archive_segment(&a, 1, &b, 5, 0);
    WalRecords *r AUTO(wal_records_freep) = wal_records_new(&a.store, &path, AT(3, 0));
    while ((rc = wal_records_next(r, &record, &ended, &why)) == ERR_OK && !ended)
        n++;
    assert_int_equal(rc, ERR_WAL_MISSING);
    assert_non_null(strstr(why.message, "000000010000000000000004 is not in the repository"));
    assert_int_equal(n, 128); /* one a page */
}

/* --- presence --- */

static void expect_missing(Archive *a, const char *path_text, Lsn from, Lsn to, const char *want)
{
    TimelinePath path AUTO(timeline_path_release) = {0};
    char missing[WAL_NAME_MAX];
    expect_ok(timeline_path_parse(path_text, &path, err));
    expect_ok(wal_walk_check(&a->store, &path, from, to, missing, err));
    assert_string_equal(missing, want);
}

static void what_is_missing(void **state)
{
    (void)state;
    Archive a AUTO(archive_close);
    WalBuild b AUTO(build_release);
    archive_open(&a);
    build_init(&b, 15, AT(3, 0), 4);
    build_fill(&b, AT(6, 50000));
    archive_segment(&a, 1, &b, 3, 0);
    archive_segment(&a, 1, &b, 4, 0);
    expect_missing(&a, "1", AT(3, 40), AT(4, 100), "");
    expect_missing(&a, "1", AT(3, 40), AT(5, 0), ""); /* the last byte is in segment 4 */
    expect_missing(&a, "1", AT(3, 40), AT(5, 1), "000000010000000000000005");
    expect_missing(&a, "1", AT(2, 40), AT(4, 100), "000000010000000000000002");
    Lsn reach = AT(5, 30000);
    archive_tail(&a, 1, &b, 5, reach);
    expect_missing(&a, "1", AT(3, 40), AT(5, 20000), "");
    expect_missing(&a, "1", AT(3, 40), AT(5, 30001), "000000010000000000000005");
    archive_segment(&a, 1, &b, 5, AT(5, 60000)); /* a .partial that reaches further */
    expect_missing(&a, "1", AT(3, 40), AT(5, 50000), "");
    archive_segment(&a, 1, &b, 6, 0);
    expect_missing(&a, "1", AT(3, 40), AT(6, 100), "000000010000000000000005"); /* not to its end */
    archive_segment(&a, 1, &b, 5, 0);
    expect_missing(&a, "1", AT(3, 40), AT(6, 100), "");
    /* Up to where the path leaves, the older timeline's copy is enough. */
    expect_missing(&a, "1@0/402000,2", AT(3, 40), AT(4, 0x2000), "");
    expect_missing(&a, "1@0/402000,2", AT(3, 40), AT(4, 0x2001), "000000020000000000000004");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_timeline),
        cmocka_unit_test(over_the_folders),
        cmocka_unit_test(a_fork_inside_a_segment),
        cmocka_unit_test(a_fork_at_a_border),
        cmocka_unit_test(a_segment_missing_before_a_fork),
        cmocka_unit_test(three_timelines_in_a_segment),
        cmocka_unit_test(two_contents),
        cmocka_unit_test(absent_means_looked_for_twice),
        cmocka_unit_test(what_a_step_holds),
        cmocka_unit_test(commits_that_cross_a_border),
        cmocka_unit_test(a_crossing_commit_that_is_left),
        cmocka_unit_test(single_records),
        cmocka_unit_test(records_up_to_a_hole),
        cmocka_unit_test(what_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
