/* What is shown: text and JSON, tables, findings, wrapped text, the progress display. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/display.h"
#include "cli/findings.h"
#include "cli/help.h"
#include "cli/output.h"
#include "cli/signals.h"
#include "cli/table.h"
#include "cli/wrap.h"
#include "lib/common/json.h"
#include "lib/common/log.h"
#include "lib/common/workers.h"
#include "tests/unit/unit.h"

/* A pipe holds what is written to it, which is short here. */
typedef struct Catch {
    int fd[2];
    char text[65536];
} Catch;

static Catch *catch_new(void)
{
    Catch *c = mem_zero(sizeof(*c));
    assert_int_equal(pipe(c->fd), 0);
    return c;
}

/* What was written; the catch is over. */
static const char *catch_text(Catch *c)
{
    close(c->fd[1]);
    ssize_t n, len = 0;
    while ((n = read(c->fd[0], c->text + len, sizeof(c->text) - 1 - (size_t)len)) > 0)
        len += n;
    close(c->fd[0]);
    return c->text;
}

static void text_mode(void **state UNUSED)
{
    Catch *c AUTO(mem_freep) = catch_new();
    Output out;
    out_init(&out, c->fd[1], false);
    out_text(&out, "%s %d\n", "a", 1);
    json_object_set_new(out_doc(&out), "not", json_string("shown"));
    expect_ok(out_finish(&out, err));
    assert_string_equal(catch_text(c), "a 1\n");
    out_release(&out);
}

static json_t *json_of(Catch *c)
{
    json_t *j = NULL;
    const char *text = catch_text(c);
    expect_ok(json_parse_object(text, strlen(text), &j, err));
    return j;
}

static void json_mode(void **state UNUSED)
{
    Catch *c AUTO(mem_freep) = catch_new();
    Output out;
    Err failure = {0};
    out_init(&out, c->fd[1], true);
    out_text(&out, "not shown\n");
    json_object_set_new(out_doc(&out), "name", out_json_text("caf\xc3\xa9 \xff\xfe x\xe2\x82"));
    json_object_set_new(out_doc(&out), "time", out_json_time(1000000));
    json_object_set_new(out_doc(&out), "never", out_json_time(0));
    err_set(&failure, ERR_WAL_MISSING, "no WAL \xff");
    err_hint(&failure, "look");
    out_error(&out, &failure);
    expect_ok(out_finish(&out, err));
    json_t *j = json_of(c), *error = json_object_get(j, "error");
    assert_string_equal(json_string_value(json_object_get(j, "name")),
                        "caf\xc3\xa9 \xef\xbf\xbd\xef\xbf\xbd x\xef\xbf\xbd\xef\xbf\xbd");
    assert_string_equal(json_string_value(json_object_get(j, "time")),
                        "1970-01-01T00:00:01.000000Z");
    assert_true(json_is_null(json_object_get(j, "never")));
    assert_string_equal(json_string_value(json_object_get(error, "code")), "wal_missing");
    assert_string_equal(json_string_value(json_object_get(error, "message")),
                        "no WAL \xef\xbf\xbd");
    assert_string_equal(json_string_value(json_object_get(error, "hint")), "look");
    json_decref(j);
    out_release(&out);
}

/* A script finds one object also where a command had nothing to say. */
static void json_is_never_empty(void **state UNUSED)
{
    Catch *c AUTO(mem_freep) = catch_new();
    Output out;
    out_init(&out, c->fd[1], true);
    expect_ok(out_finish(&out, err));
    assert_string_equal(catch_text(c), "{}\n");
    out_release(&out);
}

static void raw_bytes(void **state UNUSED)
{
    Catch *c AUTO(mem_freep) = catch_new();
    Output out;
    out_init(&out, c->fd[1], true);
    expect_ok(out_bytes(&out, "raw", 3, err));
    expect_ok(out_finish(&out, err));
    assert_string_equal(catch_text(c), "raw");
    out_release(&out);
}

static void failed_writes(void **state UNUSED)
{
    char *block AUTO(mem_freep) = mem_zero(MIB);
    Output out;
    int full = open("/dev/full", O_WRONLY);
    assert_true(full >= 0);
    out_init(&out, full, false);
    out_text(&out, "x");
    expect_err(ERR_NO_SPACE, "cannot write to standard output", out_finish(&out, err));
    out_release(&out);
    out_init(&out, full, false);
    expect_err(ERR_NO_SPACE, "cannot write to standard output", out_bytes(&out, block, MIB, err));
    out_release(&out);
    close(full);
    out_init(&out, -1, false);
    expect_ok(out_finish(&out, err)); /* nothing to write, nothing lost */
    out_text(&out, "x");
    expect_err(ERR_IO, "cannot write to standard output", out_finish(&out, err));
    out_release(&out);
}

