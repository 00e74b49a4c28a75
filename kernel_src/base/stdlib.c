/* stdlib.c: tangled from nbs/base/02_libc.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/02_libc.ipynb § Numbers from text ---- */

/* base/stdlib.c: see stdlib.h. */
#include "base/stdlib.h"
#include "base/decimal.h"
#include "base/string.h"

/* gcc's <limits.h> looks for the system's, which a freestanding build has not. */
#define INT_MAX __INT_MAX__
#define LONG_MAX __LONG_MAX__
#define ULONG_MAX (2ul * __LONG_MAX__ + 1)
#define LLONG_MAX __LONG_LONG_MAX__
#define ULLONG_MAX (2ull * __LONG_LONG_MAX__ + 1)

static int digit_value(char c)
{
    return isdigit(c) ? c - '0' : isalpha(c) ? tolower(c) - 'a' + 10 : INT_MAX;
}

/* The magnitude of an integer; saturates at `max`. Where there is none, *end is s. */
static uint64_t scan_integer(const char *s, char **end, int base, uint64_t max,
                             bool *negative)
{
    const char *p = s;
    while (isspace(*p))
        p++;
    *negative = *p == '-';
    if (*p == '-' || *p == '+')
        p++;
    if ((base == 0 || base == 16) && p[0] == '0' && tolower(p[1]) == 'x' &&
        isxdigit(p[2])) {
        p += 2;
        base = 16;
    }
    if (base == 0)
        base = *p == '0' ? 8 : 10;

    const char *first = p;
    uint64_t v = 0;
    for (; digit_value(*p) < base; p++) {
        uint64_t digit = (uint64_t)digit_value(*p);
        v = v > (max - digit) / (uint64_t)base ? max : v * (uint64_t)base + digit;
    }
    if (end)
        *end = (char *)(p == first ? s : p);
    return v;
}

static long long scan_signed(const char *s, char **end, int base, uint64_t max)
{
    bool negative;
    uint64_t v = scan_integer(s, end, base, max + 1, &negative);
    if (negative)
        return (long long)(0 - v);
    return (long long)(v > max ? max : v);
}

static unsigned long long scan_unsigned(const char *s, char **end, int base, uint64_t max)
{
    bool negative;
    uint64_t v = scan_integer(s, end, base, max, &negative);
    return negative && v < max ? 0 - v : v; /* the standard lets -1 mean the largest */
}

long strtol(const char *s, char **end, int base)
{
    return (long)scan_signed(s, end, base, LONG_MAX);
}
long long strtoll(const char *s, char **end, int base)
{
    return scan_signed(s, end, base, LLONG_MAX);
}
unsigned long strtoul(const char *s, char **end, int base)
{
    return (unsigned long)scan_unsigned(s, end, base, ULONG_MAX);
}
unsigned long long strtoull(const char *s, char **end, int base)
{
    return scan_unsigned(s, end, base, ULLONG_MAX);
}

/* ---- nbs/base/02_libc.ipynb § Reading a fraction, correctly rounded ---- */

#define POINT_MAX 100000 /* beyond 10^+-100000 every double is infinity or zero */

/* digits [. digits] -> d. What follows the digits that fit can only matter as "a little
 * more": if any of it is nonzero, the last digit kept is a 1. False when there is no
 * digit at all. */
static bool scan_decimal(const char **text, struct decimal *d)
{
    const char *p = *text;
    bool any = false, dot = false, more = false;
    d->n = d->point = 0;
    for (; isdigit(*p) || (*p == '.' && !dot); p++) {
        if (*p == '.') {
            dot = true;
            continue;
        }
        any = true;
        if (d->n == 0 && *p == '0') {              /* a leading zero */
            if (dot && d->point > -POINT_MAX)
                d->point--;
            continue;
        }
        if (!dot && d->point < POINT_MAX)
            d->point++;
        if (d->n < DECIMAL_MAX - 1)
            d->digit[d->n++] = *p;
        else
            more |= *p != '0';
    }
    if (more)
        d->digit[d->n++] = '1';
    while (d->n > 0 && d->digit[d->n - 1] == '0')
        d->n--;
    *text = p;
    return any;
}

/* [e [+-] digits]; 0 when there is none. */
static int scan_exponent(const char **text)
{
    const char *p = *text;
    if (tolower(*p) != 'e')
        return 0;
    p++;
    bool negative = *p == '-';
    if (*p == '-' || *p == '+')
        p++;
    if (!isdigit(*p))
        return 0;
    int x = 0;
    for (; isdigit(*p); p++)
        if (x < 2 * POINT_MAX)
            x = x * 10 + (*p - '0');
    *text = p;
    return negative ? -x : x;
}

static const double POWERS_OF_TEN[] = {
    1e1, 1e2, 1e4, 1e8, 1e16, 1e32, 1e64, 1e128, 1e256};
#define EXACT_DIGITS 15       /* integers of 15 digits and ... */
#define EXACT_POWER 22        /* ... powers of ten up to 10^22 are doubles, exactly */

