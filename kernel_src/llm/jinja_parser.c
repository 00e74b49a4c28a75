/* jinja_parser.c: tangled from nbs/llm/26_jinja.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/26_jinja.ipynb § The parser ---- */

/* jinja_parser.c: tokens to nodes. Recursion is counted by jinja_enter. */
#include "base/string.h"
#include "llm/jinja_impl.h"

struct parser {
    struct jinja_run *r;
    struct jinja_lexer lex;
    struct jinja_token now;
    uint32_t loops;                          // for break and continue
    struct jinja_node none;                  // stands in after a failure
};

struct jinja_node *jinja_parse_expr(struct parser *p);
struct jinja_node *jinja_parse_body(struct parser *p, const char *const *ends);

static void next(struct parser *p)
{
    p->now = jinja_lex(&p->lex);
    p->r->line = p->now.line;
}

static bool is_op(const struct parser *p, uint16_t op)
{
    return p->now.type == TOKEN_OPERATOR && p->now.operator == op;
}

static bool token_is(const struct parser *p, struct jinja_token t, const char *word)
{
    size_t n = strlen(word);
    return t.type == TOKEN_NAME && t.len == n && !memcmp(p->lex.s + t.at, word, n);
}

static bool is_word(const struct parser *p, const char *word)
{
    return token_is(p, p->now, word);
}

static bool skip_op(struct parser *p, uint16_t op)
{
    bool yes = is_op(p, op);
    if (yes)
        next(p);
    return yes;
}

static bool skip_word(struct parser *p, const char *word)
{
    bool yes = is_word(p, word);
    if (yes)
        next(p);
    return yes;
}

static struct jinja_token look(const struct parser *p)
{
    struct jinja_lexer ahead = p->lex;
    return jinja_lex(&ahead);
}

static void unexpected(struct parser *p, const char *wanted)
{
    static const char *const name[] = {
        "the end of the template", "text", "{{", "}}", "{%", "%}",
    };
    struct jinja_token t = p->now;
    if (t.type <= TOKEN_BLOCK_END)
        jinja_fail(p->r, JINJA_BAD, "expected %s, found %s", wanted, name[t.type]);
    else
        jinja_fail(p->r, JINJA_BAD, "expected %s, found '%.*s'", wanted,
                   (int)(t.len < 40 ? (t.len ? t.len : 1) : 40), p->lex.s + t.at);
}

static void expect(struct parser *p, uint16_t op)
{
    char want[] = { '\'', (char)op, '\'', 0 };
    if (!skip_op(p, op))
        unexpected(p, want);
}

static struct jinja_node *node(struct parser *p, enum jinja_op op)
{
    struct jinja_node *n = jinja_alloc(p->r, sizeof *n);
    if (!n)
        return &p->none;
    n->op = (uint8_t)op;
    n->line = p->now.line;
    return n;
}

static struct jinja_node *wrap(struct parser *p, enum jinja_op op, struct jinja_node *a)
{
    struct jinja_node *n = node(p, op);
    n->a = a;
    return n;
}

static struct jinja_value take_name(struct parser *p)
{
    struct jinja_token t = p->now;
    if (t.type != TOKEN_NAME || isdigit((uint8_t)p->lex.s[t.at]))
        unexpected(p, "a name");
    next(p);
    return jinja_string(p->lex.s + t.at, t.len);
}

static void put(struct jinja_node ***tail, struct jinja_node *n)
{
    **tail = n;
    *tail = &n->next;
}

static bool tuple_ends(const struct parser *p)
{
    return p->now.type == TOKEN_VAR_END || p->now.type == TOKEN_BLOCK_END ||
           p->now.type == TOKEN_END || is_op(p, ')') || is_word(p, "in");
}

/* One expression, or several with commas: a tuple. */
struct jinja_node *jinja_parse_tuple(struct parser *p, bool parentheses, bool target);

