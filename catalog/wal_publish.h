#ifndef PGDR_CATALOG_WAL_PUBLISH_H
#define PGDR_CATALOG_WAL_PUBLISH_H

/*
 * From a file of pg_wal to a WAL object. The file is read and judged once (wal_file_load), then
 * stored in every repository that archives (wal_file_store).
 *
 * A segment becomes a finished object only when its records are valid to the last byte or end in a
 * switch. Anything shorter is the tail of a segment that another server may still be writing: it
 * is stored as a tail object, never under the segment's name, which would keep the real one out.
 */

#include <sys/stat.h>

#include "catalog/wal_index.h"
#include "lib/pg/control.h"
#include "lib/pg/timeline.h"
#include "lib/pg/wal_name.h"
#include "lib/repo/wal_object.h"

typedef struct WalFileSpec {
    const char *path;         /* where the file is */
    const char *file;         /* its name in pg_wal */
    const char *wal_dir;      /* where its .history is looked for; may be NULL */
    const PgControl *control; /* of the server that it must belong to */
    int level;                /* of compression, 0: the default */
    unsigned threads;         /* 0: one */
} WalFileSpec;

/* What tells a file from any other, and from itself when it is written to: of stat(2), times in
 * nanoseconds. */
typedef struct WalFileId {
    uint64_t dev, ino, size, mtime, ctime;
} WalFileId;
WalFileId wal_file_id(const struct stat *st);
bool wal_file_id_equal(const WalFileId *a, const WalFileId *b);

typedef struct WalFile {
    char file[WAL_FILE_MAX];
    WalName name;
    WalFileId id; /* before it was read */
    uint64_t system_id;
    uint32_t seg_size;
    uint8_t *data; /* the content; on the heap, or mapped */
    size_t len;
    bool mapped;
    WalPieces pieces; /* digested and compressed */
    bool is_segment;  /* a segment or .partial: `check` and `index` are set */
    WalSegmentCheck check;
    WalIndex index;
} WalFile;

/*
 * Reads and judges. Refuses (ERR_MISMATCH) WAL of another system, version, segment size, position
 * or timeline, and (ERR_DAMAGED) a file that is empty, zero, cut off, or no WAL.
 */
MUST_CHECK ErrCode wal_file_load(const WalFileSpec *spec, WalFile *ret, Err *err);
void wal_file_release(WalFile *f);

/* The path of a timeline, from the history file in a server's pg_wal. */
MUST_CHECK ErrCode wal_local_path(const char *wal_dir, uint32_t tli, TimelinePath *ret, Err *err);

typedef enum WalStored {
    WAL_STORED,       /* written now */
    WAL_STORED_AGAIN, /* the same content was there already, and is whole */
    WAL_STORED_TAIL,  /* not complete: stored as a tail object */
} WalStored;

/*
 * Stores a loaded file in one repository, durably.
 *
 * ERR_CONFLICT when the name is there with other content: both are named, and a segment's timeline
 * is frozen: nothing later of it is taken or trusted until an operator has resolved it. The same
 * error for any file of a frozen timeline.
 */
MUST_CHECK ErrCode wal_file_store(WalStore *store, const WalFile *f, WalStored *ret, Err *err);

/* Keeps a file that must not become part of its timeline, under orphan/. */
MUST_CHECK ErrCode wal_file_store_orphan(WalStore *store, const WalFile *f, Err *err);

/* What begins the names that wal_check_frozen() lists; the caller frees. */
char *wal_frozen_prefix(const WalStore *store, uint32_t tli);
/* ERR_CONFLICT, saying what to do, when the timeline is frozen at or before `segno`. */
MUST_CHECK ErrCode wal_check_frozen(WalStore *store, uint32_t tli, uint64_t segno, Err *err);

#endif
