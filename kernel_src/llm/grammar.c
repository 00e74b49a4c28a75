/* grammar.c: tangled from nbs/llm/24_grammar.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/24_grammar.ipynb § Reading GBNF: the smallest parts ---- */

/* grammar.c: see grammar.h. Part 1 reads GBNF, part 2 follows it, part 3 judges
 * vocabularies. */
#include "base/fmath.h"
#include "base/memory.h"
#include "base/stdio.h"
#include "base/stdlib.h"
#include "base/string.h"
#include "llm/grammar.h"

#define CODE_POINT_MAX 0x10FFFFu
#define SYMBOL_BUCKETS 256

struct symbol {
    uint32_t at, len;                      // the name, in the text
    uint16_t start, link;                  // first node; next in its bucket
    bool defined;
};

/* An open group; frame 0 is the rule itself. */
struct frame { uint32_t at; uint16_t before, alt, join; };

struct reader {
    const char *s;
    size_t len, at;
    struct grammar *g;
    grammar_find_token find;
    const void *ctx;
    struct grammar_error *err;
    enum grammar_result result;
    uint32_t cap_nodes, cap_ranges, n_symbols, cap_symbols;
    struct symbol *symbol;                 // symbol[0] is not used
    uint16_t bucket[SYMBOL_BUCKETS];
    struct frame frame[GRAMMAR_DEPTH_MAX + 1];
    int depth;
    uint16_t tail;                         // the node that the next item follows
    uint16_t before;                       // the node that the last item follows …
    bool has_item;                         // … if there is one to repeat
};

static void fail(struct reader *r, enum grammar_result result, size_t at,
                 const char *what, const char *name, size_t name_len)
{
    if (r->result != GRAMMAR_OK)
        return;
    r->result = result;
    r->err->line = r->err->column = 1;
    for (size_t i = 0; i < at && i < r->len; i++) {
        r->err->column++;
        if (r->s[i] == '\n')
            r->err->line++, r->err->column = 1;
    }
    int n = snprintf(r->err->text, GRAMMAR_ERROR_MAX, "line %u, column %u: %s",
                     (unsigned)r->err->line, (unsigned)r->err->column, what);
    if (name && n > 0 && n < GRAMMAR_ERROR_MAX)
        snprintf(r->err->text + n, (size_t)(GRAMMAR_ERROR_MAX - n), " '%.*s'",
                 (int)(name_len < 60 ? name_len : 60), name);
}

/* Room for one more in an array of n; NULL: refused. */
static void *grow(struct reader *r, void *p, uint32_t n, uint32_t *cap, uint32_t max,
                  size_t size, const char *what)
{
    if (n < *cap)
        return p;
    if (n >= max) {
        fail(r, GRAMMAR_TOO_BIG, r->at, what, NULL, 0);
        return NULL;
    }
    uint32_t want = *cap ? *cap * 2 : 64;
    void *q = krealloc(p, (want < max ? want : max) * size);
    if (!q) {
        fail(r, GRAMMAR_NO_MEMORY, r->at, "out of memory", NULL, 0);
        return NULL;
    }
    *cap = want < max ? want : max;
    return q;
}

static int peek(const struct reader *r)
{
    return r->at < r->len ? (uint8_t)r->s[r->at] : -1;
}

static bool is_name(int c) { return c > 0 && (isalnum(c) || c == '-' || c == '_'); }

/* Blanks and comments; line ends too when `lines`. */
static void skip_space(struct reader *r, bool lines)
{
    for (;; r->at++) {
        int c = peek(r);
        if (c == '#')
            while (peek(r) != -1 && peek(r) != '\n' && peek(r) != '\r')
                r->at++;
        c = peek(r);
        if (c != ' ' && c != '\t' && !(lines && (c == '\n' || c == '\r')))
            return;
    }
}

static bool expect(struct reader *r, const char *word)
{
    size_t n = strlen(word);
    if (n <= r->len - r->at && !memcmp(r->s + r->at, word, n)) {
        r->at += n;
        return true;
    }
    fail(r, GRAMMAR_BAD, r->at, "expected", word, n);
    return false;
}

/* ---- nbs/llm/24_grammar.ipynb § Characters and escapes ---- */

struct utf8 { uint32_t value; uint8_t need, total; };   // bits so far; bytes to come, of

/* One more byte. false: it cannot be. Otherwise [*lo, *hi] are the characters that it
 * can be part of; u->need == 0: just one, and complete. */
static bool utf8_step(struct utf8 *u, uint8_t c, uint32_t *lo, uint32_t *hi)
{
    static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
    if (u->need) {
        if ((c & 0xC0) != 0x80)
            return false;
        u->value = u->value << 6 | (c & 0x3F);
        u->need--;
    } else if (c < 0x80) {
        *u = (struct utf8){ c, 0, 1 };
    } else {
        uint8_t n = c >= 0xC2 && c <= 0xDF ? 2 : (c & 0xF0) == 0xE0 ? 3 :
                    c >= 0xF0 && c <= 0xF4 ? 4 : 0;
        if (!n)
            return false;
        *u = (struct utf8){ c & (0x7Fu >> n), (uint8_t)(n - 1), n };
    }
    *lo = u->value << (6 * u->need);
    *hi = *lo | ((1u << (6 * u->need)) - 1);
    *lo = *lo > least[u->total] ? *lo : least[u->total];
    *hi = *hi < CODE_POINT_MAX ? *hi : CODE_POINT_MAX;
    return *lo <= *hi && !(*lo >= 0xD800 && *hi <= 0xDFFF);
}

static uint32_t read_hex(struct reader *r, int digits)
{
    uint32_t v = 0;
    for (int i = 0; i < digits; i++, r->at++) {
        int c = peek(r);
        if (c < 0 || !isxdigit(c)) {
            fail(r, GRAMMAR_BAD, r->at, "expected a hexadecimal digit", NULL, 0);
            return 0;
        }
        v = v << 4 | (uint32_t)(isdigit(c) ? c - '0' : tolower(c) - 'a' + 10);
    }
    if (v > CODE_POINT_MAX)
        fail(r, GRAMMAR_BAD, r->at, "no such code point", NULL, 0);
    return v;
}

