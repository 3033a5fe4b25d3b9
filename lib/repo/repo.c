#include "lib/repo/repo.h"

#include <ctype.h>
#include <string.h>

#include "lib/common/hex.h"
#include "lib/common/log.h"
#include "lib/repo/key_store.h"

#define KEYS_PREFIX "keys/"
#define HINT_NAME "pgdr.json"

static Repo *repo_new(Storage *storage, const RepoSpec *spec)
{
    Repo *r = NEW(Repo);
    r->storage = storage;
    r->name = mem_strdup(spec->name);
    r->cluster = spec->cluster ? mem_strdup(spec->cluster) : NULL;
    return r;
}

void repo_close(Repo *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->keys.keys.n; i++)
        repo_key_free(r->keys.keys.at[i]);
    vec_release(&r->keys.keys);
    storage_free(r->storage);
    free(r->name);
    free(r->cluster);
    free(r);
}

static const char *cipher_name(uint8_t cipher)
{
    return cipher == CIPHER_AES_256_GCM ? "aes-256-gcm" : "none";
}

/* The configuration decides: an attacker, or a mistake, cannot turn encryption off. */
static ErrCode repo_check_cipher(const Repo *r, const RepoSpec *spec, Err *err)
{
    if (r->key->cipher == spec->cipher)
        return ERR_OK;
    err_set(err, ERR_CONFIG,
            "repository '%s' in '%s' has encryption = %s, the configuration says %s", r->name,
            repo_url(r), cipher_name(r->key->cipher), cipher_name(spec->cipher));
    return err_hint(err,
                    "set \"encryption = %s\" in [repo %s] if that is what you expect; else "
                    "this is not your repository",
                    cipher_name(r->key->cipher), r->name);
}

bool repo_is_remote(const Repo *r)
{
    return strstr(repo_url(r), "://") != NULL;
}

static ErrCode no_repository(const Repo *r, Err *err)
{
    err_set(err, ERR_NOT_FOUND, "there is no repository in '%s'", repo_url(r));
    if (repo_is_remote(r))
        return err_hint(err,
                        "is the url in [repo %s] right, with what stands behind the bucket? "
                        "'pgdr init' begins a new repository in an empty place",
                        r->name);
    return err_hint(err,
                    "is its file system mounted, and the url in [repo %s] right? 'pgdr init' "
                    "begins a new repository in an empty directory",
                    r->name);
}

ErrCode repo_open(Storage *storage, const RepoSpec *spec, Repo **ret, Err *err)
{
    Repo *r AUTO(repo_closep) = repo_new(storage, spec);
    KeyRing *ring AUTO(keyring_freep) = keyring_new(spec->secret);
    if (spec->cluster)
        TRY(cluster_name_check(spec->cluster, err));
    if (keys_read(r, ring, err) != ERR_OK)
        return err_wrap(err, "cannot open repository '%s' in '%s'", r->name, repo_url(r));
    if (!r->key)
        return no_repository(r, err);
    keys_keep_cipher(r, spec->cipher);
    TRY(repo_check_cipher(r, spec, err));
    *ret = steal_ptr(&r);
    return ERR_OK;
}

ErrCode repo_open_without_key(Storage *storage, const RepoSpec *spec, Repo **ret, Err *err)
{
    Repo *r AUTO(repo_closep) = repo_new(storage, spec);
    StrList names AUTO(str_list_release) = {0};
    if (spec->cluster)
        TRY(cluster_name_check(spec->cluster, err));
    TRY(storage_list_names(r->storage, KEYS_PREFIX, false, &names, err));
    if (!names.n)
        return no_repository(r, err);
    *ret = steal_ptr(&r);
    return ERR_OK;
}

/* --- init --- */

static ErrCode found_something(void *arg, const StorageEntry *entry, Err *err)
{
    (void)arg;
    return err_set(err, ERR_REFUSED, "%s", entry->name);
}

/* A new repository only in an empty place: what is there may be a repository whose keys are gone.
 */
static ErrCode init_check_empty(Repo *r, Err *err)
{
    Err why = {0};
    StorageList list = {.prefix = "", .by_level = true, .fn = found_something};
    ErrCode rc = storage_list(r->storage, &list, &why);
    if (rc == ERR_REFUSED) {
        err_set(err, ERR_REFUSED,
                "'%s' is not empty (it holds '%s') and holds no key of a "
                "repository",
                repo_url(r), why.message);
        return err_hint(err, "choose an empty place; if this was a repository, put its 'keys' "
                             "folder back");
    }
    *err = why;
    return rc;
}

static ErrCode init_write_hint(Repo *r, Err *err)
{
    char id[2 * REPO_ID_LEN + 1];
    char *text AUTO(mem_freep) = mem_printf(
        "{\"pgdr\":%d,\"repository\":\"%s\",\"encryption\":\"%s\","
        "\"note\":\"a hint for people; nothing reads it\"}\n",
        FORMAT_VERSION, hex_format(r->key->repo_id, REPO_ID_LEN, id), cipher_name(r->key->cipher));
    ErrCode rc = storage_put_bytes(r->storage, HINT_NAME, text, strlen(text), STORAGE_CREATE, err);
    return rc == ERR_EXISTS ? ERR_OK : rc;
}

