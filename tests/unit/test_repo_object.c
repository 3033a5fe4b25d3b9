/* The envelope of objects (docs/repository-format.md, 4 and 6): every byte of it by hand, what is
 * sealed opened by hand, and whatever is forged refused. */

#include "tests/unit/unit.h"

#include "lib/common/bytes.h"
#include "lib/common/hex.h"
#include "tests/unit/mem_repo.h"

#define NAME "trash/one"
#define HEADER 92
#define FOOTER 132

static void put(Repo *repo, const void *text, size_t len, Buf *stored)
{
    expect_ok(document_put(repo, NAME, KIND_TRASH, text, len, STORAGE_OVERWRITE, NULL, err));
    stored->len = 0;
    mem_get(repo, NAME, stored);
}

static ErrCode get(Repo *repo, Buf *text, Err *err)
{
    text->len = 0;
    return document_get(repo, NAME, KIND_TRASH, 4 * MIB, text, NULL, err);
}

/* --- by hand --- */

static void check_header(const uint8_t *h, const Repo *repo, uint8_t cipher)
{
    static const uint8_t zeros[5];
    assert_int_equal(get_u32(h), 0x184D2A50);
    assert_int_equal(get_u32(h + 4), 84);
    assert_memory_equal(h + 8, "PGDRTRSH", 8);
    assert_int_equal(get_u16(h + 16), 1);
    assert_memory_equal(h + 18, zeros, 4);
    assert_int_equal(h[22], cipher);
    assert_int_equal(h[23], 0);
    assert_memory_equal(h + 24, repo->key->repo_id, 16);
    assert_memory_equal(h + 40, repo->key->id, 8);
    assert_true((TimeUs)get_u64(h + 80) <= time_now());
    assert_true((TimeUs)get_u64(h + 80) > time_now() - 60 * US_PER_SECOND);
    assert_int_equal(get_u32(h + 88), crc32c(0, h, 88));
}

static void check_footer(const Buf *o, uint8_t cipher, uint64_t table_off, uint32_t units)
{
    const uint8_t *h = o->data, *f = o->data + o->len - FOOTER;
    uint8_t sha[SHA256_LEN];
    assert_int_equal(get_u32(f), 0x184D2A52);
    assert_int_equal(get_u32(f + 4), 124);
    assert_memory_equal(f + 8, "PGDRTRSH", 8);
    assert_int_equal(get_u16(f + 16), 1);
    assert_int_equal(get_u32(f + 18), 0);
    assert_int_equal(f[22], cipher);
    assert_int_equal(f[23], 0);
    assert_memory_equal(f + 24, h + 40, 8);  /* key id */
    assert_memory_equal(f + 32, h + 48, 32); /* salt */
    assert_int_equal(get_u64(f + 64), table_off);
    assert_int_equal(get_u32(f + 72), o->len - FOOTER - table_off);
    assert_int_equal(get_u32(f + 76), units);
    assert_int_equal(get_u64(f + 80), 0);
    sha256_of(o->data, o->len - FOOTER, sha);
    assert_memory_equal(f + 88, sha, SHA256_LEN);
    assert_int_equal(get_u32(f + 120), crc32c(0, f, 120));
    assert_memory_equal(f + 124, "PGDREND1", 8);
}

/* A zstd frame with its content size and a checksum, of this content. */
static void check_frame(const uint8_t *frame, size_t len, const void *want, size_t want_len)
{
    Decompressor *d AUTO(decompressor_freep) = decompressor_new();
    uint8_t *got AUTO(mem_freep) = mem_new(want_len + 1);
    size_t raw;
    assert_int_equal(get_u32(frame), 0xFD2FB528);
    assert_true(frame[4] & 4); /* Content_Checksum_flag */
    expect_ok(frame_raw_size(frame, len, want_len, &raw, err));
    assert_int_equal(raw, want_len);
    expect_ok(decompressor_run(d, frame, len, got, want_len, err));
    assert_memory_equal(got, want, want_len);
}

