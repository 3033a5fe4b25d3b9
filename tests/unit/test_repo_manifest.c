/* The manifest (docs/repository-format.md, 10): its lines as text, its parts, and everything that a
 * reader must refuse, above all what would be written outside of the data directory. */

#include "tests/unit/unit.h"

#include "lib/common/bytes.h"
#include "lib/common/hex.h"
#include "lib/repo/manifest.h"
#include "tests/unit/mem_repo.h"

#define ID "20260101T000000Z-00000000000000aa"
#define OLD_ID "20250101T000000Z-00000000000000bb"
#define HEAD "backups/" ID "/manifest"
#define PART1 "backups/" ID "/manifest.0001"
#define PART2 "backups/" ID "/manifest.0002"

static char user[] = "postgres", group[] = "dba", cluster[] = "app", space_path[] = "/srv/ts",
            odd_path[] = "/srv/\xff", in_place[] = "";

static void header_init(ManifestHeader *h)
{
    *h = (ManifestHeader){.id = ID,
                          .cluster = cluster,
                          .system_id = UINT64_C(18446744073709551615),
                          .pg_version_num = 150018,
                          .block_size = 8192,
                          .rel_seg_blocks = 131072,
                          .wal_segment_size = 16777216,
                          .checksum_version = 1,
                          .timeline = 3,
                          .start_lsn = 0x100000028,
                          .stop_lsn = 0x1000001F8,
                          .user = user,
                          .group = group,
                          .file_mode = 0600,
                          .dir_mode = 0700};
    vec_push(&h->ids, mem_strdup(ID));
    vec_push(&h->ids, mem_strdup(OLD_ID));
    vec_push(&h->tablespaces, (ManifestTablespace){16400, space_path});
    vec_push(&h->tablespaces, (ManifestTablespace){16401, odd_path});
    vec_push(&h->tablespaces, (ManifestTablespace){16402, in_place});
}

static void header_release(ManifestHeader *h)
{
    str_list_release(&h->ids);
    vec_release(&h->tablespaces);
}

static FileEntry entry(FileEntry e)
{
    e.user = e.user ? e.user : user;
    e.group = e.group ? e.group : group;
    if (!e.mode)
        e.mode = e.kind == FILE_DIRECTORY ? 0700 : 0600;
    return e;
}

static void put(Repo *repo, const ManifestHeader *h, const FileEntry *entries, size_t n,
                DocumentFacts *ret)
{
    ManifestWriter *w AUTO(manifest_writer_freep) = manifest_writer_new(repo, h);
    for (size_t i = 0; i < n; i++) {
        FileEntry e = entry(entries[i]);
        expect_ok(manifest_writer_add(w, &e, err));
    }
    expect_ok(manifest_writer_finish(w, ret, err));
}

static void get_text(Repo *repo, const char *name, Buf *text, DocumentFacts *facts)
{
    text->len = 0;
    expect_ok(document_get(repo, name, KIND_MANIFEST, 100 * MIB, text, facts, err));
}

/* --- what is written --- */

/* In the order of their bytes: "base/5/1259" stands behind "base/5-x". */
static const FileEntry entries[] = {
    {"PG_VERSION", .size = 3, .mtime = -1, .place = PLACE_SMALL, .pack = 4294967295, .unit = 7,
     .off = 131072, .small = 12},
    {"base", .kind = FILE_DIRECTORY},
    {"base/5", .kind = FILE_DIRECTORY, .mode = 0750},
    {"base/5-x", .mtime = 1795436204, .mode = 04640, .user = "root", .group = "wheel"},
    {"base/5/1259", .size = (uint64_t)1 << 50, .mtime = 1795436204, .place = PLACE_MAP, .backup = 1,
     .pack = 2, .off = 4096, .map_len = 18},
    {"odd \"\\\n\x01\x7f", .mtime = 0},
    {"pg_tblspc", .kind = FILE_DIRECTORY},
    {"pg_tblspc/16400", .kind = FILE_LINK, .mode = 0777, .link = "/srv/ts"}, /* links have none */
    {"pg_tblspc/16401", .kind = FILE_LINK, .link = "/srv/\xff"},
    {"\xc3\xa9", .mtime = 0},
    {"\xff", .mtime = 0, .user = "\xfe", .group = "\xfd\xfc"},
};
static const char lines[] =
    "{\"p\":\"PG_VERSION\",\"s\":3,\"t\":-1,\"x\":[0,4294967295,7,131072,12]}\n"
    "{\"p\":\"base\",\"k\":\"d\"}\n"
    "{\"p\":\"base/5\",\"k\":\"d\",\"o\":\"0750\"}\n"
    "{\"p\":\"base/5-x\",\"s\":0,\"t\":1795436204,\"o\":\"4640\",\"u\":\"root\",\"g\":\"wheel\"}\n"
    "{\"p\":\"base/5/1259\",\"s\":1125899906842624,\"t\":1795436204,\"m\":[1,2,4096,18]}\n"
    "{\"p\":\"odd \\\"\\\\\\u000a\\u0001\x7f\",\"s\":0,\"t\":0}\n"
    "{\"p\":\"pg_tblspc\",\"k\":\"d\"}\n"
    "{\"p\":\"pg_tblspc/16400\",\"k\":\"l\",\"to\":\"/srv/ts\"}\n"
    "{\"p\":\"pg_tblspc/16401\",\"k\":\"l\",\"tob\":\"L3Nydi//\"}\n"
    "{\"p\":\"\xc3\xa9\",\"s\":0,\"t\":0}\n"
    "{\"pb\":\"/w==\",\"s\":0,\"t\":0,\"ub\":\"/g==\",\"gb\":\"/fw=\"}\n";

