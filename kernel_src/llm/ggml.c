/* ggml.c: tangled from nbs/llm/12_ggml.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/12_ggml.ipynb § Making one ---- */

/* ggml.c: tensors, graph construction and placement. See ggml.h.
 * Nothing here touches tensor data, except that a backend's buffer is handed out. */
#include "llm/ggml.h"
#include "base/panic.h"
#include "base/stdio.h"
#include "base/string.h"

struct ggml_context {
    struct arena mem;
    size_t start;               // what the context itself takes
    bool no_alloc;
};

struct ggml_context *ggml_init(struct ggml_init_params p)
{
    struct arena a;
    arena_init(&a, p.mem_buffer, p.mem_size);
    struct ggml_context *ctx =
        arena_alloc(&a, sizeof *ctx, _Alignof(struct ggml_context));
    if (!ctx)
        return NULL;
    ctx->mem = a;
    ctx->start = a.used;
    ctx->no_alloc = p.no_alloc;
    return ctx;
}

void ggml_reset(struct ggml_context *ctx)
{
    ctx->mem.used = ctx->start;
}

size_t ggml_used_mem(const struct ggml_context *ctx)
{
    return ctx->mem.used;
}

size_t ggml_tensor_overhead(void)
{
    return sizeof(struct ggml_tensor) + _Alignof(struct ggml_tensor);
}

/* The caller has sized the context for what it makes: a full one is our mistake. */
static void *ggml_ctx_alloc(struct ggml_context *ctx, size_t size, size_t align)
{
    void *p = arena_alloc(&ctx->mem, size, align);
    KASSERT(p && "ggml_context is full");
    return p;
}

static struct ggml_tensor *ggml_new_tensor_impl(struct ggml_context *ctx,
                                                enum ggml_type type, int n_dims,
                                                const int32_t *ne,
                                                struct ggml_tensor *view_src,
                                                size_t view_offs)
{
    KASSERT(n_dims >= 1 && n_dims <= GGML_MAX_DIMS);
    KASSERT(ggml_blck_size(type) > 0 && ne[0] % ggml_blck_size(type) == 0);

    struct ggml_tensor *t = ggml_ctx_alloc(ctx, sizeof *t, _Alignof(struct ggml_tensor));
    memset(t, 0, sizeof *t);
    t->type = type;

    /* Strides of a dense tensor; the running product must stay inside 32 bits. */
    uint64_t step = ggml_type_size(type);
    for (int i = 0; i < GGML_MAX_DIMS; i++) {
        t->ne[i] = i < n_dims ? ne[i] : 1;
        KASSERT(t->ne[i] >= 1);
        t->nb[i] = step;
        step *= i == 0 ? t->ne[0] / ggml_blck_size(type) : t->ne[i];
        KASSERT(step <= INT32_MAX && "tensor larger than the address space");
    }

    if (view_src) {                         // views of views lead to the owner at once
        t->view_offs = view_offs + view_src->view_offs;
        t->view_src = view_src->view_src ? view_src->view_src : view_src;
        if (t->view_src->data)
            t->data = (uint8_t *)t->view_src->data + t->view_offs;
    } else if (!ctx->no_alloc) {
        t->data = ggml_ctx_alloc(ctx, step, GGML_MEM_ALIGN);
    }
    return t;
}

struct ggml_tensor *ggml_new_tensor(struct ggml_context *ctx, enum ggml_type type,
                                    int n_dims, const int32_t *ne)
{
    return ggml_new_tensor_impl(ctx, type, n_dims, ne, NULL, 0);
}

struct ggml_tensor *ggml_new_tensor_4d(struct ggml_context *ctx, enum ggml_type type,
                                       int32_t ne0, int32_t ne1, int32_t ne2, int32_t ne3)
{
    return ggml_new_tensor(ctx, type, 4, (int32_t[]){ne0, ne1, ne2, ne3});
}

