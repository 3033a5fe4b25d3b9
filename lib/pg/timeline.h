#ifndef PGDR_PG_TIMELINE_H
#define PGDR_PG_TIMELINE_H

/*
 * Timelines and their ancestry. A path is the list of timelines that recovery walks, oldest first:
 * WAL of entry i counts from entry i−1's `until` to its own `until`; the last has until = 0 (open).
 */

#include "lib/common/buf.h"
#include "lib/pg/lsn.h"

typedef struct TimelineStep {
    uint32_t tli;
    Lsn until; /* the path leaves this timeline here; 0: it does not */
} TimelineStep;

typedef VEC(TimelineStep) TimelinePath;

/*
 * The path that ends on `tli`, from its history file's text. ERR_DAMAGED when lines are not
 * "<tli> <lsn> <reason>" with ascending timelines below `tli` and ascending switch points.
 */
MUST_CHECK ErrCode timeline_parse_history(uint32_t tli, const char *text, size_t len,
                                          TimelinePath *ret, Err *err);
/* The path of a timeline without ancestors. */
void timeline_path_single(uint32_t tli, TimelinePath *ret);

/* Which timeline of the path holds the byte at `lsn`; 0 when none does. */
uint32_t timeline_at(const TimelinePath *path, Lsn lsn);
/* The step of `tli`, or NULL when the path does not go over it. */
const TimelineStep *timeline_step(const TimelinePath *path, uint32_t tli);
/* Where the path enters `tli` (0 for its first timeline). The timeline must be on the path. */
Lsn timeline_entry(const TimelinePath *path, uint32_t tli);
/* True when (tli, lsn) is a state that the path goes through: lsn is at most where it leaves tli.
 */
bool timeline_contains(const TimelinePath *path, uint32_t tli, Lsn lsn);

/* "1@0/6000000,2@0/9000000,3": the form that restore writes into restore_command. */
void timeline_path_format(const TimelinePath *path, Buf *out);
MUST_CHECK ErrCode timeline_path_parse(const char *s, TimelinePath *ret, Err *err);

#endif
