/* Packs lists, summaries and trash objects as text (docs/repository-format.md, 11 and 12), and what
 * their readers refuse. */

#include "tests/unit/unit.h"

#include "lib/common/hex.h"
#include "lib/repo/packs_list.h"
#include "lib/repo/summary.h"
#include "lib/repo/trash.h"
#include "tests/unit/mem_repo.h"

#define ID "20260101T000000Z-00000000000000aa"
#define OLD_ID "20250101T000000Z-00000000000000bb"
#define PACKS "backups/" ID "/packs"
#define SUMMARY "backups/" ID "/summary"

#define HEX_11 "1111111111111111111111111111111111111111111111111111111111111111"
#define HEX_22 "2222222222222222222222222222222222222222222222222222222222222222"
#define STAMP_33 "3333333333333333" HEX_33 "0700000000000000"
#define HEX_33 "3333333333333333333333333333333333333333333333333333333333333333"

/* --- packs lists --- */

static void list_init(PacksList *l)
{
    PackInfo p = {.id = {'m', 12},
                  .slots = 0,
                  .units = 1,
                  .facts = {.size = 1000, .table_off = 700, .table_len = 168}};
    PackRefs refs = {.backup_id = OLD_ID, .number = 5};
    memset(p.facts.sha256, 0x11, SHA256_LEN);
    memset(p.facts.table_sha256, 0x22, SHA256_LEN);
    memset(&p.facts.stamp, 0x33, sizeof(p.facts.stamp));
    p.facts.stamp.created_us = 7;
    *l = (PacksList){.own = {0}};
    vec_push(&l->own, p);
    p.id = (PackId){'d', 10};
    p.slots = UINT64_C(1) << 40;
    p.units = UINT32_MAX;
    vec_push(&l->own, p);
    p.id.number = 9;
    p.facts.size = UINT64_C(1) << 40;
    vec_push(&l->own, p);
    vec_push(&refs.packs, (PackRef){.id = {'d', 3}, .size = 1000, .slots = 70, .live = 3});
    vec_push(&refs.packs, (PackRef){.id = {'m', 0}, .size = 10});
    vec_push(&l->refs, refs);
}

#define OWN(name, size, slots, units)                                                              \
    "{\"n\":\"" name "\",\"size\":" size ",\"sha256\":\"" HEX_11 "\",\"stamp\":\"" STAMP_33        \
    "\",\"slots\":" slots ",\"units\":" units ",\"table\":[700,168,\"" HEX_22 "\"]}\n"
#define REF "{\"ref\":\"" OLD_ID "\",\"number\":5,\"n\":[[\"d3\",70,3,1000],[\"m0\",0,0,10]]}\n"
#define REF_WITHOUT_NUMBER "{\"ref\":\"" OLD_ID "\",\"n\":[[\"d3\",70,3,1000],[\"m0\",0,0,10]]}\n"
#define END "{\"end\":true}\n"

static const char list_text[] = OWN("m12", "1000", "0", "1") //
    OWN("d10", "1000", "1099511627776", "4294967295")        //
    OWN("d9", "1099511627776", "1099511627776", "4294967295") REF END;

static void a_packs_list(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    PacksList l AUTO(packs_list_release), got AUTO(packs_list_release) = {.own = {0}};
    Buf text AUTO(buf_release) = {0};
    DocumentFacts facts;
    list_init(&l);
    packs_list_format(&l, &text);
    assert_string_equal(buf_str(&text), list_text);
    assert_true(packs_list_stored(&l) == 2000 + (UINT64_C(1) << 40));
    expect_ok(packs_list_put(repo, ID, &l, &facts, err));
    expect_ok(packs_list_get(repo, ID, &facts, &got, err));
    assert_int_equal(got.own.n, 3); /* by kind and number */
    assert_int_equal(got.own.at[0].id.number, 9);
    assert_int_equal(got.own.at[1].id.number, 10);
    assert_int_equal(got.own.at[2].id.kind, 'm');
    const PackInfo *p = packs_list_find(&got, (PackId){'d', 10});
    assert_non_null(p);
    assert_true(p->slots == UINT64_C(1) << 40 && p->units == UINT32_MAX);
    const ObjectFacts *f = &p->facts, *want = &l.own.at[1].facts;
    assert_int_equal(f->size, 1000);
    assert_int_equal(f->table_off, 700);
    assert_int_equal(f->table_len, 168);
    assert_memory_equal(f->sha256, want->sha256, SHA256_LEN);
    assert_memory_equal(f->table_sha256, want->table_sha256, SHA256_LEN);
    assert_memory_equal(&f->stamp, &want->stamp, sizeof(f->stamp));
    assert_null(packs_list_find(&got, (PackId){'m', 10}));
    assert_null(packs_list_find(&got, (PackId){'d', 11}));
    assert_int_equal(got.refs.n, 1);
    assert_string_equal(got.refs.at[0].backup_id, OLD_ID);
    assert_int_equal(got.refs.at[0].number, 5);
    assert_int_equal(got.refs.at[0].packs.n, 2);
    const PackRef *r = &got.refs.at[0].packs.at[0];
    assert_true(r->id.kind == 'd' && r->id.number == 3);
    assert_true(r->size == 1000 && r->slots == 70 && r->live == 3);
    facts.size++;
    expect_err(ERR_DAMAGED, "not the one the backup's summary was written for",
               packs_list_get(repo, ID, &facts, &got, err));
}

