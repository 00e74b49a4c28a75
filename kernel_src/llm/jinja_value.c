/* jinja_value.c: tangled from nbs/llm/26_jinja.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/26_jinja.ipynb § Memory, budget, errors ---- */

/* jinja_value.c: values: making, comparing and printing them, as Python does. */
#include "base/decimal.h"
#include "base/stdio.h"
#include "base/string.h"
#include "llm/jinja_impl.h"

void jinja_fail(struct jinja_run *r, enum jinja_result result, const char *fmt, ...)
{
    if (jinja_failed(r))
        return;                                  // the first error counts
    r->err->result = result;
    r->err->line = r->line;
    int n = snprintf(r->err->text, JINJA_ERROR_MAX, "line %u: ", (unsigned)r->line);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(r->err->text + n, (size_t)(JINJA_ERROR_MAX - n), fmt, ap);
    va_end(ap);
}

bool jinja_step(struct jinja_run *r, uint64_t n)
{
    if (jinja_failed(r))
        return false;
    if (n > JINJA_STEPS_MAX - r->steps) {
        jinja_fail(r, JINJA_TOO_BIG, "the template takes more than %u steps",
                   JINJA_STEPS_MAX);
        return false;
    }
    r->steps += (uint32_t)n;
    return true;
}

bool jinja_enter(struct jinja_run *r)
{
    if (++r->depth > JINJA_DEPTH_MAX)
        jinja_fail(r, JINJA_TOO_BIG, "more than %d levels inside each other",
                   JINJA_DEPTH_MAX);
    return jinja_step(r, 1);
}

void *jinja_alloc(struct jinja_run *r, size_t size)
{
    void *p = jinja_failed(r) ? NULL : arena_alloc(r->arena, size, sizeof(int64_t));
    if (!p) {
        jinja_fail(r, JINJA_NO_MEMORY, "the template needs too much memory");
        return NULL;
    }
    memset(p, 0, size);
    return p;
}

bool jinja_text_add(struct jinja_run *r, struct jinja_text *t, const char *s, size_t n)
{
    if (!jinja_step(r, n / 64))
        return false;
    if (n > JINJA_TEXT_MAX - t->len) {
        jinja_fail(r, JINJA_TOO_BIG, "a text of more than %u bytes", JINJA_TEXT_MAX);
        return false;
    }
    struct arena *a = r->arena;
    if (n > t->cap - t->len) {
        bool last = t->s && (uint8_t *)t->s + t->cap == a->base + a->used;
        size_t more = last ? n - (t->cap - t->len) : t->len + n + (t->len + n) / 2;
        char *p = arena_alloc(a, more, 1);
        if (!p) {
            jinja_fail(r, JINJA_NO_MEMORY, "the template needs too much memory");
            return false;
        }
        if (!last && t->len)
            memcpy(p, t->s, t->len);
        t->s = last ? t->s : p;
        t->cap = (uint32_t)(last ? t->cap + more : more);
    }
    if (n)
        memcpy(t->s + t->len, s, n);
    t->len += (uint32_t)n;
    return true;
}

bool jinja_text_fmt(struct jinja_run *r, struct jinja_text *t, const char *fmt, ...)
{
    char buf[64];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(buf, sizeof buf, fmt, ap);
    va_end(ap);
    return jinja_text_add(r, t, buf, (size_t)n < sizeof buf ? (size_t)n : sizeof buf - 1);
}

/* ---- nbs/llm/26_jinja.ipynb § Values ---- */

#define VALUE(...) ((struct jinja_value){ __VA_ARGS__ })

struct jinja_value jinja_string(const char *s, size_t len)
{
    return VALUE(.type = JINJA_STRING, .len = (uint32_t)len, .str = s);
}
struct jinja_value jinja_cstring(const char *s) { return jinja_string(s, strlen(s)); }
struct jinja_value jinja_integer(int64_t v) { return VALUE(.type = JINJA_INT, .i = v); }
struct jinja_value jinja_number(double v) { return VALUE(.type = JINJA_FLOAT, .num = v); }
struct jinja_value jinja_boolean(bool v)
{
    return VALUE(.type = JINJA_BOOL, .boolean = v);
}
struct jinja_value jinja_undefined(const char *name, size_t len)
{
    return VALUE(.type = JINJA_UNDEFINED, .len = (uint32_t)len, .str = name);
}
struct jinja_value jinja_text_value(const struct jinja_text *t)
{
    return jinja_string(t->s ? t->s : "", t->len);
}

