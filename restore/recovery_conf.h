#ifndef PGDR_RESTORE_RECOVERY_CONF_H
#define PGDR_RESTORE_RECOVERY_CONF_H

/* Recovery settings in postgresql.auto.conf. */

#include "lib/common/mem.h"

/* One setting that a restore writes; an empty value is written as ''. */
typedef struct ConfSetting {
    const char *name;
    char *value;
} ConfSetting;
typedef VEC(ConfSetting) ConfSettings;
void conf_settings_release(ConfSettings *s);
/* Takes `value` over. */
void conf_set(ConfSettings *s, const char *name, char *value);

/* How `comment` begins. */
#define CONF_COMMENT "written by pgdr restore on "

/*
 * The new text of postgresql.auto.conf: `old` without any recovery setting (a restored cluster
 * brings those of its own last restore, and two targets are fatal) and without what is set anew
 * and the comment of that restore, then the settings under a comment line. `dropped` receives the
 * names of what was removed.
 */
char *recovery_conf_edit(const char *old, size_t len, const char *comment,
                         const ConfSettings *settings, StrList *dropped);

#endif
