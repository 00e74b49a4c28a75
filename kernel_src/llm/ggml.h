/* ggml.h: tangled from nbs/llm/12_ggml.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/12_ggml.ipynb § A tensor is a promise about bytes ---- */

/* ggml.h: tensors, the operations that connect them, and the graph they form.
 *
 * Calling ggml_mul_mat(ctx, a, b) computes nothing: it makes a tensor that remembers what
 * is to be done. ggml_build_forward_expand lists the work in order, ggml_gallocr finds
 * room for the results, and a ggml_backend does it. Shapes, names and conventions are
 * ggml's: dimension 0 is contiguous, strides are bytes. A wrong shape is our own mistake
 * and trips KASSERT; shapes from files are checked by whoever reads the file. Pure.
 * Called by model.c; computed by ggml-cpu.c. */
// twin: ggml.c ggml-type.c
#pragma once
#include "base/memory.h"
#include "llm/ggml-type.h"

#define GGML_MAX_DIMS      4
#define GGML_MAX_SRC       4
#define GGML_MAX_OP_PARAMS 8
#define GGML_MAX_NAME      40
#define GGML_MEM_ALIGN     64      // tensor data: a cache line, two AVX registers

enum ggml_op {
    GGML_OP_NONE,
    GGML_OP_ADD,
    GGML_OP_MUL,
    GGML_OP_SCALE,
    GGML_OP_SILU,
    GGML_OP_SWIGLU,
    GGML_OP_RMS_NORM,
    GGML_OP_SOFT_MAX,
    GGML_OP_ROPE,
    GGML_OP_MUL_MAT,
    GGML_OP_GET_ROWS,
    GGML_OP_SET_ROWS,
    GGML_OP_CPY,
    GGML_OP_CONT,
    GGML_OP_VIEW,
    GGML_OP_RESHAPE,
    GGML_OP_PERMUTE,
    GGML_OP_ATTN_SPAN,
    GGML_OP_COUNT,
};

enum ggml_tensor_flag {
    GGML_TENSOR_FLAG_INPUT  = 1,   // set from outside: placed first, never reused
    GGML_TENSOR_FLAG_OUTPUT = 2,   // read from outside: never reused
};

struct ggml_tensor {
    enum ggml_type type;
    enum ggml_op op;
    int32_t ne[GGML_MAX_DIMS];     // number of elements
    size_t nb[GGML_MAX_DIMS];      // stride in bytes; nb[0] is the size of a block
    int32_t op_params[GGML_MAX_OP_PARAMS];
    int32_t flags;
    struct ggml_tensor *src[GGML_MAX_SRC];
    struct ggml_tensor *view_src;  // a view has no bytes of its own: whose they are …
    size_t view_offs;              // … and where in them it starts
    void *data;
    char name[GGML_MAX_NAME];
};

/* Where tensors (and, unless no_alloc, their data) are made. */
struct ggml_init_params {
    size_t mem_size;
    void *mem_buffer;
    bool no_alloc;
};
struct ggml_context;
struct ggml_context *ggml_init(struct ggml_init_params p);    // NULL: the buffer is tiny
void ggml_reset(struct ggml_context *ctx);                    // forget all its tensors
size_t ggml_used_mem(const struct ggml_context *ctx);
size_t ggml_tensor_overhead(void);                        // bytes a tensor struct takes

struct ggml_tensor *ggml_new_tensor(struct ggml_context *, enum ggml_type, int n_dims,
                                    const int32_t *ne);
struct ggml_tensor *ggml_new_tensor_1d(struct ggml_context *, enum ggml_type,
                                       int32_t ne0);
struct ggml_tensor *ggml_new_tensor_2d(struct ggml_context *, enum ggml_type, int32_t ne0,
                                       int32_t ne1);
struct ggml_tensor *ggml_new_tensor_3d(struct ggml_context *, enum ggml_type, int32_t ne0,
                                       int32_t ne1, int32_t ne2);
struct ggml_tensor *ggml_new_tensor_4d(struct ggml_context *, enum ggml_type, int32_t ne0,
                                       int32_t ne1, int32_t ne2, int32_t ne3);
struct ggml_tensor *ggml_set_name(struct ggml_tensor *, const char *name);
struct ggml_tensor *ggml_format_name(struct ggml_tensor *, const char *name, int layer);
void ggml_set_input(struct ggml_tensor *);
void ggml_set_output(struct ggml_tensor *);

