/* model.c: tangled from nbs/llm/13_model.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/13_model.ipynb § Asking a file ---- */

/* model.c: reads a model, keeps a context, runs batches. See model.h and arch.h. */
#include "llm/model.h"
#include "base/fmath.h"
#include "base/panic.h"
#include "base/stdio.h"
#include "base/string.h"
#include "llm/arch.h"
#include "llm/quants.h"

#include <stdarg.h>

void llm_fail(struct llama_loader *l, const char *fmt, ...)
{
    if (l->failed)
        return;                     // the first reason is the one that helps
    l->failed = true;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(l->err, l->err_cap, fmt, ap);
    va_end(ap);
}

#define LLM_KEY_MAX 96
static void llm_key(char key[LLM_KEY_MAX], struct llama_loader *l, const char *name)
{
    snprintf(key, LLM_KEY_MAX, "%s.%s", l->m->arch_name, name);
}

bool llm_has(struct llama_loader *l, const char *name)
{
    char key[LLM_KEY_MAX];
    llm_key(key, l, name);
    return gguf_find_key(l->g, key) != NULL;
}

int32_t llm_int(struct llama_loader *l, const char *name, int32_t lo, int32_t hi,
                int32_t fallback)
{
    char key[LLM_KEY_MAX];
    int64_t v;
    llm_key(key, l, name);
    if (!gguf_find_key(l->g, key)) {
        if (fallback < lo)
            llm_fail(l, "missing key '%s'", key);
        return fallback < lo ? lo : fallback;
    }
    if (!gguf_i64(l->g, key, &v)) {
        llm_fail(l, "key '%s' is not a single integer", key);
        return lo;
    }
    if (v < lo || v > hi) {
        llm_fail(l, "key '%s' = %lld is outside %d … %d", key, (long long)v, (int)lo,
                 (int)hi);
        return lo;
    }
    return (int32_t)v;
}

float llm_float(struct llama_loader *l, const char *name, float fallback)
{
    char key[LLM_KEY_MAX];
    float v = fallback;
    llm_key(key, l, name);
    if (!gguf_find_key(l->g, key)) {
        if (fallback == 0)
            llm_fail(l, "missing key '%s'", key);
        return fallback;
    }
    if (!gguf_f32(l->g, key, &v) || !(v > 0 && v <= FLT_MAX))
        llm_fail(l, "key '%s' is not a positive number", key);
    return v;
}

static void llm_shape(char *buf, size_t cap, int n, const uint64_t *ne)
{
    size_t len = 0;
    for (int i = 0; i < n && len < cap; i++)
        len += snprintf(buf + len, cap - len, "%s%llu", i ? ", " : "",
                        (unsigned long long)ne[i]);
}

static bool llm_check_tensor(struct llama_loader *l, const char *name,
                             const struct gguf_tensor *t, int32_t ne0, int32_t ne1)
{
    const uint64_t want[] = {ne0, ne1};
    int n_dims = ne1 ? 2 : 1;
    if (t->ne[0] != want[0] || t->ne[1] != (ne1 ? want[1] : 1) || t->ne[2] != 1 ||
        t->ne[3] != 1) {
        char is[80], should[48];
        llm_shape(is, sizeof is, t->n_dims, t->ne);
        llm_shape(should, sizeof should, n_dims, want);
        llm_fail(l, "tensor '%s' has shape [%s], expected [%s]", name, is, should);
        return false;
    }
    if (t->size > INT32_MAX) {
        llm_fail(l, "tensor '%s' is larger than 2 GiB", name);
        return false;
    }
    if (!ggml_get_type_traits(t->type)->gemv || (!ne1 && t->type != GGML_TYPE_F32)) {
        llm_fail(l, "tensor '%s' has type %s, which is not supported%s", name,
                 ggml_type_name(t->type), ne1 ? "" : " for a vector");
        return false;
    }
    return true;
}

struct ggml_tensor *llm_tensor(struct llama_loader *l, const char *base, int layer,
                               int32_t ne0, int32_t ne1, bool optional)
{
    char name[GGUF_NAME_LEN_MAX];
    struct gguf_tensor t;
    if (l->failed)
        return NULL;
    if (layer < 0)
        snprintf(name, sizeof name, "%s.weight", base);
    else
        snprintf(name, sizeof name, "blk.%d.%s.weight", layer, base);

    if (!gguf_find_tensor(l->g, name, &t)) {
        if (!optional)
            llm_fail(l, "missing tensor '%s'", name);
        return NULL;
    }
    if (!llm_check_tensor(l, name, &t, ne0, ne1))
        return NULL;
    struct ggml_tensor *w = ggml_new_tensor_2d(l->m->ctx, t.type, ne0, ne1 ? ne1 : 1);
    w->data = (void *)t.data;                       // in place: read, never written
    l->n_tensors++;
    return ggml_set_name(w, name);
}

