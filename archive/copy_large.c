#include "archive/copy_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/common/file.h"

/* Pages of a file where they ended up. */
#define NO_PACK UINT32_MAX             /* nowhere: zeros */
#define GATHERED_PACK (UINT32_MAX - 1) /* in the unit that is being gathered; slots count in it */
typedef struct CopiedRun {
    uint64_t first, n, slot;
    uint32_t pack;
    PackUse *old; /* a pack of an older backup; NULL: `pack`, of this one */
} CopiedRun;

typedef struct CopiedRange {
    VEC(CopiedRun) runs;
    uint64_t bytes_end; /* in the file, behind the last byte read; 0: nothing */
} CopiedRange;

struct LargeFile {
    BackupFile *file;
    OldMap *old; /* NULL: every page is stored */
    unsigned n_ranges;
    atomic_uint left;
    atomic_bool vanished;
    CopiedRange ranges[];
};

LargeFile *large_new(BackupCopy *c, BackupFile *file)
{
    unsigned n = (unsigned)((file->size + RANGE_RAW - 1) / RANGE_RAW);
    LargeFile *l = mem_zero(sizeof(*l) + n * sizeof(l->ranges[0]));
    OldPlace old = reuse_take(file);
    file->large = true; /* a batch around it must not touch it from now on */
    l->file = file;
    l->n_ranges = n;
    atomic_init(&l->left, n);
    if (c->spec.reuse)
        l->old = reuse_map(c->spec.reuse, file, &old);
    return l;
}

unsigned large_ranges(const LargeFile *l)
{
    return l->n_ranges;
}

static void large_free(LargeFile *l)
{
    for (unsigned i = 0; i < l->n_ranges; i++)
        vec_release(&l->ranges[i].runs);
    old_map_free(l->old);
    free(l);
}

void large_drop_range(LargeFile *l)
{
    if (atomic_fetch_sub(&l->left, 1) == 1)
        large_free(l);
}

/* --- units --- */

static void run_push(CopiedRange *r, CopiedRun run)
{
    CopiedRun *last = r->runs.n ? &r->runs.at[r->runs.n - 1] : NULL;
    if (last && last->pack == run.pack && last->old == run.old &&
        last->first + last->n == run.first &&
        (run.pack == NO_PACK || last->slot + last->n == run.slot))
        last->n += run.n;
    else
        vec_push(&r->runs, run);
}

static ErrCode add_unit(CopyWorker *w, const PackPages *pages, uint64_t *ret_slot, Err *err)
{
    TRY(copy_worker_pack(w, pages->len, pages->n, strlen(pages->path), err));
    return pack_writer_add_pages(w->pack, w->compressor, pages, ret_slot, err);
}

static ErrCode add_stretch(CopyWorker *w, const char *path, uint64_t first, const uint8_t *data,
                           size_t len, CopiedRange *r, Err *err)
{
    uint32_t size = w->copy->spec.page_size;
    PackPages pages = {.path = path,
                       .first = first,
                       .n = (unsigned)((len + size - 1) / size),
                       .page_size = size,
                       .data = data,
                       .len = len};
    uint64_t slot;
    TRY(add_unit(w, &pages, &slot, err));
    run_push(r,
             (CopiedRun){
                 .first = first, .n = pages.n, .slot = slot, .pack = pack_writer_number(w->pack)});
    return ERR_OK;
}

/* Cuts what was read into units; zero pages store nothing. */
static ErrCode add_pages(CopyWorker *w, const char *path, uint64_t first, const uint8_t *data,
                         size_t len, CopiedRange *r, Err *err)
{
    const uint32_t size = w->copy->spec.page_size;
    size_t off = 0;
    while (off < len) {
        size_t end = off;
        while (end < len && end - off < UNIT_RAW && !is_all_zero(data + end, MIN(size, len - end)))
            end = MIN(end + size, len);
        if (end > off) {
            TRY(add_stretch(w, path, first + off / size, data + off, end - off, r, err));
            off = end;
            continue;
        }
        while (end < len && is_all_zero(data + end, MIN(size, len - end)))
            end = MIN(end + size, len);
        run_push(r, (CopiedRun){.first = first + off / size,
                                .n = (end - off + size - 1) / size,
                                .pack = NO_PACK});
        off = end;
    }
    return ERR_OK;
}

