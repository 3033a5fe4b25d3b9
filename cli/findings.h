#ifndef PGDR_CLI_FINDINGS_H
#define PGDR_CLI_FINDINGS_H

/* What check and verify found, one by one. */

#include "cli/output.h"

/* All strings are borrowed; NULL where there is nothing to say. */
typedef struct OutFinding {
    bool warning;                     /* else an error */
    const char *object;               /* what it is about: a name in the repository, a setting */
    const char *problem;              /* what is wrong with it */
    const char *hint;                 /* what to do about it */
    const StrList *backups, *windows; /* what suffers */
} OutFinding;

/* Prints the finding, and adds it to "findings" of the JSON object:
 * {"severity","object","problem","hint","backups":[],"windows":[]}. */
void out_finding(Output *out, const OutFinding *finding);
/* Makes "findings" an array even when nothing was found. */
void out_findings_begin(Output *out);

#endif
