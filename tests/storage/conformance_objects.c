/* One object at a time: what goes in comes out, whole or by ranges. */

#include "tests/storage/conformance.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "lib/common/file.h"

static const size_t sizes[] = {0,       1,   4095,    4096,           4097,
                               MIB - 1, MIB, MIB + 1, 2 * MIB + 4097, 33 * MIB};

static void expect_absent(Storage *s, const char *name)
{
    StorageStat stat;
    uint8_t byte;
    StorageRead read = {.len = 1, .data = &byte};
    expect_err(ERR_NOT_FOUND, name, storage_stat(s, name, &stat, err));
    expect_err(ERR_NOT_FOUND, name, storage_get(s, name, &read, err));
}

static void round_trip(void **state)
{
    FIXTURE(state);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        char name[64];
        const char *names[] = {name};
        snprintf(name, sizeof(name), "dir/of sizes/%zu", sizes[i]);
        expect_absent(f->s, name);
        expect_ok(put_content(f->s, name, sizes[i], i, STORAGE_CREATE, err));
        expect_content(f->s, name, sizes[i], i);
        expect_names(f->s, &(StorageList){.prefix = ""}, names, 1);
        expect_ok(storage_remove(f->s, names, 1, err));
        expect_absent(f->s, name);
        expect_names(f->s, &(StorageList){.prefix = ""}, NULL, 0);
    }
}

static void expect_range(Storage *s, const uint8_t *whole, size_t size, StorageRead read)
{
    uint8_t *data AUTO(mem_freep) = mem_new(read.len + 1);
    uint64_t off = read.from_end ? size - MIN(size, read.len) : read.off;
    size_t got = off < size ? MIN(read.len, size - (size_t)off) : 0;
    memset(data, 0xA5, read.len + 1);
    read.data = data;
    read.got = 12345;
    if (read.from_end)
        read.off = 999;
    expect_ok(storage_get(s, "ranges", &read, err));
    assert_int_equal(read.size, size);
    assert_int_equal(read.got, got);
    assert_int_equal(read.off, off);
    assert_true(!got || memcmp(data, whole + off, got) == 0);
    assert_int_equal(data[got], 0xA5);
}

static void ranges_of(Storage *s, size_t size)
{
    uint8_t *whole AUTO(mem_freep) = content_new(size, size);
    expect_ok(put_content(s, "ranges", size, size, STORAGE_OVERWRITE, err));
    const uint64_t edges[] = {0,        1,    511,      4095,        4096,      4097,      size / 2,
                              size - 1, size, size + 1, size + 4096, INT64_MAX, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(edges); i++) {
        for (size_t k = 0; k < ARRAY_LEN(edges) - 2; k++) {
            size_t len = (size_t)edges[k];
            if (len > size + 4096)
                continue; /* size - 1 of an empty object */
            expect_range(s, whole, size, (StorageRead){.off = edges[i], .len = len});
            if (i == 0)
                expect_range(s, whole, size, (StorageRead){.from_end = true, .len = len});
        }
    }
}

static void ranges(void **state)
{
    FIXTURE(state);
    ranges_of(f->s, 0);
    ranges_of(f->s, 1);
    ranges_of(f->s, 10000);
    ranges_of(f->s, 2 * MIB + 17);
}

/* The content of `size` bytes cut into parts of the given lengths, repeated. */
static void put_parts(Storage *s, size_t size, const size_t *lens, size_t n_lens)
{
    uint8_t *whole AUTO(mem_freep) = content_new(size, n_lens);
    VEC(Slice) parts = {0};
    for (size_t off = 0, i = 0; off < size; i++) {
        size_t len = MIN(lens[i % n_lens], size - off);
        vec_push(&parts, (Slice){len ? whole + off : NULL, len});
        off += len;
    }
    vec_push(&parts, (Slice){NULL, 0});
    const StorageSource src = {.parts = parts.at, .n = parts.n, .fd = -1, .size = size};
    expect_ok(storage_put(s, "parts", &src, STORAGE_OVERWRITE, err));
    vec_release(&parts);
    expect_content(s, "parts", size, n_lens);
}

