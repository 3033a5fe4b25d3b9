#include "cli/signals.h"

#include <signal.h>
#include <stddef.h>

#include "lib/common/workers.h"

static void on_signal(int number)
{
    cancel_request();
    if (number == SIGINT)
        signal(SIGINT, SIG_DFL);
}

void signals_init(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    /* SA_RESTART: reads and writes go on; what waits for long (poll, sleep) is woken anyway. */
    struct sigaction ask = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, old;
    sigemptyset(&ask.sa_mask);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaction(numbers[i], &ask, NULL);
    signal(SIGPIPE, SIG_IGN);
}
