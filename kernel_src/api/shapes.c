/* shapes.c: tangled from nbs/api/18_v1.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/18_v1.ipynb § The answer's shapes ---- */

/* shapes.c: see shapes.h. Field names and order of nesting are llama-server's
 * (server-task). */
#include "api/shapes.h"
#include "base/memory.h"
#include "base/string.h"

#define FINGERPRINT "b1-cllm"

static double ms(uint64_t us) { return (double)us / 1e3; }

void shape_timings(struct json_writer *w, const struct llm_task *t)
{
    uint64_t end = t->t_end_us ? t->t_end_us : kernel_llm.now_us();
    uint64_t from =
        t->t_prompt_us ? t->t_prompt_us : end;           // it may have failed before
    double prompt = ms(from - t->t_start_us), predicted = ms(end - from);
    int32_t n_prompt = t->n_prompt - t->n_cached, n = t->n_decoded;
    jw_key(w, "timings");
    jw_object(w);
    jw_kint(w, "cache_n", t->n_cached);
    jw_kint(w, "prompt_n", n_prompt);
    jw_kdouble(w, "prompt_ms", prompt);
    jw_kdouble(w, "prompt_per_token_ms", prompt / n_prompt);
    jw_kdouble(w, "prompt_per_second", prompt > 0 ? 1e3 * n_prompt / prompt : 0);
    jw_kint(w, "predicted_n", n);
    jw_kdouble(w, "predicted_ms", predicted);
    jw_kdouble(w, "predicted_per_token_ms", n ? predicted / n : 0);
    jw_kdouble(w, "predicted_per_second",
               n > 1 && predicted > 0 ? 1e3 * (n - 1) / predicted : 0);
    jw_end(w);
}

static void put_usage(struct json_writer *w, const struct completion *c, int32_t from,
                      int32_t to)
{
    int64_t prompt = 0, predicted = 0, cached = 0;
    for (int32_t i = from; i < to; i++) {
        predicted += c->t[i].task.n_decoded;
        if (i % c->p.n == 0 ||
            to - from == 1) { // n answers to one prompt: it counts once
            prompt += c->t[i].task.n_prompt;
            cached += c->t[i].task.n_cached;
        }
    }
    jw_key(w, "usage");
    jw_object(w);
    if (c->shape != SHAPE_EMBEDDING)
        jw_kint(w, "completion_tokens", predicted);
    jw_kint(w, "prompt_tokens", prompt);
    jw_kint(w, "total_tokens", prompt + predicted);
    if (c->shape != SHAPE_EMBEDDING) {
        jw_key(w, "prompt_tokens_details");
        jw_object(w);
        jw_kint(w, "cached_tokens", cached);
        jw_end(w);
    }
    jw_end(w);
}

static const char *finish_reason(const struct completion_task *t)
{
    return t->task.stop_type == LLM_STOP_LIMIT  ? "length"
           : t->c->chat && chat_has_calls(t) ? "tool_calls"
                                             : "stop";
}

static void put_head(struct json_writer *w, const struct completion *c,
                     const char *object)
{
    jw_kcstr(w, "id", c->id);
    jw_kcstr(w, "object", object);
    jw_kint(w, "created", c->created);
    jw_kcstr(w, "model", api_model_name());
    jw_kcstr(w, "system_fingerprint", FINGERPRINT);
}

static const char *object_name(const struct completion *c, bool chunk)
{
    return c->shape == SHAPE_OAI ? "text_completion"
           : chunk               ? "chat.completion.chunk"
                                 : "chat.completion";
}

/* {"index":…,"finish_reason":…, …: the caller adds the text and ends the object */
static void begin_choice(struct json_writer *w, const struct completion_task *t,
                         const char *reason)
{
    jw_object(w);
    if (reason)
        jw_kcstr(w, "finish_reason", reason);
    else
        jw_knull(w, "finish_reason");
    jw_kint(w, "index", t->index);
}

static void put_text_choice(struct json_writer *w, const struct completion_task *t,
                            const char *text, size_t len, const char *reason)
{
    begin_choice(w, t, reason);
    if (t->logprobs) {
        shape_text_logprobs(w, t, text, len);
    } else {
        jw_kstr(w, "text", text, len);
        jw_knull(w, "logprobs");
    }
    jw_end(w);
}

static void put_message_choice(struct json_writer *w, const struct completion_task *t)
{
    begin_choice(w, t, finish_reason(t));
    jw_key(w, "message");
    jw_object(w);
    jw_kcstr(w, "role", "assistant");
    if (t->c->chat)
        chat_whole(w, t);
    else
        jw_kstr(w, "content", t->task.text.text, t->task.text.len);
    jw_end(w);
    if (t->logprobs)
        shape_chat_logprobs(w, t);
    jw_end(w);
}

