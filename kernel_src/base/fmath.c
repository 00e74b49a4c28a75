/* fmath.c: tangled from nbs/base/02_libc.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/02_libc.ipynb § Mathematics ---- */

/* base/fmath.c: see fmath.h.
 * Every function is the same three steps: reduce the argument to a small interval by an
 * identity, sum a short polynomial there, undo the reduction. The float functions work in
 * double, whose 29 spare bits swallow all rounding errors but the last. The double
 * functions carry the error of each critical step in a second double (struct dd). Must
 * not be compiled with -ffast-math. */
#include "base/fmath.h"

static uint64_t bits_of(double x)
{
    union { double value; uint64_t bits; } u = {.value = x};
    return u.bits;
}

static double from_bits(uint64_t bits)
{
    union { uint64_t bits; double value; } u = {.bits = bits};
    return u.value;
}

/* 2^k for -1022 <= k <= 1023 */
static double exp2i(int k) { return from_bits((uint64_t)(1023 + k) << 52); }

static int nearest(double x) { return (int)(x + (x < 0 ? -0.5 : 0.5)); }

float (fabsf)(float x) { return fmath_fabsf(x); }
double (fabs)(double x) { return fmath_fabs(x); }
float (sqrtf)(float x) { return fmath_sqrtf(x); }
double (sqrt)(double x) { return fmath_sqrt(x); }

FMATH float fmaxf(float a, float b) { return a > b || b != b ? a : b; }
FMATH float fminf(float a, float b) { return a < b || b != b ? a : b; }

/* At and above 2^52 a double has no fraction; below, adding 2^52 rounds it off. */
FMATH double trunc(double x)
{
    double a = fabs(x);
    if (!(a < 0x1p52))
        return x;
    double t = a + 0x1p52 - 0x1p52;         /* an integer, the nearest */
    return __builtin_copysign(t > a ? t - 1 : t, x);
}

FMATH double floor(double x)
{
    double t = trunc(x);
    return t > x ? t - 1 : t;
}

FMATH double ceil(double x)
{
    double t = trunc(x);
    return t < x ? __builtin_copysign(t + 1, x) : t;
}

/* Halves go away from zero. |x| - t is exact, so no 0.49999999999999994 rounds up. */
FMATH double round(double x)
{
    double t = trunc(x);
    return fabs(x - t) >= 0.5 ? t + __builtin_copysign(1, x) : t;
}

FMATH float truncf(float x) { return (float)trunc((double)x); }
FMATH float floorf(float x) { return (float)floor((double)x); }
FMATH float ceilf(float x) { return (float)ceil((double)x); }
FMATH float roundf(float x) { return (float)round((double)x); }
FMATH long lroundf(float x) { return (long)round((double)x); }

/* ---- nbs/base/02_libc.ipynb § exp ---- */

#define LOG2_E 0x1.71547652b82fep+0
/* ln 2 = HI + LO. HI ends in 11 zero bits: k * HI is exact for a double's exponent k. */
#define LN2_HI 0x1.62e42fefa3800p-1
#define LN2_LO 0x1.ef35793c76730p-45

static const double EXPF[] = {           /* (e^r - 1 - r) / r^2 for |r| <= ln2 / 2 */
    0x1.0000000b8f903p-1, 0x1.5555555a78375p-3, 0x1.5554e91032b89p-5,
    0x1.1110e0f6a8215p-7, 0x1.6d43168f01f2cp-10, 0x1.a124e54f92496p-13};

FMATH float expf(float x)
{
    double v = (double)x;
    if (v != v)
        return x;
    if (v > 89)
        return INFINITY;
    if (v < -104)
        return 0;
    int k = nearest(v * LOG2_E);
    double r = v - k * LN2_HI;
    double p = EXPF[5];
    for (int i = 4; i >= 0; i--)
        p = p * r + EXPF[i];
    return (float)((1 + r + r * r * p) * exp2i(k));
}

/* ---- nbs/base/02_libc.ipynb § log ---- */

/* x = 2^k * m with m in [sqrt(1/2), sqrt(2)); x finite and > 0. */
static double split_exponent(double x, int *k)
{
    *k = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        *k = -54;
    }
    uint64_t bits = bits_of(x);
    *k += (int)(bits >> 52) - 1023;
    double m = from_bits((bits & ((1ull << 52) - 1)) | 1023ull << 52);
    if (m >= 0x1.6a09e667f3bcdp+0) {
        m /= 2;
        ++*k;
    }
    return m;
}

