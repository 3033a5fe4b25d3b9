#include "lib/repo/page_reader.h"

#include <pthread.h>
#include <string.h>

#include "lib/repo/fetch_ahead.h"

/* --- shared tables --- */

typedef struct CachedTable {
    PackTable *table;
    unsigned users;
    uint64_t used; /* when, by the cache's own count */
} CachedTable;

struct PackTables {
    Repo *repo;
    size_t limit, memory;
    PackFindFn find;
    void *find_arg;
    pthread_mutex_t lock;
    VEC(CachedTable) tables;
    uint64_t clock;
    PackTables *fallback;
};

PackTables *pack_tables_new(Repo *repo, size_t memory_limit, PackFindFn find, void *arg)
{
    PackTables *t = NEW(PackTables);
    t->repo = repo;
    t->limit = memory_limit;
    t->find = find;
    t->find_arg = arg;
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

void pack_tables_free(PackTables *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->tables.n; i++)
        pack_table_free(t->tables.at[i].table);
    vec_release(&t->tables);
    pack_tables_free(t->fallback);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

PackTables *pack_tables_fallback(PackTables *t)
{
    pthread_mutex_lock(&t->lock);
    if (!t->fallback)
        t->fallback = pack_tables_new(t->repo->fallback, t->limit, NULL, NULL);
    pthread_mutex_unlock(&t->lock);
    return t->fallback;
}

static CachedTable *cached_find(PackTables *t, const char *backup_id, uint32_t pack)
{
    for (size_t i = t->tables.n; i-- > 0;) {
        const PackTable *p = t->tables.at[i].table;
        if (p->id.number == pack && strcmp(p->backup_id, backup_id) == 0)
            return &t->tables.at[i];
    }
    return NULL;
}

static void cached_evict(PackTables *t)
{
    while (t->memory > t->limit) {
        size_t oldest = SIZE_MAX;
        for (size_t i = 0; i < t->tables.n; i++)
            if (!t->tables.at[i].users &&
                (oldest == SIZE_MAX || t->tables.at[i].used < t->tables.at[oldest].used))
                oldest = i;
        if (oldest == SIZE_MAX)
            return; /* all in use */
        t->memory -= t->tables.at[oldest].table->memory;
        pack_table_free(t->tables.at[oldest].table);
        t->tables.at[oldest] = t->tables.at[--t->tables.n];
    }
}

ErrCode pack_tables_get(PackTables *t, const char *backup_id, uint32_t pack, const PackTable **ret,
                        Err *err)
{
    PackId id = {.kind = 'd', .number = pack};
    pthread_mutex_lock(&t->lock);
    CachedTable *c = cached_find(t, backup_id, pack);
    const PackInfo *expected = c || !t->find ? NULL : t->find(t->find_arg, backup_id, id);
    if (c) {
        c->users++;
        c->used = ++t->clock;
        *ret = c->table;
    }
    pthread_mutex_unlock(&t->lock);
    if (c)
        return ERR_OK;

    PackTable *table = NULL; /* loaded without the lock: others go on */
    TRY(pack_table_load(t->repo, backup_id, id, expected, &table, err));
    pthread_mutex_lock(&t->lock);
    c = cached_find(t, backup_id, pack);
    if (c) {
        pack_table_free(table); /* somebody else was faster */
    } else {
        vec_push(&t->tables, (CachedTable){.table = table});
        c = &t->tables.at[t->tables.n - 1];
        t->memory += table->memory;
    }
    c->users++;
    c->used = ++t->clock;
    *ret = c->table;
    cached_evict(t);
    pthread_mutex_unlock(&t->lock);
    return ERR_OK;
}

void pack_tables_put(PackTables *t, const PackTable *table)
{
    pthread_mutex_lock(&t->lock);
    CachedTable *c = cached_find(t, table->backup_id, table->id.number);
    if (c)
        c->users--;
    pthread_mutex_unlock(&t->lock);
}

/* --- one pack that is being read --- */

#define CHUNK_MAX (4 * MIB)
#define CHUNK_MIN (256 * KIB)

typedef struct PackStream {
    const PackTable *table; /* NULL: not opened yet */
    UnitReader *units;
    Buf chunk; /* stored bytes from chunk_off on */
    uint64_t chunk_off;
    uint64_t last_slot; /* the last one wanted from here */
    uint32_t next;      /* the unit behind the chunk */
    uint32_t unit;      /* the one in raw; UINT32_MAX: none */
    Buf raw;
    size_t ahead;  /* small files: bytes to read at once, while units come in order */
    uint64_t used; /* small files: when, by the reader's own count */
} PackStream;

#define SMALL_STREAMS 8

struct PageReader {
    Repo *repo;
    PackTables *tables;
    Decompressor *decompressor;
    size_t memory, chunk_size;

    const FileMap *map;
    const StrList *ids;
    uint32_t page_size;
    uint64_t file_size, page, until;
    size_t run;
    VEC(PackStream) streams; /* one a source of the map */
    PackStream small[SMALL_STREAMS];
    uint64_t clock;
    PageReader *fallback; /* of the repository's fallback; made when it is needed */
    FetchAhead *ahead;    /* of pages; NULL: the repository is near enough */
};

PageReader *page_reader_new(Repo *repo, PackTables *tables, size_t memory)
{
    PageReader *r = NEW(PageReader);
    r->repo = repo;
    r->tables = tables;
    r->memory = memory;
    r->decompressor = decompressor_new();
    r->ahead = repo_is_remote(repo) ? fetch_ahead_new(repo) : NULL;
    for (int i = 0; i < SMALL_STREAMS; i++)
        r->small[i].unit = UINT32_MAX;
    return r;
}

static void stream_close(PageReader *r, PackStream *s)
{
    unit_reader_free(s->units);
    if (s->table)
        pack_tables_put(r->tables, s->table);
    s->table = NULL;
    s->units = NULL;
    s->chunk.len = s->raw.len = 0;
    s->unit = UINT32_MAX;
    s->ahead = 0;
}

static void stream_release(PageReader *r, PackStream *s)
{
    stream_close(r, s);
    buf_release(&s->chunk);
    buf_release(&s->raw);
}

void page_reader_free(PageReader *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->streams.n; i++)
        stream_release(r, &r->streams.at[i]);
    vec_release(&r->streams);
    for (int i = 0; i < SMALL_STREAMS; i++)
        stream_release(r, &r->small[i]);
    decompressor_free(r->decompressor);
    fetch_ahead_free(r->ahead);
    page_reader_free(r->fallback);
    free(r);
}

