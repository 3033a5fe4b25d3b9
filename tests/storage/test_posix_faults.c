/*
 * The posix driver when the system fails: file systems that lack something pass the whole suite;
 * then the n-th system call fails, loses its answer, or is the last one, for every n.
 */

#include "tests/storage/scratch.h"
#include "tests/storage/shim.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

#include "lib/common/file.h"
#include "lib/storage/drivers.h"

#define CALLS_MAX 200

static const char *where;

static int setup(void **state)
{
    shim = (Shim){0};
    *state = scratch_make(where);
    return 0;
}

static int teardown(void **state)
{
    char *dir AUTO(mem_freep) = *state;
    Err err;
    shim = (Shim){0};
    return dir_remove_tree(dir, false, &err) == ERR_OK ? 0 : -1;
}

static Storage *open_in(const char *dir)
{
    Storage *s = NULL;
    expect_ok(storage_posix_new(&s, dir, false, err));
    return s;
}

/* --- ways to publish --- */

typedef enum Way { UNNAMED, NAMED, RENAMED, WAYS } Way;

static void choose_way(Way way)
{
    shim.no_unnamed = way != UNNAMED;
    shim.no_link = way == RENAMED;
}

/* --- what is put --- */

typedef struct Scenario {
    size_t len;
    StoragePutFlags flags;
    bool exists; /* the object is there before, with other content */
} Scenario;

#define OLD_LEN 777
#define OLD_SEED 1
#define NEW_SEED 2

static const Scenario scenarios[] = {
    {100, STORAGE_CREATE, false},         {MIB + 4096 + 100, STORAGE_CREATE, false},
    {100, STORAGE_OVERWRITE, false},      {100, STORAGE_OVERWRITE, true},
    {MIB + 100, STORAGE_OVERWRITE, true},
};

static void prepare(const char *dir, const Scenario *sc, const char *name)
{
    if (!sc->exists)
        return;
    Storage *s AUTO(storage_freep) = open_in(dir);
    expect_ok(put_content(s, name, OLD_LEN, OLD_SEED, STORAGE_CREATE, err));
}

/* Whether the object is listed; it must then be wholly the new or wholly the old one. */
static bool expect_whole(Storage *s, const Scenario *sc, const char *name)
{
    StrList names AUTO(str_list_release) = {0};
    Buf got AUTO(buf_release) = {0};
    expect_ok(storage_list_names(s, name, false, &names, err));
    if (!names.n) {
        if (sc->exists)
            fail_msg("'%s' was there and is not", name);
        return false;
    }
    expect_ok(storage_get_all(s, name, sc->len + OLD_LEN, &got, err));
    bool new = got.len == sc->len &&content_is(got.data, got.len, NEW_SEED);
    bool old = sc->exists && got.len == OLD_LEN && content_is(got.data, got.len, OLD_SEED);
    if (!new && !old)
        fail_msg("'%s' has %zu bytes that nobody put", name, got.len);
    return new;
}

/* After a failed put of `name`: puts it again, which must do or find it done. */
static void expect_put_again(Storage *s, const Scenario *sc, const char *name, bool there)
{
    Err e = {0};
    ErrCode rc = put_content(s, name, sc->len, NEW_SEED, sc->flags, &e);
    if (rc != ERR_OK && !(rc == ERR_EXISTS && there && !(sc->flags & STORAGE_OVERWRITE)))
        fail_msg("putting again: %s", e.message);
    expect_content(s, name, sc->len, NEW_SEED);
}

/* --- the n-th call fails --- */

/* Whether the call that failed was one that a put cannot do without. */
static bool is_vital(void)
{
    return (shim.hit &
            (SHIM_OPEN | SHIM_WRITE | SHIM_FSYNC | SHIM_LINK | SHIM_RENAME | SHIM_MKDIR)) ||
           (shim.hit == SHIM_CLOSE && !shim.hit_dir);
}

