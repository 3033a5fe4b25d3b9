#include "tests/unit/mem_repo.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "lib/common/bytes.h"

#define PASSPHRASE "pgdr-key-00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define ANY_SIZE (2 * GIB)

void mem_failed(const char *file, int line, const char *what, const char *why)
{
    fprintf(stderr, "%s:%d: %s: %s\n", file, line, what, why);
    abort();
}

static ErrCode give(void *arg, char **ret, Err *err)
{
    (void)arg;
    (void)err;
    *ret = mem_strdup(PASSPHRASE);
    return ERR_OK;
}

const KeySecret mem_secret = {.passphrase = give};

static RepoSpec spec_of(uint8_t cipher)
{
    return (RepoSpec){.name = "main", .cluster = "app", .cipher = cipher, .secret = &mem_secret};
}

Repo *mem_repo_in(Storage *storage, uint8_t cipher)
{
    Repo *repo = NULL;
    RepoSpec spec = spec_of(cipher);
    bool existed;
    MUST(repo_init(storage, &spec, &repo, &existed, err));
    return repo;
}

Repo *mem_repo_new(uint8_t cipher)
{
    return mem_repo_in(storage_mem_new(false), cipher);
}

Repo *mem_repo_again(const Repo *repo)
{
    Repo *again = NULL;
    RepoSpec spec = spec_of(repo->key->cipher);
    MUST(repo_open(storage_mem_clone(repo->storage), &spec, &again, err));
    return again;
}

void mem_put(Repo *repo, const char *name, const void *data, size_t len)
{
    char *full AUTO(mem_freep) = repo_full_name(repo, name);
    MUST(storage_put_bytes(repo->storage, full, data, len, STORAGE_OVERWRITE, err));
}

void mem_get(Repo *repo, const char *name, Buf *ret)
{
    MUST(repo_get(repo, name, ANY_SIZE, ret, err));
}

bool mem_has(Repo *repo, const char *name)
{
    StorageStat st;
    Err why = {0};
    return repo_stat(repo, name, &st, &why) == ERR_OK;
}

void mem_remove(Repo *repo, const char *name)
{
    if (!mem_has(repo, name))
        mem_failed(__FILE__, __LINE__, "cannot remove", name);
    MUST(repo_remove(repo, &name, 1, err));
}

size_t mem_count(Repo *repo, const char *prefix)
{
    StrList names AUTO(str_list_release) = {0};
    MUST(repo_list_names(repo, prefix, false, &names, err));
    return names.n;
}

char *mem_only(Repo *repo, const char *prefix)
{
    StrList names AUTO(str_list_release) = {0};
    MUST(repo_list_names(repo, prefix, false, &names, err));
    if (names.n != 1)
        mem_failed(__FILE__, __LINE__, "not one object begins with", prefix);
    return mem_strdup(names.at[0]);
}

void mem_mend(uint8_t *data, size_t len)
{
    if (len < sizeof(ObjectHeader) + sizeof(ObjectFooter))
        return;
    uint8_t *header = data, *footer = data + len - sizeof(ObjectFooter);
    set_u32(header + offsetof(ObjectHeader, crc), crc32c(0, header, offsetof(ObjectHeader, crc)));
    sha256_of(data, len - sizeof(ObjectFooter), footer + offsetof(ObjectFooter, sha256));
    set_u32(footer + offsetof(ObjectFooter, crc), crc32c(0, footer, offsetof(ObjectFooter, crc)));
}

void mem_edit_document(Repo *repo, const char *name, const char *kind, const char *old,
                       const char *text)
{
    Buf was AUTO(buf_release) = {0}, now AUTO(buf_release) = {0};
    MUST(document_get(repo, name, kind, DOCUMENT_RAW_MAX, &was, NULL, err));
    size_t n = strlen(old), times = 0;
    for (size_t i = 0; i < was.len;) {
        if (was.len - i >= n && memcmp(was.data + i, old, n) == 0) {
            buf_append_str(&now, text);
            i += n;
            times++;
        } else {
            buf_append_u8(&now, was.data[i++]);
        }
    }
    if (!times)
        mem_failed(__FILE__, __LINE__, "not there to be replaced", old);
    MUST(document_put(repo, name, kind, now.data, now.len, STORAGE_OVERWRITE, NULL, err));
}
