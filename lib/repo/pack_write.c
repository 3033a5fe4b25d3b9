#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/common/bytes.h"
#include "lib/repo/pack.h"

/* Of PACK_STORED_MAX, kept free for what surrounds the sections and for open runs. */
#define PACK_RESERVE (64 * KIB)
/* The most that a page or a small file adds to a table besides its path: a hash, the longest run.
 */
#define ENTRY_MAX 32

struct PackWriter {
    ObjectWriter *object;
    Compressor *table_compressor;
    const RepoKey *key;
    char *name;
    PackId id;
    uint64_t slots;
    size_t page_size; /* 0: no pages yet */

    Buf slots_rle; /* SECTION_SLOTS so far, without the open group */
    uint64_t group_units;
    unsigned group_slots;

    StrList files;
    VEC(uint64_t) file_ends; /* per file: the page behind its last run */
    size_t file_bytes;

    Buf owner;
    bool run_open;
    uint32_t run_file;
    uint64_t run_first, run_pages;

    Buf hashes, small_hashes;
};

char *pack_name(const char *backup_id, PackId id)
{
    return mem_printf("packs/%s/%u/%c%u", backup_id, id.number / 1000, id.kind, id.number);
}

bool pack_id_parse(const char *text, PackId *ret)
{
    if (text[0] != 'd' && text[0] != 'm')
        return false;
    uint64_t n = 0;
    size_t i = 1;
    for (; text[i] >= '0' && text[i] <= '9' && i < 11; i++)
        n = n * 10 + (uint64_t)(text[i] - '0');
    if (i == 1 || text[i] || n > UINT32_MAX || (text[1] == '0' && i > 2))
        return false;
    *ret = (PackId){.kind = text[0], .number = (uint32_t)n};
    return true;
}

PackWriter *pack_writer_new(void)
{
    PackWriter *w = NEW(PackWriter);
    w->object = object_writer_new(PACK_STORED_MAX + PACK_RESERVE);
    w->table_compressor = compressor_new(3);
    return w;
}

void pack_writer_free(PackWriter *w)
{
    if (!w)
        return;
    object_writer_free(w->object);
    compressor_free(w->table_compressor);
    free(w->name);
    buf_release(&w->slots_rle);
    str_list_release(&w->files);
    vec_release(&w->file_ends);
    buf_release(&w->owner);
    buf_release(&w->hashes);
    buf_release(&w->small_hashes);
    free(w);
}

void pack_writer_begin(PackWriter *w, const RepoKey *key, const char *backup_id, PackId id)
{
    free(w->name);
    w->name = pack_name(backup_id, id);
    w->key = key;
    w->id = id;
    w->slots = 0;
    w->page_size = 0;
    w->slots_rle.len = w->owner.len = w->hashes.len = w->small_hashes.len = 0;
    w->group_units = 0;
    str_list_release(&w->files);
    w->file_ends.n = 0;
    w->file_bytes = 0;
    w->run_open = false;
    object_writer_begin(w->object, key, KIND_PACK, w->name);
}

bool pack_writer_empty(const PackWriter *w)
{
    return object_writer_units(w->object) == 0;
}

uint32_t pack_writer_number(const PackWriter *w)
{
    return w->id.number;
}

bool pack_writer_fits(const PackWriter *w, size_t raw_len, size_t entries, size_t path_bytes)
{
    size_t table = w->slots_rle.len + w->owner.len + w->hashes.len + w->small_hashes.len +
                   w->file_bytes + object_writer_units(w->object) * 5 + entries * ENTRY_MAX +
                   path_bytes;
    return object_writer_len(w->object) + compress_bound(raw_len) + table + PACK_RESERVE <=
           PACK_STORED_MAX;
}

/* --- section by section --- */

static void slots_close_group(PackWriter *w)
{
    if (w->group_units) {
        buf_append_varint(&w->slots_rle, w->group_units);
        buf_append_varint(&w->slots_rle, w->group_slots);
    }
    w->group_units = 0;
}

static void slots_add_unit(PackWriter *w, unsigned slots)
{
    if (w->group_units && w->group_slots != slots)
        slots_close_group(w);
    w->group_slots = slots;
    w->group_units++;
}

/* Files come in runs: the one asked for last is nearly always the one asked for now. */
static uint32_t file_index(PackWriter *w, const char *path)
{
    if (w->files.n && strcmp(w->files.at[w->files.n - 1], path) == 0)
        return (uint32_t)w->files.n - 1;
    vec_push(&w->files, mem_strdup(path));
    vec_push(&w->file_ends, 0);
    w->file_bytes += strlen(path) + 2;
    return (uint32_t)w->files.n - 1;
}

