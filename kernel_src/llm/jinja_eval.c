/* jinja_eval.c: tangled from nbs/llm/26_jinja.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/26_jinja.ipynb § Names ---- */

/* jinja_eval.c: runs the nodes. Recursion is counted by jinja_enter. */
#include "base/fmath.h"
#include "base/stdio.h"
#include "base/string.h"
#include "llm/jinja_impl.h"

struct jinja_var { struct jinja_value name, value; struct jinja_var *next; };
struct jinja_scope { struct jinja_var *first; struct jinja_scope *parent; };

struct loop {
    const struct jinja_list *items;
    uint32_t at;
};
struct macro {
    const struct jinja_node *params, *body;
    struct jinja_value name;
    struct jinja_scope *scope;               // where it was defined
};

struct jinja_value jinja_eval(struct jinja_run *r, const struct jinja_node *n);
enum jinja_flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE };
enum jinja_flow jinja_run_body(struct jinja_run *r, const struct jinja_node *n);

static const struct jinja_value UNDEFINED = { .type = JINJA_UNDEFINED };

static bool same_name(struct jinja_value a, struct jinja_value b)
{
    return a.len == b.len && !memcmp(a.str, b.str, a.len);
}

static void scope_open(struct jinja_run *r)
{
    struct jinja_scope *s = jinja_alloc(r, sizeof *s);
    if (s) {
        s->parent = r->scope;
        r->scope = s;
    }
}

static void scope_set(struct jinja_run *r, struct jinja_value name, struct jinja_value v)
{
    size_t cost = 1 + name.len / 64;
    for (struct jinja_var *x = r->scope->first; x && jinja_step(r, cost); x = x->next)
        if (same_name(x->name, name)) {
            x->value = v;
            return;
        }
    struct jinja_var *x = jinja_alloc(r, sizeof *x);
    if (x) {
        *x = (struct jinja_var){ name, v, r->scope->first };
        r->scope->first = x;
    }
}

static struct jinja_value scope_get(struct jinja_run *r, struct jinja_value name)
{
    size_t cost = 1 + name.len / 64;
    for (struct jinja_scope *s = r->scope; s; s = s->parent)
        for (struct jinja_var *x = s->first; x && jinja_step(r, cost); x = x->next)
            if (same_name(x->name, name))
                return x->value;
    const struct jinja_value *v = r->context ? jinja_get(r, r->context, name) : NULL;
    const struct jinja_builtin *f = jinja_find_function(name);
    if (v)
        return *v;
    if (f)
        return (struct jinja_value){ .type = JINJA_FUNCTION, .ref = f };
    return jinja_undefined(name.str, name.len);
}

static struct jinja_value undefined_error(struct jinja_run *r, struct jinja_value v)
{
    jinja_fail(r, JINJA_BAD, "'%.*s' is undefined", (int)(v.len < 60 ? v.len : 60),
               v.str ? v.str : "");
    return UNDEFINED;
}

/* ---- nbs/llm/26_jinja.ipynb § Attributes and items ---- */

static struct jinja_value loop_attr(struct jinja_run *r, struct jinja_value obj,
                                    struct jinja_value name)
{
    const struct loop *l = obj.ref;
    uint32_t n = l->items->n;
    const struct { const char *name; struct jinja_value v; } field[] = {
        { "index", jinja_integer(l->at + 1) },
        { "index0", jinja_integer(l->at) },
        { "revindex", jinja_integer((int64_t)n - l->at) },
        { "revindex0", jinja_integer((int64_t)n - l->at - 1) },
        { "first", jinja_boolean(l->at == 0) },
        { "last", jinja_boolean(l->at + 1 == n) },
        { "length", jinja_integer(n) },
        { "depth", jinja_integer(1) },      // of recursion, which we do not have
        { "depth0", jinja_integer(0) },
        { "previtem", l->at ? l->items->item[l->at - 1]
                            : jinja_undefined("previtem", 8) },
        { "nextitem", l->at + 1 < n ? l->items->item[l->at + 1]
                                    : jinja_undefined("nextitem", 8) },
    };
    for (size_t i = 0; i < sizeof field / sizeof *field; i++)
        if (jinja_is(name, field[i].name))
            return field[i].v;
    jinja_step(r, 1);
    return jinja_undefined(name.str, name.len);
}

static bool method_of(struct jinja_run *r, struct jinja_value obj,
                      struct jinja_value name, struct jinja_value *out)
{
    const struct jinja_builtin *f = jinja_find_method(obj, name);
    struct jinja_method *m = f ? jinja_alloc(r, sizeof *m) : NULL;
    if (!m)
        return false;
    *m = (struct jinja_method){ f, obj };
    *out = (struct jinja_value){ .type = JINJA_METHOD, .ref = m };
    return true;
}

