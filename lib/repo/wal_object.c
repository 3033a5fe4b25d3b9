#include "lib/repo/wal_object.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/common/file.h"
#include "lib/common/hex.h"
#include "lib/common/parallel.h"
#include "lib/common/workers.h"

#define PIECE UNIT_RAW_MAX

/* --- pieces --- */

static size_t piece_count(uint64_t size)
{
    return (size_t)((size + PIECE - 1) / PIECE);
}

/* Bytes of piece `i` of a file of that many bytes. */
static size_t piece_length(uint64_t bytes, size_t i)
{
    uint64_t begin = (uint64_t)i * PIECE;
    return bytes > begin ? (size_t)MIN(bytes - begin, (uint64_t)PIECE) : 0;
}

static void digest_text(const RepoKey *key, const uint8_t *hashes, size_t n, char *out)
{
    uint8_t digest[SHA256_LEN];
    if (key->cipher == CIPHER_NONE)
        sha256_of(hashes, n * XXH128_LEN, digest);
    else
        hmac_sha256(key->wal_name_key, sizeof(key->wal_name_key), hashes, n * XXH128_LEN, digest);
    hex_format(digest, (WAL_DIGEST_LEN - 1) / 2, out);
}

/* Bytes without the zeros at the end, by blocks first. */
static size_t valid_length(const uint8_t *p, size_t len)
{
    while (len >= 4 * KIB && len % (4 * KIB) == 0 && is_all_zero(p + len - 4 * KIB, 4 * KIB))
        len -= 4 * KIB;
    while (len && p[len - 1] == 0)
        len--;
    return len;
}

void wal_pieces_init(WalPieces *p, const void *data, size_t size)
{
    *p = (WalPieces){.size = size, .valid = valid_length(data, size), .n = piece_count(size)};
    p->at = mem_zero(MAX(p->n, (size_t)1) * sizeof(*p->at));
}

void wal_piece_make(WalPieces *p, size_t i, const void *data, Compressor *c)
{
    WalPiece *piece = &p->at[i];
    const uint8_t *raw = (const uint8_t *)data + i * PIECE;
    size_t stored = piece_length(p->valid, i), bound = compress_bound(stored);
    xxh128_of(raw, piece_length(p->size, i), piece->hash);
    if (stored)
        piece->packed.len =
            compressor_run(c, raw, stored, buf_reserve(&piece->packed, bound), bound);
}

void wal_pieces_make(WalPieces *p, const void *data, size_t size, int level)
{
    Compressor *c AUTO(compressor_freep) = compressor_new_wal(level);
    wal_pieces_init(p, data, size);
    for (size_t i = 0; i < p->n; i++)
        wal_piece_make(p, i, data, c);
}

void wal_pieces_release(WalPieces *p)
{
    for (size_t i = 0; i < p->n; i++)
        buf_release(&p->at[i].packed);
    free(p->at);
    *p = (WalPieces){.at = NULL};
}

void wal_pieces_digest(const WalPieces *p, const Repo *repo, char *out)
{
    Buf hashes AUTO(buf_release) = {0};
    for (size_t i = 0; i < p->n; i++)
        buf_append(&hashes, p->at[i].hash, XXH128_LEN);
    digest_text(repo->wal_key, hashes.data, p->n, out);
}

/* --- writing --- */

static void append_meta(Buf *sections, const WalMeta *m, const char *digest)
{
    json_t *j AUTO(json_decrefp) = json_pack(
        "{s:s,s:s,s:I,s:I,s:I,s:s}", "file", m->file, "digest", digest, "size", (json_int_t)m->size,
        "valid", (json_int_t)m->valid, "pushed", (json_int_t)m->pushed, "host",
        utf8_valid(m->host, strlen(m->host)) ? m->host : "?");
    char *text AUTO(mem_freep) = json_dumps(j, JSON_COMPACT);
    table_append(sections, SECTION_META, text, strlen(text));
}

ErrCode wal_object_build(WalStore *s, ObjectWriter *w, const char *name, WalMeta *meta,
                         const WalPieces *pieces, const Buf *sections, Err *err)
{
    Buf table AUTO(buf_release) = {0};
    ObjectFacts facts;
    char digest[WAL_DIGEST_LEN];
    wal_pieces_digest(pieces, s->repo, digest);
    meta->size = pieces->size;
    meta->valid = pieces->valid;
    append_meta(&table, meta, digest);
    if (sections)
        buf_append(&table, sections->data, sections->len);
    object_writer_begin(w, s->repo->key, KIND_WAL, name);
    for (size_t i = 0; i < pieces->n && pieces->at[i].packed.len; i++)
        TRY(object_writer_add_packed(w, pieces->at[i].packed.data, pieces->at[i].packed.len, err));
    return object_writer_finish(w, 0, &table, &facts, err);
}

