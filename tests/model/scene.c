#include "tests/model/scene.h"

#include "tests/unit/unit.h"

enum { LISTED = 1, WHOLE = 2, RETIRED = 4, MARKED = 8, FACTS = 4, SETTLED = 60 };

/* What parts_settle() says, as a number that fits into the facts. */
static const char *const settlings[] = {
    "every later expire fails",
    "a later expire breaks a backup",
    "a pack that nobody uses stays for ever",
    "what is left of a backup stays for ever",
    "a trash object stays for ever",
};

static uint64_t scene_facts(const void *arg, Storage *store)
{
    const Scene *s = arg;
    uint64_t facts = 0;
    size_t n = 0;
    for (; n < ARRAY_LEN(s->backups) && s->backups[n]; n++) {
        uint64_t mine = (parts_listed(store, s->backups[n]) ? LISTED : 0) |
                        (parts_whole(store, s->backups[n]) ? WHOLE : 0) |
                        (parts_retired(store, s->backups[n]) ? RETIRED : 0) |
                        (parts_marked(store, s->backups[n]) ? MARKED : 0);
        facts |= mine << n * FACTS;
    }
    const char *wrong = s->unsettled ? NULL : parts_settle(s->repo, store, s->backups, n);
    uint64_t settling = 0;
    for (size_t i = 0; wrong && i < ARRAY_LEN(settlings); i++)
        if (strcmp(wrong, settlings[i]) == 0)
            settling = i + 1;
    if (wrong && !settling)
        abort();
    return facts | settling << SETTLED;
}

static uint64_t facts_about(const Scene *s, uint64_t facts, const BackupSpecimen *b)
{
    unsigned i = 0;
    while (s->backups[i] != b)
        i++;
    return facts >> i * FACTS;
}

/* What a process has said at its end. */
static const char *wrong_answer(Scene *s, uint64_t facts, unsigned i, ErrCode result)
{
    const BackupSpecimen *b = s->written[i] ? s->written[i] : s->undeleted[i];
    if (!b)
        return result != ERR_OK && !s->model.faults ? "an expire failed" : NULL;
    uint64_t mine = facts_about(s, facts, b);
    *(result == ERR_OK ? &s->succeeded : &s->failed) |= 1u << i;
    if (result != ERR_OK)
        return s->written[i] && (mine & LISTED) && !(mine & RETIRED) && !s->model.faults
                   ? "a backup reported failure and is there"
                   : NULL;
    if ((mine & (WHOLE | RETIRED)) || (s->undeleted[i] && s->retired_again))
        return NULL;
    return s->written[i] ? "a backup reported success and is not whole"
                         : "undelete reported success and the backup is not whole";
}

static const char *scene_wrong(const void *arg, uint64_t facts, const Step *const *at)
{
    Scene *s = (Scene *)(uintptr_t)arg;
    const char *wrong = NULL;
    bool all_ended = true;
    for (unsigned i = 0; i < s->model.n; i++)
        all_ended = all_ended && at[i]->call.op == 0;
    for (unsigned i = 0; i < ARRAY_LEN(s->backups) && s->backups[i] && !wrong; i++) {
        uint64_t mine = facts >> i * FACTS;
        if ((mine & LISTED) && !(mine & (WHOLE | RETIRED)))
            wrong = "a backup is listed and not whole";
        else if (!(mine & LISTED) && s->backups[i] == s->stays)
            wrong = "a backup was removed too soon";
        else if ((mine & LISTED) && (mine & MARKED) && all_ended && !s->model.faults)
            wrong = "a mark is left on a backup that stays";
    }
    for (unsigned i = 0; i < s->model.n && !wrong; i++)
        if (at[i]->call.op == 0)
            wrong = wrong_answer(s, facts, i, at[i]->result);
    return wrong || !(facts >> SETTLED) ? wrong : settlings[(facts >> SETTLED) - 1];
}

/* --- who takes part --- */

static unsigned scene_add(Scene *s, const char *name, const BackupSpecimen *arg)
{
    unsigned i = s->model.n++;
    s->processes[i] = (Process){.name = name, .arg = arg, .like = s->repo, .seed = i + 1};
    return i;
}

