/* Publishing, retiring, sweeping and bringing back, one after the other: what each looks for, and
 * what it then does. That nothing goes wrong when they run at once is tests/model's. */

#include "tests/unit/unit.h"

#include "lib/repo/key_store.h"
#include "lib/repo/trash.h"
#include "tests/unit/mem_backup.h"
#include "tests/unit/mem_repo.h"

#define A "20260101T000000Z-00000000000000aa"
#define B "20260102T000000Z-00000000000000bb"
#define C "20260103T000000Z-00000000000000cc"
#define GRACE (2 * 3600 * US_PER_SECOND)
#define UUID "0123456789abcdef0123456789abcdef"

static ErrCode publish(Repo *repo, const MemBackup *b, Err *err)
{
    return backup_publish(repo, &b->summary, &b->packs, GRACE, STORAGE_CREATE, err);
}

static BackupState state_of(Repo *repo, const char *id)
{
    BackupStates states AUTO(backup_states_release) = {0};
    expect_ok(backup_states_read(repo, id, &states, err));
    BackupState s = states.n ? states.at[0] : (BackupState){.manifest = false};
    s.deleted.at = s.objects.at = NULL; /* of which only the numbers are left */
    return s;
}

static void expect_listed(Repo *repo, const char *id, bool listed)
{
    BackupState s = state_of(repo, id);
    assert_int_equal(backup_exists(&s) && !s.deleted.n, listed);
}

static void put_mark(Repo *repo, const char *id, const char *what)
{
    char *name AUTO(mem_freep) = backup_object_name(id, what);
    expect_ok(document_put(repo, name, KIND_MARK, "{}", 2, STORAGE_OVERWRITE, NULL, err));
}

static void put_trash(Repo *repo, const char *name)
{
    StrList names AUTO(str_list_release) = {0};
    vec_push(&names, mem_strdup("backups/" C "/manifest"));
    vec_push(&names, mem_strdup(name));
    expect_ok(trash_put(repo, &names, err));
}

/* --- publishing --- */

static void a_backup_comes_into_being(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    MemBackup b AUTO(mem_backup_release);
    mem_backup_begin(repo, A, NULL, &b);
    BackupState s = state_of(repo, A);
    assert_true(s.manifest && s.packs && !s.summary && !s.unknown && !s.going);
    assert_int_equal(s.objects.n, 4); /* key, manifest, manifest.0001, packs */
    expect_listed(repo, A, false);
    expect_ok(publish(repo, &b, err));
    expect_listed(repo, A, true);
    expect_err(ERR_EXISTS, "", publish(repo, &b, err));
    expect_listed(repo, A, true);
    expect_ok(backup_publish(repo, &b.summary, &b.packs, GRACE, STORAGE_OVERWRITE, err));
}

/* What an expire, or anything else, does to a backup before it is committed. */
static void remove_own_pack(Repo *repo)
{
    mem_remove(repo, "packs/" B "/0/d0");
}

static void remove_map_pack(Repo *repo)
{
    mem_remove(repo, "packs/" B "/0/m0");
}

static void remove_used_pack(Repo *repo)
{
    mem_remove(repo, "packs/" A "/0/d0");
}

static void cut_own_pack(Repo *repo)
{
    mem_put(repo, "packs/" B "/0/d0", "short", 5);
}

static void cut_used_pack(Repo *repo)
{
    mem_put(repo, "packs/" A "/0/d0", "short", 5);
}

static void trash_own_pack(Repo *repo)
{
    put_trash(repo, "packs/" B "/0/m0");
    storage_mem_advance(repo->storage, GRACE / 2);
}

static void trash_used_pack(Repo *repo)
{
    put_trash(repo, "packs/" A "/0/d0");
    storage_mem_advance(repo->storage, GRACE / 2);
}

static void trash_manifest(Repo *repo)
{
    put_trash(repo, "backups/" B "/manifest");
    storage_mem_advance(repo->storage, GRACE / 2);
}

static void damage_trash(Repo *repo)
{
    mem_put(repo, "trash/" UUID, "no object", 9);
    storage_mem_advance(repo->storage, GRACE / 2);
}

static void mark_it(Repo *repo)
{
    put_mark(repo, B, "going-" UUID);
}

static void remove_packs_list(Repo *repo)
{
    mem_remove(repo, "backups/" B "/packs");
}

static void remove_manifest(Repo *repo)
{
    mem_remove(repo, "backups/" B "/manifest");
}

