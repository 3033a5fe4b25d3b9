/* Copies of backups in another repository: the same content under another key, the same bytes each
 * time; what is there is kept, what is damaged is never passed on, and is mended from a whole copy.
 */

#include "tests/unit/unit.h"

#include "lib/repo/copy.h"
#include "lib/repo/page_reader.h"
#include "tests/unit/mem_backup.h"
#include "tests/unit/mem_repo.h"

#define A "20260101T000000Z-00000000000000aa"
#define B "20260102T000000Z-00000000000000bb"

static ErrCode copy(Repo *from, Repo *to, const char *id, bool heal, CopyResult *ret, Err *err)
{
    Progress progress = {.phase = NULL};
    CopySpec spec = {.from = from,
                     .to = to,
                     .jobs = 2,
                     .grace = GRACE_DEFAULT,
                     .heal = heal,
                     .progress = &progress};
    *ret = (CopyResult){.objects = 0};
    return copy_backup(&spec, id, ret, err);
}

static Repo *source(uint8_t cipher)
{
    Repo *repo = mem_repo_new(cipher);
    mem_backup_put(repo, A, NULL);
    mem_backup_put(repo, B, A);
    return repo;
}

/* --- the content --- */

/* An object's units, unsealed, and its table. */
typedef struct Opened {
    Buf object, table, frames;
    ObjectInfo info;
} Opened;

static void opened_release(Opened *o)
{
    buf_release(&o->object);
    buf_release(&o->table);
    buf_release(&o->frames);
}

static void open_object(Repo *repo, const char *name, const char *kind, Opened *o)
{
    UnitLens lens = {0};
    Slice s;
    *o = (Opened){.object = {0}};
    mem_get(repo, name, &o->object);
    expect_ok(object_parse(&repo->keys, o->object.data, o->object.len, kind, &o->info, err));
    UnitReader *units AUTO(unit_reader_freep) = unit_reader_new(&o->info, name);
    expect_ok(unit_reader_table(units, o->object.data + o->info.table_off, o->info.table_len,
                                &o->table, err));
    expect_ok(table_find(&o->table, SECTION_LEN, &s, err));
    expect_ok(unit_lens_parse(s, o->info.units, o->info.table_off, &lens, err));
    const uint8_t *at = o->object.data + 92;
    for (size_t i = 0; i < lens.n; at += lens.at[i++]) {
        expect_ok(unit_reader_frame(units, i, at, lens.at[i], &s, err));
        buf_append(&o->frames, s.data, s.len);
    }
    vec_release(&lens);
}

/* The units of both are the same zstd frames, the sections the same bytes; but for the hashes. */
static void expect_same_object(Repo *a, Repo *b, const char *name, const char *kind)
{
    static const uint8_t sections[] = {SECTION_SLOTS, SECTION_FILES, SECTION_OWNER, SECTION_IDS,
                                       SECTION_PAGE};
    Opened x AUTO(opened_release), y AUTO(opened_release);
    open_object(a, name, kind, &x);
    open_object(b, name, kind, &y);
    assert_int_equal(x.frames.len, y.frames.len);
    assert_memory_equal(x.frames.data, y.frames.data, x.frames.len);
    assert_true(x.info.slots == y.info.slots && x.info.units == y.info.units);
    for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
        Slice s, t;
        expect_ok(table_find(&x.table, sections[i], &s, err));
        expect_ok(table_find(&y.table, sections[i], &t, err));
        assert_int_equal(s.data != NULL, t.data != NULL);
        assert_int_equal(s.len, t.len);
        if (s.len)
            assert_memory_equal(s.data, t.data, s.len);
    }
}