static ErrCode stream_open(PageReader *r, PackStream *s, const char *backup_id, uint32_t pack,
                           Err *err)
{
    if (s->table)
        return ERR_OK;
    TRY(pack_tables_get(r->tables, backup_id, pack, &s->table, err));
    s->units = unit_reader_new(&s->table->info, s->table->name);
    s->unit = UINT32_MAX;
    s->chunk.len = 0;
    return ERR_OK;
}

/* The unit behind those that go into one chunk, from `unit` on. */
static uint32_t chunk_until(const PackStream *s, uint32_t unit, uint32_t last, size_t chunk_size)
{
    const uint64_t *off = s->table->unit_off;
    uint32_t until = unit + 1;
    while (until <= last && off[until + 1] - off[unit] <= chunk_size)
        until++;
    return until;
}

/* The stored bytes of a unit; reads on up to unit `last`, within one chunk. */
static ErrCode stream_stored(PageReader *r, PackStream *s, uint32_t unit, uint32_t last,
                             size_t chunk_size, Slice *ret, Err *err)
{
    const uint64_t *off = s->table->unit_off;
    uint64_t begin = off[unit], end = off[unit + 1];
    if (begin < s->chunk_off || end > s->chunk_off + s->chunk.len) {
        s->next = chunk_until(s, unit, last, chunk_size);
        size_t len = (size_t)(off[s->next] - begin);
        s->chunk.len = 0;
        if (!r->ahead || !fetch_ahead_take(r->ahead, s->table->name, begin, len, &s->chunk))
            TRY(repo_get_range(r->repo, s->table->name, begin, buf_reserve(&s->chunk, len), len,
                               err));
        s->chunk.len = len;
        s->chunk_off = begin;
    }
    *ret = (Slice){s->chunk.data + (begin - s->chunk_off), (size_t)(end - begin)};
    return ERR_OK;
}

/* The next chunk of pages, when nothing else is under way. */
static void stream_look_ahead(PageReader *r, const PackStream *s, uint32_t last)
{
    const uint64_t *off = s->table->unit_off;
    if (!r->ahead || s->next > last)
        return;
    uint32_t until = chunk_until(s, s->next, last, r->chunk_size);
    fetch_ahead_begin(r->ahead, s->table->name, off[s->next], (size_t)(off[until] - off[s->next]));
}

