/* Configuration: what wins over what, which sections are meant, and every way to get it wrong. */

#include <sys/stat.h>

#include "cli/environment.h"
#include "cli/settings.h"
#include "lib/common/file.h"
#include "tests/unit/unit.h"

static char dir[] = "/tmp/pgdr-test-XXXXXX";
static char conf[64];

#define WORDS_MAX 16
/* A session token has a thousand bytes or two. */
#define CONF_LINE_TEST 5000

/* One call of pgdr: a configuration file's text (NULL: an empty one), variables and arguments. */
typedef struct Call {
    const char *file;
    bool own_config; /* variables or arguments name the file */
    const char *env[WORDS_MAX];
    const char *argv[WORDS_MAX];
} Call;

static ErrCode run(const Call *call, Settings **ret, Err *err)
{
    char config[80];
    char *argv[WORDS_MAX + 3], *env[WORDS_MAX + 1];
    int argc = 0, n = 0;
    snprintf(config, sizeof(config), "--config=%s", conf);
    argv[argc++] = config; /* stands for the program's name */
    const char *text = call->file ? call->file : "";
    if (!call->own_config) { /* else a configuration of this host could be read */
        TRY(file_replace(conf, text, strlen(text), 0600, err));
        argv[argc++] = config;
    }
    for (int i = 0; call->argv[i]; i++)
        argv[argc++] = mem_strdup(call->argv[i]);
    argv[argc] = NULL;
    for (; call->env[n]; n++)
        env[n] = mem_strdup(call->env[n]);
    env[n] = NULL;

    Args args;
    ErrCode rc = args_parse(&args, argc, argv, err);
    if (rc == ERR_OK)
        rc = settings_load(&args, env, ret, err);
    args_release(&args);
    for (int i = call->own_config ? 1 : 2; i < argc; i++)
        free(argv[i]);
    for (int i = 0; i < n; i++)
        free(env[i]);
    return rc;
}

static Settings *load(const Call *call)
{
    Settings *s = NULL;
    expect_ok(run(call, &s, err));
    return s;
}

#define LOAD(...) load(&(Call){__VA_ARGS__})

static void refuse(const Call *call, ErrCode code, const char *message, const char *hint)
{
    Settings *s AUTO(settings_freep) = NULL;
    Err err = {0};
    ErrCode rc = run(call, &s, &err);
    if (rc != code || !strstr(err.message, message) || !strstr(err.hint, hint))
        fail_msg("%s: '%s' HINT '%s', expected %s: '%s' HINT '%s'", err_code_name(rc), err.message,
                 err.hint, code == ERR_USAGE ? "usage" : "config", message, hint);
}

#define CONFIG_WRONG(message, hint, ...)                                                           \
    refuse(&(Call){.argv = {"config"}, __VA_ARGS__}, ERR_CONFIG, message, hint)

/* --- precedence --- */

static const char two_of_each[] = "[global]\n"
                                  "jobs = 2\n"
                                  "\n"
                                  "[repo main]\n"
                                  "url = /srv/main\n"
                                  "s3-region = file\n"
                                  "[repo off-site]\n"
                                  "url = s3://bucket/x\n"
                                  "[cluster app]\n"
                                  "data-directory = /srv/app\n"
                                  "port = 5433\n"
                                  "[cluster crm]\n"
                                  "data-directory = /srv/crm\n";

static void expect_number(const Settings *s, OptId id, int64_t number, OptSource source)
{
    assert_int_equal(s->global.at[id].number, number);
    assert_int_equal(s->global.at[id].source, source);
}

static void precedence(void **state UNUSED)
{
    Settings *s = LOAD(.argv = {"config", "--compress-level=3"}, .env = {"PGDR_MAX_RATE=1GiB"},
                       .file = "[global]\n");
    expect_number(s, OPT_COMPRESS_LEVEL, 3, FROM_COMMAND_LINE);
    expect_number(s, OPT_MAX_RATE, INT64_C(1) << 30, FROM_ENVIRONMENT);
    expect_number(s, OPT_IO_TIMEOUT, 60000000, FROM_DEFAULT);
    assert_string_equal(s->global.at[OPT_MAX_RATE].variable, "PGDR_MAX_RATE");
    settings_free(s);

    static const char file[] = "[global]\njobs = 2\n";
    s = LOAD(.file = file, .argv = {"config"});
    expect_number(s, OPT_JOBS, 2, FROM_FILE);
    assert_int_equal(s->global.at[OPT_JOBS].line, 2);
    settings_free(s);
    s = LOAD(.file = file, .env = {"PGDR_JOBS=3"}, .argv = {"config"});
    expect_number(s, OPT_JOBS, 3, FROM_ENVIRONMENT);
    settings_free(s);
    s = LOAD(.file = file, .env = {"PGDR_JOBS=3"}, .argv = {"config", "--jobs=4"});
    expect_number(s, OPT_JOBS, 4, FROM_COMMAND_LINE);
    settings_free(s);
    s = LOAD(.file = file, .env = {"PGDR_JOBS="}, .argv = {"config"});
    expect_number(s, OPT_JOBS, 2, FROM_FILE); /* empty is not set */
    settings_free(s);
}

