#ifndef PGDR_VERIFY_STORED_H
#define PGDR_VERIFY_STORED_H

/*
 * What can be verified without a key: that the bytes of every object are those that were written,
 * and that its kind belongs where it stands. Not whether an object was exchanged for another of its
 * kind, or is missing: names of files, digests of content and lists of packs are sealed.
 */

#include "verify/verify.h"

/* One object: *ret_bytes is what was read. ERR_DAMAGED, or why it cannot be read. */
MUST_CHECK ErrCode stored_object_check(Repo *repo, const char *name, uint64_t *ret_bytes, Err *err);

/* All objects of the repository's cluster. Of `spec`: repo, jobs, progress, found. In *ret:
 * other_objects, bytes, findings. */
MUST_CHECK ErrCode verify_stored(const VerifySpec *spec, VerifyResult *ret, Err *err);

#endif
