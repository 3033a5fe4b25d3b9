#include "lib/pg/lsn.h"

#include <stdio.h>
#include <string.h>

const char *lsn_format(Lsn lsn, char *out)
{
    snprintf(out, LSN_TEXT_LEN, LSN_FMT, LSN_ARG(lsn));
    return out;
}

/* One to eight hexadecimal digits at *s, which moves behind them. */
static bool parse_half(const char **s, uint32_t *ret)
{
    uint32_t v = 0;
    int n = 0;
    for (; n < 8; n++, (*s)++) {
        char c = **s;
        if (c >= '0' && c <= '9')
            v = v << 4 | (uint32_t)(c - '0');
        else if (c >= 'A' && c <= 'F')
            v = v << 4 | (uint32_t)(c - 'A' + 10);
        else if (c >= 'a' && c <= 'f')
            v = v << 4 | (uint32_t)(c - 'a' + 10);
        else
            break;
    }
    *ret = v;
    return n > 0;
}

ErrCode lsn_parse(const char *s, Lsn *ret, Err *err)
{
    const char *p = s;
    uint32_t high, low;
    if (!parse_half(&p, &high) || *p++ != '/' || !parse_half(&p, &low) || *p != '\0') {
        err_set(err, ERR_USAGE, "'%.100s' is not a WAL position", s);
        return err_hint(err, "write it as PostgreSQL does, for example 0/3000028");
    }
    *ret = (Lsn)high << 32 | low;
    return ERR_OK;
}
