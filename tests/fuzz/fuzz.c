/*
 *     fuzz_…                     all targets, PGDR_FUZZ_N changed samples each (1000)
 *     fuzz_… TARGET              one target
 *     fuzz_… TARGET FILE…        these inputs only
 *
 * PGDR_FUZZ_SEED chooses other changes (1); the same seed gives the same ones. What makes a target
 * fail, or think for longer than a minute, is left in fuzz-TARGET.bin in the current folder. With
 * -DPGDR_LIBFUZZER and clang's -fsanitize=fuzzer the target named by PGDR_FUZZ_TARGET is
 * libFuzzer's.
 */

#include "tests/fuzz/fuzz.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/common/bytes.h"
#include "lib/common/file.h"

#define INPUT_MAX (64 * MIB)
#define SECONDS_MAX 60

void fuzz_add(FuzzCorpus *c, const void *data, size_t len)
{
    Buf b = {0};
    buf_append(&b, data, len);
    vec_push(&c->samples, b);
}

void fuzz_add_text(FuzzCorpus *c, const char *text)
{
    fuzz_add(c, text, strlen(text));
}

void fuzz_broken(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: broken: %s\n", file, line, what);
    abort();
}

static const FuzzTarget *find_target(const char *name)
{
    for (size_t i = 0; i < fuzz_targets_n; i++)
        if (strcmp(fuzz_targets[i].name, name) == 0)
            return &fuzz_targets[i];
    fprintf(stderr, "there is no target '%s'\n", name);
    exit(2);
}

#ifdef PGDR_LIBFUZZER

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const char *name = getenv("PGDR_FUZZ_TARGET");
    find_target(name ? name : fuzz_targets[0].name)->run(data, len);
    return 0;
}

#else

/* --- what fails is kept --- */

static struct {
    const char *target;
    const uint8_t *data;
    size_t len;
} current;

static void keep_input(void)
{
    char path[128];
    if (!current.target)
        return;
    snprintf(path, sizeof(path), "fuzz-%s.bin", current.target);
    FILE *f = fopen(path, "wb");
    if (f) {
        fwrite(current.data, 1, current.len, f);
        fclose(f);
    }
    fprintf(stderr, "target %s fails on the %zu bytes in '%s'\n", current.target, current.len,
            path);
    current.target = NULL;
}

#if defined(__SANITIZE_ADDRESS__)
void __sanitizer_set_death_callback(void (*callback)(void));
const char *__asan_default_options(void);
/* An allocation of what a damaged length says must be refused by the parser, not by the machine. */
const char *__asan_default_options(void)
{
    return "max_allocation_size_mb=1200:handle_abort=1";
}
const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void)
{
    return "abort_on_error=1:print_stacktrace=1";
}
#endif

static void on_signal(int number)
{
    keep_input();
    signal(number, SIG_DFL);
    raise(number);
}

static void watch(void)
{
    signal(SIGALRM, on_signal);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_set_death_callback(keep_input);
#else
    signal(SIGABRT, on_signal);
    signal(SIGSEGV, on_signal);
    signal(SIGBUS, on_signal);
    signal(SIGFPE, on_signal);
#endif
}

static bool run_input(const FuzzTarget *t, const uint8_t *data, size_t len)
{
    uint8_t *exact = malloc(len ? len : 1);
    if (len)
        memcpy(exact, data, len);
    current.target = t->name;
    current.data = exact;
    current.len = len;
    alarm(SECONDS_MAX);
    bool accepted = t->run(exact, len);
    alarm(0);
    current.target = NULL;
    free(exact);
    return accepted;
}

/* --- changes --- */

static uint64_t random_state;

static uint64_t random_u64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * UINT64_C(2685821657736338717);
}

static size_t random_below(size_t n)
{
    return n ? (size_t)((random_u64() >> 11) % n) : 0;
}

static const uint64_t numbers[] = {0,
                                   1,
                                   2,
                                   7,
                                   8,
                                   127,
                                   128,
                                   255,
                                   256,
                                   4095,
                                   8191,
                                   8192,
                                   65535,
                                   65536,
                                   (1 << 20) - 1,
                                   1 << 20,
                                   (1 << 20) + 1,
                                   INT32_MAX,
                                   (uint64_t)INT32_MAX + 1,
                                   UINT32_MAX,
                                   (uint64_t)UINT32_MAX + 1,
                                   INT64_MAX,
                                   (uint64_t)INT64_MAX + 1,
                                   UINT64_MAX};

#define NUMBER_WORDS 7 /* the first ones */
static const char *const words[] = {"-1",
                                    "0",
                                    "1",
                                    "4294967296",
                                    "9223372036854775807",
                                    "9223372036854775808",
                                    "1e99",
                                    "0x",
                                    "\"",
                                    "{",
                                    "}",
                                    "[",
                                    "]",
                                    ",",
                                    ":",
                                    "\n",
                                    "\\u0000",
                                    "\xff",
                                    "../",
                                    "/",
                                    "//",
                                    "null",
                                    "true",
                                    "%s%n",
                                    " ",
                                    "\t",
                                    "=",
                                    "'",
                                    "\r\n",
                                    "FFFFFFFF/FFFFFFFF"};

