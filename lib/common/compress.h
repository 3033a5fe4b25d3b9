#ifndef PGDR_COMMON_COMPRESS_H
#define PGDR_COMMON_COMPRESS_H

/* zstd frames: one long-lived context a worker, the content size in every frame. */

#include "lib/common/err.h"

typedef struct Compressor Compressor;
/* Frames with a check sum of their content. One thread at a time. */
Compressor *compressor_new(int level);
/* For files of the cluster, without check sums: their pages have hashes, and zstd's would be a
 * third of the work to get them back. Level 0 means the default: as level 1, but with a match
 * length that suits what is compressed (tried anew from time to time: 4 bytes serve indexes, 6
 * text). */
Compressor *compressor_new_files(int level);
/* For WAL, whose pieces have hashes, too. Default level: one way that suits records and page images
 * alike, without trying. */
Compressor *compressor_new_wal(int level);
void compressor_free(Compressor *c);
DEFINE_FREEP(Compressor, compressor_free)
/* The most a frame of `len` raw bytes can need. */
size_t compress_bound(size_t len);
/* Says that what follows is of another kind than before (another file). */
void compressor_restart(Compressor *c);
/* One frame to `out` (at least compress_bound(len)); returns its size. */
size_t compressor_run(Compressor *c, const void *in, size_t len, void *out, size_t out_cap);

typedef struct Decompressor Decompressor;
Decompressor *decompressor_new(void);
void decompressor_free(Decompressor *d);
DEFINE_FREEP(Decompressor, decompressor_free)
/* One frame whose raw size must be exactly `len`; ERR_DAMAGED otherwise. */
MUST_CHECK ErrCode decompressor_run(Decompressor *d, const void *in, size_t in_len, void *out,
                                    size_t len, Err *err);
/* The raw size that a frame's header states; ERR_DAMAGED when it is none, ERR_LIMIT when it is
 * more than `limit`. */
MUST_CHECK ErrCode frame_raw_size(const void *in, size_t in_len, size_t limit, size_t *ret,
                                  Err *err);

#endif
