/* What differs between the versions inside single WAL records, and malformed ones. */

#include "lib/common/buf.h"
#include "lib/common/bytes.h"
#include "lib/pg/wal_record.h"
#include "tests/unit/unit.h"

/* A record's bytes behind the fixed header; total length and the rest are filled in by decode(). */
static WalDecode decode(int major, uint8_t rmgr, uint8_t info, const Buf *body, WalRecord *r,
                        Buf *record)
{
    static const uint8_t head[WAL_RECORD_HEADER];
    record->len = 0;
    buf_append(record, head, sizeof(head));
    buf_append(record, body->data, body->len);
    set_u32(record->data, (uint32_t)record->len);
    set_u32(record->data + 4, 777);
    set_u64(record->data + 8, 0x1234500);
    record->data[16] = info;
    record->data[17] = rmgr;
    return wal_record_decode(pg_version_of_major(major), record->data, record->len,
                             (uint32_t)record->len, r);
}

static void append_block(Buf *b, uint8_t id, uint8_t flags, uint16_t data_len)
{
    buf_append_u8(b, id);
    buf_append_u8(b, flags);
    buf_append_u16(b, data_len);
}

static void append_relation(Buf *b, uint32_t spc, uint32_t db, uint32_t rel)
{
    buf_append_u32(b, spc);
    buf_append_u32(b, db);
    buf_append_u32(b, rel);
}

static void append_zeros(Buf *b, size_t n)
{
    memset(buf_reserve(b, n), 0, n);
    b->len += n;
}

