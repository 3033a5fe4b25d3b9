#include "lib/storage/posix_body.h"

#include <errno.h>

#include "lib/storage/source.h"

/* Fits every block size in use; where it does not, EINVAL leads to buffered writing. */
#define DIRECT_ALIGN ((size_t)4096)
#define BOUNCE_LEN MIB
/* Smaller pieces of memory are gathered in the bounce buffer first. */
#define PIECE_MIN (64 * KIB)
/* Buffered writing of large objects starts writing to the disk each time so much has come together,
 * instead of leaving all of it to the fsync. */
#define FLUSH_EVERY (8 * MIB)
#define WRITE_MAX (256 * MIB)

typedef struct Body {
    int fd;
    bool large, direct;
    uint64_t off, flushed;
    SourceReader reader;
    uint8_t *bounce;
} Body;

static bool direct_set(int fd, bool on)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

static void body_direct_end(Body *b)
{
    if (b->direct)
        direct_set(b->fd, false);
    b->direct = false;
}

/* The next bytes to write, in place when they are large and aligned enough, else in the bounce
 * buffer. While writing directly their length keeps the offset aligned. */
static ErrCode body_next(Body *b, const uint8_t **ret, size_t *ret_len, Err *err)
{
    uint64_t left = source_left(&b->reader);
    if (left < DIRECT_ALIGN)
        body_direct_end(b);
    size_t len, align = b->direct ? DIRECT_ALIGN : 1;
    const uint8_t *piece = source_peek(&b->reader, &len);
    if (piece && (len == left || len >= PIECE_MIN) && (uintptr_t)piece % align == 0) {
        *ret = piece;
        *ret_len = MIN(len - len % align, b->direct ? WRITE_MAX : FLUSH_EVERY);
        if (*ret_len) {
            source_skip(&b->reader, *ret_len);
            return ERR_OK;
        }
    }
    if (!b->bounce)
        b->bounce = mem_aligned(DIRECT_ALIGN, MIN(BOUNCE_LEN, (size_t)b->reader.src->size));
    len = (size_t)MIN(BOUNCE_LEN, left);
    len -= len % align;
    *ret = b->bounce;
    *ret_len = len;
    return source_copy(&b->reader, b->bounce, len, err);
}

/* 0 or errno. */
static int body_write(Body *b, const uint8_t *data, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(b->fd, data + done, len - done, (off_t)b->off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EINVAL && b->direct) {
            body_direct_end(b);
            continue;
        }
        if (n <= 0)
            return n ? errno : ENOSPC;
        done += (size_t)n;
        b->off += (uint64_t)n; /* after a short write perhaps odd, which leads to EINVAL above */
    }
    return 0;
}

/* Courtesies of buffered writing: their failure means nothing. */
static void body_flush(Body *b)
{
    if (!b->large || b->direct || b->off - b->flushed < FLUSH_EVERY)
        return;
    (void)!sync_file_range(b->fd, (off_t)b->flushed, (off_t)(b->off - b->flushed),
                           SYNC_FILE_RANGE_WRITE);
    b->flushed = b->off;
}

static int sync_file(int fd)
{
    int rc;
    do
        rc = fsync(fd);
    while (rc != 0 && errno == EINTR);
    return rc == 0 ? 0 : errno;
}

ErrCode posix_body_write(const Posix *p, int fd, const StorageSource *src, const char *path,
                         const char *at, Err *err)
{
    uint8_t *bounce AUTO(mem_freep) = NULL;
    Body b = {.fd = fd, .large = src->size >= POSIX_DIRECT_MIN, .reader = {.src = src}};
    b.direct = b.large && direct_set(fd, true);
    while (source_left(&b.reader)) {
        const uint8_t *data;
        size_t len;
        ErrCode rc = body_next(&b, &data, &len, err);
        bounce = b.bounce;
        if (rc != ERR_OK)
            return err_wrap(err, "cannot write '%s'", path);
        int errnum = body_write(&b, data, len);
        if (errnum)
            return posix_error(p, errnum, at, err, "cannot write '%s' at byte %llu", path,
                               (unsigned long long)b.off);
        body_flush(&b);
    }
    int errnum = sync_file(fd);
    if (errnum)
        return posix_error(p, errnum, at, err, "cannot make '%s' durable (fsync)", path);
    if (b.large)
        (void)!posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    return ERR_OK;
}