static void a_plain_object(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    Buf o AUTO(buf_release) = {0};
    put(repo, "abc", 3, &o);
    size_t table = o.len - FOOTER - 8 - 3, unit = table - HEADER;
    check_header(o.data, repo, 0);
    check_frame(o.data + HEADER, unit, "abc", 3);
    assert_int_equal(get_u32(o.data + table), 0x184D2A51);
    assert_int_equal(get_u32(o.data + table + 4), 3);
    const uint8_t len_section[] = {1, 1, (uint8_t)unit};
    assert_memory_equal(o.data + table + 8, len_section, 3);
    check_footer(&o, 0, table, 1);
}

/* What was sealed, opened as the page says. */
static void unseal(const Repo *repo, const Buf *o, uint32_t domain, uint64_t number,
                   const uint8_t *sealed, size_t len, uint8_t *out)
{
    uint8_t key[CIPHER_KEY_LEN], nonce[12];
    Buf info AUTO(buf_release) = {0}, aad AUTO(buf_release) = {0};
    buf_append_str(&info, "pgdr object");
    buf_append(&info, repo->key->repo_id, 16);
    buf_append_str(&info, NAME);
    hkdf_sha256(repo->key->secret, 32, o->data + 48, 32, info.data, info.len, key, sizeof(key));
    set_u32(nonce, domain);
    set_u64(nonce + 4, number);
    buf_append(&aad, NAME, sizeof(NAME)); /* with its zero */
    buf_append(&aad, nonce, sizeof(nonce));
    Cipher *c AUTO(cipher_freep) = cipher_new(key);
    assert_true(cipher_open(c, nonce, aad.data, aad.len, sealed, len - 16, out));
}

static void a_sealed_object(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    uint8_t *text AUTO(mem_freep) = mem_zero(MIB + 5), *out AUTO(mem_freep) = mem_new(MIB);
    Buf o AUTO(buf_release) = {0};
    memcpy(text + MIB, "tail", 5);
    put(repo, text, MIB + 5, &o);
    check_header(o.data, repo, 1);
    const uint8_t *at = o.data + HEADER;
    Buf lens AUTO(buf_release) = {0};
    for (uint64_t i = 0; i < 2; i++) {
        uint32_t len = get_u32(at + 4);
        assert_int_equal(get_u32(at), 0x184D2A5E);
        unseal(repo, &o, 0, i, at + 8, len, out);
        check_frame(out, len - 16, text + i * MIB, i ? 5 : MIB);
        buf_append_varint(&lens, len + 8);
        at += len + 8;
    }
    size_t table = (size_t)(at - o.data), len = o.len - FOOTER - table - 8;
    assert_int_equal(get_u32(at), 0x184D2A51);
    assert_int_equal(get_u32(at + 4), len);
    unseal(repo, &o, 1, 0, at + 8, len, out);
    assert_int_equal(out[0], 1);
    assert_int_equal(out[1], lens.len);
    assert_int_equal(len - 16, 2 + lens.len);
    assert_memory_equal(out + 2, lens.data, lens.len);
    check_footer(&o, 1, table, 2);
}

/* Units of exactly 1 MiB, the last one shorter; none for nothing. */
static void documents_are_cut_into_units(void **state)
{
    (void)state;
    const struct {
        size_t len;
        uint32_t units;
    } cases[] = {{0, 0}, {1, 1}, {MIB - 1, 1}, {MIB, 1}, {MIB + 1, 2}, {2 * MIB, 2}};
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    uint8_t *text AUTO(mem_freep) = mem_zero(2 * MIB);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Buf o AUTO(buf_release) = {0}, back AUTO(buf_release) = {0};
        put(repo, text, cases[i].len, &o);
        assert_int_equal(get_u32(o.data + o.len - FOOTER + 76), cases[i].units);
        expect_ok(get(repo, &back, err));
        assert_int_equal(back.len, cases[i].len);
        assert_true(is_all_zero(back.data, back.len));
    }
}