static struct jinja_node *parse_args(struct parser *p)
{
    struct jinja_node *first = NULL, **tail = &first;
    bool named = false;
    expect(p, '(');
    while (!is_op(p, ')') && !jinja_failed(p->r)) {
        if (is_op(p, '*') || is_op(p, OPERATOR('*', '*')))
            jinja_fail(p->r, JINJA_BAD, "* and ** in calls are not supported");
        struct jinja_node *arg = node(p, OP_ARG);
        struct jinja_token t = p->now.type == TOKEN_NAME ? look(p) : p->now;
        if (p->now.type == TOKEN_NAME && t.type == TOKEN_OPERATOR && t.operator == '=') {
            arg->value = take_name(p);
            next(p);
            named = true;
        } else if (named) {
            jinja_fail(p->r, JINJA_BAD, "an argument without a name after a named one");
        }
        arg->a = jinja_parse_expr(p);
        put(&tail, arg);
        if (!is_op(p, ')'))
            expect(p, ',');
    }
    expect(p, ')');
    return first;
}

static struct jinja_node *parse_items(struct parser *p, enum jinja_op op, uint16_t end)
{
    struct jinja_node *n = node(p, op), **tail = &n->a;
    next(p);
    while (!is_op(p, end) && !jinja_failed(p->r)) {
        put(&tail, jinja_parse_expr(p));
        if (op == OP_DICT) {
            expect(p, ':');
            put(&tail, jinja_parse_expr(p));
        }
        if (!is_op(p, end))
            expect(p, ',');
    }
    expect(p, end);
    return n;
}

static struct jinja_node *parse_strings(struct parser *p)
{
    struct jinja_node *n = node(p, OP_CONST);
    struct jinja_text t = { 0 };
    n->value = jinja_unquote(p->r, p->lex.s + p->now.at, p->now.len);
    next(p);
    if (p->now.type == TOKEN_STRING)
        jinja_text_add(p->r, &t, n->value.str, n->value.len);
    while (p->now.type == TOKEN_STRING) {            // 'a' 'b' is 'ab'
        struct jinja_value v = jinja_unquote(p->r, p->lex.s + p->now.at, p->now.len);
        jinja_text_add(p->r, &t, v.str, v.len);
        n->value = jinja_text_value(&t);
        next(p);
    }
    return n;
}

static struct jinja_node *parse_name(struct parser *p)
{
    static const struct { const char *word; struct jinja_value v; } constant[] = {
        { "true", { .type = JINJA_BOOL, .boolean = true } },
        { "True", { .type = JINJA_BOOL, .boolean = true } },
        { "false", { .type = JINJA_BOOL } }, { "False", { .type = JINJA_BOOL } },
        { "none", { .type = JINJA_NONE } }, { "None", { .type = JINJA_NONE } },
    };
    struct jinja_node *n = node(p, OP_NAME);
    n->value = take_name(p);
    for (size_t i = 0; i < sizeof constant / sizeof *constant; i++)
        if (jinja_is(n->value, constant[i].word)) {
            n->op = OP_CONST;
            n->value = constant[i].v;
            break;
        }
    return n;
}

static struct jinja_node *parse_primary(struct parser *p)
{
    struct jinja_node *n;
    switch (p->now.type) {
    case TOKEN_NAME:
        return parse_name(p);
    case TOKEN_STRING:
        return parse_strings(p);
    case TOKEN_INT: case TOKEN_FLOAT:
        n = node(p, OP_CONST);
        n->value = jinja_read_number(p->r, p->lex.s + p->now.at, p->now.len);
        if (p->now.type == TOKEN_INT && p->now.len > 1 && p->lex.s[p->now.at] == '0' &&
            n->value.i)
            jinja_fail(p->r, JINJA_BAD, "an integer with a leading zero");
        next(p);
        return n;
    }
    if (is_op(p, '['))
        return parse_items(p, OP_LIST, ']');
    if (is_op(p, '{'))
        return parse_items(p, OP_DICT, '}');
    if (skip_op(p, '(')) {
        n = jinja_parse_tuple(p, true, false);
        expect(p, ')');
        return n;
    }
    unexpected(p, "an expression");
    return node(p, OP_CONST);
}

static struct jinja_node *parse_subscript(struct parser *p, struct jinja_node *obj)
{
    struct jinja_node *n = wrap(p, OP_ITEM, obj);
    next(p);
    if (!is_op(p, ':'))
        n->b = jinja_parse_expr(p);
    if (is_op(p, ':')) {
        n->op = OP_SLICE;
        next(p);
        if (!is_op(p, ':') && !is_op(p, ']'))
            n->c = jinja_parse_expr(p);
        if (skip_op(p, ':') && !is_op(p, ']'))
            n->d = jinja_parse_expr(p);
    }
    expect(p, ']');
    return n;
}

