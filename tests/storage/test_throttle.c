/* The throttle decorator: its rate with a clock that does not wait, and once with one that does. */

#include "tests/storage/child.h"
#include "tests/storage/fake_clock.h"

#include "lib/common/workers.h"

#define RATE 1000000 /* bytes a second */

/* throttle over fault over mem */
typedef struct Rig {
    FakeClock clock;
    Storage *fault, *s;
    TimeUs called; /* when the inner storage was called last */
} Rig;

static void on_call(void *arg, StorageOp op, const char *name)
{
    Rig *rig = arg;
    (void)op;
    (void)name;
    rig->called = rig->clock.now;
}

static void rig_open(Rig *rig)
{
    *rig = (Rig){0};
    fake_clock_init(&rig->clock);
    rig->fault =
        storage_fault_new(storage_mem_new(true),
                          &(FaultSpec){.ops = STORAGE_OP_ANY, .hook = on_call, .hook_arg = rig});
    rig->s = storage_throttle_new(rig->fault, RATE);
    storage_throttle_set_clock(rig->s, &rig->clock.clock);
}

static void get_range(Storage *s, const char *name, size_t len)
{
    uint8_t *data AUTO(mem_freep) = mem_new(len);
    StorageRead read = {.len = len, .data = data};
    expect_ok(storage_get(s, name, &read, err));
}

/* Within 5 % of what the bytes take at this rate. */
static void expect_duration(TimeUs took, uint64_t bytes)
{
    TimeUs want = (TimeUs)(bytes * US_PER_SECOND / RATE);
    assert_in_range(took, want * 95 / 100, want * 105 / 100);
}

static void keeps_its_rate(void **state)
{
    (void)state;
    const size_t lens[] = {1, 7, 100, 1000, 10000, 500000, 3000000};
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        for (int get = 0; get < 2; get++) {
            Rig rig;
            rig_open(&rig);
            expect_ok(put_content(rig.s, "x", lens[i], 1, STORAGE_CREATE, err));
            TimeUs began = rig.clock.now;
            uint64_t bytes = 0;
            while (bytes < 20 * lens[i] || bytes < 5000) {
                if (get)
                    get_range(rig.s, "x", lens[i] + 10); /* counted is what was read */
                else
                    expect_ok(put_content(rig.s, "x", lens[i], 1, STORAGE_CREATE, err));
                bytes += lens[i];
            }
            expect_duration(rig.clock.now - began, bytes);
            storage_free(rig.s);
        }
    }
}

static void puts_wait_before_gets_after(void **state)
{
    (void)state;
    Rig rig;
    rig_open(&rig);
    TimeUs began = rig.clock.now;
    expect_ok(put_content(rig.s, "x", 2 * RATE, 1, STORAGE_CREATE, err));
    assert_int_equal(rig.called, began + 2 * US_PER_SECOND);
    began = rig.clock.now;
    get_range(rig.s, "x", RATE);
    assert_int_equal(rig.called, began);
    assert_int_equal(rig.clock.now, began + US_PER_SECOND);
    storage_free(rig.s);
}

static void saves_up_a_quarter_second(void **state)
{
    (void)state;
    Rig rig;
    rig_open(&rig);
    expect_ok(put_content(rig.s, "x", RATE, 1, STORAGE_CREATE, err));
    rig.clock.now += 3600 * US_PER_SECOND;
    TimeUs began = rig.clock.now;
    expect_ok(put_content(rig.s, "x", RATE / 4, 1, STORAGE_CREATE, err));
    assert_int_equal(rig.clock.now, began);
    expect_ok(put_content(rig.s, "x", RATE / 4, 1, STORAGE_CREATE, err));
    assert_int_equal(rig.clock.now, began + US_PER_SECOND / 4);
    storage_free(rig.s);
}

static void only_bytes_count(void **state)
{
    (void)state;
    Rig rig;
    StorageStat stat;
    TimeUs now;
    StrList names AUTO(str_list_release) = {0};
    rig_open(&rig);
    expect_ok(put_content(rig.s, "x", 1000, 1, STORAGE_CREATE, err));
    TimeUs began = rig.clock.now;
    for (unsigned i = 0; i < 1000; i++) {
        expect_ok(storage_stat(rig.s, "x", &stat, err));
        expect_ok(storage_now(rig.s, &now, err));
        expect_ok(storage_list_names(rig.s, "", false, &names, err));
        expect_ok(storage_remove(rig.s, (const char *const[]){"y"}, 1, err));
    }
    assert_int_equal(rig.clock.now, began);
    storage_free(rig.s);
}

/* --- with real time --- */

#define THREADS 4
#define REAL_RATE 8000000
#define REAL_PUTS 20
#define REAL_LEN 50000

static void put_and_get(Job *job)
{
    for (unsigned i = 0; i < job->rounds; i++) {
        char name[32];
        Buf got AUTO(buf_release) = {0};
        snprintf(name, sizeof(name), "%u", job->index);
        if (i % 2 == 0)
            JOB_OK(job, put_content(job->s, name, REAL_LEN, i, STORAGE_OVERWRITE, err));
        else
            JOB_OK(job, storage_get_all(job->s, name, REAL_LEN, &got, err));
    }
}

static void threads_share_the_rate(void **state)
{
    (void)state;
    Storage *s AUTO(storage_freep) = storage_throttle_new(storage_mem_new(true), REAL_RATE);
    const Fixture f = {.s = s};
    TimeUs want = (TimeUs)THREADS * REAL_PUTS * REAL_LEN * US_PER_SECOND / REAL_RATE;
    TimeUs began = time_monotonic();
    run_jobs(&f, THREADS, REAL_PUTS, put_and_get, NULL);
    TimeUs took = time_monotonic() - began;
    assert_true(took >= want * 95 / 100);
    assert_true(took <= want * 3); /* a machine with other work to do */
}

static void cancelled_child(Job *job)
{
    Storage *s AUTO(storage_freep) = storage_throttle_new(storage_mem_new(true), 1);
    cancel_request();
    JOB_ERR(job, ERR_CANCELLED, "'x'", "", put_content(s, "x", 1000, 1, STORAGE_CREATE, err));
}

static void cancelled(void **state)
{
    (void)state;
    run_child(cancelled_child, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_its_rate),
        cmocka_unit_test(puts_wait_before_gets_after),
        cmocka_unit_test(saves_up_a_quarter_second),
        cmocka_unit_test(only_bytes_count),
        cmocka_unit_test(threads_share_the_rate),
        cmocka_unit_test(cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