struct ggml_tensor *ggml_new_tensor_3d(struct ggml_context *ctx, enum ggml_type type,
                                       int32_t ne0, int32_t ne1, int32_t ne2)
{
    return ggml_new_tensor_4d(ctx, type, ne0, ne1, ne2, 1);
}

struct ggml_tensor *ggml_new_tensor_2d(struct ggml_context *ctx, enum ggml_type type,
                                       int32_t ne0, int32_t ne1)
{
    return ggml_new_tensor_4d(ctx, type, ne0, ne1, 1, 1);
}

struct ggml_tensor *ggml_new_tensor_1d(struct ggml_context *ctx, enum ggml_type type,
                                       int32_t ne0)
{
    return ggml_new_tensor_4d(ctx, type, ne0, 1, 1, 1);
}

struct ggml_tensor *ggml_set_name(struct ggml_tensor *t, const char *name)
{
    snprintf(t->name, sizeof t->name, "%s", name);
    return t;
}

/* "Qcur" of layer 3 is "Qcur-3", as in llama.cpp's own traces. */
struct ggml_tensor *ggml_format_name(struct ggml_tensor *t, const char *name, int layer)
{
    snprintf(t->name, sizeof t->name, "%s-%d", name, layer);
    return t;
}

void ggml_set_input(struct ggml_tensor *t)  { t->flags |= GGML_TENSOR_FLAG_INPUT; }
void ggml_set_output(struct ggml_tensor *t) { t->flags |= GGML_TENSOR_FLAG_OUTPUT; }

size_t ggml_nbytes(const struct ggml_tensor *t)
{
    size_t n = t->ne[0] / ggml_blck_size(t->type) * t->nb[0];
    if (ggml_blck_size(t->type) == 1)           // elements of a row may be apart
        n = ggml_type_size(t->type) + (t->ne[0] - 1) * t->nb[0];
    for (int i = 1; i < GGML_MAX_DIMS; i++)
        n += (t->ne[i] - 1) * t->nb[i];
    return n;
}

int32_t ggml_nrows(const struct ggml_tensor *t)
{
    return t->ne[1] * t->ne[2] * t->ne[3];
}

bool ggml_is_contiguous(const struct ggml_tensor *t)
{
    size_t step = ggml_type_size(t->type);
    for (int i = 0; i < GGML_MAX_DIMS; i++) {
        if (t->ne[i] != 1 && t->nb[i] != step)
            return false;
        step *= i == 0 ? t->ne[0] / ggml_blck_size(t->type) : t->ne[i];
    }
    return true;
}

bool ggml_are_same_shape(const struct ggml_tensor *a, const struct ggml_tensor *b)
{
    return memcmp(a->ne, b->ne, sizeof a->ne) == 0;
}

bool ggml_can_repeat(const struct ggml_tensor *t0, const struct ggml_tensor *t1)
{
    for (int i = 0; i < GGML_MAX_DIMS; i++)
        if (t1->ne[i] % t0->ne[i] != 0)
            return false;
    return true;
}

/* ---- nbs/llm/12_ggml.ipynb § The operations ---- */

static struct ggml_tensor *ggml_result(struct ggml_context *ctx, enum ggml_op op,
                                       const int32_t ne[GGML_MAX_DIMS],
                                       struct ggml_tensor *a, struct ggml_tensor *b)
{
    struct ggml_tensor *t = ggml_new_tensor(ctx, GGML_TYPE_F32, GGML_MAX_DIMS, ne);
    t->op = op;
    t->src[0] = a;
    t->src[1] = b;
    return t;
}

static void ggml_set_op_f32(struct ggml_tensor *t, int i, float value)
{
    memcpy(&t->op_params[i], &value, sizeof value);
}

struct ggml_tensor *ggml_add(struct ggml_context *ctx, struct ggml_tensor *a,
                             struct ggml_tensor *b)
{
    KASSERT(ggml_can_repeat(b, a));
    return ggml_result(ctx, GGML_OP_ADD, a->ne, a, b);
}

