/* The posix driver: the suite on two file systems, several processes, and what else may lie in
 * its directory. */

#include "tests/storage/child.h"
#include "tests/storage/scratch.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "lib/common/file.h"
#include "lib/common/timeutil.h"
#include "lib/storage/drivers.h"

#define PROCESSES 6

/* --- every test below has a directory of its own --- */

static int setup(void **state)
{
    *state = scratch_make(".");
    return 0;
}

static int teardown(void **state)
{
    char *dir AUTO(mem_freep) = *state;
    Err err;
    return dir_remove_tree(dir, false, &err) == ERR_OK ? 0 : -1;
}

static Storage *open_in(const char *dir)
{
    Storage *s = NULL;
    expect_ok(storage_posix_new(&s, dir, false, err));
    return s;
}

static char *below(const char *dir, const char *name)
{
    return path_join(dir, name);
}

static void make_file(const char *dir, const char *name, const char *text)
{
    char *path AUTO(mem_freep) = below(dir, name);
    expect_ok(file_replace(path, text, strlen(text), 0644, err));
}

static mode_t mode_of(const char *dir, const char *name)
{
    char *path AUTO(mem_freep) = below(dir, name);
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode & 07777;
}

/* --- processes --- */

static void put_own(Job *job)
{
    Storage *s AUTO(storage_freep) = NULL;
    JOB_OK(job, storage_posix_new(&s, job->shared, false, err));
    for (unsigned i = 0; i < job->rounds; i++) {
        char name[64];
        StrList names AUTO(str_list_release) = {0};
        snprintf(name, sizeof(name), "p/%u/%u/%u", i % 3, i, job->index);
        JOB_OK(job, put_content(s, name, 1000 + i, job->index, STORAGE_CREATE, err));
        JOB_OK(job, storage_list_names(s, name, false, &names, err));
        JOB_TRUE(job, names.n == 1);
        const char *gone = names.at[0];
        if (i % 2)
            JOB_OK(job, storage_remove(s, &gone, 1, err));
    }
}

static void processes_own_names(void **state)
{
    run_children(PROCESSES, 40, put_own, *state);
    Storage *s AUTO(storage_freep) = open_in(*state);
    StrList names AUTO(str_list_release) = {0};
    expect_ok(storage_list_names(s, "", false, &names, err));
    assert_int_equal(names.n, 20 * PROCESSES);
    for (unsigned i = 0; i < PROCESSES; i++) {
        char name[64];
        snprintf(name, sizeof(name), "p/2/38/%u", i);
        expect_content(s, name, 1038, i);
    }
}

static void put_same(Job *job)
{
    Storage *s AUTO(storage_freep) = NULL;
    JOB_OK(job, storage_posix_new(&s, job->shared, false, err));
    for (unsigned i = 0; i < job->rounds; i++) {
        char name[64], won[64];
        Err e = {0};
        snprintf(name, sizeof(name), "same/%u", i);
        snprintf(won, sizeof(won), "won/%u-%u", i, job->index);
        ErrCode rc = put_content(s, name, 50000 + job->index, job->index, STORAGE_CREATE, &e);
        if (rc == ERR_OK)
            JOB_OK(job, put_content(s, won, 0, 0, STORAGE_CREATE, err));
        JOB_TRUE(job, rc == ERR_OK || rc == ERR_EXISTS);
    }
}

static void processes_same_name(void **state)
{
    run_children(PROCESSES, 60, put_same, *state);
    Storage *s AUTO(storage_freep) = open_in(*state);
    for (unsigned i = 0; i < 60; i++) {
        char name[64];
        StrList won AUTO(str_list_release) = {0};
        snprintf(name, sizeof(name), "won/%u-", i);
        expect_ok(storage_list_names(s, name, false, &won, err));
        assert_int_equal(won.n, 1);
        unsigned winner = (unsigned)atoi(won.at[0] + strlen(name));
        snprintf(name, sizeof(name), "same/%u", i);
        expect_content(s, name, 50000 + winner, winner);
    }
}

