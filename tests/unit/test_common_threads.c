/* lib/common: loops and pools of threads, progress, and libraries that are loaded when needed. */

#include "tests/unit/unit.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "lib/common/dynlib.h"
#include "lib/common/mem.h"
#include "lib/common/parallel.h"
#include "lib/common/progress.h"
#include "lib/common/workers.h"

/* Threads that can still be started: the system has a limit, and here it is at hand. */
static atomic_int threads_left;

int __real_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg)
{
    return atomic_fetch_sub(&threads_left, 1) > 0 ? __real_pthread_create(t, a, fn, arg) : EAGAIN;
}

/* --- loops --- */

#define TURNS 1000

typedef struct Loop {
    atomic_uint done[TURNS];
    atomic_uint busy[64]; /* per thread: its state is nobody else's */
    unsigned threads;
    size_t wrong; /* the turn that fails; TURNS: none */
    atomic_uint began;
    bool blocked; /* whether signals reach other threads */
} Loop;

static ErrCode turn(void *arg, unsigned thread, size_t i, Err *err)
{
    Loop *l = arg;
    sigset_t set;
    atomic_fetch_add(&l->began, 1);
    assert_true(thread < l->threads);
    assert_int_equal(atomic_fetch_add(&l->busy[thread], 1), 0);
    atomic_fetch_add(&l->done[i], 1);
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    if (thread && !sigismember(&set, SIGTERM))
        l->blocked = false;
    atomic_fetch_sub(&l->busy[thread], 1);
    return i == l->wrong ? err_set(err, ERR_DAMAGED, "turn %zu", i) : ERR_OK;
}

static Loop *loop_new(unsigned threads)
{
    Loop *l = NEW(Loop);
    l->threads = threads;
    l->wrong = TURNS;
    l->blocked = true;
    return l;
}

static void every_turn_once(void **state)
{
    (void)state;
    const struct {
        unsigned asked, used; /* threads */
        int left;
        size_t n;
    } cases[] = {
        {4, 4, 100, TURNS},     {1, 1, 100, TURNS},        {0, 1, 100, TURNS}, {8, 3, 100, 3},
        {1000, 64, 100, TURNS}, {4, 1, 0, TURNS},          {4, 3, 2, TURNS},   {4, 1, 100, 0},
        {4, 1, 100, 1},         {UINT32_MAX, 64, 100, 64},
    };
    for (size_t k = 0; k < ARRAY_LEN(cases); k++) {
        Loop *l AUTO(mem_freep) = loop_new(cases[k].used);
        sigset_t before, after;
        pthread_sigmask(SIG_SETMASK, NULL, &before);
        atomic_store(&threads_left, cases[k].left);
        expect_ok(parallel_run(cases[k].asked, cases[k].n, turn, l, err));
        pthread_sigmask(SIG_SETMASK, NULL, &after);
        for (size_t i = 0; i < TURNS; i++)
            assert_int_equal(atomic_load(&l->done[i]), i < cases[k].n);
        assert_true(l->blocked);
        assert_int_equal(sigismember(&before, SIGTERM), sigismember(&after, SIGTERM));
    }
}

static void a_turn_fails(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 4; threads += 3) {
        Loop *l AUTO(mem_freep) = loop_new(threads);
        atomic_store(&threads_left, 100);
        l->wrong = 10;
        expect_err(ERR_DAMAGED, "turn 10", parallel_run(threads, TURNS, turn, l, err));
        if (threads == 1) /* the turns not begun are left out */
            assert_int_equal(atomic_load(&l->began), 11);
        assert_int_equal(atomic_load(&l->done[10]), 1);
    }
}

/* --- pools --- */

typedef struct Pool {
    atomic_int run, dropped, flushed, states;
    int wrong;      /* the job that fails; -1: none */
    bool bad_flush; /* or the flush */
} Pool;

static void *state_new(void *shared)
{
    Pool *p = shared;
    atomic_fetch_add(&p->states, 1);
    return p;
}

static void state_free(void *state)
{
    Pool *p = state;
    atomic_fetch_sub(&p->states, 1);
}

static Pool *dropping; /* drop has no argument of its own */

