#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/common/hex.h"
#include "lib/pg/lsn.h"
#include "lib/repo/manifest.h"

/* Raw bytes after which a part is closed; JSON lines compress to a tenth, at worst to a half. */
#define PART_RAW (48 * MIB)
#define LINE_MAX_RAW (UNIT_RAW_MAX / 2)
#define MANIFEST_LEVEL 3

struct ManifestWriter {
    Repo *repo;
    const ManifestHeader *header;
    ObjectWriter *object;
    Compressor *compressor;
    bool open;
    unsigned part;
    char *part_name;
    uint64_t part_raw, part_files;
    Buf unit, line;
    char *last_path;
    Buf head; /* lines about finished parts */
    uint64_t files, bytes;
};

char *backup_object_name(const char *backup_id, const char *what)
{
    return mem_printf("backups/%s/%s", backup_id, what);
}

void backup_id_new(TimeUs now, char *out)
{
    char when[TIME_TEXT_LEN], tail[17];
    uint8_t raw[8];
    random_bytes(raw, sizeof(raw));
    snprintf(out, BACKUP_ID_LEN + 1, "%.16s-%.16s", time_format_compact(now, when),
             hex_format(raw, sizeof(raw), tail));
}

bool backup_id_valid(const char *id)
{
    TimeUs t;
    Err err;
    return strlen(id) == BACKUP_ID_LEN && id[16] == '-' && hex_is_lower(id + 17, 16) &&
           backup_id_time(id, &t, &err) == ERR_OK;
}

ErrCode backup_id_time(const char *id, TimeUs *ret, Err *err)
{
    char when[17];
    snprintf(when, sizeof(when), "%.16s", id);
    return time_parse_compact(when, ret, err);
}

ManifestWriter *manifest_writer_new(Repo *repo, const ManifestHeader *header)
{
    ManifestWriter *w = NEW(ManifestWriter);
    w->repo = repo;
    w->header = header;
    w->object = object_writer_new(MIB);
    w->compressor = compressor_new(MANIFEST_LEVEL);
    return w;
}

void manifest_writer_free(ManifestWriter *w)
{
    if (!w)
        return;
    object_writer_free(w->object);
    compressor_free(w->compressor);
    free(w->part_name);
    free(w->last_path);
    buf_release(&w->unit);
    buf_release(&w->line);
    buf_release(&w->head);
    free(w);
}

/* Paths and names that are not UTF-8 go in base64 under the key with a 'b' behind it. */
static void append_text(Buf *out, const char *key, const char *text)
{
    size_t len = strlen(text);
    if (utf8_valid(text, len)) {
        buf_printf(out, "\"%s\":", key);
        json_append_quoted(out, text, len);
        return;
    }
    buf_printf(out, "\"%sb\":\"", key);
    base64_append(out, text, len);
    buf_append_u8(out, '"');
}

static void append_place(const FileEntry *e, Buf *out)
{
    if (e->place == PLACE_MAP)
        buf_printf(out, ",\"m\":[%u,%u,%" PRIu64 ",%" PRIu64 "]", e->backup, e->pack, e->off,
                   e->map_len);
    if (e->place == PLACE_SMALL)
        buf_printf(out, ",\"x\":[%u,%u,%u,%" PRIu64 ",%u]", e->backup, e->pack, e->unit, e->off,
                   e->small);
}

/* Whether an owner is not what a reader takes from the header, which holds UTF-8 alone. */
static bool owner_differs(const char *name, const char *usual)
{
    return strcmp(name, usual) != 0 || !utf8_valid(usual, strlen(usual));
}

static void append_entry(const ManifestHeader *h, const FileEntry *e, Buf *out)
{
    uint32_t usual = e->kind == FILE_DIRECTORY ? h->dir_mode : h->file_mode;
    buf_append_u8(out, '{');
    append_text(out, "p", e->path);
    if (e->kind == FILE_DIRECTORY)
        buf_append_str(out, ",\"k\":\"d\"");
    if (e->kind == FILE_LINK) {
        buf_append_str(out, ",\"k\":\"l\",");
        append_text(out, "to", e->link);
    }
    if (e->kind == FILE_REGULAR)
        buf_printf(out, ",\"s\":%" PRIu64 ",\"t\":%" PRId64, e->size, e->mtime);
    if (e->kind != FILE_LINK && e->mode != usual)
        buf_printf(out, ",\"o\":\"%04o\"", e->mode);
    if (owner_differs(e->user, h->user)) {
        buf_append_u8(out, ',');
        append_text(out, "u", e->user);
    }
    if (owner_differs(e->group, h->group)) {
        buf_append_u8(out, ',');
        append_text(out, "g", e->group);
    }
    append_place(e, out);
    buf_append_str(out, "}\n");
}

