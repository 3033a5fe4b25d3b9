/*
 * lib/pg/conn against a server of a few lines that speaks just enough of PostgreSQL's protocol to
 * refuse, answer, hang or vanish.
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/common/file.h"
#include "lib/pg/conn.h"
#include "lib/pg/sqlstate.h"
#include "tests/unit/unit.h"

typedef enum Mode {
    MODE_REFUSE,       /* the connection, with sqlstate and message */
    MODE_SERVE,        /* every statement is answered with one row */
    MODE_FAIL,         /* statements behind the first one fail with sqlstate and message */
    MODE_VANISH,       /* the connection ends behind the first statement */
    MODE_VANISH_LATER, /* the same when the second one comes */
    MODE_HANG,         /* nothing is ever said */
} Mode;

typedef struct Server {
    Mode mode;
    const char *sqlstate, *message, *hint;
    const char *row[3]; /* of MODE_SERVE; NULL is NULL */
    char dir[64];
    int listener;
    pthread_t thread;
    char startup[512], statements[4096];
} Server;

static void append_be32(Buf *b, uint32_t v)
{
    buf_append_u32(b, htonl(v));
}

static void append_be16(Buf *b, uint16_t v)
{
    buf_append_u16(b, htons(v));
}

static void append_text(Buf *b, const char *s)
{
    buf_append(b, s, strlen(s) + 1);
}

static void append_message(Buf *out, char type, const Buf *body)
{
    buf_append_u8(out, (uint8_t)type);
    append_be32(out, (uint32_t)body->len + 4);
    buf_append(out, body->data, body->len);
}

static void append_error(Buf *out, const char *severity, const Server *s)
{
    Buf body = {0};
    const struct {
        char field;
        const char *text;
    } fields[] = {{'S', severity}, {'V', severity}, {'C', s->sqlstate}, {'M', s->message},
                  {'H', s->hint},  {'F', "auth.c"}, {'L', "326"},       {'R', "auth_failed"}};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (!fields[i].text)
            continue;
        buf_append_u8(&body, (uint8_t)fields[i].field);
        append_text(&body, fields[i].text);
    }
    buf_append_u8(&body, 0);
    append_message(out, 'E', &body);
    buf_release(&body);
}

static void append_ready(Buf *out)
{
    Buf body = {0};
    buf_append_u8(&body, 'I');
    append_message(out, 'Z', &body);
    buf_release(&body);
}

static void append_row(Buf *out, const Server *s)
{
    Buf head = {0}, row = {0}, done = {0};
    append_be16(&head, ARRAY_LEN(s->row));
    append_be16(&row, ARRAY_LEN(s->row));
    for (size_t i = 0; i < ARRAY_LEN(s->row); i++) {
        append_text(&head, "column");
        append_be32(&head, 0);
        append_be16(&head, 0);
        append_be32(&head, 25);
        append_be16(&head, 0xFFFF);
        append_be32(&head, 0xFFFFFFFF);
        append_be16(&head, 0);
        if (s->row[i]) {
            append_be32(&row, (uint32_t)strlen(s->row[i]));
            buf_append_str(&row, s->row[i]);
        } else {
            append_be32(&row, 0xFFFFFFFF);
        }
    }
    append_text(&done, "SELECT 1");
    append_message(out, 'T', &head);
    append_message(out, 'D', &row);
    append_message(out, 'C', &done);
    buf_release(&head);
    buf_release(&row);
    buf_release(&done);
}

static bool read_exactly(int fd, void *to, size_t len)
{
    for (size_t got = 0; got < len;) {
        ssize_t n = read(fd, (uint8_t *)to + got, len - got);
        if (n <= 0)
            return false;
        got += (size_t)n;
    }
    return true;
}

/* One message into *body; its type, or 0 at the end. */
static char read_message(int fd, Buf *body)
{
    char type;
    uint32_t len;
    body->len = 0;
    if (!read_exactly(fd, &type, 1) || !read_exactly(fd, &len, 4))
        return 0;
    len = ntohl(len) - 4;
    if (!read_exactly(fd, buf_reserve(body, len + 1), len))
        return 0;
    body->len = len;
    return type;
}

static void flush_out(int fd, Buf *out)
{
    if (out->len && send(fd, out->data, out->len, MSG_NOSIGNAL) < 0)
        out->len = 0;
    out->len = 0;
}

