/* messages.c: tangled from nbs/api/32_dialects.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/32_dialects.ipynb § Anthropic's answers ---- */

/* messages.c: Anthropic's dialect, POST /v1/messages. Field names are llama-server's
 * (to_json_anthropic in tools/server/server-task.cpp). */
#include "api/dialect.h"
#include "base/stdlib.h"
#include "base/string.h"

/* Of a stream: what has been sent. Thoughts are block 0, then text, then calls. */
struct messages_state {
    size_t safe, thoughts, text;          // bytes
    int n_calls;                          // announced
    size_t arguments;                     // of the last of them, bytes
};

static const char *stop_reason(const struct llm_task *t, int n_calls)
{
    if (t->stop_type == LLM_STOP_LIMIT)
        return "max_tokens";
    return n_calls                         ? "tool_use"
           : t->stop_type == LLM_STOP_WORD ? "stop_sequence"
                                           : "end_turn";
}

static void put_stop(struct json_writer *w, const struct llm_task *t, int n_calls)
{
    jw_kcstr(w, "stop_reason", stop_reason(t, n_calls));
    if (t->stopping_word)
        jw_kcstr(w, "stop_sequence", t->stopping_word);
    else
        jw_knull(w, "stop_sequence");
}

static void put_usage(struct json_writer *w, const struct llm_task *t, int32_t output)
{
    jw_key(w, "usage");
    jw_object(w);
    jw_kint(w, "cache_read_input_tokens", t->n_cached);
    jw_kint(w, "input_tokens", t->n_prompt - t->n_cached);
    jw_kint(w, "output_tokens", output);
    jw_end(w);
}

static void put_head(struct json_writer *w, const struct completion *c)
{
    jw_kcstr(w, "id", c->id);
    jw_kcstr(w, "type", "message");
    jw_kcstr(w, "role", "assistant");
    jw_kcstr(w, "model", api_model_name());
}

/* {"type":…,"…":… : the caller ends it */
static void begin_block(struct json_writer *w, const char *type)
{
    jw_object(w);
    jw_kcstr(w, "type", type);
}

/* The model wrote the arguments, so they may be anything: what is not JSON becomes {}. */
static void put_input(struct json_writer *w, struct said_text arguments)
{
    struct json_doc doc;
    bool ok = arguments.len && json_parse(&doc, arguments.s, arguments.len) == JSON_OK;
    jw_key(w, "input");
    if (ok && json_is(doc.root, JSON_OBJECT)) {
        jw_node(w, doc.root);
    } else {
        jw_object(w);
        jw_end(w);
    }
    if (ok)
        json_free(&doc);
}

static void put_content(struct json_writer *w, const struct completion_task *t,
                        const struct said *said)
{
    jw_key(w, "content");
    jw_array(w);
    if (said->thoughts.len) {
        begin_block(w, "thinking");
        dialect_text(w, "thinking", said->thoughts);
        jw_kcstr(w, "signature", "");
        jw_end(w);
    }
    if (said->text.len) {
        begin_block(w, "text");
        dialect_text(w, "text", said->text);
        jw_end(w);
    }
    for (int i = 0; i < said->n_calls; i++) {
        struct said_call call = said_call(t, i);
        begin_block(w, "tool_use");
        dialect_text(w, "id", call.id);
        dialect_text(w, "name", call.name);
        put_input(w, call.arguments);
        jw_end(w);
    }
    jw_end(w);
}

static void messages_answer(struct json_writer *w, struct completion *c)
{
    const struct llm_task *t = &c->t[0].task;
    struct said said;
    said_so_far(&said, &c->t[0], t->text.len);
    jw_object(w);
    put_head(w, c);
    put_content(w, &c->t[0], &said);
    put_stop(w, t, said.n_calls);
    put_usage(w, t, t->n_decoded);
    jw_end(w);
}

static void messages_begin(struct completion_task *t)
{
    struct json_writer w;
    dialect_event(&w, "message_start");
    jw_key(&w, "message");
    jw_object(&w);
    put_head(&w, t->c);
    jw_key(&w, "content");
    jw_array(&w);
    jw_end(&w);
    jw_knull(&w, "stop_reason");
    jw_knull(&w, "stop_sequence");
    put_usage(&w, &t->task, 0);
    jw_end(&w);
    jw_end(&w);
    completion_event(t->c, "message_start", &w);
}

