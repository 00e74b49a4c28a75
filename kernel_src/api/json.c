/* json.c: tangled from nbs/api/17_json.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/17_json.ipynb § One block, two arrays ---- */

/* json.c - RFC 8259 reader and writer, both iterative and bounded.
 *
 * The reader is a tokeniser (json_token) under a small automaton (json_read).
 * It measures the text first, allocates once, and fills the block; while a
 * container is open its `span` holds its parent's index, so no stack is needed.
 * Pure but for kmalloc. */
#include "api/json.h"
#include "base/decimal.h"
#include "base/memory.h"
#include "base/panic.h"
#include "base/stdio.h"
#include "base/stdlib.h"
#include "base/string.h"

#ifndef CLLM_HOST
_Static_assert(sizeof(struct json_node) == 16, "a node is 16 bytes");
#endif

/* ---- nbs/api/17_json.ipynb § Measure, then allocate once ---- */

struct json_reader {
    const uint8_t *s;
    size_t len, at;             /* at: bytes read, counting the end as one */
    size_t token_at;            /* where "last read" in an error begins */
    struct json_node *nodes;
    uint32_t n, cap;
    uint32_t n_far;             /* numbers that were slow to read */
    char *strings;              /* next free byte */
    const char *trouble;        /* what the tokeniser objected to */
    struct json_node value;     /* the scalar of the last token */
    struct json_doc *doc;
};

static void json_measure(const uint8_t *s, size_t len, size_t *nodes, size_t *bytes)
{
    bool in_string = false;
    *nodes = 1;
    *bytes = 0;
    for (size_t i = 0; i < len; i++) {
        uint8_t c = s[i];
        *bytes += in_string || c == '"';
        if (in_string && c == '\\') {
            i++;
            *bytes += 1;
        } else if (c == '"') {
            in_string = !in_string;
        } else if (!in_string) {
            *nodes += c == '[' || c == '{' || c == ',' || c == ':';
        }
    }
}

/* ---- nbs/api/17_json.ipynb § Tokens ---- */

enum json_token {
    TOKEN_END, TOKEN_BAD, TOKEN_OBJECT, TOKEN_OBJECT_END, TOKEN_ARRAY,
    TOKEN_ARRAY_END, TOKEN_COLON, TOKEN_COMMA, TOKEN_STRING, TOKEN_NUMBER,
    TOKEN_TRUE, TOKEN_FALSE, TOKEN_NULL, TOKEN_NO_MEMORY,
};

static const char *const json_token_names[] = {
    "end of input", "<parse error>", "'{'", "'}'", "'['", "']'", "':'", "','",
    "string literal", "number literal", "true literal", "false literal",
    "null literal", "",
};

static int json_get_byte(struct json_reader *r)
{
    size_t at = r->at++;
    return at < r->len ? r->s[at] : -1;
}

static enum json_token json_trouble(struct json_reader *r, const char *what)
{
    r->trouble = what;
    return TOKEN_BAD;
}

static enum json_token json_word(struct json_reader *r, const char *rest,
                                 enum json_token token)
{
    for (; *rest; rest++)
        if (json_get_byte(r) != *rest)
            return json_trouble(r, "invalid literal");
    return token;
}

/* ---- nbs/api/17_json.ipynb § UTF-8, strictly ---- */

/* Length of the UTF-8 sequence at s (len > 0), or minus the length of the
 * ill-formed part that starts there (RFC 3629 §4). */
static int json_utf8(const uint8_t *s, size_t len)
{
    uint8_t c = s[0], low = 0x80, high = 0xbf;
    if (c < 0x80)
        return 1;
    if (c < 0xc2 || c > 0xf4)
        return -1;
    int n = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (c == 0xe0 || c == 0xf0)
        low = c == 0xe0 ? 0xa0 : 0x90;      /* no overlong forms */
    if (c == 0xed || c == 0xf4)
        high = c == 0xed ? 0x9f : 0x8f;     /* no surrogates; <= U+10FFFF */
    for (int i = 1; i < n; i++) {
        if ((size_t)i == len || s[i] < low || s[i] > high)
            return -i;
        low = 0x80;
        high = 0xbf;
    }
    return n;
}

