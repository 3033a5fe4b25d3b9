#ifndef PGDR_TESTS_MODEL_STORES_H
#define PGDR_TESTS_MODEL_STORES_H

/*
 * All stores that an exploration meets. Equal ones are one object, and what was asked or done once
 * is remembered: the same few thousand stores come up in millions of states.
 */

#include "tests/model/process.h"

/* Names that came or went during a listing: a set of numbers that changes_…() gives out. */
typedef uint64_t Changes;

typedef struct Store {
    Storage *mem;
    TimeUs now;
    uint64_t low, high; /* over names, contents, and the age of trash and leases */
    uint32_t id;
    uint64_t facts; /* what the model's own function says about it */
} Store;

typedef struct Stores Stores;
/* `facts` is asked once for every store. */
Stores *stores_new(Storage *mem, uint64_t (*facts)(const void *arg, Storage *mem), const void *arg);
void stores_free(Stores *s);
const Store *stores_first(const Stores *s);
size_t stores_count(const Stores *s);

const Store *store_put(Stores *s, const Store *at, const Call *c, ErrCode *ret);
const Store *store_remove(Stores *s, const Store *at, const char *name);
const Store *store_advance(Stores *s, const Store *at, TimeUs by);

/*
 * Answers a call that changes nothing. A listing during which `changes` happened shows those whose
 * position among them (from 0) is not a bit of `hidden`. Equal answers are one object.
 */
const Answer *store_read(Stores *s, const Store *at, const Call *c, Changes changes,
                         uint32_t hidden);
const Answer *answer_fail(Stores *s, ErrCode code);
/* An answer from the store in the beginning, with what the process itself has put and removed. */
const Answer *answer_remembered(Stores *s, const Step *at);

/* Notes that what differs between two stores in `name` changed, if its name begins so. */
Changes changes_add(Stores *s, Changes changes, const Store *before, const char *name);
unsigned changes_count(Changes changes);

#endif
