#include "archive/wal_push_behind.h"

#include <string.h>

#include "archive/wal_ready.h"
#include "lib/common/file.h"
#include "lib/common/log.h"
#include "lib/common/timeutil.h"
#include "lib/common/workers.h"

/* A server that is shut down waits for its archive_command. */
#define BEHIND_TIME (5 * US_PER_SECOND)

void wal_push_target_release(WalPushTarget *t)
{
    repo_close(t->repo);
    vec_release(&t->there);
    *t = (WalPushTarget){.repo = NULL};
}

/* Whether something lies there under this name; whose content it is, is seen when it is offered. */
static ErrCode has(WalPushTarget *t, const char *file, bool *ret, Err *err)
{
    char dir[sizeof(t->listed)];
    snprintf(dir, sizeof(dir), "%.*s", wal_is_history(file) ? 7 : 16,
             wal_is_history(file) ? "history" : file);
    if (strcmp(dir, t->listed) != 0) {
        vec_release(&t->there);
        t->listed[0] = '\0';
        if (wal_is_history(file))
            TRY(wal_list_histories(&t->store, &t->there, err));
        else {
            char tli8[9];
            snprintf(tli8, sizeof(tli8), "%.8s", file);
            TRY(wal_list_directory(&t->store, tli8, dir, false, &t->there, err));
        }
        memcpy(t->listed, dir, sizeof(dir));
    }
    *ret = false;
    for (size_t i = 0; i < t->there.n && !*ret; i++)
        *ret = strcmp(t->there.at[i].file, file) == 0;
    return ERR_OK;
}

/* What cannot be asked has failed, and is left alone from then on. */
static bool lacks(WalPushTarget *t, const char *file)
{
    Err err = {0};
    bool there = false;
    if (t->rc != ERR_OK)
        return false;
    t->rc = has(t, file, &there, &err);
    if (t->rc != ERR_OK)
        log_err(LOG_WARN, &err);
    return t->rc == ERR_OK && !there;
}

static bool store_in(WalPushTarget *t, const WalFile *f)
{
    WalStored stored;
    Err err = {0};
    t->rc = wal_file_store(&t->store, f, &stored, &err);
    if (t->rc != ERR_OK)
        log_err(LOG_WARN, &err);
    return t->rc == ERR_OK;
}

/* What is no finished segment, or damaged, is judged when it is offered; nothing behind it is
 * taken. */
static ErrCode push_one(const WalBehindSpec *spec, const char *file, bool *ret_stored, Err *err)
{
    bool any = false;
    WalFile f AUTO(wal_file_release) = {.data = NULL};
    for (unsigned i = 0; i < spec->n; i++)
        any |= spec->targets[i].wanting = lacks(&spec->targets[i], file);
    if (!any)
        return ERR_OK;
    char *path AUTO(mem_freep) = path_join(spec->load->wal_dir, file);
    WalFileSpec load = *spec->load;
    load.path = path;
    load.file = file;
    TRY(wal_file_load(&load, &f, err));
    if (f.name.kind == WAL_NAME_SEGMENT && !f.check.complete)
        return err_set(err, ERR_DAMAGED, "segment %s is not whole: %s", file, f.check.why);
    for (unsigned i = 0; i < spec->n; i++)
        *ret_stored |= spec->targets[i].wanting && store_in(&spec->targets[i], &f);
    return ERR_OK;
}

static bool any_is_well(const WalBehindSpec *spec)
{
    for (unsigned i = 0; i < spec->n; i++)
        if (spec->targets[i].rc == ERR_OK)
            return true;
    return false;
}

void wal_push_behind(const WalBehindSpec *spec)
{
    StrList waiting AUTO(str_list_release) = {0};
    const TimeUs until = time_monotonic() + BEHIND_TIME;
    unsigned stored = 0;
    Err err = {0};
    ErrCode rc = wal_ready_list(spec->load->wal_dir, &waiting, &err);
    for (size_t i = 0; i < waiting.n && rc == ERR_OK && any_is_well(spec); i++) {
        WalName name = wal_name_parse(waiting.at[i], spec->load->control->wal_segment_size);
        bool is_new = false;
        if (name.kind == WAL_NAME_OTHER || strcmp(waiting.at[i], spec->file) == 0)
            continue;
        if (time_monotonic() > until || cancel_check(&err) != ERR_OK)
            break;
        rc = push_one(spec, waiting.at[i], &is_new, &err);
        stored += is_new;
    }
    if (rc != ERR_OK)
        log_err(LOG_DEBUG, &err);
    if (stored)
        log_info("%u files that wait behind %s were stored where that is possible", stored,
                 spec->file);
}
