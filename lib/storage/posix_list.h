#ifndef PGDR_STORAGE_POSIX_LIST_H
#define PGDR_STORAGE_POSIX_LIST_H

/*
 * Listing: one directory after the other is read whole and sorted, so memory is bounded by the
 * directories on one path. Only those that can hold names of the listing are opened.
 *
 * A directory is asked for afresh before it is read, so that a file server's client does not
 * answer from its memory what another host has changed.
 */

#include "lib/storage/posix_base.h"

MUST_CHECK ErrCode posix_list(Storage *s, const StorageList *list, Err *err);

#endif
