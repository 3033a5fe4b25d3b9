/* The edges of wal_scan and wal_segment_check, on WAL built for them. */

#include "tests/unit/unit.h"
#include "tests/unit/wal_build.h"

#define START ((Lsn)3 * BUILD_SEG)
#define SECOND (START + BUILD_SEG)

static WalSegmentCheck judge(const WalBuild *b, Lsn start)
{
    WalSegmentCheck check;
    expect_ok(wal_segment_check(build_byte(b, start), BUILD_SEG, start, NULL, NULL, &check, err));
    return check;
}

/* Scans everything; the end is where the last record that came out ends. */
typedef struct Walk {
    size_t records;
    Lsn first, last, end;
    WalEvent event;
    Lsn at;
    size_t pending;
    char why[256];
} Walk;

static Walk walk_from(const WalBuild *b, Lsn start, Lsn from)
{
    Walk w = {0};
    WalRecord r;
    WalScan *s = wal_scan_new(&(WalScanSpec){.seg_size = BUILD_SEG, .from = from});
    wal_scan_feed(s, start, build_byte(b, start), b->end - start);
    while ((w.event = wal_scan_next(s, &r)) == WAL_RECORD) {
        if (!w.records++)
            w.first = r.start;
        w.last = r.start;
        w.end = r.end;
    }
    w.at = wal_scan_at(s);
    w.pending = wal_scan_pending(s);
    snprintf(w.why, sizeof(w.why), "%s", wal_scan_why(s));
    /* An end is an end. */
    if (w.event == WAL_STOP)
        assert_int_equal(wal_scan_next(s, &r), WAL_STOP);
    wal_scan_free(s);
    return w;
}

static Walk walk(const WalBuild *b)
{
    return walk_from(b, b->start, 0);
}

static void records_of_all_lengths_cross_pages(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 20; seed++) {
        WalBuild b;
        build_init(&b, 13 + (int)(seed % 6), START, 3);
        Lsn starts[4000];
        size_t n = 0;
        for (unsigned random = seed; n < ARRAY_LEN(starts) && b.at < b.end - 200000; n++) {
            random = random * 1103515245 + 12345;
            uint32_t len = 26 + (random >> 8) % (n % 50 == 0 ? 60000 : 900);
            starts[n] = build_plain(&b, len == 281 || len == 282 ? 280 : len);
        }
        WalScan *s = wal_scan_new(&(WalScanSpec){.seg_size = BUILD_SEG});
        wal_scan_feed(s, b.start, b.data, b.end - b.start);
        WalRecord r;
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(wal_scan_next(s, &r), WAL_RECORD);
            assert_int_equal(r.start, starts[i]);
            assert_int_equal(r.prev, i ? starts[i - 1] : 0);
            assert_int_equal(r.rmgr, RMGR_LOGICALMSG);
            for (uint32_t k = 0; k < r.main_len; k++)
                assert_int_equal(r.main_data[k], 0x5A);
        }
        assert_int_equal(wal_scan_next(s, &r), WAL_STOP);
        assert_int_equal(wal_scan_at(s), b.at);
        assert_non_null(strstr(wal_scan_why(s), b.at % WAL_PAGE_SIZE ? "no record" : "is zero"));
        wal_scan_free(s);
        build_release(&b);
    }
}

static void headers_split_at_page_ends(void **state)
{
    (void)state;
    for (uint32_t left = 8; left <= 24; left += 8) {
        WalBuild b;
        build_init(&b, 15, START, 1);
        build_up_to(&b, START + WAL_PAGE_SIZE - left);
        Lsn split = build_plain(&b, 100), then = build_plain(&b, 60);
        assert_int_equal(split, START + WAL_PAGE_SIZE - left);
        Walk w = walk_from(&b, START, split);
        assert_int_equal(w.records, 2);
        assert_int_equal(w.first, split);
        assert_int_equal(w.last, then);

        /* Its xl_prev is wrong: on this page with 16 bytes, on the next with 8. */
        Lsn prev_at = left == 8 ? START + WAL_PAGE_SIZE + WAL_PAGE_SHORT_HEADER : split + 8;
        set_u64(build_byte(&b, prev_at), 0x1000);
        w = walk(&b);
        assert_int_equal(w.event, WAL_STOP);
        assert_int_equal(w.at, split);
        assert_non_null(strstr(w.why, "says that it follows"));
        build_release(&b);
    }
}

