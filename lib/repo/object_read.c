#include <string.h>

#include "lib/common/bytes.h"
#include "lib/common/hex.h"
#include "lib/repo/object.h"
#include "lib/repo/seal.h"

const RepoKey *repo_keys_find(const RepoKeys *keys, const uint8_t id[KEY_ID_LEN])
{
    for (size_t i = 0; i < keys->keys.n; i++)
        if (memcmp(keys->keys.at[i]->id, id, KEY_ID_LEN) == 0)
            return keys->keys.at[i];
    return NULL;
}

static ErrCode version_check(uint16_t version, uint16_t incompat, Err *err)
{
    if (version <= FORMAT_VERSION && !(incompat & ~FORMAT_INCOMPAT_KNOWN))
        return ERR_OK;
    err_set(err, ERR_VERSION, "format version %u with features %#x; this pgdr reads version %d",
            version, incompat, FORMAT_VERSION);
    return err_hint(err, "use the pgdr version that wrote it, or a later one");
}

static ErrCode footer_validate(const ObjectFooter *f, uint64_t size, Err *err)
{
    if (f->frame_magic != FRAME_FOOTER || f->frame_len != sizeof(*f) - FRAME_PREFIX_LEN ||
        memcmp(f->magic, FOOTER_MAGIC, sizeof(f->magic)) != 0)
        return err_set(err, ERR_DAMAGED,
                       "the footer is missing: the object is cut off or is not "
                       "one of pgdr's");
    if (crc32c(0, f, offsetof(ObjectFooter, crc)) != f->crc)
        return err_set(err, ERR_DAMAGED, "the footer's checksum does not fit");
    TRY(version_check(f->version, f->incompat, err));
    /* Without sums of what the footer says: they could wrap. */
    if (f->zero != 0 || f->cipher > CIPHER_AES_256_GCM || f->table_len < FRAME_PREFIX_LEN ||
        f->table_len > TABLE_MAX || size < sizeof(ObjectHeader) + f->table_len + sizeof(*f) ||
        f->table_off != size - sizeof(*f) - f->table_len)
        return err_set(err, ERR_DAMAGED, "the footer contradicts the object's size");
    return ERR_OK;
}

static ErrCode footer_kind(const ObjectFooter *f, const char kind[KIND_LEN], Err *err)
{
    if (memcmp(f->kind, kind, KIND_LEN) == 0)
        return ERR_OK;
    return err_set(err, ERR_DAMAGED, "the object is a %.8s where a %.8s should be", f->kind, kind);
}

static ErrCode footer_info(const RepoKeys *keys, const ObjectFooter *f, uint64_t size,
                           ObjectInfo *ret, Err *err)
{
    const RepoKey *key = repo_keys_find(keys, f->key_id);
    if (!key || key->cipher != f->cipher) {
        char id[2 * KEY_ID_LEN + 1];
        return err_set(err, ERR_WRONG_KEY,
                       "the object was written under key %s, which is not among the repository's "
                       "keys ('pgdr init' looks for a copy of a lost one beside the backups)",
                       hex_format(f->key_id, KEY_ID_LEN, id));
    }
    *ret = (ObjectInfo){.key = key,
                        .cipher = f->cipher,
                        .size = size,
                        .table_off = f->table_off,
                        .table_len = f->table_len,
                        .units = f->units,
                        .slots = f->slots};
    memcpy(ret->salt, f->salt, SALT_LEN);
    memcpy(ret->sha256, f->sha256, SHA256_LEN);
    return ERR_OK;
}

ErrCode object_footer_parse(const RepoKeys *keys, const void *footer, uint64_t size,
                            const char kind[KIND_LEN], ObjectInfo *ret, Err *err)
{
    ObjectFooter f;
    memcpy(&f, footer, sizeof(f));
    TRY(footer_validate(&f, size, err));
    TRY(footer_kind(&f, kind, err));
    return footer_info(keys, &f, size, ret, err);
}

