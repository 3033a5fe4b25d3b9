/* The retry decorator, with a clock that does not wait. */

#include "tests/storage/child.h"
#include "tests/storage/fake_clock.h"

#include <sys/mman.h>

#include "lib/common/file.h"
#include "lib/common/log.h"
#include "lib/common/workers.h"

#define CALLS_MAX 100

/* retry over fault over mem */
typedef struct Rig {
    FakeClock clock;
    Storage *mem, *fault, *s;
    TimeUs call_takes;
    TimeUs began[CALLS_MAX]; /* when each counted call began */
    unsigned n;
} Rig;

static void on_call(void *arg, StorageOp op, const char *name)
{
    Rig *rig = arg;
    (void)op;
    (void)name;
    if (rig->n < CALLS_MAX)
        rig->began[rig->n++] = rig->clock.now;
    rig->clock.now += rig->call_takes;
}

static void rig_open(Rig *rig, RetrySpec spec)
{
    *rig = (Rig){0};
    fake_clock_init(&rig->clock);
    spec.clock = &rig->clock.clock;
    rig->mem = storage_mem_new(false);
    rig->fault = storage_fault_new(rig->mem, &(FaultSpec){0});
    rig->s = storage_retry_new(rig->fault, &spec);
}

static void rig_close(Rig *rig)
{
    storage_free(rig->s);
}

static void rig_fail(Rig *rig, FaultSpec spec)
{
    spec.hook = on_call;
    spec.hook_arg = rig;
    rig->n = 0;
    storage_fault_set(rig->fault, &spec);
}

static const RetrySpec thrice = {
    .attempts = 3, .first_pause = 100000, .longest_pause = US_PER_SECOND};

/* --- which calls, how often --- */

static ErrCode call_op(Storage *s, StorageOp op, Err *err)
{
    static uint8_t byte;
    static const char *const name = "a/b";
    StorageRead read = {.len = 1, .data = &byte};
    StorageStat stat;
    TimeUs now;
    switch (op) {
    case STORAGE_OP_PUT:
        return put_content(s, name, 1, 1, STORAGE_OVERWRITE, err);
    case STORAGE_OP_GET:
        return storage_get(s, name, &read, err);
    case STORAGE_OP_STAT:
        return storage_stat(s, name, &stat, err);
    case STORAGE_OP_REMOVE:
        return storage_remove(s, (const char *const[]){"other"}, 1, err);
    case STORAGE_OP_NOW:
        return storage_now(s, &now, err);
    default: {
        StrList names AUTO(str_list_release) = {0};
        return storage_list_names(s, "", false, &names, err);
    }
    }
}

static const StorageOp all_ops[] = {STORAGE_OP_PUT,  STORAGE_OP_GET,    STORAGE_OP_STAT,
                                    STORAGE_OP_LIST, STORAGE_OP_REMOVE, STORAGE_OP_NOW};

static void repeats_what_helps(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all_ops); i++) {
        for (ErrCode code = ERR_OK + 1; code < ERR_CODES; code++) {
            Rig rig;
            rig_open(&rig, thrice);
            expect_ok(put_content(rig.mem, "a/b", 1, 1, STORAGE_CREATE, err));
            rig_fail(&rig, (FaultSpec){.ops = all_ops[i], .nth = 1, .times = 2, .code = code});
            if (err_can_retry(code))
                expect_ok(call_op(rig.s, all_ops[i], err));
            else
                expect_err(code, "injected", call_op(rig.s, all_ops[i], err));
            assert_int_equal(rig.n, err_can_retry(code) ? 3 : 1);

            rig_fail(&rig, (FaultSpec){.ops = all_ops[i], .nth = 1, .code = code});
            expect_err(code, err_can_retry(code) ? "gave up after 3 attempts" : "injected",
                       call_op(rig.s, all_ops[i], err));
            assert_int_equal(rig.n, err_can_retry(code) ? 3 : 1);
            rig_close(&rig);
        }
    }
}

/* --- pauses --- */

