/* pgdr verify */

#include <inttypes.h>

#include "cli/cli.h"
#include "cli/repos.h"
#include "verify/heal.h"
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

static ErrCode run(Cli *cli, Repo *repo, void (*found)(void *, const VerifyFinding *), void *arg,
                   VerifyResult *ret, Err *err)
{
    VerifySpec spec = {.repo = repo,
                       .backup_id = opt_text(cli, OPT_BACKUP),
                       .fast = opt_bool(cli, OPT_FAST),
                       .jobs = cli_jobs(cli),
                       .progress = &cli->progress,
                       .found = found,
                       .arg = arg};
    cli_progress_begin(cli);
    ErrCode rc = verify_run(&spec, ret, err);
    cli_progress_end(cli);
    return rc;
}

/* --- mending --- */

typedef struct Mending {
    Cli *cli;
    Damage damage;
    json_t *damaged; /* what was found at first */
} Mending;

static void note_damage(void *arg, const VerifyFinding *f)
{
    Mending *m = arg;
    log_warn("%s: %s", f->object, f->problem);
    json_array_append_new(m->damaged, json_pack("{s:o,s:o}", "object", out_json_text(f->object),
                                                "problem", out_json_text(f->problem)));
    damage_add(&m->damage, f);
}

static ErrCode mend_from_others(Mending *m, size_t i, Repo *repo, Err *err)
{
    Cli *cli = m->cli;
    for (size_t k = 0; k < opt_repos(cli) && damage_any(&m->damage); k++) {
        Repo *other AUTO(repo_closep) = NULL;
        Err why = {0};
        if (k == i)
            continue;
        if (cli_repo_open(cli, k, repo->cluster, &other, &why) != ERR_OK) {
            log_err(LOG_WARN, &why);
            continue;
        }
        cli_progress_begin(cli);
        ErrCode rc = heal_from(repo, other, cli_jobs(cli), &cli->progress, &m->damage, err);
        cli_progress_end(cli);
        if (rc != ERR_OK)
            return rc;
    }
    return ERR_OK;
}

/* What is mended can bring to light what it hid: a lost manifest hides damaged packs. */
#define MEND_PASSES 4

/* One pass: *ret_more when something was mended, so that it is worth looking again. */
static ErrCode mend_pass(Cli *cli, size_t i, Repo *repo, bool *ret_more, Err *err)
{
    Mending m = {.cli = cli, .damaged = json_object_get(out_doc(&cli->out), "damaged")};
    VerifyResult found = {.backups = 0};
    ErrCode rc = run(cli, repo, note_damage, &m, &found, err);
    size_t before = m.damage.backups.n + m.damage.wal.n;
    if (rc == ERR_OK && before)
        rc = mend_from_others(&m, i, repo, err);
    *ret_more = m.damage.backups.n + m.damage.wal.n < before;
    damage_release(&m.damage);
    return rc;
}

static ErrCode verify_and_mend(Cli *cli, size_t i, Repo *repo, VerifyResult *ret, Err *err)
{
    bool more = true;
    for (int pass = 0; more && pass < MEND_PASSES; pass++)
        TRY(mend_pass(cli, i, repo, &more, err));
    return run(cli, repo, show_finding, cli, ret, err);
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
        VerifyResult r = {.backups = 0};
        repo_set_cluster(repo, names.at[k]);
        if (opt_bool(cli, OPT_HEAL))
            TRY(verify_and_mend(cli, i, repo, &r, err));
        else
            TRY(run(cli, repo, show_finding, cli, &r, err));
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
    if (opt_bool(cli, OPT_HEAL)) {
        json_object_set_new(out_doc(&cli->out), "damaged", json_array());
        if (opt_repos(cli) < 2) {
            err_set(err, ERR_USAGE, "--heal needs another repository to take whole copies from");
            return err_hint(err, "name two or more in the configuration file, without --repo");
        }
    }
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
