#ifndef PGDR_VERIFY_CHECKER_H
#define PGDR_VERIFY_CHECKER_H

/* What the parts of verify share: the backups under test, their packs, and the findings. */

#include <pthread.h>
#include <stdatomic.h>

#include "lib/repo/packs_list.h"
#include "verify/verify.h"

/* A backup under test. */
typedef struct CheckedBackup {
    const BackupSummary *summary;
    PacksList packs;
    bool packs_known; /* its list could be read */
} CheckedBackup;

/* A pack that some backup under test uses. */
typedef struct CheckedPack {
    char *name; /* relative to the cluster */
    char backup_id[BACKUP_ID_LEN + 1];
    PackId id;
    uint64_t size;
    const PackInfo *info; /* from its own backup's list; NULL: that could not be read */
} CheckedPack;

typedef struct Checker {
    const VerifySpec *spec;
    Repo *repo;
    BackupList list;
    BackupStates states;
    VEC(CheckedBackup) backups;
    VEC(CheckedPack) packs; /* sorted by name */
    /* What is stored besides (names and folders relative to the cluster): noted where it is come
     * upon, read by check_rest(). */
    StrList others, other_folders;
    pthread_mutex_t lock; /* of the findings */
    VerifyResult result;
    atomic_uint_fast64_t pages, bytes;
} Checker;

/* Reports a finding; `backups` may be NULL. Thread-safe. */
void checker_found(Checker *c, const VerifyFinding *f);
/* The same for an object that cannot be read, with the error's message. */
void checker_found_err(Checker *c, const char *object, const Err *err, const StrList *backups);
/* True for errors that are findings (damage, absence); others end the verification. */
bool checker_is_finding(ErrCode rc);
/* There are backups that are not whole, or retired, but may come back: what they need is not known.
 */
bool checker_has_others(const Checker *c);
/* The ids of the backups that use a pack, appended. */
void checker_users(const Checker *c, const CheckedPack *p, StrList *ret);

MUST_CHECK ErrCode check_packs_present(Checker *c, Err *err);
MUST_CHECK ErrCode check_packs_content(Checker *c, Err *err);
MUST_CHECK ErrCode check_manifests(Checker *c, Err *err);
MUST_CHECK ErrCode check_wal(Checker *c, Err *err);
/* Objects that no backup and no timeline needs, but whose bytes are to be right, too. */
MUST_CHECK ErrCode check_rest(Checker *c, Err *err);

#endif
