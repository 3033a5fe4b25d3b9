#include "lib/repo/map_pack.h"

#include <string.h>

#include "lib/common/bytes.h"
#include "lib/repo/manifest.h"

/* Raw bytes after which a map pack is closed: maps are small, and a pack of them is read whole. */
#define MAP_PACK_RAW (16 * MIB)
#define MAP_LEVEL 3
#define MAP_LEN_MAX ((uint64_t)256 << 20)
#define MAP_IDS_MAX 1000000

/* --- writing --- */

struct MapPackWriter {
    Repo *repo;
    char *backup_id;
    ObjectWriter *object;
    Compressor *compressor;
    bool open;
    uint32_t number; /* of the open pack, or the next */
    uint64_t raw;    /* bytes in the open pack */
    Buf unit;        /* not yet compressed */
    StrList ids;
    PackInfos done;
};

MapPackWriter *map_pack_writer_new(Repo *repo, const char *backup_id)
{
    MapPackWriter *w = NEW(MapPackWriter);
    w->repo = repo;
    w->backup_id = mem_strdup(backup_id);
    w->object = object_writer_new(MIB);
    w->compressor = compressor_new(MAP_LEVEL);
    return w;
}

void map_pack_writer_free(MapPackWriter *w)
{
    if (!w)
        return;
    free(w->backup_id);
    object_writer_free(w->object);
    compressor_free(w->compressor);
    buf_release(&w->unit);
    str_list_release(&w->ids);
    vec_release(&w->done);
    free(w);
}

static void writer_open(MapPackWriter *w)
{
    if (w->open)
        return;
    char *name AUTO(mem_freep) =
        pack_name(w->backup_id, (PackId){.kind = 'm', .number = w->number});
    object_writer_begin(w->object, w->repo->key, KIND_MAPS, name);
    w->open = true;
    w->raw = 0;
    w->unit.len = 0;
    str_list_release(&w->ids);
}

/* The number under which the open pack knows a backup. */
static uint32_t writer_backup(MapPackWriter *w, const char *backup_id)
{
    for (size_t i = w->ids.n; i-- > 0;)
        if (strcmp(w->ids.at[i], backup_id) == 0)
            return (uint32_t)i;
    vec_push(&w->ids, mem_strdup(backup_id));
    return (uint32_t)w->ids.n - 1;
}

static ErrCode writer_units(MapPackWriter *w, bool all, Err *err)
{
    size_t off = 0;
    while (w->unit.len - off >= UNIT_RAW_MAX || (all && w->unit.len > off)) {
        size_t len = MIN(w->unit.len - off, UNIT_RAW_MAX);
        TRY(object_writer_add(w->object, w->compressor, w->unit.data + off, len, NULL, err));
        off += len;
    }
    if (off)
        memmove(w->unit.data, w->unit.data + off, w->unit.len - off);
    w->unit.len -= off;
    return ERR_OK;
}

static ErrCode writer_close(MapPackWriter *w, Err *err)
{
    if (!w->open)
        return ERR_OK;
    Buf ids AUTO(buf_release) = {0};
    Buf sections AUTO(buf_release) = {0};
    buf_append_varint(&ids, w->ids.n);
    for (size_t i = 0; i < w->ids.n; i++) {
        buf_append_varint(&ids, strlen(w->ids.at[i]));
        buf_append_str(&ids, w->ids.at[i]);
    }
    table_append(&sections, SECTION_IDS, ids.data, ids.len);
    PackInfo info = {.id = {.kind = 'm', .number = w->number}};
    TRY(writer_units(w, true, err));
    info.units = object_writer_units(w->object);
    TRY(object_writer_finish(w->object, 0, &sections, &info.facts, err));
    char *name AUTO(mem_freep) = pack_name(w->backup_id, info.id);
    TRY(repo_put(w->repo, name, w->object, STORAGE_CREATE, err));
    vec_push(&w->done, info);
    w->open = false;
    w->number++;
    return ERR_OK;
}

