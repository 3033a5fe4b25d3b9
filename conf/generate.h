#ifndef PGDR_CONF_GENERATE_H
#define PGDR_CONF_GENERATE_H

/* The files made from conf/options.def, cli/commands.def and lib/common/errcodes.def. */

#include "lib/common/buf.h"

void generate_man(Buf *out);        /* docs/pgdr.1 */
void generate_sample(Buf *out);     /* conf/pgdr.conf.sample */
void generate_completion(Buf *out); /* conf/pgdr.bash-completion */

#endif
