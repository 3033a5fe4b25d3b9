#include "archive/push_ask.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/common/bytes.h"
#include "lib/common/file.h"

#define MAGIC 0x50726770u /* "pgrP" */
#define QUESTION_VERSION 1

/* --- the question --- */

/* magic and version, 4 bytes each; digest; dev, ino, size, mtime, ctime, 8 bytes each; the length
 * of the path in 2 bytes, and the path */
#define HEAD_LEN (4 + 4 + XXH128_LEN + 5 * 8 + 2)

size_t push_question_encode(const PushQuestion *q, uint8_t *out)
{
    size_t len = strlen(q->path);
    const uint64_t id[] = {q->id.dev, q->id.ino, q->id.size, q->id.mtime, q->id.ctime};
    uint8_t *at = out + 8 + XXH128_LEN;
    if (len >= PATH_MAX)
        return 0;
    set_u32(out, MAGIC);
    set_u32(out + 4, QUESTION_VERSION);
    memcpy(out + 8, q->config, XXH128_LEN);
    for (size_t i = 0; i < ARRAY_LEN(id); i++, at += 8)
        set_u64(at, id[i]);
    set_u16(at, (uint16_t)len);
    memcpy(at + 2, q->path, len);
    return HEAD_LEN + len;
}

ErrCode push_question_decode(const void *data, size_t len, PushQuestion *ret, bool *ret_more,
                             Err *err)
{
    Cursor c = cursor_of(data, len);
    PushQuestion q = {.path = ""};
    *ret_more = len < HEAD_LEN;
    if (*ret_more)
        return ERR_OK;
    if (cursor_u32(&c) != MAGIC)
        return err_set(err, ERR_DAMAGED, "this is no question");
    if (cursor_u32(&c) != QUESTION_VERSION)
        return err_set(err, ERR_VERSION, "the question is of another version");
    memcpy(q.config, cursor_read(&c, XXH128_LEN), XXH128_LEN);
    q.id.dev = cursor_u64(&c);
    q.id.ino = cursor_u64(&c);
    q.id.size = cursor_u64(&c);
    q.id.mtime = cursor_u64(&c);
    q.id.ctime = cursor_u64(&c);
    size_t path_len = cursor_u16(&c);
    if (path_len >= sizeof(q.path) || cursor_left(&c) > path_len)
        return err_set(err, ERR_DAMAGED, "the question is longer than it says, or can be");
    *ret_more = cursor_left(&c) < path_len;
    if (*ret_more)
        return ERR_OK;
    memcpy(q.path, c.at, path_len);
    if (strlen(q.path) != path_len)
        return err_set(err, ERR_DAMAGED, "the path in the question ends before its end");
    *ret = q;
    return ERR_OK;
}

/* --- the socket --- */

ErrCode push_socket(const WalHelper *helper, int *ret, int *ret_dir,
                    struct sockaddr_un *ret_address, Err *err)
{
    TRY(file_open(helper->dir, O_PATH | O_DIRECTORY, 0, ret_dir, err));
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(ret_address->sun_path, sizeof(ret_address->sun_path), "/proc/self/fd/%d/socket",
             *ret_dir);
    *ret = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*ret < 0)
        return err_errno(err, errno, "cannot make a socket");
    return ERR_OK;
}

void push_socket_limit(int fd, TimeUs us)
{
    struct timeval limit = {.tv_sec = us / US_PER_SECOND, .tv_usec = us % US_PER_SECOND};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

ErrCode push_ask(const WalHelper *helper, const PushQuestion *q, Err *err)
{
    struct sockaddr_un address;
    uint8_t text[PUSH_QUESTION_MAX], answer = 0;
    int dir AUTO(fd_closep) = -1, fd AUTO(fd_closep) = -1;
    size_t len = push_question_encode(q, text);
    TRY(push_socket(helper, &fd, &dir, &address, err));
    push_socket_limit(fd, PUSH_ANSWER_TIME);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
        return err_errno(err, errno, "cannot reach the process in '%s'", helper->dir);
    if (!len || send(fd, text, len, MSG_NOSIGNAL) != (ssize_t)len)
        return err_set(err, ERR_IO, "cannot ask the process in '%s'", helper->dir);
    ssize_t got = recv(fd, &answer, 1, 0);
    if (got < 0)
        return err_errno(err, errno, "no answer of the process in '%s'", helper->dir);
    if (got == 1 && answer == PUSH_DURABLE)
        return ERR_OK;
    return err_set(err, ERR_REFUSED, "the process in '%s' has not stored '%s'", helper->dir,
                   q->path);
}
