#ifndef PGDR_RESTORE_PLAN_TIMELINE_H
#define PGDR_RESTORE_PLAN_TIMELINE_H

/*
 * Which way through the timelines a restore takes, when the operator does not say it.
 *
 * The way is that of the cluster's last life: the newest timeline that a backup leads to, though
 * the newest backup may belong to an older one that another restore has left behind. To a time
 * belongs the life that was lived then: the newest timeline that had begun.
 */

#include "catalog/lineage.h"
#include "restore/plan.h"

/* Sets plan->path. `newest` is the newest backup that may serve the target. */
MUST_CHECK ErrCode plan_choose_path(const RestoreSpec *spec, const Lineage *lineage,
                                    const BackupList *list, const BackupSummary *newest,
                                    RestorePlan *plan, Err *err);

/*
 * Another way to a time at which nothing is known to have been written on plan->path: a younger
 * timeline that goes over it to its very end, as after a failover. *ret: plan->path is that now.
 */
MUST_CHECK ErrCode plan_choose_younger(const RestoreSpec *spec, const Lineage *lineage,
                                       const BackupList *list, RestorePlan *plan, bool *ret,
                                       Err *err);

/* Whether a backup lies on the way, and is of the same system: an upgraded or newly initialised
 * cluster of the same name begins again on timeline 1. */
bool plan_on_path(const RestorePlan *plan, const BackupSummary *b);
/* Whether a backup may serve the target, by what its summary alone tells. */
bool plan_may_serve(const TargetSpec *t, const BackupSummary *b);

#endif
