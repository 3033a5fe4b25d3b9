#include "lib/pg/version.h"

#include <stdio.h>

/* BKPIMAGE_APPLY and BKPIMAGE_*COMPRESS* before 15 and from 15 on (pglz, lz4, zstd). */
#define IMAGES_13 .image_applies = 0x04, .image_compressed = 0x02
#define IMAGES_15 .image_applies = 0x02, .image_compressed = 0x04 | 0x08 | 0x10
/* RM_LOGICALMSG_ID has been the last one from 13 to 18. */
#define RMGRS_13 .rmgr_last = 21
#define RMGRS_15 .rmgr_last = 21, .rmgr_custom = true

static const PgVersion versions[] = {
    {13, 1300, 202007201, 0xD106, IMAGES_13, RMGRS_13, .dbase_drop = 0x10, .control_crc_at = 288},
    {14, 1300, 202107181, 0xD10D, IMAGES_13, RMGRS_13, .toplevel_xid = true, .dbase_drop = 0x10,
     .control_crc_at = 288},
    {15, 1300, 202209061, 0xD110, IMAGES_15, RMGRS_15, .toplevel_xid = true,
     .dropped_stats_size = 12, .dbase_drop = 0x20, .control_crc_at = 288},
    {16, 1300, 202307071, 0xD113, IMAGES_15, RMGRS_15, .toplevel_xid = true,
     .dropped_stats_size = 12, .dbase_drop = 0x20, .control_crc_at = 288},
    {17, 1700, 202406281, 0xD116, IMAGES_15, RMGRS_15, .toplevel_xid = true,
     .dropped_stats_size = 12, .dbase_drop = 0x20, .control_crc_at = 288, .wal_level_logged = true},
    {18, 1800, 202506291, 0xD118, IMAGES_15, RMGRS_15, .toplevel_xid = true,
     .dropped_stats_size = 16, .dbase_drop = 0x20, .control_crc_at = 292, .wal_level_logged = true},
};

const PgVersion *pg_version_of_major(int major)
{
    for (size_t i = 0; i < ARRAY_LEN(versions); i++)
        if (versions[i].major == major)
            return &versions[i];
    return NULL;
}

const PgVersion *pg_version_of_wal_magic(uint16_t magic)
{
    for (size_t i = 0; i < ARRAY_LEN(versions); i++)
        if (versions[i].wal_magic == magic)
            return &versions[i];
    return NULL;
}

const PgVersion *pg_version_of_catalog(uint32_t control_version, uint32_t catalog_version)
{
    for (size_t i = 0; i < ARRAY_LEN(versions); i++)
        if (versions[i].control_version == control_version &&
            versions[i].catalog_version == catalog_version)
            return &versions[i];
    return NULL;
}

const char *pg_version_dir(const PgVersion *v, char *out)
{
    snprintf(out, PG_VERSION_DIR_LEN, "PG_%d_%u", v->major, v->catalog_version);
    return out;
}

ErrCode pg_version_find(int major, const PgVersion **ret, Err *err)
{
    const PgVersion *v = pg_version_of_major(major);
    if (!v) {
        err_set(err, ERR_VERSION, "PostgreSQL %d is not supported", major);
        return err_hint(err, "this pgdr serves PostgreSQL %d to %d", PG_MAJOR_MIN, PG_MAJOR_MAX);
    }
    *ret = v;
    return ERR_OK;
}
