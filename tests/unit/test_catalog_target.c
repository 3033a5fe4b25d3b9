/* Targets: whatever is asked for becomes one record, the last one wanted; or it is said why not. */

#include "tests/unit/unit.h"

#include "catalog/target.h"
#include "tests/unit/wal_archive.h"
#include "tests/unit/wal_records.h"

#define TIME(second) (ARCHIVE_NOON + (TimeUs)((second)*US_PER_SECOND))

/* Where the records of the scene start. */
typedef struct Scene {
    Archive archive;
    WalBuild wal;
    TimelinePath path;
    BackupSummary backup;
    Lsn inside, here, before_103, end; /* a restore point before the stop; one behind it; … */
    Lsn at[200];                       /* the ends of transactions, by xid */
    Lsn behind[200];                   /* where those records end */
} Scene;

static void xact(Scene *s, uint32_t xid, bool commit, double second)
{
    s->at[xid] = build_xact(&s->wal, xid, commit, TIME(second));
    s->behind[xid] = s->wal.at;
}

/*
 * Segment 3: the backup, 100 in it; 101 (10 s), 102 rolled back (20 s), 103 (30 s), 104 with
 * subtransactions 1000 to 1003 (40 s), 105 by a clock that was set back (35 s).
 * Segment 4: 106 (50 s), a tablespace before it and one behind. Segment 5: 107 (60 s). The WAL ends
 * in segment 6, of which there is a tail.
 */
static void scene_open(Scene *s, uint64_t next_xid)
{
    *s = (Scene){.backup = {.id = "20261123T120000Z-0000000000000001"}};
    WalBuild *b = &s->wal;
    archive_open(&s->archive);
    timeline_path_single(1, &s->path);
    build_init(b, 15, AT(3, 0), 5);
    build_plain(b, 100);
    s->backup.start_lsn = b->at;
    build_checkpoint(b, b->at, next_xid, TIME(0));
    xact(s, 100, true, 1);
    build_restore_point(b, "inside", TIME(1));
    build_record(b, RMGR_XLOG, 0x50, &s->backup.start_lsn, WAL_RECORD_HEADER + 2 + 8);
    s->backup.stop_lsn = b->at;
    s->backup.stop_time = TIME(2);
    xact(s, 101, true, 10);
    xact(s, 102, false, 20);
    s->before_103 = build_plain(b, 200);
    xact(s, 103, true, 30);
    s->at[104] = build_commit_with(b, 104, TIME(40), 1000, 4);
    s->behind[104] = b->at;
    s->here = build_restore_point(b, "here", TIME(41));
    build_restore_point(b, "twice", TIME(42));
    build_restore_point(b, "twice", TIME(43));
    xact(s, 105, true, 35);
    build_fill(b, AT(4, 1000));
    build_tablespace(b, 5001, "/srv/one");
    build_parameters(b, 200);
    xact(s, 106, true, 50);
    build_tablespace(b, 5002, "/srv/two");
    build_parameters(b, 150);
    build_fill(b, AT(5, 1000));
    xact(s, 107, true, 60);
    build_fill(b, AT(6, 10000));
    s->end = b->at;
    for (uint64_t segno = 3; segno < 6; segno++)
        archive_segment(&s->archive, 1, b, segno, 0);
    archive_tail(&s->archive, 1, b, 6, b->at);
}

static void scene_release(Scene *s)
{
    archive_close(&s->archive);
    build_release(&s->wal);
    timeline_path_release(&s->path);
}

static ErrCode resolve(Scene *s, TargetSpec spec, TargetPoint *p, Err *err)
{
    return target_resolve(&s->archive.store, &s->path, &s->backup, &spec, p, err);
}