static void image_flags_differ_by_version(void **state)
{
    (void)state;
    enum { HOLE = 1 };
    static const struct {
        int major;
        uint8_t flags;
        bool has_hole_length, applies;
    } cases[] = {
        {13, HOLE, false, false},       {13, HOLE | 0x02, true, false},
        {13, HOLE | 0x04, false, true}, {13, HOLE | 0x06, true, true},
        {13, 0x02 | 0x04, false, true}, {14, HOLE | 0x02, true, false},
        {14, HOLE | 0x06, true, true},  {14, HOLE | 0x04, false, true},
        {15, HOLE | 0x02, false, true}, {15, HOLE | 0x04, true, false},
        {15, HOLE | 0x06, true, true},  {15, HOLE | 0x0A, true, true},
        {16, HOLE | 0x12, true, true},  {17, HOLE | 0x02, false, true},
        {18, HOLE | 0x08, true, false}, {18, 0x12, false, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(buf_release) Buf body = {0};
        AUTO(buf_release) Buf record = {0};
        append_block(&body, 0, 0x10 | 0x02, 0); /* an image of the visibility map */
        buf_append_u16(&body, 30);
        buf_append_u16(&body, 40);
        buf_append_u8(&body, cases[i].flags);
        if (cases[i].has_hole_length)
            buf_append_u16(&body, 8000);
        append_relation(&body, 1663, 5, 16384);
        buf_append_u32(&body, 99);
        buf_append_u8(&body, 255);
        buf_append_u8(&body, 3);
        append_zeros(&body, 30);
        buf_append(&body, "abc", 3);
        WalRecord r;
        assert_int_equal(decode(cases[i].major, 11, 0x30, &body, &r, &record), WAL_DECODE_OK);
        assert_int_equal(r.n_blocks, 1);
        const WalBlock *b = r.blocks;
        assert_true(b->spc == 1663 && b->db == 5 && b->rel == 16384 && b->block == 99);
        assert_true(b->fork == 2 && b->has_image && !b->will_init);
        assert_int_equal(b->image_applies, cases[i].applies);
        assert_int_equal(r.main_len, 3);
        assert_memory_equal(r.main_data, "abc", 3);
        assert_int_equal(r.xid, 777);
        assert_int_equal(r.prev, 0x1234500);
    }
}

static void toplevel_xids_came_with_14(void **state)
{
    (void)state;
    for (int major = 13; major <= 18; major++) {
        AUTO(buf_release) Buf body = {0};
        AUTO(buf_release) Buf record = {0};
        buf_append_u8(&body, 253);
        buf_append_u16(&body, 7);
        buf_append_u8(&body, 252);
        buf_append_u32(&body, 4711);
        buf_append_u8(&body, 255);
        buf_append_u8(&body, 0);
        WalRecord r;
        WalDecode got = decode(major, 10, 0, &body, &r, &record);
        assert_int_equal(got, major >= 14 ? WAL_DECODE_OK : WAL_DECODE_BAD);
        if (got == WAL_DECODE_OK)
            assert_int_equal(r.toplevel_xid, 4711);
    }
}

static void custom_resource_managers_came_with_15(void **state)
{
    (void)state;
    for (int major = 13; major <= 18; major++) {
        const PgVersion *v = pg_version_of_major(major);
        assert_true(wal_rmgr_valid(v, 0) && wal_rmgr_valid(v, 21));
        assert_false(wal_rmgr_valid(v, 22) || wal_rmgr_valid(v, 127));
        assert_int_equal(wal_rmgr_valid(v, 128), major >= 15);
        assert_int_equal(wal_rmgr_valid(v, 255), major >= 15);
    }
}

/* Up to 33 references; one relation for several. */
static void many_blocks(void **state)
{
    (void)state;
    AUTO(buf_release) Buf body = {0};
    AUTO(buf_release) Buf record = {0};
    for (uint8_t id = 0; id <= 32; id++) {
        append_block(&body, id, (uint8_t)((id ? 0x80 : 0) | (id == 5 ? 0x40 : 0) | 0x20), 2);
        if (id == 0)
            append_relation(&body, 1, 2, 3);
        buf_append_u32(&body, 1000u + id);
    }
    append_zeros(&body, 66);
    WalRecord r;
    assert_int_equal(decode(17, 13, 0, &body, &r, &record), WAL_DECODE_OK);
    assert_int_equal(r.n_blocks, WAL_BLOCKS_MAX);
    assert_int_equal(r.blocks[32].rel, 3);
    assert_int_equal(r.blocks[32].block, 1032);
    assert_true(r.blocks[5].will_init && !r.blocks[6].will_init);
    assert_int_equal(r.main_len, 0);

    /* The same cut anywhere is still undecided, or bad as a whole. */
    for (size_t have = WAL_RECORD_HEADER; have < record.len; have++) {
        WalDecode partly =
            wal_record_decode(pg_version_of_major(17), record.data, have, (uint32_t)record.len, &r);
        assert_int_equal(partly, have < record.len - 66 ? WAL_DECODE_CUT : WAL_DECODE_OK);
        assert_null(r.main_data);
        /* A record that claims no more than this may be a shorter one, but is not undecided. */
        assert_int_not_equal(
            wal_record_decode(pg_version_of_major(17), record.data, have, (uint32_t)have, &r),
            WAL_DECODE_CUT);
    }
}

static void contradictions_are_found(void **state)
{
    (void)state;
    for (int i = 0; i < 7; i++) {
        AUTO(buf_release) Buf body = {0};
        AUTO(buf_release) Buf record = {0};
        switch (i) {
        case 0: /* data without the flag */
            append_block(&body, 0, 0, 4);
            append_relation(&body, 1, 2, 3);
            append_zeros(&body, 4 + 4);
            break;
        case 1: /* the flag without data */
            append_block(&body, 0, 0x20, 0);
            append_relation(&body, 1, 2, 3);
            append_zeros(&body, 4);
            break;
        case 2: /* the same relation as none */
            append_block(&body, 0, 0x80, 0);
            append_zeros(&body, 4);
            break;
        case 3: /* out of order */
            for (int k = 0; k < 2; k++) {
                append_block(&body, 3, 0, 0);
                append_relation(&body, 1, 2, 3);
                append_zeros(&body, 4);
            }
            break;
        case 4: /* block id 33 */
            append_block(&body, 33, 0, 0);
            append_relation(&body, 1, 2, 3);
            append_zeros(&body, 4);
            break;
        case 5: /* main data too long by one */
            buf_append_u8(&body, 255);
            buf_append_u8(&body, 5);
            append_zeros(&body, 4);
            break;
        case 6: /* and of a length that overflows */
            buf_append_u8(&body, 254);
            buf_append_u32(&body, UINT32_MAX);
            append_zeros(&body, 4);
            break;
        }
        WalRecord r;
        if (decode(15, 10, 0, &body, &r, &record) != WAL_DECODE_BAD)
            fail_msg("case %d is not found", i);
    }
}

/* --- the meaning of records --- */

static WalRecord record_of(uint8_t rmgr, uint8_t info, const Buf *data)
{
    return (WalRecord){.rmgr = rmgr,
                       .info = info,
                       .xid = 600,
                       .main_data = data->data,
                       .main_len = (uint32_t)data->len};
}

static void append_xact(Buf *b, uint32_t xinfo, int major, bool commit)
{
    buf_append_u64(b, 12345678);
    buf_append_u32(b, xinfo);
    buf_append_u32(b, 16384);
    buf_append_u32(b, 1663);
    buf_append_u32(b, 2);
    buf_append_u32(b, 601);
    buf_append_u32(b, 602);
    buf_append_u32(b, 1);
    append_relation(b, 1663, 16384, 20000);
    if (major >= 15) {
        buf_append_u32(b, 3);
        append_zeros(b, major >= 18 ? 48 : 36);
    }
    if (commit) {
        buf_append_u32(b, 2);
        append_zeros(b, 32);
    }
    buf_append_u32(b, 599);
    buf_append(b, "gid", 4);
    append_zeros(b, 16);
}

static void transactions_end_in_every_version(void **state)
{
    (void)state;
    /* database, subtransactions, relations, dropped statistics, two-phase, gid, origin */
    const uint32_t common = 1 | 2 | 4 | 0x100 | 0x10 | 0x80 | 0x20 | 1u << 30;
    static const struct {
        uint8_t op;
        bool commit, prepared;
    } ops[] = {{0x00, true, false}, {0x20, false, false}, {0x30, true, true}, {0x40, false, true}};
    for (int major = 13; major <= 18; major++)
        for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
            AUTO(buf_release) Buf data = {0};
            append_xact(&data, common | (ops[i].commit ? 8 : 0), major, ops[i].commit);
            WalRecord r = record_of(RMGR_XACT, ops[i].op | 0x80 | 0x01, &data);
            const PgVersion *v = pg_version_of_major(major);
            WalXact x;
            assert_true(wal_record_xact(v, &r, &x));
            assert_false(wal_record_is_unknown_special(v, &r));
            assert_int_equal(x.commit, ops[i].commit);
            assert_int_equal(x.prepared, ops[i].prepared);
            assert_int_equal(x.xid, ops[i].prepared ? 599 : 600);
            assert_int_equal(x.time, time_of_pg(12345678));
            assert_int_equal(x.db, 16384);
            assert_int_equal(x.n_subxids, 2);
            assert_int_equal(get_u32(x.subxids + 4), 602);
            assert_int_equal(x.n_dropped, 1);
            assert_int_equal(get_u32(x.dropped + 8), 20000);
            /* Cut inside what must be read: not understood, and said so. */
            size_t needed = data.len - 16 - 4;
            for (r.main_len = 0; r.main_len < needed; r.main_len++) {
                assert_false(wal_record_xact(v, &r, &x));
                assert_true(wal_record_is_unknown_special(v, &r));
            }
            assert_true((r.main_len++, wal_record_xact(v, &r, &x)));
        }
}

