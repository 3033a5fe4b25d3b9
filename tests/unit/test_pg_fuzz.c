/*
 * The WAL parsers on damaged bytes: real WAL, changed by a fixed sequence of random numbers. The
 * memory is of exactly the right size, so that AddressSanitizer sees any step outside; what comes
 * out must keep the promises of the headers.
 */

#include "lib/common/bytes.h"
#include "lib/common/digest.h"
#include "lib/pg/wal_record.h"
#include "tests/unit/unit.h"
#include "tests/unit/wal_fixture.h"

#define WINDOW (8 * WAL_PAGE_SIZE)
#define WINDOWS_PER_VERSION 4000
#define SEGMENTS_PER_VERSION 60
#define RECORDS_PER_VERSION 3000

static uint64_t random_state = 88172645463325252u;

static uint32_t random_below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 16) % n;
}

static const uint32_t interesting[] = {0,          1,          7,     8,          23,
                                       24,         25,         8191,  8192,       0x7FFFFFFF,
                                       0x80000000, 0xFFFFFFFF, 0xFFF, 0x3FFFFFFF, 0x40000000};

/* One change somewhere; every third time in a page header. */
static void mutate(uint8_t *p, size_t len)
{
    size_t at = random_below((uint32_t)len);
    if (random_below(3) == 0)
        at = at / WAL_PAGE_SIZE * WAL_PAGE_SIZE + random_below(WAL_PAGE_LONG_HEADER);
    switch (random_below(5)) {
    case 0:
        p[at] ^= (uint8_t)(1u << random_below(8));
        break;
    case 1:
        p[at] = (uint8_t)random_below(256);
        break;
    case 2:
        if (at + 4 <= len)
            set_u32(p + at, interesting[random_below(ARRAY_LEN(interesting))]);
        break;
    case 3: { /* bytes from elsewhere */
        size_t n = random_below(300), from = random_below((uint32_t)len);
        n = MIN(n, MIN(len - at, len - from));
        memmove(p + at, p + from, n);
        break;
    }
    default: {
        size_t n = random_below(20000);
        memset(p + at, 0, MIN(len - at, n));
        break;
    }
    }
}

/* Every reader of single records; what they borrow must lie in the record. */
static uint64_t read_everything(const PgVersion *v, const WalRecord *r)
{
    uint64_t sum = 0;
    WalXact x;
    WalCheckpoint k;
    TimeUs t;
    char name[64];
    Lsn lsn;
    WalParameters p;
    WalEndOfRecovery e;
    WalDatabase d;
    bool create;
    uint32_t n, m;
    const char *path;
    const uint8_t *items;
    RelLocator rel;
    uint8_t fork;
    int flags;
    for (uint32_t i = 0; i < r->main_len; i++)
        sum += r->main_data[i];
    if (wal_record_xact(v, r, &x)) {
        for (uint32_t i = 0; i < x.n_subxids; i++)
            sum += get_u32(x.subxids + i * 4);
        for (uint32_t i = 0; i < x.n_dropped * 3; i++)
            sum += get_u32(x.dropped + i * 4);
    }
    if (wal_record_database(v, r, &d))
        for (uint32_t i = 0; i < d.n_spcs; i++)
            sum += get_u32(d.spcs + i * 4);
    if (wal_record_assignment(r, &n, &m, &items))
        for (uint32_t i = 0; i < m; i++)
            sum += get_u32(items + i * 4);
    if (wal_record_tablespace(r, &create, &n, &path))
        sum += strlen(path);
    if (wal_record_restore_point(r, &t, name))
        sum += strlen(name);
    sum += wal_record_checkpoint(v, r, &k) + wal_record_backup_end(r, &lsn) +
           wal_record_parameters(r, &p) + wal_record_end_of_recovery(r, &e) +
           wal_record_smgr_create(r, &rel, &fork) + wal_record_smgr_truncate(r, &rel, &n, &flags) +
           wal_record_is_unknown_special(v, r) + wal_record_is_switch(r);
    return sum;
}

static void scan_window(const uint8_t *bytes, size_t len, Lsn start, bool from_middle)
{
    WalScan *s = wal_scan_new(
        &(WalScanSpec){.seg_size = FIXTURE_SEG, .from = from_middle ? start + len / 2 : 0});
    WalRecord r;
    WalEvent event = WAL_MORE;
    Lsn last = 0;
    size_t records = 0;
    for (size_t at = 0; at < len && event == WAL_MORE;) {
        size_t piece = (1 + random_below(4)) * (size_t)WAL_PAGE_SIZE;
        piece = MIN(len - at, piece);
        uint8_t *exact = malloc(piece);
        memcpy(exact, bytes + at, piece);
        wal_scan_feed(s, start + at, exact, piece);
        while ((event = wal_scan_next(s, &r)) == WAL_RECORD) {
            assert_true(r.start > last && r.end > r.start && r.start % 8 == 0 && r.end % 8 == 0);
            assert_true(r.total_len >= 24 && r.n_blocks <= WAL_BLOCKS_MAX);
            assert_true(r.main_len <= r.total_len && wal_scan_at(s) == r.end);
            read_everything(wal_scan_version(s), &r);
            last = r.start;
            records++;
        }
        free(exact);
        at += piece;
    }
    assert_true(records <= len / 24);
    if (event == WAL_STOP)
        assert_true(wal_scan_why(s)[0] != '\0');
    wal_scan_free(s);
}