static char *json_put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        *out++ = c;
    } else if (c < 0x800) {
        *out++ = 0xc0 | c >> 6;
        *out++ = 0x80 | (c & 63);
    } else if (c < 0x10000) {
        *out++ = 0xe0 | c >> 12;
        *out++ = 0x80 | (c >> 6 & 63);
        *out++ = 0x80 | (c & 63);
    } else {
        *out++ = 0xf0 | c >> 18;
        *out++ = 0x80 | (c >> 12 & 63);
        *out++ = 0x80 | (c >> 6 & 63);
        *out++ = 0x80 | (c & 63);
    }
    return out;
}

/* ---- nbs/api/17_json.ipynb § Strings ---- */

static int json_hex4(struct json_reader *r)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        int c = json_get_byte(r);
        if (!isxdigit(c))
            return -1;
        v = v * 16 + (isdigit(c) ? c - '0' : tolower(c) - 'a' + 10);
    }
    return v;
}

/* After "\u": the code point, or -1 with r->trouble set. */
static int32_t json_code_point(struct json_reader *r)
{
    static const char digits[] = "invalid string: '\\u' must be followed by 4 hex digits";
    static const char high[] = "invalid string: surrogate U+D800..U+DBFF must be "
                               "followed by U+DC00..U+DFFF";
    int c = json_hex4(r);
    r->trouble = digits;
    if (c < 0xd800 || c > 0xdfff)
        return c;
    r->trouble = "invalid string: surrogate U+DC00..U+DFFF must follow U+D800..U+DBFF";
    if (c >= 0xdc00)
        return -1;
    r->trouble = high;
    if (json_get_byte(r) != '\\' || json_get_byte(r) != 'u')
        return -1;
    int low = json_hex4(r);
    if (low < 0)
        r->trouble = digits;
    if (low < 0xdc00 || low > 0xdfff)
        return -1;
    return 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
}

/* After a backslash: append what the escape stands for; false with trouble. */
static bool json_escape(struct json_reader *r, char **out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    int c = json_get_byte(r);
    const char *hit = c > 0 ? strchr(from, c) : NULL;
    if (hit) {
        *(*out)++ = to[hit - from];
        return true;
    }
    if (c != 'u') {
        r->trouble = c < 0 ? "invalid string: missing closing quote"
            : "invalid string: forbidden character after backslash";
        return false;
    }
    int32_t code = json_code_point(r);
    if (code < 0)
        return false;
    *out = json_put_utf8(*out, code);
    return true;
}

/* ASCII that stands for itself: copied without further thought. */
static bool json_is_plain(uint8_t c)
{
    return c >= ' ' && c < 0x80 && c != '"' && c != '\\';
}

static enum json_token json_string(struct json_reader *r)
{
    char *start = r->strings, *out = start;
    r->token_at = r->at - 1;
    for (;;) {
        while (r->at < r->len && json_is_plain(r->s[r->at]))
            *out++ = r->s[r->at++];
        int c = json_get_byte(r);
        if (c < 0)
            return json_trouble(r, "invalid string: missing closing quote");
        if (c == '"')
            break;
        if (c < ' ')
            return json_trouble(r, "invalid string: control character must be escaped");
        if (c == '\\') {
            if (!json_escape(r, &out))
                return TOKEN_BAD;
            continue;
        }
        int n = json_utf8(r->s + r->at - 1, r->len - (r->at - 1));
        if (n < 0) {
            if (c >= 0xc2 && c <= 0xf4)
                r->at += -n;            /* it went wrong at a later byte */
            return json_trouble(r, "invalid string: ill-formed UTF-8 byte");
        }
        for (*out++ = c; n > 1; n--)
            *out++ = json_get_byte(r);
    }
    *out = 0;
    r->strings = out + 1;
    r->value = (struct json_node){ .type = JSON_STRING, .span = 1,
                                   .str = start, .len = out - start };
    return TOKEN_STRING;
}

/* ---- nbs/api/17_json.ipynb § Numbers ---- */

