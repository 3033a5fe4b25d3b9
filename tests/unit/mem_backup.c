#include "tests/unit/mem_backup.h"

#include <stdio.h>
#include <string.h>

#include "lib/common/bytes.h"
#include "lib/repo/key_store.h"
#include "tests/unit/mem_repo.h"

#define CONTROL_LEN 512

void mem_page(unsigned file, uint64_t page, uint8_t *out)
{
    memset(out, (int)(file * 16 + page % 16 + 1), MEM_PAGE);
    set_u64(out, page);
    set_u64(out + MEM_PAGE - 8, file);
}

void mem_backup_release(MemBackup *b)
{
    summary_release(&b->summary);
    packs_list_release(&b->packs);
}

/* Pages first … first + n − 1 of base/5/2 as one unit. */
static void add_pages(PackWriter *w, Compressor *c, uint64_t first, unsigned n)
{
    uint8_t *data AUTO(mem_freep) = mem_new((size_t)n * MEM_PAGE);
    uint64_t slot;
    for (unsigned i = 0; i < n; i++)
        mem_page(2, first + i, data + (size_t)i * MEM_PAGE);
    PackPages p = {.path = "base/5/2",
                   .first = first,
                   .n = n,
                   .page_size = MEM_PAGE,
                   .data = data,
                   .len = (size_t)n * MEM_PAGE};
    MUST(pack_writer_add_pages(w, c, &p, &slot, err));
}

static void put_data_pack(Repo *repo, const char *id, PackInfo *ret)
{
    PackWriter *w AUTO(pack_writer_freep) = pack_writer_new();
    Compressor *c AUTO(compressor_freep) = compressor_new(1);
    uint8_t data[3 * MEM_PAGE], small[CONTROL_LEN + 3];
    uint64_t slot, numbers[16];
    uint32_t unit;
    pack_writer_begin(w, repo->key, id, (PackId){'d', 0});
    /* Pages 0 to 7 and 12 to 19: what lies between are zeros. */
    uint8_t *split AUTO(mem_freep) = mem_new((size_t)16 * MEM_PAGE);
    for (unsigned i = 0; i < 16; i++) {
        numbers[i] = i < 8 ? i : i + 4;
        mem_page(2, numbers[i], split + (size_t)i * MEM_PAGE);
    }
    PackPages first = {.path = "base/5/2",
                       .numbers = numbers,
                       .n = 16,
                       .page_size = MEM_PAGE,
                       .data = split,
                       .len = (size_t)16 * MEM_PAGE};
    MUST(pack_writer_add_pages(w, c, &first, &slot, err));
    add_pages(w, c, 20, 16);
    add_pages(w, c, 36, 4);
    for (unsigned i = 0; i < 3; i++)
        mem_page(3, i, data + (size_t)i * MEM_PAGE);
    PackPages last = {.path = "base/5/3",
                      .n = 3,
                      .page_size = MEM_PAGE,
                      .data = data,
                      .len = 2 * MEM_PAGE + MEM_TAIL};
    MUST(pack_writer_add_pages(w, c, &last, &slot, err));
    PackSmall items[] = {{"PG_VERSION", 0, 3, 0}, {"global/pg_control", 3, CONTROL_LEN, 0}};
    memcpy(small, id + BACKUP_ID_LEN - 2, 2);
    small[2] = '\n';
    memset(small + 3, 0xC0, CONTROL_LEN);
    MUST(pack_writer_add_small(w, c, items, 2, small, sizeof(small), &unit, err));
    MUST(pack_writer_finish(w, ret, err));
    MUST(pack_writer_put(w, repo, err));
}

static void put_maps(Repo *repo, const StrList *ids, MemBackup *b)
{
    const MapSource own = {0, 0}, other = {1, 0};
    MapPackWriter *w AUTO(map_pack_writer_freep) = map_pack_writer_new(repo, ids->at[0]);
    FileMap m AUTO(file_map_release) = {.pages = MEM_PAGES};
    FileMap tail AUTO(file_map_release) = {.pages = 3};
    file_map_add(&m, 0, 8, ids->n > 1 ? other : own, 0);
    file_map_add_zeros(&m, 8, 4);
    file_map_add(&m, 12, 28, own, 8);
    file_map_add(&tail, 0, 3, own, 36);
    MUST(map_pack_writer_add(w, &m, ids, &b->map, err));
    MUST(map_pack_writer_add(w, &tail, ids, &b->tail_map, err));
    MUST(map_pack_writer_finish(w, &b->packs.own, err));
}

