/* pgdr info: backups and recovery windows. */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "catalog/window.h"
#include "cli/cli.h"
#include "cli/repos.h"
#include "cli/show_backup.h"

static void show_backups(Cli *cli, const BackupList *list)
{
    OutTable table AUTO(out_table_release) = {0};
    out_table_columns(&table, "BACKUP", "TYPE", "POSTGRESQL", ">TIMELINE", "ENDED", ">SIZE",
                      ">STORED", "NOTE", NULL);
    for (size_t i = 0; i < backup_count(list); i++) {
        const BackupSummary *s = backup_at(list, i);
        char tli[16], version[16], ended[TIME_TEXT_LEN], size[TIME_TEXT_LEN], stored[TIME_TEXT_LEN];
        snprintf(tli, sizeof(tli), "%u", s->timeline);
        char *note AUTO(mem_freep) =
            mem_printf("%s%s%s", s->damaged_pages ? "has damaged pages" : "",
                       s->damaged_pages && *s->label ? "; " : "", s->label);
        out_table_row(&table, s->id, s->type, pg_version_text(s->pg_version_num, version), tli,
                      time_format_utc(s->stop_time, false, ended), size_format(s->size, size),
                      size_format(s->stored, stored), note, NULL);
    }
    out_table_print(&table, &cli->out);
}

/* A timeline that goes on behind the points where others have left it holds a future that is not
 * the latest: what to type to get it. */
static void show_forks(Cli *cli, const RecoveryWindow *w)
{
    Buf line AUTO(buf_release) = {0};
    for (size_t i = 0; i < w->forks.n; i++)
        buf_printf(&line, "%stimeline %u at " LSN_FMT, i ? ", " : "", w->forks.at[i].timeline,
                   LSN_ARG(w->forks.at[i].lsn));
    out_text(&cli->out, "timeline %u was left by %s: --target-timeline=%u goes on behind that\n",
             w->timeline, buf_str(&line), w->timeline);
}

static void show_windows(Cli *cli, const RecoveryWindows *windows)
{
    OutTable table AUTO(out_table_release) = {0};
    out_table_columns(&table, "RECOVERABLE FROM", "TO", "FROM LSN", "TO LSN", ">TIMELINE",
                      ">BACKUPS", "ENDS BECAUSE", NULL);
    for (size_t i = 0; i < windows->n; i++) {
        const RecoveryWindow *w = &windows->at[i];
        char from[TIME_TEXT_LEN], to[TIME_TEXT_LEN], from_lsn[LSN_TEXT_LEN], to_lsn[LSN_TEXT_LEN];
        char tli[16], n[24];
        snprintf(tli, sizeof(tli), "%u", w->timeline);
        snprintf(n, sizeof(n), "%zu", w->backups.n);
        char *why AUTO(mem_freep) = *w->missing
                                        ? mem_printf("%s is missing", w->missing)
                                        : mem_strdup(*w->damaged ? w->damaged : w->conflict);
        out_table_row(&table, time_format_utc(w->from_time, false, from),
                      time_format_utc(w->to_time, false, to), lsn_format(w->from_lsn, from_lsn),
                      lsn_format(w->to_lsn, to_lsn), tli, n, why, NULL);
    }
    out_table_print(&table, &cli->out);
    for (size_t i = 0; i < windows->n; i++)
        if (windows->at[i].forks.n)
            show_forks(cli, &windows->at[i]);
}

static json_t *forks_json(const RecoveryWindow *w)
{
    json_t *forks = json_array();
    for (size_t i = 0; i < w->forks.n; i++) {
        char lsn[LSN_TEXT_LEN];
        json_array_append_new(forks, json_pack("{s:I,s:s}", "timeline",
                                               (json_int_t)w->forks.at[i].timeline, "lsn",
                                               lsn_format(w->forks.at[i].lsn, lsn)));
    }
    return forks;
}

static json_t *windows_json(const RecoveryWindows *windows)
{
    json_t *all = json_array();
    for (size_t i = 0; i < windows->n; i++) {
        const RecoveryWindow *w = &windows->at[i];
        char from[LSN_TEXT_LEN], to[LSN_TEXT_LEN];
        json_t *ids = json_array(), *j = json_object();
        for (size_t k = 0; k < w->backups.n; k++)
            json_array_append_new(ids, json_string(w->backups.at[k]));
        json_object_set_new(j, "timeline", json_integer(w->timeline));
        json_object_set_new(j, "from_time", out_json_time(w->from_time));
        json_object_set_new(j, "to_time", out_json_time(w->to_time));
        json_object_set_new(j, "from_lsn", json_string(lsn_format(w->from_lsn, from)));
        json_object_set_new(j, "to_lsn", json_string(lsn_format(w->to_lsn, to)));
        json_object_set_new(j, "missing", *w->missing ? json_string(w->missing) : json_null());
        json_object_set_new(j, "conflict", *w->conflict ? out_json_text(w->conflict) : json_null());
        json_object_set_new(j, "damaged", *w->damaged ? out_json_text(w->damaged) : json_null());
        json_object_set_new(j, "forks", forks_json(w));
        json_object_set_new(j, "backups", ids);
        json_array_append_new(all, j);
    }
    return all;
}

