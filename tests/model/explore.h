#ifndef PGDR_TESTS_MODEL_EXPLORE_H
#define PGDR_TESTS_MODEL_EXPLORE_H

/*
 * Runs several processes on one store in every order of their storage calls, and looks at every
 * state that can be reached. A crash is a process that never moves again, and needs no step of its
 * own: a state is what is left when all stop there.
 *
 *  - put, get, stat and the clock are one step each.
 *  - A removal of n names is n steps, in every order.
 *  - A listing lasts from the call before it until its own step: a name that was there all the time
 *    is shown, one that came or went meanwhile is shown or not, every combination is tried. That is
 *    all that storage.h promises.
 *  - Time passes in ticks, at any moment.
 *  - Calls may fail, before or after their effect (`faults`: how many in one run).
 *
 * States are recognised by the store (stores.h) and the place of every process (process.h).
 */

#include "tests/model/stores.h"

#define MODEL_PROCESSES 6

/*
 * A look that a process leaves out: its call is answered from what the process itself knows, that
 * is, from the store as it was in the beginning and what it has put and removed since.
 */
typedef struct Blind {
    unsigned process;
    unsigned ops;         /* which calls (a mask of StorageOp) */
    const char *contains; /* in the name, or in the prefix of the listing */
    unsigned from, to;    /* of the calls that match, which; counted from 1; to 0: all later ones */
    unsigned behind;      /* only calls behind so many listings of trash/ */
} Blind;

typedef struct Model {
    const char *name;
    Storage *store;     /* in the beginning; mem, borrowed */
    Process *processes; /* borrowed */
    unsigned n;
    TimeUs tick;
    unsigned ticks;
    unsigned faults; /* calls that may fail in one run */
    unsigned faulty; /* of which processes: a mask */
    /* Both save states: */
    bool atomic_lists;   /* a listing shows one moment */
    bool in_order;       /* names are removed in order only */
    const Blind *blinds; /* `n_blinds` of them */
    size_t n_blinds;
    /* What matters of a store, as bits; and what is wrong with a state (static text), or NULL.
     * `at`: one step a process. */
    uint64_t (*facts)(const void *arg, Storage *store);
    const char *(*wrong)(const void *arg, uint64_t facts, const Step *const *at);
    const void *arg;

    /* outputs */
    uint64_t states, moves;
    const char *found; /* what wrong() said; NULL: nothing anywhere */
    Buf trace;         /* how to get there, as text */
    Stores *stores;
} Model;

/* Explores until everything was seen, or something is wrong. */
void model_explore(Model *m);
void model_release(Model *m);

#endif