static void config_from_environment(void **state UNUSED)
{
    char variable[80];
    snprintf(variable, sizeof(variable), "PGDR_CONFIG=%s", conf);
    Err err = {0};
    assert_int_equal(file_replace(conf, "[global]\njobs=7\n", 16, 0600, &err), ERR_OK);
    Settings *s = LOAD(.own_config = true, .env = {variable}, .argv = {"config"});
    expect_number(s, OPT_JOBS, 7, FROM_FILE);
    settings_free(s);
}

static const char *repo_text(const Settings *s, size_t i, OptId id)
{
    return s->used.at[i]->at[id].text;
}

static void repos(void **state UNUSED)
{
    Settings *s = LOAD(.file = two_of_each, .argv = {"config"});
    assert_int_equal(s->used.n, 2);
    assert_string_equal(s->used.at[0]->name, "main");
    assert_string_equal(s->used.at[1]->name, "off-site");
    assert_string_equal(repo_text(s, 0, OPT_ENCRYPTION), "none");
    settings_free(s);

    s = LOAD(.file = two_of_each, .argv = {"config", "--repo=off-site"});
    assert_int_equal(s->used.n, 1);
    assert_string_equal(repo_text(s, 0, OPT_URL), "s3://bucket/x");
    settings_free(s);

    /* The chosen one is meant by options and general variables, each by its own variables. */
    s = LOAD(.file = two_of_each, .argv = {"config", "--s3-style=path"},
             .env = {"PGDR_S3_REGION=general", "PGDR_REPO_OFF_SITE_S3_REGION=own",
                     "PGDR_REPO_OFF_SITE_S3_STYLE=path"});
    assert_int_equal(s->used.n, 2);
    assert_string_equal(repo_text(s, 0, OPT_S3_REGION), "general");
    assert_string_equal(repo_text(s, 0, OPT_S3_STYLE), "path");
    assert_string_equal(repo_text(s, 1, OPT_S3_REGION), "own");
    assert_int_equal(s->used.at[1]->at[OPT_S3_STYLE].source, FROM_ENVIRONMENT);
    settings_free(s);

    s = LOAD(.file = two_of_each, .argv = {"config"},
             .env = {"PGDR_S3_REGION=general", "PGDR_REPO_MAIN_S3_REGION=own"});
    assert_string_equal(repo_text(s, 0, OPT_S3_REGION), "own");
    settings_free(s);
}

static void url_makes_a_repo(void **state UNUSED)
{
    Settings *s = LOAD(.argv = {"info", "--url=/mnt/x"});
    assert_int_equal(s->used.n, 1);
    assert_string_equal(s->used.at[0]->name, "main");
    assert_string_equal(repo_text(s, 0, OPT_URL), "/mnt/x");
    assert_string_equal(s->global.at[OPT_REPO].text, "main");
    assert_int_equal(s->global.at[OPT_REPO].source, FROM_DEFAULT);
    settings_free(s);

    s = LOAD(.file = two_of_each, .argv = {"info"}, .env = {"PGDR_URL=/mnt/y"});
    assert_int_equal(s->used.n, 1); /* only this one, with what the file says of the first */
    assert_string_equal(repo_text(s, 0, OPT_URL), "/mnt/y");
    assert_string_equal(repo_text(s, 0, OPT_S3_REGION), "file");
    settings_free(s);

    s = LOAD(.file = two_of_each, .argv = {"info", "--repo=third", "--url=/mnt/z"});
    assert_int_equal(s->used.n, 1);
    assert_string_equal(s->used.at[0]->name, "third");
    settings_free(s);
}

