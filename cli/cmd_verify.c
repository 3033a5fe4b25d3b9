/* pgdr verify */

#include <inttypes.h>

#include "cli/cli.h"
#include "cli/repos.h"
#include "verify/heal.h"
#include "verify/stored.h"
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

/* A finding that is shown when nothing more can be done about it. */
typedef struct KeptFinding {
    char *object, *problem, *hint, *window;
    StrList backups;
} KeptFinding;

typedef struct Mending {
    Cli *cli;
    Damage damage;
    VEC(KeptFinding) kept;
    json_t *damaged; /* what was found at first */
} Mending;

static void mending_release(Mending *m)
{
    for (size_t i = 0; i < m->kept.n; i++) {
        KeptFinding *k = &m->kept.at[i];
        mem_freep(&k->object);
        mem_freep(&k->problem);
        mem_freep(&k->hint);
        mem_freep(&k->window);
        str_list_release(&k->backups);
    }
    vec_release(&m->kept);
    damage_release(&m->damage);
}

static char *dup_or_null(const char *s)
{
    return s ? mem_strdup(s) : NULL;
}

static void keep_finding(Mending *m, const VerifyFinding *f)
{
    KeptFinding k = {.object = mem_strdup(f->object),
                     .problem = mem_strdup(f->problem),
                     .hint = dup_or_null(f->hint),
                     .window = dup_or_null(f->window)};
    for (size_t i = 0; f->backups && i < f->backups->n; i++)
        vec_push(&k.backups, mem_strdup(f->backups->at[i]));
    vec_push(&m->kept, k);
}

static void show_kept(const Mending *m)
{
    for (size_t i = 0; i < m->kept.n; i++) {
        const KeptFinding *k = &m->kept.at[i];
        VerifyFinding f = {.object = k->object,
                           .problem = k->problem,
                           .hint = k->hint,
                           .backups = &k->backups,
                           .window = k->window};
        show_finding(m->cli, &f);
    }
}

static void note_damage(void *arg, const VerifyFinding *f)
{
    Mending *m = arg;
    keep_finding(m, f);
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

/* What is mended can bring to light what it hid: a lost manifest hides damaged packs. So each pass
 * looks again at what the one before has mended, and the last one mends nothing. */
#define MEND_PASSES 4

static ErrCode mend_pass(Mending *m, size_t i, Repo *repo, bool last, VerifyResult *found,
                         bool *ret_mended, Err *err)
{
    TRY(run(m->cli, repo, note_damage, m, found, err));
    size_t before = m->damage.backups.n + m->damage.wal.n;
    if (before && !last)
        TRY(mend_from_others(m, i, repo, err));
    *ret_mended = m->damage.backups.n + m->damage.wal.n < before;
    return ERR_OK;
}

static ErrCode verify_and_mend(Cli *cli, size_t i, Repo *repo, VerifyResult *ret, Err *err)
{
    bool mended = true;
    for (int pass = 1; mended; pass++) {
        Mending m AUTO(mending_release) = {
            .cli = cli, .damaged = json_object_get(out_doc(&cli->out), "damaged")};
        VerifyResult found = {.backups = 0};
        TRY(mend_pass(&m, i, repo, pass == MEND_PASSES, &found, &mended, err));
        if (!mended)
            show_kept(&m);
        *ret = found;
    }
    return ERR_OK;
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
    VerifySpec keys = {.repo = repo, .found = show_finding, .arg = cli};
    TRY(verify_keys(&keys, total, err));
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

/* One that cannot be read does not keep the others from being verified. */
static ErrCode verify_repos(Cli *cli, VerifyResult *total, Err *err)
{
    ErrCode first = ERR_OK;
    for (size_t i = 0; i < opt_repos(cli); i++) {
        Err why = {0};
        ErrCode rc = verify_repo(cli, i, total, &why);
        if (rc == ERR_OK)
            continue;
        if (first == ERR_OK)
            *err = why;
        else
            log_err(LOG_WARN, &why);
        first = first == ERR_OK ? rc : first;
        if (rc == ERR_CANCELLED)
            break;
    }
    return first;
}

/* --- without a key --- */

static ErrCode stored_of_repo(Cli *cli, size_t i, StoredResult *total, Err *err)
{
    Repo *repo AUTO(repo_closep) = NULL;
    StrList names AUTO(str_list_release) = {0};
    if (opt_given(cli, OPT_CLUSTER))
        vec_push(&names, mem_strdup(opt_cluster(cli)));
    TRY(cli_repo_open_without_key(cli, i, names.n ? names.at[0] : NULL, &repo, err));
    if (!names.n)
        TRY(repo_list_clusters(repo, &names, err));
    VerifySpec spec = {.repo = repo,
                       .jobs = cli_jobs(cli),
                       .progress = &cli->progress,
                       .found = show_finding,
                       .arg = cli};
    VerifyResult keys = {.findings = 0};
    TRY(verify_keys(&spec, &keys, err));
    total->findings += keys.findings;
    for (size_t k = 0; k < names.n; k++) {
        repo_set_cluster(repo, names.at[k]);
        cli_progress_begin(cli);
        ErrCode rc = verify_stored(&spec, total, err);
        cli_progress_end(cli);
        if (rc != ERR_OK)
            return rc;
    }
    return ERR_OK;
}

static ErrCode verify_without_key(Cli *cli, Err *err)
{
    StoredResult total = {.objects = 0};
    char bytes[TIME_TEXT_LEN];
    if (opt_bool(cli, OPT_HEAL) || opt_bool(cli, OPT_FAST) || opt_text(cli, OPT_BACKUP))
        return err_set(err, ERR_USAGE,
                       "--without-key checks all stored bytes: it does not go with --heal, --fast "
                       "or --backup");
    for (size_t i = 0; i < opt_repos(cli); i++)
        TRY(stored_of_repo(cli, i, &total, err));
    json_object_set_new(out_doc(&cli->out), "ok", json_boolean(total.findings == 0));
    json_object_set_new(out_doc(&cli->out), "checked",
                        json_pack("{s:I,s:I,s:b}", "objects", (json_int_t)total.objects, "bytes",
                                  (json_int_t)total.bytes, "without_key", 1));
    if (total.findings) {
        err_set(err, ERR_FINDINGS, "%" PRIu64 " finding%s", total.findings,
                total.findings == 1 ? "" : "s");
        return err_hint(err, "'pgdr verify' with the passphrase tells which backups suffer");
    }
    log_info("the stored bytes are those that were written; objects: %" PRIu64
             ", read: %s; without "
             "the key it is not known whether any are missing or stand in another's place",
             total.objects, size_format(total.bytes, bytes));
    return ERR_OK;
}

ErrCode cmd_verify(Cli *cli, Err *err)
{
    VerifyResult total = {.backups = 0};
    char bytes[TIME_TEXT_LEN];
    out_findings_begin(&cli->out);
    if (opt_bool(cli, OPT_WITHOUT_KEY))
        return verify_without_key(cli, err);
    if (opt_bool(cli, OPT_HEAL)) {
        json_object_set_new(out_doc(&cli->out), "damaged", json_array());
        if (opt_repos(cli) < 2) {
            err_set(err, ERR_USAGE, "--heal needs another repository to take whole copies from");
            return err_hint(err, "name two or more in the configuration file, without --repo");
        }
    }
    TRY(verify_repos(cli, &total, err));
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
