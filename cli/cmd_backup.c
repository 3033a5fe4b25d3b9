/* pgdr backup */

#include <inttypes.h>

#include "archive/backup.h"
#include "cli/cli.h"
#include "cli/cluster.h"
#include "cli/repos.h"
#include "cli/show_backup.h"

static ErrCode new_keys(void *arg, Repo *repo, bool *ret_more, Err *err)
{
    return cli_repo_new_keys(arg, 0, repo, ret_more, err);
}

static ErrCode run_backup(Cli *cli, Repo *repo, BackupSummary *summary, Err *err)
{
    PgConnSpec primary;
    BackupSpec spec = {.repo = repo,
                       .conn = cli_conn_spec(cli),
                       .primary = cli_primary_spec(cli, &primary) ? &primary : NULL,
                       .data_dir = opt_text(cli, OPT_DATA_DIRECTORY),
                       .label = opt_text(cli, OPT_LABEL),
                       .full = opt_is(cli, OPT_BACKUP_TYPE, "full"),
                       .jobs = cli_jobs(cli),
                       .level = (int)opt_int(cli, OPT_COMPRESS_LEVEL),
                       .archive_timeout = opt_duration(cli, OPT_ARCHIVE_TIMEOUT),
                       .grace = GRACE_DEFAULT,
                       .new_keys = new_keys,
                       .new_keys_arg = cli,
                       .progress = &cli->progress};
    cli_progress_begin(cli);
    ErrCode rc = backup_run(&spec, summary, err);
    cli_progress_end(cli);
    return rc;
}

ErrCode cmd_backup(Cli *cli, Err *err)
{
    Repo *repo AUTO(repo_closep) = NULL;
    BackupSummary s AUTO(summary_release) = {.cluster = NULL};
    char size[TIME_TEXT_LEN], stored[TIME_TEXT_LEN], took[TIME_TEXT_LEN];
    TRY(cli_repo_open(cli, 0, opt_cluster(cli), &repo, err));
    TRY(run_backup(cli, repo, &s, err));
    log_info("backup %s of %s is complete: %s stored in '%s', in %s", s.id,
             size_format(s.size, size), size_format(s.stored, stored), repo_url(repo),
             duration_format(s.stop_time - s.start_time, took));
    json_object_set_new(out_doc(&cli->out), "backup", backup_json(&s));
    if (!s.damaged_pages)
        return ERR_OK;
    err_set(err, ERR_PAGES,
            "the backup is complete, but %" PRIu64 " pages of the cluster have wrong checksums",
            s.damaged_pages);
    return err_hint(err, "they are damaged in the cluster itself and are in the backup as they "
                         "are; the log names them, an older backup may have them whole");
}
