/* jinja_filters.c: tangled from nbs/llm/26_jinja.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/26_jinja.ipynb § Filters on text ---- */

/* jinja_filters.c: filters, tests, methods and global functions, in tables. */
#include "base/fmath.h"
#include "base/stdio.h"
#include "base/string.h"
#include "llm/jinja_impl.h"

#define FN(name) static struct jinja_value name(struct jinja_run *r, \
    struct jinja_value self, const struct jinja_value *arg)
#define UNUSED (void)r, (void)self, (void)arg

static const struct jinja_value UNDEFINED = { .type = JINJA_UNDEFINED };
static const struct jinja_value NONE = { .type = JINJA_NONE },
                                ABSENT = { .type = JINJA_ABSENT };

static bool absent(struct jinja_value v) { return v.type == JINJA_ABSENT; }

static struct jinja_value bad(struct jinja_run *r, const char *what, struct jinja_value v)
{
    if (v.type == JINJA_UNDEFINED)
        jinja_fail(r, JINJA_BAD, "%s: '%.*s' is undefined", what,
                   (int)(v.len < 60 ? v.len : 60), v.str ? v.str : "");
    else
        jinja_fail(r, JINJA_BAD, "%s does not work on a %s", what, jinja_type_name(v));
    return UNDEFINED;
}

static bool want_string(struct jinja_run *r, const char *what, struct jinja_value v)
{
    if (v.type != JINJA_STRING)
        bad(r, what, v);
    return !jinja_failed(r);
}

/* An optional integer argument. */
static int64_t integer(struct jinja_run *r, const char *what, struct jinja_value v,
                       int64_t missing)
{
    if (absent(v) || v.type == JINJA_NONE)
        return missing;
    if (v.type != JINJA_INT && v.type != JINJA_BOOL)
        bad(r, what, v);
    return v.type == JINJA_BOOL ? v.boolean : v.type == JINJA_INT ? v.i : missing;
}

static bool in_set(struct jinja_value set, const char *s, uint32_t n, uint32_t code)
{
    if (set.type != JINJA_STRING)
        return jinja_is_space(code);
    for (uint32_t at = 0, m; at < set.len; at += m) {
        m = jinja_char(set.str + at, set.len - at, NULL);
        if (m == n && !memcmp(set.str + at, s, n))
            return true;
    }
    return false;
}

static struct jinja_value strip(struct jinja_run *r, struct jinja_value s,
                                struct jinja_value set, bool left, bool right)
{
    uint32_t from = 0, code, n, keep;
    if (!absent(set) && set.type != JINJA_NONE && !want_string(r, "strip", set))
        return UNDEFINED;
    uint64_t cost = set.type == JINJA_STRING ? set.len + 1u : 1;   // for each byte of s
    if (!jinja_step(r, s.len * cost / 64))
        return UNDEFINED;
    for (; left && from < s.len; from += n) {
        n = jinja_char(s.str + from, s.len - from, &code);
        if (!in_set(set, s.str + from, n, code))
            break;
    }
    keep = right ? from : s.len;
    for (uint32_t at = from; right && at < s.len; at += n) {
        n = jinja_char(s.str + at, s.len - at, &code);
        if (!in_set(set, s.str + at, n, code))
            keep = at + n;
    }
    return jinja_string(s.str + from, keep - from);
}

FN(filter_trim) { return strip(r, jinja_str(r, self), arg[0], true, true); }
FN(method_strip) { return strip(r, self, arg[0], true, true); }
FN(method_lstrip) { return strip(r, self, arg[0], true, false); }
FN(method_rstrip) { return strip(r, self, arg[0], false, true); }

enum change { UPPER, LOWER, CAPITALIZE, TITLE, FILTER_TITLE };

static struct jinja_value change_case(struct jinja_run *r, struct jinja_value v,
                                      enum change how)
{
    struct jinja_text t = { 0 };
    bool start = true;
    jinja_text_add(r, &t, v.str, v.len);
    for (uint32_t i = 0; i < t.len && !jinja_failed(r); i++) {
        int c = (uint8_t)t.s[i];
        bool up = how == UPPER || (how != LOWER && start);
        t.s[i] = (char)(c >= 0x80 ? c : up ? toupper(c) : tolower(c));
        start = how == TITLE ? !(isalpha(c) || c >= 0x80)
              : how == FILTER_TITLE ? c && (isspace(c) || strchr("-({[<", c)) : false;
    }
    return jinja_text_value(&t);
}

FN(filter_upper) { UNUSED; return change_case(r, jinja_str(r, self), UPPER); }
FN(filter_lower) { UNUSED; return change_case(r, jinja_str(r, self), LOWER); }
FN(filter_capitalize) { UNUSED; return change_case(r, jinja_str(r, self), CAPITALIZE); }
FN(filter_title) { UNUSED; return change_case(r, jinja_str(r, self), FILTER_TITLE); }
FN(method_title) { UNUSED; return change_case(r, self, TITLE); }

static struct jinja_value replace(struct jinja_run *r, struct jinja_value s,
                                  struct jinja_value old, struct jinja_value new,
                                  int64_t count)
{
    struct jinja_text t = { 0 };
    uint32_t at = 0;
    int64_t hit;
    count = count < 0 ? INT64_MAX : count;
    for (; count > 0 && jinja_step(r, 1); count--) {
        hit = jinja_find(r, s, old, at);
        if (hit < 0 || (!old.len && at >= s.len))
            break;
        jinja_text_add(r, &t, s.str + at, (size_t)hit - at);
        jinja_text_add(r, &t, new.str, new.len);
        at = (uint32_t)hit + old.len;
        if (!old.len) {                      // '' is found before every character
            uint32_t n = jinja_char(s.str + at, s.len - at, NULL);
            jinja_text_add(r, &t, s.str + at, n);
            at += n;
        }
    }
    if (!old.len && at >= s.len && count > 0)
        jinja_text_add(r, &t, new.str, new.len);
    jinja_text_add(r, &t, s.str + at, s.len - at);
    return jinja_text_value(&t);
}

FN(filter_replace)
{
    return replace(r, jinja_str(r, self), jinja_str(r, arg[0]), jinja_str(r, arg[1]),
                   integer(r, "replace", arg[2], -1));
}
FN(method_replace)
{
    if (!want_string(r, "replace", arg[0]) || !want_string(r, "replace", arg[1]))
        return UNDEFINED;
    return replace(r, self, arg[0], arg[1], integer(r, "replace", arg[2], -1));
}

static struct jinja_value escape(struct jinja_run *r, struct jinja_value v)
{
    static const char from[] = "&<>'\"";
    static const char *const to[] = { "&amp;", "&lt;", "&gt;", "&#39;", "&#34;" };
    struct jinja_text t = { 0 };
    jinja_step(r, v.len / 64);
    for (uint32_t i = 0; i < v.len && !jinja_failed(r); i++) {
        const char *at = v.str[i] ? strchr(from, v.str[i]) : NULL;
        const char *s = at ? to[at - from] : v.str + i;
        jinja_text_add(r, &t, s, at ? strlen(s) : 1);
    }
    return jinja_text_value(&t);
}

struct jinja_value jinja_escape(struct jinja_run *r, struct jinja_value v)
{
    v = v.markup ? v : escape(r, jinja_str(r, v));
    v.markup = true;
    return v;
}
FN(filter_escape) { UNUSED; return jinja_escape(r, self); }
FN(filter_string) { UNUSED; return jinja_str(r, self); }
FN(filter_safe)
{
    UNUSED;
    struct jinja_value v = jinja_str(r, self);
    v.markup = true;
    return v;
}

static struct jinja_value piece(struct jinja_value s, uint32_t from, uint32_t to)
{
    return jinja_string(s.str + from, to - from);
}

/* split() without a separator: runs of white space. */
static struct jinja_value split_space(struct jinja_run *r, struct jinja_value s,
                                      int64_t max)
{
    struct jinja_value out = jinja_new_list(r, JINJA_LIST, 0);
    uint32_t at = 0, n, code, from;
    while (!jinja_failed(r)) {
        while (at < s.len) {
            n = jinja_char(s.str + at, s.len - at, &code);
            if (!jinja_is_space(code))
                break;
            at += n;
        }
        if (at >= s.len)
            break;
        if (max-- == 0) {
            jinja_append(r, out, piece(s, at, s.len));
            break;
        }
        for (from = at; at < s.len; at += n) {
            n = jinja_char(s.str + at, s.len - at, &code);
            if (jinja_is_space(code))
                break;
        }
        jinja_append(r, out, piece(s, from, at));
    }
    jinja_step(r, s.len / 64);
    return out;
}

