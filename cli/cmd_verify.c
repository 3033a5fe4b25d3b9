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
    OutFinding out = {.warning = f->warning,
                      .object = f->object,
                      .problem = f->problem,
                      .hint = f->hint,
                      .backups = f->backups,
                      .windows = f->windows};
    out_finding(&cli->out, &out);
}

static void add(VerifyResult *to, const VerifyResult *r)
{
    to->backups += r->backups;
    to->packs += r->packs;
    to->pages += r->pages;
    to->files += r->files;
    to->wal_segments += r->wal_segments;
    to->other_objects += r->other_objects;
    to->bytes += r->bytes;
    to->findings += r->findings;
    to->warnings += r->warnings;
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
    bool warning;
    char *object, *problem, *hint;
    StrList backups, windows;
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
        str_list_release(&k->backups);
        str_list_release(&k->windows);
    }
    vec_release(&m->kept);
    damage_release(&m->damage);
}

static char *dup_or_null(const char *s)
{
    return s ? mem_strdup(s) : NULL;
}

static StrList dup_list(const StrList *list)
{
    StrList copy = {0};
    for (size_t i = 0; list && i < list->n; i++)
        vec_push(&copy, mem_strdup(list->at[i]));
    return copy;
}

static void keep_finding(Mending *m, const VerifyFinding *f)
{
    vec_push(&m->kept, (KeptFinding){.warning = f->warning,
                                     .object = mem_strdup(f->object),
                                     .problem = mem_strdup(f->problem),
                                     .hint = dup_or_null(f->hint),
                                     .backups = dup_list(f->backups),
                                     .windows = dup_list(f->windows)});
}

static void show_kept(const Mending *m)
{
    for (size_t i = 0; i < m->kept.n; i++) {
        const KeptFinding *k = &m->kept.at[i];
        VerifyFinding f = {.warning = k->warning,
                           .object = k->object,
                           .problem = k->problem,
                           .hint = k->hint,
                           .backups = &k->backups,
                           .windows = &k->windows};
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

static ErrCode verify_cluster(Cli *cli, size_t i, Repo *repo, VerifyResult *ret, Err *err)
{
    return opt_bool(cli, OPT_HEAL) ? verify_and_mend(cli, i, repo, ret, err)
                                   : run(cli, repo, show_finding, cli, ret, err);
}

static ErrCode verify_cluster_stored(Cli *cli, size_t i, Repo *repo, VerifyResult *ret, Err *err)
{
    (void)i;
    VerifySpec spec = {.repo = repo,
                       .jobs = cli_jobs(cli),
                       .progress = &cli->progress,
                       .found = show_finding,
                       .arg = cli};
    cli_progress_begin(cli);
    ErrCode rc = verify_stored(&spec, ret, err);
    cli_progress_end(cli);
    return rc;
}

/* --- repositories --- */

/* With the keys of a repository, or without. */
typedef struct Mode {
    ErrCode (*open)(Cli *cli, size_t i, const char *cluster, Repo **ret, Err *err);
    ErrCode (*cluster)(Cli *cli, size_t i, Repo *repo, VerifyResult *ret, Err *err);
} Mode;

static ErrCode verify_repo(Cli *cli, const Mode *mode, size_t i, VerifyResult *total, Err *err)
{
    Repo *repo AUTO(repo_closep) = NULL;
    StrList names AUTO(str_list_release) = {0};
    if (opt_given(cli, OPT_CLUSTER))
        vec_push(&names, mem_strdup(opt_cluster(cli)));
    TRY(mode->open(cli, i, names.n ? names.at[0] : NULL, &repo, err));
    if (!names.n)
        TRY(repo_list_clusters(repo, &names, err));
    VerifySpec keys = {.repo = repo, .found = show_finding, .arg = cli};
    TRY(verify_keys(&keys, total, err));
    for (size_t k = 0; k < names.n; k++) {
        VerifyResult r = {.backups = 0};
        repo_set_cluster(repo, names.at[k]);
        TRY(mode->cluster(cli, i, repo, &r, err));
        add(total, &r);
    }
    return ERR_OK;
}

/* One that cannot be read does not keep the others from being verified. */
static ErrCode verify_repos(Cli *cli, const Mode *mode, VerifyResult *total, Err *err)
{
    ErrCode first = ERR_OK;
    for (size_t i = 0; i < opt_repos(cli); i++) {
        Err why = {0};
        ErrCode rc = verify_repo(cli, mode, i, total, &why);
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

/* --- the command --- */

/* `checked` becomes the document's. Warnings are shown, and are no failure. */
static ErrCode conclude(Cli *cli, const VerifyResult *r, json_t *checked, const char *hint,
                        Err *err)
{
    json_object_set_new(out_doc(&cli->out), "ok", json_boolean(r->findings == 0));
    json_object_set_new(out_doc(&cli->out), "checked", checked);
    if (!r->findings)
        return ERR_OK;
    err_set(err, ERR_FINDINGS, "%" PRIu64 " finding%s", r->findings, r->findings == 1 ? "" : "s");
    return err_hint(err, "%s", hint);
}

static ErrCode verify_without_key(Cli *cli, Err *err)
{
    static const Mode mode = {.open = cli_repo_open_without_key, .cluster = verify_cluster_stored};
    VerifyResult total = {.backups = 0};
    char bytes[TIME_TEXT_LEN];
    if (opt_bool(cli, OPT_HEAL) || opt_bool(cli, OPT_FAST) || opt_text(cli, OPT_BACKUP))
        return err_set(err, ERR_USAGE,
                       "--without-key checks all stored bytes: it does not go with --heal, --fast "
                       "or --backup");
    TRY(verify_repos(cli, &mode, &total, err));
    json_t *checked = json_pack("{s:I,s:I,s:b}", "objects", (json_int_t)total.other_objects,
                                "bytes", (json_int_t)total.bytes, "without_key", 1);
    TRY(conclude(cli, &total, checked,
                 "'pgdr verify' with the passphrase tells which backups suffer", err));
    log_info("the stored bytes are those that were written; objects: %" PRIu64
             ", read: %s; without "
             "the key it is not known whether any are missing or stand in another's place",
             total.other_objects, size_format(total.bytes, bytes));
    return ERR_OK;
}

static ErrCode verify_with_key(Cli *cli, Err *err)
{
    static const Mode mode = {.open = cli_repo_open, .cluster = verify_cluster};
    VerifyResult total = {.backups = 0};
    char bytes[TIME_TEXT_LEN];
    TRY(verify_repos(cli, &mode, &total, err));
    json_t *checked = json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "backups",
                                (json_int_t)total.backups, "packs", (json_int_t)total.packs,
                                "pages", (json_int_t)total.pages, "files", (json_int_t)total.files,
                                "wal_segments", (json_int_t)total.wal_segments, "other_objects",
                                (json_int_t)total.other_objects, "bytes", (json_int_t)total.bytes);
    TRY(conclude(cli, &total, checked, "backups that are not named in a finding are whole", err));
    log_info("%s; backups: %" PRIu64 ", packs: %" PRIu64 ", WAL segments: %" PRIu64
             ", other objects: %" PRIu64 ", read: %s",
             total.warnings ? "nothing is lost, but there are warnings" : "all is well",
             total.backups, total.packs, total.wal_segments, total.other_objects,
             size_format(total.bytes, bytes));
    return ERR_OK;
}

ErrCode cmd_verify(Cli *cli, Err *err)
{
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
    return verify_with_key(cli, err);
}