static const char header_line[] =
    "{\"pgdr\":1,\"id\":\"" ID "\",\"cluster\":\"app\",\"system_id\":\"18446744073709551615\","
    "\"pg\":150018,\"block\":8192,\"rel_seg_blocks\":131072,\"wal_segment\":16777216,"
    "\"checksums\":1,\"tli\":3,\"start_lsn\":\"1/28\",\"stop_lsn\":\"1/1F8\","
    "\"defaults\":{\"mode\":\"0600\",\"dir_mode\":\"0700\",\"uid\":\"postgres\",\"gid\":\"dba\"},"
    "\"ids\":[\"" ID "\",\"" OLD_ID "\"],\"tablespaces\":[{\"oid\":16400,\"path\":\"/srv/ts\"},"
    "{\"oid\":16401,\"pathb\":\"L3Nydi//\"},{\"oid\":16402,\"path\":\"\"}]}\n";

static void append_part_line(Buf *head, unsigned part, uint64_t files, const DocumentFacts *f)
{
    char sha[SHA256_HEX_LEN], stamp[STAMP_TEXT_LEN];
    buf_printf(head,
               "{\"part\":%u,\"files\":%llu,\"size\":%llu,\"sha256\":\"%s\",\"stamp\":\"%s\"}\n",
               part, (unsigned long long)files, (unsigned long long)f->size,
               hex_format(f->sha256, SHA256_LEN, sha), stamp_format(&f->stamp, stamp));
}

static void append_end_line(Buf *head, uint64_t files, uint64_t bytes)
{
    uint8_t sha[SHA256_LEN];
    char hex[SHA256_HEX_LEN];
    sha256_of(head->data, head->len, sha);
    buf_printf(head, "{\"end\":true,\"files\":%llu,\"bytes\":%llu,\"sha256\":\"%s\"}\n",
               (unsigned long long)files, (unsigned long long)bytes,
               hex_format(sha, SHA256_LEN, hex));
}

static void the_text_by_hand(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_AES_256_GCM);
    ManifestHeader h AUTO(header_release);
    Buf text AUTO(buf_release) = {0}, want AUTO(buf_release) = {0};
    DocumentFacts facts, part, head;
    header_init(&h);
    put(repo, &h, entries, ARRAY_LEN(entries), &facts);
    get_text(repo, PART1, &text, &part);
    assert_string_equal(buf_str(&text), lines);
    buf_append_str(&want, header_line);
    append_part_line(&want, 1, ARRAY_LEN(entries), &part);
    append_end_line(&want, ARRAY_LEN(entries), 3 + (UINT64_C(1) << 50));
    get_text(repo, HEAD, &text, &head);
    assert_string_equal(buf_str(&text), buf_str(&want));
    assert_true(document_facts_equal(&head, &facts));
    assert_memory_equal(&head.stamp, &facts.stamp, sizeof(head.stamp));
    assert_int_equal(mem_count(repo, "backups/"), 2);
}

static void expect_text(const char *got, const char *want)
{
    if (!want)
        assert_null(got);
    else
        assert_string_equal(got, want);
}

static void what_was_written_is_read(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    ManifestHeader h AUTO(header_release);
    DocumentFacts facts;
    ManifestReader *r AUTO(manifest_reader_closep) = NULL;
    StrList names AUTO(str_list_release) = {0};
    FileEntry e;
    bool end;
    header_init(&h);
    put(repo, &h, entries, ARRAY_LEN(entries), &facts);
    expect_ok(manifest_reader_open(repo, ID, &facts, &r, err));
    const ManifestHeader *got = manifest_reader_header(r);
    assert_string_equal(got->id, ID);
    assert_string_equal(got->cluster, "app");
    assert_true(got->system_id == UINT64_MAX);
    assert_int_equal(got->pg_version_num, 150018);
    assert_int_equal(got->block_size, 8192);
    assert_int_equal(got->rel_seg_blocks, 131072);
    assert_int_equal(got->wal_segment_size, 16777216);
    assert_int_equal(got->checksum_version, 1);
    assert_int_equal(got->timeline, 3);
    assert_int_equal(got->start_lsn, 0x100000028);
    assert_int_equal(got->stop_lsn, 0x1000001F8);
    assert_int_equal(got->ids.n, 2);
    assert_string_equal(got->ids.at[1], OLD_ID);
    assert_int_equal(got->tablespaces.n, 3);
    assert_int_equal(got->tablespaces.at[1].oid, 16401);
    assert_string_equal(got->tablespaces.at[1].path, "/srv/\xff");
    assert_string_equal(got->tablespaces.at[2].path, "");
    assert_int_equal(got->files, ARRAY_LEN(entries));
    for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
        const FileEntry want = entry(entries[i]);
        expect_ok(manifest_reader_next(r, &e, &end, err));
        assert_false(end);
        expect_text(e.path, want.path);
        expect_text(e.link, want.link);
        expect_text(e.user, want.user);
        expect_text(e.group, want.group);
        assert_int_equal(e.kind, want.kind);
        assert_int_equal(e.size, want.size);
        assert_int_equal(e.mtime, want.mtime);
        assert_int_equal(e.mode, want.kind == FILE_LINK ? 0600 : want.mode);
        assert_int_equal(e.place, want.place);
        assert_int_equal(e.backup, want.backup);
        assert_int_equal(e.pack, want.pack);
        assert_int_equal(e.off, want.off);
        assert_int_equal(e.map_len, want.map_len);
        assert_int_equal(e.unit, want.unit);
        assert_int_equal(e.small, want.small);
    }
    expect_ok(manifest_reader_next(r, &e, &end, err));
    assert_true(end);
    expect_ok(manifest_reader_next(r, &e, &end, err)); /* an end is an end */
    assert_true(end);
    manifest_reader_names(r, &names);
    assert_int_equal(names.n, 2);
    assert_string_equal(names.at[0], HEAD);
    assert_string_equal(names.at[1], PART1);
}