FN(method_split)
{
    int64_t max = integer(r, "split", arg[1], -1), hit;
    uint32_t at = 0;
    struct jinja_value sep = arg[0];
    max = max < 0 ? INT64_MAX : max;
    if (absent(sep) || sep.type == JINJA_NONE)
        return split_space(r, self, max);
    if (want_string(r, "split", sep) && !sep.len)
        jinja_fail(r, JINJA_BAD, "split at an empty string");
    struct jinja_value out = jinja_new_list(r, JINJA_LIST, 0);
    for (; max > 0 && !jinja_failed(r); max--) {
        hit = jinja_find(r, self, sep, at);
        if (hit < 0)
            break;
        jinja_append(r, out, piece(self, at, (uint32_t)hit));
        at = (uint32_t)hit + sep.len;
    }
    jinja_append(r, out, piece(self, at, self.len));
    return out;
}

/* The line at *at, without its end; *at moves behind it. */
static struct jinja_value take_line(struct jinja_value s, uint32_t *at)
{
    uint32_t from = *at, code, n;
    for (uint32_t i = from; i < s.len; i += n) {
        n = jinja_char(s.str + i, s.len - i, &code);
        if ((code >= 10 && code <= 13) || (code >= 28 && code <= 30) || code == 0x85 ||
            code == 0x2028 || code == 0x2029) {
            *at = i + n + (code == 13 && i + 1 < s.len && s.str[i + 1] == '\n');
            return piece(s, from, i);
        }
    }
    *at = s.len;
    return piece(s, from, s.len);
}

FN(method_splitlines)
{
    (void)arg;
    struct jinja_value out = jinja_new_list(r, JINJA_LIST, 0);
    jinja_step(r, self.len / 64);
    for (uint32_t at = 0; at < self.len && !jinja_failed(r);)
        jinja_append(r, out, take_line(self, &at));
    return out;
}

FN(filter_indent)
{
    struct jinja_text t = { 0 };
    struct jinja_value pad = arg[0];
    if (!want_string(r, "indent", self))
        return UNDEFINED;
    if (pad.type != JINJA_STRING) {
        struct jinja_text p = { 0 };
        for (int64_t n = integer(r, "indent", pad, 4); n > 0 && jinja_step(r, 1); n--)
            jinja_text_add(r, &p, " ", 1);
        pad = jinja_text_value(&p);
    }
    if (jinja_truth(arg[1]))
        jinja_text_add(r, &t, pad.str, pad.len);
    bool first = true, blank = jinja_truth(arg[2]);
    uint32_t at = 0, ends = 0;
    jinja_step(r, self.len / 64);
    while (at < self.len && jinja_step(r, 1)) {
        struct jinja_value line = take_line(self, &at);
        ends = (uint32_t)(line.str - self.str) + line.len;
        jinja_text_add(r, &t, "\n", !first);
        jinja_text_add(r, &t, pad.str, !first && (blank || line.len) ? pad.len : 0);
        jinja_text_add(r, &t, line.str, line.len);
        first = false;
    }
    if (self.len && ends < self.len) {       // it ended with a line end: one more line
        jinja_text_add(r, &t, "\n", 1);
        jinja_text_add(r, &t, pad.str, blank ? pad.len : 0);
    }
    return jinja_text_value(&t);
}

static bool begins(struct jinja_run *r, struct jinja_value s, struct jinja_value with,
                   bool at_end)
{
    return with.type == JINJA_STRING && jinja_step(r, 1) && with.len <= s.len &&
           jinja_step(r, with.len / 64) &&
           !memcmp(s.str + (at_end ? s.len - with.len : 0), with.str, with.len);
}

static struct jinja_value starts_ends(struct jinja_run *r, struct jinja_value s,
                                      struct jinja_value with, bool at_end)
{
    bool yes = begins(r, s, with, at_end);
    if (with.type == JINJA_TUPLE)
        for (uint32_t i = 0; i < with.list->n && !jinja_failed(r); i++)
            yes |= want_string(r, "startswith", with.list->item[i]) &&
                   begins(r, s, with.list->item[i], at_end);
    else
        want_string(r, at_end ? "endswith" : "startswith", with);
    return jinja_boolean(yes);
}

FN(method_startswith) { return starts_ends(r, self, arg[0], false); }
FN(method_endswith) { return starts_ends(r, self, arg[0], true); }
FN(method_removeprefix)
{
    want_string(r, "removeprefix", arg[0]);
    return begins(r, self, arg[0], false) ? piece(self, arg[0].len, self.len) : self;
}
FN(method_removesuffix)
{
    want_string(r, "removesuffix", arg[0]);
    return begins(r, self, arg[0], true) ? piece(self, 0, self.len - arg[0].len) : self;
}

/* Character offsets, as Python counts. */
static struct jinja_value char_offset(struct jinja_run *r, struct jinja_value s,
                                      int64_t at)
{
    if (at < 0)
        return jinja_integer(-1);
    return jinja_integer(jinja_count_chars(r, piece(s, 0, (uint32_t)at)));
}
FN(method_find)
{
    int64_t hit = want_string(r, "find", arg[0]) ? jinja_find(r, self, arg[0], 0) : -1;
    return char_offset(r, self, hit);
}
FN(method_rfind)
{
    int64_t hit = -1, next = want_string(r, "rfind", arg[0]) ? 0 : -1;
    while (next >= 0 && (next = jinja_find(r, self, arg[0], (uint32_t)next)) >= 0) {
        hit = next++;
        if (!jinja_step(r, 1) || next > self.len)
            break;
    }
    return char_offset(r, self, hit);
}
FN(method_count)
{
    int64_t n = 0, at = want_string(r, "count", arg[0]) ? 0 : -1;
    if (!arg[0].len)
        return jinja_integer((int64_t)jinja_count_chars(r, self) + 1);
    while (at >= 0 && jinja_step(r, 1) &&
           (at = jinja_find(r, self, arg[0], (uint32_t)at)) >= 0) {
        at += arg[0].len;
        n++;
    }
    return jinja_integer(n);
}

static struct jinja_value all_chars(struct jinja_run *r, struct jinja_value s,
                                    bool (*is)(int c))
{
    bool yes = s.len && jinja_step(r, s.len / 64);
    for (uint32_t i = 0; yes && i < s.len; i++)
        yes = is((uint8_t)s.str[i]);
    return jinja_boolean(yes);
}
static bool is_digit(int c) { return isdigit(c); }
static bool is_alpha(int c) { return isalpha(c) || c >= 0x80; }
static bool is_alnum(int c) { return isalnum(c) || c >= 0x80; }
static bool is_blank(int c) { return isspace(c); }
FN(method_isdigit) { UNUSED; return all_chars(r, self, is_digit); }
FN(method_isalpha) { UNUSED; return all_chars(r, self, is_alpha); }
FN(method_isalnum) { UNUSED; return all_chars(r, self, is_alnum); }
FN(method_isspace) { UNUSED; return all_chars(r, self, is_blank); }

static struct jinja_value one_case(struct jinja_run *r, struct jinja_value v, bool upper)
{
    bool any = false, other = false;
    v = jinja_str(r, v);
    jinja_step(r, v.len / 64);
    for (uint32_t i = 0; i < v.len && !jinja_failed(r); i++) {
        any |= upper ? isupper((uint8_t)v.str[i]) : islower((uint8_t)v.str[i]);
        other |= upper ? islower((uint8_t)v.str[i]) : isupper((uint8_t)v.str[i]);
    }
    return jinja_boolean(any && !other);
}
FN(test_upper) { UNUSED; return one_case(r, self, true); }
FN(test_lower) { UNUSED; return one_case(r, self, false); }

/* ---- nbs/llm/26_jinja.ipynb § Formatting ---- */

#define WIDTH_MAX     999
#define PRECISION_MAX 99

struct conversion {                          // %[flags][width][.precision]kind
    bool left, zero;
    char sign, kind;                         // sign: what stands before a positive number
    uint32_t width, precision;
    bool precise;                            // a precision is given
};

static bool read_flag(struct conversion *c, char flag)
{
    c->left |= flag == '-';
    c->zero |= flag == '0';
    if (flag == '+' || (flag == ' ' && !c->sign))
        c->sign = flag;
    return flag == '-' || flag == '0' || flag == '+' || flag == ' ';
}