static void expect_pages(Repo *repo, const char *id)
{
    BackupSummary summary AUTO(summary_release) = {.cluster = NULL};
    PacksList packs AUTO(packs_list_release) = {.own = {0}};
    ManifestReader *m AUTO(manifest_reader_closep) = NULL;
    MapPackReader *maps AUTO(map_pack_reader_freep) = map_pack_reader_new(repo, NULL, NULL);
    PackTables *tables AUTO(pack_tables_freep) = pack_tables_new(repo, MIB, NULL, NULL);
    PageReader *r AUTO(page_reader_freep) = page_reader_new(repo, tables, MIB);
    uint8_t *out AUTO(mem_freep) = mem_new((size_t)MEM_PAGES * MEM_PAGE);
    uint64_t pages = 0, small = 0;
    bool end;
    expect_ok(summary_get(repo, id, &summary, err));
    expect_ok(packs_list_get(repo, id, &summary.packs, &packs, err));
    expect_ok(packs_check_present(repo, id, &packs, err));
    expect_ok(manifest_reader_open(repo, id, &summary.manifest, &m, err));
    for (FileEntry e;;) {
        expect_ok(manifest_reader_next(m, &e, &end, err));
        if (end)
            break;
        const char *whose = manifest_reader_header(m)->ids.at[e.backup];
        if (e.place == PLACE_SMALL) {
            const void *data;
            expect_ok(page_reader_small(r, whose, &e, &data, err));
            small++;
        }
        if (e.place != PLACE_MAP)
            continue;
        FileMap map AUTO(file_map_release) = {0};
        MapRef ref = {.pack = e.pack, .off = e.off, .len = e.map_len};
        expect_ok(map_pack_reader_get(maps, whose, &ref, &map, err));
        expect_ok(page_reader_begin(r, &map, map_pack_reader_ids(maps), MEM_PAGE, e.size, 0,
                                    map.pages, err));
        for (uint64_t got = 1; got; pages += got) {
            bool zeros;
            expect_ok(page_reader_next(r, out, MEM_PAGES, &got, &zeros, err));
        }
    }
    assert_int_equal(pages, MEM_PAGES + 3);
    assert_int_equal(small, 2);
}

/* What a packs list says of an object is what is there. */
static void expect_facts(Repo *repo, const char *id)
{
    PacksList l AUTO(packs_list_release) = {.own = {0}};
    expect_ok(packs_list_get(repo, id, NULL, &l, err));
    for (size_t i = 0; i < l.own.n; i++) {
        const PackInfo *p = &l.own.at[i];
        char *name AUTO(mem_freep) = pack_name(id, p->id);
        Buf o AUTO(buf_release) = {0};
        uint8_t sha[SHA256_LEN];
        mem_get(repo, name, &o);
        sha256_of(o.data, o.len, sha);
        assert_int_equal(p->facts.size, o.len);
        assert_memory_equal(p->facts.sha256, sha, SHA256_LEN);
        sha256_of(o.data + p->facts.table_off, p->facts.table_len, sha);
        assert_memory_equal(p->facts.table_sha256, sha, SHA256_LEN);
        ObjectStamp stamp = object_stamp(o.data);
        assert_memory_equal(&p->facts.stamp, &stamp, sizeof(stamp));
    }
}

static void expect_same_text(Repo *a, Repo *b, const char *name, const char *kind, bool same)
{
    Buf x AUTO(buf_release) = {0}, y AUTO(buf_release) = {0};
    expect_ok(document_get(a, name, kind, MIB, &x, NULL, err));
    expect_ok(document_get(b, name, kind, MIB, &y, NULL, err));
    assert_int_equal(x.len == y.len && memcmp(x.data, y.data, x.len) == 0, same);
}

