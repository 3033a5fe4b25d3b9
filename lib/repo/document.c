#include <string.h>

#include "lib/common/hex.h"
#include "lib/pg/lsn.h"
#include "lib/repo/repo.h"

#define DOCUMENT_LEVEL 3
#define JSON_TEXT_MAX (16 * MIB)

bool document_facts_equal(const DocumentFacts *a, const DocumentFacts *b)
{
    return a->size == b->size && memcmp(a->sha256, b->sha256, SHA256_LEN) == 0;
}

json_t *document_facts_json(const DocumentFacts *f)
{
    char sha[SHA256_HEX_LEN], stamp[STAMP_TEXT_LEN];
    return json_pack("{s:I,s:s,s:s}", "size", (json_int_t)f->size, "sha256",
                     hex_format(f->sha256, SHA256_LEN, sha), "stamp",
                     stamp_format(&f->stamp, stamp));
}

ErrCode json_get_lsn(const json_t *obj, const char *key, uint64_t *ret, Err *err)
{
    const char *text;
    TRY(json_get_text(obj, key, &text, err));
    if (lsn_parse(text, ret, err) != ERR_OK) /* which speaks to who typed it */
        return err_set(err, ERR_DAMAGED, "\"%s\" is not a WAL position", key);
    return ERR_OK;
}

ErrCode document_facts_parse(const json_t *obj, DocumentFacts *ret, Err *err)
{
    const char *sha, *stamp;
    int64_t size;
    TRY(json_get_number(obj, "size", 0, INT64_MAX, &size, err));
    TRY(json_get_text(obj, "sha256", &sha, err));
    TRY(json_get_text(obj, "stamp", &stamp, err));
    if (!hex_parse(sha, '\0', ret->sha256, SHA256_LEN) || !stamp_parse(stamp, &ret->stamp))
        return err_set(err, ERR_DAMAGED, "the digest of an object is damaged");
    ret->size = (uint64_t)size;
    return ERR_OK;
}

ErrCode document_put_stamped(Repo *r, const char *name, const char kind[KIND_LEN], Slice text,
                             StoragePutFlags flags, const ObjectStamp *stamp, DocumentFacts *facts,
                             Err *err)
{
    ObjectWriter *w AUTO(object_writer_freep) = object_writer_new(MIN(text.len, MIB) + 4 * KIB);
    Compressor *c AUTO(compressor_freep) = compressor_new(DOCUMENT_LEVEL);
    const RepoKey *key = stamp ? repo_keys_find(&r->keys, stamp->key_id) : NULL;
    ObjectFacts object;
    if (key)
        object_writer_begin_stamped(w, key, kind, name, stamp);
    else
        object_writer_begin(w, r->key, kind, name);
    for (size_t off = 0; off < text.len; off += UNIT_RAW_MAX)
        TRY(object_writer_add(w, c, (const uint8_t *)text.data + off,
                              MIN(text.len - off, UNIT_RAW_MAX), NULL, err));
    TRY(object_writer_finish(w, 0, NULL, &object, err));
    if (facts) {
        *facts = (DocumentFacts){.size = object.size, .stamp = object.stamp};
        memcpy(facts->sha256, object.sha256, SHA256_LEN);
    }
    return repo_put(r, name, w, flags, err);
}

ErrCode document_put(Repo *r, const char *name, const char kind[KIND_LEN], const void *text,
                     size_t len, StoragePutFlags flags, DocumentFacts *facts, Err *err)
{
    return document_put_stamped(r, name, kind, (Slice){text, len}, flags, NULL, facts, err);
}

static ErrCode document_open(Repo *r, const char *name, const char kind[KIND_LEN], size_t limit,
                             const Buf *bytes, Buf *text, Err *err)
{
    ObjectInfo info;
    Buf table AUTO(buf_release) = {0};
    Slice section;
    UnitLens lens = {0};
    TRY(object_parse(&r->keys, bytes->data, bytes->len, kind, &info, err));
    UnitReader *units AUTO(unit_reader_freep) = unit_reader_new(&info, name);
    Decompressor *d AUTO(decompressor_freep) = decompressor_new();
    TRY(unit_reader_table(units, bytes->data + info.table_off, info.table_len, &table, err));
    TRY(table_find(&table, SECTION_LEN, &section, err));
    TRY(unit_lens_parse(section, info.units, info.table_off, &lens, err));
    ErrCode rc = ERR_OK;
    const uint8_t *at = bytes->data + sizeof(ObjectHeader);
    size_t begin = text->len;
    for (size_t i = 0; i < lens.n && rc == ERR_OK; i++) {
        rc = unit_reader_append(units, d, i, at, lens.at[i], text, err);
        at += lens.at[i];
        if (rc == ERR_OK && text->len - begin > limit)
            rc = err_set(err, ERR_LIMIT, "the text is larger than the %zu bytes allowed", limit);
    }
    vec_release(&lens);
    return rc;
}

static ErrCode document_read(Repo *r, const char *name, const char kind[KIND_LEN], size_t limit,
                             Buf *text, DocumentFacts *facts, Err *err)
{
    Buf bytes AUTO(buf_release) = {0};
    /* Stored is never more than raw and the envelope, but for incompressible text. */
    TRY(repo_get(r, name, limit + limit / 64 + 64 * KIB, &bytes, err));
    ErrCode rc = document_open(r, name, kind, limit, &bytes, text, err);
    if (rc != ERR_OK)
        return err_wrap(err, "cannot read '%s/%s' in '%s'", r->cluster, name, repo_url(r));
    if (facts) {
        *facts = (DocumentFacts){.size = bytes.len, .stamp = object_stamp(bytes.data)};
        sha256_of(bytes.data, bytes.len, facts->sha256);
    }
    return ERR_OK;
}

ErrCode document_get(Repo *r, const char *name, const char kind[KIND_LEN], size_t limit, Buf *text,
                     DocumentFacts *facts, Err *err)
{
    size_t begin = text->len;
    ErrCode rc = document_read(r, name, kind, limit, text, facts, err);
    if (rc == ERR_OK || !repo_reads_again(r, err))
        return rc;
    text->len = begin;
    return document_read(r, name, kind, limit, text, facts, err);
}

ErrCode document_put_json(Repo *r, const char *name, const char kind[KIND_LEN], const json_t *obj,
                          StoragePutFlags flags, DocumentFacts *facts, Err *err)
{
    char *text AUTO(mem_freep) = json_dumps(obj, JSON_COMPACT | JSON_ENSURE_ASCII);
    if (!text)
        return err_set(err, ERR_INTERNAL, "cannot write '%s': text that is not UTF-8", name);
    return document_put(r, name, kind, text, strlen(text), flags, facts, err);
}

ErrCode document_get_json(Repo *r, const char *name, const char kind[KIND_LEN], json_t **ret,
                          DocumentFacts *facts, Err *err)
{
    Buf text AUTO(buf_release) = {0};
    TRY(document_get(r, name, kind, JSON_TEXT_MAX, &text, facts, err));
    ErrCode rc = json_parse_object(text.data, text.len, ret, err);
    if (rc != ERR_OK)
        return err_wrap(err, "cannot read '%s/%s' in '%s'", r->cluster, name, repo_url(r));
    return ERR_OK;
}
