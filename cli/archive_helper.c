#include "cli/archive_helper.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "archive/push_helper.h"
#include "archive/wal_push.h"
#include "archive/wal_ready.h"
#include "cli/fingerprint.h"
#include "cli/repos.h"
#include "cli/s3.h"
#include "lib/common/file.h"

/* Segments that the helper stores at the same time; behind a network more than there are
 * processors. */
#define PUSHERS_MAX 4

void push_call_init(PushCall *c, Cli *cli, const char *data_dir)
{
    Err why = {0};
    *c = (PushCall){.cli = cli, .data_dir = data_dir, .helper = {.lock = -1}};
    c->path = wal_push_path(cli->args[0], data_dir);
    c->wal_dir = path_parent(c->path);
    c->file = strrchr(c->path, '/') + 1;
    if (!opt_size(cli, OPT_WAL_AHEAD) || c->path[0] != '/')
        return;
    if (!opt_bool(cli, OPT_HELPER) && !wal_is_ready(c->wal_dir, c->file))
        return;
    c->may = wal_helper_init(&c->helper, data_dir, c->wal_dir, "push", &why) == ERR_OK;
    if (c->may)
        cli_fingerprint(cli, c->config);
    else
        log_err(LOG_DEBUG, &why);
}

void push_call_release(PushCall *c)
{
    wal_helper_release(&c->helper);
    free(c->path);
    free(c->wal_dir);
    *c = (PushCall){.helper = {.lock = -1}};
}

bool push_call_ask(const PushCall *c)
{
    struct stat st;
    Err why = {0};
    PushQuestion q = {.path = ""};
    if (!c->may || !wal_helper_runs(&c->helper) || stat(c->path, &st) != 0)
        return false;
    memcpy(q.config, c->config, sizeof(q.config));
    q.id = wal_file_id(&st);
    snprintf(q.path, sizeof(q.path), "%s", c->path);
    if (push_ask(&c->helper, &q, &why) == ERR_OK) {
        log_info("%s is stored already, by the process that wal-ahead has left behind", c->file);
        return true;
    }
    log_err(LOG_DEBUG, &why);
    return false;
}

static bool others_wait(const PushCall *c)
{
    StrList waiting AUTO(str_list_release) = {0};
    Err ignored = {0};
    if (wal_ready_list(c->wal_dir, &waiting, &ignored) != ERR_OK)
        return false;
    return waiting.n && wal_ready_compare(waiting.at[waiting.n - 1], c->file) > 0;
}

static bool any_in_s3(const Cli *cli)
{
    for (size_t i = 0; i < opt_repos(cli); i++)
        if (cli_is_s3(opt_repo_text(cli, i, OPT_URL)))
            return true;
    return false;
}

/* What S3 takes to begin, a helper pays once; and a directory is fast enough for one file. */
void push_call_leave_helper(const PushCall *c)
{
    if (!c->may || wal_helper_runs(&c->helper) || !(any_in_s3(c->cli) || others_wait(c)))
        return;
    log_debug("a process is left behind for what comes after %s", c->file);
    cli_leave_helper(c->cli);
}

ErrCode push_call_help(PushCall *c, Err *err)
{
    Cli *cli = c->cli;
    RepoSource repos = cli_repo_source(cli);
    PushHelperSpec spec = {.config = c->config,
                           .data_dir = c->data_dir,
                           .wal_dir = c->wal_dir,
                           .file = c->file,
                           .repos = &repos,
                           .ahead = opt_size(cli, OPT_WAL_AHEAD),
                           .level = (int)opt_int(cli, OPT_COMPRESS_LEVEL),
                           .workers = MIN(cli_read_jobs(cli), PUSHERS_MAX),
                           .threads = cli_jobs(cli)};
    if (!c->may)
        return err_set(err, ERR_REFUSED, "there is nothing to help with");
    return push_helper_run(&c->helper, &spec, err);
}
