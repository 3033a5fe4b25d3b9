/* Reading ahead: what was begun is what is taken, anything else is the owner's to read, and nobody
 * is left waiting. A reader of pages does so in a distant repository, and only there. */

#include "tests/unit/unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "lib/repo/fetch_ahead.h"
#include "lib/repo/page_reader.h"
#include "tests/unit/mem_repo.h"

#define NAME "packs/x"
#define LEN (100 * 1000)

/* A repository with one object; its reads wait while `held`. */
typedef struct Fixture {
    Repo *repo;
    FetchAhead *fetch;
    uint8_t bytes[LEN];
    atomic_bool held;
    atomic_uint reads;
} Fixture;

static void hold(void *arg, StorageOp op, const char *name)
{
    Fixture *f = arg;
    (void)op, (void)name;
    atomic_fetch_add(&f->reads, 1);
    while (atomic_load(&f->held))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static int setup(void **state)
{
    Fixture *f = NEW(Fixture);
    FaultSpec hook = {.ops = STORAGE_OP_GET, .contains = NAME, .hook = hold, .hook_arg = f};
    for (size_t i = 0; i < LEN; i++)
        f->bytes[i] = (uint8_t)(i * 7 + i / 251);
    f->repo = mem_repo_new(CIPHER_NONE);
    mem_put(f->repo, NAME, f->bytes, LEN);
    f->repo->storage = storage_fault_new(f->repo->storage, &hook);
    f->fetch = fetch_ahead_new(f->repo);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    fetch_ahead_free(f->fetch);
    repo_close(f->repo);
    free(f);
    return 0;
}

static void expect_taken(Fixture *f, uint64_t off, size_t len)
{
    Buf got AUTO(buf_release) = {0};
    buf_append(&got, "what was there", 14);
    assert_true(fetch_ahead_take(f->fetch, NAME, off, len, &got));
    assert_int_equal(got.len, len);
    assert_memory_equal(got.data, f->bytes + off, len);
}

static void expect_not_taken(Fixture *f, const char *name, uint64_t off, size_t len)
{
    Buf got AUTO(buf_release) = {0};
    assert_false(fetch_ahead_take(f->fetch, name, off, len, &got));
    assert_int_equal(got.len, 0);
}

static void one_after_the_other(void **state)
{
    Fixture *f = *state;
    for (uint64_t off = 0; off + 777 <= LEN; off += 777) {
        fetch_ahead_begin(f->fetch, NAME, off, 777);
        expect_taken(f, off, 777);
        expect_not_taken(f, NAME, off, 777); /* once */
    }
    assert_int_equal(atomic_load(&f->reads), LEN / 777);
}

/* The owner goes on while the read waits, and the taker waits for it. */
static void it_is_done_beside(void **state)
{
    Fixture *f = *state;
    atomic_store(&f->held, true);
    fetch_ahead_begin(f->fetch, NAME, 10, 20);
    while (!atomic_load(&f->reads))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    expect_not_taken(f, NAME, 30, 20);
    atomic_store(&f->held, false);
    expect_taken(f, 10, 20);
}

static void only_exactly_this(void **state)
{
    Fixture *f = *state;
    fetch_ahead_begin(f->fetch, NAME, 10, 20);
    expect_not_taken(f, NAME, 11, 20);
    expect_not_taken(f, NAME, 10, 19);
    expect_not_taken(f, "packs/y", 10, 20);
    fetch_ahead_begin(f->fetch, NAME, 500, 20); /* there is one */
    expect_not_taken(f, NAME, 500, 20);
    expect_taken(f, 10, 20);
    fetch_ahead_begin(f->fetch, NAME, 500, 20);
    expect_taken(f, 500, 20);
}

static void what_is_dropped(void **state)
{
    Fixture *f = *state;
    fetch_ahead_drop(f->fetch);
    fetch_ahead_begin(f->fetch, NAME, 10, 20);
    fetch_ahead_drop(f->fetch);
    expect_not_taken(f, NAME, 10, 20);
    fetch_ahead_begin(f->fetch, NAME, 10, 30);
    expect_taken(f, 10, 30);
}

/* An object that is not there, one that is too short, a storage that fails: then it goes on. */
static void what_cannot_be_read(void **state)
{
    Fixture *f = *state;
    FaultSpec fail = {.ops = STORAGE_OP_GET, .nth = 1, .times = 1, .code = ERR_NETWORK};
    fetch_ahead_begin(f->fetch, "packs/none", 0, 20);
    expect_not_taken(f, "packs/none", 0, 20);
    fetch_ahead_begin(f->fetch, NAME, LEN - 10, 20);
    expect_not_taken(f, NAME, LEN - 10, 20);
    storage_fault_set(f->repo->storage, &fail);
    fetch_ahead_begin(f->fetch, NAME, 0, 20);
    expect_not_taken(f, NAME, 0, 20);
    fetch_ahead_begin(f->fetch, NAME, 0, 20);
    expect_taken(f, 0, 20);
}

/* Freed by teardown: never used, and with a stretch that nobody took. */
static void never_begun(void **state)
{
    (void)state;
}

static void never_taken(void **state)
{
    Fixture *f = *state;
    fetch_ahead_begin(f->fetch, NAME, 0, LEN);
}

/* --- pages --- */

#define ID "20260102T000000Z-00000000000000aa"
#define PACK "packs/" ID "/0/d0"
#define PAGE 8192
#define UNIT_PAGES 16
#define UNITS 40 /* 5 MiB of noise */

/* A pack whose pages do not compress, and a map of one file that is all of it. */
typedef struct Distant {
    Repo *repo;
    uint8_t *pages;
    FileMap map;
    StrList ids;
    PackTables *tables;
    PageReader *reader;
    pthread_t main;
    atomic_uint here, beside; /* reads of the pack, by the thread */
} Distant;

static void count_threads(void *arg, StorageOp op, const char *name)
{
    Distant *d = arg;
    (void)op, (void)name;
    atomic_fetch_add(pthread_equal(pthread_self(), d->main) ? &d->here : &d->beside, 1);
}

static void put_pack(Distant *d)
{
    PackWriter *w AUTO(pack_writer_freep) = pack_writer_new();
    Compressor *c AUTO(compressor_freep) = compressor_new(1);
    PackInfo info;
    uint64_t slot, state = 1;
    d->pages = mem_new((size_t)UNITS * UNIT_PAGES * PAGE);
    for (size_t i = 0; i < (size_t)UNITS * UNIT_PAGES * PAGE; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        d->pages[i] = (uint8_t)(state >> 56);
    }
    pack_writer_begin(w, d->repo->key, ID, (PackId){'d', 0});
    for (unsigned i = 0; i < UNITS; i++) {
        PackPages p = {.path = "base/5/2",
                       .first = (uint64_t)i * UNIT_PAGES,
                       .n = UNIT_PAGES,
                       .page_size = PAGE,
                       .data = d->pages + (size_t)i * UNIT_PAGES * PAGE,
                       .len = (size_t)UNIT_PAGES * PAGE};
        MUST(pack_writer_add_pages(w, c, &p, &slot, err));
    }
    MUST(pack_writer_finish(w, &info, err));
    MUST(pack_writer_put(w, d->repo, err));
}

static void distant_init(Distant *d, const char *url)
{
    FaultSpec hook = {
        .ops = STORAGE_OP_GET, .contains = PACK, .hook = count_threads, .hook_arg = d};
    *d = (Distant){.repo = mem_repo_new(CIPHER_AES_256_GCM), .main = pthread_self()};
    put_pack(d);
    d->repo->storage = storage_fault_new(d->repo->storage, &hook);
    free(d->repo->storage->url);
    d->repo->storage->url = mem_strdup(url);
    d->map.pages = UNITS * UNIT_PAGES;
    file_map_add(&d->map, 0, d->map.pages, (MapSource){0, 0}, 0);
    vec_push(&d->ids, mem_strdup(ID));
    d->tables = pack_tables_new(d->repo, MIB, NULL, NULL);
    d->reader = page_reader_new(d->repo, d->tables, MIB);
}

static void distant_release(Distant *d)
{
    page_reader_free(d->reader);
    pack_tables_free(d->tables);
    file_map_release(&d->map);
    str_list_release(&d->ids);
    free(d->pages);
    repo_close(d->repo);
}

/* Pages first … until − 1; of every `step` pages only the first is read, as for a file that is
 * mostly there already. */
static void read_pages(Distant *d, uint64_t first, uint64_t until, uint64_t step)
{
    uint8_t out[4 * PAGE];
    expect_ok(page_reader_begin(d->reader, &d->map, &d->ids, PAGE, d->map.pages * PAGE, first,
                                until, err));
    for (uint64_t page = first, got; page < until; page += got) {
        bool zeros;
        expect_ok(page_reader_next(d->reader, out, step > 1 ? 1 : 4, &got, &zeros, err));
        assert_false(zeros);
        assert_memory_equal(out, d->pages + page * PAGE, got * PAGE);
        uint64_t skip = MIN(step - 1, until - page - got);
        page_reader_skip(d->reader, skip);
        got += skip;
    }
}

static void pages_of_a_distant_repository(void **state)
{
    (void)state;
    Distant d AUTO(distant_release);
    distant_init(&d, "s3://there/app");
    read_pages(&d, 0, d.map.pages, 1);
    /* Two chunks share a megabyte, three units each. The first is read here, as is the pack's
     * table; all others come from beside, once. */
    assert_int_equal(d.beside, (UNITS + 2) / 3 - 1);
    assert_in_range(d.here, 1, 3);
    for (uint64_t first = 3; first < d.map.pages; first += 97)
        read_pages(&d, first, MIN(first + 200, d.map.pages), 1);
    for (uint64_t step = 2; step < 200; step += 31)
        read_pages(&d, step, d.map.pages, step);
    /* What was passed over does not keep it from going on. */
    read_pages(&d, 0, 1, 1);
    d.beside = 0;
    read_pages(&d, 0, d.map.pages, 1);
    assert_int_equal(d.beside, (UNITS + 2) / 3 - 1);
}

static void pages_of_a_near_repository(void **state)
{
    (void)state;
    Distant d AUTO(distant_release);
    distant_init(&d, "/var/lib/pgdr");
    read_pages(&d, 0, d.map.pages, 1);
    assert_int_equal(d.beside, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_after_the_other, setup, teardown),
        cmocka_unit_test_setup_teardown(it_is_done_beside, setup, teardown),
        cmocka_unit_test_setup_teardown(only_exactly_this, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_read, setup, teardown),
        cmocka_unit_test_setup_teardown(never_begun, setup, teardown),
        cmocka_unit_test_setup_teardown(never_taken, setup, teardown),
        cmocka_unit_test(pages_of_a_distant_repository),
        cmocka_unit_test(pages_of_a_near_repository),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