/* A name that is not UTF-8 cannot be a default, and stands with every entry. */
static void default_owners_that_are_no_text(void **state)
{
    (void)state;
    char odd[] = "\xfe";
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    ManifestHeader h AUTO(header_release);
    DocumentFacts facts;
    ManifestReader *r AUTO(manifest_reader_closep) = NULL;
    FileEntry e;
    bool end;
    header_init(&h);
    h.user = h.group = odd;
    const FileEntry one = {"x", .user = odd, .group = odd};
    put(repo, &h, &one, 1, &facts);
    expect_ok(manifest_reader_open(repo, ID, &facts, &r, err));
    assert_string_equal(manifest_reader_header(r)->user, "");
    expect_ok(manifest_reader_next(r, &e, &end, err));
    assert_string_equal(e.user, odd);
    assert_string_equal(e.group, odd);
}

static void what_a_writer_refuses(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    ManifestHeader h AUTO(header_release);
    header_init(&h);
    ManifestWriter *w AUTO(manifest_writer_freep) = manifest_writer_new(repo, &h);
    FileEntry e = entry((FileEntry){.path = "base/5"});
    expect_ok(manifest_writer_add(w, &e, err));
    expect_err(ERR_INTERNAL, "out of order: 'base/5'", manifest_writer_add(w, &e, err));
    e.path = "base";
    expect_err(ERR_INTERNAL, "'base' after 'base/5'", manifest_writer_add(w, &e, err));
    e.path = "base/10"; /* bytes, not numbers */
    expect_err(ERR_INTERNAL, "out of order", manifest_writer_add(w, &e, err));
    const size_t around = strlen("{\"p\":\"\",\"s\":0,\"t\":0}\n");
    char *path AUTO(mem_freep) = mem_zero(512 * KIB);
    memset(path, 'x', 512 * KIB - around);
    e.path = path;
    expect_ok(manifest_writer_add(w, &e, err)); /* a line of 512 KiB */
    memset(path, 'y', 512 * KIB - around + 1);
    expect_err(ERR_LIMIT, "too long for a manifest", manifest_writer_add(w, &e, err));
}

/* --- parts --- */

#define LINES 175 /* of 300 KB: more than one part */

/* A path of 300 KB, of text that compresses or does not. */
static char *long_path(bool noise)
{
    enum { LEN = 300000 };
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!$%&()*+,-.:;<=>?@[]^_{|}~";
    char *path = mem_zero(LEN + 1);
    uint8_t *random AUTO(mem_freep) = mem_zero(LEN);
    if (noise)
        random_bytes(random, LEN);
    for (size_t k = 0; k < LEN; k++)
        path[k] = letters[random[k] % (sizeof(letters) - 1)];
    path[8] = '-'; /* behind the number */
    return path;
}

/* Returns the number of parts. */
static size_t put_parts(Repo *repo, unsigned files, bool noise, DocumentFacts *facts)
{
    ManifestHeader h AUTO(header_release);
    char *paths[4]; /* a unit holds three lines: it shall not find one again */
    header_init(&h);
    ManifestWriter *w AUTO(manifest_writer_freep) = manifest_writer_new(repo, &h);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        paths[i] = long_path(noise);
    for (unsigned i = 0; i < files; i++) {
        char number[9], *path = paths[i % ARRAY_LEN(paths)];
        snprintf(number, sizeof(number), "%08u", i);
        memcpy(path, number, 8);
        FileEntry e = entry((FileEntry){.path = path, .mtime = i});
        expect_ok(manifest_writer_add(w, &e, err));
    }
    expect_ok(manifest_writer_finish(w, facts, err));
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        free(paths[i]);
    return mem_count(repo, "backups/" ID "/manifest.");
}

/* A manifest of two parts, which is made once: tests take copies of its repository. */
static Repo *two_parts;
static DocumentFacts two_parts_facts;

static int make_two_parts(void **state)
{
    (void)state;
    two_parts = mem_repo_new(CIPHER_NONE);
    assert_int_equal(put_parts(two_parts, LINES, false, &two_parts_facts), 2);
    return 0;
}

static int free_two_parts(void **state)
{
    (void)state;
    repo_close(two_parts);
    return 0;
}