/* From every kind of repository to every kind, always under another key. */
static void copies(void **state)
{
    (void)state;
    const uint8_t ciphers[] = {CIPHER_NONE, CIPHER_AES_256_GCM};
    for (size_t i = 0; i < 4; i++) {
        Repo *from AUTO(repo_closep) = source(ciphers[i / 2]);
        Repo *to AUTO(repo_closep) = mem_repo_new(ciphers[i % 2]);
        CopyResult result;
        expect_ok(copy(from, to, B, false, &result, err));
        /* Two packs, that of A, and a part of the manifest. */
        assert_int_equal(result.objects, 4);
        assert_int_equal(result.kept, 0);
        expect_same_object(from, to, "packs/" B "/0/d0", KIND_PACK);
        expect_same_object(from, to, "packs/" B "/0/m0", KIND_MAPS);
        expect_same_object(from, to, "packs/" A "/0/d0", KIND_PACK);
        expect_same_object(from, to, "backups/" B "/manifest.0001", KIND_MANIFEST);
        expect_same_text(from, to, "backups/" B "/manifest", KIND_MANIFEST, false);
        expect_same_text(from, to, "backups/" B "/packs", KIND_PACKS, false);
        expect_pages(to, B);
        expect_facts(to, B);
        assert_true(mem_has(to, "backups/" B "/key"));
        assert_false(mem_has(to, "backups/" A "/summary")); /* its pack alone was needed */
        assert_int_equal(mem_count(from, "leases/") + mem_count(to, "leases/"), 0);

        /* The pack of A is there already, in the place where A's own copy looks for it. */
        expect_ok(copy(from, to, A, false, &result, err));
        assert_int_equal(result.objects, 2);
        assert_int_equal(result.kept, 1);
        expect_pages(to, A);
        expect_facts(to, A);
        expect_err(ERR_EXISTS, B " is in 'memory' already", copy(from, to, B, false, &result, err));
    }
}

/* What a summary says stays as it is, but for the digests and the bytes that were added. */
static void the_summary_of_a_copy(void **state)
{
    (void)state;
    Repo *from AUTO(repo_closep) = source(CIPHER_NONE);
    Repo *to AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    BackupSummary a AUTO(summary_release) = {.cluster = NULL},
                    b AUTO(summary_release) = {.cluster = NULL};
    PacksList packs AUTO(packs_list_release) = {.own = {0}};
    CopyResult result;
    expect_ok(copy(from, to, B, false, &result, err));
    expect_ok(summary_get(from, B, &a, err));
    expect_ok(summary_get(to, B, &b, err));
    expect_ok(packs_list_get(to, B, &b.packs, &packs, err));
    assert_string_equal(a.host, b.host);
    assert_true(a.start_lsn == b.start_lsn && a.stop_lsn == b.stop_lsn && a.size == b.size);
    assert_false(document_facts_equal(&a.manifest, &b.manifest));
    assert_true(b.stored == packs_list_stored(&packs) + b.packs.size + b.manifest.size);
}

/* --- the same bytes --- */

/* Everything whose name is given by what it holds. Summary and keys are new each time. */
static const char *const same_each_time[] = {
    "packs/" A "/0/d0",    "packs/" B "/0/d0",       "packs/" B "/0/m0",
    "backups/" B "/packs", "backups/" B "/manifest", "backups/" B "/manifest.0001",
};

static void expect_same_bytes(Repo *a, Repo *b, const char *name)
{
    Buf x AUTO(buf_release) = {0}, y AUTO(buf_release) = {0};
    mem_get(a, name, &x);
    mem_get(b, name, &y);
    if (x.len != y.len || memcmp(x.data, y.data, x.len) != 0)
        fail_msg("'%s' is not what it was", name);
}

/* Two copies that are made at the same time, or one that is begun anew, write the same. */
static void a_copy_is_the_same_each_time(void **state)
{
    (void)state;
    const uint8_t ciphers[] = {CIPHER_NONE, CIPHER_AES_256_GCM};
    for (size_t i = 0; i < ARRAY_LEN(ciphers); i++) {
        Repo *from AUTO(repo_closep) = source(CIPHER_AES_256_GCM);
        Repo *to AUTO(repo_closep) = mem_repo_new(ciphers[i]);
        Repo *twin AUTO(repo_closep) = mem_repo_again(to);
        CopyResult result;
        expect_ok(copy(from, to, B, false, &result, err));
        expect_ok(copy(from, twin, B, false, &result, err));
        for (size_t k = 0; k < ARRAY_LEN(same_each_time); k++)
            expect_same_bytes(to, twin, same_each_time[k]);
    }
}