struct jinja_value jinja_attr(struct jinja_run *r, struct jinja_value obj,
                              struct jinja_value name)
{
    struct jinja_value out;
    if (obj.type == JINJA_UNDEFINED)
        return undefined_error(r, obj);
    if (obj.type == JINJA_LOOP && !jinja_is(name, "cycle"))
        return loop_attr(r, obj, name);
    if (method_of(r, obj, name, &out))
        return out;
    if (obj.type == JINJA_DICT || obj.type == JINJA_NAMESPACE) {
        const struct jinja_value *v = jinja_get(r, obj.dict, name);
        if (v)
            return *v;
    }
    return jinja_undefined(name.str, name.len);
}

/* The character at index i of a string, as a string. */
static struct jinja_value char_at(struct jinja_run *r, struct jinja_value s, int64_t i)
{
    uint32_t n = jinja_count_chars(r, s), at = 0;
    i += i < 0 ? n : 0;
    if (i < 0 || i >= n)
        return jinja_undefined("index", 5);
    while (i--)
        at += jinja_char(s.str + at, s.len - at, NULL);
    return jinja_string(s.str + at, jinja_char(s.str + at, s.len - at, NULL));
}

struct jinja_value jinja_item(struct jinja_run *r, struct jinja_value obj,
                              struct jinja_value key)
{
    bool index = key.type == JINJA_INT || key.type == JINJA_BOOL;
    int64_t i = key.type == JINJA_BOOL ? key.boolean : key.i;
    if (obj.type == JINJA_UNDEFINED)
        return undefined_error(r, obj);
    if (obj.type == JINJA_DICT) {
        const struct jinja_value *v = jinja_get(r, obj.dict, key);
        if (v)
            return *v;
    }
    if (index && obj.type == JINJA_STRING)
        return char_at(r, obj, i);
    if (index && (obj.type == JINJA_LIST || obj.type == JINJA_TUPLE)) {
        i += i < 0 ? obj.list->n : 0;
        return i >= 0 && i < obj.list->n ? obj.list->item[i]
                                         : jinja_undefined("index", 5);
    }
    if (key.type == JINJA_STRING)
        return jinja_attr(r, obj, key);
    return jinja_undefined("item", 4);
}

/* Python's rule for the bounds of a slice: counted from the end if negative, clamped. */
static bool slice_bound(struct jinja_run *r, const struct jinja_node *n, int64_t len,
                        int64_t step, int64_t missing, int64_t *out)
{
    struct jinja_value v = n ? jinja_eval(r, n) : UNDEFINED;
    *out = missing;
    if (!n || v.type == JINJA_NONE)
        return true;
    if (v.type != JINJA_INT && v.type != JINJA_BOOL)
        return false;
    int64_t i = v.type == JINJA_BOOL ? v.boolean : v.i;
    i = i < 0 ? (i < -len ? -1 : i + len) : i;
    i = i < 0 ? (step < 0 ? -1 : 0) : i;
    *out = i >= len ? (step < 0 ? len - 1 : len) : i;
    return true;
}

static struct jinja_value slice_string(struct jinja_run *r, struct jinja_value s,
                                       int64_t from, int64_t n, int64_t step)
{
    struct jinja_text t = { 0 };
    if (n > 0 && step == 1) {                // no copy
        uint32_t at = 0, end;
        while (from--)
            at += jinja_char(s.str + at, s.len - at, NULL);
        for (end = at; n; n--)
            end += jinja_char(s.str + end, s.len - end, NULL);
        return jinja_string(s.str + at, end - at);
    }
    const struct jinja_list *l = n > 0 ? jinja_items(r, s) : NULL;
    for (; n > 0 && !jinja_failed(r); n--, from += n ? step : 0)
        jinja_text_add(r, &t, l->item[from].str, l->item[from].len);
    return jinja_text_value(&t);
}

/* Unlike an index that does not fit, which gives undefined, this is an error. */
static struct jinja_value not_sliced(struct jinja_run *r, struct jinja_value obj)
{
    jinja_fail(r, JINJA_BAD, "a slice that does not fit %s", jinja_type_name(obj));
    return UNDEFINED;
}

static struct jinja_value eval_slice(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_value obj = jinja_eval(r, n->a);
    struct jinja_value step = n->d ? jinja_eval(r, n->d) : UNDEFINED;
    int64_t len, from, to, by = 1;
    if (obj.type == JINJA_UNDEFINED)
        return undefined_error(r, obj);
    bool whole = step.type == JINJA_BOOL || step.type == JINJA_INT;
    if ((n->d && step.type != JINJA_NONE && !whole) ||
        (obj.type != JINJA_STRING && obj.type != JINJA_LIST && obj.type != JINJA_TUPLE))
        return not_sliced(r, obj);
    if (whole)
        by = step.type == JINJA_BOOL ? step.boolean : step.i;
    if (by == 0)
        jinja_fail(r, JINJA_BAD, "a slice with step 0");
    if (jinja_failed(r))
        return UNDEFINED;
    len = obj.type == JINJA_STRING ? jinja_count_chars(r, obj) : obj.list->n;
    if (!slice_bound(r, n->b, len, by, by < 0 ? len - 1 : 0, &from) ||
        !slice_bound(r, n->c, len, by, by < 0 ? -1 : len, &to))
        return not_sliced(r, obj);
    by = by > len ? len + 1 : by < -len ? -len - 1 : by;
    int64_t count = by > 0 ? (to - from + by - 1) / by : (from - to - by - 1) / -by;
    if (obj.type == JINJA_STRING)
        return slice_string(r, obj, from, count, by);
    struct jinja_value out = jinja_new_list(r, obj.type, count > 0 ? (size_t)count : 0);
    for (; count > 0 && !jinja_failed(r); count--, from += count ? by : 0)
        jinja_append(r, out, obj.list->item[from]);
    return out;
}