ErrCode wal_put(WalStore *s, const ObjectWriter *w, const char *name, StoragePutFlags flags,
                Err *err)
{
    return repo_put(s->repo, name, w, flags, err);
}

ErrCode wal_remove(WalStore *s, const WalFound *found, Err *err)
{
    char *name AUTO(mem_freep) = wal_object_name(s, found->file, found->digest);
    const char *one = name;
    return repo_remove(s->repo, &one, 1, err);
}

/* --- reading --- */

static ErrCode parse_meta(const WalStore *s, const Buf *table, const WalFound *found, WalMeta *m,
                          Err *err)
{
    Slice section;
    json_t *j AUTO(json_decrefp) = NULL;
    const char *file, *host, *digest;
    int64_t size, valid, pushed;
    TRY(table_find(table, SECTION_META, &section, err));
    TRY(json_parse_object(section.data, section.len, &j, err));
    TRY(json_get_text(j, "file", &file, err));
    TRY(json_get_text(j, "host", &host, err));
    TRY(json_get_text(j, "digest", &digest, err));
    TRY(json_get_number(j, "size", 0, (int64_t)MAX((size_t)s->seg_size, MIB), &size, err));
    TRY(json_get_number(j, "valid", 0, size, &valid, err));
    TRY(json_get_number(j, "pushed", 0, INT64_MAX, &pushed, err));
    if (strcmp(file, found->file) != 0 || strcmp(digest, found->digest) != 0)
        return err_set(err, ERR_DAMAGED, "it holds %s-%s", file, digest);
    *m = (WalMeta){.size = (uint64_t)size, .valid = (uint64_t)valid, .pushed = (TimeUs)pushed};
    snprintf(m->file, sizeof(m->file), "%s", file);
    snprintf(m->host, sizeof(m->host), "%s", host);
    return ERR_OK;
}

/* An object in memory, its table opened. */
typedef struct WalObject {
    char *name;
    Buf stored, table;
    ObjectInfo info;
    WalMeta meta;
    UnitLens lens;
    uint64_t *offs;  /* of the units */
    uint8_t *hashes; /* of the pieces, filled as they are opened */
} WalObject;

static void wal_object_release(WalObject *o)
{
    free(o->name);
    buf_release(&o->stored);
    buf_release(&o->table);
    vec_release(&o->lens);
    free(o->offs);
    free(o->hashes);
}

/* `stored_digest`: compare it; else the digest over the raw content, which says more, is. */
static ErrCode wal_object_load(WalStore *s, const WalFound *found, WalObject *o, bool stored_digest,
                               Err *err)
{
    Slice section;
    TRY(repo_get(s->repo, o->name, WAL_STORED_MAX, &o->stored, err));
    TRY((stored_digest ? object_parse : object_open)(&s->repo->keys, o->stored.data, o->stored.len,
                                                     KIND_WAL, &o->info, err));
    UnitReader *units AUTO(unit_reader_freep) = unit_reader_new(&o->info, o->name);
    TRY(unit_reader_table(units, o->stored.data + o->info.table_off, o->info.table_len, &o->table,
                          err));
    TRY(parse_meta(s, &o->table, found, &o->meta, err));
    TRY(table_find(&o->table, SECTION_LEN, &section, err));
    TRY(unit_lens_parse(section, o->info.units, o->info.table_off, &o->lens, err));
    if (o->lens.n != piece_count(o->meta.valid))
        return err_set(err, ERR_DAMAGED, "it has %zu units for %" PRIu64 " bytes", o->lens.n,
                       o->meta.valid);
    o->offs = mem_new((o->lens.n + 1) * sizeof(*o->offs));
    o->offs[0] = sizeof(ObjectHeader);
    for (size_t i = 0; i < o->lens.n; i++)
        o->offs[i + 1] = o->offs[i] + o->lens.at[i];
    o->hashes = mem_zero(MAX(piece_count(o->meta.size), (size_t)1) * XXH128_LEN);
    return ERR_OK;
}

/* Where opened pieces go: memory, or a file. */
typedef struct PieceReader {
    UnitReader *units;
    Decompressor *decompressor;
    uint8_t *buf; /* for a file; PIECE bytes */
} PieceReader;

typedef struct PiecesRead {
    WalObject *object;
    PieceReader *readers; /* one a thread */
    uint8_t *memory;      /* the whole file; NULL: to fd */
    int fd;
    const char *path;
} PiecesRead;

