#include "restore/plan.h"

#include <string.h>
#include <sys/stat.h>

#include "catalog/lineage.h"
#include "lib/common/file.h"
#include "restore/plan_tablespaces.h"
#include "restore/plan_timeline.h"

void restore_plan_release(RestorePlan *p)
{
    summary_release(&p->backup);
    vec_release(&p->path);
    target_point_release(&p->point);
    for (size_t i = 0; i < p->tablespaces.n; i++) {
        free(p->tablespaces.at[i].from);
        free(p->tablespaces.at[i].to);
    }
    vec_release(&p->tablespaces);
    str_list_release(&p->to_make);
    str_list_release(&p->warnings);
}

const char *target_action_name(TargetAction a)
{
    return a == ACTION_PAUSE ? "pause" : a == ACTION_SHUTDOWN ? "shutdown" : "promote";
}

/* --- backup and timeline --- */

static ErrCode no_backup(const RestoreSpec *spec, const BackupList *list, Err *err)
{
    if (list->broken.n) {
        *err = list->broken.at[list->broken.n - 1].why;
        return err_wrap(err, "no backup of '%s' in '%s' can be read; the newest, %s",
                        spec->repo->cluster, repo_url(spec->repo),
                        list->broken.at[list->broken.n - 1].id);
    }
    err_set(err, ERR_NOT_FOUND, "there is no backup of '%s' in '%s'", spec->repo->cluster,
            repo_url(spec->repo));
    return err_hint(err, "'pgdr info' lists what there is");
}

static ErrCode copy_summary(Repo *repo, const BackupSummary *b, BackupSummary *ret, Err *err)
{
    return summary_get(repo, b->id, ret, err);
}

static void store_of(const RestoreSpec *spec, const BackupSummary *b, WalStore *store)
{
    wal_store_init(store, spec->repo, b->system_id, b->wal_segment_size);
}

static ErrCode resolve(const RestoreSpec *spec, const BackupSummary *b, RestorePlan *plan, Err *err)
{
    WalStore store;
    store_of(spec, b, &store);
    TRY(target_resolve(&store, &plan->path, b, &spec->target, &plan->point, err));
    return copy_summary(spec->repo, b, &plan->backup, err);
}

/* What the operator is told when no backup is early enough. */
static ErrCode too_early_for_all(const RestoreSpec *spec, const BackupList *list,
                                 const BackupRefs *on_path, RestorePlan *plan, Err *err)
{
    char text[160], when[TIME_TEXT_LEN];
    const BackupSummary *elsewhere = NULL;
    plan->too_early = true;
    for (size_t i = 0; i < backup_count(list); i++)
        if (!plan_on_path(plan, backup_at(list, i)) &&
            plan_may_serve(&spec->target, backup_at(list, i)))
            elsewhere = backup_at(list, i);
    if (!on_path->n) {
        err_set(err, ERR_UNREACHABLE, "no backup lies on the way to timeline %u",
                plan->path.at[plan->path.n - 1].tli);
        return err_hint(err, "'pgdr info' shows each backup's timeline; --target-timeline chooses "
                             "another way");
    }
    err_set(err, ERR_UNREACHABLE,
            "%s lies before the first recovery point, the end of backup %s: %s",
            target_format(&spec->target, text), on_path->at[0]->id,
            time_format_utc(on_path->at[0]->stop_time, true, when));
    if (elsewhere)
        return err_hint(err, "timeline %u has a backup before it: --target-timeline=%u",
                        elsewhere->timeline, elsewhere->timeline);
    return err_hint(err,
                    "nothing earlier can be restored from this repository; its earliest state is "
                    "--backup=%s --type=immediate",
                    on_path->at[0]->id);
}

/* The oldest backup on the way that finds the target. Behind a hole in the WAL only a younger one
 * can; when none does, the hole is the reason. */
