/* What verify finds in WAL, and what it says that costs: nothing in what failovers, clones and
 * restores leave behind; each loss once; damage of every kind of object. */

#include "tests/unit/wal_archive.h"
#include "verify/checker.h"

typedef struct Scene {
    Archive archive;
    BackupList list;
    VerifySpec spec;
    VerifyResult result;
    Buf found; /* a line a finding */
} Scene;

static void scene_open(Scene *s)
{
    *s = (Scene){.spec = {.jobs = 2}};
    archive_open(&s->archive);
}

static void scene_release(Scene *s)
{
    backup_list_release(&s->list);
    buf_release(&s->found);
    archive_close(&s->archive);
}

#define SCENE(s)                                                                                   \
    Scene s AUTO(scene_release);                                                                   \
    scene_open(&s)

/* "FILE: problem [#1 #2] {timeline 1: …; timeline 2: …}": digests and what lies before the file's
 * name are left out, and backups are the last digit of their ids. */
static void note(void *arg, const VerifyFinding *f)
{
    Scene *s = arg;
    const char *slash = strrchr(f->object, '/'), *object = slash ? slash + 1 : f->object;
    size_t len = strlen(object);
    bool digest = len > 33 && object[len - 33] == '-' && strncmp(object, "0000", 4) == 0;
    buf_printf(&s->found, "%s%.*s: %s", f->warning ? "warning: " : "",
               (int)(digest ? len - 33 : len), object, f->problem);
    for (size_t i = 0; f->backups && i < f->backups->n; i++)
        buf_printf(&s->found, "%s#%c%s", i ? " " : " [", f->backups->at[i][BACKUP_ID_LEN - 1],
                   i + 1 == f->backups->n ? "]" : "");
    for (size_t i = 0; f->windows && i < f->windows->n; i++)
        buf_printf(&s->found, "%s%s%s", i ? "; " : " {", f->windows->at[i],
                   i + 1 == f->windows->n ? "}" : "");
    buf_append_str(&s->found, "\n");
}

static void verify(Scene *s)
{
    Checker c = {.spec = &s->spec, .repo = s->archive.repo};
    s->found.len = 0;
    s->spec.repo = s->archive.repo;
    s->spec.found = note;
    s->spec.arg = s;
    pthread_mutex_init(&c.lock, NULL);
    for (size_t i = 0; i < backup_count(&s->list); i++)
        if (!s->spec.backup_id || strcmp(backup_at(&s->list, i)->id, s->spec.backup_id) == 0)
            vec_push(&c.backups, (CheckedBackup){.summary = backup_at(&s->list, i)});
    expect_ok(check_wal(&c, err));
    if (!s->spec.fast && !s->spec.backup_id)
        expect_ok(check_rest(&c, err));
    s->result = c.result;
    vec_release(&c.backups);
    str_list_release(&c.others);
    str_list_release(&c.other_folders);
    pthread_mutex_destroy(&c.lock);
}

#define EXPECT(s, ...)                                                                             \
    do {                                                                                           \
        char *want_ AUTO(mem_freep) = mem_printf(__VA_ARGS__);                                     \
        verify(s);                                                                                 \
        assert_string_equal((s)->found.len ? buf_str(&(s)->found) : "", want_);                    \
    } while (0)

#define EXPECT_NOTHING(s) EXPECT(s, "%s", "")

static void backup(Scene *s, uint32_t tli, Lsn start, Lsn stop)
{
    archive_backup(&s->archive, &s->list, tli, start, stop);
}

static void segments(Scene *s, uint32_t tli, const WalBuild *b, uint64_t first, uint64_t last)
{
    for (uint64_t i = first; i <= last; i++)
        archive_segment(&s->archive, tli, b, i, 0);
}

/* --- objects of a file --- */

static char *object_of(Scene *s, const char *file)
{
    WalFoundList found = {0};
    expect_ok(wal_find(&s->archive.store, file, &found, err));
    assert_int_equal(found.n, 1);
    char *name AUTO(mem_freep) = wal_object_name(&s->archive.store, file, found.at[0].digest);
    vec_release(&found);
    return repo_full_name(s->archive.repo, name);
}

