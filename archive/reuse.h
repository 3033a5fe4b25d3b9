#ifndef PGDR_ARCHIVE_REUSE_H
#define PGDR_ARCHIVE_REUSE_H

/*
 * What a backup takes over from its parent, and from one that was interrupted: pages and small
 * files whose content is the same, by their hashes. All is read from the database, whatever the
 * file's time or a page's LSN say; only what is equal is not stored again.
 *
 *     reuse_open → (reuse_take, reuse_map, reuse_reader_new, reuse_note)… → reuse_finish
 */

#include "archive/leftover.h"
#include "lib/repo/pack_use.h"
#include "lib/repo/page_reader.h"
#include "lib/repo/summary.h"

typedef struct Reuse Reuse;

typedef struct ReuseSpec {
    Repo *repo;
    const char *self;
    const BackupSummary *parent; /* NULL: none */
    Leftover *left;              /* as it was found; is filled */
    uint32_t page_size;
    BackupFiles *files; /* may change their order only when nothing is copied any more */
} ReuseSpec;

/*
 * Reads the parent's manifest and enters into every file of the list, where there is one of that
 * path, where it lies: `backup` is then not 0. That is to be taken out again (reuse_take()) before
 * the file's own place is entered.
 */
MUST_CHECK ErrCode reuse_open(const ReuseSpec *spec, Reuse **ret, Err *err);
void reuse_free(Reuse *r);
DEFINE_FREEP(Reuse, reuse_free)

/* The packs that may be used, and the ids of their backups; borrowed. NULL-safe: NULL. */
PackUses *reuse_packs(Reuse *r);

/* Where the file lies; PLACE_NONE: nowhere. */
typedef struct OldPlace {
    FilePlace place;
    uint32_t backup, pack, unit, small;
    uint64_t off, map_len, size;
} OldPlace;
OldPlace reuse_take(BackupFile *f);

/* Where pages of a file may be found, with the packs that hold them. */
typedef struct OldMap {
    FileMap map;    /* its sources number backups as the packs' ids do */
    PackUse **uses; /* of each source */
    uint64_t file_size;
    /* What the parent itself has. */
    FileMap own;
    MapBase base;      /* numbered in the same way */
    MapRef at;         /* the map … */
    uint32_t backup;   /* … in a pack of that backup */
    PackUse *map_pack; /* that one (NULL: the parent has no map), and that of the base: */
    PackUse *base_pack;
} OldMap;
/* NULL when there is nothing. What cannot be used is logged. The caller frees. */
OldMap *reuse_map(Reuse *r, const BackupFile *f, const OldPlace *old);
void old_map_free(OldMap *m);

/* How many pages of which packs a file has taken over; 0 of packs that hold maps. */
typedef struct OldPages {
    const char *path; /* as in the list of files */
    VEC(struct {
        PackUse *pack;
        uint64_t pages;
    }) of;
} OldPages;
void old_pages_add(OldPages *o, PackUse *pack, uint64_t pages);
/* Takes the content over. */
void reuse_note(Reuse *r, OldPages *o);

/* For one thread: page_reader_same() and page_reader_small_same() tell what is the same. */
PageReader *reuse_reader_new(Reuse *r);
/* What to do when they fail: the pack's pages are stored anew, which is logged once. An error of
 * the storage as such is the backup's. */
MUST_CHECK ErrCode reuse_pack_failed(Reuse *r, PackUse *pack, Err *err);
/* Whether a small file that lies there is `data`, and may be taken over. */
MUST_CHECK ErrCode reuse_small_same(Reuse *r, PageReader *reader, const char *path,
                                    const OldPlace *old, const void *data, size_t len,
                                    bool *ret_same, Err *err);

/* All places are entered, and what does not belong into the backup after all is marked as dropped:
 * counts what is used, appends it to the list of packs, and numbers the backups of the files'
 * places as in *ret_ids, of which the first is the new backup itself. */
void reuse_finish(Reuse *r, BackupFiles *files, PacksList *packs, StrList *ret_ids);

#endif