static void remove_part(Repo *repo)
{
    mem_remove(repo, "backups/" B "/manifest.0001");
}

static void remove_all(Repo *repo)
{
    remove_manifest(repo);
    remove_packs_list(repo);
    remove_part(repo);
    mem_remove(repo, "backups/" B "/key");
}

static const struct {
    const char *what;
    void (*harm)(Repo *repo);
    ErrCode code;
    const char *says;
} harms[] = {
    {"own pack", remove_own_pack, ERR_CANCELLED, "packs/" B "/0/d0' in 'memory' is gone"},
    {"map pack", remove_map_pack, ERR_CANCELLED, "packs/" B "/0/m0"},
    {"used pack", remove_used_pack, ERR_CANCELLED, "packs/" A "/0/d0"},
    {"size of own pack", cut_own_pack, ERR_CANCELLED,
     "packs/" B "/0/d0' in 'memory' is gone or has"},
    {"size of used pack", cut_used_pack, ERR_CANCELLED, "packs/" A "/0/d0"},
    {"trash names own pack", trash_own_pack, ERR_CANCELLED, "is removing 'packs/" B "/0/m0'"},
    {"trash names used pack", trash_used_pack, ERR_CANCELLED, "is removing 'packs/" A "/0/d0'"},
    {"trash names manifest", trash_manifest, ERR_CANCELLED, "is removing 'backups/" B "/manifest'"},
    {"trash that cannot be read", damage_trash, ERR_DAMAGED, "trash/" UUID},
    {"mark", mark_it, ERR_CANCELLED, "an expire removed backup " B},
    {"packs list", remove_packs_list, ERR_CANCELLED, "an expire removed backup " B},
    {"manifest", remove_manifest, ERR_CANCELLED, "an expire removed backup " B},
    {"part of manifest", remove_part, ERR_CANCELLED, "an expire removed backup " B},
    {"everything", remove_all, ERR_CANCELLED, "an expire removed backup " B},
};

static void publishing_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(harms); i++) {
        Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
        MemBackup b AUTO(mem_backup_release);
        Err why = {0};
        mem_backup_put(repo, A, NULL);
        mem_backup_begin(repo, B, A, &b);
        harms[i].harm(repo);
        ErrCode rc = publish(repo, &b, &why);
        if (rc != harms[i].code || !strstr(why.message, harms[i].says))
            fail_msg("%s: %s '%s'", harms[i].what, err_code_name(rc), why.message);
        if (rc == ERR_CANCELLED)
            assert_non_null(strstr(why.hint, "run the backup again"));
        assert_false(mem_has(repo, "backups/" B "/summary"));
        expect_listed(repo, A, true);
    }
}

/* Young trash is no danger: its sweep will see the manifest that is there by then. */
static void trash_that_is_not_ripe(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    MemBackup b AUTO(mem_backup_release);
    mem_backup_put(repo, A, NULL);
    mem_backup_begin(repo, B, A, &b);
    put_trash(repo, "packs/" A "/0/d0");
    storage_mem_advance(repo->storage, GRACE / 2 - 1);
    expect_ok(publish(repo, &b, err));
}

/* Another trash object is none of our business. */
static void trash_of_others(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    MemBackup b AUTO(mem_backup_release);
    mem_backup_put(repo, A, NULL);
    mem_backup_begin(repo, B, A, &b);
    put_trash(repo, "packs/" A "/0/m0"); /* which B does not use */
    storage_mem_advance(repo->storage, 2 * GRACE);
    expect_ok(publish(repo, &b, err));
}

/* A sweep that puts its mark while the summary is on its way. */
typedef struct Meddler {
    Repo *with; /* on the same storage */
    const char *after;
    void (*harm)(Repo *repo);
} Meddler;

static void meddle(void *arg, StorageOp op, const char *name)
{
    Meddler *m = arg;
    if (op != STORAGE_OP_LIST || !m->harm || !mem_has(m->with, m->after) ||
        !strstr(name, "/backups/"))
        return;
    void (*harm)(Repo *) = m->harm;
    m->harm = NULL;
    harm(m->with);
}

