/* quants.h: tangled from nbs/llm/11_quants.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/11_quants.ipynb § Four formats ---- */

/* quants.h: the number formats of tensors, and the dot products over them.
 *
 * F32, F16, Q8_0 and Q4_0 can be stored and multiplied. A row of weights of type T is
 * multiplied with a row of activations of type traits(T)->vec_dot_type (from_float of
 * that type makes one from floats). Every product exists in variants that give the same
 * bits; quants_select() measures them and installs the fastest. vec_dot, gemv and gemm
 * give the same bits for one row and column: no result depends on the batch it is in.
 * Pure, except that the installed choice is one table, written at boot. */
// twin: quants.c cpu.c ggml-type.c
#pragma once
#include "llm/cpu.h"
#include "llm/ggml-type.h"

typedef uint16_t ggml_fp16_t;      // IEEE 754 binary16, as its bits

#define QK8_0 32
typedef struct {
    ggml_fp16_t d;                 // scale
    int8_t qs[QK8_0];              // value i is d * qs[i]
} block_q8_0;

#define QK4_0 32
typedef struct {
    ggml_fp16_t d;                 // scale
    uint8_t qs[QK4_0 / 2];         // value i is d * (low nibble of qs[i] - 8),
} block_q4_0;                      // value i + 16 is d * (high nibble of qs[i] - 8)

_Static_assert(sizeof(block_q8_0) == 2 + QK8_0, "block_q8_0 has padding");
_Static_assert(sizeof(block_q4_0) == 2 + QK4_0 / 2, "block_q4_0 has padding");

float ggml_fp16_to_fp32(ggml_fp16_t h);            // exact
ggml_fp16_t ggml_fp32_to_fp16(float f);            // round to nearest, ties to even

/* Rows of k values, k a multiple of the block size. _ref: ggml's own, bit for bit. */
void quantize_row_q8_0_ref(const float *x, void *y, int64_t k);
void quantize_row_q4_0_ref(const float *x, void *y, int64_t k);
void quantize_row_q8_0(const float *x, void *y, int64_t k);       // same bits, faster
void dequantize_row_q8_0(const void *x, float *y, int64_t k);
void dequantize_row_q4_0(const void *x, float *y, int64_t k);
void ggml_fp16_to_fp32_row(const void *x, float *y, int64_t k);
void ggml_fp32_to_fp16_row(const float *x, void *y, int64_t k);

/* ---- nbs/llm/11_quants.ipynb § Traits and variants ---- */

/* One row of weights x (n values) times one row of activations y: *s = sum x[i] y[i]. */
typedef void (*ggml_vec_dot_t)(int n, float *s, const void *x, const void *y);

/* nrows rows of weights, row_bytes apart, times one row of activations: out[nrows]. */
typedef void (*ggml_gemv_t)(int n, int nrows, const void *w, size_t row_bytes,
                            const void *y, float *out);

typedef void (*ggml_to_float_t)(const void *x, float *y, int64_t k);
typedef void (*ggml_from_float_t)(const float *x, void *y, int64_t k);

struct ggml_type_traits {
    ggml_to_float_t to_float;          // NULL: a type this kernel cannot compute with
    ggml_from_float_t from_float;
    enum ggml_type vec_dot_type;       // what the activations must be converted to
    ggml_vec_dot_t vec_dot;            // of the installed variant …
    ggml_gemv_t gemv;
    const char *variant;               // … and its name
};
const struct ggml_type_traits *ggml_get_type_traits(enum ggml_type type);   // never NULL

/* out[c][r] = W[r] . Y[c]: nrows rows of weights times ncols rows of activations. Weights
 * are read once for all columns. out_stride: floats from one column's results to the
 * next. */
void ggml_gemm(enum ggml_type type, int n, int nrows, const void *w, size_t row_bytes,
               int ncols, const void *y, size_t col_bytes, float *out, size_t out_stride);

/* A variant: one way to multiply rows of one type, and what the CPU must have for it. */
enum quants_role {
    QUANTS_REFERENCE,      // says what the bits are; never chosen by measurement
    QUANTS_SAME_BITS,      // the same bits, faster somewhere
    QUANTS_OTHER_BITS,     // rounds differently: only when asked for by name
};
struct vec_dot_variant {
    enum ggml_type type;
    const char *name;                  // "scalar", "swar", "sse2", "avx" …
    uint32_t needs;                    // cpu_feature mask: cannot run without
    enum quants_role role;
    ggml_vec_dot_t vec_dot;
    ggml_gemv_t gemv;
    float mac_per_us;                  // as last measured; 0: never
};
struct vec_dot_variant *quants_variants(int *n);        // the whole table

/* Multiply-adds per microsecond of one variant, also left in v->mac_per_us. now_us: any
 * clock in microseconds. Takes about `us` longer than the first call does. */
float quants_measure(struct vec_dot_variant *v, uint64_t (*now_us)(void), uint32_t us);

/* Installs the fastest variant of `type` that the CPU has and that keeps the bits. Where
 * only one comes into question nothing is measured. Returns it; NULL: no such type. */
const struct vec_dot_variant *quants_select(enum ggml_type type, uint32_t features,
                                            uint64_t (*now_us)(void), uint32_t budget_us);

/* Installs the variant of that name. false: there is none, or it is not for this CPU. */
bool quants_pin(enum ggml_type type, uint32_t features, const char *name);

/* The kernel's edge (quants_edge.c): for each ggml_type in the bit mask, pins what the
 * configuration key vec_dot names, else selects; the serial log says what was done. */
#define QUANTS_BUDGET_US 150           // per type
void quants_boot(uint32_t types);
