#ifndef PGDR_STORAGE_POSIX_PUT_H
#define PGDR_STORAGE_POSIX_PUT_H

/*
 * Publishing: the content is written to a file without a name (O_TMPFILE) in the directory of the
 * object and made durable, then it gets its name by linkat(), then the directory is made durable.
 *
 * Where there are no such files (NFS, some FUSE) it is written under a temporary name that
 * listings do not show, then linked, or where there are no hard links renamed without replacing.
 * A file server may do a call whose answer is lost, and the client repeats it: a link that "fails"
 * with EEXIST, or a rename with ENOENT, has succeeded when the name leads to our own file. That is
 * looked at after any failure.
 */

#include "lib/storage/posix_base.h"

MUST_CHECK ErrCode posix_put(Storage *s, const char *name, const StorageSource *src,
                             StoragePutFlags flags, Err *err);

#endif
