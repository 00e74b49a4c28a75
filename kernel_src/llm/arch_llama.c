/* arch_llama.c: tangled from nbs/llm/13_model.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/13_model.ipynb § The llama ---- */

/* arch_llama.c: the llama family (Llama 1 to 3, Mistral, TinyLlama, llama2.c's stories).
 * RMSNorm before each half of a layer, rotary positions on neighbouring pairs,
 * grouped-query attention, SwiGLU; the output matrix is its own or the embedding matrix
 * again. */
#include "base/fmath.h"
#include "llm/arch.h"

static void llama_load(struct llama_loader *l)
{
    struct llama_model *m = l->m;
    const struct llama_hparams *hp = &m->hparams;
    int32_t n_embd = hp->n_embd, n_ff = hp->n_ff;
    int32_t n_q = hp->n_head * hp->n_embd_head_k, n_k = hp->n_head_kv * hp->n_embd_head_k;
    int32_t n_v = hp->n_head_kv * hp->n_embd_head_v, n_o = hp->n_head * hp->n_embd_head_v;

    m->tok_embd = llm_tensor(l, "token_embd", -1, n_embd, hp->n_vocab, false);
    m->output_norm = llm_tensor(l, "output_norm", -1, n_embd, 0, false);
    m->output = llm_tensor(l, "output", -1, n_embd, hp->n_vocab, true);
    m->rope_freqs = llm_tensor(l, "rope_freqs", -1, hp->n_rot / 2, 0, true);
    if (!m->output)
        m->output = m->tok_embd;                            // tied
    for (int il = 0; il < hp->n_layer; il++) {
        struct llama_layer *layer = &m->layers[il];
        layer->attn_norm = llm_tensor(l, "attn_norm", il, n_embd, 0, false);
        layer->wq = llm_tensor(l, "attn_q", il, n_embd, n_q, false);
        layer->wk = llm_tensor(l, "attn_k", il, n_embd, n_k, false);
        layer->wv = llm_tensor(l, "attn_v", il, n_embd, n_v, false);
        layer->wo = llm_tensor(l, "attn_output", il, n_o, n_embd, false);
        layer->ffn_norm = llm_tensor(l, "ffn_norm", il, n_embd, 0, false);
        layer->ffn_gate = llm_tensor(l, "ffn_gate", il, n_embd, n_ff, false);
        layer->ffn_up = llm_tensor(l, "ffn_up", il, n_embd, n_ff, false);
        layer->ffn_down = llm_tensor(l, "ffn_down", il, n_ff, n_embd, false);
    }
}

static void llama_build(struct llm_graph *g)
{
    const struct llama_model *m = g->model;
    const struct llama_hparams *hp = &m->hparams;
    struct ggml_context *ctx = g->ctx;
    struct ggml_tensor *x = llm_build_inp_embd(g);          // [n_embd, n_tokens]
    float scale = 1.0f / sqrtf((float)hp->n_embd_head_k);
    const int pairs = GGML_ROPE_TYPE_NORMAL;                // neighbours rotate together

    for (int il = 0; il < hp->n_layer; il++) {
        const struct llama_layer *layer = &m->layers[il];

        struct ggml_tensor *cur = llm_build_norm(g, x, layer->attn_norm, "attn_norm", il);
        struct ggml_tensor *q = ggml_mul_mat(ctx, layer->wq, cur);
        struct ggml_tensor *k = ggml_mul_mat(ctx, layer->wk, cur);
        struct ggml_tensor *v = ggml_mul_mat(ctx, layer->wv, cur);
        q = llm_build_rope(g, q, hp->n_embd_head_k, hp->n_head, pairs, "Qcur", il);
        k = llm_build_rope(g, k, hp->n_embd_head_k, hp->n_head_kv, pairs, "Kcur", il);
        ggml_format_name(v, "Vcur", il);
        cur = llm_build_attn(g, q, k, v, scale, il);        // [n_o, n_tokens]

        if (il == hp->n_layer - 1) { // from here on only flagged tokens
            cur = llm_build_rows(g, cur);
            x = llm_build_rows(g, x);
        }
        cur = ggml_mul_mat(ctx, layer->wo, cur);
        x = ggml_format_name(ggml_add(ctx, cur, x), "ffn_inp", il);

        cur = llm_build_norm(g, x, layer->ffn_norm, "ffn_norm", il);
        cur = llm_build_ffn(g, cur, il);
        x = ggml_format_name(ggml_add(ctx, cur, x), "l_out", il);
    }
    llm_build_output(g, x);
}

LLAMA_ARCH(arch_llama) = {"llama", llama_load, llama_build};
