#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/repo/wal_object.h"
#include "verify/wal_checker.h"

/* The WAL of all systems: their histories, the marks on their timelines, what is missing
 * (wal_presence.c), and the content of what is there (wal_content.c). */

static void wal_checker_release(WalChecker *w)
{
    wal_ways_release(&w->ways);
    backup_refs_release(&w->backups);
    lineage_release(&w->lineage);
    wal_inventory_release(&w->inv);
    str_list_release(&w->bad_pieces);
}

/* --- marks --- */

/* Two contents of a segment are told with the segment; the mark stays when one is removed by hand.
 */
static bool is_told(const WalChecker *w, const char *file)
{
    size_t n = 0, same = 0;
    WalName name = wal_name_parse(file, w->store.seg_size);
    bool partial = name.kind == WAL_NAME_PARTIAL;
    const TimelineWal *t =
        partial || name.kind == WAL_NAME_SEGMENT ? wal_inventory_timeline(&w->inv, name.tli) : NULL;
    const WalEntry *e = t ? wal_timeline_entries(t, name.segno, &n) : NULL;
    for (size_t i = 0; i < n; i++)
        same += e[i].partial == partial;
    return same > 1;
}

static void found_frozen(WalChecker *w, uint32_t tli, const json_t *mark)
{
    const char *file = json_string_value(json_object_get(mark, "file"));
    char text[200], object[32], hint[160];
    if (file && is_told(w, file))
        return;
    snprintf(text, sizeof(text), "it is frozen: two servers archived different contents of %.64s",
             file ? file : "a segment");
    snprintf(object, sizeof(object), "timeline %u", tli);
    snprintf(hint, sizeof(hint),
             "'pgdr repo resolve %.64s' shows both and keeps the one you choose",
             file ? file : "WAL-FILE");
    VerifyFinding f = {.object = object, .problem = text, .hint = hint};
    checker_found(w->c, &f);
}

/* All are; or (one backup is under test) those that it leads over. */
static bool is_in_scope(const WalChecker *w, uint32_t tli)
{
    for (size_t i = 0; w->c->spec->backup_id && i < w->ways.all.n; i++)
        if (w->ways.all.at[i].stretches.n && timeline_step(&w->ways.all.at[i].path, tli))
            return true;
    return !w->c->spec->backup_id;
}

static ErrCode check_mark(WalChecker *w, const char *name, Err *err)
{
    Err why = {0};
    json_t *mark AUTO(json_decrefp) = NULL;
    const char *at = name + strlen("timelines/") + strlen(w->store.system) + 1;
    uint32_t tli = (uint32_t)strtoul(at, NULL, 16);
    if (!is_in_scope(w, tli))
        return ERR_OK;
    ErrCode rc = document_get_json(w->store.repo, name, KIND_MARK, &mark, NULL, &why);
    w->c->result.other_objects++;
    if (rc == ERR_OK && strncmp(strrchr(name, '/'), "/frozen-", 8) == 0)
        found_frozen(w, tli, mark);
    if (rc == ERR_OK || rc == ERR_NOT_FOUND)
        return ERR_OK;
    if (!checker_is_finding(rc)) {
        *err = why;
        return rc;
    }
    err_wrap(&why, "archive-push stores nothing more of timeline %u", tli);
    checker_found_err(w->c, name, &why, NULL);
    return ERR_OK;
}

static ErrCode check_marks(WalChecker *w, Err *err)
{
    StrList names AUTO(str_list_release) = {0};
    char *prefix AUTO(mem_freep) = mem_printf("timelines/%s/", w->store.system);
    TRY(repo_list_names(w->store.repo, prefix, false, &names, err));
    for (size_t i = 0; i < names.n; i++)
        TRY(check_mark(w, names.at[i], err));
    return ERR_OK;
}

/* --- histories --- */

/* A history file that is damaged or (tli) missing. */
static void found_history(WalChecker *w, const WalFound *found, uint32_t tli, const Err *why)
{
    WalFound f = *found;
    if (tli)
        wal_name_history(tli, f.file);
    char *object AUTO(mem_freep) =
        *f.digest ? wal_object_name(&w->store, f.file, f.digest) : mem_strdup(f.file);
    VerifyFinding finding = {.object = object,
                             .problem = why->message,
                             .hint = *why->hint ? why->hint : NULL,
                             .store = &w->store,
                             .wal = &f};
    checker_found(w->c, &finding);
}

static void found_two_histories(WalChecker *w, const WalFound *a, const WalFound *b)
{
    Err why = {0};
    err_set(&why, ERR_CONFLICT, "there are two different contents of it: %s and %s", a->digest,
            b->digest);
    err_hint(&why,
             "two servers took this timeline; 'pgdr repo resolve %s' shows both and keeps the one "
             "you choose",
             a->file);
    checker_found_err(w->c, a->file, &why, NULL);
}

static ErrCode read_history(WalChecker *w, const WalFound *f, Err *err)
{
    Buf text AUTO(buf_release) = {0};
    uint64_t stored;
    WalName name = wal_name_parse(f->file, w->store.seg_size);
    char *object AUTO(mem_freep) = wal_object_name(&w->store, f->file, f->digest);
    w->c->result.other_objects++;
    TRY(wal_prove(&w->store, object, f, &text, &stored, err));
    atomic_fetch_add(&w->c->bytes, stored);
    return lineage_add(&w->lineage, name.tli, (const char *)text.data, text.len, err);
}