static void tables(void **state UNUSED)
{
    Catch *c AUTO(mem_freep) = catch_new();
    Output out;
    OutTable t AUTO(out_table_release) = {0};
    out_init(&out, c->fd[1], false);
    out_table_columns(&t, "NAME", ">SIZE", "", "NOTE", NULL);
    out_table_row(&t, "a", "1.0 KiB", NULL);
    out_table_row(&t, "l\xc3\xa4nger", "17 B", "", "bad\033[2J\n", NULL);
    out_table_row(&t, "", "", "", "x", NULL);
    out_table_print(&t, &out);
    expect_ok(out_finish(&out, err));
    assert_string_equal(catch_text(c), "NAME       SIZE  NOTE\n"
                                       "a       1.0 KiB\n"
                                       "l\xc3\xa4nger     17 B  bad?[2J?\n"
                                       "                 x\n");
    out_release(&out);
}

static void findings(void **state UNUSED)
{
    char id[] = "20261123T081500Z-9f";
    char *ids[] = {id};
    StrList backups = {.at = ids, .n = 1};
    OutFinding damaged = {.object = "app/packs/\001x",
                          .problem = "is cut off",
                          .hint = "take a new backup",
                          .backups = &backups};
    OutFinding warning = {.warning = true, .problem = "no retention"};
    for (int json = 0; json < 2; json++) {
        Catch *c AUTO(mem_freep) = catch_new();
        Output out;
        out_init(&out, c->fd[1], json);
        out_finding(&out, &damaged);
        out_finding(&out, &warning);
        expect_ok(out_finish(&out, err));
        out_release(&out);
        if (!json) {
            assert_string_equal(catch_text(c), "ERROR:   app/packs/?x: is cut off\n"
                                               "    backups: 20261123T081500Z-9f\n"
                                               "    HINT: take a new backup\n"
                                               "warning: no retention\n");
            continue;
        }
        json_t *j = json_of(c), *list = json_object_get(j, "findings");
        assert_int_equal(json_array_size(list), 2);
        json_t *first = json_array_get(list, 0), *second = json_array_get(list, 1);
        assert_string_equal(json_string_value(json_object_get(first, "severity")), "error");
        assert_string_equal(json_string_value(json_array_get(json_object_get(first, "backups"), 0)),
                            id);
        assert_string_equal(json_string_value(json_object_get(second, "severity")), "warning");
        assert_true(json_is_null(json_object_get(second, "object")));
        assert_int_equal(json_array_size(json_object_get(second, "windows")), 0);
        json_decref(j);
    }
}

