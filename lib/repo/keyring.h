#ifndef PGDR_REPO_KEYRING_H
#define PGDR_REPO_KEYRING_H

/*
 * From a passphrase to the key that wraps a repository's keys (the "wrapping key").
 *
 * A passphrase that people choose is stretched with scrypt, which takes a third of a second and
 * 128 MiB; archive_command cannot pay that for every segment. So the wrapping key is kept in a
 * directory that is emptied at every start of the machine (cache_dir), readable by its owner only.
 * A generated passphrase ("pgdr-key-" and 64 hexadecimal digits) has all the strength it needs and
 * is only hashed.
 */

#include "lib/common/cipher.h"
#include "lib/common/json.h"
#include "lib/repo/format.h"

typedef struct KeySecret {
    /* Gives the passphrase, to be freed by the caller. */
    ErrCode (*passphrase)(void *arg, char **ret, Err *err);
    void *arg;
    bool costly;           /* it comes from a command: asked for once an hour at most */
    const char *cache_dir; /* NULL: nothing is kept */
} KeySecret;

typedef struct KeyRing KeyRing;
/* `secret` is borrowed; NULL when there is none (plain repositories). */
KeyRing *keyring_new(const KeySecret *secret);
void keyring_free(KeyRing *k);
DEFINE_FREEP(KeyRing, keyring_free)

#define WRAP_SALT_LEN 16

/* How a wrapping key is derived; stands in every wrap. */
typedef struct WrapMethod {
    bool generated; /* else stretched with scrypt */
    uint8_t salt[WRAP_SALT_LEN];
    unsigned log_n; /* of scrypt */
} WrapMethod;

/* A new method for the ring's passphrase, with a salt of its own. */
MUST_CHECK ErrCode keyring_method_new(KeyRing *k, WrapMethod *ret, Err *err);
/* The wrapping key. ERR_CONFIG when there is no passphrase, ERR_WRONG_KEY when it is of the other
 * sort. `fresh`: not from the cache (after a key from there did not fit). */
MUST_CHECK ErrCode keyring_derive(KeyRing *k, const WrapMethod *m, bool fresh,
                                  uint8_t out[CIPHER_KEY_LEN], Err *err);
/* Keeps a wrapping key that has proven right. */
void keyring_remember(KeyRing *k, const WrapMethod *m, const uint8_t key[CIPHER_KEY_LEN]);

/* A generated passphrase; the caller frees. */
char *passphrase_generate(void);

#endif
