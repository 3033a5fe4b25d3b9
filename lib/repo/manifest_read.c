#include <inttypes.h>
#include <string.h>

#include "lib/common/hex.h"
#include "lib/repo/manifest.h"
#include "lib/repo/summary.h"

#define HEAD_MAX (64 * MIB)
#define PART_STORED_MAX (PACK_STORED_MAX + 4 * MIB)
#define FILE_SIZE_MAX ((int64_t)1 << 50)

typedef struct PartInfo {
    DocumentFacts facts;
    uint64_t files;
} PartInfo;

struct ManifestReader {
    Repo *repo;
    char *backup_id;
    ManifestHeader header;
    VEC(PartInfo) parts;

    size_t part; /* the next to open */
    Buf stored;  /* of the open part */
    UnitReader *units;
    Decompressor *decompressor;
    UnitLens lens;
    size_t unit; /* the next to open */
    uint64_t unit_off;
    Buf text; /* raw bytes of the open unit */
    size_t at;

    ManifestReader *other; /* of the repository's fallback, for parts that cannot be read here */
    bool from_other;       /* the open part is the other's */

    json_t *line;   /* owns the texts of the last entry */
    Buf decoded[4]; /* texts that were in base64 */
    char *last_path;
    VEC(size_t) above; /* lengths of the names of files that the last path begins with */
    uint64_t files, bytes, part_files;
};

void manifest_header_release(ManifestHeader *h)
{
    free(h->cluster);
    free(h->user);
    free(h->group);
    str_list_release(&h->ids);
    for (size_t i = 0; i < h->tablespaces.n; i++)
        free(h->tablespaces.at[i].path);
    vec_release(&h->tablespaces);
    *h = (ManifestHeader){0};
}

void manifest_reader_close(ManifestReader *r)
{
    if (!r)
        return;
    free(r->backup_id);
    manifest_header_release(&r->header);
    vec_release(&r->parts);
    buf_release(&r->stored);
    unit_reader_free(r->units);
    decompressor_free(r->decompressor);
    vec_release(&r->lens);
    buf_release(&r->text);
    json_decref(r->line);
    for (size_t i = 0; i < ARRAY_LEN(r->decoded); i++)
        buf_release(&r->decoded[i]);
    free(r->last_path);
    vec_release(&r->above);
    manifest_reader_close(r->other);
    free(r);
}

const ManifestHeader *manifest_reader_header(const ManifestReader *r)
{
    return &r->header;
}

static char *part_name(const ManifestReader *r, size_t part)
{
    char what[32];
    snprintf(what, sizeof(what), "manifest.%04zu", part + 1);
    return backup_object_name(r->backup_id, what);
}

void manifest_reader_names(const ManifestReader *r, StrList *ret)
{
    vec_push(ret, backup_object_name(r->backup_id, "manifest"));
    for (size_t i = 0; i < r->parts.n; i++)
        vec_push(ret, part_name(r, i));
}

/* A text under `key`, or in base64 under `key` + 'b' (decoded into *store). NULL: neither. */
static ErrCode get_bytes(const json_t *obj, const char *key, Buf *store, const char **ret, Err *err)
{
    const json_t *plain = json_object_get(obj, key);
    if (plain) {
        *ret = json_string_value(plain);
        return *ret ? ERR_OK : err_set(err, ERR_DAMAGED, "\"%s\" is not a string", key);
    }
    char encoded[8];
    snprintf(encoded, sizeof(encoded), "%sb", key);
    const char *text = json_string_value(json_object_get(obj, encoded));
    *ret = NULL;
    if (!text)
        return ERR_OK;
    store->len = 0;
    TRY(base64_parse(text, store, err));
    *ret = buf_str(store);
    if (strlen(*ret) != store->len)
        return err_set(err, ERR_DAMAGED, "\"%s\" holds a zero byte", encoded);
    return ERR_OK;
}

/* --- header --- */

static ErrCode get_u32_member(const json_t *obj, const char *key, uint32_t *ret, Err *err)
{
    int64_t v;
    TRY(json_get_number(obj, key, 0, UINT32_MAX, &v, err));
    *ret = (uint32_t)v;
    return ERR_OK;
}

