/* Leases (docs/repository-format.md, 12): live, lapsed, of a process that is gone, of another host.
 */

#include "tests/unit/unit.h"

#include <unistd.h>

#include "lib/common/hex.h"
#include "lib/common/procid.h"
#include "lib/repo/publish.h"
#include "tests/unit/mem_repo.h"

#define ID "20260101T000000Z-00000000000000aa"
#define OTHER_ID "20250101T000000Z-00000000000000bb"
#define MINUTE (60 * US_PER_SECOND)

static void put_lease(Repo *repo, const char *name, const char *what, const char *process,
                      const char *id)
{
    char *full AUTO(mem_freep) = mem_printf("leases/%s", name);
    json_t *body AUTO(json_decrefp) =
        json_pack("{s:s,s:s,s:i,s:I,s:[s]}", "what", what, "host", "h", "pid", 1, "since",
                  (json_int_t)0, "backups", id);
    if (process)
        json_object_set_new(body, "process", json_string(process));
    expect_ok(document_put_json(repo, full, KIND_MARK, body, STORAGE_OVERWRITE, NULL, err));
}

static void expect_list(StrList *ids, const char *want)
{
    Buf got AUTO(buf_release) = {0};
    for (size_t i = 0; i < ids->n; i++)
        buf_printf(&got, "%s%s", i ? " " : "", ids->at[i]);
    assert_string_equal(buf_str(&got), want);
    str_list_release(ids);
}

static void expect_live(Repo *repo, const char *want)
{
    StrList ids = {0};
    expect_ok(lease_backups(repo, &ids, err));
    expect_list(&ids, want);
}

static void expect_makers(Repo *repo, const char *live, const char *left)
{
    StrList ids = {0}, others = {0};
    expect_ok(lease_makers(repo, &ids, &others, err));
    expect_list(&ids, live);
    expect_list(&others, left);
}

static void what_a_lease_says(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    StrList ids AUTO(str_list_release) = {0};
    Lease *lease = NULL;
    json_t *body AUTO(json_decrefp) = NULL;
    char host[256] = "", process[PROCID_MAX];
    vec_push(&ids, mem_strdup(ID));
    vec_push(&ids, mem_strdup(OTHER_ID));
    expect_ok(lease_take(repo, LEASE_BACKUP, &ids, &lease, err));
    char *name AUTO(mem_freep) = mem_only(repo, "leases/");
    assert_true(strlen(name) == 39 && hex_is_lower(name + 7, 32));
    expect_ok(document_get_json(repo, name, KIND_MARK, &body, NULL, err));
    gethostname(host, sizeof(host) - 1);
    procid_self(process);
    assert_string_equal(json_string_value(json_object_get(body, "what")), "backup");
    assert_string_equal(json_string_value(json_object_get(body, "host")), host);
    assert_int_equal(json_integer_value(json_object_get(body, "pid")), getpid());
    assert_string_equal(json_string_value(json_object_get(body, "process")), process);
    TimeUs since = json_integer_value(json_object_get(body, "since"));
    assert_in_range(since, time_now() - MINUTE, time_now());
    assert_int_equal(json_array_size(json_object_get(body, "backups")), 2);
    expect_live(repo, OTHER_ID " " ID); /* sorted */
    expect_makers(repo, OTHER_ID " " ID, "");
    storage_mem_advance(repo->storage, 15 * MINUTE);
    expect_makers(repo, "", OTHER_ID " " ID);
    lease_release(lease);
    assert_int_equal(mem_count(repo, "leases/"), 0);
    expect_live(repo, "");
    lease_release(NULL);
}

/* By the storage's clock, to the microsecond. */
static void a_lease_lapses(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    put_lease(repo, "x", LEASE_BACKUP, "", ID);
    storage_mem_advance(repo->storage, 15 * MINUTE - 1);
    expect_live(repo, ID);
    storage_mem_advance(repo->storage, 1);
    expect_live(repo, "");
    expect_makers(repo, "", ID);                /* nobody took it away */
    put_lease(repo, "x", LEASE_BACKUP, "", ID); /* its holder is back */
    expect_makers(repo, ID, "");
    expect_live(repo, ID);
}