static void flip(Scene *s, const char *full, size_t from_end)
{
    Buf bytes AUTO(buf_release) = {0};
    Storage *storage = s->archive.repo->storage;
    expect_ok(storage_get_all(storage, full, 64 * MIB, &bytes, err));
    bytes.data[bytes.len - from_end] ^= 1;
    expect_ok(storage_put_bytes(storage, full, bytes.data, bytes.len, STORAGE_OVERWRITE, err));
}

static void flip_file(Scene *s, const char *file)
{
    char *full AUTO(mem_freep) = object_of(s, file);
    flip(s, full, 140); /* the end of its table: what tells about the content, not the content */
}

static void lose(Scene *s, const char *file)
{
    char *full AUTO(mem_freep) = object_of(s, file);
    const char *one = full;
    expect_ok(storage_remove(s->archive.repo->storage, &one, 1, err));
}

/* --- two lives --- */

/* Timeline 1 from segment 2 to 7; timeline 2 leaves it in the half of 4 and goes on to 5. */
typedef struct Lives {
    WalBuild one, two;
    Lsn fork;
} Lives;

static void lives_init(Lives *l)
{
    build_init(&l->one, 15, AT(2, 0), 6);
    build_fill(&l->one, AT(4, BUILD_SEG / 2));
    l->fork = l->one.at;
    build_fork(&l->two, &l->one, 2);
    build_commit(&l->one, 30);
    build_fill(&l->one, AT(8, 0));
    build_commit(&l->two, 50);
    build_fill(&l->two, AT(6, 0));
}

static void lives_release(Lives *l)
{
    build_release(&l->one);
    build_release(&l->two);
}

#define LIVES(l)                                                                                   \
    Lives l AUTO(lives_release);                                                                   \
    lives_init(&l)

static void history(Scene *s, uint32_t tli, Lsn fork)
{
    char text[64];
    snprintf(text, sizeof(text), "1\t" LSN_FMT "\tno reason\n", LSN_ARG(fork));
    archive_history(&s->archive, tli, text);
}

/* Restored in place: both lives are there, each with a backup, the first one with two. */
static void older_future(Scene *s, const Lives *l)
{
    segments(s, 1, &l->one, 2, 7);
    segments(s, 2, &l->two, 4, 5);
    history(s, 2, l->fork);
    backup(s, 1, AT(2, 40), AT(2, 9000));
    backup(s, 1, AT(6, 40), AT(6, 9000));
    backup(s, 2, AT(5, 40), AT(5, 9000));
}

/* --- no findings --- */

static void usual_ends(void **state)
{
    (void)state;
    LIVES(l);
    { /* nothing at all */
        SCENE(s);
        EXPECT_NOTHING(&s);
    }
    { /* an older future */
        SCENE(s);
        older_future(&s, &l);
        EXPECT_NOTHING(&s);
        assert_int_equal(s.result.wal_segments, 8);
        assert_int_equal(s.result.other_objects, 1); /* the history */
    }
    { /* a failover: a .partial, and the segment of the fork on both timelines */
        SCENE(s);
        segments(&s, 1, &l.one, 2, 3);
        archive_segment(&s.archive, 1, &l.one, 4, l.fork);
        history(&s, 2, l.fork);
        backup(&s, 1, AT(2, 40), AT(2, 9000));
        EXPECT_NOTHING(&s);
        segments(&s, 2, &l.two, 4, 5);
        EXPECT_NOTHING(&s);
        segments(&s, 1, &l.one, 4, 4); /* the old primary lives on a little */
        EXPECT_NOTHING(&s);
    }
    { /* a tail where the WAL ends, and one whose segment was finished */
        SCENE(s);
        segments(&s, 1, &l.one, 2, 3);
        archive_tail(&s.archive, 1, &l.one, 3, AT(3, 16384));
        archive_tail(&s.archive, 1, &l.one, 4, l.fork);
        backup(&s, 1, AT(2, 40), l.fork);
        EXPECT_NOTHING(&s);
        assert_int_equal(s.result.other_objects, 2);
    }
    { /* a clone has taken the next timeline, and nothing more; another one has gone on */
        SCENE(s);
        segments(&s, 1, &l.one, 2, 7);
        history(&s, 2, l.fork);
        history(&s, 3, AT(5, 8232));
        backup(&s, 1, AT(2, 40), AT(2, 9000));
        EXPECT_NOTHING(&s);
    }
    { /* what lies before the first backup may have holes, and so may what nobody leads to */
        SCENE(s);
        segments(&s, 1, &l.one, 2, 2);
        segments(&s, 1, &l.one, 4, 7);
        backup(&s, 1, AT(5, 40), AT(5, 9000));
        EXPECT_NOTHING(&s);
        assert_int_equal(s.result.wal_segments, 5);
    }
    { /* the WAL of a system without any backup */
        SCENE(s);
        segments(&s, 1, &l.one, 2, 2);
        segments(&s, 1, &l.one, 4, 4);
        EXPECT_NOTHING(&s);
        assert_int_equal(s.result.wal_segments, 2);
    }
}