static ErrCode in_pack(const PageReader *r, const PackStream *s, Err *err)
{
    return err_wrap(err, "pack '%s/%s' in '%s'", r->repo->cluster, s->table->name,
                    repo_url(r->repo));
}

static size_t page_length(const PageReader *r, uint64_t page)
{
    uint64_t begin = page * r->page_size;
    return (size_t)MIN((uint64_t)r->page_size, r->file_size - begin);
}

static ErrCode check_pages(const PageReader *r, const PackStream *s, uint64_t page, uint64_t slot,
                           uint64_t n, const uint8_t *data, Err *err)
{
    for (uint64_t i = 0; i < n; i++) {
        uint64_t hash = page_hash(s->table->info.key->page_secret, page + i,
                                  data + i * r->page_size, page_length(r, page + i));
        if (hash != pack_table_hash(s->table, slot + i))
            return err_set(err, ERR_DAMAGED, "slot %llu does not hold page %llu of its file",
                           (unsigned long long)(slot + i), (unsigned long long)(page + i));
    }
    return ERR_OK;
}

/* --- files --- */

ErrCode page_reader_begin(PageReader *r, const FileMap *map, const StrList *ids, uint32_t page_size,
                          uint64_t file_size, uint64_t first, uint64_t until, Err *err)
{
    if (file_size > map->pages * page_size || file_size + page_size <= map->pages * page_size)
        return err_set(err, ERR_DAMAGED, "a map of %llu pages for a file of %llu bytes",
                       (unsigned long long)map->pages, (unsigned long long)file_size);
    for (size_t i = 0; i < r->streams.n; i++)
        stream_close(r, &r->streams.at[i]);
    if (r->ahead)
        fetch_ahead_drop(r->ahead);
    while (r->streams.n < map->sources.n)
        vec_push(&r->streams, (PackStream){.unit = UINT32_MAX});
    r->map = map;
    r->ids = ids;
    r->page_size = page_size;
    r->file_size = file_size;
    r->page = first;
    r->until = MIN(until, map->pages);
    r->run = 0;
    size_t used = 0;
    for (size_t i = 0; i < map->sources.n; i++)
        r->streams.at[i].last_slot = 0;
    for (size_t i = 0; i < map->runs.n; i++) {
        const MapRun *run = &map->runs.at[i];
        if (run->first + run->pages <= first) {
            r->run = i + 1;
            continue;
        }
        if (run->first >= r->until)
            break;
        if (!run->source)
            continue;
        PackStream *s = &r->streams.at[run->source - 1];
        uint64_t pages = MIN(run->pages, r->until - run->first);
        used += s->last_slot == 0;
        s->last_slot = MAX(s->last_slot, run->slot + pages - 1);
    }
    used = MAX(used, (size_t)1) + (r->ahead != NULL);
    r->chunk_size = MAX(CHUNK_MIN, MIN(CHUNK_MAX, r->memory / used));
    return ERR_OK;
}

static ErrCode stream_check_slots(const PackStream *s, uint64_t slot, uint64_t n, Err *err)
{
    if (slot >= s->table->info.slots || n > s->table->info.slots - slot)
        return err_set(err, ERR_DAMAGED, "a map points behind its last slot");
    return ERR_OK;
}

/* Pages of one run out of one unit. */
static ErrCode read_pages(PageReader *r, PackStream *s, const MapRun *run, uint8_t *out, uint64_t n,
                          uint64_t *ret_pages, Err *err)
{
    const PackTable *t = s->table;
    uint64_t slot = run->slot + (r->page - run->first);
    uint64_t wanted = MIN(MIN(run->first + run->pages, r->until) - r->page, n);
    TRY(stream_check_slots(s, slot, 1, err));
    uint32_t unit = pack_table_unit_of(t, slot);
    uint64_t unit_first = t->unit_slot[unit], unit_end = t->unit_slot[unit + 1];
    uint64_t pages = MIN(wanted, unit_end - slot);
    bool whole = slot == unit_first && pages == unit_end - unit_first;
    bool ends_file = (r->page + pages) * r->page_size > r->file_size;
    size_t len = (size_t)(pages * r->page_size);
    if (ends_file)
        len -= (size_t)((r->page + pages) * r->page_size - r->file_size);
    if (whole || s->unit != unit) {
        Slice stored;
        uint64_t last_slot = MAX(slot, MIN(s->last_slot, t->info.slots - 1));
        uint32_t last = pack_table_unit_of(t, last_slot);
        TRY(stream_stored(r, s, unit, last, r->chunk_size, &stored, err));
        stream_look_ahead(r, s, last);
        if (whole) {
            TRY(unit_reader_open(s->units, r->decompressor, unit, stored.data, stored.len, out, len,
                                 err));
        } else {
            s->unit = UINT32_MAX;
            s->raw.len = 0;
            TRY(unit_reader_append(s->units, r->decompressor, unit, stored.data, stored.len,
                                   &s->raw, err));
            s->unit = unit;
        }
    }
    if (!whole) {
        size_t off = (size_t)((slot - unit_first) * r->page_size);
        if (off + len > s->raw.len)
            return err_set(err, ERR_DAMAGED, "unit %u is too short for its slots", unit);
        memcpy(out, s->raw.data + off, len);
    }
    TRY(check_pages(r, s, r->page, slot, pages, out, err));
    *ret_pages = pages;
    return ERR_OK;
}