static void put_prompt(struct json_writer *w, const struct llm_task *t)
{
    int32_t n =
        llama_detokenize(&kernel_llm.vocab, t->prompt, t->n_prompt, NULL, 0, false, true);
    char *text = kmalloc((size_t)-n + 1);
    if (!text) {
        w->failed = true;
        return;
    }
    llama_detokenize(&kernel_llm.vocab, t->prompt, t->n_prompt, text, -n, false, true);
    jw_kstr(w, "prompt", text, (size_t)-n);
    kfree(text);
}

static void put_native(struct json_writer *w, const struct completion_task *ct,
                       bool stream)
{
    static const char *const stop_types[] = { "none", "eos", "word", "limit", "none" };
    const struct llm_task *t = &ct->task;
    size_t from = w->len;
    jw_object(w);
    jw_kint(w, "index", ct->index);
    jw_kstr(w, "content", stream ? "" : t->text.text, stream ? 0 : t->text.len);
    jw_key(w, "tokens");
    jw_array(w);
    for (int32_t i = 0; i < ct->n_out && !stream; i++)
        jw_int(w, ct->out_tokens[i]);
    jw_end(w);
    jw_kint(w, "id_slot", t->slot);
    jw_kbool(w, "stop", true);
    jw_kcstr(w, "model", api_model_name());
    jw_kint(w, "tokens_predicted", t->n_decoded);
    jw_kint(w, "tokens_evaluated", t->n_prompt);
    jw_key(w, "generation_settings");
    gen_params_write(w, &ct->c->p, false);
    put_prompt(w, t);
    jw_kbool(w, "has_new_line", t->has_new_line);
    jw_kbool(w, "truncated", t->truncated);
    jw_kcstr(w, "stop_type", stop_types[t->stop_type]);
    jw_kcstr(w, "stopping_word", t->stopping_word ? t->stopping_word : "");
    jw_kint(w, "tokens_cached", t->n_past);
    shape_timings(w, t);
    if (ct->logprobs && !stream)
        shape_probabilities(w, ct);
    jw_end(w);
    if (ct->c->p.response_fields)
        response_fields_keep(w, from, ct->c->p.response_fields);
}

static void put_base64(struct json_writer *w, const uint8_t *b, size_t n)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = (n + 2) / 3 * 4;
    char *out = kmalloc(len + 1), *o = out;
    if (!out) {
        w->failed = true;
        return;
    }
    for (size_t i = 0; i < n; i += 3, o += 4) {
        uint32_t v = (uint32_t)b[i] << 16 | (i + 1 < n ? (uint32_t)b[i + 1] << 8 : 0) |
                     (i + 2 < n ? b[i + 2] : 0);
        o[0] = digits[v >> 18];
        o[1] = digits[v >> 12 & 63];
        o[2] = i + 1 < n ? digits[v >> 6 & 63] : '=';
        o[3] = i + 2 < n ? digits[v & 63] : '=';
    }
    jw_kstr(w, "embedding", out, len);
    kfree(out);
}

static void put_embeddings(struct json_writer *w, struct completion *c)
{
    int32_t n = kernel_llm.model->hparams.n_embd;
    jw_object(w);
    jw_kcstr(w, "object", "list");
    jw_kcstr(w, "model", api_model_name());
    put_usage(w, c, 0, c->n_tasks);
    jw_key(w, "data");
    jw_array(w);
    for (int32_t i = 0; i < c->n_tasks; i++) {
        jw_object(w);
        jw_kcstr(w, "object", "embedding");
        jw_kint(w, "index", i);
        if (c->base64) {
            put_base64(w, (const uint8_t *)c->t[i].embedding, (size_t)n * sizeof(float));
            jw_kcstr(w, "encoding_format", "base64");
        } else {
            jw_key(w, "embedding");
            jw_array(w);
            for (int32_t k = 0; k < n; k++)
                jw_double(w, c->t[i].embedding[k]);
            jw_end(w);
        }
        jw_end(w);
    }
    jw_end(w);
    jw_end(w);
}

