#include "restore/extract.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdatomic.h>
#include <string.h>

#include "lib/common/file.h"
#include "lib/common/log.h"
#include "lib/common/workers.h"
#include "restore/file_writer.h"
#include "restore/target_dir.h"

#define RANGE_RAW (128 * MIB) /* of one file, for one worker */
#define WRITE_SIZE (1 * MIB)
/* For stored bytes: of one worker, and of all. */
#define READER_MEMORY (24 * MIB)
#define READERS_MEMORY (96 * MIB)
#define TABLES_MEMORY (48 * MIB)
#define BATCH_FILES 256      /* small files for one worker, and all others of their directory: */
#define BATCH_FILES_MAX 8192 /* two that create files in one directory wait for each other */
#define BATCH_RAW_MAX (64 * MIB)

typedef struct Owner {
    uid_t uid;
    gid_t gid;
} Owner;

typedef struct Extract {
    const ExtractSpec *spec;
    ExtractResult *result;
    ManifestReader *manifest;
    const ManifestHeader *header;
    PackTables *tables;
    MapPackReader *maps;
    PacksList own; /* the backup's list, for the digests of its tables */
    Workers *pool;
    atomic_uint_fast64_t written;
    char *last_user, *last_group;
    Owner last_owner;
} Extract;

/* A large file while its ranges are being written. */
typedef struct LargeFile {
    char *path; /* in the file system */
    uint64_t size;
    uint32_t mode;
    Owner owner;
    FileMap map;
    StrList ids; /* of the map's sources: a copy, since the reader's list grows */
    atomic_uint left;
} LargeFile;

typedef struct SmallFile {
    FileEntry entry; /* texts owned: path only */
    char *path;      /* in the file system */
    const char *backup_id;
    Owner owner;
} SmallFile;

typedef struct ExtractJob {
    LargeFile *large; /* pages first … until of it; NULL: small files */
    uint64_t first, until;
    VEC(SmallFile) small;
} ExtractJob;

void extract_result_release(ExtractResult *r)
{
    buf_release(&r->pg_control);
}

static void large_free(LargeFile *l)
{
    free(l->path);
    file_map_release(&l->map);
    str_list_release(&l->ids);
    free(l);
}

static void job_free(ExtractJob *j)
{
    for (size_t i = 0; i < j->small.n; i++) {
        free((void *)(uintptr_t)j->small.at[i].entry.path);
        free(j->small.at[i].path);
    }
    vec_release(&j->small);
    free(j);
}

static void job_drop(void *job)
{
    ExtractJob *j = job;
    if (j->large && atomic_fetch_sub(&j->large->left, 1) == 1)
        large_free(j->large);
    job_free(j);
}

/* --- one worker --- */

typedef struct ExtractWorker {
    Extract *x;
    PageReader *reader;
    uint8_t *buf;  /* WRITE_SIZE, aligned */
    uint8_t *disk; /* what is there already, for delta */
} ExtractWorker;

static void *worker_new(void *shared)
{
    ExtractWorker *w = NEW(ExtractWorker);
    w->x = shared;
    w->reader = page_reader_new(w->x->spec->repo, w->x->tables,
                                MIN(READER_MEMORY, READERS_MEMORY / w->x->spec->jobs));
    w->buf = mem_aligned(FILE_WRITER_ALIGN, WRITE_SIZE);
    w->disk = w->x->spec->delta ? mem_aligned(FILE_WRITER_ALIGN, WRITE_SIZE) : NULL;
    return w;
}

static void worker_free(void *state)
{
    ExtractWorker *w = state;
    page_reader_free(w->reader);
    free(w->buf);
    free(w->disk);
    free(w);
}

static ErrCode set_owner(const Extract *x, int fd, const char *path, uint32_t mode, Owner owner,
                         Err *err)
{
    /* A file that is new was made with 0600. */
    if ((x->spec->delta || mode != 0600) && fchmod(fd, mode) != 0)
        return err_errno(err, errno, "cannot set the mode of '%s'", path);
    if (x->spec->owners && fchown(fd, owner.uid, owner.gid) != 0)
        return err_errno(err, errno, "cannot set the owner of '%s'", path);
    return ERR_OK;
}

/* --- large files --- */

