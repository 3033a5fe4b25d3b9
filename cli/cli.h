#ifndef PGDR_CLI_CLI_H
#define PGDR_CLI_CLI_H

/*
 * What a command gets, and the few things it may do besides its work.
 *
 * A command is `ErrCode cmd_x(Cli *cli, Err *err)` in cli/cmd_x.c. It reads its options with the
 * accessors below, fills small structs for the layers beneath, writes its result to &cli->out, and
 * returns. It prints no error and never exits: main() logs *err, adds it to the JSON object, and
 * exits with err_exit_status() of what was returned, unless cli->status says otherwise.
 *
 * What appears where: the result of a command on standard output; everything else on standard
 * error. On a terminal that is progress, information and warnings; otherwise (cron, systemd,
 * PostgreSQL's archiver) only warnings and errors, unless log-level says more. So a command whose
 * purpose is to do something prints nothing when all is well and nobody watches: it reports with
 * log_info(). One whose purpose is to show something prints it with out_text().
 */

#include <pthread.h>

#include "cli/findings.h"
#include "cli/output.h"
#include "cli/settings.h"
#include "cli/table.h"
#include "lib/common/log.h"
#include "lib/common/progress.h"

/* See cli/ahead.h. */
typedef struct CliHint {
    char *prefix; /* of names in the repository */
    size_t fetch_max;
} CliHint;

typedef struct Cli {
    CommandId id;
    const Command *command;
    char *const *argv;       /* the whole command line */
    const char *const *args; /* what follows the options; the table bounds how many */
    size_t n_args;
    Output out;
    Progress progress; /* handed to the layers below */
    int status;        /* exit status when it is not to be the one of the error; -1 otherwise */
    Args parsed;       /* this and the settings are read through the accessors */
    Settings *settings;
    VEC(CliHint) ahead;
    /* One a repository, or NULL; cli_end_ahead() frees those that nobody took. */
    VEC(struct Storage *) opened;
    pthread_t opener; /* fills it, while `opening` */
    bool opening;
} Cli;

/* Every command of the table. */
#define COMMAND(id, function, ...) ErrCode function(Cli *cli, Err *err);
#include "cli/commands.def"
#undef COMMAND

/*
 * The values in effect. An option of a repository is that of the chosen one, an option of a cluster
 * that of the chosen one, and not set when none is. The accessor must fit the option's type.
 */
const char *opt_text(const Cli *cli, OptId id); /* any type; NULL when not set */
bool opt_bool(const Cli *cli, OptId id);        /* false when not set */
int64_t opt_int(const Cli *cli, OptId id);      /* 0 when not set */
uint64_t opt_size(const Cli *cli, OptId id);    /* bytes; 0 when not set */
TimeUs opt_duration(const Cli *cli, OptId id);  /* 0 when not set */
/* True when a choice is `word`, which must be one of its words. */
bool opt_is(const Cli *cli, OptId id, const char *word);
/* True when it comes from anywhere but the default. */
bool opt_given(const Cli *cli, OptId id);
/* True when it stands on the command line. */
bool opt_typed(const Cli *cli, OptId id);
/* Whether the command takes it: for code that several commands share. */
bool opt_taken(const Cli *cli, OptId id);
/* All values of a repeatable option, in order. */
const StrList *opt_list(const Cli *cli, OptId id);

/*
 * The repositories in effect: all in the file's order, or only the chosen one when --repo or --url
 * is given. Number 0 is the chosen one, to which the accessors above apply.
 */
size_t opt_repos(const Cli *cli);
const char *opt_repo_name(const Cli *cli, size_t i);
/* The URLs of all that are configured or in effect, appended. */
void opt_repo_urls(const Cli *cli, StrList *ret);
const char *opt_repo_text(const Cli *cli, size_t i, OptId id);
bool opt_repo_bool(const Cli *cli, size_t i, OptId id);
int64_t opt_repo_int(const Cli *cli, size_t i, OptId id);
uint64_t opt_repo_size(const Cli *cli, size_t i, OptId id);
TimeUs opt_repo_duration(const Cli *cli, size_t i, OptId id);
bool opt_repo_is(const Cli *cli, size_t i, OptId id, const char *word);
bool opt_repo_given(const Cli *cli, size_t i, OptId id);

/* The chosen cluster's name, NULL when none is chosen. opt_given(cli, OPT_CLUSTER) tells whether it
 * was asked for or is the only one. */
const char *opt_cluster(const Cli *cli);

/* Shows cli->progress while long work runs. Ended before a result is printed (at the latest by
 * main). */
void cli_progress_begin(Cli *cli);
void cli_progress_end(Cli *cli);

/* Leaves a process behind that is called as this one was, and told to be the helper (see
 * catalog/wal_helper.h). */
void cli_leave_helper(const Cli *cli);

/* Adds a hint to an error about rights that has none: whom pgdr runs as. */
void cli_explain(Err *err);

/*
 * The exit status of restore_command when it cannot be sure: PostgreSQL takes 1 to 125 for "this
 * WAL does not exist" and ends recovery, so it is above that. main() uses it for every failure of a
 * command that FAILS_IN_DOUBT and did not set cli->status. But where the asking server must go on,
 * it is 1: that is true of
 *
 *  - a standby, which asks again, and which a status above 125 would stop;
 *  - a server that has just ended its recovery. It has removed its signal files, but not begun its
 *    new timeline yet, and asks for the history of the one that it leaves, which lies in its pg_wal
 *    as well. Stopped here it would open on the old timeline when it is started again.
 *
 * Looks for the signal files in the current directory, which is the data directory then.
 */
#define EXIT_DOUBT 254
bool cli_asker_goes_on(const Cli *cli);
/* Whether a server in recovery started this: the current directory has its signal file. */
bool cli_in_recovery(void);

/* --- for main() --- */

/* Takes the command line and all settings in, and sets up log and output. After a failure the rest
 * of *cli can be used all the same. */
MUST_CHECK ErrCode cli_start(Cli *cli, int argc, char *const *argv, char *const *env, Err *err);
/* Tells the outcome and returns the exit status. */
int cli_finish(Cli *cli, ErrCode rc, Err *err);

#endif
