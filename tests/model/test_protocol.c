/*
 * The protocol of publish.h, explored: writers, expirers, undelete, zombies and leases in every
 * order of their storage calls, with a crash at each of them. Then each step of the protocol is
 * left out, to see that the explorer notices.
 */

#include "tests/model/parts.h"
#include "tests/unit/unit.h"

/* Who is who in a scenario. */
typedef struct Cast {
    const BackupSpecimen *backups[4];
    /* By the number of the process: the backup it writes or brings back, if it does. */
    const BackupSpecimen *written[MODEL_PROCESSES], *undeleted[MODEL_PROCESSES];
    /* What was seen: processes that succeeded, and failed; backups that were no more. */
    uint64_t *succeeded, *failed, *gone;
} Cast;

enum { LISTED = 1, WHOLE = 2, RETIRED = 4, FACTS = 3 };

static uint64_t protocol_facts(const void *arg, Storage *store)
{
    const Cast *c = arg;
    uint64_t facts = 0;
    for (unsigned i = 0; i < ARRAY_LEN(c->backups) && c->backups[i]; i++) {
        uint64_t mine = (parts_listed(store, c->backups[i]) ? LISTED : 0) |
                        (parts_whole(store, c->backups[i]) ? WHOLE : 0) |
                        (parts_retired(store, c->backups[i]) ? RETIRED : 0);
        facts |= mine << i * FACTS;
    }
    return facts;
}

static uint64_t facts_about(const Cast *c, uint64_t facts, const BackupSpecimen *b)
{
    unsigned i = 0;
    while (c->backups[i] != b)
        i++;
    return facts >> i * FACTS;
}

static const char *protocol_wrong(const void *arg, uint64_t facts, const Step *const *at)
{
    const Cast *c = arg;
    for (unsigned i = 0; i < ARRAY_LEN(c->backups) && c->backups[i]; i++) {
        uint64_t mine = facts >> i * FACTS;
        if ((mine & LISTED) && !(mine & (WHOLE | RETIRED)))
            return "a backup is listed and not whole";
        if (!(mine & LISTED))
            *c->gone |= 1u << i;
    }
    for (unsigned i = 0; i < MODEL_PROCESSES; i++) {
        const BackupSpecimen *b = c->written[i] ? c->written[i] : c->undeleted[i];
        if (!b || at[i]->call.op != 0)
            continue;
        *(at[i]->result == ERR_OK ? c->succeeded : c->failed) |= 1u << i;
        if (at[i]->result == ERR_OK && !(facts_about(c, facts, b) & (WHOLE | RETIRED)))
            return c->written[i] ? "a backup reported success and is not whole"
                                 : "undelete reported success and the backup is not whole";
    }
    return NULL;
}

/* One scenario being played. */
typedef struct Scene {
    Storage *mem;
    Repo *repo;
    BackupSpecimen o, p, a, b, x;
    Process processes[MODEL_PROCESSES];
    Cast cast;
    uint64_t succeeded, failed, gone;
    Model model;
} Scene;

static Process *scene_add(Scene *s, const char *name, const BackupSpecimen *arg)
{
    unsigned i = s->model.n++;
    s->processes[i] = (Process){.name = name, .arg = arg, .like = s->repo, .seed = i + 1};
    return &s->processes[i];
}

static void add_writer(Scene *s, const char *name, const BackupSpecimen *b)
{
    Process *p = scene_add(s, name, b);
    s->cast.written[p - s->processes] = b;
    p->run[0] = b->parent ? run_check_parent : run_writer;
    p->run[1] = b->parent ? run_writer : NULL;
}

/* Condemns, retiring P, and sweeps later. */
static void add_expirer(Scene *s, const char *name)
{
    Process *p = scene_add(s, name, &s->p);
    p->run[0] = run_condemn;
    p->run[1] = run_sweep;
}

static void add_sweeper(Scene *s, const char *name)
{
    scene_add(s, name, NULL)->run[0] = run_sweep;
}