struct json_digits {
    uint64_t mantissa;          /* all digits, if they fit 19 */
    int n;                      /* significant digits so far */
    int exp10;                  /* value = mantissa * 10^exp10 */
};

static bool json_read_digits(struct json_reader *r, int *c, struct json_digits *d,
                             int exp_step)
{
    if (!isdigit(*c))
        return false;
    for (; isdigit(*c); *c = json_get_byte(r)) {
        if (d->n < 19)
            d->mantissa = d->mantissa * 10 + (*c - '0');
        d->n += d->n || *c != '0';
        d->exp10 += exp_step;
    }
    return true;
}

/* The double of digits and exponent, exactly rounded; false: needs strtod. */
static bool json_short_way(const struct json_digits *d, double *out)
{
    static const double power[] = {
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13,
        1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
    };
    if (d->n > 19 || d->mantissa >> 53 || d->exp10 < -22 || d->exp10 > 22)
        return false;
    double m = (double)d->mantissa;
    *out = d->exp10 < 0 ? m / power[-d->exp10] : m * power[d->exp10];
    return true;
}

#define JSON_FAR_EXPONENT 60

/* d.ddd * 10^e with e beyond the bound: strtod's time grows with the square of e. */
static bool json_is_far(const struct json_digits *d)
{
    int e = d->exp10 + d->n - 1;
    return d->n > 0 && (e < -JSON_FAR_EXPONENT || e > JSON_FAR_EXPONENT);
}

/* The long way: strtod wants a NUL behind the number, the text has none. */
static enum json_token json_long_way(const char *text, size_t len, double *out)
{
    char small[64], *copy = len < sizeof small ? small : kmalloc(len + 1);
    if (!copy)
        return TOKEN_NO_MEMORY;
    memcpy(copy, text, len);
    copy[len] = 0;
    *out = strtod(copy, NULL);
    if (copy != small)
        kfree(copy);
    return TOKEN_NUMBER;
}

static const char *json_number_grammar(struct json_reader *r, struct json_digits *d,
                                       bool *whole)
{
    int c = r->s[r->at - 1];
    *whole = true;
    if (c == '-')
        c = json_get_byte(r);
    if (c == '0')
        c = json_get_byte(r);
    else if (!json_read_digits(r, &c, d, 0))
        return "invalid number; expected digit after '-'";
    if (c == '.') {
        *whole = false;
        c = json_get_byte(r);
        if (!json_read_digits(r, &c, d, -1))
            return "invalid number; expected digit after '.'";
    }
    if (c == 'e' || c == 'E') {
        int sign = 1, e = 0;
        *whole = false;
        c = json_get_byte(r);
        bool has_sign = c == '+' || c == '-';
        if (has_sign) {
            sign = c == '-' ? -1 : 1;
            c = json_get_byte(r);
        }
        if (!isdigit(c))
            return has_sign ? "invalid number; expected digit after exponent sign"
                : "invalid number; expected '+', '-', or digit after exponent";
        for (; isdigit(c); c = json_get_byte(r))
            e = e < 100000 ? e * 10 + (c - '0') : e;
        d->exp10 += sign * e;
    }
    r->at--;                            /* c is not ours */
    return NULL;
}

static enum json_token json_read_number(struct json_reader *r)
{
    struct json_digits d = { 0 };
    struct json_node *v = &r->value;
    bool whole, negative = r->s[r->at - 1] == '-';
    size_t start = r->token_at = r->at - 1;
    const char *trouble = json_number_grammar(r, &d, &whole);
    if (trouble)
        return json_trouble(r, trouble);

    *v = (struct json_node){ .type = JSON_NUMBER, .span = 1 };
    if (whole && d.n <= 19 && d.mantissa <= (uint64_t)INT64_MAX + negative) {
        v->is_int = true;
        v->i = (int64_t)(negative ? -d.mantissa : d.mantissa);
        return TOKEN_NUMBER;
    }
    if (json_short_way(&d, &v->num)) {
        v->num = negative ? -v->num : v->num;
        return TOKEN_NUMBER;
    }
    if (json_is_far(&d) && ++r->n_far > JSON_FAR_NUMBERS_MAX)
        return json_trouble(r, "too many numbers above 1e60 or below 1e-60");
    enum json_token t = json_long_way((const char *)r->s + start, r->at - start, &v->num);
    if (t == TOKEN_NUMBER && v->num - v->num != 0)
        return json_trouble(r, "number overflow");
    return t;
}

