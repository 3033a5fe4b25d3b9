/*
 * bench-floor: what a backup, a restore, a push and a get cost at the least. It reads, compresses
 * with zstd (or decompresses), writes and makes durable, with two threads; it names no object,
 * checks nothing and keeps no promise. How far a real program is from it is the price of the rest.
 *
 *     bench-floor backup DATA OUT     all files below DATA but the WAL, in packs below OUT
 *     bench-floor restore OUT TO      those packs into the empty directory TO
 *     bench-floor push FILE OUT       one WAL segment to the new file OUT
 *     bench-floor get OUT FILE        and back
 *     bench-floor warm DIR...         reads all files, so that they are in the page cache
 *
 * OUT is a folder (of push and get, a file in one), or https://HOST:PORT/BUCKET (and a name) with
 * the authority's certificate as a further argument: see floor_place.h.
 *
 * A pack is a row of records: a Record, its Parts with a path behind each, one zstd frame.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <zstd.h>

#include "lib/common/file.h"
#include "lib/common/parallel.h"
#include "tests/bench/floor_place.h"

#define THREADS PLACE_THREADS
#define LEVEL 1
#define UNIT (128 * KIB)
#define RANGE (64 * MIB)
#define PACK (32 * MIB)
#define WRITE_SIZE MIB
#define BATCH_FILES 256
#define PIECE MIB /* of a segment */
#define ALIGNMENT PLACE_ALIGN
#define LIST "floor.list"
#define LIST_MAX (64 * MIB)
#define SEGMENT_MAX GIB
#define STORED_MAX (32 * MIB) /* of a segment fetched from a server */
#define RECORD_MAGIC 0x464c4f52u

typedef struct Record {
    uint32_t magic, parts, raw, stored;
} Record;

typedef struct Part {
    uint64_t off; /* in the file */
    uint32_t len, path_len;
} Part;

/* --- what there is to do --- */

typedef struct Item {
    char *path; /* of one large file, relative; NULL: files `first` … `until` of the list */
    uint64_t off, len;
    size_t first, until;
} Item;

typedef struct SmallFile {
    char *path;
    size_t size;
} SmallFile;

typedef struct Todo {
    const char *from;
    VEC(SmallFile) small;
    VEC(Item) items;
    StrList dirs;
} Todo;

static Todo todo; /* nftw() hands its callback nothing */

static bool is_left_out(const char *path)
{
    return strncmp(path, "pg_wal/", 7) == 0 || strncmp(path, "postmaster.", 11) == 0 ||
           strcmp(path, LIST) == 0;
}

static int visit(const char *full, const struct stat *st, int type, struct FTW *where)
{
    const char *path = full + strlen(todo.from);
    path += *path == '/';
    (void)where;
    if (type == FTW_D && *path)
        vec_push(&todo.dirs, mem_strdup(path));
    if (type != FTW_F || is_left_out(path) || !S_ISREG(st->st_mode))
        return 0;
    uint64_t size = (uint64_t)st->st_size;
    if (size <= UNIT)
        vec_push(&todo.small, (SmallFile){mem_strdup(path), (size_t)size});
    for (uint64_t off = 0; size > UNIT && off < size; off += RANGE)
        vec_push(&todo.items,
                 (Item){.path = mem_strdup(path), .off = off, .len = MIN(size - off, RANGE)});
    return 0;
}

static ErrCode todo_find(const char *from, Err *err)
{
    todo = (Todo){.from = from};
    if (nftw(from, visit, 64, FTW_PHYS) != 0)
        return err_errno(err, errno, "cannot walk '%s'", from);
    for (size_t i = 0; i < todo.small.n;) {
        Item batch = {.first = i};
        for (size_t raw = 0; i < todo.small.n && i - batch.first < BATCH_FILES; i++) {
            raw += todo.small.at[i].size;
            if (raw > UNIT && i > batch.first)
                break;
        }
        batch.until = i;
        vec_push(&todo.items, batch);
    }
    return ERR_OK;
}

/* --- backup --- */

typedef struct Packer {
    ZSTD_CCtx *zstd;
    uint8_t *pack, *raw;
    size_t used;
    unsigned thread, packs;
} Packer;

static void pack_name(unsigned thread, unsigned i, char out[32])
{
    snprintf(out, 32, "%u.%u", thread, i);
}

static ErrCode pack_write(Packer *p, Err *err)
{
    char name[32];
    if (!p->used)
        return ERR_OK;
    pack_name(p->thread, p->packs++, name);
    TRY(place_put(p->thread, name, p->pack, p->used, err));
    p->used = 0;
    return ERR_OK;
}

