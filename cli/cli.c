#include "cli/cli.h"

#include <errno.h>
#include <pwd.h>
#include <string.h>

#include "catalog/wal_helper.h"
#include "cli/display.h"
#include "cli/environment.h"

/* --- options --- */

static const Value nothing;

static const Value *value_of(const Cli *cli, OptId id)
{
    const Settings *s = cli->settings;
    const Section *section = &s->global;
    if (options[id].scope == IN_REPO)
        section = s->used.n ? s->used.at[0] : NULL;
    else if (options[id].scope == IN_CLUSTER)
        section = s->cluster;
    return section ? &section->at[id] : &nothing;
}

static const Value *repo_value_of(const Cli *cli, size_t i, OptId id)
{
    if (options[id].scope != IN_REPO || i >= cli->settings->used.n)
        abort(); /* a defect of the command, seen the first time it runs */
    return &cli->settings->used.at[i]->at[id];
}

static int64_t number_of(const Value *v, OptId id, OptType type)
{
    if (options[id].type != type)
        abort(); /* as above */
    return v->number;
}

static bool choice_is(const Value *v, OptId id, const char *word)
{
    for (int64_t i = 0; options[id].type == TYPE_CHOICE && options[id].choices[i]; i++)
        if (strcmp(options[id].choices[i], word) == 0)
            return v->source && v->number == i;
    abort(); /* as above */
}

const char *opt_text(const Cli *cli, OptId id)
{
    return value_of(cli, id)->text;
}

bool opt_bool(const Cli *cli, OptId id)
{
    return number_of(value_of(cli, id), id, TYPE_BOOL);
}

int64_t opt_int(const Cli *cli, OptId id)
{
    return number_of(value_of(cli, id), id, TYPE_INT);
}

uint64_t opt_size(const Cli *cli, OptId id)
{
    return (uint64_t)number_of(value_of(cli, id), id, TYPE_SIZE);
}

TimeUs opt_duration(const Cli *cli, OptId id)
{
    return number_of(value_of(cli, id), id, TYPE_DURATION);
}

bool opt_is(const Cli *cli, OptId id, const char *word)
{
    return choice_is(value_of(cli, id), id, word);
}

bool opt_given(const Cli *cli, OptId id)
{
    return value_of(cli, id)->source > FROM_DEFAULT;
}

bool opt_typed(const Cli *cli, OptId id)
{
    return value_of(cli, id)->source == FROM_COMMAND_LINE;
}

bool opt_taken(const Cli *cli, OptId id)
{
    return option_taken(id, cli->id);
}

const StrList *opt_list(const Cli *cli, OptId id)
{
    if (id != OPT_TABLESPACE_MAP)
        abort(); /* as above */
    return &cli->settings->tablespace_map;
}

size_t opt_repos(const Cli *cli)
{
    return cli->settings->used.n;
}

const char *opt_repo_name(const Cli *cli, size_t i)
{
    return cli->settings->used.at[i]->name;
}

void opt_repo_urls(const Cli *cli, StrList *ret)
{
    for (size_t i = 0; i < cli->settings->repos.n; i++)
        if (cli->settings->repos.at[i]->at[OPT_URL].text)
            vec_push(ret, mem_strdup(cli->settings->repos.at[i]->at[OPT_URL].text));
    for (size_t i = 0; i < opt_repos(cli); i++)
        if (!str_list_has(ret, opt_repo_text(cli, i, OPT_URL)))
            vec_push(ret, mem_strdup(opt_repo_text(cli, i, OPT_URL)));
}

const char *opt_repo_text(const Cli *cli, size_t i, OptId id)
{
    return repo_value_of(cli, i, id)->text;
}

bool opt_repo_bool(const Cli *cli, size_t i, OptId id)
{
    return number_of(repo_value_of(cli, i, id), id, TYPE_BOOL);
}

int64_t opt_repo_int(const Cli *cli, size_t i, OptId id)
{
    return number_of(repo_value_of(cli, i, id), id, TYPE_INT);
}

uint64_t opt_repo_size(const Cli *cli, size_t i, OptId id)
{
    return (uint64_t)number_of(repo_value_of(cli, i, id), id, TYPE_SIZE);
}

TimeUs opt_repo_duration(const Cli *cli, size_t i, OptId id)
{
    return number_of(repo_value_of(cli, i, id), id, TYPE_DURATION);
}

bool opt_repo_is(const Cli *cli, size_t i, OptId id, const char *word)
{
    return choice_is(repo_value_of(cli, i, id), id, word);
}

bool opt_repo_given(const Cli *cli, size_t i, OptId id)
{
    return repo_value_of(cli, i, id)->source > FROM_DEFAULT;
}

const char *opt_cluster(const Cli *cli)
{
    return cli->settings->cluster ? cli->settings->cluster->name : NULL;
}

/* --- start --- */

static bool on_terminal(void)
{
    return isatty(STDERR_FILENO);
}

static void log_start(const Cli *cli)
{
    LogLevel level = on_terminal() ? LOG_INFO : LOG_WARN;
    LogFormat format = on_terminal() ? LOG_PLAIN : LOG_TEXT;
    if (cli->settings) {
        if (opt_bool(cli, OPT_QUIET))
            level = LOG_ERROR;
        else if (opt_bool(cli, OPT_VERBOSE))
            level = LOG_DEBUG;
        else if (!opt_is(cli, OPT_LOG_LEVEL, "auto"))
            level = opt_is(cli, OPT_LOG_LEVEL, "error")  ? LOG_ERROR
                    : opt_is(cli, OPT_LOG_LEVEL, "warn") ? LOG_WARN
                    : opt_is(cli, OPT_LOG_LEVEL, "info") ? LOG_INFO
                                                         : LOG_DEBUG;
        if (!opt_is(cli, OPT_LOG_FORMAT, "auto"))
            format = opt_is(cli, OPT_LOG_FORMAT, "plain")  ? LOG_PLAIN
                     : opt_is(cli, OPT_LOG_FORMAT, "text") ? LOG_TEXT
                                                           : LOG_JSON;
    }
    log_init(level, format, STDERR_FILENO);
}