static void a_segment_may_end_with_a_record(void **state)
{
    (void)state;
    WalBuild b;
    build_init(&b, 15, START, 1);
    build_up_to(&b, SECOND);
    WalSegmentCheck c = judge(&b, START);
    assert_true(c.complete && !c.spills && !c.switched);
    assert_int_equal(c.ends, SECOND);
    assert_int_equal(c.first_record, START + WAL_PAGE_LONG_HEADER);
    assert_int_equal(c.header.system_id, BUILD_SYSTEM_ID);
    assert_int_equal(c.header.rem_len, 0);
    Walk w = walk(&b);
    assert_int_equal(w.event, WAL_MORE);
    assert_int_equal(w.at, SECOND);
    assert_int_equal(w.pending, 0);
    build_release(&b);
}

static void a_segment_may_end_inside_a_record(void **state)
{
    (void)state;
    for (uint32_t left = 8; left <= 5000; left += left < 48 ? 8 : 1232) {
        WalBuild b;
        build_init(&b, 17, START, 2);
        build_up_to(&b, SECOND - left);
        Lsn spill = build_plain(&b, 20000);
        build_plain(&b, 100);
        WalSegmentCheck c = judge(&b, START);
        assert_true(c.complete && c.spills && !c.switched);
        assert_int_equal(c.ends, SECOND);
        assert_int_equal(c.spill_start, spill);
        c = judge(&b, SECOND);
        assert_true(!c.complete && !c.spills);
        assert_int_equal(c.ends, b.at);
        assert_int_equal(c.first_record, b.prev);
        assert_int_equal(c.header.rem_len, 20000 - left);

        WalScan *s = wal_scan_new(&(WalScanSpec){.seg_size = BUILD_SEG, .from = spill});
        WalRecord r;
        wal_scan_feed(s, START, b.data, BUILD_SEG);
        assert_int_equal(wal_scan_next(s, &r), WAL_MORE);
        assert_int_equal(wal_scan_at(s), spill);
        assert_int_equal(wal_scan_pending(s), left);
        wal_scan_feed(s, SECOND, build_byte(&b, SECOND), BUILD_SEG);
        assert_int_equal(wal_scan_next(s, &r), WAL_RECORD);
        assert_int_equal(r.start, spill);
        assert_int_equal(r.total_len, 20000);
        wal_scan_free(s);
        build_release(&b);
    }
}

static void a_spilling_header_must_be_sane(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        uint32_t left, at, len, value;
        const char *why;
    } cases[] = {
        {"zero length", 8, 0, 4, 0, "no record follows"},
        {"short", 8, 0, 4, 23, "invalid record length 23"},
        {"too long", 8, 0, 4, 0x40000000, "invalid record length"},
        {"link", 16, 8, 4, 0x77, "says that it follows"},
        {"rmgr", 24, 17, 1, 22, "resource manager 22"},
        {"main data longer than the record", 48, 25, 4, 500000, "contradicts itself"},
        {"main data shorter than the record", 48, 25, 4, 5, "contradicts itself"},
        {"block id", 48, 24, 1, 33, "contradicts itself"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        WalBuild b;
        build_init(&b, 17, START, 2);
        build_up_to(&b, SECOND - cases[i].left);
        Lsn spill = build_plain(&b, 20000);
        uint8_t value[4];
        set_u32(value, cases[i].value);
        memcpy(build_byte(&b, spill + cases[i].at), value, cases[i].len);
        WalSegmentCheck c = judge(&b, START);
        if (c.complete || c.spills || c.ends != spill || !strstr(c.why, cases[i].why))
            fail_msg("%s: complete %d, why '%s'", cases[i].what, c.complete, c.why);
        build_release(&b);
    }
}