static const MapRun *current_run(PageReader *r)
{
    while (r->run < r->map->runs.n &&
           r->map->runs.at[r->run].first + r->map->runs.at[r->run].pages <= r->page)
        r->run++;
    return r->run < r->map->runs.n ? &r->map->runs.at[r->run] : NULL;
}

static ErrCode reader_next(PageReader *r, void *out, uint64_t n, uint64_t *ret_pages,
                           bool *ret_zeros, Err *err)
{
    uint64_t done = 0;
    *ret_zeros = false;
    while (done < n && r->page < r->until) {
        const MapRun *run = current_run(r);
        if (!run)
            return err_set(err, ERR_DAMAGED, "a map that has no end");
        if (!run->source) {
            if (done)
                break;
            done = MIN(run->first + run->pages, r->until) - r->page;
            r->page += done;
            *ret_zeros = true;
            break;
        }
        const MapSource *source = &r->map->sources.at[run->source - 1];
        PackStream *s = &r->streams.at[run->source - 1];
        uint64_t got = 0;
        TRY(stream_open(r, s, r->ids->at[source->backup], source->pack, err));
        if (read_pages(r, s, run, (uint8_t *)out + done * r->page_size, n - done, &got, err) !=
            ERR_OK)
            return in_pack(r, s, err);
        r->page += got;
        done += got;
    }
    *ret_pages = done;
    return ERR_OK;
}

static PageReader *reader_fallback(PageReader *r)
{
    if (!r->fallback)
        r->fallback =
            page_reader_new(r->repo->fallback, pack_tables_fallback(r->tables), r->memory);
    return r->fallback;
}

ErrCode page_reader_next(PageReader *r, void *out, uint64_t n, uint64_t *ret_pages, bool *ret_zeros,
                         Err *err)
{
    uint64_t begin = r->page;
    if (!r->repo->fallback || !atomic_load(&r->repo->down)) {
        size_t run = r->run;
        ErrCode rc = reader_next(r, out, n, ret_pages, ret_zeros, err);
        if (rc != ERR_OK && repo_reads_again(r->repo, err)) {
            for (size_t i = 0; i < r->streams.n; i++)
                stream_close(r, &r->streams.at[i]);
            r->page = begin;
            r->run = run;
            rc = reader_next(r, out, n, ret_pages, ret_zeros, err);
        }
        if (rc == ERR_OK || !repo_falls_back(r->repo, err))
            return rc;
    }
    PageReader *other = reader_fallback(r);
    TRY(page_reader_begin(other, r->map, r->ids, r->page_size, r->file_size, begin, r->until, err));
    TRY(page_reader_next(other, out, n, ret_pages, ret_zeros, err));
    r->page = begin + *ret_pages;
    return ERR_OK;
}

void page_reader_skip(PageReader *r, uint64_t n)
{
    r->page += n;
}

static ErrCode reader_same(PageReader *r, uint64_t page, const void *data, size_t len,
                           bool *ret_same, Err *err)
{
    const MapRun *run = file_map_find(r->map, page);
    *ret_same = false;
    if (!run || len != page_length(r, page))
        return ERR_OK;
    if (!run->source) {
        *ret_same = is_all_zero(data, len);
        return ERR_OK;
    }
    const MapSource *source = &r->map->sources.at[run->source - 1];
    PackStream *s = &r->streams.at[run->source - 1];
    uint64_t slot = run->slot + (page - run->first);
    TRY(stream_open(r, s, r->ids->at[source->backup], source->pack, err));
    if (stream_check_slots(s, slot, 1, err) != ERR_OK)
        return in_pack(r, s, err);
    *ret_same = page_hash(s->table->info.key->page_secret, page, data, len) ==
                pack_table_hash(s->table, slot);
    return ERR_OK;
}

