/*
 * Changing the keys (lib/repo/rekey.c), explored: two who do so at once, hosts that write
 * meanwhile, a backup that is committed, processes that sleep for longer than their lease, calls
 * that fail; in every order of their storage calls, with a crash at each of them.
 *
 * In every state that can be reached:
 *  - some passphrase opens the repository and reads all that was stored;
 *  - no WAL has got a second name.
 * When all have ended, and nobody has slept:
 *  - if one change of the passphrase succeeded, the new one opens all and the old one nothing; so
 * it is without keys/, from the copies beside the backups;
 *  - if none did, the old one opens all.
 * With sleepers: the new passphrase of one of those who succeeded opens all. (A copy beside a
 * backup may then be that of a sleeper, who has failed: 'verify' tells, and 'init' mends it.)
 *
 * With an argument, only the tests of that name (with * and ?). PGDR_TEST_MODEL=full adds those
 * that take minutes.
 */

#include "lib/common/hex.h"
#include "lib/common/log.h"
#include "lib/repo/key_store.h"
#include "lib/repo/manifest.h"
#include "tests/model/explore.h"
#include "tests/unit/unit.h"

#define CLUSTER "c"
#define DATA "data/"
#define PASSPHRASES 3
#define OLD_BACKUP "20260101T000000Z-0000000000000001"
#define NEW_BACKUP "20260102T000000Z-0000000000000002"

static char passphrases[PASSPHRASES][80]; /* 0: the one there is */

/* --- who takes part --- */

typedef struct Part {
    unsigned from, to; /* passphrases; equal: it stays */
    bool new_key;
    const char *writes; /* a host: what it stores */
} Part;

static ErrCode give(void *arg, char **ret, Err *err)
{
    (void)err;
    *ret = mem_strdup(arg);
    return ERR_OK;
}

static KeySecret secret_of(unsigned passphrase)
{
    return (KeySecret){.passphrase = give, .arg = passphrases[passphrase]};
}

static RepoSpec spec_of(const KeySecret *secret)
{
    return (RepoSpec){
        .name = "main", .cluster = CLUSTER, .cipher = CIPHER_AES_256_GCM, .secret = secret};
}

/* As repo_open() does, on a storage that stays. */
static ErrCode open_with(Storage *storage, unsigned passphrase, Repo *ret, Err *err)
{
    static char name[] = "main", cluster[] = CLUSTER;
    KeySecret secret = secret_of(passphrase);
    KeyRing *ring AUTO(keyring_freep) = keyring_new(&secret);
    *ret = (Repo){.storage = storage, .name = name, .cluster = cluster};
    TRY(keys_read(ret, ring, err));
    return ret->key ? ERR_OK : err_set(err, ERR_NOT_FOUND, "there are no keys");
}

static void close_keys(Repo *r)
{
    for (size_t i = 0; i < r->keys.keys.n; i++)
        repo_key_free(r->keys.keys.at[i]);
    vec_release(&r->keys.keys);
}

static ErrCode run_rekey(Repo *like, const void *arg, Err *err)
{
    const Part *p = arg;
    Repo r AUTO(close_keys) = {.storage = NULL};
    KeySecret was = secret_of(p->from), is = secret_of(p->to);
    RepoSpec spec = spec_of(&was);
    TRY(open_with(like->storage, p->from, &r, err));
    return repo_rekey(&r, &spec, p->from == p->to ? NULL : &is, p->new_key, err);
}

static ErrCode run_init(Repo *like, const void *arg, Err *err)
{
    const Part *p = arg;
    Repo r AUTO(close_keys) = {.storage = NULL};
    KeySecret secret = secret_of(p->from);
    KeysMended mended;
    TRY(open_with(like->storage, p->from, &r, err));
    return keys_mend(&r, &secret, &mended, err);
}

static ErrCode put_text(Repo *r, const char *name, Err *err)
{
    return document_put(r, name, KIND_MARK, "text", 4, STORAGE_CREATE, NULL, err);
}

/* A host stores something under the newest key, and names it by the oldest, as WAL is. */
static ErrCode run_host(Repo *like, const void *arg, Err *err)
{
    const Part *p = arg;
    Repo r AUTO(close_keys) = {.storage = NULL};
    char id[2 * KEY_ID_LEN + 1];
    TRY(open_with(like->storage, p->from, &r, err));
    char *name AUTO(mem_freep) =
        mem_printf(DATA "%s-%s", p->writes, hex_format(r.wal_key->id, KEY_ID_LEN, id));
    return put_text(&r, name, err);
}

