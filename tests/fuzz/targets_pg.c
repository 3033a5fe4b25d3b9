/* What lib/pg/ reads from a server's directory. (Pages and records of WAL:
 * tests/unit/test_pg_fuzz.) */

#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "lib/common/bytes.h"
#include "lib/common/digest.h"
#include "lib/common/file.h"
#include "lib/pg/backup_label.h"
#include "lib/pg/control.h"
#include "lib/pg/page.h"
#include "lib/pg/relfile.h"
#include "lib/pg/timeline.h"
#include "lib/pg/version.h"
#include "lib/pg/wal_name.h"

#define SEG_SIZE ((uint32_t)16 << 20)

/* --- pg_control --- */

static void control_samples(FuzzCorpus *c)
{
    static const int majors[] = {13, 15, 17, 18};
    for (size_t i = 0; i < ARRAY_LEN(majors); i++) {
        Buf b AUTO(buf_release) = {0};
        char *path AUTO(mem_freep) = mem_printf("%s/%d.control", TEST_DATA, majors[i]);
        FUZZ_OK(file_read_all(path, MIB, &b, err));
        fuzz_add(c, b.data, b.len);
    }
}

/* The CRC lies behind the last field, at an offset that differs between majors. */
static bool control_run(const uint8_t *data, size_t len)
{
    static const size_t crc_at[] = {284, 288, 292, 296, 252, 256};
    bool good = false;
    Err why;
    PgControl c;
    uint8_t *copy AUTO(mem_freep) = mem_new(len + 1);
    memcpy(copy, data, len);
    for (size_t i = 0; i <= ARRAY_LEN(crc_at); i++) {
        if (i > 0 && crc_at[i - 1] + 4 <= len)
            set_u32(copy + crc_at[i - 1], crc32c(0, copy, crc_at[i - 1]));
        if (control_parse(copy, len, &c, &why) != ERR_OK)
            continue;
        good = true;
        FUZZ_CHECK(c.version && pg_state_name(c.state));
        FUZZ_CHECK(wal_segment_size_valid(c.wal_segment_size));
        FUZZ_CHECK(c.block_size >= 1024 && c.block_size <= 32768 && c.rel_seg_blocks > 0);
    }
    return good;
}

/* --- texts --- */

static char *text_of(const uint8_t *data, size_t len)
{
    return mem_strndup(len ? (const char *)data : "", len);
}

static void label_samples(FuzzCorpus *c)
{
    fuzz_add_text(c, "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n"
                     "CHECKPOINT LOCATION: 0/2000060\nBACKUP METHOD: streamed\n"
                     "BACKUP FROM: standby\nSTART TIME: 2026-11-23 13:00:00 UTC\n"
                     "LABEL: a label\nSTART TIMELINE: 1\n");
    fuzz_add_text(c, "START WAL LOCATION: FF/2000028 (file 00000003000000FF00000002)\n"
                     "CHECKPOINT LOCATION: FF/2000060\n");
}

static bool label_run(const uint8_t *data, size_t len)
{
    Err why;
    BackupLabel l;
    return backup_label_parse((const char *)data, len, &l, &why) == ERR_OK;
}

static void map_samples(FuzzCorpus *c)
{
    fuzz_add_text(c, "16400 /srv/ts1\n16401 /srv/with space\n16402 /srv/back\\\\slash\\\nline\n");
}

static bool map_run(const uint8_t *data, size_t len)
{
    bool good = true;
    for (int major = 13; major <= 14; major++) {
        Err why;
        Buf text AUTO(buf_release) = {0};
        TablespaceList list = {0}, again = {0};
        if (tablespace_map_parse(major, (const char *)data, len, &list, &why) == ERR_OK) {
            tablespace_map_format(major, &list, &text);
            FUZZ_CHECK(tablespace_map_parse(major, buf_str(&text), text.len, &again, &why) ==
                       ERR_OK);
            FUZZ_CHECK(again.n <= list.n);
        } else {
            good = false;
        }
        tablespace_list_release(&list);
        tablespace_list_release(&again);
    }
    return good;
}

static void history_samples(FuzzCorpus *c)
{
    fuzz_add_text(c, "1\t0/5000000\tno recovery target specified\n\n"
                     "2\t0/6000000\tat restore point \"x\"\n");
    fuzz_add_text(c, "# a comment\n1\t0/5000000\tbefore 2026-01-01\n2\t0/4000000\treason\n");
}

