#include <fcntl.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/signals.h"

static ErrCode (*const functions[CMD_COUNT])(Cli *cli, Err *err) = {
#define COMMAND(id, function, ...) [CMD_##id] = function,
#include "cli/commands.def"
#undef COMMAND
};

/* A file opened as number 0, 1 or 2 would take what is printed for its content. */
static bool descriptors_open(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd ? O_WRONLY : O_RDONLY) != fd)
            return false;
    return true;
}

int main(int argc, char **argv)
{
    Cli cli;
    Err err = {0};
    if (!descriptors_open())
        return err_exit_status(ERR_IO);
    signals_init();
    ErrCode rc = cli_start(&cli, argc, argv, environ, &err);
    if (rc == ERR_OK)
        rc = functions[cli.id](&cli, &err);
    return cli_finish(&cli, rc, &err);
}