static void llm_load_rope_scaling(struct llama_loader *l)
{
    struct llama_hparams *hp = &l->m->hparams;
    char key[LLM_KEY_MAX];
    llm_key(key, l, "rope.scaling.type");
    hp->rope_freq_scale = 1;
    const char *type;
    size_t len;
    if (gguf_str(l->g, key, &type, &len) && !gguf_str_is(l->g, key, "none")) {
        if (!gguf_str_is(l->g, key, "linear")) {
            llm_fail(l, "rope scaling of type '%.*s' is not supported",
                     len > 32 ? 32 : (int)len, type);
            return;
        }
        hp->rope_freq_scale = 1 / llm_float(l, "rope.scaling.factor", 1);
    } else if (llm_has(l, "rope.scale_linear")) {   // the same in older files
        hp->rope_freq_scale = 1 / llm_float(l, "rope.scale_linear", 1);
    }
}

/* What every architecture has. */
static void llm_load_hparams(struct llama_loader *l)
{
    struct llama_hparams *hp = &l->m->hparams;
    hp->n_ctx_train = llm_int(l, "context_length", 1, INT32_MAX, 0);
    hp->n_embd = llm_int(l, "embedding_length", 1, LLAMA_DIM_MAX, 0);
    hp->n_layer = llm_int(l, "block_count", 1, LLAMA_LAYERS_MAX, 0);
    hp->n_ff = llm_int(l, "feed_forward_length", 1, LLAMA_DIM_MAX, 0);
    hp->n_head = llm_int(l, "attention.head_count", 1, 4096, 0);
    hp->n_head_kv = llm_int(l, "attention.head_count_kv", 1, 4096, hp->n_head);
    if (l->failed)
        return;
    int32_t head = hp->n_embd / hp->n_head;
    hp->n_embd_head_k = llm_int(l, "attention.key_length", 1, 65536, head);
    hp->n_embd_head_v = llm_int(l, "attention.value_length", 1, 65536, head);
    hp->n_rot =
        llm_int(l, "rope.dimension_count", 2, hp->n_embd_head_k, hp->n_embd_head_k);
    hp->rope_freq_base = llm_float(l, "rope.freq_base", 10000.0f);
    hp->f_norm_rms_eps = llm_float(l, "attention.layer_norm_rms_epsilon", 0);
    hp->pooling_type = llm_int(l, "pooling_type", -1, LLAMA_POOLING_TYPE_LAST, -1);
    llm_load_rope_scaling(l);
    if (hp->n_head % hp->n_head_kv)
        llm_fail(l, "%d heads cannot share %d key/value heads evenly", (int)hp->n_head,
                 (int)hp->n_head_kv);
    if (hp->n_rot % 2)
        llm_fail(l, "rope.dimension_count %d is odd", (int)hp->n_rot);
    if ((int64_t)hp->n_head * hp->n_embd_head_k > LLAMA_DIM_MAX ||
        (int64_t)hp->n_head * hp->n_embd_head_v > LLAMA_DIM_MAX)
        llm_fail(l, "the attention heads are too wide together");
    if (llm_has(l, "expert_count") && llm_int(l, "expert_count", 0, 65536, 0) > 0)
        llm_fail(l, "mixtures of experts are not supported");
}

/* The vocabulary is as long as the embedding matrix; the tokenizer must agree. */
static void llm_load_n_vocab(struct llama_loader *l)
{
    struct gguf_tensor t;
    struct gguf_array tokens;
    if (l->failed)
        return;
    if (!gguf_find_tensor(l->g, "token_embd.weight", &t)) {
        llm_fail(l, "missing tensor 'token_embd.weight'");
        return;
    }
    if (t.ne[1] > LLAMA_DIM_MAX)
        llm_fail(l, "a vocabulary of %llu tokens is too large",
                 (unsigned long long)t.ne[1]);
    if (gguf_arr(l->g, "tokenizer.ggml.tokens", &tokens) && tokens.n != t.ne[1])
        llm_fail(l, "the tokenizer has %llu tokens, 'token_embd.weight' %llu rows",
                 (unsigned long long)tokens.n, (unsigned long long)t.ne[1]);
    l->m->hparams.n_vocab = (int32_t)t.ne[1];
}

/* A tensor nobody asked for would be ignored, and the answers quietly wrong. */
static void llm_check_all_used(struct llama_loader *l)
{
    if (l->failed || l->n_tensors == l->g->n_tensors)
        return;
    struct llama_model *m = l->m;
    struct gguf_tensor t;
    for (int i = 0; gguf_tensor_at(l->g, i, &t); i++) {
        bool used = (m->rope_freqs && t.data == m->rope_freqs->data) ||
                    t.data == m->tok_embd->data || t.data == m->output->data ||
                    t.data == m->output_norm->data;
        for (int il = 0; il < m->hparams.n_layer && !used; il++) {
            struct ggml_tensor **w = (struct ggml_tensor **)&m->layers[il];
            for (size_t j = 0; j < sizeof(struct llama_layer) / sizeof *w; j++)
                used |= w[j] && w[j]->data == t.data;
        }
        if (!used) {
            llm_fail(l, "tensor '%.*s' is not part of architecture '%s' as known here",
                     (int)t.name_len, t.name, m->arch_name);
            return;
        }
    }
}

