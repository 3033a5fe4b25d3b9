/* WAL objects (docs/repository-format.md, 13): pieces, digests and META by hand, files of every
 * length with and without zeros at their end, what is damaged or forged, and the same file in
 * another repository. */

#include "tests/unit/unit.h"

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include "lib/common/bytes.h"
#include "lib/common/file.h"
#include "lib/common/hex.h"
#include "lib/repo/key_store.h"
#include "lib/repo/wal_object.h"
#include "tests/unit/mem_repo.h"

#define SYSTEM UINT64_C(7000000000000000001)
#define SEGMENT "000000010000000000000005"

/* A file of `size` bytes whose last one that is not zero is at `valid` − 1; inside there are zeros,
 * too. */
static void content(size_t size, size_t valid, Buf *ret)
{
    ret->len = 0;
    memset(buf_reserve(ret, size + 1), 0, size + 1);
    ret->len = size;
    for (size_t i = 0; i < valid; i++)
        ret->data[i] = i / 5000 % 3 ? (uint8_t)(i * 2654435761u >> 13) : 0;
    if (valid)
        ret->data[valid - 1] = 0xAB;
}

typedef struct File {
    WalStore store;
    WalFound found;
    Buf data;
} File;

static void file_release(File *f)
{
    buf_release(&f->data);
}

/* Stores a file as archive-push does, without an index. */
static void put(Repo *repo, uint32_t seg_size, size_t size, size_t valid, const Buf *sections,
                File *ret)
{
    WalPieces p;
    WalMeta meta = {.file = SEGMENT, .pushed = 1795421700000000, .host = "db1"};
    ObjectWriter *w AUTO(object_writer_freep) = object_writer_new(KIB);
    *ret = (File){.found = {.file = SEGMENT}};
    wal_store_init(&ret->store, repo, SYSTEM, seg_size);
    content(size, valid, &ret->data);
    wal_pieces_make(&p, ret->data.data, size, 1);
    wal_pieces_digest(&p, repo, ret->found.digest);
    char *name AUTO(mem_freep) = wal_object_name(&ret->store, SEGMENT, ret->found.digest);
    expect_ok(wal_object_build(&ret->store, w, name, &meta, &p, sections, err));
    expect_ok(wal_put(&ret->store, w, name, STORAGE_OVERWRITE, err));
    assert_int_equal(meta.size, size);
    assert_int_equal(meta.valid, valid);
    wal_pieces_release(&p);
}

static char *name_of(const File *f)
{
    return wal_object_name(&f->store, f->found.file, f->found.digest);
}

/* --- by hand --- */

/* The hashes of the pieces, the most significant byte first, one behind the other. */
static void hashes_by_hand(const Buf *data, Buf *ret)
{
    for (size_t at = 0; at < data->len; at += MIB) {
        XXH128_hash_t h = XXH3_128bits(data->data + at, MIN(MIB, data->len - at));
        for (int i = 56; i >= 0; i -= 8)
            buf_append_u8(ret, (uint8_t)(h.high64 >> i));
        for (int i = 56; i >= 0; i -= 8)
            buf_append_u8(ret, (uint8_t)(h.low64 >> i));
    }
}

static void digest_by_hand(const Repo *repo, const Buf *data, char out[33])
{
    static const char info[] = "pgdr wal name";
    uint8_t key[32], digest[SHA256_LEN];
    Buf hashes AUTO(buf_release) = {0};
    hashes_by_hand(data, &hashes);
    if (repo->key->cipher == CIPHER_NONE) {
        sha256_of(hashes.data, hashes.len, digest);
    } else {
        hkdf_sha256(repo->wal_key->secret, 32, NULL, 0, info, strlen(info), key, sizeof(key));
        hmac_sha256(key, sizeof(key), hashes.data, hashes.len, digest);
    }
    hex_format(digest, 16, out);
}

