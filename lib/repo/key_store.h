#ifndef PGDR_REPO_KEY_STORE_H
#define PGDR_REPO_KEY_STORE_H

/*
 * Where keys lie:
 *
 *     keys/<key id>/<wrap>.{1,2,3}      three identical copies of each wrap
 *     <cluster>/backups/<id>/key        a copy of all keys beside every backup, should keys/ be
 * lost
 *
 * A key object holds wraps, a line each. Key objects are never sealed and never overwritten. A
 * passphrase is changed by adding wraps and then removing the old ones.
 */

#include "lib/repo/repo.h"

/* Fills r->keys, r->key (the newest) and r->wal_key. One good copy of each key is enough; a damaged
 * one is worth a warning. r->key stays NULL when there are no keys at all. */
MUST_CHECK ErrCode keys_read(Repo *r, KeyRing *ring, Err *err);
/*
 * Looks for keys that others made since, and takes over the wraps as they are now; `secret` may give
 * another passphrase than at first. What is written goes on under the same key. *ret_more: whether
 * there are more keys than before. Not while another thread reads objects.
 */
MUST_CHECK ErrCode keys_read_again(Repo *r, const KeySecret *secret, bool *ret_more, Err *err);
/* Leaves only keys of the cipher, when there is one: in an encrypted repository, a key in the clear
 * was put there by somebody who has no passphrase, and so would be what is written under it. */
void keys_keep_cipher(Repo *r, uint8_t cipher);
/*
 * Looks at every copy of every key, without a passphrase: `found` is called for each that is
 * damaged, missing, or other than its fellows. An error is one of the storage as a whole.
 */
typedef void (*KeyFoundFn)(void *arg, const char *object, const Err *why);
MUST_CHECK ErrCode keys_check(Repo *r, KeyFoundFn found, void *arg, Err *err);
/* Writes copies that are damaged or missing again, as far as the key was opened from another one.
 * *ret: how many were written. */
MUST_CHECK ErrCode keys_mend(Repo *r, size_t *ret, Err *err);
/* As keys_check for the copy beside a backup: an error says what is wrong with it. */
MUST_CHECK ErrCode key_check_beside(Repo *r, const char *backup_id, Err *err);

/*
 * Completes keys/ from the copies beside the backups. A folder with some of the keys is worse than
 * none: nobody looks for the others, and with the oldest one missing WAL would get other names.
 */
MUST_CHECK ErrCode keys_put_back(Repo *r, KeyRing *ring, Err *err);
/* Puts a key's wrap, in three copies. */
MUST_CHECK ErrCode key_put(Repo *r, RepoKey *key, Err *err);
/* Puts the wraps of all keys beside a backup. */
MUST_CHECK ErrCode key_put_beside(Repo *r, const char *backup_id, Err *err);

/*
 * Changes the passphrase (`secret` is the new one; NULL: it stays) and makes a new data key for
 * what is written from now on (always when the passphrase stays, else with `new_key`). Nothing else
 * is rewritten: all keys ever made stay, under the new passphrase. The old wraps are removed when
 * the new ones were read back.
 */
MUST_CHECK ErrCode repo_rekey(Repo *r, const RepoSpec *spec, const KeySecret *secret, bool new_key,
                              Err *err);

#endif
