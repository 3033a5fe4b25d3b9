#ifndef PGDR_STORAGE_WAIT_H
#define PGDR_STORAGE_WAIT_H

/* How decorators tell the time and wait: by a StorageClock, or by real time when it is NULL. */

#include "lib/storage/drivers.h"

TimeUs wait_now(const StorageClock *clock);
/* Sleeps; ERR_CANCELLED soon after the process was asked to end. */
MUST_CHECK ErrCode wait_for(const StorageClock *clock, TimeUs us, Err *err);

#endif