static void expect_parts(Repo *repo, const DocumentFacts *facts, unsigned files)
{
    ManifestReader *r AUTO(manifest_reader_closep) = NULL;
    bool end = false;
    unsigned n = 0;
    expect_ok(manifest_reader_open(repo, ID, facts, &r, err));
    for (;; n++) {
        FileEntry e;
        expect_ok(manifest_reader_next(r, &e, &end, err));
        if (end)
            break;
        assert_int_equal(strtoul(e.path, NULL, 10), n);
        assert_int_equal(e.mtime, n);
    }
    assert_int_equal(n, files);
}

static uint32_t units_of(Repo *repo, const char *name)
{
    Buf o AUTO(buf_release) = {0};
    mem_get(repo, name, &o);
    return get_u32(o.data + o.len - 132 + 76);
}

/* A part is closed by its lines, or, when they do not compress, by what is stored. */
static void parts_have_limits(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    DocumentFacts facts;
    StorageStat st;
    expect_parts(two_parts, &two_parts_facts, LINES);
    /* Three lines a unit, since none is divided: the 56th makes it 48 MiB. */
    assert_int_equal(units_of(two_parts, PART1), 56);
    assert_int_equal(units_of(two_parts, PART2), (LINES - 3 * 56 + 2) / 3);
    assert_int_equal(put_parts(repo, 140, true, &facts), 2);
    expect_ok(repo_stat(repo, PART1, &st, err));
    assert_in_range(st.size, 29 * MIB, 36 * MIB);
}

/* Both parts are there and whole, but they are not those of the head. */
static void parts_that_are_not_those_of_the_head(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_again(two_parts);
    Buf one AUTO(buf_release) = {0}, two AUTO(buf_release) = {0};
    mem_get(repo, PART1, &one);
    mem_get(repo, PART2, &two);
    struct {
        const char *name;
        const Buf *bytes; /* NULL: none */
        ErrCode code;
    } cases[] = {
        {PART1, &two, ERR_DAMAGED}, {PART1, NULL, ERR_NOT_FOUND}, {PART2, &one, ERR_DAMAGED}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ManifestReader *r AUTO(manifest_reader_closep) = NULL;
        Err why = {0};
        ErrCode rc = ERR_OK;
        bool end = false;
        if (cases[i].bytes)
            mem_put(repo, cases[i].name, cases[i].bytes->data, cases[i].bytes->len);
        else
            mem_remove(repo, cases[i].name);
        expect_ok(manifest_reader_open(repo, ID, NULL, &r, err));
        for (FileEntry e; rc == ERR_OK && !end;)
            rc = manifest_reader_next(r, &e, &end, &why);
        assert_int_equal(rc, cases[i].code);
        assert_non_null(strstr(why.message, cases[i].name));
        mem_put(repo, PART1, one.data, one.len);
        mem_put(repo, PART2, two.data, two.len);
    }
}

static ErrCode read_all(Repo *repo, Err *err)
{
    ManifestReader *r AUTO(manifest_reader_closep) = NULL;
    bool end = false;
    TRY(manifest_reader_open(repo, ID, NULL, &r, err));
    for (FileEntry e; !end;)
        TRY(manifest_reader_next(r, &e, &end, err));
    return ERR_OK;
}

/* The head's last line has the digest of all before: made anew after a change. */
static void edit_head(Repo *repo, const char *old, const char *text, uint64_t files)
{
    Buf was AUTO(buf_release) = {0}, head AUTO(buf_release) = {0};
    mem_edit_document(repo, HEAD, KIND_MANIFEST, old, text);
    get_text(repo, HEAD, &was, NULL);
    const char *end = strstr(buf_str(&was), "{\"end\"");
    buf_append(&head, was.data, (size_t)(end - (const char *)was.data));
    append_end_line(&head, files, 0);
    expect_ok(
        document_put(repo, HEAD, KIND_MANIFEST, head.data, head.len, STORAGE_OVERWRITE, NULL, err));
}

/* A part that cannot be read is read from another repository, in the middle of the manifest; not
 * from one where other files are in it. */
static void a_part_from_the_fallback(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_again(two_parts);
    Repo *other AUTO(repo_closep) = mem_repo_again(two_parts);
    mem_remove(repo, PART1);
    repo->fallback = other;
    expect_parts(repo, &two_parts_facts, LINES);
    edit_head(repo, "{\"part\":1,\"files\":168", "{\"part\":1,\"files\":167", LINES);
    expect_err(ERR_DAMAGED, "differ", read_all(repo, err));
}

/* --- what a reader refuses --- */

/* A manifest of these lines, whose digests and totals are right. */
static void forge(Repo *repo, const char *text, size_t len, uint64_t files, uint64_t bytes)
{
    DocumentFacts part;
    Buf head AUTO(buf_release) = {0};
    expect_ok(document_put(repo, PART1, KIND_MANIFEST, text, len, STORAGE_OVERWRITE, &part, err));
    buf_append_str(&head, header_line);
    append_part_line(&head, 1, files, &part);
    append_end_line(&head, files, bytes);
    expect_ok(
        document_put(repo, HEAD, KIND_MANIFEST, head.data, head.len, STORAGE_OVERWRITE, NULL, err));
}

