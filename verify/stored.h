#ifndef PGDR_VERIFY_STORED_H
#define PGDR_VERIFY_STORED_H

/*
 * What can be verified without a key: that the bytes of every object are those that were written,
 * and that its kind belongs where it stands. Not whether an object was exchanged for another of its
 * kind, or is missing: names of files, digests of content and lists of packs are sealed.
 */

#include "verify/verify.h"

typedef struct StoredResult {
    uint64_t objects, bytes, findings;
} StoredResult;

/* All objects of the repository's cluster. Of `spec`: repo, jobs, progress, found. */
MUST_CHECK ErrCode verify_stored(const VerifySpec *spec, StoredResult *ret, Err *err);

#endif
