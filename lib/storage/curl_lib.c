#include "lib/storage/curl_lib.h"

#include <pthread.h>

#include "lib/common/dynlib.h"

ErrCode curl_lib_load(CurlLib *ret, Err *err)
{
    /* curl_global_init() counts its calls, and only newer versions of it bear two at once. */
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    CurlLib lib;
    const DynSym syms[] = {
#define CURL_SYM(fn) {#fn, &lib.fn},
        CURL_FUNCTIONS(CURL_SYM)
#undef CURL_SYM
    };
    TRY(dynlib_load("libcurl.so.4", "libcurl4", syms, ARRAY_LEN(syms), err));
    pthread_mutex_lock(&lock);
    CURLcode rc = lib.curl_global_init(CURL_GLOBAL_DEFAULT);
    pthread_mutex_unlock(&lock);
    if (rc != CURLE_OK)
        return err_set(err, ERR_INTERNAL, "libcurl cannot be used: %s", lib.curl_easy_strerror(rc));
    *ret = lib;
    return ERR_OK;
}
