#ifndef PGDR_ARCHIVE_BACKUP_PAGES_H
#define PGDR_ARCHIVE_BACKUP_PAGES_H

/*
 * Reading pages of relation files while the server writes them. A page whose checksum does not fit
 * may have been read half written: it is read again a few times. What still does not fit is noted;
 * whether WAL replay will repair it can be said only after the backup's end (backup_wal.h).
 */

#include <pthread.h>

#include "lib/common/mem.h"
#include "lib/pg/page.h"
#include "lib/pg/relfile.h"

typedef struct SuspectPage {
    char *path;
    RelFile rel;
    uint32_t block; /* in the whole relation */
    Lsn lsn;
    bool excused; /* replay restores it, or the server does not trust it anyway (_fsm, _vm) */
} SuspectPage;

typedef struct SuspectPages {
    pthread_mutex_t lock;
    VEC(SuspectPage) pages;
} SuspectPages;

void suspect_pages_init(SuspectPages *s);
void suspect_pages_release(SuspectPages *s);

typedef struct PageCheck {
    const char *path; /* relative; for messages and suspects */
    int fd;
    uint32_t page_size, rel_seg_blocks;
    bool checksums;
    SuspectPages *suspects;
    uint8_t *bad; /* NULL, or a byte for every page: set for those that are noted */
} PageCheck;

/* Checks the `n` whole pages at `pages`, which were read from the file's page `first` on; reads
 * torn ones again, in place. */
MUST_CHECK ErrCode pages_check(const PageCheck *c, uint64_t first, void *pages, size_t n, Err *err);

#endif
