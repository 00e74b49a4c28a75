/* jinja_lexer.c: tangled from nbs/llm/26_jinja.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/26_jinja.ipynb § Text and tags ---- */

/* jinja_lexer.c: a template's bytes to tokens; see jinja_impl.h. */
#include "base/stdlib.h"
#include "base/string.h"
#include "llm/jinja_impl.h"

bool jinja_lex_init(struct jinja_lexer *x, struct jinja_run *r, const char *text,
                    size_t len)
{
    *x = (struct jinja_lexer){ .r = r, .line = 1, .mode = TOKEN_TEXT };
    char *s = len <= JINJA_TEMPLATE_MAX ? jinja_alloc(r, len + 1) : NULL;
    if (!s) {
        jinja_fail(r, JINJA_TOO_BIG, "a template of more than %u bytes",
                   JINJA_TEMPLATE_MAX);
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        bool cr = text[i] == '\r';
        s[x->len++] = cr ? '\n' : text[i];
        if (cr && i + 1 < len && text[i + 1] == '\n')
            i++;
    }
    if (x->len && s[x->len - 1] == '\n')
        x->len--;
    x->s = s;
    return true;
}

static int at(const struct jinja_lexer *x, uint32_t ahead)
{
    return ahead < x->len - x->at ? (uint8_t)x->s[x->at + ahead] : -1;
}

static void advance(struct jinja_lexer *x, uint32_t n)
{
    for (; n && x->at < x->len; n--)
        x->line += x->s[x->at++] == '\n';
}

static void skip_space(struct jinja_lexer *x)
{
    uint32_t c, n;
    while (x->at < x->len) {
        n = jinja_char(x->s + x->at, x->len - x->at, &c);
        if (!jinja_is_space(c))
            return;
        advance(x, n);
    }
}

/* Does a closing delimiter, perhaps with a sign, stand here? Its length, or 0. */
static uint32_t closing(const struct jinja_lexer *x, char first)
{
    bool sign = at(x, 0) == '-' || (at(x, 0) == '+' && first != '}');
    return at(x, sign) == first && at(x, sign + 1u) == '}' ? 2u + sign : 0;
}

/* Step over a closing delimiter and the white space that goes with it. */
static void close_tag(struct jinja_lexer *x, char first, uint32_t n)
{
    int sign = n == 3 ? at(x, 0) : 0;
    advance(x, n);
    if (sign == '-')
        skip_space(x);
    else if (!sign && first != '}' && at(x, 0) == '\n')
        advance(x, 1);
    x->mode = TOKEN_TEXT;
}

/* The end of the text from `from` to x->at, where a tag begins. */
static uint32_t strip_before(const struct jinja_lexer *x, uint32_t from)
{
    uint32_t end = x->at, line = x->at, c;
    int kind = at(x, 1), sign = at(x, 2);
    if (sign == '+' || (sign != '-' && kind == '{'))
        return end;
    while (line > from && x->s[line - 1] != '\n')
        line--;
    if (sign == '-')
        line = from;
    else if (line == from && from && x->s[from - 1] != '\n')
        return end;                        // something stands before it on this line
    uint32_t kept = line;
    for (uint32_t i = line, n; i < end; i += n) {
        n = jinja_char(x->s + i, end - i, &c);
        if (!jinja_is_space(c))
            kept = i + n;
    }
    return sign == '-' || kept == line ? kept : end;
}

static void skip_comment(struct jinja_lexer *x)
{
    uint32_t line = x->line, n;
    advance(x, at(x, 2) == '-' || at(x, 2) == '+' ? 3 : 2);
    while (x->at < x->len) {
        if ((n = closing(x, '#')) != 0) {
            close_tag(x, '#', n);
            return;
        }
        advance(x, 1);
    }
    x->r->line = line;
    jinja_fail(x->r, JINJA_BAD, "this comment is not closed");
}

static struct jinja_token token(const struct jinja_lexer *x, int type, uint32_t from)
{
    return (struct jinja_token){ .type = (uint8_t)type, .line = x->line, .at = from,
                                 .len = x->at - from };
}

/* Text up to the next tag, or the opening of the tag that stands here. A comment is an
 * empty text. */