static void pack_append(Packer *p, const void *data, size_t len)
{
    memcpy(p->pack + p->used, data, len);
    p->used += len;
}

/* What lies in p->raw, and where it comes from. */
static ErrCode pack_add(Packer *p, const Part *parts, const char *const *paths, uint32_t n,
                        size_t raw, Err *err)
{
    size_t room = sizeof(Record) + ZSTD_compressBound(raw);
    for (uint32_t i = 0; i < n; i++)
        room += sizeof(Part) + parts[i].path_len;
    if (p->used + room > PACK)
        TRY(pack_write(p, err));
    Record *record = (Record *)(void *)(p->pack + p->used);
    p->used += sizeof(Record);
    for (uint32_t i = 0; i < n; i++) {
        pack_append(p, &parts[i], sizeof(Part));
        pack_append(p, paths[i], parts[i].path_len);
    }
    size_t stored = ZSTD_compressCCtx(p->zstd, p->pack + p->used, PACK + ALIGNMENT - p->used,
                                      p->raw, raw, LEVEL);
    if (ZSTD_isError(stored))
        return err_set(err, ERR_IO, "zstd: %s", ZSTD_getErrorName(stored));
    Record written = {RECORD_MAGIC, n, (uint32_t)raw, (uint32_t)stored};
    memcpy(record, &written, sizeof(written));
    p->used += stored;
    return ERR_OK;
}

static ErrCode pack_range(Packer *p, const Item *item, Err *err)
{
    int fd AUTO(fd_closep) = -1;
    char *full AUTO(mem_freep) = path_join(todo.from, item->path);
    TRY(file_open(full, O_RDONLY, 0, &fd, err));
    for (uint64_t off = item->off, end = item->off + item->len; off < end;) {
        size_t got;
        TRY(file_read_at(fd, p->raw, MIN(UNIT, end - off), off, &got, full, err));
        if (!got)
            break;
        Part part = {.off = off, .len = (uint32_t)got, .path_len = (uint32_t)strlen(item->path)};
        TRY(pack_add(p, &part, (const char *const *)&item->path, 1, got, err));
        off += got;
    }
    return ERR_OK;
}

static ErrCode pack_batch(Packer *p, const Item *item, Err *err)
{
    Part parts[BATCH_FILES];
    const char *paths[BATCH_FILES];
    uint32_t n = 0;
    size_t raw = 0, got;
    for (size_t i = item->first; i < item->until; i++, n++) {
        int fd AUTO(fd_closep) = -1;
        const SmallFile *f = &todo.small.at[i];
        char *full AUTO(mem_freep) = path_join(todo.from, f->path);
        TRY(file_open(full, O_RDONLY, 0, &fd, err));
        TRY(file_read_at(fd, p->raw + raw, MIN(f->size, UNIT - raw), 0, &got, full, err));
        paths[n] = f->path;
        parts[n] = (Part){.len = (uint32_t)got, .path_len = (uint32_t)strlen(f->path)};
        raw += got;
    }
    return pack_add(p, parts, paths, n, raw, err);
}

static ErrCode pack_item(void *arg, unsigned thread, size_t i, Err *err)
{
    Packer *p = (Packer *)arg + thread;
    const Item *item = &todo.items.at[i];
    return item->path ? pack_range(p, item, err) : pack_batch(p, item, err);
}

static ErrCode pack_end(void *arg, unsigned thread, size_t i, Err *err)
{
    (void)thread;
    return pack_write((Packer *)arg + i, err);
}

static void list_append(Buf *list, const char *name)
{
    buf_append(list, name, strlen(name) + 1);
}

/* The directories, for the empty ones; then, behind an empty name, the packs. */
static ErrCode list_write(const Packer *packers, Err *err)
{
    Buf text AUTO(buf_release) = {0};
    char name[32];
    for (size_t i = 0; i < todo.dirs.n; i++)
        list_append(&text, todo.dirs.at[i]);
    list_append(&text, "");
    for (unsigned i = 0; i < THREADS; i++)
        for (unsigned n = 0; n < packers[i].packs; n++) {
            pack_name(i, n, name);
            list_append(&text, name);
        }
    uint8_t *copy AUTO(mem_freep) = mem_aligned(ALIGNMENT, align_up(text.len, ALIGNMENT));
    memcpy(copy, text.data, text.len);
    return place_put(0, LIST, copy, text.len, err);
}

