#ifndef PGDR_REPO_MAP_PACK_H
#define PGDR_REPO_MAP_PACK_H

/*
 * Packs of file maps ("packs/<backup id>/<n / 1000>/m<n>"): maps one behind the other, cut into
 * units of exactly UNIT_RAW_MAX raw bytes (the last one shorter). A map is addressed by its raw
 * offset and length; it may cross from one unit into the next. The pack's own table of backup ids
 * is what the maps in it refer to.
 */

#include "lib/repo/file_map.h"
#include "lib/repo/pack.h"

/* Where a map lies, as the manifest says it. */
typedef struct MapRef {
    uint32_t pack;
    uint64_t off, len; /* raw */
} MapRef;

/* Puts maps into packs; one thread at a time. */
typedef struct MapPackWriter MapPackWriter;
MapPackWriter *map_pack_writer_new(Repo *repo, const char *backup_id);
void map_pack_writer_free(MapPackWriter *w);
DEFINE_FREEP(MapPackWriter, map_pack_writer_free)
/* Adds a map whose sources (and base) number backups as `ids` does. */
MUST_CHECK ErrCode map_pack_writer_add(MapPackWriter *w, const FileMap *map, const StrList *ids,
                                       MapRef *ret, Err *err);
/* Puts what is open. The packs that were put are in *ret (appended). */
typedef VEC(PackInfo) PackInfos;
MUST_CHECK ErrCode map_pack_writer_finish(MapPackWriter *w, PackInfos *ret, Err *err);

/*
 * Reads maps of any backup, remembering the units and tables used last. One thread at a time.
 * `find` gives the expected facts of a pack (NULL: none are known).
 */
typedef struct MapPackReader MapPackReader;
typedef const PackInfo *(*PackFindFn)(void *arg, const char *backup_id, PackId id);
MapPackReader *map_pack_reader_new(Repo *repo, PackFindFn find, void *arg);
void map_pack_reader_free(MapPackReader *r);
DEFINE_FREEP(MapPackReader, map_pack_reader_free)
/* A map whose sources' `backup` are indexes into map_pack_reader_ids(). A patch is joined with its
 * base, so that the result is always a base map. */
MUST_CHECK ErrCode map_pack_reader_get(MapPackReader *r, const char *backup_id, const MapRef *ref,
                                       FileMap *ret, Err *err);
/* A map's base: the map itself, or the one that it is a patch of. */
typedef struct MapBase {
    bool patched;    /* the map is a patch; else `map` is not filled */
    FileMap map;     /* the base */
    uint32_t backup; /* index into map_pack_reader_ids(): where it lies */
    MapRef at;
} MapBase;
void map_base_release(MapBase *b);
/* The same, and its base. Only for a repository without a fallback. */
MUST_CHECK ErrCode map_pack_reader_get_base(MapPackReader *r, const char *backup_id,
                                            const MapRef *ref, FileMap *ret, MapBase *ret_base,
                                            Err *err);
/* All backup ids met so far; grows with every map, indexes stay. */
const StrList *map_pack_reader_ids(const MapPackReader *r);

#endif
