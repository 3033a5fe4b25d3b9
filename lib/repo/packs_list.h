#ifndef PGDR_REPO_PACKS_LIST_H
#define PGDR_REPO_PACKS_LIST_H

/*
 * "backups/<id>/packs": the packs a backup made, with their digests, and the packs of older
 * backups that it uses, with how many of their pages are live in it. Expire and refresh read only
 * these lists, never manifests or maps.
 */

#include "lib/repo/map_pack.h"

/* A pack of another backup. */
typedef struct PackRef {
    PackId id;
    uint64_t size;  /* stored bytes */
    uint64_t slots; /* page slots in it */
    uint64_t live;  /* of them in use by this backup */
} PackRef;

typedef struct PackRefs {
    char backup_id[BACKUP_ID_LEN + 1];
    uint64_t number; /* that backup's, see summary.h */
    VEC(PackRef) packs;
} PackRefs;

typedef struct PacksList {
    PackInfos own;
    VEC(PackRefs) refs;
} PacksList;

void packs_list_release(PacksList *l);
/* Sorts the own packs by kind and number (what packs_list_get() returns is sorted). */
void packs_list_sort(PacksList *l);
/* The own pack of that id, or NULL. The list must be sorted. */
const PackInfo *packs_list_find(const PacksList *l, PackId id);
/* Stored bytes of the own packs. */
uint64_t packs_list_stored(const PacksList *l);

/* The text of "packs". */
void packs_list_format(const PacksList *l, Buf *out);
MUST_CHECK ErrCode packs_list_put(Repo *repo, const char *backup_id, const PacksList *l,
                                  DocumentFacts *ret, Err *err);
/* `expected` (NULL: not known) are the facts in the backup's summary. */
MUST_CHECK ErrCode packs_list_get(Repo *repo, const char *backup_id, const DocumentFacts *expected,
                                  PacksList *ret, Err *err);

#endif