/* n_params, size, the type that most of the weights have; from these the description. */
static void llm_describe(struct llama_loader *l)
{
    struct llama_model *m = l->m;
    uint64_t by_type[GGML_TYPE_COUNT] = {0};
    struct gguf_tensor t;
    int best = 0;
    for (int i = 0; gguf_tensor_at(l->g, i, &t); i++) {
        uint64_t n = t.ne[0] * t.ne[1] * t.ne[2] * t.ne[3];
        m->n_params += n;
        m->size += t.size;
        by_type[t.type] += n;
    }
    for (int i = 0; i < GGML_TYPE_COUNT; i++)
        if (by_type[i] > by_type[best])
            best = i;
    snprintf(m->ftype, sizeof m->ftype, "%s", ggml_type_name(best));
    for (char *c = m->ftype; *c && c[0] != '_'; c++)    // "q4_0" is written Q4_0
        if (*c >= 'a' && *c <= 'z')
            *c += 'A' - 'a';

    uint64_t n = m->n_params;
    int unit = n >= 999500000 ? 3 : n >= 999500 ? 2 : n >= 1000 ? 1 : 0;
    static const uint32_t scale[] = {1, 1000, 1000000, 1000000000};
    uint64_t tenths = (n * 10 + scale[unit] / 2) / scale[unit];
    if (unit && tenths < 100)
        snprintf(m->desc, sizeof m->desc, "%s %u.%u%c %s", m->arch_name,
                 (unsigned)(tenths / 10), (unsigned)(tenths % 10), " KMB"[unit],
                 m->ftype);
    else
        snprintf(m->desc, sizeof m->desc, "%s %u%.*s %s", m->arch_name,
                 (unsigned)((tenths + 5) / 10), unit ? 1 : 0, &" KMB"[unit], m->ftype);
}

LINKER_SET_DECLARE(llama_arch, struct llama_arch);
static const struct llama_arch *llm_find_arch(struct llama_loader *l)
{
    const char *name;
    size_t len;
    if (!gguf_str(l->g, "general.architecture", &name, &len)) {
        llm_fail(l, "missing key 'general.architecture'");
        return NULL;
    }
    LINKER_SET_FOREACH(llama_arch, struct llama_arch, a)
        if (strlen(a->name) == len && !memcmp(a->name, name, len))
            return a;
    char known[96] = "";
    size_t n = 0;
    LINKER_SET_FOREACH(llama_arch, struct llama_arch, a)
        if (n < sizeof known)
            n += snprintf(known + n, sizeof known - n, " %s", a->name);
    llm_fail(l, "architecture '%.*s' is not supported; known here:%s",
             len > 32 ? 32 : (int)len, name, known);
    return NULL;
}

static void llm_load(struct llama_loader *l, struct arena *region)
{
    struct llama_model *m = l->m;
    const char *name;
    size_t len;
    m->arch = llm_find_arch(l);
    if (!m->arch)
        return;
    snprintf(m->arch_name, sizeof m->arch_name, "%s", m->arch->name);
    if (gguf_str(l->g, "general.name", &name, &len))
        snprintf(m->name, sizeof m->name, "%.*s", len > 63 ? 63 : (int)len, name);

    llm_load_hparams(l);
    llm_load_n_vocab(l);
    if (l->failed)
        return;
    size_t mem = (l->g->n_tensors + 1) * ggml_tensor_overhead() + 256;
    size_t layers = m->hparams.n_layer * sizeof *m->layers;
    void *buffer = arena_alloc(region, mem, 16);
    m->layers = arena_alloc(region, layers, 16);
    if (!buffer || !m->layers) {
        llm_fail(l, "no memory for %d tensor descriptions", l->g->n_tensors);
        return;
    }
    memset(m->layers, 0, layers);
    m->ctx = ggml_init((struct ggml_init_params){mem, buffer, true});
    m->arch->load(l);
    llm_check_all_used(l);
    llm_describe(l);
}

struct llama_model *llama_model_load(const struct gguf *g, struct arena *region,
                                     char *err, size_t err_cap)
{
    size_t mark = region->used;
    struct llama_model *m = arena_alloc(region, sizeof *m, 16);
    struct llama_loader l = {.g = g, .m = m, .err = err, .err_cap = err_cap};
    if (!m) {
        llm_fail(&l, "no memory for a model");
        return NULL;
    }
    memset(m, 0, sizeof *m);
    m->gguf = g;
    llm_load(&l, region);
    if (!l.failed)
        return m;
    region->used = mark;
    return NULL;
}

