#ifndef PGDR_PG_BACKUP_LABEL_H
#define PGDR_PG_BACKUP_LABEL_H

/* backup_label and tablespace_map, as pg_backup_stop() gives them. */

#include "lib/common/buf.h"
#include "lib/pg/lsn.h"

typedef struct BackupLabel {
    Lsn start, checkpoint;
    uint32_t start_tli; /* 0 when the label does not say (it does from 11 on) */
    bool from_standby;
} BackupLabel;

/* ERR_DAMAGED when the start or checkpoint position is missing. */
MUST_CHECK ErrCode backup_label_parse(const char *text, size_t len, BackupLabel *ret, Err *err);

typedef struct Tablespace {
    uint32_t oid;
    char
        *path; /* where the link in pg_tblspc points; "" for an in-place tablespace (a directory) */
} Tablespace;
typedef VEC(Tablespace) TablespaceList;
void tablespace_list_release(TablespaceList *list);

/*
 * tablespace_map puts a backslash before newline and carriage return in paths; from 14 on (`major`)
 * also before a backslash itself, which 13 leaves bare. Seen on 13.16 and 15.18.
 */
MUST_CHECK ErrCode tablespace_map_parse(int major, const char *text, size_t len,
                                        TablespaceList *ret, Err *err);
/* In-place tablespaces do not appear in the file. */
void tablespace_map_format(int major, const TablespaceList *list, Buf *out);

#endif
