/* pgdr restore */

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "cli/repos.h"
#include "cli/restore_command.h"
#include "lib/common/file.h"
#include "restore/restore.h"

/* --- options to a specification --- */

static ErrCode parse_xid(const char *text, uint64_t *ret, Err *err)
{
    char *end;
    errno = 0;
    *ret = strtoull(text, &end, 10);
    if (!errno && *text >= '0' && *text <= '9' && !*end && *ret >= 3)
        return ERR_OK;
    err_set(err, ERR_USAGE, "'%s' is no transaction id", text);
    return err_hint(err, "it is a number, as pg_current_xact_id() gives it, or the xmin of a row");
}

static ErrCode parse_target(const char *type, const char *text, TargetSpec *t, Err *err)
{
    if (strcmp(type, "time") == 0) {
        t->type = TARGET_TIME;
        return time_parse_human(text, time_now(), &t->time, err);
    }
    if (strcmp(type, "lsn") == 0) {
        t->type = TARGET_LSN;
        return lsn_parse(text, &t->lsn, err);
    }
    if (strcmp(type, "xid") == 0) {
        t->type = TARGET_XID;
        return parse_xid(text, &t->xid, err);
    }
    t->type = TARGET_NAME;
    t->name = text;
    return ERR_OK;
}

static ErrCode target_from_options(const Cli *cli, TargetSpec *t, Err *err)
{
    static const struct {
        OptId id;
        const char *option, *type;
    } direct[] = {{OPT_TARGET_TIME, "target-time", "time"},
                  {OPT_TARGET_LSN, "target-lsn", "lsn"},
                  {OPT_TARGET_XID, "target-xid", "xid"},
                  {OPT_TARGET_NAME, "target-name", "name"}};
    const char *type = opt_text(cli, OPT_RESTORE_TYPE), *text = opt_text(cli, OPT_TARGET);
    const char *first = opt_given(cli, OPT_TARGET) ? "target" : NULL;
    for (size_t i = 0; i < ARRAY_LEN(direct); i++) {
        if (!opt_given(cli, direct[i].id))
            continue;
        if (first) {
            err_set(err, ERR_USAGE, "--%s and --%s are both given", first, direct[i].option);
            return err_hint(err, "give the one that is meant");
        }
        first = direct[i].option;
        if (opt_given(cli, OPT_RESTORE_TYPE) && strcmp(type, direct[i].type) != 0)
            return err_set(err, ERR_USAGE, "--%s does not go with --type=%s", direct[i].option,
                           type);
        type = direct[i].type;
        text = opt_text(cli, direct[i].id);
    }
    *t = (TargetSpec){.exclusive = opt_bool(cli, OPT_TARGET_EXCLUSIVE)};
    bool plain = strcmp(type, "latest") == 0 || strcmp(type, "immediate") == 0;
    if (plain && (first || t->exclusive)) {
        if (opt_given(cli, OPT_RESTORE_TYPE))
            err_set(err, ERR_USAGE, "--type=%s takes no target", type);
        else if (first)
            err_set(err, ERR_USAGE, "--target=%s does not say of which kind it is", text);
        else
            err_set(err, ERR_USAGE, "--target-exclusive needs a target to stop before");
        return err_hint(err, "use --target-time, --target-lsn, --target-xid or --target-name");
    }
    if (!plain && !first) {
        err_set(err, ERR_USAGE, "--type=%s needs --target", type);
        return err_hint(err, "--target-%s=... says both at once", type);
    }
    if (plain) {
        t->type = strcmp(type, "latest") == 0 ? TARGET_LATEST : TARGET_IMMEDIATE;
        return ERR_OK;
    }
    return parse_target(type, text, t, err);
}

static ErrCode timeline_from_options(const Cli *cli, RestoreSpec *spec, Err *err)
{
    const char *text = opt_text(cli, OPT_TARGET_TIMELINE);
    char *end;
    spec->timeline = TIMELINE_NUMBER;
    if (strcmp(text, "latest") == 0)
        spec->timeline = TIMELINE_LATEST;
    else if (strcmp(text, "current") == 0)
        spec->timeline = TIMELINE_CURRENT;
    else {
        unsigned long n = strtoul(text, &end, 0);
        if (*end || !n || n > UINT32_MAX)
            return err_set(err, ERR_USAGE,
                           "--target-timeline is latest, current or a number, not "
                           "'%s'",
                           text);
        spec->timeline_number = (uint32_t)n;
    }
    return ERR_OK;
}

