#include "cli/passphrase_command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/common/digest.h"
#include "lib/common/workers.h"

#define LOOK_EVERY_MS 20 /* at whether it has ended, and whether we are to end */

extern char **environ;

typedef struct Asked {
    const char *command;
    pid_t pid; /* 0: it has been waited for */
    int out;   /* -1: at its end */
    int status;
} Asked;

static ErrCode asked_start(Asked *a, Err *err)
{
    int ends[2];
    char shell[] = "sh", run[] = "-c";
    char *argv[] = {shell, run, (char *)(uintptr_t)a->command, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t broken_pipe;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_errno(err, errno, "cannot run passphrase-command '%s'", a->command);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    /* We ignore it; programs in a pipe expect it. */
    sigemptyset(&broken_pipe);
    sigaddset(&broken_pipe, SIGPIPE);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigdefault(&attr, &broken_pipe);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF);
    int errnum = posix_spawn(&a->pid, "/bin/sh", &actions, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (errnum != 0) {
        close(ends[0]);
        a->pid = 0;
        return err_errno(err, errnum, "cannot run passphrase-command '%s'", a->command);
    }
    a->out = ends[0];
    return ERR_OK;
}

static void asked_release(Asked *a)
{
    if (a->pid) {
        kill(a->pid, SIGKILL);
        while (waitpid(a->pid, &a->status, 0) < 0 && errno == EINTR)
            ;
        a->pid = 0;
    }
    if (a->out >= 0)
        close(a->out);
    a->out = -1;
}

/* Reads what is there, waiting a moment for it. *ret_idle: there was nothing. */
static ErrCode asked_read(Asked *a, size_t max, Buf *ret, bool *ret_idle, Err *err)
{
    struct pollfd p = {.fd = a->out, .events = POLLIN};
    *ret_idle = true;
    if (poll(&p, 1, LOOK_EVERY_MS) <= 0 || a->out < 0) /* poll passes over -1 */
        return ERR_OK;
    *ret_idle = false;
    if (ret->len >= max)
        return err_set(err, ERR_CONFIG, "passphrase-command '%s' prints more than %zu bytes",
                       a->command, max);
    size_t room = max - ret->len;
    ssize_t n = read(a->out, buf_reserve(ret, room), room);
    if (n > 0) {
        ret->len += (size_t)n;
    } else if (n == 0 || errno != EINTR) {
        close(a->out);
        a->out = -1;
    }
    return ERR_OK;
}

static ErrCode asked_wait(Asked *a, size_t max, TimeUs limit, Buf *ret, Err *err)
{
    TimeUs until = time_monotonic() + limit;
    bool idle = false;
    /* What an ended command left in the pipe is still read. */
    while (a->pid || (a->out >= 0 && !idle)) {
        TRY(cancel_check(err));
        TRY(asked_read(a, max, ret, &idle, err));
        if (a->pid && waitpid(a->pid, &a->status, WNOHANG) != 0) {
            a->pid = 0;
            idle = false;
        }
        if (a->pid && time_monotonic() > until) {
            err_set(err, ERR_TIMEOUT, "passphrase-command '%s' gave no answer in %lld s",
                    a->command, (long long)(limit / US_PER_SECOND));
            return err_hint(err, "make it faster, or set \"io-timeout\" higher");
        }
    }
    return ERR_OK;
}

static ErrCode asked_judge(const Asked *a, Err *err)
{
    if (WIFSIGNALED(a->status))
        return err_set(err, ERR_CONFIG, "passphrase-command '%s' was killed by signal %d",
                       a->command, WTERMSIG(a->status));
    if (WEXITSTATUS(a->status) != 0)
        return err_set(err, ERR_CONFIG, "passphrase-command '%s' failed with status %d", a->command,
                       WEXITSTATUS(a->status));
    return ERR_OK;
}

ErrCode passphrase_command_run(const char *command, size_t max, TimeUs limit, Buf *ret, Err *err)
{
    Asked a = {.command = command, .out = -1};
    buf_reserve(ret, max); /* once: a buffer that moves leaves a copy of the passphrase */
    TRY(asked_start(&a, err));
    ErrCode rc = asked_wait(&a, max, limit, ret, err);
    asked_release(&a);
    return rc == ERR_OK ? asked_judge(&a, err) : rc;
}
