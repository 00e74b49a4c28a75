/* decimal.c: tangled from nbs/base/02_libc.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/02_libc.ipynb § Numbers as text, exactly ---- */

/* base/decimal.c: see decimal.h.
 * The one idea: m * 2^-k = m * 5^k / 10^k, so a binary fraction becomes a decimal one by
 * multiplying an integer by five and moving the point. The integer lives in base 10^9. */
#include "base/decimal.h"
#include "base/string.h"

#define LIMB_BASE 1000000000u
#define LIMB_DIGITS 9
#define LIMBS_MAX (DECIMAL_MAX / LIMB_DIGITS)

struct bignum { int n; uint32_t limb[LIMBS_MAX]; };   /* least significant limb first */

/* x / 10^9 for x < 2^60, by multiplication with 2^61 / 10^9: `div` is slow on a PC, and
 * slower on an emulated one. What the cut-off bits were worth, the loop puts right. */
static uint32_t limb_divide(uint64_t x, uint32_t *rem)
{
    uint32_t q = (uint32_t)((x >> 29) * 2305843009u >> 32);
    uint32_t r = (uint32_t)x - q * LIMB_BASE;
    for (; r >= LIMB_BASE; r -= LIMB_BASE)
        q++;
    *rem = r;
    return q;
}

static void bignum_multiply(struct bignum *b, uint32_t factor)   /* factor < 2^30 */
{
    uint32_t carry = 0;
    for (int i = 0; i < b->n; i++)
        carry = limb_divide((uint64_t)b->limb[i] * factor + carry, &b->limb[i]);
    if (carry)
        b->limb[b->n++] = carry;
}

/* Multiplies by base^n, in steps of step_power = base^step that fit a limb. */
static void bignum_multiply_power(struct bignum *b, uint32_t base, int n,
                                  uint32_t step_power, int step)
{
    for (; n >= step; n -= step)
        bignum_multiply(b, step_power);
    for (; n > 0; n--)
        bignum_multiply(b, base);
}

void decimal_from_binary(struct decimal *d, uint64_t m, int e)
{
    d->n = d->point = 0;
    if (m == 0)
        return;
    for (; e < 0 && m % 2 == 0; e++)
        m /= 2;

    struct bignum b;
    for (b.n = 0; m; m /= LIMB_BASE)
        b.limb[b.n++] = (uint32_t)(m % LIMB_BASE);
    if (e > 0)
        bignum_multiply_power(&b, 2, e, 1u << 29, 29);
    else
        bignum_multiply_power(&b, 5, -e, 244140625u, 12);

    for (int i = 0; i < b.n; i++)
        for (int j = 0; j < LIMB_DIGITS; j++, b.limb[i] /= 10)
            d->digit[(b.n - i) * LIMB_DIGITS - 1 - j] = (char)('0' + b.limb[i] % 10);

    int zeros = 0;
    while (d->digit[zeros] == '0')
        zeros++;
    d->n = b.n * LIMB_DIGITS - zeros;
    d->point = e < 0 ? d->n + e : d->n;
    memmove(d->digit, d->digit + zeros, (size_t)d->n);
    while (d->digit[d->n - 1] == '0')
        d->n--;
}

#define DOUBLE_BITS 53
#define FLOAT_BITS 24

/* |v| = m * 2^e with an integer m (IEEE 754-2019, 3.4). */
static void double_split(double v, uint64_t *m, int *e)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    int biased = (int)(bits >> 52 & 0x7ff);
    *m = bits & ((1ull << 52) - 1);
    *e = (biased ? biased : 1) - 1075;
    if (biased)
        *m |= 1ull << 52;
}

void decimal_from_double(struct decimal *d, double v)
{
    uint64_t m;
    int e;
    double_split(v, &m, &e);
    decimal_from_binary(d, m, e);
}

/* ---- nbs/base/02_libc.ipynb § Rounding digits ---- */

/* Adds one unit in the place of the last digit kept. 0.999 becomes 0.1 * 10^1. */
static void decimal_bump(struct decimal *d)
{
    while (d->n > 0 && d->digit[d->n - 1] == '9')
        d->n--;
    if (d->n > 0) {
        d->digit[d->n - 1]++;
    } else {
        d->digit[0] = '1';
        d->n = 1;
        d->point++;
    }
}

static void decimal_trim(struct decimal *d)
{
    while (d->n > 0 && d->digit[d->n - 1] == '0')
        d->n--;
    if (d->n == 0)
        d->point = 0;
}

/* Is d, cut after n digits, closer to the next number of n digits? Ties go to even. */
static bool rounds_up(const struct decimal *d, int n)
{
    if (n >= d->n)
        return false;
    bool tie = d->digit[n] == '5' && n + 1 == d->n;
    bool odd = n > 0 && (d->digit[n - 1] - '0') % 2 == 1;
    return tie ? odd : d->digit[n] >= '5';
}

void decimal_round(struct decimal *d, int n)
{
    if (n >= d->n)
        return;
    if (n < 0) {                       /* less than a tenth of a unit */
        d->n = d->point = 0;
        return;
    }
    bool up = rounds_up(d, n);
    d->n = n;
    if (up)
        decimal_bump(d);
    decimal_trim(d);
}

int decimal_compare(const struct decimal *a, const struct decimal *b)
{
    if (a->n == 0 || b->n == 0)
        return (a->n != 0) - (b->n != 0);
    if (a->point != b->point)
        return a->point < b->point ? -1 : 1;
    int n = a->n < b->n ? a->n : b->n;
    int order = memcmp(a->digit, b->digit, (size_t)n);
    return order ? order : a->n - b->n;
}

