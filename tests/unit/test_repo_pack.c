/* Data packs (docs/repository-format.md, 7): every section of a table by hand, tables that
 * contradict themselves, and the limit of a pack. */

#include "tests/unit/unit.h"

#include <xxhash.h>

#include "lib/common/bytes.h"
#include "lib/common/hex.h"
#include "lib/repo/pack.h"
#include "tests/unit/mem_repo.h"

#define ID "20260101T000000Z-00000000000000aa"
#define D0 ((PackId){'d', 0})
#define D0_NAME "packs/" ID "/0/d0"
#define PAGE 8 /* bytes of a page: enough, to the format */

static void names(void **state)
{
    (void)state;
    const struct {
        PackId id;
        const char *name;
    } good[] = {{{'d', 0}, D0_NAME},
                {{'m', 999}, "packs/" ID "/0/m999"},
                {{'d', 1000}, "packs/" ID "/1/d1000"},
                {{'d', UINT32_MAX}, "packs/" ID "/4294967/d4294967295"}};
    static const char *const bad[] = {"",    "d",   "0",   "x1",          "D1",
                                      "d01", "d-1", "d1 ", "d4294967296", "d99999999999999999999"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        char *name AUTO(mem_freep) = pack_name(ID, good[i].id);
        PackId back;
        assert_string_equal(name, good[i].name);
        assert_true(pack_id_parse(strrchr(name, '/') + 1, &back));
        assert_int_equal(back.kind, good[i].id.kind);
        assert_int_equal(back.number, good[i].id.number);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        PackId back;
        if (pack_id_parse(bad[i], &back))
            fail_msg("'%s' is taken for a pack", bad[i]);
    }
}

/* --- a pack by hand --- */

typedef struct Maker {
    PackWriter *writer;
    Compressor *compressor;
} Maker;

static void maker_init(Maker *m)
{
    *m = (Maker){.writer = pack_writer_new(), .compressor = compressor_new(1)};
}

static void maker_release(Maker *m)
{
    pack_writer_free(m->writer);
    compressor_free(m->compressor);
}

/* One unit of pages whose bytes are all `fill`; the last one may be shorter. */
static uint64_t add_pages(Maker *m, const char *path, const uint64_t *numbers, unsigned n,
                          size_t len, uint8_t fill)
{
    uint8_t data[64];
    uint64_t slot;
    memset(data, fill, sizeof(data));
    PackPages p = {.path = path,
                   .numbers = numbers,
                   .first = numbers[0],
                   .n = n,
                   .page_size = PAGE,
                   .data = data,
                   .len = len};
    if (n > 1 && numbers[n - 1] == numbers[0] + n - 1)
        p.numbers = NULL; /* the short way to say it */
    expect_ok(pack_writer_add_pages(m->writer, m->compressor, &p, &slot, err));
    return slot;
}

static const uint64_t first_pages[] = {3, 5, 100}, next_pages[] = {101, 102}, page_0[] = {0},
                      page_7[] = {7};

/* Five units: 3 pages, 2 pages, two small files, a page that is cut, a page of the first file. */
static void fill(Maker *m, PackInfo *ret)
{
    PackSmall small[] = {{"x", 0, 3, 99}, {"y", 3, 4, 99}};
    uint32_t unit;
    assert_int_equal(add_pages(m, "base/5/1", first_pages, 3, 24, 1), 0);
    assert_int_equal(add_pages(m, "base/5/1", next_pages, 2, 16, 2), 3);
    expect_ok(pack_writer_add_small(m->writer, m->compressor, small, 2, "abcdefg", 7, &unit, err));
    assert_int_equal(unit, 2);
    assert_int_equal(small[0].index, 0);
    assert_int_equal(small[1].index, 1);
    assert_int_equal(add_pages(m, "base/5/2", page_0, 1, 5, 3), 5);
    assert_int_equal(add_pages(m, "base/5/1", page_7, 1, 8, 4), 6);
    expect_ok(pack_writer_finish(m->writer, ret, err));
}

