/* The tables of options and commands, values, suggestions, and the command line taken apart. */

#include "cli/args.h"
#include "cli/suggest.h"
#include "cli/value.h"
#include "lib/common/timeutil.h"
#include "tests/unit/unit.h"

/* --- the tables themselves --- */

static bool is_ascii(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s >= 0x7f || ((unsigned char)*s < 0x20 && *s != '\n'))
            return false;
    return true;
}

static void check_text(const char *name, const char *help, const char *text)
{
    if (!help || !text)
        fail_msg("%s has no help", name);
    if (!is_ascii(help) || !is_ascii(text))
        fail_msg("%s: the help is not plain ASCII", name);
    if (help[strlen(help) - 1] == '.' || !strchr(".:", text[strlen(text) - 1]))
        fail_msg("%s: help ends in a full stop or text does not", name);
}

static void check_option(OptId id)
{
    const Option *o = &options[id];
    Err err = {0};
    check_text(o->name, o->help, o->text);
    assert_int_equal(strspn(o->name, "abcdefghijklmnopqrstuvwxyz0123456789-"), strlen(o->name));
    /* "no-x" is how x is switched off, PGDR_REPO_… belongs to the repositories. */
    if (strncmp(o->name, "no-", 3) == 0 || strncmp(o->name, "repo-", 5) == 0)
        fail_msg("--%s: the name is taken", o->name);
    if ((o->type == TYPE_CHOICE) != (o->choices != NULL))
        fail_msg("--%s: choices do not fit the type", o->name);
    if (option_takes_value(id) != (o->arg != NULL))
        fail_msg("--%s: arg does not fit the type", o->name);
    bool number = o->type == TYPE_INT || o->type == TYPE_SIZE || o->type == TYPE_DURATION;
    if (number && o->min >= o->max)
        fail_msg("--%s has no bounds", o->name);
    if (o->type == TYPE_LIST && o->scope != ON_COMMAND_LINE)
        fail_msg("--%s: a list can stand on the command line only", o->name);
    if (o->secret && !option_in_file(id))
        fail_msg("--%s: a secret must have a place", o->name);
    if (option_in_file(id) && !o->def && !o->sample)
        fail_msg("--%s: the sample configuration has nothing to show", o->name);
    const char *shown[] = {o->def, o->sample};
    Origin file = {.source = FROM_FILE, .file = "sample", .line = 1};
    for (size_t i = 0; i < ARRAY_LEN(shown); i++) {
        Value v = {0};
        if (shown[i] && value_set(&v, id, shown[i], &file, &err) != ERR_OK)
            fail_msg("--%s: %s", o->name, err.message);
        value_release(&v);
    }
    int taken = 0;
    for (int c = 0; c < CMD_COUNT; c++)
        taken += option_taken(id, (CommandId)c);
    if (!taken)
        fail_msg("no command takes --%s", o->name);
}

static void options_are_sound(void **state UNUSED)
{
    for (int i = 0; i < OPT_COUNT; i++) {
        check_option((OptId)i);
        for (int k = i + 1; k < OPT_COUNT; k++) {
            const Option *a = &options[i], *b = &options[k];
            if (a->letter && a->letter == b->letter)
                fail_msg("-%c is both --%s and --%s", a->letter, a->name, b->name);
            if (strcmp(a->name, b->name) != 0)
                continue;
            if (option_takes_value((OptId)i) != option_takes_value((OptId)k))
                fail_msg("--%s takes a value for one command only", a->name);
            for (int c = 0; c < CMD_COUNT; c++)
                if (option_taken((OptId)i, (CommandId)c) && option_taken((OptId)k, (CommandId)c))
                    fail_msg("%s takes two options --%s", commands[c].name, a->name);
        }
        if (options[i].letter)
            assert_false(option_takes_value((OptId)i));
    }
}

static void commands_are_sound(void **state UNUSED)
{
    for (int i = 0; i < CMD_COUNT; i++) {
        const Command *c = &commands[i];
        check_text(c->name, c->summary, c->text);
        assert_true(c->min_args <= c->max_args);
        assert_int_equal(c->args != NULL, c->max_args > 0);
        assert_non_null(c->examples[0]);
        assert_false(command_is_group(c->name));
        for (int k = i + 1; k < CMD_COUNT; k++)
            assert_string_not_equal(c->name, commands[k].name);
    }
}