static void processes(void **state)
{
    (void)state;
    char self[PROCID_MAX], gone[PROCID_MAX + 1], elsewhere[PROCID_MAX + 1];
    procid_self(self);
    snprintf(gone, sizeof(gone), "%s0", self);          /* the pid was given to another one since */
    snprintf(elsewhere, sizeof(elsewhere), "%s", gone); /* another boot, or another machine */
    elsewhere[0] = elsewhere[0] == '0' ? '1' : '0';
    const struct {
        const char *process;
        bool live;
    } cases[] = {{self, true}, {gone, false}, {elsewhere, true},
                 {"", true},   {NULL, true},  {"x/y", true}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
        put_lease(repo, "x", LEASE_BACKUP, cases[i].process, ID);
        expect_live(repo, cases[i].live ? ID : "");
        expect_makers(repo, cases[i].live ? ID : "", cases[i].live ? "" : ID);
    }
}

/* A lease of who only reads says nothing about how a backup was made. */
static void who_makes_a_backup(void **state)
{
    (void)state;
    const struct {
        const char *what;
        bool makes;
    } cases[] = {{"backup", true}, {"copy", true}, {"restore", false}, {"source of a copy", false},
                 {"heal", false},  {"", false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
        put_lease(repo, "x", cases[i].what, "", ID);
        expect_live(repo, ID);
        expect_makers(repo, cases[i].makes ? ID : "", "");
    }
}

/* Who would remove something must know all leases; who only explains need not. */
static void leases_that_cannot_be_read(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    StrList ids AUTO(str_list_release) = {0};
    put_lease(repo, "x", LEASE_BACKUP, "", ID);
    mem_put(repo, "leases/a", "no object", 9);
    expect_err(ERR_DAMAGED, "app/leases/a", lease_backups(repo, &ids, err));
    expect_makers(repo, ID, "");
    storage_mem_advance(repo->storage, 15 * MINUTE);
    expect_live(repo, ""); /* it has lapsed, whatever it said */
    mem_remove(repo, "leases/a");
    const char *strange[] = {"{\"what\":\"backup\",\"backups\":[7,\"" ID "\",null]}",
                             "{\"what\":\"backup\",\"backups\":[]}"};
    for (size_t i = 0; i < ARRAY_LEN(strange); i++) {
        expect_ok(document_put(repo, "leases/x", KIND_MARK, strange[i], strlen(strange[i]),
                               STORAGE_OVERWRITE, NULL, err));
        expect_live(repo, i ? "" : ID);
    }
    const char *none = "{\"what\":\"backup\"}";
    expect_ok(document_put(repo, "leases/x", KIND_MARK, none, strlen(none), STORAGE_OVERWRITE, NULL,
                           err));
    expect_err(ERR_DAMAGED, "\"backups\"", lease_backups(repo, &ids, err));
}

/* A repository that takes no writes cannot tell its time; then our own clock must do. */
static void a_storage_without_a_clock(void **state)
{
    (void)state;
    const struct {
        ErrCode code;
        bool helps;
    } cases[] = {{ERR_ACCESS, true}, {ERR_NO_SPACE, true}, {ERR_IO, true}, {ERR_NETWORK, false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        FaultSpec none = {.ops = STORAGE_OP_NOW},
                  fault = {.ops = STORAGE_OP_NOW, .nth = 1, .code = cases[i].code};
        Storage *mem = storage_mem_new(false), *faulty = storage_fault_new(mem, &none);
        Repo *repo AUTO(repo_closep) = mem_repo_in(faulty, CIPHER_NONE);
        StrList ids AUTO(str_list_release) = {0};
        TimeUs at;
        expect_ok(repo_now(repo, &at, err));
        storage_mem_advance(mem, time_now() - at);
        put_lease(repo, "x", LEASE_BACKUP, "", ID);
        storage_fault_set(faulty, &fault);
        if (cases[i].helps)
            expect_live(repo, ID);
        else
            expect_err(cases[i].code, "", lease_backups(repo, &ids, err));
        mem_remove(repo, "leases/x");
        expect_live(repo, ""); /* without leases nobody asks for the time */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_lease_says),
        cmocka_unit_test(a_lease_lapses),
        cmocka_unit_test(processes),
        cmocka_unit_test(who_makes_a_backup),
        cmocka_unit_test(leases_that_cannot_be_read),
        cmocka_unit_test(a_storage_without_a_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
