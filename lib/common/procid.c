#include "lib/common/procid.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/common/file.h"

#define STAT_START_FIELD 22

static bool read_line(const char *path, char *line, size_t size)
{
    int fd AUTO(fd_closep) = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, line, size - 1);
    if (n <= 0)
        return false;
    line[n] = '\0';
    line[strcspn(line, "\n")] = '\0';
    return true;
}

/* "<boot id>/<namespace>": where a pid means anything. */
static bool scope(char out[64 + 32])
{
    char boot[64], ns[32];
    if (!read_line("/proc/sys/kernel/random/boot_id", boot, sizeof(boot)))
        return false;
    ssize_t n = readlink("/proc/self/ns/pid", ns, sizeof(ns) - 1);
    if (n <= 0)
        return false;
    ns[n] = '\0';
    snprintf(out, 64 + 32, "%.40s/%.30s", boot, ns);
    return true;
}

/* In clock ticks since boot; false for one that is gone or only waits to be reaped. The name of the
 * program, which may hold anything, ends with the last
 * ')'. */
static bool start_of(long pid, unsigned long long *ret)
{
    char path[64], stat[1024];
    snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
    if (!read_line(path, stat, sizeof(stat)))
        return false;
    const char *at = strrchr(stat, ')');
    if (!at || strncmp(at, ") Z", 3) == 0)
        return false;
    for (int field = 2; at && field < STAT_START_FIELD; field++)
        at = strchr(at + 1, ' ');
    return at && sscanf(at, " %llu", ret) == 1;
}

void procid_of(long pid, char out[PROCID_MAX])
{
    char where[64 + 32];
    unsigned long long start;
    out[0] = '\0';
    if (scope(where) && start_of(pid, &start))
        snprintf(out, PROCID_MAX, "%s/%ld/%llu", where, pid, start);
}

void procid_self(char out[PROCID_MAX])
{
    procid_of(getpid(), out);
}

bool procid_is_gone(const char *mark)
{
    char where[64 + 32];
    long pid;
    unsigned long long start, now;
    if (!scope(where))
        return false;
    size_t n = strlen(where);
    if (strncmp(mark, where, n) != 0 || sscanf(mark + n, "/%ld/%llu", &pid, &start) != 2)
        return false;
    return !start_of(pid, &now) || now != start;
}
