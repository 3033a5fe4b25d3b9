#include "catalog/wal_inventory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/common/hex.h"
#include "lib/repo/wal_tail.h"

static void timeline_release(TimelineWal *t)
{
    for (size_t i = 0; i < t->tails.n; i++)
        free(t->tails.at[i].name);
    vec_release(&t->entries);
    vec_release(&t->runs);
    vec_release(&t->tails);
}

void wal_inventory_release(WalInventory *inv)
{
    for (size_t i = 0; i < inv->timelines.n; i++)
        timeline_release(&inv->timelines.at[i]);
    vec_release(&inv->timelines);
    vec_release(&inv->histories);
    vec_release(&inv->labels);
    str_list_release(&inv->strays);
}

WalFound wal_entry_found(uint32_t tli, const WalEntry *e, uint32_t seg_size)
{
    WalFound f = {.stat = {0}};
    char name[WAL_NAME_MAX];
    wal_name_segment(tli, e->segno, seg_size, name);
    snprintf(f.file, sizeof(f.file), "%.24s%s", name, e->partial ? ".partial" : "");
    hex_format(e->digest, sizeof(e->digest), f.digest);
    return f;
}

/* --- reading --- */

typedef struct Reader {
    WalStore *store;
    WalInventory *inv;
} Reader;

static TimelineWal *timeline_add(WalInventory *inv, uint32_t tli)
{
    size_t i = inv->timelines.n;
    while (i > 0 && inv->timelines.at[i - 1].tli > tli)
        i--;
    if (i > 0 && inv->timelines.at[i - 1].tli == tli)
        return &inv->timelines.at[i - 1];
    vec_push(&inv->timelines, (TimelineWal){.tli = tli});
    for (size_t k = inv->timelines.n - 1; k > i; k--)
        inv->timelines.at[k] = inv->timelines.at[k - 1];
    inv->timelines.at[i] = (TimelineWal){.tli = tli};
    return &inv->timelines.at[i];
}

static ErrCode take_object(void *arg, const RepoEntry *e, Err *err)
{
    Reader *r = arg;
    WalFound f;
    (void)err;
    bool parsed = wal_found_parse(e->name, &f);
    WalName name =
        parsed ? wal_name_parse(f.file, r->store->seg_size) : (WalName){.kind = WAL_NAME_OTHER};
    char *right AUTO(mem_freep) = parsed ? wal_object_name(r->store, f.file, f.digest) : NULL;
    if (name.kind == WAL_NAME_OTHER || strcmp(right, e->name) != 0) {
        vec_push(&r->inv->strays, mem_strdup(e->name));
    } else if (name.kind == WAL_NAME_HISTORY) {
        vec_push(&r->inv->histories, f);
    } else if (name.kind == WAL_NAME_BACKUP) {
        vec_push(&r->inv->labels, f);
    } else {
        WalEntry entry = {.segno = name.segno, .partial = name.kind == WAL_NAME_PARTIAL};
        if (hex_parse(f.digest, '\0', entry.digest, sizeof(entry.digest)))
            vec_push(&timeline_add(r->inv, name.tli)->entries, entry);
    }
    return ERR_OK;
}

/* tail/<system>/<TLI>/<segment>/<start>-<end>-<session> */
static ErrCode take_tail(void *arg, const RepoEntry *e, Err *err)
{
    Reader *r = arg;
    char segment[WAL_SEGMENT_NAME_LEN + 1];
    uint64_t start, end;
    const char *at = e->name + strlen("tail/") + strlen(r->store->system) + 1;
    (void)err;
    snprintf(segment, sizeof(segment), "%s", strlen(at) > 9 ? at + 9 : "");
    WalName name = wal_name_parse(segment, r->store->seg_size);
    if (name.kind != WAL_NAME_SEGMENT || strncmp(at, segment, 8) != 0 || at[8] != '/' ||
        at + 9 + WAL_SEGMENT_NAME_LEN != strrchr(at, '/') || !tail_name_parse(at, &start, &end)) {
        vec_push(&r->inv->strays, mem_strdup(e->name));
        return ERR_OK;
    }
    vec_push(&timeline_add(r->inv, name.tli)->tails,
             (WalTail){.segno = name.segno, .name = mem_strdup(e->name)});
    return ERR_OK;
}

