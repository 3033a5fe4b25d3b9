/* wal_scan, wal_decode and wal_record against what pg_waldump says about real WAL. */

#include "lib/common/bytes.h"
#include "lib/pg/wal_name.h"
#include "tests/unit/unit.h"
#include "tests/unit/wal_fixture.h"
#include "tests/unit/wal_text.h"

typedef struct Wal {
    int major;
    Buf bytes, text;
    size_t segments;
} Wal;

static Wal wal_load(int major)
{
    Wal w = {.major = major,
             .bytes = fixture_zst(major, "wal.zst"),
             .text = fixture_zst(major, "txt.zst")};
    w.segments = w.bytes.len / FIXTURE_SEG;
    return w;
}

static void wal_unload(Wal *w)
{
    buf_release(&w->bytes);
    buf_release(&w->text);
}

static const uint8_t *segment(const Wal *w, size_t i)
{
    return w->bytes.data + i * FIXTURE_SEG;
}

static Lsn segment_start(const Wal *w, size_t i)
{
    return get_u64(segment(w, i) + 8);
}

/* The fixture holds several unbroken runs of segments. */
static bool begins_run(const Wal *w, size_t i)
{
    return i == 0 || segment_start(w, i) != segment_start(w, i - 1) + FIXTURE_SEG;
}

/* Compares line by line, so that a failure names the record. */
static void compare_text(int major, const char *got, const char *want)
{
    for (unsigned line = 1; *got || *want; line++) {
        size_t g = strcspn(got, "\n"), n = strcspn(want, "\n");
        if (g != n || memcmp(got, want, g) != 0)
            fail_msg("%d: record %u\n got      %.*s\n expected %.*s", major, line, (int)g, got,
                     (int)n, want);
        got += g + (got[g] == '\n');
        want += n + (want[n] == '\n');
    }
}

/* Everything the scan returns until it wants more. */
static WalEvent drain(WalScan *s, Buf *out)
{
    WalRecord r;
    WalEvent event;
    while ((event = wal_scan_next(s, &r)) == WAL_RECORD) {
        wal_text(wal_scan_version(s), &r, out);
        assert_false(wal_record_is_unknown_special(wal_scan_version(s), &r));
    }
    return event;
}

static void every_record_is_what_pg_waldump_says(void **state)
{
    (void)state;
    for (size_t m = 0; m < ARRAY_LEN(fixture_majors); m++) {
        Wal w = wal_load(fixture_majors[m]);
        AUTO(buf_release) Buf out = {0};
        WalScan *s = NULL;
        for (size_t i = 0; i < w.segments; i++) {
            if (begins_run(&w, i)) {
                wal_scan_free(s);
                s = wal_scan_new(&(WalScanSpec){.seg_size = FIXTURE_SEG});
            }
            wal_scan_feed(s, segment_start(&w, i), segment(&w, i), FIXTURE_SEG);
            WalEvent event = drain(s, &out);
            assert_int_equal(wal_scan_version(s)->major, w.major);
            bool last = i + 1 == w.segments || begins_run(&w, i + 1);
            if (!last)
                assert_int_equal(event, WAL_MORE);
        }
        wal_scan_free(s);
        compare_text(w.major, buf_str(&out), buf_str(&w.text));
        wal_unload(&w);
    }
}

/* Pieces of one page and of random sizes, in memory of their own that is gone afterwards. */
static void any_pieces_give_the_same(void **state)
{
    (void)state;
    unsigned random = 1;
    for (int round = 0; round < 3; round++) {
        Wal w = wal_load(15);
        AUTO(buf_release) Buf out = {0};
        WalScan *s = NULL;
        for (size_t i = 0; i < w.segments; i++) {
            if (begins_run(&w, i)) {
                wal_scan_free(s);
                s = wal_scan_new(&(WalScanSpec){.seg_size = FIXTURE_SEG});
            }
            for (size_t at = 0; at < FIXTURE_SEG;) {
                random = random * 1103515245 + 12345;
                size_t len = round == 0 ? WAL_PAGE_SIZE : (random >> 16) % 9 * WAL_PAGE_SIZE;
                len = MIN(len, FIXTURE_SEG - at);
                uint8_t *piece = malloc(len + 1);
                memcpy(piece, segment(&w, i) + at, len);
                /* What is no whole page does not count. */
                wal_scan_feed(s, segment_start(&w, i) + at, piece, len + (len && round == 2));
                WalEvent event = drain(s, &out);
                free(piece);
                at += len;
                if (event == WAL_STOP)
                    break;
            }
        }
        wal_scan_free(s);
        compare_text(w.major, buf_str(&out), buf_str(&w.text));
        wal_unload(&w);
    }
}

