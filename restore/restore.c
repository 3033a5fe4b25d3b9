#include "restore/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/common/file.h"
#include "lib/common/log.h"
#include "lib/pg/backup_label.h"
#include "restore/extract.h"
#include "restore/recovery_conf.h"

#define AUTO_CONF "postgresql.auto.conf"
#define CONTROL "global/pg_control"
#define CONF_MAX (16 * MIB)

typedef struct Restore {
    const RestoreSpec *spec;
    const RestorePlan *plan;
    RestoreResult result;
    ExtractResult extracted;
    Lease *lease;
    char *marker;
} Restore;

void restore_result_release(RestoreResult *r)
{
    str_list_release(&r->dropped);
}

bool restore_destroys(const RestorePlan *plan)
{
    return plan->dir_state == TARGET_DIR_CLUSTER || plan->dir_state == TARGET_DIR_INTERRUPTED;
}

static void restore_release(Restore *r)
{
    lease_release(r->lease);
    extract_result_release(&r->extracted);
    restore_result_release(&r->result);
    free(r->marker);
}

static char *in_target(const Restore *r, const char *name)
{
    return path_join(r->spec->to, name);
}

/* --- the old cluster --- */

static ErrCode is_of_repository(Repo *repo, uint64_t system_id, bool *ret, Err *err)
{
    BackupList list AUTO(backup_list_release) = {.broken = {0}};
    TRY(backup_list_read(repo, &list, err));
    *ret = false;
    for (size_t i = 0; i < backup_count(&list) && !*ret; i++)
        *ret = backup_at(&list, i)->system_id == system_id;
    return ERR_OK;
}

ErrCode restore_save_old(const RestoreSpec *spec, RescueResult *ret, Err *err)
{
    Err why = {0};
    TargetDirState state;
    bool known;
    *ret = (RescueResult){.looked_at = 0};
    TRY(target_dir_look(spec->to, &state, err));
    if (state != TARGET_DIR_CLUSTER || target_dir_check_stopped(spec->to, &why) != ERR_OK)
        return ERR_OK; /* the plan says what is wrong with it */
    uint64_t system_id = target_dir_system_id(spec->to);
    TRY(is_of_repository(spec->repo, system_id, &known, err));
    return known ? rescue_wal(spec->repo, spec->to, system_id, ret, err) : ERR_OK;
}

static ErrCode save_old(Restore *r, Err *err)
{
    if (r->plan->dir_state != TARGET_DIR_CLUSTER)
        return ERR_OK;
    TRY(target_dir_check_stopped(r->spec->to, err));
    if (r->spec->old_wal_in == r->spec->repo)
        return ERR_OK;
    return rescue_wal(r->spec->repo, r->spec->to, r->plan->backup.system_id, &r->result.rescued,
                      err);
}

/* --- what is there and not in the backup --- */

static int path_compare(const void *a, const void *b)
{
    return strcmp(((const BackupPath *)a)->path, ((const BackupPath *)b)->path);
}

typedef struct Prune {
    const char *to;
    BackupPaths keep;
    uint64_t removed;
} Prune;

static ErrCode prune_directory(Prune *p, const char *path, Err *err);

static bool kind_fits(FileKind kind, mode_t mode)
{
    return kind == FILE_DIRECTORY ? S_ISDIR(mode)
           : kind == FILE_LINK    ? S_ISLNK(mode)
                                  : S_ISREG(mode);
}

/* What stays is read and written; its mode becomes the backup's in the end. */
static ErrCode open_mode(const char *path, mode_t mode, Err *err)
{
    mode_t need = S_ISDIR(mode) ? 0700 : 0600;
    if ((mode & need) != need && chmod(path, (mode & 07777) | need) != 0)
        return err_errno(err, errno, "cannot set the mode of '%s'", path);
    return ERR_OK;
}

/* A file that has another name elsewhere is removed, too: who keeps the old cluster by hard links
 * would find it changed. */
