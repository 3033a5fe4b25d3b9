#include "tests/model/stores.h"

#include <string.h>
#include <xxhash.h>

#include "tests/model/map.h"

/* A name that came or went, as it was before it went. */
typedef struct Change {
    char *name;
    bool there; /* it was there before */
    uint64_t size;
    TimeUs mtime;
} Change;

#define CHANGES_MAX 64

struct Stores {
    uint64_t (*facts)(const void *arg, Storage *mem);
    const void *arg;
    VEC(Store *) stores;
    VEC(Answer *) answers;
    Map by_digest,  /* Store */
        by_content, /* Answer */
        puts, removals, advances, reads;
    Change changes[CHANGES_MAX];
    unsigned n_changes;
};

/* --- what a store is --- */

static bool age_counts(const char *name)
{
    return strstr(name, "/trash/") || strstr(name, "/leases/");
}

/* Adds (sign 1) or takes away (sign -1) what the object of that name means in the digest. */
static bool store_count(Store *s, const char *name, int sign)
{
    Err err;
    StorageStat st;
    if (storage_stat(s->mem, name, &st, &err) != ERR_OK)
        return false;
    uint64_t seed = (uint64_t)(age_counts(name) ? st.mtime : 0);
    seed = XXH3_64bits_withSeed(st.etag, strlen(st.etag), seed);
    XXH128_hash_t h = XXH3_128bits_withSeed(name, strlen(name), seed);
    s->low += sign > 0 ? h.low64 : -h.low64;
    s->high += sign > 0 ? h.high64 : -h.high64;
    return true;
}

static ErrCode count_entry(void *arg, const StorageEntry *entry, Err *err)
{
    (void)err;
    store_count(arg, entry->name, 1);
    return ERR_OK;
}

static Store *store_clone(const Store *from)
{
    Store *s = NEW(Store);
    *s = *from;
    s->mem = storage_mem_clone(from->mem);
    return s;
}

/* The one object that stands for all stores like this, which is consumed. */
static const Store *store_known(Stores *all, Store *s)
{
    const uint64_t words[] = {s->low, s->high, (uint64_t)s->now};
    void **slot = map_slot(&all->by_digest, XXH3_64bits(words, sizeof(words)));
    if (*slot) {
        storage_free(s->mem);
        free(s);
        return *slot;
    }
    *slot = s;
    s->id = (uint32_t)all->stores.n + 1;
    s->facts = all->facts(all->arg, s->mem);
    vec_push(&all->stores, s);
    return s;
}

Stores *stores_new(Storage *mem, uint64_t (*facts)(const void *arg, Storage *mem), const void *arg)
{
    Stores *all = NEW(Stores);
    Store *s = NEW(Store);
    Err err;
    all->facts = facts;
    all->arg = arg;
    s->mem = storage_mem_clone(mem);
    StorageList list = {.prefix = "", .fn = count_entry, .arg = s};
    if (storage_now(s->mem, &s->now, &err) != ERR_OK || storage_list(s->mem, &list, &err) != ERR_OK)
        abort();
    store_known(all, s);
    return all;
}

void stores_free(Stores *all)
{
    for (size_t i = 0; i < all->stores.n; i++) {
        storage_free(all->stores.at[i]->mem);
        free(all->stores.at[i]);
    }
    vec_release(&all->stores);
    for (size_t i = 0; i < all->answers.n; i++) {
        buf_release(&all->answers.at[i]->data);
        free(all->answers.at[i]);
    }
    vec_release(&all->answers);
    Map *maps[] = {&all->by_digest, &all->by_content, &all->puts,
                   &all->removals,  &all->advances,   &all->reads};
    for (size_t i = 0; i < ARRAY_LEN(maps); i++)
        map_release(maps[i]);
    for (unsigned i = 0; i < all->n_changes; i++)
        free(all->changes[i].name);
    free(all);
}

const Store *stores_first(const Stores *s)
{
    return s->stores.at[0];
}

size_t stores_count(const Stores *s)
{
    return s->stores.n;
}

/* --- effects --- */

