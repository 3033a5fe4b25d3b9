#include "archive/push_helper.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "archive/push_ahead.h"
#include "lib/common/file.h"
#include "lib/common/log.h"
#include "lib/common/workers.h"

/* Nobody asks for so long: the server has nothing to archive. */
#define IDLE_TIME (10 * US_PER_SECOND)
#define LIFE_TIME (60 * US_PER_SECOND)
/* Between two looks at the server. */
#define TICK (US_PER_SECOND / 4)
/* A question comes as a whole, at once. */
#define QUESTION_TIME US_PER_SECOND
#define BACKLOG 16

typedef struct PushHelper {
    const WalHelper *h;
    const PushHelperSpec *spec;
    PushAhead *ahead;
    int listening;
    bool failed;
} PushHelper;

/* --- one question --- */

static ErrCode read_question(int fd, PushQuestion *ret, Err *err)
{
    uint8_t text[PUSH_QUESTION_MAX];
    size_t len = 0;
    bool more = true;
    while (more) {
        ssize_t got = len < sizeof(text) ? recv(fd, text + len, sizeof(text) - len, 0) : 0;
        if (got <= 0)
            return err_set(err, ERR_IO, "a question was not asked to its end");
        len += (size_t)got;
        TRY(push_question_decode(text, len, ret, &more, err));
    }
    return ERR_OK;
}

static ErrCode check_question(const PushHelper *p, const PushQuestion *q, Err *err)
{
    char *dir AUTO(mem_freep) = path_parent(q->path);
    if (memcmp(q->config, p->spec->config, XXH128_LEN) != 0)
        return err_set(err, ERR_CONFIG, "the configuration has changed");
    if (strcmp(dir, p->spec->wal_dir) != 0)
        return err_set(err, ERR_MISMATCH, "'%s' is not in '%s'", q->path, p->spec->wal_dir);
    if (strlen(strrchr(q->path, '/') + 1) >= WAL_FILE_MAX)
        return err_set(err, ERR_USAGE, "'%s' is not the name of a WAL file", q->path);
    return ERR_OK;
}

static ErrCode wait_for_file(PushHelper *p, const PushQuestion *q, Err *err)
{
    const TimeUs until = time_monotonic() + PUSH_ANSWER_TIME;
    const char *file = strrchr(q->path, '/') + 1;
    PushAheadState state;
    while ((state = push_ahead_wait(p->ahead, file, &q->id, TICK)) == PUSH_AHEAD_WORKING)
        if (time_monotonic() > until || !wal_helper_wanted(p->h))
            return err_set(err, ERR_TIMEOUT, "%s could not be stored in time", file);
    if (state == PUSH_AHEAD_STORED)
        return ERR_OK;
    return err_set(err, ERR_REFUSED, "%s could not be stored", file);
}

/* Whoever gets no answer sees the end of the connection at once, which is one, too. */
static ErrCode answer(PushHelper *p, int fd, Err *err)
{
    const uint8_t yes = PUSH_DURABLE;
    PushQuestion q;
    push_socket_limit(fd, QUESTION_TIME);
    TRY(read_question(fd, &q, err));
    TRY(check_question(p, &q, err));
    TRY(wait_for_file(p, &q, err));
    (void)!send(fd, &yes, sizeof(yes), MSG_NOSIGNAL);
    return ERR_OK;
}

/* --- the process --- */

static ErrCode begin_listening(PushHelper *p, Err *err)
{
    struct sockaddr_un address;
    int dir AUTO(fd_closep) = -1;
    TRY(push_socket(p->h, &p->listening, &dir, &address, err));
    if (bind(p->listening, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(p->listening, BACKLOG) != 0)
        return err_errno(err, errno, "cannot listen in '%s'", p->h->dir);
    return ERR_OK;
}

/* The reason ends here: nobody reads this process's log, and the command finds it by itself. */
static void serve(PushHelper *p)
{
    const TimeUs begun = time_monotonic();
    TimeUs now = begun, asked = begun;
    struct pollfd on[] = {{.fd = p->listening, .events = POLLIN},
                          {.fd = push_ahead_failed_fd(p->ahead), .events = POLLIN}};
    for (; !p->failed && now < asked + IDLE_TIME && now < begun + LIFE_TIME;
         now = time_monotonic()) {
        Err err = {0};
        if (poll(on, ARRAY_LEN(on), (int)(TICK / 1000)) < 0 && errno != EINTR)
            return;
        p->failed = (on[1].revents & POLLIN) || !wal_helper_wanted(p->h);
        if (p->failed || !(on[0].revents & POLLIN))
            continue;
        int fd AUTO(fd_closep) = accept4(p->listening, NULL, NULL, SOCK_CLOEXEC);
        p->failed = fd < 0 || answer(p, fd, &err) != ERR_OK;
        if (p->failed)
            log_err(LOG_DEBUG, &err);
        asked = time_monotonic();
    }
}

/* What is under way is finished where all is well; else it is done by whoever asks for it. */
static void finish(PushHelper *p)
{
    const TimeUs until = time_monotonic() + PUSH_ANSWER_TIME;
    fd_closep(&p->listening); /* nobody is kept waiting meanwhile */
    push_ahead_stop(p->ahead);
    while (!p->failed && push_ahead_busy(p->ahead) && time_monotonic() < until &&
           wal_helper_wanted(p->h))
        time_sleep(TICK / 10);
    cancel_request();
    push_ahead_free(p->ahead);
}

ErrCode push_helper_run(WalHelper *h, const PushHelperSpec *spec, Err *err)
{
    PushHelper p = {.h = h, .spec = spec, .listening = -1};
    PushAheadSpec ahead = {.data_dir = spec->data_dir,
                           .wal_dir = spec->wal_dir,
                           .file = spec->file,
                           .repos = spec->repos,
                           .ahead = spec->ahead,
                           .level = spec->level,
                           .workers = spec->workers,
                           .threads = spec->threads};
    TRY(wal_helper_begin(h, err));
    ErrCode rc = begin_listening(&p, err);
    if (rc == ERR_OK)
        rc = push_ahead_new(&p.ahead, &ahead, err);
    if (rc == ERR_OK) {
        serve(&p);
        finish(&p);
    }
    fd_closep(&p.listening);
    return rc;
}
