/* Where WAL lies (docs/repository-format.md, 3, 14 and 15): names of objects, orphans and marks,
 * what listings find and pass over; and how a tail is put together. */

#include "tests/unit/unit.h"

#include "lib/repo/wal_object.h"
#include "lib/repo/wal_tail.h"
#include "tests/unit/mem_repo.h"

#define SYSTEM UINT64_C(7000000000000000001)
#define DIGEST_A "0123456789abcdef0123456789abcdef"
#define DIGEST_B "ffffffffffffffffffffffffffffffff"
#define SEGMENT "0000000100000002000000AB"
#define WAL "wal/7000000000000000001/"
#define DIR WAL "00000001/0000000100000002/"
#define TAIL "tail/7000000000000000001/00000001/" SEGMENT "/"
#define UUID_A "0123456789abcdef0123456789abcdef"
#define UUID_B "fedcba9876543210fedcba9876543210"

static WalStore store_of(Repo *repo)
{
    WalStore s;
    wal_store_init(&s, repo, SYSTEM, 16 * MIB);
    return s;
}

/* --- names --- */

static void names_of_objects(void **state)
{
    (void)state;
    static const struct {
        uint32_t seg_size;
        const char *file, *name;
    } cases[] = {
        {16 << 20, SEGMENT, DIR SEGMENT "-" DIGEST_A},
        {16 << 20, SEGMENT ".partial", DIR SEGMENT ".partial-" DIGEST_A},
        {16 << 20, SEGMENT ".00000028.backup", DIR SEGMENT ".00000028.backup-" DIGEST_A},
        {16 << 20, "0000000A.history", WAL "history/0000000A.history-" DIGEST_A},
        {1 << 20, SEGMENT,
         "wal/7000000000000000001-1048576/00000001/0000000100000002/" SEGMENT "-" DIGEST_A},
        {1 << 30, "00000002.history",
         "wal/7000000000000000001-1073741824/history/00000002.history-" DIGEST_A},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        WalStore s;
        WalFound back;
        wal_store_init(&s, NULL, SYSTEM, cases[i].seg_size);
        char *name AUTO(mem_freep) = wal_object_name(&s, cases[i].file, DIGEST_A);
        assert_string_equal(name, cases[i].name);
        assert_true(wal_found_parse(name, &back));
        assert_string_equal(back.file, cases[i].file);
        assert_string_equal(back.digest, DIGEST_A);
    }
}

static void names_of_orphans(void **state)
{
    (void)state;
    WalStore s = store_of(NULL);
    WalFound back;
    char *name AUTO(mem_freep) = wal_orphan_name(&s, "db1.example", SEGMENT, DIGEST_A);
    char *nobody AUTO(mem_freep) = wal_orphan_name(&s, "", "00000002.history", DIGEST_B);
    assert_string_equal(name, "orphan/7000000000000000001/db1.example/" SEGMENT "-" DIGEST_A);
    assert_string_equal(nobody, "orphan/7000000000000000001/unknown/00000002.history-" DIGEST_B);
    assert_true(wal_found_parse(nobody, &back));
    assert_string_equal(back.file, "00000002.history");
}

static void systems(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t id; /* 0: it is none */
        uint32_t seg_size;
    } cases[] = {
        {"7000000000000000001", SYSTEM, 16 << 20},
        {"7000000000000000001-1048576", SYSTEM, 1 << 20},
        {"18446744073709551615", UINT64_MAX, 16 << 20},
        {"1-1073741824", 1, 1 << 30},
        {"", 0, 0},
        {"0", 0, 0},
        {"07", 0, 0},
        {"-7", 0, 0},
        {"+7", 0, 0},
        {" 7", 0, 0},
        {"7x", 0, 0},
        {"7-", 0, 0},
        {"7-0", 0, 0},
        {"7-01048576", 0, 0},
        {"7-1048576x", 0, 0},
        {"7--1048576", 0, 0},
        {"7-16777216", 0, 0}, /* it is what stands for none */
        {"7-4294967297", 0, 0},
        {"18446744073709551616", 0, 0},
        {"99999999999999999999999999", 0, 0},
        {"history", 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t id;
        uint32_t seg_size;
        if (wal_system_parse(cases[i].text, &id, &seg_size) != (cases[i].id != 0))
            fail_msg("'%s'", cases[i].text);
        if (!cases[i].id)
            continue;
        assert_true(id == cases[i].id);
        assert_int_equal(seg_size, cases[i].seg_size);
    }
}