static ErrCode search_from_oldest(const RestoreSpec *spec, const BackupList *list,
                                  const BackupRefs *on_path, RestorePlan *plan,
                                  const BackupSummary **ret, Err *err)
{
    Err hole = {0};
    for (size_t i = 0; i < on_path->n; i++) {
        Err why = {0};
        *ret = on_path->at[i];
        ErrCode rc = resolve(spec, *ret, plan, &why);
        if (rc == ERR_OK)
            return rc;
        if (rc == ERR_WAL_MISSING && !hole.code)
            hole = why;
        if (rc == ERR_WAL_MISSING)
            continue;
        if (rc == ERR_REFUSED || hole.code)
            break;
        *err = why;
        return rc;
    }
    if (!hole.code)
        return too_early_for_all(spec, list, on_path, plan, err);
    *err = hole;
    return hole.code;
}

/*
 * Names and transactions tell nothing about where they lie: an old backup finds them, and then the
 * newest backup before that point is taken.
 */
static ErrCode resolve_by_search(const RestoreSpec *spec, const BackupList *list,
                                 const BackupRefs *on_path, RestorePlan *plan, Err *err)
{
    const BackupSummary *oldest;
    TRY(search_from_oldest(spec, list, on_path, plan, &oldest, err));
    for (size_t i = on_path->n; i-- > 0 && on_path->at[i] != oldest;) {
        if (on_path->at[i]->stop_lsn > plan->point.end)
            continue;
        Err why = {0};
        if (resolve(spec, on_path->at[i], plan, &why) == ERR_OK)
            return ERR_OK;
        break;
    }
    return resolve(spec, oldest, plan, err);
}

/* The newest backup that is early enough. */
static ErrCode resolve_newest(const RestoreSpec *spec, const BackupList *list,
                              const BackupRefs *on_path, RestorePlan *plan, Err *err)
{
    for (size_t i = on_path->n; i-- > 0;) {
        if (!plan_may_serve(&spec->target, on_path->at[i]))
            continue;
        ErrCode rc = resolve(spec, on_path->at[i], plan, err);
        if (rc != ERR_REFUSED)
            return rc; /* refused: the target lies before this backup's end */
    }
    return too_early_for_all(spec, list, on_path, plan, err);
}

/* The one that was asked for. */
static ErrCode resolve_given(const RestoreSpec *spec, const BackupList *list, RestorePlan *plan,
                             Err *err)
{
    const BackupSummary *b;
    ErrCode rc = backup_pick(list, spec->repo, spec->backup_id, &b, err);
    if (rc == ERR_NOT_FOUND)
        return err_hint(err,
                        "'pgdr info' lists what there is; without --backup the newest one that "
                        "leads to the target is taken");
    if (rc != ERR_OK)
        return rc;
    if (!plan_on_path(plan, b))
        return err_set(err, ERR_UNREACHABLE,
                       "backup %s on timeline %u does not lie on the way to timeline %u", b->id,
                       b->timeline, plan->path.at[plan->path.n - 1].tli);
    rc = resolve(spec, b, plan, err);
    if (rc == ERR_REFUSED) {
        err->code = ERR_UNREACHABLE;
        err_hint(err, "leave --backup out, and an older backup is chosen if there is one");
        return ERR_UNREACHABLE;
    }
    return rc;
}

static ErrCode choose_backup(const RestoreSpec *spec, const BackupList *list, RestorePlan *plan,
                             Err *err)
{
    BackupRefs on_path AUTO(backup_refs_release) = {0};
    if (spec->backup_id)
        return resolve_given(spec, list, plan, err);
    backups_on_path(list, plan->system_id, plan->wal_segment_size, &plan->path, &on_path);
    if (spec->target.type == TARGET_XID || spec->target.type == TARGET_NAME)
        return resolve_by_search(spec, list, &on_path, plan, err);
    return resolve_newest(spec, list, &on_path, plan, err);
}

