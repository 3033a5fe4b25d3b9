#ifndef PGDR_VERIFY_VERIFY_H
#define PGDR_VERIFY_VERIFY_H

/*
 * Checks what is stored: that nothing is missing, that every byte of every object is what was
 * written, that lists, manifests and maps agree, and that the WAL from each backup's start to the
 * end of every timeline that it leads to is unbroken. It collects everything that is wrong, tells
 * what that costs, and stops only when the storage does not answer. Each object is read once.
 */

#include "catalog/backups.h"
#include "lib/common/progress.h"
#include "lib/repo/wal_store.h"

typedef struct VerifyFinding {
    bool warning;           /* nothing is known to be lost by it */
    const char *object;     /* relative to the cluster; or what it is about */
    const char *problem;    /* in words */
    const char *hint;       /* NULL: none */
    const StrList *backups; /* ids that cannot be restored because of it; NULL: none */
    const StrList *windows; /* what can no longer be reached, timeline by timeline; NULL: all can */
    /* What would have to be written again: the objects of `backups`, or a file of the WAL (its
     * digest is "" when nothing of it is left), and so many segments behind it. */
    bool in_backups;
    const WalStore *store; /* NULL: not about a WAL file */
    const WalFound *wal;
    uint64_t wal_more;
} VerifyFinding;

typedef struct VerifySpec {
    Repo *repo;
    const char *backup_id; /* only this one, and what it leads to; NULL: all that is stored */
    bool fast;             /* names and sizes only */
    unsigned jobs;
    Progress *progress;
    /* Called by one thread at a time. */
    void (*found)(void *arg, const VerifyFinding *f);
    void *arg;
} VerifySpec;

typedef struct VerifyResult {
    uint64_t backups, packs, pages, files, wal_segments;
    uint64_t other_objects; /* besides these: histories, tails, marks, what nothing needs, … */
    uint64_t bytes;
    uint64_t findings, warnings;
} VerifyResult;

/* The copies of the repository's keys, which are no cluster's. */
MUST_CHECK ErrCode verify_keys(const VerifySpec *spec, VerifyResult *ret, Err *err);

MUST_CHECK ErrCode verify_run(const VerifySpec *spec, VerifyResult *ret, Err *err);

#endif
