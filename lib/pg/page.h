#ifndef PGDR_PG_PAGE_H
#define PGDR_PG_PAGE_H

/* Pages of relation files: header and checksum (bufpage.h, checksum_impl.h). */

#include "lib/pg/lsn.h"

typedef enum PageState {
    PAGE_GOOD,
    PAGE_NEW,     /* all zeros */
    PAGE_DAMAGED, /* the checksum does not fit, or pd_upper is 0 in a page that is not all zeros */
} PageState;

/* `block` is the block number in the whole relation (segment × blocks a segment + number in the
 * file). The page is not changed. Without checksums (`checksums` false) only what the header can
 * tell is judged. */
PageState page_check(const void *page, size_t size, uint32_t block, bool checksums);
uint16_t page_checksum(const void *page, size_t size, uint32_t block);
Lsn page_lsn(const void *page);

#endif
