/* ggml-cpu.h: tangled from nbs/llm/12_ggml.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/12_ggml.ipynb § The CPU backend ---- */

/* ggml-cpu.h: the backend that computes graphs on this processor.
 *
 * The state is the caller's; scratch memory comes from the arena given at init, once, in
 * graph_reserve. Dot products are those that quants.h has chosen for this machine. A
 * result row depends only on its own operands, never on how many rows are computed with
 * it. Pure. Called through ggml_backend. */
// twin: ggml-cpu.c ggml.c quants.c ggml-type.c cpu.c fmath.c
#pragma once
#include "llm/ggml.h"

struct ggml_cpu {
    struct ggml_backend backend;
    struct arena *arena;
    uint8_t *work;                 // scratch of one operation
    size_t work_size;
    float *rope_table;             // cos and sin of a batch, kept while nodes share it
    size_t rope_size;              // in floats
    const struct ggml_tensor *rope_node;   // whose parameters the table has; NULL: none
    void (*on_node)(void *user, const struct ggml_tensor *t);   // called after each; NULL
    void *user;
};

ggml_backend_t ggml_backend_cpu_init(struct ggml_cpu *cpu, struct arena *arena);

/* ---- nbs/llm/12_ggml.ipynb § The product ---- */

/* t = mul_mat(a, b) as the definition says: weights as floats, sums in double. row:
 * scratch for a->ne[0] floats. What the fast one is compared with. */
void ggml_mul_mat_ref(struct ggml_tensor *t, float *row);