static struct jinja_node *parse_attr(struct parser *p, struct jinja_node *obj)
{
    struct jinja_node *n = wrap(p, OP_ATTR, obj);
    next(p);
    if (p->now.type == TOKEN_INT) {          // x.0 is x[0]
        n->op = OP_ITEM;
        n->b = parse_primary(p);
    } else {
        n->value = take_name(p);
    }
    return n;
}

static struct jinja_node *parse_postfix(struct parser *p, struct jinja_node *n)
{
    while (!jinja_failed(p->r)) {
        if (is_op(p, '.')) {
            n = parse_attr(p, n);
        } else if (is_op(p, '[')) {
            n = parse_subscript(p, n);
        } else if (is_op(p, '(')) {
            n = wrap(p, OP_CALL, n);
            n->b = parse_args(p);
        } else {
            break;
        }
    }
    return n;
}

static struct jinja_node *parse_filter(struct parser *p, struct jinja_node *input)
{
    struct jinja_node *n = wrap(p, OP_FILTER, input);
    n->value = take_name(p);
    if (is_op(p, '('))
        n->b = parse_args(p);
    return n;
}

static struct jinja_node *parse_test(struct parser *p, struct jinja_node *input)
{
    struct jinja_node *n = wrap(p, OP_TEST, input);
    next(p);
    bool negated = skip_word(p, "not");
    n->value = take_name(p);
    uint8_t t = p->now.type;
    if (is_op(p, '(')) {
        n->b = parse_args(p);
    } else if (t == TOKEN_STRING || t == TOKEN_INT || t == TOKEN_FLOAT || is_op(p, '[') ||
               is_op(p, '{') ||
               (t == TOKEN_NAME && !is_word(p, "else") && !is_word(p, "or") &&
                !is_word(p, "and"))) {
        if (is_word(p, "is"))
            jinja_fail(p->r, JINJA_BAD, "tests cannot be chained");
        n->b = node(p, OP_ARG);              // x is equalto 3
        n->b->a = parse_postfix(p, parse_primary(p));
    }
    return negated ? wrap(p, OP_NOT, n) : n;
}

/* An operand: sign, primary, postfixes; with filters and tests unless it is signed. */
static struct jinja_node *parse_unary(struct parser *p, bool filters)
{
    struct jinja_node *n;
    if (!jinja_enter(p->r)) {
        n = node(p, OP_CONST);
    } else if (is_op(p, '-') || is_op(p, '+')) {
        n = node(p, is_op(p, '-') ? OP_NEG : OP_POS);
        next(p);
        n->a = parse_unary(p, false);
    } else {
        n = parse_primary(p);
    }
    n = parse_postfix(p, n);
    while (filters && !jinja_failed(p->r)) {
        if (skip_op(p, '|')) {
            n = parse_filter(p, n);
        } else if (is_word(p, "is")) {
            n = parse_test(p, n);
        } else if (is_op(p, '(')) {
            n = wrap(p, OP_CALL, n);
            n->b = parse_args(p);
        } else {
            break;
        }
    }
    p->r->depth--;
    return n;
}

static uint8_t operator_here(const struct parser *p, uint16_t *op)
{
    *op = p->now.operator;
    if (p->now.type == TOKEN_NAME) {
        bool not_in = is_word(p, "not") && token_is(p, look(p), "in");
        *op = not_in ? OPERATOR_NOT_IN : is_word(p, "in") ? OPERATOR_IN : 0;
        return is_word(p, "or") ? LEVEL_OR : is_word(p, "and") ? LEVEL_AND :
               *op ? LEVEL_COMPARE : 0;
    }
    if (p->now.type != TOKEN_OPERATOR)
        return 0;
    switch (*op) {
    case OPERATOR('=', '='): case OPERATOR('!', '='): case OPERATOR('<', '='):
    case OPERATOR('>', '='): case '<': case '>': return LEVEL_COMPARE;
    case '+': case '-': return LEVEL_ADD;
    case '~': return LEVEL_JOIN;
    case '*': case '/': case '%': case OPERATOR('/', '/'): return LEVEL_MUL;
    case OPERATOR('*', '*'): return LEVEL_POW;
    }
    return 0;
}

