#include "cli/settings.h"

#include <string.h>

#include "cli/conffile.h"
#include "cli/environment.h"
#include "cli/needs.h"
#include "cli/settings_file.h"
#include "cli/suggest.h"
#include "lib/common/buf.h"

/* What the steps of settings_load() hand on. */
typedef struct Load {
    Settings *s;
    const Args *args;
    char *const *env;
    Section *repo; /* the chosen one, or NULL */
} Load;

Section *section_new(const char *name, int line)
{
    Section *section = NEW(Section);
    section->name = mem_strdup(name);
    section->line = line;
    return section;
}

static void section_release(Section *section)
{
    free(section->name);
    for (int i = 0; i < OPT_COUNT; i++)
        value_release(&section->at[i]);
}

static void section_free(Section *section)
{
    section_release(section);
    free(section);
}

void settings_free(Settings *s)
{
    if (!s)
        return;
    free(s->file);
    section_release(&s->global);
    for (size_t i = 0; i < s->repos.n; i++)
        section_free(s->repos.at[i]);
    for (size_t i = 0; i < s->clusters.n; i++)
        section_free(s->clusters.at[i]);
    vec_release(&s->repos);
    vec_release(&s->clusters);
    vec_release(&s->used);
    str_list_release(&s->tablespace_map);
    str_list_release(&s->warnings);
    free(s);
}

Section *section_find(Section *const *sections, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(sections[i]->name, name) == 0)
            return sections[i];
    return NULL;
}

/* --- what must be known before the file is read --- */

static ErrCode load_before_file(Load *l, Err *err)
{
    for (int i = 0; i < OPT_COUNT; i++) {
        OptId id = (OptId)i;
        char name[OPTION_ENV_LEN];
        if (options[id].scope != BEFORE_FILE)
            continue;
        const char *text = args_find(l->args, id);
        Origin origin = {.source = FROM_COMMAND_LINE};
        if (!text) {
            text = env_find(l->env, option_env_name(id, name));
            origin = (Origin){.source = FROM_ENVIRONMENT, .variable = name};
        }
        if (text)
            TRY(value_set(&l->s->global.at[id], id, text, &origin, err));
        else
            value_set_default(&l->s->global.at[id], id);
    }
    l->s->file = mem_strdup(l->s->global.at[OPT_CONFIG].text);
    return ERR_OK;
}

/* --- the file --- */

static ErrCode load_file(Load *l, Err *err)
{
    Settings *s = l->s;
    ConfFile file AUTO(conf_file_release) = {0};
    if (conf_file_read(s->file, &file, err) != ERR_OK) {
        if (err->code == ERR_NOT_FOUND && s->global.at[OPT_CONFIG].source == FROM_DEFAULT)
            return ERR_OK;
        if (err->code != ERR_NOT_FOUND)
            return err->code;
        err_set(err, ERR_CONFIG, "there is no configuration file '%s'", s->file);
        return err_hint(err, "without --config and PGDR_CONFIG it is '%s'", CONFIG_PATH);
    }
    s->file_exists = true;
    return settings_take_file(s, &file, err);
}

/* --- which repository and which cluster are meant --- */

/* Whether command line or environment set an option of that scope for the chosen section. */
static bool given_outside(const Load *l, OptScope scope, bool environment_too)
{
    char name[OPTION_ENV_LEN];
    for (int i = 0; i < OPT_COUNT; i++) {
        OptId id = (OptId)i;
        if (options[id].scope != scope)
            continue;
        if (args_find(l->args, id) ||
            (environment_too && env_find(l->env, option_env_name(id, name))))
            return true;
    }
    return false;
}