/* Starting on any page gives the same records from there on. */
static void any_start_gives_the_rest(void **state)
{
    (void)state;
    size_t starts = 0;
    for (size_t m = 0; m < ARRAY_LEN(fixture_majors); m++) {
        Wal w = wal_load(fixture_majors[m]);
        for (size_t at = WAL_PAGE_SIZE; at < FIXTURE_SEG; at += 7 * WAL_PAGE_SIZE) {
            AUTO(buf_release) Buf out = {0};
            AUTO(wal_scan_freep)
            WalScan *s = wal_scan_new(&(WalScanSpec){.seg_size = FIXTURE_SEG});
            wal_scan_feed(s, segment_start(&w, 0) + at, segment(&w, 0) + at, FIXTURE_SEG - at);
            drain(s, &out);
            const char *text = buf_str(&out);
            if (!*text)
                continue; /* zeros behind a switch, or only records that spill */
            char first[LSN_TEXT_LEN + 2];
            snprintf(first, sizeof(first), "\n%.*s ", (int)strcspn(text, " "), text);
            const char *there = strstr(buf_str(&w.text), first);
            if (!there)
                fail_msg("%d: no record%s", w.major, first);
            assert_memory_equal(there + 1, text, out.len);
            starts++;
        }
        wal_unload(&w);
    }
    assert_true(starts > 40);
}

typedef struct Counted {
    size_t records;
    Lsn start, end, last_end;
} Counted;

static ErrCode count(void *arg, const WalRecord *r, Err *err)
{
    (void)err;
    Counted *c = arg;
    assert_in_range(r->start, c->start, c->end - 1);
    assert_in_range(r->end, r->start + 24, c->end);
    c->records++;
    c->last_end = r->end;
    return ERR_OK;
}

static size_t lines(const char *text)
{
    size_t n = 0;
    for (; (text = strchr(text, '\n')); text++)
        n++;
    return n;
}

static void every_segment_is_judged_right(void **state)
{
    (void)state;
    for (size_t m = 0; m < ARRAY_LEN(fixture_majors); m++) {
        Wal w = wal_load(fixture_majors[m]);
        size_t records = 0, spills = 0, switched = 0, middle = 0, incomplete = 0;
        for (size_t i = 0; i < w.segments; i++) {
            Lsn start = segment_start(&w, i);
            Counted c = {.start = start, .end = start + FIXTURE_SEG};
            WalSegmentCheck check;
            expect_ok(
                wal_segment_check(segment(&w, i), FIXTURE_SEG, start, count, &c, &check, err));
            assert_int_equal(check.header.version->major, w.major);
            assert_int_equal(check.header.page_addr, start);
            records += c.records;
            spills += check.spills && check.spill_start;
            middle += check.spills && !check.spill_start;
            switched += check.switched;
            bool last = i + 1 == w.segments || begins_run(&w, i + 1);
            if (check.complete)
                assert_int_equal(check.why[0], '\0');
            else
                incomplete++;
            if (check.complete && !check.switched)
                assert_int_equal(check.ends, start + FIXTURE_SEG);
            if (!last)
                assert_true(check.complete);
            if (check.spills && check.spill_start)
                assert_in_range(check.spill_start, start, start + FIXTURE_SEG - 1);
        }
        /* The records that end behind the segment they start in: those that the next one completes,
         * and the last one of the run before the copied database. */
        assert_true(switched > 0 && spills > 2 && middle >= 2 && incomplete == 2);
        size_t want = lines(buf_str(&w.text));
        assert_in_range(records, want - spills, want);
        wal_unload(&w);
    }
}

static void the_overwritten_record_is_passed_over(void **state)
{
    (void)state;
    for (size_t m = 0; m < ARRAY_LEN(fixture_majors); m++) {
        Wal w = wal_load(fixture_majors[m]);
        size_t found = 0;
        for (size_t i = 0; i < w.segments; i++)
            for (size_t at = 0; at < FIXTURE_SEG; at += WAL_PAGE_SIZE)
                found += (get_u16(segment(&w, i) + at + 2) & WAL_PAGE_OVERWRITES) != 0;
        assert_int_equal(found, 1);
        wal_unload(&w);
    }
}

static void checkpoint_times_are_read(void **state)
{
    (void)state;
    for (size_t m = 0; m < ARRAY_LEN(fixture_majors); m++) {
        Wal w = wal_load(fixture_majors[m]);
        WalScan *s = wal_scan_new(&(WalScanSpec){.seg_size = FIXTURE_SEG});
        wal_scan_feed(s, segment_start(&w, 0), segment(&w, 0), 3 * FIXTURE_SEG);
        WalRecord r;
        WalCheckpoint k;
        WalXact x;
        TimeUs checkpoint = 0, commit = 0, point = 0;
        char name[64];
        while (wal_scan_next(s, &r) == WAL_RECORD) {
            if (wal_record_xact(wal_scan_version(s), &r, &x))
                commit = x.time;
            if (wal_record_checkpoint(wal_scan_version(s), &r, &k))
                checkpoint = k.time;
            wal_record_restore_point(&r, &point, name);
        }
        /* All of it was written within a minute. */
        assert_true(commit > 0 && llabs(commit - checkpoint) < 60 * US_PER_SECOND &&
                    llabs(commit - point) < 60 * US_PER_SECOND);
        wal_scan_free(s);
        wal_unload(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_record_is_what_pg_waldump_says),
        cmocka_unit_test(any_pieces_give_the_same),
        cmocka_unit_test(any_start_gives_the_rest),
        cmocka_unit_test(every_segment_is_judged_right),
        cmocka_unit_test(the_overwritten_record_is_passed_over),
        cmocka_unit_test(checkpoint_times_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
