#include "archive/backup_files.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/common/file.h"
#include "lib/common/log.h"

#define DEPTH_MAX 32 /* a link that leads back would never end */

void backup_files_release(BackupFiles *l)
{
    vec_release(&l->files);
    str_list_release(&l->names);
    tablespace_list_release(&l->tablespaces);
    arena_release(&l->arena);
}

const char *backup_file_user(const BackupFiles *l, const BackupFile *f)
{
    return l->names.at[f->user];
}

const char *backup_file_group(const BackupFiles *l, const BackupFile *f)
{
    return l->names.at[f->group];
}

/* --- the walk --- */

typedef struct Walk {
    BackupFiles *list;
    const char *data_dir;
    const PgVersion *version;
    uid_t last_uid;
    gid_t last_gid;
    uint16_t last_user, last_group;
    bool has_owner;
} Walk;

static uint16_t name_index(BackupFiles *l, const char *name)
{
    for (size_t i = 0; i < l->names.n; i++)
        if (strcmp(l->names.at[i], name) == 0)
            return (uint16_t)i;
    vec_push(&l->names, mem_strdup(name));
    return (uint16_t)(l->names.n - 1);
}

static void walk_owner(Walk *w, const struct stat *st, BackupFile *f)
{
    if (!w->has_owner || w->last_uid != st->st_uid || w->last_gid != st->st_gid) {
        char number[24];
        const struct passwd *pw = getpwuid(st->st_uid);
        const struct group *gr = getgrgid(st->st_gid);
        snprintf(number, sizeof(number), "%u", st->st_uid);
        w->last_user = name_index(w->list, pw ? pw->pw_name : number);
        snprintf(number, sizeof(number), "%u", st->st_gid);
        w->last_group = name_index(w->list, gr ? gr->gr_name : number);
        w->last_uid = st->st_uid;
        w->last_gid = st->st_gid;
        w->has_owner = true;
    }
    f->user = w->last_user;
    f->group = w->last_group;
}

static BackupFile *walk_add(Walk *w, const char *path, const struct stat *st, FileKind kind)
{
    BackupFile f = {.path = arena_strndup(&w->list->arena, path, strlen(path)),
                    .mtime = st->st_mtime,
                    .mode = st->st_mode & 07777,
                    .kind = kind};
    if (kind == FILE_REGULAR) {
        RelFile rel;
        f.size = (uint64_t)st->st_size;
        f.is_relation = relfile_parse(path, &rel);
        w->list->bytes += f.size;
    }
    walk_owner(w, st, &f);
    vec_push(&w->list->files, f);
    return &w->list->files.at[w->list->files.n - 1];
}

static ErrCode walk_directory(Walk *w, const char *path, int depth, Err *err);

/* Inside a tablespace only this version's directory belongs to the cluster. */
static bool is_other_version(const Walk *w, const char *path)
{
    char own[64];
    if (strncmp(path, "pg_tblspc/", 10) != 0)
        return false;
    const char *slash = strchr(path + 10, '/');
    if (!slash || strchr(slash + 1, '/'))
        return false;
    snprintf(own, sizeof(own), "PG_%d_%u", w->version->major, w->version->catalog_version);
    return strcmp(slash + 1, own) != 0;
}

static ErrCode walk_tablespace(Walk *w, const char *path, uint32_t oid, const char *full,
                               const struct stat *link, int depth, Err *err)
{
    char target[4096];
    ssize_t n = readlink(full, target, sizeof(target) - 1);
    if (n < 0)
        return err_errno(err, errno, "cannot read the link '%s'", full);
    target[n] = '\0';
    BackupFile *f = walk_add(w, path, link, FILE_LINK);
    f->link = arena_strndup(&w->list->arena, target, (size_t)n);
    vec_push(&w->list->tablespaces, (Tablespace){.oid = oid, .path = mem_strdup(target)});
    return walk_directory(w, path, depth + 1, err);
}

