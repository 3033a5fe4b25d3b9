#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/common/procid.h"

static void runs(void **state)
{
    (void)state;
    char mark[PROCID_MAX];
    procid_self(mark);
    assert_true(strlen(mark) > 40);
    assert_false(procid_is_gone(mark));
}

/* The pid was given to another process since. */
static void started_later(void **state)
{
    (void)state;
    char mark[PROCID_MAX];
    procid_self(mark);
    strcat(mark, "0");
    assert_true(procid_is_gone(mark));
}

static void ended(void **state)
{
    (void)state;
    char mark[PROCID_MAX];
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        procid_self(mark);
        _exit(write(ends[1], mark, PROCID_MAX) != PROCID_MAX);
    }
    assert_int_equal(read(ends[0], mark, PROCID_MAX), PROCID_MAX);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    assert_true(procid_is_gone(mark)); /* not reaped yet */
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_true(procid_is_gone(mark));
    close(ends[0]);
    close(ends[1]);
}

static void elsewhere(void **state)
{
    (void)state;
    char mark[PROCID_MAX];
    procid_self(mark);
    char *start = strrchr(mark, '/');
    start[1] = '1'; /* gone, if it were of this boot */
    mark[0] = mark[0] == '0' ? '1' : '0';
    assert_false(procid_is_gone(mark));
    assert_false(procid_is_gone(""));
    assert_false(procid_is_gone("4711"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(runs), cmocka_unit_test(started_later),
                                       cmocka_unit_test(ended), cmocka_unit_test(elsewhere)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
