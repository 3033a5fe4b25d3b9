#ifndef PGDR_COMMON_CIPHER_H
#define PGDR_COMMON_CIPHER_H

/* AES-256-GCM with one key and many messages, and scrypt for passphrases. */

#include "lib/common/err.h"

#define CIPHER_KEY_LEN 32
#define CIPHER_TAG_LEN 16
#define CIPHER_NONCE_LEN 12

/* One key's schedule for sealing and opening; one thread at a time. */
typedef struct Cipher Cipher;
Cipher *cipher_new(const uint8_t key[CIPHER_KEY_LEN]);
void cipher_free(Cipher *c);
DEFINE_FREEP(Cipher, cipher_free)

/* Writes `len` bytes of ciphertext and the tag to `out` (len + CIPHER_TAG_LEN). A nonce is never
 * used twice with one key: that is the caller's duty. `in` and `out` may be the same. */
void cipher_seal(Cipher *c, const uint8_t nonce[CIPHER_NONCE_LEN], const void *aad, size_t aad_len,
                 const void *in, size_t len, uint8_t *out);
/* `len` is without the tag. False when the tag does not fit; `out` is then not to be used. */
MUST_CHECK bool cipher_open(Cipher *c, const uint8_t nonce[CIPHER_NONCE_LEN], const void *aad,
                            size_t aad_len, const void *in, size_t len, uint8_t *out);

/* scrypt (RFC 7914) with 2^log_n, r = 8, p = 1: 128 bytes × 8 × 2^log_n of memory. */
MUST_CHECK ErrCode scrypt_derive(const char *passphrase, const uint8_t *salt, size_t salt_len,
                                 unsigned log_n, uint8_t out[CIPHER_KEY_LEN], Err *err);

#endif