/* Pages from the repository, until `until`. */
static ErrCode write_pages(ExtractWorker *w, FileWriter *out, uint64_t *page, uint64_t until,
                           Err *err)
{
    const uint32_t size = w->x->header->block_size;
    while (*page < until) {
        uint64_t n, want = MIN(until - *page, WRITE_SIZE / size);
        bool zeros;
        TRY(page_reader_next(w->reader, w->buf, want, &n, &zeros, err));
        if (!n)
            return err_set(err, ERR_DAMAGED, "the map of '%s' has no page %llu", out->path,
                           (unsigned long long)*page);
        uint64_t off = *page * size;
        if (zeros) {
            TRY(file_writer_zeros(out, off, n * size, err));
        } else {
            TRY(file_writer_put(out, w->buf, (size_t)(n * size), off, err));
            atomic_fetch_add(&w->x->written, n * size);
        }
        *page += n;
        progress_add(w->x->spec->progress, n * size, 0);
    }
    return ERR_OK;
}

/* Passes over the pages that are there already; *page is then the first that differs, or `until`.
 * *ret_same_from: from there on pages are the same again (the run that differs ends). */
static ErrCode find_difference(ExtractWorker *w, const uint8_t *disk, size_t len, uint64_t base,
                               uint64_t *page, uint64_t until, uint64_t *ret_until, Err *err)
{
    const uint32_t size = w->x->header->block_size;
    bool same = true;
    while (*page < until && same) {
        size_t off = (size_t)((*page - base) * size);
        size_t n = off < len ? MIN((size_t)size, len - off) : 0;
        TRY(page_reader_same(w->reader, *page, disk + off, n, &same, err));
        if (!same)
            break;
        page_reader_skip(w->reader, 1);
        ++*page;
    }
    *ret_until = *page;
    while (*ret_until < until && !same) {
        size_t off = (size_t)((*ret_until - base) * size);
        size_t n = off < len ? MIN((size_t)size, len - off) : 0;
        TRY(page_reader_same(w->reader, *ret_until, disk + off, n, &same, err));
        *ret_until += !same;
    }
    return ERR_OK;
}

static ErrCode write_differences(ExtractWorker *w, FileWriter *out, const LargeFile *l,
                                 uint64_t page, uint64_t until, Err *err)
{
    const uint32_t size = w->x->header->block_size;
    const uint64_t step = WRITE_SIZE / size;
    while (page < until) {
        uint64_t base = page, end = MIN(until, page + step);
        size_t got;
        size_t want = (size_t)MIN((end - base) * size, l->size - base * size);
        TRY(file_read_at(out->fd, w->disk, WRITE_SIZE, base * size, &got, out->path, err));
        got = MIN(got, want);
        while (page < end) {
            uint64_t from = page, differs_until;
            TRY(find_difference(w, w->disk, got, base, &page, end, &differs_until, err));
            progress_add(w->x->spec->progress, (page - from) * size, 0);
            TRY(write_pages(w, out, &page, differs_until, err));
        }
    }
    return ERR_OK;
}

static ErrCode write_range(ExtractWorker *w, FileWriter *out, const ExtractJob *j, Err *err)
{
    const LargeFile *l = j->large;
    uint64_t page = j->first;
    TRY(cancel_check(err));
    TRY(page_reader_begin(w->reader, &l->map, &l->ids, w->x->header->block_size, l->size, j->first,
                          j->until, err));
    if (w->x->spec->delta)
        return write_differences(w, out, l, page, j->until, err);
    return write_pages(w, out, &page, j->until, err);
}

static ErrCode extract_large(ExtractWorker *w, ExtractJob *j, Err *err)
{
    LargeFile *l = j->large;
    FileWriter out;
    ErrCode rc = file_writer_open(&out, l->path, err);
    if (rc == ERR_OK)
        rc = write_range(w, &out, j, err);
    bool last = atomic_fetch_sub(&l->left, 1) == 1;
    if (rc == ERR_OK && last)
        rc = file_writer_truncate(&out, l->size, err);
    if (rc == ERR_OK && last)
        rc = set_owner(w->x, out.fd, l->path, l->mode, l->owner, err);
    if (rc == ERR_OK)
        rc = file_writer_close(&out, err);
    if (rc != ERR_OK)
        file_writer_abort(&out);
    if (last) {
        progress_add(w->x->spec->progress, 0, 1);
        large_free(l);
    }
    return rc;
}

