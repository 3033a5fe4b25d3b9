/* The posix driver without rights and without room: what it says, and that it leaves nothing. */

#include "tests/storage/child.h"
#include "tests/storage/scratch.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "lib/common/file.h"
#include "lib/storage/drivers.h"

/* A directory that others may enter, too. */
static int setup(void **state)
{
    const char *where = scratch_tmpfs();
    char *dir = scratch_make(where ? where : "/tmp");
    *state = dir;
    return chmod(dir, 0755);
}

static int teardown(void **state)
{
    char *dir AUTO(mem_freep) = *state;
    Err err;
    return dir_remove_tree(dir, false, &err) == ERR_OK ? 0 : -1;
}

/* --- rights --- */

static void wrong_owner_child(Job *job)
{
    const char *dir = job->shared, *gone = "a/b";
    Storage *s AUTO(storage_freep) = NULL;
    TimeUs now;
    JOB_OK(job, storage_posix_new(&s, dir, false, err));
    JOB_ERR(job, ERR_ACCESS, dir, "chown -R", put_content(s, "x/y", 1, 1, STORAGE_CREATE, err));
    JOB_ERR(job, ERR_ACCESS, "belongs to root", "run pgdr as root",
            put_content(s, "x", 1, 1, STORAGE_CREATE, err));
    JOB_ERR(job, ERR_ACCESS, "pgdr runs as nobody", "run pgdr as root",
            put_content(s, "a/c", 2 * MIB, 1, STORAGE_OVERWRITE, err));
    JOB_ERR(job, ERR_ACCESS, "a/b", "chown -R nobody", storage_remove(s, &gone, 1, err));
    JOB_ERR(job, ERR_ACCESS, "belongs to root", "chown -R", storage_now(s, &now, err));
    Storage *none = NULL;
    char *new AUTO(mem_freep) = path_join(dir, "new/repo");
    JOB_ERR(job, ERR_ACCESS, dir, "install -d -o nobody", storage_posix_new(&none, new, true, err));
}

static void wrong_owner_drop(Job *job)
{
    if (child_drop_rights())
        wrong_owner_child(job);
    else
        snprintf(job->failure, sizeof(job->failure), "SKIP: only root can play another user");
}

static void wrong_owner(void **state)
{
    Storage *s AUTO(storage_freep) = NULL;
    mode_t old = umask(0);
    expect_ok(storage_posix_new(&s, *state, false, err));
    expect_ok(put_content(s, "a/b", 1, 1, STORAGE_CREATE, err));
    char *a AUTO(mem_freep) = path_join(*state, "a");
    assert_int_equal(chmod(a, 0755), 0);
    umask(old);
    run_child(wrong_owner_drop, *state);
}

/* --- root in somebody else's repository --- */

#define OTHER 65534

static void assert_owner(const char *dir, const char *name)
{
    struct stat st;
    char *path AUTO(mem_freep) = path_join(dir, name);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_uid, OTHER);
    assert_int_equal(st.st_gid, OTHER);
}

static void root_gives_to_the_owner(void **state)
{
    if (geteuid() != 0)
        skip();
    Storage *s AUTO(storage_freep) = NULL;
    assert_int_equal(chown(*state, OTHER, OTHER), 0);
    expect_ok(storage_posix_new(&s, *state, false, err));
    expect_ok(put_content(s, "new/dir/object", 1, 1, STORAGE_CREATE, err));
    expect_ok(put_content(s, "new/other", 1, 1, STORAGE_OVERWRITE, err));
    assert_owner(*state, "new");
    assert_owner(*state, "new/dir");
    assert_owner(*state, "new/dir/object");
    assert_owner(*state, "new/other");
}

