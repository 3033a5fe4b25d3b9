/* pgdr repo copy: backups and their WAL from one repository to another. */

#include <inttypes.h>
#include <string.h>

#include "catalog/wal_copy.h"
#include "cli/cli.h"
#include "cli/repos.h"
#include "lib/repo/copy.h"

typedef struct CopyTotal {
    uint64_t backups;
    uint64_t kept;       /* backups that were there */
    uint64_t unreadable; /* backups without a summary that can be read */
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

/* Leaves the one that is asked for, or none. */
static void choose(const char *id, BackupList *list)
{
    const BackupSummary *chosen = backup_find(list, id);
    BackupSummary keep = {.files = 0};
    size_t n = 0;
    for (size_t i = 0; i < list->all.n; i++)
        if (&list->all.at[i] == chosen)
            keep = list->all.at[i], n = 1;
        else
            summary_release(&list->all.at[i]);
    if (n)
        list->all.at[0] = keep;
    list->all.n = n;
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
            total->kept++;
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
    if (opt_text(cli, OPT_BACKUP))
        choose(opt_text(cli, OPT_BACKUP), &list);
    else
        for (size_t i = 0; i < list.broken.n; i++, total->unreadable++)
            log_line(LOG_WARN, list.broken.at[i].why.hint, "backup %s: %s", list.broken.at[i].id,
                     list.broken.at[i].why.message);
    if (!backup_count(&list)) {
        log_debug("cluster '%s' has no backup to be copied", from->cluster);
        return ERR_OK;
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

/* What was asked for and not done. */
static ErrCode judge(const Cli *cli, const Repo *from, const CopyTotal *t, Err *err)
{
    const char *id = opt_text(cli, OPT_BACKUP);
    if (t->unreadable) {
        err_set(err, ERR_DAMAGED,
                "%" PRIu64 " backups in '%s' cannot be read and were not copied; all others were",
                t->unreadable, repo_url(from));
        return err_hint(err, "'pgdr verify' tells what is wrong with them");
    }
    if (t->backups || t->kept)
        return ERR_OK;
    if (id)
        err_set(err, ERR_NOT_FOUND, "there is no one backup '%s' in '%s'", id, repo_url(from));
    else
        err_set(err, ERR_NOT_FOUND, "there is no backup in '%s'", repo_url(from));
    return err_hint(err, "'pgdr info' shows the backups");
}

static void report(Cli *cli, const CopyTotal *t)
{
    char bytes[TIME_TEXT_LEN], wal_bytes[TIME_TEXT_LEN];
    json_t *doc = out_doc(&cli->out);
    json_object_set_new(doc, "backups_kept", json_integer((json_int_t)t->kept));
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
    return judge(cli, from, &total, err);
}
