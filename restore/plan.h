#ifndef PGDR_RESTORE_PLAN_H
#define PGDR_RESTORE_PLAN_H

/*
 * What a restore will do, decided in full before anything is written: which backup, along which
 * timelines, up to which record, with which WAL, to which directories. A plan that exists can be
 * carried out (restore.h) as far as the repository and the disks hold what they show now.
 */

#include "catalog/target.h"
#include "lib/repo/manifest.h"
#include "restore/target_dir.h"

typedef enum TimelineChoice { TIMELINE_LATEST, TIMELINE_CURRENT, TIMELINE_NUMBER } TimelineChoice;
typedef enum TargetAction { ACTION_PROMOTE, ACTION_PAUSE, ACTION_SHUTDOWN } TargetAction;

/* "16400=/srv/new" or "/srv/old=/srv/new". */
typedef struct TablespaceMapping {
    char *from, *to;
} TablespaceMapping;

typedef struct RestoreSpec {
    Repo *repo;
    const char *to;        /* absolute path of the data directory to write */
    const char *backup_id; /* NULL: chosen from the target */
    TargetSpec target;
    TimelineChoice timeline;
    uint32_t timeline_number;
    TargetAction action;
    bool delta;       /* into an existing data directory, writing what differs */
    bool is_clone;    /* `to` is not the cluster's own data directory */
    bool archive_off; /* the restored server does not archive */
    VEC(TablespaceMapping) mappings;
    StrList keep_out;            /* URLs of all repositories, also of those not restored from */
    const Repo *old_wal_in;      /* where restore_save_old() has saved its WAL; NULL: nowhere yet */
    const char *restore_command; /* up to the arguments of archive-get; see restore_command_of() */
} RestoreSpec;

typedef struct PlannedTablespace {
    uint32_t oid;
    char *from; /* where it was; "" for an in-place one */
    char *to;   /* where it goes */
    bool mapped;
} PlannedTablespace;

typedef struct RestorePlan {
    uint64_t system_id;
    uint32_t wal_segment_size;
    BackupSummary backup;
    TimelinePath path;
    TargetPoint point;
    bool too_early; /* the target lies before every backup: more WAL would not help */
    TargetDirState dir_state;
    Err refusal; /* why the directory must not be written as asked; code ERR_OK: it may */
    VEC(PlannedTablespace) tablespaces;
    StrList to_make;       /* directories that replay of CREATE TABLESPACE needs */
    uint64_t bytes, files; /* to be restored */
    Lsn wal_from, wal_to;
    uint64_t wal_segments;
    uint64_t free_bytes; /* on the data directory's filesystem */
    StrList warnings;
} RestorePlan;
void restore_plan_release(RestorePlan *p);

/*
 * ERR_UNREACHABLE, ERR_WAL_MISSING: the target cannot be reached, and why. ERR_NOT_FOUND: no such
 * backup. A target directory that is in the way (a server runs in it, it holds something else, or
 * a cluster and --delta was not given) does not keep the plan from being made, since it is worth
 * seeing: plan->refusal then says why it cannot be carried out.
 */
MUST_CHECK ErrCode restore_plan_make(const RestoreSpec *spec, RestorePlan *ret, Err *err);

/* ERR_REFUSED when a directory lies in one of spec->keep_out, or, unless it is empty, around one.
 */
MUST_CHECK ErrCode plan_keep_out(const RestoreSpec *spec, const char *dir, bool is_empty, Err *err);

/* The whole value of restore_command for a plan; the caller frees. */
char *restore_command_of(const RestoreSpec *spec, const RestorePlan *plan);

const char *target_action_name(TargetAction a);

#endif