/* A directory as PostgreSQL writes it down: without slashes at the end. */
static char *plain_directory(const char *text, size_t len)
{
    while (len > 1 && text[len - 1] == '/')
        len--;
    return mem_strndup(text, len);
}

static ErrCode mappings_from_options(const Cli *cli, RestoreSpec *spec, Err *err)
{
    const StrList *list = opt_list(cli, OPT_TABLESPACE_MAP);
    for (size_t i = 0; i < list->n; i++) {
        const char *eq = strchr(list->at[i], '=');
        if (!eq || eq == list->at[i] || eq[1] != '/')
            return err_set(err, ERR_USAGE,
                           "--tablespace-map is OID=DIR or DIR=DIR with absolute "
                           "directories, not '%s'",
                           list->at[i]);
        vec_push(
            &spec->mappings,
            (TablespaceMapping){.from = plain_directory(list->at[i], (size_t)(eq - list->at[i])),
                                .to = plain_directory(eq + 1, strlen(eq + 1))});
    }
    return ERR_OK;
}

static bool same_directory(const char *a, const char *b)
{
    struct stat x, y;
    if (stat(a, &x) == 0 && stat(b, &y) == 0)
        return x.st_dev == y.st_dev && x.st_ino == y.st_ino;
    size_t n = strlen(a), m = strlen(b);
    while (n > 1 && a[n - 1] == '/')
        n--;
    while (m > 1 && b[m - 1] == '/')
        m--;
    return n == m && strncmp(a, b, n) == 0;
}

static ErrCode spec_from_options(Cli *cli, RestoreSpec *spec, Err *err)
{
    const char *own = opt_text(cli, OPT_DATA_DIRECTORY), *to = opt_text(cli, OPT_TO);
    if (!to && !own) {
        err_set(err, ERR_CONFIG, "there is no directory to restore into");
        return err_hint(err, "give --to=DIR, or set \"data-directory\" in [cluster %s]",
                        opt_cluster(cli));
    }
    spec->to = path_absolute(to ? to : own);
    spec->is_clone = own && !same_directory(spec->to, own);
    spec->archive_off =
        opt_given(cli, OPT_ARCHIVE_MODE) ? opt_is(cli, OPT_ARCHIVE_MODE, "off") : spec->is_clone;
    spec->backup_id = opt_text(cli, OPT_BACKUP);
    spec->delta = opt_bool(cli, OPT_DELTA);
    spec->action = opt_is(cli, OPT_TARGET_ACTION, "pause")      ? ACTION_PAUSE
                   : opt_is(cli, OPT_TARGET_ACTION, "shutdown") ? ACTION_SHUTDOWN
                                                                : ACTION_PROMOTE;
    TRY(target_from_options(cli, &spec->target, err));
    TRY(timeline_from_options(cli, spec, err));
    TRY(mappings_from_options(cli, spec, err));
    opt_repo_urls(cli, &spec->keep_out);
    if (spec->target.type == TARGET_LATEST && spec->action != ACTION_PROMOTE) {
        err_set(err, ERR_USAGE, "--target-action=%s needs a target to stop at",
                target_action_name(spec->action));
        return err_hint(err, "without one the cluster opens at the end of the WAL; name it with "
                             "--target-time, --target-lsn, --target-xid, --target-name or "
                             "--type=immediate");
    }
    spec->restore_command = restore_command_make(cli);
    return ERR_OK;
}

static void spec_release(RestoreSpec *spec)
{
    for (size_t i = 0; i < spec->mappings.n; i++) {
        free(spec->mappings.at[i].from);
        free(spec->mappings.at[i].to);
    }
    vec_release(&spec->mappings);
    str_list_release(&spec->keep_out);
    free((void *)(uintptr_t)spec->to);
    free((void *)(uintptr_t)spec->restore_command);
}

/* --- showing the plan --- */

