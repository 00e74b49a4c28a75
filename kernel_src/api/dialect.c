/* dialect.c: tangled from nbs/api/32_dialects.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/32_dialects.ipynb § Writing the answer ---- */

/* dialect.c: see dialect.h. */
#include "api/dialect.h"
#include "api/chat_message.h"
#include "base/memory.h"
#include "base/string.h"

/* Rewrites a request. false: has answered. */
static bool rewrite(struct http_conn *conn, const struct http_request *req,
                    convert_fn convert, struct json_doc *doc)
{
    struct convert c = { .why = NULL };
    struct json_doc body;
    size_t len;
    char *text = NULL;
    enum json_result r = JSON_NO_MEMORY;
    if (!api_body(conn, req, &body))
        return false;
    jw_init(&c.w, 8 * req->body_len + 4096);
    convert(&c, body.root);
    json_free(&body);
    if (!c.why)
        text = jw_take(&c.w, &len);
    jw_free(&c.w);
    if (text)
        r = json_parse(doc, text, len);
    kfree(text);
    if (c.why)
        api_invalid(conn, "%s", c.why);
    else if (r == JSON_NO_MEMORY)
        api_no_memory(conn);
    else if (r != JSON_OK)                 // deeper, by the rewriting, than we go
        api_invalid(conn, "%s", doc->error);
    return !c.why && r == JSON_OK;
}

/* A chat request is a chat request already. */
static bool read_request(struct http_conn *conn, const struct http_request *req,
                         convert_fn convert, struct json_doc *doc)
{
    if (!api_has_model(conn))
        return false;
    return convert ? rewrite(conn, req, convert, doc) : api_body(conn, req, doc) != NULL;
}

void dialect_start(struct http_conn *conn, const struct http_request *req,
                   convert_fn convert, const struct completion_dialect *dialect)
{
    struct json_doc doc;
    if (read_request(conn, req, convert, &doc))
        completion_start_in(conn, SHAPE_CHAT, dialect, &doc);
}

void dialect_count(struct http_conn *conn, const struct http_request *req,
                   convert_fn convert, const char *object)
{
    struct json_doc doc;
    struct json_writer w;
    char *text = NULL;
    size_t len;
    int32_t *tokens = NULL, n = 0;
    if (!read_request(conn, req, convert, &doc))
        return;
    if (prompt_chat(conn, doc.root, NULL, &text, &len)) {
        struct json_node node = { .type = JSON_STRING, .span = 1, { .str = text } };
        node.len = (uint32_t)len;
        enum prompt_result r = prompt_tokens(&node, true, true, &tokens, &n);
        if (r != PROMPT_OK) {
            prompt_refuse(conn, r, "the prompt cannot be tokenized");
        } else {
            jw_init(&w, API_RESPONSE_MAX);
            jw_object(&w);
            jw_kint(&w, "input_tokens", n);
            if (object)
                jw_kcstr(&w, "object", object);
            jw_end(&w);
            api_respond(conn, 200, &w);
        }
        kfree(text);
    }
    kfree(tokens);
    json_free(&doc);
}

/* Chapter 28, if it is linked. */
const struct chat_message *chat_message_of(const struct completion_task *t)
    __attribute__((weak));

void said_so_far(struct said *s, const struct completion_task *t, size_t n_safe)
{
    const struct chat_message *m = t->c->chat ? chat_message_of(t) : NULL;
    *s = (struct said){ .text = { t->task.text.text, n_safe } };
    if (m) {
        s->thoughts = (struct said_text){ m->reasoning.s, m->reasoning.len };
        s->text = (struct said_text){ m->content.s, m->content.len };
        s->n_calls = m->n_calls;
    }
}

struct said_call said_call(const struct completion_task *t, int i)
{
    const struct chat_call *c = &chat_message_of(t)->call[i];
    return (struct said_call){ { c->id.s, c->id.len },
                               { c->name.s, c->name.len },
                               { c->arguments.s, c->arguments.len } };
}

void dialect_text(struct json_writer *w, const char *key, struct said_text t)
{
    jw_kstr(w, key, t.s ? t.s : "", t.len);
}

void dialect_event(struct json_writer *w, const char *type)
{
    jw_init(w, API_RESPONSE_MAX);
    jw_object(w);
    jw_kcstr(w, "type", type);
}

static void post_chat_input_tokens(struct http_conn *c, const struct http_request *req)
{
    dialect_count(c, req, NULL, "response.input_tokens");
}
ROUTE("POST", "/chat/completions/input_tokens", post_chat_input_tokens);
ROUTE("POST", "/v1/chat/completions/input_tokens", post_chat_input_tokens);
