/* llm.c: tangled from nbs/llm/16_llm.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/16_llm.ipynb § Which slot? ---- */

/* llm.c: see llm.h. One call of llm_step: give waiting tasks to idle slots, put together
 * a batch from all busy slots, decode it, then sample and report slot by slot. A callback
 * may submit and cancel tasks, so after each one we look at the slot again. */
#include "base/memory.h"
#include "base/stdio.h"
#include "base/string.h"
#include "llm/llm.h"

LINKER_SET_DECLARE(llm_watch, llm_watch_fn);
LINKER_SET_DECLARE(llm_limit, llm_limit_fn);

static void tell_watchers(const struct llm *l, const struct llm_slot *s, bool begins)
{
    LINKER_SET_FOREACH(llm_watch, llm_watch_fn, fn)
        (*fn)(l, s, begins);
}

/* The tokens that the task need not evaluate in this slot. */
static int32_t common_prefix(const struct llm_slot *s, const struct llm_task *t)
{
    int32_t n = 0;
    if (!t->cache_prompt || t->embedding || t->prompt_logits)
        return 0;
    while (n < s->n_past && n < t->n_prompt && s->tokens[n] == t->prompt[n])
        n++;
    return n;
}

static struct llm_slot *pick_slot(struct llm *l, const struct llm_task *t)
{
    struct llm_slot *best = NULL, *oldest = NULL;
    int32_t best_n = t->n_prompt / 10;
    if (t->id_slot >= 0 && t->id_slot < l->n_slots)
        return l->slot[t->id_slot].task ? NULL : &l->slot[t->id_slot];
    for (int32_t i = 0; i < l->n_slots; i++) {
        struct llm_slot *s = &l->slot[i];
        if (s->task)
            continue;
        int32_t n = common_prefix(s, t);
        if (n > best_n) {
            best = s;
            best_n = n;
        }
        if (!oldest || s->last_used_us < oldest->last_used_us)
            oldest = s;
    }
    return best ? best : oldest;
}

static void slot_start(struct llm *l, struct llm_slot *s, struct llm_task *t)
{
    int32_t seq = (int32_t)(s - l->slot), keep = common_prefix(s, t);
    if (keep == t->n_prompt)
        keep--;
    llama_kv_seq_rm(l->ctx, seq, keep, -1);
    s->task = t;
    s->n_past = s->n_prompt_done = keep;
    s->i_prompt = s->i_batch = -1;
    s->fresh = true;
    t->slot = seq;
    t->n_cached = t->n_past = keep;
    t->t_start_us = l->now_us();
    l->entropy = l->entropy * 1664525u + 1013904223u + (uint32_t)t->t_start_us;
    llama_sampler_init(&s->sampler, &t->sampling, l->model->hparams.n_vocab, l->cand,
                       l->entropy);
    for (int32_t i = 0; !t->embedding && i < t->n_prompt; i++)
        llama_sampler_accept(&s->sampler, t->prompt[i]);
    l->stats.n_cached_tokens += (uint64_t)keep;
    t->id = l->stats.n_tasks++;
    tell_watchers(l, s, true);
}

static void start_waiting(struct llm *l)
{
    struct llm_task **link = &l->queue_head, *prev = NULL;
    while (*link) {
        struct llm_task *t = *link;
        struct llm_slot *s = pick_slot(l, t);
        if (!s) {                       // a later task may still find its own slot idle
            prev = t;
            link = &t->next;
            continue;
        }
        *link = t->next;
        if (l->queue_tail == t)
            l->queue_tail = prev;
        t->next = NULL;
        l->n_queued--;
        slot_start(l, s, t);
    }
}

/* ---- nbs/llm/16_llm.ipynb § Submitting and cancelling ---- */

static bool same_request(const struct llm_task *a, const struct llm_task *b)
{
    return a && b && a->request && a->request == b->request;
}

static bool queue_full(const struct llm *l)
{
    int32_t n = 0;
    for (const struct llm_task *t = l->queue_head, *prev = NULL; t; prev = t, t = t->next)
        n += !same_request(prev, t);
    return n >= l->params.n_queue;
}

