/* convert.c: tangled from nbs/api/32_dialects.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/32_dialects.ipynb § Rewriting a request ---- */

/* convert.c: see convert.h. */
#include <stdarg.h>
#include "api/convert.h"
#include "base/memory.h"
#include "base/stdio.h"
#include "base/string.h"

void convert_refuse(struct convert *c, const char *fmt, ...)
{
    va_list ap;
    if (c->why)
        return;
    va_start(ap, fmt);
    vsnprintf(c->text, sizeof c->text, fmt, ap);
    va_end(ap);
    c->why = c->text;
}

bool convert_has(const struct json_node *obj, const char *key)
{
    const struct json_node *v = json_get(obj, key);
    return v && !json_is(v, JSON_NULL);
}

static const struct json_node *typed(const struct json_node *obj, const char *key,
                                     enum json_type type)
{
    const struct json_node *v = json_get(obj, key);
    return json_is(v, type) ? v : NULL;
}

const struct json_node *convert_array(const struct json_node *obj, const char *key)
{
    return typed(obj, key, JSON_ARRAY);
}

const struct json_node *convert_string(const struct json_node *obj, const char *key)
{
    return typed(obj, key, JSON_STRING);
}

void convert_copy(struct convert *c, const struct json_node *from, const char *key,
                  const char *as)
{
    if (!convert_has(from, key))
        return;
    jw_key(&c->w, as);
    jw_node(&c->w, json_get(from, key));
}

void convert_part(struct convert *c, const char *text, size_t len)
{
    jw_object(&c->w);
    jw_kcstr(&c->w, "type", "text");
    jw_kstr(&c->w, "text", text, len);
    jw_end(&c->w);
}

void convert_image(struct convert *c)
{
    jw_object(&c->w);
    jw_kcstr(&c->w, "type", "image_url");
    jw_key(&c->w, "image_url");
    jw_object(&c->w);
    jw_kcstr(&c->w, "url", "data:");
    jw_end(&c->w);
    jw_end(&c->w);
}

static const struct json_node *text_of(const struct json_node *block, const char *type,
                                       const char *key)
{
    return json_is_str(json_get(block, "type"), type) ? convert_string(block, key) : NULL;
}

char *convert_join(struct convert *c, const struct json_node *list, const char *type,
                   const char *key, size_t *len)
{
    const struct json_node *t;
    size_t n = 0, at = 0;
    for (const struct json_node *b = json_first(list); b; b = json_next(list, b))
        if ((t = text_of(b, type, key)))
            n += t->len;
    char *s = kmalloc(n + 1);
    if (!s) {
        c->w.failed = true;
        *len = 0;
        return NULL;
    }
    for (const struct json_node *b = json_first(list); b; b = json_next(list, b))
        if ((t = text_of(b, type, key))) {
            memcpy(s + at, t->str, t->len);
            at += t->len;
        }
    s[at] = 0;
    *len = at;
    return s;
}

static void put_string(struct json_writer *w, const char *key, const struct json_node *s)
{
    jw_kstr(w, key, s ? s->str : "", s ? s->len : 0);
}

void convert_call(struct convert *c, const struct json_node *id,
                  const struct json_node *name, const char *arguments, size_t len)
{
    jw_object(&c->w);
    put_string(&c->w, "id", id);
    jw_kcstr(&c->w, "type", "function");
    jw_key(&c->w, "function");
    jw_object(&c->w);
    put_string(&c->w, "name", name);
    jw_kstr(&c->w, "arguments", arguments, len);
    jw_end(&c->w);
    jw_end(&c->w);
}

void convert_choice(struct convert *c, const struct json_node *name)
{
    jw_key(&c->w, "tool_choice");
    jw_object(&c->w);
    jw_kcstr(&c->w, "type", "function");
    jw_key(&c->w, "function");
    jw_object(&c->w);
    put_string(&c->w, "name", name);
    jw_end(&c->w);
    jw_end(&c->w);
}

void convert_schema(struct convert *c, const struct json_node *schema)
{
    if (!json_is(schema, JSON_OBJECT)) {
        convert_refuse(c, "a json_schema format needs a 'schema'");
        return;
    }
    jw_key(&c->w, "response_format");
    jw_object(&c->w);
    jw_kcstr(&c->w, "type", "json_schema");
    jw_key(&c->w, "json_schema");
    jw_object(&c->w);
    jw_key(&c->w, "schema");
    jw_node(&c->w, schema);
    jw_end(&c->w);
    jw_end(&c->w);
}