static ErrCode plan_target(const RestoreSpec *spec, RestorePlan *plan, Err *err)
{
    BackupList list AUTO(backup_list_release) = {.broken = {0}};
    Lineage lineage AUTO(lineage_release) = {.steps = {0}};
    const BackupSummary *newest = NULL;
    WalStore store;
    TRY(backup_list_read(spec->repo, &list, err));
    for (size_t i = 0; i < list.broken.n; i++)
        vec_push(&plan->warnings, mem_printf("backup %s cannot be read: %s", list.broken.at[i].id,
                                             list.broken.at[i].why.message));
    if (spec->backup_id)
        newest = backup_find(&list, spec->backup_id);
    for (size_t i = backup_count(&list); i-- > 0 && !newest;)
        if (plan_may_serve(&spec->target, backup_at(&list, i)))
            newest = backup_at(&list, i);
    if (!newest && backup_count(&list))
        newest = backup_at(&list, backup_count(&list) - 1);
    if (!newest)
        return no_backup(spec, &list, err);
    plan->system_id = newest->system_id;
    plan->wal_segment_size = newest->wal_segment_size;
    store_of(spec, newest, &store);
    TRY(lineage_read(&store, &lineage, err));
    TRY(plan_choose_path(spec, &lineage, &list, newest, plan, err));
    ErrCode rc = choose_backup(spec, &list, plan, err);
    bool other = false;
    if (rc == ERR_UNREACHABLE)
        TRY(plan_choose_younger(spec, &lineage, &list, plan, &other, err));
    if (other)
        rc = choose_backup(spec, &list, plan, err);
    if (rc != ERR_OK)
        return rc;
    if (plan->point.warning[0])
        vec_push(&plan->warnings, mem_strdup(plan->point.warning));
    if (plan->backup.from_standby)
        vec_push(&plan->warnings,
                 mem_printf("the backup was taken from a standby on host '%s': what the data "
                            "directory holds of configuration (port, paths) is the standby's",
                            plan->backup.host));
    return ERR_OK;
}

/* --- directories --- */

static ErrCode directory_check(const RestoreSpec *spec, const RestorePlan *plan, Err *err)
{
    if (plan->dir_state != TARGET_DIR_ABSENT && plan->dir_state != TARGET_DIR_EMPTY)
        TRY(target_dir_check_stopped(spec->to, err));
    switch (plan->dir_state) {
    case TARGET_DIR_ABSENT:
    case TARGET_DIR_EMPTY:
        break;
    case TARGET_DIR_OTHER:
        err_set(err, ERR_REFUSED, "'%s' is not empty, and is no data directory of PostgreSQL",
                spec->to);
        return err_hint(err, "choose an empty directory with --to");
    case TARGET_DIR_CLUSTER:
        if (spec->delta)
            break;
        err_set(err, ERR_REFUSED, "'%s' holds a cluster", spec->to);
        return err_hint(err, "add --delta to turn it into the restored one (its WAL is saved "
                             "first), or choose an empty directory with --to");
    case TARGET_DIR_INTERRUPTED:
        if (spec->delta)
            break;
        err_set(err, ERR_REFUSED, "a restore into '%s' was interrupted", spec->to);
        return err_hint(err, "add --delta to continue it: what is there already is kept");
    }
    return ERR_OK;
}

/* A repository must not be written over, nor be removed as what the backup does not have. */
ErrCode plan_keep_out(const RestoreSpec *spec, const char *dir, bool is_empty, Err *err)
{
    for (size_t i = 0; i < spec->keep_out.n; i++) {
        const char *repo = spec->keep_out.at[i];
        if (repo[0] != '/')
            continue; /* no directory */
        if (dir_is_inside(dir, repo)) {
            err_set(err, ERR_REFUSED, "'%s' lies inside the repository '%s'", dir, repo);
            return err_hint(err, "choose a directory outside of it");
        }
        if (!is_empty && dir_is_inside(repo, dir)) {
            err_set(err, ERR_REFUSED,
                    "the repository '%s' lies inside '%s' and would be removed with what the "
                    "backup does not have",
                    repo, dir);
            return err_hint(err, "restore into an empty directory with --to, or move the "
                                 "repository out first");
        }
    }
    return ERR_OK;
}

static ErrCode plan_directory(const RestoreSpec *spec, RestorePlan *plan, Err *err)
{
    TRY(target_dir_look(spec->to, &plan->dir_state, err));
    Err why = {0};
    bool is_left = plan->dir_state != TARGET_DIR_CLUSTER &&
                   plan->dir_state != TARGET_DIR_INTERRUPTED; /* used as it is, or refused */
    ErrCode rc = plan_keep_out(spec, spec->to, is_left, &why);
    if (rc == ERR_OK)
        rc = directory_check(spec, plan, &why);
    if (rc == ERR_REFUSED)
        plan->refusal = why;
    else if (rc != ERR_OK)
        *err = why;
    if (rc != ERR_OK && rc != ERR_REFUSED)
        return rc;
    return dir_free_space(spec->to, &plan->free_bytes, err);
}

