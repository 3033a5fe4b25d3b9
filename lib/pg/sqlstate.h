#ifndef PGDR_PG_SQLSTATE_H
#define PGDR_PG_SQLSTATE_H

/* What a server's refusal means to pgdr, and what a DBA does about it. */

#include "lib/common/err.h"

typedef struct PgRefusal {
    const char *sqlstate; /* five characters; NULL or "" when there is none */
    const char *like;     /* the one whose meaning this has when there is none, or NULL */
    const char *message;  /* the server's or libpq's, one line */
    const char *hint;     /* the server's own, or NULL */
    const char *user, *database;
} PgRefusal;

/* Sets *err to "<what>: <message> (SQLSTATE …)" with a code and a hint for that state. */
ErrCode pg_refusal_set(Err *err, const PgRefusal *r, const char *what);

/*
 * Takes libpq's verbose error text of a failed connection apart: "… FATAL:  28P01: text". `state`
 * holds 6 and is "" when the server did not say one; `message` receives one line without the
 * prefix.
 */
void pg_refusal_parse(const char *text, char *state, char *message, size_t message_size);

#endif
