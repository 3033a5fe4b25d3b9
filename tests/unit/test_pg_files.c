/* LSNs, names, timelines, backup_label, tablespace_map, what files are. */

#include "lib/pg/backup_label.h"
#include "lib/pg/relfile.h"
#include "lib/pg/timeline.h"
#include "lib/pg/wal_name.h"
#include "tests/unit/unit.h"

static void lsns_are_written_as_postgresql_does(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        Lsn lsn;
        const char *back;
    } good[] = {
        {"0/0", 0, "0/0"},
        {"0/3000028", 0x3000028, NULL},
        {"1/0", (Lsn)1 << 32, NULL},
        {"FFFFFFFF/FFFFFFFF", UINT64_MAX, NULL},
        {"a/0000b", (Lsn)10 << 32 | 11, "A/B"},
        {"16/B374D848", UINT64_C(0x16B374D848), NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        Lsn lsn = 1;
        char text[LSN_TEXT_LEN];
        expect_ok(lsn_parse(good[i].text, &lsn, err));
        assert_int_equal(lsn, good[i].lsn);
        assert_string_equal(lsn_format(lsn, text), good[i].back ? good[i].back : good[i].text);
    }
    static const char *const bad[] = {"",     "0",     "/",           "0/",  "/0",   "0/0 ",
                                      " 0/0", "0/0/0", "123456789/0", "0/x", "-1/0", "0/123456789"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        Lsn lsn;
        expect_err(ERR_USAGE, "is not a WAL position", lsn_parse(bad[i], &lsn, err));
    }
    assert_int_equal(time_of_pg(0), INT64_C(946684800000000));
}

static void versions_are_found(void **state)
{
    (void)state;
    /* xlog_internal.h, catversion.h, pg_control.h of the released branches. */
    static const struct {
        int major;
        uint32_t control, catalog;
        uint16_t magic;
    } known[] = {{13, 1300, 202007201, 0xD106}, {14, 1300, 202107181, 0xD10D},
                 {15, 1300, 202209061, 0xD110}, {16, 1300, 202307071, 0xD113},
                 {17, 1700, 202406281, 0xD116}, {18, 1800, 202506291, 0xD118}};
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        const PgVersion *v;
        expect_ok(pg_version_find(known[i].major, &v, err));
        assert_int_equal(v->major, known[i].major);
        assert_ptr_equal(pg_version_of_wal_magic(known[i].magic), v);
        assert_ptr_equal(pg_version_of_catalog(known[i].control, known[i].catalog), v);
    }
    const PgVersion *v;
    char dir[PG_VERSION_DIR_LEN];
    expect_err(ERR_VERSION, "PostgreSQL 12", pg_version_find(12, &v, err));
    expect_err(ERR_VERSION, "PostgreSQL 19", pg_version_find(19, &v, err));
    assert_null(pg_version_of_catalog(1300, 202406281));
    assert_null(pg_version_of_wal_magic(0));
    assert_string_equal(pg_version_dir(pg_version_of_major(15), dir), "PG_15_202209061");
}

