#ifndef PGDR_REPO_FILE_MAP_H
#define PGDR_REPO_FILE_MAP_H

/*
 * A file map says where every page of one file lies: runs of slots in packs. A base map covers the
 * whole file. A patch covers what changed and names its base; depth is exactly one.
 */

#include "lib/common/buf.h"
#include "lib/common/err.h"

/* Most pages of a file: 1 GiB segments of 4 KiB blocks, and room for --with-segsize builds. */
#define FILE_PAGES_MAX ((uint64_t)1 << 32)

typedef struct MapSource {
    uint32_t backup; /* index into the table of backup ids of the map's pack */
    uint32_t pack;   /* data pack number */
} MapSource;

typedef struct MapRun {
    uint32_t source; /* 0: zero pages, nothing stored; else 1 + index into `sources` */
    uint64_t pages;
    uint64_t slot;  /* first slot; 0 for zero pages */
    uint64_t first; /* page number the run begins with; set when decoded or by file_map_add() */
} MapRun;

typedef struct FileMap {
    bool patch;
    uint64_t pages; /* of the file */
    /* of a patch: where its base lies */
    uint32_t base_backup, base_pack;
    uint64_t base_off, base_len;
    VEC(MapSource) sources;
    VEC(MapRun) runs; /* ascending; in a patch only what changed */
} FileMap;

void file_map_release(FileMap *m);

/* Appends pages to a map that is being made: `n` slots from `slot` on of (backup, pack), or zero
 * pages. Pages come in ascending order; a run that continues the last one is joined to it. */
void file_map_add(FileMap *m, uint64_t first, uint64_t n, MapSource source, uint64_t slot);
void file_map_add_zeros(FileMap *m, uint64_t first, uint64_t n);

void file_map_encode(const FileMap *m, Buf *out);
/* ERR_DAMAGED unless the bytes are exactly one map whose runs add up to its pages. */
MUST_CHECK ErrCode file_map_decode(const void *data, size_t len, FileMap *ret, Err *err);

/* The base map that a base and a patch over it make together. Both must use the same numbering of
 * backups. */
void file_map_join(const FileMap *base, const FileMap *patch, FileMap *ret);

/* The patch that makes `map` of `base` (both base maps with one numbering of backups); where the
 * base lies is left to the caller. */
void file_map_diff(const FileMap *base, const FileMap *map, FileMap *ret);
/* Whether two base maps with one numbering of backups say the same. */
bool file_map_equal(const FileMap *a, const FileMap *b);

/* The run that holds page `page` of a base map, or NULL. */
const MapRun *file_map_find(const FileMap *m, uint64_t page);

#endif
