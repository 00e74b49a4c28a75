/* json_schema.c: tangled from nbs/api/25_json_schema.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/25_json_schema.ipynb § Text that grows, sets of schemas ---- */

/* json_schema.c: see json_schema.h. */
#include "api/json_schema.h"
#include "base/memory.h"
#include "base/stdio.h"
#include "base/string.h"

enum { DONE_ANY_OF = 1, DONE_ONE_OF = 2, DONE_BITS = 2 };

struct set { uint32_t n, item[JSON_SCHEMA_SET_MAX]; };   // node index << 2 | marks

struct text { char *buf; size_t len, cap; };

struct prop {
    const struct json_node *key;           // NULL: a name from `required` is in name
    struct set value;                      // n == 0: anything
    bool required;
};

struct conv {
    const struct json_node *root;
    struct set *rule;
    uint32_t n_rules, cap_rules;
    struct text out, aux;                  // rules; helper rules of the present one
    struct json_writer lit;
    struct prop *prop;                     // (n_props) of the present object
    uint32_t n_props, compared;
    bool failed;
    char *err;
    size_t err_cap;
};

static void PRINTF_LIKE(2, 3) fail(struct conv *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (!c->failed)
        vsnprintf(c->err, c->err_cap, fmt, ap);
    va_end(ap);
    c->failed = true;
}

static void put(struct conv *c, struct text *t, const char *s, size_t n)
{
    if (c->failed)
        return;
    if (n >= JSON_SCHEMA_TEXT_MAX - t->len) {
        fail(c, "the schema's grammar is too long");
        return;
    }
    if (n >= t->cap - t->len) {
        size_t cap = t->cap ? t->cap * 2 : 1024;
        while (cap <= t->len + n)
            cap *= 2;
        char *p = krealloc(t->buf, cap);
        if (!p) {
            fail(c, "out of memory");
            return;
        }
        t->buf = p;
        t->cap = cap;
    }
    memcpy(t->buf + t->len, s, n);
    t->len += n;
    t->buf[t->len] = 0;
}

