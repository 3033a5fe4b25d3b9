#ifndef PGDR_VERIFY_HEAL_H
#define PGDR_VERIFY_HEAL_H

/*
 * Mending a repository from others that hold the same backups and WAL. Nothing is removed, and what
 * is written has been proven before; whether all is well then, verify says.
 */

#include "lib/repo/wal_object.h"
#include "verify/verify.h"

/* What is to be mended: put together from findings. */
typedef struct DamagedWal {
    uint64_t system_id;
    uint32_t seg_size;
    WalFound file;
    uint64_t more; /* missing segments behind it */
} DamagedWal;

typedef struct Damage {
    StrList backups;
    VEC(DamagedWal) wal;
    uint64_t hopeless; /* findings that no copy can mend */
} Damage;

void damage_release(Damage *d);
void damage_add(Damage *d, const VerifyFinding *f);
static inline bool damage_any(const Damage *d)
{
    return d->backups.n || d->wal.n;
}

/* Mends what it can from `other`, and takes that out of *d. Failures are logged. */
MUST_CHECK ErrCode heal_from(Repo *repo, Repo *other, unsigned jobs, Progress *progress, Damage *d,
                             Err *err);

#endif
