#include "tests/model/parts.h"

#include <stdio.h>
#include <string.h>

#include "lib/repo/manifest.h"
#include "tests/unit/unit.h"

#define CLUSTER "c"
#define PACK_RAW "what would be pages"

void specimen_init(BackupSpecimen *b, char letter, const char *uses)
{
    *b = (BackupSpecimen){.letter = letter, .uses = uses, .packs = 1};
    snprintf(b->id, sizeof(b->id), "20260101T000000Z-00000000000000%02x", (uint8_t)letter);
}

/* --- names --- */

static void id_of(char letter, char id[BACKUP_ID_LEN + 1])
{
    BackupSpecimen b;
    specimen_init(&b, letter, "");
    memcpy(id, b.id, sizeof(b.id));
}

static char *full_object(const BackupSpecimen *b, const char *what)
{
    return mem_printf(CLUSTER "/backups/%s/%s", b->id, what);
}

static char *full_pack(char letter, unsigned number)
{
    char id[BACKUP_ID_LEN + 1];
    id_of(letter, id);
    return mem_printf(CLUSTER "/packs/%s/0/d%u", id, number);
}

/* --- writing --- */

static ErrCode put_pack(Repo *repo, const BackupSpecimen *b, unsigned number, PackInfo *ret,
                        bool store, Err *err)
{
    PackId id = {.kind = 'd', .number = number};
    char *name AUTO(mem_freep) = pack_name(b->id, id);
    ObjectWriter *w AUTO(object_writer_freep) = object_writer_new(1);
    Compressor *c AUTO(compressor_freep) = compressor_new(1);
    *ret = (PackInfo){.id = id, .slots = 1, .units = 1};
    object_writer_begin(w, repo->key, KIND_PACK, name);
    TRY(object_writer_add(w, c, PACK_RAW, strlen(PACK_RAW), NULL, err));
    TRY(object_writer_finish(w, 1, NULL, &ret->facts, err));
    return store ? repo_put(repo, name, w, STORAGE_CREATE, err) : ERR_OK;
}

static ErrCode put_packs(Repo *repo, const BackupSpecimen *b, PacksList *list, Err *err)
{
    for (unsigned i = 0; i < b->packs_before + b->packs; i++) {
        PackInfo info;
        TRY(put_pack(repo, b, i, &info, i >= b->packs_before, err));
        vec_push(&list->own, info);
    }
    for (const char *u = b->uses; *u; u++) {
        BackupSpecimen other;
        PackInfo info;
        PackRefs refs = {.packs = {0}};
        specimen_init(&other, *u, "");
        TRY(put_pack(repo, &other, 0, &info, false, err));
        memcpy(refs.backup_id, other.id, sizeof(refs.backup_id));
        vec_push(&refs.packs,
                 (PackRef){.id = info.id, .size = info.facts.size, .slots = 1, .live = 1});
        vec_push(&list->refs, refs);
    }
    return ERR_OK;
}

static ErrCode put_manifest(Repo *repo, const BackupSpecimen *b, DocumentFacts *ret, Err *err)
{
    char user[] = "postgres", cluster[] = CLUSTER;
    ManifestHeader h = {.cluster = cluster,
                        .block_size = 8192,
                        .user = user,
                        .group = user,
                        .file_mode = 0600,
                        .dir_mode = 0700};
    memcpy(h.id, b->id, sizeof(h.id));
    vec_push(&h.ids, mem_strdup(b->id));
    FileEntry e = {
        .path = "base", .kind = FILE_DIRECTORY, .mode = 0700, .user = user, .group = user};
    ManifestWriter *w AUTO(manifest_writer_freep) = manifest_writer_new(repo, &h);
    ErrCode rc = manifest_writer_add(w, &e, err);
    if (rc == ERR_OK)
        rc = manifest_writer_finish(w, ret, err);
    str_list_release(&h.ids);
    return rc;
}

static ErrCode put_documents(Repo *repo, const BackupSpecimen *b, const PacksList *list,
                             BackupSummary *s, Err *err)
{
    TRY(packs_list_put(repo, b->id, list, &s->packs, err));
    return put_manifest(repo, b, &s->manifest, err);
}

static ErrCode put_lease(Repo *repo, const BackupSpecimen *b, Err *err)
{
    char *name AUTO(mem_freep) = mem_printf("leases/%c", b->letter);
    json_t *body AUTO(json_decrefp) = json_pack("{s:[s]}", "backups", b->id);
    return document_put_json(repo, name, KIND_MARK, body, STORAGE_OVERWRITE, NULL, err);
}

