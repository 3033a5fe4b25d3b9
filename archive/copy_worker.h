#ifndef PGDR_ARCHIVE_COPY_WORKER_H
#define PGDR_ARCHIVE_COPY_WORKER_H

/* Inner part of backup_copy.h: what copying small files (backup_copy.c) and large ones
 * (copy_large.c) have in common. */

#include <stdatomic.h>

#include "archive/backup_copy.h"
#include "lib/common/workers.h"

#define READ_SIZE (1 * MIB)
#define UNIT_RAW (128 * KIB)
#define RANGE_RAW (64 * MIB) /* of one file, for one worker */
#define IO_ALIGN 4096
#define PAGE_SIZE_MIN 1024

typedef struct LargeFile LargeFile;

typedef struct CopyJob {
    LargeFile *large; /* one range of it; NULL: a batch of small files */
    unsigned range;
    BackupFile *files; /* small: consecutive in the list */
    size_t n;
} CopyJob;

struct BackupCopy {
    BackupCopySpec spec;
    Workers *uploads;
    PackWriter **free_packs;
    unsigned n_packs, n_free;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t pack_freed;
    uint32_t next_pack;
    MapPackWriter *maps;
    StrList self; /* the backup itself: the maps' numbering when nothing is taken over */
    PacksList packs;
    void *late; /* worker state of backup_copy_small() */
};

/* Pages from here and there in a file that will be one unit. */
typedef struct Gathered {
    uint8_t *data; /* UNIT_RAW */
    size_t len;
    uint64_t numbers[UNIT_RAW / PAGE_SIZE_MIN];
    unsigned n;
    size_t first_run; /* of the range, that says where they are */
} Gathered;

typedef struct CopyWorker {
    BackupCopy *copy;
    PackWriter *pack;
    Compressor *compressor;
    uint8_t *buf;   /* READ_SIZE */
    uint8_t *small; /* UNIT_RAW */
    VEC(PackSmall) items;
    VEC(uint8_t) resident;
    PageReader *old; /* of the parent's pages; NULL: there is no parent */
    Gathered gathered;
    uint8_t bad[READ_SIZE / PAGE_SIZE_MIN]; /* of the pages in `buf`: their checksum is wrong */
} CopyWorker;

/* Makes sure that w->pack has room for a unit; the numbers are those of pack_writer_fits(). */
MUST_CHECK ErrCode copy_worker_pack(CopyWorker *w, size_t raw_len, size_t entries,
                                    size_t path_bytes, Err *err);

/* A file that is copied page by page. Its ranges may be copied by several workers; the last of them
 * stores its map, enters its place and frees it. */
LargeFile *large_new(BackupCopy *c, BackupFile *file);
unsigned large_ranges(const LargeFile *l);
MUST_CHECK ErrCode large_copy_range(CopyWorker *w, const CopyJob *job, Err *err);
/* A range that will not be copied. */
void large_drop_range(LargeFile *l);

#endif