static ErrCode flush_unit(ManifestWriter *w, Err *err)
{
    if (!w->unit.len)
        return ERR_OK;
    TRY(object_writer_add(w->object, w->compressor, w->unit.data, w->unit.len, NULL, err));
    w->part_raw += w->unit.len;
    w->unit.len = 0;
    return ERR_OK;
}

static void append_part(Buf *head, unsigned part, uint64_t files, const DocumentFacts *f)
{
    char sha[SHA256_HEX_LEN], stamp[STAMP_TEXT_LEN];
    buf_printf(head,
               "{\"part\":%u,\"files\":%" PRIu64 ",\"size\":%" PRIu64
               ",\"sha256\":\"%s\",\"stamp\":\"%s\"}\n",
               part, files, f->size, hex_format(f->sha256, SHA256_LEN, sha),
               stamp_format(&f->stamp, stamp));
}

static void append_end(Buf *head, uint64_t files, uint64_t bytes)
{
    uint8_t sha[SHA256_LEN];
    char hex[SHA256_HEX_LEN];
    sha256_of(head->data, head->len, sha);
    buf_printf(head,
               "{\"end\":true,\"files\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"sha256\":\"%s\"}\n",
               files, bytes, hex_format(sha, SHA256_LEN, hex));
}

static ErrCode close_part(ManifestWriter *w, Err *err)
{
    if (!w->open)
        return ERR_OK;
    ObjectFacts facts;
    TRY(flush_unit(w, err));
    TRY(object_writer_finish(w->object, 0, NULL, &facts, err));
    TRY(repo_put(w->repo, w->part_name, w->object, STORAGE_CREATE, err));
    DocumentFacts part = {.size = facts.size, .stamp = facts.stamp};
    memcpy(part.sha256, facts.sha256, SHA256_LEN);
    append_part(&w->head, w->part, w->part_files, &part);
    w->open = false;
    return ERR_OK;
}

static void open_part(ManifestWriter *w)
{
    char what[32];
    snprintf(what, sizeof(what), "manifest.%04u", ++w->part);
    free(w->part_name);
    w->part_name = backup_object_name(w->header->id, what);
    object_writer_begin(w->object, w->repo->key, KIND_MANIFEST, w->part_name);
    w->open = true;
    w->part_raw = w->part_files = 0;
}

ErrCode manifest_writer_add(ManifestWriter *w, const FileEntry *e, Err *err)
{
    if (w->last_path && strcmp(w->last_path, e->path) >= 0)
        return err_set(err, ERR_INTERNAL, "manifest entries out of order: '%s' after '%s'", e->path,
                       w->last_path);
    free(w->last_path);
    w->last_path = mem_strdup(e->path);
    w->line.len = 0;
    append_entry(w->header, e, &w->line);
    if (w->line.len > LINE_MAX_RAW)
        return err_set(err, ERR_LIMIT, "the path '%.200s…' is too long for a manifest", e->path);
    if (w->open && w->unit.len + w->line.len > UNIT_RAW_MAX)
        TRY(flush_unit(w, err));
    if (w->open &&
        (w->part_raw >= PART_RAW || object_writer_len(w->object) + 2 * MIB > PACK_STORED_MAX))
        TRY(close_part(w, err));
    if (!w->open)
        open_part(w);
    buf_append(&w->unit, w->line.data, w->line.len);
    w->files++;
    w->part_files++;
    w->bytes += e->kind == FILE_REGULAR ? e->size : 0;
    return ERR_OK;
}

static json_t *text_json(const char *text)
{
    return utf8_valid(text, strlen(text)) ? json_string(text) : json_null();
}