struct ggml_tensor *ggml_mul(struct ggml_context *ctx, struct ggml_tensor *a,
                             struct ggml_tensor *b)
{
    KASSERT(ggml_can_repeat(b, a));
    return ggml_result(ctx, GGML_OP_MUL, a->ne, a, b);
}

struct ggml_tensor *ggml_scale(struct ggml_context *ctx, struct ggml_tensor *a, float s)
{
    struct ggml_tensor *t = ggml_result(ctx, GGML_OP_SCALE, a->ne, a, NULL);
    ggml_set_op_f32(t, 0, s);
    return t;
}

struct ggml_tensor *ggml_silu(struct ggml_context *ctx, struct ggml_tensor *a)
{
    return ggml_result(ctx, GGML_OP_SILU, a->ne, a, NULL);
}

struct ggml_tensor *ggml_swiglu_split(struct ggml_context *ctx, struct ggml_tensor *gate,
                                      struct ggml_tensor *up)
{
    KASSERT(ggml_are_same_shape(gate, up));
    return ggml_result(ctx, GGML_OP_SWIGLU, gate->ne, gate, up);
}

struct ggml_tensor *ggml_rms_norm(struct ggml_context *ctx, struct ggml_tensor *a,
                                  float eps)
{
    struct ggml_tensor *t = ggml_result(ctx, GGML_OP_RMS_NORM, a->ne, a, NULL);
    ggml_set_op_f32(t, 0, eps);
    return t;
}

struct ggml_tensor *ggml_soft_max_ext(struct ggml_context *ctx, struct ggml_tensor *a,
                                      struct ggml_tensor *mask, float scale)
{
    if (mask) {
        KASSERT(mask->type == GGML_TYPE_F32 && mask->nb[0] == sizeof(float));
        KASSERT(mask->ne[0] == a->ne[0] && mask->ne[1] >= a->ne[1]);
        KASSERT(mask->ne[2] == 1 && mask->ne[3] == 1);
    }
    struct ggml_tensor *t = ggml_result(ctx, GGML_OP_SOFT_MAX, a->ne, a, mask);
    ggml_set_op_f32(t, 0, scale);
    return t;
}

/* ---- nbs/llm/12_ggml.ipynb § Matrix times matrix, ggml's way ---- */

struct ggml_tensor *ggml_mul_mat(struct ggml_context *ctx, struct ggml_tensor *a,
                                 struct ggml_tensor *b)
{
    KASSERT(a->ne[0] == b->ne[0]);
    KASSERT(b->ne[2] % a->ne[2] == 0 && b->ne[3] % a->ne[3] == 0);
    KASSERT(a->nb[0] == ggml_type_size(a->type));        // not a transposed view
    KASSERT(b->type == GGML_TYPE_F32 && b->nb[0] == sizeof(float));

    const int32_t ne[] = {a->ne[1], b->ne[1], b->ne[2], b->ne[3]};
    return ggml_result(ctx, GGML_OP_MUL_MAT, ne, a, b);
}

struct ggml_tensor *ggml_get_rows(struct ggml_context *ctx, struct ggml_tensor *a,
                                  struct ggml_tensor *rows)
{
    KASSERT(rows->type == GGML_TYPE_I32 && ggml_nrows(rows) == 1);
    KASSERT(a->ne[2] == 1 && a->ne[3] == 1 && a->nb[0] == ggml_type_size(a->type));

    const int32_t ne[] = {a->ne[0], rows->ne[0], 1, 1};
    return ggml_result(ctx, GGML_OP_GET_ROWS, ne, a, rows);
}

static struct ggml_tensor *ggml_view_impl(struct ggml_context *ctx, enum ggml_op op,
                                          struct ggml_tensor *a, int n_dims,
                                          const int32_t *ne, size_t offset)
{
    struct ggml_tensor *t = ggml_new_tensor_impl(ctx, a->type, n_dims, ne, a, offset);
    t->op = op;
    t->src[0] = a;
    return t;
}

