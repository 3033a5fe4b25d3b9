#include "lib/repo/trash.h"

#include <string.h>

#include "lib/common/hex.h"

#define TRASH_PREFIX "trash/"

void trash_list_release(TrashList *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->at[i].name);
        name_set_release(&l->at[i].names);
    }
    vec_release(l);
}

static ErrCode trash_found(void *arg, const RepoEntry *e, Err *err)
{
    TrashList *list = arg;
    (void)err;
    vec_push(list, (TrashInfo){.name = mem_strdup(e->name), .mtime = e->stat.mtime});
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
        if (!len || memchr(text->data + at, '\0', len))
            return err_set(err, ERR_DAMAGED, "a line of it is no name");
        vec_push(names, mem_strndup((const char *)text->data + at, len));
        at += len + 1;
    }
    return err_set(err, ERR_DAMAGED, "the list of names has no end");
}

/* Reads what one names; false in *ret_there when it has vanished. */
static ErrCode trash_get(Repo *repo, TrashInfo *t, bool *ret_there, Err *err)
{
    Buf text AUTO(buf_release) = {0};
    ErrCode rc = document_get(repo, t->name, KIND_TRASH, DOCUMENT_RAW_MAX, &text, NULL, err);
    *ret_there = rc == ERR_OK;
    if (rc == ERR_NOT_FOUND)
        return ERR_OK;
    TRY(rc);
    if (trash_parse(&text, &t->names.names, err) != ERR_OK)
        return err_wrap(err, "cannot read '%s/%s' in '%s'", repo->cluster, t->name, repo_url(repo));
    return ERR_OK;
}

ErrCode trash_read(Repo *repo, TimeUs min_age, TrashList *ret, Err *err)
{
    TrashList found AUTO(trash_list_release) = {0};
    RepoList list = {.prefix = TRASH_PREFIX, .want_stat = true, .fn = trash_found, .arg = &found};
    TimeUs now = 0;
    TRY(repo_list(repo, &list, err));
    if (found.n) /* the clock behind the listing: what was seen is at least that old */
        TRY(repo_now(repo, &now, err));
    for (size_t i = 0; i < found.n; i++) {
        bool there;
        if (now - found.at[i].mtime < min_age)
            continue;
        TRY(trash_get(repo, &found.at[i], &there, err));
        if (there) {
            vec_push(ret, found.at[i]);
            found.at[i] = (TrashInfo){.name = NULL};
        }
    }
    return ERR_OK;
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