static ErrCode init_key(Repo *r, const RepoSpec *spec, KeyRing *ring, Err *err)
{
    uint8_t id[REPO_ID_LEN];
    random_bytes(id, sizeof(id));
    RepoKey *key AUTO(repo_key_freep) = repo_key_new(id, spec->cipher, time_now());
    if (spec->cipher == CIPHER_NONE) {
        repo_key_wrap_plain(key);
    } else {
        WrapMethod m;
        TRY(keyring_method_new(ring, &m, err));
        TRY(repo_key_wrap(key, ring, &m, err));
    }
    return key_put(r, key, NULL, err);
}

ErrCode repo_init(Storage *storage, const RepoSpec *spec, Repo **ret, bool *ret_existed, Err *err)
{
    Repo *r AUTO(repo_closep) = repo_new(storage, spec);
    KeyRing *ring AUTO(keyring_freep) = keyring_new(spec->secret);
    if (keys_read(r, ring, err) != ERR_OK)
        return err_wrap(err, "cannot open repository '%s' in '%s'", r->name, repo_url(r));
    *ret_existed = r->key != NULL;
    if (!r->key) {
        TRY(init_check_empty(r, err));
        TRY(init_key(r, spec, ring, err));
        /* Read back what is there now: somebody else may have had the same idea. */
        TRY(keys_read(r, ring, err));
        if (!r->key)
            return err_set(err, ERR_DAMAGED, "'%s' does not list the key that was just written",
                           repo_url(r));
        TRY(init_write_hint(r, err));
    }
    keys_keep_cipher(r, spec->cipher);
    TRY(repo_check_cipher(r, spec, err));
    *ret = steal_ptr(&r);
    return ERR_OK;
}

/* It does not answer, or lets nobody in, or its bucket is gone: so it will be with every object. */
static bool is_down(ErrCode code)
{
    return err_can_retry(code) || code == ERR_AUTH || code == ERR_CONFIG;
}

bool repo_falls_back(Repo *r, const Err *err)
{
    if (!r->fallback || err->code == ERR_CANCELLED || err->code == ERR_NO_SPACE)
        return false;
    if (is_down(err->code) && !atomic_exchange(&r->down, true))
        log_line(LOG_WARN, err->hint, "%s; from now on repository '%s' is read", err->message,
                 r->fallback->name);
    else if (!is_down(err->code))
        log_line(LOG_WARN, err->hint, "%s; read from repository '%s' instead", err->message,
                 r->fallback->name);
    return true;
}

bool repo_reads_again(const Repo *r, Err *err)
{
    if (err->code != ERR_DAMAGED || !repo_is_remote(r))
        return false;
    log_line(LOG_WARN, err->hint, "%s; it is read once more", err->message);
    *err = (Err){0};
    return true;
}

/* --- names and clusters --- */

ErrCode cluster_name_check(const char *name, Err *err)
{
    size_t n = 0;
    while (isalnum((unsigned char)name[n]) || (n && name[n] && strchr("._-", name[n])))
        n++;
    if (name[n] || n == 0 || n > 64)
        return err_set(err, ERR_USAGE,
                       "'%s' is not a cluster's name: 1 to 64 letters, digits, "
                       "'.', '_' and '-'",
                       name);
    if (strcmp(name, "keys") == 0 || strcmp(name, HINT_NAME) == 0)
        return err_set(err, ERR_USAGE, "'%s' cannot be a cluster's name", name);
    return ERR_OK;
}

ErrCode repo_list_clusters(Repo *r, StrList *ret, Err *err)
{
    StrList names AUTO(str_list_release) = {0};
    TRY(storage_list_names(r->storage, "", true, &names, err));
    for (size_t i = 0; i < names.n; i++) {
        char *name = names.at[i];
        size_t n = strlen(name);
        if (name[n - 1] != '/' || strcmp(name, KEYS_PREFIX) == 0)
            continue;
        name[n - 1] = '\0';
        vec_push(ret, mem_strdup(name));
    }
    return ERR_OK;
}

void repo_set_cluster(Repo *r, const char *cluster)
{
    free(r->cluster);
    r->cluster = mem_strdup(cluster);
}

ErrCode repo_now(Repo *r, TimeUs *ret, Err *err)
{
    return storage_now(r->storage, ret, err);
}

char *repo_full_name(const Repo *r, const char *name)
{
    return mem_printf("%s/%s", r->cluster, name);
}

/* --- objects --- */

ErrCode repo_put(Repo *r, const char *name, const ObjectWriter *w, StoragePutFlags flags, Err *err)
{
    char *full AUTO(mem_freep) = repo_full_name(r, name);
    int fd;
    Slice bytes = object_writer_bytes(w, &fd);
    StorageSource src = {.parts = &bytes, .n = 1, .fd = -1, .size = bytes.len};
    if (fd >= 0)
        src = (StorageSource){.fd = fd, .size = object_writer_len(w)};
    return storage_put(r->storage, full, &src, flags, err);
}

