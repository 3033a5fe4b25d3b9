#include "cli/environment.h"

#include <ctype.h>
#include <string.h>

#include "cli/suggest.h"

const char *env_find(char *const *env, const char *name)
{
    size_t len = strlen(name);
    for (; env && *env; env++)
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return (*env)[len + 1] ? *env + len + 1 : NULL;
    return NULL;
}

char *repo_env_name(const char *repo, OptId id)
{
    char *out = mem_printf("PGDR_REPO_%s_%s", repo, options[id].name);
    for (char *p = out; *p; p++)
        *p = isalnum((unsigned char)*p) ? (char)toupper((unsigned char)*p) : '_';
    return out;
}

static bool variable_known(const Settings *s, const char *variable)
{
    char name[OPTION_ENV_LEN];
    for (int i = 0; i < OPT_COUNT; i++) {
        OptId id = (OptId)i;
        if (!option_in_environment(id))
            continue;
        if (strcmp(option_env_name(id, name), variable) == 0)
            return true;
        for (size_t r = 0; options[id].scope == IN_REPO && r < s->repos.n; r++) {
            char *own AUTO(mem_freep) = repo_env_name(s->repos.at[r]->name, id);
            if (strcmp(own, variable) == 0)
                return true;
        }
    }
    return false;
}

/* Why a variable that is not known is not; the caller frees. */
static char *variable_reason(const char *variable)
{
    char name[OPTION_ENV_LEN], best[OPTION_ENV_LEN] = "";
    unsigned distance = suggest_begin(variable).distance;
    for (int i = 0; i < OPT_COUNT; i++) {
        OptId id = (OptId)i;
        option_env_name(id, name);
        if (!option_in_environment(id) && strcmp(name, variable) == 0)
            return mem_printf("--%s is for the command line only", options[id].name);
        if (option_in_environment(id) && word_distance(variable, name) < distance) {
            distance = word_distance(variable, name);
            strcpy(best, name);
        }
    }
    if (best[0])
        return mem_printf("did you mean %s?", best);
    if (strncmp(variable, "PGDR_REPO_", 10) == 0)
        return mem_strdup("there is no such repository, or it has no such setting");
    return mem_strdup("there is no such setting");
}

void environment_warn(Settings *s, char *const *env)
{
    for (char *const *e = env; e && *e; e++) {
        size_t len = strcspn(*e, "=");
        char *variable AUTO(mem_freep) = mem_strndup(*e, len);
        if (strncmp(variable, "PGDR_", 5) != 0 || variable_known(s, variable))
            continue;
        char *why AUTO(mem_freep) = variable_reason(variable);
        vec_push(&s->warnings, mem_printf("%s in the environment is ignored: %s", variable, why));
    }
}