static void what_is_no_name(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        DIGEST_A,
        "-" DIGEST_A,
        SEGMENT "-",
        SEGMENT "_" DIGEST_A,
        SEGMENT "-0123456789ABCDEF0123456789ABCDEF",
        SEGMENT "-0123456789abcdef0123456789abcde",
        SEGMENT "-g123456789abcdef0123456789abcdef",
        "a/" DIGEST_A,
        /* a file's name of 64 bytes */
        "0123456789012345678901234567890123456789012345678901234567890123-" DIGEST_A,
    };
    WalFound f;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (wal_found_parse(bad[i], &f))
            fail_msg("'%s'", bad[i]);
    assert_true(wal_found_parse(
        "012345678901234567890123456789012345678901234567890123456789012-" DIGEST_A, &f));
    assert_int_equal(strlen(f.file), 63);
}

/* --- listings --- */

static const char *const objects[] = {
    DIR SEGMENT "-" DIGEST_A,
    DIR SEGMENT "-" DIGEST_B,
    DIR SEGMENT ".partial-" DIGEST_A,
    DIR SEGMENT ".00000028.backup-" DIGEST_A,
    DIR "0000000100000002000000AC-" DIGEST_A,
    DIR "0000000100000002000000AC-stray", /* somebody's copy */
    WAL "00000001/0000000100000003/000000010000000300000000-" DIGEST_A,
    WAL "00000001/other/x-" DIGEST_A,
    WAL "0000000A/0000000A00000003/0000000A0000000300000000-" DIGEST_A,
    WAL "0000000a/x-" DIGEST_A,
    WAL "history/00000002.history-" DIGEST_A,
    WAL "history/0000000A.history-" DIGEST_B,
    "wal/7000000000000000001-1048576/00000003/0000000300000000/000000030000000000000001-" DIGEST_A,
    "wal/stray",
    "orphan/7000000000000000001/h/" SEGMENT "-" DIGEST_B,
};

static Repo *repo_of_objects(void)
{
    Repo *repo = mem_repo_new(CIPHER_NONE);
    for (size_t i = 0; i < ARRAY_LEN(objects); i++)
        mem_put(repo, objects[i], "12345", 5);
    return repo;
}

static void expect_found(const WalFoundList *l, const char *want)
{
    Buf got AUTO(buf_release) = {0};
    for (size_t i = 0; i < l->n; i++)
        buf_printf(&got, "%s%s-%.1s", i ? " " : "", l->at[i].file, l->at[i].digest);
    assert_string_equal(buf_str(&got), want);
}

static void expect_list(StrList *l, const char *want)
{
    Buf got AUTO(buf_release) = {0};
    for (size_t i = 0; i < l->n; i++)
        buf_printf(&got, "%s%s", i ? " " : "", l->at[i]);
    assert_string_equal(buf_str(&got), want);
    str_list_release(l);
}

