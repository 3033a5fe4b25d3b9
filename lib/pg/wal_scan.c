#include "lib/pg/wal_scan.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/common/bytes.h"
#include "lib/common/digest.h"

/* A buffer that a huge record left behind is given back before the next record needs one. */
#define RECORD_BUFFER_KEEP (16 * MIB)

#define XLOG_SWITCH 0x40
#define XLOG_OVERWRITE_CONTRECORD 0xD0

typedef enum Phase {
    PHASE_FIND, /* passing over the rest of a record that began before the first page */
    PHASE_NEXT, /* a record starts at `at` */
    PHASE_FILL, /* collecting a record that crosses pages */
    PHASE_STOP,
} Phase;

typedef enum Step { STEP_AGAIN, STEP_RECORD, STEP_MORE, STEP_STOP } Step;

struct WalScan {
    WalScanSpec spec;
    const PgVersion *version;
    Phase phase;

    /* The piece in hand, and where the one behind it must begin (0: none was fed yet). */
    const uint8_t *fed;
    Lsn fed_at, fed_end;

    /* The page in hand, whose header is right; NULL when there is none. */
    const uint8_t *page;
    Lsn page_at;
    WalPage header;

    Lsn at;           /* behind the last record, or the page where the first one is looked for */
    Lsn prev;         /* start of the last record; 0: none was read */
    bool found;       /* where the first record would start is known */
    Lsn own_end;      /* behind the last record's own bytes (`at` differs after a switch) */
    uint32_t to_skip; /* PHASE_FIND: what the next page must still hold of the old record */

    Buf record; /* PHASE_FILL: what was collected */
    Lsn record_at, fill_at;
    uint32_t record_len;
    Lsn overwritten; /* a record whose rest was declared lost: the next one must say so */

    char why[256];
};

WalScan *wal_scan_new(const WalScanSpec *spec)
{
    WalScan *s = NEW(WalScan);
    s->spec = *spec;
    s->version = spec->version;
    s->at = spec->from / WAL_PAGE_SIZE * WAL_PAGE_SIZE;
    return s;
}

void wal_scan_free(WalScan *s)
{
    if (!s)
        return;
    buf_release(&s->record);
    free(s);
}

PRINTF_LIKE(2, 3) static Step stop(WalScan *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(s->why, sizeof(s->why), fmt, ap);
    va_end(ap);
    s->phase = PHASE_STOP;
    return STEP_STOP;
}

void wal_scan_feed(WalScan *s, Lsn lsn, const void *pages, size_t len)
{
    if (s->phase == PHASE_STOP)
        return;
    if (lsn % WAL_PAGE_SIZE != 0 || (s->fed_end && lsn != s->fed_end)) {
        stop(s, "the WAL fed at " LSN_FMT " does not follow " LSN_FMT, LSN_ARG(lsn),
             LSN_ARG(s->fed_end));
        return;
    }
    if (!s->fed)
        s->at = lsn;
    s->fed = pages;
    s->fed_at = lsn;
    s->fed_end = lsn + len / WAL_PAGE_SIZE * WAL_PAGE_SIZE;
    s->page = NULL;
}

/* The fields that only a segment's first page has. */
static Step check_long_header(WalScan *s, Lsn at, const WalPage *p)
{
    if (p->seg_size != s->spec.seg_size || p->wal_block_size != WAL_PAGE_SIZE)
        return stop(s, "page at " LSN_FMT " is of WAL with other sizes (segment %u, block %u)",
                    LSN_ARG(at), p->seg_size, p->wal_block_size);
    if (s->spec.system_id == 0)
        s->spec.system_id = p->system_id;
    if (p->system_id != s->spec.system_id)
        return stop(
            s, "page at " LSN_FMT " is of another cluster (system identifier %llu, not %llu)",
            LSN_ARG(at), (unsigned long long)p->system_id, (unsigned long long)s->spec.system_id);
    return STEP_AGAIN;
}

static Step check_page(WalScan *s, Lsn at, const WalPage *p)
{
    if (!s->version)
        s->version = pg_version_of_wal_magic(p->magic);
    if (!s->version || p->magic != s->version->wal_magic) {
        if (is_all_zero(s->fed + (at - s->fed_at), WAL_PAGE_SIZE))
            return stop(s, "the page at " LSN_FMT " is zero", LSN_ARG(at));
        return stop(s, "page at " LSN_FMT " has the magic %04X", LSN_ARG(at), p->magic);
    }
    if (p->info & ~WAL_PAGE_FLAGS)
        return stop(s, "page at " LSN_FMT " has the flags %04X", LSN_ARG(at), p->info);
    if (p->addr != at)
        return stop(s, "page at " LSN_FMT " says that it belongs to " LSN_FMT, LSN_ARG(at),
                    LSN_ARG(p->addr));
    if (p->info & WAL_PAGE_LONG) {
        Step step = check_long_header(s, at, p);
        if (step != STEP_AGAIN)
            return step;
    } else if (at % s->spec.seg_size == 0) {
        return stop(s, "page at " LSN_FMT " begins a segment but has no long header", LSN_ARG(at));
    }
    /* The header in hand is that of the page looked at before; timelines never go back. */
    if (p->tli < s->header.tli)
        return stop(s, "page at " LSN_FMT " is of timeline %u, after timeline %u", LSN_ARG(at),
                    p->tli, s->header.tli);
    return STEP_AGAIN;
}

