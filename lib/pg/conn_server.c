#include <stdio.h>
#include <string.h>

#include "lib/pg/conn.h"
#include "lib/pg/libpq.h"

/* --- what a server is --- */

/* $1 is the list of settings; those that the role may not see are not in pg_settings for it. */
#define SETTINGS_SQL                                                                               \
    "SELECT name, setting FROM pg_catalog.pg_settings WHERE name = ANY ($1::pg_catalog.text[])"    \
    " UNION ALL SELECT '#in_recovery', pg_catalog.pg_is_in_recovery()::text"                       \
    " UNION ALL SELECT '#is_superuser', pg_catalog.current_setting('is_superuser')"
#define SYSTEM_ID_SQL                                                                              \
    " UNION ALL SELECT '#system_id', system_identifier::text FROM pg_catalog.pg_control_system()"

static const char setting_names[] =
    "{archive_command,archive_library,archive_mode,cluster_name,data_checksums,data_directory,"
    "full_page_writes,primary_conninfo,restore_command,server_version_num,wal_level,"
    "wal_log_hints,wal_segment_size}";

static const char *find_setting(const PgRows *rows, const char *name)
{
    for (int i = 0; i < rows->rows; i++)
        if (pg_value(rows, i, 0) && strcmp(pg_value(rows, i, 0), name) == 0)
            return pg_value(rows, i, 1);
    return NULL;
}

static char *copy_setting(const PgRows *rows, const char *name)
{
    const char *value = find_setting(rows, name);
    return value ? mem_strdup(value) : NULL;
}

static uint64_t number_setting(const PgRows *rows, const char *name)
{
    const char *value = find_setting(rows, name);
    return value ? strtoull(value, NULL, 10) : 0;
}

/* "on" for settings, "true" for expressions. */
static bool bool_setting(const PgRows *rows, const char *name)
{
    const char *value = find_setting(rows, name);
    return value && (strcmp(value, "on") == 0 || strcmp(value, "true") == 0);
}

ErrCode pg_server_read(PgConn *c, PgServer *ret, Err *err)
{
    AUTO(pg_rows_release) PgRows rows = {0};
    ErrCode rc = pg_query(c, &rows, err, SETTINGS_SQL SYSTEM_ID_SQL, 1, setting_names);
    if (rc == ERR_ACCESS) /* EXECUTE on pg_control_system() was revoked from PUBLIC */
        rc = pg_query(c, &rows, err, SETTINGS_SQL, 1, setting_names);
    TRY(rc);
    *ret = (PgServer){
        .version_num = (int)number_setting(&rows, "server_version_num"),
        .system_id = number_setting(&rows, "#system_id"),
        .in_recovery = bool_setting(&rows, "#in_recovery"),
        .is_superuser = bool_setting(&rows, "#is_superuser"),
        .data_directory = copy_setting(&rows, "data_directory"),
        .archive_mode = copy_setting(&rows, "archive_mode"),
        .archive_command = copy_setting(&rows, "archive_command"),
        .archive_library = copy_setting(&rows, "archive_library"),
        .restore_command = copy_setting(&rows, "restore_command"),
        .wal_level = copy_setting(&rows, "wal_level"),
        .cluster_name = copy_setting(&rows, "cluster_name"),
        .primary_conninfo = copy_setting(&rows, "primary_conninfo"),
        .wal_segment_size = (uint32_t)number_setting(&rows, "wal_segment_size"),
        .full_page_writes = bool_setting(&rows, "full_page_writes"),
        .data_checksums = bool_setting(&rows, "data_checksums"),
        .wal_log_hints = bool_setting(&rows, "wal_log_hints"),
    };
    return ERR_OK;
}

void pg_server_release(PgServer *s)
{
    free(s->data_directory);
    free(s->archive_mode);
    free(s->archive_command);
    free(s->archive_library);
    free(s->restore_command);
    free(s->wal_level);
    free(s->cluster_name);
    free(s->primary_conninfo);
    *s = (PgServer){0};
}

/* --- functions of backup and recovery --- */