/* The point as text: "lsn 103 in 103 out 104 <warning>". */
static void point_text(const Scene *s, const TargetPoint *p, Buf *ret)
{
    if (p->to_end || p->immediate) {
        assert_int_equal(p->lsn, 0);
        buf_append_str(ret, p->to_end ? "end" : "immediate");
        assert_int_equal(p->end, p->to_end ? s->end : s->backup.stop_lsn);
    } else {
        uint32_t xid = 100;
        while (xid < 108 && s->at[xid] != p->lsn)
            xid++;
        if (xid < 108) {
            buf_printf(ret, "%u", xid);
            assert_int_equal(p->end, s->behind[xid]);
        } else {
            buf_append_str(ret, p->lsn == s->here         ? "here"
                                : p->lsn == s->before_103 ? "before"
                                                          : "?");
        }
    }
    if (p->last_in.known)
        buf_printf(ret, " in %u%s", p->last_in.xid, p->last_in.commit ? "" : "!");
    if (p->first_out.known)
        buf_printf(ret, " out %u%s", p->first_out.xid, p->first_out.commit ? "" : "!");
    if (p->warning[0])
        buf_printf(ret, " (%s)", p->warning);
    assert_int_equal(p->tli, 1);
}

static void expect_point(Scene *s, TargetSpec spec, const char *want)
{
    TargetPoint p AUTO(target_point_release) = {.to_end = false};
    Buf got AUTO(buf_release) = {0};
    expect_ok(resolve(s, spec, &p, err));
    point_text(s, &p, &got);
    if (strcmp(buf_str(&got), want) != 0) {
        char text[160];
        fail_msg("%s: '%s', expected '%s'", target_format(&spec, text), buf_str(&got), want);
    }
}

static void expect_refused(Scene *s, TargetSpec spec, ErrCode code, const char *says)
{
    TargetPoint p AUTO(target_point_release) = {.to_end = false};
    expect_err(code, says, resolve(s, spec, &p, err));
}

#define SCENE(name)                                                                                \
    Scene name AUTO(scene_release);                                                                \
    scene_open(&name, 100)
#define AT_TIME(second)                                                                            \
    {                                                                                              \
        .type = TARGET_TIME, .time = TIME(second)                                                  \
    }
#define BEFORE_TIME(second)                                                                        \
    {                                                                                              \
        .type = TARGET_TIME, .time = TIME(second), .exclusive = true                               \
    }
#define AT_XID(number)                                                                             \
    {                                                                                              \
        .type = TARGET_XID, .xid = number                                                          \
    }
#define BEFORE_XID(number)                                                                         \
    {                                                                                              \
        .type = TARGET_XID, .xid = number, .exclusive = true                                       \
    }
#define AT_LSN(at)                                                                                 \
    {                                                                                              \
        .type = TARGET_LSN, .lsn = at                                                              \
    }
#define BEFORE_LSN(at)                                                                             \
    {                                                                                              \
        .type = TARGET_LSN, .lsn = at, .exclusive = true                                           \
    }
#define AT_NAME(text)                                                                              \
    {                                                                                              \
        .type = TARGET_NAME, .name = text                                                          \
    }

#define BACK                                                                                       \
    " (the server's clock went backwards: transaction 105 ended later in the WAL but with an "     \
    "earlier time, and is left out)"

static void the_ends(void **state)
{
    (void)state;
    SCENE(s);
    expect_point(&s, (TargetSpec){.type = TARGET_LATEST}, "end in 107");
    expect_point(&s, (TargetSpec){.type = TARGET_IMMEDIATE}, "immediate");
}

