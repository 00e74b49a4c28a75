/* quants.c: tangled from nbs/llm/11_quants.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/11_quants.ipynb § F16 ---- */

/* quants.c: F16, Q8_0 and Q4_0, and every way this kernel knows to multiply their rows.
 *
 * Two rules make all variants of one type give the same bits, except the FMA ones.
 * Floats: value i is added to lane i mod 8, and the eight lanes are summed as a tree.
 * Blocks: the integer sum is exact in any order; after it come the same three roundings,
 *     acc += (float)sum * (d_x * d_y).
 * A body is written once for R rows; the compiler makes its 1-row and R-row versions. */
#include "llm/quants.h"
#include "base/string.h"
#include <immintrin.h>

#define SSE2     __attribute__((target("sse2")))
#define AVX      __attribute__((target("avx")))
#define AVX_F16C __attribute__((target("avx,f16c")))
#define AVX_FMA  __attribute__((target("avx,fma")))
#define AVX2     __attribute__((target("avx2,f16c")))
#define COLD     __attribute__((noinline))
#define INLINE   static inline __attribute__((always_inline))
#define UNROLL   _Pragma("GCC unroll 4")
#define UNROLL8  _Pragma("GCC unroll 8")

INLINE uint32_t f32_bits(float f)
{
    union { float f; uint32_t u; } v = { .f = f };
    return v.u;
}

INLINE float f32_from_bits(uint32_t u)
{
    union { uint32_t u; float f; } v = { .u = u };
    return v.f;
}

/* Widening the exponent from 5 bits to 8 moves its bias from 15 to 127: add 112. */
#define F16_REBIAS (112u << 23)

INLINE float f16_to_f32(ggml_fp16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t u = (uint32_t)(h & 0x7fff) << 13;       // exponent and mantissa in place
    uint32_t exp = h & 0x7c00;
    if (exp == 0)                                // zero or subnormal: mantissa * 2^-24
        u = f32_bits((float)(h & 0x3ff) * 0x1p-24f);
    else
        u += exp == 0x7c00 ? 2 * F16_REBIAS : F16_REBIAS;      // inf, NaN : normal
    return f32_from_bits(sign | u);
}

float ggml_fp16_to_fp32(ggml_fp16_t h) { return f16_to_f32(h); }

/* Round to nearest, ties to even (IEEE 754, 4.3.1). The 13 bits that go decide; a carry
 * out of the mantissa runs into the exponent, out of the largest exponent to infinity. */
ggml_fp16_t ggml_fp32_to_fp16(float f)
{
    uint32_t u = f32_bits(f), a = u & 0x7fffffff;
    uint16_t sign = u >> 16 & 0x8000;

    if (a > 0x7f800000)                              // NaN stays NaN, quiet
        return sign | 0x7e00 | (a >> 13 & 0x3ff);
    if (a >= 0x47800000)                             // 65536 and more
        return sign | 0x7c00;
    if (a < 0x38800000) {                            // below 2^-14: subnormal in F16
        if (a < 0x33000000)                          // below 2^-25: rounds to zero
            return sign;
        uint32_t m = (a & 0x7fffff) | 0x800000, shift = 126 - (a >> 23);
        uint32_t half = 1u << (shift - 1), rest = m & (2 * half - 1);
        uint32_t q = m >> shift;
        return sign | (q + (rest > half || (rest == half && (q & 1))));
    }
    uint32_t q = (a - F16_REBIAS) >> 13, rest = a & 0x1fff;
    return sign | (q + (rest > 0x1000 || (rest == 0x1000 && (q & 1))));
}

/* ---- nbs/llm/11_quants.ipynb § Q8_0 ---- */

/* roundf: to nearest, ties away from zero. Not (int)(v + 0.5f): see the chapter. What
 * does not fit an int8_t (it takes an infinity or a NaN) becomes 0, not undefined. */
INLINE int quants_round(float v)
{
    if (!(v > -128.0f && v < 128.0f))
        return 0;
    int t = (int)v;                                  // towards zero
    float rest = v - (float)t;                       // exact
    return t + (rest >= 0.5f) - (rest <= -0.5f);
}

void quantize_row_q8_0_ref(const float *x, void *vy, int64_t k)
{
    block_q8_0 *y = vy;
    for (int64_t b = 0; b < k / QK8_0; b++, x += QK8_0) {
        float amax = 0;
        for (int i = 0; i < QK8_0; i++)
            amax = __builtin_fabsf(x[i]) > amax ? __builtin_fabsf(x[i]) : amax;
        float d = amax / 127, id = d != 0 ? 1.0f / d : 0;
        y[b].d = ggml_fp32_to_fp16(d);
        for (int i = 0; i < QK8_0; i++)
            y[b].qs[i] = quants_round(x[i] * id);
    }
}

/* ---- nbs/llm/11_quants.ipynb § Q4_0 ---- */

/* The value of largest magnitude becomes -8, the one end of the range that has no mirror
 * image; the scale takes its sign. */
void quantize_row_q4_0_ref(const float *x, void *vy, int64_t k)
{
    block_q4_0 *y = vy;
    for (int64_t b = 0; b < k / QK4_0; b++, x += QK4_0) {
        float amax = 0, max = 0;
        for (int i = 0; i < QK4_0; i++)
            if (__builtin_fabsf(x[i]) > amax) {
                amax = __builtin_fabsf(x[i]);
                max = x[i];
            }
        float d = max / -8, id = d != 0 ? 1.0f / d : 0;
        y[b].d = ggml_fp32_to_fp16(d);
        for (int i = 0; i < QK4_0 / 2; i++) {
            float lo = x[i] * id + 8.5f, hi = x[i + QK4_0 / 2] * id + 8.5f;
            int l = lo > 0 && lo < 16 ? (int)lo : lo >= 16 ? 15 : 0;
            int h = hi > 0 && hi < 16 ? (int)hi : hi >= 16 ? 15 : 0;
            y[b].qs[i] = (uint8_t)(l | h << 4);
        }
    }
}

