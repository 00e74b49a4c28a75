/* dialect.h: tangled from nbs/api/32_dialects.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/32_dialects.ipynb § Writing the answer ---- */

/* dialect.h: routes that speak another dialect of the chat. The request is rewritten
 * (convert.h), the answer has a shape of its own (struct completion_dialect). */
#pragma once
#include "api/completion.h"
#include "api/convert.h"

/* The handlers of such routes: an answer, or the number of tokens in its prompt. object:
 * OpenAI's counts have that member, NULL: Anthropic's have not. */
void dialect_start(struct http_conn *conn, const struct http_request *req,
                   convert_fn convert, const struct completion_dialect *dialect);
void dialect_count(struct http_conn *conn, const struct http_request *req,
                   convert_fn convert, const char *object);

/* What a task has said so far, taken apart. All texts point into the task. */
struct said_text { const char *s; size_t len; };
struct said_call { struct said_text id, name, arguments; };
struct said {
    struct said_text thoughts, text;
    int n_calls;
};
void said_so_far(struct said *s, const struct completion_task *t, size_t n_safe);
struct said_call said_call(const struct completion_task *t, int i);

void dialect_text(struct json_writer *w, const char *key, struct said_text t);
void dialect_event(struct json_writer *w, const char *type); // {"type":…, …