ErrCode run_check_parent(Repo *repo, const void *arg, Err *err)
{
    const BackupSpecimen *b = arg;
    char id[BACKUP_ID_LEN + 1];
    BackupStates states AUTO(backup_states_release) = {0};
    if (!b->parent)
        return ERR_OK;
    id_of(b->parent, id);
    TRY(backup_states_read(repo, id, &states, err));
    if (!states.n || !backup_exists(&states.at[0]) || states.at[0].deleted.n)
        return err_set(err, ERR_NOT_FOUND, "the parent is gone");
    PacksList list AUTO(packs_list_release) = {.own = {0}};
    return packs_list_get(repo, id, NULL, &list, err);
}

ErrCode run_writer(Repo *repo, const void *arg, Err *err)
{
    const BackupSpecimen *b = arg;
    PacksList list AUTO(packs_list_release) = {.own = {0}};
    char text[] = "x", none[] = "";
    BackupSummary s = {.cluster = text, .type = text, .label = none, .host = text, .parent = none};
    memcpy(s.id, b->id, sizeof(s.id));
    if (b->leased)
        TRY(put_lease(repo, b, err));
    TRY(put_packs(repo, b, &list, err));
    if (b->late) {
        s.packs = b->packs_facts;
        s.manifest = b->manifest_facts;
    } else {
        TRY(put_documents(repo, b, &list, &s, err));
    }
    ErrCode rc = backup_publish(repo, &s, &list, GRACE, STORAGE_CREATE, err);
    if (rc != ERR_OK && b->withdraws)
        backup_withdraw(repo, b->id);
    return rc;
}

ErrCode run_attempt(Repo *repo, const void *arg, Err *err)
{
    return run_writer(repo, arg, err) == ERR_INTERNAL ? ERR_INTERNAL : ERR_OK;
}

ErrCode run_successor(Repo *repo, const void *arg, Err *err)
{
    const BackupSpecimen *b = arg;
    return run_writer(repo, b->successor, err);
}

ErrCode run_renewer(Repo *repo, const void *arg, Err *err)
{
    return put_lease(repo, arg, err);
}

ErrCode run_condemn(Repo *repo, const void *arg, Err *err)
{
    const BackupSpecimen *b = arg;
    StrList retire AUTO(str_list_release) = {0};
    size_t n;
    if (b)
        vec_push(&retire, mem_strdup(b->id));
    return expire_condemn(repo, &retire, &n, err);
}

ErrCode run_sweep(Repo *repo, const void *arg, Err *err)
{
    size_t n;
    (void)arg;
    return expire_sweep(repo, GRACE, &n, err);
}

ErrCode run_expirer(Repo *repo, const void *arg, Err *err)
{
    TRY(run_condemn(repo, arg, err));
    return run_sweep(repo, arg, err);
}

ErrCode run_undelete(Repo *repo, const void *arg, Err *err)
{
    const BackupSpecimen *b = arg;
    return backup_undelete(repo, b->id, err);
}

/* --- the store in the beginning --- */

Repo *parts_repo(Storage **ret_mem)
{
    Repo *repo = NULL;
    bool existed;
    *ret_mem = storage_mem_new(false);
    RepoSpec spec = {.name = "main", .cluster = CLUSTER, .cipher = CIPHER_NONE};
    expect_ok(repo_init(*ret_mem, &spec, &repo, &existed, err));
    return repo;
}

void parts_put_backup(Repo *repo, BackupSpecimen *b)
{
    parts_put_packs(repo, b);
    expect_ok(run_writer(repo, b, err));
}

void parts_put_packs(Repo *repo, BackupSpecimen *b)
{
    PackInfo info;
    for (unsigned i = 0; i < b->packs_before; i++)
        expect_ok(put_pack(repo, b, i, &info, true, err));
    if (b->late) {
        PacksList list AUTO(packs_list_release) = {.own = {0}};
        BackupSummary s;
        expect_ok(put_packs(repo, b, &list, err));
        expect_ok(put_documents(repo, b, &list, &s, err));
        b->packs_facts = s.packs;
        b->manifest_facts = s.manifest;
    }
}

void parts_forget(Repo *repo, const BackupSpecimen *b)
{
    StrList names AUTO(str_list_release) = {0};
    char *dir AUTO(mem_freep) = backup_object_name(b->id, "");
    expect_ok(repo_list_names(repo, dir, false, &names, err));
    expect_ok(repo_remove(repo, (const char *const *)names.at, names.n, err));
}

/* --- the oracle --- */

static bool there(Storage *store, char *name)
{
    char *owned AUTO(mem_freep) = name;
    StorageStat st;
    Err err;
    return storage_stat(store, owned, &st, &err) == ERR_OK;
}

bool parts_listed(Storage *store, const BackupSpecimen *b)
{
    return there(store, full_object(b, "manifest")) && there(store, full_object(b, "summary"));
}

