#include "lib/repo/wal_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/common/hex.h"
#include "lib/common/log.h"

#define SEG_SIZE_USUAL ((uint32_t)16 << 20)
#define DIR_DIGITS 16
#define TLI_DIGITS 8

void wal_store_init(WalStore *s, Repo *repo, uint64_t system_id, uint32_t seg_size)
{
    *s = (WalStore){.repo = repo, .system_id = system_id, .seg_size = seg_size};
    int n = snprintf(s->system, sizeof(s->system), "%" PRIu64, system_id);
    if (seg_size != SEG_SIZE_USUAL)
        snprintf(s->system + n, sizeof(s->system) - (size_t)n, "-%u", seg_size);
}

bool wal_system_parse(const char *text, uint64_t *system_id, uint32_t *seg_size)
{
    char *end;
    if (*text < '1' || *text > '9')
        return false;
    *system_id = strtoull(text, &end, 10);
    *seg_size = SEG_SIZE_USUAL;
    if (*end == '-' && end[1] >= '1' && end[1] <= '9')
        *seg_size = (uint32_t)strtoul(end + 1, &end, 10);
    return *end == '\0';
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

static ErrCode found_push(void *arg, const RepoEntry *e, Err *err)
{
    WalFoundList *list = arg;
    (void)err;
    const char *name = strrchr(e->name, '/') + 1;
    size_t len = strlen(name);
    WalFound f = {.stat = e->stat};
    size_t digits = WAL_DIGEST_LEN - 1;
    if (len <= digits + 1 || len - digits - 1 >= WAL_FILE_MAX || name[len - digits - 1] != '-' ||
        !hex_is_lower(name + len - digits, digits)) {
        log_debug("'%s' is not the name of a WAL object: passed over", e->name);
        return ERR_OK;
    }
    memcpy(f.file, name, len - digits - 1);
    memcpy(f.digest, name + len - digits, WAL_DIGEST_LEN);
    vec_push(list, f);
    return ERR_OK;
}

static ErrCode list_found(WalStore *s, const char *prefix, bool want_stat, WalFoundList *ret,
                          Err *err)
{
    RepoList list = {.prefix = prefix, .want_stat = want_stat, .fn = found_push, .arg = ret};
    return repo_list(s->repo, &list, err);
}

ErrCode wal_find(WalStore *s, const char *file, WalFoundList *ret, Err *err)
{
    char *dir AUTO(mem_freep) = file_directory(s, file);
    char *prefix AUTO(mem_freep) = mem_printf("%s%s-", dir, file);
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
    char *prefix AUTO(mem_freep) = mem_printf("wal/%s/history/", s->system);
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

/* --- writing --- */

static void append_meta(Buf *sections, const WalMeta *m)
{
    json_t *j AUTO(json_decrefp) =
        json_pack("{s:s,s:I,s:I,s:I,s:s}", "file", m->file, "size", (json_int_t)m->size, "valid",
                  (json_int_t)m->valid, "pushed", (json_int_t)m->pushed, "host",
                  utf8_valid(m->host, strlen(m->host)) ? m->host : "?");
    char *text AUTO(mem_freep) = json_dumps(j, JSON_COMPACT);
    table_append(sections, SECTION_META, text, strlen(text));
}

/* Bytes without the zeros at the end, by blocks first. */
static size_t valid_length(const uint8_t *p, size_t len)
{
    while (len >= 4 * KIB && len % (4 * KIB) == 0 && is_all_zero(p + len - 4 * KIB, 4 * KIB))
        len -= 4 * KIB;
    while (len && p[len - 1] == 0)
        len--;
    return len;
}

ErrCode wal_object_build(WalStore *s, ObjectWriter *w, Compressor *c, const char *name,
                         WalMeta *meta, const void *data, const Buf *sections, Err *err)
{
    Buf table AUTO(buf_release) = {0};
    ObjectFacts facts;
    meta->valid = valid_length(data, meta->size);
    append_meta(&table, meta);
    if (sections)
        buf_append(&table, sections->data, sections->len);
    object_writer_begin(w, s->repo->key, KIND_WAL, name);
    for (size_t off = 0; off < meta->valid; off += UNIT_RAW_MAX)
        TRY(object_writer_add(w, c, (const uint8_t *)data + off,
                              MIN(meta->valid - off, UNIT_RAW_MAX), NULL, err));
    return object_writer_finish(w, 0, &table, &facts, err);
}

ErrCode wal_put(WalStore *s, const ObjectWriter *w, const char *name, StoragePutFlags flags,
                Err *err)
{
    return repo_put(s->repo, name, w, flags, err);
}

ErrCode wal_remove(WalStore *s, const WalFound *found, Err *err)
{
    char *name AUTO(mem_freep) = wal_object_name(s, found->file, found->digest);
    const char *one = name;
    return repo_remove(s->repo, &one, 1, err);
}

/* --- reading --- */

static ErrCode parse_meta(const WalStore *s, const Buf *table, const WalFound *found, WalMeta *m,
                          Err *err)
{
    Slice section;
    json_t *j AUTO(json_decrefp) = NULL;
    const char *file, *host;
    int64_t size, valid, pushed;
    TRY(table_section(table, SECTION_META, &section, err));
    TRY(json_parse_object(section.data, section.len, &j, err));
    TRY(json_get_text(j, "file", &file, err));
    TRY(json_get_text(j, "host", &host, err));
    TRY(json_get_number(j, "size", 0, (int64_t)MAX((size_t)s->seg_size, MIB), &size, err));
    TRY(json_get_number(j, "valid", 0, size, &valid, err));
    TRY(json_get_number(j, "pushed", 0, INT64_MAX, &pushed, err));
    if (strcmp(file, found->file) != 0)
        return err_set(err, ERR_DAMAGED, "it holds %s", file);
    *m = (WalMeta){.size = (uint64_t)size, .valid = (uint64_t)valid, .pushed = (TimeUs)pushed};
    snprintf(m->file, sizeof(m->file), "%s", file);
    snprintf(m->host, sizeof(m->host), "%s", host);
    return ERR_OK;
}

static ErrCode read_units(UnitReader *units, const ObjectInfo *info, const Buf *stored,
                          const Buf *table, Buf *data, Err *err)
{
    Slice section;
    UnitLens lens = {0};
    TRY(table_section(table, SECTION_LEN, &section, err));
    TRY(unit_lens_parse(section, info->units, info->table_off, &lens, err));
    Decompressor *d AUTO(decompressor_freep) = decompressor_new();
    const uint8_t *at = stored->data + sizeof(ObjectHeader);
    ErrCode rc = ERR_OK;
    for (size_t i = 0; i < lens.n && rc == ERR_OK; i++) {
        rc = unit_reader_append(units, d, i, at, lens.at[i], data, err);
        at += lens.at[i];
    }
    vec_release(&lens);
    return rc;
}

static ErrCode read_file(WalStore *s, const WalFound *found, const char *name, Buf *data,
                         WalMeta *meta, Buf *table, Err *err)
{
    Buf stored AUTO(buf_release) = {0};
    ObjectInfo info;
    TRY(repo_get(s->repo, name, WAL_STORED_MAX, &stored, err));
    TRY(object_parse(&s->repo->keys, stored.data, stored.len, KIND_WAL, &info, err));
    UnitReader *units AUTO(unit_reader_freep) = unit_reader_new(&info, name);
    TRY(unit_reader_table(units, stored.data + info.table_off, info.table_len, table, err));
    TRY(parse_meta(s, table, found, meta, err));
    size_t begin = data->len;
    buf_reserve(data, meta->size);
    TRY(read_units(units, &info, &stored, table, data, err));
    if (data->len - begin != meta->valid)
        return err_set(err, ERR_DAMAGED, "it holds %zu bytes instead of %" PRIu64,
                       data->len - begin, meta->valid);
    if (meta->size > meta->valid) {
        memset(buf_reserve(data, meta->size - meta->valid), 0, meta->size - meta->valid);
        data->len += meta->size - meta->valid;
    }
    char digest[WAL_DIGEST_LEN];
    repo_key_wal_digest(info.key, data->data + begin, meta->size, digest);
    if (strcmp(digest, found->digest) != 0)
        return err_set(err, ERR_DAMAGED, "its content does not fit the digest in its name");
    return ERR_OK;
}

ErrCode wal_read(WalStore *s, const WalFound *found, Buf *data, WalMeta *meta, Buf *table, Err *err)
{
    Buf own_table AUTO(buf_release) = {0};
    WalMeta own_meta;
    size_t begin = data->len;
    char *name AUTO(mem_freep) = wal_object_name(s, found->file, found->digest);
    ErrCode rc =
        read_file(s, found, name, data, meta ? meta : &own_meta, table ? table : &own_table, err);
    if (rc == ERR_OK)
        return ERR_OK;
    data->len = begin;
    return err_wrap(err, "cannot read '%s/%s' in '%s'", s->repo->cluster, name, repo_url(s->repo));
}

ErrCode wal_read_table(WalStore *s, const WalFound *found, WalMeta *meta, Buf *table, Err *err)
{
    ObjectInfo info;
    char *name AUTO(mem_freep) = wal_object_name(s, found->file, found->digest);
    TRY(repo_get_table(s->repo, name, KIND_WAL, &info, table, err));
    if (parse_meta(s, table, found, meta, err) != ERR_OK)
        return err_wrap(err, "'%s/%s' in '%s'", s->repo->cluster, name, repo_url(s->repo));
    return ERR_OK;
}

/* --- marks --- */

void timeline_marks_release(TimelineMarks *m)
{
    for (size_t i = 0; i < m->n; i++)
        json_decref(m->at[i].body);
    vec_release(m);
}

ErrCode timeline_marks_read(WalStore *s, const char *tli8, const char *prefix, TimelineMarks *ret,
                            Err *err)
{
    StrList names AUTO(str_list_release) = {0};
    char *dir AUTO(mem_freep) = mem_printf("timelines/%s/%s/", s->system, tli8);
    char *full AUTO(mem_freep) = mem_printf("%s%s", dir, prefix);
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
