/* pgdr verify */

#include <inttypes.h>

#include "cli/cli.h"
#include "cli/repos.h"
#include "verify/verify.h"

static void show_finding(void *arg, const VerifyFinding *f)
{
    Cli *cli = arg;
    StrList windows = {0};
    if (f->window)
        vec_push(&windows, mem_strdup(f->window));
    OutFinding out = {.object = f->object,
                      .problem = f->problem,
                      .hint = f->hint,
                      .backups = f->backups,
                      .windows = &windows};
    out_finding(&cli->out, &out);
    str_list_release(&windows);
}

static void add(VerifyResult *to, const VerifyResult *r)
{
    to->backups += r->backups;
    to->packs += r->packs;
    to->pages += r->pages;
    to->files += r->files;
    to->wal_segments += r->wal_segments;
    to->bytes += r->bytes;
    to->findings += r->findings;
}

static ErrCode verify_repo(Cli *cli, size_t i, VerifyResult *total, Err *err)
{
    Repo *repo AUTO(repo_closep) = NULL;
    StrList names AUTO(str_list_release) = {0};
    if (opt_given(cli, OPT_CLUSTER))
        vec_push(&names, mem_strdup(opt_cluster(cli)));
    TRY(cli_repo_open(cli, i, names.n ? names.at[0] : NULL, &repo, err));
    if (!names.n)
        TRY(repo_list_clusters(repo, &names, err));
    for (size_t k = 0; k < names.n; k++) {
        repo_set_cluster(repo, names.at[k]);
        VerifyResult r = {.backups = 0};
        VerifySpec spec = {.repo = repo,
                           .backup_id = opt_text(cli, OPT_BACKUP),
                           .fast = opt_bool(cli, OPT_FAST),
                           .jobs = cli_jobs(cli),
                           .progress = &cli->progress,
                           .found = show_finding,
                           .arg = cli};
        cli_progress_begin(cli);
        ErrCode rc = verify_run(&spec, &r, err);
        cli_progress_end(cli);
        if (rc != ERR_OK)
            return rc;
        add(total, &r);
    }
    return ERR_OK;
}

static json_t *checked_json(const VerifyResult *r)
{
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I}", "backups", (json_int_t)r->backups, "packs",
                     (json_int_t)r->packs, "pages", (json_int_t)r->pages, "files",
                     (json_int_t)r->files, "wal_segments", (json_int_t)r->wal_segments, "bytes",
                     (json_int_t)r->bytes);
}

ErrCode cmd_verify(Cli *cli, Err *err)
{
    VerifyResult total = {.backups = 0};
    char bytes[TIME_TEXT_LEN];
    out_findings_begin(&cli->out);
    for (size_t i = 0; i < opt_repos(cli); i++)
        TRY(verify_repo(cli, i, &total, err));
    json_object_set_new(out_doc(&cli->out), "ok", json_boolean(total.findings == 0));
    json_object_set_new(out_doc(&cli->out), "checked", checked_json(&total));
    if (total.findings) {
        err_set(err, ERR_FINDINGS, "%" PRIu64 " finding%s", total.findings,
                total.findings == 1 ? "" : "s");
        return err_hint(err, "backups that are not named in a finding are whole");
    }
    log_info("all is well; backups: %" PRIu64 ", packs: %" PRIu64 ", WAL segments: %" PRIu64
             ", read: %s",
             total.backups, total.packs, total.wal_segments, size_format(total.bytes, bytes));
    return ERR_OK;
}