static void a_segment_may_be_the_middle_of_one_record(void **state)
{
    (void)state;
    WalBuild b;
    build_init(&b, 18, START, 4);
    build_up_to(&b, SECOND - 4096);
    Lsn huge = build_plain(&b, 2 * BUILD_SEG + 100000), last = build_plain(&b, 64);
    WalSegmentCheck c = judge(&b, SECOND);
    assert_true(c.complete && c.spills);
    assert_int_equal(c.spill_start, 0);
    assert_int_equal(c.first_record, 0);
    assert_int_equal(c.ends, SECOND + BUILD_SEG);
    Walk w = walk_from(&b, START, huge);
    assert_int_equal(w.first, huge);
    assert_int_equal(w.last, last);

    /* A page in its middle that says something else about the rest. */
    uint8_t *page = build_byte(&b, SECOND + 5 * WAL_PAGE_SIZE);
    set_u32(page + 16, get_u32(page + 16) - 8);
    c = judge(&b, SECOND);
    assert_false(c.complete || c.spills);
    assert_int_equal(c.ends, SECOND);
    assert_non_null(strstr(c.why, "continues a record with"));
    w = walk_from(&b, START, huge);
    assert_int_equal(w.records, 0);
    assert_int_equal(w.at, huge);
    assert_non_null(strstr(w.why, "does not continue"));

    /* One that states the right rest, but does not claim to continue. */
    set_u32(page + 16, get_u32(page + 16) + 8);
    set_u16(page + 2, 0);
    assert_false(judge(&b, SECOND).complete);
    w = walk_from(&b, START, huge);
    assert_int_equal(w.records, 0);
    assert_non_null(strstr(w.why, "does not continue"));
    build_release(&b);
}

static void a_rest_may_fill_the_segment_exactly(void **state)
{
    (void)state;
    uint32_t pages = BUILD_SEG / WAL_PAGE_SIZE,
             room = BUILD_SEG - WAL_PAGE_LONG_HEADER - (pages - 1) * WAL_PAGE_SHORT_HEADER;
    /* With the alignment behind it, too. */
    for (uint32_t less = 0; less < 8; less++) {
        WalBuild b;
        build_init(&b, 15, START, 3);
        build_up_to(&b, SECOND - 64);
        build_plain(&b, 64 + room - less);
        assert_int_equal(b.at, SECOND + BUILD_SEG);
        Lsn next = build_plain(&b, 48);
        WalSegmentCheck c = judge(&b, SECOND);
        assert_true(c.complete && !c.spills && !c.switched);
        assert_int_equal(c.first_record, 0);
        assert_int_equal(c.ends, SECOND + BUILD_SEG);
        assert_int_equal(walk(&b).last, next);
        build_release(&b);
    }
    WalBuild b;
    build_init(&b, 15, START, 3);
    build_up_to(&b, SECOND - 64);
    build_plain(&b, 64 + room + 1);
    WalSegmentCheck c = judge(&b, SECOND);
    assert_true(c.complete && c.spills);
    build_release(&b);
}

/* The rest of a record fills the first page to its end; then the WAL goes on or stops. */
static void a_rest_may_fill_the_first_page(void **state)
{
    (void)state;
    for (int goes_on = 0; goes_on < 2; goes_on++) {
        WalBuild b;
        build_init(&b, 15, START, 2);
        build_up_to(&b, SECOND - 64);
        build_plain(&b, 64 + WAL_PAGE_SIZE - WAL_PAGE_LONG_HEADER);
        Lsn end = SECOND + WAL_PAGE_SIZE;
        assert_int_equal(b.at, end);
        if (goes_on)
            build_plain(&b, 50);
        WalSegmentCheck c = judge(&b, SECOND);
        assert_false(c.complete);
        assert_int_equal(c.first_record, goes_on ? end + WAL_PAGE_SHORT_HEADER : 0);
        assert_int_equal(c.ends, b.at);
        build_release(&b);
    }
}

static void a_switch_ends_a_segment(void **state)
{
    (void)state;
    WalBuild b;
    build_init(&b, 16, START, 2);
    build_plain(&b, 100);
    Lsn at = build_switch(&b), end = at + WAL_RECORD_HEADER;
    assert_int_equal(b.at, SECOND);
    Lsn next = build_plain(&b, 60);
    WalSegmentCheck c = judge(&b, START);
    assert_true(c.complete && c.switched && !c.spills);
    assert_int_equal(c.ends, end);
    Walk w = walk(&b);
    assert_int_equal(w.records, 3);
    assert_int_equal(w.last, next);
    /* What stands behind it is not WAL. */
    static const Lsn offsets[] = {0, 8191, BUILD_SEG / 2};
    for (size_t i = 0; i < ARRAY_LEN(offsets) + 1; i++) {
        Lsn garbage = i < ARRAY_LEN(offsets) ? end + offsets[i] : SECOND - 1;
        *build_byte(&b, garbage) = 1;
        c = judge(&b, START);
        assert_true(!c.complete && c.switched);
        assert_int_equal(c.ends, end);
        assert_non_null(strstr(c.why, "not zero"));
        *build_byte(&b, garbage) = 0;
    }
    assert_int_equal(judge(&b, START).complete, true);
    build_release(&b);
}

