#include "lib/storage/posix_list.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* On ext4 at the top of a file system, and nobody but root may read it. */
#define LOST_FOUND "lost+found"

/* A directory's entries; a directory among them has a '/' at its end, so that plain comparison
 * gives the order of full names ('a-b' < 'a/' < 'a0'). */
typedef struct Level {
    Buf names;        /* one behind the other, with their NUL */
    VEC(size_t) offs; /* into names */
} Level;

typedef struct Walk {
    const Posix *p;
    const StorageList *list;
} Walk;

static void level_release(Level *level)
{
    buf_release(&level->names);
    vec_release(&level->offs);
}

static const char *level_name(const Level *level, size_t i)
{
    return (const char *)level->names.data + level->offs.at[i];
}

static int level_compare(const void *a, const void *b, void *names)
{
    return strcmp((const char *)names + *(const size_t *)a,
                  (const char *)names + *(const size_t *)b);
}

static void dir_closep(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

/* --- reading a directory --- */

typedef enum Kind { KIND_NONE, KIND_OBJECT, KIND_DIR } Kind;

static Kind kind_of_mode(mode_t mode)
{
    return S_ISREG(mode) ? KIND_OBJECT : S_ISDIR(mode) ? KIND_DIR : KIND_NONE;
}

static bool is_component(const char *name)
{
    if (name[0] == '.')
        return false;
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return false;
    return true;
}

/* What an entry of `dir` is; KIND_NONE when it is nothing that has a name here, or vanished. */
static Kind entry_kind(DIR *dir, const struct dirent *e)
{
    struct stat st;
    if (!is_component(e->d_name))
        return KIND_NONE;
    switch (e->d_type) {
    case DT_REG:
        return KIND_OBJECT;
    case DT_DIR:
        return KIND_DIR;
    case DT_UNKNOWN:
    case DT_LNK:
        if (fstatat(dirfd(dir), e->d_name, &st, 0) != 0)
            return KIND_NONE;
        return kind_of_mode(st.st_mode);
    default:
        return KIND_NONE;
    }
}

/* *ret is NULL when there is no such directory. */
static ErrCode open_level(const Posix *p, const char *rel, DIR **ret, Err *err)
{
    char *path AUTO(mem_freep) = posix_path(p, rel);
    struct statx stx;
    *ret = NULL;
    int fd = posix_open_dir(p->root, rel);
    if (fd < 0 && errno == ENOENT) {
        posix_refresh(p, rel);
        fd = posix_open_dir(p->root, rel);
    }
    if (fd < 0 &&
        (errno == ENOENT || errno == ENOTDIR || (errno == EACCES && strcmp(rel, LOST_FOUND) == 0)))
        return ERR_OK;
    if (fd >= 0) {
        (void)!statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_CTIME, &stx);
        *ret = fdopendir(fd);
    }
    if (!*ret) {
        int errnum = errno;
        fd_closep(&fd);
        return posix_error(p, errnum, rel, err, "cannot open directory '%s'", path);
    }
    return ERR_OK;
}

/* *ret is NULL at the end. */
static ErrCode read_entry(const Posix *p, DIR *dir, const char *rel, struct dirent **ret, Err *err)
{
    errno = 0;
    *ret = readdir(dir);
    if (*ret || !errno || errno == ENOENT) /* ENOENT: the directory was removed */
        return ERR_OK;
    int errnum = errno;
    char *path AUTO(mem_freep) = posix_path(p, rel);
    return posix_error(p, errnum, rel, err, "cannot read directory '%s'", path);
}

/* The entries of `rel` whose names start with `start`, sorted. */
static ErrCode level_read(const Posix *p, const char *rel, const char *start, Level *level,
                          Err *err)
{
    DIR *dir AUTO(dir_closep) = NULL;
    TRY(open_level(p, rel, &dir, err));
    size_t start_len = strlen(start);
    for (struct dirent *e = NULL; dir;) {
        TRY(read_entry(p, dir, rel, &e, err));
        if (!e)
            break;
        Kind kind = strncmp(e->d_name, start, start_len) == 0 ? entry_kind(dir, e) : KIND_NONE;
        if (kind == KIND_NONE)
            continue;
        vec_push(&level->offs, level->names.len);
        buf_append(&level->names, e->d_name, strlen(e->d_name));
        buf_append(&level->names, "/", kind == KIND_DIR ? 2 : 0);
        if (kind != KIND_DIR)
            buf_append_u8(&level->names, 0);
    }
    if (level->offs.n)
        qsort_r(level->offs.at, level->offs.n, sizeof(*level->offs.at), level_compare,
                level->names.data);
    return ERR_OK;
}

