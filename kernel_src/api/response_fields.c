/* response_fields.c: tangled from nbs/api/30_logprobs.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/30_logprobs.ipynb § Parts of an answer ---- */

/* response_fields.c: /completion's "response_fields": of the answer, only what is asked
 * for. A path like "timings/prompt_n" reaches inside, and is the value's name in the
 * answer. Called by shapes.c, weakly. */
#include "api/completion.h"
#include "base/string.h"

#define FIELD_NAME_MAX 64

/* The value at a path, or NULL. */
static const struct json_node *find_path(const struct json_node *n, const char *path)
{
    char name[FIELD_NAME_MAX];
    while (n) {
        const char *end = strchr(path, '/');
        size_t len = end ? (size_t)(end - path) : strlen(path);
        if (len >= sizeof name || !json_is(n, JSON_OBJECT))
            return NULL;
        memcpy(name, path, len);
        name[len] = 0;
        n = json_get(n, name);
        if (!end)
            return n;
        path = end + 1;
    }
    return NULL;
}

static bool asked_before(const struct json_node *fields, const struct json_node *f)
{
    for (const struct json_node *e = json_first(fields); e != f; e = json_next(fields, e))
        if (json_is_str(e, f->str))
            return true;
    return false;
}

/* w->buf + from is the answer, an object; afterwards it is a smaller one. */
void response_fields_keep(struct json_writer *w, size_t from,
                          const struct json_node *fields)
{
    struct json_doc doc;
    struct json_writer some;
    while (!w->failed && from < w->len && w->buf[from] != '{')
        from++;                                            // a comma
    if (w->failed)
        return;
    enum json_result r = json_parse(&doc, w->buf + from, w->len - from);
    if (r != JSON_OK) {
        w->failed = true;
        w->full |= r == JSON_TOO_BIG;       // to try again would not help
        return;
    }
    jw_init(&some, w->max);
    jw_object(&some);
    for (const struct json_node *f = json_first(fields); f; f = json_next(fields, f)) {
        const struct json_node *value = find_path(doc.root, f->str);
        if (value && !asked_before(fields, f)) {
            jw_key(&some, f->str);
            jw_node(&some, value);
        }
    }
    jw_end(&some);
    w->len = from;
    w->comma = false;
    if (some.failed)
        w->failed = true;
    else
        jw_raw(w, some.buf, some.len);
    jw_free(&some);
    json_free(&doc);
}
