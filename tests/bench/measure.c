/*
 * bench-measure [--tree|--append] RESULT COMMAND [ARGUMENT...]: runs a command and writes one line
 * to the file RESULT:
 *
 *     wall user system tree_peak status
 *
 * wall, user, system  seconds; the processor time is that of the command and of everything it
 *                     started, also of what it did not wait for
 * tree_peak           bytes; with --tree the largest sum over all processes alive at one moment,
 *                     looked at every 10 ms; pages that several share are counted once (PSS).
 *                     Looking costs the command time: the times of such a run are worth nothing.
 * status              exit status, or 128 + signal
 *
 * With --append the line is added to those that are there, and what outlives the command is neither
 * waited for nor counted: so a server's own commands are measured.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOOK_EVERY_NS 10000000L
#define DEPTH_MAX 16

typedef struct Measured {
    double user, system;
    int status;
} Measured;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A process that is gone meanwhile counts as nothing. */
static unsigned long long pss_of(long pid)
{
    char path[64], line[256];
    unsigned long long kib = 0;
    snprintf(path, sizeof(path), "/proc/%ld/smaps_rollup", pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    while (fgets(line, sizeof(line), f))
        if (sscanf(line, "Pss: %llu", &kib) == 1)
            break;
    fclose(f);
    return kib * 1024;
}

static unsigned long long pss_of_tree(long pid, int depth)
{
    char path[64];
    long child;
    unsigned long long sum = pss_of(pid);
    snprintf(path, sizeof(path), "/proc/%ld/task/%ld/children", pid, pid);
    FILE *f = depth < DEPTH_MAX ? fopen(path, "re") : NULL;
    if (!f)
        return sum;
    while (fscanf(f, "%ld", &child) == 1)
        sum += pss_of_tree(child, depth + 1);
    fclose(f);
    return sum;
}

static void account(Measured *m, const struct rusage *u)
{
    m->user += (double)u->ru_utime.tv_sec + (double)u->ru_utime.tv_usec / 1e6;
    m->system += (double)u->ru_stime.tv_sec + (double)u->ru_stime.tv_usec / 1e6;
}

/* Waits for the command, and sums up what ends before it. */
static unsigned long long watch(pid_t command, int tree, Measured *m)
{
    const struct timespec pause = {.tv_nsec = LOOK_EVERY_NS};
    unsigned long long peak = 0;
    for (;;) {
        struct rusage u;
        int status;
        pid_t got = wait4(-1, &status, tree ? WNOHANG : 0, &u);
        if (got == 0) {
            unsigned long long sum = pss_of_tree(command, 0);
            peak = sum > peak ? sum : peak;
            nanosleep(&pause, NULL);
            continue;
        }
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return peak;
        account(m, &u);
        if (got != command)
            continue;
        m->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        return peak;
    }
}

/* What outlived the command: it was given to us (see main), and its time belongs to the command. */
static void reap_rest(Measured *m)
{
    struct rusage u;
    while (wait4(-1, NULL, 0, &u) > 0 || errno == EINTR)
        account(m, &u);
}

int main(int argc, char **argv)
{
    int tree = argc > 1 && strcmp(argv[1], "--tree") == 0;
    int append = argc > 1 && strcmp(argv[1], "--append") == 0;
    char **args = argv + 1 + (tree || append);
    if (argc - (tree || append) < 3) {
        fprintf(stderr, "usage: bench-measure [--tree|--append] RESULT COMMAND [ARGUMENT...]\n");
        return 2;
    }
    FILE *result = fopen(args[0], append ? "ae" : "we");
    if (!result || (!append && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0)) {
        fprintf(stderr, "bench-measure: %s: %s\n", args[0], strerror(errno));
        return 2;
    }
    Measured m = {.status = 127};
    double begun = now();
    pid_t pid = fork();
    if (pid < 0) {
        fprintf(stderr, "bench-measure: cannot fork: %s\n", strerror(errno));
        return 2;
    }
    if (pid == 0) {
        execvp(args[1], args + 1);
        fprintf(stderr, "bench-measure: cannot run '%s': %s\n", args[1], strerror(errno));
        _exit(127);
    }
    unsigned long long peak = watch(pid, tree, &m);
    double wall = now() - begun;
    if (!append)
        reap_rest(&m);
    fprintf(result, "%.6f %.6f %.6f %llu %d\n", wall, m.user, m.system, peak, m.status);
    if (fclose(result) != 0)
        return 2;
    return append ? m.status : 0;
}