/* Replaces `old` bytes at `at` by others. */
static void splice(Buf *b, size_t at, size_t old, const void *with, size_t len)
{
    Buf out = {0};
    buf_append(&out, b->data, at);
    buf_append(&out, with, len);
    buf_append(&out, b->data + at + old, b->len - at - old);
    buf_release(b);
    *b = out;
}

static void change_number(Buf *b, size_t at)
{
    uint8_t bytes[8];
    size_t width = (size_t)1 << random_below(4);
    set_u64(bytes, numbers[random_below(ARRAY_LEN(numbers))] - random_below(2));
    memcpy(b->data + at, bytes, MIN(width, b->len - at));
}

/* A run of decimal digits at or behind `at` becomes another number; or anything, anything else. */
static void change_word(Buf *b, size_t at)
{
    bool number = random_below(3) > 0;
    const char *w = words[random_below(number ? NUMBER_WORDS : ARRAY_LEN(words))];
    while (number && at + 1 < b->len && (b->data[at] < '0' || b->data[at] > '9'))
        at++;
    size_t end = at;
    while (end < b->len && b->data[end] >= '0' && b->data[end] <= '9')
        end++;
    while (at > 0 && end > at && b->data[at - 1] >= '0' && b->data[at - 1] <= '9')
        at--;
    splice(b, at, end - at, w, strlen(w));
}

static void change(Buf *b, const FuzzCorpus *c)
{
    size_t at = random_below(b->len), n = 1 + random_below(random_below(4) ? 16 : b->len);
    const Buf *other = &c->samples.at[random_below(c->samples.n)];
    if (!b->len) {
        splice(b, 0, 0, other->data, other->len);
        return;
    }
    switch (random_below(12)) {
    case 0:
        b->data[at] ^= (uint8_t)(1u << random_below(8));
        break;
    case 1:
        b->data[at] = (uint8_t)random_u64();
        break;
    case 2:
    case 3:
        change_number(b, at);
        break;
    case 4:
    case 9:
    case 10:
    case 11:
        change_word(b, at);
        break;
    case 5: /* out */
        splice(b, at, MIN(n, b->len - at), "", 0);
        break;
    case 6: { /* twice */
        Buf copy AUTO(buf_release) = {0};
        n = MIN(n, b->len - at);
        buf_append(&copy, b->data + at, n);
        splice(b, at, 0, copy.data, n);
        break;
    }
    case 7: { /* from another sample */
        size_t from = random_below(other->len);
        n = MIN(n, other->len - from);
        splice(b, at, MIN(n, b->len - at), other->data + from, n);
        break;
    }
    default: /* the end is missing */
        b->len = random_below(2) ? at : b->len - MIN(b->len, n);
        break;
    }
}

/* --- targets --- */

static unsigned long env_number(const char *name, unsigned long otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoul(text, NULL, 10) : otherwise;
}

static void corpus_release(FuzzCorpus *c)
{
    for (size_t i = 0; i < c->samples.n; i++)
        buf_release(&c->samples.at[i]);
    vec_release(&c->samples);
}

/* A test that refuses everything, or nothing, tests nothing. */
static int judge(const FuzzTarget *t, unsigned long n, unsigned long accepted)
{
    printf("%s: %lu changed samples, %lu accepted\n", t->name, n, accepted);
    if (n < 50 || accepted < n)
        return 0;
    printf("%s: nothing was ever refused\n", t->name);
    return 1;
}

static int run_target(const FuzzTarget *t, unsigned long n, unsigned long seed)
{
    FuzzCorpus c = {.samples = {0}};
    unsigned long accepted = 0;
    random_state = seed * UINT64_C(0x9E3779B97F4A7C15) + 88172645463325252u;
    t->samples(&c);
    for (size_t i = 0; i < c.samples.n; i++)
        if (!run_input(t, c.samples.at[i].data, c.samples.at[i].len)) {
            printf("%s: sample %zu is refused as it is\n", t->name, i);
            corpus_release(&c);
            return 1;
        }
    n = t->share ? n * t->share / 100 : n;
    for (unsigned long i = 0; i < n; i++) {
        Buf b AUTO(buf_release) = {0};
        const Buf *from = &c.samples.at[random_below(c.samples.n)];
        buf_append(&b, from->data, from->len);
        for (size_t k = random_below(2) ? 1 : 1 + random_below(4); k > 0; k--)
            change(&b, &c);
        accepted += run_input(t, b.data, b.len);
    }
    corpus_release(&c);
    return judge(t, n, accepted);
}

static int run_files(const FuzzTarget *t, char **paths)
{
    for (; *paths; paths++) {
        Buf b AUTO(buf_release) = {0};
        FUZZ_OK(file_read_all(*paths, INPUT_MAX, &b, err));
        printf("%s: %s\n", *paths, run_input(t, b.data, b.len) ? "accepted" : "refused");
    }
    return 0;
}

int main(int argc, char **argv)
{
    unsigned long n = env_number("PGDR_FUZZ_N", 1000), seed = env_number("PGDR_FUZZ_SEED", 1);
    int failed = 0;
    watch();
    if (argc > 2)
        return run_files(find_target(argv[1]), argv + 2);
    for (size_t i = 0; i < fuzz_targets_n; i++)
        if (argc < 2 || strcmp(fuzz_targets[i].name, argv[1]) == 0)
            failed |= run_target(&fuzz_targets[i], n, seed);
    return failed || (argc == 2 && !find_target(argv[1]));
}

#endif
