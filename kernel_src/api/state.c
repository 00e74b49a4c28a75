/* state.c: tangled from nbs/api/31_slots.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/31_slots.ipynb § A sequence as bytes ---- */

/* state.c: see state.h. The backend reads and writes tensors, wherever they are. */
#include "api/state.h"
#include "base/string.h"

static size_t row_bytes(const struct ggml_tensor *t)
{
    return ggml_row_size(t->type, t->ne[0]);
}

static uint64_t token_bytes(const struct llama_kv_cache *kv)
{
    uint64_t size = sizeof *kv->pos;
    for (int il = 0; il < kv->n_layer; il++)
        size += row_bytes(kv->k[il]) + row_bytes(kv->v[il]);
    return size;
}

size_t llama_state_seq_get_size(const struct llama_kv_cache *kv, int32_t seq)
{
    return (size_t)(token_bytes(kv) * (uint64_t)kv->n_used[seq]);
}

void llama_state_seq_get_data(const struct llama_kv_cache *kv, int32_t seq, void *dst)
{
    size_t n = (size_t)kv->n_used[seq], cell = (size_t)(seq * kv->n_ctx_seq);
    uint8_t *to = dst;
    memcpy(to, kv->pos + cell, n * sizeof *kv->pos);
    to += n * sizeof *kv->pos;
    for (int i = 0; i < 2 * kv->n_layer; i++) {
        struct ggml_tensor *t = i % 2 ? kv->v[i / 2] : kv->k[i / 2];
        size_t row = row_bytes(t);
        ggml_backend_tensor_get(kv->backend, t, to, cell * row, n * row);
        to += n * row;
    }
}

bool llama_state_seq_set_data(struct llama_kv_cache *kv, int32_t seq, const void *src,
                              size_t size)
{
    size_t each = (size_t)token_bytes(kv), n = size / each;
    size_t cell = (size_t)(seq * kv->n_ctx_seq);
    const uint8_t *from = src;
    if (size % each || n > (size_t)kv->n_ctx_seq)
        return false;
    memcpy(kv->pos + cell, from, n * sizeof *kv->pos);
    from += n * sizeof *kv->pos;
    for (int i = 0; i < 2 * kv->n_layer; i++) {
        struct ggml_tensor *t = i % 2 ? kv->v[i / 2] : kv->k[i / 2];
        size_t row = row_bytes(t);
        ggml_backend_tensor_set(kv->backend, t, from, cell * row, n * row);
        from += n * row;
    }
    kv->n_used[seq] = (int32_t)n;
    return true;
}