static uint32_t read_escape(struct reader *r)
{
    int c = peek(r);
    r->at += c != -1;
    switch (c) {
    case 'x': return read_hex(r, 2);
    case 'u': return read_hex(r, 4);
    case 'U': return read_hex(r, 8);
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case '\\': case '"': case '[': case ']': return (uint32_t)c;
    }
    fail(r, GRAMMAR_BAD, r->at - (c != -1), "no such escape after a backslash", NULL, 0);
    return 0;
}

static uint32_t read_char(struct reader *r)
{
    if (peek(r) == '\\') {
        r->at++;
        return read_escape(r);
    }
    struct utf8 u = { 0 };
    uint32_t lo = 0, hi = 0;
    do {
        int c = peek(r);
        if (c == -1 || !utf8_step(&u, (uint8_t)c, &lo, &hi)) {
            fail(r, GRAMMAR_BAD, r->at,
                 c == -1 ? "the text ends inside quotes or brackets" :
                           "this is not UTF-8", NULL, 0);
            return 0;
        }
        r->at++;
    } while (u.need);
    return lo;
}

/* ---- nbs/llm/24_grammar.ipynb § Nodes, and the thread through them ---- */

static uint16_t node_new(struct reader *r, enum grammar_op op)
{
    struct grammar *g = r->g;
    if (r->result != GRAMMAR_OK)
        return 0;
    void *p = grow(r, g->node, g->n_nodes, &r->cap_nodes, GRAMMAR_NODES_MAX,
                   sizeof *g->node, "the grammar is too big");
    if (!p)
        return 0;
    g->node = p;
    g->node[g->n_nodes] = (struct grammar_node){ .op = (uint8_t)op };
    return (uint16_t)g->n_nodes++;
}

/* Hang a new node on the tail. After a failure this writes to node[0], whose next
 * nobody follows. */
static struct grammar_node *append(struct reader *r, enum grammar_op op)
{
    uint16_t n = node_new(r, op);
    r->g->node[r->tail].next = n;
    r->tail = n;
    return &r->g->node[n];
}

static void item_begins(struct reader *r)
{
    r->before = r->tail;
    r->has_item = true;
}

static void add_range(struct reader *r, uint32_t lo, uint32_t hi)
{
    struct grammar *g = r->g;
    void *p = grow(r, g->range, g->n_ranges, &r->cap_ranges, GRAMMAR_RANGES_MAX,
                   sizeof *g->range, "too many character classes");
    if (!p)
        return;
    g->range = p;
    g->range[g->n_ranges++] = (struct grammar_range){ lo, hi };
}

static int by_lo(const void *a, const void *b)
{
    const struct grammar_range *x = a, *y = b;
    return x->lo < y->lo ? -1 : x->lo > y->lo;
}

/* The ranges from `first` on: sorted, merged, and if `invert` what lies between them. */
static void tidy_ranges(struct reader *r, uint32_t first, bool invert)
{
    struct grammar_range *v = r->g->range + first;
    uint32_t n = r->g->n_ranges - first, m = 0, next = 0;
    qsort(v, n, sizeof *v, by_lo);
    for (uint32_t i = 0; i < n; i++)
        if (m && v[i].lo <= v[m - 1].hi + 1)
            v[m - 1].hi = v[i].hi > v[m - 1].hi ? v[i].hi : v[m - 1].hi;
        else
            v[m++] = v[i];
    r->g->n_ranges = first + m;
    if (!invert)
        return;
    n = m, m = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct grammar_range x = v[i];
        if (x.lo > next)
            v[m++] = (struct grammar_range){ next, x.lo - 1 };
        next = x.hi + 1;
    }
    r->g->n_ranges = first + m;
    if (next <= CODE_POINT_MAX)
        add_range(r, next, CODE_POINT_MAX);
}

static void read_class(struct reader *r)
{
    size_t at = r->at++;
    bool invert = peek(r) == '^';
    uint32_t first = r->g->n_ranges;
    r->at += invert;
    while (r->result == GRAMMAR_OK && peek(r) != ']') {
        uint32_t lo = read_char(r), hi = lo;
        if (peek(r) == '-' && r->at + 1 < r->len && r->s[r->at + 1] != ']') {
            r->at++;
            hi = read_char(r);
        }
        if (lo > hi)
            fail(r, GRAMMAR_BAD, r->at, "this range runs backwards", NULL, 0);
        if (r->result == GRAMMAR_OK)
            add_range(r, lo, hi);
    }
    if (r->g->n_ranges == first)
        fail(r, GRAMMAR_BAD, at, "an empty character class", NULL, 0);
    if (r->result != GRAMMAR_OK)
        return;
    r->at++;
    tidy_ranges(r, first, invert);
    item_begins(r);
    struct grammar_node *n = append(r, GRAMMAR_CLASS);
    n->a = first, n->b = r->g->n_ranges - first;
}

static void read_literal(struct reader *r)
{
    r->at++;
    item_begins(r);
    append(r, GRAMMAR_NOP);                 // "" is an item too
    while (r->result == GRAMMAR_OK && peek(r) != '"') {
        uint32_t c = read_char(r);
        struct grammar_node *n = append(r, GRAMMAR_CHAR);
        n->a = n->b = c;
    }
    r->at++;
}

/* ---- nbs/llm/24_grammar.ipynb § Names, tokens, repetitions ---- */

static uint16_t find_symbol(struct reader *r, size_t at, size_t len)
{
    uint32_t h = 0;
    for (size_t i = 0; i < len; i++)
        h = h * 31 + (uint8_t)r->s[at + i];
    uint16_t *b = &r->bucket[(h ^ h >> 8) % SYMBOL_BUCKETS];
    for (uint16_t i = *b; i; i = r->symbol[i].link)
        if (r->symbol[i].len == len && !memcmp(r->s + r->symbol[i].at, r->s + at, len))
            return i;
    void *p = grow(r, r->symbol, r->n_symbols, &r->cap_symbols, GRAMMAR_RULES_MAX + 1,
                   sizeof *r->symbol, "too many rules");
    if (!p)
        return 0;
    r->symbol = p;
    r->symbol[r->n_symbols] = (struct symbol){ .at = (uint32_t)at, .len = (uint32_t)len,
                                               .link = *b };
    return *b = (uint16_t)r->n_symbols++;
}

