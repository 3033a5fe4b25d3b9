#include "lib/repo/seal.h"

#include "lib/common/buf.h"
#include "lib/common/bytes.h"

/* The nonce never repeats under one key: the key belongs to one object, and within it every unit
 * has its own domain and number. */
static void seal_nonce(uint32_t domain, uint64_t number, uint8_t out[CIPHER_NONCE_LEN])
{
    set_u32(out, domain);
    set_u64(out + 4, number);
}

static void seal_aad(const char *name, const uint8_t nonce[CIPHER_NONCE_LEN], Buf *out)
{
    buf_append_str(out, name);
    buf_append_u8(out, 0);
    buf_append(out, nonce, CIPHER_NONCE_LEN);
}

void seal_unit(Cipher *c, const char *name, uint32_t domain, uint64_t number, const void *in,
               size_t len, void *out)
{
    uint8_t nonce[CIPHER_NONCE_LEN];
    Buf aad AUTO(buf_release) = {0};
    seal_nonce(domain, number, nonce);
    seal_aad(name, nonce, &aad);
    cipher_seal(c, nonce, aad.data, aad.len, in, len, out);
}

bool open_unit(Cipher *c, const char *name, uint32_t domain, uint64_t number, const void *in,
               size_t len, void *out)
{
    uint8_t nonce[CIPHER_NONCE_LEN];
    Buf aad AUTO(buf_release) = {0};
    seal_nonce(domain, number, nonce);
    seal_aad(name, nonce, &aad);
    return cipher_open(c, nonce, aad.data, aad.len, in, len, out);
}
