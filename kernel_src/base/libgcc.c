/* libgcc.c: tangled from nbs/base/02_libc.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/02_libc.ipynb § What the compiler calls in secret ---- */

/* base/libgcc.c: what gcc -m32 calls when one instruction is not enough.
 * The names are gcc's (gccint, "The GCC low-level runtime library"); they are the
 * contract, so no header declares them. Division never recurses into itself: the core
 * uses the CPU's own 64-by-32 division, which on the host twin is spelled out in C. */
#include <stdint.h>

uint64_t __udivmoddi4(uint64_t n, uint64_t d, uint64_t *rem);
uint64_t __udivdi3(uint64_t n, uint64_t d);
uint64_t __umoddi3(uint64_t n, uint64_t d);
int64_t __divmoddi4(int64_t n, int64_t d, int64_t *rem);
int64_t __divdi3(int64_t n, int64_t d);
int64_t __moddi3(int64_t n, int64_t d);
uint64_t __fixunsdfdi(double v);
uint64_t __fixunssfdi(float v);
double __floatundidf(uint64_t v);
float __floatundisf(uint64_t v);
int __popcountsi2(uint32_t v);
int __popcountdi2(uint64_t v);
int __clzdi2(uint64_t v);
int __ctzdi2(uint64_t v);

/* (high:low) / d with high < d, so that the quotient fits 32 bits: one instruction. */
static uint32_t div64by32(uint32_t high, uint32_t low, uint32_t d, uint32_t *rem)
{
    uint32_t quotient;
    __asm__("divl %4" : "=a"(quotient), "=d"(*rem) : "a"(low), "d"(high), "r"(d) : "cc");
    return quotient;
}

uint64_t __udivmoddi4(uint64_t n, uint64_t d, uint64_t *rem)
{
    uint32_t n1 = (uint32_t)(n >> 32), n0 = (uint32_t)n, d1 = (uint32_t)(d >> 32);
    uint64_t quotient, left;
    if (d1 == 0) {                        /* schoolbook: two digits by one, base 2^32 */
        uint32_t d0 = (uint32_t)d, r, q1 = d0 ? n1 / d0 : 0;
        uint32_t q0 = div64by32(d0 ? n1 % d0 : n1, n0, d0, &r);   /* 0: #DE, rightly */
        quotient = (uint64_t)q1 << 32 | q0;
        left = r;
    } else if (d > n) {
        quotient = 0;
        left = n;
    } else { /* the quotient is below 2^32: guess it from the top */
        int s = __builtin_clz(d1);
        uint32_t top = (uint32_t)(d << s >> 32), r;
        uint32_t q = div64by32(n1 >> 1, n1 << 31 | n0 >> 1, top, &r);
        q = (uint32_t)((uint64_t)q << s >> 31);
        if (q)
            q--; /* at most one too large before, one too small now */
        quotient = q;
        left = n - quotient * d;
        if (left >= d) {
            left -= d;
            quotient++;
        }
    }
    if (rem)
        *rem = left;
    return quotient;
}

uint64_t __udivdi3(uint64_t n, uint64_t d) { return __udivmoddi4(n, d, 0); }

uint64_t __umoddi3(uint64_t n, uint64_t d)
{
    uint64_t rem;
    __udivmoddi4(n, d, &rem);
    return rem;
}

static uint64_t magnitude(int64_t v) { return v < 0 ? 0 - (uint64_t)v : (uint64_t)v; }

/* C's division cuts towards zero, so the remainder has the sign of the dividend. */
int64_t __divmoddi4(int64_t n, int64_t d, int64_t *rem)
{
    uint64_t r, q = __udivmoddi4(magnitude(n), magnitude(d), &r);
    if (rem)
        *rem = (int64_t)(n < 0 ? 0 - r : r);
    return (int64_t)((n < 0) != (d < 0) ? 0 - q : q);
}

int64_t __divdi3(int64_t n, int64_t d) { return __divmoddi4(n, d, 0); }

int64_t __moddi3(int64_t n, int64_t d)
{
    int64_t rem;
    __divmoddi4(n, d, &rem);
    return rem;
}

#define TWO_32 4294967296.0

/* In halves of 32 bits, which the SSE2 conversions can take. */
uint64_t __fixunsdfdi(double v)
{
    if (!(v > 0))
        return 0;
    uint32_t high = (uint32_t)(v / TWO_32);
    uint32_t low = (uint32_t)(v - high * TWO_32);
    return (uint64_t)high << 32 | low;
}

uint64_t __fixunssfdi(float v) { return __fixunsdfdi((double)v); }

double __floatundidf(uint64_t v)
{
    return (double)(uint32_t)(v >> 32) * TWO_32 + (double)(uint32_t)v;
}

/* Through a double would round twice. Bits that only matter as "something is there" are
 * folded into one first; then the double is exact and the one rounding is the last. */
float __floatundisf(uint64_t v)
{
    if (v >> 53)
        v = (v >> 11 | ((v & 0x7ff) != 0)) << 11;
    return (float)__floatundidf(v);
}

int __popcountsi2(uint32_t v)
{
    v -= v >> 1 & 0x55555555;
    v = (v & 0x33333333) + (v >> 2 & 0x33333333);
    v = (v + (v >> 4)) & 0x0f0f0f0f;
    return (int)(v * 0x01010101u >> 24);
}

int __popcountdi2(uint64_t v)
{
    return __popcountsi2((uint32_t)v) + __popcountsi2((uint32_t)(v >> 32));
}

int __clzdi2(uint64_t v)
{
    uint32_t high = (uint32_t)(v >> 32);
    return high ? __builtin_clz(high) : 32 + __builtin_clz((uint32_t)v);
}

int __ctzdi2(uint64_t v)
{
    uint32_t low = (uint32_t)v;
    return low ? __builtin_ctz(low) : 32 + __builtin_ctz((uint32_t)(v >> 32));
}