ErrCode page_reader_same(PageReader *r, uint64_t page, const void *data, size_t len, bool *ret_same,
                         Err *err)
{
    ErrCode rc = reader_same(r, page, data, len, ret_same, err);
    if (rc == ERR_OK || !repo_falls_back(r->repo, err))
        return rc;
    *ret_same = false; /* written anew, from wherever it can be read */
    return ERR_OK;
}

/* --- small files --- */

/* The open pack, or the one not used for longest. */
static PackStream *small_stream(PageReader *r, const char *backup_id, uint32_t pack)
{
    PackStream *oldest = &r->small[0];
    for (int i = 0; i < SMALL_STREAMS; i++) {
        PackStream *s = &r->small[i];
        if (s->table && s->table->id.number == pack &&
            strcmp(s->table->backup_id, backup_id) == 0) {
            s->used = ++r->clock;
            return s;
        }
        if (s->used < oldest->used)
            oldest = s;
    }
    stream_close(r, oldest);
    oldest->used = ++r->clock;
    return oldest;
}

static ErrCode small_unit(PageReader *r, PackStream *s, uint32_t unit, Err *err)
{
    Slice stored;
    if (s->unit == unit)
        return ERR_OK;
    if (unit >= s->table->info.units)
        return err_set(err, ERR_DAMAGED, "there is no unit %u", unit);
    /* Twice as far ahead each time, over the units of small files that follow; pages are somebody
     * else's. */
    s->ahead = s->unit != UINT32_MAX && unit == s->unit + 1
                   ? MIN(MAX(s->ahead * 2, CHUNK_MIN), CHUNK_MAX)
                   : 0;
    uint32_t last = unit;
    const uint64_t *slot = s->table->unit_slot;
    while (last + 1 < s->table->info.units && slot[last + 1] == slot[last + 2])
        last++;
    TRY(stream_stored(r, s, unit, last, s->ahead, &stored, err));
    s->unit = UINT32_MAX;
    s->raw.len = 0;
    TRY(unit_reader_append(s->units, r->decompressor, unit, stored.data, stored.len, &s->raw, err));
    s->unit = unit;
    return ERR_OK;
}

static bool small_fits(const PackTable *t, const FileEntry *e, const void *data, size_t len)
{
    return len == e->size && e->small < t->n_small &&
           page_hash(t->info.key->page_secret, 0, data, len) == pack_table_small_hash(t, e->small);
}

static ErrCode reader_small(PageReader *r, const char *backup_id, const FileEntry *e,
                            const void **ret, Err *err)
{
    PackStream *s = small_stream(r, backup_id, e->pack);
    TRY(stream_open(r, s, backup_id, e->pack, err));
    if (small_unit(r, s, e->unit, err) != ERR_OK)
        return in_pack(r, s, err);
    if (e->off > s->raw.len || e->size > s->raw.len - e->off ||
        !small_fits(s->table, e, s->raw.data + e->off, e->size)) {
        err_set(err, ERR_DAMAGED, "unit %u does not hold '%s'", e->unit, e->path);
        return in_pack(r, s, err);
    }
    *ret = s->raw.data + e->off;
    return ERR_OK;
}

ErrCode page_reader_small(PageReader *r, const char *backup_id, const FileEntry *e,
                          const void **ret, Err *err)
{
    if (!r->repo->fallback || !atomic_load(&r->repo->down)) {
        ErrCode rc = reader_small(r, backup_id, e, ret, err);
        if (rc != ERR_OK && repo_reads_again(r->repo, err)) {
            stream_close(r, small_stream(r, backup_id, e->pack));
            rc = reader_small(r, backup_id, e, ret, err);
        }
        if (rc == ERR_OK || !repo_falls_back(r->repo, err))
            return rc;
    }
    return page_reader_small(reader_fallback(r), backup_id, e, ret, err);
}

ErrCode page_reader_small_same(PageReader *r, const char *backup_id, const FileEntry *e,
                               const void *data, size_t len, bool *ret_same, Err *err)
{
    PackStream *s = small_stream(r, backup_id, e->pack);
    ErrCode rc = stream_open(r, s, backup_id, e->pack, err);
    if (rc != ERR_OK && !repo_falls_back(r->repo, err))
        return rc;
    *ret_same = rc == ERR_OK && small_fits(s->table, e, data, len);
    return ERR_OK;
}