void dequantize_row_q8_0(const void *vx, float *y, int64_t k)
{
    const block_q8_0 *x = vx;
    for (int64_t b = 0; b < k / QK8_0; b++, y += QK8_0) {
        float d = f16_to_f32(x[b].d);
        for (int i = 0; i < QK8_0; i++)
            y[i] = x[b].qs[i] * d;
    }
}

void dequantize_row_q4_0(const void *vx, float *y, int64_t k)
{
    const block_q4_0 *x = vx;
    for (int64_t b = 0; b < k / QK4_0; b++, y += QK4_0) {
        float d = f16_to_f32(x[b].d);
        for (int i = 0; i < QK4_0 / 2; i++) {
            y[i] = ((x[b].qs[i] & 15) - 8) * d;
            y[i + QK4_0 / 2] = ((x[b].qs[i] >> 4) - 8) * d;
        }
    }
}

void ggml_fp16_to_fp32_row(const void *vx, float *y, int64_t k)
{
    const ggml_fp16_t *x = vx;
    for (int64_t i = 0; i < k; i++)
        y[i] = f16_to_f32(x[i]);
}

void ggml_fp32_to_fp16_row(const float *x, void *vy, int64_t k)
{
    ggml_fp16_t *y = vy;
    for (int64_t i = 0; i < k; i++)
        y[i] = ggml_fp32_to_fp16(x[i]);
}

/* ---- nbs/llm/11_quants.ipynb § The quantiser in the inner loop ---- */

/* quantize_row_q8_0_ref four values at a time. Activations pass here once per matrix. */
SSE2 static __m128i quants_round4(__m128 v)
{
    const __m128 sign = _mm_set1_ps(-0.0f);
    __m128i t = _mm_cvttps_epi32(v);
    __m128 rest = _mm_sub_ps(v, _mm_cvtepi32_ps(t));
    __m128 half = _mm_cmpge_ps(_mm_andnot_ps(sign, rest), _mm_set1_ps(0.5f));
    __m128i s = _mm_srai_epi32(_mm_castps_si128(v), 31);             // 0 or -1
    __m128i one = _mm_or_si128(s, _mm_set1_epi32(1));                // 1 or -1
    __m128i in = _mm_castps_si128(_mm_cmplt_ps(_mm_andnot_ps(sign, v), _mm_set1_ps(128)));
    __m128i step = _mm_and_si128(_mm_castps_si128(half), one);
    return _mm_and_si128(in, _mm_add_epi32(t, step));
}

SSE2 void quantize_row_q8_0(const float *x, void *vy, int64_t k)
{
    block_q8_0 *y = vy;
    for (int64_t b = 0; b < k / QK8_0; b++, x += QK8_0) {
        __m128 m = _mm_setzero_ps();
        for (int i = 0; i < QK8_0; i += 4)
            m = _mm_max_ps(_mm_andnot_ps(_mm_set1_ps(-0.0f), _mm_loadu_ps(x + i)), m);
        m = _mm_max_ps(_mm_movehl_ps(m, m), m);
        m = _mm_max_ss(_mm_shuffle_ps(m, m, 1), m);
        float d = _mm_cvtss_f32(m) / 127, id = d != 0 ? 1.0f / d : 0;
        y[b].d = ggml_fp32_to_fp16(d);
        for (int i = 0; i < QK8_0; i += 16) {
            __m128i q[4];
            for (int j = 0; j < 4; j++)
                q[j] = quants_round4(_mm_mul_ps(_mm_loadu_ps(x + i + 4 * j),
                                                _mm_set1_ps(id)));
            _mm_storeu_si128((__m128i *)(y[b].qs + i),
                             _mm_packs_epi16(_mm_packs_epi32(q[0], q[1]),
                                             _mm_packs_epi32(q[2], q[3])));
        }
    }
}

/* ---- nbs/llm/11_quants.ipynb § Traits and variants ---- */

/* The two functions of variant `v`: a dot product is its body with one row, and a matrix-
 * vector product its body with R rows as long as there are that many, then one by one. */
#define QUANTS_VARIANT(target, v, R)                                                     \
    COLD target static void vec_dot_##v(int n, float *s, const void *x, const void *y)   \
    {                                                                                    \
        rows_##v(1, n, x, 0, y, s);                                                      \
    }                                                                                    \
    target static void gemv_##v(int n, int nrows, const void *w, size_t row_bytes,       \
                                const void *y, float *out)                               \
    {                                                                                    \
        const uint8_t *p = w;                                                            \
        int r = 0;                                                                       \
        for (; r + (R) <= nrows; r += (R))                                               \
            rows_##v(R, n, p + r * row_bytes, row_bytes, y, out + r);                    \
        for (; r < nrows; r++)                                                           \
            vec_dot_##v(n, out + r, p + r * row_bytes, y);                               \
    }

/* ---- nbs/llm/11_quants.ipynb § F32 ---- */

/* Lanes 0..7 to one sum: halves, quarters, eighths. */
INLINE float lanes_sum(const float l[8])
{
    float a = l[0] + l[4], b = l[1] + l[5], c = l[2] + l[6], d = l[3] + l[7];
    return (a + c) + (b + d);
}

INLINE void rows_f32_scalar(int R, int n, const void *w, size_t row_bytes,
                            const float *x, float *out)
{
    (void)R, (void)row_bytes;                                 // one row at a time
    const float *p = w;
    float l[8] = { 0 };
    for (int i = 0; i < n; i++)
        l[i % 8] += p[i] * x[i];
    *out = lanes_sum(l);
}
QUANTS_VARIANT(SSE2, f32_scalar, 1)