static ErrCode piece_read(void *arg, unsigned thread, size_t i, Err *err)
{
    PiecesRead *p = arg;
    WalObject *o = p->object;
    PieceReader *r = &p->readers[thread];
    size_t len = piece_length(o->meta.size, i), stored = piece_length(o->meta.valid, i);
    uint8_t *to = p->memory ? p->memory + i * PIECE : r->buf;
    if (stored)
        TRY(unit_reader_open(r->units, r->decompressor, i, o->stored.data + o->offs[i],
                             o->lens.at[i], to, stored, err));
    memset(to + stored, 0, len - stored);
    xxh128_of(to, len, o->hashes + i * XXH128_LEN);
    if (p->memory)
        return ERR_OK;
    return file_write_at(p->fd, to, len, (uint64_t)i * PIECE, p->path, err);
}

static ErrCode pieces_read(PiecesRead *p, unsigned threads, Err *err)
{
    WalObject *o = p->object;
    size_t n = piece_count(o->meta.size);
    threads = (unsigned)MIN((size_t)MAX(threads, 1u), MAX(n, (size_t)1));
    p->readers = mem_zero(threads * sizeof(*p->readers));
    for (unsigned i = 0; i < threads; i++) {
        p->readers[i].units = unit_reader_new(&o->info, o->name);
        p->readers[i].decompressor = decompressor_new();
        p->readers[i].buf = p->memory ? NULL : mem_new(PIECE);
    }
    ErrCode rc = parallel_run(threads, n, piece_read, p, err);
    for (unsigned i = 0; i < threads; i++) {
        unit_reader_free(p->readers[i].units);
        decompressor_free(p->readers[i].decompressor);
        free(p->readers[i].buf);
    }
    free(p->readers);
    return rc;
}

static ErrCode check_digest(const WalStore *s, const WalObject *o, const WalFound *found, Err *err)
{
    char digest[WAL_DIGEST_LEN];
    digest_text(s->repo->wal_key, o->hashes, piece_count(o->meta.size), digest);
    if (strcmp(digest, found->digest) != 0)
        return err_set(err, ERR_DAMAGED, "its content does not fit the digest in its name");
    return ERR_OK;
}

static ErrCode cannot_read(const WalStore *s, const WalObject *o, Err *err)
{
    return err_wrap(err, "cannot read '%s/%s' in '%s'", s->repo->cluster, o->name,
                    repo_url(s->repo));
}

static ErrCode read_once(WalStore *s, const WalFound *found, WalObject *o, bool stored_digest,
                         Buf *data, Err *err)
{
    ErrCode rc = wal_object_load(s, found, o, stored_digest, err);
    if (rc == ERR_OK) {
        PiecesRead p = {.object = o, .memory = buf_reserve(data, o->meta.size), .fd = -1};
        rc = pieces_read(&p, 1, err);
    }
    if (rc == ERR_OK)
        rc = check_digest(s, o, found, err);
    if (rc != ERR_OK)
        return cannot_read(s, o, err);
    data->len += o->meta.size;
    return ERR_OK;
}

/* The whole content, appended to *data once it is proven. */
static ErrCode read_content(WalStore *s, const WalFound *found, WalObject *o, bool stored_digest,
                            Buf *data, Err *err)
{
    ErrCode rc = read_once(s, found, o, stored_digest, data, err);
    if (rc == ERR_OK || !repo_reads_again(s->repo, err))
        return rc;
    char *name = steal_ptr(&o->name);
    wal_object_release(o);
    *o = (WalObject){.name = name};
    return read_once(s, found, o, stored_digest, data, err);
}

ErrCode wal_read(WalStore *s, const WalFound *found, Buf *data, WalMeta *meta, Buf *table, Err *err)
{
    WalObject o AUTO(wal_object_release) = {.name = wal_object_name(s, found->file, found->digest)};
    TRY(read_content(s, found, &o, false, data, err));
    if (meta)
        *meta = o.meta;
    if (table) {
        table->len = 0;
        buf_append(table, o.table.data, o.table.len);
    }
    return ERR_OK;
}

ErrCode wal_prove(WalStore *s, const char *name, const WalFound *found, Buf *data,
                  uint64_t *ret_stored, Err *err)
{
    WalObject o AUTO(wal_object_release) = {.name = mem_strdup(name)};
    ErrCode rc = read_content(s, found, &o, true, data, err);
    *ret_stored = o.stored.len;
    return rc;
}

static ErrCode read_to_file(WalStore *s, const WalFound *found, int fd, const char *path,
                            unsigned threads, uint64_t *ret_size, Err *err)
{
    WalObject o AUTO(wal_object_release) = {.name = wal_object_name(s, found->file, found->digest)};
    ErrCode rc = wal_object_load(s, found, &o, false, err);
    if (rc != ERR_OK)
        return cannot_read(s, &o, err);
    PiecesRead p = {.object = &o, .fd = fd, .path = path};
    rc = pieces_read(&p, threads, err);
    if (rc == ERR_OK)
        rc = check_digest(s, &o, found, err);
    if (rc == ERR_DAMAGED || rc == ERR_LIMIT)
        return cannot_read(s, &o, err);
    *ret_size = o.meta.size;
    return rc;
}