static ErrCode walk_entry(Walk *w, const char *path, int depth, Err *err)
{
    struct stat st, followed;
    char *full AUTO(mem_freep) = path_join(w->data_dir, path);
    if (lstat(full, &st) != 0) {
        if (errno == ENOENT)
            return ERR_OK;
        return err_errno(err, errno, "cannot look at '%s'", full);
    }
    bool is_link = S_ISLNK(st.st_mode);
    if (is_link && stat(full, &followed) != 0) {
        if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
            return err_errno(err, errno, "cannot follow the link '%s'", full);
        log_warn("the link '%s' leads nowhere and is left out", full);
        return ERR_OK;
    }
    const struct stat *real = is_link ? &followed : &st;
    DataRule rule = data_rule(path, S_ISDIR(real->st_mode));
    if (rule == DATA_SKIP || strcmp(path, "global/pg_control") == 0 || is_other_version(w, path))
        return ERR_OK;
    uint32_t oid;
    bool is_tablespace = tablespace_entry_parse(path, &oid) && S_ISDIR(real->st_mode);
    if (is_link && is_tablespace)
        return walk_tablespace(w, path, oid, full, &st, depth, err);
    if (S_ISREG(real->st_mode)) {
        walk_add(w, path, real, FILE_REGULAR);
        return ERR_OK;
    }
    if (!S_ISDIR(real->st_mode)) {
        log_debug("'%s' is neither a file nor a directory and is left out", full);
        return ERR_OK;
    }
    walk_add(w, path, real, FILE_DIRECTORY);
    if (is_tablespace)
        vec_push(&w->list->tablespaces, (Tablespace){.oid = oid, .path = mem_strdup("")});
    return rule == DATA_EMPTY_DIR ? ERR_OK : walk_directory(w, path, depth + 1, err);
}

static ErrCode walk_directory(Walk *w, const char *path, int depth, Err *err)
{
    char *full AUTO(mem_freep) = *path ? path_join(w->data_dir, path) : mem_strdup(w->data_dir);
    StrList names AUTO(str_list_release) = {0};
    if (depth > DEPTH_MAX)
        return err_set(err, ERR_REFUSED, "'%s' is nested too deeply: does a link lead back?", full);
    ErrCode rc = dir_list(full, &names, err);
    if (rc == ERR_NOT_FOUND && depth > 0)
        return ERR_OK; /* a database that was dropped meanwhile */
    if (rc != ERR_OK)
        return rc;
    for (size_t i = 0; i < names.n; i++) {
        char *child AUTO(mem_freep) =
            *path ? path_join(path, names.at[i]) : mem_strdup(names.at[i]);
        TRY(walk_entry(w, child, depth, err));
    }
    return ERR_OK;
}

static int file_compare(const void *a, const void *b)
{
    return strcmp(((const BackupFile *)a)->path, ((const BackupFile *)b)->path);
}

static void files_sort(BackupFiles *l)
{
    if (l->files.n)
        qsort(l->files.at, l->files.n, sizeof(l->files.at[0]), file_compare);
}

ErrCode backup_files_list(const char *data_dir, const PgVersion *version, BackupFiles *ret,
                          Err *err)
{
    BackupFiles l AUTO(backup_files_release) = {.bytes = 0};
    Walk w = {.list = &l, .data_dir = data_dir, .version = version};
    name_index(&l, "");
    TRY(walk_directory(&w, "", 0, err));
    files_sort(&l);
    *ret = l;
    l = (BackupFiles){.bytes = 0};
    return ERR_OK;
}

/* --- unlogged relations --- */

typedef struct RelKey {
    uint32_t spc, db, rel;
} RelKey;
typedef VEC(RelKey) RelKeys;

static int rel_key_compare(const void *a, const void *b)
{
    const RelKey *x = a, *y = b;
    if (x->spc != y->spc)
        return x->spc < y->spc ? -1 : 1;
    if (x->db != y->db)
        return x->db < y->db ? -1 : 1;
    return x->rel < y->rel ? -1 : x->rel > y->rel;
}