static json_t *xact_json(const TargetXact *x)
{
    char lsn[LSN_TEXT_LEN];
    if (!x->known)
        return json_null();
    return json_pack("{s:I,s:o,s:s,s:b}", "xid", (json_int_t)x->xid, "time", out_json_time(x->time),
                     "lsn", lsn_format(x->lsn, lsn), "committed", x->commit);
}

static json_t *plan_json(const RestoreSpec *spec, const RestorePlan *p)
{
    char text[160], from[LSN_TEXT_LEN], to[LSN_TEXT_LEN];
    json_t *j = json_object(), *spaces = json_array(), *make = json_array(), *warn = json_array();
    for (size_t i = 0; i < p->tablespaces.n; i++)
        json_array_append_new(spaces, json_pack("{s:I,s:o,s:o}", "oid",
                                                (json_int_t)p->tablespaces.at[i].oid, "from",
                                                out_json_text(p->tablespaces.at[i].from), "to",
                                                out_json_text(p->tablespaces.at[i].to)));
    for (size_t i = 0; i < p->to_make.n; i++)
        json_array_append_new(make, out_json_text(p->to_make.at[i]));
    for (size_t i = 0; i < p->warnings.n; i++)
        json_array_append_new(warn, out_json_text(p->warnings.at[i]));
    json_object_set_new(j, "reachable", json_true());
    json_object_set_new(j, "repository", json_string(spec->repo->name));
    json_object_set_new(j, "backup", json_string(p->backup.id));
    json_object_set_new(j, "target", json_string(target_format(&spec->target, text)));
    json_object_set_new(j, "timeline", json_integer(p->path.at[p->path.n - 1].tli));
    json_object_set_new(j, "to", out_json_text(spec->to));
    json_object_set_new(j, "replaces", json_boolean(restore_destroys(p)));
    json_object_set_new(j, "bytes", json_integer((json_int_t)p->bytes));
    json_object_set_new(j, "files", json_integer((json_int_t)p->files));
    json_object_set_new(j, "free_bytes", json_integer((json_int_t)p->free_bytes));
    json_object_set_new(j, "wal_from", json_string(lsn_format(p->wal_from, from)));
    json_object_set_new(j, "wal_to", json_string(lsn_format(p->wal_to, to)));
    json_object_set_new(j, "wal_segments", json_integer((json_int_t)p->wal_segments));
    json_object_set_new(j, "last_in", xact_json(&p->point.last_in));
    json_object_set_new(j, "first_out", xact_json(&p->point.first_out));
    json_object_set_new(j, "action", json_string(target_action_name(spec->action)));
    json_object_set_new(j, "archives", json_boolean(!spec->archive_off));
    json_object_set_new(j, "tablespaces", spaces);
    json_object_set_new(j, "directories_for_replay", make);
    json_object_set_new(j, "warnings", warn);
    return j;
}

static void show_xact(Cli *cli, const char *what, const TargetXact *x)
{
    char when[TIME_TEXT_LEN];
    if (x->known)
        out_text(&cli->out, "  %-14s transaction %u, %s at %s\n", what, x->xid,
                 x->commit ? "committed" : "rolled back", time_format_utc(x->time, true, when));
}

