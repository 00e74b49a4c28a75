/* completion.c: tangled from nbs/api/18_v1.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/18_v1.ipynb § Events to a slow client ---- */

/* completion.c: see completion.h. A completion is alive from completion_start to
 * completion_free; in between it is on the list `alive`, which completion_poll walks. */
#include "api/completion.h"
#include "api/shapes.h"
#include "base/fmath.h"
#include "base/memory.h"
#include "base/stdio.h"
#include "base/string.h"
#include "base/time.h"

static struct completion *alive;
LINKER_SET_DECLARE(completion_part, struct completion_part);

static void completion_free(struct completion *c)
{
    for (struct completion **l = &alive; *l; l = &(*l)->next)
        if (*l == c) {
            *l = c->next;
            break;
        }
    for (int32_t i = 0; i < c->n_tasks; i++) {
        struct completion_task *t = &c->t[i];
        if (!t->done)
            llm_cancel(&kernel_llm, &t->task);
        text_stream_free(&t->task.text);
        kfree(t->tokens);
        kfree(t->out_tokens);
        kfree(t->embedding);
        if (t->logprobs)
            logprobs_end(t);
    }
    if (c->chat)
        chat_free(c->chat);
    LINKER_SET_FOREACH(completion_part, struct completion_part, part)
        if (part->free)
            part->free(c);
    gen_params_free(&c->p);
    json_free(&c->doc);
    kfree(c->queue);
    kfree(c);
}

static void client_gone(void *user) { completion_free(user); }

static void pause_tasks(struct completion *c, bool paused)
{
    for (int32_t i = 0; i < c->n_tasks; i++)
        c->t[i].task.paused = paused;
}

/* "event: NAME", if it has one; "data: …"; an empty line */
static size_t event_size(const char *name, size_t len)
{
    return len + 8 + (name ? strlen(name) + 8 : 0);
}

static void put_event(char *to, const char *name, const char *data, size_t len)
{
    if (name) {
        size_t n = strlen(name);
        memcpy(to, "event: ", 7);
        memcpy(to + 7, name, n);
        to[7 + n] = '\n';
        to += n + 8;
    }
    memcpy(to, "data: ", 6);
    memcpy(to + 6, data, len);
    memcpy(to + 6 + len, "\n\n", 2);
}

/* Puts a whole event behind those that wait. false: no memory, and nothing was put. */
static bool enqueue(struct completion *c, const char *name, const char *data, size_t len)
{
    size_t need = c->queued + event_size(name, len);
    if (need > c->queue_cap) {
        char *q = krealloc(c->queue, need + 1024);
        if (!q)
            return false;
        c->queue = q;
        c->queue_cap = need + 1024;
    }
    put_event(c->queue + c->queued, name, data, len);
    c->queued = need;
    return true;
}

static bool flush(struct completion *c)
{
    while (c->queued) {
        size_t room = http_write_space(c->conn), n = c->queued < room ? c->queued : room;
        if (!n || !http_write(c->conn, c->queue, n))
            return false;
        memmove(c->queue, c->queue + n, c->queued - n);
        c->queued -= n;
    }
    return true;
}

/* No memory for an event: the text would have a hole. The stream ends, with an error as
 * its last event. */
static void break_off(struct completion *c)
{
    c->broken = true;
    for (int32_t i = 0; i < c->n_tasks; i++)
        if (!c->t[i].done) {
            llm_cancel(&kernel_llm, &c->t[i].task);
            c->t[i].done = true;
        }
    c->n_done = c->n_tasks;
}

/* One event, from JSON in w (freed) or, if w is NULL, the text `literal`. */
static void send_named(struct completion *c, const char *name, struct json_writer *w,
                       const char *literal)
{
    static char event[2048];
    size_t len = w ? w->len : strlen(literal);
    const char *data = w ? w->buf : literal;
    bool ok = !c->broken && !(w && w->failed);
    c->t_sent_ms = time_ms();
    if (ok && !c->queued && event_size(name, len) <= sizeof event) {
        put_event(event, name, data, len);
        ok = http_write(c->conn, event, event_size(name, len)) ||
             enqueue(c, name, data, len);
    } else if (ok) {
        ok = enqueue(c, name, data, len);
    }
    if (w)
        jw_free(w);
    if (!ok && !c->broken)
        break_off(c);
    if (c->queued)
        pause_tasks(c, true);
}