static ErrCode get_octal(const json_t *obj, const char *key, uint32_t *ret, Err *err)
{
    const char *text;
    TRY(json_get_text(obj, key, &text, err));
    uint32_t v = 0;
    size_t n = 0;
    for (; text[n] >= '0' && text[n] <= '7' && v <= 07777; n++)
        v = v << 3 | (uint32_t)(text[n] - '0');
    if (!n || text[n] || v > 07777)
        return err_set(err, ERR_DAMAGED, "\"%s\" is not a file mode", key);
    *ret = v;
    return ERR_OK;
}

static ErrCode header_lists(const json_t *j, ManifestHeader *h, Err *err)
{
    json_t *ids, *spaces;
    size_t i;
    json_t *item;
    TRY(json_get_array(j, "ids", &ids, err));
    TRY(json_get_array(j, "tablespaces", &spaces, err));
    json_array_foreach(ids, i, item)
    {
        const char *id = json_string_value(item);
        if (!id || !backup_id_valid(id))
            return err_set(err, ERR_DAMAGED, "\"ids\" holds something that is no backup id");
        vec_push(&h->ids, mem_strdup(id));
    }
    if (!h->ids.n || strcmp(h->ids.at[0], h->id) != 0)
        return err_set(err, ERR_DAMAGED, "\"ids\" does not begin with the backup itself");
    json_array_foreach(spaces, i, item)
    {
        Buf store AUTO(buf_release) = {0};
        const char *path;
        uint32_t oid;
        TRY(get_u32_member(item, "oid", &oid, err));
        TRY(get_bytes(item, "path", &store, &path, err));
        if (!path)
            return err_set(err, ERR_DAMAGED, "a tablespace has no path");
        vec_push(&h->tablespaces, (ManifestTablespace){.oid = oid, .path = mem_strdup(path)});
    }
    return ERR_OK;
}

static ErrCode header_parse(const json_t *j, ManifestHeader *h, Err *err)
{
    const char *text;
    int64_t version;
    json_t *defaults;
    TRY(json_get_number(j, "pgdr", 1, INT32_MAX, &version, err));
    if (version > FORMAT_VERSION)
        return err_set(err, ERR_VERSION, "the manifest has version %lld, this pgdr reads %d",
                       (long long)version, FORMAT_VERSION);
    TRY(json_get_text(j, "id", &text, err));
    if (!backup_id_valid(text))
        return err_set(err, ERR_DAMAGED, "\"id\" is no backup id");
    memcpy(h->id, text, BACKUP_ID_LEN + 1);
    TRY(json_get_text(j, "cluster", &text, err));
    h->cluster = mem_strdup(text);
    TRY(json_get_u64_text(j, "system_id", &h->system_id, err));
    int64_t pg;
    TRY(json_get_number(j, "pg", 0, INT32_MAX, &pg, err));
    h->pg_version_num = (int)pg;
    TRY(get_u32_member(j, "block", &h->block_size, err));
    TRY(get_u32_member(j, "rel_seg_blocks", &h->rel_seg_blocks, err));
    TRY(get_u32_member(j, "wal_segment", &h->wal_segment_size, err));
    TRY(get_u32_member(j, "checksums", &h->checksum_version, err));
    TRY(get_u32_member(j, "tli", &h->timeline, err));
    TRY(json_get_lsn(j, "start_lsn", &h->start_lsn, err));
    TRY(json_get_lsn(j, "stop_lsn", &h->stop_lsn, err));
    if (h->block_size < 1024 || h->block_size > 32768 || h->block_size & (h->block_size - 1))
        return err_set(err, ERR_DAMAGED, "the block size is %u", h->block_size);
    TRY(json_get_object(j, "defaults", &defaults, err));
    TRY(get_octal(defaults, "mode", &h->file_mode, err));
    TRY(get_octal(defaults, "dir_mode", &h->dir_mode, err));
    text = json_string_value(json_object_get(defaults, "uid"));
    h->user = mem_strdup(text ? text : "");
    text = json_string_value(json_object_get(defaults, "gid"));
    h->group = mem_strdup(text ? text : "");
    return header_lists(j, h, err);
}