/* lo holds lanes 0..3 and hi lanes 4..7. */
SSE2 INLINE float lanes_sum_sse2(__m128 lo, __m128 hi)
{
    __m128 q = _mm_add_ps(lo, hi);                            // a b c d
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));                   // a+c b+d
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_shuffle_ps(q, q, 1)));
}

/* The first k < 4 floats at p, then zeros: adding zeros leaves the other lanes alone. */
SSE2 INLINE __m128 load_part_sse2(const float *p, int k)
{
    __m128 v = k & 1 ? _mm_load_ss(p + (k & 2)) : _mm_setzero_ps();
    return k & 2 ? _mm_loadl_pi(_mm_movelh_ps(v, v), (const __m64 *)p) : v;
}

SSE2 INLINE void rows_f32_sse2(const int R, int n, const void *w, size_t row_bytes,
                               const float *x, float *out)
{
    const float *p[2];
    __m128 lo[2], hi[2];
    UNROLL
    for (int r = 0; r < R; r++) {
        p[r] = (const float *)((const uint8_t *)w + r * row_bytes);
        lo[r] = hi[r] = _mm_setzero_ps();
    }
    int i = 0;
    for (; i + 8 <= n; i += 8) {
        __m128 x0 = _mm_loadu_ps(x + i), x1 = _mm_loadu_ps(x + i + 4);
        UNROLL
        for (int r = 0; r < R; r++) {
            lo[r] = _mm_add_ps(lo[r], _mm_mul_ps(_mm_loadu_ps(p[r] + i), x0));
            hi[r] = _mm_add_ps(hi[r], _mm_mul_ps(_mm_loadu_ps(p[r] + i + 4), x1));
        }
    }
    UNROLL
    for (int r = 0; r < R; r++) {
        int t = i;
        if (n - t >= 4) {
            lo[r] = _mm_add_ps(lo[r], _mm_mul_ps(_mm_loadu_ps(p[r] + t),
                                                 _mm_loadu_ps(x + t)));
            t += 4;
        }
        if (n - t > 0) {
            __m128 v = _mm_mul_ps(load_part_sse2(p[r] + t, n - t),
                                  load_part_sse2(x + t, n - t));
            if (t > i)
                hi[r] = _mm_add_ps(hi[r], v);
            else
                lo[r] = _mm_add_ps(lo[r], v);
        }
        out[r] = lanes_sum_sse2(lo[r], hi[r]);
    }
}
QUANTS_VARIANT(SSE2, f32_sse2, 2)

AVX INLINE float lanes_sum_avx(__m256 l)
{
    return lanes_sum_sse2(_mm256_castps256_ps128(l), _mm256_extractf128_ps(l, 1));
}

/* All ones in the first k of 8 lanes. */
AVX INLINE __m256i mask_avx(int k)
{
    static const int32_t ones[16] = { -1, -1, -1, -1, -1, -1, -1, -1 };
    return _mm256_loadu_si256((const __m256i *)(ones + 8 - k));
}

/* The eight lanes are one register now: four rows fit into the eight that there are. */
#define ROWS_F32_AVX(target, v, MULADD)                                                  \
    target INLINE void rows_##v(const int R, int n, const void *w, size_t row_bytes,     \
                                const float *x, float *out)                              \
    {                                                                                    \
        const float *p[4];                                                               \
        __m256 l[4], xi;                                                                 \
        UNROLL                                                                           \
        for (int r = 0; r < R; r++) {                                                    \
            p[r] = (const float *)((const uint8_t *)w + r * row_bytes);                  \
            l[r] = _mm256_setzero_ps();                                                  \
        }                                                                                \
        int i = 0;                                                                       \
        for (; i + 8 <= n; i += 8) {                                                     \
            xi = _mm256_loadu_ps(x + i);                                                 \
            UNROLL                                                                       \
            for (int r = 0; r < R; r++)                                                  \
                l[r] = MULADD(_mm256_loadu_ps(p[r] + i), xi, l[r]);                      \
        }                                                                                \
        if (i < n) {                                                                     \
            __m256i m = mask_avx(n - i);                                                 \
            xi = _mm256_maskload_ps(x + i, m);                                           \
            UNROLL                                                                       \
            for (int r = 0; r < R; r++)                                                  \
                l[r] = MULADD(_mm256_maskload_ps(p[r] + i, m), xi, l[r]);                \
        }                                                                                \
        UNROLL                                                                           \
        for (int r = 0; r < R; r++)                                                      \
            out[r] = lanes_sum_avx(l[r]);                                                \
    }

#define MULADD_AVX(a, b, c) _mm256_add_ps(_mm256_mul_ps(a, b), c)     // two roundings
ROWS_F32_AVX(AVX, f32_avx, MULADD_AVX)
QUANTS_VARIANT(AVX, f32_avx, 4)
ROWS_F32_AVX(AVX_FMA, f32_fma, _mm256_fmadd_ps)                       // one rounding
QUANTS_VARIANT(AVX_FMA, f32_fma, 4)

/* ---- nbs/llm/11_quants.ipynb § F16 ---- */

INLINE void rows_f16_scalar(int R, int n, const void *w, size_t row_bytes,
                            const float *x, float *out)
{
    (void)R, (void)row_bytes;
    const ggml_fp16_t *p = w;
    float l[8] = { 0 };
    for (int i = 0; i < n; i++)
        l[i % 8] += f16_to_f32(p[i]) * x[i];
    *out = lanes_sum(l);
}
QUANTS_VARIANT(SSE2, f16_scalar, 1)

/* Four F16, each in the low half of a 32-bit lane, to F32. `special`: some exponent among
 * them may be all zeros or all ones, so that the rebias alone is not enough. */
