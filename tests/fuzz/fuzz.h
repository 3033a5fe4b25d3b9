#ifndef PGDR_TESTS_FUZZ_H
#define PGDR_TESTS_FUZZ_H

/*
 * Parsers on damaged bytes. A target makes valid samples with our own writers, and reads what it is
 * given as the program would; the driver (fuzz.c) changes the samples at random. The memory given
 * is of exactly the right size, so that AddressSanitizer sees every step outside.
 *
 * What has a digest over it is given without it, and the target computes it: a change that only
 * breaks a digest tests nothing else.
 */

#include "lib/common/buf.h"
#include "lib/common/err.h"

typedef struct FuzzCorpus {
    VEC(Buf) samples;
} FuzzCorpus;

typedef struct FuzzTarget {
    const char *name;
    void (*samples)(FuzzCorpus *c); /* every one must be accepted */
    /* Whether the bytes were accepted. Aborts when what came out breaks a promise. */
    bool (*run)(const uint8_t *data, size_t len);
    unsigned share; /* per cent of the iterations; 0: all */
} FuzzTarget;

/* Copies. */
void fuzz_add(FuzzCorpus *c, const void *data, size_t len);
void fuzz_add_text(FuzzCorpus *c, const char *text);

/* A promise that must hold. */
#define FUZZ_CHECK(what)                                                                           \
    do {                                                                                           \
        if (!(what))                                                                               \
            fuzz_broken(__FILE__, __LINE__, #what);                                                \
    } while (0)
void fuzz_broken(const char *file, int line, const char *what) __attribute__((noreturn));
/* The call must succeed: it makes a sample. */
#define FUZZ_OK(call)                                                                              \
    do {                                                                                           \
        Err e_ = {0};                                                                              \
        Err *err = &e_;                                                                            \
        if ((call) != ERR_OK)                                                                      \
            fuzz_broken(__FILE__, __LINE__, e_.message);                                           \
    } while (0)

extern const FuzzTarget fuzz_targets[];
extern const size_t fuzz_targets_n;

#endif