static void clusters(void **state UNUSED)
{
    Settings *s = LOAD(.file = two_of_each, .argv = {"backup", "--cluster=crm", "--port=1"},
                       .env = {"PGDR_USER=me"});
    assert_string_equal(s->cluster->name, "crm");
    assert_int_equal(s->cluster->at[OPT_PORT].number, 1);
    assert_string_equal(s->cluster->at[OPT_USER].text, "me");
    assert_int_equal(s->clusters.at[0]->at[OPT_PORT].number, 5433);
    assert_string_equal(s->clusters.at[0]->at[OPT_USER].text, "postgres");
    settings_free(s);

    s = LOAD(.file = two_of_each, .argv = {"info"}); /* takes one, needs none */
    assert_null(s->cluster);
    settings_free(s);
    s = LOAD(.file = two_of_each, .argv = {"info", "--cluster=elsewhere"});
    assert_string_equal(s->cluster->name, "elsewhere");
    settings_free(s);

    s = LOAD(.file = "[cluster app]\n", .argv = {"backup", "--url=/mnt/x"});
    assert_string_equal(s->cluster->name, "app"); /* the only one; an empty section counts */
    assert_string_equal(s->global.at[OPT_CLUSTER].text, "app");
    settings_free(s);

    s = LOAD(.argv = {"backup", "--url=/mnt/x", "--cluster=new", "--data-directory=/srv/new"});
    assert_string_equal(s->cluster->name, "new");
    assert_string_equal(s->cluster->at[OPT_DATA_DIRECTORY].text, "/srv/new");
    settings_free(s);
}

static void lists(void **state UNUSED)
{
    Settings *s =
        LOAD(.file = two_of_each, .argv = {"restore", "--cluster=app", "--tablespace-map=1=/a",
                                           "--tablespace-map=/ts=/b"});
    assert_int_equal(s->tablespace_map.n, 2);
    assert_string_equal(s->tablespace_map.at[1], "/ts=/b");
    settings_free(s);
}

/* --- credentials of others' variables --- */

static void aws_variables(void **state UNUSED)
{
    static const char plain[] = "[repo main]\nurl = s3://b\n";
    static const char keyed[] = "[repo main]\nurl = s3://b\ns3-key = k\ns3-secret = s\n";
    Settings *s = LOAD(.file = plain, .argv = {"config"},
                       .env = {"AWS_ACCESS_KEY_ID=ak", "AWS_SECRET_ACCESS_KEY=as",
                               "AWS_SESSION_TOKEN=at", "AWS_REGION=eu"});
    assert_string_equal(repo_text(s, 0, OPT_S3_KEY), "ak");
    assert_string_equal(repo_text(s, 0, OPT_S3_SECRET), "as");
    assert_string_equal(repo_text(s, 0, OPT_S3_TOKEN), "at");
    assert_string_equal(repo_text(s, 0, OPT_S3_REGION), "eu");
    assert_int_equal(s->used.at[0]->at[OPT_S3_KEY].source, FROM_FALLBACK);
    settings_free(s);

    /* A token of other credentials would only be refused by the server. */
    s = LOAD(.file = keyed, .argv = {"config"},
             .env = {"AWS_ACCESS_KEY_ID=ak", "AWS_SESSION_TOKEN=at"});
    assert_string_equal(repo_text(s, 0, OPT_S3_KEY), "k");
    assert_null(repo_text(s, 0, OPT_S3_TOKEN));
    settings_free(s);

    s = LOAD(.argv = {"info", "--url=/mnt/x"}, .env = {"AWS_ACCESS_KEY_ID=ak"});
    assert_null(repo_text(s, 0, OPT_S3_KEY));
    settings_free(s);
}

/* --- the file's form --- */

static const char *global_text(const Settings *s, OptId id)
{
    return s->global.at[id].text;
}