static void PRINTF_LIKE(3, 4) putf(struct conv *c, struct text *t, const char *fmt, ...)
{
    char b[256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(b, sizeof b, fmt, ap);
    va_end(ap);
    put(c, t, b, n < (int)sizeof b ? (size_t)n : sizeof b - 1);
}

/* Bytes as a GBNF literal. */
static void put_literal(struct conv *c, struct text *t, const char *s, size_t n)
{
    put(c, t, "\"", 1);
    for (size_t i = 0; i < n; i++)
        if (s[i] == '"' || s[i] == '\\')
            putf(c, t, "\\%c", s[i]);
        else if ((uint8_t)s[i] < 0x20 || s[i] == 0x7F)
            putf(c, t, "\\x%02X", (unsigned)(uint8_t)s[i]);
        else
            put(c, t, &s[i], 1);
    put(c, t, "\"", 1);
}

/* A JSON value, or a string's text as JSON, as a GBNF literal. */
static void put_json(struct conv *c, struct text *t, const struct json_node *n)
{
    jw_reset(&c->lit);
    jw_node(&c->lit, n);
    if (c->lit.failed)
        fail(c, "out of memory");
    else
        put_literal(c, t, c->lit.buf, c->lit.len);
}

/* The rule for this set. */
static uint32_t rule_of(struct conv *c, const struct set *s)
{
    for (uint32_t i = 0; i < c->n_rules; i++)
        if (c->rule[i].n == s->n && !memcmp(c->rule[i].item, s->item, s->n * 4))
            return i;
    if (c->n_rules == JSON_SCHEMA_RULES_MAX)
        fail(c, "the schema has too many parts");
    if (!c->failed && c->n_rules == c->cap_rules) {
        uint32_t cap = c->cap_rules ? c->cap_rules * 2 : 16;
        struct set *p = krealloc(c->rule, cap * sizeof *p);
        if (!p)
            fail(c, "out of memory");
        else
            c->rule = p, c->cap_rules = cap;
    }
    if (c->failed)
        return 0;
    c->rule[c->n_rules] = *s;
    return c->n_rules++;
}

static void put_value(struct conv *c, struct text *t, const struct set *s)
{
    if (s->n)
        putf(c, t, "s%u", (unsigned)rule_of(c, s));
    else
        putf(c, t, "value");
}

static const struct json_node *node_at(const struct conv *c, uint32_t item)
{
    return c->root + (item >> DONE_BITS);
}

static void set_add(struct conv *c, struct set *s, const struct json_node *n)
{
    uint32_t item = (uint32_t)(n - c->root) << DONE_BITS;
    if (json_is(n, JSON_BOOL) && n->boolean)
        return;
    if (!json_is(n, JSON_OBJECT)) {
        fail(c, json_is(n, JSON_BOOL) ? "a schema that is false allows nothing" :
                                        "a schema must be an object");
        return;
    }
    if (json_count(n) == 0)
        return;
    if (json_count(n) > JSON_SCHEMA_KEYWORDS_MAX) {
        fail(c, "a schema has more than %d keywords", JSON_SCHEMA_KEYWORDS_MAX);
        return;
    }
    for (uint32_t i = 0; i < s->n; i++)
        if (s->item[i] >> DONE_BITS == item >> DONE_BITS)
            return;
    if (s->n == JSON_SCHEMA_SET_MAX)
        fail(c, "more than %d schemas hold together here", JSON_SCHEMA_SET_MAX);
    else
        s->item[s->n++] = item;
}

/* ---- nbs/api/25_json_schema.ipynb § `$ref` and `allOf` ---- */

/* The member of obj named by a pointer's token, in which ~1 is / and ~0 is ~. */
static const struct json_node *member(const struct json_node *obj, const char *s,
                                      size_t len)
{
    for (const struct json_node *k = json_first(obj); k; k = json_next(obj, k)) {
        size_t i = 0, j = 0;
        for (; i < len && j < k->len; i++, j++) {
            char ch = s[i];
            if (ch == '~' && i + 1 < len)
                ch = s[++i] == '1' ? '/' : '~';
            if (ch != k->str[j])
                break;
        }
        if (i == len && j == k->len)
            return json_value(k);
    }
    return NULL;
}

static const struct json_node *element(const struct json_node *arr, const char *s,
                                       size_t len)
{
    size_t v = 0;
    for (size_t i = 0; i < len; i++) {
        if (!isdigit(s[i]) || v > JSON_NODES_MAX)
            return NULL;
        v = v * 10 + (size_t)(s[i] - '0');
    }
    return len ? json_at(arr, v) : NULL;
}

static const struct json_node *resolve(struct conv *c, const struct json_node *ref)
{
    const struct json_node *n = c->root;
    if (!json_is(ref, JSON_STRING) || ref->len == 0 || ref->str[0] != '#') {
        fail(c, "'$ref' must point into the schema itself: #/...");
        return NULL;
    }
    for (size_t at = 1; n && at < ref->len; ) {
        if (ref->str[at++] != '/') {
            n = NULL;
            break;
        }
        size_t end = at;
        while (end < ref->len && ref->str[end] != '/')
            end++;
        n = json_is(n, JSON_OBJECT) ? member(n, ref->str + at, end - at) :
            json_is(n, JSON_ARRAY) ? element(n, ref->str + at, end - at) : NULL;
        at = end;
    }
    if (!n)
        fail(c, "'$ref': there is no %.80s", ref->str);
    return n;
}

/* Add what the schemas in the set refer to. */
static void expand(struct conv *c, struct set *s)
{
    for (uint32_t i = 0; i < s->n && !c->failed; i++) {
        const struct json_node *n = node_at(c, s->item[i]);
        const struct json_node *ref = json_get(n, "$ref"), *all = json_get(n, "allOf");
        const struct json_node *to = ref ? resolve(c, ref) : NULL;
        if (to)
            set_add(c, s, to);
        if (all && !json_is(all, JSON_ARRAY))
            fail(c, "'allOf' must be an array");
        for (const struct json_node *e = all ? json_first(all) : NULL; e && !c->failed;
             e = json_next(all, e))
            set_add(c, s, e);
    }
}

/* ---- nbs/api/25_json_schema.ipynb § Keywords that are refused ---- */

static const char *const refused[] = {
    "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "dependencies",
    "patternProperties", "propertyNames", "minProperties", "maxProperties",
    "unevaluatedProperties", "unevaluatedItems", "uniqueItems", "contains",
    "minContains", "maxContains", "multipleOf", "$dynamicRef", "$recursiveRef",
};

static void check_keywords(struct conv *c, const struct set *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        for (uint32_t k = 0; k < sizeof refused / sizeof refused[0]; k++) {
            const struct json_node *v = json_get(node_at(c, s->item[i]), refused[k]);
            if (v && !(json_is(v, JSON_BOOL) && !v->boolean && refused[k][0] == 'u'))
                fail(c, "'%s' is not supported", refused[k]);
        }
}

/* The value of a keyword that only one schema of the set may have; NULL: none. */
static const struct json_node *only(struct conv *c, const struct set *s, const char *key)
{
    const struct json_node *found = NULL;
    for (uint32_t i = 0; i < s->n; i++) {
        const struct json_node *v = json_get(node_at(c, s->item[i]), key);
        if (v && found)
            fail(c, "'%s' stands in two schemas that hold together", key);
        found = v ? v : found;
    }
    return found;
}

static bool any_has(const struct conv *c, const struct set *s, const char *key)
{
    for (uint32_t i = 0; i < s->n; i++)
        if (json_get(node_at(c, s->item[i]), key))
            return true;
    return false;
}

/* The tightest of a count like minLength. */
static int64_t count_of(struct conv *c, const struct set *s, const char *key, bool most)
{
    int64_t r = most ? -1 : 0;              // -1: no bound
    for (uint32_t i = 0; i < s->n; i++) {
        const struct json_node *v = json_get(node_at(c, s->item[i]), key);
        if (!v)
            continue;
        if (!json_is(v, JSON_NUMBER) || json_number(v) < 0 ||
            json_number(v) > JSON_SCHEMA_COUNT_MAX ||
            json_number(v) != (double)(int64_t)json_number(v))
            fail(c, "'%s' must be a whole number up to %d", key, JSON_SCHEMA_COUNT_MAX);
        else if (r < 0 || (most ? json_number(v) < r : json_number(v) > r))
            r = (int64_t)json_number(v);
    }
    return r;
}

/* ---- nbs/api/25_json_schema.ipynb § Numbers between bounds ---- */

#define DEC_MAX 48
/* n digits before the point, m after it; no sign of its own when zero */
struct dec { bool neg; int n, m; char d[DEC_MAX]; };

struct bound { bool set, excl; struct dec v; };

struct range { struct conv *c; bool first; int frac; };     // frac: most digits after "."

static void alt(struct range *r)
{
    putf(r->c, &r->c->out, r->first ? "" : " | ");
    r->first = false;
}

/* The first k digits as a literal; the point stands before digit n if `point`. */
static void put_digits(struct range *r, const struct dec *x, int k, bool point)
{
    char b[DEC_MAX + 2];
    int o = 0;
    for (int i = 0; i <= k; i++) {
        if (i == x->n && (i < k || point))
            b[o++] = '.';
        if (i < k)
            b[o++] = x->d[i];
    }
    if (o)
        putf(r->c, &r->c->out, "\"%.*s\" ", o, b);
}

static void put_free(struct range *r, int least, int most)
{
    if (most > 0)
        putf(r->c, &r->c->out, "[0-9]{%d,%d} ", least, most);
}

static void put_fraction(struct range *r)
{
    if (r->frac > 0)
        putf(r->c, &r->c->out, "(\".\" [0-9]{1,%d})? ", r->frac);
}

/* x's first j digits, then one in [lo, hi], then anything. */
static void put_branch(struct range *r, const struct dec *x, int j, int lo, int hi)
{
    if (lo > hi)
        return;
    alt(r);
    put_digits(r, x, j, j >= x->n);
    putf(r->c, &r->c->out, "[%c-%c] ", lo, hi);
    if (j < x->n) {
        put_free(r, x->n - j - 1, x->n - j - 1);
        put_fraction(r);
    } else {
        put_free(r, 0, r->frac - (j - x->n + 1));
    }
}

/* x itself, also with fewer zeros at its end. */
static void put_short(struct range *r, const struct dec *x)
{
    for (int k = x->n + x->m - 1; k >= x->n && x->d[k] == '0'; k--) {
        alt(r);
        put_digits(r, x, k, false);
    }
}

/* Numbers of as many digits as x that are greater, by a digit from `from` on, or x. */
static void put_above(struct range *r, const struct dec *x, int from, bool excl)
{
    int all = x->n + x->m, left = r->frac - x->m;
    for (int j = from; j < all; j++)
        put_branch(r, x, j, x->d[j] + 1, '9');
    for (int z = 0; excl && z < left; z++) {
        alt(r);
        put_digits(r, x, all, x->m == 0);
        putf(r->c, &r->c->out, "\"%.*s\" [1-9] ", z, "000000000000000");
        put_free(r, 0, left - z - 1);
    }
    if (excl)
        return;
    alt(r);
    put_digits(r, x, all, false);
    if (x->m)
        put_free(r, 0, left);
    else
        put_fraction(r);
    put_short(r, x);
}

static bool zeros_from(const struct dec *x, int j)
{
    while (j < x->n + x->m && x->d[j] == '0')
        j++;
    return j == x->n + x->m;
}

static void put_below(struct range *r, const struct dec *x, int from, bool excl)
{
    for (int j = from; j < x->n + x->m; j++) {
        if (j >= x->n && !zeros_from(x, j)) {
            alt(r);
            put_digits(r, x, j, false);
        }
        put_branch(r, x, j, j == 0 && x->n > 1 ? '1' : '0', x->d[j] - 1);
    }
    if (excl)
        return;
    alt(r);
    put_digits(r, x, x->n + x->m, false);
    if (x->m && r->frac > x->m)
        putf(r->c, &r->c->out, "\"0\"{0,%d} ", r->frac - x->m);
    else if (!x->m && r->frac)
        putf(r->c, &r->c->out, "(\".\" \"0\"{1,%d})? ", r->frac);
    put_short(r, x);
}

static void pad(struct dec *x, int m)
{
    while (x->m < m)
        x->d[x->n + x->m++] = '0';
}

/* Digits that may follow the point of a number with n before it. */
static void set_fraction(struct range *r, const struct dec *x, bool whole)
{
    int n = x->n < JSON_SCHEMA_DIGITS_MAX ? x->n : JSON_SCHEMA_DIGITS_MAX;
    r->frac = whole ? 0 : JSON_SCHEMA_DIGITS_MAX - n;
    if (x->m > r->frac || (!whole && x->n > n))
        fail(r->c, "a bound has more than %d digits", JSON_SCHEMA_DIGITS_MAX);
}

/* Numbers of n to most digits before the point, whatever they are. */
static void put_lengths(struct range *r, int n, int most, bool whole)
{
    for (; n <= most; n++) {
        struct dec len = { .n = n };
        int to = whole ? most : n;
        set_fraction(r, &len, whole);
        alt(r);
        putf(r->c, &r->c->out, "[1-9] ");
        put_free(r, n - 1, to - 1);
        put_fraction(r);
        n = to;
    }
}

/* Numbers without sign from a to b (b NULL: without end). */
static void put_between(struct range *r, struct dec a, bool a_excl, const struct dec *to,
                        bool b_excl, bool whole)
{
    struct dec b = to ? *to : a;
    int m = a.m > b.m ? a.m : b.m, i = 0;
    set_fraction(r, &b, whole);
    set_fraction(r, &a, whole);
    if (!to || a.n < b.n) {
        put_above(r, &a, 0, a_excl);
        put_lengths(r, a.n + 1, to ? b.n - 1 : JSON_SCHEMA_DIGITS_MAX, whole);
        set_fraction(r, &b, whole);
        if (to)
            put_below(r, &b, 0, b_excl);
        return;
    }
    pad(&a, m), pad(&b, m);
    if (a.n > b.n)
        return;
    while (i < a.n + m && a.d[i] == b.d[i])
        i++;
    if (i < a.n + m && a.d[i] > b.d[i])
        return;
    if (i == a.n + m) {
        if (!a_excl && !b_excl)
            put_below(r, &b, i, false);
        return;
    }
    put_branch(r, &a, i, a.d[i] + 1, b.d[i] - 1);
    put_above(r, &a, i + 1, a_excl);
    put_below(r, &b, i + 1, b_excl);
}

static bool dec_zero(const struct dec *x) { return zeros_from(x, 0); }

/* One side of zero. lo and hi are bounds of the absolute value. */
static void put_side(struct range *r, const char *sign, const struct bound *lo,
                     const struct bound *hi, bool whole)
{
    struct dec zero = { false, 1, 0, "0" }, one = { false, 1, 0, "1" };
    bool from_lo = lo->set, excl = from_lo ? lo->excl : *sign != 0;
    struct dec a = from_lo ? lo->v : whole && excl ? one : zero;
    if (whole && from_lo && *sign && dec_zero(&a))
        a = one;
    size_t before = r->c->out.len;
    bool was_first = r->first;
    struct range in = { r->c, true, 0 };
    alt(r);
    putf(r->c, &r->c->out, "%s( ", *sign ? "\"-\" " : "");
    put_between(&in, a, excl && !whole, hi->set ? &hi->v : NULL, hi->excl, whole);
    putf(r->c, &r->c->out, ") ");
    if (in.first && !r->c->failed) {        // nothing on this side: take it back
        r->c->out.len = before;
        r->first = was_first;
    }
}

static void dec_read(struct conv *c, const struct json_node *v, struct dec *x)
{
    jw_reset(&c->lit);
    jw_node(&c->lit, v);
    const char *s = c->lit.failed ? "" : c->lit.buf;
    *x = (struct dec){ .neg = *s == '-' };
    s += x->neg;
    while (isdigit(*s) && x->n < 20)
        x->d[x->n++] = *s++;
    if (*s == '.')
        for (s++; isdigit(*s) && x->m < 20; )
            x->d[x->n + x->m++] = *s++;
    while (x->m && x->d[x->n + x->m - 1] == '0')
        x->m--;
    if (*s || !x->n)
        fail(c, "the bound %.40s has too many digits", c->lit.failed ? "" : c->lit.buf);
    x->neg = x->neg && !dec_zero(x);
}

static int dec_compare(const struct dec *a, const struct dec *b)
{
    if (a->neg != b->neg)
        return a->neg ? -1 : 1;
    int m = a->m > b->m ? a->m : b->m, r = a->n - b->n;
    struct dec x = *a, y = *b;
    pad(&x, m), pad(&y, m);
    if (!r)
        r = memcmp(x.d, y.d, (size_t)(x.n + m));
    return a->neg ? -r : r;
}

/* The tightest lower (or upper) bound of the set. */
static struct bound bound_of(struct conv *c, const struct set *s, const char *incl,
                             const char *excl, bool upper)
{
    struct bound best = { 0 };
    for (uint32_t i = 0; i < 2 * s->n; i++) {
        const char *key = i & 1 ? excl : incl;
        const struct json_node *v = json_get(node_at(c, s->item[i / 2]), key);
        struct bound b = { true, i & 1, { 0 } };
        if (!v)
            continue;
        if (!json_is(v, JSON_NUMBER)) {
            fail(c, "'%s' must be a number", key);
            continue;
        }
        dec_read(c, v, &b.v);
        int d = best.set ? dec_compare(&b.v, &best.v) : 0;
        if (!best.set || (upper ? d < 0 : d > 0) || (d == 0 && b.excl))
            best = b;
    }
    return best;
}

/* Round to a whole number inwards: up for a lower bound. Then it is not exclusive. */
static void bound_whole(struct conv *c, struct bound *b, bool upper)
{
    if (!b->set)
        return;
    int64_t v = 0;
    if (b->v.n > 18)
        fail(c, "a bound of an integer is too large");
    for (int i = 0; i < b->v.n; i++)
        v = v * 10 + (b->v.d[i] - '0');
    v = b->v.neg ? -v : v;
    bool part = b->v.m > 0;
    if (upper)
        v -= (part && b->v.neg) || (!part && b->excl);
    else
        v += (part && !b->v.neg) || (!part && b->excl);
    b->excl = false;
    b->v = (struct dec){ .neg = v < 0 };
    b->v.n = snprintf(b->v.d, DEC_MAX, "%lld", (long long)(v < 0 ? -v : v));
}

static void put_number(struct conv *c, const struct set *s, bool whole)
{
    struct bound lo = bound_of(c, s, "minimum", "exclusiveMinimum", false);
    struct bound hi = bound_of(c, s, "maximum", "exclusiveMaximum", true), none = { 0 };
    if (!lo.set && !hi.set) {
        putf(c, &c->out, whole ? "integer" : "number");
        return;
    }
    if (whole)
        bound_whole(c, &lo, false), bound_whole(c, &hi, true);
    struct range r = { c, true, 0 };
    putf(c, &c->out, "(");
    if (!lo.set || lo.v.neg)
        put_side(&r, "-", hi.set && hi.v.neg ? &hi : &none, lo.set ? &lo : &none, whole);
    if (!hi.set || !hi.v.neg)
        put_side(&r, "", lo.set && !lo.v.neg ? &lo : &none, hi.set ? &hi : &none, whole);
    if (r.first)
        fail(c, "no %s lies between the bounds", whole ? "integer" : "number");
    putf(c, &c->out, ")");
}

/* ---- nbs/api/25_json_schema.ipynb § Patterns ---- */

struct class { uint32_t n, lo[JSON_SCHEMA_RANGES_MAX], hi[JSON_SCHEMA_RANGES_MAX]; };

struct pattern {
    struct conv *c;
    const char *s;
    size_t len, at;
    int depth;
    bool has_atom;                         // something that a quantifier can follow
};

static const struct { uint32_t lo, hi; } plain[] = {   // stand for themselves in JSON
    { 0x20, '!' }, { '#', '[' }, { ']', '~' }, { 0x80, 0xD7FF }, { 0xE000, 0x10FFFF },
};
static const struct { uint32_t c; const char *gbnf; } escaped[] = {
    { '"', "\"\\\\\\\"\"" }, { '\\', "\"\\\\\\\\\"" }, { '\b', "\"\\\\b\"" },
    { '\f', "\"\\\\f\"" }, { '\n', "\"\\\\n\"" }, { '\r', "\"\\\\r\"" },
    { '\t', "\"\\\\t\"" },
};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void class_add(struct conv *c, struct class *k, uint32_t lo, uint32_t hi)
{
    if (k->n == JSON_SCHEMA_RANGES_MAX) {
        fail(c, "'pattern': more than %d ranges in a class", JSON_SCHEMA_RANGES_MAX);
        return;
    }
    uint32_t i = k->n++;
    for (; i && k->lo[i - 1] > lo; i--)    // sorted by lo
        k->lo[i] = k->lo[i - 1], k->hi[i] = k->hi[i - 1];
    k->lo[i] = lo, k->hi[i] = hi;
}

static void class_invert(struct conv *c, struct class *k)
{
    struct class r = { 0 };
    uint32_t next = 0;
    for (uint32_t i = 0; i < k->n; i++) {
        if (k->lo[i] > next)
            class_add(c, &r, next, k->lo[i] - 1);
        next = k->hi[i] >= next ? k->hi[i] + 1 : next;
    }
    if (next <= 0x10FFFF)
        class_add(c, &r, next, 0x10FFFF);
    *k = r;
}

static bool class_has(const struct class *k, uint32_t ch)
{
    for (uint32_t i = 0; i < k->n; i++)
        if (ch >= k->lo[i] && ch <= k->hi[i])
            return true;
    return false;
}

static void put_class(struct conv *c, const struct class *k)
{
    bool open = false, any = false;
    putf(c, &c->out, "(");
    for (uint32_t i = 0; i < k->n; i++)
        for (size_t p = 0; p < COUNT(plain); p++) {
            uint32_t lo = k->lo[i] > plain[p].lo ? k->lo[i] : plain[p].lo;
            uint32_t hi = k->hi[i] < plain[p].hi ? k->hi[i] : plain[p].hi;
            if (lo > hi)
                continue;
            putf(c, &c->out, open ? "" : "[");
            open = any = true;
            if (lo < 0x7F && isalnum((int)lo) && hi == lo)
                putf(c, &c->out, "%c", (int)lo);
            else if (hi < 0x7F)
                putf(c, &c->out, "\\x%02X-\\x%02X", (unsigned)lo, (unsigned)hi);
            else
                putf(c, &c->out, "\\U%08X-\\U%08X", (unsigned)lo, (unsigned)hi);
        }
    putf(c, &c->out, open ? "]" : "");
    for (size_t e = 0; e < COUNT(escaped); e++)
        if (class_has(k, escaped[e].c)) {
            putf(c, &c->out, "%s%s", any ? " | " : "", escaped[e].gbnf);
            any = true;
        }
    putf(c, &c->out, ") ");
    if (!any)
        fail(c, "'pattern' asks for a character that JSON cannot hold");
}

static int pattern_peek(const struct pattern *p)
{
    return p->at < p->len ? (uint8_t)p->s[p->at] : -1;
}

static void pattern_fail(struct pattern *p, const char *what)
{
    fail(p->c, "'pattern', character %u: %s is not supported", (unsigned)p->at + 1, what);
}

/* One character of the pattern; the document is valid UTF-8. */
static uint32_t pattern_char(struct pattern *p)
{
    uint8_t b = (uint8_t)p->s[p->at++];
    uint32_t v = b < 0x80 ? b : b < 0xE0 ? b & 0x1F : b < 0xF0 ? b & 0x0F : b & 0x07;
    for (int n = b < 0xC0 ? 0 : b < 0xE0 ? 1 : b < 0xF0 ? 2 : 3; n && p->at < p->len; n--)
        v = v << 6 | (p->s[p->at++] & 0x3F);
    return v;
}

static uint32_t pattern_hex(struct pattern *p, int digits)
{
    uint32_t v = 0;
    for (int i = 0; i < digits; i++, p->at++) {
        int ch = pattern_peek(p);
        if (ch < 0 || !isxdigit(ch)) {
            pattern_fail(p, "this escape");
            return 0;
        }
        v = v << 4 | (uint32_t)(isdigit(ch) ? ch - '0' : tolower(ch) - 'a' + 10);
    }
    return v;
}

static const uint32_t spaces[][2] = {
    { 9, 13 }, { 32, 32 }, { 0xA0, 0xA0 }, { 0x1680, 0x1680 }, { 0x2000, 0x200A },
    { 0x2028, 0x2029 }, { 0x202F, 0x202F }, { 0x205F, 0x205F }, { 0x3000, 0x3000 },
    { 0xFEFF, 0xFEFF },
};

/* After a backslash: a character or a class of them, added to k. True: a class. */
static bool pattern_escape(struct pattern *p, struct class *k)
{
    int ch = pattern_peek(p), lower = ch > 0 ? tolower(ch) : 0;
    struct class w = { 0 };
    uint32_t one = 0;
    p->at += ch != -1;
    switch (lower) {
    case 'd': class_add(p->c, &w, '0', '9'); break;
    case 'w':
        class_add(p->c, &w, '0', '9'), class_add(p->c, &w, 'A', 'Z');
        class_add(p->c, &w, '_', '_'), class_add(p->c, &w, 'a', 'z');
        break;
    case 's':
        for (size_t i = 0; i < COUNT(spaces); i++)
            class_add(p->c, &w, spaces[i][0], spaces[i][1]);
    }
    if (w.n) {
        if (isupper(ch))
            class_invert(p->c, &w);
        for (uint32_t i = 0; i < w.n; i++)
            class_add(p->c, k, w.lo[i], w.hi[i]);
        return true;
    }
    switch (ch) {
    case 'n': one = '\n'; break;
    case 'r': one = '\r'; break;
    case 't': one = '\t'; break;
    case 'f': one = '\f'; break;
    case 'x': one = pattern_hex(p, 2); break;
    case 'u': one = pattern_hex(p, 4); break;
    default:
        if (ch < 0 || isalnum(ch) || ch >= 0x80)
            pattern_fail(p, "this escape");
        one = ch > 0 ? (uint32_t)ch : 0;
    }
    class_add(p->c, k, one, one);
    return false;
}

static void pattern_class(struct pattern *p)
{
    struct class k = { 0 };
    p->at++;
    bool invert = pattern_peek(p) == '^';
    p->at += invert;
    while (!p->c->failed && pattern_peek(p) != ']') {
        struct class one = { 0 }, end = { 0 };
        bool many = false;
        if (pattern_peek(p) == -1)
            pattern_fail(p, "a class without ]");
        else if (pattern_peek(p) == '\\')
            p->at++, many = pattern_escape(p, &one);
        else
            one.n = 1, one.lo[0] = one.hi[0] = pattern_char(p);
        if (!many && pattern_peek(p) == '-' && p->at + 1 < p->len &&
            p->s[p->at + 1] != ']') {
            p->at++;
            bool bad = false;
            if (pattern_peek(p) == '\\')
                p->at++, bad = pattern_escape(p, &end);
            else
                end.lo[0] = pattern_char(p);
            if (bad || end.lo[0] < one.lo[0])
                pattern_fail(p, "this range");
            one.hi[0] = end.lo[0];
        }
        for (uint32_t i = 0; i < one.n; i++)
            class_add(p->c, &k, one.lo[i], one.hi[i]);
    }
    p->at++;
    if (invert)
        class_invert(p->c, &k);
    put_class(p->c, &k);
}

/* {m}, {m,} or {m,n} goes through as it is. */
static void pattern_braces(struct pattern *p)
{
    size_t from = p->at++, digits = p->at;
    while (pattern_peek(p) != '}' && p->at < p->len &&
           (isdigit(pattern_peek(p)) || (pattern_peek(p) == ',' && p->at > digits)))
        p->at++;
    if (pattern_peek(p) != '}' || p->at == digits)
        pattern_fail(p, "this repetition");
    p->at++;
    if (!p->c->failed)
        put(p->c, &p->c->out, p->s + from, p->at - from);
}

static void pattern_quantifier(struct pattern *p)
{
    if (!p->has_atom)
        pattern_fail(p, "a repetition of nothing");
    else if (pattern_peek(p) == '{')
        pattern_braces(p);
    else
        putf(p->c, &p->c->out, "%c", p->s[p->at++]);
    if (pattern_peek(p) == '?')
        p->at++;                           // "lazy": the same language
    putf(p->c, &p->c->out, " ");
    p->has_atom = false;
}

static void pattern_group(struct pattern *p)
{
    if (pattern_peek(p) == '(') {
        p->depth++;
        p->at++;
        if (p->at + 1 < p->len && p->s[p->at] == '?' && p->s[p->at + 1] == ':')
            p->at += 2;
        if (pattern_peek(p) == '?')
            pattern_fail(p, "this kind of group");
        putf(p->c, &p->c->out, "( ");
        p->has_atom = false;
        return;
    }
    if (p->depth-- == 0)
        pattern_fail(p, "a ) without (");
    p->at++;
    putf(p->c, &p->c->out, ") ");
    p->has_atom = true;
}

/* The beginning of an alternative outside of all groups. */
static void pattern_begin(struct pattern *p)
{
    if (pattern_peek(p) == '^')
        p->at++;
    else
        putf(p->c, &p->c->out, "char* ");
    p->has_atom = false;
}

static void pattern_item(struct pattern *p)
{
    static const uint32_t line_ends[][2] = { { '\n', '\n' }, { '\r', '\r' },
                                             { 0x2028, 0x2029 } };
    struct class k = { 0 };
    int ch = pattern_peek(p);
    switch (ch) {
    case '(': case ')': pattern_group(p); return;
    case '*': case '+': case '?': case '{': pattern_quantifier(p); return;
    case '[': pattern_class(p); break;
    case '^': case '$': pattern_fail(p, "an anchor inside"); return;
    case '|':
        p->at++;
        putf(p->c, &p->c->out, "| ");
        p->has_atom = false;
        return;
    case '.':
        p->at++;
        for (size_t i = 0; i < COUNT(line_ends); i++)
            class_add(p->c, &k, line_ends[i][0], line_ends[i][1]);
        class_invert(p->c, &k);
        put_class(p->c, &k);
        break;
    case '\\':
        p->at++;
        pattern_escape(p, &k);
        put_class(p->c, &k);
        break;
    default:
        k.n = 1, k.lo[0] = k.hi[0] = pattern_char(p);
        put_class(p->c, &k);
    }
    p->has_atom = true;
}

static void put_pattern(struct conv *c, const struct json_node *v)
{
    struct pattern p = { .c = c, .s = v->str, .len = v->len };
    bool closed = false;
    putf(c, &c->out, "\"\\\"\" ( ");
    pattern_begin(&p);
    while (!c->failed && p.at < p.len) {
        bool end = p.depth == 0 && p.s[p.at] == '$' &&
                   (p.at + 1 == p.len || p.s[p.at + 1] == '|');
        p.at += end;
        closed = end;
        if (end && p.at == p.len)
            break;
        if (p.depth == 0 && p.s[p.at] == '|') {
            putf(c, &c->out, end ? "| " : "char* | ");
            p.at++;
            pattern_begin(&p);
        } else {
            pattern_item(&p);
        }
    }
    if (p.depth > 0)
        pattern_fail(&p, "a ( without )");
    putf(c, &c->out, closed ? ") \"\\\"\"" : "char* ) \"\\\"\"");
}

static void put_string(struct conv *c, const struct set *s)
{
    static const char *const formats[] = { "date", "time", "date-time", "uuid" };
    const struct json_node *pattern = only(c, s, "pattern");
    const struct json_node *format = only(c, s, "format");
    int64_t least = count_of(c, s, "minLength", false);
    int64_t most = count_of(c, s, "maxLength", true);
    const char *known = NULL;
    for (size_t i = 0; i < COUNT(formats); i++)
        if (json_is_str(format, formats[i]))
            known = formats[i];
    bool length = least > 0 || most >= 0;
    if ((pattern && known) || (length && (pattern || known)))
        fail(c, "'%s' together with '%s' is not supported",
             pattern ? "pattern" : "format",
             length ? least > 0 ? "minLength" : "maxLength" : "format");
    if (pattern && !json_is(pattern, JSON_STRING))
        fail(c, "'pattern' must be a string");
    if (length && most >= 0 && most < least)
        fail(c, "'maxLength' is less than 'minLength'");
    if (c->failed)
        return;
    if (pattern)
        put_pattern(c, pattern);
    else if (known)
        putf(c, &c->out, "\"\\\"\" %s \"\\\"\"", known);
    else if (length && most < 0)
        putf(c, &c->out, "\"\\\"\" char{%d,} \"\\\"\"", (int)least);
    else if (length)
        putf(c, &c->out, "\"\\\"\" char{%d,%d} \"\\\"\"", (int)least, (int)most);
    else
        putf(c, &c->out, "string");
}

/* ---- nbs/api/25_json_schema.ipynb § Arrays ---- */

static void put_times(struct conv *c, int64_t least, int64_t most)
{
    if (most < 0)
        putf(c, &c->out, "{%d,} ", (int)least);
    else
        putf(c, &c->out, "{%d,%d} ", (int)least, (int)most);
}

/* `n_prefix` items were written, of which one may follow: the rest. */
static void put_items(struct conv *c, const struct set *item, int64_t least, int64_t most,
                      bool first)
{
    if (most == 0)
        return;
    if (first) {
        putf(c, &c->out, least ? "" : "( ");
        put_value(c, &c->out, item);
        putf(c, &c->out, " ");
    }
    int64_t used = first ? 1 : 0;
    putf(c, &c->out, "( \",\" space ");
    put_value(c, &c->out, item);
    putf(c, &c->out, " )");
    put_times(c, least > used ? least - used : 0, most < 0 ? -1 : most - used);
    if (first && !least)
        putf(c, &c->out, ")? ");
}

static void put_array(struct conv *c, const struct set *s)
{
    const struct json_node *prefix = only(c, s, "prefixItems");
    int64_t least = count_of(c, s, "minItems", false);
    int64_t most = count_of(c, s, "maxItems", true);
    struct set item = { 0 };
    bool none = false, has_items = false;
    for (uint32_t i = 0; i < s->n; i++) {
        const struct json_node *v = json_get(node_at(c, s->item[i]), "items");
        has_items |= v != NULL;
        if (json_is(v, JSON_ARRAY))         // how drafts before 2020-12 wrote prefixItems
            prefix = v, has_items = false;
        else if (json_is(v, JSON_BOOL) && !v->boolean)
            none = true;
        else if (v)
            set_add(c, &item, v);
    }
    int64_t n = (int64_t)json_count(prefix), open = 0;
    int64_t need = any_has(c, s, "minItems") && least < n ? least : n;
    if (prefix && (!has_items || none))
        most = most < 0 || most > n ? n : most;
    if (!prefix && none)
        most = 0;
    if (most >= 0 && (most < least || most < need))
        fail(c, "'maxItems' leaves no room for the items that must come");
    putf(c, &c->out, "\"[\" space ");
    const struct json_node *e = prefix ? json_first(prefix) : NULL;
    for (int64_t i = 0; i < n && !c->failed && (most < 0 || i < most); i++) {
        struct set one = { 0 };
        set_add(c, &one, e);
        if (i >= need)
            putf(c, &c->out, "( "), open++;
        putf(c, &c->out, i ? "\",\" space " : "");
        put_value(c, &c->out, &one);
        putf(c, &c->out, " ");
        e = json_next(prefix, e);
    }
    if (most < 0 || most > n)
        put_items(c, &item, least > n ? least - n : 0, most < 0 ? -1 : most - n, n == 0);
    while (open-- > 0)
        putf(c, &c->out, ")? ");
    putf(c, &c->out, "space \"]\"");
}

/* ---- nbs/api/25_json_schema.ipynb § Objects ---- */

static struct prop *prop_of(struct conv *c, const struct json_node *key)
{
    for (uint32_t i = 0; i < c->n_props; i++)
        if (c->prop[i].key->len == key->len &&
            !memcmp(c->prop[i].key->str, key->str, key->len))
            return &c->prop[i];
    if (c->n_props == JSON_SCHEMA_PROPS_MAX) {
        fail(c, "an object has more than %d members", JSON_SCHEMA_PROPS_MAX);
        return &c->prop[0];
    }
    c->prop[c->n_props] = (struct prop){ .key = key };
    return &c->prop[c->n_props++];
}

enum more { MORE_UNSAID, MORE_YES, MORE_NO };

/* Names in `required`; those that nobody describes are like other members. */
static void collect_required(struct conv *c, const struct set *s, const struct set *extra,
                             bool closed)
{
    for (uint32_t i = 0; i < s->n && !c->failed; i++) {
        const struct json_node *r = json_get(node_at(c, s->item[i]), "required");
        for (const struct json_node *k = json_is(r, JSON_ARRAY) ? json_first(r) : NULL;
             k && !c->failed; k = json_next(r, k)) {
            uint32_t known = c->n_props;
            if (!json_is(k, JSON_STRING)) {
                fail(c, "'required' must be an array of names");
                break;
            }
            struct prop *p = prop_of(c, k);
            p->required = true;
            if (c->n_props > known && closed)
                fail(c, "'%.80s' is required but not allowed", k->str);
            if (c->n_props > known)
                p->value = *extra;
        }
    }
}

/* Fill c->prop; *extra: what other members must be. */
static enum more collect(struct conv *c, const struct set *s, struct set *extra)
{
    enum more more = MORE_UNSAID;
    c->n_props = 0;
    for (uint32_t i = 0; i < s->n && !c->failed; i++) {
        const struct json_node *n = node_at(c, s->item[i]);
        const struct json_node *p = json_get(n, "properties");
        const struct json_node *a = json_get(n, "additionalProperties");
        if (p && !json_is(p, JSON_OBJECT))
            fail(c, "'properties' must be an object");
        for (const struct json_node *k = p ? json_first(p) : NULL; k && !c->failed;
             k = json_next(p, k))
            set_add(c, &prop_of(c, k)->value, json_value(k));
        if (json_is(a, JSON_BOOL) && !a->boolean)
            more = MORE_NO;
        else if (a && more != MORE_NO)
            set_add(c, extra, a), more = MORE_YES;
    }
    for (uint32_t i = 0; i < s->n && !c->failed; i++) {
        const struct json_node *n = node_at(c, s->item[i]);
        const struct json_node *a = json_get(n, "additionalProperties");
        if (a && !(json_is(a, JSON_BOOL) && a->boolean) &&
            c->n_props != json_count(json_get(n, "properties")))
            fail(c, "'additionalProperties' beside members of other schemas");
    }
    collect_required(c, s, extra, more == MORE_NO);
    return more;
}

static size_t char_len(const char *s)      // bytes of the UTF-8 character
{
    uint8_t b = (uint8_t)*s;
    return b < 0xC0 ? 1 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4;
}

static size_t shared_len(const struct json_node *a, const struct json_node *b)
{
    size_t i = 0;
    while (i < a->len && i < b->len && a->str[i] == b->str[i])
        i++;
    return i;
}

/* The rule for names that begin with the first `len` bytes of name[i]. */
static void put_name_rule(struct conv *c, uint32_t k, const struct json_node **name,
                          uint32_t n, uint32_t i, size_t len)
{
    bool end = true, leaf = true;
    uint32_t last = i;
    while (last < n && name[last]->len >= len &&
           !memcmp(name[last]->str, name[i]->str, len))
        last++;
    putf(c, &c->aux, "n%u-%u-%u ::= [^\\x00-\\x1F\\x7F\\x22\\x5C", (unsigned)k,
         (unsigned)i, (unsigned)len);
    for (uint32_t j = i; j < last; j++) {
        end = end && name[j]->len != len;
        leaf = leaf && name[j]->len == len;
        const char *p = name[j]->str + len;
        if (name[j]->len == len || *p == '"' || *p == '\\' || (uint8_t)*p < 0x20)
            continue;
        if (*p == ']' || *p == '[' || *p == '-' || *p == '^')
            putf(c, &c->aux, "\\x%02X", (unsigned)(uint8_t)*p);
        else
            put(c, &c->aux, p, char_len(p));
    }
    putf(c, &c->aux, "] char*%s", end ? " | \"\"" : "");
    for (uint32_t j = i; j < last && !leaf; j++) {
        const char *p = name[j]->str + len;
        size_t m = name[j]->len == len ? 0 : char_len(p);
        if (!m || *p == '"' || *p == '\\' || (uint8_t)*p < 0x20 ||
            (j > i && shared_len(name[j - 1], name[j]) >= len + m))
            continue;
        putf(c, &c->aux, " | ");
        put_literal(c, &c->aux, p, m);
        putf(c, &c->aux, " n%u-%u-%u", (unsigned)k, (unsigned)j, (unsigned)(len + m));
    }
    putf(c, &c->aux, "\n");
}

static void put_other_names(struct conv *c, uint32_t k)
{
    const struct json_node **name = kmalloc((c->n_props + 1) * sizeof *name);
    if (!name) {
        fail(c, "out of memory");
        return;
    }
    for (uint32_t i = 0; i < c->n_props; i++) {          // sorted by bytes
        uint32_t j = i;
        const struct json_node *x = c->prop[i].key;
        for (; j; j--) {
            const struct json_node *y = name[j - 1];
            size_t m = shared_len(x, y);
            if (m == y->len || (m < x->len && (uint8_t)x->str[m] > (uint8_t)y->str[m]))
                break;
            name[j] = y;
        }
        name[j] = x;
    }
    put_name_rule(c, k, name, c->n_props, 0, 0);
    for (uint32_t i = 0; i < c->n_props; i++) {
        size_t from = i ? shared_len(name[i - 1], name[i]) : 0;
        const char *s = name[i]->str;
        for (size_t len = 0; len < name[i]->len && !c->failed; ) {
            if (s[len] == '"' || s[len] == '\\' || (uint8_t)s[len] < 0x20)
                break;                     // other names never come this way
            len += char_len(s + len);
            if (len > from)
                put_name_rule(c, k, name, c->n_props, i, len);
        }
    }
    kfree(name);
}

static void put_members(struct conv *c, uint32_t k, bool more)
{
    struct prop *p = c->prop;
    uint32_t n = c->n_props, n_opt = 0, n_req = 0;
    for (uint32_t i = 0; i < n; i++)
        if (p[i].required)
            putf(c, &c->out, "%sp%u-%u ", n_req++ ? "\",\" space " : "", (unsigned)k,
                 (unsigned)i);
    for (uint32_t i = 0; i < n; i++) {
        if (p[i].required)
            continue;
        putf(c, &c->aux, "o%u-%u ::= ( \",\" space p%u-%u )? o%u-%u\n", (unsigned)k,
             (unsigned)n_opt, (unsigned)k, (unsigned)i, (unsigned)k, (unsigned)n_opt + 1);
        if (!n_req)
            putf(c, &c->out, "%sp%u-%u o%u-%u ", n_opt ? "| " : "( ", (unsigned)k,
                 (unsigned)i, (unsigned)k, (unsigned)n_opt + 1);
        n_opt++;
    }
    putf(c, &c->aux, "o%u-%u ::=", (unsigned)k, (unsigned)n_opt);
    if (more)
        putf(c, &c->aux, " ( \",\" space x%u )*\n", (unsigned)k);
    else
        putf(c, &c->aux, " \"\"\n");
    if (n_req)
        putf(c, &c->out, "o%u-0 ", (unsigned)k);
    else if (more)
        putf(c, &c->out, "%sx%u o%u-%u )? ", n_opt ? "| " : "( ", (unsigned)k,
             (unsigned)k, (unsigned)n_opt);
    else if (n_opt)
        putf(c, &c->out, ")? ");
}

static void put_object(struct conv *c, uint32_t k, const struct set *s)
{
    struct set extra = { 0 };
    enum more more = collect(c, s, &extra);
    if (c->failed)
        return;
    if (c->n_props == 0 && more != MORE_NO && extra.n == 0) {
        putf(c, &c->out, "object");
        return;
    }
    for (uint32_t i = 0; i < c->n_props; i++) {
        putf(c, &c->aux, "p%u-%u ::= ", (unsigned)k, (unsigned)i);
        put_json(c, &c->aux, c->prop[i].key);
        putf(c, &c->aux, " space \":\" space ");
        put_value(c, &c->aux, &c->prop[i].value);
        putf(c, &c->aux, "\n");
    }
    if (more == MORE_YES) {
        putf(c, &c->aux, "x%u ::= ", (unsigned)k);
        if (c->n_props)
            putf(c, &c->aux, "\"\\\"\" n%u-0-0 \"\\\"\"", (unsigned)k);
        else
            putf(c, &c->aux, "string");
        putf(c, &c->aux, " \":\" space ");
        put_value(c, &c->aux, &extra);
        putf(c, &c->aux, "\n");
        if (c->n_props)
            put_other_names(c, k);
    }
    putf(c, &c->out, "\"{\" space ");
    put_members(c, k, more == MORE_YES);
    putf(c, &c->out, "space \"}\"");
}

/* ---- nbs/api/25_json_schema.ipynb § A rule for a set ---- */

enum {
    T_NULL = 1, T_BOOL = 2, T_INTEGER = 4, T_NUMBER = 8, T_STRING = 16, T_ARRAY = 32,
    T_OBJECT = 64, T_ALL = 127
};
static const struct { const char *name; unsigned bits; } types[] = {
    { "null", T_NULL }, { "boolean", T_BOOL }, { "integer", T_INTEGER },
    { "number", T_NUMBER | T_INTEGER }, { "string", T_STRING }, { "array", T_ARRAY },
    { "object", T_OBJECT },
};
static const struct { const char *key; unsigned bits; } hints[] = {
    { "properties", T_OBJECT }, { "required", T_OBJECT },
    { "additionalProperties", T_OBJECT }, { "items", T_ARRAY },
    { "prefixItems", T_ARRAY }, { "minItems", T_ARRAY },
    { "maxItems", T_ARRAY }, { "pattern", T_STRING },
    { "minLength", T_STRING }, { "maxLength", T_STRING }, { "format", T_STRING },
    { "minimum", T_NUMBER | T_INTEGER }, { "maximum", T_NUMBER | T_INTEGER },
    { "exclusiveMinimum", T_NUMBER | T_INTEGER },
    { "exclusiveMaximum", T_NUMBER | T_INTEGER },
};

static unsigned type_bits(struct conv *c, const struct json_node *t)
{
    for (size_t i = 0; i < COUNT(types); i++)
        if (json_is_str(t, types[i].name))
            return types[i].bits;
    fail(c, "'type' must be the name of a type, or several");
    return 0;
}

static unsigned types_of(struct conv *c, const struct set *s)
{
    unsigned all = T_ALL, hint = 0;
    bool said = false;
    for (uint32_t i = 0; i < s->n; i++) {
        const struct json_node *t = json_get(node_at(c, s->item[i]), "type");
        unsigned here = json_is(t, JSON_ARRAY) ? 0 : t ? type_bits(c, t) : T_ALL;
        if (json_count(t) > COUNT(types))
            fail(c, "'type' names more types than there are");
        for (const struct json_node *e = json_is(t, JSON_ARRAY) ? json_first(t) : NULL;
             e && !c->failed; e = json_next(t, e))
            here |= type_bits(c, e);
        said |= t != NULL;
        all &= here;
    }
    for (size_t i = 0; i < COUNT(hints); i++)
        hint |= any_has(c, s, hints[i].key) ? hints[i].bits : 0;
    if (!said && hint)
        all = hint;
    return all & T_NUMBER ? all & ~(unsigned)T_INTEGER : all;
}

static unsigned type_of_value(const struct json_node *v)
{
    switch (v->type) {
    case JSON_NULL: return T_NULL;
    case JSON_BOOL: return T_BOOL;
    case JSON_NUMBER: return v->is_int ? T_NUMBER | T_INTEGER : T_NUMBER;
    case JSON_STRING: return T_STRING;
    case JSON_ARRAY: return T_ARRAY;
    }
    return T_OBJECT;
}

static bool same_node(struct conv *c, const struct json_node *a,
                      const struct json_node *b)
{
    c->compared++;
    if (a->type != b->type || a->span != b->span)
        return false;
    switch (a->type) {
    case JSON_BOOL: return a->boolean == b->boolean;
    case JSON_NUMBER: return a->is_int == b->is_int && a->i == b->i;  // or num's bits
    case JSON_STRING:
        if (a->len != b->len)
            return false;
        c->compared += a->len;
        return !memcmp(a->str, b->str, a->len);
    }
    return true;
}

static bool same_json(struct conv *c, const struct json_node *a,
                      const struct json_node *b)
{
    const struct json_node *end = a + a->span;
    while (a < end && same_node(c, a, b))
        a++, b++;
    return a == end;
}

/* The values of an enum or a const, one behind the other. */
struct list { const struct json_node *from, *to; };

/* The lists of a set, in its order. */
static uint32_t lists_of(struct conv *c, const struct set *s, struct list *list)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        const struct json_node *one = json_get(node_at(c, s->item[i]), "const");
        const struct json_node *e = json_get(node_at(c, s->item[i]), "enum");
        if (one)
            list[n++] = (struct list){ one, one + one->span };
        if (e && !json_is(e, JSON_ARRAY))
            fail(c, "'enum' must be an array");
        else if (e)
            list[n++] = (struct list){ e + 1, e + e->span };
    }
    return n;
}

