#include "tests/bench/floor_place.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "lib/common/file.h"
#include "lib/storage/curl_lib.h"

static struct {
    const char *at, *ca_file;
    bool is_url;
    CurlLib lib;
    CURL *curl[PLACE_THREADS];
} place;

/* A body on its way. */
typedef struct Body {
    uint8_t *data;
    size_t len, done; /* len: of an answer, the room for it */
} Body;

ErrCode place_open(const char *at, const char *ca_file, Err *err)
{
    place.at = at;
    place.ca_file = ca_file;
    place.is_url = strncmp(at, "https://", 8) == 0;
    if (!place.is_url)
        return ERR_OK;
    TRY(curl_lib_load(&place.lib, err));
    for (unsigned i = 0; i < PLACE_THREADS; i++)
        place.curl[i] = place.lib.curl_easy_init();
    return ERR_OK;
}

/* --- HTTP --- */

static size_t body_give(char *to, size_t one, size_t room, void *arg)
{
    Body *b = arg;
    size_t n = MIN(room, b->len - b->done);
    (void)one;
    memcpy(to, b->data + b->done, n);
    b->done += n;
    return n;
}

static size_t body_take(char *from, size_t one, size_t len, void *arg)
{
    Body *b = arg;
    (void)one;
    if (len > b->len - b->done)
        return 0;
    memcpy(b->data + b->done, from, len);
    b->done += len;
    return len;
}

#define SET(option, value) (void)place.lib.curl_easy_setopt(curl, CURLOPT_##option, value)

static ErrCode transfer(unsigned thread, const char *name, Body *body, bool put, Err *err)
{
    CURL *curl = place.curl[thread];
    Body ignored = {0};
    long status = 0;
    char *url AUTO(mem_freep) = mem_printf("%s/%s", place.at, name);
    struct curl_slist *headers = place.lib.curl_slist_append(NULL, "Expect:");
    headers = place.lib.curl_slist_append(headers, "x-amz-acl: public-read");
    place.lib.curl_easy_reset(curl);
    SET(URL, url);
    SET(CAINFO, place.ca_file);
    SET(NOSIGNAL, 1L);
    SET(BUFFERSIZE, 512 * 1024L);
    SET(WRITEFUNCTION, body_take);
    SET(WRITEDATA, put ? &ignored : body);
    if (put) {
        SET(UPLOAD, 1L);
        SET(UPLOAD_BUFFERSIZE, 1024 * 1024L);
        SET(INFILESIZE_LARGE, (curl_off_t)body->len);
        SET(READFUNCTION, body_give);
        SET(READDATA, body);
        SET(HTTPHEADER, headers);
    }
    CURLcode code = place.lib.curl_easy_perform(curl);
    place.lib.curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    place.lib.curl_slist_free_all(headers);
    if (code != CURLE_OK || status != 200)
        return err_set(err, ERR_NETWORK, "'%s': %ld, %s", url, status,
                       place.lib.curl_easy_strerror(code));
    return ERR_OK;
}

/* --- both --- */

ErrCode place_put(unsigned thread, const char *name, uint8_t *data, size_t len, Err *err)
{
    int fd AUTO(fd_closep) = -1;
    if (place.is_url)
        return transfer(thread, name, &(Body){.data = data, .len = len}, true, err);
    char *path AUTO(mem_freep) = path_join(place.at, name);
    size_t whole = align_up(len, PLACE_ALIGN);
    memset(data + len, 0, whole - len);
    if (file_open(path, O_WRONLY | O_CREAT | O_DIRECT, 0600, &fd, err) != ERR_OK)
        TRY(file_open(path, O_WRONLY | O_CREAT, 0600, &fd, err));
    TRY(file_write(fd, data, whole, path, err));
    return file_sync(fd, path, err);
}

ErrCode place_get(unsigned thread, const char *name, uint8_t *data, size_t room, size_t *ret_len,
                  Err *err)
{
    int fd AUTO(fd_closep) = -1;
    Body body = {.data = data, .len = room};
    if (place.is_url) {
        TRY(transfer(thread, name, &body, false, err));
        *ret_len = body.done;
        return ERR_OK;
    }
    char *path AUTO(mem_freep) = path_join(place.at, name);
    TRY(file_open(path, O_RDONLY, 0, &fd, err));
    return file_read_at(fd, data, room, 0, ret_len, path, err);
}

ErrCode place_finish(Err *err)
{
    return place.is_url ? ERR_OK : dir_sync(place.at, err);
}