/* --- what has changed --- */

/* The unit is full, or the range at its end. */
static ErrCode gathered_store(CopyWorker *w, const char *path, CopiedRange *r, Err *err)
{
    Gathered *g = &w->gathered;
    PackPages pages = {.path = path,
                       .numbers = g->numbers,
                       .n = g->n,
                       .page_size = w->copy->spec.page_size,
                       .data = g->data,
                       .len = g->len};
    uint64_t slot;
    if (!g->n)
        return ERR_OK;
    TRY(add_unit(w, &pages, &slot, err));
    for (size_t i = g->first_run; i < r->runs.n; i++) {
        CopiedRun *run = &r->runs.at[i];
        if (run->pack != GATHERED_PACK)
            continue;
        run->pack = pack_writer_number(w->pack);
        run->slot += slot;
    }
    g->n = 0;
    g->len = 0;
    return ERR_OK;
}

static ErrCode gather_page(CopyWorker *w, const char *path, uint64_t page, const uint8_t *data,
                           size_t len, CopiedRange *r, Err *err)
{
    Gathered *g = &w->gathered;
    if (!g->n)
        g->first_run = r->runs.n;
    run_push(r, (CopiedRun){.first = page, .n = 1, .slot = g->n, .pack = GATHERED_PACK});
    memcpy(g->data + g->len, data, len);
    g->numbers[g->n++] = page;
    g->len += len;
    if (g->len + w->copy->spec.page_size > UNIT_RAW)
        return gathered_store(w, path, r, err);
    return ERR_OK;
}

/*
 * Whether the parent has the page as it is; *ret then says where. A page of a pack that is to be
 * given up is stored again, unless its checksum is wrong: then the parent's is as good.
 */
static ErrCode find_old(CopyWorker *w, const LargeFile *l, uint64_t page, const uint8_t *data,
                        size_t len, bool bad, CopiedRun *ret, bool *ret_same, Err *err)
{
    const MapRun *run = file_map_find(&l->old->map, page);
    *ret_same = false;
    if (!run || !run->source)
        return ERR_OK;
    PackUse *pack = l->old->uses[run->source - 1];
    if (atomic_load(&pack->renewed) && !bad)
        return ERR_OK;
    if (page_reader_same(w->old, page, data, len, ret_same, err) != ERR_OK) {
        *ret_same = false;
        return reuse_pack_failed(w->copy->spec.reuse, pack, err);
    }
    *ret = (CopiedRun){.first = page,
                       .n = 1,
                       .slot = run->slot + (page - run->first),
                       .pack = pack->id.number,
                       .old = pack};
    return ERR_OK;
}

static ErrCode add_changed(CopyWorker *w, const LargeFile *l, uint64_t first, const uint8_t *data,
                           size_t len, CopiedRange *r, Err *err)
{
    const uint32_t size = w->copy->spec.page_size;
    for (size_t off = 0; off < len; off += size) {
        size_t n = MIN(size, len - off);
        uint64_t page = first + off / size;
        CopiedRun old;
        bool same;
        if (is_all_zero(data + off, n)) {
            run_push(r, (CopiedRun){.first = page, .n = 1, .pack = NO_PACK});
            continue;
        }
        TRY(find_old(w, l, page, data + off, n, w->bad[off / size], &old, &same, err));
        if (same)
            run_push(r, old);
        else
            TRY(gather_page(w, l->file->path, page, data + off, n, r, err));
    }
    return ERR_OK;
}

/* --- ranges --- */

/* True when little of the range was in the page cache before: then what reading brings in is
 * dropped again, so that a backup does not push the database's own pages out. */
