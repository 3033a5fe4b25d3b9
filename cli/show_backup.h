#ifndef PGDR_CLI_SHOW_BACKUP_H
#define PGDR_CLI_SHOW_BACKUP_H

/* A backup as JSON, the same wherever one is shown. */

#include <jansson.h>

#include "lib/repo/summary.h"

json_t *backup_json(const BackupSummary *s);
/* "15.18" from 150018. `out` holds 16 bytes. */
const char *pg_version_text(int version_num, char *out);

#endif