static uint32_t read_digits(const char *s, uint32_t n, uint32_t *at)
{
    uint32_t v = 0;
    for (; *at < n && isdigit((uint8_t)s[*at]); ++*at)
        v = v > WIDTH_MAX ? v : v * 10 + (uint32_t)(s[*at] - '0');
    return v;
}

/* s[0, n): what stands between '%' and the kind. */
static struct conversion read_conversion(struct jinja_run *r, const char *s, uint32_t n)
{
    struct conversion c = { .kind = s[n] };
    uint32_t at = 0;
    while (at < n && read_flag(&c, s[at]))
        at++;
    c.width = read_digits(s, n, &at);
    c.precise = at < n && s[at] == '.';
    at += c.precise;
    c.precision = c.precise ? read_digits(s, n, &at) : 0;
    if (c.width > WIDTH_MAX || c.precision > PRECISION_MAX)
        jinja_fail(r, JINJA_TOO_BIG, "a %% format has a width of at most %d and a "
                   "precision of at most %d", WIDTH_MAX, PRECISION_MAX);
    if (at < n)
        jinja_fail(r, JINJA_BAD, "a broken %% format");
    return c;
}

static void add_filled(struct jinja_run *r, struct jinja_text *t,
                       const struct conversion *c, char sign, struct jinja_value body)
{
    uint32_t n = jinja_count_chars(r, body) + (sign != 0),
             fill = c->width > n ? c->width - n : 0;
    jinja_step(r, 1 + fill / 64);
    for (uint32_t i = 0; i < fill && !c->left && !c->zero; i++)
        jinja_text_add(r, t, " ", 1);
    jinja_text_add(r, t, &sign, sign != 0);
    for (uint32_t i = 0; i < fill && !c->left && c->zero; i++)
        jinja_text_add(r, t, "0", 1);
    jinja_text_add(r, t, body.str, body.len);
    for (uint32_t i = 0; i < fill && c->left; i++)
        jinja_text_add(r, t, " ", 1);
}

static void format_text(struct jinja_run *r, struct jinja_text *t, struct conversion c,
                        struct jinja_value v)
{
    struct jinja_text body = { 0 };
    if (c.kind == 's' && v.type == JINJA_STRING)
        body = (struct jinja_text){ (char *)(uintptr_t)v.str, v.len, v.len };
    else if (c.kind == 's')
        jinja_add_str(r, &body, v);
    else
        jinja_add_repr(r, &body, v);
    uint32_t n = 0;
    for (uint32_t i = 0; c.precise && i < c.precision && n < body.len; i++)
        n += jinja_char(body.s + n, body.len - n, NULL);
    c.zero = false;
    add_filled(r, t, &c, 0, jinja_string(body.s, c.precise ? n : body.len));
}

static void format_integer(struct jinja_run *r, struct jinja_text *t,
                           const struct conversion *c, struct jinja_value v)
{
    char buf[PRECISION_MAX + 1];
    if (v.type == JINJA_FLOAT && (c->kind == 'x' || c->kind == 'X' ||
                                  !(fabs(v.num) < 0x1p63))) {
        bad(r, "this % conversion", v);
        return;
    }
    int64_t i = v.type == JINJA_FLOAT ? (int64_t)v.num
              : v.type == JINJA_BOOL ? v.boolean : v.i;
    unsigned long long u = i < 0 ? 0 - (unsigned long long)i : (unsigned long long)i;
    int least = c->precision ? (int)c->precision : 1;      // a 0 is a digit even then
    int n = c->kind == 'x' ? snprintf(buf, sizeof buf, "%.*llx", least, u)
          : c->kind == 'X' ? snprintf(buf, sizeof buf, "%.*llX", least, u)
                           : snprintf(buf, sizeof buf, "%.*llu", least, u);
    add_filled(r, t, c, i < 0 ? '-' : c->sign, jinja_string(buf, (size_t)n));
}

static void format_real(struct jinja_run *r, struct jinja_text *t,
                        const struct conversion *c, double v)
{
    char buf[320 + PRECISION_MAX];           // 309 digits before the point
    int p = c->precise ? (int)c->precision : 6;
    double a = fabs(v);
    int n = c->kind == 'f' ? snprintf(buf, sizeof buf, "%.*f", p, a)
          : c->kind == 'e' ? snprintf(buf, sizeof buf, "%.*e", p, a)
                           : snprintf(buf, sizeof buf, "%.*g", p, a);
    bool negative = v == v && __builtin_signbit(v);
    add_filled(r, t, c, negative ? '-' : c->sign, jinja_string(buf, (size_t)n));
}

static void format_one(struct jinja_run *r, struct jinja_text *t, const char *spec,
                       uint32_t n, struct jinja_value v)
{
    struct conversion c = read_conversion(r, spec, n - 1);
    if (jinja_failed(r))
        return;
    if (c.kind == 's' || c.kind == 'r')
        format_text(r, t, c, v);
    else if (!c.kind || !strchr("dixXfeg", c.kind) || !jinja_is_number(v))
        bad(r, "this % conversion", v);
    else if (strchr("feg", c.kind))
        format_real(r, t, &c, jinja_double(v));
    else
        format_integer(r, t, &c, v);
}

static bool is_flag(char c) { return c && strchr("0123456789.-+ ", c); }

struct jinja_value jinja_format(struct jinja_run *r, struct jinja_value fmt,
                                struct jinja_value args)
{
    struct jinja_text t = { 0 };
    uint32_t n_args = args.type == JINJA_TUPLE ? args.list->n : 1, used = 0, n;
    jinja_step(r, fmt.len / 64);
    for (uint32_t i = 0; i < fmt.len && !jinja_failed(r); i += n) {
        n = 1;
        if (fmt.str[i] != '%') {
            jinja_text_add(r, &t, fmt.str + i, 1);
        } else if (i + 1 < fmt.len && fmt.str[i + 1] == '%') {
            jinja_text_add(r, &t, "%", 1);
            n = 2;
        } else {
            while (i + n < fmt.len && is_flag(fmt.str[i + n]))
                n++;
            if (i + n >= fmt.len || used >= n_args) {
                jinja_fail(r, JINJA_BAD, "not enough arguments, or a broken %% format");
                break;
            }
            format_one(r, &t, fmt.str + i + 1, n,
                       args.type == JINJA_TUPLE ? args.list->item[used] : args);
            used++;
            n++;
        }
    }
    if (used < n_args && args.type != JINJA_DICT && args.type != JINJA_LIST)
        jinja_fail(r, JINJA_BAD, "more arguments than the %% format has places");
    return jinja_text_value(&t);
}

FN(filter_format)
{
    const struct jinja_args *a = arg[0].ref;
    struct jinja_value tuple = jinja_new_list(r, JINJA_TUPLE, a->n);
    if (a->n_named)
        jinja_fail(r, JINJA_BAD, "format with names is not supported");
    for (uint32_t i = 0; i < a->n && !jinja_failed(r); i++)
        jinja_append(r, tuple, a->value[i]);
    return jinja_failed(r) ? UNDEFINED : jinja_format(r, jinja_str(r, self), tuple);
}

/* What {field} stands for: the next argument, the n-th, or one by name. */
static struct jinja_value field(struct jinja_run *r, const struct jinja_args *a,
                                struct jinja_value name, uint32_t *next)
{
    uint32_t i = name.len ? 0 : (*next)++;
    bool number = true;
    jinja_step(r, 1);
    for (uint32_t k = 0; k < name.len && k < 6; k++) {
        number &= isdigit((uint8_t)name.str[k]) && k < 5;
        i = i * 10 + (uint32_t)(name.str[k] - '0');
    }
    if (number && i < a->n)
        return a->value[i];
    for (uint32_t k = 0; k < a->n_named && jinja_step(r, 1 + name.len / 64); k++)
        if (a->name[k].len == name.len && !memcmp(a->name[k].str, name.str, name.len))
            return a->value[a->n + k];
    jinja_fail(r, JINJA_BAD, "format has nothing for {%.*s}",
               (int)(name.len < 60 ? name.len : 60), name.str);
    return UNDEFINED;
}