const Store *store_put(Stores *all, const Store *at, const Call *c, ErrCode *ret)
{
    const uint64_t words[] = {at->id, c->digest};
    uint64_t key = XXH3_64bits(words, sizeof(words));
    const Store *known = *map_slot(&all->puts, key);
    if (!known) {
        Err err;
        Store *s = store_clone(at);
        store_count(s, c->name, -1);
        ErrCode rc =
            storage_put_bytes(s->mem, c->name, c->content.data, c->content.len, c->flags, &err);
        store_count(s, c->name, 1);
        if (rc != ERR_OK && rc != ERR_EXISTS)
            abort();
        known = store_known(all, s);
        *map_slot(&all->puts, key) = (Store *)(uintptr_t)known;
    }
    /* What changes nothing was refused: no process puts the same object over itself. */
    *ret = known == at && !(c->flags & STORAGE_OVERWRITE) ? ERR_EXISTS : ERR_OK;
    return known;
}

const Store *store_remove(Stores *all, const Store *at, const char *name)
{
    uint64_t key = XXH3_64bits_withSeed(name, strlen(name), at->id);
    const Store *known = *map_slot(&all->removals, key);
    if (!known) {
        Err err;
        Store *s = store_clone(at);
        store_count(s, name, -1);
        if (storage_remove(s->mem, &name, 1, &err) != ERR_OK)
            abort();
        known = store_known(all, s);
        *map_slot(&all->removals, key) = (Store *)(uintptr_t)known;
    }
    return known;
}

const Store *store_advance(Stores *all, const Store *at, TimeUs by)
{
    const Store *known = *map_slot(&all->advances, at->id);
    if (!known) {
        Store *s = store_clone(at);
        storage_mem_advance(s->mem, by);
        s->now += by;
        known = store_known(all, s);
        *map_slot(&all->advances, at->id) = (Store *)(uintptr_t)known;
    }
    return known;
}

/* --- changes during a listing --- */

Changes changes_add(Stores *all, Changes changes, const Store *before, const char *name)
{
    Err err;
    StorageStat st = {.size = 0};
    bool there = storage_stat(before->mem, name, &st, &err) == ERR_OK;
    TimeUs mtime = there && age_counts(name) ? st.mtime : 0;
    unsigned same = all->n_changes;
    for (unsigned i = 0; i < all->n_changes; i++) {
        Change *c = &all->changes[i];
        if (strcmp(c->name, name) != 0)
            continue;
        changes &= ~(UINT64_C(1) << i); /* the last change of a name is the one that counts */
        if (c->there == there && c->size == st.size && c->mtime == mtime)
            same = i;
    }
    if (same == all->n_changes) {
        if (same == CHANGES_MAX)
            abort();
        all->changes[all->n_changes++] = (Change){mem_strdup(name), there, st.size, mtime};
    }
    return changes | UINT64_C(1) << same;
}

unsigned changes_count(Changes changes)
{
    return (unsigned)__builtin_popcountll(changes);
}

/* --- answers --- */

/* Takes `data` over. */
static const Answer *answer_known(Stores *all, ErrCode code, Buf *data)
{
    uint64_t key = XXH3_64bits_withSeed(data->data, data->len, (uint64_t)code + 1);
    void **slot = map_slot(&all->by_content, key);
    if (!*slot) {
        Answer *a = NEW(Answer);
        a->code = code;
        a->data = *data;
        *data = (Buf){NULL, 0, 0};
        *slot = a;
        vec_push(&all->answers, a);
    }
    buf_release(data);
    return *slot;
}

const Answer *answer_fail(Stores *all, ErrCode code)
{
    Buf none = {NULL, 0, 0};
    return answer_known(all, code, &none);
}

typedef struct Lister {
    const Stores *all;
    Buf *out;
    Changes shown, hidden; /* shown: gone names that are still to be shown */
} Lister;

/* Gone names that sort before `until` and are shown. */
static void list_gone(Lister *l, const char *until)
{
    for (;;) {
        const Change *best = NULL;
        Changes bit = 0;
        for (unsigned i = 0; i < l->all->n_changes; i++) {
            const Change *c = &l->all->changes[i];
            if ((l->shown >> i & 1) && (!until || strcmp(c->name, until) < 0) &&
                (!best || strcmp(c->name, best->name) < 0)) {
                best = c;
                bit = UINT64_C(1) << i;
            }
        }
        if (!best)
            return;
        l->shown &= ~bit;
        if (best->there)
            entry_append(l->out, &(Entry){best->name, best->size, best->mtime});
    }
}