static ErrCode run_backup(char **args, Err *err)
{
    Packer packers[THREADS];
    TRY(todo_find(args[0], err));
    if (!args[2])
        TRY(dir_make(args[1], 0700, err));
    TRY(place_open(args[1], args[2], err));
    for (unsigned i = 0; i < THREADS; i++)
        packers[i] = (Packer){.zstd = ZSTD_createCCtx(),
                              .pack = mem_aligned(ALIGNMENT, PACK + ALIGNMENT),
                              .raw = mem_aligned(ALIGNMENT, UNIT),
                              .thread = i};
    TRY(parallel_run(THREADS, todo.items.n, pack_item, packers, err));
    TRY(parallel_run(THREADS, THREADS, pack_end, packers, err));
    TRY(list_write(packers, err));
    return place_finish(err);
}

/* --- restore --- */

typedef struct Unpacker {
    ZSTD_DCtx *zstd;
    uint8_t *pack, *raw;
    char *path; /* of the open file */
    int fd;
    uint64_t off; /* in it, of what is gathered in raw */
    size_t gathered;
} Unpacker;

typedef struct Restore {
    const char *to;
    StrList packs;
    Unpacker unpackers[THREADS];
} Restore;

static ErrCode out_flush(Unpacker *u, Err *err)
{
    size_t direct = u->gathered / ALIGNMENT * ALIGNMENT;
    if (u->off % ALIGNMENT)
        direct = 0;
    TRY(file_write_at(u->fd, u->raw, direct, u->off, u->path, err));
    if (direct < u->gathered) {
        (void)!fcntl(u->fd, F_SETFL, fcntl(u->fd, F_GETFL) & ~O_DIRECT);
        TRY(file_write_at(u->fd, u->raw + direct, u->gathered - direct, u->off + direct, u->path,
                          err));
    }
    u->off += u->gathered;
    u->gathered = 0;
    return ERR_OK;
}

static ErrCode out_close(Unpacker *u, Err *err)
{
    ErrCode rc = u->fd >= 0 ? out_flush(u, err) : ERR_OK;
    fd_closep(&u->fd);
    free(u->path);
    u->path = NULL;
    return rc;
}

static ErrCode out_open(Unpacker *u, const char *to, const Part *part, const char *path, Err *err)
{
    TRY(out_close(u, err));
    u->path = mem_printf("%s/%.*s", to, (int)part->path_len, path);
    if (file_open(u->path, O_WRONLY | O_CREAT | O_DIRECT, 0600, &u->fd, err) != ERR_OK)
        TRY(file_open(u->path, O_WRONLY | O_CREAT, 0600, &u->fd, err));
    u->off = part->off;
    return ERR_OK;
}

/* One unit of a large file: gathered to larger writes. */
static ErrCode unpack_large(Unpacker *u, const char *to, const Record *r, const Part *part,
                            const char *path, const uint8_t *frame, Err *err)
{
    size_t dir = strlen(to) + 1;
    bool same = u->path && strlen(u->path) == dir + part->path_len &&
                memcmp(u->path + dir, path, part->path_len) == 0;
    if (!same || part->off != u->off + u->gathered)
        TRY(out_open(u, to, part, path, err));
    if (u->gathered + r->raw > WRITE_SIZE)
        TRY(out_flush(u, err));
    size_t n = ZSTD_decompressDCtx(u->zstd, u->raw + u->gathered, r->raw, frame, r->stored);
    if (n != r->raw)
        return err_set(err, ERR_DAMAGED, "a frame of '%s' does not decompress", u->path);
    u->gathered += n;
    return ERR_OK;
}

static ErrCode unpack_small(Unpacker *u, const char *to, const Record *r, const uint8_t *parts,
                            const uint8_t *frame, Err *err)
{
    uint8_t *raw = u->raw;
    TRY(out_close(u, err));
    if (ZSTD_decompressDCtx(u->zstd, raw, UNIT, frame, r->stored) != r->raw)
        return err_set(err, ERR_DAMAGED, "a frame does not decompress");
    for (uint32_t i = 0; i < r->parts; i++) {
        int fd AUTO(fd_closep) = -1;
        Part part;
        memcpy(&part, parts, sizeof(part));
        char *path AUTO(mem_freep) =
            mem_printf("%s/%.*s", to, (int)part.path_len, (const char *)parts + sizeof(part));
        TRY(file_open(path, O_WRONLY | O_CREAT, 0600, &fd, err));
        TRY(file_write(fd, raw, part.len, path, err));
        raw += part.len;
        parts += sizeof(part) + part.path_len;
    }
    return ERR_OK;
}