static int by_segno(const void *a, const void *b)
{
    const WalEntry *x = a, *y = b;
    if (x->segno != y->segno)
        return x->segno < y->segno ? -1 : 1;
    if (x->partial != y->partial)
        return x->partial ? 1 : -1;
    return memcmp(x->digest, y->digest, sizeof(x->digest));
}

static int tail_by_segno(const void *a, const void *b)
{
    const WalTail *x = a, *y = b;
    return x->segno < y->segno ? -1 : x->segno > y->segno;
}

/* A segment of two contents is in no run. */
static void find_runs(TimelineWal *t)
{
    t->runs.n = 0;
    for (size_t i = 0; i < t->entries.n; i++) {
        const WalEntry *e = &t->entries.at[i];
        bool twice = (i > 0 && e[-1].segno == e->segno) ||
                     (i + 1 < t->entries.n && e[1].segno == e->segno && !e[1].partial);
        WalRun *last = t->runs.n ? &t->runs.at[t->runs.n - 1] : NULL;
        if (e->partial || twice)
            continue;
        if (last && last->last + 1 == e->segno)
            last->last++;
        else
            vec_push(&t->runs, (WalRun){.first = e->segno, .last = e->segno});
    }
}

static void timeline_sort(TimelineWal *t)
{
    size_t left = 0;
    if (t->entries.n)
        qsort(t->entries.at, t->entries.n, sizeof(t->entries.at[0]), by_segno);
    if (t->tails.n)
        qsort(t->tails.at, t->tails.n, sizeof(t->tails.at[0]), tail_by_segno);
    for (size_t i = 0; i < t->entries.n; i++)
        if (!left || by_segno(&t->entries.at[left - 1], &t->entries.at[i]) != 0)
            t->entries.at[left++] = t->entries.at[i];
    t->entries.n = left;
    find_runs(t);
}

static ErrCode list_into(Reader *r, const char *prefix, RepoListFn fn, Err *err)
{
    RepoList list = {.prefix = prefix, .fn = fn, .arg = r};
    return repo_list(r->store->repo, &list, err);
}

static void add_folder(const WalStore *store, uint32_t tli, uint64_t segno, StrList *ret)
{
    char file[WAL_NAME_MAX];
    wal_name_segment(tli, segno, store->seg_size, file);
    char *prefix = mem_printf("wal/%s/%.8s/%.16s/", store->system, file, file);
    if (ret->n && strcmp(ret->at[ret->n - 1], prefix) == 0)
        free(prefix);
    else
        vec_push(ret, prefix);
}

/* The folders in which a segment is missing: behind every run, and where only a piece is there. */
static void find_ends(const TimelineWal *t, const WalStore *store, StrList *ret)
{
    for (size_t i = 0; i < t->runs.n; i++)
        add_folder(store, t->tli, t->runs.at[i].last + 1, ret);
    for (size_t i = 0; i < t->entries.n; i++)
        if (!wal_timeline_run(t, t->entries.at[i].segno))
            add_folder(store, t->tli, t->entries.at[i].segno, ret);
    for (size_t i = 0; i < t->tails.n; i++)
        if (!wal_timeline_run(t, t->tails.at[i].segno))
            add_folder(store, t->tli, t->tails.at[i].segno, ret);
}

/* What was published after its folder had been listed, and its tail removed before that was. */
static ErrCode look_again(Reader *r, Err *err)
{
    StrList folders AUTO(str_list_release) = {0};
    for (size_t i = 0; i < r->inv->timelines.n; i++)
        find_ends(&r->inv->timelines.at[i], r->store, &folders);
    str_list_sort(&folders);
    for (size_t i = 0; i < folders.n; i++)
        if (!i || strcmp(folders.at[i - 1], folders.at[i]) != 0)
            TRY(list_into(r, folders.at[i], take_object, err));
    return ERR_OK;
}