static ErrCode header_validate(const ObjectHeader *h, Err *err)
{
    if (h->frame_magic != FRAME_HEADER || h->frame_len != sizeof(*h) - FRAME_PREFIX_LEN)
        return err_set(err, ERR_DAMAGED, "the header is missing: not one of pgdr's objects");
    if (crc32c(0, h, offsetof(ObjectHeader, crc)) != h->crc)
        return err_set(err, ERR_DAMAGED, "the header's checksum does not fit");
    TRY(version_check(h->version, h->incompat, err));
    if (h->zero != 0)
        return err_set(err, ERR_DAMAGED, "a reserved byte of the header is not zero");
    return ERR_OK;
}

/* Header and footer, without any key. */
static ErrCode object_frame(const void *data, size_t size, ObjectFooter *f, Err *err)
{
    if (size < sizeof(ObjectHeader) + FRAME_PREFIX_LEN + sizeof(ObjectFooter))
        return err_set(err, ERR_DAMAGED, "%zu bytes are too few for an object: it is cut off",
                       size);
    ObjectHeader h;
    memcpy(&h, data, sizeof(h));
    memcpy(f, (const uint8_t *)data + size - sizeof(*f), sizeof(*f));
    TRY(header_validate(&h, err));
    TRY(footer_validate(f, size, err));
    if (memcmp(h.kind, f->kind, KIND_LEN) != 0 || h.cipher != f->cipher ||
        memcmp(h.key_id, f->key_id, KEY_ID_LEN) != 0 || memcmp(h.salt, f->salt, SALT_LEN) != 0)
        return err_set(err, ERR_DAMAGED, "header and footer belong to different objects");
    return ERR_OK;
}

/* The same, and every byte between them. */
static ErrCode object_validate(const void *data, size_t size, ObjectFooter *f, Err *err)
{
    uint8_t sha[SHA256_LEN];
    TRY(object_frame(data, size, f, err));
    sha256_of(data, size - sizeof(*f), sha);
    if (memcmp(sha, f->sha256, SHA256_LEN) != 0)
        return err_set(err, ERR_DAMAGED, "the stored bytes do not fit their SHA-256");
    return ERR_OK;
}

ErrCode object_open(const RepoKeys *keys, const void *data, size_t size, const char kind[KIND_LEN],
                    ObjectInfo *ret, Err *err)
{
    ObjectFooter f;
    TRY(object_frame(data, size, &f, err));
    TRY(footer_kind(&f, kind, err));
    return footer_info(keys, &f, size, ret, err);
}

ErrCode object_parse(const RepoKeys *keys, const void *data, size_t size, const char kind[KIND_LEN],
                     ObjectInfo *ret, Err *err)
{
    ObjectFooter f;
    TRY(object_validate(data, size, &f, err));
    TRY(footer_kind(&f, kind, err));
    return footer_info(keys, &f, size, ret, err);
}

ErrCode object_check_bytes(const void *data, size_t size, char *kind, Err *err)
{
    ObjectFooter f;
    TRY(object_validate(data, size, &f, err));
    memcpy(kind, f.kind, KIND_LEN);
    kind[KIND_LEN] = '\0';
    return ERR_OK;
}

struct UnitReader {
    ObjectInfo info;
    char *name;
    Cipher *cipher;
    Buf scratch;
};

UnitReader *unit_reader_new(const ObjectInfo *info, const char *name)
{
    UnitReader *r = NEW(UnitReader);
    r->info = *info;
    r->name = mem_strdup(name);
    if (info->cipher != CIPHER_NONE)
        r->cipher = repo_key_object_cipher(info->key, info->salt, name);
    return r;
}

void unit_reader_free(UnitReader *r)
{
    if (!r)
        return;
    free(r->name);
    cipher_free(r->cipher);
    buf_release(&r->scratch);
    free(r);
}

/* Checks a skippable frame's prefix and opens the seal into r->scratch. */
static ErrCode reader_unseal(UnitReader *r, uint32_t magic, uint32_t domain, uint64_t number,
                             const void *stored, size_t len, Slice *ret, Err *err)
{
    if (len < FRAME_PREFIX_LEN + CIPHER_TAG_LEN || get_u32(stored) != magic ||
        get_u32((const uint8_t *)stored + 4) != len - FRAME_PREFIX_LEN)
        return err_set(err, ERR_DAMAGED, "a sealed unit is cut off or misplaced");
    size_t plain = len - FRAME_PREFIX_LEN - CIPHER_TAG_LEN;
    r->scratch.len = 0;
    uint8_t *to = buf_reserve(&r->scratch, plain);
    if (!open_unit(r->cipher, r->name, domain, number, (const uint8_t *)stored + FRAME_PREFIX_LEN,
                   plain, to))
        return err_set(err, ERR_DAMAGED, "unit %llu is not what was sealed under this name",
                       (unsigned long long)number);
    *ret = (Slice){to, plain};
    return ERR_OK;
}