/* A name at the position, as a symbol. */
static uint16_t read_name(struct reader *r)
{
    size_t at = r->at;
    while (is_name(peek(r)))
        r->at++;
    if (r->at == at) {
        fail(r, GRAMMAR_BAD, at, "expected the name of a rule", NULL, 0);
        return 0;
    }
    return find_symbol(r, at, r->at - at);
}

static uint32_t read_number(struct reader *r, uint32_t max)
{
    uint32_t v = 0;
    size_t at = r->at;
    for (; peek(r) != -1 && isdigit(peek(r)); r->at++) {
        uint32_t d = (uint32_t)(peek(r) - '0');
        if (v > (max - d) / 10) {
            fail(r, GRAMMAR_TOO_BIG, at, "this number is too large", NULL, 0);
            return 0;
        }
        v = v * 10 + d;
    }
    if (r->at == at)
        fail(r, GRAMMAR_BAD, at, "expected a number", NULL, 0);
    return v;
}

static void read_token(struct reader *r)
{
    bool negated = peek(r) == '!';
    r->at += negated;
    size_t at = r->at;
    uint32_t id = 0;
    if (!expect(r, "<"))
        return;
    if (peek(r) == '[') {
        r->at++;
        id = read_number(r, INT32_MAX);
        expect(r, "]>");
    } else {
        const char *end = memchr(r->s + at, '>', r->len - at);
        if (!end) {
            fail(r, GRAMMAR_BAD, at, "this token has no '>'", NULL, 0);
            return;
        }
        size_t n = (size_t)(end + 1 - (r->s + at));
        int32_t t = r->find ? r->find(r->ctx, r->s + at, n) : LLAMA_TOKEN_NULL;
        if (t == GRAMMAR_FIND_FAILED)
            fail(r, GRAMMAR_NO_MEMORY, at, "out of memory", NULL, 0);
        else if (t < 0)
            fail(r, GRAMMAR_BAD, at, "the vocabulary has no token", r->s + at, n);
        id = (uint32_t)t;
        r->at = at + n;
    }
    item_begins(r);
    struct grammar_node *n = append(r, GRAMMAR_TOKEN);
    n->a = id, n->flag = negated;
}

/* Repeat the last item: before -> REP -> item … AGAIN -> REP. */
static void wrap(struct reader *r, size_t at, uint32_t min, uint32_t max)
{
    if (!r->has_item)
        fail(r, GRAMMAR_BAD, at, "there is nothing before this to repeat", NULL, 0);
    if (min > max)
        fail(r, GRAMMAR_BAD, at, "this repetition runs backwards", NULL, 0);
    uint16_t body = r->result == GRAMMAR_OK ? r->g->node[r->before].next : 0;
    append(r, GRAMMAR_AGAIN);
    uint16_t again = r->tail, rep = node_new(r, GRAMMAR_REP);
    if (r->result != GRAMMAR_OK)
        return;
    struct grammar_node *v = r->g->node;
    v[rep].alt = body, v[rep].a = min, v[rep].b = max;
    v[again].alt = rep;
    v[r->before].next = rep;
    r->tail = rep;
}

static void read_repetition(struct reader *r)
{
    size_t at = r->at++;
    switch (r->s[at]) {
    case '*': wrap(r, at, 0, GRAMMAR_INFINITE); return;
    case '+': wrap(r, at, 1, GRAMMAR_INFINITE); return;
    case '?': wrap(r, at, 0, 1); return;
    }
    skip_space(r, r->depth > 0);
    uint32_t min = read_number(r, GRAMMAR_REPEAT_MAX), max = min;
    skip_space(r, r->depth > 0);
    if (peek(r) == ',') {
        r->at++;
        skip_space(r, r->depth > 0);
        max = peek(r) == '}' ? GRAMMAR_INFINITE : read_number(r, GRAMMAR_REPEAT_MAX);
        skip_space(r, r->depth > 0);
    }
    expect(r, "}");
    wrap(r, at, min, max);
}

/* ---- nbs/llm/24_grammar.ipynb § Rules and groups ---- */

static void open_alternatives(struct reader *r, size_t at, uint16_t join)
{
    uint16_t before = r->tail;
    append(r, GRAMMAR_ALT);
    r->frame[r->depth] = (struct frame){ (uint32_t)at, before, r->tail, join };
    r->has_item = false;
}

static void next_alternative(struct reader *r)
{
    struct frame *f = &r->frame[r->depth];
    uint16_t n = node_new(r, GRAMMAR_ALT);
    r->at++;
    r->g->node[r->tail].next = f->join;
    r->g->node[f->alt].alt = n;
    f->alt = r->tail = n;
    r->has_item = false;
    skip_space(r, true);
}

static void open_group(struct reader *r)
{
    size_t at = r->at++;
    if (r->depth == GRAMMAR_DEPTH_MAX) {
        fail(r, GRAMMAR_TOO_BIG, at, "too many groups inside each other", NULL, 0);
        return;
    }
    r->depth++;
    open_alternatives(r, at, node_new(r, GRAMMAR_NOP));
    skip_space(r, true);
}

static void close_group(struct reader *r)
{
    struct frame *f = &r->frame[r->depth];
    if (r->depth == 0) {
        fail(r, GRAMMAR_BAD, r->at, "there is no group to close", NULL, 0);
        return;
    }
    r->at++;
    r->depth--;
    r->g->node[r->tail].next = f->join;
    r->tail = f->join;
    r->before = f->before;
    r->has_item = true;
}

