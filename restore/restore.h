#ifndef PGDR_RESTORE_RESTORE_H
#define PGDR_RESTORE_RESTORE_H

/*
 * Carrying out a plan. Until the last step the directory holds no pg_control and cannot be taken
 * for a cluster; a marker file tells that a restore is on its way, and --delta continues one that
 * was interrupted.
 */

#include "lib/common/progress.h"
#include "restore/plan.h"
#include "restore/rescue.h"

typedef struct RestoreResult {
    uint64_t files, bytes; /* restored */
    uint64_t written;      /* bytes that had to be written */
    uint64_t removed;      /* paths that were not in the backup */
    RescueResult rescued;
    StrList dropped; /* recovery settings of a former restore */
    TimeUs elapsed;
} RestoreResult;
void restore_result_release(RestoreResult *r);

/*
 * Saves the WAL of the cluster that will be replaced before there is a plan, so that the plan can
 * count on it: into spec->repo, when a stopped cluster of one of its backups is there. Anything
 * else that may lie in the directory is the plan's to judge. Changes nothing in the directory.
 */
MUST_CHECK ErrCode restore_save_old(const RestoreSpec *spec, RescueResult *ret, Err *err);

/* What the plan will replace in an existing directory, for asking first: true when anything. */
bool restore_destroys(const RestorePlan *plan);

/* ERR_REFUSED when the plan says so. */
MUST_CHECK ErrCode restore_run(const RestoreSpec *spec, const RestorePlan *plan, unsigned jobs,
                               Progress *progress, RestoreResult *ret, Err *err);

#endif
