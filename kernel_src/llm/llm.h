/* llm.h: tangled from nbs/llm/16_llm.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/16_llm.ipynb § Tasks and slots ---- */

/* llm.h: many conversations, one model.
 *
 * A task is one request: a prompt and how to go on from it. A slot is a place where a
 * task runs; it owns one sequence of the KV cache and remembers its tokens, so that a
 * later task with the same beginning starts behind it. llm_step() advances every busy
 * slot at once, in one batch. Nothing here blocks, and a task gets the same tokens
 * whoever else is running. Called by api/ (submit, cancel) and by the kernel's main loop
 * (step). */
// twin: llm.c stream.c model.c kv.c ggml.c ggml-cpu.c quants.c cpu.c ggml-type.c gguf.c
// tokenizer.c sampler.c
#pragma once
#include "llm/model.h"
#include "llm/sampler.h"
#include "llm/stream.h"
#include "llm/tokenizer.h"

#define LLM_SLOTS_MAX   16        // slots; `parallel` in the configuration, 4 unless told
#define LLM_QUEUE_MAX   64        // requests that wait for a slot, unless params say
#define LLM_EOG_MAX     16        // end-of-generation tokens that ignore_eos knows
#define LLM_OUTPUT_BYTES (1 << 20) // logits of one step, if that is more than one a slot
#define LLM_BATCH_MAX   512       // tokens in one step; `batch_size`, 64 unless told

enum llm_submit_result {
    LLM_SUBMITTED,
    LLM_QUEUE_FULL,      // params.n_queue requests are waiting: 503
    LLM_PROMPT_EMPTY,    // 400
    LLM_PROMPT_TOO_LONG, // does not leave room for one token in a slot's context: 400
    LLM_BAD_TOKEN,       // a token id outside the vocabulary: 400
    LLM_NO_MODEL,        // nothing is loaded: 503
    LLM_NO_EMBEDDINGS,   // the context was made without them, or pooling is none: 501/400
};

enum llm_stop_type {
    LLM_STOP_NONE,
    LLM_STOP_EOS,
    LLM_STOP_WORD,
    LLM_STOP_LIMIT,
    LLM_STOP_ERROR
};

struct llm_task;
struct llm_callbacks {
    /* New text that is safe to send: whole UTF-8 characters, no beginning of a stop
     * string. Called once per token; `len` may be 0 when the text is held back. */
    void (*on_token)(struct llm_task *t, int32_t token, const char *text, size_t len);
    /* The task has ended (t->stop_type says how) and is out of its slot. Called exactly
     * once, except after llm_cancel. The callback may free the task. */
    void (*on_done)(struct llm_task *t);

    /* These two may be NULL. on_prompt: the task has found a slot, or a further piece of
     * its prompt has been evaluated; t->n_past tokens of it are in the cache. */
    void (*on_prompt)(struct llm_task *t);
    /* What the model said of the place where `token` now stands, before any sampler. The
     * token was drawn, and `left` are the candidates that the samplers left; or it is the
     * prompt's, and `left` is NULL. All of it is scratch. false: no memory, it ends. */
    bool (*on_logits)(struct llm_task *t, const float *logits,
                      const struct llama_token_data_array *left, int32_t token);
};

/* What a text must keep to. Each token is first drawn without asking; only if it may
 * not come, all others that may not are ruled out and it is drawn again: llama.cpp's
 * order. */
struct llm_constraint {
    bool (*allows)(struct llm_constraint *k, int32_t token);    // may it come next?
    /* Set the logit of each that may not to -INFINITY. Returns how many may. */
    int32_t (*mask)(struct llm_constraint *k, struct llama_token_data *cand, int32_t n);
    bool (*accept)(struct llm_constraint *k, int32_t token);    // it has come
    const char *error;                     // why one of them failed, or NULL
    bool no_memory;                        // that is why
};

/* The caller fills in the first part and keeps task, prompt, stop strings and constraint
 * alive until on_done or llm_cancel. */
struct llm_task {
    const int32_t *prompt;
    int32_t n_prompt;
    bool embedding;                        // pool the prompt; no text
    int32_t n_predict; // tokens to generate; -1: until the context is full
    int32_t id_slot;                       // this slot; -1: any
    bool cache_prompt;                     // may start behind a common prefix
    bool prompt_logits; // on_logits for the prompt too (but its first): none is cached
    bool ignore_eos;
    bool paused;                           // skip this task for now (its reader is slow)
    const void *request; // tasks that share it are let in together; NULL: on its own
    int32_t n_indent, t_max_predict_ms;    // for LLM_LIMIT; <= 0: none
    struct llama_sampler_params sampling;
    const char *const *stop;               // stop strings (n_stop)
    int32_t n_stop;
    struct llm_constraint *constraint;     // NULL: none
    const int32_t *show;                   // control tokens that count as text (n_show)
    int32_t n_show;
    const struct llm_callbacks *cb;
    void *user;