/* False when there was no n-th call. */
static bool put_with_fault(const char *dir, const Scenario *sc, unsigned n, ShimFate fate,
                           int errnum)
{
    Err e = {0};
    char name[64];
    static unsigned serial;
    snprintf(name, sizeof(name), "a/%u/object", serial++);
    prepare(dir, sc, name);
    Storage *s AUTO(storage_freep) = open_in(dir);
    uint8_t *data AUTO(mem_freep) = content_new(sc->len, NEW_SEED);

    shim_arm(SHIM_ANY & ~SHIM_READ, n, fate, errnum);
    ErrCode rc = storage_put_bytes(s, name, data, sc->len, sc->flags, &e);
    shim_disarm();
    if (!shim.hit) {
        assert_int_equal(rc, ERR_OK);
        return false;
    }
    if (rc != ERR_OK && !strstr(e.message, name))
        fail_msg("call %u, errno %d: '%s' does not name the object", n, errnum, e.message);
    if (rc == ERR_OK && fate == SHIM_FAIL && errnum == EIO && is_vital())
        fail_msg("call %u (%d) failed and nobody says so", n, shim.hit);
    bool there = expect_whole(s, sc, name);
    if (rc == ERR_OK && !there)
        fail_msg("call %u, errno %d: success without the object", n, errnum);
    if (scratch_hidden(dir) && shim.hit != SHIM_UNLINK)
        fail_msg("call %u, errno %d: a temporary file is left (%s)", n, errnum, e.message);
    if (shim.synced_again)
        fail_msg("call %u: fsync was repeated on the file it had failed for", n);
    expect_put_again(s, sc, name, there);
    Err ignored;
    expect_ok(storage_remove(s, (const char *const[]){name}, 1, err));
    (void)!dir_remove_tree(dir, true, &ignored);
    return true;
}

static void for_all_calls(const char *dir, ShimFate fate, const int *errnums, size_t n_errnums)
{
    for (Way way = 0; way < WAYS; way++) {
        choose_way(way);
        for (size_t i = 0; i < ARRAY_LEN(scenarios); i++) {
            /* Large objects are written in more steps, not otherwise. */
            for (size_t k = 0; k < (scenarios[i].len > MIB ? MIN(n_errnums, (size_t)2) : n_errnums);
                 k++) {
                unsigned n = 1;
                while (n < CALLS_MAX && put_with_fault(dir, &scenarios[i], n, fate, errnums[k]))
                    n++;
                assert_true(n > 8 && n < CALLS_MAX);
            }
        }
    }
}

static void put_fails_anywhere(void **state)
{
    static const int errnums[] = {EIO, EINVAL, ENOSPC, EDQUOT, EPERM, ENOENT, EMFILE, ESTALE};
    for_all_calls(*state, SHIM_FAIL, errnums, ARRAY_LEN(errnums));
}

static void put_loses_an_answer(void **state)
{
    for_all_calls(*state, SHIM_LOSE, (const int[]){EIO}, 1);
}

static void put_writes_short(void **state)
{
    for_all_calls(*state, SHIM_SHORT, (const int[]){0}, 1);
}

/* What a file server's client reports for a call that was done, answered, and sent once more. */
static void resent_calls(void **state)
{
    static const struct {
        Way way;
        StoragePutFlags flags;
        unsigned call;
        int errnum;
    } cases[] = {
        {UNNAMED, STORAGE_CREATE, SHIM_LINK, EEXIST},
        {NAMED, STORAGE_CREATE, SHIM_LINK, EEXIST},
        {NAMED, STORAGE_CREATE, SHIM_LINK, ENOENT},
        {RENAMED, STORAGE_CREATE, SHIM_RENAME, ENOENT},
        {UNNAMED, STORAGE_OVERWRITE, SHIM_RENAME, ENOENT},
        {NAMED, STORAGE_CREATE, SHIM_UNLINK, ENOENT},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char name[32];
        Storage *s AUTO(storage_freep) = open_in(*state);
        snprintf(name, sizeof(name), "r/%zu", i);
        choose_way(cases[i].way);
        shim_arm(cases[i].call, 1, SHIM_LOSE, cases[i].errnum);
        expect_ok(put_content(s, name, 5000, i, cases[i].flags, err));
        shim_disarm();
        assert_int_equal(shim.hit, cases[i].call);
        expect_content(s, name, 5000, i);
        /* Somebody else's object is not taken for ours. */
        expect_err(ERR_EXISTS, name, put_content(s, name, 5000, 99, STORAGE_CREATE, err));
        assert_int_equal(scratch_hidden(*state), 0);
    }
}

