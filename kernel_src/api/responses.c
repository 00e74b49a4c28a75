/* responses.c: tangled from nbs/api/32_dialects.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/32_dialects.ipynb § OpenAI's answers ---- */

/* responses.c: OpenAI's second dialect, POST /v1/responses. Field names are
 * llama-server's (to_json_oaicompat_resp in tools/server/server-task.cpp), but
 * sequence_number and the indices OpenAI's, whose own client counts on them. */
#include "api/dialect.h"
#include "api/shapes.h"
#include "base/stdio.h"
#include "base/string.h"
#include "base/time.h"

#define RESPONSE_ID_MAX 56

/* Of a stream: what has been sent. Items: thoughts, then the message, then calls. */
struct responses_state {
    int sequence;
    size_t safe, thoughts, text;          // bytes
    int n_calls;                          // announced
    size_t arguments;                     // of the last of them, bytes
};

/* "resp_" and the random part of the completion's id */
static const char *id_of(const struct completion *c, const char *prefix,
                         char id[RESPONSE_ID_MAX])
{
    snprintf(id, RESPONSE_ID_MAX, "%s%s", prefix, c->id + strlen("chatcmpl-"));
    return id;
}

static void put_id(struct json_writer *w, const char *key, const struct completion *c,
                   const char *prefix)
{
    char id[RESPONSE_ID_MAX];
    jw_kcstr(w, key, id_of(c, prefix, id));
}

static void put_prefixed(struct json_writer *w, const char *key, const char *prefix,
                         struct said_text id)
{
    char text[RESPONSE_ID_MAX];
    snprintf(text, sizeof text, "%s%.*s", prefix, (int)(id.len < 48 ? id.len : 48),
             id.s ? id.s : "");
    jw_kcstr(w, key, text);
}

static void put_empty(struct json_writer *w, const char *key)
{
    jw_key(w, key);
    jw_array(w);
    jw_end(w);
}

static void put_part(struct json_writer *w, struct said_text text)
{
    jw_object(w);
    jw_kcstr(w, "type", "output_text");
    dialect_text(w, "text", text);
    put_empty(w, "annotations");
    put_empty(w, "logprobs");
    jw_end(w);
}

static const char *status_name(bool done) { return done ? "completed" : "in_progress"; }

/* The items of `output`; not done: as they are announced, without what is in them. */
static void put_thoughts(struct json_writer *w, const struct completion *c,
                         struct said_text thoughts, bool done)
{
    jw_object(w);
    put_id(w, "id", c, "rs_");
    jw_kcstr(w, "type", "reasoning");
    jw_kcstr(w, "status", status_name(done));
    put_empty(w, "summary");
    jw_kcstr(w, "encrypted_content", "");
    jw_key(w, "content");
    jw_array(w);
    if (done) {
        jw_object(w);
        jw_kcstr(w, "type", "reasoning_text");
        dialect_text(w, "text", thoughts);
        jw_end(w);
    }
    jw_end(w);
    jw_end(w);
}

static void put_message(struct json_writer *w, const struct completion *c,
                        struct said_text text, bool done)
{
    jw_object(w);
    put_id(w, "id", c, "msg_");
    jw_kcstr(w, "type", "message");
    jw_kcstr(w, "role", "assistant");
    jw_kcstr(w, "status", status_name(done));
    jw_key(w, "content");
    jw_array(w);
    if (done)
        put_part(w, text);
    jw_end(w);
    jw_end(w);
}

static void put_call(struct json_writer *w, struct said_call call, bool done)
{
    jw_object(w);
    put_prefixed(w, "id", "fc_", call.id);
    jw_kcstr(w, "type", "function_call");
    jw_kcstr(w, "status", status_name(done));
    put_prefixed(w, "call_id", "call_", call.id);
    dialect_text(w, "name", call.name);
    dialect_text(w, "arguments",
                 done ? call.arguments : (struct said_text){ "", 0 });
    jw_end(w);
}

static void put_output(struct json_writer *w, const struct completion_task *t,
                       const struct said *said)
{
    jw_key(w, "output");
    jw_array(w);
    if (said->thoughts.len)
        put_thoughts(w, t->c, said->thoughts, true);
    if (said->text.len)
        put_message(w, t->c, said->text, true);
    for (int i = 0; i < said->n_calls; i++)
        put_call(w, said_call(t, i), true);
    jw_end(w);
}