/* A server that crashed in the middle of a record that crosses a border, and went on. */
static void voided_record(void **state)
{
    (void)state;
    SCENE(s);
    WalBuild b AUTO(build_release);
    uint8_t body[16] = {0};
    build_init(&b, 15, AT(2, 0), 3);
    build_fill(&b, AT(3, 0) - 6000);
    Lsn before = b.prev, lost = build_plain(&b, 20000); /* goes on into segment 3 */
    memset(build_byte(&b, AT(3, 0)), 0, (size_t)(b.end - AT(3, 0)));
    b.at = AT(3, 0);
    b.prev = before;
    b.page_flags = WAL_PAGE_OVERWRITES;
    set_u64(body, lost);
    build_record(&b, RMGR_XLOG, 0xD0, body, WAL_RECORD_HEADER + 2 + sizeof(body));
    build_fill(&b, AT(5, 0));
    segments(&s, 1, &b, 2, 4);
    backup(&s, 1, AT(2, 40), AT(2, 9000));
    EXPECT_NOTHING(&s);
}

/* --- losses --- */

#define T1 "0000000100000000"
#define T2 "0000000200000000"

static void lost_behind_the_fork(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    older_future(&s, &l);
    lose(&s, T1 "00000005");
    EXPECT(&s, T1 "00000005: the segment is missing {timeline 1: restorable with "
                  "--target-timeline=1 up to 0/500000, and from backup "
                  "20261123T120000Z-0000000000000002 on}\n");
    s.spec.fast = true;
    EXPECT(&s, T1 "00000005: the segment is missing {timeline 1: restorable with "
                  "--target-timeline=1 up to 0/500000, and from backup "
                  "20261123T120000Z-0000000000000002 on}\n");
}

static void lost_before_the_fork(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    older_future(&s, &l);
    lose(&s, T1 "00000003");
    /* From behind the gap there is another backup on either way. */
    EXPECT(&s, T1 "00000003: the segment is missing {timeline 1: restorable with "
                  "--target-timeline=1 up to 0/300000, and from backup "
                  "20261123T120000Z-0000000000000002 on; timeline 2: restorable with "
                  "--target-timeline=2 up to 0/300000, and from backup "
                  "20261123T120000Z-0000000000000003 on}\n");
    backup_list_release(&s.list);
    s.archive.backups = 0;
    backup(&s, 1, AT(2, 40), AT(2, 9000));
    EXPECT(&s, T1 "00000003: the segment is missing {timelines 1, 2: restorable up to 0/300000}\n");
}

static void lost_of_a_backup(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    segments(&s, 1, &l.one, 2, 7);
    backup(&s, 1, AT(3, 40), AT(5, 9000));
    lose(&s, T1 "00000004");
    EXPECT(&s, T1 "00000004: the segment is missing [#1] {timeline 1: not restorable with "
                  "--target-timeline=1}\n");
    lose(&s, T1 "00000005");
    lose(&s, T1 "00000006");
    EXPECT(&s, T1 "00000004: the segment is missing, and 2 behind it, up to " T1
                  "00000006 [#1] {timeline 1: not restorable with --target-timeline=1}\n");
    lose(&s, T1 "00000007"); /* now the WAL just ends, but the backup needs more */
    EXPECT(&s, T1 "00000004: the segment is missing [#1] {timeline 1: not restorable with "
                  "--target-timeline=1}\n");
}

