#ifndef PGDR_ARCHIVE_BACKUP_COPY_H
#define PGDR_ARCHIVE_BACKUP_COPY_H

/*
 * Copies the files of a backup into packs: workers read, check, compress and fill packs; uploaders
 * finish and put them. Large files are split among workers, small ones share units.
 *
 *     backup_copy_new → backup_copy_files → backup_copy_small… → backup_copy_finish
 *
 * Memory: (jobs + uploads in flight) packs of 32 MiB, and a few MiB a worker.
 */

#include "archive/backup_files.h"
#include "archive/backup_pages.h"
#include "archive/reuse.h"
#include "lib/common/progress.h"
#include "lib/repo/packs_list.h"

typedef struct BackupCopySpec {
    Repo *repo;
    const char *backup_id;
    const char *data_dir;
    uint32_t page_size, rel_seg_blocks;
    bool checksums;
    unsigned jobs;
    int level;
    Progress *progress;
    SuspectPages *suspects;
    Reuse *reuse; /* NULL: everything is stored */
} BackupCopySpec;

typedef struct BackupCopy BackupCopy;
MUST_CHECK ErrCode backup_copy_new(const BackupCopySpec *spec, BackupCopy **ret, Err *err);
void backup_copy_free(BackupCopy *c);
DEFINE_FREEP(BackupCopy, backup_copy_free)

/* Copies every regular file that is not dropped, and fills in where each lies. A file that has
 * vanished is marked as dropped. */
MUST_CHECK ErrCode backup_copy_files(BackupCopy *c, BackupFiles *files, Err *err);
/* Adds one small file from memory. */
MUST_CHECK ErrCode backup_copy_small(BackupCopy *c, BackupFile *f, const void *data, size_t len,
                                     Err *err);
/* Waits for all uploads. The packs are in *ret, sorted. */
MUST_CHECK ErrCode backup_copy_finish(BackupCopy *c, PacksList *ret, Err *err);

#endif
