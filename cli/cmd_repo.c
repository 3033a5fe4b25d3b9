/* pgdr repo ls, repo get: looking at what a repository holds. */

#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/repos.h"

typedef struct Listing {
    OutTable table;
    json_t *objects;
} Listing;

static ErrCode list_entry(void *arg, const StorageEntry *e, Err *err)
{
    Listing *l = arg;
    (void)err;
    char size[TIME_TEXT_LEN] = "", when[TIME_TEXT_LEN] = "";
    json_t *j = json_object();
    json_object_set_new(j, "name", out_json_text(e->name));
    if (!e->is_prefix) {
        size_format(e->stat.size, size);
        time_format_utc(e->stat.mtime, false, when);
        json_object_set_new(j, "size", json_integer((json_int_t)e->stat.size));
        json_object_set_new(j, "time", out_json_time(e->stat.mtime));
    }
    json_array_append_new(l->objects, j);
    out_table_row(&l->table, e->name, size, when, NULL);
    return ERR_OK;
}

ErrCode cmd_repo_ls(Cli *cli, Err *err)
{
    Storage *storage AUTO(storage_freep) = NULL;
    const char *path = cli->n_args ? cli->args[0] : "";
    while (*path == '/')
        path++;
    size_t len = strlen(path);
    char *prefix AUTO(mem_freep) = mem_printf("%s%s", path, len && path[len - 1] != '/' ? "/" : "");
    Listing l = {.objects = json_array()};
    StorageList list = {.prefix = prefix,
                        .by_level = !opt_bool(cli, OPT_RECURSE),
                        .want_stat = true,
                        .fn = list_entry,
                        .arg = &l};
    json_object_set_new(out_doc(&cli->out), "objects", l.objects);
    TRY(cli_storage_open(cli, 0, false, &storage, err));
    out_table_columns(&l.table, "NAME", ">SIZE", "TIME", NULL);
    ErrCode rc = storage_list(storage, &list, err);
    if (rc == ERR_OK && json_array_size(l.objects))
        out_table_print(&l.table, &cli->out);
    else if (rc == ERR_OK)
        out_text(&cli->out, "there is nothing below '%s'\n", prefix);
    out_table_release(&l.table);
    return rc;
}

#define PIECE (4 * MIB)

ErrCode cmd_repo_get(Cli *cli, Err *err)
{
    Storage *storage AUTO(storage_freep) = NULL;
    Buf piece AUTO(buf_release) = {0};
    const char *name = cli->args[0];
    TRY(cli_storage_open(cli, 0, false, &storage, err));
    for (uint64_t off = 0;;) {
        StorageRead read = {.off = off, .len = PIECE, .data = buf_reserve(&piece, PIECE)};
        if (storage_get(storage, name, &read, err) != ERR_OK)
            return err->code != ERR_NOT_FOUND ? err->code
                                              : err_hint(err, "'pgdr repo ls' shows what is there");
        TRY(out_bytes(&cli->out, read.data, read.got, err));
        off += read.got;
        if (off >= read.size || !read.got)
            return ERR_OK;
    }
}
