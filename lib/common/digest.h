#ifndef PGDR_COMMON_DIGEST_H
#define PGDR_COMMON_DIGEST_H

/*
 * Digests: SHA-256 for what must not be forged or confused, CRC-32C for headers (and PostgreSQL's
 * WAL), XXH3-64 for pages, XXH3-128 to tell contents apart, MD5 for protocols that insist on it.
 */

#include "lib/common/err.h"

#define SHA256_LEN 32
#define SHA256_HEX_LEN 65 /* with the NUL */

/*
 * Sets OpenSSL up without its configuration file and tables of names: 2 of the 20 ms that a short
 * command takes. Only for a process that uses digests as check sums and nothing else: what a
 * system's configuration says about ciphers, providers and TLS is then not read. Call it before any
 * other function of this header, and before there are threads.
 */
void digest_init_light(void);

typedef struct Sha256 Sha256;
/* A running SHA-256. One thread at a time. */
Sha256 *sha256_new(void);
void sha256_free(Sha256 *s);
DEFINE_FREEP(Sha256, sha256_free)
void sha256_reset(Sha256 *s);
void sha256_add(Sha256 *s, const void *data, size_t len);
/* The digest of all added so far; more may be added afterwards. */
void sha256_result(Sha256 *s, uint8_t out[SHA256_LEN]);

void sha256_of(const void *data, size_t len, uint8_t out[SHA256_LEN]);
void hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                 uint8_t out[SHA256_LEN]);
/* HKDF-SHA256 (RFC 5869), extract and expand. */
void hkdf_sha256(const void *key, size_t key_len, const void *salt, size_t salt_len,
                 const void *info, size_t info_len, void *out, size_t out_len);

/* A running MD5, for protocols that ask for one as a check sum; it protects nothing. */
#define MD5_LEN 16
typedef struct Md5 Md5;
Md5 *md5_new(void);
void md5_free(Md5 *m);
DEFINE_FREEP(Md5, md5_free)
void md5_add(Md5 *m, const void *data, size_t len);
/* Ends it. */
void md5_result(Md5 *m, uint8_t out[MD5_LEN]);

/* CRC-32C (Castagnoli) over several pieces: start with 0, pass the result on. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

/*
 * Hash of a stored page: XXH3-64 with a secret that belongs to the repository's key, so that
 * nobody who can only write SQL can craft two pages with one hash; `number` is the page's number
 * in its file (0 for a small file), so that a page in the wrong place is noticed.
 */
#define PAGE_SECRET_LEN 192
uint64_t page_hash(const uint8_t secret[PAGE_SECRET_LEN], uint64_t number, const void *data,
                   size_t len);

/* XXH3-128 in its canonical form (most significant byte first), without secret or seed: two
 * contents that differ by accident differ in it; who wants to can make two that do not. */
#define XXH128_LEN 16
void xxh128_of(const void *data, size_t len, uint8_t out[XXH128_LEN]);

/* True when all bytes are zero. */
bool is_all_zero(const void *data, size_t len);
/* Comparison in constant time. */
bool secret_equal(const void *a, const void *b, size_t len);
/* Overwrites a secret in memory. */
void secret_wipe(void *p, size_t len);

#endif
