/* pgdr repo resolve: choosing between two contents of one WAL file. */

#include <stdio.h>
#include <string.h>

#include "catalog/wal_publish.h"
#include "cli/cli.h"
#include "cli/repos.h"
#include "lib/repo/wal_object.h"

typedef struct Resolve {
    Cli *cli;
    Repo *repo;
    const char *file;
    const char *keep; /* NULL: only show */
    json_t *contents;
    bool any_name; /* it can be the name of a WAL file */
    bool found, kept;
} Resolve;

static void show_content(Resolve *r, WalStore *store, const WalFound *f, OutTable *table)
{
    Buf table_bytes AUTO(buf_release) = {0};
    WalMeta meta = {.size = 0};
    Err why = {0};
    char when[TIME_TEXT_LEN] = "?", size[TIME_TEXT_LEN];
    bool good = wal_read_table(store, f, &meta, &table_bytes, &why) == ERR_OK;
    if (good)
        time_format_utc(meta.pushed, false, when);
    out_table_row(table, f->digest, good ? meta.host : "?", when, size_format(meta.valid, size),
                  good ? "" : why.message, NULL);
    json_array_append_new(r->contents,
                          json_pack("{s:s,s:o,s:o,s:I,s:o}", "digest", f->digest, "host",
                                    out_json_text(meta.host), "pushed", out_json_time(meta.pushed),
                                    "bytes", (json_int_t)meta.valid, "repo",
                                    out_json_text(r->repo->name)));
}

/* Copies a content under orphan/, durably, before it is removed from its timeline. */
static ErrCode move_to_orphan(WalStore *store, const WalFound *f, Err *err)
{
    Buf data AUTO(buf_release) = {0};
    Buf table AUTO(buf_release) = {0};
    WalMeta meta;
    TRY(wal_read(store, f, &data, &meta, &table, err));
    ObjectWriter *w AUTO(object_writer_freep) = object_writer_new(8 * MIB);
    WalPieces pieces AUTO(wal_pieces_release) = {.at = NULL};
    wal_pieces_make(&pieces, data.data, data.len, 0);
    char *name AUTO(mem_freep) = wal_orphan_name(store, meta.host, f->file, f->digest);
    TRY(wal_object_build(store, w, name, &meta, &pieces, NULL, err));
    ErrCode rc = wal_put(store, w, name, STORAGE_CREATE, err);
    if (rc != ERR_OK && rc != ERR_EXISTS)
        return rc;
    TRY(wal_remove(store, f, err));
    log_info("%s-%s is kept as '%s'", f->file, f->digest, name);
    return ERR_OK;
}

static ErrCode thaw(WalStore *store, const char *file, Err *err)
{
    char tli8[9];
    TimelineMarks marks AUTO(timeline_marks_release) = {0};
    snprintf(tli8, sizeof(tli8), "%.8s", file);
    TRY(timeline_marks_read(store, tli8, "frozen-", &marks, err));
    for (size_t i = 0; i < marks.n; i++) {
        const char *of = json_string_value(json_object_get(marks.at[i].body, "file"));
        if (of && strcmp(of, file) == 0)
            TRY(timeline_mark_remove(store, tli8, marks.at[i].name, err));
    }
    return ERR_OK;
}

static ErrCode keep_one(Resolve *r, WalStore *store, const WalFoundList *found, Err *err)
{
    size_t matches = 0, kept = 0;
    for (size_t i = 0; i < found->n; i++)
        if (strncmp(found->at[i].digest, r->keep, strlen(r->keep)) == 0) {
            matches++;
            kept = i;
        }
    if (matches > 1)
        return err_set(err, ERR_USAGE, "%zu contents of %s have a digest that begins with '%s'",
                       matches, r->file, r->keep);
    if (!matches)
        return ERR_OK; /* every repository has digests of its own */
    r->kept = true;
    for (size_t i = 0; i < found->n; i++)
        if (i != kept)
            TRY(move_to_orphan(store, &found->at[i], err));
    TRY(thaw(store, r->file, err));
    log_info("%s-%s is the content of its timeline", r->file, found->at[kept].digest);
    return ERR_OK;
}

static ErrCode resolve_in(Resolve *r, WalStore *store, Err *err)
{
    WalFoundList found = {0};
    OutTable table AUTO(out_table_release) = {0};
    ErrCode rc = wal_find(store, r->file, &found, err);
    out_table_columns(&table, "DIGEST", "FROM HOST", "ARCHIVED", ">BYTES", "NOTE", NULL);
    for (size_t i = 0; i < found.n && rc == ERR_OK; i++)
        show_content(r, store, &found.at[i], &table);
    if (rc == ERR_OK && found.n) {
        r->found = true;
        out_text(&r->cli->out, "%s of system %s in repository %s\n\n", r->file, store->system,
                 r->repo->name);
        out_table_print(&table, &r->cli->out);
        if (r->keep)
            rc = keep_one(r, store, &found, err);
        else if (found.n > 1)
            out_text(&r->cli->out,
                     "\nstop the wrong server, then: pgdr repo resolve %s "
                     "--keep=DIGEST\n",
                     r->file);
    }
    vec_release(&found);
    return rc;
}

static ErrCode resolve_repo(Resolve *r, Err *err)
{
    StrList systems AUTO(str_list_release) = {0};
    TRY(wal_list_systems(r->repo, &systems, err));
    for (size_t i = 0; i < systems.n; i++) {
        WalStore store;
        uint64_t id;
        uint32_t size;
        if (!wal_system_parse(systems.at[i], &id, &size) ||
            wal_name_parse(r->file, size).kind == WAL_NAME_OTHER)
            continue;
        r->any_name = true;
        wal_store_init(&store, r->repo, id, size);
        TRY(resolve_in(r, &store, err));
    }
    return ERR_OK;
}

ErrCode cmd_repo_resolve(Cli *cli, Err *err)
{
    Resolve r = {.cli = cli,
                 .file = cli->args[0],
                 .keep = opt_text(cli, OPT_KEEP),
                 .contents = json_array()};
    json_object_set_new(out_doc(&cli->out), "contents", r.contents);
    for (size_t i = 0; i < opt_repos(cli); i++) {
        Repo *repo AUTO(repo_closep) = NULL;
        TRY(cli_repo_open(cli, i, opt_cluster(cli), &repo, err));
        r.repo = repo;
        TRY(resolve_repo(&r, err));
    }
    if (!r.found && !r.any_name)
        return err_set(err, ERR_USAGE, "'%s' is not the name of a WAL file", r.file);
    if (!r.found)
        return err_set(err, ERR_NOT_FOUND, "there is no %s of cluster '%s'", r.file,
                       opt_cluster(cli));
    if (r.keep && !r.kept)
        return err_set(err, ERR_USAGE, "no content of %s has a digest that begins with '%s'",
                       r.file, r.keep);
    return ERR_OK;
}
