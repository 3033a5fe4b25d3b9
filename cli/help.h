#ifndef PGDR_CLI_HELP_H
#define PGDR_CLI_HELP_H

/* The help as text, from the two tables. Lines are at most WRAP_WIDTH wide. */

#include "cli/option.h"
#include "lib/common/buf.h"

/* Options are shown in groups, in this order. */
typedef enum OptGroup {
    GROUP_COMMAND, /* what is asked of this call */
    GROUP_CLUSTER,
    GROUP_REPO,
    GROUP_GENERAL,
    GROUP_COUNT
} OptGroup;

OptGroup option_group(OptId id);
const char *option_group_title(OptGroup group);

/* "[OPTION]... restore", "[OPTION]... archive-push WAL-FILE" */
void help_synopsis(Buf *out, CommandId id);
/* "-h, --help", "--jobs=N", "--[no-]s3-verify-tls" */
void help_option_form(Buf *out, OptId id);
/* "the number of CPUs", "60s"; NULL when the option is not set by default. */
const char *help_default(OptId id);

void help_overview(Buf *out);
void help_command(Buf *out, CommandId id);
/* Everything about one option. */
void help_option(Buf *out, OptId id);

#endif