/* ---- nbs/llm/13_model.ipynb § The parts ---- */

struct ggml_tensor *llm_build_inp_embd(struct llm_graph *g)
{
    return ggml_set_name(ggml_get_rows(g->ctx, g->model->tok_embd, g->inp_tokens),
                         "inp_embd");
}

struct ggml_tensor *llm_build_norm(struct llm_graph *g, struct ggml_tensor *cur,
                                   struct ggml_tensor *weight, const char *name, int il)
{
    cur = ggml_rms_norm(g->ctx, cur, g->model->hparams.f_norm_rms_eps);
    cur = ggml_mul(g->ctx, cur, weight);
    return il < 0 ? ggml_set_name(cur, name) : ggml_format_name(cur, name, il);
}

struct ggml_tensor *llm_build_rope(struct llm_graph *g, struct ggml_tensor *cur,
                                   int32_t head_dim, int32_t n_head, int mode,
                                   const char *name, int il)
{
    const struct llama_hparams *hp = &g->model->hparams;
    cur = ggml_reshape_3d(g->ctx, cur, head_dim, n_head, g->n_tokens);
    cur = ggml_rope_ext(g->ctx, cur, g->inp_pos, g->model->rope_freqs, hp->n_rot, mode,
                        hp->rope_freq_base, hp->rope_freq_scale);
    return ggml_format_name(cur, name, il);
}

/* Keys and values go into the cache first; attention reads the cache *through* the
 * results of these writes, so that the graph itself keeps the order. */
struct ggml_tensor *llm_build_attn(struct llm_graph *g, struct ggml_tensor *q,
                                   struct ggml_tensor *k, struct ggml_tensor *v,
                                   float scale, int il)
{
    struct ggml_tensor *ck = g->kv->k[il], *cv = g->kv->v[il];
    k = ggml_reshape_2d(g->ctx, k, ck->ne[0], g->n_tokens);
    k = ggml_set_rows(g->ctx, ck, k, g->inp_cells);
    v = ggml_set_rows(g->ctx, cv, v, g->inp_cells);
    struct ggml_tensor *cur = ggml_attn_span(g->ctx, q, k, v, g->inp_span,
                                             g->model->hparams.n_head_kv, scale);
    return ggml_format_name(cur, "kqv_out", il);
}

struct ggml_tensor *llm_build_ffn(struct llm_graph *g, struct ggml_tensor *cur, int il)
{
    const struct llama_layer *layer = &g->model->layers[il];
    struct ggml_tensor *gate = ggml_mul_mat(g->ctx, layer->ffn_gate, cur);
    struct ggml_tensor *up = ggml_mul_mat(g->ctx, layer->ffn_up, cur);
    cur = ggml_swiglu_split(g->ctx, gate, up);
    return ggml_mul_mat(g->ctx, layer->ffn_down, cur);
}

struct ggml_tensor *llm_build_rows(struct llm_graph *g, struct ggml_tensor *cur)
{
    return ggml_get_rows(g->ctx, cur, g->inp_rows);
}

void llm_build_output(struct llm_graph *g, struct ggml_tensor *cur)
{
    cur = llm_build_norm(g, cur, g->model->output_norm, "result_norm", -1);
    g->t_embd = cur;
    ggml_set_output(cur);
    if (g->n_logits == 0)
        return;
    cur = ggml_view_2d(g->ctx, cur, cur->ne[0], g->n_logits, cur->nb[1], 0);
    g->t_logits =
        ggml_set_name(ggml_mul_mat(g->ctx, g->model->output, cur), "result_output");
    ggml_set_output(g->t_logits);
}

/* ---- nbs/llm/13_model.ipynb § A context ---- */

#define LLM_LAYER_TENSORS_MAX 40         // tensors an architecture makes per layer
#define LLM_OTHER_TENSORS_MAX 40         // … and around the layers

struct llama_context {
    struct llama_model *model;
    struct llama_context_params p;
    int32_t n_rows_max;                  // flagged tokens of a decode
    struct ggml_cpu cpu;
    ggml_backend_t backend;
    struct llama_kv_cache kv;
    struct ggml_context *gctx;           // tensors of the current graph
    int32_t graph_size;
    struct llm_graph graph;
    struct ggml_gallocr ga;
    /* the batch on its way in, and which output row belongs to which token */
    int32_t *token, *pos, *cell, *span, *row, *row_of;
    int8_t *flags;
    int32_t n_tokens;
    int32_t *n_used_before;              // (n_seq_max) to undo a refused batch
    float *logits;                       // (n_outputs_max, n_vocab)
    float *embd;                         // (n_rows_max, n_embd)
    float *pooled, *pooled_out;          // (n_seq_max, n_embd) sums; (n_embd)
    int32_t *pooled_n;                   // (n_seq_max) tokens in each
};