FN(method_format)
{
    struct jinja_text t = { 0 };
    uint32_t next = 0;
    jinja_step(r, self.len / 64);
    for (uint32_t i = 0; i < self.len && !jinja_failed(r); i++) {
        char c = self.str[i];
        bool twice = i + 1 < self.len && self.str[i + 1] == c;
        if ((c != '{' && c != '}') || twice) {
            jinja_text_add(r, &t, &c, 1);
            i += (c == '{' || c == '}') && twice;
            continue;
        }
        const char *end = memchr(self.str + i, '}', self.len - i);
        uint32_t n = end ? (uint32_t)(end - self.str) - i : 0;
        if (c == '}' || !end) {
            jinja_fail(r, JINJA_BAD, "a single brace in a format");
            break;
        }
        jinja_add_str(r, &t, field(r, arg[0].ref, piece(self, i + 1, i + n), &next));
        i += n;
    }
    return jinja_text_value(&t);
}

/* ---- nbs/llm/26_jinja.ipynb § Numbers ---- */

static struct jinja_value parse_number(struct jinja_run *r, struct jinja_value s)
{
    s = strip(r, s, ABSENT, true, true);
    bool sign = s.len && (*s.str == '-' || *s.str == '+');
    if (s.len == sign)
        return UNDEFINED;
    return jinja_read_number(r, s.str, s.len);
}

static struct jinja_value truncate_double(struct jinja_run *r, double d,
                                          struct jinja_value missing)
{
    if (d != d)
        return missing;
    if (!(fabs(d) < 0x1p63))
        jinja_fail(r, JINJA_BAD, "an integer of more than 64 bits");
    return jinja_integer(jinja_failed(r) ? 0 : (int64_t)d);
}

static struct jinja_value int_of_base(struct jinja_run *r, struct jinja_value s,
                                      int64_t base, struct jinja_value missing)
{
    int64_t v = 0;
    s = strip(r, s, ABSENT, true, true);
    bool neg = s.len && *s.str == '-', ok = base >= 2 && base <= 36;
    s = s.len && (neg || *s.str == '+') ? piece(s, 1, s.len) : s;
    char mark = base == 16 ? 'x' : base == 8 ? 'o' : base == 2 ? 'b' : 0;
    if (mark && s.len > 2 && s.str[0] == '0' && tolower(s.str[1]) == mark)
        s = piece(s, 2, s.len);
    ok &= s.len != 0;
    for (uint32_t i = 0; ok && i < s.len; i++) {
        int c = tolower((uint8_t)s.str[i]);
        int d = isdigit(c) ? c - '0' : isalpha(c) ? c - 'a' + 10 : 99;
        ok = d < base && !__builtin_mul_overflow(v, base, &v) &&
             !__builtin_add_overflow(v, d, &v);
    }
    return ok ? jinja_integer(neg ? -v : v) : missing;
}

FN(filter_int)
{
    struct jinja_value missing = absent(arg[0]) ? jinja_integer(0) : arg[0], v = self;
    int64_t base = integer(r, "int", arg[1], 10);
    if (self.type == JINJA_UNDEFINED)
        return bad(r, "int", self);
    if (self.type == JINJA_STRING && base != 10)
        return int_of_base(r, self, base, missing);
    if (self.type == JINJA_STRING)
        v = parse_number(r, self);
    if (v.type == JINJA_FLOAT)
        return v.num - v.num != 0 && self.type == JINJA_STRING
                   ? missing : truncate_double(r, v.num, missing);
    return !jinja_is_number(v) ? missing
                               : jinja_integer(v.type == JINJA_BOOL ? v.boolean : v.i);
}

FN(filter_float)
{
    struct jinja_value missing = absent(arg[0]) ? jinja_number(0) : arg[0], v = self;
    if (self.type == JINJA_UNDEFINED)
        return bad(r, "float", self);
    if (self.type == JINJA_STRING)
        v = parse_number(r, self);
    return jinja_is_number(v) ? jinja_number(jinja_double(v)) : missing;
}

FN(filter_abs)
{
    (void)arg;
    if (!jinja_is_number(self))
        return bad(r, "abs", self);
    if (self.type == JINJA_FLOAT)
        return jinja_number(fabs(self.num));
    int64_t i = self.type == JINJA_BOOL ? self.boolean : self.i;
    if (i == INT64_MIN)
        jinja_fail(r, JINJA_BAD, "an integer of more than 64 bits");
    return jinja_integer(i < 0 && i != INT64_MIN ? -i : i);
}

FN(filter_round)
{
    int64_t digits = integer(r, "round", arg[0], 0);
    if (!jinja_is_number(self))
        return bad(r, "round", self);
    if (digits < 0 || digits > 30)
        jinja_fail(r, JINJA_BAD, "round to %lld digits", (long long)digits);
    bool up = jinja_is(arg[1], "ceil"), down = jinja_is(arg[1], "floor");
    if (!up && !down && !absent(arg[1]) && !jinja_is(arg[1], "common"))
        jinja_fail(r, JINJA_BAD, "round knows common, ceil and floor");
    double v = jinja_double(self);
    if (jinja_failed(r))
        return UNDEFINED;
    if (up || down) {
        double scale = pow(10, (double)digits);
        return jinja_number((up ? ceil(v * scale) : floor(v * scale)) / scale);
    }
    if (self.type != JINJA_FLOAT)
        return jinja_integer(self.type == JINJA_BOOL ? self.boolean : self.i);
    if (v - v != 0)
        return self;
    char buf[360];                           // ".0" keeps it a float, and -0.0 negative
    int n = snprintf(buf, sizeof buf, "%.*f%s", (int)digits, v, digits ? "" : ".0");
    return jinja_read_number(r, buf, (size_t)n);
}

/* ---- nbs/llm/26_jinja.ipynb § Filters on sequences ---- */

/* item.a.b.0 */
static struct jinja_value by_path(struct jinja_run *r, struct jinja_value v,
                                  struct jinja_value path, struct jinja_value missing)
{
    if (path.type == JINJA_INT)
        return jinja_item(r, v, path);
    if (!want_string(r, "attribute", path))
        return UNDEFINED;
    for (uint32_t at = 0; at <= path.len && jinja_step(r, 1);) {
        const char *dot = memchr(path.str + at, '.', path.len - at);
        uint32_t end = dot ? (uint32_t)(dot - path.str) : path.len;
        struct jinja_value key = piece(path, at, end);
        if (all_chars(r, key, is_digit).boolean)
            key = jinja_read_number(r, key.str, key.len);
        v = jinja_item(r, v, key);
        if (v.type == JINJA_UNDEFINED && !absent(missing))
            v = missing;
        at = end + 1;
    }
    return v;
}

static struct jinja_value key_of(struct jinja_run *r, struct jinja_value v,
                                 struct jinja_value path, bool ignore_case)
{
    if (!absent(path) && path.type != JINJA_NONE)
        v = by_path(r, v, path, ABSENT);
    return ignore_case && v.type == JINJA_STRING ? change_case(r, v, LOWER) : v;
}

FN(filter_length)
{
    (void)arg;
    switch (self.type) {
    case JINJA_UNDEFINED: return jinja_integer(0);
    case JINJA_STRING: return jinja_integer(jinja_count_chars(r, self));
    case JINJA_LIST: case JINJA_TUPLE: return jinja_integer(self.list->n);
    case JINJA_DICT: return jinja_integer(self.dict->n);
    case JINJA_LOOP: return jinja_attr(r, self, jinja_cstring("length"));
    }
    return bad(r, "length", self);
}

static struct jinja_value at_end(struct jinja_run *r, struct jinja_value v, bool last)
{
    bool list = v.type == JINJA_LIST || v.type == JINJA_TUPLE;
    const struct jinja_list *l = list ? v.list : jinja_items(r, v);
    return l->n ? l->item[last ? l->n - 1 : 0] : jinja_undefined("of nothing", 10);
}
FN(filter_first) { UNUSED; return at_end(r, self, false); }
FN(filter_last) { UNUSED; return at_end(r, self, true); }

static struct jinja_value copy_list(struct jinja_run *r, struct jinja_value v)
{
    const struct jinja_list *l = jinja_items(r, v);
    struct jinja_value out = jinja_new_list(r, JINJA_LIST, l->n);
    for (uint32_t i = 0; i < l->n && !jinja_failed(r); i++)
        jinja_append(r, out, l->item[i]);
    return out;
}
FN(filter_list) { UNUSED; return copy_list(r, self); }