/* A backup before a failover, whose last segment only the new timeline has. */
static void another_way(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    segments(&s, 1, &l.one, 2, 3);
    segments(&s, 2, &l.two, 4, 5);
    history(&s, 2, l.fork);
    backup(&s, 1, AT(3, 40), AT(4, 9000));
    EXPECT_NOTHING(&s);
    flip_file(&s, T2 "00000004");
    verify(&s);
    assert_non_null(strstr(buf_str(&s.found), "[#1] {timeline 2: not restorable"));
}

static void short_piece(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    segments(&s, 1, &l.one, 2, 3);
    archive_tail(&s.archive, 1, &l.one, 4, AT(4, 8192));
    backup(&s, 1, AT(3, 40), AT(4, 9000));
    verify(&s);
    assert_non_null(strstr(buf_str(&s.found), "before the end of backup 20261123T120000Z-"));
    assert_non_null(strstr(buf_str(&s.found), "[#1]"));
    archive_tail(&s.archive, 1, &l.one, 4, l.fork);
    EXPECT_NOTHING(&s);
}

/* Two streams of one segment that do not agree. */
static void two_tails(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    segments(&s, 1, &l.one, 2, 3);
    archive_tail(&s.archive, 1, &l.one, 4, l.fork);
    *build_byte(&l.one, AT(4, 9000)) ^= 1;
    archive_tail(&s.archive, 1, &l.one, 4, l.fork);
    backup(&s, 1, AT(2, 40), AT(2, 9000));
    verify(&s);
    assert_non_null(strstr(buf_str(&s.found), "two streams of segment"));
    assert_int_equal(s.result.findings, 1);
}

static void two_contents(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    WalBuild other AUTO(build_release);
    older_future(&s, &l);
    build_init(&other, 15, AT(5, 0), 1);
    build_fill(&other, AT(6, 0));
    segments(&s, 1, &other, 5, 5);
    /* The mark that archive-push has left says the same. */
    json_t *body AUTO(json_decrefp) = json_pack("{s:s}", "file", T1 "00000005");
    expect_ok(timeline_mark_put(&s.archive.store, "00000001", "frozen", body, err));
    verify(&s);
    assert_int_equal(s.result.findings, 1);
    assert_non_null(
        strstr(buf_str(&s.found), T1 "00000005: there are two different contents of it"));
    assert_non_null(strstr(buf_str(&s.found), "{timeline 1: restorable with --target-timeline=1 up "
                                              "to 0/500000, and from backup"));
}

/* --- damage --- */

/* The one finding begins and ends so. */
static void expect_one(Scene *s, const char *begin, const char *end)
{
    verify(s);
    const char *got = buf_str(&s->found);
    if (s->result.findings != 1 || strncmp(got, begin, strlen(begin)) != 0 ||
        s->found.len < strlen(end) + 1 ||
        strncmp(got + s->found.len - 1 - strlen(end), end, strlen(end)) != 0)
        fail_msg("expected '%s … %s', found:\n%s", begin, end, got);
}

static void damaged_segments(void **state)
{
    (void)state;
    LIVES(l);
    SCENE(s);
    older_future(&s, &l);
    flip_file(&s, T1 "00000007");
    expect_one(&s, T1 "00000007: cannot read",
               "{timeline 1: restorable with --target-timeline=1 up to 0/700000}");
    /* With --fast nothing is read. */
    s.spec.fast = true;
    EXPECT_NOTHING(&s);
    s.spec.fast = false;
    /* It is not on the way of a backup of timeline 2. */
    s.spec.backup_id = backup_at(&s.list, 2)->id;
    EXPECT_NOTHING(&s);
    assert_int_equal(s.result.wal_segments, 1);
    s.spec.backup_id = backup_at(&s.list, 0)->id;
    expect_one(&s, T1 "00000007", "up to 0/700000}");
    assert_int_equal(s.result.wal_segments, 8);
}

