/* What lib/repo/ reads of backups and keys. */

#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "lib/common/bytes.h"
#include "lib/common/hex.h"
#include "lib/repo/key_store.h"
#include "lib/repo/manifest.h"
#include "lib/repo/publish.h"
#include "lib/repo/trash.h"
#include "lib/storage/drivers.h"
#include "tests/fuzz/medium.h"

#define SYSTEM UINT64_C(7000000000000000001)

#define ID "20260101T000000Z-00000000000000aa"
#define OTHER_ID "20250101T000000Z-00000000000000bb"

static void put_text(Repo *repo, const char *name, const char *kind, const void *text, size_t len,
                     DocumentFacts *facts)
{
    FUZZ_OK(document_put(repo, name, kind, text, len, STORAGE_OVERWRITE, facts, err));
}

/* The text of a document becomes a sample. */
static void add_document(FuzzCorpus *c, Repo *repo, const char *name, const char *kind)
{
    Buf text AUTO(buf_release) = {0};
    FUZZ_OK(document_get(repo, name, kind, DOCUMENT_RAW_MAX, &text, NULL, err));
    fuzz_add(c, text.data, text.len);
}

/* The stored bytes of an object do. */
static void add_object(FuzzCorpus *c, Repo *repo, const char *name)
{
    Buf bytes AUTO(buf_release) = {0};
    FUZZ_OK(repo_get(repo, name, 64 * MIB, &bytes, err));
    fuzz_add(c, bytes.data, bytes.len);
}

/* --- what is there to be read --- */

static void put_pack(Repo *repo, PackInfo *ret)
{
    static uint8_t pages[40 * 8192];
    PackWriter *w AUTO(pack_writer_freep) = pack_writer_new();
    Compressor *c AUTO(compressor_freep) = compressor_new(1);
    PackId id = {'d', 0};
    PackSmall small[] = {{"PG_VERSION", 0, 3, 0}, {"global/pg_filenode.map", 3, 600, 0}};
    uint64_t slot, numbers[] = {3, 5, 100, 131071};
    uint32_t unit;
    for (size_t i = 0; i < sizeof(pages); i++)
        pages[i] = (uint8_t)(i * 7 + i / 8192);
    pack_writer_begin(w, repo->key, ID, id);
    for (uint64_t k = 0; k < 3; k++) {
        PackPages p = {.path = k == 2 ? "base/5/1260" : "base/5/1259",
                       .first = k * 16,
                       .n = 16,
                       .page_size = 8192,
                       .data = pages + k * 8192,
                       .len = 16 * 8192};
        FUZZ_OK(pack_writer_add_pages(w, c, &p, &slot, err));
    }
    PackPages last = {.path = "base/5/1261",
                      .numbers = numbers,
                      .n = 4,
                      .page_size = 8192,
                      .data = pages,
                      .len = 4 * 8192 - 100};
    FUZZ_OK(pack_writer_add_pages(w, c, &last, &slot, err));
    FUZZ_OK(pack_writer_add_small(w, c, small, 2, pages, 603, &unit, err));
    FUZZ_OK(pack_writer_finish(w, ret, err));
    char *name AUTO(mem_freep) = pack_name(ID, id);
    const char *one = name;
    FUZZ_OK(repo_remove(repo, &one, 1, err));
    FUZZ_OK(pack_writer_put(w, repo, err));
}

/* --- envelopes --- */

static void envelope_samples(FuzzCorpus *c)
{
    PackInfo info;
    Repo *repos[] = {medium_plain(), medium_sealed()};
    for (size_t i = 0; i < ARRAY_LEN(repos); i++) {
        put_text(repos[i], "trash/s", KIND_TRASH, "a\nb\n.\n", 6, NULL);
        add_object(c, repos[i], "trash/s");
        put_pack(repos[i], &info);
        char *name AUTO(mem_freep) = pack_name(ID, info.id);
        add_object(c, repos[i], name);
    }
}