static ErrCode head_part(ManifestReader *r, const json_t *j, Err *err)
{
    int64_t part, files;
    PartInfo info;
    TRY(json_get_number(j, "part", 1, INT32_MAX, &part, err));
    TRY(json_get_number(j, "files", 0, INT64_MAX, &files, err));
    TRY(document_facts_parse(j, &info.facts, err));
    if ((size_t)part != r->parts.n + 1 || info.facts.size > PART_STORED_MAX)
        return err_set(err, ERR_DAMAGED, "the list of parts is damaged");
    info.files = (uint64_t)files;
    vec_push(&r->parts, info);
    return ERR_OK;
}

static ErrCode head_end(ManifestReader *r, const json_t *j, const Buf *text, size_t before,
                        Err *err)
{
    const char *hex;
    uint8_t want[SHA256_LEN], got[SHA256_LEN];
    int64_t files, bytes;
    TRY(json_get_number(j, "files", 0, INT64_MAX, &files, err));
    TRY(json_get_number(j, "bytes", 0, INT64_MAX, &bytes, err));
    TRY(json_get_text(j, "sha256", &hex, err));
    sha256_of(text->data, before, got);
    if (!hex_parse(hex, '\0', want, SHA256_LEN) || memcmp(want, got, SHA256_LEN) != 0)
        return err_set(err, ERR_DAMAGED, "the manifest does not fit the digest in its last line");
    r->header.files = (uint64_t)files;
    r->header.bytes = (uint64_t)bytes;
    return ERR_OK;
}

static ErrCode head_parse(ManifestReader *r, const Buf *text, Err *err)
{
    bool end = false;
    for (size_t at = 0; at < text->len && !end;) {
        const uint8_t *nl = memchr(text->data + at, '\n', text->len - at);
        if (!nl)
            break;
        size_t len = (size_t)(nl - (text->data + at));
        json_t *j AUTO(json_decrefp) = NULL;
        TRY(json_parse_object(text->data + at, len, &j, err));
        if (at == 0)
            TRY(header_parse(j, &r->header, err));
        else if (json_object_get(j, "part"))
            TRY(head_part(r, j, err));
        else if (json_is_true(json_object_get(j, "end"))) {
            TRY(head_end(r, j, text, at, err));
            end = true;
        }
        at += len + 1;
    }
    if (!end)
        return err_set(err, ERR_DAMAGED, "the manifest has no end");
    if (strcmp(r->header.id, r->backup_id) != 0)
        return err_set(err, ERR_DAMAGED, "it is the manifest of backup %s", r->header.id);
    return ERR_OK;
}

static ErrCode head_open(Repo *repo, const char *backup_id, const DocumentFacts *expected,
                         ManifestReader **ret, Err *err)
{
    ManifestReader *r AUTO(manifest_reader_closep) = NEW(ManifestReader);
    r->repo = repo;
    r->backup_id = mem_strdup(backup_id);
    r->decompressor = decompressor_new();
    Buf text AUTO(buf_release) = {0};
    DocumentFacts facts;
    char *name AUTO(mem_freep) = backup_object_name(backup_id, "manifest");
    TRY(document_get(repo, name, KIND_MANIFEST, HEAD_MAX, &text, &facts, err));
    if (expected && !document_facts_equal(&facts, expected))
        return err_set(err, ERR_DAMAGED,
                       "'%s/%s' in '%s' is not the one its summary was written "
                       "for",
                       repo->cluster, name, repo_url(repo));
    if (head_parse(r, &text, err) != ERR_OK)
        return err_wrap(err, "cannot read '%s/%s' in '%s'", repo->cluster, name, repo_url(repo));
    *ret = steal_ptr(&r);
    return ERR_OK;
}

