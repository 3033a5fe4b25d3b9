#ifndef PGDR_CLI_SETTINGS_H
#define PGDR_CLI_SETTINGS_H

/*
 * Every value in effect and where it comes from. Command line over environment over configuration
 * file over default; what stands for one repository (PGDR_REPO_MAIN_URL) over what stands for the
 * one that is chosen (PGDR_URL).
 */

#include "cli/args.h"
#include "cli/value.h"
#include "lib/common/mem.h"

/* [global] with what stands only on the command line, one [repo NAME] or one [cluster NAME]. Only
 * options of that scope are set in it. */
typedef struct Section {
    char *name;
    int line; /* in the file; 0 when it comes from elsewhere */
    Value at[OPT_COUNT];
} Section;

typedef struct Settings {
    char *file; /* the configuration file */
    bool file_exists;
    Section global;
    VEC(Section *) repos;    /* all, in the file's order */
    VEC(Section *) clusters; /* all, in the file's order */
    VEC(Section *) used;     /* the repositories in effect, the chosen one first */
    Section *cluster;        /* the chosen one, or NULL */
    StrList tablespace_map;  /* the one option that is a list */
    StrList warnings;        /* to be logged once the log is set up */
} Settings;

/*
 * Reads environment and file and checks every value, and that what the command needs is there.
 * `env` is a list like environ.
 */
MUST_CHECK ErrCode settings_load(const Args *args, char *const *env, Settings **ret, Err *err);
void settings_free(Settings *settings);
DEFINE_FREEP(Settings, settings_free)

Section *section_new(const char *name, int line);
/* NULL when there is none of that name. */
Section *section_find(Section *const *sections, size_t n, const char *name);

#endif
