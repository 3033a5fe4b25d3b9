#ifndef PGDR_ARCHIVE_WAL_PUSH_H
#define PGDR_ARCHIVE_WAL_PUSH_H

/*
 * archive_command: success means that the file is durable in every repository. WAL is never
 * dropped, and nothing that is there is ever replaced by other content.
 */

#include "catalog/wal_publish.h"

typedef struct WalPushSpec {
    const char *path;     /* %p: absolute, or relative to the working or the data directory */
    const char *data_dir; /* where global/pg_control is */
    const RepoSource *repos;
    int level;        /* of compression, 0: the default */
    unsigned threads; /* 0: one */
} WalPushSpec;

/*
 * Pushes one file to all repositories; all are tried before the first failure is reported. Where
 * only some of them fail, the others get what waits behind it, too (wal_push_behind.h). An
 * unfinished segment from a server in recovery, or of a timeline that the server left in it, is
 * kept as a tail object; any other is refused as damaged, since PostgreSQL archives only what it
 * has finished.
 */
MUST_CHECK ErrCode wal_push(const WalPushSpec *spec, Err *err);

/* Where the file of a command line is: PostgreSQL works in the data directory, a person who types a
 * path may stand elsewhere. The caller frees. */
char *wal_push_path(const char *path, const char *data_dir);
/* What is judged before anything is stored: wal_file_load(), and whether an unfinished segment may
 * be kept as a tail. */
MUST_CHECK ErrCode wal_push_load(const WalFileSpec *load, WalFile *ret, Err *err);

#endif