FN(filter_join)
{
    const struct jinja_list *l = jinja_items(r, self);
    struct jinja_text t = { 0 };
    struct jinja_value glue = absent(arg[0]) ? jinja_string("", 0) : jinja_str(r, arg[0]);
    for (uint32_t i = 0; i < l->n && !jinja_failed(r); i++) {
        jinja_text_add(r, &t, glue.str, i ? glue.len : 0);
        jinja_add_str(r, &t, key_of(r, l->item[i], arg[1], false));
    }
    return jinja_text_value(&t);
}
FN(method_join)
{
    const struct jinja_list *l = jinja_items(r, arg[0]);
    for (uint32_t i = 0; i < l->n && !jinja_failed(r); i++)
        want_string(r, "join", l->item[i]);
    struct jinja_value joined[2] = { self, { .type = JINJA_ABSENT } };
    return jinja_failed(r) ? UNDEFINED : filter_join(r, arg[0], joined);
}

FN(filter_reverse)
{
    (void)arg;
    const struct jinja_list *l = jinja_items(r, self);
    struct jinja_value out = jinja_new_list(r, JINJA_LIST, l->n);
    for (uint32_t i = l->n; i-- > 0 && !jinja_failed(r);)
        jinja_append(r, out, l->item[i]);
    struct jinja_value plain[2] = { jinja_string("", 0), { .type = JINJA_ABSENT } };
    bool text = self.type == JINJA_STRING && !jinja_failed(r);
    return text ? filter_join(r, out, plain) : out;
}

static struct jinja_value pair(struct jinja_run *r, struct jinja_value a,
                               struct jinja_value b)
{
    struct jinja_value t = jinja_new_list(r, JINJA_TUPLE, 2);
    jinja_append(r, t, a);
    jinja_append(r, t, b);
    return t;
}

FN(filter_items)
{
    (void)arg;
    struct jinja_value out = jinja_new_list(r, JINJA_LIST, 0);
    if (self.type != JINJA_DICT)
        return self.type == JINJA_UNDEFINED ? out : bad(r, "items", self);
    for (uint32_t i = 0; i < self.dict->n && !jinja_failed(r); i++)
        jinja_append(r, out, pair(r, self.dict->key[i], self.dict->value[i]));
    return out;
}
FN(method_keys) { UNUSED; return copy_list(r, self); }
FN(method_values)
{
    (void)arg;
    struct jinja_value out = jinja_new_list(r, JINJA_LIST, self.dict->n);
    for (uint32_t i = 0; i < self.dict->n && !jinja_failed(r); i++)
        jinja_append(r, out, self.dict->value[i]);
    return out;
}
FN(method_get)
{
    const struct jinja_value *v =
        jinja_hashable(r, arg[0]) ? jinja_get(r, self.dict, arg[0]) : NULL;
    return v ? *v : absent(arg[1]) ? NONE : arg[1];
}
FN(method_append) { jinja_append(r, self, arg[0]); return NONE; }
FN(method_cycle)
{
    const struct jinja_args *a = arg[0].ref;
    if (!a->n)
        jinja_fail(r, JINJA_BAD, "cycle needs at least one argument");
    struct jinja_value at = jinja_attr(r, self, jinja_cstring("index0"));
    return a->n ? a->value[at.i % a->n] : UNDEFINED;
}

/* Sorts v[0, n) by key[], in place, with the same room again behind both. */
static void merge_sort(struct jinja_run *r, struct jinja_value *v,
                       struct jinja_value *key, uint32_t n, bool reverse)
{
    struct jinja_value *v2 = v + n, *key2 = key + n;
    for (uint32_t w = 1; w < n && jinja_step(r, n / 4); w *= 2) {
        for (uint32_t lo = 0; lo < n && jinja_step(r, 1); lo += 2 * w) {
            uint32_t a = lo, mid = lo + w < n ? lo + w : n, b = mid,
                     end = mid + w < n ? mid + w : n;
            for (uint32_t to = lo; to < end; to++) {
                bool right = a == mid;
                if (!right && b < end)
                    right = reverse ? jinja_compare(r, key[a], key[b]) == -1
                                    : jinja_compare(r, key[b], key[a]) == -1;
                uint32_t from = right ? b++ : a++;
                v2[to] = v[from];
                key2[to] = key[from];
            }
        }
        memcpy(v, v2, n * sizeof *v);
        memcpy(key, key2, n * sizeof *key);
    }
}

static struct jinja_value sorted(struct jinja_run *r, struct jinja_value in, bool reverse,
                                 bool ignore_case, struct jinja_value path)
{
    const struct jinja_list *l = jinja_items(r, in);
    struct jinja_value out = jinja_new_list(r, JINJA_LIST, 2 * (size_t)l->n);
    struct jinja_value *key = jinja_alloc(r, 2 * (size_t)l->n * sizeof *key);
    for (uint32_t i = 0; i < l->n && !jinja_failed(r); i++) {
        jinja_append(r, out, l->item[i]);
        key[i] = key_of(r, l->item[i], path, ignore_case);
        if (path.type == JINJA_STRING) {     // in a list: two undefined ones are equal
            struct jinja_value one = jinja_new_list(r, JINJA_LIST, 1);
            jinja_append(r, one, key[i]);
            key[i] = one;
        }
    }
    if (!jinja_failed(r))
        merge_sort(r, out.list->item, key, l->n, reverse);
    return out;
}

FN(filter_sort)
{
    return sorted(r, self, jinja_truth(arg[0]), !jinja_truth(arg[1]), arg[2]);
}

FN(filter_dictsort)
{
    struct jinja_value by = jinja_integer(jinja_is(arg[1], "value"));
    if (!absent(arg[1]) && !by.i && !jinja_is(arg[1], "key"))
        jinja_fail(r, JINJA_BAD, "dictsort goes by 'key' or 'value'");
    if (self.type != JINJA_DICT)
        return bad(r, "dictsort", self);
    return sorted(r, filter_items(r, self, arg), jinja_truth(arg[2]),
                  !jinja_truth(arg[0]), by);
}

static struct jinja_value extreme(struct jinja_run *r, struct jinja_value in,
                                  const struct jinja_value *arg, int sign)
{
    const struct jinja_list *l = jinja_items(r, in);
    struct jinja_value best = jinja_undefined("of nothing", 10), best_key = UNDEFINED;
    for (uint32_t i = 0; i < l->n && !jinja_failed(r); i++) {
        struct jinja_value key = key_of(r, l->item[i], arg[1], !jinja_truth(arg[0]));
        if (i && jinja_compare(r, key, best_key) != sign)
            continue;
        best = l->item[i];
        best_key = key;
    }
    return best;
}
FN(filter_min) { return extreme(r, self, arg, -1); }
FN(filter_max) { return extreme(r, self, arg, 1); }

FN(filter_unique)
{
    const struct jinja_list *l = jinja_items(r, self);
    struct jinja_value out = jinja_new_list(r, JINJA_LIST, 0),
                       seen = jinja_new_dict(r, JINJA_DICT);
    for (uint32_t i = 0; i < l->n && !jinja_failed(r); i++) {
        struct jinja_value key = key_of(r, l->item[i], arg[1], !jinja_truth(arg[0]));
        uint32_t before = seen.dict->n;
        jinja_put(r, seen, key, NONE);
        if (seen.dict->n > before)
            jinja_append(r, out, l->item[i]);
    }
    return out;
}

FN(filter_sum)
{
    const struct jinja_list *l = jinja_items(r, self);
    struct jinja_value sum = absent(arg[1]) ? jinja_integer(0) : arg[1];
    for (uint32_t i = 0; i < l->n && !jinja_failed(r); i++)
        sum = jinja_binary(r, '+', sum, key_of(r, l->item[i], arg[0], false));
    return sum;
}

FN(filter_batch)
{
    const struct jinja_list *l = jinja_items(r, self);
    int64_t n = integer(r, "batch", arg[0], 0), fill = 0;
    struct jinja_value out = jinja_new_list(r, JINJA_LIST, 0), row = UNDEFINED;
    if (n < 1)
        jinja_fail(r, JINJA_BAD, "batch of %lld", (long long)n);
    for (uint32_t i = 0; i < l->n && !jinja_failed(r); i++) {
        if (i % n == 0) {
            row = jinja_new_list(r, JINJA_LIST, 0);
            jinja_append(r, out, row);
        }
        jinja_append(r, row, l->item[i]);
        fill = n - 1 - i % n;
    }
    if (absent(arg[1]) || arg[1].type == JINJA_NONE)
        return out;
    for (; fill > 0 && !jinja_failed(r); fill--)
        jinja_append(r, row, arg[1]);
    return out;
}

