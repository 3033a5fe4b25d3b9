/* Reading pages and small files back: every stretch of a file, from several packs, whatever order
 * they are asked for in; what does not fit its hash is never handed out; a fallback takes over. */

#include "tests/unit/unit.h"

#include "lib/common/bytes.h"
#include "lib/repo/page_reader.h"
#include "tests/unit/mem_backup.h"
#include "tests/unit/mem_repo.h"

#define ID "20260102T000000Z-00000000000000aa"
#define OLD_ID "20260101T000000Z-00000000000000bb"
#define D0 "packs/" ID "/0/d0"
#define OLD_D0 "packs/" OLD_ID "/0/d0"

/* A backup that uses an older one, and a reader of one of its files. */
typedef struct Reading {
    Repo *repo;
    MemBackup backup;
    PackTables *tables;
    MapPackReader *maps;
    FileMap map;
    PageReader *reader;
} Reading;

static void reading_open(Reading *r, Repo *repo, size_t tables_memory)
{
    r->repo = repo;
    r->tables = pack_tables_new(repo, tables_memory, NULL, NULL);
    r->maps = map_pack_reader_new(repo, NULL, NULL);
    r->reader = page_reader_new(repo, r->tables, MIB);
    expect_ok(map_pack_reader_get(r->maps, ID, &r->backup.map, &r->map, err));
}

static void reading_init(Reading *r, uint8_t cipher)
{
    *r = (Reading){.repo = NULL};
    Repo *repo = mem_repo_new(cipher);
    mem_backup_put(repo, OLD_ID, NULL);
    mem_backup_begin(repo, ID, OLD_ID, &r->backup);
    reading_open(r, repo, MIB);
}

static void reading_close(Reading *r)
{
    page_reader_free(r->reader);
    file_map_release(&r->map);
    map_pack_reader_free(r->maps);
    pack_tables_free(r->tables);
}

static void reading_release(Reading *r)
{
    reading_close(r);
    mem_backup_release(&r->backup);
    repo_close(r->repo);
}

static ErrCode begin(Reading *r, uint64_t first, uint64_t until, Err *err)
{
    return page_reader_begin(r->reader, &r->map, map_pack_reader_ids(r->maps), MEM_PAGE,
                             (uint64_t)MEM_PAGES * MEM_PAGE, first, until, err);
}

static bool is_zeros(uint64_t page)
{
    return page >= 8 && page < 12;
}

static void expect_page(uint64_t page, const uint8_t *got)
{
    uint8_t want[MEM_PAGE];
    mem_page(2, page, want);
    assert_memory_equal(got, want, MEM_PAGE);
}

/* Pages first … until − 1, at most n at a time; returns how many calls it took. */
static unsigned read_stretch(Reading *r, uint64_t first, uint64_t until, uint64_t n)
{
    uint8_t *out AUTO(mem_freep) = mem_new(n * MEM_PAGE);
    unsigned calls = 0;
    expect_ok(begin(r, first, until, err));
    for (uint64_t page = first; page < until; calls++) {
        uint64_t got;
        bool zeros;
        expect_ok(page_reader_next(r->reader, out, n, &got, &zeros, err));
        assert_in_range(got, 1, zeros ? until - page : MIN(n, until - page));
        for (uint64_t i = 0; i < got; i++) {
            assert_int_equal(is_zeros(page + i), zeros);
            if (!zeros)
                expect_page(page + i, out + i * MEM_PAGE);
        }
        page += got;
    }
    uint64_t got;
    bool zeros;
    expect_ok(page_reader_next(r->reader, out, n, &got, &zeros, err));
    assert_int_equal(got, 0);
    return calls;
}

static void every_stretch(void **state)
{
    (void)state;
    Reading r AUTO(reading_release);
    reading_init(&r, CIPHER_AES_256_GCM);
    for (uint64_t first = 0; first < MEM_PAGES; first++)
        for (uint64_t until = first + 1; until <= MEM_PAGES; until += 3)
            read_stretch(&r, first, until, 1 + (first + until) % 17);
}

static void as_much_as_is_asked_for(void **state)
{
    (void)state;
    Reading r AUTO(reading_release);
    reading_init(&r, CIPHER_NONE);
    assert_int_equal(read_stretch(&r, 0, MEM_PAGES, MEM_PAGES), 3); /* pages, zeros, pages */
    assert_int_equal(read_stretch(&r, 0, MEM_PAGES, 1), 1 + MEM_PAGES - 4);
    assert_int_equal(read_stretch(&r, 9, 11, 1), 1);
}