static ErrCode section_missing(const Settings *s, const char *kind, const char *name,
                               Section *const *sections, size_t n, Err *err)
{
    Buf list AUTO(buf_release) = {0};
    Suggest near = suggest_begin(name);
    for (size_t i = 0; i < n; i++) {
        buf_printf(&list, "%s%s", i ? ", " : "", sections[i]->name);
        suggest_try(&near, sections[i]->name);
    }
    if (!s->file_exists)
        err_set(err, ERR_CONFIG, "there is no %s '%s', because there is no file '%s'", kind, name,
                s->file);
    else
        err_set(err, ERR_CONFIG, "there is no [%s %s] in '%s'", kind, name, s->file);
    if (near.best)
        return err_hint(err, "did you mean %s?", near.best);
    if (n)
        return err_hint(err, "there are: %s", buf_str(&list));
    return err_hint(err, "add the section, or give its settings on the command line");
}

static ErrCode choose_repo(Load *l, Err *err)
{
    Settings *s = l->s;
    const char *name = s->global.at[OPT_REPO].text;
    bool url = args_find(l->args, OPT_URL) || env_find(l->env, "PGDR_URL");
    if (name)
        l->repo = section_find(s->repos.at, s->repos.n, name);
    else if (s->repos.n)
        l->repo = s->repos.at[0];
    if (name && !l->repo && !url)
        return section_missing(s, "repo", name, s->repos.at, s->repos.n, err);
    if (!l->repo && given_outside(l, IN_REPO, true)) {
        l->repo = section_new(name ? name : "main", 0);
        vec_push(&s->repos, l->repo);
    }
    if (l->repo)
        vec_push(&s->used, l->repo);
    if (!name && !url)
        for (size_t i = 1; i < s->repos.n; i++)
            vec_push(&s->used, s->repos.at[i]);
    return ERR_OK;
}

static ErrCode choose_cluster(Load *l, Err *err)
{
    Settings *s = l->s;
    const char *name = s->global.at[OPT_CLUSTER].text;
    bool strict = commands[l->args->command].needs & NEEDS_CLUSTER;
    if (name)
        s->cluster = section_find(s->clusters.at, s->clusters.n, name);
    else if (s->clusters.n == 1)
        s->cluster = s->clusters.at[0];
    if (name && !s->cluster) {
        /* Commands that only look into the repository may ask for clusters of other hosts. */
        if (s->clusters.n && strict)
            return section_missing(s, "cluster", name, s->clusters.at, s->clusters.n, err);
        s->cluster = section_new(name, 0);
        vec_push(&s->clusters, s->cluster);
    }
    if (!s->cluster && !strict && given_outside(l, IN_CLUSTER, false)) {
        err_set(err, ERR_USAGE, "an option of a cluster is given, but not which cluster is meant");
        return err_hint(err, "add --cluster=NAME");
    }
    return ERR_OK;
}

/* Commands and messages find the names of what was chosen, also where nobody said them. */
static void name_chosen(Load *l)
{
    const Section *chosen[] = {l->repo, l->s->cluster};
    static const OptId ids[] = {OPT_REPO, OPT_CLUSTER};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        Value *v = &l->s->global.at[ids[i]];
        if (chosen[i] && !v->text)
            *v = (Value){.source = FROM_DEFAULT, .text = mem_strdup(chosen[i]->name)};
    }
}

/* --- environment and command line --- */

static ErrCode apply_environment(Load *l, Section *section, OptScope scope, Err *err)
{
    char name[OPTION_ENV_LEN];
    for (int i = 0; section && i < OPT_COUNT; i++) {
        OptId id = (OptId)i;
        if (options[id].scope != scope)
            continue;
        Origin origin = {.source = FROM_ENVIRONMENT, .variable = option_env_name(id, name)};
        const char *text = env_find(l->env, name);
        if (text)
            TRY(value_set(&section->at[id], id, text, &origin, err));
    }
    return ERR_OK;
}

/* PGDR_REPO_<NAME>_<OPTION>, for any repository. */
static ErrCode apply_repo_environment(Load *l, Section *repo, Err *err)
{
    for (int i = 0; i < OPT_COUNT; i++) {
        OptId id = (OptId)i;
        if (options[id].scope != IN_REPO)
            continue;
        char *name AUTO(mem_freep) = repo_env_name(repo->name, id);
        Origin origin = {.source = FROM_ENVIRONMENT, .variable = name};
        const char *text = env_find(l->env, name);
        if (text)
            TRY(value_set(&repo->at[id], id, text, &origin, err));
    }
    return ERR_OK;
}

