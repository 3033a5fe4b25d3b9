#include "restore/file_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>

#include "lib/common/file.h"

ErrCode file_writer_open(FileWriter *w, const char *path, Err *err)
{
    const int flags = O_RDWR | O_CREAT | O_NOFOLLOW;
    Err first = {0};
    *w = (FileWriter){.fd = -1, .path = path};
    if (file_open(path, flags | O_DIRECT, 0600, &w->fd, &first) == ERR_OK) {
        w->direct = true;
        return ERR_OK;
    }
    return file_open(path, flags, 0600, &w->fd, err); /* tmpfs and others refuse O_DIRECT */
}

static ErrCode writer_mode(FileWriter *w, bool direct, Err *err)
{
    if (w->direct == direct)
        return ERR_OK;
    int flags = fcntl(w->fd, F_GETFL);
    if (flags < 0 || fcntl(w->fd, F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT) != 0)
        return err_errno(err, errno, "cannot change how '%s' is written", w->path);
    w->direct = direct;
    return ERR_OK;
}

ErrCode file_writer_put(FileWriter *w, const void *data, size_t len, uint64_t off, Err *err)
{
    size_t aligned = len / FILE_WRITER_ALIGN * FILE_WRITER_ALIGN;
    if (w->direct && off % FILE_WRITER_ALIGN == 0 && (uintptr_t)data % FILE_WRITER_ALIGN == 0 &&
        aligned) {
        Err why = {0};
        ErrCode rc = file_write_at(w->fd, data, aligned, off, w->path, &why);
        if (rc == ERR_OK) {
            if (aligned == len)
                return ERR_OK;
            data = (const uint8_t *)data + aligned;
            off += aligned;
            len -= aligned;
        } else if (rc != ERR_IO) { /* EINVAL: a larger block size; written through the cache */
            *err = why;
            return rc;
        }
    }
    bool was = w->direct;
    TRY(writer_mode(w, false, err));
    TRY(file_write_at(w->fd, data, len, off, w->path, err));
    /* The end of a file: nothing comes behind it, so direct writing is left off only for this. */
    if (was && off % FILE_WRITER_ALIGN == 0 && len < FILE_WRITER_ALIGN)
        TRY(writer_mode(w, true, err));
    return ERR_OK;
}

ErrCode file_writer_zeros(FileWriter *w, uint64_t off, uint64_t len, Err *err)
{
    if (fallocate(w->fd, FALLOC_FL_ZERO_RANGE, (off_t)off, (off_t)len) == 0)
        return ERR_OK;
    if (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL)
        return err_errno(err, errno, "cannot write zeros to '%s'", w->path);
    static const uint8_t zeros[256 * 1024] __attribute__((aligned(FILE_WRITER_ALIGN)));
    for (uint64_t done = 0; done < len;) {
        size_t n = (size_t)MIN(len - done, (uint64_t)sizeof(zeros));
        TRY(file_writer_put(w, zeros, n, off + done, err));
        done += n;
    }
    return ERR_OK;
}

ErrCode file_writer_truncate(FileWriter *w, uint64_t size, Err *err)
{
    struct stat st;
    if (fstat(w->fd, &st) != 0)
        return err_errno(err, errno, "cannot look at '%s'", w->path);
    if ((uint64_t)st.st_size != size && ftruncate(w->fd, (off_t)size) != 0)
        return err_errno(err, errno, "cannot cut '%s' to its size", w->path);
    return ERR_OK;
}

ErrCode file_writer_close(FileWriter *w, Err *err)
{
    return file_close(&w->fd, w->path, err);
}

void file_writer_abort(FileWriter *w)
{
    fd_closep(&w->fd);
}