/* Whether there is any object below: a directory that is being made or emptied shows nothing. */
static ErrCode has_object(const Posix *p, const char *rel, bool *ret, Err *err)
{
    DIR *dir AUTO(dir_closep) = NULL;
    TRY(open_level(p, rel, &dir, err));
    for (struct dirent *e = NULL; dir && !*ret;) {
        TRY(read_entry(p, dir, rel, &e, err));
        if (!e)
            break;
        Kind kind = entry_kind(dir, e);
        if (kind == KIND_OBJECT)
            *ret = true;
        if (kind == KIND_DIR && strlen(rel) + 1 + strlen(e->d_name) <= STORAGE_NAME_MAX) {
            char *below AUTO(mem_freep) = mem_printf("%s/%s", rel, e->d_name);
            TRY(has_object(p, below, ret, err));
        }
    }
    return ERR_OK;
}

/* --- walking --- */

static ErrCode walk_level(const Walk *w, const char *rel, const char *start, Err *err);

static ErrCode walk_object(const Walk *w, const char *name, Err *err)
{
    StorageEntry entry = {.name = name};
    if (w->list->after && strcmp(name, w->list->after) <= 0)
        return ERR_OK;
    if (w->list->want_stat) {
        struct stat st;
        if (fstatat(w->p->root, name, &st, 0) != 0) {
            if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
                return ERR_OK;
            int errnum = errno;
            char *path AUTO(mem_freep) = posix_path(w->p, name);
            return posix_error(w->p, errnum, name, err, "cannot look at '%s'", path);
        }
        if (!S_ISREG(st.st_mode))
            return ERR_OK;
        posix_fill_stat(&st, &entry.stat);
    }
    return w->list->fn(w->list->arg, &entry, err);
}

/* `name` ends with '/'. */
static ErrCode walk_dir(const Walk *w, const char *name, Err *err)
{
    const char *after = w->list->after;
    size_t len = strlen(name);
    char *rel AUTO(mem_freep) = mem_strndup(name, len - 1);
    if (!w->list->by_level) {
        /* Otherwise all names below are smaller than `after`. */
        if (!after || strncmp(after, name, len) <= 0)
            return walk_level(w, rel, "", err);
        return ERR_OK;
    }
    bool any = false;
    if (after && strcmp(name, after) <= 0)
        return ERR_OK;
    TRY(has_object(w->p, rel, &any, err));
    StorageEntry entry = {.name = name, .is_prefix = true};
    return any ? w->list->fn(w->list->arg, &entry, err) : ERR_OK;
}

static ErrCode walk_level(const Walk *w, const char *rel, const char *start, Err *err)
{
    Level level AUTO(level_release) = {0};
    TRY(level_read(w->p, rel, start, &level, err));
    char *name AUTO(mem_freep) = mem_new(STORAGE_NAME_MAX + 1);
    int at = snprintf(name, STORAGE_NAME_MAX + 1, "%s%s", rel, *rel ? "/" : "");
    for (size_t i = 0; i < level.offs.n; i++) {
        const char *entry = level_name(&level, i);
        size_t len = strlen(entry);
        bool is_dir = entry[len - 1] == '/';
        if (i && strcmp(entry, level_name(&level, i - 1)) == 0)
            continue; /* a file server may give an entry twice while others change the directory */
        if ((size_t)at + len > STORAGE_NAME_MAX)
            continue; /* not ours: neither such a name nor one below can be put */
        memcpy(name + at, entry, len + 1);
        TRY(is_dir ? walk_dir(w, name, err) : walk_object(w, name, err));
    }
    return ERR_OK;
}

ErrCode posix_list(Storage *s, const StorageList *list, Err *err)
{
    Walk w = {.p = (Posix *)s, .list = list};
    TRY(posix_root_check(w.p, err));
    char *rel AUTO(mem_freep) = posix_dirname(list->prefix);
    return walk_level(&w, rel, posix_basename(list->prefix), err);
}
