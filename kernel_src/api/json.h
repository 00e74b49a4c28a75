/* json.h: tangled from nbs/api/17_json.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/17_json.ipynb § One block, two arrays ---- */

/* json.h - RFC 8259: text to a flat tree of nodes, and values to text.
 *
 * Reading: one kmalloc holds the whole document: nodes in document order, then
 * the unescaped strings. A node's subtree is the `span` nodes that start at it,
 * so `n + n->span` is its sibling, and no pointer to a parent or child exists.
 * In an object every member is two neighbours: a string node, then its value.
 * Writing: a bounded buffer that grows; running out sets a flag that sticks.
 * Called by api/ and config_json.c.
 * twin: json.c */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_DEPTH_MAX 128          /* arrays and objects inside each other */
#define JSON_WRITE_DEPTH_MAX (JSON_DEPTH_MAX + 32)  /* room around a jw_node */
#define JSON_NODES_MAX 65536        /* 1 MB of nodes */
#define JSON_FAR_NUMBERS_MAX 1024   /* numbers above 1e60 or below 1e-60 */
#define JSON_ERROR_MAX 400          /* room for an error text */

enum json_result {
    JSON_OK,
    JSON_BAD,           /* not JSON: the text says where and why */
    JSON_TOO_DEEP,      /* more than JSON_DEPTH_MAX */
    JSON_TOO_BIG,       /* more than JSON_NODES_MAX values */
    JSON_NO_MEMORY,
};

enum json_type {
    JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT,
};

struct json_node {
    uint8_t type;               /* enum json_type */
    bool is_int;                /* number: `i` is the exact value */
    uint32_t span;              /* nodes of this subtree, itself included */
    union {
        bool boolean;
        int64_t i;              /* is_int */
        double num;             /* !is_int */
        struct { const char *str; uint32_t len; };   /* str[len] == 0 */
        uint32_t count;         /* elements, or members */
    };
};

struct json_doc {
    struct json_node *root;     /* NULL unless JSON_OK */
    size_t n_nodes;
    char error[JSON_ERROR_MAX]; /* nlohmann's wording; "" when JSON_OK */
    size_t error_at;            /* byte offset where reading stopped */
};

enum json_result json_parse(struct json_doc *doc, const char *text, size_t len);
void json_free(struct json_doc *doc);

/* ---- nbs/api/17_json.ipynb § Asking the tree ---- */

/* Navigation. All of them take NULL and answer NULL, so lookups chain. */
const struct json_node *json_get(const struct json_node *obj, const char *key);
const struct json_node *json_at(const struct json_node *arr, size_t index);
/* First and next element; of an object: its keys (the value is json_value). */
const struct json_node *json_first(const struct json_node *container);
const struct json_node *json_next(const struct json_node *container,
                                     const struct json_node *child);
static inline const struct json_node *json_value(const struct json_node *key)
{ return key + 1; }

static inline bool json_is(const struct json_node *n, enum json_type type)
{ return n && n->type == type; }
bool json_is_str(const struct json_node *n, const char *text);
size_t json_count(const struct json_node *n);       /* 0 unless a container */
double json_number(const struct json_node *n);      /* 0 unless a number */

/* Fields with defaults: *out keeps what it holds unless JSON_FIELD_OK.
 * null counts as absent, as in llama-server. */
enum json_field {
    JSON_FIELD_OK, JSON_FIELD_ABSENT, JSON_FIELD_TYPE, JSON_FIELD_RANGE,
};
enum json_field json_get_bool(const struct json_node *obj, const char *key,
                              bool *out);
enum json_field json_get_int(const struct json_node *obj, const char *key,
                             int64_t min, int64_t max, int64_t *out);
enum json_field json_get_double(const struct json_node *obj, const char *key,
                                double min, double max, double *out);
enum json_field json_get_str(const struct json_node *obj, const char *key,
                             const char **out, size_t *len);

/* ---- nbs/api/17_json.ipynb § Writing ---- */

/* ---- Writing (jw_ = JSON writer): commas are put in by the writer. ---- */
struct json_writer {
    char *buf;                  /* kmalloc'ed, NUL-terminated; NULL if empty */
    size_t len, cap, max;
    bool failed;                /* out of memory or above max: stays set */
    bool full;                  /* failed, and because of max */
    bool comma;                 /* the next value needs a comma before it */
    bool keyed;                 /* a key was written, its value is due */
    int depth;
    uint8_t is_object[JSON_WRITE_DEPTH_MAX / 8];
};

void jw_init(struct json_writer *w, size_t max);
void jw_reset(struct json_writer *w);   /* empty again, the buffer is kept */
void jw_free(struct json_writer *w);
/* The text, now the caller's to kfree; NULL if failed. The writer is empty. */
char *jw_take(struct json_writer *w, size_t *len);

void jw_object(struct json_writer *w);              /* { */
void jw_array(struct json_writer *w);               /* [ */
void jw_end(struct json_writer *w);                 /* } or ], whichever is open */
void jw_key(struct json_writer *w, const char *key);
void jw_str(struct json_writer *w, const char *s, size_t len);
void jw_cstr(struct json_writer *w, const char *s);
void jw_int(struct json_writer *w, int64_t v);
void jw_double(struct json_writer *w, double v);    /* shortest text that reads back */
void jw_bool(struct json_writer *w, bool v);
void jw_null(struct json_writer *w);
void jw_raw(struct json_writer *w, const char *text, size_t len);   /* one value, as is */
void jw_node(struct json_writer *w, const struct json_node *n);     /* a parsed value */

/* "key": value */
void jw_kstr(struct json_writer *w, const char *key, const char *s, size_t len);
void jw_kcstr(struct json_writer *w, const char *key, const char *s);
void jw_kint(struct json_writer *w, const char *key, int64_t v);
void jw_kdouble(struct json_writer *w, const char *key, double v);
void jw_kbool(struct json_writer *w, const char *key, bool v);
void jw_knull(struct json_writer *w, const char *key);
