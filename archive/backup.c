#include "archive/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "archive/backup_copy.h"
#include "archive/backup_wal.h"
#include "catalog/parent.h"
#include "catalog/wal_publish.h"
#include "lib/common/file.h"
#include "lib/common/log.h"
#include "lib/common/workers.h"
#include "lib/repo/key_store.h"

#define SUSPECTS_LOGGED 20

/* One backup on its way. */
typedef struct Backup {
    const BackupSpec *spec;
    Repo *repo;
    PgConn *conn;
    PgServer server;
    PgControl control; /* just after the start */
    char *data_dir;
    char id[BACKUP_ID_LEN + 1];
    Lease *lease, *parent_lease;
    Reuse *reuse;                   /* NULL: nothing is taken over */
    Leftover left;                  /* of a backup that was interrupted */
    char parent[BACKUP_ID_LEN + 1]; /* "": a full backup */
    WalStore store;
    TimelinePath path;
    Lsn start, stop;
    PgBackupStop label;
    BackupLabel parsed;
    BackupFiles files;
    SuspectPages suspects;
    PacksList packs;
    BackupSummary summary;
} Backup;

static void backup_release(Backup *b)
{
    pg_conn_close(b->conn); /* before anything else: an unfinished backup ends with its session */
    pg_server_release(&b->server);
    free(b->data_dir);
    lease_release(b->parent_lease);
    lease_release(b->lease);
    reuse_free(b->reuse);
    leftover_release(&b->left);
    vec_release(&b->path);
    pg_backup_stop_release(&b->label);
    backup_files_release(&b->files);
    suspect_pages_release(&b->suspects);
    packs_list_release(&b->packs);
    summary_release(&b->summary);
}

static void warn_summary(Backup *b, const char *text)
{
    log_warn("%s", text);
    vec_push(&b->summary.warnings, mem_strdup(text));
}

/* --- before the start --- */

static bool setting_is(const char *value, const char *what)
{
    return value && strcmp(value, what) == 0;
}

static ErrCode check_archiving(const PgServer *s, Err *err)
{
    if (setting_is(s->wal_level, "minimal")) {
        err_set(err, ERR_REFUSED,
                "wal_level = minimal: a backup of this server cannot be restored");
        return err_hint(err, "set wal_level = replica, and archive_mode = on with archive_command "
                             "= 'pgdr archive-push %%p', then restart the server");
    }
    if (setting_is(s->archive_mode, "off") && !s->in_recovery) {
        err_set(err, ERR_REFUSED,
                "archive_mode = off: the WAL that a backup needs is not archived");
        return err_hint(err, "set archive_mode = on and archive_command = 'pgdr archive-push %%p', "
                             "then restart the server");
    }
    return ERR_OK;
}

/* The files that are read must be those of the server that is asked. */
static ErrCode check_same_cluster(const Backup *b, Err *err)
{
    if (b->control.system_id != b->server.system_id) {
        err_set(err, ERR_MISMATCH, "the server has the system identifier %llu, '%s' has %llu",
                (unsigned long long)b->server.system_id, b->data_dir,
                (unsigned long long)b->control.system_id);
        return err_hint(err,
                        "\"data-directory\" and \"host\", \"port\" in [cluster %s] belong to "
                        "different servers",
                        b->repo->cluster);
    }
    struct stat mine, theirs;
    if (!b->server.data_directory || stat(b->server.data_directory, &theirs) != 0 ||
        stat(b->data_dir, &mine) != 0)
        return ERR_OK; /* seen through another mount: the identifier must do */
    if (mine.st_dev == theirs.st_dev && mine.st_ino == theirs.st_ino)
        return ERR_OK;
    err_set(err, ERR_MISMATCH, "the server runs in '%s', \"data-directory\" is '%s'",
            b->server.data_directory, b->data_dir);
    return err_hint(err, "a copy of a cluster carries its identity: correct [cluster %s]",
                    b->repo->cluster);
}

static ErrCode read_path(Backup *b, uint32_t tli, Err *err)
{
    Lineage lineage AUTO(lineage_release) = {.steps = {0}};
    TRY(lineage_read(&b->store, &lineage, err));
    return lineage_path(&lineage, tli, &b->path, err);
}

