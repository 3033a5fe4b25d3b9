#include "lib/repo/keyring.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/common/digest.h"
#include "lib/common/file.h"
#include "lib/common/hex.h"
#include "lib/common/log.h"
#include "lib/common/timeutil.h"

#define GENERATED "pgdr-key-"
#define SCRYPT_LOG_N 17 /* 128 MiB, 0.4 s */
#define COSTLY_FOR (3600 * US_PER_SECOND)
#define CACHED_LEN (CIPHER_KEY_LEN + SHA256_LEN) /* the key, and a check of its passphrase */

struct KeyRing {
    const KeySecret *secret;
    char *passphrase;
    /* The last one derived: all wraps of a repository share one method. */
    bool known;
    WrapMethod method;
    uint8_t key[CIPHER_KEY_LEN];
};

KeyRing *keyring_new(const KeySecret *secret)
{
    KeyRing *k = NEW(KeyRing);
    k->secret = secret;
    return k;
}

void keyring_free(KeyRing *k)
{
    if (!k)
        return;
    if (k->passphrase)
        secret_wipe(k->passphrase, strlen(k->passphrase));
    free(k->passphrase);
    secret_wipe(k, sizeof(*k));
    free(k);
}

char *passphrase_generate(void)
{
    uint8_t raw[CIPHER_KEY_LEN];
    char hex[2 * CIPHER_KEY_LEN + 1];
    random_bytes(raw, sizeof(raw));
    char *text = mem_printf(GENERATED "%s", hex_format(raw, sizeof(raw), hex));
    secret_wipe(raw, sizeof(raw));
    secret_wipe(hex, sizeof(hex));
    return text;
}

/* The bytes of a generated passphrase; false for any other. */
static bool generated_bytes(const char *passphrase, uint8_t out[CIPHER_KEY_LEN])
{
    return strncmp(passphrase, GENERATED, strlen(GENERATED)) == 0 &&
           hex_parse(passphrase + strlen(GENERATED), '\0', out, CIPHER_KEY_LEN);
}

static ErrCode need_passphrase(KeyRing *k, Err *err)
{
    if (k->passphrase)
        return ERR_OK;
    if (!k->secret) {
        err_set(err, ERR_CONFIG, "the repository is encrypted, and no passphrase is configured");
        return err_hint(err, "set \"passphrase-file\" or \"passphrase-command\" in its section");
    }
    TRY(k->secret->passphrase(k->secret->arg, &k->passphrase, err));
    if (!*k->passphrase)
        return err_set(err, ERR_CONFIG, "the passphrase is empty");
    return ERR_OK;
}

ErrCode keyring_method_new(KeyRing *k, WrapMethod *ret, Err *err)
{
    uint8_t raw[CIPHER_KEY_LEN];
    TRY(need_passphrase(k, err));
    *ret = (WrapMethod){.generated = generated_bytes(k->passphrase, raw)};
    secret_wipe(raw, sizeof(raw));
    ret->log_n = ret->generated ? 0 : SCRYPT_LOG_N;
    random_bytes(ret->salt, sizeof(ret->salt));
    return ERR_OK;
}

/* --- the cache --- */

static bool same_method(const WrapMethod *a, const WrapMethod *b)
{
    return a->generated == b->generated && a->log_n == b->log_n &&
           memcmp(a->salt, b->salt, WRAP_SALT_LEN) == 0;
}

static char *cache_path(const KeyRing *k, const WrapMethod *m)
{
    uint8_t digest[SHA256_LEN], input[WRAP_SALT_LEN + 1];
    char hex[33];
    memcpy(input, m->salt, WRAP_SALT_LEN);
    input[WRAP_SALT_LEN] = (uint8_t)m->log_n;
    sha256_of(input, sizeof(input), digest);
    return path_join(k->secret->cache_dir, hex_format(digest, 16, hex));
}

