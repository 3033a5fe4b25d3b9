/* File maps and their packs (docs/repository-format.md, 8 and 9): the page's examples byte for
 * byte, maps over the borders of units and packs, and maps that contradict themselves or go in
 * circles. */

#include "tests/unit/unit.h"

#include <xxhash.h>

#include "lib/common/bytes.h"
#include "lib/repo/map_pack.h"
#include "tests/unit/mem_repo.h"

#define ID "20260101T000000Z-00000000000000aa"
#define OLD_ID "20250101T000000Z-00000000000000bb"
#define M0 "packs/" ID "/0/m0"

/* --- the examples of the page --- */

static const uint8_t base_bytes[] = {
    0x00, 0x14, 0x02, 0x00, 0x00, 0xC8, 0x01, 0x01, 0x06, 0xBD, 0x01, 0x04, 0x02, 0x01, 0x04, 0x01,
    0x08, 0x04, 0x04, 0x04, 0x00, 0x00, 0x00, 0x00, 0x62, 0xB2, 0x0E, 0xF0, 0xF9, 0x94, 0x20, 0xD7,
};
static const uint8_t patch_bytes[] = {
    0x01, 0x15, 0x01, 0x00, 0x80, 0x20, 0x20, 0x01, 0x00, 0x04, 0x50, 0x02, 0x02, 0x00,
    0x09, 0x01, 0x0A, 0x01, 0x00, 0x00, 0xEB, 0x89, 0xBD, 0x88, 0xD3, 0x4B, 0x9F, 0x2C,
};

static const MapSource new_d0 = {0, 0}, old_d3 = {1, 3}, new_d2 = {0, 2};

static void make_base(FileMap *m)
{
    *m = (FileMap){.pages = 20};
    file_map_add(m, 0, 8, new_d0, 100);
    file_map_add_zeros(m, 8, 4);
    file_map_add(m, 12, 4, old_d3, 5);
    file_map_add(m, 16, 4, new_d0, 108);
}

static void make_patch(FileMap *m)
{
    *m = (FileMap){.patch = true,
                   .pages = 21,
                   .base_backup = 1,
                   .base_pack = 0,
                   .base_off = 4096,
                   .base_len = 32};
    file_map_add(m, 9, 1, new_d2, 40);
    file_map_add(m, 20, 1, new_d2, 41);
}

static void the_examples(void **state)
{
    (void)state;
    const struct {
        void (*make)(FileMap *m);
        const uint8_t *bytes;
        size_t len;
    } examples[] = {{make_base, base_bytes, sizeof(base_bytes)},
                    {make_patch, patch_bytes, sizeof(patch_bytes)}};
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        FileMap made AUTO(file_map_release) = {0}, read AUTO(file_map_release) = {0};
        Buf bytes AUTO(buf_release) = {0}, again AUTO(buf_release) = {0};
        examples[i].make(&made);
        file_map_encode(&made, &bytes);
        assert_int_equal(bytes.len, examples[i].len);
        assert_memory_equal(bytes.data, examples[i].bytes, bytes.len);
        expect_ok(file_map_decode(examples[i].bytes, examples[i].len, &read, err));
        file_map_encode(&read, &again);
        assert_int_equal(again.len, bytes.len);
        assert_memory_equal(again.data, bytes.data, bytes.len);
    }
}

static void expect_run(const FileMap *m, size_t i, uint64_t first, uint64_t pages,
                       const MapSource *source, uint64_t slot)
{
    const MapRun *r = &m->runs.at[i];
    assert_int_equal(r->first, first);
    assert_int_equal(r->pages, pages);
    assert_int_equal(r->slot, slot);
    if (!source) {
        assert_int_equal(r->source, 0);
        return;
    }
    assert_in_range(r->source, 1, m->sources.n);
    assert_int_equal(m->sources.at[r->source - 1].backup, source->backup);
    assert_int_equal(m->sources.at[r->source - 1].pack, source->pack);
}

