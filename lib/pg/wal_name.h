#ifndef PGDR_PG_WAL_NAME_H
#define PGDR_PG_WAL_NAME_H

/* Names of files in pg_wal, for every segment size (1 MiB to 1 GiB, a power of two). */

#include "lib/pg/lsn.h"

#define WAL_SEGMENT_NAME_LEN 24
#define WAL_NAME_MAX 64
#define WAL_SEGMENT_SIZE_DEFAULT ((uint32_t)16 << 20)

typedef enum WalNameKind {
    WAL_NAME_OTHER,
    WAL_NAME_SEGMENT, /* 000000010000000000000005 */
    WAL_NAME_PARTIAL, /* 000000010000000000000005.partial */
    WAL_NAME_BACKUP,  /* 000000010000000000000005.00000028.backup */
    WAL_NAME_HISTORY, /* 00000002.history */
} WalNameKind;

typedef struct WalName {
    WalNameKind kind;
    uint32_t tli;
    uint64_t segno; /* 0 for a history file */
} WalName;

bool wal_segment_size_valid(uint64_t size);

/* WAL_NAME_OTHER for anything that is not exactly one of the forms, also for a segment number that
 * does not exist with this segment size. */
WalName wal_name_parse(const char *name, uint32_t seg_size);
/* `out` holds WAL_NAME_MAX. */
const char *wal_name_segment(uint32_t tli, uint64_t segno, uint32_t seg_size, char *out);
const char *wal_name_history(uint32_t tli, char *out);

static inline uint64_t wal_segno(Lsn lsn, uint32_t seg_size)
{
    return lsn / seg_size;
}

/* The segment that holds the byte before `lsn`: the last one of WAL that ends at `lsn`. */
static inline uint64_t wal_segno_before(Lsn lsn, uint32_t seg_size)
{
    return (lsn - 1) / seg_size;
}

static inline Lsn wal_segment_start(uint64_t segno, uint32_t seg_size)
{
    return segno * seg_size;
}

#endif