static void pauses_grow_with_jitter(void **state)
{
    (void)state;
    const RetrySpec spec = {.attempts = 8, .first_pause = 100000, .longest_pause = US_PER_SECOND};
    const TimeUs most[] = {100000, 200000, 400000, 800000, 1000000, 1000000, 1000000};
    TimeUs sum[7] = {0}, least = US_PER_SECOND, greatest = 0;
    const unsigned runs = 300;
    for (unsigned run = 0; run < runs; run++) {
        Rig rig;
        rig_open(&rig, spec);
        rig_fail(&rig, (FaultSpec){.ops = STORAGE_OP_NOW, .nth = 1, .code = ERR_BUSY});
        expect_err(ERR_BUSY, "gave up", call_op(rig.s, STORAGE_OP_NOW, err));
        assert_int_equal(rig.n, 8);
        for (unsigned i = 0; i < 7; i++) {
            TimeUs pause = rig.began[i + 1] - rig.began[i];
            assert_true(pause >= 0 && pause <= most[i]);
            sum[i] += pause;
        }
        least = MIN(least, rig.began[7] - rig.began[6]);
        greatest = MAX(greatest, rig.began[7] - rig.began[6]);
        rig_close(&rig);
    }
    /* Full jitter: from nothing to all of it, the half on average. */
    for (unsigned i = 0; i < 7; i++)
        assert_in_range(sum[i] / runs, most[i] * 4 / 10, most[i] * 6 / 10);
    assert_true(least < US_PER_SECOND / 20 && greatest > US_PER_SECOND * 19 / 20);
}

static void total_bounds_attempts(void **state)
{
    (void)state;
    const RetrySpec spec = {.attempts = 1000000,
                            .first_pause = US_PER_SECOND,
                            .longest_pause = 4 * US_PER_SECOND,
                            .total = 30 * US_PER_SECOND};
    for (unsigned run = 0; run < 50; run++) {
        Rig rig;
        rig_open(&rig, spec);
        rig.call_takes = run % 2 ? 2 * US_PER_SECOND : 0;
        rig_fail(&rig, (FaultSpec){.ops = STORAGE_OP_STAT, .nth = 1, .code = ERR_TIMEOUT});
        expect_err(ERR_TIMEOUT, "gave up", call_op(rig.s, STORAGE_OP_STAT, err));
        assert_true(rig.n > 5 && rig.n < CALLS_MAX);
        assert_true(rig.began[rig.n - 1] - rig.began[0] <= spec.total);
        assert_true(rig.clock.now - rig.began[0] >= spec.total);
        rig_close(&rig);
    }
}

/* --- put --- */

static ErrCode put_from(Storage *s, const char *name, size_t len, uint64_t seed, int way, Err *err)
{
    uint8_t *data AUTO(mem_freep) = content_new(len, seed);
    int fd AUTO(fd_closep) = -1;
    const Slice parts[] = {{data, len / 3}, {data + len / 3, 0}, {data + len / 3, len - len / 3}};
    StorageSource src = {.parts = parts, .n = 3, .fd = -1, .size = len};
    if (way == 1) {
        fd = memfd_create("source", MFD_CLOEXEC);
        TRY(file_write(fd, data, len, "source", err));
        src = (StorageSource){.fd = fd, .size = len};
    }
    return storage_put(s, name, &src, STORAGE_CREATE, err);
}

static void put_finds_its_own(void **state)
{
    (void)state;
    const size_t lens[] = {0, 1, 5000, MIB, 2 * MIB + 5};
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        for (int way = 0; way < 2; way++) {
            Rig rig;
            rig_open(&rig, thrice);
            rig_fail(&rig, (FaultSpec){.ops = STORAGE_OP_PUT,
                                       .nth = 1,
                                       .times = 1,
                                       .code = ERR_NETWORK,
                                       .after_effect = true});
            expect_ok(put_from(rig.s, "a/b", lens[i], i, way, err));
            assert_int_equal(rig.n, 2);
            expect_content(rig.s, "a/b", lens[i], i);
            rig_close(&rig);
        }
    }
}

