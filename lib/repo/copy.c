#include "lib/repo/copy.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "lib/common/log.h"
#include "lib/common/workers.h"
#include "lib/repo/key_store.h"
#include "lib/repo/manifest.h"

#define STORED_MAX (PACK_STORED_MAX + TABLE_MAX)

/* One object to be copied, and what comes out. */
typedef struct CopyItem {
    char *name; /* relative to the cluster */
    const char *kind;
    PackId id;                /* of a pack */
    const ObjectStamp *stamp; /* to be used when it must be written; NULL: a new one */
    const uint8_t *sha256;    /* what the bytes must then be; NULL: not known */
    PackInfo info;            /* out */
    bool is_pack;
} CopyItem;

typedef struct Copy {
    const CopySpec *spec;
    CopyResult *result;
    pthread_mutex_t lock;
    VEC(CopyItem) items;
    PacksList from_packs;
    /* Lists in `to`, as far as there are any: of the backup, and of those whose packs it uses. */
    VEC(PacksList) to_packs;
} Copy;

static void copy_release(Copy *c)
{
    for (size_t i = 0; i < c->items.n; i++)
        free(c->items.at[i].name);
    vec_release(&c->items);
    packs_list_release(&c->from_packs);
    for (size_t i = 0; i < c->to_packs.n; i++)
        packs_list_release(&c->to_packs.at[i]);
    vec_release(&c->to_packs);
    pthread_mutex_destroy(&c->lock);
}

/* --- one object --- */

typedef struct CopyWorker {
    ObjectWriter *writer;
    Decompressor *decompressor;
    Buf stored, table, raw, sections, hashes;
} CopyWorker;

static void *copy_worker_new(void *shared)
{
    CopyWorker *w = NEW(CopyWorker);
    (void)shared;
    w->writer = object_writer_new(PACK_STORED_MAX + MIB);
    w->decompressor = decompressor_new();
    return w;
}

static void copy_worker_free(void *state)
{
    CopyWorker *w = state;
    object_writer_free(w->writer);
    decompressor_free(w->decompressor);
    buf_release(&w->stored);
    buf_release(&w->table);
    buf_release(&w->raw);
    buf_release(&w->sections);
    buf_release(&w->hashes);
    free(w);
}

/* An object in memory with its units, proven against its own digest. */
typedef struct Opened {
    ObjectInfo info;
    UnitReader *units;
    UnitLens lens;
} Opened;

static void opened_release(Opened *o)
{
    unit_reader_free(o->units);
    vec_release(&o->lens);
}

static ErrCode open_object(Repo *repo, const CopyItem *item, CopyWorker *w, Opened *o, Err *err)
{
    Slice section;
    w->stored.len = 0;
    TRY(repo_get(repo, item->name, STORED_MAX, &w->stored, err));
    TRY(object_parse(&repo->keys, w->stored.data, w->stored.len, item->kind, &o->info, err));
    o->units = unit_reader_new(&o->info, item->name);
    TRY(unit_reader_table(o->units, w->stored.data + o->info.table_off, o->info.table_len,
                          &w->table, err));
    TRY(table_find(&w->table, SECTION_LEN, &section, err));
    return unit_lens_parse(section, o->info.units, o->info.table_off, &o->lens, err);
}

static void facts_of(const CopyWorker *w, const Opened *o, ObjectFacts *f)
{
    *f = (ObjectFacts){.size = w->stored.len,
                       .table_off = o->info.table_off,
                       .table_len = o->info.table_len,
                       .stamp = object_stamp(w->stored.data)};
    sha256_of(w->stored.data, w->stored.len, f->sha256);
    sha256_of(w->stored.data + o->info.table_off, o->info.table_len, f->table_sha256);
}

/*
 * Hashes of a data pack under another key: every page is hashed again, and its old hash compared on
 * the way, so that nothing wrong is given a right hash.
 */
