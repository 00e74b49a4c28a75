/* ggml-cpu.c: tangled from nbs/llm/12_ggml.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/12_ggml.ipynb § The CPU backend ---- */

/* ggml-cpu.c: every operation of ggml.h on the CPU. See ggml-cpu.h.
 * Loops are written for reading, except the two that take the time: mul_mat, which hands
 * whole matrices to quants.c, and attn_span. */
#include "llm/ggml-cpu.h"
#include "base/fmath.h"
#include "base/panic.h"
#include "base/string.h"
#include "llm/quants.h"

#include <emmintrin.h>

static float op_f32(const struct ggml_tensor *t, int i)
{
    float f;
    memcpy(&f, &t->op_params[i], sizeof f);
    return f;
}

/* The element (or block) at these indices. */
static void *at(const struct ggml_tensor *t, int i0, int i1, int i2, int i3)
{
    return (uint8_t *)t->data + i0 * t->nb[0] + i1 * t->nb[1] + i2 * t->nb[2] +
           i3 * t->nb[3];
}

/* Visits every row of t. */
#define FOR_ROWS(t, i1, i2, i3)                     \
    for (int i3 = 0; i3 < (t)->ne[3]; i3++)         \
        for (int i2 = 0; i2 < (t)->ne[2]; i2++)     \
            for (int i1 = 0; i1 < (t)->ne[1]; i1++)

/* ---- nbs/llm/12_ggml.ipynb § Element by element ---- */

static void add_row(int n, float *y, const float *a, const float *b)
{
    int i = 0;
    for (; i + 4 <= n; i += 4)
        _mm_storeu_ps(y + i, _mm_add_ps(_mm_loadu_ps(a + i), _mm_loadu_ps(b + i)));
    for (; i < n; i++)
        y[i] = a[i] + b[i];
}

static void mul_row(int n, float *y, const float *a, const float *b)
{
    int i = 0;
    for (; i + 4 <= n; i += 4)
        _mm_storeu_ps(y + i, _mm_mul_ps(_mm_loadu_ps(a + i), _mm_loadu_ps(b + i)));
    for (; i < n; i++)
        y[i] = a[i] * b[i];
}

static void cpu_binary(struct ggml_tensor *t,
                       void (*row)(int n, float *y, const float *a, const float *b))
{
    const struct ggml_tensor *a = t->src[0], *b = t->src[1];
    bool dense = a->nb[0] == sizeof(float) && b->nb[0] == sizeof(float);
    int nb0 = b->ne[0];
    FOR_ROWS(t, i1, i2, i3) {
        float *y = at(t, 0, i1, i2, i3);
        int b1 = i1 % b->ne[1], b2 = i2 % b->ne[2], b3 = i3 % b->ne[3];
        if (dense && nb0 == t->ne[0]) {
            row(nb0, y, at(a, 0, i1, i2, i3), at(b, 0, b1, b2, b3));
            continue;
        }
        for (int i0 = 0; i0 < t->ne[0]; i0++)
            row(1, y + i0, at(a, i0, i1, i2, i3), at(b, i0 % nb0, b1, b2, b3));
    }
}

static void cpu_add(struct ggml_cpu *c, struct ggml_tensor *t)
{
    (void)c;
    cpu_binary(t, add_row);
}

static void cpu_mul(struct ggml_cpu *c, struct ggml_tensor *t)
{
    (void)c;
    cpu_binary(t, mul_row);
}

static void cpu_scale(struct ggml_cpu *c, struct ggml_tensor *t)
{
    (void)c;
    float s = op_f32(t, 0);
    FOR_ROWS(t, i1, i2, i3)
        for (int i0 = 0; i0 < t->ne[0]; i0++)
            *(float *)at(t, i0, i1, i2, i3) = *(float *)at(t->src[0], i0, i1, i2, i3) * s;
}

/* ---- nbs/llm/12_ggml.ipynb § The exponential, four at a time ---- */

#define LOG2_E 1.44269504f

