#include "catalog/wal_copy.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "catalog/lineage.h"
#include "lib/common/hex.h"
#include "lib/common/parallel.h"
#include "lib/common/workers.h"
#include "lib/repo/wal_tail.h"

/* Beyond this size of a segment one is copied at a time, to bound the memory. */
#define PARALLEL_SEGMENT_MAX ((uint32_t)64 << 20)

typedef struct WalCopy {
    const WalCopySpec *spec;
    WalStore from, to;
    Lineage lineage;
    bool same_digests;
    unsigned threads;
    ObjectWriter **writers; /* one a thread */
    atomic_uint_fast64_t files, bytes, kept;
} WalCopy;

/* A range of one timeline; until 0: to its end. */
typedef struct SegmentRange {
    uint32_t tli;
    uint64_t first, last;
} SegmentRange;

/* --- one file --- */

static ErrCode differ(const WalCopy *c, const WalFound *f, const char *there, const char *here,
                      Err *err)
{
    err_set(err, ERR_CONFLICT, "%s has other content in '%s' (%s) than in '%s' (%s)", f->file,
            repo_url(c->to.repo), there, repo_url(c->from.repo), here);
    return err_hint(err,
                    "two servers archived under this name; 'pgdr repo resolve %s' in each of "
                    "the repositories shows where each content is from",
                    f->file);
}

/* Whether two objects say the same about their file: one is then a copy of the other, or of the
 * same push. */
static ErrCode same_origin(WalCopy *c, const WalFound *from, const WalFound *to, bool *ret,
                           Err *err)
{
    Buf table AUTO(buf_release) = {0};
    WalMeta a = {.size = 0}, b = {.size = 0};
    Err why = {0};
    *ret = false;
    TRY(wal_read_table(&c->from, from, &a, &table, err));
    ErrCode rc = wal_read_table(&c->to, to, &b, &table, &why);
    if (rc != ERR_OK)
        return rc == ERR_DAMAGED ? ERR_OK : (*err = why, rc);
    *ret = a.size == b.size && a.valid == b.valid && a.pushed == b.pushed && a.pushed != 0 &&
           strcmp(a.host, b.host) == 0;
    return ERR_OK;
}

/* Is the file in `to` with this content? It may be there with another: ERR_CONFLICT. */
static ErrCode there_already(WalCopy *c, ObjectWriter *w, const WalFound *from, const WalFound *to,
                             bool *ret, Err *err)
{
    char digest[WAL_DIGEST_LEN];
    *ret = true;
    if (c->same_digests)
        return strcmp(from->digest, to->digest) == 0
                   ? ERR_OK
                   : differ(c, from, to->digest, from->digest, err);
    TRY(same_origin(c, from, to, ret, err));
    if (*ret)
        return ERR_OK;
    TRY(wal_object_remake(&c->from, from, &c->to, w, digest, err));
    if (strcmp(digest, to->digest) != 0)
        return differ(c, from, to->digest, digest, err);
    *ret = true;
    return ERR_OK;
}

static ErrCode copy_file(WalCopy *c, ObjectWriter *w, const WalFound *f, Err *err)
{
    char digest[WAL_DIGEST_LEN];
    int fd;
    TRY(wal_object_remake(&c->from, f, &c->to, w, digest, err));
    char *name AUTO(mem_freep) = wal_object_name(&c->to, f->file, digest);
    ErrCode rc = wal_put(&c->to, w, name, STORAGE_CREATE, err);
    if (rc == ERR_EXISTS) { /* somebody else was faster with the same content */
        atomic_fetch_add(&c->kept, 1);
        return ERR_OK;
    }
    if (rc != ERR_OK)
        return rc;
    atomic_fetch_add(&c->files, 1);
    atomic_fetch_add(&c->bytes, object_writer_bytes(w, &fd).len);
    progress_add(c->spec->progress, f->stat.size, 1);
    return ERR_OK;
}

/* --- a list of files --- */

static int by_file(const void *a, const void *b)
{
    return strcmp(((const WalFound *)a)->file, ((const WalFound *)b)->file);
}