/* Taken between our look and our link. */
static void taken_at_the_last_moment(void **state)
{
    for (Way way = 0; way < WAYS; way++) {
        char name[32];
        Storage *s AUTO(storage_freep) = open_in(*state);
        snprintf(name, sizeof(name), "t/%d", way);
        choose_way(way);
        expect_ok(put_content(s, name, OLD_LEN, OLD_SEED, STORAGE_CREATE, err));
        shim_arm(SHIM_STAT, 1, SHIM_FAIL, ENOENT);
        expect_err(ERR_EXISTS, name, put_content(s, name, 100, NEW_SEED, STORAGE_CREATE, err));
        shim_disarm();
        assert_int_equal(shim.hit, SHIM_STAT);
        expect_content(s, name, OLD_LEN, OLD_SEED);
        assert_int_equal(scratch_hidden(*state), 0);
        /* Seen at the first look, nothing is written at all. */
        shim.bytes_direct = shim.bytes_buffered = 0;
        expect_err(ERR_EXISTS, name, put_content(s, name, 2 * MIB, 5, STORAGE_CREATE, err));
        assert_int_equal(shim.bytes_direct + shim.bytes_buffered, 0);
    }
}

/* Through the retry decorator a single failure of anything a retry can help is not felt. */
static void retry_helps(void **state)
{
    const RetrySpec spec = {.attempts = 3};
    static const int errnums[] = {EIO, ESTALE, EMFILE};
    for (size_t k = 0; k < ARRAY_LEN(errnums); k++) {
        for (unsigned n = 1; n < CALLS_MAX; n++) {
            char name[64];
            Storage *s AUTO(storage_freep) = storage_retry_new(open_in(*state), &spec);
            snprintf(name, sizeof(name), "h/%zu/%u", k, n);
            shim_arm(SHIM_ANY, n, n % 2 ? SHIM_FAIL : SHIM_LOSE, errnums[k]);
            expect_ok(put_content(s, name, 5000, n, STORAGE_CREATE, err));
            shim_disarm();
            expect_content(s, name, 5000, n);
            if (!shim.hit)
                break;
        }
    }
}

/* --- the other calls --- */