struct ggml_tensor *ggml_set_rows(struct ggml_context *ctx, struct ggml_tensor *a,
                                  struct ggml_tensor *b, struct ggml_tensor *rows)
{
    KASSERT(rows->type == GGML_TYPE_I32 && ggml_nrows(rows) == 1);
    KASSERT(a->ne[0] == b->ne[0] && b->ne[1] == rows->ne[0]);
    KASSERT(a->ne[2] == 1 && a->ne[3] == 1 && b->ne[2] == 1 && b->ne[3] == 1);
    KASSERT(b->type == GGML_TYPE_F32 && b->nb[0] == sizeof(float));

    struct ggml_tensor *t = ggml_view_impl(ctx, GGML_OP_SET_ROWS, a, 4, a->ne, 0);
    memcpy(t->nb, a->nb, sizeof t->nb);
    t->src[1] = b;
    t->src[2] = rows;
    return t;
}

struct ggml_tensor *ggml_rope_ext(struct ggml_context *ctx, struct ggml_tensor *a,
                                  struct ggml_tensor *pos, struct ggml_tensor *factors,
                                  int n_dims, int mode, float freq_base, float freq_scale)
{
    KASSERT(a->type == GGML_TYPE_F32 && a->nb[0] == sizeof(float) && a->ne[3] == 1);
    KASSERT(pos->type == GGML_TYPE_I32 && pos->ne[0] == a->ne[2] && ggml_nrows(pos) == 1);
    KASSERT(n_dims >= 2 && n_dims % 2 == 0 && n_dims <= a->ne[0]);
    KASSERT(mode == GGML_ROPE_TYPE_NORMAL || mode == GGML_ROPE_TYPE_NEOX);
    if (factors)
        KASSERT(factors->type == GGML_TYPE_F32 && factors->ne[0] >= n_dims / 2 &&
                factors->nb[0] == sizeof(float));

    struct ggml_tensor *t = ggml_result(ctx, GGML_OP_ROPE, a->ne, a, pos);
    t->src[2] = factors;
    t->op_params[0] = n_dims;
    t->op_params[1] = mode;
    ggml_set_op_f32(t, 2, freq_base);
    ggml_set_op_f32(t, 3, freq_scale);
    return t;
}

/* ---- nbs/llm/12_ggml.ipynb § Looking at the same bytes differently ---- */

static struct ggml_tensor *ggml_reshape(struct ggml_context *ctx, struct ggml_tensor *a,
                                        const int32_t ne[GGML_MAX_DIMS])
{
    KASSERT(ggml_is_contiguous(a));
    struct ggml_tensor *t = ggml_view_impl(ctx, GGML_OP_RESHAPE, a, 4, ne, 0);
    KASSERT(ggml_nbytes(t) == ggml_nbytes(a));
    return t;
}

struct ggml_tensor *ggml_reshape_2d(struct ggml_context *ctx, struct ggml_tensor *a,
                                    int32_t ne0, int32_t ne1)
{
    return ggml_reshape(ctx, a, (int32_t[]){ne0, ne1, 1, 1});
}

struct ggml_tensor *ggml_reshape_3d(struct ggml_context *ctx, struct ggml_tensor *a,
                                    int32_t ne0, int32_t ne1, int32_t ne2)
{
    return ggml_reshape(ctx, a, (int32_t[]){ne0, ne1, ne2, 1});
}

struct ggml_tensor *ggml_view_3d(struct ggml_context *ctx, struct ggml_tensor *a,
                                 int32_t ne0, int32_t ne1, int32_t ne2, size_t nb1,
                                 size_t nb2, size_t offset)
{
    const int32_t ne[] = {ne0, ne1, ne2, 1};
    struct ggml_tensor *t = ggml_view_impl(ctx, GGML_OP_VIEW, a, 4, ne, offset);
    t->nb[0] = a->nb[0];
    t->nb[1] = nb1;
    t->nb[2] = nb2;
    t->nb[3] = nb2 * ne2;
    size_t whole = ggml_nbytes(a);
    KASSERT(offset <= whole && ggml_nbytes(t) <= whole - offset);
    return t;
}