static void damaged_pages(void **state)
{
    (void)state;
    for (size_t m = 0; m < ARRAY_LEN(fixture_majors); m++) {
        Buf wal = fixture_zst(fixture_majors[m], "wal.zst");
        uint8_t *window = malloc(WINDOW);
        for (int i = 0; i < WINDOWS_PER_VERSION; i++) {
            /* Mostly where the records are small and many. */
            size_t at = random_below((uint32_t)((i % 4 ? 2 * FIXTURE_SEG : wal.len) / WINDOW));
            memcpy(window, wal.data + at * WINDOW, WINDOW);
            Lsn start = get_u64(window + 8);
            for (uint32_t k = random_below(4) + 1; k > 0; k--)
                mutate(window, WINDOW);
            scan_window(window, WINDOW, start / WAL_PAGE_SIZE * WAL_PAGE_SIZE, i % 5 == 0);
        }
        free(window);
        buf_release(&wal);
    }
}

/* Whole segments: whatever is damaged, "complete" is said only if every record in it is right. */
static void damaged_segments(void **state)
{
    (void)state;
    size_t still_complete = 0;
    for (size_t m = 0; m < ARRAY_LEN(fixture_majors); m++) {
        Buf wal = fixture_zst(fixture_majors[m], "wal.zst");
        uint8_t *copy = malloc(FIXTURE_SEG);
        for (int i = 0; i < SEGMENTS_PER_VERSION; i++) {
            const uint8_t *original =
                wal.data + random_below((uint32_t)(wal.len / FIXTURE_SEG)) * FIXTURE_SEG;
            memcpy(copy, original, FIXTURE_SEG);
            mutate(copy, FIXTURE_SEG);
            WalSegmentCheck before, after;
            Lsn start = get_u64(original + 8);
            Err ignored;
            expect_ok(wal_segment_check(original, FIXTURE_SEG, start, NULL, NULL, &before, err));
            if (wal_segment_check(copy, FIXTURE_SEG, start, NULL, NULL, &after, &ignored) != ERR_OK)
                continue;
            assert_in_range(after.ends, start, start + FIXTURE_SEG);
            if (!after.complete)
                assert_true(after.why[0] != '\0' && after.ends <= before.ends);
            /* Then the damage is where this cannot see it, as the header says. */
            still_complete += after.complete;
        }
        free(copy);
        buf_release(&wal);
    }
    assert_true(still_complete < 4 * SEGMENTS_PER_VERSION);
}

/* Behind the CRC: records whose checksum is right and whose content is nonsense. */
static void nonsense_with_the_right_crc(void **state)
{
    (void)state;
    size_t ok = 0, bad = 0;
    for (size_t m = 0; m < ARRAY_LEN(fixture_majors); m++) {
        Buf wal = fixture_zst(fixture_majors[m], "wal.zst");
        WalScan *s = wal_scan_new(&(WalScanSpec){.seg_size = FIXTURE_SEG});
        wal_scan_feed(s, get_u64(wal.data + 8), wal.data, FIXTURE_SEG);
        WalRecord r;
        for (int i = 0; i < RECORDS_PER_VERSION && wal_scan_next(s, &r) == WAL_RECORD; i++) {
            const uint8_t *bytes = r.main_data + r.main_len - r.total_len;
            for (int k = 0; k < 20; k++) {
                uint32_t len = r.total_len - (k % 4 == 3 ? random_below(r.total_len - 23) : 0);
                uint8_t *exact = malloc(len);
                memcpy(exact, bytes, len);
                if (len > 24)
                    for (uint32_t n = random_below(3) + 1; n > 0; n--)
                        exact[24 + random_below(MIN(len - 24, 60))] = (uint8_t)random_below(256);
                if (k % 5 == 0) {
                    exact[17] = (uint8_t)random_below(6);
                    exact[16] = (uint8_t)random_below(256);
                }
                uint32_t total = k % 7 == 6 ? len + random_below(5000) : len;
                WalRecord got;
                WalDecode d = wal_record_decode(wal_scan_version(s), exact, len, total, &got);
                if (d == WAL_DECODE_OK && total == len)
                    read_everything(wal_scan_version(s), &got);
                ok += d == WAL_DECODE_OK;
                bad += d == WAL_DECODE_BAD;
                free(exact);
            }
        }
        wal_scan_free(s);
        buf_release(&wal);
    }
    assert_true(ok > 10000 && bad > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_pages),
        cmocka_unit_test(damaged_segments),
        cmocka_unit_test(nonsense_with_the_right_crc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