static void a_switch_may_be_split_between_segments(void **state)
{
    (void)state;
    for (uint32_t left = 8; left <= 16; left += 8) {
        WalBuild b;
        build_init(&b, 14, START, 3);
        build_up_to(&b, SECOND - left);
        Lsn at = build_switch(&b);
        assert_int_equal(b.at, SECOND + BUILD_SEG);
        WalSegmentCheck c = judge(&b, START);
        assert_true(c.complete && c.spills && !c.switched);
        assert_int_equal(c.spill_start, at);
        c = judge(&b, SECOND);
        assert_true(c.complete && c.switched && !c.spills);
        assert_int_equal(c.first_record, 0);
        assert_int_equal(c.ends, SECOND + WAL_PAGE_LONG_HEADER + 24 - left);
        Lsn next = build_plain(&b, 60);
        assert_int_equal(walk(&b).last, next);

        /* Anything else of that length with zeros behind it is an unfinished segment. */
        uint8_t *rest = build_byte(&b, SECOND + WAL_PAGE_LONG_HEADER);
        uint32_t rest_len = 24 - left;
        for (uint32_t i = 0; i < rest_len; i++) {
            rest[i] ^= 0x01;
            /* The low bits of info are not the rmgr's: but the CRC covers them. */
            c = judge(&b, SECOND);
            assert_false(c.complete || c.switched);
            assert_non_null(strstr(c.why, "no record follows"));
            rest[i] ^= 0x01;
        }
        *build_byte(&b, SECOND + BUILD_SEG - 1) = 1;
        assert_false(judge(&b, SECOND).complete);
        build_release(&b);
    }
}

static void a_padded_tail_is_not_complete(void **state)
{
    (void)state;
    WalBuild b;
    build_init(&b, 15, START, 1);
    Lsn ends[2000];
    size_t n = 0;
    while (b.at < SECOND - 3000) {
        build_plain(&b, 300 + (uint32_t)(n * 37 % 2500) / 8 * 8);
        ends[n++] = b.at;
    }
    /* Cut anywhere: what remains is the last record that is whole. */
    uint8_t *copy = malloc(BUILD_SEG);
    for (size_t cut = WAL_PAGE_LONG_HEADER; cut < ends[n - 1] - START; cut += 997) {
        memcpy(copy, b.data, cut);
        memset(copy + cut, 0, BUILD_SEG - cut);
        WalSegmentCheck c;
        expect_ok(wal_segment_check(copy, BUILD_SEG, START, NULL, NULL, &c, err));
        assert_false(c.complete || c.spills || c.switched);
        assert_true(c.why[0] != '\0');
        Lsn want = START;
        for (size_t i = 0; i < n && ends[i] <= START + cut + 7; i++)
            want = ends[i];
        /* Zeros may be what the last bytes of a record were, here they are not. */
        assert_true(c.ends == want || (want > START + cut && c.ends < want));
    }
    free(copy);
    build_release(&b);
}

static void build_overwrite(WalBuild *b, Lsn overwritten)
{
    uint8_t data[16] = {0};
    set_u64(data, overwritten);
    build_record(b, RMGR_XLOG, 0xD0, data, 24 + 2 + 16);
}

static void a_lost_record_is_voided(void **state)
{
    (void)state;
    for (int wrong = 0; wrong < 3; wrong++) {
        WalBuild b;
        build_init(&b, 15, START, 2);
        build_up_to(&b, SECOND - 128);
        Lsn last = b.prev, lost = build_plain(&b, 30000);
        /* The second page of what it wrote is gone, and the server goes on there. */
        memset(build_byte(&b, SECOND), 0, BUILD_SEG);
        b.at = SECOND;
        b.prev = last;
        b.page_flags = WAL_PAGE_OVERWRITES;
        if (wrong == 1)
            build_plain(&b, 100);
        else
            build_overwrite(&b, wrong == 2 ? lost + 8 : lost);
        Lsn next = build_plain(&b, 100);
        WalSegmentCheck c = judge(&b, START);
        assert_true(c.complete && c.spills);
        assert_int_equal(judge(&b, SECOND).first_record, SECOND + WAL_PAGE_LONG_HEADER);
        Walk w = walk(&b);
        if (wrong) {
            assert_int_equal(w.last, last);
            assert_int_equal(w.at, SECOND);
            assert_non_null(strstr(w.why, "should void"));
        } else {
            assert_int_equal(w.last, next);
        }
        build_release(&b);
    }
}

