#ifndef PGDR_REPO_COPY_H
#define PGDR_REPO_COPY_H

/*
 * Backups from one repository to another, of another medium or under another key: the same ids, the
 * same packs with the same units, the same manifest. Only seals, page hashes and digests are made
 * anew, since they belong to a repository's key. Everything read is proven before it is written.
 *
 * What is there already and whole is kept, so an interrupted copy goes on where it was. The same
 * work mends a damaged backup from a whole one.
 */

#include "lib/common/progress.h"
#include "lib/repo/packs_list.h"
#include "lib/repo/publish.h"

typedef struct CopySpec {
    Repo *from, *to; /* of the same cluster name */
    unsigned jobs;
    TimeUs grace;
    bool heal; /* the backup may exist in `to`, with damaged objects */
    Progress *progress;
} CopySpec;

typedef struct CopyResult {
    uint64_t objects; /* written */
    uint64_t bytes;
    uint64_t kept; /* objects that were there and whole */
} CopyResult;

/* Copies one backup, with the packs of older backups that it uses. ERR_EXISTS when it is complete
 * in `to` already (not with `heal`). */
MUST_CHECK ErrCode copy_backup(const CopySpec *spec, const char *backup_id, CopyResult *result,
                               Err *err);

#endif