static void parts(void **state)
{
    FIXTURE(state);
    put_parts(f->s, 0, (size_t[]){1}, 1);
    put_parts(f->s, 1000, (size_t[]){1, 0, 7}, 3);
    put_parts(f->s, MIB + 77, (size_t[]){1, 4096, 0, 13}, 4);
    put_parts(f->s, 3 * MIB, (size_t[]){65536, 65536, 4096, 65536, 1}, 5);
    put_parts(f->s, 5 * MIB + 1, (size_t[]){MIB, MIB + 4095}, 2);
    put_parts(f->s, 4 * MIB, (size_t[]){MIB - 1, 2, 64 * KIB, 100000, 3, 4096}, 6);
}

static int file_of(size_t len, uint64_t seed)
{
    uint8_t *data AUTO(mem_freep) = content_new(len, seed);
    int fd = memfd_create("source", MFD_CLOEXEC);
    assert_true(fd >= 0);
    expect_ok(file_write(fd, data, len, "source", err));
    return fd;
}

static void from_file(void **state)
{
    FIXTURE(state);
    for (size_t i = 0; sizes[i] < 33 * MIB; i++) {
        /* Where the descriptor stands must not matter: it is at the end. */
        int fd AUTO(fd_closep) = file_of(sizes[i], i);
        const StorageSource src = {.fd = fd, .size = sizes[i]};
        expect_ok(storage_put(f->s, "from/file", &src, STORAGE_OVERWRITE, err));
        expect_content(f->s, "from/file", sizes[i], i);
    }
}

static void from_part_of_file(void **state)
{
    FIXTURE(state);
    int fd AUTO(fd_closep) = file_of(MIB + 5000, 7);
    uint8_t *whole AUTO(mem_freep) = content_new(MIB + 5000, 7);
    Buf got AUTO(buf_release) = {0};
    const StorageSource less = {.fd = fd, .size = MIB + 4999},
                        more = {.fd = fd, .size = MIB + 5001};
    expect_ok(storage_put(f->s, "less", &less, STORAGE_CREATE, err));
    expect_ok(storage_get_all(f->s, "less", 2 * MIB, &got, err));
    assert_int_equal(got.len, MIB + 4999);
    assert_memory_equal(got.data, whole, got.len);

    expect_err(ERR_DAMAGED, "more", storage_put(f->s, "more", &more, STORAGE_CREATE, err));
    expect_absent(f->s, "more");
    const char *names[] = {"less"};
    expect_names(f->s, &(StorageList){.prefix = ""}, names, 1);
}

static void wrong_source(void **state)
{
    FIXTURE(state);
    const Slice part = {"abc", 3};
    const StorageSource wrong = {.parts = &part, .n = 1, .fd = -1, .size = 4};
    const StorageSource none = {.fd = -1, .size = 4};
    expect_err(ERR_INTERNAL, "wrong", storage_put(f->s, "wrong", &wrong, STORAGE_CREATE, err));
    expect_err(ERR_INTERNAL, "wrong", storage_put(f->s, "wrong", &none, STORAGE_CREATE, err));
    expect_names(f->s, &(StorageList){.prefix = ""}, NULL, 0);
}

static void put_existing(void **state)
{
    FIXTURE(state);
    const size_t lens[] = {10, 5000, MIB + 3, 0, 10};
    expect_ok(put_content(f->s, "there", lens[0], 0, STORAGE_CREATE, err));
    for (size_t i = 1; i < ARRAY_LEN(lens); i++) {
        if (f->c->replaces_silently) {
            expect_ok(put_content(f->s, "there", lens[i], i, STORAGE_CREATE, err));
            expect_content(f->s, "there", lens[i], i);
        } else {
            expect_err(ERR_EXISTS, "there",
                       put_content(f->s, "there", lens[i], i, STORAGE_CREATE, err));
            expect_content(f->s, "there", lens[0], 0);
        }
    }
    const char *names[] = {"there"};
    expect_names(f->s, &(StorageList){.prefix = ""}, names, 1);
}