static json_t *header_json(const ManifestHeader *h)
{
    char system_id[24], start[LSN_TEXT_LEN], stop[LSN_TEXT_LEN], mode[8], dir_mode[8];
    snprintf(system_id, sizeof(system_id), "%" PRIu64, h->system_id);
    snprintf(mode, sizeof(mode), "%04o", h->file_mode);
    snprintf(dir_mode, sizeof(dir_mode), "%04o", h->dir_mode);
    json_t *j = json_pack(
        "{s:i,s:s,s:s,s:s,s:i,s:I,s:I,s:I,s:I,s:I,s:s,s:s,s:{s:s,s:s,s:o,s:o}}", "pgdr",
        FORMAT_VERSION, "id", h->id, "cluster", h->cluster, "system_id", system_id, "pg",
        h->pg_version_num, "block", (json_int_t)h->block_size, "rel_seg_blocks",
        (json_int_t)h->rel_seg_blocks, "wal_segment", (json_int_t)h->wal_segment_size, "checksums",
        (json_int_t)h->checksum_version, "tli", (json_int_t)h->timeline, "start_lsn",
        lsn_format(h->start_lsn, start), "stop_lsn", lsn_format(h->stop_lsn, stop), "defaults",
        "mode", mode, "dir_mode", dir_mode, "uid", text_json(h->user), "gid", text_json(h->group));
    json_t *ids = json_array(), *spaces = json_array();
    for (size_t i = 0; i < h->ids.n; i++)
        json_array_append_new(ids, json_string(h->ids.at[i]));
    for (size_t i = 0; i < h->tablespaces.n; i++) {
        Buf line AUTO(buf_release) = {0};
        buf_printf(&line, "{\"oid\":%u,", h->tablespaces.at[i].oid);
        append_text(&line, "path", h->tablespaces.at[i].path);
        buf_append_u8(&line, '}');
        json_array_append_new(spaces, json_loadb((const char *)line.data, line.len, 0, NULL));
    }
    json_object_set_new(j, "ids", ids);
    json_object_set_new(j, "tablespaces", spaces);
    return j;
}

ErrCode manifest_writer_finish(ManifestWriter *w, DocumentFacts *ret, Err *err)
{
    TRY(close_part(w, err));
    json_t *header AUTO(json_decrefp) = header_json(w->header);
    char *first AUTO(mem_freep) = json_dumps(header, JSON_COMPACT);
    if (!first)
        return err_set(err, ERR_INTERNAL, "cannot write the manifest's header");
    Buf text AUTO(buf_release) = {0};
    buf_printf(&text, "%s\n", first);
    buf_append(&text, w->head.data, w->head.len);
    append_end(&text, w->files, w->bytes);
    char *name AUTO(mem_freep) = backup_object_name(w->header->id, "manifest");
    return document_put(w->repo, name, KIND_MANIFEST, text.data, text.len, STORAGE_CREATE, ret,
                        err);
}

static ErrCode rewrite_line(const char *line, size_t len, const json_t *j, ManifestPartFn fn,
                            void *arg, Buf *ret, Err *err)
{
    int64_t part, files, bytes;
    DocumentFacts facts;
    if (json_object_get(j, "part")) {
        TRY(json_get_number(j, "part", 1, INT32_MAX, &part, err));
        TRY(json_get_number(j, "files", 0, INT64_MAX, &files, err));
        TRY(fn(arg, (unsigned)part, &facts, err));
        append_part(ret, (unsigned)part, (uint64_t)files, &facts);
    } else if (json_object_get(j, "end")) {
        TRY(json_get_number(j, "files", 0, INT64_MAX, &files, err));
        TRY(json_get_number(j, "bytes", 0, INT64_MAX, &bytes, err));
        append_end(ret, (uint64_t)files, (uint64_t)bytes);
    } else {
        buf_append(ret, line, len);
        buf_append_u8(ret, '\n');
    }
    return ERR_OK;
}

ErrCode manifest_head_rewrite(const Buf *text, ManifestPartFn fn, void *arg, Buf *ret, Err *err)
{
    for (size_t at = 0; at < text->len;) {
        const char *line = (const char *)text->data + at, *nl = memchr(line, '\n', text->len - at);
        size_t len = nl ? (size_t)(nl - line) : text->len - at;
        json_t *j AUTO(json_decrefp) = NULL;
        TRY(json_parse_object(line, len, &j, err));
        TRY(rewrite_line(line, len, j, fn, arg, ret, err));
        at += len + 1;
    }
    return ERR_OK;
}