/* 2^t in each lane for t up to 127; far below zero it is nearly zero. */
static __m128 exp2_ps(__m128 t)
{
    const __m128 magic = _mm_set1_ps(12582912.0f);                 // 1.5 * 2^23
    t = _mm_max_ps(t, _mm_set1_ps(-126.0f));
    __m128 biased = _mm_add_ps(t, magic);                          // low bits: round(t)
    __m128 r = _mm_sub_ps(t, _mm_sub_ps(biased, magic));           // -1/2 … 1/2
    __m128 p = _mm_set1_ps(0.00132647273f);
    p = _mm_add_ps(_mm_mul_ps(p, r), _mm_set1_ps(0.00967151279f));
    p = _mm_add_ps(_mm_mul_ps(p, r), _mm_set1_ps(0.0555073374f));
    p = _mm_add_ps(_mm_mul_ps(p, r), _mm_set1_ps(0.240222421f));
    p = _mm_add_ps(_mm_mul_ps(p, r), _mm_set1_ps(0.693146978f));
    p = _mm_add_ps(_mm_mul_ps(p, r), _mm_set1_ps(1.0f));
    __m128i n = _mm_slli_epi32(_mm_castps_si128(biased), 23);      // into the exponent
    return _mm_castsi128_ps(_mm_add_epi32(_mm_castps_si128(p), n));
}

/* The first n < 4 floats at p; the other lanes are zero. And back. */
static __m128 load_part(int n, const float *p)
{
    float v[4] = {0};
    for (int i = 0; i < n; i++)
        v[i] = p[i];
    return _mm_loadu_ps(v);
}

static void store_part(int n, float *p, __m128 x)
{
    float v[4];
    _mm_storeu_ps(v, x);
    for (int i = 0; i < n; i++)
        p[i] = v[i];
}

static __m128 silu_ps(__m128 x)
{
    __m128 t = _mm_mul_ps(x, _mm_set1_ps(-LOG2_E));
    __m128 e = exp2_ps(_mm_min_ps(t, _mm_set1_ps(127.0f)));        // e^-x
    return _mm_div_ps(x, _mm_add_ps(_mm_set1_ps(1.0f), e));
}

/* y = silu(a) * b, or silu(a) where b is NULL. An element's result is the same bits
 * wherever in a row it stands. */
static void silu_row(int n, float *y, const float *a, const float *b)
{
    for (int i = 0; i < n; i += 4) {
        if (n - i < 4) {
            __m128 v = silu_ps(load_part(n - i, a + i));
            store_part(n - i, y + i, b ? _mm_mul_ps(v, load_part(n - i, b + i)) : v);
            break;
        }
        __m128 v = silu_ps(_mm_loadu_ps(a + i));
        _mm_storeu_ps(y + i, b ? _mm_mul_ps(v, _mm_loadu_ps(b + i)) : v);
    }
}

/* SILU and SWIGLU */
static void cpu_silu(struct ggml_cpu *c, struct ggml_tensor *t)
{
    (void)c;
    FOR_ROWS(t, i1, i2, i3)
        silu_row(t->ne[0], at(t, 0, i1, i2, i3), at(t->src[0], 0, i1, i2, i3),
                 t->src[1] ? at(t->src[1], 0, i1, i2, i3) : NULL);
}

/* ---- nbs/llm/12_ggml.ipynb § Row by row ---- */

static double sum_squares(int n, const float *x)
{
    double sum = 0;
    for (int i = 0; i < n; i += 64) {
        int end = n - i < 64 ? n : i + 64, j = i;
        __m128 acc = _mm_setzero_ps();
        for (; j + 4 <= end; j += 4)
            acc = _mm_add_ps(acc, _mm_mul_ps(_mm_loadu_ps(x + j), _mm_loadu_ps(x + j)));
        float lane[4];
        _mm_storeu_ps(lane, acc);
        float piece = (lane[0] + lane[1]) + (lane[2] + lane[3]);
        for (; j < end; j++)
            piece += x[j] * x[j];
        sum += (double)piece;
    }
    return sum;
}

static void scale_row(int n, float *y, const float *x, float s)
{
    int i = 0;
    for (; i + 4 <= n; i += 4)
        _mm_storeu_ps(y + i, _mm_mul_ps(_mm_loadu_ps(x + i), _mm_set1_ps(s)));
    for (; i < n; i++)
        y[i] = x[i] * s;
}

static void cpu_rms_norm(struct ggml_cpu *c, struct ggml_tensor *t)
{
    (void)c;
    int n = t->ne[0];
    FOR_ROWS(t, i1, i2, i3) {
        const float *x = at(t->src[0], 0, i1, i2, i3);
        float mean = (float)(sum_squares(n, x) / n);
        scale_row(n, at(t, 0, i1, i2, i3), x, 1.0f / sqrtf(mean + op_f32(t, 0)));
    }
}

