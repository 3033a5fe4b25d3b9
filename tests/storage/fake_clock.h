#ifndef PGDR_TESTS_STORAGE_FAKE_CLOCK_H
#define PGDR_TESTS_STORAGE_FAKE_CLOCK_H

/* A clock for one thread that moves when somebody sleeps, or when the test says so. */

#include "lib/storage/drivers.h"

typedef struct FakeClock {
    StorageClock clock; /* what the code under test gets */
    TimeUs now;
} FakeClock;

static inline TimeUs fake_now(void *arg)
{
    return ((FakeClock *)arg)->now;
}

static inline void fake_sleep(void *arg, TimeUs us)
{
    ((FakeClock *)arg)->now += us;
}

static inline void fake_clock_init(FakeClock *f)
{
    *f = (FakeClock){.clock = {.now = fake_now, .sleep = fake_sleep, .arg = f}, .now = 1000000};
}

#endif
