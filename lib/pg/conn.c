#include "lib/pg/conn.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/common/log.h"
#include "lib/pg/libpq.h"
#include "lib/pg/sqlstate.h"

#define CONNECT_TIMEOUT_S 10
#define STATEMENT_TIMEOUT_MS 60000
/* The server ends a statement at its timeout; one that is silent for longer than this is gone. */
#define SILENCE_AFTER_TIMEOUT (15 * US_PER_SECOND)
#define PARAMS_MAX 16
#define MESSAGE_MAX 1024

struct PgConn {
    LibPq lib;
    PGconn *pg;
    int timeout_ms;
    bool broken;        /* gave no answer: nothing more is asked */
    char farewell[256]; /* why the server ended the session, if it said so */
};

/* A session that the server ends while nothing is asked is told so by a notice. */
static void on_notice(void *arg, const PGresult *notice)
{
    PgConn *c = arg;
    const char *severity = c->lib.PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *message = c->lib.PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
    if (!message)
        return;
    log_debug("PostgreSQL: %s", message);
    if (severity && strcmp(severity, "FATAL") == 0)
        snprintf(c->farewell, sizeof(c->farewell), "%s", message);
}

/* Waits until the socket is ready for `events` or the deadline (0: none) has passed. */
static bool wait_socket(PgConn *c, short events, TimeUs deadline)
{
    for (;;) {
        int wait_ms = -1;
        if (deadline) {
            TimeUs left = deadline - time_monotonic();
            if (left <= 0)
                return false;
            wait_ms = (int)MIN(left / 1000 + 1, (TimeUs)1000000);
        }
        struct pollfd fd = {.fd = c->lib.PQsocket(c->pg), .events = events};
        int n = poll(&fd, 1, wait_ms);
        if (n > 0 || (n < 0 && errno != EINTR))
            return true; /* the caller's next call into libpq reports what is wrong */
    }
}

/* --- connecting --- */

static PgRefusal refusal(const PgConn *c)
{
    return (PgRefusal){.user = c->lib.PQuser(c->pg), .database = c->lib.PQdb(c->pg)};
}

/* What can be said about a server that was not reached at all. */
static ErrCode hint_unreachable(const PgConn *c, const char *text, Err *err)
{
    const char *host = c->lib.PQhost(c->pg), *port = c->lib.PQport(c->pg);
    if (host && host[0] == '/') {
        char path[512];
        struct stat st;
        snprintf(path, sizeof(path), "%s/.s.PGSQL.%s", host, port ? port : "5432");
        if (stat(path, &st) == 0)
            return err_hint(err,
                            "the socket '%s' is there: is the server still running, and may "
                            "this user open it?",
                            path);
        return err_hint(err,
                        "there is no socket '%s': is the server running, and are host and port "
                        "right (its unix_socket_directories and port)?",
                        path);
    }
    if (strstr(text, strerror(ECONNREFUSED)))
        return err_hint(err, "nothing listens there: is the server running, and do its "
                             "listen_addresses and port fit?");
    return err->code;
}

static ErrCode connect_failed(PgConn *c, Err *err)
{
    const char *text = c->lib.PQerrorMessage(c->pg);
    char state[6], message[MESSAGE_MAX];
    pg_refusal_parse(text, state, message, sizeof(message));
    PgRefusal r = refusal(c);
    r.sqlstate = state;
    r.message = message;
    if (!state[0] && c->lib.PQconnectionNeedsPassword(c->pg))
        r.like = "28P01";
    ErrCode code = pg_refusal_set(err, &r, "cannot connect to PostgreSQL");
    if (state[0] || r.like)
        return code;
    err->code = ERR_NETWORK;
    return hint_unreachable(c, text, err);
}

/* Keywords and values for libpq, later ones winning over earlier ones. */
typedef struct Keywords {
    const char *keys[20], *values[20];
    int n;
} Keywords;

static void add_keyword(Keywords *k, const char *key, const char *value)
{
    if (!value)
        return;
    k->keys[k->n] = key;
    k->values[k->n++] = value;
}

static PGconn *start(PgConn *c, const PgConnSpec *spec)
{
    Keywords k = {.n = 0};
    /* A standby or primary that lost its power must not be taken for alive for hours. */
    add_keyword(&k, "keepalives_idle", "60");
    add_keyword(&k, "keepalives_interval", "10");
    add_keyword(&k, "keepalives_count", "5");
    if (spec->conninfo) {
        add_keyword(&k, "dbname", spec->conninfo);
    } else {
        add_keyword(&k, "host", spec->host);
        add_keyword(&k, "port", spec->port);
        add_keyword(&k, "user", spec->user);
        add_keyword(&k, "dbname", spec->database ? spec->database : "postgres");
    }
    add_keyword(&k, "application_name", "pgdr");
    add_keyword(&k, "client_encoding", "UTF8");
    if (spec->replication)
        add_keyword(&k, "replication", "true");
    return c->lib.PQconnectStartParams(k.keys, k.values, spec->conninfo != NULL);
}