/* A backup that began before all else, and puts its copy of the keys in the end. */
static ErrCode run_commit(Repo *like, const void *arg, Err *err)
{
    Repo r AUTO(close_keys) = {.storage = NULL};
    (void)arg;
    TRY(open_with(like->storage, 0, &r, err));
    TRY(key_put_beside(&r, NEW_BACKUP, err));
    return put_text(&r, "backups/" NEW_BACKUP "/summary", err);
}

/* --- the oracle --- */

enum { OPENS = 1, READS = 2, COPIES_READ = 4, FACTS = 4, ONE_NAME = 1 << (FACTS * PASSPHRASES) };

static bool reads_all(Repo *r, const StrList *names)
{
    for (size_t i = 0; i < names->n; i++) {
        Buf text AUTO(buf_release) = {0};
        Err none;
        if (document_get(r, names->at[i] + strlen(CLUSTER "/"), KIND_MARK, MIB, &text, NULL, &none))
            return false;
    }
    return true;
}

static uint64_t facts_of(Storage *store, unsigned passphrase, const StrList *names)
{
    Repo r AUTO(close_keys) = {.storage = NULL};
    Err none;
    if (open_with(store, passphrase, &r, &none) != ERR_OK)
        return 0;
    return OPENS | (reads_all(&r, names) ? READS : 0);
}

static void remove_below(Storage *store, const char *prefix)
{
    StrList names AUTO(str_list_release) = {0};
    expect_ok(storage_list_names(store, prefix, false, &names, err));
    expect_ok(storage_remove(store, (const char *const *)names.at, names.n, err));
}

/* Each copy alone must do. */
static bool copies_read(Storage *store, unsigned passphrase, const StrList *names)
{
    static const char *const ids[] = {OLD_BACKUP, NEW_BACKUP};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        Storage *copy AUTO(storage_freep) = storage_mem_clone(store);
        char *summary AUTO(mem_freep) = mem_printf(CLUSTER "/backups/%s/summary", ids[i]);
        char *other AUTO(mem_freep) = mem_printf(CLUSTER "/backups/%s/", ids[!i]);
        StorageStat st;
        Err none;
        if (storage_stat(copy, summary, &st, &none) != ERR_OK)
            continue; /* never committed */
        remove_below(copy, "keys/");
        remove_below(copy, other);
        if (!(facts_of(copy, passphrase, names) & READS))
            return false;
    }
    return true;
}

/* All that hosts have stored is named after one oldest key. */
static bool one_name(const StrList *names)
{
    for (size_t i = 1; i < names->n; i++)
        if (strcmp(strrchr(names->at[i], '-'), strrchr(names->at[0], '-')) != 0)
            return false;
    return true;
}

static uint64_t store_facts(const void *arg, Storage *store)
{
    StrList names AUTO(str_list_release) = {0};
    uint64_t facts = 0;
    (void)arg;
    expect_ok(storage_list_names(store, CLUSTER "/" DATA, false, &names, err));
    for (unsigned i = 0; i < PASSPHRASES; i++) {
        uint64_t mine = facts_of(store, i, &names);
        mine |= copies_read(store, i, &names) ? COPIES_READ : 0;
        facts |= mine << i * FACTS;
    }
    return facts | (one_name(&names) ? ONE_NAME : 0);
}

static bool has(uint64_t facts, unsigned passphrase, unsigned what)
{
    return (facts >> passphrase * FACTS & what) == what;
}

/* --- scenes --- */

typedef struct Scene {
    Storage *mem;
    Part parts[MODEL_PROCESSES];
    bool is_rekey[MODEL_PROCESSES];
    Process processes[MODEL_PROCESSES];
    Repo like;
    Model model;
    bool sleepers; /* leases lapse */
    unsigned succeeded, failed;
} Scene;

static const char *wrong_end(const Scene *s, uint64_t facts, const Step *const *at)
{
    const Part *done = NULL;
    unsigned n = 0;
    for (unsigned i = 0; i < s->model.n; i++) {
        const Part *p = &s->parts[i];
        if (!s->is_rekey[i] || at[i]->result != ERR_OK || p->from == p->to)
            continue;
        n++;
        done = has(facts, p->to, READS | (s->sleepers ? 0 : COPIES_READ)) ? p : done;
    }
    if (n && !done)
        return "a change succeeded, and its passphrase does not read all";
    if (s->sleepers)
        return NULL;
    if (n > 1)
        return "two changes from one passphrase succeeded";
    if (n && has(facts, 0, OPENS))
        return "a change succeeded, and the old passphrase opens the repository";
    if (!n && !has(facts, 0, READS) && !s->model.faults)
        return "no change succeeded, and the old passphrase does not read all";
    return NULL;
}

