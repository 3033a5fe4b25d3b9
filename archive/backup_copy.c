#include "archive/copy_worker.h"

#include <fcntl.h>
#include <string.h>

#include "lib/common/file.h"

#define BATCH_NAMES (1 * MIB) /* of the paths of files that share a unit: they go into its pack */

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

static void *copy_worker_new(void *shared)
{
    CopyWorker *w = NEW(CopyWorker);
    w->copy = shared;
    w->compressor = compressor_new_files(w->copy->spec.level);
    w->buf = mem_aligned(IO_ALIGN, READ_SIZE);
    w->small = mem_aligned(IO_ALIGN, UNIT_RAW);
    if (w->copy->spec.reuse) {
        w->old = reuse_reader_new(w->copy->spec.reuse);
        w->gathered.data = mem_aligned(IO_ALIGN, UNIT_RAW);
    }
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
    free(w->gathered.data);
    page_reader_free(w->old);
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

ErrCode copy_worker_pack(CopyWorker *w, size_t raw_len, size_t entries, size_t path_bytes, Err *err)
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
        files[i]->backup = 0;
        files[i]->pack = pack_writer_number(w->pack);
        files[i]->unit = unit;
        files[i]->off = w->items.at[i].off;
        files[i]->small = w->items.at[i].index;
    }
    return ERR_OK;
}

/* Where the parent has the file as it was read. */
static void keep_place(BackupFile *f, const OldPlace *old)
{
    f->place = PLACE_SMALL;
    f->backup = old->backup;
    f->pack = old->pack;
    f->unit = old->unit;
    f->small = old->small;
    f->off = old->off;
}

/* *ret_got: bytes of the file that are to be stored, at `to`. */
static ErrCode small_take(CopyWorker *w, BackupFile *f, uint8_t *to, size_t room, size_t *ret_got,
                          Err *err)
{
    OldPlace old = reuse_take(f);
    bool same = false;
    *ret_got = 0;
    if (!f->size)
        return ERR_OK;
    TRY(small_read(w, f, to, room, ret_got, err));
    if (*ret_got && old.place == PLACE_SMALL)
        TRY(reuse_small_same(w->copy->spec.reuse, w->old, f->path, &old, to, *ret_got, &same, err));
    if (same) {
        keep_place(f, &old);
        *ret_got = 0;
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
        rc = small_take(w, f, w->small + used, UNIT_RAW - used, &got, err);
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
    ErrCode rc = j->large ? large_copy_range(state, j, err) : copy_batch(state, j, err);
    free(j);
    return rc;
}

static void copy_drop(void *job)
{
    CopyJob *j = job;
    if (j->large)
        large_drop_range(j->large);
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
    vec_push(&c->self, mem_strdup(spec->backup_id));
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
    str_list_release(&c->self);
    packs_list_release(&c->packs);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->pack_freed);
    free(c);
}

static ErrCode put_large(BackupCopy *c, Workers *pool, BackupFile *f, Err *err)
{
    LargeFile *l = large_new(c, f);
    ErrCode rc = ERR_OK;
    /* With its last range the file is somebody else's. */
    for (unsigned i = 0, n = large_ranges(l); i < n; i++) {
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

static ErrCode put_all(BackupCopy *c, Workers *pool, BackupFiles *files, Err *err)
{
    size_t begin = 0, raw = 0, names = 0;
    for (size_t i = 0; i < files->files.n; i++) {
        BackupFile *f = &files->files.at[i];
        if (f->kind != FILE_REGULAR || f->dropped)
            continue;
        if (f->size > SMALL_FILE_MAX) {
            TRY(put_large(c, pool, f, err));
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
    TRY(put_all(c, pool, files, err));
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