/* Reads it as each kind of object, whole and by its end. */
static bool envelope_run_as(Repo *repo, const uint8_t *data, size_t len)
{
    Err why = {0};
    Buf text AUTO(buf_release) = {0}, table AUTO(buf_release) = {0};
    ObjectInfo info;
    PackTable *whole AUTO(pack_table_freep) = NULL, *end AUTO(pack_table_freep) = NULL;
    PackId id = {'d', 0};
    char *pack AUTO(mem_freep) = pack_name(ID, id), kind[KIND_LEN + 1];
    mem_put(repo, "trash/s", data, len);
    mem_put(repo, pack, data, len);
    bool good = document_get(repo, "trash/s", KIND_TRASH, MIB, &text, NULL, &why) == ERR_OK;
    FUZZ_CHECK(text.len <= MIB + UNIT_RAW_MAX);
    good |= repo_get_table(repo, "trash/s", KIND_TRASH, &info, &table, &why) == ERR_OK;
    bool by_whole = pack_table_parse(repo, ID, id, data, len, &whole, &why) == ERR_OK;
    bool by_end = pack_table_load(repo, ID, id, NULL, &end, &why) == ERR_OK;
    FUZZ_CHECK(by_end || !by_whole);
    if (object_check_bytes(data, len, kind, &why) == ERR_OK)
        FUZZ_CHECK(strlen(kind) <= KIND_LEN);
    return good || by_whole;
}

static bool envelope_run(const uint8_t *data, size_t len)
{
    return envelope_run_as(medium_plain(), data, len) | envelope_run_as(medium_sealed(), data, len);
}

static bool mended_envelope_run(const uint8_t *data, size_t len)
{
    uint8_t *copy AUTO(mem_freep) = NULL;
    copy = mem_new(len + 1);
    memcpy(copy, data, len);
    mem_mend(copy, len);
    return envelope_run(copy, len);
}

/* --- tables --- */

/* An object of these sections, unit lengths included, without any unit that fits them. */
static bool make_object(const char *kind, const char *name, const void *table, size_t len, Buf *out)
{
    ObjectWriter *w AUTO(object_writer_freep) = object_writer_new(KIB);
    Compressor *c AUTO(compressor_freep) = compressor_new(1);
    Buf sections AUTO(buf_release) = {0};
    ObjectFacts facts;
    Err why;
    int fd;
    uint64_t slots = len >= 8 ? get_u64(table) : 0;
    uint32_t units = len >= 9 ? ((const uint8_t *)table)[8] % 64 : 0;
    if (len < 9)
        return false;
    buf_append(&sections, (const uint8_t *)table + 9, len - 9);
    object_writer_begin(w, medium_plain()->key, kind, name);
    for (uint32_t i = 0; i < units; i++)
        if (object_writer_add(w, c, "page", 4, NULL, &why) != ERR_OK)
            return false;
    if (object_writer_finish(w, slots, &sections, &facts, &why) != ERR_OK)
        return false;
    Slice bytes = object_writer_bytes(w, &fd);
    buf_append(out, bytes.data, bytes.len);
    return true;
}

/* Slots, units, then the sections without LEN (which the writer makes). */
static void add_table(FuzzCorpus *c, const ObjectInfo *info, const Buf *table)
{
    Buf sample AUTO(buf_release) = {0};
    Cursor at = cursor_of(table->data, table->len);
    buf_append_u64(&sample, info->slots);
    buf_append_u8(&sample, (uint8_t)info->units);
    while (cursor_left(&at)) {
        uint8_t type = cursor_u8(&at);
        uint64_t len = cursor_varint(&at);
        const uint8_t *bytes = cursor_read(&at, len);
        if (type != SECTION_LEN)
            table_append(&sample, type, bytes, (size_t)len);
    }
    fuzz_add(c, sample.data, sample.len);
}

static void pack_table_samples(FuzzCorpus *c)
{
    PackInfo info;
    PackTable *t AUTO(pack_table_freep) = NULL;
    put_pack(medium_plain(), &info);
    FUZZ_OK(pack_table_load(medium_plain(), ID, info.id, NULL, &t, err));
    add_table(c, &t->info, &t->table);
}

