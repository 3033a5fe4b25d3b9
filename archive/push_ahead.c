#include "archive/push_ahead.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "archive/push_repos.h"
#include "archive/wal_push.h"
#include "archive/wal_ready.h"
#include "lib/common/file.h"
#include "lib/common/log.h"
#include "lib/common/workers.h"

#define WORKERS_MAX 64
/* Names that are taken over from one look into archive_status, which may hold many. */
#define LOOK_MAX 256

/* A file that is stored, or is being stored, and was not asked for yet. */
typedef struct Ahead {
    char file[WAL_FILE_MAX];
    bool stored;
    WalFileId id; /* when it is stored */
    TimeUs when;  /* … and since when at the latest, by the monotonic clock */
} Ahead;

struct PushAhead {
    PushAheadSpec spec;
    PushRepos *repos;
    uint32_t seg_size;
    size_t window; /* files */
    pthread_t threads[WORKERS_MAX];
    unsigned n;
    int failed_fd;

    pthread_mutex_t lock; /* for all that follows */
    pthread_cond_t changed;
    VEC(Ahead) files;
    StrList waiting; /* what the last look found … */
    size_t next;     /* … and how far that is done */
    char asked[WAL_FILE_MAX];
    char urgent[WAL_FILE_MAX]; /* is asked for, and nobody has begun it; "": none */
    bool look_due, looking;
    bool failed, stop;
};

/* --- one file --- */

/* *ret_gone: it waits no longer. */
static ErrCode push_one(PushAhead *p, const char *file, unsigned threads, WalFileId *ret_id,
                        bool *ret_gone, Err *err)
{
    PgControl control;
    struct stat st;
    WalFile f AUTO(wal_file_release) = {.data = NULL};
    char *path AUTO(mem_freep) = path_join(p->spec.wal_dir, file);
    *ret_gone = !wal_is_ready(p->spec.wal_dir, file);
    if (*ret_gone)
        return ERR_OK;
    TRY(control_read(p->spec.data_dir, &control, NULL, err));
    WalFileSpec load = {.path = path,
                        .file = file,
                        .wal_dir = p->spec.wal_dir,
                        .control = &control,
                        .level = p->spec.level,
                        .threads = threads};
    TRY(wal_push_load(&load, &f, err));
    if (f.name.kind == WAL_NAME_SEGMENT && !f.check.complete)
        return err_set(err, ERR_REFUSED, "segment %s is not whole: %s", file, f.check.why);
    TRY(push_repos_store(p->repos, &f, err));
    WalFileId now = stat(path, &st) == 0 ? wal_file_id(&st) : (WalFileId){0};
    if (!wal_file_id_equal(&now, &f.id))
        return err_set(err, ERR_DAMAGED, "'%s' was changed while it was stored", path);
    *ret_id = f.id;
    return ERR_OK;
}

/* --- the threads; the lock is held but where it is said --- */

static Ahead *find(PushAhead *p, const char *file)
{
    for (size_t i = 0; i < p->files.n; i++)
        if (strcmp(p->files.at[i].file, file) == 0)
            return &p->files.at[i];
    return NULL;
}

static void forget(PushAhead *p, const char *file)
{
    Ahead *a = find(p, file);
    if (a)
        *a = p->files.at[--p->files.n];
}

static void fail(PushAhead *p)
{
    const uint64_t one = 1;
    p->failed = true;
    (void)!write(p->failed_fd, &one, sizeof(one));
}

static void take(PushAhead *p, const char *file, char out[WAL_FILE_MAX])
{
    Ahead a = {.stored = false};
    snprintf(a.file, sizeof(a.file), "%s", file);
    snprintf(out, WAL_FILE_MAX, "%s", file);
    vec_push(&p->files, a);
}

static bool take_next(PushAhead *p, char file[WAL_FILE_MAX], unsigned *ret_threads)
{
    *ret_threads = 1;
    if (p->urgent[0]) {
        take(p, p->urgent, file);
        p->urgent[0] = '\0';
        *ret_threads = p->spec.threads;
        return true;
    }
    while (p->files.n < p->window && p->next < p->waiting.n) {
        const char *name = p->waiting.at[p->next++];
        if (wal_ready_compare(name, p->asked) > 0 && !find(p, name) &&
            wal_name_parse(name, p->seg_size).kind != WAL_NAME_OTHER) {
            take(p, name, file);
            return true;
        }
    }
    return false;
}

static void work(PushAhead *p, const char *file, unsigned threads)
{
    WalFileId id = {0};
    Err err = {0};
    bool gone;
    pthread_mutex_unlock(&p->lock);
    ErrCode rc = push_one(p, file, threads, &id, &gone, &err);
    if (rc != ERR_OK)
        log_err(LOG_DEBUG, &err);
    pthread_mutex_lock(&p->lock);
    Ahead *a = find(p, file);
    if (rc != ERR_OK)
        fail(p);
    else if (gone)
        forget(p, file);
    else if (a) {
        a->stored = true;
        a->id = id;
        a->when = time_monotonic();
    }
    pthread_cond_broadcast(&p->changed);
}

static void look(PushAhead *p)
{
    StrList waiting AUTO(str_list_release) = {0};
    char asked[WAL_FILE_MAX];
    size_t skip = 0;
    Err err = {0};
    memcpy(asked, p->asked, sizeof(asked));
    p->looking = true;
    p->look_due = false;
    pthread_mutex_unlock(&p->lock);
    ErrCode rc = wal_ready_list(p->spec.wal_dir, &waiting, &err);
    while (skip < waiting.n && wal_ready_compare(waiting.at[skip], asked) <= 0)
        skip++;
    pthread_mutex_lock(&p->lock);
    p->looking = false;
    str_list_release(&p->waiting);
    p->next = 0;
    for (size_t i = skip; i < waiting.n && i < skip + LOOK_MAX; i++)
        vec_push(&p->waiting, steal_ptr(&waiting.at[i]));
    if (rc != ERR_OK)
        fail(p);
    pthread_cond_broadcast(&p->changed);
}