static const char *scene_wrong(const void *arg, uint64_t facts, const Step *const *at)
{
    Scene *s = (Scene *)(uintptr_t)arg;
    bool any = false, ended = true;
    for (unsigned i = 0; i < PASSPHRASES; i++)
        any |= has(facts, i, READS);
    if (!any)
        return "no passphrase reads all";
    if (!(facts & ONE_NAME))
        return "WAL has got a second name";
    for (unsigned i = 0; i < s->model.n; i++) {
        ended &= at[i]->call.op == 0;
        if (at[i]->call.op == 0)
            *(at[i]->result == ERR_OK ? &s->succeeded : &s->failed) |= 1u << i;
    }
    return ended ? wrong_end(s, facts, at) : NULL;
}

static void scene_open(Scene *s, const char *name)
{
    static char repo_name[] = "main", cluster[] = CLUSTER;
    Repo *repo = NULL;
    bool existed;
    KeySecret secret = secret_of(0);
    RepoSpec spec = spec_of(&secret);
    *s = (Scene){.mem = storage_mem_new(false)};
    chance_begin(100, 0);
    expect_ok(repo_init(storage_mem_clone(s->mem), &spec, &repo, &existed, err));
    storage_free(s->mem);
    s->mem = storage_mem_clone(repo->storage);
    repo_close(repo);
    s->like = (Repo){.name = repo_name, .cluster = cluster};
    s->model = (Model){.name = name,
                       .store = s->mem,
                       .processes = s->processes,
                       .atomic_lists = true,
                       .in_order = true,
                       .tick = LEASE_LIVE,
                       .facts = store_facts,
                       .wrong = scene_wrong,
                       .arg = s};
}

/* Before the beginning, on the store itself. */
static void before(Scene *s, ProcessFn run, const Part *p)
{
    Repo repo = {.storage = s->mem};
    chance_begin(101, p->to);
    expect_ok(run(&repo, p, err));
}

static unsigned add(Scene *s, const char *name, ProcessFn run, Part part)
{
    unsigned i = s->model.n++;
    s->parts[i] = part;
    s->is_rekey[i] = run == run_rekey;
    s->processes[i] =
        (Process){.name = name, .run = {run}, .arg = &s->parts[i], .like = &s->like, .seed = i + 1};
    return i;
}

static void explore(Scene *s)
{
    uint32_t places = 0;
    model_explore(&s->model);
    for (unsigned i = 0; i < s->model.n; i++)
        places += s->processes[i].steps;
    print_message("%s: %llu states, %llu moves, %zu stores, %u places in %u processes%s%s\n",
                  s->model.name, (unsigned long long)s->model.states,
                  (unsigned long long)s->model.moves, stores_count(s->model.stores), places,
                  s->model.n, s->model.found ? ": " : "", s->model.found ? s->model.found : "");
}

static void close_scene(Scene *s)
{
    model_release(&s->model);
    storage_free(s->mem);
}

static void print_trace(Scene *s)
{
    char *text AUTO(mem_freep) = mem_strdup(buf_str(&s->model.trace));
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        print_message("%s\n", line);
}

typedef struct Test {
    const char *name;
    void (*build)(Scene *s);
    bool slow;     /* minutes */
    unsigned both; /* processes that must be seen both to succeed and to fail: a mask */
} Test;

static void play(void **state)
{
    const Test *t = *state;
    Scene s;
    scene_open(&s, t->name);
    t->build(&s);
    explore(&s);
    const char *found = s.model.found;
    const unsigned both = s.succeeded & s.failed;
    if (found)
        print_trace(&s);
    close_scene(&s);
    if (found)
        fail_msg("%s: %s", t->name, found);
    if ((both & t->both) != t->both)
        fail_msg("%s: of %x, %x were not seen both to succeed and to fail", t->name, t->both,
                 t->both & ~both);
}

static const Part mint = {.new_key = true}, change = {.to = 1, .new_key = true},
                  other = {.to = 2, .new_key = true}, keep = {.to = 1}, other_keep = {.to = 2};

/* A committed backup with a copy of the keys. */
static void furnish(Scene *s)
{
    Repo r AUTO(close_keys) = {.storage = NULL};
    before(s, run_host, &(Part){.writes = "first"});
    chance_begin(102, 0);
    expect_ok(open_with(s->mem, 0, &r, err));
    expect_ok(key_put_beside(&r, OLD_BACKUP, err));
    expect_ok(put_text(&r, "backups/" OLD_BACKUP "/summary", err));
}

static void two_changes(Scene *s)
{
    furnish(s);
    add(s, "A", run_rekey, change);
    add(s, "B", run_rekey, other);
}

static void two_changes_that_keep(Scene *s)
{
    furnish(s);
    add(s, "A", run_rekey, keep);
    add(s, "B", run_rekey, other_keep);
}

