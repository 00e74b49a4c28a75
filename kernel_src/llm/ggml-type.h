/* ggml-type.h: tangled from nbs/llm/10_gguf.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/10_gguf.ipynb § Element types ---- */

/* ggml-type.h: the element types a GGUF file can name, with ggml's own numbers.
 *
 * A tensor row is a whole number of blocks; a block holds `blck_size` values in
 * `type_size` bytes. Every type that ggml has is listed, also those this kernel cannot
 * multiply, so that an unsupported one is refused by its name and not by a number.
 * Pure data, no state. Used by gguf.c (sizes of tensors) and by everything above it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ggml_type {
    GGML_TYPE_F32     = 0,
    GGML_TYPE_F16     = 1,
    GGML_TYPE_Q4_0    = 2,
    GGML_TYPE_Q4_1    = 3,
    GGML_TYPE_Q5_0    = 6,
    GGML_TYPE_Q5_1    = 7,
    GGML_TYPE_Q8_0    = 8,
    GGML_TYPE_Q8_1    = 9,
    GGML_TYPE_Q2_K    = 10,
    GGML_TYPE_Q3_K    = 11,
    GGML_TYPE_Q4_K    = 12,
    GGML_TYPE_Q5_K    = 13,
    GGML_TYPE_Q6_K    = 14,
    GGML_TYPE_Q8_K    = 15,
    GGML_TYPE_IQ2_XXS = 16,
    GGML_TYPE_IQ2_XS  = 17,
    GGML_TYPE_IQ3_XXS = 18,
    GGML_TYPE_IQ1_S   = 19,
    GGML_TYPE_IQ4_NL  = 20,
    GGML_TYPE_IQ3_S   = 21,
    GGML_TYPE_IQ2_S   = 22,
    GGML_TYPE_IQ4_XS  = 23,
    GGML_TYPE_I8      = 24,
    GGML_TYPE_I16     = 25,
    GGML_TYPE_I32     = 26,
    GGML_TYPE_I64     = 27,
    GGML_TYPE_F64     = 28,
    GGML_TYPE_IQ1_M   = 29,
    GGML_TYPE_BF16    = 30,
    GGML_TYPE_TQ1_0   = 34,
    GGML_TYPE_TQ2_0   = 35,
    GGML_TYPE_MXFP4   = 39,
    GGML_TYPE_NVFP4   = 40,
    GGML_TYPE_Q1_0    = 41,
    GGML_TYPE_COUNT   = 42,
};

const char *ggml_type_name(enum ggml_type type);   // "f32", "q4_K"; NULL: no such type
int ggml_blck_size(enum ggml_type type);           // values in a block; 0: no such type
size_t ggml_type_size(enum ggml_type type);        // bytes in a block; 0: no such type
size_t ggml_row_size(enum ggml_type type, int64_t ne);   // bytes of `ne` values