static void cpu_soft_max(struct ggml_cpu *c, struct ggml_tensor *t)
{
    (void)c;
    const struct ggml_tensor *a = t->src[0], *mask = t->src[1];
    float scale = op_f32(t, 0);
    int n = t->ne[0];
    FOR_ROWS(t, i1, i2, i3) {
        const float *x = at(a, 0, i1, i2, i3), *m = mask ? at(mask, 0, i1, 0, 0) : NULL;
        float *y = at(t, 0, i1, i2, i3), max = -INFINITY;
        for (int i = 0; i < n; i++) {
            y[i] = x[i] * scale + (m ? m[i] : 0.0f);
            max = y[i] > max ? y[i] : max;
        }
        double sum = 0;
        for (int i = 0; i < n; i++) {
            y[i] = max == -INFINITY ? 0.0f : expf(y[i] - max);
            sum += (double)y[i];
        }
        float inv = sum > 0 ? (float)(1.0 / sum) : 0.0f;
        for (int i = 0; i < n; i++)
            y[i] *= inv;
    }
}

/* ---- nbs/llm/12_ggml.ipynb § Rotating by position ---- */

/* rope_table[token][pair] = (cos, sin) */
static void rope_fill(struct ggml_cpu *c, const struct ggml_tensor *t)
{
    const int32_t *pos = t->src[1]->data;
    const float *factors = t->src[2] ? t->src[2]->data : NULL;
    int n = t->op_params[0];
    double step = pow((double)op_f32(t, 2), -2.0 / n), freq = (double)op_f32(t, 3);
    for (int i = 0; i < n / 2; i++, freq *= step) {
        double f = factors ? freq / (double)factors[i] : freq;
        for (int k = 0; k < t->ne[2]; k++) {
            c->rope_table[k * n + 2 * i] = (float)cos(pos[k] * f);
            c->rope_table[k * n + 2 * i + 1] = (float)sin(pos[k] * f);
        }
    }
}

static void rope_row(float *y, const float *x, const float *cs, int n_rot, int step,
                     int gap)
{
    for (int i = 0; i < n_rot / 2; i++) {
        int p = i * step;
        float a = x[p], b = x[p + gap], co = cs[2 * i], si = cs[2 * i + 1];
        y[p] = a * co - b * si;
        y[p + gap] = a * si + b * co;
    }
}

static void cpu_rope(struct ggml_cpu *c, struct ggml_tensor *t)
{
    const struct ggml_tensor *have = c->rope_node, *a = t->src[0];
    if (!have || have->src[1] != t->src[1] || have->src[2] != t->src[2] ||
        memcmp(have->op_params, t->op_params, sizeof t->op_params)) {
        rope_fill(c, t);
        c->rope_node = t;
    }

    int n_rot = t->op_params[0];
    bool neox = t->op_params[1] == GGML_ROPE_TYPE_NEOX;
    int step = neox ? 1 : 2, gap = neox ? n_rot / 2 : 1;
    FOR_ROWS(t, i1, i2, i3) {                       // i1: head, i2: token
        const float *x = at(a, 0, i1, i2, i3);
        float *y = at(t, 0, i1, i2, i3);
        rope_row(y, x, c->rope_table + i2 * n_rot, n_rot, step, gap);
        for (int i = n_rot; i < t->ne[0]; i++)      // the rest of the head stands still
            y[i] = x[i];
    }
}

/* ---- nbs/llm/12_ggml.ipynb § Moving rows ---- */

static void cpu_get_rows(struct ggml_cpu *c, struct ggml_tensor *t)
{
    (void)c;
    const struct ggml_tensor *a = t->src[0];
    ggml_to_float_t to_float = ggml_get_type_traits(a->type)->to_float;
    for (int i = 0; i < t->ne[1]; i++) {
        int32_t row = *(int32_t *)at(t->src[1], i, 0, 0, 0);
        KASSERT(row >= 0 && row < a->ne[1]);
        if (a->type == GGML_TYPE_F32)
            memcpy(at(t, 0, i, 0, 0), at(a, 0, row, 0, 0), t->nb[1]);
        else
            to_float(at(a, 0, row, 0, 0), at(t, 0, i, 0, 0), t->ne[0]);
    }
}

