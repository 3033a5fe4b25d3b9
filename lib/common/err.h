#ifndef PGDR_COMMON_ERR_H
#define PGDR_COMMON_ERR_H

/*
 * Errors. Every function that can fail returns an ErrCode and takes `Err *err` as its last
 * parameter; on failure *err holds a message complete enough to print, in lower case and without a
 * full stop, and often a hint that says what to type next. Callers either handle the code, or add
 * context with err_wrap() and pass it on; only cli/ decides what it means for the process.
 *
 * After a failure outputs (`ret_…`) are untouched unless the function says otherwise.
 */

#include "lib/common/base.h"

typedef enum ErrCode {
    ERR_OK = 0,
#define ERRCODE(name, status, retry, meaning) ERR_##name,
#include "lib/common/errcodes.def"
#undef ERRCODE
    ERR_CODES
} ErrCode;

typedef struct Err {
    ErrCode code;
    char message[1536];
    char hint[768];
} Err;

/* Sets *err (discarding what it held) and returns `code`. */
ErrCode err_set(Err *err, ErrCode code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The same from an errno value: picks the code, and appends ": <what the system calls it>". */
ErrCode err_errno(Err *err, int errnum, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Puts "<text>: " before the message; returns the code unchanged. */
ErrCode err_wrap(Err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Replaces the hint; returns the code unchanged. */
ErrCode err_hint(Err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Puts it behind the hint that is there; what has no room is cut off from that one. */
ErrCode err_hint_more(Err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The code's name as in JSON ("not_found"); static storage. */
const char *err_code_name(ErrCode code);
int err_exit_status(ErrCode code);
bool err_can_retry(ErrCode code);
const char *err_meaning(ErrCode code);

#define TRY(call)                                                                                  \
    do {                                                                                           \
        ErrCode try_rc_ = (call);                                                                  \
        if (try_rc_ != ERR_OK)                                                                     \
            return try_rc_;                                                                        \
    } while (0)

#endif
