#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "lib/common/bytes.h"
#include "lib/common/file.h"
#include "lib/common/hex.h"
#include "lib/repo/object.h"
#include "lib/repo/seal.h"

#define ALIGNMENT 4096

struct ObjectWriter {
    uint8_t *data; /* what is not in the spill file yet */
    size_t len, cap;
    uint64_t spilled; /* bytes in the spill file */
    size_t spill_limit;
    char *spill_dir;
    int spill_fd;

    ObjectStamp stamp;
    ObjectHeader header;
    Cipher *cipher;
    char *name;
    Sha256 *sha;
    Buf lens;
    uint32_t units;
    Buf scratch; /* compressed bytes on their way to being sealed */
};

ObjectWriter *object_writer_new(size_t capacity)
{
    ObjectWriter *w = NEW(ObjectWriter);
    w->cap = align_up(MAX(capacity, (size_t)ALIGNMENT), ALIGNMENT);
    w->data = mem_aligned(ALIGNMENT, w->cap);
    w->sha = sha256_new();
    w->spill_fd = -1;
    return w;
}

void object_writer_free(ObjectWriter *w)
{
    if (!w)
        return;
    free(w->data);
    free(w->spill_dir);
    fd_closep(&w->spill_fd);
    cipher_free(w->cipher);
    free(w->name);
    sha256_free(w->sha);
    buf_release(&w->lens);
    buf_release(&w->scratch);
    free(w);
}

void object_writer_spill(ObjectWriter *w, size_t limit, const char *dir)
{
    free(w->spill_dir);
    w->spill_dir = mem_strdup(dir);
    w->spill_limit = limit;
}

static void writer_reserve(ObjectWriter *w, size_t more)
{
    if (w->cap - w->len >= more)
        return;
    size_t cap = align_up(MAX(w->len + more, w->cap * 2), ALIGNMENT);
    uint8_t *data = mem_aligned(ALIGNMENT, cap);
    memcpy(data, w->data, w->len);
    free(w->data);
    w->data = data;
    w->cap = cap;
}

/* Counts bytes that were written behind w->len into the object. */
static void writer_took(ObjectWriter *w, size_t len)
{
    sha256_add(w->sha, w->data + w->len, len);
    w->len += len;
}

static void writer_append(ObjectWriter *w, const void *data, size_t len)
{
    writer_reserve(w, len);
    memcpy(w->data + w->len, data, len);
    writer_took(w, len);
}

static ErrCode writer_spill(ObjectWriter *w, bool all, Err *err)
{
    if (!w->spill_dir || (!all && w->len < w->spill_limit) || (all && w->spill_fd < 0))
        return ERR_OK;
    if (w->spill_fd < 0) {
        TRY(file_open(w->spill_dir, O_TMPFILE | O_RDWR, 0600, &w->spill_fd, err));
    }
    TRY(file_write_at(w->spill_fd, w->data, w->len, w->spilled, w->spill_dir, err));
    w->spilled += w->len;
    w->len = 0;
    return ERR_OK;
}

const char *stamp_format(const ObjectStamp *s, char *out)
{
    uint8_t bytes[STAMP_LEN];
    memcpy(bytes, s->key_id, KEY_ID_LEN);
    memcpy(bytes + KEY_ID_LEN, s->salt, SALT_LEN);
    set_u64(bytes + KEY_ID_LEN + SALT_LEN, s->created_us);
    return hex_format(bytes, sizeof(bytes), out);
}

bool stamp_parse(const char *text, ObjectStamp *ret)
{
    uint8_t bytes[STAMP_LEN];
    if (!hex_parse(text, '\0', bytes, sizeof(bytes)))
        return false;
    memcpy(ret->key_id, bytes, KEY_ID_LEN);
    memcpy(ret->salt, bytes + KEY_ID_LEN, SALT_LEN);
    ret->created_us = get_u64(bytes + KEY_ID_LEN + SALT_LEN);
    return true;
}

ObjectStamp object_stamp(const void *object)
{
    ObjectHeader h;
    ObjectStamp s;
    memcpy(&h, object, sizeof(h));
    memcpy(s.key_id, h.key_id, KEY_ID_LEN);
    memcpy(s.salt, h.salt, SALT_LEN);
    s.created_us = h.created_us;
    return s;
}

void object_writer_begin_stamped(ObjectWriter *w, const RepoKey *key, const char kind[KIND_LEN],
                                 const char *name, const ObjectStamp *stamp)
{
    w->len = 0;
    w->spilled = 0;
    w->units = 0;
    w->lens.len = 0;
    w->stamp = *stamp;
    free(w->name);
    w->name = mem_strdup(name);
    sha256_reset(w->sha);

    ObjectHeader *h = &w->header;
    *h = (ObjectHeader){.frame_magic = FRAME_HEADER,
                        .frame_len = sizeof(*h) - FRAME_PREFIX_LEN,
                        .version = FORMAT_VERSION,
                        .cipher = key->cipher,
                        .created_us = stamp->created_us};
    memcpy(h->kind, kind, KIND_LEN);
    memcpy(h->repo_id, key->repo_id, REPO_ID_LEN);
    memcpy(h->key_id, key->id, KEY_ID_LEN);
    memcpy(h->salt, stamp->salt, SALT_LEN);
    h->crc = crc32c(0, h, offsetof(ObjectHeader, crc));
    writer_append(w, h, sizeof(*h));

    cipher_free(w->cipher);
    w->cipher = key->cipher == CIPHER_NONE ? NULL : repo_key_object_cipher(key, h->salt, name);
}