static void read_item(struct reader *r)
{
    int c = peek(r);
    struct grammar_node *n;
    switch (c) {
    case '"': read_literal(r); break;
    case '[': read_class(r); break;
    case '(': open_group(r); return;
    case ')': close_group(r); break;
    case '|': next_alternative(r); return;
    case '<': case '!': read_token(r); break;
    case '*': case '+': case '?': case '{': read_repetition(r); break;
    case '.':
        r->at++;
        item_begins(r);
        n = append(r, GRAMMAR_CHAR);
        n->a = 0, n->b = CODE_POINT_MAX;
        break;
    default: {
        uint16_t sym = read_name(r);
        item_begins(r);
        append(r, GRAMMAR_CALL)->a = sym;
    }
    }
    skip_space(r, r->depth > 0);
}

static void read_rule(struct reader *r)
{
    uint16_t sym = read_name(r);
    skip_space(r, false);
    expect(r, "::=");
    skip_space(r, true);
    r->depth = 0;
    r->tail = 0;
    open_alternatives(r, r->at, 0);
    if (r->result != GRAMMAR_OK)
        return;
    r->symbol[sym].start = r->tail;         // a second definition replaces the first
    r->symbol[sym].defined = true;
    while (r->result == GRAMMAR_OK && peek(r) != -1 &&
           (r->depth > 0 || (peek(r) != '\n' && peek(r) != '\r')))
        read_item(r);
    if (r->depth > 0)
        fail(r, GRAMMAR_BAD, r->frame[r->depth].at, "this group is not closed", NULL, 0);
    r->g->node[r->tail].next = 0;
    r->g->node[0].next = 0;
    skip_space(r, true);
}

/* ---- nbs/llm/24_grammar.ipynb § Rules that cannot work ---- */

static bool empty_now(const struct grammar_node *v, const uint8_t *e, uint32_t i)
{
    switch (v[i].op) {
    case GRAMMAR_END: case GRAMMAR_AGAIN: return true;
    case GRAMMAR_NOP: return e[v[i].next];
    case GRAMMAR_ALT: return e[v[i].next] || (v[i].alt && e[v[i].alt]);
    case GRAMMAR_CALL: return e[v[i].a] && e[v[i].next];
    case GRAMMAR_REP: return (v[i].a == 0 || e[v[i].alt]) && e[v[i].next];
    }
    return false;
}

/* Who asks about node i: chains of arrows, each with the number 2 * (node it leaves) + 1
 * or + 2. */
struct asking { uint16_t *first, *link; };

static void add_arrow(struct asking *q, uint32_t from, uint32_t k, uint32_t to)
{
    q->link[2 * from + k] = q->first[to];
    q->first[to] = (uint16_t)(2 * from + k + 1);
}

static void add_arrows(struct asking *q, const struct grammar_node *v, uint32_t i)
{
    uint8_t op = v[i].op;
    bool call = op == GRAMMAR_CALL, rep = op == GRAMMAR_REP, alt = op == GRAMMAR_ALT;
    if (op == GRAMMAR_NOP || call || rep || alt)
        add_arrow(q, i, 0, v[i].next);
    if (call)
        add_arrow(q, i, 1, v[i].a);
    else if (rep || (alt && v[i].alt))
        add_arrow(q, i, 1, v[i].alt);
}

/* e[i]: from node i the end of its rule or body can be reached without reading. todo has
 * room for all nodes: each turns empty once. */
static void find_empty(struct grammar *g, uint8_t *e, struct asking *q, uint16_t *todo)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        add_arrows(q, g->node, i);
        if (g->node[i].op == GRAMMAR_END || g->node[i].op == GRAMMAR_AGAIN) {
            e[i] = true;
            todo[n++] = (uint16_t)i;
        }
    }
    while (n)
        for (uint32_t k = q->first[todo[--n]]; k; k = q->link[k - 1]) {
            uint32_t i = (k - 1) / 2;
            g->work++;
            if (e[i] || !empty_now(g->node, e, i))
                continue;
            e[i] = true;
            todo[n++] = (uint16_t)i;
        }
}

/* The k-th node that can follow node i without reading; -1: there is no k-th. */
static int32_t follow(const struct grammar_node *v, const uint8_t *e, uint32_t i, int k)
{
    switch (v[i].op) {
    case GRAMMAR_NOP: return k == 0 ? v[i].next : -1;
    case GRAMMAR_ALT: return k == 0 ? v[i].next : k == 1 && v[i].alt ? v[i].alt : -1;
    case GRAMMAR_CALL:
        return k == 0 ? (int32_t)v[i].a : k == 1 && e[v[i].a] ? v[i].next : -1;
    case GRAMMAR_REP:
        if (k == 0)
            return v[i].b ? v[i].alt : v[i].next;
        return k == 1 && v[i].a == 0 ? v[i].next : -1;
    }
    return -1;
}

/* Depth-first from node `from`; a CALL on a loop, or 0. seen[i]: 0 not yet, k + 1
 * inside, at its k-th follower, 255 done. */
static uint32_t find_loop(struct grammar *g, const uint8_t *e, uint8_t *seen,
                          uint16_t *stack, uint32_t from)
{
    uint32_t depth = 1;
    for (stack[0] = (uint16_t)from; depth; ) {
        uint32_t i = stack[depth - 1];
        int32_t n = follow(g->node, e, i, seen[i]++);
        g->work++;
        if (n < 0) {
            seen[i] = 255;
            depth--;
        } else if (seen[n] == 0) {
            stack[depth++] = (uint16_t)n;
        } else if (seen[n] != 255) {
            while (g->node[stack[depth - 1]].op != GRAMMAR_CALL)
                depth--;
            return stack[depth - 1];
        }
    }
    return 0;
}