/* The same inside a segment, while the start of the scan lies in the lost record. */
static void a_scan_may_start_in_a_lost_record(void **state)
{
    (void)state;
    WalBuild b;
    build_init(&b, 13, START, 1);
    build_plain(&b, 100);
    Lsn last = b.prev, lost = build_plain(&b, 50000), page = START + 3 * WAL_PAGE_SIZE;
    memset(build_byte(&b, page), 0, SECOND - page);
    b.at = page;
    b.prev = last;
    b.page_flags = WAL_PAGE_OVERWRITES;
    build_overwrite(&b, lost);
    Lsn next = build_plain(&b, 40);
    assert_int_equal(walk(&b).last, next);
    Walk w = walk_from(&b, START + WAL_PAGE_SIZE, 0);
    assert_int_equal(w.records, 2);
    assert_int_equal(w.first, page + WAL_PAGE_SHORT_HEADER);
    build_release(&b);
}

static void a_page_that_does_not_fit_stops_the_scan(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        unsigned page, at, len;
        uint64_t value;
        const char *why;
    } cases[] = {
        {"magic", 2, 0, 2, 0xD106, "magic D106"},
        {"flags", 2, 2, 2, 0x10, "flags 0010"},
        {"timeline", 3, 4, 4, 4, "timeline 4, after timeline 5"},
        {"address", 2, 8, 8, 0x123456000, "belongs to 1/23456000"},
        {"a rest where none is due", 2, 2, 2, WAL_PAGE_CONTINUES, "where one should start"},
        {"system", 128, 24, 8, 1, "another cluster"},
        {"segment size", 128, 32, 4, 16 << 20, "other sizes"},
        {"block size", 128, 36, 4, 32768, "other sizes"},
        {"no long header", 128, 2, 2, 0, "no long header"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        WalBuild b;
        build_init(&b, 15, START, 2);
        b.tli = 5;
        for (unsigned page = 1; page < 140; page++)
            build_up_to(&b, START + (Lsn)page * WAL_PAGE_SIZE);
        assert_int_equal(walk(&b).at, b.at);
        Lsn bad = START + (Lsn)cases[i].page * WAL_PAGE_SIZE;
        uint8_t value[8];
        set_u64(value, cases[i].value);
        memcpy(build_byte(&b, bad) + cases[i].at, value, cases[i].len);
        Walk w = walk(&b);
        if (w.event != WAL_STOP || w.at != bad || !strstr(w.why, cases[i].why))
            fail_msg("%s: at " LSN_FMT ", why '%s'", cases[i].what, LSN_ARG(w.at), w.why);
        build_release(&b);
    }
}

static void the_system_must_be_the_one_asked_for(void **state)
{
    (void)state;
    WalBuild b;
    build_init(&b, 15, START, 1);
    build_plain(&b, 100);
    for (int wrong = 0; wrong < 2; wrong++) {
        WalScan *s = wal_scan_new(
            &(WalScanSpec){.seg_size = BUILD_SEG, .system_id = BUILD_SYSTEM_ID + (unsigned)wrong});
        WalRecord r;
        wal_scan_feed(s, START, b.data, BUILD_SEG);
        assert_int_equal(wal_scan_next(s, &r), wrong ? WAL_STOP : WAL_RECORD);
        wal_scan_free(s);
    }
    WalScan *s =
        wal_scan_new(&(WalScanSpec){.seg_size = BUILD_SEG, .version = pg_version_of_major(16)});
    WalRecord r;
    wal_scan_feed(s, START, b.data, BUILD_SEG);
    assert_int_equal(wal_scan_next(s, &r), WAL_STOP);
    assert_non_null(strstr(wal_scan_why(s), "magic D110"));
    wal_scan_free(s);
    build_release(&b);
}

