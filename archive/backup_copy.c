#include "archive/backup_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/common/file.h"
#include "lib/common/log.h"
#include "lib/common/workers.h"

#define READ_SIZE (1 * MIB)
#define UNIT_RAW (128 * KIB)
#define BATCH_NAMES (1 * MIB) /* of the paths of files that share a unit: they go into its pack */
#define RANGE_RAW (64 * MIB)  /* of one file, for one worker */
#define IO_ALIGN 4096

/* Pages of a file where they ended up; `pack` is NO_PACK for zeros. */
#define NO_PACK UINT32_MAX
typedef struct CopiedRun {
    uint64_t first, n, slot;
    uint32_t pack;
} CopiedRun;

typedef struct CopiedRange {
    VEC(CopiedRun) runs;
    uint64_t bytes_end; /* in the file, behind the last byte read; 0: nothing */
} CopiedRange;

/* A large file while its ranges are being copied. */
typedef struct LargeFile {
    BackupFile *file;
    unsigned n_ranges;
    atomic_uint left;
    atomic_bool vanished;
    CopiedRange ranges[];
} LargeFile;

typedef struct CopyJob {
    LargeFile *large; /* one range of it; NULL: a batch of small files */
    unsigned range;
    BackupFile *files; /* small: consecutive in the list */
    size_t n;
} CopyJob;

struct BackupCopy {
    BackupCopySpec spec;
    Workers *uploads;
    PackWriter **free_packs;
    unsigned n_packs, n_free;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t pack_freed;
    uint32_t next_pack;
    MapPackWriter *maps;
    StrList ids; /* the backup itself: the maps' numbering */
    PacksList packs;
    void *late; /* worker state of backup_copy_small() */
};

/* --- packs in flight --- */

static PackWriter *pack_take(BackupCopy *c)
{
    pthread_mutex_lock(&c->lock);
    while (!c->n_free)
        pthread_cond_wait(&c->pack_freed, &c->lock);
    PackWriter *w = c->free_packs[--c->n_free];
    PackId id = {.kind = 'd', .number = c->next_pack++};
    pthread_mutex_unlock(&c->lock);
    pack_writer_begin(w, c->spec.repo->key, c->spec.backup_id, id);
    return w;
}

static void pack_give_back(BackupCopy *c, PackWriter *w)
{
    pthread_mutex_lock(&c->lock);
    c->free_packs[c->n_free++] = w;
    pthread_cond_signal(&c->pack_freed);
    pthread_mutex_unlock(&c->lock);
}

typedef struct Upload {
    BackupCopy *copy;
    PackWriter *pack;
} Upload;

static ErrCode upload_run(void *shared, void *state, void *job, Err *err)
{
    Upload *u = job;
    BackupCopy *c = shared;
    PackInfo info;
    (void)state;
    ErrCode rc = pack_writer_finish(u->pack, &info, err);
    if (rc == ERR_OK)
        rc = pack_writer_put(u->pack, c->spec.repo, err);
    if (rc == ERR_OK) {
        pthread_mutex_lock(&c->lock);
        vec_push(&c->packs.own, info);
        pthread_mutex_unlock(&c->lock);
    }
    pack_give_back(c, u->pack);
    free(u);
    return rc;
}

static void upload_drop(void *job)
{
    Upload *u = job;
    pack_give_back(u->copy, u->pack);
    free(u);
}

/* --- one worker --- */

typedef struct CopyWorker {
    BackupCopy *copy;
    PackWriter *pack;
    Compressor *compressor;
    uint8_t *buf;   /* READ_SIZE */
    uint8_t *small; /* UNIT_RAW */
    VEC(PackSmall) items;
    VEC(uint8_t) resident;
} CopyWorker;

static void *copy_worker_new(void *shared)
{
    CopyWorker *w = NEW(CopyWorker);
    w->copy = shared;
    w->compressor = compressor_new_files(w->copy->spec.level);
    w->buf = mem_aligned(IO_ALIGN, READ_SIZE);
    w->small = mem_aligned(IO_ALIGN, UNIT_RAW);
    return w;
}

static void copy_worker_free(void *state)
{
    CopyWorker *w = state;
    if (!w)
        return;
    if (w->pack)
        pack_give_back(w->copy, w->pack);
    compressor_free(w->compressor);
    free(w->buf);
    free(w->small);
    vec_release(&w->items);
    vec_release(&w->resident);
    free(w);
}

static ErrCode copy_worker_upload(CopyWorker *w, Err *err)
{
    Upload *u = NEW(Upload);
    *u = (Upload){.copy = w->copy, .pack = steal_ptr(&w->pack)};
    return workers_put(w->copy->uploads, u, err);
}