int32_t llama_n_ctx(const struct llama_context *c)     { return c->p.n_ctx; }
int32_t llama_n_ctx_seq(const struct llama_context *c) { return c->kv.n_ctx_seq; }
int32_t llama_n_batch(const struct llama_context *c)   { return c->p.n_batch; }
int32_t llama_n_seq_max(const struct llama_context *c) { return c->p.n_seq_max; }
size_t llama_compute_size(const struct llama_context *c) { return c->ga.cap; }

const struct llama_model *llama_get_model(const struct llama_context *c)
{
    return c->model;
}

struct llama_kv_cache *llama_get_memory(struct llama_context *c) { return &c->kv; }

enum llama_pooling_type llama_pooling_type(const struct llama_context *c)
{
    return c->p.pooling;
}

void llama_set_eval_callback(struct llama_context *c,
                             void (*fn)(void *user, const struct ggml_tensor *t),
                             void *user)
{
    c->cpu.on_node = fn;
    c->cpu.user = user;
}

static struct ggml_tensor *llm_input(struct ggml_context *ctx, const char *name,
                                     int32_t ne0, int32_t ne1)
{
    struct ggml_tensor *t = ggml_new_tensor_2d(ctx, GGML_TYPE_I32, ne0, ne1);
    ggml_set_input(t);
    return ggml_set_name(t, name);
}

/* Makes the graph for so many tokens, flagged tokens and logits. */
static void llm_build_graph(struct llama_context *c, int32_t n_tokens, int32_t n_rows,
                            int32_t n_logits)
{
    ggml_reset(c->gctx);
    c->graph = (struct llm_graph){ .model = c->model,
                                   .kv = &c->kv,
                                   .ctx = c->gctx,
                                   .n_tokens = n_tokens,
                                   .n_rows = n_rows,
                                   .n_logits = n_logits };
    struct llm_graph *g = &c->graph;
    g->inp_tokens = llm_input(g->ctx, "inp_tokens", n_tokens, 1);
    g->inp_pos = llm_input(g->ctx, "inp_pos", n_tokens, 1);
    g->inp_cells = llm_input(g->ctx, "inp_cells", n_tokens, 1);
    g->inp_span = llm_input(g->ctx, "inp_span", 2, n_tokens);
    g->inp_rows = llm_input(g->ctx, "inp_rows", n_rows, 1);
    c->model->arch->build(g);
    g->gf = ggml_new_graph(g->ctx, c->graph_size);
    ggml_build_forward_expand(g->gf, g->t_logits ? g->t_logits : g->t_embd);
}

/* The same again? Then the last graph serves; every token of a conversation reuses it. */
static bool llm_prepare_graph(struct llama_context *c, int32_t n_tokens, int32_t n_rows,
                              int32_t n_logits)
{
    const struct llm_graph *g = &c->graph;
    if (g->n_tokens == n_tokens && g->n_rows == n_rows && g->n_logits == n_logits)
        return true;
    llm_build_graph(c, n_tokens, n_rows, n_logits);
    if (ggml_gallocr_alloc_graph(&c->ga, c->graph.gf))
        return true;
    c->graph.n_tokens = 0;
    return false;
}

static void llm_default_params(const struct llama_model *m,
                               struct llama_context_params *p)
{
    if (p->n_seq_max == 0)
        p->n_seq_max = 1;
    if (p->n_batch == 0)
        p->n_batch = 64;
    if (p->n_outputs_max == 0)
        p->n_outputs_max = p->n_seq_max;
    if (p->n_outputs_max > p->n_batch)
        p->n_outputs_max = p->n_batch;
    if (p->pooling == LLAMA_POOLING_TYPE_UNSPECIFIED)
        p->pooling = m->hparams.pooling_type;
    if (p->pooling == LLAMA_POOLING_TYPE_UNSPECIFIED)
        p->pooling = LLAMA_POOLING_TYPE_MEAN;
    if (p->n_ctx == 0 && m->hparams.n_ctx_train <= LLAMA_CELLS_MAX / LLAMA_SEQ_MAX)
        p->n_ctx = m->hparams.n_ctx_train * p->n_seq_max;
}

/* No tensor of a batch may come near the end of 32 bits. */
static bool llm_too_wide(const struct llama_hparams *hp,
                         const struct llama_context_params *p)
{
    int32_t width[] = {hp->n_embd, hp->n_ff, hp->n_head * hp->n_embd_head_k,
                       hp->n_head * hp->n_embd_head_v};
    for (int i = 0; i < 4; i++)
        if ((uint64_t)width[i] * (uint64_t)p->n_batch > 1 << 28)
            return true;
    return (uint64_t)hp->n_vocab * (uint64_t)p->n_outputs_max > 1 << 28;
}