static void overwrite(void **state)
{
    FIXTURE(state);
    const size_t lens[] = {10, 5000, MIB + 3, 0, 10, 10};
    char etag[STORAGE_ETAG_LEN] = "";
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        StorageStat stat;
        expect_ok(put_content(f->s, "leases/one", lens[i], i, STORAGE_OVERWRITE, err));
        expect_content(f->s, "leases/one", lens[i], i);
        expect_ok(storage_stat(f->s, "leases/one", &stat, err));
        assert_true(!stat.etag[0] || strcmp(etag, stat.etag) != 0);
        memcpy(etag, stat.etag, sizeof(etag));
    }
    const char *names[] = {"leases/one"};
    expect_names(f->s, &(StorageList){.prefix = ""}, names, 1);
}

static void absent(void **state)
{
    FIXTURE(state);
    expect_absent(f->s, "a");
    expect_absent(f->s, "a/b/c");
    expect_ok(put_content(f->s, "a/b/c", 10, 1, STORAGE_CREATE, err));
    expect_absent(f->s, "a");
    expect_absent(f->s, "a/b");
    expect_absent(f->s, "a/b/d");
    expect_absent(f->s, "a/b/c/d");
    expect_absent(f->s, "a/B/c");
}

static void remove_some(void **state)
{
    FIXTURE(state);
    const char *const all[] = {"a/b/c", "a/b/d", "a/e", "f", "g/h"};
    const char *const gone[] = {"a/b/c",   "nowhere", "a/b/c", "no/where", "f",
                                "a/b/c/x", "a/b",     "g",     "a/b/d"};
    const char *const left[] = {"a/e", "g/h"}, *const level[] = {"a/", "g/"};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        expect_ok(put_content(f->s, all[i], 10, i, STORAGE_CREATE, err));
    expect_ok(storage_remove(f->s, NULL, 0, err));
    expect_names(f->s, &(StorageList){.prefix = ""}, all, ARRAY_LEN(all));
    expect_ok(storage_remove(f->s, gone, ARRAY_LEN(gone), err));
    expect_names(f->s, &(StorageList){.prefix = ""}, left, ARRAY_LEN(left));
    expect_names(f->s, &(StorageList){.prefix = "", .by_level = true}, level, ARRAY_LEN(level));
    expect_names(f->s, &(StorageList){.prefix = "a/", .by_level = true}, left, 1);
    expect_ok(put_content(f->s, "a/b/c", 20, 9, STORAGE_CREATE, err));
    expect_content(f->s, "a/b/c", 20, 9);
    expect_content(f->s, "a/e", 10, 2);
}

/* Every second name is all that differs from its neighbour in case, Unicode form or an escape. */
static const char *const odd_names[] = {
    "odd/ leading",
    "odd/trailing ",
    "odd/two  blanks",
    "odd/a b",
    "odd/a+b",
    "odd/a%20b",
    "odd/a%2520b",
    "odd/a%2Fb",
    "odd/a%2fb",
    "odd/%",
    "odd/%%",
    "odd/&amp;",
    "odd/&",
    "odd/a&b=c",
    "odd/?x=1",
    "odd/#x",
    "odd/'quote'",
    "odd/\"double\"",
    "odd/back\\slash",
    "odd/a\\",
    "odd/<x>",
    "odd/a:b",
    "odd/a;b",
    "odd/a,b",
    "odd/a=b",
    "odd/a@b",
    "odd/$HOME",
    "odd/`id`",
    "odd/*",
    "odd/|",
    "odd/~",
    "odd/-rf",
    "odd/--",
    "odd/x.",
    "odd/x..",
    "odd/x...y",
    "odd/x.tmp",
    "odd/Case",
    "odd/case",
    "odd/CASE",
    "odd/\xC3\xA9",
    "odd/e\xCC\x81",
    "odd/\xE2\x82\xAC",
    "odd/\xF0\x9F\x90\x98",
    "odd/[x]",
    "odd/{x}",
    "odd/^",
    "odd/(x)",
    "odd/!",
    "odd/a/b c/d",
};