struct jinja_value jinja_new_list(struct jinja_run *r, enum jinja_type type, size_t cap)
{
    struct jinja_list *l = jinja_alloc(r, sizeof *l);
    if (l && cap) {
        l->item = cap <= JINJA_STEPS_MAX ? jinja_alloc(r, cap * sizeof *l->item) : NULL;
        l->cap = l->item ? (uint32_t)cap : 0;
    }
    if (!l)
        return VALUE(.type = JINJA_UNDEFINED);
    return VALUE(.type = (uint8_t)type, .list = l);
}

/* Room for one more in an array of n; NULL: the arena is full. */
static void *more_room(struct jinja_run *r, void *p, uint32_t n, uint32_t *cap,
                       size_t size)
{
    if (n < *cap)
        return p;
    uint32_t want = n < 4 ? 4 : n * 2;
    void *q = want > JINJA_STEPS_MAX ? NULL : jinja_alloc(r, want * size);
    if (!q) {
        jinja_fail(r, JINJA_TOO_BIG, "a list of too many items");
        return NULL;
    }
    if (n)
        memcpy(q, p, n * size);
    *cap = want;
    return q;
}

bool jinja_append(struct jinja_run *r, struct jinja_value list, struct jinja_value v)
{
    if (list.type != JINJA_LIST && list.type != JINJA_TUPLE)
        return false;                            // an earlier failure
    struct jinja_list *l = list.list;
    void *p = more_room(r, l->item, l->n, &l->cap, sizeof *l->item);
    if (!p || !jinja_step(r, 1))
        return false;
    l->item = p;
    l->item[l->n++] = v;
    return true;
}

struct jinja_value jinja_new_dict(struct jinja_run *r, enum jinja_type type)
{
    struct jinja_dict *d = jinja_alloc(r, sizeof *d);
    if (!d)
        return VALUE(.type = JINJA_UNDEFINED);
    return VALUE(.type = (uint8_t)type, .dict = d);
}

struct jinja_value *jinja_get(struct jinja_run *r, const struct jinja_dict *d,
                              struct jinja_value key)
{
    if (!jinja_step(r, d->n / 16))
        return NULL;
    for (uint32_t i = 0; i < d->n; i++) {
        struct jinja_value *k = &d->key[i];
        bool quick = k->type == JINJA_STRING && key.type == JINJA_STRING;
        if (quick ? k->len == key.len && jinja_step(r, key.len / 64) &&
                    !memcmp(k->str, key.str, key.len)
                  : jinja_equal(r, *k, key))
            return &d->value[i];
    }
    return NULL;
}

/* May it be a key? If not, that is an error. */
bool jinja_hashable(struct jinja_run *r, struct jinja_value v)
{
    bool ok = v.type != JINJA_LIST && v.type != JINJA_DICT;
    if (v.type == JINJA_TUPLE)                   // no tuple of tuples as a key
        for (uint32_t i = 0; i < v.list->n && jinja_step(r, 1); i++)
            ok &= v.list->item[i].type < JINJA_LIST;
    if (!ok)
        jinja_fail(r, JINJA_BAD, "a %s cannot be a key", jinja_type_name(v));
    return ok;
}

bool jinja_put(struct jinja_run *r, struct jinja_value dict, struct jinja_value key,
               struct jinja_value v)
{
    if (dict.type != JINJA_DICT && dict.type != JINJA_NAMESPACE)
        return false;
    struct jinja_dict *d = dict.dict;
    struct jinja_value *old = jinja_hashable(r, key) ? jinja_get(r, d, key) : NULL;
    if (old) {
        *old = v;
        return true;
    }
    uint32_t cap = d->cap;
    void *p = more_room(r, d->key, d->n, &cap, sizeof *d->key),
         *q = more_room(r, d->value, d->n, &d->cap, sizeof *d->value);
    if (!p || !q || !jinja_step(r, 1))
        return false;
    d->key = p;
    d->value = q;
    d->key[d->n] = key;
    d->value[d->n++] = v;
    return true;
}