static void link_rules(struct reader *r, uint16_t *owner)
{
    for (uint32_t i = 0; i < r->g->n_nodes; i++) {
        struct grammar_node *n = &r->g->node[i];
        if (n->op != GRAMMAR_CALL)
            continue;
        const struct symbol *y = &r->symbol[n->a];
        if (!y->defined)
            fail(r, GRAMMAR_BAD, y->at, "there is no rule", r->s + y->at, y->len);
        owner[i] = (uint16_t)n->a;
        n->a = y->start;
    }
    r->g->root = 0;
    for (uint32_t i = 1; i < r->n_symbols; i++) {
        const struct symbol *y = &r->symbol[i];
        if (y->len == 4 && !memcmp(r->s + y->at, "root", 4) && y->defined)
            r->g->root = y->start;
    }
    if (!r->g->root)
        fail(r, GRAMMAR_BAD, r->len, "there is no rule 'root'", NULL, 0);
}

static void check_rules(struct reader *r)
{
    struct grammar *g = r->g;
    size_t n = g->n_nodes;
    uint8_t *e = kcalloc(n, 2 + 5 * sizeof(uint16_t));
    if (!e) {
        fail(r, GRAMMAR_NO_MEMORY, r->len, "out of memory", NULL, 0);
        return;
    }
    uint8_t *seen = e + n;
    uint16_t *stack = (uint16_t *)(void *)(e + 2 * n), *owner = stack + n;
    struct asking q = { owner + n, owner + 2 * n };
    link_rules(r, owner);
    if (r->result == GRAMMAR_OK)
        find_empty(g, e, &q, stack);
    for (uint32_t i = 0; i < n; i++)
        if (g->node[i].op == GRAMMAR_REP && e[g->node[i].alt]) {
            g->node[i].flag = true;
            g->node[i].a = 0;              // what may be empty may also be left out
        }
    for (uint32_t i = 0; i < n && r->result == GRAMMAR_OK; i++) {
        uint32_t loop = seen[i] ? 0 : find_loop(g, e, seen, stack, i);
        if (loop) {
            const struct symbol *y = &r->symbol[owner[loop]];
            fail(r, GRAMMAR_BAD, y->at, "left recursion: nothing is read before the rule "
                 "begins again:", r->s + y->at, y->len);
        }
    }
    kfree(e);
}

enum grammar_result grammar_parse(struct grammar *g, const char *text, size_t len,
                                  grammar_find_token find, const void *ctx,
                                  struct grammar_error *err)
{
    memset(g, 0, sizeof *g);
    memset(err, 0, sizeof *err);
    struct reader *r = kcalloc(1, sizeof *r);
    if (!r)
        return GRAMMAR_NO_MEMORY;
    *r = (struct reader){ .s = text, .len = len, .g = g, .find = find, .ctx = ctx,
                          .err = err, .n_symbols = 1 };
    if (len > GRAMMAR_TEXT_MAX)
        fail(r, GRAMMAR_TOO_BIG, 0, "the grammar's text is too long", NULL, 0);
    node_new(r, GRAMMAR_END);
    skip_space(r, true);
    while (r->result == GRAMMAR_OK && r->at < len)
        read_rule(r);
    if (r->result == GRAMMAR_OK)
        check_rules(r);
    g->n_rules = r->n_symbols - 1;
    enum grammar_result result = r->result;
    kfree(r->symbol);
    kfree(r);
    if (result != GRAMMAR_OK)
        grammar_free(g);
    return result;
}

void grammar_free(struct grammar *g)
{
    kfree(g->node);
    kfree(g->range);
    memset(g, 0, sizeof *g);
}

/* ---- nbs/llm/24_grammar.ipynb § A set of stacks ---- */

/* ---- Part 2: following text ---- */

/* The cell with this content, made if need be. 0: the array is full. */
static uint16_t cell_intern(struct grammar_matcher *m, uint16_t node, uint16_t parent,
                            uint32_t count)
{
    uint32_t h = (node * 31u + parent) * 31u + count;
    uint16_t *b = &m->cell_bucket[(h ^ h >> 10) % 1024];
    for (uint16_t i = *b; i; i = m->cell[i].link) {
        const struct grammar_cell *c = &m->cell[i];
        if (c->node == node && c->parent == parent && c->count == count)
            return i;
    }
    if (m->n_cells == GRAMMAR_CELLS_MAX) {
        m->full = true;
        return 0;
    }
    m->cell[m->n_cells] = (struct grammar_cell){ node, parent, *b, 0, count };
    return *b = (uint16_t)m->n_cells++;
}

/* Visit this stack in the present closure, unless it was visited already. */
static void visit(struct grammar_matcher *m, uint16_t node, uint16_t parent,
                  uint32_t count)
{
    uint16_t c = cell_intern(m, node, parent, count);
    m->stats.work++;
    if (!c || m->cell[c].epoch == m->epoch)
        return;
    m->cell[c].epoch = m->epoch;
    m->pending[m->n_pending++] = c;
}

static void add_entry(struct grammar_matcher *m, uint16_t cell)
{
    if (m->n_entries == GRAMMAR_ENTRIES_MAX)
        m->full = true;
    else
        m->entry[m->n_entries++] = cell;
}

static void visit_again(struct grammar_matcher *m, uint16_t rep_cell)
{
    const struct grammar_cell *c = &m->cell[rep_cell];
    const struct grammar_node *rep = &m->g->node[c->node];
    if (rep->flag && c->epoch == m->epoch)
        return;                            // nothing was read: see the text
    uint32_t count = c->count + 1;
    if (rep->b == GRAMMAR_INFINITE && count > rep->a)
        count = rep->a;                    // past the minimum all counts are alike
    visit(m, c->node, c->parent, count);
}

static void close_stacks(struct grammar_matcher *m)
{
    const struct grammar_node *v = m->g->node;
    while (m->n_pending && !m->full) {
        uint16_t i = m->pending[--m->n_pending];
        struct grammar_cell c = m->cell[i];
        const struct grammar_node *n = &v[c.node];
        switch (n->op) {
        case GRAMMAR_NOP: visit(m, n->next, c.parent, 0); break;
        case GRAMMAR_ALT:
            if (n->alt)
                visit(m, n->alt, c.parent, 0);
            visit(m, n->next, c.parent, 0);
            break;
        case GRAMMAR_CALL: visit(m, (uint16_t)n->a, i, 0); break;
        case GRAMMAR_REP:
            if (c.count >= n->a)
                visit(m, n->next, c.parent, 0);
            if (c.count < n->b)
                visit(m, n->alt, i, 0);
            break;
        case GRAMMAR_AGAIN: visit_again(m, c.parent); break;
        case GRAMMAR_END:
            if (c.parent)
                visit(m, v[m->cell[c.parent].node].next, m->cell[c.parent].parent, 0);
            else
                add_entry(m, i);           // the end of root
            break;
        default: add_entry(m, i);
        }
    }
    m->n_pending = 0;
}