static const char *llm_check_params(const struct llama_hparams *hp,
                                    const struct llama_context_params *p)
{
    if (p->n_seq_max < 1 || p->n_seq_max > LLAMA_SEQ_MAX)
        return "n_seq_max is out of range";
    if (p->n_batch < 1 || p->n_batch > LLAMA_BATCH_MAX)
        return "n_batch is out of range";
    if (p->n_outputs_max < 1)
        return "n_outputs_max is out of range";
    if (p->n_ctx < p->n_seq_max || p->n_ctx > LLAMA_CELLS_MAX)
        return "n_ctx is out of range: at least one cell per sequence";
    if ((p->type_k != GGML_TYPE_F32 && p->type_k != GGML_TYPE_F16) ||
        (p->type_v != GGML_TYPE_F32 && p->type_v != GGML_TYPE_F16))
        return "the cache can be F32 or F16";
    if (p->pooling < 0 || p->pooling > LLAMA_POOLING_TYPE_LAST)
        return "unknown pooling type";
    if (llm_too_wide(hp, p))
        return "n_batch is too large for a model of this width";
    return NULL;
}

static struct llama_kv_params llm_kv_params(const struct llama_model *m,
                                            const struct llama_context_params *p)
{
    const struct llama_hparams *hp = &m->hparams;
    return (struct llama_kv_params){
        .n_seq_max = p->n_seq_max, .n_ctx_seq = p->n_ctx / p->n_seq_max,
        .n_layer = hp->n_layer, .n_embd_k = hp->n_head_kv * hp->n_embd_head_k,
        .n_embd_v = hp->n_head_kv * hp->n_embd_head_v,
        .type_k = p->type_k, .type_v = p->type_v,
    };
}

uint64_t llama_kv_cache_size(const struct llama_model *m, struct llama_context_params p)
{
    llm_default_params(m, &p);
    if (llm_check_params(&m->hparams, &p))
        return 0;
    struct llama_kv_params kp = llm_kv_params(m, &p);
    return llama_kv_size(&kp);
}

/* An array of n elements from the arena; a product beyond 32 bits is refused. */
static void *llm_array(struct arena *a, uint64_t n, size_t size)
{
    return n > (a->cap - a->used) / size ? NULL : arena_alloc(a, (size_t)n * size, 16);
}

static bool llm_alloc_batch(struct llama_context *c, struct arena *a)
{
    uint64_t n = c->p.n_batch, n_seq = c->p.n_seq_max;
    uint64_t n_embd = c->model->hparams.n_embd, n_vocab = c->model->hparams.n_vocab;
    c->token = llm_array(a, n, 4);
    c->pos = llm_array(a, n, 4);
    c->cell = llm_array(a, n, 4);
    c->span = llm_array(a, 2 * n, 4);
    c->row = llm_array(a, n, 4);
    c->row_of = llm_array(a, n, 4);
    c->flags = llm_array(a, n, 1);
    c->n_used_before = llm_array(a, n_seq, 4);
    c->logits = llm_array(a, c->p.n_outputs_max * n_vocab, sizeof(float));
    c->embd = llm_array(a, c->n_rows_max * n_embd, sizeof(float));
    c->pooled = llm_array(a, n_seq * n_embd, sizeof(float));
    c->pooled_out = llm_array(a, n_embd, sizeof(float));
    c->pooled_n = llm_array(a, n_seq, 4);
    if (c->pooled_n)
        memset(c->pooled_n, 0, c->p.n_seq_max * sizeof *c->pooled_n);
    return c->token && c->pos && c->cell && c->span && c->row && c->row_of && c->flags &&
           c->n_used_before && c->logits && c->embd && c->pooled && c->pooled_out &&
           c->pooled_n;
}

static const char *llm_alloc(struct llama_context *c, struct arena *a)
{
    struct llama_kv_params kp = llm_kv_params(c->model, &c->p);
    c->backend = ggml_backend_cpu_init(&c->cpu, a);
    if (!llama_kv_init(&c->kv, &kp, c->backend, a))
        return "the KV cache";
    if (!llm_alloc_batch(c, a))
        return "the outputs";

    c->graph_size =
        c->model->hparams.n_layer * LLM_LAYER_TENSORS_MAX + LLM_OTHER_TENSORS_MAX;
    size_t mem =
        c->graph_size * ggml_tensor_overhead() + ggml_graph_overhead(c->graph_size) + 256;
    void *buffer = arena_alloc(a, mem, 16);
    if (!buffer)
        return "the graph";
    c->gctx = ggml_init((struct ggml_init_params){mem, buffer, true});

    /* The largest graph there can be tells how much room results need. */
    llm_build_graph(c, c->p.n_batch, c->n_rows_max, c->p.n_outputs_max);
    bool placed = ggml_gallocr_alloc_graph(&c->ga, c->graph.gf);
    c->ga.cap = c->ga.peak;
    c->ga.base = placed ? ggml_backend_alloc_buffer(c->backend, c->ga.peak) : NULL;
    if (!c->ga.base || !ggml_backend_graph_reserve(c->backend, c->graph.gf))
        return "the compute buffer";
    if (!ggml_backend_supports_graph(c->backend, c->graph.gf))
        return "an operation the backend has";
    c->graph.n_tokens = 0;               // it was only measured
    return NULL;
}