/* 0.d0 d1 ... * 10^point, a few ulp off at most. *exact: not even that. */
static double decimal_guess(const struct decimal *d, bool *exact)
{
    uint64_t m = 0;
    int n = d->n < 19 ? d->n : 19, x = d->point - n;
    for (int i = 0; i < n; i++)
        m = m * 10 + (uint64_t)(d->digit[i] - '0');

    double v = (double)(int64_t)m;
    if (n == 19 && d->digit[0] == '9') /* may not fit an int64: halve it first */
        v = 2.0 * (double)(int64_t)(m >> 1 | (m & 1));
    unsigned k = (unsigned)(x < 0 ? -x : x);
    double scale = 1;
    *exact = d->n <= EXACT_DIGITS && k <= EXACT_POWER;
    if (*exact) {
        for (int i = 0; k >> i; i++)
            if (k >> i & 1)
                scale *= POWERS_OF_TEN[i];         /* exact products: all <= 10^22 */
        return x < 0 ? v / scale : v * scale;
    }
    for (int i = 8; i >= 0; i--)
        if (k >> i & 1)
            v = x < 0 ? v / POWERS_OF_TEN[i] : v * POWERS_OF_TEN[i];
    return v;
}

#define BITS_INFINITY 0x7ff0000000000000ull

/* Compares d with the midpoint of the double `bits` (finite, >= 0) and the next one. */
static int compare_midpoint(const struct decimal *d, uint64_t bits)
{
    struct decimal mid;
    int biased = (int)(bits >> 52);
    uint64_t m = bits & ((1ull << 52) - 1);
    if (biased)
        m |= 1ull << 52;
    decimal_from_binary(&mid, 2 * m + 1, (biased ? biased : 1) - 1076);
    return decimal_compare(d, &mid);
}

static double decimal_to_double(const struct decimal *d)
{
    uint64_t bits = 0;
    double v = 0;
    if (d->n == 0 || d->point < -330)
        return 0;
    if (d->point > 310) {
        bits = BITS_INFINITY;
    } else {
        bool exact;
        v = decimal_guess(d, &exact);
        if (exact)
            return v;
        memcpy(&bits, &v, sizeof bits);
        for (int order; bits < BITS_INFINITY; bits++)          /* too small? */
            if ((order = compare_midpoint(d, bits)) < 0 || (order == 0 && bits % 2 == 0))
                break;
        for (int order; bits > 0; bits--)                      /* too large? */
            if ((order = compare_midpoint(d, bits - 1)) > 0 ||
                (order == 0 && bits % 2 == 0))
                break;
    }
    memcpy(&v, &bits, sizeof v);
    return v;
}

static double scan_word(const char **text)
{
    static const double INFINITE = __builtin_inf(), NOT_A_NUMBER = __builtin_nan("");
    static const struct { const char *word; const double *value; } WORDS[] = {
        {"infinity", &INFINITE}, {"inf", &INFINITE}, {"nan", &NOT_A_NUMBER}};
    for (size_t i = 0; i < sizeof WORDS / sizeof WORDS[0]; i++) {
        size_t len = strlen(WORDS[i].word);
        if (strncasecmp(*text, WORDS[i].word, len) == 0) {
            *text += len;
            return *WORDS[i].value;
        }
    }
    return 0;
}

double strtod(const char *s, char **end)
{
    const char *p = s;
    while (isspace(*p))
        p++;
    bool negative = *p == '-';
    if (*p == '-' || *p == '+')
        p++;

    struct decimal d;
    const char *number = p;
    double v;
    if (scan_decimal(&p, &d)) {
        d.point += scan_exponent(&p);
        v = decimal_to_double(&d);
    } else {
        p = number;
        v = scan_word(&p);
    }
    bool none = p == number;
    if (end)
        *end = (char *)(none ? s : p);
    return negative && !none ? -v : v;
}

/* ---- nbs/base/02_libc.ipynb § Sorting ---- */

static void swap_bytes(uint8_t *a, uint8_t *b, size_t n)
{
    for (; n; n--, a++, b++) {
        uint8_t t = *a;
        *a = *b;
        *b = t;
    }
}

/* Lets the element at `root` sink until no child of it is larger. */
static void heap_sink(uint8_t *base, size_t root, size_t n, size_t size,
                      int (*cmp)(const void *, const void *))
{
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && cmp(base + child * size, base + (child + 1) * size) < 0)
            child++;
        if (cmp(base + root * size, base + child * size) >= 0)
            return;
        swap_bytes(base + root * size, base + child * size, size);
    }
}

void qsort(void *base, size_t n, size_t size, int (*cmp)(const void *, const void *))
{
    for (size_t i = n / 2; i-- > 0;)
        heap_sink(base, i, n, size, cmp);
    for (size_t last = n; last-- > 1;) {
        swap_bytes(base, (uint8_t *)base + last * size, size);
        heap_sink(base, 0, last, size, cmp);
    }
}

void *bsearch(const void *key, const void *base, size_t n, size_t size,
              int (*cmp)(const void *, const void *))
{
    while (n) {
        const uint8_t *middle = (const uint8_t *)base + n / 2 * size;
        int order = cmp(key, middle);
        if (order == 0)
            return (void *)middle;
        if (order > 0) {
            base = middle + size;
            n--;
        }
        n /= 2;
    }
    return NULL;
}
