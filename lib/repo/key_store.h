#ifndef PGDR_REPO_KEY_STORE_H
#define PGDR_REPO_KEY_STORE_H

/*
 * Where keys lie:
 *
 *     keys/<key id>/<wrap>.{1,2,3}      three identical copies of each wrap
 *     keys/leases/<uuid>                who changes keys just now
 *     <cluster>/backups/<id>/key        all wraps beside every backup, should keys/ be lost
 *
 * A key object holds wraps, a line each. Key objects are never sealed. Those in keys/ are never
 * changed: a passphrase is changed by adding wraps and then removing the old ones. The copies
 * beside backups are replaced then, each whole, by what keys/ holds: they promise that everything
 * can be read without keys/, by the passphrase that is in force.
 *
 *     key_store.c   reading keys
 *     key_wraps.c   their objects and names
 *     key_check.c   are all copies there; writing them again
 *     key_beside.c  the copies beside backups
 *     rekey.c       changing the passphrase, new data keys
 */

#include "lib/repo/publish.h"

/* --- reading --- */

/*
 * Fills r->keys, r->key (the newest) and r->wal_key. One good copy of each key is enough; a damaged
 * one is worth a warning. r->key stays NULL when there are no keys at all. ERR_VERSION when keys/
 * has a key that only a later pgdr can read: nothing may be written beside what is not understood.
 */
MUST_CHECK ErrCode keys_read(Repo *r, KeyRing *ring, Err *err);
/*
 * Looks for keys that others made since, and takes over the wraps as they are now; `secret` may
 * give another passphrase than at first. What is written goes on under the same key. *ret_more:
 * whether there are more keys than before. Not while another thread reads objects.
 */
MUST_CHECK ErrCode keys_read_again(Repo *r, const KeySecret *secret, bool *ret_more, Err *err);
/* Leaves only keys of the cipher, when there is one: in an encrypted repository, a key in the clear
 * was put there by somebody who has no passphrase, and so would be what is written under it. */
void keys_keep_cipher(Repo *r, uint8_t cipher);
/* Chooses r->key and r->wal_key anew. */
void keys_choose(Repo *r);
/* By age, then id. */
int key_compare(const RepoKey *a, const RepoKey *b);

/* --- checking and mending --- */

/*
 * Looks at every copy of every key, without a passphrase: `found` is called for each that is
 * damaged, missing, or other than its fellows. An error is one of the storage as a whole.
 */
typedef void (*KeyFoundFn)(void *arg, const char *object, const Err *why);
MUST_CHECK ErrCode keys_check(Repo *r, KeyFoundFn found, void *arg, Err *err);
/* As keys_check for the copy beside a backup: an error says what is wrong with it. *ret_complete:
 * whether it holds all keys as they were opened. */
MUST_CHECK ErrCode key_check_beside(Repo *r, const char *backup_id, bool *ret_complete, Err *err);

typedef struct KeysMended {
    size_t copies;  /* in keys/, of wraps of which another copy was there */
    size_t folders; /* keys of which only copies beside backups were left */
    size_t beside;  /* copies beside backups */
} KeysMended;
/*
 * Writes what is missing or damaged, as far as it was opened from somewhere else: keys/ from its
 * own other copies and those beside backups, and these from keys/. A folder with some of the keys
 * is worse than none: nobody looks for the others, and with the oldest one missing WAL would get
 * other names. Nothing of a later version is touched. ERR_REFUSED while another process changes
 * keys.
 */
MUST_CHECK ErrCode keys_mend(Repo *r, const KeySecret *secret, KeysMended *ret, Err *err);
/* Keys of which only copies beside backups are left, for who has the lease already. */
MUST_CHECK ErrCode keys_put_back(Repo *r, KeyRing *ring, size_t *ret, Err *err);

/* --- writing --- */

/* Puts a key's wrap, in three copies. The names of what they share are appended to `stems` (may be
 * NULL). */
MUST_CHECK ErrCode key_put(Repo *r, RepoKey *key, StrList *stems, Err *err);
/*
 * Puts the wraps of all keys beside a backup, as keys/ has them: also such as the passphrase does
 * not open, of a change that goes on. Who changes keys puts his wraps first and looks for backups
 * then; this looks into keys/ again when it has put the copy; so one of the two sees the other.
 */
MUST_CHECK ErrCode key_put_beside(Repo *r, const char *backup_id, Err *err);

/* --- who changes keys --- */

/*
 * Keys are changed by one process at a time: it takes a lease in keys/leases/, and goes on when it
 * sees no other one. ERR_REFUSED when it does, and says whose. That holds against all who are
 * awake; rekey.c is safe against those who wake after their lease has lapsed.
 */
typedef struct KeysLease KeysLease;
MUST_CHECK ErrCode keys_lease_take(Repo *r, const char *what, KeysLease **ret, Err *err);
/* Renews it. ERR_CANCELLED when it has lapsed, or somebody else has taken it away for that. */
MUST_CHECK ErrCode keys_lease_check(KeysLease *l, Err *err);
void keys_lease_release(KeysLease *l);
DEFINE_FREEP(KeysLease, keys_lease_release)

/* Makes the copies beside all backups of all clusters hold the wraps of r->keys and no other ones
 * of these keys. What they hold of other keys stays. *ret: how many were written. */
MUST_CHECK ErrCode keys_put_beside_all(Repo *r, KeysLease *lease, size_t *ret, Err *err);

/*
 * Changes the passphrase (`secret` is the new one; NULL: it stays) and makes a new data key for
 * what is written from now on (always when the passphrase stays, else with `new_key`). Nothing else
 * is rewritten: all keys ever made stay, under the new passphrase. The old wraps are removed when
 * the new ones were read back, and all copies beside backups hold them. What an interrupted call
 * has left, the next one with the same passphrases completes. `r` was opened with the passphrase of
 * `spec`. Failures say which passphrase opens the repository.
 */
MUST_CHECK ErrCode repo_rekey(Repo *r, const RepoSpec *spec, const KeySecret *secret, bool new_key,
                              Err *err);

#endif
