#ifndef PGDR_REPO_WAL_OBJECT_H
#define PGDR_REPO_WAL_OBJECT_H

/*
 * WAL objects: one file of pg_wal, in pieces of UNIT_RAW_MAX that are digested, compressed, opened
 * and written independently, so that one file keeps several threads busy. The zeros at the end of
 * a file are not stored.
 *
 * The digest in an object's name is SHA-256 over the XXH3-128 of every piece (with encryption:
 * HMAC-SHA256 over them, under the repository's oldest key), so it is computed piece by piece, too.
 * It tells contents apart; what it costs is paid at every push, so it is the cheapest that does.
 * The object holds it as well, so that one under another's name is noticed without computing it
 * again.
 */

#include "lib/repo/wal_store.h"

/* A file's content, digested and compressed, independent of any repository. */
typedef struct WalPiece {
    uint8_t hash[XXH128_LEN]; /* of the raw piece, zeros included */
    Buf packed;               /* a zstd frame of what is stored of it; empty: nothing is */
} WalPiece;

typedef struct WalPieces {
    uint64_t size;  /* raw bytes of the file */
    uint64_t valid; /* of them without the zeros at the end */
    size_t n;
    WalPiece *at;
} WalPieces;

/* Room for the pieces of `data`; each is then made by wal_piece_make(), by any thread. */
void wal_pieces_init(WalPieces *p, const void *data, size_t size);
void wal_piece_make(WalPieces *p, size_t i, const void *data, Compressor *c);
/* All of them by this thread. */
void wal_pieces_make(WalPieces *p, const void *data, size_t size, int level);
void wal_pieces_release(WalPieces *p);
/* The digest in a repository; `out` holds WAL_DIGEST_LEN. */
void wal_pieces_digest(const WalPieces *p, const Repo *repo, char *out);

/* What is known about a WAL object besides its content. */
typedef struct WalMeta {
    char file[WAL_FILE_MAX];
    uint64_t size;  /* raw bytes of the file */
    uint64_t valid; /* raw bytes without the zeros at its end */
    TimeUs pushed;  /* by the pusher's clock */
    char host[256];
} WalMeta;

/* Makes the object `name` in `w`, ready for wal_put(). `sections`: the WAL index (may be NULL).
 * size and valid of `meta` are set from the pieces. */
MUST_CHECK ErrCode wal_object_build(WalStore *s, ObjectWriter *w, const char *name, WalMeta *meta,
                                    const WalPieces *pieces, const Buf *sections, Err *err);
/* ERR_EXISTS where the storage can tell that the object is there already. */
MUST_CHECK ErrCode wal_put(WalStore *s, const ObjectWriter *w, const char *name,
                           StoragePutFlags flags, Err *err);
/* Removes one object of a file. */
MUST_CHECK ErrCode wal_remove(WalStore *s, const WalFound *found, Err *err);

/* Reads a file back, whole, and computes its digest again. The raw content (zeros restored) is
 * appended to *data. `meta` and `table` may be NULL. */
MUST_CHECK ErrCode wal_read(WalStore *s, const WalFound *found, Buf *data, WalMeta *meta,
                            Buf *table, Err *err);
/*
 * The same for who checks what is stored: every byte of the object is compared with the digest over
 * them, also those that the content does not prove (its index, for one). `name` is where it lies,
 * wal_object_name() or an orphan's. *ret_stored: its bytes.
 */
MUST_CHECK ErrCode wal_prove(WalStore *s, const char *name, const WalFound *found, Buf *data,
                             uint64_t *ret_stored, Err *err);
/* Into a file that is open for writing and empty, by up to `threads` threads. The content is proven
 * by SHA-256 over the stored bytes and by the digest of what they hold. After a failure the file
 * may hold anything. *ret_size: its bytes. */
MUST_CHECK ErrCode wal_read_to_file(WalStore *s, const WalFound *found, int fd, const char *path,
                                    unsigned threads, uint64_t *ret_size, Err *err);
/* Only the table and what it says, by one or two reads from the end. */
MUST_CHECK ErrCode wal_read_table(WalStore *s, const WalFound *found, WalMeta *meta, Buf *table,
                                  Err *err);

/*
 * Makes in `w` the object that holds the same file in another repository: under that one's key and
 * with that one's digest in its name (*ret_digest), else as it is here. Everything is proven on
 * the way; the compressed pieces are taken over. Ready for wal_put().
 */
MUST_CHECK ErrCode wal_object_remake(WalStore *from, const WalFound *found, WalStore *to,
                                     ObjectWriter *w, char ret_digest[WAL_DIGEST_LEN], Err *err);
/* Whether two repositories give the same content the same digest. */
bool wal_same_digests(const Repo *a, const Repo *b);

#endif