/* call: its id and name, or NULL */
static void block_start(struct completion *c, int index, const char *type,
                        const char *key, const struct said_call *call)
{
    struct json_writer w;
    dialect_event(&w, "content_block_start");
    jw_kint(&w, "index", index);
    jw_key(&w, "content_block");
    begin_block(&w, type);
    if (call) {
        dialect_text(&w, "id", call->id);
        dialect_text(&w, "name", call->name);
        jw_key(&w, "input");
        jw_object(&w);
        jw_end(&w);
    } else {
        jw_kcstr(&w, key, "");
    }
    jw_end(&w);
    jw_end(&w);
    completion_event(c, "content_block_start", &w);
}

static void block_delta(struct completion *c, int index, const char *type,
                        const char *key, const char *text, size_t len)
{
    struct json_writer w;
    dialect_event(&w, "content_block_delta");
    jw_kint(&w, "index", index);
    jw_key(&w, "delta");
    begin_block(&w, type);
    jw_kstr(&w, key, text, len);
    jw_end(&w);
    jw_end(&w);
    completion_event(c, "content_block_delta", &w);
}

static void block_stop(struct completion *c, int index)
{
    struct json_writer w;
    dialect_event(&w, "content_block_stop");
    jw_kint(&w, "index", index);
    jw_end(&w);
    completion_event(c, "content_block_stop", &w);
}

/* Sends what is new in a text; *sent counts what is not. */
static void send_text(struct completion *c, int index, const char *type,
                      const char *delta, const char *key, struct said_text t,
                      size_t *sent)
{
    if (t.len == *sent)
        return;
    if (!*sent)
        block_start(c, index, type, key, NULL);
    block_delta(c, index, delta, key, t.s + *sent, t.len - *sent);
    *sent = t.len;
}

static void send_calls(struct completion_task *t, struct messages_state *s,
                       const struct said *said, int first)
{
    for (;;) {
        struct said_call call = { .id = { "", 0 } };
        if (s->n_calls)
            call = said_call(t, s->n_calls - 1);
        if (s->n_calls && call.arguments.len > s->arguments)
            block_delta(t->c, first + s->n_calls - 1, "input_json_delta", "partial_json",
                        call.arguments.s + s->arguments,
                        call.arguments.len - s->arguments);
        s->arguments = call.arguments.len;
        if (s->n_calls == said->n_calls)
            return;
        call = said_call(t, s->n_calls);
        block_start(t->c, first + s->n_calls++, "tool_use", NULL, &call);
        s->arguments = 0;
    }
}

static void send_said(struct completion_task *t, struct messages_state *s,
                      const struct said *said)
{
    send_text(t->c, 0, "thinking", "thinking_delta", "thinking", said->thoughts,
              &s->thoughts);
    send_text(t->c, s->thoughts > 0, "text", "text_delta", "text", said->text, &s->text);
    send_calls(t, s, said, (s->thoughts > 0) + (s->text > 0));
}

static void messages_piece(struct completion_task *t, const char *text, size_t len)
{
    struct messages_state *s = t->c->state;
    struct said said;
    (void)text;
    s->safe += len;
    said_so_far(&said, t, s->safe);
    send_said(t, s, &said);
}

static void messages_end(struct completion_task *t)
{
    struct messages_state *s = t->c->state;
    struct json_writer w;
    struct said said;
    said_so_far(&said, t, s->safe);
    send_said(t, s, &said);
    if (s->thoughts)
        block_delta(t->c, 0, "signature_delta", "signature", "", 0);
    for (int i = 0; i < (s->thoughts > 0) + (s->text > 0) + s->n_calls; i++)
        block_stop(t->c, i);
    dialect_event(&w, "message_delta");
    jw_key(&w, "delta");
    jw_object(&w);
    put_stop(&w, &t->task, s->n_calls);
    jw_end(&w);
    jw_key(&w, "usage");
    jw_object(&w);
    jw_kint(&w, "output_tokens", t->task.n_decoded);
    jw_end(&w);
    jw_end(&w);
    completion_event(t->c, "message_delta", &w);
    dialect_event(&w, "message_stop");
    jw_end(&w);
    completion_event(t->c, "message_stop", &w);
}

static const struct completion_dialect messages = {
    .state_size = sizeof(struct messages_state),
    .answer = messages_answer,
    .begin = messages_begin,
    .piece = messages_piece,
    .end = messages_end,
    .error_event = "error",
};

static void post_messages(struct http_conn *c, const struct http_request *req)
{
    dialect_start(c, req, convert_messages, &messages);
}

static void post_count_tokens(struct http_conn *c, const struct http_request *req)
{
    dialect_count(c, req, convert_messages, NULL);
}
ROUTE("POST", "/v1/messages", post_messages);
ROUTE("POST", "/v1/messages/count_tokens", post_count_tokens);
