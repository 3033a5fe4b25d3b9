#ifndef PGDR_ARCHIVE_PUSH_ASK_H
#define PGDR_ARCHIVE_PUSH_ASK_H

/*
 * What archive-push asks the helper that an earlier one left behind (push_helper.h), over a socket
 * in the helper's folder: is this very file durable in every repository? One question a connection.
 * Only the one answer PUSH_DURABLE means anything: whatever else comes, or nothing, or too late,
 * the command pushes the file itself.
 */

#include <limits.h>
#include <sys/un.h>

#include "catalog/wal_helper.h"
#include "catalog/wal_publish.h"
#include "lib/common/digest.h"

#define PUSH_DURABLE 0xd1
/* How long a push may take before the command does not wait for the helper any longer. */
#define PUSH_ANSWER_TIME (30 * US_PER_SECOND)

typedef struct PushQuestion {
    uint8_t config[XXH128_LEN]; /* a digest of the configuration in effect */
    WalFileId id;
    char path[PATH_MAX];
} PushQuestion;

#define PUSH_QUESTION_MAX (PATH_MAX + 128)
/* Its length in bytes; 0 when the path is longer than a path can be. `out`: PUSH_QUESTION_MAX. */
size_t push_question_encode(const PushQuestion *q, uint8_t *out);
/* From the first `len` bytes. ERR_VERSION for another version's, ERR_DAMAGED for what is none; and
 * *ret_more when it goes on. */
MUST_CHECK ErrCode push_question_decode(const void *data, size_t len, PushQuestion *ret,
                                        bool *ret_more, Err *err);

/* ERR_OK: the helper says that it is. */
MUST_CHECK ErrCode push_ask(const WalHelper *helper, const PushQuestion *q, Err *err);

/* A socket, and its address in the helper's folder whatever the length of that path. `*ret_dir`
 * must stay open while the address is used; the caller closes both. */
MUST_CHECK ErrCode push_socket(const WalHelper *helper, int *ret, int *ret_dir,
                               struct sockaddr_un *ret_address, Err *err);
/* Reads and writes on the socket fail after that time. */
void push_socket_limit(int fd, TimeUs us);

#endif