static void digests(void **state)
{
    (void)state;
    const uint8_t ciphers[] = {CIPHER_NONE, CIPHER_AES_256_GCM};
    for (size_t i = 0; i < ARRAY_LEN(ciphers); i++) {
        Repo *repo AUTO(repo_closep) = mem_repo_new(ciphers[i]);
        const size_t sizes[][2] = {{0, 0}, {7, 7}, {3 * MIB + 5, 2 * MIB + 1}, {2 * MIB, 0}};
        for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
            File f AUTO(file_release);
            char want[33];
            put(repo, 16 * MIB, sizes[k][0], sizes[k][1], NULL, &f);
            digest_by_hand(repo, &f.data, want);
            assert_string_equal(f.found.digest, want);
        }
    }
}

/* The value that the xxHash project publishes. */
static void the_digest_of_nothing(void **state)
{
    (void)state;
    Buf hashes AUTO(buf_release) = {0}, one AUTO(buf_release) = {0};
    WalPieces p;
    char hex[2 * XXH128_LEN + 1];
    uint8_t hash[XXH128_LEN];
    xxh128_of("", 0, hash);
    assert_string_equal(hex_format(hash, XXH128_LEN, hex), "99aa06d3014798d86001c324468d497f");
    content(5, 5, &one);
    hashes_by_hand(&one, &hashes);
    wal_pieces_make(&p, one.data, 5, 1);
    assert_memory_equal(p.at[0].hash, hashes.data, XXH128_LEN);
    wal_pieces_release(&p);
}

static void the_object_by_hand(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    File f AUTO(file_release);
    Buf o AUTO(buf_release) = {0}, table AUTO(buf_release) = {0}, meta AUTO(buf_release) = {0};
    Decompressor *d AUTO(decompressor_freep) = decompressor_new();
    uint8_t *raw AUTO(mem_freep) = mem_new(MIB);
    UnitLens lens = {0};
    ObjectInfo info;
    Slice s;
    put(repo, 16 * MIB, 16 * MIB, 2 * MIB + 3, NULL, &f);
    char *name AUTO(mem_freep) = name_of(&f);
    mem_get(repo, name, &o);
    assert_memory_equal(o.data + 8, "PGDRWAL1", 8);
    expect_ok(repo_get_table(repo, name, KIND_WAL, &info, &table, err));
    assert_int_equal(info.units, 3);
    assert_int_equal(info.slots, 0);
    expect_ok(table_find(&table, 1, &s, err));
    expect_ok(unit_lens_parse(s, 3, info.table_off, &lens, err));
    const uint8_t *at = o.data + 92;
    for (size_t i = 0; i < 3; at += lens.at[i++]) {
        size_t len = i < 2 ? MIB : 3;
        expect_ok(decompressor_run(d, at, lens.at[i], raw, len, err));
        assert_memory_equal(raw, f.data.data + i * MIB, len);
    }
    vec_release(&lens);
    expect_ok(table_find(&table, 14, &s, err));
    buf_printf(&meta,
               "{\"file\":\"" SEGMENT "\",\"digest\":\"%s\",\"size\":16777216,\"valid\":2097155,"
               "\"pushed\":1795421700000000,\"host\":\"db1\"}",
               f.found.digest);
    assert_int_equal(s.len, meta.len);
    assert_memory_equal(s.data, meta.data, s.len);
}

/* --- files of every length --- */

static void expect_read(File *f)
{
    Buf data AUTO(buf_release) = {0}, table AUTO(buf_release) = {0}, proven AUTO(buf_release) = {0};
    WalMeta meta;
    uint64_t stored;
    buf_append_str(&data, "before");
    expect_ok(wal_read(&f->store, &f->found, &data, &meta, &table, err));
    assert_int_equal(data.len, 6 + f->data.len);
    assert_memory_equal(data.data + 6, f->data.data, f->data.len);
    assert_int_equal(meta.size, f->data.len);
    assert_string_equal(meta.file, SEGMENT);
    assert_string_equal(meta.host, "db1");
    assert_true(meta.pushed == 1795421700000000);
    WalMeta again;
    expect_ok(wal_read_table(&f->store, &f->found, &again, &table, err));
    assert_int_equal(again.valid, meta.valid);
    char *name AUTO(mem_freep) = name_of(f);
    StorageStat st;
    expect_ok(repo_stat(f->store.repo, name, &st, err));
    expect_ok(wal_prove(&f->store, name, &f->found, &proven, &stored, err));
    assert_int_equal(stored, st.size);
    assert_int_equal(proven.len, f->data.len);
}