/* --- killed while putting --- */

static size_t killed_len(unsigned i)
{
    return i % 3 == 0 ? 300 : i % 3 == 1 ? 70000 : 6 * MIB + 100;
}

/* Puts and replaces for ever. */
static void put_for_ever(const char *dir, unsigned round)
{
    Storage *s = NULL;
    Err err;
    if (storage_posix_new(&s, dir, false, &err) != ERR_OK)
        _exit(1);
    for (unsigned i = 0;; i++) {
        char name[64];
        snprintf(name, sizeof(name), "r%u/%u/%u", round, i % 4, i);
        if (put_content(s, name, killed_len(i), i, STORAGE_CREATE, &err) != ERR_OK ||
            put_content(s, "lease", killed_len(i), i, STORAGE_OVERWRITE, &err) != ERR_OK)
            _exit(1);
    }
}

static void expect_all_whole(Storage *s)
{
    StrList names AUTO(str_list_release) = {0};
    expect_ok(storage_list_names(s, "r", false, &names, err));
    for (size_t k = 0; k < names.n; k++) {
        unsigned i = (unsigned)atoi(strrchr(names.at[k], '/') + 1);
        expect_content(s, names.at[k], killed_len(i), i);
    }
}

static void killed(void **state)
{
    const char *dir = *state;
    unsigned objects = 0;
    for (unsigned round = 0; round < 25; round++) {
        pid_t pid = fork();
        if (pid == 0)
            put_for_ever(dir, round);
        /* The first object takes a moment; then anywhere in the next few puts. */
        char *first AUTO(mem_freep) = mem_printf("%s/lease", dir);
        for (unsigned i = 0; i < 2000 && access(first, F_OK) != 0; i++)
            time_sleep(1000);
        time_sleep(round * 1373);
        kill(pid, SIGKILL);
        int status;
        waitpid(pid, &status, 0);
        assert_true(WIFSIGNALED(status));

        Storage *s AUTO(storage_freep) = open_in(dir);
        StrList names AUTO(str_list_release) = {0};
        StorageStat stat;
        expect_ok(storage_stat(s, "lease", &stat, err));
        assert_true(stat.size == killed_len(0) || stat.size == killed_len(1) ||
                    stat.size == killed_len(2));
        expect_all_whole(s);
        expect_ok(storage_list_names(s, "", false, &names, err));
        objects += (unsigned)names.n;
        expect_ok(storage_remove(s, (const char *const *)names.at, names.n, err));
    }
    assert_true(objects > 50);
}

/* --- what else may lie there --- */

/* Those of the storage's directory, whatever the umask of who writes. */
static void rights_of_files(void **state)
{
    const mode_t masks[] = {0, 022, 027, 077};
    const struct {
        mode_t root, dir, file;
    } rights[] = {{0700, 0700, 0600}, {0750, 0750, 0640},   {0755, 0750, 0640},
                  {0770, 0770, 0640}, {02775, 02770, 0640}, {0710, 0710, 0600}};
    for (size_t i = 0; i < ARRAY_LEN(masks) * ARRAY_LEN(rights); i++) {
        size_t r = i / ARRAY_LEN(masks);
        char name[32];
        assert_int_equal(chmod(*state, rights[r].root), 0);
        mode_t old = umask(masks[i % ARRAY_LEN(masks)]);
        Storage *s AUTO(storage_freep) = open_in(*state);
        snprintf(name, sizeof(name), "d%02zu/x", i);
        expect_ok(put_content(s, name, 1, 1, STORAGE_CREATE, err));
        assert_int_equal(mode_of(*state, name), rights[r].file);
        expect_ok(put_content(s, name, 1, 1, STORAGE_OVERWRITE, err));
        assert_int_equal(mode_of(*state, name), rights[r].file);
        name[3] = '\0';
        assert_int_equal(mode_of(*state, name), rights[r].dir);
        umask(old);
    }
}

