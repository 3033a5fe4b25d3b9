#include "lib/repo/wal_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/common/hex.h"
#include "lib/common/log.h"

#define SEG_SIZE_USUAL ((uint32_t)16 << 20)
#define DIR_DIGITS 16
#define TLI_DIGITS 8

static void system_format(uint64_t system_id, uint32_t seg_size, char out[WAL_SYSTEM_MAX])
{
    int n = snprintf(out, WAL_SYSTEM_MAX, "%" PRIu64, system_id);
    if (seg_size != SEG_SIZE_USUAL)
        snprintf(out + n, WAL_SYSTEM_MAX - (size_t)n, "-%u", seg_size);
}

void wal_store_init(WalStore *s, Repo *repo, uint64_t system_id, uint32_t seg_size)
{
    *s = (WalStore){.repo = repo, .system_id = system_id, .seg_size = seg_size};
    system_format(system_id, seg_size, s->system);
}

bool wal_system_parse(const char *text, uint64_t *system_id, uint32_t *seg_size)
{
    char *end, same[WAL_SYSTEM_MAX];
    if (*text < '1' || *text > '9')
        return false;
    *system_id = strtoull(text, &end, 10);
    *seg_size = *end == '-' ? (uint32_t)strtoul(end + 1, NULL, 10) : SEG_SIZE_USUAL;
    system_format(*system_id, *seg_size, same);
    return *seg_size && strcmp(same, text) == 0;
}

/* "wal/<system>/<TLI>/<16 digits>/" or "wal/<system>/history/", by the form of the file's name. */
static char *file_directory(const WalStore *s, const char *file)
{
    if (strlen(file) > TLI_DIGITS && file[TLI_DIGITS] == '.')
        return mem_printf("wal/%s/history/", s->system);
    return mem_printf("wal/%s/%.8s/%.16s/", s->system, file, file);
}

char *wal_object_name(const WalStore *s, const char *file, const char *digest)
{
    char *dir AUTO(mem_freep) = file_directory(s, file);
    return mem_printf("%s%s-%s", dir, file, digest);
}

char *wal_orphan_name(const WalStore *s, const char *host, const char *file, const char *digest)
{
    return mem_printf("orphan/%s/%s/%s-%s", s->system, *host ? host : "unknown", file, digest);
}

/* --- listings --- */

bool wal_found_parse(const char *name, WalFound *ret)
{
    const char *slash = strrchr(name, '/');
    const char *last = slash ? slash + 1 : name;
    size_t len = strlen(last), digits = WAL_DIGEST_LEN - 1;
    if (len <= digits + 1 || len - digits - 1 >= WAL_FILE_MAX || last[len - digits - 1] != '-' ||
        !hex_is_lower(last + len - digits, digits))
        return false;
    *ret = (WalFound){.stat = {0}};
    memcpy(ret->file, last, len - digits - 1);
    memcpy(ret->digest, last + len - digits, WAL_DIGEST_LEN);
    return true;
}

static ErrCode found_push(void *arg, const RepoEntry *e, Err *err)
{
    WalFoundList *list = arg;
    WalFound f;
    (void)err;
    if (!wal_found_parse(e->name, &f)) {
        log_debug("'%s' is not the name of a WAL object: passed over", e->name);
        return ERR_OK;
    }
    f.stat = e->stat;
    vec_push(list, f);
    return ERR_OK;
}

static ErrCode list_found(WalStore *s, const char *prefix, bool want_stat, WalFoundList *ret,
                          Err *err)
{
    RepoList list = {.prefix = prefix, .want_stat = want_stat, .fn = found_push, .arg = ret};
    return repo_list(s->repo, &list, err);
}

char *wal_find_prefix(const WalStore *s, const char *file)
{
    char *dir AUTO(mem_freep) = file_directory(s, file);
    return mem_printf("%s%s-", dir, file);
}

char *wal_histories_prefix(const WalStore *s)
{
    return mem_printf("wal/%s/history/", s->system);
}

ErrCode wal_find(WalStore *s, const char *file, WalFoundList *ret, Err *err)
{
    char *prefix AUTO(mem_freep) = wal_find_prefix(s, file);
    return list_found(s, prefix, false, ret, err);
}

