#include "cli/display.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "lib/common/log.h"

#define REDRAW (US_PER_SECOND / 5)
#define LOG_INTERVAL (30 * US_PER_SECOND)

/* One for the process: the log's hooks, which push the line aside, take no argument. */
static struct {
    const Progress *progress;
    DisplaySpec spec;
    pthread_t thread;
    pthread_mutex_t lock; /* held while anything is written to the terminal */
    pthread_cond_t wake;
    bool running, stop;
    bool drawn; /* there is a line to clear */
} display = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void display_write(const char *text, size_t len)
{
    ssize_t n = write(display.spec.fd, text, len);
    (void)n; /* a terminal that is gone has nobody to tell */
}

static void line_clear(void)
{
    if (display.drawn)
        display_write("\r\033[K", 4);
    display.drawn = false;
}

static void line_draw(void)
{
    ProgressView v = progress_read(display.progress);
    char text[PROGRESS_TEXT_LEN], line[PROGRESS_TEXT_LEN + 8];
    struct winsize size = {0};
    if (!v.phase)
        return;
    progress_format(&v, text);
    /* A line that wraps cannot be cleared. */
    size_t columns =
        ioctl(display.spec.fd, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
    int n = snprintf(line, sizeof(line), "\r%.*s\033[K", (int)MIN(columns - 1, strlen(text)), text);
    display_write(line, (size_t)n);
    display.drawn = true;
}

static void before_log(void)
{
    pthread_mutex_lock(&display.lock);
    line_clear();
}

static void after_log(void)
{
    pthread_mutex_unlock(&display.lock);
}

/* Waits with the lock held until `until` (monotonic) or the end. */
static void display_wait(TimeUs until)
{
    struct timespec ts = {.tv_sec = until / US_PER_SECOND, .tv_nsec = until % US_PER_SECOND * 1000};
    while (!display.stop && time_monotonic() < until)
        pthread_cond_timedwait(&display.wake, &display.lock, &ts);
}

static void *display_main(void *arg UNUSED)
{
    TimeUs step = display.spec.mode == DISPLAY_LINE ? REDRAW
                  : display.spec.interval           ? display.spec.interval
                                                    : LOG_INTERVAL;
    pthread_mutex_lock(&display.lock);
    for (TimeUs next = time_monotonic() + step; !display.stop; next += step) {
        display_wait(next);
        if (display.stop)
            break;
        if (display.spec.mode == DISPLAY_LINE) {
            line_draw();
            continue;
        }
        ProgressView v = progress_read(display.progress);
        char text[PROGRESS_TEXT_LEN];
        pthread_mutex_unlock(&display.lock); /* the log's hooks take it */
        if (v.phase)
            log_info("%s", progress_format(&v, text));
        pthread_mutex_lock(&display.lock);
    }
    line_clear();
    pthread_mutex_unlock(&display.lock);
    return NULL;
}

void display_begin(const Progress *p, const DisplaySpec *spec)
{
    if (spec->mode == DISPLAY_OFF || display.running)
        return;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&display.wake, &attr);
    pthread_condattr_destroy(&attr);
    display.progress = p;
    display.spec = *spec;
    display.stop = display.drawn = false;

    sigset_t all, old; /* signals are for the main thread */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    display.running = pthread_create(&display.thread, NULL, display_main, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (display.running)
        log_around_line(before_log, after_log);
    else
        pthread_cond_destroy(&display.wake); /* work goes on unwatched */
}

void display_end(void)
{
    if (!display.running)
        return;
    pthread_mutex_lock(&display.lock);
    display.stop = true;
    pthread_cond_signal(&display.wake);
    pthread_mutex_unlock(&display.lock);
    pthread_join(display.thread, NULL);
    log_around_line(NULL, NULL);
    pthread_cond_destroy(&display.wake);
    display.running = false;
}
