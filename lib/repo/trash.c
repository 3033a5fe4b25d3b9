#include "lib/repo/trash.h"

#include <string.h>

#include "lib/common/hex.h"

#define TRASH_PREFIX "trash/"

void trash_list_release(TrashList *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->at[i].name);
        str_list_release(&l->at[i].names);
    }
    vec_release(l);
}

typedef struct TrashListing {
    TrashList *list;
    TimeUs now, min_age;
} TrashListing;

static ErrCode trash_found(void *arg, const RepoEntry *e, Err *err)
{
    TrashListing *t = arg;
    (void)err;
    TimeUs age = t->now - e->stat.mtime;
    if (age >= t->min_age)
        vec_push(t->list, (TrashInfo){.name = mem_strdup(e->name), .age = age});
    return ERR_OK;
}

static ErrCode trash_parse(const Buf *text, StrList *names, Err *err)
{
    /* A line a name; names hold no control bytes. The last line says that it is the last. */
    for (size_t at = 0; at < text->len;) {
        const uint8_t *nl = memchr(text->data + at, '\n', text->len - at);
        if (!nl)
            break;
        size_t len = (size_t)(nl - (text->data + at));
        if (len == 1 && text->data[at] == '.')
            return ERR_OK;
        vec_push(names, mem_strndup((const char *)text->data + at, len));
        at += len + 1;
    }
    return err_set(err, ERR_DAMAGED, "the list of names has no end");
}

ErrCode trash_read(Repo *repo, TimeUs min_age, TrashList *ret, Err *err)
{
    TrashList found = {0};
    TrashListing listing = {.list = &found, .min_age = min_age};
    RepoList list = {.prefix = TRASH_PREFIX, .want_stat = true, .fn = trash_found, .arg = &listing};
    ErrCode rc = repo_now(repo, &listing.now, err);
    if (rc == ERR_OK)
        rc = repo_list(repo, &list, err);
    for (size_t i = 0; i < found.n && rc == ERR_OK; i++) {
        Buf text AUTO(buf_release) = {0};
        rc = document_get(repo, found.at[i].name, KIND_TRASH, DOCUMENT_RAW_MAX, &text, NULL, err);
        if (rc == ERR_NOT_FOUND) {
            rc = ERR_OK;
            continue;
        }
        if (rc == ERR_OK)
            rc = trash_parse(&text, &found.at[i].names, err);
        if (rc == ERR_OK) {
            vec_push(ret, found.at[i]);
            found.at[i] = (TrashInfo){.name = NULL};
        }
    }
    trash_list_release(&found);
    return rc;
}

ErrCode trash_put(Repo *repo, const StrList *names, Err *err)
{
    Buf text AUTO(buf_release) = {0};
    for (size_t i = 0; i < names->n; i++) {
        buf_append_str(&text, names->at[i]);
        buf_append_u8(&text, '\n');
    }
    buf_append_str(&text, ".\n");
    char uuid[33];
    char *name AUTO(mem_freep) = mem_printf(TRASH_PREFIX "%s", random_name(uuid));
    return document_put(repo, name, KIND_TRASH, text.data, text.len, STORAGE_CREATE, NULL, err);
}