/* ---- nbs/llm/24_grammar.ipynb § States, made when first needed ---- */

static void open_epoch(struct grammar_matcher *m)
{
    m->n_pending = 0;
    m->full = false;
    if (++m->epoch == 0) {                 // wrapped: old marks would look new
        for (uint32_t i = 0; i < m->n_cells; i++)
            m->cell[i].epoch = 0;
        m->epoch = 1;
    }
}

/* The entries from `first` on as a state: an old one if there is an equal one, which
 * takes the entries back. 0: no entries, or no room (m->full). */
static uint16_t state_intern(struct grammar_matcher *m, uint32_t first, struct utf8 u)
{
    uint32_t n = m->n_entries - first, h = u.value * 31 + u.need;
    for (uint32_t i = 0; i < n; i++)
        h = h * 31 + m->entry[first + i];
    uint16_t *b = &m->state_bucket[(h ^ h >> 8) % 256], i = *b;
    for (; i; i = m->states[i].link) {
        const struct grammar_state *s = &m->states[i];
        if (s->n == n && s->value == u.value && s->need == u.need &&
            s->total == u.total &&
            !memcmp(&m->entry[s->first], &m->entry[first], n * sizeof m->entry[0]))
            break;
    }
    if (!i && m->n_states == GRAMMAR_STATES_MAX)
        m->full = true;
    if (i || n == 0 || m->full) {
        m->n_entries = first;
        return m->full ? 0 : i;
    }
    m->states[m->n_states] = (struct grammar_state){
        (uint16_t)first, (uint16_t)n, *b, u.need, u.total, u.value };
    return *b = (uint16_t)m->n_states++;
}

/* Can the node match a character in [lo, hi]? */
static bool node_matches(const struct grammar *g, const struct grammar_node *n,
                         uint32_t lo, uint32_t hi)
{
    if (n->op == GRAMMAR_CHAR)
        return n->a <= hi && n->b >= lo;
    if (n->op != GRAMMAR_CLASS)
        return false;
    uint32_t from = n->a, to = n->a + n->b;    // the first range that does not end before
    while (from < to) {
        uint32_t mid = from + (to - from) / 2;
        if (g->range[mid].hi < lo)
            from = mid + 1;
        else
            to = mid;
    }
    return from < n->a + n->b && g->range[from].lo <= hi;
}

static uint16_t derive(struct grammar_matcher *m, uint16_t from, uint8_t byte)
{
    struct grammar_state s = m->states[from];
    struct utf8 u = { s.value, s.need, s.total };
    uint32_t lo, hi, first = m->n_entries;
    if (!utf8_step(&u, byte, &lo, &hi))
        return 0;
    open_epoch(m);
    for (uint32_t i = 0; i < s.n && !m->full; i++) {
        uint16_t e = m->entry[s.first + i];
        const struct grammar_node *n = &m->g->node[m->cell[e].node];
        m->stats.work++;
        if (!node_matches(m->g, n, lo, hi))
            continue;
        if (u.need)
            add_entry(m, e);
        else
            visit(m, n->next, m->cell[e].parent, 0);
    }
    close_stacks(m);
    return state_intern(m, first, u.need ? u : (struct utf8){ 0 });
}

static uint16_t step(struct grammar_matcher *m, uint16_t from, uint8_t byte)
{
    struct grammar_step *k = &m->memo[(from * 257u + byte) % GRAMMAR_MEMO_SIZE];
    m->stats.steps++;
    m->full = false;
    if (k->used && k->from == from && k->byte == byte) {
        m->stats.hits++;
        return k->to;
    }
    uint16_t to = derive(m, from, byte);
    if (!m->full)
        *k = (struct grammar_step){ from, to, byte, 1 };
    return to;
}

/* ---- nbs/llm/24_grammar.ipynb § When memory is full ---- */

/* Slide the entries of a state down to n_entries. */
static void keep_state(struct grammar_matcher *m, struct grammar_state s, uint16_t id)
{
    for (uint32_t i = 0; i < s.n; i++)      // pending: the cells' new numbers
        m->entry[m->n_entries + i] = m->pending[m->entry[s.first + i]];
    s.first = (uint16_t)m->n_entries;
    m->n_entries += s.n;
    s.link = 0;
    m->states[id] = s;
}

static void rehash(struct grammar_matcher *m)
{
    uint32_t n_cells = m->n_cells, n_states = m->n_states, n_entries = m->n_entries;
    memset(m->cell_bucket, 0, sizeof m->cell_bucket);
    memset(m->state_bucket, 0, sizeof m->state_bucket);
    memset(m->memo, 0, sizeof m->memo);
    m->n_cells = m->n_states = 1;
    m->full = false;
    for (uint32_t i = 1; i < n_cells; i++)
        cell_intern(m, m->cell[i].node, m->cell[i].parent, m->cell[i].count);
    for (uint32_t i = 1; i < n_states; i++) {
        struct grammar_state s = m->states[i];
        m->n_entries = (uint32_t)s.first + s.n;
        state_intern(m, s.first, (struct utf8){ s.value, s.need, s.total });
    }
    m->n_entries = n_entries;
}