static ErrCode connect(PgConn *c, const PgConnSpec *spec, Err *err)
{
    int limit_s = spec->connect_timeout_s ? spec->connect_timeout_s : CONNECT_TIMEOUT_S;
    TimeUs deadline = time_monotonic() + limit_s * US_PER_SECOND;
    c->pg = start(c, spec);
    if (!c->pg)
        return err_set(err, ERR_INTERNAL, "libpq has no memory for a connection");
    c->lib.PQsetNoticeReceiver(c->pg, on_notice, c);
    /* Only so does the text of a refused connection contain the SQLSTATE. */
    c->lib.PQsetErrorVerbosity(c->pg, PQERRORS_VERBOSE);
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    if (c->lib.PQstatus(c->pg) == CONNECTION_BAD)
        return connect_failed(c, err);
    while (state != PGRES_POLLING_OK) {
        if (!wait_socket(c, state == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline)) {
            err_set(err, ERR_TIMEOUT, "cannot connect to PostgreSQL: no answer within %d s",
                    limit_s);
            return err_hint(err, "is it overloaded, or does a firewall drop the packets?");
        }
        state = c->lib.PQconnectPoll(c->pg);
        if (state == PGRES_POLLING_FAILED)
            return connect_failed(c, err);
    }
    c->lib.PQsetErrorVerbosity(c->pg, PQERRORS_DEFAULT);
    c->lib.PQsetnonblocking(c->pg, 1);
    return ERR_OK;
}

/* Settings of the role or the database must not end a long backup's session, hide pg_catalog or
 * change how values look. */
static ErrCode set_session(PgConn *c, Err *err)
{
    PgRows rows = {0};
    Buf sql = {0};
    int version = c->lib.PQserverVersion(c->pg);
    buf_printf(&sql,
               "SELECT pg_catalog.set_config('search_path', '', false),"
               " pg_catalog.set_config('statement_timeout', '%d', false),"
               " pg_catalog.set_config('lock_timeout', '0', false),"
               " pg_catalog.set_config('idle_in_transaction_session_timeout', '0', false),"
               " pg_catalog.set_config('datestyle', 'ISO', false)",
               c->timeout_ms);
    if (version >= 140000)
        buf_append_str(&sql, ", pg_catalog.set_config('idle_session_timeout', '0', false)");
    if (version >= 170000)
        buf_append_str(&sql, ", pg_catalog.set_config('transaction_timeout', '0', false)");
    ErrCode rc = pg_query(c, &rows, err, buf_str(&sql), 0);
    pg_rows_release(&rows);
    buf_release(&sql);
    return rc;
}

ErrCode pg_conn_open(PgConn **ret, const PgConnSpec *spec, Err *err)
{
    AUTO(pg_conn_closep) PgConn *c = NEW(PgConn);
    c->timeout_ms = STATEMENT_TIMEOUT_MS;
    TRY(libpq_load(&c->lib, err));
    TRY(connect(c, spec, err));
    if (!spec->replication)
        TRY(set_session(c, err));
    *ret = steal_ptr(&c);
    return ERR_OK;
}

void pg_conn_close(PgConn *c)
{
    if (!c)
        return;
    if (c->pg)
        c->lib.PQfinish(c->pg);
    free(c);
}

bool pg_conn_alive(PgConn *c)
{
    while (!c->broken && c->lib.PQstatus(c->pg) == CONNECTION_OK) {
        struct pollfd fd = {.fd = c->lib.PQsocket(c->pg), .events = POLLIN};
        int n = poll(&fd, 1, 0);
        if (n == 0)
            return true;
        /* Something arrived unasked: a notice, or the end. */
        int usable = n > 0 ? c->lib.PQconsumeInput(c->pg) : errno == EINTR;
        c->lib.PQisBusy(c->pg); /* hands what came to on_notice() */
        if (!usable)
            return false;
    }
    return false;
}

struct pg_conn *pg_conn_raw(PgConn *c)
{
    return c->pg;
}

const struct LibPq *pg_conn_libpq(const PgConn *c)
{
    return &c->lib;
}

/* --- statements --- */

static ErrCode connection_lost(PgConn *c, Err *err)
{
    char state[6], message[MESSAGE_MAX];
    pg_refusal_parse(c->lib.PQerrorMessage(c->pg), state, message, sizeof(message));
    c->broken = true;
    return err_set(err, ERR_NETWORK, "lost the connection to PostgreSQL: %s",
                   c->farewell[0] ? c->farewell
                   : message[0]   ? message
                                  : "it was closed");
}

static ErrCode gave_no_answer(PgConn *c, Err *err)
{
    c->broken = true;
    err_set(err, ERR_TIMEOUT, "PostgreSQL has not answered for %d s",
            c->timeout_ms / 1000 + (int)(SILENCE_AFTER_TIMEOUT / US_PER_SECOND));
    return err_hint(err, "is the server, or the network to it, hanging?");
}

