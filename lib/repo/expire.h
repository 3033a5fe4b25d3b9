#ifndef PGDR_REPO_EXPIRE_H
#define PGDR_REPO_EXPIRE_H

/* What the two halves of expire, condemning and sweeping, have in common. Inner part of the
 * protocol in publish.h. */

#include "lib/repo/name_set.h"
#include "lib/repo/publish.h"

/* Nothing is deleted from a repository that holds anything this version does not know. */
MUST_CHECK ErrCode expire_refuse_unknown(const Repo *repo, const BackupStates *states, Err *err);

/* Adds the names of all packs that a backup's list protects. One whose list was swept, because its
 * manifest is gone or it was never committed, protects nothing. */
MUST_CHECK ErrCode expire_protect(Repo *repo, const char *backup_id, NameSet *keep, Err *err);

/* "packs/<id>/…" or "backups/<id>/…" to the id; false for other names. */
bool expire_name_id(const char *name, const char *prefix, char id[BACKUP_ID_LEN + 1]);

#endif