static void note(Server *s, const char *text)
{
    size_t at = strlen(s->statements);
    snprintf(s->statements + at, sizeof(s->statements) - at, "%s\n", text);
}

static void answer(Server *s, int nth, bool extended, Buf *out)
{
    if (s->mode == MODE_FAIL && nth > 1) {
        append_error(out, "ERROR", s);
    } else {
        Buf empty = {0};
        if (extended) {
            append_message(out, '1', &empty);
            append_message(out, '2', &empty);
        }
        append_row(out, s);
    }
    append_ready(out);
}

static void serve(Server *s, int fd)
{
    AUTO(buf_release) Buf in = {0};
    AUTO(buf_release) Buf out = {0};
    uint32_t len;
    if (!read_exactly(fd, &len, 4))
        return;
    len = ntohl(len) - 4;
    if (!read_exactly(fd, buf_reserve(&in, len), len))
        return;
    memcpy(s->startup, in.data, MIN((size_t)len, sizeof(s->startup)));
    if (s->mode == MODE_HANG) {
        char byte;
        while (read(fd, &byte, 1) > 0)
            ;
        return;
    }
    if (s->mode == MODE_REFUSE) {
        append_error(&out, "FATAL", s);
        flush_out(fd, &out);
        return;
    }
    Buf body = {0};
    append_be32(&body, 0);
    append_message(&out, 'R', &body);
    body.len = 0;
    append_text(&body, "server_version");
    append_text(&body, "17.11");
    append_message(&out, 'S', &body);
    buf_release(&body);
    append_ready(&out);
    flush_out(fd, &out);
    char type;
    for (int nth = 1; (type = read_message(fd, &in)) != 0;) {
        if (type == 'Q')
            note(s, (const char *)in.data);
        if (type == 'P')
            note(s, (const char *)in.data + 1); /* behind the empty name */
        if (type != 'Q' && type != 'S')
            continue;
        if (s->mode == MODE_VANISH_LATER && nth == 2)
            return;
        answer(s, nth++, type == 'S', &out);
        flush_out(fd, &out);
        if (s->mode == MODE_VANISH) {
            time_sleep(50000); /* the client is idle by then */
            if (s->message)
                append_error(&out, "FATAL", s);
            flush_out(fd, &out);
            return;
        }
    }
}

static void *run(void *arg)
{
    Server *s = arg;
    int fd = accept(s->listener, NULL, NULL);
    if (fd >= 0) {
        serve(s, fd);
        close(fd);
    }
    return NULL;
}

static void server_start(Server *s)
{
    snprintf(s->dir, sizeof(s->dir), "/tmp/pgdr-conn-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/.s.PGSQL.5499", s->dir);
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(s->listener >= 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(s->listener, 5), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, run, s), 0);
}

static void server_stop(Server *s)
{
    shutdown(s->listener, SHUT_RDWR);
    close(s->listener);
    pthread_join(s->thread, NULL);
    expect_ok(dir_remove_tree(s->dir, false, err));
}

static PgConnSpec spec_of(const Server *s)
{
    return (PgConnSpec){.host = s->dir, .port = "5499", .user = "dba", .connect_timeout_s = 5};
}

static PgConn *open_conn(const Server *s)
{
    PgConnSpec spec = spec_of(s);
    PgConn *c = NULL;
    expect_ok(pg_conn_open(&c, &spec, err));
    return c;
}

