#ifndef PGDR_PG_PAGE_H
#define PGDR_PG_PAGE_H

/* Pages of relation files: header and checksum (bufpage.h, checksum_impl.h). */

#include "lib/pg/lsn.h"

typedef enum PageState {
    PAGE_GOOD,
    PAGE_NEW,     /* all zeros */
    PAGE_DAMAGED, /* the server would refuse it, or pd_upper is 0 and the page not all zeros */
} PageState;

/* `block` is the block number in the whole relation (segment × blocks a segment + number in the
 * file). The page is not changed. Judged is what the server judges when it reads a page: the
 * header's offsets and flags, and with `checksums` the checksum. */
PageState page_check(const void *page, size_t size, uint32_t block, bool checksums);
/* `size` is a multiple of 128 (all of PostgreSQL's block sizes are); neither alignment nor the
 * checksum in the page matters. */
uint16_t page_checksum(const void *page, size_t size, uint32_t block);
Lsn page_lsn(const void *page);

#endif
