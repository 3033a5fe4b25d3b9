#ifndef PGDR_RESTORE_WAL_GET_H
#define PGDR_RESTORE_WAL_GET_H

/*
 * restore_command. In one-shot recovery PostgreSQL takes every failure status from 1 to 125 as "the
 * WAL ends here", opens the database and forgets the rest. So there are three answers:
 *
 *  found   the file was written, whole and verified
 *  absent  it is provably not there, and nothing later of its timeline is either
 *  doubt   anything else: a repository that does not answer, a hole, damage, two contents
 *
 * A standby asks again by itself and would die of a doubt, so the caller tells doubt from absence
 * by exit status only in one-shot recovery (wal_get_standby_mode()).
 */

#include "catalog/lineage.h"
#include "lib/pg/control.h"

typedef enum WalGetAnswer { WAL_GET_FOUND, WAL_GET_ABSENT } WalGetAnswer;

typedef struct WalGetSpec {
    const char *file;     /* %f */
    const char *to;       /* %p: absolute, or relative to the working directory */
    const char *data_dir; /* of the asking server */
    /* A server in recovery asks: what its path does not go through is cut off. Else pg_rewind or a
     * person does, who want to see what is archived. */
    bool recovering;
    /* The timelines that recovery walks; NULL: from the settings of the server that recovers. */
    const TimelinePath *path;
    Lsn target_end;    /* recovery ends here; 0: where the WAL does */
    const char *spool; /* local directory that remembers timeline histories; NULL: none */
    unsigned threads;  /* 0: one */
    const RepoSource *repos;
} WalGetSpec;

/*
 * Every error means doubt. But of a segment wholly behind `target_end` nothing is needed:
 * PostgreSQL 15 and later read ahead and ask for it all the same, and a hole or damage there is
 * "absent" and no reason to stop before the target. (A server that did not reach its target does
 * not open.) A doubt about a .history file, but in one-shot recovery, is answered from what the
 * spool remembers: a promotion that is told "absent" would take a timeline that is taken, and
 * afterwards, when it has removed standby.signal, it needs the history of the timeline it leaves.
 */
MUST_CHECK ErrCode wal_get(const WalGetSpec *spec, WalGetAnswer *ret, Err *err);

/*
 * Finished segments on the way of one recovery, one after the other: what may be fetched before it
 * is asked for. Nothing else is: absence, tails, pieces and histories are for wal_get() alone, in
 * the moment in which it is asked. The repositories stay open. For one thread.
 */
typedef struct WalGetter WalGetter;
/* As for wal_get(); `file` is the segment that was asked for last, `to` is not used. */
MUST_CHECK ErrCode wal_getter_new(const WalGetSpec *spec, WalGetter **ret, Err *err);
void wal_getter_free(WalGetter *g);
DEFINE_FREEP(WalGetter, wal_getter_free)
/* The timelines that the recovery walks; owned by the getter. */
const TimelinePath *wal_getter_path(const WalGetter *g);
/* Writes `file` to `to`, whole and verified; *ret_found says whether it did. After an error, too,
 * nothing is known about what exists, and the getter is of no further use. */
MUST_CHECK ErrCode wal_getter_get(WalGetter *g, const char *file, const char *to, bool *ret_found,
                                  Err *err);

/* Whether the server in `data_dir` recovers as a standby (standby.signal is there). */
bool wal_get_standby_mode(const char *data_dir);
/* Whether it recovers at all, as a standby or once (one of the signal files is there). */
bool wal_get_in_recovery(const char *data_dir);

#endif