struct ggml_tensor *ggml_view_2d(struct ggml_context *ctx, struct ggml_tensor *a,
                                 int32_t ne0, int32_t ne1, size_t nb1, size_t offset)
{
    return ggml_view_3d(ctx, a, ne0, ne1, 1, nb1, nb1 * ne1, offset);
}

struct ggml_tensor *ggml_permute(struct ggml_context *ctx, struct ggml_tensor *a,
                                 int axis0, int axis1, int axis2, int axis3)
{
    const int axis[] = {axis0, axis1, axis2, axis3};
    int32_t ne[GGML_MAX_DIMS] = {0};
    size_t nb[GGML_MAX_DIMS];
    for (int i = 0; i < GGML_MAX_DIMS; i++) {
        KASSERT(axis[i] >= 0 && axis[i] < GGML_MAX_DIMS && ne[axis[i]] == 0);
        ne[axis[i]] = a->ne[i];
        nb[axis[i]] = a->nb[i];
    }
    KASSERT(ggml_blck_size(a->type) == 1 || axis0 == 0);   // blocks cannot be torn apart

    struct ggml_tensor *t = ggml_view_impl(ctx, GGML_OP_PERMUTE, a, 4, ne, 0);
    memcpy(t->nb, nb, sizeof nb);
    return t;
}

struct ggml_tensor *ggml_transpose(struct ggml_context *ctx, struct ggml_tensor *a)
{
    return ggml_permute(ctx, a, 1, 0, 2, 3);
}

struct ggml_tensor *ggml_cont(struct ggml_context *ctx, struct ggml_tensor *a)
{
    KASSERT(a->type == GGML_TYPE_F32);
    return ggml_result(ctx, GGML_OP_CONT, a->ne, a, NULL);
}

struct ggml_tensor *ggml_cpy(struct ggml_context *ctx, struct ggml_tensor *a,
                             struct ggml_tensor *b)
{
    KASSERT(a->type == GGML_TYPE_F32 && ggml_are_same_shape(a, b));
    KASSERT(b->type == GGML_TYPE_F32 ||
            (a->nb[0] == sizeof(float) && b->nb[0] == ggml_type_size(b->type)));
    struct ggml_tensor *t = ggml_view_impl(ctx, GGML_OP_CPY, b, 4, b->ne, 0);
    memcpy(t->nb, b->nb, sizeof t->nb);
    t->src[1] = a;
    return t;
}

/* ---- nbs/llm/12_ggml.ipynb § Attention as one operation ---- */

struct ggml_tensor *ggml_attn_span(struct ggml_context *ctx, struct ggml_tensor *q,
                                   struct ggml_tensor *k, struct ggml_tensor *v,
                                   struct ggml_tensor *span, int32_t n_head_kv,
                                   float scale)
{
    KASSERT(q->type == GGML_TYPE_F32 && q->nb[0] == sizeof(float) && q->ne[3] == 1);
    KASSERT(n_head_kv > 0 && q->ne[1] % n_head_kv == 0);
    KASSERT(k->ne[0] == q->ne[0] * n_head_kv && v->ne[0] % n_head_kv == 0);
    KASSERT(k->ne[1] == v->ne[1] && ggml_nrows(k) == k->ne[1] &&
            ggml_nrows(v) == v->ne[1]);
    KASSERT(k->nb[0] == ggml_type_size(k->type) && v->nb[0] == ggml_type_size(v->type));
    KASSERT(span->type == GGML_TYPE_I32 && ggml_is_contiguous(span));
    KASSERT(span->ne[0] == 2 && span->ne[1] == q->ne[2]);

    const int32_t ne[] = {v->ne[0] / n_head_kv * q->ne[1], q->ne[2], 1, 1};
    struct ggml_tensor *t = ggml_result(ctx, GGML_OP_ATTN_SPAN, ne, q, k);
    t->src[2] = v;
    t->src[3] = span;
    t->op_params[0] = n_head_kv;
    ggml_set_op_f32(t, 1, scale);
    return t;
}

