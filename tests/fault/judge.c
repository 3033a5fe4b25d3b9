#define _GNU_SOURCE
#include "tests/fault/judge.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *const op_names[OP_N] = {"open", "write",  "sync",  "truncate", "close",
                                           "link", "rename", "mkdir", "unlink"};

static const struct {
    const char *name;
    int value;
} errors[] = {
    {"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT}, {"EROFS", EROFS},
    {"EACCES", EACCES}, {"EPERM", EPERM},   {"ENOENT", ENOENT}, {"EEXIST", EEXIST},
    {"EINTR", EINTR},   {"EAGAIN", EAGAIN}, {"EMFILE", EMFILE}, {"ENFILE", ENFILE},
    {"ENOMEM", ENOMEM}, {"ESTALE", ESTALE}, {"EXDEV", EXDEV},   {"EINVAL", EINVAL},
    {"EMLINK", EMLINK}, {"EFBIG", EFBIG},   {"ENODEV", ENODEV}, {"EOPNOTSUPP", EOPNOTSUPP}};

#define MAX_DIRS 16

struct Counter {
    uint64_t calls;
    uint64_t faults;
};

/* Set once by setup(), constant afterwards. */
static struct {
    bool on;
    unsigned ops;
    enum Act act;
    int error;
    uint64_t nth;
    bool repeat;
    int trace;
    char *dirs[MAX_DIRS];
    size_t n_dirs;
    struct Counter own;
    struct Counter *counter;
} cfg;

/* A typing error in a test must not pass as a test without a fault. */
static void wrong(const char *variable, const char *value)
{
    dprintf(2, "libfault: %s=%s is not understood\n", variable, value);
    _exit(125);
}

static void setup_dirs(const char *list)
{
    char *copy = strdup(list);
    for (char *rest = copy, *dir; (dir = strsep(&rest, ":")) != NULL;) {
        if (!*dir)
            continue;
        if (cfg.n_dirs == MAX_DIRS)
            wrong("FAULT_DIR", list);
        char *real = realpath(dir, NULL);
        cfg.dirs[cfg.n_dirs++] = real ? real : strdup(dir);
    }
    free(copy);
}

static void setup_ops(const char *list)
{
    if (!list || !*list) {
        cfg.ops = (1U << OP_N) - 1;
        return;
    }
    char *copy = strdup(list);
    for (char *rest = copy, *name; (name = strsep(&rest, ",")) != NULL;) {
        unsigned op = 0;
        while (op < OP_N && strcmp(op_names[op], name) != 0)
            op++;
        if (op == OP_N)
            wrong("FAULT_OPS", list);
        cfg.ops |= 1U << op;
    }
    free(copy);
}

static void setup_action(const char *name)
{
    static const struct {
        const char *name;
        enum Act act;
    } acts[] = {{"count", ACT_PASS},
                {"short", ACT_SHORT},
                {"kill", ACT_KILL},
                {"torn", ACT_TORN},
                {"stop", ACT_STOP}};
    for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
        if (!name || strcmp(acts[i].name, name) == 0) {
            cfg.act = acts[i].act;
            return;
        }
    cfg.act = ACT_FAIL;
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        if (strcmp(errors[i].name, name) == 0)
            cfg.error = errors[i].value;
    char *end;
    long number = strtol(name, &end, 10);
    if (!cfg.error && *name && !*end && number > 0)
        cfg.error = (int)number;
    if (!cfg.error)
        wrong("FAULT_ACTION", name);
}

/* Descriptors of the library itself are opened by system call: they are never counted. */
static int open_own(const char *path, int flags)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) {
        dprintf(2, "libfault: cannot open '%s': %s\n", path, strerror(errno));
        _exit(125);
    }
    return fd;
}

