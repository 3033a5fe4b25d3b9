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
    /* Full-page images (BKPIMAGE_*): the meaning of the flag byte changed in 15. */
    uint8_t image_applies, image_compressed; /* the latter is a mask */
    uint8_t rmgr_last;                       /* the highest built-in resource manager */
    bool rmgr_custom;                        /* 128 to 255 may belong to extensions (15) */
    bool toplevel_xid;                       /* records may carry block id 252 (14) */
    bool wal_level_logged;                   /* checkpoints and end-of-recovery say it (17) */
    uint8_t dropped_stats_size;              /* an item in commit records; 0: there are none (15) */
    uint8_t dbase_drop;                      /* XLOG_DBASE_DROP; below it are the CREATEs */
    uint16_t control_crc_at;                 /* offset of pg_control's CRC-32C */
} PgVersion;

/* NULL when the major version is not supported. */
const PgVersion *pg_version_of_major(int major);
const PgVersion *pg_version_of_wal_magic(uint16_t magic);
const PgVersion *pg_version_of_catalog(uint32_t control_version, uint32_t catalog_version);
/* The directory of this version inside a tablespace, "PG_15_202209061"; others may stand beside it
 * (after pg_upgrade). `out` holds PG_VERSION_DIR_LEN. */
#define PG_VERSION_DIR_LEN 32
const char *pg_version_dir(const PgVersion *v, char *out);
/* ERR_VERSION with a hint naming the supported range. */
MUST_CHECK ErrCode pg_version_find(int major, const PgVersion **ret, Err *err);

#endif