static void a_timeline_may_begin_inside_a_segment(void **state)
{
    (void)state;
    WalBuild b;
    build_init(&b, 15, START, 1);
    build_up_to(&b, START + 2 * WAL_PAGE_SIZE);
    b.tli = 2;
    build_up_to(&b, SECOND);
    WalSegmentCheck c = judge(&b, START);
    assert_true(c.complete);
    assert_int_equal(c.header.tli, 1);
    WalScan *s = wal_scan_new(&(WalScanSpec){.seg_size = BUILD_SEG});
    WalRecord r;
    wal_scan_feed(s, START, b.data, BUILD_SEG);
    assert_null(wal_scan_version(s));
    assert_int_equal(wal_scan_next(s, &r), WAL_RECORD);
    assert_int_equal(wal_scan_page_tli(s), 1);
    while (wal_scan_next(s, &r) == WAL_RECORD)
        ;
    assert_int_equal(wal_scan_page_tli(s), 2);
    wal_scan_free(s);
    build_release(&b);
}

static void a_record_that_is_not_what_was_written_stops_the_scan(void **state)
{
    (void)state;
    WalBuild b;
    build_init(&b, 15, START, 1);
    Lsn first = build_plain(&b, 100), second = build_plain(&b, 200), last = build_plain(&b, 60);
    assert_int_equal(walk(&b).last, last);
    for (unsigned i = 0; i < 200; i++) {
        *build_byte(&b, second + i) ^= 0x10;
        Walk w = walk(&b);
        assert_int_equal(w.event, WAL_STOP);
        assert_int_equal(w.last, first);
        assert_int_equal(w.at, second);
        *build_byte(&b, second + i) ^= 0x10;
    }
    /* The last one is of the right CRC, but follows another. */
    b.prev = first;
    b.at = last;
    build_plain(&b, 60);
    Walk w = walk(&b);
    assert_int_equal(w.last, second);
    assert_non_null(strstr(w.why, "says that it follows"));
    build_release(&b);
}

static void the_first_record_may_be_chosen(void **state)
{
    (void)state;
    WalBuild b;
    build_init(&b, 15, START, 1);
    Lsn starts[300];
    for (unsigned i = 0; i < ARRAY_LEN(starts); i++)
        starts[i] = build_plain(&b, 104);
    for (unsigned i = 0; i < ARRAY_LEN(starts); i += 11) {
        assert_int_equal(walk_from(&b, START, starts[i]).first, starts[i]);
        assert_int_equal(walk_from(&b, START, starts[i] - 8).first, starts[i]);
        assert_int_equal(walk_from(&b, START, starts[i]).records, ARRAY_LEN(starts) - i);
        Lsn page = starts[i] / WAL_PAGE_SIZE * WAL_PAGE_SIZE;
        if (starts[i] > page + 200)
            assert_int_equal(walk_from(&b, page, starts[i]).first, starts[i]);
    }
    build_release(&b);
}

static void pages_must_follow_each_other(void **state)
{
    (void)state;
    WalBuild b;
    build_init(&b, 15, START, 1);
    build_up_to(&b, START + 10 * WAL_PAGE_SIZE);
    WalRecord r;
    WalScan *s = wal_scan_new(&(WalScanSpec){.seg_size = BUILD_SEG});
    assert_int_equal(wal_scan_next(s, &r), WAL_MORE);
    wal_scan_feed(s, START, b.data, 2 * WAL_PAGE_SIZE + 100);
    assert_int_equal(wal_scan_next(s, &r), WAL_RECORD);
    assert_int_equal(wal_scan_next(s, &r), WAL_RECORD);
    assert_int_equal(wal_scan_next(s, &r), WAL_MORE);
    assert_int_equal(wal_scan_next(s, &r), WAL_MORE);
    wal_scan_feed(s, START + 2 * WAL_PAGE_SIZE, b.data + 2 * WAL_PAGE_SIZE, WAL_PAGE_SIZE);
    assert_int_equal(wal_scan_next(s, &r), WAL_RECORD);
    assert_int_equal(wal_scan_next(s, &r), WAL_MORE);
    wal_scan_feed(s, START + 4 * WAL_PAGE_SIZE, b.data + 4 * WAL_PAGE_SIZE, WAL_PAGE_SIZE);
    assert_int_equal(wal_scan_next(s, &r), WAL_STOP);
    assert_non_null(strstr(wal_scan_why(s), "does not follow"));
    wal_scan_free(s);
    build_release(&b);
}

