/* pgdr config: every value in effect and where it comes from. */

#include "cli/cli.h"

/* "/etc/pgdr/pgdr.conf:7", "PGDR_JOBS", "command line"; the caller frees. */
static char *source_text(const Settings *s, const Value *v)
{
    switch (v->source) {
    case FROM_FILE:
        return mem_printf("%s:%d", s->file, v->line);
    case FROM_ENVIRONMENT:
    case FROM_FALLBACK:
        return mem_printf("environment %s", v->variable);
    case FROM_COMMAND_LINE:
        return mem_strdup("command line");
    case FROM_DEFAULT:
        return mem_strdup("default");
    case FROM_NOWHERE:
        break;
    }
    return mem_strdup("not set");
}

static json_t *value_json(const Option *o, const Value *v)
{
    if (!v->source || o->secret)
        return json_null();
    switch (o->type) {
    case TYPE_BOOL:
        return json_boolean(v->number);
    case TYPE_INT:
    case TYPE_SIZE:
        return json_integer(v->number);
    case TYPE_DURATION:
        return v->number % US_PER_SECOND ? json_real((double)v->number / (double)US_PER_SECOND)
                                         : json_integer(v->number / US_PER_SECOND);
    default:
        return out_json_text(v->text);
    }
}

static json_t *source_json(const Settings *s, const Value *v)
{
    static const char *const names[] = {
        [FROM_NOWHERE] = "none",
        [FROM_DEFAULT] = "default",
        [FROM_FALLBACK] = "environment",
        [FROM_FILE] = "file",
        [FROM_ENVIRONMENT] = "environment",
        [FROM_COMMAND_LINE] = "command_line",
    };
    json_t *j = json_pack("{s:s}", "source", names[v->source]);
    if (v->source == FROM_FILE) {
        json_object_set_new(j, "file", out_json_text(s->file));
        json_object_set_new(j, "line", json_integer(v->line));
    }
    if (v->variable)
        json_object_set_new(j, "variable", json_string(v->variable));
    return j;
}

/* Adds the settings of one section to the table, and returns them. */
static json_t *show_section(const Settings *s, const Section *section, OptScope scope,
                            OutTable *table)
{
    json_t *all = json_object();
    for (int i = 0; i < OPT_COUNT; i++) {
        const Option *o = &options[i];
        const Value *v = &section->at[i];
        if (o->scope != scope)
            continue;
        char *source AUTO(mem_freep) = source_text(s, v);
        out_table_row(table, o->name,
                      !v->source  ? "-"
                      : o->secret ? "(secret)"
                                  : v->text,
                      source, NULL);
        json_t *j = source_json(s, v);
        json_object_set_new(j, "value", value_json(o, v));
        if (o->secret)
            json_object_set_new(j, "secret", json_true());
        json_object_set_new(all, o->name, j);
    }
    return all;
}

static void show_heading(OutTable *table, const char *kind, const char *name, const char *note)
{
    char *heading AUTO(mem_freep) = mem_printf("[%s%s%s]", kind, name ? " " : "", name ? name : "");
    out_table_row(table, heading, note, NULL);
}

static json_t *show_sections(Cli *cli, const char *kind, OptScope scope, OutTable *table)
{
    const Settings *s = cli->settings;
    bool repo = scope == IN_REPO;
    const Section *chosen = !repo ? s->cluster : s->used.n ? s->used.at[0] : NULL;
    size_t n = repo ? s->repos.n : s->clusters.n;
    json_t *all = json_array();
    for (size_t i = 0; i < n; i++) {
        const Section *section = repo ? s->repos.at[i] : s->clusters.at[i];
        bool is_chosen = section == chosen;
        show_heading(table, kind, section->name, is_chosen && n > 1 ? "chosen" : "");
        json_t *j = json_object();
        json_object_set_new(j, "name", json_string(section->name));
        json_object_set_new(j, "chosen", json_boolean(is_chosen));
        json_object_set_new(j, "settings", show_section(s, section, scope, table));
        json_array_append_new(all, j);
    }
    return all;
}

ErrCode cmd_config(Cli *cli, Err *err UNUSED)
{
    const Settings *s = cli->settings;
    OutTable table AUTO(out_table_release) = {0};
    json_t *doc = out_doc(&cli->out);
    json_object_set_new(doc, "file", out_json_text(s->file));
    json_object_set_new(doc, "file_exists", json_boolean(s->file_exists));
    out_text(&cli->out, "configuration file: %s%s\n\n", s->file,
             s->file_exists ? "" : " (does not exist)");

    out_table_columns(&table, "SETTING", "VALUE", "SOURCE", NULL);
    show_heading(&table, "global", NULL, "");
    json_object_set_new(doc, "global", show_section(s, &s->global, IN_GLOBAL, &table));
    json_object_set_new(doc, "repos", show_sections(cli, "repo", IN_REPO, &table));
    json_object_set_new(doc, "clusters", show_sections(cli, "cluster", IN_CLUSTER, &table));
    out_table_print(&table, &cli->out);
    return ERR_OK;
}