/* Sends what is buffered and waits for a whole result. */
static ErrCode wait_result(PgConn *c, TimeUs deadline, Err *err)
{
    int flushed;
    while ((flushed = c->lib.PQflush(c->pg)) == 1) {
        if (!wait_socket(c, POLLIN | POLLOUT, deadline))
            return gave_no_answer(c, err);
        if (!c->lib.PQconsumeInput(c->pg))
            return connection_lost(c, err);
    }
    if (flushed < 0)
        return connection_lost(c, err);
    while (c->lib.PQisBusy(c->pg)) {
        if (!wait_socket(c, POLLIN, deadline))
            return gave_no_answer(c, err);
        if (!c->lib.PQconsumeInput(c->pg))
            return connection_lost(c, err);
    }
    return ERR_OK;
}

static ErrCode refuse(PgConn *c, const PGresult *result, Err *err)
{
    const char *message = c->lib.PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    /* libpq's own results, for a connection that broke, carry no fields. */
    if (!message)
        return connection_lost(c, err);
    PgRefusal r = refusal(c);
    r.sqlstate = c->lib.PQresultErrorField(result, PG_DIAG_SQLSTATE);
    r.message = message;
    r.hint = c->lib.PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
    return pg_refusal_set(err, &r, "PostgreSQL");
}

static void copy_rows(const PgConn *c, const PGresult *result, PgRows *rows)
{
    rows->rows = c->lib.PQntuples(result);
    rows->columns = c->lib.PQnfields(result);
    size_t n = (size_t)rows->rows * (size_t)rows->columns;
    rows->values = mem_zero((n ? n : 1) * sizeof(char *));
    for (int r = 0; r < rows->rows; r++)
        for (int k = 0; k < rows->columns; k++)
            if (!c->lib.PQgetisnull(result, r, k))
                rows->values[r * rows->columns + k] = mem_strndup(
                    c->lib.PQgetvalue(result, r, k), (size_t)c->lib.PQgetlength(result, r, k));
}

/* All results of one statement; the last one with rows, or the first error, counts. */
static ErrCode collect(PgConn *c, PgRows *rows, Err *err)
{
    TimeUs deadline = c->timeout_ms ? time_monotonic() + c->timeout_ms * (US_PER_SECOND / 1000) +
                                          SILENCE_AFTER_TIMEOUT
                                    : 0;
    ErrCode rc = ERR_OK;
    for (;;) {
        Err waited;
        if (wait_result(c, deadline, &waited) != ERR_OK) {
            *err = waited;
            return waited.code;
        }
        PGresult *result = c->lib.PQgetResult(c->pg);
        if (!result)
            return rc;
        ExecStatusType status = c->lib.PQresultStatus(result);
        if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
            if (rc == ERR_OK) {
                pg_rows_release(rows);
                copy_rows(c, result, rows);
            }
        } else if (rc == ERR_OK) {
            rc = refuse(c, result, err);
        }
        c->lib.PQclear(result);
        if (c->broken)
            return rc;
    }
}

ErrCode pg_query(PgConn *c, PgRows *ret, Err *err, const char *sql, int n_params, ...)
{
    const char *params[PARAMS_MAX];
    if (n_params > PARAMS_MAX)
        return err_set(err, ERR_INTERNAL, "a statement has %d parameters", n_params);
    va_list ap;
    va_start(ap, n_params);
    for (int i = 0; i < n_params; i++)
        params[i] = va_arg(ap, const char *);
    va_end(ap);
    if (c->broken)
        return err_set(err, ERR_NETWORK, "the connection to PostgreSQL is lost");
    /* A walsender knows only the simple protocol. */
    int sent = n_params
                   ? c->lib.PQsendQueryParams(c->pg, sql, n_params, NULL, params, NULL, NULL, 0)
                   : c->lib.PQsendQuery(c->pg, sql);
    if (!sent)
        return connection_lost(c, err);
    PgRows rows = {0};
    ErrCode rc = collect(c, &rows, err);
    if (rc == ERR_OK)
        *ret = rows;
    else
        pg_rows_release(&rows);
    return rc;
}

void pg_rows_release(PgRows *r)
{
    for (int i = 0; i < r->rows * r->columns; i++)
        free(r->values[i]);
    free(r->values);
    *r = (PgRows){0};
}

ErrCode pg_conn_set_timeout(PgConn *c, int ms, Err *err)
{
    char text[16];
    PgRows rows = {0};
    snprintf(text, sizeof(text), "%d", ms);
    TRY(pg_query(c, &rows, err, "SELECT pg_catalog.set_config('statement_timeout', $1, false)", 1,
                 text));
    pg_rows_release(&rows);
    c->timeout_ms = ms;
    return ERR_OK;
}

int pg_conn_timeout(const PgConn *c)
{
    return c->timeout_ms;
}