static void what_the_examples_say(void **state)
{
    (void)state;
    FileMap m AUTO(file_map_release) = {0};
    expect_ok(file_map_decode(base_bytes, sizeof(base_bytes), &m, err));
    assert_false(m.patch);
    assert_int_equal(m.pages, 20);
    assert_int_equal(m.runs.n, 4);
    expect_run(&m, 0, 0, 8, &new_d0, 100);
    expect_run(&m, 1, 8, 4, NULL, 0);
    expect_run(&m, 2, 12, 4, &old_d3, 5);
    expect_run(&m, 3, 16, 4, &new_d0, 108);
    for (uint64_t page = 0; page < 20; page++) {
        const MapRun *r = file_map_find(&m, page);
        assert_non_null(r);
        assert_in_range(page, r->first, r->first + r->pages - 1);
    }
    assert_null(file_map_find(&m, 20));

    expect_ok(file_map_decode(patch_bytes, sizeof(patch_bytes), &m, err));
    assert_true(m.patch);
    assert_int_equal(m.pages, 21);
    assert_int_equal(m.base_backup, 1);
    assert_int_equal(m.base_pack, 0);
    assert_int_equal(m.base_off, 4096);
    assert_int_equal(m.base_len, 32);
    assert_int_equal(m.runs.n, 2);
    expect_run(&m, 0, 9, 1, &new_d2, 40);
    expect_run(&m, 1, 20, 1, &new_d2, 41);
}

static void a_patch_over_its_base(void **state)
{
    (void)state;
    FileMap base AUTO(file_map_release) = {0}, patch AUTO(file_map_release) = {0},
                 m AUTO(file_map_release) = {0};
    make_base(&base);
    make_patch(&patch);
    file_map_join(&base, &patch, &m);
    assert_false(m.patch);
    assert_int_equal(m.pages, 21);
    assert_int_equal(m.runs.n, 7);
    expect_run(&m, 0, 0, 8, &new_d0, 100);
    expect_run(&m, 1, 8, 1, NULL, 0);
    expect_run(&m, 2, 9, 1, &new_d2, 40);
    expect_run(&m, 3, 10, 2, NULL, 0);
    expect_run(&m, 4, 12, 4, &old_d3, 5);
    expect_run(&m, 5, 16, 4, &new_d0, 108);
    expect_run(&m, 6, 20, 1, &new_d2, 41);
}

static void a_patch_inside_a_run(void **state)
{
    (void)state;
    FileMap base AUTO(file_map_release) = {0}, patch AUTO(file_map_release) = {0},
                 m AUTO(file_map_release) = {0};
    make_base(&base);
    patch = (FileMap){.patch = true, .pages = 20};
    file_map_add(&patch, 3, 2, new_d2, 40);
    file_map_join(&base, &patch, &m);
    assert_int_equal(m.runs.n, 6);
    expect_run(&m, 0, 0, 3, &new_d0, 100);
    expect_run(&m, 1, 3, 2, &new_d2, 40);
    expect_run(&m, 2, 5, 3, &new_d0, 105);
    expect_run(&m, 3, 8, 4, NULL, 0);
}

/* A file that became shorter, or longer by pages that nobody wrote; one that was cut in a run. */
static void patches_of_another_length(void **state)
{
    (void)state;
    FileMap base AUTO(file_map_release) = {0}, m AUTO(file_map_release) = {0};
    FileMap patch = {.patch = true, .pages = 14};
    make_base(&base);
    file_map_join(&base, &patch, &m);
    assert_int_equal(m.pages, 14);
    assert_int_equal(m.runs.n, 3);
    expect_run(&m, 2, 12, 2, &old_d3, 5);
    patch.pages = 30;
    file_map_join(&base, &patch, &m);
    assert_int_equal(m.runs.n, 5);
    expect_run(&m, 3, 16, 4, &new_d0, 108);
    expect_run(&m, 4, 20, 10, NULL, 0);
    patch.pages = 0;
    file_map_join(&base, &patch, &m);
    assert_int_equal(m.runs.n, 0);
    assert_null(file_map_find(&m, 0));
}