static void pages_that_are_passed_over(void **state)
{
    (void)state;
    Reading r AUTO(reading_release);
    uint8_t out[MEM_PAGE];
    uint64_t got;
    bool zeros;
    reading_init(&r, CIPHER_NONE);
    expect_ok(begin(&r, 1, MEM_PAGES, err));
    const uint64_t pages[] = {1, 6, 14, 39};
    uint64_t at = 1;
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        page_reader_skip(r.reader, pages[i] - at);
        expect_ok(page_reader_next(r.reader, out, 1, &got, &zeros, err));
        assert_int_equal(got, 1);
        expect_page(pages[i], out);
        at = pages[i] + 1;
    }
}

/* Two packs in turn, and a cache that holds neither. */
static void tables_that_are_thrown_out(void **state)
{
    (void)state;
    Reading r AUTO(reading_release);
    reading_init(&r, CIPHER_NONE);
    reading_close(&r);
    r.map = (FileMap){.pages = 0};
    reading_open(&r, r.repo, 0);
    for (int i = 0; i < 3; i++) {
        read_stretch(&r, 0, 8, 4);
        read_stretch(&r, 12, 40, 4);
    }
}

static void the_same_or_not(void **state)
{
    (void)state;
    Reading r AUTO(reading_release);
    uint8_t page[MEM_PAGE], zeros[MEM_PAGE] = {0};
    bool same;
    reading_init(&r, CIPHER_AES_256_GCM);
    expect_ok(begin(&r, 0, MEM_PAGES, err));
    for (uint64_t i = 0; i < MEM_PAGES; i++) {
        mem_page(2, i, page);
        expect_ok(page_reader_same(r.reader, i, page, MEM_PAGE, &same, err));
        assert_int_equal(same, !is_zeros(i));
        expect_ok(page_reader_same(r.reader, i, zeros, MEM_PAGE, &same, err));
        assert_int_equal(same, is_zeros(i));
        expect_ok(page_reader_same(r.reader, i, zeros, MEM_PAGE - 1, &same, err));
        assert_false(same);
        expect_ok(page_reader_same(r.reader, i, page, MEM_PAGE - 1, &same, err));
        assert_false(same);
        page[MEM_PAGE - 1] ^= 1;
        expect_ok(page_reader_same(r.reader, i, page, MEM_PAGE, &same, err));
        assert_false(same);
    }
    mem_page(2, 13, page); /* a page is in its own place alone */
    expect_ok(page_reader_same(r.reader, 14, page, MEM_PAGE, &same, err));
    assert_false(same);
    expect_ok(page_reader_same(r.reader, MEM_PAGES, page, MEM_PAGE, &same, err));
    assert_false(same);
}

/* The last page of base/5/3 has 100 bytes. */
static void a_file_that_ends_in_a_page(void **state)
{
    (void)state;
    Reading r AUTO(reading_release);
    uint8_t out[3 * MEM_PAGE], want[MEM_PAGE];
    uint64_t got;
    bool zeros, same;
    FileMap map AUTO(file_map_release) = {0};
    reading_init(&r, CIPHER_NONE);
    expect_ok(map_pack_reader_get(r.maps, ID, &r.backup.tail_map, &map, err));
    const StrList *ids = map_pack_reader_ids(r.maps);
    const uint64_t size = 2 * MEM_PAGE + MEM_TAIL;
    for (uint64_t first = 0; first < 3; first++) { /* as a whole unit, and as a part of one */
        memset(out, 0xEE, sizeof(out));
        expect_ok(page_reader_begin(r.reader, &map, ids, MEM_PAGE, size, first, 3, err));
        expect_ok(page_reader_next(r.reader, out, 3, &got, &zeros, err));
        assert_int_equal(got, 3 - first);
        mem_page(3, 2, want);
        size_t at = (size_t)(2 - first) * MEM_PAGE;
        assert_memory_equal(out + at, want, MEM_TAIL);
        assert_int_equal(out[at + MEM_TAIL], 0xEE);
    }
    expect_ok(page_reader_same(r.reader, 2, want, MEM_TAIL, &same, err));
    assert_true(same);
    expect_ok(page_reader_same(r.reader, 2, want, MEM_PAGE, &same, err));
    assert_false(same);
    const uint64_t wrong[] = {0, 2 * MEM_PAGE, 3 * MEM_PAGE + 1, UINT64_C(1) << 50};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        expect_err(ERR_DAMAGED, "a map of 3 pages for a file of",
                   page_reader_begin(r.reader, &map, ids, MEM_PAGE, wrong[i], 0, 3, err));
    expect_ok(page_reader_begin(r.reader, &map, ids, MEM_PAGE, 2 * MEM_PAGE + 1, 0, 3, err));
    expect_ok(page_reader_begin(r.reader, &map, ids, MEM_PAGE, 3 * MEM_PAGE, 0, 3, err));
}

/* --- what must not be handed out --- */