static enum json_token json_token(struct json_reader *r)
{
    int c = json_get_byte(r);
    while (c == ' ' || c == '\t' || c == '\n' || c == '\r')
        c = json_get_byte(r);
    switch (c) {
    case -1:  return TOKEN_END;
    case '{': return TOKEN_OBJECT;
    case '}': return TOKEN_OBJECT_END;
    case '[': return TOKEN_ARRAY;
    case ']': return TOKEN_ARRAY_END;
    case ':': return TOKEN_COLON;
    case ',': return TOKEN_COMMA;
    case 't': return json_word(r, "rue", TOKEN_TRUE);
    case 'f': return json_word(r, "alse", TOKEN_FALSE);
    case 'n': return json_word(r, "ull", TOKEN_NULL);
    case '"': return json_string(r);
    case '-': case '0': case '1': case '2': case '3': case '4':
    case '5': case '6': case '7': case '8': case '9':
        return json_read_number(r);
    default:  return json_trouble(r, "invalid literal");
    }
}

/* ---- nbs/api/17_json.ipynb § Saying what is wrong ---- */

static void json_show_last_read(struct json_reader *r, char *out, size_t cap)
{
    size_t end = r->at < r->len ? r->at : r->len, at = r->token_at, n = 0;
    if (end - at > 60)
        at = end - 60;
    while (at < end && (r->s[at] & 0xc0) == 0x80)
        at++;                           /* not from the middle of a character */
    for (; at < end && n + 9 < cap; at++)
        n += r->s[at] < ' ' ? snprintf(out + n, cap - n, "<U+%.4X>", r->s[at])
                            : snprintf(out + n, cap - n, "%c", r->s[at]);
    out[n] = 0;
}

static void json_position(const struct json_reader *r, unsigned *line, unsigned *column)
{
    size_t end = r->at < r->len ? r->at : r->len;
    *line = 1;
    *column = r->at;
    for (size_t i = 0; i < end; i++)
        if (r->s[i] == '\n') {
            ++*line;
            *column = r->at - (i + 1);
        }
}

/* A token that does not fit: `context` is what was being read. */
static enum json_result json_fail(struct json_reader *r, enum json_token t,
                                  const char *context, const char *expected)
{
    char last[128], found[240];
    unsigned line, column;
    r->doc->error_at = r->at - 1;
    json_position(r, &line, &column);
    json_show_last_read(r, last, sizeof last);
    if (t == TOKEN_BAD && !strcmp(r->trouble, "number overflow")) {
        snprintf(r->doc->error, JSON_ERROR_MAX, "[json.exception.out_of_range.406] "
                 "number overflow parsing '%s'", last);
        return JSON_BAD;
    }
    if (r->len == 0) {
        strlcpy(r->doc->error, "[json.exception.parse_error.101] parse error at line 1, "
                "column 1: attempting to parse an empty input; check that your input "
                "string or stream contains the expected JSON", JSON_ERROR_MAX);
        return JSON_BAD;
    }
    if (t == TOKEN_BAD)
        snprintf(found, sizeof found, "%s; last read: '%s'", r->trouble, last);
    else
        snprintf(found, sizeof found, "unexpected %s", json_token_names[t]);
    snprintf(r->doc->error, JSON_ERROR_MAX, "[json.exception.parse_error.101] parse "
             "error at line %u, column %u: syntax error while parsing %s - %s%s%s",
             line, column, context, found,
             expected ? "; expected " : "", expected ? expected : "");
    return JSON_BAD;
}

/* ---- nbs/api/17_json.ipynb § The automaton, with its stack in the tree ---- */

#define JSON_NO_PARENT UINT32_MAX

