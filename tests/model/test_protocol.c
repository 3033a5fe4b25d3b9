/*
 * The protocol of publish.h, explored: writers, expirers, undelete, zombies and leases in every
 * order of their storage calls, with a crash at each of them. Then its looks are left out, one by
 * one: the explorer must find what each of them is for. (tests/model/mutate does the same with all
 * its other steps.)
 *
 * With an argument, only the tests of that name (with * and ?). PGDR_TEST_MODEL=full adds those
 * that take minutes.
 */

#include <stdlib.h>

#include "tests/model/scene.h"
#include "tests/unit/unit.h"

/* --- scenes --- */

/* E condemns and sweeps while A, which has P for its parent, works. */
static void writer_and_expirer(Scene *s)
{
    scene_put_parents(s);
    add_writer(s, "A", &s->a);
    add_expirer(s, "E", &s->p);
}

/* The same, listings at one moment. */
static void writer_and_quick_expirer(Scene *s)
{
    writer_and_expirer(s);
    s->model.in_order = s->model.atomic_lists = true;
}

/* What the program does when it makes a backup; a copy leaves the manifest. */
static void withdrawing_writer_and_expirer(Scene *s)
{
    writer_and_quick_expirer(s);
    s->a.withdraws = true;
}

/* A call fails, and what it did stays or not. */
static void writer_and_expirer_with_errors(Scene *s)
{
    writer_and_quick_expirer(s);
    s->model.faults = 1;
    s->model.faulty = 3;
}

/* A writer that changed nothing has no packs of its own that could be missed. */
static void bare_writer_and_expirer(Scene *s)
{
    scene_put_parents(s);
    s->a.packs = 0;
    add_writer(s, "A", &s->a);
    add_expirer(s, "E", NULL);
}

/* What A put before its manifest is condemned. */
static void condemned_writer(Scene *s)
{
    scene_put_parents(s);
    s->a.packs_before = 1;
    s->a.packs = 0;
    s->a.parent = 0; /* it has looked already */
    parts_put_packs(s->repo, &s->a);
    add_writer(s, "A", &s->a);
}

static void condemned_writer_and_sweeper(Scene *s)
{
    condemned_writer(s);
    expect_ok(run_condemn(s->repo, NULL, err));
    add_sweeper(s, "E");
}

/* Two sweeps of one trash object, of which one may sleep. */
static void condemned_writer_and_two_sweepers(Scene *s)
{
    condemned_writer_and_sweeper(s);
    add_sweeper(s, "F");
    s->model.in_order = s->model.atomic_lists = true;
}

/* And the trash object names the packs of P and O as well. */
static void condemned_writer_and_parents(Scene *s)
{
    condemned_writer(s);
    expect_ok(run_condemn(s->repo, &s->p, err));
    add_sweeper(s, "E");
    add_sweeper(s, "F");
    s->model.in_order = s->model.atomic_lists = true;
}

static void writer_and_two_sweepers(Scene *s)
{
    scene_put_parents(s);
    s->a.parent = 0;
    expect_ok(run_condemn(s->repo, &s->p, err));
    add_writer(s, "A", &s->a);
    add_sweeper(s, "E");
    add_sweeper(s, "F");
    s->model.in_order = s->model.atomic_lists = true;
}

static void writer_and_two_slow_sweepers(Scene *s)
{
    writer_and_two_sweepers(s);
    s->model.in_order = s->model.atomic_lists = false;
}

/* The lease lapses while the writer sleeps, or is renewed in time, or too late. */
static void leased_writer_and_expirer(Scene *s)
{
    condemned_writer(s);
    s->a.leased = true;
    add_renewer(s, "R", &s->a);
    add_expirer(s, "E", NULL);
}

