#include "catalog/wal_index.h"

#include <inttypes.h>
#include <string.h>

#include "lib/common/bytes.h"
#include "lib/common/compress.h"
#include "lib/common/json.h"
#include "lib/repo/object.h"

#define WAL_PAGE 8192
/* Pages of a fragment kept in the index; a record longer than this is rare and read from its
 * segments. */
#define FRAGMENT_PAGES_MAX 32
#define SECTION_RAW_MAX (64 * MIB)
#define INDEX_LEVEL 3

void wal_index_release(WalIndex *x)
{
    vec_release(&x->xacts);
    for (size_t i = 0; i < x->events.n; i++)
        free(x->events.at[i].text);
    vec_release(&x->events);
    buf_release(&x->head);
    buf_release(&x->tail);
    *x = (WalIndex){.start = 0};
}

/* --- building --- */

static void index_event(WalIndex *x, WalEventKind kind, const WalRecord *r, WalIndexEvent e)
{
    e.kind = kind;
    e.lsn = r->start;
    e.end = r->end;
    vec_push(&x->events, e);
}

static void index_xid(WalIndex *x, uint32_t xid)
{
    if (xid < 3) /* the first normal transaction id is 3 */
        return;
    if (!x->xid_min || (int32_t)(xid - x->xid_min) < 0)
        x->xid_min = xid;
    if (!x->xid_max || (int32_t)(xid - x->xid_max) > 0)
        x->xid_max = xid;
}

static void index_xact(WalIndex *x, const PgVersion *v, const WalRecord *r)
{
    WalXact xact;
    uint32_t top, n;
    const uint8_t *subxids;
    if (wal_record_xact(v, r, &xact)) {
        vec_push(&x->xacts, (XactEnd){.lsn = r->start,
                                      .end = r->end,
                                      .time = xact.time,
                                      .xid = xact.xid,
                                      .commit = xact.commit});
        index_xid(x, xact.xid);
        x->has_subxacts |= xact.n_subxids > 0;
    } else if (wal_record_assignment(r, &top, &n, &subxids)) {
        x->has_subxacts = true;
    }
}

static void index_xlog(WalIndex *x, const PgVersion *v, const WalRecord *r)
{
    WalCheckpoint ckpt;
    WalEndOfRecovery end;
    WalParameters params;
    TimeUs time;
    char name[64];
    Lsn start;
    if (wal_record_checkpoint(v, r, &ckpt))
        index_event(
            x, WAL_EVENT_CHECKPOINT, r,
            (WalIndexEvent){.time = ckpt.time, .number = ckpt.redo, .next_xid = ckpt.next_xid});
    else if (wal_record_restore_point(r, &time, name))
        index_event(x, WAL_EVENT_RESTORE_POINT, r,
                    (WalIndexEvent){.time = time, .text = mem_strdup(name)});
    else if (wal_record_backup_end(r, &start))
        index_event(x, WAL_EVENT_BACKUP_END, r, (WalIndexEvent){.number = start});
    else if (wal_record_end_of_recovery(r, &end))
        index_event(x, WAL_EVENT_END_OF_RECOVERY, r, (WalIndexEvent){.time = end.time});
    else if (wal_record_parameters(r, &params))
        index_event(x, WAL_EVENT_PARAMETERS, r, (WalIndexEvent){.parameters = params});
}

static void index_storage(WalIndex *x, const WalRecord *r)
{
    bool create;
    uint32_t oid;
    const char *path;
    RelLocator rel;
    uint8_t fork;
    if (r->rmgr == RMGR_TBLSPC && wal_record_tablespace(r, &create, &oid, &path))
        index_event(x, create ? WAL_EVENT_TABLESPACE_CREATE : WAL_EVENT_TABLESPACE_DROP, r,
                    (WalIndexEvent){.number = oid, .text = create ? mem_strdup(path) : NULL});
    else if (r->rmgr == RMGR_SMGR && wal_record_smgr_create(r, &rel, &fork) && fork == 3)
        index_event(x, WAL_EVENT_INIT_FORK, r, (WalIndexEvent){.rel = rel});
}

