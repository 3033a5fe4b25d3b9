#include <string.h>

#include "lib/common/workers.h"
#include "lib/repo/map_pack.h"
#include "verify/checker.h"

/* --- presence: one listing against all lists --- */

typedef struct Presence {
    Checker *c;
    size_t at;
} Presence;

static void found_pack(Checker *c, const CheckedPack *p, const char *problem)
{
    StrList users AUTO(str_list_release) = {0};
    checker_users(c, p, &users);
    VerifyFinding f = {
        .object = p->name, .problem = problem, .backups = &users, .in_backups = true};
    checker_found(c, &f);
}

static ErrCode presence_entry(void *arg, const RepoEntry *e, Err *err)
{
    Presence *p = arg;
    Checker *c = p->c;
    (void)err;
    for (; p->at < c->packs.n; p->at++) {
        const CheckedPack *want = &c->packs.at[p->at];
        int order = strcmp(want->name, e->name);
        if (order > 0)
            break;
        if (order < 0) {
            found_pack(c, want, "the pack is missing");
            continue;
        }
        if (want->size != e->stat.size) {
            char text[128];
            snprintf(text, sizeof(text), "the pack has %llu bytes instead of %llu",
                     (unsigned long long)e->stat.size, (unsigned long long)want->size);
            found_pack(c, want, text);
        }
        p->at++;
        return ERR_OK;
    }
    vec_push(&c->others, mem_strdup(e->name)); /* no backup under test uses it */
    return ERR_OK;
}

ErrCode check_packs_present(Checker *c, Err *err)
{
    Presence p = {.c = c};
    RepoList list = {.prefix = "packs/", .want_stat = true, .fn = presence_entry, .arg = &p};
    progress_begin(c->spec->progress, "listing packs", 0, 0);
    TRY(repo_list(c->repo, &list, err));
    for (; p.at < c->packs.n; p.at++)
        found_pack(c, &c->packs.at[p.at], "the pack is missing");
    return ERR_OK;
}

/* --- content: every byte --- */

typedef struct PackChecker {
    Checker *c;
    Decompressor *decompressor;
    Buf stored;
} PackChecker;

static void *pack_checker_new(void *shared)
{
    PackChecker *p = NEW(PackChecker);
    p->c = shared;
    p->decompressor = decompressor_new();
    return p;
}

static void pack_checker_free(void *state)
{
    PackChecker *p = state;
    decompressor_free(p->decompressor);
    buf_release(&p->stored);
    free(p);
}

static ErrCode check_digest(const PackChecker *p, const CheckedPack *pack, Err *err)
{
    uint8_t sha[SHA256_LEN];
    if (!pack->info)
        return ERR_OK; /* the object's own digest must do */
    sha256_of(p->stored.data, p->stored.len, sha);
    if (memcmp(sha, pack->info->facts.sha256, SHA256_LEN) != 0)
        return err_set(err, ERR_DAMAGED, "the stored bytes are not those of the backup's list");
    return ERR_OK;
}

/* The pages of one unit; *owner is the run that holds its first slot. */
static ErrCode check_pages(PackChecker *p, const PackTable *t, uint32_t unit,
                           const PackOwner *owner, const Buf *raw, Err *err)
{
    uint64_t first = t->unit_slot[unit], n = t->unit_slot[unit + 1] - first;
    for (uint64_t slot = first; slot < first + n; slot++) {
        while (slot >= owner->slot + owner->n)
            owner++;
        size_t off = (size_t)(slot - first) * t->page_size;
        uint64_t number = owner->first + (slot - owner->slot);
        if (off >= raw->len ||
            page_hash(t->info.key->page_secret, number, raw->data + off,
                      MIN(t->page_size, raw->len - off)) != pack_table_hash(t, slot))
            return err_set(err, ERR_DAMAGED, "slot %llu does not fit its hash",
                           (unsigned long long)slot);
    }
    atomic_fetch_add(&p->c->pages, n);
    return ERR_OK;
}

static ErrCode check_small(const PackTable *t, uint32_t unit, const PackOwner *s, const Buf *raw,
                           Err *err)
{
    if (s->first + s->n <= raw->len && page_hash(t->info.key->page_secret, 0, raw->data + s->first,
                                                 s->n) == pack_table_small_hash(t, s->slot))
        return ERR_OK;
    return err_set(err, ERR_DAMAGED, "a small file in unit %u does not fit its hash", unit);
}