static void show_plan(Cli *cli, const RestoreSpec *spec, const RestorePlan *p)
{
    char text[160], size[TIME_TEXT_LEN], free_bytes[TIME_TEXT_LEN], when[TIME_TEXT_LEN];
    Output *out = &cli->out;
    out_text(out, "Plan\n");
    out_text(out, "  %-14s %s, ended %s\n", "backup", p->backup.id,
             time_format_utc(p->backup.stop_time, false, when));
    out_text(out, "  %-14s %s\n", "recover to", target_format(&spec->target, text));
    show_xact(cli, "last in", &p->point.last_in);
    show_xact(cli, "first out", &p->point.first_out);
    out_text(out, "  %-14s %u, WAL " LSN_FMT " to " LSN_FMT ", %" PRIu64 " segment%s\n", "timeline",
             p->path.at[p->path.n - 1].tli, LSN_ARG(p->wal_from), LSN_ARG(p->wal_to),
             p->wal_segments, p->wal_segments == 1 ? "" : "s");
    out_text(out, "  %-14s %s in %" PRIu64 " files (%s free)\n", "write",
             size_format(p->bytes, size), p->files, size_format(p->free_bytes, free_bytes));
    out_text(out, "  %-14s %s%s\n", "to", spec->to,
             p->refusal.code ? ""
             : p->dir_state == TARGET_DIR_CLUSTER
                 ? ", REPLACING the cluster there (its WAL is saved first)"
             : p->dir_state == TARGET_DIR_INTERRUPTED ? ", continuing an interrupted restore"
                                                      : "");
    for (size_t i = 0; i < p->tablespaces.n; i++)
        if (*p->tablespaces.at[i].to)
            out_text(out, "  %-14s %u in %s\n", "tablespace", p->tablespaces.at[i].oid,
                     p->tablespaces.at[i].to);
    for (size_t i = 0; i < p->to_make.n; i++)
        out_text(out, "  %-14s %s, for a tablespace that replay creates\n", "directory",
                 p->to_make.at[i]);
    if (spec->target.type != TARGET_LATEST)
        out_text(out, "  %-14s %s\n", "then", target_action_name(spec->action));
    out_text(out, "  %-14s %s\n", "archiving",
             spec->archive_off ? "off: this is a copy" : "as the cluster was configured");
    for (size_t i = 0; i < p->warnings.n; i++)
        log_warn("%s", p->warnings.at[i]);
}

/* --- doing it --- */

/* What destroys is asked for, unless --yes says so already. */
static ErrCode ask(Cli *cli, const RestoreSpec *spec, const RestorePlan *p, Err *err)
{
    char answer[16] = "";
    if (p->dir_state != TARGET_DIR_CLUSTER || opt_bool(cli, OPT_YES))
        return ERR_OK;
    if (!isatty(STDIN_FILENO) || cli->out.json) {
        err_set(err, ERR_REFUSED, "this would replace the cluster in '%s'", spec->to);
        return err_hint(err, "add --yes to do it, or --dry-run to see the plan only");
    }
    out_flush(&cli->out);
    fprintf(stderr, "Replace the cluster in '%s'? [yes/no] ", spec->to);
    if (!fgets(answer, sizeof(answer), stdin) ||
        (strcmp(answer, "yes\n") != 0 && strcmp(answer, "y\n") != 0))
        return err_set(err, ERR_CANCELLED, "nothing was changed");
    return ERR_OK;
}

static json_t *result_json(const RestoreResult *r, const RescueResult *saved)
{
    return json_pack("{s:I,s:I,s:I,s:I,s:f,s:{s:I,s:I,s:I}}", "files", (json_int_t)r->files,
                     "bytes", (json_int_t)r->bytes, "written", (json_int_t)r->written, "removed",
                     (json_int_t)r->removed, "seconds", (double)r->elapsed / US_PER_SECOND,
                     "rescued_wal", "segments", (json_int_t)r->rescued.pushed + saved->pushed,
                     "tails", (json_int_t)r->rescued.tails + saved->tails, "orphans",
                     (json_int_t)r->rescued.orphans + saved->orphans);
}

static bool has_file(const char *dir, const char *name)
{
    char *path AUTO(mem_freep) = path_join(dir, name);
    return access(path, F_OK) == 0;
}

/* What was written so far stays, and --delta goes on with it. */
static void hint_begun(const RestoreSpec *spec, Err *err)
{
    struct stat st;
    const struct passwd *me = getpwuid(geteuid());
    if (!err->hint[0] && err->code == ERR_ACCESS && me && stat(spec->to, &st) != 0)
        err_hint(err,
                 "run pgdr as root, or, as root, make the directory first: install -d -o %s "
                 "-m 0700 '%s'",
                 me->pw_name, spec->to);
    if (!has_file(spec->to, RESTORE_MARKER))
        return;
    if (err->code == ERR_DAMAGED)
        err_hint_more(err, "'pgdr verify' says which backups are whole; the same command with "
                           "--backup=ID --delta takes another one");
    else
        err_hint_more(err, "the same command with --delta goes on from here");
}