static void names_odd(void **state)
{
    FIXTURE(state);
    StrList names AUTO(str_list_release) = {0};
    for (size_t i = 0; i < ARRAY_LEN(odd_names); i++)
        vec_push(&names, mem_strdup(odd_names[i]));
    char part[256], whole[STORAGE_NAME_MAX + 1];
    memset(part, 'x', 255);
    part[255] = '\0';
    vec_push(&names, mem_printf("odd/%s/%s", part, part));
    for (size_t i = 0; i < STORAGE_NAME_MAX; i++)
        whole[i] = i % 256 == 255 ? '/' : 'x';
    whole[STORAGE_NAME_MAX] = '\0';
    vec_push(&names, mem_strdup(whole));
    str_list_sort(&names);

    for (size_t i = 0; i < names.n; i++)
        expect_ok(put_content(f->s, names.at[i], 100 + i, i, STORAGE_CREATE, err));
    const char *const *all = (const char *const *)names.at;
    expect_names(f->s, &(StorageList){.prefix = ""}, all, names.n);
    for (size_t i = 0; i < names.n; i++) {
        StorageList list = {.prefix = names.at[i]};
        StrList want AUTO(str_list_release) = list_reference(names.at, names.n, &list);
        expect_names(f->s, &list, (const char *const *)want.at, want.n);
        expect_content(f->s, names.at[i], 100 + i, i);
    }
    for (size_t i = 0; i < names.n; i += 2)
        expect_ok(storage_remove(f->s, all + i, 1, err));
    for (size_t i = 1; i < names.n; i += 2)
        expect_content(f->s, names.at[i], 100 + i, i);
    expect_ok(storage_remove(f->s, all, names.n, err));
    expect_names(f->s, &(StorageList){.prefix = ""}, NULL, 0);
}

static void expect_refused(Storage *s, const char *name)
{
    StorageStat stat;
    StorageRead read = {0};
    expect_err(ERR_USAGE, "name", put_content(s, name, 1, 1, STORAGE_CREATE, err));
    expect_err(ERR_USAGE, "name", storage_get(s, name, &read, err));
    expect_err(ERR_USAGE, "name", storage_stat(s, name, &stat, err));
    expect_err(ERR_USAGE, "name", storage_remove(s, &name, 1, err));
}

