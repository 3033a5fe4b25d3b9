#include "lib/pg/sqlstate.h"

#include <stdio.h>
#include <string.h>

#include "lib/common/buf.h"

typedef struct StateInfo {
    const char *state; /* five characters, or two for a whole class */
    ErrCode code;
    /* With $role and $database. NULL: the server's hint, if any. */
    const char *hint;
} StateInfo;

/* The first that fits counts. */
static const StateInfo states[] = {
    {"28P01", ERR_AUTH,
     "give the right password of role '$role' (~/.pgpass of the user that runs pgdr, or "
     "PGPASSFILE), or let pg_hba.conf use peer on the local socket"},
    {"28000", ERR_AUTH,
     "check that role '$role' exists and that pg_hba.conf lets it connect to database '$database' "
     "from "
     "here; with peer, pgdr must run as the system user that is mapped to it"},
    {"42501", ERR_ACCESS,
     "role '$role' lacks a right: GRANT it, or connect as a superuser (option user)"},
    {"3D000", ERR_CONFIG, "set the option database to one that exists; it only serves to log in"},
    {"57P03", ERR_NETWORK,
     "the server is starting up, shutting down or not consistent yet: try again in a moment, and "
     "see its log"},
    {"57P01", ERR_NETWORK, "the server was shut down or an administrator ended the session"},
    {"57014", ERR_TIMEOUT, "the statement ran into its time limit or was cancelled"},
    {"53300", ERR_BUSY,
     "all connections are taken: raise max_connections, or connect as a superuser, for whom some "
     "are reserved"},
    {"53100", ERR_NO_SPACE, "the server's disk is full: free space there first"},
    {"08", ERR_NETWORK, NULL},
    {"57P", ERR_NETWORK, NULL},
};

static const StateInfo *find_state(const char *state)
{
    for (size_t i = 0; i < ARRAY_LEN(states); i++)
        if (strncmp(state, states[i].state, strlen(states[i].state)) == 0)
            return &states[i];
    return NULL;
}

/* Puts role and database where the hint has $role and $database. */
static void fill_hint(const char *hint, const PgRefusal *r, Buf *out)
{
    static const char role[] = "$role", database[] = "$database";
    while (*hint) {
        if (strncmp(hint, role, strlen(role)) == 0) {
            buf_append_str(out, r->user ? r->user : "?");
            hint += strlen(role);
        } else if (strncmp(hint, database, strlen(database)) == 0) {
            buf_append_str(out, r->database ? r->database : "?");
            hint += strlen(database);
        } else {
            buf_append_u8(out, (uint8_t)*hint++);
        }
    }
}

ErrCode pg_refusal_set(Err *err, const PgRefusal *r, const char *what)
{
    const char *state = r->sqlstate ? r->sqlstate : "";
    const StateInfo *info = *state ? find_state(state) : r->like ? find_state(r->like) : NULL;
    ErrCode code = info ? info->code : ERR_SERVER;
    if (*state)
        err_set(err, code, "%s: %s (SQLSTATE %s)", what, r->message, state);
    else
        err_set(err, code, "%s: %s", what, r->message);
    if (info && info->hint) {
        AUTO(buf_release) Buf hint = {0};
        fill_hint(info->hint, r, &hint);
        return err_hint(err, "%s", buf_str(&hint));
    }
    return r->hint ? err_hint(err, "%s", r->hint) : code;
}

static bool is_state(const char *s)
{
    for (int i = 0; i < 5; i++)
        if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'A' && s[i] <= 'Z')))
            return false;
    return s[5] == ':' && s[6] == ' ';
}

void pg_refusal_parse(const char *text, char *state, char *message, size_t message_size)
{
    /* The severity before it is in the server's language. */
    static const char mark[] = ":  ";
    state[0] = '\0';
    for (const char *at = text; (at = strstr(at, mark)); at++) {
        if (!is_state(at + strlen(mark)))
            continue;
        memcpy(state, at + strlen(mark), 5);
        state[5] = '\0';
        text = at + strlen(mark) + 7;
        break;
    }
    size_t len = strcspn(text, "\n");
    while (len && text[len - 1] == ' ')
        len--;
    snprintf(message, message_size, "%.*s", (int)len, text);
}
