#ifndef PGDR_ARCHIVE_BACKUP_FILES_H
#define PGDR_ARCHIVE_BACKUP_FILES_H

/* Which files a backup copies: one walk over the data directory and its tablespaces. */

#include "lib/pg/backup_label.h"
#include "lib/pg/relfile.h"
#include "lib/repo/manifest.h"

/* A path of the data directory, and, once it was copied, where its content lies. */
typedef struct BackupFile {
    const char *path; /* relative to the data directory; in the list's arena */
    const char *link; /* a tablespace link's target */
    uint64_t size;    /* as found; after the copy: as copied */
    int64_t mtime;
    uint32_t mode;
    uint16_t user, group; /* indexes into the list's names */
    uint8_t kind;         /* FileKind */
    bool is_relation;     /* its pages can be checked */
    bool large;           /* copied page by page, through a file map */
    bool dropped;         /* does not belong into the manifest after all */
    uint8_t place;        /* FilePlace */
    uint32_t backup;      /* whose pack; 0: this backup's own */
    uint32_t pack, unit, small;
    uint64_t off, map_len;
} BackupFile;

typedef struct BackupFiles {
    VEC(BackupFile) files; /* sorted by path */
    StrList names;         /* owners and groups */
    TablespaceList tablespaces;
    Arena arena;
    uint64_t bytes; /* of the files that are copied */
} BackupFiles;

void backup_files_release(BackupFiles *l);

/*
 * Lists what belongs into a backup (see relfile.h for what does not). global/pg_control is left
 * out: it is read last, by the caller. Files that vanish meanwhile are left out; links inside the
 * data directory other than tablespaces are followed.
 */
MUST_CHECK ErrCode backup_files_list(const char *data_dir, const PgVersion *version,
                                     BackupFiles *ret, Err *err);

/* Marks the files of unlogged relations (but for their _init forks) as dropped: by the _init forks
 * in the list, and by those that are on disk now. */
MUST_CHECK ErrCode backup_files_drop_unlogged(const char *data_dir, BackupFiles *l, Err *err);
/* The same for one relation, known from WAL. */
void backup_files_drop_relation(BackupFiles *l, uint32_t spc, uint32_t db, uint32_t rel);

/* Adds a small file that is made by the backup itself (backup_label, pg_control); keeps the order.
 */
BackupFile *backup_files_add(BackupFiles *l, const char *path, uint64_t size);

/* NULL when there is none of that path. */
BackupFile *backup_files_find(const BackupFiles *l, const char *path);

const char *backup_file_user(const BackupFiles *l, const BackupFile *f);
const char *backup_file_group(const BackupFiles *l, const BackupFile *f);

#endif
