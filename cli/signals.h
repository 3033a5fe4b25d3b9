#ifndef PGDR_CLI_SIGNALS_H
#define PGDR_CLI_SIGNALS_H

/*
 * SIGINT, SIGTERM and SIGHUP ask the work to stop (cancel_request()); a second SIGINT kills at
 * once. One that was ignored when the process began stays so (nohup). SIGPIPE is ignored, so that a
 * write to a broken pipe is an error like any other: whoever starts another program resets it.
 */
void signals_init(void);

#endif
