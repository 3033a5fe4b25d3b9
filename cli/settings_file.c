#include "cli/settings_file.h"

#include <stdio.h>
#include <string.h>

#include "cli/suggest.h"

static ErrCode section_unknown(const char *file, const ConfEntry *e, Err *err)
{
    static const char *const known[] = {"global", "repo", "cluster"};
    char word[32];
    snprintf(word, sizeof(word), "%.*s", (int)strcspn(e->section, " \t:"), e->section);
    Suggest near = suggest_begin(word);
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        suggest_try(&near, known[i]);
    err_set(err, ERR_CONFIG, "there is no kind of section [%s] (in %s line %d)", e->section, file,
            e->line);
    if (near.best && strcmp(near.best, "global") != 0)
        return err_hint(err, "did you mean [%s NAME]?", near.best);
    if (near.best)
        return err_hint(err, "did you mean [global]?");
    return err_hint(err, "the sections are [global], [repo NAME] and [cluster NAME]");
}

/* Begins [repo NAME] or [cluster NAME]. */
static ErrCode section_begin(Settings *s, const ConfEntry *e, OptScope scope, const char *name,
                             Section **ret, Err *err)
{
    bool repo = scope == IN_REPO;
    Section *twin = repo ? section_find(s->repos.at, s->repos.n, name)
                         : section_find(s->clusters.at, s->clusters.n, name);
    if (twin)
        return err_set(err, ERR_CONFIG, "[%s] begins twice (in %s lines %d and %d)", e->section,
                       s->file, twin->line, e->line);
    if (!name_valid(name))
        return err_set(
            err, ERR_CONFIG,
            "a %s's name is up to %d letters, digits, '.', '_' and '-' and begins with a "
            "letter or digit, not \"%s\" (in %s line %d)",
            repo ? "repository" : "cluster", NAME_MAX_LEN, name, s->file, e->line);
    *ret = section_new(name, e->line);
    if (repo)
        vec_push(&s->repos, *ret);
    else
        vec_push(&s->clusters, *ret);
    return ERR_OK;
}

static ErrCode section_open(Settings *s, const ConfEntry *e, OptScope *ret_scope, Section **ret,
                            Err *err)
{
    const char *name = e->section + strcspn(e->section, " \t");
    size_t kind = (size_t)(name - e->section);
    name += strspn(name, " \t");
    bool repo = kind == 4 && memcmp(e->section, "repo", 4) == 0;
    bool cluster = kind == 7 && memcmp(e->section, "cluster", 7) == 0;
    if (strcmp(e->section, "global") == 0) {
        if (s->global.line)
            return err_set(err, ERR_CONFIG, "[global] begins twice (in %s lines %d and %d)",
                           s->file, s->global.line, e->line);
        s->global.line = e->line;
        *ret_scope = IN_GLOBAL;
        *ret = &s->global;
        return ERR_OK;
    }
    if (!repo && !cluster)
        return section_unknown(s->file, e, err);
    *ret_scope = repo ? IN_REPO : IN_CLUSTER;
    return section_begin(s, e, *ret_scope, name, ret, err);
}

/* The key is no option of the file, or not of this section. */
static ErrCode key_refuse(const Settings *s, const ConfEntry *e, OptId id, Err *err)
{
    if (id != OPT_COUNT)
        return err_set(err, ERR_CONFIG, "\"%s\" belongs in %s, not in [%s] (in %s line %d)", e->key,
                       option_place(options[id].scope), e->section, s->file, e->line);
    OptId other = option_find(e->key, strlen(e->key), CMD_COUNT);
    if (other != OPT_COUNT)
        return err_set(err, ERR_CONFIG, "\"%s\" belongs on the command line%s (in %s line %d)",
                       e->key, option_in_environment(other) ? " or in the environment" : "",
                       s->file, e->line);
    err_set(err, ERR_CONFIG, "there is no setting \"%s\" (in %s line %d)", e->key, s->file,
            e->line);
    const char *near = option_suggest_in_file(e->key);
    if (near)
        return err_hint(err, "did you mean \"%s\"?", near);
    return err_hint(err, "man pgdr lists the settings");
}

static ErrCode key_apply(Settings *s, const ConfEntry *e, OptScope scope, Section *section,
                         Err *err)
{
    OptId id = option_find_in_file(e->key);
    if (id == OPT_COUNT || options[id].scope != scope)
        return key_refuse(s, e, id, err);
    Value *v = &section->at[id];
    if (v->source == FROM_FILE)
        return err_set(err, ERR_CONFIG, "\"%s\" is set twice (in %s lines %d and %d)", e->key,
                       s->file, v->line, e->line);
    Origin origin = {.source = FROM_FILE, .file = s->file, .line = e->line};
    bool comment = strstr(e->value, " #") || strstr(e->value, " ;");
    if (value_set(v, id, e->value, &origin, err) != ERR_OK)
        return comment ? err_hint(err, "a comment must have a line of its own") : err->code;
    if (comment && !options[id].secret)
        vec_push(&s->warnings,
                 mem_printf("\"%s\" is \"%s\": a comment must have a line of its own (in %s line "
                            "%d)",
                            e->key, e->value, s->file, e->line));
    return ERR_OK;
}

ErrCode settings_take_file(Settings *s, const ConfFile *file, Err *err)
{
    OptScope scope = IN_GLOBAL;
    Section *section = NULL;
    bool secrets = false;
    for (size_t i = 0; i < file->entries.n; i++) {
        const ConfEntry *e = &file->entries.at[i];
        if (!e->key) {
            TRY(section_open(s, e, &scope, &section, err));
            continue;
        }
        TRY(key_apply(s, e, scope, section, err));
        secrets = secrets || options[option_find_in_file(e->key)].secret;
    }
    if (secrets && file->others_can_read)
        vec_push(&s->warnings, mem_printf("'%s' holds secrets and every user of this host can read "
                                          "it: chmod o-r %s",
                                          s->file, s->file));
    return ERR_OK;
}
