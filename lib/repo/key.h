#ifndef PGDR_REPO_KEY_H
#define PGDR_REPO_KEY_H

/*
 * Keys of a repository. Every repository has at least one: 32 random bytes from which all else is
 * derived. Without encryption it is stored in the clear and only gives the page hash its secret;
 * with encryption it is stored wrapped. Every object names the key it was written under, keys are
 * never overwritten or deleted, so every key ever made stays readable.
 */

#include "lib/common/cipher.h"
#include "lib/common/digest.h"
#include "lib/common/json.h"
#include "lib/common/timeutil.h"
#include "lib/repo/format.h"
#include "lib/repo/keyring.h"

#define KEY_STEM_LEN (5 + 2 * KEY_ID_LEN + 1 + 32)

typedef struct RepoKey {
    uint8_t id[KEY_ID_LEN];
    uint8_t repo_id[REPO_ID_LEN];
    uint8_t secret[CIPHER_KEY_LEN];
    uint8_t page_secret[PAGE_SECRET_LEN];
    uint8_t wal_name_key[CIPHER_KEY_LEN];
    uint8_t cipher; /* CIPHER_NONE or CIPHER_AES_256_GCM */
    TimeUs created;
    json_t *wrap; /* the wrap it was read from or stored as */
    /* "keys/<key id>/<wrap uuid>": where that wrap lies; "" when it was read from elsewhere. */
    char stem[KEY_STEM_LEN + 1];
} RepoKey;

/* A new random key for a repository. */
RepoKey *repo_key_new(const uint8_t repo_id[REPO_ID_LEN], uint8_t cipher, TimeUs now);
void repo_key_free(RepoKey *k);
DEFINE_FREEP(RepoKey, repo_key_free)

/* Makes k->wrap without protection: {"wrap":"none","secret":…}. For CIPHER_NONE only. */
void repo_key_wrap_plain(RepoKey *k);
/* Makes k->wrap under the ring's passphrase: {"wrap":"scrypt"|"generated","sealed":…}. */
MUST_CHECK ErrCode repo_key_wrap(RepoKey *k, KeyRing *ring, const WrapMethod *method, Err *err);
/* How a wrap is protected. ERR_DAMAGED for one that is not, or not understood. */
MUST_CHECK ErrCode wrap_method(const json_t *wrap, WrapMethod *ret, Err *err);
/*
 * Opens a wrap. ERR_WRONG_KEY when the passphrase does not fit, ERR_DAMAGED when the wrap
 * contradicts itself.
 */
MUST_CHECK ErrCode repo_key_unwrap(const json_t *wrap, KeyRing *ring, RepoKey **ret, Err *err);

/* The key of one object: HKDF over its salt and its name relative to the cluster. */
Cipher *repo_key_object_cipher(const RepoKey *k, const uint8_t salt[SALT_LEN], const char *name);

#define WAL_DIGEST_LEN 33 /* 32 hexadecimal digits: the digest in a WAL object's name */

#endif
