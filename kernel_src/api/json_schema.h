/* json_schema.h: tangled from nbs/api/25_json_schema.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/25_json_schema.ipynb § The promise ---- */

/* json_schema.h: a JSON schema as a grammar in GBNF.
 *
 * Each schema becomes a rule s0, s1, …; schemas that hold together (allOf, $ref with
 * neighbours) are one rule for the set. Objects get their required members first, then
 * the optional ones, in the schema's order, and no others unless additionalProperties
 * says so. Keywords that no grammar can keep are errors. No recursion; memory is
 * kmalloc'ed and bounded. Pure. Called by api/. */
// twin: json_schema.c json.c
#pragma once
#include "api/json.h"

#define JSON_SCHEMA_TEXT_MAX  (256u << 10)  // bytes of GBNF
#define JSON_SCHEMA_RULES_MAX 1024          // different sets of schemas
#define JSON_SCHEMA_SET_MAX   16            // schemas that hold together
#define JSON_SCHEMA_KEYWORDS_MAX 128        // of one schema
#define JSON_SCHEMA_PROPS_MAX 256           // members of one object
#define JSON_SCHEMA_RANGES_MAX 64           // ranges in one class of a pattern
#define JSON_SCHEMA_DIGITS_MAX 15           // of a number between bounds
#define JSON_SCHEMA_COUNT_MAX 100000        // lengths and numbers of items
#define JSON_SCHEMA_COMPARE_MAX (16u << 20) // nodes and bytes, to compare enums

/* The grammar, kmalloc'ed and NUL-terminated, or NULL and err says why. schema NULL or
 * {}: any JSON object. */
char *json_schema_to_grammar(const struct json_node *schema, size_t *len, char *err,
                             size_t err_cap);

/* Its two parts, for a grammar of several schemas. A schema's own rules are root and
 * those with a digit in their names; the names of the shared ones have no digit. */
char *json_schema_rules(const struct json_node *schema, size_t *len, char *err,
                        size_t err_cap);
extern const char json_schema_shared[];
