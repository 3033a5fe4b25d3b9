#include "lib/storage/wait.h"

#include "lib/common/workers.h"

/* How long a request to end may go unnoticed. */
#define SLICE (US_PER_SECOND / 5)

TimeUs wait_now(const StorageClock *clock)
{
    return clock ? clock->now(clock->arg) : time_monotonic();
}

ErrCode wait_for(const StorageClock *clock, TimeUs us, Err *err)
{
    while (us > 0) {
        TRY(cancel_check(err));
        TimeUs slice = MIN(us, SLICE);
        if (clock)
            clock->sleep(clock->arg, slice);
        else
            time_sleep(slice);
        us -= slice;
    }
    return cancel_check(err);
}
