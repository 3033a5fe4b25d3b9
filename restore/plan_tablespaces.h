#ifndef PGDR_RESTORE_PLAN_TABLESPACES_H
#define PGDR_RESTORE_PLAN_TABLESPACES_H

/*
 * Where tablespaces go. Those of the backup go where they were, or where they are mapped to. Those
 * that replay creates cannot be mapped: CREATE TABLESPACE in the WAL links the absolute path it was
 * made with, whatever is there. On the host of a running cluster that is the running cluster's own
 * directory, so it must be free.
 */

#include "restore/plan.h"

/*
 * Fills plan->tablespaces and plan->to_make, from the backup's manifest and plan->point. ERR_USAGE
 * for a mapping that cannot be followed; a directory that is in the way becomes plan->refusal,
 * unless there is one already.
 */
MUST_CHECK ErrCode plan_tablespaces(const RestoreSpec *spec, const ManifestHeader *h,
                                    RestorePlan *plan, Err *err);

#endif