/* The object of a file; ERR_CONFLICT when it has two contents. */
static ErrCode find_file(const WalStore *store, const WalFoundList *list, const char *file,
                         const WalFound **ret, Err *err)
{
    WalFound key = {.stat = {0}};
    snprintf(key.file, sizeof(key.file), "%s", file);
    *ret = list->n ? bsearch(&key, list->at, list->n, sizeof(list->at[0]), by_file) : NULL;
    if (!*ret)
        return ERR_OK;
    size_t i = (size_t)(*ret - list->at);
    bool twice = (i > 0 && strcmp(list->at[i - 1].file, file) == 0) ||
                 (i + 1 < list->n && strcmp(list->at[i + 1].file, file) == 0);
    if (!twice)
        return ERR_OK;
    err_set(err, ERR_CONFLICT, "there are two different contents of %s in '%s'", file,
            repo_url(store->repo));
    return err_hint(err, "'pgdr repo resolve %s' shows both and keeps the one you choose", file);
}

typedef struct FileList {
    WalCopy *copy;
    const WalFoundList *from, *to;
} FileList;

static ErrCode copy_listed(void *arg, unsigned thread, size_t i, Err *err)
{
    const FileList *l = arg;
    WalCopy *c = l->copy;
    const WalFound *f = &l->from->at[i], *same, *there;
    TRY(cancel_check(err));
    TRY(find_file(&c->from, l->from, f->file, &same, err));
    TRY(find_file(&c->to, l->to, f->file, &there, err));
    if (there) {
        bool whole;
        TRY(there_already(c, c->writers[thread], f, there, &whole, err));
        if (whole) {
            atomic_fetch_add(&c->kept, 1);
            progress_add(c->spec->progress, f->stat.size, 1);
            return ERR_OK;
        }
    }
    return copy_file(c, c->writers[thread], f, err);
}

typedef ErrCode (*ListFn)(void *arg, WalStore *store, WalFoundList *ret, Err *err);

/* What `list` finds in `to`, looked at for a file of two contents: somebody may have archived
 * another one at the same time. */
static ErrCode look_again(WalCopy *c, ListFn list, void *arg, Err *err)
{
    WalFoundList now = {0};
    ErrCode rc = list(arg, &c->to, &now, err);
    for (size_t i = 0; i < now.n && rc == ERR_OK; i++) {
        const WalFound *found;
        rc = find_file(&c->to, &now, now.at[i].file, &found, err);
    }
    vec_release(&now);
    return rc;
}

/* Copies what `list` finds in `from`. */
static ErrCode copy_list(WalCopy *c, ListFn list, void *arg, Err *err)
{
    WalFoundList from = {0}, to = {0};
    FileList l = {.copy = c, .from = &from, .to = &to};
    ErrCode rc = list(arg, &c->from, &from, err);
    if (rc == ERR_OK)
        rc = list(arg, &c->to, &to, err);
    uint64_t before = atomic_load(&c->files);
    for (size_t i = 0; i < from.n; i++)
        progress_add_total(c->spec->progress, from.at[i].stat.size, 1);
    if (rc == ERR_OK)
        rc = parallel_run(c->threads, from.n, copy_listed, &l, err);
    vec_release(&from);
    vec_release(&to);
    if (rc == ERR_OK && atomic_load(&c->files) != before)
        rc = look_again(c, list, arg, err);
    return rc;
}

/* --- histories, directories, tails --- */

static ErrCode list_histories(void *arg, WalStore *store, WalFoundList *ret, Err *err)
{
    (void)arg;
    return wal_list_histories(store, ret, err);
}

typedef struct Directory {
    const SegmentRange *range;
    const char *name; /* its 16 digits */
} Directory;

static ErrCode list_directory(void *arg, WalStore *store, WalFoundList *ret, Err *err)
{
    const Directory *d = arg;
    char tli8[9];
    snprintf(tli8, sizeof(tli8), "%08X", d->range->tli);
    TRY(wal_list_directory(store, tli8, d->name, true, ret, err));
    size_t left = 0;
    for (size_t i = 0; i < ret->n; i++) {
        WalName name = wal_name_parse(ret->at[i].file, store->seg_size);
        if (name.kind != WAL_NAME_OTHER && name.segno >= d->range->first &&
            name.segno <= d->range->last)
            ret->at[left++] = ret->at[i];
    }
    ret->n = left;
    return ERR_OK;
}