static ErrCode backup_prepare(Backup *b, Err *err)
{
    TimeUs now;
    TRY(pg_conn_open(&b->conn, &b->spec->conn, err));
    TRY(pg_server_read(b->conn, &b->server, err));
    if (!b->spec->data_dir && !b->server.data_directory) {
        err_set(err, ERR_CONFIG, "the server does not tell where its data directory is");
        return err_hint(err,
                        "set \"data-directory\" in [cluster %s], or grant pg_read_all_settings "
                        "to the backup role",
                        b->repo->cluster);
    }
    b->data_dir = path_absolute(b->spec->data_dir ? b->spec->data_dir : b->server.data_directory);
    TRY(control_read(b->data_dir, &b->control, NULL, err));
    TRY(check_same_cluster(b, err));
    TRY(check_archiving(&b->server, err));
    wal_store_init(&b->store, b->repo, b->control.system_id, b->control.wal_segment_size);
    TRY(wal_check_frozen(&b->store, b->control.checkpoint_tli, UINT64_MAX, err));
    TRY(read_path(b, b->control.checkpoint_tli, err)); /* fails before any work is done */
    b->path.n = 0;
    TRY(repo_now(b->repo, &now, err));
    backup_id_new(now, b->id);
    StrList ids AUTO(str_list_release) = {0};
    vec_push(&ids, mem_strdup(b->id));
    return lease_take(b->repo, LEASE_BACKUP, &ids, &b->lease, err);
}

/* --- start, copy, stop --- */

static ErrCode backup_begin(Backup *b, Err *err)
{
    char label[96];
    snprintf(label, sizeof(label), "pgdr %s", b->id);
    progress_begin(b->spec->progress, "waiting for a checkpoint", 0, 0);
    b->summary.start_time = time_now();
    TRY(pg_backup_begin(b->conn, b->server.version_num, label, &b->start, err));
    TRY(control_read(b->data_dir, &b->control, NULL, err));
    progress_begin(b->spec->progress, "listing files", 0, 0);
    TRY(backup_files_list(b->data_dir, b->control.version, &b->files, err));
    return backup_files_drop_unlogged(b->data_dir, &b->files, err);
}

/* --- the parent --- */

/* What is stored anew only so that packs can go: at most this part of the cluster out of packs that
 * are mostly dead, and so many bytes out of those of small backups. */
#define RENEWED_PART 0.03
#define MERGED_MAX ((uint64_t)1 << 30)

/* What it says of itself cannot be read: everything is stored, then. */
static bool is_unreadable(ErrCode code)
{
    return code == ERR_DAMAGED || code == ERR_NOT_FOUND || code == ERR_VERSION ||
           code == ERR_WRONG_KEY || code == ERR_LIMIT || code == ERR_IO || code == ERR_ACCESS ||
           code == ERR_MISMATCH;
}

static ErrCode take_parent_lease(Backup *b, const BackupSummary *parent, Err *err)
{
    StrList ids AUTO(str_list_release) = {0};
    if (parent)
        vec_push(&ids, mem_strdup(parent->id));
    if (*b->left.id)
        vec_push(&ids, mem_strdup(b->left.id));
    return lease_take(b->repo, "parent", &ids, &b->parent_lease, err);
}

static ErrCode build_on(Backup *b, const BackupSummary *parent, Err *err)
{
    ReuseSpec spec = {.repo = b->repo,
                      .self = b->id,
                      .parent = parent,
                      .left = &b->left,
                      .page_size = b->control.block_size,
                      .files = &b->files};
    if (!parent && !*b->left.id)
        return ERR_OK;
    if (!b->parent_lease)
        TRY(take_parent_lease(b, parent, err));
    TRY(reuse_open(&spec, &b->reuse, err));
    if (*b->left.id)
        log_info("what is still the same of %s, which was interrupted, is taken over", b->left.id);
    if (!parent)
        return ERR_OK;
    double pages = (double)(b->files.bytes / b->control.block_size);
    pack_uses_renew(reuse_packs(b->reuse), (uint64_t)(pages * RENEWED_PART));
    b->summary.number = parent->number + 1;
    pack_uses_merge(reuse_packs(b->reuse), b->summary.number, MERGED_MAX);
    memcpy(b->parent, parent->id, sizeof(b->parent));
    log_info("incremental backup, on %s", parent->id);
    return ERR_OK;
}

