#ifndef PGDR_REPO_PACK_H
#define PGDR_REPO_PACK_H

/*
 * Data packs: up to 32 MiB of compressed pages ("packs/<backup id>/<n / 1000>/d<n>").
 *
 * A pack numbers its page slots from 0. A unit holds the pages of one file, ascending, or (a unit
 * of 0 slots) several small files one behind the other. The table names file and page of every
 * slot, so that a pack can be used without the manifest that led to it.
 */

#include "lib/repo/repo.h"

/* Which pack of which backup. */
typedef struct PackId {
    char kind; /* 'd' data, 'm' maps */
    uint32_t number;
} PackId;

/* "packs/<backup>/<n/1000>/<kind><n>"; the caller frees. */
char *pack_name(const char *backup_id, PackId id);
/* "d12" to its parts; false for anything else. */
bool pack_id_parse(const char *text, PackId *ret);

/* --- writing --- */

/* One line of a backup's list of packs. */
typedef struct PackInfo {
    PackId id;
    ObjectFacts facts;
    uint64_t slots;
    uint32_t units;
} PackInfo;

typedef struct PackWriter PackWriter;
PackWriter *pack_writer_new(void);
void pack_writer_free(PackWriter *w);
DEFINE_FREEP(PackWriter, pack_writer_free)

/* Begins pack `id` of a backup, reusing the memory of the one before. */
void pack_writer_begin(PackWriter *w, const RepoKey *key, const char *backup_id, PackId id);
bool pack_writer_empty(const PackWriter *w);
uint32_t pack_writer_number(const PackWriter *w);
/* Whether a unit still fits below PACK_STORED_MAX, with what it adds to the table: `entries` pages
 * or small files, whose paths have `path_bytes` in all. */
bool pack_writer_fits(const PackWriter *w, size_t raw_len, size_t entries, size_t path_bytes);

/* Pages of one file for one unit. */
typedef struct PackPages {
    const char *path;        /* relative to the data directory */
    const uint64_t *numbers; /* ascending page numbers in the file; NULL: first, first + 1, … */
    uint64_t first;
    unsigned n;       /* 1 to UNIT_RAW_MAX / page_size */
    size_t page_size; /* every page but the last of a file has this size */
    const void *data; /* the pages, one behind the other */
    size_t len;
} PackPages;

/* Adds one unit; *ret_slot is the slot of its first page, the others follow. */
MUST_CHECK ErrCode pack_writer_add_pages(PackWriter *w, Compressor *c, const PackPages *pages,
                                         uint64_t *ret_slot, Err *err);

typedef struct PackSmall {
    const char *path;
    uint32_t off, len; /* inside the unit */
    uint32_t index;    /* out: its number among the small files of the pack */
} PackSmall;

/* Adds one unit of small files that lie in `data` as `items` say; *ret_unit is its number. */
MUST_CHECK ErrCode pack_writer_add_small(PackWriter *w, Compressor *c, PackSmall *items, size_t n,
                                         const void *data, size_t len, uint32_t *ret_unit,
                                         Err *err);
/* Table and footer; the pack is then ready for pack_writer_put(). */
MUST_CHECK ErrCode pack_writer_finish(PackWriter *w, PackInfo *ret, Err *err);
MUST_CHECK ErrCode pack_writer_put(PackWriter *w, Repo *repo, Err *err);

/* --- reading --- */

/* Who a run of slots belongs to. */
typedef struct PackOwner {
    uint32_t file;  /* index into `files` */
    uint64_t first; /* page number in the file; of a small file: offset in the unit */
    uint64_t n;     /* pages; of a small file: bytes */
    uint64_t slot;  /* first slot of the run; of a small file: its index among the small ones */
    uint32_t unit;  /* of a small file */
    bool small;
} PackOwner;

/* A pack's table, ready for use; immutable, so threads may share it. */
typedef struct PackTable {
    char *backup_id, *name; /* name relative to the cluster */
    PackId id;
    ObjectInfo info;
    uint64_t *unit_off;  /* units + 1: byte offsets of the units */
    uint64_t *unit_slot; /* units + 1: first slot of each unit */
    Buf table;           /* the sections, as stored */
    Slice hashes;        /* 8 bytes a slot, then 8 a small file */
    uint64_t n_small;
    size_t page_size; /* 0 when there are no pages */
    size_t memory;    /* bytes it takes */
} PackTable;

/* Reads and checks a table. `expected` (NULL when unknown) is the pack's line in its backup's
 * list: a table that differs from it is ERR_DAMAGED. */
MUST_CHECK ErrCode pack_table_load(Repo *repo, const char *backup_id, PackId id,
                                   const PackInfo *expected, PackTable **ret, Err *err);
/* The same from a whole pack in memory (verify). */
MUST_CHECK ErrCode pack_table_parse(Repo *repo, const char *backup_id, PackId id, const void *data,
                                    size_t len, PackTable **ret, Err *err);
void pack_table_free(PackTable *t);
DEFINE_FREEP(PackTable, pack_table_free)

/* The unit that holds a slot; the slot must be below info.slots. */
uint32_t pack_table_unit_of(const PackTable *t, uint64_t slot);
uint64_t pack_table_hash(const PackTable *t, uint64_t slot);
uint64_t pack_table_small_hash(const PackTable *t, uint64_t index);

typedef VEC(PackOwner) PackOwners;
/* Files and owners of all slots. `files` and `owners` are filled; released by the caller. */
MUST_CHECK ErrCode pack_table_owners(const PackTable *t, StrList *files, PackOwners *owners,
                                     Err *err);

#endif