static void what_is_no_segment_is_refused(void **state)
{
    (void)state;
    WalBuild b;
    build_init(&b, 15, START, 2);
    build_up_to(&b, SECOND);
    WalSegmentCheck c;
    WalSegmentHeader h;
    expect_err(ERR_DAMAGED, "only 39 bytes", wal_segment_header(b.data, 39, &h, err));
    expect_err(ERR_DAMAGED, "begins with zeros",
               wal_segment_check(b.data + BUILD_SEG, BUILD_SEG, SECOND, NULL, NULL, &c, err));
    expect_err(ERR_MISMATCH, "holds 0/300000, not 0/400000",
               wal_segment_check(b.data, BUILD_SEG, SECOND, NULL, NULL, &c, err));
    expect_err(ERR_DAMAGED, "has 2097152 bytes",
               wal_segment_check(b.data, 2 * BUILD_SEG, START, NULL, NULL, &c, err));
    static const struct {
        unsigned at, len;
        uint64_t value;
        ErrCode code;
        const char *message;
    } cases[] = {
        {0, 2, 0x4D5A, ERR_DAMAGED, "begins with 4D5A"},
        {0, 2, 0xD101, ERR_VERSION, "magic D101"},
        {0, 2, 0xD119, ERR_VERSION, "magic D119"},
        {2, 2, 0, ERR_DAMAGED, "flags 0000"},
        {2, 2, 0x8002, ERR_DAMAGED, "flags 8002"},
        {4, 4, 0, ERR_DAMAGED, "timeline 0"},
        {8, 8, START + 8192, ERR_DAMAGED, "position 0/302000"},
        {32, 4, 3 << 20, ERR_DAMAGED, "segment size of 3145728"},
        {32, 4, 1 << 19, ERR_DAMAGED, "segment size of 524288"},
        {36, 4, 16384, ERR_VERSION, "blocks of 16384"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t first[WAL_PAGE_LONG_HEADER], value[8];
        memcpy(first, b.data, sizeof(first));
        set_u64(value, cases[i].value);
        memcpy(first + cases[i].at, value, cases[i].len);
        expect_err(cases[i].code, cases[i].message,
                   wal_segment_header(first, sizeof(first), &h, err));
    }
    build_release(&b);
}

static ErrCode refuse(void *arg, const WalRecord *r, Err *err)
{
    (void)r;
    return --*(int *)arg ? ERR_OK : err_set(err, ERR_CANCELLED, "enough");
}

static void the_callback_may_refuse(void **state)
{
    (void)state;
    WalBuild b;
    build_init(&b, 15, START, 1);
    for (int i = 0; i < 10; i++)
        build_plain(&b, 100);
    WalSegmentCheck c;
    int calls = 4;
    expect_err(ERR_CANCELLED, "enough",
               wal_segment_check(b.data, BUILD_SEG, START, refuse, &calls, &c, err));
    calls = 11;
    expect_ok(wal_segment_check(b.data, BUILD_SEG, START, refuse, &calls, &c, err));
    assert_int_equal(calls, 1);
    build_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_of_all_lengths_cross_pages),
        cmocka_unit_test(headers_split_at_page_ends),
        cmocka_unit_test(a_segment_may_end_with_a_record),
        cmocka_unit_test(a_segment_may_end_inside_a_record),
        cmocka_unit_test(a_spilling_header_must_be_sane),
        cmocka_unit_test(a_segment_may_be_the_middle_of_one_record),
        cmocka_unit_test(a_rest_may_fill_the_segment_exactly),
        cmocka_unit_test(a_rest_may_fill_the_first_page),
        cmocka_unit_test(a_switch_ends_a_segment),
        cmocka_unit_test(a_switch_may_be_split_between_segments),
        cmocka_unit_test(a_padded_tail_is_not_complete),
        cmocka_unit_test(a_lost_record_is_voided),
        cmocka_unit_test(a_scan_may_start_in_a_lost_record),
        cmocka_unit_test(a_page_that_does_not_fit_stops_the_scan),
        cmocka_unit_test(the_system_must_be_the_one_asked_for),
        cmocka_unit_test(a_timeline_may_begin_inside_a_segment),
        cmocka_unit_test(a_record_that_is_not_what_was_written_stops_the_scan),
        cmocka_unit_test(the_first_record_may_be_chosen),
        cmocka_unit_test(pages_must_follow_each_other),
        cmocka_unit_test(what_is_no_segment_is_refused),
        cmocka_unit_test(the_callback_may_refuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
