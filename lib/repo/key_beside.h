#ifndef PGDR_REPO_KEY_BESIDE_H
#define PGDR_REPO_KEY_BESIDE_H

/* The copies of the keys beside backups: backups/<id>/key of every cluster. */

#include "lib/repo/key_store.h"
#include "lib/repo/key_wraps.h"

typedef struct BesideCopy {
    char *name; /* in full */
    Buf text;   /* as far as it could be read */
    ErrCode
        rc; /* ERR_OK, or why it could not: ERR_NOT_FOUND, ERR_DAMAGED, ERR_LIMIT, ERR_VERSION */
    Err err;
} BesideCopy;
typedef VEC(BesideCopy) BesideCopies;
void beside_copies_release(BesideCopies *l);
/* Of every backup that has a summary or such a copy, oldest first within a cluster, appended. */
MUST_CHECK ErrCode beside_copies_read(Repo *r, BesideCopies *ret, Err *err);

/* The same, and adds the keys in them that are not known yet, as far as they open. */
MUST_CHECK ErrCode keys_read_beside(Repo *r, KeyRing *ring, BesideCopies *ret, Err *err);

typedef VEC(json_t *) KeyWraps;
void key_wraps_release(KeyWraps *w);
/* The wraps of r->keys. */
void key_wraps_of(const Repo *r, KeyWraps *ret);
/* All wraps in keys/ of the cipher of r->key, and those of r->keys that are not there. `stems`: the
 * names they have there. */
MUST_CHECK ErrCode key_wraps_now(Repo *r, KeyWraps *ret, StrList *stems, Err *err);

/* Whether a copy holds just `want` of the keys that `want` has wraps of. */
bool beside_copy_fits(const BesideCopy *c, const KeyWraps *want);
/* Writes those that do not, as long as the lease lasts (NULL: there is none). *ret: how many. */
MUST_CHECK ErrCode beside_copies_write(Repo *r, const BesideCopies *l, const KeyWraps *want,
                                       KeysLease *lease, size_t *ret, Err *err);

#endif