static void flush(struct grammar_matcher *m, uint16_t *here)
{
    struct grammar_state a = m->states[m->state], b = m->states[*here];
    uint16_t *map = m->pending;
    memset(map, 0, sizeof m->pending);
    for (uint32_t i = 0; i < a.n; i++)
        map[m->entry[a.first + i]] = 1;
    for (uint32_t i = 0; i < b.n; i++)
        map[m->entry[b.first + i]] = 1;
    for (uint32_t i = m->n_cells - 1; i > 0; i--)
        if (map[i])
            map[m->cell[i].parent] = 1;
    uint16_t n = 1;
    map[0] = 0;
    for (uint32_t i = 1; i < m->n_cells; i++)
        if (map[i]) {
            m->cell[n] = m->cell[i];
            m->cell[n].parent = map[m->cell[i].parent];
            map[i] = n++;
        }
    bool same = m->state == *here, a_first = a.first <= b.first;
    m->n_cells = n;
    m->n_entries = 0;
    keep_state(m, a_first ? a : b, 1);
    if (!same)
        keep_state(m, a_first ? b : a, 2);
    m->n_states = same ? 2 : 3;
    rehash(m);
    m->state = same || a_first ? 1 : 2;
    *here = same || !a_first ? 1 : 2;
    m->stats.flushes++;
}

/* One more byte, with a flush if that is what it takes. 0: no. */
static uint16_t advance(struct grammar_matcher *m, uint16_t *at, uint8_t byte)
{
    uint16_t to = step(m, *at, byte);
    if (m->full) {
        flush(m, at);
        to = step(m, *at, byte);
        m->stats.refused += m->full;
    }
    return to;
}

enum grammar_result grammar_init(struct grammar_matcher **out, const struct grammar *g)
{
    struct grammar_matcher *m = *out = kcalloc(1, sizeof *m);
    if (!m)
        return GRAMMAR_NO_MEMORY;
    m->g = g;
    m->n_cells = m->n_states = 1;
    open_epoch(m);
    visit(m, g->root, 0, 0);
    close_stacks(m);
    m->state = state_intern(m, 0, (struct utf8){ 0 });
    if (m->state)
        return GRAMMAR_OK;
    kfree(m);
    *out = NULL;
    return GRAMMAR_TOO_BIG;
}

struct grammar_matcher *grammar_clone(const struct grammar_matcher *m)
{
    struct grammar_matcher *c = kmalloc(sizeof *c);
    if (c)
        memcpy(c, m, sizeof *c);           // numbers only: nothing to redirect
    return c;
}

void grammar_release(struct grammar_matcher *m) { kfree(m); }

/* The state after `text`, or 0. m->state means the same as before. */
static uint16_t walk(struct grammar_matcher *m, const char *text, size_t len)
{
    uint16_t s = m->state;
    for (size_t i = 0; s && i < len; i++)
        s = advance(m, &s, (uint8_t)text[i]);
    return s;
}

bool grammar_accept(struct grammar_matcher *m, const char *text, size_t len)
{
    uint16_t s = walk(m, text, len);
    if (s)
        m->state = s;
    return s != 0;
}

bool grammar_complete(const struct grammar_matcher *m)
{
    const struct grammar_state *s = &m->states[m->state];
    for (uint32_t i = 0; i < s->n && !s->need; i++)
        if (m->g->node[m->cell[m->entry[s->first + i]].node].op == GRAMMAR_END)
            return true;
    return false;
}

/* ---- nbs/llm/24_grammar.ipynb § A vocabulary in alphabetical order ---- */

/* ---- Part 3: judging vocabularies ---- */

static bool bit_get(const uint32_t *b, int32_t i) { return b[i / 32] >> (i % 32) & 1; }
static void bit_set(uint32_t *b, int32_t i) { b[i / 32] |= 1u << (i % 32); }

bool grammar_vocab_init(struct grammar_vocab *v, struct arena *a, int32_t n_tokens)
{
    size_t n = (size_t)n_tokens, words = (n + 31) / 32;
    *v = (struct grammar_vocab){ .n_tokens = n_tokens };
    v->piece = arena_alloc(a, n * sizeof *v->piece, 16);
    v->shared = arena_alloc(a, n * sizeof *v->shared, 16);
    v->rank = arena_alloc(a, n * sizeof *v->rank, 16);
    v->eog = arena_alloc(a, 2 * words * sizeof *v->eog, 16);
    if (!v->piece || !v->shared || !v->rank || !v->eog)
        return false;
    v->allowed = v->eog + words;
    memset(v->eog, 0, 2 * words * sizeof *v->eog);
    for (size_t i = 0; i < n; i++)
        v->rank[i] = -1;
    return true;
}

void grammar_vocab_add(struct grammar_vocab *v, int32_t id, const char *text,
                       size_t len, bool eog)
{
    if (id < 0 || id >= v->n_tokens)
        return;
    if (eog)
        bit_set(v->eog, id);
    else if (len > 0 && len <= GRAMMAR_PIECE_MAX && v->n_pieces < v->n_tokens)
        v->piece[v->n_pieces++] = (struct grammar_piece){ text, (uint32_t)len, id };
}

static int by_text(const void *a, const void *b)
{
    const struct grammar_piece *x = a, *y = b;
    int c = memcmp(x->text, y->text, x->len < y->len ? x->len : y->len);
    return c ? c : x->len < y->len ? -1 : x->len > y->len;
}

void grammar_vocab_sort(struct grammar_vocab *v)
{
    qsort(v->piece, (size_t)v->n_pieces, sizeof *v->piece, by_text);
    for (int32_t i = 0; i < v->n_pieces; i++) {
        const struct grammar_piece *p = &v->piece[i];
        uint16_t k = 0;
        while (i > 0 && k < p->len && k < p[-1].len && p->text[k] == p[-1].text[k])
            k++;
        v->shared[i] = k;
        v->rank[p->id] = i;
    }
}

/* Mark all pieces that can come. false: too much work. */
static bool walk_vocab(struct grammar_matcher *m, const struct grammar_vocab *v)
{
    uint16_t path[GRAMMAR_PIECE_MAX + 1];
    uint32_t known = 0, dead = UINT32_MAX;      // the last was refused at byte `dead`
    uint64_t end = m->stats.work + GRAMMAR_WORK_MAX;
    for (int32_t i = 0; i < v->n_pieces; i++) {
        const struct grammar_piece *p = &v->piece[i];
        if (v->shared[i] > dead)
            continue;
        uint32_t d = v->shared[i] < known ? v->shared[i] : known;
        uint32_t flushes = m->stats.flushes;
        path[0] = m->state;
        uint16_t s = path[d];
        for (; s && d < p->len; d += s != 0) {
            s = advance(m, &path[d], (uint8_t)p->text[d]);
            path[d + 1] = s;
        }
        known = flushes == m->stats.flushes ? d : 0;
        dead = s ? UINT32_MAX : d;
        if (s)
            bit_set(v->allowed, p->id);
        if (m->stats.work > end)
            return false;
    }
    return true;
}