ErrCode unit_reader_table(UnitReader *r, const void *stored, size_t len, Buf *ret, Err *err)
{
    Slice body;
    if (r->cipher) {
        TRY(reader_unseal(r, FRAME_TABLE, DOMAIN_TABLE, 0, stored, len, &body, err));
    } else {
        if (len < FRAME_PREFIX_LEN || get_u32(stored) != FRAME_TABLE ||
            get_u32((const uint8_t *)stored + 4) != len - FRAME_PREFIX_LEN)
            return err_set(err, ERR_DAMAGED, "the table is cut off or misplaced");
        body = (Slice){(const uint8_t *)stored + FRAME_PREFIX_LEN, len - FRAME_PREFIX_LEN};
    }
    ret->len = 0;
    buf_append(ret, body.data, body.len);
    return ERR_OK;
}

ErrCode unit_reader_frame(UnitReader *r, uint64_t number, const void *stored, size_t len,
                          Slice *ret, Err *err)
{
    *ret = (Slice){stored, len};
    if (!r->cipher)
        return ERR_OK;
    return reader_unseal(r, FRAME_SEALED, DOMAIN_UNIT, number, stored, len, ret, err);
}

ErrCode unit_reader_open(UnitReader *r, Decompressor *d, uint64_t number, const void *stored,
                         size_t len, void *out, size_t raw_len, Err *err)
{
    Slice plain;
    TRY(unit_reader_frame(r, number, stored, len, &plain, err));
    return decompressor_run(d, plain.data, plain.len, out, raw_len, err);
}

ErrCode unit_reader_append(UnitReader *r, Decompressor *d, uint64_t number, const void *stored,
                           size_t len, Buf *out, Err *err)
{
    Slice plain;
    TRY(unit_reader_frame(r, number, stored, len, &plain, err));
    size_t raw;
    TRY(frame_raw_size(plain.data, plain.len, UNIT_RAW_MAX, &raw, err));
    TRY(decompressor_run(d, plain.data, plain.len, buf_reserve(out, raw), raw, err));
    out->len += raw;
    return ERR_OK;
}

ErrCode table_find(const Buf *table, uint8_t type, Slice *ret, Err *err)
{
    Cursor c = cursor_of(table->data, table->len);
    *ret = (Slice){NULL, 0};
    while (cursor_left(&c)) {
        uint8_t t = cursor_u8(&c);
        uint64_t len = cursor_varint(&c);
        const uint8_t *data = cursor_read(&c, len);
        if (c.bad)
            return err_set(err, ERR_DAMAGED, "a section of the table is cut off");
        if (t == type) {
            *ret = (Slice){data, (size_t)len};
            return ERR_OK;
        }
    }
    return ERR_OK;
}

ErrCode unit_lens_parse(Slice section, uint32_t units, uint64_t table_off, UnitLens *ret, Err *err)
{
    UnitLens lens = {0};
    Cursor c = cursor_of(section.data, section.len);
    uint64_t total = sizeof(ObjectHeader);
    if (units > section.len) /* every length takes at least a byte */
        return err_set(err, ERR_DAMAGED, "the table lists fewer units than the footer counts");
    vec_reserve(&lens, units);
    for (uint32_t i = 0; i < units; i++) {
        uint64_t len = cursor_varint(&c);
        total += len;
        if (c.bad || len > UINT32_MAX || total > table_off)
            break;
        vec_push(&lens, (uint32_t)len);
    }
    if (c.bad || lens.n != units || cursor_left(&c) || total != table_off) {
        vec_release(&lens);
        return err_set(err, ERR_DAMAGED, "the lengths of the units do not add up");
    }
    vec_release(ret);
    *ret = lens;
    lens = (UnitLens){0};
    return ERR_OK;
}