static void send_event(struct completion *c, struct json_writer *w, const char *literal)
{
    send_named(c, NULL, w, literal);
}

void completion_event(struct completion *c, const char *name, struct json_writer *w)
{
    send_named(c, name, w, NULL);
}

/* false: the client is gone, and c with it. */
static bool begin_stream(struct completion *c)
{
    if (c->began)
        return true;
    http_set_header(c->conn, "X-Accel-Buffering", "no");
    if (!http_begin(c->conn, 200, "text/event-stream")) {
        completion_free(c);
        return false;
    }
    c->began = true;
    if (c->dialect) {
        c->dialect->begin(&c->t[0]);
        return true;
    }
    for (int32_t i = 0; c->shape == SHAPE_CHAT && i < c->n_tasks; i++) {
        struct json_writer w;
        jw_init(&w, API_RESPONSE_MAX);
        shape_role(&w, &c->t[i]);
        send_event(c, &w, NULL);
    }
    return true;
}

/* A stream that has been silent for long gets a comment, which clients skip, so that
 * nobody on the way gives it up. Like upstream, not while it waits for a slot. false: the
 * client is gone, and c with it. */
static bool ping(struct completion *c)
{
    bool running = false;
    for (int32_t i = 0; i < c->n_tasks; i++)
        running |= c->t[i].task.slot >= 0;
    if (!c->p.stream || c->p.sse_ping_interval <= 0 || !running || c->queued ||
        c->n_done == c->n_tasks ||
        time_ms() - c->t_sent_ms < (uint64_t)c->p.sse_ping_interval * 1000)
        return true;
    if (!begin_stream(c))
        return false;
    http_write(c->conn, ":\n\n", 3);
    c->t_sent_ms = time_ms();
    return true;
}

/* An error as the last event of a stream that broke off. Needs no memory. */
static bool send_sorry(struct completion *c)
{
    static const char plain[] = "{\"error\":{\"code\":503,\"message\":\"out of "
                                "memory\",\"type\":\"unavailable_error\"}}",
                      bare[] = "{\"code\":503,\"message\":\"out of "
                               "memory\",\"type\":\"unavailable_error\"}";
    char event[160];
    const char *name = c->dialect ? c->dialect->error_event : NULL,
               *text = name ? bare : plain;
    put_event(event, name, text, strlen(text));
    return http_write(c->conn, event, event_size(name, strlen(text)));
}

static bool completion_end_if_done(struct completion *c)
{
    if (c->n_done < c->n_tasks || !flush(c))
        return false;
    if (c->broken && !send_sorry(c) && !http_is_gone(c->conn))
        return false;                                    // completion_poll comes back
    http_end(c->conn);
    completion_free(c);
    return true;
}

bool completion_poll(void)
{
    bool worked = false;
    for (struct completion *c = alive, *next; c; c = next) {
        next = c->next;
        if (!ping(c))
            continue;
        if (!c->began || (!c->queued && c->n_done < c->n_tasks))
            continue;
        size_t before = c->queued;
        if (flush(c))
            pause_tasks(c, false);
        worked |= c->queued != before;
        completion_end_if_done(c);
    }
    return worked;
}
POLL(completion_poll);

/* ---- nbs/api/18_v1.ipynb § The task's callbacks ---- */

static void keep_token(struct completion_task *t, int32_t token)
{
    if (t->n_out == t->cap_out) {
        int32_t cap = t->cap_out ? 2 * t->cap_out : 64,
                *p = krealloc(t->out_tokens, (size_t)cap * sizeof *p);
        if (!p) {
            t->c->tokens_lost = true;
            return;
        }
        t->out_tokens = p;
        t->cap_out = cap;
    }
    t->out_tokens[t->n_out++] = token;
}