static void a_stamp(void **state)
{
    (void)state;
    ObjectStamp s = {.created_us = 0x0102030405060708}, back;
    char text[STAMP_TEXT_LEN], bad[STAMP_TEXT_LEN + 1];
    memset(s.key_id, 0xA1, sizeof(s.key_id));
    memset(s.salt, 0xB2, sizeof(s.salt));
    assert_string_equal(stamp_format(&s, text),
                        "a1a1a1a1a1a1a1a1b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2"
                        "b2b2b20807060504030201");
    assert_true(stamp_parse(text, &back));
    assert_memory_equal(&s, &back, sizeof(s));
    snprintf(bad, sizeof(bad), "%.95s", text);
    assert_false(stamp_parse(bad, &back));
    snprintf(bad, sizeof(bad), "%s0", text);
    assert_false(stamp_parse(bad, &back));
    snprintf(bad, sizeof(bad), "%.95sg", text);
    assert_false(stamp_parse(bad, &back));
}

/* The same content under the same stamp is the same bytes, and the facts are those of the bytes. */
static void a_document_made_again(void **state)
{
    (void)state;
    const uint8_t ciphers[] = {CIPHER_NONE, CIPHER_AES_256_GCM};
    for (size_t i = 0; i < ARRAY_LEN(ciphers); i++) {
        Repo *repo AUTO(repo_closep) = mem_repo_new(ciphers[i]);
        Buf o AUTO(buf_release) = {0}, again AUTO(buf_release) = {0}, other AUTO(buf_release) = {0};
        DocumentFacts facts;
        uint8_t sha[SHA256_LEN];
        put(repo, "abc", 3, &o);
        ObjectStamp stamp = object_stamp(o.data);
        expect_ok(document_put_stamped(repo, NAME, KIND_TRASH, slice_of_str("abc"),
                                       STORAGE_OVERWRITE, &stamp, &facts, err));
        mem_get(repo, NAME, &again);
        assert_int_equal(again.len, o.len);
        assert_memory_equal(again.data, o.data, o.len);
        sha256_of(o.data, o.len, sha);
        assert_int_equal(facts.size, o.len);
        assert_memory_equal(facts.sha256, sha, SHA256_LEN);
        assert_memory_equal(&facts.stamp, &stamp, sizeof(stamp));
        put(repo, "abc", 3, &other); /* a salt is never used twice */
        assert_memory_not_equal(other.data + 48, o.data + 48, 32);
    }
}

/* --- damage --- */

/* No single bit, and no byte at the end, can be lost unseen. */
static void every_bit_counts(void **state)
{
    (void)state;
    const uint8_t ciphers[] = {CIPHER_NONE, CIPHER_AES_256_GCM};
    for (size_t k = 0; k < ARRAY_LEN(ciphers); k++) {
        Repo *repo AUTO(repo_closep) = mem_repo_new(ciphers[k]);
        Buf o AUTO(buf_release) = {0}, text AUTO(buf_release) = {0};
        char kind[KIND_LEN + 1];
        put(repo, "abc", 3, &o);
        for (size_t i = 0; i < o.len * 8; i++) {
            Err why = {0};
            o.data[i / 8] ^= (uint8_t)(1 << i % 8);
            mem_put(repo, NAME, o.data, o.len);
            assert_int_not_equal(get(repo, &text, &why), ERR_OK);
            assert_int_not_equal(object_check_bytes(o.data, o.len, kind, &why), ERR_OK);
            o.data[i / 8] ^= (uint8_t)(1 << i % 8);
        }
        for (size_t len = 0; len < o.len; len++) {
            Err why = {0};
            uint8_t *cut AUTO(mem_freep) = mem_new(len);
            memcpy(cut, o.data, len);
            mem_put(repo, NAME, cut, len);
            assert_int_equal(get(repo, &text, &why), ERR_DAMAGED);
            assert_int_equal(object_check_bytes(cut, len, kind, &why), ERR_DAMAGED);
        }
    }
}

typedef struct Forgery {
    const char *what;
    long at; /* below zero: from the end */
    size_t len;
    const char *bytes;
    ErrCode code;
    const char *says;
    ErrCode end; /* for who reads the end alone */
} Forgery;

#define F (-FOOTER)

