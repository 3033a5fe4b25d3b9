#include "tests/model/process.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "lib/common/bytes.h"
#include "lib/common/hex.h"

/* --- chance and time --- */

/*
 * random_bytes(), random_name() and the clocks are replaced when the test is linked (--wrap, see
 * local.mk). A process draws its n-th name always as the same one; salts are one constant for each
 * process, so that an object's bytes do not depend on how many were made before it.
 */
static unsigned chance_seed, chance_part, chance_names;

void chance_begin(unsigned seed, unsigned part)
{
    chance_seed = seed;
    chance_part = part;
    chance_names = 0;
}

void __wrap_random_bytes(void *out, size_t len);
char *__wrap_random_name(char *out);
TimeUs __wrap_time_now(void);
TimeUs __wrap_time_monotonic(void);

void __wrap_random_bytes(void *out, size_t len)
{
    memset(out, (int)(chance_seed & 0xff), len);
}

char *__wrap_random_name(char *out)
{
    snprintf(out, 33, "%08x%08x%016x", chance_seed, chance_part, ++chance_names);
    return out;
}

TimeUs __wrap_time_now(void)
{
    return 1767225600 * US_PER_SECOND;
}

TimeUs __wrap_time_monotonic(void)
{
    return 0;
}

/* --- calls and answers --- */

static void call_release(Call *c)
{
    free(c->name);
    str_list_release(&c->names);
    buf_release(&c->content);
    *c = (Call){.op = 0};
}

static uint64_t call_digest(const Call *c)
{
    uint64_t h = XXH3_64bits_withSeed(c->content.data, c->content.len, (uint64_t)c->op);
    if (c->name)
        h = XXH3_64bits_withSeed(c->name, strlen(c->name),
                                 h + (uint64_t)c->flags + 16u * c->by_level);
    for (size_t i = 0; i < c->names.n; i++)
        h = XXH3_64bits_withSeed(c->names.at[i], strlen(c->names.at[i]), h);
    return h;
}

void entry_append(Buf *data, const Entry *e)
{
    buf_append(data, e->name, strlen(e->name) + 1);
    buf_append_u64(data, e->size);
    buf_append_u64(data, (uint64_t)e->mtime);
}

bool entry_next(const Buf *data, size_t *at, Entry *ret)
{
    if (*at >= data->len)
        return false;
    ret->name = (const char *)data->data + *at;
    *at += strlen(ret->name) + 1;
    ret->size = get_u64(data->data + *at);
    ret->mtime = (TimeUs)get_u64(data->data + *at + 8);
    *at += 16;
    return true;
}

/* --- the storage that answers from a script --- */

typedef struct Script {
    Storage base;
    const Step *const *path; /* the beginning, and the place behind each answer */
    size_t n, at;            /* answers; of them given */
    Call *next;              /* the call behind the last answer; op 0 while there was none */
} Script;

/* The answer to a call (which is consumed), or NULL: the process is to end. */
static const Answer *script_call(Storage *s, Call call)
{
    Script *script = (Script *)s;
    call.digest = call_digest(&call);
    if (script->next->op != 0) {
        call_release(&call);
        return NULL;
    }
    if (script->at == script->n) {
        *script->next = call;
        return NULL;
    }
    const Call *before = &script->path[script->at]->call;
    if (before->digest != call.digest) {
        fprintf(stderr, "a process that is not decided by its answers: '%s' instead of '%s'\n",
                call.name ? call.name : "", before->name ? before->name : "");
        abort();
    }
    call_release(&call);
    return script->path[++script->at]->answer;
}

static ErrCode script_fail(const Answer *a, const char *name, Err *err)
{
    if (!a)
        return err_set(err, ERR_INTERNAL, "the process ends here");
    return err_set(err, a->code, "cannot use '%s'", name);
}

static Call call_of(StorageOp op, const char *name)
{
    return (Call){.op = op, .name = mem_strdup(name)};
}

static ErrCode script_put(Storage *s, const char *name, const StorageSource *src,
                          StoragePutFlags flags, Err *err)
{
    Call call = call_of(STORAGE_OP_PUT, name);
    call.flags = flags;
    for (size_t i = 0; i < src->n; i++)
        buf_append(&call.content, src->parts[i].data, src->parts[i].len);
    const Answer *a = script_call(s, call);
    return a && a->code == ERR_OK ? ERR_OK : script_fail(a, name, err);
}

static ErrCode script_get(Storage *s, const char *name, StorageRead *read, Err *err)
{
    const Answer *a = script_call(s, call_of(STORAGE_OP_GET, name));
    if (!a || a->code != ERR_OK)
        return script_fail(a, name, err);
    read->size = a->data.len;
    if (read->from_end)
        read->off = read->size - MIN((uint64_t)read->len, read->size);
    read->got =
        read->off < read->size ? (size_t)MIN((uint64_t)read->len, read->size - read->off) : 0;
    if (read->got)
        memcpy(read->data, a->data.data + read->off, read->got);
    return ERR_OK;
}