unsigned add_writer(Scene *s, const char *name, const BackupSpecimen *b)
{
    unsigned i = scene_add(s, name, b);
    s->written[i] = b;
    s->processes[i].run[0] = b->parent ? run_check_parent : run_writer;
    s->processes[i].run[1] = b->parent ? run_writer : NULL;
    return i;
}

unsigned add_renewer(Scene *s, const char *name, const BackupSpecimen *b)
{
    unsigned i = scene_add(s, name, b);
    s->processes[i].run[0] = run_renewer;
    return i;
}

unsigned add_expirer(Scene *s, const char *name, const BackupSpecimen *b)
{
    unsigned i = scene_add(s, name, b);
    s->processes[i].run[0] = run_condemn;
    s->processes[i].run[1] = run_sweep;
    return i;
}

unsigned add_sweeper(Scene *s, const char *name)
{
    unsigned i = scene_add(s, name, NULL);
    s->processes[i].run[0] = run_sweep;
    return i;
}

unsigned add_undelete(Scene *s, const char *name, const BackupSpecimen *b)
{
    unsigned i = scene_add(s, name, b);
    s->undeleted[i] = b;
    s->processes[i].run[0] = run_undelete;
    return i;
}

void scene_open(Scene *s, const char *name)
{
    *s = (Scene){.name = name};
    s->repo = parts_repo(&s->mem);
    specimen_init(&s->o, 'O', "");
    specimen_init(&s->p, 'P', "O");
    specimen_init(&s->a, 'A', "OP");
    specimen_init(&s->b, 'B', "OP");
    s->a.parent = s->b.parent = 'P';
    s->backups[0] = &s->p;
    s->backups[1] = &s->a;
    s->model = (Model){.name = name,
                       .store = s->mem,
                       .processes = s->processes,
                       .tick = HALF_GRACE,
                       .ticks = 2,
                       .facts = scene_facts,
                       .wrong = scene_wrong,
                       .arg = s};
}

void scene_put_parents(Scene *s)
{
    parts_put_backup(s->repo, &s->o);
    parts_forget(s->repo, &s->o);
    parts_put_backup(s->repo, &s->p);
}

void scene_close(Scene *s)
{
    model_release(&s->model);
    repo_close(s->repo);
}

/* --- playing it --- */

void scene_explore(Scene *s)
{
    uint32_t places = 0;
    model_explore(&s->model);
    for (unsigned i = 0; i < s->model.n; i++)
        places += s->processes[i].steps;
    print_message("%s: %llu states, %llu moves, %zu stores, %u places in %u processes%s%s\n",
                  s->name, (unsigned long long)s->model.states, (unsigned long long)s->model.moves,
                  stores_count(s->model.stores), places, s->model.n, s->model.found ? ": " : "",
                  s->model.found ? s->model.found : "");
}

/* The trace, line by line: it is longer than what fail_msg() takes. */
static void print_trace(Scene *s)
{
    char *text AUTO(mem_freep) = mem_strdup(buf_str(&s->model.trace));
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        print_message("%s\n", line);
}

void scene_expect_safe(Scene *s)
{
    const char *one_sided = NULL;
    scene_explore(s);
    const char *found = s->model.found;
    if (found)
        print_trace(s);
    for (unsigned i = 0; i < s->model.n; i++)
        if ((s->written[i] || s->undeleted[i]) && !(s->one_sided & 1u << i) &&
            !(s->succeeded & s->failed & 1u << i))
            one_sided = s->processes[i].name;
    scene_close(s);
    if (found)
        fail_msg("%s: %s", s->name, found);
    if (one_sided)
        fail_msg("%s: '%s' was not seen both to succeed and to fail", s->name, one_sided);
}

void scene_expect_wrong(Scene *s, const Blind *blind, const char *what)
{
    s->model.blinds = blind;
    s->model.n_blinds = 1;
    scene_explore(s);
    const char *found = s->model.found;
    scene_close(s);
    if (!found)
        fail_msg("%s: nothing is wrong", s->name);
    if (!strstr(found, what))
        fail_msg("%s: '%s' instead of '%s'", s->name, found, what);
}