static void expect_file(File *f, unsigned threads)
{
    char path[] = "/tmp/pgdr-unit-XXXXXX";
    int fd AUTO(fd_closep) = mkstemp(path);
    uint8_t *got AUTO(mem_freep) = mem_new(f->data.len + 1);
    uint64_t size = 0;
    size_t n;
    assert_true(fd >= 0);
    unlink(path);
    expect_ok(wal_read_to_file(&f->store, &f->found, fd, path, threads, &size, err));
    assert_int_equal(size, f->data.len);
    expect_ok(file_read_at(fd, got, f->data.len + 1, 0, &n, path, err));
    assert_int_equal(n, f->data.len);
    assert_memory_equal(got, f->data.data, n);
}

static void lengths(void **state)
{
    (void)state;
    const size_t sizes[][2] = {
        {0, 0},
        {1, 1},
        {1, 0},
        {4095, 4095},
        {4096, 1},
        {8192, 4096},
        {8192, 4097},
        {10000, 5000},
        {MIB - 1, MIB - 1},
        {MIB, MIB},
        {MIB, MIB - 1},
        {MIB, 0},
        {MIB + 1, MIB},
        {MIB + 1, MIB + 1},
        {2 * MIB, MIB},
        {2 * MIB, MIB + 1},
        {4 * MIB, 40},
        {3 * MIB + 17, 3 * MIB},
    };
    const uint8_t ciphers[] = {CIPHER_NONE, CIPHER_AES_256_GCM};
    for (size_t k = 0; k < ARRAY_LEN(ciphers); k++) {
        Repo *repo AUTO(repo_closep) = mem_repo_new(ciphers[k]);
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
            File f AUTO(file_release);
            put(repo, 4 * MIB, sizes[i][0], sizes[i][1], NULL, &f);
            expect_read(&f);
            for (unsigned threads = 0; threads < 4; threads += 3)
                expect_file(&f, threads);
        }
    }
}

/* One of zeros alone needs no unit, and is no other than one of fewer zeros by accident. */
static void zeros(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    File one AUTO(file_release), two AUTO(file_release);
    Buf table AUTO(buf_release) = {0};
    ObjectInfo info;
    put(repo, 16 * MIB, MIB, 0, NULL, &one);
    put(repo, 16 * MIB, 2 * MIB, 0, NULL, &two);
    assert_string_not_equal(one.found.digest, two.found.digest);
    char *name AUTO(mem_freep) = name_of(&two);
    expect_ok(repo_get_table(repo, name, KIND_WAL, &info, &table, err));
    assert_int_equal(info.units, 0);
}

/* --- damage and forgery --- */

/* `way`: 0 and 3 read the content, which must be right when they succeed. */
static ErrCode read_any_way(File *f, int way, Err *err)
{
    Buf data AUTO(buf_release) = {0}, table AUTO(buf_release) = {0};
    char *name AUTO(mem_freep) = name_of(f);
    WalMeta meta;
    uint64_t size;
    if (way == 0) {
        TRY(wal_read(&f->store, &f->found, &data, NULL, NULL, err));
        assert_int_equal(data.len, f->data.len);
        assert_memory_equal(data.data, f->data.data, f->data.len);
        return ERR_OK;
    }
    if (way == 1)
        return wal_prove(&f->store, name, &f->found, &data, &size, err);
    if (way == 2)
        return wal_read_table(&f->store, &f->found, &meta, &table, err);
    int fd AUTO(fd_closep) = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    assert_true(fd >= 0);
    TRY(wal_read_to_file(&f->store, &f->found, fd, "/tmp/x", 2, &size, err));
    assert_int_equal(size, f->data.len);
    assert_int_equal(pread(fd, buf_reserve(&data, size), size, 0), (ssize_t)size);
    assert_memory_equal(data.data, f->data.data, size);
    return ERR_OK;
}