void wal_index_add(WalIndex *x, const PgVersion *v, const WalRecord *r)
{
    index_xid(x, r->xid);
    switch (r->rmgr) {
    case RMGR_XACT:
        index_xact(x, v, r);
        break;
    case RMGR_XLOG:
        index_xlog(x, v, r);
        break;
    case RMGR_TBLSPC:
    case RMGR_SMGR:
        index_storage(x, r);
        break;
    default:
        break;
    }
}

void wal_index_add_first(WalIndex *x, const PgVersion *v, const WalRecord *r)
{
    WalIndex all = *x;
    all.xacts = (__typeof__(all.xacts)){0};
    all.events = (__typeof__(all.events)){0};
    wal_index_add(&all, v, r);
    for (size_t i = 0; i < x->xacts.n; i++)
        vec_push(&all.xacts, x->xacts.at[i]);
    for (size_t i = 0; i < x->events.n; i++)
        vec_push(&all.events, x->events.at[i]);
    vec_release(&x->xacts);
    vec_release(&x->events);
    *x = all;
}

typedef struct IndexBuild {
    WalIndex *index;
    const PgVersion *version;
} IndexBuild;

static ErrCode build_record(void *arg, const WalRecord *r, Err *err)
{
    IndexBuild *b = arg;
    (void)err;
    wal_index_add(b->index, b->version, r);
    return ERR_OK;
}

/* Keeps the pages of what crosses the borders; behind the end of the first piece they are zeroed.
 */
static void build_fragments(WalIndex *x, const uint8_t *data, size_t len,
                            const WalSegmentCheck *check)
{
    Lsn end = x->start + len;
    Lsn head_end = check->first_record ? check->first_record : check->header.rem_len ? end : 0;
    size_t head = head_end > x->start && check->header.rem_len ? (size_t)(head_end - x->start) : 0;
    size_t head_pages = (head + WAL_PAGE - 1) / WAL_PAGE;
    size_t tail_off =
        check->spills ? (size_t)(check->spill_start - x->start) / WAL_PAGE * WAL_PAGE : len;
    size_t tail_pages = (len - tail_off) / WAL_PAGE;
    /* A record may pass through the whole segment: then it is in neither fragment. */
    if (check->spills && !check->first_record)
        tail_pages = 0, x->fragments_cut = true;
    if (head_pages > FRAGMENT_PAGES_MAX || tail_pages > FRAGMENT_PAGES_MAX) {
        x->fragments_cut = true;
        return;
    }
    buf_append(&x->head, data, head_pages * WAL_PAGE);
    if (head)
        memset(x->head.data + head, 0, x->head.len - head);
    if (!tail_pages)
        return;
    /* Whole pages: the scan comes to the record over those that begin before it. */
    buf_append(&x->tail, data + tail_off, len - tail_off);
    x->tail_start = check->spill_start;
}

ErrCode wal_index_build(const void *data, size_t len, Lsn start, WalSegmentCheck *check,
                        WalIndex *ret, Err *err)
{
    WalIndex x AUTO(wal_index_release) = {.start = start};
    WalSegmentHeader header;
    TRY(wal_segment_header(data, len, &header, err));
    IndexBuild build = {.index = &x, .version = header.version};
    TRY(wal_segment_check(data, len, start, build_record, &build, check, err));
    x.first = check->first_record;
    x.ends = check->ends;
    x.switched = check->switched;
    x.spills = check->spills;
    build_fragments(&x, data, len, check);
    wal_index_release(ret);
    *ret = x;
    x = (WalIndex){.start = 0};
    return ERR_OK;
}

/* --- encoding --- */

static void append_packed(Buf *sections, uint8_t type, const Buf *raw)
{
    Compressor *c AUTO(compressor_freep) = compressor_new(INDEX_LEVEL);
    Buf packed AUTO(buf_release) = {0};
    size_t bound = compress_bound(raw->len);
    packed.len = compressor_run(c, raw->data, raw->len, buf_reserve(&packed, bound), bound);
    table_append(sections, type, packed.data, packed.len);
}

