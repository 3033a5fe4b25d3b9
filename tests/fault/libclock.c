/*
 * libclock.so: a PostgreSQL server whose clock can be set.
 *
 * Loaded with LD_PRELOAD, it adds to what gettimeofday() says, from which the server takes the
 * times of its transactions, the seconds that stand as a decimal number in the file CLOCK_FILE. The
 * file is read at every call, so that a test can set the clock, also back, while the server runs.
 *
 * It uses only what every glibc has under its first version (so no dlsym, and no strtol, which
 * newer headers rename): a server that came with an older libc than this machine's must load it
 * too.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static long offset(void)
{
    char text[32];
    const char *path = getenv("CLOCK_FILE");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof(text));
    close(fd);
    bool negative = n > 0 && text[0] == '-';
    long seconds = 0;
    for (ssize_t i = negative; i < n && text[i] >= '0' && text[i] <= '9'; i++)
        seconds = seconds * 10 + (text[i] - '0');
    return negative ? -seconds : seconds;
}

__attribute__((visibility("default"))) int gettimeofday(struct timeval *restrict tv,
                                                        void *restrict tz)
{
    int rc = (int)syscall(SYS_gettimeofday, tv, tz);
    if (rc == 0)
        tv->tv_sec += offset();
    return rc;
}
