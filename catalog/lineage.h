#ifndef PGDR_CATALOG_LINEAGE_H
#define PGDR_CATALOG_LINEAGE_H

/* The timelines of one system as its repository knows them: which descends from which, and where.
 */

#include "lib/pg/timeline.h"
#include "lib/pg/wal_name.h"
#include "lib/repo/wal_object.h"

typedef struct LineageStep {
    uint32_t tli;
    TimelinePath path; /* that ends on tli */
} LineageStep;

typedef struct Lineage {
    VEC(LineageStep) steps; /* one for every history file, ascending by timeline */
} Lineage;

void lineage_release(Lineage *l);
/* Reads every history file. Two contents under one name: ERR_CONFLICT naming both. */
MUST_CHECK ErrCode lineage_read(WalStore *s, Lineage *ret, Err *err);
/* The same from what another tool or a cache holds: adds one history file. */
MUST_CHECK ErrCode lineage_add(Lineage *l, uint32_t tli, const char *text, size_t len, Err *err);

/* The path that ends on `tli`. A timeline without a history file is a path of its own when it is
 * 1; else ERR_NOT_FOUND. */
MUST_CHECK ErrCode lineage_path(const Lineage *l, uint32_t tli, TimelinePath *ret, Err *err);
/* Adds what another repository knows. ERR_CONFLICT when they tell a timeline's path differently. */
MUST_CHECK ErrCode lineage_merge(Lineage *l, const Lineage *other, Err *err);
/* The timeline that PostgreSQL's "latest" means for a server on `tli`: the newest one whose path
 * goes over it; for one that has come to `lsn` there: the newest whose path goes through that. */
uint32_t lineage_latest(const Lineage *l, uint32_t tli);
uint32_t lineage_latest_at(const Lineage *l, uint32_t tli, Lsn lsn);
/* Some history tells where the timeline comes from, or goes over it; or it is 1. */
bool lineage_knows(const Lineage *l, uint32_t tli);
/* The timelines above 1 that have WAL in the repository, and of which no history tells where they
 * come from, ascending: their history was lost, or has not arrived. */
typedef VEC(uint32_t) TimelineList;
MUST_CHECK ErrCode lineage_unknown(WalStore *s, const Lineage *l, TimelineList *ret, Err *err);
/* The next timeline number nobody has taken. */
uint32_t lineage_next_free(const Lineage *l);

#endif