/* A was interrupted and is resumed as B, which uses what A has put; then A wakes. */
static void resumed_writer_and_sweeper(Scene *s)
{
    specimen_init(&s->a, 'A', "");
    specimen_init(&s->b, 'B', "A");
    s->a.packs_before = 1;
    s->a.packs = s->b.packs = 0;
    s->backups[0] = &s->a;
    s->backups[1] = &s->b;
    parts_put_packs(s->repo, &s->a);
    expect_ok(run_condemn(s->repo, NULL, err));
    add_writer(s, "A", &s->a);
    add_writer(s, "B", &s->b);
    add_sweeper(s, "E");
    s->model.in_order = s->model.atomic_lists = true;
}

/* E, about to remove A, sleeps while F finishes with the trash object; then A fails, and is resumed
 * as B, which relies on its pack. */
static void successor_and_two_sweepers(Scene *s)
{
    specimen_init(&s->a, 'A', "");
    specimen_init(&s->b, 'B', "A");
    s->a.packs_before = 1;
    s->a.packs = s->b.packs = 0;
    s->a.late = true;
    s->backups[0] = &s->a;
    s->backups[1] = &s->b;
    parts_put_packs(s->repo, &s->a);
    expect_ok(run_condemn(s->repo, NULL, err));
    s->model.in_order = s->model.atomic_lists = true;
    unsigned i = add_writer(s, "A, B", &s->b);
    s->a.successor = &s->b;
    s->processes[i].arg = &s->a;
    s->processes[i].run[0] = run_attempt;
    s->processes[i].run[1] = run_successor;
    add_sweeper(s, "E");
    add_sweeper(s, "F");
}

static void undelete_and_sweeper(Scene *s)
{
    scene_put_parents(s);
    expect_ok(run_condemn(s->repo, &s->p, err));
    add_undelete(s, "U", &s->p);
    add_sweeper(s, "E");
}

static void undelete_and_two_sweepers(Scene *s)
{
    undelete_and_sweeper(s);
    add_sweeper(s, "F");
    s->model.in_order = s->model.atomic_lists = true;
}

/* What was brought back may be retired again by somebody who did not know. */
static void undelete_and_expirer(Scene *s)
{
    scene_put_parents(s);
    expect_ok(run_condemn(s->repo, &s->p, err));
    s->retired_again = true;
    s->model.in_order = s->model.atomic_lists = true;
    add_undelete(s, "U", &s->p);
    add_expirer(s, "E", &s->p);
}

/* The trash object of the first time is ripe; the second time has a grace period of its own. */
static void retired_again(Scene *s)
{
    scene_put_parents(s);
    expect_ok(run_condemn(s->repo, &s->p, err));
    expect_ok(run_undelete(s->repo, &s->p, err));
    storage_mem_advance(s->mem, GRACE);
    s->model.ticks = 1;
    s->stays = &s->p;
    add_expirer(s, "E", &s->p);
    add_sweeper(s, "F");
}

static void undelete_writer_and_sweeper(Scene *s)
{
    undelete_and_sweeper(s);
    add_writer(s, "A", &s->a);
    s->model.in_order = s->model.atomic_lists = true;
}

static void two_expirers(Scene *s)
{
    writer_and_quick_expirer(s);
    s->a.parent = 0;
    s->a.packs = 0;
    add_expirer(s, "F", NULL);
}

typedef struct Safe {
    const char *name;
    void (*build)(Scene *s);
    bool slow;
} Safe;

#define SAFE(build)                                                                                \
    {                                                                                              \
#build, build, false                                                                       \
    }
#define SLOW(build)                                                                                \
    {                                                                                              \
#build, build, true                                                                        \
    }

static const Safe safe[] = {
    SAFE(writer_and_expirer),
    SAFE(withdrawing_writer_and_expirer),
    SAFE(writer_and_expirer_with_errors),
    SAFE(bare_writer_and_expirer),
    SAFE(condemned_writer_and_sweeper),
    SAFE(condemned_writer_and_two_sweepers),
    SAFE(writer_and_two_sweepers),
    SAFE(leased_writer_and_expirer),
    SAFE(resumed_writer_and_sweeper),
    SAFE(successor_and_two_sweepers),
    SAFE(undelete_and_sweeper),
    SAFE(undelete_and_two_sweepers),
    SAFE(undelete_and_expirer),
    SAFE(retired_again),
    SAFE(undelete_writer_and_sweeper),
    SLOW(condemned_writer_and_parents),
    SLOW(writer_and_two_slow_sweepers),

    SLOW(two_expirers),
};