/* Whatever is lost of it, and whatever stands in its place while it is not committed. */
static void an_interrupted_copy_goes_on(void **state)
{
    (void)state;
    Repo *from AUTO(repo_closep) = source(CIPHER_NONE);
    Repo *whole AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    CopyResult result;
    expect_ok(copy(from, whole, B, false, &result, err));
    for (size_t i = 0; i < 2 * ARRAY_LEN(same_each_time); i++) {
        Repo *to AUTO(repo_closep) = mem_repo_again(whole);
        const char *lost = same_each_time[i / 2];
        mem_remove(to, "backups/" B "/summary");
        mem_remove(to, lost);
        if (i % 2)
            mem_put(to, lost, "something else", 14);
        expect_ok(copy(from, to, B, false, &result, err));
        bool document = strstr(lost, "/packs") == lost + strlen("backups/" B) ||
                        strcmp(strrchr(lost, '/'), "/manifest") == 0;
        assert_int_equal(result.objects, document ? 0 : 1);
        assert_int_equal(result.kept, document ? 4 : 3);
        for (size_t k = 0; k < ARRAY_LEN(same_each_time); k++)
            expect_same_bytes(to, whole, same_each_time[k]);
        expect_pages(to, B);
    }
    /* Nor is a list of the same length taken for it. */
    Repo *to AUTO(repo_closep) = mem_repo_again(whole);
    mem_remove(to, "backups/" B "/summary");
    mem_edit_document(to, "backups/" B "/packs", KIND_PACKS, "\"slots\":39", "\"slots\":93");
    expect_ok(copy(from, to, B, false, &result, err));
    expect_same_bytes(to, whole, "backups/" B "/packs");
}

/* --- what is not whole --- */

static void expect_refused(Repo *from, const char *says)
{
    Repo *to AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    CopyResult result;
    Err why = {0};
    ErrCode rc = copy(from, to, B, false, &result, &why);
    if (rc != ERR_DAMAGED && rc != ERR_NOT_FOUND)
        fail_msg("%s: %s", says, err_code_name(rc));
    if (!strstr(why.message, says))
        fail_msg("'%s' lacks '%s'", why.message, says);
    assert_false(mem_has(to, "backups/" B "/summary"));
    assert_int_equal(mem_count(from, "leases/") + mem_count(to, "leases/"), 0);
}

static void damage_is_not_copied(void **state)
{
    (void)state;
    static const char *const names[] = {
        "packs/" A "/0/d0",      "packs/" B "/0/d0",       "packs/" B "/0/m0",
        "backups/" B "/packs",   "backups/" B "/manifest", "backups/" B "/manifest.0001",
        "backups/" B "/summary",
    };
    for (size_t i = 0; i < 2 * ARRAY_LEN(names); i++) {
        Repo *from AUTO(repo_closep) = source(CIPHER_NONE);
        const char *name = names[i / 2];
        Buf o AUTO(buf_release) = {0};
        mem_get(from, name, &o);
        o.data[o.len / 2] ^= 1;
        if (i % 2)
            mem_put(from, name, o.data, o.len);
        else
            mem_remove(from, name);
        expect_refused(from, name);
    }
}

/* Lists that are whole, but not those that the summary was written for. */
static void documents_of_another_backup(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        Repo *from AUTO(repo_closep) = source(CIPHER_NONE);
        if (i)
            mem_edit_document(from, "backups/" B "/packs", KIND_PACKS, "{\"end\"", "{\"end\" ");
        else
            mem_edit_document(from, "backups/" B "/manifest", KIND_MANIFEST, "{\"end\"",
                              "{\"end\" ");
        expect_refused(from, i ? "backups/" B "/packs" : "backups/" B "/manifest");
    }
}

