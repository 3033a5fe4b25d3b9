/*
 * Does libfault.so do what its head says? The program runs itself again under it: child_* below are
 * what the second run does, each call's errno (0 for success) printed on standard output.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 8
#define WRITES_EACH 10000

static char self[PATH_MAX];
static char library[PATH_MAX];

/* ---- what runs under the library ---- */

#define STEPS 17

#define STEP(call) (errno = 0, printf("%d ", (call) < 0 ? errno : 0), fflush(stdout))

/* One call of every kind, in the folder `.`; a step that fails does not stop the next. */
static void child_steps(void)
{
    char proc[64];
    struct iovec iov[2] = {{(char[]){"abcd"}, 4}, {(char[]){"efgh"}, 4}};
    int fd = -1, unnamed = -1;
    STEP(mkdir("d", 0777));
    STEP(fd = open("d/a", O_RDWR | O_CREAT, 0666));
    STEP(write(fd, "0123456789", 10));
    STEP(pwrite(fd, "0123", 4, 10));
    STEP(writev(fd, iov, 2));
    STEP(pwritev(fd, iov, 2, 20));
    STEP(fsync(fd));
    STEP(fdatasync(fd));
    STEP(syncfs(fd));
    STEP(ftruncate(fd, 5));
    STEP(close(fd));
    STEP(link("d/a", "d/b"));
    STEP(rename("d/b", "d/c"));
    STEP(unlink("d/c"));
    STEP(unnamed = open("d", O_RDWR | O_TMPFILE, 0666));
    snprintf(proc, sizeof(proc), "/proc/self/fd/%d", unnamed);
    STEP(linkat(AT_FDCWD, proc, AT_FDCWD, "d/e", AT_SYMLINK_FOLLOW));
    STEP(close(unnamed));
}

/* Each thread has a file of its own, so that the kernel's lock does not keep them apart. */
static void *write_much(void *arg)
{
    char name[16];
    intptr_t failed = 0;
    snprintf(name, sizeof(name), "t%d", *(int *)arg);
    int fd = open(name, O_RDWR | O_CREAT, 0666);
    for (int i = 0; i < WRITES_EACH; i++)
        failed += pwrite(fd, "x", 1, 0) != 1;
    close(fd);
    return (void *)failed;
}