static ErrCode find_packed(const Buf *table, uint8_t type, Buf *raw, bool *ret_there, Err *err)
{
    Slice section;
    TRY(table_find(table, type, &section, err));
    *ret_there = section.data != NULL;
    if (!section.data)
        return ERR_OK;
    size_t len;
    TRY(frame_raw_size(section.data, section.len, SECTION_RAW_MAX, &len, err));
    Decompressor *d AUTO(decompressor_freep) = decompressor_new();
    TRY(decompressor_run(d, section.data, section.len, buf_reserve(raw, len), len, err));
    raw->len = len;
    return ERR_OK;
}

/* Columns: LSN differences with the commit bit, lengths, time differences, xid differences. */
static void encode_xacts(const WalIndex *x, Buf *sections)
{
    Buf raw AUTO(buf_release) = {0};
    buf_append_varint(&raw, x->xacts.n);
    Lsn lsn = x->start;
    for (size_t i = 0; i < x->xacts.n; lsn = x->xacts.at[i++].lsn)
        buf_append_zigzag(&raw, (int64_t)(x->xacts.at[i].lsn - lsn) * 2 + x->xacts.at[i].commit);
    for (size_t i = 0; i < x->xacts.n; i++)
        buf_append_varint(&raw, x->xacts.at[i].end - x->xacts.at[i].lsn);
    TimeUs time = 0;
    for (size_t i = 0; i < x->xacts.n; time = x->xacts.at[i++].time)
        buf_append_zigzag(&raw, x->xacts.at[i].time - time);
    uint32_t xid = 0;
    for (size_t i = 0; i < x->xacts.n; xid = x->xacts.at[i++].xid)
        buf_append_zigzag(&raw, (int32_t)(x->xacts.at[i].xid - xid));
    append_packed(sections, SECTION_TIME, &raw);
}

static ErrCode decode_xacts(const Buf *raw, WalIndex *x, Err *err)
{
    Cursor c = cursor_of(raw->data, raw->len);
    uint64_t n = cursor_varint(&c);
    if (c.bad || n > raw->len)
        return err_set(err, ERR_DAMAGED, "the times in a WAL index are damaged");
    vec_reserve(&x->xacts, n);
    Lsn lsn = x->start;
    for (uint64_t i = 0; i < n; i++) {
        int64_t v = cursor_zigzag(&c);
        lsn += (uint64_t)(v >> 1);
        vec_push(&x->xacts, (XactEnd){.lsn = lsn, .commit = v & 1});
    }
    for (uint64_t i = 0; i < n; i++)
        x->xacts.at[i].end = x->xacts.at[i].lsn + cursor_varint(&c);
    TimeUs time = 0;
    for (uint64_t i = 0; i < n; i++)
        x->xacts.at[i].time = time = (TimeUs)((uint64_t)time + (uint64_t)cursor_zigzag(&c));
    uint32_t xid = 0;
    for (uint64_t i = 0; i < n; i++)
        x->xacts.at[i].xid = xid += (uint32_t)cursor_zigzag(&c);
    if (c.bad || cursor_left(&c))
        return err_set(err, ERR_DAMAGED, "the times in a WAL index are damaged");
    return ERR_OK;
}