/* Do all lists have v? */
static bool listed(struct conv *c, const struct list *list, uint32_t n,
                   const struct json_node *v)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct json_node *x = list[i].from;
        while (x < list[i].to && !same_json(c, x, v))
            x += x->span;
        if (x == list[i].to)
            return false;
    }
    return true;
}

static void put_listed(struct conv *c, const struct set *s, unsigned mask)
{
    struct list list[2 * JSON_SCHEMA_SET_MAX];
    uint32_t n = lists_of(c, s, list);
    bool first = true;
    for (size_t i = 0; i < COUNT(hints); i++)
        if (any_has(c, s, hints[i].key) && strcmp(hints[i].key, "format"))
            fail(c, "'%s' beside 'enum' or 'const' is not supported", hints[i].key);
    if (c->failed)
        return;
    mask |= mask & T_NUMBER ? T_INTEGER : 0;
    putf(c, &c->out, "(");
    for (const struct json_node *v = list[0].from; v < list[0].to && !c->failed;
         v += v->span) {
        if (c->compared++ > JSON_SCHEMA_COMPARE_MAX)
            fail(c, "'enum' is too long to be compared with another");
        if (!(type_of_value(v) & mask) || !listed(c, list + 1, n - 1, v))
            continue;
        putf(c, &c->out, first ? " " : " | ");
        put_json(c, &c->out, v);
        first = false;
    }
    if (first)
        fail(c, "no value of 'enum' or 'const' is allowed");
    putf(c, &c->out, " )");
}

