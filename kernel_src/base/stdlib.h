/* stdlib.h: tangled from nbs/base/02_libc.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/02_libc.ipynb § Numbers from text ---- */

/* base/stdlib.h: numbers from text, sorting, searching.
 * As in ISO C, but without errno: a number out of range saturates (strtol) or becomes an
 * infinity or zero (strtod, correctly rounded everywhere else). Pure.
 * twin: stdlib.c decimal.c string.c */
#pragma once
#include <stddef.h>
#include <stdint.h>

long strtol(const char *s, char **end, int base);
unsigned long strtoul(const char *s, char **end, int base);
long long strtoll(const char *s, char **end, int base);
unsigned long long strtoull(const char *s, char **end, int base);
double strtod(const char *s, char **end);

void qsort(void *base, size_t n, size_t size, int (*cmp)(const void *, const void *));
void *bsearch(const void *key, const void *base, size_t n, size_t size,
              int (*cmp)(const void *, const void *));

static inline int abs(int v) { return v < 0 ? -v : v; }
static inline long labs(long v) { return v < 0 ? -v : v; }
static inline long long llabs(long long v) { return v < 0 ? -v : v; }