static uint32_t json_add(struct json_reader *r, struct json_node node)
{
    KASSERT(r->n < r->cap);
    r->nodes[r->n] = node;
    return r->n++;
}

/* The container is complete: its span is what was added since. */
static uint32_t json_close(struct json_reader *r, uint32_t open)
{
    struct json_node *n = &r->nodes[open];
    uint32_t parent = n->span;
    n->span = r->n - open;
    return parent;
}

/* Token t should be a key: take it and its colon. *t is then the value's first. */
static enum json_result json_read_key(struct json_reader *r, enum json_token *t)
{
    if (*t != TOKEN_STRING)
        return json_fail(r, *t, "object key", json_token_names[TOKEN_STRING]);
    json_add(r, r->value);
    *t = json_token(r);
    if (*t != TOKEN_COLON)
        return json_fail(r, *t, "object separator", json_token_names[TOKEN_COLON]);
    *t = json_token(r);
    return JSON_OK;
}

static enum json_result json_add_scalar(struct json_reader *r, enum json_token t)
{
    switch (t) {
    case TOKEN_STRING: case TOKEN_NUMBER:
        break;
    case TOKEN_TRUE: case TOKEN_FALSE:
        r->value = (struct json_node){ .type = JSON_BOOL, .span = 1,
                                       .boolean = t == TOKEN_TRUE };
        break;
    case TOKEN_NULL:
        r->value = (struct json_node){ .type = JSON_NULL, .span = 1 };
        break;
    case TOKEN_NO_MEMORY:
        return JSON_NO_MEMORY;
    default:
        return json_fail(r, t, "value", t == TOKEN_BAD ? NULL
                         : "'[', '{', or a literal");
    }
    json_add(r, r->value);
    return JSON_OK;
}

/* A value ended inside `*open`. Afterwards either *t begins the next value
 * (*open >= 0 still), or the document is complete (*open == NO_PARENT). */
static enum json_result json_after_value(struct json_reader *r, enum json_token *t,
                                         uint32_t *open, int *depth)
{
    while (*open != JSON_NO_PARENT) {
        struct json_node *in = &r->nodes[*open];
        bool object = in->type == JSON_OBJECT;
        enum json_token close = object ? TOKEN_OBJECT_END : TOKEN_ARRAY_END;
        *t = json_token(r);
        if (*t == TOKEN_COMMA) {
            *t = json_token(r);
            in->count++;
            return object ? json_read_key(r, t) : JSON_OK;
        }
        if (*t == TOKEN_NO_MEMORY)
            return JSON_NO_MEMORY;
        if (*t != close)
            return json_fail(r, *t, object ? "object" : "array",
                             json_token_names[close]);
        *open = json_close(r, *open);
        --*depth;
    }
    *t = json_token(r);
    return *t == TOKEN_END ? JSON_OK
        : json_fail(r, *t, "value", json_token_names[TOKEN_END]);
}

static enum json_result json_read(struct json_reader *r)
{
    uint32_t open = JSON_NO_PARENT;
    int depth = 0;
    enum json_token t = json_token(r);
    enum json_result result;
    for (;;) {
        if (t == TOKEN_OBJECT || t == TOKEN_ARRAY) {
            bool object = t == TOKEN_OBJECT;
            if (++depth > JSON_DEPTH_MAX)
                return JSON_TOO_DEEP;
            open = json_add(r, (struct json_node){
                .type = object ? JSON_OBJECT : JSON_ARRAY, .span = open });
            t = json_token(r);
            if (t != (object ? TOKEN_OBJECT_END : TOKEN_ARRAY_END)) {
                r->nodes[open].count = 1;
                if (object && (result = json_read_key(r, &t)))
                    return result;
                continue;
            }
            open = json_close(r, open);
            depth--;
        } else if ((result = json_add_scalar(r, t))) {
            return result;
        }
        result = json_after_value(r, &t, &open, &depth);
        if (result || open == JSON_NO_PARENT)
            return result;
    }
}

