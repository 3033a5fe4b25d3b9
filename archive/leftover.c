#include "archive/leftover.h"

#include <pthread.h>
#include <string.h>

#include "lib/common/log.h"
#include "lib/common/parallel.h"
#include "lib/repo/pack.h"
#include "lib/repo/publish.h"
#include "lib/repo/trash.h"

void leftover_release(Leftover *l)
{
    vec_release(&l->packs);
    vec_release(&l->runs);
    *l = (Leftover){.id = ""};
}

/* --- which --- */

#define PACKS "packs/"

static bool has_id(const StrList *ids, const char *id)
{
    for (size_t i = 0; i < ids->n; i++)
        if (strcmp(ids->at[i], id) == 0)
            return true;
    return false;
}

/* The ids of folders below packs/ that are younger than `newest`, and older than `self`: in byte
 * order, which is that of their time. */
static ErrCode list_younger(Repo *repo, const char *newest, const char *self, StrList *ret,
                            Err *err)
{
    StrList folders AUTO(str_list_release) = {0};
    TRY(repo_list_names(repo, PACKS, true, &folders, err));
    for (size_t i = 0; i < folders.n; i++) {
        char id[BACKUP_ID_LEN + 1] = "";
        const char *name = folders.at[i] + strlen(PACKS);
        memcpy(id, name, MIN(strlen(name), (size_t)BACKUP_ID_LEN));
        if (backup_id_valid(id) && strcmp(id, newest) > 0 && strcmp(id, self) < 0)
            vec_push(ret, mem_strdup(id));
    }
    return ERR_OK;
}

/* The youngest that nobody makes, of those that are younger than every committed one. */
static void choose(const StrList *ids, const BackupStates *states, const StrList *live,
                   char ret[BACKUP_ID_LEN + 1])
{
    ret[0] = '\0';
    for (size_t i = 0; i < ids->n; i++) {
        const BackupState *s = backup_states_find(states, ids->at[i]);
        if (s && s->summary)
            ret[0] = '\0';
        else if (!(s && (s->deleted.n || s->going)) && !has_id(live, ids->at[i]))
            memcpy(ret, ids->at[i], BACKUP_ID_LEN + 1);
    }
}

typedef struct PackListing {
    Leftover *to;
    TrashList *trash;
    size_t prefix;
} PackListing;

static bool is_condemned(const TrashList *trash, const char *name)
{
    for (size_t i = 0; i < trash->n; i++)
        if (name_set_has(&trash->at[i].names, name))
            return true;
    return false;
}

static ErrCode list_pack(void *arg, const RepoEntry *e, Err *err)
{
    PackListing *l = arg;
    const char *slash = strrchr(e->name, '/');
    LeftPack p = {.size = e->stat.size};
    (void)err;
    if (pack_id_parse(slash + 1, &p.id) && p.id.kind == 'd' && !is_condemned(l->trash, e->name))
        vec_push(&l->to->packs, p);
    return ERR_OK;
}

static int by_pack(const void *a, const void *b)
{
    uint32_t x = ((const LeftPack *)a)->id.number, y = ((const LeftPack *)b)->id.number;
    return (x > y) - (x < y);
}

static ErrCode list_packs(Repo *repo, Leftover *l, Err *err)
{
    TrashList trash AUTO(trash_list_release) = {0};
    char *prefix AUTO(mem_freep) = mem_printf(PACKS "%s/", l->id);
    PackListing listing = {.to = l, .trash = &trash};
    RepoList list = {.prefix = prefix, .want_stat = true, .fn = list_pack, .arg = &listing};
    TRY(trash_read(repo, 0, &trash, err));
    TRY(repo_list(repo, &list, err));
    if (l->packs.n)
        qsort(l->packs.at, l->packs.n, sizeof(l->packs.at[0]), by_pack);
    return ERR_OK;
}