static ErrCode list_entry(void *arg, const StorageEntry *e, Err *err)
{
    Lister *l = arg;
    (void)err;
    list_gone(l, e->name);
    for (unsigned i = 0; i < l->all->n_changes; i++)
        if (((l->shown | l->hidden) >> i & 1) && strcmp(l->all->changes[i].name, e->name) == 0) {
            l->shown &= ~(UINT64_C(1) << i);
            if (l->hidden >> i & 1)
                return ERR_OK;
        }
    TimeUs mtime = age_counts(e->name) ? e->stat.mtime : 0;
    entry_append(l->out, &(Entry){e->name, e->stat.size, mtime});
    return ERR_OK;
}

static ErrCode read_list(const Stores *all, Storage *mem, const Call *c, Changes changes,
                         uint32_t hidden, Buf *out)
{
    Err err;
    Lister lister = {.all = all, .out = out, .shown = changes};
    unsigned nth = 0;
    for (unsigned i = 0; i < all->n_changes; i++)
        if (changes >> i & 1 && hidden >> nth++ & 1)
            lister.hidden |= UINT64_C(1) << i;
    lister.shown &= ~lister.hidden;
    StorageList list = {.prefix = c->name,
                        .by_level = c->by_level,
                        .want_stat = true,
                        .fn = list_entry,
                        .arg = &lister};
    ErrCode rc = storage_list(mem, &list, &err);
    list_gone(&lister, NULL);
    return rc;
}

static const Answer *read_now(Stores *all, Storage *mem, const Call *c, Changes changes,
                              uint32_t hidden)
{
    Buf data = {NULL, 0, 0};
    Err err;
    TimeUs now = 0;
    StorageStat st;
    ErrCode rc;
    switch ((unsigned)c->op) {
    case STORAGE_OP_NOW:
        rc = storage_now(mem, &now, &err);
        buf_append_u64(&data, (uint64_t)now);
        break;
    case STORAGE_OP_GET:
        rc = storage_get_all(mem, c->name, MIB, &data, &err);
        break;
    case STORAGE_OP_STAT:
        rc = storage_stat(mem, c->name, &st, &err);
        if (rc == ERR_OK)
            entry_append(&data, &(Entry){c->name, st.size, age_counts(c->name) ? st.mtime : 0});
        break;
    default:
        rc = read_list(all, mem, c, changes, hidden, &data);
        break;
    }
    return answer_known(all, rc, &data);
}

const Answer *store_read(Stores *all, const Store *at, const Call *c, Changes changes,
                         uint32_t hidden)
{
    const uint64_t words[] = {at->id, c->digest, changes, hidden};
    uint64_t key = XXH3_64bits(words, sizeof(words));
    void *known = *map_slot(&all->reads, key);
    if (!known) {
        known = (Answer *)(uintptr_t)read_now(all, at->mem, c, changes, hidden);
        *map_slot(&all->reads, key) = known;
    }
    return known;
}

/* Does again, to `mem`, what the process has done up to `at`. */
static void remember(Storage *mem, const Step *at)
{
    Err err;
    if (!at->before)
        return;
    remember(mem, at->before);
    const Call *c = &at->before->call;
    if (at->answer->code != ERR_OK)
        return;
    if (c->op == STORAGE_OP_PUT &&
        storage_put_bytes(mem, c->name, c->content.data, c->content.len, c->flags, &err) != ERR_OK)
        return; /* it was there already */
    if (c->op == STORAGE_OP_REMOVE &&
        storage_remove(mem, (const char *const *)c->names.at, c->names.n, &err) != ERR_OK)
        abort();
}

const Answer *answer_remembered(Stores *all, const Step *at)
{
    Storage *mem AUTO(storage_freep) = storage_mem_clone(stores_first(all)->mem);
    remember(mem, at);
    return read_now(all, mem, &at->call, 0, 0);
}
