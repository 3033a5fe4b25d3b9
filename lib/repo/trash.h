#ifndef PGDR_REPO_TRASH_H
#define PGDR_REPO_TRASH_H

/*
 * Trash objects ("trash/<uuid>"): immutable lists of names that are to go. Inner part of the
 * protocol in publish.h.
 */

#include "lib/repo/name_set.h"
#include "lib/repo/repo.h"

typedef struct TrashInfo {
    char *name; /* relative to the cluster */
    TimeUs mtime;
    NameSet names;
} TrashInfo;
typedef VEC(TrashInfo) TrashList;
void trash_list_release(TrashList *l);

/* All trash objects at least `min_age` old, with what they name, appended. One that vanishes
 * meanwhile (its sweep has ended) is left out. */
MUST_CHECK ErrCode trash_read(Repo *repo, TimeUs min_age, TrashList *ret, Err *err);
MUST_CHECK ErrCode trash_put(Repo *repo, const StrList *names, Err *err);

#endif
