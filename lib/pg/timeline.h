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
static inline void timeline_path_release(TimelinePath *path)
{
    vec_release(path);
}

/*
 * The path that ends on `tli`, from its history file's text. ERR_DAMAGED when lines are not
 * "<tli> <lsn> <reason>" with ascending timelines below `tli`.
 *
 * Switch points may descend: a recovery that follows timeline 2 but stops before 2 was forked from
 * 1 writes "1 0/5000000" and then "2 0/4000000" into 00000003.history. Such a path leaves 1 at
 * 0/4000000 and never goes over 2: a timeline without a byte of its own is left out of the path.
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
/* True when (tli, lsn) is a state that the path goes through: lsn is between where the path enters
 * tli and where it leaves it, both included. */
bool timeline_contains(const TimelinePath *path, uint32_t tli, Lsn lsn);

/* "1@0/6000000,2@0/9000000,3": the form that restore writes into restore_command. */
void timeline_path_format(const TimelinePath *path, Buf *out);
/* ERR_USAGE when it is not of that form, timelines and positions ascending and the last one open.
 */
MUST_CHECK ErrCode timeline_path_parse(const char *s, TimelinePath *ret, Err *err);

#endif