static const Forgery forgeries[] = {
    {"compat bits of the header are for those who know them", 20, 2, "\xff\xff", ERR_OK, "",
     ERR_OK},
    {"compat bits of the footer", F + 20, 2, "\xff\xff", ERR_OK, "", ERR_OK},
    {"a newer header", 16, 2, "\2\0", ERR_VERSION, "format version 2", ERR_OK},
    {"a newer footer", F + 16, 2, "\2\0", ERR_VERSION, "format version 2", ERR_VERSION},
    {"an incompatible header", 18, 2, "\1\0", ERR_VERSION, "features 0x1", ERR_OK},
    {"an incompatible footer", F + 18, 2, "\0\x80", ERR_VERSION, "features 0x8000", ERR_VERSION},
    {"a reserved byte of the header", 23, 1, "\1", ERR_DAMAGED, "reserved byte", ERR_OK},
    {"a reserved byte of the footer", F + 23, 1, "\1", ERR_DAMAGED, "contradicts", ERR_DAMAGED},
    {"no magic", 0, 1, "\x51", ERR_DAMAGED, "header is missing", ERR_OK},
    {"no magic at the end", -1, 1, "2", ERR_DAMAGED, "footer is missing", ERR_DAMAGED},
    {"a cipher nobody knows", F + 22, 1, "\2", ERR_DAMAGED, "contradicts", ERR_DAMAGED},
    {"another cipher in the footer", F + 22, 1, "\1", ERR_DAMAGED, "different objects",
     ERR_WRONG_KEY},
    {"another cipher in the header", 22, 1, "\1", ERR_DAMAGED, "different objects", ERR_OK},
    {"another kind in the header", 8, 8, "PGDRMARK", ERR_DAMAGED, "different objects", ERR_OK},
    {"another kind in the footer", F + 8, 8, "PGDRMARK", ERR_DAMAGED, "", ERR_DAMAGED},
    {"another salt in the header", 60, 4, "\x55\xaa\x55\xaa", ERR_DAMAGED, "different objects",
     ERR_OK},
    {"another key in the header", 40, 4, "\x55\xaa\x55\xaa", ERR_DAMAGED, "different objects",
     ERR_OK},
    {"one unit more", F + 76, 1, "\2", ERR_DAMAGED, "fewer units", ERR_OK},
    {"one unit less", F + 76, 1, "\0", ERR_DAMAGED, "do not add up", ERR_OK},
    {"a table of no bytes", F + 72, 1, "\7", ERR_DAMAGED, "contradicts", ERR_DAMAGED},
};

static void forged_envelopes(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    Buf o AUTO(buf_release) = {0}, text AUTO(buf_release) = {0}, table AUTO(buf_release) = {0};
    put(repo, "abc", 3, &o);
    for (size_t i = 0; i < ARRAY_LEN(forgeries); i++) {
        const Forgery *f = &forgeries[i];
        ObjectInfo info;
        uint8_t *bytes AUTO(mem_freep) = mem_new(o.len); /* exactly, for AddressSanitizer */
        memcpy(bytes, o.data, o.len);
        memcpy(bytes + (f->at < 0 ? (long)o.len + f->at : f->at), f->bytes, f->len);
        mem_mend(bytes, o.len);
        mem_put(repo, NAME, bytes, o.len);
        Err whole = {0}, end = {0};
        ErrCode rc = get(repo, &text, &whole);
        if (rc != f->code || !strstr(whole.message, f->says))
            fail_msg("%s: %s '%s'", f->what, err_code_name(rc), whole.message);
        rc = repo_get_table(repo, NAME, KIND_TRASH, &info, &table, &end);
        if (rc != f->end)
            fail_msg("%s, by its end: %s '%s'", f->what, err_code_name(rc), end.message);
    }
}

/* Offset and length that are right together, modulo 2^64, and lie outside. */
static void tables_out_of_place(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    Buf o AUTO(buf_release) = {0}, text AUTO(buf_release) = {0}, table AUTO(buf_release) = {0};
    put(repo, "abc", 3, &o);
    const uint64_t lens[] = {0,
                             7,
                             o.len - FOOTER - HEADER + 1,
                             o.len - FOOTER,
                             o.len,
                             o.len + 1000,
                             (64 << 20) + 1,
                             UINT32_MAX};
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        ObjectInfo info;
        uint8_t *bytes AUTO(mem_freep) = mem_new(o.len);
        memcpy(bytes, o.data, o.len);
        set_u64(bytes + o.len + F + 64, o.len - FOOTER - lens[i]);
        set_u32(bytes + o.len + F + 72, (uint32_t)lens[i]);
        mem_mend(bytes, o.len);
        mem_put(repo, NAME, bytes, o.len);
        expect_err(ERR_DAMAGED, "the footer contradicts the object's size", get(repo, &text, err));
        expect_err(ERR_DAMAGED, "the footer contradicts the object's size",
                   repo_get_table(repo, NAME, KIND_TRASH, &info, &table, err));
    }
}