static void damaged_first_segment(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    older_future(&s, &l);
    flip_file(&s, T1 "00000002");
    expect_one(&s, T1 "00000002: cannot read",
               "[#1] {timeline 1: restorable with --target-timeline=1 only from backup "
               "20261123T120000Z-0000000000000002 on; timeline 2: restorable with "
               "--target-timeline=2 only from backup 20261123T120000Z-0000000000000003 on}");
}

static void damaged_elsewhere(void **state)
{
    (void)state;
    LIVES(l);
    static const char label[] = "000000010000000000000005.00000028.backup";
    { /* before the first backup */
        SCENE(s);
        segments(&s, 1, &l.one, 2, 7);
        backup(&s, 1, AT(5, 40), AT(5, 9000));
        flip_file(&s, T1 "00000003");
        expect_one(&s, T1 "00000003: cannot read", "; no backup needs it, and no recovery window");
    }
    { /* a .backup file */
        SCENE(s);
        segments(&s, 1, &l.one, 2, 7);
        archive_put_content(&s.archive, label, "START WAL LOCATION", 18, NULL);
        backup(&s, 1, AT(5, 40), AT(5, 9000));
        EXPECT_NOTHING(&s);
        flip_file(&s, label);
        expect_one(&s, label, "; no restore needs it: it is PostgreSQL's note of a backup");
    }
    { /* a .partial that is the end of its timeline, and one beside the finished segment */
        SCENE(s);
        segments(&s, 1, &l.one, 2, 3);
        archive_segment(&s.archive, 1, &l.one, 4, l.fork);
        backup(&s, 1, AT(2, 40), AT(2, 9000));
        flip_file(&s, T1 "00000004.partial");
        expect_one(&s, T1 "00000004.partial: cannot read",
                   "{timeline 1: restorable with --target-timeline=1 up to 0/400000}");
        segments(&s, 1, &l.one, 4, 4);
        expect_one(&s, T1 "00000004.partial: cannot read",
                   "; no backup needs it, and no recovery window");
    }
    { /* the history: then nobody can tell what needs what */
        SCENE(s);
        older_future(&s, &l);
        flip_file(&s, "00000002.history");
        expect_one(&s, "00000002.history: cannot read", "");
        flip_file(&s, T1 "00000007");
        verify(&s);
        assert_int_equal(s.result.findings, 2);
        assert_non_null(strstr(buf_str(&s.found),
                               "; what needs it can be told when the histories are mended\n"));
    }
}

/* Of a timeline whose history is lost nobody knows where it belongs. */
static void lost_history(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    older_future(&s, &l);
    lose(&s, "00000002.history");
    expect_one(&s, "00000002.history: the repository has no 00000002.history", "are not known");
    flip_file(&s, T2 "00000005");
    verify(&s);
    assert_int_equal(s.result.findings, 2);
    assert_non_null(
        strstr(buf_str(&s.found), "; what needs it can be told when the histories are mended\n"));
}

/* A tail, as the end of a timeline and as what is left of a segment that was finished. */
static void damaged_tails(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    StrList names AUTO(str_list_release) = {0};
    segments(&s, 1, &l.one, 2, 3);
    archive_tail(&s.archive, 1, &l.one, 4, l.fork);
    backup(&s, 1, AT(2, 40), AT(2, 9000));
    expect_ok(storage_list_names(s.archive.repo->storage, "app/tail/", false, &names, err));
    assert_int_equal(names.n, 1);
    flip(&s, names.at[0], 150);
    expect_one(&s, "0000000000400000-",
               "{timeline 1: restorable with --target-timeline=1 up to 0/400000}");
    segments(&s, 1, &l.one, 4, 4);
    expect_one(&s, "0000000000400000-", "; no backup needs it, and no recovery window");
}

/* Marks: one that cannot be read keeps archive-push from storing anything. */
static void marks(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    StrList names AUTO(str_list_release) = {0};
    json_t *body AUTO(json_decrefp) = json_pack("{s:s}", "file", T1 "00000005");
    older_future(&s, &l);
    expect_ok(timeline_mark_put(&s.archive.store, "00000001", "frozen", body, err));
    EXPECT(&s,
           "timeline 1: it is frozen: two servers archived different contents of " T1 "00000005\n");
    expect_ok(storage_list_names(s.archive.repo->storage, "app/timelines/", false, &names, err));
    flip(&s, names.at[0], 150);
    verify(&s);
    assert_int_equal(s.result.findings, 1);
    assert_non_null(strstr(buf_str(&s.found), "archive-push stores nothing more of timeline 1: "));
}