static void listings(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = repo_of_objects();
    WalStore s = store_of(repo);
    WalFoundList f = {0};
    StrList names = {0};
    expect_ok(wal_find(&s, SEGMENT, &f, err)); /* two contents; neither .partial nor .backup */
    expect_found(&f, SEGMENT "-0 " SEGMENT "-f");
    f.n = 0;
    expect_ok(wal_find(&s, SEGMENT ".partial", &f, err));
    expect_found(&f, SEGMENT ".partial-0");
    f.n = 0;
    expect_ok(wal_find(&s, "0000000A.history", &f, err));
    expect_found(&f, "0000000A.history-f");
    f.n = 0;
    expect_ok(wal_find(&s, "0000000100000002000000AD", &f, err));
    expect_found(&f, "");
    expect_ok(wal_list_directory(&s, "00000001", "0000000100000002", true, &f, err));
    expect_found(&f, SEGMENT "-0 " SEGMENT "-f " SEGMENT ".00000028.backup-0 " SEGMENT
                             ".partial-0 0000000100000002000000AC-0");
    assert_int_equal(f.at[0].stat.size, 5);
    f.n = 0;
    expect_ok(wal_list_directory(&s, "00000001", "0000000100000002", false, &f, err));
    assert_int_equal(f.at[0].stat.size, 0);
    f.n = 0;
    expect_ok(wal_list_histories(&s, &f, err));
    expect_found(&f, "00000002.history-0 0000000A.history-f");
    vec_release(&f);
    expect_ok(wal_list_directories(&s, "00000001", &names, err));
    expect_list(&names, "0000000100000002 0000000100000003");
    expect_ok(wal_list_timelines(&s, &names, err));
    expect_list(&names, "00000001 0000000A");
    expect_ok(wal_list_systems(repo, &names, err));
    expect_list(&names, "7000000000000000001-1048576 7000000000000000001");
    char *histories AUTO(mem_freep) = wal_histories_prefix(&s);
    char *find AUTO(mem_freep) = wal_find_prefix(&s, SEGMENT);
    assert_string_equal(histories, WAL "history/");
    assert_string_equal(find, DIR SEGMENT "-");
}

/* The same name and another digest is another object: what one removes is not the other's. */
static void one_content_is_removed(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = repo_of_objects();
    WalStore s = store_of(repo);
    WalFoundList f = {0};
    WalFound one = {.file = SEGMENT, .digest = DIGEST_A};
    expect_ok(wal_remove(&s, &one, err));
    expect_ok(wal_find(&s, SEGMENT, &f, err));
    expect_found(&f, SEGMENT "-f");
    vec_release(&f);
    expect_ok(wal_remove(&s, &one, err)); /* gone is gone */
}

/* --- marks --- */

static void marks(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    WalStore s = store_of(repo);
    TimelineMarks m AUTO(timeline_marks_release) = {0}, some AUTO(timeline_marks_release) = {0},
                    all AUTO(timeline_marks_release) = {0}, none AUTO(timeline_marks_release) = {0};
    json_t *body AUTO(json_decrefp) = json_pack("{s:s}", "file", SEGMENT);
    expect_ok(timeline_mark_put(&s, "00000001", "frozen", body, err));
    char *name AUTO(mem_freep) = mem_only(repo, "timelines/7000000000000000001/00000001/frozen-");
    assert_int_equal(strlen(strrchr(name, '/')), strlen("/frozen-") + 32);
    expect_ok(timeline_mark_put(&s, "00000001", "other", body, err));
    expect_ok(timeline_mark_put(&s, "00000002", "frozen", body, err));
    expect_ok(timeline_marks_read(&s, "00000001", "frozen-", &m, err));
    assert_int_equal(m.n, 1);
    assert_string_equal(m.at[0].name, strrchr(name, '/') + 1);
    assert_string_equal(json_string_value(json_object_get(m.at[0].body, "file")), SEGMENT);
    expect_ok(timeline_marks_read(&s, "00000001", "", &all, err));
    assert_int_equal(all.n, 2);
    /* One that cannot be read may freeze the timeline: it is not passed over. */
    mem_put(repo, "timelines/7000000000000000001/00000001/frozen-x", "no object", 9);
    expect_err(ERR_DAMAGED, "frozen-x", timeline_marks_read(&s, "00000001", "frozen-", &some, err));
    mem_remove(repo, "timelines/7000000000000000001/00000001/frozen-x");
    expect_ok(timeline_mark_remove(&s, "00000001", m.at[0].name, err));
    expect_ok(timeline_marks_read(&s, "00000001", "frozen-", &none, err));
    assert_int_equal(none.n, 0);
    assert_int_equal(mem_count(repo, "timelines/"), 2);
}

/* --- tails --- */

#define START UINT64_C(0x2AB000000)

/* Bytes of the segment as `variant` of its writers would have them. */
static uint8_t byte_at(uint64_t lsn, int variant)
{
    return (uint8_t)(lsn * 7 + (lsn >= START + 50 ? (uint64_t)variant : 0));
}

static void put_tail(WalStore *s, unsigned from, unsigned until, const char *session, int variant)
{
    uint8_t data[256];
    for (unsigned i = from; i < until; i++)
        data[i - from] = byte_at(START + i, variant);
    expect_ok(tail_put(s, SEGMENT, START + from, START + until, session, data, err));
}

