#include "restore/history_spool.h"

#include <inttypes.h>
#include <string.h>

#include "lib/common/file.h"
#include "lib/repo/wal_object.h"

char *history_spool_directory(const char *spool, uint64_t system_id)
{
    return mem_printf("%s/history-%" PRIu64, spool, system_id);
}

ErrCode history_spool_read(const char *dir, const char *file, Buf *text, Err *err)
{
    char *path AUTO(mem_freep) = path_join(dir, file);
    return file_read_all(path, MIB, text, err);
}

static ErrCode spool_one(const char *dir, WalStore *store, const WalFound *found, Err *err)
{
    Buf text AUTO(buf_release) = {0}, old AUTO(buf_release) = {0};
    Err none;
    char *path AUTO(mem_freep) = path_join(dir, found->file);
    TRY(wal_read(store, found, &text, NULL, NULL, err));
    if (history_spool_read(dir, found->file, &old, &none) == ERR_OK && old.len == text.len &&
        memcmp(old.data, text.data, old.len) == 0)
        return ERR_OK;
    return file_replace(path, text.data, text.len, 0600, err);
}

ErrCode history_spool_fill(const char *dir, WalStore *store, Err *err)
{
    WalFoundList list = {0};
    ErrCode rc = dir_make(dir, 0700, err);
    if (rc == ERR_OK)
        rc = wal_list_histories(store, &list, err);
    for (size_t i = 0; i < list.n && rc == ERR_OK; i++) {
        bool again = i > 0 && strcmp(list.at[i].file, list.at[i - 1].file) == 0;
        bool other = i + 1 < list.n && strcmp(list.at[i].file, list.at[i + 1].file) == 0;
        /* Which of two contents is right is not ours to say; what was kept before stays. */
        if (!again && !other)
            rc = spool_one(dir, store, &list.at[i], err);
    }
    vec_release(&list);
    return rc;
}