static void put(Repo *repo, PackInfo *ret)
{
    Maker m AUTO(maker_release);
    maker_init(&m);
    pack_writer_begin(m.writer, repo->key, ID, D0);
    fill(&m, ret);
    expect_ok(pack_writer_put(m.writer, repo, err));
}

static void expect_section(const Buf *table, uint8_t type, const void *want, size_t len)
{
    Slice s;
    expect_ok(table_find(table, type, &s, err));
    assert_int_equal(s.len, len);
    assert_memory_equal(s.data, want, len);
}

/* The secret follows from the key's secret alone, the hash from it and from the page's number. */
static uint64_t hash_of(const RepoKey *key, uint64_t number, const void *data, size_t len)
{
    static const char info[] = "pgdr page hash";
    uint8_t secret[192];
    hkdf_sha256(key->secret, 32, NULL, 0, info, strlen(info), secret, sizeof(secret));
    return XXH3_64bits_withSecret(data, len, secret, sizeof(secret)) ^
           number * UINT64_C(0x9E3779B185EBCA87);
}

static const struct {
    uint64_t number;
    const char *bytes;
    size_t len;
} hashed[] = {
    {3, "\1\1\1\1\1\1\1\1", 8},
    {5, "\1\1\1\1\1\1\1\1", 8},
    {100, "\1\1\1\1\1\1\1\1", 8},
    {101, "\2\2\2\2\2\2\2\2", 8},
    {102, "\2\2\2\2\2\2\2\2", 8},
    {0, "\3\3\3\3\3", 5},
    {7, "\4\4\4\4\4\4\4\4", 8},
    {0, "abc", 3},
    {0, "defg", 4},
};

static void check_files(const Buf *table)
{
    static const char want[] = "\5\10base/5/1\1x\1y\10base/5/2\10base/5/1";
    Slice s;
    char raw[sizeof(want)];
    Decompressor *d AUTO(decompressor_freep) = decompressor_new();
    expect_ok(table_find(table, SECTION_FILES, &s, err));
    expect_ok(decompressor_run(d, s.data, s.len, raw, sizeof(want) - 1, err));
    assert_memory_equal(raw, want, sizeof(want) - 1);
}

static void the_table_by_hand(void **state)
{
    (void)state;
    static const uint8_t slots[] = {1, 3, 1, 2, 1, 0, 2, 1};
    static const uint8_t owner[] = {
        0, 6,    1,                /* page 3 */
        0, 2,    1,                /* page 5: one behind 4 */
        0, 0xBC, 0x01, 3,          /* pages 100 to 102: 94 behind 6, over two units */
        2, 1,    0,    3, 2, 3, 4, /* the small files */
        3, 0,    1,                /* page 0 of base/5/2 */
        4, 14,   1,                /* page 7 of base/5/1, as a file that was not there before */
    };
    const uint8_t ciphers[] = {CIPHER_NONE, CIPHER_AES_256_GCM};
    for (size_t i = 0; i < ARRAY_LEN(ciphers); i++) {
        Repo *repo AUTO(repo_closep) = mem_repo_new(ciphers[i]);
        PackInfo info;
        ObjectInfo object;
        Buf table AUTO(buf_release) = {0}, hashes AUTO(buf_release) = {0};
        put(repo, &info);
        expect_ok(repo_get_table(repo, D0_NAME, KIND_PACK, &object, &table, err));
        assert_int_equal(object.slots, 7);
        assert_int_equal(object.units, 5);
        assert_int_equal(info.slots, 7);
        assert_int_equal(info.units, 5);
        expect_section(&table, 2, slots, sizeof(slots));
        check_files(&table);
        expect_section(&table, 4, owner, sizeof(owner));
        for (size_t k = 0; k < ARRAY_LEN(hashed); k++)
            buf_append_u64(&hashes,
                           hash_of(repo->key, hashed[k].number, hashed[k].bytes, hashed[k].len));
        expect_section(&table, 5, hashes.data, hashes.len);
        expect_section(&table, 7, "\10", 1);
    }
}