static bool pack_table_run(const uint8_t *data, size_t len)
{
    Err why;
    Buf object AUTO(buf_release) = {0};
    PackTable *t AUTO(pack_table_freep) = NULL;
    StrList files AUTO(str_list_release) = {0};
    PackOwners owners = {0};
    PackId id = {'d', 0};
    char *name AUTO(mem_freep) = pack_name(ID, id);
    if (!make_object(KIND_PACK, name, data, len, &object) ||
        pack_table_parse(medium_plain(), ID, id, object.data, object.len, &t, &why) != ERR_OK)
        return false;
    uint64_t sum = 0, slots = t->info.slots;
    for (uint64_t i = 0; i < slots && i < 10000; i++) {
        uint32_t unit = pack_table_unit_of(t, i);
        FUZZ_CHECK(unit < t->info.units);
        FUZZ_CHECK(t->unit_slot[unit] <= i && i < t->unit_slot[unit + 1]);
        sum += pack_table_hash(t, i);
    }
    for (uint64_t i = 0; i < t->n_small; i++)
        sum += pack_table_small_hash(t, i);
    bool good = pack_table_owners(t, &files, &owners, &why) == ERR_OK;
    for (size_t i = 0; i < owners.n && good; i++) {
        const PackOwner *o = &owners.at[i];
        FUZZ_CHECK(o->file < files.n);
        FUZZ_CHECK(o->small ? o->slot < t->n_small && o->unit < t->info.units
                            : o->slot < slots && o->n <= slots - o->slot);
    }
    vec_release(&owners);
    return good || sum == 1;
}

/* --- maps --- */

static void map_specimen(FileMap *m, bool patch)
{
    *m = (FileMap){.patch = patch, .pages = 0};
    if (patch)
        m->base_backup = 1, m->base_pack = 4, m->base_off = 77, m->base_len = 1000;
    file_map_add(m, 0, 10, (MapSource){0, 0}, 5);
    if (!patch)
        file_map_add_zeros(m, 10, 20);
    file_map_add(m, 30, 5, (MapSource){1, 7}, 100);
    file_map_add(m, 35, 1, (MapSource){0, 0}, 15);
    file_map_add(m, 36, 64, (MapSource){0, 1}, 0);
    m->pages = 100;
}

/* Without the digest at its end. */
static void file_map_samples(FuzzCorpus *c)
{
    for (int patch = 0; patch < 2; patch++) {
        FileMap m;
        Buf bytes AUTO(buf_release) = {0};
        map_specimen(&m, patch);
        file_map_encode(&m, &bytes);
        fuzz_add(c, bytes.data, bytes.len - 8);
        file_map_release(&m);
    }
}

static void check_map(const FileMap *m)
{
    uint64_t at = 0;
    FUZZ_CHECK(m->pages <= FILE_PAGES_MAX);
    for (size_t i = 0; i < m->runs.n; i++) {
        const MapRun *r = &m->runs.at[i];
        FUZZ_CHECK(r->source <= m->sources.n);
        FUZZ_CHECK(r->pages > 0 && r->first >= at && r->first + r->pages <= m->pages);
        FUZZ_CHECK(m->patch || r->first == at);
        at = r->first + r->pages;
    }
    FUZZ_CHECK(m->patch || at == m->pages);
}

static bool file_map_run(const uint8_t *data, size_t len)
{
    Err why;
    FileMap m = {.patch = false}, base = {.patch = false}, joined = {.patch = false};
    Buf bytes AUTO(buf_release) = {0}, again AUTO(buf_release) = {0};
    buf_append(&bytes, data, len);
    buf_append_u64(&bytes, XXH3_64bits(data, len));
    if (file_map_decode(bytes.data, bytes.len, &m, &why) != ERR_OK)
        return false;
    check_map(&m);
    map_specimen(&base, false);
    if (m.patch) {
        /* Pages beyond the base that the patch does not hold are nobody's: the reader says so. */
        file_map_join(&base, &m, &joined);
        FUZZ_CHECK(joined.pages == m.pages);
    } else {
        for (uint64_t p = 0; p < m.pages; p = p * 2 + 1) {
            const MapRun *r = file_map_find(&m, p);
            FUZZ_CHECK(r && r->first <= p && p - r->first < r->pages);
        }
    }
    FileMap back = {.patch = false};
    file_map_encode(&m, &again);
    FUZZ_CHECK(file_map_decode(again.data, again.len, &back, &why) == ERR_OK);
    FUZZ_CHECK(back.runs.n == m.runs.n && back.pages == m.pages);
    file_map_release(&back);
    file_map_release(&joined);
    file_map_release(&base);
    file_map_release(&m);
    return true;
}