/* The first schema of the set whose anyOf (oneOf) is not dealt with: alternatives. */
static bool put_options(struct conv *c, const struct set *s, const char *key,
                        uint32_t mark)
{
    for (uint32_t i = 0; i < s->n; i++) {
        const struct json_node *v = json_get(node_at(c, s->item[i]), key);
        if (!v || s->item[i] & mark)
            continue;
        if (!json_is(v, JSON_ARRAY) || json_count(v) == 0)
            fail(c, "'%s' must be an array of schemas", key);
        const struct json_node *e = c->failed ? NULL : json_first(v);
        for (bool first = true; e && !c->failed; e = json_next(v, e), first = false) {
            struct set o = *s;
            o.item[i] |= mark;
            set_add(c, &o, e);
            putf(c, &c->out, first ? "" : " | ");
            put_value(c, &c->out, &o);
        }
        return true;
    }
    return false;
}

/* Nothing but marks and notes left: any value. */
static bool says_nothing(struct conv *c, const struct set *s)
{
    for (size_t i = 0; i < COUNT(hints); i++)
        if (any_has(c, s, hints[i].key))
            return false;
    return !any_has(c, s, "type");
}

static void put_type(struct conv *c, uint32_t k, const struct set *s, unsigned t)
{
    switch (t) {
    case T_NULL: putf(c, &c->out, "null"); break;
    case T_BOOL: putf(c, &c->out, "boolean"); break;
    case T_INTEGER: case T_NUMBER: put_number(c, s, t == T_INTEGER); break;
    case T_STRING: put_string(c, s); break;
    case T_ARRAY: put_array(c, s); break;
    case T_OBJECT: put_object(c, k, s); break;
    }
}

