/* state.h: tangled from nbs/api/31_slots.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/31_slots.ipynb § A sequence as bytes ---- */

/* state.h: the memory of one sequence as bytes, and back.
 *
 * First the positions (n of int32_t), then for each layer n rows of K and n rows of V, as
 * the cache has them. Whoever restores must know that the bytes are of the same model.
 * Called by slots.c. */
// twin: state.c kv.c ggml.c ggml-type.c
#pragma once
#include "llm/kv.h"

size_t llama_state_seq_get_size(const struct llama_kv_cache *kv, int32_t seq);
void llama_state_seq_get_data(const struct llama_kv_cache *kv, int32_t seq, void *dst);
/* false: no number of tokens that this cache can hold has so many bytes. The sequence is
 * then as it was. */
bool llama_state_seq_set_data(struct llama_kv_cache *kv, int32_t seq, const void *src,
                              size_t size);