/* Makes sure that w->pack has room for a unit; the numbers are those of pack_writer_fits(). */
static ErrCode copy_worker_pack(CopyWorker *w, size_t raw_len, size_t entries, size_t path_bytes,
                                Err *err)
{
    if (w->pack && !pack_writer_fits(w->pack, raw_len, entries, path_bytes))
        TRY(copy_worker_upload(w, err));
    if (!w->pack)
        w->pack = pack_take(w->copy);
    return ERR_OK;
}

static ErrCode copy_worker_flush(void *shared, void *state, Err *err)
{
    CopyWorker *w = state;
    (void)shared;
    if (!w->pack || pack_writer_empty(w->pack))
        return ERR_OK;
    return copy_worker_upload(w, err);
}

/* --- large files --- */

static void run_push(CopiedRange *r, CopiedRun run)
{
    CopiedRun *last = r->runs.n ? &r->runs.at[r->runs.n - 1] : NULL;
    if (last && last->pack == run.pack && last->first + last->n == run.first &&
        (run.pack == NO_PACK || last->slot + last->n == run.slot))
        last->n += run.n;
    else
        vec_push(&r->runs, run);
}

static ErrCode add_unit(CopyWorker *w, const char *path, uint64_t first, const uint8_t *data,
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
    TRY(copy_worker_pack(w, len, pages.n, strlen(path), err));
    TRY(pack_writer_add_pages(w->pack, w->compressor, &pages, &slot, err));
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
            TRY(add_unit(w, path, first + off / size, data + off, end - off, r, err));
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

static ErrCode copy_range_from(CopyWorker *w, const CopyJob *job, int fd, const char *full,
                               Err *err)
{
    const BackupCopySpec *spec = &w->copy->spec;
    const BackupFile *f = job->large->file;
    CopiedRange *range = &job->large->ranges[job->range];
    uint64_t off = (uint64_t)job->range * RANGE_RAW;
    uint64_t end = MIN(off + RANGE_RAW, f->size);
    PageCheck check = {.path = f->path,
                       .fd = fd,
                       .page_size = spec->page_size,
                       .rel_seg_blocks = spec->rel_seg_blocks,
                       .checksums = spec->checksums,
                       .suspects = spec->suspects};
    bool cold = range_is_cold(w, fd, off, (size_t)(end - off));
    compressor_restart(w->compressor);
    while (off < end) {
        size_t want = (size_t)MIN(end - off, READ_SIZE), got;
        uint64_t first = off / spec->page_size;
        TRY(cancel_check(err));
        TRY(file_read_at(fd, w->buf, want, off, &got, full, err));
        if (cold)
            posix_fadvise(fd, (off_t)off, (off_t)got, POSIX_FADV_DONTNEED);
        if (f->is_relation)
            TRY(pages_check(&check, first, w->buf, got / spec->page_size, err));
        TRY(add_pages(w, f->path, first, w->buf, got, range, err));
        progress_add(spec->progress, want, 0);
        off += got;
        range->bytes_end = off;
        if (got < want)
            break; /* truncated since it was listed: replay does the same */
    }
    return ERR_OK;
}

/* All ranges are there: the map goes into a map pack. */
static ErrCode large_complete(BackupCopy *c, LargeFile *l, Err *err)
{
    FileMap map AUTO(file_map_release) = {0};
    MapRef ref;
    uint64_t page = 0, bytes = 0;
    for (unsigned i = 0; i < l->n_ranges; i++) {
        CopiedRange *r = &l->ranges[i];
        bytes = MAX(bytes, r->bytes_end);
        for (size_t k = 0; k < r->runs.n; k++) {
            const CopiedRun *run = &r->runs.at[k];
            if (run->first > page) /* the file was cut off here, and grew again behind it */
                file_map_add_zeros(&map, page, run->first - page);
            if (run->pack == NO_PACK)
                file_map_add_zeros(&map, run->first, run->n);
            else
                file_map_add(&map, run->first, run->n, (MapSource){.pack = run->pack}, run->slot);
            page = run->first + run->n;
        }
    }
    map.pages = page;
    l->file->size = bytes;
    if (!page)
        return ERR_OK; /* now empty */
    pthread_mutex_lock(&c->lock);
    ErrCode rc = map_pack_writer_add(c->maps, &map, &c->ids, &ref, err);
    pthread_mutex_unlock(&c->lock);
    if (rc != ERR_OK)
        return rc;
    l->file->place = PLACE_MAP;
    l->file->pack = ref.pack;
    l->file->off = ref.off;
    l->file->map_len = ref.len;
    return ERR_OK;
}

static void large_free(LargeFile *l)
{
    for (unsigned i = 0; i < l->n_ranges; i++)
        vec_release(&l->ranges[i].runs);
    free(l);
}

static ErrCode copy_range(CopyWorker *w, const CopyJob *job, Err *err)
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

/* --- small files --- */

static ErrCode small_read(CopyWorker *w, BackupFile *f, uint8_t *to, size_t room, size_t *ret_got,
                          Err *err)
{
    const BackupCopySpec *spec = &w->copy->spec;
    int fd AUTO(fd_closep) = -1;
    char *full AUTO(mem_freep) = path_join(spec->data_dir, f->path);
    ErrCode rc = file_open(full, O_RDONLY, 0, &fd, err);
    *ret_got = 0;
    if (rc == ERR_NOT_FOUND) {
        f->dropped = true;
        return ERR_OK;
    }
    if (rc != ERR_OK)
        return rc;
    TRY(file_read_at(fd, to, MIN((size_t)f->size, room), 0, ret_got, full, err));
    f->size = *ret_got;
    PageCheck check = {.path = f->path,
                       .fd = fd,
                       .page_size = spec->page_size,
                       .rel_seg_blocks = spec->rel_seg_blocks,
                       .checksums = spec->checksums,
                       .suspects = spec->suspects};
    return f->is_relation ? pages_check(&check, 0, to, *ret_got / spec->page_size, err) : ERR_OK;
}

/* Puts what lies in w->small as one unit; items[i].path tells the files in order. */
static ErrCode small_put(CopyWorker *w, BackupFile **files, size_t n, size_t len, Err *err)
{
    uint32_t unit;
    size_t path_bytes = 0;
    if (!n)
        return ERR_OK;
    for (size_t i = 0; i < n; i++)
        path_bytes += strlen(files[i]->path);
    TRY(copy_worker_pack(w, len, n, path_bytes, err));
    TRY(pack_writer_add_small(w->pack, w->compressor, w->items.at, n, w->small, len, &unit, err));
    for (size_t i = 0; i < n; i++) {
        files[i]->place = PLACE_SMALL;
        files[i]->pack = pack_writer_number(w->pack);
        files[i]->unit = unit;
        files[i]->off = w->items.at[i].off;
        files[i]->small = w->items.at[i].index;
    }
    return ERR_OK;
}

static ErrCode copy_batch(CopyWorker *w, const CopyJob *job, Err *err)
{
    VEC(BackupFile *) stored = {0};
    size_t used = 0;
    uint64_t bytes = 0;
    ErrCode rc = cancel_check(err);
    w->items.n = 0;
    compressor_restart(w->compressor);
    for (size_t i = 0; i < job->n && rc == ERR_OK; i++) {
        BackupFile *f = &job->files[i];
        size_t got;
        if (f->kind != FILE_REGULAR || f->large || f->dropped)
            continue;
        bytes += f->size;
        rc = f->size ? small_read(w, f, w->small + used, UNIT_RAW - used, &got, err)
                     : (got = 0, ERR_OK);
        if (rc != ERR_OK || !got)
            continue;
        vec_push(&w->items,
                 (PackSmall){.path = f->path, .off = (uint32_t)used, .len = (uint32_t)got});
        vec_push(&stored, f);
        used += got;
    }
    if (rc == ERR_OK)
        rc = small_put(w, stored.at, stored.n, used, err);
    progress_add(w->copy->spec.progress, bytes, job->n);
    vec_release(&stored);
    return rc;
}

static ErrCode copy_run(void *shared, void *state, void *job, Err *err)
{
    CopyJob *j = job;
    (void)shared;
    ErrCode rc = j->large ? copy_range(state, j, err) : copy_batch(state, j, err);
    free(j);
    return rc;
}

static void copy_drop(void *job)
{
    CopyJob *j = job;
    if (j->large && atomic_fetch_sub(&j->large->left, 1) == 1)
        large_free(j->large);
    free(j);
}

/* --- all of it --- */

ErrCode backup_copy_new(const BackupCopySpec *spec, BackupCopy **ret, Err *err)
{
    BackupCopy *c AUTO(backup_copy_freep) = NEW(BackupCopy);
    unsigned uploads = MAX(spec->jobs / 2, 2u);
    c->spec = *spec;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->pack_freed, NULL);
    c->n_packs = spec->jobs + uploads;
    c->free_packs = mem_zero(c->n_packs * sizeof(*c->free_packs));
    for (; c->n_free < c->n_packs; c->n_free++)
        c->free_packs[c->n_free] = pack_writer_new();
    c->maps = map_pack_writer_new(spec->repo, spec->backup_id);
    vec_push(&c->ids, mem_strdup(spec->backup_id));
    WorkersSpec pool = {
        .n = uploads, .queue_len = uploads, .shared = c, .run = upload_run, .drop = upload_drop};
    TRY(workers_new(&c->uploads, &pool, err));
    *ret = steal_ptr(&c);
    return ERR_OK;
}

