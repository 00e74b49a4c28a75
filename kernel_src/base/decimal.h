/* decimal.h: tangled from nbs/base/02_libc.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/02_libc.ipynb § Numbers as text, exactly ---- */

/* base/decimal.h: binary floating point <-> exact decimal digits.
 * Every finite double is a finite decimal; `struct decimal` holds all of its digits, so
 * that printing, shortest printing and reading (stdlib.c: strtod) are comparisons of
 * digit strings. Pure: no state, no allocation, but most of a kilobyte of stack each.
 * twin: decimal.c string.c */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DECIMAL_MAX 774 /* 768 digits are the most that any double or midpoint needs */
#define DTOA_SHORTEST_MAX 28   /* "-1.2345678901234567e-308" and a NUL, with room */

struct decimal {
    int n;                     /* digits in use; 0 means the value zero */
    int point;                 /* value = 0.d0 d1 d2 ... * 10^point */
    char digit[DECIMAL_MAX];   /* '0'..'9', first and last not '0' */
};

void decimal_from_binary(struct decimal *d, uint64_t m, int e);  /* m * 2^e, exactly */
void decimal_from_double(struct decimal *d, double v);           /* |v|, finite */
void decimal_round(struct decimal *d, int n); /* keep n digits; ties to even */
int decimal_compare(const struct decimal *a, const struct decimal *b);
void decimal_shortest(struct decimal *d, double v);              /* |v|, finite, not 0 */

int dtoa_shortest(char *buf, double v);   /* shortest text for v; its length */
int ftoa_shortest(char *buf, float v);
