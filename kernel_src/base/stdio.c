/* stdio.c: tangled from nbs/base/02_libc.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/02_libc.ipynb § printf ---- */

/* base/stdio.c: printf's formatter (see stdio.h).
 * A conversion is first turned into four parts: sign or prefix, zeros, body, padding;
 * `spec_emit` alone knows how width and the flags combine them. */
#include "base/stdio.h"
#include "base/string.h"

struct out { format_sink sink; void *ctx; size_t len; };

static void out_text(struct out *o, const char *text, size_t len)
{
    if (len)
        o->sink(o->ctx, text, len);
    o->len += len;
}

static void out_fill(struct out *o, char c, int n)
{
    char block[32];
    memset(block, c, sizeof block);
    for (; n > 0; n -= (int)sizeof block)
        out_text(o, block, n < (int)sizeof block ? (size_t)n : sizeof block);
}

struct spec {
    bool left, plus, space, alt, zero;
    int width, precision;          /* precision -1: none given */
    int size;                      /* bytes of an integer argument */
    char conv;
};

static const char *spec_parse_number(const char *f, int *n)
{
    for (*n = 0; isdigit(*f); f++)
        if (*n < 100000)           /* a hostile width cannot overflow */
            *n = *n * 10 + (*f - '0');
    return f;
}

static const char *spec_parse_length(const char *f, struct spec *s)
{
    s->size = sizeof(int);
    switch (*f) {
    case 'h': s->size = f[1] == 'h' ? 1 : sizeof(short); break;
    case 'l': s->size = f[1] == 'l' ? sizeof(long long) : sizeof(long); break;
    case 'z': s->size = sizeof(size_t); break;
    case 't': s->size = sizeof(ptrdiff_t); break;
    case 'j': s->size = sizeof(intmax_t); break;
    default: return f;
    }
    return f + ((*f == 'h' || *f == 'l') && f[1] == *f ? 2 : 1);
}

static bool spec_parse_flag(char c, struct spec *s)
{
    switch (c) {
    case '-': return s->left = true;
    case '+': return s->plus = true;
    case ' ': return s->space = true;
    case '#': return s->alt = true;
    case '0': return s->zero = true;
    default: return false;
    }
}

/* Width or precision: digits, or `*` which takes the next argument. */
#define SPEC_NUMBER(f, out, ap) (*(f) == '*' ? ((out) = va_arg(ap, int), (f) + 1) \
                                             : spec_parse_number(f, &(out)))

/* pad | prefix | zeros | body | pad. The zero flag turns the left pad into zeros. */
static void spec_emit(struct out *o, const struct spec *s, const char *prefix, int zeros,
                      const char *body, size_t len)
{
    size_t prefix_len = strlen(prefix);
    int pad = s->width - (int)prefix_len - zeros - (int)len;
    if (pad > 0 && s->zero && !s->left) {
        zeros += pad;
        pad = 0;
    }
    if (!s->left)
        out_fill(o, ' ', pad);
    out_text(o, prefix, prefix_len);
    out_fill(o, '0', zeros);
    out_text(o, body, len);
    if (s->left)
        out_fill(o, ' ', pad);
}

static const char *sign_text(const struct spec *s, bool negative)
{
    return negative ? "-" : s->plus ? "+" : s->space ? " " : "";
}

static void emit_integer(struct out *o, struct spec *s, uint64_t v, const char *prefix)
{
    char text[24], *p = text + sizeof text;
    const char *digits = s->conv == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    if (s->conv == 'x' || s->conv == 'X' || s->conv == 'p')
        for (; v; v >>= 4)
            *--p = digits[v & 15];
    else if (s->conv == 'o')
        for (; v; v >>= 3)
            *--p = digits[v & 7];
    else
        for (; v; v /= 10)
            *--p = digits[v % 10];

    int len = (int)(text + sizeof text - p);
    int zeros = (s->precision < 0 ? 1 : s->precision) - len;
    if (s->conv == 'o' && s->alt && zeros <= 0)
        zeros = 1;
    if (s->precision >= 0)
        s->zero = false;
    spec_emit(o, s, prefix, zeros > 0 ? zeros : 0, p, (size_t)len);
}