static ErrCode apply_args(Load *l, Err *err)
{
    Origin origin = {.source = FROM_COMMAND_LINE};
    for (size_t i = 0; i < l->args->given.n; i++) {
        const Arg *a = &l->args->given.at[i];
        Section *section = options[a->id].scope == IN_REPO      ? l->repo
                           : options[a->id].scope == IN_CLUSTER ? l->s->cluster
                                                                : &l->s->global;
        /* Without a section the command will fail for want of it, which says more. */
        if (!section || options[a->id].scope == BEFORE_FILE)
            continue;
        TRY(value_set(&section->at[a->id], a->id, a->value, &origin, err));
        if (options[a->id].type == TYPE_LIST)
            vec_push(&l->s->tablespace_map, mem_strdup(a->value));
    }
    return ERR_OK;
}

/* --- what nobody has set --- */

/* The credentials are one thing: a key of the file never meets a token of the environment; and
 * whoever names the file of shared credentials means the key in it. */
static ErrCode apply_fallbacks(Load *l, Section *repo, Err *err)
{
    bool own = repo->at[OPT_S3_KEY].source || repo->at[OPT_S3_SECRET].source ||
               repo->at[OPT_S3_CREDENTIALS_FILE].source || repo->at[OPT_S3_PROFILE].source;
    const char *url = repo->at[OPT_URL].text;
    if (!url || strncmp(url, "s3://", 5) != 0)
        return ERR_OK;
    for (int i = 0; i < OPT_COUNT; i++) {
        const Option *o = &options[i];
        if (!o->fallback || repo->at[i].source || (o->secret && own))
            continue;
        Origin origin = {.source = FROM_FALLBACK, .variable = o->fallback};
        const char *text = env_find(l->env, o->fallback);
        if (text)
            TRY(value_set(&repo->at[i], (OptId)i, text, &origin, err));
    }
    return ERR_OK;
}

static void apply_defaults(Section *section, OptScope scope)
{
    for (int i = 0; i < OPT_COUNT; i++) {
        bool here = options[i].scope == scope ||
                    (scope == IN_GLOBAL && options[i].scope == ON_COMMAND_LINE);
        if (here && !section->at[i].source)
            value_set_default(&section->at[i], (OptId)i);
    }
}

static ErrCode load_all(Load *l, Err *err)
{
    Settings *s = l->s;
    bool no_file = commands[l->args->command].needs & NO_FILE;
    TRY(load_before_file(l, err));
    if (!no_file) {
        TRY(load_file(l, err));
        TRY(choose_repo(l, err));
        TRY(choose_cluster(l, err));
        name_chosen(l);
    }
    TRY(apply_environment(l, &s->global, IN_GLOBAL, err));
    TRY(apply_environment(l, l->repo, IN_REPO, err));
    TRY(apply_environment(l, s->cluster, IN_CLUSTER, err));
    for (size_t i = 0; i < s->repos.n; i++)
        TRY(apply_repo_environment(l, s->repos.at[i], err));
    TRY(apply_args(l, err));
    for (size_t i = 0; i < s->repos.n; i++)
        TRY(apply_fallbacks(l, s->repos.at[i], err));

    apply_defaults(&s->global, IN_GLOBAL);
    for (size_t i = 0; i < s->repos.n; i++)
        apply_defaults(s->repos.at[i], IN_REPO);
    for (size_t i = 0; i < s->clusters.n; i++)
        apply_defaults(s->clusters.at[i], IN_CLUSTER);
    if (!no_file)
        environment_warn(s, l->env);
    return settings_check(s, l->args->command, err);
}

ErrCode settings_load(const Args *args, char *const *env, Settings **ret, Err *err)
{
    Settings *s AUTO(settings_freep) = NEW(Settings);
    Load l = {.s = s, .args = args, .env = env};
    TRY(load_all(&l, err));
    *ret = steal_ptr(&s);
    return ERR_OK;
}