static enum json_result json_refuse(struct json_doc *doc, enum json_result result)
{
    static const char *const text[] = {
        [JSON_TOO_DEEP] = "JSON is nested too deeply",
        [JSON_TOO_BIG] = "JSON has too many values",
        [JSON_NO_MEMORY] = "out of memory for JSON",
    };
    if (result != JSON_BAD)
        strlcpy(doc->error, text[result], sizeof doc->error);
    json_free(doc);
    return result;
}

enum json_result json_parse(struct json_doc *doc, const char *text, size_t len)
{
    struct json_reader r = { .s = (const uint8_t *)text, .len = len, .doc = doc };
    size_t nodes, bytes;
    *doc = (struct json_doc){ 0 };
    json_measure(r.s, len, &nodes, &bytes);
    if (nodes > JSON_NODES_MAX)
        return json_refuse(doc, JSON_TOO_BIG);
    doc->root = r.nodes = kmalloc(nodes * sizeof *r.nodes + bytes);
    if (!r.nodes)
        return json_refuse(doc, JSON_NO_MEMORY);
    r.cap = nodes;
    r.strings = (char *)(r.nodes + nodes);
    if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3))
        r.at = 3;

    enum json_result result = json_read(&r);
    if (result != JSON_OK)
        return json_refuse(doc, result);
    doc->n_nodes = r.n;
    return JSON_OK;
}

void json_free(struct json_doc *doc)
{
    kfree(doc->root);
    doc->root = NULL;
    doc->n_nodes = 0;
}

/* ---- nbs/api/17_json.ipynb § Asking the tree ---- */

static bool json_is_container(const struct json_node *n)
{
    return n && (n->type == JSON_ARRAY || n->type == JSON_OBJECT);
}

const struct json_node *json_first(const struct json_node *container)
{
    return json_count(container) ? container + 1 : NULL;
}

const struct json_node *json_next(const struct json_node *container,
                                     const struct json_node *child)
{
    if (!child)
        return NULL;
    if (container->type == JSON_OBJECT)
        child++;                            /* from the key to its value */
    child += child->span;
    return child < container + container->span ? child : NULL;
}

const struct json_node *json_get(const struct json_node *obj, const char *key)
{
    const struct json_node *found = NULL;
    size_t len = strlen(key);
    if (!json_is(obj, JSON_OBJECT))
        return NULL;
    for (const struct json_node *k = json_first(obj); k; k = json_next(obj, k))
        if (k->len == len && !memcmp(k->str, key, len))
            found = json_value(k);
    return found;
}

const struct json_node *json_at(const struct json_node *arr, size_t index)
{
    if (!json_is(arr, JSON_ARRAY) || index >= arr->count)
        return NULL;
    const struct json_node *n = arr + 1;
    while (index--)
        n += n->span;
    return n;
}

bool json_is_str(const struct json_node *n, const char *text)
{
    return json_is(n, JSON_STRING) && strlen(text) == n->len
        && !memcmp(n->str, text, n->len);
}

size_t json_count(const struct json_node *n)
{
    return json_is_container(n) ? n->count : 0;
}

double json_number(const struct json_node *n)
{
    if (!json_is(n, JSON_NUMBER))
        return 0;
    return n->is_int ? (double)n->i : n->num;
}

static enum json_field json_field(const struct json_node *obj, const char *key,
                                  enum json_type type, const struct json_node **out)
{
    *out = json_get(obj, key);
    if (!*out || (*out)->type == JSON_NULL)
        return JSON_FIELD_ABSENT;
    return (*out)->type == type ? JSON_FIELD_OK : JSON_FIELD_TYPE;
}

enum json_field json_get_bool(const struct json_node *obj, const char *key, bool *out)
{
    const struct json_node *n;
    enum json_field f = json_field(obj, key, JSON_BOOL, &n);
    if (f == JSON_FIELD_OK)
        *out = n->boolean;
    return f;
}