#define OWN_OK OWN("d0", "1000", "5", "1")

static const struct {
    const char *text, *says; /* NULL: good */
} lists[] = {
    {END, NULL},
    {OWN_OK REF END, NULL},
    {REF OWN_OK END, NULL},
    {REF_WITHOUT_NUMBER END, NULL},
    {"{\"ref\":\"" OLD_ID "\",\"number\":-1,\"n\":[]}\n" END, "\"number\""},
    {OWN_OK END "what stands behind it", NULL},
    {"{\"n\":\"d0\",\"new\":1,\"size\":1000,\"sha256\":\"" HEX_11 "\",\"stamp\":\"" STAMP_33
     "\",\"slots\":5,\"units\":1,\"table\":[700,168,\"" HEX_22 "\"]}\n" END,
     NULL},
    {"", "no end"},
    {OWN_OK, "no end"},
    {OWN_OK REF, "no end"},
    {"{\"end\":true}", "no end"},
    {"\n" END, "bad JSON"},
    {"[]\n" END, "not an object"},
    {"{}\n" END, "line is damaged"},
    {OWN("x0", "1000", "5", "1") END, "pack x0 is damaged"},
    {OWN("d00", "1000", "5", "1") END, "pack d00 is damaged"},
    {OWN("d0", "-1", "5", "1") END, "pack d0 is damaged"},
    {OWN("d0", "867", "5", "1") END, "pack d0 is damaged"}, /* the table ends behind it */
    {OWN("d0", "699", "5", "1") END, "pack d0 is damaged"}, /* it begins there */
    {OWN("d0", "1000", "-5", "1") END, "pack d0 is damaged"},
    {OWN("d0", "1000", "5", "-1") END, "pack d0 is damaged"},
    {OWN("d0", "1000", "5", "4294967296") END, "pack d0 is damaged"},
    {OWN("d0", "1000", "5", "\"1\"") END, "a pack's line is damaged"},
    {OWN("d0", "1000", "5.0", "1") END, "a pack's line is damaged"},
    {"{\"ref\":\"../../x\",\"n\":[]}\n" END, "no backup id"},
    {"{\"ref\":\"" OLD_ID "\"}\n" END, "\"n\""},
    {"{\"ref\":7,\"n\":[]}\n" END, "\"ref\""},
    {"{\"ref\":\"" OLD_ID "\",\"n\":[[\"d3\",70,71,1000]]}\n" END, "references"},
    {"{\"ref\":\"" OLD_ID "\",\"n\":[[\"d3\",70,-1,1000]]}\n" END, "references"},
    {"{\"ref\":\"" OLD_ID "\",\"n\":[[\"d3\",70,3,-1]]}\n" END, "references"},
    {"{\"ref\":\"" OLD_ID "\",\"n\":[[\"d3\",70,3]]}\n" END, "references"},
    {"{\"ref\":\"" OLD_ID "\",\"n\":[[\"d3\",70,3,5,5]]}\n" END, "references"},
    {"{\"ref\":\"" OLD_ID "\",\"n\":[[\"../x\",70,3,5]]}\n" END, "references"},
    {"{\"ref\":\"" OLD_ID "\",\"n\":[7]}\n" END, "references"},
};

