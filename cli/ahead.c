#include "cli/ahead.h"

#include <signal.h>
#include <string.h>

#include "catalog/wal_publish.h"
#include "cli/repos.h"
#include "cli/s3.h"
#include "lib/pg/control.h"
#include "lib/pg/wal_name.h"

/* Segments of the usual size and what belongs to them. */
#define OBJECT_MAX (20 * MIB)

static void note(Cli *cli, char *prefix, bool fetch)
{
    vec_push(&cli->ahead, (CliHint){.prefix = mem_printf("%s/%s", opt_cluster(cli), prefix),
                                    .fetch_max = fetch ? OBJECT_MAX : 0});
    free(prefix);
}

/* What cannot be opened is tried again, and told, when it is needed. */
static void *open_all(void *arg)
{
    Cli *cli = arg;
    for (size_t i = 0; i < opt_repos(cli); i++) {
        Storage *s = NULL;
        Err ignored = {0};
        if (cli_is_s3(opt_repo_text(cli, i, OPT_URL)) &&
            cli_storage_open(cli, i, false, &s, &ignored) != ERR_OK)
            s = NULL;
        vec_push(&cli->opened, s);
    }
    return NULL;
}

/* Loading the library that speaks to a server takes as long as compressing a third of a segment: it
 * is done beside whatever the command does first. */
static void open_all_beside(Cli *cli)
{
    sigset_t all, old;
    bool any = false;
    for (size_t i = 0; i < opt_repos(cli) && !any; i++)
        any = cli_is_s3(opt_repo_text(cli, i, OPT_URL));
    if (!any)
        return;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are for the main thread */
    cli->opening = pthread_create(&cli->opener, NULL, open_all, cli) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!cli->opening)
        open_all(cli);
}

static void wait_until_opened(Cli *cli)
{
    if (cli->opening)
        pthread_join(cli->opener, NULL);
    cli->opening = false;
}

void cli_look_ahead(Cli *cli, const char *data_dir, const char *file)
{
    PgControl control;
    WalStore store;
    Err ignored = {0};
    bool get = cli->id == CMD_ARCHIVE_GET;
    if (control_read(data_dir, &control, NULL, &ignored) != ERR_OK)
        return;
    WalName name = wal_name_parse(file, control.wal_segment_size);
    if (name.kind == WAL_NAME_OTHER)
        return;
    wal_store_init(&store, NULL, control.system_id, control.wal_segment_size);
    vec_push(&cli->ahead, (CliHint){.prefix = mem_strdup("keys/"), .fetch_max = MIB});
    if (name.kind == WAL_NAME_SEGMENT)
        note(cli, wal_frozen_prefix(&store, name.tli), false);
    if (get)
        note(cli, wal_find_prefix(&store, file), true);
    if (get && name.kind == WAL_NAME_HISTORY)
        note(cli, wal_histories_prefix(&store), false);
    open_all_beside(cli);
}

Storage *cli_take_opened(Cli *cli, size_t i)
{
    wait_until_opened(cli);
    return i < cli->opened.n ? steal_ptr(&cli->opened.at[i]) : NULL;
}

void cli_end_ahead(Cli *cli)
{
    wait_until_opened(cli);
    for (size_t i = 0; i < cli->opened.n; i++)
        storage_free(cli->opened.at[i]);
    vec_release(&cli->opened);
    for (size_t i = 0; i < cli->ahead.n; i++)
        free(cli->ahead.at[i].prefix);
    vec_release(&cli->ahead);
}

Storage *cli_ask_ahead(const Cli *cli, Storage *s)
{
    if (!cli->ahead.n)
        return s;
    s = storage_ahead_new(s);
    for (size_t i = 0; i < cli->ahead.n; i++)
        storage_ahead_list(s, cli->ahead.at[i].prefix, cli->ahead.at[i].fetch_max);
    return s;
}
