#ifndef PGDR_BENCH_FLOOR_PLACE_H
#define PGDR_BENCH_FLOOR_PLACE_H

/*
 * Where the floor keeps what it makes: a folder, or a bucket of an S3 server that lets everybody
 * read and write ("https://host:port/bucket"), in which nothing is signed. Each thread has one
 * connection, which it keeps.
 */

#include "lib/common/buf.h"
#include "lib/common/err.h"

#define PLACE_THREADS 2
#define PLACE_ALIGN 4096

/* `ca_file`: the authority of an https server; NULL for a folder. */
MUST_CHECK ErrCode place_open(const char *at, const char *ca_file, Err *err);
/* Durably. `data` has room up to the next multiple of PLACE_ALIGN and begins at one. */
MUST_CHECK ErrCode place_put(unsigned thread, const char *name, uint8_t *data, size_t len,
                             Err *err);
/* At most `room` bytes; *ret_len: how many there are. */
MUST_CHECK ErrCode place_get(unsigned thread, const char *name, uint8_t *data, size_t room,
                             size_t *ret_len, Err *err);
/* Of a folder: the names in it last. */
MUST_CHECK ErrCode place_finish(Err *err);

#endif