static void put_usage(struct json_writer *w, const struct llm_task *t)
{
    jw_key(w, "usage");
    jw_object(w);
    jw_kint(w, "input_tokens", t->n_prompt);
    jw_kint(w, "output_tokens", t->n_decoded);
    jw_kint(w, "total_tokens", t->n_prompt + t->n_decoded);
    jw_key(w, "input_tokens_details");
    jw_object(w);
    jw_kint(w, "cached_tokens", t->n_cached);
    jw_end(w);
    jw_end(w);
}

/* said NULL: it has only begun. */
static void put_response(struct json_writer *w, const struct completion *c,
                         const struct said *said)
{
    jw_object(w);
    put_id(w, "id", c, "resp_");
    jw_kcstr(w, "object", "response");
    jw_kint(w, "created_at", c->created);
    jw_kcstr(w, "status", status_name(said != NULL));
    jw_kcstr(w, "model", api_model_name());
    if (said) {
        jw_kint(w, "completed_at", time_unix());
        put_output(w, &c->t[0], said);
        put_usage(w, &c->t[0].task);
    } else {
        put_empty(w, "output");
    }
    jw_end(w);
}

static void responses_answer(struct json_writer *w, struct completion *c)
{
    struct said said;
    said_so_far(&said, &c->t[0], c->t[0].task.text.len);
    put_response(w, c, &said);
}

/* An event begins with its type and number; put_* follow, then send. */
static void event(struct json_writer *w, struct completion *c, const char *type)
{
    struct responses_state *s = c->state;
    dialect_event(w, type);
    jw_kint(w, "sequence_number", s->sequence++);
}

static void send(struct json_writer *w, struct completion *c, const char *type)
{
    jw_end(w);
    completion_event(c, type, w);
}

static void responses_begin(struct completion_task *t)
{
    static const char *const types[] = { "response.created", "response.in_progress" };
    struct json_writer w;
    for (int i = 0; i < 2; i++) {
        event(&w, t->c, types[i]);
        jw_key(&w, "response");
        put_response(&w, t->c, NULL);
        send(&w, t->c, types[i]);
    }
}

static void responses_progress(struct completion_task *t)
{
    static const char type[] = "response.in_progress";
    struct json_writer w;
    event(&w, t->c, type);
    jw_key(&w, "response");
    put_response(&w, t->c, NULL);
    shape_extras(&w, t);
    send(&w, t->c, type);
}

/* Where an event belongs: the item's id, its place, and the place in its content. */
static void put_place(struct json_writer *w, const struct completion *c,
                      const char *prefix, int output)
{
    put_id(w, "item_id", c, prefix);
    jw_kint(w, "output_index", output);
    jw_kint(w, "content_index", 0);
}

static void send_item(struct completion_task *t, const char *type, int output,
                      const char *kind, const struct said *said,
                      const struct said_call *call)
{
    bool done = strcmp(type, "response.output_item.done") == 0;
    struct json_writer w;
    event(&w, t->c, type);
    jw_kint(&w, "output_index", output);
    jw_key(&w, "item");
    if (call)
        put_call(&w, *call, done);
    else if (strcmp(kind, "rs_") == 0)
        put_thoughts(&w, t->c, said->thoughts, done);
    else
        put_message(&w, t->c, said->text, done);
    send(&w, t->c, type);
}

/* content_part.added and .done */
static void send_part(struct completion_task *t, const char *type, int output,
                      struct said_text text)
{
    struct json_writer w;
    event(&w, t->c, type);
    put_place(&w, t->c, "msg_", output);
    jw_key(&w, "part");
    put_part(&w, text);
    send(&w, t->c, type);
}

/* Sends what is new in a text; *sent counts what is not. */
static void send_text(struct completion_task *t, const char *type, const char *prefix,
                      int output, const struct said *said, struct said_text text,
                      size_t *sent)
{
    struct json_writer w;
    bool message = prefix[0] == 'm';
    if (text.len == *sent)
        return;
    if (!*sent) {
        send_item(t, "response.output_item.added", output, prefix, said, NULL);
        if (message)
            send_part(t, "response.content_part.added", output,
                      (struct said_text){ "", 0 });
    }
    event(&w, t->c, type);
    put_place(&w, t->c, prefix, output);
    jw_kstr(&w, "delta", text.s + *sent, text.len - *sent);
    if (message)
        put_empty(&w, "logprobs");
    shape_extras(&w, t);
    send(&w, t->c, type);
    *sent = text.len;
}

