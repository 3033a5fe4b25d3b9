/* pgdr archive-push and archive-get: archive_command and restore_command. */

#include <string.h>

#include "archive/wal_push.h"
#include "cli/cli.h"
#include "cli/cluster.h"
#include "cli/repos.h"
#include "restore/wal_get.h"

ErrCode cmd_archive_push(Cli *cli, Err *err)
{
    char *data_dir AUTO(mem_freep) = NULL;
    TRY(cli_data_dir(cli, &data_dir, err));
    RepoSource repos = cli_repo_source(cli);
    WalPushSpec spec = {.path = cli->args[0],
                        .data_dir = data_dir,
                        .repos = &repos,
                        .level = (int)opt_int(cli, OPT_COMPRESS_LEVEL),
                        .threads = cli_jobs(cli)};
    TRY(wal_push(&spec, err));
    json_object_set_new(out_doc(&cli->out), "archived", out_json_text(cli->args[0]));
    return ERR_OK;
}

static ErrCode archive_get(Cli *cli, const TimelinePath *path, Err *err)
{
    char *data_dir AUTO(mem_freep) = NULL;
    char *spool AUTO(mem_freep) = NULL;
    WalGetAnswer answer;
    Lsn target_end = 0;
    if (opt_given(cli, OPT_TARGET_END))
        TRY(lsn_parse(opt_text(cli, OPT_TARGET_END), &target_end, err));
    TRY(cli_data_dir(cli, &data_dir, err));
    RepoSource repos = cli_repo_source(cli);
    spool = mem_printf("%s/%s", opt_text(cli, OPT_SPOOL), opt_cluster(cli));
    WalGetSpec spec = {.file = cli->args[0],
                       .to = cli->args[1],
                       .data_dir = data_dir,
                       .path = path->n ? path : NULL,
                       .target_end = target_end,
                       .spool = spool,
                       .threads = cli_jobs(cli),
                       .repos = &repos};
    TRY(wal_get(&spec, &answer, err));
    json_object_set_new(out_doc(&cli->out), "found", json_boolean(answer == WAL_GET_FOUND));
    if (answer == WAL_GET_ABSENT) {
        log_info("%s is not archived", cli->args[0]);
        cli->status = 1;
    }
    return ERR_OK;
}

ErrCode cmd_archive_get(Cli *cli, Err *err)
{
    TimelinePath path = {0};
    ErrCode rc = ERR_OK;
    if (opt_given(cli, OPT_TIMELINE_PATH))
        rc = timeline_path_parse(opt_text(cli, OPT_TIMELINE_PATH), &path, err);
    if (rc == ERR_OK)
        rc = archive_get(cli, &path, err);
    vec_release(&path);
    return rc;
}
