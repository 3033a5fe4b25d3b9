#include "restore/wal_fetcher.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "catalog/wal_helper.h"
#include "lib/common/file.h"
#include "lib/common/timeutil.h"
#include "lib/common/workers.h"
#include "lib/pg/wal_name.h"
#include "restore/wal_ahead.h"

/* A paused recovery takes nothing: what waits is given up then, and fetched again. */
#define IDLE_MAX (60 * US_PER_SECOND)
#define LOOK_AROUND_MS 500
/* Segments for which there must be room besides twice what may wait: the server's WAL comes first.
 */
#define SPARE_SEGMENTS 8
#define WINDOW_MAX 4096 /* segments that may wait, whatever their size */

typedef struct Fetcher {
    const WalFetcherSpec *spec;
    WalGetSpec get; /* with the recovery's path */
    WalHelper helper;
    uint32_t seg_size;
    uint64_t window; /* segments */
    int watch;       /* inotify */
    Workers *workers;
    TimeUs taken;  /* when something was asked for last */
    uint64_t next; /* segment that nobody fetches yet */
    pthread_mutex_t mutex;
    uint64_t at;       /* segment that was asked for last */
    unsigned fetching; /* jobs that are not done */
    bool ended;        /* there is nothing more to fetch */
    bool failed;       /* or something went wrong */
} Fetcher;

/* A segment's name, which is all there is to a job. */
typedef struct Job {
    uint64_t segno;
    char file[WAL_NAME_MAX];
} Job;

/* --- a worker --- */

static void *getter_new(void *shared)
{
    Fetcher *f = shared;
    WalGetter *g = NULL;
    Err ignored = {0};
    return wal_getter_new(&f->get, &g, &ignored) == ERR_OK ? g : NULL;
}

static void getter_free(void *state)
{
    wal_getter_free(state);
}

