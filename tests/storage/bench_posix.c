/*
 * How fast the posix driver is on the file system of the current directory:
 *
 *     bench_posix        (of a build without sanitizers)
 */

#include "tests/storage/conformance.h"
#include "tests/storage/scratch.h"
#include "tests/storage/shim.h"

#include <fcntl.h>

#include "lib/common/file.h"
#include "lib/common/timeutil.h"
#include "lib/storage/drivers.h"

#define SMALL_PUTS 4000
#define LARGE_PUTS 20
#define LARGE_LEN (32 * MIB)
#define NAMES 100000

static double seconds_since(TimeUs began)
{
    return (double)(time_monotonic() - began) / (double)US_PER_SECOND;
}

static void put_small(Job *job)
{
    for (unsigned i = 0; i < job->rounds; i++) {
        char name[64];
        snprintf(name, sizeof(name), "small/%u-%u/%u", job->rounds, job->index, i);
        JOB_OK(job, put_content(job->s, name, 4096, i, STORAGE_CREATE, err));
    }
}

static void small_puts(void **state)
{
    const Fixture f = {.s = *state};
    for (unsigned threads = 1; threads <= 8; threads *= 2) {
        TimeUs began = time_monotonic();
        run_jobs(&f, threads, SMALL_PUTS / threads, put_small, NULL);
        print_message("put of 4 KiB, %u threads: %.0f objects/s\n", threads,
                      SMALL_PUTS / seconds_since(began));
    }
}

static void large_puts(Storage *s, const char *what, const uint8_t *data, bool buffered)
{
    shim = (Shim){.no_direct_flag = buffered};
    TimeUs began = time_monotonic();
    for (unsigned i = 0; i < LARGE_PUTS; i++) {
        char name[64];
        snprintf(name, sizeof(name), "large/%s/%u", what, i);
        expect_ok(storage_put_bytes(s, name, data, LARGE_LEN, STORAGE_CREATE, err));
    }
    double took = seconds_since(began);
    print_message("put of 32 MiB, %s: %.1f ms, %.0f MB/s\n", what, took * 1000 / LARGE_PUTS,
                  LARGE_PUTS * (double)LARGE_LEN / took / 1e6);
    shim = (Shim){0};
}

static void large(void **state)
{
    uint8_t *data AUTO(mem_freep) = content_new(LARGE_LEN + 1, 1);
    large_puts(*state, "direct, aligned memory", data, false);
    large_puts(*state, "direct, bounce buffer", data + 1, false);
    large_puts(*state, "buffered", data, true);
}

static ErrCode count_entry(void *arg, const StorageEntry *entry, Err *err)
{
    (void)entry;
    (void)err;
    ++*(unsigned *)arg;
    return ERR_OK;
}

static void drop_caches(void)
{
    Err ignored;
    sync();
    int fd AUTO(fd_closep) = -1;
    if (file_open("/proc/sys/vm/drop_caches", O_WRONLY, 0, &fd, &ignored) == ERR_OK)
        (void)!file_write(fd, "3", 1, "drop_caches", &ignored);
}

/* As WAL lies: 256 names a directory. */
static void listing(void **state)
{
    Storage *s = *state;
    for (unsigned i = 0; i < NAMES; i++) {
        char *dir AUTO(mem_freep) = mem_printf("%s/wal/%08X", s->url, i / 256);
        char *path AUTO(mem_freep) = mem_printf("%s/%024X-0123456789abcdef", dir, i);
        int fd AUTO(fd_closep) = -1;
        if (i % 256 == 0)
            expect_ok(dir_make(dir, 0755, err));
        expect_ok(file_open(path, O_CREAT | O_WRONLY, 0644, &fd, err));
    }
    for (int k = 0; k < 4; k++) {
        unsigned n = 0;
        const StorageList list = {
            .prefix = "wal/", .want_stat = k & 1, .fn = count_entry, .arg = &n};
        if (k < 2)
            drop_caches();
        TimeUs began = time_monotonic();
        expect_ok(storage_list(s, &list, err));
        print_message("list of %u names, %s, %s: %.0f ms\n", n, k & 1 ? "with stat" : "names only",
                      k < 2 ? "cold (if root)" : "warm", seconds_since(began) * 1000);
    }
}

static Scratch scratch = {.where = "."};

static int setup(void **state)
{
    *state = scratch_open(&scratch);
    return 0;
}

static int teardown(void **state)
{
    storage_free(*state);
    scratch_clean(&scratch);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(small_puts, setup, teardown),
        cmocka_unit_test_setup_teardown(large, setup, teardown),
        cmocka_unit_test_setup_teardown(listing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