/* --- order --- */

/* A segment of another life under the right name: whole in itself, but it follows nothing. */
static void foreign_segment(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    WalBuild other AUTO(build_release);
    build_init(&other, 15, AT(4, 0), 3);
    build_fill(&other, AT(7, 0));
    older_future(&s, &l);
    lose(&s, T1 "00000005");
    segments(&s, 1, &other, 5, 5);
    verify(&s);
    assert_int_equal(s.result.findings, 2); /* it does not follow 4, and 6 does not follow it */
    const char *got = buf_str(&s.found);
    assert_non_null(
        strstr(got, T1 "00000005: its records do not go on from those of the segment before: "));
    assert_non_null(
        strstr(got, T1 "00000006: its records do not go on from those of the segment before: "));
}

/* The same where a timeline begins: what goes before it is its ancestor's. */
static void foreign_entry(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    WalBuild other AUTO(build_release);
    build_init(&other, 15, AT(3, 0), 3);
    build_fill(&other, AT(4, 0) - 1000);
    build_plain(&other, 5000);
    build_fill(&other, AT(6, 0));
    segments(&s, 1, &l.one, 2, 7);
    segments(&s, 2, &other, 4, 4);
    history(&s, 2, l.fork);
    backup(&s, 1, AT(2, 40), AT(2, 9000));
    verify(&s);
    assert_int_equal(s.result.findings, 1);
    assert_int_equal(strncmp(buf_str(&s.found), T2 "00000004: the record at ", 40), 0);
    assert_non_null(strstr(buf_str(&s.found), "does not go on in the segment at 0/400000"));
}

/* --- all else that is stored --- */

static void rest(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *kind; /* NULL: no object at all */
        const char *says;
    } cases[] = {
        {"leases/00112233445566778899aabbccddeeff", KIND_MARK, "a lease lapses by itself"},
        {"trash/00112233445566778899aabbccddeeff", KIND_TRASH, "it names what is to be removed"},
        {"orphan/7/here/000000010000000000000007-00112233445566778899aabbccddeeff", KIND_MARK,
         "no restore needs it: it is WAL that was set aside"},
        {"notes/todo", NULL, "it is no object that pgdr has put there"},
        {"todo", NULL, "it is no object that pgdr has put there"},
        {"wal/todo", NULL, "it is no object that pgdr has put there"},
        {"wal/old/todo", NULL, "it is no object that pgdr has put there"},
    };
    LIVES(l);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        SCENE(s);
        segments(&s, 1, &l.one, 2, 3);
        backup(&s, 1, AT(2, 40), AT(2, 9000));
        char *full AUTO(mem_freep) = repo_full_name(s.archive.repo, cases[i].name);
        if (cases[i].kind)
            expect_ok(document_put(s.archive.repo, cases[i].name, cases[i].kind, "{}", 2,
                                   STORAGE_CREATE, NULL, err));
        else
            expect_ok(
                storage_put_bytes(s.archive.repo->storage, full, "hello", 5, STORAGE_CREATE, err));
        if (cases[i].kind && strncmp(cases[i].name, "orphan", 6) != 0)
            EXPECT_NOTHING(&s);
        if (cases[i].kind)
            flip(&s, full, 150);
        verify(&s);
        assert_int_equal(s.result.findings + s.result.warnings, 1);
        assert_int_equal(s.result.warnings, cases[i].kind == NULL);
        assert_int_equal(s.result.other_objects, 1);
        if (!strstr(buf_str(&s.found), cases[i].says))
            fail_msg("%s: %s", cases[i].name, buf_str(&s.found));
    }
}