static struct jinja_node *parse_binary(struct parser *p, uint8_t min)
{
    struct jinja_node *left, *chain = NULL, **tail = NULL;
    uint8_t level;
    uint16_t op;
    bool ok = jinja_enter(p->r);
    if (ok && min <= LEVEL_NOT && is_word(p, "not")) {
        left = node(p, OP_NOT);
        next(p);
        left->a = parse_binary(p, LEVEL_NOT);
    } else {
        left = parse_unary(p, true);
    }
    while (!jinja_failed(p->r) && (level = operator_here(p, &op)) >= min && level) {
        if (!chain || chain->level != level) {
            left = chain = wrap(p, OP_CHAIN, left);
            chain->level = level;
            tail = &chain->b;
        }
        struct jinja_node *operand = node(p, OP_OPERAND);
        operand->operator = op;
        next(p);
        if (op == OPERATOR_NOT_IN)
            next(p);
        operand->a = parse_binary(p, level + 1);
        put(&tail, operand);
    }
    p->r->depth--;
    return left;
}

/* x, or: x if y else z. */
struct jinja_node *jinja_parse_expr(struct parser *p)
{
    if (!jinja_enter(p->r)) {
        p->r->depth--;
        return node(p, OP_CONST);
    }
    struct jinja_node *n = parse_binary(p, LEVEL_OR);
    while (!jinja_failed(p->r) && skip_word(p, "if")) {
        n = wrap(p, OP_COND, n);
        n->b = parse_binary(p, LEVEL_OR);
        if (skip_word(p, "else"))
            n->c = jinja_parse_expr(p);
    }
    p->r->depth--;
    return n;
}

struct jinja_node *jinja_parse_tuple(struct parser *p, bool parentheses, bool target)
{
    struct jinja_node *tuple = node(p, OP_TUPLE), **tail = &tuple->a;
    bool comma = false;
    while (!tuple_ends(p) && !jinja_failed(p->r)) {
        put(&tail, target ? parse_primary(p) : jinja_parse_expr(p));
        if (!is_op(p, ','))
            break;
        comma = true;
        next(p);
    }
    if (comma)
        return tuple;
    if (!tuple->a && !parentheses)
        unexpected(p, "an expression");
    return tuple->a ? tuple->a : tuple;
}

/* ---- nbs/llm/26_jinja.ipynb § Statements ---- */

static void check_target(struct parser *p, struct jinja_node *t, bool attr)
{
    if (jinja_failed(p->r))
        return;
    if (t->op == OP_TUPLE) {
        if (!jinja_enter(p->r))
            return;
        for (struct jinja_node *e = t->a; e; e = e->next)
            check_target(p, e, attr);
        p->r->depth--;
    } else if (t->op != OP_NAME && !(attr && t->op == OP_ATTR && t->a->op == OP_NAME)) {
        jinja_fail(p->r, JINJA_BAD, "this cannot be assigned to");
    }
}

static struct jinja_node *parse_target(struct parser *p, bool attr)
{
    struct jinja_node *t = jinja_parse_tuple(p, false, true);
    if (attr && is_op(p, '.') && t->op == OP_NAME)
        t = parse_attr(p, t);
    check_target(p, t, attr);
    return t;
}

/* {% ... %} body {% word: leaves the reader behind `word`, and says which it was. */
static struct jinja_node *parse_block(struct parser *p, const char *const *ends)
{
    if (p->now.type != TOKEN_BLOCK_END)
        unexpected(p, "%}");
    next(p);
    return jinja_parse_body(p, ends);
}

static struct jinja_node *parse_if(struct parser *p)
{
    static const char *const ends[] = { "elif", "else", "endif", NULL };
    static const char *const end[] = { "endif", NULL };
    struct jinja_node *n = node(p, OP_IF), **tail = &n->a;
    do {
        struct jinja_node *branch = node(p, OP_BRANCH);
        next(p);                             // if, elif
        branch->a = jinja_parse_expr(p);
        branch->b = parse_block(p, ends);
        put(&tail, branch);
    } while (is_word(p, "elif") && !jinja_failed(p->r));
    if (skip_word(p, "else")) {
        struct jinja_node *branch = node(p, OP_BRANCH);
        branch->b = parse_block(p, end);
        put(&tail, branch);
    }
    next(p);                                 // endif
    return n;
}