bool jinja_is(struct jinja_value v, const char *text)
{
    return v.type == JINJA_STRING && v.len == strlen(text) && !memcmp(v.str, text, v.len);
}

/* The builder has no run of its own: a failure is a flag. */
static bool jb_put(struct jinja_builder *b, struct jinja_value v)
{
    struct jinja_error err = { 0 };
    struct jinja_run r = { .arena = b->arena, .err = &err, .steps = b->steps };
    if (b->failed)
        return false;
    if (!b->depth) {
        b->root = v;
        return true;
    }
    struct jinja_value in = b->open[b->depth - 1];
    b->failed = in.type == JINJA_LIST ? !jinja_append(&r, in, v)
                                      : !jinja_put(&r, in, b->key, v);
    b->steps = r.steps;
    return !b->failed;
}

static void jb_open(struct jinja_builder *b, enum jinja_type type)
{
    struct jinja_error err = { 0 };
    struct jinja_run r = { .arena = b->arena, .err = &err, .steps = b->steps };
    struct jinja_value v = type == JINJA_LIST ? jinja_new_list(&r, type, 0)
                                              : jinja_new_dict(&r, type);
    if (err.result != JINJA_OK || b->depth == JINJA_DATA_DEPTH_MAX)
        b->failed = true;
    if (jb_put(b, v))
        b->open[b->depth++] = v;
}

void jb_init(struct jinja_builder *b, struct arena *a)
{
    memset(b, 0, sizeof *b);
    b->arena = a;
}
void jb_dict(struct jinja_builder *b) { jb_open(b, JINJA_DICT); }
void jb_list(struct jinja_builder *b) { jb_open(b, JINJA_LIST); }
void jb_end(struct jinja_builder *b)
{
    if (!b->failed && b->depth)
        b->depth--;
}
void jb_key(struct jinja_builder *b, const char *s, size_t len)
{
    b->key = jinja_string(s, len);
}
void jb_string(struct jinja_builder *b, const char *s, size_t len)
{
    jb_put(b, jinja_string(s, len));
}
void jb_int(struct jinja_builder *b, int64_t v) { jb_put(b, jinja_integer(v)); }
void jb_float(struct jinja_builder *b, double v) { jb_put(b, jinja_number(v)); }
void jb_bool(struct jinja_builder *b, bool v) { jb_put(b, jinja_boolean(v)); }
void jb_none(struct jinja_builder *b) { jb_put(b, VALUE(.type = JINJA_NONE)); }

/* ---- nbs/llm/26_jinja.ipynb § Characters ---- */

uint32_t jinja_char(const char *s, size_t len, uint32_t *code)
{
    const uint8_t *p = (const uint8_t *)s;
    uint8_t b = p[0];
    uint32_t n = b < 0xC2 || b > 0xF4 ? 1 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4;
    uint32_t c = n == 1 ? p[0] : p[0] & (0x7Fu >> n);
    for (uint32_t i = 1; i < n; i++) {
        if (i >= len || (p[i] & 0xC0) != 0x80) {
            n = 1, c = 0xFFFD;
            break;
        }
        c = c << 6 | (p[i] & 0x3F);
    }
    if (code)
        *code = n == 1 && c >= 0x80 ? 0xFFFD : c;
    return n;
}

bool jinja_is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xA0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

uint32_t jinja_count_chars(struct jinja_run *r, struct jinja_value s)
{
    uint32_t n = 0;
    jinja_step(r, s.len / 64);
    for (uint32_t at = 0; at < s.len; n++)
        at += jinja_char(s.str + at, s.len - at, NULL);
    return n;
}

/* Bytes compared are counted: 'aaaa' in 'aaab...' must not be free. */
int64_t jinja_find(struct jinja_run *r, struct jinja_value s, struct jinja_value what,
                   uint32_t from)
{
    for (size_t at = from, work = 0; at + what.len <= s.len; at++) {
        uint32_t n = 0;
        while (n < what.len && s.str[at + n] == what.str[n])
            n++;
        if (n == what.len)
            return jinja_step(r, (work + n) / 64) ? (int64_t)at : -1;
        work += n + 1;
        if (work >= 64 && !jinja_step(r, work / 64))
            return -1;
        work %= 64;
    }
    return -1;
}

