#ifndef PGDR_CLI_CONFFILE_H
#define PGDR_CLI_CONFFILE_H

/*
 * The configuration file as a list of lines that mean something; what they mean is settings.c's
 * business.
 *
 * inih tells sections, keys and comments apart. Its limits, which differ with how it was built,
 * never touch a value: it cuts lines at 200 bytes, names of sections at 50, values at " ;", and
 * takes an indented line for more of the value above. So it is fed one cleaned line at a time with
 * the key only, and the value is what stands in the file from behind '=' to the end of the line.
 * There are no comments behind a value and no quotes around one, so that a password may hold
 * anything but a line break.
 */

#include "lib/common/err.h"
#include "lib/common/mem.h"

typedef struct ConfEntry {
    char *section; /* "global", "repo main" */
    char *key;     /* NULL: the section begins here */
    char *value;
    int line;
} ConfEntry;

typedef struct ConfFile {
    VEC(ConfEntry) entries; /* in the file's order */
    bool others_can_read;   /* by its permissions */
} ConfFile;

#define CONF_FILE_MAX (1024 * 1024)
#define CONF_LINE_MAX 8192

/* ERR_NOT_FOUND when there is no such file, ERR_CONFIG naming the line when it is not an INI file.
 */
MUST_CHECK ErrCode conf_file_read(const char *path, ConfFile *ret, Err *err);
void conf_file_release(ConfFile *file);

#endif
