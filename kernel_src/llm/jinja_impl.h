/* jinja_impl.h: tangled from nbs/llm/26_jinja.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/26_jinja.ipynb § Behind the scenes ---- */

/* jinja_impl.h: what the five files of the interpreter share; not for callers. */
#pragma once
#include "llm/jinja.h"

struct jinja_list { struct jinja_value *item; uint32_t n, cap; };
struct jinja_dict { struct jinja_value *key, *value; uint32_t n, cap; };   // by arrival

enum jinja_op {
    OP_TEXT,        // value
    OP_OUTPUT,      // a
    OP_IF,          // a: list of OP_BRANCH
    OP_BRANCH,      // a: condition, NULL for else. b: body
    OP_FOR,         // a: target. b: what to loop over. c: body. d: OP_FOR_MORE
    OP_FOR_MORE,    // a: condition of the items. b: else. Either may be NULL
    OP_SET,         // a: target. b: value
    OP_SET_BLOCK,   // a: target. b: body. c: filters round an OP_HOLE
    OP_FILTER_BLOCK,// b: body. c: filters round an OP_HOLE
    OP_WITH,        // a: list of OP_SET. b: body
    OP_MACRO,       // value: name. a: list of OP_PARAM. b: body
    OP_CALL_BLOCK,  // a: list of OP_PARAM. b: body. c: the call
    OP_BREAK, OP_CONTINUE,
    OP_BLOCK,       // b: body
    OP_CONST,       // value
    OP_NAME,        // value
    OP_LIST, OP_TUPLE, OP_DICT,   // a: items (of a dict: key, value, key ...)
    OP_ATTR,        // a.value
    OP_ITEM,        // a[b]
    OP_SLICE,       // a[b:c:d]
    OP_CALL,        // a(b ...): b is a list of OP_ARG
    OP_FILTER,      // a | value(b ...)
    OP_TEST,        // a is value(b ...)
    OP_ARG,         // a; value: its keyword, if it has one
    OP_PARAM,       // value: name. a: default or NULL
    OP_NOT, OP_NEG, OP_POS,       // a
    OP_CHAIN,       // operators of one precedence. a: first operand, then OP_OPERAND
    OP_OPERAND,     // a; operator: what stands before it
    OP_COND,        // a if b else c
    OP_HOLE,        // what a block has captured
};

enum jinja_level {
    LEVEL_OR = 1, LEVEL_AND, LEVEL_NOT, LEVEL_COMPARE, LEVEL_ADD, LEVEL_JOIN, LEVEL_MUL,
    LEVEL_POW,
};
#define OPERATOR(a, b) ((uint16_t)((a) | (b) << 8))
#define OPERATOR_IN     OPERATOR('i', 'n')
#define OPERATOR_NOT_IN OPERATOR('n', 'i')

struct jinja_node {
    uint8_t op, level;               // enum jinja_op; OP_CHAIN: enum jinja_level
    uint16_t operator;
    uint32_t line;
    struct jinja_value value;
    struct jinja_node *a, *b, *c, *d, *next;
};
struct jinja_program { struct jinja_node *body; };

struct jinja_text { char *s; uint32_t len, cap; };
struct jinja_scope;

struct jinja_run {
    struct arena *arena;
    struct jinja_error *err;
    uint32_t line, steps, depth;
    struct jinja_scope *scope;       // rendering only, from here on
    struct jinja_text *out;
    const struct jinja_dict *context;
    struct jinja_value hole;
    int64_t now;
};

struct jinja_args {                  // of a call: n values, then n_named with names
    uint32_t n, n_named;
    struct jinja_value *value, *name;
};
#define JINJA_PARAMS_MAX 6
typedef struct jinja_value (*jinja_fn)(struct jinja_run *r, struct jinja_value self,
                                       const struct jinja_value *arg);
/* params: names in order, '?' after those that may be left out; the function gets one
 * value for each. Where params is "*", arg is one METHOD value that holds the args. */
struct jinja_builtin { const char *name, *params; jinja_fn fn; };
struct jinja_method { const struct jinja_builtin *fn; struct jinja_value self; };