/* ---- nbs/llm/26_jinja.ipynb § Operators ---- */

static struct jinja_value type_error(struct jinja_run *r, uint16_t op,
                                     struct jinja_value a, struct jinja_value b)
{
    char name[3] = { (char)op, (char)(op >> 8), 0 };
    if (a.type == JINJA_UNDEFINED || b.type == JINJA_UNDEFINED)
        return undefined_error(r, a.type == JINJA_UNDEFINED ? a : b);
    jinja_fail(r, JINJA_BAD, "%s does not work between a %s and a %s", name,
               jinja_type_name(a), jinja_type_name(b));
    return UNDEFINED;
}

static struct jinja_value concat(struct jinja_run *r, struct jinja_value a,
                                 struct jinja_value b)
{
    bool markup = a.markup || b.markup;
    if (markup && !a.markup)
        a = jinja_escape(r, a);
    if (markup && !b.markup)
        b = jinja_escape(r, b);
    struct jinja_text t = { (char *)(uintptr_t)a.str, a.len, a.len };
    bool grows = (uint8_t *)t.s + a.len == r->arena->base + r->arena->used;
    if (!grows) {                            // a may be part of something else: copy
        t = (struct jinja_text){ 0 };
        jinja_text_add(r, &t, a.str, a.len);
    }
    jinja_text_add(r, &t, b.str, b.len);
    struct jinja_value v = jinja_text_value(&t);
    v.markup = markup;
    return v;
}

static struct jinja_value join_text(struct jinja_run *r, struct jinja_value a,
                                    struct jinja_value b)
{
    a = jinja_str(r, a), b = jinja_str(r, b);
    a.markup = b.markup = false;
    return concat(r, a, b);
}

static struct jinja_value join_lists(struct jinja_run *r, struct jinja_value a,
                                     struct jinja_value b)
{
    struct jinja_value out = jinja_new_list(r, a.type, a.list->n + b.list->n);
    for (uint32_t i = 0; i < a.list->n && !jinja_failed(r); i++)
        jinja_append(r, out, a.list->item[i]);
    for (uint32_t i = 0; i < b.list->n && !jinja_failed(r); i++)
        jinja_append(r, out, b.list->item[i]);
    return out;
}