size_t ggml_nbytes(const struct ggml_tensor *);               // first to last byte
int32_t ggml_nrows(const struct ggml_tensor *);
bool ggml_is_contiguous(const struct ggml_tensor *);
bool ggml_are_same_shape(const struct ggml_tensor *, const struct ggml_tensor *);
bool ggml_can_repeat(const struct ggml_tensor *t0, const struct ggml_tensor *t1);
const char *ggml_op_name(enum ggml_op op);

/* ---- nbs/llm/12_ggml.ipynb § The operations ---- */

/* Element-wise. b is repeated to the shape of a where it is smaller. */
struct ggml_tensor *ggml_add(struct ggml_context *, struct ggml_tensor *a,
                             struct ggml_tensor *b);
struct ggml_tensor *ggml_mul(struct ggml_context *, struct ggml_tensor *a,
                             struct ggml_tensor *b);
struct ggml_tensor *ggml_scale(struct ggml_context *, struct ggml_tensor *a, float s);
struct ggml_tensor *ggml_silu(struct ggml_context *, struct ggml_tensor *a);
struct ggml_tensor *ggml_swiglu_split(struct ggml_context *, struct ggml_tensor *gate,
                                      struct ggml_tensor *up);       // silu(gate) * up
/* Row by row. */
struct ggml_tensor *ggml_rms_norm(struct ggml_context *, struct ggml_tensor *a,
                                  float eps);
/* softmax(scale * a + mask); mask: [a->ne[0], >= a->ne[1]], one for all heads, or NULL */
struct ggml_tensor *ggml_soft_max_ext(struct ggml_context *, struct ggml_tensor *a,
                                      struct ggml_tensor *mask, float scale);

/* ---- nbs/llm/12_ggml.ipynb § Matrix times matrix, ggml's way ---- */

/* a: [k, m, x, y], b: [k, n, x*p, y*q] -> [m, n, x*p, y*q]; rows of a and b contiguous */
struct ggml_tensor *ggml_mul_mat(struct ggml_context *, struct ggml_tensor *a,
                                 struct ggml_tensor *b);
/* Rows of a, by number. a: [n, m] of any type, rows: I32 [k] -> F32 [n, k] */
struct ggml_tensor *ggml_get_rows(struct ggml_context *, struct ggml_tensor *a,
                                  struct ggml_tensor *rows);
/* Row i of b goes to row rows[i] of a, converted to a's type; the result views a */
struct ggml_tensor *ggml_set_rows(struct ggml_context *, struct ggml_tensor *a,
                                  struct ggml_tensor *b, struct ggml_tensor *rows);
/* Rotary positions. a: [head_dim, n_head, n_tokens], pos: I32 [n_tokens]; factors: NULL
 * or F32 [n_dims/2].
 * Angle of pair i: pos * freq_scale * freq_base^(-2i/n_dims) / factors[i] */
enum { GGML_ROPE_TYPE_NORMAL = 0, GGML_ROPE_TYPE_NEOX = 2 };
struct ggml_tensor *ggml_rope_ext(struct ggml_context *, struct ggml_tensor *a,
                                  struct ggml_tensor *pos, struct ggml_tensor *factors,
                                  int n_dims, int mode, float freq_base,
                                  float freq_scale);

/* ---- nbs/llm/12_ggml.ipynb § Looking at the same bytes differently ---- */

struct ggml_tensor *ggml_reshape_2d(struct ggml_context *, struct ggml_tensor *a,
                                    int32_t ne0, int32_t ne1);
struct ggml_tensor *ggml_reshape_3d(struct ggml_context *, struct ggml_tensor *a,
                                    int32_t ne0, int32_t ne1, int32_t ne2);
struct ggml_tensor *ggml_view_2d(struct ggml_context *, struct ggml_tensor *a,
                                 int32_t ne0, int32_t ne1, size_t nb1, size_t offset);
struct ggml_tensor *ggml_view_3d(struct ggml_context *, struct ggml_tensor *a,
                                 int32_t ne0, int32_t ne1, int32_t ne2, size_t nb1,
                                 size_t nb2, size_t offset);
struct ggml_tensor *ggml_permute(struct ggml_context *, struct ggml_tensor *a,
                                 int axis0, int axis1, int axis2, int axis3);
struct ggml_tensor *ggml_transpose(struct ggml_context *, struct ggml_tensor *a);
struct ggml_tensor *ggml_cont(struct ggml_context *, struct ggml_tensor *a);
struct ggml_tensor *ggml_cpy(struct ggml_context *, struct ggml_tensor *a,
                             struct ggml_tensor *b);     // into b; the result views b