/* Does entry i ask for this token by its number? */
static bool token_matches(const struct grammar_matcher *m, uint32_t i, int32_t id)
{
    const struct grammar_state *s = &m->states[m->state];
    const struct grammar_cell *c = &m->cell[m->entry[s->first + i]];
    const struct grammar_node *n = &m->g->node[c->node];
    return n->op == GRAMMAR_TOKEN && !s->need && ((uint32_t)id == n->a) != n->flag;
}

static void mark_tokens(struct grammar_matcher *m, const struct grammar_vocab *v)
{
    const struct grammar_state *s = &m->states[m->state];
    for (uint32_t i = 0; i < s->n; i++) {
        const struct grammar_node *n = &m->g->node[m->cell[m->entry[s->first + i]].node];
        if (n->op != GRAMMAR_TOKEN)
            continue;
        for (int32_t k = 0; n->flag && k < v->n_tokens; k++)
            if (token_matches(m, i, k))
                bit_set(v->allowed, k);
        int32_t id = (int32_t)n->a;
        if (!n->flag && id < v->n_tokens && token_matches(m, i, id))
            bit_set(v->allowed, id);
    }
}

/* The state after token `id` taken as a whole, 0 if no entry asks for it. */
static uint16_t step_token(struct grammar_matcher *m, int32_t id)
{
    struct grammar_state s = m->states[m->state];
    uint32_t first = m->n_entries;
    open_epoch(m);
    for (uint32_t i = 0; i < s.n && !m->full; i++) {
        uint16_t e = m->entry[s.first + i];
        if (token_matches(m, i, id))
            visit(m, m->g->node[m->cell[e].node].next, m->cell[e].parent, 0);
    }
    close_stacks(m);
    return state_intern(m, first, (struct utf8){ 0 });
}

/* Two states as one. */
static uint16_t state_union(struct grammar_matcher *m, uint16_t a, uint16_t b)
{
    uint32_t first = m->n_entries;
    open_epoch(m);
    for (int k = 0; k < 2; k++) {
        struct grammar_state s = m->states[k ? b : a];
        for (uint32_t i = 0; i < s.n; i++) {
            uint16_t e = m->entry[s.first + i];
            if (m->cell[e].epoch != m->epoch)
                add_entry(m, e);
            m->cell[e].epoch = m->epoch;
        }
    }
    return state_intern(m, first, (struct utf8){ 0 });
}

/* The state after a token that does not end generation; 0: it may not come. */
static uint16_t after_token(struct grammar_matcher *m, const struct grammar_vocab *v,
                            int32_t id)
{
    const struct grammar_piece *p = v->rank[id] >= 0 ? &v->piece[v->rank[id]] : NULL;
    for (int turn = 0; turn < 2; turn++) {
        uint16_t text = p ? walk(m, p->text, p->len) : 0;
        uint16_t whole = step_token(m, id);
        if (!m->full && whole && text && !m->states[text].need)
            whole = state_union(m, whole, text);
        if (!m->full)
            return whole ? whole : text;
        flush(m, &m->state);
    }
    m->stats.refused++;
    return 0;
}

bool grammar_allows(struct grammar_matcher *m, const struct grammar_vocab *v, int32_t id)
{
    if (id < 0 || id >= v->n_tokens)
        return false;
    return bit_get(v->eog, id) ? grammar_complete(m) : after_token(m, v, id) != 0;
}

bool grammar_accept_token(struct grammar_matcher *m, const struct grammar_vocab *v,
                          int32_t id)
{
    if (id < 0 || id >= v->n_tokens)
        return false;
    if (bit_get(v->eog, id))
        return grammar_complete(m);
    uint16_t s = after_token(m, v, id);
    if (s)
        m->state = s;
    return s != 0;
}

int32_t grammar_mask(struct grammar_matcher *m, const struct grammar_vocab *v,
                     struct llama_token_data *cand, int32_t n)
{
    size_t words = ((size_t)v->n_tokens + 31) / 32;
    bool complete = grammar_complete(m);
    int32_t left = 0;
    memset(v->allowed, 0, words * sizeof *v->allowed);
    bool done = walk_vocab(m, v);
    mark_tokens(m, v);
    for (size_t i = 0; i < words; i++)
        v->allowed[i] = complete ? v->allowed[i] | v->eog[i] : v->allowed[i] & ~v->eog[i];
    for (int32_t i = 0; i < n; i++)
        if (!done || cand[i].id < 0 || cand[i].id >= v->n_tokens ||
            !bit_get(v->allowed, cand[i].id))
            cand[i].logit = -INFINITY;
        else
            left++;
    return done ? left : -1;
}

bool grammar_vocab_load(struct grammar_vocab *v, const struct llama_vocab *from,
                        struct arena *a)
{
    char buf[GRAMMAR_PIECE_MAX];
    int32_t n_tokens = llama_vocab_n_tokens(from);
    if (!grammar_vocab_init(v, a, n_tokens))
        return false;
    for (int32_t id = 0; id < n_tokens; id++) {
        int32_t n = llama_token_to_piece(from, id, buf, sizeof buf, 0, false);
        char *text = n > 0 ? arena_alloc(a, (size_t)n, 1) : buf;
        if (!text)
            return false;
        if (n > 0)
            memcpy(text, buf, (size_t)n);
        grammar_vocab_add(v, id, text, n > 0 ? (size_t)n : 0,
                          llama_vocab_is_eog(from, id));
    }
    grammar_vocab_sort(v);
    return true;
}