const char *ggml_op_name(enum ggml_op op)
{
    static const char *const names[] = {
        "NONE", "ADD", "MUL", "SCALE", "SILU", "SWIGLU", "RMS_NORM", "SOFT_MAX", "ROPE",
        "MUL_MAT", "GET_ROWS", "SET_ROWS", "CPY", "CONT", "VIEW", "RESHAPE", "PERMUTE",
        "ATTN_SPAN",
    };
    _Static_assert(sizeof names / sizeof names[0] == GGML_OP_COUNT, "an op has no name");
    return (unsigned)op < GGML_OP_COUNT ? names[op] : "?";
}

/* ---- nbs/llm/12_ggml.ipynb § The graph ---- */

static uint32_t ggml_hash_size(int32_t size)
{
    uint32_t n = 16;
    while (n < 4u * (uint32_t)size)         // nodes and leafs: at most half full
        n *= 2;
    return n;
}

size_t ggml_graph_overhead(int32_t size)
{
    return sizeof(struct ggml_cgraph) +
           size * (2 * sizeof(void *) + sizeof(struct ggml_visit)) +
           ggml_hash_size(size) * (sizeof(void *) + sizeof(struct ggml_alloc_slot)) + 64;
}

struct ggml_cgraph *ggml_new_graph(struct ggml_context *ctx, int32_t size)
{
    KASSERT(size > 0 && size <= 1 << 20);
    struct ggml_cgraph *g = ggml_ctx_alloc(ctx, sizeof *g, 8);
    *g = (struct ggml_cgraph){.size = size, .hash_size = ggml_hash_size(size)};
    g->nodes = ggml_ctx_alloc(ctx, size * sizeof *g->nodes, 8);
    g->leafs = ggml_ctx_alloc(ctx, size * sizeof *g->leafs, 8);
    g->stack = ggml_ctx_alloc(ctx, size * sizeof *g->stack, 8);
    g->hash = ggml_ctx_alloc(ctx, g->hash_size * sizeof *g->hash, 8);
    g->slots = ggml_ctx_alloc(ctx, g->hash_size * sizeof *g->slots, 8);
    memset(g->hash, 0, g->hash_size * sizeof *g->hash);
    return g;
}

/* Index of the tensor in the hash set; a new one is put in. Linear probing ends because
 * the table is never more than half full. */
static uint32_t ggml_hash_index(struct ggml_cgraph *g, struct ggml_tensor *t,
                                bool *is_new)
{
    uint32_t i = (uint32_t)((uintptr_t)t >> 4) * 2654435761u & (g->hash_size - 1);
    while (g->hash[i] && g->hash[i] != t)
        i = (i + 1) & (g->hash_size - 1);
    *is_new = !g->hash[i];
    g->hash[i] = t;
    return i;
}

static void ggml_graph_append(struct ggml_cgraph *g, struct ggml_tensor *t)
{
    bool leaf = t->op == GGML_OP_NONE;
    int32_t *n = leaf ? &g->n_leafs : &g->n_nodes;
    KASSERT(*n < g->size && "graph is full");
    (leaf ? g->leafs : g->nodes)[(*n)++] = t;
}

void ggml_build_forward_expand(struct ggml_cgraph *g, struct ggml_tensor *t)
{
    bool is_new;
    ggml_hash_index(g, t, &is_new);
    if (!is_new)
        return;

    int depth = 0;
    g->stack[depth++] = (struct ggml_visit){.t = t};
    while (depth > 0) {
        struct ggml_visit *top = &g->stack[depth - 1];
        if (top->next == GGML_MAX_SRC) {            // all sources are written down
            ggml_graph_append(g, top->t);
            depth--;
            continue;
        }
        struct ggml_tensor *s = top->t->src[top->next++];
        if (!s)
            continue;
        ggml_hash_index(g, s, &is_new);
        if (is_new) {
            KASSERT(depth < g->size && "graph is full");
            g->stack[depth++] = (struct ggml_visit){.t = s};
        }
    }
}