static void check_identity(const RestoreSpec *spec, RestorePlan *plan)
{
    if (plan->dir_state != TARGET_DIR_CLUSTER || plan->refusal.code)
        return;
    uint64_t there = target_dir_system_id(spec->to);
    if (!there || there == plan->backup.system_id)
        return;
    err_set(&plan->refusal, ERR_REFUSED,
            "'%s' holds another cluster: its system identifier is %llu, the backup's is %llu",
            spec->to, (unsigned long long)there, (unsigned long long)plan->backup.system_id);
    err_hint(&plan->refusal, "restore into an empty directory with --to");
}

/* --- the rest --- */

static ErrCode plan_sizes(const RestoreSpec *spec, RestorePlan *plan, Err *err)
{
    ManifestReader *m AUTO(manifest_reader_closep) = NULL;
    TRY(manifest_reader_open(spec->repo, plan->backup.id, &plan->backup.manifest, &m, err));
    const ManifestHeader *h = manifest_reader_header(m);
    plan->bytes = h->bytes;
    plan->files = plan->backup.files;
    TRY(plan_tablespaces(spec, h, plan, err));
    uint32_t size = plan->backup.wal_segment_size;
    plan->wal_from = plan->backup.start_lsn;
    plan->wal_to = plan->point.end;
    plan->wal_segments = wal_segno_before(plan->wal_to, size) - wal_segno(plan->wal_from, size) + 1;
    /* A tablespace on another filesystem makes this too strict; the disk says so in the end. */
    if (plan->bytes > plan->free_bytes && !plan->refusal.code &&
        plan->dir_state != TARGET_DIR_CLUSTER && plan->dir_state != TARGET_DIR_INTERRUPTED &&
        !plan->tablespaces.n) {
        char need[TIME_TEXT_LEN], have[TIME_TEXT_LEN];
        err_set(err, ERR_NO_SPACE, "the backup has %s, the filesystem of '%s' has %s free",
                size_format(plan->bytes, need), spec->to, size_format(plan->free_bytes, have));
        return err_hint(err, "choose a larger place with --to, or free space");
    }
    return ERR_OK;
}

/* The cluster that would be replaced may have what the repository lacks. */
static ErrCode hint_old_wal(const RestoreSpec *spec, const RestorePlan *plan, Err *err)
{
    Err why = {0};
    bool helps = (err->code == ERR_UNREACHABLE || err->code == ERR_WAL_MISSING) &&
                 !plan->too_early && !spec->old_wal_in;
    if (!helps || plan->dir_state != TARGET_DIR_CLUSTER ||
        target_dir_check_stopped(spec->to, &why) != ERR_OK ||
        target_dir_system_id(spec->to) != plan->system_id)
        return err->code;
    return err_hint(err,
                    "'%s/pg_wal' may reach further: with --delta --yes, and without --dry-run, it "
                    "is saved first and counts",
                    spec->to);
}

ErrCode restore_plan_make(const RestoreSpec *spec, RestorePlan *ret, Err *err)
{
    RestorePlan plan AUTO(restore_plan_release) = {.bytes = 0};
    TRY(plan_directory(spec, &plan, err));
    if (plan_target(spec, &plan, err) != ERR_OK)
        return hint_old_wal(spec, &plan, err);
    check_identity(spec, &plan);
    TRY(plan_sizes(spec, &plan, err));
    *ret = plan;
    plan = (RestorePlan){.bytes = 0};
    return ERR_OK;
}

char *restore_command_of(const RestoreSpec *spec, const RestorePlan *plan)
{
    Buf path AUTO(buf_release) = {0};
    timeline_path_format(&plan->path, &path);
    char *end AUTO(mem_freep) =
        plan->point.to_end ? mem_strdup("")
                           : mem_printf(" --target-end=" LSN_FMT, LSN_ARG(plan->point.end));
    return mem_printf("%s --timeline-path=%s%s %%f \"%%p\"", spec->restore_command, buf_str(&path),
                      end);
}