enum llm_submit_result llm_submit(struct llm *l, struct llm_task *t)
{
    if (!l->model)
        return LLM_NO_MODEL;
    if (t->embedding &&
        (!l->params.embeddings || llama_pooling_type(l->ctx) == LLAMA_POOLING_TYPE_NONE))
        return LLM_NO_EMBEDDINGS;
    if (t->n_prompt < 1)
        return LLM_PROMPT_EMPTY;
    if (t->n_prompt >= l->n_ctx_slot)
        return LLM_PROMPT_TOO_LONG;
    for (int32_t i = 0; i < t->n_prompt; i++)
        if (t->prompt[i] < 0 || t->prompt[i] >= l->model->hparams.n_vocab)
            return LLM_BAD_TOKEN;
    if (!same_request(l->queue_tail, t) && queue_full(l)) {
        start_waiting(l);
        if (queue_full(l))
            return LLM_QUEUE_FULL;
    }

    t->slot = -1;
    t->next = NULL;
    t->n_decoded = t->n_cached = t->n_past = 0;
    t->stop_type = LLM_STOP_NONE;
    t->stopping_word = t->error = NULL;
    t->truncated = t->has_new_line = t->no_memory = false;
    t->text = (struct text_stream){0};
    t->line = 0;
    t->embedding_out = NULL;
    t->t_start_us = t->t_prompt_us = t->t_end_us = 0;
    if (l->queue_tail)
        l->queue_tail->next = t;
    else
        l->queue_head = t;
    l->queue_tail = t;
    l->n_queued++;
    return LLM_SUBMITTED;
}

/* What the task in a slot has done until `now`. */
static void count_work(struct llm_stats *st, const struct llm_slot *s, uint64_t now)
{
    const struct llm_task *t = s->task;
    st->n_prompt_tokens += (uint64_t)(s->n_prompt_done - t->n_cached);
    st->n_predicted += (uint64_t)t->n_decoded;
    st->prompt_us += (t->t_prompt_us ? t->t_prompt_us : now) - t->t_start_us;
    st->predicted_us += t->t_prompt_us ? now - t->t_prompt_us : 0;
    if (s->n_past > st->n_tokens_max)
        st->n_tokens_max = s->n_past;
}

struct llm_stats llm_stats_now(const struct llm *l)
{
    struct llm_stats st = l->stats;
    for (int32_t i = 0; i < l->n_slots; i++)
        if (l->slot[i].task)
            count_work(&st, &l->slot[i], l->now_us());
    return st;
}

static void slot_leave(struct llm *l, struct llm_slot *s)
{
    struct llm_task *t = s->task;
    t->t_end_us = l->now_us();
    count_work(&l->stats, s, t->t_end_us);
    tell_watchers(l, s, false);
    s->task = NULL;
    s->last_used_us = t->t_end_us;
}

void llm_cancel(struct llm *l, struct llm_task *t)
{
    l->stats.n_cancelled++;
    for (int32_t i = 0; i < l->n_slots; i++)
        if (l->slot[i].task == t) {
            slot_leave(l, &l->slot[i]);
            return;
        }
    struct llm_task *prev = NULL;
    for (struct llm_task *q = l->queue_head; q; prev = q, q = q->next)
        if (q == t) {
            *(prev ? &prev->next : &l->queue_head) = q->next;
            if (l->queue_tail == q)
                l->queue_tail = prev;
            l->n_queued--;
            return;
        }
    l->stats.n_cancelled--;             // not ours: it had ended already
}

int32_t llm_n_busy(const struct llm *l)
{
    int32_t n = 0;
    for (int32_t i = 0; i < l->n_slots; i++)
        n += l->slot[i].task != NULL;
    return n;
}

/* ---- nbs/llm/16_llm.ipynb § One step ---- */

struct step {
    int32_t n, token[LLM_BATCH_MAX], pos[LLM_BATCH_MAX], seq[LLM_BATCH_MAX];
    int8_t out[LLM_BATCH_MAX];
};

