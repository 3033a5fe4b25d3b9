#ifndef PGDR_CLI_FINGERPRINT_H
#define PGDR_CLI_FINGERPRINT_H

#include "cli/cli.h"
#include "lib/common/digest.h"

/*
 * A digest of all that is in effect for a command: every value, of whatever source, the
 * repositories in their order, the cluster, this program's version. Two processes with the same one
 * do the same with the same file. Left out are what the command is called for (its arguments) and
 * --helper. What stands in other files (passphrases, shared credentials) is not looked at.
 */
void cli_fingerprint(const Cli *cli, uint8_t out[XXH128_LEN]);

#endif