static ErrCode copy_range(WalCopy *c, const SegmentRange *range, Err *err)
{
    StrList names AUTO(str_list_release) = {0};
    char tli8[9], first[WAL_NAME_MAX];
    snprintf(tli8, sizeof(tli8), "%08X", range->tli);
    wal_name_segment(range->tli, range->first, c->from.seg_size, first);
    TRY(wal_list_directories(&c->from, tli8, &names, err));
    for (size_t i = 0; i < names.n; i++) {
        Directory d = {.range = range, .name = names.at[i]};
        if (strncmp(names.at[i], first, 16) >= 0)
            TRY(copy_list(c, list_directory, &d, err));
    }
    return ERR_OK;
}

static ErrCode copy_tail(WalCopy *c, const char *segment, uint64_t segno, Err *err)
{
    Buf here AUTO(buf_release) = {0};
    Buf there AUTO(buf_release) = {0};
    Lsn start = wal_segment_start(segno, c->from.seg_size);
    uint64_t here_end, there_end;
    bool gone;
    char session[33];
    TRY(tail_read(&c->from, segment, start, &here, &here_end, &gone, err));
    if (gone || here_end == start)
        return ERR_OK; /* its segment was finished meanwhile: the next run finds that */
    TRY(tail_read(&c->to, segment, start, &there, &there_end, &gone, err));
    size_t common = MIN(here.len, there.len);
    if (common && memcmp(here.data, there.data, common) != 0)
        return err_set(err, ERR_CONFLICT, "the tail of %s has other content in '%s' than in '%s'",
                       segment, repo_url(c->to.repo), repo_url(c->from.repo));
    if (there_end >= here_end)
        return ERR_OK;
    TRY(tail_put(&c->to, segment, start, here_end, random_name(session), here.data, err));
    atomic_fetch_add(&c->files, 1);
    atomic_fetch_add(&c->bytes, here.len);
    return ERR_OK;
}

static ErrCode copy_tails(WalCopy *c, const SegmentRange *range, Err *err)
{
    StrList segments AUTO(str_list_release) = {0};
    char tli8[9];
    snprintf(tli8, sizeof(tli8), "%08X", range->tli);
    TRY(tail_list_segments(&c->from, tli8, &segments, err));
    for (size_t i = 0; i < segments.n; i++) {
        WalName name = wal_name_parse(segments.at[i], c->from.seg_size);
        if (name.kind == WAL_NAME_SEGMENT && name.segno >= range->first &&
            name.segno <= range->last)
            TRY(copy_tail(c, segments.at[i], name.segno, err));
    }
    return ERR_OK;
}

/* --- what is needed --- */

/* From the earliest backup on that leads to the timeline; false when none does. */
static bool timeline_range(const WalCopy *c, const BackupSummary *system, uint32_t tli,
                           SegmentRange *ret)
{
    const BackupList *list = c->spec->backups;
    TimelinePath path AUTO(timeline_path_release) = {0};
    Err why = {0};
    bool found = false;
    if (lineage_path(&c->lineage, tli, &path, &why) != ERR_OK)
        timeline_path_single(tli, &path); /* at least what was backed up on it */
    *ret = (SegmentRange){.tli = tli, .first = UINT64_MAX, .last = UINT64_MAX};
    for (size_t i = 0; i < backup_count(list); i++) {
        const BackupSummary *b = backup_at(list, i);
        if (!backup_same_system(b, system) || !timeline_contains(&path, b->timeline, b->stop_lsn))
            continue;
        ret->first = MIN(ret->first, wal_segno(b->start_lsn, c->from.seg_size));
        found = true;
    }
    return found;
}

static ErrCode copy_timelines(WalCopy *c, const BackupSummary *system, Err *err)
{
    StrList timelines AUTO(str_list_release) = {0};
    TRY(wal_list_timelines(&c->from, &timelines, err));
    for (size_t i = 0; i < timelines.n; i++) {
        SegmentRange range;
        uint32_t tli = (uint32_t)strtoul(timelines.at[i], NULL, 16);
        if (!timeline_range(c, system, tli, &range))
            continue;
        TRY(copy_range(c, &range, err));
        TRY(copy_tails(c, &range, err));
    }
    return ERR_OK;
}