static void cpu_set_rows(struct ggml_cpu *c, struct ggml_tensor *t)
{
    (void)c;
    const struct ggml_tensor *b = t->src[1];
    ggml_from_float_t from_float = ggml_get_type_traits(t->type)->from_float;
    for (int i = 0; i < b->ne[1]; i++) {
        int32_t row = *(int32_t *)at(t->src[2], i, 0, 0, 0);
        KASSERT(row >= 0 && row < t->ne[1]);
        if (t->type == GGML_TYPE_F32)
            memcpy(at(t, 0, row, 0, 0), at(b, 0, i, 0, 0), t->ne[0] * sizeof(float));
        else
            from_float(at(b, 0, i, 0, 0), at(t, 0, row, 0, 0), t->ne[0]);
    }
}

static void copy_tensor(struct ggml_tensor *dst, const struct ggml_tensor *src)
{
    ggml_from_float_t from_float = ggml_get_type_traits(dst->type)->from_float;
    FOR_ROWS(dst, i1, i2, i3) {
        if (dst->type != GGML_TYPE_F32) {
            from_float(at(src, 0, i1, i2, i3), at(dst, 0, i1, i2, i3), dst->ne[0]);
            continue;
        }
        for (int i0 = 0; i0 < dst->ne[0]; i0++)
            *(float *)at(dst, i0, i1, i2, i3) = *(float *)at(src, i0, i1, i2, i3);
    }
}

static void cpu_cpy(struct ggml_cpu *c, struct ggml_tensor *t)
{
    (void)c;
    copy_tensor(t, t->src[1]);
}

static void cpu_cont(struct ggml_cpu *c, struct ggml_tensor *t)
{
    (void)c;
    copy_tensor(t, t->src[0]);
}

static void cpu_nothing(struct ggml_cpu *c, struct ggml_tensor *t)
{
    (void)c, (void)t;
}

/* ---- nbs/llm/12_ggml.ipynb § The product ---- */

void ggml_mul_mat_ref(struct ggml_tensor *t, float *row)
{
    const struct ggml_tensor *a = t->src[0], *b = t->src[1];
    int group2 = b->ne[2] / a->ne[2], group3 = b->ne[3] / a->ne[3];
    FOR_ROWS(t, i1, i2, i3)
        for (int i0 = 0; i0 < t->ne[0]; i0++) {
            ggml_get_type_traits(a->type)->to_float(
                at(a, 0, i0, i2 / group2, i3 / group3), row, a->ne[0]);
            const float *x = at(b, 0, i1, i2, i3);
            double sum = 0;
            for (int k = 0; k < a->ne[0]; k++)
                sum += (double)row[k] * (double)x[k];
            *(float *)at(t, i0, i1, i2, i3) = (float)sum;
        }
}

static size_t mul_mat_work(const struct ggml_tensor *t)
{
    enum ggml_type want = ggml_get_type_traits(t->src[0]->type)->vec_dot_type;
    return want == GGML_TYPE_F32 ? 0 : ggml_row_size(want, t->src[1]->ne[0]) * t->ne[1];
}

static void cpu_mul_mat(struct ggml_cpu *c, struct ggml_tensor *t)
{
    const struct ggml_tensor *a = t->src[0], *b = t->src[1];
    const struct ggml_type_traits *traits = ggml_get_type_traits(a->type);
    int k = a->ne[0], group2 = b->ne[2] / a->ne[2], group3 = b->ne[3] / a->ne[3];

    for (int i3 = 0; i3 < t->ne[3]; i3++)
        for (int i2 = 0; i2 < t->ne[2]; i2++) {
            const void *x = at(b, 0, 0, i2, i3);
            size_t x_bytes = b->nb[1];
            if (traits->vec_dot_type != GGML_TYPE_F32) {
                ggml_from_float_t round =
                    ggml_get_type_traits(traits->vec_dot_type)->from_float;
                x_bytes = ggml_row_size(traits->vec_dot_type, k);
                for (int i1 = 0; i1 < b->ne[1]; i1++)
                    round(at(b, 0, i1, i2, i3), c->work + i1 * x_bytes, k);
                x = c->work;
            }
            const void *w = at(a, 0, 0, i2 / group2, i3 / group3);
            float *y = at(t, 0, 0, i2, i3);
            if (t->ne[1] == 1)
                traits->gemv(k, t->ne[0], w, a->nb[1], x, y);
            else
                ggml_gemm(a->type, k, t->ne[0], w, a->nb[1], t->ne[1], x, x_bytes,
                          y, t->nb[1] / sizeof(float));
        }
}