/* A missing right to `function` becomes the GRANT that gives it. */
static ErrCode hint_grant(PgConn *c, const char *function, Err *err)
{
    if (err->code != ERR_ACCESS)
        return err->code;
    const LibPq *lib = pg_conn_libpq(c);
    return err_hint(err,
                    "as a superuser in database '%s': GRANT EXECUTE ON FUNCTION pg_catalog.%s "
                    "TO \"%s\"",
                    lib->PQdb(pg_conn_raw(c)), function, lib->PQuser(pg_conn_raw(c)));
}

/* The answer of a function that returns one LSN. */
static ErrCode one_lsn(const PgRows *rows, Lsn *ret, Err *err)
{
    if (rows->rows != 1 || rows->columns < 1 || !pg_value(rows, 0, 0))
        return err_set(err, ERR_SERVER, "PostgreSQL answered without a WAL position");
    return lsn_parse(pg_value(rows, 0, 0), ret, err);
}

static ErrCode call_for_lsn(PgConn *c, const char *what, const char *function, const char *sql,
                            const char *param, Lsn *ret, Err *err)
{
    AUTO(pg_rows_release) PgRows rows = {0};
    if (pg_query(c, &rows, err, sql, param ? 1 : 0, param) != ERR_OK) {
        hint_grant(c, function, err);
        return err_wrap(err, "cannot %s", what);
    }
    return one_lsn(&rows, ret, err);
}

static ErrCode call_begin(PgConn *c, int version_num, const char *label, Lsn *ret, Err *err)
{
    if (version_num >= 150000)
        return call_for_lsn(c, "start a backup", "pg_backup_start(text, boolean)",
                            "SELECT pg_catalog.pg_backup_start($1, true)", label, ret, err);
    return call_for_lsn(c, "start a backup", "pg_start_backup(text, boolean, boolean)",
                        "SELECT pg_catalog.pg_start_backup($1, true, false)", label, ret, err);
}

ErrCode pg_backup_begin(PgConn *c, int version_num, const char *label, Lsn *ret_start, Err *err)
{
    int before = pg_conn_timeout(c);
    Lsn start = 0;
    TRY(pg_conn_set_timeout(c, 0, err));
    ErrCode rc = call_begin(c, version_num, label, &start, err);
    Err ignored;
    ErrCode back = pg_conn_set_timeout(c, before, rc == ERR_OK ? err : &ignored);
    if (rc != ERR_OK || back != ERR_OK)
        return rc != ERR_OK ? rc : back;
    *ret_start = start;
    return ERR_OK;
}

ErrCode pg_backup_finish(PgConn *c, int version_num, PgBackupStop *ret, Err *err)
{
    AUTO(pg_rows_release) PgRows rows = {0};
    bool renamed = version_num >= 150000;
    const char *function = renamed ? "pg_backup_stop(boolean)" : "pg_stop_backup(boolean, boolean)";
    const char *sql =
        renamed ? "SELECT lsn, labelfile, spcmapfile FROM pg_catalog.pg_backup_stop(false)"
                : "SELECT lsn, labelfile, spcmapfile FROM pg_catalog.pg_stop_backup(false, false)";
    if (pg_query(c, &rows, err, sql, 0) != ERR_OK) {
        hint_grant(c, function, err);
        return err_wrap(err, "cannot stop the backup");
    }
    PgBackupStop stop = {0};
    TRY(one_lsn(&rows, &stop.lsn, err));
    if (!pg_value(&rows, 0, 1))
        return err_set(err, ERR_SERVER, "PostgreSQL ended the backup without a backup_label");
    buf_append_str(&stop.label, pg_value(&rows, 0, 1));
    if (pg_value(&rows, 0, 2))
        buf_append_str(&stop.tablespace_map, pg_value(&rows, 0, 2));
    *ret = stop;
    return ERR_OK;
}

void pg_backup_stop_release(PgBackupStop *s)
{
    buf_release(&s->label);
    buf_release(&s->tablespace_map);
    s->lsn = 0;
}

ErrCode pg_switch_wal(PgConn *c, Lsn *ret, Err *err)
{
    return call_for_lsn(c, "switch to a new WAL segment", "pg_switch_wal()",
                        "SELECT pg_catalog.pg_switch_wal()", NULL, ret, err);
}

ErrCode pg_create_restore_point(PgConn *c, const char *name, Lsn *ret, Err *err)
{
    return call_for_lsn(c, "create a restore point", "pg_create_restore_point(text)",
                        "SELECT pg_catalog.pg_create_restore_point($1)", name, ret, err);
}