/* Takes the page at `at` in hand; STEP_AGAIN when it is. */
static Step take_page(WalScan *s, Lsn at)
{
    if (s->page && s->page_at == at)
        return STEP_AGAIN;
    if (at >= s->fed_end || !s->fed)
        return STEP_MORE;
    const uint8_t *bytes = s->fed + (at - s->fed_at);
    WalPage p = wal_page_parse(bytes);
    Step step = check_page(s, at, &p);
    if (step != STEP_AGAIN)
        return step;
    s->header = p;
    s->page = bytes;
    s->page_at = at;
    return STEP_AGAIN;
}

static Step found_first(WalScan *s, Lsn at)
{
    s->at = at;
    s->found = true;
    s->phase = PHASE_NEXT;
    return STEP_AGAIN;
}

static Step find_first(WalScan *s)
{
    Step step = take_page(s, s->at);
    if (step != STEP_AGAIN)
        return step;
    const WalPage *p = &s->header;
    if (p->info & WAL_PAGE_OVERWRITES)
        return found_first(s, s->at);
    if (!(p->info & WAL_PAGE_CONTINUES)) {
        if (s->to_skip)
            return stop(s, "page at " LSN_FMT " does not continue a record", LSN_ARG(s->at));
        return found_first(s, s->at);
    }
    if (p->rem_len == 0 || p->rem_len > WAL_RECORD_LEN_MAX ||
        (s->to_skip && p->rem_len != s->to_skip))
        return stop(s, "page at " LSN_FMT " continues a record with %u bytes instead of %u",
                    LSN_ARG(s->at), p->rem_len, s->to_skip);
    uint32_t room = WAL_PAGE_SIZE - p->header_len;
    if (p->rem_len <= room)
        return found_first(s, s->at + p->header_len + align_up(p->rem_len, 8));
    s->to_skip = p->rem_len - room;
    s->at += WAL_PAGE_SIZE;
    return STEP_AGAIN;
}

/* What the `have` ≥ 8 bytes of a record header at `start` say. */
static Step check_head(WalScan *s, const uint8_t *p, size_t have, Lsn start)
{
    uint32_t len = get_u32(p);
    if (len == 0)
        return stop(s, "no record follows at " LSN_FMT, LSN_ARG(start));
    if (len < WAL_RECORD_HEADER || len > WAL_RECORD_LEN_MAX)
        return stop(s, "invalid record length %u at " LSN_FMT, len, LSN_ARG(start));
    if (have < 16)
        return STEP_AGAIN;
    Lsn prev = get_u64(p + 8);
    if (s->prev ? prev != s->prev : prev >= start)
        return stop(s, "record at " LSN_FMT " says that it follows " LSN_FMT ", not " LSN_FMT,
                    LSN_ARG(start), LSN_ARG(prev), LSN_ARG(s->prev));
    if (have >= WAL_RECORD_HEADER && !wal_rmgr_valid(s->version, p[17]))
        return stop(s, "record at " LSN_FMT " is of resource manager %u, which does not exist",
                    LSN_ARG(start), p[17]);
    return STEP_AGAIN;
}

static bool is_xlog(const WalRecord *r, uint8_t info)
{
    return r->rmgr == RMGR_XLOG && (r->info & 0xF0) == info;
}

/* The record is there as a whole, and its header has been checked. */
static Step finish_record(WalScan *s, WalRecord *r, const uint8_t *p, uint32_t len, Lsn end)
{
    if (!wal_record_crc_fits(p, len))
        return stop(s, "the checksum of the record at " LSN_FMT " does not fit",
                    LSN_ARG(s->record_at));
    if (wal_record_decode(s->version, p, len, len, r) != WAL_DECODE_OK)
        return stop(s, "the record at " LSN_FMT " contradicts itself", LSN_ARG(s->record_at));
    if (s->overwritten) {
        if (!is_xlog(r, XLOG_OVERWRITE_CONTRECORD) || r->main_len < 8 ||
            get_u64(r->main_data) != s->overwritten)
            return stop(s, "record at " LSN_FMT " should void the lost one at " LSN_FMT,
                        LSN_ARG(s->record_at), LSN_ARG(s->overwritten));
        s->overwritten = 0;
    }
    s->own_end = end;
    if (is_xlog(r, XLOG_SWITCH))
        end = align_up(end, s->spec.seg_size);
    r->start = s->record_at;
    r->end = end;
    s->prev = s->record_at;
    s->at = end;
    s->phase = PHASE_NEXT;
    return STEP_RECORD;
}

