#include "cli/passphrase.h"

#include <string.h>
#include <sys/stat.h>

#include "cli/passphrase_command.h"
#include "lib/common/digest.h"
#include "lib/common/file.h"

#define PASSPHRASE_MAX (4 * KIB)

static char *first_line(const Buf *text)
{
    size_t n = 0;
    while (n < text->len && text->data[n] != '\n' && text->data[n] != '\r')
        n++;
    return mem_strndup((const char *)text->data, n);
}

static ErrCode from_file(const char *path, char **ret, Err *err)
{
    Buf text AUTO(buf_release) = {0};
    struct stat st;
    if (file_read_all(path, PASSPHRASE_MAX, &text, err) != ERR_OK) {
        err_wrap(err, "cannot read the passphrase");
        if (err->code != ERR_NOT_FOUND)
            return err->code;
        return err_hint(err,
                        "to make a new one: (umask 077; pgdr keygen >'%s'); keep a copy of it "
                        "away from this host",
                        path);
    }
    if (stat(path, &st) == 0 && st.st_mode & 0007) {
        char *hint AUTO(mem_freep) = mem_printf("chmod o-rwx '%s'", path);
        log_line(LOG_WARN, hint, "everybody can read the passphrase in '%s'", path);
    }
    buf_reserve(&text, 1);
    *ret = first_line(&text);
    secret_wipe(text.data, text.len);
    return ERR_OK;
}

static ErrCode from_command(const Passphrase *p, char **ret, Err *err)
{
    Buf text AUTO(buf_release) = {0};
    ErrCode rc = passphrase_command_run(p->command, PASSPHRASE_MAX, p->time_limit, &text, err);
    if (rc == ERR_OK)
        *ret = first_line(&text);
    if (text.data)
        secret_wipe(text.data, text.len);
    return rc;
}

static ErrCode passphrase_get(void *arg, char **ret, Err *err)
{
    const Passphrase *p = arg;
    if (p->text) {
        *ret = mem_strdup(p->text);
        return ERR_OK;
    }
    return p->file ? from_file(p->file, ret, err) : from_command(p, ret, err);
}

/* A place that is emptied when the machine starts. */
static char *cache_directory(void)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (runtime && *runtime == '/' && access(runtime, W_OK) == 0)
        return path_join(runtime, "pgdr");
    return mem_printf("/dev/shm/pgdr-%ld", (long)geteuid());
}

ErrCode passphrase_of_repo(const Cli *cli, size_t i, Passphrase *ret, Err *err)
{
    *ret = (Passphrase){.text = opt_repo_text(cli, i, OPT_PASSPHRASE),
                        .file = opt_repo_text(cli, i, OPT_PASSPHRASE_FILE),
                        .command = opt_repo_text(cli, i, OPT_PASSPHRASE_COMMAND),
                        .time_limit = opt_duration(cli, OPT_IO_TIMEOUT)};
    int ways = (ret->text != NULL) + (ret->file != NULL) + (ret->command != NULL);
    if (ways > 1)
        return err_set(err, ERR_CONFIG,
                       "the passphrase of repository '%s' is given in %d ways: "
                       "passphrase, passphrase-file, passphrase-command",
                       opt_repo_name(cli, i), ways);
    if (ways && opt_repo_bool(cli, i, OPT_KEY_CACHE))
        ret->cache_dir = cache_directory();
    return ERR_OK;
}

bool passphrase_new(const Cli *cli, Passphrase *ret)
{
    *ret = (Passphrase){.file = opt_text(cli, OPT_NEW_PASSPHRASE_FILE),
                        .command = opt_text(cli, OPT_NEW_PASSPHRASE_COMMAND),
                        .time_limit = opt_duration(cli, OPT_IO_TIMEOUT)};
    return ret->file || ret->command;
}

KeySecret passphrase_secret(Passphrase *p)
{
    return (KeySecret){.passphrase = passphrase_get,
                       .arg = p,
                       .costly = p->command != NULL,
                       .cache_dir = p->cache_dir};
}

bool passphrase_given(const Passphrase *p)
{
    return p->text || p->file || p->command;
}

void passphrase_release(Passphrase *p)
{
    free(p->cache_dir);
}
