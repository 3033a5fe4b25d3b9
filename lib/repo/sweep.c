/* The second half of expire: what one trash object names, and still may, goes. */

#include <string.h>

#include "lib/common/hex.h"
#include "lib/common/log.h"
#include "lib/repo/expire.h"
#include "lib/repo/manifest.h"
#include "lib/repo/trash.h"

typedef struct Sweep {
    Repo *repo;
    TrashInfo *trash;
    NameSet leased;      /* backup ids */
    BackupStates before; /* as seen before the marks were put, and behind them */
    BackupStates states;
    NameSet named;     /* ids of backups of which the trash object names anything */
    NameSet going;     /* ids of backups that are removed */
    NameSet certain;   /* packs used by backups that every sweep of this trash object sees */
    NameSet uncertain; /* packs used by others */
    StrList marks;     /* put by this sweep */
    StrList packs;     /* that go */
    bool stays;        /* the trash object is still needed */
    size_t removed;
} Sweep;

static void sweep_release(Sweep *s)
{
    backup_states_release(&s->before);
    backup_states_release(&s->states);
    NameSet *sets[] = {&s->leased, &s->named, &s->going, &s->certain, &s->uncertain};
    for (size_t i = 0; i < ARRAY_LEN(sets); i++)
        name_set_release(sets[i]);
    str_list_release(&s->marks);
    str_list_release(&s->packs);
}

static ErrCode read_states(Sweep *s, BackupStates *ret, Err *err)
{
    TRY(backup_states_read(s->repo, NULL, ret, err));
    return expire_refuse_unknown(s->repo, ret, err);
}

static void find_named(Sweep *s)
{
    const StrList *names = &s->trash->names.names;
    for (size_t i = 0; i < names->n; i++) {
        char id[BACKUP_ID_LEN + 1];
        if (expire_name_id(names->at[i], "backups/", id))
            name_set_add(&s->named, mem_strdup(id));
    }
}

/* Whether a backup may go by this trash object. A tombstone counts when it is named in it: one that
 * was put later waits for its own. What somebody works on, or reads, waits as well. */
static bool may_go(Sweep *s, const BackupState *b)
{
    if (!name_set_has(&s->named, b->id) || name_set_has(&s->leased, b->id))
        return false;
    if (!backup_exists(b))
        return true;
    for (size_t i = 0; i < b->deleted.n; i++) {
        char *name AUTO(mem_freep) = mem_printf("backups/%s/deleted-%s", b->id, b->deleted.at[i]);
        if (name_set_has(&s->trash->names, name))
            return true;
    }
    return false;
}

/* --- marks --- */

/* Each sweep has marks of its own, so that it can take back those it does not need. */
static ErrCode put_mark(Sweep *s, const char *id, Err *err)
{
    char uuid[33], what[48];
    snprintf(what, sizeof(what), "going-%s", random_name(uuid));
    char *name AUTO(mem_freep) = backup_object_name(id, what);
    json_t *body AUTO(json_decrefp) =
        json_pack("{s:I,s:s}", "time", (json_int_t)time_now(), "trash", s->trash->name);
    TRY(document_put_json(s->repo, name, KIND_MARK, body, STORAGE_CREATE, NULL, err));
    vec_push(&s->marks, steal_ptr(&name));
    return ERR_OK;
}

/* Decides which backups go: first a mark, then the look that counts. */
static ErrCode decide_backups(Sweep *s, Err *err)
{
    for (size_t i = 0; i < s->before.n; i++)
        if (may_go(s, &s->before.at[i]))
            TRY(put_mark(s, s->before.at[i].id, err));
    TRY(read_states(s, &s->states, err));
    for (size_t i = 0; i < s->marks.n; i++) {
        char id[BACKUP_ID_LEN + 1];
        if (!expire_name_id(s->marks.at[i], "backups/", id))
            continue;
        const BackupState *b = backup_states_find(&s->states, id);
        if (b && may_go(s, b))
            name_set_add(&s->going, mem_strdup(id));
    }
    return ERR_OK;
}

/* Marks on backups that stay after all. */
static ErrCode withdraw_marks(Sweep *s, Err *err)
{
    StrList names AUTO(str_list_release) = {0};
    for (size_t i = 0; i < s->marks.n; i++) {
        char id[BACKUP_ID_LEN + 1];
        if (expire_name_id(s->marks.at[i], "backups/", id) && !name_set_has(&s->going, id))
            vec_push(&names, mem_strdup(s->marks.at[i]));
    }
    return names.n ? repo_remove(s->repo, (const char *const *)names.at, names.n, err) : ERR_OK;
}