typedef struct Rehash {
    const PackTable *table;
    const PackOwners *owners;
    size_t at; /* the owner of the next slot or small file */
    const RepoKey *key;
    Buf slots, small;
} Rehash;

static ErrCode rehash_piece(Rehash *h, uint64_t number, const void *data, size_t len, uint64_t want,
                            Buf *out, Err *err)
{
    if (page_hash(h->table->info.key->page_secret, number, data, len) != want)
        return err_set(err, ERR_DAMAGED, "a page of pack '%s' does not fit its hash",
                       h->table->name);
    buf_append_u64(out, page_hash(h->key->page_secret, number, data, len));
    return ERR_OK;
}

static ErrCode rehash_unit(Rehash *h, uint32_t unit, const Buf *raw, Err *err)
{
    const PackTable *t = h->table;
    const PackOwner *o = h->owners->at;
    uint64_t first = t->unit_slot[unit], until = t->unit_slot[unit + 1];
    for (uint64_t slot = first; slot < until; slot++) {
        while (h->at < h->owners->n && (o[h->at].small || o[h->at].slot + o[h->at].n <= slot))
            h->at++;
        size_t off = (size_t)(slot - first) * t->page_size;
        if (h->at == h->owners->n || off >= raw->len)
            return err_set(err, ERR_DAMAGED, "pack '%s' is shorter than its slots", t->name);
        TRY(rehash_piece(h, o[h->at].first + (slot - o[h->at].slot), raw->data + off,
                         MIN(t->page_size, raw->len - off), pack_table_hash(t, slot), &h->slots,
                         err));
    }
    if (until > first)
        return ERR_OK;
    while (h->at < h->owners->n && !o[h->at].small && o[h->at].slot + o[h->at].n <= first)
        h->at++;
    for (; h->at < h->owners->n && o[h->at].small && o[h->at].unit == unit; h->at++) {
        const PackOwner *s = &o[h->at];
        if (s->first + s->n > raw->len)
            return err_set(err, ERR_DAMAGED, "pack '%s' is shorter than its files", t->name);
        TRY(rehash_piece(h, 0, raw->data + s->first, s->n, pack_table_small_hash(t, s->slot),
                         &h->small, err));
    }
    return ERR_OK;
}

static ErrCode copy_units(CopyWorker *w, const Opened *o, Rehash *h, Err *err)
{
    const uint8_t *at = w->stored.data + sizeof(ObjectHeader);
    for (size_t i = 0; i < o->lens.n; at += o->lens.at[i++]) {
        Slice frame;
        TRY(unit_reader_frame(o->units, i, at, o->lens.at[i], &frame, err));
        TRY(object_writer_add_packed(w->writer, frame.data, frame.len, err));
        w->raw.len = 0; /* decompressing proves what the frame's checksum says */
        TRY(unit_reader_append(o->units, w->decompressor, i, at, o->lens.at[i], &w->raw, err));
        if (h)
            TRY(rehash_unit(h, (uint32_t)i, &w->raw, err));
    }
    return ERR_OK;
}

/* All sections as they are, but the lengths (made anew) and the hashes. */
static ErrCode copy_sections(CopyWorker *w, const Rehash *h, Err *err)
{
    static const uint8_t order[] = {SECTION_SLOTS, SECTION_FILES, SECTION_OWNER,
                                    SECTION_IDS,   SECTION_PAGE,  SECTION_HASH};
    w->sections.len = 0;
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        Slice s;
        TRY(table_find(&w->table, order[i], &s, err));
        if (!s.data)
            continue;
        if (order[i] != SECTION_HASH) {
            table_append(&w->sections, order[i], s.data, s.len);
            continue;
        }
        w->hashes.len = 0;
        buf_append(&w->hashes, h->slots.data, h->slots.len);
        buf_append(&w->hashes, h->small.data, h->small.len);
        table_append(&w->sections, SECTION_HASH, w->hashes.data, w->hashes.len);
    }
    return ERR_OK;
}

