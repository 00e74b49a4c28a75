/* kv.h: tangled from nbs/llm/13_model.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/13_model.ipynb § The cache ---- */

/* kv.h: the keys and values of every token that a sequence has seen.
 *
 * The cache has n_seq_max * n_ctx_seq cells. Sequence s owns the cells from s * n_ctx_seq
 * on and uses the first n_used[s] of them: dense, ascending in position. So what a token
 * may look at is one span of cells, and a sequence never sees another's.
 * Cell c is row c of each layer's K and V. Called by model.c. */
// twin: kv.c ggml.c ggml-type.c
#pragma once
#include "llm/ggml.h"

#define LLAMA_CELLS_MAX (1 << 24)

struct llama_kv_cache {
    int32_t n_seq_max, n_ctx_seq, n_layer;
    int32_t *n_used;             // (n_seq_max) cells in use
    int32_t *pos;                // (n_cells) position of the token in each cell
    struct ggml_tensor **k;      // (n_layer) tensors [n_embd_k, n_cells]
    struct ggml_tensor **v;      // (n_layer) tensors [n_embd_v, n_cells]
    ggml_backend_t backend;
    uint8_t *row;                // room for one row on its way from cell to cell
};

struct llama_kv_params {
    int32_t n_seq_max, n_ctx_seq, n_layer;
    int32_t n_embd_k, n_embd_v;  // of all key/value heads together
    enum ggml_type type_k, type_v;
};
uint64_t llama_kv_size(const struct llama_kv_params *p);     // bytes of all K and V
/* false: it does not fit. */
bool llama_kv_init(struct llama_kv_cache *kv, const struct llama_kv_params *p,
                   ggml_backend_t backend, struct arena *a);

/* A new cell for the token at position pos; its index, or -1: the sequence is full. */
int32_t llama_kv_push(struct llama_kv_cache *kv, int32_t seq, int32_t pos);
int32_t llama_kv_pos_max(const struct llama_kv_cache *kv, int32_t seq);    // -1: empty
int32_t llama_kv_pos_min(const struct llama_kv_cache *kv, int32_t seq);    // -1: empty

/* Forgets positions p0 <= p < p1 (negative: from the start, to the end). Cells behind a
 * hole move up, their positions stay. false: no such sequence. */
bool llama_kv_rm(struct llama_kv_cache *kv, int32_t seq, int32_t p0, int32_t p1);

/* dst becomes a copy of positions p0 <= p < p1 of src. false: no such sequence. */
bool llama_kv_cp(struct llama_kv_cache *kv, int32_t src, int32_t dst,
                 int32_t p0, int32_t p1);