/* --- packs --- */

/*
 * Every manifest that stays protects its packs, whether it is committed or not.
 *
 * A backup that is committed had put its manifest before this trash object was ripe, or its last
 * look would not have let it through; so every sweep of it sees that. But somebody else's sweep may
 * have decided just before the summary came: its mark was there by then.
 */
static ErrCode protect_packs(Sweep *s, Err *err)
{
    for (size_t i = 0; i < s->states.n; i++) {
        const BackupState *b = &s->states.at[i];
        if (!b->manifest || name_set_has(&s->going, b->id))
            continue;
        const BackupState *first = backup_states_find(&s->before, b->id);
        bool certain = first && backup_exists(first) && backup_exists(b) && !b->going;
        TRY(expire_protect(s->repo, b->id, certain ? &s->certain : &s->uncertain, err));
    }
    return ERR_OK;
}

static void decide_packs(Sweep *s)
{
    const StrList *names = &s->trash->names.names;
    for (size_t i = 0; i < names->n; i++) {
        const char *name = names->at[i];
        char id[BACKUP_ID_LEN + 1];
        if (!expire_name_id(name, "packs/", id) || name_set_has(&s->certain, name))
            continue;
        const BackupState *b = backup_states_find(&s->states, id);
        bool leased = !(b && backup_exists(b)) && name_set_has(&s->leased, id);
        if (leased || name_set_has(&s->uncertain, name))
            s->stays = true;
        else
            vec_push(&s->packs, mem_strdup(name));
    }
}

/* --- removal --- */

typedef enum Part { PART_SUMMARY, PART_MANIFEST, PART_REST, PART_MARK } Part;

static Part part_of(const char *name)
{
    const char *what = strrchr(name, '/') + 1;
    return strcmp(what, "summary") == 0      ? PART_SUMMARY
           : strcmp(what, "manifest") == 0   ? PART_MANIFEST
           : strncmp(what, "going-", 6) == 0 ? PART_MARK
                                             : PART_REST;
}

/* Removes one part of all backups that go, and with the rest the packs. */
static ErrCode remove_part(Sweep *s, Part part, Err *err)
{
    VEC(const char *) names = {0};
    for (size_t i = 0; i < s->states.n; i++) {
        const BackupState *b = &s->states.at[i];
        if (!name_set_has(&s->going, b->id))
            continue;
        for (size_t k = 0; k < b->objects.n; k++)
            if (part_of(b->objects.at[k]) == part)
                vec_push(&names, b->objects.at[k]);
    }
    if (part == PART_REST)
        for (size_t i = 0; i < s->packs.n; i++)
            vec_push(&names, s->packs.at[i]);
    ErrCode rc = names.n ? repo_remove(s->repo, names.at, names.n, err) : ERR_OK;
    if (rc == ERR_OK)
        s->removed += names.n;
    vec_release(&names);
    return rc;
}

/* In this order: what is listed is whole until the end, and a mark goes after all it stands for. */
static ErrCode remove_all(Sweep *s, Err *err)
{
    for (Part part = PART_SUMMARY; part <= PART_MARK; part++)
        TRY(remove_part(s, part, err));
    const char *name = s->trash->name;
    return s->stays ? ERR_OK : repo_remove(s->repo, &name, 1, err);
}

static ErrCode sweep_trash(Sweep *s, Err *err)
{
    find_named(s);
    TRY(lease_backups(s->repo, &s->leased.names, err));
    TRY(read_states(s, &s->before, err));
    TRY(decide_backups(s, err));
    TRY(withdraw_marks(s, err));
    TRY(protect_packs(s, err));
    decide_packs(s);
    return remove_all(s, err);
}

ErrCode expire_sweep(Repo *repo, TimeUs grace, size_t *ret_removed, Err *err)
{
    TrashList trash AUTO(trash_list_release) = {0};
    ErrCode first = ERR_OK;
    *ret_removed = 0;
    TRY(trash_read(repo, grace, &trash, err));
    for (size_t i = 0; i < trash.n; i++) {
        Sweep s AUTO(sweep_release) = {.repo = repo, .trash = &trash.at[i]};
        Err why = {0};
        ErrCode rc = sweep_trash(&s, &why);
        *ret_removed += s.removed;
        if (rc != ERR_OK && first == ERR_OK) {
            first = rc;
            *err = why;
        } else if (rc != ERR_OK) {
            log_err(LOG_WARN, &why);
        }
    }
    return first;
}
