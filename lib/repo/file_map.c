#include "lib/repo/file_map.h"

#include <xxhash.h>

#include "lib/common/bytes.h"

enum { MAP_BASE = 0, MAP_PATCH = 1 };

void file_map_release(FileMap *m)
{
    vec_release(&m->sources);
    vec_release(&m->runs);
    *m = (FileMap){0};
}

static uint32_t source_index(FileMap *m, MapSource s)
{
    /* Nearly always one of the last few. */
    for (size_t i = m->sources.n; i-- > 0;)
        if (m->sources.at[i].backup == s.backup && m->sources.at[i].pack == s.pack)
            return (uint32_t)i + 1;
    vec_push(&m->sources, s);
    return (uint32_t)m->sources.n;
}

static void map_push(FileMap *m, MapRun run)
{
    MapRun *last = m->runs.n ? &m->runs.at[m->runs.n - 1] : NULL;
    if (last && last->source == run.source && last->first + last->pages == run.first &&
        (run.source == 0 || last->slot + last->pages == run.slot))
        last->pages += run.pages;
    else
        vec_push(&m->runs, run);
}

void file_map_add(FileMap *m, uint64_t first, uint64_t n, MapSource source, uint64_t slot)
{
    map_push(m,
             (MapRun){.source = source_index(m, source), .pages = n, .slot = slot, .first = first});
}

void file_map_add_zeros(FileMap *m, uint64_t first, uint64_t n)
{
    map_push(m, (MapRun){.source = 0, .pages = n, .first = first});
}

/*
 * Columns compress better than rows: all sources, then all lengths, then all slots, each as the
 * difference to what is most likely.
 */
void file_map_encode(const FileMap *m, Buf *out)
{
    size_t begin = out->len;
    buf_append_u8(out, m->patch ? MAP_PATCH : MAP_BASE);
    buf_append_varint(out, m->pages);
    if (m->patch) {
        buf_append_varint(out, m->base_backup);
        buf_append_varint(out, m->base_pack);
        buf_append_varint(out, m->base_off);
        buf_append_varint(out, m->base_len);
    }
    uint64_t *ends = mem_zero((m->sources.n + 1) * sizeof(*ends)); /* per source, next slot */
    for (size_t i = 0; i < m->runs.n; i++) {
        const MapRun *r = &m->runs.at[i];
        if (r->source && (!ends[r->source] || r->slot + 1 < ends[r->source]))
            ends[r->source] = r->slot + 1; /* lowest slot + 1 for now */
    }
    buf_append_varint(out, m->sources.n);
    uint32_t pack = 0;
    uint64_t slot = 0;
    for (size_t i = 0; i < m->sources.n; i++) {
        uint64_t first = ends[i + 1] ? ends[i + 1] - 1 : 0;
        buf_append_varint(out, m->sources.at[i].backup);
        buf_append_zigzag(out, (int64_t)m->sources.at[i].pack - pack);
        buf_append_zigzag(out, (int64_t)(first - slot));
        pack = m->sources.at[i].pack;
        slot = ends[i + 1] = first;
    }
    buf_append_varint(out, m->runs.n);
    uint32_t source = 0;
    for (size_t i = 0; i < m->runs.n; i++) {
        buf_append_zigzag(out, (int64_t)m->runs.at[i].source - source);
        source = m->runs.at[i].source;
    }
    uint64_t page = 0;
    for (size_t i = 0; i < m->runs.n; i++) {
        const MapRun *r = &m->runs.at[i];
        if (m->patch) /* pages kept from the base before this run */
            buf_append_varint(out, r->first - page);
        buf_append_varint(out, r->pages);
        page = r->first + r->pages;
    }
    for (size_t i = 0; i < m->runs.n; i++) {
        const MapRun *r = &m->runs.at[i];
        buf_append_zigzag(out, r->source ? (int64_t)(r->slot - ends[r->source]) : 0);
        ends[r->source] = r->slot + r->pages;
    }
    free(ends);
    buf_append_u64(out, XXH3_64bits(out->data + begin, out->len - begin));
}

static bool decode_head(Cursor *c, FileMap *m)
{
    uint8_t kind = cursor_u8(c);
    m->patch = kind == MAP_PATCH;
    m->pages = cursor_varint(c);
    if (c->bad || kind > MAP_PATCH || m->pages > FILE_PAGES_MAX)
        return false;
    if (m->patch) {
        uint64_t backup = cursor_varint(c), pack = cursor_varint(c);
        m->base_off = cursor_varint(c);
        m->base_len = cursor_varint(c);
        if (backup > UINT32_MAX || pack > UINT32_MAX)
            return false;
        m->base_backup = (uint32_t)backup;
        m->base_pack = (uint32_t)pack;
    }
    return !c->bad;
}

/* Fills m->sources; the first slots go to `ends` (index 0 is for zero pages). */
static bool decode_sources(Cursor *c, FileMap *m, uint64_t n, uint64_t *ends)
{
    uint64_t pack = 0, slot = 0; /* differences wrap */
    vec_reserve(&m->sources, n);
    ends[0] = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t backup = cursor_varint(c);
        pack += (uint64_t)cursor_zigzag(c);
        slot += (uint64_t)cursor_zigzag(c);
        if (c->bad || backup > UINT32_MAX || pack > UINT32_MAX)
            return false;
        vec_push(&m->sources, (MapSource){.backup = (uint32_t)backup, .pack = (uint32_t)pack});
        ends[i + 1] = slot;
    }
    return true;
}