static void expect_tail(WalStore *s, unsigned want, int variant)
{
    Buf data AUTO(buf_release) = {0};
    uint64_t end;
    bool vanished;
    buf_append_str(&data, "before");
    expect_ok(tail_read(s, SEGMENT, START, &data, &end, &vanished, err));
    assert_false(vanished);
    assert_int_equal(end, START + want);
    assert_int_equal(data.len, 6 + want);
    for (unsigned i = 0; i < want; i++)
        assert_int_equal(data.data[6 + i], byte_at(START + i, variant));
}

static void a_tail(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    WalStore s = store_of(repo);
    Buf text AUTO(buf_release) = {0};
    uint64_t start, end;
    StrList segments = {0};
    bool there;
    expect_tail(&s, 0, 0);
    expect_ok(tail_exists(&s, SEGMENT, &there, err));
    assert_false(there);
    put_tail(&s, 0, 10, UUID_A, 0);
    char *name AUTO(mem_freep) = mem_only(repo, "tail/");
    assert_string_equal(name, TAIL "00000002AB000000-00000002AB00000A-" UUID_A);
    assert_true(tail_name_parse(name, &start, &end));
    assert_true(start == START && end == START + 10);
    expect_ok(document_get(repo, name, KIND_TAIL, 10, &text, NULL, err));
    assert_int_equal(text.len, 10);
    assert_int_equal(text.data[9], byte_at(START + 9, 0));
    expect_tail(&s, 10, 0);
    expect_ok(tail_exists(&s, SEGMENT, &there, err));
    assert_true(there);
    mem_put(repo, "tail/7000000000000000001/00000001/0000000100000002000000B0/x", "", 0);
    mem_put(repo, "tail/7000000000000000001/00000001/0000000100000002000000b1/x", "", 0);
    mem_put(repo, "tail/7000000000000000001/00000001/stray", "", 0);
    expect_ok(tail_list_segments(&s, "00000001", &segments, err));
    expect_list(&segments, SEGMENT " 0000000100000002000000B0");
    expect_ok(tail_exists(&s, "0000000100000002000000B0", &there, err));
    assert_false(there); /* a stray object is no tail */
}

/* Objects of one session overlap; a gap ends it. */
static void a_session(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    WalStore s = store_of(repo);
    put_tail(&s, 0, 10, UUID_A, 0);
    put_tail(&s, 10, 20, UUID_A, 0);
    put_tail(&s, 5, 15, UUID_A, 0);
    put_tail(&s, 0, 25, UUID_A, 0); /* covers those before */
    put_tail(&s, 25, 30, UUID_A, 0);
    put_tail(&s, 31, 60, UUID_A, 0); /* behind a gap */
    expect_tail(&s, 30, 0);
    put_tail(&s, 28, 32, UUID_A, 0);
    expect_tail(&s, 60, 0);
}

static void several_sessions(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    WalStore s = store_of(repo);
    Buf data AUTO(buf_release) = {0};
    uint64_t end;
    bool vanished;
    put_tail(&s, 0, 20, UUID_A, 0);
    put_tail(&s, 0, 40, UUID_B, 0);
    expect_tail(&s, 40, 0); /* the one that reaches furthest */
    put_tail(&s, 20, 60, UUID_A, 0);
    expect_tail(&s, 60, 0);
    /* Pieces are taken from one session: only together would they reach 80. */
    put_tail(&s, 60, 80, UUID_B, 0);
    expect_tail(&s, 60, 0);
    put_tail(&s, 40, 60, UUID_B, 9); /* which says something else from 50 on */
    expect_err(ERR_CONFLICT, "two streams of segment " SEGMENT,
               tail_read(&s, SEGMENT, START, &data, &end, &vanished, err));
    assert_int_equal(data.len, 0);
}

