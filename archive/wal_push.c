#include "archive/wal_push.h"

#include "archive/wal_push_behind.h"
#include "archive/wal_ready.h"

#include <string.h>
#include <unistd.h>

#include "lib/common/file.h"
#include "lib/common/log.h"

/*
 * Whether the server left the segment's timeline before the segment was full. A standby that comes
 * to another timeline while it receives a segment leaves it as it is; when it has become a primary
 * it gives it out for archiving, as if it were finished.
 */
static bool was_left(const WalFile *f, const char *wal_dir, const PgControl *control)
{
    TimelinePath path = {0};
    Err why = {0};
    bool left = false;
    if (f->name.tli >= control->checkpoint_tli)
        return false;
    if (wal_local_path(wal_dir, control->checkpoint_tli, &path, &why) == ERR_OK) {
        const TimelineStep *step = timeline_step(&path, f->name.tli);
        Lsn end = wal_segment_start(f->name.segno, f->seg_size) + f->seg_size;
        left = step && step->until && step->until < end;
    }
    vec_release(&path);
    return left;
}

static ErrCode push_refuse_unfinished(const WalFile *f, const char *wal_dir,
                                      const PgControl *control, Err *err)
{
    if (f->name.kind != WAL_NAME_SEGMENT || f->check.complete ||
        control->state == PG_STATE_IN_ARCHIVE_RECOVERY ||
        control->state == PG_STATE_SHUTDOWNED_IN_RECOVERY || was_left(f, wal_dir, control))
        return ERR_OK;
    err_set(err, ERR_DAMAGED, "segment %s is not whole: %s", f->file, f->check.why);
    if (!wal_is_ready(wal_dir, f->file))
        return err_hint(err, "the server has not given it out for archiving: while it still "
                             "writes it, 'select pg_switch_wal()' finishes it");
    return err_hint(err,
                    "PostgreSQL has finished this segment, so its file was damaged since; "
                    "check the disk, take a new backup, and only then rename "
                    "pg_wal/archive_status/%s.ready to .done",
                    f->file);
}

ErrCode wal_push_load(const WalFileSpec *load, WalFile *ret, Err *err)
{
    WalFile f AUTO(wal_file_release) = {.data = NULL};
    TRY(wal_file_load(load, &f, err));
    TRY(push_refuse_unfinished(&f, load->wal_dir, load->control, err));
    *ret = f;
    f = (WalFile){.data = NULL};
    return ERR_OK;
}

static ErrCode push_to(const WalPushSpec *spec, unsigned i, const WalFile *f, WalPushTarget *t,
                       Err *err)
{
    WalStored stored;
    TRY(spec->repos->open(spec->repos->arg, i, &t->repo, err));
    wal_store_init(&t->store, t->repo, f->system_id, f->seg_size);
    TRY(wal_file_store(&t->store, f, &stored, err));
    if (stored == WAL_STORED_AGAIN)
        log_info("%s is in '%s' already, with the same content", f->file, repo_url(t->repo));
    return ERR_OK;
}

/* All are tried. *ret_done: how many have it; *ret_conflict: one has other content. */
static ErrCode push_to_all(const WalPushSpec *spec, const WalFile *f, WalPushTarget *targets,
                           unsigned *ret_done, bool *ret_conflict, Err *err)
{
    ErrCode rc = ERR_OK;
    for (unsigned i = 0; i < spec->repos->n; i++) {
        Err one = {0};
        ErrCode got = targets[i].rc = push_to(spec, i, f, &targets[i], &one);
        *ret_done += got == ERR_OK;
        *ret_conflict |= got == ERR_CONFLICT;
        if (got == ERR_OK)
            continue;
        if (rc != ERR_OK)
            log_err(LOG_ERROR, err); /* the last one is returned, the others are logged */
        rc = got;
        *err = one;
    }
    return rc;
}

char *wal_push_path(const char *path, const char *data_dir)
{
    if (path[0] == '/' || access(path, F_OK) == 0)
        return path_absolute(path);
    return path_join(data_dir, path);
}

/* An archive_command with %f in the place of %p. */
static void push_hint_path(const WalPushSpec *spec, const char *file, Err *err)
{
    char *wal_dir AUTO(mem_freep) = path_join(spec->data_dir, "pg_wal");
    char *path AUTO(mem_freep) = path_join(wal_dir, file);
    if (err->code != ERR_NOT_FOUND)
        return;
    if (!strchr(spec->path, '/') && access(path, F_OK) == 0)
        err_hint(err, "it is in pg_wal: archive_command must say 'archive-push %%p', not %%f");
    else
        err_hint(err, "archive_command gives %%p, a path that begins in the data directory");
}

ErrCode wal_push(const WalPushSpec *spec, Err *err)
{
    PgControl control;
    WalFile f AUTO(wal_file_release) = {.data = NULL};
    TRY(control_read(spec->data_dir, &control, NULL, err));
    char *path AUTO(mem_freep) = wal_push_path(spec->path, spec->data_dir);
    char *wal_dir AUTO(mem_freep) = path_parent(path);
    const char *file = strrchr(path, '/') + 1;
    WalFileSpec load = {.path = path,
                        .file = file,
                        .wal_dir = wal_dir,
                        .control = &control,
                        .level = spec->level,
                        .threads = spec->threads};
    if (wal_push_load(&load, &f, err) != ERR_OK) {
        push_hint_path(spec, file, err);
        return err->code;
    }

    WalPushTarget *targets = mem_zero(spec->repos->n * sizeof(*targets));
    WalBehindSpec behind = {.load = &load, .file = file, .targets = targets, .n = spec->repos->n};
    unsigned done = 0;
    bool conflict = false;
    ErrCode rc = push_to_all(spec, &f, targets, &done, &conflict, err);
    if (rc != ERR_OK && done)
        err_wrap(err, "%s was stored in %u of %u repositories", f.file, done, spec->repos->n);
    /* Two servers that archive as one: nothing further until somebody has looked. */
    if (rc != ERR_OK && done && !conflict && wal_is_ready(wal_dir, file))
        wal_push_behind(&behind);
    for (unsigned i = 0; i < spec->repos->n; i++)
        wal_push_target_release(&targets[i]);
    free(targets);
    return rc;
}
