/* pg_control against pg_controldata; pages and their checksums against real ones. */

#include <fcntl.h>
#include <pthread.h>

#include "lib/common/bytes.h"
#include "lib/common/digest.h"
#include "lib/pg/control.h"
#include "lib/pg/page.h"
#include "tests/unit/unit.h"
#include "tests/unit/wal_fixture.h"

/* The value that pg_controldata printed behind `name`. */
static const char *said(const Buf *text, const char *name)
{
    static char value[256];
    char key[128];
    snprintf(key, sizeof(key), "\n%s:", name);
    const char *at = strstr((const char *)text->data, key);
    if (!at)
        fail_msg("pg_controldata does not say '%s'", name);
    at += strlen(key);
    at += strspn(at, " ");
    snprintf(value, sizeof(value), "%.*s", (int)strcspn(at, "\n"), at);
    return value;
}

static void expect_number(const Buf *text, const char *name, uint64_t got)
{
    if (strtoull(said(text, name), NULL, 10) != got)
        fail_msg("%s is %s, not %llu", name, said(text, name), (unsigned long long)got);
}

static void expect_lsn(const Buf *text, const char *name, Lsn got)
{
    char lsn[LSN_TEXT_LEN];
    assert_string_equal(said(text, name), lsn_format(got, lsn));
}

static void expect_time(const Buf *text, const char *name, TimeUs got)
{
    char want[64];
    time_t t = (time_t)(got / US_PER_SECOND);
    struct tm tm;
    strftime(want, sizeof(want), "%a %b %e %H:%M:%S %Y", gmtime_r(&t, &tm));
    /* %c of the C locale */
    assert_string_equal(said(text, name), want);
}

static void expect_switch(const Buf *text, const char *name, bool got)
{
    assert_string_equal(said(text, name), got ? "on" : "off");
}

static void compare(const PgControl *c, const Buf *text)
{
    static const char *const levels[] = {"minimal", "replica", "logical"};
    char xid[64];
    expect_number(text, "Catalog version number", c->catalog_version);
    expect_number(text, "Database system identifier", c->system_id);
    assert_string_equal(said(text, "Database cluster state"), pg_state_name(c->state));
    expect_time(text, "pg_control last modified", c->time);
    expect_lsn(text, "Latest checkpoint location", c->checkpoint);
    expect_lsn(text, "Latest checkpoint's REDO location", c->redo);
    expect_number(text, "Latest checkpoint's TimeLineID", c->checkpoint_tli);
    expect_number(text, "Latest checkpoint's PrevTimeLineID", c->checkpoint_prev_tli);
    expect_switch(text, "Latest checkpoint's full_page_writes", c->full_page_writes);
    snprintf(xid, sizeof(xid), "%u:%u", (uint32_t)(c->next_xid >> 32), (uint32_t)c->next_xid);
    assert_string_equal(said(text, "Latest checkpoint's NextXID"), xid);
    expect_time(text, "Time of latest checkpoint", c->checkpoint_time);
    expect_lsn(text, "Minimum recovery ending location", c->min_recovery_point);
    expect_number(text, "Min recovery ending loc's timeline", c->min_recovery_tli);
    expect_lsn(text, "Backup start location", c->backup_start);
    expect_lsn(text, "Backup end location", c->backup_end);
    assert_string_equal(said(text, "End-of-backup record required"),
                        c->backup_end_required ? "yes" : "no");
    assert_string_equal(said(text, "wal_level setting"), levels[c->wal_level]);
    expect_switch(text, "wal_log_hints setting", c->wal_log_hints);
    expect_number(text, "max_connections setting", (uint64_t)c->max_connections);
    expect_number(text, "max_worker_processes setting", (uint64_t)c->max_worker_processes);
    expect_number(text, "max_wal_senders setting", (uint64_t)c->max_wal_senders);
    expect_number(text, "max_prepared_xacts setting", (uint64_t)c->max_prepared_xacts);
    expect_number(text, "max_locks_per_xact setting", (uint64_t)c->max_locks_per_xact);
    expect_number(text, "Database block size", c->block_size);
    expect_number(text, "Blocks per segment of large relation", c->rel_seg_blocks);
    expect_number(text, "WAL block size", c->wal_block_size);
    expect_number(text, "Bytes per WAL segment", c->wal_segment_size);
    expect_number(text, "Data page checksum version", c->data_checksum_version);
}