/* Does everything else once; errors that a failing call excuses are returned. */
static ErrCode use_all(Storage *s, StrList *names, Err *err)
{
    Buf got AUTO(buf_release) = {0};
    StorageStat stat;
    TimeUs now;
    const char *gone = "u/gone";
    TRY(storage_get_all(s, "u/v/object", 5000, &got, err));
    if (got.len != 5000 || !content_is(got.data, 5000, 3))
        return err_set(err, ERR_INTERNAL, "wrong bytes read");
    TRY(storage_stat(s, "u/v/object", &stat, err));
    if (stat.size != 5000)
        return err_set(err, ERR_INTERNAL, "wrong size");
    TRY(storage_list_names(s, "", false, names, err));
    if (names->n != 3)
        return err_set(err, ERR_INTERNAL, "%zu names of 3", names->n);
    TRY(storage_list_names(s, "u/", true, names, err));
    if (names->n != 3 + 3)
        return err_set(err, ERR_INTERNAL, "%zu entries of 3", names->n - 3);
    TRY(storage_now(s, &now, err));
    TRY(storage_remove(s, &gone, 1, err));
    ErrCode rc = storage_stat(s, gone, &stat, err);
    if (rc == ERR_OK)
        return err_set(err, ERR_INTERNAL, "not removed");
    return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

static void others_fail_anywhere(void **state)
{
    static const int errnums[] = {EIO, EMFILE, EPERM};
    for (size_t k = 0; k < ARRAY_LEN(errnums) * 2; k++) {
        shim.no_types = k % 2;
        for (unsigned n = 1; n < CALLS_MAX; n++) {
            Storage *s AUTO(storage_freep) = open_in(*state);
            StrList names AUTO(str_list_release) = {0};
            Err e = {0};
            expect_ok(put_content(s, "u/v/object", 5000, 3, STORAGE_OVERWRITE, err));
            expect_ok(put_content(s, "u/other", 5, 3, STORAGE_OVERWRITE, err));
            expect_ok(put_content(s, "u/gone", 5, 3, STORAGE_OVERWRITE, err));
            shim_arm(SHIM_ANY, n, SHIM_FAIL, errnums[k / 2]);
            ErrCode rc = use_all(s, &names, &e);
            shim_disarm();
            if (rc == ERR_INTERNAL && !(shim.hit == SHIM_STAT && shim.no_types))
                fail_msg("call %u (%d), errno %d: %s", n, shim.hit, shim.errnum, e.message);
            if (!shim.hit) {
                assert_int_equal(rc, ERR_OK);
                assert_true(n > 15);
                break;
            }
        }
    }
}

static void no_way_to_publish(void **state)
{
    Storage *s AUTO(storage_freep) = open_in(*state);
    Err e = {0};
    shim.no_unnamed = shim.no_link = shim.no_noreplace = true;
    assert_int_equal(put_content(s, "x", 10, 1, STORAGE_CREATE, &e), ERR_IO);
    assert_non_null(strstr(e.hint, "neither hard links nor renaming"));
    expect_names(s, &(StorageList){.prefix = ""}, NULL, 0);
    assert_int_equal(scratch_hidden(*state), 0);
}

/* A file server's client answers from memory unless it is told not to; on NFS for up to a minute.
 */
static void absence_is_asked_afresh(void **state)
{
    Storage *s AUTO(storage_freep) = open_in(*state);
    StorageStat stat;
    StorageRead read = {0};
    StrList names AUTO(str_list_release) = {0};
    expect_ok(put_content(s, "a/b/c", 1, 1, STORAGE_CREATE, err));
    shim.asked_afresh = 0;
    expect_ok(storage_stat(s, "a/b/c", &stat, err));
    expect_ok(storage_get(s, "a/b/c", &read, err));
    assert_int_equal(shim.asked_afresh, 0);
    expect_err(ERR_NOT_FOUND, "a/b/d", storage_stat(s, "a/b/d", &stat, err));
    assert_int_equal(shim.asked_afresh, 3);
    expect_err(ERR_NOT_FOUND, "a/b/d", storage_get(s, "a/b/d", &read, err));
    assert_int_equal(shim.asked_afresh, 6);
    expect_ok(storage_remove(s, (const char *const[]){"a/b/d"}, 1, err));
    assert_int_equal(shim.asked_afresh, 9);
    shim.asked_afresh = 0;
    expect_ok(storage_list_names(s, "a/", false, &names, err));
    assert_int_equal(shim.asked_afresh, 2);
    expect_ok(storage_list_names(s, "a/x/y/", false, &names, err));
    assert_int_equal(shim.asked_afresh, 5); /* what is above "a/x/y", as far as it goes */
}

/* --- the n-th call is the last --- */

/* False when the put came to its end. */
static bool put_and_die(const char *dir, const Scenario *sc, const char *name, unsigned n)
{
    pid_t pid = fork();
    if (pid == 0) {
        Storage *s = NULL;
        Err err;
        if (storage_posix_new(&s, dir, false, &err) != ERR_OK)
            _exit(1);
        uint8_t *data = content_new(sc->len, NEW_SEED);
        shim_arm(SHIM_ANY, n, SHIM_DIE, 0);
        _exit(storage_put_bytes(s, name, data, sc->len, sc->flags, &err) == ERR_OK ? 0 : 1);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    if (!WIFSIGNALED(status))
        assert_int_equal(WEXITSTATUS(status), 0);
    return WIFSIGNALED(status);
}

static int make_old(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    const struct timespec old[2] = {{.tv_sec = time(NULL) - 25 * 3600},
                                    {.tv_sec = time(NULL) - 25 * 3600}};
    (void)st;
    if (type == FTW_F && path[ftw->base] == '.')
        (void)!utimensat(AT_FDCWD, path, old, 0);
    return 0;
}

/* One put, ended before each of its calls; the names go to *all. */
static void kill_each_call(const char *dir, unsigned serial, const Scenario *sc, StrList *all)
{
    bool dies = true;
    for (unsigned n = 1; dies; n++) {
        char *in AUTO(mem_freep) = mem_printf("k/%u/%u", serial, n);
        char *name = mem_printf("%s/object", in), *path AUTO(mem_freep) = path_join(dir, in);
        vec_push(all, name);
        prepare(dir, sc, name);
        dies = put_and_die(dir, sc, name, n);
        Storage *s AUTO(storage_freep) = open_in(dir);
        bool there = expect_whole(s, sc, name);
        unsigned allowed = dies && (shim.no_unnamed || (sc->flags & STORAGE_OVERWRITE)) ? 1 : 0;
        if (scratch_hidden(path) > allowed)
            fail_msg("call %u: temporary files are left", n);
        expect_put_again(s, sc, name, there);
        if (n > CALLS_MAX)
            fail_msg("does not come to an end");
    }
}

static void killed_anywhere(void **state)
{
    const char *dir = *state;
    StrList all AUTO(str_list_release) = {0};
    for (Way way = 0; way < WAYS; way++) {
        choose_way(way);
        for (unsigned i = 0; i < ARRAY_LEN(scenarios); i++)
            kill_each_call(dir, way * 100 + i, &scenarios[i], &all);
    }
    /* What was left is nobody's after a day and goes with the objects. */
    shim = (Shim){0};
    assert_true(scratch_hidden(dir) > 0);
    nftw(dir, make_old, 20, FTW_PHYS);
    Storage *s AUTO(storage_freep) = open_in(dir);
    expect_ok(storage_remove(s, (const char *const *)all.at, all.n, err));
    StrList left AUTO(str_list_release) = {0};
    expect_ok(dir_list(dir, &left, err));
    assert_int_equal(left.n, 0);
}

/* --- durable, in the right order --- */

static ino_t ino_of(const char *dir, const char *name)
{
    struct stat st;
    char *path AUTO(mem_freep) = path_join(dir, name);
    assert_int_equal(stat(path, &st), 0);
    return st.st_ino;
}

/* Where an event stands in the record, from 1; 0: nowhere. The last one counts. */
static unsigned event_at(ShimCall call, ino_t ino)
{
    for (unsigned i = shim.n_events; i > 0; i--)
        if (shim.events[i - 1].call == call && (!ino || shim.events[i - 1].ino == ino))
            return i;
    return 0;
}

static unsigned file_sync_at(void)
{
    for (unsigned i = shim.n_events; i > 0; i--)
        if (shim.events[i - 1].call == SHIM_FSYNC && !shim.events[i - 1].is_dir)
            return i;
    return 0;
}

static void record_put(Storage *s, const char *name, StoragePutFlags flags, ErrCode want)
{
    Err e = {0};
    shim.n_events = 0;
    shim.record = true;
    ErrCode rc = put_content(s, name, 100, 1, flags, &e);
    shim.record = false;
    assert_int_equal(rc, want);
}

/* The file, then the name, then the directory; and no file is made durable under its name. */
static void expect_order(const char *dir, const char *in, ShimCall naming)
{
    unsigned name = event_at(naming, ino_of(dir, in));
    assert_true(file_sync_at() > 0 && file_sync_at() < name);
    assert_true(event_at(SHIM_FSYNC, ino_of(dir, in)) > name);
}

/* Whether a directory is marked as durable; `remove`: takes that away. */
static bool unmark(const char *dir, const char *name, bool remove)
{
    char *path AUTO(mem_freep) = path_join(dir, name), value;
    bool marked = getxattr(path, "user.pgdr.durable", &value, 1) == 1;
    if (remove)
        assert_int_equal(removexattr(path, "user.pgdr.durable"), 0);
    return marked;
}

/* A file system without extended attributes has no marks; one with them must have them. */
static void marks_what_is_durable(void **state)
{
    const char *dir = *state;
    char *probe AUTO(mem_freep) = path_join(dir, "probe");
    assert_int_equal(mkdir(probe, 0700), 0);
    if (setxattr(probe, "user.test", "1", 1, 0) != 0)
        skip();
    Storage *s AUTO(storage_freep) = open_in(dir);
    expect_ok(put_content(s, "probe/a/object", 1, 1, STORAGE_CREATE, err));
    assert_true(unmark(dir, "probe", false) && unmark(dir, "probe/a", false));

    /* Not before its fsync is done, and not where that cannot be done. */
    Err why = {0};
    Storage *second AUTO(storage_freep) = open_in(dir);
    shim_arm(SHIM_FSYNC, 1, SHIM_FAIL, EIO);
    assert_int_equal(put_content(second, "other/object", 1, 1, STORAGE_CREATE, &why), ERR_IO);
    shim_disarm();
    assert_false(unmark(dir, "other", false));
    Storage *third AUTO(storage_freep) = open_in(dir);
    shim.no_dir_fsync = true;
    expect_ok(put_content(third, "other/object", 1, 1, STORAGE_CREATE, err));
    assert_false(unmark(dir, "other", false));
}

static void order_of_publishing(void **state)
{
    const char *dir = *state;
    for (Way way = 0; way < WAYS; way++) {
        char made[32], above[32], name[64];
        snprintf(made, sizeof(made), "w%d/b", way);
        snprintf(above, sizeof(above), "w%d", way);
        snprintf(name, sizeof(name), "%s/object", made);
        choose_way(way);
        ShimCall naming = way == RENAMED ? SHIM_RENAME : SHIM_LINK;
        Storage *s AUTO(storage_freep) = open_in(dir);
        /* Directories that are made: each durable in its parent before the object is "stored". */
        record_put(s, name, STORAGE_CREATE, ERR_OK);
        expect_order(dir, made, naming);
        assert_true(event_at(SHIM_FSYNC, ino_of(dir, "")) > event_at(SHIM_MKDIR, ino_of(dir, "")));
        assert_true(event_at(SHIM_FSYNC, ino_of(dir, above)) >
                    event_at(SHIM_MKDIR, ino_of(dir, above)));

        /* Directories that are there, marked by who made them durable: only the object's own. */
        if (unmark(dir, above, false) && unmark(dir, made, false)) {
            Storage *next AUTO(storage_freep) = open_in(dir);
            record_put(next, name, STORAGE_CREATE, ERR_EXISTS);
            assert_int_equal(event_at(SHIM_FSYNC, ino_of(dir, "")), 0);
            assert_int_equal(event_at(SHIM_FSYNC, ino_of(dir, above)), 0);
            assert_true(event_at(SHIM_FSYNC, ino_of(dir, made)) > 0);
            unmark(dir, above, true);
            unmark(dir, made, true);
        }

        /* Those made by who knows whom and when: as if they were made now. */
        Storage *other AUTO(storage_freep) = open_in(dir);
        record_put(other, name, STORAGE_CREATE, ERR_EXISTS);
        assert_true(event_at(SHIM_FSYNC, ino_of(dir, "")) > 0);
        assert_true(event_at(SHIM_FSYNC, ino_of(dir, above)) > 0);
        assert_true(event_at(SHIM_FSYNC, ino_of(dir, made)) > 0);

        /* Once that is proven: one fsync of the file and one of the directory. */
        record_put(other, name, STORAGE_OVERWRITE, ERR_OK);
        expect_order(dir, made, SHIM_RENAME);
        unsigned syncs = 0;
        for (unsigned i = 0; i < shim.n_events; i++)
            syncs += shim.events[i].call == SHIM_FSYNC;
        assert_int_equal(syncs, 2);
    }
}

static void order_of_removing(void **state)
{
    const char *dir = *state, *names[] = {"x/y/1", "x/y/2", "x/3", "z/gone"};
    Storage *s AUTO(storage_freep) = open_in(dir);
    for (size_t i = 0; i < 3; i++)
        expect_ok(put_content(s, names[i], 1, 1, STORAGE_CREATE, err));
    ino_t y = ino_of(dir, "x/y"), x = ino_of(dir, "x"), root = ino_of(dir, "");
    shim.n_events = 0;
    shim.record = true;
    expect_ok(storage_remove(s, names, ARRAY_LEN(names), err));
    shim.record = false;
    unsigned syncs = 0, first = 0;
    for (unsigned i = 0; i < shim.n_events; i++) {
        syncs += shim.events[i].call == SHIM_FSYNC;
        first = syncs == 1 && !first ? i : first;
    }
    /* Three names, then the two directories and what is left above the one that is not there, then
     * the emptied directories. */
    assert_int_equal(syncs, 3);
    assert_true(event_at(SHIM_FSYNC, y) && event_at(SHIM_FSYNC, x) && event_at(SHIM_FSYNC, root));
    assert_true(first >= 4 && event_at(SHIM_UNLINK, root) > event_at(SHIM_FSYNC, 0));
    StrList left AUTO(str_list_release) = {0};
    expect_ok(dir_list(dir, &left, err));
    assert_int_equal(left.n, 0);
}

/* --- the page cache --- */

static size_t pages_cached(const char *dir, const char *name, size_t len)
{
    char *path AUTO(mem_freep) = path_join(dir, name);
    int fd AUTO(fd_closep) = open(path, O_RDONLY);
    unsigned char *cached AUTO(mem_freep) = mem_zero(len / 4096 + 1);
    void *map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED && mincore(map, len, cached) == 0);
    munmap(map, len);
    size_t n = 0;
    for (size_t i = 0; i < align_up(len, 4096) / 4096; i++)
        n += cached[i] & 1;
    return n;
}

/* On a disk; a tmpfs is nothing but page cache. */
static void large_objects_pass_it_by(void **state)
{
    (void)state;
    const size_t len = 5 * MIB + 5000;
    char *dir AUTO(mem_freep) = scratch_make(".");
    uint8_t *data AUTO(mem_freep) = content_new(len + 1, 1);
    Storage *s AUTO(storage_freep) = open_in(dir);
    if (!scratch_is_disk(dir)) {
        expect_ok(dir_remove_tree(dir, false, err));
        print_message("SKIP: the build directory is on a tmpfs\n");
        skip();
    }
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof(name), "cache/%d", i);
        shim = (Shim){.no_direct_flag = i == 2};
        /* Aligned, not aligned, and where there is no O_DIRECT. */
        expect_ok(storage_put_bytes(s, name, data + (i == 1), len, STORAGE_CREATE, err));
        assert_int_equal(shim.bytes_direct, i == 2 ? 0 : 5 * MIB + 4096);
        assert_int_equal(shim.bytes_buffered, i == 2 ? len : 904);
        assert_true(pages_cached(dir, name, len) < 16);
        StorageRead read = {.len = len, .data = mem_new(len)};
        expect_ok(storage_get(s, name, &read, err));
        assert_memory_equal(read.data, data + (i == 1), len);
        free(read.data);
        assert_true(pages_cached(dir, name, len) < 16);
    }
    shim = (Shim){0};
    expect_ok(put_content(s, "cache/small", MIB - 1, 1, STORAGE_CREATE, err));
    assert_int_equal(shim.bytes_direct, 0);
    expect_ok(dir_remove_tree(dir, false, err));
}