/*
 * The stamp of a copy follows from what is copied, so that a copy that is begun anew, or two at the
 * same time, write the same bytes under one name.
 */
static ObjectStamp copy_stamp(const RepoKey *key, const char *name,
                              const uint8_t digest[SHA256_LEN], uint64_t created_us)
{
    ObjectStamp s = {.created_us = created_us};
    Buf input AUTO(buf_release) = {0};
    buf_append_str(&input, "pgdr copy");
    buf_append_str(&input, name);
    buf_append_u8(&input, 0);
    buf_append(&input, digest, SHA256_LEN);
    memcpy(s.key_id, key->id, KEY_ID_LEN);
    hmac_sha256(key->secret, sizeof(key->secret), input.data, input.len, s.salt);
    return s;
}

static void begin_copy(Copy *c, CopyWorker *w, const CopyItem *item, const Opened *o, Rehash *h)
{
    Repo *to = c->spec->to;
    const RepoKey *key = item->stamp ? repo_keys_find(&to->keys, item->stamp->key_id) : NULL;
    ObjectStamp stamp = key ? *item->stamp
                            : copy_stamp(to->key, item->name, o->info.sha256,
                                         object_stamp(w->stored.data).created_us);
    key = key ? key : to->key;
    object_writer_begin_stamped(w->writer, key, item->kind, item->name, &stamp);
    if (h)
        h->key = key;
}

/* A name that is taken: by the same bytes (a copy that ran beside this one), or by a damaged
 * object, which proven content may replace. */
static ErrCode put_copy(Copy *c, CopyWorker *w, const CopyItem *item, Err *err)
{
    ErrCode rc = repo_put(c->spec->to, item->name, w->writer, STORAGE_CREATE, err);
    if (rc == ERR_EXISTS)
        rc = repo_put(c->spec->to, item->name, w->writer, STORAGE_OVERWRITE, err);
    return rc;
}

static ErrCode write_copy(Copy *c, CopyWorker *w, CopyItem *item, const Opened *o, Rehash *h,
                          Err *err)
{
    begin_copy(c, w, item, o, h);
    TRY(copy_units(w, o, h, err));
    TRY(copy_sections(w, h, err));
    TRY(object_writer_finish(w->writer, o->info.slots, w->sections.len ? &w->sections : NULL,
                             &item->info.facts, err));
    item->info.slots = o->info.slots;
    item->info.units = o->info.units;
    TRY(put_copy(c, w, item, err));
    pthread_mutex_lock(&c->lock);
    c->result->objects++;
    c->result->bytes += item->info.facts.size;
    pthread_mutex_unlock(&c->lock);
    return ERR_OK;
}

static ErrCode copy_data_pack(Copy *c, CopyWorker *w, CopyItem *item, const char *backup_id,
                              const Opened *o, Err *err)
{
    PackTable *t AUTO(pack_table_freep) = NULL;
    StrList files AUTO(str_list_release) = {0};
    PackOwners owners = {0};
    TRY(pack_table_parse(c->spec->from, backup_id, item->id, w->stored.data, w->stored.len, &t,
                         err));
    ErrCode rc = pack_table_owners(t, &files, &owners, err);
    Rehash h = {.table = t, .owners = &owners};
    if (rc == ERR_OK)
        rc = write_copy(c, w, item, o, &h, err);
    buf_release(&h.slots);
    buf_release(&h.small);
    vec_release(&owners);
    return rc;
}

/* Whether the object is in `to`, whole; its facts are then in *item. */
static ErrCode there_already(Copy *c, CopyWorker *w, CopyItem *item, bool *ret, Err *err)
{
    Opened o AUTO(opened_release) = {.units = NULL};
    Err why = {0};
    ErrCode rc = open_object(c->spec->to, item, w, &o, &why);
    *ret = false;
    if (rc == ERR_OK) {
        facts_of(w, &o, &item->info.facts);
        item->info.slots = o.info.slots;
        item->info.units = o.info.units;
        *ret = !item->sha256 || memcmp(item->sha256, item->info.facts.sha256, SHA256_LEN) == 0;
        return ERR_OK;
    }
    if (rc == ERR_NOT_FOUND || rc == ERR_DAMAGED || rc == ERR_LIMIT || rc == ERR_WRONG_KEY)
        return ERR_OK;
    *err = why;
    return rc;
}