static void form_of_the_file(void **state UNUSED)
{
    Settings *s = LOAD(.argv = {"config"}, .file = "\xef\xbb\xbf# comment\r\n"
                                                   "; another\r\n"
                                                   "  # indented\n"
                                                   "[global]\r\n"
                                                   "\tjobs=3\r\n"
                                                   "   compress-level =   5  \n"
                                                   "[repo   main]\n"
                                                   "  url = /a b\n"
                                                   "  s3-secret = a#b ;c #d = e \"f\n"
                                                   "  passphrase-command = \"x y\" \"z\"\n"
                                                   "[cluster app]\n"
                                                   "user = me");
    assert_string_equal(global_text(s, OPT_JOBS), "3");
    assert_string_equal(global_text(s, OPT_COMPRESS_LEVEL), "5");
    assert_int_equal(s->global.at[OPT_COMPRESS_LEVEL].line, 6);
    assert_string_equal(repo_text(s, 0, OPT_URL), "/a b");
    assert_string_equal(repo_text(s, 0, OPT_S3_SECRET), "a#b ;c #d = e \"f");
    assert_string_equal(repo_text(s, 0, OPT_PASSPHRASE_COMMAND), "\"x y\" \"z\"");
    assert_string_equal(s->cluster->at[OPT_USER].text, "me"); /* no newline at the end */
    settings_free(s);
    s = LOAD(.argv = {"config"}, .file = "");
    assert_int_equal(s->repos.n, 0);
    settings_free(s);
}

/* inih alone would cut a line at 200 bytes. */
static void long_values(void **state UNUSED)
{
    char *token AUTO(mem_freep) = mem_zero(CONF_LINE_TEST + 1);
    memset(token, 'x', CONF_LINE_TEST);
    char *file AUTO(mem_freep) = mem_printf("[repo main]\ns3-token = %s\nurl = /a\n", token);
    Settings *s = LOAD(.argv = {"config"}, .file = file);
    assert_string_equal(repo_text(s, 0, OPT_S3_TOKEN), token);
    assert_string_equal(repo_text(s, 0, OPT_URL), "/a");
    settings_free(s);

    char *longer AUTO(mem_freep) = mem_printf("[repo main]\ns3-token = %s%s\n", token, token);
    CONFIG_WRONG("the line is longer than 8192 bytes (in", "", .file = longer);
}

static void wrong_files(void **state UNUSED)
{
    CONFIG_WRONG("there is no setting \"jbos\"", "did you mean \"jobs\"?",
                 .file = "[global]\njbos = 2\n");
    CONFIG_WRONG("pgdr.conf line 2)", "", .file = "[global]\njbos = 2\n");
    CONFIG_WRONG("there is no setting \"process-max\"", "did you mean \"jobs\"?",
                 .file = "[global]\nprocess-max = 2\n");
    CONFIG_WRONG("there is no setting \"xyzzy\"", "man pgdr", .file = "[global]\nxyzzy = 2\n");
    CONFIG_WRONG("\"jobs\" must be a whole number from 1 to 256, not \"x\" (in /tmp/", "",
                 .file = "[global]\njobs = x\n");
    CONFIG_WRONG("not \"2 # two\" (in /tmp/", "a comment must have a line of its own",
                 .file = "[global]\njobs = 2 # two\n");
    CONFIG_WRONG("\"jobs\" belongs in [global], not in [repo main]", "",
                 .file = "[repo main]\njobs = 2\n");
    CONFIG_WRONG("\"url\" belongs in [repo NAME], not in [global]", "",
                 .file = "[global]\nurl = /a\n");
    CONFIG_WRONG("\"port\" belongs in [cluster NAME], not in [repo x]", "",
                 .file = "[repo x]\nport = 1\n");
    CONFIG_WRONG("\"delta\" belongs on the command line (in", "", .file = "[global]\ndelta = y\n");
    CONFIG_WRONG("\"cluster\" belongs on the command line or in the environment (in", "",
                 .file = "[global]\ncluster = app\n");
    CONFIG_WRONG("\"jobs\" is set twice (in", "", .file = "[global]\njobs = 2\njobs = 3\n");
    CONFIG_WRONG("pgdr.conf lines 2 and 3)", "", .file = "[global]\njobs = 2\njobs = 3\n");
    CONFIG_WRONG("[repo a] begins twice (in", "", .file = "[repo a]\n[repo b]\n[repo a]\n");
    CONFIG_WRONG("pgdr.conf lines 1 and 3)", "", .file = "[repo a]\n[repo b]\n[repo a]\n");
    CONFIG_WRONG("[global] begins twice", "", .file = "[global]\n[global]\n");
    CONFIG_WRONG("there is no kind of section [repos main]", "did you mean [repo NAME]?",
                 .file = "[repos main]\n");
    CONFIG_WRONG("there is no kind of section [globl]", "did you mean [global]?",
                 .file = "[globl]\n");
    CONFIG_WRONG("there is no kind of section [main]", "the sections are", .file = "[main]\n");
    CONFIG_WRONG("there is no kind of section [global:backup]", "", .file = "[global:backup]\n");
    CONFIG_WRONG("a repository's name is up to 40", "", .file = "[repo]\n");
    CONFIG_WRONG("not \"a/b\" (in", "", .file = "[cluster a/b]\n");
    CONFIG_WRONG("there is a setting before the first section", "begin with [global]",
                 .file = "jobs = 2\n");
    CONFIG_WRONG("the line is neither [section], key = value nor # comment (in", "",
                 .file = "[global]\njobs\n");
    CONFIG_WRONG("the line is neither", "", .file = "[global]\n= 2\n");
    CONFIG_WRONG("the line is neither", "", .file = "[global]\njobs: 2\n");
    CONFIG_WRONG("a section is written [global]", "", .file = "[repo main\n");
    CONFIG_WRONG("a section is written [global]", "", .file = "[repo main] # comment\n");
    CONFIG_WRONG("a section is written [global]", "", .file = "[]\n");
    CONFIG_WRONG("the name of the section is too long", "",
                 .file = "[repo a234567890123456789012345678901234567890123456789012345]\n");
    CONFIG_WRONG("there is a control character in the line", "",
                 .file = "[global]\njobs = 2\001\n");
    CONFIG_WRONG("the value is in quotes", "without the quotes",
                 .file = "[repo main]\nurl = \"/var/lib/pgdr\"\n");
    CONFIG_WRONG("\"url\" needs a value", "", .file = "[repo main]\nurl =\n");
}

