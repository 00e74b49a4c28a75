/* string.c: tangled from nbs/base/02_libc.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/02_libc.ipynb § Two rules for the file ---- */

/* base/string.c: memory and text functions (see string.h).
 * gcc may call memcpy, memmove, memset and memcmp from any code, so they exist from the
 * first chapter that is compiled with optimisation on. The pragma keeps it from
 * "recognising" the loops below as those very functions and replacing a body by a call to
 * itself. */
#include "base/string.h"

#pragma GCC optimize("no-tree-loop-distribute-patterns")

/* Loads and stores of 4 and 16 bytes at any address, of any type. */
typedef uint32_t __attribute__((aligned(1), may_alias)) word;
typedef uint8_t __attribute__((vector_size(16), aligned(1), may_alias)) block;

/* ---- nbs/base/02_libc.ipynb § Copying and filling ---- */

void *memcpy(void *restrict dst, const void *restrict src, size_t n)
{
    uint8_t *d = dst;
    const uint8_t *s = src;
    for (; n >= 64; n -= 64, d += 64, s += 64) {
        block a = *(const block *)s, b = *(const block *)(s + 16);
        block c = *(const block *)(s + 32), e = *(const block *)(s + 48);
        *(block *)d = a, *(block *)(d + 16) = b;
        *(block *)(d + 32) = c, *(block *)(d + 48) = e;
    }
    for (; n >= 16; n -= 16, d += 16, s += 16)
        *(block *)d = *(const block *)s;
    for (; n >= 4; n -= 4, d += 4, s += 4)
        *(word *)d = *(const word *)s;
    while (n--)
        *d++ = *s++;
    return dst;
}

void *memset(void *dst, int c, size_t n)
{
    uint8_t *d = dst;
    block fill = (uint8_t)c + (block){0};
    for (; n >= 64; n -= 64, d += 64) {
        *(block *)d = fill, *(block *)(d + 16) = fill;
        *(block *)(d + 32) = fill, *(block *)(d + 48) = fill;
    }
    for (; n >= 4; n -= 4, d += 4)
        *(word *)d = 0x01010101u * (uint8_t)c;
    while (n--)
        *d++ = (uint8_t)c;
    return dst;
}

void *memmove(void *dst, const void *src, size_t n)
{
    uint8_t *d = dst;
    const uint8_t *s = src;
    if ((uintptr_t)d - (uintptr_t)s >= n)     /* dst is before src, or past its end */
        return memcpy(dst, src, n);
    for (; n >= 16; n -= 16)
        *(block *)(d + n - 16) = *(const block *)(s + n - 16);
    while (n--)
        d[n] = s[n];
    return dst;
}

/* ---- nbs/base/02_libc.ipynb § Comparing and finding ---- */

int memcmp(const void *a, const void *b, size_t n)
{
    const uint8_t *p = a, *q = b;
    for (; n >= 4 && *(const word *)p == *(const word *)q; n -= 4)
        p += 4, q += 4;
    for (; n; n--, p++, q++)
        if (*p != *q)
            return *p - *q;
    return 0;
}

void *memchr(const void *s, int c, size_t n)
{
    for (const uint8_t *p = s; n; n--, p++)
        if (*p == (uint8_t)c)
            return (void *)p;
    return NULL;
}

void *memmem(const void *hay, size_t hay_len, const void *needle, size_t needle_len)
{
    const uint8_t *h = hay, *first = needle;
    if (needle_len == 0)
        return (void *)h;
    while (needle_len <= hay_len) {
        const uint8_t *p = memchr(h, *first, hay_len - needle_len + 1);
        if (!p)
            return NULL;
        if (memcmp(p, needle, needle_len) == 0)
            return (void *)p;
        hay_len -= (size_t)(p + 1 - h);
        h = p + 1;
    }
    return NULL;
}

/* ---- nbs/base/02_libc.ipynb § Text ---- */

size_t strlen(const char *s)
{
    const char *p = s;
    while (*p)
        p++;
    return (size_t)(p - s);
}

size_t strnlen(const char *s, size_t max)
{
    const char *nul = memchr(s, 0, max);
    return nul ? (size_t)(nul - s) : max;
}

/* Copies what fits and always terminates. Returns strlen(src): cap or more means cut. */
size_t strlcpy(char *dst, const char *src, size_t cap)
{
    size_t len = strlen(src);
    if (cap > 0) {
        size_t n = len < cap - 1 ? len : cap - 1;
        memcpy(dst, src, n);
        dst[n] = 0;
    }
    return len;
}

int strcmp(const char *a, const char *b) { return strncmp(a, b, SIZE_MAX); }

int strncmp(const char *a, const char *b, size_t n)
{
    for (; n; n--, a++, b++)
        if (*a != *b || !*a)
            return (uint8_t)*a - (uint8_t)*b;
    return 0;
}

int strcasecmp(const char *a, const char *b) { return strncasecmp(a, b, SIZE_MAX); }

int strncasecmp(const char *a, const char *b, size_t n)
{
    for (; n; n--, a++, b++) {
        int x = tolower((uint8_t)*a), y = tolower((uint8_t)*b);
        if (x != y || !x)
            return x - y;
    }
    return 0;
}

char *strchr(const char *s, int c)
{
    for (;; s++) {
        if (*s == (char)c)
            return (char *)s;
        if (!*s)
            return NULL;
    }
}

char *strrchr(const char *s, int c)
{
    for (const char *p = s + strlen(s);; p--) {
        if (*p == (char)c)
            return (char *)p;
        if (p == s)
            return NULL;
    }
}

char *strstr(const char *hay, const char *needle)
{
    return memmem(hay, strlen(hay), needle, strlen(needle));
}