/* ---- nbs/base/02_libc.ipynb § The shortest text ---- */

/* The interval of reals that round to |v|: the midpoints towards both neighbours, which
 * differ in distance when |v| is a power of two. Ties go to the even mantissa, so the
 * ends belong to it or not. `precision` is 53, or 24 for a float held in a double. */
static bool rounding_interval(double v, int precision, struct decimal *low,
                              struct decimal *high)
{
    uint64_t m;
    int e, e_min = precision == DOUBLE_BITS ? -1074 : -149;
    double_split(v, &m, &e);
    for (; m >> precision || (e < e_min && m % 2 == 0); e++)
        m /= 2;
    bool closer_below = m == 1ull << (precision - 1) && e > e_min;
    decimal_from_binary(low, 4 * m - (closer_below ? 1 : 2), e - 2);
    decimal_from_binary(high, 4 * m + 2, e - 2);
    return m % 2 == 0;
}

static void copy_digits(struct decimal *to, const struct decimal *from, int n)
{
    to->n = n;
    to->point = from->point;
    memcpy(to->digit, from->digit, (size_t)n);
}

static void shortest(struct decimal *d, double v, int precision)
{
    struct decimal low, high, exact, up;
    decimal_from_double(&exact, v);
    bool closed = rounding_interval(v, precision, &low, &high);

    int n = 1; /* digits that both ends share decide nothing */
    if (low.point == high.point)
        while (n < low.n && n < high.n && low.digit[n - 1] == high.digit[n - 1])
            n++;
    for (;; n++) {
        int have = n < exact.n ? n : exact.n;
        copy_digits(d, &exact, have);           /* cut off: towards zero */
        copy_digits(&up, &exact, have);         /* and one unit further */
        decimal_bump(&up);
        decimal_trim(d);
        int below = decimal_compare(d, &low), above = decimal_compare(&up, &high);
        bool down_ok = below > 0 || (below == 0 && closed);
        bool up_ok = n < exact.n && (above < 0 || (above == 0 && closed));
        if (up_ok && (rounds_up(&exact, n) || !down_ok))
            copy_digits(d, &up, up.n);
        if (down_ok || up_ok)
            return;
    }
}

void decimal_shortest(struct decimal *d, double v) { shortest(d, v, DOUBLE_BITS); }

/* Lays digits out as JSON writers do: 0.0001, 100.0, 1.5e-05, 1e+22. */
static int decimal_layout(char *buf, const struct decimal *d)
{
    char *p = buf;
    int n = d->n, point = d->point;
    if (point > -4 && point <= 15) {
        if (point <= 0)
            *p++ = '0';
        for (int i = 0; i < point; i++)
            *p++ = i < n ? d->digit[i] : '0';
        *p++ = '.';
        for (int i = point; i < 0; i++)
            *p++ = '0';
        for (int i = point > 0 ? point : 0; i < n; i++)
            *p++ = d->digit[i];
        if (point >= n)
            *p++ = '0';
    } else {
        *p++ = d->digit[0];
        if (n > 1)
            *p++ = '.';
        for (int i = 1; i < n; i++)
            *p++ = d->digit[i];
        int x = point - 1;
        *p++ = 'e';
        *p++ = x < 0 ? '-' : '+';
        x = x < 0 ? -x : x;
        if (x >= 100)
            *p++ = (char)('0' + x / 100);
        *p++ = (char)('0' + x / 10 % 10);
        *p++ = (char)('0' + x % 10);
    }
    *p = 0;
    return (int)(p - buf);
}

/* Most numbers that people write have few digits: is v = D / 10^k, with D < 10^15 and k
 * at most 15? Both are doubles exactly, so the division rounds once, as a reader of the
 * text would. No two decimals of 15 digits share a double: the first k is the answer. */
static bool shortest_of_few(struct decimal *d, double v)
{
    double power = 1;
    for (int k = 0; k <= 15; k++, power *= 10) {
        double scaled = v * power + 0.5;
        if (!(scaled >= 1 && scaled < 1e15))
            continue;
        uint64_t digits = (uint64_t)(int64_t)scaled;
        if ((double)(int64_t)digits / power == v) {
            decimal_from_binary(d, digits, 0);
            d->point -= k;
            return true;
        }
    }
    return false;
}

static int number_shortest(char *buf, double v, int precision)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    int sign = bits >> 63 ? 1 : 0;
    if (v != v)
        return (int)strlcpy(buf, "nan", DTOA_SHORTEST_MAX);
    if (sign)
        *buf = '-';
    if ((bits & ~(1ull << 63)) == 0x7ffull << 52)
        return sign + (int)strlcpy(buf + sign, "inf", DTOA_SHORTEST_MAX - 1);
    if (v == 0)
        return sign + (int)strlcpy(buf + sign, "0.0", DTOA_SHORTEST_MAX - 1);

    struct decimal d;
    v = sign ? -v : v;
    if (precision != DOUBLE_BITS || !shortest_of_few(&d, v))
        shortest(&d, v, precision);
    return sign + decimal_layout(buf + sign, &d);
}

int dtoa_shortest(char *buf, double v) { return number_shortest(buf, v, DOUBLE_BITS); }
int ftoa_shortest(char *buf, float v)
{
    return number_shortest(buf, (double)v, FLOAT_BITS);
}