static void check_owner(const PackOwner *o, uint32_t file, uint64_t first, uint64_t n,
                        uint64_t slot)
{
    assert_int_equal(o->file, file);
    assert_int_equal(o->first, first);
    assert_int_equal(o->n, n);
    assert_int_equal(o->slot, slot);
}

static void check_owners(const PackTable *t)
{
    StrList files AUTO(str_list_release) = {0};
    PackOwners o = {0};
    expect_ok(pack_table_owners(t, &files, &o, err));
    assert_int_equal(files.n, 5);
    assert_string_equal(files.at[3], "base/5/2");
    assert_int_equal(o.n, 7);
    check_owner(&o.at[0], 0, 3, 1, 0);
    check_owner(&o.at[1], 0, 5, 1, 1);
    check_owner(&o.at[2], 0, 100, 3, 2);
    check_owner(&o.at[3], 1, 0, 3, 0);
    check_owner(&o.at[4], 2, 3, 4, 1);
    assert_true(o.at[3].small && o.at[4].small && o.at[4].unit == 2 && !o.at[2].small);
    check_owner(&o.at[5], 3, 0, 1, 5);
    check_owner(&o.at[6], 4, 7, 1, 6);
    vec_release(&o);
}

/* By its end, by its line in the list of packs, and whole: the same. */
static void reading_a_table(void **state)
{
    (void)state;
    static const uint32_t units[] = {0, 0, 0, 1, 1, 3, 4};
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    PackInfo info;
    Buf stored AUTO(buf_release) = {0};
    put(repo, &info);
    mem_get(repo, D0_NAME, &stored);
    for (int how = 0; how < 3; how++) {
        PackTable *t AUTO(pack_table_freep) = NULL;
        if (how < 2)
            expect_ok(pack_table_load(repo, ID, D0, how ? &info : NULL, &t, err));
        else
            expect_ok(pack_table_parse(repo, ID, D0, stored.data, stored.len, &t, err));
        assert_string_equal(t->name, D0_NAME);
        assert_int_equal(t->page_size, PAGE);
        assert_int_equal(t->n_small, 2);
        assert_int_equal(t->unit_off[0], 92);
        assert_int_equal(t->unit_off[5], info.facts.table_off);
        for (size_t slot = 0; slot < ARRAY_LEN(units); slot++) {
            assert_int_equal(pack_table_unit_of(t, slot), units[slot]);
            assert_int_equal(
                pack_table_hash(t, slot),
                hash_of(repo->key, hashed[slot].number, hashed[slot].bytes, hashed[slot].len));
        }
        assert_int_equal(pack_table_small_hash(t, 1), hash_of(repo->key, 0, "defg", 4));
        check_owners(t);
    }
}

static void a_table_that_is_not_the_one_listed(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    PackInfo info, other;
    PackTable *t AUTO(pack_table_freep) = NULL;
    put(repo, &info);
    other = info;
    other.facts.table_sha256[0] ^= 1;
    expect_err(ERR_DAMAGED, "not the one in its backup's list of packs",
               pack_table_load(repo, ID, D0, &other, &t, err));
    other = info;
    other.facts.stamp.key_id[0] ^= 1;
    expect_err(ERR_WRONG_KEY, "under a key", pack_table_load(repo, ID, D0, &other, &t, err));
    other = info;
    other.facts.table_off += 200;
    expect_err(ERR_DAMAGED, "cut off", pack_table_load(repo, ID, D0, &other, &t, err));
    other = info;
    other.units++;
    expect_err(ERR_DAMAGED, "app/" D0_NAME, pack_table_load(repo, ID, D0, &other, &t, err));
    other = info;
    other.slots++;
    expect_err(ERR_DAMAGED, "add up", pack_table_load(repo, ID, D0, &other, &t, err));
    mem_remove(repo, D0_NAME);
    expect_err(ERR_NOT_FOUND, "", pack_table_load(repo, ID, D0, &info, &t, err));
}