/* log of 0, of negative numbers, of infinity and NaN: true when x is none of them. */
static bool log_domain(double x, double *special)
{
    if (x > 0 && x < (double)INFINITY)
        return true;
    *special = x == 0 ? -(double)INFINITY : x < 0 ? (double)NAN : x;
    return false;
}

FMATH float logf(float x)
{
    double special;
    if (!log_domain((double)x, &special))
        return (float)special;
    int k;
    double m = split_exponent((double)x, &k);
    double s = (m - 1) / (m + 1), z = s * s;
    double p = 2.0 / 13;
    for (int odd = 11; odd > 0; odd -= 2)
        p = p * z + 2.0 / odd;
    return (float)(k * (LN2_HI + LN2_LO) + s * p);
}

/* ---- nbs/base/02_libc.ipynb § Two doubles are better than one ---- */

/* A number as the sum of two doubles, |lo| <= ulp(hi) / 2: about 106 bits. */
struct dd { double hi, lo; };

static struct dd two_sum(double a, double b)            /* a + b, exactly (Knuth) */
{
    double s = a + b, t = s - a;
    return (struct dd){s, (a - (s - t)) + (b - t)};
}

static struct dd two_product(double a, double b) /* a * b, exactly (Dekker, Veltkamp) */
{
    double ca = 0x1.0000002p+27 * a, cb = 0x1.0000002p+27 * b;
    double ah = ca - (ca - a), al = a - ah, bh = cb - (cb - b), bl = b - bh, p = a * b;
    return (struct dd){p, ((ah * bh - p) + ah * bl + al * bh) + al * bl};
}

static struct dd dd_add(struct dd a, struct dd b)
{
    struct dd s = two_sum(a.hi, b.hi);
    return two_sum(s.hi, s.lo + (a.lo + b.lo));
}

static struct dd dd_mul(struct dd a, struct dd b)
{
    struct dd p = two_product(a.hi, b.hi);
    return two_sum(p.hi, p.lo + (a.hi * b.lo + a.lo * b.hi));
}

static struct dd dd_div(double a, struct dd b)
{
    double q = a / b.hi;
    struct dd p = two_product(q, b.hi);
    return two_sum(q, ((a - p.hi) - p.lo - q * b.lo) / b.hi);
}

static const struct dd TWO_THIRDS = {0x1.5555555555555p-1, 0x1.5555555555555p-55};
static const struct dd LN2_TAIL = {0x1.ef35793c76730p-45, 0x1.f97b57a079a19p-103};
static const struct dd LOG10_E = {0x1.bcb7b1526e50ep-2, 0x1.95355baaafad3p-57};

/* log x to about 64 bits; x finite and > 0. The first two terms of the series in two
 * doubles each, the rest (less than 1/50 of the second) in one. */
static struct dd log_dd(double x)
{
    int k;
    double m = split_exponent(x, &k);
    struct dd s = dd_div(m - 1, two_sum(m, 1));
    struct dd z = dd_mul(s, s);
    double tail = 2.0 / 25;
    for (int odd = 23; odd > 3; odd -= 2)
        tail = tail * z.hi + 2.0 / odd;
    struct dd p = dd_add(TWO_THIRDS, (struct dd){tail * z.hi, 0});
    struct dd log_m = dd_add((struct dd){2 * s.hi, 2 * s.lo}, dd_mul(dd_mul(s, z), p));
    struct dd log_k =
        dd_add((struct dd){k * LN2_HI, 0}, dd_mul((struct dd){k, 0}, LN2_TAIL));
    return dd_add(log_k, log_m);
}

FMATH double log(double x)
{
    double special;
    return log_domain(x, &special) ? log_dd(x).hi : special;
}

FMATH double log10(double x)
{
    double special;
    return log_domain(x, &special) ? dd_mul(log_dd(x), LOG10_E).hi : special;
}

FMATH float log2f(float x) { return (float)(log((double)x) * LOG2_E); }

static const double INVERSE_FACTORIAL[] = {       /* 1/n! */
    1, 1, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320,
    1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800,
    1.0 / 87178291200, 1.0 / 1307674368000, 1.0 / 20922789888000, 1.0 / 355687428096000};