SSE2 INLINE __m128 f16x4_sse2(__m128i h, int special)
{
    __m128i a = _mm_and_si128(h, _mm_set1_epi32(0x7fff));
    __m128i sign = _mm_slli_epi32(_mm_xor_si128(h, a), 16);
    __m128i u = _mm_add_epi32(_mm_slli_epi32(a, 13), _mm_set1_epi32(F16_REBIAS));
    if (special) {
        __m128i sub = _mm_cmplt_epi32(a, _mm_set1_epi32(0x400));
        __m128i inf = _mm_cmpgt_epi32(a, _mm_set1_epi32(0x7bff));
        __m128i tiny = _mm_castps_si128(_mm_mul_ps(_mm_cvtepi32_ps(a),
                                                   _mm_set1_ps(0x1p-24f)));
        u = _mm_add_epi32(u, _mm_and_si128(inf, _mm_set1_epi32(F16_REBIAS)));
        u = _mm_or_si128(_mm_and_si128(sub, tiny), _mm_andnot_si128(sub, u));
    }
    return _mm_castsi128_ps(_mm_or_si128(u, sign));
}

SSE2 INLINE int f16x8_special_sse2(__m128i h)
{
    const __m128i exp = _mm_set1_epi16(0x7c00);
    __m128i e = _mm_and_si128(h, exp);
    return _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi16(e, exp),
                                          _mm_cmpeq_epi16(e, _mm_setzero_si128())));
}

SSE2 INLINE void rows_f16_sse2(const int R, int n, const void *w, size_t row_bytes,
                               const float *x, float *out)
{
    const __m128i zero = _mm_setzero_si128();
    (void)R, (void)row_bytes;
    const ggml_fp16_t *p = w;
    __m128 lo = _mm_setzero_ps(), hi = lo;
    ggml_fp16_t pt[8] = { 0 };
    float xt[8] = { 0 };
    for (int i = 0; i < n; i += 8) {
        const ggml_fp16_t *pi = p + i;
        const float *xi = x + i;
        if (n - i < 8) {                          // a last group, filled up with zeros
            for (int j = 0; j < n - i; j++)
                pt[j] = pi[j], xt[j] = xi[j];
            pi = pt, xi = xt;
        }
        __m128i h = _mm_loadu_si128((const __m128i *)pi);
        __m128i h0 = _mm_unpacklo_epi16(h, zero), h1 = _mm_unpackhi_epi16(h, zero);
        __m128 w0, w1;
        if (__builtin_expect(f16x8_special_sse2(h), 0))
            w0 = f16x4_sse2(h0, 1), w1 = f16x4_sse2(h1, 1);
        else
            w0 = f16x4_sse2(h0, 0), w1 = f16x4_sse2(h1, 0);
        lo = _mm_add_ps(lo, _mm_mul_ps(w0, _mm_loadu_ps(xi)));
        hi = _mm_add_ps(hi, _mm_mul_ps(w1, _mm_loadu_ps(xi + 4)));
    }
    *out = lanes_sum_sse2(lo, hi);
}
QUANTS_VARIANT(SSE2, f16_sse2, 1)

AVX_F16C INLINE void rows_f16_f16c(const int R, int n, const void *w, size_t row_bytes,
                                   const float *x, float *out)
{
    const ggml_fp16_t *p[4];
    __m256 l[4];
    UNROLL
    for (int r = 0; r < R; r++) {
        p[r] = (const ggml_fp16_t *)((const uint8_t *)w + r * row_bytes);
        l[r] = _mm256_setzero_ps();
    }
    int i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 xi = _mm256_loadu_ps(x + i);
        UNROLL
        for (int r = 0; r < R; r++) {
            __m256 wi = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p[r] + i)));
            l[r] = _mm256_add_ps(_mm256_mul_ps(wi, xi), l[r]);
        }
    }
    if (i < n) {
        __m256 xi = _mm256_maskload_ps(x + i, mask_avx(n - i));
        UNROLL
        for (int r = 0; r < R; r++) {
            ggml_fp16_t t[8] = { 0 };
            for (int j = 0; j < n - i; j++)
                t[j] = p[r][i + j];
            __m256 wi = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)t));
            l[r] = _mm256_add_ps(_mm256_mul_ps(wi, xi), l[r]);
        }
    }
    UNROLL
    for (int r = 0; r < R; r++)
        out[r] = lanes_sum_avx(l[r]);
}
QUANTS_VARIANT(AVX_F16C, f16_f16c, 4)

/* ---- nbs/llm/11_quants.ipynb § Blocks of integers ---- */

INLINE void rows_q8_0_scalar(int R, int n, const void *w, size_t row_bytes,
                             const block_q8_0 *y, float *out)
{
    (void)R, (void)row_bytes;
    const block_q8_0 *x = w;
    float acc = 0;
    for (int b = 0; b < n / QK8_0; b++) {
        int sum = 0;
        for (int i = 0; i < QK8_0; i++)
            sum += x[b].qs[i] * y[b].qs[i];
        acc += (float)sum * (f16_to_f32(x[b].d) * f16_to_f32(y[b].d));
    }
    *out = acc;
}
QUANTS_VARIANT(SSE2, q8_0_scalar, 1)

INLINE void rows_q4_0_scalar(int R, int n, const void *w, size_t row_bytes,
                             const block_q8_0 *y, float *out)
{
    (void)R, (void)row_bytes;
    const block_q4_0 *x = w;
    float acc = 0;
    for (int b = 0; b < n / QK4_0; b++) {
        int sum = 0;
        for (int i = 0; i < QK4_0 / 2; i++)
            sum += ((x[b].qs[i] & 15) - 8) * y[b].qs[i]
                 + ((x[b].qs[i] >> 4) - 8) * y[b].qs[i + QK4_0 / 2];
        acc += (float)sum * (f16_to_f32(x[b].d) * f16_to_f32(y[b].d));
    }
    *out = acc;
}
QUANTS_VARIANT(SSE2, q4_0_scalar, 1)

