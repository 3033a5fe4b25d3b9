#include "restore/rescue.h"

#include <fcntl.h>
#include <string.h>

#include "lib/common/file.h"
#include "lib/common/hex.h"
#include "lib/common/log.h"
#include "lib/repo/wal_tail.h"

typedef struct Rescue {
    Repo *repo;
    uint64_t system_id;
    char *wal_dir;
    RescueResult result;
} Rescue;

/* What pg_control would say: the segments tell it themselves, and pg_control may be lost. */
static bool control_from_segment(const char *path, PgControl *ret)
{
    uint8_t page[8192];
    size_t got;
    WalSegmentHeader h;
    Err err;
    int fd AUTO(fd_closep) = -1;
    if (file_open(path, O_RDONLY, 0, &fd, &err) != ERR_OK ||
        file_read_at(fd, page, sizeof(page), 0, &got, path, &err) != ERR_OK ||
        wal_segment_header(page, got, &h, &err) != ERR_OK)
        return false;
    *ret = (PgControl){.version = h.version,
                       .system_id = h.system_id,
                       .wal_segment_size = h.seg_size,
                       .wal_block_size = h.wal_block_size};
    return true;
}

/* The first segment that can be read tells version and segment size for history files. */
static bool control_from_any(const Rescue *r, const StrList *names, PgControl *ret)
{
    for (size_t i = 0; i < names->n; i++) {
        char *path AUTO(mem_freep) = path_join(r->wal_dir, names->at[i]);
        if (strlen(names->at[i]) >= 24 && hex_is_upper(names->at[i], 24) &&
            control_from_segment(path, ret) && ret->system_id == r->system_id)
            return true;
    }
    return false;
}

static ErrCode rescue_orphan(Rescue *r, WalStore *store, const WalFile *f, Err *err)
{
    log_warn("%s in '%s' differs from what is archived: kept under orphan/", f->file, r->wal_dir);
    TRY(wal_file_store_orphan(store, f, err));
    r->result.orphans++;
    return ERR_OK;
}

/* Whether the file's valid part is the beginning of what is archived under its name. */
static ErrCode archived_covers(WalStore *store, const WalFound *found, const WalFile *f, bool *ret,
                               Err *err)
{
    Buf data AUTO(buf_release) = {0};
    TRY(wal_read(store, found, &data, NULL, NULL, err));
    size_t valid = f->is_segment
                       ? (size_t)(f->check.ends - wal_segment_start(f->name.segno, f->seg_size))
                       : f->len;
    *ret = data.len >= valid && memcmp(data.data, f->data, valid) == 0;
    return ERR_OK;
}

/* What the tail holds already is not stored a second time. */
static ErrCode rescue_tail(Rescue *r, WalStore *store, const WalFile *f, Err *err)
{
    Buf data AUTO(buf_release) = {0};
    Lsn start = wal_segment_start(f->name.segno, f->seg_size);
    uint64_t end;
    bool vanished;
    char session[33];
    if (f->check.ends == start)
        return ERR_OK;
    TRY(tail_read(store, f->file, start, &data, &end, &vanished, err));
    size_t common = (size_t)(MIN(end, f->check.ends) - start);
    if (common && memcmp(data.data, f->data, common) != 0)
        return rescue_orphan(r, store, f, err);
    if (end >= f->check.ends)
        return ERR_OK;
    TRY(tail_put(store, f->file, start, f->check.ends, random_name(session), f->data, err));
    log_info("%s, which was not archived yet, is saved up to " LSN_FMT, f->file,
             LSN_ARG(f->check.ends));
    r->result.tails++;
    return ERR_OK;
}

static ErrCode rescue_loaded(Rescue *r, const WalFile *f, Err *err)
{
    WalStore store;
    WalFoundList found = {0};
    WalStored stored;
    wal_store_init(&store, r->repo, f->system_id, f->seg_size);
    r->result.looked_at++;
    ErrCode rc = wal_find(&store, f->file, &found, err);
    bool covered = false;
    for (size_t i = 0; i < found.n && rc == ERR_OK && !covered; i++)
        rc = archived_covers(&store, &found.at[i], f, &covered, err);
    size_t n = found.n;
    vec_release(&found);
    if (rc != ERR_OK || covered)
        return rc;
    if (n)
        return rescue_orphan(r, &store, f, err);
    if (f->name.kind == WAL_NAME_SEGMENT && !f->check.complete)
        return rescue_tail(r, &store, f, err);
    rc = wal_file_store(&store, f, &stored, err);
    if (rc == ERR_CONFLICT) /* its timeline is frozen */
        return rescue_orphan(r, &store, f, err);
    if (rc == ERR_OK) {
        log_info("%s, which was not archived yet, is saved", f->file);
        r->result.pushed++;
    }
    return rc;
}

static ErrCode rescue_file(Rescue *r, const char *name, const PgControl *any, Err *err)
{
    PgControl control;
    WalFile f AUTO(wal_file_release) = {.data = NULL};
    char *path AUTO(mem_freep) = path_join(r->wal_dir, name);
    bool segment = strlen(name) >= 24 && hex_is_upper(name, 24);
    bool history = strlen(name) == 16 && hex_is_upper(name, 8) && strcmp(name + 8, ".history") == 0;
    if (!segment && !history)
        return ERR_OK;
    if (segment ? !control_from_segment(path, &control) : !any)
        return ERR_OK; /* zeros: made for later use */
    if (history)
        control = *any;
    if (control.system_id != r->system_id)
        return ERR_OK;
    WalFileSpec spec = {.path = path, .file = name, .wal_dir = r->wal_dir, .control = &control};
    ErrCode rc = wal_file_load(&spec, &f, err);
    if (rc == ERR_MISMATCH || rc == ERR_USAGE) {
        log_debug("%s", err->message); /* an old file, renamed for reuse */
        return ERR_OK;
    }
    if (rc == ERR_OK)
        rc = rescue_loaded(r, &f, err);
    return rc == ERR_OK ? rc : err_wrap(err, "cannot save '%s'", path);
}

static ErrCode rescue_all(Rescue *r, Err *err)
{
    StrList names AUTO(str_list_release) = {0};
    PgControl any;
    ErrCode rc = dir_list(r->wal_dir, &names, err);
    if (rc == ERR_NOT_FOUND)
        return ERR_OK; /* there is no WAL at all */
    if (rc != ERR_OK)
        return rc;
    bool known = control_from_any(r, &names, &any);
    for (size_t i = 0; i < names.n; i++)
        TRY(rescue_file(r, names.at[i], known ? &any : NULL, err));
    return ERR_OK;
}

ErrCode rescue_wal(Repo *repo, const char *data_dir, uint64_t system_id, RescueResult *ret,
                   Err *err)
{
    Rescue r = {.repo = repo, .system_id = system_id};
    r.wal_dir = path_join(data_dir, "pg_wal");
    ErrCode rc = rescue_all(&r, err);
    if (rc != ERR_OK)
        err_hint(err,
                 "nothing was changed; copy '%s' to a safe place, then remove it to restore "
                 "without its WAL",
                 r.wal_dir);
    *ret = r.result;
    free(r.wal_dir);
    return rc;
}