void object_writer_begin(ObjectWriter *w, const RepoKey *key, const char kind[KIND_LEN],
                         const char *name)
{
    ObjectStamp stamp = {.created_us = (uint64_t)time_now()};
    memcpy(stamp.key_id, key->id, KEY_ID_LEN);
    random_bytes(stamp.salt, SALT_LEN);
    object_writer_begin_stamped(w, key, kind, name, &stamp);
}

/* Seals `plain` behind w->len as a skippable frame; returns the bytes it takes. */
static size_t writer_seal(ObjectWriter *w, uint32_t magic, uint32_t domain, uint64_t number,
                          const void *plain, size_t len)
{
    size_t total = FRAME_PREFIX_LEN + len + CIPHER_TAG_LEN;
    writer_reserve(w, total);
    uint8_t *to = w->data + w->len;
    set_u32(to, magic);
    set_u32(to + 4, (uint32_t)(len + CIPHER_TAG_LEN));
    seal_unit(w->cipher, w->name, domain, number, plain, len, to + FRAME_PREFIX_LEN);
    writer_took(w, total);
    return total;
}

static void writer_count(ObjectWriter *w, size_t stored)
{
    buf_append_varint(&w->lens, stored);
    w->units++;
}

ErrCode object_writer_add(ObjectWriter *w, Compressor *c, const void *raw, size_t len,
                          uint32_t *ret_stored, Err *err)
{
    size_t bound = compress_bound(len), stored;
    if (w->cipher) {
        w->scratch.len = 0;
        size_t n = compressor_run(c, raw, len, buf_reserve(&w->scratch, bound), bound);
        stored = writer_seal(w, FRAME_SEALED, DOMAIN_UNIT, w->units, w->scratch.data, n);
    } else {
        writer_reserve(w, bound);
        stored = compressor_run(c, raw, len, w->data + w->len, bound);
        writer_took(w, stored);
    }
    writer_count(w, stored);
    if (ret_stored)
        *ret_stored = (uint32_t)stored;
    return writer_spill(w, false, err);
}

ErrCode object_writer_add_packed(ObjectWriter *w, const void *frame, size_t len, Err *err)
{
    size_t stored = len;
    if (w->cipher)
        stored = writer_seal(w, FRAME_SEALED, DOMAIN_UNIT, w->units, frame, len);
    else
        writer_append(w, frame, len);
    writer_count(w, stored);
    return writer_spill(w, false, err);
}

uint64_t object_writer_len(const ObjectWriter *w)
{
    return w->spilled + w->len;
}

uint32_t object_writer_units(const ObjectWriter *w)
{
    return w->units;
}

static void writer_add_table(ObjectWriter *w, const Buf *sections, ObjectFacts *facts)
{
    Buf table AUTO(buf_release) = {0};
    table_append(&table, SECTION_LEN, w->lens.data, w->lens.len);
    if (sections)
        buf_append(&table, sections->data, sections->len);

    size_t begin = w->len;
    if (w->cipher) {
        writer_seal(w, FRAME_TABLE, DOMAIN_TABLE, 0, table.data, table.len);
    } else {
        uint8_t prefix[FRAME_PREFIX_LEN];
        set_u32(prefix, FRAME_TABLE);
        set_u32(prefix + 4, (uint32_t)table.len);
        writer_reserve(w, sizeof(prefix) + table.len);
        writer_append(w, prefix, sizeof(prefix));
        writer_append(w, table.data, table.len);
    }
    facts->table_off = w->spilled + begin;
    facts->table_len = (uint32_t)(w->len - begin);
    sha256_of(w->data + begin, facts->table_len, facts->table_sha256);
}

ErrCode object_writer_finish(ObjectWriter *w, uint64_t slots, const Buf *sections, ObjectFacts *ret,
                             Err *err)
{
    ObjectFacts facts = {.stamp = w->stamp};
    writer_add_table(w, sections, &facts);
    ObjectFooter f = {.frame_magic = FRAME_FOOTER,
                      .frame_len = sizeof(f) - FRAME_PREFIX_LEN,
                      .version = FORMAT_VERSION,
                      .cipher = w->header.cipher,
                      .table_off = facts.table_off,
                      .table_len = facts.table_len,
                      .units = w->units,
                      .slots = slots};
    memcpy(f.kind, w->header.kind, KIND_LEN);
    memcpy(f.key_id, w->header.key_id, KEY_ID_LEN);
    memcpy(f.salt, w->header.salt, SALT_LEN);
    memcpy(f.magic, FOOTER_MAGIC, sizeof(f.magic));
    sha256_result(w->sha, f.sha256);
    f.crc = crc32c(0, &f, offsetof(ObjectFooter, crc));
    writer_append(w, &f, sizeof(f));

    facts.size = object_writer_len(w);
    sha256_result(w->sha, facts.sha256);
    TRY(writer_spill(w, true, err));
    *ret = facts;
    return ERR_OK;
}

Slice object_writer_bytes(const ObjectWriter *w, int *ret_fd)
{
    *ret_fd = w->spilled ? w->spill_fd : -1;
    return (Slice){w->data, w->len};
}

void table_append(Buf *table, uint8_t type, const void *data, size_t len)
{
    buf_append_u8(table, type);
    buf_append_varint(table, len);
    buf_append(table, data, len);
}