/* acc += (float)sum * (d_x * d_y), for four rows at once. */
SSE2 INLINE __m128 scale_add_sse2(__m128 acc, __m128i sum, __m128 dx, float dy)
{
    return _mm_add_ps(acc, _mm_mul_ps(_mm_cvtepi32_ps(sum),
                                      _mm_mul_ps(dx, _mm_set1_ps(dy))));
}

SSE2 INLINE void scale_add4_sse2(float *out, const int32_t sum[4], const float dx[4],
                                 float dy)
{
    _mm_storeu_ps(out, scale_add_sse2(_mm_loadu_ps(out),
                                      _mm_loadu_si128((const __m128i *)sum),
                                      _mm_loadu_ps(dx), dy));
}

/* ---- nbs/llm/11_quants.ipynb § Two multiplications for the price of one ---- */

INLINE uint32_t load_u32(const void *p)
{
    uint32_t u;
    __builtin_memcpy(&u, p, 4);
    return u;
}

/* Two products in one 32-bit multiplication. With a = a0 + a2 * 2^16, b = b2 + b0 * 2^16,
 *     a * b mod 2^32 = a0 b2  +  (a0 b0 + a2 b2) * 2^16,
 * and the upper half is what we want: at most 2 * 127 * 128, which fits 16 bits. The
 * lower half is signed and may have borrowed from it; adding 2^15 pays that back. */
INLINE int32_t swar_upper(uint32_t p) { return (int32_t)(p + 0x8000u) >> 16; }

/* Activations 4i .. 4i+3 as the two factors b; returns the sum of all 32. */
INLINE int swar_pack(const int8_t *q, uint32_t b[16])
{
    int sum = 0;
    for (int i = 0; i < 8; i++, q += 4) {
        b[2 * i]     = (uint32_t)q[2] + ((uint32_t)q[0] << 16);
        b[2 * i + 1] = (uint32_t)q[3] + ((uint32_t)q[1] << 16);
        sum += q[0] + q[1] + q[2] + q[3];
    }
    return sum;
}

INLINE int swar_dot_q8_0(const int8_t *qs, const uint32_t b[16])
{
    int sum = 0;
    UNROLL8
    for (int i = 0; i < 8; i++) {
        uint32_t v = load_u32(qs + 4 * i) ^ 0x80808080u;         // + 128, each byte
        uint32_t even = (v & 0x00ff00ff) - 0x00800080;           // - 128 again: signed,
        uint32_t odd = (v >> 8 & 0x00ff00ff) - 0x00800080;       //   q0 + q2 * 2^16
        sum += swar_upper(even * b[2 * i]) + swar_upper(odd * b[2 * i + 1]);
    }
    return sum;
}

/* Nibbles are small and not negative: eight products can be added up before the shift
 * (16 * 15 * 127 < 2^15), and their offset of 8 is taken off the whole sum. */
INLINE int swar_dot_q4_0(const uint8_t *qs, const uint32_t b[16], int sum_y)
{
    uint32_t lo = 0, hi = 0;
    UNROLL8
    for (int i = 0; i < 4; i++) {
        uint32_t v = load_u32(qs + 4 * i);
        lo += (v & 0x000f000f) * b[2 * i] + (v >> 8 & 0x000f000f) * b[2 * i + 1];
        v >>= 4;
        hi += (v & 0x000f000f) * b[2 * i + 8] + (v >> 8 & 0x000f000f) * b[2 * i + 9];
    }
    return swar_upper(lo) + swar_upper(hi) - 8 * sum_y;
}

/* An emulator translates code page by page; a jump between two pages costs it a look-up.
 * This alignment, at least the function's size, keeps the loop inside one page. */
#define ONE_PAGE __attribute__((aligned(2048)))

/* The packed activations serve all rows, so here the block is the outer loop. Four rows
 * share the float part. */
#define GEMV_SWAR(v, block, DOT)                                                         \
    ONE_PAGE SSE2 static void gemv_##v(int n, int nrows, const void *w,                  \
                                       size_t row_bytes, const void *vy, float *out)     \
    {                                                                                    \
        const block_q8_0 *y = vy;                                                        \
        uint32_t packed[16];                                                             \
        int32_t s[4];                                                                    \
        float d[4];                                                                      \
        for (int r = 0; r < nrows; r++)                                                  \
            out[r] = 0;                                                                  \
        for (int b = 0; b < n / QK8_0; b++) {                                            \
            int sum_y = swar_pack(y[b].qs, packed);                                      \
            float dy = f16_to_f32(y[b].d);                                               \
            const uint8_t *row = w;                                                      \
            for (int r = 0; r < nrows; r++, row += row_bytes) {                          \
                const block *x = (const block *)row + b;                                 \
                s[r % 4] = DOT;                                                          \
                d[r % 4] = f16_to_f32(x->d);                                             \
                if (r % 4 == 3)                                                          \
                    scale_add4_sse2(out + r - 3, s, d, dy);                              \
            }                                                                            \
            for (int r = nrows & ~3; r < nrows; r++)                                     \
                out[r] += (float)s[r % 4] * (d[r % 4] * dy);                             \
            (void)sum_y;                                                                 \
        }                                                                                \
    }                                                                                    \
    SSE2 static void vec_dot_##v(int n, float *s, const void *x, const void *y)          \
    {                                                                                    \
        gemv_##v(n, 1, x, 0, y, s);                                                      \
    }
GEMV_SWAR(q8_0_swar, block_q8_0, swar_dot_q8_0(x->qs, packed))
GEMV_SWAR(q4_0_swar, block_q4_0, swar_dot_q4_0(x->qs, packed, sum_y))

/* ---- nbs/llm/11_quants.ipynb § With SSE2 ---- */

