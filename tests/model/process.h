#ifndef PGDR_TESTS_MODEL_PROCESS_H
#define PGDR_TESTS_MODEL_PROCESS_H

/*
 * A process whose storage calls are answered by somebody else, one at a time.
 *
 * The code under test runs unchanged, on a storage that answers from a script. What it does is
 * decided by the answers it has had (its random names and its clock are made so, see process.c),
 * so a place in a process is the list of answers on the way there. The places form a tree; to find
 * the call that follows an answer nobody has given yet, the process is run from its beginning with
 * all its answers again, and every call behind the last answer fails, which brings it to its end
 * through its own error paths. Nothing is suspended, nothing leaks, and no answer is tried twice.
 *
 * A process may have several parts, one behind the other, that hand nothing over but the store:
 * what answers led to the end of a part makes no difference then, and need not be told apart.
 */

#include "lib/repo/repo.h"
#include "lib/storage/drivers.h"

/* A storage call as the process makes it. */
typedef struct Call {
    StorageOp op;  /* 0: none, the process has ended */
    char *name;    /* of the object; the prefix of a listing */
    StrList names; /* of a removal */
    Buf content;   /* of a put */
    StoragePutFlags flags;
    bool by_level; /* of a listing; it shows one moment then: what it is for does not change */
    uint64_t digest;
} Call;

/* What it is told. `data`: get: the whole object; stat: one entry; list: the entries; now: u64. */
typedef struct Answer {
    ErrCode code;
    Buf data;
} Answer;

typedef struct Entry {
    const char *name;
    uint64_t size;
    TimeUs mtime;
} Entry;
void entry_append(Buf *data, const Entry *e);
/* Takes the next entry out; false at the end. */
bool entry_next(const Buf *data, size_t *at, Entry *ret);

typedef struct Step Step;
struct Step {
    uint32_t id; /* unique in the process */
    unsigned part;
    const Step *before;   /* NULL: the beginning */
    const Answer *answer; /* to before->call; borrowed */
    Call call;            /* what comes next */
    ErrCode result;       /* when the process has ended */
    char *message;        /* its error */
    VEC(Step *) next;     /* by the answers given so far */
};

#define PROCESS_PARTS 3

/* To be called with nothing but `repo` and `arg`: it must do the same each time. */
typedef ErrCode (*ProcessFn)(Repo *repo, const void *arg, Err *err);

typedef struct Process {
    const char *name;
    ProcessFn run[PROCESS_PARTS]; /* one behind the other, until one fails; NULL: no more */
    const void *arg;
    const Repo *like; /* cluster and keys are taken from this */
    unsigned seed;    /* another one for each process */
    Step *first[PROCESS_PARTS];
    uint32_t steps; /* found so far */
} Process;

/* What random names and bytes are drawn from, from now on; a process sets this for itself. */
void chance_begin(unsigned seed, unsigned part);

/* Where it begins. */
const Step *process_init(Process *p);
void process_release(Process *p);
/* Where the process is after this answer, of which equal ones are one object that stays. */
const Step *process_answer(Process *p, const Step *at, const Answer *answer);

#endif
