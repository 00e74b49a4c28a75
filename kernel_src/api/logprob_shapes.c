/* logprob_shapes.c: tangled from nbs/api/30_logprobs.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/30_logprobs.ipynb § What a request may ask for ---- */

/* logprob_shapes.c: see logprob_shapes.h. Three shapes: llama-server's list of entries
 * (in /completion, and as "content" in the OpenAI routes), and with echo OpenAI's older
 * one of four parallel lists. */
#include "api/logprob_shapes.h"
#include "base/fmath.h"
#include "base/memory.h"
#include "base/stdio.h"
#include "base/string.h"

static bool refuse(struct params_error *err, const char *key, const char *why)
{
    err->status = 400;
    err->type = "invalid_request_error";
    snprintf(err->message, sizeof err->message, "%s%s%s%s", key ? "Field '" : "",
             key ? key : "", key ? "': " : "", why);
    return false;
}

static bool read_bool(const struct json_node *body, const char *key, bool *out,
                      struct params_error *err)
{
    return json_get_bool(body, key, out) != JSON_FIELD_TYPE ||
           refuse(err, key, "Value must be true or false");
}

/* A number of candidates. `given`: it is there. */
static bool read_count(const struct json_node *body, const char *key, int32_t *n,
                       bool *given, struct params_error *err)
{
    int64_t v;
    switch (json_get_int(body, key, INT32_MIN, INT32_MAX, &v)) {
    case JSON_FIELD_OK:
        *n = v > 0 ? (int32_t)v : 0;
        *given = true;
        return true;
    case JSON_FIELD_ABSENT: return true;
    default: return refuse(err, key, "Value must be an integer");
    }
}

static bool read_chat(struct gen_params *p, const struct json_node *body,
                      struct params_error *err)
{
    const struct json_node *top = json_get(body, "top_logprobs");
    bool on = false, given = false;
    if (!read_bool(body, "logprobs", &on, err) ||
        !read_count(body, "n_probs", &p->n_probs, &given, err))
        return false;
    if (!on && top && !json_is(top, JSON_NULL))
        return refuse(err, NULL, "top_logprobs requires logprobs to be set to true");
    if (on)
        p->n_probs = CHAT_TOP_LOGPROBS;
    if (on && !read_count(body, "top_logprobs", &p->n_probs, &given, err))
        return false;
    p->logprobs = on || p->n_probs > 0;
    return true;
}

bool logprob_params_read(struct gen_params *p, const struct json_node *body, bool chat,
                         struct params_error *err)
{
    bool given = false;
    if (!read_bool(body, "post_sampling_probs", &p->post_sampling_probs, err))
        return false;
    if (chat)
        return read_chat(p, body, err);
    if (!read_count(body, "logprobs", &p->n_probs, &given, err) ||
        !read_count(body, "n_probs", &p->n_probs, &given, err) ||
        !read_bool(body, "echo", &p->echo, err))
        return false;
    p->logprobs = p->n_probs > 0;
    p->echo_logprobs = p->echo && given;
    if (p->echo_logprobs && p->n_probs > ECHO_LOGPROBS_MAX)
        return refuse(err, "logprobs", "Value must be at most 100 with echo");
    if (p->echo_logprobs && p->post_sampling_probs)
        return refuse(err, "post_sampling_probs",
                      "a prompt is not sampled, so not with echo");
    return true;
}

bool response_fields_read(struct gen_params *p, const struct json_node *body,
                          struct params_error *err)
{
    const struct json_node *list = json_get(body, "response_fields");
    if (!list || json_is(list, JSON_NULL))
        return true;
    bool ok = json_is(list, JSON_ARRAY);
    if (ok && json_count(list) > RESPONSE_FIELDS_MAX)
        return refuse(err, "response_fields", "more than 128 names");
    for (const struct json_node *e = json_first(list); ok && e; e = json_next(list, e))
        ok = json_is(e, JSON_STRING);
    if (json_count(list))
        p->response_fields = list;
    return ok || refuse(err, "response_fields", "Value must be a list of strings");
}

/* ---- nbs/api/30_logprobs.ipynb § Recording ---- */