static void missing_files(void **state UNUSED)
{
    unlink(conf);
    char config[80], variable[80], directory[80];
    snprintf(config, sizeof(config), "--config=%s", conf);
    snprintf(variable, sizeof(variable), "PGDR_CONFIG=%s", conf);
    snprintf(directory, sizeof(directory), "--config=%s", dir);
    refuse(&(Call){.own_config = true, .argv = {"config", config}}, ERR_CONFIG,
           "there is no configuration file", "");
    refuse(&(Call){.own_config = true, .argv = {"config"}, .env = {variable}}, ERR_CONFIG,
           "there is no configuration file", "");
    refuse(&(Call){.own_config = true, .argv = {"config", directory}}, ERR_CONFIG, "is a directory",
           "");
    /* Neither help nor version looks for it. */
    settings_free(LOAD(.own_config = true, .argv = {"version", config}));
}

static void too_large_a_file(void **state UNUSED)
{
    size_t len = 1024 * 1024 + 1;
    char *text AUTO(mem_freep) = mem_zero(len + 1);
    memset(text, '\n', len);
    Settings *s = NULL;
    expect_err(ERR_LIMIT, "is larger than",
               run(&(Call){.argv = {"config"}, .file = text}, &s, err));
}

/* --- what commands need --- */

static void needs(void **state UNUSED)
{
    refuse(&(Call){.argv = {"backup"}, .file = "[repo main]\nurl = /a\n"}, ERR_CONFIG,
           "backup needs a cluster, and none is configured", "add [cluster NAME] to");
    refuse(&(Call){.argv = {"backup", "--url=/a"}, .file = two_of_each}, ERR_USAGE,
           "which cluster is meant? there are app, crm", "--cluster=app");
    refuse(&(Call){.argv = {"backup", "--cluster=ap"}, .file = two_of_each}, ERR_CONFIG,
           "there is no [cluster ap] in", "did you mean app?");
    refuse(&(Call){.argv = {"backup", "--cluster=zzzzzz"}, .file = two_of_each}, ERR_CONFIG,
           "there is no [cluster zzzzzz] in", "there are: app, crm");
    refuse(&(Call){.argv = {"info"}, .file = "[global]\n"}, ERR_CONFIG,
           "info needs a repository, and none is configured", "--url=DIR");
    refuse(&(Call){.argv = {"info"}, .file = "[repo a]\nurl=/a\n[repo b]\n"}, ERR_CONFIG,
           "the repository b has no url (in", "url = DIRECTORY");
    refuse(&(Call){.argv = {"info", "--repo=mian"}, .file = two_of_each}, ERR_CONFIG,
           "there is no [repo mian] in", "did you mean main?");
    refuse(&(Call){.argv = {"info", "--encryption=none"}, .file = ""}, ERR_CONFIG,
           "the repository main has no url", "url = ");
    refuse(&(Call){.argv = {"config", "--port=1"}, .file = two_of_each}, ERR_USAGE,
           "but not which cluster is meant", "--cluster=NAME");
    refuse(&(Call){.argv = {"info"}, .env = {"PGDR_JOBS=x"}, .file = two_of_each}, ERR_CONFIG,
           "not \"x\" (from PGDR_JOBS)", "");
    refuse(&(Call){.argv = {"info"}, .env = {"PGDR_REPO_MAIN_S3_STYLE=x"}, .file = two_of_each},
           ERR_CONFIG, "(from PGDR_REPO_MAIN_S3_STYLE)", "");
    refuse(&(Call){.argv = {"info", "--jobs=x"}, .file = two_of_each}, ERR_USAGE,
           "--jobs must be a whole number", "");
}

