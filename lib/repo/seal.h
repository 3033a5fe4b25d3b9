#ifndef PGDR_REPO_SEAL_H
#define PGDR_REPO_SEAL_H

/* How units and tables are sealed: nonce and associated data. Used by the object writer and
 * reader only. */

#include "lib/common/cipher.h"

/* Writes len + CIPHER_TAG_LEN bytes. */
void seal_unit(Cipher *c, const char *name, uint32_t domain, uint64_t number, const void *in,
               size_t len, void *out);
/* `len` without the tag; false when the bytes are not what was sealed under this name and number.
 */
MUST_CHECK bool open_unit(Cipher *c, const char *name, uint32_t domain, uint64_t number,
                          const void *in, size_t len, void *out);

#endif
