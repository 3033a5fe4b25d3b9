#include "lib/pg/libpq.h"

#include "lib/common/dynlib.h"

ErrCode libpq_load(LibPq *ret, Err *err)
{
    LibPq lib;
    const DynSym syms[] = {
#define LIBPQ_SYM(fn) {#fn, &lib.fn},
        LIBPQ_FUNCTIONS(LIBPQ_SYM)
#undef LIBPQ_SYM
    };
    TRY(dynlib_load("libpq.so.5", "libpq5", syms, ARRAY_LEN(syms), err));
    *ret = lib;
    return ERR_OK;
}