static bool range_is_cold(CopyWorker *w, int fd, uint64_t off, size_t len)
{
    void *map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, (off_t)off);
    if (map == MAP_FAILED)
        return false;
    size_t pages = (len + IO_ALIGN - 1) / IO_ALIGN, in = 0;
    vec_reserve(&w->resident, pages);
    bool known = mincore(map, len, w->resident.at) == 0;
    munmap(map, len);
    for (size_t i = 0; known && i < pages; i++)
        in += w->resident.at[i] & 1;
    return known && in < pages / 4;
}

static ErrCode begin_old(CopyWorker *w, const LargeFile *l, uint64_t off, uint64_t end, Err *err)
{
    const BackupCopySpec *spec = &w->copy->spec;
    return page_reader_begin(w->old, &l->old->map, &reuse_packs(spec->reuse)->ids, spec->page_size,
                             l->old->file_size, off / spec->page_size,
                             (end + spec->page_size - 1) / spec->page_size, err);
}

static ErrCode copy_range_from(CopyWorker *w, const CopyJob *job, int fd, const char *full,
                               Err *err)
{
    const BackupCopySpec *spec = &w->copy->spec;
    const LargeFile *l = job->large;
    const BackupFile *f = l->file;
    CopiedRange *range = &job->large->ranges[job->range];
    uint64_t off = (uint64_t)job->range * RANGE_RAW;
    uint64_t end = MIN(off + RANGE_RAW, f->size);
    PageCheck check = {.path = f->path,
                       .fd = fd,
                       .page_size = spec->page_size,
                       .rel_seg_blocks = spec->rel_seg_blocks,
                       .checksums = spec->checksums,
                       .suspects = spec->suspects,
                       .bad = w->bad};
    bool cold = range_is_cold(w, fd, off, (size_t)(end - off));
    compressor_restart(w->compressor);
    w->gathered.n = 0;
    w->gathered.len = 0;
    if (l->old)
        TRY(begin_old(w, l, off, end, err));
    while (off < end) {
        size_t want = (size_t)MIN(end - off, READ_SIZE), got;
        uint64_t first = off / spec->page_size;
        TRY(cancel_check(err));
        TRY(file_read_at(fd, w->buf, want, off, &got, full, err));
        if (cold)
            posix_fadvise(fd, (off_t)off, (off_t)got, POSIX_FADV_DONTNEED);
        memset(w->bad, 0, sizeof(w->bad));
        if (f->is_relation)
            TRY(pages_check(&check, first, w->buf, got / spec->page_size, err));
        if (l->old)
            TRY(add_changed(w, l, first, w->buf, got, range, err));
        else
            TRY(add_pages(w, f->path, first, w->buf, got, range, err));
        progress_add(spec->progress, want, 0);
        off += got;
        range->bytes_end = off;
        if (got < want)
            break; /* truncated since it was listed: replay does the same */
    }
    return gathered_store(w, f->path, range, err);
}

/* --- the map --- */

/* All ranges one behind the other; where the file was cut off and grew again behind it there are
 * zeros. The packs of older backups that it leads to are appended. */
static uint64_t join_ranges(const LargeFile *l, FileMap *map, OldPages *old)
{
    uint64_t page = 0, bytes = 0;
    for (unsigned i = 0; i < l->n_ranges; i++) {
        const CopiedRange *r = &l->ranges[i];
        bytes = MAX(bytes, r->bytes_end);
        for (size_t k = 0; k < r->runs.n; k++) {
            const CopiedRun *run = &r->runs.at[k];
            MapSource source = {.backup = run->old ? run->old->backup : 0, .pack = run->pack};
            if (run->first > page)
                file_map_add_zeros(map, page, run->first - page);
            if (run->pack == NO_PACK)
                file_map_add_zeros(map, run->first, run->n);
            else
                file_map_add(map, run->first, run->n, source, run->slot);
            if (run->old)
                old_pages_add(old, run->old, run->n);
            page = run->first + run->n;
        }
    }
    map->pages = page;
    return bytes;
}