static void forged_packs_lists(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        PacksList l AUTO(packs_list_release) = {.own = {0}};
        Err why = {0};
        const char *text = lists[i].text, *says = lists[i].says;
        expect_ok(document_put(repo, PACKS, KIND_PACKS, text, strlen(text), STORAGE_OVERWRITE, NULL,
                               err));
        ErrCode rc = packs_list_get(repo, ID, NULL, &l, &why);
        if (says ? rc != ERR_DAMAGED || !strstr(why.message, says) : rc != ERR_OK)
            fail_msg("%s%s '%s'", text, err_code_name(rc), why.message);
        if (says)
            assert_non_null(strstr(why.message, "app/" PACKS));
        assert_int_equal(l.own.n + l.refs.n == 0, says != NULL || strcmp(text, END) == 0);
    }
}

/* A table that is too long is not read at all. */
static void the_length_of_a_table(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    PacksList l AUTO(packs_list_release), got AUTO(packs_list_release) = {.own = {0}};
    DocumentFacts facts;
    list_init(&l);
    l.own.at[0].facts.size = UINT64_C(1) << 40;
    l.own.at[0].facts.table_len = 64 * MIB;
    expect_ok(packs_list_put(repo, ID, &l, &facts, err));
    expect_ok(packs_list_get(repo, ID, &facts, &got, err));
    mem_edit_document(repo, PACKS, KIND_PACKS, "[700,67108864,", "[700,67108865,");
    expect_err(ERR_DAMAGED, "pack m12", packs_list_get(repo, ID, NULL, &got, err));
}

/* --- summaries --- */

static void summary_init(BackupSummary *s)
{
    *s = (BackupSummary){.id = ID,
                         .cluster = mem_strdup("app"),
                         .system_id = UINT64_MAX,
                         .pg_version_num = 180001,
                         .type = mem_strdup("full"),
                         .label = mem_strdup("before the move \xc3\xa9"),
                         .host = mem_strdup("\xff"), /* not UTF-8 */
                         .parent = mem_strdup(OLD_ID),
                         .number = 8,
                         .from_standby = true,
                         .start_time = 1795421700000000,
                         .stop_time = 1795421701000000,
                         .timeline = UINT32_MAX,
                         .start_lsn = 0x100000028,
                         .stop_lsn = UINT64_MAX,
                         .checkpoint_lsn = 0x30,
                         .wal_segment_size = 16777216,
                         .block_size = 8192,
                         .checksum_version = 1,
                         .size = 1,
                         .files = 2,
                         .stored = 3,
                         .damaged_pages = 4,
                         .manifest = {.size = 5},
                         .packs = {.size = 6}};
    vec_push(&s->warnings, mem_strdup("a \"warning\""));
    vec_push(&s->warnings, mem_strdup("another"));
    memset(s->manifest.sha256, 0x11, SHA256_LEN);
    memset(s->packs.sha256, 0x22, SHA256_LEN);
    memset(&s->manifest.stamp, 0x33, sizeof(s->manifest.stamp));
    s->manifest.stamp.created_us = 7;
    s->packs.stamp = s->manifest.stamp;
}

#define FACTS(size, sha) "{\"size\":" size ",\"sha256\":\"" sha "\",\"stamp\":\"" STAMP_33 "\"}"

static const char summary_text[] =
    "{\"pgdr\":1,\"id\":\"" ID "\",\"cluster\":\"app\",\"system_id\":\"18446744073709551615\","
    "\"pg_version\":180001,\"type\":\"full\",\"label\":\"before the move \\u00E9\","
    "\"host\":\"?\",\"parent\":\"" OLD_ID "\",\"from_standby\":true,\"number\":8,"
    "\"start_time\":1795421700000000,\"stop_time\":1795421701000000,\"timeline\":4294967295,"
    "\"start_lsn\":\"1/28\",\"stop_lsn\":\"FFFFFFFF/FFFFFFFF\",\"checkpoint_lsn\":\"0/30\","
    "\"wal_segment_size\":16777216,\"block_size\":8192,\"checksum_version\":1,\"size\":1,"
    "\"files\":2,\"stored\":3,\"damaged_pages\":4,\"warnings\":[\"a \\\"warning\\\"\",\"another\"],"
    "\"manifest\":" FACTS("5", HEX_11) ",\"packs\":" FACTS("6", HEX_22) "}";