static void control_is_what_pg_controldata_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fixture_majors); i++) {
        Buf raw = fixture_file(fixture_majors[i], "control"),
            text = fixture_file(fixture_majors[i], "controldata");
        buf_str(&text);
        PgControl c;
        expect_ok(control_parse(raw.data, raw.len, &c, err));
        assert_int_equal(c.version->major, fixture_majors[i]);
        compare(&c, &text);
        assert_int_equal(c.wal_segment_size, FIXTURE_SEG);
        buf_release(&raw);
        buf_release(&text);
    }
}

/* Fields that are zero in the files above: each at its place, and none at another's. */
static void every_field_has_its_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fixture_majors); i++) {
        Buf raw = fixture_file(fixture_majors[i], "control");
        uint32_t crc_at = fixture_majors[i] == 18 ? 292 : 288;
        set_u64(raw.data + 136, 0x111);
        set_u32(raw.data + 144, 7);
        set_u64(raw.data + 152, 0x222);
        set_u64(raw.data + 160, 0x333);
        raw.data[168] = 1;
        raw.data[176] = 1;
        set_u32(raw.data + 16, PG_STATE_IN_ARCHIVE_RECOVERY);
        set_u32(raw.data + 252, 0);
        set_u32(raw.data + crc_at, crc32c(0, raw.data, crc_at));
        PgControl c;
        expect_ok(control_parse(raw.data, crc_at + 4, &c, err));
        assert_true(c.min_recovery_point == 0x111 && c.min_recovery_tli == 7);
        assert_true(c.backup_start == 0x222 && c.backup_end == 0x333 && c.backup_end_required);
        assert_true(c.wal_log_hints && c.data_checksum_version == 0);
        assert_string_equal(pg_state_name(c.state), "in archive recovery");
        buf_release(&raw);
    }
}

static void damaged_control_is_refused(void **state)
{
    (void)state;
    PgControl c;
    for (size_t i = 0; i < ARRAY_LEN(fixture_majors); i++) {
        Buf raw = fixture_file(fixture_majors[i], "control");
        size_t used = fixture_majors[i] == 18 ? 296 : 292;
        for (size_t at = 16; at < used; at++) {
            raw.data[at] ^= 4;
            expect_err(ERR_DAMAGED, "checksum", control_parse(raw.data, raw.len, &c, err));
            raw.data[at] ^= 4;
        }
        for (size_t len = 0; len < used; len += 17) {
            uint8_t *exact = malloc(len + 1);
            memcpy(exact, raw.data, len);
            expect_err(ERR_DAMAGED, "has only", control_parse(exact, len, &c, err));
            free(exact);
        }
        buf_release(&raw);
    }
    Buf raw = fixture_file(15, "control");
    set_u32(raw.data + 8, 1201);
    expect_err(ERR_VERSION, "control version 1201", control_parse(raw.data, raw.len, &c, err));
    set_u32(raw.data + 8, 1300);
    set_u32(raw.data + 12, 202209062);
    expect_err(ERR_VERSION, "catalog version 202209062", control_parse(raw.data, raw.len, &c, err));
    set_u32(raw.data + 8, 0);
    expect_err(ERR_DAMAGED, "states the version 0", control_parse(raw.data, raw.len, &c, err));
    buf_release(&raw);
}

typedef struct Writer {
    const char *path;
    const Buf *raw;
} Writer;

static void *repair_later(void *arg)
{
    const Writer *w = arg;
    time_sleep(150000);
    int fd = open(w->path, O_WRONLY);
    if (fd >= 0) {
        if (write(fd, w->raw->data, w->raw->len) < 0)
            abort();
        close(fd);
    }
    return NULL;
}