static ErrCode script_stat(Storage *s, const char *name, StorageStat *ret, Err *err)
{
    const Answer *a = script_call(s, call_of(STORAGE_OP_STAT, name));
    size_t at = 0;
    Entry e;
    if (!a || a->code != ERR_OK)
        return script_fail(a, name, err);
    entry_next(&a->data, &at, &e);
    *ret = (StorageStat){.size = e.size, .mtime = e.mtime};
    return ERR_OK;
}

static ErrCode script_list(Storage *s, const StorageList *list, Err *err)
{
    Call call = call_of(STORAGE_OP_LIST, list->prefix);
    call.by_level = list->by_level;
    const Answer *a = script_call(s, call);
    size_t at = 0;
    Entry e;
    if (list->after) {
        fprintf(stderr, "the model has no listings from a name on\n");
        abort();
    }
    if (!a || a->code != ERR_OK)
        return script_fail(a, list->prefix, err);
    while (entry_next(&a->data, &at, &e)) {
        StorageEntry entry = {.name = e.name,
                              .is_prefix = e.name[strlen(e.name) - 1] == '/',
                              .stat = {.size = e.size, .mtime = e.mtime}};
        TRY(list->fn(list->arg, &entry, err));
    }
    return ERR_OK;
}

static ErrCode script_remove(Storage *s, const char *const *names, size_t n, Err *err)
{
    Call call = {.op = STORAGE_OP_REMOVE};
    for (size_t i = 0; i < n; i++)
        vec_push(&call.names, mem_strdup(names[i]));
    const Answer *a = script_call(s, call);
    return a && a->code == ERR_OK ? ERR_OK : script_fail(a, names[0], err);
}

static ErrCode script_now(Storage *s, TimeUs *ret, Err *err)
{
    const Answer *a = script_call(s, (Call){.op = STORAGE_OP_NOW});
    if (!a || a->code != ERR_OK)
        return script_fail(a, "the clock", err);
    *ret = (TimeUs)get_u64(a->data.data);
    return ERR_OK;
}

static const StorageOps script_ops = {
    .put = script_put,
    .get = script_get,
    .stat = script_stat,
    .list = script_list,
    .remove = script_remove,
    .now = script_now,
};

/* --- the tree --- */

/* Runs the process up to `step`, and notes there what it does next. */
static void step_run(Process *p, Step *step)
{
    VEC(const Step *) path = {0};
    for (const Step *s = step; s; s = s->before)
        vec_push(&path, s);
    for (size_t i = 0; i < path.n / 2; i++) {
        const Step *swap = path.at[i];
        path.at[i] = path.at[path.n - 1 - i];
        path.at[path.n - 1 - i] = swap;
    }
    char url[] = "memory";
    Script script = {.base = {.ops = &script_ops, .url = url},
                     .path = path.at,
                     .n = path.n - 1,
                     .next = &step->call};
    Repo repo = *p->like;
    repo.storage = &script.base;
    Err err = {0};
    chance_begin(p->seed, step->part);
    step->result = p->run[step->part](&repo, p->arg, &err);
    if (step->call.op == 0 && step->result != ERR_OK)
        step->message = mem_strdup(err.message);
    vec_release(&path);
}

static Step *step_new(Process *p, unsigned part, const Step *before, const Answer *answer)
{
    Step *s = NEW(Step);
    s->id = ++p->steps;
    s->part = part;
    s->before = before;
    s->answer = answer;
    step_run(p, s);
    return s;
}

static const Step *part_begin(Process *p, unsigned part)
{
    if (!p->first[part])
        p->first[part] = step_new(p, part, NULL, NULL);
    return p->first[part];
}

const Step *process_init(Process *p)
{
    p->steps = 0;
    return part_begin(p, 0);
}

static void step_free(Step *s)
{
    for (size_t i = 0; i < s->next.n; i++)
        step_free(s->next.at[i]);
    vec_release(&s->next);
    call_release(&s->call);
    free(s->message);
    free(s);
}

void process_release(Process *p)
{
    for (unsigned i = 0; i < PROCESS_PARTS; i++) {
        if (p->first[i])
            step_free(p->first[i]);
        p->first[i] = NULL;
    }
}

/* The step itself, or where the next part begins. */
static const Step *step_or_part(Process *p, const Step *s)
{
    while (s->call.op == 0 && s->result == ERR_OK && s->part + 1 < PROCESS_PARTS &&
           p->run[s->part + 1])
        s = part_begin(p, s->part + 1);
    return s;
}

const Step *process_answer(Process *p, const Step *at, const Answer *answer)
{
    for (size_t i = 0; i < at->next.n; i++)
        if (at->next.at[i]->answer == answer)
            return step_or_part(p, at->next.at[i]);
    Step *mutable = (Step *)(uintptr_t)at; /* the tree is this module's own */
    Step *s = step_new(p, at->part, at, answer);
    vec_push(&mutable->next, s);
    return step_or_part(p, s);
}