static void step_add(struct step *b, struct llm_slot *s, int32_t seq, int32_t token,
                     int8_t out)
{
    b->token[b->n] = token;
    b->pos[b->n] = s->n_past;
    b->seq[b->n] = seq;
    b->out[b->n++] = out;
    s->tokens[s->n_past++] = token;
}

static bool generating(const struct llm_slot *s)
{
    return s->task && s->n_prompt_done == s->task->n_prompt;
}

/* The next tokens of the slot's prompt. Of those whose logits are asked for, only as many
 * as the context has room for: one for each busy slot, and *spare more. */
static void step_add_prompt(struct llm *l, struct step *b, struct llm_slot *s,
                            int32_t seq, int32_t *spare)
{
    struct llm_task *t = s->task;
    bool first = true;
    while (s->n_prompt_done < t->n_prompt && b->n < l->params.n_batch) {
        bool last = s->n_prompt_done + 1 == t->n_prompt;
        if (t->prompt_logits && !first && (*spare)-- <= 0)
            break;
        if (first)
            s->i_prompt = b->n;
        first = false;
        s->i_batch = b->n;
        step_add(b, s, seq, t->prompt[s->n_prompt_done++],
                 t->embedding               ? LLAMA_OUTPUT_EMBD
                 : last || t->prompt_logits ? LLAMA_OUTPUT_LOGITS
                                            : 0);
    }
}

static void step_collect(struct llm *l, struct step *b)
{
    int32_t spare = l->n_outputs - llm_n_busy(l);
    b->n = 0;
    for (int32_t i = 0; i < l->n_slots; i++)
        l->slot[i].i_prompt = l->slot[i].i_batch = -1;
    for (int32_t i = 0; i < l->n_slots; i++)
        if (generating(&l->slot[i]) && !l->slot[i].task->paused) {
            l->slot[i].i_batch = b->n;
            step_add(b, &l->slot[i], i, l->slot[i].sampled, LLAMA_OUTPUT_LOGITS);
        }
    for (int32_t i = 0; i < l->n_slots; i++)
        if (l->slot[i].task && !generating(&l->slot[i]))
            step_add_prompt(l, b, &l->slot[i], i, &spare);
}

/* ---- nbs/llm/16_llm.ipynb § After the batch ---- */

static void slot_finish(struct llm *l, struct llm_slot *s, enum llm_stop_type why)
{
    struct llm_task *t = s->task;
    t->stop_type = why;
    t->n_past = s->n_past;
    slot_leave(l, s);
    if (t->cb->on_done)
        t->cb->on_done(t);
}

/* All tokens, with the model's logits. The logits themselves stay as they are: on_logits
 * wants them. */
static struct llama_token_data_array candidates(struct llm *l, const struct llm_slot *s,
                                                const float *logits)
{
    struct llama_token_data_array c = { l->cand, l->model->hparams.n_vocab, -1, false };
    for (int32_t i = 0; i < c.size; i++)
        c.data[i] = (struct llama_token_data){ i, logits[i], 0 };
    for (int32_t i = 0; s->task->ignore_eos && i < l->n_eog; i++)
        c.data[l->eog[i]].logit = -__builtin_inff();
    return c;
}

/* Draw among the tokens that the constraint allows; LLAMA_TOKEN_NULL: there are none. */
static int32_t sample_again(struct llm *l, struct llm_slot *s, const float *logits,
                            struct llama_token_data_array *c)
{
    struct llm_constraint *k = s->task->constraint;
    *c = candidates(l, s, logits);
    if (k->mask(k, c->data, c->size) > 0) {
        llama_sampler_apply(&s->sampler, c);
        if (k->allows(k, c->data[c->selected].id))
            return c->data[c->selected].id;
    }
    for (int32_t i = 0; i < l->n_eog; i++) // biases may rule out all but the end
        if (k->allows(k, l->eog[i])) {
            *c = (struct llama_token_data_array){ l->cand, 1, 0, true };
            c->data[0] = (struct llama_token_data){ l->eog[i], 0, 1 };
            return l->eog[i];
        }
    return LLAMA_TOKEN_NULL;
}

