#ifndef PGDR_REPO_OBJECT_H
#define PGDR_REPO_OBJECT_H

/*
 * The envelope of every object: header, units, table, footer (format.h). Built in memory, so that
 * an upload can be repeated; read whole, or by its end first and then by ranges.
 *
 * `name` is always the object's name relative to its cluster ("packs/…"): it is bound into the
 * key and into every sealed unit, so that an object under another name cannot be opened.
 */

#include "lib/common/compress.h"
#include "lib/repo/key.h"

/*
 * What an object was written with besides its content. The same content under the same name, key
 * and stamp gives the same bytes, so that a damaged object whose digest stands elsewhere can be
 * made again from another copy of its content.
 */
typedef struct ObjectStamp {
    uint8_t key_id[KEY_ID_LEN];
    uint8_t salt[SALT_LEN];
    uint64_t created_us;
} ObjectStamp;

#define STAMP_LEN (KEY_ID_LEN + SALT_LEN + 8)
#define STAMP_TEXT_LEN (2 * STAMP_LEN + 1)
/* As hexadecimal text; `out` holds STAMP_TEXT_LEN. */
const char *stamp_format(const ObjectStamp *s, char *out);
bool stamp_parse(const char *text, ObjectStamp *ret);

/* --- writing --- */

typedef struct ObjectWriter ObjectWriter;

/* `capacity`: bytes of memory to begin with. The memory is page-aligned. */
ObjectWriter *object_writer_new(size_t capacity);
void object_writer_free(ObjectWriter *w);
DEFINE_FREEP(ObjectWriter, object_writer_free)
/* Holds at most about `limit` bytes in memory: beyond, an unlinked file in `dir` takes them. */
void object_writer_spill(ObjectWriter *w, size_t limit, const char *dir);

/* Begins an object, reusing the memory of the one before. The key is borrowed until finish. */
void object_writer_begin(ObjectWriter *w, const RepoKey *key, const char kind[KIND_LEN],
                         const char *name);
/* The same with a stamp that was used before; key->id must be the stamp's. */
void object_writer_begin_stamped(ObjectWriter *w, const RepoKey *key, const char kind[KIND_LEN],
                                 const char *name, const ObjectStamp *stamp);
/* Adds one unit of at most UNIT_RAW_MAX raw bytes; returns its stored size in *ret_stored. */
MUST_CHECK ErrCode object_writer_add(ObjectWriter *w, Compressor *c, const void *raw, size_t len,
                                     uint32_t *ret_stored, Err *err);
/* Adds a unit that is compressed already: one zstd frame. */
MUST_CHECK ErrCode object_writer_add_packed(ObjectWriter *w, const void *frame, size_t len,
                                            Err *err);
/* Bytes so far, without table and footer. */
uint64_t object_writer_len(const ObjectWriter *w);
uint32_t object_writer_units(const ObjectWriter *w);

/* Facts about a finished object, for the lists that refer to it. */
typedef struct ObjectFacts {
    uint64_t size;
    uint8_t sha256[SHA256_LEN]; /* of the whole object */
    uint64_t table_off;
    uint32_t table_len;
    uint8_t table_sha256[SHA256_LEN]; /* of the stored table frame */
    ObjectStamp stamp;
} ObjectFacts;

/* Writes the table (section LEN, then `sections`) and the footer. */
MUST_CHECK ErrCode object_writer_finish(ObjectWriter *w, uint64_t slots, const Buf *sections,
                                        ObjectFacts *ret, Err *err);
/* The finished object: memory (*ret_fd = -1) or a file. Borrowed until the next begin. */
Slice object_writer_bytes(const ObjectWriter *w, int *ret_fd);

/* Appends a section to a table that is being put together. */
void table_append(Buf *table, uint8_t type, const void *data, size_t len);

/* --- reading --- */

/* What is needed to open units and table of one object. */
typedef struct ObjectInfo {
    const RepoKey *key; /* borrowed from the repository */
    uint8_t cipher;
    uint8_t salt[SALT_LEN];
    uint64_t size;
    uint64_t table_off;
    uint32_t table_len, units;
    uint64_t slots;
    uint8_t sha256[SHA256_LEN]; /* of all before the footer */
} ObjectInfo;

/* The stamp in an object's header; the header must have been checked. */
ObjectStamp object_stamp(const void *object);

typedef struct RepoKeys {
    VEC(RepoKey *) keys;
} RepoKeys;

/* NULL when the repository has no such key. */
const RepoKey *repo_keys_find(const RepoKeys *keys, const uint8_t id[KEY_ID_LEN]);

/* From the last sizeof(ObjectFooter) bytes of an object of `size` bytes. `kind` must fit. */
MUST_CHECK ErrCode object_footer_parse(const RepoKeys *keys, const void *footer, uint64_t size,
                                       const char kind[KIND_LEN], ObjectInfo *ret, Err *err);
/* A whole object: header, footer, and that both agree. The digest over the bytes is not compared:
 * for who proves the content otherwise. */
MUST_CHECK ErrCode object_open(const RepoKeys *keys, const void *data, size_t size,
                               const char kind[KIND_LEN], ObjectInfo *ret, Err *err);
/* The same, and the digest over every byte. */
MUST_CHECK ErrCode object_parse(const RepoKeys *keys, const void *data, size_t size,
                                const char kind[KIND_LEN], ObjectInfo *ret, Err *err);
/* The same without a key and of any kind: stored bytes against stored digests. `kind` receives
 * KIND_LEN bytes and a NUL. */
MUST_CHECK ErrCode object_check_bytes(const void *data, size_t size, char *kind, Err *err);

/* Opens units of one object; one thread at a time. `info` and `name` are copied. */
typedef struct UnitReader UnitReader;
UnitReader *unit_reader_new(const ObjectInfo *info, const char *name);
void unit_reader_free(UnitReader *r);
DEFINE_FREEP(UnitReader, unit_reader_free)
/* Opens the stored table frame into its sections. */
MUST_CHECK ErrCode unit_reader_table(UnitReader *r, const void *stored, size_t len, Buf *ret,
                                     Err *err);
/* Opens unit `number` into `out`: exactly `raw_len` bytes. */
MUST_CHECK ErrCode unit_reader_open(UnitReader *r, Decompressor *d, uint64_t number,
                                    const void *stored, size_t len, void *out, size_t raw_len,
                                    Err *err);
/* The zstd frame of a unit, unsealed but not decompressed; borrowed until the next call. */
MUST_CHECK ErrCode unit_reader_frame(UnitReader *r, uint64_t number, const void *stored, size_t len,
                                     Slice *ret, Err *err);
/* The same when the raw size is not known: appended to *out, at most UNIT_RAW_MAX. */
MUST_CHECK ErrCode unit_reader_append(UnitReader *r, Decompressor *d, uint64_t number,
                                      const void *stored, size_t len, Buf *out, Err *err);

/* The section of a type, or an empty slice; a table that is cut off is ERR_DAMAGED. */
MUST_CHECK ErrCode table_find(const Buf *table, uint8_t type, Slice *ret, Err *err);
/* The stored lengths of all units (section LEN), checked against where the table begins. */
typedef VEC(uint32_t) UnitLens;
MUST_CHECK ErrCode unit_lens_parse(Slice section, uint32_t units, uint64_t table_off, UnitLens *ret,
                                   Err *err);

#endif