/* Neighbours that go on become one run; others do not. */
/* --- differences --- */

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

/* Runs of one to 16 pages, of zeros or of one of a few packs. */
static void random_map(FileMap *m, uint64_t pages, uint64_t *seed)
{
    *m = (FileMap){.pages = pages};
    for (uint64_t page = 0; page < pages;) {
        uint64_t n = MIN(1 + next_random(seed) % 16, pages - page);
        uint32_t source = (uint32_t)(next_random(seed) % 4);
        if (source)
            file_map_add(m, page, n, (MapSource){source % 2, source},
                         next_random(seed) % 3 * 100 + page);
        else
            file_map_add_zeros(m, page, n);
        page += n;
    }
}

/* What `from` says, but for some stretches. */
static void changed_map(const FileMap *from, uint64_t pages, FileMap *m, uint64_t *seed)
{
    FileMap patch = {.patch = true, .pages = pages};
    for (uint64_t page = next_random(seed) % 50; page < pages; page += 5 + next_random(seed) % 50)
        file_map_add(&patch, page, MIN(4, pages - page), (MapSource){1, 9}, page);
    file_map_join(from, &patch, m);
    file_map_release(&patch);
}

static void a_difference_joined_again(void **state)
{
    (void)state;
    uint64_t seed = 20261124;
    for (int i = 0; i < 500; i++) {
        FileMap base = {0}, map = {0}, patch = {0}, joined = {0};
        uint64_t pages = 1 + next_random(&seed) % 300;
        random_map(&base, pages, &seed);
        if (i % 2)
            changed_map(&base, 1 + next_random(&seed) % 300, &map, &seed);
        else
            random_map(&map, 1 + next_random(&seed) % 300, &seed);
        file_map_diff(&base, &map, &patch);
        assert_true(patch.patch);
        file_map_join(&base, &patch, &joined);
        assert_true(file_map_equal(&joined, &map));
        assert_int_equal(file_map_equal(&base, &map), patch.runs.n == 0 && base.pages == map.pages);
        file_map_release(&base);
        file_map_release(&map);
        file_map_release(&patch);
        file_map_release(&joined);
    }
}

/* Only what has changed is in it, also where the numbers of the sources differ. */
static void a_difference_is_small(void **state)
{
    (void)state;
    FileMap base = {0}, map = {.pages = 21}, patch = {0};
    make_base(&base);
    file_map_add(&map, 0, 8, new_d0, 100);
    file_map_add_zeros(&map, 8, 1);
    file_map_add(&map, 9, 1, new_d2, 40);
    file_map_add_zeros(&map, 10, 2);
    file_map_add(&map, 12, 4, old_d3, 5);
    file_map_add(&map, 16, 4, new_d0, 108);
    file_map_add(&map, 20, 1, new_d2, 41);
    file_map_diff(&base, &map, &patch);
    assert_int_equal(patch.runs.n, 2);
    expect_run(&patch, 0, 9, 1, &new_d2, 40);
    expect_run(&patch, 1, 20, 1, &new_d2, 41);
    assert_false(file_map_equal(&base, &map));
    file_map_release(&base);
    file_map_release(&map);
    file_map_release(&patch);
}

static void runs_are_joined(void **state)
{
    (void)state;
    FileMap m AUTO(file_map_release) = {0};
    file_map_add(&m, 0, 4, new_d0, 10);
    file_map_add(&m, 4, 4, new_d0, 14);
    file_map_add(&m, 8, 1, new_d0, 19); /* another slot */
    file_map_add(&m, 9, 1, new_d2, 20); /* another pack */
    file_map_add_zeros(&m, 10, 1);
    file_map_add_zeros(&m, 11, 5);
    file_map_add(&m, 20, 1, new_d2, 21); /* pages were left out */
    assert_int_equal(m.runs.n, 5);
    expect_run(&m, 0, 0, 8, &new_d0, 10);
    expect_run(&m, 1, 8, 1, &new_d0, 19);
    expect_run(&m, 2, 9, 1, &new_d2, 20);
    expect_run(&m, 3, 10, 6, NULL, 0);
    expect_run(&m, 4, 20, 1, &new_d2, 21);
    assert_int_equal(m.sources.n, 2);
    assert_null(file_map_find(&m, 17));
}