static int32_t slot_sample(struct llm *l, struct llm_slot *s)
{
    struct llm_task *t = s->task;
    struct llm_constraint *k = t->constraint;
    const float *logits = llama_get_logits_ith(l->ctx, s->i_batch);
    struct llama_token_data_array c = candidates(l, s, logits);
    llama_sampler_apply(&s->sampler, &c);
    int32_t token = c.data[c.selected].id;
    if (k && !k->allows(k, token))
        token = sample_again(l, s, logits, &c);
    if (token == LLAMA_TOKEN_NULL || (k && !k->accept(k, token)))
        return LLAMA_TOKEN_NULL;
    llama_sampler_accept(&s->sampler, token);
    if (t->cb->on_logits && !t->cb->on_logits(t, logits, &c, token)) {
        t->no_memory = true;
        return LLAMA_TOKEN_NULL;
    }
    return token;
}

/* Tells of the tokens that follow those of the batch in the prompt. false: no memory. */
static bool slot_tell_prompt(struct llm *l, struct llm_slot *s)
{
    struct llm_task *t = s->task;
    if (!t->prompt_logits || !t->cb->on_logits || s->i_prompt < 0)
        return true;
    int32_t next = s->n_past - (s->i_batch - s->i_prompt);
    for (int32_t i = s->i_prompt; i <= s->i_batch && next < t->n_prompt; i++, next++)
        if (!t->cb->on_logits(t, llama_get_logits_ith(l->ctx, i), NULL, t->prompt[next]))
            return false;
    return true;
}

static bool limit_reached(const struct llm *l, struct llm_task *t)
{
    bool enough = false;
    LINKER_SET_FOREACH(llm_limit, llm_limit_fn, fn)
        enough |= (*fn)(l, t);
    return enough;
}

/* The token's text in l->piece; its length. */
static int32_t task_piece(struct llm *l, const struct llm_task *t, int32_t token)
{
    bool show = false;
    for (int32_t i = 0; i < t->n_show; i++)
        show |= t->show[i] == token;
    int32_t n = llama_token_to_piece(&l->vocab, token, l->piece, l->piece_cap, 0, show);
    return n < 0 ? 0 : n;
}

static void slot_token(struct llm *l, struct llm_slot *s, int32_t token)
{
    struct llm_task *t = s->task;
    s->sampled = token;
    t->n_decoded++;
    t->n_past = s->n_past;

    int32_t n = task_piece(l, t, token);
    t->has_new_line |= memchr(l->piece, '\n', (size_t)n) != NULL;

    const char *text;
    size_t len;
    int word = 0;
    enum llm_stop_type stop = LLM_STOP_NONE;
    switch (text_stream_add(&t->text, l->piece, (size_t)n, t->stop, t->n_stop, &text,
                            &len, &word)) {
    case TEXT_NO_MEMORY:
        t->error = "out of memory for the generated text";
        t->no_memory = true;
        slot_finish(l, s, LLM_STOP_ERROR);
        return;
    case TEXT_STOPPED:
        t->stopping_word = t->stop[word];
        stop = LLM_STOP_WORD;
        break;
    case TEXT_MORE:
        if (t->n_predict >= 0 && t->n_decoded >= t->n_predict)
            stop = LLM_STOP_LIMIT;
        if (limit_reached(l, t))
            stop = LLM_STOP_LIMIT;
        break;
    }
    t->truncated = s->n_past + 1 >= l->n_ctx_slot;
    if (t->truncated)
        stop = LLM_STOP_LIMIT;
    if (llama_vocab_is_eog(&l->vocab, token))
        stop = LLM_STOP_EOS;
    if (stop != LLM_STOP_NONE && len == 0)
        text_stream_flush(&t->text, &text, &len);
    if (t->cb->on_token)
        t->cb->on_token(t, token, text, len);
    if (s->task == t && stop != LLM_STOP_NONE)       // the callback may have cancelled it
        slot_finish(l, s, stop);
}

static void slot_no_memory(struct llm *l, struct llm_slot *s)
{
    s->task->error = "out of memory for the probabilities";
    s->task->no_memory = true;
    slot_finish(l, s, LLM_STOP_ERROR);
}