static void encode_events(const WalIndex *x, Buf *sections)
{
    Buf raw AUTO(buf_release) = {0};
    buf_append_u8(&raw, (uint8_t)(x->switched | x->spills << 1 | x->has_subxacts << 2));
    buf_append_varint(&raw, x->first ? x->first - x->start + 1 : 0);
    buf_append_varint(&raw, x->ends - x->start);
    buf_append_u32(&raw, x->xid_min);
    buf_append_u32(&raw, x->xid_max);
    buf_append_varint(&raw, x->events.n);
    for (size_t i = 0; i < x->events.n; i++) {
        const WalIndexEvent *e = &x->events.at[i];
        Buf body AUTO(buf_release) = {0};
        buf_append_zigzag(&body, (int64_t)(e->lsn - x->start));
        buf_append_varint(&body, e->end - e->lsn);
        buf_append_zigzag(&body, e->time);
        buf_append_varint(&body, e->number);
        buf_append_varint(&body, e->next_xid);
        buf_append_varint(&body, e->text ? strlen(e->text) + 1 : 0);
        if (e->text)
            buf_append_str(&body, e->text);
        buf_append_u32(&body, e->rel.spc);
        buf_append_u32(&body, e->rel.db);
        buf_append_u32(&body, e->rel.rel);
        const WalParameters *p = &e->parameters;
        const int numbers[] = {p->max_connections,    p->max_worker_processes, p->max_wal_senders,
                               p->max_prepared_xacts, p->max_locks_per_xact,   p->wal_level};
        for (size_t k = 0; k < ARRAY_LEN(numbers); k++)
            buf_append_zigzag(&body, numbers[k]);
        buf_append_u8(&body, p->wal_log_hints);
        buf_append_u8(&raw, (uint8_t)e->kind);
        buf_append_varint(&raw, body.len);
        buf_append(&raw, body.data, body.len);
    }
    append_packed(sections, SECTION_EVENT, &raw);
}

static bool decode_event(Cursor *all, WalIndex *x)
{
    WalIndexEvent e = {.kind = cursor_u8(all)};
    uint64_t len = cursor_varint(all);
    const uint8_t *body = cursor_read(all, len);
    if (!body)
        return false;
    Cursor c = cursor_of(body, (size_t)len); /* a later version may append to it */
    e.lsn = x->start + (uint64_t)cursor_zigzag(&c);
    e.end = e.lsn + cursor_varint(&c);
    e.time = cursor_zigzag(&c);
    e.number = cursor_varint(&c);
    e.next_xid = cursor_varint(&c);
    uint64_t text = cursor_varint(&c);
    const uint8_t *bytes = text ? cursor_read(&c, text - 1) : NULL;
    e.rel.spc = cursor_u32(&c);
    e.rel.db = cursor_u32(&c);
    e.rel.rel = cursor_u32(&c);
    WalParameters *p = &e.parameters;
    int *numbers[] = {&p->max_connections,    &p->max_worker_processes, &p->max_wal_senders,
                      &p->max_prepared_xacts, &p->max_locks_per_xact,   &p->wal_level};
    for (size_t k = 0; k < ARRAY_LEN(numbers); k++)
        *numbers[k] = (int)cursor_zigzag(&c);
    p->wal_log_hints = cursor_u8(&c);
    bool named = e.kind == WAL_EVENT_RESTORE_POINT || e.kind == WAL_EVENT_TABLESPACE_CREATE;
    if (c.bad || (named && !bytes))
        return false;
    if (bytes)
        e.text = mem_strndup((const char *)bytes, (size_t)text - 1);
    vec_push(&x->events, e);
    return true;
}

static ErrCode decode_events(const Buf *raw, WalIndex *x, Err *err)
{
    Cursor c = cursor_of(raw->data, raw->len);
    uint8_t flags = cursor_u8(&c);
    x->switched = flags & 1;
    x->spills = flags & 2;
    x->has_subxacts = flags & 4;
    uint64_t first = cursor_varint(&c);
    x->first = first ? x->start + first - 1 : 0;
    x->ends = x->start + cursor_varint(&c);
    x->xid_min = cursor_u32(&c);
    x->xid_max = cursor_u32(&c);
    uint64_t n = cursor_varint(&c);
    for (uint64_t i = 0; i < n && !c.bad; i++)
        if (!decode_event(&c, x))
            c.bad = true;
    if (c.bad || cursor_left(&c))
        return err_set(err, ERR_DAMAGED, "the events in a WAL index are damaged");
    return ERR_OK;
}