/* ---- nbs/llm/12_ggml.ipynb § Attention over a span ---- */

/* One head's part of n consecutive cells: row i starts at data + i * stride floats. */
struct cells {
    const float *data;
    size_t stride;
};

/* scores[i] = q . cells[i]; writes up to the next multiple of four. */
static void attn_scores(int d, const float *q, struct cells k, int n, float *scores)
{
    for (int i = 0; i < n; i += 4) {
        const float *r[4];
        __m128 s[4];
        for (int j = 0; j < 4; j++) {
            r[j] = k.data + (i + j < n ? i + j : n - 1) * k.stride;
            s[j] = _mm_setzero_ps();
        }
        int x = 0;
        for (; x + 4 <= d; x += 4) {
            __m128 qx = _mm_loadu_ps(q + x);
            for (int j = 0; j < 4; j++) {
                __m128 p = _mm_mul_ps(qx, _mm_loadu_ps(r[j] + x));
                s[j] = x ? _mm_add_ps(s[j], p) : p;
            }
        }
        _MM_TRANSPOSE4_PS(s[0], s[1], s[2], s[3]);
        s[0] = _mm_add_ps(_mm_add_ps(s[0], s[1]), _mm_add_ps(s[2], s[3]));
        for (; x < d; x++)
            s[0] = _mm_add_ps(
                s[0], _mm_mul_ps(_mm_set1_ps(q[x]),
                                 _mm_setr_ps(r[0][x], r[1][x], r[2][x], r[3][x])));
        _mm_storeu_ps(scores + i, s[0]);
    }
}

static float lane_sum(__m128 v)
{
    v = _mm_add_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_add_ss(v, _mm_shuffle_ps(v, v, 1)));
}

/* s[i] = 2^(s[i] - max); returns their sum. There is room for a multiple of four, and
 * what attn_scores left there are scores too, so they may take part in the maximum. */
static float attn_weights(int n, float *s)
{
    __m128 m = _mm_loadu_ps(s), sum = _mm_setzero_ps();
    for (int i = 4; i < n; i += 4)
        m = _mm_max_ps(m, _mm_loadu_ps(s + i));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    m = _mm_max_ss(m, _mm_shuffle_ps(m, m, 1));
    m = _mm_shuffle_ps(m, m, 0);

    for (int i = 0; i < n; i += 4) {
        __m128 e = exp2_ps(_mm_sub_ps(_mm_loadu_ps(s + i), m));
        _mm_storeu_ps(s + i, e);
        sum = _mm_add_ps(sum, n - i < 4 ? load_part(n - i, s + i) : e);
    }
    return lane_sum(sum);
}

/* y = f * sum of w[i] * cells[i] */
static void attn_values(int d, float *y, struct cells v, int n, const float *w, float f)
{
    __m128 f4 = _mm_set1_ps(f);
    int x = 0;
    for (; x + 8 <= d; x += 8) {
        __m128 lo = _mm_setzero_ps(), hi = lo;
        const float *row = v.data + x;
        for (int i = 0; i < n; i++, row += v.stride) {
            __m128 wi = _mm_set1_ps(w[i]);
            lo = _mm_add_ps(lo, _mm_mul_ps(wi, _mm_loadu_ps(row)));
            hi = _mm_add_ps(hi, _mm_mul_ps(wi, _mm_loadu_ps(row + 4)));
        }
        _mm_storeu_ps(y + x, _mm_mul_ps(lo, f4));
        _mm_storeu_ps(y + x + 4, _mm_mul_ps(hi, f4));
    }
    for (; x < d; x++) {
        float sum = 0;
        for (int i = 0; i < n; i++)
            sum += w[i] * v.data[i * v.stride + x];
        y[x] = sum * f;
    }
}

/* Cells first … first+n-1 of head h, as floats: in place, or copied to the scratch. */
static struct cells attn_cells(const struct ggml_tensor *t, int d, int h, int first,
                               int n, float *scratch)
{
    const uint8_t *row = at(t, h * d, first, 0, 0);
    if (t->type == GGML_TYPE_F32)
        return (struct cells){(const float *)row, t->nb[1] / sizeof(float)};
    for (int i = 0; i < n; i++)
        ggml_fp16_to_fp32_row((const ggml_fp16_t *)(row + i * t->nb[1]),
                              scratch + i * d, d);
    return (struct cells){scratch, d};
}

