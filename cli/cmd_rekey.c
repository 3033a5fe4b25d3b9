/* pgdr repo rekey: a new passphrase, a new data key. */

#include "cli/cli.h"
#include "cli/passphrase.h"
#include "cli/repos.h"
#include "lib/repo/key_store.h"

ErrCode cmd_repo_rekey(Cli *cli, Err *err)
{
    Repo *repo AUTO(repo_closep) = NULL;
    Passphrase old AUTO(passphrase_release) = {.text = NULL};
    Passphrase new AUTO(passphrase_release) = {.text = NULL};
    RepoSpec spec = cli_repo_spec(cli, 0, NULL);
    bool changes = passphrase_new(cli, &new), keep = opt_bool(cli, OPT_KEEP_KEY);
    if (new.file &&new.command)
        return err_set(err, ERR_USAGE, "the new passphrase is given in two ways");
    if (keep && !changes)
        return err_set(err, ERR_USAGE,
                       "with --keep-key and no new passphrase nothing would change");
    TRY(cli_repo_open(cli, 0, NULL, &repo, err));
    TRY(passphrase_of_repo(cli, 0, &old, err));
    KeySecret was = passphrase_secret(&old), is = passphrase_secret(&new);
    spec.secret = &was;
    TRY(repo_rekey(repo, &spec, changes ? &is : NULL, !keep, err));
    log_info("repository '%s' has %s%s%s", repo->name, changes ? "a new passphrase" : "",
             changes && !keep ? " and " : "", keep ? "" : "a new data key");
    if (changes)
        log_info("set the new passphrase in the configuration of every host, and keep a copy of it "
                 "away from them");
    json_object_set_new(out_doc(&cli->out), "new_passphrase", json_boolean(changes));
    json_object_set_new(out_doc(&cli->out), "new_key", json_boolean(!keep));
    return ERR_OK;
}