static ErrCode run(void *shared, void *state, void *job, Err *err)
{
    Pool *p = shared;
    int n = *(int *)job;
    assert_ptr_equal(state, shared);
    free(job);
    atomic_fetch_add(&p->run, 1);
    return n == p->wrong ? err_set(err, ERR_IO, "job %d", n) : ERR_OK;
}

static ErrCode flush(void *shared, void *state, Err *err)
{
    Pool *p = shared;
    (void)state;
    atomic_fetch_add(&p->flushed, 1);
    return p->bad_flush ? err_set(err, ERR_NO_SPACE, "flush") : ERR_OK;
}

static void drop(void *job)
{
    atomic_fetch_add(&dropping->dropped, 1);
    free(job);
}

static void pool_open(Pool *p, Workers **w)
{
    WorkersSpec spec = {.n = 3,
                        .queue_len = 2,
                        .shared = p,
                        .state_new = state_new,
                        .state_free = state_free,
                        .run = run,
                        .flush = flush,
                        .drop = drop};
    dropping = p;
    atomic_store(&threads_left, 100);
    expect_ok(workers_new(w, &spec, err));
}

static ErrCode put_jobs(Workers *w, int n, Err *err)
{
    for (int i = 0; i < n; i++) {
        int *job = mem_new(sizeof(*job));
        *job = i;
        TRY(workers_put(w, job, err));
    }
    return ERR_OK;
}

static void a_pool(void **state)
{
    (void)state;
    Pool p = {.wrong = -1};
    Workers *w = NULL;
    pool_open(&p, &w);
    expect_ok(put_jobs(w, 200, err));
    expect_ok(workers_finish(w, err));
    assert_int_equal(atomic_load(&p.run), 200);
    assert_int_equal(atomic_load(&p.flushed), 3);
    assert_int_equal(atomic_load(&p.dropped), 0);
    workers_free(w);
    assert_int_equal(atomic_load(&p.states), 0);
    workers_free(NULL);
}

/* The first failure is what everybody hears; every job is either run or dropped. */
static void a_job_fails(void **state)
{
    (void)state;
    Pool p = {.wrong = 5};
    Workers *w = NULL;
    Err why = {0};
    pool_open(&p, &w);
    int begun = 0;
    ErrCode rc = ERR_OK;
    for (; begun < 10000 && rc == ERR_OK; begun++) {
        int *job = mem_new(sizeof(*job));
        *job = begun;
        rc = workers_put(w, job, &why);
    }
    assert_int_equal(rc, ERR_IO);
    assert_string_equal(why.message, "job 5");
    expect_err(ERR_IO, "job 5", workers_finish(w, err));
    expect_err(ERR_IO, "job 5", put_jobs(w, 1, err));
    workers_free(w);
    assert_int_equal(atomic_load(&p.run) + atomic_load(&p.dropped), begun + 1);
    assert_int_equal(atomic_load(&p.flushed), 0);
    assert_int_equal(atomic_load(&p.states), 0);
}

static void a_flush_fails(void **state)
{
    (void)state;
    Pool p = {.wrong = -1, .bad_flush = true};
    Workers *w = NULL;
    pool_open(&p, &w);
    expect_ok(put_jobs(w, 10, err));
    expect_err(ERR_NO_SPACE, "flush", workers_finish(w, err));
    workers_free(w);
    assert_int_equal(atomic_load(&p.run), 10);
}

/* Given up before its end: what waits is dropped, nothing is flushed. */
static void a_pool_that_is_given_up(void **state)
{
    (void)state;
    Pool p = {.wrong = -1};
    Workers *w = NULL;
    pool_open(&p, &w);
    expect_ok(put_jobs(w, 50, err));
    workers_free(w);
    assert_int_equal(atomic_load(&p.run) + atomic_load(&p.dropped), 50);
    assert_int_equal(atomic_load(&p.flushed), 0);
    assert_int_equal(atomic_load(&p.states), 0);
}

/* --- progress --- */

static void nobody_counts(void **state)
{
    (void)state;
    Progress none = {.phase = NULL};
    progress_begin(NULL, "x", 1, 1);
    progress_add(NULL, 1, 1);
    progress_add_total(NULL, 1, 1);
    ProgressView v = progress_read(&none);
    assert_true(!v.phase && !v.total && !v.elapsed && !v.eta && v.bytes_per_second == 0);
}