/* Prints how many of the writes of all threads failed. */
static void child_threads(void)
{
    pthread_t threads[THREADS];
    int numbers[THREADS];
    intptr_t all = 0;
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        pthread_create(&threads[i], NULL, write_much, &numbers[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        all += (intptr_t)failed;
    }
    printf("%d", (int)all);
}

/* Prints what each of four writes of ten bytes returned. */
static void child_lines(void)
{
    int fd = open("l", O_WRONLY | O_CREAT | O_APPEND, 0666);
    for (int i = 0; i < 4; i++) {
        printf("%d ", (int)write(fd, "0123456789", 10));
        fflush(stdout);
    }
    close(fd);
}

/* Reads, and writes elsewhere: nothing that the folder `watched` sees. */
static void child_elsewhere(void)
{
    char byte;
    int fd = open("l", O_RDONLY);
    STEP(read(fd, &byte, 1));
    close(fd);
    fd = open("../elsewhere", O_WRONLY | O_CREAT, 0666);
    STEP(write(fd, "x", 1));
    STEP(fsync(fd));
    STEP(close(fd));
    STEP(rename("../elsewhere", "../watched-not"));
    STEP(unlink("../watched-not"));
}

static int child(const char *what)
{
    if (strcmp(what, "steps") == 0)
        child_steps();
    else if (strcmp(what, "threads") == 0)
        child_threads();
    else if (strcmp(what, "lines") == 0)
        child_lines();
    else if (strcmp(what, "elsewhere") == 0)
        child_elsewhere();
    else
        return 125;
    fflush(stdout);
    return 0;
}

/* ---- the tests ---- */

typedef struct Bed {
    char dir[64];     /* of the test */
    char watched[80]; /* FAULT_DIR, and the working folder of the child */
    char state[80];
    char trace[80];
    char out[4096]; /* what the child printed */
    int status;     /* of the child, as waitpid gives it */
    bool stops;     /* it is expected to stop, and is then let go on */
    int stopped;    /* the size of the file "l" then */
} Bed;

static int bed_new(void **ret)
{
    Bed *bed = calloc(1, sizeof(*bed));
    strcpy(bed->dir, "/tmp/pgdr-fault-XXXXXX");
    if (!bed || !mkdtemp(bed->dir))
        return -1;
    snprintf(bed->watched, sizeof(bed->watched), "%s/watched", bed->dir);
    snprintf(bed->state, sizeof(bed->state), "%s/state", bed->dir);
    snprintf(bed->trace, sizeof(bed->trace), "%s/trace", bed->dir);
    *ret = bed;
    return mkdir(bed->watched, 0777);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int bed_free(void **state)
{
    Bed *bed = *state;
    int rc = nftw(bed->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(bed);
    return rc;
}

/* Empties the watched folder and the count. */
static void bed_reset(Bed *bed)
{
    nftw(bed->watched, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    assert_int_equal(mkdir(bed->watched, 0777), 0);
    unlink(bed->state);
    unlink(bed->trace);
}

static void run_as_child(const Bed *bed, char *const argv[], char *const settings[])
{
    setenv("FAULT_DIR", bed->watched, 1);
    setenv("FAULT_STATE", bed->state, 1);
    setenv("FAULT_TRACE", bed->trace, 1);
    for (size_t i = 0; settings[i]; i++)
        putenv(settings[i]);
    setenv("ASAN_OPTIONS", "verify_asan_link_order=0", 1);
    setenv("LD_PRELOAD", library, 1);
    if (chdir(bed->watched) == 0)
        execv(argv[0], argv);
    _exit(126);
}

static void bed_let_go_on(Bed *bed, pid_t pid)
{
    char path[PATH_MAX];
    struct stat st;
    assert_int_equal(waitpid(pid, &bed->status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(bed->status));
    snprintf(path, sizeof(path), "%s/l", bed->watched);
    assert_int_equal(stat(path, &st), 0);
    bed->stopped = (int)st.st_size;
    kill(pid, SIGCONT);
}

/* Runs argv under the library with these settings (NAME=value), and gathers what it prints. */
static void bed_exec(Bed *bed, char *const argv[], char *const settings[])
{
    int out[2];
    assert_int_equal(pipe(out), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(out[1], 1);
        close(out[0]);
        close(out[1]);
        run_as_child(bed, argv, settings);
    }
    close(out[1]);
    if (bed->stops)
        bed_let_go_on(bed, pid);
    size_t len = 0;
    for (ssize_t n = 1; n > 0; len += (size_t)n) {
        n = read(out[0], bed->out + len, sizeof(bed->out) - 1 - len);
        assert_true(n >= 0);
    }
    bed->out[len] = '\0';
    close(out[0]);
    assert_int_equal(waitpid(pid, &bed->status, 0), pid);
}

#define bed_run(bed, what, ...)                                                                    \
    bed_exec(bed, (char *[]){self, (char[]){"child"}, (char[]){what}, NULL},                       \
             (char *[]){__VA_ARGS__, NULL})

#define SETTING(text) ((char[]){text})

static void read_counts(const Bed *bed, uint64_t ret_counts[2])
{
    FILE *f = fopen(bed->state, "r");
    assert_non_null(f);
    assert_int_equal(fread(ret_counts, 8, 2, f), 2);
    fclose(f);
}

static void expect_counts(const Bed *bed, uint64_t calls, uint64_t faults)
{
    uint64_t counts[2];
    read_counts(bed, counts);
    assert_int_equal(counts[0], calls);
    assert_int_equal(counts[1], faults);
}

/* The errors that the child printed, one for each step. */
static void read_errors(const Bed *bed, int ret_errors[STEPS])
{
    const char *p = bed->out;
    for (int i = 0; i < STEPS; i++) {
        char *end;
        ret_errors[i] = (int)strtol(p, &end, 10);
        assert_ptr_not_equal(end, p);
        p = end;
    }
}

static void counts_every_kind(void **state)
{
    Bed *bed = *state;
    bed_run(bed, "steps", SETTING("FAULT_ACTION=count"));
    int errors[STEPS];
    read_errors(bed, errors);
    for (int i = 0; i < STEPS; i++)
        assert_int_equal(errors[i], 0);
    expect_counts(bed, STEPS, 0);
}

static void fails_the_nth_of_every_n(void **state)
{
    Bed *bed = *state;
    for (int n = 1; n <= STEPS; n++) {
        char nth[32];
        snprintf(nth, sizeof(nth), "FAULT_NTH=%d", n);
        bed_reset(bed);
        bed_run(bed, "steps", SETTING("FAULT_ACTION=ENOSPC"), nth);
        int errors[STEPS];
        read_errors(bed, errors);
        /* A step before it is unharmed; one after it may suffer from it, with an error of its own.
         */
        for (int i = 0; i < n; i++)
            if (errors[i] != (i == n - 1 ? ENOSPC : 0))
                fail_msg("n = %d: step %d gave %d", n, i + 1, errors[i]);
        for (int i = n; i < STEPS; i++)
            if (errors[i] == ENOSPC)
                fail_msg("n = %d: step %d failed too", n, i + 1);
    }
}

static void repeats(void **state)
{
    Bed *bed = *state;
    bed_run(bed, "lines", SETTING("FAULT_OPS=write"), SETTING("FAULT_ACTION=EIO"),
            SETTING("FAULT_NTH=2"), SETTING("FAULT_REPEAT=1"));
    assert_string_equal(bed->out, "10 -1 -1 -1 ");
    expect_counts(bed, 4, 3);
}

static void counts_only_the_kinds_asked_for(void **state)
{
    Bed *bed = *state;
    bed_run(bed, "steps", SETTING("FAULT_OPS=sync,rename"), SETTING("FAULT_ACTION=5"),
            SETTING("FAULT_NTH=4"));
    int errors[STEPS];
    read_errors(bed, errors);
    expect_counts(bed, 4, 1);
    assert_int_equal(errors[12], 5);
}

static void short_write_moves_half(void **state)
{
    Bed *bed = *state;
    bed_run(bed, "lines", SETTING("FAULT_OPS=write"), SETTING("FAULT_ACTION=short"),
            SETTING("FAULT_NTH=3"));
    assert_string_equal(bed->out, "10 10 5 10 ");
}

static off_t size_of(const Bed *bed, const char *name)
{
    char path[256];
    struct stat st;
    snprintf(path, sizeof(path), "%s/%s", bed->watched, name);
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

static void kills_before_the_nth(void **state)
{
    Bed *bed = *state;
    bed_run(bed, "lines", SETTING("FAULT_OPS=write"), SETTING("FAULT_ACTION=kill"),
            SETTING("FAULT_NTH=3"));
    assert_true(WIFSIGNALED(bed->status) && WTERMSIG(bed->status) == SIGKILL);
    assert_string_equal(bed->out, "10 10 ");
    assert_int_equal(size_of(bed, "l"), 20);
    expect_counts(bed, 3, 1);
}

static void kills_in_the_middle_of_the_nth(void **state)
{
    Bed *bed = *state;
    bed_run(bed, "lines", SETTING("FAULT_OPS=write"), SETTING("FAULT_ACTION=torn"),
            SETTING("FAULT_NTH=3"));
    assert_true(WIFSIGNALED(bed->status) && WTERMSIG(bed->status) == SIGKILL);
    assert_int_equal(size_of(bed, "l"), 25);
}

static void stops_before_the_nth(void **state)
{
    Bed *bed = *state;
    bed->stops = true;
    bed_run(bed, "lines", SETTING("FAULT_OPS=write"), SETTING("FAULT_ACTION=stop"),
            SETTING("FAULT_NTH=3"));
    assert_true(WIFEXITED(bed->status) && WEXITSTATUS(bed->status) == 0);
    assert_int_equal(bed->stopped, 20);
    assert_string_equal(bed->out, "10 10 10 10 ");
    expect_counts(bed, 4, 1);
}

static void counts_threads_together(void **state)
{
    Bed *bed = *state;
    bed_run(bed, "threads", SETTING("FAULT_OPS=write"), SETTING("FAULT_ACTION=EIO"),
            SETTING("FAULT_NTH=12345"), SETTING("FAULT_TRACE=/dev/null"));
    assert_string_equal(bed->out, "1");
    expect_counts(bed, THREADS * WRITES_EACH, 1);
}

static void counts_processes_together(void **state)
{
    Bed *bed = *state;
    bed_run(bed, "lines", SETTING("FAULT_OPS=write"), SETTING("FAULT_ACTION=EIO"),
            SETTING("FAULT_NTH=6"));
    assert_string_equal(bed->out, "10 10 10 10 ");
    bed_run(bed, "lines", SETTING("FAULT_OPS=write"), SETTING("FAULT_ACTION=EIO"),
            SETTING("FAULT_NTH=6"));
    assert_string_equal(bed->out, "10 -1 10 10 ");
}

static void leaves_alone_what_lies_elsewhere(void **state)
{
    Bed *bed = *state;
    bed_run(bed, "lines", SETTING("FAULT_ACTION=count"));
    unlink(bed->state);
    bed_run(bed, "elsewhere", SETTING("FAULT_ACTION=EIO"), SETTING("FAULT_REPEAT=1"));
    assert_string_equal(bed->out, "0 0 0 0 0 0 ");
    expect_counts(bed, 0, 0);
}

static void hits_only_the_program_asked_for(void **state)
{
    Bed *bed = *state;
    bed_run(bed, "lines", SETTING("FAULT_ACTION=EIO"), SETTING("FAULT_REPEAT=1"),
            SETTING("FAULT_PROGRAM=other"));
    assert_string_equal(bed->out, "10 10 10 10 ");
    char *shell[] = {SETTING("/bin/sh"), SETTING("-c"), SETTING("echo x > s || echo no"), NULL};
    char *settings[] = {SETTING("FAULT_ACTION=EIO"), SETTING("FAULT_PROGRAM=sh"), NULL};
    bed_exec(bed, shell, settings);
    assert_string_equal(bed->out, "no\n");
}

static void traces(void **state)
{
    Bed *bed = *state;
    bed_run(bed, "lines", SETTING("FAULT_ACTION=count"), SETTING("FAULT_OPS=open,write"));
    char want[512], got[512] = "";
    snprintf(want, sizeof(want), "1 open %s/l\n2 write %s/l\n", bed->watched, bed->watched);
    FILE *f = fopen(bed->trace, "r");
    assert_non_null(f);
    assert_int_equal(fread(got, 1, strlen(want), f), strlen(want));
    fclose(f);
    assert_string_equal(got, want);
}

static void refuses_what_it_does_not_understand(void **state)
{
    static const char *const bad[] = {"FAULT_ACTION=ENOSUCH", "FAULT_OPS=write,wirte",
                                      "FAULT_NTH=0"};
    Bed *bed = *state;
    for (size_t i = 0; i < 3; i++) {
        char setting[64];
        snprintf(setting, sizeof(setting), "%s", bad[i]);
        bed_run(bed, "lines", setting);
        assert_true(WIFEXITED(bed->status) && WEXITSTATUS(bed->status) == 125);
    }
}

/* The library lies beside the program. */
static void find_library(void)
{
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n < 0)
        exit(125);
    char *slash = strrchr(self, '/');
    snprintf(library, sizeof(library), "%.*s/libfault.so", (int)(slash - self), self);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "child") == 0)
        return child(argv[2]);
    find_library();
#define bed_test(fn) cmocka_unit_test_setup_teardown(fn, bed_new, bed_free)
    const struct CMUnitTest tests[] = {
        bed_test(counts_every_kind),
        bed_test(fails_the_nth_of_every_n),
        bed_test(repeats),
        bed_test(counts_only_the_kinds_asked_for),
        bed_test(short_write_moves_half),
        bed_test(kills_before_the_nth),
        bed_test(kills_in_the_middle_of_the_nth),
        bed_test(stops_before_the_nth),
        bed_test(counts_threads_together),
        bed_test(counts_processes_together),
        bed_test(leaves_alone_what_lies_elsewhere),
        bed_test(hits_only_the_program_asked_for),
        bed_test(traces),
        bed_test(refuses_what_it_does_not_understand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