/* --- warnings --- */

static bool warned(const Settings *s, const char *part)
{
    for (size_t i = 0; i < s->warnings.n; i++)
        if (strstr(s->warnings.at[i], part))
            return true;
    return false;
}

static void warnings_of_variables(void **state UNUSED)
{
    Settings *s = LOAD(.file = two_of_each, .argv = {"info"},
                       .env = {"PGDR_JBOS=1", "PGDR_TARGET=x", "PGDR_REPO_MIAN_URL=/x",
                               "PGDR_XYZZYXYZZYXYZZY=1", "PGDR_JOBS=2", "PGDR_REPO=main",
                               "PGDR_REPO_OFF_SITE_URL=/off"});
    assert_true(warned(s, "PGDR_JBOS in the environment is ignored: did you mean PGDR_JOBS?"));
    assert_true(warned(s, "PGDR_TARGET in the environment is ignored: --target is for the"));
    assert_true(warned(s, "PGDR_REPO_MIAN_URL in the environment is ignored"));
    assert_true(warned(s, "PGDR_XYZZYXYZZYXYZZY in the environment is ignored: there is no such"));
    assert_int_equal(s->warnings.n, 4);
    settings_free(s);
}

static void warnings_of_the_file(void **state UNUSED)
{
    Settings *s = LOAD(.argv = {"config"}, .file = "[cluster a]\nhost = /run # socket\n");
    assert_true(warned(s, "a comment must have a line of its own (in"));
    settings_free(s);
    s = LOAD(.argv = {"config"}, .file = "[repo a]\ns3-secret = x # y\n");
    assert_int_equal(s->warnings.n, 0); /* a secret may look as it likes, and is not shown */
    settings_free(s);
}

static Settings *load_with_mode(const char *text, mode_t mode)
{
    char variable[80];
    Err err = {0};
    snprintf(variable, sizeof(variable), "PGDR_CONFIG=%s", conf);
    assert_int_equal(file_replace(conf, text, strlen(text), mode, &err), ERR_OK);
    assert_int_equal(chmod(conf, mode), 0);
    return LOAD(.own_config = true, .env = {variable}, .argv = {"config"});
}

static void warning_of_readable_secrets(void **state UNUSED)
{
    static const char secret[] = "[repo a]\ns3-secret = x\n", none[] = "[repo a]\nurl = /x\n";
    Settings *s = load_with_mode(secret, 0644);
    assert_true(warned(s, "holds secrets and every user of this host can read it: chmod o-r"));
    settings_free(s);
    s = load_with_mode(secret, 0640);
    assert_int_equal(s->warnings.n, 0);
    settings_free(s);
    s = load_with_mode(none, 0644);
    assert_int_equal(s->warnings.n, 0);
    settings_free(s);
}

static int set_up(void **state UNUSED)
{
    if (!mkdtemp(dir))
        return -1;
    snprintf(conf, sizeof(conf), "%s/pgdr.conf", dir);
    return 0;
}

static int tear_down(void **state UNUSED)
{
    Err err = {0};
    return dir_remove_tree(dir, false, &err) == ERR_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(precedence),
        cmocka_unit_test(config_from_environment),
        cmocka_unit_test(repos),
        cmocka_unit_test(url_makes_a_repo),
        cmocka_unit_test(clusters),
        cmocka_unit_test(lists),
        cmocka_unit_test(aws_variables),
        cmocka_unit_test(form_of_the_file),
        cmocka_unit_test(long_values),
        cmocka_unit_test(wrong_files),
        cmocka_unit_test(missing_files),
        cmocka_unit_test(too_large_a_file),
        cmocka_unit_test(needs),
        cmocka_unit_test(warnings_of_variables),
        cmocka_unit_test(warnings_of_the_file),
        cmocka_unit_test(warning_of_readable_secrets),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
