#include <string.h>

#include "lib/common/bytes.h"
#include "lib/repo/pack.h"

#define FILES_RAW_MAX (64 * MIB)

void pack_table_free(PackTable *t)
{
    if (!t)
        return;
    free(t->backup_id);
    free(t->name);
    free(t->unit_off);
    free(t->unit_slot);
    buf_release(&t->table);
    free(t);
}

static ErrCode table_units(PackTable *t, Err *err)
{
    Slice section;
    UnitLens lens = {0};
    uint32_t units = t->info.units;
    TRY(table_find(&t->table, SECTION_LEN, &section, err));
    TRY(unit_lens_parse(section, units, t->info.table_off, &lens, err));
    t->unit_off = mem_new(((size_t)units + 1) * sizeof(*t->unit_off));
    uint64_t off = sizeof(ObjectHeader);
    for (uint32_t i = 0; i < units; off += lens.at[i++])
        t->unit_off[i] = off;
    t->unit_off[units] = off;
    vec_release(&lens);
    return ERR_OK;
}

static ErrCode table_slots(PackTable *t, Err *err)
{
    Slice section;
    TRY(table_find(&t->table, SECTION_SLOTS, &section, err));
    Cursor c = cursor_of(section.data, section.len);
    uint32_t unit = 0;
    uint64_t slot = 0;
    t->unit_slot = mem_new(((size_t)t->info.units + 1) * sizeof(*t->unit_slot));
    while (cursor_left(&c) && !c.bad) {
        uint64_t units = cursor_varint(&c), slots = cursor_varint(&c);
        if (c.bad || units > t->info.units - unit || slots > UNIT_RAW_MAX / KIB)
            return err_set(err, ERR_DAMAGED, "the slots of the units are damaged");
        for (; units; units--, slot += slots)
            t->unit_slot[unit++] = slot;
    }
    t->unit_slot[unit] = slot;
    if (c.bad || unit != t->info.units || slot != t->info.slots)
        return err_set(err, ERR_DAMAGED, "the slots of the units do not add up");
    TRY(table_find(&t->table, SECTION_PAGE, &section, err));
    c = cursor_of(section.data, section.len);
    t->page_size = (size_t)cursor_varint(&c);
    if (c.bad || t->page_size > UNIT_RAW_MAX || (slot && !t->page_size))
        return err_set(err, ERR_DAMAGED, "the page size is damaged");
    TRY(table_find(&t->table, SECTION_HASH, &t->hashes, err));
    if (t->hashes.len % 8 != 0 || t->hashes.len / 8 < t->info.slots)
        return err_set(err, ERR_DAMAGED, "there are fewer page hashes than slots");
    t->n_small = t->hashes.len / 8 - t->info.slots;
    return ERR_OK;
}

static PackTable *table_new(const char *backup_id, PackId id)
{
    PackTable *t = NEW(PackTable);
    t->backup_id = mem_strdup(backup_id);
    t->id = id;
    t->name = pack_name(backup_id, id);
    return t;
}

static ErrCode table_complete(PackTable *t, Err *err)
{
    TRY(table_units(t, err));
    TRY(table_slots(t, err));
    t->memory = sizeof(*t) + t->table.cap + 16 * ((size_t)t->info.units + 1);
    return ERR_OK;
}

/* The stored table at the place and with the digest that the list of packs gives. */
static ErrCode table_load_expected(PackTable *t, Repo *repo, const PackInfo *expected, Err *err)
{
    const ObjectFacts *f = &expected->facts;
    const RepoKey *key = repo_keys_find(&repo->keys, f->stamp.key_id);
    if (!key)
        return err_set(err, ERR_WRONG_KEY,
                       "it was written under a key that this repository does "
                       "not have");
    t->info = (ObjectInfo){.key = key,
                           .cipher = key->cipher,
                           .size = f->size,
                           .table_off = f->table_off,
                           .table_len = f->table_len,
                           .units = expected->units,
                           .slots = expected->slots};
    memcpy(t->info.salt, f->stamp.salt, SALT_LEN);
    Buf stored AUTO(buf_release) = {0};
    uint8_t sha[SHA256_LEN];
    TRY(repo_get_range(repo, t->name, f->table_off, buf_reserve(&stored, f->table_len),
                       f->table_len, err));
    sha256_of(stored.data, f->table_len, sha);
    if (memcmp(sha, f->table_sha256, SHA256_LEN) != 0)
        return err_set(err, ERR_DAMAGED, "its table is not the one in its backup's list of packs");
    UnitReader *units AUTO(unit_reader_freep) = unit_reader_new(&t->info, t->name);
    return unit_reader_table(units, stored.data, f->table_len, &t->table, err);
}

ErrCode pack_table_load(Repo *repo, const char *backup_id, PackId id, const PackInfo *expected,
                        PackTable **ret, Err *err)
{
    PackTable *t AUTO(pack_table_freep) = table_new(backup_id, id);
    ErrCode rc = expected ? table_load_expected(t, repo, expected, err)
                          : repo_get_table(repo, t->name, KIND_PACK, &t->info, &t->table, err);
    if (rc == ERR_OK)
        rc = table_complete(t, err);
    if (rc != ERR_OK)
        return err_wrap(err, "pack '%s/%s'", repo->cluster, t->name);
    *ret = steal_ptr(&t);
    return ERR_OK;
}

