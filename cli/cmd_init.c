/* pgdr init: makes every configured repository, or checks that it fits. */

#include <errno.h>
#include <pwd.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "cli/passphrase.h"
#include "cli/repos.h"
#include "lib/common/file.h"
#include "lib/repo/key_store.h"

/* What root makes is to belong to the server's own user, who archives to it. */
static ErrCode make_for_owner(const Cli *cli, const char *url, Err *err)
{
    struct stat data, there;
    if (geteuid() != 0 || !opt_given(cli, OPT_DATA_DIRECTORY) ||
        stat(opt_text(cli, OPT_DATA_DIRECTORY), &data) != 0)
        return ERR_OK;
    bool existed = stat(url, &there) == 0;
    if (!existed) {
        char *parent AUTO(mem_freep) = path_parent(url);
        TRY(dir_make(parent, 0755, err));
        TRY(dir_make(url, 0750, err));
        if (chown(url, data.st_uid, data.st_gid) != 0)
            return err_errno(err, errno, "cannot set the owner of '%s'", url);
    } else if (there.st_uid != data.st_uid) {
        const struct passwd *pw = getpwuid(data.st_uid);
        char *hint AUTO(mem_freep) =
            mem_printf("chown -R %s '%s'", pw ? pw->pw_name : "OWNER-OF-THE-DATA-DIRECTORY", url);
        log_line(LOG_WARN, hint,
                 "'%s' does not belong to the server's user: it cannot archive to it", url);
    }
    return ERR_OK;
}

static ErrCode mend_keys(Repo *repo, const KeySecret *secret, Err *err)
{
    KeysMended mended;
    TRY(keys_mend(repo, secret, &mended, err));
    if (mended.copies)
        log_warn("copies of keys that were missing or damaged in '%s', and are written again: %zu",
                 repo_url(repo), mended.copies);
    if (mended.beside)
        log_warn("copies of the keys beside backups in '%s' that lacked keys, and are complete "
                 "now: %zu",
                 repo_url(repo), mended.beside);
    return ERR_OK;
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
    if (opt_repo_text(cli, i, OPT_URL)[0] == '/')
        TRY(make_for_owner(cli, opt_repo_text(cli, i, OPT_URL), err));
    TRY(cli_storage_open(cli, i, true, &storage, err));
    TRY(repo_init(storage, &spec, &repo, &existed, err));
    const char *url = repo_url(repo);
    if (existed)
        TRY(mend_keys(repo, spec.secret, err));
    if (existed)
        log_info("repository '%s' in '%s' is there already, and fits", repo->name, url);
    else
        log_info("repository '%s' is made in '%s'", repo->name, url);
    json_array_append_new(list, json_pack("{s:s,s:o,s:b}", "name", repo->name, "url",
                                          out_json_text(url), "existed", existed));
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