static ErrCode read_all(Reading *r, Err *err)
{
    uint8_t *out AUTO(mem_freep) = mem_new((size_t)MEM_PAGES * MEM_PAGE);
    TRY(begin(r, 0, r->map.pages, err));
    for (uint64_t page = 0, got; page < r->map.pages; page += got) {
        bool zeros;
        TRY(page_reader_next(r->reader, out, MEM_PAGES, &got, &zeros, err));
        assert_true(got > 0);
    }
    return ERR_OK;
}

static void maps_that_point_elsewhere(void **state)
{
    (void)state;
    const struct {
        uint64_t first, slot;
        const char *says;
    } wrong[] = {
        {0, 1, "slot 1 does not hold page 0"},
        {12, 9, "slot 9 does not hold page 12"},
        {30, 38, "unit 3 is too short for its slots"}, /* a shorter page of another file */
        {39, 39, "a map points behind its last slot"},
        {39, UINT64_C(1) << 32, "a map points behind its last slot"},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        Reading r AUTO(reading_release);
        FileMap map = {.pages = MEM_PAGES};
        reading_init(&r, CIPHER_NONE);
        for (uint64_t p = 0; p < MEM_PAGES; p++) {
            const MapRun *run = file_map_find(&r.map, p);
            uint64_t slot = p == wrong[i].first ? wrong[i].slot : run->slot + (p - run->first);
            if (run->source)
                file_map_add(&map, p, 1, r.map.sources.at[run->source - 1], slot);
            else
                file_map_add_zeros(&map, p, 1);
        }
        file_map_release(&r.map);
        r.map = map;
        expect_err(ERR_DAMAGED, "packs/", read_all(&r, err));
        expect_err(ERR_DAMAGED, wrong[i].says, read_all(&r, err));
    }
}

static void a_flipped_bit(void **state)
{
    (void)state;
    const uint8_t ciphers[] = {CIPHER_NONE, CIPHER_AES_256_GCM};
    for (size_t i = 0; i < ARRAY_LEN(ciphers); i++) {
        Reading r AUTO(reading_release);
        Buf stored AUTO(buf_release) = {0};
        reading_init(&r, ciphers[i]);
        mem_get(r.repo, OLD_D0, &stored);
        stored.data[130] ^= 4; /* in its first unit */
        mem_put(r.repo, OLD_D0, stored.data, stored.len);
        expect_err(ERR_DAMAGED, "app/" OLD_D0, read_all(&r, err));
        read_stretch(&r, 8, MEM_PAGES, 16); /* the rest is as good as before */
    }
}

/* A page changed before it was compressed: all digests fit, but the hash does not. */
static void a_page_that_was_changed(void **state)
{
    (void)state;
    Reading r AUTO(reading_release);
    reading_init(&r, CIPHER_NONE);
    mem_rewrite_pack(r.repo, ID, 1); /* pages 20 to 35 */
    expect_err(ERR_DAMAGED, "does not hold page 35", read_all(&r, err));
    read_stretch(&r, 0, 20, 16);
    read_stretch(&r, 36, 40, 16);
}

/* --- small files --- */

static const FileEntry version_file = {.path = "PG_VERSION", .size = 3, .unit = 4};
static const FileEntry control_file = {
    .path = "global/pg_control", .size = 512, .unit = 4, .off = 3, .small = 1};

static void small_files(void **state)
{
    (void)state;
    Reading r AUTO(reading_release);
    const void *data;
    bool same;
    reading_init(&r, CIPHER_AES_256_GCM);
    expect_ok(page_reader_small(r.reader, ID, &control_file, &data, err));
    assert_int_equal(*(const uint8_t *)data, 0xC0);
    expect_ok(page_reader_small(r.reader, OLD_ID, &version_file, &data, err));
    assert_memory_equal(data, "bb\n", 3);
    expect_ok(page_reader_small(r.reader, ID, &version_file, &data, err));
    assert_memory_equal(data, "aa\n", 3);
    expect_ok(page_reader_small_same(r.reader, ID, &version_file, "aa\n", 3, &same, err));
    assert_true(same);
    expect_ok(page_reader_small_same(r.reader, ID, &version_file, "ab\n", 3, &same, err));
    assert_false(same);
    expect_ok(page_reader_small_same(r.reader, ID, &version_file, "aa\n", 2, &same, err));
    assert_false(same);
}

