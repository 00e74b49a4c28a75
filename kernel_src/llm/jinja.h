/* jinja.h: tangled from nbs/llm/26_jinja.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/26_jinja.ipynb § What goes in and out ---- */

/* jinja.h: runs chat templates: the part of Jinja that they use, as jinja2 does with
 * trim_blocks, lstrip_blocks and loop controls.
 *
 * A template is hostile until proven otherwise: steps, depth, text and memory are
 * bounded, and every refusal is a result with a text and a line. All memory comes from
 * the caller's arena. Pure: the clock is handed in. Called by api/. */
// twin: jinja_value.c jinja_lexer.c jinja_parser.c jinja_eval.c jinja_filters.c
#pragma once
#include "base/memory.h"

#define JINJA_TEMPLATE_MAX (256u << 10)   // bytes of template
#define JINJA_TEXT_MAX     (1u << 20)     // bytes in one string, the output included
#define JINJA_STEPS_MAX    1000000u       // nodes visited, items looped over ...
#define JINJA_DEPTH_MAX    64             // of expressions, blocks, calls, data together
#define JINJA_RANGE_MAX    100000         // items from range(), as in jinja2's sandbox
#define JINJA_DATA_DEPTH_MAX 128          // of the builder
#define JINJA_ERROR_MAX    240

enum jinja_result {
    JINJA_OK,
    JINJA_BAD,            // the template is wrong, or does not fit the data
    JINJA_RAISED,         // the template itself called raise_exception
    JINJA_TOO_BIG,        // above one of the limits
    JINJA_NO_MEMORY,      // the arena is full
};

struct jinja_error {
    enum jinja_result result;
    uint32_t line;
    char text[JINJA_ERROR_MAX];
};

enum jinja_type {
    JINJA_UNDEFINED, JINJA_NONE, JINJA_BOOL, JINJA_INT, JINJA_FLOAT, JINJA_STRING,
    JINJA_LIST, JINJA_TUPLE, JINJA_DICT,
    JINJA_NAMESPACE, JINJA_LOOP, JINJA_MACRO, JINJA_FUNCTION, JINJA_METHOD,
    JINJA_ABSENT,         // an argument that was not given
};

struct jinja_value {
    uint8_t type;         // enum jinja_type
    bool markup;          // string: marked safe, so that + escapes its neighbour
    uint32_t len;         // string; of UNDEFINED: the name that was looked for
    union {
        bool boolean;
        int64_t i;
        double num;
        const char *str;
        struct jinja_list *list;         // LIST, TUPLE
        struct jinja_dict *dict;         // DICT, NAMESPACE
        const void *ref;
    };
};

struct jinja_builder {
    struct arena *arena;
    bool failed;                         // arena full or too deep: stays set
    uint32_t depth, steps;
    struct jinja_value root, key, open[JINJA_DATA_DEPTH_MAX];
};
void jb_init(struct jinja_builder *b, struct arena *a);
void jb_dict(struct jinja_builder *b);                            // {
void jb_list(struct jinja_builder *b);                            // [
void jb_end(struct jinja_builder *b);                             // } or ]
void jb_key(struct jinja_builder *b, const char *s, size_t len);  // before a value in {}
void jb_string(struct jinja_builder *b, const char *s, size_t len);
void jb_int(struct jinja_builder *b, int64_t v);
void jb_float(struct jinja_builder *b, double v);
void jb_bool(struct jinja_builder *b, bool v);
void jb_none(struct jinja_builder *b);

struct jinja_program;
struct jinja_program *jinja_parse(struct arena *a, const char *text, size_t len,
                                  struct jinja_error *err);      // NULL: see err
/* The context is the builder's root, a dict. `now`: seconds since 1970 for strftime_now.
 * *text lies in the arena, with a NUL after its *len bytes. */
enum jinja_result jinja_render(const struct jinja_program *p, struct arena *a,
                               const struct jinja_builder *context, int64_t now,
                               const char **text, size_t *len, struct jinja_error *err);