/* What a loop goes over. A fresh list, except for a list or tuple itself. */
const struct jinja_list *jinja_items(struct jinja_run *r, struct jinja_value v)
{
    static const struct jinja_list none;
    if (v.type == JINJA_LIST || v.type == JINJA_TUPLE)
        return jinja_step(r, v.list->n / 4) ? v.list : &none;
    struct jinja_value out = jinja_new_list(r, JINJA_LIST, 0);
    if (v.type == JINJA_DICT) {
        for (uint32_t i = 0; i < v.dict->n && !jinja_failed(r); i++)
            jinja_append(r, out, v.dict->key[i]);
    } else if (v.type == JINJA_STRING) {
        for (uint32_t at = 0, n; at < v.len && !jinja_failed(r); at += n) {
            n = jinja_char(v.str + at, v.len - at, NULL);
            jinja_append(r, out, jinja_string(v.str + at, n));
        }
    } else if (v.type != JINJA_UNDEFINED) {
        jinja_fail(r, JINJA_BAD, "a %s cannot be looped over", jinja_type_name(v));
    }
    return jinja_failed(r) ? &none : out.list;
}

/* ---- nbs/llm/26_jinja.ipynb § Truth, equality, order ---- */

bool jinja_is_number(struct jinja_value v)
{
    return v.type == JINJA_BOOL || v.type == JINJA_INT || v.type == JINJA_FLOAT;
}

static int64_t whole(struct jinja_value v)
{
    return v.type == JINJA_BOOL ? v.boolean : v.i;
}

double jinja_double(struct jinja_value v)
{
    return v.type == JINJA_FLOAT ? v.num : (double)whole(v);
}

bool jinja_truth(struct jinja_value v)
{
    switch (v.type) {
    case JINJA_UNDEFINED: case JINJA_NONE: case JINJA_ABSENT: return false;
    case JINJA_BOOL: return v.boolean;
    case JINJA_INT: return v.i != 0;
    case JINJA_FLOAT: return v.num != 0;
    case JINJA_STRING: return v.len != 0;
    case JINJA_LIST: case JINJA_TUPLE: return v.list->n != 0;
    case JINJA_DICT: return v.dict->n != 0;
    default: return true;
    }
}

/* -1, 0, 1; 2 if one of them is not a number. */
static int compare_numbers(struct jinja_value a, struct jinja_value b)
{
    if (a.type != JINJA_FLOAT && b.type != JINJA_FLOAT)
        return whole(a) < whole(b) ? -1 : whole(a) > whole(b);
    double x = jinja_double(a), y = jinja_double(b);
    if (x != x || y != y)
        return 2;
    if (x != y || a.type == b.type || x >= 0x1p63 || x < -0x1p63)
        return x < y ? -1 : x > y;
    int64_t i = a.type == JINJA_FLOAT ? (int64_t)x : whole(a),
            j = b.type == JINJA_FLOAT ? (int64_t)y : whole(b);
    return i < j ? -1 : i > j;
}

static int compare_strings(struct jinja_value a, struct jinja_value b)
{
    int c = memcmp(a.str, b.str, a.len < b.len ? a.len : b.len);
    return c ? (c < 0 ? -1 : 1) : a.len < b.len ? -1 : a.len > b.len;
}

static bool equal_dicts(struct jinja_run *r, const struct jinja_dict *a,
                        const struct jinja_dict *b)
{
    bool same = a->n == b->n;
    for (uint32_t i = 0; same && i < a->n; i++) {
        const struct jinja_value *v = jinja_get(r, b, a->key[i]);
        same = v && jinja_equal(r, a->value[i], *v);
    }
    return same;
}