FN(filter_default)
{
    bool use = self.type == JINJA_UNDEFINED ||
               (jinja_truth(arg[1]) && !jinja_truth(self));
    (void)r;
    return !use ? self : absent(arg[0]) ? jinja_string("", 0) : arg[0];
}
FN(filter_attr)
{
    if (!want_string(r, "attr", arg[0]))
        return UNDEFINED;
    if (self.type == JINJA_DICT && !jinja_find_method(self, arg[0]))
        return jinja_undefined(arg[0].str, arg[0].len);      // never an item
    return jinja_attr(r, self, arg[0]);
}

/* The arguments of `a` from number `from` on. */
static struct jinja_args rest_of(const struct jinja_args *a, uint32_t from)
{
    from = from < a->n ? from : a->n;
    return (struct jinja_args){ a->n - from, a->n_named, a->value + from, a->name };
}

FN(filter_map)
{
    const struct jinja_args *a = arg[0].ref;
    struct jinja_value path = { .type = JINJA_ABSENT }, missing = path;
    for (uint32_t i = 0; !a->n && i < a->n_named; i++) {
        if (jinja_is(a->name[i], "attribute"))
            path = a->value[i];
        else if (jinja_is(a->name[i], "default"))
            missing = a->value[i];
        else
            jinja_fail(r, JINJA_BAD, "map knows attribute and default");
    }
    const struct jinja_builtin *f = a->n ? jinja_find_filter(a->value[0]) : NULL;
    if (absent(path) && !f)
        jinja_fail(r, JINJA_BAD, "map needs the name of a filter, or attribute=");
    if (!jinja_truth(self))                  // even 0 or none: nothing to do
        return jinja_new_list(r, JINJA_LIST, 0);
    const struct jinja_list *l = jinja_items(r, self);
    struct jinja_value out = jinja_new_list(r, JINJA_LIST, l->n);
    struct jinja_args more = rest_of(a, 1);
    for (uint32_t i = 0; i < l->n && jinja_enter(r); i++, r->depth--)
        jinja_append(r, out, f ? jinja_call_builtin(r, f, l->item[i], &more)
                               : by_path(r, l->item[i], path, missing));
    r->depth -= jinja_failed(r);             // entered, not left
    return out;
}

static struct jinja_value selected(struct jinja_run *r, struct jinja_value self,
                                   const struct jinja_args *a, bool attr, bool keep)
{
    if (attr && !a->n)
        jinja_fail(r, JINJA_BAD, "the name of an attribute is missing");
    if (jinja_failed(r))
        return UNDEFINED;
    const struct jinja_builtin *t = a->n > attr ? jinja_find_test(a->value[attr]) : NULL;
    if (a->n > attr && !t)
        jinja_fail(r, JINJA_BAD, "no such test");
    if (!jinja_truth(self))
        return jinja_new_list(r, JINJA_LIST, 0);
    const struct jinja_list *l = jinja_items(r, self);
    struct jinja_value out = jinja_new_list(r, JINJA_LIST, 0);
    struct jinja_args more = rest_of(a, attr + 1u);
    for (uint32_t i = 0; i < l->n && !jinja_failed(r); i++) {
        struct jinja_value v = l->item[i];
        v = attr ? by_path(r, v, a->value[0], ABSENT) : v;
        if (jinja_truth(t ? jinja_call_builtin(r, t, v, &more) : v) == keep)
            jinja_append(r, out, l->item[i]);
    }
    return out;
}
FN(filter_select) { return selected(r, self, arg[0].ref, false, true); }
FN(filter_reject) { return selected(r, self, arg[0].ref, false, false); }
FN(filter_selectattr) { return selected(r, self, arg[0].ref, true, true); }
FN(filter_rejectattr) { return selected(r, self, arg[0].ref, true, false); }

/* ---- nbs/llm/26_jinja.ipynb § JSON ---- */

struct json_style {
    struct jinja_value item, colon, indent;  // indent: ABSENT for one line
    bool ascii, sort;
};

static void json_string(struct jinja_run *r, struct jinja_text *t, struct jinja_value v,
                        bool ascii)
{
    static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
    uint32_t code, n;
    jinja_step(r, v.len / 64);
    jinja_text_add(r, t, "\"", 1);
    for (uint32_t at = 0; at < v.len && !jinja_failed(r); at += n) {
        n = jinja_char(v.str + at, v.len - at, &code);
        const char *s = code && code < 0x80 ? strchr(from, (int)code) : NULL;
        if (s)
            jinja_text_fmt(r, t, "\\%c", to[s - from]);
        else if (code < 32 || (ascii && code >= 0x7F && code < 0x10000 && code != 0x7F))
            jinja_text_fmt(r, t, "\\u%04x", (unsigned)code);
        else if (ascii && code >= 0x10000)
            jinja_text_fmt(r, t, "\\u%04x\\u%04x",
                           (unsigned)(0xD800 + ((code - 0x10000) >> 10)),
                           (unsigned)(0xDC00 + (code & 0x3FF)));
        else
            jinja_text_add(r, t, v.str + at, n);
    }
    jinja_text_add(r, t, "\"", 1);
}

static void json_newline(struct jinja_run *r, struct jinja_text *t,
                         const struct json_style *s, uint32_t level)
{
    if (absent(s->indent))
        return;
    jinja_text_add(r, t, "\n", 1);
    for (; level > 0 && !jinja_failed(r); level--)
        jinja_text_add(r, t, s->indent.str, s->indent.len);
}

static void json_number(struct jinja_run *r, struct jinja_text *t, double v)
{
    if (v != v || v - v != 0)
        jinja_text_fmt(r, t, "%s", v != v ? "NaN" : v < 0 ? "-Infinity" : "Infinity");
    else
        jinja_add_float(r, t, v);
}

static void json_scalar(struct jinja_run *r, struct jinja_text *t, struct jinja_value v,
                        bool ascii)
{
    if (v.type == JINJA_NONE)
        jinja_text_add(r, t, "null", 4);
    else if (v.type == JINJA_BOOL)
        jinja_text_fmt(r, t, "%s", v.boolean ? "true" : "false");
    else if (v.type == JINJA_INT)
        jinja_add_str(r, t, v);
    else if (v.type == JINJA_FLOAT)
        json_number(r, t, v.num);
    else if (v.type == JINJA_STRING)
        json_string(r, t, v, ascii);
    else
        bad(r, "tojson", v);
}

static void json_key(struct jinja_run *r, struct jinja_text *t, struct jinja_value key,
                     const struct json_style *s)
{
    bool quoted = key.type == JINJA_STRING;
    jinja_text_add(r, t, "\"", !quoted);
    json_scalar(r, t, key, s->ascii);
    jinja_text_add(r, t, "\"", !quoted);
    jinja_text_add(r, t, s->colon.str, s->colon.len);
}

static void add_json(struct jinja_run *r, struct jinja_text *t, struct jinja_value v,
                     const struct json_style *s, uint32_t level)
{
    bool dict = v.type == JINJA_DICT,
         list = v.type == JINJA_LIST || v.type == JINJA_TUPLE;
    if (!jinja_enter(r) || (!dict && !list)) {
        json_scalar(r, t, v, s->ascii);
        r->depth--;
        return;
    }
    if (dict && s->sort) {                   // a list of pairs, with the keys for keys
        static const struct jinja_value first = { .type = JINJA_INT, .i = 0 };
        v = sorted(r, filter_items(r, v, NULL), false, false, first);
    } else if (dict) {
        v = filter_items(r, v, NULL);
    }
    uint32_t n = jinja_failed(r) ? 0 : v.list->n;
    jinja_text_add(r, t, dict ? "{" : "[", 1);
    for (uint32_t i = 0; i < n && !jinja_failed(r); i++) {
        struct jinja_value e = v.list->item[i];
        jinja_text_add(r, t, s->item.str, i ? s->item.len : 0);
        json_newline(r, t, s, level + 1);
        if (dict)
            json_key(r, t, e.list->item[0], s);
        add_json(r, t, dict ? e.list->item[1] : e, s, level + 1);
    }
    if (n)
        json_newline(r, t, s, level);
    jinja_text_add(r, t, dict ? "}" : "]", 1);
    r->depth--;
}

