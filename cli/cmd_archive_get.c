/* pgdr archive-get: restore_command. */

#include <string.h>
#include <unistd.h>

#include "cli/ahead.h"
#include "cli/cli.h"
#include "cli/cluster.h"
#include "cli/repos.h"
#include "lib/common/file.h"
#include "restore/wal_ahead.h"
#include "restore/wal_fetcher.h"

/* While its helper is at work on what is asked for. A standby must not be kept from being promoted.
 */
#define PATIENCE (30 * US_PER_SECOND)
#define PATIENCE_OF_STANDBY (1 * US_PER_SECOND)
/* Segments that the helper fetches at the same time. */
#define FETCHERS_MAX 4

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

/*
 * Whether segments may be fetched before they are asked for. They are cut where the recovery leaves
 * their timeline, and a standby that was not told its way takes another one as soon as there is
 * one.
 */
static bool may_fetch_ahead(const Cli *cli, const WalGetSpec *spec)
{
    return opt_size(cli, OPT_WAL_AHEAD) && spec->recovering && strlen(spec->file) == 24 &&
           (spec->path || !wal_get_standby_mode(spec->data_dir));
}

static bool take_fetched(const WalHelper *h, const WalGetSpec *spec)
{
    PgControl control;
    Err ignored = {0};
    bool standby = wal_get_standby_mode(spec->data_dir);
    return control_read(spec->data_dir, &control, NULL, &ignored) == ERR_OK &&
           wal_ahead_take(h, spec->file, control.wal_segment_size, spec->to,
                          standby ? PATIENCE_OF_STANDBY : PATIENCE);
}

static ErrCode ask_repositories(Cli *cli, const WalGetSpec *spec, WalGetAnswer *ret, Err *err)
{
    cli_look_ahead(cli, spec->data_dir, spec->file);
    ErrCode rc = wal_get(spec, ret, err);
    cli_end_ahead(cli);
    return rc;
}

/* What was fetched before it was asked for, or what the repositories say. */
static ErrCode answer(Cli *cli, const WalGetSpec *spec, WalGetAnswer *ret, Err *err)
{
    WalHelper h = {.lock = -1};
    Err ignored = {0};
    char *wal_dir AUTO(mem_freep) = path_parent(spec->to);
    bool ahead = may_fetch_ahead(cli, spec) &&
                 wal_helper_init(&h, spec->data_dir, wal_dir, WAL_AHEAD_KIND, &ignored) == ERR_OK;
    bool runs = ahead && wal_helper_runs(&h);
    ErrCode rc = ERR_OK;
    if (runs && take_fetched(&h, spec)) {
        log_debug("%s was fetched before it was asked for", spec->file);
        *ret = WAL_GET_FOUND;
    } else {
        rc = ask_repositories(cli, spec, ret, err);
        if (rc == ERR_OK && *ret == WAL_GET_FOUND && runs)
            wal_ahead_tell(&h, spec->file);
        else if (rc == ERR_OK && ahead && (*ret == WAL_GET_FOUND || access(h.dir, F_OK) == 0))
            cli_leave_helper(cli); /* it also removes what a killed one left */
    }
    wal_helper_release(&h);
    return rc;
}

static ErrCode fetch_ahead(Cli *cli, const WalGetSpec *get, Err *err)
{
    char *wal_dir AUTO(mem_freep) = path_parent(get->to);
    WalFetcherSpec spec = {.get = *get,
                           .wal_dir = wal_dir,
                           .ahead = opt_size(cli, OPT_WAL_AHEAD),
                           .workers = MIN(cli_read_jobs(cli), FETCHERS_MAX)};
    spec.get.spool = NULL;
    spec.get.threads = 1;
    return wal_fetcher_run(&spec, err);
}

/* A server that is process 1, as in a container, inherits the helper, and takes a child that ends
 * with more than 1 for a crash of its own: it would begin recovery anew. */
static void be_helper(Cli *cli, const WalGetSpec *get)
{
    Err why = {0};
    if (fetch_ahead(cli, get, &why) != ERR_OK)
        log_err(LOG_DEBUG, &why);
    cli->status = 0;
}

static ErrCode archive_get(Cli *cli, const TimelinePath *path, Err *err)
{
    char *data_dir AUTO(mem_freep) = data_dir_of(cli->args[1]);
    char *spool AUTO(mem_freep) = NULL;
    WalGetAnswer got = WAL_GET_ABSENT;
    Lsn target_end = 0;
    if (opt_given(cli, OPT_TARGET_END))
        TRY(lsn_parse(opt_text(cli, OPT_TARGET_END), &target_end, err));
    if (!data_dir)
        TRY(cli_data_dir(cli, &data_dir, err));
    RepoSource repos = cli_repo_source(cli);
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
    if (opt_bool(cli, OPT_HELPER)) {
        be_helper(cli, &spec);
        return ERR_OK;
    }
    TRY(answer(cli, &spec, &got, err));
    json_object_set_new(out_doc(&cli->out), "found", json_boolean(got == WAL_GET_FOUND));
    if (got == WAL_GET_ABSENT) {
        log_info("%s is not archived", cli->args[0]);
        cli->status = 1;
    }
    return ERR_OK;
}

ErrCode cmd_archive_get(Cli *cli, Err *err)
{
    TimelinePath path = {0};
    ErrCode rc = ERR_OK;
    cli_start_light(cli);
    if (opt_given(cli, OPT_TIMELINE_PATH))
        rc = timeline_path_parse(opt_text(cli, OPT_TIMELINE_PATH), &path, err);
    if (rc == ERR_OK)
        rc = archive_get(cli, &path, err);
    vec_release(&path);
    return rc;
}