static void refusals_say_what_to_do(void **state)
{
    (void)state;
    static const struct {
        const char *sqlstate;
        ErrCode code;
        const char *hint;
    } cases[] = {
        {"28P01", ERR_AUTH, "password of role 'dba'"},
        {"28000", ERR_AUTH, "pg_hba.conf lets it connect to database 'postgres'"},
        {"3D000", ERR_CONFIG, "option database"},
        {"57P03", ERR_NETWORK, "try again in a moment"},
        {"53300", ERR_BUSY, "max_connections"},
        {"XX000", ERR_SERVER, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        /* The severity may be in any language. */
        Server s = {.mode = MODE_REFUSE,
                    .sqlstate = cases[i].sqlstate,
                    .message = "das geht: 12345: nicht \"dba\""};
        server_start(&s);
        PgConnSpec spec = spec_of(&s);
        PgConn *c = NULL;
        Err e = {0};
        ErrCode code = pg_conn_open(&c, &spec, &e);
        char want[128];
        snprintf(want, sizeof(want),
                 "cannot connect to PostgreSQL: das geht: 12345: nicht \"dba\" (SQLSTATE %s)",
                 cases[i].sqlstate);
        assert_string_equal(e.message, want);
        assert_int_equal(code, cases[i].code);
        if (!strstr(e.hint, cases[i].hint))
            fail_msg("%s: hint '%s'", cases[i].sqlstate, e.hint);
        assert_null(c);
        server_stop(&s);
    }
}

static void an_absent_server_is_described(void **state)
{
    (void)state;
    PgConn *c = NULL;
    Err e = {0};
    PgConnSpec spec = {.host = "/tmp/pgdr-no-such-dir", .port = "5477", .user = "x"};
    assert_int_equal(pg_conn_open(&c, &spec, &e), ERR_NETWORK);
    assert_non_null(strstr(e.hint, "no socket '/tmp/pgdr-no-such-dir/.s.PGSQL.5477'"));
    assert_non_null(strstr(e.message, "No such file or directory"));

    /* A socket that a dead server left behind. */
    Server s = {.mode = MODE_HANG};
    server_start(&s);
    shutdown(s.listener, SHUT_RDWR);
    close(s.listener);
    pthread_join(s.thread, NULL);
    spec = spec_of(&s);
    assert_int_equal(pg_conn_open(&c, &spec, &e), ERR_NETWORK);
    assert_non_null(strstr(e.hint, "is there: is the server still running"));
    expect_ok(dir_remove_tree(s.dir, false, err));

    /* A port on which nothing listens: one that was bound and is closed again. */
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    char port[16];
    snprintf(port, sizeof(port), "%d", ntohs(addr.sin_port));
    spec = (PgConnSpec){.host = "127.0.0.1", .port = port, .user = "x"};
    assert_int_equal(pg_conn_open(&c, &spec, &e), ERR_NETWORK);
    assert_non_null(strstr(e.hint, "nothing listens there"));
    close(fd);

    spec = (PgConnSpec){.conninfo = "nonsense=1"};
    assert_int_not_equal(pg_conn_open(&c, &spec, &e), ERR_OK);
    assert_non_null(strstr(e.message, "nonsense"));
    assert_null(c);
}

static void a_silent_server_is_given_up(void **state)
{
    (void)state;
    Server s = {.mode = MODE_HANG};
    server_start(&s);
    PgConnSpec spec = spec_of(&s);
    spec.connect_timeout_s = 1;
    PgConn *c = NULL;
    TimeUs before = time_monotonic();
    expect_err(ERR_TIMEOUT, "no answer within 1 s", pg_conn_open(&c, &spec, err));
    TimeUs took = time_monotonic() - before;
    assert_true(took >= US_PER_SECOND && took < 4 * US_PER_SECOND);
    server_stop(&s);
}

static void a_session_is_made_safe_first(void **state)
{
    (void)state;
    Server s = {.mode = MODE_SERVE, .row = {"a", NULL, ""}};
    server_start(&s);
    PgConn *c = open_conn(&s);
    assert_true(pg_conn_alive(c));
    PgRows rows;
    expect_ok(pg_query(c, &rows, err, "SELECT $1, $2", 2, "one", NULL));
    assert_int_equal(rows.rows, 1);
    assert_int_equal(rows.columns, 3);
    assert_string_equal(pg_value(&rows, 0, 0), "a");
    assert_null(pg_value(&rows, 0, 1));
    assert_string_equal(pg_value(&rows, 0, 2), "");
    pg_rows_release(&rows);
    assert_int_equal(pg_conn_timeout(c), 60000);
    expect_ok(pg_conn_set_timeout(c, 0, err));
    assert_int_equal(pg_conn_timeout(c), 0);
    assert_true(pg_conn_alive(c));
    pg_conn_close(c);
    server_stop(&s);
    assert_non_null(strstr(s.statements, "set_config('search_path', '', false)"));
    assert_non_null(strstr(s.statements, "set_config('statement_timeout', '60000', false)"));
    assert_non_null(strstr(s.statements, "set_config('idle_session_timeout', '0', false)"));
    assert_non_null(strstr(s.statements, "set_config('transaction_timeout', '0', false)"));
    assert_non_null(memmem(s.startup, sizeof(s.startup), "application_name\0pgdr", 22));
    assert_non_null(memmem(s.startup, sizeof(s.startup), "database\0postgres", 18));
}

static void a_connection_string_is_taken(void **state)
{
    (void)state;
    Server s = {.mode = MODE_SERVE};
    server_start(&s);
    char text[256];
    snprintf(text, sizeof(text), "host=%s port=5499 user=boss dbname=own application_name=x",
             s.dir);
    PgConnSpec spec = {.conninfo = text, .host = "/nowhere", .replication = true};
    PgConn *c = NULL;
    expect_ok(pg_conn_open(&c, &spec, err));
    pg_conn_close(c);
    server_stop(&s);
    assert_non_null(memmem(s.startup, sizeof(s.startup), "application_name\0pgdr", 22));
    assert_non_null(memmem(s.startup, sizeof(s.startup), "user\0boss", 10));
    assert_non_null(memmem(s.startup, sizeof(s.startup), "database\0own", 13));
    assert_non_null(memmem(s.startup, sizeof(s.startup), "replication\0true", 17));
    assert_string_equal(s.statements, "");
}

static void failed_statements_carry_code_and_hint(void **state)
{
    (void)state;
    static const struct {
        const char *sqlstate;
        ErrCode code;
        const char *hint;
    } cases[] = {
        {"42501", ERR_ACCESS, "role 'dba' lacks a right"},
        {"57014", ERR_TIMEOUT, "time limit"},
        {"53100", ERR_NO_SPACE, "disk is full"},
        {"55000", ERR_SERVER, "the server's own"},
        {"22012", ERR_SERVER, "the server's own"},
        {"08P01", ERR_NETWORK, "the server's own"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Server s = {.mode = MODE_FAIL,
                    .sqlstate = cases[i].sqlstate,
                    .message = "no",
                    .hint = "the server's own"};
        server_start(&s);
        PgConn *c = open_conn(&s);
        PgRows rows;
        Err e = {0};
        assert_int_equal(pg_query(c, &rows, &e, "SELECT 1", 0), cases[i].code);
        assert_non_null(strstr(e.message, "PostgreSQL: no (SQLSTATE "));
        if (!strstr(e.hint, cases[i].hint))
            fail_msg("%s: hint '%s'", cases[i].sqlstate, e.hint);
        assert_true(pg_conn_alive(c));
        pg_conn_close(c);
        server_stop(&s);
    }
}

static void missing_rights_name_the_grant(void **state)
{
    (void)state;
    Server s = {.mode = MODE_FAIL, .sqlstate = "42501", .message = "permission denied"};
    server_start(&s);
    PgConn *c = open_conn(&s);
    Lsn lsn;
    PgBackupStop stop;
    Err e = {0};
    /* The time limit is lifted before, which fails here, too. */
    assert_int_equal(pg_backup_begin(c, 150000, "x", &lsn, &e), ERR_ACCESS);
    assert_int_equal(pg_backup_finish(c, 150000, &stop, &e), ERR_ACCESS);
    assert_string_equal(e.hint, "as a superuser in database 'postgres': GRANT EXECUTE ON FUNCTION "
                                "pg_catalog.pg_backup_stop(boolean) TO \"dba\"");
    assert_int_equal(pg_backup_finish(c, 140000, &stop, &e), ERR_ACCESS);
    assert_non_null(strstr(e.hint, "pg_catalog.pg_stop_backup(boolean, boolean) TO \"dba\""));
    assert_int_equal(pg_switch_wal(c, &lsn, &e), ERR_ACCESS);
    assert_non_null(strstr(e.hint, "pg_catalog.pg_switch_wal() TO \"dba\""));
    assert_int_equal(pg_create_restore_point(c, "x", &lsn, &e), ERR_ACCESS);
    assert_non_null(strstr(e.hint, "pg_create_restore_point(text) TO \"dba\""));
    assert_non_null(strstr(e.message, "cannot create a restore point: "));
    pg_conn_close(c);
    server_stop(&s);
}

static void backups_are_called_by_version(void **state)
{
    (void)state;
    static const struct {
        int version;
        const char *begin, *finish;
    } cases[] = {
        {130016, "pg_start_backup($1, true, false)", "pg_stop_backup(false, false)"},
        {140000, "pg_start_backup($1, true, false)", "pg_stop_backup(false, false)"},
        {150000, "pg_backup_start($1, true)", "pg_backup_stop(false)"},
        {180006, "pg_backup_start($1, true)", "pg_backup_stop(false)"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Server s = {.mode = MODE_SERVE,
                    .row = {"1/A0000028", "START WAL …\n", i ? "5 /x\n" : NULL}};
        server_start(&s);
        PgConn *c = open_conn(&s);
        Lsn lsn = 0;
        expect_ok(pg_backup_begin(c, cases[i].version, "label", &lsn, err));
        assert_int_equal(lsn, UINT64_C(0x1A0000028));
        assert_int_equal(pg_conn_timeout(c), 60000);
        PgBackupStop stop;
        expect_ok(pg_backup_finish(c, cases[i].version, &stop, err));
        assert_int_equal(stop.lsn, UINT64_C(0x1A0000028));
        assert_string_equal(buf_str(&stop.label), "START WAL …\n");
        assert_string_equal(buf_str(&stop.tablespace_map), i ? "5 /x\n" : "");
        pg_backup_stop_release(&stop);
        pg_conn_close(c);
        server_stop(&s);
        assert_non_null(strstr(s.statements, cases[i].begin));
        assert_non_null(strstr(s.statements, cases[i].finish));
    }
}

static void a_lost_session_is_noticed(void **state)
{
    (void)state;
    Server s = {.mode = MODE_VANISH};
    server_start(&s);
    PgConn *c = open_conn(&s);
    for (int i = 0; i < 200 && pg_conn_alive(c); i++)
        time_sleep(10000);
    assert_false(pg_conn_alive(c));
    PgRows rows;
    expect_err(ERR_NETWORK, "lost the connection", pg_query(c, &rows, err, "SELECT 1", 0));
    expect_err(ERR_NETWORK, "is lost", pg_query(c, &rows, err, "SELECT 1", 0));
    pg_conn_close(c);
    server_stop(&s);

    s = (Server){.mode = MODE_VANISH, .sqlstate = "57P01", .message = "an administrator said so"};
    server_start(&s);
    c = open_conn(&s);
    for (int i = 0; i < 200 && pg_conn_alive(c); i++)
        time_sleep(10000);
    expect_err(ERR_NETWORK, "lost the connection to PostgreSQL: an administrator said so",
               pg_query(c, &rows, err, "SELECT 1", 0));
    pg_conn_close(c);
    server_stop(&s);

    s = (Server){.mode = MODE_VANISH_LATER};
    server_start(&s);
    c = open_conn(&s);
    assert_true(pg_conn_alive(c));
    expect_err(ERR_NETWORK, "lost the connection",
               pg_query(c, &rows, err, "SELECT $1::text", 1, "x"));
    assert_false(pg_conn_alive(c));
    pg_conn_close(c);
    server_stop(&s);
}

static void texts_of_libpq_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text, *sqlstate, *message;
    } cases[] = {
        {"connection to server on socket \"/x\" failed: FATAL:  28P01: no way\nLOCATION:  a\n",
         "28P01", "no way"},
        {"FATAL:  57P03: the database system is starting up\n", "57P03",
         "the database system is starting up"},
        {"could not connect to server: No such file or directory\n\tIs the server running\n", "",
         "could not connect to server: No such file or directory"},
        {"odd:  x: y:  28P0: z", "", "odd:  x: y:  28P0: z"},
        {"", "", ""},
        {":  ", "", ":"},
        {"a:  1234", "", "a:  1234"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char sqlstate[6], message[200];
        pg_refusal_parse(cases[i].text, sqlstate, message, sizeof(message));
        assert_string_equal(sqlstate, cases[i].sqlstate);
        assert_string_equal(message, cases[i].message);
    }
}

int main(void)
{
    /* Nothing of the environment may choose another server. */
    static const char *const names[] = {"PGHOST",     "PGHOSTADDR", "PGPORT",    "PGUSER",
                                        "PGDATABASE", "PGSERVICE",  "PGOPTIONS", "PGPASSFILE"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        unsetenv(names[i]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals_say_what_to_do),
        cmocka_unit_test(an_absent_server_is_described),
        cmocka_unit_test(a_silent_server_is_given_up),
        cmocka_unit_test(a_session_is_made_safe_first),
        cmocka_unit_test(a_connection_string_is_taken),
        cmocka_unit_test(failed_statements_carry_code_and_hint),
        cmocka_unit_test(missing_rights_name_the_grant),
        cmocka_unit_test(backups_are_called_by_version),
        cmocka_unit_test(a_lost_session_is_noticed),
        cmocka_unit_test(texts_of_libpq_are_taken_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