static void every_bit_counts(void **state)
{
    (void)state;
    const uint8_t ciphers[] = {CIPHER_NONE, CIPHER_AES_256_GCM};
    for (size_t k = 0; k < ARRAY_LEN(ciphers); k++) {
        Repo *repo AUTO(repo_closep) = mem_repo_new(ciphers[k]);
        File f AUTO(file_release);
        Buf o AUTO(buf_release) = {0}, sections AUTO(buf_release) = {0};
        table_append(&sections, SECTION_EVENT, "an index", 8);
        put(repo, MIB, 200, 100, &sections, &f);
        char *name AUTO(mem_freep) = name_of(&f);
        mem_get(repo, name, &o);
        for (size_t i = 0; i < o.len * 8; i++) {
            Err why = {0};
            o.data[i / 8] ^= (uint8_t)(1 << i % 8);
            mem_put(repo, name, o.data, o.len);
            assert_int_not_equal(read_any_way(&f, 1, &why), ERR_OK);
            /* Who reads the content is told by its digest: the bytes of the index may differ. */
            (void)!read_any_way(&f, 0, &why);
            (void)!read_any_way(&f, 3, &why);
            o.data[i / 8] ^= (uint8_t)(1 << i % 8);
        }
    }
}

/* The object under the name of another digest, or another file; under another system it is not
 * even looked for. */
static void objects_under_other_names(void **state)
{
    (void)state;
    const uint8_t ciphers[] = {CIPHER_NONE, CIPHER_AES_256_GCM};
    for (size_t k = 0; k < ARRAY_LEN(ciphers); k++) {
        Repo *repo AUTO(repo_closep) = mem_repo_new(ciphers[k]);
        File f AUTO(file_release);
        Buf o AUTO(buf_release) = {0};
        put(repo, MIB, MIB, 100, NULL, &f);
        char *was AUTO(mem_freep) = name_of(&f);
        mem_get(repo, was, &o);
        for (int which = 0; which < 2; which++) {
            File other = f;
            if (which)
                other.found.file[23] = '6';
            else
                other.found.digest[0] ^= 1;
            char *name AUTO(mem_freep) = name_of(&other);
            mem_put(repo, name, o.data, o.len);
            for (int way = 0; way < 4; way++)
                expect_err(ERR_DAMAGED, name, read_any_way(&other, way, err));
        }
    }
}

/* META that says what it likes, in an object that is whole. */
static void forge(Repo *repo, const File *f, const char *meta, size_t units, size_t unit_len)
{
    ObjectWriter *w AUTO(object_writer_freep) = object_writer_new(KIB);
    Compressor *c AUTO(compressor_freep) = compressor_new(1);
    Buf sections AUTO(buf_release) = {0};
    uint8_t *bytes AUTO(mem_freep) = mem_zero(unit_len);
    char *name AUTO(mem_freep) = name_of(f);
    ObjectFacts facts;
    memset(bytes, 0xAB, unit_len);
    if (meta)
        table_append(&sections, SECTION_META, meta, strlen(meta));
    object_writer_begin(w, repo->key, KIND_WAL, name);
    for (size_t i = 0; i < units; i++)
        expect_ok(object_writer_add(w, c, bytes, unit_len, NULL, err));
    expect_ok(object_writer_finish(w, 0, &sections, &facts, err));
    expect_ok(repo_put(repo, name, w, STORAGE_OVERWRITE, err));
}