static void foreign_entries(void **state)
{
    const char *dir = *state;
    Storage *s AUTO(storage_freep) = open_in(dir);
    StorageStat stat;
    StorageRead read = {0};
    expect_ok(put_content(s, "d/object", 10, 1, STORAGE_CREATE, err));
    expect_ok(put_content(s, "d/z/object", 10, 1, STORAGE_CREATE, err));
    make_file(dir, "d/.hidden", "x");
    make_file(dir, "d/.pgdr-0123", "x");
    make_file(dir, "d/new\nline", "x");
    make_file(dir, "d/foreign", "four");
    char *fifo AUTO(mem_freep) = below(dir, "d/fifo"), *empty AUTO(mem_freep) = below(dir, "empty");
    char *link AUTO(mem_freep) = below(dir, "d/link"),
               *dangling AUTO(mem_freep) = below(dir, "d/to");
    char *dir_link AUTO(mem_freep) = below(dir, "d/zlink");
    assert_int_equal(mkfifo(fifo, 0600) | mkdir(empty, 0700), 0);
    assert_int_equal(symlink("object", link) | symlink("nowhere", dangling), 0);
    assert_int_equal(symlink("z", dir_link), 0);

    const char *const all[] = {"d/foreign", "d/link", "d/object", "d/z/object", "d/zlink/object"};
    const char *const level[] = {"d/foreign", "d/link", "d/object", "d/z/", "d/zlink/"};
    for (int want_stat = 0; want_stat < 2; want_stat++) {
        expect_names(s, &(StorageList){.prefix = "", .want_stat = want_stat}, all, 5);
        expect_names(s, &(StorageList){.prefix = "d/", .by_level = true, .want_stat = want_stat},
                     level, 5);
    }
    expect_names(s, &(StorageList){.prefix = "", .by_level = true}, (const char *[]){"d/"}, 1);
    expect_err(ERR_NOT_FOUND, "fifo", storage_get(s, "d/fifo", &read, err));
    expect_err(ERR_NOT_FOUND, "fifo", storage_stat(s, "d/fifo", &stat, err));
    expect_err(ERR_EXISTS, "fifo", put_content(s, "d/fifo", 1, 1, STORAGE_CREATE, err));
    expect_content(s, "d/link", 10, 1);
}

/* Files of killed writers keep an emptied directory only until they are surely nobody's. */
static void leftovers(void **state)
{
    const char *dir = *state, *name = "a/b/object";
    Storage *s AUTO(storage_freep) = open_in(dir);
    const struct timespec old[2] = {{.tv_sec = time(NULL) - 25 * 3600},
                                    {.tv_sec = time(NULL) - 25 * 3600}};
    char *left AUTO(mem_freep) = below(dir, "a/b/.pgdr-left");
    char *other AUTO(mem_freep) = below(dir, "a/b/.other");
    for (int step = 0; step < 3; step++) {
        expect_ok(put_content(s, name, 10, 1, STORAGE_CREATE, err));
        make_file(dir, "a/b/.pgdr-left", "x");
        if (step == 1)
            make_file(dir, "a/b/.other", "x");
        if (step > 0)
            assert_int_equal(utimensat(AT_FDCWD, left, old, 0), 0);
        if (step == 1)
            assert_int_equal(utimensat(AT_FDCWD, other, old, 0), 0);
        if (step == 2)
            assert_int_equal(unlink(other), 0);
        expect_ok(storage_remove(s, &name, 1, err));
        if (step != 1) /* else it depends on which of the two is found first */
            assert_int_equal(access(left, F_OK) == 0, step == 0);
        char *b AUTO(mem_freep) = below(dir, "a/b"), *a AUTO(mem_freep) = below(dir, "a");
        assert_int_equal(access(b, F_OK) == 0, step < 2);
        assert_int_equal(access(a, F_OK) == 0, step < 2);
        expect_names(s, &(StorageList){.prefix = "", .by_level = true}, NULL, 0);
    }
}

/* --- opening --- */

