#ifndef PGDR_PG_LSN_H
#define PGDR_PG_LSN_H

/* Positions in the WAL, and PostgreSQL's clock. */

#include "lib/common/err.h"
#include "lib/common/timeutil.h"

typedef uint64_t Lsn; /* 0 is "none" */

#define LSN_FMT "%X/%X"
#define LSN_ARG(lsn) (unsigned)((lsn) >> 32), (unsigned)(lsn)
#define LSN_TEXT_LEN 20

/* "0/3000028"; `out` holds LSN_TEXT_LEN. */
const char *lsn_format(Lsn lsn, char *out);
/* As PostgreSQL prints it; ERR_USAGE otherwise. */
MUST_CHECK ErrCode lsn_parse(const char *s, Lsn *ret, Err *err);

/* PostgreSQL's TimestampTz (µs since 2000-01-01 UTC) to ours. */
static inline TimeUs time_of_pg(int64_t timestamptz)
{
    /* Unsigned: a record may hold anything. */
    return (TimeUs)((uint64_t)timestamptz + UINT64_C(946684800) * (uint64_t)US_PER_SECOND);
}

#endif