/* A copy of the backup has a manifest of its own, which its own summary vouches for. */
static ErrCode head_open_elsewhere(Repo *other, const char *backup_id, ManifestReader **ret,
                                   Err *err)
{
    BackupSummary s AUTO(summary_release) = {.cluster = NULL};
    TRY(summary_get(other, backup_id, &s, err));
    return manifest_reader_open(other, backup_id, &s.manifest, ret, err);
}

ErrCode manifest_reader_open(Repo *repo, const char *backup_id, const DocumentFacts *expected,
                             ManifestReader **ret, Err *err)
{
    ErrCode rc = head_open(repo, backup_id, expected, ret, err);
    if (rc != ERR_OK && repo_falls_back(repo, err))
        return head_open_elsewhere(repo->fallback, backup_id, ret, err);
    return rc;
}

/* --- parts --- */

static ErrCode part_load(ManifestReader *r, const char *name, Err *err)
{
    const PartInfo *part = &r->parts.at[r->part];
    ObjectInfo info;
    Buf table AUTO(buf_release) = {0};
    Slice section;
    uint8_t sha[SHA256_LEN];
    r->stored.len = 0;
    TRY(repo_get(r->repo, name, PART_STORED_MAX, &r->stored, err));
    sha256_of(r->stored.data, r->stored.len, sha);
    if (r->stored.len != part->facts.size || memcmp(sha, part->facts.sha256, SHA256_LEN) != 0)
        return err_set(err, ERR_DAMAGED, "the bytes are not those the manifest's head lists");
    TRY(object_parse(&r->repo->keys, r->stored.data, r->stored.len, KIND_MANIFEST, &info, err));
    unit_reader_free(r->units);
    r->units = unit_reader_new(&info, name);
    TRY(unit_reader_table(r->units, r->stored.data + info.table_off, info.table_len, &table, err));
    TRY(table_find(&table, SECTION_LEN, &section, err));
    TRY(unit_lens_parse(section, info.units, info.table_off, &r->lens, err));
    r->unit = 0;
    r->unit_off = sizeof(ObjectHeader);
    return ERR_OK;
}

static ErrCode part_try(ManifestReader *r, Err *err)
{
    char *name AUTO(mem_freep) = part_name(r, r->part);
    if (part_load(r, name, err) != ERR_OK)
        return err_wrap(err, "cannot read '%s/%s' in '%s'", r->repo->cluster, name,
                        repo_url(r->repo));
    return ERR_OK;
}

static ErrCode part_open_here(ManifestReader *r, Err *err)
{
    ErrCode rc = part_try(r, err);
    return rc != ERR_OK && repo_reads_again(r->repo, err) ? part_try(r, err) : rc;
}

/* A copy of the backup has the same entries in the same parts. */
static ErrCode part_open_elsewhere(ManifestReader *r, Err *err)
{
    if (!r->other)
        TRY(manifest_reader_open(r->repo->fallback, r->backup_id, NULL, &r->other, err));
    if (r->other->parts.n != r->parts.n ||
        r->other->parts.at[r->part].files != r->parts.at[r->part].files)
        return err_set(err, ERR_DAMAGED, "the manifests of %s in '%s' and '%s' differ",
                       r->backup_id, repo_url(r->repo), repo_url(r->repo->fallback));
    r->other->part = r->part;
    return part_open_here(r->other, err);
}

static ErrCode part_open(ManifestReader *r, Err *err)
{
    ErrCode rc = part_open_here(r, err);
    r->from_other = rc != ERR_OK && repo_falls_back(r->repo, err);
    if (r->from_other)
        rc = part_open_elsewhere(r, err);
    if (rc != ERR_OK)
        return rc;
    r->part++;
    r->part_files = 0;
    return ERR_OK;
}

