/* What is read of archived WAL: its objects, their indexes, names of tails. */

#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "catalog/wal_index.h"
#include "lib/common/bytes.h"
#include "lib/repo/wal_object.h"
#include "lib/repo/wal_tail.h"
#include "tests/fuzz/medium.h"

#define SEGMENT "000000010000000000000001"
#define SEG_SIZE ((uint32_t)MIB)
#define SYSTEM UINT64_C(7000000000000000001)

static const uint8_t wal_bytes[3000] = {1, 2, 3};

static void wal_specimen(Buf *bytes, WalFound *found)
{
    WalPieces pieces;
    WalStore store;
    WalMeta meta = {.pushed = 1, .file = SEGMENT ".00000028.backup", .host = "h"};
    ObjectWriter *w AUTO(object_writer_freep) = object_writer_new(KIB);
    int fd;
    *found = (WalFound){.file = SEGMENT ".00000028.backup"};
    wal_store_init(&store, medium_plain(), SYSTEM, SEG_SIZE);
    wal_pieces_make(&pieces, wal_bytes, sizeof(wal_bytes), 1);
    wal_pieces_digest(&pieces, medium_plain(), found->digest);
    char *name AUTO(mem_freep) = wal_object_name(&store, found->file, found->digest);
    FUZZ_OK(wal_object_build(&store, w, name, &meta, &pieces, NULL, err));
    Slice s = object_writer_bytes(w, &fd);
    buf_append(bytes, s.data, s.len);
    wal_pieces_release(&pieces);
}

/* Reads a WAL object; when it is taken, it holds what its name says. */
static bool wal_read_back(const void *object, size_t len)
{
    Err why;
    WalStore store;
    WalFound found;
    WalMeta meta;
    Buf bytes AUTO(buf_release) = {0}, data AUTO(buf_release) = {0}, table AUTO(buf_release) = {0};
    wal_specimen(&bytes, &found);
    wal_store_init(&store, medium_plain(), SYSTEM, SEG_SIZE);
    char *name AUTO(mem_freep) = wal_object_name(&store, found.file, found.digest);
    mem_put(medium_plain(), name, object, len);
    if (wal_read_table(&store, &found, &meta, &table, &why) == ERR_OK)
        FUZZ_CHECK(meta.valid <= meta.size && strcmp(meta.file, found.file) == 0);
    if (wal_read(&store, &found, &data, &meta, NULL, &why) != ERR_OK)
        return false;
    FUZZ_CHECK(data.len == sizeof(wal_bytes) && memcmp(data.data, wal_bytes, data.len) == 0);
    return true;
}

static void wal_object_samples(FuzzCorpus *c)
{
    WalFound found;
    Buf bytes AUTO(buf_release) = {0};
    wal_specimen(&bytes, &found);
    fuzz_add(c, bytes.data, bytes.len);
}

static bool wal_object_run(const uint8_t *data, size_t len)
{
    uint8_t *copy AUTO(mem_freep) = mem_new(len + 1);
    memcpy(copy, data, len);
    mem_mend(copy, len);
    return wal_read_back(copy, len);
}

/* The sections of an index, which the object holds compressed: u8 type, u32 length, raw bytes. */
static void add_sections(FuzzCorpus *c, const Buf *sections)
{
    Buf sample AUTO(buf_release) = {0};
    Cursor at = cursor_of(sections->data, sections->len);
    Decompressor *d AUTO(decompressor_freep) = decompressor_new();
    while (cursor_left(&at)) {
        uint8_t type = cursor_u8(&at);
        uint64_t len = cursor_varint(&at);
        const uint8_t *bytes = cursor_read(&at, len);
        size_t raw;
        FUZZ_OK(frame_raw_size(bytes, (size_t)len, MIB, &raw, err));
        buf_append_u8(&sample, type);
        buf_append_u32(&sample, (uint32_t)raw);
        FUZZ_OK(decompressor_run(d, bytes, (size_t)len, buf_reserve(&sample, raw), raw, err));
        sample.len += raw;
    }
    fuzz_add(c, sample.data, sample.len);
}

static bool sections_of(const uint8_t *data, size_t len, Buf *table)
{
    Cursor at = cursor_of(data, len);
    Compressor *c AUTO(compressor_freep) = compressor_new(1);
    while (cursor_left(&at)) {
        Buf packed AUTO(buf_release) = {0};
        uint8_t type = cursor_u8(&at);
        uint32_t says = cursor_u32(&at);
        size_t n = MIN((size_t)says, cursor_left(&at));
        const uint8_t *raw = cursor_read(&at, n);
        if (!raw)
            return false;
        void *out = buf_reserve(&packed, compress_bound(n));
        packed.len = compressor_run(c, raw, n, out, compress_bound(n));
        table_append(table, type, packed.data, packed.len);
    }
    return true;
}

