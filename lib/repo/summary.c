#include "lib/repo/summary.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/pg/lsn.h"
#include "lib/repo/manifest.h"

void summary_release(BackupSummary *s)
{
    free(s->cluster);
    free(s->type);
    free(s->label);
    free(s->host);
    free(s->parent);
    str_list_release(&s->warnings);
    *s = (BackupSummary){.cluster = NULL};
}

/* Text that came from outside may not be UTF-8. */
static json_t *text_json(const char *text)
{
    return json_string(utf8_valid(text, strlen(text)) ? text : "?");
}

static json_t *summary_json(const BackupSummary *s)
{
    char system_id[24], start[LSN_TEXT_LEN], stop[LSN_TEXT_LEN], checkpoint[LSN_TEXT_LEN];
    json_t *warnings = json_array();
    for (size_t i = 0; i < s->warnings.n; i++)
        json_array_append_new(warnings, text_json(s->warnings.at[i]));
    snprintf(system_id, sizeof(system_id), "%" PRIu64, s->system_id);
    json_t *j = json_pack("{s:i,s:s,s:s,s:s,s:i,s:s,s:o,s:o,s:s,s:b}", "pgdr", FORMAT_VERSION, "id",
                          s->id, "cluster", s->cluster, "system_id", system_id, "pg_version",
                          s->pg_version_num, "type", s->type, "label", text_json(s->label), "host",
                          text_json(s->host), "parent", s->parent, "from_standby", s->from_standby);
    json_t *more = json_pack(
        "{s:I,s:I,s:I,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:o,s:o}", "start_time",
        (json_int_t)s->start_time, "stop_time", (json_int_t)s->stop_time, "timeline",
        (json_int_t)s->timeline, "start_lsn", lsn_format(s->start_lsn, start), "stop_lsn",
        lsn_format(s->stop_lsn, stop), "checkpoint_lsn", lsn_format(s->checkpoint_lsn, checkpoint),
        "wal_segment_size", (json_int_t)s->wal_segment_size, "block_size",
        (json_int_t)s->block_size, "checksum_version", (json_int_t)s->checksum_version, "size",
        (json_int_t)s->size, "files", (json_int_t)s->files, "stored", (json_int_t)s->stored,
        "damaged_pages", (json_int_t)s->damaged_pages, "warnings", warnings, "manifest",
        document_facts_json(&s->manifest), "packs", document_facts_json(&s->packs));
    json_object_set_new(j, "number", json_integer((json_int_t)s->number));
    json_object_update(j, more);
    json_decref(more);
    return j;
}

ErrCode summary_put(Repo *repo, const BackupSummary *s, StoragePutFlags flags, Err *err)
{
    json_t *j AUTO(json_decrefp) = summary_json(s);
    char *name AUTO(mem_freep) = backup_object_name(s->id, "summary");
    return document_put_json(repo, name, KIND_SUMMARY, j, flags, NULL, err);
}

static ErrCode get_facts(const json_t *j, const char *key, DocumentFacts *ret, Err *err)
{
    json_t *obj;
    TRY(json_get_object(j, key, &obj, err));
    return document_facts_parse(obj, ret, err);
}

static ErrCode get_copy(const json_t *j, const char *key, char **ret, Err *err)
{
    const char *text;
    TRY(json_get_text(j, key, &text, err));
    *ret = mem_strdup(text);
    return ERR_OK;
}