ErrCode repo_get(Repo *r, const char *name, size_t limit, Buf *out, Err *err)
{
    char *full AUTO(mem_freep) = repo_full_name(r, name);
    return storage_get_all(r->storage, full, limit, out, err);
}

ErrCode repo_get_range(Repo *r, const char *name, uint64_t off, void *out, size_t len, Err *err)
{
    char *full AUTO(mem_freep) = repo_full_name(r, name);
    StorageRead read = {.off = off, .len = len, .data = out};
    TRY(storage_get(r->storage, full, &read, err));
    if (read.got == len)
        return ERR_OK;
    return err_set(err, ERR_DAMAGED, "'%s' in '%s' is cut off: %llu bytes instead of at least %llu",
                   full, repo_url(r), (unsigned long long)read.size,
                   (unsigned long long)(off + len));
}

#define TAIL_GUESS (64 * KIB)

static ErrCode get_table(Repo *r, const char *full, const char *name, const char kind[KIND_LEN],
                         ObjectInfo *info, Buf *table, Err *err)
{
    Buf tail AUTO(buf_release) = {0};
    StorageRead read = {
        .from_end = true, .len = TAIL_GUESS, .data = buf_reserve(&tail, TAIL_GUESS)};
    TRY(storage_get(r->storage, full, &read, err));
    if (read.got < sizeof(ObjectFooter))
        return err_set(err, ERR_DAMAGED, "the object is cut off");
    const uint8_t *end = tail.data + read.got;
    TRY(object_footer_parse(&r->keys, end - sizeof(ObjectFooter), read.size, kind, info, err));
    UnitReader *units AUTO(unit_reader_freep) = unit_reader_new(info, name);
    if (info->table_off >= read.size - read.got)
        return unit_reader_table(units, end - (read.size - info->table_off), info->table_len, table,
                                 err);
    StorageRead rest = {.off = info->table_off, .len = info->table_len};
    Buf stored AUTO(buf_release) = {0};
    rest.data = buf_reserve(&stored, rest.len);
    TRY(storage_get(r->storage, full, &rest, err));
    return unit_reader_table(units, stored.data, rest.got, table, err);
}

ErrCode repo_get_table(Repo *r, const char *name, const char kind[KIND_LEN], ObjectInfo *ret,
                       Buf *ret_table, Err *err)
{
    char *full AUTO(mem_freep) = repo_full_name(r, name);
    ErrCode rc = get_table(r, full, name, kind, ret, ret_table, err);
    if (rc == ERR_DAMAGED || rc == ERR_VERSION || rc == ERR_WRONG_KEY)
        err_wrap(err, "cannot read the table of '%s' in '%s'", full, repo_url(r));
    return rc;
}

ErrCode repo_stat(Repo *r, const char *name, StorageStat *ret, Err *err)
{
    char *full AUTO(mem_freep) = repo_full_name(r, name);
    return storage_stat(r->storage, full, ret, err);
}

ErrCode repo_remove(Repo *r, const char *const *names, size_t n, Err *err)
{
    StrList full AUTO(str_list_release) = {0};
    for (size_t i = 0; i < n; i++)
        vec_push(&full, repo_full_name(r, names[i]));
    return storage_remove(r->storage, (const char *const *)full.at, n, err);
}

typedef struct ListAdapter {
    const RepoList *list;
    size_t cut; /* bytes of "<cluster>/" */
} ListAdapter;

static ErrCode list_adapt(void *arg, const StorageEntry *entry, Err *err)
{
    const ListAdapter *a = arg;
    RepoEntry e = {
        .name = entry->name + a->cut, .is_prefix = entry->is_prefix, .stat = entry->stat};
    return a->list->fn(a->list->arg, &e, err);
}

ErrCode repo_list(Repo *r, const RepoList *list, Err *err)
{
    char *prefix AUTO(mem_freep) = repo_full_name(r, list->prefix);
    char *after AUTO(mem_freep) = list->after ? repo_full_name(r, list->after) : NULL;
    ListAdapter adapter = {.list = list, .cut = strlen(r->cluster) + 1};
    StorageList inner = {.prefix = prefix,
                         .after = after,
                         .by_level = list->by_level,
                         .want_stat = list->want_stat,
                         .fn = list_adapt,
                         .arg = &adapter};
    return storage_list(r->storage, &inner, err);
}

static ErrCode list_push(void *arg, const RepoEntry *entry, Err *err)
{
    StrList *names = arg;
    (void)err;
    vec_push(names, mem_strdup(entry->name));
    return ERR_OK;
}

ErrCode repo_list_names(Repo *r, const char *prefix, bool by_level, StrList *ret, Err *err)
{
    RepoList list = {.prefix = prefix, .by_level = by_level, .fn = list_push, .arg = ret};
    return repo_list(r, &list, err);
}