/* Four registers of four partial sums to one register of four sums. */
SSE2 INLINE __m128i sum4_sse2(__m128i a, __m128i b, __m128i c, __m128i d)
{
    __m128i ab = _mm_add_epi32(_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b));
    __m128i cd = _mm_add_epi32(_mm_unpacklo_epi32(c, d), _mm_unpackhi_epi32(c, d));
    return _mm_add_epi32(_mm_unpacklo_epi64(ab, cd), _mm_unpackhi_epi64(ab, cd));
}

/* Sign-extend the lower or upper 8 bytes: each byte twice, then one shifted out. */
SSE2 INLINE __m128i widen_lo_sse2(__m128i v)
{
    return _mm_srai_epi16(_mm_unpacklo_epi8(v, v), 8);
}

SSE2 INLINE __m128i widen_hi_sse2(__m128i v)
{
    return _mm_srai_epi16(_mm_unpackhi_epi8(v, v), 8);
}

/* 16 bytes times 16 values that are widened already, as four partial sums. */
SSE2 INLINE __m128i dot16_sse2(__m128i x, const __m128i y[2])
{
    return _mm_add_epi32(_mm_madd_epi16(widen_lo_sse2(x), y[0]),
                         _mm_madd_epi16(widen_hi_sse2(x), y[1]));
}

SSE2 INLINE __m128i dot_q8_0_sse2(const block_q8_0 *x, const __m128i y[4])
{
    const __m128i *p = (const __m128i *)x->qs;
    return _mm_add_epi32(dot16_sse2(_mm_loadu_si128(p), y),
                         dot16_sse2(_mm_loadu_si128(p + 1), y + 2));
}

SSE2 INLINE __m128i dot_q4_0_sse2(const block_q4_0 *x, const __m128i y[4])
{
    const __m128i mask = _mm_set1_epi8(15), eight = _mm_set1_epi8(8);
    __m128i v = _mm_loadu_si128((const __m128i *)x->qs);
    __m128i lo = _mm_sub_epi8(_mm_and_si128(v, mask), eight);
    __m128i hi = _mm_sub_epi8(_mm_and_si128(_mm_srli_epi16(v, 4), mask), eight);
    return _mm_add_epi32(dot16_sse2(lo, y), dot16_sse2(hi, y + 2));
}

#define ROWS_BLOCKS_SSE2(v, block, DOT)                                                  \
    SSE2 INLINE void rows_##v(const int R, int n, const void *w, size_t row_bytes,       \
                              const block_q8_0 *y, float *out)                           \
    {                                                                                    \
        const uint8_t *p = w;                                                            \
        __m128 acc = _mm_setzero_ps();                                                   \
        for (int b = 0; b < n / QK8_0; b++) {                                            \
            __m128i s[4], yb[4], q0 = _mm_loadu_si128((const __m128i *)y[b].qs);         \
            __m128i q1 = _mm_loadu_si128((const __m128i *)y[b].qs + 1);                  \
            float d[4];                                                                  \
            yb[0] = widen_lo_sse2(q0), yb[1] = widen_hi_sse2(q0);                        \
            yb[2] = widen_lo_sse2(q1), yb[3] = widen_hi_sse2(q1);                        \
            UNROLL                                                                       \
            for (int r = 0; r < 4; r++) {                                                \
                const block *x = (const block *)(p + r * row_bytes) + b;                 \
                s[r] = r < R ? DOT(x, yb) : _mm_setzero_si128();                         \
                d[r] = r < R ? f16_to_f32(x->d) : 0;                                     \
            }                                                                            \
            acc = scale_add_sse2(acc, sum4_sse2(s[0], s[1], s[2], s[3]),                 \
                                 _mm_loadu_ps(d), f16_to_f32(y[b].d));                   \
        }                                                                                \
        if (R == 4)                                                                      \
            _mm_storeu_ps(out, acc);                                                     \
        else                                                                             \
            _mm_store_ss(out, acc);                                                      \
    }
ROWS_BLOCKS_SSE2(q8_0_sse2, block_q8_0, dot_q8_0_sse2)
QUANTS_VARIANT(SSE2, q8_0_sse2, 4)
ROWS_BLOCKS_SSE2(q4_0_sse2, block_q4_0, dot_q4_0_sse2)
QUANTS_VARIANT(SSE2, q4_0_sse2, 4)

/* ---- nbs/llm/11_quants.ipynb § With AVX2 ---- */

/* vpmaddubsw wants one factor without a sign: |x| * (y with the sign of x). y never holds
 * -128 (the quantiser ends at 127): its sign can turn, and no 16-bit sum saturates. */
AVX2 INLINE __m256i dot_q8_0_avx2(const block_q8_0 *x, __m256i y, __m256i y8)
{
    (void)y8;
    __m256i v = _mm256_loadu_si256((const __m256i *)x->qs);
    __m256i p = _mm256_maddubs_epi16(_mm256_sign_epi8(v, v), _mm256_sign_epi8(y, v));
    return _mm256_madd_epi16(p, _mm256_set1_epi16(1));
}

/* Nibbles have no sign; 8 y, prepared once, takes the offset off. */
AVX2 INLINE __m256i dot_q4_0_avx2(const block_q4_0 *x, __m256i y, __m256i y8)
{
    __m128i v = _mm_loadu_si128((const __m128i *)x->qs);
    __m256i u = _mm256_set_m128i(_mm_srli_epi16(v, 4), v);
    __m256i p = _mm256_maddubs_epi16(_mm256_and_si256(u, _mm256_set1_epi8(15)), y);
    return _mm256_madd_epi16(_mm256_sub_epi16(p, y8), _mm256_set1_epi16(1));
}

AVX2 INLINE __m128i fold_avx2(__m256i v)
{
    return _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
}