static void *worker(void *arg)
{
    PushAhead *p = arg;
    char file[WAL_FILE_MAX];
    unsigned threads;
    pthread_mutex_lock(&p->lock);
    while (!p->stop && !p->failed)
        if (take_next(p, file, &threads))
            work(p, file, threads);
        else if (p->look_due && !p->looking && p->next == p->waiting.n)
            look(p);
        else
            pthread_cond_wait(&p->changed, &p->lock);
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* --- who asks --- */

/* What comes before what is asked for now will not be asked for any more; if it is, it is stored
 * again. */
static void asked_for(PushAhead *p, const char *file)
{
    p->look_due |= strcmp(p->asked, file) != 0;
    snprintf(p->asked, sizeof(p->asked), "%s", file);
    for (size_t i = p->files.n; i-- > 0;)
        if (p->files.at[i].stored && wal_ready_compare(p->files.at[i].file, file) < 0)
            p->files.at[i] = p->files.at[--p->files.n];
    if (!find(p, file))
        snprintf(p->urgent, sizeof(p->urgent), "%s", file);
    pthread_cond_broadcast(&p->changed);
}

static PushAheadState state_of(PushAhead *p, const char *file, const WalFileId *id)
{
    const Ahead *a = find(p, file);
    if (p->failed)
        return PUSH_AHEAD_FAILED;
    if (a && a->stored)
        return wal_file_id_equal(&a->id, id) ? PUSH_AHEAD_STORED : PUSH_AHEAD_FAILED;
    return a || strcmp(p->urgent, file) == 0 ? PUSH_AHEAD_WORKING : PUSH_AHEAD_FAILED;
}

static struct timespec deadline_in(TimeUs us)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    us += t.tv_nsec / 1000;
    return (struct timespec){.tv_sec = t.tv_sec + us / US_PER_SECOND,
                             .tv_nsec = us % US_PER_SECOND * 1000};
}

/* Stored in what may have been removed at that moment, or replaced, is not stored. */
static PushAheadState confirmed(PushAhead *p, TimeUs when)
{
    Err err = {0};
    if (push_repos_confirm(p->repos, when, &err) == ERR_OK)
        return PUSH_AHEAD_STORED;
    log_err(LOG_DEBUG, &err);
    pthread_mutex_lock(&p->lock);
    fail(p);
    pthread_mutex_unlock(&p->lock);
    return PUSH_AHEAD_FAILED;
}

PushAheadState push_ahead_wait(PushAhead *p, const char *file, const WalFileId *id, TimeUs us)
{
    struct timespec until = deadline_in(us);
    PushAheadState state;
    int rc = 0;
    pthread_mutex_lock(&p->lock);
    asked_for(p, file);
    while ((state = state_of(p, file, id)) == PUSH_AHEAD_WORKING && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&p->changed, &p->lock, &until);
    const TimeUs when = state == PUSH_AHEAD_STORED ? find(p, file)->when : 0;
    pthread_mutex_unlock(&p->lock);
    return state == PUSH_AHEAD_STORED ? confirmed(p, when) : state;
}

int push_ahead_failed_fd(const PushAhead *p)
{
    return p->failed_fd;
}

/* --- beginning and end --- */

static ErrCode start(PushAhead *p, Err *err)
{
    sigset_t all, old;
    unsigned n = (unsigned)MIN(p->window, (size_t)MIN(MAX(p->spec.workers, 1u), WORKERS_MAX));
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are for the main thread */
    while (p->n < n && pthread_create(&p->threads[p->n], NULL, worker, p) == 0)
        p->n++;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return p->n ? ERR_OK : err_set(err, ERR_IO, "cannot start a thread");
}

ErrCode push_ahead_new(PushAhead **ret, const PushAheadSpec *spec, Err *err)
{
    PgControl control;
    pthread_condattr_t attr;
    TRY(control_read(spec->data_dir, &control, NULL, err));
    PushAhead *p AUTO(push_ahead_freep) = NEW(PushAhead);
    p->spec = *spec;
    p->seg_size = control.wal_segment_size;
    p->window = MAX((size_t)(spec->ahead / p->seg_size), (size_t)1);
    p->look_due = true;
    snprintf(p->asked, sizeof(p->asked), "%s", spec->file);
    p->repos = push_repos_new(spec->repos);
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->changed, &attr);
    pthread_condattr_destroy(&attr);
    p->failed_fd = eventfd(0, EFD_CLOEXEC);
    if (p->failed_fd < 0)
        return err_errno(err, errno, "cannot make an event");
    TRY(start(p, err));
    *ret = steal_ptr(&p);
    return ERR_OK;
}

void push_ahead_stop(PushAhead *p)
{
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

bool push_ahead_busy(PushAhead *p)
{
    bool busy = false;
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->files.n && !p->failed; i++)
        busy |= !p->files.at[i].stored;
    pthread_mutex_unlock(&p->lock);
    return busy;
}

void push_ahead_free(PushAhead *p)
{
    if (!p)
        return;
    push_ahead_stop(p);
    for (unsigned i = 0; i < p->n; i++)
        pthread_join(p->threads[i], NULL);
    push_repos_free(p->repos);
    fd_closep(&p->failed_fd);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    vec_release(&p->files);
    str_list_release(&p->waiting);
    free(p);
}