static uint64_t count_lines(const char *text)
{
    uint64_t n = 0;
    for (; (text = strchr(text, '\n')); text++)
        n++;
    return n;
}

#define FILE_OF(path) "{\"p\":\"" path "\",\"s\":0,\"t\":0}\n"
#define DIR_OF(path) "{\"p\":\"" path "\",\"k\":\"d\"}\n"
#define OUTSIDE "a path that does not lie in the data directory"
#define NO_LINK "is not one of a tablespace"

static const struct {
    const char *text, *says; /* NULL: it is good */
} forged[] = {
    {FILE_OF("a"), NULL},
    {FILE_OF("...") FILE_OF("..a") FILE_OF("a/..b/.c/d.."), NULL},
    {"{\"p\":\"a\",\"s\":0,\"t\":0,\"new\":[1,{}]}\n", NULL}, /* unknown members */
    /* outside */
    {FILE_OF(""), OUTSIDE},
    {FILE_OF("/etc/passwd"), OUTSIDE},
    {FILE_OF(".."), OUTSIDE},
    {FILE_OF("."), OUTSIDE},
    {FILE_OF("../x"), OUTSIDE},
    {FILE_OF("base/../../x"), OUTSIDE},
    {FILE_OF("base/.."), OUTSIDE},
    {FILE_OF("base/./x"), OUTSIDE},
    {FILE_OF("base//x"), OUTSIDE},
    {FILE_OF("base/"), OUTSIDE},
    {FILE_OF("\\u002e\\u002e/x"), OUTSIDE},
    {DIR_OF("../x"), OUTSIDE},
    {"{\"pb\":\"Li4veA==\",\"s\":0,\"t\":0}\n", OUTSIDE}, /* ../x */
    {"{\"s\":0,\"t\":0}\n", OUTSIDE},
    {"{\"pb\":7,\"s\":0,\"t\":0}\n", OUTSIDE},
    {"{\"p\":7,\"s\":0,\"t\":0}\n", "\"p\" is not a string"},
    {"{\"pb\":\"L\",\"s\":0,\"t\":0}\n", "base64"},
    {"{\"pb\":\"YQBi\",\"s\":0,\"t\":0}\n", "zero byte"},
    {FILE_OF("a\\u0000b"), "bad JSON"},
    /* links */
    {"{\"p\":\"pg_tblspc/16400\",\"k\":\"l\",\"to\":\"/srv/ts\"}\n", NULL},
    {"{\"p\":\"x\",\"k\":\"l\",\"to\":\"/srv/ts\"}\n", NO_LINK},
    {"{\"p\":\"pg_tblspc\",\"k\":\"l\",\"to\":\"/srv/ts\"}\n", NO_LINK},
    {"{\"p\":\"pg_tblspc/016400\",\"k\":\"l\",\"to\":\"/srv/ts\"}\n", NO_LINK},
    {"{\"p\":\"pg_tblspc/16399\",\"k\":\"l\",\"to\":\"/srv/ts\"}\n", NO_LINK},
    {"{\"p\":\"pg_tblspc/16400\",\"k\":\"l\",\"to\":\"/srv/tsx\"}\n", NO_LINK},
    {"{\"p\":\"pg_tblspc/16400\",\"k\":\"l\",\"to\":\"..\"}\n", NO_LINK},
    {"{\"p\":\"pg_tblspc/16402\",\"k\":\"l\",\"to\":\"\"}\n", NO_LINK}, /* made in place */
    {"{\"p\":\"pg_tblspc/16400\",\"k\":\"l\"}\n", "has no target"},
    {"{\"p\":\"pg_wal\",\"k\":\"l\",\"to\":\"/srv/wal\"}\n", NO_LINK},
    /* order */
    {FILE_OF("a") FILE_OF("a"), "'a' is out of order"},
    {FILE_OF("b") FILE_OF("a"), "'a' is out of order"},
    {FILE_OF("a") "{\"pb\":\"YQ==\",\"s\":0,\"t\":0}\n", "'a' is out of order"},
    /* below what is no directory */
    {FILE_OF("a") FILE_OF("a/b"), "'a/b' lies below a file"},
    {FILE_OF("a") FILE_OF("a-b") DIR_OF("a/b/c"), "'a/b/c' lies below a file"},
    {FILE_OF("a") FILE_OF("a-b") FILE_OF("a/b"), "'a/b' lies below a file"},
    {DIR_OF("a") FILE_OF("a-b") FILE_OF("a/b") FILE_OF("a/c"), NULL},
    {DIR_OF("a") FILE_OF("a/b") FILE_OF("a/b!") FILE_OF("a/b/c"), "'a/b/c' lies below a file"},
    {"{\"p\":\"pg_tblspc/16400\",\"k\":\"l\",\"to\":\"/srv/ts\"}\n" DIR_OF("pg_tblspc/16400/PG_15"),
     NULL},
    {DIR_OF("a") FILE_OF("a1") FILE_OF("b/c") FILE_OF("c"), NULL},
    /* kinds and numbers */
    {"{\"p\":\"a\",\"k\":\"f\",\"s\":0,\"t\":0}\n", "\"k\" is damaged"},
    {"{\"p\":\"a\",\"k\":1,\"s\":0,\"t\":0}\n", "\"k\" is damaged"},
    {"{\"p\":\"a\",\"t\":0}\n", "\"s\""},
    {"{\"p\":\"a\",\"s\":0}\n", "\"t\""},
    {"{\"p\":\"a\",\"s\":-1,\"t\":0}\n", "\"s\" is -1"},
    {"{\"p\":\"a\",\"s\":1125899906842625,\"t\":0,\"m\":[0,0,0,9]}\n", "\"s\" is 1125899906842625"},
    {"{\"p\":\"a\",\"s\":\"1\",\"t\":0}\n", "\"s\""},
    {"{\"p\":\"a\",\"s\":0,\"t\":0,\"o\":\"10000\"}\n", "not a file mode"},
    {"{\"p\":\"a\",\"s\":0,\"t\":0,\"o\":\"0698\"}\n", "not a file mode"},
    {"{\"p\":\"a\",\"s\":0,\"t\":0,\"o\":\"\"}\n", "not a file mode"},
    {"{\"p\":\"a\",\"s\":0,\"t\":0,\"o\":\" 600\"}\n", "not a file mode"},
    {"{\"p\":\"a\",\"s\":0,\"t\":0,\"o\":\"-1777777777777777777777\"}\n", "not a file mode"},
    {"{\"p\":\"a\",\"s\":0,\"t\":0,\"o\":600}\n", "\"o\""},
    /* places */
    {"{\"p\":\"a\",\"s\":1,\"t\":0}\n", "a file that is not empty has no place"},
    {"{\"p\":\"a\",\"s\":1,\"t\":0,\"m\":[0,0,0]}\n", "\"m\" is damaged"},
    {"{\"p\":\"a\",\"s\":1,\"t\":0,\"m\":[0,0,0,9,0]}\n", "\"m\" is damaged"},
    {"{\"p\":\"a\",\"s\":1,\"t\":0,\"m\":[0,0,0,\"9\"]}\n", "\"m\" is damaged"},
    {"{\"p\":\"a\",\"s\":1,\"t\":0,\"m\":7}\n", "\"m\" is damaged"},
    {"{\"p\":\"a\",\"s\":1,\"t\":0,\"m\":[-1,0,0,9]}\n", "\"m\" is damaged"},
    {"{\"p\":\"a\",\"s\":1,\"t\":0,\"m\":[0,4294967296,0,9]}\n", "\"m\" is damaged"},
    {"{\"p\":\"a\",\"s\":1,\"t\":0,\"m\":[0,0,-1,9]}\n", "\"m\" is damaged"},
    {"{\"p\":\"a\",\"s\":1,\"t\":0,\"m\":[0,0,0,-9]}\n", "\"m\" is damaged"},
    {"{\"p\":\"a\",\"s\":1,\"t\":0,\"m\":[2,0,0,9]}\n", "in a backup that \"ids\" does not list"},
    {"{\"p\":\"a\",\"s\":131072,\"t\":0,\"x\":[1,0,0,1048576,0]}\n", NULL},
    {"{\"p\":\"a\",\"s\":131073,\"t\":0,\"x\":[1,0,0,0,0]}\n", "\"x\" is damaged"},
    {"{\"p\":\"a\",\"s\":1,\"t\":0,\"x\":[1,0,0,1048577,0]}\n", "\"x\" is damaged"},
    {"{\"p\":\"a\",\"s\":1,\"t\":0,\"x\":[0,0,0,0]}\n", "\"x\" is damaged"},
    {"{\"p\":\"a\",\"s\":1,\"t\":0,\"x\":[0,0,4294967296,0,0]}\n", "\"x\" is damaged"},
    {"{\"p\":\"a\",\"s\":1,\"t\":0,\"x\":[0,0,0,0,4294967296]}\n", "\"x\" is damaged"},
    {"{\"p\":\"a\",\"s\":1,\"t\":0,\"x\":[0,0,0,-1,0]}\n", "\"x\" is damaged"},
    {"{\"p\":\"a\",\"s\":1,\"t\":0,\"x\":[2,0,0,0,0]}\n", "in a backup that \"ids\" does not list"},
    {DIR_OF("a") "{\"p\":\"b\",\"k\":\"d\",\"m\":[0,0,0,9]}\n", "has a place"},
    {"{\"p\":\"pg_tblspc/16400\",\"k\":\"l\",\"to\":\"/srv/ts\",\"x\":[0,0,0,0,0]}\n",
     "has a place"},
    /* no lines */
    {"{\"p\":\"a\",\"s\":0,\"t\":0}", "a line without an end"},
    {"{\"p\":\"a\",\"s\":0,\"t\":0\n", "bad JSON"},
    {"[\"a\"]\n", "not an object"},
    {"{\"p\":\"a\",\"p\":\"b\",\"s\":0,\"t\":0}\n", "bad JSON"},
    {"\n", "bad JSON"},
};