static void a_summary(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    BackupSummary s AUTO(summary_release), got AUTO(summary_release) = {.cluster = NULL};
    Buf text AUTO(buf_release) = {0};
    summary_init(&s);
    expect_ok(summary_put(repo, &s, STORAGE_CREATE, err));
    expect_ok(document_get(repo, SUMMARY, KIND_SUMMARY, MIB, &text, NULL, err));
    assert_string_equal(buf_str(&text), summary_text);
    expect_ok(summary_get(repo, ID, &got, err));
    assert_string_equal(got.id, s.id);
    assert_string_equal(got.cluster, s.cluster);
    assert_string_equal(got.type, s.type);
    assert_string_equal(got.label, s.label);
    assert_string_equal(got.host, "?");
    assert_string_equal(got.parent, s.parent);
    assert_true(got.from_standby && got.number == 8);
    assert_true(got.system_id == s.system_id && got.pg_version_num == s.pg_version_num);
    assert_true(got.start_time == s.start_time && got.stop_time == s.stop_time);
    assert_true(got.timeline == s.timeline && got.start_lsn == s.start_lsn);
    assert_true(got.stop_lsn == s.stop_lsn && got.checkpoint_lsn == s.checkpoint_lsn);
    assert_true(got.wal_segment_size == s.wal_segment_size && got.block_size == s.block_size);
    assert_true(got.checksum_version == 1 && got.size == 1 && got.files == 2);
    assert_true(got.stored == 3 && got.damaged_pages == 4);
    assert_int_equal(got.warnings.n, 2);
    assert_string_equal(got.warnings.at[0], "a \"warning\"");
    assert_true(document_facts_equal(&got.manifest, &s.manifest));
    assert_true(document_facts_equal(&got.packs, &s.packs));
    assert_memory_equal(&got.packs.stamp, &s.packs.stamp, sizeof(s.packs.stamp));
    expect_err(ERR_EXISTS, "", summary_put(repo, &s, STORAGE_CREATE, err));
    expect_ok(summary_put(repo, &s, STORAGE_OVERWRITE, err));
}

static const struct {
    const char *old, *text;
    ErrCode code;
    const char *says;
} summaries[] = {
    {"\"pgdr\":1", "\"later\":[{}],\"pgdr\":1", ERR_OK, ""},
    {"\"a \\\"warning\\\"\",", "7,", ERR_OK, ""}, /* what is no text is no warning */
    {"\"from_standby\":true,", "", ERR_OK, ""},
    {"\"number\":8,", "", ERR_OK, ""},
    {"\"number\":8", "\"number\":-8", ERR_DAMAGED, "\"number\""},
    {"\"pgdr\":1", "\"pgdr\":2", ERR_VERSION, "version 2"},
    {"\"id\":\"" ID, "\"id\":\"" OLD_ID, ERR_DAMAGED, "it is the summary of backup " OLD_ID},
    {"\"system_id\":\"1", "\"system_id\":\"x", ERR_DAMAGED, "\"system_id\""},
    {"\"stop_lsn\":\"F", "\"stop_lsn\":\"x", ERR_DAMAGED, "\"stop_lsn\""},
    {"\"timeline\":4294967295", "\"timeline\":4294967296", ERR_DAMAGED, "\"timeline\""},
    {"\"files\":2", "\"files\":-2", ERR_DAMAGED, "\"files\""},
    {"\"type\":\"full\"", "\"type\":1", ERR_DAMAGED, "\"type\""},
    {"\"warnings\":[", "\"w\":[", ERR_DAMAGED, "\"warnings\""},
    {"\"parent\":", "\"p\":", ERR_DAMAGED, "\"parent\""},
    {"\"manifest\":{\"size\":5", "\"manifest\":{\"size\":-5", ERR_DAMAGED, "\"size\""},
    {"\"packs\":{\"size\":6", "\"packs\":{\"s\":6", ERR_DAMAGED, "\"size\""},
    {HEX_22, "22", ERR_DAMAGED, "the digest of an object is damaged"},
    {STAMP_33, "33", ERR_DAMAGED, "the digest of an object is damaged"},
    {"{\"pgdr\"", "[{\"pgdr\"", ERR_DAMAGED, "bad JSON"},
};