static struct jinja_value repeat(struct jinja_run *r, struct jinja_value v, int64_t n)
{
    struct jinja_text t = { 0 };
    if (v.type == JINJA_STRING) {
        for (; n > 0 && v.len && jinja_step(r, 1); n--)
            jinja_text_add(r, &t, v.str, v.len);
        return jinja_text_value(&t);
    }
    struct jinja_value out = jinja_new_list(r, v.type, 0);
    for (; n > 0 && v.list->n && !jinja_failed(r); n--)
        for (uint32_t i = 0; i < v.list->n && !jinja_failed(r); i++)
            jinja_append(r, out, v.list->item[i]);
    return out;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static struct jinja_value int_power(struct jinja_run *r, int64_t a, int64_t n)
{
    int64_t v = 1;
    bool big = false;
    for (; n > 0 && !big && jinja_step(r, 1); n /= 2) {
        if (n & 1)
            big = __builtin_mul_overflow(v, a, &v);
        if (n > 1)
            big |= __builtin_mul_overflow(a, a, &a);
    }
    if (big)
        jinja_fail(r, JINJA_BAD, "an integer of more than 64 bits");
    return jinja_integer(v);
}

static struct jinja_value int_math(struct jinja_run *r, uint16_t op, int64_t a, int64_t b)
{
    int64_t v = 0;
    bool big = false;
    if ((op == OPERATOR('/', '/') || op == '%') && b == -1) {
        big = op != '%' && __builtin_sub_overflow(0, a, &v);
    } else if (op == OPERATOR('/', '/') || op == '%') {
        if (b == 0) {
            jinja_fail(r, JINJA_BAD, "division by zero");
            return UNDEFINED;
        }
        v = op == '%' ? a - floor_div(a, b) * b : floor_div(a, b);
    } else {
        big = op == '+' ? __builtin_add_overflow(a, b, &v)
            : op == '-' ? __builtin_sub_overflow(a, b, &v)
                        : __builtin_mul_overflow(a, b, &v);
    }
    if (big)
        jinja_fail(r, JINJA_BAD, "an integer of more than 64 bits");
    return jinja_integer(v);
}

/* x - n * y for the n that leaves the rest smaller than y; both positive. Exact. */
static double rest(double x, double y)
{
    double t = y;
    while (t <= x / 2)
        t *= 2;
    for (; t >= y; t /= 2)
        x -= x >= t ? t : 0;
    return x;
}

static struct jinja_value float_math(struct jinja_run *r, uint16_t op, double a, double b)
{
    if (op == '+' || op == '-' || op == '*')
        return jinja_number(op == '+' ? a + b : op == '-' ? a - b : a * b);
    if (op == OPERATOR('*', '*')) {
        if ((a == 0 && b < 0) || (a < 0 && b != floor(b)))
            jinja_fail(r, JINJA_BAD, "this power is not a real number");
        return jinja_number(pow(a, b));
    }
    if (b == 0) {
        jinja_fail(r, JINJA_BAD, "division by zero");
        return UNDEFINED;
    }
    if (op == '/')
        return jinja_number(a / b);
    if (a - a != 0 || b != b) {
        return jinja_number(NAN);
    }
    double m = b - b != 0 ? fabs(a) : rest(fabs(a), fabs(b));
    m = a < 0 ? -m : m;
    double whole = (a - m) / b;
    if (m != 0 && (m < 0) != (b < 0)) {
        m += b;
        whole -= 1;
    }
    if (op == '%')
        return jinja_number(m != 0 ? m : __builtin_copysign(0.0, b));
    double down = floor(whole);
    down += whole - down > 0.5 ? 1 : 0;
    return jinja_number(whole != 0 ? down : __builtin_copysign(0.0, a / b));
}

struct jinja_value jinja_binary(struct jinja_run *r, uint16_t op, struct jinja_value a,
                                struct jinja_value b)
{
    bool list = a.type == JINJA_LIST || a.type == JINJA_TUPLE;
    if (op == '~')
        return join_text(r, a, b);
    if (jinja_is_number(a) && jinja_is_number(b)) {
        bool real = a.type == JINJA_FLOAT || b.type == JINJA_FLOAT || op == '/';
        int64_t x = a.type == JINJA_BOOL ? a.boolean : a.i,
                y = b.type == JINJA_BOOL ? b.boolean : b.i;
        if (op == OPERATOR('*', '*') && !real && y >= 0)
            return int_power(r, x, y);
        if (real || op == OPERATOR('*', '*'))
            return float_math(r, op, jinja_double(a), jinja_double(b));
        return int_math(r, op, x, y);
    }
    if (op == '+' && a.type == JINJA_STRING && b.type == JINJA_STRING)
        return concat(r, a, b);
    if (op == '+' && list && a.type == b.type)
        return join_lists(r, a, b);
    if (op == '%' && a.type == JINJA_STRING)
        return jinja_format(r, a, b);
    if (op == '*' && (b.type == JINJA_INT || b.type == JINJA_BOOL) &&
        (list || a.type == JINJA_STRING))
        return repeat(r, a, b.type == JINJA_INT ? b.i : b.boolean);
    if (op == '*' && (a.type == JINJA_INT || a.type == JINJA_BOOL) &&
        (b.type == JINJA_STRING || b.type == JINJA_LIST || b.type == JINJA_TUPLE))
        return repeat(r, b, a.type == JINJA_INT ? a.i : a.boolean);
    return type_error(r, op, a, b);
}

/* ---- nbs/llm/26_jinja.ipynb § Chains ---- */

static bool contains(struct jinja_run *r, struct jinja_value in, struct jinja_value x)
{
    if (in.type == JINJA_STRING) {
        if (x.type != JINJA_STRING)
            type_error(r, OPERATOR_IN, x, in);
        else
            return jinja_find(r, in, x, 0) >= 0;
        return false;
    }
    if (in.type == JINJA_DICT)
        return jinja_hashable(r, x) && jinja_get(r, in.dict, x);
    if (in.type != JINJA_LIST && in.type != JINJA_TUPLE) {
        if (in.type != JINJA_UNDEFINED)
            type_error(r, OPERATOR_IN, x, in);
        return false;
    }
    jinja_step(r, in.list->n / 4);
    for (uint32_t i = 0; i < in.list->n && !jinja_failed(r); i++)
        if (jinja_equal(r, in.list->item[i], x))
            return true;
    return false;
}

static bool holds(struct jinja_run *r, uint16_t op, struct jinja_value a,
                  struct jinja_value b)
{
    if (op == OPERATOR_IN || op == OPERATOR_NOT_IN)
        return contains(r, b, a) == (op == OPERATOR_IN);
    if (op == OPERATOR('=', '=') || op == OPERATOR('!', '='))
        return jinja_equal(r, a, b) == (op == OPERATOR('=', '='));
    int c = jinja_compare(r, a, b);
    switch (op) {
    case '<': return c < 0;
    case '>': return c == 1;                 // 2: a nan
    case OPERATOR('<', '='): return c <= 0;
    default: return c == 0 || c == 1;
    }
}

static struct jinja_value eval_chain(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_value left = jinja_eval(r, n->a), right;
    for (const struct jinja_node *o = n->b; o && !jinja_failed(r); o = o->next) {
        if (n->level <= LEVEL_AND && jinja_truth(left) == (n->level == LEVEL_OR))
            return left;
        right = jinja_eval(r, o->a);
        r->line = o->line;
        if (n->level == LEVEL_COMPARE) {
            if (!holds(r, o->operator, left, right))
                return jinja_boolean(false);
            left = right;
        } else {
            left = n->level <= LEVEL_AND ? right
                                         : jinja_binary(r, o->operator, left, right);
        }
    }
    return n->level == LEVEL_COMPARE ? jinja_boolean(true) : left;
}

/* ---- nbs/llm/26_jinja.ipynb § Calls ---- */

/* Which of the space-separated params is called `name`; -1: none. Or how many, name NULL.
 */
static int param_index(const char *params, const struct jinja_value *name)
{
    int i = 0;
    for (const char *s = params; *s; i++) {
        uint32_t n = 0;
        while (s[n] && s[n] != ' ' && s[n] != '?')
            n++;
        if (name && name->len == n && !memcmp(name->str, s, n))
            return i;
        s += n;
        while (*s == ' ' || *s == '?')
            s++;
    }
    return name ? -1 : i;
}

static bool param_required(const char *params, int i)
{
    for (; i > 0; i--)
        params = strchr(params, ' ') + 1;
    const char *end = strchr(params, ' ');
    return !memchr(params, '?', end ? (size_t)(end - params) : strlen(params));
}

struct jinja_value jinja_call_builtin(struct jinja_run *r, const struct jinja_builtin *f,
                                      struct jinja_value self, struct jinja_args *args)
{
    bool raw = f->params[0] == '*';
    int n = raw ? 1 : param_index(f->params, NULL);
    struct jinja_value *arg = jinja_alloc(r, sizeof *arg * JINJA_PARAMS_MAX);
    if (!arg)
        return UNDEFINED;
    for (int i = 0; i < JINJA_PARAMS_MAX; i++)
        arg[i].type = JINJA_ABSENT;
    if (raw)
        arg[0] = (struct jinja_value){ .type = JINJA_METHOD, .ref = args };
    if (!raw && args->n > (uint32_t)n)
        jinja_fail(r, JINJA_BAD, "%s takes %d argument%s, not %u", f->name, n,
                   n == 1 ? "" : "s", (unsigned)args->n);
    for (uint32_t i = 0; !raw && !jinja_failed(r) && i < args->n + args->n_named; i++) {
        int to = i < args->n ? (int)i : param_index(f->params, &args->name[i - args->n]);
        if (to < 0 || arg[to].type != JINJA_ABSENT)
            jinja_fail(r, JINJA_BAD, "%s has no use for '%.*s'", f->name,
                       (int)args->name[i - args->n].len, args->name[i - args->n].str);
        else
            arg[to] = args->value[i];
    }
    for (int i = 0; !raw && i < n && !jinja_failed(r); i++)
        if (arg[i].type == JINJA_ABSENT && param_required(f->params, i))
            jinja_fail(r, JINJA_BAD, "%s needs more arguments: %s", f->name, f->params);
    return jinja_failed(r) ? UNDEFINED : f->fn(r, self, arg);
}

static void eval_args(struct jinja_run *r, const struct jinja_node *list,
                      struct jinja_args *args)
{
    uint32_t n = 0;
    *args = (struct jinja_args){ 0 };
    for (const struct jinja_node *a = list; a; a = a->next)
        n++;
    args->value = jinja_alloc(r, n * sizeof *args->value);
    args->name = jinja_alloc(r, n * sizeof *args->name);
    for (const struct jinja_node *a = list; a && !jinja_failed(r); a = a->next) {
        struct jinja_value v = jinja_eval(r, a->a);
        args->value[args->n + args->n_named] = v;
        if (a->value.type == JINJA_STRING)
            args->name[args->n_named++] = a->value;
        else
            args->n++;
    }
}

static struct jinja_value capture(struct jinja_run *r, const struct jinja_node *body)
{
    struct jinja_text t = { 0 }, *out = r->out;
    struct jinja_scope *scope = r->scope;
    r->out = &t;
    scope_open(r);
    if (!jinja_failed(r))
        jinja_run_body(r, body);
    r->scope = scope;
    r->out = out;
    return jinja_text_value(&t);
}

/* The value of parameter p, number i, or NULL if the call does not give one. */
static const struct jinja_value *given(struct jinja_run *r, const struct jinja_args *a,
                                       uint32_t i, struct jinja_value name)
{
    if (i < a->n)
        return &a->value[i];
    for (uint32_t k = 0; k < a->n_named && jinja_step(r, 1 + name.len / 64); k++)
        if (same_name(a->name[k], name))
            return &a->value[a->n + k];
    return NULL;
}

static bool bind_params(struct jinja_run *r, const struct macro *m, struct jinja_args *a)
{
    uint32_t i = 0, used = 0;
    const struct jinja_node *p = m->params;
    for (; p && !jinja_failed(r); p = p->next, i++) {
        const struct jinja_value *v = given(r, a, i, p->value);
        struct jinja_value none = jinja_undefined(p->value.str, p->value.len);
        used += v != NULL;
        scope_set(r, p->value, v ? *v : p->a ? jinja_eval(r, p->a) : none);
    }
    bool caller = false;                     // 'caller' need not be declared
    for (uint32_t k = 0; k < a->n_named && !jinja_failed(r); k++)
        if (jinja_is(a->name[k], "caller") && used < a->n + a->n_named) {
            scope_set(r, a->name[k], a->value[a->n + k]);
            caller = true;
        }
    if (used + caller != a->n + a->n_named)
        jinja_fail(r, JINJA_BAD, "macro '%.*s' cannot take all its arguments",
                   (int)m->name.len, m->name.str);
    return !jinja_failed(r);
}

static struct jinja_value call_macro(struct jinja_run *r, const struct macro *m,
                                     struct jinja_args *args)
{
    struct jinja_scope *scope = r->scope;
    struct jinja_value out = UNDEFINED;
    r->scope = m->scope;
    scope_open(r);
    if (!jinja_failed(r) && bind_params(r, m, args))
        out = capture(r, m->body);
    r->scope = scope;
    return out;
}

static struct jinja_value call(struct jinja_run *r, struct jinja_value f,
                               struct jinja_args *args)
{
    if (f.type == JINJA_MACRO)
        return call_macro(r, f.ref, args);
    if (f.type == JINJA_FUNCTION)
        return jinja_call_builtin(r, f.ref, UNDEFINED, args);
    if (f.type == JINJA_METHOD) {
        const struct jinja_method *m = f.ref;
        return jinja_call_builtin(r, m->fn, m->self, args);
    }
    if (f.type == JINJA_UNDEFINED)
        return undefined_error(r, f);
    jinja_fail(r, JINJA_BAD, "a %s cannot be called", jinja_type_name(f));
    return UNDEFINED;
}

/* ---- nbs/llm/26_jinja.ipynb § Expressions ---- */

static struct jinja_value eval_call(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_args args;
    struct jinja_value f = jinja_eval(r, n->a);
    eval_args(r, n->b, &args);
    r->line = n->line;
    return jinja_failed(r) ? UNDEFINED : call(r, f, &args);
}

static struct jinja_value eval_filter(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_args args;
    bool test = n->op == OP_TEST;
    const struct jinja_builtin *f = test ? jinja_find_test(n->value)
                                         : jinja_find_filter(n->value);
    struct jinja_value self = jinja_eval(r, n->a);
    if (!f)
        jinja_fail(r, JINJA_BAD, "no %s named '%.*s'", test ? "test" : "filter",
                   (int)(n->value.len < 60 ? n->value.len : 60), n->value.str);
    eval_args(r, n->b, &args);
    r->line = n->line;
    return jinja_failed(r) ? UNDEFINED : jinja_call_builtin(r, f, self, &args);
}

static struct jinja_value eval_items(struct jinja_run *r, const struct jinja_node *n)
{
    bool dict = n->op == OP_DICT;
    struct jinja_value out = dict ? jinja_new_dict(r, JINJA_DICT)
        : jinja_new_list(r, n->op == OP_LIST ? JINJA_LIST : JINJA_TUPLE, 0);
    for (const struct jinja_node *e = n->a; e && !jinja_failed(r); e = e->next) {
        struct jinja_value v = jinja_eval(r, e);
        if (dict) {
            e = e->next;
            jinja_put(r, out, v, jinja_eval(r, e));
        } else {
            jinja_append(r, out, v);
        }
    }
    return out;
}

static struct jinja_value eval_sign(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_value v = jinja_eval(r, n->a);
    if (v.type == JINJA_UNDEFINED)
        return undefined_error(r, v);
    if (!jinja_is_number(v))
        return type_error(r, n->op == OP_NEG ? '-' : '+', jinja_integer(0), v);
    if (v.type == JINJA_FLOAT)
        return jinja_number(n->op == OP_NEG ? -v.num : v.num);
    int64_t i = v.type == JINJA_BOOL ? v.boolean : v.i;
    return n->op == OP_NEG ? int_math(r, '-', 0, i) : jinja_integer(i);
}

static struct jinja_value eval_inner(struct jinja_run *r, const struct jinja_node *n)
{
    switch (n->op) {
    case OP_CONST: return n->value;
    case OP_NAME: return scope_get(r, n->value);
    case OP_LIST: case OP_TUPLE: case OP_DICT: return eval_items(r, n);
    case OP_ATTR: return jinja_attr(r, jinja_eval(r, n->a), n->value);
    case OP_ITEM: {
        struct jinja_value obj = jinja_eval(r, n->a);
        return jinja_item(r, obj, jinja_eval(r, n->b));
    }
    case OP_SLICE: return eval_slice(r, n);
    case OP_CALL: return eval_call(r, n);
    case OP_FILTER: case OP_TEST: return eval_filter(r, n);
    case OP_NOT: return jinja_boolean(!jinja_truth(jinja_eval(r, n->a)));
    case OP_NEG: case OP_POS: return eval_sign(r, n);
    case OP_CHAIN: return eval_chain(r, n);
    case OP_COND:
        if (jinja_truth(jinja_eval(r, n->b)))
            return jinja_eval(r, n->a);
        return n->c ? jinja_eval(r, n->c) : jinja_undefined("if without else", 15);
    case OP_HOLE: return r->hole;
    }
    return UNDEFINED;
}

struct jinja_value jinja_eval(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_value v = UNDEFINED;
    r->line = n->line;
    if (jinja_enter(r))
        v = eval_inner(r, n);
    r->depth--;
    return jinja_failed(r) ? UNDEFINED : v;
}

/* ---- nbs/llm/26_jinja.ipynb § Statements ---- */

static void assign(struct jinja_run *r, const struct jinja_node *target,
                   struct jinja_value v)
{
    if (target->op == OP_NAME) {
        scope_set(r, target->value, v);
    } else if (target->op == OP_ATTR) {
        struct jinja_value ns = scope_get(r, target->a->value);
        if (ns.type != JINJA_NAMESPACE)
            jinja_fail(r, JINJA_BAD, "only a namespace's attributes can be set");
        else
            jinja_put(r, ns, target->value, v);
    } else {
        const struct jinja_list *l = jinja_items(r, v);
        const struct jinja_node *t = target->a;
        uint32_t i = 0;
        if (jinja_enter(r))
            for (; t && i < l->n && !jinja_failed(r); t = t->next)
                assign(r, t, l->item[i++]);
        if (t || i < l->n)
            jinja_fail(r, JINJA_BAD, "%u values do not fit the names on the left",
                       (unsigned)l->n);
        r->depth--;
    }
}

static struct jinja_value hole_filters(struct jinja_run *r, const struct jinja_node *n,
                                       struct jinja_value text)
{
    struct jinja_value outer = r->hole;
    r->hole = text;
    struct jinja_value v = jinja_eval(r, n);
    r->hole = outer;
    return v;
}

/* The items that pass the loop's condition. */
static const struct jinja_list *loop_items(struct jinja_run *r,
                                           const struct jinja_node *n)
{
    const struct jinja_list *all = jinja_items(r, jinja_eval(r, n->b));
    struct jinja_scope *scope = r->scope;
    if (!n->d->a || jinja_failed(r))
        return all;
    struct jinja_value some = jinja_new_list(r, JINJA_LIST, 0);
    for (uint32_t i = 0; i < all->n && !jinja_failed(r); i++) {
        r->scope = scope;
        scope_open(r);
        if (!jinja_failed(r))
            assign(r, n->a, all->item[i]);
        if (!jinja_failed(r) && jinja_truth(jinja_eval(r, n->d->a)))
            jinja_append(r, some, all->item[i]);
    }
    r->scope = scope;
    return jinja_failed(r) ? all : some.list;
}

static enum jinja_flow run_inner(struct jinja_run *r, const struct jinja_node *body)
{
    struct jinja_scope *scope = r->scope;
    scope_open(r);
    enum jinja_flow flow = jinja_failed(r) ? FLOW_ON : jinja_run_body(r, body);
    r->scope = scope;
    return flow;
}

static enum jinja_flow run_for(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_scope *scope = r->scope;
    const struct jinja_list *items = loop_items(r, n);
    struct loop *loop = jinja_alloc(r, sizeof *loop);
    uint32_t count = items->n;               // not what a loop appends to its own list
    struct jinja_value v = { .type = JINJA_LOOP, .ref = loop };
    bool ended = false;                      // else: if no turn came to its end
    if (!loop)
        return FLOW_ON;
    loop->items = items;
    for (uint32_t i = 0; i < count && jinja_step(r, 1); i++) {
        loop->at = i;
        r->scope = scope;
        scope_open(r);
        if (jinja_failed(r))
            break;
        scope_set(r, jinja_cstring("loop"), v);
        assign(r, n->a, items->item[i]);
        enum jinja_flow flow = jinja_run_body(r, n->c);
        ended |= flow == FLOW_ON;
        if (flow == FLOW_BREAK)
            break;
    }
    r->scope = scope;
    return !ended && n->d->b ? run_inner(r, n->d->b) : FLOW_ON;
}

static enum jinja_flow run_if(struct jinja_run *r, const struct jinja_node *n)
{
    for (const struct jinja_node *b = n->a; b && !jinja_failed(r); b = b->next)
        if (!b->a || jinja_truth(jinja_eval(r, b->a)))
            return jinja_failed(r) ? FLOW_ON : jinja_run_body(r, b->b);
    return FLOW_ON;
}

static enum jinja_flow run_with(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_scope *scope = r->scope, *inner;
    scope_open(r);
    inner = r->scope;
    for (const struct jinja_node *s = n->a; s && !jinja_failed(r); s = s->next) {
        r->scope = scope;                    // the values are seen from outside
        struct jinja_value v = jinja_eval(r, s->b);
        r->scope = inner;
        assign(r, s->a, v);
    }
    enum jinja_flow flow = jinja_failed(r) ? FLOW_ON : jinja_run_body(r, n->b);
    r->scope = scope;
    return flow;
}

static void define_macro(struct jinja_run *r, const struct jinja_node *n,
                         struct jinja_value *v)
{
    struct macro *m = jinja_alloc(r, sizeof *m);
    if (m)
        *m = (struct macro){ n->a, n->b, n->value, r->scope };
    *v = (struct jinja_value){ .type = m ? JINJA_MACRO : JINJA_UNDEFINED, .ref = m };
}

static struct jinja_value call_block(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_args args;
    struct jinja_value f = jinja_eval(r, n->c->a), caller;
    eval_args(r, n->c->b, &args);
    define_macro(r, n, &caller);
    uint32_t all = args.n + args.n_named;
    struct jinja_value *value = jinja_alloc(r, (all + 1) * sizeof *value),
                       *name = jinja_alloc(r, (args.n_named + 1) * sizeof *name);
    if (jinja_failed(r))
        return UNDEFINED;
    memcpy(value, args.value, all * sizeof *value);
    memcpy(name, args.name, args.n_named * sizeof *name);
    value[all] = caller;
    name[args.n_named] = jinja_cstring("caller");
    args = (struct jinja_args){ args.n, args.n_named + 1, value, name };
    return call(r, f, &args);
}

static void print(struct jinja_run *r, struct jinja_value v)
{
    if (!jinja_failed(r))
        jinja_add_str(r, r->out, v);
}

static enum jinja_flow run_statement(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_value v;
    switch (n->op) {
    case OP_TEXT: jinja_text_add(r, r->out, n->value.str, n->value.len); break;
    case OP_OUTPUT: print(r, jinja_eval(r, n->a)); break;
    case OP_IF: return run_if(r, n);
    case OP_FOR: return run_for(r, n);
    case OP_SET:
        v = jinja_eval(r, n->b);
        if (!jinja_failed(r))
            assign(r, n->a, v);
        break;
    case OP_SET_BLOCK:
        v = hole_filters(r, n->c, capture(r, n->b));
        if (!jinja_failed(r))
            assign(r, n->a, v);
        break;
    case OP_FILTER_BLOCK: print(r, hole_filters(r, n->c, capture(r, n->b))); break;
    case OP_WITH: return run_with(r, n);
    case OP_MACRO:
        define_macro(r, n, &v);
        if (!jinja_failed(r))
            scope_set(r, n->value, v);
        break;
    case OP_CALL_BLOCK: print(r, call_block(r, n)); break;
    case OP_BREAK: return FLOW_BREAK;
    case OP_CONTINUE: return FLOW_CONTINUE;
    case OP_BLOCK: return run_inner(r, n->b);
    }
    return FLOW_ON;
}

enum jinja_flow jinja_run_body(struct jinja_run *r, const struct jinja_node *n)
{
    enum jinja_flow flow = FLOW_ON;
    if (jinja_enter(r))
        for (; n && flow == FLOW_ON && !jinja_failed(r); n = n->next) {
            r->line = n->line;
            jinja_step(r, 1);
            flow = run_statement(r, n);
        }
    r->depth--;
    return flow;
}

enum jinja_result jinja_render(const struct jinja_program *p, struct arena *a,
                               const struct jinja_builder *context, int64_t now,
                               const char **text, size_t *len, struct jinja_error *err)
{
    *err = (struct jinja_error){ 0 };
    struct jinja_text out = { 0 };
    struct jinja_run r = { .arena = a, .err = err, .line = 1, .out = &out, .now = now };
    *text = "";
    *len = 0;
    if (context->failed)
        jinja_fail(&r, JINJA_NO_MEMORY, "the context is too big");
    if (context->root.type == JINJA_DICT)
        r.context = context->root.dict;
    scope_open(&r);
    if (!jinja_failed(&r))
        jinja_run_body(&r, p->body);
    jinja_text_add(&r, &out, "", 1);
    if (err->result == JINJA_OK) {
        *text = out.s;
        *len = out.len - 1;
    }
    return err->result;
}