static uint64_t sum_of_sizes(const char *text)
{
    uint64_t sum = 0;
    for (; (text = strstr(text, "\"s\":")); text += 4)
        sum += text[4] >= '0' && text[4] <= '9' ? strtoull(text + 4, NULL, 10) : 0;
    return sum;
}

static void forged_lines(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    for (size_t i = 0; i < ARRAY_LEN(forged); i++) {
        Err why = {0};
        const char *text = forged[i].text, *says = forged[i].says;
        forge(repo, text, strlen(text), count_lines(text), sum_of_sizes(text));
        ErrCode rc = read_all(repo, &why);
        if (says ? rc != ERR_DAMAGED || !strstr(why.message, says) : rc != ERR_OK)
            fail_msg("%s%s '%s'", text, err_code_name(rc), why.message);
    }
}

static void totals(void **state)
{
    (void)state;
    static const char text[] = FILE_OF("a") "{\"p\":\"b\",\"s\":7,\"t\":0,\"m\":[0,0,0,9]}\n";
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    forge(repo, text, strlen(text), 2, 7);
    expect_ok(read_all(repo, err));
    forge(repo, text, strlen(text), 2, 8);
    expect_err(ERR_DAMAGED, "add up to its totals", read_all(repo, err));
    forge(repo, text, strlen(text), 3, 7);
    expect_err(ERR_DAMAGED, "lacks files", read_all(repo, err));
    forge(repo, text, strlen(text), 1, 7);
    expect_err(ERR_DAMAGED, "part 1", read_all(repo, err));
    forge(repo, "", 0, 0, 0);
    expect_ok(read_all(repo, err));
    mem_edit_document(repo, HEAD, KIND_MANIFEST, "\"files\":0,\"bytes\"", "\"files\":1,\"bytes\"");
    expect_err(ERR_DAMAGED, "add up to its totals", read_all(repo, err));
}

