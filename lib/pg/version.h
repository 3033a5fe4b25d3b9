#ifndef PGDR_PG_VERSION_H
#define PGDR_PG_VERSION_H

/*
 * What differs between PostgreSQL 13 and 18, in one table, so that no server header is needed and
 * one binary serves all. The numbers come from the server sources (xlog_internal.h, pg_control.h,
 * catversion.h, xlogrecord.h, rmgrlist.h) of each branch.
 */

#include "lib/common/err.h"

#define PG_MAJOR_MIN 13
#define PG_MAJOR_MAX 18

typedef struct PgVersion {
    int major;
    uint32_t control_version;
    uint32_t catalog_version;
    uint16_t wal_magic;
    /* … the layout facts that control.c and wal_record.c need are added by those parts. */
} PgVersion;

/* NULL when the major version is not supported. */
const PgVersion *pg_version_of_major(int major);
const PgVersion *pg_version_of_wal_magic(uint16_t magic);
const PgVersion *pg_version_of_catalog(uint32_t control_version, uint32_t catalog_version);
/* ERR_VERSION with a hint naming the supported range. */
MUST_CHECK ErrCode pg_version_find(int major, const PgVersion **ret, Err *err);

#endif