/* What is asked for, found even where the rest cannot be read. */
static bool json_wanted(const Args *args, char *const *env)
{
    const char *output = args_find(args, OPT_OUTPUT);
    if (!output)
        output = env_find(env, "PGDR_OUTPUT");
    return output && strcmp(output, "json") == 0;
}

/* "backup --help" is "help backup". */
static void args_redirect(Args *args)
{
    if (args->command == CMD_COUNT)
        return;
    const char *name = commands[args->command].name;
    if (args_find(args, OPT_HELP) && args->command != CMD_HELP) {
        args->command = CMD_HELP;
        args->words.n = 0;
        vec_push(&args->words, name);
    } else if (args_find(args, OPT_VERSION)) {
        args->command = CMD_VERSION;
        args->words.n = 0;
    }
}

void cli_leave_helper(const Cli *cli)
{
    VEC(char *) argv = {0};
    char helper[] = "--helper";
    vec_push(&argv, cli->argv[0]);
    vec_push(&argv, helper);
    for (char *const *at = cli->argv + 1; *at; at++)
        vec_push(&argv, *at);
    vec_push(&argv, NULL);
    wal_helper_start(argv.at, environ);
    vec_release(&argv);
}

ErrCode cli_start(Cli *cli, int argc, char *const *argv, char *const *env, Err *err)
{
    *cli = (Cli){.id = CMD_COUNT, .argv = argv, .status = -1};
    log_start(cli);
    ErrCode rc = args_parse(&cli->parsed, argc, argv, err);
    out_init(&cli->out, STDOUT_FILENO, json_wanted(&cli->parsed, env));
    cli->id = cli->parsed.command;
    if (rc != ERR_OK)
        return rc;
    args_redirect(&cli->parsed);
    cli->id = cli->parsed.command;
    cli->command = &commands[cli->id];
    cli->args = cli->parsed.words.at;
    cli->n_args = cli->parsed.words.n;
    TRY(settings_load(&cli->parsed, env, &cli->settings, err));
    cli->out.json = opt_is(cli, OPT_OUTPUT, "json");
    log_start(cli);
    for (size_t i = 0; i < cli->settings->warnings.n; i++)
        log_warn("%s", cli->settings->warnings.at[i]);
    return ERR_OK;
}

/* --- while it runs, and the end --- */

void cli_progress_begin(Cli *cli)
{
    const char *term = getenv("TERM");
    DisplaySpec spec = {.mode = DISPLAY_LOG, .fd = STDERR_FILENO};
    if (opt_bool(cli, OPT_QUIET))
        spec.mode = DISPLAY_OFF;
    else if (on_terminal() && term && strcmp(term, "dumb") != 0 &&
             !opt_is(cli, OPT_LOG_FORMAT, "json"))
        spec.mode = DISPLAY_LINE;
    else if (!log_enabled(LOG_INFO))
        spec.mode = DISPLAY_OFF;
    display_begin(&cli->progress, &spec);
}

void cli_progress_end(Cli *cli UNUSED)
{
    display_end();
}

void cli_explain(Err *err)
{
    if (err->code != ERR_ACCESS || err->hint[0] || geteuid() == 0)
        return;
    const struct passwd *pw = getpwuid(geteuid());
    err_hint(err,
             "pgdr runs as %s: is that the server's user, and may it enter the directories above?",
             pw ? pw->pw_name : "a user without a name");
}

/* A history file is the only thing that PostgreSQL asks for after it has removed its signal files.
 */
static bool history_asked(const Cli *cli)
{
    const char *file = cli->parsed.words.n ? cli->parsed.words.at[0] : "";
    size_t len = strlen(file), suffix = strlen(".history");
    return cli->id == CMD_ARCHIVE_GET && len > suffix &&
           strcmp(file + len - suffix, ".history") == 0;
}

bool cli_asker_goes_on(const Cli *cli)
{
    if (access("standby.signal", F_OK) == 0)
        return true;
    return history_asked(cli) && access("recovery.signal", F_OK) != 0;
}

bool cli_in_recovery(void)
{
    return access("standby.signal", F_OK) == 0 || access("recovery.signal", F_OK) == 0;
}

static int exit_status(const Cli *cli, ErrCode rc)
{
    if (cli->status >= 0)
        return cli->status;
    if (rc != ERR_OK && cli->id < CMD_COUNT && commands[cli->id].needs & FAILS_IN_DOUBT)
        return cli_asker_goes_on(cli) ? 1 : EXIT_DOUBT;
    return err_exit_status(rc);
}

int cli_finish(Cli *cli, ErrCode rc, Err *err)
{
    cli_progress_end(cli);
    if (rc != ERR_OK) {
        out_flush(&cli->out); /* what was found comes before what it means */
        cli_explain(err);
        log_err(LOG_ERROR, err);
        out_error(&cli->out, err);
    }
    int status = exit_status(cli, rc);
    ErrCode written = out_finish(&cli->out, err);
    if (written != ERR_OK) {
        if (cli->out.failed != EPIPE) /* the reader has had enough, and knows it */
            log_err(LOG_ERROR, err);
        if (status == 0)
            status = err_exit_status(written);
    }
    out_release(&cli->out);
    settings_free(cli->settings);
    args_release(&cli->parsed);
    return status;
}