static const struct {
    const char *old, *text;
    ErrCode code;
    const char *says;
} heads[] = {
    {"\"pgdr\":1", "\"pgdr\":2", ERR_VERSION, "version 2, this pgdr reads 1"},
    {"\"pgdr\":1", "\"pgdr\":0", ERR_DAMAGED, "\"pgdr\" is 0"},
    {"\"id\":\"" ID, "\"id\":\"" OLD_ID, ERR_DAMAGED, "\"ids\" does not begin with"},
    {"\"id\":\"" ID "\"", "\"id\":\"../../x\"", ERR_DAMAGED, "\"id\" is no backup id"},
    {"\"ids\":[\"" ID "\",", "\"ids\":[", ERR_DAMAGED, "\"ids\" does not begin with"},
    {OLD_ID "\"]", "x\"]", ERR_DAMAGED, "something that is no backup id"},
    {"\"" OLD_ID "\"]", "7]", ERR_DAMAGED, "something that is no backup id"},
    {"\"ids\"", "\"idz\"", ERR_DAMAGED, "\"ids\""},
    {"\"cluster\"", "\"c\"", ERR_DAMAGED, "\"cluster\""},
    {"\"system_id\":\"1844", "\"system_id\":\"x1844", ERR_DAMAGED, "\"system_id\""},
    {"\"block\":8192", "\"block\":0", ERR_DAMAGED, "block size is 0"},
    {"\"block\":8192", "\"block\":512", ERR_DAMAGED, "block size is 512"},
    {"\"block\":8192", "\"block\":65536", ERR_DAMAGED, "block size is 65536"},
    {"\"block\":8192", "\"block\":8191", ERR_DAMAGED, "block size is 8191"},
    {"\"tli\":3", "\"tli\":4294967296", ERR_DAMAGED, "\"tli\" is 4294967296"},
    {"\"1/28\"", "\"1-28\"", ERR_DAMAGED, "\"start_lsn\""},
    {"\"mode\":\"0600\"", "\"mode\":\"0800\"", ERR_DAMAGED, "\"mode\" is not a file mode"},
    {"\"defaults\"", "\"d\"", ERR_DAMAGED, "\"defaults\""},
    {"\"path\":\"/srv/ts\"", "\"p\":\"/srv/ts\"", ERR_DAMAGED, "a tablespace has no path"},
    {"\"oid\":16400", "\"oid\":-1", ERR_DAMAGED, "\"oid\" is -1"},
    {"{\"part\":1,", "{\"part\":2,", ERR_DAMAGED, "the list of parts is damaged"},
    {"{\"part\":1,", "{\"part\":0,", ERR_DAMAGED, "\"part\" is 0"},
    {"\"size\":", "\"size\":1", ERR_DAMAGED, "not those the manifest's head lists"},
    {"\"size\":", "\"size\":99999999", ERR_DAMAGED, "the list of parts is damaged"},
    {"\"stamp\":\"", "\"stamp\":\"x", ERR_DAMAGED, "digest of an object is damaged"},
    {"\"part\":1,\"files\":1", "\"part\":1,\"files\":-1", ERR_DAMAGED, "\"files\" is -1"},
};

static void forged_heads(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        Err why = {0};
        forge(repo, FILE_OF("a"), strlen(FILE_OF("a")), 1, 0);
        expect_ok(read_all(repo, err));
        edit_head(repo, heads[i].old, heads[i].text, 1);
        ErrCode rc = read_all(repo, &why);
        if (rc != heads[i].code || !strstr(why.message, heads[i].says))
            fail_msg("%s: %s '%s'", heads[i].text, err_code_name(rc), why.message);
        assert_non_null(strstr(why.message, "app/" HEAD) ?: strstr(why.message, "app/" PART1));
    }
}