/* e^(x.hi + x.lo) */
static double exp_dd(struct dd x)
{
    if (x.hi > 710)
        return (double)INFINITY;
    if (x.hi < -746)
        return 0;
    int k = nearest(x.hi * LOG2_E);
    struct dd r = two_sum(x.hi - k * LN2_HI, x.lo - k * LN2_LO);
    double p = INVERSE_FACTORIAL[13];
    for (int n = 12; n >= 3; n--)
        p = p * r.hi + INVERSE_FACTORIAL[n];
    struct dd square = two_product(r.hi, r.hi); /* 1 + r + r^2/2 exactly, then the rest */
    struct dd a = two_sum(1, r.hi), b = two_sum(a.hi, square.hi / 2);
    double rest = r.lo * a.hi + square.lo / 2 + r.hi * square.hi * p;
    double y = b.hi + (b.lo + (a.lo + rest));
    return y * exp2i(k / 2) * exp2i(k - k / 2);    /* two steps: 2^1024 is no double */
}

FMATH double exp(double x)
{
    return x != x ? x : exp_dd((struct dd){x, 0});
}

/* ---- nbs/base/02_libc.ipynb § pow ---- */

static double pow_magnitude(double a, double y)           /* a >= 0, neither NaN */
{
    bool grows = a > 1 ? y > 0 : y < 0;
    if (a == 1)
        return 1;
    if (a == 0 || isinf(a) || isinf(y))
        return grows ? (double)INFINITY : 0;
    struct dd l = log_dd(a);
    if (fabs(y * l.hi) > 800)
        return grows ? (double)INFINITY : 0;
    struct dd p = two_product(y, l.hi);
    return exp_dd(two_sum(p.hi, p.lo + y * l.lo));
}

FMATH double pow(double x, double y)
{
    if (y == 0 || x == 1)
        return 1;
    if (x != x || y != y)
        return (double)NAN;
    bool integer = trunc(y) == y, odd = integer && trunc(y / 2) != y / 2;
    if (x < 0 && !integer && !isinf(x))
        return (double)NAN;
    double magnitude = pow_magnitude(fabs(x), y);
    return signbit(x) && odd ? -magnitude : magnitude;
}

FMATH float powf(float x, float y) { return (float)pow((double)x, (double)y); }

FMATH float tanhf(float x)
{
    double v = (double)x, a = fabs(v);
    if (a < 0.02) /* here e^2x - 1 would lose what e^2x rounded off */
        return (float)(v * (1 - v * v * (1.0 / 3 - v * v * (2.0 / 15))));
    if (a > 10)
        return (float)__builtin_copysign(1, v);
    double e = exp(2 * v);                 /* NaN falls through to here */
    return (float)((e - 1) / (e + 1));
}

/* ---- nbs/base/02_libc.ipynb § sin and cos ---- */

#define TWO_OVER_PI 0x1.45f306dc9c883p-1
#define PI_2_A 0x1.921fb54400000p+0       /* pi/2 = A + B + C, A and B of 33 bits */
#define PI_2_B 0x1.0b4611a600000p-34
#define PI_2_C 0x1.3198a2e037073p-69
static const struct dd PI_2 = {0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54};

#define PI_WORDS 7                        /* words of 2/pi that one argument can feel */
static const uint32_t TWO_OVER_PI_WORDS[] = {
    0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0, 0xdb629599, 0x3c439041, 0xfe5163ab,
    0xdebbc561, 0xb7246e3a, 0x424dd2e0, 0x06492eea, 0x09d1921c, 0xfe1deb1c, 0xb129a73e,
    0xe88235f5, 0x2ebb4484, 0xe99c7026, 0xb45f7e41, 0x3991d639, 0x835339f4, 0x9c845f8b,
    0xbdf9283b, 0x1ff897ff, 0xde05980f, 0xef2f118b, 0x5a0a6d1f, 0x6d367ecf, 0x27cb09b7,
    0x4f463f66, 0x9e5fea2d, 0x7527bac7, 0xebe5f17b, 0x3d0739f7, 0x8a5292ea, 0x6bfb5fb1,
    0x1f8d5d08, 0x56033046};

/* x mod pi/2 for any finite x >= 2^-10: multiplies the integer mantissa by the seven
 * words of 2/pi whose product with it is neither a multiple of 4 nor too small to matter
 * (Payne and Hanek). */