ErrCode map_pack_writer_add(MapPackWriter *w, const FileMap *map, const StrList *ids, MapRef *ret,
                            Err *err)
{
    if (w->open && w->raw >= MAP_PACK_RAW)
        TRY(writer_close(w, err));
    writer_open(w);
    FileMap own = *map; /* with sources numbered as this pack does */
    own.sources.at = mem_new(MAX(map->sources.n, (size_t)1) * sizeof(MapSource));
    for (size_t i = 0; i < map->sources.n; i++) {
        own.sources.at[i] = map->sources.at[i];
        own.sources.at[i].backup = writer_backup(w, ids->at[map->sources.at[i].backup]);
    }
    if (map->patch)
        own.base_backup = writer_backup(w, ids->at[map->base_backup]);
    size_t before = w->unit.len;
    file_map_encode(&own, &w->unit);
    free(own.sources.at);
    MapRef ref = {.pack = w->number, .off = w->raw, .len = w->unit.len - before};
    w->raw += ref.len;
    TRY(writer_units(w, false, err));
    *ret = ref;
    return ERR_OK;
}

ErrCode map_pack_writer_finish(MapPackWriter *w, PackInfos *ret, Err *err)
{
    TRY(writer_close(w, err));
    for (size_t i = 0; i < w->done.n; i++)
        vec_push(ret, w->done.at[i]);
    w->done.n = 0;
    return ERR_OK;
}

/* --- reading --- */

typedef struct OpenPack {
    char *backup_id, *name;
    uint32_t number;
    ObjectInfo info;
    UnitReader *units;
    VEC(uint64_t) offs;   /* units + 1 */
    VEC(uint32_t) intern; /* the pack's numbers of backups to the reader's */
    uint64_t unit;        /* the one in `raw`; UINT64_MAX: none */
    Buf raw;
    uint64_t used; /* when, for throwing out the one not used longest */
} OpenPack;

#define OPEN_PACKS 8

struct MapPackReader {
    Repo *repo;
    PackFindFn find;
    void *find_arg;
    Decompressor *decompressor;
    StrList ids;
    OpenPack *open[OPEN_PACKS];
    uint64_t clock;
    Buf scratch, bytes;
    MapPackReader *fallback; /* of the repository's fallback; made when it is needed */
};

MapPackReader *map_pack_reader_new(Repo *repo, PackFindFn find, void *arg)
{
    MapPackReader *r = NEW(MapPackReader);
    r->repo = repo;
    r->find = find;
    r->find_arg = arg;
    r->decompressor = decompressor_new();
    return r;
}

static void open_pack_free(OpenPack *p)
{
    if (!p)
        return;
    free(p->backup_id);
    free(p->name);
    unit_reader_free(p->units);
    vec_release(&p->offs);
    vec_release(&p->intern);
    buf_release(&p->raw);
    free(p);
}
DEFINE_FREEP(OpenPack, open_pack_free)

void map_pack_reader_free(MapPackReader *r)
{
    if (!r)
        return;
    decompressor_free(r->decompressor);
    str_list_release(&r->ids);
    for (int i = 0; i < OPEN_PACKS; i++)
        open_pack_free(r->open[i]);
    buf_release(&r->scratch);
    buf_release(&r->bytes);
    map_pack_reader_free(r->fallback);
    free(r);
}

const StrList *map_pack_reader_ids(const MapPackReader *r)
{
    return &r->ids;
}

static uint32_t reader_intern(MapPackReader *r, const char *id)
{
    for (size_t i = r->ids.n; i-- > 0;)
        if (strcmp(r->ids.at[i], id) == 0)
            return (uint32_t)i;
    vec_push(&r->ids, mem_strdup(id));
    return (uint32_t)r->ids.n - 1;
}

static ErrCode open_pack_ids(MapPackReader *r, OpenPack *p, const Buf *table, Err *err)
{
    Slice section;
    TRY(table_find(table, SECTION_IDS, &section, err));
    Cursor c = cursor_of(section.data, section.len);
    uint64_t n = cursor_varint(&c);
    if (n > MAP_IDS_MAX)
        return err_set(err, ERR_LIMIT, "it names %llu backups", (unsigned long long)n);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t len = cursor_varint(&c);
        const uint8_t *bytes = cursor_read(&c, len);
        char id[BACKUP_ID_LEN + 1] = "";
        if (bytes && len == BACKUP_ID_LEN)
            memcpy(id, bytes, BACKUP_ID_LEN);
        if (!backup_id_valid(id))
            return err_set(err, ERR_DAMAGED, "its table of backup ids is damaged");
        vec_push(&p->intern, reader_intern(r, id));
    }
    return ERR_OK;
}