bool jinja_equal(struct jinja_run *r, struct jinja_value a, struct jinja_value b)
{
    if (jinja_is_number(a) && jinja_is_number(b))
        return compare_numbers(a, b) == 0;
    if (a.type != b.type)
        return false;
    bool same = a.ref == b.ref;
    if (!jinja_enter(r)) {
        same = false;
    } else if (a.type == JINJA_STRING) {
        same = a.len == b.len && jinja_step(r, a.len / 64) &&
               !memcmp(a.str, b.str, a.len);
    } else if (a.type == JINJA_LIST || a.type == JINJA_TUPLE) {
        same = a.list->n == b.list->n && jinja_step(r, a.list->n / 4);
        for (uint32_t i = 0; same && i < a.list->n; i++)
            same = jinja_equal(r, a.list->item[i], b.list->item[i]);
    } else if (a.type == JINJA_DICT) {
        same = equal_dicts(r, a.dict, b.dict);
    } else if (a.type == JINJA_UNDEFINED || a.type == JINJA_NONE) {
        same = true;
    }
    r->depth--;
    return same && !jinja_failed(r);
}

int jinja_compare(struct jinja_run *r, struct jinja_value a, struct jinja_value b)
{
    int c = 0;
    if (jinja_is_number(a) && jinja_is_number(b))
        return compare_numbers(a, b);
    if (!jinja_enter(r)) {
        c = 2;
    } else if (a.type == JINJA_STRING && b.type == JINJA_STRING) {
        c = jinja_step(r, a.len / 64) ? compare_strings(a, b) : 2;
    } else if (a.type == b.type && (a.type == JINJA_LIST || a.type == JINJA_TUPLE)) {
        uint32_t n = a.list->n < b.list->n ? a.list->n : b.list->n, i = 0;
        jinja_step(r, n / 4);
        while (i < n && jinja_equal(r, a.list->item[i], b.list->item[i]))
            i++;
        c = i < n ? jinja_compare(r, a.list->item[i], b.list->item[i])
                  : a.list->n < b.list->n ? -1 : a.list->n > b.list->n;
    } else if (a.type == JINJA_UNDEFINED || b.type == JINJA_UNDEFINED) {
        struct jinja_value u = a.type == JINJA_UNDEFINED ? a : b;
        jinja_fail(r, JINJA_BAD, "'%.*s' is undefined", (int)u.len, u.str ? u.str : "");
    } else {
        jinja_fail(r, JINJA_BAD, "a %s and a %s have no order", jinja_type_name(a),
                   jinja_type_name(b));
    }
    r->depth--;
    return c;
}

/* ---- nbs/llm/26_jinja.ipynb § Values as text ---- */

const char *jinja_type_name(struct jinja_value v)
{
    static const char *const name[] = {
        "undefined value", "None", "bool", "int", "float", "str", "list", "tuple", "dict",
        "namespace", "loop", "macro", "function", "method", "missing argument",
    };
    return name[v.type];
}

/* As Python's repr: 1.0, 1e+16, 1e-05, inf, nan. */
void jinja_add_float(struct jinja_run *r, struct jinja_text *t, double v)
{
    struct decimal d;
    if (v != v || v - v != 0) {
        jinja_text_fmt(r, t, "%s", v != v ? "nan" : v < 0 ? "-inf" : "inf");
        return;
    }
    if (__builtin_signbit(v))
        jinja_text_add(r, t, "-", 1);
    if (v == 0) {
        jinja_text_add(r, t, "0.0", 3);
        return;
    }
    decimal_shortest(&d, __builtin_fabs(v));
    int p = d.point - 1;                         // d.ddd * 10^p
    if (p < -4 || p >= 16) {
        jinja_text_add(r, t, d.digit, 1);
        if (d.n > 1)
            jinja_text_add(r, t, ".", 1);
        jinja_text_add(r, t, d.digit + 1, (size_t)(d.n - 1));
        jinja_text_fmt(r, t, "e%c%02d", p < 0 ? '-' : '+', p < 0 ? -p : p);
        return;
    }
    if (p < 0)
        jinja_text_add(r, t, "0.000", (size_t)(1 - p));
    for (int i = 0; i < d.n || i <= p + 1; i++) {
        if (i == p + 1 && p >= 0)
            jinja_text_add(r, t, ".", 1);
        jinja_text_add(r, t, i < d.n ? &d.digit[i] : "0", i < d.n || p >= 0);
    }
}