ErrCode wal_read_to_file(WalStore *s, const WalFound *found, int fd, const char *path,
                         unsigned threads, uint64_t *ret_size, Err *err)
{
    ErrCode rc = read_to_file(s, found, fd, path, threads, ret_size, err);
    return rc != ERR_OK && repo_reads_again(s->repo, err)
               ? read_to_file(s, found, fd, path, threads, ret_size, err)
               : rc;
}

static ErrCode read_table(WalStore *s, const WalFound *found, WalMeta *meta, Buf *table, Err *err)
{
    ObjectInfo info;
    char *name AUTO(mem_freep) = wal_object_name(s, found->file, found->digest);
    TRY(repo_get_table(s->repo, name, KIND_WAL, &info, table, err));
    if (parse_meta(s, table, found, meta, err) != ERR_OK)
        return err_wrap(err, "'%s/%s' in '%s'", s->repo->cluster, name, repo_url(s->repo));
    return ERR_OK;
}

ErrCode wal_read_table(WalStore *s, const WalFound *found, WalMeta *meta, Buf *table, Err *err)
{
    ErrCode rc = read_table(s, found, meta, table, err);
    return rc != ERR_OK && repo_reads_again(s->repo, err) ? read_table(s, found, meta, table, err)
                                                          : rc;
}

/* --- for another repository --- */

bool wal_same_digests(const Repo *a, const Repo *b)
{
    const RepoKey *x = a->wal_key, *y = b->wal_key;
    if (x->cipher == CIPHER_NONE || y->cipher == CIPHER_NONE)
        return x->cipher == y->cipher;
    return memcmp(x->wal_name_key, y->wal_name_key, sizeof(x->wal_name_key)) == 0;
}

/* The digest of every piece, each opened from its frame. */
static ErrCode digest_pieces(WalObject *o, Err *err)
{
    Decompressor *d AUTO(decompressor_freep) = decompressor_new();
    UnitReader *units AUTO(unit_reader_freep) = unit_reader_new(&o->info, o->name);
    uint8_t *raw AUTO(mem_freep) = mem_new(PIECE);
    for (size_t i = 0; i < piece_count(o->meta.size); i++) {
        size_t len = piece_length(o->meta.size, i), stored = piece_length(o->meta.valid, i);
        TRY(cancel_check(err));
        if (stored)
            TRY(unit_reader_open(units, d, i, o->stored.data + o->offs[i], o->lens.at[i], raw,
                                 stored, err));
        memset(raw + stored, 0, len - stored);
        xxh128_of(raw, len, o->hashes + i * XXH128_LEN);
    }
    return ERR_OK;
}

/* All sections but those that are made anew. */
static ErrCode keep_sections(const Buf *table, Buf *ret, Err *err)
{
    static const uint8_t kept[] = {SECTION_FRAG, SECTION_TIME, SECTION_EVENT, SECTION_BLOCKS};
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        Slice s;
        TRY(table_find(table, kept[i], &s, err));
        if (s.data)
            table_append(ret, kept[i], s.data, s.len);
    }
    return ERR_OK;
}

static ErrCode write_again(WalObject *o, WalStore *to, const char *digest, ObjectWriter *w,
                           Err *err)
{
    Buf sections AUTO(buf_release) = {0};
    ObjectFacts facts;
    UnitReader *units AUTO(unit_reader_freep) = unit_reader_new(&o->info, o->name);
    char *name AUTO(mem_freep) = wal_object_name(to, o->meta.file, digest);
    append_meta(&sections, &o->meta, digest);
    TRY(keep_sections(&o->table, &sections, err));
    object_writer_begin(w, to->repo->key, KIND_WAL, name);
    for (size_t i = 0; i < o->lens.n; i++) {
        Slice frame;
        TRY(unit_reader_frame(units, i, o->stored.data + o->offs[i], o->lens.at[i], &frame, err));
        TRY(object_writer_add_packed(w, frame.data, frame.len, err));
    }
    return object_writer_finish(w, 0, &sections, &facts, err);
}

ErrCode wal_object_remake(WalStore *from, const WalFound *found, WalStore *to, ObjectWriter *w,
                          char ret_digest[WAL_DIGEST_LEN], Err *err)
{
    WalObject o AUTO(wal_object_release) = {.name =
                                                wal_object_name(from, found->file, found->digest)};
    ErrCode rc = wal_object_load(from, found, &o, true, err);
    if (rc == ERR_OK)
        rc = digest_pieces(&o, err);
    if (rc == ERR_OK)
        rc = check_digest(from, &o, found, err);
    if (rc != ERR_OK)
        return cannot_read(from, &o, err);
    digest_text(to->repo->wal_key, o.hashes, piece_count(o.meta.size), ret_digest);
    return write_again(&o, to, ret_digest, w, err);
}