enum json_field json_get_int(const struct json_node *obj, const char *key,
                             int64_t min, int64_t max, int64_t *out)
{
    const struct json_node *n;
    enum json_field f = json_field(obj, key, JSON_NUMBER, &n);
    if (f != JSON_FIELD_OK)
        return f;
    if (!n->is_int && !(n->num > -0x1p63 && n->num < 0x1p63))
        return JSON_FIELD_RANGE;            /* C leaves that conversion undefined */
    int64_t v = n->is_int ? n->i : (int64_t)n->num;
    if (v < min || v > max)
        return JSON_FIELD_RANGE;
    *out = v;
    return JSON_FIELD_OK;
}

enum json_field json_get_double(const struct json_node *obj, const char *key,
                                double min, double max, double *out)
{
    const struct json_node *n;
    enum json_field f = json_field(obj, key, JSON_NUMBER, &n);
    if (f != JSON_FIELD_OK)
        return f;
    if (json_number(n) < min || json_number(n) > max)
        return JSON_FIELD_RANGE;
    *out = json_number(n);
    return JSON_FIELD_OK;
}

enum json_field json_get_str(const struct json_node *obj, const char *key,
                             const char **out, size_t *len)
{
    const struct json_node *n;
    enum json_field f = json_field(obj, key, JSON_STRING, &n);
    if (f == JSON_FIELD_OK) {
        *out = n->str;
        *len = n->len;
    }
    return f;
}

/* ---- nbs/api/17_json.ipynb § Writing ---- */

void jw_init(struct json_writer *w, size_t max)
{
    *w = (struct json_writer){ .max = max };
}

void jw_reset(struct json_writer *w)
{
    *w = (struct json_writer){ .max = w->max, .buf = w->buf, .cap = w->cap };
}

void jw_free(struct json_writer *w)
{
    kfree(w->buf);
    jw_init(w, w->max);
}

char *jw_take(struct json_writer *w, size_t *len)
{
    char *buf = w->failed ? NULL : w->buf;
    *len = w->failed ? 0 : w->len;
    if (!w->failed)
        w->buf = NULL;
    jw_free(w);
    return buf;
}

static void jw_put(struct json_writer *w, const char *text, size_t n)
{
    if (w->failed)
        return;
    if (n > w->max - w->len) {
        w->failed = w->full = true;
        return;
    }
    if (w->cap < w->len + n + 1) {
        size_t cap = w->cap ? w->cap : 256;
        while (cap < w->len + n + 1)
            cap *= 2;
        char *buf = krealloc(w->buf, cap);
        if (!buf) {
            w->failed = true;
            return;
        }
        w->buf = buf;
        w->cap = cap;
    }
    memcpy(w->buf + w->len, text, n);
    w->len += n;
    w->buf[w->len] = 0;
}

static bool jw_in_object(const struct json_writer *w)
{
    int top = w->depth - 1;
    return top >= 0 && w->is_object[top / 8] >> top % 8 & 1;
}

static void jw_before(struct json_writer *w)
{
    KASSERT(w->keyed == jw_in_object(w));   /* a value in an object has a key */
    if (w->comma)
        jw_put(w, ",", 1);
    w->comma = true;
    w->keyed = false;
}

static void jw_open(struct json_writer *w, bool object)
{
    jw_before(w);
    KASSERT(w->depth < JSON_WRITE_DEPTH_MAX);
    uint8_t *bits = &w->is_object[w->depth / 8], bit = 1 << w->depth % 8;
    *bits = object ? *bits | bit : *bits & ~bit;
    w->depth++;
    w->comma = false;
    jw_put(w, object ? "{" : "[", 1);
}

void jw_object(struct json_writer *w) { jw_open(w, true); }
void jw_array(struct json_writer *w) { jw_open(w, false); }

void jw_end(struct json_writer *w)
{
    KASSERT(w->depth > 0 && !w->keyed);
    jw_put(w, jw_in_object(w) ? "}" : "]", 1);
    w->depth--;
    w->comma = true;
}

static void jw_escape(struct json_writer *w, uint8_t c)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *hit = c ? strchr(from, c) : NULL;
    char text[8];
    int n = hit ? snprintf(text, sizeof text, "\\%c", to[hit - from])
                : snprintf(text, sizeof text, "\\u%04x", c);
    jw_put(w, text, n);
}