#define ROWS_BLOCKS_AVX2(v, block, DOT)                                                  \
    AVX2 INLINE void rows_##v(const int R, int n, const void *w, size_t row_bytes,       \
                              const block_q8_0 *y, float *out)                           \
    {                                                                                    \
        const uint8_t *p = w;                                                            \
        __m128 acc = _mm_setzero_ps();                                                   \
        for (int b = 0; b < n / QK8_0; b++) {                                            \
            __m256i yb = _mm256_loadu_si256((const __m256i *)y[b].qs);                   \
            __m256i y8 = _mm256_maddubs_epi16(_mm256_set1_epi8(8), yb);                  \
            __m128i s[4];                                                                \
            uint32_t d[4];                                                               \
            UNROLL                                                                       \
            for (int r = 0; r < 4; r++) {                                                \
                const block *x = (const block *)(p + r * row_bytes) + b;                 \
                s[r] = r < R ? fold_avx2(DOT(x, yb, y8)) : _mm_setzero_si128();          \
                d[r] = r < R ? x->d : 0;                                                 \
            }                                                                            \
            __m128i half4 = _mm_setr_epi32(d[0] | d[1] << 16, d[2] | d[3] << 16, 0, 0);  \
            acc = scale_add_sse2(acc, sum4_sse2(s[0], s[1], s[2], s[3]),                 \
                                 _mm_cvtph_ps(half4), f16_to_f32(y[b].d));               \
        }                                                                                \
        if (R == 4)                                                                      \
            _mm_storeu_ps(out, acc);                                                     \
        else                                                                             \
            _mm_store_ss(out, acc);                                                      \
    }
ROWS_BLOCKS_AVX2(q8_0_avx2, block_q8_0, dot_q8_0_avx2)
QUANTS_VARIANT(AVX2, q8_0_avx2, 4)
ROWS_BLOCKS_AVX2(q4_0_avx2, block_q4_0, dot_q4_0_avx2)
QUANTS_VARIANT(AVX2, q4_0_avx2, 4)

/* ---- nbs/llm/11_quants.ipynb § The table ---- */