/* false: the callback has cancelled the task. */
static bool slot_tell_progress(struct llm_slot *s)
{
    struct llm_task *t = s->task;
    s->fresh = false;
    t->n_past = s->n_past;
    if (t->cb->on_prompt)
        t->cb->on_prompt(t);
    return s->task == t;
}

static void slot_after_batch(struct llm *l, struct llm_slot *s)
{
    struct llm_task *t = s->task;
    if (!slot_tell_prompt(l, s)) {
        slot_no_memory(l, s);
        return;
    }
    if (s->i_prompt >= 0 && !slot_tell_progress(s))
        return;
    if (s->n_prompt_done < t->n_prompt)
        return;                                      // more prompt in the next step
    if (!t->t_prompt_us)
        t->t_prompt_us = l->now_us();
    if (t->embedding) {
        t->embedding_out = llama_get_embeddings_seq(l->ctx, (int32_t)(s - l->slot));
        slot_finish(l, s, LLM_STOP_NONE);
    } else if (t->n_predict == 0) {
        slot_finish(l, s, LLM_STOP_LIMIT);
    } else {
        int32_t token = slot_sample(l, s);
        if (token != LLAMA_TOKEN_NULL) {
            slot_token(l, s, token);
        } else if (t->no_memory) {
            slot_no_memory(l, s);
        } else {
            const char *why = t->constraint->error;
            t->error = why ? why : "no token of the vocabulary fits the grammar";
            t->no_memory = t->constraint->no_memory;
            slot_finish(l, s, LLM_STOP_ERROR);
        }
    }
}

static void step_failed(struct llm *l, int result)
{
    for (int32_t i = 0; i < l->n_slots; i++) {
        struct llm_slot *s = &l->slot[i];
        if (!s->task)
            continue;
        s->task->error = result == LLAMA_DECODE_NO_SPACE
                             ? "context size has been exceeded"
                             : "the batch could not be decoded";
        llama_kv_seq_rm(l->ctx, i, -1, -1);
        s->n_past = 0;
        slot_finish(l, s, LLM_STOP_ERROR);
    }
}

bool llm_step(struct llm *l)
{
    static struct step b;
    if (!l->model)
        return false;
    start_waiting(l);
    for (int32_t i = 0; i < l->n_slots; i++)
        if (l->slot[i].task && l->slot[i].fresh)
            slot_tell_progress(&l->slot[i]);
    step_collect(l, &b);
    if (b.n == 0)
        return false;

    struct llama_batch batch = { b.n, b.token, b.pos, b.seq, b.out };
    int r = llama_decode(l->ctx, &batch);
    l->stats.n_decode++;
    l->stats.n_busy_slots += (uint64_t)llm_n_busy(l);
    if (r != LLAMA_DECODE_OK) {
        step_failed(l, r);
        return true;
    }
    for (int32_t i = 0; i < l->n_slots; i++)
        if (l->slot[i].task && l->slot[i].i_batch >= 0)
            slot_after_batch(l, &l->slot[i]);
    return true;
}

/* ---- nbs/llm/16_llm.ipynb § Loading ---- */

/* Each slot may want one; prompts whose logits are asked for go faster with more. */
static int32_t choose_outputs(const struct llm *l)
{
    int32_t n = LLM_OUTPUT_BYTES / (int32_t)sizeof(float) / l->model->hparams.n_vocab;
    n = n < l->params.n_batch ? n : l->params.n_batch;
    return n > l->n_slots ? n : l->n_slots;
}