static void put_rule(struct conv *c, uint32_t k)
{
    struct set s = c->rule[k];
    unsigned mask;
    bool first = true;
    putf(c, &c->out, "s%u ::= ", (unsigned)k);
    expand(c, &s);
    check_keywords(c, &s);
    if (c->failed || put_options(c, &s, "anyOf", DONE_ANY_OF) ||
        put_options(c, &s, "oneOf", DONE_ONE_OF))
        goto end;
    mask = types_of(c, &s);
    if (any_has(c, &s, "enum") || any_has(c, &s, "const")) {
        put_listed(c, &s, mask);
    } else if (says_nothing(c, &s)) {
        putf(c, &c->out, "value");
    } else {
        if (!mask)
            fail(c, "the schemas that hold together agree on no 'type'");
        for (unsigned t = 1; t < T_ALL; t <<= 1)
            if (mask & t) {
                putf(c, &c->out, first ? "" : " | ");
                put_type(c, k, &s, t);
                first = false;
            }
    }
end:
    putf(c, &c->out, "\n");
    put(c, &c->out, c->aux.buf ? c->aux.buf : "", c->aux.len);
    c->aux.len = 0;
}

const char json_schema_shared[] =
    "space ::= | \" \" | \"\\n\"{1,2} [ \\t]{0,20}\n"
    "value ::= object | array | string | number | boolean | null\n"
    "object ::= \"{\" space ( pair (\",\" space pair)* )? space \"}\"\n"
    "pair ::= string \":\" space value\n"
    "array ::= \"[\" space ( value (\",\" space value)* )? space \"]\"\n"
    "string ::= \"\\\"\" char* \"\\\"\"\n"
    "char ::= [^\"\\\\\\x7F\\x00-\\x1F] | \"\\\\\" ([\"\\\\bfnrt] | \"u\" unit)\n"
    "unit ::= [0-9a-cA-CefEF] hex{3} | [dD] [0-7] hex{2}\n"
    "hex ::= [0-9a-fA-F]\n"
    "number ::= \"-\"? whole (\".\" [0-9]{1,16})? ([eE] [-+]? [0-9]{1,3})?\n"
    "integer ::= \"-\"? whole\n"
    "whole ::= \"0\" | [1-9] [0-9]{0,15}\n"
    "boolean ::= (\"true\" | \"false\")\n"
    "null ::= \"null\"\n"
    "uuid ::= hex{8} (\"-\" hex{4}){3} \"-\" hex{12}\n"
    "date-time ::= date \"T\" time\n"
    "hour ::= [01] [0-9] | \"2\" [0-3]\n"
    "time ::= hour (\":\" [0-5] [0-9]){2} (\".\" [0-9]{1,6})? offset\n"
    "offset ::= \"Z\" | [-+] hour \":\" [0-5] [0-9]\n"
    "date ::= year \"-\" day | leap \"-02-29\"\n"
    "year ::= [1-9] [0-9]{3} | \"0\" [1-9] [0-9]{2} | \"00\" [1-9] [0-9] |\n"
    " \"000\" [1-9]\n"
    "day ::= (\"0\" [13578] | \"1\" [02]) \"-\" (\"0\" [1-9] | [12] [0-9] | \"3\" [01])"
    " |\n (\"0\" [469] | \"11\") \"-\" (\"0\" [1-9] | [12] [0-9] | \"30\") |\n"
    " \"02-\" (\"0\" [1-9] | \"1\" [0-9] | \"2\" [0-8])\n"
    "leap ::= [0-9]{2} (\"0\" [48] | [2468] [048] | [13579] [26]) |\n"
    " (\"0\" [48] | [2468] [048] | [13579] [26]) \"00\"\n";