static ErrCode find_parent(Backup *b, const BackupList *list, const BackupSummary **ret, Err *err)
{
    Lineage lineage AUTO(lineage_release) = {.steps = {0}};
    TimelinePath path AUTO(timeline_path_release) = {0};
    const char *why;
    *ret = NULL;
    if (b->spec->full)
        return ERR_OK;
    TRY(lineage_read(&b->store, &lineage, err));
    TRY(lineage_path(&lineage, b->control.checkpoint_tli, &path, err));
    *ret = parent_choose(list, &b->control, &path, b->start, &why);
    if (!*ret)
        log_info("full backup: %s", why);
    return ERR_OK;
}

static const char *newest_id(const BackupList *list)
{
    const char *newest = "";
    for (size_t i = 0; i < backup_count(list); i++)
        if (strcmp(backup_at(list, i)->id, newest) > 0)
            newest = backup_at(list, i)->id;
    return newest;
}

static ErrCode backup_choose_parent(Backup *b, Err *err)
{
    BackupList list AUTO(backup_list_release) = {.broken = {0}};
    const BackupSummary *parent;
    TRY(backup_list_read(b->repo, &list, err));
    TRY(find_parent(b, &list, &parent, err));
    TRY(leftover_find(b->repo, b->id, newest_id(&list), &b->left, err));
    ErrCode rc = build_on(b, parent, err);
    if (!parent || !is_unreadable(rc))
        return rc;
    char text[sizeof(err->message) + 128];
    snprintf(text, sizeof(text), "full backup: backup %s cannot be built on: %s", parent->id,
             err->message);
    warn_summary(b, text);
    *err = (Err){0};
    return build_on(b, NULL, err);
}

/* pg_control last: on a standby it says how far the copied files may be ahead. */
static ErrCode copy_control(Backup *b, BackupCopy *copy, PgControl *ret, Err *err)
{
    Buf raw AUTO(buf_release) = {0};
    TRY(control_read(b->data_dir, ret, &raw, err));
    BackupFile *f = backup_files_add(&b->files, "global/pg_control", raw.len);
    return backup_copy_small(copy, f, raw.data, raw.len, err);
}

static ErrCode backup_stop(Backup *b, const PgControl *last, Err *err)
{
    progress_begin(b->spec->progress, "ending the backup", 0, 0);
    TRY(pg_backup_finish(b->conn, b->server.version_num, &b->label, err));
    TRY(backup_label_parse((const char *)b->label.label.data, b->label.label.len, &b->parsed, err));
    b->stop = b->label.lsn;
    if (b->server.in_recovery)
        b->stop = MAX(b->stop, last->min_recovery_point);
    b->summary.stop_time = time_now();
    if (b->parsed.start != b->start)
        return err_set(err, ERR_INTERNAL,
                       "the server began the backup at " LSN_FMT " and labels it " LSN_FMT,
                       LSN_ARG(b->start), LSN_ARG(b->parsed.start));
    return ERR_OK;
}

static ErrCode backup_copy(Backup *b, BackupCopy *copy, Err *err)
{
    PgControl last;
    progress_begin(b->spec->progress, "copying files", b->files.bytes, b->files.files.n);
    TRY(backup_copy_files(copy, &b->files, err));
    if (!pg_conn_alive(b->conn))
        return err_set(err, ERR_SERVER, "the server has ended the backup's session");
    TRY(copy_control(b, copy, &last, err));
    TRY(backup_stop(b, &last, err));
    BackupFile *f = backup_files_add(&b->files, "backup_label", b->label.label.len);
    TRY(backup_copy_small(copy, f, b->label.label.data, b->label.label.len, err));
    return backup_copy_finish(copy, &b->packs, err);
}

static ErrCode backup_copy_all(Backup *b, Err *err)
{
    BackupCopy *copy AUTO(backup_copy_freep) = NULL;
    BackupCopySpec spec = {.repo = b->repo,
                           .backup_id = b->id,
                           .data_dir = b->data_dir,
                           .page_size = b->control.block_size,
                           .rel_seg_blocks = b->control.rel_seg_blocks,
                           .checksums = b->control.data_checksum_version != 0,
                           .jobs = b->spec->jobs,
                           .level = b->spec->level,
                           .progress = b->spec->progress,
                           .suspects = &b->suspects,
                           .reuse = b->reuse};
    TRY(backup_copy_new(&spec, &copy, err));
    return backup_copy(b, copy, err);
}

