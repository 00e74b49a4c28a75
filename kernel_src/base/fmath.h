/* fmath.h: tangled from nbs/base/02_libc.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/02_libc.ipynb § Mathematics ---- */

/* base/fmath.h: the mathematical functions that inference, sampling and RoPE need.
 * Names and special values as in ISO C Annex F, without errno and exception flags. The
 * float functions err by less than 0.51 ulp, the double functions by less than 1 ulp;
 * chapter 2 measures every one of them. Pure.
 * twin: fmath.c */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define M_PI 0x1.921fb54442d18p+1
#define FLT_MAX __FLT_MAX__
#define DBL_MAX __DBL_MAX__
#define isnan(x) __builtin_isnan(x)
#define isinf(x) __builtin_isinf_sign(x)
#define isfinite(x) __builtin_isfinite(x)
#define signbit(x) __builtin_signbit(x)

/* The 32-bit calling convention returns floats on the x87 stack: a store and a load each
 * way, and slow in an emulator. Within the kernel they travel in SSE registers. */
#ifdef __i386__
#define FMATH __attribute__((sseregparm, const))
#else
#define FMATH __attribute__((const))
#endif

FMATH float expf(float x);
FMATH float logf(float x);
FMATH float log2f(float x);
FMATH float sinf(float x);
FMATH float cosf(float x);
FMATH float tanhf(float x);
FMATH float powf(float x, float y);
FMATH float floorf(float x);
FMATH float ceilf(float x);
FMATH float truncf(float x);
FMATH float roundf(float x);
FMATH long lroundf(float x);
FMATH float fmaxf(float a, float b);
FMATH float fminf(float a, float b);

FMATH double exp(double x);
FMATH double log(double x);
FMATH double log10(double x);
FMATH double pow(double x, double y);
FMATH double sin(double x);
FMATH double cos(double x);
FMATH double floor(double x);
FMATH double ceil(double x);
FMATH double trunc(double x);
FMATH double round(double x);

/* One machine instruction each, so they are inlined: andps, andpd, sqrtss, sqrtsd. */
static inline float fmath_fabsf(float x) { return __builtin_fabsf(x); }
static inline double fmath_fabs(double x) { return __builtin_fabs(x); }
static inline float fmath_sqrtf(float x)
{
    __asm__("sqrtss %0, %0" : "+x"(x));
    return x;
}
static inline double fmath_sqrt(double x)
{
    __asm__("sqrtsd %0, %0" : "+x"(x));
    return x;
}
#define fabsf(x) fmath_fabsf(x)
#define fabs(x) fmath_fabs(x)
#define sqrtf(x) fmath_sqrtf(x)
#define sqrt(x) fmath_sqrt(x)