static ErrCode prune_entry(Prune *p, const char *path, Err *err)
{
    struct stat st;
    char *full AUTO(mem_freep) = path_join(p->to, path);
    BackupPath key = {.path = (char *)(uintptr_t)path};
    const BackupPath *known =
        p->keep.n ? bsearch(&key, p->keep.at, p->keep.n, sizeof(key), path_compare) : NULL;
    if (lstat(full, &st) != 0)
        return err_errno(err, errno, "cannot look at '%s'", full);
    /* A tablespace, or pg_wal on another disk: the link stays, what it leads to is gone through. */
    if (known && known->kind != FILE_REGULAR && S_ISLNK(st.st_mode))
        return prune_directory(p, path, err);
    if (known && kind_fits(known->kind, st.st_mode) && (S_ISDIR(st.st_mode) || st.st_nlink == 1)) {
        TRY(open_mode(full, st.st_mode, err));
        return S_ISDIR(st.st_mode) ? prune_directory(p, path, err) : ERR_OK;
    }
    p->removed++;
    if (S_ISDIR(st.st_mode))
        return dir_remove_tree(full, false, err);
    if (unlink(full) != 0)
        return err_errno(err, errno, "cannot remove '%s'", full);
    return ERR_OK;
}

static ErrCode prune_directory(Prune *p, const char *path, Err *err)
{
    StrList names AUTO(str_list_release) = {0};
    char *full AUTO(mem_freep) = *path ? path_join(p->to, path) : mem_strdup(p->to);
    ErrCode rc = dir_list(full, &names, err);
    if (rc == ERR_NOT_FOUND && *path)
        return ERR_OK; /* a link that leads nowhere yet */
    if (rc != ERR_OK)
        return rc;
    for (size_t i = 0; i < names.n; i++) {
        char *child AUTO(mem_freep) =
            *path ? path_join(path, names.at[i]) : mem_strdup(names.at[i]);
        if (strcmp(child, RESTORE_MARKER) != 0)
            TRY(prune_entry(p, child, err));
    }
    return ERR_OK;
}

static ErrCode prune(Restore *r, Err *err)
{
    Prune p = {.to = r->spec->to};
    ErrCode rc = backup_paths_read(r->spec->repo, r->plan->backup.id, &r->plan->backup.manifest,
                                   &p.keep, err);
    if (rc == ERR_OK)
        rc = prune_directory(&p, "", err);
    r->result.removed = p.removed;
    backup_paths_release(&p.keep);
    return rc;
}

/* In place, not by renaming: a kill must not leave a stray file in an empty directory. That it is
 * there is what counts, not what is in it. */
static ErrCode write_marker(const Restore *r, Err *err)
{
    int fd AUTO(fd_closep) = -1;
    char *text AUTO(mem_freep) = mem_printf("%s\n", r->plan->backup.id);
    TRY(file_open(r->marker, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600, &fd, err));
    TRY(file_write(fd, text, strlen(text), r->marker, err));
    TRY(file_sync(fd, r->marker, err));
    TRY(file_close(&fd, r->marker, err));
    return dir_sync(r->spec->to, err);
}

static ErrCode prepare_directory(Restore *r, Err *err)
{
    char *control AUTO(mem_freep) = in_target(r, CONTROL);
    TRY(data_dir_make(r->spec->to, 0700, err));
    r->marker = in_target(r, RESTORE_MARKER);
    TRY(write_marker(r, err));
    if (!restore_destroys(r->plan))
        return ERR_OK;
    TRY(file_remove(control, err)); /* from here on it is no cluster any more */
    return prune(r, err);
}

/* --- files --- */

static const char *planned_link(void *arg, const char *path)
{
    const Restore *r = arg;
    uint32_t oid = (uint32_t)strtoul(path + strlen("pg_tblspc/"), NULL, 10);
    for (size_t i = 0; i < r->plan->tablespaces.n; i++)
        if (strncmp(path, "pg_tblspc/", 10) == 0 && r->plan->tablespaces.at[i].oid == oid)
            return r->plan->tablespaces.at[i].to;
    return NULL;
}

