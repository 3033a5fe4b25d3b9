#include "tests/storage/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Child {
    pid_t pid;
    int out;
} Child;

static Child child_start(Job *job, void (*fn)(Job *))
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    Child child = {.pid = fork(), .out = ends[0]};
    assert_true(child.pid >= 0);
    if (child.pid == 0) {
        close(ends[0]);
        fn(job);
        ssize_t n = write(ends[1], job->failure, strlen(job->failure));
        _exit(n == (ssize_t)strlen(job->failure) ? 0 : 1);
    }
    close(ends[1]);
    return child;
}

static void child_end(Child *child, char *text, size_t len)
{
    size_t got = 0;
    for (ssize_t n; got < len - 1 && (n = read(child->out, text + got, len - 1 - got)) > 0;)
        got += (size_t)n;
    text[got] = '\0';
    close(child->out);
    int status = 0;
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!got && status != 0)
        snprintf(text, len, "ended with status %d", status);
}

void run_children(unsigned n, unsigned rounds, void (*fn)(Job *), void *shared)
{
    Child *children AUTO(mem_freep) = mem_zero(n * sizeof(*children));
    char *texts AUTO(mem_freep) = mem_zero(n * 4096);
    for (unsigned i = 0; i < n; i++) {
        Job job = {.index = i, .rounds = rounds, .shared = shared};
        children[i] = child_start(&job, fn);
    }
    for (unsigned i = 0; i < n; i++)
        child_end(&children[i], texts + i * 4096, 4096);
    for (unsigned i = 0; i < n; i++) {
        char *text = texts + i * 4096;
        if (strncmp(text, "SKIP", 4) == 0) {
            print_message("%s\n", text);
            skip();
        }
        if (*text)
            fail_msg("child %u: %s", i, text);
    }
}

void run_child(void (*fn)(Job *), void *shared)
{
    run_children(1, 1, fn, shared);
}

bool child_drop_rights(void)
{
    return geteuid() == 0 && setgroups(0, NULL) == 0 && setresgid(65534, 65534, 65534) == 0 &&
           setresuid(65534, 65534, 65534) == 0;
}

static bool write_text(const char *path, const char *text)
{
    int fd AUTO(fd_closep) = open(path, O_WRONLY | O_CLOEXEC);
    return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

bool child_private_mounts(Job *job)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    char map[64];
    bool done = unshare(uid == 0 ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) == 0;
    if (done && uid != 0) {
        snprintf(map, sizeof(map), "0 %u 1", (unsigned)uid);
        done = write_text("/proc/self/setgroups", "deny") && write_text("/proc/self/uid_map", map);
        snprintf(map, sizeof(map), "0 %u 1", (unsigned)gid);
        done = done && write_text("/proc/self/gid_map", map);
    }
    if (done && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
        return true;
    snprintf(job->failure, sizeof(job->failure),
             "SKIP: neither root nor a user namespace to mount in: %s", strerror(errno));
    return false;
}