/* --- the WAL --- */

static void report_suspects(Backup *b)
{
    size_t damaged = 0;
    for (size_t i = 0; i < b->suspects.pages.n; i++) {
        const SuspectPage *p = &b->suspects.pages.at[i];
        bool map = p->rel.fork == FORK_FSM || p->rel.fork == FORK_VM;
        if (p->excused && !map)
            continue;
        damaged += !p->excused;
        if (damaged > SUSPECTS_LOGGED)
            continue;
        char text[512];
        snprintf(text, sizeof(text), "'%s', block %u: the page's checksum is wrong%s", p->path,
                 p->block, map ? " (the server makes such pages anew)" : "");
        warn_summary(b, text);
    }
    b->summary.damaged_pages = damaged;
    if (damaged > SUSPECTS_LOGGED) {
        char text[128];
        snprintf(text, sizeof(text), "and %zu more pages with wrong checksums",
                 damaged - SUSPECTS_LOGGED);
        warn_summary(b, text);
    }
}

static ErrCode backup_judge_by_wal(Backup *b, Err *err)
{
    uint32_t tli = b->parsed.start_tli ? b->parsed.start_tli : b->control.checkpoint_tli;
    BackupWal wal = {.store = &b->store,
                     .path = &b->path,
                     .control = &b->control,
                     .start = b->start,
                     .checkpoint = b->parsed.checkpoint,
                     .stop = b->stop,
                     .from_standby = b->server.in_recovery,
                     .primary = b->spec->primary,
                     .timeout = b->spec->archive_timeout};
    progress_begin(b->spec->progress, "waiting for the WAL to be archived", 0, 0);
    TRY(read_path(b, tli, err));
    TRY(backup_wal_wait(&wal, err));
    TRY(backup_wal_compare(&wal, err));
    TRY(wal_check_frozen(&b->store, tli, wal_segno_before(b->stop, b->store.seg_size), err));
    TRY(backup_files_drop_unlogged(b->data_dir, &b->files, err));
    TRY(backup_wal_drop_unlogged(&wal, &b->files, err));
    return backup_wal_excuse(&wal, &b->suspects, err);
}

/* A new data key may have been made while the files were copied: the last WAL is then under it. */
static ErrCode backup_check_wal(Backup *b, Err *err)
{
    ErrCode rc = backup_judge_by_wal(b, err);
    while (rc == ERR_WRONG_KEY && b->spec->new_keys) {
        bool more;
        TRY(b->spec->new_keys(b->spec->new_keys_arg, b->repo, &more, err));
        if (!more)
            return backup_judge_by_wal(b, err);
        log_info("repository '%s' has a new data key since this backup began", b->repo->name);
        rc = backup_judge_by_wal(b, err);
    }
    TRY(rc);
    report_suspects(b);
    return ERR_OK;
}

/* --- manifest and commit --- */

static FileEntry entry_of(const Backup *b, const BackupFile *f)
{
    return (FileEntry){.path = f->path,
                       .kind = f->kind,
                       .size = f->size,
                       .mtime = f->mtime,
                       .mode = f->mode,
                       .user = backup_file_user(&b->files, f),
                       .group = backup_file_group(&b->files, f),
                       .link = f->link,
                       .place = f->place,
                       .backup = f->backup,
                       .pack = f->pack,
                       .off = f->off,
                       .map_len = f->map_len,
                       .unit = f->unit,
                       .small = f->small};
}

static void manifest_defaults(const Backup *b, ManifestHeader *h)
{
    h->file_mode = 0600;
    h->dir_mode = 0700;
    for (size_t i = 0; i < b->files.files.n; i++) {
        const BackupFile *f = &b->files.files.at[i];
        if (strcmp(f->path, "PG_VERSION") == 0) {
            h->user = mem_strdup(backup_file_user(&b->files, f));
            h->group = mem_strdup(backup_file_group(&b->files, f));
            h->file_mode = f->mode;
        }
        if (strcmp(f->path, "base") == 0)
            h->dir_mode = f->mode;
    }
    if (!h->user)
        h->user = mem_strdup("");
    if (!h->group)
        h->group = mem_strdup("");
}