static void heads_that_are_not_whole(void **state)
{
    (void)state;
    Repo *repo AUTO(repo_closep) = mem_repo_new(CIPHER_NONE);
    ManifestReader *r AUTO(manifest_reader_closep) = NULL;
    Buf head AUTO(buf_release) = {0};
    DocumentFacts facts;
    forge(repo, FILE_OF("a"), strlen(FILE_OF("a")), 1, 0);
    get_text(repo, HEAD, &head, &facts);
    facts.sha256[31] ^= 1;
    expect_err(ERR_DAMAGED, "not the one its summary was written for",
               manifest_reader_open(repo, ID, &facts, &r, err));
    facts.sha256[31] ^= 1;
    facts.size++;
    expect_err(ERR_DAMAGED, "not the one its summary was written for",
               manifest_reader_open(repo, ID, &facts, &r, err));
    /* A head that was cut is no shorter backup. */
    for (size_t len = 0; len < head.len; len += 1 + (len > 0) * 6) {
        Err why = {0};
        expect_ok(
            document_put(repo, HEAD, KIND_MANIFEST, head.data, len, STORAGE_OVERWRITE, NULL, err));
        assert_int_equal(read_all(repo, &why), ERR_DAMAGED);
    }
    for (size_t i = 0; i < head.len - 1; i += 5) { /* nor is anything in it changed */
        Err why = {0};
        head.data[i] ^= 1;
        expect_ok(document_put(repo, HEAD, KIND_MANIFEST, head.data, head.len, STORAGE_OVERWRITE,
                               NULL, err));
        if (read_all(repo, &why) == ERR_OK)
            fail_msg("byte %zu of the head does not matter", i);
        head.data[i] ^= 1;
    }
    forge(repo, FILE_OF("a"), strlen(FILE_OF("a")), 1, 0);
    expect_err(ERR_DAMAGED, "it is the manifest of backup " ID, ({
                   Buf bytes AUTO(buf_release) = {0};
                   mem_get(repo, HEAD, &bytes);
                   mem_put(repo, "backups/" OLD_ID "/manifest", bytes.data, bytes.len);
                   manifest_reader_open(repo, OLD_ID, NULL, &r, err);
               }));
}

/* --- a head for another repository --- */

static ErrCode other_facts(void *arg, unsigned part, DocumentFacts *ret, Err *err)
{
    (void)arg;
    (void)err;
    *ret = (DocumentFacts){.size = 1000 + part};
    return ERR_OK;
}

/* Only the facts of the parts, and with them the digest, are made anew. */
static void rewritten_heads(void **state)
{
    (void)state;
    Buf text AUTO(buf_release) = {0}, want AUTO(buf_release) = {0}, got AUTO(buf_release) = {0};
    static const char first[] =
        "{\"pgdr\":1, \"id\" : \"x\", \"of a later version\":[1]}\n{\"x\":1}\n";
    const DocumentFacts was = {.size = 7}, is[] = {{.size = 1001}, {.size = 1002}};
    buf_append_str(&text, first);
    append_part_line(&text, 1, 5, &was);
    append_part_line(&text, 2, 6, &was);
    append_end_line(&text, 11, 12);
    buf_append_str(&want, first);
    append_part_line(&want, 1, 5, &is[0]);
    append_part_line(&want, 2, 6, &is[1]);
    append_end_line(&want, 11, 12);
    expect_ok(manifest_head_rewrite(&text, other_facts, NULL, &got, err));
    assert_string_equal(buf_str(&got), buf_str(&want));
}

/* --- ids --- */

static void ids(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "20260101T000000Z-00000000000000a",
                                      "20260101T000000Z-00000000000000aaa",
                                      "20260101T000000Z-00000000000000AA",
                                      "20260101T000000Z_00000000000000aa",
                                      "20261301T000000Z-00000000000000aa",
                                      "20260101T000000z-00000000000000aa",
                                      "2026-101T000000Z-00000000000000aa",
                                      "../../../x/00000Z-0000000000000aa"};
    char id[BACKUP_ID_LEN + 1], other[BACKUP_ID_LEN + 1];
    TimeUs t;
    backup_id_new(1795421700 * US_PER_SECOND + 999999, id);
    assert_int_equal(strlen(id), 33);
    assert_memory_equal(id, "20261123T081500Z-", 17);
    assert_true(backup_id_valid(id));
    expect_ok(backup_id_time(id, &t, err));
    assert_true(t == 1795421700 * US_PER_SECOND);
    backup_id_new(1795421700 * US_PER_SECOND, other);
    assert_string_not_equal(id, other);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (backup_id_valid(bad[i]))
            fail_msg("'%s' is taken for an id", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_by_hand),
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(default_owners_that_are_no_text),
        cmocka_unit_test(what_a_writer_refuses),
        cmocka_unit_test(parts_have_limits),
        cmocka_unit_test(parts_that_are_not_those_of_the_head),
        cmocka_unit_test(a_part_from_the_fallback),
        cmocka_unit_test(forged_lines),
        cmocka_unit_test(totals),
        cmocka_unit_test(forged_heads),
        cmocka_unit_test(heads_that_are_not_whole),
        cmocka_unit_test(rewritten_heads),
        cmocka_unit_test(ids),
    };
    return cmocka_run_group_tests(tests, make_two_parts, free_two_parts);
}