void backup_copy_free(BackupCopy *c)
{
    if (!c)
        return;
    copy_worker_free(c->late);
    workers_free(c->uploads);
    for (unsigned i = 0; i < c->n_free; i++)
        pack_writer_free(c->free_packs[i]);
    free(c->free_packs);
    map_pack_writer_free(c->maps);
    str_list_release(&c->ids);
    packs_list_release(&c->packs);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->pack_freed);
    free(c);
}

static ErrCode put_large(Workers *pool, BackupFile *f, Err *err)
{
    unsigned n = (unsigned)((f->size + RANGE_RAW - 1) / RANGE_RAW);
    LargeFile *l = mem_zero(sizeof(*l) + n * sizeof(l->ranges[0]));
    f->large = true; /* a batch around it must not touch it from now on */
    l->file = f;
    l->n_ranges = n;
    atomic_init(&l->left, n);
    ErrCode rc = ERR_OK;
    for (unsigned i = 0; i < n; i++) {
        CopyJob *job = NEW(CopyJob);
        *job = (CopyJob){.large = l, .range = i};
        if (rc == ERR_OK)
            rc = workers_put(pool, job, err);
        else
            copy_drop(job);
    }
    return rc;
}

static ErrCode put_batch(Workers *pool, BackupFile *files, size_t n, Err *err)
{
    CopyJob *job = NEW(CopyJob);
    *job = (CopyJob){.files = files, .n = n};
    return workers_put(pool, job, err);
}

