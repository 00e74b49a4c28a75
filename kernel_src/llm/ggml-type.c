/* ggml-type.c: tangled from nbs/llm/10_gguf.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/10_gguf.ipynb § Element types ---- */

/* ggml-type.c: the table behind ggml-type.h. Sizes as in ggml's own type table. */
#include "llm/ggml-type.h"

#define QK_K 256       // values in a super-block of the k-quants

static const struct { const char *name; uint16_t blck_size, type_size; }
ggml_types[GGML_TYPE_COUNT] = {
    [GGML_TYPE_F32]     = { "f32",     1,    4 },
    [GGML_TYPE_F16]     = { "f16",     1,    2 },
    [GGML_TYPE_Q4_0]    = { "q4_0",    32,   2 + 16 },
    [GGML_TYPE_Q4_1]    = { "q4_1",    32,   2 + 2 + 16 },
    [GGML_TYPE_Q5_0]    = { "q5_0",    32,   2 + 4 + 16 },
    [GGML_TYPE_Q5_1]    = { "q5_1",    32,   2 + 2 + 4 + 16 },
    [GGML_TYPE_Q8_0]    = { "q8_0",    32,   2 + 32 },
    [GGML_TYPE_Q8_1]    = { "q8_1",    32,   2 + 2 + 32 },
    [GGML_TYPE_Q2_K]    = { "q2_K",    QK_K, 2 + 2 + QK_K / 16 + QK_K / 4 },
    [GGML_TYPE_Q3_K]    = { "q3_K",    QK_K, 2 + QK_K / 4 + QK_K / 8 + 12 },
    [GGML_TYPE_Q4_K]    = { "q4_K",    QK_K, 2 + 2 + QK_K / 2 + 12 },
    [GGML_TYPE_Q5_K]    = { "q5_K",    QK_K, 2 + 2 + QK_K / 2 + QK_K / 8 + 12 },
    [GGML_TYPE_Q6_K]    = { "q6_K",    QK_K, 2 + QK_K / 2 + QK_K / 4 + QK_K / 16 },
    [GGML_TYPE_Q8_K]    = { "q8_K",    QK_K, 4 + QK_K + QK_K / 8 },
    [GGML_TYPE_IQ2_XXS] = { "iq2_xxs", QK_K, 2 + QK_K / 4 },
    [GGML_TYPE_IQ2_XS]  = { "iq2_xs",  QK_K, 2 + QK_K / 4 + QK_K / 32 },
    [GGML_TYPE_IQ3_XXS] = { "iq3_xxs", QK_K, 2 + QK_K / 4 + QK_K / 8 },
    [GGML_TYPE_IQ1_S]   = { "iq1_s",   QK_K, 2 + QK_K / 8 + QK_K / 16 },
    [GGML_TYPE_IQ4_NL]  = { "iq4_nl",  32,   2 + 16 },
    [GGML_TYPE_IQ3_S]   = { "iq3_s",   QK_K, 2 + QK_K / 4 + QK_K / 8 + QK_K / 32 + 4 },
    [GGML_TYPE_IQ2_S]   = { "iq2_s",   QK_K, 2 + QK_K / 4 + QK_K / 16 },
    [GGML_TYPE_IQ4_XS]  = { "iq4_xs",  QK_K, 2 + 2 + QK_K / 2 + QK_K / 64 },
    [GGML_TYPE_I8]      = { "i8",      1,    1 },
    [GGML_TYPE_I16]     = { "i16",     1,    2 },
    [GGML_TYPE_I32]     = { "i32",     1,    4 },
    [GGML_TYPE_I64]     = { "i64",     1,    8 },
    [GGML_TYPE_F64]     = { "f64",     1,    8 },
    [GGML_TYPE_IQ1_M]   = { "iq1_m",   QK_K, QK_K / 8 + QK_K / 16 + QK_K / 32 },
    [GGML_TYPE_BF16]    = { "bf16",    1,    2 },
    [GGML_TYPE_TQ1_0]   = { "tq1_0",   QK_K, 2 + 4 * 13 },
    [GGML_TYPE_TQ2_0]   = { "tq2_0",   QK_K, 2 + QK_K / 4 },
    [GGML_TYPE_MXFP4]   = { "mxfp4",   32,   1 + 16 },
    [GGML_TYPE_NVFP4]   = { "nvfp4",   64,   4 + 32 },
    [GGML_TYPE_Q1_0]    = { "q1_0",    128,  2 + 16 },
};

/* The cast lets a number read from a file be asked about without being trusted first. */
static bool ggml_type_known(enum ggml_type type)
{
    return (unsigned)type < GGML_TYPE_COUNT && ggml_types[type].name;
}

const char *ggml_type_name(enum ggml_type type)
{
    return ggml_type_known(type) ? ggml_types[type].name : NULL;
}

int ggml_blck_size(enum ggml_type type)
{
    return ggml_type_known(type) ? ggml_types[type].blck_size : 0;
}

size_t ggml_type_size(enum ggml_type type)
{
    return ggml_type_known(type) ? ggml_types[type].type_size : 0;
}

/* For sizes that are already known to fit; `ne` is a multiple of the block size. */
size_t ggml_row_size(enum ggml_type type, int64_t ne)
{
    return ggml_type_known(type)
        ? (size_t)ne / ggml_types[type].blck_size * ggml_types[type].type_size : 0;
}