/* The table of a map pack, and behind it the maps. */
static void map_pack_samples(FuzzCorpus *c)
{
    FileMap m;
    StrList ids AUTO(str_list_release) = {0};
    PackInfos packs = {0};
    MapRef ref;
    ObjectInfo info;
    Buf table AUTO(buf_release) = {0};
    MapPackWriter *w AUTO(map_pack_writer_freep) = map_pack_writer_new(medium_plain(), ID);
    vec_push(&ids, mem_strdup(ID));
    vec_push(&ids, mem_strdup(OTHER_ID));
    map_specimen(&m, false);
    FUZZ_OK(map_pack_writer_add(w, &m, &ids, &ref, err));
    FUZZ_OK(map_pack_writer_finish(w, &packs, err));
    char *name AUTO(mem_freep) = pack_name(ID, packs.at[0].id);
    FUZZ_OK(repo_get_table(medium_plain(), name, KIND_MAPS, &info, &table, err));
    add_table(c, &info, &table);
    const char *one = name;
    FUZZ_OK(repo_remove(medium_plain(), &one, 1, err));
    file_map_release(&m);
    vec_release(&packs);
}

static ErrCode put_map_pack(const uint8_t *data, size_t len, MapRef *ref, Err *err)
{
    FileMap m;
    Buf raw AUTO(buf_release) = {0}, sections AUTO(buf_release) = {0};
    PackId id = {'m', 0};
    ObjectFacts facts;
    char *name AUTO(mem_freep) = pack_name(ID, id);
    ObjectWriter *w AUTO(object_writer_freep) = object_writer_new(KIB);
    Compressor *c AUTO(compressor_freep) = compressor_new(1);
    map_specimen(&m, false);
    file_map_encode(&m, &raw);
    file_map_release(&m);
    if (len < 9)
        return ERR_DAMAGED;
    buf_append(&sections, data + 9, len - 9);
    object_writer_begin(w, medium_plain()->key, KIND_MAPS, name);
    TRY(object_writer_add(w, c, raw.data, raw.len, NULL, err));
    TRY(object_writer_finish(w, get_u64(data), &sections, &facts, err));
    *ref = (MapRef){.pack = 0, .off = 0, .len = raw.len};
    return repo_put(medium_plain(), name, w, STORAGE_OVERWRITE, err);
}

static bool map_pack_run(const uint8_t *data, size_t len)
{
    Err why;
    MapRef ref;
    FileMap m = {.patch = false};
    MapPackReader *r AUTO(map_pack_reader_freep) = NULL;
    if (put_map_pack(data, len, &ref, &why) != ERR_OK)
        return false;
    r = map_pack_reader_new(medium_plain(), NULL, NULL);
    bool good = map_pack_reader_get(r, ID, &ref, &m, &why) == ERR_OK;
    for (size_t i = 0; i < m.sources.n && good; i++)
        FUZZ_CHECK(m.sources.at[i].backup < map_pack_reader_ids(r)->n);
    file_map_release(&m);
    return good;
}

/* --- documents --- */

static void packs_list_samples(FuzzCorpus *c)
{
    PackInfo info;
    DocumentFacts facts;
    PacksList l = {.own = {0}};
    PackRefs refs = {.backup_id = OTHER_ID};
    put_pack(medium_plain(), &info);
    vec_push(&l.own, info);
    info.id = (PackId){'m', 12};
    vec_push(&l.own, info);
    vec_push(&refs.packs, (PackRef){.id = {'d', 3}, .size = 1000, .slots = 70, .live = 3});
    vec_push(&refs.packs, (PackRef){.id = {'d', 4}, .size = 10, .slots = 1, .live = 1});
    vec_push(&l.refs, refs);
    const char *name = "backups/" ID "/packs";
    FUZZ_OK(repo_remove(medium_plain(), &name, 1, err));
    FUZZ_OK(packs_list_put(medium_plain(), ID, &l, &facts, err));
    packs_list_release(&l);
    add_document(c, medium_plain(), name, KIND_PACKS);
}