/* What a pack that was given up left in the writer is in no other. */
static void a_writer_is_used_again(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    Maker m AUTO(maker_release);
    PackInfo info;
    PackTable *t AUTO(pack_table_freep) = NULL;
    maker_init(&m);
    pack_writer_begin(m.writer, repo->key, ID, (PackId){'d', 9});
    assert_true(pack_writer_empty(m.writer));
    add_pages(&m, "base/5/9", first_pages, 3, 24, 9);
    assert_false(pack_writer_empty(m.writer));
    pack_writer_begin(m.writer, repo->key, ID, D0);
    assert_true(pack_writer_empty(m.writer));
    assert_int_equal(pack_writer_number(m.writer), 0);
    fill(&m, &info);
    expect_ok(pack_writer_put(m.writer, repo, err));
    expect_ok(pack_table_load(repo, ID, D0, NULL, &t, err));
    check_owners(t);
    expect_err(ERR_EXISTS, "", pack_writer_put(m.writer, repo, err)); /* never twice */
}

/* --- contradictions --- */

typedef struct Forged {
    const char *what;
    uint64_t slots;                              /* in the footer */
    const char *slot_rle, *files, *owner, *page; /* sections; "" for an empty one, NULL: none */
    size_t slot_rle_len, files_len, owner_len, page_len, hash_len;
    const char *says; /* by the table; NULL: the table is good, and the owners are not */
} Forged;

#define S(text) .slot_rle = text, .slot_rle_len = sizeof(text) - 1
#define FILES(text) .files = text, .files_len = sizeof(text) - 1
#define O(text) .owner = text, .owner_len = sizeof(text) - 1
#define P(text) .page = text, .page_len = sizeof(text) - 1
/* Two units: two pages, and two small files. */
#define GOOD                                                                                       \
    .slots = 2, S("\1\2\1\0"), FILES("\2\1a\1b"), O("\0\0\2\2\0\0\1\1\1\1"), P("\10"),             \
    .hash_len = 32

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
static const Forged forged[] = {
    {"more slots in the footer", GOOD, .slots = 3, .says = "add up"},
    {"fewer slots in the footer", GOOD, .slots = 1, .says = "add up"},
    {"slots for more units", GOOD, S("\1\2\2\0"), .says = "slots of the units are damaged"},
    {"slots for fewer units", GOOD, S("\1\2"), .says = "add up"},
    {"no slots", GOOD, .slot_rle = NULL, .says = "add up"},
    {"half a pair", GOOD, S("\1\2\1"), .says = "slots of the units are damaged"},
    {"a number longer than it need be", GOOD, S("\1\202\0\1\0"),
     .says = "slots of the units are damaged"},
    {"too many slots in a unit", GOOD, .slots = 1025, S("\1\201\10\1\0"), .hash_len = 8 * 1027,
     .says = "slots of the units are damaged"},
    {"no page size", GOOD, .page = NULL, .says = "page size"},
    {"a page of no bytes", GOOD, P("\0"), .says = "page size"},
    {"a page larger than a unit", GOOD, P("\201\200\100"), .says = "page size"},
    {"too few hashes", GOOD, .hash_len = 8, .says = "fewer page hashes"},
    {"a hash that is cut", GOOD, .hash_len = 31, .says = "fewer page hashes"},
    {"fewer files than they say", GOOD, FILES("\3\1a\1b"), .says = NULL},
    {"more files than they say", GOOD, FILES("\1\1a\1b"), .says = NULL},
    {"something behind the files", GOOD, FILES("\2\1a\1b\0"), .says = NULL},
    {"a path that is cut", GOOD, FILES("\2\1a\2b"), .says = NULL},
    {"very many files", GOOD, FILES("\377\377\377\377\377\377\377\377\377\1"), .says = NULL},
    {"pages of no file", GOOD, O("\2\0\2\2\0\0\1\1\1\1"), .says = NULL},
    {"a run of no pages", GOOD, O("\0\0\0\0\0\2\2\0\0\1\1\1\1"), .says = NULL},
    {"a run that is too long", GOOD, O("\0\0\3\2\0\0\1\1\1\1"), .says = NULL},
    {"small files of no file", GOOD, O("\0\0\2\2\0\0\1\2\1\1"), .says = NULL},
    {"more small files than hashes", GOOD, O("\0\0\2\3\0\0\1\1\1\1\0\0\1"), .says = NULL},
    {"fewer small files than hashes", GOOD, O("\0\0\2\1\0\0\1"), .says = NULL},
    {"a small file behind the unit", GOOD, O("\0\0\2\2\0\0\1\1\201\200\100\0"), .says = NULL},
    {"a small file over the end of the unit", GOOD, O("\0\0\2\2\0\0\1\1\1\200\200\100"),
     .says = NULL},
    {"something behind it", GOOD, O("\0\0\2\2\0\0\1\1\1\1\0"), .says = NULL},
    {"nothing", GOOD, .owner = NULL, .says = NULL},
};
static const Forged as_it_should_be = {"as it should be", GOOD};
#pragma GCC diagnostic pop

