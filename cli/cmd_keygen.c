/* pgdr keygen: a passphrase nobody can guess. */

#include "cli/cli.h"
#include "lib/repo/keyring.h"

ErrCode cmd_keygen(Cli *cli, Err *err UNUSED)
{
    char *text AUTO(mem_freep) = passphrase_generate();
    out_text(&cli->out, "%s\n", text);
    json_object_set_new(out_doc(&cli->out), "passphrase", json_string(text));
    return ERR_OK;
}