/* --- file systems that lack something --- */

typedef struct Lacking {
    const char *name;
    Shim lacks;
} Lacking;

static const Lacking lackings[] = {
    {"posix without O_TMPFILE, O_DIRECT and d_type",
     {.no_unnamed = true, .no_direct_flag = true, .no_types = true}},
    {"posix without hard links, writing short",
     {.no_unnamed = true, .no_link = true, .short_writes = true}},
    {"posix without links of unnamed files, direct writes and fsync of directories",
     {.no_unnamed_link = true, .no_direct_write = true, .no_dir_fsync = true}},
};

#define FAULT_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

static int run_lacking(void)
{
    int failed = 0;
    Scratch scratch = {.where = where};
    for (size_t i = 0; i < ARRAY_LEN(lackings); i++) {
        const Conformance c = {.name = lackings[i].name,
                               .open = scratch_open,
                               .clean = scratch_clean,
                               .arg = &scratch,
                               .many = 1000,
                               .rounds = 10};
        shim = lackings[i].lacks;
        failed += conformance_run(&c);
    }
    return failed;
}

int main(void)
{
    where = scratch_tmpfs() ? scratch_tmpfs() : ".";
    /* What forks comes first: a process that has used much memory does so slowly. */
    const struct CMUnitTest tests[] = {
        FAULT_TEST(killed_anywhere),     FAULT_TEST(put_fails_anywhere),
        FAULT_TEST(put_loses_an_answer), FAULT_TEST(put_writes_short),
        FAULT_TEST(resent_calls),        FAULT_TEST(taken_at_the_last_moment),
        FAULT_TEST(retry_helps),         FAULT_TEST(others_fail_anywhere),
        FAULT_TEST(no_way_to_publish),   FAULT_TEST(absence_is_asked_afresh),
        FAULT_TEST(order_of_publishing), FAULT_TEST(marks_what_is_durable),
        FAULT_TEST(order_of_removing),   FAULT_TEST(large_objects_pass_it_by),
    };
    int failed = cmocka_run_group_tests_name("posix with faults", tests, NULL, NULL);
    return failed + run_lacking();
}