/* The restored server is not this process's to start; how, depends on where its settings are. */
static void show_start(Cli *cli, const RestoreSpec *spec, const RestorePlan *plan)
{
    struct stat st;
    Output *out = &cli->out;
    Buf start AUTO(buf_release) = {0};
    char *base AUTO(mem_freep) = path_join(spec->to, "base");
    const struct passwd *pw = geteuid() == 0 && stat(base, &st) == 0 ? getpwuid(st.st_uid) : NULL;
    char *bin AUTO(mem_freep) =
        mem_printf("/usr/lib/postgresql/%d/bin", plan->backup.pg_version_num / 10000);
    if (pw)
        buf_printf(&start, "sudo -u %s ", pw->pw_name);
    buf_printf(&start, "%s%spg_ctl start", has_file(bin, "pg_ctl") ? bin : "",
               has_file(bin, "pg_ctl") ? "/" : "");
    out_text(out, " Start PostgreSQL to replay the WAL");
    if (has_file(spec->to, "postgresql.conf"))
        out_text(out, ":\n  %s -D '%s' -l '%s/start.log'\n", buf_str(&start), spec->to, spec->to);
    else if (!spec->is_clone)
        out_text(out, ", in the way it is always started (Debian: systemctl start "
                      "postgresql).\n");
    else
        out_text(
            out,
            ". The cluster keeps postgresql.conf elsewhere\n(Debian: /etc/postgresql/%d/NAME); "
            "with that directory as CONF, and a free PORT:\n"
            "  %s -D CONF -l '%s/start.log' -o \"-c data_directory='%s' -c port=PORT -c "
            "external_pid_file='%s/pid'\"\n",
            plan->backup.pg_version_num / 10000, buf_str(&start), spec->to, spec->to, spec->to);
}

static ErrCode carry_out(Cli *cli, const RestoreSpec *spec, const RestorePlan *plan,
                         const RescueResult *saved, Err *err)
{
    RestoreResult r AUTO(restore_result_release) = {.files = 0};
    char size[TIME_TEXT_LEN], took[TIME_TEXT_LEN];
    TRY(ask(cli, spec, plan, err));
    cli_progress_begin(cli);
    ErrCode rc = restore_run(spec, plan, cli_read_jobs(cli), &cli->progress, &r, err);
    cli_progress_end(cli);
    if (rc != ERR_OK) {
        hint_begun(spec, err);
        return rc;
    }
    json_object_set_new(out_doc(&cli->out), "result", result_json(&r, saved));
    for (size_t i = 0; i < r.dropped.n; i++)
        log_info("the setting %s of a former restore is removed from postgresql.auto.conf",
                 r.dropped.at[i]);
    out_text(&cli->out, "\nRestored %s in %s.", size_format(r.bytes, size),
             duration_format(r.elapsed, took));
    show_start(cli, spec, plan);
    return ERR_OK;
}

/* --- with several repositories --- */

typedef struct OpenRepos {
    VEC(Repo *) open;
    Buf away; /* the names of the others: "'one', 'two'" */
} OpenRepos;

static void open_repos_release(OpenRepos *r)
{
    for (size_t i = 0; i < r->open.n; i++)
        repo_close(r->open.at[i]);
    vec_release(&r->open);
    buf_release(&r->away);
}

/* A repository that does not answer does not keep the others from serving. */
static ErrCode open_repos(Cli *cli, OpenRepos *ret, Err *err)
{
    ErrCode rc = ERR_OK;
    for (size_t i = 0; i < opt_repos(cli); i++) {
        Repo *repo = NULL;
        Err one = {0};
        if (cli_repo_open(cli, i, opt_cluster(cli), &repo, &one) == ERR_OK) {
            vec_push(&ret->open, repo);
            continue;
        }
        if (opt_repos(cli) > 1)
            log_err(LOG_WARN, &one);
        buf_printf(&ret->away, "%s'%s'", ret->away.len ? ", " : "", opt_repo_name(cli, i));
        if (rc == ERR_OK)
            *err = one;
        rc = err->code;
    }
    return ret->open.n ? ERR_OK : rc;
}