static void overtaken_behind_the_summary(void **state)
{
    (void)state;
    void (*const done[])(Repo *) = {mark_it, remove_manifest, remove_part, remove_packs_list};
    for (size_t i = 0; i < ARRAY_LEN(done); i++) {
        Storage *mem = storage_mem_new(false);
        Meddler m = {.after = "backups/" B "/summary", .harm = done[i]};
        FaultSpec spec = {.ops = STORAGE_OP_LIST, .hook = meddle, .hook_arg = &m};
        FaultSpec none = {.ops = STORAGE_OP_LIST};
        Storage *faulty = storage_fault_new(mem, &none);
        Repo *repo AUTO(repo_closep) = mem_repo_in(faulty, CIPHER_NONE);
        Repo beside = *repo; /* without the decorator */
        MemBackup b AUTO(mem_backup_release);
        beside.storage = mem;
        m.with = &beside;
        mem_backup_put(repo, A, NULL);
        mem_backup_begin(repo, B, A, &b);
        storage_fault_set(faulty, &spec);
        expect_err(ERR_CANCELLED, "an expire removed backup " B " while it was being committed",
                   publish(repo, &b, err));
        storage_fault_set(faulty, &none);
        assert_null(m.harm);
        /* Others may have seen the summary: it stays, and the backup is retired. */
        assert_true(mem_has(repo, "backups/" B "/summary"));
        assert_int_equal(mem_count(repo, "backups/" B "/deleted-"), 1);
        expect_listed(repo, B, false);
    }
}

static void what_a_failed_writer_takes_back(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    MemBackup b AUTO(mem_backup_release);
    mem_backup_begin(repo, A, NULL, &b);
    backup_withdraw(repo, A);
    assert_false(mem_has(repo, "backups/" A "/manifest"));
    assert_true(mem_has(repo, "backups/" A "/packs"));
    backup_withdraw(repo, A);
    mem_backup_put(repo, B, NULL);
    for (int i = 0; i < 2; i++) { /* one tombstone is enough */
        backup_withdraw(repo, B);
        assert_true(mem_has(repo, "backups/" B "/manifest"));
        assert_int_equal(mem_count(repo, "backups/" B "/deleted-"), 1);
    }
    backup_withdraw(repo, C); /* nothing is there */
}

/* --- what is there --- */

static void states(void **state)
{
    (void)state;
    static const char *const objects[] = {
        "backups/" A "/key",
        "backups/" A "/manifest",
        "backups/" A "/manifest.0001",
        "backups/" A "/deleted-one",
        "backups/" A "/deleted-two",
        "backups/" A "/kept-two",
        "backups/" B "/summary",
        "backups/" B "/kept-one",
        "backups/" B "/deleted-two",
        "backups/" C "/going-" UUID,
        "backups/" C "/something",
        "backups/stray",
        "backups/20261301T000000Z-00000000000000aa/packs",
    };
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    BackupStates s AUTO(backup_states_release) = {0};
    for (size_t i = 0; i < ARRAY_LEN(objects); i++)
        mem_put(repo, objects[i], "", 0);
    expect_ok(backup_states_read(repo, NULL, &s, err));
    assert_int_equal(s.n, 5);
    const BackupState *a = backup_states_find(&s, A), *b = backup_states_find(&s, B),
                      *c = backup_states_find(&s, C);
    assert_true(a->manifest && !a->summary && !a->packs && !a->going && !a->unknown);
    assert_int_equal(a->objects.n, 6);
    assert_int_equal(a->deleted.n, 1); /* a keep cancels the tombstone of its name alone */
    assert_string_equal(a->deleted.at[0], "one");
    assert_true(b->summary && !b->manifest && !b->unknown);
    assert_int_equal(b->deleted.n, 1); /* and of its backup */
    assert_true(c->going && c->unknown);
    assert_true(s.at[3].unknown && s.at[4].unknown);
    assert_string_equal(s.at[4].objects.at[0], "backups/stray");
    assert_null(backup_states_find(&s, "20260104T000000Z-00000000000000dd"));
    expect_ok(backup_states_read(repo, B, &s, err));
    assert_int_equal(s.n, 1);
    assert_string_equal(s.at[0].id, B);
}

/* --- retiring and sweeping --- */

static size_t condemn(Repo *repo, const char *id)
{
    StrList retire AUTO(str_list_release) = {0};
    size_t n;
    if (id)
        vec_push(&retire, mem_strdup(id));
    expect_ok(expire_condemn(repo, &retire, &n, err));
    return n;
}

static size_t sweep(Repo *repo)
{
    size_t n;
    expect_ok(expire_sweep(repo, GRACE, &n, err));
    return n;
}