static void wal_names(void **state)
{
    (void)state;
    const uint32_t mib = 1 << 20;
    static const struct {
        const char *name;
        unsigned mib;
        WalNameKind kind;
        uint32_t tli;
        uint64_t segno;
    } cases[] = {
        {"000000010000000000000005", 16, WAL_NAME_SEGMENT, 1, 5},
        {"0000000A00000002000000FF", 16, WAL_NAME_SEGMENT, 10, 2 * 256 + 255},
        {"0000000A0000000200000100", 16, WAL_NAME_OTHER, 0, 0},
        {"0000000A0000000200000100", 1, WAL_NAME_SEGMENT, 10, 2 * 4096 + 256},
        {"000000010000000200000FFF", 1, WAL_NAME_SEGMENT, 1, 2 * 4096 + 4095},
        {"000000010000000200001000", 1, WAL_NAME_OTHER, 0, 0},
        {"000000010000000200000003", 1024, WAL_NAME_SEGMENT, 1, 11},
        {"000000010000000200000004", 1024, WAL_NAME_OTHER, 0, 0},
        {"000000010000000000000005.partial", 16, WAL_NAME_PARTIAL, 1, 5},
        {"000000010000000000000005.00000028.backup", 16, WAL_NAME_BACKUP, 1, 5},
        {"000000010000000000000005.01000000.backup", 16, WAL_NAME_OTHER, 0, 0},
        {"000000010000000000000005.0000028.backup", 16, WAL_NAME_OTHER, 0, 0},
        {"00000002.history", 16, WAL_NAME_HISTORY, 2, 0},
        {"00000000.history", 16, WAL_NAME_OTHER, 0, 0},
        {"00000002.history.ready", 16, WAL_NAME_OTHER, 0, 0},
        {"000000000000000000000005", 16, WAL_NAME_OTHER, 0, 0},
        {"00000001000000000000000a", 16, WAL_NAME_OTHER, 0, 0},
        {"00000001000000000000000", 16, WAL_NAME_OTHER, 0, 0},
        {"0000000100000000000000051", 16, WAL_NAME_OTHER, 0, 0},
        {"000000010000000000000005.partial2", 16, WAL_NAME_OTHER, 0, 0},
        {"", 16, WAL_NAME_OTHER, 0, 0},
        {"RECOVERYXLOG", 16, WAL_NAME_OTHER, 0, 0},
        {"archive_status", 16, WAL_NAME_OTHER, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        WalName w = wal_name_parse(cases[i].name, cases[i].mib * mib);
        if (w.kind != cases[i].kind || w.tli != cases[i].tli || w.segno != cases[i].segno)
            fail_msg("%s: kind %d tli %u segno %llu", cases[i].name, w.kind, w.tli,
                     (unsigned long long)w.segno);
        char name[WAL_NAME_MAX];
        if (w.kind == WAL_NAME_SEGMENT)
            assert_string_equal(wal_name_segment(w.tli, w.segno, cases[i].mib * mib, name),
                                cases[i].name);
    }
    char name[WAL_NAME_MAX];
    assert_string_equal(wal_name_history(0x1F, name), "0000001F.history");
    assert_int_equal(wal_name_parse("000000010000000000000005", 0).kind, WAL_NAME_OTHER);
    assert_int_equal(wal_name_parse("00000001.history", 0).kind, WAL_NAME_HISTORY);
    assert_true(wal_segment_size_valid(mib) && wal_segment_size_valid(1024 * (uint64_t)mib));
    assert_false(wal_segment_size_valid(0) || wal_segment_size_valid(3 * mib) ||
                 wal_segment_size_valid(mib / 2) || wal_segment_size_valid((uint64_t)2 << 30));
    assert_int_equal(wal_segno(0x5000000, 16 * mib), 5);
    assert_int_equal(wal_segno_before(0x5000000, 16 * mib), 4);
    assert_int_equal(wal_segno_before(0x5000001, 16 * mib), 5);
    assert_int_equal(wal_segment_start(5, 16 * mib), 0x5000000);
}

/* --- timelines --- */

static TimelinePath history(uint32_t tli, const char *text)
{
    TimelinePath path;
    expect_ok(timeline_parse_history(tli, text, strlen(text), &path, err));
    return path;
}

static void expect_path(const TimelinePath *path, const char *want)
{
    AUTO(buf_release) Buf text = {0};
    timeline_path_format(path, &text);
    assert_string_equal(buf_str(&text), want);
    TimelinePath again;
    expect_ok(timeline_path_parse(want, &again, err));
    assert_int_equal(again.n, path->n);
    for (size_t i = 0; i < path->n; i++)
        assert_true(again.at[i].tli == path->at[i].tli && again.at[i].until == path->at[i].until);
    timeline_path_release(&again);
}

static void histories(void **state)
{
    (void)state;
    static const struct {
        uint32_t tli;
        const char *text, *path;
    } cases[] = {
        {2, "1\t0/60000A0\tno recovery target specified\n", "1@0/60000A0,2"},
        {3, "1\t0/6000000\tbefore 2026-11-23 10:00:00+00\n\n2\t0/9000000\tat restore point \"x\"\n",
         "1@0/6000000,2@0/9000000,3"},
        {7, "# a comment\n\n  3 1/0 x\r\n5 1/8 \n", "3@1/0,5@1/8,7"},
        {2, "", "2"},
        /* As a recovery along timeline 2 to a point before its beginning writes it (seen on 15):
         * timeline 2 has no part in it. */
        {3,
         "1\t0/60000A0\tno recovery target specified\n\n2\t0/3016BF0\tat restore point \"early\"\n",
         "1@0/3016BF0,3"},
        {4, "1\t0/5000000\tx\n2\t0/7000000\ty\n3\t0/4000000\tz\n", "1@0/4000000,4"},
        {5, "1\t0/5000000\tx\n2\t0/7000000\ty\n3\t0/6000000\tz\n4\t0/9000000\tz\n",
         "1@0/5000000,2@0/6000000,4@0/9000000,5"},
        {3, "1\t0/5000000\tx\n2\t0/5000000\tx\n", "1@0/5000000,3"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        TimelinePath path = history(cases[i].tli, cases[i].text);
        expect_path(&path, cases[i].path);
        timeline_path_release(&path);
    }
}

static void broken_histories(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"x\n", "line 1 is not"},
        {"1\n", "line 1 is not"},
        {"1\t0/6000000", "line 1 is not"}, /* may be cut inside the position */
        {"1\t0/60000", "line 1 is not"},
        {"1\t6000000\tx\n", "line 1 is not"},
        {"1\t0/0\tx\n", "line 1 is not"},
        {"0\t0/1\tx\n", "line 1 is not"},
        {"4294967296\t0/1\tx\n", "line 1 is not"},
        {"1\t0/1\tx\n1\t0/2\tx\n", "line 2 names timeline 1"},
        {"2\t0/1\tx\n1\t0/2\tx\n", "line 2 names timeline 1"},
        {"1\t0/1\tx\n4\t0/2\tx\n", "line 2 names timeline 4"},
        {"5\t0/1\tx\n", "line 1 names timeline 5"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        TimelinePath path;
        expect_err(ERR_DAMAGED, cases[i].message,
                   timeline_parse_history(4, cases[i].text, strlen(cases[i].text), &path, err));
    }
    /* Not NUL-terminated, and a NUL inside. */
    TimelinePath path;
    const char bytes[] = {'1', '\t', '0', '/', '5', '\t', 'x'};
    expect_ok(timeline_parse_history(2, bytes, sizeof(bytes), &path, err));
    timeline_path_release(&path);
    expect_err(ERR_DAMAGED, "line 1", timeline_parse_history(2, "\0\0", 2, &path, err));

    static const char *const bad[] = {"",    "1,",       "1@0/5",         "0",        "1@0/5,1",
                                      "2,1", "1,2",      "1@0/5,2@0/5,3", "1@0/5,2x", "1@0/0,2",
                                      "x",   "1@0/5 ,2", "1@0/5,2@0/4,3", " 1",       "1@,2"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect_err(ERR_USAGE, "is not a timeline path", timeline_path_parse(bad[i], &path, err));
}

static void paths_answer(void **state)
{
    (void)state;
    TimelinePath path;
    expect_ok(timeline_path_parse("1@0/600,3@0/900,4", &path, err));
    assert_int_equal(timeline_at(&path, 0), 1);
    assert_int_equal(timeline_at(&path, 0x5FF), 1);
    assert_int_equal(timeline_at(&path, 0x600), 3);
    assert_int_equal(timeline_at(&path, 0x900), 4);
    assert_int_equal(timeline_at(&path, UINT64_MAX), 4);
    assert_null(timeline_step(&path, 2));
    assert_int_equal(timeline_step(&path, 3)->until, 0x900);
    assert_int_equal(timeline_entry(&path, 1), 0);
    assert_int_equal(timeline_entry(&path, 3), 0x600);
    assert_int_equal(timeline_entry(&path, 4), 0x900);
    assert_true(timeline_contains(&path, 1, 0x600));
    assert_false(timeline_contains(&path, 1, 0x601));
    assert_true(timeline_contains(&path, 3, 0x600));
    assert_false(timeline_contains(&path, 3, 0x5FF));
    assert_false(timeline_contains(&path, 2, 0x600));
    assert_true(timeline_contains(&path, 4, 0x5000));
    timeline_path_release(&path);
    timeline_path_single(7, &path);
    assert_int_equal(timeline_at(&path, 5), 7);
    assert_true(timeline_contains(&path, 7, 1));
    expect_path(&path, "7");
    timeline_path_release(&path);
    path = (TimelinePath){0};
    assert_int_equal(timeline_at(&path, 5), 0);
}

/* --- backup_label and tablespace_map --- */

static void labels(void **state)
{
    (void)state;
    /* As 15 writes it, on a standby. */
    const char *text = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n"
                       "CHECKPOINT LOCATION: 0/2000060\n"
                       "BACKUP METHOD: streamed\n"
                       "BACKUP FROM: standby\n"
                       "START TIME: 2026-11-23 10:20:00 UTC\n"
                       "LABEL: pgdr\nSTART WAL LOCATION: 9/9 (x)\nBACKUP FROM: primary\n"
                       "START TIMELINE: 77\n"
                       "START TIMELINE: 3\n";
    BackupLabel label;
    expect_ok(backup_label_parse(text, strlen(text), &label, err));
    assert_int_equal(label.start, 0x2000028);
    assert_int_equal(label.checkpoint, 0x2000060);
    assert_int_equal(label.start_tli, 3);
    assert_true(label.from_standby);

    text = "START WAL LOCATION: 1/28 (file x)\r\nCHECKPOINT LOCATION: 1/60\r\nBACKUP FROM: "
           "primary\r\n";
    expect_ok(backup_label_parse(text, strlen(text), &label, err));
    assert_int_equal(label.checkpoint, 0x100000060);
    assert_int_equal(label.start_tli, 0);
    assert_false(label.from_standby);

    static const char *const bad[] = {
        "",
        "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n",
        "CHECKPOINT LOCATION: 0/2000060\n",
        "START WAL LOCATION: x\nCHECKPOINT LOCATION: 0/2000060\n",
        "START WAL LOCATION: 0/2000028\nCHECKPOINT LOCATION: 0/20000600000000000000000000000\n",
        "START WAL LOCATION: 0/28\nCHECKPOINT LOCATION: 0/60\nSTART TIMELINE: one\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect_err(ERR_DAMAGED, "backup_label",
                   backup_label_parse(bad[i], strlen(bad[i]), &label, err));
}

static void maps(void **state)
{
    (void)state;
    static const struct {
        int major;
        const char *text, *path;
    } cases[] = {
        {15, "16400 /srv/data\n", "/srv/data"},
        {15, "16400 /with space/x\n", "/with space/x"},
        {15, "16400 /back\\\\slash\n", "/back\\slash"},
        {13, "16400 /back\\slash\n", "/back\\slash"},
        {13, "16400 /new\\\nline\\\rx\n", "/new\nline\rx"},
        {18, "16400 /new\\\nline\\\rx\n", "/new\nline\rx"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        TablespaceList list;
        AUTO(buf_release) Buf text = {0};
        buf_printf(&text, "%s4294967295 /z\n", cases[i].text);
        expect_ok(tablespace_map_parse(cases[i].major, (char *)text.data, text.len, &list, err));
        assert_int_equal(list.n, 2);
        assert_int_equal(list.at[0].oid, 16400);
        assert_string_equal(list.at[0].path, cases[i].path);
        assert_int_equal(list.at[1].oid, UINT32_MAX);
        AUTO(buf_release) Buf back = {0};
        vec_push(&list, (Tablespace){.oid = 5, .path = mem_strdup("")});
        tablespace_map_format(cases[i].major, &list, &back);
        assert_string_equal(buf_str(&back), buf_str(&text));
        tablespace_list_release(&list);
    }
    TablespaceList list;
    expect_ok(tablespace_map_parse(15, "", 0, &list, err));
    assert_int_equal(list.n, 0);
    static const char *const bad[] = {"x /a\n", "16400\n", "0 /a\n", "1 /a\n4294967296 /b\n",
                                      " /a\n",  "16400 \n"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect_err(ERR_DAMAGED, "tablespace_map",
                   tablespace_map_parse(15, bad[i], strlen(bad[i]), &list, err));
}

/* --- files of a data directory --- */

static void relation_files(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        RelFile file;
    } good[] = {
        {"base/5/1259", {1663, 5, 1259, FORK_MAIN, 0, false}},
        {"base/5/1259.1", {1663, 5, 1259, FORK_MAIN, 1, false}},
        {"base/5/1259_vm", {1663, 5, 1259, FORK_VM, 0, false}},
        {"base/5/1259_fsm.12", {1663, 5, 1259, FORK_FSM, 12, false}},
        {"base/16384/4294967295_init", {1663, 16384, UINT32_MAX, FORK_INIT, 0, false}},
        {"global/1262", {1664, 0, 1262, FORK_MAIN, 0, false}},
        {"global/1262_vm", {1664, 0, 1262, FORK_VM, 0, false}},
        {"pg_tblspc/16400/PG_15_202209061/5/16401.3", {16400, 5, 16401, FORK_MAIN, 3, false}},
        {"base/5/t3_16402", {1663, 5, 16402, FORK_MAIN, 0, true}},
        {"base/5/t0_16402_fsm", {1663, 5, 16402, FORK_FSM, 0, true}},
        {"base/5/t12_16402.1", {1663, 5, 16402, FORK_MAIN, 1, true}},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        RelFile f;
        if (!relfile_parse(good[i].path, &f))
            fail_msg("%s is a relation file", good[i].path);
        const RelFile *w = &good[i].file;
        if (f.spc != w->spc || f.db != w->db || f.rel != w->rel || f.fork != w->fork ||
            f.segment != w->segment || f.temporary != w->temporary)
            fail_msg("%s: %u/%u/%u fork %d segment %u", good[i].path, f.spc, f.db, f.rel, f.fork,
                     f.segment);
    }
    static const char *const bad[] = {
        "base/5/PG_VERSION",
        "base/5/pg_filenode.map",
        "base/5/pg_internal.init",
        "base/5",
        "base/5/",
        "base/5/1259.0",
        "base/5/1259.01",
        "base/5/01259",
        "base/5/1259_",
        "base/5/1259_vm_fsm",
        "base/5/1259.",
        "base/5/1259.1.2",
        "base/0/1259",
        "base/x/1259",
        "base/5/0",
        "base/5/4294967296",
        "base/5/1259_vmx",
        "base/5/1259/x",
        "global/pg_control",
        "global/5/1259",
        "pg_wal/1259",
        "1259",
        "base/5/t_1259",
        "base/5/t3_",
        "base/5/t3",
        "pg_tblspc/16400/5/1",
        "pg_tblspc/16400/PG_15/5/16401",
        "base/5/1259.4294967296",
        "xbase/5/1259",
        "pg_tblspc/16400/PG_15_202209061/16401",
        "base/5/1259_init2",
        "base/5/ 1259",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        RelFile f;
        if (relfile_parse(bad[i], &f))
            fail_msg("%s is no relation file", bad[i]);
    }
}

static void tablespace_entries(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "pg_tblspc",        "pg_tblspc/",       "pg_tblspc/0",          "pg_tblspc/16400/",
        "pg_tblspc/x",      "pg_tblspc/16400x", "pg_tblspc/4294967296", "pg_tblspc/16400/PG_15_1",
        "base/pg_tblspc/1", "/pg_tblspc/16400", "pg_tblspc/ 1",         "pg_tblspc/-1",
    };
    uint32_t oid;
    assert_true(tablespace_entry_parse("pg_tblspc/16400", &oid));
    assert_int_equal(oid, 16400);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (tablespace_entry_parse(bad[i], &oid))
            fail_msg("%s is no tablespace", bad[i]);
}

static void what_a_backup_leaves_out(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        bool is_dir;
        DataRule rule;
    } cases[] = {
        {"base", true, DATA_COPY},
        {"base/5", true, DATA_COPY},
        {"base/5/1259", false, DATA_COPY},
        {"base/5/16384_init", false, DATA_COPY},
        {"base/5/t3_16384", false, DATA_SKIP},
        {"base/5/t3_16384_vm.1", false, DATA_SKIP},
        {"base/5/t3_16384", true, DATA_COPY},
        {"t3_16384", false, DATA_COPY},
        {"global/pg_control", false, DATA_COPY},
        {"global/pg_internal.init", false, DATA_SKIP},
        {"base/5/pg_internal.init.4711", false, DATA_SKIP},
        {"base/pgsql_tmp", true, DATA_SKIP},
        {"base/pgsql_tmp/pgsql_tmp4711.0", false, DATA_SKIP},
        {"base/pgsql_tmp/pgsql_tmp4711.0.sharedfileset/x", false, DATA_SKIP},
        {"pg_tblspc/16400/PG_15_202209061/pgsql_tmp", true, DATA_SKIP},
        {"pg_tblspc/16400/PG_15_202209061/pgsql_tmp/x", false, DATA_SKIP},
        {"pg_tblspc/16400/PG_15_202209061/5/t1_7", false, DATA_SKIP},
        {"pg_wal", true, DATA_EMPTY_DIR},
        {"pg_wal", false, DATA_EMPTY_DIR}, /* a link */
        {"pg_wal/archive_status", true, DATA_SKIP},
        {"pg_wal/000000010000000000000001", false, DATA_SKIP},
        {"pg_walk", true, DATA_COPY},
        {"pg_replslot", true, DATA_EMPTY_DIR},
        {"pg_replslot/a/state", false, DATA_SKIP},
        {"pg_dynshmem", true, DATA_EMPTY_DIR},
        {"pg_notify", true, DATA_EMPTY_DIR},
        {"pg_serial", true, DATA_EMPTY_DIR},
        {"pg_snapshots", true, DATA_EMPTY_DIR},
        {"pg_stat_tmp", true, DATA_EMPTY_DIR},
        {"pg_stat_tmp/global.stat", false, DATA_SKIP},
        {"pg_subtrans", true, DATA_EMPTY_DIR},
        {"pg_subtrans/0000", false, DATA_SKIP},
        {"pg_stat", true, DATA_COPY},
        {"pg_xact/0000", false, DATA_COPY},
        {"pg_logical/replorigin_checkpoint", false, DATA_COPY},
        {"pg_twophase", true, DATA_COPY},
        {"postmaster.pid", false, DATA_SKIP},
        {"postmaster.opts", false, DATA_SKIP},
        {"backup_label", false, DATA_SKIP},
        {"backup_label.old", false, DATA_SKIP},
        {"tablespace_map", false, DATA_SKIP},
        {"tablespace_map.old", false, DATA_SKIP},
        {"backup_manifest", false, DATA_SKIP},
        {"standby.signal", false, DATA_SKIP},
        {"recovery.signal", false, DATA_SKIP},
        {"promote", false, DATA_SKIP},
        {"current_logfiles", false, DATA_SKIP},
        {"current_logfiles.tmp", false, DATA_SKIP},
        {"postgresql.auto.conf", false, DATA_COPY},
        {"postgresql.auto.conf.tmp", false, DATA_SKIP},
        {"postgresql.conf", false, DATA_COPY},
        {"PG_VERSION", false, DATA_COPY},
        {"backup_label.keep", false, DATA_COPY},
        {"conf.d/backup_label", false, DATA_COPY},
        {"conf.d/pg_wal", true, DATA_COPY},
        {".DS_Store", false, DATA_SKIP},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (data_rule(cases[i].path, cases[i].is_dir) != cases[i].rule)
            fail_msg("%s: %d", cases[i].path, data_rule(cases[i].path, cases[i].is_dir));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lsns_are_written_as_postgresql_does),
        cmocka_unit_test(versions_are_found),
        cmocka_unit_test(wal_names),
        cmocka_unit_test(histories),
        cmocka_unit_test(broken_histories),
        cmocka_unit_test(paths_answer),
        cmocka_unit_test(labels),
        cmocka_unit_test(maps),
        cmocka_unit_test(relation_files),
        cmocka_unit_test(tablespace_entries),
        cmocka_unit_test(what_a_backup_leaves_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
