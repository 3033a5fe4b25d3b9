#include "lib/repo/pack_use.h"

#include <string.h>

void pack_uses_release(PackUses *u)
{
    str_list_release(&u->ids);
    vec_release(&u->all);
}

static int use_compare(const void *a, const void *b)
{
    const PackUse *x = a, *y = b;
    if (x->backup != y->backup)
        return x->backup < y->backup ? -1 : 1;
    if (x->id.kind != y->id.kind)
        return x->id.kind < y->id.kind ? -1 : 1;
    return x->id.number < y->id.number ? -1 : x->id.number > y->id.number;
}

void pack_uses_init(PackUses *u, const char *self)
{
    uint32_t first;
    *u = (PackUses){.ids = {0}};
    pack_uses_add_backup(u, self, &first);
}

void pack_uses_add_backup(PackUses *u, const char *backup_id, uint32_t *ret)
{
    *ret = (uint32_t)u->ids.n;
    vec_push(&u->ids, mem_strdup(backup_id));
}

void pack_uses_add_pack(PackUses *u, uint32_t backup, uint64_t number, PackId id, uint64_t size,
                        uint64_t slots)
{
    vec_push(&u->all, (PackUse){.backup = backup,
                                .number = number,
                                .id = id,
                                .size = size,
                                .slots = slots,
                                .was_live = slots});
}

void pack_uses_add_parent(PackUses *u, const char *parent, uint64_t number, const PacksList *packs)
{
    uint32_t backup;
    pack_uses_add_backup(u, parent, &backup);
    for (size_t i = 0; i < packs->own.n; i++) {
        const PackInfo *p = &packs->own.at[i];
        pack_uses_add_pack(u, backup, number, p->id, p->facts.size, p->slots);
    }
    for (size_t i = 0; i < packs->refs.n; i++) {
        const PackRefs *r = &packs->refs.at[i];
        pack_uses_add_backup(u, r->backup_id, &backup);
        for (size_t k = 0; k < r->packs.n; k++) {
            const PackRef *p = &r->packs.at[k];
            pack_uses_add_pack(u, backup, r->number, p->id, p->size, p->slots);
            u->all.at[u->all.n - 1].was_live = p->live;
        }
    }
}

void pack_uses_sort(PackUses *u)
{
    if (u->all.n)
        qsort(u->all.at, u->all.n, sizeof(u->all.at[0]), use_compare);
}

PackUse *pack_uses_find(const PackUses *u, uint32_t backup, PackId id)
{
    PackUse key = {.backup = backup, .id = id};
    return u->all.n ? bsearch(&key, u->all.at, u->all.n, sizeof(u->all.at[0]), use_compare) : NULL;
}

uint32_t pack_uses_backup(const PackUses *u, const char *backup_id)
{
    for (size_t i = 0; i < u->ids.n; i++)
        if (strcmp(u->ids.at[i], backup_id) == 0)
            return (uint32_t)i;
    return UINT32_MAX;
}

/* Live slots of x.was_live / x.slots, without division. */
static int by_live_part(const void *a, const void *b)
{
    const PackUse *x = *(PackUse *const *)a, *y = *(PackUse *const *)b;
    uint64_t left = x->was_live * y->slots, right = y->was_live * x->slots;
    return left != right ? (left < right ? -1 : 1) : use_compare(x, y);
}

void pack_uses_renew(PackUses *u, uint64_t pages)
{
    VEC(PackUse *) dying = {0};
    for (size_t i = 0; i < u->all.n; i++) {
        PackUse *p = &u->all.at[i];
        if (p->id.kind == 'd' && p->was_live && p->was_live < (p->slots + 1) / 2)
            vec_push(&dying, p);
    }
    if (dying.n)
        qsort(dying.at, dying.n, sizeof(dying.at[0]), by_live_part);
    for (size_t i = 0; i < dying.n && dying.at[i]->was_live <= pages; i++) {
        atomic_store(&dying.at[i]->renewed, true);
        pages -= dying.at[i]->was_live;
    }
    vec_release(&dying);
}

#define TIER 16

/* Stored bytes of what the parent uses of it; of maps and small files, which are not counted, all.
 */
static uint64_t live_bytes(const PackUse *p)
{
    return p->slots ? (uint64_t)((double)p->size * (double)p->was_live / (double)p->slots)
                    : p->size;
}

static bool is_between(const PackUse *p, uint64_t above, uint64_t below)
{
    return p->number > above && p->number < below;
}

void pack_uses_merge(PackUses *u, uint64_t number, uint64_t stored)
{
    uint64_t span = 1;
    while (number && number % (span * TIER) == 0)
        span *= TIER;
    for (; span >= TIER; span /= TIER) {
        uint64_t sum = 0;
        for (size_t i = 0; i < u->all.n; i++)
            sum += is_between(&u->all.at[i], number - span, number) ? live_bytes(&u->all.at[i]) : 0;
        if (sum <= stored)
            break;
    }
    for (size_t i = 0; i < u->all.n && span >= TIER; i++)
        if (is_between(&u->all.at[i], number - span, number))
            atomic_store(&u->all.at[i].renewed, true);
}

void pack_uses_refs(const PackUses *u, PacksList *ret)
{
    PackRefs *refs = NULL;
    for (size_t i = 0; i < u->all.n; i++) {
        const PackUse *p = &u->all.at[i];
        if (!p->used)
            continue;
        const char *id = u->ids.at[p->backup];
        if (!refs || strcmp(refs->backup_id, id) != 0) {
            vec_push(&ret->refs, (PackRefs){.packs = {0}});
            refs = &ret->refs.at[ret->refs.n - 1];
            memcpy(refs->backup_id, id, BACKUP_ID_LEN + 1);
            refs->number = p->number;
        }
        vec_push(&refs->packs,
                 (PackRef){.id = p->id, .size = p->size, .slots = p->slots, .live = p->live});
    }
}
