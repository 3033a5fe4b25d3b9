#ifndef PGDR_CATALOG_WAL_COPY_H
#define PGDR_CATALOG_WAL_COPY_H

/*
 * The archived WAL that backups need, from one repository to another: every segment from their
 * starts on, on every timeline that leads on from one of them, with histories and tails. What is
 * there already is passed over, so it goes on where it was interrupted, and can be repeated to
 * follow an archive.
 */

#include "catalog/backups.h"
#include "lib/common/progress.h"
#include "lib/repo/wal_object.h"

typedef struct WalCopySpec {
    Repo *from, *to; /* of the same cluster name */
    const BackupList *backups;
    bool only_theirs; /* stop with the WAL that makes each backup consistent */
    unsigned jobs;
    Progress *progress;
} WalCopySpec;

typedef struct WalCopyResult {
    uint64_t files, bytes; /* written; bytes as stored */
    uint64_t kept;         /* files that were there */
} WalCopyResult;

/*
 * Everything is proven before it is written. ERR_CONFLICT when a file is in `to` with other
 * content, or twice in `from`: nothing is written for it.
 */
MUST_CHECK ErrCode wal_copy(const WalCopySpec *spec, WalCopyResult *ret, Err *err);

/*
 * Writes one file anew in `to`, from a whole copy in `from`: `damaged` is its object in `to` (or
 * what its name was, when it is gone). ERR_NOT_FOUND when `from` does not have that content.
 */
MUST_CHECK ErrCode wal_copy_heal(WalStore *from, WalStore *to, const WalFound *damaged, Err *err);

#endif
