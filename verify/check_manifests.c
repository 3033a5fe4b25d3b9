#include <string.h>

#include "lib/common/workers.h"
#include "lib/repo/manifest.h"
#include "lib/repo/page_reader.h"
#include "verify/checker.h"

/*
 * Manifests and maps against the packs' own tables: every place that a file is said to lie in must
 * belong to that page of a file of that path. Data is not read again.
 */

#define TABLES_MEMORY (64 * MIB)
#define OWNERS_KEPT 16

/* The owners of one pack, for asking "whose is slot n". */
typedef struct OwnerIndex {
    const PackTable *table;
    StrList files;
    PackOwners owners;
    VEC(uint32_t) small; /* indexes of the small files: ascending by unit and offset */
    uint64_t used;
} OwnerIndex;

typedef struct ManifestChecker {
    Checker *c;
    const CheckedBackup *backup;
    ManifestReader *manifest;
    MapPackReader *maps;
    PackTables *tables;
    OwnerIndex *open[OWNERS_KEPT];
    uint64_t clock;
} ManifestChecker;

static void owner_index_free(ManifestChecker *m, OwnerIndex *x)
{
    if (!x)
        return;
    if (x->table)
        pack_tables_put(m->tables, x->table);
    str_list_release(&x->files);
    vec_release(&x->owners);
    vec_release(&x->small);
    free(x);
}

static const PackInfo *find_info(void *arg, const char *backup_id, PackId id)
{
    const Checker *c = arg;
    for (size_t i = 0; i < c->backups.n; i++)
        if (strcmp(c->backups.at[i].summary->id, backup_id) == 0)
            return packs_list_find(&c->backups.at[i].packs, id);
    return NULL;
}

static ErrCode owner_index_get(ManifestChecker *m, const char *backup_id, uint32_t pack,
                               OwnerIndex **ret, Err *err)
{
    int oldest = 0;
    for (int i = 0; i < OWNERS_KEPT; i++) {
        OwnerIndex *x = m->open[i];
        if (x && x->table->id.number == pack && strcmp(x->table->backup_id, backup_id) == 0) {
            x->used = ++m->clock;
            *ret = x;
            return ERR_OK;
        }
        if (!x || (m->open[oldest] && x->used < m->open[oldest]->used))
            oldest = i;
    }
    owner_index_free(m, m->open[oldest]);
    m->open[oldest] = NULL;
    OwnerIndex *x = NEW(OwnerIndex);
    ErrCode rc = pack_tables_get(m->tables, backup_id, pack, &x->table, err);
    if (rc == ERR_OK)
        rc = pack_table_owners(x->table, &x->files, &x->owners, err);
    if (rc != ERR_OK) {
        owner_index_free(m, x);
        return rc;
    }
    for (size_t i = 0; i < x->owners.n; i++)
        if (x->owners.at[i].small)
            vec_push(&x->small, (uint32_t)i);
    x->used = ++m->clock;
    *ret = m->open[oldest] = x;
    return ERR_OK;
}

/* The run of pages that holds a slot, or NULL. */
static const PackOwner *owner_of_slot(const OwnerIndex *x, uint64_t slot)
{
    /* Page runs are ascending by slot; small files lie between them with numbers of their own. */
    size_t lo = 0, hi = x->owners.n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2, at = mid;
        while (at < hi && x->owners.at[at].small)
            at++;
        if (at == hi || x->owners.at[at].slot > slot)
            hi = mid;
        else if (x->owners.at[at].slot + x->owners.at[at].n <= slot)
            lo = at + 1;
        else
            return &x->owners.at[at];
    }
    return NULL;
}

static ErrCode check_run(ManifestChecker *m, const char *path, const MapRun *run,
                         const char *backup_id, uint32_t pack, Err *err)
{
    OwnerIndex *x;
    TRY(owner_index_get(m, backup_id, pack, &x, err));
    for (uint64_t done = 0; done < run->pages;) {
        const PackOwner *o = owner_of_slot(x, run->slot + done);
        uint64_t page = run->first + done;
        if (!o || strcmp(x->files.at[o->file], path) != 0 ||
            o->first + (run->slot + done - o->slot) != page)
            return err_set(err, ERR_DAMAGED,
                           "its map says that page %llu lies in slot %llu of "
                           "'%s', which holds something else",
                           (unsigned long long)page, (unsigned long long)(run->slot + done),
                           x->table->name);
        done += MIN(run->pages - done, o->slot + o->n - (run->slot + done));
    }
    return ERR_OK;
}