static Step next_record(WalScan *s, WalRecord *r)
{
    Lsn page_at = s->at / WAL_PAGE_SIZE * WAL_PAGE_SIZE;
    Step step = take_page(s, page_at);
    if (step != STEP_AGAIN)
        return step;
    uint32_t off = (uint32_t)(s->at - page_at);
    if (off == 0) {
        off = s->header.header_len;
        if (s->header.info & WAL_PAGE_CONTINUES)
            return stop(s, "page at " LSN_FMT " continues a record where one should start",
                        LSN_ARG(page_at));
    }
    const uint8_t *p = s->page + off;
    size_t have = WAL_PAGE_SIZE - off;
    s->record_at = page_at + off;
    step = check_head(s, p, have, s->record_at);
    if (step != STEP_AGAIN)
        return step;
    s->record_len = get_u32(p);
    if (s->record_len <= have)
        return finish_record(s, r, p, s->record_len, s->record_at + align_up(s->record_len, 8));
    if (s->record.cap > RECORD_BUFFER_KEEP)
        buf_release(&s->record);
    s->record.len = 0;
    buf_append(&s->record, p, have);
    s->fill_at = page_at + WAL_PAGE_SIZE;
    s->phase = PHASE_FILL;
    return STEP_AGAIN;
}

/* The next page's part of a record that crosses pages. The buffer grows with what was really fed,
 * not with what the record claims. */
static Step fill_record(WalScan *s, WalRecord *r)
{
    Step step = take_page(s, s->fill_at);
    if (step != STEP_AGAIN)
        return step;
    const WalPage *page = &s->header;
    if (page->info & WAL_PAGE_OVERWRITES) {
        s->overwritten = s->record_at;
        s->at = s->fill_at;
        s->phase = PHASE_NEXT;
        return STEP_AGAIN;
    }
    uint32_t left = s->record_len - (uint32_t)s->record.len;
    if (!(page->info & WAL_PAGE_CONTINUES) || page->rem_len != left)
        return stop(s, "page at " LSN_FMT " does not continue the record at " LSN_FMT,
                    LSN_ARG(s->fill_at), LSN_ARG(s->record_at));
    uint32_t take = MIN(left, WAL_PAGE_SIZE - page->header_len);
    bool had_head = s->record.len >= WAL_RECORD_HEADER;
    buf_append(&s->record, s->page + page->header_len, take);
    if (!had_head) {
        step = check_head(s, s->record.data, s->record.len, s->record_at);
        if (step != STEP_AGAIN)
            return step;
    }
    if (take == left)
        return finish_record(s, r, s->record.data, s->record_len,
                             s->fill_at + page->header_len + align_up(take, 8));
    s->fill_at += WAL_PAGE_SIZE;
    return STEP_AGAIN;
}

static Step take_step(WalScan *s, WalRecord *r)
{
    switch (s->phase) {
    case PHASE_FIND:
        return find_first(s);
    case PHASE_NEXT:
        return next_record(s, r);
    case PHASE_FILL:
        return fill_record(s, r);
    case PHASE_STOP:
        break;
    }
    return STEP_STOP;
}

WalEvent wal_scan_next(WalScan *s, WalRecord *record)
{
    for (;;) {
        switch (take_step(s, record)) {
        case STEP_AGAIN:
            break;
        case STEP_RECORD:
            if (record->start >= s->spec.from)
                return WAL_RECORD;
            break;
        case STEP_MORE:
            return WAL_MORE;
        case STEP_STOP:
            return WAL_STOP;
        }
    }
}

Lsn wal_scan_at(const WalScan *s)
{
    return s->phase == PHASE_FILL ? s->record_at : s->at;
}

size_t wal_scan_pending(const WalScan *s)
{
    return s->phase == PHASE_FILL ? s->record.len : 0;
}

const char *wal_scan_why(const WalScan *s)
{
    return s->why;
}

const PgVersion *wal_scan_version(const WalScan *s)
{
    return s->version;
}

uint32_t wal_scan_page_tli(const WalScan *s)
{
    return s->header.tli;
}

/* --- one segment as a whole --- */

static ErrCode check_identity(const WalSegmentHeader *h, size_t len, Lsn start, Err *err)
{
    if (h->seg_size != len)
        return err_set(err, ERR_DAMAGED,
                       "this is no WAL segment: it has %zu bytes, but its header says %u", len,
                       h->seg_size);
    if (h->page_addr != start)
        return err_set(err, ERR_MISMATCH, "this WAL segment holds " LSN_FMT ", not " LSN_FMT,
                       LSN_ARG(h->page_addr), LSN_ARG(start));
    return ERR_OK;
}