/* ---- nbs/llm/12_ggml.ipynb § Attention as one operation ---- */

/* Attention. q: F32 [dk, n_head, n_tokens]; k: [dk * n_head_kv, n_cells];
 * v: [dv * n_head_kv, n_cells], F32 or F16; span: I32 [2, n_tokens]: first, count.
 * -> F32 [dv * n_head, n_tokens]: for each token and head, the mean of the values in its
 * span weighted with softmax(scale * q . k). Query head h uses key head h / group. */
struct ggml_tensor *ggml_attn_span(struct ggml_context *, struct ggml_tensor *q,
                                   struct ggml_tensor *k, struct ggml_tensor *v,
                                   struct ggml_tensor *span, int32_t n_head_kv,
                                   float scale);

/* ---- nbs/llm/12_ggml.ipynb § The graph ---- */

struct ggml_alloc_slot {           // what placement knows about one tensor
    int32_t n_children, n_views;   // users left
    size_t offset, size;           // size 0: has no bytes of its own here
};

struct ggml_visit {
    struct ggml_tensor *t;
    int next;                      // its next source to look at
};

struct ggml_cgraph {
    int32_t size;                  // room in nodes and leafs
    int32_t n_nodes, n_leafs;
    struct ggml_tensor **nodes;    // things to compute, in order
    struct ggml_tensor **leafs;    // things that are given: weights, inputs, caches
    uint32_t hash_size;            // a power of two, more than twice `size`
    struct ggml_tensor **hash;     // every tensor met
    struct ggml_alloc_slot *slots; // beside each
    struct ggml_visit *stack;
};
size_t ggml_graph_overhead(int32_t size);       // bytes of context that a graph takes
struct ggml_cgraph *ggml_new_graph(struct ggml_context *, int32_t size);
void ggml_build_forward_expand(struct ggml_cgraph *, struct ggml_tensor *);
struct ggml_tensor *ggml_graph_get_tensor(struct ggml_cgraph *, const char *name);

/* ---- nbs/llm/12_ggml.ipynb § A place for every result ---- */

#define GGML_FREE_BLOCKS_MAX 128

struct ggml_gallocr {
    uint8_t *base;                 // NULL: only measures
    size_t cap;
    size_t peak;                   // bytes the last graph needs
    int n_free;
    struct {
        size_t offset, size;
    } free[GGML_FREE_BLOCKS_MAX];                 // ascending, not touching
};

/* Finds a place for every result and input of the graph. With a base, also sets the data
 * pointers. false: it needs more than cap (peak says how much), or is too fragmented. */
bool ggml_gallocr_alloc_graph(struct ggml_gallocr *, struct ggml_cgraph *);

/* ---- nbs/llm/12_ggml.ipynb § Backends ---- */

enum ggml_status {
    GGML_STATUS_SUCCESS      = 0,
    GGML_STATUS_FAILED       = -1,     // an operation this backend cannot do
    GGML_STATUS_ALLOC_FAILED = -2,     // a larger graph than was reserved for
};

typedef struct ggml_backend *ggml_backend_t;

struct ggml_backend_i {
    const char *name;
    void *(*alloc_buffer)(ggml_backend_t, size_t size);             // NULL: no memory
    void (*set_tensor)(ggml_backend_t, struct ggml_tensor *, const void *data,
                       size_t offset, size_t size);
    void (*get_tensor)(ggml_backend_t, const struct ggml_tensor *, void *data,
                       size_t offset, size_t size);
    bool (*supports_op)(ggml_backend_t, const struct ggml_tensor *op);
    bool (*graph_reserve)(ggml_backend_t, struct ggml_cgraph *);    // false: no memory
    enum ggml_status (*graph_compute)(ggml_backend_t, struct ggml_cgraph *);
};

struct ggml_backend {
    const struct ggml_backend_i *iface;
    void *context;
};

/* The same, with the range checked. */
void *ggml_backend_alloc_buffer(ggml_backend_t, size_t size);
void ggml_backend_tensor_set(ggml_backend_t, struct ggml_tensor *, const void *data,
                             size_t offset, size_t size);
void ggml_backend_tensor_get(ggml_backend_t, const struct ggml_tensor *, void *data,
                             size_t offset, size_t size);
bool ggml_backend_supports_graph(ggml_backend_t, struct ggml_cgraph *);
bool ggml_backend_graph_reserve(ggml_backend_t, struct ggml_cgraph *);
enum ggml_status ggml_backend_graph_compute(ggml_backend_t, struct ggml_cgraph *);
