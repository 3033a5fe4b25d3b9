#include "archive/reuse.h"

#include <pthread.h>
#include <string.h>

#include "lib/common/log.h"
#include "lib/common/workers.h"

#define TABLES_MEMORY (48 * MIB)
#define READER_MEMORY (256 * KIB) /* nothing but tables is read */

struct Reuse {
    ReuseSpec spec;
    Repo *repo;
    uint32_t page_size;
    char parent[BACKUP_ID_LEN + 1]; /* "": none */
    PacksList packs;                /* the parent's */
    uint32_t left;                  /* the interrupted backup's number among the ids */
    PackUses uses;
    PackTables *tables;
    MapPackReader *maps;
    pthread_mutex_t lock;
    VEC(OldPages) notes;
};

void reuse_free(Reuse *r)
{
    if (!r)
        return;
    map_pack_reader_free(r->maps);
    pack_tables_free(r->tables);
    pack_uses_release(&r->uses);
    packs_list_release(&r->packs);
    for (size_t i = 0; i < r->notes.n; i++)
        vec_release(&r->notes.at[i].of);
    vec_release(&r->notes);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

PackUses *reuse_packs(Reuse *r)
{
    return r ? &r->uses : NULL;
}

static const PackInfo *find_info(void *arg, const char *backup_id, PackId id)
{
    const Reuse *r = arg;
    return strcmp(backup_id, r->parent) == 0 ? packs_list_find(&r->packs, id) : NULL;
}

/* --- the parent's manifest --- */

/* The manifest's numbers of backups to ours; UINT32_MAX for one that its packs list does not name.
 */
typedef VEC(uint32_t) Numbers;

static void read_numbers(const Reuse *r, const ManifestHeader *h, Numbers *ret)
{
    for (size_t i = 0; i < h->ids.n; i++)
        vec_push(ret, pack_uses_backup(&r->uses, h->ids.at[i]));
}

/* A file of another size may share pages, where it has whole ones; a small one cannot be equal. */
static bool may_share(const Reuse *r, const BackupFile *f, const FileEntry *e)
{
    if (e->place == PLACE_SMALL)
        return f->size == e->size;
    return e->place == PLACE_MAP && (f->size == e->size || e->size % r->page_size == 0);
}

static void enter_place(const Reuse *r, const Numbers *numbers, BackupFile *f, const FileEntry *e)
{
    if (f->kind != FILE_REGULAR || e->kind != FILE_REGULAR || !may_share(r, f, e) ||
        e->backup >= numbers->n || numbers->at[e->backup] == UINT32_MAX)
        return;
    f->place = (uint8_t)e->place;
    f->backup = numbers->at[e->backup];
    f->pack = e->pack;
    f->off = e->off;
    f->map_len = e->map_len;
    f->unit = e->unit;
    f->small = e->small;
}

/* Both are sorted by path. */
static ErrCode join_manifest(const Reuse *r, ManifestReader *reader, BackupFiles *files, Err *err)
{
    Numbers numbers = {0};
    ErrCode rc = ERR_OK;
    size_t at = 0;
    read_numbers(r, manifest_reader_header(reader), &numbers);
    for (bool end = false; rc == ERR_OK && !end;) {
        FileEntry e;
        rc = cancel_check(err);
        if (rc == ERR_OK)
            rc = manifest_reader_next(reader, &e, &end, err);
        if (rc != ERR_OK || end)
            break;
        while (at < files->files.n && strcmp(files->files.at[at].path, e.path) < 0)
            at++;
        if (at < files->files.n && strcmp(files->files.at[at].path, e.path) == 0)
            enter_place(r, &numbers, &files->files.at[at], &e);
    }
    vec_release(&numbers);
    return rc;
}

static void forget_places(BackupFiles *files)
{
    for (size_t i = 0; i < files->files.n; i++)
        reuse_take(&files->files.at[i]);
}

static ErrCode open_parent(Reuse *r, Err *err)
{
    const BackupSummary *parent = r->spec.parent;
    ManifestReader *reader AUTO(manifest_reader_closep) = NULL;
    memcpy(r->parent, parent->id, sizeof(r->parent));
    TRY(packs_list_get(r->repo, parent->id, &parent->packs, &r->packs, err));
    pack_uses_add_parent(&r->uses, parent->id, parent->number, &r->packs);
    TRY(manifest_reader_open(r->repo, parent->id, &parent->manifest, &reader, err));
    if (manifest_reader_header(reader)->block_size != r->page_size)
        return err_set(err, ERR_MISMATCH, "backup %s has pages of another size", parent->id);
    return join_manifest(r, reader, r->spec.files, err);
}

/* --- what an interrupted backup has --- */

/* It has stored a small file only because the parent has another. */
static void enter_left_small(const Reuse *r)
{
    const Leftover *l = r->spec.left;
    for (size_t i = 0; i < l->runs.n; i++) {
        const LeftRun *run = &l->runs.at[i];
        BackupFile *f = &r->spec.files->files.at[run->file];
        if (!run->small || f->kind != FILE_REGULAR || f->size != run->n)
            continue;
        f->place = PLACE_SMALL;
        f->backup = r->left;
        f->pack = run->pack;
        f->off = run->first;
        f->unit = run->unit;
        f->small = (uint32_t)run->slot;
    }
}

static ErrCode open_left(Reuse *r, Err *err)
{
    Leftover *l = r->spec.left;
    uint64_t number = r->spec.parent ? r->spec.parent->number + 1 : 0;
    TRY(leftover_read(r->repo, r->page_size, r->spec.files, l, err));
    pack_uses_add_backup(&r->uses, l->id, &r->left);
    for (size_t i = 0; i < l->packs.n; i++)
        pack_uses_add_pack(&r->uses, r->left, number, l->packs.at[i].id, l->packs.at[i].size,
                           l->packs.at[i].slots);
    enter_left_small(r);
    return ERR_OK;
}

/* The pages of a file that it has, as a patch. */
static void left_pages(const Reuse *r, const BackupFile *f, FileMap *ret)
{
    size_t n;
    uint64_t page = 0;
    const LeftRun *runs = leftover_runs(r->spec.left, (size_t)(f - r->spec.files->files.at), &n);
    for (size_t i = 0; i < n; i++) {
        const LeftRun *run = &runs[i];
        uint64_t skip = run->first < page ? page - run->first : 0;
        if (run->small || skip >= run->n)
            continue;
        file_map_add(ret, run->first + skip, run->n - skip, (MapSource){r->left, run->pack},
                     run->slot + skip);
        page = run->first + run->n;
    }
    ret->patch = true;
    ret->pages = page;
}

static ErrCode open_all(Reuse *r, Err *err)
{
    pack_uses_init(&r->uses, r->spec.self);
    if (r->spec.parent)
        TRY(open_parent(r, err));
    if (*r->spec.left->id)
        TRY(open_left(r, err));
    pack_uses_sort(&r->uses);
    r->tables = pack_tables_new(r->repo, TABLES_MEMORY, find_info, r);
    r->maps = map_pack_reader_new(r->repo, find_info, r);
    return ERR_OK;
}

ErrCode reuse_open(const ReuseSpec *spec, Reuse **ret, Err *err)
{
    Reuse *r AUTO(reuse_freep) = NEW(Reuse);
    r->spec = *spec;
    r->repo = spec->repo;
    r->page_size = spec->page_size;
    pthread_mutex_init(&r->lock, NULL);
    if (open_all(r, err) != ERR_OK) {
        forget_places(spec->files);
        return err->code;
    }
    *ret = steal_ptr(&r);
    return ERR_OK;
}

OldPlace reuse_take(BackupFile *f)
{
    OldPlace old = {.place = PLACE_NONE};
    if (f->backup)
        old = (OldPlace){.place = (FilePlace)f->place,
                         .backup = f->backup,
                         .pack = f->pack,
                         .unit = f->unit,
                         .small = f->small,
                         .off = f->off,
                         .map_len = f->map_len,
                         .size = f->size};
    f->place = PLACE_NONE;
    f->backup = 0;
    return old;
}

/* --- maps --- */

void old_map_free(OldMap *m)
{
    if (!m)
        return;
    file_map_release(&m->map);
    file_map_release(&m->own);
    map_base_release(&m->base);
    free(m->uses);
    free(m);
}
DEFINE_FREEP(OldMap, old_map_free)

static ErrCode renumber(Reuse *r, uint32_t *backup, Err *err)
{
    const char *id = map_pack_reader_ids(r->maps)->at[*backup];
    *backup = pack_uses_backup(&r->uses, id);
    if (*backup == UINT32_MAX)
        return err_set(err, ERR_DAMAGED, "its map leads to backup %s, its list of packs does not",
                       id);
    return ERR_OK;
}

static ErrCode find_pack(const Reuse *r, uint32_t backup, PackId id, PackUse **ret, Err *err)
{
    *ret = pack_uses_find(&r->uses, backup, id);
    if (!*ret)
        return err_set(err, ERR_DAMAGED, "its map leads to %c%u of backup %s, its list does not",
                       id.kind, id.number, r->uses.ids.at[backup]);
    return ERR_OK;
}

static ErrCode renumber_all(Reuse *r, FileMap *map, Err *err)
{
    for (size_t i = 0; i < map->sources.n; i++)
        TRY(renumber(r, &map->sources.at[i].backup, err));
    return ERR_OK;
}

static ErrCode read_parents(Reuse *r, const OldPlace *old, OldMap *m, Err *err)
{
    PackUse *map_pack;
    const char *id = r->uses.ids.at[old->backup];
    m->backup = old->backup;
    m->at = (MapRef){.pack = old->pack, .off = old->off, .len = old->map_len};
    TRY(map_pack_reader_get_base(r->maps, id, &m->at, &m->own, &m->base, err));
    TRY(renumber_all(r, &m->own, err));
    TRY(renumber_all(r, &m->base.map, err));
    TRY(renumber(r, &m->base.backup, err));
    TRY(find_pack(r, m->backup, (PackId){'m', m->at.pack}, &map_pack, err));
    TRY(find_pack(r, m->base.backup, (PackId){'m', m->base.at.pack}, &m->base_pack, err));
    m->map_pack = map_pack;
    return ERR_OK;
}

static ErrCode find_packs(Reuse *r, OldMap *m, Err *err)
{
    m->uses = mem_zero((m->map.sources.n + 1) * sizeof(PackUse *));
    for (size_t i = 0; i < m->map.sources.n; i++) {
        const MapSource *s = &m->map.sources.at[i];
        TRY(find_pack(r, s->backup, (PackId){'d', s->pack}, &m->uses[i], err));
    }
    return ERR_OK;
}

OldMap *reuse_map(Reuse *r, const BackupFile *f, const OldPlace *old)
{
    OldMap *m AUTO(old_map_freep) = NEW(OldMap);
    FileMap left AUTO(file_map_release) = {0};
    Err why = {0};
    ErrCode rc = old->place == PLACE_MAP ? read_parents(r, old, m, &why) : ERR_OK;
    left_pages(r, f, &left);
    left.pages = MAX(left.pages, m->own.pages);
    if (rc == ERR_OK && !left.pages)
        return NULL;
    if (rc == ERR_OK) {
        file_map_join(&m->own, &left, &m->map);
        rc = find_packs(r, m, &why);
    }
    uint64_t whole = m->map.pages * r->page_size;
    m->file_size = f->size <= whole && f->size + r->page_size > whole ? f->size : whole;
    if (rc == ERR_OK)
        return steal_ptr(&m);
    err_wrap(&why, "what older backups have of '%s' is not used", f->path);
    log_err(LOG_WARN, &why);
    return NULL;
}

/* --- what is the same --- */

PageReader *reuse_reader_new(Reuse *r)
{
    return page_reader_new(r->repo, r->tables, READER_MEMORY);
}

/* The pack's own defect: the others are as good as they were. */
static bool is_its_own(ErrCode code)
{
    return code == ERR_DAMAGED || code == ERR_NOT_FOUND || code == ERR_VERSION ||
           code == ERR_WRONG_KEY || code == ERR_LIMIT || code == ERR_IO || code == ERR_ACCESS;
}

ErrCode reuse_pack_failed(Reuse *r, PackUse *pack, Err *err)
{
    if (!is_its_own(err->code))
        return err->code;
    if (!atomic_exchange(&pack->renewed, true)) {
        err_wrap(err, "what lies in %c%u of backup %s is stored anew", pack->id.kind,
                 pack->id.number, r->uses.ids.at[pack->backup]);
        log_err(LOG_WARN, err);
    }
    *err = (Err){0};
    return ERR_OK;
}

ErrCode reuse_small_same(Reuse *r, PageReader *reader, const char *path, const OldPlace *old,
                         const void *data, size_t len, bool *ret_same, Err *err)
{
    PackUse *pack = pack_uses_find(&r->uses, old->backup, (PackId){'d', old->pack});
    FileEntry e = {.path = path,
                   .size = old->size,
                   .place = PLACE_SMALL,
                   .pack = old->pack,
                   .off = old->off,
                   .unit = old->unit,
                   .small = old->small};
    *ret_same = false;
    if (!pack || atomic_load(&pack->renewed))
        return ERR_OK;
    if (page_reader_small_same(reader, r->uses.ids.at[old->backup], &e, data, len, ret_same, err) ==
        ERR_OK)
        return ERR_OK;
    *ret_same = false;
    return reuse_pack_failed(r, pack, err);
}

/* --- what was taken over --- */

void old_pages_add(OldPages *o, PackUse *pack, uint64_t pages)
{
    for (size_t i = o->of.n; i-- > 0;)
        if (o->of.at[i].pack == pack) {
            o->of.at[i].pages += pages;
            return;
        }
    vec_reserve(&o->of, o->of.n + 1);
    o->of.at[o->of.n].pack = pack;
    o->of.at[o->of.n++].pages = pages;
}

void reuse_note(Reuse *r, OldPages *o)
{
    pthread_mutex_lock(&r->lock);
    vec_push(&r->notes, *o);
    pthread_mutex_unlock(&r->lock);
    o->of.at = NULL;
    o->of.n = o->of.cap = 0;
}

static void count_pages(const Reuse *r, const BackupFiles *files)
{
    for (size_t i = 0; i < r->notes.n; i++) {
        const OldPages *o = &r->notes.at[i];
        const BackupFile *f = backup_files_find(files, o->path);
        for (size_t k = 0; k < o->of.n && f && !f->dropped; k++) {
            o->of.at[k].pack->used = true;
            o->of.at[k].pack->live += o->of.at[k].pages;
        }
    }
}

static void count_small(const Reuse *r, const BackupFiles *files)
{
    for (size_t i = 0; i < files->files.n; i++) {
        const BackupFile *f = &files->files.at[i];
        if (f->backup && !f->dropped && f->place == PLACE_SMALL)
            pack_uses_find(&r->uses, f->backup, (PackId){'d', f->pack})->used = true;
    }
}

void reuse_finish(Reuse *r, BackupFiles *files, PacksList *packs, StrList *ret_ids)
{
    uint32_t *numbers AUTO(mem_freep) = mem_zero(r->uses.ids.n * sizeof(*numbers));
    count_pages(r, files);
    count_small(r, files);
    pack_uses_refs(&r->uses, packs);
    vec_push(ret_ids, mem_strdup(r->uses.ids.at[0]));
    for (size_t i = 0; i < packs->refs.n; i++) {
        const char *id = packs->refs.at[i].backup_id;
        numbers[pack_uses_backup(&r->uses, id)] = (uint32_t)ret_ids->n;
        vec_push(ret_ids, mem_strdup(id));
    }
    for (size_t i = 0; i < files->files.n; i++)
        files->files.at[i].backup = numbers[files->files.at[i].backup];
}