static ErrCode extract(Restore *r, unsigned jobs, Progress *progress, Err *err)
{
    ExtractSpec spec = {.repo = r->spec->repo,
                        .backup_id = r->plan->backup.id,
                        .manifest = &r->plan->backup.manifest,
                        .to = r->spec->to,
                        .delta = restore_destroys(r->plan),
                        .owners = geteuid() == 0,
                        .jobs = jobs,
                        .progress = progress,
                        .link_target = planned_link,
                        .arg = r};
    TRY(extract_run(&spec, &r->extracted, err));
    r->result.files = r->extracted.files;
    r->result.bytes = r->extracted.bytes;
    r->result.written = r->extracted.written;
    return ERR_OK;
}

/* Files that a restore makes belong to whom the cluster belongs, and are open to the group when the
 * cluster is. */
static ErrCode write_owned(const Restore *r, const char *name, const void *data, size_t len,
                           Err *err)
{
    struct stat st;
    char *path AUTO(mem_freep) = in_target(r, name);
    char *like AUTO(mem_freep) = in_target(r, "PG_VERSION");
    TRY(file_replace(path, data, len, 0600, err));
    if (stat(like, &st) != 0)
        return ERR_OK;
    if (st.st_mode & 0040 && chmod(path, 0640) != 0)
        return err_errno(err, errno, "cannot set the mode of '%s'", path);
    if (geteuid() != 0)
        return ERR_OK;
    if (chown(path, st.st_uid, st.st_gid) != 0)
        return err_errno(err, errno, "cannot set the owner of '%s'", path);
    return ERR_OK;
}

/* The server refuses a data directory that is not its own, or that others may enter; what was
 * there, empty, may be either. */
static ErrCode own_directory(const Restore *r, const char *dir, Err *err)
{
    struct stat st;
    char *like AUTO(mem_freep) = in_target(r, "base");
    if (stat(like, &st) != 0)
        return err_errno(err, errno, "cannot look at '%s'", like);
    if (geteuid() == 0 && chown(dir, st.st_uid, st.st_gid) != 0)
        return err_errno(err, errno, "cannot set the owner of '%s'", dir);
    if (chmod(dir, st.st_mode & 07777) != 0)
        return err_errno(err, errno, "cannot set the mode of '%s'", dir);
    return ERR_OK;
}

static ErrCode write_tablespace_map(const Restore *r, Err *err)
{
    TablespaceList list = {0};
    Buf text AUTO(buf_release) = {0};
    for (size_t i = 0; i < r->plan->tablespaces.n; i++)
        if (*r->plan->tablespaces.at[i].to)
            vec_push(&list, (Tablespace){.oid = r->plan->tablespaces.at[i].oid,
                                         .path = mem_strdup(r->plan->tablespaces.at[i].to)});
    tablespace_map_format(r->plan->backup.pg_version_num / 10000, &list, &text);
    tablespace_list_release(&list);
    return text.len ? write_owned(r, "tablespace_map", text.data, text.len, err) : ERR_OK;
}

/* --- recovery settings --- */

static void set_raised(ConfSettings *s, const char *name, int in_wal, int in_backup)
{
    /* Recovery stops when the WAL was written with larger limits than the server has. */
    if (in_wal > in_backup)
        conf_set(s, name, mem_printf("%d", in_wal));
}

/* PostgreSQL calls them damage unless this is set, also when its own cluster has them. */
static bool has_in_place(const RestorePlan *plan)
{
    for (size_t i = 0; i < plan->tablespaces.n; i++)
        if (!*plan->tablespaces.at[i].to)
            return true;
    for (size_t i = 0; i < plan->point.tablespaces.n; i++)
        if (!*plan->point.tablespaces.at[i].text)
            return true;
    return false;
}