static bool trash_names(Repo *repo, const char *name)
{
    TrashList l AUTO(trash_list_release) = {0};
    bool found = false;
    expect_ok(trash_read(repo, INT64_MIN, &l, err));
    for (size_t i = 0; i < l.n; i++)
        found |= name_set_has(&l.at[i].names, name);
    return found;
}

/* A, of which B uses the data pack; then neither of them. */
static void a_retired_backup_goes(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    mem_backup_put(repo, A, NULL);
    mem_backup_put(repo, B, A);
    assert_int_equal(condemn(repo, NULL), 0);
    assert_int_equal(mem_count(repo, "trash/"), 0);
    /* summary, manifest, packs, key, manifest.0001, the tombstone, the map pack */
    assert_int_equal(condemn(repo, A), 7);
    expect_listed(repo, A, false);
    expect_listed(repo, B, true);
    static const char *const named[] = {"backups/" A "/summary", "backups/" A "/manifest",
                                        "backups/" A "/packs",   "backups/" A "/key",
                                        "packs/" A "/0/m0",      "backups/" A "/manifest.0001"};
    for (size_t i = 0; i < ARRAY_LEN(named); i++)
        assert_true(trash_names(repo, named[i]));
    assert_false(trash_names(repo, "packs/" A "/0/d0"));
    assert_int_equal(condemn(repo, NULL), 0); /* all of it is named already */
    assert_int_equal(condemn(repo, A), 0);
    assert_int_equal(mem_count(repo, "backups/" A "/deleted-"), 1);

    storage_mem_advance(repo->storage, GRACE - 1);
    assert_int_equal(sweep(repo), 0);
    assert_true(mem_has(repo, "backups/" A "/summary"));
    storage_mem_advance(repo->storage, 1);
    assert_int_equal(sweep(repo), 8); /* and the mark */
    assert_int_equal(mem_count(repo, "backups/" A), 0);
    assert_int_equal(mem_count(repo, "packs/" A), 1);
    assert_int_equal(mem_count(repo, "trash/"), 0);
    expect_listed(repo, B, true);

    condemn(repo, B);
    storage_mem_advance(repo->storage, GRACE);
    sweep(repo);
    assert_int_equal(mem_count(repo, ""), 0);
}

/* Half a backup goes by itself, unless somebody works on it. */
static void what_was_never_committed(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    MemBackup b AUTO(mem_backup_release);
    StrList ids AUTO(str_list_release) = {0};
    Lease *lease = NULL;
    mem_backup_put(repo, A, NULL);
    mem_backup_begin(repo, B, NULL, &b);
    mem_put(repo, "packs/" C "/0/d0", "of one that has come no further", 31);
    vec_push(&ids, mem_strdup(B));
    vec_push(&ids, mem_strdup(C));
    expect_ok(lease_take(repo, LEASE_BACKUP, &ids, &lease, err));
    assert_int_equal(condemn(repo, NULL), 0);
    lease_release(lease);
    assert_int_equal(condemn(repo, NULL), 11);
    assert_true(trash_names(repo, "backups/" B "/summary")); /* though it is not there yet */
    assert_true(trash_names(repo, "backups/" C "/manifest"));
    /* Its writer was only slow: it finds out in time. */
    storage_mem_advance(repo->storage, GRACE / 2);
    expect_err(ERR_CANCELLED, "is removing", publish(repo, &b, err));
    storage_mem_advance(repo->storage, GRACE / 2);
    sweep(repo);
    assert_int_equal(mem_count(repo, "backups/" B), 0);
    assert_int_equal(mem_count(repo, "packs/" B), 0);
    assert_int_equal(mem_count(repo, "packs/" C), 0);
    expect_listed(repo, A, true);
}

static void a_lease_holds_a_sweep(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    StrList ids AUTO(str_list_release) = {0};
    Lease *lease = NULL;
    mem_backup_put(repo, A, NULL);
    condemn(repo, A);
    storage_mem_advance(repo->storage, GRACE);
    vec_push(&ids, mem_strdup(A));
    expect_ok(lease_take(repo, "restore", &ids, &lease, err));
    sweep(repo);
    assert_true(mem_has(repo, "backups/" A "/summary"));
    assert_int_equal(mem_count(repo, "backups/" A "/going-"), 0);
    lease_release(lease);
    /* All its packs are settled, since it uses them: the next expire names them anew. */
    assert_int_equal(mem_count(repo, "trash/"), 0);
    condemn(repo, NULL);
    storage_mem_advance(repo->storage, GRACE);
    sweep(repo);
    assert_int_equal(mem_count(repo, ""), 0);
}

