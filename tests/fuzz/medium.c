#include "tests/fuzz/medium.h"

Repo *medium_plain(void)
{
    static Repo *repo;
    if (!repo)
        repo = mem_repo_new(CIPHER_NONE);
    return repo;
}

Repo *medium_sealed(void)
{
    static Repo *repo;
    if (!repo)
        repo = mem_repo_new(CIPHER_AES_256_GCM);
    return repo;
}