static bool history_run(const uint8_t *data, size_t len)
{
    Err why;
    TimelinePath path AUTO(timeline_path_release) = {0}, again AUTO(timeline_path_release) = {0};
    Buf text AUTO(buf_release) = {0};
    if (timeline_parse_history(7, (const char *)data, len, &path, &why) != ERR_OK)
        return false;
    FUZZ_CHECK(path.n > 0 && path.at[path.n - 1].tli == 7 && path.at[path.n - 1].until == 0);
    timeline_path_format(&path, &text);
    FUZZ_CHECK(timeline_path_parse(buf_str(&text), &again, &why) == ERR_OK);
    FUZZ_CHECK(again.n == path.n);
    return true;
}

static void path_samples(FuzzCorpus *c)
{
    fuzz_add_text(c, "1@0/6000000,2@0/9000000,3");
    fuzz_add_text(c, "4294967295");
}

static bool path_run(const uint8_t *data, size_t len)
{
    Err why;
    char *text AUTO(mem_freep) = text_of(data, len);
    TimelinePath path AUTO(timeline_path_release) = {0};
    if (timeline_path_parse(text, &path, &why) != ERR_OK)
        return false;
    for (size_t i = 0; i < path.n; i++)
        FUZZ_CHECK(timeline_contains(&path, path.at[i].tli, timeline_entry(&path, path.at[i].tli)));
    return true;
}

/* --- names --- */

static void name_samples(FuzzCorpus *c)
{
    fuzz_add_text(c, "000000010000000000000005");
    fuzz_add_text(c, "000000010000000000000005.partial");
    fuzz_add_text(c, "000000010000000000000005.00000028.backup");
    fuzz_add_text(c, "00000002.history");
}

static bool name_run(const uint8_t *data, size_t len)
{
    char *text AUTO(mem_freep) = text_of(data, len), back[WAL_NAME_MAX];
    WalName n = wal_name_parse(text, SEG_SIZE);
    if (n.kind == WAL_NAME_SEGMENT)
        FUZZ_CHECK(strcmp(wal_name_segment(n.tli, n.segno, SEG_SIZE, back), text) == 0);
    if (n.kind == WAL_NAME_HISTORY)
        FUZZ_CHECK(strcmp(wal_name_history(n.tli, back), text) == 0);
    return n.kind != WAL_NAME_OTHER;
}

static void lsn_samples(FuzzCorpus *c)
{
    fuzz_add_text(c, "0/3000028");
    fuzz_add_text(c, "FFFFFFFF/FFFFFFFF");
}

static bool lsn_run(const uint8_t *data, size_t len)
{
    Err why;
    Lsn lsn, again;
    char *text AUTO(mem_freep) = text_of(data, len), out[LSN_TEXT_LEN];
    if (lsn_parse(text, &lsn, &why) != ERR_OK)
        return false;
    FUZZ_CHECK(lsn_parse(lsn_format(lsn, out), &again, &why) == ERR_OK && again == lsn);
    return true;
}

static void relfile_samples(FuzzCorpus *c)
{
    fuzz_add_text(c, "base/5/1259_vm.1");
    fuzz_add_text(c, "global/1262");
    fuzz_add_text(c, "pg_tblspc/16400/PG_15_202209061/5/16401");
    fuzz_add_text(c, "base/5/t3_16401");
}

static bool relfile_run(const uint8_t *data, size_t len)
{
    RelFile f;
    char *text AUTO(mem_freep) = text_of(data, len);
    (void)data_rule(text, false);
    (void)data_rule(text, true);
    return relfile_parse(text, &f);
}

static void page_samples(FuzzCorpus *c)
{
    uint8_t page[8192] = {0};
    fuzz_add(c, page, sizeof(page));
    set_u16(page + 12, 24);   /* lower */
    set_u16(page + 14, 8192); /* upper */
    set_u16(page + 16, 8192); /* special */
    set_u16(page + 18, 8192 | 4);
    set_u16(page + 8, page_checksum(page, sizeof(page), 3));
    fuzz_add(c, page, sizeof(page));
}

static bool page_run(const uint8_t *data, size_t len)
{
    if (len < 1024 || len % 1024)
        return false;
    (void)page_lsn(data);
    PageState with = page_check(data, len, 3, true), without = page_check(data, len, 3, false);
    FUZZ_CHECK(without != PAGE_DAMAGED || with == PAGE_DAMAGED);
    return with != PAGE_DAMAGED;
}

const FuzzTarget fuzz_targets[] = {
    {"control", control_samples, control_run, 0},
    {"backup-label", label_samples, label_run, 0},
    {"tablespace-map", map_samples, map_run, 0},
    {"history", history_samples, history_run, 0},
    {"timeline-path", path_samples, path_run, 0},
    {"wal-name", name_samples, name_run, 0},
    {"lsn", lsn_samples, lsn_run, 0},
    {"relfile", relfile_samples, relfile_run, 0},
    {"page", page_samples, page_run, 0},
};
const size_t fuzz_targets_n = ARRAY_LEN(fuzz_targets);