struct ggml_tensor *ggml_graph_get_tensor(struct ggml_cgraph *g, const char *name)
{
    for (int i = 0; i < g->n_nodes; i++)
        if (!strcmp(g->nodes[i]->name, name))
            return g->nodes[i];
    for (int i = 0; i < g->n_leafs; i++)
        if (!strcmp(g->leafs[i]->name, name))
            return g->leafs[i];
    return NULL;
}

/* ---- nbs/llm/12_ggml.ipynb § A place for every result ---- */

static bool gallocr_take(struct ggml_gallocr *ga, size_t size, size_t *offset)
{
    int best = -1;
    for (int i = 0; i < ga->n_free; i++)
        if (ga->free[i].size >= size &&
            (best < 0 || ga->free[i].size < ga->free[best].size))
            best = i;
    if (best < 0)
        return false;

    *offset = ga->free[best].offset;
    ga->free[best].offset += size;
    ga->free[best].size -= size;
    if (ga->free[best].size == 0) {
        ga->n_free--;
        memmove(&ga->free[best], &ga->free[best + 1],
                (ga->n_free - best) * sizeof ga->free[0]);
    }
    if (*offset + size > ga->peak)
        ga->peak = *offset + size;
    return true;
}

static bool gallocr_give(struct ggml_gallocr *ga, size_t offset, size_t size)
{
    int i = 0;
    while (i < ga->n_free && ga->free[i].offset < offset)
        i++;
    bool left = i > 0 && ga->free[i - 1].offset + ga->free[i - 1].size == offset;
    bool right = i < ga->n_free && offset + size == ga->free[i].offset;
    if (left) {
        ga->free[i - 1].size += size + (right ? ga->free[i].size : 0);
        if (right) {
            ga->n_free--;
            memmove(&ga->free[i], &ga->free[i + 1],
                    (ga->n_free - i) * sizeof ga->free[0]);
        }
    } else if (right) {
        ga->free[i].offset = offset;
        ga->free[i].size += size;
    } else {
        if (ga->n_free == GGML_FREE_BLOCKS_MAX)
            return false;
        memmove(&ga->free[i + 1], &ga->free[i], (ga->n_free - i) * sizeof ga->free[0]);
        ga->free[i].offset = offset;
        ga->free[i].size = size;
        ga->n_free++;
    }
    return true;
}

static struct ggml_alloc_slot *gallocr_slot(struct ggml_cgraph *g, struct ggml_tensor *t)
{
    bool is_new;
    uint32_t i = ggml_hash_index(g, t, &is_new);
    KASSERT(!is_new);
    return &g->slots[i];
}

/* A tensor's bytes: its own, or for a view those of the tensor it looks at. */
static struct ggml_tensor *gallocr_owner(struct ggml_tensor *t)
{
    return t->view_src ? t->view_src : t;
}

static bool gallocr_place(struct ggml_gallocr *ga, struct ggml_cgraph *g,
                          struct ggml_tensor *t)
{
    struct ggml_alloc_slot *s = gallocr_slot(g, t);
    if (t->data || t->view_src || s->size)
        return true;
    s->size = (ggml_nbytes(t) + GGML_MEM_ALIGN - 1) & -(size_t)GGML_MEM_ALIGN;
    return gallocr_take(ga, s->size, &s->offset);
}

/* One user of the tensor has run. */
static bool gallocr_release(struct ggml_gallocr *ga, struct ggml_cgraph *g,
                            struct ggml_tensor *t)
{
    struct ggml_tensor *owner = gallocr_owner(t);
    struct ggml_alloc_slot *s = gallocr_slot(g, t), *o = gallocr_slot(g, owner);
    s->n_children--;
    if (s != o && s->n_children == 0)
        o->n_views--;
    if (o->n_children > 0 || o->n_views > 0 || o->size == 0)
        return true;
    if (owner->flags & (GGML_TENSOR_FLAG_INPUT | GGML_TENSOR_FLAG_OUTPUT))
        return true;
    return gallocr_give(ga, o->offset, o->size);
}