struct llama_context *llama_init_from_model(struct llama_model *m,
                                            struct llama_context_params p,
                                            struct arena *region,
                                            char *err, size_t err_cap)
{
    llm_default_params(m, &p);
    const char *bad = llm_check_params(&m->hparams, &p);
    if (bad) {
        snprintf(err, err_cap, "%s", bad);
        return NULL;
    }
    p.n_ctx -= p.n_ctx % p.n_seq_max;

    size_t mark = region->used;
    struct llama_context *c = arena_alloc(region, sizeof *c, 16);
    const char *missing = "a context";
    if (c) {
        memset(c, 0, sizeof *c);
        c->model = m;
        c->p = p;
        c->n_rows_max = p.embeddings ? p.n_batch : p.n_outputs_max;
        missing = llm_alloc(c, region);
    }
    if (!missing)
        return c;
    region->used = mark;
    snprintf(err, err_cap,
             "no room for %s: n_ctx %d needs %llu KiB of cache, %llu KiB are left",
             missing, (int)p.n_ctx, (unsigned long long)(llama_kv_cache_size(m, p) >> 10),
             (unsigned long long)((region->cap - mark) >> 10));
    return NULL;
}

/* ---- nbs/llm/13_model.ipynb § Decoding a batch ---- */

/* Checks one token of a batch and gives it a cell. */
static int llm_add_token(struct llama_context *c, const struct llama_batch *b, int i)
{
    int32_t seq = b->seq_id ? b->seq_id[i] : 0;
    if (b->token[i] < 0 || b->token[i] >= c->model->hparams.n_vocab)
        return LLAMA_DECODE_BAD_TOKEN;
    if (seq < 0 || seq >= c->p.n_seq_max)
        return LLAMA_DECODE_BAD_SEQ;
    int32_t last = llama_kv_pos_max(&c->kv, seq), pos = b->pos ? b->pos[i] : last + 1;
    if (pos < 0 || pos == INT32_MAX || (last >= 0 && pos != last + 1))
        return LLAMA_DECODE_BAD_POS;
    int32_t cell = llama_kv_push(&c->kv, seq, pos);
    if (cell < 0)
        return LLAMA_DECODE_NO_SPACE;

    c->token[i] = b->token[i];
    c->pos[i] = pos;
    c->cell[i] = cell;
    c->span[2 * i] = seq * c->kv.n_ctx_seq;            // from the sequence's first cell …
    c->span[2 * i + 1] = c->kv.n_used[seq];             // … up to its own
    return LLAMA_DECODE_OK;
}

/* Output rows: first the tokens whose logits are wanted, then those with only an
 * embedding. Returns how many rows; n_logits gets how many of them have logits. */
static int32_t llm_assign_rows(struct llama_context *c, const struct llama_batch *b,
                               int32_t *n_logits)
{
    int32_t n = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < b->n_tokens; i++) {
            int8_t f = b->logits ? b->logits[i] & 3 : i == b->n_tokens - 1;
            if (pass == 0) {
                c->flags[i] = f;
                c->row_of[i] = -1;
            }
            if (f && (f & LLAMA_OUTPUT_LOGITS) == (pass == 0)) {
                c->row_of[i] = n;
                c->row[n++] = i;
            }
        }
        if (pass == 0)
            *n_logits = n;
    }
    return n;
}

static bool llm_compute(struct llama_context *c, int32_t n_tokens, int32_t n_rows,
                        int32_t n_logits)
{
    if (n_rows == 0)                  // nothing is wanted: the smallest graph has one row
        c->row[0] = 0;
    if (!llm_prepare_graph(c, n_tokens, n_rows ? n_rows : 1, n_logits))
        return false;
    struct llm_graph *g = &c->graph;
    ggml_backend_tensor_set(c->backend, g->inp_tokens, c->token, 0, n_tokens * 4);
    ggml_backend_tensor_set(c->backend, g->inp_pos, c->pos, 0, n_tokens * 4);
    ggml_backend_tensor_set(c->backend, g->inp_cells, c->cell, 0, n_tokens * 4);
    ggml_backend_tensor_set(c->backend, g->inp_span, c->span, 0, n_tokens * 8);
    ggml_backend_tensor_set(c->backend, g->inp_rows, c->row, 0, g->n_rows * 4);
    if (ggml_backend_graph_compute(c->backend, g->gf) != GGML_STATUS_SUCCESS)
        return false;
    if (n_logits)
        ggml_backend_tensor_get(c->backend, g->t_logits, c->logits, 0,
                                ggml_nbytes(g->t_logits));
    if (n_rows)
        ggml_backend_tensor_get(c->backend, g->t_embd, c->embd, 0,
                                ggml_nbytes(g->t_embd));
    return true;
}