static void keys_add(RelKeys *keys, const char *path)
{
    RelFile f;
    if (relfile_parse(path, &f) && f.fork == FORK_INIT)
        vec_push(keys, (RelKey){f.spc, f.db, f.rel});
}

static bool keys_have(const RelKeys *keys, const RelFile *f)
{
    RelKey key = {f->spc, f->db, f->rel};
    return keys->n && bsearch(&key, keys->at, keys->n, sizeof(key), rel_key_compare) != NULL;
}

static void drop_keys(BackupFiles *l, RelKeys *keys)
{
    if (!keys->n)
        return;
    qsort(keys->at, keys->n, sizeof(keys->at[0]), rel_key_compare);
    for (size_t i = 0; i < l->files.n; i++) {
        RelFile f;
        BackupFile *b = &l->files.at[i];
        if (b->is_relation && relfile_parse(b->path, &f) && f.fork != FORK_INIT &&
            keys_have(keys, &f))
            b->dropped = true;
    }
}

/* The _init forks in one directory as it is now. */
static ErrCode keys_from_disk(const char *data_dir, const char *dir, RelKeys *keys, Err *err)
{
    StrList names AUTO(str_list_release) = {0};
    char *full AUTO(mem_freep) = path_join(data_dir, dir);
    ErrCode rc = dir_list(full, &names, err);
    if (rc == ERR_NOT_FOUND)
        return ERR_OK;
    if (rc != ERR_OK)
        return rc;
    for (size_t i = 0; i < names.n; i++) {
        if (!strstr(names.at[i], "_init"))
            continue;
        char *path AUTO(mem_freep) = path_join(dir, names.at[i]);
        keys_add(keys, path);
    }
    return ERR_OK;
}

ErrCode backup_files_drop_unlogged(const char *data_dir, BackupFiles *l, Err *err)
{
    RelKeys keys = {0};
    ErrCode rc = ERR_OK;
    for (size_t i = 0; i < l->files.n && rc == ERR_OK; i++) {
        const BackupFile *f = &l->files.at[i];
        if (f->kind == FILE_DIRECTORY &&
            (strncmp(f->path, "base/", 5) == 0 || strncmp(f->path, "pg_tblspc/", 10) == 0))
            rc = keys_from_disk(data_dir, f->path, &keys, err);
        else if (f->is_relation)
            keys_add(&keys, f->path);
    }
    if (rc == ERR_OK)
        drop_keys(l, &keys);
    vec_release(&keys);
    return rc;
}

void backup_files_drop_relation(BackupFiles *l, uint32_t spc, uint32_t db, uint32_t rel)
{
    RelKeys keys = {0};
    vec_push(&keys, (RelKey){spc, db, rel});
    drop_keys(l, &keys);
    vec_release(&keys);
}

BackupFile *backup_files_find(const BackupFiles *l, const char *path)
{
    BackupFile key = {.path = path};
    return l->files.n ? bsearch(&key, l->files.at, l->files.n, sizeof(l->files.at[0]), file_compare)
                      : NULL;
}

BackupFile *backup_files_add(BackupFiles *l, const char *path, uint64_t size)
{
    BackupFile f = {.path = arena_strndup(&l->arena, path, strlen(path)),
                    .size = size,
                    .mtime = time_now() / US_PER_SECOND,
                    .mode = 0600,
                    .kind = FILE_REGULAR};
    /* As the cluster's own version file. */
    for (size_t i = 0; i < l->files.n; i++)
        if (strcmp(l->files.at[i].path, "PG_VERSION") == 0) {
            f.user = l->files.at[i].user;
            f.group = l->files.at[i].group;
            f.mode = l->files.at[i].mode;
        }
    vec_push(&l->files, f);
    files_sort(l);
    return backup_files_find(l, path);
}
