#ifndef PGDR_RESTORE_LAST_PIECE_H
#define PGDR_RESTORE_LAST_PIECE_H

/*
 * The beginning of a segment that was never finished: a .partial or a tail. It is worth serving
 * only where the WAL ends in it, and only to a server that has less of it: what PostgreSQL is given
 * replaces its own copy, and with it what that copy has more.
 */

#include "lib/pg/control.h"
#include "lib/repo/wal_store.h"

typedef struct LastPieceSpec {
    const char *segment;
    Lsn start; /* of the segment */
    Lsn until; /* recovery leaves the segment's timeline here; 0: it does not */
} LastPieceSpec;

typedef struct LastPiece {
    Buf data; /* a whole segment; zeros behind `ends` or, when it ends there, `until` */
    Lsn ends; /* valid WAL ends here; the segment's start: there is none */
} LastPiece;
void last_piece_release(LastPiece *p);

/*
 * Puts the longest piece that the repository has into *p, unless *p (from another repository) is as
 * long. ERR_CONFLICT when two pieces hold different WAL. *ret_vanished: the segment is just being
 * finished, the answer must be asked for again.
 */
MUST_CHECK ErrCode last_piece_find(WalStore *store, const LastPieceSpec *spec, LastPiece *p,
                                   bool *ret_vanished, Err *err);

/* Whether *p reaches as far as recovery goes on this timeline. */
static inline bool last_piece_reaches_fork(const LastPieceSpec *spec, const LastPiece *p)
{
    return spec->until && p->ends >= spec->until;
}

/*
 * Whether the piece ends later than the copy in pg_wal of the server that asks. ERR_CONFLICT when
 * the two hold different WAL: neither is to replace the other.
 */
MUST_CHECK ErrCode last_piece_beats_local(const LastPieceSpec *spec, const LastPiece *p,
                                          const char *data_dir, const PgControl *control, bool *ret,
                                          Err *err);

#endif
