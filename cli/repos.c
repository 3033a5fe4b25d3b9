#include "cli/repos.h"

#include <unistd.h>

#include "cli/ahead.h"
#include "cli/passphrase.h"
#include "cli/s3.h"
#include "lib/common/digest.h"
#include "lib/repo/key_store.h"
#include "lib/storage/drivers.h"

/* A repository is given a minute to come back; what takes longer is told. */
static const RetrySpec retries = {.attempts = 6,
                                  .first_pause = US_PER_SECOND / 4,
                                  .longest_pause = 10 * US_PER_SECOND,
                                  .total = 60 * US_PER_SECOND};
/* A standby asks again by itself; and it must not be kept from being promoted, when it asks four
 * times in a row, and once more. */
static const RetrySpec retries_of_standby = {.attempts = 3,
                                             .first_pause = US_PER_SECOND / 4,
                                             .longest_pause = US_PER_SECOND,
                                             .total = 2 * US_PER_SECOND};

/* One repository that is gone must not hold up every segment that another one has, or is to get:
 * PostgreSQL asks again. */
static const RetrySpec retries_of_several = {.attempts = 4,
                                             .first_pause = US_PER_SECOND / 4,
                                             .longest_pause = 2 * US_PER_SECOND,
                                             .total = 5 * US_PER_SECOND};

/* It only gives up: whoever waits for it does the same with all patience. */
static bool is_helper(const Cli *cli)
{
    return cli->id == CMD_ARCHIVE_PUSH && opt_bool(cli, OPT_HELPER);
}

/* Somebody looks on and wants to know what is wrong; all else outlives the restart of a server. */
static bool is_watched(CommandId id)
{
    return id == CMD_INIT || id == CMD_CHECK || id == CMD_INFO || id == CMD_REPO_LS ||
           id == CMD_REPO_GET;
}

/* A server that says nothing must not use up the whole time with its first silence. */
static RetrySpec retries_of_s3(const Cli *cli, bool standby)
{
    RetrySpec spec = retries;
    if (standby)
        return retries_of_standby;
    if (is_helper(cli))
        return retries_of_several;
    if ((cli->id == CMD_ARCHIVE_GET || cli->id == CMD_ARCHIVE_PUSH) && opt_repos(cli) > 1)
        return retries_of_several;
    spec.total = MAX(spec.total, 3 * opt_duration(cli, OPT_IO_TIMEOUT));
    if (!is_watched(cli->id))
        spec.attempts *= 2;
    return spec;
}

ErrCode cli_storage_open(const Cli *cli, size_t i, bool create, Storage **ret, Err *err)
{
    const char *url = opt_repo_text(cli, i, OPT_URL);
    bool standby = cli->id == CMD_ARCHIVE_GET && cli_asker_goes_on(cli);
    RetrySpec again = standby ? retries_of_standby : is_helper(cli) ? retries_of_several : retries;
    Storage *s = NULL;
    if (cli_is_s3(url)) {
        again = retries_of_s3(cli, standby);
        bool hurry = standby || (cli->id == CMD_ARCHIVE_GET && opt_repos(cli) > 1);
        TRY(cli_s3_open(cli, i, &again, hurry, &s, err));
        s = cli_ask_ahead(cli, s);
    } else {
        TRY(storage_posix_new(&s, url, create, err));
    }
    s = storage_retry_new(s, &again);
    if (opt_taken(cli, OPT_MAX_RATE) && opt_given(cli, OPT_MAX_RATE))
        s = storage_throttle_new(s, opt_size(cli, OPT_MAX_RATE));
    *ret = s;
    return ERR_OK;
}

RepoSpec cli_repo_spec(const Cli *cli, size_t i, const char *cluster)
{
    return (RepoSpec){.name = opt_repo_name(cli, i),
                      .cluster = cluster,
                      .cipher = opt_repo_is(cli, i, OPT_ENCRYPTION, "none") ? CIPHER_NONE
                                                                            : CIPHER_AES_256_GCM};
}

ErrCode cli_repo_open(Cli *cli, size_t i, const char *cluster, Repo **ret, Err *err)
{
    Passphrase passphrase AUTO(passphrase_release) = {.text = NULL};
    Storage *storage;
    RepoSpec spec = cli_repo_spec(cli, i, cluster);
    TRY(passphrase_of_repo(cli, i, &passphrase, err));
    KeySecret secret = passphrase_secret(&passphrase);
    spec.secret = passphrase_given(&passphrase) ? &secret : NULL;
    if (!(storage = cli_take_opened(cli, i)))
        TRY(cli_storage_open(cli, i, false, &storage, err));
    return repo_open(storage, &spec, ret, err);
}

ErrCode cli_repo_new_keys(Cli *cli, size_t i, Repo *repo, bool *ret_more, Err *err)
{
    Passphrase passphrase AUTO(passphrase_release) = {.text = NULL};
    TRY(passphrase_of_repo(cli, i, &passphrase, err));
    KeySecret secret = passphrase_secret(&passphrase);
    return keys_read_again(repo, passphrase_given(&passphrase) ? &secret : NULL, ret_more, err);
}

ErrCode cli_repo_open_without_key(Cli *cli, size_t i, const char *cluster, Repo **ret, Err *err)
{
    Storage *storage;
    RepoSpec spec = cli_repo_spec(cli, i, cluster);
    TRY(cli_storage_open(cli, i, false, &storage, err));
    return repo_open_without_key(storage, &spec, ret, err);
}

static ErrCode source_open(void *arg, unsigned i, Repo **ret, Err *err)
{
    Cli *cli = arg;
    return cli_repo_open(cli, i, opt_cluster(cli), ret, err);
}

static const char *source_name(void *arg, unsigned i)
{
    return opt_repo_name(arg, i);
}

RepoSource cli_repo_source(Cli *cli)
{
    return (RepoSource){
        .n = (unsigned)opt_repos(cli), .open = source_open, .name = source_name, .arg = cli};
}

#define NETWORK_JOBS 8

unsigned cli_read_jobs(const Cli *cli)
{
    unsigned jobs = cli_jobs(cli);
    for (size_t i = 0; i < opt_repos(cli) && !opt_given(cli, OPT_JOBS); i++)
        if (cli_is_s3(opt_repo_text(cli, i, OPT_URL)))
            jobs = MAX(jobs, NETWORK_JOBS);
    return jobs;
}

unsigned cli_jobs(const Cli *cli)
{
    if (opt_given(cli, OPT_JOBS))
        return (unsigned)opt_int(cli, OPT_JOBS);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    return cpus > 0 ? (unsigned)cpus : 1;
}

void cli_start_light(const Cli *cli)
{
    for (size_t i = 0; i < opt_repos(cli); i++)
        if (cli_is_s3(opt_repo_text(cli, i, OPT_URL)) ||
            !opt_repo_is(cli, i, OPT_ENCRYPTION, "none"))
            return;
    digest_init_light();
}