/* The prompt as text: the client's own string, or else what its tokens say. */
static bool find_prompt_text(struct completion_task *t, struct task_logprobs *l)
{
    const struct json_node *p = json_get(t->c->doc.root, "prompt");
    if (prompt_is_list(p))
        p = json_at(p, (size_t)(t->index / t->c->p.n));
    if (json_is(p, JSON_OBJECT))
        p = json_get(p, "prompt_string");
    if (json_is(p, JSON_STRING)) {
        l->prompt = p->str;
        l->prompt_len = p->len;
        return true;
    }
    const struct llama_vocab *v = &kernel_llm.vocab;
    int32_t n = -llama_detokenize(v, t->tokens, t->task.n_prompt, NULL, 0, false, true);
    l->prompt = l->owned = kmalloc((size_t)n + 1);
    l->prompt_len = (size_t)n;
    if (l->owned)
        llama_detokenize(v, t->tokens, t->task.n_prompt, l->owned, n, false, true);
    return l->owned != NULL;
}

bool logprobs_begin(struct completion_task *t)
{
    const struct gen_params *p = &t->c->p;
    bool echo = p->echo && t->c->shape == SHAPE_OAI;
    bool wanted = p->logprobs || (echo && p->echo_logprobs);
    if (!(echo || wanted) || t->c->shape > SHAPE_CHAT || t->c->dialect)
        return true;
    struct task_logprobs *l = t->logprobs = kcalloc(1, sizeof *l);
    if (!l)
        return false;
    int32_t n_vocab = kernel_llm.model->hparams.n_vocab;
    logprobs_init(&l->list, p->n_probs < n_vocab ? p->n_probs : n_vocab,
                  p->post_sampling_probs);
    l->wanted = wanted;
    l->echo = echo;
    if (echo && !find_prompt_text(t, l))
        return false;
    if (!echo || !wanted || t->task.n_prompt < 1)
        return true;
    t->task.prompt_logits = true;
    l->n_prompt = t->task.n_prompt;
    return logprobs_reserve(&l->list, l->n_prompt + 1) &&
           logprobs_add(&l->list, t->tokens[0]);
}

void logprobs_end(struct completion_task *t)
{
    if (!t->logprobs)
        return;
    logprobs_free(&t->logprobs->list);
    kfree(t->logprobs->owned);
    kfree(t->logprobs);
    t->logprobs = NULL;
}

bool logprobs_logits(struct llm_task *task, const float *logits,
                     const struct llama_token_data_array *left, int32_t token)
{
    struct task_logprobs *l = ((struct completion_task *)task)->logprobs;
    if (!l || !l->wanted)
        return true;
    struct logprob_record *r = logprobs_add(&l->list, token);
    if (!r)
        return false;
    r->at = (uint32_t)task->text.len;
    if (left && l->list.post)
        logprobs_from_candidates(&l->list, r, left);
    else
        logprobs_from_logits(&l->list, r, logits, kernel_llm.model->hparams.n_vocab,
                             kernel_llm.cand);
    return true;
}

bool logprobs_token(struct completion_task *t, const char *text, size_t len)
{
    struct task_logprobs *l = t->logprobs;
    const struct text_stream *s = &t->task.text;
    if (!l->wanted || l->list.n == 0)
        return false;
    struct logprob_record *r = logprobs_at(&l->list, l->list.n - 1);
    r->told = len || utf8_complete(s->text, s->len) == s->len;
    r->sent_at = len ? (uint32_t)(text - s->text) : 0;
    r->sent_len = (uint32_t)len;
    return r->told;
}

void logprobs_sent(struct completion_task *t)
{
    t->logprobs->list.n = t->logprobs->n_prompt = 0;
}

/* ---- nbs/api/30_logprobs.ipynb § llama-server's shape ---- */

/* Where exp() of a float is 0: llama-server takes the logarithm of a float. */
#define LOGPROB_ZERO (-103.972f)

/* {"id":…,"token":…,"bytes":[…],"logprob":…: the caller ends the object */
static void begin_entry(struct json_writer *w, const struct logprob *x, const char *text,
                        size_t len, bool post)
{
    jw_object(w);
    jw_kint(w, "id", x->id);
    jw_kstr(w, "token", text, utf8_complete(text, len));
    jw_key(w, "bytes");
    jw_array(w);
    for (size_t i = 0; i < len; i++)
        jw_int(w, (uint8_t)text[i]);
    jw_end(w);
    if (post)
        jw_kdouble(w, "prob", x->p);
    else
        jw_kdouble(w, "logprob", x->p < LOGPROB_ZERO ? -FLT_MAX : x->p);
}