/* A key that the repository does not have is named as such, and is no damage. */
static void another_repository(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    Repo *other AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    Buf o AUTO(buf_release) = {0}, text AUTO(buf_release) = {0};
    char id[17];
    put(repo, "abc", 3, &o);
    mem_put(other, NAME, o.data, o.len);
    expect_err(ERR_WRONG_KEY, hex_format(repo->key->id, 8, id), get(other, &text, err));
}

/* Who can write to the medium can give objects each other's names. */
static void a_sealed_object_under_another_name(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    Buf o AUTO(buf_release) = {0}, text AUTO(buf_release) = {0};
    put(repo, "abc", 3, &o);
    mem_put(repo, "trash/two", o.data, o.len);
    expect_err(ERR_DAMAGED, "'app/trash/two'",
               document_get(repo, "trash/two", KIND_TRASH, MIB, &text, NULL, err));
}

/* And change the order of units, or leave some out; the digest over all can be made anew. */
static void sealed_units_in_another_order(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    uint8_t *text AUTO(mem_freep) = mem_zero(2 * MIB);
    Buf o AUTO(buf_release) = {0}, back AUTO(buf_release) = {0};
    put(repo, text, 2 * MIB, &o);
    size_t len = get_u32(o.data + HEADER + 4) + 8;
    uint8_t *first AUTO(mem_freep) = mem_new(len);
    assert_int_equal(get_u32(o.data + HEADER + len + 4) + 8, len); /* the same content */
    memcpy(first, o.data + HEADER, len);
    memcpy(o.data + HEADER, o.data + HEADER + len, len);
    memcpy(o.data + HEADER + len, first, len);
    mem_mend(o.data, o.len);
    mem_put(repo, NAME, o.data, o.len);
    expect_err(ERR_DAMAGED, "unit 0 is not what was sealed", get(repo, &back, err));
}

/* --- limits --- */

static void limits_of_documents(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    uint8_t *text AUTO(mem_freep) = mem_zero(3 * MIB);
    Buf o AUTO(buf_release) = {0}, back AUTO(buf_release) = {0};
    put(repo, text, 3 * MIB, &o);
    expect_ok(document_get(repo, NAME, KIND_TRASH, 3 * MIB, &back, NULL, err));
    expect_err(ERR_LIMIT, "larger than the",
               document_get(repo, NAME, KIND_TRASH, 3 * MIB - 1, &back, NULL, err));
    uint8_t *noise AUTO(mem_freep) = mem_new(MIB);
    random_bytes(noise, MIB);
    put(repo, noise, MIB, &o); /* more bytes stored than may ever be needed are not read at all */
    expect_err(ERR_LIMIT, "", document_get(repo, NAME, KIND_TRASH, 100 * KIB, &back, NULL, err));
}

/* An object of one unit, which is a frame of `raw` bytes. */
static void put_unit(Repo *repo, size_t raw)
{
    ObjectWriter *w AUTO(object_writer_freep) = object_writer_new(KIB);
    Compressor *c AUTO(compressor_freep) = compressor_new(1);
    uint8_t *text AUTO(mem_freep) = mem_zero(raw), *frame AUTO(mem_freep) = NULL;
    ObjectFacts facts;
    frame = mem_new(compress_bound(raw));
    size_t len = compressor_run(c, text, raw, frame, compress_bound(raw));
    object_writer_begin(w, repo->key, KIND_TRASH, NAME);
    expect_ok(object_writer_add_packed(w, frame, len, err));
    expect_ok(object_writer_finish(w, 0, NULL, &facts, err));
    expect_ok(repo_put(repo, NAME, w, STORAGE_OVERWRITE, err));
}