/* "packs/<id>/…" to the id. */
static void owner_of(const char *name, char id[BACKUP_ID_LEN + 1])
{
    snprintf(id, BACKUP_ID_LEN + 1, "%s", strchr(name, '/') + 1);
}

static ErrCode copy_item(void *shared, void *state, void *job, Err *err)
{
    Copy *c = shared;
    CopyWorker *w = state;
    CopyItem *item = job;
    Opened o AUTO(opened_release) = {.units = NULL};
    char backup_id[BACKUP_ID_LEN + 1];
    bool there;
    TRY(cancel_check(err));
    TRY(there_already(c, w, item, &there, err));
    if (there) {
        pthread_mutex_lock(&c->lock);
        c->result->kept++;
        pthread_mutex_unlock(&c->lock);
        progress_add(c->spec->progress, item->info.facts.size, 1);
        return ERR_OK;
    }
    ErrCode rc = open_object(c->spec->from, item, w, &o, err);
    if (rc != ERR_OK)
        return err_wrap(err, "cannot copy '%s/%s' from '%s'", c->spec->from->cluster, item->name,
                        repo_url(c->spec->from));
    owner_of(item->name, backup_id);
    rc = item->is_pack && item->id.kind == 'd' ? copy_data_pack(c, w, item, backup_id, &o, err)
                                               : write_copy(c, w, item, &o, NULL, err);
    progress_add(c->spec->progress, item->info.facts.size, 1);
    return rc;
}

/* --- all objects of a backup --- */

/* `known`: the pack's line in a list of `to`; NULL when there is none. */
static void add_pack(Copy *c, const char *backup_id, PackId id, const PackInfo *known)
{
    CopyItem item = {.name = pack_name(backup_id, id),
                     .kind = id.kind == 'd' ? KIND_PACK : KIND_MAPS,
                     .id = id,
                     .info = {.id = id},
                     .is_pack = true};
    if (known) {
        item.stamp = &known->facts.stamp;
        item.sha256 = known->facts.sha256;
    }
    vec_push(&c->items, item);
}

/* The packs list that a backup has in `to`, to make its packs again as they were. */
static const PacksList *list_there(Copy *c, const char *backup_id)
{
    static const PacksList none;
    PacksList l = {.own = {0}};
    Err why = {0};
    if (packs_list_get(c->spec->to, backup_id, NULL, &l, &why) != ERR_OK)
        return &none;
    vec_push(&c->to_packs, l);
    return &c->to_packs.at[c->to_packs.n - 1];
}

static void add_packs(Copy *c, const char *backup_id)
{
    const PacksList *l = &c->from_packs, *there = list_there(c, backup_id);
    for (size_t i = 0; i < l->own.n; i++)
        add_pack(c, backup_id, l->own.at[i].id, packs_list_find(there, l->own.at[i].id));
    for (size_t i = 0; i < l->refs.n; i++) {
        const PackRefs *r = &l->refs.at[i];
        there = list_there(c, r->backup_id);
        for (size_t k = 0; k < r->packs.n; k++)
            add_pack(c, r->backup_id, r->packs.at[k].id, packs_list_find(there, r->packs.at[k].id));
    }
}

static ErrCode add_manifest_parts(Copy *c, const char *backup_id, const DocumentFacts *manifest,
                                  Err *err)
{
    ManifestReader *r AUTO(manifest_reader_closep) = NULL;
    StrList names AUTO(str_list_release) = {0};
    TRY(manifest_reader_open(c->spec->from, backup_id, manifest, &r, err));
    manifest_reader_names(r, &names);
    for (size_t i = 1; i < names.n; i++) /* [0] is the head */
        vec_push(&c->items, (CopyItem){.name = mem_strdup(names.at[i]), .kind = KIND_MANIFEST});
    return ERR_OK;
}