/* The newest backup tells which system the name stands for now. */
static void set_identity(json_t *j, const BackupList *list)
{
    char system_id[24], version[16];
    if (!backup_count(list))
        return;
    const BackupSummary *s = backup_at(list, backup_count(list) - 1);
    snprintf(system_id, sizeof(system_id), "%" PRIu64, s->system_id);
    json_object_set_new(j, "system_id", json_string(system_id));
    json_object_set_new(j, "pg_version", json_string(pg_version_text(s->pg_version_num, version)));
}

static json_t *broken_json(const BrokenBackup *b)
{
    json_t *j = json_object();
    json_object_set_new(j, "id", json_string(b->id));
    json_object_set_new(j, "code", json_string(err_code_name(b->why.code)));
    json_object_set_new(j, "message", out_json_text(b->why.message));
    json_object_set_new(j, "hint", *b->why.hint ? out_json_text(b->why.hint) : json_null());
    return j;
}

static ErrCode info_cluster(Cli *cli, Repo *repo, json_t *clusters, Err *err)
{
    BackupList list AUTO(backup_list_release) = {.broken = {0}};
    RecoveryWindows windows AUTO(recovery_windows_release) = {0};
    TRY(backup_list_read(repo, &list, err));
    TRY(recovery_windows_read(repo, &list, &windows, err));

    json_t *j = json_object(), *backups = json_array(), *broken = json_array();
    json_object_set_new(j, "name", json_string(repo->cluster));
    json_object_set_new(j, "repository", json_string(repo->name));
    set_identity(j, &list);
    for (size_t i = 0; i < backup_count(&list); i++)
        json_array_append_new(backups, backup_json(backup_at(&list, i)));
    for (size_t i = 0; i < list.broken.n; i++)
        json_array_append_new(broken, broken_json(&list.broken.at[i]));
    json_object_set_new(j, "backups", backups);
    json_object_set_new(j, "unreadable", broken);
    json_object_set_new(j, "windows", windows_json(&windows));
    json_array_append_new(clusters, j);

    out_text(&cli->out, "cluster %s in repository %s (%s)\n\n", repo->cluster, repo->name,
             repo_url(repo));
    if (!backup_count(&list))
        out_text(&cli->out, "no backup yet: 'pgdr backup' takes one\n");
    else
        show_backups(cli, &list);
    if (windows.n) {
        out_text(&cli->out, "\n");
        show_windows(cli, &windows);
    }
    out_text(&cli->out, "\n");
    for (size_t i = 0; i < list.broken.n; i++)
        log_line(LOG_WARN, list.broken.at[i].why.hint, "backup %s cannot be read: %s",
                 list.broken.at[i].id, list.broken.at[i].why.message);
    return ERR_OK;
}

static ErrCode info_repo(Cli *cli, size_t i, json_t *clusters, Err *err)
{
    Repo *repo AUTO(repo_closep) = NULL;
    StrList names AUTO(str_list_release) = {0};
    const char *asked = opt_given(cli, OPT_CLUSTER) ? opt_cluster(cli) : NULL;
    TRY(cli_repo_open(cli, i, asked, &repo, err));
    TRY(repo_list_clusters(repo, &names, err));
    bool any = false;
    for (size_t k = 0; k < names.n; k++) {
        if (asked && strcmp(asked, names.at[k]) != 0)
            continue;
        any = true;
        repo_set_cluster(repo, names.at[k]);
        TRY(info_cluster(cli, repo, clusters, err));
    }
    if (asked && !any) {
        err_set(err, ERR_NOT_FOUND, "there is nothing of cluster '%s' in '%s'", asked,
                repo_url(repo));
        return err_hint(err, "'pgdr info' without --cluster shows what there is");
    }
    if (!any)
        out_text(&cli->out, "repository %s (%s) is empty\n", repo->name, repo_url(repo));
    return ERR_OK;
}

ErrCode cmd_info(Cli *cli, Err *err)
{
    json_t *clusters = json_array();
    json_object_set_new(out_doc(&cli->out), "clusters", clusters);
    for (size_t i = 0; i < opt_repos(cli); i++)
        TRY(info_repo(cli, i, clusters, err));
    return ERR_OK;
}