/* Adds the embeddings of this batch to those of their sequences, in the order of the
 * batch. */
static void llm_pool(struct llama_context *c)
{
    int32_t n_embd = c->model->hparams.n_embd;
    for (int i = 0; i < c->n_tokens; i++) {
        int32_t seq = c->cell[i] / c->kv.n_ctx_seq;
        if (c->cell[i] % c->kv.n_ctx_seq == 0)
            c->pooled_n[seq] = 0;                       // the sequence begins anew
        if (!(c->flags[i] & LLAMA_OUTPUT_EMBD))
            continue;
        float *sum = c->pooled + (size_t)seq * n_embd;
        const float *x = c->embd + (size_t)c->row_of[i] * n_embd;
        int32_t n = c->pooled_n[seq]++;
        if (c->p.pooling == LLAMA_POOLING_TYPE_CLS && n > 0)
            continue;
        bool add = c->p.pooling == LLAMA_POOLING_TYPE_MEAN && n > 0;
        for (int j = 0; j < n_embd; j++)
            sum[j] = add ? sum[j] + x[j] : x[j];
    }
}

int llama_decode(struct llama_context *c, const struct llama_batch *b)
{
    int32_t n_logits = 0;
    c->n_tokens = 0; // outputs of the last batch are gone
    if (b->n_tokens < 1 || b->n_tokens > c->p.n_batch)
        return LLAMA_DECODE_BAD_BATCH;
    int32_t n_rows = llm_assign_rows(c, b, &n_logits);
    if (n_rows > c->n_rows_max || n_logits > c->p.n_outputs_max)
        return LLAMA_DECODE_BAD_BATCH;

    memcpy(c->n_used_before, c->kv.n_used, c->p.n_seq_max * sizeof *c->kv.n_used);
    int result = LLAMA_DECODE_OK;
    for (int i = 0; i < b->n_tokens && result == LLAMA_DECODE_OK; i++)
        result = llm_add_token(c, b, i);
    if (result == LLAMA_DECODE_OK && !llm_compute(c, b->n_tokens, n_rows, n_logits))
        result = LLAMA_DECODE_FAILED;
    if (result != LLAMA_DECODE_OK) {
        memcpy(c->kv.n_used, c->n_used_before, c->p.n_seq_max * sizeof *c->kv.n_used);
        return result;
    }
    c->n_tokens = b->n_tokens;
    llm_pool(c);
    return LLAMA_DECODE_OK;
}

static int32_t llm_row(const struct llama_context *c, int32_t i, int flag)
{
    if (i < 0)
        i += c->n_tokens;
    return i >= 0 && i < c->n_tokens && (c->flags[i] & flag) ? c->row_of[i] : -1;
}

float *llama_get_logits_ith(struct llama_context *c, int32_t i)
{
    int32_t row = llm_row(c, i, LLAMA_OUTPUT_LOGITS);
    return row < 0 ? NULL : c->logits + (size_t)row * c->model->hparams.n_vocab;
}

float *llama_get_embeddings_ith(struct llama_context *c, int32_t i)
{
    int32_t row = llm_row(c, i, LLAMA_OUTPUT_EMBD);
    return row < 0 ? NULL : c->embd + (size_t)row * c->model->hparams.n_embd;
}

float *llama_get_embeddings_seq(struct llama_context *c, int32_t seq)
{
    if (seq < 0 || seq >= c->p.n_seq_max || c->pooled_n[seq] == 0 ||
        c->p.pooling == LLAMA_POOLING_TYPE_NONE)
        return NULL;
    int32_t n_embd = c->model->hparams.n_embd;
    float inv =
        c->p.pooling == LLAMA_POOLING_TYPE_MEAN ? 1.0f / (float)c->pooled_n[seq] : 1.0f;
    for (int j = 0; j < n_embd; j++)
        c->pooled_out[j] = c->pooled[(size_t)seq * n_embd + j] * inv;
    return c->pooled_out;
}

bool llama_kv_seq_rm(struct llama_context *c, int32_t seq, int32_t p0, int32_t p1)
{
    return llama_kv_rm(&c->kv, seq, p0, p1);
}

bool llama_kv_seq_cp(struct llama_context *c, int32_t src, int32_t dst, int32_t p0,
                     int32_t p1)
{
    return llama_kv_cp(&c->kv, src, dst, p0, p1);
}

int32_t llama_kv_seq_pos_max(const struct llama_context *c, int32_t seq)
{
    return llama_kv_pos_max(&c->kv, seq);
}

int32_t llama_kv_seq_pos_min(const struct llama_context *c, int32_t seq)
{
    return llama_kv_pos_min(&c->kv, seq);
}
