/*
 * The protocol of publish.h, explored: writers, expirers, undelete, zombies and leases in every
 * order of their storage calls, with a crash at each of them. mutations.c leaves out its steps.
 */

#include "tests/model/scene.h"
#include "tests/unit/unit.h"

static void writer_and_expirer(void **state)
{
    (void)state;
    Scene s;
    scene_open(&s, "a writer and an expirer");
    scene_put_parents(&s);
    add_writer(&s, "A", &s.a);
    add_expirer(&s, "E", &s.p);
    scene_expect_safe(&s);
}

/* Calls fail, and what they did stays or not. */
static void writer_and_expirer_with_errors(void **state)
{
    (void)state;
    Scene s;
    scene_open(&s, "a writer and an expirer, one call fails");
    scene_put_parents(&s);
    s.model.faults = 1;
    s.model.faulty = 3;
    s.model.in_order = s.model.atomic_lists = true;
    add_writer(&s, "A", &s.a);
    add_expirer(&s, "E", &s.p);
    scene_expect_safe(&s);
}

/* A writer that changed nothing has no packs of its own that could be missed. */
static void bare_writer_and_expirer(void **state)
{
    (void)state;
    Scene s;
    scene_open(&s, "a writer without packs and an expirer");
    scene_put_parents(&s);
    s.a.packs = 0;
    add_writer(&s, "A", &s.a);
    add_expirer(&s, "E", NULL);
    scene_expect_safe(&s);
}

/* The lease lapses while the writer sleeps, or is renewed in time, or too late. */
static void leased_writer_and_expirer(void **state)
{
    (void)state;
    Scene s;
    scene_open(&s, "a writer with a lease and an expirer");
    scene_put_parents(&s);
    s.a.leased = true;
    s.a.packs_before = 1;
    s.a.packs = 0;
    s.a.parent = 0;
    parts_put_packs(s.repo, &s.a);
    add_writer(&s, "A", &s.a);
    add_renewer(&s, "R", &s.a);
    add_expirer(&s, "E", NULL);
    scene_expect_safe(&s);
}

static void undelete_and_sweeper(void **state)
{
    (void)state;
    Scene s;
    scene_open(&s, "undelete and a sweeper");
    scene_put_parents(&s);
    expect_ok(run_condemn(s.repo, &s.p, err));
    add_undelete(&s, "U", &s.p);
    add_sweeper(&s, "E");
    scene_expect_safe(&s);
}

static void undelete_and_two_sweepers(void **state)
{
    (void)state;
    Scene s;
    scene_open(&s, "undelete and two sweepers");
    scene_put_parents(&s);
    expect_ok(run_condemn(s.repo, &s.p, err));
    s.model.in_order = s.model.atomic_lists = true;
    add_undelete(&s, "U", &s.p);
    add_sweeper(&s, "E");
    add_sweeper(&s, "F");
    scene_expect_safe(&s);
}

/* What was brought back may be retired again by somebody who did not know. */
static void undelete_and_expirer(void **state)
{
    (void)state;
    Scene s;
    scene_open(&s, "undelete and an expirer");
    scene_put_parents(&s);
    expect_ok(run_condemn(s.repo, &s.p, err));
    s.retired_again = true;
    add_undelete(&s, "U", &s.p);
    add_expirer(&s, "E", &s.p);
    scene_expect_safe(&s);
}

static void undelete_writer_and_sweeper(void **state)
{
    (void)state;
    Scene s;
    scene_open(&s, "undelete, a writer and a sweeper");
    scene_put_parents(&s);
    expect_ok(run_condemn(s.repo, &s.p, err));
    s.model.in_order = s.model.atomic_lists = true;
    add_undelete(&s, "U", &s.p);
    add_writer(&s, "A", &s.a);
    add_sweeper(&s, "E");
    scene_expect_safe(&s);
}

/* Two sweeps of one trash object, which names the packs of P and O; `begun`: also what A has put.
 */
static void writer_and_two_sweepers(bool begun, bool slow)
{
    Scene s;
    scene_open(&s, begun ? "a condemned writer and two sweepers" : "a writer and two sweepers");
    scene_put_parents(&s);
    s.a.packs_before = begun;
    s.a.packs = !begun;
    s.a.parent = 0; /* it has looked already */
    parts_put_packs(s.repo, &s.a);
    expect_ok(run_condemn(s.repo, &s.p, err));
    s.model.in_order = s.model.atomic_lists = !slow;
    add_writer(&s, "A", &s.a);
    add_sweeper(&s, "E");
    add_sweeper(&s, "F");
    scene_expect_safe(&s);
}

static void writer_and_two_sweepers_of_others(void **state)
{
    (void)state;
    writer_and_two_sweepers(false, false);
}

static void writer_and_two_sweepers_of_it(void **state)
{
    (void)state;
    writer_and_two_sweepers(true, false);
}

static void slow_writer_and_two_sweepers_of_others(void **state)
{
    (void)state;
    writer_and_two_sweepers(false, true);
}

static void slow_writer_and_two_sweepers_of_it(void **state)
{
    (void)state;
    writer_and_two_sweepers(true, true);
}

/* A was interrupted and is resumed as B, which uses what A has put; then A wakes. */
static void resumed_writer_and_sweeper(void **state)
{
    (void)state;
    Scene s;
    scene_open(&s, "a writer, its successor and a sweeper");
    specimen_init(&s.a, 'A', "");
    s.a.packs_before = 1;
    s.a.packs = 0;
    specimen_init(&s.b, 'B', "A");
    s.b.packs = 0;
    s.backups[0] = &s.a;
    s.backups[1] = &s.b;
    parts_put_packs(s.repo, &s.a);
    expect_ok(run_condemn(s.repo, NULL, err));
    s.model.in_order = s.model.atomic_lists = true;
    add_writer(&s, "A", &s.a);
    add_writer(&s, "B", &s.b);
    add_sweeper(&s, "E");
    scene_expect_safe(&s);
}

static void two_expirers(void **state)
{
    (void)state;
    Scene s;
    scene_open(&s, "a writer and two expirers");
    scene_put_parents(&s);
    s.a.parent = 0;
    s.a.packs = 0;
    s.model.in_order = s.model.atomic_lists = true;
    add_writer(&s, "A", &s.a);
    add_expirer(&s, "E", &s.p);
    add_expirer(&s, "F", NULL);
    scene_expect_safe(&s);
}

/* With an argument, only the tests of that name (with * and ?). */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writer_and_expirer),
        cmocka_unit_test(writer_and_expirer_with_errors),
        cmocka_unit_test(bare_writer_and_expirer),
        cmocka_unit_test(leased_writer_and_expirer),
        cmocka_unit_test(undelete_and_sweeper),
        cmocka_unit_test(undelete_and_two_sweepers),
        cmocka_unit_test(undelete_and_expirer),
        cmocka_unit_test(undelete_writer_and_sweeper),
        cmocka_unit_test(writer_and_two_sweepers_of_others),
        cmocka_unit_test(writer_and_two_sweepers_of_it),
        cmocka_unit_test(resumed_writer_and_sweeper),
        cmocka_unit_test(two_expirers),
        cmocka_unit_test(slow_writer_and_two_sweepers_of_others),
        cmocka_unit_test(slow_writer_and_two_sweepers_of_it),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