/* postgresql.conf, which is not edited, may set another target, and two are fatal. Emptied here all
 * are, but only before the one that counts: each is held against those that came before it. */
static void set_target(const Restore *r, ConfSettings *s)
{
    static const char *const targets[] = {"recovery_target", "recovery_target_lsn",
                                          "recovery_target_name", "recovery_target_time",
                                          "recovery_target_xid"};
    const TargetPoint *p = &r->plan->point;
    const char *name = p->immediate ? "recovery_target" : p->to_end ? "" : "recovery_target_lsn";
    char lsn[LSN_TEXT_LEN];
    for (size_t i = 0; i < ARRAY_LEN(targets); i++)
        if (strcmp(targets[i], name) != 0)
            conf_set(s, targets[i], mem_strdup(""));
    if (*name)
        conf_set(s, name, mem_strdup(p->immediate ? "immediate" : lsn_format(p->lsn, lsn)));
    conf_set(s, "recovery_target_inclusive", mem_strdup("on"));
}

static void recovery_settings(const Restore *r, const PgControl *control, ConfSettings *s)
{
    const TargetPoint *p = &r->plan->point;
    const WalParameters *w = &p->parameters;
    conf_set(s, "restore_command", restore_command_of(r->spec, r->plan));
    conf_set(s, "recovery_target_timeline",
             mem_printf("%u", r->plan->path.at[r->plan->path.n - 1].tli));
    set_target(r, s);
    if (!p->to_end)
        conf_set(s, "recovery_target_action", mem_strdup(target_action_name(r->spec->action)));
    if (r->spec->action == ACTION_PAUSE)
        conf_set(s, "hot_standby", mem_strdup("on")); /* else it would shut down */
    conf_set(s, "recovery_min_apply_delay", mem_strdup("0"));
    conf_set(s, "archive_cleanup_command", mem_strdup(""));
    conf_set(s, "recovery_end_command", mem_strdup(""));
    if (has_in_place(r->plan))
        conf_set(s, "allow_in_place_tablespaces", mem_strdup("on"));
    if (r->spec->archive_off)
        conf_set(s, "archive_mode", mem_strdup("off"));
    set_raised(s, "max_connections", w->max_connections, control->max_connections);
    set_raised(s, "max_worker_processes", w->max_worker_processes, control->max_worker_processes);
    set_raised(s, "max_wal_senders", w->max_wal_senders, control->max_wal_senders);
    set_raised(s, "max_prepared_transactions", w->max_prepared_xacts, control->max_prepared_xacts);
    set_raised(s, "max_locks_per_transaction", w->max_locks_per_xact, control->max_locks_per_xact);
}

static ErrCode write_settings(Restore *r, Err *err)
{
    PgControl control;
    ConfSettings settings AUTO(conf_settings_release) = {0};
    Buf old AUTO(buf_release) = {0};
    char when[TIME_TEXT_LEN], target[160];
    char *path AUTO(mem_freep) = in_target(r, AUTO_CONF);
    TRY(control_parse(r->extracted.pg_control.data, r->extracted.pg_control.len, &control, err));
    ErrCode rc = file_read_all(path, CONF_MAX, &old, err);
    if (rc != ERR_OK && rc != ERR_NOT_FOUND)
        return rc;
    recovery_settings(r, &control, &settings);
    char *comment AUTO(mem_freep) = mem_printf(
        CONF_COMMENT "%s: backup %s, recovery to %s", time_format_utc(time_now(), false, when),
        r->plan->backup.id, target_format(&r->spec->target, target));
    char *text AUTO(mem_freep) =
        recovery_conf_edit((const char *)old.data, old.len, comment, &settings, &r->result.dropped);
    TRY(write_owned(r, AUTO_CONF, text, strlen(text), err));
    return write_owned(r, "recovery.signal", "", 0, err);
}

/* --- the end --- */