/* The scan has used up the segment: what remains is the record that goes on behind it, if any. */
static void judge_end(const WalScan *s, Lsn end, WalSegmentCheck *c)
{
    c->complete = true;
    c->ends = end;
    c->spills = s->phase == PHASE_FIND || s->phase == PHASE_FILL;
    if (s->phase != PHASE_FILL)
        return;
    c->spill_start = s->record_at;
    if (!c->first_record)
        c->first_record = s->record_at;
    WalRecord r;
    if (s->record.len >= WAL_RECORD_HEADER &&
        wal_record_decode(s->version, s->record.data, s->record.len, s->record_len, &r) ==
            WAL_DECODE_BAD) {
        c->complete = c->spills = false;
        c->ends = s->at;
        snprintf(c->why, sizeof(c->why), "the record at " LSN_FMT " contradicts itself",
                 LSN_ARG(s->record_at));
    }
}

static void judge_switch(const uint8_t *data, Lsn start, Lsn end, WalSegmentCheck *c)
{
    c->complete = is_all_zero(data + (c->ends - start), end - c->ends);
    if (!c->complete)
        snprintf(c->why, sizeof(c->why), "bytes that are not zero follow the switch at " LSN_FMT,
                 LSN_ARG(c->ends));
}

/* Does a switch record without a transaction, whose header ends in `rest`, have the CRC in there?
 */
static bool switch_crc_fits(const uint8_t *rest, uint32_t rest_len, Lsn prev)
{
    uint8_t head[WAL_RECORD_HEADER] = {0};
    set_u32(head, WAL_RECORD_HEADER);
    set_u64(head + 8, prev);
    memcpy(head + WAL_RECORD_HEADER - rest_len, rest, rest_len);
    return wal_record_crc_fits(head, WAL_RECORD_HEADER);
}

/*
 * A switch record of which only the last 16 or 8 bytes fit into this segment makes the rest of it
 * zero, too; without this such a segment would never count as finished. It happens with one switch
 * in a million. The beginning of the header lies in the previous segment, but all of it can be
 * concluded: the length is 24, the transaction is none, and where xl_prev is not here either, it is
 * one of the positions of the previous segment. The CRC tells whether that is right.
 */
static bool is_rest_of_switch(const uint8_t *data, size_t len, Lsn start, uint32_t rest_len)
{
    const uint8_t *rest = data + WAL_PAGE_LONG_HEADER;
    if (rest_len != 8 && rest_len != 16)
        return false;
    const uint8_t *info = rest + rest_len - 8;
    if ((info[0] & 0xF0) != XLOG_SWITCH || info[1] != RMGR_XLOG || get_u16(info + 2) != 0 ||
        !is_all_zero(rest + rest_len, len - WAL_PAGE_LONG_HEADER - rest_len))
        return false;
    if (rest_len == 16)
        return get_u64(rest) < start && switch_crc_fits(rest, rest_len, get_u64(rest));
    for (Lsn prev = start - MIN(len, start); prev < start - 16; prev += 8)
        if (switch_crc_fits(rest, rest_len, prev))
            return true;
    return false;
}

ErrCode wal_segment_check(const void *data, size_t len, Lsn start, WalRecordFn fn, void *arg,
                          WalSegmentCheck *ret, Err *err)
{
    WalSegmentCheck c = {0};
    TRY(wal_segment_header(data, len, &c.header, err));
    TRY(check_identity(&c.header, len, start, err));
    AUTO(wal_scan_freep)
    WalScan *s =
        wal_scan_new(&(WalScanSpec){.version = c.header.version, .seg_size = c.header.seg_size});
    wal_scan_feed(s, start, data, len);
    WalRecord r;
    WalEvent event;
    while ((event = wal_scan_next(s, &r)) == WAL_RECORD) {
        if (!c.first_record)
            c.first_record = r.start;
        c.switched = is_xlog(&r, XLOG_SWITCH);
        if (fn)
            TRY(fn(arg, &r, err));
    }
    if (c.switched) {
        c.ends = s->own_end;
        judge_switch(data, start, start + len, &c);
    } else if (event == WAL_MORE) {
        judge_end(s, start + len, &c);
    } else if (!c.first_record && is_rest_of_switch(data, len, start, c.header.rem_len)) {
        c.ends = s->at;
        c.switched = c.complete = true;
    } else {
        c.ends = s->found ? s->at : start;
        snprintf(c.why, sizeof(c.why), "%s", s->why);
    }
    *ret = c;
    return ERR_OK;
}