static void change_and_new_key(Scene *s)
{
    furnish(s);
    add(s, "A", run_rekey, change);
    add(s, "B", run_rekey, mint);
}

static void change_and_init(Scene *s)
{
    furnish(s);
    StrList names AUTO(str_list_release) = {0};
    expect_ok(storage_list_names(s->mem, "keys/", false, &names, err));
    expect_ok(storage_remove(s->mem, (const char *const *)names.at, 1, err));
    add(s, "A", run_rekey, keep);
    add(s, "I", run_init, mint);
}

/* Two keys, so that there is a younger one to take for the oldest. */
static void furnish_more(Scene *s)
{
    furnish(s);
    before(s, run_rekey, &mint);
    before(s, run_host, &(Part){.writes = "second"});
}

static void change_and_old_host(Scene *s)
{
    furnish_more(s);
    add(s, "A", run_rekey, change);
    add(s, "H", run_host, (Part){.from = 0, .writes = "h"});
}

static void change_and_new_host(Scene *s)
{
    furnish_more(s);
    add(s, "A", run_rekey, change);
    add(s, "H", run_host, (Part){.from = 1, .writes = "h"});
}

static void new_key_and_host(Scene *s)
{
    furnish_more(s);
    add(s, "A", run_rekey, mint);
    add(s, "H", run_host, (Part){.from = 0, .writes = "h"});
}

static void change_and_commit(Scene *s)
{
    furnish(s);
    add(s, "A", run_rekey, keep);
    add(s, "C", run_commit, mint);
}

static void new_key_and_commit(Scene *s)
{
    furnish(s);
    add(s, "A", run_rekey, mint);
    add(s, "C", run_commit, mint);
}

/* The same with leases that lapse: anybody may sleep at any moment. */
static void sleep_in(Scene *s)
{
    s->sleepers = true;
    s->model.ticks = 1;
}

static void two_changes_asleep(Scene *s)
{
    two_changes(s);
    sleep_in(s);
}

static void two_changes_that_keep_asleep(Scene *s)
{
    two_changes_that_keep(s);
    sleep_in(s);
}

static void change_and_new_key_asleep(Scene *s)
{
    change_and_new_key(s);
    add(s, "H", run_host, (Part){.from = 0, .writes = "h"});
    sleep_in(s);
}

static void change_and_init_asleep(Scene *s)
{
    change_and_init(s);
    sleep_in(s);
}

/* A call fails, and what it did stays or not. */
static void change_with_errors(Scene *s)
{
    change_and_new_host(s);
    s->model.faults = 1;
    s->model.faulty = 1;
}

static void new_key_with_errors(Scene *s)
{
    new_key_and_host(s);
    s->model.faults = 1;
    s->model.faulty = 1;
}

static const Test tests_of[] = {
    {"two changes", two_changes, false, 3},
    {"two changes that keep the data key", two_changes_that_keep, false, 3},
    {"a change and a new data key", change_and_new_key, false, 3},
    {"a change and init", change_and_init, true, 3},
    {"a change and a host", change_and_old_host, false, 2},
    {"a change and a host of the new passphrase", change_and_new_host, false, 2},
    {"a new data key and a host", new_key_and_host, false, 0},
    {"a change and a backup", change_and_commit, false, 2},
    {"a new data key and a backup", new_key_and_commit, false, 0},
    {"a sleeper and another change", two_changes_asleep, true, 3},
    {"a sleeper and another change that keeps the data key", two_changes_that_keep_asleep, true, 3},
    {"a sleeper and a new data key", change_and_new_key_asleep, true, 3},
    {"a sleeper and init", change_and_init_asleep, true, 3},
    {"a change with errors", change_with_errors, false, 1},
    {"a new data key with errors", new_key_with_errors, false, 1},
};

int main(int argc, char **argv)
{
    struct CMUnitTest tests[ARRAY_LEN(tests_of)];
    const char *full = getenv("PGDR_TEST_MODEL");
    size_t n = 0;
    log_init(LOG_ERROR, LOG_PLAIN, 2);
    for (unsigned i = 0; i < PASSPHRASES; i++) {
        uint8_t raw[32];
        char hex[65];
        memset(raw, 0xa0 + (int)i, sizeof(raw));
        snprintf(passphrases[i], sizeof(passphrases[i]), "pgdr-key-%s", hex_format(raw, 32, hex));
    }
    for (size_t i = 0; i < ARRAY_LEN(tests_of); i++)
        if (!tests_of[i].slow || (full && strcmp(full, "full") == 0))
            tests[n++] = (struct CMUnitTest){tests_of[i].name, play, NULL, NULL,
                                             (void *)(uintptr_t)&tests_of[i]};
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return _cmocka_run_group_tests("rekey", tests, n, NULL, NULL);
}
