/* Random calls, each answer compared with that of a plain array. */

#include "tests/storage/conformance.h"

#define CALLS 1500

typedef struct ModelObject {
    char *name;
    size_t len;
    uint64_t seed;
} ModelObject;

typedef struct Model {
    VEC(ModelObject) objects;
    uint64_t random;
    bool nest, replace;
} Model;

static unsigned draw(Model *m, unsigned n)
{
    m->random = m->random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(m->random >> 33) % n;
}

/* One to three components over letters on both sides of '/'; few enough to meet again. */
static char *draw_name(Model *m)
{
    static const char *const parts[] = {"a", "a-", "a0", "b", "a b", "-"};
    Buf name = {0};
    for (unsigned n = 1 + draw(m, 3), i = 0; i < n; i++)
        buf_printf(&name, "%s%s", i ? "/" : "", parts[draw(m, ARRAY_LEN(parts))]);
    buf_str(&name);
    return (char *)name.data;
}

static ModelObject *model_find(Model *m, const char *name)
{
    for (size_t i = 0; i < m->objects.n; i++)
        if (strcmp(m->objects.at[i].name, name) == 0)
            return &m->objects.at[i];
    return NULL;
}

static bool is_above(const char *dir, const char *name)
{
    size_t len = strlen(dir);
    return strncmp(dir, name, len) == 0 && name[len] == '/';
}

static bool model_refuses(Model *m, const char *name, StoragePutFlags flags)
{
    if (m->replace)
        return false;
    if (model_find(m, name) && !(flags & STORAGE_OVERWRITE))
        return true;
    for (size_t i = 0; i < m->objects.n && !m->nest; i++)
        if (is_above(m->objects.at[i].name, name) || is_above(name, m->objects.at[i].name))
            return true;
    return false;
}

static void step_put(Fixture *f, Model *m)
{
    char *name AUTO(mem_freep) = draw_name(m);
    StoragePutFlags flags = draw(m, 4) ? STORAGE_CREATE : STORAGE_OVERWRITE;
    size_t len = draw(m, 50) ? draw(m, 300) : MIB + draw(m, 9000);
    uint64_t seed = m->random;
    if (model_refuses(m, name, flags)) {
        expect_err(ERR_EXISTS, "", put_content(f->s, name, len, seed, flags, err));
        return;
    }
    expect_ok(put_content(f->s, name, len, seed, flags, err));
    ModelObject *o = model_find(m, name);
    if (!o) {
        vec_push(&m->objects, (ModelObject){.name = mem_strdup(name)});
        o = &m->objects.at[m->objects.n - 1];
    }
    o->len = len;
    o->seed = seed;
}

static void step_get(Fixture *f, Model *m)
{
    char *name AUTO(mem_freep) = draw_name(m);
    ModelObject *o = model_find(m, name);
    StorageStat stat;
    if (o)
        expect_content(f->s, name, o->len, o->seed);
    else
        expect_err(ERR_NOT_FOUND, "", storage_stat(f->s, name, &stat, err));
}

static void step_remove(Fixture *f, Model *m)
{
    const char *names[3];
    size_t n = 1 + draw(m, ARRAY_LEN(names));
    for (size_t i = 0; i < n; i++)
        names[i] = draw_name(m);
    expect_ok(storage_remove(f->s, names, n, err));
    for (size_t i = 0; i < n; i++) {
        ModelObject *o = model_find(m, names[i]);
        if (o) {
            free(o->name);
            *o = m->objects.at[--m->objects.n];
        }
        free((void *)(uintptr_t)names[i]);
    }
}

static void step_list(Fixture *f, Model *m)
{
    char *prefix AUTO(mem_freep) = draw_name(m), *after AUTO(mem_freep) = draw_name(m);
    if (draw(m, 2))
        prefix[draw(m, (unsigned)strlen(prefix) + 1)] = '\0';
    StorageList list = {.prefix = prefix, .by_level = draw(m, 2), .want_stat = draw(m, 2)};
    if (draw(m, 2))
        list.after = after;
    StrList names AUTO(str_list_release) = {0};
    for (size_t i = 0; i < m->objects.n; i++)
        vec_push(&names, mem_strdup(m->objects.at[i].name));
    str_list_sort(&names);
    StrList want AUTO(str_list_release) = list_reference(names.at, names.n, &list);
    expect_names(f->s, &list, (const char *const *)want.at, want.n);
}

static void model(void **state)
{
    FIXTURE(state);
    Model m = {.random = 20261123, .nest = f->c->names_nest, .replace = f->c->replaces_silently};
    static void (*const steps[])(Fixture *, Model *) = {step_put, step_put, step_get, step_list,
                                                        step_remove};
    for (unsigned i = 0; i < CALLS; i++)
        steps[draw(&m, ARRAY_LEN(steps))](f, &m);
    for (size_t i = 0; i < m.objects.n; i++)
        free(m.objects.at[i].name);
    vec_release(&m.objects);
}

const struct CMUnitTest conformance_model[] = {
    cmocka_unit_test(model),
    {0},
};