ErrCode pack_table_parse(Repo *repo, const char *backup_id, PackId id, const void *data, size_t len,
                         PackTable **ret, Err *err)
{
    PackTable *t AUTO(pack_table_freep) = table_new(backup_id, id);
    TRY(object_parse(&repo->keys, data, len, KIND_PACK, &t->info, err));
    UnitReader *units AUTO(unit_reader_freep) = unit_reader_new(&t->info, t->name);
    TRY(unit_reader_table(units, (const uint8_t *)data + t->info.table_off, t->info.table_len,
                          &t->table, err));
    TRY(table_complete(t, err));
    *ret = steal_ptr(&t);
    return ERR_OK;
}

uint32_t pack_table_unit_of(const PackTable *t, uint64_t slot)
{
    /* The last unit whose first slot is not behind `slot` (units without slots share a start). */
    uint32_t lo = 0, hi = t->info.units;
    while (hi - lo > 1) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (t->unit_slot[mid] <= slot)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

uint64_t pack_table_hash(const PackTable *t, uint64_t slot)
{
    return get_u64((const uint8_t *)t->hashes.data + slot * 8);
}

uint64_t pack_table_small_hash(const PackTable *t, uint64_t index)
{
    return get_u64((const uint8_t *)t->hashes.data + (t->info.slots + index) * 8);
}

/* --- owners --- */

static ErrCode owners_files(const PackTable *t, StrList *files, Err *err)
{
    Slice section;
    size_t raw_len;
    TRY(table_find(&t->table, SECTION_FILES, &section, err));
    TRY(frame_raw_size(section.data, section.len, FILES_RAW_MAX, &raw_len, err));
    Buf raw AUTO(buf_release) = {0};
    Decompressor *d AUTO(decompressor_freep) = decompressor_new();
    TRY(decompressor_run(d, section.data, section.len, buf_reserve(&raw, raw_len), raw_len, err));
    Cursor c = cursor_of(raw.data, raw_len);
    uint64_t n = cursor_varint(&c);
    for (uint64_t i = 0; i < n && !c.bad; i++) {
        uint64_t len = cursor_varint(&c);
        const uint8_t *path = cursor_read(&c, len);
        if (path)
            vec_push(files, mem_strndup((const char *)path, (size_t)len));
    }
    if (c.bad || cursor_left(&c))
        return err_set(err, ERR_DAMAGED, "the list of files is damaged");
    return ERR_OK;
}

typedef struct OwnerWalk {
    Cursor c;
    size_t n_files;
    VEC(uint64_t) ends; /* per file: the page behind its last run */
    uint64_t slot, small;
} OwnerWalk;

/* Runs that cover the slots up to `until`. */
static bool owners_pages(OwnerWalk *w, uint64_t until, PackOwners *out)
{
    while (w->slot < until) {
        uint64_t file = cursor_varint(&w->c);
        int64_t delta = cursor_zigzag(&w->c);
        uint64_t n = cursor_varint(&w->c);
        if (w->c.bad || file >= w->n_files || n == 0 || n > until - w->slot)
            return false;
        uint64_t first = w->ends.at[file] + (uint64_t)delta;
        vec_push(out, (PackOwner){.file = (uint32_t)file, .first = first, .n = n, .slot = w->slot});
        w->ends.at[file] = first + n;
        w->slot += n;
    }
    return true;
}

static bool owners_small(OwnerWalk *w, uint32_t unit, uint64_t n_small, PackOwners *out)
{
    uint64_t n = cursor_varint(&w->c);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t file = cursor_varint(&w->c), off = cursor_varint(&w->c);
        uint64_t len = cursor_varint(&w->c);
        if (w->c.bad || file >= w->n_files || w->small >= n_small || off > UNIT_RAW_MAX ||
            len > UNIT_RAW_MAX - off)
            return false;
        vec_push(out, (PackOwner){.file = (uint32_t)file,
                                  .first = off,
                                  .n = len,
                                  .slot = w->small++,
                                  .unit = unit,
                                  .small = true});
    }
    return !w->c.bad;
}

ErrCode pack_table_owners(const PackTable *t, StrList *files, PackOwners *owners, Err *err)
{
    Slice section;
    TRY(owners_files(t, files, err));
    TRY(table_find(&t->table, SECTION_OWNER, &section, err));
    OwnerWalk w = {.c = cursor_of(section.data, section.len), .n_files = files->n};
    vec_reserve(&w.ends, files->n);
    for (size_t i = 0; i < files->n; i++)
        w.ends.at[i] = 0;
    bool good = true;
    for (uint32_t unit = 0; unit < t->info.units && good;) {
        if (t->unit_slot[unit + 1] == t->unit_slot[unit]) {
            good = owners_small(&w, unit, t->n_small, owners);
            unit++;
            continue;
        }
        while (unit < t->info.units && t->unit_slot[unit + 1] > t->unit_slot[unit])
            unit++;
        good = owners_pages(&w, t->unit_slot[unit], owners);
    }
    good = good && !cursor_left(&w.c) && w.small == t->n_small;
    vec_release(&w.ends);
    if (!good)
        return err_set(err, ERR_DAMAGED, "the owners of the slots are damaged");
    return ERR_OK;
}
