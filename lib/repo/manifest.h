#ifndef PGDR_REPO_MANIFEST_H
#define PGDR_REPO_MANIFEST_H

/*
 * The manifest of a backup: every path of the data directory and where its content lies. JSON
 * lines sorted by path bytes, in parts "manifest.0001", … of at most 32 MiB stored; "manifest"
 * itself holds the header, the digests of the parts and the totals. Written and read as a stream:
 * memory does not grow with the number of files.
 */

#include "lib/repo/map_pack.h"

typedef enum FileKind { FILE_REGULAR, FILE_DIRECTORY, FILE_LINK } FileKind;
typedef enum FilePlace {
    PLACE_NONE,  /* an empty file, a directory, a link */
    PLACE_MAP,   /* pages, through a file map */
    PLACE_SMALL, /* inside a unit that it shares with others */
} FilePlace;

typedef struct FileEntry {
    const char *path; /* relative to the data directory */
    FileKind kind;
    uint64_t size;
    int64_t mtime; /* seconds */
    uint32_t mode; /* permission bits */
    const char *user, *group;
    const char *link; /* target of a link */
    FilePlace place;
    uint32_t backup; /* index into the manifest's ids: whose pack */
    uint32_t pack;   /* map pack, or data pack of a small file */
    uint64_t off;    /* of the map (raw), or of the small file inside its unit */
    uint64_t map_len;
    uint32_t unit;  /* of a small file */
    uint32_t small; /* its number among the small files of the pack */
} FileEntry;

typedef struct ManifestTablespace {
    uint32_t oid;
    char *path; /* "" for an in-place tablespace */
} ManifestTablespace;

typedef struct ManifestHeader {
    char id[BACKUP_ID_LEN + 1];
    char *cluster;
    uint64_t system_id;
    int pg_version_num;
    uint32_t block_size, rel_seg_blocks, wal_segment_size, checksum_version;
    uint32_t timeline;
    uint64_t start_lsn, stop_lsn;
    char *user, *group; /* defaults of the entries */
    uint32_t file_mode, dir_mode;
    StrList ids; /* backups whose packs are used; [0] is this one */
    VEC(ManifestTablespace) tablespaces;
    uint64_t files, bytes; /* totals, set by the writer */
} ManifestHeader;
void manifest_header_release(ManifestHeader *h);

typedef struct ManifestWriter ManifestWriter;
ManifestWriter *manifest_writer_new(Repo *repo, const ManifestHeader *header);
void manifest_writer_free(ManifestWriter *w);
DEFINE_FREEP(ManifestWriter, manifest_writer_free)
/* Entries must come in ascending byte order of their paths. */
MUST_CHECK ErrCode manifest_writer_add(ManifestWriter *w, const FileEntry *e, Err *err);
/* Puts the last part and then the head. */
MUST_CHECK ErrCode manifest_writer_finish(ManifestWriter *w, DocumentFacts *ret, Err *err);

typedef struct ManifestReader ManifestReader;
/* `expected` (NULL: not known) are the facts in the backup's summary. */
MUST_CHECK ErrCode manifest_reader_open(Repo *repo, const char *backup_id,
                                        const DocumentFacts *expected, ManifestReader **ret,
                                        Err *err);
void manifest_reader_close(ManifestReader *r);
static inline void manifest_reader_closep(ManifestReader **r)
{
    manifest_reader_close(*r);
    *r = NULL;
}
const ManifestHeader *manifest_reader_header(const ManifestReader *r);
/* The next entry; its texts are borrowed until the next call. *ret_end at the end, when all totals
 * and digests were right. */
MUST_CHECK ErrCode manifest_reader_next(ManifestReader *r, FileEntry *ret, bool *ret_end, Err *err);
/* Names of all objects of the manifest ("backups/<id>/manifest", parts), appended. */
void manifest_reader_names(const ManifestReader *r, StrList *ret);

/* The text of a manifest's head with other digests of its parts, for a copy under another key. */
typedef ErrCode (*ManifestPartFn)(void *arg, unsigned part, DocumentFacts *ret, Err *err);
MUST_CHECK ErrCode manifest_head_rewrite(const Buf *text, ManifestPartFn fn, void *arg, Buf *ret,
                                         Err *err);

/* "backups/<id>/<what>"; the caller frees. */
char *backup_object_name(const char *backup_id, const char *what);
/* A new id: the time and 64 random bits. `out` holds BACKUP_ID_LEN + 1. */
void backup_id_new(TimeUs now, char *out);
bool backup_id_valid(const char *id);
/* The time inside an id. */
MUST_CHECK ErrCode backup_id_time(const char *id, TimeUs *ret, Err *err);

#endif
