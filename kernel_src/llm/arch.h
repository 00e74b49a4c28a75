/* arch.h: tangled from nbs/llm/13_model.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/13_model.ipynb § An architecture is a file ---- */

/* arch.h: what an architecture is, and the parts its builder is made from.
 *
 * An architecture reads its hyperparameters and tensors through a loader, which keeps the
 * first error and turns everything after it into nothing; and builds the graph of a batch
 * from the llm_build_* parts. LLAMA_ARCH puts it into the table that model.c searches
 * for general.architecture. Included by model.c and arch_*.c only. */
// twin: model.c
#pragma once
#include "base/kernel.h"
#include "llm/model.h"

struct llama_loader {
    const struct gguf *g;
    struct llama_model *m;
    char *err;
    size_t err_cap;
    bool failed;
    int n_tensors;                  // found so far
};

struct llm_graph {
    const struct llama_model *model;
    struct llama_kv_cache *kv;
    struct ggml_context *ctx;
    struct ggml_cgraph *gf;
    int32_t n_tokens, n_rows, n_logits;      // rows: flagged tokens, logits first
    /* inputs, I32 */
    struct ggml_tensor *inp_tokens;          // [n_tokens]
    struct ggml_tensor *inp_pos;             // [n_tokens]
    struct ggml_tensor *inp_cells;           // [n_tokens] where keys and values go
    struct ggml_tensor *inp_span;            // [2, n_tokens] what each token sees
    struct ggml_tensor *inp_rows;            // [n_rows] the flagged tokens
    /* outputs, F32 */
    struct ggml_tensor *t_embd;              // [n_embd, n_rows] after the last norm
    struct ggml_tensor *t_logits;            // [n_vocab, n_logits]; NULL: n_logits is 0
};

struct llama_arch {
    const char *name;
    void (*load)(struct llama_loader *l);    // hyperparameters and tensors of its own
    void (*build)(struct llm_graph *g);      // from inp_* to t_embd and t_logits
};

/* Defines and registers: LLAMA_ARCH(arch_llama) = {"llama", …}; */
#define LLAMA_ARCH(ident) LINKER_SET(llama_arch, struct llama_arch, ident)

/* Loading. After the first failure these do nothing and return false or NULL. */
void llm_fail(struct llama_loader *l, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
bool llm_has(struct llama_loader *l, const char *key);       // "<arch>.<key>" exists
/* Integer lo … hi, or fallback when the key is absent; fallback < lo: it is required. */
int32_t llm_int(struct llama_loader *l, const char *key, int32_t lo, int32_t hi,
                int32_t fallback);
/* Positive and finite, or fallback; fallback 0: it is required. */
float llm_float(struct llama_loader *l, const char *key, float fallback);
/* Tensor "<name>.weight" or "blk.<layer>.<name>.weight" (layer -1: the former), whose
 * shape must be [ne0, ne1]. ne1 0: a vector, which must be F32. NULL, no failure:
 * optional and absent. */
struct ggml_tensor *llm_tensor(struct llama_loader *l, const char *name, int layer,
                               int32_t ne0, int32_t ne1, bool optional);

/* Building. */
struct ggml_tensor *llm_build_inp_embd(struct llm_graph *g);
struct ggml_tensor *llm_build_norm(struct llm_graph *g, struct ggml_tensor *cur,
                                   struct ggml_tensor *weight, const char *name, int il);
struct ggml_tensor *llm_build_rope(struct llm_graph *g, struct ggml_tensor *cur,
                                   int32_t head_dim, int32_t n_head, int mode,
                                   const char *name, int il);
struct ggml_tensor *llm_build_attn(struct llm_graph *g, struct ggml_tensor *q,
                                   struct ggml_tensor *k, struct ggml_tensor *v,
                                   float scale, int il);
struct ggml_tensor *llm_build_ffn(struct llm_graph *g, struct ggml_tensor *cur, int il);
struct ggml_tensor *llm_build_rows(struct llm_graph *g, struct ggml_tensor *cur);
void llm_build_output(struct llm_graph *g, struct ggml_tensor *cur);