static void owner_close_run(PackWriter *w)
{
    if (!w->run_open)
        return;
    w->run_open = false;
    buf_append_varint(&w->owner, w->run_file);
    buf_append_zigzag(&w->owner, (int64_t)(w->run_first - w->file_ends.at[w->run_file]));
    buf_append_varint(&w->owner, w->run_pages);
    w->file_ends.at[w->run_file] = w->run_first + w->run_pages;
}

static void owner_add_page(PackWriter *w, uint32_t file, uint64_t number)
{
    if (w->run_open && w->run_file == file && w->run_first + w->run_pages == number) {
        w->run_pages++;
        return;
    }
    owner_close_run(w);
    w->run_open = true;
    w->run_file = file;
    w->run_first = number;
    w->run_pages = 1;
}

ErrCode pack_writer_add_pages(PackWriter *w, Compressor *c, const PackPages *p, uint64_t *ret_slot,
                              Err *err)
{
    TRY(object_writer_add(w->object, c, p->data, p->len, NULL, err));
    uint32_t file = file_index(w, p->path);
    w->page_size = p->page_size;
    for (unsigned i = 0; i < p->n; i++) {
        uint64_t number = p->numbers ? p->numbers[i] : p->first + i;
        size_t off = i * p->page_size, len = MIN(p->page_size, p->len - off);
        owner_add_page(w, file, number);
        buf_append_u64(&w->hashes,
                       page_hash(w->key->page_secret, number, (const uint8_t *)p->data + off, len));
    }
    slots_add_unit(w, p->n);
    *ret_slot = w->slots;
    w->slots += p->n;
    return ERR_OK;
}

ErrCode pack_writer_add_small(PackWriter *w, Compressor *c, PackSmall *items, size_t n,
                              const void *data, size_t len, uint32_t *ret_unit, Err *err)
{
    uint32_t unit = object_writer_units(w->object);
    TRY(object_writer_add(w->object, c, data, len, NULL, err));
    owner_close_run(w);
    slots_add_unit(w, 0);
    buf_append_varint(&w->owner, n);
    for (size_t i = 0; i < n; i++) {
        PackSmall *s = &items[i];
        buf_append_varint(&w->owner, file_index(w, s->path));
        buf_append_varint(&w->owner, s->off);
        buf_append_varint(&w->owner, s->len);
        s->index = (uint32_t)(w->small_hashes.len / 8);
        buf_append_u64(&w->small_hashes,
                       page_hash(w->key->page_secret, 0, (const uint8_t *)data + s->off, s->len));
    }
    *ret_unit = unit;
    return ERR_OK;
}

static void append_files(PackWriter *w, Buf *sections)
{
    Buf raw AUTO(buf_release) = {0};
    Buf packed AUTO(buf_release) = {0};
    buf_append_varint(&raw, w->files.n);
    for (size_t i = 0; i < w->files.n; i++) {
        buf_append_varint(&raw, strlen(w->files.at[i]));
        buf_append_str(&raw, w->files.at[i]);
    }
    size_t bound = compress_bound(raw.len);
    packed.len =
        compressor_run(w->table_compressor, raw.data, raw.len, buf_reserve(&packed, bound), bound);
    table_append(sections, SECTION_FILES, packed.data, packed.len);
}

ErrCode pack_writer_finish(PackWriter *w, PackInfo *ret, Err *err)
{
    Buf sections AUTO(buf_release) = {0};
    owner_close_run(w);
    slots_close_group(w);
    table_append(&sections, SECTION_SLOTS, w->slots_rle.data, w->slots_rle.len);
    append_files(w, &sections);
    table_append(&sections, SECTION_OWNER, w->owner.data, w->owner.len);
    buf_append(&w->hashes, w->small_hashes.data, w->small_hashes.len);
    Buf page AUTO(buf_release) = {0};
    buf_append_varint(&page, w->page_size);
    table_append(&sections, SECTION_PAGE, page.data, page.len);
    table_append(&sections, SECTION_HASH, w->hashes.data, w->hashes.len);
    PackInfo info = {.id = w->id, .slots = w->slots, .units = object_writer_units(w->object)};
    TRY(object_writer_finish(w->object, w->slots, &sections, &info.facts, err));
    *ret = info;
    return ERR_OK;
}

ErrCode pack_writer_put(PackWriter *w, Repo *repo, Err *err)
{
    return repo_put(repo, w->name, w->object, STORAGE_CREATE, err);
}