static ErrCode put_all(Workers *pool, BackupFiles *files, Err *err)
{
    size_t begin = 0, raw = 0, names = 0;
    for (size_t i = 0; i < files->files.n; i++) {
        BackupFile *f = &files->files.at[i];
        if (f->kind != FILE_REGULAR || f->dropped)
            continue;
        if (f->size > SMALL_FILE_MAX) {
            TRY(put_large(pool, f, err));
            continue;
        }
        if (raw + f->size > UNIT_RAW || names > BATCH_NAMES) {
            TRY(put_batch(pool, &files->files.at[begin], i - begin, err));
            begin = i;
            raw = names = 0;
        }
        raw += f->size;
        names += f->size ? strlen(f->path) : 0;
    }
    if (begin < files->files.n)
        TRY(put_batch(pool, &files->files.at[begin], files->files.n - begin, err));
    return ERR_OK;
}

ErrCode backup_copy_files(BackupCopy *c, BackupFiles *files, Err *err)
{
    Workers *pool AUTO(workers_freep) = NULL;
    WorkersSpec spec = {.n = c->spec.jobs,
                        .queue_len = c->spec.jobs * 4,
                        .shared = c,
                        .state_new = copy_worker_new,
                        .state_free = copy_worker_free,
                        .run = copy_run,
                        .flush = copy_worker_flush,
                        .drop = copy_drop};
    TRY(workers_new(&pool, &spec, err));
    TRY(put_all(pool, files, err));
    return workers_finish(pool, err);
}

ErrCode backup_copy_small(BackupCopy *c, BackupFile *f, const void *data, size_t len, Err *err)
{
    if (len > SMALL_FILE_MAX)
        return err_set(err, ERR_LIMIT, "'%s' is larger than a small file", f->path);
    if (!c->late)
        c->late = copy_worker_new(c);
    CopyWorker *w = c->late;
    memcpy(w->small, data, len);
    w->items.n = 0;
    vec_push(&w->items, (PackSmall){.path = f->path, .len = (uint32_t)len});
    f->size = len;
    return small_put(w, &f, 1, len, err);
}

ErrCode backup_copy_finish(BackupCopy *c, PacksList *ret, Err *err)
{
    if (c->late)
        TRY(copy_worker_flush(c, c->late, err));
    TRY(workers_finish(c->uploads, err));
    TRY(map_pack_writer_finish(c->maps, &c->packs.own, err));
    packs_list_sort(&c->packs);
    *ret = c->packs;
    c->packs = (PacksList){.own = {0}};
    return ERR_OK;
}
