/* pgdr repo copy: backups and their WAL from one repository to another. */

#include <inttypes.h>
#include <string.h>

#include "catalog/wal_copy.h"
#include "cli/cli.h"
#include "cli/repos.h"
#include "lib/repo/copy.h"

typedef struct CopyTotal {
    uint64_t backups;
    CopyResult objects;
    WalCopyResult wal;
    json_t *ids; /* of the backups copied now */
} CopyTotal;

/* The configured repository of that name. */
static ErrCode find_repo(const Cli *cli, OptId option, size_t *ret, Err *err)
{
    const char *name = opt_text(cli, option), *what = option == OPT_TO_REPO ? "to" : "from";
    Buf names AUTO(buf_release) = {0};
    for (size_t i = 0; i < opt_repos(cli); i++) {
        if (name && strcmp(opt_repo_name(cli, i), name) == 0) {
            *ret = i;
            return ERR_OK;
        }
        buf_printf(&names, "%s%s", i ? ", " : "", opt_repo_name(cli, i));
    }
    if (name)
        err_set(err, ERR_USAGE, "no repository is named '%s'", name);
    else
        err_set(err, ERR_USAGE, "--%s-repo is missing", what);
    return err_hint(err, "the configuration has: %s", buf_str(&names));
}

/* Those that are asked for: all, or one. */
static ErrCode choose(const char *id, const Repo *from, BackupList *list, Err *err)
{
    if (!id)
        return ERR_OK;
    const BackupSummary *chosen;
    TRY(backup_pick(list, from, id, &chosen, err));
    size_t at = (size_t)(chosen - list->all.at);
    BackupSummary keep = list->all.at[at];
    for (size_t i = 0; i < list->all.n; i++)
        if (i != at)
            summary_release(&list->all.at[i]);
    list->all.at[0] = keep;
    list->all.n = 1;
    return ERR_OK;
}

static ErrCode copy_backups(Cli *cli, Repo *from, Repo *to, const BackupList *list,
                            CopyTotal *total, Err *err)
{
    CopySpec spec = {.from = from,
                     .to = to,
                     .jobs = cli_jobs(cli),
                     .grace = GRACE_DEFAULT,
                     .progress = &cli->progress};
    for (size_t i = 0; i < backup_count(list); i++) {
        const char *id = backup_at(list, i)->id;
        ErrCode rc = copy_backup(&spec, id, &total->objects, err);
        if (rc == ERR_EXISTS) {
            *err = (Err){0};
            log_debug("backup %s is in '%s' already", id, to->name);
            continue;
        }
        if (rc != ERR_OK)
            return rc;
        total->backups++;
        json_array_append_new(total->ids, json_string(id));
    }
    return ERR_OK;
}

static ErrCode copy_cluster(Cli *cli, Repo *from, Repo *to, CopyTotal *total, Err *err)
{
    BackupList list AUTO(backup_list_release) = {.all = {0}};
    WalCopySpec wal = {.from = from,
                       .to = to,
                       .backups = &list,
                       .only_theirs = opt_is(cli, OPT_COPY_WAL, "backup"),
                       .jobs = cli_jobs(cli),
                       .progress = &cli->progress};
    WalCopyResult w = {.files = 0};
    TRY(backup_list_read(from, &list, err));
    for (size_t i = 0; i < list.broken.n; i++)
        log_warn("backup %s is not copied", list.broken.at[i]);
    TRY(choose(opt_text(cli, OPT_BACKUP), from, &list, err));
    if (!backup_count(&list)) {
        err_set(err, ERR_NOT_FOUND, "there is no backup of cluster '%s' in '%s'", from->cluster,
                repo_url(from));
        return err_hint(err, "'pgdr info' shows the backups");
    }
    cli_progress_begin(cli);
    ErrCode rc = wal_copy(&wal, &w, err);
    if (rc == ERR_OK)
        rc = copy_backups(cli, from, to, &list, total, err);
    cli_progress_end(cli);
    total->wal.files += w.files;
    total->wal.bytes += w.bytes;
    total->wal.kept += w.kept;
    return rc;
}

static ErrCode copy_clusters(Cli *cli, Repo *from, Repo *to, CopyTotal *total, Err *err)
{
    StrList names AUTO(str_list_release) = {0};
    if (opt_given(cli, OPT_CLUSTER))
        vec_push(&names, mem_strdup(opt_cluster(cli)));
    else
        TRY(repo_list_clusters(from, &names, err));
    if (!names.n)
        return err_set(err, ERR_NOT_FOUND, "'%s' holds nothing yet", repo_url(from));
    for (size_t i = 0; i < names.n; i++) {
        repo_set_cluster(from, names.at[i]);
        repo_set_cluster(to, names.at[i]);
        TRY(copy_cluster(cli, from, to, total, err));
    }
    return ERR_OK;
}

static void report(Cli *cli, const CopyTotal *t)
{
    char bytes[TIME_TEXT_LEN], wal_bytes[TIME_TEXT_LEN];
    json_t *doc = out_doc(&cli->out);
    json_object_set_new(doc, "wal_files", json_integer((json_int_t)t->wal.files));
    json_object_set_new(doc, "wal_files_kept", json_integer((json_int_t)t->wal.kept));
    json_object_set_new(doc, "wal_bytes", json_integer((json_int_t)t->wal.bytes));
    json_object_set_new(doc, "objects", json_integer((json_int_t)t->objects.objects));
    json_object_set_new(doc, "objects_kept", json_integer((json_int_t)t->objects.kept));
    json_object_set_new(doc, "bytes", json_integer((json_int_t)t->objects.bytes));
    log_info("copied backups: %" PRIu64 " (%s), WAL files: %" PRIu64
             " (%s); WAL files that were there: %" PRIu64,
             t->backups, size_format(t->objects.bytes, bytes), t->wal.files,
             size_format(t->wal.bytes, wal_bytes), t->wal.kept);
}

ErrCode cmd_repo_copy(Cli *cli, Err *err)
{
    Repo *from AUTO(repo_closep) = NULL;
    Repo *to AUTO(repo_closep) = NULL;
    size_t from_at, to_at;
    CopyTotal total = {.ids = json_array()};
    json_object_set_new(out_doc(&cli->out), "backups", total.ids);
    TRY(find_repo(cli, OPT_FROM_REPO, &from_at, err));
    TRY(find_repo(cli, OPT_TO_REPO, &to_at, err));
    if (from_at == to_at)
        return err_set(err, ERR_USAGE, "--from-repo and --to-repo name the same repository");
    TRY(cli_repo_open(cli, from_at, NULL, &from, err));
    TRY(cli_repo_open(cli, to_at, NULL, &to, err));
    TRY(copy_clusters(cli, from, to, &total, err));
    report(cli, &total);
    return ERR_OK;
}
