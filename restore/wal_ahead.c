#include "restore/wal_ahead.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/common/file.h"
#include "lib/common/timeutil.h"
#include "lib/common/workers.h"

#define LOOK_EVERY (US_PER_SECOND / 1000)
#define LOOK_FOR_HELPER (US_PER_SECOND / 10)

static bool hand_over(const char *path, uint32_t seg_size, const char *to)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == seg_size &&
           rename(path, to) == 0;
}

bool wal_ahead_take(const WalHelper *h, const char *segment, uint32_t seg_size, const char *to,
                    int64_t patience)
{
    char *path AUTO(mem_freep) = path_join(h->dir, segment);
    char *begun AUTO(mem_freep) = mem_printf("%s" WAL_AHEAD_BEGUN, path);
    const TimeUs until = time_monotonic() + patience;
    TimeUs look = time_monotonic() + LOOK_FOR_HELPER;
    Err ignored = {0};
    /* The mark vanishes after the segment has its name: without a mark the last look counts. */
    for (bool working = true; !hand_over(path, seg_size, to); time_sleep(LOOK_EVERY)) {
        TimeUs now = time_monotonic();
        if (!working || now > until || (now > look && !wal_helper_runs(h)) ||
            cancel_check(&ignored) != ERR_OK)
            return false;
        if (now > look)
            look = now + LOOK_FOR_HELPER;
        working = access(begun, F_OK) == 0;
    }
    return true;
}

void wal_ahead_tell(const WalHelper *h, const char *segment)
{
    char *path AUTO(mem_freep) = mem_printf("%s/%s" WAL_AHEAD_ASKED, h->dir, segment);
    int fd AUTO(fd_closep) = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    (void)fd;
}
