#include "lib/common/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct ErrInfo {
    const char *name, *meaning;
    int status;
    bool retry;
} ErrInfo;

/* The names are the enum's in lower case; they are part of the JSON contract. */
static const ErrInfo infos[ERR_CODES] = {
    [ERR_OK] = {"ok", "all that was asked for is true", 0, false},
#define ERRCODE(name, status, retry, meaning) [ERR_##name] = {#name, meaning, status, retry},
#include "lib/common/errcodes.def"
#undef ERRCODE
};

ErrCode err_set(Err *err, ErrCode code, const char *fmt, ...)
{
    /* The arguments may point into *err itself. */
    char text[sizeof(err->message)];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    memcpy(err->message, text, sizeof(text));
    err->hint[0] = '\0';
    err->code = code;
    return code;
}

static ErrCode code_of_errno(int errnum)
{
    switch (errnum) {
    case ENOENT:
    case ENOTDIR:
        return ERR_NOT_FOUND;
    case EEXIST:
    case ENOTEMPTY:
        return ERR_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_ACCESS;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return ERR_NO_SPACE;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    case ECONNREFUSED:
    case ECONNRESET:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return ERR_NETWORK;
    default:
        return ERR_IO;
    }
}

ErrCode err_errno(Err *err, int errnum, const char *fmt, ...)
{
    char text[sizeof(err->message)], reason[128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return err_set(err, code_of_errno(errnum), "%s: %s", text,
                   strerror_r(errnum, reason, sizeof(reason)));
}

ErrCode err_wrap(Err *err, const char *fmt, ...)
{
    char text[sizeof(err->message)], old[sizeof(err->message)];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    memcpy(old, err->message, sizeof(old));
    int n = snprintf(err->message, sizeof(err->message), "%s", text);
    if (n >= 0 && (size_t)n < sizeof(err->message))
        snprintf(err->message + n, sizeof(err->message) - (size_t)n, ": %s", old);
    return err->code;
}

ErrCode err_hint(Err *err, const char *fmt, ...)
{
    char text[sizeof(err->hint)];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    memcpy(err->hint, text, sizeof(text));
    return err->code;
}

ErrCode err_hint_more(Err *err, const char *fmt, ...)
{
    char more[sizeof(err->hint) - 2]; /* with room for what joins them */
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(more, sizeof(more), fmt, ap);
    va_end(ap);
    size_t len = strlen(err->hint), added = strlen(more);
    const char *join = !len ? "" : err->hint[len - 1] == '?' ? " " : "; ";
    len = MIN(len, sizeof(err->hint) - 1 - strlen(join) - added);
    memcpy(err->hint + len, join, strlen(join));
    memcpy(err->hint + len + strlen(join), more, added + 1);
    return err->code;
}

const char *err_code_name(ErrCode code)
{
    static _Thread_local char lower[32];
    if ((unsigned)code >= ERR_CODES)
        code = ERR_INTERNAL;
    const char *name = infos[code].name;
    size_t i = 0;
    for (; name[i] && i < sizeof(lower) - 1; i++)
        lower[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] - 'A' + 'a') : name[i];
    lower[i] = '\0';
    return lower;
}

int err_exit_status(ErrCode code)
{
    return (unsigned)code < ERR_CODES ? infos[code].status : infos[ERR_INTERNAL].status;
}

bool err_can_retry(ErrCode code)
{
    return (unsigned)code < ERR_CODES && infos[code].retry;
}

const char *err_meaning(ErrCode code)
{
    return (unsigned)code < ERR_CODES ? infos[code].meaning : infos[ERR_INTERNAL].meaning;
}