/* A piece of a stream. more: also if there is nothing new to say. */
static void send_text(struct completion_task *t, const char *text, size_t len, bool end,
                      bool more)
{
    struct completion *c = t->c;
    struct json_writer w;
    enum chat_news news = c->chat ? chat_feed(t, text, len, end)
                          : len   ? CHAT_NEWS
                                  : CHAT_NOTHING;
    if (news == CHAT_NO_MEMORY) {
        break_off(c);
    } else if (c->dialect) {
        if (news == CHAT_NEWS)
            c->dialect->piece(t, text, len);
    } else if (news == CHAT_NEWS || more) {
        jw_init(&w, API_RESPONSE_MAX);
        shape_chunk(&w, t, text, len);
        if (t->logprobs)
            logprobs_sent(t);
        send_event(c, &w, NULL);
    }
}

static void on_token(struct llm_task *task, int32_t token, const char *text, size_t len)
{
    struct completion_task *t = (struct completion_task *)task;
    struct completion *c = t->c;
    const struct text_stream *s = &task->text;
    bool more = c->shape != SHAPE_CHAT && utf8_complete(s->text, s->len) == s->len;
    if (t->logprobs)
        more |= logprobs_token(t, text, len);
    t->token = token;
    if (c->p.return_tokens)
        keep_token(t, token);
    if (!c->p.stream || !begin_stream(c))
        return;
    send_text(t, text, len, false, more);
}

static void on_prompt(struct llm_task *task)
{
    struct completion_task *t = (struct completion_task *)task;
    struct completion *c = t->c;
    struct json_writer w;
    if (!c->p.stream || !c->p.return_progress || !begin_stream(c))
        return;
    if (c->dialect) {
        if (c->dialect->progress)
            c->dialect->progress(t);
        return;
    }
    jw_init(&w, API_RESPONSE_MAX);
    shape_progress(&w, t);
    send_event(c, &w, NULL);
}

static void answer(struct completion *c)
{
    struct json_writer w;
    const char *error = NULL;
    bool no_memory = c->tokens_lost;
    for (int32_t i = 0; i < c->n_tasks; i++)
        if (c->t[i].task.stop_type == LLM_STOP_ERROR) {
            error = c->t[i].task.error;
            no_memory |= c->t[i].task.no_memory;
        }
    if (no_memory) {
        api_no_memory(c->conn);
    } else if (error) {
        api_error(c->conn, 500, "server_error", "%s", error);
    } else {
        bool large = c->p.logprobs || c->p.echo || c->shape == SHAPE_EMBEDDING;
        jw_init(&w, large ? API_LOGPROBS_MAX : API_RESPONSE_MAX);
        if (c->dialect && c->dialect->answer)
            c->dialect->answer(&w, c);
        else
            shape_answer(&w, c);
        api_respond(c->conn, 200, &w);
    }
    completion_free(c);
}

static void send_error(struct completion *c, const struct llm_task *t)
{
    const char *name = c->dialect ? c->dialect->error_event : NULL;
    bool bare = name != NULL;
    struct json_writer w;
    jw_init(&w, API_RESPONSE_MAX);
    if (!bare) {
        jw_object(&w);
        jw_key(&w, "error");
    }
    jw_object(&w);
    jw_kint(&w, "code", t->no_memory ? 503 : 500);
    jw_kcstr(&w, "message", t->error);
    jw_kcstr(&w, "type", t->no_memory ? "unavailable_error" : "server_error");
    jw_end(&w);
    if (!bare)
        jw_end(&w);
    send_named(c, name, &w, NULL);
}

static void stream_done(struct completion *c, struct completion_task *t)
{
    struct json_writer w;
    if (t->task.stop_type == LLM_STOP_ERROR && !c->began && c->n_tasks == 1) {
        answer(c);
        return;
    }
    if (!begin_stream(c))
        return;
    if (c->chat && t->task.stop_type != LLM_STOP_ERROR)
        send_text(t, "", 0, true, false);
    if (t->task.stop_type == LLM_STOP_ERROR) {
        send_error(c, &t->task);
    } else if (c->dialect) {
        c->dialect->end(t);
    } else {
        jw_init(&w, API_RESPONSE_MAX);
        shape_last(&w, t);
        send_event(c, &w, NULL);
    }
    if (c->n_done == c->n_tasks && c->shape != SHAPE_NATIVE && !c->dialect) {
        if (c->shape == SHAPE_CHAT && c->p.include_usage) {
            jw_init(&w, API_RESPONSE_MAX);
            shape_usage(&w, c);
            send_event(c, &w, NULL);
        }
        send_event(c, NULL, "[DONE]");
    }
    completion_end_if_done(c);
}