/* The first end of a transaction, in the order of the WAL, that is later ends it. */
static void times(void **state)
{
    (void)state;
    SCENE(s);
    const struct {
        TargetSpec spec;
        const char *want;
    } cases[] = {
        {AT_TIME(9.9), "immediate in 100 out 101"},
        {AT_TIME(10), "101 in 101 out 102!"},
        {BEFORE_TIME(10), "immediate in 100 out 101"},
        {BEFORE_TIME(10.000001), "101 in 101 out 102!"},
        {AT_TIME(20), "102 in 102! out 103"}, /* one that is rolled back counts */
        {AT_TIME(30), "103 in 103 out 104"},
        {AT_TIME(36), "103 in 103 out 104" BACK},
        {BEFORE_TIME(35), "103 in 103 out 104"},
        {BEFORE_TIME(35.5), "103 in 103 out 104" BACK},
        {AT_TIME(40), "105 in 105 out 106"},
        {AT_TIME(59), "106 in 106 out 107"},
        {AT_TIME(60), "107 in 107"}, /* all is known up to that moment */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_point(&s, cases[i].spec, cases[i].want);
    expect_refused(&s, (TargetSpec)AT_TIME(60.000001), ERR_UNREACHABLE,
                   "lies behind the last recovery point");
    expect_refused(&s, (TargetSpec)AT_TIME(0.5), ERR_REFUSED, "lies before the end of backup");
    expect_refused(&s, (TargetSpec)BEFORE_TIME(1), ERR_REFUSED, "lies before the end of backup");
    expect_point(&s, (TargetSpec)AT_TIME(2), "immediate in 100 out 101");
}

static void transactions(void **state)
{
    (void)state;
    SCENE(s);
    const struct {
        TargetSpec spec;
        const char *want;
    } cases[] = {
        {AT_XID(101), "101 in 101 out 102!"},
        {BEFORE_XID(101), "immediate in 100 out 101"},
        {AT_XID(102), "102 in 102! out 103 (transaction 102 was rolled back, not committed)"},
        {AT_XID(103), "103 in 103 out 104"},
        {BEFORE_XID(103), "102 in 102! out 103"},
        {AT_XID(1000), "104 in 104 out 105 (1000 is a subtransaction of transaction 104)"},
        {AT_XID(1003), "104 in 104 out 105 (1003 is a subtransaction of transaction 104)"},
        {BEFORE_XID(1003), "103 in 103 out 104 (1003 is a subtransaction of transaction 104)"},
        {AT_XID(105), "105 in 105 out 106"},
        {AT_XID(107), "107 in 107"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_point(&s, cases[i].spec, cases[i].want);
    expect_refused(&s, (TargetSpec)AT_XID(100), ERR_REFUSED, "lies before the end of backup");
    expect_refused(&s, (TargetSpec)BEFORE_XID(100), ERR_REFUSED, "lies before the end of backup");
    expect_refused(&s, (TargetSpec)AT_XID(1004), ERR_UNREACHABLE,
                   "does not end in the archived WAL");
    expect_refused(&s, (TargetSpec)AT_XID(99), ERR_UNREACHABLE, "does not end");
}

/* With their epoch transactions are told apart; without, by their low 32 bits. */
static void epochs(void **state)
{
    (void)state;
    const uint64_t epoch = UINT64_C(5) << 32;
    Scene s AUTO(scene_release);
    scene_open(&s, epoch + 100);
    expect_point(&s, (TargetSpec)AT_XID(epoch + 103), "103 in 103 out 104");
    expect_point(&s, (TargetSpec)AT_XID(103), "103 in 103 out 104");
    expect_point(&s, (TargetSpec)AT_XID(epoch + 1001),
                 "104 in 104 out 105 (1001 is a subtransaction of transaction 104)");
    expect_refused(&s, (TargetSpec)AT_XID((UINT64_C(4) << 32) + 103), ERR_UNREACHABLE, "does not");
    expect_refused(&s, (TargetSpec)AT_XID((UINT64_C(6) << 32) + 103), ERR_UNREACHABLE, "does not");
    /* Around the end of an epoch: 100 is then of the next one. */
    Scene t AUTO(scene_release);
    scene_open(&t, epoch - 10);
    expect_point(&t, (TargetSpec)AT_XID(epoch + 103), "103 in 103 out 104");
    expect_refused(&t, (TargetSpec)AT_XID((UINT64_C(4) << 32) + 103), ERR_UNREACHABLE, "does not");
}

/* The record that starts at the position or holds it; exclusive: the last that ends there or
 * before. */
static void positions(void **state)
{
    (void)state;
    SCENE(s);
    const struct {
        TargetSpec spec;
        const char *want;
    } cases[] = {
        {AT_LSN(s.at[103]), "103 in 103 out 104"},
        {AT_LSN(s.at[103] + 1), "103 in 103 out 104"},
        {AT_LSN(s.at[103] - 1), "before in 102! out 103"},
        {BEFORE_LSN(s.at[103]), "before in 102! out 103"},
        {BEFORE_LSN(s.behind[103]), "103 in 103 out 104"},
        {BEFORE_LSN(s.behind[103] - 1), "before in 102! out 103"},
        {AT_LSN(s.here), "here in 104 out 105"},
        {AT_LSN(s.at[107]), "107 in 107"},
        {AT_LSN(s.backup.stop_lsn - 1), "immediate in 100 out 101"}, /* of what ends there */
        {BEFORE_LSN(s.backup.stop_lsn), "immediate in 100 out 101"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_point(&s, cases[i].spec, cases[i].want);
    expect_refused(&s, (TargetSpec)AT_LSN(s.backup.start_lsn), ERR_REFUSED, "lies before the end");
    expect_refused(&s, (TargetSpec)AT_LSN(AT(2, 0)), ERR_REFUSED, "lies before the end");
    expect_refused(&s, (TargetSpec)AT_LSN(s.end + 1), ERR_UNREACHABLE, "behind the last");
    expect_refused(&s, (TargetSpec)AT_LSN(AT(9, 0)), ERR_UNREACHABLE, "behind the last");
}

static void names(void **state)
{
    (void)state;
    SCENE(s);
    expect_point(&s, (TargetSpec)AT_NAME("here"), "here in 104");
    expect_point(&s, (TargetSpec){.type = TARGET_NAME, .name = "here", .exclusive = true},
                 "104 in 104");
    expect_refused(&s, (TargetSpec)AT_NAME("twice"), ERR_UNREACHABLE, "was made 2 times: at 0/");
    expect_refused(&s, (TargetSpec)AT_NAME("HERE"), ERR_UNREACHABLE, "is not in the archived WAL");
    expect_refused(&s, (TargetSpec)AT_NAME("inside"), ERR_REFUSED, "lies before the end of backup");
}

/* What replay will need, of the records that it will meet. */
static void tablespaces_and_parameters(void **state)
{
    (void)state;
    SCENE(s);
    const struct {
        TargetSpec spec;
        size_t tablespaces;
        int max_connections;
    } cases[] = {{{.type = TARGET_LATEST}, 2, 200},
                 {AT_TIME(50), 1, 200},
                 {AT_TIME(40), 0, 0},
                 {{.type = TARGET_IMMEDIATE}, 0, 0},
                 {AT_XID(107), 2, 200},
                 {AT_LSN(s.at[106]), 1, 200},
                 {AT_NAME("here"), 0, 0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        TargetPoint p AUTO(target_point_release) = {.to_end = false};
        expect_ok(resolve(&s, cases[i].spec, &p, err));
        assert_int_equal(p.tablespaces.n, cases[i].tablespaces);
        if (p.tablespaces.n) {
            assert_string_equal(p.tablespaces.at[0].text, "/srv/one");
            assert_int_equal(p.tablespaces.at[0].number, 5001);
        }
        assert_int_equal(p.parameters.max_connections, cases[i].max_connections);
    }
}

/* --- WAL that is missing --- */

static void remove_segment(Scene *s, const char *file)
{
    char *prefix AUTO(mem_freep) = wal_find_prefix(&s->archive.store, file);
    char *name AUTO(mem_freep) = mem_only(s->archive.repo, prefix);
    mem_remove(s->archive.repo, name);
}

static void a_hole(void **state)
{
    (void)state;
    SCENE(s);
    remove_segment(&s, "000000010000000000000005");
    expect_refused(&s, (TargetSpec){.type = TARGET_LATEST}, ERR_WAL_MISSING,
                   "000000010000000000000005 is not in 'memory', but later WAL is");
    expect_refused(&s, (TargetSpec)AT_TIME(60), ERR_WAL_MISSING, "000000010000000000000005");
    expect_refused(&s, (TargetSpec)AT_XID(107), ERR_WAL_MISSING, "000000010000000000000005");
    /* What lies before it can be reached, also when more was to be looked at behind. */
    expect_point(&s, (TargetSpec)AT_TIME(30), "103 in 103 out 104");
    expect_point(&s, (TargetSpec)AT_XID(106), "106 in 106");
    TargetPoint p AUTO(target_point_release) = {.to_end = false};
    expect_ok(resolve(&s, (TargetSpec)AT_NAME("here"), &p, err));
    assert_non_null(strstr(p.warning, "whether the name is used a second time cannot be seen"));
    /* The hint gives a position that can. */
    Err why = {0};
    TargetPoint q AUTO(target_point_release) = {.to_end = false};
    assert_int_equal(resolve(&s, (TargetSpec){.type = TARGET_LATEST}, &q, &why), ERR_WAL_MISSING);
    const char *hint = strstr(why.hint, "--target-lsn=");
    assert_non_null(hint);
    char text[LSN_TEXT_LEN];
    Lsn lsn;
    snprintf(text, sizeof(text), "%.*s", (int)strcspn(hint + 13, " "), hint + 13);
    expect_ok(lsn_parse(text, &lsn, err));
    expect_ok(resolve(&s, (TargetSpec)AT_LSN(lsn), &q, err));
}

static void wal_that_ends_too_early(void **state)
{
    (void)state;
    SCENE(s);
    s.backup.stop_lsn = AT(7, 0x100);
    expect_refused(&s, (TargetSpec){.type = TARGET_LATEST}, ERR_WAL_MISSING,
                   "before the end of backup");
    expect_refused(&s, (TargetSpec){.type = TARGET_IMMEDIATE}, ERR_WAL_MISSING,
                   "before the end of backup");
}

/* A commit of hundreds of kilobytes, as many subtransactions make it, over a border. */
static void a_long_commit(void **state)
{
    (void)state;
    const uint32_t subxacts[] = {100000, 200000};
    for (size_t i = 0; i < ARRAY_LEN(subxacts); i++) {
        Scene s AUTO(scene_release) = {.backup = {.id = "20261123T120000Z-0000000000000001"}};
        WalBuild *b = &s.wal;
        archive_open(&s.archive);
        timeline_path_single(1, &s.path);
        build_init(b, 15, AT(3, 0), 3);
        s.backup.start_lsn = s.backup.stop_lsn = AT(3, 40);
        build_plain(b, 100);
        xact(&s, 101, true, 10);
        build_up_to(b, AT(4, 0) - 400 * 1024);
        s.at[102] = build_commit_with(b, 102, TIME(20), 5000, subxacts[i]);
        s.behind[102] = b->at;
        xact(&s, 103, true, 30);
        build_fill(b, AT(5, 100));
        archive_segment(&s.archive, 1, b, 3, 0);
        archive_segment(&s.archive, 1, b, 4, 0);
        expect_point(&s, (TargetSpec)AT_TIME(25), "102 in 102 out 103");
        expect_point(&s, (TargetSpec)AT_TIME(15), "101 in 101 out 102");
        expect_point(&s, (TargetSpec)AT_XID(102), "102 in 102 out 103");
        expect_point(&s, (TargetSpec)BEFORE_XID(103), "102 in 102 out 103");
        expect_point(&s, (TargetSpec)AT_XID(5000 + subxacts[i] - 1), ({
            static char want[100];
            snprintf(want, sizeof(want),
                     "102 in 102 out 103 (%u is a subtransaction of transaction 102)",
                     5000 + subxacts[i] - 1);
            want;
        }));
    }
}

static void words(void **state)
{
    (void)state;
    const struct {
        TargetSpec spec;
        const char *want;
    } cases[] = {
        {{.type = TARGET_LATEST}, "the end of the archived WAL"},
        {{.type = TARGET_IMMEDIATE}, "the end of the backup"},
        {AT_TIME(0), "time 2026-11-23 12:00:00.000000 UTC"},
        {BEFORE_LSN(0x100000028), "LSN 1/28 (exclusive)"},
        {AT_XID(UINT64_MAX), "transaction 18446744073709551615"},
        {AT_NAME("x"), "restore point 'x'"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[160];
        assert_string_equal(target_format(&cases[i].spec, text), cases[i].want);
    }
    char name[300], text[161];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    text[160] = '!';
    assert_true(strlen(target_format(&(TargetSpec)AT_NAME(name), text)) < 160 && text[160] == '!');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_ends),
        cmocka_unit_test(times),
        cmocka_unit_test(transactions),
        cmocka_unit_test(epochs),
        cmocka_unit_test(positions),
        cmocka_unit_test(names),
        cmocka_unit_test(tablespaces_and_parameters),
        cmocka_unit_test(a_hole),
        cmocka_unit_test(wal_that_ends_too_early),
        cmocka_unit_test(a_long_commit),
        cmocka_unit_test(words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
