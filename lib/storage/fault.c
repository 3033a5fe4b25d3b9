/* Fails chosen calls, for tests. */

#include <pthread.h>
#include <string.h>

#include "lib/storage/drivers.h"

typedef struct Fault {
    Storage base;
    Storage *inner;
    pthread_mutex_t lock; /* guards all below */
    FaultSpec spec;
    char *contains; /* the specification's own copy */
    unsigned calls;
} Fault;

/* What befalls one call. */
typedef struct Fate {
    ErrCode code; /* ERR_OK: nothing */
    bool after_effect;
    unsigned list_names;
} Fate;

static Fate fault_count(Fault *f, StorageOp op, const char *name)
{
    Fate fate = {0};
    void (*hook)(void *, StorageOp, const char *) = NULL;
    void *hook_arg = NULL;
    pthread_mutex_lock(&f->lock);
    const FaultSpec *spec = &f->spec;
    if ((spec->ops & op) && (!f->contains || strstr(name, f->contains))) {
        unsigned call = ++f->calls;
        hook = spec->hook;
        hook_arg = spec->hook_arg;
        if (spec->nth && call >= spec->nth && (!spec->times || call - spec->nth < spec->times))
            fate = (Fate){spec->code, spec->after_effect, spec->list_names};
    }
    pthread_mutex_unlock(&f->lock);
    if (hook)
        hook(hook_arg, op, name);
    return fate;
}

static ErrCode fate_fail(const Fault *f, const Fate *fate, const char *verb, const char *name,
                         Err *err)
{
    return err_set(err, fate->code, "cannot %s '%s' in %s: a fault was injected%s", verb, name,
                   f->base.url, fate->after_effect ? " after the effect" : "");
}

/* Calls the inner storage unless the fate says otherwise; then the answer is lost, or not. */
#define FATED(f, fate, verb, name, call)                                                           \
    do {                                                                                           \
        if ((fate).code == ERR_OK || (fate).after_effect)                                          \
            TRY(call);                                                                             \
        return (fate).code == ERR_OK ? ERR_OK : fate_fail(f, &(fate), verb, name, err);            \
    } while (0)

static ErrCode fault_put(Storage *s, const char *name, const StorageSource *src,
                         StoragePutFlags flags, Err *err)
{
    Fault *f = (Fault *)s;
    Fate fate = fault_count(f, STORAGE_OP_PUT, name);
    FATED(f, fate, "write", name, storage_put(f->inner, name, src, flags, err));
}

static ErrCode fault_get(Storage *s, const char *name, StorageRead *read, Err *err)
{
    Fault *f = (Fault *)s;
    Fate fate = fault_count(f, STORAGE_OP_GET, name);
    FATED(f, fate, "read", name, storage_get(f->inner, name, read, err));
}

static ErrCode fault_stat(Storage *s, const char *name, StorageStat *ret, Err *err)
{
    Fault *f = (Fault *)s;
    Fate fate = fault_count(f, STORAGE_OP_STAT, name);
    FATED(f, fate, "look at", name, storage_stat(f->inner, name, ret, err));
}

/* A listing that ends early. */
typedef struct ShortList {
    const StorageList *list;
    unsigned left;
    bool cut;
} ShortList;

static ErrCode short_list_entry(void *arg, const StorageEntry *entry, Err *err)
{
    ShortList *s = arg;
    if (!s->left) {
        s->cut = true;
        return ERR_CANCELLED; /* told from the caller's own errors by `cut` */
    }
    s->left--;
    return s->list->fn(s->list->arg, entry, err);
}

static ErrCode fault_list(Storage *s, const StorageList *list, Err *err)
{
    Fault *f = (Fault *)s;
    Fate fate = fault_count(f, STORAGE_OP_LIST, list->prefix);
    if (fate.code != ERR_OK && !fate.after_effect && fate.list_names) {
        ShortList cut = {.list = list, .left = fate.list_names};
        StorageList inner = *list;
        inner.fn = short_list_entry;
        inner.arg = &cut;
        ErrCode rc = storage_list(f->inner, &inner, err);
        return rc != ERR_OK && !cut.cut ? rc : fate_fail(f, &fate, "list", list->prefix, err);
    }
    FATED(f, fate, "list", list->prefix, storage_list(f->inner, list, err));
}

static ErrCode fault_remove(Storage *s, const char *const *names, size_t n, Err *err)
{
    Fault *f = (Fault *)s;
    const char *shown = names[0];
    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; f->contains && i < n; i++) {
        if (strstr(names[i], f->contains)) {
            shown = names[i];
            break;
        }
    }
    pthread_mutex_unlock(&f->lock);
    Fate fate = fault_count(f, STORAGE_OP_REMOVE, shown);
    FATED(f, fate, "remove", shown, storage_remove(f->inner, names, n, err));
}

static ErrCode fault_now(Storage *s, TimeUs *ret, Err *err)
{
    Fault *f = (Fault *)s;
    Fate fate = fault_count(f, STORAGE_OP_NOW, "");
    FATED(f, fate, "ask the time of", "", storage_now(f->inner, ret, err));
}

static void fault_free(Storage *s)
{
    Fault *f = (Fault *)s;
    storage_free(f->inner);
    pthread_mutex_destroy(&f->lock);
    free(f->contains);
    free(f);
}

static const StorageOps fault_ops = {
    .put = fault_put,
    .get = fault_get,
    .stat = fault_stat,
    .list = fault_list,
    .remove = fault_remove,
    .now = fault_now,
    .free = fault_free,
};

Storage *storage_fault_new(Storage *inner, const FaultSpec *spec)
{
    Fault *f = NEW(Fault);
    f->base = (Storage){.ops = &fault_ops, .url = mem_strdup(inner->url)};
    f->inner = inner;
    pthread_mutex_init(&f->lock, NULL);
    storage_fault_set(&f->base, spec);
    return &f->base;
}

void storage_fault_set(Storage *fault, const FaultSpec *spec)
{
    Fault *f = (Fault *)fault;
    pthread_mutex_lock(&f->lock);
    free(f->contains);
    f->contains = spec->contains ? mem_strdup(spec->contains) : NULL;
    f->spec = *spec;
    f->spec.contains = NULL;
    f->calls = 0;
    pthread_mutex_unlock(&f->lock);
}

unsigned storage_fault_calls(Storage *fault)
{
    Fault *f = (Fault *)fault;
    pthread_mutex_lock(&f->lock);
    unsigned calls = f->calls;
    pthread_mutex_unlock(&f->lock);
    return calls;
}