/* Ours, and closed to everybody else: a directory in a shared place may be somebody's trap. */
static bool cache_usable(const KeyRing *k, bool create)
{
    struct stat st;
    if (!k->secret || !k->secret->cache_dir)
        return false;
    if (create)
        (void)mkdir(k->secret->cache_dir, 0700);
    return lstat(k->secret->cache_dir, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
           (st.st_mode & 0077) == 0;
}

static bool cached_is_young(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return false;
    TimeUs age = time_now() - (TimeUs)st.st_mtime * US_PER_SECOND;
    return age >= 0 && age < COSTLY_FOR;
}

static bool cached_key(KeyRing *k, const WrapMethod *m, uint8_t out[CIPHER_KEY_LEN])
{
    uint8_t bytes[CACHED_LEN], check[SHA256_LEN];
    size_t got;
    Err err;
    int fd AUTO(fd_closep) = -1;
    if (!cache_usable(k, false))
        return false;
    char *path AUTO(mem_freep) = cache_path(k, m);
    if (file_open(path, O_RDONLY | O_NOFOLLOW, 0, &fd, &err) != ERR_OK ||
        file_read_at(fd, bytes, sizeof(bytes), 0, &got, path, &err) != ERR_OK ||
        got != sizeof(bytes))
        return false;
    /* A passphrase that is at hand must be the one the key was made from: a wrong one in the
     * configuration shall not go unnoticed until the next start of the machine. */
    bool right = k->secret->costly && cached_is_young(fd);
    if (!right && need_passphrase(k, &err) == ERR_OK) {
        hmac_sha256(bytes, CIPHER_KEY_LEN, k->passphrase, strlen(k->passphrase), check);
        right = secret_equal(check, bytes + CIPHER_KEY_LEN, SHA256_LEN);
    }
    if (right)
        memcpy(out, bytes, CIPHER_KEY_LEN);
    secret_wipe(bytes, sizeof(bytes));
    return right;
}

void keyring_remember(KeyRing *k, const WrapMethod *m, const uint8_t key[CIPHER_KEY_LEN])
{
    uint8_t bytes[CACHED_LEN];
    Err err = {0};
    k->known = true;
    k->method = *m;
    memcpy(k->key, key, CIPHER_KEY_LEN);
    if (m->generated || !k->passphrase || !cache_usable(k, true))
        return;
    char *path AUTO(mem_freep) = cache_path(k, m);
    memcpy(bytes, key, CIPHER_KEY_LEN);
    hmac_sha256(key, CIPHER_KEY_LEN, k->passphrase, strlen(k->passphrase), bytes + CIPHER_KEY_LEN);
    if (file_replace(path, bytes, sizeof(bytes), 0600, &err) != ERR_OK)
        log_err(LOG_DEBUG, &err);
    secret_wipe(bytes, sizeof(bytes));
}

/* --- deriving --- */

static ErrCode wrong_sort(const char *what, Err *err)
{
    return err_set(err, ERR_WRONG_KEY,
                   "the passphrase does not fit: the repository was made with "
                   "%s",
                   what);
}

ErrCode keyring_derive(KeyRing *k, const WrapMethod *m, bool fresh, uint8_t out[CIPHER_KEY_LEN],
                       Err *err)
{
    static const char info[] = "pgdr wrapping key";
    uint8_t raw[CIPHER_KEY_LEN];
    if (k->known && !fresh && same_method(&k->method, m)) {
        memcpy(out, k->key, CIPHER_KEY_LEN);
        return ERR_OK;
    }
    if (!m->generated && !fresh && cached_key(k, m, out))
        return ERR_OK;
    TRY(need_passphrase(k, err));
    bool generated = generated_bytes(k->passphrase, raw);
    if (m->generated && !generated)
        return wrong_sort("a generated one, of the form '" GENERATED "…'", err);
    if (!m->generated)
        return scrypt_derive(k->passphrase, m->salt, WRAP_SALT_LEN, m->log_n, out, err);
    hkdf_sha256(raw, sizeof(raw), m->salt, WRAP_SALT_LEN, info, sizeof(info) - 1, out,
                CIPHER_KEY_LEN);
    secret_wipe(raw, sizeof(raw));
    return ERR_OK;
}
