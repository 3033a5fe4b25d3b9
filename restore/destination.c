#include "restore/destination.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/common/buf.h"
#include "lib/common/file.h"
#include "lib/common/hex.h"

static bool is_unsupported(int errnum)
{
    /* EISDIR is what kernels say that do not know O_TMPFILE. */
    return errnum == EOPNOTSUPP || errnum == EISDIR || errnum == EINVAL || errnum == ENOSYS;
}

/* A name beside the final one, so that a rename reaches it. */
static char *temp_name(const Destination *d)
{
    char random[33];
    return mem_printf("%s/.pgdr-%.16s", d->dir, random_name(random));
}

ErrCode destination_open(const char *path, Destination *ret, Err *err)
{
    struct stat st;
    *ret = (Destination){.path = path, .fd = -1};
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return err_set(err, ERR_USAGE, "cannot write '%s': it is not a plain file", path);
    ret->dir = path_parent(path);
    ret->fd = open(ret->dir, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (ret->fd >= 0)
        return ERR_OK;
    if (!is_unsupported(errno))
        return err_errno(err, errno, "cannot create '%s'", path);
    char *temp = temp_name(ret);
    ErrCode rc = file_open(temp, O_WRONLY | O_CREAT | O_EXCL, 0600, &ret->fd, err);
    if (rc == ERR_OK)
        ret->temp = temp;
    else
        free(temp);
    return rc;
}

/* 0 or errno. */
static int link_as(const Destination *d, const char *name)
{
    char proc[64];
    snprintf(proc, sizeof(proc), "/proc/self/fd/%d", d->fd);
    return linkat(AT_FDCWD, proc, AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
}

/* Linking cannot replace what is there: that takes a rename. */
static int give_name(Destination *d)
{
    int errnum = d->temp ? 0 : link_as(d, d->path);
    if (!d->temp && errnum != EEXIST)
        return errnum;
    if (!d->temp) {
        char *temp = temp_name(d);
        errnum = link_as(d, temp);
        if (errnum) {
            free(temp);
            return errnum;
        }
        d->temp = temp;
    }
    if (rename(d->temp, d->path) != 0)
        return errno;
    free(d->temp);
    d->temp = NULL;
    return 0;
}

ErrCode destination_finish(Destination *d, Err *err)
{
    int errnum = give_name(d);
    if (errnum)
        return err_errno(err, errnum, "cannot give '%s' its name", d->path);
    /* A network file system may report a failed write only now. */
    ErrCode rc = file_close(&d->fd, d->path, err);
    if (rc != ERR_OK)
        unlink(d->path);
    return rc;
}

void destination_release(Destination *d)
{
    if (d->temp)
        unlink(d->temp);
    if (d->fd >= 0)
        close(d->fd);
    free(d->temp);
    free(d->dir);
    *d = (Destination){.fd = -1};
}
