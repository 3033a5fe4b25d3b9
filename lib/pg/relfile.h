#ifndef PGDR_PG_RELFILE_H
#define PGDR_PG_RELFILE_H

/* What a path inside a data directory is: relation files, and what no backup copies. */

#include "lib/pg/version.h"

typedef enum RelFork { FORK_MAIN, FORK_FSM, FORK_VM, FORK_INIT } RelFork;

typedef struct RelFile {
    uint32_t spc; /* 1663 pg_default, 1664 pg_global, or a tablespace's oid */
    uint32_t db;  /* 0 in global/ */
    uint32_t rel; /* relfilenode */
    RelFork fork;
    uint32_t segment;
    bool temporary; /* t<backend>_<rel> */
} RelFile;

/* `path` is relative to the data directory: base/5/1259_vm.1, global/1262,
 * pg_tblspc/16400/PG_15_202209061/5/16401. False when it is no relation file. */
bool relfile_parse(const char *path, RelFile *ret);

/* A tablespace's own entry, "pg_tblspc/<oid>": a link, or a directory when it was made in place. */
bool tablespace_entry_parse(const char *path, uint32_t *ret_oid);

typedef enum DataRule {
    DATA_COPY,      /* belongs into a backup */
    DATA_EMPTY_DIR, /* the directory itself, but nothing below (pg_wal, pg_replslot, …) */
    DATA_SKIP,      /* not at all (postmaster.pid, pgsql_tmp*, temporary relations, …) */
} DataRule;

/*
 * By name alone (unlogged relations are known by their _init fork, see backup): the exclusions of
 * the server's own base backup for 13 to 18 (basebackup.c), of a directory or a file. A path below
 * an excluded directory is excluded too. `is_dir` of a link is that of what it points to.
 * global/pg_control is DATA_COPY; the caller reads it last.
 *
 * In a tablespace only the directory of the server's own version (pg_version_dir()) belongs to it.
 */
DataRule data_rule(const char *path, bool is_dir);

#endif
