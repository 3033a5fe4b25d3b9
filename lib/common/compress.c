#include "lib/common/compress.h"

#include <zstd.h>

#include "lib/common/mem.h"

/* Measured on heaps, indexes, catalogs and hexadecimal text in frames of 128 KiB: with 4-byte
 * matches indexes get 38 % smaller and faster, text 8 % larger and slower. One frame in this many
 * is compressed both ways, and the smaller way is kept for the following ones. */
#define TRIAL_EVERY 64

enum { WAY_LONG, WAY_SHORT, WAYS };

struct Compressor {
    ZSTD_CCtx *ways[WAYS];
    int way;
    unsigned until_trial;
    void *trial;
    size_t trial_cap;
};

static ZSTD_CCtx *context_new(int level, bool check_sum)
{
    ZSTD_CCtx *z = ZSTD_createCCtx();
    if (!z)
        abort();
    ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, check_sum);
    ZSTD_CCtx_setParameter(z, ZSTD_c_contentSizeFlag, 1);
    return z;
}

/* As level 1, with matches of at least that many bytes. */
static ZSTD_CCtx *context_new_fast(int min_match)
{
    ZSTD_CCtx *z = context_new(1, false);
    ZSTD_CCtx_setParameter(z, ZSTD_c_strategy, ZSTD_fast);
    ZSTD_CCtx_setParameter(z, ZSTD_c_minMatch, min_match);
    ZSTD_CCtx_setParameter(z, ZSTD_c_hashLog, 15);
    return z;
}

Compressor *compressor_new(int level)
{
    Compressor *c = NEW(Compressor);
    c->ways[WAY_LONG] = context_new(level, true);
    return c;
}

Compressor *compressor_new_files(int level)
{
    Compressor *c = NEW(Compressor);
    c->ways[WAY_LONG] = context_new(level ? level : 1, false);
    if (level == 0)
        c->ways[WAY_SHORT] = context_new_fast(4);
    return c;
}

Compressor *compressor_new_wal(int level)
{
    Compressor *c = NEW(Compressor);
    /* On pgbench WAL: as small as level 3, as fast as level 1. */
    c->ways[WAY_LONG] = level ? context_new(level, false) : context_new_fast(5);
    return c;
}

void compressor_free(Compressor *c)
{
    if (!c)
        return;
    for (int i = 0; i < WAYS; i++)
        ZSTD_freeCCtx(c->ways[i]);
    free(c->trial);
    free(c);
}

size_t compress_bound(size_t len)
{
    return ZSTD_compressBound(len);
}

void compressor_restart(Compressor *c)
{
    c->until_trial = 0;
}

static size_t compress_with(ZSTD_CCtx *z, const void *in, size_t len, void *out, size_t cap)
{
    size_t n = ZSTD_compress2(z, out, cap, in, len);
    if (ZSTD_isError(n))
        abort(); /* only a too small `out` or no memory, both excluded by contract */
    return n;
}

size_t compressor_run(Compressor *c, const void *in, size_t len, void *out, size_t out_cap)
{
    if (!c->ways[WAY_SHORT] || c->until_trial) {
        c->until_trial -= c->until_trial > 0;
        return compress_with(c->ways[c->way], in, len, out, out_cap);
    }
    c->until_trial = TRIAL_EVERY;
    size_t bound = compress_bound(len);
    if (c->trial_cap < bound) {
        c->trial = mem_grow(c->trial, bound);
        c->trial_cap = bound;
    }
    size_t plain = compress_with(c->ways[WAY_LONG], in, len, out, out_cap);
    size_t other = compress_with(c->ways[WAY_SHORT], in, len, c->trial, c->trial_cap);
    if (other >= plain) {
        c->way = WAY_LONG;
        return plain;
    }
    c->way = WAY_SHORT;
    __builtin_memcpy(out, c->trial, other);
    return other;
}

struct Decompressor {
    ZSTD_DCtx *z;
};

Decompressor *decompressor_new(void)
{
    Decompressor *d = NEW(Decompressor);
    d->z = ZSTD_createDCtx();
    if (!d->z)
        abort();
    return d;
}

void decompressor_free(Decompressor *d)
{
    if (!d)
        return;
    ZSTD_freeDCtx(d->z);
    free(d);
}

ErrCode decompressor_run(Decompressor *d, const void *in, size_t in_len, void *out, size_t len,
                         Err *err)
{
    size_t n = ZSTD_decompressDCtx(d->z, out, len, in, in_len);
    if (ZSTD_isError(n))
        return err_set(err, ERR_DAMAGED, "a zstd frame does not decompress: %s",
                       ZSTD_getErrorName(n));
    if (n != len)
        return err_set(err, ERR_DAMAGED, "a zstd frame holds %zu bytes instead of %zu", n, len);
    return ERR_OK;
}

ErrCode frame_raw_size(const void *in, size_t in_len, size_t limit, size_t *ret, Err *err)
{
    unsigned long long n = ZSTD_getFrameContentSize(in, in_len);
    if (n == ZSTD_CONTENTSIZE_ERROR || n == ZSTD_CONTENTSIZE_UNKNOWN)
        return err_set(err, ERR_DAMAGED, "there is no zstd frame where one should be");
    if (n > limit)
        return err_set(err, ERR_LIMIT, "a zstd frame of %llu bytes is larger than the %zu allowed",
                       n, limit);
    *ret = (size_t)n;
    return ERR_OK;
}