/* One query, the scores of the longest span, one head of K and of V as floats. */
static size_t attn_span_work(const struct ggml_tensor *t)
{
    const struct ggml_tensor *k = t->src[1], *v = t->src[2];
    size_t n = t->src[0]->ne[0] + k->ne[1] + 4, n_head_kv = t->op_params[0];
    if (k->type != GGML_TYPE_F32)
        n += k->ne[1] * (k->ne[0] / n_head_kv);
    if (v->type != GGML_TYPE_F32)
        n += v->ne[1] * (v->ne[0] / n_head_kv);
    return n * sizeof(float);
}

static void cpu_attn_span(struct ggml_cpu *c, struct ggml_tensor *t)
{
    const struct ggml_tensor *q = t->src[0], *k = t->src[1], *v = t->src[2];
    const int32_t *span = t->src[3]->data;
    int n_head_kv = t->op_params[0], group = q->ne[1] / n_head_kv;
    int dk = q->ne[0], dv = v->ne[0] / n_head_kv;
    float *query = (float *)c->work, *scores = query + dk, *ks = scores + k->ne[1] + 4;
    float *vs = k->type == GGML_TYPE_F32 ? ks : ks + k->ne[1] * dk;

    for (int i = 0; i < q->ne[2]; i++) {
        int first = span[2 * i], n = span[2 * i + 1];
        KASSERT(first >= 0 && n >= 1 && n <= k->ne[1] && first <= k->ne[1] - n);
        for (int h = 0; h < q->ne[1]; h++) {
            struct cells kc = attn_cells(k, dk, h / group, first, n, ks);
            struct cells vc = attn_cells(v, dv, h / group, first, n, vs);
            scale_row(dk, query, at(q, 0, h, i, 0), op_f32(t, 1) * LOG2_E);
            attn_scores(dk, query, kc, n, scores);
            float sum = attn_weights(n, scores);
            attn_values(dv, at(t, h * dv, i, 0, 0), vc, n, scores, 1.0f / sum);
        }
    }
}

/* ---- nbs/llm/12_ggml.ipynb § The loop ---- */

typedef void (*cpu_op)(struct ggml_cpu *, struct ggml_tensor *);
static const cpu_op cpu_ops[GGML_OP_COUNT] = {
    [GGML_OP_ADD] = cpu_add,           [GGML_OP_MUL] = cpu_mul,
    [GGML_OP_SCALE] = cpu_scale,       [GGML_OP_SILU] = cpu_silu,
    [GGML_OP_SWIGLU] = cpu_silu,       [GGML_OP_RMS_NORM] = cpu_rms_norm,
    [GGML_OP_SOFT_MAX] = cpu_soft_max, [GGML_OP_ROPE] = cpu_rope,
    [GGML_OP_MUL_MAT] = cpu_mul_mat,   [GGML_OP_GET_ROWS] = cpu_get_rows,
    [GGML_OP_SET_ROWS] = cpu_set_rows, [GGML_OP_CPY] = cpu_cpy,
    [GGML_OP_CONT] = cpu_cont,         [GGML_OP_VIEW] = cpu_nothing,
    [GGML_OP_RESHAPE] = cpu_nothing,   [GGML_OP_PERMUTE] = cpu_nothing,
    [GGML_OP_ATTN_SPAN] = cpu_attn_span,
};

static size_t cpu_work_size(const struct ggml_tensor *t)
{
    return t->op == GGML_OP_MUL_MAT    ? mul_mat_work(t)
           : t->op == GGML_OP_ATTN_SPAN ? attn_span_work(t)
                                        : 0;
}

static size_t cpu_rope_size(const struct ggml_tensor *t)
{
    return t->op == GGML_OP_ROPE ? (size_t)t->op_params[0] * t->ne[2] : 0;
}

static bool is_f32(const struct ggml_tensor *t)
{
    return !t || t->type == GGML_TYPE_F32;
}

static bool is_dense(const struct ggml_tensor *t)      // rows without gaps
{
    return is_f32(t) && (!t || t->nb[0] == sizeof(float));
}

