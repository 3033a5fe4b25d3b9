#ifndef PGDR_CLI_PASSPHRASE_H
#define PGDR_CLI_PASSPHRASE_H

/* Where an encrypted repository's passphrase comes from. */

#include "cli/cli.h"
#include "lib/repo/keyring.h"

typedef struct Passphrase {
    const char *text, *file, *command; /* one of them; borrowed from the options */
    TimeUs time_limit;                 /* of the command */
    char *cache_dir;                   /* NULL: nothing is kept */
} Passphrase;

/* Of repository `i`. ERR_CONFIG when it is given in two ways. */
MUST_CHECK ErrCode passphrase_of_repo(const Cli *cli, size_t i, Passphrase *ret, Err *err);
/* The new one of `repo rekey`; false when none is given. */
bool passphrase_new(const Cli *cli, Passphrase *ret);
bool passphrase_given(const Passphrase *p);
/* What the layers below get; it refers to *p. */
KeySecret passphrase_secret(Passphrase *p);
void passphrase_release(Passphrase *p);

#endif