FN(filter_tojson)
{
    bool indent = !absent(arg[1]) && arg[1].type != JINJA_NONE;
    struct json_style s = { jinja_cstring(indent ? "," : ", "), jinja_cstring(": "),
                            arg[1], jinja_truth(arg[0]), jinja_truth(arg[3]) };
    struct jinja_text t = { 0 }, pad = { 0 };
    if (!indent) {
        s.indent.type = JINJA_ABSENT;
    } else if (arg[1].type != JINJA_STRING) {
        for (int64_t n = integer(r, "indent", arg[1], 0); n > 0 && jinja_step(r, 1); n--)
            jinja_text_add(r, &pad, " ", 1);
        s.indent = jinja_text_value(&pad);
    }
    if (!absent(arg[2]) && arg[2].type != JINJA_NONE) {
        const struct jinja_list *l = jinja_items(r, arg[2]);
        if (l->n != 2 || l->item[0].type != JINJA_STRING ||
            l->item[1].type != JINJA_STRING)
            jinja_fail(r, JINJA_BAD, "separators are two strings");
        else
            s.item = l->item[0], s.colon = l->item[1];
    }
    add_json(r, &t, self, &s, 0);
    return jinja_text_value(&t);
}

/* ---- nbs/llm/26_jinja.ipynb § Tests and functions ---- */

#define TEST(name, expr) FN(name) { UNUSED; return jinja_boolean(expr); }
#define IS(t) (self.type == JINJA_##t)
TEST(test_defined, !IS(UNDEFINED))
TEST(test_undefined, IS(UNDEFINED))
TEST(test_none, IS(NONE))
TEST(test_boolean, IS(BOOL))
TEST(test_true, IS(BOOL) && self.boolean)
TEST(test_false, IS(BOOL) && !self.boolean)
TEST(test_integer, IS(INT))
TEST(test_float, IS(FLOAT))
TEST(test_number, jinja_is_number(self))
TEST(test_string, IS(STRING))
TEST(test_mapping, IS(DICT))
TEST(test_iterable, IS(STRING) || IS(LIST) || IS(TUPLE) || IS(DICT) || IS(UNDEFINED) ||
                    IS(LOOP))
TEST(test_sequence, IS(STRING) || IS(LIST) || IS(TUPLE) || IS(DICT) || IS(UNDEFINED))
TEST(test_callable, IS(MACRO) || IS(FUNCTION) || IS(METHOD) || IS(LOOP) || IS(UNDEFINED))
TEST(test_eq, jinja_equal(r, self, arg[0]))
TEST(test_ne, !jinja_equal(r, self, arg[0]))
TEST(test_lt, jinja_compare(r, self, arg[0]) == -1)
TEST(test_gt, jinja_compare(r, self, arg[0]) == 1)
TEST(test_filter, IS(STRING) && jinja_find_filter(self))
TEST(test_test, IS(STRING) && jinja_find_test(self))
TEST(test_sameas, self.type == arg[0].type && jinja_equal(r, self, arg[0]) &&
                  ((!IS(LIST) && !IS(DICT)) || self.ref == arg[0].ref))

FN(test_le)
{
    int c = jinja_compare(r, self, arg[0]);
    return jinja_boolean(c == 0 || c == -1);
}
FN(test_ge)
{
    int c = jinja_compare(r, self, arg[0]);
    return jinja_boolean(c == 0 || c == 1);
}
FN(test_in)
{
    struct jinja_value in = arg[0];
    if (in.type == JINJA_STRING)
        return jinja_boolean(want_string(r, "in", self) &&
                             jinja_find(r, in, self, 0) >= 0);
    if (in.type == JINJA_DICT)
        return jinja_boolean(jinja_hashable(r, self) && jinja_get(r, in.dict, self));
    const struct jinja_list *l = jinja_items(r, in);
    for (uint32_t i = 0; i < l->n && !jinja_failed(r); i++)
        if (jinja_equal(r, l->item[i], self))
            return jinja_boolean(true);
    return jinja_boolean(false);
}

/* The rest of a division if it is 0 or 1, 2 for any other; -1 after an error. */
static int64_t remainder_of(struct jinja_run *r, struct jinja_value v,
                            struct jinja_value by)
{
    if (!jinja_is_number(v) || !jinja_is_number(by))
        bad(r, "a division with rest", jinja_is_number(v) ? by : v);
    v = jinja_failed(r) ? UNDEFINED : jinja_binary(r, '%', v, by);
    return jinja_failed(r) ? -1 : jinja_equal(r, v, jinja_integer(0)) ? 0
                                : jinja_equal(r, v, jinja_integer(1)) ? 1 : 2;
}
TEST(test_even, remainder_of(r, self, jinja_integer(2)) == 0)
TEST(test_odd, remainder_of(r, self, jinja_integer(2)) == 1)
TEST(test_divisibleby, remainder_of(r, self, arg[0]) == 0)

FN(fn_range)
{
    (void)self;
    int64_t from = 0, to = integer(r, "range", arg[0], 0), step = 1;
    if (!absent(arg[1])) {
        from = to;
        to = integer(r, "range", arg[1], 0);
        step = integer(r, "range", arg[2], 1);
    }
    if (step == 0)
        jinja_fail(r, JINJA_BAD, "range with step 0");
    struct jinja_value out = jinja_new_list(r, JINJA_LIST, 0);
    for (int64_t n = 0; (step > 0 ? from < to : from > to) && !jinja_failed(r); n++) {
        if (n == JINJA_RANGE_MAX)
            jinja_fail(r, JINJA_TOO_BIG, "a range over %d items", JINJA_RANGE_MAX);
        jinja_append(r, out, jinja_integer(from));
        if (__builtin_add_overflow(from, step, &from))
            break;
    }
    return out;
}

static struct jinja_value new_dict(struct jinja_run *r, const struct jinja_args *a,
                                   enum jinja_type type)
{
    struct jinja_value out = jinja_new_dict(r, type);
    if (a->n > 1 || (a->n && a->value[0].type != JINJA_DICT))
        jinja_fail(r, JINJA_BAD, "expected at most one dict, and named values");
    for (uint32_t i = 0; !jinja_failed(r) && a->n && i < a->value[0].dict->n; i++) {
        const struct jinja_dict *d = a->value[0].dict;
        jinja_put(r, out, d->key[i], d->value[i]);
    }
    for (uint32_t i = 0; i < a->n_named && !jinja_failed(r); i++)
        jinja_put(r, out, a->name[i], a->value[a->n + i]);
    return out;
}
FN(fn_dict) { (void)self; return new_dict(r, arg[0].ref, JINJA_DICT); }
FN(fn_namespace) { (void)self; return new_dict(r, arg[0].ref, JINJA_NAMESPACE); }

FN(fn_raise)
{
    (void)self;
    struct jinja_value v = jinja_str(r, arg[0]);
    jinja_fail(r, JINJA_RAISED, "%.*s", (int)(v.len < 200 ? v.len : 200), v.str);
    return UNDEFINED;
}

struct date { int year, month, day, hour, minute, second, weekday, yearday; };

static struct date date_of(int64_t unix_s)
{
    int64_t days = unix_s / 86400, s = unix_s % 86400;
    if (s < 0)
        s += 86400, days--;
    int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097;
    int doe = (int)(z - era * 146097);
    int yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    struct date d = {
        .day = doy - (153 * mp + 2) / 5 + 1, .month = mp < 10 ? mp + 3 : mp - 9,
        .hour = (int)(s / 3600), .minute = (int)(s / 60 % 60), .second = (int)(s % 60),
        .weekday = (int)(((days + 4) % 7 + 7) % 7),
    };
    d.year = (int)(yoe + era * 400) + (d.month <= 2);
    bool leap = (d.year % 4 == 0 && d.year % 100 != 0) || d.year % 400 == 0;
    d.yearday = mp < 10 ? doy + 60 + leap : doy - 305;
    return d;
}