/* --- contradictions --- */

typedef struct Wrong {
    const char *what;
    const char *bytes; /* without the hash */
    size_t len;
} Wrong;

#define W(what, text)                                                                              \
    {                                                                                              \
        what, text, sizeof(text) - 1                                                               \
    }
#define MAX10 "\377\377\377\377\377\377\377\377\377\1" /* 2^64 − 1 */
#define BIG9 "\376\377\377\377\377\377\377\377\377\1"  /* zz: 2^63 − 1 */

static const Wrong good_maps[] = {
    W("no pages", "\0\0\0\0"),
    W("zeros only", "\0\7\0\1\0\7\0"),
    W("a patch that changes nothing", "\1\7\0\0\0\1\0\0"),
    W("a source that is not used", "\0\7\1\0\0\0\1\0\7\0"),
    W("the largest file", "\0\200\200\200\200\20\0\1\0\200\200\200\200\20\0"),
};
static const Wrong wrong_maps[] = {
    W("nothing", ""),
    W("a kind nobody knows", "\2\7\0\1\0\7\0"),
    W("more pages than a file can have", "\0\201\200\200\200\20\0\1\0\201\200\200\200\20\0"),
    W("runs that are too short", "\0\7\0\1\0\6\0"),
    W("runs that are too long", "\0\7\0\1\0\10\0"),
    W("runs of no pages", "\0\7\0\2\0\0\7\0\0\0"),
    W("no runs", "\0\7\0\0"),
    W("a number longer than it need be", "\0\207\0\0\1\0\7\0"),
    W("something behind it", "\0\7\0\1\0\7\0\0"),
    W("sources that are not there", "\0\7\2\0\0\0\1\0\7\0"),
    W("very many sources", "\0\7" MAX10 "\0\0\0\1\0\7\0"),
    W("very many runs", "\0\7\0" MAX10 "\0\7\0"),
    W("a run of no source", "\0\7\1\0\0\0\1\4\7\0"),
    W("a source below zero", "\0\7\1\0\0\0\1\1\7\0"),
    W("a source that wraps", "\0\7\1\0\0\0\2\2" BIG9 "\3\4\0\0"),
    W("a pack below zero", "\0\7\1\0\1\0\1\2\7\0"),
    W("a pack above the largest", "\0\7\1\0\200\200\200\200\40\0\1\2\7\0"),
    W("a pack that wraps", "\0\7\2\0\2\0\0" BIG9 "\0\1\2\7\0"),
    W("a backup above the largest", "\0\7\1\200\200\200\200\20\0\0\1\2\7\0"),
    W("a slot above the largest", "\0\7\1\0\0\0\1\2\7\202\200\200\200\40"),
    W("a slot below zero", "\0\7\1\0\0\0\1\2\7\1"),
    W("a base of a backup above the largest", "\1\7\200\200\200\200\20\0\0\1\0\0"),
    W("a base in a pack above the largest", "\1\7\0\200\200\200\200\20\0\1\0\0"),
    W("a patch that keeps too much", "\1\7\0\0\0\1\0\1\0\7\1\0"),
    W("a patch that keeps 2^64 - 1 pages", "\1\7\0\0\0\1\0\1\0" MAX10 "\1\0"),
    W("a patch with a run that is too long", "\1\7\0\0\0\1\0\1\0\6\2\0"),
    W("a patch with a run of 2^64 - 1 pages", "\1\7\0\0\0\1\0\1\0\1" MAX10 "\0"),
};