static struct jinja_node *parse_for(struct parser *p)
{
    static const char *const ends[] = { "else", "endfor", NULL };
    static const char *const end[] = { "endfor", NULL };
    struct jinja_node *n = node(p, OP_FOR);
    next(p);
    n->a = parse_target(p, false);
    n->d = node(p, OP_FOR_MORE);
    if (!skip_word(p, "in"))
        unexpected(p, "'in'");
    struct jinja_node *tuple = node(p, OP_TUPLE), **tail = &tuple->a;
    put(&tail, parse_binary(p, LEVEL_OR));   // an 'if' here is the loop's
    n->b = tuple->a;
    while (skip_op(p, ',')) {
        n->b = tuple;
        put(&tail, parse_binary(p, LEVEL_OR));
    }
    if (skip_word(p, "if"))
        n->d->a = jinja_parse_expr(p);
    if (is_word(p, "recursive"))
        jinja_fail(p->r, JINJA_BAD, "recursive loops are not supported");
    p->loops++;
    n->c = parse_block(p, ends);
    p->loops--;
    if (skip_word(p, "else"))
        n->d->b = parse_block(p, end);
    next(p);
    return n;
}

static struct jinja_node *parse_filters(struct parser *p)
{
    struct jinja_node *n = parse_filter(p, node(p, OP_HOLE));
    while (skip_op(p, '|'))
        n = parse_filter(p, n);
    return n;
}

static struct jinja_node *parse_set(struct parser *p)
{
    static const char *const end[] = { "endset", NULL };
    struct jinja_node *n = node(p, OP_SET);
    next(p);
    n->a = parse_target(p, true);
    if (skip_op(p, '=')) {
        n->b = jinja_parse_tuple(p, false, false);
        return n;
    }
    n->op = OP_SET_BLOCK;
    n->c = skip_op(p, '|') ? parse_filters(p) : node(p, OP_HOLE);
    n->b = parse_block(p, end);
    next(p);
    return n;
}

static struct jinja_node *parse_params(struct parser *p)
{
    struct jinja_node *first = NULL, **tail = &first;
    bool defaults = false;
    expect(p, '(');
    while (!is_op(p, ')') && !jinja_failed(p->r)) {
        struct jinja_node *n = node(p, OP_PARAM);
        n->value = take_name(p);
        if (skip_op(p, '='))
            n->a = jinja_parse_expr(p), defaults = true;
        else if (defaults)
            jinja_fail(p->r, JINJA_BAD, "a parameter without a default after one with");
        put(&tail, n);
        if (!is_op(p, ')'))
            expect(p, ',');
    }
    expect(p, ')');
    return first;
}

static struct jinja_node *parse_macro(struct parser *p)
{
    static const char *const end[] = { "endmacro", NULL };
    struct jinja_node *n = node(p, OP_MACRO);
    uint32_t loops = p->loops;
    next(p);
    n->value = take_name(p);
    n->a = parse_params(p);
    p->loops = 0;                            // no break out of a macro
    n->b = parse_block(p, end);
    p->loops = loops;
    next(p);
    return n;
}

static struct jinja_node *parse_call(struct parser *p)
{
    static const char *const end[] = { "endcall", NULL };
    struct jinja_node *n = node(p, OP_CALL_BLOCK);
    uint32_t loops = p->loops;
    next(p);
    n->a = is_op(p, '(') ? parse_params(p) : NULL;
    n->c = jinja_parse_expr(p);
    if (n->c->op != OP_CALL)
        jinja_fail(p->r, JINJA_BAD, "expected a call");
    p->loops = 0;
    n->b = parse_block(p, end);
    p->loops = loops;
    next(p);
    return n;
}

static struct jinja_node *parse_filter_block(struct parser *p)
{
    static const char *const end[] = { "endfilter", NULL };
    struct jinja_node *n = node(p, OP_FILTER_BLOCK);
    next(p);
    n->c = parse_filters(p);
    n->b = parse_block(p, end);
    next(p);
    return n;
}