static void keep_embedding(struct completion_task *t)
{
    int32_t n = kernel_llm.model->hparams.n_embd;
    const float *v = t->task.embedding_out;
    double sum = 0;
    t->embedding = v ? kmalloc((size_t)n * sizeof(float)) : NULL;
    if (!t->embedding) {
        t->task.stop_type = LLM_STOP_ERROR;
        t->task.no_memory = v != NULL;
        t->task.error =
            v ? "out of memory for the embedding" : "the model gave no embedding";
        return;
    }
    if (t->c->dialect && t->c->dialect->normalize) {
        t->c->dialect->normalize(t->c, v, t->embedding, n);
        return;
    }
    for (int32_t i = 0; i < n; i++)
        sum += (double)v[i] * v[i];
    for (int32_t i = 0; i < n; i++)
        t->embedding[i] = sum > 0 ? (float)(v[i] / sqrt(sum)) : 0;
}

static void on_done(struct llm_task *task)
{
    struct completion_task *t = (struct completion_task *)task;
    struct completion *c = t->c;
    t->done = true;
    c->n_done++;
    LINKER_SET_FOREACH(completion_part, struct completion_part, part)
        if (part->done)
            part->done(t);
    if (task->embedding)
        keep_embedding(t);
    if (c->chat && !c->p.stream &&
        chat_feed(t, task->text.text, task->text.len, true) == CHAT_NO_MEMORY)
        c->tokens_lost = true;
    if (c->p.stream)
        stream_done(c, t);
    else if (c->n_done == c->n_tasks)
        answer(c);
}

static const struct llm_callbacks callbacks = { on_token, on_done, on_prompt,
                                                logprobs_logits };

const struct completion *completion_of_task(const struct llm_task *t)
{
    return t->cb == &callbacks ? ((const struct completion_task *)t)->c : NULL;
}

const struct completion *completion_of_conn(const struct http_conn *conn)
{
    const struct completion *c = alive;
    while (c && c->conn != conn)
        c = c->next;
    return c;
}

/* ---- nbs/api/18_v1.ipynb § Starting one ---- */

static void new_id(char id[48])
{
    static const char alphabet[] =
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    memcpy(id, "chatcmpl-", 9);
    for (int i = 0; i < 32; i++)
        id[9 + i] = alphabet[api_random() % 62];
    id[41] = 0;
}

static void refuse_task(struct http_conn *conn, enum llm_submit_result r,
                        int32_t n_prompt)
{
    struct json_writer w;
    switch (r) {
    case LLM_QUEUE_FULL:
        api_error(conn, 503, "unavailable_error",
                  "all %d slots are busy and %d requests are waiting",
                  (int)kernel_llm.n_slots, (int)kernel_llm.params.n_queue);
        return;
    case LLM_PROMPT_TOO_LONG:
        jw_init(&w, API_RESPONSE_MAX);
        jw_object(&w);
        jw_key(&w, "error");
        jw_object(&w);
        jw_kint(&w, "code", 400);
        jw_kcstr(&w, "message",
                 "the request exceeds the available context size, try increasing it");
        jw_kcstr(&w, "type", "exceed_context_size_error");
        jw_kint(&w, "n_prompt_tokens", n_prompt);
        jw_kint(&w, "n_ctx", kernel_llm.n_ctx_slot);
        jw_end(&w);
        jw_end(&w);
        api_respond(conn, 400, &w);
        return;
    case LLM_PROMPT_EMPTY: api_invalid(conn, "the prompt is empty"); return;
    case LLM_BAD_TOKEN:
        api_invalid(conn, "the prompt holds a token id outside the vocabulary (0..%d)",
                    (int)kernel_llm.model->hparams.n_vocab - 1);
        return;
    case LLM_NO_EMBEDDINGS:
        api_error(conn, 501, "not_supported_error",
                  "This server does not support embeddings. Start it with embeddings=1 "
                  "and a pooling other than none");
        return;
    default: api_error(conn, 503, "unavailable_error", "Loading model"); return;
    }
}

