/* pgdr archive-push and archive-get: archive_command and restore_command. */

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive/wal_push.h"
#include "cli/ahead.h"
#include "cli/cli.h"
#include "cli/cluster.h"
#include "cli/repos.h"
#include "cli/s3.h"
#include "lib/common/digest.h"
#include "lib/common/file.h"
#include "restore/wal_get.h"

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

/* Directories without encryption need no more of OpenSSL than SHA-256 as a check sum. */
static void start_light(const Cli *cli)
{
    for (size_t i = 0; i < opt_repos(cli); i++)
        if (cli_is_s3(opt_repo_text(cli, i, OPT_URL)) ||
            !opt_repo_is(cli, i, OPT_ENCRYPTION, "none"))
            return;
    digest_init_light();
}

ErrCode cmd_archive_push(Cli *cli, Err *err)
{
    start_light(cli);
    char *data_dir AUTO(mem_freep) = NULL;
    TRY(cli_data_dir(cli, &data_dir, err));
    TRY(check_named_cluster(cli, data_dir, err));
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
    TRY(rc);
    json_object_set_new(out_doc(&cli->out), "archived", out_json_text(cli->args[0]));
    return ERR_OK;
}

/* The data directory in whose pg_wal the destination lies, or NULL: pg_rewind works from anywhere,
 * on any data directory. The caller frees. */
static char *data_dir_of(const char *destination)
{
    char *wal_dir AUTO(mem_freep) = path_parent(destination);
    char *data_dir AUTO(mem_freep) = path_parent(wal_dir);
    char *control AUTO(mem_freep) = path_join(data_dir, "global/pg_control");
    size_t len = strlen(wal_dir);
    if (len < 6 || strcmp(wal_dir + len - 6, "pg_wal") != 0 || access(control, F_OK) != 0)
        return NULL;
    return steal_ptr(&data_dir);
}

static ErrCode archive_get(Cli *cli, const TimelinePath *path, Err *err)
{
    char *data_dir AUTO(mem_freep) = data_dir_of(cli->args[1]);
    char *spool AUTO(mem_freep) = NULL;
    WalGetAnswer answer;
    Lsn target_end = 0;
    if (opt_given(cli, OPT_TARGET_END))
        TRY(lsn_parse(opt_text(cli, OPT_TARGET_END), &target_end, err));
    if (!data_dir)
        TRY(cli_data_dir(cli, &data_dir, err));
    RepoSource repos = cli_repo_source(cli);
    cli_look_ahead(cli, data_dir, cli->args[0]);
    spool = mem_printf("%s/%s", opt_text(cli, OPT_SPOOL), opt_cluster(cli));
    WalGetSpec spec = {.file = cli->args[0],
                       .to = cli->args[1],
                       .data_dir = data_dir,
                       .recovering = cli_in_recovery(),
                       .path = path->n ? path : NULL,
                       .target_end = target_end,
                       .spool = spool,
                       .threads = cli_jobs(cli),
                       .repos = &repos};
    ErrCode rc = wal_get(&spec, &answer, err);
    cli_end_ahead(cli);
    TRY(rc);
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
    start_light(cli);
    if (opt_given(cli, OPT_TIMELINE_PATH))
        rc = timeline_path_parse(opt_text(cli, OPT_TIMELINE_PATH), &path, err);
    if (rc == ERR_OK)
        rc = archive_get(cli, &path, err);
    vec_release(&path);
    return rc;
}