static struct jinja_token lex_text(struct jinja_lexer *x)
{
    uint32_t from = x->at, line = x->line;
    while (x->at < x->len &&
           !(at(x, 0) == '{' && (at(x, 1) == '{' || at(x, 1) == '%' || at(x, 1) == '#')))
        advance(x, 1);
    struct jinja_token t = token(x, TOKEN_TEXT, from);
    t.line = line;
    if (x->at == x->len || x->at > from) {
        t.len = x->at < x->len ? strip_before(x, from) - from : t.len;
        return t;
    }
    int kind = at(x, 1), sign = at(x, 2);
    if (kind == '#') {
        skip_comment(x);
        return t;
    }
    x->mode = t.type = kind == '{' ? TOKEN_VAR : TOKEN_BLOCK;
    x->open = 0;
    advance(x, sign == '-' || sign == '+' ? 3 : 2);
    return t;
}

static bool is_word(int c) { return c == '_' || c >= 0x80 || (c > 0 && isalnum(c)); }

static struct jinja_token lex_string(struct jinja_lexer *x)
{
    int quote = at(x, 0);
    uint32_t line = x->line;
    advance(x, 1);
    uint32_t from = x->at;
    while (at(x, 0) != -1 && at(x, 0) != quote)
        advance(x, at(x, 0) == '\\' ? 2 : 1);
    struct jinja_token t = token(x, TOKEN_STRING, from);
    t.line = line;
    if (at(x, 0) == -1)
        jinja_fail(x->r, JINJA_BAD, "this string is not closed");
    advance(x, 1);
    return t;
}

static uint32_t digits(struct jinja_lexer *x)
{
    uint32_t n = 0;
    while (at(x, 0) != -1 && (isdigit(at(x, 0)) ||
                              (n && at(x, 0) == '_' && at(x, 1) != -1 &&
                               isdigit(at(x, 1))))) {
        advance(x, 1);
        n++;
    }
    return n;
}

static struct jinja_token lex_number(struct jinja_lexer *x)
{
    uint32_t from = x->at;
    bool real = false, after_dot = from && x->s[from - 1] == '.';
    digits(x);
    if (!after_dot && at(x, 0) == '.' && at(x, 1) != -1 && isdigit(at(x, 1))) {
        advance(x, 1);
        digits(x);
        real = true;
    }
    uint32_t sign = at(x, 1) == '+' || at(x, 1) == '-';
    if (!after_dot && (at(x, 0) == 'e' || at(x, 0) == 'E') && at(x, 1 + sign) != -1 &&
        isdigit(at(x, 1 + sign))) {
        advance(x, 1 + sign);
        digits(x);
        real = true;
    }
    return token(x, real ? TOKEN_FLOAT : TOKEN_INT, from);
}

static struct jinja_token lex_operator(struct jinja_lexer *x)
{
    int c = at(x, 0), d = at(x, 1);
    bool two = (d == '=' && (c == '=' || c == '!' || c == '<' || c == '>')) ||
               (c == d && (c == '*' || c == '/'));
    struct jinja_token t = token(x, TOKEN_OPERATOR, x->at);
    if (!two && (!c || !strchr("+-*/%~[](){}<>=.:|,", c)))
        jinja_fail(x->r, JINJA_BAD, "unexpected character '%c'",
                   c < 127 && c > 31 ? c : '?');
    if (c == '(' || c == '[' || c == '{')
        x->open++;
    else if ((c == ')' || c == ']' || c == '}') && x->open)
        x->open--;
    advance(x, two ? 2 : 1);
    t.operator = OPERATOR(c, two ? d : 0);
    return t;
}

struct jinja_token jinja_lex(struct jinja_lexer *x)
{
    char end = x->mode == TOKEN_VAR ? '}' : '%';
    if (jinja_failed(x->r))
        return token(x, TOKEN_END, x->at);
    if (x->mode == TOKEN_TEXT)
        return x->at < x->len ? lex_text(x) : token(x, TOKEN_END, x->at);
    skip_space(x);
    x->r->line = x->line;
    uint32_t n = x->open ? 0 : closing(x, end), from = x->at;
    if (n) {
        struct jinja_token t = token(x, x->mode == TOKEN_VAR ? TOKEN_VAR_END
                                                             : TOKEN_BLOCK_END, from);
        close_tag(x, end, n);
        return t;
    }
    int c = at(x, 0);
    if (c == -1) {
        jinja_fail(x->r, JINJA_BAD, "the template ends inside a tag");
        return token(x, TOKEN_END, from);
    }
    if (c == '\'' || c == '"')
        return lex_string(x);
    if (isdigit(c))
        return lex_number(x);
    if (!is_word(c))
        return lex_operator(x);
    while (is_word(at(x, 0)))
        advance(x, 1);
    return token(x, TOKEN_NAME, from);
}