static ErrCode open_pack_load(MapPackReader *r, OpenPack *p, Err *err)
{
    Buf table AUTO(buf_release) = {0};
    Slice section;
    UnitLens lens = {0};
    const PackInfo *expected =
        r->find ? r->find(r->find_arg, p->backup_id, (PackId){'m', p->number}) : NULL;
    TRY(repo_get_table(r->repo, p->name, KIND_MAPS, &p->info, &table, err));
    if (expected &&
        (expected->facts.size != p->info.size || expected->facts.table_off != p->info.table_off ||
         memcmp(expected->facts.stamp.salt, p->info.salt, SALT_LEN) != 0))
        return err_set(err, ERR_DAMAGED, "it is not the one in its backup's list of packs");
    TRY(table_find(&table, SECTION_LEN, &section, err));
    TRY(unit_lens_parse(section, p->info.units, p->info.table_off, &lens, err));
    uint64_t off = sizeof(ObjectHeader);
    for (size_t i = 0; i < lens.n; off += lens.at[i++])
        vec_push(&p->offs, off);
    vec_push(&p->offs, off);
    vec_release(&lens);
    p->units = unit_reader_new(&p->info, p->name);
    return open_pack_ids(r, p, &table, err);
}

static ErrCode reader_pack(MapPackReader *r, const char *backup_id, uint32_t number, OpenPack **ret,
                           Err *err)
{
    int oldest = 0;
    for (int i = 0; i < OPEN_PACKS; i++) {
        OpenPack *p = r->open[i];
        if (p && p->number == number && strcmp(p->backup_id, backup_id) == 0) {
            p->used = ++r->clock;
            *ret = p;
            return ERR_OK;
        }
        if (!p || (r->open[oldest] && p->used < r->open[oldest]->used))
            oldest = i;
    }
    OpenPack *p AUTO(open_pack_freep) = NEW(OpenPack);
    p->backup_id = mem_strdup(backup_id);
    p->number = number;
    p->name = pack_name(backup_id, (PackId){.kind = 'm', .number = number});
    p->unit = UINT64_MAX;
    p->used = ++r->clock;
    if (open_pack_load(r, p, err) != ERR_OK)
        return err_wrap(err, "map pack '%s/%s'", r->repo->cluster, p->name);
    open_pack_free(r->open[oldest]);
    *ret = r->open[oldest] = steal_ptr(&p);
    return ERR_OK;
}

static ErrCode pack_unit(MapPackReader *r, OpenPack *p, uint64_t unit, Err *err)
{
    if (p->unit == unit)
        return ERR_OK;
    if (unit + 1 >= p->offs.n)
        return err_set(err, ERR_DAMAGED, "a map lies behind the end of the pack");
    size_t len = (size_t)(p->offs.at[unit + 1] - p->offs.at[unit]);
    r->scratch.len = 0;
    TRY(repo_get_range(r->repo, p->name, p->offs.at[unit], buf_reserve(&r->scratch, len), len,
                       err));
    p->unit = UINT64_MAX;
    p->raw.len = 0;
    TRY(unit_reader_append(p->units, r->decompressor, unit, r->scratch.data, len, &p->raw, err));
    p->unit = unit;
    return ERR_OK;
}