/* The text of a token, and its length; good until the next call. */
static const char *piece(int32_t token, bool special, size_t *len)
{
    struct llm *l = &kernel_llm;
    int32_t n =
        llama_token_to_piece(&l->vocab, token, l->piece, l->piece_cap, 0, special);
    *len = n > 0 ? (size_t)n : 0;
    return l->piece;
}

static void put_entry(struct json_writer *w, const struct completion_task *t,
                      const struct logprob_record *r)
{
    bool post = t->logprobs->list.post;
    const char *text = t->task.text.text;
    begin_entry(w, &r->token, r->sent_len ? text + r->sent_at : "", r->sent_len, post);
    jw_key(w, post ? "top_probs" : "top_logprobs");
    jw_array(w);
    for (int32_t i = 0; i < r->n_top; i++) {
        size_t len;
        text = piece(r->top[i].id, false, &len);
        begin_entry(w, &r->top[i], text, len, post);
        jw_end(w);
    }
    jw_end(w);
    jw_end(w);
}

/* Entries that a whole answer leaves out at its end: as many as its stop string has
 * tokens. */
static int32_t entries_of_stop(const struct completion_task *t)
{
    const char *word = t->task.stopping_word;
    if (t->c->p.stream || t->task.stop_type != LLM_STOP_WORD || !word)
        return 0;
    int32_t n = llama_tokenize(&kernel_llm.vocab, word, (int32_t)strlen(word), NULL, 0,
                               false, false);
    return n == LLAMA_TOKENIZE_FAILED ? 0 : n < 0 ? -n : n;
}

static int32_t count_entries(const struct completion_task *t)
{
    const struct logprobs *l = &t->logprobs->list;
    int32_t n = 0, leave = entries_of_stop(t);
    for (int32_t i = 0; i < l->n; i++)
        n += logprobs_at(l, i)->told;
    return n > leave ? n - leave : 0;
}

static void put_entries(struct json_writer *w, const struct completion_task *t)
{
    const struct logprobs *l = &t->logprobs->list;
    int32_t n = count_entries(t);
    jw_array(w);
    for (int32_t i = 0; i < l->n && n > 0; i++)
        if (logprobs_at(l, i)->told) {
            put_entry(w, t, logprobs_at(l, i));
            n--;
        }
    jw_end(w);
}

void shape_probabilities(struct json_writer *w, const struct completion_task *t)
{
    if (count_entries(t)) {
        jw_key(w, "completion_probabilities");
        put_entries(w, t);
    }
}

void shape_chat_logprobs(struct json_writer *w, const struct completion_task *t)
{
    if (count_entries(t)) {
        jw_key(w, "logprobs");
        jw_object(w);
        jw_key(w, "content");
        put_entries(w, t);
        jw_end(w);
    }
}

/* ---- nbs/api/30_logprobs.ipynb § OpenAI's older shape ---- */

static bool utf8_valid(const char *s, size_t len)
{
    for (size_t i = 0, n; i < len; i += n) {
        uint8_t c = (uint8_t)s[i];
        n = c < 0x80 ? 1 : c < 0xC2 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 0;
        if (c == 0 || n == 0 || n > len - i)
            return false;
        for (size_t k = 1; k < n; k++)
            if (((uint8_t)s[i + k] & 0xC0) != 0x80)
                return false;
    }
    return true;
}

/* What a token is called: its text, or "bytes:\xe2\x80" when that is not UTF-8. */
static const char *token_name(int32_t token)
{
    static char name[512];
    static const char hex[] = "0123456789abcdef";
    size_t len, at = 6;
    const char *text = piece(token, true, &len);
    if (utf8_valid(text, len) && len < (size_t)kernel_llm.piece_cap) {
        kernel_llm.piece[len] = 0;
        return text;
    }
    memcpy(name, "bytes:", 6);
    for (size_t i = 0; i < len && at + 5 <= sizeof name; i++, at += 4) {
        uint8_t c = (uint8_t)text[i];
        memcpy(name + at, (char[4]){ '\\', 'x', hex[c >> 4], hex[c & 15] }, 4);
    }
    name[at] = 0;
    return name;
}

static int32_t count_chars(const char *s, size_t len)
{
    int32_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += ((uint8_t)s[i] & 0xC0) != 0x80;
    return n;
}

/* How many bytes of the prompt's text this token stands for: its own, or without the
 * leading space that a vocabulary puts in front, or none (a BOS that was added). */