static void append_section(Buf *sections, uint8_t type, const char *bytes, size_t len)
{
    if (bytes)
        table_append(sections, type, bytes, len);
}

static void forge(Repo *repo, const Forged *f)
{
    ObjectWriter *w AUTO(object_writer_freep) = object_writer_new(KIB);
    Compressor *c AUTO(compressor_freep) = compressor_new(1);
    Buf sections AUTO(buf_release) = {0};
    uint8_t frame[256];
    static const uint8_t hashes[8 * 1027];
    ObjectFacts facts;
    append_section(&sections, SECTION_SLOTS, f->slot_rle, f->slot_rle_len);
    size_t len = compressor_run(c, f->files, f->files_len, frame, sizeof(frame));
    table_append(&sections, SECTION_FILES, frame, len);
    append_section(&sections, SECTION_OWNER, f->owner, f->owner_len);
    append_section(&sections, SECTION_PAGE, f->page, f->page_len);
    table_append(&sections, SECTION_HASH, hashes, f->hash_len);
    object_writer_begin(w, repo->key, KIND_PACK, D0_NAME);
    expect_ok(object_writer_add(w, c, "0123456789abcdef", 16, NULL, err));
    expect_ok(object_writer_add(w, c, "ab", 2, NULL, err));
    expect_ok(object_writer_finish(w, f->slots, &sections, &facts, err));
    expect_ok(repo_put(repo, D0_NAME, w, STORAGE_OVERWRITE, err));
}

static ErrCode read_forged(Repo *repo, const Forged *f, bool *ret_table, Err *err)
{
    PackTable *t AUTO(pack_table_freep) = NULL;
    StrList files AUTO(str_list_release) = {0};
    PackOwners owners = {0};
    forge(repo, f);
    *ret_table = false;
    TRY(pack_table_load(repo, ID, D0, NULL, &t, err));
    *ret_table = true;
    ErrCode rc = pack_table_owners(t, &files, &owners, err);
    vec_release(&owners);
    return rc;
}

static void forged_tables(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    bool table;
    expect_ok(read_forged(repo, &as_it_should_be, &table, err));
    for (size_t i = 0; i < ARRAY_LEN(forged); i++) {
        const Forged *f = &forged[i];
        Err why = {0};
        ErrCode rc = read_forged(repo, f, &table, &why);
        if (rc != ERR_DAMAGED || table != !f->says || (f->says && !strstr(why.message, f->says)))
            fail_msg("%s: %s '%s'", f->what, err_code_name(rc), why.message);
    }
}

/* --- limits --- */

static void a_list_of_files_that_is_too_large(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    Compressor *c AUTO(compressor_freep) = compressor_new(1);
    const size_t len = 64 * MIB + 1;
    uint8_t *zeros AUTO(mem_freep) = mem_zero(len), *frame AUTO(mem_freep) = NULL;
    PackTable t = {.info = {.units = 0}};
    StrList files AUTO(str_list_release) = {0};
    PackOwners owners = {0};
    frame = mem_new(compress_bound(len));
    size_t n = compressor_run(c, zeros, len, frame, compress_bound(len));
    table_append(&t.table, SECTION_FILES, frame, n);
    expect_err(ERR_LIMIT, "67108865 bytes", pack_table_owners(&t, &files, &owners, err));
    buf_release(&t.table);
}

