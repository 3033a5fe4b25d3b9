#ifndef PGDR_TESTS_MODEL_SCENE_H
#define PGDR_TESTS_MODEL_SCENE_H

/*
 * A scenario of the protocol: who takes part, what is there in the beginning, what may never be.
 *
 * In every state that can be reached (where calls fail: but for the third to fifth):
 *  - a backup that is listed and not retired is whole;
 *  - a backup whose writer reported success, or whose undelete did, is whole, unless it was retired
 *    (again);
 *  - a backup whose writer reported failure is not listed, or retired;
 *  - an expire does not fail;
 *  - when all have ended, no backup that is listed has a mark on it;
 *  - when all stop there for ever, a later expire breaks nothing and leaves nothing behind
 *    (parts_settle()).
 * And over a whole scenario, what can succeed and fail must be seen to do both.
 */

#include "tests/model/parts.h"

typedef struct Scene {
    const char *name;
    Storage *mem;
    Repo *repo;
    /* O expired long ago; P uses a pack of it; A and B are to be made from P. */
    BackupSpecimen o, p, a, b;
    const BackupSpecimen *backups[4]; /* that are watched */
    /* By the number of the process: the backup it writes or brings back, if it does. */
    const BackupSpecimen *written[MODEL_PROCESSES], *undeleted[MODEL_PROCESSES];
    Process processes[MODEL_PROCESSES];
    Model model;
    const BackupSpecimen *stays; /* this backup must be listed all the time */
    bool retired_again; /* what undelete brought back may be retired and removed after it */
    bool unsettled;     /* leave out parts_settle(), which is slow */
    /* Seen: processes that succeeded, and failed. */
    unsigned succeeded, failed;
    unsigned one_sided; /* processes that need not do both */
} Scene;

void scene_open(Scene *s, const char *name);
void scene_close(Scene *s);

/* The parent P, as it is in the beginning of most. */
void scene_put_parents(Scene *s);

/* Each returns its number. */
unsigned add_writer(Scene *s, const char *name, const BackupSpecimen *b);
unsigned add_renewer(Scene *s, const char *name, const BackupSpecimen *b);
/* Condemns, retiring `b` (NULL: none), and sweeps later. */
unsigned add_expirer(Scene *s, const char *name, const BackupSpecimen *b);
unsigned add_sweeper(Scene *s, const char *name);
unsigned add_undelete(Scene *s, const char *name, const BackupSpecimen *b);

/* Explores; prints how much there was, and in case how to get to what is wrong. */
void scene_explore(Scene *s);
/* Explores; nothing may be wrong. Closes. */
void scene_expect_safe(Scene *s);
/* With this look left out, something must be wrong, in words that contain `what`. Closes. */
void scene_expect_wrong(Scene *s, const Blind *blind, const char *what);

#endif