/* A patch as long as that would make every reader read much more than one map. */
#define PATCH_PART 8

/* True when *ret says in little what has changed since the base of the parent's map. */
static bool make_patch(const OldMap *old, const FileMap *map, FileMap *ret)
{
    Buf text AUTO(buf_release) = {0};
    file_map_diff(old->base.patched ? &old->base.map : &old->own, map, ret);
    ret->base_backup = old->base.backup;
    ret->base_pack = old->base.at.pack;
    ret->base_off = old->base.at.off;
    ret->base_len = old->base.at.len;
    file_map_encode(ret, &text);
    return text.len <= old->base.at.len / PATCH_PART;
}

static ErrCode put_map(BackupCopy *c, const FileMap *map, MapRef *ret, Err *err)
{
    const StrList *ids = c->spec.reuse ? &reuse_packs(c->spec.reuse)->ids : &c->self;
    pthread_mutex_lock(&c->lock);
    ErrCode rc = map_pack_writer_add(c->maps, map, ids, ret, err);
    pthread_mutex_unlock(&c->lock);
    return rc;
}

/* *ret_backup: whose map pack it lies in. */
static ErrCode place_map(BackupCopy *c, const OldMap *was, const FileMap *map, OldPages *old,
                         MapRef *ret, uint32_t *ret_backup, Err *err)
{
    FileMap patch AUTO(file_map_release) = {0};
    *ret_backup = 0;
    if (!was || !was->map_pack || atomic_load(&was->map_pack->renewed) ||
        atomic_load(&was->base_pack->renewed))
        return put_map(c, map, ret, err);
    if (file_map_equal(&was->own, map)) {
        *ret = was->at;
        *ret_backup = was->backup;
        old_pages_add(old, was->map_pack, 0);
        old_pages_add(old, was->base_pack, 0);
        return ERR_OK;
    }
    if (!make_patch(was, map, &patch))
        return put_map(c, map, ret, err);
    old_pages_add(old, was->base_pack, 0);
    return put_map(c, &patch, ret, err);
}

/* All ranges are there. */
static ErrCode large_complete(BackupCopy *c, const LargeFile *l, Err *err)
{
    FileMap map AUTO(file_map_release) = {0};
    OldPages old = {.path = l->file->path};
    MapRef ref;
    uint32_t backup;
    l->file->size = join_ranges(l, &map, &old);
    if (!map.pages)
        return ERR_OK; /* now empty */
    ErrCode rc = place_map(c, l->old, &map, &old, &ref, &backup, err);
    if (c->spec.reuse)
        reuse_note(c->spec.reuse, &old);
    if (rc != ERR_OK)
        return rc;
    l->file->place = PLACE_MAP;
    l->file->backup = backup;
    l->file->pack = ref.pack;
    l->file->off = ref.off;
    l->file->map_len = ref.len;
    return ERR_OK;
}

ErrCode large_copy_range(CopyWorker *w, const CopyJob *job, Err *err)
{
    LargeFile *l = job->large;
    int fd AUTO(fd_closep) = -1;
    char *full AUTO(mem_freep) = path_join(w->copy->spec.data_dir, l->file->path);
    ErrCode rc = file_open(full, O_RDONLY, 0, &fd, err);
    if (rc == ERR_OK)
        rc = copy_range_from(w, job, fd, full, err);
    else if (rc == ERR_NOT_FOUND) {
        atomic_store(&l->vanished, true);
        rc = ERR_OK;
    }
    if (atomic_fetch_sub(&l->left, 1) != 1)
        return rc;
    /* The last range: nobody else looks at the file any more. */
    if (rc == ERR_OK && atomic_load(&l->vanished))
        l->file->dropped = true;
    else if (rc == ERR_OK)
        rc = large_complete(w->copy, l, err);
    progress_add(w->copy->spec.progress, 0, 1);
    large_free(l);
    return rc;
}
