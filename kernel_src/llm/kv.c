/* kv.c: tangled from nbs/llm/13_model.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/13_model.ipynb § The cache ---- */

/* kv.c: see kv.h. */
#include "llm/kv.h"
#include "base/panic.h"
#include "base/string.h"

uint64_t llama_kv_size(const struct llama_kv_params *p)
{
    uint64_t row =
        ggml_row_size(p->type_k, p->n_embd_k) + ggml_row_size(p->type_v, p->n_embd_v);
    return row * (uint64_t)p->n_layer * ((uint64_t)p->n_seq_max * (uint64_t)p->n_ctx_seq);
}

static struct ggml_tensor *kv_tensor(struct ggml_context *ctx, ggml_backend_t b,
                                     enum ggml_type type, int32_t n_embd, int32_t n_cells)
{
    struct ggml_tensor *t = ggml_new_tensor_2d(ctx, type, n_embd, n_cells);
    t->data = ggml_backend_alloc_buffer(b, ggml_nbytes(t));
    return t->data ? t : NULL;
}

bool llama_kv_init(struct llama_kv_cache *kv, const struct llama_kv_params *p,
                   ggml_backend_t backend, struct arena *a)
{
    size_t left = a->cap - a->used;
    if (llama_kv_size(p) > left || llama_kv_size(p) / p->n_layer > INT32_MAX)
        return false;                           // before any 32-bit size can wrap

    int32_t n_cells = p->n_seq_max * p->n_ctx_seq;
    size_t mem = (2 * p->n_layer + 1) * ggml_tensor_overhead() + 256;
    size_t row_k = ggml_row_size(p->type_k, p->n_embd_k);
    size_t row_v = ggml_row_size(p->type_v, p->n_embd_v);
    *kv = (struct llama_kv_cache){.n_seq_max = p->n_seq_max, .n_ctx_seq = p->n_ctx_seq,
                                  .n_layer = p->n_layer, .backend = backend};
    kv->n_used = arena_alloc(a, p->n_seq_max * sizeof *kv->n_used, 4);
    kv->pos = arena_alloc(a, n_cells * sizeof *kv->pos, 4);
    kv->k = arena_alloc(a, p->n_layer * sizeof *kv->k, sizeof(void *));
    kv->v = arena_alloc(a, p->n_layer * sizeof *kv->v, sizeof(void *));
    kv->row = arena_alloc(a, row_k > row_v ? row_k : row_v, 16);
    void *buffer = arena_alloc(a, mem, 16);
    if (!kv->n_used || !kv->pos || !kv->k || !kv->v || !kv->row || !buffer)
        return false;

    struct ggml_context *ctx = ggml_init((struct ggml_init_params){mem, buffer, true});
    memset(kv->n_used, 0, p->n_seq_max * sizeof *kv->n_used);
    for (int il = 0; il < p->n_layer; il++) {
        kv->k[il] = kv_tensor(ctx, backend, p->type_k, p->n_embd_k, n_cells);
        kv->v[il] = kv_tensor(ctx, backend, p->type_v, p->n_embd_v, n_cells);
        if (!kv->k[il] || !kv->v[il])
            return false;
    }
    return true;
}

int32_t llama_kv_push(struct llama_kv_cache *kv, int32_t seq, int32_t pos)
{
    KASSERT(seq >= 0 && seq < kv->n_seq_max);
    if (kv->n_used[seq] == kv->n_ctx_seq)
        return -1;
    KASSERT(pos > llama_kv_pos_max(kv, seq));       // cells ascend in position
    int32_t cell = seq * kv->n_ctx_seq + kv->n_used[seq]++;
    kv->pos[cell] = pos;
    return cell;
}

int32_t llama_kv_pos_max(const struct llama_kv_cache *kv, int32_t seq)
{
    if (seq < 0 || seq >= kv->n_seq_max || kv->n_used[seq] == 0)
        return -1;
    return kv->pos[seq * kv->n_ctx_seq + kv->n_used[seq] - 1];
}

int32_t llama_kv_pos_min(const struct llama_kv_cache *kv, int32_t seq)
{
    if (seq < 0 || seq >= kv->n_seq_max || kv->n_used[seq] == 0)
        return -1;
    return kv->pos[seq * kv->n_ctx_seq];
}

/* Index within the sequence of its first cell with a position >= p. */
static int32_t kv_lower_bound(const struct llama_kv_cache *kv, int32_t seq, int32_t p)
{
    int32_t i = 0;
    while (i < kv->n_used[seq] && kv->pos[seq * kv->n_ctx_seq + i] < p)
        i++;
    return i;
}

static void kv_move_rows(struct llama_kv_cache *kv, struct ggml_tensor *t, int32_t from,
                         int32_t to, int32_t n)
{
    size_t row = ggml_row_size(t->type, t->ne[0]);
    for (int32_t i = 0; i < n; i++) {               // ascending: right when to < from
        ggml_backend_tensor_get(kv->backend, t, kv->row, (from + i) * t->nb[1], row);
        ggml_backend_tensor_set(kv->backend, t, kv->row, (to + i) * t->nb[1], row);
    }
}

static void kv_move(struct llama_kv_cache *kv, int32_t from, int32_t to, int32_t n)
{
    for (int il = 0; il < kv->n_layer; il++) {
        kv_move_rows(kv, kv->k[il], from, to, n);
        kv_move_rows(kv, kv->v[il], from, to, n);
    }
    memmove(&kv->pos[to], &kv->pos[from], n * sizeof *kv->pos);
}

bool llama_kv_rm(struct llama_kv_cache *kv, int32_t seq, int32_t p0, int32_t p1)
{
    if (seq < 0 || seq >= kv->n_seq_max)
        return false;
    int32_t n = kv->n_used[seq], base = seq * kv->n_ctx_seq;
    int32_t i0 = p0 < 0 ? 0 : kv_lower_bound(kv, seq, p0);
    int32_t i1 = p1 < 0 ? n : kv_lower_bound(kv, seq, p1);
    if (i0 >= i1)
        return true;
    if (i1 < n)
        kv_move(kv, base + i1, base + i0, n - i1);
    kv->n_used[seq] = n - (i1 - i0);
    return true;
}

bool llama_kv_cp(struct llama_kv_cache *kv, int32_t src, int32_t dst,
                 int32_t p0, int32_t p1)
{
    if (src < 0 || src >= kv->n_seq_max || dst < 0 || dst >= kv->n_seq_max)
        return false;
    if (src == dst)
        return true;
    int32_t i0 = p0 < 0 ? 0 : kv_lower_bound(kv, src, p0);
    int32_t i1 = p1 < 0 ? kv->n_used[src] : kv_lower_bound(kv, src, p1);
    int32_t n = i1 > i0 ? i1 - i0 : 0;
    kv_move(kv, src * kv->n_ctx_seq + i0, dst * kv->n_ctx_seq, n);
    kv->n_used[dst] = n;
    return true;
}
