/* model.h: tangled from nbs/llm/13_model.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/13_model.ipynb § What a model is ---- */

/* model.h: a transformer from a GGUF file, and the state of running it.
 *
 * A model is read-only: hyperparameters, and tensors that point into the file's bytes,
 * which must outlive it. A context has the KV cache and the compute buffers, all taken
 * from an arena when it is made; decoding allocates nothing. What a sequence gets does
 * not depend on its company in a batch, to the last bit. Called by llm.c (the slots). */
// twin: model.c arch_llama.c kv.c ggml.c ggml-cpu.c quants.c gguf.c ggml-type.c fmath.c
#pragma once
#include "base/memory.h"
#include "llm/ggml-cpu.h"
#include "llm/gguf.h"
#include "llm/kv.h"

#define LLAMA_LAYERS_MAX 512
#define LLAMA_SEQ_MAX    256
#define LLAMA_BATCH_MAX  4096
#define LLAMA_DIM_MAX    (1 << 20)       // any hyperparameter that counts things

enum llama_pooling_type {                // llama.cpp's numbers
    LLAMA_POOLING_TYPE_UNSPECIFIED = -1, // the model's own, else mean
    LLAMA_POOLING_TYPE_NONE = 0,
    LLAMA_POOLING_TYPE_MEAN = 1,
    LLAMA_POOLING_TYPE_CLS  = 2,         // the first token's
    LLAMA_POOLING_TYPE_LAST = 3,
};

struct llama_hparams {
    int32_t n_vocab, n_ctx_train, n_embd, n_layer, n_ff;
    int32_t n_head, n_head_kv;           // fewer kv: grouped-query attention
    int32_t n_embd_head_k, n_embd_head_v;
    int32_t n_rot;                       // dimensions of a head that rotate
    float f_norm_rms_eps;
    float rope_freq_base, rope_freq_scale;
    enum llama_pooling_type pooling_type;
};

struct llama_layer {
    struct ggml_tensor *attn_norm, *wq, *wk, *wv, *wo;
    struct ggml_tensor *ffn_norm, *ffn_gate, *ffn_up, *ffn_down;
};

struct llama_arch;
struct llama_model {
    const struct llama_arch *arch;
    const struct gguf *gguf;
    char arch_name[32];                  // "llama"
    char name[64];                       // general.name, or ""
    char desc[64];                       // "llama 260K F32"
    char ftype[16];                      // "F32": the type that most weights have
    uint64_t n_params, size;             // weights, bytes of weights
    struct llama_hparams hparams;
    struct ggml_tensor *tok_embd, *output_norm, *output, *rope_freqs;
    struct llama_layer *layers;
    struct ggml_context *ctx;            // owns the tensors above
};

/* NULL: not usable, and err says why, naming the key or the tensor. */
struct llama_model *llama_model_load(const struct gguf *g, struct arena *region,
                                     char *err, size_t err_cap);

/* ---- nbs/llm/13_model.ipynb § A context ---- */

struct llama_context_params {
    int32_t n_ctx;          // cells in all, shared evenly by the sequences;
                            // 0: n_ctx_train for each
    int32_t n_batch;        // most tokens in one decode; 0: 64
    int32_t n_seq_max;      // sequences 0 … n_seq_max-1; 0: 1
    int32_t n_outputs_max;  // most tokens with logits in one decode; 0: n_seq_max
    bool embeddings;        // every token of a batch may leave an embedding
    enum llama_pooling_type pooling;
    enum ggml_type type_k, type_v;       // of the cache: F32 (0, the default) or F16
};

struct llama_context;
/* NULL: it does not fit, or a parameter is out of range; err says which. The arena is
 * then as it was. */
struct llama_context *llama_init_from_model(struct llama_model *m,
                                            struct llama_context_params p,
                                            struct arena *region,
                                            char *err, size_t err_cap);
uint64_t llama_kv_cache_size(const struct llama_model *m,   // the larger part of it
                             struct llama_context_params p);

int32_t llama_n_ctx(const struct llama_context *ctx);        // cells in all
int32_t llama_n_ctx_seq(const struct llama_context *ctx);    // cells of one sequence
int32_t llama_n_batch(const struct llama_context *ctx);
int32_t llama_n_seq_max(const struct llama_context *ctx);
const struct llama_model *llama_get_model(const struct llama_context *ctx);
struct llama_kv_cache *llama_get_memory(struct llama_context *ctx); // for state.c
enum llama_pooling_type llama_pooling_type(const struct llama_context *ctx);
size_t llama_compute_size(const struct llama_context *ctx); // bytes of the compute buffer

/* fn is called after every node of every graph; for tests and profiles. NULL: no more. */
void llama_set_eval_callback(struct llama_context *ctx,
                             void (*fn)(void *user, const struct ggml_tensor *t),
                             void *user);

/* ---- nbs/llm/13_model.ipynb § Decoding a batch ---- */

/* What a token of a batch should leave behind: its `logits` byte is a mask of these. */
enum { LLAMA_OUTPUT_LOGITS = 1, LLAMA_OUTPUT_EMBD = 2 };

struct llama_batch {
    int32_t n_tokens;
    const int32_t *token;
    const int32_t *pos;        // NULL: each sequence goes on where it stopped
    const int32_t *seq_id;     // NULL: all 0
    const int8_t *logits;      // NULL: logits of the last token only
};

enum llama_decode_result {
    LLAMA_DECODE_OK        = 0,
    LLAMA_DECODE_NO_SPACE  = 1,    // a sequence would outgrow its cells
    LLAMA_DECODE_BAD_BATCH = -1,   // empty, too long, too many outputs
    LLAMA_DECODE_BAD_TOKEN = -2,
    LLAMA_DECODE_BAD_SEQ   = -3,
    LLAMA_DECODE_BAD_POS   = -4,   // not the position after the sequence's last
    LLAMA_DECODE_FAILED    = -5,   // the backend gave up
};
/* Runs the batch; its tokens' keys and values join the cache. On any result but OK the
 * cache is as it was. Outputs stay valid until the next decode. */
int llama_decode(struct llama_context *ctx, const struct llama_batch *batch);

/* i: index into the batch; negative ones count from its end. NULL: not flagged so. */
float *llama_get_logits_ith(struct llama_context *ctx, int32_t i);       // (n_vocab)
float *llama_get_embeddings_ith(struct llama_context *ctx, int32_t i);   // (n_embd)

/* The pooled embedding of all tokens of a sequence that were flagged LLAMA_OUTPUT_EMBD
 * since it was last empty. NULL: none were, or pooling is NONE. Valid until the next
 * call. */
float *llama_get_embeddings_seq(struct llama_context *ctx, int32_t seq_id);   // (n_embd)

bool llama_kv_seq_rm(struct llama_context *ctx, int32_t seq, int32_t p0, int32_t p1);
bool llama_kv_seq_cp(struct llama_context *ctx, int32_t src, int32_t dst,
                     int32_t p0, int32_t p1);
int32_t llama_kv_seq_pos_max(const struct llama_context *ctx, int32_t seq);   // -1: empty
int32_t llama_kv_seq_pos_min(const struct llama_context *ctx, int32_t seq);   // -1: empty
