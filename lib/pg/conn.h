#ifndef PGDR_PG_CONN_H
#define PGDR_PG_CONN_H

/*
 * The SQL side, over libpq (loaded when first used). Every statement runs under a statement
 * timeout chosen here, with search_path = '' and application_name = pgdr; a server that does not
 * even report its timeout is given up a little later. Errors carry the server's message and
 * SQLSTATE, and a hint for the common ones (no such socket, password, missing right).
 *
 * One thread at a time for a connection.
 */

#include "lib/common/buf.h"
#include "lib/pg/backup_label.h"
#include "lib/pg/lsn.h"

typedef struct PgConnSpec {
    const char *conninfo; /* a libpq connection string; when NULL the fields below are used */
    const char *host;     /* socket directory or name; NULL: libpq's default */
    const char *port, *user, *database; /* NULL: libpq's default; database: "postgres" */
    int connect_timeout_s;              /* for all addresses together; 0: 10 */
    bool replication; /* a physical walsender: only replication commands, no settings made */
} PgConnSpec;

typedef struct PgConn PgConn;
MUST_CHECK ErrCode pg_conn_open(PgConn **ret, const PgConnSpec *spec, Err *err);
void pg_conn_close(PgConn *c); /* NULL-safe */
static inline void pg_conn_closep(PgConn **c)
{
    pg_conn_close(*c);
    *c = NULL;
}

/*
 * Runs one statement with text parameters ($1…). The result is rows × columns of text; a NULL value
 * is a NULL pointer. Freed by pg_rows_release().
 */
typedef struct PgRows {
    int rows, columns;
    char **values; /* row-major, owned */
} PgRows;
MUST_CHECK ErrCode pg_query(PgConn *c, PgRows *ret, Err *err, const char *sql, int n_params, ...);
void pg_rows_release(PgRows *r);
static inline const char *pg_value(const PgRows *r, int row, int column)
{
    return r->values[row * r->columns + column];
}
/* Milliseconds; 0: no limit; a new connection has a minute. Applies to statements that follow. */
MUST_CHECK ErrCode pg_conn_set_timeout(PgConn *c, int ms, Err *err);
int pg_conn_timeout(const PgConn *c);
/* True while the connection is usable (a backup's session that died means a failed backup). What
 * the server or the system has already told is known at once; a host that vanished is noticed by
 * TCP keepalive within two minutes. */
bool pg_conn_alive(PgConn *c);
/* For the replication protocol: see lib/pg/libpq.h. Both are borrowed. */
struct pg_conn *pg_conn_raw(PgConn *c);
const struct LibPq *pg_conn_libpq(const PgConn *c);

/*
 * What a backup or a check asks a server first, in one round trip. What the role may not see, or
 * this version does not have, is NULL, 0 or false (without pg_read_all_settings: data_directory and
 * primary_conninfo). archive_command is "(disabled)" while archive_mode is off.
 */
typedef struct PgServer {
    int version_num; /* 150020 */
    uint64_t system_id;
    bool in_recovery;
    char *data_directory;
    char *archive_mode, *archive_command, *archive_library, *restore_command;
    char *wal_level, *cluster_name, *primary_conninfo;
    uint32_t wal_segment_size;
    bool full_page_writes, data_checksums, wal_log_hints, is_superuser;
} PgServer;
MUST_CHECK ErrCode pg_server_read(PgConn *c, PgServer *ret, Err *err);
void pg_server_release(PgServer *s);

/*
 * pg_backup_start(label, fast = true) / pg_start_backup(…, exclusive = false) by version. On a
 * standby it works too. The session must stay open until stop. No time limit: the checkpoint takes
 * what it takes. ERR_ACCESS names the GRANT that is missing.
 */
MUST_CHECK ErrCode pg_backup_begin(PgConn *c, int version_num, const char *label, Lsn *ret_start,
                                   Err *err);
typedef struct PgBackupStop {
    Lsn lsn;
    Buf label;          /* the content of backup_label */
    Buf tablespace_map; /* empty when there is none */
} PgBackupStop;
/* Never waits for the archive: whether the WAL has arrived is looked up in the repository. */
MUST_CHECK ErrCode pg_backup_finish(PgConn *c, int version_num, PgBackupStop *ret, Err *err);
void pg_backup_stop_release(PgBackupStop *s);

/* pg_switch_wal(): the end of the last record of the segment that will be archived (a segment's
 * start when there was nothing to switch). */
MUST_CHECK ErrCode pg_switch_wal(PgConn *c, Lsn *ret, Err *err);
MUST_CHECK ErrCode pg_create_restore_point(PgConn *c, const char *name, Lsn *ret, Err *err);

#endif