static void read_only_dir_child(Job *job)
{
    Storage *s AUTO(storage_freep) = NULL, *t AUTO(storage_freep) = NULL;
    StorageRead read = {0};
    StrList names AUTO(str_list_release) = {0};
    char *dir AUTO(mem_freep) = path_join(job->shared, "mine");
    char *a AUTO(mem_freep) = path_join(dir, "a"), *object AUTO(mem_freep) = path_join(dir, "a/b");
    child_drop_rights();
    JOB_OK(job, storage_posix_new(&s, dir, true, err));
    JOB_OK(job, put_content(s, "a/b", 1, 1, STORAGE_CREATE, err));
    JOB_TRUE(job, chmod(a, 0500) == 0);
    JOB_ERR(job, ERR_ACCESS, "/mine/a' belongs to", "chmod u+rwX",
            put_content(s, "a/c", 1, 1, STORAGE_CREATE, err));
    JOB_ERR(job, ERR_ACCESS, "mode 0500", "chmod u+rwX",
            put_content(s, "a/c/d", 1, 1, STORAGE_OVERWRITE, err));
    JOB_TRUE(job, chmod(object, 0) == 0);
    JOB_ERR(job, ERR_ACCESS, "/mine/a/b' belongs to", "chmod u+rwX",
            storage_get(s, "a/b", &read, err));
    JOB_TRUE(job, chmod(a, 0) == 0);
    JOB_ERR(job, ERR_ACCESS, "/mine/a'", "chmod u+rwX",
            storage_list_names(s, "", false, &names, err));
    JOB_TRUE(job, names.n == 0);
    JOB_TRUE(job, chmod(dir, 0) == 0);
    JOB_ERR(job, ERR_ACCESS, "mode 0000", "chmod u+rwX", storage_posix_new(&t, dir, false, err));
    JOB_TRUE(job, chmod(dir, 0700) == 0 && chmod(a, 0700) == 0);
    JOB_OK(job, storage_list_names(s, "", false, &names, err));
    JOB_TRUE(job, names.n == 1);
}

static void read_only_dir(void **state)
{
    assert_int_equal(chmod(*state, 0777), 0);
    run_child(read_only_dir_child, *state);
}

/* At the top of an ext4 file system; nobody but root may look into it. */
static void lost_found_child(Job *job)
{
    Storage *s AUTO(storage_freep) = NULL;
    StrList names AUTO(str_list_release) = {0};
    char *lost AUTO(mem_freep) = path_join(job->shared, "lost+found");
    char *other AUTO(mem_freep) = path_join(job->shared, "other");
    child_drop_rights();
    JOB_OK(job, storage_posix_new(&s, job->shared, false, err));
    JOB_OK(job, put_content(s, "x", 1, 1, STORAGE_CREATE, err));
    JOB_TRUE(job, mkdir(lost, 0) == 0);
    for (int by_level = 0; by_level < 2; by_level++)
        JOB_OK(job, storage_list_names(s, "", by_level, &names, err));
    JOB_TRUE(job, names.n == 2);
    JOB_TRUE(job, mkdir(other, 0) == 0);
    JOB_ERR(job, ERR_ACCESS, "other", "", storage_list_names(s, "", false, &names, err));
    JOB_TRUE(job, chmod(lost, 0700) == 0 && chmod(other, 0700) == 0);
}

static void lost_found(void **state)
{
    assert_int_equal(chmod(*state, 0777), 0);
    run_child(lost_found_child, *state);
}

/* --- room --- */

static unsigned long free_blocks(const char *dir)
{
    struct statvfs fs;
    return statvfs(dir, &fs) == 0 ? fs.f_bfree : 0;
}