/* A page that was changed where its pack's digests are right: it would be given a right hash. */
static void a_page_that_is_not_its_hash(void **state)
{
    (void)state;
    Repo *from AUTO(repo_closep) = source(CIPHER_NONE);
    for (uint32_t wrong = 0; wrong < 5; wrong++) {
        mem_rewrite_pack(from, B, wrong);
        expect_refused(from, "does not fit its hash");
        mem_rewrite_pack(from, B, wrong); /* back */
    }
}

/* --- mending --- */

static void a_damaged_backup_is_mended(void **state)
{
    (void)state;
    Repo *from AUTO(repo_closep) = source(CIPHER_NONE);
    Repo *whole AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    CopyResult result;
    expect_ok(copy(from, whole, A, false, &result, err));
    expect_ok(copy(from, whole, B, false, &result, err));
    for (size_t i = 0; i < 2 * ARRAY_LEN(same_each_time); i++) {
        Repo *to AUTO(repo_closep) = mem_repo_again(whole);
        const char *name = same_each_time[i / 2];
        Buf o AUTO(buf_release) = {0};
        mem_get(to, name, &o);
        o.data[o.len / 3] ^= 0x10;
        if (i % 2)
            mem_put(to, name, o.data, o.len);
        else
            mem_remove(to, name);
        expect_ok(copy(from, to, B, true, &result, err));
        assert_true(result.objects <= 1);
        for (size_t k = 0; k < ARRAY_LEN(same_each_time); k++)
            expect_same_bytes(to, whole, same_each_time[k]);
        expect_pages(to, B);
        expect_pages(to, A);
    }
}

/* The other way round: what pgdr backup wrote has stamps of its own, which the packs list tells. */
static void an_original_is_mended(void **state)
{
    (void)state;
    Repo *orig AUTO(repo_closep) = source(CIPHER_AES_256_GCM);
    Repo *other AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    CopyResult result;
    expect_ok(copy(orig, other, B, false, &result, err));
    static const char *const packs[] = {"packs/" B "/0/d0", "packs/" B "/0/m0"};
    for (size_t i = 0; i < ARRAY_LEN(packs); i++) {
        Repo *to AUTO(repo_closep) = mem_repo_again(orig);
        mem_put(to, packs[i], "something else", 14);
        expect_ok(copy(other, to, B, true, &result, err));
        assert_int_equal(result.objects, 1);
        expect_same_bytes(to, orig, packs[i]);
        expect_pages(to, B);
    }
    /* One that is whole, but not the one of the list. */
    Repo *to AUTO(repo_closep) = mem_repo_again(orig);
    mem_rewrite_pack(to, B, UINT32_MAX);
    expect_ok(copy(other, to, B, true, &result, err));
    assert_int_equal(result.objects, 1);
    expect_same_bytes(to, orig, packs[0]);
}

/* So it is where only the younger backup was copied: the older one is whole again, too. */
static void a_pack_of_an_older_backup_is_mended(void **state)
{
    (void)state;
    Repo *orig AUTO(repo_closep) = source(CIPHER_AES_256_GCM);
    Repo *other AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    Repo *to AUTO(repo_closep) = mem_repo_again(orig);
    CopyResult result;
    expect_ok(copy(orig, other, B, false, &result, err));
    mem_remove(to, "packs/" A "/0/d0");
    expect_ok(copy(other, to, B, true, &result, err));
    assert_int_equal(result.objects, 1);
    expect_same_bytes(to, orig, "packs/" A "/0/d0");
    expect_facts(to, A);
    expect_pages(to, B);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies),
        cmocka_unit_test(the_summary_of_a_copy),
        cmocka_unit_test(a_copy_is_the_same_each_time),
        cmocka_unit_test(an_interrupted_copy_goes_on),
        cmocka_unit_test(damage_is_not_copied),
        cmocka_unit_test(documents_of_another_backup),
        cmocka_unit_test(a_page_that_is_not_its_hash),
        cmocka_unit_test(a_damaged_backup_is_mended),
        cmocka_unit_test(an_original_is_mended),
        cmocka_unit_test(a_pack_of_an_older_backup_is_mended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