static bool packs_list_run(const uint8_t *data, size_t len)
{
    Err why;
    PacksList l AUTO(packs_list_release) = {.own = {0}};
    Buf again AUTO(buf_release) = {0};
    put_text(medium_plain(), "backups/" ID "/packs", KIND_PACKS, data, len, NULL);
    if (packs_list_get(medium_plain(), ID, NULL, &l, &why) != ERR_OK)
        return false;
    for (size_t i = 0; i < l.own.n; i++)
        FUZZ_CHECK(packs_list_find(&l, l.own.at[i].id) != NULL);
    for (size_t i = 0; i < l.refs.n; i++)
        FUZZ_CHECK(backup_id_valid(l.refs.at[i].backup_id));
    (void)packs_list_stored(&l);
    packs_list_format(&l, &again);
    return true;
}

static void summary_samples(FuzzCorpus *c)
{
    char cluster[] = "c", type[] = "full", label[] = "before the move", host[] = "db1", none[] = "";
    BackupSummary s = {.id = ID,
                       .cluster = cluster,
                       .system_id = SYSTEM,
                       .pg_version_num = 150018,
                       .type = type,
                       .label = label,
                       .host = host,
                       .parent = none,
                       .start_time = 1,
                       .stop_time = 2,
                       .timeline = 3,
                       .start_lsn = 0x1000028,
                       .stop_lsn = 0x1000100,
                       .checkpoint_lsn = 0x1000060,
                       .wal_segment_size = 16 * MIB,
                       .block_size = 8192,
                       .size = 12345,
                       .files = 17,
                       .stored = 99};
    vec_push(&s.warnings, mem_strdup("one"));
    FUZZ_OK(summary_put(medium_plain(), &s, STORAGE_OVERWRITE, err));
    str_list_release(&s.warnings);
    add_document(c, medium_plain(), "backups/" ID "/summary", KIND_SUMMARY);
}

static bool summary_run(const uint8_t *data, size_t len)
{
    Err why;
    BackupSummary s AUTO(summary_release) = {.cluster = NULL};
    put_text(medium_plain(), "backups/" ID "/summary", KIND_SUMMARY, data, len, NULL);
    if (summary_get(medium_plain(), ID, &s, &why) != ERR_OK)
        return false;
    FUZZ_CHECK(strcmp(s.id, ID) == 0 && s.cluster && s.type && s.label && s.host && s.parent);
    return true;
}

#define PART "backups/" ID "/manifest.0001"
#define HEAD "backups/" ID "/manifest"

static void put_manifest(void)
{
    char user[] = "postgres", cluster[] = "c";
    const char *names[] = {HEAD, PART};
    DocumentFacts facts;
    ManifestHeader h = {.cluster = cluster,
                        .id = ID,
                        .system_id = SYSTEM,
                        .pg_version_num = 150018,
                        .block_size = 8192,
                        .rel_seg_blocks = 131072,
                        .wal_segment_size = 16 * MIB,
                        .timeline = 1,
                        .start_lsn = 0x1000028,
                        .stop_lsn = 0x1000100,
                        .user = user,
                        .group = user,
                        .file_mode = 0600,
                        .dir_mode = 0700};
    const FileEntry entries[] = {
        {.path = "PG_VERSION", .size = 3, .mode = 0600, .place = PLACE_SMALL, .unit = 2},
        {.path = "base", .kind = FILE_DIRECTORY, .mode = 0700},
        {.path = "base/5/1259",
         .size = 8192 * 100,
         .place = PLACE_MAP,
         .map_len = 88,
         .mode = 0640},
        {.path = "base/5/1260", .size = 0, .mtime = 1764000000, .mode = 0600},
        {.path = "not\xff"
                 "utf8",
         .size = 5,
         .place = PLACE_SMALL,
         .off = 3,
         .small = 1},
        {.path = "pg_tblspc/16400", .kind = FILE_LINK, .link = "/srv/ts1", .mode = 0777},
    };
    FUZZ_OK(repo_remove(medium_plain(), names, ARRAY_LEN(names), err));
    vec_push(&h.ids, mem_strdup(ID));
    vec_push(&h.ids, mem_strdup(OTHER_ID));
    vec_push(&h.tablespaces, (ManifestTablespace){16400, mem_strdup("/srv/ts1")});
    ManifestWriter *w AUTO(manifest_writer_freep) = manifest_writer_new(medium_plain(), &h);
    for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
        FileEntry e = entries[i];
        e.user = e.group = user;
        FUZZ_OK(manifest_writer_add(w, &e, err));
    }
    FUZZ_OK(manifest_writer_finish(w, &facts, err));
    h.cluster = h.user = h.group = NULL;
    manifest_header_release(&h);
}