static void put_manifest(Repo *repo, const StrList *ids, MemBackup *b)
{
    char cluster[] = "app", owner[] = "postgres";
    ManifestHeader h = {.cluster = cluster,
                        .system_id = 7,
                        .pg_version_num = 180001,
                        .block_size = MEM_PAGE,
                        .rel_seg_blocks = 131072,
                        .wal_segment_size = 16 * MIB,
                        .timeline = 1,
                        .start_lsn = 0x2000028,
                        .stop_lsn = 0x2000100,
                        .user = owner,
                        .group = owner,
                        .file_mode = 0600,
                        .dir_mode = 0700};
    const FileEntry entries[] = {
        {"PG_VERSION", .size = 3, .mtime = 1, .place = PLACE_SMALL, .unit = 4},
        {"base", .kind = FILE_DIRECTORY},
        {"base/5", .kind = FILE_DIRECTORY},
        {"base/5/1", .mtime = 1},
        {"base/5/2", .size = (uint64_t)MEM_PAGES * MEM_PAGE, .mtime = 1, .place = PLACE_MAP,
         .off = b->map.off, .map_len = b->map.len},
        {"base/5/3", .size = 2 * MEM_PAGE + MEM_TAIL, .mtime = 1, .place = PLACE_MAP,
         .off = b->tail_map.off, .map_len = b->tail_map.len},
        {"global", .kind = FILE_DIRECTORY},
        {"global/pg_control", .size = CONTROL_LEN, .mtime = 1, .place = PLACE_SMALL, .unit = 4,
         .off = 3, .small = 1},
    };
    memcpy(h.id, ids->at[0], sizeof(h.id));
    for (size_t i = 0; i < ids->n; i++)
        vec_push(&h.ids, mem_strdup(ids->at[i]));
    ManifestWriter *w AUTO(manifest_writer_freep) = manifest_writer_new(repo, &h);
    for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
        FileEntry e = entries[i];
        e.user = e.group = owner;
        e.mode = e.kind == FILE_DIRECTORY ? 0700 : 0600;
        MUST(manifest_writer_add(w, &e, err));
    }
    MUST(manifest_writer_finish(w, &b->summary.manifest, err));
    str_list_release(&h.ids);
}

static void summarize(const char *id, BackupSummary *s)
{
    s->cluster = mem_strdup("app");
    s->type = mem_strdup("full");
    s->label = mem_strdup("");
    s->host = mem_strdup("here");
    s->parent = mem_strdup("");
    s->system_id = 7;
    s->pg_version_num = 180001;
    s->timeline = 1;
    s->start_lsn = s->checkpoint_lsn = 0x2000028;
    s->stop_lsn = 0x2000100;
    s->wal_segment_size = 16 * MIB;
    s->block_size = MEM_PAGE;
    snprintf(s->id, sizeof(s->id), "%s", id);
}

/* The packs of another backup that is there. */
static void refer_to(Repo *repo, const char *uses, MemBackup *b)
{
    PacksList theirs AUTO(packs_list_release) = {.own = {0}};
    PackRefs refs = {.packs = {0}};
    MUST(packs_list_get(repo, uses, NULL, &theirs, err));
    const PackInfo *p = packs_list_find(&theirs, (PackId){'d', 0});
    snprintf(refs.backup_id, sizeof(refs.backup_id), "%s", uses);
    vec_push(&refs.packs,
             (PackRef){.id = p->id, .size = p->facts.size, .slots = p->slots, .live = 8});
    vec_push(&b->packs.refs, refs);
}

void mem_backup_begin(Repo *repo, const char *id, const char *uses, MemBackup *ret)
{
    StrList ids AUTO(str_list_release) = {0};
    PackInfo data;
    *ret = (MemBackup){.packs = {.own = {0}}};
    vec_push(&ids, mem_strdup(id));
    if (uses)
        vec_push(&ids, mem_strdup(uses));
    put_data_pack(repo, id, &data);
    vec_push(&ret->packs.own, data);
    put_maps(repo, &ids, ret);
    if (uses)
        refer_to(repo, uses, ret);
    summarize(id, &ret->summary);
    MUST(key_put_beside(repo, id, err));
    MUST(packs_list_put(repo, id, &ret->packs, &ret->summary.packs, err));
    put_manifest(repo, &ids, ret);
}

void mem_backup_put(Repo *repo, const char *id, const char *uses)
{
    MemBackup b AUTO(mem_backup_release) = {.packs = {.own = {0}}};
    mem_backup_begin(repo, id, uses, &b);
    MUST(backup_publish(repo, &b.summary, &b.packs, GRACE_DEFAULT, STORAGE_CREATE, err));
}

void mem_rewrite_pack(Repo *repo, const char *id, uint32_t wrong)
{
    static const uint8_t kept[] = {SECTION_SLOTS, SECTION_FILES, SECTION_OWNER, SECTION_PAGE,
                                   SECTION_HASH};
    const PackId d0 = {'d', 0};
    ObjectWriter *w AUTO(object_writer_freep) = object_writer_new(KIB);
    Compressor *c AUTO(compressor_freep) = compressor_new(1);
    Decompressor *d AUTO(decompressor_freep) = decompressor_new();
    PackTable *t AUTO(pack_table_freep) = NULL;
    Buf o AUTO(buf_release) = {0}, sections AUTO(buf_release) = {0};
    ObjectFacts facts;
    char *name AUTO(mem_freep) = pack_name(id, d0);
    mem_get(repo, name, &o);
    MUST(pack_table_parse(repo, id, d0, o.data, o.len, &t, err));
    UnitReader *units AUTO(unit_reader_freep) = unit_reader_new(&t->info, name);
    object_writer_begin(w, repo->key, KIND_PACK, name);
    for (uint32_t i = 0; i < t->info.units; i++) {
        Buf raw AUTO(buf_release) = {0};
        MUST(unit_reader_append(units, d, i, o.data + t->unit_off[i],
                                t->unit_off[i + 1] - t->unit_off[i], &raw, err));
        raw.data[raw.len - 1] ^= i == wrong;
        MUST(object_writer_add(w, c, raw.data, raw.len, NULL, err));
    }
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        Slice s;
        MUST(table_find(&t->table, kept[i], &s, err));
        table_append(&sections, kept[i], s.data, s.len);
    }
    MUST(object_writer_finish(w, t->info.slots, &sections, &facts, err));
    MUST(repo_put(repo, name, w, STORAGE_OVERWRITE, err));
}
