#ifndef PGDR_RESTORE_EXTRACT_H
#define PGDR_RESTORE_EXTRACT_H

/*
 * Writes the files of a backup into a directory. Workers fetch, check, decompress and write; large
 * files are split among them, small files that share a unit are written by one. Nothing is made
 * durable here: the caller syncs the filesystems once, at the end.
 */

#include "lib/common/progress.h"
#include "lib/repo/page_reader.h"

typedef struct ExtractSpec {
    Repo *repo;
    const char *backup_id;
    const DocumentFacts *manifest; /* of its manifest, from the summary */
    const char *to;
    bool delta;  /* files may be there: only pages that differ are fetched and written */
    bool owners; /* set owner and group by name (as root) */
    unsigned jobs;
    Progress *progress;
    /* The place of a tablespace link, by its path "pg_tblspc/<oid>"; NULL: as in the manifest. */
    const char *(*link_target)(void *arg, const char *path);
    void *arg;
} ExtractSpec;

typedef struct ExtractResult {
    uint64_t files, bytes; /* in the backup */
    uint64_t written;      /* bytes that had to be written */
    Buf pg_control;        /* not written: the caller puts it in place last */
} ExtractResult;
void extract_result_release(ExtractResult *r);

MUST_CHECK ErrCode extract_run(const ExtractSpec *spec, ExtractResult *ret, Err *err);

/* Everything in the backup, sorted by path (for removing what is not in it). */
typedef struct BackupPath {
    char *path;
    FileKind kind;
} BackupPath;
typedef VEC(BackupPath) BackupPaths;
void backup_paths_release(BackupPaths *p);
MUST_CHECK ErrCode backup_paths_read(Repo *repo, const char *backup_id,
                                     const DocumentFacts *manifest, BackupPaths *ret, Err *err);

#endif