/* The failed attempt did nothing, and somebody else has the name. */
static void put_finds_anothers(void **state)
{
    (void)state;
    static const struct {
        size_t mine, theirs, flipped; /* a byte that differs; all others are the same */
    } cases[] = {
        {100, 99, 1000},
        {100, 101, 1000},
        {100, 0, 1000},
        {0, 1, 1000},
        {100, 100, 0},
        {100, 100, 99},
        {2 * MIB, 2 * MIB, 0},
        {2 * MIB, 2 * MIB, 2 * MIB - 1},
        {2 * MIB, 2 * MIB + 1, 3 * MIB},
    };
    uint8_t *mine AUTO(mem_freep) = content_new(4 * MIB, 1);
    uint8_t *theirs AUTO(mem_freep) = content_new(4 * MIB, 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Rig rig;
        rig_open(&rig, thrice);
        theirs[cases[i].flipped] ^= 1;
        expect_ok(storage_put_bytes(rig.mem, "a/b", theirs, cases[i].theirs, STORAGE_CREATE, err));
        theirs[cases[i].flipped] ^= 1;
        rig_fail(&rig, (FaultSpec){.ops = STORAGE_OP_PUT, .nth = 1, .times = 1, .code = ERR_IO});
        expect_err(ERR_EXISTS, "a/b",
                   storage_put_bytes(rig.s, "a/b", mine, cases[i].mine, STORAGE_CREATE, err));
        rig_close(&rig);
    }
}

static void put_taken_at_once(void **state)
{
    (void)state;
    Rig rig;
    rig_open(&rig, thrice);
    expect_ok(put_content(rig.s, "a/b", 100, 1, STORAGE_CREATE, err));
    rig_fail(&rig, (FaultSpec){.ops = STORAGE_OP_GET | STORAGE_OP_STAT});
    expect_err(ERR_EXISTS, "a/b", put_content(rig.s, "a/b", 100, 1, STORAGE_CREATE, err));
    assert_int_equal(rig.n, 0); /* nothing was compared: no attempt of ours came before */
    rig_close(&rig);
}

static void on_put_after_the_first(void *arg, StorageOp op, const char *name)
{
    Rig *rig = arg;
    (void)op;
    (void)name;
    if (++rig->n == 2) /* now reading fails, too */
        storage_fault_set(
            rig->fault,
            &(FaultSpec){.ops = STORAGE_OP_GET | STORAGE_OP_STAT, .nth = 1, .code = ERR_NETWORK});
}

static void put_cannot_compare(void **state)
{
    (void)state;
    Rig rig;
    rig_open(&rig, thrice);
    storage_fault_set(rig.fault, &(FaultSpec){.ops = STORAGE_OP_PUT,
                                              .nth = 1,
                                              .times = 1,
                                              .code = ERR_IO,
                                              .after_effect = true,
                                              .hook = on_put_after_the_first,
                                              .hook_arg = &rig});
    expect_err(ERR_NETWORK, "cannot tell whether 'a/b' was stored",
               put_content(rig.s, "a/b", 100, 1, STORAGE_CREATE, err));
    rig_close(&rig);
}

/* --- list --- */

static void list_resumes(void **state)
{
    (void)state;
    StrList names AUTO(str_list_release) = {0};
    for (unsigned i = 0; i < 30; i++)
        vec_push(&names, mem_printf("l/%02u/%u", i / 3, i));
    str_list_sort(&names);
    for (unsigned fails_after = 0; fails_after <= 30; fails_after++) {
        for (unsigned variant = 0; variant < 8; variant++) {
            Rig rig;
            rig_open(&rig, thrice);
            for (unsigned i = 0; i < 30; i++)
                expect_ok(put_content(rig.mem, names.at[i], 1, i, STORAGE_CREATE, err));
            rig_fail(&rig, (FaultSpec){.ops = STORAGE_OP_LIST,
                                       .nth = 1,
                                       .times = 1,
                                       .code = ERR_TIMEOUT,
                                       .after_effect = variant & 4,
                                       .list_names = fails_after});
            StorageList list = {
                .prefix = "l/", .by_level = variant & 1, .after = variant & 2 ? "l/04" : NULL};
            StrList want AUTO(str_list_release) = list_reference(names.at, names.n, &list);
            expect_names(rig.s, &list, (const char *const *)want.at, want.n);
            assert_int_equal(rig.n, 2);
            rig_close(&rig);
        }
    }
}