static void send_arguments(struct completion_task *t, int output,
                           const struct said_call *call, size_t from)
{
    static const char type[] = "response.function_call_arguments.delta";
    struct json_writer w;
    if (call->arguments.len <= from)
        return;
    event(&w, t->c, type);
    put_prefixed(&w, "item_id", "fc_", call->id);
    jw_kint(&w, "output_index", output);
    jw_kstr(&w, "delta", call->arguments.s + from, call->arguments.len - from);
    send(&w, t->c, type);
}

static void send_calls(struct completion_task *t, struct responses_state *s,
                       const struct said *said, int first)
{
    for (;;) {
        struct said_call call = { .id = { "", 0 } };
        if (s->n_calls) {
            call = said_call(t, s->n_calls - 1);
            send_arguments(t, first + s->n_calls - 1, &call, s->arguments);
        }
        s->arguments = call.arguments.len;
        if (s->n_calls == said->n_calls)
            return;
        call = said_call(t, s->n_calls);
        send_item(t, "response.output_item.added", first + s->n_calls++, "fc_", said,
                  &call);
        s->arguments = 0;
    }
}

static void send_said(struct completion_task *t, struct responses_state *s,
                      const struct said *said)
{
    send_text(t, "response.reasoning_text.delta", "rs_", 0, said, said->thoughts,
              &s->thoughts);
    send_text(t, "response.output_text.delta", "msg_", s->thoughts > 0, said, said->text,
              &s->text);
    send_calls(t, s, said, (s->thoughts > 0) + (s->text > 0));
}

static void responses_piece(struct completion_task *t, const char *text, size_t len)
{
    struct responses_state *s = t->c->state;
    struct said said;
    (void)text;
    s->safe += len;
    said_so_far(&said, t, s->safe);
    send_said(t, s, &said);
}

static void end_message(struct completion_task *t, int output, const struct said *said)
{
    static const char type[] = "response.output_text.done";
    struct json_writer w;
    event(&w, t->c, type);
    put_place(&w, t->c, "msg_", output);
    dialect_text(&w, "text", said->text);
    put_empty(&w, "logprobs");
    send(&w, t->c, type);
    send_part(t, "response.content_part.done", output, said->text);
    send_item(t, "response.output_item.done", output, "msg_", said, NULL);
}

static void responses_end(struct completion_task *t)
{
    struct responses_state *s = t->c->state;
    struct json_writer w;
    struct said said;
    int output = 0;
    said_so_far(&said, t, s->safe);
    send_said(t, s, &said);
    if (s->thoughts)
        send_item(t, "response.output_item.done", output++, "rs_", &said, NULL);
    if (s->text)
        end_message(t, output++, &said);
    for (int i = 0; i < s->n_calls; i++) {
        struct said_call call = said_call(t, i);
        send_item(t, "response.output_item.done", output++, "fc_", &said, &call);
    }
    event(&w, t->c, "response.completed");
    jw_key(&w, "response");
    put_response(&w, t->c, &said);
    shape_timings(&w, &t->task);
    send(&w, t->c, "response.completed");
}

static const struct completion_dialect responses = {
    .state_size = sizeof(struct responses_state),
    .answer = responses_answer,
    .begin = responses_begin,
    .progress = responses_progress,
    .piece = responses_piece,
    .end = responses_end,
};

static void post_responses(struct http_conn *c, const struct http_request *req)
{
    dialect_start(c, req, convert_responses, &responses);
}

static void post_responses_tokens(struct http_conn *c, const struct http_request *req)
{
    dialect_count(c, req, convert_responses, "response.input_tokens");
}
ROUTE("POST", "/responses", post_responses);
ROUTE("POST", "/v1/responses", post_responses);
ROUTE("POST", "/responses/input_tokens", post_responses_tokens);
ROUTE("POST", "/v1/responses/input_tokens", post_responses_tokens);
