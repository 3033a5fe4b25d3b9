#include "lib/common/cipher.h"

#include <openssl/evp.h>
#include <string.h>

#include "lib/common/mem.h"

#define SCRYPT_LOG_N_MAX 22

struct Cipher {
    EVP_CIPHER_CTX *seal, *open;
};

static void must(int ok)
{
    if (ok != 1)
        abort();
}

Cipher *cipher_new(const uint8_t key[CIPHER_KEY_LEN])
{
    Cipher *c = NEW(Cipher);
    c->seal = EVP_CIPHER_CTX_new();
    c->open = EVP_CIPHER_CTX_new();
    must(c->seal && c->open);
    must(EVP_EncryptInit_ex(c->seal, EVP_aes_256_gcm(), NULL, key, NULL));
    must(EVP_DecryptInit_ex(c->open, EVP_aes_256_gcm(), NULL, key, NULL));
    return c;
}

void cipher_free(Cipher *c)
{
    if (!c)
        return;
    EVP_CIPHER_CTX_free(c->seal);
    EVP_CIPHER_CTX_free(c->open);
    free(c);
}

void cipher_seal(Cipher *c, const uint8_t nonce[CIPHER_NONCE_LEN], const void *aad, size_t aad_len,
                 const void *in, size_t len, uint8_t *out)
{
    int n;
    must(len <= INT32_MAX && aad_len <= INT32_MAX);
    must(EVP_EncryptInit_ex(c->seal, NULL, NULL, NULL, nonce));
    must(EVP_EncryptUpdate(c->seal, NULL, &n, aad, (int)aad_len));
    must(EVP_EncryptUpdate(c->seal, out, &n, in, (int)len));
    must(EVP_EncryptFinal_ex(c->seal, out + n, &n));
    must(EVP_CIPHER_CTX_ctrl(c->seal, EVP_CTRL_GCM_GET_TAG, CIPHER_TAG_LEN, out + len));
}

bool cipher_open(Cipher *c, const uint8_t nonce[CIPHER_NONCE_LEN], const void *aad, size_t aad_len,
                 const void *in, size_t len, uint8_t *out)
{
    int n;
    uint8_t tag[CIPHER_TAG_LEN];
    if (len > INT32_MAX || aad_len > INT32_MAX)
        return false;
    memcpy(tag, (const uint8_t *)in + len, sizeof(tag));
    must(EVP_DecryptInit_ex(c->open, NULL, NULL, NULL, nonce));
    must(EVP_DecryptUpdate(c->open, NULL, &n, aad, (int)aad_len));
    must(EVP_DecryptUpdate(c->open, out, &n, in, (int)len));
    must(EVP_CIPHER_CTX_ctrl(c->open, EVP_CTRL_GCM_SET_TAG, CIPHER_TAG_LEN, tag));
    return EVP_DecryptFinal_ex(c->open, out + n, &n) == 1;
}

ErrCode scrypt_derive(const char *passphrase, const uint8_t *salt, size_t salt_len, unsigned log_n,
                      uint8_t out[CIPHER_KEY_LEN], Err *err)
{
    if (log_n < 10 || log_n > SCRYPT_LOG_N_MAX)
        return err_set(err, ERR_DAMAGED,
                       "the key asks for scrypt with N = 2^%u, which is outside "
                       "2^10 to 2^%d",
                       log_n, SCRYPT_LOG_N_MAX);
    uint64_t n = (uint64_t)1 << log_n;
    if (EVP_PBE_scrypt(passphrase, strlen(passphrase), salt, salt_len, n, 8, 1, 2048 * n, out,
                       CIPHER_KEY_LEN) != 1)
        return err_set(err, ERR_LIMIT,
                       "cannot stretch the passphrase: scrypt with N = 2^%u needs "
                       "%llu MiB of memory",
                       log_n, (unsigned long long)(n / 1024));
    return ERR_OK;
}
