#include "archive/wal_ready.h"

#include <string.h>
#include <unistd.h>

#include "lib/common/file.h"
#include "lib/repo/wal_store.h"

#define READY ".ready"

bool wal_is_ready(const char *wal_dir, const char *file)
{
    char *ready AUTO(mem_freep) = mem_printf("%s/archive_status/%s" READY, wal_dir, file);
    return access(ready, F_OK) == 0;
}

bool wal_is_history(const char *file)
{
    const char *dot = strchr(file, '.');
    return dot && strcmp(dot, ".history") == 0;
}

int wal_ready_compare(const char *a, const char *b)
{
    int histories = (int)wal_is_history(b) - (int)wal_is_history(a);
    return histories ? histories : strcmp(a, b);
}

ErrCode wal_ready_list(const char *wal_dir, StrList *ret, Err *err)
{
    StrList names AUTO(str_list_release) = {0};
    char *dir AUTO(mem_freep) = path_join(wal_dir, "archive_status");
    TRY(dir_list(dir, &names, err));
    for (int history = 1; history >= 0; history--)
        for (size_t i = 0; i < names.n; i++) {
            size_t len = strlen(names.at[i]);
            if (len <= strlen(READY) || len - strlen(READY) >= WAL_FILE_MAX ||
                strcmp(names.at[i] + len - strlen(READY), READY) != 0)
                continue;
            char *file AUTO(mem_freep) = mem_strndup(names.at[i], len - strlen(READY));
            if (wal_is_history(file) == (history == 1))
                vec_push(ret, steal_ptr(&file));
        }
    return ERR_OK;
}