static void play_safe(void **state)
{
    const Safe *t = *state;
    Scene s;
    scene_open(&s, t->name);
    t->build(&s);
    scene_expect_safe(&s);
}

/* --- looks that are left out --- */

#define NOT_WHOLE "a backup is listed and not whole"
#define LOST "a backup reported success and is not whole"
#define UNDELETE_LOST "undelete reported success and the backup is not whole"

enum { LISTS = STORAGE_OP_LIST, READS = STORAGE_OP_GET | STORAGE_OP_STAT };

typedef struct LeftOut {
    const char *name;
    void (*build)(Scene *s);
    Blind blind; /* process, calls, names, from the n-th to the n-th, behind so many of trash/ */
    const char *found;
} LeftOut;

static const LeftOut left_out[] = {
    {"writer looks for no trash",
     writer_and_quick_expirer,
     {0, LISTS, "/trash/", 1, 0, 0},
     NOT_WHOLE},
    {"writer looks for no packs",
     writer_and_two_sweepers,
     {0, LISTS, "/packs/", 1, 0, 0},
     NOT_WHOLE},
    {"writer looks for no mark before the summary",
     bare_writer_and_expirer,
     {0, LISTS, "/backups/", 1, 1, 0},
     NOT_WHOLE},
    {"writer looks for no mark behind the summary",
     condemned_writer_and_sweeper,
     {0, LISTS, "/backups/", 2, 2, 0},
     LOST},
    {"writer looks for no manifest",
     bare_writer_and_expirer,
     {0, READS, "/manifest", 1, 0, 0},
     LOST},
    {"sweeper does not look behind its marks",
     condemned_writer_and_sweeper,
     {1, LISTS, "/backups/", 2, 0, 1},
     NOT_WHOLE},
    {"sweeper reads no list of packs",
     writer_and_quick_expirer,
     {1, READS, "/backups/", 1, 0, 1},
     NOT_WHOLE},
    {"undelete does not look behind its keep",
     undelete_and_sweeper,
     {0, LISTS, "/backups/", 2, 0, 0},
     UNDELETE_LOST},
    {"sweeper does not look for a keep behind its mark",
     undelete_and_sweeper,
     {1, LISTS, "/backups/", 2, 0, 1},
     UNDELETE_LOST},
};

static void play_left_out(void **state)
{
    const LeftOut *t = *state;
    Scene s;
    scene_open(&s, t->name);
    t->build(&s);
    scene_expect_wrong(&s, &t->blind, t->found);
}

/* Nothing depends on leases: they may be overlooked. */
static void play_without_leases(void **state)
{
    static const Blind blind = {2, LISTS, "/leases/", 1, 0, 0};
    Scene s;
    (void)state;
    scene_open(&s, "leases are overlooked");
    leased_writer_and_expirer(&s);
    s.model.blinds = &blind;
    s.model.n_blinds = 1;
    scene_expect_safe(&s);
}

int main(int argc, char **argv)
{
    struct CMUnitTest tests[ARRAY_LEN(safe) + ARRAY_LEN(left_out) + 1];
    const char *full = getenv("PGDR_TEST_MODEL");
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(safe); i++)
        if (!safe[i].slow || (full && strcmp(full, "full") == 0))
            tests[n++] = (struct CMUnitTest){safe[i].name, play_safe, NULL, NULL,
                                             (void *)(uintptr_t)&safe[i]};
    for (size_t i = 0; i < ARRAY_LEN(left_out); i++)
        tests[n++] = (struct CMUnitTest){left_out[i].name, play_left_out, NULL, NULL,
                                         (void *)(uintptr_t)&left_out[i]};
    tests[n++] =
        (struct CMUnitTest){"leases are overlooked", play_without_leases, NULL, NULL, NULL};
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return _cmocka_run_group_tests("protocol", tests, n, NULL, NULL);
}