/* --- small files --- */

static ErrCode small_is_same(ExtractWorker *w, const SmallFile *f, bool *ret, Err *err)
{
    Buf disk AUTO(buf_release) = {0};
    Err why = {0};
    *ret = false;
    if (file_read_all(f->path, SMALL_FILE_MAX, &disk, &why) != ERR_OK || disk.len != f->entry.size)
        return ERR_OK; /* written anew, and then an error counts */
    if (!f->entry.size) {
        *ret = true;
        return ERR_OK;
    }
    return page_reader_small_same(w->reader, f->backup_id, &f->entry, disk.data, disk.len, ret,
                                  err);
}

static ErrCode write_small(ExtractWorker *w, const SmallFile *f, Err *err)
{
    const void *data = NULL;
    int fd AUTO(fd_closep) = -1;
    bool same = false;
    if (w->x->spec->delta)
        TRY(small_is_same(w, f, &same, err));
    if (same) {
        TRY(file_open(f->path, O_RDONLY | O_NOFOLLOW, 0, &fd, err));
        return set_owner(w->x, fd, f->path, f->entry.mode, f->owner, err);
    }
    if (f->entry.size)
        TRY(page_reader_small(w->reader, f->backup_id, &f->entry, &data, err));
    TRY(file_open(f->path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600, &fd, err));
    TRY(file_write(fd, data, (size_t)f->entry.size, f->path, err));
    TRY(set_owner(w->x, fd, f->path, f->entry.mode, f->owner, err));
    atomic_fetch_add(&w->x->written, f->entry.size);
    return file_close(&fd, f->path, err);
}

static ErrCode extract_small(ExtractWorker *w, ExtractJob *j, Err *err)
{
    for (size_t i = 0; i < j->small.n; i++) {
        TRY(cancel_check(err));
        TRY(write_small(w, &j->small.at[i], err));
        progress_add(w->x->spec->progress, j->small.at[i].entry.size, 1);
    }
    return ERR_OK;
}

static ErrCode job_run(void *shared, void *state, void *job, Err *err)
{
    ExtractJob *j = job;
    (void)shared;
    ErrCode rc = j->large ? extract_large(state, j, err) : extract_small(state, j, err);
    job_free(j);
    return rc;
}

/* --- the main thread: from manifest to jobs --- */

static Owner owner_of(Extract *x, const FileEntry *e)
{
    if (!x->spec->owners)
        return (Owner){0, 0};
    if (x->last_user && strcmp(x->last_user, e->user) == 0 && strcmp(x->last_group, e->group) == 0)
        return x->last_owner;
    const struct passwd *pw = getpwnam(e->user);
    const struct group *gr = getgrnam(e->group);
    if (!pw || !gr)
        log_warn("there is no %s '%s' here: '%s' and others keep the owner they get",
                 pw ? "group" : "user", pw ? e->group : e->user, e->path);
    free(x->last_user);
    free(x->last_group);
    x->last_user = mem_strdup(e->user);
    x->last_group = mem_strdup(e->group);
    x->last_owner = (Owner){pw ? pw->pw_uid : (uid_t)-1, gr ? gr->gr_gid : (gid_t)-1};
    return x->last_owner;
}

static ErrCode make_directory(Extract *x, const char *path, const FileEntry *e, Err *err)
{
    Owner o = owner_of(x, e);
    if (mkdir(path, e->mode) != 0 && errno != EEXIST)
        return err_errno(err, errno, "cannot create directory '%s'", path);
    if (chmod(path, e->mode) != 0)
        return err_errno(err, errno, "cannot set the mode of '%s'", path);
    if (x->spec->owners && chown(path, o.uid, o.gid) != 0)
        return err_errno(err, errno, "cannot set the owner of '%s'", path);
    return ERR_OK;
}