bool parts_retired(Storage *store, const BackupSpecimen *b)
{
    StrList names AUTO(str_list_release) = {0};
    char *prefix AUTO(mem_freep) = full_object(b, "deleted-");
    Err err;
    if (storage_list_names(store, prefix, false, &names, &err) != ERR_OK)
        abort();
    for (size_t i = 0; i < names.n; i++) {
        char *keep = mem_printf("kept-%s", names.at[i] + strlen(prefix));
        bool kept = there(store, full_object(b, keep));
        free(keep);
        if (!kept)
            return true;
    }
    return false;
}

bool parts_marked(Storage *store, const BackupSpecimen *b)
{
    StrList names AUTO(str_list_release) = {0};
    char *prefix AUTO(mem_freep) = full_object(b, "going-");
    Err err;
    if (storage_list_names(store, prefix, false, &names, &err) != ERR_OK)
        abort();
    return names.n > 0;
}

bool parts_whole(Storage *store, const BackupSpecimen *b)
{
    if (!parts_listed(store, b) || !there(store, full_object(b, "packs")) ||
        !there(store, full_object(b, "manifest.0001")))
        return false;
    for (unsigned i = 0; i < b->packs_before + b->packs; i++)
        if (!there(store, full_pack(b->letter, i)))
            return false;
    for (const char *u = b->uses; *u; u++)
        if (!there(store, full_pack(*u, 0)))
            return false;
    return true;
}

/* --- what becomes of a store that everybody has left --- */

typedef struct Settling {
    Repo repo; /* on a store of its own */
    const BackupSpecimen *const *all;
    size_t n;
    bool kept[8]; /* by the number of the backup */
} Settling;

/* Two expires, each as late as it likes; false when one of them fails. */
static bool expire_twice(Settling *s, bool retire_all)
{
    Err err;
    for (int i = 0; i < 2; i++) {
        StrList retire AUTO(str_list_release) = {0};
        size_t done;
        for (size_t k = 0; k < s->n && retire_all; k++)
            vec_push(&retire, mem_strdup(s->all[k]->id));
        storage_mem_advance(s->repo.storage, GRACE);
        if (expire_condemn(&s->repo, &retire, &done, &err) != ERR_OK)
            return false;
        storage_mem_advance(s->repo.storage, GRACE);
        if (expire_sweep(&s->repo, GRACE, &done, &err) != ERR_OK)
            return false;
    }
    return true;
}

static bool is_used(const Settling *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++) {
        const BackupSpecimen *b = s->all[i];
        if (!s->kept[i])
            continue;
        char *dir AUTO(mem_freep) = full_object(b, "");
        if (strncmp(name, dir, strlen(dir)) == 0)
            return true;
        for (unsigned k = 0; k < b->packs_before + b->packs; k++) {
            char *pack AUTO(mem_freep) = full_pack(b->letter, k);
            if (strcmp(name, pack) == 0)
                return true;
        }
        for (const char *u = b->uses; *u; u++) {
            char *pack AUTO(mem_freep) = full_pack(*u, 0);
            if (strcmp(name, pack) == 0)
                return true;
        }
    }
    return false;
}

static const char *what_is_left(const Settling *s)
{
    StrList names AUTO(str_list_release) = {0};
    bool marked = false;
    Err err;
    if (storage_list_names(s->repo.storage, CLUSTER "/", false, &names, &err) != ERR_OK)
        abort();
    for (size_t i = 0; i < names.n; i++)
        marked |= strstr(names.at[i], "/going-") != NULL;
    for (size_t i = 0; i < names.n; i++) {
        const char *name = names.at[i];
        if (is_used(s, name) || strstr(name, "/leases/") || (marked && strstr(name, "/trash/")))
            continue;
        return strstr(name, "/packs/")     ? "a pack that nobody uses stays for ever"
               : strstr(name, "/backups/") ? "what is left of a backup stays for ever"
                                           : "a trash object stays for ever";
    }
    return NULL;
}

static const char *settle(Settling *s)
{
    for (size_t i = 0; i < s->n; i++)
        s->kept[i] =
            parts_whole(s->repo.storage, s->all[i]) && !parts_retired(s->repo.storage, s->all[i]);
    if (!expire_twice(s, false))
        return "every later expire fails";
    for (size_t i = 0; i < s->n; i++)
        if (s->kept[i] && !parts_whole(s->repo.storage, s->all[i]))
            return "a later expire breaks a backup";
    const char *left = what_is_left(s);
    if (left)
        return left;
    memset(s->kept, 0, sizeof(s->kept));
    return expire_twice(s, true) ? what_is_left(s) : "every later expire fails";
}

const char *parts_settle(const Repo *like, Storage *store, const BackupSpecimen *const *all,
                         size_t n)
{
    Settling s = {.repo = *like, .all = all, .n = n};
    s.repo.storage = storage_mem_clone(store);
    chance_begin(UINT8_MAX, 0);
    const char *wrong = settle(&s);
    storage_free(s.repo.storage);
    return wrong;
}
