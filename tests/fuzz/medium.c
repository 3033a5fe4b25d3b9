#include "tests/fuzz/medium.h"

#include <stddef.h>

#include "lib/common/bytes.h"
#include "lib/storage/drivers.h"
#include "tests/fuzz/fuzz.h"

#define PASSPHRASE "pgdr-key-00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static ErrCode give(void *arg, char **ret, Err *err)
{
    (void)arg;
    (void)err;
    *ret = mem_strdup(PASSPHRASE);
    return ERR_OK;
}

const KeySecret medium_secret = {.passphrase = give};

Repo *medium_new(uint8_t cipher)
{
    Repo *repo = NULL;
    bool existed;
    RepoSpec spec = {.name = "main", .cluster = "c", .cipher = cipher, .secret = &medium_secret};
    FUZZ_OK(repo_init(storage_mem_new(false), &spec, &repo, &existed, err));
    return repo;
}

Repo *medium_plain(void)
{
    static Repo *repo;
    if (!repo)
        repo = medium_new(CIPHER_NONE);
    return repo;
}

Repo *medium_sealed(void)
{
    static Repo *repo;
    if (!repo)
        repo = medium_new(CIPHER_AES_256_GCM);
    return repo;
}

void medium_put(Repo *repo, const char *name, const void *data, size_t len)
{
    char *full AUTO(mem_freep) = repo_full_name(repo, name);
    FUZZ_OK(storage_put_bytes(repo->storage, full, data, len, STORAGE_OVERWRITE, err));
}

void medium_mend(uint8_t *data, size_t len)
{
    if (len < sizeof(ObjectHeader) + sizeof(ObjectFooter))
        return;
    ObjectHeader *h = (ObjectHeader *)data;
    ObjectFooter *f = (ObjectFooter *)(data + len - sizeof(*f));
    h->crc = crc32c(0, h, offsetof(ObjectHeader, crc));
    sha256_of(data, len - sizeof(*f), f->sha256);
    f->crc = crc32c(0, f, offsetof(ObjectFooter, crc));
}