#define META(size, valid)                                                                          \
    "{\"file\":\"" SEGMENT "\",\"digest\":\"%s\",\"size\":" size ",\"valid\":" valid               \
    ",\"pushed\":1,\"host\":\"h\"}"

static void forged_metas(void **state)
{
    (void)state;
    static const struct {
        const char *meta;
        size_t units, len;
        const char *says;
        bool by_table; /* seen without the content */
    } cases[] = {
        {META("100", "100"), 1, 100, NULL, false},
        {NULL, 1, 100, "", true},
        {"no JSON %s", 1, 100, "bad JSON", true},
        {META("1048577", "100"), 1, 100, "\"size\" is 1048577", true}, /* more than a segment */
        {META("-1", "100"), 1, 100, "\"size\" is -1", true},
        {META("100", "101"), 1, 100, "\"valid\" is 101", true},
        {META("100", "-1"), 1, 100, "\"valid\" is -1", true},
        {META("100", "100"), 0, 100, "0 units for 100 bytes", false},
        {META("100", "100"), 2, 100, "2 units for 100 bytes", false},
        {META("100", "0"), 1, 100, "1 units for 0 bytes", false},
        {META("100", "99"), 1, 100, "zstd frame", false}, /* it holds more */
        {META("100", "100"), 1, 99, "zstd frame", false},
        {META("101", "100"), 1, 100, "does not fit the digest", false}, /* a zero more */
    };
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    File f AUTO(file_release);
    Buf bytes AUTO(buf_release) = {0};
    put(repo, MIB, 100, 100, NULL, &f);
    memset(buf_reserve(&bytes, 100), 0xAB, 100);
    bytes.len = 100;
    assert_int_equal(f.data.len, bytes.len);
    memcpy(f.data.data, bytes.data, bytes.len);
    digest_by_hand(repo, &bytes, f.found.digest);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *meta AUTO(mem_freep) = NULL;
        if (cases[i].meta) {
            Buf text AUTO(buf_release) = {0};
            const char *hole = strstr(cases[i].meta, "%s");
            buf_append(&text, cases[i].meta, (size_t)(hole - cases[i].meta));
            buf_append_str(&text, f.found.digest);
            buf_append_str(&text, hole + 2);
            meta = mem_strdup(buf_str(&text));
        }
        forge(repo, &f, meta, cases[i].units, cases[i].len);
        for (int way = 0; way < 4; way++) {
            Err why = {0};
            ErrCode rc = read_any_way(&f, way, &why);
            bool good = !cases[i].says || (way == 2 && !cases[i].by_table);
            if (rc != (good ? ERR_OK : ERR_DAMAGED) ||
                (!good && !strstr(why.message, cases[i].says)))
                fail_msg("case %zu, way %d: %s '%s'", i, way, err_code_name(rc), why.message);
        }
    }
}

/* A file may be as large as a segment, or 1 MiB when segments are no larger. */
static void the_size_of_a_segment(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    const struct {
        uint32_t seg_size;
        size_t size;
        bool good;
    } cases[] = {{1 << 20, MIB, true},
                 {1 << 20, MIB + 1, false},
                 {2 << 20, 2 * MIB, true},
                 {2 << 20, 2 * MIB + 1, false},
                 {64 << 20, 64 * MIB, true}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        File f AUTO(file_release);
        put(repo, cases[i].seg_size, cases[i].size, 10, NULL, &f);
        for (int way = 0; way < 4; way++) {
            Err why = {0};
            assert_int_equal(read_any_way(&f, way, &why), cases[i].good ? ERR_OK : ERR_DAMAGED);
        }
    }
}

/* --- the same file in another repository --- */