static void jw_quoted(struct json_writer *w, const char *s, size_t len)
{
    const uint8_t *u = (const uint8_t *)s;
    size_t at = 0, done = 0;
    jw_put(w, "\"", 1);
    while (at < len) {
        int n = json_utf8(u + at, len - at);
        if (n > 0 && u[at] >= ' ' && u[at] != '"' && u[at] != '\\') {
            at += n;
            continue;
        }
        jw_put(w, s + done, at - done);
        if (n > 0)
            jw_escape(w, u[at]);
        else
            jw_put(w, "\xef\xbf\xbd", 3);
        at += n > 0 ? n : -n;
        done = at;
    }
    jw_put(w, s + done, len - done);
    jw_put(w, "\"", 1);
}

static void jw_key_bytes(struct json_writer *w, const char *key, size_t len)
{
    KASSERT(jw_in_object(w) && !w->keyed);
    if (w->comma)
        jw_put(w, ",", 1);
    jw_quoted(w, key, len);
    jw_put(w, ":", 1);
    w->comma = false;
    w->keyed = true;
}

void jw_key(struct json_writer *w, const char *key)
{
    jw_key_bytes(w, key, strlen(key));
}

void jw_str(struct json_writer *w, const char *s, size_t len)
{
    jw_before(w);
    jw_quoted(w, s, len);
}

void jw_cstr(struct json_writer *w, const char *s) { jw_str(w, s, strlen(s)); }

void jw_raw(struct json_writer *w, const char *text, size_t len)
{
    jw_before(w);
    jw_put(w, text, len);
}

void jw_int(struct json_writer *w, int64_t v)
{
    char text[24];
    jw_raw(w, text, snprintf(text, sizeof text, "%lld", (long long)v));
}

void jw_double(struct json_writer *w, double v)
{
    char text[DTOA_SHORTEST_MAX];
    if (v - v != 0) {
        jw_null(w);
        return;
    }
    jw_raw(w, text, dtoa_shortest(text, v));
}

void jw_bool(struct json_writer *w, bool v)
{
    jw_raw(w, v ? "true" : "false", v ? 4 : 5);
}

void jw_null(struct json_writer *w) { jw_raw(w, "null", 4); }

void jw_kstr(struct json_writer *w, const char *key, const char *s, size_t len)
{ jw_key(w, key); jw_str(w, s, len); }

void jw_kcstr(struct json_writer *w, const char *key, const char *s)
{ jw_key(w, key); jw_cstr(w, s); }

void jw_kint(struct json_writer *w, const char *key, int64_t v)
{ jw_key(w, key); jw_int(w, v); }

void jw_kdouble(struct json_writer *w, const char *key, double v)
{ jw_key(w, key); jw_double(w, v); }

void jw_kbool(struct json_writer *w, const char *key, bool v)
{ jw_key(w, key); jw_bool(w, v); }

void jw_knull(struct json_writer *w, const char *key)
{ jw_key(w, key); jw_null(w); }

static void jw_one(struct json_writer *w, const struct json_node *n)
{
    switch (n->type) {
    case JSON_NULL:   jw_null(w); break;
    case JSON_BOOL:   jw_bool(w, n->boolean); break;
    case JSON_ARRAY:  jw_array(w); break;
    case JSON_OBJECT: jw_object(w); break;
    case JSON_STRING: jw_str(w, n->str, n->len); break;
    case JSON_NUMBER:
        if (n->is_int)
            jw_int(w, n->i);
        else
            jw_double(w, n->num);
    }
}

void jw_node(struct json_writer *w, const struct json_node *n)
{
    const struct json_node *ends[JSON_DEPTH_MAX], *end = n + n->span;
    int open = 0;
    for (; n < end; n++) {
        if (jw_in_object(w) && !w->keyed && n->type == JSON_STRING) {
            jw_key_bytes(w, n->str, n->len);
            continue;
        }
        jw_one(w, n);
        if (json_is_container(n))
            ends[open++] = n + n->span;
        for (; open && n + 1 == ends[open - 1]; open--)
            jw_end(w);
    }
}