/* Makes text available at r->at, or tells that there is none left. */
static ErrCode reader_fill(ManifestReader *r, bool *ret_end, Err *err)
{
    *ret_end = false;
    while (r->at == r->text.len) {
        ManifestReader *from = r->from_other ? r->other : r;
        if (from->unit == from->lens.n) {
            if (r->part && r->part_files != r->parts.at[r->part - 1].files)
                return err_set(err, ERR_DAMAGED, "part %zu of the manifest of %s lacks files",
                               r->part, r->backup_id);
            if (r->part == r->parts.n) {
                *ret_end = true;
                return ERR_OK;
            }
            TRY(part_open(r, err));
            continue;
        }
        r->text.len = r->at = 0;
        TRY(unit_reader_append(from->units, r->decompressor, from->unit,
                               from->stored.data + from->unit_off, from->lens.at[from->unit],
                               &r->text, err));
        from->unit_off += from->lens.at[from->unit++];
    }
    return ERR_OK;
}

static ErrCode entry_place(const json_t *j, FileEntry *e, Err *err)
{
    json_t *place = json_object_get(j, "m");
    if (e->kind != FILE_REGULAR)
        return place || json_object_get(j, "x")
                   ? err_set(err, ERR_DAMAGED, "'%s' is no file, and has a place", e->path)
                   : ERR_OK;
    if (place) {
        json_int_t backup, pack, off, len;
        if (json_unpack(place, "[I,I,I,I!]", &backup, &pack, &off, &len) != 0 || backup < 0 ||
            backup > UINT32_MAX || pack < 0 || pack > UINT32_MAX || off < 0 || len < 0)
            return err_set(err, ERR_DAMAGED, "\"m\" is damaged");
        e->place = PLACE_MAP;
        e->backup = (uint32_t)backup;
        e->pack = (uint32_t)pack;
        e->off = (uint64_t)off;
        e->map_len = (uint64_t)len;
        return ERR_OK;
    }
    place = json_object_get(j, "x");
    if (!place)
        return e->size ? err_set(err, ERR_DAMAGED, "a file that is not empty has no place")
                       : ERR_OK;
    json_int_t backup, pack, unit, off, small;
    if (json_unpack(place, "[I,I,I,I,I!]", &backup, &pack, &unit, &off, &small) != 0 ||
        backup < 0 || backup > UINT32_MAX || pack < 0 || pack > UINT32_MAX || unit < 0 ||
        unit > UINT32_MAX || off < 0 || (uint64_t)off > UNIT_RAW_MAX || small < 0 ||
        small > UINT32_MAX || e->size > SMALL_FILE_MAX)
        return err_set(err, ERR_DAMAGED, "\"x\" is damaged");
    e->place = PLACE_SMALL;
    e->backup = (uint32_t)backup;
    e->pack = (uint32_t)pack;
    e->unit = (uint32_t)unit;
    e->off = (uint64_t)off;
    e->small = (uint32_t)small;
    return ERR_OK;
}

/* A path that could leave the data directory is never followed. */
static bool path_safe(const char *path)
{
    if (!*path || *path == '/')
        return false;
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, "/");
        if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
            return false;
        p += n;
        if (*p == '/' && !*++p)
            return false;
    }
    return true;
}

static ErrCode entry_kind(const json_t *j, FileKind *ret, Err *err)
{
    json_t *kind = json_object_get(j, "k");
    const char *text = json_string_value(kind);
    if (!kind)
        *ret = FILE_REGULAR;
    else if (text && strcmp(text, "d") == 0)
        *ret = FILE_DIRECTORY;
    else if (text && strcmp(text, "l") == 0)
        *ret = FILE_LINK;
    else
        return err_set(err, ERR_DAMAGED, "\"k\" is damaged");
    return ERR_OK;
}

/* A path below a file comes before any other that does not begin with the file's name: only those
 * that the last path begins with need be known. */
static ErrCode entry_above(ManifestReader *r, const FileEntry *e, Err *err)
{
    size_t common = 0;
    while (r->last_path && r->last_path[common] && r->last_path[common] == e->path[common])
        common++;
    while (r->above.n && r->above.at[r->above.n - 1] > common)
        r->above.n--;
    if (r->above.n && e->path[r->above.at[r->above.n - 1]] == '/')
        return err_set(err, ERR_DAMAGED, "'%s' lies below a file", e->path);
    if (e->kind == FILE_REGULAR)
        vec_push(&r->above, strlen(e->path));
    return ERR_OK;
}