/* Backup P, which uses a pack of O, which expired long ago; A is to be made from P. */
static void scene_open(Scene *s, const char *name)
{
    *s = (Scene){.mem = NULL};
    s->repo = parts_repo(&s->mem);
    specimen_init(&s->o, 'O', "");
    specimen_init(&s->p, 'P', "O");
    specimen_init(&s->a, 'A', "OP");
    specimen_init(&s->b, 'B', "OP");
    specimen_init(&s->x, 'X', "");
    s->a.parent = s->b.parent = 'P';
    s->cast = (Cast){.backups = {&s->p, &s->a},
                     .succeeded = &s->succeeded,
                     .failed = &s->failed,
                     .gone = &s->gone};
    s->model = (Model){.name = name,
                       .store = s->mem,
                       .processes = s->processes,
                       .tick = HALF_GRACE,
                       .ticks = 2,
                       .facts = protocol_facts,
                       .wrong = protocol_wrong,
                       .arg = &s->cast};
}

static void scene_parents(Scene *s)
{
    parts_put_backup(s->repo, &s->o);
    parts_forget(s->repo, &s->o);
    parts_put_backup(s->repo, &s->p);
}

static void scene_close(Scene *s)
{
    model_release(&s->model);
    repo_close(s->repo);
}

static void scene_explore(Scene *s)
{
    uint32_t places = 0;
    model_explore(&s->model);
    for (unsigned i = 0; i < s->model.n; i++)
        places += s->processes[i].steps;
    print_message("%s: %llu states, %llu moves, %zu stores, %u places in %u processes%s%s\n",
                  s->model.name, (unsigned long long)s->model.states,
                  (unsigned long long)s->model.moves, stores_count(s->model.stores), places,
                  s->model.n, s->model.found ? ": " : "", s->model.found ? s->model.found : "");
}

/* The trace, line by line: it is longer than what fail_msg() takes. */
static void scene_print_trace(Scene *s)
{
    char *text = (char *)(uintptr_t)buf_str(&s->model.trace);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        print_message("%s\n", line);
}

/* Nothing may be wrong; and what can succeed and fail was seen to do both. */
static void scene_safe(Scene *s)
{
    const char *name = s->model.name, *one_sided = NULL;
    scene_explore(s);
    const char *found = s->model.found;
    if (found)
        scene_print_trace(s);
    for (unsigned i = 0; i < s->model.n; i++)
        if ((s->cast.written[i] || s->cast.undeleted[i]) && !(s->succeeded & s->failed & 1u << i))
            one_sided = s->processes[i].name;
    scene_close(s);
    if (found)
        fail_msg("%s: %s", name, found);
    if (one_sided)
        fail_msg("%s: '%s' was not seen both to succeed and to fail", name, one_sided);
}

/* --- scenarios --- */

static void writer_and_expirer(void **state)
{
    (void)state;
    Scene s;
    scene_open(&s, "a writer and an expirer");
    scene_parents(&s);
    add_writer(&s, "A", &s.a);
    add_expirer(&s, "E");
    scene_safe(&s);
}

/* Two sweeps of one trash object, which names the packs of P and O; `begun`: also what A has put.
 */
static void writer_and_two_sweepers(bool begun, bool slow)
{
    Scene s;
    scene_open(&s, begun ? "a condemned writer and two sweepers" : "a writer and two sweepers");
    scene_parents(&s);
    s.a.packs_before = begun;
    s.a.parent = 0; /* it has looked already */
    parts_put_packs(s.repo, &s.a);
    expect_ok(run_condemn(s.repo, &s.p, err));
    s.model.in_order = s.model.atomic_lists = !slow;
    add_writer(&s, "A", &s.a);
    add_sweeper(&s, "E");
    add_sweeper(&s, "F");
    scene_safe(&s);
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

/* With an argument, only the tests of that name (with * and ?). */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writer_and_expirer),
        cmocka_unit_test(writer_and_two_sweepers_of_others),
        cmocka_unit_test(writer_and_two_sweepers_of_it),
        cmocka_unit_test(slow_writer_and_two_sweepers_of_others),
        cmocka_unit_test(slow_writer_and_two_sweepers_of_it),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
