#include "tests/storage/scratch.h"

#include <ftw.h>
#include <sys/vfs.h>

#include "lib/common/file.h"
#include "lib/storage/drivers.h"

#define TMPFS_NUMBER 0x01021994

bool scratch_is_disk(const char *dir)
{
    struct statfs fs;
    return statfs(dir, &fs) == 0 && fs.f_type != TMPFS_NUMBER;
}

const char *scratch_tmpfs(void)
{
    static const char *const candidates[] = {"/dev/shm", "/run/user/0", "/tmp"};
    for (size_t i = 0; i < ARRAY_LEN(candidates); i++)
        if (access(candidates[i], W_OK) == 0 && !scratch_is_disk(candidates[i]))
            return candidates[i];
    return NULL;
}

char *scratch_make(const char *where)
{
    char *dir = mem_printf("%s/pgdr-test-XXXXXX", where);
    if (!mkdtemp(dir))
        fail_msg("cannot make a directory in '%s'", where);
    return dir;
}

Storage *scratch_open(void *arg)
{
    Scratch *scratch = arg;
    Storage *s = NULL;
    scratch->dir = scratch_make(scratch->where);
    char *path AUTO(mem_freep) = mem_printf("%s/not there yet", scratch->dir);
    expect_ok(storage_posix_new(&s, path, true, err));
    return s;
}

static unsigned hidden;

static int count_hidden(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    hidden += type == FTW_F && path[ftw->base] == '.';
    return 0;
}

unsigned scratch_hidden(const char *dir)
{
    hidden = 0;
    nftw(dir, count_hidden, 20, FTW_PHYS);
    return hidden;
}

void scratch_clean(void *arg)
{
    Scratch *scratch = arg;
    char *dir AUTO(mem_freep) = steal_ptr(&scratch->dir);
    unsigned n = scratch_hidden(dir);
    expect_ok(dir_remove_tree(dir, false, err));
    if (n)
        fail_msg("%u temporary files were left", n);
}
