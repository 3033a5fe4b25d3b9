#ifndef PGDR_ARCHIVE_LEFTOVER_H
#define PGDR_ARCHIVE_LEFTOVER_H

/*
 * What a backup that never came to its end has stored: packs, whose tables tell which pages of
 * which files they hold. The next backup takes over what is still the same, so that one that was
 * interrupted is not begun from the beginning.
 */

#include "archive/backup_files.h"
#include "lib/repo/repo.h"

typedef struct LeftPack {
    PackId id;
    uint64_t size, slots;
} LeftPack;

/* Pages of a file, or a small file. */
typedef struct LeftRun {
    uint32_t file; /* index into the list of files */
    uint32_t pack;
    uint64_t first, n; /* pages; of a small file: offset in its unit and bytes */
    uint64_t slot;     /* of a small file: its number among those of the pack */
    uint32_t unit;     /* of a small file */
    bool small;
} LeftRun;

typedef struct Leftover {
    char id[BACKUP_ID_LEN + 1]; /* "": there is none */
    VEC(LeftPack) packs;        /* sorted */
    VEC(LeftRun) runs;          /* by file, and in it by `first` */
} Leftover;

void leftover_release(Leftover *l);

/*
 * The youngest backup that has packs and no summary; that nobody who is alive is making, and that
 * no expire has named. Only one younger than `newest`, the id of a committed one ("": any).
 */
MUST_CHECK ErrCode leftover_find(Repo *repo, const char *self, const char *newest, Leftover *ret,
                                 Err *err);
/* What its packs hold of the files in the list. A pack whose table cannot be read is left out. */
MUST_CHECK ErrCode leftover_read(Repo *repo, uint32_t page_size, const BackupFiles *files,
                                 Leftover *l, Err *err);
/* Those of one file; *ret_n may be 0. */
const LeftRun *leftover_runs(const Leftover *l, size_t file, size_t *ret_n);

#endif
