#ifndef PGDR_CLI_S3_H
#define PGDR_CLI_S3_H

/* From the options of a repository in S3 to its storage. */

#include "cli/cli.h"
#include "lib/storage/drivers.h"

/* Whether this url leads to S3. */
bool cli_is_s3(const char *url);
/*
 * The bucket of repository `i`. The access key comes from the options (and so from the AWS_…
 * variables), else from the file of shared credentials. `hurry`: somebody waits for the answer and
 * will ask again, so that a server that says nothing is not waited for.
 */
MUST_CHECK ErrCode cli_s3_open(const Cli *cli, size_t i, const RetrySpec *retry, bool hurry,
                               Storage **ret, Err *err);

#endif
