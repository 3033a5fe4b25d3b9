#ifndef PGDR_REPO_PAGE_READER_H
#define PGDR_REPO_PAGE_READER_H

/*
 * Reads the pages of files back from packs, in order. A file's pages may lie in many packs; within
 * one pack they lie together, ascending. A reader keeps one decoded unit and one stretch of stored
 * bytes for each pack it draws from, so every stored byte is fetched once.
 *
 * Every page is compared with its hash in the pack's table before it is handed out. What cannot be
 * read is read from the repository's fallback, when it has one.
 */

#include "lib/repo/manifest.h"
#include "lib/repo/packs_list.h"

/*
 * The tables of packs, loaded when first used and shared by threads; those not used for longest
 * are dropped when they exceed the limit.
 */
typedef struct PackTables PackTables;
/* `find` gives a pack's line of its backup's list (NULL: unknown). It is called under a lock. */
PackTables *pack_tables_new(Repo *repo, size_t memory_limit, PackFindFn find, void *arg);
void pack_tables_free(PackTables *t);
DEFINE_FREEP(PackTables, pack_tables_free)
/* To be given back with pack_tables_put(). */
MUST_CHECK ErrCode pack_tables_get(PackTables *t, const char *backup_id, uint32_t pack,
                                   const PackTable **ret, Err *err);
void pack_tables_put(PackTables *t, const PackTable *table);
/* The tables of the repository's fallback; owned by `t`. */
PackTables *pack_tables_fallback(PackTables *t);

typedef struct PageReader PageReader;
/* Memory for stored bytes: about `memory`, shared out among the packs of the map. */
PageReader *page_reader_new(Repo *repo, PackTables *tables, size_t memory);
void page_reader_free(PageReader *r);
DEFINE_FREEP(PageReader, page_reader_free)

/* Begins with page `first` of a base map; `until` is the page behind the last one wanted.
 * `map` and `ids` are borrowed until the next begin. `page_size` as in the manifest; `file_size`
 * tells the length of the last page. */
MUST_CHECK ErrCode page_reader_begin(PageReader *r, const FileMap *map, const StrList *ids,
                                     uint32_t page_size, uint64_t file_size, uint64_t first,
                                     uint64_t until, Err *err);
/*
 * Reads on, up to `n` pages, into `out`. *ret_pages pages were read; *ret_zeros is true when they
 * are a run of zero pages, which are then not written to `out` (and may be more than n).
 */
MUST_CHECK ErrCode page_reader_next(PageReader *r, void *out, uint64_t n, uint64_t *ret_pages,
                                    bool *ret_zeros, Err *err);

/* One small file out of its unit, checked against its hash; *ret is borrowed until the next call.
 * Files that share a unit, and then units of one pack, are best asked for one after the other: a
 * few packs are kept open, and read ahead in while they are read in order. */
MUST_CHECK ErrCode page_reader_small(PageReader *r, const char *backup_id, const FileEntry *e,
                                     const void **ret, Err *err);
/* Passes over `n` pages. */
void page_reader_skip(PageReader *r, uint64_t n);
/* Whether `data` is what page `page` of the map that was begun holds, by its hash: nothing is
 * fetched but tables. Where only the fallback can tell, the answer is no. */
MUST_CHECK ErrCode page_reader_same(PageReader *r, uint64_t page, const void *data, size_t len,
                                    bool *ret_same, Err *err);

/* The same for a small file. */
MUST_CHECK ErrCode page_reader_small_same(PageReader *r, const char *backup_id, const FileEntry *e,
                                          const void *data, size_t len, bool *ret_same, Err *err);

#endif