/* `end`: what comes after the schema's own rules. */
static char *convert(const struct json_node *schema, const char *end, size_t *len,
                     char *err, size_t err_cap)
{
    struct conv *c = kcalloc(1, sizeof *c);
    struct prop *prop = kmalloc(JSON_SCHEMA_PROPS_MAX * sizeof *prop);
    struct set first = { 0 };
    *err = 0;
    if (!c || !prop) {
        kfree(c);
        kfree(prop);
        snprintf(err, err_cap, "out of memory");
        return NULL;
    }
    *c = (struct conv){ .root = schema, .prop = prop, .err = err, .err_cap = err_cap };
    jw_init(&c->lit, JSON_SCHEMA_TEXT_MAX);
    if (schema)
        set_add(c, &first, schema);
    if (first.n)
        rule_of(c, &first);
    putf(c, &c->out, "root ::= %s\n",
         first.n ? "s0" : json_is(schema, JSON_BOOL) ? "value" : "object");
    for (uint32_t k = 0; k < c->n_rules && !c->failed; k++)
        put_rule(c, k);
    put(c, &c->out, end, strlen(end));
    char *text = c->failed ? NULL : c->out.buf;
    *len = text ? c->out.len : 0;
    if (!text)
        kfree(c->out.buf);
    kfree(c->aux.buf);
    kfree(c->rule);
    jw_free(&c->lit);
    kfree(prop);
    kfree(c);
    return text;
}

char *json_schema_to_grammar(const struct json_node *schema, size_t *len, char *err,
                             size_t err_cap)
{
    return convert(schema, json_schema_shared, len, err, err_cap);
}

char *json_schema_rules(const struct json_node *schema, size_t *len, char *err,
                        size_t err_cap)
{
    return convert(schema, "", len, err, err_cap);
}