static void forged_summaries(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    BackupSummary s AUTO(summary_release);
    summary_init(&s);
    for (size_t i = 0; i < ARRAY_LEN(summaries); i++) {
        BackupSummary got AUTO(summary_release) = {.cluster = NULL};
        Err why = {0};
        expect_ok(summary_put(repo, &s, STORAGE_OVERWRITE, err));
        mem_edit_document(repo, SUMMARY, KIND_SUMMARY, summaries[i].old, summaries[i].text);
        ErrCode rc = summary_get(repo, ID, &got, &why);
        if (rc != summaries[i].code || !strstr(why.message, summaries[i].says))
            fail_msg("%s: %s '%s'", summaries[i].text, err_code_name(rc), why.message);
        if (rc != ERR_OK)
            assert_non_null(strstr(why.message, "app/" SUMMARY));
    }
}

/* --- trash --- */

static void a_trash_object(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    StrList names AUTO(str_list_release) = {0};
    TrashList all AUTO(trash_list_release) = {0}, none AUTO(trash_list_release) = {0};
    Buf text AUTO(buf_release) = {0};
    vec_push(&names, mem_strdup("packs/x/0/d0"));
    vec_push(&names, mem_strdup("backups/y/summary"));
    expect_ok(trash_put(repo, &names, err));
    char *name AUTO(mem_freep) = mem_only(repo, "trash/");
    assert_int_equal(strlen(name), strlen("trash/") + 32);
    assert_true(hex_is_lower(name + strlen("trash/"), 32));
    expect_ok(document_get(repo, name, KIND_TRASH, MIB, &text, NULL, err));
    assert_string_equal(buf_str(&text), "packs/x/0/d0\nbackups/y/summary\n.\n");
    /* By the storage's clock: exactly so old is old enough. */
    storage_mem_advance(repo->storage, 10);
    expect_ok(trash_read(repo, 11, &none, err));
    assert_int_equal(none.n, 0);
    expect_ok(trash_read(repo, 10, &all, err));
    assert_int_equal(all.n, 1);
    assert_string_equal(all.at[0].name, name);
    assert_int_equal(all.at[0].names.names.n, 2);
    assert_true(name_set_has(&all.at[0].names, "packs/x/0/d0"));
    assert_true(name_set_has(&all.at[0].names, "backups/y/summary"));
    assert_false(name_set_has(&all.at[0].names, "backups/y"));
}

static void forged_trash(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t len;
        const char *says;
    } cases[] = {
        {".\n", 2, NULL},        {".\nmore\n", 7, NULL},      {"a\n.\n", 4, NULL},
        {"", 0, "no end"},       {"a\nb\n", 4, "no end"},     {"a\n.", 3, "no end"},
        {"\n.\n", 3, "no name"}, {"a\0b\n.\n", 6, "no name"},
    };
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        TrashList l AUTO(trash_list_release) = {0};
        Err why = {0};
        expect_ok(document_put(repo, "trash/x", KIND_TRASH, cases[i].text, cases[i].len,
                               STORAGE_OVERWRITE, NULL, err));
        ErrCode rc = trash_read(repo, INT64_MIN, &l, &why);
        if (cases[i].says ? rc != ERR_DAMAGED || !strstr(why.message, cases[i].says) : rc != ERR_OK)
            fail_msg("case %zu: %s '%s'", i, err_code_name(rc), why.message);
    }
}

/* Names are added after it was asked, too. */
static void a_set_of_names(void **state)
{
    (void)state;
    NameSet s AUTO(name_set_release) = {.sorted = false};
    assert_false(name_set_has(&s, ""));
    static const char *const names[] = {"m", "z", "a", "mm", "l", ""};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_false(name_set_has(&s, names[i]));
        name_set_add(&s, mem_strdup(names[i]));
        for (size_t k = 0; k <= i; k++)
            assert_true(name_set_has(&s, names[k]));
    }
    assert_false(name_set_has(&s, "mmm"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_packs_list),          cmocka_unit_test(forged_packs_lists),
        cmocka_unit_test(the_length_of_a_table), cmocka_unit_test(a_summary),
        cmocka_unit_test(forged_summaries),      cmocka_unit_test(a_trash_object),
        cmocka_unit_test(forged_trash),          cmocka_unit_test(a_set_of_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
