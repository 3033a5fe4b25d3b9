#ifndef PGDR_REPO_WAL_TAIL_H
#define PGDR_REPO_WAL_TAIL_H

/*
 * The tail: WAL of segments that are not finished,
 *
 *     tail/<system>/<TLI>/<segment>/<start>-<end>-<session>
 *
 * with LSNs as 16 hexadecimal digits. One object holds the bytes start … end − 1. Objects of one
 * session may overlap (later ones cover earlier ones); the bytes never differ within a session,
 * and must not between sessions.
 */

#include "lib/repo/wal_store.h"

MUST_CHECK ErrCode tail_put(WalStore *s, const char *segment, uint64_t start, uint64_t end,
                            const char *session, const void *data, Err *err);

/*
 * What the tail holds of a segment, from the segment's first byte on without a gap: appended to
 * *data. *ret_end is where it ends (the segment's start when there is nothing). ERR_CONFLICT when
 * two sessions disagree. Objects that vanish meanwhile (their segment was finished) make
 * *ret_vanished true: the answer must be asked for again.
 */
MUST_CHECK ErrCode tail_read(WalStore *s, const char *segment, uint64_t segment_start, Buf *data,
                             uint64_t *ret_end, bool *ret_vanished, Err *err);

/* The positions in a tail object's name; false when it is none. */
bool tail_name_parse(const char *name, uint64_t *ret_start, uint64_t *ret_end);

/* Segment names that have tail objects on a timeline, sorted, appended. */
MUST_CHECK ErrCode tail_list_segments(WalStore *s, const char *tli8, StrList *ret, Err *err);

/* Whether there is any tail object of the segment. */
MUST_CHECK ErrCode tail_exists(WalStore *s, const char *segment, bool *ret, Err *err);

#endif