static int by_object(const void *a, const void *b)
{
    const WalFound *x = a, *y = b;
    int c = strcmp(x->file, y->file);
    return c ? c : strcmp(x->digest, y->digest);
}

static void labels_sort(WalFoundList *l)
{
    size_t left = 0;
    if (l->n)
        qsort(l->at, l->n, sizeof(l->at[0]), by_object);
    for (size_t i = 0; i < l->n; i++)
        if (!left || by_object(&l->at[left - 1], &l->at[i]) != 0)
            l->at[left++] = l->at[i];
    l->n = left;
}

static void strays_sort(StrList *l)
{
    size_t left = 0;
    str_list_sort(l);
    for (size_t i = 0; i < l->n; i++) {
        if (left && strcmp(l->at[left - 1], l->at[i]) == 0)
            free(l->at[i]);
        else
            l->at[left++] = l->at[i];
    }
    l->n = left;
}

/* In order, and each once: some folders were listed twice. */
static void inventory_sort(WalInventory *inv)
{
    for (size_t i = 0; i < inv->timelines.n; i++)
        timeline_sort(&inv->timelines.at[i]);
    labels_sort(&inv->labels);
    strays_sort(&inv->strays);
}

ErrCode wal_inventory_read(WalStore *store, WalInventory *ret, Err *err)
{
    WalInventory inv AUTO(wal_inventory_release) = {.seg_size = store->seg_size};
    Reader r = {.store = store, .inv = &inv};
    char *wal AUTO(mem_freep) = mem_printf("wal/%s/", store->system);
    char *tail AUTO(mem_freep) = mem_printf("tail/%s/", store->system);
    TRY(list_into(&r, wal, take_object, err));
    TRY(list_into(&r, tail, take_tail, err));
    inventory_sort(&inv);
    TRY(look_again(&r, err));
    inventory_sort(&inv);
    wal_inventory_release(ret);
    *ret = inv;
    inv = (WalInventory){.seg_size = 0};
    return ERR_OK;
}

/* --- asking --- */

const TimelineWal *wal_inventory_timeline(const WalInventory *inv, uint32_t tli)
{
    for (size_t i = 0; i < inv->timelines.n; i++)
        if (inv->timelines.at[i].tli == tli)
            return &inv->timelines.at[i];
    return NULL;
}

/* The first entry of `segno` or a later segment. */
static size_t entry_at(const TimelineWal *t, uint64_t segno)
{
    size_t lo = 0, hi = t->entries.n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (t->entries.at[mid].segno < segno)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const WalEntry *wal_timeline_entries(const TimelineWal *t, uint64_t segno, size_t *ret_n)
{
    size_t at = entry_at(t, segno), n = 0;
    while (at + n < t->entries.n && t->entries.at[at + n].segno == segno)
        n++;
    *ret_n = n;
    return n ? &t->entries.at[at] : NULL;
}

const WalRun *wal_timeline_run(const TimelineWal *t, uint64_t segno)
{
    size_t lo = 0, hi = t->runs.n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const WalRun *r = &t->runs.at[mid];
        if (segno < r->first)
            hi = mid;
        else if (segno > r->last)
            lo = mid + 1;
        else
            return r;
    }
    return NULL;
}

bool wal_timeline_has_tail(const TimelineWal *t, uint64_t segno)
{
    for (size_t i = 0; i < t->tails.n; i++)
        if (t->tails.at[i].segno == segno)
            return true;
    return false;
}

uint64_t wal_timeline_next(const TimelineWal *t, uint64_t segno)
{
    size_t at = entry_at(t, segno);
    uint64_t next = at < t->entries.n ? t->entries.at[at].segno : UINT64_MAX;
    for (size_t i = 0; i < t->tails.n; i++)
        if (t->tails.at[i].segno >= segno)
            return MIN(next, t->tails.at[i].segno);
    return next;
}
