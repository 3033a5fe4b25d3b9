#ifndef PGDR_REPO_PACK_USE_H
#define PGDR_REPO_PACK_USE_H

/*
 * The packs of older backups that a new one may use, and which of them it does use: a table that
 * is fixed before the first page is read, so that threads may share it.
 */

#include <stdatomic.h>

#include "lib/repo/packs_list.h"

typedef struct PackUse {
    uint32_t backup; /* index into the ids */
    PackId id;
    uint64_t number; /* of the backup, see summary.h */
    uint64_t size, slots;
    uint64_t was_live; /* slots that the parent uses */
    atomic_bool
        renewed; /* its pages are stored anew, because most of it is dead or it is damaged */
    bool used;
    uint64_t live; /* slots that the new backup uses */
} PackUse;

typedef struct PackUses {
    StrList ids; /* of backups; [0] is the new one */
    VEC(PackUse) all;
} PackUses;

void pack_uses_release(PackUses *u);
/* For the new backup `self`; then what it may use is added, and all is sorted before it is used. */
void pack_uses_init(PackUses *u, const char *self);
/* A parent's own packs, and those that it uses. */
void pack_uses_add_parent(PackUses *u, const char *parent, uint64_t number, const PacksList *packs);
/* Another backup's; *ret is its number among the ids. */
void pack_uses_add_backup(PackUses *u, const char *backup_id, uint32_t *ret);
void pack_uses_add_pack(PackUses *u, uint32_t backup, uint64_t number, PackId id, uint64_t size,
                        uint64_t slots);
void pack_uses_sort(PackUses *u);
/* NULL, or UINT32_MAX, for one that is not in the table. */
PackUse *pack_uses_find(const PackUses *u, uint32_t backup, PackId id);
uint32_t pack_uses_backup(const PackUses *u, const char *backup_id);

/*
 * Marks data packs of which less than half is live, least live first, so that their pages are
 * stored anew and they go with the last backup that has them: at most `pages` live pages in all.
 */
void pack_uses_renew(PackUses *u, uint64_t pages);
/*
 * Backup k also stores anew what lives of the backups between k − u and itself, u being the largest
 * power of 16 that divides k, as long as that is at most `stored` bytes; else, with the next
 * smaller power. So the packs that a file lies in stay few, however often backups are taken.
 */
void pack_uses_merge(PackUses *u, uint64_t number, uint64_t stored);

/* Appends what is used to a new backup's list. */
void pack_uses_refs(const PackUses *u, PacksList *ret);

#endif
