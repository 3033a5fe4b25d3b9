#ifndef PGDR_CLI_DISPLAY_H
#define PGDR_CLI_DISPLAY_H

/*
 * How far long work is, shown on standard error while it runs: on a terminal one line that is
 * redrawn and that log lines push aside, otherwise a log line at level info every half minute,
 * which nobody sees under cron. A thread of its own reads the counters.
 */

#include "lib/common/progress.h"

typedef enum DisplayMode { DISPLAY_OFF, DISPLAY_LINE, DISPLAY_LOG } DisplayMode;

typedef struct DisplaySpec {
    DisplayMode mode;
    int fd;          /* the terminal, for DISPLAY_LINE */
    TimeUs interval; /* between two lines of DISPLAY_LOG; 0: 30 s */
} DisplaySpec;

/* Only one at a time. `p` must live until display_end(). */
void display_begin(const Progress *p, const DisplaySpec *spec);
/* Stops it and clears its line; does nothing when none runs. */
void display_end(void);

#endif