static ErrCode check_map(ManifestChecker *m, const FileEntry *e, Err *err)
{
    const ManifestHeader *h = manifest_reader_header(m->manifest);
    FileMap map AUTO(file_map_release) = {0};
    MapRef ref = {.pack = e->pack, .off = e->off, .len = e->map_len};
    TRY(map_pack_reader_get(m->maps, h->ids.at[e->backup], &ref, &map, err));
    if (map.pages != (e->size + h->block_size - 1) / h->block_size)
        return err_set(err, ERR_DAMAGED, "its map has %llu pages, its size is %llu bytes",
                       (unsigned long long)map.pages, (unsigned long long)e->size);
    const StrList *ids = map_pack_reader_ids(m->maps);
    for (size_t i = 0; i < map.runs.n; i++) {
        const MapRun *r = &map.runs.at[i];
        if (!r->source)
            continue;
        const MapSource *s = &map.sources.at[r->source - 1];
        TRY(check_run(m, e->path, r, ids->at[s->backup], s->pack, err));
    }
    return ERR_OK;
}

static const PackOwner *owner_of_small(const OwnerIndex *x, uint32_t unit, uint64_t off)
{
    size_t lo = 0, hi = x->small.n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const PackOwner *o = &x->owners.at[x->small.at[mid]];
        if (o->unit == unit && o->first == off)
            return o;
        if (o->unit < unit || (o->unit == unit && o->first < off))
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

static ErrCode check_small(ManifestChecker *m, const FileEntry *e, Err *err)
{
    const ManifestHeader *h = manifest_reader_header(m->manifest);
    OwnerIndex *x;
    TRY(owner_index_get(m, h->ids.at[e->backup], e->pack, &x, err));
    const PackOwner *o = owner_of_small(x, e->unit, e->off);
    if (o && o->n == e->size && strcmp(x->files.at[o->file], e->path) == 0 && o->slot == e->small)
        return ERR_OK;
    return err_set(err, ERR_DAMAGED, "'%s' does not hold it in unit %u", x->table->name, e->unit);
}

static ErrCode check_entry(ManifestChecker *m, const FileEntry *e, Err *err)
{
    ErrCode rc = e->place == PLACE_MAP     ? check_map(m, e, err)
                 : e->place == PLACE_SMALL ? check_small(m, e, err)
                                           : ERR_OK;
    if (rc == ERR_OK || !checker_is_finding(rc))
        return rc;
    StrList ids AUTO(str_list_release) = {0};
    vec_push(&ids, mem_strdup(m->backup->summary->id));
    err_wrap(err, "'%s'", e->path);
    char *name AUTO(mem_freep) = backup_object_name(m->backup->summary->id, "manifest");
    checker_found_err(m->c, name, err, &ids);
    return ERR_OK;
}

static ErrCode check_entries(ManifestChecker *m, Err *err)
{
    for (;;) {
        FileEntry e;
        bool end;
        TRY(cancel_check(err));
        TRY(manifest_reader_next(m->manifest, &e, &end, err));
        if (end)
            return ERR_OK;
        TRY(check_entry(m, &e, err));
        m->c->result.files += e.kind == FILE_REGULAR;
        progress_add(m->c->spec->progress, e.size, 1);
    }
}

static ErrCode check_manifest(Checker *c, const CheckedBackup *b, Err *err)
{
    ManifestChecker m = {.c = c, .backup = b};
    m.tables = pack_tables_new(c->repo, TABLES_MEMORY, find_info, c);
    m.maps = map_pack_reader_new(c->repo, find_info, c);
    ErrCode rc =
        manifest_reader_open(c->repo, b->summary->id, &b->summary->manifest, &m.manifest, err);
    if (rc == ERR_OK)
        rc = check_entries(&m, err);
    for (int i = 0; i < OWNERS_KEPT; i++)
        owner_index_free(&m, m.open[i]);
    manifest_reader_close(m.manifest);
    map_pack_reader_free(m.maps);
    pack_tables_free(m.tables);
    if (rc == ERR_OK || !checker_is_finding(rc))
        return rc;
    StrList ids AUTO(str_list_release) = {0};
    vec_push(&ids, mem_strdup(b->summary->id));
    char *name AUTO(mem_freep) = backup_object_name(b->summary->id, "manifest");
    checker_found_err(c, name, err, &ids);
    return ERR_OK;
}

ErrCode check_manifests(Checker *c, Err *err)
{
    uint64_t bytes = 0, files = 0;
    for (size_t i = 0; i < c->backups.n; i++) {
        bytes += c->backups.at[i].summary->size;
        files += c->backups.at[i].summary->files;
    }
    progress_begin(c->spec->progress, "checking manifests", bytes, files);
    for (size_t i = 0; i < c->backups.n; i++)
        TRY(check_manifest(c, &c->backups.at[i], err));
    return ERR_OK;
}