static struct dd reduce_large(double x, int *quadrant)
{
    uint64_t bits = bits_of(x), m = (bits & ((1ull << 52) - 1)) | 1ull << 52;
    int e = (int)(bits >> 52) - 1075, skip = e > 2 ? (e - 2) / 32 : 0;

    uint32_t product[PI_WORDS + 2] = {0};               /* least significant first */
    for (int half = 0; half < 2; half++) {
        uint64_t carry = 0, factor = half ? m >> 32 : (uint32_t)m;
        for (int i = 0; i < PI_WORDS; i++) {
            carry +=
                factor * TWO_OVER_PI_WORDS[skip + PI_WORDS - 1 - i] + product[i + half];
            product[i + half] = (uint32_t)carry;
            carry >>= 32;
        }
        product[PI_WORDS + half] = (uint32_t)carry;
    }

    int point = 32 * (PI_WORDS + skip) - e; /* this bit of the product weighs 1 */
    uint32_t f[5];                          /* 4 words of fraction, 1 above them */
    for (int i = 0; i < 5; i++) {
        int bit = point - 128 + 32 * i, w = bit / 32;
        uint64_t pair =
            product[w] | (w + 1 < PI_WORDS + 2 ? (uint64_t)product[w + 1] << 32 : 0);
        f[i] = (uint32_t)(pair >> bit % 32);
    }
    bool negative = f[3] >> 31;                         /* nearest: use [-1/2, 1/2) */
    *quadrant = (int)((f[4] + negative) & 3);
    double sign = negative ? -1 : 1, weight = 0x1p-128;
    struct dd fraction = {0, 0};
    for (int i = 0; i < 4; i++, weight *= 0x1p32)
        fraction =
            dd_add((struct dd){sign * weight * (negative ? ~f[i] : f[i]), 0}, fraction);
    return dd_mul(fraction, PI_2);
}

/* x = n * pi/2 + (hi + lo), |hi| <= pi/4 or a hair more; *quadrant = n mod 4. */
static struct dd reduce(double x, int *quadrant)
{
    double a = fabs(x);
    struct dd r;
    if (a < 0x1p19) {
        int n = nearest(a * TWO_OVER_PI);
        *quadrant = n & 3;
        r = two_sum(a - n * PI_2_A, -(n * PI_2_B));     /* both products are exact */
        r = two_sum(r.hi, r.lo - n * PI_2_C);
        if (n && fabs(r.hi) < 0x1p-20)                  /* nearly all of it cancelled: */
            r = reduce_large(a, quadrant);              /* the slow way has more digits */
    } else {
        r = reduce_large(a, quadrant);
    }
    if (x < 0) {
        *quadrant = -*quadrant & 3;
        r = (struct dd){-r.hi, -r.lo};
    }
    return r;
}

/* Alternating 1/n! - z/(n+2)! + z^2/(n+4)! ..., up to 1/last! */
static double taylor(double z, int first, int last)
{
    double p = INVERSE_FACTORIAL[last];
    for (int n = last - 2; n >= first; n -= 2)
        p = INVERSE_FACTORIAL[n] - z * p;
    return p;
}

static double sine(struct dd r)                /* sin(hi + lo) = sin hi + lo cos hi */
{
    double z = r.hi * r.hi;
    return r.hi + (r.lo * (1 - z / 2) - r.hi * z * taylor(z, 3, 17));
}

static double cosine(struct dd r)              /* cos(hi + lo) = cos hi - lo sin hi */
{
    double z = r.hi * r.hi;
    struct dd w = two_sum(1, -z / 2);
    return w.hi + (w.lo + (z * z * taylor(z, 4, 16) - r.hi * r.lo));
}

static double sine_of_quadrant(double x, int shift)
{
    int quadrant;
    if (!isfinite(x))
        return (double)NAN;
    struct dd r = reduce(x, &quadrant);
    quadrant += shift;
    double y = quadrant & 1 ? cosine(r) : sine(r);
    return quadrant & 2 ? -y : y;
}

FMATH double sin(double x) { return x == 0 ? x : sine_of_quadrant(x, 0); }
FMATH double cos(double x) { return sine_of_quadrant(x, 1); }
FMATH float sinf(float x) { return (float)sin((double)x); }
FMATH float cosf(float x) { return (float)cos((double)x); }
