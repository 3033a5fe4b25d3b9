#include "lib/repo/packs_list.h"

#include <inttypes.h>
#include <string.h>

#include "lib/common/hex.h"
#include "lib/repo/manifest.h"

#define LIST_MAX DOCUMENT_RAW_MAX

void packs_list_release(PacksList *l)
{
    vec_release(&l->own);
    for (size_t i = 0; i < l->refs.n; i++)
        vec_release(&l->refs.at[i].packs);
    vec_release(&l->refs);
}

static int pack_id_compare(const PackId *a, const PackId *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

static int pack_info_compare(const void *a, const void *b)
{
    return pack_id_compare(&((const PackInfo *)a)->id, &((const PackInfo *)b)->id);
}

void packs_list_sort(PacksList *l)
{
    if (l->own.n)
        qsort(l->own.at, l->own.n, sizeof(l->own.at[0]), pack_info_compare);
}

const PackInfo *packs_list_find(const PacksList *l, PackId id)
{
    PackInfo key = {.id = id};
    return l->own.n ? bsearch(&key, l->own.at, l->own.n, sizeof(l->own.at[0]), pack_info_compare)
                    : NULL;
}

uint64_t packs_list_stored(const PacksList *l)
{
    uint64_t total = 0;
    for (size_t i = 0; i < l->own.n; i++)
        total += l->own.at[i].facts.size;
    return total;
}

static void append_own(Buf *out, const PackInfo *p)
{
    const ObjectFacts *f = &p->facts;
    char sha[SHA256_HEX_LEN], table[SHA256_HEX_LEN], stamp[STAMP_TEXT_LEN];
    buf_printf(out,
               "{\"n\":\"%c%u\",\"size\":%" PRIu64 ",\"sha256\":\"%s\",\"stamp\":\"%s\","
               "\"slots\":%" PRIu64 ",\"units\":%u,\"table\":[%" PRIu64 ",%u,\"%s\"]}\n",
               p->id.kind, p->id.number, f->size, hex_format(f->sha256, SHA256_LEN, sha),
               stamp_format(&f->stamp, stamp), p->slots, p->units, f->table_off, f->table_len,
               hex_format(f->table_sha256, SHA256_LEN, table));
}

void packs_list_format(const PacksList *l, Buf *out)
{
    for (size_t i = 0; i < l->own.n; i++)
        append_own(out, &l->own.at[i]);
    for (size_t i = 0; i < l->refs.n; i++) {
        const PackRefs *r = &l->refs.at[i];
        buf_printf(out, "{\"ref\":\"%s\",\"number\":%" PRIu64 ",\"n\":[", r->backup_id, r->number);
        for (size_t k = 0; k < r->packs.n; k++) {
            const PackRef *p = &r->packs.at[k];
            buf_printf(out, "%s[\"%c%u\",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "]", k ? "," : "",
                       p->id.kind, p->id.number, p->slots, p->live, p->size);
        }
        buf_append_str(out, "]}\n");
    }
    buf_append_str(out, "{\"end\":true}\n");
}

ErrCode packs_list_put(Repo *repo, const char *backup_id, const PacksList *l, DocumentFacts *ret,
                       Err *err)
{
    Buf text AUTO(buf_release) = {0};
    packs_list_format(l, &text);
    char *name AUTO(mem_freep) = backup_object_name(backup_id, "packs");
    return document_put(repo, name, KIND_PACKS, text.data, text.len, STORAGE_CREATE, ret, err);
}

static ErrCode parse_own(const json_t *j, PackInfo *p, Err *err)
{
    const char *n, *sha, *stamp, *table;
    json_int_t size, slots, units, off, len;
    if (json_unpack_ex((json_t *)(uintptr_t)j, NULL, 0, "{s:s,s:I,s:s,s:s,s:I,s:I,s:[I,I,s!]}", "n",
                       &n, "size", &size, "sha256", &sha, "stamp", &stamp, "slots", &slots, "units",
                       &units, "table", &off, &len, &table) != 0)
        return err_set(err, ERR_DAMAGED, "a pack's line is damaged");
    *p = (PackInfo){.slots = (uint64_t)slots, .units = (uint32_t)units};
    ObjectFacts *f = &p->facts;
    f->size = (uint64_t)size;
    f->table_off = (uint64_t)off;
    f->table_len = (uint32_t)len;
    if (!pack_id_parse(n, &p->id) || !hex_parse(sha, '\0', f->sha256, SHA256_LEN) ||
        !stamp_parse(stamp, &f->stamp) || !hex_parse(table, '\0', f->table_sha256, SHA256_LEN) ||
        size < 0 || slots < 0 || units < 0 || units > UINT32_MAX || off < 0 || len < 0 ||
        len > (json_int_t)TABLE_MAX || off > size || len > size - off)
        return err_set(err, ERR_DAMAGED, "the line of pack %s is damaged", n);
    return ERR_OK;
}