static struct jinja_node *parse_with(struct parser *p)
{
    static const char *const end[] = { "endwith", NULL };
    struct jinja_node *n = node(p, OP_WITH), **tail = &n->a;
    next(p);
    while (p->now.type != TOKEN_BLOCK_END && !jinja_failed(p->r)) {
        struct jinja_node *set = node(p, OP_SET);
        if (n->a)
            expect(p, ',');
        set->a = parse_primary(p);
        check_target(p, set->a, false);
        expect(p, '=');
        set->b = jinja_parse_expr(p);
        put(&tail, set);
    }
    n->b = parse_block(p, end);
    next(p);
    return n;
}

static struct jinja_node *parse_generation(struct parser *p)
{
    static const char *const end[] = { "endgeneration", NULL };
    struct jinja_node *n = node(p, OP_BLOCK);
    next(p);
    n->b = parse_block(p, end);
    next(p);
    return n;
}

static struct jinja_node *parse_jump(struct parser *p)
{
    struct jinja_node *n = node(p, is_word(p, "break") ? OP_BREAK : OP_CONTINUE);
    if (!p->loops)
        jinja_fail(p->r, JINJA_BAD, "break or continue outside a loop");
    next(p);
    return n;
}

static struct jinja_node *parse_statement(struct parser *p)
{
    static const struct {
        const char *word;
        struct jinja_node *(*parse)(struct parser *p);
    } statement[] = {
        { "if", parse_if },           { "for", parse_for },     { "set", parse_set },
        { "macro", parse_macro },     { "call", parse_call },   { "break", parse_jump },
        { "continue", parse_jump },   { "with", parse_with },
        { "filter", parse_filter_block },
        { "generation", parse_generation },
    };
    for (size_t i = 0; i < sizeof statement / sizeof *statement; i++)
        if (is_word(p, statement[i].word))
            return statement[i].parse(p);
    struct jinja_token t = p->now;
    jinja_fail(p->r, JINJA_BAD, "no such statement as '%.*s'",
               (int)(t.len < 40 ? t.len : 40), p->lex.s + t.at);
    return node(p, OP_BLOCK);
}

static bool body_ends(const struct parser *p, const char *const *ends)
{
    for (; ends && *ends; ends++)
        if (is_word(p, *ends))
            return true;
    return false;
}

static struct jinja_node *parse_output(struct parser *p)
{
    struct jinja_node *n = node(p, OP_OUTPUT);
    next(p);
    n->a = jinja_parse_tuple(p, false, false);
    if (p->now.type != TOKEN_VAR_END)
        unexpected(p, "}}");
    next(p);
    return n;
}

/* Up to one of `ends`, which is then the current token; NULL: up to the end. */
struct jinja_node *jinja_parse_body(struct parser *p, const char *const *ends)
{
    struct jinja_node *first = NULL, **tail = &first;
    bool ok = jinja_enter(p->r);
    while (ok && !jinja_failed(p->r) && p->now.type != TOKEN_END) {
        if (p->now.type == TOKEN_TEXT) {
            struct jinja_node *n = node(p, OP_TEXT);
            n->value = jinja_string(p->lex.s + p->now.at, p->now.len);
            if (p->now.len)
                put(&tail, n);
            next(p);
        } else if (p->now.type == TOKEN_VAR) {
            put(&tail, parse_output(p));
        } else {
            next(p);
            if (body_ends(p, ends))
                break;
            put(&tail, parse_statement(p));
            if (p->now.type != TOKEN_BLOCK_END)
                unexpected(p, "%}");
            next(p);
        }
    }
    if (ends && p->now.type == TOKEN_END)
        jinja_fail(p->r, JINJA_BAD, "the template ends, but '%s' is missing",
                   ends[ends[1] ? 1 : 0]);
    p->r->depth--;
    return first;
}

struct jinja_program *jinja_parse(struct arena *a, const char *text, size_t len,
                                  struct jinja_error *err)
{
    *err = (struct jinja_error){ 0 };
    struct jinja_run r = { .arena = a, .err = err, .line = 1 };
    struct parser p = { .r = &r };
    struct jinja_program *program = jinja_alloc(&r, sizeof *program);
    if (!program || !jinja_lex_init(&p.lex, &r, text, len))
        return NULL;
    next(&p);
    program->body = jinja_parse_body(&p, NULL);
    return jinja_failed(&r) ? NULL : program;
}