static ErrCode pack_map(MapPackReader *r, OpenPack *p, const MapRef *ref, FileMap *ret, Err *err)
{
    if (ref->len > MAP_LEN_MAX)
        return err_set(err, ERR_LIMIT, "a map of %llu bytes", (unsigned long long)ref->len);
    r->bytes.len = 0;
    for (uint64_t off = ref->off, left = ref->len; left;) {
        TRY(pack_unit(r, p, off / UNIT_RAW_MAX, err));
        size_t in = (size_t)(off % UNIT_RAW_MAX);
        if (in >= p->raw.len)
            return err_set(err, ERR_DAMAGED, "a map lies behind the end of the pack");
        size_t n = (size_t)MIN(left, (uint64_t)(p->raw.len - in));
        buf_append(&r->bytes, p->raw.data + in, n);
        off += n;
        left -= n;
    }
    TRY(file_map_decode(r->bytes.data, r->bytes.len, ret, err));
    for (size_t i = 0; i < ret->sources.n; i++) {
        if (ret->sources.at[i].backup >= p->intern.n)
            return err_set(err, ERR_DAMAGED, "a map names a backup that its pack does not");
        ret->sources.at[i].backup = p->intern.at[ret->sources.at[i].backup];
    }
    if (ret->patch && ret->base_backup >= p->intern.n)
        return err_set(err, ERR_DAMAGED, "a map names a backup that its pack does not");
    if (ret->patch)
        ret->base_backup = p->intern.at[ret->base_backup];
    return ERR_OK;
}

static ErrCode reader_map(MapPackReader *r, const char *backup_id, const MapRef *ref, FileMap *ret,
                          Err *err)
{
    OpenPack *p = NULL;
    TRY(reader_pack(r, backup_id, ref->pack, &p, err));
    if (pack_map(r, p, ref, ret, err) != ERR_OK)
        return err_wrap(err, "map pack '%s/%s'", r->repo->cluster, p->name);
    return ERR_OK;
}

void map_base_release(MapBase *b)
{
    file_map_release(&b->map);
    *b = (MapBase){.patched = false};
}

static ErrCode reader_get(MapPackReader *r, const char *backup_id, const MapRef *ref, FileMap *ret,
                          MapBase *ret_base, Err *err)
{
    FileMap map AUTO(file_map_release) = {0};
    MapBase base AUTO(map_base_release) = {.at = *ref};
    TRY(reader_map(r, backup_id, ref, &map, err));
    base.patched = map.patch;
    base.backup = map.patch ? map.base_backup : reader_intern(r, backup_id);
    file_map_release(ret);
    if (map.patch) {
        base.at = (MapRef){.pack = map.base_pack, .off = map.base_off, .len = map.base_len};
        TRY(reader_map(r, r->ids.at[base.backup], &base.at, &base.map, err));
        if (base.map.patch)
            return err_set(err, ERR_DAMAGED, "a map is a patch of a patch");
        file_map_join(&base.map, &map, ret);
    } else {
        *ret = map;
        map = (FileMap){0};
    }
    map_base_release(ret_base);
    *ret_base = base;
    base = (MapBase){.patched = false};
    return ERR_OK;
}

ErrCode map_pack_reader_get_base(MapPackReader *r, const char *backup_id, const MapRef *ref,
                                 FileMap *ret, MapBase *ret_base, Err *err)
{
    ErrCode rc = reader_get(r, backup_id, ref, ret, ret_base, err);
    if (rc != ERR_OK && repo_reads_again(r->repo, err))
        rc = reader_get(r, backup_id, ref, ret, ret_base, err);
    return rc;
}

/* The fallback's maps number backups in their own way. */
static ErrCode reader_get_elsewhere(MapPackReader *r, const char *backup_id, const MapRef *ref,
                                    FileMap *ret, Err *err)
{
    if (!r->fallback)
        r->fallback = map_pack_reader_new(r->repo->fallback, NULL, NULL);
    TRY(map_pack_reader_get(r->fallback, backup_id, ref, ret, err));
    for (size_t i = 0; i < ret->sources.n; i++) {
        const char *id = r->fallback->ids.at[ret->sources.at[i].backup];
        ret->sources.at[i].backup = reader_intern(r, id);
    }
    return ERR_OK;
}

ErrCode map_pack_reader_get(MapPackReader *r, const char *backup_id, const MapRef *ref,
                            FileMap *ret, Err *err)
{
    if (!r->repo->fallback || !atomic_load(&r->repo->down)) {
        MapBase base AUTO(map_base_release) = {.patched = false};
        ErrCode rc = map_pack_reader_get_base(r, backup_id, ref, ret, &base, err);
        if (rc == ERR_OK || !repo_falls_back(r->repo, err))
            return rc;
    }
    return reader_get_elsewhere(r, backup_id, ref, ret, err);
}
