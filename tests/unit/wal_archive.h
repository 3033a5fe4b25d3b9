#ifndef PGDR_TESTS_WAL_ARCHIVE_H
#define PGDR_TESTS_WAL_ARCHIVE_H

/* A repository in memory with the WAL of one system in it: by names alone, or with content that was
 * built record by record (wal_build.h). Segments have 1 MiB. */

#include "catalog/backups.h"
#include "catalog/wal_index.h"
#include "lib/common/hex.h"
#include "lib/pg/wal_name.h"
#include "lib/repo/wal_object.h"
#include "lib/repo/wal_tail.h"
#include "tests/unit/mem_repo.h"
#include "tests/unit/unit.h"
#include "tests/unit/wal_build.h"

#define ARCHIVE_NOON (INT64_C(1795435200) * US_PER_SECOND)
/* The position `off` bytes into a segment. */
#define AT(segno, off) ((Lsn)(segno)*BUILD_SEG + (off))

typedef struct Archive {
    Storage *fault; /* the repository's storage: calls can be counted, hooked, and made to fail */
    Repo *repo;
    WalStore store;
    unsigned backups;
} Archive;

static inline void archive_open(Archive *a)
{
    *a = (Archive){.fault = storage_fault_new(storage_mem_new(false), &(FaultSpec){.nth = 0})};
    a->repo = mem_repo_in(a->fault, CIPHER_NONE);
    wal_store_init(&a->store, a->repo, BUILD_SYSTEM_ID, BUILD_SEG);
}

static inline void archive_close(Archive *a)
{
    repo_close(a->repo);
}

/* --- by names alone --- */

static inline void archive_put_name(Archive *a, const char *name)
{
    mem_put(a->repo, name, "", 0);
}

/* A file of pg_wal, whose digest is 32 times the digit. */
static inline void archive_put_file(Archive *a, const char *file, char digit)
{
    char digest[WAL_DIGEST_LEN];
    memset(digest, digit, sizeof(digest) - 1);
    digest[sizeof(digest) - 1] = '\0';
    char *name AUTO(mem_freep) = wal_object_name(&a->store, file, digest);
    archive_put_name(a, name);
}

static inline void archive_put_segments(Archive *a, uint32_t tli, uint64_t first, uint64_t last)
{
    char file[WAL_NAME_MAX];
    for (uint64_t segno = first; segno <= last; segno++)
        archive_put_file(a, wal_name_segment(tli, segno, BUILD_SEG, file), 'a');
}

static inline void archive_put_partial(Archive *a, uint32_t tli, uint64_t segno)
{
    char segment[WAL_NAME_MAX], file[WAL_NAME_MAX + 16];
    snprintf(file, sizeof(file), "%s.partial", wal_name_segment(tli, segno, BUILD_SEG, segment));
    archive_put_file(a, file, 'b');
}

static inline void archive_put_tail(Archive *a, uint32_t tli, uint64_t segno)
{
    char file[WAL_NAME_MAX];
    wal_name_segment(tli, segno, BUILD_SEG, file);
    char *name AUTO(mem_freep) =
        mem_printf("tail/%s/%.8s/%s/%016llX-%016llX-%032d", a->store.system, file, file,
                   (unsigned long long)AT(segno, 0), (unsigned long long)AT(segno, 8192), 7);
    archive_put_name(a, name);
}

/* --- with content --- */

static inline void archive_put_content(Archive *a, const char *file, const void *data, size_t len,
                                       const WalIndex *index)
{
    char digest[WAL_DIGEST_LEN];
    Buf sections AUTO(buf_release) = {0};
    WalPieces pieces AUTO(wal_pieces_release) = {.at = NULL};
    WalMeta meta = {.pushed = ARCHIVE_NOON, .host = "here"};
    ObjectWriter *w AUTO(object_writer_freep) = object_writer_new(MIB);
    wal_pieces_make(&pieces, data, len, 1);
    wal_pieces_digest(&pieces, a->repo, digest);
    snprintf(meta.file, sizeof(meta.file), "%s", file);
    if (index)
        wal_index_encode(index, &sections);
    char *name AUTO(mem_freep) = wal_object_name(&a->store, file, digest);
    expect_ok(wal_object_build(&a->store, w, name, &meta, &pieces, &sections, err));
    expect_ok(wal_put(&a->store, w, name, STORAGE_CREATE, err));
}