static void head_samples(FuzzCorpus *c)
{
    put_manifest();
    add_document(c, medium_plain(), HEAD, KIND_MANIFEST);
}

static void part_samples(FuzzCorpus *c)
{
    put_manifest();
    add_document(c, medium_plain(), PART, KIND_MANIFEST);
}

static bool read_manifest(void)
{
    Err why;
    ManifestReader *r AUTO(manifest_reader_closep) = NULL;
    StrList names AUTO(str_list_release) = {0};
    bool end = false;
    if (manifest_reader_open(medium_plain(), ID, NULL, &r, &why) != ERR_OK)
        return false;
    const ManifestHeader *h = manifest_reader_header(r);
    FUZZ_CHECK(h->ids.n > 0 && strcmp(h->id, ID) == 0);
    manifest_reader_names(r, &names);
    while (!end) {
        FileEntry e = {.path = NULL};
        if (manifest_reader_next(r, &e, &end, &why) != ERR_OK)
            return false;
        if (end)
            break;
        FUZZ_CHECK(e.path && *e.path && *e.path != '/' && e.user && e.group);
        FUZZ_CHECK(e.kind != FILE_LINK || e.link);
        FUZZ_CHECK(e.place == PLACE_NONE || e.backup < h->ids.n);
        FUZZ_CHECK(strcmp(e.path, "..") != 0 && strncmp(e.path, "../", 3) != 0 &&
                   !strstr(e.path, "/../"));
    }
    return true;
}

static bool head_run(const uint8_t *data, size_t len)
{
    put_text(medium_plain(), HEAD, KIND_MANIFEST, data, len, NULL);
    return read_manifest();
}

typedef struct OnePart {
    DocumentFacts facts;
} OnePart;

static ErrCode part_facts(void *arg, unsigned part, DocumentFacts *ret, Err *err)
{
    (void)part;
    (void)err;
    *ret = ((const OnePart *)arg)->facts;
    return ERR_OK;
}

/* The head is made to name the part as it is now. */
static bool part_run(const uint8_t *data, size_t len)
{
    OnePart part;
    Buf head AUTO(buf_release) = {0}, mended AUTO(buf_release) = {0};
    put_manifest();
    put_text(medium_plain(), PART, KIND_MANIFEST, data, len, &part.facts);
    FUZZ_OK(document_get(medium_plain(), HEAD, KIND_MANIFEST, MIB, &head, NULL, err));
    FUZZ_OK(manifest_head_rewrite(&head, part_facts, &part, &mended, err));
    put_text(medium_plain(), HEAD, KIND_MANIFEST, mended.data, mended.len, NULL);
    return read_manifest();
}

static void rewrite_samples(FuzzCorpus *c)
{
    head_samples(c);
}

/* What a copy makes of a head. */
static bool rewrite_run(const uint8_t *data, size_t len)
{
    Err why;
    OnePart part = {.facts = {.size = 1}};
    Buf text AUTO(buf_release) = {0}, out AUTO(buf_release) = {0};
    buf_append(&text, data, len);
    return manifest_head_rewrite(&text, part_facts, &part, &out, &why) == ERR_OK;
}

static void trash_samples(FuzzCorpus *c)
{
    fuzz_add_text(c, "backups/" ID "/manifest\npacks/" ID "/0/d0\npacks/" ID "/0/d1\n.\n");
}