static void plain_commits_have_no_parts(void **state)
{
    (void)state;
    AUTO(buf_release) Buf data = {0};
    buf_append_u64(&data, 0);
    WalRecord r = record_of(RMGR_XACT, 0x00, &data);
    WalXact x;
    assert_true(wal_record_xact(pg_version_of_major(15), &r, &x));
    assert_true(x.xid == 600 && !x.n_subxids && !x.n_dropped && x.db == 0);
    /* PREPARE, ASSIGNMENT and INVALIDATIONS end nothing; a prepared one must name its xid. */
    for (int op = 0x10; op <= 0x70; op += 0x10) {
        r.info = (uint8_t)op;
        assert_int_equal(wal_record_xact(pg_version_of_major(15), &r, &x), op == 0x20);
    }
    r = record_of(RMGR_XLOG, 0x00, &data);
    assert_false(wal_record_xact(pg_version_of_major(15), &r, &x));
}

static void database_codes_changed_with_15(void **state)
{
    (void)state;
    AUTO(buf_release) Buf create = {0};
    AUTO(buf_release) Buf drop = {0};
    buf_append_u32(&create, 16390);
    buf_append_u32(&create, 1663);
    append_zeros(&create, 8);
    buf_append_u32(&drop, 16390);
    buf_append_u32(&drop, 2);
    buf_append_u32(&drop, 1663);
    buf_append_u32(&drop, 16400);
    for (int major = 13; major <= 18; major++) {
        const PgVersion *v = pg_version_of_major(major);
        for (int info = 0; info <= 0x30; info += 0x10) {
            uint8_t drop_code = major >= 15 ? 0x20 : 0x10;
            WalRecord r =
                record_of(RMGR_DBASE, (uint8_t)info | 1, info == drop_code ? &drop : &create);
            WalDatabase d;
            bool known = info <= drop_code;
            assert_int_equal(wal_record_database(v, &r, &d), known);
            assert_int_equal(wal_record_is_unknown_special(v, &r), !known);
            if (!known)
                continue;
            assert_int_equal(d.create, info != drop_code);
            assert_true(d.db == 16390 && d.spc == 1663);
            assert_int_equal(d.n_spcs, d.create ? 1 : 2);
            assert_int_equal(get_u32(d.spcs + (d.n_spcs - 1) * 4), d.create ? 1663 : 16400);
        }
    }
    WalDatabase d;
    WalRecord r = record_of(RMGR_DBASE, 0x20, &drop);
    r.main_len -= 1;
    assert_false(wal_record_database(pg_version_of_major(15), &r, &d));
    assert_true(wal_record_is_unknown_special(pg_version_of_major(15), &r));
    r.main_len = 8;
    set_u32(drop.data + 4, 0);
    assert_false(wal_record_database(pg_version_of_major(15), &r, &d));
}

