#ifndef PGDR_TESTS_MEM_BACKUP_H
#define PGDR_TESTS_MEM_BACKUP_H

/*
 * A small backup in a repository in memory, with files of every shape:
 *
 *     PG_VERSION            small: the last two digits of the id, and a newline
 *     base/5/1              empty
 *     base/5/2              40 pages, of which 8 to 11 are zeros
 *     base/5/3              2 pages and 100 bytes
 *     global/pg_control     small
 *
 * One data pack: slots 0 to 35 are the pages of base/5/2 without the zeros, in units of 16, 16 and
 * 4; slots 36 to 38 are those of base/5/3; then a unit of small files. Of a backup that uses
 * another one the first eight pages of base/5/2 are that one's.
 */

#include "lib/repo/manifest.h"
#include "lib/repo/publish.h"

#define MEM_PAGE 8192
#define MEM_PAGES 40
#define MEM_TAIL 100 /* bytes of the last page of base/5/3 */

typedef struct MemBackup {
    BackupSummary summary;
    PacksList packs;
    MapRef map;      /* of base/5/2, in its map pack */
    MapRef tail_map; /* of base/5/3 */
} MemBackup;

/* What page `page` of a file of the backup holds: its bytes, MEM_PAGE of them. */
void mem_page(unsigned file, uint64_t page, uint8_t *out);

/* Everything but the summary. `uses`: another backup of this kind that is there, or NULL. */
void mem_backup_begin(Repo *repo, const char *id, const char *uses, MemBackup *ret);
void mem_backup_release(MemBackup *b);
/* Whole and committed. */
void mem_backup_put(Repo *repo, const char *id, const char *uses);

/* Writes the backup's data pack anew, with another salt, and with the last byte of unit `wrong`
 * changed (UINT32_MAX: of none) where nothing but its page's hash tells it. */
void mem_rewrite_pack(Repo *repo, const char *id, uint32_t wrong);

#endif