static ErrCode unpack_record(Unpacker *u, const char *to, const uint8_t *at, size_t *ret_len,
                             Err *err)
{
    Record r;
    Part part;
    memcpy(&r, at, sizeof(r));
    *ret_len = 0;
    if (r.magic != RECORD_MAGIC)
        return ERR_OK;
    const uint8_t *parts = at + sizeof(r), *frame = parts;
    for (uint32_t i = 0; i < r.parts; i++) {
        memcpy(&part, frame, sizeof(part));
        frame += sizeof(part) + part.path_len;
    }
    *ret_len = (size_t)(frame - at) + r.stored;
    if (r.raw > UNIT || *ret_len > PACK)
        return err_set(err, ERR_DAMAGED, "a record is too long");
    bool large = r.parts == 1 && (part.off || r.raw == UNIT);
    if (large)
        return unpack_large(u, to, &r, &part, (const char *)parts + sizeof(part), frame, err);
    return unpack_small(u, to, &r, parts, frame, err);
}

static ErrCode unpack(void *arg, unsigned thread, size_t i, Err *err)
{
    Restore *r = arg;
    Unpacker *u = &r->unpackers[thread];
    size_t len, at = 0, n = 1;
    TRY(place_get(thread, r->packs.at[i], u->pack, PACK + ALIGNMENT, &len, err));
    while (n && at + sizeof(Record) <= len) {
        TRY(unpack_record(u, r->to, u->pack + at, &n, err));
        at += n;
    }
    return out_close(u, err);
}

/* Makes the directories and learns the packs. */
static ErrCode list_read(Restore *r, Err *err)
{
    bool packs = false;
    size_t len;
    uint8_t *text AUTO(mem_freep) = mem_new(LIST_MAX);
    TRY(dir_make(r->to, 0700, err));
    TRY(place_get(0, LIST, text, LIST_MAX, &len, err));
    for (const char *p = (char *)text, *end = p + len; p < end; p += strlen(p) + 1) {
        packs |= !*p;
        char *dir AUTO(mem_freep) = path_join(r->to, p);
        if (packs && *p)
            vec_push(&r->packs, mem_strdup(p));
        else if (*p && mkdir(dir, 0700) != 0)
            return err_errno(err, errno, "cannot create '%s'", dir);
    }
    return ERR_OK;
}

static ErrCode run_restore(char **args, Err *err)
{
    int fd AUTO(fd_closep) = -1;
    Restore r = {.to = args[1]};
    TRY(place_open(args[0], args[2], err));
    TRY(list_read(&r, err));
    for (unsigned i = 0; i < THREADS; i++)
        r.unpackers[i] = (Unpacker){.zstd = ZSTD_createDCtx(),
                                    .pack = mem_aligned(ALIGNMENT, PACK + ALIGNMENT),
                                    .raw = mem_aligned(ALIGNMENT, WRITE_SIZE),
                                    .fd = -1};
    TRY(parallel_run(THREADS, r.packs.n, unpack, &r, err));
    TRY(file_open(r.to, O_RDONLY, 0, &fd, err));
    if (syncfs(fd) != 0)
        return err_errno(err, errno, "cannot make '%s' durable", r.to);
    return ERR_OK;
}

/* --- one segment --- */

typedef struct Segment {
    uint8_t *raw, *frames;
    size_t len, bound; /* bytes of raw; room for each frame */
    size_t stored[SEGMENT_MAX / PIECE];
    void *zstd[THREADS];
    int fd;
    const char *to;
} Segment;

static ErrCode squeeze(void *arg, unsigned thread, size_t i, Err *err)
{
    Segment *s = arg;
    size_t n = ZSTD_compressCCtx(s->zstd[thread], s->frames + i * s->bound, s->bound,
                                 s->raw + i * PIECE, MIN(PIECE, s->len - i * PIECE), LEVEL);
    if (ZSTD_isError(n))
        return err_set(err, ERR_IO, "zstd: %s", ZSTD_getErrorName(n));
    s->stored[i] = n;
    return ERR_OK;
}

/* "https://host/bucket/name" into both; the caller frees. */
static char *split_url(const char *url, char **ret_name)
{
    const char *slash = strrchr(url, '/');
    *ret_name = mem_strdup(slash + 1);
    return mem_strndup(url, (size_t)(slash - url));
}

static ErrCode push_at_once(Segment *s, size_t n, const char *url, const char *ca_file, Err *err)
{
    size_t len = 0;
    char *name AUTO(mem_freep) = NULL, *bucket AUTO(mem_freep) = split_url(url, &name);
    for (size_t i = 0; i < n; i++) {
        memmove(s->frames + len, s->frames + i * s->bound, s->stored[i]);
        len += s->stored[i];
    }
    TRY(place_open(bucket, ca_file, err));
    return place_put(0, name, s->frames, len, err);
}