static void a_unit_has_at_most_a_mebibyte(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    Buf back AUTO(buf_release) = {0};
    put_unit(repo, MIB);
    expect_ok(get(repo, &back, err));
    put_unit(repo, MIB + 1);
    expect_err(ERR_LIMIT, "1048577 bytes", get(repo, &back, err));
}

/* --- tables --- */

/* A section of so many bytes that no reader knows: from the end it takes one read, or two. */
static void tables_of_any_length(void **state)
{
    (void)state;
    const size_t guess = 64 * KIB; /* what is read from the end at once */
    const size_t lens[] = {0, 1, guess - FOOTER - 20, guess - FOOTER, guess, 300 * KIB};
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        ObjectWriter *w AUTO(object_writer_freep) = object_writer_new(KIB);
        Buf sections AUTO(buf_release) = {0}, table AUTO(buf_release) = {0};
        uint8_t *bytes AUTO(mem_freep) = mem_zero(lens[i]);
        ObjectFacts facts;
        ObjectInfo info;
        Slice found;
        memset(bytes, 7, lens[i]);
        table_append(&sections, 200, bytes, lens[i]);
        table_append(&sections, SECTION_META, "meta", 4);
        object_writer_begin(w, repo->key, KIND_WAL, "wal/x");
        expect_ok(object_writer_finish(w, 5, &sections, &facts, err));
        expect_ok(repo_put(repo, "wal/x", w, STORAGE_OVERWRITE, err));
        expect_ok(repo_get_table(repo, "wal/x", KIND_WAL, &info, &table, err));
        assert_int_equal(info.slots, 5);
        assert_int_equal(info.table_off, HEADER);
        expect_ok(table_find(&table, SECTION_META, &found, err));
        assert_int_equal(found.len, 4);
        assert_memory_equal(found.data, "meta", 4);
        expect_ok(table_find(&table, 200, &found, err));
        assert_int_equal(found.len, lens[i]);
        expect_ok(table_find(&table, SECTION_IDS, &found, err));
        assert_null(found.data);
    }
}

static void tables_have_a_limit(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    uint8_t *bytes AUTO(mem_freep) = mem_zero(64 * MIB);
    for (size_t more = 0; more < 2; more++) {
        ObjectWriter *w AUTO(object_writer_freep) = object_writer_new(65 * MIB);
        Buf sections AUTO(buf_release) = {0}, table AUTO(buf_release) = {0};
        ObjectFacts facts;
        ObjectInfo info;
        /* Less the frame's begin, section LEN, and this section's type and length. */
        table_append(&sections, 200, bytes, 64 * MIB - 8 - 2 - 1 - 4 + more);
        object_writer_begin(w, repo->key, KIND_WAL, "wal/x");
        expect_ok(object_writer_finish(w, 0, &sections, &facts, err));
        assert_int_equal(facts.table_len, 64 * MIB + more);
        expect_ok(repo_put(repo, "wal/x", w, STORAGE_OVERWRITE, err));
        if (more)
            expect_err(ERR_DAMAGED, "contradicts",
                       repo_get_table(repo, "wal/x", KIND_WAL, &info, &table, err));
        else
            expect_ok(repo_get_table(repo, "wal/x", KIND_WAL, &info, &table, err));
    }
}

static void sections_that_are_cut_off(void **state)
{
    (void)state;
    static const uint8_t cut[][3] = {{14, 1, 0}, {14, 0x81, 0}};
    for (size_t i = 0; i < ARRAY_LEN(cut); i++) {
        Buf table AUTO(buf_release) = {0};
        Slice found;
        buf_append(&table, cut[i], 2);
        expect_err(ERR_DAMAGED, "cut off", table_find(&table, SECTION_META, &found, err));
    }
}

static ErrCode lens_of(const char *bytes, size_t len, uint32_t units, uint64_t table_off, Err *err)
{
    UnitLens lens = {0};
    ErrCode rc = unit_lens_parse((Slice){bytes, len}, units, table_off, &lens, err);
    vec_release(&lens);
    return rc;
}

