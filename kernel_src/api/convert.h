/* convert.h: tangled from nbs/api/32_dialects.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/32_dialects.ipynb § Rewriting a request ---- */

/* convert.h: a request in another dialect, rewritten as the chat request that says the
 * same.
 *
 * What has no counterpart is left out only where llama-server's users count on that; all
 * else is refused by name. No recursion. Pure. Called by dialect.c. */
// twin: convert.c convert_messages.c convert_responses.c json.c
#pragma once
#include "api/json.h"

/* Where the result goes: w, a writer with nothing in it. When w.failed is set, memory ran
 * out. `why` is set, once, when the request is wrong. */
struct convert { struct json_writer w; const char *why; char text[120]; };

typedef void (*convert_fn)(struct convert *c, const struct json_node *body);
void convert_messages(struct convert *c, const struct json_node *body);  // Anthropic
void convert_responses(struct convert *c, const struct json_node *body); // OpenAI

/* ---- what both need ---- */
void convert_refuse(struct convert *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
bool convert_has(const struct json_node *obj, const char *key); // there, and not null
const struct json_node *convert_array(const struct json_node *obj, const char *key);
const struct json_node *convert_string(const struct json_node *obj, const char *key);
void convert_copy(struct convert *c, const struct json_node *from, const char *key,
                  const char *as);
void convert_part(struct convert *c, const char *text, size_t len); // {"type":"text",…}
void convert_image(struct convert *c);     // a part that the chat route will refuse
/* The strings `key` of those objects in `list` whose type is `type`, joined. kmalloc'ed
 * and NUL-terminated, or NULL: no memory, and w.failed is set. */
char *convert_join(struct convert *c, const struct json_node *list, const char *type,
                   const char *key, size_t *len);
/* One member of tool_calls; arguments is JSON, as text. */
void convert_call(struct convert *c, const struct json_node *id,
                  const struct json_node *name, const char *arguments, size_t len);
/* {"type":"function","function":{"name":…}} for tool_choice */
void convert_choice(struct convert *c, const struct json_node *name);
/* response_format for a schema */
void convert_schema(struct convert *c, const struct json_node *schema);