static bool trash_run(const uint8_t *data, size_t len)
{
    Err why;
    static Repo *repo;
    TrashList l AUTO(trash_list_release) = {0};
    if (!repo)
        repo = mem_repo_new(CIPHER_NONE);
    put_text(repo, "trash/x", KIND_TRASH, data, len, NULL);
    if (trash_read(repo, INT64_MIN, &l, &why) != ERR_OK)
        return false;
    for (size_t i = 0; i < l.at[0].names.names.n; i++)
        FUZZ_CHECK(*l.at[0].names.names.at[i]);
    return true;
}

static void lease_samples(FuzzCorpus *c)
{
    fuzz_add_text(c,
                  "{\"what\":\"backup\",\"host\":\"h\",\"pid\":7,\"backups\":[\"" ID "\",\"x\"]}");
}

static bool lease_run(const uint8_t *data, size_t len)
{
    Err why;
    StrList ids AUTO(str_list_release) = {0};
    put_text(medium_plain(), "leases/x", KIND_MARK, data, len, NULL);
    return lease_backups(medium_plain(), &ids, &why) == ERR_OK;
}

/* --- keys --- */

static void key_samples(FuzzCorpus *c)
{
    Repo *repos[] = {medium_plain(), medium_sealed()};
    for (size_t i = 0; i < ARRAY_LEN(repos); i++) {
        char *text = json_dumps(repos[i]->key->wrap, JSON_COMPACT);
        fuzz_add_text(c, text);
        free(text);
    }
}

static bool key_run(const uint8_t *data, size_t len)
{
    Err why;
    json_t *wrap AUTO(json_decrefp) = NULL;
    RepoKey *key AUTO(repo_key_freep) = NULL;
    WrapMethod method;
    KeyRing *ring AUTO(keyring_freep) = keyring_new(&mem_secret);
    if (json_parse_object(data, len, &wrap, &why) != ERR_OK)
        return false;
    if (wrap_method(wrap, &method, &why) == ERR_OK)
        FUZZ_CHECK(method.log_n <= 22);
    return repo_key_unwrap(wrap, ring, &key, &why) == ERR_OK;
}

#define KEY_OBJECT "keys/00000000000000ff/00000000000000000000000000000001.1"

static void key_object_samples(FuzzCorpus *c)
{
    StrList names AUTO(str_list_release) = {0};
    Buf bytes AUTO(buf_release) = {0};
    FUZZ_OK(storage_list_names(medium_plain()->storage, "keys/", false, &names, err));
    FUZZ_OK(storage_get_all(medium_plain()->storage, names.at[0], MIB, &bytes, err));
    fuzz_add(c, bytes.data, bytes.len);
}

/* One copy, with its digests right. */
static bool key_object_run(const uint8_t *data, size_t len)
{
    Err why;
    Repo *repo AUTO(repo_closep) = NULL;
    Storage *mem = storage_mem_new(false);
    uint8_t *copy AUTO(mem_freep) = mem_new(len + 1);
    RepoSpec spec = {.name = "main", .cluster = "c", .cipher = CIPHER_NONE};
    memcpy(copy, data, len);
    mem_mend(copy, len);
    FUZZ_OK(storage_put_bytes(mem, KEY_OBJECT, copy, len, STORAGE_CREATE, err));
    return repo_open(mem, &spec, &repo, &why) == ERR_OK;
}

const FuzzTarget fuzz_targets[] = {
    {"envelope", envelope_samples, envelope_run, 50},
    {"envelope-mended", envelope_samples, mended_envelope_run, 50},
    {"pack-table", pack_table_samples, pack_table_run, 0},
    {"file-map", file_map_samples, file_map_run, 0},
    {"map-pack", map_pack_samples, map_pack_run, 50},
    {"packs-list", packs_list_samples, packs_list_run, 0},
    {"summary", summary_samples, summary_run, 0},
    {"manifest-head", head_samples, head_run, 0},
    {"manifest-part", part_samples, part_run, 0},
    {"manifest-copy", rewrite_samples, rewrite_run, 0},
    {"trash", trash_samples, trash_run, 0},
    {"lease", lease_samples, lease_run, 0},
    {"key", key_samples, key_run, 0},
    {"key-object", key_object_samples, key_object_run, 0},
};
const size_t fuzz_targets_n = ARRAY_LEN(fuzz_targets);