static ErrCode write_manifest(Backup *b, ManifestHeader *h, Err *err)
{
    memcpy(h->id, b->id, sizeof(h->id));
    h->cluster = mem_strdup(b->repo->cluster);
    h->system_id = b->control.system_id;
    h->pg_version_num = b->server.version_num;
    h->block_size = b->control.block_size;
    h->rel_seg_blocks = b->control.rel_seg_blocks;
    h->wal_segment_size = b->control.wal_segment_size;
    h->checksum_version = b->control.data_checksum_version;
    h->timeline = b->summary.timeline;
    h->start_lsn = b->start;
    h->stop_lsn = b->stop;
    for (size_t i = 0; i < b->files.tablespaces.n; i++)
        vec_push(&h->tablespaces,
                 (ManifestTablespace){.oid = b->files.tablespaces.at[i].oid,
                                      .path = mem_strdup(b->files.tablespaces.at[i].path)});
    manifest_defaults(b, h);
    ManifestWriter *w AUTO(manifest_writer_freep) = manifest_writer_new(b->repo, h);
    for (size_t i = 0; i < b->files.files.n; i++) {
        const BackupFile *f = &b->files.files.at[i];
        if (f->dropped)
            continue;
        FileEntry e = entry_of(b, f);
        TRY(manifest_writer_add(w, &e, err));
        b->summary.files += f->kind == FILE_REGULAR;
        b->summary.size += f->kind == FILE_REGULAR ? f->size : 0;
    }
    return manifest_writer_finish(w, &b->summary.manifest, err);
}

static void fill_summary(Backup *b)
{
    BackupSummary *s = &b->summary;
    char host[256] = "";
    gethostname(host, sizeof(host) - 1);
    memcpy(s->id, b->id, sizeof(s->id));
    s->cluster = mem_strdup(b->repo->cluster);
    s->system_id = b->control.system_id;
    s->pg_version_num = b->server.version_num;
    s->type = mem_strdup(*b->parent ? "incr" : "full");
    s->label = mem_strdup(b->spec->label ? b->spec->label : "");
    s->host = mem_strdup(host);
    s->parent = mem_strdup(b->parent);
    s->from_standby = b->server.in_recovery;
    s->timeline = b->parsed.start_tli ? b->parsed.start_tli : b->control.checkpoint_tli;
    s->start_lsn = b->start;
    s->stop_lsn = b->stop;
    s->checkpoint_lsn = b->parsed.checkpoint;
    s->wal_segment_size = b->control.wal_segment_size;
    s->block_size = b->control.block_size;
    s->checksum_version = b->control.data_checksum_version;
}

static ErrCode backup_commit(Backup *b, Err *err)
{
    ManifestHeader header AUTO(manifest_header_release) = {.cluster = NULL};
    progress_begin(b->spec->progress, "committing", 0, 0);
    fill_summary(b);
    if (b->reuse)
        reuse_finish(b->reuse, &b->files, &b->packs, &header.ids);
    else
        vec_push(&header.ids, mem_strdup(b->id));
    TRY(key_put_beside(b->repo, b->id, err));
    TRY(packs_list_put(b->repo, b->id, &b->packs, &b->summary.packs, err));
    ErrCode rc = write_manifest(b, &header, err);
    b->summary.stored =
        packs_list_stored(&b->packs) + b->summary.packs.size + b->summary.manifest.size;
    if (rc == ERR_OK)
        rc = cancel_check(err);
    if (rc == ERR_OK)
        rc = backup_publish(b->repo, &b->summary, &b->packs, b->spec->grace, STORAGE_CREATE, err);
    if (rc != ERR_OK)
        backup_withdraw(b->repo, b->id);
    return rc;
}

ErrCode backup_run(const BackupSpec *spec, BackupSummary *ret, Err *err)
{
    Backup b AUTO(backup_release) = {.spec = spec, .repo = spec->repo};
    suspect_pages_init(&b.suspects);
    TRY(backup_prepare(&b, err));
    TRY(backup_begin(&b, err));
    TRY(backup_choose_parent(&b, err));
    TRY(backup_copy_all(&b, err));
    TRY(backup_check_wal(&b, err));
    TRY(backup_commit(&b, err));
    summary_release(ret);
    *ret = b.summary;
    b.summary = (BackupSummary){.cluster = NULL};
    return ERR_OK;
}
