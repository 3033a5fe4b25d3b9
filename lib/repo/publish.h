#ifndef PGDR_REPO_PUBLISH_H
#define PGDR_REPO_PUBLISH_H

/*
 * How a backup comes into being, goes, and comes back. Several hosts may do any of this at once,
 * pause for hours in between, or die: no clock of theirs and no lock takes part.
 * tests/model/test_protocol.c explores every interleaving of the functions below, with a crash at
 * every storage call.
 *
 *  - A backup exists when its manifest and its summary both exist.
 *  - A manifest's packs list, committed or not, protects what it names.
 *  - What is to go is named in a trash object first, and goes after the grace period has passed by
 *    the storage's own clock, after everything was looked at again.
 *
 * Any number of sweeps may work on one trash object, each with what it saw when it looked, and each
 * may stop for a day between the look and the removal. Two rules hold them together:
 *
 *  - A backup is removed only by a sweep that has put a mark ("going-<uuid>") into its directory
 * and then looked whether it is committed, or kept, after all. Whoever commits or keeps it looks
 * for marks behind that. One of the two always sees the other.
 *  - What is committed is never uncommitted: a writer that finds a mark behind its summary retires
 *    the backup, which goes in its own time. Other sweeps have taken it for committed.
 *  - A trash object stays for as long as some sweep may still want a pack that it names: until all
 *    of them are removed, or used by backups that every sweep sees. A writer keeps off the packs of
 *    a trash object that is ripe. It has put its manifest before it looks, so the sweeps of one
 * that is not ripe yet will see that.
 */

#include "lib/repo/packs_list.h"
#include "lib/repo/summary.h"

#define GRACE_DEFAULT (24 * 3600 * US_PER_SECOND)

/*
 * Commits a backup whose packs, packs list and manifest have been put (in this order). On success
 * the backup exists and nothing that was condemned before can take it away. ERR_CANCELLED: an
 * expire has overtaken this backup; it does not exist, and a new one must be taken. `flags`:
 * STORAGE_OVERWRITE for one that is made whole again.
 */
MUST_CHECK ErrCode backup_publish(Repo *repo, const BackupSummary *summary, const PacksList *packs,
                                  TimeUs grace, StoragePutFlags flags, Err *err);

/* Takes back, best effort, what a failed commit has put: retires it when its summary is there, else
 * removes the manifest, so that a manifest without a summary means that a summary was lost. Only
 * for who made the backup: of a copy there may be other writers. */
void backup_withdraw(Repo *repo, const char *backup_id);
/* Retires a backup. */
MUST_CHECK ErrCode backup_put_tombstone(Repo *repo, const char *backup_id, Err *err);

/* ERR_CANCELLED unless every pack the list names is there with its size: one listing a backup. */
MUST_CHECK ErrCode packs_check_present(Repo *repo, const char *backup_id, const PacksList *packs,
                                       Err *err);

/* --- what is there --- */

/* The objects below backups/<id>/, by one listing. What lies below backups/ and has no such name is
 * an entry of its own, whose id is "" and which is unknown. */
typedef struct BackupState {
    char id[BACKUP_ID_LEN + 1];
    bool manifest, packs, summary;
    bool going;      /* a sweep has begun to remove it, or was about to */
    bool unknown;    /* an object that this version does not know: never delete anything */
    StrList deleted; /* tombstones not cancelled by a keep */
    StrList objects; /* all names, relative to the cluster */
} BackupState;
typedef VEC(BackupState) BackupStates;
void backup_states_release(BackupStates *s);
/* Of one backup, or (NULL) of all, sorted by id: that is by the second in which they began. */
MUST_CHECK ErrCode backup_states_read(Repo *repo, const char *backup_id, BackupStates *ret,
                                      Err *err);
static inline bool backup_exists(const BackupState *s)
{
    return s->manifest && s->summary;
}
/* NULL when there is none of that id. */
const BackupState *backup_states_find(const BackupStates *states, const char *id);
/* ERR_NOT_FOUND unless the manifest (of these facts), its parts and the packs list are there: all
 * but the manifest by the listing in `s`, the manifest itself now. */
MUST_CHECK ErrCode backup_check_documents(Repo *repo, const BackupState *s,
                                          const DocumentFacts *manifest, Err *err);

/* --- expire --- */

/*
 * Condemns: puts a tombstone on every backup in `retire`, then one trash object that names all
 * that is to go: the retired backups, and backups never committed and packs that no committed
 * backup uses (unless a live lease names their backup). Deletes nothing. *ret_named: how many
 * names; 0 when there was nothing to do.
 */
MUST_CHECK ErrCode expire_condemn(Repo *repo, const StrList *retire, size_t *ret_named, Err *err);

/*
 * Sweeps: for every trash object older than `grace`, reads every packs list again and removes what
 * is still unused, retired or uncommitted: summaries, manifests, packs, the trash object. Anything
 * that cannot be read means that nothing of that trash object is removed; the others are swept
 * nevertheless, and the first error is returned.
 */
MUST_CHECK ErrCode expire_sweep(Repo *repo, TimeUs grace, size_t *ret_removed, Err *err);

/*
 * Takes a retirement back. ERR_REFUSED when its removal may have begun, ERR_NOT_FOUND when objects
 * are gone already.
 */
MUST_CHECK ErrCode backup_undelete(Repo *repo, const char *backup_id, Err *err);

/* --- leases: courtesy, so that work in progress is not wasted --- */

#define LEASE_LIVE (15 * 60 * US_PER_SECOND)
typedef struct Lease Lease;
/* What a lease is for, when that makes the backups it names. */
#define LEASE_BACKUP "backup"
#define LEASE_COPY "copy"
/* `backups`: ids whose objects the holder uses or makes. `what`: one of these, "restore", … A
 * thread renews the lease until it is released; a failure to do so is only logged. */
MUST_CHECK ErrCode lease_take(Repo *repo, const char *what, const StrList *backups, Lease **ret,
                              Err *err);
/* Best effort: a lease lapses by itself. NULL-safe. */
void lease_release(Lease *lease);

/*
 * Leases of one who wants to be alone: nobody renews them behind his back, so that who has slept
 * for too long finds his own one lapsed, or taken away.
 */
MUST_CHECK ErrCode lease_take_alone(Repo *repo, const char *what, Lease **ret, Err *err);
/*
 * Whether another lease is live, or one that nobody can read: *ret_who (the caller frees) then says
 * whose, else it is NULL, and the names of those that have lapsed are appended to `lapsed`.
 */
MUST_CHECK ErrCode lease_find_other(Repo *repo, const Lease *own, char **ret_who, StrList *lapsed,
                                    Err *err);
/* Renews it when it is time for that. ERR_CANCELLED when it has lapsed or is gone. */
MUST_CHECK ErrCode lease_keep(Lease *lease, Err *err);

/* Ids named by live leases, appended, sorted. A lease whose holder died on this machine is none. */
MUST_CHECK ErrCode lease_backups(Repo *repo, StrList *ret, Err *err);
/*
 * Ids named by the leases of who makes a backup, or a copy of one: in *ret_live by live ones, in
 * *ret_left by those that have lapsed or whose holder is dead. Who ends his work takes his lease
 * away, so what is left tells of work that was begun and has not ended well; but who was killed
 * behind the commit leaves one, too. Appended, sorted. A lease that cannot be read is only logged.
 */
MUST_CHECK ErrCode lease_makers(Repo *repo, StrList *ret_live, StrList *ret_left, Err *err);

#endif