/* Units of 16 pages that do not compress, as long as one of so many bytes would fit. */
static void fill_with_pages(Maker *m, size_t room)
{
    uint8_t *noise AUTO(mem_freep) = mem_new(128 * KIB);
    uint64_t slot, page = 0;
    while (pack_writer_fits(m->writer, room, 16, 8)) {
        random_bytes(noise, 128 * KIB);
        PackPages p = {.path = "base/5/1",
                       .first = page,
                       .n = 16,
                       .page_size = 8 * KIB,
                       .data = noise,
                       .len = 128 * KIB};
        expect_ok(pack_writer_add_pages(m->writer, m->compressor, &p, &slot, err));
        assert_int_equal(slot, page);
        page += 16;
    }
}

/* Units of so many small files, as long as they fit; neither their paths nor they compress. */
static void fill_with_files(Maker *m, size_t files, size_t path_len)
{
    const size_t len = files * (path_len + 1);
    PackSmall *small AUTO(mem_freep) = mem_new(files * sizeof(*small));
    uint8_t *paths AUTO(mem_freep) = mem_new(len);
    while (pack_writer_fits(m->writer, files, files, files * path_len)) {
        uint32_t unit;
        random_bytes(paths, len);
        for (size_t i = 0; i < len; i++)
            paths[i] = i % (path_len + 1) == path_len ? 0 : paths[i] ? paths[i] : 1;
        for (size_t i = 0; i < files; i++)
            small[i] = (PackSmall){
                .path = (char *)paths + i * (path_len + 1), .off = (uint32_t)i, .len = 1};
        expect_ok(pack_writer_add_small(m->writer, m->compressor, small, files, paths, files, &unit,
                                        err));
    }
}

/* Never more than 32 MiB, nor much less, whatever fills it. */
static void full_packs(void **state)
{
    (void)state;
    const struct {
        size_t pages, files, path_len; /* pages: as long as one of that many bytes would fit */
        uint8_t cipher;
    } packs[] = {
        {128 * KIB, 0, 0, CIPHER_AES_256_GCM},
        {256 * KIB, 20000, 1, CIPHER_NONE},       /* then very many files: hashes and owners */
        {PACK_STORED_MAX, 64, 4000, CIPHER_NONE}, /* nothing but long paths */
    };
    for (size_t i = 0; i < ARRAY_LEN(packs); i++) {
        Repo *repo AUTO(repo_closep) = mem_repo_new(packs[i].cipher);
        Maker m AUTO(maker_release);
        PackInfo info;
        maker_init(&m);
        pack_writer_begin(m.writer, repo->key, ID, D0);
        fill_with_pages(&m, packs[i].pages);
        if (packs[i].files)
            fill_with_files(&m, packs[i].files, packs[i].path_len);
        expect_ok(pack_writer_finish(m.writer, &info, err));
        assert_in_range(info.facts.size, 31 * MIB, 32 * MIB);
    }
}

static void parts_of_objects(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    uint8_t out[4];
    mem_put(repo, "packs/x", "0123456789", 10);
    expect_ok(repo_get_range(repo, "packs/x", 6, out, 4, err));
    assert_memory_equal(out, "6789", 4);
    expect_err(ERR_DAMAGED, "cut off: 10 bytes instead of at least 11",
               repo_get_range(repo, "packs/x", 7, out, 4, err));
    expect_err(ERR_NOT_FOUND, "app/packs/y", repo_get_range(repo, "packs/y", 0, out, 4, err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(the_table_by_hand),
        cmocka_unit_test(reading_a_table),
        cmocka_unit_test(a_table_that_is_not_the_one_listed),
        cmocka_unit_test(a_writer_is_used_again),
        cmocka_unit_test(forged_tables),
        cmocka_unit_test(a_list_of_files_that_is_too_large),
        cmocka_unit_test(full_packs),
        cmocka_unit_test(parts_of_objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