static ErrCode copy_backups_wal(WalCopy *c, const BackupSummary *system, Err *err)
{
    const BackupList *list = c->spec->backups;
    for (size_t i = 0; i < backup_count(list); i++) {
        const BackupSummary *b = backup_at(list, i);
        SegmentRange range = {.tli = b->timeline,
                              .first = wal_segno(b->start_lsn, c->from.seg_size),
                              .last = wal_segno_before(b->stop_lsn, c->from.seg_size)};
        if (!backup_same_system(b, system))
            continue;
        TRY(copy_range(c, &range, err));
        TRY(copy_tails(c, &range, err));
    }
    return ERR_OK;
}

static ErrCode copy_system(WalCopy *c, const BackupSummary *system, Err *err)
{
    wal_store_init(&c->from, c->spec->from, system->system_id, system->wal_segment_size);
    wal_store_init(&c->to, c->spec->to, system->system_id, system->wal_segment_size);
    c->threads = system->wal_segment_size > PARALLEL_SEGMENT_MAX ? 1 : MAX(c->spec->jobs, 1u);
    c->writers = mem_new(c->threads * sizeof(ObjectWriter *));
    for (unsigned i = 0; i < c->threads; i++)
        c->writers[i] = object_writer_new(MIB);
    ErrCode rc = copy_list(c, list_histories, NULL, err);
    if (rc == ERR_OK)
        rc = lineage_read(&c->from, &c->lineage, err);
    if (rc == ERR_OK)
        rc = (c->spec->only_theirs ? copy_backups_wal : copy_timelines)(c, system, err);
    for (unsigned i = 0; i < c->threads; i++)
        object_writer_free(c->writers[i]);
    free(c->writers);
    lineage_release(&c->lineage);
    return rc;
}

ErrCode wal_copy(const WalCopySpec *spec, WalCopyResult *ret, Err *err)
{
    const BackupList *list = spec->backups;
    WalCopy c = {.spec = spec, .same_digests = wal_same_digests(spec->from, spec->to)};
    ErrCode rc = ERR_OK;
    progress_begin(spec->progress, "copying WAL", 0, 0);
    for (size_t i = 0; i < backup_count(list) && rc == ERR_OK; i++) {
        bool seen = false;
        for (size_t k = 0; k < i && !seen; k++)
            seen = backup_same_system(backup_at(list, k), backup_at(list, i));
        c.lineage = (Lineage){.steps = {0}};
        if (!seen)
            rc = copy_system(&c, backup_at(list, i), err);
    }
    *ret = (WalCopyResult){.files = atomic_load(&c.files),
                           .bytes = atomic_load(&c.bytes),
                           .kept = atomic_load(&c.kept)};
    return rc;
}

/* --- healing --- */

ErrCode wal_copy_heal(WalStore *from, WalStore *to, const WalFound *damaged, Err *err)
{
    WalFoundList found = {0};
    char digest[WAL_DIGEST_LEN];
    ObjectWriter *w AUTO(object_writer_freep) = object_writer_new(MIB);
    ErrCode rc = wal_find(from, damaged->file, &found, err);
    bool healed = false;
    for (size_t i = 0; i < found.n && rc == ERR_OK && !healed; i++) {
        rc = wal_object_remake(from, &found.at[i], to, w, digest, err);
        if (rc != ERR_OK || (*damaged->digest && strcmp(digest, damaged->digest) != 0))
            continue;
        char *name AUTO(mem_freep) = wal_object_name(to, damaged->file, digest);
        rc = wal_put(to, w, name, STORAGE_OVERWRITE, err);
        healed = rc == ERR_OK;
    }
    vec_release(&found);
    if (rc == ERR_OK && !healed)
        rc = err_set(err, ERR_NOT_FOUND, "'%s' has no %s with that content", repo_url(from->repo),
                     damaged->file);
    return rc;
}