static inline void archive_history(Archive *a, uint32_t tli, const char *text)
{
    char file[WAL_NAME_MAX];
    archive_put_content(a, wal_name_history(tli, file), text, strlen(text), NULL);
}

/* A segment of what was built, under a timeline's name; `until` not 0: a .partial up to there. */
static inline void archive_segment(Archive *a, uint32_t tli, const WalBuild *b, uint64_t segno,
                                   Lsn until)
{
    char segment[WAL_NAME_MAX], file[WAL_NAME_MAX + 16];
    uint8_t *data AUTO(mem_freep) = mem_zero(BUILD_SEG);
    WalIndex index AUTO(wal_index_release) = {.start = 0};
    WalSegmentCheck check;
    memcpy(data, build_byte(b, AT(segno, 0)), until ? until - AT(segno, 0) : BUILD_SEG);
    expect_ok(wal_index_build(data, BUILD_SEG, AT(segno, 0), &check, &index, err));
    snprintf(file, sizeof(file), "%s%s", wal_name_segment(tli, segno, BUILD_SEG, segment),
             until ? ".partial" : "");
    archive_put_content(a, file, data, BUILD_SEG, &index);
}

static inline void archive_tail(Archive *a, uint32_t tli, const WalBuild *b, uint64_t segno,
                                Lsn until)
{
    char file[WAL_NAME_MAX], session[33];
    random_name(session);
    expect_ok(tail_put(&a->store, wal_name_segment(tli, segno, BUILD_SEG, file), AT(segno, 0),
                       until, session, build_byte(b, AT(segno, 0)), err));
}

/* --- backups --- */

/* The summaries of a list are not stored; ids are "1", "2", … at their ends. */
static inline void archive_backup(Archive *a, BackupList *list, uint32_t tli, Lsn start, Lsn stop)
{
    BackupSummary s = {.cluster = mem_strdup("app"),
                       .system_id = BUILD_SYSTEM_ID,
                       .pg_version_num = 150018,
                       .type = mem_strdup("full"),
                       .label = mem_strdup(""),
                       .host = mem_strdup("here"),
                       .parent = mem_strdup(""),
                       .timeline = tli,
                       .start_lsn = start,
                       .stop_lsn = stop,
                       .wal_segment_size = BUILD_SEG,
                       .block_size = 8192};
    s.start_time = s.stop_time = ARCHIVE_NOON - US_PER_SECOND;
    snprintf(s.id, sizeof(s.id), "20261123T120000Z-%016u", ++a->backups);
    vec_push(&list->all, s);
}

/* --- WAL --- */

/* A commit at that second after noon; where its record starts. */
static inline Lsn build_commit(WalBuild *b, int second)
{
    uint8_t time[8];
    int64_t since_2000 = ARCHIVE_NOON - INT64_C(946684800) * US_PER_SECOND;
    set_u64(time, (uint64_t)(since_2000 + second * US_PER_SECOND));
    return build_record(b, RMGR_XACT, 0, time, WAL_RECORD_HEADER + 2 + sizeof(time));
}

/* Records of 3000 bytes until `to` is reached, across all borders. */
static inline void build_fill(WalBuild *b, Lsn to)
{
    while (b->at < to)
        build_plain(b, 3000);
}

/* The same WAL up to where `from` has come to, to be written on as another timeline. */
static inline void build_fork(WalBuild *b, const WalBuild *from, uint32_t tli)
{
    *b = *from;
    b->tli = tli;
    b->data = mem_zero((size_t)(from->end - from->start));
    memcpy(b->data, from->data, (size_t)(from->at - from->start));
}

#endif