static bool make_context(struct llm *l, int32_t n_ctx, struct arena *region, char *err,
                         size_t err_cap)
{
    size_t mark = region->used;
    struct llama_context_params p = {
        .n_ctx = n_ctx * l->n_slots,
        .n_batch = l->params.n_batch,
        .n_seq_max = l->n_slots,
        .n_outputs_max = l->n_outputs = choose_outputs(l),
        .embeddings = l->params.embeddings,
        .pooling = l->params.pooling,
    };
    l->ctx = llama_init_from_model(l->model, p, region, err, err_cap);
    for (int32_t i = 0; l->ctx && i < l->n_slots; i++) {
        l->slot[i] = (struct llm_slot){ .i_prompt = -1, .i_batch = -1 };
        l->slot[i].tokens = arena_alloc(region, (size_t)n_ctx * sizeof(int32_t), 16);
        if (!l->slot[i].tokens) {
            snprintf(err, err_cap, "no memory for the token lists of %d slots",
                     (int)l->n_slots);
            l->ctx = NULL;
        }
    }
    if (!l->ctx)
        region->used = mark;
    l->n_ctx_slot = n_ctx;
    return l->ctx != NULL;
}

static bool prepare_vocab(struct llm *l, struct arena *region)
{
    int32_t n = l->model->hparams.n_vocab;
    size_t longest = 16, len;
    l->n_eog = 0;
    for (int32_t i = 0; i < n; i++) {
        llama_vocab_get_text(&l->vocab, i, &len);
        longest = len > longest ? len : longest;
        if (llama_vocab_is_eog(&l->vocab, i) && l->n_eog < LLM_EOG_MAX)
            l->eog[l->n_eog++] = i;
    }
    l->piece_cap = (int32_t)longest + 1;
    l->piece = arena_alloc(region, (size_t)l->piece_cap, 1);
    l->cand = arena_alloc(region, (size_t)n * sizeof(struct llama_token_data), 16);
    const char *tmpl;
    l->chat_template = NULL;
    if (gguf_str(&l->gguf, "tokenizer.chat_template", &tmpl, &len)) {
        char *copy = arena_alloc(region, len + 1, 1);
        if (!copy)
            return false;
        memcpy(copy, tmpl, len);
        copy[len] = 0;
        l->chat_template = copy;
    }
    return l->piece && l->cand;
}

bool llm_load(struct llm *l, const void *data, size_t size, const struct llm_params *p,
              struct arena *region, uint64_t (*now_us)(void), char *err, size_t err_cap)
{
    memset(l, 0, sizeof *l);
    l->params = *p;
    l->now_us = now_us;
    l->n_slots = p->n_parallel ? p->n_parallel : 4;
    l->params.n_batch = p->n_batch ? p->n_batch : 64;
    l->params.n_queue = p->n_queue ? p->n_queue : LLM_QUEUE_MAX;
    if (l->n_slots < 1 || l->n_slots > LLM_SLOTS_MAX || l->params.n_batch < l->n_slots ||
        l->params.n_batch > LLM_BATCH_MAX) {
        snprintf(err, err_cap, "parallel must be 1..%d and batch_size parallel..%d",
                 LLM_SLOTS_MAX, LLM_BATCH_MAX);
        return false;
    }
    struct llama_model *m;
    if (gguf_open(&l->gguf, data, size, err, err_cap) != GGUF_OK ||
        !(m = llama_model_load(&l->gguf, region, err, err_cap)) ||
        !llama_vocab_load(&l->vocab, &l->gguf, region, err, err_cap))
        return false;
    if (llama_vocab_n_tokens(&l->vocab) != m->hparams.n_vocab) {
        snprintf(err, err_cap,
                 "the vocabulary has %d tokens, the embedding matrix %d rows",
                 (int)llama_vocab_n_tokens(&l->vocab), (int)m->hparams.n_vocab);
        return false;
    }
    l->model = m;
    bool ok = prepare_vocab(l, region);
    if (!ok)
        snprintf(err, err_cap, "no memory for the sampler's scratch");
    int32_t n_ctx = p->n_ctx ? p->n_ctx : m->hparams.n_ctx_train,
            most = LLAMA_CELLS_MAX / l->n_slots;
    if (!p->n_ctx && n_ctx > most)                       // a file may claim 2^31 tokens
        n_ctx = most;
    while (ok && !(ok = make_context(l, n_ctx, region, err, err_cap)) && !p->n_ctx &&
           n_ctx > 64) {
        n_ctx /= 2;
        ok = true;
    }
    if (!ok)
        l->model = NULL;
    return ok;
}