    /* Results, valid from the first callback on. */
    uint32_t id;                           // counts the tasks that found a slot
    int32_t slot;                          // where it runs; -1 while it waits
    int32_t n_decoded;                     // tokens generated
    int32_t n_cached;                      // prompt tokens found in the slot's cache
    int32_t n_past;                        // tokens in the slot's cache
    enum llm_stop_type stop_type;
    const char *stopping_word;             // one of stop[], or NULL
    const char *error;                     // with LLM_STOP_ERROR
    bool no_memory;                        // … which another time may go well
    bool truncated, has_new_line;          // truncated: the context was full
    size_t line;                           // LLM_LIMIT's: where the last line begins
    struct text_stream text;               // all text so far
    const float *embedding_out; // (n_embd), during on_done of an embedding task
    uint64_t t_start_us, t_prompt_us, t_end_us;   // taken up, prompt evaluated, ended
    struct llm_task *next;                 // the queue's
};

struct llm_slot {
    struct llm_task *task;                 // NULL: idle
    int32_t *tokens;                       // (n_ctx_seq) what the KV cache holds
    int32_t n_past;                        // … and how many
    int32_t n_prompt_done;                 // prompt tokens in the cache
    int32_t sampled;                       // last sampled token, not yet in the cache
    int32_t i_prompt, i_batch; // its part of the prompt in this batch: first and last
                               // (only the last, -1: none). The last has logits
    bool fresh;                            // its task has not been told yet
    uint64_t last_used_us;
    struct llama_sampler sampler;
};

struct llm_stats {                         // since boot
    uint64_t n_prompt_tokens, n_cached_tokens, n_predicted, n_decode, n_busy_slots;
    uint64_t prompt_us, predicted_us;      // summed over tasks, also those side by side
    uint32_t n_tasks, n_cancelled;
    int32_t n_tokens_max;                  // the longest sequence
};

struct llm_params {
    int32_t n_ctx; // of each slot; 0: the model's, as far as memory goes
    int32_t n_parallel, n_batch;           // 0: 4 and 64
    int32_t n_queue;                       // requests that may wait; 0: LLM_QUEUE_MAX
    bool embeddings;
    enum llama_pooling_type pooling;
};

struct llm {
    struct gguf gguf;
    struct llama_model *model;             // NULL: not loaded
    struct llama_context *ctx;
    struct llama_vocab vocab;
    struct llm_params params;
    int32_t n_slots, n_ctx_slot;
    int32_t n_outputs;                     // tokens of one step that may leave logits
    struct llm_slot slot[LLM_SLOTS_MAX];
    struct llm_task *queue_head, *queue_tail;
    int32_t n_queued;
    struct llama_token_data *cand;         // (n_vocab) the samplers' scratch
    char *piece;                           // (piece_cap) text of one token
    int32_t piece_cap, n_eog, eog[LLM_EOG_MAX];
    uint64_t (*now_us)(void);
    uint32_t entropy;                      // seeds requests that ask for a random seed
    struct llm_stats stats;
    const char *chat_template;             // from the GGUF, NUL-terminated copy, or NULL
};

/* Open the GGUF at `data`, make model, context and slots in `region`. false: err says
 * why. */
bool llm_load(struct llm *l, const void *data, size_t size, const struct llm_params *p,
              struct arena *region, uint64_t (*now_us)(void), char *err, size_t err_cap);

enum llm_submit_result llm_submit(struct llm *l, struct llm_task *t);
void llm_cancel(struct llm *l,
                struct llm_task *t); // no callback follows; the task is yours again
bool llm_step(struct llm *l);                         // false: nothing to do
int32_t llm_n_busy(const struct llm *l);
struct llm_stats llm_stats_now(const struct llm *l);  // the running tasks included

/* ---- what later files may join ---- */
/* LLM_WATCH(fn): told when a slot has taken up its task, and when the task is about to
 * leave it, done or cancelled. It only looks. */
typedef void (*llm_watch_fn)(const struct llm *l, const struct llm_slot *s, bool begins);
#define LLM_WATCH(fn) LINKER_SET(llm_watch, llm_watch_fn, llm_watch_##fn) = fn
/* LLM_LIMIT(fn): asked after each token whose text is whole. true: enough. */
typedef bool (*llm_limit_fn)(const struct llm *l, struct llm_task *t);
#define LLM_LIMIT(fn) LINKER_SET(llm_limit, llm_limit_fn, llm_limit_##fn) = fn

/* ---- the kernel's one instance (llm_edge.c) ---- */
extern struct llm kernel_llm;
extern const char *llm_load_error;         // why there is no model, or NULL