static ErrCode decode(const Wrong *w, size_t len, Err *err)
{
    FileMap m AUTO(file_map_release) = {0};
    uint8_t *bytes AUTO(mem_freep) = mem_new(len + 8); /* exactly, for AddressSanitizer */
    memcpy(bytes, w->bytes, len);
    set_u64(bytes + len, XXH3_64bits(bytes, len));
    return file_map_decode(bytes, len + 8, &m, err);
}

static void contradictions(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good_maps); i++) {
        Err why = {0};
        if (decode(&good_maps[i], good_maps[i].len, &why) != ERR_OK)
            fail_msg("%s: %s", good_maps[i].what, why.message);
        for (size_t len = 0; len < good_maps[i].len; len++)
            if (decode(&good_maps[i], len, &why) != ERR_DAMAGED)
                fail_msg("%s, of which %zu bytes are left", good_maps[i].what, len);
    }
    for (size_t i = 0; i < ARRAY_LEN(wrong_maps); i++) {
        Err why = {0};
        ErrCode rc = decode(&wrong_maps[i], wrong_maps[i].len, &why);
        if (rc != ERR_DAMAGED || !strstr(why.message, "contradicts itself"))
            fail_msg("%s: %s '%s'", wrong_maps[i].what, err_code_name(rc), why.message);
    }
}

