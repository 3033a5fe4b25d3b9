#include "cli/s3.h"

#include <stdlib.h>
#include <string.h>

#include "cli/conffile.h"
#include "lib/common/digest.h"
#include "lib/common/file.h"

#define CONNECT_TIMEOUT (10 * US_PER_SECOND)
#define HURRIED_TIMEOUT (5 * US_PER_SECOND)

bool cli_is_s3(const char *url)
{
    return strncmp(url, "s3://", 5) == 0;
}

/* --- the file of shared credentials --- */

typedef struct Credentials {
    char *key, *secret, *token;
} Credentials;

static void secret_free(char *text)
{
    if (text)
        secret_wipe(text, strlen(text));
    free(text);
}

static void credentials_release(Credentials *c)
{
    secret_free(c->key);
    secret_free(c->secret);
    secret_free(c->token);
}

static void keep(char **slot, const char *value)
{
    secret_free(*slot);
    *slot = mem_strdup(value);
}

/* "~/.aws/credentials"; NULL where there is no home. The caller frees. */
static char *usual_file(void)
{
    const char *home = getenv("HOME");
    return home && *home == '/' ? mem_printf("%s/.aws/credentials", home) : NULL;
}

static ErrCode no_key(const Cli *cli, size_t i, const char *file, Err *err)
{
    err_set(err, ERR_CONFIG, "there is no access key for '%s'", opt_repo_text(cli, i, OPT_URL));
    return err_hint(err,
                    "set s3-key and s3-secret in [repo %s] (or AWS_ACCESS_KEY_ID and "
                    "AWS_SECRET_ACCESS_KEY), or write '%s'",
                    opt_repo_name(cli, i), file ? file : "~/.aws/credentials");
}

static void profile_read(const ConfFile *file, const char *profile, Credentials *ret)
{
    for (size_t n = 0; n < file->entries.n; n++) {
        const ConfEntry *e = &file->entries.at[n];
        if (!e->key || !e->section || strcmp(e->section, profile) != 0)
            continue;
        if (strcmp(e->key, "aws_access_key_id") == 0)
            keep(&ret->key, e->value);
        else if (strcmp(e->key, "aws_secret_access_key") == 0)
            keep(&ret->secret, e->value);
        else if (strcmp(e->key, "aws_session_token") == 0)
            keep(&ret->token, e->value);
    }
}

static ErrCode credentials_read(const Cli *cli, size_t i, Credentials *ret, Err *err)
{
    const char *named = opt_repo_text(cli, i, OPT_S3_CREDENTIALS_FILE);
    const char *profile = opt_repo_text(cli, i, OPT_S3_PROFILE);
    char *path AUTO(mem_freep) = named ? mem_strdup(named) : usual_file();
    ConfFile file AUTO(conf_file_release) = {0};
    if (!path)
        return no_key(cli, i, path, err);
    ErrCode rc = conf_file_read(path, &file, err);
    if (rc == ERR_NOT_FOUND && !named)
        return no_key(cli, i, path, err);
    if (rc != ERR_OK)
        return err_wrap(err, "cannot read the access key of the repository %s",
                        opt_repo_name(cli, i));
    profile_read(&file, profile, ret);
    if (ret->key && ret->secret)
        return ERR_OK;
    err_set(err, ERR_CONFIG, "'%s' has no aws_access_key_id and aws_secret_access_key in [%s]",
            path, profile);
    return err_hint(err, "add them, or choose another section with s3-profile in [repo %s]",
                    opt_repo_name(cli, i));
}

/* Half of a pair must not be filled up from elsewhere. */
static ErrCode credentials_get(const Cli *cli, size_t i, S3Spec *spec, Credentials *own, Err *err)
{
    spec->key = opt_repo_text(cli, i, OPT_S3_KEY);
    spec->secret = opt_repo_text(cli, i, OPT_S3_SECRET);
    spec->token = opt_repo_text(cli, i, OPT_S3_TOKEN);
    if (!spec->key != !spec->secret) {
        err_set(err, ERR_CONFIG, "the repository %s has s3-%s without s3-%s", opt_repo_name(cli, i),
                spec->key ? "key" : "secret", spec->key ? "secret" : "key");
        return err_hint(err, "set both in [repo %s]", opt_repo_name(cli, i));
    }
    if (spec->key)
        return ERR_OK;
    TRY(credentials_read(cli, i, own, err));
    spec->key = own->key;
    spec->secret = own->secret;
    spec->token = own->token;
    return ERR_OK;
}

/* --- the storage --- */

ErrCode cli_s3_open(const Cli *cli, size_t i, const RetrySpec *retry, bool hurry, Storage **ret,
                    Err *err)
{
    Credentials own AUTO(credentials_release) = {0};
    const char *at = opt_repo_text(cli, i, OPT_URL) + strlen("s3://");
    size_t len = strcspn(at, "/");
    char *bucket AUTO(mem_freep) = mem_strndup(at, len);
    TimeUs silence = opt_duration(cli, OPT_IO_TIMEOUT);
    S3Spec spec = {
        .endpoint = opt_repo_text(cli, i, OPT_S3_ENDPOINT),
        .region = opt_repo_text(cli, i, OPT_S3_REGION),
        .bucket = bucket,
        .prefix = at[len] ? at + len + 1 : NULL,
        .style = opt_repo_is(cli, i, OPT_S3_STYLE, "path") ? S3_STYLE_PATH : S3_STYLE_HOST,
        .signature =
            opt_repo_is(cli, i, OPT_S3_SIGNATURE, "v2") ? S3_SIGNATURE_V2 : S3_SIGNATURE_V4,
        .ca_file = opt_repo_text(cli, i, OPT_S3_CA_FILE),
        .verify_tls = opt_repo_bool(cli, i, OPT_S3_VERIFY_TLS),
        .unsigned_payload = opt_repo_bool(cli, i, OPT_S3_UNSIGNED_PAYLOAD),
        .connect_timeout = MIN(silence, hurry ? HURRIED_TIMEOUT : CONNECT_TIMEOUT),
        .stall_timeout = hurry ? MIN(silence, HURRIED_TIMEOUT) : silence,
        .retry = retry,
    };
    TRY(credentials_get(cli, i, &spec, &own, err));
    return storage_s3_new(ret, &spec, err);
}