/* One %-conversion, without padding for "%-d". */
static void add_date(struct jinja_run *r, struct jinja_text *t, const struct date *d,
                     char c, bool bare)
{
    static const char *const day[] = { "Sunday", "Monday", "Tuesday", "Wednesday",
                                       "Thursday", "Friday", "Saturday" };
    static const char *const month[] = { "January", "February", "March", "April", "May",
                                         "June", "July", "August", "September", "October",
                                         "November", "December" };
    int hour12 = d->hour % 12 ? d->hour % 12 : 12;
    switch (c) {
    case 'Y': jinja_text_fmt(r, t, "%d", d->year); break;
    case 'y': jinja_text_fmt(r, t, bare ? "%d" : "%02d", d->year % 100); break;
    case 'm': jinja_text_fmt(r, t, bare ? "%d" : "%02d", d->month); break;
    case 'd': jinja_text_fmt(r, t, bare ? "%d" : "%02d", d->day); break;
    case 'e': jinja_text_fmt(r, t, bare ? "%d" : "%2d", d->day); break;
    case 'H': jinja_text_fmt(r, t, bare ? "%d" : "%02d", d->hour); break;
    case 'I': jinja_text_fmt(r, t, bare ? "%d" : "%02d", hour12); break;
    case 'M': jinja_text_fmt(r, t, bare ? "%d" : "%02d", d->minute); break;
    case 'S': jinja_text_fmt(r, t, bare ? "%d" : "%02d", d->second); break;
    case 'j': jinja_text_fmt(r, t, bare ? "%d" : "%03d", d->yearday); break;
    case 'w': jinja_text_fmt(r, t, "%d", d->weekday); break;
    case 'p': jinja_text_fmt(r, t, "%s", d->hour < 12 ? "AM" : "PM"); break;
    case 'A': jinja_text_fmt(r, t, "%s", day[d->weekday]); break;
    case 'a': jinja_text_fmt(r, t, "%.3s", day[d->weekday]); break;
    case 'B': jinja_text_fmt(r, t, "%s", month[d->month - 1]); break;
    case 'b': jinja_text_fmt(r, t, "%.3s", month[d->month - 1]); break;
    case '%': jinja_text_fmt(r, t, "%%"); break;
    default: jinja_fail(r, JINJA_BAD, "strftime_now does not know %%%c", c);
    }
}

FN(fn_strftime_now)
{
    (void)self;
    struct jinja_text t = { 0 };
    struct date d = date_of(r->now);
    if (!want_string(r, "strftime_now", arg[0]))
        return UNDEFINED;
    const char *s = arg[0].str, *end = s + arg[0].len;
    jinja_step(r, arg[0].len / 64);
    for (; s < end && !jinja_failed(r); s++) {
        bool bare = end - s > 2 && s[0] == '%' && s[1] == '-';
        if (*s == '%' && end - s > 1) {
            s += 1 + bare;
            add_date(r, &t, &d, *s, bare);
        } else {
            jinja_text_add(r, &t, s, 1);
        }
    }
    return jinja_text_value(&t);
}

/* ---- nbs/llm/26_jinja.ipynb § The tables ---- */

static const struct jinja_builtin FILTERS[] = {
    { "trim", "chars?", filter_trim }, { "upper", "", filter_upper },
    { "lower", "", filter_lower }, { "title", "", filter_title },
    { "capitalize", "", filter_capitalize },
    { "replace", "old new count?", filter_replace },
    { "string", "", filter_string }, { "safe", "", filter_safe },
    { "escape", "", filter_escape }, { "e", "", filter_escape },
    { "indent", "width? first? blank?", filter_indent }, { "format", "*", filter_format },
    { "int", "default? base?", filter_int }, { "float", "default?", filter_float },
    { "abs", "", filter_abs }, { "round", "precision? method?", filter_round },
    { "length", "", filter_length }, { "count", "", filter_length },
    { "first", "", filter_first }, { "last", "", filter_last },
    { "list", "", filter_list }, { "join", "d? attribute?", filter_join },
    { "reverse", "", filter_reverse }, { "items", "", filter_items },
    { "sort", "reverse? case_sensitive? attribute?", filter_sort },
    { "dictsort", "case_sensitive? by? reverse?", filter_dictsort },
    { "min", "case_sensitive? attribute?", filter_min },
    { "max", "case_sensitive? attribute?", filter_max },
    { "unique", "case_sensitive? attribute?", filter_unique },
    { "sum", "attribute? start?", filter_sum },
    { "batch", "linecount fill_with?", filter_batch },
    { "default", "default_value? boolean?", filter_default },
    { "d", "default_value? boolean?", filter_default }, { "attr", "name", filter_attr },
    { "map", "*", filter_map }, { "select", "*", filter_select },
    { "reject", "*", filter_reject }, { "selectattr", "*", filter_selectattr },
    { "rejectattr", "*", filter_rejectattr },
    { "tojson", "ensure_ascii? indent? separators? sort_keys?", filter_tojson },
};
static const struct jinja_builtin TESTS[] = {
    { "defined", "", test_defined }, { "undefined", "", test_undefined },
    { "none", "", test_none }, { "boolean", "", test_boolean }, { "true", "", test_true },
    { "false", "", test_false }, { "integer", "", test_integer },
    { "float", "", test_float }, { "number", "", test_number },
    { "string", "", test_string }, { "mapping", "", test_mapping },
    { "iterable", "", test_iterable },
    { "sequence", "", test_sequence }, { "callable", "", test_callable },
    { "eq", "other", test_eq }, { "equalto", "other", test_eq },
    { "==", "other", test_eq }, { "ne", "other", test_ne },
    { "!=", "other", test_ne }, { "lt", "other", test_lt },
    { "lessthan", "other", test_lt }, { "<", "other", test_lt },
    { "gt", "other", test_gt }, { "greaterthan", "other", test_gt },
    { ">", "other", test_gt }, { "le", "other", test_le }, { "<=", "other", test_le },
    { "ge", "other", test_ge }, { ">=", "other", test_ge }, { "in", "seq", test_in },
    { "sameas", "other", test_sameas }, { "even", "", test_even },
    { "odd", "", test_odd },
    { "divisibleby", "num", test_divisibleby }, { "lower", "", test_lower },
    { "upper", "", test_upper }, { "filter", "", test_filter }, { "test", "", test_test },
};
static const struct jinja_builtin FUNCTIONS[] = {
    { "range", "start stop? step?", fn_range }, { "dict", "*", fn_dict },
    { "namespace", "*", fn_namespace }, { "raise_exception", "message", fn_raise },
    { "strftime_now", "format", fn_strftime_now },
};
static const struct jinja_builtin STRING_METHODS[] = {
    { "strip", "chars?", method_strip }, { "lstrip", "chars?", method_lstrip },
    { "rstrip", "chars?", method_rstrip }, { "split", "sep? maxsplit?", method_split },
    { "splitlines", "", method_splitlines },
    { "startswith", "prefix", method_startswith },
    { "endswith", "suffix", method_endswith }, { "upper", "", filter_upper },
    { "lower", "", filter_lower }, { "title", "", method_title },
    { "capitalize", "", filter_capitalize },
    { "replace", "old new count?", method_replace }, { "join", "iterable", method_join },
    { "find", "sub", method_find }, { "rfind", "sub", method_rfind },
    { "count", "sub", method_count }, { "isdigit", "", method_isdigit },
    { "isalpha", "", method_isalpha }, { "isalnum", "", method_isalnum },
    { "isspace", "", method_isspace }, { "removeprefix", "prefix", method_removeprefix },
    { "removesuffix", "suffix", method_removesuffix }, { "format", "*", method_format },
};
static const struct jinja_builtin DICT_METHODS[] = {
    { "get", "key default?", method_get }, { "items", "", filter_items },
    { "keys", "", method_keys }, { "values", "", method_values },
};
static const struct jinja_builtin LIST_METHODS[] = {
    { "append", "item", method_append },
};
static const struct jinja_builtin LOOP_METHODS[] = { { "cycle", "*", method_cycle } };

static const struct jinja_builtin *find(const struct jinja_builtin *t, size_t n,
                                        struct jinja_value name)
{
    for (size_t i = 0; i < n; i++)
        if (jinja_is(name, t[i].name))
            return &t[i];
    return NULL;
}
#define FIND(table, name) find(table, sizeof table / sizeof table[0], name)

const struct jinja_builtin *jinja_find_filter(struct jinja_value name)
{
    return FIND(FILTERS, name);
}
const struct jinja_builtin *jinja_find_test(struct jinja_value name)
{
    return FIND(TESTS, name);
}
const struct jinja_builtin *jinja_find_function(struct jinja_value name)
{
    return FIND(FUNCTIONS, name);
}
const struct jinja_builtin *jinja_find_method(struct jinja_value obj,
                                              struct jinja_value name)
{
    switch (obj.type) {
    case JINJA_STRING: return FIND(STRING_METHODS, name);
    case JINJA_DICT: return FIND(DICT_METHODS, name);
    case JINJA_LIST: return FIND(LIST_METHODS, name);
    case JINJA_LOOP: return FIND(LOOP_METHODS, name);
    }
    return NULL;
}