static void rates(void **state)
{
    (void)state;
    Progress p = {.phase = NULL};
    progress_begin(&p, "copying files", 100 * MIB, 7);
    progress_add(&p, 10 * MIB, 1);
    progress_add(&p, 10 * MIB, 2);
    progress_add_total(&p, 20 * MIB, 3);
    atomic_fetch_sub(&p.started, 10 * US_PER_SECOND); /* as if it had begun then */
    ProgressView v = progress_read(&p);
    assert_string_equal(v.phase, "copying files");
    assert_true(v.done == 20 * MIB && v.total == 120 * MIB);
    assert_true(v.items_done == 3 && v.items_total == 10);
    assert_in_range(v.elapsed, 10 * US_PER_SECOND, 20 * US_PER_SECOND);
    double rate = 20.0 * MIB / ((double)v.elapsed / US_PER_SECOND);
    assert_true(fabs(v.bytes_per_second - rate) < rate / 1000);
    assert_in_range(v.eta, 5 * v.elapsed - v.elapsed / 100, 5 * v.elapsed + v.elapsed / 100);
    progress_add(&p, 200 * MIB, 0); /* more than was thought */
    assert_int_equal(progress_read(&p).eta, 0);
    progress_begin(&p, "next", 5, 0); /* counts anew */
    v = progress_read(&p);
    assert_true(!v.done && !v.items_done && v.total == 5 && v.elapsed < 10 * US_PER_SECOND);
}

static void lines(void **state)
{
    (void)state;
    static const struct {
        ProgressView v;
        const char *want;
    } cases[] = {
        {{.phase = "copying files",
          .done = 1288490189,
          .total = 3221225472,
          .bytes_per_second = 536870912,
          .eta = 3500000},
         "copying files: 1.2 GiB of 3.0 GiB (40 %), 512.0 MiB/s, 3.5 s left"},
        {{.phase = "x", .done = 0, .total = 10}, "x: 0 B of 10 B (0 %), 0 B/s"},
        {{.phase = "x", .done = 999, .total = 1000}, "x: 999 B of 1000 B (99 %), 0 B/s"},
        {{.phase = "x", .done = 1000, .total = 1000}, "x: 1000 B of 1000 B (100 %), 0 B/s"},
        {{.phase = "making everything durable"}, "making everything durable"},
        {{.phase = NULL}, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char out[PROGRESS_TEXT_LEN];
        assert_string_equal(progress_format(&cases[i].v, out), cases[i].want);
    }
    char phase[400], out[PROGRESS_TEXT_LEN + 1];
    memset(phase, 'x', sizeof(phase) - 1);
    phase[sizeof(phase) - 1] = '\0';
    out[PROGRESS_TEXT_LEN] = '!';
    ProgressView v = {.phase = phase, .total = 5, .eta = 1};
    assert_int_equal(strlen(progress_format(&v, out)), PROGRESS_TEXT_LEN - 1);
    assert_int_equal(out[PROGRESS_TEXT_LEN], '!');
}

/* --- libraries --- */

static void libraries(void **state)
{
    (void)state;
    __typeof__(cos) *cosine = NULL, *none = NULL;
    const DynSym good[] = {{"cos", &cosine}}, bad[] = {{"cos", &none}, {"no_such_function", &none}};
    expect_ok(dynlib_load("libm.so.6", "libc6", good, 1, err));
    assert_non_null(cosine);
    assert_true(cosine(0) == 1);
    expect_ok(dynlib_load("libm.so.6", "libc6", NULL, 0, err));
    expect_err(ERR_CONFIG, "libm.so.6 has no function no_such_function",
               dynlib_load("libm.so.6", "libc6", bad, 2, err));
    Err why = {0};
    assert_int_equal(dynlib_load("libnosuch.so.9", "libnosuch9", good, 1, &why), ERR_CONFIG);
    assert_non_null(strstr(why.message, "cannot load libnosuch.so.9"));
    assert_string_equal(why.hint, "install the package libnosuch9");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_turn_once), cmocka_unit_test(a_turn_fails),
        cmocka_unit_test(a_pool),          cmocka_unit_test(a_job_fails),
        cmocka_unit_test(a_flush_fails),   cmocka_unit_test(a_pool_that_is_given_up),
        cmocka_unit_test(nobody_counts),   cmocka_unit_test(rates),
        cmocka_unit_test(lines),           cmocka_unit_test(libraries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