/* --- values --- */

static void sizes(void **state UNUSED)
{
    static const struct {
        const char *text;
        int64_t bytes;
    } good[] = {{"0", 0},
                {"17", 17},
                {"17B", 17},
                {"4k", 4096},
                {"64MiB", 64 << 20},
                {"64mb", 64 << 20},
                {"64 M", 64 << 20},
                {"3GiB", INT64_C(3) << 30},
                {"2T", INT64_C(2) << 40},
                {"1PiB", INT64_C(1) << 50},
                {"9223372036854775807", INT64_MAX}};
    static const char *const bad[] = {"",    "MiB",    "-1",   "1.5G",
                                      "1 x", "64MiBB", "1 MM", "9223372036854775808",
                                      "1e3", "0x10",   " 1",   "8388608TiB"};
    int64_t n;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(size_parse(good[i].text, &n));
        assert_int_equal(n, good[i].bytes);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (size_parse(bad[i], &n))
            fail_msg("'%s' was taken for a size", bad[i]);
}

static void durations(void **state UNUSED)
{
    static const struct {
        const char *text;
        TimeUs us;
    } good[] = {{"500ms", 500000},
                {"30s", 30 * US_PER_SECOND},
                {"5min", 300 * US_PER_SECOND},
                {"5m", 300 * US_PER_SECOND},
                {"2h", 7200 * US_PER_SECOND},
                {"14d", 14 * 86400 * US_PER_SECOND},
                {"2w", 14 * 86400 * US_PER_SECOND},
                {"1h30min", 5400 * US_PER_SECOND},
                {"1 d 12 h", 36 * 3600 * US_PER_SECOND}};
    static const char *const bad[] = {
        "", "14", "s", "14x", "-1s", "1.5h", "14D", "1h30", "300000000000000d"};
    int64_t n;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(duration_parse(good[i].text, &n));
        assert_int_equal(n, good[i].us);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (duration_parse(bad[i], &n))
            fail_msg("'%s' was taken for a duration", bad[i]);
}

static void switches_and_names(void **state UNUSED)
{
    int64_t n;
    assert_true(bool_parse("Yes", &n) && n == 1);
    assert_true(bool_parse("off", &n) && n == 0);
    assert_true(bool_parse("1", &n) && n == 1);
    assert_false(bool_parse("maybe", &n));
    assert_false(bool_parse("", &n));
    assert_true(name_valid("app-1.prod_x"));
    assert_false(name_valid(""));
    assert_false(name_valid(".hidden"));
    assert_false(name_valid("a/b"));
    assert_false(name_valid("a b"));
    assert_true(name_valid("a234567890123456789012345678901234567890"));
    assert_false(name_valid("a2345678901234567890123456789012345678901"));
}