static ErrCode copy_items(Copy *c, Err *err)
{
    uint64_t bytes = packs_list_stored(&c->from_packs);
    Workers *pool AUTO(workers_freep) = NULL;
    WorkersSpec spec = {.n = c->spec->jobs,
                        .queue_len = c->spec->jobs * 2,
                        .shared = c,
                        .state_new = copy_worker_new,
                        .state_free = copy_worker_free,
                        .run = copy_item};
    progress_begin(c->spec->progress, "copying packs", bytes, c->items.n);
    TRY(workers_new(&pool, &spec, err));
    for (size_t i = 0; i < c->items.n; i++)
        TRY(workers_put(pool, &c->items.at[i], err));
    return workers_finish(pool, err);
}

/* --- the documents that name digests: written anew --- */

static const CopyItem *item_of(const Copy *c, const char *name)
{
    for (size_t i = 0; i < c->items.n; i++)
        if (strcmp(c->items.at[i].name, name) == 0)
            return &c->items.at[i];
    return NULL;
}

static void new_packs_list(const Copy *c, PacksList *ret)
{
    const PacksList *l = &c->from_packs;
    size_t at = 0; /* items follow the list's order: own packs, then references */
    for (size_t i = 0; i < l->own.n; i++)
        vec_push(&ret->own, c->items.at[at++].info);
    for (size_t i = 0; i < l->refs.n; i++) {
        PackRefs refs = {.packs = {0}, .number = l->refs.at[i].number};
        memcpy(refs.backup_id, l->refs.at[i].backup_id, BACKUP_ID_LEN + 1);
        for (size_t k = 0; k < l->refs.at[i].packs.n; k++) {
            PackRef p = l->refs.at[i].packs.at[k];
            p.size = c->items.at[at++].info.facts.size;
            vec_push(&refs.packs, p);
        }
        vec_push(&ret->refs, refs);
    }
}

typedef struct HeadParts {
    const Copy *copy;
    const char *backup_id;
} HeadParts;

static ErrCode part_facts(void *arg, unsigned part, DocumentFacts *ret, Err *err)
{
    const HeadParts *h = arg;
    char what[32];
    snprintf(what, sizeof(what), "manifest.%04u", part);
    char *name AUTO(mem_freep) = backup_object_name(h->backup_id, what);
    const CopyItem *item = item_of(h->copy, name);
    if (!item)
        return err_set(err, ERR_INTERNAL, "'%s' was not copied", name);
    const ObjectFacts *f = &item->info.facts;
    *ret = (DocumentFacts){.size = f->size, .stamp = f->stamp};
    memcpy(ret->sha256, f->sha256, SHA256_LEN);
    return ERR_OK;
}

/* Writes a document unless it is there with the same text. */
static ErrCode put_document(Copy *c, const char *name, const char kind[KIND_LEN], const Buf *text,
                            DocumentFacts *ret, Err *err)
{
    Repo *to = c->spec->to;
    uint8_t digest[SHA256_LEN];
    Buf there AUTO(buf_release) = {0};
    Err why = {0};
    if (document_get(to, name, kind, DOCUMENT_RAW_MAX, &there, ret, &why) == ERR_OK &&
        there.len == text->len && memcmp(there.data, text->data, text->len) == 0)
        return ERR_OK;
    sha256_of(text->data, text->len, digest);
    ObjectStamp stamp = copy_stamp(to->key, name, digest, 0);
    ErrCode rc =
        document_put_stamped(to, name, kind, buf_slice(text), STORAGE_CREATE, &stamp, ret, err);
    if (rc == ERR_EXISTS)
        rc = document_put_stamped(to, name, kind, buf_slice(text), STORAGE_OVERWRITE, &stamp, ret,
                                  err);
    return rc;
}

