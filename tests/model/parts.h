#ifndef PGDR_TESTS_MODEL_PARTS_H
#define PGDR_TESTS_MODEL_PARTS_H

/* What the protocol's test is played with: backups that use each other's packs, and the processes
 * that make, retire, sweep and bring them back. All of it is the real code of lib/repo/. */

#include "lib/repo/publish.h"
#include "tests/model/explore.h"

#define GRACE (2 * 3600 * US_PER_SECOND)
#define HALF_GRACE (GRACE / 2)

/* Letters stand for backups: pack_of() and so on make names of them. */
#define BACKUP_USES_MAX 4
typedef struct BackupSpecimen {
    char id[BACKUP_ID_LEN + 1];
    char letter;
    const char *uses; /* letters of the other backups whose pack d0 it uses */
    /* Begins only when this backup exists and is not retired; 0: needs none. */
    char parent;
    /* Own packs that are there before it begins (it was interrupted), and those it puts. */
    unsigned packs_before, packs;
    bool late;                              /* all but the summary is there before it begins */
    const struct BackupSpecimen *successor; /* made when this one has failed */
    bool withdraws;                         /* takes back what is left after a failure */
    bool leased;                            /* puts a lease first; nobody renews it but a renewer */
    DocumentFacts packs_facts, manifest_facts; /* of one that is late */
} BackupSpecimen;

void specimen_init(BackupSpecimen *b, char letter, const char *uses);

/* Makes a repository in a new mem storage; *ret borrows it. */
Repo *parts_repo(Storage **ret_mem);
/* Takes the backup, whole, on the repository's own storage. */
void parts_put_backup(Repo *repo, BackupSpecimen *b);
/* Only the packs it has before it begins, and when it is late, the rest. */
void parts_put_packs(Repo *repo, BackupSpecimen *b);
/* Removes everything of a backup but its packs: it expired long ago. */
void parts_forget(Repo *repo, const BackupSpecimen *b);

/* Parts of processes; `arg` as said. */
ErrCode run_check_parent(Repo *repo, const void *arg, Err *err); /* BackupSpecimen */
ErrCode run_writer(Repo *repo, const void *arg, Err *err);       /* BackupSpecimen */
ErrCode run_attempt(Repo *repo, const void *arg, Err *err);      /* the same; may fail */
ErrCode run_successor(Repo *repo, const void *arg, Err *err);
ErrCode run_renewer(Repo *repo, const void *arg, Err *err);  /* BackupSpecimen */
ErrCode run_condemn(Repo *repo, const void *arg, Err *err);  /* BackupSpecimen to retire, NULL */
ErrCode run_sweep(Repo *repo, const void *arg, Err *err);    /* nothing */
ErrCode run_expirer(Repo *repo, const void *arg, Err *err);  /* both in one */
ErrCode run_undelete(Repo *repo, const void *arg, Err *err); /* BackupSpecimen */

/*
 * Everybody has stopped here for ever, and somebody else expires now: whether
 *  - what was listed, whole and not retired stays so, and else nothing but what it uses is left
 *    (a trash object may stay as well, as long as a mark on a backup does: whoever put it may come
 *    back);
 *  - everything goes when all is retired then.
 * `store` stays as it is. Returns what is wrong, or NULL.
 */
const char *parts_settle(const Repo *like, Storage *store, const BackupSpecimen *const *all,
                         size_t n);

/* --- the oracle: plain names, nothing of lib/repo/publish.c --- */

/* Both manifest and summary are there. */
bool parts_listed(Storage *store, const BackupSpecimen *b);
/* A tombstone without its keep. */
bool parts_retired(Storage *store, const BackupSpecimen *b);
/* A sweep's mark lies there. */
bool parts_marked(Storage *store, const BackupSpecimen *b);
/* Every object a restore needs is there: documents, own packs, the packs it uses. */
bool parts_whole(Storage *store, const BackupSpecimen *b);

#endif