/* What is refused, and in which words. */
static void refusals(void **state UNUSED)
{
    static const Origin typed = {.source = FROM_COMMAND_LINE};
    static const Origin file = {.source = FROM_FILE, .file = "/etc/pgdr/pgdr.conf", .line = 3};
    static const Origin env = {.source = FROM_ENVIRONMENT, .variable = "PGDR_X"};
    static const struct {
        OptId id;
        const char *text;
        const Origin *origin;
        const char *message;
    } cases[] = {
        {OPT_JOBS, "x", &file,
         "\"jobs\" must be a whole number from 1 to 256, not \"x\" (in /etc/pgdr/pgdr.conf line "
         "3)"},
        {OPT_JOBS, "0", &typed, "--jobs must be a whole number from 1 to 256, not \"0\""},
        {OPT_JOBS, "257", &env,
         "\"jobs\" must be a whole number from 1 to 256, not \"257\" (from PGDR_X)"},
        {OPT_JOBS, "1 # two", &file, "not \"1 # two\" (in /etc/pgdr/pgdr.conf line 3)"},
        {OPT_JOBS, "", &typed, "--jobs needs a value: a whole number from 1 to 256"},
        {OPT_MAX_RATE, "12", &typed,
         "--max-rate must be a size such as 64MiB, from 64 KiB to 1 PiB, not \"12\""},
        {OPT_IO_TIMEOUT, "60", &typed,
         "--io-timeout must be a duration with its unit such as 30s, 5min, 2h or 14d, from 1s to "
         "1h, not \"60\""},
        {OPT_OUTPUT, "xml", &typed, "--output must be text or json, not \"xml\""},
        {OPT_LOG_FORMAT, "x", &typed, "must be auto, plain, text or json, not"},
        {OPT_S3_VERIFY_TLS, "maybe", &file, "\"s3-verify-tls\" must be y or n, not \"maybe\""},
        {OPT_CLUSTER, "a/b", &typed, "--cluster must be a name of up to 40 letters"},
        {OPT_SPOOL, "spool", &file, "\"spool\" must be an absolute path, not \"spool\""},
        {OPT_URL, "backup", &env, "\"url\" must be an absolute path or s3://BUCKET/PREFIX"},
        {OPT_URL, "gs://bucket", &typed, "--url must be a directory or s3://BUCKET/PREFIX"},
        {OPT_URL, "s3://", &typed, "--url must be a directory or s3://BUCKET/PREFIX"},
        {OPT_LABEL, "two\nlines", &typed, "--label must be a line of text"},
        {OPT_S3_SECRET, "", &file, "\"s3-secret\" needs a value: a line of text (in"},
        {OPT_S3_SECRET, "geheim\r", &file, "\"s3-secret\" must be a line of text (in"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Value v = {0};
        expect_err(cases[i].origin == &typed ? ERR_USAGE : ERR_CONFIG, cases[i].message,
                   value_set(&v, cases[i].id, cases[i].text, cases[i].origin, err));
        assert_int_equal(v.source, FROM_NOWHERE);
    }
}

static void secret_is_not_told(void **state UNUSED)
{
    Origin file = {.source = FROM_FILE, .file = "f", .line = 1};
    Value v = {0};
    Err err = {0};
    assert_int_equal(value_set(&v, OPT_S3_SECRET, "geheim\r", &file, &err), ERR_CONFIG);
    assert_null(strstr(err.message, "geheim"));
}

static void paths_become_absolute(void **state UNUSED)
{
    Origin typed = {.source = FROM_COMMAND_LINE};
    Value v = {0};
    char cwd[4096];
    assert_non_null(getcwd(cwd, sizeof(cwd)));
    char *want AUTO(mem_freep) = mem_printf("%s/here", cwd);
    expect_ok(value_set(&v, OPT_TO, "here", &typed, err));
    assert_string_equal(v.text, want);
    expect_ok(value_set(&v, OPT_URL, "./here", &typed, err));
    assert_string_equal(v.text, want);
    expect_ok(value_set(&v, OPT_URL, "s3://bucket/a", &typed, err));
    assert_string_equal(v.text, "s3://bucket/a");
    value_release(&v);
}

static void jobs_default(void **state UNUSED)
{
    Value v = {0};
    value_set_default(&v, OPT_JOBS);
    assert_int_equal(v.source, FROM_DEFAULT);
    assert_in_range(v.number, 1, 256);
    value_release(&v);
}

/* --- suggestions --- */

static void distances(void **state UNUSED)
{
    assert_int_equal(word_distance("", ""), 0);
    assert_int_equal(word_distance("jobs", "jobs"), 0);
    assert_int_equal(word_distance("job", "jobs"), 1);
    assert_int_equal(word_distance("jbos", "jobs"), 1);
    assert_int_equal(word_distance("kitten", "sitting"), 3);
    char longer[200];
    memset(longer, 'a', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    assert_true(word_distance(longer, "jobs") > 20);
}

static void suggestions(void **state UNUSED)
{
    assert_string_equal(option_suggest("job", CMD_BACKUP), "jobs");
    assert_string_equal(option_suggest("process-max", CMD_BACKUP), "jobs");
    assert_string_equal(option_suggest("stanza", CMD_COUNT), "cluster");
    assert_string_equal(option_suggest("set", CMD_RESTORE), "backup");
    assert_string_equal(option_suggest("targettime", CMD_RESTORE), "target-time");
    assert_null(option_suggest("xyzzy", CMD_BACKUP));
    assert_null(option_suggest("targettime", CMD_INFO));
    assert_string_equal(option_suggest_in_file("repo1-path"), "url");
    assert_null(option_suggest_in_file("delta"));
    assert_string_equal(command_suggest("bakcup"), "backup");
    assert_string_equal(command_suggest("stanza-create"), "init");
    assert_string_equal(command_suggest("repo-ls"), "repo ls");
    assert_null(command_suggest("frobnicate"));
    assert_false(word_in_list("a bc", "b"));
    assert_false(word_in_list("a bc", ""));
    assert_false(word_in_list(NULL, "b"));
}

/* --- the command line --- */

#define ARGV(...)                                                                                  \
    (char *const[])                                                                                \
    {                                                                                              \
        (char *)(intptr_t) "pgdr", __VA_ARGS__, NULL                                               \
    }
#define A(text) ((char *)(intptr_t)(text))

static int argv_len(char *const *argv)
{
    int n = 0;
    while (argv[n])
        n++;
    return n;
}

#define PARSE(args, ...)                                                                           \
    expect_ok(args_parse(args, argv_len(ARGV(__VA_ARGS__)), ARGV(__VA_ARGS__), err))
#define REFUSE(args, message, ...)                                                                 \
    expect_err(ERR_USAGE, message,                                                                 \
               args_parse(args, argv_len(ARGV(__VA_ARGS__)), ARGV(__VA_ARGS__), err))

static void args_in_any_order(void **state UNUSED)
{
    Args a;
    PARSE(&a, A("--jobs=4"), A("backup"), A("--cluster"), A("app"), A("-q"));
    assert_int_equal(a.command, CMD_BACKUP);
    assert_int_equal(a.words.n, 0);
    assert_string_equal(args_find(&a, OPT_JOBS), "4");
    assert_string_equal(args_find(&a, OPT_CLUSTER), "app");
    assert_string_equal(args_find(&a, OPT_QUIET), "y");
    assert_null(args_find(&a, OPT_VERBOSE));
    args_release(&a);

    PARSE(&a, A("--cluster"), A("info"), A("archive-push"), A("pg_wal/1"));
    assert_int_equal(a.command, CMD_ARCHIVE_PUSH);
    assert_string_equal(a.words.at[0], "pg_wal/1");
    args_release(&a);

    PARSE(&a, A("repo"), A("ls"), A("-rq"), A("--no-s3-verify-tls"), A("--"), A("--odd"));
    assert_int_equal(a.command, CMD_REPO_LS);
    assert_string_equal(a.words.at[0], "--odd");
    assert_string_equal(args_find(&a, OPT_RECURSE), "y");
    assert_string_equal(args_find(&a, OPT_S3_VERIFY_TLS), "n");
    args_release(&a);
}

/* One name, two options: the command says which, wherever it stands. */
static void args_shared_names(void **state UNUSED)
{
    Args a;
    PARSE(&a, A("--type=time"), A("restore"));
    assert_string_equal(args_find(&a, OPT_RESTORE_TYPE), "time");
    assert_null(args_find(&a, OPT_BACKUP_TYPE));
    args_release(&a);
    PARSE(&a, A("backup"), A("--type"), A("full"));
    assert_string_equal(args_find(&a, OPT_BACKUP_TYPE), "full");
    args_release(&a);
}

static void args_lists(void **state UNUSED)
{
    Args a;
    PARSE(&a, A("restore"), A("--tablespace-map=1=/a"), A("--tablespace-map=2=/b"));
    assert_int_equal(a.given.n, 2);
    assert_string_equal(a.given.at[1].value, "2=/b");
    args_release(&a);
}

static void args_help_without_command(void **state UNUSED)
{
    Args a;
    PARSE(&a, A("--help"));
    assert_int_equal(a.command, CMD_HELP);
    args_release(&a);
    PARSE(&a, A("-V"));
    assert_int_equal(a.command, CMD_VERSION);
    args_release(&a);
    PARSE(&a, A("archive-get"), A("--help")); /* without its arguments */
    assert_int_equal(a.command, CMD_ARCHIVE_GET);
    args_release(&a);
}

static void expect_hint(const char *part, char *const *argv)
{
    Args a;
    Err err = {0};
    assert_int_equal(args_parse(&a, argv_len(argv), argv, &err), ERR_USAGE);
    if (!strstr(err.hint, part))
        fail_msg("%s: the hint '%s' lacks '%s'", err.message, err.hint, part);
    args_release(&a);
}

static void args_refused(void **state UNUSED)
{
    Args a;
    REFUSE(&a, "there is no option --jbos", A("backup"), A("--jbos=1"));
    args_release(&a);
    REFUSE(&a, "there is no option --frob", A("backup"), A("--no-frob"));
    args_release(&a);
    REFUSE(&a, "there is no option -x", A("backup"), A("-x"));
    args_release(&a);
    REFUSE(&a, "the command info does not take --delta", A("info"), A("--delta"));
    args_release(&a);
    REFUSE(&a, "--jobs is given twice", A("backup"), A("--jobs=1"), A("--jobs=2"));
    args_release(&a);
    REFUSE(&a, "there is no option --no-jobs", A("backup"), A("--no-jobs=1"));
    args_release(&a);
    REFUSE(&a, "--jobs takes a value and cannot be negated", A("backup"), A("--no-jobs"));
    args_release(&a);
    REFUSE(&a, "--jobs needs a value", A("backup"), A("--jobs"));
    args_release(&a);
    REFUSE(&a, "--target needs a value", A("restore"), A("--target"), A("--delta"));
    args_release(&a);
    REFUSE(&a, "there is no command 'bakcup'", A("bakcup"));
    args_release(&a);
    REFUSE(&a, "no command is given", A("--quiet"));
    args_release(&a);
    REFUSE(&a, "the command 'repo' is not complete", A("repo"));
    args_release(&a);
    REFUSE(&a, "there is no command 'repo lst'", A("repo"), A("lst"));
    args_release(&a);
    REFUSE(&a, "archive-push lacks an argument: it takes WAL-FILE", A("archive-push"));
    args_release(&a);
    REFUSE(&a, "backup takes no arguments, and 'x' is more than that", A("backup"), A("x"));
    args_release(&a);
    REFUSE(&a, "--s3-secret on the command line would show", A("backup"), A("--s3-secret=geheim"));
    args_release(&a);

    expect_hint("did you mean --jobs?", ARGV(A("backup"), A("--jbos=1")));
    expect_hint("did you mean --cluster?", ARGV(A("backup"), A("--stanza=x")));
    expect_hint("pgdr help backup", ARGV(A("backup"), A("--xyzzy")));
    expect_hint("pgdr help info", ARGV(A("info"), A("--delta")));
    expect_hint("did you mean backup?", ARGV(A("bakcup")));
    expect_hint("repo ls or repo get", ARGV(A("repo")));
    expect_hint("PGDR_S3_SECRET", ARGV(A("backup"), A("--s3-secret=geheim")));
}

/* Whose failure it is, and how to report it, is known in spite of the failure. */
static void args_known_after_failure(void **state UNUSED)
{
    Args a;
    Err err = {0};
    char *const *argv = ARGV(A("--frob"), A("archive-get"), A("a"), A("b"), A("--output=json"));
    assert_int_equal(args_parse(&a, argv_len(argv), argv, &err), ERR_USAGE);
    assert_int_equal(a.command, CMD_ARCHIVE_GET);
    assert_string_equal(args_find(&a, OPT_OUTPUT), "json");
    args_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_sound),
        cmocka_unit_test(commands_are_sound),
        cmocka_unit_test(sizes),
        cmocka_unit_test(durations),
        cmocka_unit_test(switches_and_names),
        cmocka_unit_test(refusals),
        cmocka_unit_test(secret_is_not_told),
        cmocka_unit_test(paths_become_absolute),
        cmocka_unit_test(jobs_default),
        cmocka_unit_test(distances),
        cmocka_unit_test(suggestions),
        cmocka_unit_test(args_in_any_order),
        cmocka_unit_test(args_shared_names),
        cmocka_unit_test(args_lists),
        cmocka_unit_test(args_help_without_command),
        cmocka_unit_test(args_refused),
        cmocka_unit_test(args_known_after_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