/* Where the prompts are: "prompt" or "input", or the chat's text. Their number. */
static int32_t count_prompts(const struct json_node *prompt)
{
    return prompt_is_list(prompt) ? (int32_t)json_count(prompt) : 1;
}

static enum prompt_result read_prompts(struct completion *c,
                                       const struct json_node *prompt,
                                       const char **why)
{
    enum prompt_result r = PROMPT_OK;
    *why = c->shape == SHAPE_EMBEDDING
               ? "\"input\" must be a string, a list of strings, or token ids"
               : "\"prompt\" must be a string, a list of token ids, or a list of such "
                 "prompts";
    if (c->shape == SHAPE_CHAT) {
        char *text;
        size_t len;
        if (!prompt_chat(c->conn, c->doc.root, c->chat, &text, &len))
            return PROMPT_ANSWERED;
        for (int32_t i = 0; r == PROMPT_OK && i < c->n_tasks; i++) {
            struct json_node node = { .type = JSON_STRING, .span = 1, { .str = text } };
            node.len = (uint32_t)len;
            r = prompt_tokens(&node, true, true, &c->t[i].tokens, &c->t[i].task.n_prompt);
        }
        kfree(text);
        return r;
    }
    for (int32_t i = 0; r == PROMPT_OK && i < c->n_tasks; i++) {
        const struct json_node *one =
            prompt_is_list(prompt) ? json_at(prompt, (size_t)(i / c->p.n)) : prompt;
        r = prompt_tokens(one, true, true, &c->t[i].tokens, &c->t[i].task.n_prompt);
    }
    return r;
}

/* These have nothing to cancel. */
static void not_submitted(struct completion *c, int32_t from)
{
    for (int32_t i = from; i < c->n_tasks; i++)
        c->t[i].done = true;
}

static bool submit_all(struct completion *c)
{
    for (int32_t i = 0; i < c->n_tasks; i++) {
        struct llm_task *t = &c->t[i].task;
        t->prompt = c->t[i].tokens;
        t->embedding = c->shape == SHAPE_EMBEDDING;
        // 0 makes one, as in llama-server
        t->n_predict = c->p.n_predict || c->p.echo ? c->p.n_predict : 1;
        t->id_slot = c->p.id_slot;
        t->cache_prompt = c->p.cache_prompt;
        t->ignore_eos = c->p.ignore_eos;
        t->n_indent = c->p.n_indent;
        t->t_max_predict_ms = c->p.t_max_predict_ms;
        t->request = c;
        t->sampling = c->p.sampling;
        t->sampling.seed += t->sampling.seed == LLAMA_DEFAULT_SEED
                                ? 0
                                : (uint32_t)(i % c->p.n); // n answers should differ
        t->stop = c->p.stop;
        t->n_stop = c->p.n_stop;
        t->cb = &callbacks;
        if (logprobs_begin && !logprobs_begin(&c->t[i])) {
            not_submitted(c, i);
            api_no_memory(c->conn);
            return false;
        }
        enum llm_submit_result r = llm_submit(&kernel_llm, t);
        if (r != LLM_SUBMITTED) {
            not_submitted(c, i);
            refuse_task(c->conn, r, t->n_prompt);
            return false;
        }
    }
    return true;
}

/* Alive from here on. NULL: no memory. */
static struct completion *completion_new(struct http_conn *conn,
                                         enum completion_shape shape,
                                         const struct completion_dialect *dialect,
                                         const struct json_doc *doc,
                                         const struct gen_params *p, size_t n_tasks)
{
    size_t size = sizeof(struct completion) + n_tasks * sizeof(struct completion_task);
    struct completion *c = kcalloc(1, size + (dialect ? dialect->state_size : 0));
    if (!c)
        return NULL;
    c->conn = conn;
    c->dialect = dialect;
    c->state = (char *)c + size;
    c->shape = shape;
    c->doc = *doc;
    c->p = *p;
    c->p.sampling.logit_bias = c->p.bias;
    c->p.sampling.n_logit_bias = c->p.n_bias;
    c->base64 = json_is_str(json_get(doc->root, "encoding_format"), "base64");
    c->n_tasks = (int32_t)n_tasks;
    c->created = time_unix();
    c->t_sent_ms = time_ms();
    new_id(c->id);
    for (int32_t i = 0; i < c->n_tasks; i++) {
        c->t[i].c = c;
        c->t[i].index = i;
        c->t[i].task.slot = -1;
    }
    c->next = alive;
    alive = c;
    return c;
}