static uint32_t hex(const char *s, size_t len, size_t n, bool *ok)
{
    uint32_t v = 0;
    *ok = n <= len;
    for (size_t i = 0; *ok && i < n; i++) {
        *ok = isxdigit((uint8_t)s[i]);
        v = v << 4 | (uint32_t)(isdigit(s[i]) ? s[i] - '0' : tolower(s[i]) - 'a' + 10);
    }
    return v;
}

static void add_code(struct jinja_run *r, struct jinja_text *t, uint32_t c)
{
    char u[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    if (c > 0x10FFFF || (c >= 0xD800 && c < 0xE000))
        jinja_fail(r, JINJA_BAD, "no such character as U+%04X", (unsigned)c);
    for (size_t i = n; i-- > 1; c >>= 6)
        u[i] = (char)(0x80 | (c & 0x3F));
    u[0] = (char)(n == 1 ? c : (0xF00u >> n) | c);
    jinja_text_add(r, t, u, n);
}

/* One escape after the backslash at s[0]; how many bytes it takes. */
static size_t add_escape(struct jinja_run *r, struct jinja_text *t, const char *s,
                         size_t len)
{
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    const char *simple = s[1] ? strchr(from, s[1]) : NULL;
    if (s[1] == '\n')
        return 2;
    if (simple) {
        jinja_text_add(r, t, &to[simple - from], 1);
        return 2;
    }
    if (s[1] >= '0' && s[1] <= '7') {
        size_t n = 1;
        uint32_t v = 0;
        for (; n < 4 && n < len && s[n] >= '0' && s[n] <= '7'; n++)
            v = v * 8 + (uint32_t)(s[n] - '0');
        add_code(r, t, v);
        return n;
    }
    size_t n = s[1] == 'x' ? 2 : s[1] == 'u' ? 4 : s[1] == 'U' ? 8 : 0;
    bool ok = true;
    if (n) {
        uint32_t c = hex(s + 2, len - 2, n, &ok);
        if (ok)
            add_code(r, t, c);
    } else if (s[1] == 'N') {
        ok = false;
    } else {
        jinja_text_add(r, t, s, 2);              // no escape: both stay
    }
    if (!ok)
        jinja_fail(r, JINJA_BAD, "a broken \\%c escape", s[1]);
    return 2 + n;
}

struct jinja_value jinja_unquote(struct jinja_run *r, const char *s, size_t len)
{
    struct jinja_text t = { 0 };
    if (!memchr(s, '\\', len))
        return jinja_string(s, len);
    for (size_t i = 0; i < len && !jinja_failed(r);)
        if (s[i] == '\\' && len - i > 1)
            i += add_escape(r, &t, s + i, len - i);
        else
            jinja_text_add(r, &t, s + i++, 1);
    return jinja_text_value(&t);
}

/* [sign] digits [. digits] [e digits], or an infinity or nan: UNDEFINED if it is not. */
struct jinja_value jinja_read_number(struct jinja_run *r, const char *s, size_t len)
{
    struct jinja_text t = { 0 };
    bool real = false, any = false, neg = len && *s == '-';
    uint64_t v = 0, max = (uint64_t)INT64_MAX + neg;
    for (size_t i = 0; i < len; i++) {
        bool digit = isdigit((uint8_t)s[i]);
        if (s[i] == '_' && any && i + 1 < len && isdigit((uint8_t)s[i + 1]))
            continue;
        any = digit;
        real |= !digit && !(i == 0 && (*s == '-' || *s == '+'));
        jinja_text_add(r, &t, s + i, 1);
        if (digit && !real && v > (max - (uint64_t)(s[i] - '0')) / 10) {
            jinja_fail(r, JINJA_BAD, "an integer of more than 64 bits");
            return jinja_undefined(s, len);
        }
        v = digit && !real ? v * 10 + (uint64_t)(s[i] - '0') : v;
    }
    if (!real)
        return any ? jinja_integer((int64_t)(neg ? 0 - v : v)) : jinja_undefined(s, len);
    jinja_text_add(r, &t, "", 1);
    char *end = t.s;
    double d = jinja_failed(r) ? 0 : strtod(t.s, &end);
    bool hexadecimal = t.s && (memchr(t.s, 'x', t.len) || memchr(t.s, 'X', t.len) ||
                               memchr(t.s, '(', t.len));
    if (jinja_failed(r) || hexadecimal || end != t.s + t.len - 1)
        return jinja_undefined(s, len);
    return jinja_number(d);
}