static bool is_float(const struct ggml_tensor *t)
{
    return t->type == GGML_TYPE_F32 || t->type == GGML_TYPE_F16;
}

static bool cpu_supports_op(ggml_backend_t b, const struct ggml_tensor *t)
{
    (void)b;
    switch (t->op) {
    case GGML_OP_VIEW:
    case GGML_OP_RESHAPE:
    case GGML_OP_PERMUTE:
        return true;
    case GGML_OP_MUL_MAT:
        return ggml_get_type_traits(t->src[0]->type)->gemv != NULL;
    case GGML_OP_GET_ROWS:
        return ggml_get_type_traits(t->src[0]->type)->to_float != NULL;
    case GGML_OP_SET_ROWS:
    case GGML_OP_CPY:
        return is_f32(t) || ggml_get_type_traits(t->type)->from_float != NULL;
    case GGML_OP_ATTN_SPAN:
        return is_float(t->src[1]) && is_float(t->src[2]);
    case GGML_OP_RMS_NORM:
    case GGML_OP_SOFT_MAX:
    case GGML_OP_SILU:
    case GGML_OP_SWIGLU:
        return is_dense(t->src[0]) && is_dense(t->src[1]);
    default:
        return t->op < GGML_OP_COUNT && cpu_ops[t->op] && is_f32(t->src[0]) &&
               (t->op == GGML_OP_ROPE || is_f32(t->src[1]));
    }
}

static bool cpu_graph_reserve(ggml_backend_t b, struct ggml_cgraph *g)
{
    struct ggml_cpu *c = b->context;
    size_t work = c->work_size, rope = c->rope_size;
    for (int i = 0; i < g->n_nodes; i++) {
        size_t w = cpu_work_size(g->nodes[i]), r = cpu_rope_size(g->nodes[i]);
        work = w > work ? w : work;
        rope = r > rope ? r : rope;
    }
    if (work > c->work_size) {
        c->work = arena_alloc(c->arena, work, GGML_MEM_ALIGN);
        c->work_size = c->work ? work : 0;
    }
    if (rope > c->rope_size) {
        c->rope_table = arena_alloc(c->arena, rope * sizeof(float), GGML_MEM_ALIGN);
        c->rope_size = c->rope_table ? rope : 0;
    }
    return c->work_size >= work && c->rope_size >= rope;
}

static enum ggml_status cpu_graph_compute(ggml_backend_t b, struct ggml_cgraph *g)
{
    struct ggml_cpu *c = b->context;
    c->rope_node = NULL;                        // positions have changed
    for (int i = 0; i < g->n_nodes; i++) {
        struct ggml_tensor *t = g->nodes[i];
        if (!cpu_ops[t->op])
            return GGML_STATUS_FAILED;
        if (cpu_work_size(t) > c->work_size || cpu_rope_size(t) > c->rope_size)
            return GGML_STATUS_ALLOC_FAILED;
        cpu_ops[t->op](c, t);
        if (c->on_node)
            c->on_node(c->user, t);
    }
    return GGML_STATUS_SUCCESS;
}

static void *cpu_alloc_buffer(ggml_backend_t b, size_t size)
{
    return arena_alloc(((struct ggml_cpu *)b->context)->arena, size, GGML_MEM_ALIGN);
}

static void cpu_set_tensor(ggml_backend_t b, struct ggml_tensor *t, const void *data,
                           size_t offset, size_t size)
{
    (void)b;
    memcpy((uint8_t *)t->data + offset, data, size);
}

static void cpu_get_tensor(ggml_backend_t b, const struct ggml_tensor *t, void *data,
                           size_t offset, size_t size)
{
    (void)b;
    memcpy(data, (const uint8_t *)t->data + offset, size);
}

ggml_backend_t ggml_backend_cpu_init(struct ggml_cpu *cpu, struct arena *arena)
{
    static const struct ggml_backend_i iface = {
        .name = "CPU",
        .alloc_buffer = cpu_alloc_buffer,
        .set_tensor = cpu_set_tensor,
        .get_tensor = cpu_get_tensor,
        .supports_op = cpu_supports_op,
        .graph_reserve = cpu_graph_reserve,
        .graph_compute = cpu_graph_compute,
    };
    memset(cpu, 0, sizeof *cpu);
    cpu->arena = arena;
    cpu->backend.iface = &iface;
    cpu->backend.context = cpu;
    return &cpu->backend;
}
