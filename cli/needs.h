#ifndef PGDR_CLI_NEEDS_H
#define PGDR_CLI_NEEDS_H

/* Whether the settings are enough for a command, and what to add when they are not. */

#include "cli/settings.h"

MUST_CHECK ErrCode settings_check(const Settings *s, CommandId command, Err *err);

#endif