static int64_t arg_signed(int size, va_list *ap)
{
    if (size == 8)
        return va_arg(*ap, int64_t);
    int v = va_arg(*ap, int);
    return size == 1 ? (signed char)v : size == 2 ? (short)v : v;
}

static uint64_t arg_unsigned(int size, va_list *ap)
{
    if (size == 8)
        return va_arg(*ap, uint64_t);
    unsigned v = va_arg(*ap, unsigned);
    return size == 1 ? (unsigned char)v : size == 2 ? (unsigned short)v : v;
}

/* A float's text is built of pieces: d[from..to), where missing digits are zeros. */
static void out_digits(struct out *o, const struct decimal *d, int from, int to)
{
    if (from < 0) {
        out_fill(o, '0', (to < 0 ? to : 0) - from);
        from = 0;
    }
    int end = to < d->n ? to : d->n;
    if (from < end)
        out_text(o, d->digit + from, (size_t)(end - from));
    else
        end = from;
    out_fill(o, '0', to - end);
}

static void emit_padded(struct out *o, struct spec *s, const char *prefix, int len)
{
    struct spec pad = *s; /* everything before the body of `len` characters */
    pad.width = s->left ? 0 : s->width - len;
    spec_emit(o, &pad, prefix, 0, "", 0);
}

static void emit_fixed(struct out *o, struct spec *s, const char *sign, struct decimal *d)
{
    bool dot = s->precision > 0 || s->alt;
    int whole = d->point > 0 ? d->point : 1;
    int len = whole + dot + s->precision;
    emit_padded(o, s, sign, len);
    if (d->point > 0)
        out_digits(o, d, 0, d->point);
    else
        out_text(o, "0", 1);
    if (dot)
        out_text(o, ".", 1);
    out_digits(o, d, d->point > 0 ? d->point : d->n ? d->point : 0,
               (d->n || d->point > 0 ? d->point : 0) + s->precision);
    if (s->left)
        out_fill(o, ' ', s->width - len - (int)strlen(sign));
}

static void emit_exponent(struct out *o, struct spec *s, const char *sign,
                          struct decimal *d)
{
    bool dot = s->precision > 0 || s->alt;
    int x = d->n ? d->point - 1 : 0, abs_x = x < 0 ? -x : x;
    int len = 1 + dot + s->precision + (abs_x >= 100 ? 5 : 4);
    emit_padded(o, s, sign, len);
    out_digits(o, d, 0, 1);
    if (dot)
        out_text(o, ".", 1);
    out_digits(o, d, 1, 1 + s->precision);
    char tail[5] = {s->conv, x < 0 ? '-' : '+'};
    int n = 2;
    if (abs_x >= 100)
        tail[n++] = (char)('0' + abs_x / 100);
    tail[n++] = (char)('0' + abs_x / 10 % 10);
    tail[n++] = (char)('0' + abs_x % 10);
    out_text(o, tail, (size_t)n);
    if (s->left)
        out_fill(o, ' ', s->width - len - (int)strlen(sign));
}

/* %g: P significant digits; fixed when the exponent X is in [-4, P), and without the
 * zeros at the end unless '#' asks for them (ISO C11 7.21.6.1). */
static void emit_general(struct out *o, struct spec *s, const char *sign,
                         struct decimal *d)
{
    int p = s->precision == 0 ? 1 : s->precision;
    decimal_round(d, p);
    int x = d->n ? d->point - 1 : 0;
    bool fixed = x >= -4 && x < p;
    int digits = s->alt ? p : d->n ? d->n : 1;       /* significant digits to show */
    s->conv = (char)(s->conv - 'g' + 'e');           /* 'g' -> 'e', 'G' -> 'E' */
    if (fixed) {
        s->precision = digits - 1 - x > 0 ? digits - 1 - x : 0;
        emit_fixed(o, s, sign, d);
    } else {
        s->precision = digits - 1;
        emit_exponent(o, s, sign, d);
    }
}

