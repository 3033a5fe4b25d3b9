/* pgdr check: is everything ready for backups, proven by one WAL segment that goes all the way. */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "catalog/wal_publish.h"
#include "cli/cli.h"
#include "cli/cluster.h"
#include "cli/repos.h"
#include "cli/restore_command.h"
#include "lib/common/workers.h"
#include "lib/repo/publish.h"

#define POLL (US_PER_SECOND / 10)

typedef struct Check {
    Cli *cli;
    json_t *checks;
    size_t failed;
    PgConn *conn;
    PgServer server;
    PgControl control;
} Check;

static void check_add(Check *c, const char *name, bool ok, const char *detail)
{
    json_array_append_new(c->checks, json_pack("{s:s,s:b,s:o}", "name", name, "ok", ok, "detail",
                                               out_json_text(detail)));
    if (ok)
        out_text(&c->cli->out, "ok       %s: %s\n", name, detail);
}

static void check_failed(Check *c, const char *name, const char *problem, const char *hint)
{
    OutFinding f = {.object = name, .problem = problem, .hint = hint && *hint ? hint : NULL};
    c->failed++;
    check_add(c, name, false, problem);
    out_finding(&c->cli->out, &f);
}

static void check_failed_err(Check *c, const char *name, Err *err)
{
    cli_explain(err);
    check_failed(c, name, err->message, err->hint);
}

/* --- repositories --- */

/* Can be read, written and deleted from: a lease is taken and given back. */
static void check_repo(Check *c, size_t i)
{
    Repo *repo AUTO(repo_closep) = NULL;
    Lease *lease = NULL;
    StrList none = {0};
    Err err = {0};
    TimeUs mine = time_now(), theirs = 0;
    char *name AUTO(mem_freep) = mem_printf("repository %s", opt_repo_name(c->cli, i));
    ErrCode rc = cli_repo_open(c->cli, i, opt_cluster(c->cli), &repo, &err);
    if (rc == ERR_OK)
        rc = lease_take(repo, "check", &none, &lease, &err);
    if (rc == ERR_OK)
        rc = repo_now(repo, &theirs, &err);
    lease_release(lease);
    if (rc != ERR_OK) {
        check_failed_err(c, name, &err);
        return;
    }
    TimeUs apart = mine > theirs ? mine - theirs : theirs - mine;
    if (apart > 5 * 60 * US_PER_SECOND)
        log_warn(
            "the clock of '%s' and this host's are %lld s apart: retention needs them within 5 "
            "minutes",
            repo_url(repo), (long long)(apart / US_PER_SECOND));
    check_add(c, name, true, repo_url(repo));
}

/* --- the server --- */

static bool setting_is(const char *value, const char *what)
{
    return value && strcmp(value, what) == 0;
}

/* The program that a command begins with, when it has a whole path without quotes; else NULL. */
static char *program_of(const char *command)
{
    size_t n = strcspn(command, " \t'\"\\");
    return command[0] == '/' && (!command[n] || strchr(" \t", command[n])) ? mem_strndup(command, n)
                                                                           : NULL;
}

static void check_archive_command(Check *c)
{
    const PgServer *s = &c->server;
    const char *command = s->archive_command ? s->archive_command : "";
    char *set AUTO(mem_freep) = archive_command_line(c->cli);
    char *program AUTO(mem_freep) = program_of(command);
    if (setting_is(s->archive_mode, "off")) {
        char *hint AUTO(mem_freep) = mem_printf(
            "set archive_mode = on and %s in postgresql.conf, and restart the server", set);
        check_failed(c, "archive_mode", "archive_mode = off: no WAL is archived", hint);
        return;
    }
    if (s->archive_library && *s->archive_library)
        check_add(c, "archive_library", true, s->archive_library);
    else if (strstr(command, "archive-push") && (!program || access(program, X_OK) == 0))
        check_add(c, "archive_command", true, command);
    else {
        bool other = !strstr(command, "archive-push");
        char *hint AUTO(mem_freep) =
            mem_printf("set %s in postgresql.conf, and reload the server", set);
        char *problem AUTO(mem_freep) =
            other
                ? mem_strdup("archive_command does not call 'pgdr archive-push'")
                : mem_printf("archive_command calls '%s', which %s", program,
                             access(program, F_OK) == 0 ? "this user cannot run" : "is not there");
        check_failed(c, "archive_command", problem, hint);
    }
}

static void check_settings(Check *c)
{
    const PgServer *s = &c->server;
    if (setting_is(s->wal_level, "minimal"))
        check_failed(c, "wal_level", "wal_level = minimal: backups cannot be restored",
                     "set wal_level = replica, and restart the server");
    else
        check_add(c, "wal_level", true, s->wal_level ? s->wal_level : "?");
    check_archive_command(c);
    check_add(c, "data checksums", true,
              s->data_checksums ? "on" : "off: damaged pages cannot be noticed");
}

static ErrCode server_identity(Check *c, Err *err)
{
    const char *dir = opt_text(c->cli, OPT_DATA_DIRECTORY);
    if (!dir)
        dir = c->server.data_directory;
    if (!dir)
        return err_set(err, ERR_CONFIG,
                       "\"data-directory\" is not set, and the role may not see it");
    TRY(control_read(dir, &c->control, NULL, err));
    if (c->control.system_id != c->server.system_id) {
        err_set(err, ERR_MISMATCH, "'%s' belongs to system %" PRIu64 ", the server is %" PRIu64,
                dir, c->control.system_id, c->server.system_id);
        return err_hint(err,
                        "\"data-directory\", \"host\" and \"port\" in [cluster %s] belong to "
                        "different servers",
                        opt_cluster(c->cli));
    }
    return ERR_OK;
}

