#include "restore/last_piece.h"

#include <stdio.h>
#include <string.h>

#include "lib/common/file.h"
#include "lib/common/log.h"
#include "lib/pg/wal_name.h"
#include "lib/pg/wal_page.h"
#include "lib/pg/wal_scan.h"
#include "lib/repo/wal_object.h"
#include "lib/repo/wal_tail.h"

void last_piece_release(LastPiece *p)
{
    buf_release(&p->data);
}

/* Cuts or fills up to a whole segment, and finds where its WAL ends. */
static ErrCode piece_judge(const LastPieceSpec *spec, uint32_t seg_size, LastPiece *p, Err *err)
{
    WalSegmentCheck check;
    size_t have = MIN(p->data.len, seg_size);
    if (spec->until && spec->until < spec->start + have)
        have = (size_t)(spec->until - spec->start);
    p->data.len = have;
    memset(buf_reserve(&p->data, seg_size - have), 0, seg_size - have);
    p->data.len = seg_size;
    p->ends = spec->start;
    if (have < WAL_PAGE_LONG_HEADER)
        return ERR_OK;
    TRY(wal_segment_check(p->data.data, seg_size, spec->start, NULL, NULL, &check, err));
    p->ends = check.ends;
    return ERR_OK;
}

/* Leaves the longer one in *best. */
static ErrCode piece_merge(const LastPieceSpec *spec, LastPiece *best, LastPiece *other, Err *err)
{
    size_t common = 0;
    if (best->ends > spec->start && other->ends > spec->start)
        common = (size_t)(MIN(best->ends, other->ends) - spec->start);
    if (common && memcmp(best->data.data, other->data.data, common) != 0)
        return err_set(err, ERR_CONFLICT, "the archived pieces of %s hold different WAL",
                       spec->segment);
    if (other->ends > best->ends) {
        LastPiece swap = *best;
        *best = *other;
        *other = swap;
    }
    return ERR_OK;
}

/* Servers that were promoted in the same segment each archive one, of different lengths. */
static ErrCode find_partials(WalStore *store, const LastPieceSpec *spec, LastPiece *best, Err *err)
{
    char partial[WAL_NAME_MAX];
    WalFoundList list = {0};
    snprintf(partial, sizeof(partial), "%.24s.partial", spec->segment);
    ErrCode rc = wal_find(store, partial, &list, err);
    for (size_t i = 0; i < list.n && rc == ERR_OK; i++) {
        LastPiece piece AUTO(last_piece_release) = {.ends = 0};
        rc = wal_read(store, &list.at[i], &piece.data, NULL, NULL, err);
        if (rc == ERR_OK)
            rc = piece_judge(spec, store->seg_size, &piece, err);
        if (rc == ERR_OK)
            rc = piece_merge(spec, best, &piece, err);
    }
    vec_release(&list);
    return rc;
}

ErrCode last_piece_find(WalStore *store, const LastPieceSpec *spec, LastPiece *p,
                        bool *ret_vanished, Err *err)
{
    LastPiece tail AUTO(last_piece_release) = {.ends = 0};
    Lsn tail_end;
    p->ends = MAX(p->ends, spec->start);
    TRY(find_partials(store, spec, p, err));
    TRY(tail_read(store, spec->segment, spec->start, &tail.data, &tail_end, ret_vanished, err));
    if (*ret_vanished || !tail.data.len)
        return ERR_OK;
    TRY(piece_judge(spec, store->seg_size, &tail, err));
    return piece_merge(spec, p, &tail, err);
}

/* The server's own copy; false when it has none, or another segment's file lies there for reuse. */
static ErrCode read_local(const LastPieceSpec *spec, const char *data_dir, const PgControl *control,
                          Buf *data, Lsn *ret_ends, bool *ret_is, Err *err)
{
    WalSegmentCheck check;
    Err why = {0};
    char *dir AUTO(mem_freep) = path_join(data_dir, "pg_wal");
    char *path AUTO(mem_freep) = path_join(dir, spec->segment);
    *ret_is = false;
    ErrCode rc = file_read_all(path, GIB, data, &why);
    if (rc == ERR_NOT_FOUND)
        return ERR_OK;
    if (rc != ERR_OK) {
        *err = why;
        return rc;
    }
    if (data->len != control->wal_segment_size ||
        wal_segment_check(data->data, data->len, spec->start, NULL, NULL, &check, &why) != ERR_OK ||
        check.header.page_addr != spec->start || check.header.system_id != control->system_id)
        return ERR_OK;
    *ret_ends = check.ends;
    *ret_is = true;
    return ERR_OK;
}

ErrCode last_piece_beats_local(const LastPieceSpec *spec, const LastPiece *p, const char *data_dir,
                               const PgControl *control, bool *ret, Err *err)
{
    Buf local AUTO(buf_release) = {0};
    Lsn ends;
    bool is_copy;
    *ret = true;
    TRY(read_local(spec, data_dir, control, &local, &ends, &is_copy, err));
    if (!is_copy)
        return ERR_OK;
    if (memcmp(local.data, p->data.data, (size_t)(MIN(ends, p->ends) - spec->start)) != 0) {
        err_set(err, ERR_CONFLICT,
                "the server's own %s and the archived piece hold different WAL: neither is "
                "overwritten",
                spec->segment);
        return err_hint(err, "this server has lived on where another one did, too; before it is "
                             "promoted, find out which of them holds the right transactions");
    }
    *ret = ends < p->ends;
    if (!*ret)
        log_info("the server's own %s reaches " LSN_FMT ", the archived piece " LSN_FMT
                 ": its own is left in place",
                 spec->segment, LSN_ARG(ends), LSN_ARG(p->ends));
    return ERR_OK;
}
