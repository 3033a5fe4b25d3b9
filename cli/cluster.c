#include "cli/cluster.h"

PgConnSpec cli_conn_spec(const Cli *cli)
{
    return (PgConnSpec){.host = opt_text(cli, OPT_HOST),
                        .port = opt_text(cli, OPT_PORT),
                        .user = opt_text(cli, OPT_USER),
                        .database = opt_text(cli, OPT_DATABASE)};
}

bool cli_primary_spec(const Cli *cli, PgConnSpec *ret)
{
    if (!opt_given(cli, OPT_PRIMARY))
        return false;
    *ret = (PgConnSpec){.conninfo = opt_text(cli, OPT_PRIMARY)};
    return true;
}

ErrCode cli_data_dir(const Cli *cli, char **ret, Err *err)
{
    if (access("global/pg_control", F_OK) == 0) {
        *ret = mem_strdup(".");
        return ERR_OK;
    }
    if (opt_given(cli, OPT_DATA_DIRECTORY)) {
        *ret = mem_strdup(opt_text(cli, OPT_DATA_DIRECTORY));
        return ERR_OK;
    }
    err_set(err, ERR_CONFIG, "the current directory is no data directory, and none is configured");
    return err_hint(err,
                    "PostgreSQL starts this command in its data directory; by hand, set "
                    "\"data-directory\" in [cluster %s]",
                    opt_cluster(cli));
}