static ErrCode sync_filesystem(const char *path, dev_t *done, size_t *n, Err *err)
{
    struct stat st;
    int fd AUTO(fd_closep) = -1;
    TRY(file_open(path, O_RDONLY | O_DIRECTORY, 0, &fd, err));
    if (fstat(fd, &st) != 0)
        return err_errno(err, errno, "cannot look at '%s'", path);
    for (size_t i = 0; i < *n; i++)
        if (done[i] == st.st_dev)
            return ERR_OK;
    if (syncfs(fd) != 0)
        return err_errno(err, errno, "cannot make the filesystem of '%s' durable", path);
    done[(*n)++] = st.st_dev;
    return ERR_OK;
}

static ErrCode sync_all(const Restore *r, Err *err)
{
    size_t n = 0;
    dev_t *done AUTO(mem_freep) = mem_new((r->plan->tablespaces.n + 2) * sizeof(*done));
    char *wal AUTO(mem_freep) = in_target(r, "pg_wal"); /* may be a link to another disk */
    TRY(sync_filesystem(r->spec->to, done, &n, err));
    TRY(sync_filesystem(wal, done, &n, err));
    for (size_t i = 0; i < r->plan->tablespaces.n; i++)
        if (*r->plan->tablespaces.at[i].to)
            TRY(sync_filesystem(r->plan->tablespaces.at[i].to, done, &n, err));
    return ERR_OK;
}

static ErrCode make_replayed_tablespaces(const Restore *r, Err *err)
{
    for (size_t i = 0; i < r->plan->to_make.n; i++) {
        TRY(data_dir_make(r->plan->to_make.at[i], 0700, err));
        TRY(own_directory(r, r->plan->to_make.at[i], err));
    }
    return ERR_OK;
}

/* With it PostgreSQL opens the directory: when it cannot be made durable, it goes again. */
static ErrCode put_control(const Restore *r, Err *err)
{
    Err why = {0};
    char *path AUTO(mem_freep) = in_target(r, CONTROL);
    ErrCode rc =
        write_owned(r, CONTROL, r->extracted.pg_control.data, r->extracted.pg_control.len, err);
    if (rc != ERR_OK && file_remove(path, &why) != ERR_OK)
        log_err(LOG_WARN, &why);
    return rc;
}

static ErrCode finish(Restore *r, Progress *progress, Err *err)
{
    progress_begin(progress, "making everything durable", 0, 0);
    TRY(make_replayed_tablespaces(r, err));
    TRY(own_directory(r, r->spec->to, err));
    TRY(sync_all(r, err));
    TRY(put_control(r, err));
    return file_remove(r->marker, err);
}

/* Courtesy: a repository that can only be read, or whose disk takes no writes any more, serves as
 * well. */
static void take_lease(Restore *r)
{
    StrList ids AUTO(str_list_release) = {0};
    Err why = {0};
    vec_push(&ids, mem_strdup(r->plan->backup.id));
    if (lease_take(r->spec->repo, "restore", &ids, &r->lease, &why) != ERR_OK)
        log_err(LOG_DEBUG, &why);
}

ErrCode restore_run(const RestoreSpec *spec, const RestorePlan *plan, unsigned jobs,
                    Progress *progress, RestoreResult *ret, Err *err)
{
    Restore r AUTO(restore_release) = {.spec = spec, .plan = plan};
    TimeUs begin = time_monotonic();
    if (plan->refusal.code) {
        *err = plan->refusal;
        return err->code;
    }
    take_lease(&r);
    TRY(save_old(&r, err));
    TRY(prepare_directory(&r, err));
    TRY(extract(&r, jobs, progress, err));
    TRY(write_tablespace_map(&r, err));
    TRY(write_settings(&r, err));
    TRY(finish(&r, progress, err));
    r.result.elapsed = time_monotonic() - begin;
    *ret = r.result;
    r.result = (RestoreResult){.files = 0};
    return ERR_OK;
}