/* The head's text with the digests of this repository's parts. */
static ErrCode put_head(Copy *c, const char *backup_id, DocumentFacts *ret, Err *err)
{
    Buf text AUTO(buf_release) = {0};
    Buf head AUTO(buf_release) = {0};
    HeadParts parts = {.copy = c, .backup_id = backup_id};
    char *name AUTO(mem_freep) = backup_object_name(backup_id, "manifest");
    TRY(document_get(c->spec->from, name, KIND_MANIFEST, DOCUMENT_RAW_MAX, &text, NULL, err));
    TRY(manifest_head_rewrite(&text, part_facts, &parts, &head, err));
    return put_document(c, name, KIND_MANIFEST, &head, ret, err);
}

static ErrCode put_packs(Copy *c, const char *backup_id, const PacksList *packs, DocumentFacts *ret,
                         Err *err)
{
    Buf text AUTO(buf_release) = {0};
    char *name AUTO(mem_freep) = backup_object_name(backup_id, "packs");
    packs_list_format(packs, &text);
    return put_document(c, name, KIND_PACKS, &text, ret, err);
}

static ErrCode commit_copy(Copy *c, const char *backup_id, BackupSummary *summary, bool existed,
                           Err *err)
{
    PacksList packs AUTO(packs_list_release) = {.own = {0}};
    Repo *to = c->spec->to;
    new_packs_list(c, &packs);
    TRY(key_put_beside(to, backup_id, err));
    TRY(put_packs(c, backup_id, &packs, &summary->packs, err));
    TRY(put_head(c, backup_id, &summary->manifest, err));
    summary->stored = packs_list_stored(&packs) + summary->packs.size + summary->manifest.size;
    return backup_publish(to, summary, &packs, c->spec->grace,
                          existed ? STORAGE_OVERWRITE : STORAGE_CREATE, err);
}

static ErrCode copy_all(Copy *c, const char *backup_id, bool existed, Err *err)
{
    BackupSummary summary AUTO(summary_release) = {.cluster = NULL};
    TRY(summary_get(c->spec->from, backup_id, &summary, err));
    TRY(packs_list_get(c->spec->from, backup_id, &summary.packs, &c->from_packs, err));
    add_packs(c, backup_id);
    TRY(add_manifest_parts(c, backup_id, &summary.manifest, err));
    TRY(copy_items(c, err));
    return commit_copy(c, backup_id, &summary, existed, err);
}

static void lease_both(const CopySpec *spec, const char *backup_id, Lease *leases[2])
{
    StrList ids AUTO(str_list_release) = {0};
    Err err = {0};
    vec_push(&ids, mem_strdup(backup_id));
    /* Courtesy: where it cannot be taken, the work may turn out in vain. */
    if (lease_take(spec->from, "source of a copy", &ids, &leases[0], &err) != ERR_OK)
        leases[0] = NULL;
    if (lease_take(spec->to, spec->heal ? "heal" : LEASE_COPY, &ids, &leases[1], &err) != ERR_OK)
        leases[1] = NULL;
}

ErrCode copy_backup(const CopySpec *spec, const char *backup_id, CopyResult *result, Err *err)
{
    Copy c AUTO(copy_release) = {.spec = spec, .result = result};
    BackupStates states AUTO(backup_states_release) = {0};
    Lease *leases[2];
    pthread_mutex_init(&c.lock, NULL);
    TRY(backup_states_read(spec->to, backup_id, &states, err));
    bool existed = states.n && states.at[0].summary;
    if (existed && backup_exists(&states.at[0]) && !spec->heal)
        return err_set(err, ERR_EXISTS, "backup %s is in '%s' already", backup_id,
                       repo_url(spec->to));
    lease_both(spec, backup_id, leases);
    ErrCode rc = copy_all(&c, backup_id, existed, err);
    lease_release(leases[0]);
    lease_release(leases[1]);
    return rc;
}