static void add_quoted(struct jinja_run *r, struct jinja_text *t, struct jinja_value v)
{
    bool single = memchr(v.str, '\'', v.len), twice = memchr(v.str, '"', v.len);
    char q = single && !twice ? '"' : '\'';
    uint32_t c, n;
    jinja_step(r, v.len / 64);
    jinja_text_add(r, t, &q, 1);
    for (uint32_t at = 0; at < v.len && !jinja_failed(r); at += n) {
        n = jinja_char(v.str + at, v.len - at, &c);
        const char *short_form = c == '\n' ? "\\n" : c == '\r' ? "\\r" :
                                 c == '\t' ? "\\t" : c == '\\' ? "\\\\" : NULL;
        if (short_form)
            jinja_text_add(r, t, short_form, 2);
        else if (c == (uint32_t)q)
            jinja_text_fmt(r, t, "\\%c", q);
        else if (c < 32 || (c >= 127 && c <= 0xA0) || c == 0xAD)
            jinja_text_fmt(r, t, "\\x%02x", (unsigned)c);
        else if (c > 0x7F && jinja_is_space(c))
            jinja_text_fmt(r, t, "\\u%04x", (unsigned)c);
        else
            jinja_text_add(r, t, v.str + at, n);
    }
    jinja_text_add(r, t, &q, 1);
}

static void add_items(struct jinja_run *r, struct jinja_text *t, struct jinja_value v)
{
    bool tuple = v.type == JINJA_TUPLE;
    const struct jinja_list *l = v.list;
    jinja_text_add(r, t, tuple ? "(" : "[", 1);
    for (uint32_t i = 0; i < l->n && !jinja_failed(r); i++) {
        jinja_text_add(r, t, ", ", i ? 2 : 0);
        jinja_add_repr(r, t, l->item[i]);
    }
    jinja_text_add(r, t, tuple && l->n == 1 ? ",)" : tuple ? ")" : "]",
                   tuple && l->n == 1 ? 2 : 1);
}

static void add_entries(struct jinja_run *r, struct jinja_text *t, struct jinja_value v)
{
    jinja_text_add(r, t, "{", 1);
    for (uint32_t i = 0; i < v.dict->n && !jinja_failed(r); i++) {
        jinja_text_add(r, t, ", ", i ? 2 : 0);
        jinja_add_repr(r, t, v.dict->key[i]);
        jinja_text_add(r, t, ": ", 2);
        jinja_add_repr(r, t, v.dict->value[i]);
    }
    jinja_text_add(r, t, "}", 1);
}

void jinja_add_repr(struct jinja_run *r, struct jinja_text *t, struct jinja_value v)
{
    if (!jinja_enter(r))
        ;
    else if (v.type == JINJA_STRING)
        add_quoted(r, t, v);
    else if (v.type == JINJA_LIST || v.type == JINJA_TUPLE)
        add_items(r, t, v);
    else if (v.type == JINJA_DICT)
        add_entries(r, t, v);
    else if (v.type == JINJA_UNDEFINED)
        jinja_text_add(r, t, "Undefined", 9);
    else
        jinja_add_str(r, t, v);
    r->depth--;
}

void jinja_add_str(struct jinja_run *r, struct jinja_text *t, struct jinja_value v)
{
    switch (v.type) {
    case JINJA_UNDEFINED: break;
    case JINJA_NONE: jinja_text_add(r, t, "None", 4); break;
    case JINJA_BOOL: jinja_text_fmt(r, t, "%s", v.boolean ? "True" : "False"); break;
    case JINJA_INT: jinja_text_fmt(r, t, "%lld", (long long)v.i); break;
    case JINJA_FLOAT: jinja_add_float(r, t, v.num); break;
    case JINJA_STRING: jinja_text_add(r, t, v.str, v.len); break;
    case JINJA_LIST: case JINJA_TUPLE: case JINJA_DICT: jinja_add_repr(r, t, v); break;
    default: jinja_text_fmt(r, t, "<%s>", jinja_type_name(v));
    }
}

struct jinja_value jinja_str(struct jinja_run *r, struct jinja_value v)
{
    struct jinja_text t = { 0 };
    if (v.type == JINJA_STRING)
        return v;
    jinja_add_str(r, &t, v);
    return jinja_text_value(&t);
}
