#ifndef PGDR_COMMON_DYNLIB_H
#define PGDR_COMMON_DYNLIB_H

/*
 * Libraries loaded when they are first needed. libpq and libcurl bring some forty shared libraries
 * with them, which cost every start of the process 9 ms; archive-push and archive-get on a
 * directory need neither, and PostgreSQL starts one such process for every segment.
 *
 * Types stay checked: a function is declared as `__typeof__(PQconnectdb) *connectdb`.
 */

#include "lib/common/err.h"

typedef struct DynSym {
    const char *name;
    void *slot; /* address of the function pointer to fill */
} DynSym;

/* Loads `soname` and fills all slots; ERR_CONFIG with the Debian package to install otherwise. */
MUST_CHECK ErrCode dynlib_load(const char *soname, const char *package, const DynSym *syms,
                               size_t n, Err *err);

#endif