static ErrCode run_push(char **args, Err *err)
{
    static Segment s;
    Buf raw = {0};
    int fd AUTO(fd_closep) = -1;
    TRY(file_read_all(args[0], SEGMENT_MAX, &raw, err));
    size_t n = (raw.len + PIECE - 1) / PIECE;
    s.raw = raw.data;
    s.len = raw.len;
    s.bound = ZSTD_compressBound(PIECE);
    s.frames = mem_new(n * s.bound);
    for (unsigned i = 0; i < THREADS; i++)
        s.zstd[i] = ZSTD_createCCtx();
    TRY(parallel_run(THREADS, n, squeeze, &s, err));
    if (args[2])
        return push_at_once(&s, n, args[1], args[2], err);
    TRY(file_open(args[1], O_WRONLY | O_CREAT | O_EXCL, 0600, &fd, err));
    for (size_t i = 0; i < n; i++)
        TRY(file_write(fd, s.frames + i * s.bound, s.stored[i], args[1], err));
    TRY(file_sync(fd, args[1], err));
    char *dir AUTO(mem_freep) = path_parent(args[1]);
    return dir_sync(dir, err);
}

static ErrCode expand(void *arg, unsigned thread, size_t i, Err *err)
{
    Segment *s = arg;
    uint8_t *out = s->raw + thread * PIECE;
    size_t n = ZSTD_decompressDCtx(s->zstd[thread], out, PIECE, s->frames + s->stored[i],
                                   s->stored[i + 1] - s->stored[i]);
    if (ZSTD_isError(n))
        return err_set(err, ERR_DAMAGED, "zstd: %s", ZSTD_getErrorName(n));
    return file_write_at(s->fd, out, n, i * PIECE, s->to, err);
}

static ErrCode get_stored(char **args, Buf *ret, Err *err)
{
    if (!args[2])
        return file_read_all(args[0], SEGMENT_MAX, ret, err);
    char *name AUTO(mem_freep) = NULL, *bucket AUTO(mem_freep) = split_url(args[0], &name);
    TRY(place_open(bucket, args[2], err));
    return place_get(0, name, buf_reserve(ret, STORED_MAX), STORED_MAX, &ret->len, err);
}

static ErrCode run_get(char **args, Err *err)
{
    static Segment s;
    Buf stored = {0};
    size_t n = 0;
    TRY(get_stored(args, &stored, err));
    s = (Segment){.frames = stored.data, .raw = mem_new(THREADS * PIECE), .to = args[1]};
    for (size_t at = 0; at < stored.len && n + 1 < ARRAY_LEN(s.stored); n++) {
        size_t len = ZSTD_findFrameCompressedSize(stored.data + at, stored.len - at);
        if (ZSTD_isError(len))
            return err_set(err, ERR_DAMAGED, "zstd: %s", ZSTD_getErrorName(len));
        s.stored[n] = at;
        s.stored[n + 1] = at += len;
    }
    for (unsigned i = 0; i < THREADS; i++)
        s.zstd[i] = ZSTD_createDCtx();
    TRY(file_open(args[1], O_WRONLY | O_CREAT | O_TRUNC, 0600, &s.fd, err));
    TRY(parallel_run(THREADS, n, expand, &s, err));
    return file_close(&s.fd, args[1], err);
}

/* --- the page cache --- */

static int read_file(const char *path, const struct stat *st, int type, struct FTW *where)
{
    static uint8_t buf[MIB];
    int fd = type == FTW_F && S_ISREG(st->st_mode) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    (void)where;
    while (fd >= 0 && read(fd, buf, sizeof(buf)) > 0) {
    }
    if (fd >= 0)
        close(fd);
    return 0;
}

static ErrCode run_warm(char **args, Err *err)
{
    for (; *args; args++)
        if (nftw(*args, read_file, 64, FTW_PHYS) != 0)
            return err_errno(err, errno, "cannot walk '%s'", *args);
    return ERR_OK;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        ErrCode (*run)(char **args, Err *err);
    } commands[] = {{"backup", run_backup},
                    {"restore", run_restore},
                    {"push", run_push},
                    {"get", run_get},
                    {"warm", run_warm}};
    Err err = {0};
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (argc < 3 || strcmp(argv[1], commands[i].name) != 0)
            continue;
        if (argc != 4 && argc != 5 && commands[i].run != run_warm)
            break;
        if (commands[i].run(argv + 2, &err) == ERR_OK)
            return 0;
        fprintf(stderr, "bench-floor: %s\n", err.message);
        return 1;
    }
    fprintf(stderr, "usage: bench-floor backup|restore|push|get FROM TO [CA], or warm DIR...\n");
    return 2;
}