/* Owners come in the order of the units: one walk over both. */
static ErrCode check_units(PackChecker *p, const PackTable *t, const PackOwners *owners, Err *err)
{
    UnitReader *units AUTO(unit_reader_freep) = unit_reader_new(&t->info, t->name);
    Buf raw AUTO(buf_release) = {0};
    size_t o = 0;
    for (uint32_t u = 0; u < t->info.units; u++) {
        size_t len = (size_t)(t->unit_off[u + 1] - t->unit_off[u]);
        raw.len = 0;
        TRY(unit_reader_append(units, p->decompressor, u, p->stored.data + t->unit_off[u], len,
                               &raw, err));
        while (o < owners->n && !owners->at[o].small &&
               owners->at[o].slot + owners->at[o].n <= t->unit_slot[u])
            o++;
        if (t->unit_slot[u + 1] > t->unit_slot[u])
            TRY(check_pages(p, t, u, &owners->at[o], &raw, err));
        else
            for (; o < owners->n && owners->at[o].small && owners->at[o].unit == u; o++)
                TRY(check_small(t, u, &owners->at[o], &raw, err));
    }
    return ERR_OK;
}

static ErrCode check_data_pack(PackChecker *p, const CheckedPack *pack, Err *err)
{
    PackTable *t AUTO(pack_table_freep) = NULL;
    StrList files AUTO(str_list_release) = {0};
    PackOwners owners = {0};
    TRY(pack_table_parse(p->c->repo, pack->backup_id, pack->id, p->stored.data, p->stored.len, &t,
                         err));
    ErrCode rc = pack_table_owners(t, &files, &owners, err);
    if (rc == ERR_OK)
        rc = check_units(p, t, &owners, err);
    vec_release(&owners);
    return rc;
}

static ErrCode check_map_pack(PackChecker *p, const CheckedPack *pack, Err *err)
{
    ObjectInfo info;
    Buf table AUTO(buf_release) = {0};
    Buf raw AUTO(buf_release) = {0};
    Slice section;
    UnitLens lens = {0};
    TRY(object_parse(&p->c->repo->keys, p->stored.data, p->stored.len, KIND_MAPS, &info, err));
    UnitReader *units AUTO(unit_reader_freep) = unit_reader_new(&info, pack->name);
    TRY(unit_reader_table(units, p->stored.data + info.table_off, info.table_len, &table, err));
    TRY(table_find(&table, SECTION_LEN, &section, err));
    TRY(unit_lens_parse(section, info.units, info.table_off, &lens, err));
    ErrCode rc = ERR_OK;
    uint64_t off = sizeof(ObjectHeader);
    for (size_t i = 0; i < lens.n && rc == ERR_OK; off += lens.at[i++]) {
        raw.len = 0;
        rc = unit_reader_append(units, p->decompressor, i, p->stored.data + off, lens.at[i], &raw,
                                err);
    }
    vec_release(&lens);
    return rc;
}

static ErrCode check_pack(PackChecker *p, const CheckedPack *pack, Err *err)
{
    p->stored.len = 0;
    TRY(repo_get(p->c->repo, pack->name, PACK_STORED_MAX + TABLE_MAX, &p->stored, err));
    atomic_fetch_add(&p->c->bytes, p->stored.len);
    TRY(check_digest(p, pack, err));
    return pack->id.kind == 'm' ? check_map_pack(p, pack, err) : check_data_pack(p, pack, err);
}

static ErrCode pack_run(void *shared, void *state, void *job, Err *err)
{
    Checker *c = shared;
    const CheckedPack *pack = job;
    Err why = {0};
    TRY(cancel_check(err));
    ErrCode rc = check_pack(state, pack, &why);
    progress_add(c->spec->progress, pack->size, 1);
    if (rc == ERR_OK || rc == ERR_NOT_FOUND) /* that it is missing was found before */
        return ERR_OK;
    if (!checker_is_finding(rc)) {
        *err = why;
        return rc;
    }
    found_pack(c, pack, why.message);
    return ERR_OK;
}

ErrCode check_packs_content(Checker *c, Err *err)
{
    uint64_t total = 0;
    for (size_t i = 0; i < c->packs.n; i++)
        total += c->packs.at[i].size;
    progress_begin(c->spec->progress, "reading packs", total, c->packs.n);
    Workers *pool AUTO(workers_freep) = NULL;
    WorkersSpec spec = {.n = c->spec->jobs,
                        .queue_len = c->spec->jobs * 2,
                        .shared = c,
                        .state_new = pack_checker_new,
                        .state_free = pack_checker_free,
                        .run = pack_run};
    TRY(workers_new(&pool, &spec, err));
    for (size_t i = 0; i < c->packs.n; i++)
        TRY(workers_put(pool, &c->packs.at[i], err));
    return workers_finish(pool, err);
}