static ErrCode make_link(Extract *x, const char *path, const FileEntry *e, Err *err)
{
    const char *to = x->spec->link_target ? x->spec->link_target(x->spec->arg, e->path) : NULL;
    char old[4096];
    to = to ? to : e->link;
    TRY(data_dir_make(to, x->header->dir_mode, err));
    if (chmod(to, x->header->dir_mode) != 0)
        return err_errno(err, errno, "cannot set the mode of '%s'", to);
    Owner o = owner_of(x, e);
    if (x->spec->owners && chown(to, o.uid, o.gid) != 0)
        return err_errno(err, errno, "cannot set the owner of '%s'", to);
    ssize_t n = readlink(path, old, sizeof(old) - 1);
    if (n >= 0) {
        old[n] = '\0';
        if (strcmp(old, to) == 0)
            return ERR_OK;
        if (unlink(path) != 0)
            return err_errno(err, errno, "cannot replace the link '%s'", path);
    }
    if (symlink(to, path) != 0)
        return err_errno(err, errno, "cannot make the link '%s'", path);
    return ERR_OK;
}

static ErrCode put_large(Extract *x, const char *path, const FileEntry *e, Err *err)
{
    LargeFile *l = NEW(LargeFile);
    MapRef ref = {.pack = e->pack, .off = e->off, .len = e->map_len};
    l->path = mem_strdup(path);
    l->size = e->size;
    l->mode = e->mode;
    l->owner = owner_of(x, e);
    ErrCode rc = map_pack_reader_get(x->maps, x->header->ids.at[e->backup], &ref, &l->map, err);
    if (rc != ERR_OK) {
        large_free(l);
        return rc;
    }
    const StrList *ids = map_pack_reader_ids(x->maps);
    for (size_t i = 0; i < ids->n; i++)
        vec_push(&l->ids, mem_strdup(ids->at[i]));
    uint64_t step = RANGE_RAW / x->header->block_size;
    unsigned n = (unsigned)((l->map.pages + step - 1) / step);
    atomic_init(&l->left, n);
    for (unsigned i = 0; i < n; i++) {
        ExtractJob *j = NEW(ExtractJob);
        j->large = l;
        j->first = i * step;
        j->until = MIN(j->first + step, l->map.pages);
        if (rc == ERR_OK)
            rc = workers_put(x->pool, j, err);
        else
            job_drop(j);
    }
    return rc;
}

typedef struct Batch {
    ExtractJob *job;
    uint64_t raw;
} Batch;

static ErrCode batch_put(Extract *x, Batch *b, Err *err)
{
    ExtractJob *j = steal_ptr(&b->job);
    b->raw = 0;
    return j ? workers_put(x->pool, j, err) : ERR_OK;
}

static bool is_same_directory(const char *a, const char *b)
{
    const char *end = strrchr(a, '/');
    size_t len = end ? (size_t)(end - a) + 1 : 0;
    return strncmp(a, b, len) == 0 && !strchr(b + len, '/');
}

/* Whether a file that comes next belongs to another worker. */
static bool batch_is_full(const Batch *b, const FileEntry *next)
{
    if (!b->job || b->job->small.n < BATCH_FILES)
        return false;
    const SmallFile *last = &b->job->small.at[b->job->small.n - 1];
    return b->job->small.n >= BATCH_FILES_MAX || b->raw >= BATCH_RAW_MAX ||
           !is_same_directory(last->entry.path, next->path);
}

static ErrCode batch_add(Extract *x, Batch *b, const char *path, const FileEntry *e, Err *err)
{
    if (batch_is_full(b, e))
        TRY(batch_put(x, b, err));
    if (!b->job)
        b->job = NEW(ExtractJob);
    SmallFile f = {.entry = *e, .path = mem_strdup(path), .owner = owner_of(x, e)};
    f.entry.path = mem_strdup(e->path);
    f.entry.user = f.entry.group = f.entry.link = NULL;
    f.backup_id = x->header->ids.at[e->backup];
    vec_push(&b->job->small, f);
    b->raw += e->size;
    return ERR_OK;
}

/* Kept in memory: it makes the directory a cluster, and so comes last. */
static ErrCode keep_control(Extract *x, const FileEntry *e, Err *err)
{
    const void *data;
    if (e->place != PLACE_SMALL)
        return err_set(err, ERR_DAMAGED, "the backup's pg_control has %llu bytes",
                       (unsigned long long)e->size);
    PageReader *r AUTO(page_reader_freep) = page_reader_new(x->spec->repo, x->tables, MIB);
    TRY(page_reader_small(r, x->header->ids.at[e->backup], e, &data, err));
    buf_append(&x->result->pg_control, data, (size_t)e->size);
    return ERR_OK;
}

