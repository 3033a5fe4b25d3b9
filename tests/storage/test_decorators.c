/* The suite through every decorator, over mem and posix, and through all of them at once. */

#include "tests/storage/scratch.h"

#include "lib/storage/drivers.h"

typedef enum Layer { RETRY = 1, THROTTLE = 2, FAULT = 4, FAILING = 8 } Layer;

/* What one group opens. */
typedef struct Stack {
    unsigned layers;
    bool replaces;
    Scratch scratch; /* posix when it says where, else mem */
} Stack;

static const RetrySpec impatient = {.attempts = 50, .first_pause = 1, .longest_pause = 10};

static Storage *open_stack(void *arg)
{
    Stack *stack = arg;
    Storage *s =
        stack->scratch.where ? scratch_open(&stack->scratch) : storage_mem_new(stack->replaces);
    if (stack->layers & FAULT)
        s = storage_fault_new(s, &(FaultSpec){.ops = STORAGE_OP_ANY});
    if (stack->layers & THROTTLE)
        s = storage_throttle_new(s, (uint64_t)1 << 40);
    if (stack->layers & RETRY)
        s = storage_retry_new(s, &impatient);
    return s;
}

static void clean_stack(void *arg)
{
    Stack *stack = arg;
    if (stack->scratch.where)
        scratch_clean(&stack->scratch);
}

static int run(const char *name, const char *where, bool replaces, unsigned layers)
{
    Stack stack = {.layers = layers, .replaces = replaces, .scratch.where = where};
    const Conformance c = {.name = name,
                           .open = open_stack,
                           .clean = clean_stack,
                           .arg = &stack,
                           .replaces_silently = replaces,
                           .names_nest = replaces,
                           .many = 1000,
                           .rounds = 10};
    return conformance_run(&c);
}

int main(void)
{
    const char *tmpfs = scratch_tmpfs();
    int failed = run("retry over mem", NULL, false, RETRY) +
                 run("throttle over mem", NULL, false, THROTTLE) +
                 run("fault over mem", NULL, false, FAULT) +
                 run("all over mem that replaces", NULL, true, RETRY | THROTTLE | FAULT);
    if (!tmpfs) {
        printf("# SKIP the same over posix: there is no tmpfs to write to\n");
        return failed;
    }
    return failed + run("retry over posix", tmpfs, false, RETRY) +
           run("throttle over posix", tmpfs, false, THROTTLE) +
           run("fault over posix", tmpfs, false, FAULT) +
           run("all over posix", tmpfs, false, RETRY | THROTTLE | FAULT);
}
