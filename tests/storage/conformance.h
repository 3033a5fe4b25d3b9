#ifndef PGDR_TESTS_STORAGE_CONFORMANCE_H
#define PGDR_TESTS_STORAGE_CONFORMANCE_H

/*
 * What every Storage must do, as one suite that each driver and each stack of decorators passes.
 * A new driver writes one Conformance and calls conformance_run().
 */

#include "tests/unit/unit.h"

#include "lib/storage/storage.h"

typedef struct Conformance {
    const char *name; /* of the group in the test's output */
    /* A storage without objects for one test; the suite frees it. */
    Storage *(*open)(void *arg);
    void (*clean)(void *arg); /* afterwards; may be NULL */
    void *arg;
    bool replaces_silently; /* a put without STORAGE_OVERWRITE replaces */
    bool names_nest;        /* 'a' and 'a/b' may both be objects */
    unsigned many;          /* names in the large listing; 0: 10 000 */
    unsigned rounds;        /* of what repeats to catch races; 0: 30 */
    TimeUs slack;           /* by how much the clock may seem to go back */
} Conformance;

/* Runs all tests; the number that failed. */
int conformance_run(const Conformance *c);

/* --- for the parts of the suite --- */

/* One running test. */
typedef struct Fixture {
    const Conformance *c;
    Storage *s;
} Fixture;

#define FIXTURE(state) Fixture *f = *(state)

/* Each part's tests; `setup`, `teardown` and `initial_state` are set by the suite. */
extern const struct CMUnitTest conformance_objects[], conformance_lists[], conformance_races[],
    conformance_model[];

/* `len` bytes that only this seed and length give. */
void content_fill(void *data, size_t len, uint64_t seed);
uint8_t *content_new(size_t len, uint64_t seed);
bool content_is(const void *data, size_t len, uint64_t seed);

/* Puts content_new(len, seed) under a name. */
MUST_CHECK ErrCode put_content(Storage *s, const char *name, size_t len, uint64_t seed,
                               StoragePutFlags flags, Err *err);
/* The object must be there and hold exactly this. */
void expect_content(Storage *s, const char *name, size_t len, uint64_t seed);
/* The listing must give exactly these names in this order. */
void expect_names(Storage *s, const StorageList *list, const char *const *names, size_t n);
/* What a listing of the sorted `names` must give; the caller releases it. */
StrList list_reference(char *const *names, size_t n, const StorageList *list);

/* --- threads; cmocka's checks work in the main thread only --- */

typedef struct Job {
    Storage *s;
    unsigned index, rounds;
    void *shared;
    char failure[2048]; /* "" when all went well */
} Job;

/* Runs `fn` n times at once and fails the test with the first failure. */
void run_jobs(const Fixture *f, unsigned n, unsigned rounds, void (*fn)(Job *), void *shared);

#define JOB_OK(job, call)                                                                          \
    do {                                                                                           \
        Err e_ = {0};                                                                              \
        Err *err = &e_;                                                                            \
        if ((call) != ERR_OK) {                                                                    \
            snprintf((job)->failure, sizeof((job)->failure), "%s: %s", #call, e_.message);         \
            return;                                                                                \
        }                                                                                          \
    } while (0)

#define JOB_TRUE(job, cond)                                                                        \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            snprintf((job)->failure, sizeof((job)->failure), "%s:%d: not %s", __FILE__, __LINE__,  \
                     #cond);                                                                       \
            return;                                                                                \
        }                                                                                          \
    } while (0)

#endif