/* The first repository that leads to the target; the reasons of the others are told. */
static ErrCode plan_over(RestoreSpec *spec, const OpenRepos *repos, RestorePlan *plan, Err *err)
{
    ErrCode rc = ERR_OK;
    for (size_t i = 0; i < repos->open.n; i++) {
        Err one = {0};
        spec->repo = repos->open.at[i];
        if (restore_plan_make(spec, plan, &one) == ERR_OK)
            return ERR_OK;
        if (repos->open.n > 1)
            log_line(LOG_INFO, one.hint, "repository '%s': %s", spec->repo->name, one.message);
        if (rc == ERR_OK)
            *err = one;
        rc = err->code;
    }
    return rc;
}

/*
 * Recovery asks all repositories, and stops at a doubt: what lies at the end of the WAL, and which
 * timelines are taken, is not known while one does not answer. It had better not begin.
 */
static void check_all_read(Cli *cli, const RestoreSpec *spec, OpenRepos *repos, RestorePlan *plan)
{
    const char *name = spec->repo->name;
    if (repos->open.n == opt_repos(cli) || plan->refusal.code)
        return;
    err_set(&plan->refusal, ERR_REFUSED,
            "repository %s cannot be read, and whether it holds other WAL than '%s' is not known",
            buf_str(&repos->away), name);
    err_hint(&plan->refusal,
             "bring it back, or restore and recover with what '%s' holds: the same command with "
             "--repo=%s",
             name, name);
}

/* Those that have the same backup stand by for what cannot be read. */
static void chain_fallbacks(const OpenRepos *repos, Repo *first, const char *backup_id)
{
    Repo *last = first;
    for (size_t i = 0; i < repos->open.n; i++) {
        BackupStates states AUTO(backup_states_release) = {0};
        Err err = {0};
        if (repos->open.at[i] == first ||
            backup_states_read(repos->open.at[i], backup_id, &states, &err) != ERR_OK ||
            !states.n || !backup_exists(&states.at[0]))
            continue;
        last->fallback = repos->open.at[i];
        last = repos->open.at[i];
    }
}

/* When it is clear that the cluster there will go: what only it has may be what is asked for. */
static ErrCode save_before_plan(const Cli *cli, RestoreSpec *spec, Repo *repo, RescueResult *ret,
                                Err *err)
{
    if (!spec->delta || !opt_bool(cli, OPT_YES) || opt_bool(cli, OPT_DRY_RUN))
        return ERR_OK;
    spec->repo = repo;
    TRY(restore_save_old(spec, ret, err));
    spec->old_wal_in = repo;
    return ERR_OK;
}

static ErrCode plan_and_run(Cli *cli, RestoreSpec *spec, OpenRepos *repos, Err *err)
{
    RestorePlan plan AUTO(restore_plan_release) = {.bytes = 0};
    RescueResult saved = {.looked_at = 0};
    cli_progress_begin(cli);
    progress_begin(&cli->progress, "planning", 0, 0);
    ErrCode rc = save_before_plan(cli, spec, repos->open.at[0], &saved, err);
    if (rc == ERR_OK)
        rc = plan_over(spec, repos, &plan, err);
    cli_progress_end(cli);
    if (rc != ERR_OK) {
        json_object_set_new(
            out_doc(&cli->out), "plan",
            json_pack("{s:b,s:o}", "reachable", 0, "reason", out_json_text(err->message)));
        return rc;
    }
    check_all_read(cli, spec, repos, &plan);
    chain_fallbacks(repos, spec->repo, plan.backup.id);
    json_object_set_new(out_doc(&cli->out), "plan", plan_json(spec, &plan));
    show_plan(cli, spec, &plan);
    if (plan.refusal.code) {
        *err = plan.refusal;
        return err->code;
    }
    return opt_bool(cli, OPT_DRY_RUN) ? ERR_OK : carry_out(cli, spec, &plan, &saved, err);
}

ErrCode cmd_restore(Cli *cli, Err *err)
{
    OpenRepos repos AUTO(open_repos_release) = {0};
    RestoreSpec spec AUTO(spec_release) = {.delta = false};
    TRY(spec_from_options(cli, &spec, err));
    TRY(open_repos(cli, &repos, err));
    return plan_and_run(cli, &spec, &repos, err);
}