void shape_answer(struct json_writer *w, struct completion *c)
{
    if (c->shape == SHAPE_EMBEDDING) {
        put_embeddings(w, c);
        return;
    }
    if (c->shape == SHAPE_NATIVE) {
        if (c->n_tasks > 1)
            jw_array(w);
        for (int32_t i = 0; i < c->n_tasks; i++)
            put_native(w, &c->t[i], false);
        if (c->n_tasks > 1)
            jw_end(w);
        return;
    }
    jw_object(w);
    put_head(w, c, object_name(c, false));
    jw_key(w, "choices");
    jw_array(w);
    for (int32_t i = 0; i < c->n_tasks; i++)
        if (c->shape == SHAPE_CHAT)
            put_message_choice(w, &c->t[i]);
        else
            put_text_choice(w, &c->t[i], c->t[i].task.text.text, c->t[i].task.text.len,
                            finish_reason(&c->t[i]));
    jw_end(w);
    put_usage(w, c, 0, c->n_tasks);
    shape_timings(w, &c->t[0].task);
    jw_end(w);
}

/* A chat chunk's one choice; delta is what changed: the role, some text, or nothing. */
static void put_delta(struct json_writer *w, const struct completion_task *t, bool role,
                      const char *text, size_t len, const char *reason)
{
    begin_choice(w, t, reason);
    jw_key(w, "delta");
    jw_object(w);
    if (role) {
        jw_kcstr(w, "role", "assistant");
        jw_knull(w, "content");
    } else if (!reason && t->c->chat) {
        chat_delta(w, t);
    } else if (!reason) {
        jw_kstr(w, "content", text, len);
    }
    jw_end(w);
    if (t->logprobs && !role)
        shape_chat_logprobs(w, t);
    jw_end(w);
}

static void begin_chunk(struct json_writer *w)
{
    jw_object(w);
    jw_key(w, "choices");
    jw_array(w);
}

static void end_chunk(struct json_writer *w, const struct completion *c)
{
    jw_end(w);
    put_head(w, c, object_name(c, true));
}

void shape_role(struct json_writer *w, struct completion_task *t)
{
    begin_chunk(w);
    put_delta(w, t, true, NULL, 0, NULL);
    end_chunk(w, t->c);
    jw_end(w);
}

/* What a request wants to hear in each piece: how far the prompt is; the timings. */
void shape_extras(struct json_writer *w, const struct completion_task *ct)
{
    const struct llm_task *t = &ct->task;
    if (t->t_prompt_us) {
        if (ct->c->p.timings_per_token)
            shape_timings(w, t);
        return;
    }
    jw_key(w, "prompt_progress");
    jw_object(w);
    jw_kint(w, "total", t->n_prompt);
    jw_kint(w, "cache", t->n_cached);
    jw_kint(w, "processed", t->n_past);
    jw_kint(w, "time_ms", (int64_t)((kernel_llm.now_us() - t->t_start_us) / 1000));
    jw_end(w);
}

void shape_chunk(struct json_writer *w, struct completion_task *t, const char *text,
                 size_t len)
{
    if (t->c->shape == SHAPE_NATIVE) {
        jw_object(w);
        jw_kint(w, "index", t->index);
        jw_kstr(w, "content", text, len);
        jw_key(w, "tokens");
        jw_array(w);
        jw_int(w, t->token);
        jw_end(w);
        jw_kbool(w, "stop", false);
        jw_kint(w, "id_slot", t->task.slot);
        jw_kint(w, "tokens_predicted", t->task.n_decoded);
        jw_kint(w, "tokens_evaluated", t->task.n_prompt);
        shape_extras(w, t);
        if (t->logprobs)
            shape_probabilities(w, t);
        jw_end(w);
        return;
    }
    begin_chunk(w);
    if (t->c->shape == SHAPE_CHAT)
        put_delta(w, t, !t->task.t_prompt_us, text, len, NULL);
    else
        put_text_choice(w, t, text, len, NULL);
    end_chunk(w, t->c);
    shape_extras(w, t);
    jw_end(w);
}

void shape_progress(struct json_writer *w, struct completion_task *t)
{
    shape_chunk(w, t, "", 0);
}

void shape_last(struct json_writer *w, struct completion_task *t)
{
    struct completion *c = t->c;
    if (c->shape == SHAPE_NATIVE) {
        put_native(w, t, true);
        return;
    }
    begin_chunk(w);
    if (c->shape == SHAPE_CHAT)
        put_delta(w, t, false, NULL, 0, finish_reason(t));
    else
        put_text_choice(w, t, "", 0, finish_reason(t));
    end_chunk(w, c);
    if (c->shape == SHAPE_OAI)
        put_usage(w, c, t->index, t->index + 1);
    if (c->shape == SHAPE_OAI || !c->p.include_usage)
        shape_timings(w, &t->task);
    jw_end(w);
}

void shape_usage(struct json_writer *w, struct completion *c)
{
    begin_chunk(w);
    end_chunk(w, c);
    put_usage(w, c, 0, c->n_tasks);
    shape_timings(w, &c->t[0].task);
    jw_end(w);
}