/* WAL that was set aside is read as WAL. */
static void orphans(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    segments(&s, 1, &l.one, 2, 3);
    backup(&s, 1, AT(2, 40), AT(2, 9000));
    char digest[WAL_DIGEST_LEN];
    WalPieces pieces AUTO(wal_pieces_release) = {.at = NULL};
    WalMeta meta = {.file = T1 "00000007", .host = "here"};
    ObjectWriter *w AUTO(object_writer_freep) = object_writer_new(MIB);
    wal_pieces_make(&pieces, build_byte(&l.one, AT(7, 0)), BUILD_SEG, 1);
    wal_pieces_digest(&pieces, s.archive.repo, digest);
    char *name AUTO(mem_freep) = wal_orphan_name(&s.archive.store, "here", meta.file, digest);
    expect_ok(wal_object_build(&s.archive.store, w, name, &meta, &pieces, NULL, err));
    expect_ok(wal_put(&s.archive.store, w, name, STORAGE_CREATE, err));
    EXPECT_NOTHING(&s);
    assert_int_equal(s.result.other_objects, 1);
    char *full AUTO(mem_freep) = repo_full_name(s.archive.repo, name);
    flip(&s, full, 140);
    expect_one(&s, T1 "00000007: cannot read",
               "; no restore needs it: it is WAL that was set aside");
}

/* --- cost --- */

typedef struct Reads {
    Archive *archive;
    StrList names;
} Reads;

static void note_read(void *arg, StorageOp op, const char *name)
{
    Reads *r = arg;
    if (op == STORAGE_OP_GET)
        vec_push(&r->names, mem_strdup(name));
}

/* Every object is read once, however many ways lead over it; of the segment before a fork also its
 * index. One listing for each prefix and end. */
static void reads_once(void **state)
{
    (void)state;
    SCENE(s);
    LIVES(l);
    older_future(&s, &l);
    history(&s, 3, AT(3, 8232));
    archive_tail(&s.archive, 1, &l.one, 3, AT(3, 16384));
    archive_put_content(&s.archive, "000000010000000000000002.00000028.backup", "x", 1, NULL);
    for (int i = 0; i < 20; i++)
        backup(&s, 1, AT(2, 40 + 8 * i), AT(2, 9000 + 8 * i));
    Reads reads = {.archive = &s.archive};
    storage_fault_set(s.archive.fault, &(FaultSpec){.ops = STORAGE_OP_GET | STORAGE_OP_LIST,
                                                    .hook = note_read,
                                                    .hook_arg = &reads});
    verify(&s);
    assert_int_equal(s.found.len, 0);
    unsigned lists = storage_fault_calls(s.archive.fault) - (unsigned)reads.names.n;
    storage_fault_set(s.archive.fault, &(FaultSpec){.nth = 0});
    str_list_sort(&reads.names);
    size_t twice = 0;
    for (size_t i = 1; i < reads.names.n; i++)
        twice += strcmp(reads.names.at[i - 1], reads.names.at[i]) == 0;
    assert_int_equal(twice, 1);
    assert_int_equal(reads.names.n,
                     8 + 2 + 1 + 1 + 1); /* segments, histories, tail, label, index */
    /* wal/, tail/, timelines/ by level; WAL and tails of the system, its marks; two ends; the top.
     */
    assert_int_equal(lists, 3 + 3 + 2 + 1);
    str_list_release(&reads.names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usual_ends),
        cmocka_unit_test(voided_record),
        cmocka_unit_test(lost_behind_the_fork),
        cmocka_unit_test(lost_before_the_fork),
        cmocka_unit_test(lost_of_a_backup),
        cmocka_unit_test(another_way),
        cmocka_unit_test(short_piece),
        cmocka_unit_test(two_tails),
        cmocka_unit_test(two_contents),
        cmocka_unit_test(damaged_segments),
        cmocka_unit_test(damaged_first_segment),
        cmocka_unit_test(damaged_elsewhere),
        cmocka_unit_test(lost_history),
        cmocka_unit_test(damaged_tails),
        cmocka_unit_test(marks),
        cmocka_unit_test(foreign_segment),
        cmocka_unit_test(foreign_entry),
        cmocka_unit_test(rest),
        cmocka_unit_test(orphans),
        cmocka_unit_test(reads_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