static void no_space_child(Job *job)
{
    const char *dir = job->shared;
    if (!child_private_mounts(job))
        return;
    JOB_TRUE(job, mount("none", dir, "tmpfs", 0, "size=4m,nr_inodes=60,mode=755") == 0);
    Storage *s AUTO(storage_freep) = NULL;
    StrList names AUTO(str_list_release) = {0};
    Buf lease AUTO(buf_release) = {0};
    JOB_OK(job, storage_posix_new(&s, dir, false, err));
    JOB_OK(job, put_content(s, "d/lease", 3000, 1, STORAGE_OVERWRITE, err));
    unsigned long before = free_blocks(dir);
    const size_t lens[] = {5 * MIB, 33 * MIB, 4 * MIB + 1};
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        JOB_ERR(job, ERR_NO_SPACE, "d/large", "df -h",
                put_content(s, "d/large", lens[i], 2, STORAGE_CREATE, err));
        JOB_ERR(job, ERR_NO_SPACE, "d/lease", "df -i",
                put_content(s, "d/lease", lens[i], 3, STORAGE_OVERWRITE, err));
        JOB_TRUE(job, free_blocks(dir) == before && scratch_hidden(dir) == 0);
    }
    JOB_OK(job, storage_get_all(s, "d/lease", 3000, &lease, err));
    JOB_TRUE(job, lease.len == 3000 && content_is(lease.data, 3000, 1));

    /* One by one, until room or inodes are used up. */
    Err e = {0};
    unsigned n = 0;
    for (char name[32]; n < 100; n++) {
        snprintf(name, sizeof(name), "d/s%u/%03u", n % 2, n);
        if (put_content(s, name, n < 50 ? 100000 : 0, n, STORAGE_CREATE, &e) != ERR_OK)
            break;
    }
    JOB_TRUE(job, n > 20 && n < 100 && e.code == ERR_NO_SPACE && strstr(e.message, "d/s"));
    JOB_OK(job, storage_list_names(s, "d/s", false, &names, err));
    JOB_TRUE(job, names.n == n);
    JOB_OK(job, storage_remove(s, (const char *const *)names.at, names.n, err));
    JOB_OK(job, put_content(s, "d/again", 2 * MIB, 4, STORAGE_CREATE, err));
}

static void no_space(void **state)
{
    run_child(no_space_child, *state);
}

static void read_only_mount_child(Job *job)
{
    const char *dir = job->shared, *name = "d/x";
    Storage *s AUTO(storage_freep) = NULL, *t AUTO(storage_freep) = NULL;
    TimeUs now;
    Buf got AUTO(buf_release) = {0};
    if (!child_private_mounts(job))
        return;
    JOB_TRUE(job, mount("none", dir, "tmpfs", 0, "size=4m,mode=755") == 0);
    JOB_OK(job, storage_posix_new(&s, dir, false, err));
    JOB_OK(job, put_content(s, "d/x", 10, 1, STORAGE_CREATE, err));
    storage_free(steal_ptr(&s));
    JOB_TRUE(job, mount("none", dir, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
    JOB_OK(job, storage_posix_new(&s, dir, false, err));
    JOB_ERR(job, ERR_ACCESS, "mounted read-only", "remount,rw",
            put_content(s, "d/y", 10, 1, STORAGE_CREATE, err));
    JOB_ERR(job, ERR_ACCESS, "pgdr runs as root", "remount,rw",
            put_content(s, "e/y", 10, 1, STORAGE_CREATE, err));
    JOB_ERR(job, ERR_ACCESS, "d/x", "remount,rw",
            put_content(s, "d/x", 10, 1, STORAGE_OVERWRITE, err));
    JOB_ERR(job, ERR_ACCESS, "d/x", "remount,rw", storage_remove(s, &name, 1, err));
    JOB_ERR(job, ERR_ACCESS, dir, "remount,rw", storage_now(s, &now, err));
    char *new AUTO(mem_freep) = path_join(dir, "new/repo");
    JOB_ERR(job, ERR_ACCESS, "read-only", "remount,rw", storage_posix_new(&t, new, true, err));
    JOB_OK(job, storage_get_all(s, "d/x", 10, &got, err));
    JOB_TRUE(job, content_is(got.data, 10, 1));
}

static void read_only_mount(void **state)
{
    run_child(read_only_mount_child, *state);
}

#define LIMIT_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIMIT_TEST(wrong_owner), LIMIT_TEST(read_only_dir),   LIMIT_TEST(lost_found),
        LIMIT_TEST(no_space),    LIMIT_TEST(read_only_mount), LIMIT_TEST(root_gives_to_the_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