/* Attempts count from the last name on; a listing that stands still is given up. */
static void list_that_gets_further(void **state)
{
    (void)state;
    const RetrySpec twice = {.attempts = 2};
    StrList names AUTO(str_list_release) = {0}, got AUTO(str_list_release) = {0};
    Rig rig;
    rig_open(&rig, twice);
    for (unsigned i = 0; i < 50; i++) {
        vec_push(&names, mem_printf("l/%02u", i));
        expect_ok(put_content(rig.mem, names.at[i], 1, i, STORAGE_CREATE, err));
    }
    rig_fail(&rig,
             (FaultSpec){
                 .ops = STORAGE_OP_LIST, .nth = 1, .times = 40, .code = ERR_BUSY, .list_names = 1});
    expect_names(rig.s, &(StorageList){.prefix = ""}, (const char *const *)names.at, names.n);
    assert_int_equal(rig.n, 41);
    rig_fail(&rig, (FaultSpec){.ops = STORAGE_OP_LIST, .nth = 2, .times = 2, .code = ERR_BUSY});
    expect_ok(storage_list_names(rig.s, "", false, &got, err));
    expect_err(ERR_BUSY, "gave up after 2 attempts",
               storage_list_names(rig.s, "", false, &got, err));
    assert_int_equal(got.n, 50);
    rig_close(&rig);
}

/* --- what it says --- */

static unsigned count_text(const char *text, const char *what)
{
    unsigned n = 0;
    for (const char *p = text; (p = strstr(p, what)); p += strlen(what))
        n++;
    return n;
}

static void says_what_it_does(void **state)
{
    (void)state;
    const RetrySpec spec = {
        .attempts = 30, .first_pause = 10 * US_PER_SECOND, .longest_pause = 10 * US_PER_SECOND};
    int fd AUTO(fd_closep) = memfd_create("log", MFD_CLOEXEC);
    char text[64 * 1024];
    Rig rig;
    rig_open(&rig, spec);
    log_init(LOG_DEBUG, LOG_PLAIN, fd);
    rig_fail(&rig, (FaultSpec){.ops = STORAGE_OP_STAT, .nth = 1, .times = 20, .code = ERR_IO});
    expect_ok(put_content(rig.s, "a/b", 1, 1, STORAGE_CREATE, err));
    expect_ok(call_op(rig.s, STORAGE_OP_STAT, err));
    log_init(LOG_INFO, LOG_PLAIN, -1);
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    assert_true(n > 0);
    text[n] = '\0';
    assert_int_equal(count_text(text, "DEBUG: cannot look at 'a/b' in memory"), 20);
    assert_int_equal(count_text(text, "WARNING: still trying after"), 1);
    assert_int_equal(count_text(text, "\n"), 21);
    rig_close(&rig);
}

static void cancelled_child(Job *job)
{
    Rig rig;
    rig_open(&rig, (RetrySpec){.attempts = 1000,
                               .first_pause = 3600 * US_PER_SECOND,
                               .longest_pause = 3600 * US_PER_SECOND});
    rig_fail(&rig, (FaultSpec){.ops = STORAGE_OP_STAT, .nth = 1, .code = ERR_IO});
    cancel_request();
    JOB_ERR(job, ERR_CANCELLED, "injected", "", call_op(rig.s, STORAGE_OP_STAT, err));
    JOB_TRUE(job, rig.n == 1);
    /* What needs no second attempt is still done: leases are given back. */
    JOB_OK(job, put_content(rig.s, "a/b", 1, 1, STORAGE_OVERWRITE, err));
    rig_close(&rig);
}

static void cancelled(void **state)
{
    (void)state;
    run_child(cancelled_child, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(repeats_what_helps),
        cmocka_unit_test(pauses_grow_with_jitter),
        cmocka_unit_test(total_bounds_attempts),
        cmocka_unit_test(put_finds_its_own),
        cmocka_unit_test(put_finds_anothers),
        cmocka_unit_test(put_taken_at_once),
        cmocka_unit_test(put_cannot_compare),
        cmocka_unit_test(list_resumes),
        cmocka_unit_test(list_that_gets_further),
        cmocka_unit_test(says_what_it_does),
        cmocka_unit_test(cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
