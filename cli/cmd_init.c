/* pgdr init: makes every configured repository, or checks that it fits. */

#include <sys/stat.h>

#include "cli/cli.h"
#include "cli/passphrase.h"
#include "cli/repos.h"

/* A repository made by root is of no use to the server's own user. */
static void warn_owner(const Cli *cli, const char *url)
{
    struct stat data, repo;
    if (geteuid() != 0 || !opt_given(cli, OPT_DATA_DIRECTORY) ||
        stat(opt_text(cli, OPT_DATA_DIRECTORY), &data) != 0 || stat(url, &repo) != 0 ||
        data.st_uid == repo.st_uid)
        return;
    log_line(LOG_WARN, "chown -R to the owner of the data directory",
             "'%s' belongs to root: the "
             "server cannot archive to it",
             url);
}

static ErrCode init_one(Cli *cli, size_t i, json_t *list, Err *err)
{
    Passphrase passphrase AUTO(passphrase_release) = {.text = NULL};
    Storage *storage;
    Repo *repo AUTO(repo_closep) = NULL;
    RepoSpec spec = cli_repo_spec(cli, i, NULL);
    bool existed;
    TRY(passphrase_of_repo(cli, i, &passphrase, err));
    KeySecret secret = passphrase_secret(&passphrase);
    spec.secret = passphrase_given(&passphrase) ? &secret : NULL;
    TRY(cli_storage_open(cli, i, true, &storage, err));
    TRY(repo_init(storage, &spec, &repo, &existed, err));
    const char *url = repo_url(repo);
    if (existed)
        log_info("repository '%s' in '%s' is there already, and fits", repo->name, url);
    else
        log_info("repository '%s' is made in '%s'", repo->name, url);
    json_array_append_new(list, json_pack("{s:s,s:o,s:b}", "name", repo->name, "url",
                                          out_json_text(url), "existed", existed));
    warn_owner(cli, url);
    return ERR_OK;
}

ErrCode cmd_init(Cli *cli, Err *err)
{
    json_t *list = json_array();
    json_object_set_new(out_doc(&cli->out), "repositories", list);
    if (opt_cluster(cli))
        TRY(cluster_name_check(opt_cluster(cli), err));
    for (size_t i = 0; i < opt_repos(cli); i++)
        TRY(init_one(cli, i, list, err));
    return ERR_OK;
}