static void unknown_special_records_are_said(void **state)
{
    (void)state;
    static const struct {
        uint8_t rmgr, info;
        bool unknown;
    } cases[] = {
        {RMGR_XLOG, 0x40, false},   {RMGR_XLOG, 0x41, true},  {RMGR_SMGR, 0x11, false},
        {RMGR_SMGR, 0x21, false},   {RMGR_SMGR, 0x31, true},  {10, 0x02, false},
        {10, 0x01, true},           {200, 0xF0, false},       {200, 0xF1, true},
        {RMGR_TBLSPC, 0x00, false}, {RMGR_XACT, 0x10, false}, {RMGR_XACT, 0x71, true},
    };
    AUTO(buf_release) Buf data = {0};
    append_zeros(&data, 64);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        WalRecord r = record_of(cases[i].rmgr, cases[i].info, &data);
        if (wal_record_is_unknown_special(pg_version_of_major(15), &r) != cases[i].unknown)
            fail_msg("rmgr %u info %02X", cases[i].rmgr, cases[i].info);
    }
}

/* Every reader with less than it needs. */
static void short_records_are_not_read(void **state)
{
    (void)state;
    AUTO(buf_release) Buf data = {0};
    append_zeros(&data, 100);
    const PgVersion *v = pg_version_of_major(18);
    WalCheckpoint k;
    TimeUs t;
    char name[64];
    Lsn lsn;
    WalParameters p;
    WalEndOfRecovery e;
    bool create;
    uint32_t n, m;
    const char *path;
    const uint8_t *items;
    RelLocator rel;
    uint8_t fork;
    int flags;
    for (uint32_t len = 0; len <= 100; len++) {
        /* Of exactly this size, for AddressSanitizer. */
        uint8_t *exact = malloc(len + 1);
        memset(exact, 0, len);
        Buf b = {.data = exact, .len = len};
        WalRecord r = record_of(RMGR_XLOG, 0x10, &b);
        assert_int_equal(wal_record_checkpoint(v, &r, &k), len >= 72);
        r.info = 0x70;
        assert_int_equal(wal_record_restore_point(&r, &t, name), len >= 72);
        r.info = 0x50;
        assert_int_equal(wal_record_backup_end(&r, &lsn), len >= 8);
        r.info = 0x60;
        assert_int_equal(wal_record_parameters(&r, &p), len >= 25);
        r.info = 0x90;
        assert_int_equal(wal_record_end_of_recovery(&r, &e), len >= 16);
        r = record_of(RMGR_TBLSPC, 0x00, &b);
        assert_int_equal(wal_record_tablespace(&r, &create, &n, &path), len >= 5);
        r.info = 0x10;
        assert_int_equal(wal_record_tablespace(&r, &create, &n, &path), len >= 4);
        r = record_of(RMGR_SMGR, 0x10, &b);
        assert_int_equal(wal_record_smgr_create(&r, &rel, &fork), len >= 16);
        r.info = 0x20;
        assert_int_equal(wal_record_smgr_truncate(&r, &rel, &n, &flags), len >= 20);
        r = record_of(RMGR_XACT, 0x50, &b);
        assert_int_equal(wal_record_assignment(&r, &n, &m, &items), len >= 8);
        free(exact);
    }
    /* A path without its end. */
    memset(data.data, 'x', data.len);
    WalRecord r = record_of(RMGR_TBLSPC, 0x00, &data);
    assert_false(wal_record_tablespace(&r, &create, &n, &path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(image_flags_differ_by_version),
        cmocka_unit_test(toplevel_xids_came_with_14),
        cmocka_unit_test(custom_resource_managers_came_with_15),
        cmocka_unit_test(many_blocks),
        cmocka_unit_test(contradictions_are_found),
        cmocka_unit_test(transactions_end_in_every_version),
        cmocka_unit_test(plain_commits_have_no_parts),
        cmocka_unit_test(database_codes_changed_with_15),
        cmocka_unit_test(unknown_special_records_are_said),
        cmocka_unit_test(short_records_are_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