static void wal_index_samples(FuzzCorpus *c)
{
    static const uint8_t page[8192] = {1, 2, 3};
    Buf sections AUTO(buf_release) = {0};
    WalIndex x = {.start = SEG_SIZE,
                  .first = SEG_SIZE + 40,
                  .ends = 2 * SEG_SIZE,
                  .spills = true,
                  .xid_min = 700,
                  .xid_max = 900,
                  .tail_start = 2 * SEG_SIZE - 50};
    for (unsigned i = 0; i < 5; i++)
        vec_push(&x.xacts, (XactEnd){.lsn = SEG_SIZE + 100 * (i + 1),
                                     .end = SEG_SIZE + 100 * (i + 1) + 40,
                                     .time = 1764000000000000 + i * 1000,
                                     .xid = 700 + i,
                                     .commit = i % 2});
    vec_push(&x.events, (WalIndexEvent){.kind = WAL_EVENT_RESTORE_POINT,
                                        .lsn = SEG_SIZE + 700,
                                        .end = SEG_SIZE + 800,
                                        .time = 1764000000000000,
                                        .text = mem_strdup("before")});
    vec_push(&x.events, (WalIndexEvent){.kind = WAL_EVENT_CHECKPOINT,
                                        .lsn = SEG_SIZE + 900,
                                        .end = SEG_SIZE + 1000,
                                        .number = SEG_SIZE + 700,
                                        .next_xid = 905});
    vec_push(&x.events, (WalIndexEvent){.kind = WAL_EVENT_TABLESPACE_CREATE,
                                        .lsn = SEG_SIZE + 1100,
                                        .end = SEG_SIZE + 1200,
                                        .number = 16400,
                                        .text = mem_strdup("/srv/ts1")});
    buf_append(&x.tail, page, sizeof(page));
    wal_index_encode(&x, &sections);
    add_sections(c, &sections);
    wal_index_release(&x);
}

static bool wal_index_run(const uint8_t *data, size_t len)
{
    static const uint8_t page[8192] = {1, 2, 3};
    Err why;
    Buf table AUTO(buf_release) = {0};
    WalIndex x AUTO(wal_index_release) = {.start = 0}, after AUTO(wal_index_release) = {.start = 0};
    bool there = false, joined;
    if (!sections_of(data, len, &table) ||
        wal_index_decode(&table, SEG_SIZE, &x, &there, &why) != ERR_OK)
        return false;
    for (size_t i = 0; i < x.events.n; i++) {
        const WalIndexEvent *e = &x.events.at[i];
        bool named = e->kind == WAL_EVENT_RESTORE_POINT || e->kind == WAL_EVENT_TABLESPACE_CREATE;
        FUZZ_CHECK(e->text ? strlen(e->text) < MIB : !named);
    }
    after.start = 2 * SEG_SIZE;
    buf_append(&after.head, page, sizeof(page));
    if (there && wal_index_join(&x, &after, SEG_SIZE, &joined, &why) == ERR_OK)
        FUZZ_CHECK(!joined || x.spills);
    return there;
}

static void tail_samples(FuzzCorpus *c)
{
    WalStore store;
    StrList names AUTO(str_list_release) = {0};
    wal_store_init(&store, medium_plain(), SYSTEM, SEG_SIZE);
    FUZZ_OK(tail_put(&store, SEGMENT, SEG_SIZE, SEG_SIZE + 3000, "00000000000000000000000000000009",
                     wal_bytes, err));
    FUZZ_OK(repo_list_names(medium_plain(), "tail/", false, &names, err));
    fuzz_add_text(c, strrchr(names.at[0], '/') + 1);
    FUZZ_OK(repo_remove(medium_plain(), (const char *const *)names.at, 1, err));
}

/* The name of a tail object, which says where its bytes belong. */
static bool tail_run(const uint8_t *data, size_t len)
{
    Err why;
    WalStore store;
    Buf got AUTO(buf_release) = {0};
    StrList names AUTO(str_list_release) = {0};
    uint64_t end = 0;
    bool vanished = false;
    wal_store_init(&store, medium_plain(), SYSTEM, SEG_SIZE);
    char *text AUTO(mem_freep) = mem_strndup((const char *)data, len);
    char *name AUTO(mem_freep) = mem_printf("tail/%s/00000001/" SEGMENT "/%s", store.system, text);
    if (document_put(medium_plain(), name, KIND_TAIL, wal_bytes, sizeof(wal_bytes),
                     STORAGE_OVERWRITE, NULL, &why) != ERR_OK)
        return false; /* no name of an object at all */
    ErrCode rc = tail_read(&store, SEGMENT, SEG_SIZE, &got, &end, &vanished, &why);
    const char *one = name;
    FUZZ_OK(repo_remove(medium_plain(), &one, 1, err));
    FUZZ_CHECK(rc != ERR_OK || got.len <= SEG_SIZE);
    FUZZ_CHECK(rc != ERR_OK || end == SEG_SIZE + got.len);
    return rc == ERR_OK && got.len > 0;
}

const FuzzTarget fuzz_targets[] = {
    {"wal-object", wal_object_samples, wal_object_run, 50},
    {"wal-index", wal_index_samples, wal_index_run, 0},
    {"tail-name", tail_samples, tail_run, 0},
};
const size_t fuzz_targets_n = ARRAY_LEN(fuzz_targets);