static ErrCode parse_ref(const json_t *j, PackRefs *r, Err *err)
{
    const char *id;
    json_t *list, *item;
    size_t i;
    int64_t number = 0;
    TRY(json_get_text(j, "ref", &id, err));
    if (json_object_get(j, "number"))
        TRY(json_get_number(j, "number", 0, INT64_MAX, &number, err));
    r->number = (uint64_t)number;
    TRY(json_get_array(j, "n", &list, err));
    if (!backup_id_valid(id))
        return err_set(err, ERR_DAMAGED, "'%s' is no backup id", id);
    memcpy(r->backup_id, id, BACKUP_ID_LEN + 1);
    json_array_foreach(list, i, item)
    {
        const char *n;
        json_int_t slots, live, size;
        PackRef p;
        if (json_unpack(item, "[s,I,I,I!]", &n, &slots, &live, &size) != 0 ||
            !pack_id_parse(n, &p.id) || slots < 0 || live < 0 || live > slots || size < 0)
            return err_set(err, ERR_DAMAGED, "the references to backup %s are damaged", id);
        p.slots = (uint64_t)slots;
        p.live = (uint64_t)live;
        p.size = (uint64_t)size;
        vec_push(&r->packs, p);
    }
    return ERR_OK;
}

static ErrCode parse_line(const json_t *j, PacksList *l, bool *ret_end, Err *err)
{
    if (json_object_get(j, "end")) {
        *ret_end = true;
        return ERR_OK;
    }
    if (json_object_get(j, "ref")) {
        PackRefs r = {.packs = {0}};
        ErrCode rc = parse_ref(j, &r, err);
        vec_push(&l->refs, r);
        return rc;
    }
    PackInfo p;
    TRY(parse_own(j, &p, err));
    vec_push(&l->own, p);
    return ERR_OK;
}

static ErrCode parse_all(const Buf *text, PacksList *l, Err *err)
{
    bool end = false;
    for (size_t at = 0; at < text->len && !end;) {
        const uint8_t *nl = memchr(text->data + at, '\n', text->len - at);
        if (!nl)
            break;
        size_t len = (size_t)(nl - (text->data + at));
        json_t *j AUTO(json_decrefp) = NULL;
        TRY(json_parse_object(text->data + at, len, &j, err));
        TRY(parse_line(j, l, &end, err));
        at += len + 1;
    }
    return end ? ERR_OK : err_set(err, ERR_DAMAGED, "the list has no end");
}

ErrCode packs_list_get(Repo *repo, const char *backup_id, const DocumentFacts *expected,
                       PacksList *ret, Err *err)
{
    PacksList l AUTO(packs_list_release) = {.own = {0}};
    Buf text AUTO(buf_release) = {0};
    DocumentFacts facts;
    char *name AUTO(mem_freep) = backup_object_name(backup_id, "packs");
    TRY(document_get(repo, name, KIND_PACKS, LIST_MAX, &text, &facts, err));
    ErrCode rc;
    if (expected && !document_facts_equal(&facts, expected))
        rc = err_set(err, ERR_DAMAGED, "it is not the one the backup's summary was written for");
    else
        rc = parse_all(&text, &l, err);
    if (rc != ERR_OK)
        return err_wrap(err, "cannot read '%s/%s' in '%s'", repo->cluster, name, repo_url(repo));
    packs_list_sort(&l);
    packs_list_release(ret);
    *ret = l;
    l = (PacksList){.own = {0}};
    return ERR_OK;
}