static bool parts(struct completion *c, bool begin, struct params_error *err)
{
    LINKER_SET_FOREACH(completion_part, struct completion_part, part) {
        bool (*f)(struct completion *, struct params_error *) =
            begin ? part->begin : part->read;
        if (f && !f(c, err))
            return false;
    }
    return true;
}

/* Prompts, and what a chat makes of its request. PROMPT_ANSWERED also if *err is set. */
static enum prompt_result prompts_and_parts(struct completion *c,
                                            const struct json_node *prompt,
                                            struct params_error *err, const char **why)
{
    bool chat = c->shape == SHAPE_CHAT && chat_new;
    if (!parts(c, false, err))
        return PROMPT_ANSWERED;
    if (chat && !(c->chat = chat_new(c->n_tasks)))
        return PROMPT_NO_MEMORY;
    enum prompt_result r = read_prompts(c, prompt, why);
    if (r != PROMPT_OK)
        return r;
    if (chat && !chat_begin(c, err))
        return PROMPT_ANSWERED;
    if (!gen_params_prepare(&c->p))
        return PROMPT_NO_MEMORY;
    return parts(c, true, err) ? PROMPT_OK : PROMPT_ANSWERED;
}

/* All that the tasks need before they can be submitted. false: has answered. */
static bool prepare(struct completion *c, const struct json_node *prompt)
{
    struct params_error err = { 0 };
    const char *why = "";
    enum prompt_result r = prompts_and_parts(c, prompt, &err, &why);
    if (err.status == 503)
        api_no_memory(c->conn);
    else if (err.status)
        api_error(c->conn, err.status, err.type, "%s", err.message);
    else if (r != PROMPT_OK)
        prompt_refuse(c->conn, r, why);
    return r == PROMPT_OK;
}

void completion_start(struct http_conn *conn, enum completion_shape shape,
                      struct json_doc *doc)
{
    completion_start_in(conn, shape, NULL, doc);
}

void completion_start_in(struct http_conn *conn, enum completion_shape shape,
                         const struct completion_dialect *dialect, struct json_doc *doc)
{
    static struct gen_params p;
    struct params_error err;
    const struct json_node *prompt =
        json_get(doc->root, shape == SHAPE_EMBEDDING ? "input" : "prompt");
    if (!gen_params_read(&p, doc->root, shape == SHAPE_CHAT, &err)) {
        if (err.status == 503)
            api_no_memory(conn);
        else
            api_error(conn, err.status, err.type, "%s", err.message);
        json_free(doc);
        return;
    }
    int32_t n_prompts = shape == SHAPE_CHAT ? 1 : count_prompts(prompt);
    if (shape == SHAPE_EMBEDDING) {
        p.n = 1;
        p.stream = false;
    }
    if (shape == SHAPE_CHAT && dialect)
        p.n = 1;
    if (n_prompts > COMPLETION_TASKS_MAX / p.n) {
        api_invalid(conn, "%d prompts with n=%d are more than %d at once", (int)n_prompts,
                    (int)p.n, COMPLETION_TASKS_MAX);
        json_free(doc);
        return;
    }
    struct completion *c =
        completion_new(conn, shape, dialect, doc, &p, (size_t)(n_prompts * p.n));
    if (!c) {
        api_no_memory(conn);
        json_free(doc);
        return;
    }
    if (!prepare(c, prompt)) {
        not_submitted(c, 0);
        completion_free(c);
    } else if (!submit_all(c)) {
        completion_free(c);
    } else {
        http_on_close(conn, client_gone, c);
        http_fin_is_leaving(conn);
    }
}
