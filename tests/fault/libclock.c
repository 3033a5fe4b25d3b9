/*
 * libclock.so: a PostgreSQL server whose clock can be set.
 *
 * Loaded with LD_PRELOAD, it adds to what gettimeofday() says, from which the server takes the
 * times of its transactions, the seconds that stand as a decimal number in the file CLOCK_FILE. The
 * file is read at every call, so that a test can set the clock, also back, while the server runs.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

static long offset(void)
{
    char text[32];
    const char *path = getenv("CLOCK_FILE");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return strtol(text, NULL, 10);
}

__attribute__((visibility("default"))) int gettimeofday(struct timeval *restrict tv,
                                                        void *restrict tz)
{
    int (*next)(struct timeval *restrict, void *restrict) =
        (__typeof__(&gettimeofday))dlsym(RTLD_NEXT, "gettimeofday");
    int rc = next(tv, tz);
    if (rc == 0)
        tv->tv_sec += offset();
    return rc;
}
