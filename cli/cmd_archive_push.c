/* pgdr archive-push: archive_command. */

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive/wal_push.h"
#include "cli/ahead.h"
#include "cli/archive_helper.h"
#include "cli/cli.h"
#include "cli/cluster.h"
#include "cli/repos.h"
#include "lib/common/file.h"

/*
 * archive_command that names another server's cluster: the WAL would lie where no backup of this
 * server looks for it. The server's own directory need not be the configured one (a standby, a copy
 * elsewhere), but the same cluster is the same system.
 */
static ErrCode check_named_cluster(const Cli *cli, const char *data_dir, Err *err)
{
    PgControl here, there;
    struct stat mine, configured;
    Err why = {0};
    if (!opt_given(cli, OPT_DATA_DIRECTORY))
        return ERR_OK;
    const char *dir = opt_text(cli, OPT_DATA_DIRECTORY);
    if (stat(data_dir, &mine) != 0 || stat(dir, &configured) != 0 ||
        (mine.st_dev == configured.st_dev && mine.st_ino == configured.st_ino) ||
        control_read(data_dir, &here, NULL, &why) != ERR_OK ||
        control_read(dir, &there, NULL, &why) != ERR_OK || here.system_id == there.system_id)
        return ERR_OK;
    err_set(err, ERR_MISMATCH,
            "this server is system %" PRIu64
            ", but \"data-directory\" of cluster '%s', '%s', is %" PRIu64,
            here.system_id, opt_cluster(cli), dir, there.system_id);
    return err_hint(err,
                    "name this server's cluster in archive_command (--cluster), or correct "
                    "\"data-directory\" in [cluster %s]",
                    opt_cluster(cli));
}

static ErrCode push(Cli *cli, const char *data_dir, Err *err)
{
    RepoSource repos = cli_repo_source(cli);
    const char *slash = strrchr(cli->args[0], '/');
    cli_look_ahead(cli, data_dir, slash ? slash + 1 : cli->args[0]);
    WalPushSpec spec = {.path = cli->args[0],
                        .data_dir = data_dir,
                        .repos = &repos,
                        .level = (int)opt_int(cli, OPT_COMPRESS_LEVEL),
                        .threads = cli_jobs(cli)};
    ErrCode rc = wal_push(&spec, err);
    cli_end_ahead(cli);
    return rc;
}

/* Whatever it ends with is nobody's concern: the commands do by themselves what it has not done. */
static void be_helper(Cli *cli, PushCall *call)
{
    Err why = {0};
    cli_start_light(cli);
    if (push_call_help(call, &why) != ERR_OK)
        log_err(LOG_DEBUG, &why);
    cli->status = 0;
}

static ErrCode push_or_ask(Cli *cli, const PushCall *call, Err *err)
{
    if (push_call_ask(call))
        return ERR_OK;
    cli_start_light(cli);
    TRY(push(cli, call->data_dir, err));
    push_call_leave_helper(call);
    return ERR_OK;
}

ErrCode cmd_archive_push(Cli *cli, Err *err)
{
    char *data_dir AUTO(mem_freep) = NULL;
    PushCall call AUTO(push_call_release) = {.helper = {.lock = -1}};
    TRY(cli_data_dir(cli, &data_dir, err));
    TRY(check_named_cluster(cli, data_dir, err));
    push_call_init(&call, cli, data_dir);
    if (opt_bool(cli, OPT_HELPER)) {
        be_helper(cli, &call);
        return ERR_OK;
    }
    TRY(push_or_ask(cli, &call, err));
    json_object_set_new(out_doc(&cli->out), "archived", out_json_text(cli->args[0]));
    return ERR_OK;
}