static void encode_fragments(const WalIndex *x, Buf *sections)
{
    Buf raw AUTO(buf_release) = {0};
    buf_append_u8(&raw, x->fragments_cut);
    buf_append_varint(&raw, x->head.len / WAL_PAGE);
    buf_append(&raw, x->head.data, x->head.len);
    buf_append_varint(&raw, x->tail.len / WAL_PAGE);
    buf_append_varint(&raw, x->tail_start ? x->tail_start - x->start : 0);
    buf_append(&raw, x->tail.data, x->tail.len);
    append_packed(sections, SECTION_FRAG, &raw);
}

static ErrCode decode_fragments(const Buf *raw, WalIndex *x, Err *err)
{
    Cursor c = cursor_of(raw->data, raw->len);
    x->fragments_cut = cursor_u8(&c);
    uint64_t head = cursor_varint(&c);
    const uint8_t *bytes = head <= FRAGMENT_PAGES_MAX ? cursor_read(&c, head * WAL_PAGE) : NULL;
    if (bytes)
        buf_append(&x->head, bytes, head * WAL_PAGE);
    uint64_t tail = cursor_varint(&c), start = cursor_varint(&c);
    const uint8_t *more = tail <= FRAGMENT_PAGES_MAX ? cursor_read(&c, tail * WAL_PAGE) : NULL;
    if (more)
        buf_append(&x->tail, more, tail * WAL_PAGE);
    x->tail_start = x->tail.len ? x->start + start : 0;
    if (!bytes || !more || c.bad || cursor_left(&c))
        return err_set(err, ERR_DAMAGED, "the fragments in a WAL index are damaged");
    return ERR_OK;
}

void wal_index_encode(const WalIndex *x, Buf *sections)
{
    encode_fragments(x, sections);
    encode_xacts(x, sections);
    encode_events(x, sections);
}

ErrCode wal_index_decode(const Buf *table, Lsn start, WalIndex *ret, bool *ret_there, Err *err)
{
    WalIndex x AUTO(wal_index_release) = {.start = start};
    Buf frag AUTO(buf_release) = {0};
    Buf time AUTO(buf_release) = {0};
    Buf event AUTO(buf_release) = {0};
    bool has_frag, has_time, has_event;
    TRY(find_packed(table, SECTION_FRAG, &frag, &has_frag, err));
    TRY(find_packed(table, SECTION_TIME, &time, &has_time, err));
    TRY(find_packed(table, SECTION_EVENT, &event, &has_event, err));
    *ret_there = has_frag && has_time && has_event;
    if (!*ret_there)
        return ERR_OK;
    TRY(decode_fragments(&frag, &x, err));
    TRY(decode_xacts(&time, &x, err));
    TRY(decode_events(&event, &x, err));
    wal_index_release(ret);
    *ret = x;
    x = (WalIndex){.start = 0};
    return ERR_OK;
}

/* --- joining --- */

ErrCode wal_index_join(const WalIndex *before, WalIndex *after, uint32_t seg_size, bool *ret_joined,
                       Err *err)
{
    *ret_joined = false;
    if (!before->spills)
        return ERR_OK;
    if (before->fragments_cut || after->fragments_cut || !before->tail.len || !after->head.len)
        return err_set(err, ERR_WAL_MISSING, "a record is too long for the WAL index");
    WalScanSpec spec = {.seg_size = seg_size, .from = before->tail_start};
    WalScan *scan AUTO(wal_scan_freep) = wal_scan_new(&spec);
    WalRecord r;
    wal_scan_feed(scan, after->start - before->tail.len, before->tail.data, before->tail.len);
    WalEvent event = wal_scan_next(scan, &r);
    if (event == WAL_MORE) {
        wal_scan_feed(scan, after->start, after->head.data, after->head.len);
        event = wal_scan_next(scan, &r);
    }
    if (event != WAL_RECORD || r.start != before->tail_start)
        return err_set(err, ERR_WAL_MISSING,
                       "the record at " LSN_FMT " does not go on in the "
                       "segment at " LSN_FMT,
                       LSN_ARG(before->tail_start), LSN_ARG(after->start));
    wal_index_add_first(after, wal_scan_version(scan), &r);
    *ret_joined = true;
    return ERR_OK;
}