static ErrCode extract_entry(Extract *x, Batch *batch, const FileEntry *e, Err *err)
{
    char *path AUTO(mem_freep) = path_join(x->spec->to, e->path);
    if (e->kind == FILE_DIRECTORY)
        return make_directory(x, path, e, err);
    if (e->kind == FILE_LINK)
        return make_link(x, path, e, err);
    x->result->files++;
    x->result->bytes += e->size;
    if (strcmp(e->path, "global/pg_control") == 0)
        return keep_control(x, e, err);
    if (e->place == PLACE_MAP)
        return put_large(x, path, e, err);
    return batch_add(x, batch, path, e, err);
}

static ErrCode extract_all(Extract *x, Batch *batch, Err *err)
{
    for (;;) {
        FileEntry e;
        bool end;
        TRY(manifest_reader_next(x->manifest, &e, &end, err));
        if (end)
            break;
        TRY(extract_entry(x, batch, &e, err));
        TRY(cancel_check(err));
    }
    TRY(batch_put(x, batch, err));
    TRY(workers_finish(x->pool, err));
    if (!x->result->pg_control.len)
        return err_set(err, ERR_DAMAGED, "the backup has no global/pg_control");
    return ERR_OK;
}

static const PackInfo *find_own(void *arg, const char *backup_id, PackId id)
{
    const Extract *x = arg;
    return strcmp(backup_id, x->spec->backup_id) == 0 ? packs_list_find(&x->own, id) : NULL;
}

static void extract_release(Extract *x)
{
    workers_free(x->pool); /* its workers use all the rest */
    pack_tables_free(x->tables);
    map_pack_reader_free(x->maps);
    manifest_reader_close(x->manifest);
    packs_list_release(&x->own);
    free(x->last_user);
    free(x->last_group);
}

ErrCode extract_run(const ExtractSpec *spec, ExtractResult *ret, Err *err)
{
    Extract x AUTO(extract_release) = {.spec = spec, .result = ret};
    Batch batch = {.job = NULL};
    TRY(manifest_reader_open(spec->repo, spec->backup_id, spec->manifest, &x.manifest, err));
    x.header = manifest_reader_header(x.manifest);
    if (packs_list_get(spec->repo, spec->backup_id, NULL, &x.own, err) != ERR_OK &&
        !repo_falls_back(spec->repo, err)) /* without it tables are checked by themselves */
        return err->code;
    x.tables = pack_tables_new(spec->repo, TABLES_MEMORY, find_own, &x);
    x.maps = map_pack_reader_new(spec->repo, find_own, &x);
    WorkersSpec pool = {.n = spec->jobs,
                        .queue_len = spec->jobs * 4,
                        .shared = &x,
                        .state_new = worker_new,
                        .state_free = worker_free,
                        .run = job_run,
                        .drop = job_drop};
    TRY(workers_new(&x.pool, &pool, err));
    progress_begin(spec->progress, "restoring files", x.header->bytes, x.header->files);
    ErrCode rc = extract_all(&x, &batch, err);
    if (batch.job)
        job_free(batch.job);
    ret->written = atomic_load(&x.written) + ret->pg_control.len;
    return rc;
}

/* --- what is in the backup --- */

void backup_paths_release(BackupPaths *p)
{
    for (size_t i = 0; i < p->n; i++)
        free(p->at[i].path);
    vec_release(p);
}

ErrCode backup_paths_read(Repo *repo, const char *backup_id, const DocumentFacts *manifest,
                          BackupPaths *ret, Err *err)
{
    ManifestReader *r AUTO(manifest_reader_closep) = NULL;
    TRY(manifest_reader_open(repo, backup_id, manifest, &r, err));
    for (;;) {
        FileEntry e;
        bool end;
        TRY(manifest_reader_next(r, &e, &end, err));
        if (end)
            return ERR_OK;
        vec_push(ret, (BackupPath){.path = mem_strdup(e.path), .kind = e.kind});
    }
}
