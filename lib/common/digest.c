#include "lib/common/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <string.h>
#include <xxhash.h>

#include "lib/common/bytes.h"
#include "lib/common/mem.h"

struct Sha256 {
    EVP_MD_CTX *ctx, *copy;
};

/* OpenSSL fails here only when it has no memory or was built without these algorithms. */
static void must(int ok)
{
    if (ok != 1)
        abort();
}

void digest_init_light(void)
{
    must(OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ADD_ALL_CIPHERS |
                                 OPENSSL_INIT_NO_ADD_ALL_DIGESTS |
                                 OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS | OPENSSL_INIT_NO_ATEXIT,
                             NULL));
}

Sha256 *sha256_new(void)
{
    Sha256 *s = mem_zero(sizeof(*s));
    s->ctx = EVP_MD_CTX_new();
    s->copy = EVP_MD_CTX_new();
    must(s->ctx && s->copy);
    sha256_reset(s);
    return s;
}

void sha256_free(Sha256 *s)
{
    if (!s)
        return;
    EVP_MD_CTX_free(s->ctx);
    EVP_MD_CTX_free(s->copy);
    free(s);
}

void sha256_reset(Sha256 *s)
{
    must(EVP_DigestInit_ex(s->ctx, EVP_sha256(), NULL));
}

void sha256_add(Sha256 *s, const void *data, size_t len)
{
    must(EVP_DigestUpdate(s->ctx, data, len));
}

void sha256_result(Sha256 *s, uint8_t out[SHA256_LEN])
{
    must(EVP_MD_CTX_copy_ex(s->copy, s->ctx));
    must(EVP_DigestFinal_ex(s->copy, out, NULL));
}

void sha256_of(const void *data, size_t len, uint8_t out[SHA256_LEN])
{
    must(EVP_Digest(data, len, out, NULL, EVP_sha256(), NULL));
}

void hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                 uint8_t out[SHA256_LEN])
{
    must(HMAC(EVP_sha256(), key, (int)key_len, data, len, out, NULL) != NULL);
}

void hkdf_sha256(const void *key, size_t key_len, const void *salt, size_t salt_len,
                 const void *info, size_t info_len, void *out, size_t out_len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
    must(ctx != NULL);
    must(EVP_PKEY_derive_init(ctx));
    must(EVP_PKEY_CTX_set_hkdf_md(ctx, EVP_sha256()));
    must(EVP_PKEY_CTX_set1_hkdf_key(ctx, key, (int)key_len));
    if (salt_len)
        must(EVP_PKEY_CTX_set1_hkdf_salt(ctx, salt, (int)salt_len));
    if (info_len)
        must(EVP_PKEY_CTX_add1_hkdf_info(ctx, info, (int)info_len));
    must(EVP_PKEY_derive(ctx, out, &out_len));
    EVP_PKEY_CTX_free(ctx);
}

/* --- MD5 --- */

struct Md5 {
    EVP_MD_CTX *ctx;
};

Md5 *md5_new(void)
{
    Md5 *m = mem_zero(sizeof(*m));
    m->ctx = EVP_MD_CTX_new();
    must(m->ctx != NULL);
    must(EVP_DigestInit_ex(m->ctx, EVP_md5(), NULL));
    return m;
}

void md5_free(Md5 *m)
{
    if (!m)
        return;
    EVP_MD_CTX_free(m->ctx);
    free(m);
}

void md5_add(Md5 *m, const void *data, size_t len)
{
    must(EVP_DigestUpdate(m->ctx, data, len));
}

void md5_result(Md5 *m, uint8_t out[MD5_LEN])
{
    must(EVP_DigestFinal_ex(m->ctx, out, NULL));
}

/* --- CRC-32C: the processor's instruction where there is one, else tables of eight --- */

static uint32_t crc_table[8][256];

static void crc_table_fill(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? c >> 1 ^ 0x82F63B78u : c >> 1;
        crc_table[0][i] = c;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int t = 1; t < 8; t++)
            crc_table[t][i] = crc_table[t - 1][i] >> 8 ^ crc_table[0][crc_table[t - 1][i] & 0xff];
}

static uint32_t crc32c_tables(uint32_t c, const uint8_t *p, size_t len)
{
    for (; len >= 8; p += 8, len -= 8) {
        uint32_t lo = c ^ get_u32(p), hi = get_u32(p + 4);
        c = crc_table[7][lo & 0xff] ^ crc_table[6][lo >> 8 & 0xff] ^ crc_table[5][lo >> 16 & 0xff] ^
            crc_table[4][lo >> 24] ^ crc_table[3][hi & 0xff] ^ crc_table[2][hi >> 8 & 0xff] ^
            crc_table[1][hi >> 16 & 0xff] ^ crc_table[0][hi >> 24];
    }
    while (len--)
        c = c >> 8 ^ crc_table[0][(c ^ *p++) & 0xff];
    return c;
}

#if defined(__x86_64__)
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t crc32c_instruction(uint32_t crc, const uint8_t *p,
                                                                     size_t len)
{
    uint64_t c = crc;
    for (; len >= 8; p += 8, len -= 8)
        c = _mm_crc32_u64(c, get_u64(p));
    while (len--)
        c = _mm_crc32_u8((uint32_t)c, *p++);
    return (uint32_t)c;
}

static bool crc32c_has_instruction(void)
{
    return __builtin_cpu_supports("sse4.2");
}
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>

__attribute__((target("+crc"))) static uint32_t crc32c_instruction(uint32_t c, const uint8_t *p,
                                                                   size_t len)
{
    for (; len >= 8; p += 8, len -= 8)
        c = __crc32cd(c, get_u64(p));
    while (len--)
        c = __crc32cb(c, *p++);
    return c;
}

static bool crc32c_has_instruction(void)
{
    return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
}
#else
#define crc32c_instruction crc32c_tables

static bool crc32c_has_instruction(void)
{
    return false;
}
#endif

static uint32_t (*crc32c_best)(uint32_t, const uint8_t *, size_t);

__attribute__((constructor)) static void crc32c_choose(void)
{
    crc_table_fill();
    crc32c_best = crc32c_has_instruction() ? crc32c_instruction : crc32c_tables;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
    return ~crc32c_best(~crc, data, len);
}

uint64_t page_hash(const uint8_t secret[PAGE_SECRET_LEN], uint64_t number, const void *data,
                   size_t len)
{
    /* XXH3 takes a secret or a seed, not both, for inputs of this size: mix the number in here. */
    return XXH3_64bits_withSecret(data, len, secret, PAGE_SECRET_LEN) ^
           number * 0x9E3779B185EBCA87u;
}

void xxh128_of(const void *data, size_t len, uint8_t out[XXH128_LEN])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(data, len));
    memcpy(out, canonical.digest, XXH128_LEN);
}

bool is_all_zero(const void *data, size_t len)
{
    const uint8_t *p = data;
    if (!len)
        return true;
    return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

bool secret_equal(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}

void secret_wipe(void *p, size_t len)
{
    OPENSSL_cleanse(p, len);
}
