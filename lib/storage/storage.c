#include "lib/storage/storage.h"

#include <string.h>

#define COMPONENT_MAX 255
#define GET_ALL_TRIES 5

void storage_free(Storage *s)
{
    if (!s)
        return;
    char *url = s->url;
    s->ops->free(s);
    free(url);
}

/* --- arguments --- */

/* A refused name as it may be printed: cut, and without control bytes. `out`: 128 bytes. */
static const char *name_show(const char *name, char *out)
{
    size_t i = 0;
    for (; name[i] && i < 120; i++)
        out[i] = (unsigned char)name[i] < 0x20 || name[i] == 0x7f ? '?' : name[i];
    memcpy(out + i, name[i] ? "..." : "", name[i] ? 4 : 1);
    return out;
}

/* What is wrong with a name, or with a prefix of names; NULL when nothing is. */
static const char *name_fault(const char *name, bool prefix)
{
    if (strnlen(name, STORAGE_NAME_MAX + 1) > STORAGE_NAME_MAX)
        return "it is too long";
    for (const char *p = name;; p++) {
        size_t n = strcspn(p, "/");
        if (n == 0 && !(prefix && !p[n]))
            return p == name ? "it is empty or absolute" : "a component of it is empty";
        if (p[0] == '.')
            return "a component of it starts with '.'";
        if (n > COMPONENT_MAX)
            return "a component of it is longer than 255 bytes";
        for (size_t i = 0; i < n; i++)
            if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f)
                return "it holds a control character";
        p += n;
        if (!*p)
            return NULL;
    }
}

static ErrCode name_refuse(const char *name, bool prefix, Err *err)
{
    const char *fault = name_fault(name, prefix);
    char shown[128];
    if (fault)
        return err_set(err, ERR_USAGE, "'%s' cannot name an object: %s", name_show(name, shown),
                       fault);
    return ERR_OK;
}

ErrCode storage_name_check(const char *name, Err *err)
{
    return name_refuse(name, false, err);
}

static ErrCode source_check(const StorageSource *src, const char *name, Err *err)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < src->n; i++)
        sum += src->parts[i].len;
    if ((src->n && sum != src->size) || (!src->n && src->size && src->fd < 0))
        return err_set(err, ERR_INTERNAL, "what is to be stored as '%s' does not fit its size",
                       name);
    return ERR_OK;
}

/* --- calls --- */

ErrCode storage_put(Storage *s, const char *name, const StorageSource *src, StoragePutFlags flags,
                    Err *err)
{
    TRY(storage_name_check(name, err));
    TRY(source_check(src, name, err));
    return s->ops->put(s, name, src, flags, err);
}

ErrCode storage_put_bytes(Storage *s, const char *name, const void *data, size_t len,
                          StoragePutFlags flags, Err *err)
{
    const Slice part = {data, len};
    const StorageSource src = {.parts = &part, .n = 1, .fd = -1, .size = len};
    return storage_put(s, name, &src, flags, err);
}

ErrCode storage_get(Storage *s, const char *name, StorageRead *read, Err *err)
{
    TRY(storage_name_check(name, err));
    read->got = 0;
    read->size = 0;
    return s->ops->get(s, name, read, err);
}

/* Reads the object behind out->len; *ret_same is false when it was replaced between two reads. */
static ErrCode get_whole(Storage *s, const char *name, size_t limit, Buf *out, bool *ret_same,
                         Err *err)
{
    StorageRead first = {.len = MIN(STORAGE_FIRST_READ, limit)};
    first.data = buf_reserve(out, first.len);
    TRY(storage_get(s, name, &first, err));
    if (first.size > limit)
        return err_set(err, ERR_LIMIT, "'%s' in %s has %llu bytes, more than the %zu it may have",
                       name, s->url, (unsigned long long)first.size, limit);
    out->len += first.got;
    *ret_same = true;
    if (first.got == first.size)
        return ERR_OK;

    size_t rest = (size_t)first.size - first.got;
    StorageRead read = {.off = first.got, .len = rest, .data = buf_reserve(out, rest)};
    TRY(storage_get(s, name, &read, err));
    out->len += read.got;
    *ret_same = read.size == first.size && read.got == rest;
    return ERR_OK;
}

ErrCode storage_get_all(Storage *s, const char *name, size_t limit, Buf *out, Err *err)
{
    size_t len = out->len;
    for (int i = 0; i < GET_ALL_TRIES; i++) {
        bool same = false;
        ErrCode rc = get_whole(s, name, limit, out, &same, err);
        if (rc == ERR_OK && same)
            return ERR_OK;
        out->len = len;
        TRY(rc);
    }
    return err_set(err, ERR_CONFLICT, "'%s' in %s changes each time while it is read", name,
                   s->url);
}

ErrCode storage_stat(Storage *s, const char *name, StorageStat *ret, Err *err)
{
    TRY(storage_name_check(name, err));
    return s->ops->stat(s, name, ret, err);
}

ErrCode storage_list(Storage *s, const StorageList *list, Err *err)
{
    TRY(name_refuse(list->prefix, true, err));
    if (list->after && strnlen(list->after, STORAGE_NAME_MAX + 2) > STORAGE_NAME_MAX + 1)
        return err_set(err, ERR_USAGE, "the name to list after is too long");
    return s->ops->list(s, list, err);
}

static ErrCode list_collect(void *arg, const StorageEntry *entry, Err *err)
{
    (void)err;
    StrList *names = arg;
    vec_push(names, mem_strdup(entry->name));
    return ERR_OK;
}

ErrCode storage_list_names(Storage *s, const char *prefix, bool by_level, StrList *ret, Err *err)
{
    size_t before = ret->n;
    const StorageList list = {
        .prefix = prefix, .by_level = by_level, .fn = list_collect, .arg = ret};
    ErrCode rc = storage_list(s, &list, err);
    while (rc != ERR_OK && ret->n > before)
        free(ret->at[--ret->n]);
    return rc;
}

ErrCode storage_remove(Storage *s, const char *const *names, size_t n, Err *err)
{
    for (size_t i = 0; i < n; i++)
        TRY(storage_name_check(names[i], err));
    return n ? s->ops->remove(s, names, n, err) : ERR_OK;
}

ErrCode storage_now(Storage *s, TimeUs *ret, Err *err)
{
    return s->ops->now(s, ret, err);
}