bool ggml_gallocr_alloc_graph(struct ggml_gallocr *ga, struct ggml_cgraph *g)
{
    ga->n_free = 1;
    ga->free[0].offset = 0;
    ga->free[0].size = INT32_MAX & -(size_t)GGML_MEM_ALIGN;
    ga->peak = 0;
    memset(g->slots, 0, g->hash_size * sizeof *g->slots);

    /* Count the users; a view counts as a user of its owner as long as it has users. */
    for (int i = 0; i < g->n_nodes; i++) {
        struct ggml_tensor *t = g->nodes[i];
        if (t->view_src)
            gallocr_slot(g, t->view_src)->n_views++;
        for (int j = 0; j < GGML_MAX_SRC; j++)
            if (t->src[j])
                gallocr_slot(g, t->src[j])->n_children++;
    }

    /* Play the computation through: inputs first, then results as they appear. */
    for (int i = 0; i < g->n_leafs; i++)
        if (!gallocr_place(ga, g, g->leafs[i]))
            return false;
    for (int i = 0; i < g->n_nodes; i++) {
        struct ggml_tensor *t = g->nodes[i];
        if (!gallocr_place(ga, g, t))
            return false;
        for (int j = 0; j < GGML_MAX_SRC; j++)
            if (t->src[j] && !gallocr_release(ga, g, t->src[j]))
                return false;
    }
    if (!ga->base)
        return true;
    if (ga->peak > ga->cap)
        return false;

    for (int i = 0; i < g->n_leafs + g->n_nodes; i++) {
        struct ggml_tensor *t = i < g->n_leafs ? g->leafs[i] : g->nodes[i - g->n_leafs];
        if (gallocr_slot(g, t)->size)
            t->data = ga->base + gallocr_slot(g, t)->offset;
    }
    for (int i = 0; i < g->n_nodes; i++)
        if (g->nodes[i]->view_src)
            g->nodes[i]->data =
                (uint8_t *)g->nodes[i]->view_src->data + g->nodes[i]->view_offs;
    return true;
}

/* ---- nbs/llm/12_ggml.ipynb § Backends ---- */

void *ggml_backend_alloc_buffer(ggml_backend_t b, size_t size)
{
    return b->iface->alloc_buffer(b, size);
}

static void ggml_backend_check(const struct ggml_tensor *t, size_t offset, size_t size)
{
    KASSERT(t->data && "tensor has no place yet");
    KASSERT(offset <= ggml_nbytes(t) && size <= ggml_nbytes(t) - offset);
}

void ggml_backend_tensor_set(ggml_backend_t b, struct ggml_tensor *t, const void *data,
                             size_t offset, size_t size)
{
    ggml_backend_check(t, offset, size);
    b->iface->set_tensor(b, t, data, offset, size);
}

void ggml_backend_tensor_get(ggml_backend_t b, const struct ggml_tensor *t, void *data,
                             size_t offset, size_t size)
{
    ggml_backend_check(t, offset, size);
    b->iface->get_tensor(b, t, data, offset, size);
}

bool ggml_backend_supports_graph(ggml_backend_t b, struct ggml_cgraph *g)
{
    for (int i = 0; i < g->n_nodes; i++)
        if (!b->iface->supports_op(b, g->nodes[i]))
            return false;
    return true;
}

bool ggml_backend_graph_reserve(ggml_backend_t b, struct ggml_cgraph *g)
{
    return b->iface->graph_reserve(b, g);
}

enum ggml_status ggml_backend_graph_compute(ggml_backend_t b, struct ggml_cgraph *g)
{
    return b->iface->graph_compute(b, g);
}
