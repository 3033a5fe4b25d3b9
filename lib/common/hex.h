#ifndef PGDR_COMMON_HEX_H
#define PGDR_COMMON_HEX_H

/* Lower-case hexadecimal and random names. */

#include "lib/common/err.h"

/* Writes 2 × len digits and a NUL to `out`; returns out. */
char *hex_format(const void *data, size_t len, char *out);
/* Exactly 2 × len lower- or upper-case digits followed by NUL or `stop`; false otherwise. */
bool hex_parse(const char *s, char stop, void *out, size_t len);
/* True when the first n characters are digits 0-9 or upper-case A-F (PostgreSQL's WAL names). */
bool hex_is_upper(const char *s, size_t n);
/* True when the first n characters are digits 0-9 or lower-case a-f. */
bool hex_is_lower(const char *s, size_t n);

/* Cryptographically random bytes. */
void random_bytes(void *out, size_t len);
/* 32 hexadecimal digits; `out` holds 33. */
char *random_name(char *out);

#endif
