#ifndef PGDR_REPO_WAL_STORE_H
#define PGDR_REPO_WAL_STORE_H

/*
 * WAL objects of one PostgreSQL system:
 *
 *     wal/<system>/<TLI>/<first 16 digits>/<file>-<digest>   segments, .partial, .backup
 *     wal/<system>/history/<file>-<digest>                   .history
 *     timelines/<system>/<TLI>/<mark>                        frozen-…, fence-…, claims
 *
 * <system> is the system identifier, with "-<segment size>" behind it when that is not 16 MiB: a
 * cluster that was initialised anew, or given another segment size, never meets the files of its
 * predecessor. The digest is that of the raw content, so that two writers with different content
 * under one name cannot destroy each other's; both are then there, and that is noticed.
 *
 * This part takes PostgreSQL's file names as text; what they mean is known above. wal_object.h
 * makes and reads the objects.
 */

#include "lib/repo/repo.h"

#define WAL_FILE_MAX 64
#define WAL_SYSTEM_MAX 48

typedef struct WalStore {
    Repo *repo;
    uint64_t system_id;
    uint32_t seg_size;
    char system[WAL_SYSTEM_MAX]; /* <system> of the names */
} WalStore;

void wal_store_init(WalStore *s, Repo *repo, uint64_t system_id, uint32_t seg_size);

/* One object as a listing shows it. */
typedef struct WalFound {
    char file[WAL_FILE_MAX];
    char digest[WAL_DIGEST_LEN];
    StorageStat stat; /* only when asked for */
} WalFound;
typedef VEC(WalFound) WalFoundList;
/* From an object's name (also one under orphan/); false when it does not end in <file>-<digest>. */
bool wal_found_parse(const char *name, WalFound *ret);

/* The object's name relative to the cluster; the caller frees. */
char *wal_object_name(const WalStore *s, const char *file, const char *digest);
/* "orphan/<system>/<host>/<file>-<digest>": WAL that is kept, but is no part of any timeline that
 * counts; the caller frees. */
char *wal_orphan_name(const WalStore *s, const char *host, const char *file, const char *digest);
/* All objects of one file (more than one: different contents), appended. */
MUST_CHECK ErrCode wal_find(WalStore *s, const char *file, WalFoundList *ret, Err *err);
/* What begins the names that wal_find() and wal_list_histories() list; the caller frees. */
char *wal_find_prefix(const WalStore *s, const char *file);
char *wal_histories_prefix(const WalStore *s);
/* All objects below one directory of 16 digits, sorted, appended. */
MUST_CHECK ErrCode wal_list_directory(WalStore *s, const char *tli8, const char *prefix16,
                                      bool want_stat, WalFoundList *ret, Err *err);
/* The directories of a timeline (16 digits each), sorted, appended. */
MUST_CHECK ErrCode wal_list_directories(WalStore *s, const char *tli8, StrList *ret, Err *err);
/* The timelines that have WAL (8 digits each), sorted, appended. */
MUST_CHECK ErrCode wal_list_timelines(WalStore *s, StrList *ret, Err *err);
/* All history files, sorted, appended. */
MUST_CHECK ErrCode wal_list_histories(WalStore *s, WalFoundList *ret, Err *err);
/* The <system> directories of a repository's cluster, appended. */
MUST_CHECK ErrCode wal_list_systems(Repo *repo, StrList *ret, Err *err);
/* "<id>" or "<id>-<size>" to its parts; false for anything that is not exactly what stands in names
 * for them. */
bool wal_system_parse(const char *text, uint64_t *system_id, uint32_t *seg_size);

/* --- marks on a timeline --- */

/*
 * frozen-<uuid>: two contents were seen under one name; nothing later of the timeline is taken or
 * trusted until an operator has resolved it.
 */
typedef struct TimelineMark {
    char name[96]; /* relative to timelines/<system>/<TLI>/ */
    json_t *body;
} TimelineMark;
typedef VEC(TimelineMark) TimelineMarks;
void timeline_marks_release(TimelineMarks *m);
/* What begins the names of marks whose own name begins with `prefix`; the caller frees. */
char *timeline_marks_prefix(const WalStore *s, const char *tli8, const char *prefix);
/* Marks whose name begins with `prefix` ("" for all). */
MUST_CHECK ErrCode timeline_marks_read(WalStore *s, const char *tli8, const char *prefix,
                                       TimelineMarks *ret, Err *err);
MUST_CHECK ErrCode timeline_mark_put(WalStore *s, const char *tli8, const char *kind,
                                     const json_t *body, Err *err);
MUST_CHECK ErrCode timeline_mark_remove(WalStore *s, const char *tli8, const char *name, Err *err);

#endif