static void small_files_in_the_wrong_place(void **state)
{
    (void)state;
    const FileEntry wrong[] = {
        {.path = "x", .size = 3, .unit = 5}, /* no such unit */
        {.path = "x", .size = 3, .unit = UINT32_MAX},
        {.path = "x", .size = 3, .unit = 0},             /* one of pages */
        {.path = "x", .size = 3, .unit = 4, .off = 1},   /* not its bytes */
        {.path = "x", .size = 4, .unit = 4},             /* nor its size */
        {.path = "x", .size = 3, .unit = 4, .small = 1}, /* nor its number */
        {.path = "x", .size = 3, .unit = 4, .small = 2},
        {.path = "x", .size = 3, .unit = 4, .small = UINT32_MAX},
        {.path = "x", .size = 512, .unit = 4, .off = 4, .small = 1}, /* over the end */
        {.path = "x", .size = 3, .unit = 4, .off = UINT64_MAX},
        {.path = "x", .size = 3, .unit = 4, .off = UINT64_MAX / 2},
        {.path = "x", .size = UINT64_MAX, .unit = 4, .off = 3},
    };
    Reading r AUTO(reading_release);
    const void *data;
    reading_init(&r, CIPHER_NONE);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        expect_err(ERR_DAMAGED, D0, page_reader_small(r.reader, ID, &wrong[i], &data, err));
}

/* --- a fallback --- */

/* Another repository, under another key, with the same backups. */
static Repo *fallback_of(Reading *r)
{
    Repo *other = mem_repo_new(CIPHER_AES_256_GCM);
    MemBackup b AUTO(mem_backup_release);
    mem_backup_put(other, OLD_ID, NULL);
    mem_backup_begin(other, ID, OLD_ID, &b);
    r->repo->fallback = other;
    return other;
}

static void what_is_lost_is_read_from_the_fallback(void **state)
{
    (void)state;
    static const char *const lost[] = {D0, OLD_D0};
    for (size_t i = 0; i < ARRAY_LEN(lost); i++) {
        Reading r AUTO(reading_release);
        reading_init(&r, CIPHER_NONE);
        Repo *other AUTO(repo_closep) = fallback_of(&r);
        const void *data;
        bool same;
        mem_remove(r.repo, lost[i]);
        read_stretch(&r, 0, MEM_PAGES, 16);
        read_stretch(&r, 5, 30, 1);
        expect_ok(page_reader_small(r.reader, i ? OLD_ID : ID, &version_file, &data, err));
        assert_memory_equal(data, i ? "bb\n" : "aa\n", 3);
        assert_false(atomic_load(&r.repo->down));

        /* What is there already cannot be compared: then it is written anew. */
        uint8_t page[MEM_PAGE];
        mem_page(2, i ? 0 : 12, page);
        expect_ok(begin(&r, 0, MEM_PAGES, err));
        expect_ok(page_reader_same(r.reader, i ? 0 : 12, page, MEM_PAGE, &same, err));
        assert_false(same);
        expect_ok(page_reader_small_same(r.reader, i ? OLD_ID : ID, &version_file,
                                         i ? "bb\n" : "aa\n", 3, &same, err));
        assert_false(same);
        mem_remove(other, lost[i]);
        expect_err(ERR_NOT_FOUND, lost[i], read_all(&r, err));
    }
}

/* One that does not answer is asked once, not for every page. */
static void a_repository_that_is_down(void **state)
{
    (void)state;
    Storage *mem = storage_mem_new(false);
    FaultSpec none = {.ops = STORAGE_OP_GET};
    Storage *faulty = storage_fault_new(mem, &none);
    Reading r AUTO(reading_release) = {.repo = NULL};
    Repo *repo = mem_repo_in(faulty, CIPHER_NONE);
    mem_backup_put(repo, OLD_ID, NULL);
    mem_backup_begin(repo, ID, OLD_ID, &r.backup);
    reading_open(&r, repo, MIB);
    Repo *other AUTO(repo_closep) = fallback_of(&r);
    FaultSpec all = {.ops = STORAGE_OP_GET, .nth = 1, .code = ERR_NETWORK};
    storage_fault_set(faulty, &all);
    read_stretch(&r, 0, MEM_PAGES, 4);
    assert_true(atomic_load(&repo->down));
    assert_int_equal(storage_fault_calls(faulty), 1);
    const void *data;
    expect_ok(page_reader_small(r.reader, ID, &version_file, &data, err));
    assert_int_equal(storage_fault_calls(faulty), 1);
    storage_fault_set(faulty, &none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_stretch),
        cmocka_unit_test(as_much_as_is_asked_for),
        cmocka_unit_test(pages_that_are_passed_over),
        cmocka_unit_test(tables_that_are_thrown_out),
        cmocka_unit_test(the_same_or_not),
        cmocka_unit_test(a_file_that_ends_in_a_page),
        cmocka_unit_test(maps_that_point_elsewhere),
        cmocka_unit_test(a_flipped_bit),
        cmocka_unit_test(a_page_that_was_changed),
        cmocka_unit_test(small_files),
        cmocka_unit_test(small_files_in_the_wrong_place),
        cmocka_unit_test(what_is_lost_is_read_from_the_fallback),
        cmocka_unit_test(a_repository_that_is_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