#define V(T, v, name, needs, role)                                                       \
    { GGML_TYPE_##T, name, needs, role, vec_dot_##v, gemv_##v, 0 }

static struct vec_dot_variant quants_table[] = {
    V(F32,  f32_scalar,  "scalar", CPU_SSE2,            QUANTS_REFERENCE),
    V(F32,  f32_sse2,    "sse2",   CPU_SSE2,            QUANTS_SAME_BITS),
    V(F32,  f32_avx,     "avx",    CPU_AVX,             QUANTS_SAME_BITS),
    V(F32,  f32_fma,     "fma",    CPU_AVX | CPU_FMA,   QUANTS_OTHER_BITS),
    V(F16,  f16_scalar,  "scalar", CPU_SSE2,            QUANTS_REFERENCE),
    V(F16,  f16_sse2,    "sse2",   CPU_SSE2,            QUANTS_SAME_BITS),
    V(F16,  f16_f16c,    "f16c",   CPU_AVX | CPU_F16C,  QUANTS_SAME_BITS),
    V(Q8_0, q8_0_scalar, "scalar", CPU_SSE2,            QUANTS_REFERENCE),
    V(Q8_0, q8_0_swar,   "swar",   CPU_SSE2,            QUANTS_SAME_BITS),
    V(Q8_0, q8_0_sse2,   "sse2",   CPU_SSE2,            QUANTS_SAME_BITS),
    V(Q8_0, q8_0_avx2,   "avx2",   CPU_AVX2 | CPU_F16C, QUANTS_SAME_BITS),
    V(Q4_0, q4_0_scalar, "scalar", CPU_SSE2,            QUANTS_REFERENCE),
    V(Q4_0, q4_0_swar,   "swar",   CPU_SSE2,            QUANTS_SAME_BITS),
    V(Q4_0, q4_0_sse2,   "sse2",   CPU_SSE2,            QUANTS_SAME_BITS),
    V(Q4_0, q4_0_avx2,   "avx2",   CPU_AVX2 | CPU_F16C, QUANTS_SAME_BITS),
};
#define QUANTS_VARIANTS ((int)(sizeof(quants_table) / sizeof(quants_table[0])))

struct vec_dot_variant *quants_variants(int *n)
{
    *n = QUANTS_VARIANTS;
    return quants_table;
}

static void f32_copy_row(const float *x, void *y, int64_t k)
{
    for (int64_t i = 0; i < k; i++)
        ((float *)y)[i] = x[i];
}

static void f32_to_f32_row(const void *x, float *y, int64_t k) { f32_copy_row(x, y, k); }

/* What runs before anything was measured: every CPU that boots this kernel has SSE2. */
static struct ggml_type_traits quants_traits[GGML_TYPE_COUNT] = {
    [GGML_TYPE_F32]  = { f32_to_f32_row, f32_copy_row, GGML_TYPE_F32,
                         vec_dot_f32_sse2, gemv_f32_sse2, "sse2" },
    [GGML_TYPE_F16]  = { ggml_fp16_to_fp32_row, ggml_fp32_to_fp16_row, GGML_TYPE_F32,
                         vec_dot_f16_sse2, gemv_f16_sse2, "sse2" },
    [GGML_TYPE_Q8_0] = { dequantize_row_q8_0, quantize_row_q8_0, GGML_TYPE_Q8_0,
                         vec_dot_q8_0_sse2, gemv_q8_0_sse2, "sse2" },
    [GGML_TYPE_Q4_0] = { dequantize_row_q4_0, quantize_row_q4_0_ref, GGML_TYPE_Q8_0,
                         vec_dot_q4_0_sse2, gemv_q4_0_sse2, "sse2" },
};

const struct ggml_type_traits *ggml_get_type_traits(enum ggml_type type)
{
    static const struct ggml_type_traits none;
    return (unsigned)type < GGML_TYPE_COUNT ? &quants_traits[type] : &none;
}

/* ---- nbs/llm/11_quants.ipynb § Many columns ---- */

/* So many rows at a time that they stay in the first-level cache for all the columns. */
#define GEMM_TILE_BYTES 16384

void ggml_gemm(enum ggml_type type, int n, int nrows, const void *w, size_t row_bytes,
               int ncols, const void *y, size_t col_bytes, float *out, size_t out_stride)
{
    ggml_gemv_t gemv = quants_traits[type].gemv;
    int tile = (int)(GEMM_TILE_BYTES / (row_bytes + 1)) & ~3;
    if (ncols == 1)
        tile = nrows;
    else if (tile < 4)
        tile = 4;
    for (int r = 0; r < nrows; r += tile) {
        int rows = nrows - r < tile ? nrows - r : tile;
        const uint8_t *wr = (const uint8_t *)w + r * row_bytes;
        for (int c = 0; c < ncols; c++)
            gemv(n, rows, wr, row_bytes, (const uint8_t *)y + c * col_bytes,
                 out + c * out_stride + r);
    }
}

/* ---- nbs/llm/11_quants.ipynb § Measuring at boot ---- */

enum { MEASURE_N = 128, MEASURE_ROWS = 16, MEASURE_ROUNDS = 3, MEASURE_CALLS_MAX = 4096 };

/* Something to multiply: values of ordinary size, because zeros and infinities take other
 * paths in some processors and in every emulator. */
static void measure_fill(enum ggml_type type, uint8_t *b, int n)
{
    uint32_t seed = 1;
    int bytes = (int)ggml_row_size(type, n), block = (int)ggml_type_size(type);
    for (int i = 0; i < bytes; i++) {
        seed = seed * 1664525 + 1013904223;
        b[i] = seed >> 24 == 0x80 ? 0 : seed >> 24;           // never -128
    }
    for (int i = 0; i < bytes; i += block)
        switch (type) {
        case GGML_TYPE_F32: b[i + 3] = 0x3f, b[i + 2] |= 0x80; break;     // 1 to 2
        case GGML_TYPE_F16: b[i + 1] = 0x3c; break;                       // 1 to 2
        default:            b[i + 1] = 0x2c; break;                       // the scale
        }
}

static uint8_t measure_w[MEASURE_ROWS * MEASURE_N * 4], measure_y[MEASURE_N * 4];
static float measure_out[MEASURE_ROWS];

static void measure_prepare(const struct vec_dot_variant *v)
{
    measure_fill(v->type, measure_w, MEASURE_ROWS * MEASURE_N);
    measure_fill(quants_traits[v->type].vec_dot_type, measure_y, MEASURE_N);
}

static void measure_call(const struct vec_dot_variant *v)
{
    v->gemv(MEASURE_N, MEASURE_ROWS, measure_w, ggml_row_size(v->type, MEASURE_N),
            measure_y, measure_out);
}

/* Runs for about `us`, looking at the clock after 1, 2, 4 ... calls. Keeps the best rate
 * seen: whatever disturbs a measurement only ever makes it slower. */
static void measure_round(struct vec_dot_variant *v, uint64_t (*now_us)(void),
                          uint32_t us)
{
    uint64_t start = now_us(), took = 0;
    int calls = 0;
    for (int more = 1; took < us && calls < MEASURE_CALLS_MAX; more *= 2) {
        for (int i = 0; i < more; i++)
            measure_call(v);
        calls += more;
        took = now_us() - start;
    }
    float macs = (float)calls * (MEASURE_N * MEASURE_ROWS);
    float rate = took ? macs / (float)(uint32_t)took : 0;
    v->mac_per_us = rate > v->mac_per_us ? rate : v->mac_per_us;
}

float quants_measure(struct vec_dot_variant *v, uint64_t (*now_us)(void), uint32_t us)
{
    measure_prepare(v);
    measure_call(v);                     // fill caches; when emulated: translate the code
    v->mac_per_us = 0;
    for (int i = 0; i < MEASURE_ROUNDS; i++)
        measure_round(v, now_us, us / MEASURE_ROUNDS);
    return v->mac_per_us;
}

static void quants_install(const struct vec_dot_variant *v)
{
    struct ggml_type_traits *t = &quants_traits[v->type];
    t->vec_dot = v->vec_dot;
    t->gemv = v->gemv;
    t->variant = v->name;
}

bool quants_pin(enum ggml_type type, uint32_t features, const char *name)
{
    for (int i = 0; i < QUANTS_VARIANTS; i++) {
        struct vec_dot_variant *v = &quants_table[i];
        if (v->type == type && strcmp(v->name, name) == 0 && !(v->needs & ~features)) {
            quants_install(v);
            return true;
        }
    }
    return false;
}

const struct vec_dot_variant *quants_select(enum ggml_type type, uint32_t features,
                                            uint64_t (*now_us)(void), uint32_t budget_us)
{
    struct vec_dot_variant *candidates[QUANTS_VARIANTS], *best = NULL;
    int n = 0;
    for (int i = 0; i < QUANTS_VARIANTS; i++) {
        struct vec_dot_variant *v = &quants_table[i];
        if (v->type == type && v->role == QUANTS_SAME_BITS && !(v->needs & ~features))
            candidates[n++] = v;
    }
    if (n > 1)
        measure_prepare(candidates[0]);
    for (int i = 0; n > 1 && i < n; i++) {
        candidates[i]->mac_per_us = 0;
        measure_call(candidates[i]);
    }
    for (int round = 0; n > 1 && round < MEASURE_ROUNDS; round++)      // take turns
        for (int i = 0; i < n; i++)
            measure_round(candidates[i], now_us, budget_us / (MEASURE_ROUNDS * n));
    for (int i = 0; i < n; i++)
        if (!best || candidates[i]->mac_per_us > best->mac_per_us)
            best = candidates[i];
    if (best)
        quants_install(best);
    return best;
}