static void tails_that_are_damaged(void **state)
{
    (void)state;
    static const char *const passed_over[] = {
        "00000002AB000000-00000002AB00000a-" UUID_A, "00000002ab000000-00000002AB00000A-" UUID_A,
        "00000002AB000000_00000002AB00000A-" UUID_A, "00000002AB000000-00000002AB00000A-",
        "00000002AB000000-00000002AB00000A",         "x"};
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    WalStore s = store_of(repo);
    Buf data AUTO(buf_release) = {0};
    uint64_t end;
    bool vanished;
    for (size_t i = 0; i < ARRAY_LEN(passed_over); i++) {
        char *name AUTO(mem_freep) = mem_printf(TAIL "%s", passed_over[i]);
        mem_put(repo, name, "no object", 9);
        assert_false(tail_name_parse(name, &end, &end));
    }
    expect_tail(&s, 0, 0);
    put_tail(&s, 0, 10, UUID_A, 0);
    /* An end before its start covers nothing, whatever is in it. */
    mem_put(repo, TAIL "00000002AB00000A-00000002AB000000-" UUID_A, "no object", 9);
    expect_tail(&s, 10, 0);
    Buf object AUTO(buf_release) = {0};
    mem_get(repo, TAIL "00000002AB000000-00000002AB00000A-" UUID_A, &object);
    mem_put(repo, TAIL "00000002AB000000-00000002AB00000B-" UUID_A, object.data, object.len);
    expect_err(ERR_DAMAGED, "holds 10 bytes",
               tail_read(&s, SEGMENT, START, &data, &end, &vanished, err));
    mem_put(repo, TAIL "00000002AB000000-00000002AB00000B-" UUID_A, "no object", 9);
    expect_err(ERR_DAMAGED, "app/" TAIL,
               tail_read(&s, SEGMENT, START, &data, &end, &vanished, err));
}

/* More than a segment is not even read. */
static void a_tail_that_is_too_long(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    WalStore s;
    Buf data AUTO(buf_release) = {0};
    uint8_t *zeros AUTO(mem_freep) = mem_zero(MIB + 1);
    uint64_t end;
    bool vanished;
    wal_store_init(&s, repo, SYSTEM, MIB);
    expect_ok(tail_put(&s, SEGMENT, START, START + MIB, UUID_A, zeros, err));
    expect_ok(tail_read(&s, SEGMENT, START, &data, &end, &vanished, err));
    assert_int_equal(end, START + MIB);
    expect_ok(tail_put(&s, SEGMENT, START, START + MIB + 1, UUID_A, zeros, err));
    expect_err(ERR_LIMIT, "", tail_read(&s, SEGMENT, START, &data, &end, &vanished, err));
}

/* The segment is finished, and its tail removed, between the listing and the reading. */
static void remove_tail(void *arg, StorageOp op, const char *name)
{
    (void)op;
    (void)name;
    Repo *beside = arg;
    mem_remove(beside, TAIL "00000002AB000000-00000002AB00000A-" UUID_A);
}

static void a_tail_that_vanishes(void **state)
{
    (void)state;
    Storage *mem = storage_mem_new(false);
    FaultSpec none = {.ops = STORAGE_OP_GET};
    Storage *faulty = storage_fault_new(mem, &none);
    Repo *repo AUTO(repo_closep) = mem_repo_in(faulty, CIPHER_NONE);
    Repo beside = *repo;
    FaultSpec spec = {.ops = STORAGE_OP_GET, .hook = remove_tail, .hook_arg = &beside};
    WalStore s = store_of(repo);
    Buf data AUTO(buf_release) = {0};
    uint64_t end;
    bool vanished;
    beside.storage = mem;
    put_tail(&s, 0, 10, UUID_A, 0);
    storage_fault_set(faulty, &spec);
    expect_ok(tail_read(&s, SEGMENT, START, &data, &end, &vanished, err));
    assert_true(vanished);
    storage_fault_set(faulty, &none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_objects),
        cmocka_unit_test(names_of_orphans),
        cmocka_unit_test(systems),
        cmocka_unit_test(what_is_no_name),
        cmocka_unit_test(listings),
        cmocka_unit_test(one_content_is_removed),
        cmocka_unit_test(marks),
        cmocka_unit_test(a_tail),
        cmocka_unit_test(a_session),
        cmocka_unit_test(several_sessions),
        cmocka_unit_test(tails_that_are_damaged),
        cmocka_unit_test(a_tail_that_is_too_long),
        cmocka_unit_test(a_tail_that_vanishes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
