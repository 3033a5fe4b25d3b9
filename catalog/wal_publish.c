#include "catalog/wal_publish.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "catalog/lineage.h"
#include "lib/common/file.h"
#include "lib/common/hex.h"
#include "lib/common/log.h"
#include "lib/common/parallel.h"
#include "lib/pg/timeline.h"
#include "lib/repo/wal_tail.h"

/* Larger segments (there are up to 1 GiB) are mapped, so that memory stays bounded. */
#define HEAP_MAX (64 * MIB)
#define OTHER_FILE_MAX (1 * MIB) /* .history and .backup */
#define OBJECT_HEAP_MAX (64 * MIB)
#define HUGE_PAGE (2 * MIB)

void wal_file_release(WalFile *f)
{
    if (f->mapped)
        munmap(f->data, f->len);
    else
        free(f->data);
    wal_index_release(&f->index);
    wal_pieces_release(&f->pieces);
    *f = (WalFile){.data = NULL};
}

static uint64_t nanoseconds(struct timespec t)
{
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

WalFileId wal_file_id(const struct stat *st)
{
    return (WalFileId){.dev = st->st_dev,
                       .ino = st->st_ino,
                       .size = (uint64_t)st->st_size,
                       .mtime = nanoseconds(st->st_mtim),
                       .ctime = nanoseconds(st->st_ctim)};
}

bool wal_file_id_equal(const WalFileId *a, const WalFileId *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->mtime == b->mtime &&
           a->ctime == b->ctime;
}

/* --- loading --- */

typedef struct FileRead {
    WalFile *file;
    const char *path;
    int fd;
} FileRead;

static ErrCode read_piece(void *arg, unsigned thread, size_t i, Err *err)
{
    FileRead *r = arg;
    size_t off = i * UNIT_RAW_MAX, want = MIN(UNIT_RAW_MAX, r->file->len - off), got;
    (void)thread;
    TRY(file_read_at(r->fd, r->file->data + off, want, off, &got, r->path, err));
    if (got != want)
        return err_set(err, ERR_DAMAGED, "'%s' became shorter while it was read", r->path);
    return ERR_OK;
}

static ErrCode file_bytes(const char *path, size_t limit, unsigned threads, WalFile *f, Err *err)
{
    int fd AUTO(fd_closep) = -1;
    struct stat st;
    TRY(file_open(path, O_RDONLY | O_NONBLOCK, 0, &fd, err)); /* a pipe must not hold us up */
    if (fstat(fd, &st) != 0)
        return err_errno(err, errno, "cannot look at '%s'", path);
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_DAMAGED, "'%s' is not a file", path);
    f->id = wal_file_id(&st);
    if ((uint64_t)st.st_size > limit)
        return err_set(err, ERR_MISMATCH, "'%s' has %lld bytes, more than the %zu of a segment",
                       path, (long long)st.st_size, limit);
    f->len = (size_t)st.st_size;
    if (f->len > HEAP_MAX) {
        void *p = mmap(NULL, f->len, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
        if (p == MAP_FAILED)
            return err_errno(err, errno, "cannot map '%s'", path);
        f->data = p;
        f->mapped = true;
        return ERR_OK;
    }
    size_t align = f->len >= HUGE_PAGE ? HUGE_PAGE : 4096;
    f->data = mem_aligned(align, f->len + 1);
    madvise(f->data, align_up(f->len + 1, align), MADV_HUGEPAGE); /* thousands of faults fewer */
    FileRead read = {.file = f, .path = path, .fd = fd};
    return parallel_run(threads, (f->len + UNIT_RAW_MAX - 1) / UNIT_RAW_MAX, read_piece, &read,
                        err);
}

ErrCode wal_local_path(const char *wal_dir, uint32_t tli, TimelinePath *ret, Err *err)
{
    char name[WAL_NAME_MAX];
    Buf text AUTO(buf_release) = {0};
    char *path AUTO(mem_freep) = path_join(wal_dir ? wal_dir : ".", wal_name_history(tli, name));
    TRY(file_read_all(path, OTHER_FILE_MAX, &text, err));
    return timeline_parse_history(tli, (const char *)text.data, text.len, ret, err);
}

/* The first pages of a new timeline's first segment still carry an ancestor's number. */
static ErrCode check_timeline(const WalFileSpec *spec, const WalFile *f, Err *err)
{
    uint32_t in_page = f->check.header.tli;
    if (in_page == f->name.tli)
        return ERR_OK;
    TimelinePath path = {0};
    Err why = {0};
    ErrCode rc = wal_local_path(spec->wal_dir, f->name.tli, &path, &why);
    bool ancestor = rc == ERR_OK && timeline_step(&path, in_page) != NULL;
    vec_release(&path);
    if (ancestor)
        return ERR_OK;
    err_set(err, ERR_MISMATCH,
            "'%s' was written on timeline %u, which is not known to be an "
            "ancestor of %u",
            spec->path, in_page, f->name.tli);
    if (rc != ERR_OK)
        err_hint(err, "%s", why.message);
    return err->code;
}

static ErrCode check_identity(const WalFileSpec *spec, const WalFile *f, Err *err)
{
    const WalSegmentHeader *h = &f->check.header;
    const PgControl *c = spec->control;
    Lsn start = wal_segment_start(f->name.segno, c->wal_segment_size);
    if (h->system_id != c->system_id) {
        err_set(err, ERR_MISMATCH,
                "'%s' belongs to the system %" PRIu64 ", this cluster is %" PRIu64, spec->path,
                h->system_id, c->system_id);
        return err_hint(err, "a file of another cluster lies in this pg_wal; move it away");
    }
    if (h->version != c->version)
        return err_set(err, ERR_MISMATCH, "'%s' was written by PostgreSQL %d, this cluster is %d",
                       spec->path, h->version->major, c->version->major);
    if (h->seg_size != c->wal_segment_size || f->len != h->seg_size)
        return err_set(err, ERR_MISMATCH,
                       "'%s' has %zu bytes and says %u in its header; this "
                       "cluster's segments have %u",
                       spec->path, f->len, h->seg_size, c->wal_segment_size);
    if (h->page_addr != start)
        return err_set(err, ERR_MISMATCH,
                       "'%s' holds the WAL at " LSN_FMT ", its name says " LSN_FMT
                       " (an old segment that was renamed for reuse?)",
                       spec->path, LSN_ARG(h->page_addr), LSN_ARG(start));
    return check_timeline(spec, f, err);
}

static ErrCode load_segment(const WalFileSpec *spec, WalFile *f, Err *err)
{
    if (f->len != spec->control->wal_segment_size)
        return err_set(err, ERR_DAMAGED, "'%s' has %zu bytes instead of the %u of a segment",
                       spec->path, f->len, spec->control->wal_segment_size);
    if (is_all_zero(f->data, 8192))
        return err_set(err, ERR_DAMAGED, "'%s' begins with zeros: there is no WAL in it",
                       spec->path);
    f->is_segment = true;
    if (wal_segment_header(f->data, f->len, &f->check.header, err) != ERR_OK)
        return err_wrap(err, "'%s'", spec->path);
    return check_identity(spec, f, err);
}

/* Walking the records is one part of the work, and every piece to be compressed another. */
typedef struct FileWork {
    WalFile *file;
    Compressor **compressors; /* one a thread */
    size_t first_piece;       /* 1 when part 0 is the walk */
} FileWork;

static ErrCode work_part(void *arg, unsigned thread, size_t i, Err *err)
{
    FileWork *w = arg;
    WalFile *f = w->file;
    if (i >= w->first_piece) {
        wal_piece_make(&f->pieces, i - w->first_piece, f->data, w->compressors[thread]);
        return ERR_OK;
    }
    return wal_index_build(f->data, f->len, wal_segment_start(f->name.segno, f->seg_size),
                           &f->check, &f->index, err);
}

static ErrCode work_all(const WalFileSpec *spec, WalFile *f, unsigned threads, Err *err)
{
    FileWork work = {.file = f, .first_piece = f->is_segment ? 1 : 0};
    wal_pieces_init(&f->pieces, f->data, f->len);
    threads = (unsigned)MIN((size_t)threads, f->pieces.n + work.first_piece);
    work.compressors = mem_new(threads * sizeof(*work.compressors));
    for (unsigned i = 0; i < threads; i++)
        work.compressors[i] = compressor_new_wal(spec->level);
    ErrCode rc = parallel_run(threads, f->pieces.n + work.first_piece, work_part, &work, err);
    for (unsigned i = 0; i < threads; i++)
        compressor_free(work.compressors[i]);
    free(work.compressors);
    return rc == ERR_OK ? rc : err_wrap(err, "'%s'", spec->path);
}

static ErrCode load_history(const WalFileSpec *spec, WalFile *f, Err *err)
{
    TimelinePath path = {0};
    ErrCode rc = timeline_parse_history(f->name.tli, (const char *)f->data, f->len, &path, err);
    vec_release(&path);
    return rc == ERR_OK ? rc : err_wrap(err, "'%s'", spec->path);
}

ErrCode wal_file_load(const WalFileSpec *spec, WalFile *ret, Err *err)
{
    WalFile f AUTO(wal_file_release) = {.data = NULL};
    uint32_t seg_size = spec->control->wal_segment_size;
    f.name = wal_name_parse(spec->file, seg_size);
    f.system_id = spec->control->system_id;
    f.seg_size = seg_size;
    if (f.name.kind == WAL_NAME_OTHER)
        return err_set(err, ERR_USAGE,
                       "'%s' is not the name of a WAL file (with segments of %u "
                       "bytes)",
                       spec->file, seg_size);
    snprintf(f.file, sizeof(f.file), "%s", spec->file);
    bool segment = f.name.kind == WAL_NAME_SEGMENT || f.name.kind == WAL_NAME_PARTIAL;
    unsigned threads = MAX(spec->threads, 1u);
    TRY(file_bytes(spec->path, segment ? (size_t)seg_size : OTHER_FILE_MAX, threads, &f, err));
    if (f.len == 0)
        return err_set(err, ERR_DAMAGED, "'%s' is empty", spec->path);
    if (segment)
        TRY(load_segment(spec, &f, err));
    if (f.name.kind == WAL_NAME_HISTORY)
        TRY(load_history(spec, &f, err));
    TRY(work_all(spec, &f, threads, err));
    *ret = f;
    f = (WalFile){.data = NULL};
    return ERR_OK;
}

/* --- storing --- */

#define FROZEN "frozen"

static void tli_text(uint32_t tli, char out[9])
{
    snprintf(out, 9, "%08X", tli);
}

char *wal_frozen_prefix(const WalStore *store, uint32_t tli)
{
    char tli8[9];
    tli_text(tli, tli8);
    return timeline_marks_prefix(store, tli8, FROZEN "-");
}

ErrCode wal_check_frozen(WalStore *store, uint32_t tli, uint64_t segno, Err *err)
{
    char tli8[9];
    TimelineMarks marks AUTO(timeline_marks_release) = {0};
    tli_text(tli, tli8);
    TRY(timeline_marks_read(store, tli8, FROZEN "-", &marks, err));
    for (size_t i = 0; i < marks.n; i++) {
        const char *file;
        TRY(json_get_text(marks.at[i].body, "file", &file, err));
        WalName name = wal_name_parse(file, store->seg_size);
        if (name.segno > segno)
            continue;
        err_set(err, ERR_CONFLICT,
                "timeline %u of '%s' is frozen in '%s': there are two different "
                "contents of %s",
                tli, store->repo->cluster, repo_url(store->repo), file);
        return err_hint(err,
                        "two servers wrote this timeline; stop the wrong one, then 'pgdr repo "
                        "resolve %s' shows both contents and keeps the one you choose",
                        file);
    }
    return ERR_OK;
}

static ErrCode freeze(WalStore *store, const WalFile *f, const WalFoundList *found, Err *err)
{
    char tli8[9], host[256] = "";
    gethostname(host, sizeof(host) - 1);
    json_t *digests = json_array();
    for (size_t i = 0; i < found->n; i++)
        json_array_append_new(digests, json_string(found->at[i].digest));
    json_t *body AUTO(json_decrefp) =
        json_pack("{s:s,s:o,s:s,s:I}", "file", f->file, "digests", digests, "by",
                  utf8_valid(host, strlen(host)) ? host : "?", "time", (json_int_t)time_now());
    tli_text(f->name.tli, tli8);
    return timeline_mark_put(store, tli8, FROZEN, body, err);
}

static ErrCode conflict(WalStore *store, const WalFile *f, const WalFoundList *found,
                        const char *mine, Err *err)
{
    const char *other = "?";
    for (size_t i = 0; i < found->n; i++)
        if (strcmp(found->at[i].digest, mine) != 0)
            other = found->at[i].digest;
    Err second = {0};
    /* A history file that two servers made differently concerns the new timeline's name only. */
    if (f->name.kind != WAL_NAME_HISTORY && freeze(store, f, found, &second) != ERR_OK)
        log_err(LOG_ERROR, &second);
    err_set(err, ERR_CONFLICT, "'%s' is in '%s' with other content: %s there, %s here", f->file,
            repo_url(store->repo), other, mine);
    if (f->name.kind == WAL_NAME_HISTORY)
        return err_hint(err,
                        "another server has taken timeline %u; if this one was promoted by "
                        "mistake, rebuild it; else let it take a new timeline: stop it, "
                        "restore it again and promote",
                        f->name.tli);
    return err_hint(err,
                    "another server archives under this name, or this one was copied with its "
                    "identity; timeline %u is frozen until 'pgdr repo resolve %s' says which "
                    "content is right",
                    f->name.tli, f->file);
}

/* What is there under our name and digest must be whole, else it is replaced by what is proven. */
static ErrCode store_again(WalStore *store, const ObjectWriter *w, const WalFile *f,
                           const char *name, const char *digest, Err *err)
{
    WalFound found = {.stat = {0}};
    Buf data AUTO(buf_release) = {0};
    snprintf(found.file, sizeof(found.file), "%s", f->file);
    snprintf(found.digest, sizeof(found.digest), "%s", digest);
    ErrCode rc = wal_read(store, &found, &data, NULL, NULL, err);
    if (rc == ERR_OK && data.len == f->len && memcmp(data.data, f->data, f->len) == 0)
        return ERR_OK;
    if (rc == ERR_OK)
        return err_set(err, ERR_CONFLICT,
                       "'%s' is in '%s' with other content that has the same digest, %s", f->file,
                       repo_url(store->repo), digest);
    if (rc != ERR_OK && rc != ERR_DAMAGED && rc != ERR_LIMIT)
        return rc;
    log_warn("'%s' in '%s' is damaged and is written again", f->file, repo_url(store->repo));
    return wal_put(store, w, name, STORAGE_OVERWRITE, err);
}

/* The object of a file under a name, in memory. */
static ErrCode build_object(WalStore *store, const WalFile *f, const char *name, ObjectWriter **ret,
                            Err *err)
{
    WalMeta meta = {.pushed = time_now()};
    Buf sections AUTO(buf_release) = {0};
    snprintf(meta.file, sizeof(meta.file), "%s", f->file);
    gethostname(meta.host, sizeof(meta.host) - 1);
    if (f->is_segment)
        wal_index_encode(&f->index, &sections);
    ObjectWriter *w AUTO(object_writer_freep) = object_writer_new(MIN(f->len, 8 * MIB) + MIB);
    object_writer_spill(w, OBJECT_HEAP_MAX, "/var/tmp");
    TRY(wal_object_build(store, w, name, &meta, &f->pieces, &sections, err));
    *ret = steal_ptr(&w);
    return ERR_OK;
}

static ErrCode store_object(WalStore *store, const WalFile *f, WalStored *ret, Err *err)
{
    char digest[WAL_DIGEST_LEN];
    ObjectWriter *w AUTO(object_writer_freep) = NULL;
    wal_pieces_digest(&f->pieces, store->repo, digest);
    char *name AUTO(mem_freep) = wal_object_name(store, f->file, digest);
    TRY(build_object(store, f, name, &w, err));

    *ret = WAL_STORED;
    ErrCode rc = wal_put(store, w, name, STORAGE_CREATE, err);
    if (rc == ERR_EXISTS) {
        *ret = WAL_STORED_AGAIN;
        rc = store_again(store, w, f, name, digest, err);
    }
    if (rc != ERR_OK)
        return rc;
    WalFoundList found = {0};
    rc = wal_find(store, f->file, &found, err);
    if (rc == ERR_OK && found.n == 0)
        rc = err_set(err, ERR_IO, "'%s' does not list '%s', which was just written",
                     repo_url(store->repo), f->file);
    if (rc == ERR_OK && found.n > 1)
        rc = conflict(store, f, &found, digest, err);
    vec_release(&found);
    return rc;
}

ErrCode wal_file_store_orphan(WalStore *store, const WalFile *f, Err *err)
{
    char digest[WAL_DIGEST_LEN], host[256] = "";
    ObjectWriter *w AUTO(object_writer_freep) = NULL;
    gethostname(host, sizeof(host) - 1);
    wal_pieces_digest(&f->pieces, store->repo, digest);
    char *name AUTO(mem_freep) = wal_orphan_name(store, host, f->file, digest);
    TRY(build_object(store, f, name, &w, err));
    ErrCode rc = wal_put(store, w, name, STORAGE_CREATE, err);
    return rc == ERR_EXISTS ? ERR_OK : rc; /* same name, same digest: it was kept before */
}

static ErrCode store_tail(WalStore *store, const WalFile *f, Err *err)
{
    char session[33];
    Lsn start = wal_segment_start(f->name.segno, f->seg_size);
    log_warn("%s ends at " LSN_FMT " (%s): stored as the tail of an unfinished segment", f->file,
             LSN_ARG(f->check.ends), f->check.why);
    if (f->check.ends == start)
        return ERR_OK;
    return tail_put(store, f->file, start, f->check.ends, random_name(session), f->data, err);
}

ErrCode wal_file_store(WalStore *store, const WalFile *f, WalStored *ret, Err *err)
{
    if (f->is_segment)
        TRY(wal_check_frozen(store, f->name.tli, f->name.segno, err));
    if (f->name.kind == WAL_NAME_SEGMENT && !f->check.complete) {
        *ret = WAL_STORED_TAIL;
        return store_tail(store, f, err);
    }
    return store_object(store, f, ret, err);
}