static size_t bytes_in_prompt(const struct task_logprobs *l, size_t at, int32_t token)
{
    size_t len;
    const char *text = piece(token, true, &len);
    for (int strip = 0; strip < 2; strip++, text++, len--) {
        if (len && len <= l->prompt_len - at && !memcmp(text, l->prompt + at, len))
            return len;
        if (!len || text[0] != ' ')
            return 0;
    }
    return 0;
}

static void put_offsets(struct json_writer *w, const struct completion_task *t)
{
    struct task_logprobs *l = t->logprobs;
    const struct text_stream *s = &t->task.text;
    size_t at = 0;
    for (int32_t i = 0; i < l->n_prompt; i++) {
        size_t n = bytes_in_prompt(l, at, t->tokens[i]);
        jw_int(w, l->chars);
        l->chars += count_chars(l->prompt + at, n);
        at += n;
    }
    if (l->n_prompt)
        l->chars += count_chars(l->prompt + at, l->prompt_len - at);
    for (int32_t i = l->n_prompt; i < l->list.n; i++) {
        const struct logprob_record *r = logprobs_at(&l->list, i);
        size_t end = r->at < s->len ? r->at : s->len;
        if (end > l->at) {
            l->chars += count_chars(s->text + l->at, end - l->at);
            l->at = end;
        }
        jw_int(w, l->chars);
    }
}

static uint32_t name_hash(const char *s)
{
    uint32_t h = 2166136261u;                              // FNV-1a
    while (*s)
        h = (h ^ (uint8_t)*s++) * 16777619u;
    return h;
}

static float finite_logprob(float p) { return p < -FLT_MAX ? -FLT_MAX : p; }

/* {" the": -0.7, " a": -1.9}: the candidates, and the token itself. Of two tokens with
 * one name the likelier counts. */
static void put_named(struct json_writer *w, const struct logprob_record *r)
{
    static uint32_t seen[ECHO_LOGPROBS_MAX + 1];
    int32_t n_seen = 0;
    jw_object(w);
    for (int32_t i = 0; i <= r->n_top; i++) {
        const struct logprob *x = i < r->n_top ? &r->top[i] : &r->token;
        const char *name = token_name(x->id);
        uint32_t hash = name_hash(name);
        bool twice = false;
        for (int32_t k = 0; k < n_seen; k++)
            twice |= seen[k] == hash;
        if (twice)
            continue;
        seen[n_seen++] = hash;
        jw_kdouble(w, name, finite_logprob(x->p));
    }
    jw_end(w);
}

static void put_legacy(struct json_writer *w, const struct completion_task *t)
{
    const struct logprobs *l = &t->logprobs->list;
    jw_object(w);
    jw_key(w, "tokens");
    jw_array(w);
    for (int32_t i = 0; i < l->n; i++)
        jw_cstr(w, token_name(logprobs_at(l, i)->token.id));
    jw_end(w);
    jw_key(w, "token_logprobs");
    jw_array(w);
    for (int32_t i = 0; i < l->n; i++)
        jw_double(w, finite_logprob(logprobs_at(l, i)->token.p));
    jw_end(w);
    jw_key(w, "top_logprobs");
    jw_array(w);
    for (int32_t i = 0; i < l->n; i++)
        if (isnan(logprobs_at(l, i)->token.p))
            jw_null(w);
        else
            put_named(w, logprobs_at(l, i));
    jw_end(w);
    jw_key(w, "text_offset");
    jw_array(w);
    put_offsets(w, t);
    jw_end(w);
    jw_end(w);
}

/* The text, with the prompt in front of it if it is not out yet. */
static void put_text(struct json_writer *w, struct task_logprobs *l, const char *text,
                     size_t len)
{
    if (!l->echo || l->echoed) {
        jw_kstr(w, "text", text, len);
        return;
    }
    char *both = kmalloc(l->prompt_len + len + 1);
    if (!both) {
        w->failed = true;
        return;
    }
    memcpy(both, l->prompt, l->prompt_len);
    if (len)
        memcpy(both + l->prompt_len, text, len);
    jw_kstr(w, "text", both, l->prompt_len + len);
    kfree(both);
    l->echoed = true;
}

void shape_text_logprobs(struct json_writer *w, const struct completion_task *t,
                         const char *text, size_t len)
{
    struct task_logprobs *l = t->logprobs;
    put_text(w, l, text, len);
    if (l->echo && l->list.n) {
        jw_key(w, "logprobs");
        put_legacy(w, t);
    } else if (count_entries(t)) {
        shape_chat_logprobs(w, t);
    } else {
        jw_knull(w, "logprobs");
    }
}