static void setup_state(const char *path)
{
    cfg.counter = &cfg.own;
    if (!path)
        return;
    int fd = open_own(path, O_RDWR);
    if (syscall(SYS_ftruncate, fd, sizeof(struct Counter)) == 0)
        cfg.counter = mmap(NULL, sizeof(struct Counter), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (cfg.counter == MAP_FAILED || cfg.counter == &cfg.own)
        wrong("FAULT_STATE", path);
    syscall(SYS_close, fd);
}

static void setup(void)
{
    const char *dirs = getenv("FAULT_DIR");
    const char *program = getenv("FAULT_PROGRAM");
    if (!dirs || (program && strcmp(program, program_invocation_short_name) != 0))
        return;
    const char *nth = getenv("FAULT_NTH");
    char *end;
    cfg.nth = nth ? strtoull(nth, &end, 10) : 1;
    if (nth && (!*nth || *end || cfg.nth == 0))
        wrong("FAULT_NTH", nth);
    const char *repeat = getenv("FAULT_REPEAT");
    cfg.repeat = repeat && strcmp(repeat, "1") == 0;
    const char *trace = getenv("FAULT_TRACE");
    cfg.trace = trace ? open_own(trace, O_WRONLY | O_APPEND) : -1;
    setup_dirs(dirs);
    setup_ops(getenv("FAULT_OPS"));
    setup_action(getenv("FAULT_ACTION"));
    setup_state(getenv("FAULT_STATE"));
    cfg.on = true;
}

bool is_on(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    /* A sanitizer that starts inside the loader makes its report's folder before there is an
     * environment to look at. */
    if (!environ)
        return false;
    int saved = errno;
    pthread_once(&once, setup);
    errno = saved;
    return cfg.on;
}

__attribute__((constructor)) static void setup_early(void)
{
    is_on();
}

/* ---- which file a call is about ---- */

static bool path_counts(const char *path)
{
    for (size_t i = 0; i < cfg.n_dirs; i++) {
        size_t n = strlen(cfg.dirs[i]);
        if (strncmp(path, cfg.dirs[i], n) == 0 && (path[n] == '/' || path[n] == '\0'))
            return true;
    }
    return false;
}

/* An unnamed or removed file reads as "/folder/#1234 (deleted)", which is still below the folder.
 */
static bool fd_path(int fd, char path[PATH_MAX])
{
    char link[64];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    path[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* The absolute form of `name` seen from `dirfd`, its folder without links; the last part need not
 * exist, and is not followed when it is a link. */
static bool name_path(int dirfd, const char *name, char path[PATH_MAX])
{
    char full[2 * PATH_MAX], dir[PATH_MAX] = "";
    if (*name != '/' &&
        !(dirfd == AT_FDCWD ? getcwd(dir, sizeof(dir)) != NULL : fd_path(dirfd, dir)))
        return false;
    snprintf(full, sizeof(full), "%s/%s", dir, name);
    for (size_t n = strlen(full); n > 1 && full[n - 1] == '/';)
        full[--n] = '\0';
    char *last = strrchr(full, '/');
    *last++ = '\0';
    char parent[PATH_MAX];
    if (!realpath(*full ? full : "/", parent))
        return false;
    snprintf(full, sizeof(full), "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, last);
    if (strlen(full) >= PATH_MAX)
        return false;
    memcpy(path, full, strlen(full) + 1);
    return true;
}

/* ---- the count and the verdict ---- */

static void trace(uint64_t n, const char *call, const char *path)
{
    char line[PATH_MAX + 64];
    int len = snprintf(line, sizeof(line), "%llu %s %s\n", (unsigned long long)n, call, path);
    if (len > 0)
        syscall(SYS_write, cfg.trace, line, (size_t)len);
}

void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static enum Act judge(enum Op op, const char *call, const char *path)
{
    if (!(cfg.ops & 1U << op) || !path_counts(path))
        return ACT_PASS;
    uint64_t n = __atomic_add_fetch(&cfg.counter->calls, 1, __ATOMIC_SEQ_CST);
    if (cfg.trace >= 0)
        trace(n, call, path);
    if (cfg.act == ACT_PASS || (cfg.repeat ? n < cfg.nth : n != cfg.nth))
        return ACT_PASS;
    __atomic_add_fetch(&cfg.counter->faults, 1, __ATOMIC_SEQ_CST);
    if (cfg.act == ACT_KILL)
        die();
    if (cfg.act == ACT_STOP) {
        kill(getpid(), SIGSTOP);
        return ACT_PASS;
    }
    return cfg.act;
}

enum Act judge_fd(enum Op op, const char *call, int fd)
{
    char path[PATH_MAX];
    int saved = errno;
    enum Act act = is_on() && fd_path(fd, path) ? judge(op, call, path) : ACT_PASS;
    errno = saved;
    return act;
}

enum Act judge_name(enum Op op, const char *call, int dirfd, const char *name)
{
    char path[PATH_MAX];
    int saved = errno;
    enum Act act = is_on() && name_path(dirfd, name, path) ? judge(op, call, path) : ACT_PASS;
    errno = saved;
    return act;
}

enum Act judge_names(enum Op op, const char *call, int old_dir, const char *old_name, int new_dir,
                     const char *new_name)
{
    char path[PATH_MAX];
    int saved = errno;
    enum Act act = ACT_PASS;
    if (is_on()) {
        if (name_path(new_dir, new_name, path) && path_counts(path))
            act = judge(op, call, path);
        else if (name_path(old_dir, old_name, path))
            act = judge(op, call, path);
    }
    errno = saved;
    return act;
}

int fault_errno(void)
{
    return cfg.error;
}
