#ifndef PGDR_CLI_SETTINGS_FILE_H
#define PGDR_CLI_SETTINGS_FILE_H

/* What the lines of a configuration file set. */

#include "cli/conffile.h"
#include "cli/settings.h"

/* Adds the file's sections and values to *s; s->file names it in messages. Whatever is unknown,
 * misplaced, repeated or out of bounds is ERR_CONFIG with the line and the nearest right name. */
MUST_CHECK ErrCode settings_take_file(Settings *s, const ConfFile *file, Err *err);

#endif