/* Through a link in any other place files could be written outside of the data directory. */
static ErrCode entry_link(const ManifestHeader *h, const FileEntry *e, Err *err)
{
    if (!e->link)
        return err_set(err, ERR_DAMAGED, "the link '%s' has no target", e->path);
    for (size_t i = 0; i < h->tablespaces.n; i++) {
        char path[32];
        snprintf(path, sizeof(path), "pg_tblspc/%u", h->tablespaces.at[i].oid);
        if (*e->link && strcmp(path, e->path) == 0 &&
            strcmp(h->tablespaces.at[i].path, e->link) == 0)
            return ERR_OK;
    }
    return err_set(err, ERR_DAMAGED, "the link '%s' is not one of a tablespace", e->path);
}

static ErrCode entry_parse(ManifestReader *r, const json_t *j, FileEntry *e, Err *err)
{
    *e = (FileEntry){0};
    TRY(entry_kind(j, &e->kind, err));
    TRY(get_bytes(j, "p", &r->decoded[0], &e->path, err));
    if (!e->path || !path_safe(e->path))
        return err_set(err, ERR_DAMAGED, "a path that does not lie in the data directory");
    if (r->last_path && strcmp(r->last_path, e->path) >= 0)
        return err_set(err, ERR_DAMAGED, "'%s' is out of order", e->path);
    TRY(entry_above(r, e, err));
    TRY(get_bytes(j, "to", &r->decoded[1], &e->link, err));
    if (e->kind == FILE_LINK)
        TRY(entry_link(&r->header, e, err));
    if (e->kind == FILE_REGULAR) {
        int64_t size;
        TRY(json_get_number(j, "s", 0, FILE_SIZE_MAX, &size, err));
        TRY(json_get_number(j, "t", INT64_MIN, INT64_MAX, &e->mtime, err));
        e->size = (uint64_t)size;
    }
    e->mode = e->kind == FILE_DIRECTORY ? r->header.dir_mode : r->header.file_mode;
    if (json_object_get(j, "o"))
        TRY(get_octal(j, "o", &e->mode, err));
    TRY(get_bytes(j, "u", &r->decoded[2], &e->user, err));
    TRY(get_bytes(j, "g", &r->decoded[3], &e->group, err));
    e->user = e->user ? e->user : r->header.user;
    e->group = e->group ? e->group : r->header.group;
    TRY(entry_place(j, e, err));
    if (e->place != PLACE_NONE && e->backup >= r->header.ids.n)
        return err_set(err, ERR_DAMAGED, "'%s' lies in a backup that \"ids\" does not list",
                       e->path);
    return ERR_OK;
}

ErrCode manifest_reader_next(ManifestReader *r, FileEntry *ret, bool *ret_end, Err *err)
{
    TRY(reader_fill(r, ret_end, err));
    if (*ret_end) {
        if (r->files != r->header.files || r->bytes != r->header.bytes)
            return err_set(err, ERR_DAMAGED, "the manifest of %s does not add up to its totals",
                           r->backup_id);
        return ERR_OK;
    }
    const uint8_t *line = r->text.data + r->at;
    const uint8_t *nl = memchr(line, '\n', r->text.len - r->at);
    if (!nl)
        return err_set(err, ERR_DAMAGED, "the manifest of %s has a line without an end",
                       r->backup_id);
    json_decref(r->line);
    r->line = NULL;
    ErrCode rc = json_parse_object(line, (size_t)(nl - line), &r->line, err);
    if (rc == ERR_OK)
        rc = entry_parse(r, r->line, ret, err);
    if (rc != ERR_OK)
        return err_wrap(err, "the manifest of %s", r->backup_id);
    r->at += (size_t)(nl - line) + 1;
    free(r->last_path);
    r->last_path = mem_strdup(ret->path);
    r->files++;
    r->part_files++;
    r->bytes += ret->kind == FILE_REGULAR ? ret->size : 0;
    return ERR_OK;
}