static void emit_double(struct out *o, struct spec *s, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    const char *sign = sign_text(s, bits >> 63);
    bool upper = isupper(s->conv);
    if ((bits >> 52 & 0x7ff) == 0x7ff) {
        s->zero = false;
        bool nan = bits << 12;
        spec_emit(o, s, sign, 0, nan ? (upper ? "NAN" : "nan") : (upper ? "INF" : "inf"),
                  3);
        return;
    }
    if (s->precision < 0)
        s->precision = 6;

    struct decimal d;
    decimal_from_double(&d, v);
    switch (tolower(s->conv)) {
    case 'f':
        decimal_round(&d, d.point + s->precision);
        return emit_fixed(o, s, sign, &d);
    case 'e':
        decimal_round(&d, 1 + s->precision);
        return emit_exponent(o, s, sign, &d);
    default:
        return emit_general(o, s, sign, &d);
    }
}

static void emit_text(struct out *o, struct spec *s, const char *text)
{
    if (!text)
        text = "(null)";
    s->zero = false;
    spec_emit(o, s, "", 0, text,
              s->precision < 0 ? strlen(text) : strnlen(text, (size_t)s->precision));
}

/* One conversion. False when the letter is none that we know. */
static bool emit(struct out *o, struct spec *s, va_list *ap)
{
    char c;
    uint64_t u;
    int64_t i;
    switch (s->conv) {
    case 'd': case 'i':
        i = arg_signed(s->size, ap);
        emit_integer(o, s, i < 0 ? 0 - (uint64_t)i : (uint64_t)i, sign_text(s, i < 0));
        return true;
    case 'u': case 'o':
        emit_integer(o, s, arg_unsigned(s->size, ap), "");
        return true;
    case 'x': case 'X':
        u = arg_unsigned(s->size, ap);
        emit_integer(o, s, u, !s->alt || !u ? "" : s->conv == 'x' ? "0x" : "0X");
        return true;
    case 'p':
        emit_integer(o, s, (uintptr_t)va_arg(*ap, void *), "0x");
        return true;
    case 'c':
        c = (char)va_arg(*ap, int);
        s->zero = false;
        spec_emit(o, s, "", 0, &c, 1);
        return true;
    case 's':
        emit_text(o, s, va_arg(*ap, const char *));
        return true;
    case 'f': case 'F': case 'e': case 'E': case 'g': case 'G':
        emit_double(o, s, va_arg(*ap, double));
        return true;
    case '%':
        out_text(o, "%", 1);
        return true;
    default:
        return false;
    }
}

int vformat(format_sink sink, void *ctx, const char *fmt, va_list args)
{
    struct out o = {.sink = sink, .ctx = ctx};
    va_list ap;
    va_copy(ap, args); /* a va_list of our own, whose address can be passed */
    while (*fmt) {
        const char *f = fmt;
        while (*f && *f != '%')
            f++;
        out_text(&o, fmt, (size_t)(f - fmt));
        fmt = f;
        if (!*f)
            break;

        struct spec s = {.precision = -1};
        for (f++; spec_parse_flag(*f, &s); f++)
            ;
        f = SPEC_NUMBER(f, s.width, ap);
        if (s.width < 0) {                /* a negative `*` width means '-' */
            s.left = true;
            s.width = -s.width;
        }
        if (*f == '.')
            f = SPEC_NUMBER(f + 1, s.precision, ap);
        f = spec_parse_length(f, &s);
        s.conv = *f;
        if (!emit(&o, &s, &ap)) {         /* unknown: show the directive as it stands */
            size_t len = (size_t)(f - fmt) + (*f != 0);
            out_text(&o, fmt, len);
        }
        fmt = *f ? f + 1 : f;
    }
    va_end(ap);
    return (int)o.len;
}

struct buffer { char *buf; size_t cap, len; };

static void buffer_sink(void *ctx, const char *text, size_t len)
{
    struct buffer *b = ctx;
    size_t left = b->cap - b->len;              /* cap includes the NUL, so left >= 1 */
    if (b->cap && left > 1) {
        size_t n = len < left - 1 ? len : left - 1;
        memcpy(b->buf + b->len, text, n);
        b->len += n;
    }
}

int vsnprintf(char *buf, size_t cap, const char *fmt, va_list ap)
{
    struct buffer b = {.buf = buf, .cap = cap};
    int len = vformat(buffer_sink, &b, fmt, ap);
    if (cap)
        buf[b.len] = 0;
    return len;
}

int snprintf(char *buf, size_t cap, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(buf, cap, fmt, ap);
    va_end(ap);
    return len;
}