static void names_refused(void **state)
{
    FIXTURE(state);
    static const char *const bad[] = {
        "",    "/",   "/a",      "a/",     "a//b", ".",      "..",   "../a",  "a/..", "a/../b",
        "./a", "a/.", ".hidden", "a/.x/b", "a\nb", "a/\x01", "\x7f", "a\x1f", "a//"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect_refused(f->s, bad[i]);
    char part[257], whole[STORAGE_NAME_MAX + 2];
    memset(part, 'x', 256);
    part[256] = '\0';
    expect_refused(f->s, part);
    for (size_t i = 0; i < STORAGE_NAME_MAX + 1; i++)
        whole[i] = i % 100 == 99 ? '/' : 'y';
    whole[STORAGE_NAME_MAX + 1] = '\0';
    expect_refused(f->s, whole);

    static const char *const bad_prefixes[] = {"/", "a//", "..", "a/../", "a/.", ".", "\n"};
    for (size_t i = 0; i < ARRAY_LEN(bad_prefixes); i++) {
        StrList got AUTO(str_list_release) = {0};
        expect_err(ERR_USAGE, "name", storage_list_names(f->s, bad_prefixes[i], false, &got, err));
    }
}

static void names_nested(void **state)
{
    FIXTURE(state);
    if (f->c->names_nest) {
        expect_ok(put_content(f->s, "n/x", 10, 1, STORAGE_CREATE, err));
        expect_ok(put_content(f->s, "n", 20, 2, STORAGE_CREATE, err));
        expect_content(f->s, "n", 20, 2);
    } else {
        expect_ok(put_content(f->s, "n/x", 10, 1, STORAGE_CREATE, err));
        expect_err(ERR_EXISTS, "n", put_content(f->s, "n", 20, 2, STORAGE_CREATE, err));
        expect_err(ERR_EXISTS, "n", put_content(f->s, "n", 20, 2, STORAGE_OVERWRITE, err));
        expect_ok(put_content(f->s, "m", 10, 1, STORAGE_CREATE, err));
        expect_err(ERR_EXISTS, "m", put_content(f->s, "m/x", 10, 2, STORAGE_CREATE, err));
        expect_err(ERR_EXISTS, "m", put_content(f->s, "m/x/y", 10, 2, STORAGE_OVERWRITE, err));
        expect_content(f->s, "m", 10, 1);
        const char *names[] = {"m", "n/x"};
        expect_names(f->s, &(StorageList){.prefix = ""}, names, 2);
    }
    expect_content(f->s, "n/x", 10, 1);
}

static ErrCode check_same_stat(void *arg, const StorageEntry *entry, Err *err)
{
    StorageStat stat;
    TRY(storage_stat(arg, entry->name, &stat, err));
    if (stat.size != entry->stat.size || stat.mtime != entry->stat.mtime ||
        strcmp(stat.etag, entry->stat.etag) != 0)
        return err_set(err, ERR_INTERNAL, "'%s' listed with another status", entry->name);
    return ERR_OK;
}

static void times(void **state)
{
    FIXTURE(state);
    TimeUs before, after, last = 0;
    for (unsigned i = 0; i < 20; i++) {
        StorageStat stat;
        char name[32];
        snprintf(name, sizeof(name), "times/%u", i);
        expect_ok(storage_now(f->s, &before, err));
        expect_ok(put_content(f->s, name, i * 1000, i, STORAGE_CREATE, err));
        expect_ok(storage_stat(f->s, name, &stat, err));
        expect_ok(storage_now(f->s, &after, err));
        const TimeUs slack = f->c->slack;
        assert_true(last <= before + slack);
        assert_true(before <= stat.mtime + slack);
        assert_true(stat.mtime <= after + slack);
        last = after;
    }
    assert_true(last > 1600000000 * US_PER_SECOND);
    const StorageList list = {.prefix = "", .want_stat = true, .fn = check_same_stat, .arg = f->s};
    expect_ok(storage_list(f->s, &list, err));
    /* What asks for the time leaves nothing behind. */
    StrList names AUTO(str_list_release) = {0};
    expect_ok(storage_list_names(f->s, "", true, &names, err));
    assert_int_equal(names.n, 1);
}

static void get_all_limit(void **state)
{
    FIXTURE(state);
    const size_t lens[] = {0, 1, 1000, STORAGE_FIRST_READ, STORAGE_FIRST_READ + 1, MIB};
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        Buf out AUTO(buf_release) = {0};
        buf_append_str(&out, "before");
        expect_ok(put_content(f->s, "limit", lens[i], i, STORAGE_OVERWRITE, err));
        if (lens[i])
            expect_err(ERR_LIMIT, "limit", storage_get_all(f->s, "limit", lens[i] - 1, &out, err));
        assert_int_equal(out.len, 6);
        expect_ok(storage_get_all(f->s, "limit", lens[i], &out, err));
        assert_int_equal(out.len, 6 + lens[i]);
        assert_memory_equal(out.data, "before", 6);
        assert_true(content_is(out.data + 6, lens[i], i));
    }
}

static void errors_say_where(void **state)
{
    FIXTURE(state);
    StorageRead read = {0};
    StorageStat stat;
    expect_err(ERR_NOT_FOUND, f->s->url, storage_get(f->s, "some/where", &read, err));
    expect_err(ERR_NOT_FOUND, f->s->url, storage_stat(f->s, "some/where", &stat, err));
    expect_err(ERR_NOT_FOUND, "some/where", storage_get(f->s, "some/where", &read, err));
    if (f->c->replaces_silently)
        return;
    expect_ok(put_content(f->s, "some/where", 1, 1, STORAGE_CREATE, err));
    expect_err(ERR_EXISTS, f->s->url, put_content(f->s, "some/where", 1, 1, STORAGE_CREATE, err));
}

const struct CMUnitTest conformance_objects[] = {
    cmocka_unit_test(round_trip),
    cmocka_unit_test(ranges),
    cmocka_unit_test(parts),
    cmocka_unit_test(from_file),
    cmocka_unit_test(from_part_of_file),
    cmocka_unit_test(wrong_source),
    cmocka_unit_test(put_existing),
    cmocka_unit_test(overwrite),
    cmocka_unit_test(absent),
    cmocka_unit_test(remove_some),
    cmocka_unit_test(names_odd),
    cmocka_unit_test(names_refused),
    cmocka_unit_test(names_nested),
    cmocka_unit_test(times),
    cmocka_unit_test(get_all_limit),
    cmocka_unit_test(errors_say_where),
    {0},
};