ErrCode leftover_find(Repo *repo, const char *self, const char *newest, Leftover *ret, Err *err)
{
    Leftover l AUTO(leftover_release) = {.id = ""};
    BackupStates states AUTO(backup_states_release) = {0};
    StrList ids AUTO(str_list_release) = {0}, live AUTO(str_list_release) = {0};
    StrList left AUTO(str_list_release) = {0};
    leftover_release(ret);
    TRY(list_younger(repo, newest, self, &ids, err));
    if (!ids.n)
        return ERR_OK;
    TRY(lease_makers(repo, &live, &left, err));
    /* Behind the leases: who has committed meanwhile is seen. */
    TRY(backup_states_read(repo, NULL, &states, err));
    choose(&ids, &states, &live, l.id);
    if (*l.id)
        TRY(list_packs(repo, &l, err));
    if (!l.packs.n)
        return ERR_OK;
    *ret = l;
    l = (Leftover){.id = ""};
    return ERR_OK;
}

/* --- what --- */

typedef struct TablesRead {
    Repo *repo;
    Leftover *l;
    const BackupFiles *files;
    uint32_t page_size;
    pthread_mutex_t lock; /* of l->runs */
} TablesRead;

static void add_runs(TablesRead *t, uint32_t pack, const StrList *files, const PackOwners *owners)
{
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < owners->n; i++) {
        const PackOwner *o = &owners->at[i];
        const BackupFile *f = backup_files_find(t->files, files->at[o->file]);
        if (f)
            vec_push(&t->l->runs, (LeftRun){.file = (uint32_t)(f - t->files->files.at),
                                            .pack = pack,
                                            .first = o->first,
                                            .n = o->n,
                                            .slot = o->slot,
                                            .unit = o->unit,
                                            .small = o->small});
    }
    pthread_mutex_unlock(&t->lock);
}

static ErrCode read_one(TablesRead *t, LeftPack *p, Err *err)
{
    PackTable *table AUTO(pack_table_freep) = NULL;
    StrList files AUTO(str_list_release) = {0};
    PackOwners owners = {0};
    TRY(pack_table_load(t->repo, t->l->id, p->id, NULL, &table, err));
    if (table->page_size && table->page_size != t->page_size)
        return err_set(err, ERR_MISMATCH, "its pages have another size");
    ErrCode rc = pack_table_owners(table, &files, &owners, err);
    if (rc == ERR_OK) {
        p->slots = table->info.slots;
        add_runs(t, p->id.number, &files, &owners);
    }
    vec_release(&owners);
    return rc;
}

static ErrCode read_table(void *arg, unsigned thread, size_t i, Err *err)
{
    TablesRead *t = arg;
    LeftPack *p = &t->l->packs.at[i];
    (void)thread;
    if (read_one(t, p, err) == ERR_OK || err_can_retry(err->code) || err->code == ERR_CANCELLED)
        return err->code;
    err_wrap(err, "%c%u of the interrupted backup %s is not used", p->id.kind, p->id.number,
             t->l->id);
    log_err(LOG_WARN, err);
    p->size = 0;
    *err = (Err){0};
    return ERR_OK;
}

static int by_file(const void *a, const void *b)
{
    const LeftRun *x = a, *y = b;
    if (x->file != y->file)
        return x->file < y->file ? -1 : 1;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return x->pack != y->pack ? (x->pack < y->pack ? -1 : 1)
                              : (x->slot > y->slot) - (x->slot < y->slot);
}

ErrCode leftover_read(Repo *repo, uint32_t page_size, const BackupFiles *files, Leftover *l,
                      Err *err)
{
    TablesRead t = {.repo = repo, .l = l, .files = files, .page_size = page_size};
    size_t n = 0;
    l->runs.n = 0;
    pthread_mutex_init(&t.lock, NULL);
    ErrCode rc = parallel_run(parallel_requests(l->packs.n), l->packs.n, read_table, &t, err);
    pthread_mutex_destroy(&t.lock);
    if (rc != ERR_OK)
        return rc;
    for (size_t i = 0; i < l->packs.n; i++)
        if (l->packs.at[i].size)
            l->packs.at[n++] = l->packs.at[i];
    l->packs.n = n;
    if (l->runs.n)
        qsort(l->runs.at, l->runs.n, sizeof(l->runs.at[0]), by_file);
    return ERR_OK;
}

const LeftRun *leftover_runs(const Leftover *l, size_t file, size_t *ret_n)
{
    size_t lo = 0, hi = l->runs.n, end;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (l->runs.at[mid].file < file)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (end = lo; end < l->runs.n && l->runs.at[end].file == file;)
        end++;
    *ret_n = end - lo;
    return *ret_n ? &l->runs.at[lo] : NULL;
}