static void every_bit_counts(void **state)
{
    (void)state;
    uint8_t bytes[sizeof(base_bytes)];
    memcpy(bytes, base_bytes, sizeof(bytes));
    for (size_t i = 0; i < 8 * sizeof(bytes); i++) {
        FileMap m AUTO(file_map_release) = {0};
        bytes[i / 8] ^= (uint8_t)(1 << i % 8);
        expect_err(ERR_DAMAGED, "checksum", file_map_decode(bytes, sizeof(bytes), &m, err));
        bytes[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t len = 0; len < sizeof(bytes); len++) {
        FileMap m AUTO(file_map_release) = {0};
        expect_err(ERR_DAMAGED, "checksum", file_map_decode(bytes, len, &m, err));
    }
}

/* --- packs of maps --- */

static void ids_init(StrList *ids, bool old_first)
{
    vec_push(ids, mem_strdup(old_first ? OLD_ID : ID));
    vec_push(ids, mem_strdup(old_first ? ID : OLD_ID));
}

/* A pack's table names the backups in the order in which its maps do, whatever their caller's. */
static void the_ids_of_a_pack(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    StrList ids AUTO(str_list_release) = {0};
    FileMap m AUTO(file_map_release) = {0}, got AUTO(file_map_release) = {0};
    MapPackWriter *w AUTO(map_pack_writer_freep) = map_pack_writer_new(repo, ID);
    MapPackReader *r AUTO(map_pack_reader_freep) = map_pack_reader_new(repo, NULL, NULL);
    PackInfos packs = {0};
    MapRef ref;
    ObjectInfo info;
    Buf table AUTO(buf_release) = {0}, want AUTO(buf_release) = {0};
    Slice section;
    ids_init(&ids, true);
    file_map_add(&m, 0, 1, (MapSource){1, 7}, 0); /* backup 1 of the caller's list: ID */
    file_map_add(&m, 1, 1, (MapSource){0, 8}, 0);
    m.pages = 2;
    expect_ok(map_pack_writer_add(w, &m, &ids, &ref, err));
    assert_int_equal(ref.pack, 0);
    assert_int_equal(ref.off, 0);
    expect_ok(map_pack_writer_finish(w, &packs, err));
    assert_int_equal(packs.n, 1);
    assert_int_equal(packs.at[0].id.kind, 'm');
    assert_int_equal(packs.at[0].slots, 0);
    vec_release(&packs);

    expect_ok(repo_get_table(repo, M0, KIND_MAPS, &info, &table, err));
    expect_ok(table_find(&table, 6, &section, err));
    buf_printf(&want, "\2%c" ID "%c" OLD_ID, 33, 33);
    assert_int_equal(section.len, want.len);
    assert_memory_equal(section.data, want.data, want.len);

    expect_ok(map_pack_reader_get(r, ID, &ref, &got, err));
    const StrList *known = map_pack_reader_ids(r);
    assert_string_equal(known->at[got.sources.at[0].backup], ID);
    assert_int_equal(got.sources.at[0].pack, 7);
    assert_string_equal(known->at[got.sources.at[1].backup], OLD_ID);
    assert_int_equal(got.sources.at[1].pack, 8);
}

/* A map of about `kib` KiB: runs whose slots cannot be told from those before. */
static void large_map(FileMap *m, unsigned kib, unsigned seed)
{
    *m = (FileMap){.pages = (uint64_t)kib * 200};
    for (uint64_t i = 0; i < m->pages; i++)
        file_map_add(m, i, 1, new_d0, (i * 79193 + seed) % 1000003);
}

static void expect_same_map(const FileMap *a, const FileMap *b)
{
    assert_int_equal(a->pages, b->pages);
    assert_int_equal(a->runs.n, b->runs.n);
    for (size_t i = 0; i < a->runs.n; i++) {
        const MapRun *x = &a->runs.at[i], *y = &b->runs.at[i];
        assert_true(x->source == y->source && x->pages == y->pages && x->slot == y->slot &&
                    x->first == y->first);
    }
}

/* Maps over the borders of units of 1 MiB, and a second pack behind 16 MiB. */
static void maps_cross_units_and_fill_packs(void **state)
{
    (void)state;
    enum { MAPS = 22, KIBS = 800 };
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    StrList ids AUTO(str_list_release) = {0};
    MapPackWriter *w AUTO(map_pack_writer_freep) = map_pack_writer_new(repo, ID);
    MapPackReader *r AUTO(map_pack_reader_freep) = map_pack_reader_new(repo, NULL, NULL);
    PackInfos packs = {0};
    MapRef refs[MAPS];
    ids_init(&ids, false);
    for (unsigned i = 0; i < MAPS; i++) {
        FileMap m AUTO(file_map_release) = {0};
        large_map(&m, KIBS, i);
        expect_ok(map_pack_writer_add(w, &m, &ids, &refs[i], err));
    }
    expect_ok(map_pack_writer_finish(w, &packs, err));
    assert_int_equal(packs.n, 2);
    assert_int_equal(packs.at[1].id.number, 1);
    uint64_t raw = 0; /* the first pack is closed when 16 MiB are reached */
    unsigned first = 0;
    for (; refs[first].pack == 0; first++) {
        assert_int_equal(refs[first].off, raw);
        assert_true(raw < 16 * MIB);
        raw += refs[first].len;
    }
    assert_true(raw >= 16 * MIB && first < MAPS && refs[first].off == 0);
    assert_int_equal(packs.at[0].units, (raw + MIB - 1) / MIB);
    vec_release(&packs);
    for (unsigned k = 0; k < 2 * MAPS; k++) {
        FileMap m AUTO(file_map_release) = {0}, want AUTO(file_map_release) = {0};
        unsigned i = k * 7 % MAPS; /* forth and back */
        large_map(&want, KIBS, i);
        expect_ok(map_pack_reader_get(r, ID, &refs[i], &m, err));
        expect_same_map(&m, &want);
    }
}

static void a_patch_finds_its_base(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    StrList ids AUTO(str_list_release) = {0};
    MapPackWriter *old AUTO(map_pack_writer_freep) = map_pack_writer_new(repo, OLD_ID);
    MapPackWriter *w AUTO(map_pack_writer_freep) = map_pack_writer_new(repo, ID);
    MapPackReader *r AUTO(map_pack_reader_freep) = map_pack_reader_new(repo, NULL, NULL);
    FileMap base AUTO(file_map_release) = {0}, patch AUTO(file_map_release) = {0},
                 m AUTO(file_map_release) = {0};
    PackInfos packs = {0};
    MapRef at, ref;
    ids_init(&ids, false);
    make_base(&base);
    expect_ok(map_pack_writer_add(old, &base, &ids, &at, err)); /* something before it */
    expect_ok(map_pack_writer_add(old, &base, &ids, &at, err));
    make_patch(&patch);
    patch.base_pack = at.pack;
    patch.base_off = at.off;
    patch.base_len = at.len;
    expect_ok(map_pack_writer_add(w, &patch, &ids, &ref, err));
    expect_ok(map_pack_writer_finish(old, &packs, err));
    expect_ok(map_pack_writer_finish(w, &packs, err));
    vec_release(&packs);
    expect_ok(map_pack_reader_get(r, ID, &ref, &m, err));
    assert_false(m.patch);
    assert_int_equal(m.runs.n, 7);
    const StrList *known = map_pack_reader_ids(r);
    const MapRun *run = file_map_find(&m, 12);
    assert_string_equal(known->at[m.sources.at[run->source - 1].backup], OLD_ID);
    run = file_map_find(&m, 20);
    assert_string_equal(known->at[m.sources.at[run->source - 1].backup], ID);
    assert_int_equal(m.sources.at[run->source - 1].pack, 2);
}

/* A pack of one map of these bytes, or (NULL) without maps, that names the backups of the text. */
static void put_pack(Repo *repo, const FileMap *m, const char *ids, size_t ids_len)
{
    ObjectWriter *w AUTO(object_writer_freep) = object_writer_new(KIB);
    Compressor *c AUTO(compressor_freep) = compressor_new(1);
    Buf raw AUTO(buf_release) = {0}, sections AUTO(buf_release) = {0};
    ObjectFacts facts;
    file_map_encode(m, &raw);
    table_append(&sections, SECTION_IDS, ids, ids_len);
    object_writer_begin(w, repo->key, KIND_MAPS, M0);
    expect_ok(object_writer_add(w, c, raw.data, raw.len, NULL, err));
    expect_ok(object_writer_finish(w, 0, &sections, &facts, err));
    expect_ok(repo_put(repo, M0, w, STORAGE_OVERWRITE, err));
}

static ErrCode read_map(Repo *repo, MapRef ref, Err *err)
{
    MapPackReader *r AUTO(map_pack_reader_freep) = map_pack_reader_new(repo, NULL, NULL);
    FileMap m AUTO(file_map_release) = {0};
    return map_pack_reader_get(r, ID, &ref, &m, err);
}

#define IDS_OF_ONE "\1\41" ID
#define IDS_OF_TWO "\2\41" ID "\41" OLD_ID

/* A patch of itself, or of another patch, does not go round and round. */
static void patches_in_a_circle(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    FileMap m = {.patch = true, .pages = 3};
    Buf bytes AUTO(buf_release) = {0};
    m.base_len = 16;
    file_map_encode(&m, &bytes);
    assert_int_equal(bytes.len, 16); /* 01 03 00 00 00 10 00 00, and the hash */
    put_pack(repo, &m, IDS_OF_ONE, sizeof(IDS_OF_ONE) - 1);
    expect_err(ERR_DAMAGED, "a patch of a patch", read_map(repo, (MapRef){0, 0, 16}, err));
}

static void packs_that_contradict_themselves(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    FileMap m AUTO(file_map_release) = {0}, patch AUTO(file_map_release) = {0};
    make_base(&m);
    make_patch(&patch);
    const MapRef ref = {0, 0, 32};
    put_pack(repo, &m, IDS_OF_TWO, sizeof(IDS_OF_TWO) - 1);
    expect_ok(read_map(repo, ref, err));
    expect_err(ERR_DAMAGED, "checksum", read_map(repo, (MapRef){0, 1, 31}, err));
    expect_err(ERR_DAMAGED, "behind the end", read_map(repo, (MapRef){0, 0, 33}, err));
    expect_err(ERR_DAMAGED, "behind the end", read_map(repo, (MapRef){0, 32, 1}, err));
    expect_err(ERR_DAMAGED, "behind the end", read_map(repo, (MapRef){0, MIB, 1}, err));
    expect_err(ERR_DAMAGED, "behind the end", read_map(repo, (MapRef){0, UINT64_MAX, 1}, err));
    expect_err(ERR_DAMAGED, "checksum", read_map(repo, (MapRef){0, 0, 0}, err));
    expect_err(ERR_LIMIT, "268435457 bytes", read_map(repo, (MapRef){0, 0, (256 << 20) + 1}, err));
    expect_err(ERR_NOT_FOUND, "packs/" ID "/0/m1", read_map(repo, (MapRef){1, 0, 32}, err));
    put_pack(repo, &m, IDS_OF_ONE, sizeof(IDS_OF_ONE) - 1);
    expect_err(ERR_DAMAGED, "names a backup that its pack does not", read_map(repo, ref, err));
    put_pack(repo, &patch, IDS_OF_ONE, sizeof(IDS_OF_ONE) - 1);
    expect_err(ERR_DAMAGED, "names a backup that its pack does not",
               read_map(repo, (MapRef){0, 0, 28}, err));
    static const char *const ids[] = {"\1\40" ID, "\2\41" ID, "\1\1x",
                                      "\1\41../../x/00000Z-00000000000000aa1"};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        put_pack(repo, &m, ids[i], strlen(ids[i]));
        expect_err(ERR_DAMAGED, "table of backup ids", read_map(repo, ref, err));
    }
    put_pack(repo, &m, MAX10, 10);
    expect_err(ERR_LIMIT, "names 18446744073709551615 backups", read_map(repo, ref, err));
}