static ErrCode parse_texts(const json_t *j, const char *backup_id, BackupSummary *s, Err *err)
{
    const char *text;
    int64_t version;
    TRY(json_get_number(j, "pgdr", 1, INT32_MAX, &version, err));
    if (version > FORMAT_VERSION)
        return err_set(err, ERR_VERSION, "the backup has format version %lld, this pgdr reads %d",
                       (long long)version, FORMAT_VERSION);
    TRY(json_get_text(j, "id", &text, err));
    if (strcmp(text, backup_id) != 0)
        return err_set(err, ERR_DAMAGED, "it is the summary of backup %s", text);
    memcpy(s->id, backup_id, BACKUP_ID_LEN + 1);
    TRY(get_copy(j, "cluster", &s->cluster, err));
    TRY(get_copy(j, "type", &s->type, err));
    TRY(get_copy(j, "label", &s->label, err));
    TRY(get_copy(j, "host", &s->host, err));
    TRY(get_copy(j, "parent", &s->parent, err));
    TRY(json_get_u64_text(j, "system_id", &s->system_id, err));
    s->from_standby = json_is_true(json_object_get(j, "from_standby"));
    json_t *warnings, *item;
    size_t i;
    TRY(json_get_array(j, "warnings", &warnings, err));
    json_array_foreach(warnings, i, item) if (json_is_string(item))
        vec_push(&s->warnings, mem_strdup(json_string_value(item)));
    return ERR_OK;
}

static ErrCode parse_numbers(const json_t *j, BackupSummary *s, Err *err)
{
    const struct {
        const char *key;
        int64_t max;
        void *to;
        size_t size;
    } numbers[] = {
        {"pg_version", INT32_MAX, &s->pg_version_num, sizeof(s->pg_version_num)},
        {"start_time", INT64_MAX, &s->start_time, sizeof(s->start_time)},
        {"stop_time", INT64_MAX, &s->stop_time, sizeof(s->stop_time)},
        {"timeline", UINT32_MAX, &s->timeline, sizeof(s->timeline)},
        {"wal_segment_size", UINT32_MAX, &s->wal_segment_size, sizeof(s->wal_segment_size)},
        {"block_size", UINT32_MAX, &s->block_size, sizeof(s->block_size)},
        {"checksum_version", UINT32_MAX, &s->checksum_version, sizeof(s->checksum_version)},
        {"size", INT64_MAX, &s->size, sizeof(s->size)},
        {"files", INT64_MAX, &s->files, sizeof(s->files)},
        {"stored", INT64_MAX, &s->stored, sizeof(s->stored)},
        {"damaged_pages", INT64_MAX, &s->damaged_pages, sizeof(s->damaged_pages)},
    };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        int64_t v;
        TRY(json_get_number(j, numbers[i].key, 0, numbers[i].max, &v, err));
        if (numbers[i].size == sizeof(uint32_t)) {
            uint32_t narrow = (uint32_t)v;
            memcpy(numbers[i].to, &narrow, sizeof(narrow));
        } else {
            memcpy(numbers[i].to, &v, sizeof(v));
        }
    }
    if (json_object_get(j, "number")) {
        int64_t number;
        TRY(json_get_number(j, "number", 0, INT64_MAX, &number, err));
        s->number = (uint64_t)number;
    }
    TRY(json_get_lsn(j, "start_lsn", &s->start_lsn, err));
    TRY(json_get_lsn(j, "stop_lsn", &s->stop_lsn, err));
    TRY(json_get_lsn(j, "checkpoint_lsn", &s->checkpoint_lsn, err));
    TRY(get_facts(j, "manifest", &s->manifest, err));
    return get_facts(j, "packs", &s->packs, err);
}

ErrCode summary_get(Repo *repo, const char *backup_id, BackupSummary *ret, Err *err)
{
    BackupSummary s AUTO(summary_release) = {.cluster = NULL};
    json_t *j AUTO(json_decrefp) = NULL;
    char *name AUTO(mem_freep) = backup_object_name(backup_id, "summary");
    TRY(document_get_json(repo, name, KIND_SUMMARY, &j, NULL, err));
    ErrCode rc = parse_texts(j, backup_id, &s, err);
    if (rc == ERR_OK)
        rc = parse_numbers(j, &s, err);
    if (rc != ERR_OK)
        return err_wrap(err, "cannot read '%s/%s' in '%s'", repo->cluster, name, repo_url(repo));
    summary_release(ret);
    *ret = s;
    s = (BackupSummary){.cluster = NULL};
    return ERR_OK;
}