static void a_torn_read_is_repeated(void **state)
{
    (void)state;
    char dir[] = "/tmp/pgdr-test-XXXXXX", path[128];
    assert_non_null(mkdtemp(dir));
    PgControl c;
    expect_err(ERR_NOT_FOUND, "global/pg_control", control_read(dir, &c, NULL, err));
    snprintf(path, sizeof(path), "%s/global", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/global/pg_control", dir);

    Buf raw = fixture_file(17, "control"), torn = {0}, got = {0};
    buf_append(&torn, raw.data, raw.len);
    torn.data[40] ^= 1;
    expect_ok(file_replace(path, torn.data, torn.len, 0600, err));
    TimeUs before = time_monotonic();
    expect_err(ERR_DAMAGED, "checksum", control_read(dir, &c, &got, err));
    assert_true(time_monotonic() - before >= US_PER_SECOND);
    assert_int_equal(got.len, 0);

    pthread_t thread;
    Writer w = {.path = path, .raw = &raw};
    assert_int_equal(pthread_create(&thread, NULL, repair_later, &w), 0);
    expect_ok(control_read(dir, &c, &got, err));
    pthread_join(thread, NULL);
    assert_int_equal(got.len, PG_CONTROL_FILE_SIZE);
    assert_memory_equal(got.data, raw.data, raw.len);
    assert_int_equal(c.version->major, 17);

    expect_ok(dir_remove_tree(dir, false, err));
    buf_release(&raw);
    buf_release(&torn);
    buf_release(&got);
}

/* --- pages --- */

#define PAGE 8192

static void real_pages_are_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fixture_majors); i++) {
        Buf pages = fixture_zst(fixture_majors[i], "pages.zst");
        assert_true(pages.len >= 4 * PAGE);
        for (uint32_t n = 0; n < pages.len / PAGE; n++) {
            uint8_t *p = pages.data + (size_t)n * PAGE;
            assert_int_equal(page_checksum(p, PAGE, n), get_u16(p + 8));
            assert_int_equal(page_check(p, PAGE, n, true), PAGE_GOOD);
            assert_int_equal(page_check(p, PAGE, n + 1, true), PAGE_DAMAGED);
            assert_int_equal(page_check(p, PAGE, n + 1, false), PAGE_GOOD);
            assert_true(page_lsn(p) > 0x100000 && page_lsn(p) < 0x10000000);
            /* Not aligned, and nothing behind it. */
            uint8_t *exact = malloc(PAGE + 3);
            memcpy(exact + 3, p, PAGE);
            assert_int_equal(page_check(exact + 3, PAGE, n, true), PAGE_GOOD);
            for (size_t at = 3 + n; at < PAGE + 3; at += 301) {
                exact[at] ^= 0x40;
                assert_int_equal(page_check(exact + 3, PAGE, n, true), PAGE_DAMAGED);
                exact[at] ^= 0x40;
            }
            free(exact);
        }
        buf_release(&pages);
    }
}

static void headers_tell_without_checksums(void **state)
{
    (void)state;
    Buf pages = fixture_zst(15, "pages.zst");
    uint8_t page[PAGE] = {0};
    assert_int_equal(page_check(page, PAGE, 0, true), PAGE_NEW);
    assert_int_equal(page_check(page, PAGE, 0, false), PAGE_NEW);
    for (size_t at = 0; at < PAGE; at += 97) {
        page[at] = 1;
        assert_int_equal(page_check(page, PAGE, 0, false), PAGE_DAMAGED);
        page[at] = 0;
    }
    static const struct {
        unsigned at;
        uint16_t value;
    } bad[] = {{10, 0x0008}, {10, 0x8000}, {12, 8193}, {14, 0},
               {14, 8193},   {16, 0},      {16, 8188}, {16, 8200}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        memcpy(page, pages.data, PAGE);
        assert_int_equal(page_check(page, PAGE, 0, false), PAGE_GOOD);
        set_u16(page + bad[i].at, bad[i].value);
        assert_int_equal(page_check(page, PAGE, 0, false), PAGE_DAMAGED);
        /* Also when the checksum is of this. */
        set_u16(page + 8, page_checksum(page, PAGE, 0));
        assert_int_equal(page_check(page, PAGE, 0, true), PAGE_DAMAGED);
    }
    memcpy(page, pages.data, PAGE);
    set_u32(page, 0x12);
    set_u32(page + 4, 0x34567890);
    assert_int_equal(page_lsn(page), UINT64_C(0x1234567890));
    assert_int_equal(page_check(page, 100, 0, false), PAGE_DAMAGED);
    buf_release(&pages);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_is_what_pg_controldata_says),
        cmocka_unit_test(every_field_has_its_place),
        cmocka_unit_test(damaged_control_is_refused),
        cmocka_unit_test(a_torn_read_is_repeated),
        cmocka_unit_test(real_pages_are_good),
        cmocka_unit_test(headers_tell_without_checksums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
