#include "cli/show_backup.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/output.h"
#include "lib/pg/lsn.h"

const char *pg_version_text(int version_num, char *out)
{
    snprintf(out, 16, "%d.%d", version_num / 10000 % 1000, version_num % 10000);
    return out;
}

json_t *backup_json(const BackupSummary *s)
{
    char system_id[24], version[16], start[LSN_TEXT_LEN], stop[LSN_TEXT_LEN];
    json_t *warnings = json_array();
    for (size_t i = 0; i < s->warnings.n; i++)
        json_array_append_new(warnings, out_json_text(s->warnings.at[i]));
    snprintf(system_id, sizeof(system_id), "%" PRIu64, s->system_id);
    json_t *j = json_object();
    json_object_set_new(j, "id", json_string(s->id));
    json_object_set_new(j, "type", out_json_text(s->type));
    json_object_set_new(j, "status", json_string(s->damaged_pages ? "damaged pages" : "ok"));
    json_object_set_new(j, "system_id", json_string(system_id));
    json_object_set_new(j, "pg_version", json_string(pg_version_text(s->pg_version_num, version)));
    json_object_set_new(j, "timeline", json_integer(s->timeline));
    json_object_set_new(j, "start_time", out_json_time(s->start_time));
    json_object_set_new(j, "stop_time", out_json_time(s->stop_time));
    json_object_set_new(j, "start_lsn", json_string(lsn_format(s->start_lsn, start)));
    json_object_set_new(j, "stop_lsn", json_string(lsn_format(s->stop_lsn, stop)));
    json_object_set_new(j, "size", json_integer((json_int_t)s->size));
    json_object_set_new(j, "stored", json_integer((json_int_t)s->stored));
    json_object_set_new(j, "files", json_integer((json_int_t)s->files));
    json_object_set_new(j, "parent", *s->parent ? out_json_text(s->parent) : json_null());
    json_object_set_new(j, "label", *s->label ? out_json_text(s->label) : json_null());
    json_object_set_new(j, "host", out_json_text(s->host));
    json_object_set_new(j, "from_standby", json_boolean(s->from_standby));
    json_object_set_new(j, "damaged_pages", json_integer((json_int_t)s->damaged_pages));
    json_object_set_new(j, "warnings", warnings);
    return j;
}
