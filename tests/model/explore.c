#include "tests/model/explore.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "tests/model/map.h"

#define STATES_MAX 30000000
#define REMOVAL_MAX 30 /* names of one removal */

typedef struct Actor {
    const Step *at;
    uint32_t removed; /* of a removal: names that are gone */
    Changes changes;  /* of a listing: meanwhile */
} Actor;

typedef struct World {
    const Store *store;
    Actor actors[MODEL_PROCESSES];
    unsigned ticks, faults; /* left */
} World;

/* One step on the way, for the trace. */
typedef struct Move {
    int process; /* -1: time */
    const Step *at;
    const Answer *answer; /* NULL: a name of a removal */
    unsigned name;
} Move;

typedef struct Explorer {
    Model *model;
    Map seen;
    VEC(Move) path;
} Explorer;

/* True when the state is new. */
static bool world_is_new(Explorer *x, const World *w)
{
    uint64_t words[3 + 3 * MODEL_PROCESSES], n = 0;
    words[n++] = w->store->id;
    words[n++] = w->ticks;
    words[n++] = w->faults;
    for (unsigned i = 0; i < x->model->n; i++) {
        const Actor *a = &w->actors[i];
        bool ended = a->at->call.op == 0;
        words[n++] = ended ? 0 - (uint64_t)a->at->result - 1 : a->at->id;
        words[n++] = a->removed;
        words[n++] = a->changes;
    }
    void **slot = map_slot(&x->seen, XXH3_64bits(words, n * sizeof(*words)));
    bool new = !*slot;
    *slot = x;
    return new;
}

static bool visit(Explorer *x, const World *w);

/* Goes on from `next`, to which `move` led. */
static bool go_on(Explorer *x, const World *next, Move move)
{
    vec_push(&x->path, move);
    if (!visit(x, next))
        return false;
    x->path.n--;
    return true;
}

static bool go_answer(Explorer *x, World *next, unsigned i, const Answer *answer, unsigned name)
{
    Actor *a = &next->actors[i];
    Move move = {(int)i, a->at, answer, name};
    *a = (Actor){.at = process_answer(&x->model->processes[i], a->at, answer)};
    return go_on(x, next, move);
}

/* --- effects --- */

/* A name came or goes: whoever lists it just now may see it or not. */
static void world_changes(Explorer *x, World *w, const Store *after, const char *name)
{
    const Model *m = x->model;
    if (after == w->store)
        return;
    for (unsigned i = 0; i < m->n && !m->atomic_lists; i++) {
        const Call *c = &w->actors[i].at->call;
        if (c->op == STORAGE_OP_LIST && !c->by_level &&
            strncmp(name, c->name, strlen(c->name)) == 0)
            w->actors[i].changes = changes_add(m->stores, w->actors[i].changes, w->store, name);
    }
    w->store = after;
}

static ErrCode world_put(Explorer *x, World *w, const Call *c)
{
    ErrCode rc;
    world_changes(x, w, store_put(x->model->stores, w->store, c, &rc), c->name);
    return rc;
}

static void world_remove(Explorer *x, World *w, const char *name)
{
    world_changes(x, w, store_remove(x->model->stores, w->store, name), name);
}

/* --- looks that are left out --- */

static bool call_matches(const Call *c, const Blind *b)
{
    return (c->op & b->ops) && c->name && strstr(c->name, b->contains);
}

static bool is_blind(const Model *m, unsigned process, const Step *at)
{
    for (size_t i = 0; i < m->n_blinds; i++) {
        const Blind *b = &m->blinds[i];
        if (b->process != process || !call_matches(&at->call, b))
            continue;
        unsigned nth = 1, looks = 0;
        for (const Step *s = at->before; s; s = s->before) {
            nth += call_matches(&s->call, b);
            looks += s->call.op == STORAGE_OP_LIST && strstr(s->call.name, "/trash/");
        }
        if (nth >= b->from && (!b->to || nth <= b->to) && looks >= b->behind)
            return true;
    }
    return false;
}

/* --- the search --- */

static bool move_read(Explorer *x, const World *w, unsigned i)
{
    Model *m = x->model;
    const Actor *a = &w->actors[i];
    if (is_blind(m, i, a->at)) {
        World next = *w;
        return go_answer(x, &next, i, answer_remembered(m->stores, a->at), 0);
    }
    for (uint32_t hidden = 0; hidden < 1u << changes_count(a->changes); hidden++) {
        World next = *w;
        const Answer *answer = store_read(m->stores, w->store, &a->at->call, a->changes, hidden);
        if (!go_answer(x, &next, i, answer, 0))
            return false;
    }
    return true;
}

static bool move_put(Explorer *x, const World *w, unsigned i)
{
    World next = *w;
    ErrCode rc = world_put(x, &next, &w->actors[i].at->call);
    return go_answer(x, &next, i, answer_fail(x->model->stores, rc), 0);
}