/* Every history file by itself: the lineage as a whole cannot say which one is damaged. *ret_good:
 * all of them are whole, and of one content each. */
static ErrCode check_histories(WalChecker *w, bool *ret_good, Err *err)
{
    const WalFoundList *all = &w->inv.histories;
    *ret_good = true;
    for (size_t i = 0; i < all->n; i++) {
        const WalFound *f = &all->at[i];
        Err why = {0};
        ErrCode rc = read_history(w, f, &why);
        if (rc != ERR_OK && !checker_is_finding(rc)) {
            *err = why;
            return rc;
        }
        if (rc != ERR_OK)
            found_history(w, f, 0, &why);
        bool twice = i > 0 && strcmp(all->at[i - 1].file, f->file) == 0;
        if (twice)
            found_two_histories(w, &all->at[i - 1], f);
        *ret_good &= rc == ERR_OK && !twice;
    }
    return ERR_OK;
}

static void found_unknown(WalChecker *w, uint32_t tli)
{
    Err why = {0};
    TimelinePath path AUTO(timeline_path_release) = {0};
    if (lineage_path(&w->lineage, tli, &path, &why) == ERR_NOT_FOUND)
        found_history(w, &(WalFound){.digest = ""}, tli, &why);
}

static bool is_of_system(const WalChecker *w, const BackupSummary *b)
{
    return b->system_id == w->store.system_id && b->wal_segment_size == w->store.seg_size;
}

/* Timelines that have WAL or backups, but no history that tells where they come from. */
static void check_unknown(WalChecker *w)
{
    TimelineList list = {0};
    for (size_t i = 0; i < w->inv.timelines.n; i++)
        if (!lineage_knows(&w->lineage, w->inv.timelines.at[i].tli))
            vec_push(&list, w->inv.timelines.at[i].tli);
    for (size_t i = 0; i < w->backups.n; i++) {
        bool listed = !is_of_system(w, w->backups.at[i]);
        for (size_t k = 0; k < list.n && !listed; k++)
            listed = list.at[k] == w->backups.at[i]->timeline;
        if (!listed)
            vec_push(&list, w->backups.at[i]->timeline);
    }
    for (size_t i = 0; i < list.n; i++)
        found_unknown(w, list.at[i]);
    vec_release(&list);
}

/* --- systems --- */

static ErrCode check_system(WalChecker *w, Err *err)
{
    bool good;
    for (size_t i = 0; i < w->c->backups.n; i++)
        vec_push(&w->backups, w->c->backups.at[i].summary);
    TRY(wal_inventory_read(&w->store, &w->inv, err));
    for (size_t i = 0; i < w->inv.strays.n; i++)
        vec_push(&w->c->others, mem_strdup(w->inv.strays.at[i]));
    TRY(check_histories(w, &good, err));
    if (good) {
        check_unknown(w);
        TRY(wal_ways_find(&w->inv, &w->store, &w->lineage, &w->backups, &w->ways, err));
        w->ways_known = true;
    }
    TRY(check_marks(w, err));
    check_wal_presence(w);
    return check_wal_content(w, err);
}

/* Of what lies below one folder, the systems; what is none of their names is looked at by itself.
 */
static ErrCode add_systems(Checker *c, const char *folder, StrList *ret, Err *err)
{
    StrList names AUTO(str_list_release) = {0};
    TRY(repo_list_names(c->repo, folder, true, &names, err));
    for (size_t i = 0; i < names.n; i++) {
        uint64_t id;
        uint32_t size;
        char *name = names.at[i] + strlen(folder);
        size_t len = strlen(name);
        bool below = len && name[len - 1] == '/';
        if (below)
            name[len - 1] = '\0';
        bool is = below && wal_system_parse(name, &id, &size) && wal_segment_size_valid(size);
        if (is && !str_list_has(ret, name))
            vec_push(ret, mem_strdup(name));
        if (below && !is)
            vec_push(&c->other_folders, mem_printf("%s%s/", folder, name));
        if (!below)
            vec_push(&c->others, mem_strdup(names.at[i]));
    }
    return ERR_OK;
}

/* Those of the backups under test; and when that is all of them, those of all WAL there is. */
static ErrCode find_systems(Checker *c, StrList *ret, Err *err)
{
    static const char *const folders[] = {"wal/", "tail/", "timelines/"};
    for (size_t i = 0; i < c->backups.n; i++) {
        WalStore store;
        const BackupSummary *b = c->backups.at[i].summary;
        wal_store_init(&store, c->repo, b->system_id, b->wal_segment_size);
        if (!str_list_has(ret, store.system))
            vec_push(ret, mem_strdup(store.system));
    }
    for (size_t i = 0; i < ARRAY_LEN(folders) && !c->spec->backup_id; i++)
        TRY(add_systems(c, folders[i], ret, err));
    return ERR_OK;
}

ErrCode check_wal(Checker *c, Err *err)
{
    StrList systems AUTO(str_list_release) = {0};
    progress_begin(c->spec->progress, "checking WAL", 0, 0);
    TRY(find_systems(c, &systems, err));
    for (size_t i = 0; i < systems.n; i++) {
        WalChecker w AUTO(wal_checker_release) = {.c = c};
        uint64_t id = 0;
        uint32_t size = 0;
        if (!wal_system_parse(systems.at[i], &id, &size))
            return err_set(err, ERR_INTERNAL, "'%s' is no system", systems.at[i]);
        wal_store_init(&w.store, c->repo, id, size);
        TRY(check_system(&w, err));
    }
    return ERR_OK;
}