/* A pack in another's place, as one of the same name from another time. */
static const PackInfo *find_expected(void *arg, const char *backup_id, PackId id)
{
    assert_string_equal(backup_id, ID);
    assert_int_equal(id.kind, 'm');
    return arg;
}

static void a_pack_that_is_not_the_one_listed(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    StrList ids AUTO(str_list_release) = {0};
    FileMap m AUTO(file_map_release) = {0}, got AUTO(file_map_release) = {0};
    PackInfos packs = {0};
    MapRef ref;
    ids_init(&ids, false);
    make_base(&m);
    MapPackWriter *w AUTO(map_pack_writer_freep) = map_pack_writer_new(repo, ID);
    expect_ok(map_pack_writer_add(w, &m, &ids, &ref, err));
    expect_ok(map_pack_writer_finish(w, &packs, err));
    PackInfo expected = packs.at[0];
    vec_release(&packs);
    for (int changed = 0; changed < 2; changed++) {
        MapPackReader *r AUTO(map_pack_reader_freep) =
            map_pack_reader_new(repo, find_expected, &expected);
        if (changed)
            expect_err(ERR_DAMAGED, "not the one in its backup's list of packs",
                       map_pack_reader_get(r, ID, &ref, &got, err));
        else
            expect_ok(map_pack_reader_get(r, ID, &ref, &got, err));
        put_pack(repo, &m, IDS_OF_TWO, sizeof(IDS_OF_TWO) - 1); /* the same, with a new salt */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples),
        cmocka_unit_test(what_the_examples_say),
        cmocka_unit_test(a_patch_over_its_base),
        cmocka_unit_test(a_patch_inside_a_run),
        cmocka_unit_test(patches_of_another_length),
        cmocka_unit_test(a_difference_joined_again),
        cmocka_unit_test(a_difference_is_small),
        cmocka_unit_test(runs_are_joined),
        cmocka_unit_test(contradictions),
        cmocka_unit_test(every_bit_counts),
        cmocka_unit_test(the_ids_of_a_pack),
        cmocka_unit_test(maps_cross_units_and_fill_packs),
        cmocka_unit_test(a_patch_finds_its_base),
        cmocka_unit_test(patches_in_a_circle),
        cmocka_unit_test(packs_that_contradict_themselves),
        cmocka_unit_test(a_pack_that_is_not_the_one_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