static void expect_remade(Repo *from, Repo *to)
{
    File f AUTO(file_release), copy AUTO(file_release);
    Buf sections AUTO(buf_release) = {0}, table AUTO(buf_release) = {0};
    ObjectWriter *w AUTO(object_writer_freep) = object_writer_new(KIB);
    char want[33];
    Slice s;
    WalMeta meta;
    table_append(&sections, SECTION_FRAG, "frag", 4);
    table_append(&sections, SECTION_TIME, "time", 4);
    table_append(&sections, SECTION_EVENT, "event", 5);
    table_append(&sections, 77, "of a later version", 18);
    put(from, 4 * MIB, 4 * MIB, 2 * MIB + 9, &sections, &f);
    copy = (File){.found = {.file = SEGMENT}};
    buf_append(&copy.data, f.data.data, f.data.len);
    wal_store_init(&copy.store, to, SYSTEM, 4 * MIB);
    expect_ok(wal_object_remake(&f.store, &f.found, &copy.store, w, copy.found.digest, err));
    digest_by_hand(to, &f.data, want);
    assert_string_equal(copy.found.digest, want);
    assert_int_equal(strcmp(f.found.digest, want) == 0, wal_same_digests(from, to));
    char *name AUTO(mem_freep) = name_of(&copy);
    expect_ok(wal_put(&copy.store, w, name, STORAGE_OVERWRITE, err));
    expect_read(&copy);
    expect_ok(wal_read_table(&copy.store, &copy.found, &meta, &table, err));
    expect_ok(table_find(&table, SECTION_EVENT, &s, err));
    assert_true(s.len == 5 && memcmp(s.data, "event", 5) == 0);
    expect_ok(table_find(&table, SECTION_FRAG, &s, err));
    assert_int_equal(s.len, 4);
    expect_ok(table_find(&table, SECTION_TIME, &s, err));
    assert_int_equal(s.len, 4);
}

static void remade_elsewhere(void **state)
{
    (void)state;
    Repo *plain AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    Repo *other AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    Repo *sealed AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    Repo *secret AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    assert_true(wal_same_digests(plain, other));
    assert_false(wal_same_digests(plain, sealed));
    assert_false(wal_same_digests(sealed, secret));
    assert_true(wal_same_digests(sealed, sealed));
    expect_remade(plain, other);
    expect_remade(plain, sealed);
    expect_remade(sealed, secret);
    expect_remade(secret, plain);
}

/* Nothing that is not proven is given a new digest. */
static void damage_is_not_copied(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    Repo *to AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    File f AUTO(file_release);
    WalStore store;
    ObjectWriter *w AUTO(object_writer_freep) = object_writer_new(KIB);
    Buf o AUTO(buf_release) = {0};
    char digest[WAL_DIGEST_LEN] = "untouched";
    put(repo, MIB, MIB, 1000, NULL, &f);
    wal_store_init(&store, to, SYSTEM, MIB);
    char *name AUTO(mem_freep) = name_of(&f);
    mem_get(repo, name, &o);
    o.data[o.len / 2] ^= 1;
    mem_put(repo, name, o.data, o.len);
    expect_err(ERR_DAMAGED, name, wal_object_remake(&f.store, &f.found, &store, w, digest, err));
    /* Whole, but not what its name says. */
    Buf meta AUTO(buf_release) = {0};
    buf_printf(&meta, META("100", "100"), f.found.digest);
    forge(repo, &f, buf_str(&meta), 1, 100);
    expect_err(ERR_DAMAGED, "does not fit the digest in its name",
               wal_object_remake(&f.store, &f.found, &store, w, digest, err));
    assert_string_equal(digest, "untouched");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests),
        cmocka_unit_test(the_digest_of_nothing),
        cmocka_unit_test(the_object_by_hand),
        cmocka_unit_test(lengths),
        cmocka_unit_test(zeros),
        cmocka_unit_test(every_bit_counts),
        cmocka_unit_test(objects_under_other_names),
        cmocka_unit_test(forged_metas),
        cmocka_unit_test(the_size_of_a_segment),
        cmocka_unit_test(remade_elsewhere),
        cmocka_unit_test(damage_is_not_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