static void lengths_of_units(void **state)
{
    (void)state;
    expect_ok(lens_of("", 0, 0, HEADER, err));
    expect_ok(lens_of("\x05\x80\x01", 3, 2, HEADER + 5 + 128, err));
    expect_err(ERR_DAMAGED, "add up", lens_of("\x05\x80\x01", 3, 2, HEADER + 134, err));
    expect_err(ERR_DAMAGED, "add up", lens_of("\x05\x80\x01", 3, 2, HEADER + 132, err));
    expect_err(ERR_DAMAGED, "add up", lens_of("\x05\x06", 2, 1, HEADER + 5, err));
    expect_err(ERR_DAMAGED, "fewer", lens_of("\x05", 1, 2, HEADER + 5, err));
    expect_err(ERR_DAMAGED, "fewer", lens_of("\x05", 1, UINT32_MAX, HEADER + 5, err));
    expect_err(ERR_DAMAGED, "add up", lens_of("\x80\x00", 2, 1, HEADER, err)); /* overlong */
    /* 2^32, and a sum that wraps */
    expect_err(ERR_DAMAGED, "add up",
               lens_of("\x80\x80\x80\x80\x10", 5, 1, HEADER + (UINT64_C(1) << 32), err));
    expect_err(ERR_DAMAGED, "add up",
               lens_of("\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, 2, HEADER + 4, err));
}

/* --- an object too large for memory --- */

static void spilled_to_a_file(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    Buf stored[2] = {{0}, {0}};
    ObjectStamp stamp = {.created_us = 1};
    uint8_t *noise AUTO(mem_freep) = mem_new(64 * KIB);
    random_bytes(noise, 64 * KIB);
    memcpy(stamp.key_id, repo->key->id, KEY_ID_LEN);
    for (int spill = 0; spill < 2; spill++) {
        ObjectWriter *w AUTO(object_writer_freep) = object_writer_new(KIB);
        Compressor *c AUTO(compressor_freep) = compressor_new(1);
        ObjectFacts facts;
        uint8_t sha[SHA256_LEN];
        int fd;
        if (spill)
            object_writer_spill(w, 100 * KIB, "/tmp");
        for (int turn = 0; turn < 2; turn++) { /* the writer is used again */
            object_writer_begin_stamped(w, repo->key, KIND_TRASH, NAME, &stamp);
            for (int i = 0; i < 5; i++)
                expect_ok(object_writer_add(w, c, noise, 64 * KIB, NULL, err));
            expect_ok(object_writer_finish(w, 0, NULL, &facts, err));
            object_writer_bytes(w, &fd);
            assert_int_equal(fd >= 0, spill);
            expect_ok(repo_put(repo, NAME, w, STORAGE_OVERWRITE, err));
        }
        mem_get(repo, NAME, &stored[spill]);
        sha256_of(stored[spill].data, stored[spill].len, sha);
        assert_int_equal(facts.size, stored[spill].len);
        assert_memory_equal(facts.sha256, sha, SHA256_LEN);
    }
    assert_int_equal(stored[0].len, stored[1].len);
    assert_memory_equal(stored[0].data, stored[1].data, stored[0].len);
    buf_release(&stored[0]);
    buf_release(&stored[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_object),
        cmocka_unit_test(a_sealed_object),
        cmocka_unit_test(documents_are_cut_into_units),
        cmocka_unit_test(a_stamp),
        cmocka_unit_test(a_document_made_again),
        cmocka_unit_test(every_bit_counts),
        cmocka_unit_test(forged_envelopes),
        cmocka_unit_test(tables_out_of_place),
        cmocka_unit_test(another_repository),
        cmocka_unit_test(a_sealed_object_under_another_name),
        cmocka_unit_test(sealed_units_in_another_order),
        cmocka_unit_test(limits_of_documents),
        cmocka_unit_test(a_unit_has_at_most_a_mebibyte),
        cmocka_unit_test(tables_of_any_length),
        cmocka_unit_test(tables_have_a_limit),
        cmocka_unit_test(sections_that_are_cut_off),
        cmocka_unit_test(lengths_of_units),
        cmocka_unit_test(spilled_to_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