ErrCode wal_list_directory(WalStore *s, const char *tli8, const char *prefix16, bool want_stat,
                           WalFoundList *ret, Err *err)
{
    char *prefix AUTO(mem_freep) = mem_printf("wal/%s/%s/%s/", s->system, tli8, prefix16);
    return list_found(s, prefix, want_stat, ret, err);
}

ErrCode wal_list_histories(WalStore *s, WalFoundList *ret, Err *err)
{
    char *prefix AUTO(mem_freep) = wal_histories_prefix(s);
    return list_found(s, prefix, false, ret, err);
}

/* The last components of the directories one level below `prefix`. */
static ErrCode list_subdirectories(Repo *repo, const char *prefix, StrList *ret, Err *err)
{
    StrList names AUTO(str_list_release) = {0};
    TRY(repo_list_names(repo, prefix, true, &names, err));
    for (size_t i = 0; i < names.n; i++) {
        const char *name = names.at[i] + strlen(prefix);
        size_t len = strlen(name);
        if (len > 1 && name[len - 1] == '/')
            vec_push(ret, mem_strndup(name, len - 1));
    }
    return ERR_OK;
}

static void keep_upper_hex(StrList *list, size_t digits)
{
    size_t left = 0;
    for (size_t i = 0; i < list->n; i++) {
        if (strlen(list->at[i]) == digits && hex_is_upper(list->at[i], digits))
            list->at[left++] = list->at[i];
        else
            free(list->at[i]);
    }
    list->n = left;
}

ErrCode wal_list_directories(WalStore *s, const char *tli8, StrList *ret, Err *err)
{
    char *prefix AUTO(mem_freep) = mem_printf("wal/%s/%s/", s->system, tli8);
    TRY(list_subdirectories(s->repo, prefix, ret, err));
    keep_upper_hex(ret, DIR_DIGITS);
    return ERR_OK;
}

ErrCode wal_list_timelines(WalStore *s, StrList *ret, Err *err)
{
    char *prefix AUTO(mem_freep) = mem_printf("wal/%s/", s->system);
    TRY(list_subdirectories(s->repo, prefix, ret, err));
    keep_upper_hex(ret, TLI_DIGITS);
    return ERR_OK;
}

ErrCode wal_list_systems(Repo *repo, StrList *ret, Err *err)
{
    return list_subdirectories(repo, "wal/", ret, err);
}

/* --- marks --- */

void timeline_marks_release(TimelineMarks *m)
{
    for (size_t i = 0; i < m->n; i++)
        json_decref(m->at[i].body);
    vec_release(m);
}

char *timeline_marks_prefix(const WalStore *s, const char *tli8, const char *prefix)
{
    return mem_printf("timelines/%s/%s/%s", s->system, tli8, prefix);
}

ErrCode timeline_marks_read(WalStore *s, const char *tli8, const char *prefix, TimelineMarks *ret,
                            Err *err)
{
    StrList names AUTO(str_list_release) = {0};
    char *dir AUTO(mem_freep) = timeline_marks_prefix(s, tli8, "");
    char *full AUTO(mem_freep) = timeline_marks_prefix(s, tli8, prefix);
    TRY(repo_list_names(s->repo, full, false, &names, err));
    for (size_t i = 0; i < names.n; i++) {
        TimelineMark mark = {.body = NULL};
        ErrCode rc = document_get_json(s->repo, names.at[i], KIND_MARK, &mark.body, NULL, err);
        if (rc == ERR_NOT_FOUND)
            continue;
        if (rc != ERR_OK)
            return rc;
        snprintf(mark.name, sizeof(mark.name), "%s", names.at[i] + strlen(dir));
        vec_push(ret, mark);
    }
    return ERR_OK;
}

ErrCode timeline_mark_put(WalStore *s, const char *tli8, const char *kind, const json_t *body,
                          Err *err)
{
    char uuid[33];
    char *name AUTO(mem_freep) =
        mem_printf("timelines/%s/%s/%s-%s", s->system, tli8, kind, random_name(uuid));
    return document_put_json(s->repo, name, KIND_MARK, body, STORAGE_CREATE, NULL, err);
}

ErrCode timeline_mark_remove(WalStore *s, const char *tli8, const char *name, Err *err)
{
    char *full AUTO(mem_freep) = mem_printf("timelines/%s/%s/%s", s->system, tli8, name);
    const char *one = full;
    return repo_remove(s->repo, &one, 1, err);
}