static bool decode_runs(Cursor *c, FileMap *m, uint64_t n, uint64_t *ends)
{
    uint64_t source = 0;
    vec_reserve(&m->runs, n);
    for (uint64_t i = 0; i < n; i++) {
        source += (uint64_t)cursor_zigzag(c);
        if (c->bad || source > m->sources.n)
            return false;
        vec_push(&m->runs, (MapRun){.source = (uint32_t)source});
    }
    uint64_t page = 0;
    for (uint64_t i = 0; i < n; i++) {
        MapRun *r = &m->runs.at[i];
        uint64_t kept = m->patch ? cursor_varint(c) : 0;
        r->pages = cursor_varint(c);
        if (c->bad || kept > m->pages - page || r->pages > m->pages - page - kept || r->pages == 0)
            return false;
        r->first = page + kept;
        page = r->first + r->pages;
    }
    if (!m->patch && page != m->pages)
        return false;
    for (uint64_t i = 0; i < n; i++) {
        MapRun *r = &m->runs.at[i];
        r->slot = ends[r->source] + (uint64_t)cursor_zigzag(c);
        if (c->bad || r->slot > FILE_PAGES_MAX)
            return false;
        if (r->source == 0)
            r->slot = 0;
        ends[r->source] = r->slot + r->pages;
    }
    return true;
}

static bool decode_all(Cursor *c, FileMap *m)
{
    if (!decode_head(c, m))
        return false;
    uint64_t n = cursor_varint(c);
    if (c->bad || n > cursor_left(c))
        return false;
    uint64_t *ends AUTO(mem_freep) = mem_new(((size_t)n + 1) * sizeof(*ends));
    if (!decode_sources(c, m, n, ends))
        return false;
    uint64_t runs = cursor_varint(c);
    if (c->bad || runs > cursor_left(c))
        return false;
    return decode_runs(c, m, runs, ends) && cursor_left(c) == 0;
}

ErrCode file_map_decode(const void *data, size_t len, FileMap *ret, Err *err)
{
    FileMap m = {0};
    if (len < 8 || get_u64((const uint8_t *)data + len - 8) != XXH3_64bits(data, len - 8))
        return err_set(err, ERR_DAMAGED, "a file map's checksum does not fit");
    Cursor c = cursor_of(data, len - 8);
    if (!decode_all(&c, &m)) {
        file_map_release(&m);
        return err_set(err, ERR_DAMAGED, "a file map contradicts itself");
    }
    file_map_release(ret);
    *ret = m;
    return ERR_OK;
}

/* Appends what `from` says about the pages first … until − 1. */
static void map_copy(const FileMap *from, uint64_t first, uint64_t until, FileMap *to)
{
    for (uint64_t page = first; page < until;) {
        const MapRun *r = file_map_find(from, page);
        uint64_t n = r ? MIN(r->first + r->pages, until) - page : until - page;
        if (!r || r->source == 0)
            file_map_add_zeros(to, page, n); /* beyond a shorter base there are zeros */
        else
            file_map_add(to, page, n, from->sources.at[r->source - 1], r->slot + (page - r->first));
        page += n;
    }
}

void file_map_join(const FileMap *base, const FileMap *patch, FileMap *ret)
{
    FileMap m = {.pages = patch->pages};
    uint64_t page = 0;
    for (size_t i = 0; i < patch->runs.n; i++) {
        const MapRun *r = &patch->runs.at[i];
        map_copy(base, page, r->first, &m);
        map_copy(patch, r->first, r->first + r->pages, &m);
        page = r->first + r->pages;
    }
    map_copy(base, page, patch->pages, &m);
    file_map_release(ret);
    *ret = m;
}

/* What two maps say about the pages from `page` on, as far as neither goes on to another run. */
typedef struct Stretch {
    uint64_t pages;
    bool same;
} Stretch;

/* Pages beyond the end of a map are zeros. */
static uint64_t run_left(const MapRun *r, uint64_t page)
{
    return r ? r->first + r->pages - page : UINT64_MAX;
}

static bool is_zeros(const MapRun *r)
{
    return !r || r->source == 0;
}

static Stretch compare_at(const FileMap *a, const FileMap *b, uint64_t page)
{
    const MapRun *x = file_map_find(a, page), *y = file_map_find(b, page);
    Stretch s = {.pages = MIN(run_left(x, page), run_left(y, page))};
    if (is_zeros(x) || is_zeros(y)) {
        s.same = is_zeros(x) && is_zeros(y);
        return s;
    }
    const MapSource *from = &a->sources.at[x->source - 1], *to = &b->sources.at[y->source - 1];
    s.same = from->backup == to->backup && from->pack == to->pack &&
             x->slot + (page - x->first) == y->slot + (page - y->first);
    return s;
}

void file_map_diff(const FileMap *base, const FileMap *map, FileMap *ret)
{
    FileMap m = {.patch = true, .pages = map->pages};
    for (uint64_t page = 0; page < map->pages;) {
        Stretch s = compare_at(base, map, page);
        uint64_t n = MIN(s.pages, map->pages - page);
        if (!s.same)
            map_copy(map, page, page + n, &m);
        page += n;
    }
    file_map_release(ret);
    *ret = m;
}

bool file_map_equal(const FileMap *a, const FileMap *b)
{
    uint64_t page = 0;
    while (a->pages == b->pages && page < a->pages) {
        Stretch s = compare_at(a, b, page);
        if (!s.same)
            return false;
        page += MIN(s.pages, a->pages - page);
    }
    return a->pages == b->pages;
}

const MapRun *file_map_find(const FileMap *m, uint64_t page)
{
    size_t lo = 0, hi = m->runs.n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (m->runs.at[mid].first + m->runs.at[mid].pages <= page)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < m->runs.n && m->runs.at[lo].first <= page ? &m->runs.at[lo] : NULL;
}
