#include "lib/storage/source.h"

#include <string.h>

#include "lib/common/file.h"

static const uint8_t *piece(const SourceReader *r, size_t *part, size_t *part_off, size_t *ret_len)
{
    const StorageSource *src = r->src;
    while (*part < src->n && *part_off == src->parts[*part].len) {
        ++*part;
        *part_off = 0;
    }
    if (*part == src->n)
        return NULL;
    *ret_len = src->parts[*part].len - *part_off;
    return (const uint8_t *)src->parts[*part].data + *part_off;
}

const uint8_t *source_peek(const SourceReader *r, size_t *ret_len)
{
    size_t part = r->part, part_off = r->part_off;
    return piece(r, &part, &part_off, ret_len);
}

void source_skip(SourceReader *r, size_t len)
{
    size_t n;
    for (size_t done = 0; done < len && piece(r, &r->part, &r->part_off, &n);) {
        n = MIN(n, len - done);
        r->part_off += n;
        done += n;
    }
    r->off += len;
}

ErrCode source_copy(SourceReader *r, void *data, size_t len, Err *err)
{
    if (!r->src->n) {
        size_t got;
        TRY(file_read_at(r->src->fd, data, len, r->off, &got, "the file to be stored", err));
        r->off += got;
        if (got < len)
            return err_set(err, ERR_DAMAGED,
                           "the file to be stored ends at byte %llu instead of %llu",
                           (unsigned long long)r->off, (unsigned long long)r->src->size);
        return ERR_OK;
    }
    for (size_t done = 0, n; done < len;) {
        const uint8_t *p = source_peek(r, &n);
        if (!p)
            return err_set(err, ERR_INTERNAL, "read behind the end of a source");
        n = MIN(n, len - done);
        memcpy((uint8_t *)data + done, p, n);
        source_skip(r, n);
        done += n;
    }
    return ERR_OK;
}