static bool move_remove(Explorer *x, const World *w, unsigned i)
{
    const Actor *a = &w->actors[i];
    const StrList *names = &a->at->call.names;
    uint32_t all = (1u << names->n) - 1;
    if (names->n > REMOVAL_MAX)
        abort();
    for (unsigned k = 0; k < names->n; k++) {
        if (a->removed & 1u << k)
            continue;
        World next = *w;
        world_remove(x, &next, names->at[k]);
        next.actors[i].removed |= 1u << k;
        bool good = next.actors[i].removed == all
                        ? go_answer(x, &next, i, answer_fail(x->model->stores, ERR_OK), k)
                        : go_on(x, &next, (Move){(int)i, a->at, NULL, k});
        if (!good)
            return false;
        if (x->model->in_order)
            break;
    }
    return true;
}

/* The call fails, before or after its effect. */
static bool move_fail(Explorer *x, const World *w, unsigned i)
{
    const Call *c = &w->actors[i].at->call;
    int fates = c->op == STORAGE_OP_PUT || c->op == STORAGE_OP_REMOVE ? 2 : 1;
    for (int after = 0; after < fates; after++) {
        World next = *w;
        next.faults--;
        if (after && c->op == STORAGE_OP_PUT && world_put(x, &next, c) != ERR_OK)
            continue;
        for (size_t k = 0; after && c->op == STORAGE_OP_REMOVE && k < c->names.n; k++)
            world_remove(x, &next, c->names.at[k]);
        if (!go_answer(x, &next, i, answer_fail(x->model->stores, ERR_NETWORK), 0))
            return false;
    }
    return true;
}

static bool move_process(Explorer *x, const World *w, unsigned i)
{
    const Model *m = x->model;
    StorageOp op = w->actors[i].at->call.op;
    if (op && w->faults && (m->faulty & 1u << i) && !move_fail(x, w, i))
        return false;
    switch ((unsigned)op) {
    case 0:
        return true;
    case STORAGE_OP_PUT:
        return move_put(x, w, i);
    case STORAGE_OP_REMOVE:
        return move_remove(x, w, i);
    default:
        return move_read(x, w, i);
    }
}

static bool move_time(Explorer *x, const World *w)
{
    World next = *w;
    next.store = store_advance(x->model->stores, w->store, x->model->tick);
    next.ticks--;
    return go_on(x, &next, (Move){.process = -1});
}

static bool visit(Explorer *x, const World *w)
{
    Model *m = x->model;
    const Step *at[MODEL_PROCESSES];
    m->moves++;
    if (!world_is_new(x, w))
        return true;
    if (++m->states > STATES_MAX)
        abort();
    for (unsigned i = 0; i < m->n; i++)
        at[i] = w->actors[i].at;
    m->found = m->wrong(m->arg, w->store->facts, at);
    if (m->found)
        return false;
    if (w->ticks && !move_time(x, w))
        return false;
    for (unsigned i = 0; i < m->n; i++)
        if (!move_process(x, w, i))
            return false;
    return true;
}

/* --- the way to a violation, as text --- */

static void trace_entries(const Answer *a, Buf *out)
{
    size_t at = 0;
    Entry e;
    while (entry_next(&a->data, &at, &e))
        buf_printf(out, "\n        %s", e.name);
}

static void trace_move(const Model *m, const Move *move, Buf *out)
{
    static const char *const verbs[] = {
        [STORAGE_OP_PUT] = "put",   [STORAGE_OP_GET] = "get",       [STORAGE_OP_STAT] = "stat",
        [STORAGE_OP_LIST] = "list", [STORAGE_OP_REMOVE] = "remove", [STORAGE_OP_NOW] = "now"};
    if (move->process < 0) {
        buf_append_str(out, "    a tick of time\n");
        return;
    }
    const Call *c = &move->at->call;
    const char *name = c->op == STORAGE_OP_REMOVE ? c->names.at[move->name] : c->name;
    buf_printf(out, "    %s: %s %s", m->processes[move->process].name, verbs[c->op],
               name ? name : "");
    if (move->answer && move->answer->code != ERR_OK)
        buf_printf(out, ": %s", err_code_name(move->answer->code));
    else if (move->answer && c->op == STORAGE_OP_LIST)
        trace_entries(move->answer, out);
    buf_append_u8(out, '\n');
}

void model_explore(Model *m)
{
    Explorer x = {.model = m};
    m->stores = stores_new(m->store, m->facts, m->arg);
    World w = {.store = stores_first(m->stores), .ticks = m->ticks, .faults = m->faults};
    for (unsigned i = 0; i < m->n; i++) {
        w.actors[i].at = process_init(&m->processes[i]);
    }
    if (!visit(&x, &w))
        for (size_t i = 0; i < x.path.n; i++)
            trace_move(m, &x.path.at[i], &m->trace);
    map_release(&x.seen);
    vec_release(&x.path);
}

void model_release(Model *m)
{
    for (unsigned i = 0; i < m->n; i++)
        process_release(&m->processes[i]);
    stores_free(m->stores);
    buf_release(&m->trace);
}