/* Whoever does not understand all that is there removes nothing. */
static void what_keeps_everything(void **state)
{
    (void)state;
    static const struct {
        const char *name, *says;
        ErrCode code;
    } cases[] = {
        {"backups/" B "/fence", "does not know below 'app/" B, ERR_VERSION},
        {"backups/stray", "below 'app/backups/stray'", ERR_VERSION},
        {"backups/" B "/packs", "nothing is deleted", ERR_DAMAGED}, /* in its place */
        {"leases/x", "leases/x", ERR_DAMAGED},
        {"packs/stray", "is no pack of a backup",
         ERR_VERSION}, /* to condemn; a sweep goes by names */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
        StrList none = {0};
        size_t n;
        mem_backup_put(repo, A, NULL);
        mem_backup_put(repo, B, NULL);
        condemn(repo, A);
        storage_mem_advance(repo->storage, GRACE);
        size_t before = mem_count(repo, "");
        bool there = mem_has(repo, cases[i].name);
        mem_put(repo, cases[i].name, "no object", 9);
        expect_err(cases[i].code, cases[i].says, expire_condemn(repo, &none, &n, err));
        if (i == ARRAY_LEN(cases) - 1)
            continue;
        expect_err(cases[i].code, cases[i].says, expire_sweep(repo, GRACE, &n, err));
        assert_int_equal(n, 0);
        /* A mark may be left: who put it had not decided yet. */
        size_t marks = mem_count(repo, "backups/" A "/going-");
        assert_int_equal(mem_count(repo, "") - marks, before + !there);
    }
}

/* --- bringing back --- */

static void a_backup_comes_back(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    mem_backup_put(repo, A, NULL);
    expect_ok(backup_undelete(repo, A, err)); /* it was never away */
    assert_int_equal(mem_count(repo, "backups/" A "/kept-"), 0);
    condemn(repo, A);
    put_mark(repo, A, "deleted-" UUID); /* somebody else had the same idea */
    expect_ok(backup_undelete(repo, A, err));
    expect_listed(repo, A, true);
    assert_int_equal(mem_count(repo, "backups/" A "/kept-"), 2);
    assert_true(mem_has(repo, "backups/" A "/kept-" UUID));
    storage_mem_advance(repo->storage, GRACE);
    assert_int_equal(sweep(repo), 0);
    assert_int_equal(mem_count(repo, "trash/"), 0);
    expect_listed(repo, A, true);
    /* Retired once more, it goes in its own time. */
    condemn(repo, A);
    expect_listed(repo, A, false);
    assert_int_equal(sweep(repo), 0);
    storage_mem_advance(repo->storage, GRACE);
    sweep(repo);
    assert_int_equal(mem_count(repo, ""), 0);
}

static void one_that_cannot_come_back(void **state)
{
    (void)state;
    static const char *const lost[] = {
        "backups/" A "/summary", "backups/" A "/manifest", "backups/" A "/manifest.0001",
        "backups/" A "/packs",   "packs/" A "/0/d0",       "packs/" A "/0/m0"};
    for (size_t i = 0; i < ARRAY_LEN(lost); i++) {
        Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
        mem_backup_put(repo, A, NULL);
        condemn(repo, A);
        mem_remove(repo, lost[i]);
        expect_err(ERR_NOT_FOUND, "backup " A " cannot come back", backup_undelete(repo, A, err));
    }
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    mem_backup_put(repo, A, NULL);
    condemn(repo, A);
    put_mark(repo, A, "going-" UUID);
    expect_err(ERR_REFUSED, "the removal of backup " A " has begun", backup_undelete(repo, A, err));
    expect_err(ERR_NOT_FOUND, "there is no backup " B, backup_undelete(repo, B, err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_backup_comes_into_being),
        cmocka_unit_test(publishing_is_refused),
        cmocka_unit_test(trash_that_is_not_ripe),
        cmocka_unit_test(trash_of_others),
        cmocka_unit_test(overtaken_behind_the_summary),
        cmocka_unit_test(what_a_failed_writer_takes_back),
        cmocka_unit_test(states),
        cmocka_unit_test(a_retired_backup_goes),
        cmocka_unit_test(what_was_never_committed),
        cmocka_unit_test(a_lease_holds_a_sweep),
        cmocka_unit_test(what_keeps_everything),
        cmocka_unit_test(a_backup_comes_back),
        cmocka_unit_test(one_that_cannot_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
