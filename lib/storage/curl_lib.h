#ifndef PGDR_STORAGE_CURL_LIB_H
#define PGDR_STORAGE_CURL_LIB_H

/* libcurl, loaded when it is first needed (see lib/common/dynlib.h) and never linked: call
 * lib->curl_easy_perform(…). */

#include <curl/curl.h>

#include "lib/common/err.h"

/* The checks that curl's header wraps around these for calls by name would call them by name. */
#undef curl_easy_setopt
#undef curl_easy_getinfo

#define CURL_FUNCTIONS(F)                                                                          \
    F(curl_easy_cleanup)                                                                           \
    F(curl_easy_getinfo)                                                                           \
    F(curl_easy_init)                                                                              \
    F(curl_easy_perform)                                                                           \
    F(curl_easy_reset)                                                                             \
    F(curl_easy_setopt)                                                                            \
    F(curl_easy_strerror)                                                                          \
    F(curl_global_init)                                                                            \
    F(curl_slist_append)                                                                           \
    F(curl_slist_free_all)

typedef struct CurlLib {
#define CURL_MEMBER(fn) __typeof__(fn) *fn;
    CURL_FUNCTIONS(CURL_MEMBER)
#undef CURL_MEMBER
} CurlLib;

/* Also makes the library ready for threads. ERR_CONFIG with the package to install when there is
 * none. */
MUST_CHECK ErrCode curl_lib_load(CurlLib *ret, Err *err);

#endif