static void wrapping(void **state UNUSED)
{
    static const struct {
        const char *text;
        size_t column;
        const char *prefix;
        const char *want;
    } cases[] = {
        {"one two three", 0, "", "one two\nthree\n"},
        {"one two three", 4, "# ", "one\n# two\n# three\n"},
        {"a-word-that-is-too-long x", 0, "", "a-word-that-is-too-long\nx\n"},
        {"one\n\ntwo", 0, "", "one\n\ntwo\n"},
        {"", 0, "", "\n"},
        {"123456 89", 0, "", "123456 89\n"},
        {"123456 890", 0, "", "123456\n890\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Buf out AUTO(buf_release) = {0};
        wrap_append(&out, cases[i].text, cases[i].column, cases[i].prefix, 9);
        assert_string_equal(buf_str(&out), cases[i].want);
    }
}

static void expect_narrow(const char *what, const char *text)
{
    for (const char *end; *text; text = end + (*end == '\n')) {
        end = text + strcspn(text, "\n");
        if (end - text > 100)
            fail_msg("%s: too wide: %.*s", what, (int)(end - text), text);
        if (end > text && end[-1] == ' ')
            fail_msg("%s: ends in a blank: %.*s", what, (int)(end - text), text);
    }
}

static void help_fits(void **state UNUSED)
{
    for (int i = 0; i < CMD_COUNT; i++) {
        Buf out AUTO(buf_release) = {0};
        help_command(&out, (CommandId)i);
        expect_narrow(commands[i].name, buf_str(&out));
    }
    for (int i = 0; i < OPT_COUNT; i++) {
        Buf out AUTO(buf_release) = {0};
        help_option(&out, (OptId)i);
        expect_narrow(options[i].name, buf_str(&out));
    }
    Buf out AUTO(buf_release) = {0};
    help_overview(&out);
    expect_narrow("help", buf_str(&out));
}

static void progress_line(void **state UNUSED)
{
    Catch *c AUTO(mem_freep) = catch_new();
    Progress p = {0};
    progress_begin(&p, "copying", 1000, 0);
    progress_add(&p, 250, 0);
    log_init(LOG_INFO, LOG_PLAIN, c->fd[1]);
    display_begin(&p, &(DisplaySpec){.mode = DISPLAY_LINE, .fd = c->fd[1]});
    time_sleep(US_PER_SECOND / 2);
    log_info("hello");
    time_sleep(US_PER_SECOND / 2);
    display_end();
    display_end();
    log_init(LOG_INFO, LOG_PLAIN, -1);
    const char *text = catch_text(c), *log = strstr(text, "pgdr: INFO: hello\n");
    assert_non_null(strstr(text, "\rcopying: 250 B of 1000 B (25 %)"));
    assert_non_null(log);
    assert_memory_equal(log - 4, "\r\033[K", 4); /* on a line of its own */
    assert_non_null(strstr(log, "\rcopying"));   /* and drawn again below */
    assert_string_equal(text + strlen(text) - 4, "\r\033[K");
}

static void progress_log(void **state UNUSED)
{
    Catch *c AUTO(mem_freep) = catch_new();
    Progress p = {0};
    progress_begin(&p, "copying", 1000, 0);
    log_init(LOG_INFO, LOG_PLAIN, c->fd[1]);
    display_begin(&p, &(DisplaySpec){.mode = DISPLAY_LOG, .interval = US_PER_SECOND / 10});
    time_sleep(US_PER_SECOND / 4);
    display_end();
    log_init(LOG_INFO, LOG_PLAIN, -1);
    const char *text = catch_text(c);
    assert_non_null(strstr(text, "pgdr: INFO: copying: 0 B of 1000 B (0 %)"));
    assert_null(strchr(text, '\033'));
}

static void progress_off(void **state UNUSED)
{
    Catch *c AUTO(mem_freep) = catch_new();
    Progress p = {0};
    progress_begin(&p, "copying", 1000, 0);
    display_begin(&p, &(DisplaySpec){.mode = DISPLAY_OFF, .fd = c->fd[1]});
    display_end();
    assert_string_equal(catch_text(c), "");
}

/* In a process of its own: 0 when the second SIGINT did not kill it. */
static int signals_child(int number, bool ignored)
{
    Err err = {0};
    signal(number, ignored ? SIG_IGN : SIG_DFL); /* nohup and & have made it ignored */
    signals_init();
    if (cancel_check(&err) != ERR_OK || raise(number) != 0)
        return 1;
    if (cancel_check(&err) != (ignored ? ERR_OK : ERR_CANCELLED))
        return 2;
    raise(SIGPIPE);
    raise(number);
    return 0;
}

static void signals(void **state UNUSED)
{
    static const struct {
        int number;
        bool ignored;
        int killed_by;
    } cases[] = {{SIGTERM, false, 0},
                 {SIGHUP, false, 0},
                 {SIGHUP, true, 0},
                 {SIGINT, false, SIGINT},
                 {SIGINT, true, 0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        pid_t pid = fork();
        int status;
        if (pid == 0)
            _exit(signals_child(cases[i].number, cases[i].ignored));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(WIFSIGNALED(status) ? WTERMSIG(status) : 0, cases[i].killed_by);
        assert_int_equal(WIFEXITED(status) ? WEXITSTATUS(status) : 0, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_mode),     cmocka_unit_test(json_mode),
        cmocka_unit_test(raw_bytes),     cmocka_unit_test(json_is_never_empty),
        cmocka_unit_test(failed_writes), cmocka_unit_test(tables),
        cmocka_unit_test(findings),      cmocka_unit_test(wrapping),
        cmocka_unit_test(help_fits),     cmocka_unit_test(progress_line),
        cmocka_unit_test(progress_log),  cmocka_unit_test(progress_off),
        cmocka_unit_test(signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
