#ifndef PGDR_TESTS_UNIT_H
#define PGDR_TESTS_UNIT_H

/* What every unit test includes: cmocka, and checks that print the error they did not expect. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/common/err.h"

#define expect_ok(call)                                                                            \
    do {                                                                                           \
        Err e_ = {0};                                                                              \
        Err *err = &e_;                                                                            \
        if ((call) != ERR_OK)                                                                      \
            fail_msg("%s: %s", #call, e_.message);                                                 \
    } while (0)

/* The call must fail with `want`, and its message must contain `part`. */
#define expect_err(want, part, call)                                                               \
    do {                                                                                           \
        Err e_ = {0};                                                                              \
        Err *err = &e_;                                                                            \
        ErrCode got_ = (call);                                                                     \
        if (got_ != (want))                                                                        \
            fail_msg("%s: %s (%s), expected %s", #call, err_code_name(got_), e_.message, #want);   \
        if (!strstr(e_.message, part))                                                             \
            fail_msg("%s: message '%s' lacks '%s'", #call, e_.message, part);                      \
    } while (0)

#endif