static bool check_server(Check *c)
{
    Err err = {0};
    char detail[160];
    PgConnSpec spec = cli_conn_spec(c->cli);
    ErrCode rc = pg_conn_open(&c->conn, &spec, &err);
    if (rc == ERR_OK)
        rc = pg_server_read(c->conn, &c->server, &err);
    if (rc == ERR_OK)
        rc = server_identity(c, &err);
    if (rc != ERR_OK) {
        check_failed_err(c, "server", &err);
        return false;
    }
    snprintf(detail, sizeof(detail), "PostgreSQL %d.%d, system %" PRIu64 ", %s",
             c->server.version_num / 10000, c->server.version_num % 10000, c->server.system_id,
             c->server.in_recovery ? "a standby" : "a primary");
    check_add(c, "server", true, detail);
    check_settings(c);
    return true;
}

/* --- one segment, all the way --- */

/* Why the segment did not come. An archiver whose command cannot be run dies without a word here.
 */
static void archiver_says(Check *c, const char *file, Err *err)
{
    PgRows rows = {.rows = 0};
    Err why = {0};
    char *set AUTO(mem_freep) = archive_command_line(c->cli);
    err_hint(err, "the server's log says what archive_command does");
    if (pg_query(
            c->conn, &rows, &why,
            "select last_failed_wal, last_failed_time, last_archived_wal from "
            "pg_catalog.pg_stat_archiver where last_failed_time > coalesce(last_archived_time, "
            "'-infinity') or last_archived_wal = $1",
            1, file) != ERR_OK)
        return;
    const char *archived = rows.rows ? pg_value(&rows, 0, 2) : NULL;
    if (archived && strcmp(archived, file) == 0)
        err_hint(err,
                 "archive_command says that it has stored it, so it stores elsewhere: for this "
                 "configuration and cluster it is %s",
                 set);
    else if (rows.rows)
        err_hint(err, "archive_command fails: last for %s at %s; the server's log says why",
                 pg_value(&rows, 0, 0), pg_value(&rows, 0, 1));
    pg_rows_release(&rows);
}

static ErrCode wait_for_segment(Check *c, Repo *repo, const char *file, TimeUs until, Err *err)
{
    WalStore store;
    wal_store_init(&store, repo, c->control.system_id, c->control.wal_segment_size);
    for (;;) {
        WalFoundList found = {0};
        Buf data AUTO(buf_release) = {0};
        ErrCode rc = wal_find(&store, file, &found, err);
        bool there = rc == ERR_OK && found.n > 0;
        if (there)
            rc = wal_read(&store, &found.at[0], &data, NULL, NULL, err);
        vec_release(&found);
        if (rc != ERR_OK || there)
            return rc;
        if (time_monotonic() > until)
            return err_set(err, ERR_WAL_MISSING, "%s has not arrived in '%s'", file,
                           repo_url(repo));
        TRY(cancel_check(err));
        time_sleep(POLL);
    }
}

static ErrCode send_segment(Check *c, char file[WAL_NAME_MAX], Err *err)
{
    Lsn lsn;
    char name[64];
    snprintf(name, sizeof(name), "pgdr check %lld", (long long)(time_now() / US_PER_SECOND));
    TRY(pg_create_restore_point(c->conn, name, &lsn, err)); /* so that there is something to send */
    TRY(pg_switch_wal(c->conn, &lsn, err));
    wal_name_segment(c->control.checkpoint_tli, wal_segno_before(lsn, c->control.wal_segment_size),
                     c->control.wal_segment_size, file);
    return ERR_OK;
}

static void check_round_trip(Check *c)
{
    char file[WAL_NAME_MAX];
    Err err = {0};
    TimeUs begin = time_monotonic();
    if (c->server.in_recovery) {
        check_add(c, "WAL", true, "not tried on a standby: its primary archives");
        return;
    }
    if (send_segment(c, file, &err) != ERR_OK) {
        check_failed_err(c, "WAL", &err);
        return;
    }
    for (size_t i = 0; i < opt_repos(c->cli); i++) {
        Repo *repo AUTO(repo_closep) = NULL;
        char detail[200], took[TIME_TEXT_LEN];
        if (cli_repo_open(c->cli, i, opt_cluster(c->cli), &repo, &err) != ERR_OK)
            continue; /* found before */
        if (wait_for_segment(c, repo, file, begin + opt_duration(c->cli, OPT_ARCHIVE_TIMEOUT),
                             &err) != ERR_OK) {
            archiver_says(c, file, &err);
            check_failed_err(c, "WAL", &err);
            continue;
        }
        snprintf(detail, sizeof(detail), "%s came to repository %s in %s and could be read back",
                 file, repo->name, duration_format(time_monotonic() - begin, took));
        check_add(c, "WAL", true, detail);
    }
}

ErrCode cmd_check(Cli *cli, Err *err)
{
    Check c = {.cli = cli, .checks = json_array()};
    json_object_set_new(out_doc(&cli->out), "checks", c.checks);
    out_findings_begin(&cli->out);
    for (size_t i = 0; i < opt_repos(cli); i++)
        check_repo(&c, i);
    if (check_server(&c) && !c.failed)
        check_round_trip(&c);
    pg_conn_close(c.conn);
    pg_server_release(&c.server);
    json_object_set_new(out_doc(&cli->out), "ok", json_boolean(c.failed == 0));
    if (c.failed)
        return err_set(err, ERR_FINDINGS, "%zu of %zu checks failed", c.failed,
                       json_array_size(c.checks));
    return ERR_OK;
}