static void opening(void **state)
{
    const char *dir = *state;
    Storage *s = NULL;
    Err e = {0};
    char *deep AUTO(mem_freep) = below(dir, "x/y/z///"), *file AUTO(mem_freep) = below(dir, "file");
    assert_int_equal(storage_posix_new(&s, deep, false, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.message, "x/y/z"));
    assert_non_null(strstr(e.hint, "pgdr init"));
    expect_ok(storage_posix_new(&s, deep, true, err));
    assert_true(s->url[0] == '/' && strcmp(s->url + strlen(s->url) - 6, "/x/y/z") == 0);
    assert_int_equal(mode_of(dir, "x/y/z") & 0777, 0750 & 0777);
    storage_free(s);
    expect_ok(storage_posix_new(&s, deep, true, err));
    storage_free(s);
    expect_ok(storage_posix_new(&s, deep, false, err));
    storage_free(s);
    make_file(dir, "file", "x");
    expect_err(ERR_CONFIG, "not a directory", storage_posix_new(&s, file, false, err));
}

/* "Not found" would be a lie that ends a recovery. */
static void removed_below_us(void **state)
{
    char *dir AUTO(mem_freep) = below(*state, "repo");
    Storage *s AUTO(storage_freep) = NULL;
    StorageStat stat;
    StorageRead read = {0};
    TimeUs now;
    const char *name = "a/b";
    StrList names AUTO(str_list_release) = {0};
    expect_ok(storage_posix_new(&s, dir, true, err));
    expect_ok(put_content(s, "a/b", 10, 1, STORAGE_CREATE, err));
    expect_ok(dir_remove_tree(dir, false, err));
    expect_ok(dir_make(dir, 0755, err)); /* as an unmounted mount point looks */
    expect_err(ERR_IO, "was removed", storage_stat(s, "a/b", &stat, err));
    expect_err(ERR_IO, "was removed", storage_get(s, "a/b", &read, err));
    expect_err(ERR_IO, "was removed", storage_list_names(s, "", false, &names, err));
    expect_err(ERR_IO, "was removed", storage_list_names(s, "a/", true, &names, err));
    expect_err(ERR_IO, "was removed", storage_remove(s, &name, 1, err));
    expect_err(ERR_IO, "was removed", put_content(s, "a/b", 10, 1, STORAGE_CREATE, err));
    expect_err(ERR_IO, "was removed", put_content(s, "top", 10, 1, STORAGE_CREATE, err));
    expect_err(ERR_IO, "was removed", put_content(s, "top", 10, 1, STORAGE_OVERWRITE, err));
    expect_err(ERR_IO, "was removed", storage_now(s, &now, err));
    char *made AUTO(mem_freep) = below(dir, "a");
    assert_int_not_equal(access(made, F_OK), 0);
}

#define POSIX_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    Scratch disk = {.where = "."}, ram = {.where = scratch_tmpfs()};
    const Conformance on_disk = {.name = "posix on the build file system",
                                 .open = scratch_open,
                                 .clean = scratch_clean,
                                 .arg = &disk,
                                 .many = 2000,
                                 .rounds = 15};
    const Conformance on_tmpfs = {
        .name = "posix on tmpfs", .open = scratch_open, .clean = scratch_clean, .arg = &ram};
    const struct CMUnitTest tests[] = {
        POSIX_TEST(processes_own_names),
        POSIX_TEST(processes_same_name),
        POSIX_TEST(killed),
        POSIX_TEST(rights_of_files),
        POSIX_TEST(foreign_entries),
        POSIX_TEST(leftovers),
        POSIX_TEST(opening),
        POSIX_TEST(removed_below_us),
    };
    /* What forks comes first: a process that has used much memory does so slowly. */
    int failed = cmocka_run_group_tests_name("posix itself", tests, NULL, NULL);
    failed += conformance_run(&on_disk);
    if (ram.where)
        failed += conformance_run(&on_tmpfs);
    else
        printf("# SKIP posix on tmpfs: there is none to write to\n");
    return failed;
}