static bool has_room(const Fetcher *f)
{
    struct statvfs fs;
    uint64_t need = (2 * f->window + SPARE_SEGMENTS) * f->seg_size;
    return statvfs(f->helper.dir, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize >= need;
}

/* What is not found here is not absent: it is only not fetched. */
static bool fetch(Fetcher *f, WalGetter *g, const char *file, bool *ret_failed)
{
    Err ignored = {0};
    bool found = false;
    char *path AUTO(mem_freep) = path_join(f->helper.dir, file);
    if (access(path, F_OK) == 0)
        return true;
    char *begun AUTO(mem_freep) = mem_printf("%s" WAL_AHEAD_BEGUN, path);
    int fd AUTO(fd_closep) = open(begun, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    *ret_failed =
        !g || fd < 0 || !has_room(f) || wal_getter_get(g, file, path, &found, &ignored) != ERR_OK;
    unlink(begun);
    return found && !*ret_failed;
}

static bool is_wanted(Fetcher *f, const Job *job)
{
    pthread_mutex_lock(&f->mutex);
    bool wanted = !f->ended && job->segno > f->at && job->segno <= f->at + f->window;
    pthread_mutex_unlock(&f->mutex);
    return wanted;
}

static ErrCode run_job(void *shared, void *state, void *arg, Err *err)
{
    Fetcher *f = shared;
    Job *job = arg;
    (void)err;
    bool failed = false, wanted = is_wanted(f, job);
    bool found = wanted && fetch(f, state, job->file, &failed);
    pthread_mutex_lock(&f->mutex);
    f->fetching--;
    f->ended |= wanted && !found;
    f->failed |= failed;
    pthread_mutex_unlock(&f->mutex);
    free(job);
    return ERR_OK;
}

/* --- what is asked for --- */

/* "<segment>" that was taken, or "<segment>.asked"; anything else is the helper's own doing. */
static bool parse_event(const Fetcher *f, const struct inotify_event *e, uint64_t *ret)
{
    char name[WAL_NAME_MAX];
    bool asked = e->mask & IN_CREATE;
    size_t len = e->len ? strlen(e->name) : 0;
    size_t want = WAL_SEGMENT_NAME_LEN + (asked ? strlen(WAL_AHEAD_ASKED) : 0);
    if (len != want || (asked && strcmp(e->name + WAL_SEGMENT_NAME_LEN, WAL_AHEAD_ASKED) != 0))
        return false;
    snprintf(name, sizeof(name), "%.*s", WAL_SEGMENT_NAME_LEN, e->name);
    WalName parsed = wal_name_parse(name, f->seg_size);
    *ret = parsed.segno;
    return parsed.kind == WAL_NAME_SEGMENT;
}

/* Everything that does not lie ahead of what is asked for now. */
static ErrCode remove_unwanted(Fetcher *f, Err *err)
{
    StrList names AUTO(str_list_release) = {0};
    TRY(dir_list(f->helper.dir, &names, err));
    for (size_t i = 0; i < names.n; i++) {
        WalName name = wal_name_parse(names.at[i], f->seg_size);
        char *path AUTO(mem_freep) = path_join(f->helper.dir, names.at[i]);
        bool asked = strstr(names.at[i], WAL_AHEAD_ASKED) != NULL;
        if (asked || (name.kind == WAL_NAME_SEGMENT &&
                      (name.segno <= f->at || name.segno > f->at + f->window)))
            unlink(path);
    }
    return ERR_OK;
}

/* A recovery that begins anew (the server's, after a crash) asks for what was there before. */
static ErrCode go_on_behind(Fetcher *f, uint64_t segno, bool taken, Err *err)
{
    f->taken = time_monotonic();
    pthread_mutex_lock(&f->mutex);
    f->at = segno;
    /* Where it had ended, what was to be fetched behind that was given up. */
    if (f->next <= segno || f->next > segno + 1 + f->window || (f->ended && !taken))
        f->next = segno + 1;
    if (!taken)
        f->ended = false;
    pthread_mutex_unlock(&f->mutex);
    return taken ? ERR_OK : remove_unwanted(f, err);
}

static ErrCode read_events(Fetcher *f, Err *err)
{
    _Alignas(struct inotify_event) char buf[8192];
    struct pollfd wait = {.fd = f->watch, .events = POLLIN};
    if (poll(&wait, 1, LOOK_AROUND_MS) <= 0)
        return ERR_OK;
    ssize_t n = read(f->watch, buf, sizeof(buf));
    for (char *at = buf; n > 0 && at < buf + n;) {
        const struct inotify_event *e = (const struct inotify_event *)at;
        uint64_t segno;
        if (e->mask & (IN_Q_OVERFLOW | IN_IGNORED))
            return err_set(err, ERR_IO, "lost track of '%s'", f->helper.dir);
        if (parse_event(f, e, &segno))
            TRY(go_on_behind(f, segno, !(e->mask & IN_CREATE), err));
        at += sizeof(*e) + e->len;
    }
    return ERR_OK;
}

/* --- the helper --- */

static bool is_behind_end(const Fetcher *f, uint64_t segno)
{
    return f->get.target_end && wal_segment_start(segno, f->seg_size) >= f->get.target_end;
}

/* The timeline under which PostgreSQL asks first: the youngest that the segment has a byte of. */
static ErrCode put_next(Fetcher *f, Err *err)
{
    Job *job = mem_zero(sizeof(*job));
    Lsn last = wal_segment_start(f->next + 1, f->seg_size) - 1;
    job->segno = f->next++;
    wal_name_segment(timeline_at(f->get.path, last), job->segno, f->seg_size, job->file);
    pthread_mutex_lock(&f->mutex);
    f->fetching++;
    pthread_mutex_unlock(&f->mutex);
    return workers_put(f->workers, job, err);
}

static ErrCode put_all(Fetcher *f, Err *err)
{
    for (;;) {
        pthread_mutex_lock(&f->mutex);
        bool more = !f->ended && f->fetching < f->window && f->next <= f->at + f->window;
        pthread_mutex_unlock(&f->mutex);
        if (!more || is_behind_end(f, f->next))
            return ERR_OK;
        TRY(put_next(f, err));
    }
}

static bool holds_segment(const Fetcher *f)
{
    StrList names AUTO(str_list_release) = {0};
    Err ignored = {0};
    bool any = false;
    if (dir_list(f->helper.dir, &names, &ignored) != ERR_OK)
        return false;
    for (size_t i = 0; i < names.n && !any; i++)
        any = wal_name_parse(names.at[i], f->seg_size).kind == WAL_NAME_SEGMENT;
    return any;
}

static bool is_done(Fetcher *f)
{
    pthread_mutex_lock(&f->mutex);
    bool ended = (f->ended || f->failed || is_behind_end(f, f->next)) && !f->fetching;
    pthread_mutex_unlock(&f->mutex);
    return !wal_helper_wanted(&f->helper) || !wal_get_in_recovery(f->get.data_dir) ||
           time_monotonic() - f->taken > IDLE_MAX || (ended && !holds_segment(f));
}

static ErrCode fetch_all(Fetcher *f, Err *err)
{
    WorkersSpec spec = {.n = f->spec->workers,
                        .queue_len = (unsigned)f->window,
                        .shared = f,
                        .state_new = getter_new,
                        .state_free = getter_free,
                        .run = run_job,
                        .drop = free};
    TRY(workers_new(&f->workers, &spec, err));
    ErrCode rc = ERR_OK;
    while (rc == ERR_OK && !is_done(f)) {
        rc = put_all(f, err);
        if (rc == ERR_OK)
            rc = read_events(f, err);
    }
    cancel_request(); /* nobody waits for what is under way */
    workers_free(f->workers);
    return rc;
}

/* Where the recovery stands and goes: what the repositories have to say about that is asked once.
 */
static ErrCode find_way(Fetcher *f, WalGetter **ret, Err *err)
{
    PgControl control;
    TRY(control_read(f->get.data_dir, &control, NULL, err));
    f->seg_size = control.wal_segment_size;
    f->window = MIN(MAX(f->spec->ahead / f->seg_size, 1u), (uint64_t)WINDOW_MAX);
    f->at = wal_name_parse(f->get.file, f->seg_size).segno;
    f->next = f->at + 1;
    f->taken = time_monotonic();
    TRY(wal_getter_new(&f->get, ret, err));
    f->get.path = wal_getter_path(*ret);
    return ERR_OK;
}

static ErrCode watch_folder(Fetcher *f, Err *err)
{
    f->watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (f->watch < 0 || inotify_add_watch(f->watch, f->helper.dir, IN_MOVED_FROM | IN_CREATE) < 0)
        return err_errno(err, errno, "cannot watch '%s'", f->helper.dir);
    return ERR_OK;
}

ErrCode wal_fetcher_run(const WalFetcherSpec *spec, Err *err)
{
    Fetcher f = {.spec = spec, .get = spec->get, .watch = -1};
    WalGetter *way AUTO(wal_getter_freep) = NULL;
    ErrCode rc = wal_helper_init(&f.helper, spec->get.data_dir, spec->wal_dir, WAL_AHEAD_KIND, err);
    if (rc == ERR_OK)
        rc = wal_helper_begin(&f.helper, err);
    if (rc == ERR_OK)
        rc = watch_folder(&f, err);
    if (rc == ERR_OK)
        rc = find_way(&f, &way, err);
    pthread_mutex_init(&f.mutex, NULL);
    if (rc == ERR_OK)
        rc = fetch_all(&f, err);
    pthread_mutex_destroy(&f.mutex);
    if (f.watch >= 0)
        close(f.watch);
    wal_helper_release(&f.helper);
    return rc;
}