/* jinja_value.c */
void jinja_fail(struct jinja_run *r, enum jinja_result result, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static inline bool jinja_failed(const struct jinja_run *r)
{ return r->err->result != JINJA_OK; }
void *jinja_alloc(struct jinja_run *r, size_t size);
bool jinja_step(struct jinja_run *r, uint64_t n);
bool jinja_enter(struct jinja_run *r);       // pairs with r->depth--, also on failure
bool jinja_text_add(struct jinja_run *r, struct jinja_text *t, const char *s, size_t n);
bool jinja_text_fmt(struct jinja_run *r, struct jinja_text *t, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
struct jinja_value jinja_text_value(const struct jinja_text *t);
struct jinja_value jinja_string(const char *s, size_t len);
struct jinja_value jinja_cstring(const char *s);
struct jinja_value jinja_integer(int64_t v);
struct jinja_value jinja_number(double v);
struct jinja_value jinja_boolean(bool v);
struct jinja_value jinja_undefined(const char *name, size_t len);
struct jinja_value jinja_new_list(struct jinja_run *r, enum jinja_type type, size_t cap);
bool jinja_append(struct jinja_run *r, struct jinja_value list, struct jinja_value v);
struct jinja_value jinja_new_dict(struct jinja_run *r, enum jinja_type type);
bool jinja_put(struct jinja_run *r, struct jinja_value dict, struct jinja_value key,
               struct jinja_value v);
struct jinja_value *jinja_get(struct jinja_run *r, const struct jinja_dict *d,
                              struct jinja_value key);
bool jinja_hashable(struct jinja_run *r, struct jinja_value v);
bool jinja_is(struct jinja_value v, const char *text);
bool jinja_truth(struct jinja_value v);
bool jinja_is_number(struct jinja_value v);              // BOOL, INT or FLOAT
double jinja_double(struct jinja_value v);
bool jinja_equal(struct jinja_run *r, struct jinja_value a, struct jinja_value b);
int jinja_compare(struct jinja_run *r, struct jinja_value a, struct jinja_value b);
const char *jinja_type_name(struct jinja_value v);
void jinja_add_str(struct jinja_run *r, struct jinja_text *t, struct jinja_value v);
void jinja_add_repr(struct jinja_run *r, struct jinja_text *t, struct jinja_value v);
void jinja_add_float(struct jinja_run *r, struct jinja_text *t, double v);
struct jinja_value jinja_str(struct jinja_run *r, struct jinja_value v);
const struct jinja_list *jinja_items(struct jinja_run *r, struct jinja_value v);
uint32_t jinja_char(const char *s, size_t len, uint32_t *code);   // its length in bytes
bool jinja_is_space(uint32_t code);
uint32_t jinja_count_chars(struct jinja_run *r, struct jinja_value s);
/* Byte offset of `what` in s, at or after `from`; -1: it is not there. */
int64_t jinja_find(struct jinja_run *r, struct jinja_value s, struct jinja_value what,
                   uint32_t from);

/* jinja_eval.c */
struct jinja_value jinja_attr(struct jinja_run *r, struct jinja_value obj,
                              struct jinja_value name);
struct jinja_value jinja_item(struct jinja_run *r, struct jinja_value obj,
                              struct jinja_value key);
struct jinja_value jinja_binary(struct jinja_run *r, uint16_t op, struct jinja_value a,
                                struct jinja_value b);
struct jinja_value jinja_call_builtin(struct jinja_run *r, const struct jinja_builtin *f,
                                      struct jinja_value self, struct jinja_args *args);

/* jinja_filters.c */
const struct jinja_builtin *jinja_find_filter(struct jinja_value name);
const struct jinja_builtin *jinja_find_test(struct jinja_value name);
const struct jinja_builtin *jinja_find_function(struct jinja_value name);
const struct jinja_builtin *jinja_find_method(struct jinja_value obj,
                                              struct jinja_value name);
struct jinja_value jinja_escape(struct jinja_run *r, struct jinja_value v);
struct jinja_value jinja_format(struct jinja_run *r, struct jinja_value fmt,
                                struct jinja_value args);

/* ---- nbs/llm/26_jinja.ipynb § Text and tags ---- */

/* jinja_lexer.c */
enum jinja_token_type {
    TOKEN_END, TOKEN_TEXT, TOKEN_VAR, TOKEN_VAR_END, TOKEN_BLOCK, TOKEN_BLOCK_END,
    TOKEN_NAME, TOKEN_STRING, TOKEN_INT, TOKEN_FLOAT, TOKEN_OPERATOR,
};
struct jinja_token {
    uint8_t type;                // enum jinja_token_type
    uint16_t operator;           // OPERATOR(first, second byte or 0)
    uint32_t line, at, len;      // in the source; of a string without its quotes
};
struct jinja_lexer {
    struct jinja_run *r;
    const char *s;               // line ends are \n, no NUL needed
    uint32_t len, at, line;
    uint32_t open;               // brackets
    uint8_t mode;                // TOKEN_TEXT, TOKEN_VAR or TOKEN_BLOCK
};
bool jinja_lex_init(struct jinja_lexer *x, struct jinja_run *r, const char *text,
                    size_t len);
struct jinja_token jinja_lex(struct jinja_lexer *x);
struct jinja_value jinja_unquote(struct jinja_run *r, const char *s, size_t len);
struct jinja_value jinja_read_number(struct jinja_run *r, const char *s, size_t len);
